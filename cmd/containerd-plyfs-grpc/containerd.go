package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"text/template"
	"time"

	versionapi "github.com/containerd/containerd/api/services/version/v1"
	"github.com/plyfs/plyfs/fs/sys"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

// pluginName is what containerd knows the snapshotter by.
const pluginName = "plyfs"

// block is what containerd's configuration needs, by version of the format:
// 3 is that of containerd 2, 2 that of 1.x. In 1.6 there is neither the
// transfer service nor a way to tell the capabilities and the root, and it
// panics when a diff plugin is a proxy.
var block = template.Must(template.New("").Parse(`# For containerd {{.Version}}: in /etc/containerd/config.toml, or in a file that its "imports" names.
version = {{.Format}}

[proxy_plugins.plyfs]
  type = "snapshot"
  address = "{{.Address}}"
{{- if .Modern}}
  platform = "{{.Platform}}"
  # Ids of a user namespace are shifted in the filesystem: no copy, no chown.
  capabilities = {{.Capabilities}}
  [proxy_plugins.plyfs.exports]
    # kubelet watches this filesystem, for image garbage collection and eviction.
    root = "{{.Root}}"

# Layers of containers: made by looking at what was changed only.
[proxy_plugins.plyfs-diff]
  type = "diff"
  address = "{{.Address}}"
[plugins."io.containerd.service.v1.diff-service"]
  default = ["plyfs-diff", "walking"]

# ctr image pull and import, and pulls by CRI: which snapshotter unpacks for them.
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "{{.Platform}}"
  snapshotter = "plyfs"
  # Without it 1.7 takes any that there is.
  differ = "{{.Unpacker}}"
{{- end}}
{{if eq .Format 3}}
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "plyfs"
{{else}}
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "plyfs"
{{end}}`))

// containerdVersion is major and minor of a containerd.
type containerdVersion struct {
	text         string
	major, minor int
}

// modern says whether a proxy plugin can have capabilities, exports, and be a
// differ.
func (v containerdVersion) modern() bool { return v.major > 1 || v.minor >= 7 }

// capabilities are what the snapshotter can do that containerd asks for: typed
// by the administrator, since the protocol has no way to announce them.
func capabilities(v containerdVersion) []string {
	caps := []string{"remap-ids"}
	// Unpacking in parallel is done in 2.2 and later, and not in a user
	// namespace: its applier can't write whiteouts there.
	if v.major >= 2 && !sys.InUserNamespace() {
		caps = append(caps, "rebase")
	}
	return caps
}

func printContainerdConfig(c *config) error {
	v := findContainerd(c)
	text, err := containerdConfig(c, v)
	if err == nil {
		fmt.Print(text)
	}
	return err
}

func containerdConfig(c *config, v containerdVersion) (string, error) {
	format := 3
	if v.major < 2 {
		format = 2
	}
	var quoted []string
	for _, cap := range capabilities(v) {
		quoted = append(quoted, strconv.Quote(cap))
	}
	unpacker := "walking"
	if sys.InUserNamespace() {
		unpacker = "plyfs-diff" // containerd's own can't write whiteouts there
	}
	var b strings.Builder
	err := block.Execute(&b, map[string]any{
		"Version": v.text, "Format": format, "Modern": v.modern(),
		"Address": c.Address, "Root": c.Root, "Platform": "linux/" + runtime.GOARCH,
		"Capabilities": "[" + strings.Join(quoted, ", ") + "]",
		"Unpacker":     unpacker,
	})
	return b.String(), err
}

var versionText = regexp.MustCompile(`v?(\d+)\.(\d+)\.\d+\S*`)

func parseVersion(text string) (v containerdVersion, ok bool) {
	m := versionText.FindStringSubmatch(text)
	if m == nil {
		return v, false
	}
	v.text = m[0]
	v.major, _ = strconv.Atoi(m[1])
	v.minor, _ = strconv.Atoi(m[2])
	return v, true
}

// findContainerd asks the containerd that runs, or else the program in the
// PATH; where there is none the newest is taken.
func findContainerd(c *config) containerdVersion {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if conn, err := dialContainerd(c); err == nil {
		defer conn.Close()
		if r, err := versionapi.NewVersionClient(conn).Version(ctx, &emptypb.Empty{}); err == nil {
			if v, ok := parseVersion(r.Version); ok {
				return v
			}
		}
	}
	if out, err := exec.CommandContext(ctx, "containerd", "--version").Output(); err == nil {
		for f := range strings.FieldsSeq(string(out)) {
			if v, ok := parseVersion(f); ok && v.text == f {
				return v
			}
		}
	}
	return containerdVersion{"2 (none was found)", 2, 0}
}

func dialContainerd(c *config) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+c.Containerd.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}
