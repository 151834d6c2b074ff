// Package try runs `plyfs try` on the machine's own root, as an unprivileged
// user with one id and as root: packages are installed, programs removed,
// changes looked at, put on the host, taken back, and the command line is
// killed. Nothing outside of the test's directory may change.
package try
