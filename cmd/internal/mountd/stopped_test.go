package mountd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestServerStopped: a server that doesn't answer is named, and its mounts are
// left alone. What they take is known without it: nobody is asked for that.
func TestServerStopped(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	m := w.prepare("c", "base", nil)
	pids := w.servers()
	if len(pids) != 1 {
		t.Fatalf("%d server processes", len(pids))
	}
	write(t, m[0].Source+"/new", "new")
	must(t, unix.Kill(pids[0], unix.SIGSTOP))
	stopped(t, pids[0])
	if u, err := w.Usage(ctx, "c"); err != nil || u.Inodes != 2 || u.Size == 0 {
		t.Errorf("usage: %+v, %v", u, err)
	}
	_, err := w.Mounts(ctx, "c")
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("server process %d", pids[0])) {
		t.Errorf("%v", err)
	}
	must(t, unix.Kill(pids[0], unix.SIGCONT))
	again, err := w.Mounts(ctx, "c")
	must(t, err)
	if got := read(t, again[0].Source+"/f"); got != "base" || !reflect.DeepEqual(again, m) {
		t.Errorf("afterwards: %q, %v", got, again)
	}
}

// stopped waits for all threads of a process to have been stopped: on a busy
// machine that takes until the one that got the signal runs.
func stopped(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		running := 0
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, name := range threads {
			text, _ := os.ReadFile(name)
			if !strings.Contains(string(text), ") T ") {
				running++
			}
		}
		if running == 0 && len(threads) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d doesn't stop", pid)
		}
	}
}

// TestStartBesideStopped: a daemon comes up beside a server that is stopped,
// says so, serves what others have and makes what is new; the mounts of that one
// are left alone, and are there again when it goes on.
func TestStartBesideStopped(t *testing.T) {
	if !inBox(t) {
		return
	}
	perServer = 3 // the test runs in a process of its own
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	sources := map[string]string{}
	var first int // serves the first perServer of them
	for i := range perServer + 2 {
		key := fmt.Sprint("c", i)
		sources[key] = w.prepare(key, "base", nil)[0].Source
		if i == 0 {
			first = w.servers()[0]
		}
	}
	w.stop()
	must(t, unix.Kill(first, unix.SIGSTOP))
	stopped(t, first)
	defer func() { _ = unix.Kill(first, unix.SIGCONT) }()
	w.start()
	name := fmt.Sprint("the server process ", first)
	if got := <-silent; got != name {
		t.Errorf("told of %q, want %q", got, name)
	}
	for key, source := range sources {
		m, err := w.Mounts(ctx, key)
		switch {
		case key >= fmt.Sprint("c", perServer):
			must(t, err)
			if m[0].Source != source || read(t, source+"/f") != "base" {
				t.Errorf("%s: %v", key, m)
			}
		case err == nil || !strings.Contains(err.Error(), name):
			t.Errorf("%s on the stopped server: %v, %v", key, m, err)
		}
	}
	m := w.prepare("new", "base", nil)
	if read(t, m[0].Source+"/f") != "base" {
		t.Error("what is new")
	}
	must(t, unix.Kill(first, unix.SIGCONT))
	eventually(t, "the server is known again", func() bool {
		_, err := w.Mounts(ctx, "c0")
		return err == nil
	})
	for key, source := range sources {
		m, err := w.Mounts(ctx, key)
		must(t, err)
		if m[0].Source != source || read(t, source+"/f") != "base" {
			t.Errorf("%s afterwards: %v", key, m)
		}
	}
	if pids := w.servers(); len(pids) != 2 {
		t.Errorf("%d server processes", len(pids))
	}
}

// TestStoppedDies: a server that was stopped when the daemon came up is killed:
// its mounts are replaced, as if it had been dead at once.
func TestStoppedDies(t *testing.T) {
	if !inBox(t) {
		return
	}
	w := newWorld(t)
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	m := w.prepare("c", "base", nil)
	pid := w.servers()[0]
	w.stop()
	must(t, unix.Kill(pid, unix.SIGSTOP))
	stopped(t, pid)
	w.start()
	<-silent
	must(t, unix.Kill(pid, unix.SIGKILL))
	eventually(t, "the mount is replaced", func() bool {
		b, err := os.ReadFile(m[0].Source + "/f")
		return err == nil && string(b) == "base"
	})
}
