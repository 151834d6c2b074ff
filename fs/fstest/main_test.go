package fstest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain fails when the tests leave anything behind: mounts, servers,
// descriptors, goroutines.
func TestMain(m *testing.M) {
	Stage()
	fds := openFDs()
	code := m.Run()
	if binaryDir != "" {
		os.RemoveAll(binaryDir)
	}
	var left []string
	for _, mnt := range ownMounts() {
		left = append(left, "mount "+mnt)
	}
	for _, pid := range serversOf(filepath.Join(os.TempDir(), tempName)) {
		left = append(left, fmt.Sprintf("process %d", pid))
	}
	for range 50 { // the poller and finalizers may still be at it
		if n := openFDs(); len(n) <= len(fds) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, f := range openFDs() {
		if !slices.Contains(fds, f) && !strings.Contains(f, "anon_inode:[event") {
			left = append(left, "descriptor "+f)
		}
	}
	if err := goleak.Find(); err != nil {
		left = append(left, err.Error())
	}
	if len(left) > 0 {
		fmt.Fprintln(os.Stderr, "left behind by the tests:\n  "+strings.Join(left, "\n  "))
		code = max(code, 1)
	}
	os.Exit(code)
}

func openFDs() []string {
	var out []string
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			out = append(out, e.Name()+" "+to)
		}
	}
	return out
}

// ownMounts are the mounts below the directories that Base makes.
func ownMounts() []string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.Contains(f[4], "/"+tempName) && bases[baseOf(f[4])] {
			out = append(out, f[4])
		}
	}
	return out
}

// baseOf is the directory made by Base that p lies in.
func baseOf(p string) string {
	i := strings.Index(p, "/"+tempName)
	if j := strings.Index(p[i+1:], "/"); j >= 0 {
		return p[:i+1+j]
	}
	return p
}
