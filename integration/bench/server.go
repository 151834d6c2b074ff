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

// serverOf finds the process that has the mount point as its last argument.
func serverOf(mnt string) (pid int, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		cmdline, err := os.ReadFile(dir + "/cmdline")
		args := strings.Split(string(cmdline), "\x00")
		if err == nil && len(args) > 2 && args[len(args)-2] == mnt {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, fmt.Errorf("no process has %s as its last argument", mnt)
}

// memory is a process's resident memory in MiB.
func memory(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.ParseFloat(f[1], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d says nothing of its memory", pid)
}

// stopwatch gives seconds: of the clock, or of the CPU as this process, its
// children and the server used it.
func stopwatch(cpu bool, server int) func() float64 {
	if !cpu {
		start := time.Now()
		return func() float64 { return time.Since(start).Seconds() }
	}
	return func() float64 {
		var total float64
		for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
			var u unix.Rusage
			if unix.Getrusage(who, &u) == nil {
				total += float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
			}
		}
		return total + threads(server)
	}
}

// threads adds up the run times of a process's threads, which the scheduler
// keeps in nanoseconds.
func threads(pid int) float64 {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	var total float64
	for _, f := range files {
		text, _ := os.ReadFile(f)
		ns, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseFloat(ns, 64)
		total += n / 1e9
	}
	return total
}
