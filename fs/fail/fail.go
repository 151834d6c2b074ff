// Package fail has the failpoints of the file system: named places in an
// operation where a test makes the process die, wait or get an error, to see
// that a crash there leaves the old view or the new one. Off, a failpoint costs
// one atomic load.
//
// A failpoint is armed by PLYFS_FAIL=NAME:ACTION[:N] in the environment of the
// server, or by Arm in a test. Actions: kill (SIGKILL to the own process),
// crash (what a fault does), sleep (a second), hang (for ever), and an errno by
// its number. N is the how-many-th passing acts (default the first). A keeper
// takes the variable away from the servers after the first; in PLYFS_FAIL_ALWAYS
// it is for all of them. The name * is any failpoint.
package fail

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var armed atomic.Bool

type plan struct {
	action string
	after  int
}

var (
	mu    sync.Mutex
	plans = map[string]*plan{}

	record map[string]int // by name; nil when nobody counts
)

func init() {
	for _, env := range []string{"PLYFS_FAIL", "PLYFS_FAIL_ALWAYS"} {
		s := os.Getenv(env)
		if s == "" {
			continue
		}
		for _, p := range strings.Split(s, ",") {
			name, action, _ := strings.Cut(p, ":")
			action, n, _ := strings.Cut(action, ":")
			k, _ := strconv.Atoi(n)
			Arm(name, action, k)
		}
	}
}

// Arm makes the n-th passing of the failpoint act; 0 means the first.
func Arm(name, action string, n int) {
	mu.Lock()
	defer mu.Unlock()
	plans[name] = &plan{action, max(n, 1)}
	armed.Store(true)
}

// Disarm switches all failpoints off.
func Disarm() {
	mu.Lock()
	defer mu.Unlock()
	clear(plans)
	armed.Store(false)
}

// Record has the failpoints counted that are passed, until the function that it
// gives is called, which tells.
func Record() (passed func() map[string]int) {
	mu.Lock()
	defer mu.Unlock()
	record = map[string]int{}
	armed.Store(true)
	return func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		r := record
		record = nil
		armed.Store(len(plans) > 0)
		return r
	}
}

// Point is a place where the process may die or wait.
func Point(name string) { _ = Err(name) }

// Err is a place where an error may be injected.
func Err(name string) syscall.Errno {
	if !armed.Load() {
		return 0
	}
	return hit(name)
}

// Kills passes a failpoint for another process, which can't look itself, and says
// whether that is to die there.
func Kills(name string) bool {
	if !armed.Load() {
		return false
	}
	p := pass(name)
	return p != nil && p.action == "kill"
}

func hit(name string) syscall.Errno {
	p := pass(name)
	if p == nil {
		return 0
	}
	switch p.action {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		os.Exit(128 + int(syscall.SIGKILL)) // process 1 of a namespace can't kill itself
	case "crash":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		select {}
	case "hang":
		select {}
	case "sleep":
		time.Sleep(time.Second)
	default:
		if n, err := strconv.Atoi(p.action); err == nil {
			return syscall.Errno(n)
		}
	}
	return 0
}

// pass counts that a failpoint is passed; the result is what it does, nil for
// nothing.
func pass(name string) *plan {
	mu.Lock()
	defer mu.Unlock()
	if record != nil {
		record[name]++
	}
	p := plans[name]
	if p == nil {
		p = plans["*"]
	}
	if p != nil {
		p.after--
	}
	if p == nil || p.after != 0 {
		return nil
	}
	return p
}
