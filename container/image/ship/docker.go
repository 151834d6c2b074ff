package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/gzip"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/plyfs/plyfs/container/image"
)

// errNoDocker says that an archive is not one of docker save.
var errNoDocker = errors.New("no manifest.json")

// dockerItem is one image in manifest.json.
type dockerItem struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// loadDocker is Load for what docker save writes.
func (s *Shipper) loadDocker(ctx context.Context, a archive, name string) (out []*image.Entry, err error) {
	text, err := readPart(a, "manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoDocker
	}
	if err != nil {
		return nil, err
	}
	var items []dockerItem
	if err := json.Unmarshal(text, &items); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	for _, item := range items {
		names := item.RepoTags
		switch {
		case name != "" && len(items) == 1:
			names = []string{name}
		case len(names) == 0:
			names = []string{""}
		}
		d, get, err := s.dockerManifest(a, &item)
		if err != nil {
			return out, err
		}
		for _, n := range names {
			if n, err = wholeName(n); err != nil {
				return out, err
			}
			e, err := s.add(ctx, n, "", d, get)
			if err != nil {
				return out, err
			}
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("there is no image in it")
	}
	return out, nil
}

// dockerManifest puts a manifest for the image into the store, and what it
// refers to.
func (s *Shipper) dockerManifest(a archive, item *dockerItem) (d ocispec.Descriptor, get source, err error) {
	text, err := readPart(a, item.Config)
	if err != nil {
		return d, nil, err
	}
	var cfg ocispec.Image
	if err := json.Unmarshal(text, &cfg); err != nil {
		return d, nil, fmt.Errorf("%s: %w", item.Config, err)
	}
	if len(cfg.RootFS.DiffIDs) != len(item.Layers) {
		return d, nil, fmt.Errorf("%s describes %d layers, and there are %d", item.Config, len(cfg.RootFS.DiffIDs), len(item.Layers))
	}
	digest, err := s.putBlob(text)
	if err != nil {
		return d, nil, err
	}
	m := ocispec.Manifest{MediaType: typeOCIManifest, Config: ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageConfig, Digest: parsed(digest), Size: int64(len(text)),
	}}
	m.SchemaVersion = 2
	m.Layers = make([]ocispec.Descriptor, len(item.Layers))
	var g errgroup.Group
	g.SetLimit(cap(s.slot))
	for i, file := range item.Layers {
		g.Go(func() (err error) {
			m.Layers[i], err = s.dockerLayer(a, file, cfg.RootFS.DiffIDs[i].String())
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return d, nil, err
	}
	d, err = s.putJSON(typeOCIManifest, &m)
	return d, s.local, err
}

// compressLayer stores a layer that is not compressed in its archive so that it
// takes less: what is unpacked is there beside it. The same layer gives the same
// blob.
func (s *Shipper) compressLayer(from io.Reader, file, diffID string) (d ocispec.Descriptor, err error) {
	w, err := s.newBlob()
	if err != nil {
		return d, err
	}
	defer w.discard()
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return d, err
	}
	plain := newHasher()
	if _, err = io.Copy(io.MultiWriter(z, plain), from); err == nil {
		err = z.Close()
	}
	if err != nil {
		return d, fmt.Errorf("%s: %w", file, err)
	}
	if got := sum(plain.sum); got != diffID {
		return d, &DigestError{file, diffID, got}
	}
	digest, err := w.keep(s)
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: parsed(digest), Size: w.n}, err
}

// dockerLayer puts one layer into the store. Its name in the archive says
// nothing: only the digest of what is in it, in the configuration, counts.
func (s *Shipper) dockerLayer(a archive, file, diffID string) (d ocispec.Descriptor, err error) {
	f, _, err := a.open(file)
	if err != nil {
		return d, err
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return d, err
	}
	from := io.MultiReader(bytes.NewReader(head[:n]), f)
	if !compressed(head[:n]) {
		return s.compressLayer(from, file, diffID)
	}
	w, err := s.newBlob()
	if err != nil {
		return d, err
	}
	defer w.discard()
	if _, err := io.Copy(w, from); err != nil {
		return d, fmt.Errorf("%s: %w", file, err)
	}
	digest, err := w.keep(s)
	mediaType := ocispec.MediaTypeImageLayerGzip
	if head[0] != 0x1f {
		mediaType = ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: parsed(digest), Size: w.n}, err
}
