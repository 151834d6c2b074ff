package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
)

// setter takes the value of one flag, "" for one without.
type setter func(r *runRequest, value string) error

// runSwitches are the flags of run without a value.
func runSwitches() map[string]setter {
	on := func(field func(*runRequest) *bool) setter {
		return func(r *runRequest, _ string) error {
			*field(r) = true
			return nil
		}
	}
	detach := on(func(r *runRequest) *bool { return &r.detach })
	interactive := on(func(r *runRequest) *bool { return &r.interactive })
	tty := on(func(r *runRequest) *bool { return &r.spec.Process.Terminal })
	return map[string]setter{
		"d": detach, "detach": detach,
		"i": interactive, "interactive": interactive,
		"t": tty, "tty": tty,
		"rm":        on(func(r *runRequest) *bool { return &r.spec.Remove }),
		"read-only": on(func(r *runRequest) *bool { return &r.spec.Root.ReadOnly }),
		"init":      on(func(r *runRequest) *bool { return &r.spec.Init }),
	}
}

// runValues are those with one.
func runValues() map[string]setter {
	str := func(field func(*runRequest) *string) setter {
		return func(r *runRequest, v string) error {
			if v == "" {
				return errors.New("the value is empty")
			}
			*field(r) = v
			return nil
		}
	}
	each := func(field func(*runRequest) *[]string) setter {
		return func(r *runRequest, v string) error {
			*field(r) = append(*field(r), v)
			return nil
		}
	}
	user := str(func(r *runRequest) *string { return &r.spec.Process.User })
	workdir := str(func(r *runRequest) *string { return &r.spec.Process.Cwd })
	network := str(func(r *runRequest) *string { return &r.spec.Net.Mode })
	all := map[string]setter{
		"layer": each(func(r *runRequest) *[]string { return &r.layers }),
		"rootfs": func(r *runRequest, v string) (err error) {
			r.spec.Root.Dir, err = filepath.Abs(v)
			return err
		},
		"root": str(func(r *runRequest) *string { return &r.root }),
		"name": str(func(r *runRequest) *string { return &r.name }),
		"u":    user, "user": user,
		"w": workdir, "workdir": workdir,
		"net": network, "network": network,
		"hostname": str(func(r *runRequest) *string { return &r.spec.Hostname }),
		"pull":     setPull,
		"entrypoint": func(r *runRequest, v string) error {
			r.entrypoint, r.hasEntrypoint = v, true
			return nil
		},
		"cidfile":  str(func(r *runRequest) *string { return &r.idFile }),
		"pidfile":  str(func(r *runRequest) *string { return &r.pidFile }),
		"dns":      addDNS,
		"cap-add":  each(func(r *runRequest) *[]string { return &r.capAdd }),
		"cap-drop": each(func(r *runRequest) *[]string { return &r.capDrop }),
		"e":        addEnv, "env": addEnv, "env-file": addEnvFile,
		"v": addVolume, "volume": addVolume, "tmpfs": addTmpfs, "device": addDevice,
		"p": addPort, "publish": addPort, "add-host": addHost,
		"l": addLabel, "label": addLabel, "sysctl": addSysctl, "ulimit": addUlimit,
		"detach-keys": setDetachKeys, "security-opt": securityOpt, "userns": setUserns, "ids": setIDs,
		"stop-signal": setStopSignal, "stop-timeout": setStopTimeout, "restart": setRestart,
	}
	maps.Copy(all, limitFlags())
	return all
}

// runFlags is the grammar of run and what its flags do.
func runFlags() (cli.Spec, map[string]setter) {
	spec := cli.Spec{Short: "h", Long: []string{"help"}, Leading: true}
	all := runSwitches()
	addTo(&spec, all, "", "")
	valued := runValues()
	addTo(&spec, valued, ":", "=")
	maps.Copy(all, valued)
	return spec, all
}

func addEnv(r *runRequest, v string) error {
	name, _, has := strings.Cut(v, "=")
	if name == "" {
		return fmt.Errorf("%q has no name", v)
	}
	if !has {
		value, ok := os.LookupEnv(name)
		if !ok {
			return nil // as docker: what isn't set here isn't there
		}
		v = name + "=" + value
	}
	r.spec.Process.Env = append(r.spec.Process.Env, v)
	return nil
}

func addEnvFile(r *runRequest, v string) error {
	text, err := os.ReadFile(v)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(strings.TrimLeft(line, " \t"), "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if err := addEnv(r, line); err != nil {
			return err
		}
	}
	return nil
}

func addLabel(r *runRequest, v string) error {
	name, value, _ := strings.Cut(v, "=")
	if name == "" {
		return fmt.Errorf("%q has no name", v)
	}
	if r.spec.Labels == nil {
		r.spec.Labels = map[string]string{}
	}
	r.spec.Labels[name] = value
	return nil
}

func addSysctl(r *runRequest, v string) error {
	name, value, ok := strings.Cut(v, "=")
	if !ok || name == "" {
		return fmt.Errorf("%q: write NAME=VALUE", v)
	}
	if r.spec.Sysctl == nil {
		r.spec.Sysctl = map[string]string{}
	}
	r.spec.Sysctl[name] = value
	return nil
}

func addUlimit(r *runRequest, v string) error {
	name, limits, ok := strings.Cut(v, "=")
	if !ok {
		return fmt.Errorf("%q: write NAME=SOFT[:HARD]", v)
	}
	soft, hard, both := strings.Cut(limits, ":")
	if !both {
		hard = soft
	}
	l := container.Rlimit{Name: name}
	for _, f := range []struct {
		text string
		to   *uint64
	}{{soft, &l.Soft}, {hard, &l.Hard}} {
		if f.text == "unlimited" || f.text == "-1" {
			*f.to = container.RlimUnlimited
			continue
		}
		n, err := strconv.ParseUint(f.text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", f.text)
		}
		*f.to = n
	}
	if l.Soft > l.Hard {
		return fmt.Errorf("%q: the soft limit is above the hard one", v)
	}
	r.spec.Process.Rlimits = append(r.spec.Process.Rlimits, l)
	return nil
}

func securityOpt(r *runRequest, v string) error {
	name, value, has := strings.Cut(v, "=")
	if !has {
		name, value, has = strings.Cut(v, ":") // docker's older form
	}
	p := &r.spec.Process
	switch {
	case name == "no-new-privileges" && (!has || value == "true"):
		p.NewPrivs = false
	case name == "no-new-privileges" && value == "false":
		p.NewPrivs = true
	case name == "seccomp" && value == "unconfined":
		p.Seccomp = container.Seccomp{Unconfined: true}
	case name == "seccomp" && value != "":
		text, err := os.ReadFile(value)
		if err != nil {
			return err
		}
		if !json.Valid(text) {
			return fmt.Errorf("%s is not a profile: it isn't JSON", value)
		}
		p.Seccomp = container.Seccomp{Profile: text}
	case v == "systempaths=unconfined":
		p.Unmasked = true
	default:
		return fmt.Errorf("%q is none of seccomp=FILE|unconfined, no-new-privileges=true|false, systempaths=unconfined", v)
	}
	return nil
}

func setUserns(r *runRequest, v string) error {
	ids := &r.spec.IDs
	ids.Host, ids.Single = v == "host", v == "single"
	if !slices.Contains([]string{"host", "single", "private"}, v) {
		return fmt.Errorf("%q is none of private, single, host", v)
	}
	return nil
}

func setIDs(r *runRequest, v string) error {
	if v != "map" && v != "virtual" {
		return fmt.Errorf("%q is not map or virtual", v)
	}
	r.spec.IDs.Virtual, r.idsGiven = v == "virtual", true
	return nil
}

func setStopSignal(r *runRequest, v string) error {
	r.spec.StopSignal = v
	_, err := container.ParseSignal(v)
	return err
}

func setStopTimeout(r *runRequest, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a number of seconds", v)
	}
	r.spec.StopTimeout = n
	return nil
}

func setRestart(r *runRequest, v string) error {
	policy, count, has := strings.Cut(v, ":")
	n := 0
	if has {
		var err error
		if n, err = strconv.Atoi(count); err != nil || n < 1 {
			return fmt.Errorf("%q is not a number of restarts", count)
		}
	}
	switch {
	case v == "no":
		r.spec.Restart = container.Restart{}
	case policy == "on-failure":
		r.spec.Restart = container.Restart{OnFailure: true, Max: n}
	default:
		return fmt.Errorf("%q is none of no, on-failure, on-failure:N", v)
	}
	return nil
}
