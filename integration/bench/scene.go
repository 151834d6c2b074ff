package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// scene is work on one set of layers. Each run of it has a fresh mount.
type scene struct {
	name    string
	options string // of the mount, for all variants
	native  bool   // makes sense without a union
	mounts  bool   // mounts by itself
	big     bool   // what a run wrote is removed: few and big files
	make    func(*fixture) error
	run     func(*bench) error
}

var scenes []scene

// A table that refers to functions that refer to the table has to be filled here.
func init() {
	scenes = []scene{
		{name: "start", mounts: true, make: makeStart, run: runStart},
		{name: "deep", mounts: true, make: makeDeep, run: runDeep},
		{name: "tree", native: true, make: func(f *fixture) error {
			return errors.Join(f.layers(5), f.tree("t", f.size.Tree))
		}, run: runTree},
		{name: "git", native: true, make: makeGit, run: runGit},
		{name: "go", native: true, make: makeGo, run: runGo},
		{name: "data", native: true, big: true, make: makeData, run: runData},
		{name: "create", native: true, make: makeCreate, run: runCreate},
		{name: "change", make: makeChange, run: runChange},
		{name: "beside", big: true, make: makeBeside, run: runBeside},
		{name: "metacopy", options: "metacopy=on", make: makeMetacopy, run: runMetacopy},
	}
}

// start: how long from mount(8) to the first answer.

func makeStart(f *fixture) error {
	n := f.size.Layers[len(f.size.Layers)-1]
	return errors.Join(f.layers(n), put(filepath.Join(f.lowers[0], "file"), data))
}

func runStart(b *bench) error {
	id := b.ID
	for _, n := range b.Size.Layers {
		b.ID = fmt.Sprintf("%s-%d", id, n)
		err := b.time(fmt.Sprintf("mount(8) to first answer, %d layers", n), func() error {
			if err := b.mount(b.Lowers[:n], ""); err != nil {
				return err
			}
			return unix.Lstat(b.path("file"), &unix.Stat_t{})
		})
		if b.umount != nil {
			err = errors.Join(err, b.umount())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deep: every directory is in all layers.

const deepDirs = 30

func deepName(i int) string { return fmt.Sprintf("d%02d/file-%06d", i%deepDirs, i) }

func makeDeep(f *fixture) error {
	n := f.size.Deep[len(f.size.Deep)-1]
	if err := f.layers(n); err != nil {
		return err
	}
	for _, l := range f.lowers {
		for d := range deepDirs {
			if err := os.Mkdir(filepath.Join(l, fmt.Sprintf("d%02d", d)), 0o755); err != nil {
				return err
			}
		}
	}
	for i := range f.size.Spread {
		if err := put(filepath.Join(f.lowers[i/deepDirs%f.size.Deep[0]], deepName(i)), data); err != nil {
			return err
		}
	}
	return nil
}

func runDeep(b *bench) error {
	id := b.ID
	for _, n := range b.Size.Deep {
		b.ID = fmt.Sprintf("%s-%d", id, n)
		if err := b.mount(b.Lowers[:n], ""); err != nil {
			return err
		}
		err := errors.Join(
			b.cold(fmt.Sprintf("stat, every directory in %d layers", n), func() error {
				return each(b.Size.Spread, func(i int) error { return unix.Lstat(b.path(deepName(i)), &unix.Stat_t{}) })
			}),
			b.cold(fmt.Sprintf("find, every directory in %d layers", n), func() error { return find(b.mnt, b.Size.Spread) }),
			b.umount())
		if err != nil {
			return err
		}
	}
	return nil
}

// tree: looking at many small files.

func runTree(b *bench) error {
	all, stat := b.Size.Tree, b.Size.Stat
	read := func(i int) error { return readSmall(b.path(name("t", i))) }
	return errors.Join(
		b.coldAndWarm("stat of files in 5 layers", func() error {
			return each(stat, func(i int) error { return unix.Lstat(b.path(name("t", i)), &unix.Stat_t{}) })
		}),
		b.coldAndWarm("find", func() error { return find(b.path("t"), all) }),
		b.cold("look-up of missing names", func() error {
			return each(stat, func(i int) error {
				if err := unix.Lstat(b.path(name("t", i)+".missing"), &unix.Stat_t{}); err != unix.ENOENT {
					return fmt.Errorf("a name that isn't there: %w", err)
				}
				return nil
			})
		}),
		b.coldAndWarm("open and close", func() error {
			return each(all, func(i int) error {
				fd, err := unix.Open(b.path(name("t", i)), unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					return err
				}
				return unix.Close(fd)
			})
		}),
		b.coldAndWarm("read of small files", func() error { return each(all, read) }),
		b.coldAndWarm("grep -r", func() error {
			err := command("grep", "-r", "no such text", b.path("t"))()
			if err == nil {
				return errors.New("grep found what isn't there")
			}
			return nil // exit status 1
		}),
		b.coldAndWarm("tar to nothing", command("sh", "-c", "tar -cf - -C "+b.mnt+" t | cat >/dev/null")),
		b.coldAndWarm("4 clients stat and read", func() error {
			var wg sync.WaitGroup
			errs := make([]error, 4)
			for p := range errs {
				wg.Add(1)
				go func() {
					defer wg.Done()
					errs[p] = each(all/4, func(i int) error {
						path := b.path(name("t", p*(all/4)+i))
						return errors.Join(unix.Lstat(path, &unix.Stat_t{}), readSmall(path))
					})
				}()
			}
			wg.Wait()
			return errors.Join(errs...)
		}))
}

func each(n int, f func(i int) error) error {
	for i := range n {
		if err := f(i); err != nil {
			return err
		}
	}
	return nil
}

// find is what find(1), ls -lR and git status do.
func find(top string, want int) error {
	files := 0
	err := filepath.WalkDir(top, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files++
		}
		return err
	})
	if err == nil && files != want {
		err = fmt.Errorf("a walk of %s met %d files, want %d", top, files, want)
	}
	return err
}

func readSmall(path string) error {
	var buf [2 * content]byte
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	n, err := unix.Read(fd, buf[:])
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return err
	}
	if n != content {
		return fmt.Errorf("read %d bytes of %s, want %d", n, path, content)
	}
	return nil
}

// git and go: programs that look at many files.

func makeGit(f *fixture) error {
	if err := errors.Join(f.layers(2), f.tree("repo", f.size.Git)); err != nil {
		return err
	}
	// One layer, as a checkout is.
	repo := filepath.Join(f.lowers[0], "repo")
	return errors.Join(
		command("cp", "-a", filepath.Join(f.lowers[1], "repo")+"/.", repo)(),
		os.RemoveAll(filepath.Join(f.lowers[1], "repo")),
		commandIn(repo, "sh", "-c", "git init -q && git config core.checkStat minimal && git add -A && git -c user.name=n -c user.email=e commit -qm all && sleep 1.1 && git status >/dev/null")())
}

func runGit(b *bench) error {
	return b.coldAndWarm("git status", commandIn(b.path("repo"), "git", "-c", "safe.directory=*", "--no-optional-locks", "status", "--porcelain"))
}

const goProgram = "package main\nimport (\"os\"; \"strings\")\nfunc main() { os.Stdout.WriteString(strings.ToUpper(\"x\")) }\n"

// build is `go build`, with a cache inside the tree.
func build(root string, more ...string) func() error {
	args := append([]string{"GOCACHE=" + filepath.Join(root, "cache"), "GOFLAGS=-trimpath", "GO111MODULE=on", "CGO_ENABLED=0", "GOTELEMETRY=off", "go", "build", "-o", filepath.Join(root, "out")}, more...)
	return commandIn(filepath.Join(root, "src"), "env", append(args, ".")...)
}

func makeGo(f *fixture) error {
	if err := f.layers(1); err != nil {
		return err
	}
	root := f.lowers[0]
	return errors.Join(put(filepath.Join(root, "src/main.go"), []byte(goProgram)), put(filepath.Join(root, "src/go.mod"), []byte("module example.com/m\ngo 1.22\n")),
		build(root)())
}

func runGo(b *bench) error {
	const row = "go build, all cached"
	if !b.Size.Full { // a cold one reads the whole tool chain
		return errors.Join(build(b.mnt)(), b.time(row+", warm", build(b.mnt)))
	}
	return errors.Join(b.coldAndWarm(row, build(b.mnt)), b.time("go build -a", build(b.mnt, "-a")))
}
