package counts

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// client is the process that uses the mount. Each line on stdin is an
// operation and its arguments; the answer is a line too.
func client() {
	root := os.Getenv(clientEnv)
	for sc := bufio.NewScanner(os.Stdin); sc.Scan(); {
		arg := strings.Split(sc.Text(), "\t")
		for i := 1; i < len(arg); i++ {
			if p, ok := strings.CutPrefix(arg[i], "@"); ok {
				arg[i] = root + "/" + p
			}
		}
		if err := operate(arg); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
}

var buf = make([]byte, 1<<16)

// operate uses plain system calls: no runtime in between.
func operate(arg []string) error {
	var st unix.Stat_t
	switch arg[0] {
	case "nothing":
		return nil
	case "stat":
		return unix.Lstat(arg[1], &st)
	case "absent":
		if err := unix.Lstat(arg[1], &st); err != unix.ENOENT {
			return fmt.Errorf("stat of %s: %w", arg[1], err)
		}
		return nil
	case "read":
		fd, err := unix.Open(arg[1], unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for {
			if n, err := unix.Read(fd, buf); n <= 0 {
				return err
			}
		}
	case "list":
		fd, err := unix.Open(arg[1], unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for {
			if n, err := unix.Getdents(fd, buf); n <= 0 {
				return err
			}
		}
	case "readlink":
		_, err := unix.Readlink(arg[1], buf)
		return err
	case "unlink":
		return unix.Unlink(arg[1])
	case "mkdir":
		return unix.Mkdir(arg[1], 0o755)
	case "rmdir":
		return unix.Rmdir(arg[1])
	case "rename":
		return unix.Rename(arg[1], arg[2])
	case "tar": // as tar(1) makes a file
		n, _ := strconv.Atoi(arg[2])
		return extract(arg[1], n)
	case "append":
		fd, err := unix.Open(arg[1], unix.O_WRONLY|unix.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, err := unix.Write(fd, []byte("more")); err != nil {
			return err
		}
		return unix.Fsync(fd)
	}
	return fmt.Errorf("what is %q?", arg[0])
}

// extract makes a file of n bytes in the order of tar's system calls.
func extract(path string, n int) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for ; n > 0; n -= min(n, len(buf)) {
		if _, err := unix.Write(fd, buf[:min(n, len(buf))]); err != nil {
			return err
		}
	}
	when := unix.Timespec{Sec: 1e9}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := unix.Fchown(fd, 1000, 1000); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, 0o644); err != nil {
		return err
	}
	return unix.Close(fd)
}
