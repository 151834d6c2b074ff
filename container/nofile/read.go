//go:build amd64 || arm64

package nofile

//go:noescape
func read(to *limit)
