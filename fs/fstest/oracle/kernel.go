package oracle

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kernel is the kernel's overlayfs.
type Kernel struct {
	// Label is the name in reports; two of them are compared to test the
	// test.
	Label string
}

// Name implements Filesystem.
func (k Kernel) Name() string { return k.Label }

// Mount implements Filesystem.
func (k Kernel) Mount(a Args) error {
	o := []string{"lowerdir=" + strings.Join(a.Lower, ":"), "upperdir=" + a.Upper, "workdir=" + a.Work}
	if a.UserXattr {
		o = append(o, "userxattr")
	} else {
		o = append(o, "redirect_dir="+onOff(a.Redirect), "metacopy="+onOff(a.Metacopy), "index="+onOff(a.Index))
	}
	// EBUSY: a live mount of another sequence makes a copy of the mount table,
	// with the mount in it that just ended here, and has not pruned it yet.
	var err error
	for range 200 {
		if err = unix.Mount("overlay", a.Dir, "overlay", 0, strings.Join(o, ",")); err != unix.EBUSY {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}

// Unmount implements Filesystem.
func (k Kernel) Unmount(dir string) error { return unix.Unmount(dir, 0) }

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
