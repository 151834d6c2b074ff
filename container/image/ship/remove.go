package ship

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/image"
)

// Removed says what Remove and Prune have done.
type Removed struct {
	Untagged []string
	Deleted  []string // ids
	Bytes    int64
	// Busy says that what is no longer needed stays until the next time:
	// somebody uses the store.
	Busy bool
}

// Remove takes a name away, or with an id all names of the image; an image that
// has none is deleted. One that containers use is refused without force, and
// with it keeps its layers as long as they do.
func (s *Shipper) Remove(refs []string, force bool) (r Removed, err error) {
	var errs []error
	for _, ref := range refs {
		errs = append(errs, s.removeOne(ref, force, &r))
	}
	return r, errors.Join(append(errs, s.collect(&r, false))...)
}

func (s *Shipper) removeOne(ref string, force bool, r *Removed) error {
	e, err := s.Store.Find(ref)
	if errors.Is(err, image.ErrNotFound) && force {
		return nil
	}
	if err != nil {
		return err
	}
	byName := false
	if n, err := image.Parse(ref); err == nil {
		byName = e.Name == n.String()
	}
	return s.Store.Update(func(list []image.Entry) ([]image.Entry, error) {
		same, last := 0, true
		for _, o := range list {
			if o.ID != e.ID {
				continue
			}
			same++
			last = last && (!byName || o.Name == e.Name)
		}
		if !byName && same > 1 && !force {
			return nil, fmt.Errorf("image %s has %d names: give the one that is to go, or -f", ref, same)
		}
		if last && !force {
			if user := s.usedBy(e.Layers); user != "" {
				return nil, fmt.Errorf("image %s is used by container %s: remove that first, or give -f", ref, user)
			}
		}
		kept := list[:0:0]
		for _, o := range list {
			if o.ID != e.ID || byName && o.Name != e.Name {
				kept = append(kept, o)
				continue
			}
			if o.Name != "" {
				r.Untagged = append(r.Untagged, o.Name)
			}
		}
		if last {
			r.Deleted = append(r.Deleted, e.ID)
		}
		return kept, nil
	})
}

// usedBy finds a container on exactly these layers.
func (s *Shipper) usedBy(layers []string) string {
	if len(layers) == 0 {
		return ""
	}
	_, top, _ := strings.Cut(layers[len(layers)-1], ":")
	for id, text := range s.containers() {
		if i := strings.Index(text, "/images/layers/"); i >= 0 && strings.HasPrefix(text[i+len("/images/layers/"):], top) {
			return id[:min(12, len(id))]
		}
	}
	return ""
}

// containers are the descriptions of all containers, also of those that are
// being made.
func (s *Shipper) containers() map[string]string {
	out := map[string]string{}
	dir := filepath.Join(s.Store.Root(), "containers")
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if text, err := os.ReadFile(filepath.Join(dir, e.Name(), "spec.json")); err == nil {
			out[e.Name()] = string(text)
		}
	}
	return out
}

// Prune deletes what nothing needs: images without a name, with all those that
// no container uses, too.
func (s *Shipper) Prune(all bool) (r Removed, err error) {
	err = s.Store.Update(func(list []image.Entry) ([]image.Entry, error) {
		return slices.DeleteFunc(list, func(e image.Entry) bool {
			gone := e.Name == "" || all
			if gone && s.usedBy(e.Layers) == "" {
				if e.Name != "" {
					r.Untagged = append(r.Untagged, e.Name)
				}
				r.Deleted = append(r.Deleted, e.ID)
				return true
			}
			return false
		}), nil
	})
	return r, errors.Join(err, s.collect(&r, true))
}

// collect deletes the blobs and layers that no image and no container needs.
func (s *Shipper) collect(r *Removed, wait bool) error {
	l, err := s.Store.Sweeper(wait)
	if err != nil {
		return err
	}
	if l == nil {
		r.Busy = true
		return nil
	}
	defer l.Close()
	blobs, layers, err := s.needed()
	if err != nil {
		return err
	}
	var errs []error
	sweep := func(sub string, keep func(name string) bool) {
		entries, _ := os.ReadDir(filepath.Join(s.Store.Dir(), sub))
		for _, e := range entries {
			if keep(e.Name()) {
				continue
			}
			path := filepath.Join(s.Store.Dir(), sub, e.Name())
			n := diskUsage(path)
			if e.IsDir() { // first out of sight, then away
				gone := filepath.Join(filepath.Dir(path), "."+strings.TrimPrefix(e.Name(), ".")+".gone")
				if !strings.HasPrefix(e.Name(), ".") && os.Rename(path, gone) == nil {
					path = gone
				}
			}
			if err := removeTree(path); err != nil {
				errs = append(errs, err)
				continue
			}
			r.Bytes += n
		}
	}
	sweep("blobs/sha256", func(name string) bool { return blobs[name] })
	sweep("layers", func(name string) bool { return layers[name] })
	sweep("partial", func(name string) bool { return blobs[strings.TrimSuffix(name, ".lock")] })
	return errors.Join(errs...)
}

// needed are the hexadecimal digests of blobs and layers that something leads
// to. An image whose manifest can't be read keeps what the index says of it.
func (s *Shipper) needed() (blobs, layers map[string]bool, err error) {
	list, err := s.Store.List()
	if err != nil {
		return nil, nil, err
	}
	blobs, layers = map[string]bool{}, map[string]bool{}
	add := func(to map[string]bool, digest string) {
		_, hex, _ := strings.Cut(digest, ":")
		to[hex] = true
	}
	for i := range list {
		e := &list[i]
		add(blobs, e.Digest)
		add(blobs, e.ID)
		for _, l := range e.Layers {
			add(layers, l)
		}
		m, err := s.manifest(e)
		if err != nil {
			return nil, nil, fmt.Errorf("image %s: %w: nothing is deleted until it is pulled again or removed", e.Name, err)
		}
		for _, l := range m.Layers {
			add(blobs, l.Digest.String())
		}
	}
	for _, text := range s.containers() {
		for part := range strings.SplitSeq(text, "/images/layers/") {
			if len(part) >= 64 {
				layers[part[:64]] = true
			}
		}
	}
	return blobs, layers, nil
}

// diskUsage is what a tree takes on disk.
func diskUsage(path string) (n int64) {
	_ = filepath.WalkDir(path, func(p string, _ os.DirEntry, _ error) error {
		var st unix.Stat_t
		if unix.Lstat(p, &st) == nil && (st.Nlink <= 1 || st.Mode&unix.S_IFMT == unix.S_IFDIR) {
			n += st.Blocks * 512
		}
		return nil
	})
	return n
}
