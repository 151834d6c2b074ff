package keeper

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/require"
)

// unserved mounts a connection that nobody serves.
func unserved(t *testing.T, dir string) (fuse int, dev string) {
	t.Helper()
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)
		err = unix.Mount("test", dir, "fuse.plyfs", unix.MS_NOSUID|unix.MS_NODEV, data)
	}
	if err != nil {
		t.Fatal(err)
	}
	var sx unix.Statx_t
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, 0, &sx)
		unix.Close(fd)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return fuse, fmt.Sprintf("%d:%d", sx.Dev_major, sx.Dev_minor)
}

// mountControl has fusectl where it belongs, in the box: not every machine mounts it.
func mountControl(t *testing.T) {
	t.Helper()
	if err := unix.Mount("test", connections, "fusectl", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		t.Fatal(err)
	}
}

// client asks the mount on dir something.
func client(dir string) <-chan error {
	got := make(chan error, 1)
	go func() {
		_, err := os.Stat(dir + "/name")
		got <- err
	}()
	return got
}

// freed waits for a client to get an error.
func freed(t *testing.T, client <-chan error) {
	t.Helper()
	select {
	case err := <-client:
		if !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("the client got %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the client waits on")
	}
}

// ways are those to end a connection.
var ways = map[string]func(fuse int, dev, dir string) error{
	"control": func(fuse int, dev, _ string) error { return abortByControl(fuse, dev) },
	"force": func(fuse int, dev, dir string) error {
		pin, err := pinMount(fuse, dev, dir)
		if err == nil {
			err = abortByForce(pin)
			unix.Close(pin)
		}
		return err
	},
}

// TestAbort: each way frees a client that waits for a server that never comes, and
// leaves the mount where it was.
func TestAbort(t *testing.T) {
	require.FUSE(t)
	if nsbox.Enter(t, nsbox.Mounts) {
		mountControl(t)
		abortBy(t, "control", "force", "close")
	}
}

// TestAbortUserNS is what can be done without rights over the machine.
func TestAbortUserNS(t *testing.T) {
	require.FUSE(t)
	require.UserNS(t)
	if nsbox.Enter(t, nsbox.User) {
		abortBy(t, "force", "close")
	}
}

func abortBy(t *testing.T, names ...string) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fuse, dev := unserved(t, dir)
			copied, err := unix.Dup(fuse)
			if err != nil {
				t.Fatal(err)
			}
			waits := client(dir)
			if name == "close" {
				unix.Close(copied)
				unix.Close(fuse)
				freed(t, waits)
				return
			}
			if !connected(fuse) {
				t.Error("not connected at the beginning")
			}
			if err := ways[name](fuse, dev, dir); err != nil {
				t.Fatal(err)
			}
			freed(t, waits)
			if connected(fuse) {
				t.Error("connected afterwards")
			}
			if err := unix.Unmount(dir, 0); err != nil {
				t.Errorf("the mount: %v", err)
			}
			unix.Close(copied)
			unix.Close(fuse)
		})
	}
}

// TestAbortSpares: a mount that is gone has left its device number, and its place,
// to another one, which is not harmed.
func TestAbortSpares(t *testing.T) {
	require.FUSE(t)
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	mountControl(t)
	dir := t.TempDir()
	old, oldDev := unserved(t, dir)
	defer unix.Close(old)
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	// The kernel gives the lowest number that is free; others take some as well.
	for try := 0; ; try++ {
		fuse, dev := unserved(t, dir)
		defer unix.Close(fuse)
		if dev != oldDev {
			if try == 1000 {
				t.Fatalf("no mount gets %s again", oldDev)
			}
			if try%2 == 1 {
				if err := unix.Unmount(dir, 0); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		for name, way := range ways {
			if err := way(old, oldDev, dir); !errors.Is(err, errGone) && !errors.Is(err, errNotPinned) {
				t.Errorf("%s of a mount that is gone: %v", name, err)
			}
		}
		if !connected(fuse) {
			t.Error("the other mount is aborted")
		}
		return
	}
}
