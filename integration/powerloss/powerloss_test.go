package powerloss

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// moment is when the power goes: how much of the log there is by then, and which
// of the writes that no flush has followed the disk has done.
type moment struct {
	n    int
	kept func() bool
	text string
}

// moments are those from a point of the log on: after each flush; and in the
// middle, with everything that was written and with half of it; so many of them.
func (s *stand) moments(from, most int) (all []moment) {
	r := rand.New(rand.NewPCG(6, 0))
	for _, f := range append(s.disk.Flushes(), s.disk.Len()) {
		if f < from {
			continue
		}
		all = append(all, moment{f, nil, fmt.Sprintf("at the flush %d", f)})
		if last := all[max(0, len(all)-2)].n; f-last > 1 {
			n := last + 1 + r.IntN(f-last-1)
			all = append(all,
				moment{n, nil, fmt.Sprintf("at %d", n)},
				moment{n, func() bool { return r.IntN(2) == 0 }, fmt.Sprintf("at %d with half of what was not flushed", n)})
		}
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(most, len(all))]
}

// powerless has what a loss at the moment leaves mounted on after, for fn.
func (s *stand) powerless(m moment, fn func()) {
	s.t.Helper()
	img := s.path("img2")
	s.ok(s.disk.Image(img, m.n, m.kept))
	s.run("mount", "-o", diskOptions, img, s.path("after"))
	defer s.detach("after")
	fn()
}

// done is how many operations had returned at that point of the log.
func (s *stand) done(n int) int {
	k := 0
	for k+1 < len(s.at) && s.at[k+1] <= n {
		k++
	}
	return k
}

// like says how the picture differs from the view after so many operations, but for
// times, and for the content of a file that was not synced yet.
func (s *stand) like(now *treedump.Tree, k int) []string {
	created := ""
	if k > 0 {
		created = operations[k-1].created
	}
	return treedump.Diff(fmt.Sprintf("after %d operations", k), s.states[k], "now", now, func(field string, a, b *treedump.Node) bool {
		if field == "mtime" || field == "nlink" && a.Type == unix.S_IFDIR {
			return true
		}
		return created != "" && a != nil && a.Path == created && (field == "content" || field == "size")
	})
}

// oneOf fails unless the picture is one of the views from the first to the last.
func (s *stand) oneOf(m moment, now *treedump.Tree, first, last int) {
	s.t.Helper()
	var best []string
	for k := first; k <= last; k++ {
		d := s.like(now, k)
		if len(d) == 0 {
			return
		}
		if best == nil || len(d) < len(best) {
			best = d
		}
	}
	s.t.Errorf("power lost %s: none of the views after %d to %d operations; the nearest:\n\t%s", m.text, first, last, strings.Join(best, "\n\t"))
}

// look mounts what is there after the loss, with plyfs and with the kernel, which
// must show the same and leave nothing of what was half done.
func (s *stand) look(m moment) *treedump.Tree {
	s.t.Helper()
	if out, err := s.plyfs("after", ""); err != nil {
		s.t.Fatalf("power lost %s: mount: %v\n%s", m.text, err, out)
	}
	ours := s.picture()
	if left, err := os.ReadDir(s.path("after/work/work")); err != nil || len(left) > 0 {
		s.t.Errorf("power lost %s: in the work directory: %v, %v", m.text, left, err)
	}
	s.umount()
	s.ok(unix.Mount("overlay", s.mnt, "overlay", 0, s.options("after", "")))
	theirs := s.picture()
	s.ok(unix.Unmount(s.mnt, 0))
	times := func(field string, a, _ *treedump.Node) bool { return field == "nlink" && a.Type == unix.S_IFDIR }
	if d := treedump.Diff("kernel", theirs, "plyfs", ours, times); len(d) > 0 {
		s.t.Errorf("power lost %s: the kernel shows something else:\n\t%s", m.text, strings.Join(d, "\n\t"))
	}
	return ours
}

// TestStrict: what has returned is on disk, names and attributes too; a file is the
// old one or the new one.
func TestStrict(t *testing.T) { strict(t, few) }

// few are the moments of a test that is no soak.
const few = 8

func strict(t *testing.T, most int) {
	s := newStand(t)
	s.play(",fsync=strict", func(int) {})
	s.umount()
	tried := s.moments(s.at[0], most)
	for _, m := range tried {
		s.powerless(m, func() {
			k := s.done(m.n)
			s.oneOf(m, s.look(m), k, min(k+1, len(operations)))
		})
	}
	t.Logf("%d flushes, %d moments", len(s.disk.Flushes()), len(tried))
}

// TestAuto: what was fsynced is on disk. Names are there in the order in which they
// were made, up to some time; and what was copied up is whole.
func TestAuto(t *testing.T) { auto(t, few) }

func auto(t *testing.T, most int) {
	s := newStand(t)
	s.play("", func(i int) {
		if i%3 == 1 { // somebody else makes the disk write its journal
			s.commit()
		}
	})
	s.umount()
	tried := s.moments(s.at[0], most)
	for _, m := range tried {
		s.powerless(m, func() {
			k, synced := s.done(m.n), 0
			for _, i := range s.synced {
				if i <= k {
					synced = i
				}
			}
			s.oneOf(m, s.look(m), synced, min(k+1, len(operations)))
		})
	}
	t.Logf("%d flushes, %d moments", len(s.disk.Flushes()), len(tried))
}

// commit makes the names that the disk has on it durable, and no data but its own.
func (s *stand) commit() {
	s.t.Helper()
	f, err := os.Create(s.path("disk/other"))
	s.ok(err)
	_, err = f.WriteString("other")
	s.ok(err)
	s.ok(f.Sync())
	s.ok(f.Close())
}

// TestVolatile: nothing is promised but that nobody takes the upper for whole: as
// long as there is something of the mount on disk and not all of it, its mark is
// there, and neither plyfs nor the kernel mounts the upper.
func TestVolatile(t *testing.T) { volatile(t, few) }

func volatile(t *testing.T, most int) {
	s := newStand(t)
	s.play(",volatile", func(i int) {
		if i%3 == 1 {
			s.commit()
		}
	})
	s.umount()
	whole := s.disk.Len()
	s.run("sync", "-f", s.path("disk"))
	last := moment{s.disk.Len(), nil, "after the unmount and a sync"}
	marked, free := 0, 0
	for _, m := range append(s.moments(s.at[0], most), last) {
		s.powerless(m, func() {
			if _, err := os.Lstat(s.path("after/work/work/incompat/volatile")); err == nil {
				marked++
				s.refused(m)
				return
			}
			free++
			views := []int{0}
			if m.n >= whole {
				views = append(views, len(operations))
			}
			now := s.look(m)
			if !slices.ContainsFunc(views, func(k int) bool { return len(s.like(now, k)) == 0 }) {
				t.Errorf("power lost %s: no mark, and neither the view before nor after:\n\t%s", m.text, strings.Join(s.like(now, views[len(views)-1]), "\n\t"))
			}
			if m.n == last.n && len(s.like(now, len(operations))) > 0 {
				t.Errorf("after a clean unmount and a sync:\n\t%s", strings.Join(s.like(now, len(operations)), "\n\t"))
			}
		})
	}
	t.Logf("%d moments with the mark, %d without", marked, free)
	if marked == 0 || free == 0 {
		t.Error("both must be seen")
	}
}

// refused fails unless neither plyfs nor the kernel mounts the upper, with the
// option or without.
func (s *stand) refused(m moment) {
	s.t.Helper()
	for _, more := range []string{"", ",volatile"} {
		out, err := s.plyfs("after", more)
		if err == nil {
			s.umount()
		}
		if err == nil || !strings.Contains(string(out), "volatile") || !strings.Contains(string(out), "work/incompat") {
			s.t.Errorf("power lost %s: plyfs%s takes it: %v\n%s", m.text, more, err, out)
		}
		if err := unix.Mount("overlay", s.mnt, "overlay", 0, s.options("after", more)); err == nil {
			s.ok(unix.Unmount(s.mnt, 0))
			s.t.Errorf("power lost %s: the kernel%s takes it", m.text, more)
		}
	}
}

// TestKernelsMark: the kernel's own mark, which stays after its volatile mount, is
// honoured by plyfs, and goes with what the message says.
func TestKernelsMark(t *testing.T) {
	s := newStand(t)
	s.ok(unix.Mount("overlay", s.mnt, "overlay", 0, s.options("disk", ",volatile")))
	s.ok(os.WriteFile(filepath.Join(s.mnt, "new"), []byte("new"), 0o644))
	s.ok(unix.Unmount(s.mnt, 0))
	out, err := s.plyfs("disk", "")
	if err == nil || !strings.Contains(string(out), "work/incompat") {
		t.Errorf("plyfs takes it: %v\n%s", err, out)
	}
	s.ok(os.RemoveAll(s.path("disk/work/work/incompat")))
	if out, err := s.plyfs("disk", ""); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if b, err := os.ReadFile(filepath.Join(s.mnt, "new")); err != nil || string(b) != "new" {
		t.Errorf("%q, %v", b, err)
	}
	s.umount()
}

// TestSoak tries every flush and what lies between.
func TestSoak(t *testing.T) {
	if os.Getenv("PLYFS_SOAK") == "" {
		t.Skip("only with PLYFS_SOAK=1h or the like")
	}
	const all = 10_000
	t.Run("strict", func(t *testing.T) { strict(t, all) })
	t.Run("auto", func(t *testing.T) { auto(t, all) })
	t.Run("volatile", func(t *testing.T) { volatile(t, all) })
}
