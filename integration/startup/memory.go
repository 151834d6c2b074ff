package main

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// subordinate is the first range of ids of a user.
func subordinate(file string, uid int) (first, count int, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, err
	}
	id := strconv.Itoa(uid)
	u, err := user.LookupId(id)
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 3 && (f[0] == u.Username || f[0] == id) {
			first, _ = strconv.Atoi(f[1])
			count, _ = strconv.Atoi(f[2])
			return first, count, nil
		}
	}
	return 0, 0, fmt.Errorf("%s has no line for %s", file, u.Username)
}

// memory is that of all processes of a container but the payload: of the
// command line, of the server of the root, and of process 1 before it is the
// payload. peak is the sum of the most that each of them ever had resident, with
// the pages of the program counted once for each; settled is what they have
// while the payload runs, with shared pages counted in shares (Pss).
type memory struct{ peak, settled int } // KiB

// memory starts a command that stays for a moment and watches its processes.
func (s *stand) memory(args []string) (m memory, err error) {
	cmd := s.command(args)
	if err := cmd.Start(); err != nil {
		return m, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	begin := time.Now()
	peaks := map[string]int{} // by process and program
	for {
		select {
		case err := <-ended:
			for _, kib := range peaks {
				m.peak += kib
			}
			return m, err
		default:
		}
		settled := 0
		for _, pid := range family(cmd.Process.Pid) {
			if !ours(pid) {
				continue
			}
			peaks[pid] = max(peaks[pid], field("/proc/"+pid+"/status", "VmHWM:"))
			if time.Since(begin) > 200*time.Millisecond && m.settled == 0 {
				settled += field("/proc/"+pid+"/smaps_rollup", "Pss:")
			}
		}
		m.settled = max(m.settled, settled)
		time.Sleep(100 * time.Microsecond)
	}
}

// ours says whether a process runs a program of plyfs, and not the payload. A
// process that was just forked still looks like its parent and is nothing yet.
func ours(pid string) bool {
	line := func(pid string) []byte {
		text, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		return text
	}
	own := line(pid)
	parent := line(strconv.Itoa(field("/proc/"+pid+"/status", "PPid:")))
	return bytes.Contains(own[:max(bytes.IndexByte(own, 0), 0)], []byte("plyfs")) && !bytes.Equal(own, parent)
}

// family is a process and all that descend from it.
func family(pid int) []string {
	list := []string{strconv.Itoa(pid)}
	for i := 0; i < len(list); i++ {
		tasks, _ := filepath.Glob("/proc/" + list[i] + "/task/*/children")
		for _, t := range tasks {
			text, _ := os.ReadFile(t)
			for _, child := range strings.Fields(string(text)) {
				if !slices.Contains(list, child) {
					list = append(list, child)
				}
			}
		}
	}
	return list
}

// field is the number after a word at the start of a line.
func field(file, word string) int {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}
