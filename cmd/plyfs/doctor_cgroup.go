package main

import (
	"os"
	"strings"

	"github.com/plyfs/plyfs/container/cgroup"
)

// checkCgroups says which limits of containers would hold. Without them
// containers run, so it is never more than a warning.
func checkCgroups() finding {
	have, lack, how := cgroup.Outlook()
	f := finding{Name: "limits of containers", State: stateOK, Detail: "none"}
	if len(have) > 0 {
		f.Detail = strings.Join(have, ", ") + " (" + how + ")"
	}
	if len(lack) == 0 {
		return f
	}
	f.Detail += "; not enforced: " + strings.Join(lack, ", ")
	switch {
	case os.Geteuid() == 0: // what a kernel lacks for root, nobody can mend
	case len(have) > 0:
		f.State, f.Fix = stateWarn, "sudo systemctl edit user@.service, with [Service] and Delegate=cpu cpuset io memory pids; then log in again"
	default:
		f.State, f.Fix = stateWarn, "sudo loginctl enable-linger $USER, on a machine with systemd and cgroups of version 2; docs/limits.md has more"
	}
	return f
}
