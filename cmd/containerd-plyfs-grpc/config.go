package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/sys"
	"github.com/plyfs/plyfs/snapshot"
)

// config is the configuration file; defaultFile is it with words.
type config struct {
	Address string `toml:"address"`
	Root    string `toml:"root"`
	State   string `toml:"state"`
	Log     struct {
		Level  string `toml:"level"`
		Format string `toml:"format"`
	} `toml:"log"`
	Mounts struct {
		Options   string `toml:"options"`
		PerServer int    `toml:"per_server"`
		Fuse      bool   `toml:"fuse"`
		Keeper    bool   `toml:"keeper"`
	} `toml:"mounts"`
	Metrics struct {
		Address string `toml:"address"`
	} `toml:"metrics"`
	Debug struct {
		Address string `toml:"address"`
	} `toml:"debug"`
	Containerd struct {
		Address string `toml:"address"`
	} `toml:"containerd"`

	options *layer.Options // of Mounts.Options
}

// defaultFile is what `config default` prints: every key with its default,
// for the user who asks.
const defaultFile = `# containerd-plyfs-grpc

# Where containerd finds the snapshotter.
address = %q
# Layers and metadata. It should be on the filesystem that kubelet is to watch.
root = %q
# Mount points, and the sockets of the server processes. Gone after a reboot.
state = %q

[log]
level = "info"    # debug, info, warn, error
format = "text"   # text, json

[mounts]
# Options of docs/options.md for every container, separated by commas.
options = ""
# How many mounts share a server process, and so the pause if it should crash.
per_server = 64
# A process holds the mounts and replaces servers that die, without an error for
# containers (Linux 6.9; before, what was in flight fails). Without it a mount ends with
# its server. Holds for servers that are started from then on.
keeper = true
# Answer mounts of type fuse3.plyfs, which containerd's shim mounts with
# mount.fuse3, instead of mounting here. For a daemon that containerd doesn't
# share its mount namespace with.
fuse = false

[metrics]
# HOST:PORT of a Prometheus endpoint, /metrics. Empty: none.
address = ""

[debug]
# A socket with Go's pprof, /debug/pprof/. Empty: none.
address = ""

[containerd]
# Where the diff service reads and writes content, and doctor looks.
address = %q
`

// defaults are the values that nothing has set.
func defaults() config {
	var c config
	data, run := "/var/lib/plyfs", "/run/plyfs"
	c.Containerd.Address = "/run/containerd/containerd.sock"
	if rootless() {
		home, _ := os.UserHomeDir()
		data = filepath.Join(first(os.Getenv("XDG_DATA_HOME"), filepath.Join(home, ".local/share")), "plyfs")
		run = filepath.Join(first(os.Getenv("XDG_RUNTIME_DIR"), fmt.Sprintf("/run/user/%d", os.Getuid())), "plyfs")
	}
	c.Address = filepath.Join(run, "snapshotter.sock")
	c.Root = filepath.Join(data, "snapshotter")
	c.State = filepath.Join(run, "snapshotter")
	c.Log.Level, c.Log.Format = "info", "text"
	c.Mounts.PerServer, c.Mounts.Keeper = 64, true
	return c
}

// rootless says whether the user's own directories are used: in a user
// namespace whose root is somebody else outside.
func rootless() bool { return os.Geteuid() != 0 || sys.InUserNamespace() }

func configFile() string {
	if rootless() {
		home, _ := os.UserHomeDir()
		return filepath.Join(first(os.Getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config")), "plyfs/snapshotter.toml")
	}
	return "/etc/plyfs/snapshotter.toml"
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// readConfig puts defaults, file, environment and flags together.
func readConfig(flags []cli.Flag) (config, error) {
	c := defaults()
	file, asked := os.Getenv("PLYFS_SNAPSHOTTER_CONFIG"), false
	for _, f := range flags {
		if f.Name == "config" {
			file = f.Value
		}
	}
	if asked = file != ""; !asked {
		file = configFile()
	}
	text, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := parseConfig(file, string(text), &c); err != nil {
			return c, err
		}
	case asked || !errors.Is(err, os.ErrNotExist):
		return c, fmt.Errorf("configuration: %w", err)
	}
	for name, at := range map[string]*string{"ADDRESS": &c.Address, "ROOT": &c.Root, "STATE": &c.State} {
		if v := os.Getenv("PLYFS_SNAPSHOTTER_" + name); v != "" {
			*at = v
		}
	}
	at := map[string]*string{
		"address": &c.Address, "root": &c.Root, "state": &c.State, "containerd": &c.Containerd.Address,
		"log-level": &c.Log.Level, "log-format": &c.Log.Format, "metrics": &c.Metrics.Address, "debug": &c.Debug.Address,
	}
	for _, f := range flags {
		if p := at[f.Name]; p != nil {
			*p = f.Value
		}
	}
	return c, nil
}

// parseConfig reads a file over what c has. A key that doesn't exist is an
// error: a mistyped one would be a setting that does nothing.
func parseConfig(file, text string, c *config) error {
	err := toml.NewDecoder(strings.NewReader(text)).DisallowUnknownFields().Decode(c)
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		e := unknown.Errors[0]
		line, _ := e.Position()
		return fmt.Errorf("configuration %s, line %d: unknown key %s; `%s config default` prints those that there are", file, line, strings.Join(e.Key(), "."), program)
	case errors.As(err, &wrong):
		line, col := wrong.Position()
		return fmt.Errorf("configuration %s, line %d, column %d: %s", file, line, col, wrongType.ReplaceAllString(strings.TrimPrefix(wrong.Error(), "toml: "), "a TOML $1 where a $2 is wanted"))
	case err != nil:
		return fmt.Errorf("configuration %s: %w", file, err)
	}
	return nil
}

// wrongType is what the library says of a value, with the Go type that it goes to.
var wrongType = regexp.MustCompile(`cannot decode TOML (\w+) into struct field .* of type (\w+)$`)

// check names the value that can't be.
func (c *config) check() error {
	for _, p := range []struct{ name, path string }{{"address", c.Address}, {"root", c.Root}, {"state", c.State}} {
		if !filepath.IsAbs(p.path) {
			return fmt.Errorf("%s %q is not an absolute path: containerd looks from another directory", p.name, p.path)
		}
	}
	if c.Mounts.PerServer < 1 {
		return fmt.Errorf("mounts.per_server is %d: a server process has one mount at least", c.Mounts.PerServer)
	}
	if _, err := newLogger(c, os.Stderr); err != nil {
		return err
	}
	o, err := snapshot.ParseOptions(c.Mounts.Options)
	if err != nil {
		return fmt.Errorf("mounts.options: %w", err)
	}
	c.options = o
	return nil
}

func configVerb(args []string) error {
	c, rest, done, err := readFlags(args)
	if done || err != nil {
		return err
	}
	what, err := cli.One(rest, "kind of configuration (containerd or default)")
	if err != nil {
		return err
	}
	switch what {
	case "default":
		d := defaults()
		fmt.Printf(defaultFile, d.Address, d.Root, d.State, d.Containerd.Address)
		return nil
	case "containerd":
		return printContainerdConfig(&c)
	}
	return fmt.Errorf("%q is neither containerd nor default", what)
}
