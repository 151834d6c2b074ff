package ship

import (
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/image"
)

// LayerStat is what one layer of an image does.
type LayerStat struct {
	Step
	Added, Changed, Deleted int
	// Wasted are bytes of layers below that this one hides.
	Wasted int64
	Files  []FileStat // in the order of their names
}

// FileStat is one file of a layer.
type FileStat struct {
	Path string
	Kind byte // A, C or D
	Size int64
}

// Tree looks at all layers of an image, the lowest first.
func (s *Shipper) Tree(e *image.Entry) ([]LayerStat, error) {
	steps, err := s.History(e)
	if err != nil {
		return nil, err
	}
	seen := map[string]int64{} // what shows, with its size
	var out []LayerStat
	for _, st := range steps {
		l := LayerStat{Step: st}
		if st.Chain != "" {
			dir, err := s.Store.Layer(st.Chain)
			if err != nil {
				return nil, err
			}
			if err := l.look(filepath.Join(dir, "fs"), seen); err != nil {
				return nil, err
			}
		}
		out = append(out, l)
	}
	return out, nil
}

// look walks one layer.
func (l *LayerStat) look(dir string, seen map[string]int64) error {
	own := map[string]bool{}
	var bytes int64
	links := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		name := strings.TrimPrefix(p, dir)
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
			l.Deleted++
			l.Files = append(l.Files, FileStat{name, 'D', 0})
			l.hide(seen, own, name, true)
			return nil
		}
		size := int64(0)
		if info.Mode().IsRegular() && !links[st.Ino] {
			size = info.Size()
			links[st.Ino] = st.Nlink > 1
		}
		bytes += size
		kind := byte('A')
		if old, ok := seen[name]; ok {
			kind = 'C'
			l.Wasted += old
			if d.IsDir() {
				l.opaque(p, name, seen, own)
			} else {
				l.hide(seen, own, name, false)
			}
		}
		if kind == 'A' {
			l.Added++
		} else {
			l.Changed++
		}
		l.Files = append(l.Files, FileStat{name, kind, size})
		seen[name], own[name] = size, true
		return nil
	})
	if l.Bytes == 0 {
		l.Bytes = bytes
	}
	return err
}

// opaque hides what is below an opaque directory.
func (l *LayerStat) opaque(p, name string, seen map[string]int64, own map[string]bool) {
	var v [1]byte
	for _, a := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		if n, err := unix.Lgetxattr(p, a, v[:]); err == nil && n == 1 && v[0] == 'y' {
			l.hide(seen, own, name, false)
			return
		}
	}
}

// hide counts what vanishes below a name, and with self the name too.
func (l *LayerStat) hide(seen map[string]int64, own map[string]bool, name string, self bool) {
	if self {
		l.Wasted += seen[name]
		delete(seen, name)
	}
	for p, n := range seen {
		if strings.HasPrefix(p, name+"/") && !own[p] {
			l.Wasted += n
			delete(seen, p)
		}
	}
}

// Efficiency is the share of an image's bytes that shows, from 0 to 1, and how
// many don't.
func Efficiency(layers []LayerStat) (share float64, wasted, total int64) {
	for i := range layers {
		wasted += layers[i].Wasted
		total += layers[i].Bytes
	}
	if total == 0 {
		return 1, wasted, total
	}
	return 1 - float64(wasted)/float64(total), wasted, total
}
