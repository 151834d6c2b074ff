package nsbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMountsBoxHidesItsMounts(t *testing.T) {
	dir := filepath.Join(os.TempDir(), "plyfs-nsbox-probe")
	if !Enter(t, Mounts) {
		if b, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(b), dir) {
			t.Errorf("a mount of the box is seen outside")
		}
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	Tmpfs(t, dir, "")
	if b, _ := os.ReadFile("/proc/self/mountinfo"); !strings.Contains(string(b), dir) {
		t.Errorf("the mount is not seen inside")
	}
}

func TestUserBoxIsRootOfItsOwn(t *testing.T) {
	if !Enter(t, User) {
		return
	}
	if os.Geteuid() != 0 {
		t.Errorf("uid %d in the box, want 0", os.Geteuid())
	}
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || strings.HasPrefix(strings.Join(strings.Fields(string(b)), " "), "0 0 ") {
		t.Errorf("the box has the ids of the machine: %q %v", b, err)
	}
	Tmpfs(t, t.TempDir(), "size=1m")
}
