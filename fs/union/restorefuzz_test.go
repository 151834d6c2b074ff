package union

import (
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/node"
)

// keepers are the memfds of Keep, by the number that the fuzzer has for them.
var keepers = []string{"nodes", "names", "intents", "journal"}

// FuzzRestore: a union whose memory was damaged by the server that died is refused,
// or goes on: what is asked of it gets an answer or an error, and no layer but the
// upper is written.
func FuzzRestore(f *testing.F) {
	for i := range keepers {
		f.Add(byte(i), uint32(0), byte(1), uint32(100), byte(0xff), uint64(1))
		f.Add(byte(i), uint32(1024), byte(3), uint32(1208), byte(0x80), uint64(2))
		f.Add(byte(i), uint32(8), byte(0xff), uint32(16), byte(1), uint64(3))
	}
	f.Add(byte(0), uint32(1114), byte(3), uint32(1208), byte(0x80), uint64(2)) // a place for no name
	f.Fuzz(func(t *testing.T, which byte, at1 uint32, v1 byte, at2 uint32, v2 byte, seed uint64) {
		e := newEnv(t, 1)
		e.file("lower1/d/f", "lower")
		e.file("lower1/d/sub/g", "deep")
		e.file("lower1/h", "held")
		e.open()
		defer e.close()
		held, err := e.fs.Keep()
		if err != nil {
			t.Fatal(err)
		}
		e.c.create("new", 0o644)
		e.c.write(e.c.id("d/f"), "up", 0)
		e.c.rename("d/sub", "moved")
		e.c.id("h")
		e.c.unlink("h") // an orphan, or dead and held
		e.c.unlink("new")
		e.fs.mem.begin(&intent{kind: intentRename, parent: node.Root, parent2: e.c.id("d"), id: e.c.id("moved")}, "moved", "again")

		copies := map[string]int{}
		for name, fd := range held {
			if copies[name], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err != nil {
				t.Fatal(err)
			}
		}
		for i, name := range keepers {
			unix.Close(copies[name])
			damage := map[uint32]byte{}
			if int(which)%len(keepers) == i {
				damage[at1], damage[at2] = v1, v2
			}
			copies[name] = copyMemory(t, held[name], damage)
		}
		for _, fd := range []int{e.fs.work.lock, e.fs.stack.Upper.FD} { // the dead let go of it
			if err := unix.Flock(fd, unix.LOCK_UN); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Restore(&e.o, copies)
		if err != nil {
			return
		}
		c := &client{t: t, fs: again, n: map[node.ID]uint64{}}
		b := &env{TB: t, dir: e.dir, fs: again, c: c}
		rnd := rand.New(rand.NewPCG(seed, 0))
		var walk func(id node.ID, depth int)
		walk = func(id node.ID, depth int) {
			all, _ := c.tryList(id, 10)
			for _, n := range all {
				var x Entry
				if again.Lookup(id, n, &x) != 0 {
					continue
				}
				c.got(x.Node)
				if depth < 10 {
					walk(x.Node, depth+1)
				}
				b.abuse(id, n, rnd)
			}
		}
		walk(node.Root, 0)
		for id := range again.t.Live() {
			var a Attr
			_ = again.GetAttr(id, &a)
			again.Forget(id, again.t.Rec(id.Index()).Lookups())
		}
		_ = again.Close()
		for p, want := range map[string]string{"lower1/d/f": "lower", "lower1/d/sub/g": "deep", "lower1/h": "held"} {
			if b, err := os.ReadFile(e.path(p)); err != nil || string(b) != want {
				t.Errorf("%s: %q, %v", p, b, err)
			}
		}
	})
}

// copyMemory makes a memfd of the same content and size, but for the damage.
func copyMemory(t *testing.T, fd int, damage map[uint32]byte) int {
	t.Helper()
	var st unix.Stat_t
	to, err := unix.MemfdCreate("copy", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	b := make([]byte, st.Size)
	if err == nil {
		_, err = unix.Pread(fd, b, 0)
	}
	for at, v := range damage {
		if len(b) > 0 {
			b[int(at)%len(b)] ^= v
		}
	}
	if err == nil && len(b) > 0 {
		_, err = unix.Pwrite(to, b, 0)
	}
	if err == nil {
		err = unix.Ftruncate(to, st.Size)
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(to), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}
