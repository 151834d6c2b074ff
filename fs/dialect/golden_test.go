package dialect

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOriginOfKernel reads origins that Linux 6.18 overlayfs wrote, on one
// filesystem of each kind, and checks the inode number inside against what
// ls -i said of the lower file.
func TestOriginOfKernel(t *testing.T) {
	for _, g := range []struct {
		what, value, uuid string
		typ, flags        uint8
		ino               uint64
	}{
		{
			"ext4", "00fb1d00019cf8c5edb60f41b2bbb8488ff8a0cafa0300010016cc1c08",
			"9cf8c5edb60f41b2bbb8488ff8a0cafa", 1, 0, 65539,
		},
		{
			"ext4 without a uuid", "00fb1d0001000000000000000000000000000000003f409800d82381c6",
			"00000000000000000000000000000000", 1, 0, 9977919,
		},
		{
			"xfs", "00fb2100812b1301cc002d4e298560a0d7015a4fb384000000000000008dc568b6",
			"2b1301cc002d4e298560a0d7015a4fb3", 0x81, 0, 132,
		},
		{
			"btrfs", "00fb29004d5178f4fd57d845e39b14c01004dfd6fe0501000000000000050000000000000007000000",
			"5178f4fd57d845e39b14c01004dfd6fe", 0x4d, 0, 261,
		},
		{
			"tmpfs", "00fb210001a1330b68ed914c0cabda9d42faa226bfcc207f670600000000000000",
			"a1330b68ed914c0cabda9d42faa226bf", 1, 0, 6,
		},
		{
			"the upper of an index", "00fb1d0401000000000000000000000000000000003940980087725f34",
			"00000000000000000000000000000000", 1, OriginUpper, 9977913,
		},
	} {
		v := unhex(t, g.value)
		o, err := ParseOrigin(v)
		if err != nil {
			t.Errorf("%s: %v", g.what, err)
			continue
		}
		if hex.EncodeToString(o.UUID[:]) != g.uuid || o.Type != g.typ || o.Flags != g.flags || o.Unknown {
			t.Errorf("%s: parsed as %+v", g.what, o)
		}
		if ino, ok := o.Ino(); !ok || ino != g.ino {
			t.Errorf("%s: inode number %d, %v, want %d", g.what, ino, ok, g.ino)
		}
		if got := hex.EncodeToString(o.Append(nil)); got != g.value {
			t.Errorf("%s: written back as %s, want %s", g.what, got, g.value)
		}
		if n := NewOrigin(o.UUID, int32(o.Type), o.FID); g.flags == 0 &&
			hex.EncodeToString(n.Append(nil)) != g.value {
			t.Errorf("%s: NewOrigin gives %+v", g.what, n)
		}
	}
}

func TestOriginForms(t *testing.T) {
	good := "00fb1d00019cf8c5edb60f41b2bbb8488ff8a0cafa0300010016cc1c08"
	for what, v := range map[string]string{
		"empty":            "",
		"a later version":  "01" + good[2:],
		"an unknown flag":  good[:6] + "08" + good[8:],
		"other byte order": good[:6] + "01" + good[8:],
	} {
		o, err := ParseOrigin(unhex(t, v))
		if err != nil || !o.Unknown {
			t.Errorf("%s: %+v, %v, want an unknown origin", what, o, err)
		}
		if _, ok := o.Ino(); ok || len(o.Append(nil)) != 0 {
			t.Errorf("%s: an unknown origin has a number or a value", what)
		}
	}
	for what, v := range map[string]string{
		"one byte":                 "00",
		"header cut":               good[:40],
		"wrong magic":              "00fa" + good[4:],
		"length beyond the value":  "00fb1e" + good[6:],
		"length inside the header": "00fb14" + good[6:],
	} {
		if o, err := ParseOrigin(unhex(t, v)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v, want ErrInvalid", what, o, err)
		}
	}
	// As in the kernel, bytes behind the length are no fault.
	if o, err := ParseOrigin(unhex(t, good+"ffff")); err != nil || len(o.FID) != 8 {
		t.Errorf("trailing bytes: %+v, %v", o, err)
	}
	if o := NewOrigin([16]byte{1}, 1, make([]byte, 235)); !o.Unknown {
		t.Errorf("a file id that doesn't fit gives %+v", o)
	}
}

func TestInoLayouts(t *testing.T) {
	uuid := [16]byte{1}
	for _, g := range []struct {
		what string
		o    Origin
		ino  uint64
		ok   bool
	}{
		{"generic with parent", Origin{Type: 2, FID: unhex(t, "07000000010000000800000002000000")}, 7, true},
		{"tmpfs above 4 Gi", Origin{Type: 1, FID: unhex(t, "ffffffff0600000001000000")}, 1<<32 | 6, true},
		{"xfs above 4 Gi", Origin{UUID: uuid, Type: 0x81, FID: unhex(t, "8300000001000000aaaaaaaa")}, 1<<32 | 0x83, true},
		{"xfs with parent", Origin{
			UUID: uuid, Type: 0x82,
			FID: unhex(t, "8300000000000000aaaaaaaa8400000000000000bbbbbbbb"),
		}, 0x83, true},
		{"erofs", Origin{UUID: uuid, Type: 0x81, FID: unhex(t, "000000002400000000000000")}, 0x24, true},
		{"FUSE", Origin{Type: 0x81, FID: unhex(t, "000000002400000000000000")}, 0, false},
		{"btrfs with parent", Origin{
			Type: 0x4e,
			FID:  unhex(t, "0501000000000000050000000000000007000000020000000000000001000000"),
		}, 261, true},
		{"big endian", Origin{Type: 1, Flags: OriginBigEndian, FID: unhex(t, "0000000700000001")}, 7, true},
		{"nested overlay", Origin{Type: 0xf8, FID: make([]byte, 40)}, 0, false},
		{"number 0", Origin{Type: 1, FID: make([]byte, 8)}, 0, false},
		{"too short", Origin{Type: 1, FID: make([]byte, 7)}, 0, false},
		{"no id", Origin{Type: 0x4d}, 0, false},
	} {
		if ino, ok := g.o.Ino(); ok != g.ok || ok && ino != g.ino {
			t.Errorf("%s: %d, %v, want %d, %v", g.what, ino, ok, g.ino, g.ok)
		}
	}
}

func TestPlyfsOrigin(t *testing.T) {
	const golden = "010102030405060708090a0b0c0d0e0f10efcdab8967452301"
	var uuid [16]byte
	for i := range uuid {
		uuid[i] = byte(i + 1)
	}
	if got := hex.EncodeToString(AppendPlyfsOrigin(nil, uuid, 0x0123456789abcdef)); got != golden {
		t.Errorf("written as %s, want %s", got, golden)
	}
	u, ino, err := ParsePlyfsOrigin(unhex(t, golden))
	if err != nil || u != uuid || ino != 0x0123456789abcdef {
		t.Errorf("read as %x, %x, %v", u, ino, err)
	}
	for _, v := range []string{"", golden[:48], golden + "00", "02" + golden[2:]} {
		if _, _, err := ParsePlyfsOrigin(unhex(t, v)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", v, err)
		}
	}
}

func TestOpaque(t *testing.T) {
	for v, want := range map[string]OpaqueKind{
		"y": OpaqueYes, "x": OpaqueXWhiteouts,
		"": OpaqueNo, "0": OpaqueNo, "n": OpaqueNo, "Y": OpaqueNo, "yy": OpaqueNo, "y\x00": OpaqueNo,
	} {
		if got := ParseOpaque([]byte(v)); got != want {
			t.Errorf("ParseOpaque(%q) = %d, want %d", v, got, want)
		}
	}
}

func TestRedirect(t *testing.T) {
	long := strings.Repeat("n", 255)
	for v, absolute := range map[string]bool{
		"mv": false, "...": false, long: false, " ": false, "\xff": false,
		"/mv": true, "/a/b/c": true, "/...": true,
		strings.Repeat("/"+long, 16): true, // 4096 bytes
	} {
		path, abs, err := ParseRedirect([]byte(v))
		if err != nil || path != v || abs != absolute {
			t.Errorf("ParseRedirect(%.20q) = %.20q, %v, %v", v, path, abs, err)
		}
	}
	for _, v := range []string{
		"", "/", "//", "/a/", "/a//b", "//a", "a/b", "a/", ".", "..", "/.", "/a/..", "/../a", "/a/./b",
		"mv\x00", "/a\x00b", long + "n", "/" + long + "n", strings.Repeat("/"+long, 16) + "/n",
	} {
		if path, _, err := ParseRedirect([]byte(v)); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseRedirect(%.20q) = %.20q, %v, want ErrInvalid", v, path, err)
		}
	}
}

func TestMetacopy(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	for _, v := range []string{"", "00040000", "00240001" + digest} {
		if err := ParseMetacopy(unhex(t, v)); err != nil {
			t.Errorf("ParseMetacopy(%q): %v", v, err)
		}
	}
	for _, v := range []string{
		"00", "000300", "01040000", "00050000", "0004000000", "00440001" + digest,
		"00450001" + digest + digest + "00",
	} {
		if err := ParseMetacopy(unhex(t, v)); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseMetacopy(%q): %v, want ErrInvalid", v, err)
		}
	}
	if ParseMetacopy(MetacopyValue()) != nil {
		t.Error("our own metacopy value is refused")
	}
}

func TestNlink(t *testing.T) {
	for v, want := range map[string]struct {
		upper bool
		delta int
	}{
		"U+0": {true, 0}, "U-1": {true, -1}, "L+12": {false, 12}, "L-3": {false, -3},
		"U+2147483647": {true, 1<<31 - 1}, "U-2147483648": {true, -1 << 31},
	} {
		upper, delta, err := ParseNlink([]byte(v))
		if err != nil || upper != want.upper || delta != want.delta {
			t.Errorf("ParseNlink(%q) = %v, %d, %v", v, upper, delta, err)
		}
		if got := string(AppendNlink(nil, want.upper, want.delta)); got != v {
			t.Errorf("AppendNlink gives %q, want %q", got, v)
		}
	}
	for _, v := range []string{"", "U", "U+", "U1", "X+1", "U+1x", "U+ 1", "U++1", "U+2147483648", "U+1\x00", "L+00000000001"} {
		if _, _, err := ParseNlink([]byte(v)); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseNlink(%q): %v, want ErrInvalid", v, err)
		}
	}
}
