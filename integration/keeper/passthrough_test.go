package keeper

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/integration/harness"
)

// TestPassthrough: what the kernel reads, writes and maps itself doesn't wait for a
// server, and a later one hands out the same files under the numbers that the kernel
// has them by.
func TestPassthrough(t *testing.T) {
	u := harness.Root(t)
	stack, mnt := u.NewStack(t, 1)
	stack.More = append(stack.More, "io=passthrough")
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	must(t, os.WriteFile(stack.Lower[0]+"/low", text, 0o644))
	must(t, os.WriteFile(stack.Lower[0]+"/late", text, 0o644))
	log := filepath.Join(filepath.Dir(mnt), "log")
	u.Run(t, "$BIN mount --log $L -o "+stack.Options()+" $M", "M="+mnt, "L="+log)
	t.Cleanup(func() { u.Run(t, "$BIN umount $M || $BIN umount -l $M", "M="+mnt) })
	if said, err := os.ReadFile(log); err != nil || strings.Contains(string(said), "passthrough") {
		t.Fatalf("no passthrough: %s, %v", said, err)
	}
	k := keeper(t, mnt)

	low, err := os.Open(mnt + "/low")
	must(t, err)
	t.Cleanup(func() { low.Close() })
	mapped, err := unix.Mmap(int(low.Fd()), 0, len(text), unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	t.Cleanup(func() { must(t, unix.Munmap(mapped)) })
	up, err := os.Create(mnt + "/up")
	must(t, err)
	t.Cleanup(func() { up.Close() })
	written := 0
	same := func(when string) {
		t.Helper()
		got := make([]byte, len(text))
		if n, err := low.ReadAt(got, 0); n != len(text) || err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %d bytes of the lower file, %v", when, n, err)
		}
		if !bytes.Equal(mapped, text) {
			t.Errorf("%s: other bytes are mapped", when)
		}
		n, err := up.Write(text[:4096])
		must(t, err)
		written += n
	}
	same("before")
	for range 3 {
		pid := server(k)
		must(t, unix.Kill(pid, unix.SIGSTOP))
		same("while the server is stopped")
		must(t, unix.Kill(pid, unix.SIGKILL))
		same("after its death")
		// The kernel refuses a second open under another number (EIO).
		for name, want := range map[string]int{"low": len(text), "up": written, "late": len(text)} {
			got, err := os.ReadFile(filepath.Join(mnt, name))
			if err != nil || len(got) != want || !bytes.Equal(got[:4096], text[:4096]) {
				t.Errorf("%s opened anew: %d bytes instead of %d, %v", name, len(got), want, err)
			}
		}
		f, err := os.OpenFile(mnt+"/up", os.O_RDWR, 0)
		must(t, err)
		_, err = f.WriteAt(text[:16], int64(written))
		must(t, errors.Join(err, f.Close()))
		if server(k) == pid {
			t.Error("the same server goes on")
		}
	}
	// A write to what is passed through gives the name a new node.
	f, err := os.OpenFile(mnt+"/low", os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString("changed")
	must(t, errors.Join(err, f.Close()))
	pid := server(k)
	must(t, unix.Kill(pid, unix.SIGKILL))
	same("the file that was open before")
	if got, err := os.ReadFile(mnt + "/low"); err != nil || !strings.HasPrefix(string(got), "changed789") {
		t.Errorf("changed: %.20q, %v", got, err)
	}
	for deadline := time.Now().Add(time.Minute); server(k) == pid; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no other server")
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
