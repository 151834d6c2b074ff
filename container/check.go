package container

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// check refuses a Spec that could never be started.
func (s *Spec) check() error {
	switch {
	case (s.Root.Dir == "") == (s.Root.FS == ""):
		return errors.New("a container needs one root: a directory or layers")
	case s.Process.Notify && (!s.Init || !s.IDs.Single || !s.IDs.Virtual || s.Process.NewPrivs):
		return errors.New("owners are noted for a container of one id, with an init of ours and without new privileges")
	case len(s.Process.Args) == 0 || s.Process.Args[0] == "":
		return errors.New("no command given")
	case len(s.Hostname) > 64 || strings.ContainsAny(s.Hostname, "/ \n\x00"):
		return fmt.Errorf("hostname %q: at most 64 letters, digits, dots and dashes", s.Hostname)
	case s.Net.Mode != NetNone && s.Net.Mode != NetHost && s.Net.Mode != NetUser:
		return fmt.Errorf("network %q is not one of none, host, user", s.Net.Mode)
	case len(s.Net.Ports) > 0 && s.Net.Mode != NetUser:
		return fmt.Errorf("ports are published with the network user; with %s there is nothing to publish", s.Net.Mode)
	}
	if err := checkUser(s.Process.User); err != nil {
		return err
	}
	if _, err := capMask(s.Process.Caps); err != nil {
		return err
	}
	for name := range s.Sysctl {
		if err := checkSysctl(name, s.Net.Mode); err != nil {
			return err
		}
	}
	for _, l := range s.Process.Rlimits {
		if _, ok := rlimitNumbers[l.Name]; !ok {
			return fmt.Errorf("ulimit %s is not known", l.Name)
		}
	}
	if _, err := ParseSignal(s.StopSignal); s.StopSignal != "" && err != nil {
		return err
	}
	if dir := s.Process.Cwd; dir != "" && !path.IsAbs(dir) {
		return fmt.Errorf("working directory %s: it must begin with /", dir)
	}
	for _, m := range s.Mounts {
		switch {
		case !path.IsAbs(m.Target):
			return fmt.Errorf("mount target %q: it must begin with /", m.Target)
		case m.Type == "bind" && !path.IsAbs(m.Source):
			return fmt.Errorf("mount source %q: it must begin with /", m.Source)
		}
	}
	return nil
}
