package mountd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/plyfs/plyfs/cmd/internal/mountd"
	"golang.org/x/sys/unix"
)

// killServers kills the servers that there are and waits until others go on.
func (w *world) killServers() {
	w.t.Helper()
	old := map[int]bool{}
	for _, pid := range w.servers() {
		old[pid] = true
		must(w.t, unix.Kill(pid, unix.SIGKILL))
	}
	eventually(w.t, "other servers go on", func() bool {
		now := w.servers()
		for _, pid := range now {
			if old[pid] {
				return false
			}
		}
		return len(now) == len(old)
	})
}

// TestKept: servers of several mounts are killed under load; nobody in the mounts
// sees more than a pause, and the daemon goes on as if nothing had been, whether it
// was there meanwhile or not.
func TestKept(t *testing.T) {
	if !inBox(t) {
		return
	}
	kept, perServer = true, 3 // the test runs in a process of its own
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) {
		for i := range 20 {
			write(t, fmt.Sprintf("%s/d/f%d", dir, i), "base")
		}
	})
	const mounts = 5 // of two servers
	var sources []string
	for i := range mounts {
		sources = append(sources, w.prepare(fmt.Sprint("c", i), "base", nil)[0].Source)
	}
	if n := len(w.servers()); n != 2 {
		t.Fatalf("%d server processes", n)
	}
	held, err := os.Create(sources[0] + "/held")
	must(t, err)
	must(t, os.Remove(sources[0]+"/held"))
	var stop atomic.Bool
	var wg sync.WaitGroup
	var rounds [mounts]atomic.Int64
	for i, dir := range sources {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				if err := churn(dir, n); err != nil {
					t.Errorf("mount %d, round %d: %v", i, n, err)
					return
				}
				rounds[i].Add(1)
			}
		})
	}
	progress := func(what string) {
		t.Helper()
		var was [mounts]int64
		for i := range rounds {
			was[i] = rounds[i].Load()
		}
		eventually(t, what, func() bool {
			for i := range rounds {
				if rounds[i].Load() < was[i]+2 && !t.Failed() {
					return false
				}
			}
			return true
		})
	}
	for range 4 {
		w.killServers()
		progress("work goes on in all mounts")
	}
	w.stop()
	w.killServers()
	progress("work goes on without a daemon")
	w.start()
	stop.Store(true)
	wg.Wait()
	_, err = held.WriteString("to the end")
	must(t, errors.Join(err, held.Close()))
	for i, dir := range sources {
		m, err := w.Mounts(ctx, fmt.Sprint("c", i))
		must(t, err)
		if m[0].Source != dir || read(t, dir+"/d/f7") != "base" {
			t.Errorf("mount %d: %v", i, m)
		}
		write(t, dir+"/new", "new")
	}
	// The root, d and new; and what the kernel had told a server that it has forgotten
	// when that died: a removed file for each, until the mount goes.
	eventually(t, "usage is known and right", func() bool {
		u, err := w.Usage(ctx, "c1")
		return err == nil && u.Inodes >= 3 && u.Inodes <= 3+5 && u.Size > 0
	})
	// A daemon that asks in the middle of it gets its answer.
	w.killServers()
	w.prepare("late", "base", nil)
	must(t, w.Commit(ctx, "committed", "c2"))
	for _, key := range []string{"c0", "c1", "c3", "c4", "late"} {
		must(t, w.Remove(ctx, key))
	}
	w.nothingLeft()
}

// churn does in a mount what changes nothing in the end.
func churn(dir string, n int) error {
	name := fmt.Sprintf("%s/d/t%d", dir, n)
	text := bytes.Repeat([]byte(fmt.Sprint(n, " ")), 2000)
	if err := os.WriteFile(name, text, 0o644); err != nil {
		return err
	}
	if err := os.Rename(name, name+"r"); err != nil {
		return err
	}
	got, err := os.ReadFile(name + "r")
	if err != nil || !bytes.Equal(got, text) {
		return errors.Join(err, fmt.Errorf("%s: %d bytes, which are right: %v", name, len(got), bytes.Equal(got, text)))
	}
	if got, err := os.ReadFile(fmt.Sprintf("%s/d/f%d", dir, n%20)); err != nil || string(got) != "base" {
		return errors.Join(err, fmt.Errorf("f%d: %q", n%20, got))
	}
	names, err := os.ReadDir(dir + "/d")
	if err != nil || len(names) != 21 {
		return errors.Join(err, fmt.Errorf("d has %d names", len(names)))
	}
	return os.Remove(name + "r")
}

// TestKeptUpgrade: all mounts are handed to another program while they are used.
func TestKeptUpgrade(t *testing.T) {
	if !inBox(t) {
		return
	}
	kept, perServer = true, 2
	w := newWorld(t)
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	var sources []string
	for i := range 3 {
		sources = append(sources, w.prepare(fmt.Sprint("c", i), "base", nil)[0].Source)
	}
	f, err := os.Create(sources[0] + "/open")
	must(t, err)
	before := fmt.Sprint(w.servers())
	must(t, upgradeKept(w.state()))
	eventually(t, "others serve", func() bool { return len(w.servers()) == 2 && fmt.Sprint(w.servers()) != before })
	_, err = f.WriteString("text")
	must(t, errors.Join(err, f.Close()))
	for _, dir := range sources {
		if got := read(t, dir+"/f"); got != "base" {
			t.Errorf("%s: %q", dir, got)
		}
	}
	if got := read(t, sources[0]+"/open"); got != "text" {
		t.Errorf("%q", got)
	}
}

// TestKeptServerCrashes: a mount whose servers die again and again of their own
// doing is given up, and what comes then has another server.
func TestKeptServerCrashes(t *testing.T) {
	if !inBox(t) {
		return
	}
	kept = true
	must(t, os.Setenv("PLYFS_FAIL_ALWAYS", "unlink.begin:crash"))
	w := newWorld(t)
	w.layer("base", "", func(dir string) {
		for _, f := range []string{"a", "b", "c"} {
			write(t, dir+"/"+f, "")
		}
	})
	m := w.prepare("c", "base", nil)
	if err := os.Remove(m[0].Source + "/a"); !errors.Is(err, unix.EIO) {
		t.Errorf("what two servers died on: %v", err)
	}
	for _, f := range []string{"b", "c"} {
		if err := os.Remove(m[0].Source + "/" + f); err == nil {
			t.Errorf("%s is removed", f)
		}
	}
	must(t, os.Unsetenv("PLYFS_FAIL_ALWAYS"))
	eventually(t, "the mount is replaced", func() bool {
		b, err := os.ReadFile(m[0].Source + "/a")
		return err == nil && len(b) == 0
	})
	eventually(t, "files can be removed", func() bool {
		again, err := w.Mounts(context.Background(), "c")
		return err == nil && !strings.Contains(fmt.Sprint(os.Remove(again[0].Source+"/b")), "endpoint")
	})
}

func upgradeKept(state string) error { return mountd.Upgrade(mountd.KeeperSocket(state)) }
