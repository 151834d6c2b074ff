package fstest

import (
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// acl is the xattr form of entries such as "u::rwx u:1000:r-x g::r-- m::rwx
// o::---".
func acl(text string) string {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, f := range strings.Fields(text) {
		p := strings.Split(f, ":")
		tag := map[string]uint16{"u": 1, "g": 4, "m": 16, "o": 32}[p[0]]
		id := uint32(0xffffffff)
		if p[1] != "" {
			tag *= 2 // a named user or group
			id = 0
			for _, c := range p[1] {
				id = id*10 + uint32(c-'0')
			}
		}
		var perm uint16
		for i, c := range "rwx" {
			if strings.ContainsRune(p[2], c) {
				perm |= 4 >> i
			}
		}
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, perm)
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return string(b)
}

// aclCases: POSIX access lists, set, inherited, enforced.
func aclCases() []Case {
	shared := acl("u::rwx u:1000:rwx g::r-x m::rwx o::---")
	return []Case{
		{
			Name: "an access list is set, read and enforced", Needs: NeedUsers,
			Lower: Tree{"f": File("x").Perm(0o600)},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					_, err := e.tryOpen("f", unix.O_RDONLY)
					e.fails(err, unix.EACCES)
				})
				e.setx("f", aclAccess, acl("u::rw- u:1000:rw- g::--- m::rw- o::---"))
				e.wantX("f", aclAccess, acl("u::rw- u:1000:rw- g::--- m::rw- o::---"))
				e.wantMode("f", 0o660)
				e.as(alice, alice, func() {
					e.want("f", "x")
					e.add("f", "y")
				})
				e.as(bob, bob, func() {
					_, err := e.tryOpen("f", unix.O_RDONLY)
					e.fails(err, unix.EACCES)
				})
				e.ok(unix.Chmod(e.p("f"), 0o600)) // now the mask
				e.as(alice, alice, func() {
					_, err := e.tryOpen("f", unix.O_RDONLY)
					e.fails(err, unix.EACCES)
				})
			},
		},
		{
			Name: "an access list of a lower file is enforced and kept at copy-up", Needs: NeedUsers | NeedModes,
			Lower: Tree{
				"f": File("x").Perm(0o670).X(aclAccess, acl("u::rw- u:1000:rw- g::--- m::rwx o::---")),
				"d": Dir().Perm(0o770).X(aclAccess, shared).X(aclDefault, shared),
			},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					e.want("f", "x")
					e.add("f", "y")
					e.put("d/new", "z")
				})
				e.wantX("f", aclAccess, acl("u::rw- u:1000:rw- g::--- m::rwx o::---"))
				e.wantX("d", aclAccess, shared)
				e.wantX("d", aclDefault, shared)
				e.wantMode("f", 0o670)
			},
		},
		{
			Name: "a default list is given to what is made in the directory, and the umask is not", Needs: NeedUsers,
			Lower: Tree{"d/old": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.setx("d", aclDefault, shared)
				e.alone(func() {
					unix.Umask(0o077)
					e.open("d/f", unix.O_CREAT|unix.O_WRONLY, 0o666)
					e.ok(unix.Mkdir(e.p("d/s"), 0o777))
					e.ok(unix.Mknod(e.p("d/p"), unix.S_IFIFO|0o666, 0))
					e.ok(unix.Mkdir(e.p("d/s/t"), 0o777))
				})
				e.wantMode("d/f", 0o660)
				e.wantX("d/f", aclAccess, acl("u::rw- u:1000:rwx g::r-x m::rw- o::---"))
				e.wantX("d/f", aclDefault, noData)
				e.wantMode("d/p", 0o660)
				for _, s := range []string{"d/s", "d/s/t"} {
					e.wantMode(s, 0o770)
					e.wantX(s, aclAccess, shared)
					e.wantX(s, aclDefault, shared)
				}
				e.wantMode("d", 0o755)
			},
		},
		{
			Name: "a default list with few entries only sets the mode", Needs: NeedUsers,
			Lower: Tree{"d": Dir()},
			Run: func(_ *testing.T, e *Env) {
				e.setx("d", aclDefault, acl("u::rwx g::r-x o::r-x"))
				e.alone(func() {
					unix.Umask(0o077)
					e.open("d/f", unix.O_CREAT|unix.O_WRONLY, 0o666)
					e.ok(unix.Mkdir(e.p("d/s"), 0o777))
				})
				e.wantMode("d/f", 0o644)
				e.wantMode("d/s", 0o755)
				e.wantX("d/f", aclAccess, noData)
			},
		},
		{
			Name: "removing the list leaves the mode", Needs: NeedUsers,
			Lower: Tree{"f": File("x"), "d": Dir()},
			Run: func(_ *testing.T, e *Env) {
				e.setx("f", aclAccess, acl("u::rw- u:1000:rw- g::r-- m::rw- o::r--"))
				e.ok(unix.Lremovexattr(e.p("f"), aclAccess))
				e.wantX("f", aclAccess, noData)
				e.wantMode("f", 0o664)
				e.setx("d", aclDefault, shared)
				e.ok(unix.Lremovexattr(e.p("d"), aclDefault))
				e.wantX("d", aclDefault, noData)
			},
		},
		{
			Name:  "a list that says no more than the mode becomes the mode",
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				e.setx("f", aclAccess, acl("u::rw- g::rw- o::---"))
				e.wantMode("f", 0o660)
				e.wantX("f", aclAccess, noData)
			},
		},
		{
			Name:  "senseless lists and lists on symlinks are refused",
			Lower: Tree{"f": File("x"), "l": Sym("f")},
			Run: func(_ *testing.T, e *Env) {
				e.fails(unix.Lsetxattr(e.p("f"), aclAccess, []byte("nonsense"), 0), unix.EINVAL, unix.EOPNOTSUPP)
				e.fails(unix.Lsetxattr(e.p("f"), aclAccess, []byte(acl("u::rwx u:1000:rwx")), 0), unix.EINVAL)
				e.fails(unix.Lsetxattr(e.p("f"), aclDefault, []byte(acl("u::rwx g::r-x o::r-x")), 0), unix.EACCES)
				e.fails(unix.Lsetxattr(e.p("l"), aclAccess, []byte(acl("u::rwx g::r-x o::r-x")), 0), unix.EOPNOTSUPP, unix.EPERM)
				e.wantMode("f", 0o644)
			},
		},
		{
			Name: "only the owner sets a list", Needs: NeedUsers,
			Lower: Tree{"f": File("x").Perm(0o666), "mine": File("y").Own(alice, alice)},
			Run: func(_ *testing.T, e *Env) {
				e.as(alice, alice, func() {
					e.fails(unix.Lsetxattr(e.p("f"), aclAccess, []byte(shared), 0), unix.EPERM)
					e.setx("mine", aclAccess, shared)
				})
				e.wantMode("mine", 0o770)
			},
		},
	}
}
