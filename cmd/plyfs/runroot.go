package main

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/fs/layer"
)

// finishRoot makes the text of a root of layers.
func (r *runRequest) finishRoot() error {
	s := &r.spec
	switch {
	case len(r.layers) == 0 && s.Root.Dir == "":
		return fmt.Errorf("no root given: an image, --layer DIR… or --rootfs DIR")
	case len(r.layers) > 0 && s.Root.Dir != "":
		return fmt.Errorf("--layer and --rootfs exclude each other")
	case s.Root.Dir != "":
		if s.IDs.Virtual {
			return fmt.Errorf("--ids virtual needs --layer: a plain directory keeps no owners as data")
		}
		s.Image = s.Root.Dir
		return isDirectory("--rootfs", s.Root.Dir)
	}
	o := &layer.Options{NoDev: true, Suid: s.Process.NewPrivs}
	for _, l := range r.layers {
		dir, err := filepath.Abs(l)
		if err == nil {
			err = isDirectory("--layer", dir)
		}
		if err != nil {
			return err
		}
		o.Lower = append(o.Lower, dir)
	}
	if s.Image == "" {
		s.Image = o.Lower[0]
	}
	if s.Remove { // nobody will ever read it again
		o.Fsync, o.NoMarker, o.Scratch = layer.FsyncVolatile, true, true
	}
	if s.IDs.Virtual {
		o.XattrPerm = layer.XattrPermUser
	}
	if os.Geteuid() == 0 && !s.IDs.Host && !s.IDs.Single {
		// What the container's user namespace doesn't know, it must not see.
		o.UIDMap = []layer.IDRange{{Host: 0, Target: 0, Length: container.IDs65536}}
		o.GIDMap = o.UIDMap
	}
	s.Root.FS = o.String()
	return nil
}

func isDirectory(what, dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s %s is not a directory", what, dir)
	}
	return nil
}

func addVolume(r *runRequest, v string) error {
	f := strings.Split(v, ":")
	if len(f) < 2 || len(f) > 3 || f[0] == "" || !path.IsAbs(f[1]) {
		return fmt.Errorf("%q: write SOURCE:/TARGET or SOURCE:/TARGET:ro", v)
	}
	src, err := filepath.Abs(f[0])
	if err != nil {
		return err
	}
	m := container.Mount{Type: "bind", Source: src, Target: f[1]}
	if len(f) == 3 {
		for _, o := range strings.Split(f[2], ",") {
			switch o {
			case "ro":
				m.ReadOnly = true
			case "noexec":
				m.NoExec = true
			case "rw":
			default:
				return fmt.Errorf("%q is none of ro, rw, noexec", o)
			}
		}
	}
	if _, err := os.Stat(src); err != nil {
		return err
	}
	r.spec.Mounts = append(r.spec.Mounts, m)
	return nil
}

func addTmpfs(r *runRequest, v string) error {
	dir, options, _ := strings.Cut(v, ":")
	m := container.Mount{Type: "tmpfs", Target: dir, NoExec: false}
	for _, o := range strings.Split(options, ",") {
		name, value, _ := strings.Cut(o, "=")
		switch {
		case o == "", o == "rw", o == "exec", o == "nosuid", o == "nodev":
		case o == "ro":
			m.ReadOnly = true
		case o == "noexec":
			m.NoExec = true
		case name == "size":
			percent, isPercent := strings.CutSuffix(value, "%")
			if _, err := strconv.ParseUint(percent, 10, 32); !isPercent || err != nil {
				n, err := byteSize(value)
				if err != nil {
					return err
				}
				value = strconv.FormatInt(n, 10) // the kernel doesn't know all of our units
			}
			m.Size = value
		case name == "mode":
			mode, err := strconv.ParseUint(value, 8, 12)
			if err != nil {
				return fmt.Errorf("mode %q is not octal", value)
			}
			m.Mode = uint32(mode)
		default:
			return fmt.Errorf("option %q is none of size=, mode=, ro, noexec", o)
		}
	}
	if !path.IsAbs(dir) {
		return fmt.Errorf("%q: the directory must begin with /", dir)
	}
	r.spec.Mounts = append(r.spec.Mounts, m)
	return nil
}

func addDevice(r *runRequest, v string) error {
	src, dst, has := strings.Cut(v, ":")
	if !has {
		dst = src
	}
	if !path.IsAbs(src) || !path.IsAbs(dst) || strings.Contains(dst, ":") {
		return fmt.Errorf("%q: write /dev/SOURCE or /dev/SOURCE:/dev/TARGET; what may be done with it is up to the device's mode", v)
	}
	if _, err := os.Stat(src); err != nil {
		return err
	}
	r.spec.Devices = append(r.spec.Devices, container.Device{Source: src, Target: dst})
	return nil
}

func addPort(r *runRequest, v string) error {
	p := container.Port{Proto: "tcp"}
	ports := v
	if at := strings.LastIndexByte(v, '/'); at >= 0 {
		p.Proto, ports = v[at+1:], v[:at]
	}
	if p.Proto != "tcp" && p.Proto != "udp" {
		return fmt.Errorf("%q is neither tcp nor udp", p.Proto)
	}
	if at := strings.LastIndexByte(ports, ':'); at >= 0 {
		if host := strings.LastIndexByte(ports[:at], ':'); host >= 0 {
			ip := strings.Trim(ports[:host], "[]")
			if _, err := netip.ParseAddr(ip); err != nil {
				return fmt.Errorf("%q is not an address", ip)
			}
			p.HostIP, ports = ip, ports[host+1:]
		}
	}
	host, inside, ok := strings.Cut(ports, ":")
	if !ok {
		inside = host
	}
	for _, f := range []struct {
		text string
		to   *int
	}{{host, &p.Host}, {inside, &p.Container}} {
		n, err := strconv.ParseUint(f.text, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%q: write [IP:]HOST:CONTAINER[/tcp|udp] with ports from 1 to %d", v, math.MaxUint16)
		}
		*f.to = int(n)
	}
	r.spec.Net.Ports = append(r.spec.Net.Ports, p)
	return nil
}

func addDNS(r *runRequest, v string) error {
	if _, err := netip.ParseAddr(v); err != nil {
		return fmt.Errorf("%q is not an address", v)
	}
	r.spec.Net.DNS = append(r.spec.Net.DNS, v)
	return nil
}

func addHost(r *runRequest, v string) error {
	name, addr, ok := strings.Cut(v, ":")
	if _, err := netip.ParseAddr(strings.Trim(addr, "[]")); !ok || name == "" || err != nil {
		return fmt.Errorf("%q: write NAME:ADDRESS", v)
	}
	r.spec.Net.Hosts = append(r.spec.Net.Hosts, name+":"+strings.Trim(addr, "[]"))
	return nil
}
