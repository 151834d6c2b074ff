package fstest

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mapped maps n bytes of a descriptor, shared, until the case ends.
func (e *Env) mapped(fd, n, prot int) []byte {
	e.T.Helper()
	m, err := unix.Mmap(fd, 0, n, prot, unix.MAP_SHARED)
	e.ok(err)
	e.T.Cleanup(func() { unix.Munmap(m) })
	return m
}

const rw = unix.PROT_READ | unix.PROT_WRITE

// mmapCases: shared mappings against read, write and copy-up.
func mmapCases() []Case {
	page := strings.Repeat("p", 4096)
	return []Case{
		{
			Name:  "what is written through a shared mapping is read at once, and is in the upper after munmap",
			Lower: Tree{"f": File(page + page)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				m, err := unix.Mmap(fd, 0, 8192, rw, unix.MAP_SHARED)
				e.ok(err)
				copy(m[4000:], "ACROSS")
				e.equal(e.pread(fd, 6, 4000), "ACROSS", "through the descriptor")
				e.equal(e.get("f")[4000:4006], "ACROSS", "through another")
				e.ok(unix.Munmap(m))
				e.close(fd)
				if e.Union {
					b, err := os.ReadFile(e.Upper("f"))
					e.ok(err)
					e.equal(string(b[4000:4006]), "ACROSS", "in the upper")
				}
			},
		},
		{
			Name:  "what is written by write(2) shows in a shared mapping",
			Lower: Tree{"f": File(page)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				m := e.mapped(fd, 4096, rw)
				_ = m[0]
				e.pwrite(fd, "WRITTEN", 10)
				e.equal(string(m[10:17]), "WRITTEN", "in the mapping")
				e.add("f", "more")
				e.equal(string(m[10:17]), "WRITTEN", "after an append")
			},
		},
		{
			Name:    "a mapping made of a lower file before its copy-up sees later writes",
			Lower:   Tree{"f": File(page)},
			Differs: map[string]string{Overlay: "a mapping made before the copy-up stays that of the lower file"},
			Run: func(_ *testing.T, e *Env) {
				m := e.mapped(e.open("f", unix.O_RDONLY), 4096, unix.PROT_READ)
				e.equal(m[0], byte('p'), "before")
				w := e.open("f", unix.O_WRONLY)
				e.pwrite(w, "LATER", 0)
				want := "LATER"
				if e.Differs() {
					want = "ppppp"
				}
				e.equal(string(m[:5]), want, "in the mapping")
				e.close(w)
				e.equal(string(m[:5]), want, "in the mapping after close")
				if e.Differs() {
					return
				}
				e.ok(unix.Chmod(e.p("f"), 0o600))
				w2 := e.open("f", unix.O_RDWR)
				m2 := e.mapped(w2, 4096, rw)
				copy(m2, "AGAIN")
				e.equal(string(m[:5]), "AGAIN", "through the other mapping")
			},
		},
		{
			Name:  "a private mapping changes nothing",
			Lower: Tree{"f": File(page)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDONLY)
				m, err := unix.Mmap(fd, 0, 4096, rw, unix.MAP_PRIVATE)
				e.ok(err)
				copy(m, "MINE")
				e.ok(unix.Munmap(m))
				e.want("f", page)
				e.wantUpper()
			},
		},
		{
			Name:  "a write through a mapping moves the mtime",
			Lower: Tree{"f": File(page)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				before := e.fstat(fd)
				tick()
				m := e.mapped(fd, 4096, rw)
				copy(m, "X")
				e.ok(unix.Msync(m, unix.MS_SYNC))
				after := e.fstat(fd)
				e.is(after.Mtim.Nano() > before.Mtim.Nano(), "mtime stayed at %d", before.Mtim.Nano())
				e.close(fd)
				e.is(e.mtime("f") > before.Mtim.Nano(), "mtime went back after close")
			},
		},
		{
			Name:  "a mapping outlives its descriptor, and its writes are kept",
			Lower: Tree{"f": File(page)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				m, err := unix.Mmap(fd, 0, 4096, rw, unix.MAP_SHARED)
				e.ok(err)
				e.close(fd)
				copy(m, "AFTER CLOSE")
				e.ok(unix.Munmap(m))
				e.want("f", "AFTER CLOSE"+page[11:])
			},
		},
		{
			Name:  "a mapping of an unlinked lower file is read and written on",
			Lower: Tree{"f": File(page)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				m := e.mapped(fd, 4096, rw)
				e.unlink("f")
				copy(m, "GONE")
				e.ok(unix.Msync(m, unix.MS_SYNC))
				e.equal(e.pread(fd, 4, 0), "GONE", "content")
				e.gone("f")
				e.wantUpper("w f")
			},
		},
		{
			Name:  "a mapping follows truncation and growth",
			Lower: Tree{"f": File(page)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				m := e.mapped(fd, 8192, rw)
				e.ok(unix.Ftruncate(fd, 100))
				e.equal(m[200], byte(0), "beyond the new end")
				e.ok(unix.Ftruncate(fd, 8192))
				e.equal(m[200], byte(0), "after growth")
				m[8000] = 'x'
				e.equal(e.pread(fd, 1, 8000), "x", "content")
			},
		},
		{
			Name:  "writing a mapping of a file that may not be written is refused",
			Lower: Tree{"f": File(page)},
			Run: func(_ *testing.T, e *Env) {
				_, err := unix.Mmap(e.open("f", unix.O_RDONLY), 0, 4096, rw, unix.MAP_SHARED)
				e.fails(err, unix.EACCES)
			},
		},
	}
}
