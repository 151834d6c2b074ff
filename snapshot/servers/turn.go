package servers

import "context"

// alone runs fn when nothing else runs under the name, and waits for it as long
// as ctx goes on. What a server or the kernel was asked can't be taken back, so
// fn is run to its end whoever waits; late gets its error where nobody does, and
// is run before the next one's turn.
func (p *Pool) alone(ctx context.Context, name string, fn func() error, late func(error)) error {
	end, err := p.turn(ctx, name)
	if err != nil {
		return err
	}
	done, left := make(chan error), make(chan struct{})
	go func() {
		defer end()
		err := fn()
		select {
		case done <- err:
		case <-left:
			late(err)
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		close(left)
		return ctx.Err()
	}
}

// turn waits until nothing runs under the name.
func (p *Pool) turn(ctx context.Context, name string) (end func(), err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p.mu.Lock()
		other := p.turns[name]
		if other == nil {
			break
		}
		p.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
		}
	}
	mine := make(chan struct{})
	p.turns[name] = mine
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		delete(p.turns, name)
		p.mu.Unlock()
		close(mine)
	}, nil
}
