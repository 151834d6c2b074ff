package union

import (
	"strings"
	"sync"
	"syscall"

	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// kindMeta is a cached descriptor of the directory that holds the data of a
// redirected metacopy file.
const kindMeta = 2

// metaPaths are the places of data that a metacopy file with a redirect names:
// the kernel writes those when such a file is renamed; we never do. They can
// be read again from the file.
type metaPaths struct {
	mu sync.RWMutex
	m  map[node.ID]string
}

func (p *metaPaths) get(id node.ID) string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.m[id]
}

func (p *metaPaths) set(id node.ID, path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if path == "" {
		delete(p.m, id)
		return
	}
	if p.m == nil {
		p.m = map[node.ID]string{}
	}
	p.m[id] = path
}

// redirectedData finds the data of a metacopy file whose redirect is path.
// Precondition: fs.renameMu is held.
func (fs *FS) redirectedData(path string, f *found) syscall.Errno {
	path = strings.TrimPrefix(path, "/")
	for n := int(f.layer) + 1; n < len(fs.layers); n++ {
		fd, e := sys.OpenBeneath(fs.layers[n].fd, path, unix.O_PATH)
		if e == unix.ENOENT {
			continue
		}
		if e != 0 {
			return unix.EIO
		}
		var st sys.Stat
		e = sys.StatFD(fd, &st)
		more := false
		if e == 0 && !fs.layers[n].bottom {
			more, _, e = fs.metaMarks(fd, "")
		}
		sys.Close(fd)
		if e != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
			return unix.EIO
		}
		if !more {
			f.meta, f.data, f.path = true, uint16(n), path
			f.attr.Blocks = uint64(st.Blocks)
			return 0
		}
	}
	return unix.EIO
}

// wherePath is whereIn for redirected data.
func (fs *FS) wherePath(i uint32, layer uint16, path string) (at, syscall.Errno) {
	parent, name := parentPath(path), path
	name = name[len(parent):]
	k := fs.key(i, layer, kindMeta)
	if p, ok := fs.fds.get(k); ok {
		return at{p, name}, 0
	}
	if parent == "" {
		return at{keep(fs.layers[layer].fd), name}, 0
	}
	fd, e := fs.fds.open(func() (int, syscall.Errno) {
		return sys.OpenBeneath(fs.layers[layer].fd, strings.TrimSuffix(parent, "/"), unix.O_PATH|unix.O_DIRECTORY)
	})
	if e != 0 {
		return at{}, e
	}
	return at{fs.fds.put(k, fd), name}, 0
}
