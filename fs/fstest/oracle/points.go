package oracle

import (
	"fmt"
	"maps"
	"slices"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// Points plays a script to its end, and gives how often it passes each
// failpoint.
func (w *World) Points(t told, sc *Script) map[string]int {
	p := w.Subject.(*Plyfs)
	p.Restart("")
	p.count, p.passed = true, map[string]int{}
	w.Replay(t, sc.Over, false, sc.Ops)
	p.Restart("")
	p.count = false
	return p.passed
}

// RunPoint plays a script on a plyfs that is killed when it passes the point for
// the n-th time, checks as RunCrash does, and plays the rest. All that the
// script has closed or fsynced must be there; the writeback cache is on.
func (w *World) RunPoint(t told, sc *Script, point string, n int) {
	p := w.Subject.(*Plyfs)
	p.Restart(fmt.Sprintf("%s:kill:%d", point, n))
	s := w.begin(t, sc.Over)
	defer s.close()
	crashes := w.crashes
	for _, o := range sc.Ops {
		s.crashStep(o, func() string { return "" })
		if s.stop != nil {
			t.Fatalf("%s: ended early: %s", point, s.stop.Name)
		}
		// A kill may part the names of a file, which then go different ways.
		if w.crashes > crashes && sc.Over.Links {
			return
		}
	}
	if w.crashes == crashes {
		// What is left is what it does at the end of the mount.
		if err := s.p.unmount(); err == nil {
			s.fail("nobody dies at %s, passing %d", point, n)
		}
		w.crashes++
		p.Restart("")
		if err := s.p.mount(); err != nil {
			s.fail("after a crash at %s: %v", point, err)
		}
		s.sameToKernel(&Op{Kind: "unmount"}, s.picture(s.p))
	}
	s.compareCrashed("after a crash at " + point)
}

// linkless is an Ignore that leaves out the other names of lower hard links: the
// kernel's overlayfs knows nothing of where plyfs notes them.
func (s *sequence) linkless(ignore treedump.Ignore) treedump.Ignore {
	names := map[string]bool{}
	for _, l := range s.setup.Lower {
		for _, it := range l {
			if it.LinkTo != "" {
				names[it.Path], names[it.LinkTo] = true, true
			}
		}
	}
	return func(field string, a, b *treedump.Node) bool {
		n := a
		if n == nil {
			n = b
		}
		return names[n.Path] || s.setup.Links && field == "nlink" || ignore(field, a, b)
	}
}

// sorted are the names of failpoints in order.
func sorted(passed map[string]int) []string { return slices.Sorted(maps.Keys(passed)) }
