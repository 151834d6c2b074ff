package harness

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Stack is the options of one mount.
type Stack struct {
	Lower       []string // top first
	Upper, Work string
	More        []string // further options
}

// Options is the option text.
func (s Stack) Options() string {
	opts := []string{"lowerdir=" + strings.Join(s.Lower, ":")}
	if s.Upper != "" {
		opts = append(opts, "upperdir="+s.Upper, "workdir="+s.Work)
	}
	return strings.Join(append(opts, s.More...), ",")
}

// MountScript is the shell text that mounts a stack with the binary under
// test ($BIN): plyfs by its own verb, another one as a drop-in.
func MountScript(s Stack, dir string) string {
	if IsPlyfs() {
		return "$BIN mount -o " + s.Options() + " " + dir
	}
	return "$BIN -o " + s.Options() + " " + dir
}

// UmountScript is its counterpart.
func UmountScript(dir string) string {
	if IsPlyfs() {
		return "$BIN umount " + dir
	}
	return "{ umount " + dir + " 2>/dev/null || fusermount3 -u " + dir + "; }"
}

// NewStack makes an upper, a work and a mount directory of the user's beside
// empty lowers, and gives the stack and the mount point.
func (u *User) NewStack(t testing.TB, lowers int) (Stack, string) {
	t.Helper()
	dir := u.Dir(t)
	mk := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, u.UID, u.GID); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := Stack{Upper: mk("upper"), Work: mk("work")}
	for i := range lowers {
		s.Lower = append(s.Lower, mk("lower"+strconv.Itoa(i)))
	}
	return s, mk("mnt")
}

// Mount mounts a stack outside of any namespace (an unprivileged user goes
// through fusermount3) until the test ends.
func (u *User) Mount(t testing.TB, s Stack, dir string) {
	t.Helper()
	u.Run(t, MountScript(s, dir))
	t.Cleanup(func() {
		if len(mountsBelow(filepath.Dir(dir))) > 0 {
			u.Run(t, UmountScript(dir))
		}
	})
}

// Umount unmounts before the test ends.
func (u *User) Umount(t testing.TB, dir string) {
	t.Helper()
	u.Run(t, UmountScript(dir))
}
