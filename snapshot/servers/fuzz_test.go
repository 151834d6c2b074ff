package servers

import (
	"net"
	"testing"
	"time"
)

// FuzzAnswer has a server process answer anything: an answer, or an error.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{`{"OK":true}`, `{"Err":"no"}`, `{"Dirs":["/a"],"Slots":[{"Index":-1}]}`, "{", "", `{"Files":["!"]}`, "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			defer theirs.Close()
			_ = theirs.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := theirs.Read(make([]byte, 4096)); err == nil {
				_, _ = theirs.Write(text)
			}
		}()
		r, err := newConn(ours).ask(Request{Op: OpList})
		if err == nil {
			var none *Table
			for _, s := range r.Slots {
				none.read(s)
			}
		}
	})
}
