package fuzz

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/plyfs/plyfs/integration/harness"
)

// TestFuzzSoak runs all of them, one after the other: PLYFS_FUZZ is how long each
// ("5m", or "1000x" executions), else they share PLYFS_SOAK. Without, go test
// runs what each begins with and what was found; building a target for more takes
// longer than that.
func TestFuzzSoak(t *testing.T) {
	root, err := harness.Source()
	if err != nil {
		t.Fatal(err)
	}
	found := targets(t, root)
	if len(found) < 14 {
		t.Errorf("%d targets only: %v", len(found), found)
	}
	long := os.Getenv("PLYFS_FUZZ")
	if d, err := time.ParseDuration(os.Getenv("PLYFS_SOAK")); long == "" && err == nil {
		long = (d / time.Duration(len(found))).String()
	}
	if long == "" {
		t.Skip("only with PLYFS_FUZZ=5m or the like")
	}
	for _, f := range found {
		t.Run(f.pkg+"."+f.name, func(t *testing.T) {
			cmd := exec.Command("go", "test", "-run=^$", "-fuzz=^"+f.name+"$", "-fuzztime="+long, "-parallel=2", "./"+f.pkg)
			cmd.Dir = root
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

type target struct{ pkg, name string }

var targetLine = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

func targets(t *testing.T, root string) (found []target) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pkg, err := filepath.Rel(root, filepath.Dir(path))
		for _, m := range targetLine.FindAllSubmatch(text, -1) {
			found = append(found, target{pkg, string(m[1])})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
