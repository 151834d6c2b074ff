package scope

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a connection to a bus, or to a systemd.
type conn struct {
	f       *os.File
	serial  uint32
	pending []*message // signals that came while a reply was waited for
}

// dial connects and says who we are, which the kernel confirms. Everything on
// the connection must happen within Patience.
func dial(socket string) (*conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
	if err == nil {
		err = unix.SetNonblock(fd, true) // so that deadlines count
	}
	c := &conn{f: os.NewFile(uintptr(fd), socket)}
	if err == nil {
		err = c.f.SetDeadline(time.Now().Add(Patience))
	}
	if err == nil {
		err = c.authenticate()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *conn) close() { c.f.Close() }

// authenticate is the part in text: a zero byte, our uid, and the start. All of
// it is sent at once: a systemd that reads the start together with the first
// message waits for more before it looks at that.
func (c *conn) authenticate() error {
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid())))
	if _, err := io.WriteString(c.f, "\x00AUTH EXTERNAL "+uid+"\r\nBEGIN\r\n"); err != nil {
		return err
	}
	const longest = 512
	line := make([]byte, 0, longest)
	for len(line) == 0 || line[len(line)-1] != '\n' {
		// Byte by byte: what follows the line is a message.
		one := line[len(line) : len(line)+1]
		if _, err := io.ReadFull(c.f, one); err != nil {
			return err
		}
		if line = line[:len(line)+1]; len(line) == longest {
			return errors.New("that is no D-Bus")
		}
	}
	if !strings.HasPrefix(string(line), "OK ") {
		return fmt.Errorf("refused: %s", strings.TrimSpace(string(line)))
	}
	return nil
}

// call is one to a method. The interface tells the rest of the address: the
// bus's own one has it in common with its object.
type call struct {
	iface, member string
	signature     string
	body          []byte
}

func (m *call) address() (destination, path string) {
	if m.iface == manager {
		return systemd, object
	}
	return m.iface, "/org/freedesktop/DBus"
}

// call gives the body of the answer.
func (c *conn) call(m *call) (*decoder, error) {
	c.serial++
	if _, err := c.f.Write(m.encode(c.serial)); err != nil {
		return nil, err
	}
	for {
		r, err := c.read()
		switch {
		case err != nil:
			return nil, err
		case r.kind == kindSignal:
			c.pending = append(c.pending, r)
		case r.replyTo != c.serial:
		case r.kind == kindError:
			return nil, fmt.Errorf("%s (%s)", strings.TrimSuffix(r.body.str(), "."), r.errorName)
		default:
			return &r.body, r.body.err
		}
	}
}

// signal gives the next one.
func (c *conn) signal() (*message, error) {
	if len(c.pending) > 0 {
		s := c.pending[0]
		c.pending = c.pending[1:]
		return s, nil
	}
	for {
		if r, err := c.read(); err != nil || r.kind == kindSignal {
			return r, err
		}
	}
}

// read reads one message.
func (c *conn) read() (*message, error) {
	head := make([]byte, headLength)
	switch _, err := io.ReadFull(c.f, head); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("no answer in %v", Patience)
	case errors.Is(err, io.EOF):
		return nil, errors.New("it hung up")
	case err != nil:
		return nil, err
	}
	rest, err := lengthAfter(head)
	if err != nil {
		return nil, err
	}
	all := append(head, make([]byte, rest)...)
	if _, err := io.ReadFull(c.f, all[headLength:]); err != nil {
		return nil, err
	}
	return parse(all)
}
