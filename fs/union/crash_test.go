package union

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// crashEnv makes the test binary open a union and do one operation. Its value
// is "DIR OPERATION".
const crashEnv = "PLYFS_UNION_CRASH"

// crashCase is an operation. It passes failpoints, which the test finds out.
type crashCase struct {
	name string
	do   func(c *client)
	set  func(o *layer.Options)
}

func metacopy(o *layer.Options) { o.Metacopy = true }

func redirects(o *layer.Options) { o.Redirect = layer.RedirectOn }

func strict(o *layer.Options) { o.Fsync = layer.FsyncStrict }

var crashCases = []crashCase{
	{"write", func(c *client) { c.write(c.id("low/f"), "NEW", 0) }, strict},
	{"truncate", func(c *client) { c.truncate("low/f", 0) }, nil},
	{"truncate-some", func(c *client) { c.truncate("low/f", 5) }, nil},
	{"write-linked", func(c *client) { c.write(c.id("low/x"), "NEW", 0) }, nil},
	{"chmod", func(c *client) { c.chmod("low/f", 0o640) }, nil},
	{"chmod-metacopy", func(c *client) { c.chmod("low/f", 0o640) }, metacopy},
	{"setxattr", func(c *client) {
		c.check("setxattr", c.fs.SetXattr(c.id("low/f"), "user.x", []byte("y"), 0))
	}, nil},
	{"create", func(c *client) { c.create("low/sub/new", 0o644) }, nil},
	{"create-over-whiteout", func(c *client) { c.create("gone", 0o644) }, nil},
	{"mkdir", func(c *client) { c.mkdir("low/sub/new") }, nil},
	{"mkdir-over-whiteout", func(c *client) { c.mkdir("gone") }, nil},
	{"symlink", func(c *client) {
		var e Entry
		c.check("symlink", c.fs.Symlink(caller, c.id("up"), "new", "target", &e))
	}, nil},
	{"create-as-other", func(c *client) {
		var e Entry
		c.check("create", c.fs.Create(&Caller{UID: 5, GID: 5}, node.Root, "other", 0o644, 0, &e))
	}, nil},
	{"link", func(c *client) { c.link(c.id("low/f"), "up/linked") }, nil},
	{"link-over-whiteout", func(c *client) { c.link(c.id("up/f"), "gone") }, nil},
	{"link-linked", func(c *client) { c.link(c.id("low/x"), "up/linked") }, nil},
	{"unlink-lower", func(c *client) { c.unlink("low/f") }, nil},
	{"unlink-upper", func(c *client) { c.unlink("up/f") }, nil},
	{"unlink-both", func(c *client) { c.unlink("merged/both") }, nil},
	{"unlink-one-of-two", func(c *client) {
		c.link(c.id("merged/both"), "up/second")
		c.step()
		c.unlink("merged/both")
	}, nil},
	{"rmdir-lower", func(c *client) { c.rmdir("low/empty") }, nil},
	{"rmdir-merged", func(c *client) { c.rmdir("emptied") }, nil},
	{"rename-file", func(c *client) { c.rename("low/f", "up/g") }, nil},
	{"rename-over", func(c *client) { c.rename("up/f", "merged/both") }, nil},
	{"rename-over-held", func(c *client) { c.id("merged/both"); c.rename("up/f", "merged/both") }, nil},
	{"rename-linked", func(c *client) {
		c.write(c.id("low/x"), "NEW", 0)
		c.step()
		c.rename("low/y", "up/y")
	}, nil},
	{"exchange", func(c *client) {
		if e := c.renameErr("up/f", "merged/both", unix.RENAME_EXCHANGE); e != 0 {
			c.t.Fatalf("exchange: %v", e)
		}
	}, nil},
	{"rename-dir", func(c *client) { c.rename("low", "moved") }, nil},
	{"rename-dir-redirect", func(c *client) { c.rename("low", "moved") }, redirects},
	{"rename-dir-merged", func(c *client) { c.rename("holes", "moved") }, nil},
	{"rename-dir-over-whiteout", func(c *client) { c.rename("up", "gone") }, nil},
	{"rename-low-dir-over-whiteout", func(c *client) { c.rename("low", "gone") }, nil},
	{"rename-dir-over-emptied", func(c *client) { c.rename("up", "emptied") }, nil},
	{"metacopy-truncate", func(c *client) { c.truncate("meta", 5) }, metacopy},
	{"metacopy-write", func(c *client) { c.write(c.id("meta"), "NEW", 0) }, metacopy},
}

func (c *client) truncate(path string, size uint64) {
	c.t.Helper()
	var a Attr
	c.check("truncate", c.fs.SetAttr(caller, c.id(path), &AttrChange{Valid: SetSize, Size: size}, &a))
}

func (c *client) chmod(path string, mode uint32) {
	c.t.Helper()
	var a Attr
	c.check("chmod", c.fs.SetAttr(caller, c.id(path), &AttrChange{Valid: SetMode, Mode: mode}, &a))
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
	e.file("lower1/holes/a", "a")
	e.file("lower1/holes/b", "b")
	e.whiteout("upper/holes/a")
	e.file("lower1/meta", strings.Repeat("below", 1000))
	e.file("upper/meta", strings.Repeat("\x00", 5000))
	e.setxattr("upper/meta", "trusted.overlay.metacopy", "")
}

func (k *crashCase) options(dir string) layer.Options {
	o := layer.Options{
		Lower: []string{filepath.Join(dir, "lower1")}, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"),
	}
	if k.set != nil {
		k.set(&o)
	}
	return o
}

// crashChild is the process that dies, or tells what it has passed.
func crashChild(v string) {
	dir, op, _ := strings.Cut(v, " ")
	for _, k := range crashCases {
		if k.name != op {
			continue
		}
		o := k.options(dir)
		stack, err := layer.Open(&o)
		if err != nil {
			panic(err)
		}
		fs, err := New(stack, &o)
		if err != nil {
			panic(err)
		}
		passed := fail.Record()
		k.do(&client{t: panicTB{}, fs: fs, n: map[node.ID]uint64{}})
		if err := fs.Close(); err != nil {
			panic(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(passed()); err != nil {
			panic(err)
		}
	}
}

// panicTB is a testing.TB for a process that is no test.
type panicTB struct{ testing.TB }

func (panicTB) Helper()                   {}
func (panicTB) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (panicTB) Fatal(a ...any)            { panic(fmt.Sprint(a...)) }

// crash runs an operation in a process that is killed at the n-th passing of
// the point; with no point it answers what it passes.
func crash(t *testing.T, e *env, op, point string, n int) (passed map[string]int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), crashEnv+"="+e.dir+" "+op)
	if point != "" {
		cmd.Env = append(cmd.Env, fmt.Sprintf("PLYFS_FAIL=%s:kill:%d", point, n))
	}
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.Output()
	if point == "" {
		if err == nil {
			err = json.Unmarshal(out, &passed)
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", op, err, words.String())
		}
		return passed
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("%s at %s %d: %v\n%s", op, point, n, err, words.String())
	}
	return nil
}

// mostKills is how often a case is killed at one point: a big tree passes it for
// each of its files.
const mostKills = 6

// TestCrash kills an operation at every failpoint that it passes: what a new
// mount shows is the view before or after the operation, and no temporary is
// left. Every failpoint of the package is passed.
func TestCrash(t *testing.T) {
	require.Root(t)
	var mu sync.Mutex
	tried, kills := map[string]bool{}, 0
	t.Run("at", func(t *testing.T) {
		for _, k := range crashCases {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				crashEverywhere(t, &k, func(point string) {
					mu.Lock()
					defer mu.Unlock()
					tried[point] = true
					kills++
				})
			})
		}
	})
	t.Logf("killed %d times", kills)
	if !t.Failed() {
		allTried(t, tried)
	}
}

func crashEverywhere(t *testing.T, k *crashCase, killed func(point string)) {
	fresh := func() *env {
		e := newEnv(t, 1)
		crashLayers(e)
		e.o = k.options(e.dir)
		return e
	}
	e := fresh()
	e.open()
	before := e.c.tree()
	k.do(e.c)
	after := e.c.tree()
	e.close()
	views := map[string]bool{countless(before): true, countless(after): true}
	for _, v := range e.c.steps {
		views[countless(v)] = true
	}
	for point, n := range crash(t, fresh(), k.name, "", 0) {
		for i := 1; i <= min(n, mostKills); i++ {
			e := fresh()
			crash(t, e, k.name, point, i)
			killed(point)
			e.open()
			e.workEmpty()
			got := e.c.tree()
			if !views[countless(got)] {
				t.Errorf("killed at %s, passing %d: neither the old nor the new view:\n%s\nold:\n%.1000s", point, i, diffLines(before, got), before)
			}
			// And the operation can be done now.
			if got == before {
				k.do(e.c)
				if got := e.c.tree(); countless(got) != countless(after) {
					t.Errorf("after %s and again:\n%s", point, diffLines(after, got))
				}
			}
			e.close()
		}
	}
}

// step is called between the operations of a case of several: the view is right
// then, too.
func (c *client) step() {
	if _, child := c.t.(panicTB); !child {
		c.steps = append(c.steps, c.tree())
	}
}

// countless is a view without the link counts of a lower file with several
// names: the upper's count and what is kept beside it change one after the
// other. Nor are they one file when the copy-up of one name ends before the
// index has it; overlayfs always parts them.
func countless(view string) string {
	return linkCounts.ReplaceAllString(view, "$1 n ")
}

var linkCounts = regexp.MustCompile(`(?m)^((?:low|moved|gone|up)/(?:x|y|linked) [0-7]+) [0-9]+ `)

// allTried: every failpoint of the package is among those.
func allTried(t *testing.T, tried map[string]bool) {
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
