package ship

import (
	"archive/tar"
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/image"
)

// Unpacker writes the tar stream of a layer to an empty directory.
type Unpacker func(ctx context.Context, dir string, in io.Reader, o UnpackOptions) error

// UnpackOptions are those of an [Unpacker].
type UnpackOptions struct {
	Base   bool // nothing lies below
	User   bool // deletions in the form that a user namespace may write
	Filter func(*tar.Header) (bool, error)
}

// Shipper works on one store.
type Shipper struct {
	Store  *image.Store
	Unpack Unpacker
	// Report is told what becomes of each layer, from several goroutines.
	Report func(Progress)
	// Limits bound what one layer may unpack to; zero is what the file system has.
	Limits Limits

	ids  idRanges
	slot chan struct{} // one for each layer that is being unpacked
}

// Progress is news of one layer.
type Progress struct {
	Digest string
	Step   string // fetch, unpack, exists, done
	Done   int64
	Total  int64
}

// Limits bound one layer.
type Limits struct{ Bytes, Entries int64 }

// New makes a Shipper for the store of a data directory.
func New(root string, u Unpacker) (*Shipper, error) {
	s := &Shipper{Store: image.Open(root), Unpack: u, Report: func(Progress) {}, ids: readIDs()}
	if err := s.Store.Make(); err != nil {
		return nil, err
	}
	s.slot = make(chan struct{}, max(runtime.NumCPU(), 2))
	return s, nil
}

// limits fills in what the file system has room for.
func (s *Shipper) limits() Limits {
	l := s.Limits
	var st unix.Statfs_t
	if unix.Statfs(s.Store.Dir(), &st) != nil {
		return Limits{max(l.Bytes, 1<<40), max(l.Entries, 1<<24)}
	}
	if l.Bytes == 0 {
		l.Bytes = int64(st.Bavail) / 20 * 19 * int64(st.Bsize)
	}
	if l.Entries == 0 {
		l.Entries = 1 << 24
		if st.Files > 0 { // some file systems count none
			l.Entries = min(l.Entries, int64(st.Ffree)/20*19)
		}
	}
	return l
}

// idRanges are the ids that files can have.
type idRanges struct {
	uid, gid []struct{ first, count int64 }
	ns       bool
}

func readIDs() (r idRanges) {
	for _, f := range []struct {
		name string
		to   *[]struct{ first, count int64 }
	}{{"/proc/self/uid_map", &r.uid}, {"/proc/self/gid_map", &r.gid}} {
		file, err := os.Open(f.name)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			var inside, outside, count int64
			if n, _ := fmt.Sscan(lines.Text(), &inside, &outside, &count); n == 3 {
				*f.to = append(*f.to, struct{ first, count int64 }{inside, count})
				r.ns = r.ns || count != 1<<32-1
			}
		}
		file.Close()
	}
	return r
}

// single says that only one id can be had.
func (r *idRanges) single() bool {
	return r.ns && len(r.uid) == 1 && r.uid[0].count == 1
}

// has says whether files can belong to the ids.
func (r *idRanges) has(uid, gid int) bool {
	in := func(list []struct{ first, count int64 }, id int64) bool {
		for _, l := range list {
			if id >= l.first && id < l.first+l.count {
				return true
			}
		}
		return len(list) == 0
	}
	return in(r.uid, int64(uid)) && in(r.gid, int64(gid))
}
