package union

import (
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/layer"
)

// TestInUse: two mounts never write to one upper, nor use one work directory;
// when the first has ended the next may.
func TestInUse(t *testing.T) {
	e := newEnv(t, 1)
	e.mkdir("work2")
	e.mkdir("upper2")
	open := func(upper, work string) (*FS, error) {
		o := e.o
		o.Upper, o.Work = e.path(upper), e.path(work)
		s, err := layer.Open(&o)
		if err != nil {
			t.Fatal(err)
		}
		return New(s, &o)
	}
	first, err := open("upper", "work")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{"upper", "work2", "upperdir " + e.path("upper") + " is in use"},
		{"upper2", "work", "workdir " + e.path("work") + " is in use"},
	} {
		fs, err := open(c[0], c[1])
		if err == nil {
			_ = fs.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s and %s: %v, want %q", c[0], c[1], err, c[2])
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"upper", "work2"}, {"upper", "work"}, {"upper2", "work"}} {
		fs, err := open(c[0], c[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := fs.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
