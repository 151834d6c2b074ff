// Package container runs a process tree on a root filesystem, isolated by
// namespaces, cgroups, capabilities and seccomp, with and without privileges.
// There is no daemon: every container has a small monitor process of its own,
// and what is known of it lies in files.
//
// It knows nothing of union filesystems. A root that is served by a process
// (a FUSE filesystem) is plugged in through [Rootfs]; the program's main calls
// [Boot] first, because every process below is the same program started again.
//
// # The processes
//
//	monitor   who called [Container.Start]: the command line itself, or with
//	          -d a process in the background. It holds the terminal, the log
//	          and the exit status, and is the parent of the next two. With a
//	          terminal it is always one in the background, so that the command
//	          line can leave it (console.go, attach.go); a command that is
//	          executed with a terminal has a keeper in its place (keep.go).
//	stage     runs without privileges in a user namespace
//	          "outer" that maps the ids that the container gets. It opens the
//	          layers, starts init, and then serves the root until the mount is
//	          gone (or ends at once when the root is a plain directory). It
//	          stays in the cgroup of its caller, or is put beside that of the
//	          payload with the monitor where systemd makes them: a payload that
//	          runs out of memory must not take its own root along.
//	init      runs in all the new namespaces, from a file that the payload
//	          can't write to (see safeSelf); its user
//	          namespace is a child of the stage's with the same ids, so that
//	          root in it has no power over the server of its root. It opens
//	          /dev/fuse there (the kernel wants that), mounts, sends the
//	          descriptor to the stage and closes it, builds the tree, gives up
//	          every right that it doesn't need, and becomes the payload. For an
//	          ordinary container it is no program, but a copy of the stage that
//	          executes a list of system calls (quick.go).
//
// As root the stage stays in the initial user namespace, and the ids of init's
// are a range that no file on the host belongs to; files keep their ids,
// because FUSE speaks of ids as init's namespace numbers them, and directories
// of the host are mounted with shifted ids.
//
//	monitor                     stage                       init
//	--------------------------  --------------------------  -------------------------
//	start stage ------------->
//	newuidmap, newgidmap        (Go starts)
//	order{…}, descriptors --->
//	mapped ------------------>  clone(CLONE_PARENT|NEW…)->  (Go starts)
//	          <---------------  started{pid}
//	the container gets its place
//	entered ----------------->  open layers
//	cgroups
//	                                           <----------  mount FUSE, send its fd
//	          <-------------------------------------------  mounted (root's only)
//	forbid devices, then go ------------------------------> unshare cgroup, time
//	                            serve                       mounts, pivot, devices
//	          <-------------------------------------------  terminal's fd, or none
//	          <-------------------------------------------  failure{…}, or EOF at exec
//
// Whoever dies takes the others along: init dies with the monitor (a parent
// death signal), the server with the last user of its mount, and a container
// whose server is gone is killed by its monitor.
//
// # Locks
//
// [Store] has one lock file for names (held while one is taken or given up) and
// each container one of its own (held while its state is written); a name's
// lock is taken first. Readers need none: a state is replaced by rename.
package container
