package fstest

import (
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pattern is n bytes that tell where they come from.
func pattern(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return string(b)
}

// writeCases: write, append, truncate, direct I/O.
func writeCases() []Case {
	big := pattern(300_000)
	return []Case{
		{
			Name:  "a write into a lower file keeps the rest of it",
			Lower: Tree{"f": File(big).Perm(0o600)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_WRONLY)
				e.pwrite(fd, "HERE", 100_001)
				e.close(fd)
				e.want("f", big[:100_001]+"HERE"+big[100_005:])
				e.wantMode("f", 0o600)
				e.wantUpper("f f")
			},
		},
		{
			Name:  "an append to a lower file lands at its end",
			Lower: Tree{"f": File(big), "empty": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.add("f", "tail")
				e.add("f", "tail2")
				e.want("f", big+"tailtail2")
				e.add("empty", "first")
				e.want("empty", "first")
			},
		},
		{
			Name:  "two appenders don't overwrite each other",
			Lower: Tree{"log": File("0\n")},
			Run: func(_ *testing.T, e *Env) {
				a, b := e.open("log", unix.O_WRONLY|unix.O_APPEND), e.open("log", unix.O_WRONLY|unix.O_APPEND)
				want := "0\n"
				for i := range 50 {
					for _, fd := range []int{a, b} {
						line := num(i) + "\n"
						_, err := unix.Write(fd, []byte(line))
						e.ok(err)
						want += line
					}
				}
				e.want("log", want)
			},
		},
		{
			Name:  "a write beyond the end leaves zeros between",
			Lower: Tree{"f": File("abc")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				e.pwrite(fd, "end", 10_000)
				e.want("f", "abc"+strings.Repeat("\x00", 9997)+"end")
				e.equal(e.fstat(fd).Size, int64(10_003), "size")
			},
		},
		{
			Name:  "truncate makes a lower file shorter and longer",
			Lower: Tree{"s": File(big), "l": File("abc"), "z": File(big), "same": File("abc")},
			Run: func(_ *testing.T, e *Env) {
				e.ok(unix.Truncate(e.p("s"), 5000))
				e.want("s", big[:5000])
				e.ok(unix.Truncate(e.p("l"), 5000))
				e.want("l", "abc"+strings.Repeat("\x00", 4997))
				e.ok(unix.Truncate(e.p("z"), 0))
				e.want("z", "")
				e.ok(unix.Truncate(e.p("same"), 3))
				e.want("same", "abc")
				fd := e.open("s", unix.O_RDWR)
				e.ok(unix.Ftruncate(fd, 10))
				e.ok(unix.Ftruncate(fd, 20))
				e.want("s", big[:10]+strings.Repeat("\x00", 10))
			},
		},
		{
			Name:  "truncate refuses directories, negative sizes and read-only descriptors",
			Lower: Tree{"d": Dir(), "f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				e.fails(unix.Truncate(e.p("d"), 0), unix.EISDIR)
				e.fails(unix.Truncate(e.p("f"), -1), unix.EINVAL)
				e.fails(unix.Ftruncate(e.open("f", unix.O_RDONLY), 0), unix.EINVAL)
				e.fails(unix.Truncate(e.p("nope"), 0), unix.ENOENT)
				e.wantUpper()
			},
		},
		{
			Name:  "O_TRUNC of a lower file copies no data and keeps mode and inode number",
			Lower: Tree{"f": File(big).Perm(0o640).X("user.k", "v")}, Not: noOrigin,
			Run: func(_ *testing.T, e *Env) {
				ino := e.ino("f")
				fd := e.open("f", unix.O_WRONLY|unix.O_TRUNC)
				e.equal(e.fstat(fd).Size, int64(0), "size")
				e.pwrite(fd, "new", 0)
				e.close(fd)
				e.want("f", "new")
				e.wantMode("f", 0o640)
				e.wantX("f", "user.k", "v")
				e.equal(e.ino("f"), ino, "inode number")
			},
		},
		{
			Name:  "a reader that opened a lower file before the first write sees it",
			Lower: Tree{"f": File(big)},
			Not:   map[string]string{"passthrough": "the kernel reads the lower file itself for those who opened it before"},
			Run: func(_ *testing.T, e *Env) {
				r := e.open("f", unix.O_RDONLY)
				e.equal(e.pread(r, 4, 200_000), big[200_000:200_004], "before")
				w := e.open("f", unix.O_WRONLY)
				e.pwrite(w, "SEEN", 200_000)
				e.equal(e.pread(r, 4, 200_000), "SEEN", "after")
				e.equal(e.pread(r, 4, 0), big[:4], "the rest")
				e.ok(unix.Ftruncate(w, 2))
				e.equal(e.pread(r, 10, 0), big[:2], "after truncate")
				e.equal(e.fstat(r).Size, int64(2), "size")
				e.add("f", "more")
				e.equal(e.pread(r, 10, 0), big[:2]+"more", "after append")
			},
		},
		{
			Name:  "direct and buffered I/O see each other's data",
			Lower: Tree{"f": File(big)},
			Run: func(_ *testing.T, e *Env) {
				d, err := e.tryOpen("f", unix.O_RDWR|unix.O_DIRECT)
				if err == unix.EINVAL {
					e.T.Skip("the filesystem below has no O_DIRECT")
				}
				e.ok(err)
				b := e.open("f", unix.O_RDWR)
				block := aligned(8192)
				n, err := unix.Pread(d, block, 4096)
				e.ok(err)
				e.equal(string(block[:n]), big[4096:4096+8192], "direct read of the lower file")
				e.pwrite(b, "buffered", 4096)
				_, err = unix.Pread(d, block, 4096)
				e.ok(err)
				e.equal(string(block[:8]), "buffered", "direct read after a buffered write")
				copy(block, "direct..")
				_, err = unix.Pwrite(d, block, 4096)
				e.ok(err)
				e.equal(e.pread(b, 8, 4096), "direct..", "buffered read after a direct write")
				e.equal(e.get("f")[4096+8192:], big[4096+8192:], "the rest")
			},
		},
		{
			Name:  "reads at and beyond the end give what is there",
			RO:    true,
			Lower: Tree{"f": File("0123456789"), "empty": File("")},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDONLY)
				e.equal(e.pread(fd, 100, 5), "56789", "across the end")
				e.equal(e.pread(fd, 100, 10), "", "at the end")
				e.equal(e.pread(fd, 100, 1<<40), "", "far beyond")
				e.equal(e.pread(e.open("empty", unix.O_RDONLY), 5, 0), "", "empty file")
				_, err := unix.Pread(e.opendir("."), make([]byte, 5), 0)
				e.fails(err, unix.EISDIR)
				_, err = unix.Pwrite(fd, []byte("x"), 0)
				e.fails(err, unix.EBADF)
			},
		},
		{
			Name: "a large file is written, read back and shrunk",
			Run: func(_ *testing.T, e *Env) {
				data := pattern(9<<20 + 77)
				e.put("f", data)
				e.want("f", data)
				e.ok(unix.Truncate(e.p("f"), 3<<20+1))
				e.want("f", data[:3<<20+1])
			},
		},
		{
			Name:  "a lower file of nine megabytes is copied up whole",
			Lower: Tree{"f": File(pattern(9<<20 + 77))},
			Run: func(_ *testing.T, e *Env) {
				e.ok(unix.Chmod(e.p("f"), 0o600))
				e.add("f", "end")
				e.want("f", pattern(9<<20+77)+"end")
			},
		},
		{
			Name:  "writes, truncates and reads in random order agree with memory",
			Lower: Tree{"f": File(big)},
			Run:   func(_ *testing.T, e *Env) { fsx(e, "f", []byte(big), 1) },
		},
		{
			Name: "the same on a file that the mount made",
			Run: func(_ *testing.T, e *Env) {
				e.put("f", "")
				fsx(e, "f", nil, 2)
			},
		},
	}
}

// aligned is n bytes that O_DIRECT takes.
func aligned(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return make([]byte, n)
	}
	return b
}

// fsx does random reads, writes, truncates and mapped writes through several
// descriptors and compares with a copy in memory, like the program of that
// name.
func fsx(e *Env, name string, model []byte, seed uint64) {
	const most = 400_000
	r := rand.New(rand.NewPCG(seed, 7))
	fds := []int{e.open(name, unix.O_RDWR), e.open(name, unix.O_RDWR), e.open(name, unix.O_RDWR)}
	grow := func(n int) {
		for len(model) < n {
			model = append(model, make([]byte, n-len(model))...)
		}
	}
	for step := range 300 {
		fd := fds[r.IntN(len(fds))]
		off, n := r.IntN(most), 1+r.IntN(20_000)
		switch r.IntN(6) {
		case 0, 1:
			data := []byte(strings.Repeat(string(rune('a'+step%26)), n))
			grow(off + n)
			copy(model[off:], data)
			e.pwrite(fd, string(data), int64(off))
		case 2:
			want := ""
			if off < len(model) {
				want = string(model[off:min(off+n, len(model))])
			}
			if got := e.pread(fd, n, int64(off)); got != want {
				e.T.Fatalf("seed %d step %d: read %d bytes at %d: differs from memory", seed, step, n, off)
			}
		case 3:
			size := r.IntN(most)
			grow(size)
			model = model[:size]
			e.ok(unix.Ftruncate(fd, int64(size)))
		case 4:
			if len(model) < 2 {
				continue
			}
			at := r.IntN(len(model))
			m, err := unix.Mmap(fd, 0, len(model), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			e.ok(err)
			m[at] = byte(step)
			model[at] = byte(step)
			if string(m) != string(model) {
				e.T.Fatalf("seed %d step %d: the mapping differs from memory", seed, step)
			}
			e.ok(unix.Munmap(m))
		case 5:
			i := r.IntN(len(fds))
			e.close(fds[i])
			fds[i] = e.open(name, unix.O_RDWR)
		}
		if st := e.fstat(fds[0]); st.Size != int64(len(model)) {
			e.T.Fatalf("seed %d step %d: size %d, want %d", seed, step, st.Size, len(model))
		}
	}
	e.want(name, string(model))
}
