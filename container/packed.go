package container

import "github.com/plyfs/plyfs/container/cgroup"

// What the types that travel consist of. TestPacked finds a field that is missing.

func (o *order) packed(c *codec) {
	o.Spec.packed(c)
	text(c, &o.ID)
	text(c, &o.Dir)
	o.Outer.packed(c)
	o.Inner.packed(c)
	c.boolean(&o.HostRoot)
	c.boolean(&o.Guarded)
	texts(c, &o.Job)
	integer(c, &o.Slack)
	c.boolean(&o.Quick)
	text(c, &o.Resolv)
}

func (m *message) packed(c *codec) {
	integer(c, &m.Pid)
	text(c, &m.Filter)
	has := m.Failure != nil
	c.boolean(&has)
	if has {
		if m.Failure == nil {
			m.Failure = new(failure)
		}
		integer(c, &m.Failure.Code)
		text(c, &m.Failure.Text)
	}
	text(c, &m.Warning)
	text(c, &m.What)
	integer(c, &m.Code)
	list(c, &m.Index, func(i *int) { integer(c, i) })
}

func (m *idMaps) packed(c *codec) {
	for _, lines := range []*[]idMap{&m.UID, &m.GID} {
		list(c, lines, func(l *idMap) {
			integer(c, &l.Inside)
			integer(c, &l.Outside)
			integer(c, &l.Size)
		})
	}
}

func (s *Spec) packed(c *codec) {
	text(c, &s.Hostname)
	text(c, &s.Root.Dir)
	text(c, &s.Root.FS)
	c.boolean(&s.Root.ReadOnly)
	c.boolean(&s.IDs.Host)
	c.boolean(&s.IDs.Single)
	c.boolean(&s.IDs.Virtual)
	list(c, &s.Mounts, func(m *Mount) { m.packed(c) })
	list(c, &s.Devices, func(d *Device) {
		text(c, &d.Source)
		text(c, &d.Target)
	})
	dict(c, &s.Sysctl, func(v *string) { text(c, v) })
	s.Net.packed(c)
	s.Limits.packed(c)
	s.Process.packed(c)
	c.boolean(&s.Init)
	text(c, &s.StopSignal)
	integer(c, &s.StopTimeout)
	c.boolean(&s.Restart.OnFailure)
	integer(c, &s.Restart.Max)
	dict(c, &s.Labels, func(v *string) { text(c, v) })
	text(c, &s.Image)
	text(c, &s.ImageDigest)
	c.boolean(&s.Remove)
	c.boolean(&s.NoFiles)
	dict(c, &s.Files, func(v *string) { text(c, v) })
}

func (m *Mount) packed(c *codec) {
	text(c, &m.Type)
	text(c, &m.Source)
	text(c, &m.Target)
	for _, b := range []*bool{&m.ReadOnly, &m.NoExec, &m.Dev, &m.Suid, &m.NoSub} {
		c.boolean(b)
	}
	integer(c, &m.Mode)
	text(c, &m.Size)
}

func (n *Net) packed(c *codec) {
	text(c, &n.Mode)
	list(c, &n.Ports, func(p *Port) {
		text(c, &p.HostIP)
		integer(c, &p.Host)
		integer(c, &p.Container)
		text(c, &p.Proto)
	})
	c.boolean(&n.Optional)
	texts(c, &n.DNS)
	texts(c, &n.Hosts)
}

func (p *Process) packed(c *codec) {
	texts(c, &p.Args)
	texts(c, &p.Env)
	text(c, &p.Cwd)
	text(c, &p.User)
	c.boolean(&p.Terminal)
	integer(c, &p.Size.Rows)
	integer(c, &p.Size.Columns)
	texts(c, &p.Caps)
	c.boolean(&p.NewPrivs)
	c.boolean(&p.Seccomp.Unconfined)
	text(c, &p.Seccomp.Profile)
	list(c, &p.Rlimits, func(r *Rlimit) {
		text(c, &r.Name)
		integer(c, &r.Soft)
		integer(c, &r.Hard)
	})
	c.boolean(&p.Notify)
	c.boolean(&p.Unmasked)
}

func (l *Limits) packed(c *codec) {
	integer(c, &l.Memory)
	integer(c, &l.MemorySwap)
	c.float(&l.CPUs)
	integer(c, &l.CPUShares)
	text(c, &l.CPUSet)
	text(c, &l.CPUSetMems)
	integer(c, &l.Pids)
	integer(c, &l.IOWeight)
	list(c, &l.IORates, func(r *cgroup.Rate) {
		text(c, &r.Device)
		text(c, &r.What)
		integer(c, &r.Value)
	})
	dict(c, &l.HugePages, func(n *uint64) { integer(c, n) })
}
