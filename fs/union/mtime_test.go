package union

import (
	"testing"
	"time"

	"github.com/plyfs/plyfs/fs/layer"
)

// TestMtimeOfWriteback: data that comes long after the time that was set last
// leaves that time alone where the kernel will send the new one, and takes the
// time of the write where it can't: in a user namespace without the first root.
func TestMtimeOfWriteback(t *testing.T) {
	for _, can := range []bool{true, false} {
		e := newEnv(t, 1)
		e.open()
		if can {
			e.fs.ids.uid.known = nil
		} else {
			e.fs.ids.uid.known = []layer.IDRange{{Host: 0, Target: 1000, Length: 1}}
		}
		f := e.c.create("f", 0o644)
		var a Attr
		set := func(when time.Time) {
			ch := AttrChange{Valid: SetMtime, Mtime: Time{when.Unix(), uint32(when.Nanosecond())}}
			e.c.check("setattr", e.fs.SetAttr(caller, f, &ch, &a))
		}
		hour := time.Now().Add(-time.Hour)
		set(hour)
		e.c.write(f, "late", 0)
		got := e.c.attr(f).Mtime
		if old := got.Sec == hour.Unix(); old != can {
			t.Errorf("kernel can tell: %v; mtime after a write %v, set before %v", can, got, hour)
		}
		// Data and time of one flush, whichever comes first.
		now := time.Now()
		set(now)
		e.c.write(f, "beside", 0)
		if got := e.c.attr(f).Mtime; got != (Time{now.Unix(), uint32(now.Nanosecond())}) {
			t.Errorf("kernel can tell: %v; mtime %v, the flush said %v", can, got, now)
		}
	}
}
