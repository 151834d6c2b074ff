package node

import "unsafe"

// nameUnit is the granularity of the name arena.
const nameUnit = 8

// names keeps the names that do not fit into their record. Blocks are
// multiples of nameUnit with one free list a size; a free block holds the
// offset of the next one. Under allocMu.
type names struct {
	a    *arena
	hdr  *header
	free [256/nameUnit + 1]uint32
	used int // live blocks
}

func units(n int) int { return (n + nameUnit - 1) / nameUnit }

func (s *names) alloc(name string) (uint32, error) {
	u := units(len(name))
	off := s.free[u]
	if off != 0 {
		s.free[u] = *(*uint32)(unsafe.Pointer(&s.a.mem[int(off)*nameUnit]))
	} else {
		if s.hdr.nameBump == 0 {
			s.hdr.nameBump = 1 // offset 0 means none
		}
		off = uint32(s.hdr.nameBump)
		for c := int(off) * nameUnit / chunkSize; c <= (int(off)+u)*nameUnit/chunkSize; c++ {
			if err := s.a.touch(c); err != nil {
				return 0, err
			}
		}
		s.hdr.nameBump += uint64(u)
	}
	copy(s.a.mem[int(off)*nameUnit:], name)
	s.used++
	return off, nil
}

func (s *names) release(off uint32, n int) {
	if off == 0 {
		return
	}
	s.used--
	if s.used == 0 {
		for c := 0; c*chunkSize < s.a.size; c++ {
			s.a.release(c)
		}
		clear(s.free[:])
		s.hdr.nameBump = 1
		return
	}
	u := units(n)
	*(*uint32)(unsafe.Pointer(&s.a.mem[int(off)*nameUnit])) = s.free[u]
	s.free[u] = off
}

func (s *names) get(off uint32, n int) string {
	return unsafe.String(&s.a.mem[int(off)*nameUnit], n)
}
