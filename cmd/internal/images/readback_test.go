package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/container/image/ship"
	"github.com/plyfs/plyfs/fs/fstest/require"
)

// TestReadBack has podman and umoci unpack an image with a layer that Commit
// wrote: both show what plyfs has.
func TestReadBack(t *testing.T) {
	require.Root(t)
	podman, umoci := require.Tool(t, "podman"), require.Tool(t, "umoci")
	s := newShipper(t)
	base := newBuilder(t).files(dir("keep"), reg("keep/a", "a"), reg("keep/gone", "x"), dir("hidden"), reg("hidden/old", "x"), dir("proc"), dir("etc"))
	list, err := s.Load(t.Context(), base.dir("base"), "", ship.ThisPlatform())
	if err != nil {
		t.Fatal(err)
	}
	upper := filepath.Join(t.TempDir(), "upper")
	if out, err := exec.Command("sh", "-ec", `mkdir -p "$1/keep" "$1/hidden" "$1/etc" && cd "$1" && mknod keep/gone c 0 0 &&
		setfattr -n trusted.overlay.opaque -v y hidden && echo new >hidden/new && chown 12:34 hidden/new && ln hidden/new keep/link &&
		ln -s /nowhere keep/sym && mkfifo keep/fifo && echo c >keep/cap && setcap cap_net_raw+ep keep/cap && : >etc/hosts &&
		touch -d @1500000000 keep hidden hidden/new keep/cap`, "sh", upper).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	e, err := s.Commit(t.Context(), &ship.CommitOptions{
		Upper: upper, Base: list[0].Digest, Made: []string{"/proc", "/etc/hosts"}, Name: "docker.io/library/made:1", Created: made,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Layers) != 2 {
		t.Fatalf("layers %v", e.Layers)
	}
	work := t.TempDir()
	if err := s.SaveDir(filepath.Join(work, "layout"), []string{"made:1"}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(work, "made.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Save(f, []string{"made:1"}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	list2 := `cd "$1" && find . -mindepth 1 ! -path ./keep/sym -printf '%p %y %U:%G %m %s %n\n' | sed '/ d /s/ [0-9]* [0-9]*$//' | sort && getcap keep/cap && readlink keep/sym`
	shows := func(dir string) string {
		t.Helper()
		out, err := exec.Command("sh", "-ec", list2, "sh", dir).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", dir, err, out)
		}
		return string(out)
	}
	if out, err := exec.Command(umoci, "unpack", "--image", work+"/layout:1", work+"/bundle").CombinedOutput(); err != nil {
		t.Fatalf("umoci: %v: %s", err, out)
	}
	want := shows(work + "/bundle/rootfs")
	for _, part := range []string{"./hidden/new f 12:34 644 4 2", "./keep/a f 0:0 644 1 1", "./keep/fifo p", "cap_net_raw=ep"} {
		if !strings.Contains(want, part) {
			t.Errorf("umoci doesn't show %q:\n%s", part, want)
		}
	}
	for _, part := range []string{"gone", "old", "etc/hosts"} {
		if strings.Contains(want, part) {
			t.Errorf("umoci shows %q:\n%s", part, want)
		}
	}
	pm := []string{"--root", work + "/pm", "--runroot", work + "/pmrun", "--storage-driver", "vfs"}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(podman, append(pm, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("podman %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("load", "-q", "-i", work+"/made.tar")
	run("create", "--name", "c", "made:1", "x")
	if got := shows(run("mount", "c")); got != want {
		t.Errorf("podman shows\n%s\numoci\n%s", got, want)
	}
	run("rm", "-f", "c")
	run("rmi", "-af")
}
