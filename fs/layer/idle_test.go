package layer

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAwaitIdle(t *testing.T) {
	tree(t, "a", "u", "w/plyfs")
	s, err := Open(parse(t, "lowerdir=a,upperdir=u,workdir=w"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.AwaitIdle(time.Hour) // nobody was there
	lock, err := os.Create("w/plyfs/lock")
	if err != nil {
		t.Fatal(err)
	}
	s.AwaitIdle(time.Hour) // nobody is there
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatalf("AwaitIdle keeps the lock: %v", err)
	}
	start := time.Now()
	s.AwaitIdle(30 * time.Millisecond)
	if d := time.Since(start); d < 30*time.Millisecond {
		t.Errorf("waited %v for a held lock", d)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		lock.Close()
	}()
	s.AwaitIdle(time.Hour)
}
