package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// variant is something that mounts.
type variant struct {
	Name    string
	Program string // empty: the kernel
	Plyfs   bool
	Native  bool   // a copy of the merged tree, and no union
	Options string // further ones
	UserNS  bool   // as root of a user namespace: no right of the machine's root
	Index   bool   // with an index file
}

// job is what a worker process gets.
type job struct {
	Dir     string
	Scene   string
	ID      string   // of this run
	Lowers  []string // top first
	Variant variant
	Size    sizes
}

// measurement is one row of one run, in seconds.
type measurement struct {
	Row     string
	Variant string
	Mode    string
	Round   int
	Wall    float64
	Client  float64 // CPU of the clients
	Server  float64 // CPU of the server
}

// report is what a worker says.
type report struct {
	Rows []measurement
	RSS  float64 // the most that the server had, MiB
}

// bench is one run of a scene.
type bench struct {
	job
	mnt    string
	upper  string
	server int // 0: none
	report report
	umount func() error
}

// worker does one job and prints its report.
func worker(text string) error {
	b := &bench{}
	if err := json.Unmarshal([]byte(text), &b.job); err != nil {
		return err
	}
	b.mnt = filepath.Join(b.Dir, "mnt")
	go leave(b.mnt)
	for _, s := range scenes {
		if s.name != b.Scene {
			continue
		}
		var err error
		if !s.mounts {
			err = b.mount(b.Lowers, s.options)
		}
		if err == nil {
			err = s.run(b)
		}
		if b.server != 0 {
			b.report.RSS = peakMemory(b.server)
		}
		if b.umount != nil {
			err = errors.Join(err, b.umount())
		}
		if s.big {
			err = errors.Join(err, os.RemoveAll(b.upper))
		}
		if err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(b.report)
}

// leave unmounts when the worker is told to stop: the server lives in the mount
// namespace that the mount is in, and keeps that, and so itself, alive.
func leave(mnt string) {
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt, unix.SIGTERM)
	<-told
	_ = unix.Unmount(mnt, unix.MNT_DETACH) // there may be none yet
	os.Exit(1)
}

// mount makes an upper directory of this run's own and mounts on it. It stays
// when the run ends: ext4 looks long for a free inode where many were freed of
// late, and the next run would pay for what this one left.
func (b *bench) mount(lowers []string, options string) error {
	id := filepath.Join(b.Dir, "run-"+b.ID)
	b.upper = id
	if b.Variant.Native {
		b.umount = func() error { return command("umount", b.mnt)() }
		if err := command("cp", "-a", filepath.Join(filepath.Dir(lowers[0]), "merged"), id)(); err != nil {
			return err
		}
		return command("mount", "--bind", id, b.mnt)()
	}
	upper, work := filepath.Join(id, "u"), filepath.Join(id, "w")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	opts := "lowerdir=" + strings.Join(lowers, ":") + ",upperdir=" + upper + ",workdir=" + work
	for _, more := range []string{options, b.Variant.Options} {
		if more != "" {
			opts += "," + more
		}
	}
	if b.Variant.Index {
		index := filepath.Join(b.Dir, "index")
		if err := errors.Join(os.MkdirAll(index, 0o700), command(b.Variant.Program, append([]string{"index", "-q", "--dir", index}, lowers...)...)()); err != nil {
			return err
		}
		opts += ",index=" + index
	}
	args := []string{b.Variant.Program, "-o", opts, b.mnt}
	switch {
	case b.Variant.Program == "":
		// By descriptors: 300 layers don't fit the page that mount(2) takes.
		if err := mountOverlay(b.mnt, lowers, upper, work, options); err != nil {
			return err
		}
	case b.Variant.Plyfs:
		args = []string{b.Variant.Program, "mount", "-o", opts, b.mnt}
	}
	if b.Variant.Program != "" {
		if err := command(args[0], args[1:]...)(); err != nil {
			return err
		}
		var err error
		if b.server, err = serverOf(b.mnt); err != nil {
			return err
		}
	}
	b.umount = func() error {
		b.umount, b.server = nil, 0
		return command("umount", b.mnt)()
	}
	return nil
}

func mountOverlay(mnt string, lowers []string, upper, work, options string) error {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(fs)
	for _, l := range lowers {
		if err := unix.FsconfigSetString(fs, "lowerdir+", l); err != nil {
			return fmt.Errorf("lowerdir+=%s: %w", l, err)
		}
	}
	more := []string{"upperdir", upper, "workdir", work}
	if k, v, ok := strings.Cut(options, "="); ok {
		more = append(more, k, v)
	}
	for i := 0; i < len(more); i += 2 {
		if err := unix.FsconfigSetString(fs, more[i], more[i+1]); err != nil {
			return fmt.Errorf("%s=%s: %w", more[i], more[i+1], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	m, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(m)
	return unix.MoveMount(m, "", unix.AT_FDCWD, mnt, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// time measures one row.
func (b *bench) time(row string, f func() error) error {
	w := startWatch(b.server)
	err := f()
	m := w.stop(b.server)
	m.Row = row
	b.report.Rows = append(b.report.Rows, m)
	if err != nil {
		return fmt.Errorf("%s: %w", row, err)
	}
	return nil
}

// coldAndWarm measures a row without caches and once more with them.
func (b *bench) coldAndWarm(row string, f func() error) error {
	if err := b.dropCaches(); err != nil {
		return err
	}
	return errors.Join(b.time(row+", cold", f), b.warm(row+", warm", f))
}

// briefly is what one pass over caches must take to be measured only once: a few
// milliseconds are as often those of somebody else.
const briefly = 2.0 // seconds

// warm measures a row once more; of a short one the median of five passes.
func (b *bench) warm(row string, f func() error) error {
	if err := b.time(row, f); err != nil {
		return err
	}
	rows := b.report.Rows
	passes := []measurement{rows[len(rows)-1]}
	for passes[0].Wall < briefly && len(passes) < 5 {
		if err := b.time(row, f); err != nil {
			return err
		}
		passes = append(passes, b.report.Rows[len(rows)])
		b.report.Rows = rows
	}
	slices.SortFunc(passes, func(x, y measurement) int { return cmp.Compare(x.Wall, y.Wall) })
	rows[len(rows)-1] = passes[len(passes)/2]
	return nil
}

func (b *bench) cold(row string, f func() error) error {
	if err := b.dropCaches(); err != nil {
		return err
	}
	return b.time(row+", cold", f)
}

func (b *bench) path(parts ...string) string { return filepath.Join(b.mnt, filepath.Join(parts...)) }

// command runs a program that should say nothing.
func command(name string, args ...string) func() error { return commandIn("", name, args...) }

func commandIn(dir, name string, args ...string) func() error {
	return func() error {
		var said bytes.Buffer
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Stderr = &said
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, said.Bytes())
		}
		return nil
	}
}

// dropCaches makes the next look at any file a cold one.
func (b *bench) dropCaches() error {
	if b.Size.Warm {
		return nil
	}
	// Only what this run wrote: others may have much to write, too.
	dir, err := os.Open(b.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}
