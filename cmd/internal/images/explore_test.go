package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/container/image/ship"
	"github.com/plyfs/plyfs/integration/harness"
)

// TestExplore walks through an image, and a layout that nobody has loaded, on a
// terminal.
func TestExplore(t *testing.T) {
	b := newBuilder(t).
		files(dir("etc"), reg("etc/conf", "old line\n"), reg("etc/gone", "x"), reg("e\x1b[2Jvil", "harmless"), dir("usr"), reg("usr/tool", "kept")).
		files(reg("etc/conf", "new line\n"), reg("etc/.wh.gone", ""), reg("fresh", "1"), symlink("link", "/etc/conf"))
	b.cfg.History[0].CreatedBy, b.cfg.History[1].CreatedBy = "ADD base", "RUN make change"
	layout, root := b.dir("x"), t.TempDir()
	s, err := ship.New(root, unpack)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), layout, "", ship.ThisPlatform()); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"x", layout, b.docker("x")} {
		t.Run(filepath.Base(what), func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", "explore", what)
			cmd.Env = append(os.Environ(), "PLYFS_TEST_MAIN=1", "PLYFS_ROOT="+root, "TERM=xterm-256color", "CI=")
			x := harness.Watch(t, cmd)
			x.Shows("changes of layer 2", "ADD base", "RUN make c…", "C -rw-r--r--", "A -rw-r--r--", "D -rw-r--r--", "usr/", `e\u001b[2Jvil`, "link → /etc/conf")
			x.Keys("u")
			x.Shows("fresh", "conf", "gone", "!usr/", "!vil")
			x.Keys("d")
			x.Shows("fresh", "!gone")
			x.Keys("du")
			x.Shows("gone", "usr/")
			x.Keys("/conf\r")
			x.Shows("conf", "!fresh", "!usr/", "n next")
			x.Keys("x")
			x.Shows("-old line", "+new line")
			x.Keys("q\x1b")
			x.Shows("fresh", "usr/")
			x.Keys("/tool\rv")
			x.Shows("kept", "line 1 of 1")
			x.Keys("q\x1b")
			x.Shows("fresh", "tab layers")
			x.Keys("\t\x1b[A") // the layers, one up
			x.Shows("changes of layer 1", "A -rw-r--r--", "!fresh", "!C -rw")
			x.Keys("?")
			x.Shows("search names")
			x.Keys("q")
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	cmd := exec.Command("/proc/self/exe", "explore", "x")
	cmd.Env = append(os.Environ(), "PLYFS_TEST_MAIN=1", "PLYFS_ROOT="+root, "CI=")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "needs a terminal") {
		t.Errorf("without a terminal: %v: %s", err, out)
	}
}

// TestExploreCI has dive's rules judge images: by default, by the file of the
// directory, by flags.
func TestExploreCI(t *testing.T) {
	wasteful := newBuilder(t).files(reg("a", strings.Repeat("x", 1000)), reg("b", strings.Repeat("y", 3000))).files(reg("a", strings.Repeat("z", 1000)))
	layout, work := wasteful.dir("x"), t.TempDir()
	if err := os.WriteFile(filepath.Join(work, ".dive-ci"), []byte("rules:\n  lowestEfficiency: 0.8\n  highestWastedBytes: 2kB\n  highestUserWastedPercent: disabled\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(work, "bad")
	if err := os.WriteFile(bad, []byte("rules:\n  lowestEffort: 0.8\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// 5000 bytes, of which 4000 would do; a is there twice, with 2000 bytes, on
	// 1000 bytes that aren't the base.
	for _, c := range []struct {
		dir   string
		env   string
		args  []string
		code  int
		words []string
	}{
		{"/", "", []string{"--ci"}, 1, []string{"FAIL  lowestEfficiency", "SKIP  highestWastedBytes", "FAIL  highestUserWastedPercent", "wastedBytes: 2000 bytes", "efficiency: 80.0000 %"}},
		{work, "", []string{"--ci"}, 0, []string{"PASS  lowestEfficiency", "PASS  highestWastedBytes", "SKIP  highestUserWastedPercent"}},
		{work, "CI=true", nil, 0, []string{"PASS  lowestEfficiency"}},
		{work, "", []string{"--ci", "--highestWastedBytes", "1999B"}, 1, []string{"FAIL  highestWastedBytes"}},
		{"/", "", []string{"--lowestEfficiency=0.8", "--highestUserWastedPercent=off"}, 0, nil},
		{work, "", []string{"--ci", "--ci-config", bad}, 1, []string{`unknown rule "lowestEffort"`}},
		{work, "", []string{"--ci", "--ci-config", "nosuch"}, 1, []string{"no such file"}},
		{work, "", []string{"--lowestEfficiency", "2"}, 1, []string{"no number from 0 to 1"}},
	} {
		cmd := exec.Command("/proc/self/exe", append([]string{"explore", layout}, c.args...)...)
		cmd.Dir = c.dir
		cmd.Env = append(os.Environ(), "PLYFS_TEST_MAIN=1", "PLYFS_ROOT="+t.TempDir(), "CI=", c.env)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%v: exit code %d, want %d:\n%s", c.args, code, c.code, out)
		}
		for _, w := range c.words {
			if !strings.Contains(string(out), w) {
				t.Errorf("%v: no %q in\n%s", c.args, w, out)
			}
		}
	}
}
