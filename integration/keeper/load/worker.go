package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// file is what must be in a file.
type file struct {
	data  []byte
	names int
	mode  uint32
	fd    *os.File // kept open after the last name went
}

// worker is one process of the load.
type worker struct {
	dir  string
	rng  *rand.Rand
	slow time.Duration

	files map[string]*file // by name, below dir
	dirs  map[string]bool
	held  []*file
	next  int
	ops   int
}

func (w *worker) begin() {
	w.files, w.dirs = map[string]*file{}, map[string]bool{"": true}
	if _, err := os.Stat(filepath.Join(w.dir, "low0")); err == nil {
		for i := range lowers {
			name, f := lowerFile(i)
			w.files[name] = f
		}
	}
}

// fail ends the process: something was wrong.
func (w *worker) fail(format string, a ...any) {
	fmt.Printf("WRONG after %d operations: %s\n", w.ops, fmt.Sprintf(format, a...))
	os.Exit(1)
}

// do makes one call, which must give want.
func (w *worker) do(what string, want error, fn func() error) {
	begun := time.Now()
	err := fn()
	if d := time.Since(begun); d >= w.slow {
		fmt.Printf("slow %d %d %s\n", begun.UnixMicro(), d.Microseconds(), what)
	}
	w.ops++
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		w.fail("%s: %v, not %v", what, err, want)
	}
}

func (w *worker) path(name string) string { return filepath.Join(w.dir, name) }

func (w *worker) pick() string {
	if len(w.files) == 0 {
		return ""
	}
	names := slices.Sorted(maps.Keys(w.files))
	return names[w.rng.IntN(len(names))]
}

func (w *worker) pickDir() string {
	names := slices.Sorted(maps.Keys(w.dirs))
	return names[w.rng.IntN(len(names))]
}

func (w *worker) fresh(prefix string) string {
	w.next++
	return filepath.Join(w.pickDir(), fmt.Sprintf("%s%d", prefix, w.next))
}

func (w *worker) step() {
	name := w.pick()
	n := w.rng.IntN(100)
	switch {
	case name == "" || len(w.files) < 30 || n < 12:
		w.create()
	case n < 30:
		w.check(name, w.files[name])
	case n < 44:
		w.write(name)
	case n < 50:
		w.truncate(name)
	case n < 60:
		w.rename(name)
	case n < 63:
		w.exchange(name)
	case n < 68:
		w.link(name)
	case n < 76:
		w.unlink(name)
	case n < 79:
		w.hold(name)
	case n < 82:
		w.checkHeld()
	case n < 86:
		w.mkdir()
	case n < 88:
		w.rmdir()
	case n < 90:
		w.renameDir()
	case n < 93:
		w.list()
	case n < 95:
		w.chmod(name)
	case n < 97:
		w.symlink()
	default:
		w.refused(name)
	}
}

func (w *worker) create() {
	name := w.fresh("f")
	f := &file{data: pattern(uint64(w.next), w.rng.IntN(40000)), names: 1, mode: 0o600 + uint32(w.rng.IntN(8))}
	var fd *os.File
	w.do("create "+name, nil, func() (err error) {
		fd, err = os.OpenFile(w.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, fs.FileMode(f.mode))
		return err
	})
	w.do("write "+name, nil, func() error { _, err := fd.Write(f.data); return err })
	if w.rng.IntN(8) == 0 {
		w.do("fsync "+name, nil, fd.Sync)
	}
	w.do("close "+name, nil, fd.Close)
	w.files[name] = f
}

func (w *worker) compare(name string, got []byte, f *file) {
	if bytes.Equal(got, f.data) {
		return
	}
	at := 0
	for at < min(len(got), len(f.data)) && got[at] == f.data[at] {
		at++
	}
	w.fail("%s has %d bytes, not %d; the first that is wrong is %d", name, len(got), len(f.data), at)
}

func (w *worker) check(name string, f *file) {
	var got []byte
	w.do("read "+name, nil, func() (err error) { got, err = os.ReadFile(w.path(name)); return err })
	w.compare(name, got, f)
	var st unix.Stat_t
	w.do("stat "+name, nil, func() error { return unix.Lstat(w.path(name), &st) })
	if int(st.Nlink) != f.names || st.Size != int64(len(f.data)) || st.Mode&0o7777 != f.mode {
		w.fail("%s: nlink %d size %d mode %o, not %d %d %o", name, st.Nlink, st.Size, st.Mode&0o7777, f.names, len(f.data), f.mode)
	}
}

// put writes somewhere in a file.
func (w *worker) put(name string, f *file, fd *os.File) {
	off := w.rng.IntN(len(f.data) + 1)
	p := pattern(w.rng.Uint64(), 1+w.rng.IntN(6000))
	w.do("write "+name, nil, func() error { _, err := fd.WriteAt(p, int64(off)); return err })
	if grown := off + len(p); grown > len(f.data) {
		f.data = append(f.data, make([]byte, grown-len(f.data))...)
	}
	copy(f.data[off:], p)
}

func (w *worker) write(name string) {
	var fd *os.File
	w.do("open "+name, nil, func() (err error) { fd, err = os.OpenFile(w.path(name), os.O_RDWR, 0); return err })
	w.put(name, w.files[name], fd)
	if w.rng.IntN(8) == 0 {
		w.do("fsync "+name, nil, fd.Sync)
	}
	w.do("close "+name, nil, fd.Close)
}

func (w *worker) truncate(name string) {
	f := w.files[name]
	n := w.rng.IntN(len(f.data) + 100)
	w.do("truncate "+name, nil, func() error { return os.Truncate(w.path(name), int64(n)) })
	if n > len(f.data) {
		f.data = append(f.data, make([]byte, n-len(f.data))...)
	}
	f.data = f.data[:n:n]
}

// gone notes that a name leads to its file no more.
func (w *worker) gone(name string) {
	w.files[name].names--
	delete(w.files, name)
}

func (w *worker) rename(name string) {
	to := w.fresh("r")
	if other := w.pick(); w.rng.IntN(3) == 0 && w.files[other] != w.files[name] {
		to = other
	}
	w.do("rename "+name+" to "+to, nil, func() error { return unix.Rename(w.path(name), w.path(to)) })
	f := w.files[name]
	if w.files[to] != nil {
		w.gone(to)
	}
	delete(w.files, name)
	w.files[to] = f
	w.do("stat "+name, syscall.ENOENT, func() error { return unix.Lstat(w.path(name), &unix.Stat_t{}) })
}

func (w *worker) exchange(name string) {
	to := w.pick()
	if w.files[to] == w.files[name] {
		return
	}
	w.do("exchange "+name+" and "+to, nil, func() error {
		return unix.Renameat2(unix.AT_FDCWD, w.path(name), unix.AT_FDCWD, w.path(to), unix.RENAME_EXCHANGE)
	})
	w.files[name], w.files[to] = w.files[to], w.files[name]
}

func (w *worker) link(name string) {
	to := w.fresh("l")
	w.do("link "+name+" to "+to, nil, func() error { return os.Link(w.path(name), w.path(to)) })
	w.files[to] = w.files[name]
	w.files[to].names++
}

func (w *worker) unlink(name string) {
	w.do("unlink "+name, nil, func() error { return unix.Unlink(w.path(name)) })
	w.gone(name)
}

// hold removes a file and goes on with it.
func (w *worker) hold(name string) {
	f := w.files[name]
	if f.names > 1 || len(w.held) > 20 {
		return
	}
	w.do("open "+name, nil, func() (err error) { f.fd, err = os.OpenFile(w.path(name), os.O_RDWR, 0); return err })
	w.unlink(name)
	w.held = append(w.held, f)
}

func (w *worker) checkHeld() {
	if len(w.held) == 0 {
		return
	}
	i := w.rng.IntN(len(w.held))
	f := w.held[i]
	got := make([]byte, len(f.data)+1)
	n := 0
	w.do("read a removed file", nil, func() (err error) { n, err = unix.Pread(int(f.fd.Fd()), got, 0); return err })
	w.compare("a removed file", got[:n], f)
	var st unix.Stat_t
	w.do("fstat a removed file", nil, func() error { return unix.Fstat(int(f.fd.Fd()), &st) })
	if st.Nlink != 0 || st.Size != int64(len(f.data)) {
		w.fail("a removed file: nlink %d size %d, not 0 and %d", st.Nlink, st.Size, len(f.data))
	}
	w.put("a removed file", f, f.fd)
	if w.rng.IntN(4) == 0 {
		w.do("close a removed file", nil, f.fd.Close)
		w.held = slices.Delete(w.held, i, i+1)
	}
}

func (w *worker) finish() {
	for name, f := range w.files {
		w.check(name, f)
	}
	for len(w.held) > 0 {
		w.checkHeld()
	}
	w.list()
}
