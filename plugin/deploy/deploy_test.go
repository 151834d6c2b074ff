package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// TestUnits has systemd read the units: a directive or a value that it doesn't
// know is a line, and so is a unit that can't be loaded. What they do is seen
// by integration/containerd, where systemd runs them.
func TestUnits(t *testing.T) {
	require.Tool(t, "systemd-analyze")
	for _, units := range [][]string{
		{"--system", "plyfs-snapshotter.socket", "plyfs-snapshotter.service"},
		{"--system", "plyfs-snapshotter-keeper.socket", "plyfs-snapshotter-keeper.service"},
		{"--user", "plyfs-snapshotter-user.service"},
	} {
		dir := t.TempDir()
		args := []string{"verify", "--man=no", units[0]}
		for _, name := range units[1:] {
			text, err := os.ReadFile(filepath.Join("systemd", name))
			if err != nil {
				t.Fatal(err)
			}
			// Without this a restart would end all containers' mounts.
			if strings.HasSuffix(name, ".service") && !strings.Contains(string(text), "\nKillMode=process\n") {
				t.Errorf("%s: KillMode is not process", name)
			}
			// The programs aren't installed here.
			there := strings.NewReplacer("ExecStart=/usr/local/bin/containerd-plyfs-grpc", "ExecStart=/bin/true", "ExecStart=containerd-rootless-setuptool.sh", "ExecStart=/bin/true")
			if err := os.WriteFile(filepath.Join(dir, name), []byte(there.Replace(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, filepath.Join(dir, name))
		}
		cmd := exec.Command("systemd-analyze", args...)
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
