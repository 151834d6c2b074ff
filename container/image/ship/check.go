package ship

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/plyfs/plyfs/container/image"
)

// Fault is what is wrong with an image.
type Fault struct {
	Image string
	What  string
	// Removed says that the damaged part is gone, so that a pull gets it again.
	Removed bool
}

// Check reads every blob and compares it with its digest, and looks that every
// layer is there. What is damaged is deleted with repair.
func (s *Shipper) Check(repair bool) (faults []Fault, err error) {
	use, err := s.Store.Use()
	if err != nil {
		return nil, err
	}
	defer use.Close()
	list, err := s.Store.List()
	if err != nil {
		return nil, err
	}
	seen := map[string]error{}
	for i := range list {
		e := &list[i]
		name := e.Name
		if name == "" {
			name = e.ID
		}
		add := func(digest string, err error) {
			if err == nil {
				return
			}
			f := Fault{Image: name, What: err.Error()}
			if path, e := s.Store.Blob(digest); repair && e == nil {
				f.Removed = os.Remove(path) == nil || f.Removed
			}
			faults = append(faults, f)
		}
		for _, d := range s.blobsOf(e) {
			if _, ok := seen[d]; !ok {
				seen[d] = s.checkBlob(d)
				add(d, seen[d])
			} else if seen[d] != nil {
				faults = append(faults, Fault{Image: name, What: seen[d].Error(), Removed: repair})
			}
		}
		for _, l := range e.Layers {
			if s.layerInfo(l) == nil {
				faults = append(faults, Fault{Image: name, What: "layer " + l + " is not unpacked"})
			}
		}
	}
	return faults, nil
}

// blobsOf are the blobs of an image, as far as they can be known.
func (s *Shipper) blobsOf(e *image.Entry) []string {
	out := []string{e.Digest, e.ID}
	if m, err := s.manifest(e); err == nil {
		for _, l := range m.Layers {
			if d := l.Digest.String(); !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

func (s *Shipper) checkBlob(digest string) error {
	path, err := s.Store.Blob(digest)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("blob %s is missing", digest)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := sum(h); got != digest {
		return &DigestError{"blob in the store", digest, got}
	}
	return nil
}

// Usage is what the store takes on disk.
type Usage struct {
	Images, Layers    int
	Blobs, Unpacked   int64 // bytes
	FreeBlobs, FreeUp int64 // of these, what nothing needs
}

// Usage counts.
func (s *Shipper) Usage() (u Usage, err error) {
	list, err := s.Store.List()
	if err != nil {
		return u, err
	}
	ids := map[string]bool{}
	for _, e := range list {
		ids[e.ID] = true
	}
	u.Images = len(ids)
	blobs, layers, err := s.needed()
	if err != nil {
		return u, err
	}
	for _, d := range []struct {
		sub         string
		all, unused *int64
		keep        map[string]bool
	}{{"blobs/sha256", &u.Blobs, &u.FreeBlobs, blobs}, {"partial", &u.Blobs, &u.FreeBlobs, nil}, {"layers", &u.Unpacked, &u.FreeUp, layers}} {
		entries, _ := os.ReadDir(s.Store.Dir() + "/" + d.sub)
		for _, e := range entries {
			n := diskUsage(s.Store.Dir() + "/" + d.sub + "/" + e.Name())
			*d.all += n
			if e.IsDir() {
				u.Layers++
			}
			if !d.keep[e.Name()] {
				*d.unused += n
			}
		}
	}
	return u, nil
}
