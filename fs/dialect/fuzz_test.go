package dialect

import (
	"bytes"
	"encoding/hex"
	"errors"
	"runtime"
	"testing"

	"github.com/plyfs/plyfs/fs/layer"
)

// bounded fails when f allocates more than a few times what it was given: a
// length field must never decide how much memory is taken.
func bounded(t *testing.T, given int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > uint64(8*given+1<<20) {
		t.Errorf("%d bytes allocated for %d", n, given)
	}
}

// refused fails unless err says that the value is bad.
func refused(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("refused with %v, want ErrInvalid", err)
	}
}

func FuzzOrigin(f *testing.F) {
	for _, s := range []string{
		"", "00", "00fb1d00019cf8c5edb60f41b2bbb8488ff8a0cafa0300010016cc1c08",
		"00fb2100812b1301cc002d4e298560a0d7015a4fb384000000000000008dc568b6",
		"00fb29004d5178f4fd57d845e39b14c01004dfd6fe0501000000000000050000000000000007000000",
	} {
		v, _ := hex.DecodeString(s)
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		bounded(t, len(v), func() {
			o, err := ParseOrigin(v)
			if err != nil {
				refused(t, err)
				return
			}
			o.Ino()
			if w := o.Append(nil); !o.Unknown && !bytes.Equal(w, v[:min(len(w), len(v))]) {
				t.Errorf("%x is written back as %x", v, w)
			}
		})
		if uuid, ino, err := ParsePlyfsOrigin(v); err != nil {
			refused(t, err)
		} else if w := AppendPlyfsOrigin(nil, uuid, ino); !bytes.Equal(w, v) {
			t.Errorf("%x is written back as %x", v, w)
		}
	})
}

func FuzzMarks(f *testing.F) {
	for _, s := range []string{"", "y", "/a/b", "a", "..", "/", "U+1", "L-1", "\x00\x04\x00\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		bounded(t, len(v), func() {
			ParseOpaque(v)
			if path, absolute, err := ParseRedirect(v); err != nil {
				refused(t, err)
			} else if path != string(v) || absolute != (v[0] == '/') {
				t.Errorf("redirect %q is read as %q, %v", v, path, absolute)
			}
			if err := ParseMetacopy(v); err != nil {
				refused(t, err)
			}
			if upper, delta, err := ParseNlink(v); err != nil {
				refused(t, err)
			} else if u, d, err := ParseNlink(AppendNlink(nil, upper, delta)); err != nil || u != upper || d != delta {
				t.Errorf("nlink %q is read as %v %d, then %v %d", v, upper, delta, u, d)
			}
		})
	})
}

func FuzzOverride(f *testing.F) {
	for _, s := range []string{"0:0:0755:dir", "0:0:555", "-2:-2:100644", "0:0:0660:block-8-1", "0:0:660:char:1:3", "::"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		bounded(t, len(v), func() {
			o, err := ParseOverride(v)
			if err != nil {
				refused(t, err)
				return
			}
			// What we write, we and all others read in the same way.
			if again, err := ParseOverride(o.Append(nil)); err != nil || again != o {
				t.Errorf("%q is read as %+v, then %+v, %v", v, o, again, err)
			}
		})
	})
}

func FuzzACL(f *testing.F) {
	v, _ := hex.DecodeString(aclGolden)
	f.Add(v, uint32(0o644))
	f.Add([]byte{2, 0, 0, 0}, uint32(0))
	f.Fuzz(func(t *testing.T, v []byte, mode uint32) {
		bounded(t, len(v), func() {
			acl, err := ParseACL(v)
			if err != nil {
				refused(t, err)
			}
			access, newMode, _, err := Inherit(v, mode, false)
			if err == nil && newMode&^mode != 0 {
				t.Errorf("inheriting adds to mode %o: %o", mode, newMode)
			}
			if got, err := ParseACL(access); access != nil && (err != nil || len(got) != len(acl)) {
				t.Errorf("the inherited ACL %x is invalid: %v", access, err)
			}
			ShiftIDs(v, func(uint32) uint32 { return 1 }, func(uint32) uint32 { return 2 })
		})
	})
}

func FuzzCaps(f *testing.F) {
	v, _ := hex.DecodeString("0100000300200000000000000000000000000000a0860100")
	f.Add(v)
	f.Fuzz(func(t *testing.T, v []byte) {
		c, err := ParseCaps(v)
		if err != nil {
			refused(t, err)
			return
		}
		if w := c.Append(nil); c.Version > 1 && !bytes.Equal(w, v) {
			t.Errorf("%x is written back as %x", v, w)
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{".wh.a", ".wh..wh..opq", "user.overlay.overlay.x\x00user.containers.override_security.x\x00"} {
		f.Add([]byte(s), uint8(2))
	}
	f.Fuzz(func(t *testing.T, v []byte, mode uint8) {
		m := layer.XattrPermissions(mode % 3)
		target, kind := ParseDotWh(string(v))
		if n, ok := DotWhName(target); kind == DotWhWhiteout && len(v) <= NameMax && (!ok || n != string(v)) {
			t.Errorf("%q is a whiteout of %q, whose whiteout is %q, %v", v, target, n, ok)
		}
		n := len(v)
		bounded(t, n, func() {
			if got := FilterList(bytes.Clone(v), m); len(got) > n {
				t.Errorf("%q grows to %q", v, got)
			}
		})
	})
}
