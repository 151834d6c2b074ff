package oracle

import (
	"os"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
)

// Mode is under which rights both filesystems run.
type Mode struct {
	Name      string
	UserXattr bool     // overlayfs' xattrs are user.overlay.*
	Index     bool     // the kernel can keep hard links
	Redirect  bool     // directories can be redirected
	Mknod     bool     // devices and trusted xattrs can be made
	IDs       []uint32 // owners that exist, two at least
}

// RootMode is the mode of root in the machine's user namespace.
func RootMode() *Mode {
	return &Mode{Name: "root", Index: true, Redirect: true, Mknod: true, IDs: []uint32{0, 0, 1000, 2000}}
}

// UserMode is the mode of root in a user namespace.
func UserMode() *Mode {
	m := &Mode{Name: "userns", UserXattr: true, IDs: []uint32{0, 0}}
	if nsbox.ManyIDs() {
		m.IDs = []uint32{0, 0, 1000, 2000}
	}
	return m
}

// Prefix is that of overlayfs' xattrs.
func (m *Mode) Prefix() string {
	if m.UserXattr {
		return "user.overlay."
	}
	return "trusted.overlay."
}

// ci says that this runs where all tests have to run in full.
func ci() bool { return os.Getenv("CI") == "true" }
