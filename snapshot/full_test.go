package snapshot

import (
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"golang.org/x/sys/unix"
)

// TestFullMetadata: the disk has no page left for the metadata. Every call that
// writes says so in one line and has done nothing; what reads goes on, also in
// the next daemon, and when there is room the same calls work.
func TestFullMetadata(t *testing.T) {
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	dir, ctx := t.TempDir(), context.Background()
	must(t, os.Mkdir(dir+"/root", 0o700))
	must(t, unix.Mount("full", dir+"/root", "tmpfs", 0, "size=4m"))
	defer func() { must(t, unix.Unmount(dir+"/root", unix.MNT_DETACH)) }()
	s := newPlain(t, dir)
	for _, key := range []string{"base", "c", "r", "u"} {
		_, err := s.Prepare(ctx, key, "")
		must(t, err)
	}
	must(t, os.WriteFile(s.layer("2")+"/own", []byte("own"), 0o600))
	must(t, s.Commit(ctx, "top", "base"))
	_, err := s.Usage(ctx, "top") // it is written beside the layer
	must(t, err)
	update := func(text string) error {
		_, err := s.Update(ctx, snapshots.Info{Name: "u", Labels: map[string]string{"a": text}}, "labels.a")
		return err
	}
	// bbolt has memory for what comes, and pages to use again.
	must(t, errors.Join(update(strings.Repeat("a", 300<<10)), update("b")))
	// What is kept for a full disk is used up.
	db, err := os.OpenFile(s.database(), os.O_RDWR, 0)
	must(t, err)
	must(t, unix.Fallocate(int(db.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 512<<10, 512<<10))
	must(t, db.Close())
	// A reader keeps it from using again what is given up from now on.
	_, reader, err := s.ms.TransactionContext(ctx, false)
	must(t, err)
	filler, err := os.Create(dir + "/root/filler")
	must(t, err)
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	must(t, filler.Close())
	for err = nil; err == nil; {
		err = update("c")
	}
	if !errors.Is(err, unix.ENOSPC) || !oneLine(err, "snapshot u: ") {
		t.Error(err)
	}
	calls := map[string]func() error{
		"snapshot new: ": func() error { _, err := s.Prepare(ctx, "new", ""); return err },
		"snapshot look:": func() error { _, err := s.View(ctx, "look", "top"); return err },
		"snapshot c ":    func() error { return s.Commit(ctx, "done", "c") },
		"snapshot r:":    func() error { return s.Remove(ctx, "r") },
		"snapshot u:":    func() error { return update("c") },
	}
	before := records(t, s)
	for name, call := range calls {
		if err := call(); !errors.Is(err, unix.ENOSPC) || !oneLine(err, name) {
			t.Errorf("%s %v", name, err)
		}
	}
	same := func(when string) {
		t.Helper()
		if now := records(t, s); !reflect.DeepEqual(now, before) {
			t.Errorf("%s: before %q, now %q", when, before, now)
		}
		if text, err := os.ReadFile(s.layer("2") + "/own"); err != nil || string(text) != "own" {
			t.Errorf("%s: %q, %v", when, text, err)
		}
	}
	same("full")
	must(t, reader.Rollback())
	must(t, s.Close())
	s = newPlain(t, dir)
	same("full, with the next daemon")
	must(t, os.Remove(filler.Name()))
	for name, call := range calls {
		if err := call(); err != nil {
			t.Errorf("there is room, %s %v", name, err)
		}
	}
}
