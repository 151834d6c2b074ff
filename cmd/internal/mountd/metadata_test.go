package mountd_test

import (
	"os"
	"strings"
	"testing"
)

// TestBadMetadata: metadata that is damaged or gone is one line, and costs no
// layer.
func TestBadMetadata(t *testing.T) {
	if !inBox(t) {
		return
	}
	w := newWorld(t)
	w.layer("base", "", func(dir string) { write(t, dir+"/f", "base") })
	w.stop()
	db := w.root() + "/metadata.db"
	whole := read(t, db)
	for _, bad := range []struct {
		size int // of what is left; -1 is no file
		want string
	}{
		{-1, "is missing or empty"},
		{0, "is missing or empty"},
		{1, "cannot be read"},
		{4096, "cannot be read"},
		{8192, "cannot be read"}, // bbolt maps more than there is
		{12288, "cannot be read"},
		{16384, "cannot be read"},
	} {
		must(t, os.Remove(db))
		if bad.size >= 0 {
			must(t, os.WriteFile(db, []byte(whole[:bad.size]), 0o600))
		}
		s, pool, err := open(w.root())
		if err == nil {
			_ = s.Close()
			pool.Close()
			t.Errorf("metadata of %d bytes is taken", bad.size)
		} else if msg := err.Error(); !strings.Contains(msg, bad.want) || !strings.Contains(msg, db) || strings.Contains(msg, "\n") {
			t.Errorf("metadata of %d bytes: %v; want one line with %q", bad.size, err, bad.want)
		}
		if bad.size < 0 {
			must(t, os.WriteFile(db, nil, 0o600))
		}
	}
	must(t, os.Remove(db))
	must(t, os.WriteFile(db, []byte(whole), 0o600))
	w.start()
	w.with(w.prepare("c", "base", nil), func(dir string) {
		if got := read(t, dir+"/f"); got != "base" {
			t.Errorf("f: %q", got)
		}
	})
}
