package passthrough

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// TestCopyUpWhileRead is the trap of this mode: a lower file is open for reading,
// so the kernel has it, while another opens it for writing. Not a byte of the
// lower may change, neither by write(2) nor through a shared mapping.
func TestCopyUpWhileRead(t *testing.T) {
	s := newStand(t).mount()
	r := s.open(s.path("f"), os.O_RDONLY)
	view := s.mapped(r, unix.PROT_READ)
	s.want("the reader", r, "aaaa")

	w := s.open(s.path("f"), os.O_RDWR)
	if _, err := w.WriteAt([]byte("EVIL"), 0); err != nil {
		t.Fatal(err)
	}
	m := s.mapped(w, unix.PROT_READ|unix.PROT_WRITE)
	copy(m[8192:], "MMAP")
	if err := unix.Msync(m, unix.MS_SYNC); err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	s.lowerIsWhole()
	s.want("the writer", w, "EVIL")
	s.want("the reader from before", r, "aaaa")
	if got := string(view[8192:8196]); got != "aaaa" {
		t.Errorf("the reader's mapping shows %q", got)
	}
	again := s.open(s.path("f"), os.O_RDONLY)
	s.want("a reader from after", again, "EVIL")
	if got := s.mapped(again, unix.PROT_READ); string(got[8192:8196]) != "MMAP" {
		t.Errorf("a mapping from after shows %q", got[8192:8196])
	}
	var before, after unix.Stat_t
	if err := errors.Join(unix.Fstat(int(r.Fd()), &before), unix.Fstat(int(w.Fd()), &after)); err != nil || before.Ino != after.Ino {
		t.Errorf("inode numbers: %d and %d, %v", before.Ino, after.Ino, err)
	}
	// What the reader does beside reading is done to the file.
	if err := r.Chmod(0o600); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(s.path("f")); err != nil || st.Mode() != 0o600 {
		t.Errorf("after fchmod by the reader: %v %v", st.Mode(), err)
	}
	if st, err := os.Stat(s.stack.Upper + "/f"); err != nil || st.Mode() != 0o600 {
		t.Errorf("in the upper: %v %v", st.Mode(), err)
	}
	s.lowerIsWhole()
	s.wantPath(s.stack.Upper+"/f", "EVIL")
}

// TestChangesWhileRead changes the file by its path: there is no open that could be
// answered with another node before.
func TestChangesWhileRead(t *testing.T) {
	for what, change := range map[string]func(path string) error{
		"truncate":         func(p string) error { return os.Truncate(p, 4) },
		"open and shorten": func(p string) error { return os.WriteFile(p, []byte("new"), 0o644) },
		"append": func(p string) error {
			return exec.Command("sh", "-c", "echo more >>"+p).Run()
		},
		"chmod and write": func(p string) error {
			return errors.Join(os.Chmod(p, 0o640), exec.Command("dd", "if=/dev/zero", "of="+p, "bs=4k", "count=1", "conv=notrunc,fsync", "status=none").Run())
		},
		"rename over": func(p string) error {
			return errors.Join(os.WriteFile(p+".new", []byte("over"), 0o644), os.Rename(p+".new", p))
		},
		"remove and make": func(p string) error { return errors.Join(os.Remove(p), os.WriteFile(p, []byte("made"), 0o644)) },
		"link and write": func(p string) error {
			return errors.Join(os.Link(p, p+".2"), exec.Command("sh", "-c", "echo x >"+p+".2").Run())
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newStand(t).mount()
			r := s.open(s.path("f"), os.O_RDONLY)
			view := s.mapped(r, unix.PROT_READ)
			if err := change(s.path("f")); err != nil {
				t.Fatal(err)
			}
			s.lowerIsWhole()
			s.want("the reader", r, "aaaa")
			if view[size-1] != 'a' {
				t.Errorf("the reader's mapping ends with %q", view[size-1])
			}
			b, err := os.ReadFile(s.path("f"))
			direct, derr := os.ReadFile(s.stack.Upper + "/f")
			if err != nil || derr != nil || string(b) != string(direct) {
				t.Errorf("the mount shows %d bytes, the upper has %d; %v, %v", len(b), len(direct), err, derr)
			}
		})
	}
}

// TestReadersNeverFail opens and reads files all the time, by two names each,
// while they are copied up.
func TestReadersNeverFail(t *testing.T) {
	const files = 40
	s := newStand(t)
	var names []string
	for i := range files {
		name := "f" + strconv.Itoa(i)
		s.write(s.lower(name), bytes.Repeat([]byte{'a'}, 80<<10))
		if err := os.Link(s.lower(name), s.lower(name)+".2"); err != nil {
			t.Fatal(err)
		}
		names = append(names, name, name+".2")
	}
	s.mount()
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b := make([]byte, 8192)
			var open []*os.File
			for k := i; !stop.Load(); k++ {
				f, err := os.Open(s.path(names[k%len(names)]))
				if err == nil {
					_, err = f.ReadAt(b, 4096)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if open = append(open, f); len(open) > files/2 {
					open[0].Close()
					open = open[1:]
				}
			}
			for _, f := range open {
				f.Close()
			}
		}()
	}
	for i := range files {
		f, err := os.OpenFile(s.path(names[2*i+i%2]), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("new"), 0); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	stop.Store(true)
	wg.Wait()
	for i := range files {
		s.wantPath(s.path(names[2*i]), "newa")
		s.wantPath(s.path(names[2*i+1]), "newa")
		s.wantPath(s.lower(names[2*i]), "aaaa")
	}
}

// TestSmallFilesLock: a small file is never handed over, so its readers and its
// writers share their locks across a copy-up, as programs with lock files want it.
func TestSmallFilesLock(t *testing.T) {
	s := newStand(t).mount()
	r, w := s.open(s.path("small"), os.O_RDONLY), s.open(s.path("small"), os.O_RDWR)
	if err := unix.Flock(int(r.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteAt([]byte("S"), 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(w.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("a second lock of a file that is locked: %v", err)
	}
	s.want("the reader", r, "Small")
}

// TestSetuidGoes: whoever writes to a file takes setuid from it, also when the
// kernel writes alone.
func TestSetuidGoes(t *testing.T) {
	s := newStand(t).mount()
	who := require.User(t)
	path := s.path("suid")
	s.write(path, []byte("x"))
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, before := range []bool{true, false} {
		if before {
			if err := os.Chmod(path, 0o4777); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("setpriv", "--reuid="+who.Uid, "--regid="+who.Gid, "--clear-groups",
			"sh", "-c", "exec 3>>"+path+"; echo; read x; echo more >&3")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if !before {
			if err := os.Chmod(path, 0o4777); err != nil {
				t.Fatal(err)
			}
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(s.stack.Upper + "/suid"); err != nil || st.Mode()&os.ModeSetuid != 0 {
			t.Errorf("setuid before the open: %v; after a write the upper file is %v, %v", before, st.Mode(), err)
		}
	}
}
