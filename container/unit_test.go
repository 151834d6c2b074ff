package container

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/seccomp"
)

func TestCheckUser(t *testing.T) {
	for _, ok := range []string{"", "0", "1000", "app", "app:extra", "7:8", "app:50", "_apt", "www-data"} {
		if err := checkUser(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"1000x", "0x0", "-1", "+1", "1 0", "a/b", "a:b:c", "0:", ":0x", "a\n", "a:-1"} {
		if checkUser(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestChooseMaps(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root's ranges are root's")
	}
	outer, a, err := chooseMaps(IDs{}, 0)
	if err != nil || !outer.none() || a.UID[0] != (idMap{0, rangeFirst, 65536}) {
		t.Errorf("%v %v %v", outer, a, err)
	}
	_, b, _ := chooseMaps(IDs{}, 1)
	if b.UID[0].Outside != a.UID[0].Outside+65536 {
		t.Errorf("two containers share ids: %v, %v", a, b)
	}
	if _, h, _ := chooseMaps(IDs{Host: true}, 0); !h.none() {
		t.Error("host has a map")
	}
	if !a.mapsUser(65535) || a.mapsUser(65536) || a.mapsUser(-1) {
		t.Error("mapsUser")
	}
}

// TestSignalOfAnother: a process that has got the id of one that ended is not
// taken for it.
func TestSignalOfAnother(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	p := identify(cmd.Process.Pid)
	if !p.alive() {
		t.Error("a living process is dead")
	}
	other := process{p.PID, p.Start - 1}
	if other.alive() || other.signal(unix.SIGKILL) == nil || !other.awaitEnd(-1) {
		t.Error("another process was taken for the one")
	}
	if !p.alive() {
		t.Error("it was killed")
	}
}

func TestSysctlNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"net.ipv4.ip_forward": true, "net/core/somaxconn": true, "kernel.shmmax": true, "fs.mqueue.msg_max": true,
		"kernel.panic": false, "vm.swappiness": false, "net.ipv4../../../kernel/panic": false, "net/../kernel/panic": false,
		"/kernel/panic": false, "": false, "kernel.shmmaxx": false,
	} {
		if err := checkSysctl(name, NetNone); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	if checkSysctl("net.ipv4.ip_forward", NetHost) == nil {
		t.Error("a sysctl of the host's network is accepted")
	}
}

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]unix.Signal{"TERM": 15, "sigterm": 15, "SIGKILL": 9, "9": 9, "usr1": 10} {
		if got, err := ParseSignal(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "65", "-1", "NOPE", "15x"} {
		if _, err := ParseSignal(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

// TestRemoveTree: nothing behind a link is deleted, and closed directories of
// our own are.
func TestRemoveTree(t *testing.T) {
	top := t.TempDir()
	keep := filepath.Join(top, "keep")
	gone := filepath.Join(top, "gone")
	for _, d := range []string{keep, filepath.Join(gone, "a/b"), filepath.Join(gone, "closed")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{filepath.Join(keep, "f"), filepath.Join(gone, "closed/f")} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(keep, filepath.Join(gone, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(gone, "closed"), 0); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(unix.AT_FDCWD, gone); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(gone); err == nil {
		t.Error("still there")
	}
	if _, err := os.Stat(filepath.Join(keep, "f")); err != nil {
		t.Error("a file behind a link is gone")
	}
}

func TestEnvironment(t *testing.T) {
	p := &Process{Env: []string{"HOME=/x", "A=1"}}
	env := p.environment("host", "/root")
	for _, want := range []string{"HOME=/x", "A=1", "HOSTNAME=host", "PATH=" + DefaultPath} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing in %v", want, env)
		}
	}
	if slices.Contains(env, "HOME=/root") {
		t.Error("HOME twice")
	}
	if c := candidates("ls", []string{"PATH=/a:rel::/b"}); strings.Join(c, " ") != "/a/ls /b/ls" {
		t.Errorf("%v", c)
	}
}

func TestParseLog(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-24T10:00:00.000000001Z stdout F a b\n": "a b\n",
		"2026-11-24T10:00:00Z stderr P part":            "part",
		"2026-11-24T10:00:00Z stdout F ":                "\n",
	} {
		if l, ok := parseLine(text); !ok || l.Text != want {
			t.Errorf("%q: %q, %v", text, l.Text, ok)
		}
	}
	if _, ok := parseLine("nonsense"); ok {
		t.Error("nonsense is a line")
	}
}

// TestSweep: what a killed process left half made goes, what is being made
// stays.
func TestSweep(t *testing.T) {
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".old", ".new"} {
		if err := os.MkdirAll(filepath.Join(s.dir(name), "upper"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * abandoned)
	if err := os.Chtimes(s.dir(".old"), past, past); err != nil {
		t.Fatal(err)
	}
	c, err := s.Create("", &Spec{Root: Root{Dir: "/"}, Net: Net{Mode: NetNone}, Process: Process{Args: []string{"x"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir(".old")); err == nil {
		t.Error("the old one stays")
	}
	if _, err := os.Stat(s.dir(".new")); err != nil {
		t.Error("the new one is gone")
	}
	if err := c.Remove(false); err != nil {
		t.Error(err)
	}
}

// TestUsualFilter: the start that is usual has its filter made in advance.
func TestUsualFilter(t *testing.T) {
	if _, ok := seccomp.Cached(DefaultCaps()); !ok && runtime.GOARCH == "amd64" {
		t.Error("DefaultCaps has changed: change seccomp's TestCached, and go generate")
	}
}
