package union

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// crashEnv makes the test binary open a union and do one operation. Its value
// is "DIR OPERATION".
const crashEnv = "PLYFS_UNION_CRASH"

// crashCase is an operation with the failpoints that it passes.
type crashCase struct {
	name   string
	points []string
	do     func(c *client)
}

var crashCases = []crashCase{
	{"write", []string{"copyup.made", "copyup.attrs", "copyup.place", "write"}, func(c *client) {
		c.write(c.id("low/f"), "NEW", 0)
	}},
	{"truncate", []string{"copyup.made", "copyup.attrs", "copyup.place"}, func(c *client) {
		var a Attr
		c.check("truncate", c.fs.SetAttr(caller, c.id("low/f"), &AttrChange{Valid: SetSize, Size: 0}, &a))
	}},
	{"write-linked", []string{"copyup.made", "copyup.place"}, func(c *client) {
		c.write(c.id("low/x"), "NEW", 0)
	}},
	{"create", []string{"copyup.made", "copyup.attrs", "copyup.place"}, func(c *client) { c.create("low/sub/new", 0o644) }},
	{"create-over-whiteout", []string{"create.staged"}, func(c *client) { c.create("gone", 0o644) }},
	{"mkdir-over-whiteout", []string{"create.staged"}, func(c *client) { c.mkdir("gone") }},
	{"create-as-other", []string{"create.staged"}, func(c *client) {
		var e Entry
		c.check("create", c.fs.Create(&Caller{UID: 5, GID: 5}, node.Root, "other", 0o644, 0, &e))
	}},
	{"unlink-lower", []string{"unlink.begin"}, func(c *client) { c.unlink("low/f") }},
	{"unlink-upper", []string{"unlink.begin"}, func(c *client) { c.unlink("up/f") }},
	{"unlink-both", []string{"unlink.begin"}, func(c *client) { c.unlink("merged/both") }},
	{"rmdir-lower", []string{"rmdir.begin"}, func(c *client) { c.rmdir("low/empty") }},
	{"rmdir-merged", []string{"rmdir.begin", "rmdir.away"}, func(c *client) { c.rmdir("emptied") }},
	{"rename-file", []string{"copyup.place", "rename.done"}, func(c *client) { c.rename("low/f", "up/g") }},
	{"rename-over", []string{"rename.done"}, func(c *client) { c.rename("up/f", "merged/both") }},
	{"rename-dir", []string{"copyup.made", "copyup.attrs", "copyup.place", "rename.done"}, func(c *client) { c.rename("low", "moved") }},
	{"rename-dir-over-whiteout", []string{"rename.exchanged", "rename.done"}, func(c *client) { c.rename("up", "gone") }},
	{"rename-low-dir-over-whiteout", []string{"copyup.place", "rename.exchanged", "rename.done"}, func(c *client) { c.rename("low", "gone") }},
	{"rename-dir-over-emptied", []string{"rename.done"}, func(c *client) { c.rename("up", "emptied") }},
}

func crashLayers(e *env) {
	e.file("lower1/low/f", strings.Repeat("old", 10000))
	e.file("lower1/low/sub/deep/f", "deep")
	e.mkdir("lower1/low/empty")
	e.file("lower1/low/x", "hard")
	link(e, e.path("lower1/low/x"), e.path("lower1/low/y"))
	e.file("lower1/merged/both", "lower")
	e.file("upper/merged/both", "upper")
	e.file("upper/up/f", "up")
	e.file("lower1/gone", "")
	e.whiteout("upper/gone")
	e.file("lower1/emptied/a", "")
	e.mkdir("upper/emptied")
	e.whiteout("upper/emptied/a")
	e.setxattr("upper/emptied", "trusted.overlay.impure", "y")
}

func crashOptions(dir string) layer.Options {
	return layer.Options{
		Lower: []string{filepath.Join(dir, "lower1")}, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"),
	}
}

// crashChild is the process that dies.
func crashChild(v string) {
	dir, op, _ := strings.Cut(v, " ")
	o := crashOptions(dir)
	stack, err := layer.Open(&o)
	if err != nil {
		panic(err)
	}
	fs, err := New(stack, &o)
	if err != nil {
		panic(err)
	}
	for _, k := range crashCases {
		if k.name == op {
			k.do(&client{t: panicTB{}, fs: fs, n: map[node.ID]uint64{}})
		}
	}
	if err := fs.Close(); err != nil {
		panic(err)
	}
}

// panicTB is a testing.TB for a process that is no test.
type panicTB struct{ testing.TB }

func (panicTB) Helper()                   {}
func (panicTB) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (panicTB) Fatal(a ...any)            { panic(fmt.Sprint(a...)) }

// crash runs an operation in a process that is killed at the n-th passing of
// the point; it answers false when the process has come to its end.
func crash(t *testing.T, e *env, op, point string, n int) bool {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), crashEnv+"="+e.dir+" "+op, fmt.Sprintf("PLYFS_FAIL=%s:kill:%d", point, n))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("%s: %v\n%s", op, err, out)
	}
	return true
}

// TestCrash kills an operation at every failpoint that it passes: what a new
// mount shows is the view before or after the operation, and no temporary is
// left.
func TestCrash(t *testing.T) {
	require.Root(t)
	for _, k := range crashCases {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, 1)
			crashLayers(e)
			e.o = crashOptions(e.dir)
			e.open()
			before := e.c.tree()
			k.do(e.c)
			after := e.c.tree()
			e.close()
			for _, point := range k.points {
				for n := 1; ; n++ {
					e := newEnv(t, 1)
					crashLayers(e)
					e.o = crashOptions(e.dir)
					if !crash(t, e, k.name, point, n) {
						if n == 1 {
							t.Errorf("%s is not passed", point)
						}
						break
					}
					e.open()
					e.workEmpty()
					if got := e.c.tree(); got != before && got != after {
						t.Errorf("killed at %s, passing %d: neither the old nor the new view:\n%s\nold:\n%s", point, n, diffLines(before, got), before)
					}
					// And the operation can be done now.
					if e.c.tree() == before {
						k.do(e.c)
						if got := e.c.tree(); got != after {
							t.Errorf("after %s and again:\n%s", point, diffLines(after, got))
						}
					}
					e.close()
				}
			}
		})
	}
}

// TestCrashPoints: every failpoint of the package is in the cases.
func TestCrashPoints(t *testing.T) {
	tried := map[string]bool{}
	for _, k := range crashCases {
		for _, p := range k.points {
			tried[p] = true
		}
	}
	files, _ := filepath.Glob("*.go")
	re := regexp.MustCompile(`fail\.(?:Point|Err)\("([^"]+)"\)`)
	found := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range re.FindAllSubmatch(text, -1) {
			found++
			if !tried[string(m[1])] {
				t.Errorf("%s: nobody dies at %s", f, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("no failpoint was found")
	}
}
