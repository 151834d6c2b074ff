package oracle

import (
	"strings"

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
		o = append(o, "redirect_dir="+onOff(a.Redirect), "metacopy=off", "index="+onOff(a.Index))
	}
	return unix.Mount("overlay", a.Dir, "overlay", 0, strings.Join(o, ","))
}

// Unmount implements Filesystem.
func (k Kernel) Unmount(dir string) error { return unix.Unmount(dir, 0) }

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
