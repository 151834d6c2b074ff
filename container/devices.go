package container

import (
	"slices"

	"github.com/plyfs/plyfs/container/cgroup"
)

// guardDevices has the kernel forbid every device but the usual ones and those
// that were asked for. It stands behind what forbids them already: nodes of
// layers and of mounts are dead, and a user namespace makes none. Only where
// neither holds is it worth a warning that it can't be done.
func (r *Run) guardDevices() {
	spec := &r.c.spec
	var more []cgroup.Device
	for _, d := range spec.Devices {
		if rule, err := cgroup.DeviceOf(d.Source); err == nil { // init tells about others
			more = append(more, rule)
		}
	}
	err := r.group.GuardDevices(more)
	if err != nil && spec.IDs.Host && slices.Contains(spec.Process.Caps, "CAP_MKNOD") {
		r.warn("every device of the host is open to the container, which may make nodes: they can't be forbidden: " + err.Error())
	}
}
