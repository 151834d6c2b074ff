package union

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/layer"
	"golang.org/x/sys/unix"
)

// shifted is an env whose layers belong to ids from 100000 on.
func shifted(t *testing.T) *env {
	require.Root(t)
	e := newEnv(t, 1)
	e.o.UIDMap = []layer.IDRange{{Host: 100000, Target: 0, Length: 65536}}
	e.o.GIDMap = []layer.IDRange{{Host: 200000, Target: 0, Length: 65536}}
	return e
}

func (e *env) chown(p string, uid, gid int) {
	e.Helper()
	if err := os.Lchown(e.path(p), uid, gid); err != nil {
		e.Fatal(err)
	}
}

// owner checks what the mount shows, and what is on disk.
func (e *env) owner(p string, uid, gid uint32, disk string, diskUID, diskGID uint32) {
	e.Helper()
	if a := e.c.walk(p).Attr; a.UID != uid || a.GID != gid {
		e.Errorf("%s is shown as %d:%d, want %d:%d", p, a.UID, a.GID, uid, gid)
	}
	if st := lstat(e.TB, e.path(disk)); st.Uid != diskUID || st.Gid != diskGID {
		e.Errorf("%s belongs to %d:%d, want %d:%d", disk, st.Uid, st.Gid, diskUID, diskGID)
	}
}

func TestShiftedOwners(t *testing.T) {
	e := shifted(t)
	e.file("lower1/f", "f")
	e.file("lower1/stranger", "s")
	e.mkdir("lower1/sgid")
	e.chown("lower1", 100000, 200000)
	e.chown("lower1/f", 100033, 200044)
	e.chown("lower1/stranger", 5, 99999)
	e.chown("lower1/sgid", 100001, 200002)
	if err := unix.Chmod(e.path("lower1/sgid"), 0o2777); err != nil {
		t.Fatal(err)
	}
	e.open()
	e.owner("f", 33, 44, "lower1/f", 100033, 200044)
	e.owner("stranger", overflowID, overflowID, "lower1/stranger", 5, 99999)
	e.c.write(e.c.id("f"), "F", 0)
	e.owner("f", 33, 44, "upper/f", 100033, 200044)
	e.c.write(e.c.id("stranger"), "S", 0)
	e.owner("stranger", overflowID, overflowID, "upper/stranger", 5, 99999)
	user := &Caller{UID: 1000, GID: 1001}
	var en Entry
	e.c.check("create", e.fs.Create(user, 1, "new", 0o600, 0, &en))
	e.c.got(en.Node)
	e.owner("new", 1000, 1001, "upper/new", 101000, 201001)
	e.c.check("mkdir", e.fs.Mkdir(user, e.c.id("sgid"), "dir", 0o700, &en))
	e.c.got(en.Node)
	e.owner("sgid/dir", 1000, 2, "upper/sgid/dir", 101000, 200002)
	e.owner("sgid", 1, 2, "upper/sgid", 100001, 200002)
	var a Attr
	e.c.check("chown", e.fs.SetAttr(caller, e.c.id("new"), &AttrChange{Valid: SetUID | SetGID, UID: 7, GID: 8}, &a))
	e.owner("new", 7, 8, "upper/new", 100007, 200008)
	e.reopen()
	e.owner("new", 7, 8, "upper/new", 100007, 200008)
}

// TestShiftedACL: the ids inside an access list are shifted as owners are, both
// ways, and so is what is inherited.
func TestShiftedACL(t *testing.T) {
	acl := func(uid, gid uint32) []byte {
		return dialect.AppendACL(nil, []dialect.ACLEntry{
			{Tag: dialect.ACLUserObj, Perm: 7, ID: dialect.ACLUndefinedID},
			{Tag: dialect.ACLUser, Perm: 5, ID: uid},
			{Tag: dialect.ACLGroupObj, Perm: 5, ID: dialect.ACLUndefinedID},
			{Tag: dialect.ACLGroup, Perm: 4, ID: gid},
			{Tag: dialect.ACLMask, Perm: 7, ID: dialect.ACLUndefinedID},
			{Tag: dialect.ACLOther, Perm: 0, ID: dialect.ACLUndefinedID},
		})
	}
	e := shifted(t)
	e.file("lower1/f", "f")
	e.mkdir("lower1/d")
	e.setxattr("lower1/f", xattrAccessACL, string(acl(100007, 200008)))
	e.open()
	shown := func(p, name string, want []byte) {
		t.Helper()
		buf := make([]byte, 256)
		n, errno := e.fs.GetXattr(e.c.id(p), name, buf)
		if errno != 0 || !bytes.Equal(buf[:n], want) {
			t.Errorf("%s of %s is %x (%v), want %x", name, p, buf[:n], errno, want)
		}
	}
	disk := func(p, name string, want []byte) {
		t.Helper()
		buf := make([]byte, 256)
		n, err := unix.Lgetxattr(e.path(p), name, buf)
		if err != nil || !bytes.Equal(buf[:n], want) {
			t.Errorf("%s of %s is %x (%v), want %x", name, p, buf[:max(n, 0)], err, want)
		}
	}
	shown("f", xattrAccessACL, acl(7, 8))
	e.c.write(e.c.id("f"), "F", 0)
	shown("f", xattrAccessACL, acl(7, 8))
	disk("upper/f", xattrAccessACL, acl(100007, 200008))
	value := acl(9, 10)
	e.c.check("setxattr", e.fs.SetXattr(e.c.id("d"), xattrDefaultACL, value, 0))
	if !bytes.Equal(value, acl(9, 10)) {
		t.Error("the caller's list was changed")
	}
	disk("upper/d", xattrDefaultACL, acl(100009, 200010))
	var en Entry
	e.c.check("mkdir", e.fs.Mkdir(&Caller{UID: 3, GID: 3}, e.c.id("d"), "s", 0o777, &en))
	e.c.got(en.Node)
	shown("d/s", xattrDefaultACL, acl(9, 10))
	disk("upper/d/s", xattrDefaultACL, acl(100009, 200010))
	disk("upper/d/s", xattrAccessACL, acl(100009, 200010))
}

// TestShiftedCapability: a capability that a container's root has set names
// that root; the layer must not carry an id of this host.
func TestShiftedCapability(t *testing.T) {
	e := shifted(t)
	e.file("lower1/f", "f")
	e.open()
	c := dialect.Caps{Version: 3, Effective: true, Permitted: 1 << 10, RootID: 100000}
	e.c.check("setxattr", e.fs.SetXattr(e.c.id("f"), xattrCaps, c.Append(nil), 0))
	buf := make([]byte, 64)
	n, err := unix.Lgetxattr(e.path("upper/f"), xattrCaps, buf)
	if err != nil || n != 20 || binary.LittleEndian.Uint32(buf)>>24 != 2 {
		t.Errorf("on disk it is %x (%v), want version 2", buf[:max(n, 0)], err)
	}
	if got, err := dialect.ParseCaps(buf[:max(n, 0)]); err != nil || got.Permitted != 1<<10 || !got.Effective {
		t.Errorf("%+v %v", got, err)
	}
}

// TestSquashedOwners: every owner is shown as one, and a chown is no error.
func TestSquashedOwners(t *testing.T) {
	require.Root(t)
	for _, all := range []uint32{0, 1000} {
		e := newEnv(t, 1)
		e.o.SquashUID, e.o.SquashGID = &all, &all
		e.file("lower1/f", "f")
		e.chown("lower1/f", 33, 44)
		e.open()
		e.owner("f", all, all, "lower1/f", 33, 44)
		var a Attr
		e.c.check("chown", e.fs.SetAttr(caller, e.c.id("f"), &AttrChange{Valid: SetUID | SetGID, UID: 7, GID: 8}, &a))
		if got := e.c.walk("f").Attr; got.UID != all || got.GID != all {
			t.Errorf("shown as %d:%d after a chown", got.UID, got.GID)
		}
		e.c.write(e.c.id("f"), "F", 0)
		if s := e.c.content("f"); s != "F" {
			t.Errorf("%q", s)
		}
	}
}
