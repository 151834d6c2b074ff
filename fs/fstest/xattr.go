package fstest

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// xattrCases: extended attributes, ours and others'.
func xattrCases() []Case {
	return []Case{
		{
			Name: "xattrs of a lower file are read and listed", RO: true,
			Lower: Tree{"f": File("x").X("user.a", "1").X("user.b", ""), "d": Dir().X("user.d", "2"), "none": File("")},
			Run: func(_ *testing.T, e *Env) {
				e.wantX("f", "user.a", "1")
				e.wantX("f", "user.b", "")
				e.wantX("d", "user.d", "2")
				e.equal(fmt.Sprint(e.listx("f")), "[user.a user.b]", "list of f")
				e.equal(fmt.Sprint(e.listx("d")), "[user.d]", "list of d")
				e.equal(fmt.Sprint(e.listx("none")), "[]", "list of none")
				e.wantX("f", "user.nope", noData)
			},
		},
		{
			Name:  "a copy-up keeps xattrs, and changes apply to it",
			Lower: Tree{"f": File("x").X("user.a", "1").X("user.b", "2"), "d": Dir().X("user.d", "3")},
			Run: func(_ *testing.T, e *Env) {
				e.add("f", "y")
				e.put("d/x", "")
				e.wantX("f", "user.a", "1")
				e.wantX("d", "user.d", "3")
				e.setx("f", "user.c", "4")
				e.setx("f", "user.a", "changed")
				e.ok(unix.Lremovexattr(e.p("f"), "user.b"))
				e.equal(fmt.Sprint(e.listx("f")), "[user.a user.c]", "list")
				e.wantX("f", "user.a", "changed")
				e.wantX("f", "user.b", noData)
			},
		},
		{
			Name:  "setting an xattr of a lower file copies it up, failing to remove one doesn't",
			Lower: Tree{"f": File("x"), "g": File("y"), "d": Dir()},
			Run: func(_ *testing.T, e *Env) {
				e.fails(unix.Lremovexattr(e.p("g"), "user.nope"), unix.ENODATA)
				e.wantUpper()
				e.setx("f", "user.a", "1")
				e.setx("d", "user.a", "1")
				e.want("f", "x")
				e.wantUpper("f f", "d d")
			},
		},
		{
			Name:  "XATTR_CREATE and XATTR_REPLACE keep their word",
			Lower: Tree{"f": File("x").X("user.a", "1")},
			Run: func(_ *testing.T, e *Env) {
				e.fails(unix.Lsetxattr(e.p("f"), "user.a", []byte("2"), unix.XATTR_CREATE), unix.EEXIST)
				e.fails(unix.Lsetxattr(e.p("f"), "user.b", []byte("2"), unix.XATTR_REPLACE), unix.ENODATA)
				e.wantX("f", "user.a", "1")
				e.ok(unix.Lsetxattr(e.p("f"), "user.a", []byte("2"), unix.XATTR_REPLACE))
				e.ok(unix.Lsetxattr(e.p("f"), "user.b", []byte("3"), unix.XATTR_CREATE))
				e.wantX("f", "user.a", "2")
				e.wantX("f", "user.b", "3")
			},
		},
		{
			Name: "sizes are told, and buffers too small are ERANGE", RO: true,
			Lower: Tree{"f": File("x").X("user.long", strings.Repeat("v", 1000)).X("user.other", "1")},
			Run: func(_ *testing.T, e *Env) {
				n, err := unix.Lgetxattr(e.p("f"), "user.long", nil)
				e.ok(err)
				e.equal(n, 1000, "size of the value")
				_, err = unix.Lgetxattr(e.p("f"), "user.long", make([]byte, 999))
				e.fails(err, unix.ERANGE)
				n, err = unix.Lgetxattr(e.p("f"), "user.long", make([]byte, 1000))
				e.ok(err)
				e.equal(n, 1000, "bytes read")
				n, err = unix.Llistxattr(e.p("f"), nil)
				e.ok(err)
				e.equal(n, len("user.long.user.other."), "size of the list")
				_, err = unix.Llistxattr(e.p("f"), make([]byte, n-1))
				e.fails(err, unix.ERANGE)
			},
		},
		{
			Name:  "values of the largest size and names of the longest",
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				big := 65536
				for ; big >= 1024; big /= 2 {
					err := unix.Lsetxattr(e.p("f"), "user.big", []byte(pattern(big)), 0)
					if err == nil {
						break
					}
					e.fails(err, unix.ENOSPC, unix.E2BIG)
				}
				e.wantX("f", "user.big", pattern(big))
				e.fails(unix.Lsetxattr(e.p("f"), "user.huge", make([]byte, 65537), 0), unix.E2BIG)
				e.ok(unix.Lremovexattr(e.p("f"), "user.big"))
				long := "user." + strings.Repeat("n", 250)
				e.setx("f", long, "v")
				e.wantX("f", long, "v")
				e.fails(unix.Lsetxattr(e.p("f"), long+"n", []byte("v"), 0), unix.ERANGE)
			},
		},
		{
			Name:  "a value of three thousand bytes survives a copy-up",
			Lower: Tree{"f": File("x").X("user.big", pattern(3000))},
			Run: func(_ *testing.T, e *Env) {
				e.add("f", "y")
				e.wantX("f", "user.big", pattern(3000))
			},
		},
		{
			Name:  "user xattrs of symlinks and fifos are refused, and nothing is followed",
			Lower: Tree{"l": Sym("f"), "f": File("x"), "p": Fifo(), "out": Sym("/proc/self/comm")},
			Run: func(_ *testing.T, e *Env) {
				for _, n := range []string{"l", "p", "out"} {
					e.fails(unix.Lsetxattr(e.p(n), "user.a", []byte("1"), 0), unix.EPERM)
				}
				e.equal(fmt.Sprint(e.listx("l")), "[]", "list of the link")
				e.equal(fmt.Sprint(e.listx("f")), "[]", "list of the target")
				_, err := unix.Lgetxattr(e.p("l"), "user.a", nil)
				e.fails(err, unix.EPERM, unix.ENODATA)
			},
		},
		{
			Name: "trusted xattrs of a symlink are its own", Needs: NeedTrusted,
			Lower: Tree{"l": Sym("f"), "f": File("x"), "p": Fifo()},
			Run: func(_ *testing.T, e *Env) {
				e.setx("l", "trusted.mine", "link")
				e.setx("p", "trusted.mine", "fifo")
				e.wantX("l", "trusted.mine", "link")
				e.wantX("p", "trusted.mine", "fifo")
				e.wantX("f", "trusted.mine", noData)
				e.setx("f", "trusted.mine", "file")
				e.wantX("l", "trusted.mine", "link")
				e.equal(fmt.Sprint(e.listx("l")), "[trusted.mine]", "list")
				e.rename("l", "l2")
				e.wantX("l2", "trusted.mine", "link")
			},
		},
		{
			Name: "trusted xattrs are not for other users", Needs: NeedTrusted | NeedUsers,
			Lower: Tree{"f": File("x").Own(alice, alice).X("trusted.secret", "1").X("user.open", "2")},
			Run: func(_ *testing.T, e *Env) {
				e.wantX("f", "trusted.secret", "1")
				e.as(alice, alice, func() {
					_, err := unix.Lgetxattr(e.p("f"), "trusted.secret", nil)
					e.fails(err, unix.ENODATA, unix.EPERM)
					e.fails(unix.Lsetxattr(e.p("f"), "trusted.secret", []byte("2"), 0), unix.EPERM)
					e.wantX("f", "user.open", "2")
				})
			},
		},
		{
			Name: "the overlay's own xattrs are hidden", Needs: NeedUnion,
			Lower: Tree{"d/f": File("x"), "m/a": File("")}, Over: []Tree{{"d": Opaque(), "d/g": File("")}},
			Run: func(_ *testing.T, e *Env) {
				e.ok(unix.Chmod(e.p("d/g"), 0o600))
				e.put("m/b", "")
				e.ok(unix.Chmod(e.p("m/a"), 0o600))
				for _, n := range []string{"d", "d/g", "m", "m/a", "."} {
					for _, k := range e.listx(n) {
						e.is(!strings.HasPrefix(k, e.Variant.prefix()), "%s lists %s", n, k)
					}
					for _, k := range []string{"opaque", "origin", "impure"} {
						e.wantX(n, e.Variant.prefix()+k, noData)
					}
				}
			},
		},
		{
			Name: "an overlay xattr set through the mount is kept apart, and shown again", Needs: NeedUnion,
			Lower: Tree{"d/f": File("x"), "f": File("y")},
			Run: func(_ *testing.T, e *Env) {
				p := e.Variant.prefix()
				e.setx("d", p+"opaque", "y")
				e.wantX("d", p+"opaque", "y")
				e.wantNames("d", "f") // it made nothing opaque
				e.setx("f", p+"nested", "1")
				e.equal(fmt.Sprint(e.listx("f")), fmt.Sprintf("[%snested]", p), "list")
				if !e.Variant.Override { // there the form is containers/storage's
					x, err := xattrsOf(e.Upper("d"))
					e.ok(err)
					e.equal(x[p+"overlay.opaque"], "y", "the escaped one in the upper")
				}
				e.ok(unix.Lremovexattr(e.p("d"), p+"opaque"))
				e.wantX("d", p+"opaque", noData)
				e.equal(fmt.Sprint(e.listx("d")), "[]", "list")
			},
		},
		{
			Name: "an escaped xattr of a lower is shown with its name, and nested twice once less", Needs: NeedUnion | NeedTrusted, RO: true,
			Lower: Tree{"d/x": File(""), "d": Dir().X("trusted.overlay.overlay.opaque", "y").X("trusted.overlay.overlay.overlay.foo", "z")},
			Run: func(_ *testing.T, e *Env) {
				e.wantX("d", "trusted.overlay.opaque", "y")
				e.wantX("d", "trusted.overlay.overlay.foo", "z")
				e.equal(fmt.Sprint(e.listx("d")), "[trusted.overlay.opaque trusted.overlay.overlay.foo]", "list")
				e.wantNames("d", "x")
			},
		},
		{
			Name: "the overlay xattrs of the other namespace pass through", Needs: NeedUnion | NeedTrusted,
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				e.setx("f", "user.overlay.foo", "1")
				e.wantX("f", "user.overlay.foo", "1")
				e.equal(fmt.Sprint(e.listx("f")), "[user.overlay.foo]", "list")
			},
			Not: map[string]string{Plyfs: "read in every dialect: user.overlay.* is hidden and escaped, too"},
		},
		{
			Name: "fifty xattrs on one file are all listed",
			Run: func(_ *testing.T, e *Env) {
				e.put("f", "")
				for i := range 50 {
					e.setx("f", "user.k"+num(i), num(i))
				}
				e.equal(len(e.listx("f")), 50, "number")
				e.link("f", "g")
				for i := range 50 {
					e.wantX("g", "user.k"+num(i), num(i))
				}
			},
		},
	}
}
