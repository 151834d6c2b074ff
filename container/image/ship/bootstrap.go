package ship

import (
	"archive/tar"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plyfs/plyfs/container/image"
)

// Bootstrap makes an image of programs of this machine, for a first container
// without a registry: a static busybox with its names, else a shell and tools
// with the libraries that they need.
func (s *Shipper) Bootstrap(ctx context.Context, o ImportOptions) (*image.Entry, error) {
	o.Message = "made of this machine's programs"
	r, w := io.Pipe()
	go func() {
		b := &bootTar{tar: tar.NewWriter(w), made: map[string]bool{}}
		w.CloseWithError(b.write())
	}()
	defer r.Close()
	e, err := s.fromTar(ctx, r, &o)
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	return e, nil
}

// bootTar writes a small root. Whatever the times of the machine's files are,
// the same programs give the same image.
type bootTar struct {
	tar  *tar.Writer
	made map[string]bool
}

// bootTools are put in where there is no busybox; those that are missing are
// left out, but for the shell.
var bootTools = []string{
	"sh", "ls", "cat", "cp", "mv", "rm", "ln", "mkdir", "rmdir", "touch", "chmod", "chown", "echo", "printf", "sleep", "true", "false",
	"id", "env", "pwd", "test", "expr", "seq", "head", "tail", "wc", "sort", "grep", "sed", "find", "stat", "readlink", "df", "du", "dd",
	"uname", "hostname", "ps", "kill", "tar", "gzip", "sha256sum",
}

func (b *bootTar) write() error {
	for _, d := range []string{"bin", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr", "var"} {
		mode := int64(0o755)
		if d == "tmp" {
			mode = 0o1777
		}
		if err := b.dir(d, mode); err != nil {
			return err
		}
	}
	for _, f := range [][2]string{
		{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
		{"etc/group", "root:x:0:\nnogroup:x:65534:\n"},
	} {
		if err := b.text(f[0], f[1]); err != nil {
			return err
		}
	}
	err := b.busybox()
	if errors.Is(err, os.ErrNotExist) {
		err = b.tools()
	}
	if err != nil {
		return err
	}
	return b.tar.Close()
}

func (b *bootTar) put(h *tar.Header, r io.Reader) error {
	h.ModTime, h.Format = time.Unix(0, 0), tar.FormatPAX
	if err := b.tar.WriteHeader(h); err != nil || r == nil {
		return err
	}
	_, err := io.Copy(b.tar, r)
	return err
}

func (b *bootTar) dir(name string, mode int64) error {
	if name == "." || b.made[name] {
		return nil
	}
	if err := b.dir(path.Dir(name), 0o755); err != nil {
		return err
	}
	b.made[name] = true
	return b.put(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
}

func (b *bootTar) text(name, text string) error {
	return b.put(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}, strings.NewReader(text))
}

// file puts a file of the machine at a path.
func (b *bootTar) file(from, to string) error {
	to = strings.TrimPrefix(path.Clean(to), "/")
	if b.made[to] {
		return nil
	}
	if err := b.dir(path.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	b.made[to] = true
	return b.put(&tar.Header{Typeflag: tar.TypeReg, Name: to, Mode: 0o755, Size: info.Size()}, f)
}

func (b *bootTar) link(name, to string) error {
	if b.made[name] {
		return nil
	}
	b.made[name] = true
	return b.put(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}, nil)
}

// busybox packs a static one; os.ErrNotExist says that there is none.
func (b *bootTar) busybox() error {
	file, err := exec.LookPath("busybox")
	if err != nil {
		return os.ErrNotExist
	}
	if loader, libs, err := needs(file); err != nil || loader != "" || len(libs) > 0 {
		return os.ErrNotExist
	}
	list, err := exec.Command(file, "--list").Output()
	if err != nil {
		return os.ErrNotExist
	}
	if err := b.file(file, "bin/busybox"); err != nil {
		return err
	}
	names := strings.Fields(string(list))
	slices.Sort(names)
	for _, n := range names {
		if n != "busybox" && !strings.Contains(n, "/") {
			if err := b.link("bin/"+n, "busybox"); err != nil {
				return err
			}
		}
	}
	return nil
}

// tools packs a shell and what else is there.
func (b *bootTar) tools() error {
	for _, t := range bootTools {
		file, err := exec.LookPath(t)
		if err == nil {
			file, err = filepath.EvalSymlinks(file)
		}
		if err == nil {
			err = b.program(file, "bin/"+t)
		}
		if err != nil && t == "sh" {
			return fmt.Errorf("no shell can be packed: %w", err)
		}
	}
	return nil
}

// program packs a program and the libraries that it needs.
func (b *bootTar) program(file, to string) error {
	loader, libs, err := needs(file)
	if err != nil {
		return err
	}
	if loader != "" {
		if err := b.file(loader, loader); err != nil {
			return err
		}
	}
	for len(libs) > 0 {
		found, ok := findLibrary(libs[0], loader)
		if !ok {
			return fmt.Errorf("%s needs %s, which was not found", file, libs[0])
		}
		libs = libs[1:]
		if b.made[strings.TrimPrefix(found, "/")] {
			continue
		}
		_, more, err := needs(found)
		if err != nil {
			return err
		}
		libs = append(libs, more...)
		if err := b.file(found, found); err != nil {
			return err
		}
	}
	return b.file(file, to)
}

// needs says which loader and which libraries a program asks for.
func needs(file string) (loader string, libs []string, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", file, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			text, err := io.ReadAll(p.Open())
			if err != nil {
				return "", nil, err
			}
			loader = strings.TrimRight(string(text), "\x00")
		}
	}
	libs, err = f.ImportedLibraries()
	return loader, libs, err
}

// findLibrary looks where loaders look.
func findLibrary(name, loader string) (string, bool) {
	dirs := []string{"/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"}
	if loader != "" {
		dirs = append(dirs, path.Dir(loader))
	}
	for _, d := range slices.Clone(dirs) {
		more, _ := filepath.Glob(d + "/*-linux-*") // Debian's
		dirs = append(dirs, more...)
	}
	for _, d := range dirs {
		if info, err := os.Stat(path.Join(d, name)); err == nil && info.Mode().IsRegular() {
			return path.Join(d, name), true
		}
	}
	return "", false
}
