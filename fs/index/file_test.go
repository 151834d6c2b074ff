package index

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

var testKey = []byte("the key of this file, 32 bytes..")

// sample writes a file with a tree: dirs directories in the root, files files
// in each.
func sample(t testing.TB, dirs, files int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f.index")
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	w, err := NewWriter(fd, testKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(c *Contents) uint64 {
		off, err := w.Write(c)
		if err != nil {
			t.Fatal(err)
		}
		return off
	}
	root := NewBuilder()
	root.Layer(1)
	for i := range dirs {
		root.Entry(fmt.Sprint("dir", i), dtDir, uint64(i))
	}
	root.Entry("link", unix.DT_LNK, 7)
	root.Whiteout("white")
	root.Layer(3)
	root.Entry("dir0", dtDir, 8)
	d := root.Done()
	d.Sort()
	c := NewContents(d)
	c.AddPart(Part{Layer: 1})
	c.AddPart(Part{Layer: 3, XWhiteouts: true, Path: "was/here"})
	d.All(func(e *Entry, name string) bool {
		switch a := c.Attr(e); {
		case !e.Visible():
		case name == "link":
			*a = Attr{Mode: unix.S_IFLNK | 0o777, Flags: Known | Target | NoXattrs, Size: 6}
			c.SetText(a, "target")
		default:
			*a = Attr{Mode: unix.S_IFDIR | 0o755, Flags: Known, Ino: int64(e.Ino), Nlink: 2, MtimeNsec: 5, Rdev: w.Here()}
			b := NewBuilder()
			b.Layer(2)
			for k := range files {
				b.Entry(fmt.Sprint("file", k), dtReg, uint64(k))
			}
			kid := b.Done()
			kid.Sort()
			a.Kid = write(NewContents(kid))
		}
		return true
	})
	write(c)
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	return path
}

func openSample(t testing.TB, path string) (*File, error) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return Open(fd, testKey, 3)
}

func TestFile(t *testing.T) {
	f, err := openSample(t, sample(t, 20, 3))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if names, dirs := f.Len(); names != 20*3+22 || dirs != 21 {
		t.Errorf("%d names, %d directories", names, dirs)
	}
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	if got := root.Dir.Below(root.Dir.Find("dir0"), nil); !slices.Equal(got, []uint16{1, 3}) {
		t.Errorf("layers of dir0: %v", got)
	}
	if e := root.Dir.Find("white"); e == nil || e.Visible() || root.Attr(e) != nil {
		t.Errorf("the whiteout: %+v", e)
	}
	if p := root.Parts(); len(p) != 2 || p[1] != (Part{3, true, "was/here"}) {
		t.Errorf("parts %v", p)
	}
	if a := root.Attr(root.Dir.Find("link")); root.Text(a) != "target" || a.Flags != Known|Target|NoXattrs {
		t.Errorf("link: %+v %q", a, root.Text(a))
	}
	n := 0
	root.Dir.Walk(0, func(e *Entry, name string, _ uint64) bool {
		n++
		if !strings.HasPrefix(name, "dir") {
			return true
		}
		kid, err := root.Kid(root.Attr(e))
		if err != nil || kid.Dir.Len() != 3 || kid.Dir.Find("file2").Ino != 2 || kid.Dir.Find("file3") != nil {
			t.Errorf("%s: %v %v", name, kid, err)
		}
		return true
	})
	if n != 21 {
		t.Errorf("%d names shown", n)
	}
	c := root.Dir.Clone() // what is changed is a copy
	c.Add("new").Upper = dtReg
	if root.Dir.Find("new") != nil || c.Find("dir7") == nil {
		t.Error("a copy")
	}
}

// TestOpenCost: what an Open allocates doesn't depend on the file.
func TestOpenCost(t *testing.T) {
	allocated := func(path string) uint64 {
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		f, err := openSample(t, path)
		runtime.ReadMemStats(&b)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		return b.TotalAlloc - a.TotalAlloc
	}
	small, big := sample(t, 1, 1), sample(t, 300, 1000)
	allocated(small)
	if n := allocated(big); n > allocated(small)+1024 {
		t.Errorf("%d bytes for 300,000 names", n)
	}
}

func TestOpenRefuses(t *testing.T) {
	for what, change := range map[string]func(b []byte) []byte{
		"version": func(b []byte) []byte { b[8]++; return b },
		"stale":   func(b []byte) []byte { b[unsafe.Sizeof(fileHeader{})]++; seal(b); return b },
		"damaged": func(b []byte) []byte { return b[:len(b)-8] },
		"sum":     func(b []byte) []byte { b[40]++; return b },
		"short":   func(b []byte) []byte { return b[:100] },
		"empty":   func([]byte) []byte { return nil },
	} {
		path := sample(t, 2, 2)
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, change(b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]error{"version": errVersion, "stale": ErrStale}[what]
		if want == nil {
			want = ErrDamaged
		}
		if _, err := openSample(t, path); !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	path := sample(t, 1, 1)
	if err := os.Chmod(path, 0o620); err != nil {
		t.Fatal(err)
	}
	if _, err := openSample(t, path); !errors.Is(err, errForeign) {
		t.Errorf("a file that the group may write to: %v", err)
	}
}

// seal makes the checksums of a file right, and what else is checked before
// anything is looked at: who makes a hostile file does that.
func seal(mem []byte) {
	if len(mem) < headerSize {
		return
	}
	h := (*fileHeader)(unsafe.Pointer(&mem[0]))
	h.Magic, h.Version, h.Sizes, h.Length, h.KeyLen = fileMagic, fileVersion, layoutSizes, uint64(len(mem)), uint32(len(testKey))
	h.Sum = headerSum(mem[:headerSize])
	size := uint64(unsafe.Sizeof(blockHeader{}))
	for off := uint64(headerSize); off+size <= uint64(len(mem)); off += 8 {
		b := (*blockHeader)(unsafe.Pointer(&mem[off]))
		if b.Offset == off && b.Length >= size && b.Length <= uint64(len(mem))-off {
			b.Sum = blockSum(mem[off : off+b.Length])
		}
	}
}

// FuzzOpen: whatever is in a file, nothing that can be asked of it crashes, runs
// for ever or leads out of it.
func FuzzOpen(f *testing.F) {
	good, err := os.ReadFile(sample(f, 3, 2))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, uint32(0), uint64(0))
	for at := headerSize; at < len(good); at += 40 {
		f.Add(good, uint32(at), uint64(1)<<(at%64))
	}
	f.Fuzz(func(t *testing.T, data []byte, at uint32, flip uint64) {
		mem := make([]byte, len(data))
		copy(mem, data)
		copy(mem[min(headerSize, len(mem)):], data[min(headerSize, len(data)):])
		if n := uint32(len(mem) / 8); n > 0 {
			*(*uint64)(unsafe.Pointer(&mem[at/8%n*8])) ^= flip
		}
		if len(mem) >= headerSize {
			copy(mem[unsafe.Sizeof(fileHeader{}):], testKey)
		}
		seal(mem)
		file, err := open(mem, testKey, 3)
		if err != nil {
			return
		}
		root, err := file.Root()
		if err != nil {
			return
		}
		dirs := 0
		ask(t, root, &dirs)
		if dirs > len(mem)/int(unsafe.Sizeof(blockHeader{})) {
			t.Errorf("%d directories in %d bytes", dirs, len(mem))
		}
	})
}

// ask asks everything of a directory and of those in it.
func ask(t *testing.T, b *Block, dirs *int) {
	*dirs++
	d := &b.Dir
	for _, p := range b.Parts() {
		if p.Layer < 1 || p.Layer > 3 || strings.Contains("/"+p.Path+"/", "/../") {
			t.Errorf("part %v", p)
		}
	}
	last := uint64(0)
	d.Walk(0, func(e *Entry, name string, next uint64) bool {
		if next <= last || e.Type() == 0 && e.Lower != Unknown {
			t.Errorf("%q: offset %d after %d, type %d", name, next, last, e.Type())
		}
		last = next
		return true
	})
	d.All(func(e *Entry, name string) bool {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			t.Errorf("name %q", name)
		}
		_ = d.Find(name)
		for _, l := range d.Below(e, nil) {
			if l < 1 || l > 3 {
				t.Errorf("layer %d", l)
			}
		}
		a := b.Attr(e)
		if a == nil {
			return true
		}
		_ = b.Text(a)
		if kid, err := b.Kid(a); err == nil && kid != nil {
			ask(t, kid, dirs)
		}
		return true
	})
	_ = d.Find("absent")
	c := d.Clone()
	c.Add("another").Upper = dtReg
	c.Sort()
	c.CutOff()
}

// TestBlockSum: the sum that a writer makes of pieces is that of the whole.
func TestBlockSum(t *testing.T) {
	mem := append(make([]byte, 4), "anything at all"...)
	if blockSum(mem) != crc32.Checksum(mem, table()) {
		t.Error("the sums differ")
	}
}
