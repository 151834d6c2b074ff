package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// maxText is the largest file that is shown as lines.
const maxText = 4 << 20

// text is the content of a file, or why it can't be shown as text.
type text struct {
	data []byte
	ok   bool
}

// readText reads one side of a change.
func readText(root int, p string, o *object) text {
	switch {
	case o == nil:
		return text{ok: true}
	case o.typ() == unix.S_IFLNK:
		return text{[]byte(o.target), true}
	case !o.file() || o.st.Size > maxText:
		return text{}
	}
	fd, e := beneath(root, p, unix.O_RDONLY|unix.O_NONBLOCK)
	if e != 0 {
		return text{}
	}
	defer sys.Close(fd)
	data := make([]byte, o.st.Size)
	n, e := sys.Pread(fd, data, 0)
	if e != 0 {
		return text{}
	}
	data = data[:n]
	return text{data, bytes.IndexByte(data[:min(n, 8000)], 0) < 0}
}

// sides reads both sides of a change; the content of a replaced object is shown
// as that of a new one.
func (v *View) sides(c *Change) (old, now text) {
	if c.Kind == Replaced && c.before.dir() {
		return text{ok: true}, readText(v.Upper, c.Path, c.node)
	}
	return readText(v.Host, c.Path, c.before), readText(v.Upper, c.Path, c.node)
}

// gitMode is a mode as git writes it.
func gitMode(o *object) string {
	if o.typ() == unix.S_IFLNK {
		return "120000"
	}
	return fmt.Sprintf("100%03o", o.mode&0o777)
}

// Patch writes the changes as a patch in git's form. What has no lines (binary
// files, directories, owners) is told in a line of its own that patch(1) and
// git-apply pass over.
func (v *View) Patch(w io.Writer, changes []Change) error {
	for i := range changes {
		c := &changes[i]
		if _, err := io.WriteString(w, v.patchOne(c)); err != nil {
			return err
		}
	}
	return nil
}

func (v *View) patchOne(c *Change) string {
	showsLines := func(o *object) bool { return o == nil || o.file() || o.typ() == unix.S_IFLNK }
	// What the sandbox did not see is not shown beside what it made there.
	if c.Kept != "" || c.unknown() || !showsLines(c.node) || !showsLines(c.before) {
		return "# " + c.Line() + "\n"
	}
	var b strings.Builder
	a, n := Quote("a"+c.Path), Quote("b"+c.Path)
	fmt.Fprintf(&b, "diff --git %s %s\n", a, n)
	switch {
	case c.node == nil:
		fmt.Fprintf(&b, "deleted file mode %s\n", gitMode(c.before))
		n = "/dev/null"
	case c.before == nil:
		fmt.Fprintf(&b, "new file mode %s\n", gitMode(c.node))
		a = "/dev/null"
	case gitMode(c.node) != gitMode(c.before):
		fmt.Fprintf(&b, "old mode %s\nnew mode %s\n", gitMode(c.before), gitMode(c.node))
	}
	if c.Kind == Changed && !c.has(content) && !c.has(target) {
		return b.String()
	}
	old, now := v.sides(c)
	switch {
	case !old.ok || !now.ok:
		fmt.Fprintf(&b, "Binary files %s and %s differ\n", a, n)
	default:
		b.WriteString(unified(a, old.data, n, now.data))
	}
	return b.String()
}

// unified is the diff of two texts from "---" on; "" when they are the same.
func unified(a string, old []byte, b string, now []byte) string {
	out := diff.Diff(a, old, b, now)
	_, out, _ = bytes.Cut(out, []byte("\n")) // its first line is not git's
	return string(out)
}

// lines counts the lines that a change adds and removes.
func (v *View) lines(c *Change) (added, removed int, ok bool) {
	if c.Kept != "" {
		return 0, 0, false
	}
	old, now := v.sides(c)
	if !old.ok || !now.ok {
		return 0, 0, false
	}
	if len(old.data) == 0 || len(now.data) == 0 {
		return countLines(now.data), countLines(old.data), true
	}
	for line := range strings.Lines(unified("a", old.data, "b", now.data)) {
		switch {
		case strings.HasPrefix(line, "+++ "), strings.HasPrefix(line, "--- "):
		case line[0] == '+':
			added++
		case line[0] == '-':
			removed++
		}
	}
	return added, removed, true
}

func countLines(p []byte) int {
	n := bytes.Count(p, []byte("\n"))
	if len(p) > 0 && p[len(p)-1] != '\n' {
		n++
	}
	return n
}
