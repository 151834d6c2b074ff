package ship

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/plyfs/plyfs/container/image"
)

// Load takes all images out of an archive: an OCI layout (a directory or a tar
// file), or what docker save writes; "-" is the standard input. name is for
// an archive that holds one image and no name of it.
func (s *Shipper) Load(ctx context.Context, file, name string, p Platform) ([]*image.Entry, error) {
	use, err := s.Store.Use()
	if err != nil {
		return nil, err
	}
	defer use.Close()
	a, err := s.openArchive(file)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	out, err := s.loadLayout(ctx, a, name, p)
	if errors.Is(err, errNoLayout) {
		out, err = s.loadDocker(ctx, a, name)
		if errors.Is(err, errNoDocker) {
			err = errors.New("neither an OCI image layout nor an archive of docker save; plyfs import takes a root tarball")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return out, nil
}

// errNoLayout says that an archive is no OCI layout.
var errNoLayout = errors.New("no index.json")

// loadLayout is Load for an OCI layout.
func (s *Shipper) loadLayout(ctx context.Context, a archive, name string, p Platform) (out []*image.Entry, err error) {
	text, err := readPart(a, "index.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoLayout
	}
	if err != nil {
		return nil, err
	}
	var idx ocispec.Index
	if err := json.Unmarshal(text, &idx); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	get := func(ctx context.Context, d ocispec.Descriptor) error {
		f, size, err := openBlob(a, d)
		if err != nil {
			return err
		}
		defer f.Close()
		return s.storeBlob(d.Digest.String(), size, watched{ctx: ctx, r: f})
	}
	for _, d := range idx.Manifests {
		own := name
		if own == "" || len(idx.Manifests) > 1 {
			own = nameOf(d.Annotations)
		}
		if own, err = wholeName(own); err != nil {
			return out, err
		}
		origin := d.Digest.String()
		if d, err = s.pickManifest(ctx, d, p, get); err != nil {
			return out, err
		}
		e, err := s.add(ctx, own, origin, d, get)
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, errors.New("there is no image in it")
	}
	return out, nil
}

// pickManifest follows indexes to the manifest of a platform, which is in the
// store then.
func (s *Shipper) pickManifest(ctx context.Context, d ocispec.Descriptor, p Platform, get source) (ocispec.Descriptor, error) {
	for range 4 {
		if d.Size > maxJSON {
			return d, fmt.Errorf("manifest %s: %d bytes are too many", d.Digest, d.Size)
		}
		if err := get(ctx, d); err != nil {
			return d, err
		}
		if !isIndex(d.MediaType) {
			return d, nil
		}
		text, err := s.readBlob(d.Digest.String())
		if err != nil {
			return d, err
		}
		var idx ocispec.Index
		if err := json.Unmarshal(text, &idx); err != nil {
			return d, fmt.Errorf("index %s: %w", d.Digest, err)
		}
		next, ok := choose(&idx, p)
		if !ok {
			return d, fmt.Errorf("there is no image for %s; --platform chooses another one", p)
		}
		d = *next
	}
	return d, fmt.Errorf("index %s: indexes in indexes in indexes: refused", d.Digest)
}

func openBlob(a archive, d ocispec.Descriptor) (io.ReadCloser, int64, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, 0, fmt.Errorf("%.100q: %w", d.Digest.String(), err)
	}
	f, size, err := a.open("blobs/" + d.Digest.Algorithm().String() + "/" + d.Digest.Encoded())
	if err == nil && size != d.Size {
		f.Close()
		err = fmt.Errorf("blob %s has %d bytes, and should have %d", d.Digest, size, d.Size)
	}
	return f, size, err
}

// nameOf finds the name that an entry of a layout has.
func nameOf(a map[string]string) string {
	for _, k := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
		if a[k] != "" {
			return a[k]
		}
	}
	return ""
}

// wholeName makes a name whole. A layout may have only a tag for a name, which
// names nothing: the image is known by its id then.
func wholeName(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	r, err := image.Parse(name)
	if err != nil {
		return "", err
	}
	return r.String(), nil
}
