package oracle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// Args are what a union is mounted from.
type Args struct {
	Dir         string   // mount point
	Lower       []string // top first
	Upper, Work string
	UserXattr   bool
	Index       bool // hard links are to survive copy-up
	Redirect    bool // renamed directories may be redirected
	Metacopy    bool // changed attributes copy no data; implies Redirect
	Extra       string
}

// Filesystem is one of the two that are compared.
type Filesystem interface {
	Name() string
	Mount(a Args) error
	// Unmount returns when the mount is gone and all that it had to write
	// is written.
	Unmount(dir string) error
}

// Side is one filesystem in a sequence, with the files that it holds open.
type Side struct {
	FS   Filesystem
	Args Args
	held [slots]int
	inos [slots]uint64 // inode numbers of the held files when opened
}

// slots is how many files an operation sequence can hold open at a time.
const slots = 3

func newSide(fs Filesystem, base string, lower []string, m *Mode, over *Setup) *Side {
	s := &Side{FS: fs, Args: Args{
		Dir: filepath.Join(base, "mnt"), Lower: lower,
		Upper: filepath.Join(base, "upper"), Work: filepath.Join(base, "work"),
		UserXattr: m.UserXattr, Index: over.Links, Redirect: over.Redirect || over.Metacopy, Metacopy: over.Metacopy, Extra: over.Extra,
	}}
	for i := range s.held {
		s.held[i] = -1
	}
	return s
}

// commit makes the upper the top lower layer, and a fresh one above it. Layers
// that are many enough are left alone. Nothing may be mounted.
func (s *Side) commit() error {
	a := &s.Args
	if len(a.Lower) >= mostLayers {
		return nil
	}
	base := fmt.Sprintf("%s/commit%d", filepath.Dir(a.Dir), len(a.Lower))
	a.Lower = append([]string{a.Upper}, a.Lower...)
	a.Upper, a.Work = base+"/upper", base+"/work"
	return errors.Join(os.MkdirAll(a.Upper, 0o755), os.MkdirAll(a.Work, 0o755), Layer{}.Build(a.Upper, ""))
}

// linked says that the upper has hard links, which would become those of a
// lower layer (see Setup.Links).
func (s *Side) linked() bool {
	tree, err := treedump.Take(s.Args.Upper)
	if err != nil {
		return true
	}
	for _, n := range tree.Nodes {
		white := n.Type == unix.S_IFCHR && n.Rdev == 0
		if n.Type != unix.S_IFDIR && n.Nlink > 1 && !white {
			return true
		}
	}
	return false
}

// mostLayers is how many lowers commits go on to.
const mostLayers = 6

// prepare makes the side's directories, and its upper from the layer.
func (s *Side) prepare(upper Layer, prefix string) error {
	for _, d := range []string{s.Args.Dir, s.Args.Upper, s.Args.Work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return upper.Build(s.Args.Upper, prefix)
}

func (s *Side) path(p string) string { return s.Args.Dir + "/" + p }

func (s *Side) mount() error {
	if err := s.FS.Mount(s.Args); err != nil {
		return fmt.Errorf("%s does not mount: %w", s.FS.Name(), err)
	}
	return nil
}

func (s *Side) unmount() error {
	s.release()
	if err := s.FS.Unmount(s.Args.Dir); err != nil {
		return fmt.Errorf("%s does not unmount: %w", s.FS.Name(), err)
	}
	return nil
}

// release closes every file held open.
func (s *Side) release() {
	for i, fd := range s.held {
		if fd >= 0 {
			unix.Close(fd)
		}
		s.held[i] = -1
	}
}

// litter lists what a filesystem left in its work directory: temporaries are
// gone when nothing is open and nothing is mounted. The kernel keeps the
// whiteout there that it makes its whiteouts of.
func (s *Side) litter() []string {
	ents, err := treedump.ReadDir(filepath.Join(s.Args.Work, "work"))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range ents {
		if _, kernel := s.FS.(Kernel); kernel && e.Type == unix.DT_CHR {
			continue
		}
		out = append(out, "work/"+e.Name)
	}
	return out
}
