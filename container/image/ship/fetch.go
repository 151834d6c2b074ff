package ship

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/plyfs/plyfs/fs/fail"
)

// mediaTypeOf believes the document more than the header.
func mediaTypeOf(header string, text []byte) string {
	var doc struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
	}
	_ = json.Unmarshal(text, &doc)
	header, _, _ = strings.Cut(header, ";")
	switch {
	case doc.MediaType != "":
		return doc.MediaType
	case len(doc.Manifests) > 0:
		return typeOCIIndex
	case header == typeDockerManifest:
		return header
	}
	return typeOCIManifest
}

// attempts is how often a request is made that fails in a way that may pass.
const attempts = 5

// retry does something again that failed, unless that can't help.
func (r *Remote) retry(ctx context.Context, do func() error) (err error) {
	wait := cmp.Or(r.Pause, 500*time.Millisecond)
	for i := range attempts {
		if err = do(); err == nil {
			return nil
		}
		var status *statusError
		if errors.As(err, &status) && status.final() || ctx.Err() != nil || i == attempts-1 {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait *= 2
	}
	return err
}

// pullBlob gets a blob. What is there of it is kept when that fails, and gone on
// with the next time; only a whole one with the right digest gets its name.
func (s *Shipper) pullBlob(ctx context.Context, r *Remote, e *endpoint, d ocispec.Descriptor) error {
	digest := d.Digest.String()
	to, err := s.Store.Blob(digest)
	if err != nil {
		return err
	}
	partial, err := s.Store.Partial(digest)
	if err != nil {
		return err
	}
	if s.hasBlob(digest, d.Size) {
		return nil
	}
	lock, err := s.Store.Lock("partial/" + filepath.Base(partial) + ".lock") // another pull may be at it
	if err != nil {
		return err
	}
	defer lock.Close()
	if s.hasBlob(digest, d.Size) {
		_ = os.Remove(partial + ".lock")
		return nil
	}
	f, err := os.OpenFile(partial, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	err = r.retry(ctx, func() error { return s.pullInto(ctx, r, e, d, f) })
	if err != nil {
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	fail.Point("image.fetched")
	if err := os.Rename(partial, to); err != nil {
		return err
	}
	fail.Point("image.named")
	_ = os.Remove(partial + ".lock") // only now: whoever makes a new one sees the blob
	return nil
}

// pullInto goes on with a blob from where its file ends.
func (s *Shipper) pullInto(ctx context.Context, r *Remote, e *endpoint, d ocispec.Descriptor, f *os.File) error {
	h := sha256.New()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	have, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if have > d.Size {
		if err := f.Truncate(0); err != nil {
			return err
		}
		return errors.New("more was there than belongs to it")
	}
	if have < d.Size {
		resp, err := e.get(ctx, "blobs/"+d.Digest.String(), "", have, d.Size, r.stall())
		if err != nil {
			var status *statusError
			if errors.As(err, &status) && status.status == http.StatusRequestedRangeNotSatisfiable {
				return errors.Join(errors.New(err.Error()), f.Truncate(0)) // from the start, then
			}
			return err
		}
		defer resp.Body.Close()
		if have > 0 && resp.StatusCode != http.StatusPartialContent { // it knows no ranges
			if err := f.Truncate(0); err != nil {
				return err
			}
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return err
			}
			h.Reset()
			have = 0
		}
		body := watched{ctx: ctx, r: io.LimitReader(resp.Body, d.Size-have+1), n: func(n int) {
			have += int64(n)
			s.Report(Progress{Digest: d.Digest.String(), Step: "fetch", Done: have, Total: d.Size})
		}}
		if _, err := io.Copy(io.MultiWriter(f, h), body); err != nil {
			return err
		}
		if have < d.Size {
			return fmt.Errorf("the answer ended after %d of %d bytes", have, d.Size)
		}
	}
	if got := sum(h); have != d.Size || got != d.Digest.String() {
		if err := f.Truncate(0); err != nil {
			return err
		}
		return &DigestError{"what came", d.Digest.String(), got}
	}
	return nil
}
