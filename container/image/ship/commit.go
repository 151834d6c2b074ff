package ship

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/image"
	"github.com/plyfs/plyfs/fs/layer"
)

// CommitOptions say what is to become of a container.
type CommitOptions struct {
	Upper   string // the directory with the changes
	Work    string // its work directory
	Base    string // digest of the manifest of the image that it is of
	Virtual bool   // owners are kept as data in the upper
	Made    []string

	Name, Author, Message string
	Changes               []string
	Created               time.Time
	// Epoch bounds the times of files; nil leaves them.
	Epoch *time.Time
}

// Commit makes an image of what a container has changed, on the image that it
// is of.
func (s *Shipper) Commit(ctx context.Context, o *CommitOptions) (*image.Entry, error) {
	use, err := s.Store.Use()
	if err != nil {
		return nil, err
	}
	defer use.Close()
	list, err := s.Store.List()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(e image.Entry) bool { return e.Digest == o.Base })
	if i < 0 {
		return nil, fmt.Errorf("the image that the container was made of (manifest %s) was removed: pull it again", o.Base)
	}
	m, cfg, err := s.describe(ctx, ocispec.Descriptor{Digest: parsed(o.Base)}, nil)
	if err != nil {
		return nil, err
	}
	if names, err := os.ReadDir(filepath.Join(o.Work, "plyfs", "index")); err == nil && len(names) > 0 {
		return nil, fmt.Errorf("hard links to files of the image were made, and are complete only when the container has ended: stop it first")
	}
	layer, diff, err := s.packLayer(func(w io.Writer) error { return o.pack(w, s.trees(list[i].Layers)) })
	if err != nil {
		return nil, err
	}
	created := o.Created.UTC()
	cfg.Created, cfg.Author = &created, o.Author
	if err := Change(&cfg.Config, o.Changes); err != nil {
		return nil, err
	}
	cfg.History = append(slices.Clone(cfg.History), ocispec.History{Created: &created, Author: o.Author, Comment: o.Message, CreatedBy: "plyfs commit"})
	return s.build(ctx, o.Name, cfg, m.Layers, layer, diff)
}

func (o *CommitOptions) pack(w io.Writer, trees []string) error {
	p := &packer{
		tar: tar.NewWriter(w), upper: o.Upper, epoch: o.Epoch,
		made: func(name string) bool {
			return slices.ContainsFunc(o.Made, func(m string) bool { return m == "/"+name || strings.HasPrefix(m, "/"+name+"/") })
		},
		below: func(name string) string { return findBelow(trees, name) },
	}
	if o.Virtual {
		p.mode = layer.XattrPermUser
	}
	return p.pack()
}

// findBelow finds what the union of the trees, the top first, shows under a name.
func findBelow(trees []string, name string) string {
	for _, t := range trees {
		at := t
		for part := range strings.SplitSeq(name, "/") {
			at = filepath.Join(at, part)
			var st unix.Stat_t
			if unix.Lstat(at, &st) != nil {
				break
			}
			if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 || st.Mode&unix.S_IFMT == unix.S_IFLNK {
				return ""
			}
			if len(at) == len(t)+1+len(name) {
				return at
			}
		}
	}
	return ""
}
