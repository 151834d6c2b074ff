// Package guest is the tests that run inside the virtual machine of package vm:
// what needs cgroups of version 2, a systemd, or a kernel that is as old as one
// may be. They act as root, as a user with a systemd --user (plytest), and as one
// without (lone).
package guest
