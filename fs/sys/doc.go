// Package sys is the only room that makes file system calls. Everything is
// (dirfd, name): a name is one path component (or "" for the descriptor
// itself), nothing follows a symbolic link in the last component, and no
// absolute path is ever built from a tree. That closes the whole class of
// faults where a server is led outside its layers or deadlocks on its own
// mount by a path that crosses it.
//
// All functions return a syscall.Errno (0 = done): the reason of a failure
// travels to the client as a plain number and costs no allocation. Calls that
// take a name of up to 255 bytes do not allocate.
//
// The package holds no locks. Feature probes are variables that tests switch
// off to walk the fallback.
package sys
