// Command startup measures how long it takes to start and to end something that
// does nothing: /bin/true in a container of plyfs, crun and bubblewrap on one and
// the same root of busybox, and on a view of the host's own tree. All as an
// unprivileged user, interleaved round by round. It prints medians as a Markdown
// table.
//
//	go run ./integration/startup -plyfs plyfs=bin/plyfs [-plyfs other=PATH]… [-rounds 30] [-write docs/performance.md]
//
// It needs root: to become the user, and to hide the unified hierarchy of a
// hybrid machine, which crun refuses.
//
// The tests beside it count what a start does (processes, programs, syncs) and
// list what is linked into it, so that it can't get slower unseen.
package main
