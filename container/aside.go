package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A container that doesn't run is entered by starting it for a job of ours: its
// root is mounted and served and its volumes are there, in namespaces of its
// own, but no program of it is run. So a copy means the same, and is as safe, as
// in one that runs: what the root holds can lead to nothing but the root.

// jobs are what init can be told to do in place of a payload.
var jobs = map[string]func(path string) error{
	jobSync:   syncJob,
	jobPack:   packJob,
	jobUnpack: unpackJob,
}

// aside does a job in a container that doesn't run, and keeps others from
// starting it meanwhile.
func (c *Container) aside(job []string, stdio IO) (said string, err error) {
	l, err := c.lock()
	if err != nil {
		return "", err
	}
	defer l.Close()
	st, err := c.State()
	if err != nil {
		return "", err
	}
	if st.active() {
		return "", fmt.Errorf("container %s was started just now: try again", st.Name)
	}
	outer, inner, err := chooseMaps(c.spec.IDs, st.Slot)
	if err != nil {
		return "", err
	}
	if st.Outer.none() && !outer.none() {
		// What is written now belongs to these ids, and a removal must know.
		st.Outer, st.Inner = outer, inner
		if err := writeFile(filepath.Join(c.Dir(), "state.json"), st); err != nil {
			return "", err
		}
	}
	end, ours, err := pipeOf(&stdio.Stderr)
	if err != nil {
		return "", err
	}
	keepOurs()
	own := *c
	own.spec.Remove = false // it stays, whoever wanted it removed at its end
	r := &Run{c: &own, served: c.spec.Root.FS != ""}
	err = r.startJob(&order{
		Spec: c.spec, ID: c.ID, Dir: c.Dir(), HostRoot: os.Geteuid() == 0,
		Outer: outer, Inner: inner, Job: job,
	}, stdio)
	end.Close()
	if err != nil {
		ours.Close()
		r.abandon()
		return "", err
	}
	said = readAll(ours)
	code, trouble := r.reap()
	if trouble != nil {
		return said, trouble
	}
	if code != 0 {
		return said, errJob
	}
	return said, nil
}

// errJob is that of a job that has said why.
var errJob = errors.New("the job failed")

// startJob returns when init has begun with it.
func (r *Run) startJob(o *order, stdio IO) error {
	o.Spec.Files = o.Spec.withFiles()
	o.Spec.Net, o.Spec.Process.Terminal = Net{Mode: NetNone}, false
	mapping, err := r.startStage(o)
	if err != nil {
		return err
	}
	defer func() { _ = mapping.wait() }()
	initSide, err := r.order(o, o.Dir, stdio)
	if err != nil {
		return err
	}
	defer initSide.close()
	if err := mapping.wait(); err != nil {
		return err
	}
	for _, what := range []string{mapped, entered} {
		if err := r.stageIn.send(message{What: what}); err != nil {
			return err
		}
	}
	m, _, err := r.stageIn.receive()
	if m.Failure != nil {
		return m.Failure
	}
	if err != nil {
		return fmt.Errorf("the stage ended before the container's root was mounted%s", r.seeLog())
	}
	r.init = identify(m.Pid)
	if err := initSide.send(message{}); err != nil && !errors.Is(err, unix.EPIPE) {
		return err
	}
	return r.awaitPayload(initSide, nil, nil)
}

// job is what init does with one, in the container's root.
func (p *initProcess) job() error {
	if p.Spec.Root.ReadOnly {
		if err := setFlags(p.root, unix.MOUNT_ATTR_RDONLY, false); err != nil {
			return fmt.Errorf("the root can't be made read-only: %w", err)
		}
	}
	if err := p.monitor.send(message{What: ready}); err != nil {
		return fmt.Errorf("plyfs is gone: %w", err)
	}
	p.monitor.close()
	if err := runJob(p.Job); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
	return nil
}
