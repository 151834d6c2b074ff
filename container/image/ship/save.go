package ship

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/plyfs/plyfs/container/image"
)

// Save writes images as a tar archive that is an OCI layout and, for older
// readers, what docker save writes. It is the same for the same images.
func (s *Shipper) Save(w io.Writer, refs []string) error {
	t := tar.NewWriter(w)
	put := func(name string, size int64, r io.Reader) error {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if size >= 1<<33 {
			h.Format = tar.FormatPAX
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.Copy(t, r)
		return err
	}
	if err := s.save(put, refs); err != nil {
		return err
	}
	return t.Close()
}

// SaveDir writes images as an OCI layout into a directory that is empty or not
// there.
func (s *Shipper) SaveDir(dir string, refs []string) error {
	if list, err := os.ReadDir(dir); err == nil && len(list) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	return s.save(func(name string, _ int64, r io.Reader) error {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	}, refs)
}

// put writes one file of an archive.
type put func(name string, size int64, r io.Reader) error

func (s *Shipper) save(to put, refs []string) error {
	use, err := s.Store.Use()
	if err != nil {
		return err
	}
	defer use.Close()
	idx := ocispec.Index{MediaType: typeOCIIndex}
	idx.SchemaVersion = 2
	var items []dockerItem
	seen := map[string]bool{}
	for _, ref := range refs {
		e, err := s.Store.Find(ref)
		if err != nil {
			return err
		}
		m, err := s.manifest(e)
		if err != nil {
			return err
		}
		d := ocispec.Descriptor{MediaType: e.MediaType, Digest: parsed(e.Digest), Size: e.Size}
		item := dockerItem{Config: blobName(m.Config), RepoTags: []string{}}
		if e.Name != "" {
			r, err := image.Parse(e.Name)
			if err != nil {
				return err
			}
			d.Annotations = map[string]string{"io.containerd.image.name": e.Name, "org.opencontainers.image.ref.name": r.Tag}
			if r.Tag != "" {
				item.RepoTags = []string{r.Familiar() + ":" + r.Tag}
			}
		}
		for _, l := range m.Layers {
			item.Layers = append(item.Layers, blobName(l))
		}
		for _, b := range append([]ocispec.Descriptor{d, m.Config}, m.Layers...) {
			if seen[b.Digest.String()] {
				continue
			}
			seen[b.Digest.String()] = true
			if err := s.putVerified(to, b); err != nil {
				return err
			}
		}
		idx.Manifests, items = append(idx.Manifests, d), append(items, item)
	}
	for _, f := range []struct {
		name string
		v    any
	}{{"index.json", idx}, {"manifest.json", items}, {"oci-layout", ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}}} {
		text, err := json.Marshal(f.v)
		if err != nil {
			return err
		}
		if err := to(f.name, int64(len(text)), bytes.NewReader(text)); err != nil {
			return err
		}
	}
	return nil
}

func blobName(d ocispec.Descriptor) string {
	return "blobs/" + d.Digest.Algorithm().String() + "/" + d.Digest.Encoded()
}

// putVerified writes a blob, and fails when it isn't what its digest says: it
// is worth less than no archive.
func (s *Shipper) putVerified(to put, d ocispec.Descriptor) error {
	path, err := s.Store.Blob(d.Digest.String())
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	defer f.Close()
	h := sha256.New()
	if err := to(blobName(d), d.Size, io.TeeReader(f, h)); err != nil {
		return err
	}
	if got := sum(h); got != d.Digest.String() {
		return &DigestError{"blob in the store", d.Digest.String(), got}
	}
	return nil
}

// manifest reads the manifest of an image.
func (s *Shipper) manifest(e *image.Entry) (m ocispec.Manifest, err error) {
	text, err := s.readBlob(e.Digest)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	return m, err
}

// ReadConfig reads the configuration of an image.
func (s *Shipper) ReadConfig(e *image.Entry) (c ocispec.Image, err error) {
	text, err := s.readBlob(e.ID)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	return c, err
}
