package mountd_test

import (
	"context"
	"maps"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInodeNumbers: files and directories of a container keep their numbers when
// they are copied up, when the daemon is replaced, and when the server is.
func TestInodeNumbers(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) {
		write(t, dir+"/d/f", "base")
		write(t, dir+"/d/g", "base")
		must(t, os.Link(dir+"/d/g", dir+"/d/h"))
	})
	dir := w.prepare("c", "base", nil)[0].Source
	numbers := func(names ...string) map[string]uint64 {
		t.Helper()
		out := map[string]uint64{}
		for _, n := range names {
			var st unix.Stat_t
			must(t, unix.Lstat(dir+"/"+n, &st))
			out[n] = st.Ino
		}
		return out
	}
	names := []string{"d", "d/f", "d/g", "d/h"}
	was := numbers(names...)
	same := func(when string) {
		t.Helper()
		if now := numbers(names...); !maps.Equal(now, was) {
			t.Errorf("%s: %v, they were %v", when, now, was)
		}
	}
	write(t, dir+"/d/f", "changed")
	must(t, os.Chmod(dir+"/d/h", 0o600))
	same("after the copy-up")
	write(t, dir+"/new", "new")
	names = append(names, "new")
	was = numbers(names...)
	w.stop()
	w.start()
	same("with another daemon")
	for _, pid := range w.servers() {
		must(t, unix.Kill(pid, unix.SIGKILL))
	}
	eventually(t, "another server has the mount", func() bool {
		m, err := w.Mounts(ctx, "c")
		if err != nil {
			return false
		}
		dir = m[0].Source
		_, err = os.ReadFile(dir + "/new")
		return err == nil
	})
	same("with another server")
}
