package ship

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/image"
	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/fail"
)

// LayerInfo is what info.json says of an unpacked layer.
type LayerInfo struct {
	DiffID  string
	Parent  string `json:",omitempty"` // chain id of what lies below
	Bytes   int64
	Entries int64
	// Virtual says that some owners have no id here and are kept as data.
	Virtual bool `json:",omitempty"`
	// Boot is that in which it was unpacked, until it is known to be on disk.
	Boot string `json:",omitempty"`
}

// chainID is that of a layer on a chain, as the image specification has it.
func chainID(parent, diffID string) string {
	if parent == "" {
		return diffID
	}
	return digestOf([]byte(parent + " " + diffID))
}

// chains are the chain ids of all layers, the lowest first.
func chains(diffIDs []string) (out []string) {
	parent := ""
	for _, d := range diffIDs {
		parent = chainID(parent, d)
		out = append(out, parent)
	}
	return out
}

// layerInfo is nil when the layer isn't there.
func (s *Shipper) layerInfo(chain string) *LayerInfo {
	dir, err := s.Store.Layer(chain)
	if err != nil {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(dir, "info.json"))
	if err != nil {
		return nil
	}
	info := new(LayerInfo)
	if json.Unmarshal(text, info) != nil || info.DiffID == "" || info.Boot != "" && info.Boot != image.BootID() {
		return nil
	}
	return info
}

// pending is a layer that is being unpacked.
type pending struct {
	info    LayerInfo
	dir     string // in the store, with a dot before its name
	final   string
	implied []string
	lock    *os.File
}

// unpackLayer unpacks a blob of the store into a directory of its own. nil says
// that the layer is there already. It stays invisible until finish.
func (s *Shipper) unpackLayer(ctx context.Context, blob, diffID, parent string) (*pending, error) {
	chain := chainID(parent, diffID)
	final, err := s.Store.Layer(chain)
	if err != nil {
		return nil, err
	}
	lock, err := s.Store.Lock("layers/" + filepath.Base(final) + ".lock")
	if err != nil {
		return nil, err
	}
	if s.layerInfo(chain) != nil {
		return nil, lock.Close()
	}
	s.slot <- struct{}{}
	defer func() { <-s.slot }()
	s.Report(Progress{Digest: blob, Step: "unpack"})
	p := &pending{info: LayerInfo{DiffID: diffID, Parent: parent, Boot: image.BootID()}, final: final, lock: lock}
	err = p.unpack(ctx, s, blob, s.ids.single())
	if errors.Is(err, errAsData) {
		err = p.unpack(ctx, s, blob, true)
	}
	if err != nil {
		p.discard()
		if ctx.Err() == nil && s.checkBlob(blob) != nil { // so the next pull gets it again
			if path, e := s.Store.Blob(blob); e == nil {
				_ = os.Remove(path)
			}
		}
		return nil, fmt.Errorf("layer %s: %w", blob, err)
	}
	return p, nil
}

func (p *pending) discard() {
	if p.dir != "" {
		_ = removeTree(p.dir)
	}
	p.lock.Close()
}

func (p *pending) unpack(ctx context.Context, s *Shipper, blob string, virtual bool) (err error) {
	if p.dir != "" {
		_ = removeTree(p.dir)
	}
	if p.dir, err = os.MkdirTemp(filepath.Dir(p.final), "."+filepath.Base(p.final)+"."); err != nil {
		return err
	}
	fs := filepath.Join(p.dir, "fs")
	if err := os.Mkdir(fs, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(fs, 0o755); err != nil { // whatever the umask
		return err
	}
	path, err := s.Store.Blob(blob)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	limits := s.limits()
	plain, err := openPlain(f)
	if err != nil {
		return fmt.Errorf("it can't be decompressed: %w", err)
	}
	defer plain.Close()
	sha := newHasher()
	in := &bounded{r: watched{ctx: ctx, r: plain}, left: limits.Bytes + limits.Bytes/8 + 64<<20, h: sha}
	look := newFilter(&s.ids, virtual, limits)
	err = s.Unpack(ctx, fs, in, UnpackOptions{Base: p.info.Parent == "", User: s.ids.ns, Filter: look.header})
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	if err != nil {
		return err
	}
	if got := sum(sha.sum); got != p.info.DiffID {
		return &DigestError{"what is in it", p.info.DiffID, got}
	}
	for _, name := range look.sparse {
		if err := dig(fs, name); err != nil {
			return err
		}
	}
	if virtual { // readers look for owners as data where the root has some
		o := dialect.Override{Mode: unix.S_IFDIR | 0o755, HasType: true}
		if err := unix.Setxattr(fs, dialect.OverrideUser, o.Append(nil), 0); err != nil {
			return fmt.Errorf("owners can't be kept as data here: %w", err)
		}
	}
	p.info.Virtual, p.info.Bytes, p.info.Entries = look.unmapped, look.bytes, look.entries
	p.implied = look.unlisted()
	fail.Point("image.unpacked")
	return nil
}

// finish gives the layer its name; parents, the nearest first, have theirs.
func (p *pending) finish(parents []string) error {
	defer p.lock.Close()
	err := adopt(filepath.Join(p.dir, "fs"), p.implied, parents)
	if err == nil {
		var text []byte
		if text, err = json.MarshalIndent(&p.info, "", " "); err == nil {
			err = os.WriteFile(filepath.Join(p.dir, "info.json"), text, 0o600)
		}
	}
	if err == nil {
		_ = removeTree(p.final) // a damaged one
		err = os.Rename(p.dir, p.final)
	}
	if err != nil {
		_ = removeTree(p.dir)
	}
	return err
}

// bounded ends a stream that goes on for too long.
type bounded struct {
	r    io.Reader
	left int64
	h    io.Writer
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errors.New("it decompresses to more than the file system has room for: refused (--max-size allows more)")
	}
	_, _ = b.h.Write(p[:n])
	return n, err
}

// hasher keeps a hash from being an io.Writer that io.Copy knows too well.
type hasher struct{ sum hash.Hash }

func newHasher() *hasher { return &hasher{sha256.New()} }

func (h *hasher) Write(p []byte) (int, error) { return h.sum.Write(p) }

// removeTree deletes a directory of the store.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, unix.EACCES) {
		return err
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// within says whether a path, which holds no symbolic link on its way, is a
// directory.
func within(root, name string) (string, bool) {
	at := root
	for part := range strings.SplitSeq(name, "/") {
		at = filepath.Join(at, part)
		if info, err := os.Lstat(at); err != nil || !info.IsDir() {
			return at, false
		}
	}
	return at, true
}
