package mountd_test

import (
	"context"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCommitHasUnwrittenData: a file that somebody still has open is whole in
// the committed layer.
func TestCommitHasUnwrittenData(t *testing.T) {
	if !inBox(t) {
		return
	}
	w, ctx := newWorld(t), context.Background()
	w.layer("base", "", func(dir string) { write(t, dir+"/d/lower", "old") })
	m := w.prepare("c", "base", nil)
	upper := w.upper("c")
	w.with(m, func(dir string) {
		data := make([]byte, 8<<20)
		for i := range data {
			data[i] = byte(i % 251)
		}
		var open []*os.File
		for _, name := range []string{"/big", "/d/lower", "/d/small"} {
			f, err := os.OpenFile(dir+name, os.O_RDWR|os.O_CREATE, 0o600)
			must(t, err)
			_, err = f.Write(data)
			must(t, err)
			open = append(open, f)
		}
		mapped, err := unix.Mmap(int(open[2].Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		must(t, err)
		copy(mapped, "mapped")
		must(t, w.Commit(ctx, "top", "c"))
		for _, name := range []string{"/big", "/d/lower"} {
			if read(t, upper+name) != string(data) {
				t.Errorf("%s is not whole in the layer", name)
			}
		}
		if got := read(t, upper+"/d/small"); got[:6] != "mapped" || got[6:] != string(data[6:]) {
			t.Errorf("a mapped page is not in the layer")
		}
		must(t, unix.Munmap(mapped))
		for _, f := range open {
			must(t, f.Close())
		}
	})
}

// TestCommitWaitsForSlowWrites: syncfs(2) alone starts the writing and returns. A
// server that is a second late with it shows whether Commit waits for the
// writes themselves, and for those that have a file copied up before.
func TestCommitWaitsForSlowWrites(t *testing.T) {
	if !inBox(t) {
		return
	}
	for _, tt := range []struct{ point, name string }{
		{"write", "/new"},
		{"write", "/d/lower"},
		{"copyup.made", "/d/lower"},
		{"copyup.made", "/d/mapped"},
	} {
		t.Run(tt.point+tt.name, func(t *testing.T) {
			t.Setenv("PLYFS_FAIL", tt.point+":sleep") // the server has it
			w, ctx := newWorld(t), context.Background()
			w.layer("base", "", func(dir string) {
				write(t, dir+"/d/lower", "old")
				write(t, dir+"/d/mapped", "old")
				write(t, dir+"/d/other", "old")
			})
			m := w.prepare("c", "base", nil)
			upper := w.upper("c")
			read(t, m[0].Source+"/d/other") // from now on opens are not told to the server
			how := os.O_RDWR
			if tt.name == "/new" {
				how |= os.O_CREATE
			}
			f, err := os.OpenFile(m[0].Source+tt.name, how, 0o600)
			must(t, err)
			if tt.name == "/d/mapped" { // a mapping is all that is left of it
				page, err := unix.Mmap(int(f.Fd()), 0, 3, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				must(t, err)
				copy(page, "new")
				defer func() { must(t, unix.Munmap(page)) }()
				must(t, f.Close())
			} else {
				_, err = f.WriteString("new")
				must(t, err)
				defer func() { must(t, f.Close()) }()
			}
			must(t, w.Commit(ctx, "top", "c"))
			if got, err := os.ReadFile(upper + tt.name); err != nil || string(got) != "new" {
				t.Errorf("the layer has %q, %v", got, err)
			}
		})
	}
}
