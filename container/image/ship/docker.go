package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/plyfs/plyfs/container/image"
)

// errNoDocker says that an archive is not one of docker save.
var errNoDocker = errors.New("no manifest.json")

// annStored is in manifests that were made here of an archive without one: no
// registry knows their digest, so their layers may be compressed for one.
const annStored = "dev.plyfs.stored"

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
	id, err := s.putBlob(text)
	if err != nil {
		return d, nil, err
	}
	m := ocispec.Manifest{MediaType: typeOCIManifest, Config: ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageConfig, Digest: parsed(id), Size: int64(len(text)),
	}}
	m.SchemaVersion, m.Annotations = 2, map[string]string{annStored: "as loaded"}
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

// dockerLayer puts one layer into the store. Its name in the archive says
// nothing: only the digest of what is in it, in the configuration, counts.
func (s *Shipper) dockerLayer(a archive, file, diffID string) (d ocispec.Descriptor, err error) {
	f, size, err := a.open(file)
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
	if !compressed(head[:n]) { // as it is: compressing takes longer than all else (decision 0064)
		d = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.Digest(diffID), Size: size}
		if err := s.storeBlob(diffID, size, from); err != nil {
			return d, fmt.Errorf("%s: %w", file, err)
		}
		return d, nil
	}
	w, err := s.newBlob()
	if err != nil {
		return d, err
	}
	defer w.discard()
	if err := copyTo(w, from); err != nil {
		return d, fmt.Errorf("%s: %w", file, err)
	}
	blob, err := w.keep(s)
	mediaType := ocispec.MediaTypeImageLayerGzip
	if head[0] != 0x1f {
		mediaType = ocispec.MediaTypeImageLayerZstd
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: parsed(blob), Size: w.n}, err
}
