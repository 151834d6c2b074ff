package ship

import (
	"context"
	"errors"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/plyfs/plyfs/container/image"
)

// Push sends an image to a registry under a name, and gives the digest that the
// registry knows it by. Layers that are there already aren't sent.
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
	dir, err := layout.FromPath(s.Store.Dir())
	if err != nil {
		return "", err
	}
	hash, err := v1.NewHash(e.Digest)
	if err != nil {
		return "", err
	}
	img, err := dir.Image(hash)
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
	return e.Digest, s.Store.Update(func(list []image.Entry) ([]image.Entry, error) {
		for i := range list {
			if list[i].ID == e.ID && list[i].Name == to.String() && list[i].Origin == "" {
				list[i].Origin = e.Digest
			}
		}
		return list, nil
	})
}
