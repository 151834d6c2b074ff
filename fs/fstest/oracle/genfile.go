package oracle

import (
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var (
	offGen = rapid.SampledFrom([]int64{0, 0, 1, 100, 4095, 4096, 10000, 140000})
	lenGen = rapid.SampledFrom([]int64{1, 5, 100, 4096, 5000, 70000})
)

// fillFile draws the fields of what writes or reads a file by its name.
func (g *opMaker) fillFile(t *rapid.T, o *Op) {
	o.Path = g.file(t)
	o.Off, o.Len, o.Tag = offGen.Draw(t, "off"), lenGen.Draw(t, "len"), tagGen.Draw(t, "tag")
	switch o.Kind {
	case opCreate:
		if rapid.IntRange(0, 2).Draw(t, "exists") != 1 {
			o.Path = g.fresh(t)
		}
		o.Flags = rapid.SampledFrom([]int{
			unix.O_WRONLY, unix.O_WRONLY | unix.O_EXCL, unix.O_WRONLY | unix.O_TRUNC, unix.O_RDWR | unix.O_EXCL | unix.O_TRUNC,
		}).Draw(t, "flags")
		o.Mode = modeGen.Draw(t, "mode")
		o.Umask = rapid.SampledFrom([]uint32{0o022, 0, 0o077, 0o027}).Draw(t, "umask")
	case opTruncate:
		o.Len = rapid.SampledFrom([]int64{0, 1, 4096, 5001, 300000}).Draw(t, "size")
	case opFallocate:
		const punch = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
		o.Flags = rapid.SampledFrom([]int{0, unix.FALLOC_FL_KEEP_SIZE, punch, punch, unix.FALLOC_FL_ZERO_RANGE}).Draw(t, "mode")
		if o.Flags == unix.FALLOC_FL_ZERO_RANGE && !g.disk {
			o.Flags = punch // not on tmpfs: see Avoided
		}
	case opCopy:
		o.To = g.file(t)
	case opTmpfile:
		o.Path = g.of(t, unix.DT_DIR)
		o.Mode = modeGen.Draw(t, "mode")
		if rapid.Bool().Draw(t, "named") {
			o.To = g.fresh(t)
		}
	}
}

// fillHeld draws the fields of what uses a file held open.
func (g *opMaker) fillHeld(t *rapid.T, o *Op) {
	o.Slot = rapid.IntRange(0, slots-1).Draw(t, "slot")
	switch o.Kind {
	case opOpen:
		o.Path = g.file(t)
		o.Flags = rapid.SampledFrom([]int{unix.O_RDONLY, unix.O_RDONLY, unix.O_RDWR, unix.O_WRONLY, unix.O_WRONLY | unix.O_APPEND}).Draw(t, "flags")
	case opHeldWrite:
		o.Off, o.Len, o.Tag = offGen.Draw(t, "off"), lenGen.Draw(t, "len"), tagGen.Draw(t, "tag")
	case opHeldTrunc:
		o.Len = rapid.SampledFrom([]int64{0, 1, 5001}).Draw(t, "size")
	case opHeldChmod:
		o.Mode = modeGen.Draw(t, "mode")
	}
}
