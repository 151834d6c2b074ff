package union

import (
	"strconv"
	"strings"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/fail"
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/node"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

// linkOut gives the names of copied-up hard links that the loaded indexes know
// to the upper layer, so that kernel overlayfs, which does not know our index,
// shows them as we did. It runs at the end of a mount, when no request is
// under way.
func (fs *FS) linkOut() {
	if !fs.work.indexed {
		return
	}
	names, e := listNames(fs.work.index)
	if e != 0 {
		return
	}
	byIno := map[uint64]string{}
	for _, n := range names {
		if _, hex, ok := strings.Cut(n, "-"); ok {
			if ino, err := strconv.ParseUint(hex, 16, 64); err == nil {
				byIno[ino] = n
			}
		}
	}
	if len(byIno) == 0 {
		return
	}
	type known struct {
		d    *dir
		name string
		in   string
	}
	var todo []known
	for i := range fs.dirs.shards {
		for _, d := range fs.dirs.shards[i].m {
			if d.ix == nil || d.gone {
				continue
			}
			d.ix.All(func(ent *index.Entry, name string) bool {
				if ent.Upper == index.None && ent.HasLower() && ent.Lower != unix.DT_DIR {
					// The number alone may be another file system's: the name
					// in the index, made from the layer, decides.
					in, ok := byIno[ent.Ino&(1<<56-1)]
					if ok && in == fs.indexName(fs.shownLink(ent.Ino)) {
						todo = append(todo, known{d, string([]byte(name)), in})
					}
				}
				return true
			})
		}
	}
	for _, k := range todo {
		if fs.upDir(k.d.i) == 0 {
			fs.linkOutOne(k.d, k.name, k.in)
		}
	}
}

// shownLink is the key of a lower file whose number in the mount is ino.
func (fs *FS) shownLink(ino uint64) node.Link {
	fs.inos.mu.RLock()
	defer fs.inos.mu.RUnlock()
	n := uint16(ino >> 56)
	if int(n) >= len(fs.inos.systems) {
		n = fs.inos.devs[fs.inos.first]
	}
	return node.Link{Layer: 1 + n, Ino: ino & (1<<56 - 1)}
}

// linkOutOne makes one name. The directory's times stay as they are: nothing
// changes in the view.
func (fs *FS) linkOutOne(d *dir, name, in string) {
	fs.renameMu.RLock()
	defer fs.renameMu.RUnlock()
	p, e := fs.dirFD(d.i, 0)
	if e != 0 {
		return
	}
	defer p.release()
	var st sys.Stat
	if sys.StatAt(p.fd, "", &st) != 0 || sys.Link(fs.work.index, in, p.fd, name) != 0 {
		return
	}
	fail.Point("linkout.linked")
	fs.setImpure(d, p.fd)
	_ = fs.utimes(p.fd, "", st.Atim, st.Mtim)
	var buf [32]byte
	if n, e := sys.GetXattr(fs.work.index, in, fs.ns.Nlink(), buf[:]); e == 0 {
		if _, delta, err := dialect.ParseNlink(buf[:n]); err == nil {
			_ = sys.SetXattr(fs.work.index, in, fs.ns.Nlink(), dialect.AppendNlink(nil, true, delta-1), 0)
		}
	}
}
