package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

func TestFeatures(t *testing.T) {
	all := uint64(0)
	for _, x := range fuseFeatures {
		all |= 1 << x.bit
	}
	if f := checkFeatures(probeResult{FuseMajor: 7, FuseFlags: all}); f.State != stateOK || f.Fix != "" {
		t.Errorf("all there: %+v", f)
	}
	f := checkFeatures(probeResult{FuseMajor: 7, FuseFlags: all &^ (1 << 37)})
	if f.State != stateWarn || !strings.Contains(f.Detail, "without passthrough") || !strings.Contains(f.Fix, "6.9") {
		t.Errorf("without passthrough: %+v", f)
	}
	if f := checkFeatures(probeResult{}); f.State != stateWarn {
		t.Errorf("nothing known: %+v", f)
	}
}

// TestProbe: the kernel's offer is read, and each complaint has a way out.
func TestProbe(t *testing.T) {
	require.FUSE(t)
	require.UserNS(t)
	defer func(name string) { os.Args[0] = name }(os.Args[0])
	os.Args[0] = "plyfs" // what TestMain goes by in the probe's child
	p := probeUserNamespace()
	if !p.Mounted || p.FuseMajor != 7 || p.FuseFlags&(1<<16) == 0 {
		t.Errorf("probe: %+v", p)
	}
	for _, f := range examine() {
		if f.State == stateFail && f.Fix == "" {
			t.Errorf("%s: %s: no way out", f.Name, f.Detail)
		}
	}
}

// TestBlocked: what forbids user namespaces is named.
func TestBlocked(t *testing.T) {
	require.Root(t) // it sets a limit in a namespace of its own
	require.Tool(t, "unshare")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// user.max_user_namespaces is one of each user namespace.
	script := `echo 0 >/proc/sys/user/max_user_namespaces && ln -s "$1" "$2/plyfs" && "$2/plyfs" doctor; :`
	out, err := exec.Command("unshare", "--user", "--map-root-user", "--mount", "--mount-proc", "--pid", "--fork", "sh", "-c", script, "sh", self, t.TempDir()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "user.max_user_namespaces is 0") || !strings.Contains(string(out), "fix: sudo sysctl user.max_user_namespaces=") {
		t.Errorf("%v: %s", err, out)
	}
}
