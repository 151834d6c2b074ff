package oracle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// World is where sequences are played, one after the other.
type World struct {
	Mode *Mode
	// Kernel is what is right, Subject what is compared with it.
	Kernel, Subject Filesystem
	// Scratch is an empty directory; Disk one that is not on a tmpfs.
	Scratch, Disk string
	count         int
	crashes       int  // see crash.go
	Instants      bool // kill at random instants instead of failpoints
}

// sequence is one being played.
type sequence struct {
	*World
	t      told
	setup  Setup
	base   string
	k, p   *Side
	lower  []string
	built  []*treedump.Tree // the lowers as built
	stop   *Difference      // ended early, for this reason
	crash  bool             // there was a crash: times of directories may be later
	copies int
	seen   *treedump.Tree // with crashes: the kernel's view by now, nil when it wasn't looked at
	played []string       // with crashes: what was done, which a second run may not draw again
}

// told is who is told what went wrong: rapid's T or testing's.
type told interface {
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Run plays one sequence. It fails t at the first disagreement.
func (w *World) Run(t *rapid.T) {
	s := w.begin(t, setupGen(w.Mode).Draw(t, "over"))
	defer s.close()
	if rapid.IntRange(0, 3).Draw(t, "look first") == 1 {
		s.compare("before the first operation", true)
	}
	for range rapid.IntRange(5, 40).Draw(t, "operations") {
		o := opGen(w.Mode, s.setup.Disk, survey(s.k.Args.Dir)).Draw(t, "op")
		if s.step(o); s.stop != nil {
			t.Logf("ended early: %s", s.stop.Name)
			return
		}
	}
	s.finish()
}

// Replay plays a sequence that was written down: one that failed once. With look, all is
// looked at before the first operation.
func (w *World) Replay(t told, over Setup, look bool, ops []Op) {
	s := w.begin(t, over)
	defer s.close()
	if look {
		s.compare("before the first operation", true)
	}
	for _, o := range ops {
		if s.step(o); s.stop != nil {
			t.Fatalf("ended early: %s", s.stop.Name)
		}
	}
	s.finish()
}

func (w *World) begin(t told, over Setup) *sequence {
	s := &sequence{World: w, t: t, setup: over}
	if err := s.open(); err != nil {
		s.close()
		t.Fatalf("set-up: %v", err)
	}
	return s
}

// open builds the layers and mounts both sides.
func (s *sequence) open() error {
	s.count++
	s.base = filepath.Join(s.Scratch, fmt.Sprint(s.count))
	if s.setup.Disk {
		s.base = filepath.Join(s.Disk, fmt.Sprint(s.count))
	}
	if err := os.Mkdir(s.base, 0o755); err != nil {
		return err
	}
	if !s.setup.Disk {
		if err := unix.Mount("tmpfs", s.base, "tmpfs", 0, "mode=755"); err != nil {
			return err
		}
	}
	for i, l := range s.setup.Lower {
		dir := filepath.Join(s.base, fmt.Sprintf("l%d", i+1))
		if err := errors.Join(os.Mkdir(dir, 0o755), l.Build(dir, s.Mode.Prefix())); err != nil {
			return err
		}
		tree, err := treedump.Take(dir)
		if err != nil {
			return err
		}
		s.lower, s.built = append(s.lower, dir), append(s.built, tree)
	}
	s.k = newSide(s.Kernel, filepath.Join(s.base, "k"), s.lower, s.Mode, &s.setup)
	s.p = newSide(s.Subject, filepath.Join(s.base, "p"), s.lower, s.Mode, &s.setup)
	if s.setup.CutOff {
		s.p.Args.Redirect = false
	}
	for _, side := range []*Side{s.k, s.p} {
		if err := side.prepare(s.setup.Upper, s.Mode.Prefix()); err != nil {
			return err
		}
		if err := side.mount(); err != nil {
			return err
		}
	}
	return nil
}

// close leaves nothing behind, whatever the sequence did.
func (s *sequence) close() {
	for _, side := range []*Side{s.k, s.p} {
		if side == nil {
			continue
		}
		side.release()
		if side.mounted() {
			_ = side.FS.Unmount(side.Args.Dir)
		}
		// A server that was just killed may be at it still.
		for i := 0; i < 100 && side.mounted(); i++ {
			if unix.Unmount(side.Args.Dir, unix.MNT_DETACH|unix.MNT_FORCE) != nil {
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
	if !s.setup.Disk {
		_ = unix.Unmount(s.base, unix.MNT_DETACH)
	}
	_ = os.RemoveAll(s.base)
}

// step plays one operation on both sides.
func (s *sequence) step(o Op) {
	switch {
	case o.Kind == opSwap && !s.setup.Links, o.Kind == opCommit && !s.setup.Links && !s.k.linked() && !s.p.linked():
		s.remount(o.Kind)
		return
	case o.Kind == opSwap || o.Kind == opCommit || o.Kind == opRemount:
		s.remount(opRemount)
		return
	case o.Kind == opHeldChmod && s.p.gone(&o):
		return // see Avoided
	}
	k := s.k.Play(&o)
	var p Result
	switch {
	case k.Errno != "EXDEV" || o.Kind != opRename:
		p = s.subject(&o)
	case !s.moveByHand(s.k, &o):
		return
	default:
		k = s.moved(s.k, &o)
		if p = s.subject(&o); p.Errno == "EXDEV" && s.selfTest() && s.moveByHand(s.p, &o) {
			p = s.moved(s.p, &o)
		}
	}
	if k == p {
		return
	}
	if d := s.explain(&o, k, p); d != nil {
		if d.Stop {
			s.stop = d
		}
		return
	}
	s.fail("%s disagrees:\n  %#v\n  %s: %s\n  %s: %s", o.Kind, o, s.k.FS.Name(), k, s.p.FS.Name(), p)
}

// subject plays the operation on plyfs, which may hang, and which keeps inode
// numbers better than the kernel.
func (s *sequence) subject(o *Op) Result {
	defer s.watch(fmt.Sprintf("%#v", *o))()
	if s.selfTest() {
		return s.p.Play(o)
	}
	check := s.p.inodesBefore(o)
	r := s.p.Play(o)
	if bad := check(r); bad != "" {
		s.fail("%s: %#v", bad, *o)
	}
	return r
}

// watch ends a server that does not answer, if there is one.
func (s *sequence) watch(what string) (stop func()) {
	if p, ok := s.Subject.(*Plyfs); ok {
		return p.Watch(what)
	}
	return func() {}
}

// fail ends the sequence. What the server said goes into the log only: it
// differs from run to run, and rapid shrinks what always fails alike.
func (s *sequence) fail(format string, args ...any) {
	if p, ok := s.Subject.(*Plyfs); ok {
		if words := p.Words(); words != "" {
			s.t.Logf("the server said:\n%s", words)
		}
	}
	if len(s.played) > 0 {
		fmt.Fprintf(os.Stderr, "over %#v\nplayed:\n  %s\n", s.setup, strings.Join(s.played, "\n  "))
	}
	s.t.Fatalf(format, args...)
}

// moved is the result of a rename that was made by hand.
func (s *sequence) moved(side *Side, o *Op) Result {
	r := Result{Errno: "ok"}
	if !o.Blind {
		r.After = side.look(o)
	}
	return r
}

// selfTest says that overlayfs is compared with itself.
func (s *sequence) selfTest() bool {
	_, ok := s.Subject.(Kernel)
	return ok
}

// finish compares what is left of a sequence, in every way.
func (s *sequence) finish() {
	k, p := s.compare("after the last operation", true)
	s.remount(opRemount)
	k2, p2 := s.compare("after a remount", true)
	s.same(s.k, k, k2)
	s.same(s.p, p, p2)
	// A live mount writes no origins: a number in a lower may be another file's
	// by the next mount.
	if bad := renumbered(p, p2, s.Mode.UserXattr); !s.selfTest() && s.setup.Extra != "live" && len(bad) > 0 {
		s.fail("a remount changes inode numbers of %q", bad)
	}
	if !s.setup.Links {
		s.remount(opSwap)
		s.compare("after exchanging the uppers", true)
	}
	for i, dir := range s.lower {
		now, err := treedump.Take(dir)
		if err != nil {
			s.fail("lower %d: %v", i+1, err)
		}
		if d := treedump.Diff("built", s.built[i], "now", now, nil); len(d) > 0 {
			s.fail("lower %d was written:\n  %s", i+1, strings.Join(d, "\n  "))
		}
	}
}

// same says that a remounted filesystem shows what it showed. For a hard link
// of a lower layer the remount may have learned what became of other names.
func (s *sequence) same(side *Side, before, after *treedump.Tree) {
	ignore := func(field string, b, a *treedump.Node) bool {
		return s.wanted(field, b, a) || s.setup.Links && field == "nlink"
	}
	if d := treedump.Diff("before", before, "after", after, ignore); len(d) > 0 {
		s.fail("the remounted %s shows something else:\n  %s", side.FS.Name(), strings.Join(d, "\n  "))
	}
}

// remount unmounts both sides and mounts them again: each over its own upper,
// over the other's layers, or with its upper as a lower.
func (s *sequence) remount(how Kind) {
	for _, side := range []*Side{s.k, s.p} {
		if err := side.unmount(); err != nil {
			s.fail("%v", err)
		}
		if l := side.litter(); len(l) > 0 {
			s.fail("%s left in its work directory: %q", side.FS.Name(), l)
		}
	}
	switch how {
	case opSwap:
		a, b := &s.k.Args, &s.p.Args
		a.Lower, b.Lower = b.Lower, a.Lower
		a.Upper, b.Upper = b.Upper, a.Upper
		a.Work, b.Work = b.Work, a.Work
	case opCommit:
		if err := errors.Join(s.k.commit(), s.p.commit()); err != nil {
			s.fail("%v", err)
		}
	}
	for _, side := range []*Side{s.k, s.p} {
		if err := side.mount(); err != nil {
			s.fail("%v", err)
		}
	}
}
