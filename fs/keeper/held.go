package keeper

import (
	"strings"

	"golang.org/x/sys/unix"
)

// The names of what a keeper of many servers has for itself.
const (
	listenerName = "listener"
	exeName      = "exe"
	argsName     = "args"
	sockName     = "sock"
	pidfdName    = "pidfd"
	readyName    = "ready" // behind a mount's number
)

// ours says whether a descriptor is for the keeper alone.
func ours(name string) bool {
	return name == exeName || name == argsName || strings.HasSuffix(name, "/"+readyName)
}

// put takes a descriptor over.
func (k *keeper) put(name string, fd int) {
	k.held = append(k.held, held{name, fd})
	k.store.add(k.id+name, fd)
}

// note keeps a text, for a keeper that comes later.
func (k *keeper) note(name, text string) {
	if k.store == nil {
		return
	}
	fd, err := unix.MemfdCreate("plyfs-note", unix.MFD_CLOEXEC)
	if err != nil {
		return
	}
	_, _ = unix.Write(fd, []byte(text))
	k.put(name, fd)
}

// keepMount has a mount kept from now on, if all that it takes is here.
func (k *keeper) keepMount(m mount) {
	if m.prefix == "" {
		return
	}
	for _, h := range k.held {
		if h.fd < 0 && strings.HasPrefix(h.name, m.prefix) {
			k.say("the mount on " + m.dir + " is not kept: there are no more descriptors (RLIMIT_NOFILE)")
			k.forget(m.prefix)
			return
		}
	}
	k.note(m.prefix+readyName, m.prefix+"\x00"+m.dev+"\x00"+m.dir)
	k.mounts = append(k.mounts, m)
	k.begun += k.countOf(&m)
}

// drop lets go of a mount that is gone.
func (k *keeper) drop(prefix string) {
	if prefix == "" {
		return
	}
	for i := range k.mounts {
		if k.mounts[i].prefix == prefix {
			k.begun -= min(k.begun, k.countOf(&k.mounts[i]))
			k.mounts = append(k.mounts[:i], k.mounts[i+1:]...)
			break
		}
	}
	k.forget(prefix)
}

// dropUnready lets go of what belongs to mounts that a server has not come to
// an end with.
func (k *keeper) dropUnready() {
	ready := map[string]bool{}
	for i := range k.mounts {
		ready[k.mounts[i].prefix] = true
	}
	var gone []string
	for _, h := range k.held {
		if number, _, ok := strings.Cut(h.name, "/"); ok && !ready[number+"/"] {
			gone = append(gone, number+"/")
		}
	}
	for _, prefix := range gone {
		k.forget(prefix)
	}
}

// forget closes what has a name with the prefix; the log stays.
func (k *keeper) forget(prefix string) {
	kept := k.held[:0]
	for _, h := range k.held {
		if !strings.HasPrefix(h.name, prefix) || h.name == "log" {
			kept = append(kept, h)
			continue
		}
		k.store.remove(k.id + h.name)
		if h.fd >= 0 {
			unix.Close(h.fd)
		}
	}
	k.held = kept
}
