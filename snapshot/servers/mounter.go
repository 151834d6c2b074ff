package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/snapshot"
	"golang.org/x/sys/unix"
)

var _ snapshot.Mounter = (*Pool)(nil)

// Mount has a server process mount the union on dir. A mount that is made after
// the end of ctx is undone.
func (p *Pool) Mount(ctx context.Context, dir string, o *layer.Options) error {
	if err := p.found.wait(ctx); err != nil {
		return err
	}
	on := context.WithoutCancel(ctx)
	return p.alone(ctx, dir, func() error { return p.mount(on, dir, o) }, func(err error) {
		if err == nil {
			_ = p.unmount(on, dir) // else it is as one that somebody holds
		}
	})
}

func (p *Pool) mount(ctx context.Context, dir string, o *layer.Options) error {
	r := Request{Op: OpMount, Dir: dir, Options: o.String()}
	var s *peer
	var made Response
	for end := time.Now().Add(atOnce); ; time.Sleep(10 * time.Millisecond) {
		var err error
		if s, err = p.awake(); err != nil {
			return err
		}
		if made, err = p.slowly(ctx, s, r); err == nil {
			break
		}
		p.mu.Lock()
		s.mounts--
		p.mu.Unlock()
		if isServer(err) {
			return err
		}
		undone := detach(dir) // it may have got as far as mounting
		if !s.ended(err) || undone != nil || time.Now().After(end) {
			return errors.Join(fmt.Errorf("mount on %s: the server process (pid %d) does not answer: %w", dir, s.pid.Load(), err), undone)
		}
	}
	at := place{peer: s}
	if len(made.Slots) > 0 {
		at.slot = made.Slots[0]
	}
	p.mu.Lock()
	p.where[dir] = at
	p.mu.Unlock()
	return nil
}

// awake gives a server for another mount that isn't stopped, and counts the
// mount in.
func (p *Pool) awake() (*peer, error) {
	for {
		s, err := p.room()
		if err != nil {
			return nil, err
		}
		if _, err := s.quick.ask(Request{Op: OpHello}); !p.hangs(s, err) {
			return s, nil
		}
		p.mu.Lock()
		s.mounts--
		p.mu.Unlock()
	}
}

// askAgain is slowly for what can be asked of the successor of a server as well.
func (p *Pool) askAgain(ctx context.Context, s *peer, q Request) (r Response, err error) {
	for {
		r, err = p.slowly(ctx, s, q)
		if err == nil || isServer(err) || !s.ended(err) || !p.has(s) || ctx.Err() != nil {
			return r, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// slowly asks on a connection of its own, and gives up when ctx ends or the
// server is stopped; the server doesn't.
func (p *Pool) slowly(ctx context.Context, s *peer, q Request) (Response, error) {
	c, err := dial(s.socket)
	if err != nil {
		return Response{}, err
	}
	defer c.c.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { _ = c.c.Close() })()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(atOnce):
				if _, err := s.quick.ask(Request{Op: OpHello}); p.hangs(s, err) {
					cancel(errStopped(s))
				}
			}
		}
	}()
	r, err := c.ask(q)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return r, err
}

// lingering is how long layers may stay open after the last user of a mount
// has let go.
const lingering = 5 * time.Second

// Unmount detaches whatever is mounted on dir. The next call for dir waits for
// what one is still at whose ctx has ended.
func (p *Pool) Unmount(ctx context.Context, dir string) error {
	if err := p.found.wait(ctx); err != nil {
		return err
	}
	on := context.WithoutCancel(ctx)
	return p.alone(ctx, dir, func() error { return p.unmount(on, dir) }, func(error) {})
}

func (p *Pool) unmount(ctx context.Context, dir string) error {
	if err := detach(dir); err != nil {
		return err
	}
	p.mu.Lock()
	s := p.where[dir].peer
	delete(p.where, dir)
	if s != nil {
		s.mounts--
	}
	p.mu.Unlock()
	if s == nil {
		return nil
	}
	defer p.retire(s)
	if boundElsewhere(dir) {
		return nil
	}
	_, err := p.askAgain(ctx, s, Request{Op: OpGone, Dir: dir, Wait: lingering})
	if err != nil && !isServer(err) && !p.has(s) {
		return nil // the server is gone: so are its layers
	}
	return err
}

// detach undoes all mounts on dir.
func detach(dir string) error {
	for {
		err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		switch {
		case err == nil:
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT): // no mount (any more)
			return nil
		default:
			return fmt.Errorf("cannot unmount %s: %w", dir, err)
		}
	}
}

// boundElsewhere says whether our mount namespace has a copy of the mount that
// was on dir.
func boundElsewhere(dir string) bool {
	found, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		ours := i.FSType == "fuse.plyfs" && i.Source == "plyfs:"+dir
		return !ours, ours
	})
	return err != nil || len(found) > 0
}

// Served lists what the server processes have mounted. One that doesn't answer
// still serves what it did.
func (p *Pool) Served(ctx context.Context) (map[string]bool, error) {
	served := map[string]bool{}
	if err := p.found.wait(ctx); err != nil {
		return nil, err
	}
	for _, s := range p.all() {
		r, err := s.quick.askFor(ctx, Request{Op: OpList})
		if p.hangs(s, err) {
			r.Dirs = p.of(s)
		} else if err != nil {
			continue // it is ending; watch sees it too
		}
		for _, d := range r.Dirs {
			served[d] = true
		}
	}
	return served, ctx.Err()
}

// of lists the directories that a server is known to serve.
func (p *Pool) of(s *peer) (dirs []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for dir, at := range p.where {
		if at.peer == s {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// Serves says whether dir is mounted and served. Of a directory that nothing
// was mounted on nobody is asked.
func (p *Pool) Serves(ctx context.Context, dir string) (bool, error) {
	if err := p.found.wait(ctx); err != nil {
		return false, err
	}
	s, err := p.serverOf(ctx, dir)
	if s == nil {
		return false, err
	}
	r, err := s.quick.askFor(ctx, Request{Op: OpServes, Dir: dir})
	if isServer(err) { // from before the word
		all, err := p.Served(ctx)
		return all[dir], err
	}
	if p.hangs(s, err) {
		return false, errStopped(s)
	}
	return err == nil && r.OK, ctx.Err()
}

// hangs says that a server lives and doesn't answer: its mounts are not to be
// replaced.
func (p *Pool) hangs(s *peer, err error) bool {
	return err != nil && p.has(s) && errors.Is(err, os.ErrDeadlineExceeded)
}

func errStopped(s *peer) error {
	return fmt.Errorf("the server process %d of mounts does not answer: if it is stopped, continue or kill it", s.pid.Load())
}

func (p *Pool) all() []*peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*peer, 0, len(p.servers))
	for _, s := range p.servers {
		all = append(all, s)
	}
	return all
}

func (p *Pool) has(s *peer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.servers[s.socket] == s
}

// serverOf is the server of dir, nil when there is none. An error says that
// there is one and which is not known.
func (p *Pool) serverOf(ctx context.Context, dir string) (*peer, error) {
	if s := p.at(dir); s != nil {
		return s, nil
	}
	err := p.found.mute(ctx, dir)
	return p.at(dir), err // a server is known before it isn't silent any more
}

func (p *Pool) at(dir string) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.where[dir].peer
}

// Lost tells of servers that ended with mounts.
func (p *Pool) Lost() <-chan struct{} { return p.lost }

// Counts is what the mounts that there are have done.
type Counts struct {
	Requests        map[string]uint64 // FUSE requests by kind
	CopiedUp        int64             // bytes
	Figures         Figures
	Mounts, Servers int
}

// Counts sums over all mounts.
func (p *Pool) Counts() Counts {
	sum := Counts{Requests: map[string]uint64{}}
	for _, s := range p.all() {
		r, err := s.quick.ask(Request{Op: OpCounts})
		if err != nil {
			continue
		}
		for k, n := range r.Counts {
			sum.Requests[k] += n
		}
		sum.CopiedUp += r.Bytes
		sum.Figures.Add(r.Figures)
		sum.Servers++
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	sum.Mounts = len(p.where)
	return sum
}
