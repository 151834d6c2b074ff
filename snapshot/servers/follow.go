package servers

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// follow connects to the server that goes on for one that died, and returns the
// connection that tells of its end; nil when there is none. Its keeper holds the
// socket meanwhile: who connects waits for the one that comes.
func (p *Pool) follow(s *peer) *conn {
	for s.kept && p.has(s) && p.found.ctx.Err() == nil {
		g, err := greet(p.found.ctx, s.socket)
		if err == nil {
			_ = g.c.c.Close()
			return p.succeed(s, &g)
		}
		if !dropped(err) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// succeed notes what the successor of s has taken over.
func (p *Pool) succeed(s *peer, g *greeting) *conn {
	serves := map[string]SlotRef{}
	for i, d := range g.list.Dirs {
		serves[d] = SlotRef{}
		if i < len(g.list.Slots) {
			serves[d] = g.list.Slots[i]
		}
	}
	p.mu.Lock()
	if p.closed || p.servers[s.socket] != s {
		p.mu.Unlock()
		_ = g.watch.c.Close()
		g.table.unmap()
		return nil
	}
	left := 0
	for d, at := range p.where {
		slot, ok := serves[d]
		switch {
		case at.peer != s:
		case ok:
			at.slot = slot
			p.where[d] = at
		default:
			delete(p.where, d)
			s.mounts--
			left++
		}
	}
	s.table.unmap()
	s.table, s.watched, s.version = g.table, g.watch, g.hello.Version
	s.pid.Store(int64(g.hello.PID))
	p.mu.Unlock()
	if left > 0 {
		p.tellLost()
	}
	return g.watch
}

// ended says that a server has ended in the middle of a request. What a kept one
// is asked can be asked again, of its successor.
func (s *peer) ended(err error) bool {
	return s.kept && (dropped(err) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist))
}
