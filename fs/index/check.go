package index

import (
	"strings"

	"golang.org/x/sys/unix"
)

// check looks at everything in a block that code relies on, whatever the
// checksum says: a file can be made to be right in that. The result is what is
// wrong, or "". The blocks of what is in the directory are from low on and
// before off, in the order of the entries: so none is reached twice, and none
// from within itself.
func (b *Block) check(low, off uint64) string {
	d := &b.Dir
	n := uint32(len(d.ents))
	switch {
	case len(d.order) != len(d.ents):
		return "order"
	case n > 0 && (len(d.slots)&(len(d.slots)-1) != 0 || len(d.slots) <= len(d.ents)):
		return "hash table"
	}
	filled := uint32(0)
	for _, s := range d.slots {
		if s > n {
			return "hash table"
		}
		if s != 0 {
			filled++
		}
	}
	if filled > n { // one slot at least is free: a search ends
		return "hash table"
	}
	for _, k := range d.order {
		if k >= n {
			return "order"
		}
	}
	for i := range d.ents {
		if what := b.checkEntry(&d.ents[i], &b.attrs[i], &low, off); what != "" {
			return what
		}
	}
	for k := 1; k < len(d.order); k++ {
		// Strictly ascending, so a reader gets on, and no name comes twice.
		x, y := &d.ents[d.order[k-1]], &d.ents[d.order[k]]
		if x.hash > y.hash || x.hash == y.hash && d.Name(x) >= d.Name(y) {
			return "order"
		}
	}
	return b.checkParts()
}

func (b *Block) checkEntry(e *Entry, a *Attr, low *uint64, off uint64) string {
	d := &b.Dir
	switch {
	case e.nameLen == 0 || uint64(e.nameOff)+uint64(e.nameLen) > uint64(len(d.names)) || !validName(d.Name(e)) || e.hash != hashName(d.Name(e)):
		return "a name"
	case e.flags&^closed != 0 || e.Upper != None:
		return "an entry"
	case e.Lower != Whiteout && e.Lower != Unknown && !validType(e.Lower):
		return "a type"
	case e.HasLower() && (e.Layer == 0 || e.Layer > b.f.layers):
		return "a layer"
	case e.nBelow > 0 && (e.Lower != dtDir || uint64(e.below)+uint64(e.nBelow) > uint64(len(d.layers))):
		return "a list of layers"
	}
	if e.nBelow > 0 {
		list := d.layers[e.below : e.below+uint32(e.nBelow)]
		for k, l := range list {
			if l > b.f.layers || k == 0 && l != e.Layer || k > 0 && l <= list[k-1] {
				return "a list of layers"
			}
		}
	}
	return b.checkAttr(e, a, low, off)
}

func (b *Block) checkAttr(e *Entry, a *Attr, low *uint64, off uint64) string {
	if a.Flags&Known == 0 {
		return ""
	}
	typ := uint8(a.Mode >> 12)
	switch {
	case !e.HasLower() || a.Mode>>16 != 0 || !validType(typ):
		return "attributes"
	case typ != e.Lower && !(e.Lower == Unknown && typ == unix.DT_REG):
		return "attributes"
	case !b.inTexts(a.text) || a.text.Len > unix.PathMax:
		return "a text"
	case a.Flags&Target != 0 && (typ != unix.DT_LNK || strings.IndexByte(b.text(a.text), 0) >= 0):
		return "a link"
	case a.Flags&Meta != 0 && (typ != unix.DT_REG || a.Data <= e.Layer || a.Data > b.f.layers || !validPath(b.text(a.text))):
		return "the place of data"
	case a.MtimeNsec >= 1e9 || a.AtimeNsec >= 1e9 || a.CtimeNsec >= 1e9 || a.Size < 0 || a.Blocks < 0:
		return "attributes"
	case a.Kid != 0 && (typ != dtDir || a.Rdev < *low || a.Kid < a.Rdev || a.Kid >= off):
		return "a directory"
	}
	if a.Kid != 0 {
		*low = a.Kid + 1
	}
	return ""
}

func (b *Block) checkParts() string {
	last := uint16(0)
	for _, p := range b.parts {
		if p.Layer <= last || p.Layer > b.f.layers || !b.inTexts(p.Path) || !validPath(b.text(p.Path)) {
			return "a part"
		}
		last = p.Layer
	}
	return ""
}

func (b *Block) inTexts(t text) bool { return uint64(t.Off)+uint64(t.Len) <= uint64(len(b.texts)) }

// validName says whether a name is one that a directory can hold: what is none
// could lead out of its layer.
func validName(name string) bool {
	if name == "." || name == ".." {
		return false
	}
	for i := 0; i < len(name); i++ {
		if name[i] == '/' || name[i] == 0 {
			return false
		}
	}
	return true
}

// validPath says so of a path in a layer; "" is none and fine.
func validPath(path string) bool {
	if path == "" {
		return true
	}
	for elem := range strings.SplitSeq(path, "/") {
		if elem == "" || len(elem) > 255 || !validName(elem) {
			return false
		}
	}
	return true
}

func validType(t uint8) bool {
	switch t {
	case unix.DT_REG, unix.DT_DIR, unix.DT_LNK, unix.DT_CHR, unix.DT_BLK, unix.DT_FIFO, unix.DT_SOCK:
		return true
	}
	return false
}
