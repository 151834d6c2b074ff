// Package nsfork starts a program in the namespaces of another process, the
// user and time namespaces included. The kernel lets only a process with a
// single thread enter those, and a Go program has many; so this package forks as
// the syscall package does, and the child, which has one thread, enters the
// namespaces by system calls alone and forks again (an entered pid namespace
// is that of children) before it executes the program.
//
// It takes syscall.ForkLock while it forks, like every other fork in the
// program. The functions of the runtime that it links to are ones that the
// runtime promises to keep (runtime/proc.go, go.dev/issue/67401): a test fails
// when that promise is broken.
package nsfork
