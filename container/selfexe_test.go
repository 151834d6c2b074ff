package container

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestForeign: when a container can run our program itself, and when it needs a
// copy that it can't write to.
func TestForeign(t *testing.T) {
	user := idMaps{UID: []idMap{{0, 1001, 1}, {1, 100000, 65536}}, GID: []idMap{{0, 1001, 1}}}
	for _, c := range []struct {
		name     string
		uid, gid uint32
		mode     uint32
		ids      idMaps
		want     bool
	}{
		{"root's", 0, 0, 0o755, user, true},
		{"root's, of the user's group", 0, 1001, 0o755, user, true},
		{"the user's own", 1001, 1001, 0o755, user, false},
		{"the user's own, read-only", 1001, 1001, 0o555, user, false},
		{"of a subordinate id", 100000, 0, 0o755, user, false},
		{"of the last one", 165535, 0, 0o755, user, false},
		{"beyond it", 165536, 0, 0o755, user, true},
		{"writable for its group", 0, 1001, 0o775, user, false},
		{"writable for all", 0, 0, 0o757, user, false},
		{"not executable for others", 0, 0, 0o754, user, false},
		{"no user namespace", 0, 0, 0o755, idMaps{}, false},
	} {
		st := &unix.Stat_t{Uid: c.uid, Gid: c.gid, Mode: unix.S_IFREG | c.mode}
		if got := foreign(st, c.ids); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
