package container

import (
	"path"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/container/inroot"
)

// maxPrefetch bounds what is read ahead of a program: who is larger is hardly
// read as a whole.
const maxPrefetch = 4 << 20

// prefetch has the kernel ask the server for the program that we become, all of
// it at once, while we make the last steps: else the payload would ask for each
// piece when it gets there, and wait each time. What can't be opened is told by
// exec.
func (p *initProcess) prefetch() {
	if p.Spec.Root.FS == "" {
		return
	}
	env := p.Spec.Process.environment(p.Spec.Hostname, p.user.home)
	for _, name := range candidates(p.Spec.Process.Args[0], env) {
		if !path.IsAbs(name) {
			return
		}
		fd, err := inroot.Open(p.root, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			_ = unix.Fadvise(fd, 0, min(st.Size, maxPrefetch), unix.FADV_WILLNEED)
		}
		unix.Close(fd)
		return
	}
}
