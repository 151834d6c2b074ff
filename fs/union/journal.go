package union

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/node"
)

// journal are the few things that neither the node table nor the disk tells: it
// is appended to, and read when another process takes over. What is said twice
// counts as it was said last.
type journal struct {
	shared
	mu   sync.Mutex
	used *uint64 // bytes in use, written after them; in mem
	size int     // bytes that are allocated; protected by mu
}

// The kinds of a note; each is followed by numbers, and a text or none.
const (
	noteDevice = iota + 1 // dev: the next file system has this st_dev
	noteKeeper            // upper, shown: inode number of a copied-up object; shown 0: none
	noteLost              // layer, ino, delta: names that were removed of a lower file
	noteMeta              // node: the data of a metacopy file is at the path
	noteFormer            // node, layer: a part of the directory is at the path
)

const (
	journalLimit = 64 << 20 // address space
	journalChunk = 64 << 10
)

func (j *journal) make() error {
	fd, err := unix.MemfdCreate("plyfs-journal", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("memfd_create: %w", err)
	}
	return j.open(fd)
}

// open maps it, and takes the descriptor over.
func (j *journal) open(fd int) error {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil {
		j.size = max(int(st.Size), journalChunk)
		err = unix.Fallocate(fd, 0, 0, int64(j.size))
	}
	if err == nil && j.size > journalLimit {
		err = unix.EFBIG
	}
	if err == nil {
		j.mem, err = unix.Mmap(fd, 0, journalLimit, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("journal: %w", err)
	}
	j.fd = fd
	j.used = (*uint64)(unsafe.Pointer(&j.mem[0]))
	if *j.used < 8 || *j.used > uint64(j.size) {
		*j.used = 8
	}
	return nil
}

// add appends a note. What there is no room for is lost: a number that
// changes at the next takeover.
func (j *journal) add(kind byte, text string, numbers ...uint64) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	at := int(*j.used)
	need := 8 + 8*len(numbers) + (len(text)+7)&^7
	if at+need > j.size {
		size := j.size + (need+journalChunk-1)/journalChunk*journalChunk
		if size > journalLimit || unix.Fallocate(j.fd, 0, 0, int64(size)) != nil {
			return
		}
		j.size = size
	}
	p := j.mem[at : at+need]
	binary.LittleEndian.PutUint32(p, uint32(len(text)))
	p[4], p[5] = kind, byte(len(numbers))
	for i, n := range numbers {
		binary.LittleEndian.PutUint64(p[8+8*i:], n)
	}
	copy(p[8+8*len(numbers):], text)
	atomic.StoreUint64(j.used, uint64(at+need))
}

// note appends a note, if anything is kept.
func (fs *FS) note(kind byte, text string, numbers ...uint64) {
	if fs.mem != nil {
		fs.mem.journal.add(kind, text, numbers...)
	}
}

// each calls fn for all notes, with four numbers.
func (j *journal) each(fn func(kind byte, n [4]uint64, text string)) {
	for at := 8; at+8 <= int(*j.used); {
		p := j.mem[at:*j.used]
		size, kind, count := int(binary.LittleEndian.Uint32(p)), p[4], int(p[5])
		need := 8 + 8*count + (size+7)&^7
		if count > 4 || size > len(p) || need > len(p) {
			return
		}
		var n [4]uint64
		for i := range count {
			n[i] = binary.LittleEndian.Uint64(p[8+8*i:])
		}
		fn(kind, n, string(p[8+8*count:8+8*count+size]))
		at += need
	}
}

// read takes the notes over into the union.
func (fs *FS) readJournal() {
	former := map[node.ID][]below{}
	fs.mem.journal.each(func(kind byte, n [4]uint64, text string) {
		switch kind {
		case noteDevice:
			fs.inos.number(n[0])
		case noteKeeper:
			if n[1] == 0 {
				delete(fs.inos.keepers, n[0])
			} else {
				fs.inos.keepers[n[0]] = n[1]
			}
		case noteLost:
			k := node.Link{Layer: uint16(n[0]), Ino: n[1]}
			if n[2] == 0 {
				fs.lost.take(k)
			} else {
				fs.lost.keep(k, int32(n[2]))
			}
		case noteMeta:
			if id := node.ID(n[0]); fs.t.Get(id) != nil {
				fs.metaPaths.set(id, text)
			}
		case noteFormer:
			if n[1] >= uint64(len(fs.layers)) {
				return // damaged
			}
			former[node.ID(n[0])] = append(former[node.ID(n[0])], below{layer: uint16(n[1]), path: text})
		}
	})
	for id, s := range former {
		if r := fs.t.Get(id); r != nil && r.Has(node.Dir) {
			d := fs.dirs.peek(id.Index())
			d.former.Store(&s)
		}
	}
}
