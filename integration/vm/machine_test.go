//go:build vm

package vm

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// patience is how long the machine may take, from boot to power off.
const patience = 30 * time.Minute

// machine is what became of one.
type machine struct {
	dir   string
	lines []string // what the tests said
}

// boot runs the machine until it is off. Whatever it writes to its disk is
// forgotten.
func boot(t *testing.T, image, dir string) *machine {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m := &machine{dir: dir}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-M", "pc", "-accel", "tcg,thread=multi", "-cpu", "qemu64", "-m", "1536", "-smp", "2",
		"-kernel", filepath.Join(image, "vmlinuz"), "-initrd", filepath.Join(image, "initrd"),
		"-append", "console=ttyS0 quiet panic=-1 systemd.show_status=0 systemd.log_level=warning net.ifnames=0",
		"-drive", "if=virtio,format=raw,snapshot=on,file="+filepath.Join(image, "disk"),
		"-drive", "if=virtio,format=raw,read-only=on,file="+filepath.Join(dir, "programs"),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "file:"+filepath.Join(dir, "console"), "-serial", "stdio")
	cmd.Env = append(os.Environ(), "TMPDIR=/var/tmp")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		m.lines = append(m.lines, line)
		if strings.HasPrefix(line, "UP ") || strings.HasPrefix(line, "--- ") {
			t.Logf("%5.1fs %s", time.Since(start).Seconds(), line)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the machine: %v, after %v", err, time.Since(start))
	}
	t.Logf("the machine ran for %.1fs", time.Since(start).Seconds())
	return m
}

func (m *machine) console() string {
	text, err := os.ReadFile(filepath.Join(m.dir, "console"))
	if err != nil {
		return err.Error()
	}
	const end = 8 << 10
	return string(text[max(0, len(text)-end):])
}

// result is that of one test.
type result struct {
	verdict, took string
	said          []string
}

var (
	suiteLine  = regexp.MustCompile(`^SUITE (\S+)$`)
	runLine    = regexp.MustCompile(`^=== (?:RUN|CONT|NAME) +(Test[^/\s]*)`)
	resultLine = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+) \((\S+)\)`)
)

// results reads what go test said, by SUITE/TEST.
func (m *machine) results() map[string]result {
	out := map[string]result{}
	suite, said := "", []string(nil)
	for _, line := range m.lines {
		if f := suiteLine.FindStringSubmatch(line); f != nil {
			suite, said = f[1], nil
		}
		if runLine.MatchString(line) && !strings.Contains(line, "/") {
			said = nil
		}
		said = append(said, line)
		if f := resultLine.FindStringSubmatch(line); f != nil {
			// What a subtest says comes after its parent's verdict; the text
			// before it is what counts when the test itself failed.
			out[suite+"/"+f[2]] = result{f[1], f[3], said}
		}
	}
	return out
}
