package main

import (
	"os"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-worker" { // run starts this binary again
		main()
		return
	}
	harness.Main(m)
}

// TestBench runs the whole comparison on a small scale: a benchmark that
// nobody runs rots.
func TestBench(t *testing.T) {
	require.Root(t)
	require.FUSE(t)
	require.Overlay(t)
	c, err := parse([]string{"-plyfs", "plyfs=" + harness.DropIn(t), "-rounds", "1", "-files", "600", "-untar", "300"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.variants { // what is under test may be fuse-overlayfs
		c.variants[i].Plyfs = c.variants[i].Plyfs && harness.IsPlyfs()
	}
	r, err := run(c, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + r.table())
	for _, v := range c.variants {
		for _, work := range works {
			if _, ok := r.median("pinned", v.Name, work); !ok {
				t.Errorf("%s was not measured for %s", work, v.Name)
			}
		}
	}
}
