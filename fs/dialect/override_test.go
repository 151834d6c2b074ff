package dialect

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestOverrideOfStorage: what FormatContainersOverrideXattrDevice of
// containers/storage v1.59 prints (%d:%d:%04o:%s), both ways.
func TestOverrideOfStorage(t *testing.T) {
	for v, want := range map[string]Override{
		"0:0:0755:dir":              {Mode: unix.S_IFDIR | 0o755},
		"1000:1001:0644:file":       {UID: 1000, GID: 1001, Mode: unix.S_IFREG | 0o644},
		"0:0:4755:file":             {Mode: unix.S_IFREG | 0o4755},
		"0:0:0000:file":             {Mode: unix.S_IFREG},
		"0:0:1777:dir":              {Mode: unix.S_IFDIR | 0o1777},
		"0:5:0777:symlink":          {GID: 5, Mode: unix.S_IFLNK | 0o777},
		"0:0:0600:pipe":             {Mode: unix.S_IFIFO | 0o600},
		"0:0:0600:socket":           {Mode: unix.S_IFSOCK | 0o600},
		"0:6:0660:block-8-1":        {GID: 6, Mode: unix.S_IFBLK | 0o660, Rdev: unix.Mkdev(8, 1)},
		"0:0:0666:char-1-3":         {Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(1, 3)},
		"0:0:0000:char-0-0":         {Mode: unix.S_IFCHR},
		"4294967294:65534:0644:dir": {UID: 4294967294, GID: 65534, Mode: unix.S_IFDIR | 0o644},
		"0:0:0660:block-259-1048575": {
			Mode: unix.S_IFBLK | 0o660, Rdev: unix.Mkdev(259, 1048575),
		},
	} {
		want.HasType = true
		o, err := ParseOverride([]byte(v))
		if err != nil || o != want {
			t.Errorf("ParseOverride(%q) = %+v, %v, want %+v", v, o, err, want)
		}
		if got := string(want.Append(nil)); got != v {
			t.Errorf("written as %q, want %q", got, v)
		}
	}
}

func TestOverrideOfOthers(t *testing.T) {
	for v, want := range map[string]Override{
		// fuse-overlayfs: %d:%d:%o, with or without the file type.
		"0:0:555":           {Mode: 0o555},
		"0:0:0":             {},
		"10:20:4755":        {UID: 10, GID: 20, Mode: 0o4755},
		"0:0:100644":        {Mode: unix.S_IFREG | 0o644, HasType: true},
		"0:0:40755":         {Mode: unix.S_IFDIR | 0o755, HasType: true},
		"-2:-1:755":         {UID: 4294967294, GID: 4294967295, Mode: 0o755},
		"-2147483648:0:755": {UID: 1 << 31, Mode: 0o755},
		// Its readers take a type by its first letters and ignore the rest.
		"0:0:755:dir:more":        {Mode: unix.S_IFDIR | 0o755, HasType: true},
		"0:0:755:file-x":          {Mode: unix.S_IFREG | 0o755, HasType: true},
		"0:0:660:block-8-1-7":     {Mode: unix.S_IFBLK | 0o660, Rdev: unix.Mkdev(8, 1), HasType: true},
		"0:0:660:char:1:3":        {Mode: unix.S_IFCHR | 0o660, Rdev: unix.Mkdev(1, 3), HasType: true},
		"0:0:100644:symlink":      {Mode: unix.S_IFLNK | 0o644, HasType: true},
		"0000:0000:000000644:dir": {Mode: unix.S_IFDIR | 0o644, HasType: true},
	} {
		o, err := ParseOverride([]byte(v))
		if err != nil || o != want {
			t.Errorf("ParseOverride(%q) = %+v, %v, want %+v", v, o, err, want)
		}
	}
	// No type known: none is made up.
	if got := string(Override{UID: 1, GID: 2, Mode: 0o55}.Append(nil)); got != "1:2:0055" {
		t.Errorf("written as %q, want 1:2:0055", got)
	}
	for _, v := range []string{
		"", ":", "::", ":::", "0", "0:0", "0:0:", "0:0:8", "0:0:0x1", "a:0:0", "0:a:0", "0:0:755:", "0:0:755:x",
		"0:0:755:di", "0:0:755:Dir", "0:0:755:block", "0:0:755:block-8", "0:0:755:block-8-", "0:0:755:block--1",
		"0:0:755:char-1:3", "0:0:755:char-a-b", "4294967296:0:755", "0:4294967296:755", "0:0:1000000", "0:0:70755",
		"+1:0:755", " 1:0:755", "0:0:755\x00", "0:0:755:dir\x00"[:7] + "\x00", "-:0:755", "--1:0:755",
		"-2147483649:0:755", "0-0-755", "0:0:-755", "0:0:755:block-4294967296-0",
		"0:0:755:file" + strings.Repeat("x", 200),
	} {
		if o, err := ParseOverride([]byte(v)); !errors.Is(err, ErrInvalid) || o != (Override{}) {
			t.Errorf("ParseOverride(%q) = %+v, %v, want ErrInvalid", v, o, err)
		}
	}
}

func TestOverrideRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Override{
			UID:  rapid.Uint32().Draw(t, "uid"),
			GID:  rapid.Uint32().Draw(t, "gid"),
			Mode: rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
		}
		if i := rapid.IntRange(-1, len(overrideTypes)-1).Draw(t, "type"); i >= 0 {
			o.HasType = true
			o.Mode |= overrideTypes[i].typ
			if o.Mode&unix.S_IFMT == unix.S_IFBLK || o.Mode&unix.S_IFMT == unix.S_IFCHR {
				o.Rdev = unix.Mkdev(rapid.Uint32().Draw(t, "major"), rapid.Uint32().Draw(t, "minor"))
			}
		}
		v := o.Append(nil)
		if got, err := ParseOverride(v); err != nil || got != o {
			t.Fatalf("%+v is written as %q and read as %+v, %v", o, v, got, err)
		}
	})
}
