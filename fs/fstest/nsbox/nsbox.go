// Package nsbox runs a test a second time, in namespaces of its own: what it
// mounts is gone when its process is, whatever happens to it, and the machine
// never sees it.
package nsbox

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// Kind is what the box is made of.
type Kind int

// The kinds of box.
const (
	Mounts Kind = iota // a mount namespace: needs root
	User               // a user namespace and a mount namespace
	Sole               // the same with one id only, as without subuids
)

// inside carries the name of the test that runs in the box.
const inside = "PLYFS_TEST_NSBOX"

// HostID is the id outside that root in a User box is, when it was started by
// root. It owns nothing outside the box.
const HostID = 100000

// Enter runs the calling top-level test again in a box and passes its result
// on. It answers true inside the box, where the caller is to go on, and false
// outside, where the test is over.
//
//	if !nsbox.Enter(t, nsbox.User) {
//		return
//	}
func Enter(t *testing.T, kind Kind) bool {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatalf("make the mounts of the box private: %v", err)
		}
		return true
	}
	if kind == Mounts {
		require.Root(t)
	}
	cmd := exec.Command("/proc/self/exe", args(t)...)
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = attr(kind)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// Pdeathsig is about the thread that forks, so that one has to stay.
	runtime.LockOSThread()
	err := cmd.Run()
	runtime.UnlockOSThread()
	text := strings.TrimSpace(out.String())
	switch {
	case err != nil:
		t.Fatalf("in the box: %v\n%s", err, text)
	case strings.Contains(text, "--- SKIP: "+t.Name()+" "):
		require.Missing(t, "in the box:\n%s", text)
	default:
		t.Logf("in the box:\n%s", text)
	}
	return false
}

// args are this process' test flags, for the one test, with a deadline that
// leaves time to report.
func args(t *testing.T) []string {
	run := "^" + regexp.QuoteMeta(t.Name()) + "$"
	if _, sub, ok := strings.Cut(flag.Lookup("test.run").Value.String(), "/"); ok {
		run += "/" + sub
	}
	a := []string{"-test.run=" + run, "-test.v"}
	flag.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "test.run", "test.v", "test.timeout", "test.testlogfile", "test.paniconexit0", "test.coverprofile", "test.gocoverdir", "test.count":
		default:
			a = append(a, fmt.Sprintf("-%s=%s", f.Name, f.Value))
		}
	})
	if d, ok := t.Deadline(); ok {
		a = append(a, fmt.Sprintf("-test.timeout=%s", max(time.Until(d)-10*time.Second, time.Second)))
	}
	return a
}

func attr(kind Kind) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if kind == Mounts {
		return a
	}
	a.Cloneflags |= syscall.CLONE_NEWUSER
	if os.Geteuid() == 0 {
		m := []syscall.SysProcIDMap{{ContainerID: 0, HostID: HostID, Size: 65536}}
		if kind == Sole {
			m[0].Size = 1
		}
		a.UidMappings, a.GidMappings = m, m
		a.GidMappingsEnableSetgroups = kind == User
		a.Credential = &syscall.Credential{}
		return a
	}
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	return a
}

// Tmpfs mounts an empty tmpfs on dir until the test ends.
func Tmpfs(t testing.TB, dir, options string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("tmpfs on %s: %v", dir, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount the tmpfs on %s: %v", dir, err)
		}
	})
}

// ManyIDs says whether ids other than root's exist in this process' user
// namespace.
func ManyIDs() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	f := strings.Fields(string(b))
	return len(f) > 3 || (len(f) == 3 && f[2] != "1")
}
