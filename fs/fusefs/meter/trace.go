package meter

import (
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	// Slots is how many requests are kept: who traces looks every few
	// milliseconds.
	Slots = 2048

	slotSize = 512
	textSize = slotSize - 80
	nameSize = 16 // of a command, as the kernel has it
)

// Slot is a request in the ring.
type Slot struct {
	number         atomic.Uint64 // counted from 1; 0 while it is written
	at, took       int64
	bytes          int64
	op, pid, uid   uint32
	errno          int32
	absent         uint32
	pathLen, toLen uint16
	command        [nameSize]byte
	_              [8]byte
	text           [textSize]byte
}

var _ [slotSize]byte = [unsafe.Sizeof(Slot{})]byte{}

// Event is a request as who traces gets it.
type Event struct {
	At      time.Time
	Took    time.Duration
	Op      uint32
	PID     uint32 // 0: the kernel itself, which writes what was written before
	UID     uint32
	Errno   int32
	Bytes   int64
	Absent  bool   // a LOOKUP of what isn't there
	Command string // empty: the server can't know
	Path    string
	To      string // the other path, of RENAME, LINK and SYMLINK
}

// Write puts a request into the ring, over the oldest.
func (m *Meter) Write(e *Event) {
	if m.ring == nil {
		return
	}
	n := m.next.Add(1)
	s := &m.ring[n%Slots]
	s.number.Store(0)
	s.at, s.took, s.bytes = e.At.UnixNano(), int64(e.Took), e.Bytes
	s.op, s.pid, s.uid, s.errno, s.absent = e.Op, e.PID, e.UID, e.Errno, 0
	if e.Absent {
		s.absent = 1
	}
	clear(s.command[:])
	copy(s.command[:nameSize-1], e.Command)
	room := s.text[:]
	if e.To != "" {
		room = s.text[:textSize/2]
	}
	s.pathLen = uint16(put(room, e.Path))
	s.toLen = uint16(put(s.text[s.pathLen:], e.To))
	s.number.Store(n)
}

// put copies a path, the end of it when it is too long.
func put(room []byte, path string) int {
	const cut = "…"
	if len(path) > len(room) {
		n := copy(room, cut)
		return n + copy(room[n:], path[len(path)-(len(room)-n):])
	}
	return copy(room, path)
}

// Trace has the server write its requests down for some seconds; it is to be
// called again before they are over.
func (m *Meter) Trace() error {
	if err := m.reserve(1, frontSize+timesSize, size-frontSize-timesSize); err != nil {
		return err
	}
	extend(&m.traced, lease)
	return nil
}

// extend makes a lease longer, never shorter: others may have it, too.
func extend(word *atomic.Int64, d time.Duration) {
	for until := Now() + int64(d); ; {
		old := word.Load()
		if old >= until || word.CompareAndSwap(old, until) {
			return
		}
	}
}

// patience is how many later requests may be whole before one that isn't is given
// up.
const patience = Slots / 4

// Tail reads the ring from some time on.
type Tail struct {
	m    *Meter
	seen uint64 // the number of the last one read
	// Lost is how many were overwritten before they were read.
	Lost uint64
}

// Tail begins with the next request.
func (m *Meter) Tail() *Tail { return &Tail{m: m, seen: m.next.Load()} }

// Next gives the next request; ok is false when there is none yet.
func (t *Tail) Next() (e Event, ok bool) {
	for {
		last := t.m.next.Load()
		if t.seen >= last {
			return e, false
		}
		// One that is being written may be overwritten before it is read.
		if behind := last - t.seen; behind > Slots-Places {
			t.Lost += behind - Slots/2
			t.seen = last - Slots/2
		}
		n := t.seen + 1
		s := &t.m.ring[n%Slots]
		if k := s.number.Load(); k > n {
			continue
		} else if k < n { // it is being written, or about to be
			if last-n < patience {
				return e, false
			}
			t.seen = n // by a server that died
			t.Lost++
			continue
		}
		e = Event{
			At: time.Unix(0, s.at), Took: time.Duration(s.took), Bytes: s.bytes,
			Op: s.op, PID: s.pid, UID: s.uid, Errno: s.errno, Absent: s.absent != 0,
			Command: cString(s.command[:]),
		}
		path := int(min(s.pathLen, textSize))
		e.Path = string(s.text[:path])
		e.To = string(s.text[path:min(path+int(s.toLen), textSize)])
		if s.number.Load() != n {
			continue // overwritten meanwhile
		}
		t.seen = n
		return e, true
	}
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
