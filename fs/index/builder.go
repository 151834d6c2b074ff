package index

import "strings"

// Builder merges the layers of one directory. Layers are added from the top:
// first the upper (if there is one), then the lowers.
type Builder struct {
	d     *Dir
	base  bool // d is not ours: it is copied before something is added
	layer uint16
	upper bool
	lists map[uint32][]uint16 // by Entry.nameOff; entries with several directories below
	hide  []string            // AUFS whiteouts of this layer: they hide lower layers only
}

// NewBuilder starts a directory.
func NewBuilder() *Builder {
	return &Builder{d: &Dir{}, lists: map[uint32][]uint16{}}
}

// NewOverlay starts a directory whose lowers are merged already. Only the upper
// is to be added. With nothing in it, the directory of the lowers is the answer.
func NewOverlay(lowers *Dir) *Builder {
	return &Builder{d: lowers, base: true}
}

// own is the directory that is built.
func (b *Builder) own() *Dir {
	if b.base {
		b.d, b.base = b.d.Clone(), false
	}
	return b.d
}

// Layer starts the next layer: 0 is the upper, n the n-th lower.
func (b *Builder) Layer(n uint16) {
	b.flush()
	b.layer, b.upper = n, n == 0
}

// Names are those that the layers so far have told, hidden ones too.
func (b *Builder) Names() (names []string) {
	b.d.All(func(_ *Entry, name string) bool {
		names = append(names, strings.Clone(name))
		return true
	})
	return names
}

// Entry adds a name of the layer with its type and inode number (as the mount
// shows it).
func (b *Builder) Entry(name string, typ uint8, ino uint64) {
	e := b.own().Add(name)
	if b.upper {
		e.Upper, e.Ino = typ, ino
		return
	}
	switch {
	case e.Lower == None:
		e.Lower, e.Layer = typ, b.layer
		if e.Upper == None {
			e.Ino = ino
		}
		if typ != dtDir {
			e.flags |= closed
			return
		}
		b.below(e)
	case e.Lower == dtDir && e.flags&closed == 0:
		if typ != dtDir {
			e.flags |= closed
			return
		}
		b.below(e)
	}
}

const dtDir = 4 // DT_DIR

// below notes that the layer has a directory that may be merged. The first
// one is e.Layer; a list is kept only when there are more. Lists grow in
// parallel, so they are collected and laid down at the end.
func (b *Builder) below(e *Entry) {
	if e.Layer == b.layer {
		return
	}
	l := b.lists[e.nameOff]
	if l == nil {
		l = append(l, e.Layer)
	}
	b.lists[e.nameOff] = append(l, b.layer)
}

// Whiteout adds a whiteout of the layer (a char device 0:0 or an xattr
// whiteout): it hides the name in all layers below.
func (b *Builder) Whiteout(name string) {
	e := b.own().Add(name)
	if b.upper {
		e.Upper = Whiteout
		return
	}
	b.whiteLower(e)
}

func (b *Builder) whiteLower(e *Entry) {
	if e.Lower == None {
		e.Lower = Whiteout
	}
	e.flags |= closed
}

// Hide adds an AUFS whiteout (.wh.NAME): it hides lower layers, but not an
// entry of the same layer.
func (b *Builder) Hide(name string) { b.hide = append(b.hide, name) }

func (b *Builder) flush() {
	for _, name := range b.hide {
		e := b.own().Add(name)
		if b.upper {
			if e.Upper == None {
				e.Upper = Whiteout
			} else {
				// The upper has both: what is below stays hidden.
				e.Lower, e.nBelow = Whiteout, 0
				e.flags |= closed
			}
			continue
		}
		b.whiteLower(e)
	}
	b.hide = b.hide[:0]
}

// Done ends the build.
func (b *Builder) Done() *Dir {
	b.flush()
	d := b.d
	for i := range d.ents {
		if len(b.lists) == 0 {
			break
		}
		e := &d.ents[i]
		list := b.lists[e.nameOff]
		if len(list) == 0 {
			continue
		}
		e.below, e.nBelow = uint32(len(d.layers)), uint16(len(list))
		d.layers = append(d.layers, list...)
	}
	b.d, b.lists = nil, nil
	return d
}
