package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

// defaultDetach are docker's keys.
const defaultDetach = "ctrl-p,ctrl-q"

// parseKeys reads a sequence of keys: characters and ctrl-X, with commas
// between. An empty one says that there is no way to detach.
func parseKeys(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	var keys []byte
	for _, k := range strings.Split(text, ",") {
		name, ctrl := strings.CutPrefix(strings.ToLower(k), "ctrl-")
		switch {
		case len(k) == 1:
			keys = append(keys, k[0])
		case ctrl && len(name) == 1 && (name[0] >= 'a' && name[0] <= 'z' || strings.Contains(`@[\]^_`, name)):
			keys = append(keys, name[0]&0x1f)
		default:
			return nil, fmt.Errorf("%q is neither a character nor ctrl- and one of a-z @ [ \\ ] ^ _", k)
		}
	}
	return keys, nil
}

func setDetachKeys(r *runRequest, v string) (err error) {
	r.detachKeys, err = parseKeys(v)
	return err
}

// keyWatch looks for a sequence in what is typed. What may be its beginning is
// held back until it is known.
type keyWatch struct {
	keys []byte
	held int // how many of keys were typed last
}

// typed gives what is to be passed on, and whether the sequence is complete;
// what comes after it is lost.
func (w *keyWatch) typed(p []byte) (pass []byte, hit bool) {
	if len(w.keys) == 0 {
		return p, false
	}
	for _, b := range p {
		for w.held > 0 && b != w.keys[w.held] {
			// The longest end of what is held that may be a beginning stays.
			n := w.held - 1
			for n > 0 && string(w.keys[w.held-n:w.held]) != string(w.keys[:n]) {
				n--
			}
			pass = append(pass, w.keys[:w.held-n]...)
			w.held = n
		}
		if b != w.keys[w.held] {
			pass = append(pass, b)
			continue
		}
		if w.held++; w.held == len(w.keys) {
			w.held = 0
			return pass, true
		}
	}
	return pass, false
}

// relay connects our terminal with a payload's until that has ended or the
// keys to detach were typed; then farewell says how to come back.
func relay(a *container.Attached, keys []byte, farewell string) (code int, err error) {
	undo := func() {}
	if u, err := cli.Raw(os.Stdin); err == nil {
		undo = u
	}
	defer undo()
	cli.CopySize(a.Terminal, os.Stdin)
	signals := container.CatchSignals()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	detached := make(chan struct{})
	go func() {
		w := keyWatch{keys: keys}
		buf := make([]byte, 4096)
		for {
			n, err := os.Stdin.Read(buf)
			pass, hit := w.typed(buf[:n])
			_, e := a.Terminal.Write(pass)
			if hit {
				close(detached)
				return
			}
			if e != nil || err != nil {
				return // the end of what is typed isn't that of the payload
			}
		}
	}()
	shown := make(chan struct{})
	go func() {
		_, _ = io.Copy(os.Stdout, a.Output)
		close(shown)
	}()
	ended := make(chan struct{})
	go func() {
		code, err = a.Wait()
		close(ended)
	}()
	for {
		select {
		case <-resized:
			cli.CopySize(a.Terminal, os.Stdin)
		case s := <-signals:
			_ = a.Signal(s.(unix.Signal))
		case <-detached:
			err := a.Detach()
			undo()
			tell([]string{farewell})
			return 0, err
		case <-ended:
			select {
			case <-shown:
			case <-time.After(time.Second): // it was killed, and somebody has its end
			}
			return code, err
		}
	}
}

const attachUsage = `usage: plyfs attach [--detach-keys KEYS] [--root DIR] CONTAINER

Goes back to the terminal of a container that has one (run -it that was detached
from, or run -dt), and ends with it, with its exit code. Several may look on.

  --detach-keys KEYS   leave it again: characters and ctrl-X, with commas between
                       (ctrl-p,ctrl-q); '' for no way out
`

func attachVerb(args []string) error {
	keys, err := parseKeys(defaultDetach)
	if err != nil {
		return err
	}
	v := onContainers{
		usage: attachUsage,
		spec:  cli.Spec{Long: []string{"detach-keys="}},
		flag: func(f cli.Flag) (err error) {
			keys, err = parseKeys(f.Value)
			return err
		},
		one: true,
		each: func(c *container.Container, _ string) error {
			if !isTerminal(os.Stdin) {
				return fmt.Errorf("attach needs a terminal as standard input")
			}
			a, err := c.Attach()
			if err != nil {
				return err
			}
			redraw(a)
			code, err := relay(a, keys, comeBack(c))
			if err == nil && code != 0 {
				err = cli.Silent(code)
			}
			return err
		},
	}
	return runError(v.run(args))
}

// comeBack says how.
func comeBack(c *container.Container) string {
	name := c.Short()
	if st, err := c.State(); err == nil {
		name = st.Name
	}
	return "detached; plyfs attach " + name + " comes back"
}

// redraw makes a program that fills its terminal draw it anew: a change of
// size tells it to, and back again.
func redraw(a *container.Attached) {
	fd := int(a.Terminal.Fd())
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err == nil && size.Row > 1 {
		size.Row--
		_ = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size)
	}
}
