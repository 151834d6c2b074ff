// Package require says what a test needs from the machine. What is missing
// skips the test with the reason; where everything is to be there ($CI or
// $PLYFS_REQUIRE is set) it fails it.
package require

import (
	"os"
	"os/exec"
	"os/user"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUser is the unprivileged user that tests act as.
const TestUser = "plytest"

// Missing ends the test: by a skip, or where nothing may be missing by a
// failure.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" || os.Getenv("PLYFS_REQUIRE") != "" {
		t.Fatalf("required here: "+format, args...)
	}
	t.Skipf("needs "+format, args...)
}

// Root wants uid 0 of the host with its capabilities.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "root: run the tests as root")
	}
	b, err := os.ReadFile("/proc/self/uid_map")
	if f := strings.Fields(string(b)); err != nil || len(f) != 3 || f[2] != "4294967295" {
		Missing(t, "root of the host, not of a user namespace")
	}
}

// FUSE wants a /dev/fuse that can be opened.
func FUSE(t testing.TB) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		Missing(t, "/dev/fuse: %v", err)
	}
	unix.Close(fd)
}

// Tool wants a program in the PATH and gives its path.
func Tool(t testing.TB, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "%s in the PATH", name)
	}
	return p
}

// User wants the test user to exist and gives it.
func User(t testing.TB) *user.User {
	t.Helper()
	u, err := user.Lookup(TestUser)
	if err != nil {
		Missing(t, "the user %s: useradd -m %s", TestUser, TestUser)
	}
	return u
}

// SubIDs wants the test user to have subordinate ids.
func SubIDs(t testing.TB) {
	t.Helper()
	Tool(t, "newuidmap")
	Tool(t, "newgidmap")
	for _, f := range []string{"/etc/subuid", "/etc/subgid"} {
		b, _ := os.ReadFile(f)
		if !strings.Contains("\n"+string(b), "\n"+TestUser+":") {
			Missing(t, "a line for %s in %s: usermod --add-subuids/--add-subgids 100000-165535 %s", TestUser, f, TestUser)
		}
	}
}

// UserNS wants user namespaces that an unprivileged user may make.
func UserNS(t testing.TB) {
	t.Helper()
	for _, f := range []string{"/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/unprivileged_userns_clone"} {
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == "0" {
			Missing(t, "user namespaces: %s is 0", f)
		}
	}
}

// Overlay wants kernel overlayfs.
func Overlay(t testing.TB) {
	t.Helper()
	b, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(b), "\toverlay\n") {
		Missing(t, "kernel overlayfs: modprobe overlay")
	}
}
