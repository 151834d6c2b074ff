package fusefs

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/plyfs/plyfs/fs/fusefs/internal/fuse"
	"github.com/plyfs/plyfs/fs/fusefs/meter"
	"github.com/plyfs/plyfs/fs/node"
)

// What whoever traces the mount (package meter) gets of a request. Nothing of
// this file runs while nobody does.

// take notes what the operation itself may change: where its nodes lie.
func (w *worker) take() {
	w.note.path = w.s.tree.Name(w.node())
	switch w.header().Opcode {
	case opRename, opRename2:
		w.note.to = w.s.tree.Name(node.ID(*at[uint64](w.in[inHeaderSize:])))
	case opLink:
		w.note.to = w.s.tree.Name(node.ID(as[fuse.LinkIn](w).Oldnodeid))
	}
}

// record writes the request down.
func (w *worker) record(n int, e syscall.Errno, took time.Duration) {
	h := w.header()
	ev := meter.Event{
		At: time.Now(), Took: took, Op: w.opcode(), PID: h.Pid, UID: h.Uid, Errno: int32(e),
		Absent: w.note.absent, Path: w.note.path,
	}
	switch h.Opcode {
	case opRename, opRename2:
		ev.Path, ev.To = below(w.note.path, w.name), below(w.note.to, w.name2)
	case opLink:
		ev.Path, ev.To = w.note.to, below(w.note.path, w.name)
	case opSymlink:
		ev.Path, ev.To = below(w.note.path, w.name), w.name2
	case opGetxattr, opSetxattr, opRemovexattr:
		ev.To = w.name
	default:
		if w.op.component {
			ev.Path = below(w.note.path, w.name)
		}
	}
	if e == 0 {
		switch h.Opcode {
		case opRead:
			ev.Bytes = int64(n)
		case opWrite:
			ev.Bytes = int64(len(w.rest))
		}
	}
	if h.Pid != 0 && !w.s.cfg.OtherPIDs {
		ev.Command = commandOf(h.Pid)
	}
	w.s.meter.Write(&ev)
}

// below is a name in a directory.
func below(dir, name string) string {
	if name == "" {
		return dir
	}
	return strings.TrimSuffix(dir, "/") + "/" + name
}

// commandOf is the name of a process, which waits for our answer: it is there,
// and hasn't become another program meanwhile.
func commandOf(pid uint32) string {
	text, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/comm")
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(text), "\n")
}
