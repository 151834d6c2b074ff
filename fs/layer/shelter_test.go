package layer

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// TestShelterHoldsNoMount: a live mount keeps nothing in use that lies outside
// of its layers, also where mounts are private; what lies in them stays.
func TestShelterHoldsNoMount(t *testing.T) {
	const inside = "PLYFS_SHELTER_TEST"
	if os.Getenv(inside) == "" {
		require.Root(t)
		cmd := exec.Command("unshare", "--mount", "--propagation", "private", os.Args[0], "-test.run=^TestShelterHoldsNoMount$")
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	dir := t.TempDir()
	lower, other := filepath.Join(dir, "lower"), filepath.Join(dir, "other mount")
	for _, d := range []string{lower, other, lower + "/sub"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if d != lower {
			if err := unix.Mount("tmpfs", d, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
			defer unix.Unmount(d, unix.MNT_DETACH)
		}
	}
	if err := os.WriteFile(lower+"/sub/file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := Open(&Options{Lower: []string{lower}, Live: true, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Shelter()
	if s.shelter <= 0 {
		t.Fatal("no shelter")
	}
	if _, err := unix.Openat(s.Lower[0].FD, "sub/file", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		t.Errorf("what is mounted in the layer: %v", err)
	}
	table, err := mountsIn(s.shelter)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table, lower+"/sub ") || strings.Contains(table, `other\040mount`) {
		t.Errorf("the shelter has\n%s", table)
	}
}

// mountsIn reads the mounts of a namespace that has no /proc.
func mountsIn(ns int) (text string, err error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return "", err
	}
	defer proc.Close()
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is in the other namespace
		defer close(done)
		if err = unix.Unshare(unix.CLONE_FS); err != nil {
			return
		}
		if err = unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
			return
		}
		var fd int
		if fd, err = unix.Openat(int(proc.Fd()), "thread-self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		f := os.NewFile(uintptr(fd), "mountinfo")
		defer f.Close()
		var b []byte
		b, err = io.ReadAll(f)
		text = string(b)
	}()
	<-done
	return text, err
}
