package container

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestViewerLeaves: a viewer whose output can't be written any more has detached, or
// has gone without a word: that is for its socket to say, also when the word still
// lies there.
func TestViewerLeaves(t *testing.T) {
	for name, detaches := range map[string]bool{"detaches": true, "goes": false} {
		t.Run(name, func(t *testing.T) {
			master, payload, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer payload.Close()
			killed := make(chan unix.Signal, 1)
			c := newConsole(master, func(s unix.Signal) error { killed <- s; return nil })
			ours, theirs, err := newPeers()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.add(ours, true); err != nil {
				t.Fatal(err)
			}
			_, fds, err := theirs.receive()
			if err != nil || len(fds) != 2 {
				t.Fatal(fds, err)
			}
			for _, fd := range fds {
				unix.Close(fd)
			}
			if _, err := payload.WriteString("output"); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Read(make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			if detaches {
				if err := theirs.send(message{What: sayDetach}); err != nil {
					t.Fatal(err)
				}
			}
			theirs.close()
			deadline := time.Now().Add(20 * time.Second)
			for known := 1; known > 0; time.Sleep(time.Millisecond) {
				c.mu.Lock()
				known = len(c.viewers)
				c.mu.Unlock()
				if time.Now().After(deadline) {
					t.Fatal("the viewer is still known")
				}
			}
			if len(killed) == 1 == detaches {
				t.Errorf("killed: %v", len(killed) == 1)
			}
			c.end(0, nil)
		})
	}
}
