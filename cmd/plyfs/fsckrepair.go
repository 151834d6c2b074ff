package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/dialect"
	"golang.org/x/sys/unix"
)

// fsckDirs are the directories of one run.
type fsckDirs struct {
	upper, work *os.File // work is nil when there is none
	locks       []*os.File
}

// openFsck opens what is to be looked at; for a repair the work directory is
// looked for, and nobody else may use the two.
func openFsck(o *fsckFlags) (*fsckDirs, error) {
	u, err := openCheckedDir(o.upper)
	if err != nil {
		return nil, err
	}
	d := &fsckDirs{upper: u}
	if o.work != "" {
		d.work, err = openCheckedDir(o.work)
	} else if o.repair {
		// Where containers/storage and our snapshotter have it.
		if fi, e := os.Stat(filepath.Join(o.upper, "..", "work")); e == nil && fi.IsDir() {
			d.work, err = openCheckedDir(filepath.Join(o.upper, "..", "work"))
		}
	}
	if err == nil && o.repair {
		err = d.lock(o.upper)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *fsckDirs) Close() {
	for _, f := range append(d.locks, d.work, d.upper) {
		if f != nil {
			_ = f.Close()
		}
	}
}

func (d *fsckDirs) workFD() int {
	if d.work == nil {
		return -1
	}
	return int(d.work.Fd())
}

// lock refuses an upper that is mounted, and keeps plyfs from mounting it.
func (d *fsckDirs) lock(upper string) error {
	taken := fmt.Errorf("upper directory %s is mounted: unmount it first", upper)
	if unix.Flock(int(d.upper.Fd()), unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK {
		return taken
	}
	if d.work != nil {
		own := int(d.work.Fd())
		if err := unix.Mkdirat(own, "plyfs", 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("work directory %s: %w", d.work.Name(), err)
		}
		fd, err := unix.Openat2(own, "plyfs/lock", &unix.OpenHow{Flags: unix.O_RDWR | unix.O_CREAT | unix.O_CLOEXEC, Mode: 0o600, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
		if err != nil {
			return fmt.Errorf("work directory %s: plyfs/lock: %w", d.work.Name(), err)
		}
		d.locks = append(d.locks, os.NewFile(uintptr(fd), "lock"))
		if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK {
			return taken
		}
	}
	if who := otherUser(d.upper); who != "" {
		return fmt.Errorf("upper directory %s is mounted (%s): unmount it first", upper, who)
	}
	return nil
}

// repair puts right what can be, in as many rounds as bring something new: what
// a mark says of a directory is known to the next one only.
func (d *fsckDirs) repair(o *fsckFlags, rep *fsckReport) error {
	to := o.to
	if to == dialect.ToEach {
		sum, err := dialect.Check(int(d.upper.Fd()), -1, nil)
		if err != nil {
			return fmt.Errorf("the check of %s could not go on: %w", o.upper, err)
		}
		if sum.Dialect == dialect.DialectMixed {
			if to = dialect.ToUserXattr; dialect.CanTrust() {
				to = dialect.ToKernel
			}
		}
	}
	beside := d.work
	if beside == nil {
		beside = d.upper
	}
	fd, err := unix.Openat(int(beside.Fd()), "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("the directory that %s is in: %w", beside.Name(), err)
	}
	defer unix.Close(fd)
	for range 3 {
		mended := len(rep.Mended)
		rep.Kept = nil
		err := dialect.Mend(dialect.Repair{
			Upper: int(d.upper.Fd()), Work: d.workFD(), Beside: fd, To: to,
			Report: func(m dialect.Mended) {
				one := fsckMended{Kind: m.Kind.String(), Path: m.Path, InWork: m.InWork, Done: m.Detail, Lost: m.Lost}
				if m.Err != nil {
					one.Error = m.Err.Error()
					rep.Kept = append(rep.Kept, one)
					return
				}
				rep.Mended = append(rep.Mended, one)
				if o.format == cli.FormTable {
					fmt.Println(m)
				}
			},
		})
		if err != nil {
			return fmt.Errorf("the repair of %s could not go on: %w", o.upper, err)
		}
		if len(rep.Mended) == mended {
			break
		}
	}
	if o.format == cli.FormTable {
		for _, k := range rep.Kept {
			fmt.Printf("not mended %s %s: %s: %s\n", k.Kind, k.Path, k.Done, k.Error)
		}
	}
	return nil
}
