package look

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// layerOf makes a layer of lines: NAME/ is a directory, NAME=TEXT a file, -NAME a
// deletion, !NAME an opaque directory.
func layerOf(t *testing.T, lines ...string) Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, l := range lines {
		h := &tar.Header{Typeflag: tar.TypeReg, Mode: 0o644}
		name, text, _ := strings.Cut(l, "=")
		dir, base := filepath.Split(name)
		switch {
		case strings.HasSuffix(name, "/"):
			h.Typeflag, h.Mode, h.Name = tar.TypeDir, 0o755, name
		case name[0] == '!':
			h.Name = name[1:] + "/.wh..wh..opq"
		case strings.HasPrefix(base, "-"):
			h.Name = dir + ".wh." + base[1:]
		default:
			h.Name, h.Size = name, int64(len(text))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, text)
	}
	_ = w.Close()
	out, err := Tar("l", func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// shown is a tree as text: kind, path, the layer and the one below.
func shown(n *Node) string {
	var b strings.Builder
	var walk func(n *Node)
	walk = func(n *Node) {
		for _, c := range n.Children {
			fmt.Fprintf(&b, "%c%s %d %d\n", c.Kind, c.Path, c.Layer, c.Below)
			walk(c)
		}
	}
	walk(n)
	return b.String()
}

func TestTree(t *testing.T) {
	st := &Stack{Layers: []Layer{
		layerOf(t, "a/", "a/x=1", "a/y=1", "b/", "b/z=1", "c=1", "e/", "e/f=1"),
		layerOf(t, "a/", "a/x=22", "a/-y", "-b", "new/deep=1", "e=file"),
		layerOf(t, "b/", "b/again=1", "!a", "a/only=1", "new/-deep", "-c"),
	}}
	for _, c := range []struct {
		from, to int
		want     string
	}{
		{0, 0, "A/a 0 -1\nA/a/x 0 -1\nA/a/y 0 -1\nA/b 0 -1\nA/b/z 0 -1\nA/c 0 -1\nA/e 0 -1\nA/e/f 0 -1\n"},
		{1, 1, " /a 0 -1\nC/a/x 1 0\nD/a/y 0 0\nD/b 0 0\nD/b/z 0 0\n /c 0 -1\nC/e 1 0\nA/new 1 -1\nA/new/deep 1 -1\n"},
		{2, 2, " /a 0 -1\nA/a/only 2 -1\nD/a/x 1 1\nA/b 2 -1\nA/b/again 2 -1\nD/c 0 0\n /e 1 -1\n /new 1 -1\nD/new/deep 1 1\n"},
		{1, 2, " /a 0 -1\nA/a/only 2 -1\nD/a/x 1 0\nD/a/y 0 0\nC/b 2 0\nA/b/again 2 -1\nD/b/z 0 0\nD/c 0 0\nC/e 1 0\nA/new 1 -1\n"},
		{3, 2, " /a 0 -1\n /a/only 2 -1\n /b 2 -1\n /b/again 2 -1\n /e 1 -1\n /new 1 -1\n"},
	} {
		if got := shown(st.Tree(c.from, c.to)); got != c.want {
			t.Errorf("%d to %d:\n%swant\n%s", c.from, c.to, got, c.want)
		}
	}
}

// TestWaste has dive's own example of what counts: a path that several layers
// have counts whole; one that is deleted, with what it had; directories don't.
func TestWaste(t *testing.T) {
	for _, c := range []struct {
		name   string
		layers [][]string
		wasted int64
		least  int64
		all    int64
		files  string
	}{
		{"once", [][]string{{"a=1234", "d/b=1"}, {"c=1"}}, 0, 6, 6, ""},
		{"twice", [][]string{{"a=1234", "b=1"}, {"a=123"}, {"a=12345"}}, 12, 4, 13, "/a:3:12 "},
		{"deleted", [][]string{{"a=1234", "b=1"}, {"-a"}}, 4, 1, 5, "/a:2:4 "},
		{"deleted directory", [][]string{{"d/a=1234", "d/e/b=12", "c=1"}, {"-d"}}, 6, 1, 7, "/d/a:2:4 /d/e/b:2:2 "},
		{"opaque", [][]string{{"d/a=1234", "d/b=12"}, {"!d", "d/b=1"}}, 7, 1, 7, "/d/a:2:4 /d/b:2:3 "},
		{"directory by file", [][]string{{"d/a=1234"}, {"d=1"}}, 4, 1, 5, "/d/a:2:4 "},
		{"nothing", [][]string{{}, {}}, 0, 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := &Stack{}
			for _, l := range c.layers {
				st.Layers = append(st.Layers, layerOf(t, l...))
			}
			w := st.Waste()
			files := ""
			for _, f := range w.Files {
				files += fmt.Sprintf("%s:%d:%d ", f.Path, f.Layers, f.Bytes)
			}
			share := 1.0
			if c.all > 0 {
				share = float64(c.least) / float64(c.all)
			}
			if w.Wasted != c.wasted || w.Bytes != c.all || w.Efficiency != share || files != c.files {
				t.Errorf("%+v: %s, want %+v", w, files, c)
			}
		})
	}
}

// TestDir reads the marks that directories have.
func TestDir(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("sh", "-ec", `cd "$1" && mkdir d o && echo 12345 >d/f && ln d/f d/g && ln -s f d/l && mkfifo p && : >.wh.gone && : >skip && : >w &&
		setfattr -n user.overlay.whiteout -v y w && setfattr -n user.overlay.opaque -v y o &&
		setfattr -n user.containers.override_stat -v 12:34:104711 d/f`, "sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l, err := Dir("x", dir, func(p string, empty bool) bool { return p == "/skip" && empty })
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, e := range l.Entries {
		got += fmt.Sprintf("%s %v %v %d %s\n", e.Path, e.Gone, e.Opaque, e.Size, e.Link)
		if e.Path == "/d/f" && (e.UID != 12 || e.GID != 34 || e.Mode.String() != "urwx--x--x") {
			t.Errorf("owners as data: %+v", e)
		}
	}
	want := "/ false false 0 \n/gone true false 0 \n/d false false 0 \n/d/f false false 6 \n/d/g false false 0 \n/d/l false false 0 f\n/o false true 0 \n/p false false 0 \n/w true false 0 \n"
	if got != want {
		t.Errorf("%swant\n%s", got, want)
	}
	for p, ok := range map[string]bool{"/d/f": true, "/d/l": true, "/p": false, "/d": false, "/../../etc/passwd": false, "/nosuch": false} {
		f, err := l.Open(p)
		if (err == nil) != ok {
			t.Errorf("%s: %v", p, err)
		}
		if err == nil {
			f.Close()
		}
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Open("/out/passwd"); err == nil {
		t.Error("a symbolic link leads out")
	}
}
