package container

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/steps"
)

// begin makes the process what a program would find that was started: root of its
// namespace, with the descriptors that it needs and no other.
func (q *quickInit) begin(stage int) error {
	if !q.Inner.single() {
		q.Call(unix.SYS_SETGROUPS, 0, 0)
	}
	q.Call(unix.SYS_SETRESGID, 0, 0, 0)
	q.Call(unix.SYS_SETRESUID, 0, 0, 0)
	// 4 is the order here.
	q.Call(unix.SYS_DUP3, fdInit, quickMonitor, unix.O_CLOEXEC)
	q.Call(unix.SYS_DUP3, stage, quickStage, unix.O_CLOEXEC)
	q.Call(unix.SYS_CLOSE_RANGE, quickStage+1, ^uintptr(0)>>32, 0)
	// Without a monitor nobody would know what becomes of us.
	q.Call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, int(unix.SIGKILL), 0, 0, 0)
	q.Call(unix.SYS_UMASK, 0o022)
	return nil
}

// mountRoot mounts the root and hands its descriptor over.
func (q *quickInit) mountRoot(open Opener) error {
	fs, err := open(q.Spec.Root.FS, q.Dir)
	if err != nil {
		return err
	}
	on := mountOn()
	q.mount(unix.MS_REC | unix.MS_SLAVE)
	q.open("/dev/fuse", unix.O_RDWR).Into(q.fd)
	q.moveTo(q.fd, quickFuse)
	call := fs.MountCall(quickFuse)
	q.Call(unix.SYS_MOUNT, call.Source, on, call.Type, call.Flags, call.Data)
	q.Call(q.sends(quickStage, message{What: "root"}, quickFuse))
	q.close(quickFuse)
	q.close(quickStage)
	q.root = q.open(on, unix.O_PATH|unix.O_DIRECTORY).Result()
	q.point("init.step")
	return nil
}

// ask gives the databases of users to the monitor, and waits until it has put us
// into our cgroup and connected our network. It has the kernel ask for the
// program meanwhile, see initProcess.prefetch.
func (q *quickInit) ask() error {
	q.Call(q.sends(quickMonitor, message{What: who}))
	for _, name := range databases {
		q.sendFile(name)
	}
	q.prefetch()
	room := q.reply.bytes()
	q.Call(unix.SYS_RECVFROM, quickMonitor, unsafe.Pointer(unsafe.SliceData(room)), len(room), 0, 0, 0).Least(len(room))
	q.Call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // see start
	flags := unix.CLONE_NEWCGROUP
	if timeAtExec() {
		flags |= unix.CLONE_NEWTIME
	}
	q.Call(unix.SYS_UNSHARE, flags)
	q.point("init.step")
	return nil
}

// sendFile sends a file of the root to the monitor, after a byte so that it isn't
// empty; what is no plain file is.
func (q *quickInit) sendFile(name string) {
	room := new([1 + maxQuickFile]byte)
	iov := &unix.Iovec{Base: &room[0]}
	length := (*uintptr)(unsafe.Pointer(&iov.Len))
	*length = 1
	hdr := &unix.Msghdr{Iov: iov}
	hdr.SetIovlen(1)
	var empty []*steps.Jump
	try := q.openIn(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	try.Into(q.fd)
	empty = append(empty, try.Else(steps.AnyError))
	q.statx(q.fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, q.st)
	empty = append(empty, q.isKind(unix.S_IFREG).Else(steps.Unlike))
	q.Call(unix.SYS_PREAD64, q.fd, unsafe.Pointer(&room[1]), maxQuickFile, 0).Into(q.to)
	q.close(q.fd)
	q.Add(q.to, 1).Into(q.to)
	q.Store(q.to, unsafe.Pointer(length))
	for _, j := range empty {
		j.Here()
	}
	q.Call(unix.SYS_SENDMSG, quickMonitor, unsafe.Pointer(hdr), unix.MSG_NOSIGNAL)
}

// prefetch is that of initProcess.
func (q *quickInit) prefetch() {
	var found []*steps.Jump
	for _, name := range candidates(q.Spec.Process.Args[0], q.Spec.Process.environment(q.Spec.Hostname, "")) {
		if !path.IsAbs(name) {
			break
		}
		try := q.openIn(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
		try.Into(q.fd)
		next := try.Else(steps.AnyError)
		q.Call(unix.SYS_READAHEAD, q.fd, 0, maxPrefetch).Or(steps.AnyError)
		q.close(q.fd)
		found = append(found, q.Jump())
		next.Here()
	}
	for _, j := range found {
		j.Here()
	}
}

// build mounts everything into the new root.
func (q *quickInit) build() error {
	q.mountAt("/proc", "proc", inert)
	q.close(q.fd)
	q.mountScratch()
	q.mountDev()
	q.mountSys()
	for i, name := range slices.Sorted(maps.Keys(q.Spec.Files)) {
		q.mountFile(fmt.Sprintf("file%d", i), name)
	}
	if !q.Spec.Process.Unmasked {
		q.mask()
	}
	q.point("init.step")
	return nil
}

func (q *quickInit) mountScratch() {
	q.newMount("tmpfs", inert, scratchOptions...)
	q.scratch = q.Call(unix.SYS_FCNTL, q.fd, unix.F_DUPFD_CLOEXEC, 0).Result()
	q.open("/proc", unix.O_PATH|unix.O_DIRECTORY).Into(q.to)
	q.attach()
	q.close(q.fd)
	q.Call(unix.SYS_MKDIRAT, q.scratch, "empty", 0o555)
}

func (q *quickInit) mountDev() {
	q.newMount("tmpfs", devAttrs, devOptions...)
	q.dev = q.Call(unix.SYS_FCNTL, q.fd, unix.F_DUPFD_CLOEXEC, 0).Result()
	q.placeAt("/dev")
	q.attach()
	q.close(q.fd)
	for _, d := range standard {
		q.device(d.name, d.major, d.minor)
		q.Call(unix.SYS_MKNODAT, q.dev, d.name, unix.S_IFREG|0o644, 0)
		q.Call(unix.SYS_OPENAT, q.dev, d.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0).Into(q.to)
		q.attach()
		q.close(q.fd)
	}
	for _, l := range devLinks {
		q.Call(unix.SYS_SYMLINKAT, l[1], q.dev, l[0])
	}
	for _, m := range q.devMounts() {
		q.newMount(m.fsType, m.attrs, m.options...)
		q.Call(unix.SYS_MKDIRAT, q.dev, m.dir, 0o755)
		q.Call(unix.SYS_OPENAT, q.dev, m.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0).Into(q.to)
		q.attach()
		q.close(q.fd)
	}
}

func (q *quickInit) mountSys() {
	create, mount := q.newMount("sysfs", inert|unix.MOUNT_ATTR_RDONLY)
	refused := []*steps.Jump{create.Else(unix.EPERM), mount.Else(unix.EPERM)}
	made := q.Jump()
	for _, j := range refused {
		j.Here()
	}
	q.clone(unix.AT_FDCWD, "/sys", unix.AT_RECURSIVE)
	q.setFlags(q.fd, inert|unix.MOUNT_ATTR_RDONLY, true)
	made.Here()
	q.placeAt("/sys")
	q.attach()
	q.close(q.fd)
	try := q.openPlain("/sys/fs/cgroup", unix.O_PATH|unix.O_DIRECTORY)
	try.Into(q.to)
	none := try.Else(steps.AnyError)
	var shown *steps.Jump
	var st unix.Statfs_t
	if unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
		create, mount := q.newMount("cgroup2", inert|unix.MOUNT_ATTR_RDONLY)
		refused := []*steps.Jump{create.Else(steps.AnyError), mount.Else(steps.AnyError)}
		q.attach()
		q.close(q.fd)
		shown = q.Jump()
		for _, j := range refused {
			j.Here()
		}
	}
	q.hide()
	if shown != nil {
		shown.Here()
	}
	none.Here()
}

func (q *quickInit) mountFile(file, name string) {
	text := []byte(q.Spec.Files[name])
	q.Call(unix.SYS_OPENAT, q.scratch, file, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644).Into(q.fd)
	if len(text) > 0 {
		q.Call(unix.SYS_WRITE, q.fd, unsafe.Pointer(&text[0]), len(text)).Least(len(text))
	}
	q.close(q.fd)
	q.clone(q.scratch, file, 0)
	q.touch(name)
	q.attach()
	q.close(q.fd)
}

func (q *quickInit) mask() {
	q.device("null", 1, 3)
	q.close(q.fd)
	for _, name := range masked {
		try := q.openPlain(name, unix.O_PATH)
		try.Into(q.to)
		none := try.Else(unix.ENOENT)
		q.hide()
		none.Here()
	}
	for _, name := range readOnly {
		try := q.openPlain(name, unix.O_PATH)
		try.Into(q.to)
		none := try.Else(unix.ENOENT)
		q.clone(q.to, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
		q.setFlags(q.fd, unix.MOUNT_ATTR_RDONLY, true)
		q.attach()
		q.close(q.fd)
		none.Here()
	}
}

// hide covers what to is open on, and closes it.
func (q *quickInit) hide() {
	q.statx(q.to, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, q.st)
	file := q.isKind(unix.S_IFDIR).Else(steps.Unlike)
	q.clone(q.scratch, "empty", 0)
	q.setFlags(q.fd, unix.MOUNT_ATTR_RDONLY, false)
	covered := q.Jump()
	file.Here()
	q.device("null", 1, 3)
	covered.Here()
	q.attach()
	q.close(q.fd)
}
