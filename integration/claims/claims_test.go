package claims

import (
	_ "embed"
	"os"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

//go:embed filesystems.sh
var filesystems string

//go:embed runners.sh
var runners string

func TestFilesystems(t *testing.T) {
	u := user(t, "fuse-overlayfs", "perl")
	harness.SubIDs.Require(t)
	dir := u.Dir(t)
	check(t, "filesystems", u.RunIn(t, harness.SubIDs, "cd "+dir+"\n"+filesystems))
}

func TestRunners(t *testing.T) {
	u := user(t, "bwrap", "podman", "busybox")
	require.UserNS(t)
	dir := u.Dir(t)
	check(t, "runners", u.Run(t, "cd "+dir+"\n"+runners, "HOME="+dir))
}

func user(t *testing.T, tools ...string) *harness.User {
	t.Helper()
	if !harness.IsPlyfs() {
		t.Skip("the README is about plyfs only")
	}
	for _, tool := range tools {
		require.Tool(t, tool)
	}
	return harness.Unprivileged(t)
}

// check compares the table that is marked NAME in the README with what was
// found: lines of "ROW TOOL CODE". A row of it begins with <!-- ROW -->, and
// the tools are the names in its head, in code.
func check(t *testing.T, name, found string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "<!-- "+name+" -->\n")
	table, _, end := strings.Cut(table, "<!-- /"+name+" -->")
	if !ok || !end {
		t.Fatalf("README.md has no table between the marks %s and /%[1]s", name)
	}
	said := map[string]string{} // by "ROW TOOL"
	lines := strings.Split(strings.TrimSpace(table), "\n")
	tools := cells(lines[0])
	for _, line := range lines[2:] {
		row := cells(line)
		_, id, ok := strings.Cut(row[0], "<!-- ")
		id, _, end := strings.Cut(id, " -->")
		if !ok || !end || len(row) != len(tools) {
			t.Fatalf("README.md: a row without its mark, or with a wrong number of cells: %s", line)
		}
		for i := 1; i < len(row)-1; i++ {
			said[id+" "+tools[i]] = row[i]
		}
	}
	n := 0
	for line := range strings.Lines(found) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		n++
		want := "–"
		if f[2] == "0" {
			want = "✓"
		}
		if got := said[f[0]+" "+f[1]]; got != want {
			t.Errorf("README.md says %q of %s under %s, which is %q here (code %s)", got, f[1], f[0], want, f[2])
		}
	}
	if n != len(said) {
		t.Errorf("README.md has %d cells, and %d were tried:\n%s", len(said), n, found)
	}
}

// cells are those of a line of a table.
func cells(line string) []string {
	line = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|")
	parts := strings.Split(line, "|")
	for i := range parts {
		parts[i] = strings.Trim(strings.TrimSpace(parts[i]), "`")
	}
	return parts
}
