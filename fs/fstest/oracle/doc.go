// Package oracle plays random sequences of file operations on kernel overlayfs
// and on plyfs, over the same layers, and says where the two disagree.
//
// A sequence is: lower layers and an upper made by chance; both filesystems
// mounted over them; 5 to 40 operations, each played on both, its result and
// what stat then says compared; the whole trees compared; both mounted again
// and compared; the uppers exchanged between the two filesystems and compared
// once more. What the kernel gives is right, except for the differences that
// are wanted: they are a table, each with its reason (differences.go).
//
// The kernel's mounts are made by the test's process. plyfs is served by a
// second process, the same program started again (server.go), for as long as
// the test runs: a process that serves what it touches can deadlock, and
// starting one per sequence costs more than the sequence.
//
// What a sequence is made of is drawn by rapid, so that a failure shrinks.
// The operations are drawn while they are played, with the kernel's tree in
// view: most of them hit something that exists.
package oracle
