package container

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMessageLength_CVE_2021_43784: a message that is too long is refused by
// who sends it, and one that was cut off by who gets it: no length in it is
// believed, and nothing of it is used.
func TestMessageLength_CVE_2021_43784(t *testing.T) {
	a, b, err := newPeers()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	defer b.close()
	if err := a.send(message{Warning: strings.Repeat("x", maxMessage)}); err == nil {
		t.Error("a message that is too long was sent")
	}
	if err := a.send(message{}, make([]int, maxFDs+1)...); err == nil {
		t.Error("too many descriptors were sent")
	}
	long := `{"Code":7,"Text":"` + strings.Repeat("x", maxMessage) + `"}`
	if err := unix.SetsockoptInt(int(a.f.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, 4*maxMessage); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{long, `{"Code":7}{"Code":8}`, `{"Pid":99999999999999999999}`, `{"Pid":`, "\x00"} {
		if err := unix.Sendmsg(int(a.f.Fd()), []byte(text), nil, nil, unix.MSG_NOSIGNAL); err != nil {
			t.Fatalf("%.20q: %v", text, err)
		}
		if m, _, err := b.receive(); err == nil {
			t.Errorf("%.20q: received as %+v", text, m)
		}
	}
	text := strings.Repeat("x", 200<<10)
	if err := a.send(message{Warning: text}); err != nil {
		t.Fatal(err)
	}
	if m, _, err := b.receive(); err != nil || m.Warning != text {
		t.Errorf("a long message that is in order: %v", err)
	}
}
