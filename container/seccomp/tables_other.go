//go:build !amd64 && !arm64

package seccomp

// arches is empty: Compile then says that the machine isn't known.
var arches []arch
