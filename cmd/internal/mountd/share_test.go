package mountd_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/fail"
	"golang.org/x/sys/unix"
)

// watchLayers counts, as the kernel tells, what is opened and listed of the
// directories of all layers but the roots, which each mount is given.
func (w *world) watchLayers() (events func() []string) {
	w.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(w.t, err)
	w.t.Cleanup(func() { _ = unix.Close(fd) })
	roots, err := filepath.Glob(w.root() + "/snapshots/*/fs")
	must(w.t, err)
	watched := map[int32]string{}
	for _, r := range roots {
		must(w.t, filepath.WalkDir(r, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && p != r {
				var n int
				n, err = unix.InotifyAddWatch(fd, p, unix.IN_OPEN|unix.IN_ACCESS|unix.IN_ONLYDIR)
				watched[int32(n)] = p
			}
			return err
		}))
	}
	return func() (what []string) {
		buf := make([]byte, 1<<16)
		for {
			n, err := unix.Read(fd, buf)
			if err != nil {
				return what
			}
			for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
				wd, size := int32(le(b)), le(b[12:])
				what = append(what, watched[wd])
				b = b[unix.SizeofInotifyEvent+size:]
			}
		}
	}
}

func le(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// look is what find -ls shows of a tree.
func look(t *testing.T, dir string) (lines []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			lines = append(lines, fmt.Sprint(strings.TrimPrefix(p, dir), fi.Mode(), fi.Size()))
		}
		return err
	}))
	return lines
}

// TestSecondContainer: its mount, and a walk through all of it, reads no
// directory of the image's layers: what the first one has found is shared.
func TestSecondContainer(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	parent := ""
	for i := range 4 {
		name := fmt.Sprint("layer", i)
		w.layer(name, parent, func(dir string) {
			write(t, fmt.Sprintf("%s/etc/conf.d/%d", dir, i), "text")
			write(t, fmt.Sprintf("%s/usr/share/doc%d/readme", dir, i), "text")
			if i == 3 {
				must(t, os.RemoveAll(dir+"/usr/share/doc1"))
			}
		})
		parent = name
	}
	first := w.prepare("first", parent, nil)
	events := w.watchLayers()
	want := look(t, first[0].Source)
	if n := len(events()); n == 0 || len(want) != 15 {
		t.Fatalf("the first container: %d events, %v", n, want)
	}
	w.awaitIndex(4)
	events()
	second := w.prepare("second", parent, nil)
	if got := look(t, second[0].Source); !slices.Equal(got, want) {
		t.Errorf("the second container shows %v, the first %v", got, want)
	}
	if did := events(); len(did) != 0 {
		t.Errorf("for the second container directories of layers were read: %v", did)
	}
	// What one changes the other doesn't see.
	write(t, second[0].Source+"/etc/conf.d/0", "mine")
	must(t, os.Remove(second[0].Source+"/usr/share/doc0/readme"))
	if got := look(t, first[0].Source); !slices.Equal(got, want) || read(t, first[0].Source+"/etc/conf.d/0") != "text" {
		t.Errorf("the first container shows %v", got)
	}
	// Nor is it looked for again when both are gone.
	must(t, w.Remove(ctx, "first"))
	must(t, w.Remove(ctx, "second"))
	third := w.prepare("third", parent, nil)
	events()
	if got := look(t, third[0].Source); !slices.Equal(got, want) {
		t.Errorf("the third container shows %v", got)
	}
	if did := events(); len(did) != 0 {
		t.Errorf("for the third container directories of layers were read: %v", did)
	}
}

// awaitIndex waits until the chain that ends with a layer has its index file, and
// gives its path.
func (w *world) awaitIndex(id int) string {
	w.t.Helper()
	for range 1000 {
		if f, _ := filepath.Glob(fmt.Sprintf("%s/snapshots/%d/index/*.index", w.root(), id)); len(f) == 1 {
			return f[0]
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatal("there is no index file after ten seconds")
	return ""
}

// TestIndexOfImage: a container in another server process, and after all
// servers have ended, reads no directory of the layers; the file goes with the image.
func TestIndexOfImage(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/etc/conf.d/a", "text") })
	w.layer("top", "base", func(dir string) { write(t, dir+"/etc/conf.d/b", "text") })
	// What is mounted to unpack a layer, or to look at one, makes no file.
	w.prepare("extract-1-abc sha256:def", "top", nil)
	_, err := w.View(ctx, "view", "top")
	must(t, err)
	if _, err := os.Lstat(w.root() + "/snapshots/2/index"); err == nil {
		t.Error("an index file for a mount of once")
	}
	must(t, w.Remove(ctx, "extract-1-abc sha256:def"))
	must(t, w.Remove(ctx, "view"))
	want := look(t, w.prepare("first", "top", nil)[0].Source)
	file := w.awaitIndex(2)
	for i := range perServer { // the first server is full then
		w.prepare(fmt.Sprint("more", i), "top", nil)
	}
	events := w.watchLayers()
	events() // of the watching itself
	other := w.prepare("another", "top", nil)[0].Source
	if got := look(t, other); !slices.Equal(got, want) {
		t.Errorf("in another process: %v, want %v", got, want)
	}
	if did := events(); len(did) != 0 {
		t.Errorf("another process has read %v", did)
	}
	keys := []string{"first", "another"}
	for i := range perServer {
		keys = append(keys, fmt.Sprint("more", i))
	}
	for _, k := range keys {
		must(t, w.Remove(ctx, k))
	}
	third := w.prepare("third", "top", nil)[0].Source
	events()
	if got := look(t, third); !slices.Equal(got, want) {
		t.Errorf("later: %v, want %v", got, want)
	}
	if did := events(); len(did) != 0 {
		t.Errorf("later %v was read", did)
	}
	for _, k := range []string{"third", "top"} {
		must(t, w.Remove(ctx, k))
	}
	must(t, w.Cleanup(ctx))
	if _, err := os.Lstat(filepath.Dir(file)); err == nil {
		t.Error("the index file stays when the image is removed")
	}
}

// TestChildOfCommit: what a server writes into its layer when the mount ends,
// the other names of hard links, is there before a child looks.
func TestChildOfCommit(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) {
		for i := range 40 {
			write(t, fmt.Sprintf("%s/d%d/a", dir, i), "old")
			must(t, os.Link(fmt.Sprintf("%s/d%d/a", dir, i), fmt.Sprintf("%s/d%d/b", dir, i)))
		}
	})
	defer fail.Disarm()
	for n := range 2 {
		fail.Arm("commit.release", "sleep", 1) // a child is quicker than that
		key, name := fmt.Sprint("c", n), fmt.Sprint("top", n)
		dir := w.prepare(key, "base", nil)[0].Source
		look(t, dir)
		for i := range 40 {
			must(t, os.WriteFile(fmt.Sprintf("%s/d%d/a", dir, i), []byte("new"), 0o644))
		}
		must(t, w.Commit(ctx, name, key))
		m := w.prepare("child of "+key, name, nil)
		for i := range 40 {
			if got := read(t, fmt.Sprintf("%s/d%d/b", m[0].Source, i)); got != "new" {
				t.Fatalf("round %d: the other name of d%d/a: %q", n, i, got)
			}
		}
	}
}
