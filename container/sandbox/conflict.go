package sandbox

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/sys"
)

// changedSince says what the host did to an object since the sandbox saw it;
// "" is nothing. o is what the upper has in its place, if anything.
func (v *View) changedSince(host, o *object) string {
	if v.Fixed {
		return ""
	}
	if o == nil || len(o.bases) == 0 {
		if host.dir() {
			return "" // what is in it tells
		}
		if host.st.Ctim.Nano() >= v.Since {
			return "changed on the host after the sandbox was made"
		}
		return ""
	}
	b := o.base(host.st.Ino)
	switch {
	case b == nil || b.Mode&unix.S_IFMT != host.typ():
		return "the host has put another object there"
	case host.dir():
		if b.Mode != host.mode {
			return "the host has changed its mode"
		}
	case b.Size != uint64(host.st.Size) || b.Mtime != host.st.Mtim.Nano():
		return "the host has changed its content"
	case b.Ctime != host.st.Ctim.Nano():
		return "the host has changed its attributes"
	}
	return ""
}

// changedBelow looks through a directory of the host for what has changed
// since the sandbox was made: a deletion would take it along.
func (v *View) changedBelow(dirfd int, name, p string) string {
	if v.Fixed {
		return ""
	}
	fd, e := sys.Open(dirfd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if e != 0 {
		return "" // removing it will tell
	}
	defer sys.Close(fd)
	if a, b := sys.MountID(dirfd, ""), sys.MountID(fd, ""); a != b {
		return ""
	}
	names, err := listNames(fd)
	if err != nil {
		return ""
	}
	for _, n := range names {
		var st sys.Stat
		sub := path.Join(p, n)
		if _, kept := v.Protected[sub]; kept || sys.StatAt(fd, n, &st) != 0 {
			continue
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			if why := v.changedBelow(fd, n, sub); why != "" {
				return why
			}
			continue
		}
		if st.Ctim.Nano() >= v.Since {
			return fmt.Sprintf("%s in it was changed on the host after the sandbox was made", Quote(sub))
		}
	}
	return ""
}
