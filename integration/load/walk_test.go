package load

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/integration/harness"
)

// TestWalk walks a layer of many files: what the server remembers of each is
// bounded.
func TestWalk(t *testing.T) { walk(t, 20_000, 2) }

// TestWalkSoak walks one of five million, or PLYFS_FILES.
func TestWalkSoak(t *testing.T) {
	onlySoak(t)
	n, err := strconv.Atoi(os.Getenv("PLYFS_FILES"))
	if err != nil {
		n = 5_000_000
	}
	walk(t, n, 1)
}

const perDir = 1000

// perFile is what the server may need for one file that it has told of, in bytes.
const perFile = 400

func walk(t *testing.T, n, rounds int) {
	u := harness.Root(t)
	stack, mnt := u.NewStack(t, 1)
	lower := stack.Lower[0]
	if err := unix.Mount("load", lower, "tmpfs", 0, "mode=755,nr_inodes=0,size=90%"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(lower, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	for d := 0; d*perDir < n; d++ {
		dir := fmt.Sprintf("%s/%d", lower, d)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		for f := range perDir {
			if err := unix.Mknodat(fd, fmt.Sprintf("file-%d", f), unix.S_IFREG|0o644, 0); err != nil {
				t.Fatal(err)
			}
		}
		unix.Close(fd)
	}
	s := serve(t, u, harness.Binary(t), "", stack, mnt)
	before := s.memory("VmRSS")
	seen := 0
	for range rounds { // what is remembered once isn't remembered twice
		seen = 0
		err := filepath.WalkDir(mnt, func(_ string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				seen++
				_, err = e.Info() // a look-up
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	after := s.memory("VmRSS")
	t.Logf("%d files: %d MB resident, %d before; %d bytes a file", seen, after>>10, before>>10, (after-before)<<10/seen)
	if seen < n {
		t.Errorf("%d files were seen, %d are there", seen, n)
	}
	if got := (after - before) << 10; got > 16<<20+seen*perFile {
		t.Error(errors.New("that is too much"))
	}
	s.alive()
}
