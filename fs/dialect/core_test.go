package dialect

import (
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/layer"
)

// sink keeps results alive where allocations are counted.
var sink struct {
	s string
	n int
}

func TestHotPathsDontAllocate(t *testing.T) {
	y, buf := []byte("y"), make([]byte, 0, NameMax)
	for what, f := range map[string]func(){
		"ParseDotWh of an ordinary name": func() { _, k := ParseDotWh("libc.so.6"); sink.n += int(k) },
		"ParseDotWh of a whiteout":       func() { sink.s, _ = ParseDotWh(".wh.libc.so.6") },
		"ParseOpaque":                    func() { sink.n += int(ParseOpaque(y)) },
		"NS names":                       func() { sink.s = NSUser.Opaque() },
		"ClientToDisk of an ordinary name": func() {
			sink.s, _ = ClientToDisk("security.capability", buf, layer.XattrPermUser)
		},
		"ClientToDisk of an escaped name": func() {
			sink.s, _ = ClientToDisk("user.overlay.opaque", buf, layer.XattrPermNone)
		},
		"ParseOverride": func() { o, _ := ParseOverride([]byte("0:0:0755:char-1-3")); sink.n += int(o.UID) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations, want none", what, n)
		}
	}
}

func TestDotWh(t *testing.T) {
	for name, want := range map[string]struct {
		target string
		kind   DotWh
	}{
		"":               {"", DotWhNone},
		"a":              {"", DotWhNone},
		".w":             {"", DotWhNone},
		".wh":            {"", DotWhNone},
		"x.wh.a":         {"", DotWhNone},
		".wh.":           {"", DotWhMeta},
		".wh..":          {"", DotWhMeta},
		".wh...":         {"", DotWhMeta},
		".wh....":        {"...", DotWhWhiteout},
		".wh..wh":        {".wh", DotWhWhiteout},
		".wh..wh.":       {"", DotWhMeta},
		".wh..wh..opq":   {"", DotWhOpaque},
		".wh..wh..opq2":  {"", DotWhMeta},
		".wh..wh.plnk":   {"", DotWhMeta},
		".wh..wh.aufs":   {"", DotWhMeta},
		".wh.a":          {"a", DotWhWhiteout},
		".wh..hidden":    {".hidden", DotWhWhiteout},
		".wh.\xff\xfe\n": {"\xff\xfe\n", DotWhWhiteout},
	} {
		if target, kind := ParseDotWh(name); target != want.target || kind != want.kind {
			t.Errorf("ParseDotWh(%q) = %q, %d, want %q, %d", name, target, kind, want.target, want.kind)
		}
	}
	long := strings.Repeat("n", 251)
	if n, ok := DotWhName(long); !ok || n != ".wh."+long {
		t.Errorf("DotWhName of 251 bytes: %q, %v", n, ok)
	}
	for _, name := range []string{"", ".", "..", long + "n", ".wh.a", ".wh..wh..opq"} {
		if n, ok := DotWhName(name); ok {
			t.Errorf("DotWhName(%q) = %q, want none", name, n)
		}
	}
}
