package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/layer"
)

// helperNames are the setuid programs that mount for users, best first, and
// helperDirs where they are when PATH doesn't have them.
var (
	helperNames = []string{"fusermount3", "fusermount"}
	helperDirs  = []string{"/usr/bin", "/bin", "/usr/local/bin"}
)

// findHelper is the path of fusermount3.
func findHelper() (string, error) {
	for _, name := range helperNames {
		if p, err := exec.LookPath(name); err == nil {
			return p, nil
		}
		for _, dir := range helperDirs {
			if p, err := exec.LookPath(dir + "/" + name); err == nil {
				return p, nil
			}
		}
	}
	return "", errors.New("not permitted to mount, and fusermount3 is not installed: install the package fuse3, or mount as root or in a user namespace (`unshare -Urm`)")
}

// helperOptions is the -o text for fusermount3. It adds nodev and nosuid by
// itself; they are named for who reads /proc/mounts of an odd version.
func helperOptions(o *layer.Options) string {
	opts := []string{
		"fsname=" + escapeOption(sourceName(o)),
		"subtype=" + subtype,
		"default_permissions", "nodev", "nosuid",
	}
	for _, f := range []struct {
		on   bool
		name string
	}{
		{o.AllowOther || o.AllowRoot, "allow_other"},
		{o.ReadOnly, "ro"},
		{o.NoExec, "noexec"},
		{o.NoAtime, "noatime"},
	} {
		if f.on {
			opts = append(opts, f.name)
		}
	}
	return strings.Join(opts, ",")
}

// escapeOption keeps the commas of a name from ending the option.
func escapeOption(s string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(s)
}

// mountHelper has fusermount3 open /dev/fuse and mount it; the descriptor comes
// back over a socket whose number is in _FUSE_COMMFD.
func mountHelper(dir string, o *layer.Options) (int, error) {
	bin, err := findHelper()
	if err != nil {
		return -1, fmt.Errorf("mount on %q: %w", dir, err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("mount on %q: socketpair: %w", dir, err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "fusermount"), os.NewFile(uintptr(pair[1]), "fusermount")
	defer ours.Close()

	var stderr bytes.Buffer
	cmd := exec.Command(bin, "-o", helperOptions(o), "--", dir)
	cmd.ExtraFiles = []*os.File{theirs} // descriptor 3 of the child
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.Stderr = &stderr
	err = cmd.Run()
	_ = theirs.Close() // so that a helper that sent nothing is seen as end of file
	if err != nil {
		return -1, helperError("mount on", dir, bin, err, stderr.String())
	}
	fd, err := receiveFD(pair[0])
	if err != nil {
		return -1, fmt.Errorf("mount on %q: %s sent no descriptor: %s", dir, bin, errText(err))
	}
	return fd, nil
}

// receiveFD takes one descriptor from a socket.
func receiveFD(sock int) (int, error) {
	var data [16]byte
	oob := make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	var err error
	for {
		n, oobn, _, _, err = unix.Recvmsg(sock, data[:], oob, unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return -1, err
	}
	if n == 0 && oobn == 0 {
		return -1, errors.New("the socket was closed")
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return -1, err
	}
	for i := range msgs {
		if fds, err := unix.ParseUnixRights(&msgs[i]); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, errors.New("the message had none")
}

// helperError makes one line of what fusermount3 said, and adds what to do.
func helperError(what, dir, bin string, err error, stderr string) error {
	said := strings.Join(strings.Fields(stderr), " ")
	said = strings.TrimPrefix(said, bin+": ")
	if said == "" {
		said = err.Error()
	}
	hint := ""
	switch {
	case strings.Contains(said, "user_allow_other"):
		hint = ": add the line user_allow_other to /etc/fuse.conf, or leave allow_other away"
	case strings.Contains(said, "mount_max"), strings.Contains(said, "too many FUSE"):
		hint = ": raise mount_max in /etc/fuse.conf, or mount in a user namespace (`unshare -Urm`)"
	case strings.Contains(said, devFuse), strings.Contains(said, "modprobe"):
		hint = ": load the module with `modprobe fuse`"
	case strings.Contains(said, "no write access"), strings.Contains(said, "user has no"):
		hint = ": the mount point must be yours and writable"
	case strings.Contains(said, "Operation not permitted"):
		hint = ": fusermount3 must be setuid root (`chmod u+s " + bin + "`), or mount in a user namespace (`unshare -Urm`)"
	}
	return fmt.Errorf("%s %q: %s%s", what, dir, said, hint)
}

// unmountHelper has fusermount3 unmount. It doesn't follow symbolic links
// either, and unmounts only what this user has mounted.
func unmountHelper(dir string) error {
	bin, err := findHelper()
	if err != nil {
		return fmt.Errorf("unmount %q: not permitted, and fusermount3 is not installed: install the package fuse3, or do it as root", dir)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(bin, "-u", "--", dir)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return helperError("unmount", dir, bin, err, stderr.String())
	}
	return nil
}
