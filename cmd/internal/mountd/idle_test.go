package mountd_test

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// TestIdleServers: servers that a peak of mounts has made end with their
// mounts, but one.
func TestIdleServers(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	for i := range 2*perServer + 1 {
		w.prepare(fmt.Sprint("c", i), "base", nil)
	}
	w.eventually("three servers", 3)
	// A restart in the middle of it changes nothing.
	for i := range perServer {
		must(t, w.Remove(ctx, fmt.Sprint("c", i)))
	}
	w.stop()
	w.start()
	for i := perServer; i < 2*perServer; i++ {
		must(t, w.Remove(ctx, fmt.Sprint("c", i)))
	}
	w.eventually("one server for the one mount", 1)
	m, err := w.Mounts(ctx, fmt.Sprint("c", 2*perServer))
	must(t, err)
	w.with(m, func(dir string) {
		if got := read(t, dir+"/f"); got != "base" {
			t.Errorf("f: %q", got)
		}
	})
}

// eventually waits for n server processes.
func (w *world) eventually(what string, n int) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); len(w.servers()) != n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%d server processes, want %s", len(w.servers()), what)
		}
	}
}
