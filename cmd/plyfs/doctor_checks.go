package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container"
)

// checkKernel says what the kernel is and which FUSE it speaks.
func checkKernel(p probeResult) finding {
	f := finding{Name: "kernel", State: stateOK}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return finding{Name: "kernel", State: stateWarn, Detail: "unknown: " + err.Error()}
	}
	release := unix.ByteSliceToString(u.Release[:])
	f.Detail = release
	if p.FuseMajor != 0 {
		f.Detail += fmt.Sprintf(", FUSE %d.%d", p.FuseMajor, p.FuseMinor)
	}
	var major, minor int
	fmt.Sscanf(release, "%d.%d", &major, &minor)
	switch {
	case major < 4 || major == 4 && minor < 18:
		f.State, f.Fix = stateFail, "install Linux 4.18 or later"
	case major < 5 || major == 5 && minor < 11:
		f.State, f.Fix = stateWarn, "install Linux 5.11 or later: before it, rootless overlays keep their deletions in .wh. files"
	}
	return f
}

// checkNetwork says whether containers can have a network of their own that
// leads out: a program connects it, by a tun device.
func checkNetwork() finding {
	f := finding{Name: "network of containers", State: stateWarn}
	var have string
	for _, name := range []string{"pasta", "slirp4netns"} {
		if _, err := exec.LookPath(name); err == nil && have == "" {
			have = name
		}
	}
	if have == "" {
		f.Detail, f.Fix = "neither pasta nor slirp4netns is installed: plyfs run has --net none and --net host", "sudo apt install passt"
		return f
	}
	fd, err := unix.Open(container.TunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		f.Detail, f.Fix = fmt.Sprintf("%s needs %s, which can't be opened: %v", have, container.TunDevice, err), "sudo modprobe tun; sudo chmod 666 "+container.TunDevice
		return f
	}
	unix.Close(fd)
	return finding{Name: f.Name, State: stateOK, Detail: "by " + have}
}

// checkDevice opens /dev/fuse as a mount would.
func checkDevice() finding {
	f := finding{Name: "/dev/fuse", State: stateFail}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		defer unix.Close(fd)
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil || st.Rdev != unix.Mkdev(10, 229) {
			f.Detail, f.Fix = "is another device (FUSE is 10:229)", "sudo rm /dev/fuse && sudo mknod -m 666 /dev/fuse c 10 229"
			return f
		}
		return finding{Name: f.Name, State: stateOK, Detail: "can be opened"}
	case errors.Is(err, unix.ENOENT):
		f.Detail, f.Fix = "is missing", "sudo modprobe fuse; in a container: start it with --device /dev/fuse"
	case errors.Is(err, unix.EACCES):
		f.Detail, f.Fix = "may not be opened", "sudo chmod 666 /dev/fuse"
	case errors.Is(err, unix.EPERM):
		f.Detail, f.Fix = "is forbidden by the device rules of this container", "start the container with --device /dev/fuse"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		f.Detail, f.Fix = "has no driver", "sudo modprobe fuse"
	default:
		f.Detail, f.Fix = err.Error(), "sudo modprobe fuse"
	}
	return f
}

// helperName is the setuid program that mounts for users; usernsName the check
// of the other way.
const (
	helperName = "fusermount3"
	usernsName = "user namespaces"
)

// checkHelper looks for that program.
func checkHelper() finding {
	f := finding{Name: helperName, State: stateFail}
	path, err := exec.LookPath(helperName)
	if err != nil {
		f.Detail, f.Fix = "is not installed: users can mount in a user namespace only", "sudo apt install fuse3"
		return f
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		f.Detail = err.Error()
		return f
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		f.Detail = err.Error()
		return f
	}
	if st.Uid != 0 || st.Mode&unix.S_ISUID == 0 {
		f.Detail, f.Fix = path+" is not setuid root: it can mount for nobody", "sudo chown root "+path+" && sudo chmod u+s "+path
		return f
	}
	if noNewPrivs() {
		f.Detail, f.Fix = path+" can't get its rights: this process runs with no_new_privs", "mount in a user namespace (unshare -Urm), or start without no_new_privs"
		return f
	}
	f.State, f.Detail = stateOK, path+" is setuid root"
	return f
}

func noNewPrivs() bool {
	v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	return err == nil && v == 1
}

// checkFuseConf reads what fusermount3 obeys.
func checkFuseConf() []finding {
	text, err := os.ReadFile("/etc/fuse.conf")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return []finding{{"/etc/fuse.conf", stateWarn, err.Error(), "sudo chmod 644 /etc/fuse.conf"}}
	}
	allow, mountMax := parseFuseConf(string(text))
	other := finding{"user_allow_other", stateOK, "set: users may mount with allow_other", ""}
	if !allow {
		other = finding{"user_allow_other", stateWarn, "not set: what a user mounts with fusermount3 is for that user alone", "echo user_allow_other | sudo tee -a /etc/fuse.conf"}
	}
	limit := finding{"mount_max", stateOK, fmt.Sprintf("%d mounts with fusermount3 at once", mountMax), ""}
	if mountMax < 100 {
		limit.State, limit.Fix = stateWarn, "set mount_max = 1000 in /etc/fuse.conf"
	}
	if os.Geteuid() == 0 {
		demoteToNote(&other)
	}
	return []finding{other, limit}
}

// demoteToNote is for what doesn't concern the user who asks.
func demoteToNote(f *finding) {
	if f.State == stateWarn {
		f.State, f.Fix = stateOK, ""
	}
}

// parseFuseConf reads /etc/fuse.conf. mount_max is 1000 unless it is set.
func parseFuseConf(text string) (allowOther bool, mountMax int) {
	mountMax = 1000
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		key, value, has := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		switch {
		case key == "user_allow_other" && !has:
			allowOther = true
		case key == "mount_max" && has:
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
				mountMax = n
			}
		}
	}
	return allowOther, mountMax
}

// checkLimits looks at the kernel's limits for requests. 1024 background
// requests is what the server asks for; users get no more than the module's
// parameter.
func checkLimits() []finding {
	var out []finding
	if n, ok := readNumber("/sys/module/fuse/parameters/max_user_bgreq"); ok {
		f := finding{"max_user_bgreq", stateOK, fmt.Sprintf("%d background requests at once", n), ""}
		if n != 0 && n < 64 {
			f.State = stateWarn
			f.Detail += ": a slow copy-up can hold up the other writers of a mount"
			f.Fix = "echo 1024 | sudo tee /sys/module/fuse/parameters/max_user_bgreq"
		}
		out = append(out, f)
	}
	if n, ok := readNumber("/proc/sys/fs/fuse/max_pages_limit"); ok {
		f := finding{"max_pages_limit", stateOK, fmt.Sprintf("requests of up to %d KiB", n*int64(os.Getpagesize())/1024), ""}
		if n < 256 {
			f.State, f.Fix = stateWarn, "sudo sysctl fs.fuse.max_pages_limit=256"
		}
		out = append(out, f)
	}
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil {
		f := finding{"open files", stateOK, fmt.Sprintf("up to %d", lim.Max), ""}
		if lim.Max < 1024 {
			f.State, f.Fix = stateWarn, "ulimit -n 4096, or a nofile line in /etc/security/limits.conf"
		}
		out = append(out, f)
	}
	return out
}

func readNumber(path string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}
