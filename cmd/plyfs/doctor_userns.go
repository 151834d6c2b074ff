package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkUserNamespace says whether the user may mount in a user namespace. It
// goes by what happened when one was tried.
func checkUserNamespace(p probeResult) finding {
	f := finding{Name: usernsName, State: stateFail}
	switch {
	case p.Mounted:
		f.State, f.Detail = stateOK, "a FUSE mount in one works"
		return f
	case p.Made:
		f.Detail = "can be made, but a FUSE mount in one fails: " + p.Err
	default:
		f.Detail = "can't be made: " + p.Err
	}
	f.Fix = "mount with fusermount3 or as root"
	for _, s := range namespaceSwitches {
		text, err := os.ReadFile(s.file)
		if err == nil && strings.TrimSpace(string(text)) == s.off {
			f.Detail += " (" + s.why + ")"
			f.Fix = s.fix
			break
		}
	}
	return f
}

// namespaceSwitches are the known reasons for refusing user namespaces.
var namespaceSwitches = []struct{ file, off, why, fix string }{
	{"/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0", "sudo sysctl user.max_user_namespaces=15000"},
	{"/proc/sys/user/max_mnt_namespaces", "0", "user.max_mnt_namespaces is 0", "sudo sysctl user.max_mnt_namespaces=15000"},
	{"/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0", "sudo sysctl kernel.unprivileged_userns_clone=1"},
	{
		"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor lets only programs with a profile have one",
		"sudo apparmor_parser -r /usr/share/plyfs/apparmor/plyfs (the package brings it; or: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0)",
	},
}

// checkSubIDs looks for the ranges of ids that a user may map.
func checkSubIDs(file, tool string, uid int) finding {
	f := finding{Name: filepath.Base(file), State: stateWarn}
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.Detail = err.Error()
		return f
	}
	flag := "--add-" + filepath.Base(file) + "s"
	f.Fix = fmt.Sprintf("sudo usermod %s 100000-165535 %s", flag, name)
	start, count := subIDs(string(text), name, uid)
	switch {
	case count == 0:
		f.Detail = "no range for " + name + ": one id only, other owners are kept as data"
		return f
	case count < 65536:
		f.Detail = fmt.Sprintf("%d ids from %d for %s: images use up to 65536", count, start, name)
		return f
	}
	if _, err := exec.LookPath(tool); err != nil {
		f.Detail, f.Fix = tool+" is not installed: the range can't be used", "sudo apt install uidmap"
		return f
	}
	f.State, f.Fix = stateOK, ""
	f.Detail = fmt.Sprintf("%d ids from %d for %s", count, start, name)
	return f
}

// subIDs gives the largest range of a user in the text of /etc/subuid.
func subIDs(text, name string, uid int) (start, count uint64) {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || f[0] != name && f[0] != strconv.Itoa(uid) {
			continue
		}
		s, err1 := strconv.ParseUint(f[1], 10, 32)
		c, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 == nil && err2 == nil && c > count {
			start, count = s, c
		}
	}
	return start, count
}

// probeEnv makes this program the probe's child; its value is a directory.
const probeEnv = "_PLYFS_PROBE_DIR"

// probeResult is what happened in a user namespace made for the purpose.
type probeResult struct {
	Made                 bool // the namespace
	Mounted              bool // a FUSE filesystem in it
	Err                  string
	FuseMajor, FuseMinor uint32
	FuseFlags            uint64 // what the kernel offers
}

// probeUserNamespace makes a user and a mount namespace, mounts FUSE there and
// reads what the kernel says first. All of it is gone when the child ends.
func probeUserNamespace() probeResult {
	dir, err := os.MkdirTemp("", "plyfs-doctor-")
	if err != nil {
		return probeResult{Err: err.Error()}
	}
	defer os.Remove(dir)
	cmd := exec.Command(selfExe)
	cmd.Args = os.Args[:1]
	cmd.Env = append(os.Environ(), probeEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		var e syscall.Errno
		if errors.As(err, &e) {
			err = e
		}
		return probeResult{Err: err.Error()}
	}
	r := probeResult{Made: true}
	if json.Unmarshal(out, &r) != nil && r.Err == "" {
		r.Err = "the probe said nothing"
	}
	return r
}

// probeChild mounts FUSE on the probe's directory and reads the kernel's first
// request, INIT: a header of 40 bytes, then its version.
func probeChild() error {
	r := probeResult{Made: true}
	fail := func(what string, err error) error {
		r.Err = what + ": " + err.Error()
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("open /dev/fuse", err)
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
	if err := unix.Mount("plyfs-doctor", os.Getenv(probeEnv), "fuse", unix.MS_NODEV|unix.MS_NOSUID, data); err != nil {
		return fail("mount", err)
	}
	r.Mounted = true
	const header, flags, flags2 = 40, 12, 16
	buf := make([]byte, 1<<17) // the kernel wants room for its largest request
	if n, err := unix.Read(fd, buf); err == nil && n >= header+8 {
		r.FuseMajor, r.FuseMinor = binary.NativeEndian.Uint32(buf[header:]), binary.NativeEndian.Uint32(buf[header+4:])
		r.FuseFlags = uint64(binary.NativeEndian.Uint32(buf[header+flags:]))
		if n >= header+flags2+4 {
			r.FuseFlags |= uint64(binary.NativeEndian.Uint32(buf[header+flags2:])) << 32
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
