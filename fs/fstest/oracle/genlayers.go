package oracle

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// The few names that everything has, so that layers and operations meet.
var names = []string{"a", "b", "c", "d", "e", "a b\n\xff", strings.Repeat("n", 255)}

// nameGen draws mostly the simple ones.
var nameGen = rapid.Custom(func(t *rapid.T) string {
	i := rapid.IntRange(0, 30).Draw(t, "name")
	if i < 29 {
		return names[i%5]
	}
	return names[i-24]
})

var (
	modeGen     = rapid.SampledFrom([]uint32{0o644, 0o755, 0o600, 0o777, 0o4755, 0o2755, 0o6777, 0o1777, 0o2775, 0o444, 0})
	dirModeGen  = rapid.SampledFrom([]uint32{0o755, 0o755, 0o777, 0o1777, 0o2775, 0o700, 0o555, 0})
	targetGen   = rapid.SampledFrom([]string{"a", "b", "../a", "/nowhere", "c/d", "."})
	tagGen      = rapid.ByteRange('A', 'Z')
	sizeGen     = rapid.SampledFrom([]int{0, 1, 7, 100, 4095, 4096, 5000, 70000})
	fileXattrs  = []Xattr{{"user.one", "1"}, {"user.two", strings.Repeat("2", 3000)}, {"user.empty", ""}}
	capability  = Xattr{"security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
	trustedAttr = Xattr{"trusted.thing", "t"}
)

// Setup is what both filesystems are mounted over.
type Setup struct {
	Lower []Layer // top first
	Upper Layer
	// Links says that lowers have hard links. The kernel keeps those across
	// copy-up with index=on only, in a form that nothing else reads, so
	// these sequences do not exchange the uppers.
	Links bool
	Disk  bool // on the machine's disk instead of a tmpfs
	// Redirect lets the renames of lower directories be a redirect. Without
	// it the kernel answers EXDEV where plyfs copies up.
	Redirect bool
	// Metacopy and CutOff are not drawn. With CutOff plyfs has no redirects, and
	// copies up what the kernel redirects.
	Metacopy, CutOff bool
	Extra            string // a mount option of plyfs that is to make no difference
}

// GoString is what rapid shows of a drawn setup.
func (s Setup) GoString() string {
	var b strings.Builder
	fmt.Fprintf(&b, "links=%v disk=%v redirect=%v extra=%s", s.Links, s.Disk, s.Redirect, s.Extra)
	for i, l := range s.Lower {
		fmt.Fprintf(&b, "\n  lower %d:", i+1)
		for _, it := range l {
			b.WriteString("\n    " + it.String())
		}
	}
	b.WriteString("\n  upper:")
	for _, it := range s.Upper {
		b.WriteString("\n    " + it.String())
	}
	return b.String()
}

// setupGen draws a setup for a mode.
func setupGen(m *Mode) *rapid.Generator[Setup] {
	return rapid.Custom(func(t *rapid.T) Setup {
		var s Setup
		s.Links = m.Index && rapid.IntRange(0, 5).Draw(t, "links") == 1
		s.Disk = rapid.IntRange(0, 19).Draw(t, "disk") == 1
		s.Redirect = m.Redirect && rapid.IntRange(0, 3).Draw(t, "redirect") != 1
		s.Extra = rapid.SampledFrom([]string{"", "", "", "", "writeback=off", "timeout=0", "volatile", "live", "fsync=strict", "size_limit=1g", "io=passthrough"}).Draw(t, "extra")
		if s.Extra == "live" {
			s.Links = false // a live mount keeps no index of them
		}
		n := rapid.SampledFrom([]int{1, 1, 2, 2, 3}).Draw(t, "lowers")
		for range n {
			s.Lower = append(s.Lower, layerGen(m, s.Links, true, 14).Draw(t, "lower"))
		}
		s.Upper = layerGen(m, false, false, 5).Draw(t, "upper")
		return s
	})
}

func layerGen(m *Mode, links, lower bool, most int) *rapid.Generator[Layer] {
	return rapid.Custom(func(t *rapid.T) Layer {
		g := layerMaker{Mode: m, links: links, lower: lower, dirs: []string{""}, index: map[string]int{}}
		for range rapid.IntRange(0, most).Draw(t, "items") {
			g.item(t)
		}
		return g.layer
	})
}

// layerMaker collects one layer.
type layerMaker struct {
	*Mode
	links bool // make hard links
	lower bool // make what only a lower layer may have
	layer Layer
	dirs  []string
	files []string
	index map[string]int
}

func (g *layerMaker) item(t *rapid.T) {
	dir := rapid.SampledFrom(g.dirs).Draw(t, "dir")
	p := path.Join(dir, nameGen.Draw(t, "name"))
	if _, taken := g.index[p]; taken || strings.Count(p, "/") > 2 {
		return
	}
	it := Item{Path: p, Time: 1e9 + int64(rapid.IntRange(0, 99).Draw(t, "time"))}
	it.UID = rapid.SampledFrom(g.IDs).Draw(t, "uid")
	it.GID = rapid.SampledFrom(g.IDs).Draw(t, "gid")
	g.fill(t, &it)
	if it.Type == unix.S_IFDIR {
		g.dirs = append(g.dirs, p)
	}
	if it.Type == unix.S_IFREG && !it.XWhite {
		g.files = append(g.files, p)
	}
	g.index[p] = len(g.layer)
	g.layer = append(g.layer, it)
}

// fill decides what an item is.
func (g *layerMaker) fill(t *rapid.T, it *Item) {
	it.Mode = modeGen.Draw(t, "mode")
	switch k := rapid.IntRange(0, 99).Draw(t, "kind"); {
	case k < 40:
		g.fillFile(t, it)
	case k < 70:
		it.Type = unix.S_IFDIR
		it.Mode = dirModeGen.Draw(t, "dirmode")
		if rapid.IntRange(0, 4).Draw(t, "opaque") == 1 {
			it.Opaque = "y"
		}
		it.Xattrs = g.xattrs(t)
	case k < 78:
		it.Type, it.Mode, it.Target = unix.S_IFLNK, 0o777, targetGen.Draw(t, "target")
	case k < 82:
		it.Type = unix.S_IFIFO
	case k < 92:
		it.Type = unix.S_IFCHR
	case k < 94 && g.Mknod:
		it.Type, it.Rdev = unix.S_IFCHR, unix.Mkdev(1, 3)
	case k < 97 && g.lower && g.xwhiteoutFits(it.Path):
		it.Type, it.XWhite = unix.S_IFREG, true
	case g.links && len(g.files) > 0:
		it.LinkTo = rapid.SampledFrom(g.files).Draw(t, "linkto")
	default:
		g.fillFile(t, it)
	}
}

func (g *layerMaker) fillFile(t *rapid.T, it *Item) {
	it.Type = unix.S_IFREG
	it.Content = Content{
		Tag: tagGen.Draw(t, "tag"), Size: sizeGen.Draw(t, "size"),
		Hole: rapid.IntRange(0, 7).Draw(t, "hole") == 1,
	}
	it.Xattrs = g.xattrs(t)
}

// xwhiteoutFits marks the directory as one with xattr whiteouts, which a
// directory that is opaque cannot be, nor the layer's root: the kernel looks at
// that one when it mounts.
func (g *layerMaker) xwhiteoutFits(p string) bool {
	i, ok := g.index[path.Dir(p)]
	if !ok || g.layer[i].Opaque == "y" {
		return false
	}
	g.layer[i].Opaque = "x"
	return true
}

func (g *layerMaker) xattrs(t *rapid.T) []Xattr {
	if rapid.IntRange(0, 3).Draw(t, "xattrs") != 1 {
		return nil
	}
	pool := append([]Xattr{aclAccess, capability}, fileXattrs...)
	if g.Mknod {
		pool = append(pool, trustedAttr)
	}
	return []Xattr{rapid.SampledFrom(pool).Draw(t, "xattr")}
}
