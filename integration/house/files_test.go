package house

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// maxLines is a page that one can read. A longer file says why in its first
// ten lines, with the words "longer than a page because".
const (
	maxLines = 400
	excuse   = "longer than a page because"
)

// topLevel is everything that may lie beside the dot files.
var topLevel = []string{
	"cmd", "fs", "snapshot", "plugin", "container", "integration", "docs",
	"go.mod", "go.sum", "Makefile", "README.md", "HACKING.md", "CHANGELOG.md", "LICENSE",
}

func TestTopLevel(t *testing.T) {
	have := map[string]bool{}
	for _, f := range files(t) {
		name, _, _ := strings.Cut(f, "/")
		have[name] = true
		if !strings.HasPrefix(name, ".") && !slices.Contains(topLevel, name) {
			t.Errorf("%s: the top level holds only %s; put it in a room", f, strings.Join(topLevel, ", "))
		}
	}
	for _, name := range topLevel {
		if !have[name] && !slices.Contains([]string{"snapshot", "plugin", "container"}, name) {
			t.Errorf("%s is missing at the top level", name)
		}
	}
}

func TestFileSize(t *testing.T) {
	for _, f := range files(t) {
		switch filepath.Ext(f) {
		case ".go", ".sh", ".py", ".c":
		default:
			continue
		}
		text := read(t, f)
		if n := bytes.Count(text, []byte("\n")); n > maxLines {
			top := bytes.Join(bytes.SplitN(text, []byte("\n"), 11)[:10], []byte("\n"))
			if !bytes.Contains(top, []byte(excuse)) {
				t.Errorf("%s has %d lines; cut it by subject, or say at its top that it is %q …", f, n, excuse)
			}
		}
	}
}

// todo finds the marks of unfinished work at the start of a comment.
var todo = regexp.MustCompile(`(?m)(//|#|<!--)\s*(TODO|FIXME|XXX|HACK)\b`)

func TestNothingUnfinished(t *testing.T) {
	for _, f := range files(t) {
		if filepath.Ext(f) == ".go" || filepath.Ext(f) == ".sh" || filepath.Ext(f) == ".md" {
			if m := todo.Find(read(t, f)); m != nil {
				t.Errorf("%s has %q; do it, or open an issue and delete the mark", f, m)
			}
		}
	}
}

// link is a Markdown link with its target.
var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)

func TestDocumentLinks(t *testing.T) {
	for _, f := range files(t) {
		if filepath.Ext(f) != ".md" {
			continue
		}
		for _, m := range link.FindAllSubmatch(read(t, f), -1) {
			target := string(m[1])
			if strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root(t), filepath.Dir(f), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", f, target)
			}
		}
	}
}

// TestMap: the map in docs/architecture.md names every room and document there is.
func TestMap(t *testing.T) {
	text := string(read(t, "docs/architecture.md"))
	seen := map[string]bool{}
	for _, f := range files(t) {
		parts := strings.Split(f, "/")
		room := ""
		switch {
		case len(parts) > 2 && slices.Contains([]string{"cmd", "fs", "integration"}, parts[0]):
			room = "`" + parts[0] + "/" + parts[1] + "`"
		case len(parts) == 2 && parts[0] == "docs" && filepath.Ext(f) == ".md":
			room = "](" + parts[1] + ")"
		case len(parts) > 1 && parts[0] != "docs" && !strings.HasPrefix(parts[0], "."):
			room = "`" + parts[0] + "`"
		}
		if room != "" && !seen[room] {
			seen[room] = true
			if !strings.Contains(text, room) {
				t.Errorf("the map in docs/architecture.md doesn't name %s", room)
			}
		}
	}
}

// files is every file that is or would be committed, relative to the root.
func files(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v (these rules need a git checkout)", err)
	}
	var all []string
	for f := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if _, err := os.Lstat(filepath.Join(root(t), f)); err == nil {
			all = append(all, f)
		}
	}
	return all
}

func read(t *testing.T, f string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), f))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// root is the directory of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var findRoot = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	return filepath.Dir(strings.TrimSpace(string(out))), err
})
