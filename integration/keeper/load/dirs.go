package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func (w *worker) mkdir() {
	if len(w.dirs) > 12 {
		return
	}
	name := w.fresh("d")
	w.do("mkdir "+name, nil, func() error { return unix.Mkdir(w.path(name), 0o755) })
	w.dirs[name] = true
}

// children are the names directly in a directory.
func (w *worker) children(dir string) (names []string) {
	for n := range w.files {
		if in(n, dir) {
			names = append(names, filepath.Base(n))
		}
	}
	for n := range w.dirs {
		if n != "" && in(n, dir) {
			names = append(names, filepath.Base(n))
		}
	}
	slices.Sort(names)
	return names
}

func in(name, dir string) bool {
	parent := filepath.Dir(name)
	return parent == dir || parent == "." && dir == ""
}

func (w *worker) rmdir() {
	name := w.pickDir()
	if name == "" {
		return
	}
	var want error
	if len(w.children(name)) > 0 {
		want = syscall.ENOTEMPTY
	}
	var fd int
	w.do("open "+name, nil, func() (err error) { fd, err = unix.Open(w.path(name), unix.O_RDONLY|unix.O_DIRECTORY, 0); return err })
	defer unix.Close(fd)
	w.do("rmdir "+name, want, func() error { return unix.Rmdir(w.path(name)) })
	if want == nil {
		delete(w.dirs, name)
		var st unix.Stat_t
		w.do("fstat a removed directory", nil, func() error { return unix.Fstat(fd, &st) })
	}
}

func (w *worker) renameDir() {
	name := w.pickDir()
	to := fmt.Sprintf("n%d", w.next)
	w.next++
	if name == "" {
		return
	}
	w.do("rename directory "+name+" to "+to, nil, func() error { return unix.Rename(w.path(name), w.path(to)) })
	move := func(n string) string {
		if rest, ok := strings.CutPrefix(n, name+"/"); ok {
			return to + "/" + rest
		}
		return n
	}
	files, dirs := map[string]*file{}, map[string]bool{to: true}
	for n, f := range w.files {
		files[move(n)] = f
	}
	for n := range w.dirs {
		if n != name {
			dirs[move(n)] = true
		}
	}
	w.files, w.dirs = files, dirs
}

func (w *worker) list() {
	dir := w.pickDir()
	var got []string
	w.do("list "+dir, nil, func() error {
		entries, err := os.ReadDir(w.path(dir))
		for _, e := range entries {
			got = append(got, e.Name())
		}
		return err
	})
	if want := w.children(dir); !slices.Equal(got, want) {
		w.fail("%s has %v, not %v", dir, got, want)
	}
}

func (w *worker) chmod(name string) {
	f := w.files[name]
	mode := 0o600 + uint32(w.rng.IntN(64))
	w.do("chmod "+name, nil, func() error { return unix.Chmod(w.path(name), mode) })
	f.mode = mode
}

func (w *worker) symlink() {
	name, text := w.fresh("s"), "some/where/else"
	w.do("symlink "+name, nil, func() error { return unix.Symlink(text, w.path(name)) })
	w.do("readlink "+name, nil, func() error {
		got, err := os.Readlink(w.path(name))
		if err == nil && got != text {
			w.fail("%s leads to %q", name, got)
		}
		return err
	})
	w.do("unlink "+name, nil, func() error { return unix.Unlink(w.path(name)) })
}

// refused makes calls that must fail.
func (w *worker) refused(name string) {
	w.do("create what is there", syscall.EEXIST, func() error {
		fd, err := unix.Open(w.path(name), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600)
		if err == nil {
			unix.Close(fd)
		}
		return err
	})
	w.do("mkdir over what is there", syscall.EEXIST, func() error { return unix.Mkdir(w.path(name), 0o700) })
	w.do("unlink what isn't there", syscall.ENOENT, func() error { return unix.Unlink(w.path(name + "-not")) })
	w.do("set an xattr", nil, func() error { return unix.Setxattr(w.path(name), "user.k", []byte("v"), 0) })
	w.do("remove it", nil, func() error { return unix.Removexattr(w.path(name), "user.k") })
	names := slices.Sorted(maps.Keys(w.dirs))
	if len(names) > 1 {
		w.do("unlink a directory", syscall.EISDIR, func() error { return unix.Unlink(w.path(names[1])) })
	}
}
