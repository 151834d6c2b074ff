package ship

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/plyfs/plyfs/container/image"
)

// Push sends an image to a registry under a name, and gives the digest that the
// registry knows it by. Layers that are there already aren't sent; those that
// came here uncompressed are compressed for the way.
func (s *Shipper) Push(ctx context.Context, r *Remote, ref string, to image.Reference) (string, error) {
	use, err := s.Store.Use()
	if err != nil {
		return "", err
	}
	defer use.Close()
	e, err := s.Store.Find(ref)
	if err != nil {
		return "", err
	}
	if to.Digest != "" {
		return "", errors.New("a digest is no name to push to: give a tag")
	}
	for _, d := range s.blobsOf(e) { // a damaged image must not spread
		if err := s.checkBlob(d); err != nil {
			return "", err
		}
	}
	p, err := s.parcelOf(ctx, e)
	if err != nil {
		return "", err
	}
	defer p.discard()
	img, err := partial.CompressedToImage(p)
	if err != nil {
		return "", err
	}
	insecure := r.Registries[to.Host].Insecure
	var o []name.Option
	if insecure {
		o = append(o, name.Insecure)
	}
	tag, err := name.NewTag(to.String(), o...)
	if err != nil {
		return "", err
	}
	err = remote.Write(tag, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(r.keychain()),
		remote.WithTransport(r.roundTripper(insecure)), remote.WithJobs(fetchers))
	if err != nil {
		return "", registryError(tag.Context(), err)
	}
	sent := digestOf(p.manifest)
	return sent, s.Store.Update(func(list []image.Entry) ([]image.Entry, error) {
		for i := range list {
			if list[i].ID == e.ID && list[i].Name == to.String() && list[i].Origin == "" {
				list[i].Origin = sent
			}
		}
		return list, nil
	})
}

// parcel is an image as it is sent.
type parcel struct {
	manifest  []byte
	mediaType types.MediaType
	config    []byte
	blobs     map[v1.Hash]blobFile
	made      []*blobWriter // what was compressed for the way
}

// blobFile is a layer as it is sent.
type blobFile struct {
	digest    v1.Hash
	size      int64
	mediaType types.MediaType
	path      string
}

func (b blobFile) Digest() (v1.Hash, error)            { return b.digest, nil }
func (b blobFile) Size() (int64, error)                { return b.size, nil }
func (b blobFile) MediaType() (types.MediaType, error) { return b.mediaType, nil }
func (b blobFile) Compressed() (io.ReadCloser, error)  { return os.Open(b.path) }
func (p *parcel) MediaType() (types.MediaType, error)  { return p.mediaType, nil }
func (p *parcel) RawManifest() ([]byte, error)         { return p.manifest, nil }
func (p *parcel) RawConfigFile() ([]byte, error)       { return p.config, nil }
func (p *parcel) discard() {
	for _, w := range p.made {
		w.discard()
	}
}

func (p *parcel) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	b, ok := p.blobs[h]
	if !ok {
		return nil, os.ErrNotExist
	}
	return b, nil
}

// parcelOf makes an image ready to be sent. It goes as it came, byte for byte,
// unless its manifest was made here; the same image gives the same bytes then, too.
func (s *Shipper) parcelOf(ctx context.Context, e *image.Entry) (p *parcel, err error) {
	p = &parcel{blobs: map[v1.Hash]blobFile{}, mediaType: types.MediaType(e.MediaType)}
	if p.manifest, err = s.readBlob(e.Digest); err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(p.manifest, &m); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", e.Digest, err)
	}
	if p.config, err = s.readBlob(m.Config.Digest.String()); err != nil {
		return nil, err
	}
	_, ours := m.Annotations[annStored]
	delete(m.Annotations, annStored)
	paths := make([]string, len(m.Layers))
	made := make([]*blobWriter, len(m.Layers))
	var g errgroup.Group
	g.SetLimit(cap(s.slot))
	for i, l := range m.Layers {
		g.Go(func() (err error) {
			if paths[i], err = s.Store.Blob(l.Digest.String()); err != nil || !ours || l.MediaType != ocispec.MediaTypeImageLayer {
				return err
			}
			if made[i], err = s.compress(ctx, paths[i]); err != nil {
				return fmt.Errorf("layer %s: %w", l.Digest, err)
			}
			m.Layers[i].MediaType, m.Layers[i].Digest, m.Layers[i].Size = ocispec.MediaTypeImageLayerGzip, parsed(sum(made[i].sum)), made[i].n
			paths[i] = made[i].f.Name()
			return nil
		})
	}
	err = g.Wait()
	for _, w := range made {
		if w != nil {
			p.made = append(p.made, w)
		}
	}
	if err == nil && ours {
		p.manifest, err = json.Marshal(&m)
	}
	for i, l := range m.Layers {
		if err == nil {
			var h v1.Hash
			if h, err = v1.NewHash(l.Digest.String()); err == nil {
				p.blobs[h] = blobFile{h, l.Size, types.MediaType(l.MediaType), paths[i]}
			}
		}
	}
	if err != nil {
		p.discard()
		return nil, err
	}
	return p, nil
}

// compress writes a file that is compressed, without a name in the store.
func (s *Shipper) compress(ctx context.Context, path string) (*blobWriter, error) {
	from, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	w, err := s.newBlob()
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewWriterLevel(w, gzip.DefaultCompression)
	if err == nil {
		_, err = io.Copy(z, watched{ctx: ctx, r: from})
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		w.discard()
		return nil, err
	}
	return w, nil
}
