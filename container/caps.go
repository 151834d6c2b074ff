package container

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// capNames are the capabilities by number, as capability.h has them.
var capNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// CapName gives the full name of a capability, in whatever way it is written.
func CapName(name string) (string, error) {
	short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	if !slices.Contains(capNames[:], short) {
		return "", fmt.Errorf("%q is not a capability", name)
	}
	return "CAP_" + short, nil
}

// AllCaps are all that there are.
func AllCaps() []string {
	out := make([]string, len(capNames))
	for i, n := range capNames {
		out[i] = "CAP_" + n
	}
	return out
}

// capMask is a set as bits.
func capMask(names []string) (mask uint64, err error) {
	for _, n := range names {
		i := slices.Index(capNames[:], strings.TrimPrefix(n, "CAP_"))
		if i < 0 {
			return 0, fmt.Errorf("%q is not a capability", n)
		}
		mask |= 1 << i
	}
	return mask, nil
}

// dropBounding takes everything but mask out of the thread's bounding set.
func dropBounding(mask uint64) error {
	for c := uintptr(0); ; c++ {
		have, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil {
			return nil //nolint:nilerr // beyond the kernel's last one
		}
		if have == 0 || c < 64 && mask&(1<<c) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("capability %d can't be given up: %w", c, err)
		}
	}
}

// setCaps makes mask the permitted and effective set of the thread. Nothing is
// inheritable: a set-user-ID program would take it over (CVE-2022-29162).
func setCaps(mask uint64) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	lo, hi := uint32(mask), uint32(mask>>32)
	data := [2]unix.CapUserData{
		{Effective: lo, Permitted: lo},
		{Effective: hi, Permitted: hi},
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return nil
}

// ownCaps are the permitted capabilities of the thread.
func ownCaps() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("capabilities: %w", err)
	}
	return uint64(data[0].Permitted) | uint64(data[1].Permitted)<<32, nil
}
