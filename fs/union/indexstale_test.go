package union

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/node"
)

// TestIndexStale: a file of layers that have changed, of other options, that is
// damaged or somebody else's is told of, not used, and replaced.
func TestIndexStale(t *testing.T) {
	e := newEnv(t, 5)
	e.rich()
	said := e.indexed()
	e.open().close()
	file := e.indexFile()
	use := func(what, word string) {
		t.Helper()
		e.reopen()
		if l := said(); len(l) != 1 || !strings.Contains(l[0], word) || strings.Contains(l[0], "\n") {
			t.Errorf("%s: the log is %q", what, l)
		}
		if e.fs.base.file.Load() == nil || e.indexFile() != file {
			t.Errorf("%s: it isn't built anew", what)
		}
		e.reopen()
		if l := said(); len(l) != 0 {
			t.Errorf("after %s: %q", what, l)
		}
		e.close()
	}
	e.file("lower4/new", "")
	use("a change of a root", "have changed")
	e.reopen()
	e.c.id("new")
	e.close()
	cut := func(n int64) {
		st, err := os.Stat(file)
		if err == nil {
			err = os.Truncate(file, st.Size()-n)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cut(8)
	use("a truncation", "damaged")
	if err := os.Truncate(file, 0); err != nil {
		t.Fatal(err)
	}
	use("an empty file", "damaged")
	poke(t, file, 12)
	use("a damaged header", "version")
	poke(t, file, 45)
	use("a damaged header", "damaged")
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	use("a file that others may write to", "somebody else")
	// Other options have a file of their own.
	e.o.UserXattr = true
	e.reopen()
	if names, _ := filepath.Glob(e.path("index/*")); e.fs.ns.Prefix() != "user.overlay." || os.Geteuid() == 0 && len(names) != 2 {
		t.Errorf("with userxattr: %v", names)
	}
}

func poke(t *testing.T, file string, at int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := []byte{0}
	_, err = f.ReadAt(b, at)
	b[0] ^= 0x55
	_, err2 := f.WriteAt(b, at)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
}

// TestIndexDamaged: wherever a byte of the file is wrong, it shows what the
// layers have.
func TestIndexDamaged(t *testing.T) {
	e := newEnv(t, 5)
	e.rich()
	want := e.open().c.listing()
	e.close()
	said := e.indexed()
	e.open().close()
	file := e.indexFile()
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for at := 4096 + 37; at < len(good); at += 397 {
		poke(t, file, int64(at))
		e.reopen()
		if got := e.c.listing(); !slices.Equal(got, want) {
			t.Fatalf("byte %d is wrong: %s", at, diffOf(got, want))
		}
		e.close()
		told += len(said())
		poke(t, file, int64(at))
	}
	if told < len(good)/397/2 {
		t.Errorf("%d lines in the log for %d damages", told, len(good)/397)
	}
}

// TestIndexNone: a directory that can't be written to is told of; everything
// works. One that isn't there is an error.
func TestIndexNone(t *testing.T) {
	e := newEnv(t, 5)
	e.rich()
	want := e.open().c.listing()
	e.close()
	said := e.indexed()
	e.o.Index = "/proc/self" // nobody can make a file there
	e.reopen()
	if got := e.c.listing(); !slices.Equal(got, want) {
		t.Errorf("it shows %v", got)
	}
	if l := said(); len(l) != 1 || !strings.Contains(l[0], "can't be built") {
		t.Errorf("the log: %v", l)
	}
	e.close()
	o := e.o
	o.Index = e.path("absent")
	if _, err := layer.Open(&o); err == nil || !strings.Contains(err.Error(), "index "+o.Index+" does not exist") {
		t.Errorf("without the directory: %v", err)
	}
}

// TestIndexHostile: a file that lies, with all checksums right, doesn't bring
// the server down, whatever is done in the mount. (That nothing in it can lead out
// of the layers is FuzzOpen's, in fs/index.)
func TestIndexHostile(t *testing.T) {
	e := newEnv(t, 5)
	e.rich()
	e.indexed()
	e.open().close()
	file := e.indexFile()
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		bad := slices.Clone(good)
		for range 1 + rnd.IntN(4) {
			at := 4096 + rnd.IntN(len(bad)-4096)&^3
			binary.NativeEndian.PutUint32(bad[at:], []uint32{0, 1, 0xffffffff, rnd.Uint32(), uint32(at), 3}[rnd.IntN(6)])
		}
		resum(bad)
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		b := e.beside().open()
		if b.fs.base.file.Load() == nil {
			t.Fatal("the file isn't used")
		}
		for _, d := range []string{"", "a", "a/b", "etc", "c", "only0", "empty"} {
			n, errno := b.c.try(d)
			if errno != 0 {
				continue
			}
			s := seen{c: b.c}
			b.fs.ReadDir(n.Node, 0, true, &s)
			for _, line := range s.names {
				name, _, _ := strings.Cut(line, " ")
				b.abuse(n.Node, name, rnd)
			}
		}
		b.c.forgetAll()
		b.close()
	}
}

// abuse does something with a name; the result doesn't matter.
func (e *env) abuse(parent node.ID, name string, rnd *rand.Rand) {
	var x Entry
	if e.fs.Lookup(parent, name, &x) != 0 {
		return
	}
	e.c.got(x.Node)
	var a Attr
	var buf [100]byte
	switch rnd.IntN(9) {
	case 0:
		e.fs.Readlink(x.Node)
		e.fs.Read(x.Node, buf[:], 0)
	case 1:
		e.fs.Write(x.Node, buf[:], 5, nil)
	case 2:
		e.fs.SetAttr(caller, x.Node, &AttrChange{Valid: SetMode, Mode: 0o600}, &a)
	case 3:
		e.fs.Unlink(parent, name)
	case 4:
		e.fs.Rmdir(parent, name)
	case 5:
		e.fs.Rename(parent, name, node.Root, "moved", 0)
	case 6:
		e.fs.GetXattr(x.Node, "user.label", buf[:])
		e.fs.ListXattr(x.Node, buf[:])
	case 7:
		e.fs.Mkdir(caller, x.Node, "new", 0o755, &x)
	case 8:
		e.fs.Link(x.Node, node.Root, "linked", &x)
	}
}

// resum makes the checksums of an index file's blocks right: see format.go in
// fs/index.
func resum(mem []byte) {
	table := crc32.MakeTable(crc32.Castagnoli)
	for off := 4096; off+24 <= len(mem); off += 8 {
		n := binary.NativeEndian.Uint64(mem[off+16:])
		if binary.NativeEndian.Uint64(mem[off+8:]) != uint64(off) || n > uint64(len(mem)-off) || n < 24 {
			continue
		}
		binary.NativeEndian.PutUint32(mem[off:], 0)
		binary.NativeEndian.PutUint32(mem[off:], crc32.Checksum(mem[off:off+int(n)], table))
	}
}
