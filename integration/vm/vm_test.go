//go:build vm

package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// edition changes when makeimage.sh does, so that no old image is taken.
const edition = "vm-bookworm-2"

// suites are the test binaries that the machine runs.
var suites = []struct{ name, pkg, run string }{
	{"guest", "./integration/vm/guest", "."},
	{"containers", "./integration/containers", "^(TestLimits|TestServerIsElsewhere|TestDevices)$"},
}

// TestMachine boots the machine once; each test inside is a test here.
func TestMachine(t *testing.T) {
	root := harness.Root(t)
	require.Tool(t, "qemu-system-x86_64")
	image := harness.Cached(t, edition, func(dir string) error {
		cmd := exec.Command("./makeimage.sh", dir)
		cmd.Env = append(os.Environ(), "TMPDIR=/var/tmp")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("makeimage.sh: %w (it needs the machine's apt sources)\n%s", err, out)
		}
		return nil
	})
	dir := root.Dir(t)
	wanted := pack(t, dir)
	m := boot(t, image, dir)
	got := m.results()
	for _, name := range wanted {
		t.Run(name, func(t *testing.T) {
			r, ok := got[name]
			switch {
			case !ok:
				t.Error("no result came")
			case r.verdict != "PASS":
				t.Errorf("%s in the machine:\n%s", r.verdict, strings.Join(r.said, "\n"))
			default:
				t.Logf("%s in the machine", r.took)
			}
		})
	}
	for _, end := range []string{"LEFT nothing", "EXIT guest 0", "EXIT containers 0"} {
		if !slices.Contains(m.lines, end) {
			t.Errorf("the machine didn't say %q", end)
		}
	}
	if t.Failed() {
		t.Logf("the serial line:\n%s\nthe console:\n%s", strings.Join(m.lines, "\n"), m.console())
	}
}

// pack makes the disk of programs, a tar archive, and gives the names of the
// tests in it.
func pack(t *testing.T, dir string) (tests []string) {
	t.Helper()
	source, err := harness.Source()
	if err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(dir, "t")
	script := "#!/bin/bash\n. ./lib\n"
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for _, s := range suites {
		if only := os.Getenv("VMTEST"); only != "" {
			s.run = only
		}
		binary := filepath.Join(in, s.name+".test")
		run("go", "test", "-c", "-tags", "vm", "-o", binary, s.pkg)
		// The list is made here: what is missing in there must be missed.
		for _, name := range strings.Fields(run(binary, "-test.list", s.run)) {
			if strings.HasPrefix(name, "Test") {
				tests = append(tests, s.name+"/"+name)
			}
		}
		script += fmt.Sprintf("suite %s '%s'\n", s.name, s.run)
	}
	run("install", "-m", "755", harness.Binary(t), filepath.Join(in, "plyfs"))
	run("install", "-m", "755", filepath.Join(source, "integration/vm/lib.sh"), filepath.Join(in, "lib"))
	if err := os.WriteFile(filepath.Join(in, "run"), []byte(script+"finish\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	run("tar", "-C", in, "-cf", filepath.Join(dir, "programs"), ".")
	return tests
}
