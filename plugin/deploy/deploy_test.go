package deploy

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestUnits has systemd look at the units, where there is one.
func TestUnits(t *testing.T) {
	for _, f := range []string{"systemd/plyfs-snapshotter.service", "systemd/plyfs-snapshotter.socket", "systemd/plyfs-snapshotter-user.service"} {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		// Without these a restart would end all containers' mounts.
		if strings.HasSuffix(f, ".service") && !strings.Contains(string(text), "\nKillMode=process\n") {
			t.Errorf("%s: KillMode is not process", f)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd-analyze: the units were not parsed")
		return
	}
	out, _ := exec.Command(analyze, "verify", "--man=no", "systemd/plyfs-snapshotter.socket").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		// The program isn't installed here.
		if strings.Contains(line, "plyfs-snapshotter") && !strings.Contains(line, "is not executable") && !strings.Contains(line, "not found") {
			t.Errorf("systemd: %s", line)
		}
	}
}
