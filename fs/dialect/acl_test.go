package dialect

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// aclGolden is what setfacl -m u:1000:rwx,g:50:r-x made of a 0644 file.
const aclGolden = "02000000" + "01000600ffffffff" + "02000700e8030000" + "04000400ffffffff" +
	"0800050032000000" + "10000700ffffffff" + "20000400ffffffff"

func TestACLGolden(t *testing.T) {
	acl, err := ParseACL(unhex(t, aclGolden))
	if err != nil || len(acl) != 6 {
		t.Fatalf("ParseACL: %+v, %v", acl, err)
	}
	if acl[1] != (ACLEntry{ACLUser, 7, 1000}) || acl[5] != (ACLEntry{ACLOther, 4, ACLUndefinedID}) {
		t.Errorf("entries %+v", acl)
	}
	if got := hex.EncodeToString(AppendACL(nil, acl)); got != aclGolden {
		t.Errorf("written as %s", got)
	}
	if perm, equiv := EquivMode(acl); perm != 0o674 || equiv {
		t.Errorf("EquivMode: %o, %v, want 674, false", perm, equiv)
	}
	if perm, equiv := EquivMode([]ACLEntry{acl[0], acl[2], acl[5]}); perm != 0o644 || !equiv {
		t.Errorf("EquivMode of the base: %o, %v, want 644, true", perm, equiv)
	}
	shifted := unhex(t, aclGolden)
	ShiftIDs(shifted, func(id uint32) uint32 { return id + 100000 }, func(id uint32) uint32 { return id + 7 })
	acl, err = ParseACL(shifted)
	if err != nil || acl[1].ID != 101000 || acl[3].ID != 57 || acl[0].ID != ACLUndefinedID {
		t.Errorf("shifted: %+v, %v", acl, err)
	}
}

func TestBadACL(t *testing.T) {
	const u, g, o = "01000600ffffffff", "04000400ffffffff", "20000400ffffffff"
	const named, mask = "02000700e8030000", "10000700ffffffff"
	for what, v := range map[string]string{
		"empty":            "",
		"version 1":        "01000000" + u + g + o,
		"cut":              "02000000" + u + g + o[:8],
		"no other":         "02000000" + u + g,
		"two owners":       "02000000" + u + u + g + o,
		"order":            "02000000" + g + u + o,
		"named, no mask":   "02000000" + u + named + g + o,
		"unknown tag":      "02000000" + u + g + "40000400ffffffff" + o,
		"unknown bit":      "02000000" + "01000e00ffffffff" + g + o,
		"nobody named":     "02000000" + u + "02000700ffffffff" + g + mask + o,
		"after the end":    "02000000" + u + g + o + o,
		"mask before owns": "02000000" + mask + u + g + o,
	} {
		if _, err := ParseACL(unhex(t, v)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", what, err)
		}
		if _, mode, _, err := Inherit(unhex(t, v), 0o644, false); v != "" && err == nil || mode != 0o644 {
			t.Errorf("%s: inherited", what)
		}
	}
	if acl, err := ParseACL(unhex(t, "02000000")); acl != nil || err != nil {
		t.Errorf("no entries: %v, %v, want no ACL", acl, err)
	}
	if acl, err := ParseACL(unhex(t, "02000000"+u+g+mask+o)); len(acl) != 4 || err != nil {
		t.Errorf("a mask without names: %v, %v", acl, err)
	}
}

var aclGen = rapid.Custom(func(t *rapid.T) []ACLEntry {
	perm := rapid.Uint16Range(0, 7)
	e := func(tag uint16, id uint32) ACLEntry { return ACLEntry{tag, perm.Draw(t, "perm"), id} }
	acl := []ACLEntry{e(ACLUserObj, ACLUndefinedID)}
	users := rapid.IntRange(0, 2).Draw(t, "users")
	for i := range users {
		acl = append(acl, e(ACLUser, uint32(1000+i)))
	}
	acl = append(acl, e(ACLGroupObj, ACLUndefinedID))
	groups := rapid.IntRange(0, 2).Draw(t, "groups")
	for i := range groups {
		acl = append(acl, e(ACLGroup, uint32(50+i)))
	}
	if users+groups > 0 || rapid.Bool().Draw(t, "mask") {
		acl = append(acl, e(ACLMask, ACLUndefinedID))
	}
	return append(acl, e(ACLOther, ACLUndefinedID))
})

// TestInheritAsKernel lets a filesystem of the kernel be the oracle.
func TestInheritAsKernel(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Setxattr(dir, ACLDefault, AppendACL(nil, []ACLEntry{
		{ACLUserObj, 7, 0}, {ACLGroupObj, 7, 0}, {ACLOther, 7, 0},
	}), 0); err != nil {
		require.Missing(t, "ACLs on the temporary directory's filesystem: %v", err)
	}
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		acl := aclGen.Draw(t, "acl")
		mode := rapid.Uint32Range(0, 0o777).Draw(t, "mode")
		isDir := rapid.Bool().Draw(t, "dir")
		v := AppendACL(nil, acl)
		if err := unix.Setxattr(dir, ACLDefault, v, 0); err != nil {
			t.Fatal(err)
		}
		n++
		path := filepath.Join(dir, "x")
		typ, err := uint32(unix.S_IFREG), error(nil)
		if isDir {
			typ, err = unix.S_IFDIR, unix.Mkdir(path, mode)
		} else {
			err = unix.Mknod(path, unix.S_IFREG|mode, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		access, newMode, def, err := Inherit(v, typ|mode, isDir)
		if err != nil {
			t.Fatal(err)
		}
		if newMode&^unix.S_ISGID != st.Mode&^unix.S_ISGID {
			t.Errorf("mode %o, the kernel's is %o", newMode, st.Mode)
		}
		if want := readXattr(t, path, ACLAccess); !bytes.Equal(access, want) {
			t.Errorf("access ACL\n%x, the kernel's is\n%x", access, want)
		}
		if want := readXattr(t, path, ACLDefault); !bytes.Equal(def, want) {
			t.Errorf("default ACL\n%x, the kernel's is\n%x", def, want)
		}
	})
}

// TestEquivModeAsKernel sets access ACLs on a real file.
func TestEquivModeAsKernel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(path, ACLAccess, AppendACL(nil, []ACLEntry{
		{ACLUserObj, 6, 0}, {ACLGroupObj, 4, 0}, {ACLOther, 4, 0},
	}), 0); err != nil {
		require.Missing(t, "ACLs on the temporary directory's filesystem: %v", err)
	}
	rapid.Check(t, func(t *rapid.T) {
		acl := aclGen.Draw(t, "acl")
		if err := unix.Setxattr(path, ACLAccess, AppendACL(nil, acl), 0); err != nil {
			t.Fatalf("the kernel refuses %v: %v", acl, err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		perm, equiv := EquivMode(acl)
		if kept := readXattr(t, path, ACLAccess) != nil; perm != st.Mode&0o777 || equiv == kept {
			t.Errorf("%+v: %o, %v; the kernel has %o and keeps an ACL: %v", acl, perm, equiv, st.Mode, kept)
		}
	})
}

// readXattr is nil when there is none.
func readXattr(t interface{ Fatal(...any) }, path, name string) []byte {
	buf := make([]byte, 1024)
	n, err := unix.Lgetxattr(path, name, buf)
	if errors.Is(err, syscall.ENODATA) {
		return nil
	}
	if err != nil {
		t.Fatal(name, err)
	}
	return buf[:n]
}

func TestACLRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		acl := aclGen.Draw(t, "acl")
		got, err := ParseACL(AppendACL(nil, acl))
		if err != nil || len(got) != len(acl) {
			t.Fatalf("%+v is read back as %+v, %v", acl, got, err)
		}
		for i := range acl {
			if got[i] != acl[i] {
				t.Fatalf("%+v is read back as %+v", acl, got)
			}
		}
	})
}
