package union

import (
	"sync"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
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
	devs    map[uint64]uint16 // st_dev -> number
	systems []fileSystem      // by number
	first   uint64
	ids     map[fsID]uint64 // -> st_dev

	// keepers are the numbers of copied-up objects that can't carry an origin
	// xattr (symbolic links and special files without trusted xattrs): shown
	// number of the upper -> of the lower, for the life of the mount.
	keepers map[uint64]uint64

	journal *journal // nil: nothing is kept
}

// fileSystem is one whose files are seen in the mount.
type fileSystem struct {
	dev   uint64
	uuid  [16]byte
	id    fsID
	layer bool // a layer is on it, so that it gets the same number in every mount of this stack
	asked bool // id is what it has
}

// fsID names a file system on disk: its UUID, and for a subvolume of btrfs,
// which has inode numbers of its own, that with the subvolume's number in it.
// It is zero where there is no UUID.
type fsID [16]byte

// newFSID is the id that goes with a file handle.
func newFSID(uuid [16]byte, typ int32, fid []byte) fsID {
	id := fsID(uuid)
	if isBtrfs(typ) && len(fid) >= 16 {
		for i, b := range fid[8:16] {
			id[8+i] ^= b
		}
	}
	return id
}

// isBtrfs knows the types of btrfs' file handles (include/linux/exportfs.h).
func isBtrfs(typ int32) bool { return typ >= 0x4d && typ <= 0x4f }

// learn finds out which file system an open directory is on. Precondition: m.mu
// is held for writing.
func (m *inoMap) learn(s *fileSystem, fd int) {
	typ, fid, _ := sys.Handle(fd, "")
	s.asked = true
	s.uuid = sys.FSUUID(fd)
	disk := s.uuid
	if isBtrfs(typ) {
		// What the kernel writes into an origin has no UUID there.
		m.ids[newFSID(s.uuid, typ, fid)] = s.dev
		disk = sys.BtrfsUUID(fd)
	}
	if disk != ([16]byte{}) {
		s.id = newFSID(disk, typ, fid)
		m.ids[s.id] = s.dev
	}
}

func (m *inoMap) init(layers []layerInfo) {
	m.devs = map[uint64]uint16{}
	m.ids = map[fsID]uint64{}
	m.keepers = map[uint64]uint64{}
	for i := len(layers) - 1; i >= 0; i-- {
		if layers[i].fd < 0 {
			continue
		}
		if len(m.systems) == 0 {
			m.first = layers[i].dev
		}
		s := &m.systems[m.number(layers[i].dev)]
		s.layer = true
		if !s.asked {
			m.learn(s, layers[i].fd)
		}
	}
	m.several = len(m.systems) > 1
}

// number is that of a file system.
func (m *inoMap) number(dev uint64) uint16 {
	m.mu.RLock()
	n, ok := m.devs[dev]
	m.mu.RUnlock()
	if ok {
		return n
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, ok = m.devs[dev]; !ok {
		n = uint16(len(m.systems))
		m.devs[dev] = n
		m.systems = append(m.systems, fileSystem{dev: dev})
		m.journal.add(noteDevice, "", dev)
	}
	return n
}

// get is what is known already of a file system.
func (m *inoMap) get(n uint16) fileSystem {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.systems[n]
}

// system is what is known of a file system. One that no layer is on is looked
// at through dirfd, an O_PATH descriptor of a directory that is likely to be on it.
func (m *inoMap) system(n uint16, dirfd int) fileSystem {
	s := m.get(n)
	if s.asked {
		return s
	}
	fd, e := sys.Open(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return s
	}
	defer sys.Close(fd)
	var st sys.Stat
	if sys.StatFD(fd, &st) != 0 || uint64(st.Dev) != s.dev {
		return s // the object itself is a mount point
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.learn(&m.systems[n], fd)
	return m.systems[n]
}

// show is the number in the mount.
func (m *inoMap) show(dev, ino uint64) uint64 {
	if dev == m.first {
		return ino
	}
	n := uint64(m.number(dev))
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
	m.journal.add(noteKeeper, "", upper, shown)
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
	if _, ok := m.keepers[upper]; ok {
		delete(m.keepers, upper)
		m.journal.add(noteKeeper, "", upper, 0)
	}
	m.mu.Unlock()
}

// originIno is the number that a copied-up object had in its lower layer.
func (fs *FS) originIno(dirfd int, name string) (uint64, bool) {
	var buf [256]byte
	if n, e := sys.GetXattr(dirfd, name, fs.ns.Origin(), buf[:]); e == 0 {
		if o, err := dialect.ParseOrigin(buf[:n]); err == nil && !o.Unknown {
			if ino, ok := o.Ino(); ok {
				return fs.inos.show(fs.inos.origin(newFSID(o.UUID, int32(o.Type), o.FID)), ino), true
			}
		}
	}
	if n, e := sys.GetXattr(dirfd, name, fs.ns.Plyfs(), buf[:]); e == 0 {
		if id, ino, err := dialect.ParsePlyfsOrigin(buf[:n]); err == nil {
			return fs.inos.show(fs.inos.origin(id), ino), true
		}
	}
	return 0, false
}

// origin is the st_dev of the file system with an id; when none is known to
// have it, that of the lowest layer.
func (m *inoMap) origin(id fsID) uint64 {
	if dev, ok := m.device(id); ok {
		return dev
	}
	return m.first
}

func (m *inoMap) device(id fsID) (uint64, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	dev, ok := m.ids[id]
	return dev, ok
}
