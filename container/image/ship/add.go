package ship

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/plyfs/plyfs/container/image"
)

// maxLayers bounds what a manifest can ask for.
const maxLayers = 4096

// fetchers is how many layers are fetched at once.
const fetchers = 4

// source puts a blob into the store, if it isn't there.
type source func(ctx context.Context, d ocispec.Descriptor) error

// add makes an image of a manifest that is in the store: it gets what the
// manifest refers to, unpacks it, and gives the image its name. Preconditions:
// the store is in use (Store.Use).
func (s *Shipper) add(ctx context.Context, name, origin string, manifest ocispec.Descriptor, get source) (*image.Entry, error) {
	if err := s.settle(); err != nil {
		return nil, err
	}
	m, cfg, err := s.describe(ctx, manifest, get)
	if err != nil {
		return nil, err
	}
	diffs := make([]string, 0, len(m.Layers))
	for _, d := range cfg.RootFS.DiffIDs {
		diffs = append(diffs, d.String())
	}
	ids := chains(diffs)
	bytes, err := s.layers(ctx, m.Layers, diffs, ids, get)
	if err != nil {
		return nil, err
	}
	e := &image.Entry{
		Name: name, MediaType: manifest.MediaType, Digest: manifest.Digest.String(), Size: manifest.Size,
		ID: m.Config.Digest.String(), Layers: ids, Origin: origin, Added: time.Now(), Bytes: bytes, Boot: image.BootID(),
		Platform: image.Platform{Architecture: cfg.Architecture, OS: cfg.OS, Variant: cfg.Variant},
	}
	for _, id := range ids {
		info := s.layerInfo(id)
		e.Virtual = e.Virtual || info != nil && info.Virtual
	}
	return e, s.Store.Update(func(list []image.Entry) ([]image.Entry, error) { return image.Put(list, *e), nil })
}

// describe reads a manifest and its configuration.
func (s *Shipper) describe(ctx context.Context, d ocispec.Descriptor, get source) (m ocispec.Manifest, c ocispec.Image, err error) {
	text, err := s.readBlob(d.Digest.String())
	if err != nil {
		return m, c, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, c, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if len(m.Layers) > maxLayers {
		return m, c, fmt.Errorf("manifest %s: %d layers: refused", d.Digest, len(m.Layers))
	}
	if m.Config.Digest == "" {
		return m, c, fmt.Errorf("manifest %s (%s) has no configuration: it is no image", d.Digest, d.MediaType)
	}
	if m.Config.Size > maxJSON {
		return m, c, fmt.Errorf("manifest %s: a configuration of %d bytes: refused", d.Digest, m.Config.Size)
	}
	if get != nil {
		if err := get(ctx, m.Config); err != nil {
			return m, c, err
		}
	}
	if text, err = s.readBlob(m.Config.Digest.String()); err != nil {
		return m, c, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return m, c, fmt.Errorf("configuration %s: %w", m.Config.Digest, err)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return m, c, fmt.Errorf("configuration %s describes %d layers, and the manifest has %d: it is no container image", m.Config.Digest, len(c.RootFS.DiffIDs), len(m.Layers))
	}
	return m, c, nil
}

// layers gets and unpacks them all: several are fetched at once, and each is
// unpacked when it is there; they appear from the bottom to the top.
func (s *Shipper) layers(ctx context.Context, descs []ocispec.Descriptor, diffs, ids []string, get source) (bytes int64, err error) {
	g, ctx := errgroup.WithContext(ctx)
	fetching := make(chan struct{}, fetchers)
	done := make([]chan struct{}, len(descs)) // closed when a layer has its name
	for i := range done {
		done[i] = make(chan struct{})
	}
	for i, d := range descs {
		g.Go(func() error {
			parent := ""
			if i > 0 {
				parent = ids[i-1]
			}
			if err := s.fetch(ctx, d, get, fetching); err != nil {
				return err
			}
			p, err := s.unpackLayer(ctx, d.Digest.String(), diffs[i], parent)
			if err != nil {
				return err
			}
			if i > 0 {
				select {
				case <-done[i-1]:
				case <-ctx.Done():
					if p != nil {
						p.discard()
					}
					return ctx.Err()
				}
			}
			if p != nil {
				if err := p.finish(s.trees(ids[:i])); err != nil {
					return fmt.Errorf("layer %s: %w", d.Digest, err)
				}
			}
			s.Report(Progress{Digest: d.Digest.String(), Step: "done", Total: d.Size})
			close(done[i])
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	for _, id := range ids {
		if info := s.layerInfo(id); info != nil {
			bytes += info.Bytes
		}
	}
	return bytes, nil
}

func (s *Shipper) fetch(ctx context.Context, d ocispec.Descriptor, get source, slots chan struct{}) error {
	if s.hasBlob(d.Digest.String(), d.Size) {
		s.Report(Progress{Digest: d.Digest.String(), Step: "exists", Total: d.Size})
		return nil
	}
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-slots }()
	s.Report(Progress{Digest: d.Digest.String(), Step: "fetch", Total: d.Size})
	return get(ctx, d)
}

// trees are the directories of layers, the top first.
func (s *Shipper) trees(ids []string) (out []string) {
	for _, id := range slices.Backward(ids) {
		if dir, err := s.Store.Layer(id); err == nil {
			out = append(out, filepath.Join(dir, "fs"))
		}
	}
	return out
}

// Repair unpacks what is missing of an image whose blobs are there.
func (s *Shipper) Repair(ctx context.Context, ref string) error {
	use, err := s.Store.Use()
	if err != nil {
		return err
	}
	defer use.Close()
	e, err := s.Store.Find(ref)
	if err != nil {
		return err
	}
	_, err = s.add(ctx, e.Name, e.Origin, ocispec.Descriptor{MediaType: e.MediaType, Digest: parsed(e.Digest), Size: e.Size}, s.local)
	return err
}

// local is the source of blobs that must be in the store already.
func (s *Shipper) local(_ context.Context, d ocispec.Descriptor) error {
	if s.hasBlob(d.Digest.String(), d.Size) {
		return nil
	}
	return errors.New("blob " + d.Digest.String() + " is missing")
}
