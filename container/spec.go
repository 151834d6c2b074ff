package container

import (
	"encoding/json"
	"path"

	"github.com/plyfs/plyfs/container/cgroup"
)

// Spec says what a container is. It is stored with the container and not
// changed after [Store.Create], save its limits (plyfs update).
type Spec struct {
	Hostname string `json:",omitempty"`
	Root     Root
	IDs      IDs
	Mounts   []Mount           `json:",omitempty"` // in this order, after the built-in ones
	Devices  []Device          `json:",omitempty"`
	Sysctl   map[string]string `json:",omitempty"`
	Net      Net
	Limits   Limits
	Process  Process
	Init     bool `json:",omitempty"` // process 1 is a reaper of ours, the command its child

	StopSignal  string `json:",omitempty"` // name or number; "" is SIGTERM
	StopTimeout int    `json:",omitempty"` // seconds until SIGKILL; 0 is DefaultStopTimeout
	Restart     Restart

	Labels map[string]string `json:",omitempty"`
	// Image is what ps shows in its column: a reference, or a directory.
	Image string `json:",omitempty"`
	// ImageDigest is that of the manifest of the image that it is made of.
	ImageDigest string `json:",omitempty"`
	// Remove deletes the container when it has ended.
	Remove bool `json:",omitempty"`
	// NoFiles leaves /etc/hosts, /etc/hostname and /etc/resolv.conf as the root
	// has them.
	NoFiles bool `json:",omitempty"`
	// Files are written into the root in memory (nothing reaches a layer), for
	// what the host must say to programs: path to text.
	Files map[string]string `json:",omitempty"`
}

// Root is where the tree comes from: exactly one field is set.
type Root struct {
	// Dir is a directory that becomes the root as it is.
	Dir string `json:",omitempty"`
	// FS is a text from which the opener given to Boot makes a Rootfs.
	FS string `json:",omitempty"`
	// ReadOnly makes the root read-only for the payload.
	ReadOnly bool `json:",omitempty"`
}

// IDs says who the users of the container are.
type IDs struct {
	// Host makes no user namespace (root only).
	Host bool `json:",omitempty"`
	// Single maps one id only, though more could be had.
	Single bool `json:",omitempty"`
	// Virtual says that the root keeps owners as data. With one mapped id,
	// changes of owners and ids then seem to succeed.
	Virtual bool `json:",omitempty"`
}

// Mount is one mount of the container.
type Mount struct {
	Type     string // "bind" or "tmpfs"
	Source   string `json:",omitempty"` // bind: absolute path on the host
	Target   string // absolute path in the container; made when it doesn't exist
	ReadOnly bool   `json:",omitempty"`
	NoExec   bool   `json:",omitempty"`
	Dev      bool   `json:",omitempty"` // device nodes work (where the kernel allows it)
	Suid     bool   `json:",omitempty"`
	Mode     uint32 `json:",omitempty"` // tmpfs: of its root; 0 is 01777
	Size     string `json:",omitempty"` // tmpfs: as mount(8) has it
	// NoSub leaves the mounts below Source out.
	NoSub bool `json:",omitempty"`
}

// Device is a device node of the host.
type Device struct{ Source, Target string }

// Net is the network.
type Net struct {
	// Mode is NetNone, NetHost or NetUser.
	Mode  string
	Ports []Port `json:",omitempty"`
	// Optional lets NetUser become NetNone with a warning where nothing can
	// connect it.
	Optional bool     `json:",omitempty"`
	DNS      []string `json:",omitempty"`
	Hosts    []string `json:",omitempty"` // NAME:ADDRESS
}

// The modes of Net.
const (
	NetNone = "none" // a loopback of its own
	NetHost = "host"
	NetUser = "user" // pasta or slirp4netns
)

// Port is a port of the container that the host listens for.
type Port struct {
	HostIP    string `json:",omitempty"`
	Host      int
	Container int
	Proto     string // tcp or udp
}

// Process is what runs.
type Process struct {
	Args     []string
	Env      []string
	Cwd      string `json:",omitempty"` // made when it doesn't exist; "" is /
	User     string `json:",omitempty"` // NAME|UID[:GROUP|GID]
	Terminal bool   `json:",omitempty"`
	// Size is that of the terminal when the process begins; 0 by 0 is unknown.
	Size Size `json:",omitzero"`
	// Caps are the names of the capabilities that it may have.
	Caps []string
	// NewPrivs lets set-user-ID programs work.
	NewPrivs bool `json:",omitempty"`
	Seccomp  Seccomp
	Rlimits  []Rlimit `json:",omitempty"`
	// Notify has the owners and devices that one mapped id can't name kept
	// as data (package notify), with IDs.Single, IDs.Virtual and Init.
	Notify bool `json:",omitempty"`
	// Unmasked leaves /proc and /sys as they are.
	Unmasked bool `json:",omitempty"`
}

// Size is that of a terminal.
type Size struct{ Rows, Columns uint16 }

// Seccomp is the filter of system calls; the zero value is moby's profile.
type Seccomp struct {
	Unconfined bool            `json:",omitempty"`
	Profile    json.RawMessage `json:",omitempty"` // in moby's or OCI's form
}

// Rlimit is one resource limit.
type Rlimit struct {
	Name       string // nofile, nproc, … as in setrlimit(2), lower case
	Soft, Hard uint64 // RlimUnlimited is no limit
}

// RlimUnlimited is a limit that is none.
const RlimUnlimited = ^uint64(0)

// Limits are enforced by cgroups; zero is no limit.
type Limits struct {
	Memory     int64             `json:",omitempty"` // bytes
	MemorySwap int64             `json:",omitempty"` // bytes of memory and swap together; -1 is no limit
	CPUs       float64           `json:",omitempty"`
	CPUShares  uint64            `json:",omitempty"`
	CPUSet     string            `json:",omitempty"`
	CPUSetMems string            `json:",omitempty"`
	Pids       int64             `json:",omitempty"` // -1 is no limit
	IOWeight   uint16            `json:",omitempty"`
	IORates    []cgroup.Rate     `json:",omitempty"`
	HugePages  map[string]uint64 `json:",omitempty"` // page size ("2MB") to bytes
}

// Restart is what happens when the payload ends by itself.
type Restart struct {
	OnFailure bool `json:",omitempty"`
	Max       int  `json:",omitempty"` // 0 is no bound
}

// Made are the paths that a start makes in the root to mount on.
func (c *Container) Made() []string {
	made := []string{"/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
	for _, m := range c.spec.Mounts {
		made = append(made, path.Clean("/"+m.Target))
	}
	return made
}

// DefaultCaps is what a payload may have when nothing is said: docker's list
// without raw sockets, device nodes and audit records, which few programs need
// and several attacks did.
func DefaultCaps() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
	}
}

// DefaultStopTimeout is how many seconds a container gets to end.
const DefaultStopTimeout = 10
