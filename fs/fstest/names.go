package fstest

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// long is a name of the greatest length.
func long(c byte) string { return strings.Repeat(string(c), 255) }

// namesCases: long names and long paths.
func namesCases() []Case {
	return []Case{
		{
			Name:  "names of 255 bytes are found, made, moved, linked, removed and whited out",
			Lower: Tree{long('f'): File("low"), long('d'): Dir(), long('d') + "/" + long('g'): File("deep"), long('l'): Sym("x")},
			Run: func(_ *testing.T, e *Env) {
				e.want(long('f'), "low")
				e.want(long('d')+"/"+long('g'), "deep")
				e.add(long('f'), "+")
				e.put(long('n'), "new")
				e.rename(long('n'), long('m'))
				e.link(long('m'), long('k'))
				e.mkdir(long('e'))
				e.ok(unix.Symlink("t", e.p(long('s'))))
				e.wantNames(".", long('d'), long('e'), long('f'), long('k'), long('l'), long('m'), long('s'))
				e.unlink(long('f'))
				e.unlink(long('l'))
				e.ok(os.RemoveAll(e.p(long('d'))))
				e.rename(long('k'), long('f')) // the same inode as m
				e.wantNames(".", long('e'), long('f'), long('m'), long('s'))
				e.wantUpper("w "+long('d'), "d "+long('e'), "f "+long('f'), "w "+long('l'), "f "+long('m'), "l "+long('s'))
				e.unlink(long('f'))
				e.gone(long('f'), long('d'))
			},
		},
		{
			Name:  "names of 256 bytes are ENAMETOOLONG everywhere",
			Lower: Tree{"f": File(""), "d": Dir()},
			Run: func(_ *testing.T, e *Env) {
				n := long('x') + "x"
				var st unix.Stat_t
				e.fails(unix.Lstat(e.p(n), &st), unix.ENAMETOOLONG)
				_, err := e.tryOpen(n, unix.O_RDONLY)
				e.fails(err, unix.ENAMETOOLONG)
				_, err = e.tryOpen(n, unix.O_CREAT|unix.O_WRONLY)
				e.fails(err, unix.ENAMETOOLONG)
				e.fails(unix.Mkdir(e.p(n), 0o755), unix.ENAMETOOLONG)
				e.fails(unix.Rmdir(e.p(n)), unix.ENAMETOOLONG)
				e.fails(unix.Unlink(e.p(n)), unix.ENAMETOOLONG)
				e.fails(unix.Rename(e.p("f"), e.p(n)), unix.ENAMETOOLONG)
				e.fails(unix.Rename(e.p("d"), e.p(n)), unix.ENAMETOOLONG, unix.EXDEV)
				e.fails(unix.Rename(e.p(n), e.p("g")), unix.ENAMETOOLONG)
				e.fails(unix.Link(e.p("f"), e.p(n)), unix.ENAMETOOLONG)
				e.fails(unix.Symlink("f", e.p(n)), unix.ENAMETOOLONG)
				e.fails(unix.Mknod(e.p(n), unix.S_IFIFO|0o644, 0), unix.ENAMETOOLONG)
				e.wantNames(".", "d", "f")
			},
		},
		{
			Name:  "a tree deeper than PATH_MAX is made, walked, listed, changed and removed",
			Lower: Tree{"top/f": File("")},
			Run: func(_ *testing.T, e *Env) {
				const depth = 40 // of 200 bytes each
				name := strings.Repeat("n", 200)
				e.alone(func() {
					e.ok(unix.Chdir(e.p("top")))
					for range depth {
						e.ok(unix.Mkdir(name, 0o755))
						e.ok(unix.Chdir(name))
					}
					e.ok(os.WriteFile("deep", []byte("down here"), 0o644))
					b, err := os.ReadFile("deep")
					e.ok(err)
					e.equal(string(b), "down here", "content")
					e.ok(unix.Rename("deep", "../moved"))
					e.ok(unix.Link("../moved", "linked"))
					e.ok(unix.Chmod("linked", 0o600))
					e.ok(unix.Unlink("../moved"))
					for range depth {
						e.ok(unix.Chdir(".."))
					}
					var st unix.Stat_t
					e.ok(unix.Stat("f", &st))
				})
				e.ok(os.RemoveAll(e.p("top")))
				e.wantUpper("w top")
			},
		},
		{
			Name:  "a lower tree deeper than PATH_MAX is walked, changed at its end and removed",
			Needs: NeedUnion | NeedOwn,
			Lower: Tree{"top/f": File("")},
			Run: func(_ *testing.T, e *Env) {
				const depth = 40
				name := strings.Repeat("n", 200)
				e.Remount(func() {
					e.alone(func() {
						e.ok(unix.Chdir(e.Lower(0, "top")))
						for range depth {
							e.ok(unix.Mkdir(name, 0o755))
							e.ok(unix.Chdir(name))
						}
						e.ok(os.WriteFile("deep", []byte("low"), 0o644))
					})
				})
				e.alone(func() {
					e.ok(unix.Chdir(e.p("top")))
					for range depth {
						e.ok(unix.Chdir(name))
					}
					f, err := os.OpenFile("deep", os.O_WRONLY|os.O_APPEND, 0)
					e.ok(err)
					_, err = f.WriteString("+")
					e.ok(err)
					e.ok(f.Close())
					b, err := os.ReadFile("deep")
					e.ok(err)
					e.equal(string(b), "low+", "content")
					e.ok(unix.Unlink("deep"))
				})
				e.ok(os.RemoveAll(e.p("top")))
				e.wantUpper("w top")
			},
		},
		{
			Name: "a path of PATH_MAX is too long, one byte less is not", RO: true,
			Lower: Tree{"f": File("x")},
			Run: func(_ *testing.T, e *Env) {
				p := e.Dir
				for len(p) < 4095-2 {
					p += "/"
				}
				p += "/f"
				p = p[:len(e.Dir)] + strings.Repeat("/", 4095-len(e.Dir)-1) + "f"
				var st unix.Stat_t
				e.equal(len(p), 4095, "length")
				e.ok(unix.Lstat(p, &st))
				e.fails(unix.Lstat(p[:len(e.Dir)]+"/"+p[len(e.Dir):], &st), unix.ENAMETOOLONG)
			},
		},
		{
			Name: "names that look like whiteouts of other unions can be used",
			Not:  map[string]string{Plyfs: ".wh. names are whiteouts in a layer: making one is refused or escaped"},
			Run: func(_ *testing.T, e *Env) {
				e.put(".wh.x", "1")
				e.want(".wh.x", "1")
			},
		},
	}
}
