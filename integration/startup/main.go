package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/integration/tables"
)

// config is what the flags say.
type config struct {
	rounds   int
	binaries []binary
	user     string
	write    string
}

// binary is a plyfs to be measured.
type binary struct{ name, path string }

func main() {
	c, err := parse(os.Args[1:])
	if err != nil {
		fail(err)
	}
	if err := ownMounts(); err != nil {
		fail(err)
	}
	r, err := run(c)
	if err != nil {
		fail(err)
	}
	text := r.table()
	fmt.Print(text)
	if c.write != "" {
		if err := tables.Rewrite(c.write, "start", text); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "startup:", err)
	os.Exit(1)
}

func parse(args []string) (*config, error) {
	c := &config{}
	fs := flag.NewFlagSet("startup", flag.ExitOnError)
	fs.IntVar(&c.rounds, "rounds", 30, "rounds; each command runs once in each, and the medians count")
	fs.StringVar(&c.user, "user", "plytest", "who runs them: somebody with subordinate ids")
	fs.StringVar(&c.write, "write", "", "put the table between the marks of this document")
	fs.Func("plyfs", "NAME=PATH of a plyfs binary; several may be given", func(v string) error {
		name, path, ok := strings.Cut(v, "=")
		if !ok {
			return errors.New("want NAME=PATH")
		}
		abs, err := filepath.Abs(path)
		if err == nil {
			_, err = os.Stat(abs)
		}
		c.binaries = append(c.binaries, binary{name, abs})
		return err
	})
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if len(c.binaries) == 0 {
		return nil, errors.New("no -plyfs given")
	}
	return c, nil
}

// ownMounts starts this program again in a mount namespace of its own, without
// the unified hierarchy of a hybrid machine.
func ownMounts() error {
	const mark = "PLYFS_STARTUP_NS"
	if os.Geteuid() != 0 {
		return errors.New("run it as root: it becomes the user itself")
	}
	if os.Getenv(mark) != "" {
		hideUnified()
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	tool, err := exec.LookPath("unshare")
	if err != nil {
		return err
	}
	args := append([]string{tool, "--mount", "--propagation", "slave", self}, os.Args[1:]...)
	return syscall.Exec(tool, args, append(os.Environ(), mark+"=1"))
}

// hideUnified takes the unified hierarchy of a hybrid machine away.
func hideUnified() { _ = unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH) }

// stand is what all commands share.
type stand struct {
	dir, root, home string
	uid, gid        int
}

func newStand(name string) (*stand, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("%w: make setup makes the user", err)
	}
	s := &stand{}
	s.uid, _ = strconv.Atoi(u.Uid)
	s.gid, _ = strconv.Atoi(u.Gid)
	if s.dir, err = os.MkdirTemp("/var/tmp", "plyfs-startup-"); err != nil {
		return nil, err
	}
	s.root, s.home = filepath.Join(s.dir, "root"), filepath.Join(s.dir, "home")
	script := `
chmod 755 . && mkdir -p root/bin root/etc root/proc root/sys root/dev root/tmp home/run
install "$(command -v busybox)" root/bin/busybox
for a in true sleep sh; do ln -s busybox root/bin/$a; done
touch root/etc/hosts root/etc/hostname root/etc/resolv.conf
chmod 700 home/run && chown -R "$1" home root`
	cmd := exec.Command("bash", "-ec", script, "-", fmt.Sprintf("%d:%d", s.uid, s.gid))
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		s.close()
		return nil, fmt.Errorf("a root of busybox: %w: %s", err, out)
	}
	return s, nil
}

func (s *stand) close() { _ = os.RemoveAll(s.dir) }

// command is one of the user's, with a small environment.
func (s *stand) command(args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = s.home
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + s.home, "XDG_RUNTIME_DIR=" + s.home + "/run", "LANG=C.UTF-8",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.uid), Gid: uint32(s.gid)}}
	return cmd
}

// sample is one run of a command: the clock, and the processor time of
// all its processes.
type sample struct{ wall, cpu time.Duration }

// time runs a command to its end.
func (s *stand) time(args []string) (sample, error) {
	cmd := s.command(args)
	var said strings.Builder
	f, err := os.CreateTemp(s.dir, "output")
	if err != nil {
		return sample{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	begin := time.Now()
	err = cmd.Run()
	took := time.Since(begin)
	if err != nil {
		text, _ := os.ReadFile(f.Name())
		said.Write(text)
		return sample{}, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return sample{took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// run makes the root, measures everything and tidies up.
func run(c *config) (*results, error) {
	s, err := newStand(c.user)
	if err != nil {
		return nil, err
	}
	defer s.close()
	list, err := s.commands(c.binaries)
	if err != nil {
		return nil, err
	}
	r := &results{config: c, commands: list, values: map[string][]sample{}, memory: map[string]memory{}}
	for round := -1; round < c.rounds; round++ {
		for i := range list {
			one := list[(i+max(round, 0))%len(list)] // nobody is always the first
			got, err := s.time(one.args)
			if err != nil {
				return nil, err
			}
			if round >= 0 { // the first one fills the caches
				r.values[one.name] = append(r.values[one.name], got)
			}
		}
	}
	for _, one := range list {
		if one.sleeping == nil {
			continue
		}
		if r.memory[one.name], err = s.memory(one.sleeping); err != nil {
			return nil, err
		}
	}
	return r, nil
}
