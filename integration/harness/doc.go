// Package harness is what the integration tests share: the binary under test
// where every user can run it, directories and commands of an unprivileged
// user, namespaces, mounts, and a last look for whatever a test left behind.
//
// The binary is $PLYFS_BIN or built from this module. It may be another
// implementation (PLYFS_BIN=/usr/bin/fuse-overlayfs): that checks the tests.
//
// Everything that a test package makes lies below one directory in /var/tmp,
// and every process that it starts has that directory in its environment, so
// that Main can find what outlived the tests.
package harness
