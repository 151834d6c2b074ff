package ship

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/plyfs/plyfs/container/image"
)

// ImportOptions say what the new image is.
type ImportOptions struct {
	Name     string
	Message  string
	Platform Platform
	Config   ocispec.ImageConfig
	Created  time.Time
}

// Import makes an image of one layer from a root tarball, which may be
// compressed; "-" is the standard input.
func (s *Shipper) Import(ctx context.Context, file string, o ImportOptions) (*image.Entry, error) {
	f := os.Stdin
	if file != "-" {
		var err error
		if f, err = os.Open(file); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	plain, err := openPlain(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	defer plain.Close()
	if o.Message == "" {
		o.Message = "imported from " + file
	}
	e, err := s.fromTar(ctx, watched{ctx: ctx, r: plain}, &o)
	if err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return e, err
}

// fromTar makes an image of a tar stream.
func (s *Shipper) fromTar(ctx context.Context, in io.Reader, o *ImportOptions) (*image.Entry, error) {
	use, err := s.Store.Use()
	if err != nil {
		return nil, err
	}
	defer use.Close()
	layer, diff, err := s.packLayer(func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
	if err != nil {
		return nil, err
	}
	created := o.Created.UTC()
	cfg := ocispec.Image{Created: &created, Config: o.Config, History: []ocispec.History{{Created: &created, CreatedBy: "plyfs import", Comment: o.Message}}}
	cfg.Architecture, cfg.OS, cfg.Variant = o.Platform.Architecture, o.Platform.OS, o.Platform.Variant
	cfg.RootFS = ocispec.RootFS{Type: "layers"}
	return s.build(ctx, o.Name, cfg, nil, layer, diff)
}

// packLayer puts a layer into the store, compressed; it gives its blob and the
// digest of what is in it. The same content gives the same blob.
func (s *Shipper) packLayer(write func(io.Writer) error) (d ocispec.Descriptor, diff string, err error) {
	w, err := s.newBlob()
	if err != nil {
		return d, "", err
	}
	defer w.discard()
	z, err := gzip.NewWriterLevel(w, gzip.DefaultCompression)
	if err != nil {
		return d, "", err
	}
	plain := newHasher()
	if err := write(io.MultiWriter(z, plain)); err != nil {
		return d, "", err
	}
	if err := z.Close(); err != nil {
		return d, "", err
	}
	digest, err := w.keep(s)
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: parsed(digest), Size: w.n}, sum(plain.sum), err
}

// build makes an image of a configuration, the layers that it had, and one
// more.
func (s *Shipper) build(ctx context.Context, name string, cfg ocispec.Image, below []ocispec.Descriptor, layer ocispec.Descriptor, diff string) (*image.Entry, error) {
	cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs[:len(cfg.RootFS.DiffIDs):len(cfg.RootFS.DiffIDs)], parsed(diff))
	c, err := s.putJSON(ocispec.MediaTypeImageConfig, &cfg)
	if err != nil {
		return nil, err
	}
	m := ocispec.Manifest{MediaType: typeOCIManifest, Config: c}
	m.SchemaVersion = 2
	for _, l := range append(below[:len(below):len(below)], layer) {
		l.MediaType = strings.Replace(l.MediaType, "application/vnd.docker.image.rootfs.diff.tar.gzip", ocispec.MediaTypeImageLayerGzip, 1)
		m.Layers = append(m.Layers, l)
	}
	d, err := s.putJSON(typeOCIManifest, &m)
	if err != nil {
		return nil, err
	}
	return s.add(ctx, name, "", d, s.local)
}
