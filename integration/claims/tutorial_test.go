package claims

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/integration/harness"
)

func TestTry(t *testing.T) {
	u := user(t)
	require.UserNS(t)
	follow(t, u, "tutorial-try.md", "")
}

// containersConf keeps podman away from what a test machine may lack: systemd,
// cgroups of one version, a network, the right to raise limits.
const containersConf = `[containers]
netns = "none"
cgroupns = "host"
default_ulimits = ["nofile=1024:1024"]
default_sysctls = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
`

func TestPodman(t *testing.T) {
	u := user(t, "podman", "buildah", "runc", "fusermount3", "busybox")
	require.SubIDs(t)
	follow(t, u, "tutorial-podman.md", `
cat >containers.conf <<'EOF'
`+containersConf+`EOF
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >.config/containers/policy.json
export CONTAINERS_CONF=$HOME/containers.conf BUILDAH_ISOLATION=chroot
trap 'podman system migrate' EXIT
`)
}

// follow types what a tutorial says, in a home of its own, and looks for what
// it says that is to be seen: each line of a ```text block, in what the ```sh
// block before it printed. "…" stands for anything.
func follow(t *testing.T, u *harness.User, doc, setup string) {
	t.Helper()
	data, err := os.ReadFile("../../docs/" + doc)
	if err != nil {
		t.Fatal(err)
	}
	home := u.Dir(t)
	harness.Build(t, "./cmd/plyfs-image")
	script := "mkdir -p run bin .config/containers; ln -s $BIN bin/plyfs; ln -s ${BIN%/*}/plyfs-image bin/plyfs-image; export PATH=$HOME/bin:$PATH\n" + setup
	var blocks []string // what is to be seen after each block
	lines := strings.Split(string(data), "\n")
	for i := 0; i < len(lines); i++ {
		kind, ok := strings.CutPrefix(lines[i], "```")
		if !ok {
			continue
		}
		var text []string
		for i++; lines[i] != "```"; i++ {
			text = append(text, lines[i])
		}
		switch {
		case kind == "sh":
			script += fmt.Sprintf("echo '== block %d'\n{\n%s\n} 2>&1\n", len(blocks), strings.Join(text, "\n"))
			blocks = append(blocks, "")
		case kind == "text" && len(blocks) > 0:
			blocks[len(blocks)-1] = strings.Join(text, "\n")
		default:
			t.Errorf("docs/%s: a block of the kind %q", doc, kind)
		}
	}
	said := u.Run(t, "cd "+home+"\n"+script, "HOME="+home, "XDG_RUNTIME_DIR="+filepath.Join(home, "run"), "XDG_DATA_HOME=", "XDG_CONFIG_HOME=")
	for i, want := range blocks {
		_, got, _ := strings.Cut(said, fmt.Sprintf("== block %d\n", i))
		got, _, _ = strings.Cut(got, "== block")
		for line := range strings.SplitSeq(want, "\n") {
			if line != "" && !shows(got, line) {
				t.Errorf("docs/%s says that %q is to be seen, and what was is:\n%s", doc, line, got)
			}
		}
	}
}

// shows says whether one line of the text is want, in which "…" is anything.
func shows(text, want string) bool {
	parts := strings.Split(want, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("(?m)^" + strings.Join(parts, ".*") + "$").MatchString(text)
}
