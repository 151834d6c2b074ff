// Package counts holds the tests of how many messages the kernel sends to a
// mount for what programs do every day. A message is a switch to the server and
// back; most of what makes a FUSE filesystem slow is messages that need not be.
//
// The server runs in the test process and its clients are other processes, so
// that nothing waits for itself.
package counts
