//go:build !amd64

package seccomp

// Nothing is made in advance for this machine.
const defaultCaps, defaultProgram = "", ""
