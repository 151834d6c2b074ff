package union

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/layer"
	"golang.org/x/sys/unix"
)

// TestIndexFigures builds the index file of a million files in three layers
// and tells what it takes: make bench-index. PLYFS_FIGURES is how many files.
func TestIndexFigures(t *testing.T) {
	files, err := strconv.Atoi(os.Getenv("PLYFS_FIGURES"))
	if err != nil {
		files = 3000 // what is counted holds for these, too
	}
	const lowers, perDir = 3, 100
	e := newEnv(t, lowers)
	e.million(files, lowers, perDir)
	e.o.Index = e.mkdir("index")
	e.o.Upper, e.o.Work = "", ""
	build := func() (names, dirs uint64) {
		o := e.o
		stack, err := layer.Open(&o)
		if err != nil {
			t.Fatal(err)
		}
		_, names, dirs, err = BuildIndex(stack, &o)
		if err != nil {
			t.Fatal(err)
		}
		return names, dirs
	}
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // VmHWM begins anew
	before := peak()
	start := time.Now()
	names, dirs := build()
	took := time.Since(start)
	var st unix.Stat_t
	if err := unix.Stat(e.indexFile(), &st); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files: built in %v, %d bytes a name, %d KiB more memory at the peak", files, took, uint64(st.Size)/names, peak()-before)
	leaves, above := (files+perDir-1)/perDir, (files+perDir*100-1)/(perDir*100)
	if names != uint64(files+leaves+above) || dirs != uint64(leaves+above+1) {
		t.Errorf("%d names in %d directories", names, dirs)
	}
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err == nil && files > 100000 {
		start := time.Now()
		build()
		t.Logf("with cold caches: built in %v", time.Since(start))
	}
	e.open()
	name, key, err := e.fs.indexID(e.fs.stack)
	if err != nil {
		t.Fatal(err)
	}
	var opens []time.Duration
	for range 101 {
		start := time.Now()
		f, err := openIndexFile(e.fs.stack.Index.FD, name, key, lowers)
		opens = append(opens, time.Since(start))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	slices.Sort(opens)
	t.Logf("opened in %v (median), %v at most", opens[50], opens[100])
	if e.fs.base.file.Load() == nil {
		t.Error("it isn't used")
	}
}

// million makes files in directories of perDir, a hundred of them in another.
func (e *env) million(files, lowers, perDir int) {
	e.Helper()
	fds := make([]int, lowers)
	for i := range files {
		if i%perDir == 0 {
			for l := range fds {
				if fds[l] > 0 {
					unix.Close(fds[l])
				}
				dir := e.mkdir(fmt.Sprintf("lower%d/d%d/s%d", l+1, i/perDir/100, i/perDir))
				fd, err := unix.Open(dir, unix.O_PATH, 0)
				if err != nil {
					e.Fatal(err)
				}
				fds[l] = fd
			}
		}
		if err := unix.Mknodat(fds[i%lowers], fmt.Sprintf("file-%07d", i), unix.S_IFREG|0o644, 0); err != nil {
			e.Fatal(err)
		}
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// peak is the most memory that this process has had, in KiB.
func peak() int {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}
