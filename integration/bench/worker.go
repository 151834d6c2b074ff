package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// variant is something that mounts.
type variant struct {
	Name    string
	Program string // empty: the kernel
	Plyfs   bool
	Index   bool // with an index file
}

// job is what a worker process gets.
type job struct {
	Dir     string
	ID      string // of this run
	Variant variant
	Size    sizes
	CPU     bool // count CPU seconds
}

// The works, in the order in which they are done, and the server's memory.
const (
	statCold  = "stat of all files, cold"
	statWarm  = "stat of all files, warm"
	walkCold  = "walk with a stat of each file, cold"
	walkWarm  = "walk with a stat of each file, warm"
	readWarm  = "read of small files, warm"
	untarNew  = "untar"
	rmLower   = "rm -rf of a lower tree"
	serverRSS = "server's memory after the stat"
)

var works = []string{statCold, statWarm, walkCold, walkWarm, readWarm, untarNew, rmLower}

// worker does one job in a fresh mount and prints seconds (and MiB) by work.
func worker(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	mnt := filepath.Join(j.Dir, "mnt")
	umount, err := j.mount(mnt)
	if err != nil {
		return err
	}
	got, err := j.work(mnt)
	if err := errors.Join(err, umount()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}

func (j *job) work(mnt string) (map[string]float64, error) {
	got := map[string]float64{}
	server := 0
	if j.Variant.Program != "" {
		var err error
		if server, err = serverOf(mnt); err != nil {
			return nil, err
		}
	}
	clock := stopwatch(j.CPU, server)
	timed := func(what string, f func() error) error {
		start := clock()
		err := f()
		got[what] = clock() - start
		return err
	}
	stat := func() error { return statAll(mnt, j.Size.Files) }
	read := func() error { return readAll(mnt, j.Size.Work) }
	walk := func() error { return walkAll(filepath.Join(mnt, "stat"), j.Size.Files) }
	for _, w := range []struct {
		cold, warm string
		do         func() error
	}{{statCold, statWarm, stat}, {walkCold, walkWarm, walk}} {
		if err := dropCaches(); err != nil {
			return nil, err
		}
		if err := timed(w.cold, w.do); err != nil {
			return nil, err
		}
		if err := timed(w.warm, w.do); err != nil {
			return nil, err
		}
	}
	if server != 0 {
		rss, err := memory(server)
		if err != nil {
			return nil, err
		}
		got[serverRSS] = rss
	}
	if err := read(); err != nil { // to warm it
		return nil, err
	}
	if err := timed(readWarm, read); err != nil {
		return nil, err
	}
	if err := timed(untarNew, command("tar", "-xf", filepath.Join(j.Dir, "untar.tar"), "-C", mnt)); err != nil {
		return nil, err
	}
	return got, timed(rmLower, command("rm", "-rf", filepath.Join(mnt, "delete")))
}

// mount makes an upper directory of this run's own and mounts on it. It stays
// when the run ends: ext4 looks long for a free inode where many were freed of
// late, and the next run would pay for what this one left.
func (j *job) mount(mnt string) (umount func() error, err error) {
	var lowers []string
	for l := range layers {
		lowers = append(lowers, filepath.Join(j.Dir, fmt.Sprintf("lower%d", l)))
	}
	upper, work := filepath.Join(j.Dir, "upper-"+j.ID), filepath.Join(j.Dir, "work-"+j.ID)
	if err := errors.Join(os.Mkdir(upper, 0o755), os.Mkdir(work, 0o755)); err != nil {
		return nil, err
	}
	options := "lowerdir=" + strings.Join(lowers, ":") + ",upperdir=" + upper + ",workdir=" + work
	if j.Variant.Index {
		index := filepath.Join(j.Dir, "index")
		if err := errors.Join(os.MkdirAll(index, 0o700), command(j.Variant.Program, append([]string{"index", "-q", "--dir", index}, lowers...)...)()); err != nil {
			return nil, err
		}
		options += ",index=" + index
	}
	args := []string{j.Variant.Program, "-o", options, mnt}
	switch {
	case j.Variant.Program == "":
		args = []string{"mount", "-t", "overlay", "overlay", "-o", options, mnt}
	case j.Variant.Plyfs:
		args = []string{j.Variant.Program, "mount", "-o", options, mnt}
	}
	return func() error { return command("umount", mnt)() }, command(args[0], args[1:]...)()
}

// command runs a program that should say nothing.
func command(name string, args ...string) func() error {
	return func() error {
		var said bytes.Buffer
		cmd := exec.Command(name, args...)
		cmd.Stderr = &said
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, said.Bytes())
		}
		return nil
	}
}

// dropCaches makes the next look at any file a cold one.
func dropCaches() error {
	unix.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}

func statAll(mnt string, n int) error {
	var st unix.Stat_t
	for i := range n {
		if err := unix.Lstat(filepath.Join(mnt, name("stat", i)), &st); err != nil {
			return fmt.Errorf("stat of %s: %w", name("stat", i), err)
		}
	}
	return nil
}

// walkAll is what find, ls -lR and git status do.
func walkAll(top string, want int) error {
	files := 0
	err := filepath.WalkDir(top, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().IsRegular() {
			files++
		}
		return err
	})
	if err == nil && files != want {
		err = fmt.Errorf("a walk of %s met %d files, want %d", top, files, want)
	}
	return err
}

func readAll(mnt string, n int) error {
	buf := make([]byte, 2*content)
	for i := range n {
		fd, err := unix.Open(filepath.Join(mnt, name("stat", i)), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		got, err := unix.Read(fd, buf)
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return err
		}
		if got != content {
			return fmt.Errorf("read %d bytes of %s, want %d", got, name("stat", i), content)
		}
	}
	return nil
}
