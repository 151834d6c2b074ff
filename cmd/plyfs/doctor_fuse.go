package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// fuseFeatures are what a kernel may offer in INIT and plyfs can use, by the
// bits of its flags; since is the version that has it.
var fuseFeatures = []struct {
	bit         uint
	name, since string
	without     string
}{
	{16, "writeback cache", "3.15", "each small write is a request of its own"},
	{28, "killpriv", "5.11", "a write costs one more request"},
	{37, "passthrough", "6.9", "io=passthrough isn't there"},
	{39, "resend", "6.9", "what was in flight when a server dies ends with an error"},
	{40, "idmapped mounts", "6.12", "owners are shifted by the server"},
}

// checkFeatures says what the kernel's FUSE can do, by what it offered the
// probe. What an older kernel lacks can only be mended by a newer one.
func checkFeatures(p probeResult) finding {
	f := finding{Name: "FUSE features", State: stateOK}
	if p.FuseMajor == 0 {
		f.State, f.Detail, f.Fix = stateWarn, "not known: nothing could be mounted to ask", "see the lines with ✗"
		return f
	}
	var have, lack []string
	newest := ""
	for _, x := range fuseFeatures {
		if p.FuseFlags&(1<<x.bit) != 0 {
			have = append(have, x.name)
			continue
		}
		lack = append(lack, x.name+": "+x.without)
		newest = x.since
	}
	f.Detail = strings.Join(have, ", ")
	if len(lack) > 0 {
		f.State = stateWarn
		f.Detail += "; without " + strings.Join(lack, ", without ")
		f.Fix = "uname -r must say " + newest + " or later: install such a kernel"
	}
	return f
}

// fusectl is where a mount that hangs can be cut off.
const fusectl = "/sys/fs/fuse/connections"

func checkFusectl() finding {
	f := finding{Name: "fusectl", State: stateOK, Detail: "mounted: a mount that hangs can be aborted by its owner"}
	var st unix.Statfs_t
	const fusectlMagic = 0x65735543
	if err := unix.Statfs(fusectl, &st); err != nil || int64(st.Type) != fusectlMagic {
		f.State = stateWarn
		f.Detail = "not mounted on " + fusectl + ": a mount that hangs can be ended by umount -f and by killing its server"
		f.Fix = "sudo mount -t fusectl none " + fusectl
	}
	return f
}

const containerdSocket = "/run/containerd/containerd.sock"

// checkContainerd has the snapshotter's own doctor look, where there is a
// containerd: it knows what containerd says of itself.
func checkContainerd() finding {
	f := finding{Name: "containerd", State: stateOK}
	if _, err := os.Stat(containerdSocket); err != nil {
		f.Detail = "is not running here (" + containerdSocket + ")"
		return f
	}
	daemon, err := exec.LookPath("containerd-plyfs-grpc")
	switch {
	case err != nil:
		f.Detail = "runs, and containerd-plyfs-grpc is not installed: it uses other snapshotters"
		return f
	case unix.Access(containerdSocket, unix.W_OK) != nil:
		f.Detail, f.Fix = "runs, and answers root only", "sudo plyfs doctor"
		f.State = stateWarn
		return f
	}
	out, err := exec.Command(daemon, "doctor").CombinedOutput()
	missing := 0
	for line := range strings.Lines(string(out)) {
		if why, is := strings.CutPrefix(line, "MISSING"); is {
			if missing++; missing == 1 {
				f.Detail = strings.TrimSpace(why)
			}
		}
	}
	switch {
	case missing > 0:
		f.State, f.Fix = stateWarn, "containerd-plyfs-grpc doctor names all; containerd-plyfs-grpc config containerd prints what containerd's configuration needs"
		if missing > 1 {
			f.Detail += fmt.Sprintf(" (and %d more)", missing-1)
		}
	case err != nil:
		f.State, f.Detail, f.Fix = stateWarn, "could not be looked at: "+firstLine(out), "containerd-plyfs-grpc doctor"
	default:
		f.Detail = "uses plyfs: " + daemon + " doctor has no complaint"
	}
	return f
}
