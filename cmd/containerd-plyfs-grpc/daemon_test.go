package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/require"
	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestBadInput: one line that names what is wrong, exit code 1.
func TestBadInput(t *testing.T) {
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	l, err := net.Listen("unix", dir+"/used.sock")
	must(t, err)
	defer l.Close()
	must(t, os.Mkdir(dir+"/full", 0o700))
	must(t, unix.Mount("tmpfs", dir+"/full", "tmpfs", 0, "size=4k,nr_inodes=3"))
	defer func() { must(t, unix.Unmount(dir+"/full", 0)) }()
	flags := func(more ...string) []string {
		return append([]string{"--address", dir + "/s.sock", "--root", dir + "/root", "--state", dir + "/state"}, more...)
	}
	for _, tt := range []struct {
		args []string
		want string
		code int
	}{
		{flags("--nope"), "unknown flag --nope", 1},
		{[]string{"a", "b", "c"}, "SOCKET and ROOT", 1},
		{[]string{"a.sock", "/root"}, "not an absolute path", 1},
		{flags("--config", dir+"/none"), "no such file", 1},
		{flags("--config", file("key.toml", "\n[mounts]\nper_servr = 3\n")), "line 3: unknown key mounts.per_servr", 1},
		{flags("--config", file("type.toml", "[mounts]\nper_server = \"x\"\n")), "line 2, column 14: a TOML string where a int is wanted", 1},
		{flags("--config", file("syntax.toml", "address = \n")), "line 1", 1},
		{flags("--config", file("zero.toml", "[mounts]\nper_server = 0\n")), "mounts.per_server is 0", 1},
		{flags("--config", file("opt.toml", "[mounts]\noptions = \"nosuch\"\n")), "nosuch", 1},
		{flags("--config", file("dir.toml", "[mounts]\noptions = \"upperdir=/x\"\n")), "the snapshotter's to choose", 1},
		{flags("--config", file("ro.toml", "[mounts]\noptions = \"ro\"\n")), "not for all mounts", 1},
		{flags("--log-level", "loud"), "log level \"loud\"", 1},
		{flags("--address", dir+"/"+strings.Repeat("x", 120)), "the path has", 1},
		{flags("--address", dir+"/used.sock"), "is in use", 1},
		{flags("--address", file("plain", "")), "something else with this name", 1},
		{flags("--root", file("plain2", "")), "cannot be made", 1},
		{flags("--root", dir+"/full/root"), "no space left", 1},
		{flags("--debug", dir+"/"+strings.Repeat("x", 120)), "shorter --debug", 1},
		{flags("--debug", file("plain3", "")), "another --debug", 1},
		{flags("--debug", dir+"/used.sock"), "is in use", 1},
		{flags("--metrics", "nowhere:x"), "metrics address", 1},
	} {
		cmd := self(tt.args...)
		out, err := cmd.CombinedOutput()
		text := strings.TrimSpace(string(out))
		if err == nil || cmd.ProcessState.ExitCode() != tt.code || !strings.Contains(text, tt.want) || strings.Contains(text, "\n") {
			t.Errorf("%q: exit code %d, want %d and one line with %q:\n%s", tt.args, cmd.ProcessState.ExitCode(), tt.code, tt.want, text)
		}
	}
}

// TestDefaultConfig: what is printed is what is in force without a file.
func TestDefaultConfig(t *testing.T) {
	out, err := self("config", "default").Output()
	must(t, err)
	c := config{}
	must(t, parseConfig("printed", string(out), &c))
	if c != defaults() {
		t.Errorf("printed %+v, in force %+v", c, defaults())
	}
}

// TestObserved: metrics, the debug socket and the log tell what happens.
func TestObserved(t *testing.T) {
	require.FUSE(t)
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	r, err := startDaemon(dir, "--metrics", address, "--debug", dir+"/debug.sock", "--log-level", "debug")
	must(t, err)
	conn, err := dialUnix(r.socket)
	must(t, err)
	sn, ctx := proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), "plyfs"), context.Background()
	_, err = sn.Prepare(ctx, "base", "")
	must(t, err)
	must(t, sn.Commit(ctx, "layer", "base"))
	_, err = sn.Prepare(ctx, "second", "layer")
	must(t, err)
	must(t, sn.Commit(ctx, "layer2", "second"))
	m, err := sn.Prepare(ctx, "container", "layer2")
	must(t, err)
	must(t, os.WriteFile(m[0].Source+"/f", []byte("text"), 0o644))
	body := get(t, http.DefaultClient, "http://"+address+"/metrics")
	for _, want := range []string{
		`plyfs_snapshotter_snapshots{kind="committed"} 2`,
		`plyfs_snapshotter_snapshots{kind="active"} 1`,
		`plyfs_snapshotter_mounts 1`,
		`plyfs_snapshotter_servers 1`,
		`plyfs_fuse_requests_total{op="create"} 1`,
		`plyfs_copy_up_bytes_total 0`,
		`plyfs_copy_ups_total 0`,
		`plyfs_answers_total{from="layer"} `,
		`plyfs_snapshotter_call_seconds_count{code="OK",method="Prepare"} 3`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	// From the first look on requests are timed.
	must(t, os.Mkdir(m[0].Source+"/d", 0o755))
	body = get(t, http.DefaultClient, "http://"+address+"/metrics")
	for _, want := range []string{`plyfs_fuse_request_seconds_count{op="mkdir"} 1`, `plyfs_fuse_request_seconds_bucket{op="mkdir",le="17.179869184"} 1`} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	var st unix.Stat_t
	// plyfs stats and trace find the mount by the name of its server's memory.
	must(t, unix.Stat(m[0].Source, &st))
	name, found := fmt.Sprintf("/memfd:plyfs-meter:%d:%d (deleted)", unix.Major(st.Dev), unix.Minor(st.Dev)), false
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	must(t, err)
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && to == name {
			found = true
		}
	}
	if !found {
		t.Errorf("nobody has %s", name)
	}
	must(t, unix.Stat(dir+"/debug.sock", &st))
	if st.Mode&0o777 != 0o600 {
		t.Errorf("debug socket has mode %o", st.Mode&0o777)
	}
	unixClient := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return net.Dial("unix", dir+"/debug.sock")
	}}}
	if !strings.Contains(get(t, unixClient, "http://debug/debug/pprof/goroutine?debug=1"), "goroutine profile") {
		t.Error("no goroutine profile")
	}
	_ = conn.Close()
	must(t, r.stop())
	if log := r.log.String(); !strings.Contains(log, "method=Prepare") || !strings.Contains(log, "stopping; mounts stay") {
		t.Errorf("log: %s", log)
	}
}

func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	resp, err := c.Get(url)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(b)
}

// TestSystemd: a socket that is passed is used, and readiness is told.
func TestSystemd(t *testing.T) {
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	dir := t.TempDir()
	l, err := net.Listen("unix", dir+"/given.sock")
	must(t, err)
	f, err := l.(*net.UnixListener).File()
	must(t, err)
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/notify", Net: "unixgram"})
	must(t, err)
	defer told.Close()
	// LISTEN_PID is the daemon's own, which a shell knows.
	cmd := self("--address", dir+"/other.sock", "--root", dir+"/root", "--state", dir+"/state")
	cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, "/proc/" + pid() + "/exe"}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = append(cmd.Env, "LISTEN_FDS=1", "NOTIFY_SOCKET="+dir+"/notify", "WATCHDOG_USEC=200000")
	var log lockedBuffer
	cmd.Stderr = &log
	must(t, cmd.Start())
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		b := make([]byte, 100)
		must(t, told.SetReadDeadline(time.Now().Add(30*time.Second)))
		n, err := told.Read(b)
		if err != nil {
			t.Fatalf("waiting for %s: %v\n%s", want, err, log.String())
		}
		if string(b[:n]) != want {
			t.Errorf("systemd was told %q, want %q", b[:n], want)
		}
	}
	conn, err := dialUnix(dir + "/given.sock")
	must(t, err)
	defer conn.Close()
	must(t, proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), "plyfs").(interface {
		Cleanup(context.Context) error
	}).Cleanup(context.Background()))
	if _, err := os.Lstat(dir + "/other.sock"); err == nil {
		t.Error("a second socket was made")
	}
	must(t, cmd.Process.Signal(unix.SIGTERM))
	must(t, cmd.Wait())
}

func pid() string {
	p, _ := os.Readlink("/proc/self")
	return p
}

// TestContainerdConfig: what is printed for each version.
func TestContainerdConfig(t *testing.T) {
	c := defaults()
	for version, want := range map[string][]string{
		"2.4.2":         {"version = 3", `capabilities = ["remap-ids", "rebase"]`, "unpack_config", `root = "/var/lib/plyfs/snapshotter"`, "io.containerd.cri.v1.images"},
		"v1.7.27":       {"version = 2", `capabilities = ["remap-ids"]`, "unpack_config", `differ = "walking"`, "plyfs-diff", "io.containerd.grpc.v1.cri"},
		"1.6.20~ds1-1+": {"version = 2", "io.containerd.grpc.v1.cri"},
	} {
		v, ok := parseVersion(version)
		if !ok {
			t.Fatalf("%s is no version", version)
		}
		text, err := containerdConfig(&c, v)
		must(t, err)
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %s in\n%s", version, w, text)
			}
		}
		if v.minor == 6 && (strings.Contains(text, "capabilities") || strings.Contains(text, "diff")) {
			t.Errorf("%s knows no capabilities and no proxy that is a differ:\n%s", version, text)
		}
	}
}
