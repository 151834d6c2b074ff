package fusefs

import (
	"unsafe"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
)

// body is a request's struct without the header that it starts with.
func body[T any](v T) []byte {
	p := unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))
	return append([]byte(nil), p[inHeaderSize:]...)
}

func readIn(size uint32, off uint64) []byte { return body(fuse.ReadIn{Size: size, Offset: off}) }
