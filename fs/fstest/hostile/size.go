package hostile

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/treedump"
)

// levels is deeper than any path that a system call takes.
const levels = 4000

// deepLower: a lower layer that is 4,000 levels deep is walked to its bottom,
// changed there, and removed.
func deepLower(s *Stand) {
	s.Mkdir("l")
	s.must(dig(s.Path("l"), levels))
	s.Mount([]string{"l"})
	s.deep()
}

// deepUpper: the same, dug through the mount.
func deepUpper(s *Stand) {
	s.Mkdir("l")
	s.Mount([]string{"l"})
	s.within("dig", func() error { return dig(s.Mnt, levels) })
	s.deep()
}

// deep goes down, works at the bottom, and removes everything.
func (s *Stand) deep() {
	s.Helper()
	var bottom int
	s.within("walk down", func() (err error) {
		bottom, err = descend(s.Mnt, levels)
		return err
	})
	s.within("work at the bottom", func() error {
		var st unix.Stat_t
		return errors.Join(
			unix.Fstatat(bottom, "end", &st, 0),
			unix.Fchmodat(bottom, "end", 0o600, 0),
			unix.Mkdirat(bottom, "new", 0o755),
			unix.Renameat(bottom, "end", bottom, "new/end"),
			unix.Close(bottom),
		)
	})
	s.within("rename of the top", func() error { return os.Rename(s.Mnt+"/d", s.Mnt+"/e") })
	s.within("rm -rf", func() error {
		out, err := exec.Command("rm", "-rf", s.Mnt+"/e").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if got := s.names("."); got != "[]" {
		s.Errorf("left are %s", got)
	}
	s.Unmount()
	s.must(exec.Command("rm", "-rf", s.Path("l")).Run())
}

// dig makes n levels of directories named d below dir, and a file at the end.
func dig(dir string, n int) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for i := 0; i < n && err == nil; i++ {
		if err = unix.Mkdirat(fd, "d", 0o755); err == nil {
			fd, err = step(fd)
		}
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	f, err := unix.Openat(fd, "end", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(f)
}

// descend opens what is n levels below dir.
func descend(dir string, n int) (int, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for i := 0; i < n && err == nil; i++ {
		fd, err = step(fd)
	}
	return fd, err
}

// step goes from fd, which it closes, to d in it.
func step(fd int) (int, error) {
	next, err := unix.Openat(fd, "d", unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	unix.Close(fd)
	return next, err
}

// million is how many files million makes, and millionRSS the memory that
// their server may use: some 200 bytes a name for the merged directory, the
// answers to readdirplus and what Go keeps spare.
const (
	million    = 1_000_000
	millionRSS = 600 << 20
)

// millionEntries: a directory of a million files is listed, looked into and
// changed, in memory that is bounded. Times are reported, not judged.
func millionEntries(s *Stand) {
	if testing.Short() {
		s.Skip("a million files take a while to make")
	}
	dir := s.Mkdir("l/big")
	for i := range million {
		s.must(unix.Mknod(dir+"/"+strconv.Itoa(i), unix.S_IFREG|0o644, 0))
	}
	s.Mount([]string{"l"})
	m := s.Mnt + "/big"
	timed := func(what string, do func() error) {
		s.Helper()
		start := time.Now()
		s.within(what, do)
		s.Logf("%s: %v, server %d MiB", what, time.Since(start).Round(time.Millisecond), s.rss()>>20)
	}
	for _, what := range []string{"readdir cold", "readdir again"} {
		timed(what, func() error {
			ents, err := treedump.ReadDir(m)
			if err == nil && len(ents) != million {
				err = fmt.Errorf("%d entries, want %d", len(ents), million)
			}
			return err
		})
	}
	timed("1,000 look-ups", func() error {
		var st unix.Stat_t
		for i := range 1000 {
			if err := unix.Lstat(m+"/"+strconv.Itoa(i*997), &st); err != nil {
				return err
			}
			if err := unix.Lstat(m+"/no"+strconv.Itoa(i), &st); !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("a missing name gives %w", err)
			}
		}
		return nil
	})
	timed("remove, rename, create", func() error {
		return errors.Join(os.Remove(m+"/7"), os.Rename(m+"/8", m+"/7"), os.WriteFile(m+"/new", []byte("x"), 0o644))
	})
	timed("readdir after the changes", func() error {
		ents, err := treedump.ReadDir(m)
		if err == nil && len(ents) != million {
			err = fmt.Errorf("%d entries, want %d", len(ents), million)
		}
		return err
	})
	if rss := s.rss(); rss > millionRSS {
		s.Errorf("the server uses %d MiB, want %d at most", rss>>20, millionRSS>>20)
	}
	s.Unmount()
}

// rss is the server's resident memory in bytes.
func (s *Stand) rss() int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kb, _ := strconv.Atoi(f[1])
			return kb << 10
		}
	}
	return 0
}
