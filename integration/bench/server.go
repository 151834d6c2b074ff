package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// serverOf finds the process that has the mount point as its last argument. The
// keeper of a mount has it as well, and serves nothing.
func serverOf(mnt string) (pid int, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		cmdline, err := os.ReadFile(dir + "/cmdline")
		args := strings.Split(string(cmdline), "\x00")
		if err == nil && len(args) > 2 && args[len(args)-2] == mnt && !strings.HasPrefix(args[0], "plyfs-keeper") {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, fmt.Errorf("no process has %s as its last argument", mnt)
}

// peakMemory is the most that a process had resident, in MiB.
func peakMemory(pid int) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, _ := strconv.ParseFloat(f[1], 64)
			return kib / 1024
		}
	}
	return 0
}

// watch is what the clock and the counters of CPU time said at the start.
type watch struct {
	start          time.Time
	client, server float64
}

func startWatch(server int) watch {
	return watch{client: clientCPU(), server: threads(server), start: time.Now()}
}

func (w watch) stop(server int) measurement {
	m := measurement{Wall: time.Since(w.start).Seconds(), Client: clientCPU() - w.client}
	if server != 0 {
		m.Server = threads(server) - w.server
	}
	return m
}

// clientCPU is what this process and its children have used.
func clientCPU() (total float64) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			total += float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
		}
	}
	return total
}

// threads adds up the run times of a process's threads, which the scheduler
// keeps in nanoseconds.
func threads(pid int) (total float64) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		ns, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseFloat(ns, 64)
		total += n / 1e9
	}
	return total
}
