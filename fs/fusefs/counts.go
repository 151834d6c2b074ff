package fusefs

import "sync/atomic"

// shard counts one worker's requests by opcode. A shard is written by one
// goroutine at a time, so that no cache line travels between CPUs.
type shard struct {
	n [opCount]atomic.Uint64
}

// newShard makes a shard that Counts will see.
func (s *Server) newShard() *shard {
	sh := new(shard)
	s.mu.Lock()
	s.shards = append(s.shards, sh)
	s.mu.Unlock()
	return sh
}

// SlowTasks is how many requests have left their reader for a goroutine of their
// own.
func (s *Server) SlowTasks() uint64 { return s.slow.total.Load() }

// Counts says how many requests of each kind have come, by the names of the
// protocol ("LOOKUP", "READDIRPLUS", ...). Kinds that have not come are absent;
// opcodes that we don't know are counted as "UNKNOWN".
func (s *Server) Counts() map[string]uint64 {
	s.mu.Lock()
	shards := s.shards
	s.mu.Unlock()
	m := make(map[string]uint64)
	for i := range opCount {
		var n uint64
		for _, sh := range shards {
			n += sh.n[i].Load()
		}
		if n > 0 {
			m[ops[i].name] += n
		}
	}
	return m
}
