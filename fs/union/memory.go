package union

import (
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/node"
)

// memory is what outlives the process beside the node table: the intents
// (intent.go) and the journal (journal.go), in memfds that somebody else holds
// as well. A nil one keeps nothing.
type memory struct {
	intents intents
	journal journal
}

// Keep has the union keep all that another process needs to go on with it in
// memory that can outlive this one, and returns the descriptors of that and of
// the layers by name, for Restore. It is called once, before the first request.
func (fs *FS) Keep() (map[string]int, error) {
	m := &memory{}
	in, err := newShared("plyfs-intents", intentSlots*int(unsafe.Sizeof(intent{})))
	if err == nil {
		err = m.journal.make()
	}
	if err != nil {
		return nil, err
	}
	m.intents.init(in)
	held := fs.stack.Held()
	held["nodes"], held["names"] = fs.t.FDs()
	held["intents"], held["journal"] = in.fd, m.journal.fd
	fs.mem = m
	fs.inos.journal = &m.journal
	return held, nil
}

// shared is mapped memory behind a descriptor.
type shared struct {
	mem []byte
	fd  int
}

// newShared makes shared memory of a fixed size. It is allocated at once: a
// page that can't be had later would end the process.
func newShared(name string, size int) (shared, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return shared{}, fmt.Errorf("memfd_create: %w", err)
	}
	if err = unix.Fallocate(fd, 0, 0, int64(size)); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
	}
	if err != nil {
		unix.Close(fd)
		return shared{}, fmt.Errorf("%s: no memory for %d bytes: %w", name, size, err)
	}
	return openShared(fd, size)
}

// openShared maps memory that newShared made. It takes the descriptor over.
func openShared(fd, size int) (shared, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil && st.Size != int64(size) {
		err = fmt.Errorf("a size of %d bytes instead of %d", st.Size, size)
	}
	var mem []byte
	if err == nil {
		mem, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		unix.Close(fd)
		return shared{}, fmt.Errorf("shared memory: %w", err)
	}
	return shared{mem, fd}, nil
}

func (s *shared) close() {
	if s.mem != nil {
		_ = unix.Munmap(s.mem)
		unix.Close(s.fd)
		s.mem = nil
	}
}

func (m *memory) close() {
	if m != nil {
		m.intents.shared.close()
		m.journal.close()
	}
}

// The kinds of an intent.
const (
	intentNone = iota
	intentMake
	intentUnlink
	intentRmdir
	intentRename
	intentLink
	intentCopyUp
)

// The flags of an intent.
const (
	wasUpper  = 1 << iota // the name that goes is one of the upper layer
	wasUpper2             // so is the one that is replaced
	whiteout              // a lower name would show where the object was
	exchanged             // RENAME_EXCHANGE
	first                 // the node is found by the name that it is moved from
	first2
	copyMeta   // the copy has no data
	copyNoNote // the copy can't say where it came from
)

// intent is a change of names that is being made on disk, written before the
// first system call of it: what a later process finds there tells whether it was
// done, and the record says what belongs to it in the table.
//
// One that is done stays until the next change in the same directory: until the
// answer has reached the kernel, which lets nobody else change the directory
// before.
type intent struct {
	state, kind     uint32
	flags           uint32
	delta, delta2   int32
	nlink           uint32
	lowLayer        uint32
	_               uint32
	seq             uint64
	parent, parent2 node.ID
	id, id2         node.ID
	ino             uint64 // of the upper object
	lowIno          uint64
	len, len2       uint32
	text, text2     [256]byte
}

// The states of an intent.
const (
	intentFree = iota
	intentBegun
	intentDone
)

const intentSlots = 1024

func (in *intent) name() string { return string(in.text[:min(in.len, 255)]) }

func (in *intent) name2() string { return string(in.text2[:min(in.len2, 255)]) }

// intents are the slots for them.
type intents struct {
	shared
	slots []intent

	mu   sync.Mutex
	of   map[node.ID]*intent // protected by mu: the last one in a directory
	free []*intent           // protected by mu
	seq  uint64              // protected by mu
	hand int                 // protected by mu: where the search for an old one goes on
}

func (t *intents) init(s shared) {
	t.shared = s
	t.slots = unsafe.Slice((*intent)(unsafe.Pointer(&s.mem[0])), intentSlots)
	t.of = map[node.ID]*intent{}
	for i := range t.slots {
		in := &t.slots[i]
		t.seq = max(t.seq, in.seq)
		if in.state == intentFree {
			t.free = append(t.free, in)
		}
	}
}
