package servers

// takes says whether a server gets new mounts. Precondition: p.mu is held.
func (p *Pool) takes(s *peer) bool {
	return (p.version == "" || s.version == p.version) && s.mounts < p.max && !s.quick.hung.Load()
}

// retire lets a server go that has no mounts left and isn't needed for new
// ones: it is of another version, or there is another that takes them. A
// server ends when it has neither mounts nor somebody to ask.
func (p *Pool) retire(s *peer) {
	p.mu.Lock()
	needed := p.takes(s)
	for _, other := range p.servers {
		if other != s && p.takes(other) {
			needed = false
		}
	}
	gone := s.mounts == 0 && !needed && p.servers[s.socket] == s
	if gone {
		delete(p.servers, s.socket) // nobody chooses it any more
	}
	watched := s.watched
	p.mu.Unlock()
	if gone {
		s.quick.close()
		_ = watched.c.Close() // watch does the rest
	}
}
