package servers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plyfs/plyfs/snapshot"
	"golang.org/x/sys/unix"
)

// Sync has the kernel write back what it holds of the mount on dir.
//
// syncfs(2) starts that for all files and doesn't wait for FUSE: the kernel
// doesn't trust servers to be quick (AS_NO_DATA_INTEGRITY; before 6.16 it
// copied the pages and forgot them). A close of a file waits for that file,
// and gives the error of its writes; nothing is sent for it that isn't dirty.
// Which files it may concern is what the server knows: those of the upper
// layer that the kernel holds. One that is still to be copied up is among them
// by then: syncfs does wait for the times that the kernel sends behind the data,
// and they wait for the copy-up.
//
// Nobody can be torn from a system call that waits for a server. Who gives up
// leaves it to itself; the error that it finds is for the next call.
func (p *Pool) Sync(ctx context.Context, dir string) error {
	if err := p.found.wait(ctx); err != nil {
		return err
	}
	s, err := p.serverOf(ctx, dir)
	if s == nil {
		return err
	}
	if _, err := s.quick.askFor(ctx, Request{Op: OpHello}); p.hangs(s, err) {
		return errStopped(s)
	}
	err = p.alone(ctx, "sync of "+dir, func() error { return p.sync(ctx, s, dir) }, func(err error) {
		if err != nil && !errors.Is(err, ctx.Err()) {
			p.mu.Lock()
			p.failedLocked(dir, err)
			p.mu.Unlock()
		}
	})
	if err != nil {
		err = fmt.Errorf("sync of the mount on %s: %w", dir, err)
	}
	return err
}

func (p *Pool) sync(ctx context.Context, s *peer, dir string) error {
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	failed := unix.Syncfs(root)
	if earlier := p.failure(dir); failed == nil {
		failed = earlier
	}
	r, err := p.askAgain(ctx, s, Request{Op: OpFiles, Dir: dir})
	if err != nil {
		return cmp.Or(failed, err)
	}
	// The kernel keeps an error for each file as well. All are taken, lest one
	// is told again when all has been written anew.
	named := false
	for _, name := range r.Files {
		if err := ctx.Err(); err != nil {
			return cmp.Or(failed, err)
		}
		if err := flush(root, string(name)); err != nil && !named {
			failed, named = fmt.Errorf("%s: %w", name, err), true
		}
	}
	return failed
}

// flush waits until what was written to a file is with the server.
func flush(root int, name string) error {
	fd, err := unix.Openat2(root, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENOTDIR):
		return nil // removed or replaced since: nobody can miss what it held
	case err != nil:
		return err
	}
	return unix.Close(fd)
}

// patience is how long Usage waits for a write-back to be under way: a server
// that is stopped or slow holds up nobody who asks for all snapshots in turn.
const patience = 200 * time.Millisecond

// push has the kernel begin to write back what it holds of the mount on dir, so
// that it is counted. A mount that has nothing to write costs two system calls
// beside that of its directory. The error is that of a write that failed; Sync
// gives it as well, as the kernel tells it once.
func (p *Pool) push(ctx context.Context, dir string) error {
	p.mu.Lock()
	at, ok := p.where[dir]
	if !ok || at.pushing != nil {
		p.mu.Unlock()
		return nil
	}
	done := make(chan error, 1)
	at.pushing = done
	p.where[dir] = at
	p.mu.Unlock()
	go func() {
		var err error
		// Without a server the directory can't be opened: nothing is counted then.
		if root, gone := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); gone == nil {
			err = unix.Syncfs(root)
			unix.Close(root)
		}
		p.mu.Lock()
		if now := p.where[dir]; now.pushing == done {
			now.pushing = nil
			p.where[dir] = now
			p.failedLocked(dir, err)
		}
		p.mu.Unlock()
		done <- err
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("sync of the mount on %s: %w", dir, err)
		}
	case <-late.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// failedLocked keeps an error that nobody was told who needs it. Precondition:
// p.mu is held.
func (p *Pool) failedLocked(dir string, err error) {
	if now, ok := p.where[dir]; ok && now.failed == nil {
		now.failed = err
		p.where[dir] = now
	}
}

// failure is the error that a push has taken from the kernel since the last call.
func (p *Pool) failure(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.where[dir]
	err := at.failed
	if ok && err != nil {
		at.failed = nil
		p.where[dir] = at
	}
	return err
}

// Usage has the write-back begin and reads what the server of dir counts; only
// for a mount beyond its table it is asked.
func (p *Pool) Usage(ctx context.Context, dir string) (snapshot.Usage, bool, error) {
	if err := p.found.wait(ctx); err != nil {
		return snapshot.Usage{}, false, err
	}
	if err := p.push(ctx, dir); err != nil {
		return snapshot.Usage{}, false, err
	}
	p.mu.Lock()
	at := p.where[dir]
	s := at.peer
	if s == nil {
		p.mu.Unlock()
		return snapshot.Usage{}, false, nil
	}
	bytes, inodes, known, ok := s.table.read(at.slot)
	p.mu.Unlock()
	if ok {
		return snapshot.Usage{Bytes: bytes, Inodes: inodes}, known, nil
	}
	r, err := s.quick.askFor(ctx, Request{Op: OpUsage, Dir: dir})
	if err != nil {
		return snapshot.Usage{}, false, ctx.Err() // it is ending: nobody has counted
	}
	return snapshot.Usage{Bytes: r.Bytes, Inodes: r.Inodes}, r.OK, nil
}
