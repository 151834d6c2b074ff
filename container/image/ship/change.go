package ship

import (
	"encoding/json"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Change applies instructions in the form of a Dockerfile to a configuration.
func Change(c *ocispec.ImageConfig, instructions []string) error {
	for _, text := range instructions {
		word, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
		rest = strings.TrimSpace(rest)
		if rest == "" {
			return fmt.Errorf("--change %q: nothing is behind the word", text)
		}
		if err := change(c, strings.ToUpper(word), rest); err != nil {
			return fmt.Errorf("--change %q: %w", text, err)
		}
	}
	return nil
}

func change(c *ocispec.ImageConfig, word, rest string) error {
	switch word {
	case "CMD":
		c.Cmd = command(rest)
	case "ENTRYPOINT":
		c.Entrypoint = command(rest)
	case "USER":
		c.User = rest
	case "WORKDIR":
		c.WorkingDir = rest
	case "STOPSIGNAL":
		c.StopSignal = rest
	case "EXPOSE":
		for _, p := range strings.Fields(rest) {
			if !strings.Contains(p, "/") {
				p += "/tcp"
			}
			addTo(&c.ExposedPorts, p)
		}
	case "VOLUME":
		list := strings.Fields(rest)
		if rest[0] == '[' {
			list = command(rest)
		}
		for _, v := range list {
			addTo(&c.Volumes, v)
		}
	case "ENV":
		name, value, ok := pair(rest)
		if !ok {
			return fmt.Errorf("write ENV NAME=VALUE")
		}
		kept := c.Env[:0:0]
		for _, kv := range c.Env {
			if !strings.HasPrefix(kv, name+"=") {
				kept = append(kept, kv)
			}
		}
		c.Env = append(kept, name+"="+value)
	case "LABEL":
		name, value, ok := pair(rest)
		if !ok {
			return fmt.Errorf("write LABEL NAME=VALUE")
		}
		labels := map[string]string{name: value}
		for k, v := range c.Labels {
			if k != name {
				labels[k] = v
			}
		}
		c.Labels = labels
	default:
		return fmt.Errorf("%s is none of CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR", word)
	}
	return nil
}

// command reads a list in JSON's form, else a line for the shell.
func command(text string) []string {
	var list []string
	if json.Unmarshal([]byte(text), &list) == nil {
		return list
	}
	return []string{"/bin/sh", "-c", text}
}

func pair(text string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(text, "=")
	if !ok {
		name, value, ok = strings.Cut(text, " ")
	}
	if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	return name, value, ok && name != "" && !strings.ContainsAny(name, " \t")
}

func addTo(m *map[string]struct{}, key string) {
	next := map[string]struct{}{key: {}}
	for k := range *m {
		next[k] = struct{}{}
	}
	*m = next
}
