package counts

import (
	"fmt"
	"testing"

	"github.com/plyfs/plyfs/fs/layer"
)

// TestPassthrough: data costs no message, an open file costs two.
func TestPassthrough(t *testing.T) {
	m := newMountIO(t, layer.IOPassthrough, func(lower string) {
		write(t, lower+"/big", 10<<20)
		write(t, lower+"/small", 1000)
		write(t, lower+"/change", 100000)
	})
	m.do("stat", "@big")
	m.do("stat", "@small")
	m.do("stat", "@change")
	open := counted{"OPEN": 1, "RELEASE": 1, "FLUSH": 1, "GETATTR": 1}
	m.atMost("read of 10 MB", m.count(func() { m.do("read", "@big") }), open)
	m.warm("again", func() { m.do("read", "@big") }, counted{"OPEN": 1, "RELEASE": 1})
	m.atMost("read of a small file", m.count(func() { m.do("read", "@small") }), counted{"OPEN": 1, "RELEASE": 1, "READ": 1, "GETATTR": 1})
	m.warm("again", func() { m.do("read", "@small") }, counted{"OPEN": 1, "RELEASE": 1})
	m.atMost("append to a lower file and fsync", m.count(func() { m.do("append", "@change") }),
		counted{"OPEN": 1, "FSYNC": 1, "RELEASE": 1, "GETATTR": 1, "GETXATTR": 1})
	m.atMost("10 MB", m.count(func() { m.do("tar", "@new", fmt.Sprint(10<<20)) }),
		counted{"LOOKUP": 1, "CREATE": 1, "SETATTR": 3, "GETXATTR": 3, "GETATTR": 3, "RELEASE": 1})
}
