package container

import (
	"fmt"
	"maps"
	"os"
	"strings"
)

// withFiles adds what every program looks for under /etc, unless the caller
// has given it, or mounts something there.
func (s *Spec) withFiles() map[string]string {
	if s.NoFiles {
		return s.Files
	}
	out := map[string]string{
		"/etc/hostname": s.Hostname + "\n",
		"/etc/hosts":    s.hosts(),
	}
	if s.Net.Mode != NetNone || len(s.Net.DNS) > 0 {
		out["/etc/resolv.conf"] = s.resolvConf()
	}
	for _, m := range s.Mounts {
		delete(out, m.Target)
	}
	maps.Copy(out, s.Files)
	return out
}

func (s *Spec) hosts() string {
	var b strings.Builder
	if s.Net.Mode == NetHost {
		text, _ := os.ReadFile("/etc/hosts")
		b.Write(text)
		if n := len(text); n > 0 && text[n-1] != '\n' {
			b.WriteByte('\n')
		}
	} else {
		b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
		fmt.Fprintf(&b, "127.0.1.1\t%s\n", s.Hostname)
	}
	for _, h := range s.Net.Hosts {
		name, addr, _ := strings.Cut(h, ":")
		fmt.Fprintf(&b, "%s\t%s\n", addr, name)
	}
	return b.String()
}

// resolvConf is the host's, without servers that only the host can reach.
func (s *Spec) resolvConf() string {
	var b strings.Builder
	for _, a := range s.Net.DNS {
		fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	if b.Len() > 0 {
		return b.String()
	}
	text, _ := os.ReadFile("/etc/resolv.conf")
	if s.Net.Mode == NetUser && strings.Contains(string(text), "nameserver 127.") {
		if real, err := os.ReadFile("/run/systemd/resolve/resolv.conf"); err == nil {
			text = real
		}
	}
	for line := range strings.Lines(string(text)) {
		if s.Net.Mode == NetUser && strings.HasPrefix(line, "nameserver 127.") {
			continue
		}
		b.WriteString(line)
	}
	return b.String()
}
