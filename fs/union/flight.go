package union

import "sync"

// flights lets one copy-up of a node run at a time without a lock: whoever
// comes second waits for the first and then looks again. No lock of the union
// is held while waiting.
type flights struct {
	mu sync.Mutex
	m  map[uint32]*flight
}

type flight struct {
	done chan struct{}
}

// start answers true when the caller is to do the work (and must call end), or
// false after somebody else has done it.
func (f *flights) start(i uint32) bool {
	f.mu.Lock()
	c, ok := f.m[i]
	if !ok {
		f.m[i] = &flight{done: make(chan struct{})}
		f.mu.Unlock()
		return true
	}
	f.mu.Unlock()
	<-c.done
	return false
}

func (f *flights) end(i uint32) {
	f.mu.Lock()
	c := f.m[i]
	delete(f.m, i)
	f.mu.Unlock()
	close(c.done)
}
