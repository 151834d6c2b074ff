package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/plyfs/plyfs/container/image"
)

// accepted are the documents that a tag may lead to.
var accepted = strings.Join([]string{typeOCIIndex, typeDockerIndex, typeOCIManifest, typeDockerManifest}, ", ")

// Pull gets an image from its registry or a mirror of that. What is in the
// store already isn't fetched again, and what an earlier pull has left half
// done is gone on with.
func (s *Shipper) Pull(ctx context.Context, r *Remote, ref image.Reference, p Platform) (*image.Entry, error) {
	use, err := s.Store.Use()
	if err != nil {
		return nil, err
	}
	defer use.Close()
	repos, insecure, err := r.plan(ref)
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, repo := range repos {
		e, err := r.connect(ctx, repo, insecure[i])
		if err == nil {
			var entry *image.Entry
			if entry, err = s.pullFrom(ctx, r, e, ref, p); err == nil {
				return entry, nil
			}
			err = registryError(repo, err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// pullFrom is Pull from one place.
func (s *Shipper) pullFrom(ctx context.Context, r *Remote, e *endpoint, ref image.Reference, p Platform) (*image.Entry, error) {
	what := ref.Tag
	if ref.Digest != "" {
		what = ref.Digest
	}
	d, err := s.pullManifest(ctx, r, e, what)
	if err != nil {
		return nil, err
	}
	origin := d.Digest.String()
	get := func(ctx context.Context, d ocispec.Descriptor) error { return s.pullBlob(ctx, r, e, d) }
	manifests := func(ctx context.Context, d ocispec.Descriptor) error {
		if s.hasBlob(d.Digest.String(), d.Size) {
			return nil
		}
		_, err := s.pullManifest(ctx, r, e, d.Digest.String())
		return err
	}
	if d, err = s.pickManifest(ctx, d, p, manifests); err != nil {
		return nil, err
	}
	name := ref.String()
	if ref.Digest != "" && ref.Tag == "" {
		name = "" // a digest names it; it has no other name
	} else if ref.Digest != "" {
		name = ref.Repository() + ":" + ref.Tag
	}
	return s.add(ctx, name, origin, d, get)
}

// pullManifest gets a manifest or an index by its tag or digest.
func (s *Shipper) pullManifest(ctx context.Context, r *Remote, e *endpoint, what string) (d ocispec.Descriptor, err error) {
	err = r.retry(ctx, func() error {
		resp, err := e.get(ctx, "manifests/"+what, accepted, 0, 0, r.stall())
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON+1))
		if err != nil {
			return err
		}
		if len(text) > maxJSON {
			return fmt.Errorf("manifest %s: more than %d bytes: refused", what, maxJSON)
		}
		want := resp.Header.Get("Docker-Content-Digest")
		if strings.Contains(what, ":") {
			want = what
		}
		if got := digestOf(text); want != "" && got != want {
			return &DigestError{"manifest " + what, want, got}
		}
		digest, err := s.putBlob(text)
		d = ocispec.Descriptor{MediaType: mediaTypeOf(resp.Header.Get("Content-Type"), text), Digest: parsed(digest), Size: int64(len(text))}
		return err
	})
	return d, err
}
