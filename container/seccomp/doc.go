// Package seccomp turns a profile in the form of OCI or moby into the program
// that the kernel judges system calls by. It makes no system call and holds no
// state: installing the program is its caller's.
//
// Numbers of system calls come from golang.org/x/sys (tables_*.go, written by
// gen.go). A program covers the native architecture and the 32-bit one that
// the same kernel runs; a process of any other is killed. What is newer than
// the tables is answered ENOSYS, so that C libraries fall back.
package seccomp

//go:generate go run gen.go
//go:generate env PLYFS_UPDATE=1 go test -run TestCached .
