package dialect

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

func TestCapsGolden(t *testing.T) {
	const netRaw = 1 << unix.CAP_NET_RAW
	for _, g := range []struct {
		value string
		want  Caps
	}{
		// setcap cap_net_raw+ep by root, and by root of a user namespace.
		{"0100000200200000000000000000000000000000", Caps{Version: 2, Effective: true, Permitted: netRaw}},
		{
			"0100000300200000000000000000000000000000a0860100",
			Caps{Version: 3, Effective: true, Permitted: netRaw, RootID: 100000},
		},
		{"0000000200000000002000000100000000000000", Caps{Version: 2, Permitted: 1 << 32, Inheritable: netRaw}},
	} {
		c, err := ParseCaps(unhex(t, g.value))
		if err != nil || c != g.want {
			t.Errorf("%s: %+v, %v, want %+v", g.value, c, err, g.want)
		}
		if got := hex.EncodeToString(c.Append(nil)); got != g.value {
			t.Errorf("written as %s, want %s", got, g.value)
		}
	}
	v3, _ := ParseCaps(unhex(t, "0100000300200000000000000000000000000000a0860100"))
	if got := hex.EncodeToString(v3.V2().Append(nil)); got != "0100000200200000000000000000000000000000" {
		t.Errorf("version 3 as version 2: %s", got)
	}
	if c, err := ParseCaps(unhex(t, "010000010020000001000000")); err != nil ||
		c != (Caps{Version: 1, Effective: true, Permitted: netRaw, Inheritable: 1}) {
		t.Errorf("version 1: %+v, %v", c, err)
	}
	for _, v := range []string{
		"", "000000", "00000002", "0100000200200000000000000000000000000000ff",
		"0100000300200000000000000000000000000000", "0000000400200000000000000000000000000000",
		"0200000200200000000000000000000000000000",
	} {
		if c, err := ParseCaps(unhex(t, v)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %+v, %v, want ErrInvalid", v, c, err)
		}
	}
}

// TestCapsAsKernel sets what Append makes on a file: the kernel takes it and
// gives the same back.
func TestCapsAsKernel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	c := Caps{Version: 2, Effective: true, Permitted: 1<<unix.CAP_CHOWN | 1<<unix.CAP_BPF}
	if err := unix.Setxattr(path, CapsName, c.Append(nil), 0); err != nil {
		require.Missing(t, "the right to set capabilities: %v", err)
	}
	if got, err := ParseCaps(readXattr(t, path, CapsName)); err != nil || got != c {
		t.Errorf("read back as %+v, %v, want %+v", got, err, c)
	}
}

func TestCapsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Caps{
			Version:     rapid.IntRange(2, 3).Draw(t, "version"),
			Effective:   rapid.Bool().Draw(t, "effective"),
			Permitted:   rapid.Uint64().Draw(t, "permitted"),
			Inheritable: rapid.Uint64().Draw(t, "inheritable"),
		}
		if c.Version == 3 {
			c.RootID = rapid.Uint32().Draw(t, "rootid")
		}
		if got, err := ParseCaps(c.Append(nil)); err != nil || got != c {
			t.Fatalf("%+v is read back as %+v, %v", c, got, err)
		}
	})
}
