package fsck

import (
	"maps"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// source is a way in which an upper says things.
type source struct {
	name           string
	remove, opaque func(s *stand, dir, name string)
}

func charDevice(s *stand, dir, name string) { s.whiteout(dir + "/" + name) }

func dotWh(s *stand, dir, name string) { s.file(dir+"/.wh."+name, "") }

func marked(attr string) func(s *stand, dir, name string) {
	return func(s *stand, dir, name string) { s.mkdir(dir + "/" + name); s.xattr(dir+"/"+name, attr, "y") }
}

func withFile(mark func(s *stand, dir, name string)) func(s *stand, dir, name string) {
	return func(s *stand, dir, name string) { mark(s, dir, name); s.file(dir+"/"+name+"/.wh..wh..opq", "") }
}

func emptyFile(ns string) func(s *stand, dir, name string) {
	return func(s *stand, dir, name string) {
		s.file(dir+"/"+name, "")
		s.xattr(dir+"/"+name, ns+"whiteout", "y")
		s.xattr(dir, ns+"opaque", "x")
	}
}

var sources = []source{
	{"kernel", charDevice, marked("trusted.overlay.opaque")},
	{"userxattr", charDevice, marked("user.overlay.opaque")},
	{"xattr whiteouts", emptyFile("trusted.overlay."), marked("trusted.overlay.opaque")},
	{"user xattr whiteouts", emptyFile("user.overlay."), marked("user.overlay.opaque")},
	{"fuse-overlayfs", charDevice, withFile(marked("user.fuseoverlayfs.opaque"))},
	{"fuse-overlayfs as root", charDevice, withFile(marked("trusted.overlay.opaque"))},
	{"aufs", dotWh, withFile(func(s *stand, dir, name string) { s.mkdir(dir + "/" + name) })},
}

// upper builds the same tree in the form of a source.
func (src source) upper(s *stand) {
	s.file("upper/d/new", "new")
	s.file("upper/d/stays", "changed")
	src.remove(s, "upper/d", "goes")
	src.remove(s, "upper", "goes")
	src.remove(s, "upper", "dir-goes")
	src.opaque(s, "upper", "od")
	s.file("upper/od/own", "own")
	s.file("upper/od/sub/own", "own")
	s.file("upper/xw/new", "new")
	src.remove(s, "upper/xw", "goes")
	s.old("upper")
}

var targets = []struct{ to, reader, dialect string }{
	{"kernel", kernel, "kernel (trusted.overlay)"},
	{"userxattr", kernelU, "kernel (user.overlay)"},
	{"fuse-overlayfs", fuseOvl, "fuse-overlayfs"},
}

// TestConvert: from every dialect to every other, what the reader of the new one
// shows is what plyfs has shown of the old one.
func TestConvert(t *testing.T) {
	require.Root(t)
	require.Overlay(t)
	require.FUSE(t)
	for _, src := range sources {
		for _, to := range targets {
			t.Run(src.name+" to "+to.to, func(t *testing.T) {
				s := newStand(t)
				src.upper(s)
				before, data := s.view(plyfs), s.objects()
				code, out := s.fsck("", "--to", to.to)
				if code != 0 || !strings.Contains(out, "dialect "+to.dialect+"\n") {
					t.Errorf("exit code %d, want dialect %s:\n%s", code, to.dialect, out)
				}
				if got := s.objects(); !maps.Equal(got, data) {
					t.Errorf("data were touched: %v, before %v", got, data)
				}
				s.same("plyfs afterwards", before, s.view(plyfs), nil)
				s.same(to.reader, before, s.view(to.reader), func(field string, a, b *treedump.Node) bool {
					// fuse-overlayfs counts subdirectories, and now and then forgets
					// that a directory is opaque when it looks into one in it.
					return to.reader == fuseOvl && (field == "nlink" && a.Type == unix.S_IFDIR ||
						field == "exists" && b != nil && b.Path == "od/sub/hidden")
				})
				if code, out := s.fsck("", "--to", to.to); code != 0 || strings.Contains(out, "mended") {
					t.Errorf("once more: exit code %d:\n%s", code, out)
				}
			})
		}
	}
}
