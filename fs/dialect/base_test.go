package dialect

import (
	"strings"
	"testing"
)

func TestBases(t *testing.T) {
	var v []byte
	for i := range uint64(12) {
		v = AddBase(v, Base{Ino: i % 10, Size: i, Mode: 0o100644, Mtime: -1, Ctime: 5})
	}
	list, err := ParseBases(v)
	if err != nil || len(list) != maxBases || list[0].Ino != 1 || list[0].Size != 11 || list[0].Mtime != -1 || list[0].Mode != 0o100644 {
		t.Error(list, err)
	}
	seen := map[uint64]bool{}
	for _, b := range list {
		if seen[b.Ino] {
			t.Error("two records of", b.Ino)
		}
		seen[b.Ino] = true
	}
	for _, bad := range []string{"", ";", "1 2 3 4", "1 2 3 4 5 6", "-1 2 3 4 5", "1 2 9 4 5", strings.Repeat("1", 200), "1 2 3 4 5;"} {
		if _, err := ParseBases([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestOrdersText(t *testing.T) {
	if uid, gid, err := ParseChown([]byte("-1:4294967294")); uid != -1 || gid != 1<<32-2 || err != nil {
		t.Error(uid, gid, err)
	}
	if mode, dev, err := ParseMknod([]byte("20666:259")); mode != 0o20666 || dev != 259 || err != nil {
		t.Error(mode, dev, err)
	}
	if _, _, err := ParseMknod([]byte("9:1")); err == nil {
		t.Error("9 is octal")
	}
}
