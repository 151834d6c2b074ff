package container

import "github.com/plyfs/plyfs/container/cgroup"

// ownThreads is how many threads a process of ours may need: a Go program that
// gets no more of them dies.
const ownThreads = 12

// cgroup gives the limits to the package that enforces them. While our own
// program is in the cgroup its threads come on top.
func (l *Limits) cgroup() cgroup.Limits {
	out := cgroup.Limits{
		Memory: l.Memory, MemorySwap: l.MemorySwap, CPUs: l.CPUs, CPUShares: l.CPUShares, CPUSet: l.CPUSet,
		CPUSetMems: l.CPUSetMems, Pids: l.Pids, IOWeight: l.IOWeight, IORates: l.IORates, HugePages: l.HugePages,
	}
	if l.Pids > 0 {
		out.Pids += ownThreads
	}
	return out
}

// forPayload are the limits once the payload runs. A reaper of ours stays, and
// so does the room for it.
func (l *Limits) forPayload(reaper bool) cgroup.Limits {
	out := l.cgroup()
	if !reaper {
		out.Pids = l.Pids
	}
	return out
}

// settle makes the limit of processes what was asked for when init has become
// the payload.
func (r *Run) settle() error {
	spec := &r.c.spec
	if spec.Init || spec.Limits.Pids <= 0 || r.group.Empty() {
		return nil
	}
	_, err := r.group.Update(cgroup.Limits{Pids: spec.Limits.forPayload(false).Pids})
	return err
}
