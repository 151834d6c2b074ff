package counts

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// TestCopyUpSyscalls: a copy-up on ext4 has its data written and waits for no
// journal. With fsync=strict it does: for the copy, its directory and the new mode.
func TestCopyUpSyscalls(t *testing.T) {
	require.Root(t)
	require.FUSE(t)
	require.Tool(t, "strace")
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		require.Missing(t, "loop devices: %v", err)
	}
	const files = 20
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(require.Tool(t, name), args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	img, disk := filepath.Join(dir, "img"), filepath.Join(dir, "disk")
	write(t, img, 0)
	for i := range files {
		write(t, fmt.Sprintf("%s/lower/d/f%d", dir, i), 1500)
	}
	for _, d := range []string{disk, dir + "/mnt"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(img, 32<<20); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", "-E", "nodiscard", img)
	run("mount", "-o", "loop", img, disk)
	t.Cleanup(func() { run("umount", disk) })
	for _, tt := range []struct {
		name, options string
		most          int // calls for each file
		fsyncs        int
		writeOuts     int
	}{
		{"auto", "", 28, 0, files},
		{"strict", ",fsync=strict", 35, 3 * files, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, d := range []string{"upper", "work"} {
				if err := os.MkdirAll(filepath.Join(disk, tt.name, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			s := startServer(t, fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/%s/upper,workdir=%s/%s/work%s", dir, disk, tt.name, disk, tt.name, tt.options), dir+"/mnt")
			defer s.stop()
			chmod := func(i int) {
				if err := os.Chmod(fmt.Sprintf("%s/mnt/d/f%d", dir, i), 0o600); err != nil {
					t.Error(err)
				}
			}
			chmod(0) // copies the directory up, too, and asks what the disk is
			n, kinds := s.traced(func() {
				for i := 1; i < files; i++ {
					chmod(i)
				}
			})
			t.Logf("%d calls, %v", n, kinds)
			if got, want := kinds["fsync"], tt.fsyncs-tt.fsyncs/files; got < want || want == 0 && got > 0 {
				t.Errorf("%d times fsync(2) for %d files, want %d", got, files-1, want)
			}
			if got, want := kinds["sync_file_range"], tt.writeOuts-tt.writeOuts/files; got != want {
				t.Errorf("%d times sync_file_range(2) for %d files, want %d", got, files-1, want)
			}
			if n > tt.most*(files-1) {
				t.Errorf("%d calls for %d files, want at most %d for each", n, files-1, tt.most)
			}
		})
	}
}
