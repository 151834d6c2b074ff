package oracle

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// RunCrash plays one sequence on a plyfs that is killed again and again. What
// it shows after a new mount is what the kernel's overlayfs shows before the
// operation that was under way, or after it; the kernel shows the same of the
// upper that was left; no temporary is left; and the sequence goes on.
func (w *World) RunCrash(t *rapid.T) {
	over := setupGen(w.Mode).Draw(t, "over")
	// Link counts of lower files are kept beside them, and a kill may part them.
	over.Links = false
	for i := range over.Lower {
		over.Lower[i] = slices.DeleteFunc(over.Lower[i], func(it Item) bool { return it.LinkTo != "" })
	}
	// Every write gets to the server when it is made: what the kernel holds is
	// lost with the server, as it is on any file system.
	over.Extra = "writeback=off"
	fail := rapid.Map(rapid.IntRange(1, 40), func(n int) string {
		if w.Instants {
			return ""
		}
		return fmt.Sprintf("*:kill:%d", n)
	})
	p := w.Subject.(*Plyfs)
	p.Restart(fail.Draw(t, "dies at"))
	s := w.begin(t, over)
	defer s.close()
	for range rapid.IntRange(5, 40).Draw(t, "operations") {
		o := opGen(w.Mode, over.Disk, survey(s.k.Args.Dir)).Draw(t, "op")
		if o.Kind == opSwap || o.Kind == opCommit || o.Kind == opRemount || o.Kind == opHeldChmod && s.p.gone(&o) {
			continue
		}
		s.crashStep(o, func() string { return fail.Draw(t, "dies at") })
		if s.stop != nil {
			t.Logf("ended early: %s", s.stop.Name)
			return
		}
	}
	p.Restart("") // the last mount stays
	s.revive()
	s.compareCrashed("after the last operation")
}

// crashStep plays an operation on both sides.
func (s *sequence) crashStep(o Op, fail func() string) {
	before := s.seen
	if before == nil {
		before = s.picture(s.k)
	}
	s.seen = nil
	k := s.k.Play(&o)
	if k.Errno == "EXDEV" && o.Kind == opRename {
		return
	}
	s.played = append(s.played, fmt.Sprintf("%#v", o))
	after := s.picture(s.k)
	p := s.Subject.(*Plyfs)
	stop := func() bool { return false }
	if s.Instants && rand.IntN(3) == 0 {
		stop = killSoon(p)
	}
	r := s.subjectCrashing(&o)
	if killed := stop(); !killed && !s.p.dead() {
		s.seen = after
		s.agree(&o, k, r)
		return
	}
	s.played = append(s.played, "killed in that one")
	s.crashes++
	s.crash = true
	p.Restart(fail())
	s.revive()
	now := s.picture(s.p)
	old := treedump.Diff("before", before, "now", now, s.torn(&o, before, after))
	if len(old) > 0 {
		if xattrWhiteouts.Op(s, &o, k, Result{Errno: "ok"}) {
			s.stop = &xattrWhiteouts // the kernel has refused it, and plyfs has not
			return
		}
		if d := treedump.Diff("after", after, "now", now, s.torn(&o, before, after)); len(d) > 0 {
			s.fail("killed in %#v: neither what was before:\n  %s\nnor what comes after:\n  %s", o, strings.Join(old, "\n  "), strings.Join(d, "\n  "))
		}
	}
	if bad := append(contradictions(now, s.setup.Links), now.Problems...); len(bad) > 0 {
		s.fail("killed in %#v: it contradicts itself:\n  %s", o, strings.Join(bad, "\n  "))
	}
	s.sameToKernel(&o, now)
	s.catchUp(after)
}

// killSoon kills the server within the time that an operation takes, unless stop
// is called before; afterwards it kills nobody. It says whether it has: a request
// that a process is killed in reading ends with EIO, while the mount still lives.
func killSoon(p *Plyfs) (stop func() (killed bool)) {
	gone := make(chan struct{})
	timer := time.AfterFunc(time.Duration(rand.IntN(1500))*time.Microsecond, func() {
		p.Kill()
		close(gone)
	})
	return func() bool {
		if timer.Stop() {
			return false
		}
		<-gone
		return true
	}
}

// subjectCrashing is subject, without the checks that a dead server can't pass.
func (s *sequence) subjectCrashing(o *Op) Result {
	defer s.watch(fmt.Sprintf("%#v", *o))()
	return s.p.Play(o)
}

func (s *sequence) agree(o *Op, k, p Result) {
	if k == p || s.crash && noTimes(k) == noTimes(p) {
		return
	}
	if d := s.explain(o, k, p); d != nil {
		if d.Stop {
			s.stop = d
		}
		return
	}
	s.fail("%s disagrees:\n  %#v\n  kernel: %s\n  plyfs: %s", o.Kind, *o, k, p)
}

// noTimes is a result without times, and without what stat says afterwards: after
// a crash a directory's time may be later.
func noTimes(r Result) string { return r.Errno + " " + timeText.ReplaceAllString(r.Detail, "") }

var timeText = regexp.MustCompile(` (now|\d+\.\d{9})`)

func (s *sequence) picture(side *Side) *treedump.Tree {
	tree, err := treedump.Take(side.Args.Dir)
	if err != nil {
		s.fail("%s: %v", side.FS.Name(), err)
	}
	return tree
}

// dead says that the mount has lost its server, perhaps while it was asked.
func (s *Side) dead() bool {
	var st unix.Statfs_t
	err := unix.Statfs(s.Args.Dir, &st)
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}

// revive mounts plyfs again over what a server that died has left. Files that
// were held open are lost with it: the kernel's side lets go of them as well.
func (s *sequence) revive() {
	s.k.release()
	s.p.release()
	for s.p.mounted() && unix.Unmount(s.p.Args.Dir, unix.MNT_DETACH) == nil {
	}
	if err := s.p.mount(); err != nil {
		s.fail("after a crash: %v", err)
	}
}

// several are operations of more than one system call, or whose data go to the
// server in parts: their file may be in between.
var several = []Kind{opCreate, opOpenTrunc, opGone, opMmap, opCopy, opTmpfile, opFallocate}

// inPlace are writes. The kernel sends what is longer than a page in parts, and
// a server that is killed in the middle of pwrite(2) has written a part, as a
// program on any file system.
var inPlace = []Kind{opWrite, opAppend}

// torn is what may differ after a crash: times of directories, which a copy-up
// sets back when it is done; the mode that a write by somebody else changes
// first; and what an operation of several steps has done so far.
func (s *sequence) torn(o *Op, before, after *treedump.Tree) treedump.Ignore {
	return func(field string, a, b *treedump.Node) bool {
		if s.linkless(s.wanted)(field, a, b) {
			return true
		}
		n := a
		if n == nil {
			n = b
		}
		mine := n.Path == o.Path || n.Path == o.To || a != nil && (sameFile(before, o.Path, a) || sameFile(after, o.Path, a))
		switch {
		case field == "mtime" && (n.Type == unix.S_IFDIR || mine):
			return true
		case mine && (field == "mode" || field == "xattrs"):
			return true
		case strings.HasPrefix(string(o.Kind), "held") && (field == "mode" || field == "xattrs" || field == "mtime"):
			return true
		case slices.Contains(several, o.Kind) && (mine || field == "nlink"):
			return true
		case (field == "content" || field == "size") && (s.Instants || o.Kind == opAppend || o.Off%4096+o.Len > 4096) && (mine && slices.Contains(inPlace, o.Kind) || strings.HasPrefix(string(o.Kind), "held")):
			return true
		}
		return false
	}
}

// sameFile says that the node is what the path names in the tree, by another name
// perhaps.
func sameFile(tree *treedump.Tree, path string, n *treedump.Node) bool {
	f := tree.Nodes[path]
	return f != nil && f.Type == unix.S_IFREG && n.Type == unix.S_IFREG && f.Ino == n.Ino
}

// sameToKernel looks at the upper with the kernel's overlayfs, between two
// mounts of plyfs.
func (s *sequence) sameToKernel(o *Op, ours *treedump.Tree) {
	if err := s.p.unmount(); err != nil {
		s.fail("%v", err)
	}
	if l := s.p.litter(); len(l) > 0 {
		s.fail("killed in %#v: left in the work directory: %q", *o, l)
	}
	look := Side{FS: s.Kernel, Args: s.p.Args}
	look.Args.Index = false // the kernel's own, of which plyfs has none
	if err := look.mount(); err != nil {
		s.fail("the upper after a crash in %#v: %v", *o, err)
	}
	theirs := s.picture(&look)
	if err := look.FS.Unmount(look.Args.Dir); err != nil {
		s.fail("%v", err)
	}
	ignore := s.linkless(s.wanted)
	if s.setup.Metacopy && o.Kind == opTruncate {
		// Shorter, and its data still in a lower: to the kernel that is a file with more to
		// read than stat says. See docs/semantics.md.
		ignore = func(field string, a, b *treedump.Node) bool {
			return a != nil && a.Path == o.Path || s.wanted(field, a, b)
		}
	}
	if d := treedump.Diff("kernel", theirs, "plyfs", ours, ignore); len(d) > 0 {
		s.fail("killed in %#v: the kernel shows something else of the upper:\n  %s", *o, strings.Join(d, "\n  "))
	}
	if err := s.p.mount(); err != nil {
		s.fail("%v", err)
	}
}

// catchUp makes the kernel's side what plyfs has kept: both go on from there.
func (s *sequence) catchUp(after *treedump.Tree) {
	now := s.picture(s.p)
	if len(treedump.Diff("after", after, "now", now, s.crashed)) == 0 {
		return
	}
	// The kernel's side is made anew over a copy of plyfs' layers.
	if err := s.k.unmount(); err != nil {
		s.fail("%v", err)
	}
	if err := s.p.unmount(); err != nil {
		s.fail("%v", err)
	}
	if err := s.copyUpper(); err != nil {
		s.fail("copying the upper: %v", err)
	}
	for _, side := range []*Side{s.k, s.p} {
		if err := side.mount(); err != nil {
			s.fail("%v", err)
		}
	}
}

// crashed is wanted, without the times of directories.
func (s *sequence) crashed(field string, a, b *treedump.Node) bool {
	n := a
	if n == nil {
		n = b
	}
	return s.linkless(s.wanted)(field, a, b) || field == "mtime" && n.Type == unix.S_IFDIR
}

func (s *sequence) compareCrashed(when string) {
	if d := treedump.Diff("kernel", s.picture(s.k), "plyfs", s.picture(s.p), s.crashed); len(d) > 0 {
		s.fail("the trees differ %s:\n  %s", when, strings.Join(d, "\n  "))
	}
}
