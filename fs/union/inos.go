package union

import (
	"sync"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/sys"
)

// inoMap makes inode numbers of several file systems unique in one. The mount
// has one st_dev, so the file system must be part of the number: the file
// systems are numbered from the bottom layer up, the first one's numbers stay as
// they are (as with kernel overlayfs, when all layers are on one), another
// one's number sits in the top byte:
//
//	63      56 55                                0
//	[ fs no. ][ inode number in that file system ]
//
// A number that needs the top byte itself (never seen on ext4, xfs, btrfs or
// tmpfs) is folded; it may then, in theory, equal another.
type inoMap struct {
	several bool // layers are on several file systems: d_ino needs a stat
	mu      sync.RWMutex
	devs    map[uint64]uint64
	first   uint64
	uuids   map[[16]byte]uint64

	// keepers are the numbers of copied-up objects that can't carry an origin
	// xattr (symbolic links and special files without trusted xattrs): shown
	// number of the upper -> of the lower, for the life of the mount.
	keepers map[uint64]uint64
}

func (m *inoMap) init(layers []layerInfo) {
	m.devs = map[uint64]uint64{}
	m.uuids = map[[16]byte]uint64{}
	m.keepers = map[uint64]uint64{}
	for i := len(layers) - 1; i >= 0; i-- {
		if layers[i].fd < 0 {
			continue
		}
		if len(m.devs) == 0 {
			m.first = layers[i].dev
		}
		if _, ok := m.devs[layers[i].dev]; !ok {
			m.devs[layers[i].dev] = uint64(len(m.devs))
			m.several = len(m.devs) > 1
		}
		if layers[i].uuid != ([16]byte{}) {
			m.uuids[layers[i].uuid] = layers[i].dev
		}
	}
}

// show is the number in the mount.
func (m *inoMap) show(dev, ino uint64) uint64 {
	if dev == m.first {
		return ino
	}
	m.mu.RLock()
	n, ok := m.devs[dev]
	m.mu.RUnlock()
	if !ok {
		m.mu.Lock()
		if n, ok = m.devs[dev]; !ok {
			n = uint64(len(m.devs))
			m.devs[dev] = n
		}
		m.mu.Unlock()
	}
	if ino>>56 != 0 {
		ino = (ino ^ ino>>56*0x9e3779b97f4a7c15) & (1<<56 - 1)
	}
	return n&0xff<<56 | ino
}

// keep remembers the number of a copied-up object.
func (m *inoMap) keep(upper, shown uint64) {
	if upper == shown {
		return
	}
	m.mu.Lock()
	m.keepers[upper] = shown
	m.mu.Unlock()
}

// kept is the number to show for an upper object with this one.
func (m *inoMap) kept(ino uint64) uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.keepers) > 0 {
		if k, ok := m.keepers[ino]; ok {
			return k
		}
	}
	return ino
}

// drop forgets the number of an upper object that is gone: it may be used
// again.
func (m *inoMap) drop(upper uint64) {
	m.mu.Lock()
	delete(m.keepers, upper)
	m.mu.Unlock()
}

// originIno is the number that a copied-up object had in its lower layer.
func (fs *FS) originIno(dirfd int, name string) (uint64, bool) {
	var buf [256]byte
	if n, e := sys.GetXattr(dirfd, name, fs.ns.Origin(), buf[:]); e == 0 {
		if o, err := dialect.ParseOrigin(buf[:n]); err == nil && !o.Unknown {
			if ino, ok := o.Ino(); ok {
				return fs.inos.show(fs.originDev(o.UUID), ino), true
			}
		}
	}
	if n, e := sys.GetXattr(dirfd, name, fs.ns.Plyfs(), buf[:]); e == 0 {
		if uuid, ino, err := dialect.ParsePlyfsOrigin(buf[:n]); err == nil {
			return fs.inos.show(fs.originDev(uuid), ino), true
		}
	}
	return 0, false
}

// originDev is the file system that a UUID names; without one that we know it
// is that of the lowest layer.
func (fs *FS) originDev(uuid [16]byte) uint64 {
	if dev, ok := fs.inos.uuids[uuid]; ok {
		return dev
	}
	return fs.inos.first
}
