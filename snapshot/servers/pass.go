package servers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Pass sends an answer with the descriptor of the table.
func (t *Table) Pass(c net.Conn, r Response) error {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("descriptors can be passed on unix sockets only")
	}
	text, err := json.Marshal(r)
	if err == nil {
		_, _, err = u.WriteMsgUnix(text, unix.UnixRights(int(t.file.Fd())), nil)
	}
	return err
}

// askTable gets the table of a server process. One from before there were
// tables says that it doesn't know the word: nil then.
func askTable(socket string) (*Table, error) {
	c, err := dial(socket)
	if err != nil {
		return nil, err
	}
	defer c.c.Close()
	_ = c.c.SetDeadline(time.Now().Add(atOnce))
	if err := c.enc.Encode(Request{Op: OpTable}); err != nil {
		return nil, err
	}
	text, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, m, _, _, err := c.c.(*net.UnixConn).ReadMsgUnix(text, control)
	if err != nil {
		return nil, err
	}
	files, err := passed(control[:m])
	if err != nil || len(files) == 0 {
		return nil, err
	}
	defer files[0].Close()
	var r Response
	if err := json.Unmarshal(text[:n], &r); err != nil {
		return nil, err
	}
	t, err := mapTable(files[0], unix.PROT_READ)
	if err != nil {
		return nil, fmt.Errorf("usage of a server process: %w", err)
	}
	return t, nil
}

// passed are the descriptors of a message; there is room for one.
func passed(control []byte) (files []*os.File, err error) {
	msgs, err := unix.ParseSocketControlMessage(control)
	for _, m := range msgs {
		fds, e := unix.ParseUnixRights(&m)
		if e != nil {
			err = e
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, err
}
