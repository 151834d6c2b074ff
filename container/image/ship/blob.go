package ship

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// sum is the digest of what was written to h.
func sum(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

func digestOf(p []byte) string {
	h := sha256.Sum256(p)
	return "sha256:" + hex.EncodeToString(h[:])
}

// DigestError is what came instead of what was asked for.
type DigestError struct{ What, Want, Got string }

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s: the digest is %s, and should be %s: it was not used", e.What, e.Got, e.Want)
}

// maxJSON bounds manifests and configurations.
const maxJSON = 8 << 20

// hasBlob says whether a blob is there with its size; -1 is any.
func (s *Shipper) hasBlob(digest string, size int64) bool {
	path, err := s.Store.Blob(digest)
	if err != nil {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && (size < 0 || info.Size() == size)
}

// readBlob reads a small blob and compares it with its digest.
func (s *Shipper) readBlob(digest string) ([]byte, error) {
	path, err := s.Store.Blob(digest)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", digest, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return nil, err
	}
	if got := digestOf(text); got != digest {
		return nil, &DigestError{"blob in the store", digest, got}
	}
	return text, nil
}

// putBlob puts a small blob into the store.
func (s *Shipper) putBlob(text []byte) (string, error) {
	digest := digestOf(text)
	return digest, s.storeBlob(digest, int64(len(text)), bytes.NewReader(text))
}

// storeBlob copies a blob into the store, if it is what its digest says.
func (s *Shipper) storeBlob(digest string, size int64, from io.Reader) error {
	to, err := s.Store.Blob(digest)
	if err != nil {
		return err
	}
	if s.hasBlob(digest, size) {
		return nil
	}
	w, err := s.newBlob()
	if err != nil {
		return err
	}
	defer w.discard()
	if err := copyTo(w, io.LimitReader(from, size+1)); err != nil {
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	if w.n != size {
		return fmt.Errorf("blob %s: it has %d bytes or more, and should have %d", digest, w.n, size)
	}
	if got := sum(w.sum); got != digest {
		return &DigestError{"blob", digest, got}
	}
	return os.Rename(w.f.Name(), to)
}

// blobWriter is a blob whose digest isn't known yet.
type blobWriter struct {
	f   *os.File
	sum hash.Hash
	n   int64
}

func (s *Shipper) newBlob() (*blobWriter, error) {
	f, err := os.CreateTemp(filepath.Join(s.Store.Dir(), "partial"), "new-*")
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	return &blobWriter{f: f, sum: sha256.New()}, nil
}

func (w *blobWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.sum.Write(p[:n])
	w.n += int64(n)
	return n, err
}

// copyTo copies in few and big steps.
func copyTo(w *blobWriter, from io.Reader) error {
	_, err := io.CopyBuffer(w, struct{ io.Reader }{from}, make([]byte, 1<<20))
	return err
}

// keep gives the blob its name.
func (w *blobWriter) keep(s *Shipper) (digest string, err error) {
	digest = sum(w.sum)
	to, err := s.Store.Blob(digest)
	if err == nil {
		err = os.Rename(w.f.Name(), to)
	}
	return digest, err
}

// discard removes what was not kept.
func (w *blobWriter) discard() {
	w.f.Close()
	os.Remove(w.f.Name())
}

// openPlain decompresses what needs it, whatever it is called.
func openPlain(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 1<<18)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzip.NewReader(b)
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxMemory(128<<20), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(b), nil
}

// watched reads until somebody cancels.
type watched struct {
	ctx context.Context
	r   io.Reader
	n   func(int)
}

func (w watched) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.r.Read(p)
	if w.n != nil {
		w.n(n)
	}
	return n, err
}
