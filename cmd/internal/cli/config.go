package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// Config is the configuration file. What it doesn't name has its default.
type Config struct {
	// Root is where containers are kept; "" is the place for that.
	Root string    `toml:"root"`
	Try  TryConfig `toml:"try"`
	// Registry has what is special about registries, by their names.
	Registry map[string]RegistryConfig `toml:"registry"`

	// File is where it was read from, "" for the defaults.
	File string `toml:"-"`
}

// RegistryConfig is about one registry.
type RegistryConfig struct {
	// Mirrors are asked first, in this order: HOST[:PORT][/PREFIX], with http://
	// before it for one without encryption.
	Mirrors []string `toml:"mirrors"`
	// Insecure lets plyfs speak to it without encryption, or with a certificate
	// that nobody vouches for.
	Insecure bool `toml:"insecure"`
}

// TryConfig is the part of it for plyfs try.
type TryConfig struct {
	// Hide are the paths that no sandbox sees: absolute, or below ~/.
	Hide []string `toml:"hide"`
}

// DefaultConfig is the configuration without a file, as text. It is what
// `plyfs config default` prints, and what LoadConfig starts from.
const DefaultConfig = `# plyfs configuration; this is the default. It is read from
# $PLYFS_CONFIG, else $XDG_CONFIG_HOME/plyfs/config.toml (~/.config/plyfs/config.toml);
# for root from /etc/plyfs/config.toml. --config FILE before the verb names another.

# Where containers and sandboxes are kept, an absolute path. "" is /var/lib/plyfs for
# root, else $XDG_DATA_HOME/plyfs (~/.local/share/plyfs). PLYFS_ROOT and --root win.
root = ""

[try]
# Paths that are not there in a sandbox of plyfs try: absolute, or below ~/.
# A list here takes the place of this one.
hide = [
	"~/.ssh",
	"~/.gnupg",
	"~/.aws",
	"~/.azure",
	"~/.config/gcloud",
	"~/.config/doctl",
	"~/.config/hcloud",
	"~/.kube",
	"~/.docker/config.json",
	"~/.config/containers/auth.json",
	"~/.netrc",
	"~/.pgpass",
	"~/.my.cnf",
	"~/.pypirc",
	"~/.git-credentials",
	"~/.config/git/credentials",
	"~/.config/gh",
	"~/.config/glab-cli",
	"~/.terraform.d/credentials.tfrc.json",
	"~/.vault-token",
	"~/.password-store",
	"~/.local/share/keyrings",
	"~/.config/op",
]

# A registry that has mirrors, which are asked first, or no encryption:
# [registry."docker.io"]
# mirrors = ["mirror.example.com", "http://10.0.0.1:5000/cache"]
# insecure = false
`

// configFile is where the configuration lies, if there is one; asked says that
// somebody named it.
func configFile() (name string, asked bool) {
	if f := os.Getenv("PLYFS_CONFIG"); f != "" {
		return f, true
	}
	if os.Geteuid() == 0 {
		return "/etc/plyfs/config.toml", false
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", false
	}
	return filepath.Join(dir, "plyfs", "config.toml"), false
}

// ConfigFile is the configuration file, if there is one.
func ConfigFile() (name string, ok bool) {
	name, _ = configFile()
	if name == "" {
		return "", false
	}
	_, err := os.Stat(name)
	return name, err == nil
}

// ConfiguredRoot is the Root of the configuration file, if there is one. It
// costs a start of a container nothing where there is none.
func ConfiguredRoot() (string, error) {
	name, asked := configFile()
	if name == "" {
		return "", nil
	}
	if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) && !asked {
		return "", nil
	}
	c, err := LoadConfig()
	if err != nil {
		return "", err
	}
	if c.Root != "" && !filepath.IsAbs(c.Root) {
		return "", fmt.Errorf("%s: root: %q is not an absolute path", c.File, c.Root)
	}
	return c.Root, nil
}

// LoadConfig reads the configuration. A key that plyfs doesn't have is an error:
// somebody relies on it.
func LoadConfig() (*Config, error) {
	c := new(Config)
	if _, err := toml.Decode(DefaultConfig, c); err != nil {
		return nil, fmt.Errorf("the default configuration: %w", err)
	}
	name, asked := configFile()
	if name == "" {
		return c, nil
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) && !asked {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c.File = name
	meta, err := toml.Decode(string(text), c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if extra := meta.Undecoded(); len(extra) > 0 {
		var keys []string
		for _, k := range extra {
			keys = append(keys, k.String())
		}
		return nil, fmt.Errorf("%s: unknown key %s; plyfs config default prints those that there are", name, strings.Join(keys, ", "))
	}
	return c, nil
}
