package ship

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/plyfs/plyfs/container/image"
	"github.com/plyfs/plyfs/container/image/look"
)

// Look reads the unpacked layers of an image. The caller holds [image.Store.Use].
func (s *Shipper) Look(e *image.Entry) (*look.Stack, error) {
	cfg, err := s.ReadConfig(e)
	if err != nil {
		return nil, err
	}
	st := &look.Stack{Name: e.Name}
	if e.Name == "" {
		st.Name = e.ID
	}
	by := commands(&cfg, len(e.Layers))
	for i, chain := range e.Layers {
		if s.layerInfo(chain) == nil {
			return nil, fmt.Errorf("image %s: layer %s is not unpacked: plyfs pull or load gets it again", st.Name, chain)
		}
		dir, err := s.Store.Layer(chain)
		if err != nil {
			return nil, err
		}
		l, err := look.Dir(shortDigest(chain), filepath.Join(dir, "fs"), nil)
		if err != nil {
			return nil, err
		}
		l.Command = by[i]
		st.Layers = append(st.Layers, l)
	}
	return st, nil
}

// LookArchive reads an image out of an archive as [Shipper.Load] takes it, without
// unpacking it. name chooses one of several.
func (s *Shipper) LookArchive(ctx context.Context, file, name string, p Platform) (*look.Stack, io.Closer, error) {
	a, err := s.openArchive(file)
	if err != nil {
		return nil, nil, err
	}
	st, err := lookLayout(ctx, a, name, p)
	if errors.Is(err, errNoLayout) {
		st, err = lookDocker(ctx, a, name)
		if errors.Is(err, errNoDocker) {
			err = errors.New("neither an OCI image layout nor an archive of docker save")
		}
	}
	if err != nil {
		a.Close()
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	if st.Name == "" {
		st.Name = file
	}
	return st, a, nil
}

func lookLayout(ctx context.Context, a archive, name string, p Platform) (*look.Stack, error) {
	text, err := readPart(a, "index.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoLayout
	}
	var idx ocispec.Index
	if err == nil {
		err = json.Unmarshal(text, &idx)
	}
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	var names []string
	for _, d := range idx.Manifests {
		names = append(names, nameOf(d.Annotations))
	}
	i, err := pick(names, name)
	if err != nil {
		return nil, err
	}
	d := idx.Manifests[i]
	for depth := 0; isIndex(d.MediaType); depth++ {
		var sub ocispec.Index
		if err := blobJSON(a, d, &sub); err != nil {
			return nil, err
		}
		next, ok := choose(&sub, p)
		if !ok || depth > 3 {
			return nil, fmt.Errorf("there is no image for %s; --platform chooses another one", p)
		}
		d = *next
	}
	var m ocispec.Manifest
	var cfg ocispec.Image
	if err := blobJSON(a, d, &m); err != nil {
		return nil, err
	}
	if err := blobJSON(a, m.Config, &cfg); err != nil {
		return nil, err
	}
	st := &look.Stack{Name: names[i]}
	by := commands(&cfg, len(m.Layers))
	for i, l := range m.Layers {
		err := addLayer(ctx, st, l.Digest.String(), by[i], func() (io.ReadCloser, error) { f, _, err := openBlob(a, l); return f, err })
		if err != nil {
			return nil, err
		}
	}
	return st, nil
}

func lookDocker(ctx context.Context, a archive, name string) (*look.Stack, error) {
	text, err := readPart(a, "manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoDocker
	}
	var items []dockerItem
	if err == nil {
		err = json.Unmarshal(text, &items)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	var names []string
	for _, it := range items {
		names = append(names, strings.Join(it.RepoTags, " "))
	}
	i, err := pick(names, name)
	if err != nil {
		return nil, err
	}
	var cfg ocispec.Image
	if text, err = readPart(a, items[i].Config); err == nil {
		err = json.Unmarshal(text, &cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", items[i].Config, err)
	}
	st := &look.Stack{Name: names[i]}
	by := commands(&cfg, len(items[i].Layers))
	for j, file := range items[i].Layers {
		id := file
		if j < len(cfg.RootFS.DiffIDs) {
			id = cfg.RootFS.DiffIDs[j].String()
		}
		err := addLayer(ctx, st, id, by[j], func() (io.ReadCloser, error) { f, _, err := a.open(file); return f, err })
		if err != nil {
			return nil, err
		}
	}
	return st, nil
}

// pick finds the image of a name, or the only one.
func pick(names []string, want string) (int, error) {
	found := -1
	for i, n := range names {
		if want == "" && len(names) == 1 {
			return i, nil
		}
		for part := range strings.FieldsSeq(n) {
			if whole, err := wholeName(part); part == want || err == nil && want != "" && whole == want {
				found = i
			}
		}
	}
	switch {
	case len(names) == 0:
		return 0, errors.New("there is no image in it")
	case found < 0 && want == "":
		return 0, fmt.Errorf("there are %d images in it: choose one by --name: %s", len(names), strings.Join(names, ", "))
	case found < 0:
		return 0, fmt.Errorf("no image is called %s in it: there are %s", want, strings.Join(names, ", "))
	}
	return found, nil
}

// addLayer reads one layer of an archive.
func addLayer(ctx context.Context, st *look.Stack, id, by string, open func() (io.ReadCloser, error)) error {
	l, err := look.Tar(shortDigest(id), func() (io.ReadCloser, error) {
		f, err := open()
		if err != nil {
			return nil, err
		}
		plain, err := openPlain(watched{ctx: ctx, r: f})
		if err != nil {
			f.Close()
			return nil, err
		}
		return both{plain, f}, nil
	})
	l.Command = by
	st.Layers = append(st.Layers, l)
	return err
}

// both closes two things.
type both struct {
	io.ReadCloser
	below io.Closer
}

func (b both) Close() error { return errors.Join(b.ReadCloser.Close(), b.below.Close()) }

// blobJSON reads a small blob of an archive, and compares it with its digest.
func blobJSON(a archive, d ocispec.Descriptor, v any) error {
	f, size, err := openBlob(a, d)
	if err != nil {
		return err
	}
	defer f.Close()
	if size > maxJSON {
		return fmt.Errorf("blob %s: %d bytes are too many", d.Digest, size)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if got := digestOf(text); got != d.Digest.String() {
		return &DigestError{"blob in the archive", d.Digest.String(), got}
	}
	return json.Unmarshal(text, v)
}

// commands are what made the layers, as far as the configuration says.
func commands(cfg *ocispec.Image, n int) []string {
	out := make([]string, n)
	i := 0
	for _, h := range cfg.History {
		if !h.EmptyLayer && i < n {
			out[i] = h.CreatedBy
			i++
		}
	}
	return out
}

func shortDigest(d string) string {
	_, hex, ok := strings.Cut(d, ":")
	if !ok {
		return d
	}
	return hex[:min(12, len(hex))]
}
