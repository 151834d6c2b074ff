package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/plyfs/plyfs/"

// pkg is what `go list -json` says of one package.
type pkg struct {
	ImportPath, Dir, Doc string
	Imports, Deps        []string
	GoFiles, TestGoFiles []string
}

// rule is one row of the import table: what the rooms below from may import
// of the project, as prefixes. Rooms that don't exist yet cost nothing.
type rule struct {
	from string
	may  []string
}

// floor is what any room of the heart stands on.
var floor = []string{"fs/sys", "fs/layer", "fs/dialect", "fs/index", "fs/node", "fs/fail"}

// table is DESIGN.md's import table, with the rooms that it doesn't list by
// name (the floor may use what is below it and nothing above).
var table = []rule{
	{"fs/sys", []string{"fs/fail"}},
	{"fs/fail", nil},
	{"fs/dialect", []string{"fs/sys", "fs/layer", "fs/fail"}},
	{"fs/node", []string{"fs/sys", "fs/fail"}},
	{"fs/layer", []string{"fs/sys", "fs/fail"}},
	{"fs/index", []string{"fs/sys", "fs/layer", "fs/dialect", "fs/fail"}},
	{"fs/union", append([]string{"fs/union"}, floor...)},
	{"fs/fusefs", append([]string{"fs/fusefs", "fs/union"}, floor...)},
	{"fs/keeper", append([]string{"fs/keeper", "fs/fusefs", "fs/union"}, floor...)},
	{"fs/fstest", []string{"fs"}},
	{"snapshot", append([]string{"snapshot"}, floor...)},
	{"plugin", []string{"plugin", "snapshot"}},
	{"container", append([]string{"container"}, floor...)},
	{"cmd", []string{"cmd", "fs", "snapshot", "plugin", "container"}},
	{"integration", []string{"integration", "fs", "snapshot", "plugin", "container"}},
}

// foreign says which rooms may import modules that would spread if they could.
var foreign = []struct {
	module string
	may    []string
	why    string
}{
	{"github.com/hanwen/go-fuse", []string{"fs/fusefs"}, "only to hold our structs against: what it brings is initialised in every process"},
	{"github.com/containerd/", []string{"snapshot", "plugin", "cmd", "integration", "container/image"}, "the heart and the runner work without containerd"},
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		room := strings.TrimPrefix(p.ImportPath, module)
		r := ruleFor(room)
		if r == nil {
			t.Errorf("%s is in no room of the import table; add it to DESIGN's table and to this test, or move it", room)
			continue
		}
		for _, imp := range p.Imports {
			if of, ok := strings.CutPrefix(imp, module); ok {
				if !below(of, r.from) && !belowAny(of, r.may) {
					t.Errorf("%s imports %s: %s may import only %v; declare a small interface instead", room, of, r.from, r.may)
				}
				continue
			}
			for _, f := range foreign {
				if strings.HasPrefix(imp, f.module) && !belowAny(room, f.may) {
					t.Errorf("%s imports %s: only %v may, because %s", room, imp, f.may, f.why)
				}
			}
		}
	}
}

// TestNoCgo keeps the binaries static.
func TestNoCgo(t *testing.T) {
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			if imp == "C" {
				t.Errorf("%s uses cgo; the binaries are static, so write it in Go", p.ImportPath)
			}
		}
	}
}

// TestPackageDocs: every package says what the room is for.
func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles)+len(p.TestGoFiles) > 0 && strings.TrimSpace(p.Doc) == "" {
			t.Errorf("%s has no package comment; say in doc.go what it is for and what it may touch", p.ImportPath)
		}
	}
}

func ruleFor(room string) *rule {
	for i := range table {
		if below(room, table[i].from) {
			return &table[i]
		}
	}
	return nil
}

func below(p, prefix string) bool {
	return p == prefix || strings.HasPrefix(p, prefix+"/")
}

func belowAny(p string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if below(p, prefix) {
			return true
		}
	}
	return false
}

// packages is every package of the project.
func packages(t *testing.T) []pkg {
	t.Helper()
	all, err := listed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// listed asks go list once for all tests: it takes seconds.
var listed = sync.OnceValues(func() (all []pkg, err error) {
	dir, err := findRoot()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Imports,Deps,GoFiles,TestGoFiles", "./...")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		return nil, fmt.Errorf("go list: %w", err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		err = errors.New("go list found no package")
	}
	return all, err
})

// TestPlyfsIsLight: the user's command has nothing of containerd's in it,
// whatever is linked into the daemon beside it.
func TestPlyfsIsLight(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath != module+"cmd/plyfs" {
			continue
		}
		for _, dep := range p.Deps {
			for _, heavy := range []string{"github.com/containerd/", "google.golang.org/grpc", "go.etcd.io/bbolt", "github.com/prometheus/"} {
				if strings.HasPrefix(dep, heavy) {
					t.Errorf("cmd/plyfs links %s: keep what needs it in cmd/containerd-plyfs-grpc", dep)
				}
			}
		}
		return
	}
	t.Error("cmd/plyfs is gone")
}
