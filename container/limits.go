package container

import "github.com/plyfs/plyfs/container/cgroup"

// cgroup gives the limits to the package that enforces them.
func (l *Limits) cgroup() cgroup.Limits {
	return cgroup.Limits{
		Memory: l.Memory, MemorySwap: l.MemorySwap, CPUs: l.CPUs, CPUShares: l.CPUShares, CPUSet: l.CPUSet,
		CPUSetMems: l.CPUSetMems, Pids: l.Pids, IOWeight: l.IOWeight, IORates: l.IORates, HugePages: l.HugePages,
	}
}
