package layer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// Open opens the layers that o names and checks that they make a union. What
// is wrong is told in one line that names the directory. Nothing on disk is
// created or changed.
//
// An upper under ro is the top lower layer: nothing will be written to it, and
// no work directory is asked for.
func Open(o *Options) (*Stack, error) {
	lower, upper := o.Lower, o.Upper
	switch {
	case len(lower) == 0:
		return nil, errors.New("no lower layer: give at least one with -o lowerdir=DIR")
	case upper != "" && o.ReadOnly:
		lower, upper = append([]string{upper}, lower...), ""
	case upper != "" && o.Work == "":
		return nil, errors.New("upperdir needs a workdir: add workdir=DIR, an empty directory in the same filesystem as the upperdir, or mount with ro")
	}
	if o.Index != "" && o.Live {
		return nil, errors.New("index and live exclude each other: what an index file tells must not change")
	}
	if err := roomForFDs(len(lower)); err != nil {
		return nil, err
	}
	s := new(Stack)
	err := s.open(lower, upper, o.Work)
	if err == nil {
		err = s.openIndex(o.Index)
	}
	if err == nil {
		err = s.check(o.Live)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stack) openIndex(path string) error {
	if path == "" {
		return nil
	}
	d, err := openDir("index", path, unix.O_PATH)
	if err == nil {
		s.Index = &d
	}
	return err
}

func (s *Stack) open(lower []string, upper, work string) error {
	s.Lower = make([]Dir, 0, len(lower))
	for _, path := range lower {
		d, err := openDir("lowerdir", path, unix.O_RDONLY)
		if err != nil {
			return err
		}
		s.Lower = append(s.Lower, d)
	}
	if upper == "" {
		return nil
	}
	u, err := openDir("upperdir", upper, unix.O_RDONLY)
	if err != nil {
		return err
	}
	s.Upper = &u
	w, err := openDir("workdir", work, unix.O_RDONLY)
	if err != nil {
		return err
	}
	s.Work = &w
	return nil
}

// openDir opens a layer root. A symbolic link is followed, as the kernel does
// it: the name is the user's, not a layer's. So this is the one place that
// opens a path and not a name in a directory.
func openDir(option, path string, flags int) (Dir, error) {
	fd, err := unix.Open(path, flags|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Open(path, flags|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return Dir{}, openError(option, path, err)
	}
	var st sys.Stat
	if e := sys.StatFD(fd, &st); e != 0 {
		sys.Close(fd)
		return Dir{}, openError(option, path, e)
	}
	return Dir{Path: path, FD: fd, Dev: uint64(st.Dev), Ino: st.Ino, changed: st.Ctim.Nano()}, nil
}

func openError(option, path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%s %s does not exist: create it or correct the name", option, path)
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%s %s is not a directory, or a part of its path isn't", option, path)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s %s is not readable for you: %w", option, path, err)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("%s %s: too many open files: raise the limit with ulimit -n, or merge layers", option, path)
	case errors.Is(err, unix.ENOTCONN):
		return fmt.Errorf("%s %s is a mount whose server is gone: unmount it first (plyfs umount, or fusermount3 -u)", option, path)
	case errors.Is(err, unix.ENAMETOOLONG):
		return fmt.Errorf("%s %.40s… has a name that is too long: change to a directory near it and give a relative name", option, path)
	}
	return fmt.Errorf("%s %s: cannot open: %w", option, path, err)
}

// spareFDs are what a server needs beside the layer roots: its caches of open
// layer files shrink with the limit, but not to nothing.
const spareFDs = 64

// roomForFDs raises the soft limit of open files to the hard one and says
// whether n layers fit.
func roomForFDs(n int) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return nil // the opens will tell
	}
	if lim.Cur < lim.Max {
		lim.Cur = lim.Max
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
			unix.Getrlimit(unix.RLIMIT_NOFILE, &lim)
		}
	}
	if need := uint64(n) + spareFDs; need > lim.Cur {
		return fmt.Errorf("%d layers need %d open files and the limit is %d: raise it with ulimit -n (hard limit), or merge layers", n, need, lim.Cur)
	}
	return nil
}
