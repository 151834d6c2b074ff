package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// create: new files.

func makeCreate(f *fixture) error {
	if err := f.layers(3); err != nil {
		return err
	}
	for _, l := range f.lowers {
		for i := 0; i < f.size.Small; i += perDir {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(l, name("old", i))), 0o755); err != nil {
				return err
			}
		}
	}
	if err := put(filepath.Join(f.lowers[0], "there"), data); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(f.dir, "small.tar"))
	if err != nil {
		return err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	for i := range f.size.Small {
		if err := w.WriteHeader(&tar.Header{Name: name("untar", i), Mode: 0o644, Size: content}); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	return w.Close()
}

func runCreate(b *bench) error {
	n := b.Size.Small
	// Somebody has read a file of every mount that is in use, if only the program
	// that runs in it. The kernel learns then whether opens cost messages.
	if err := readSmall(b.path("there")); err != nil {
		return err
	}
	return errors.Join(
		b.time("create small files, new directories", func() error {
			return each(n, func(i int) error { return put(b.path(name("new", i)), data) })
		}),
		b.time("create small files, lower directories", func() error {
			return each(n, func(i int) error { return put(b.path(name("old", i)), data) })
		}),
		b.time("untar", command("tar", "-xf", filepath.Join(filepath.Dir(b.Lowers[0]), "small.tar"), "-C", b.mnt)),
		b.time("mkdir and rmdir", func() error {
			return each(n/4, func(i int) error {
				d := b.path(fmt.Sprint("dir", i))
				return errors.Join(unix.Mkdir(d, 0o755), unix.Rmdir(d))
			})
		}))
}

// change: lower files that don't stay as they are.

var changed = []string{"append", "rename", "chmod"}

func makeChange(f *fixture) error {
	err := f.layers(3)
	for _, top := range append([]string{"delete", "cold", "warm"}, changed...) {
		n := f.size.Change
		if top == "delete" {
			n = f.size.Small
		}
		err = errors.Join(err, f.tree(top, n))
	}
	return err
}

func runChange(b *bench) error {
	rm := func(top string) func() error { return command("rm", "-rf", b.path(top)) }
	n := b.Size.Change
	return errors.Join(
		b.time("delete lower files", func() error {
			return each(b.Size.Small, func(i int) error { return unix.Unlink(b.path(name("delete", i))) })
		}),
		b.cold("rm -rf of a lower tree", rm("cold")),
		find(b.path("warm"), n),
		b.time("rm -rf of a lower tree, warm", rm("warm")),
		b.time("append to lower files", func() error { return each(n, func(i int) error { return appendTo(b.path(name("append", i))) }) }),
		b.time("rename lower files", func() error {
			return each(n, func(i int) error {
				p := b.path(name("rename", i))
				return unix.Rename(p, p+".new")
			})
		}),
		b.time("chmod -R of a lower tree", command("chmod", "-R", "g-r", b.path("chmod"))))
}

func appendTo(path string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte("more"))
	return errors.Join(err, unix.Close(fd))
}

// metacopy: the same changes of metadata where nothing else is copied.

func makeMetacopy(f *fixture) error {
	return errors.Join(f.layers(3), f.tree("chmod", f.size.Change), f.tree("chown", f.size.Change))
}

func runMetacopy(b *bench) error {
	if b.Variant.UserNS {
		return nil // overlayfs has it for root only
	}
	if b.Variant.Program != "" && !b.Variant.Plyfs {
		return nil // and fuse-overlayfs not at all
	}
	return errors.Join(
		b.time("chmod -R of a lower tree, metacopy=on", command("chmod", "-R", "g-r", b.path("chmod"))),
		b.time("chown -R of a lower tree, metacopy=on", command("chown", "-R", "1:1", b.path("chown"))))
}
