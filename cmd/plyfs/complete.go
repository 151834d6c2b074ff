package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/container/image"
)

// Completion is done by this binary: the shells' scripts hand it the words of a
// command line and offer what it prints. So a verb, a flag or a container made a
// moment ago is known, and the scripts never change.
//
// What a positional argument is, is said here by verb. Flags come from the verbs
// themselves (cli.Ask).

// argKind is what the positional arguments of a verb are.
type argKind int

const (
	argNone argKind = iota
	argFile
	argContainer
	argRunning
	argSandbox
	argMount
	argShell
	argVerb
	argDefault // the word "default"
	argCommand // a program, and then whatever it takes
	argExec    // a container, and then a program
	argDiff    // a sandbox, a container or a directory
	argStats   // a container or a mount point
	argImage
	argExplore // an image, a container, a file
	argImages  // the verbs below plyfs image
	argSystem  // and below plyfs system
)

var argKinds = map[string]argKind{
	"mount": argFile, "umount": argMount, "index": argFile, "try": argCommand, "diff": argDiff,
	"commit": argSandbox, "discard": argSandbox, "checkpoint": argSandbox, "rollback": argSandbox,
	"config": argDefault, "fsck": argFile, "run": argCommand, "exec": argExec, "attach": argRunning, "ps": argNone,
	"logs": argContainer, "inspect": argContainer, "stop": argRunning, "kill": argRunning, "wait": argContainer,
	"rm": argContainer, "pause": argRunning, "unpause": argContainer, "update": argContainer, "stats": argStats,
	"top": argStats, "trace": argStats, "metrics": argNone, "cp": argFile, "rename": argContainer, "doctor": argNone, "version": argNone, "help": argVerb,
	"completion": argShell, "man": argFile, "upgrade": argMount,
	"pull": argImage, "push": argImage, "load": argFile, "save": argImage, "import": argFile, "images": argImage, "rmi": argImage,
	"tag": argImage, "history": argImage, "tree": argImage, "explore": argExplore, "image": argImages, "system": argSystem,
}

// flagWords are the values of flags that have few; the others are files.
var flagWords = map[string][]string{
	"--format": {cli.FormTable, cli.FormJSON}, "--net": {"host", "none", "user"}, "--network": {"host", "none", "user"},
	"--ids": {"map", "virtual"}, "--restart": {"no", "on-failure", "always"}, "--to": {"kernel", "userxattr", "fuse-overlayfs"},
	"--signal": {"TERM", "KILL", "INT", "HUP", "QUIT", "USR1", "USR2"}, "--userns": {"auto", "host"},
}

// filesToo, printed alone on the last line, has the shell offer file names too.
const filesToo = ":files"

// completeVerb is what the shells call: plyfs __complete WORD…, the last one
// being completed. An error is nobody's business there: nothing is offered then.
func completeVerb(words []string) error {
	list, files := complete(words)
	for _, w := range list {
		fmt.Println(w)
	}
	if files {
		fmt.Println(filesToo)
	}
	return nil
}

// complete gives what the last of the words may become, and says whether it may
// be a file.
func complete(words []string) (list []string, files bool) {
	if len(words) == 0 {
		return nil, false
	}
	cur, words := words[len(words)-1], words[:len(words)-1]
	root, words := skipGlobals(words)
	if len(words) == 0 {
		for _, v := range verbs() {
			list = append(list, v.name)
		}
		return starting(cur, append(list, "--root", "--config")), false
	}
	v, ok := findVerb(words[0])
	if !ok {
		return nil, true
	}
	spec, _ := cli.Ask(v.run)
	names, valued := spec.Names()
	prev, given, rest := "", 0, false
	for _, w := range words[1:] {
		switch {
		case prev != "" && valued[prev]:
			if prev == "--root" {
				root = w
			}
			prev = ""
			continue
		case w == "--":
			rest = true
		case rest || !strings.HasPrefix(w, "-"):
			given++
			rest = rest || spec.Leading
		}
		prev = w
	}
	switch {
	case valued[prev] && !rest:
		words, ok := flagWords[prev]
		return starting(cur, words), !ok
	case strings.HasPrefix(cur, "-") && !rest:
		return starting(cur, names), false
	}
	list, files = arguments(argKinds[v.name], given, root)
	return starting(cur, list), files
}

// skipGlobals takes the flags before the verb away.
func skipGlobals(words []string) (root string, rest []string) {
	for len(words) > 0 && strings.HasPrefix(words[0], "--") {
		name, value, joined := strings.Cut(words[0], "=")
		words = words[1:]
		if !joined && len(words) > 0 {
			value, words = words[0], words[1:]
		}
		if name == "--root" {
			root = value
		}
	}
	return root, words
}

// arguments are the words for positional argument number given, counted from 0.
func arguments(kind argKind, given int, root string) (list []string, files bool) {
	any := func(*container.Container, *container.State) bool { return true }
	running := func(_ *container.Container, st *container.State) bool { return st.Status == container.Running }
	sandboxes := func(c *container.Container, _ *container.State) bool { return c.Spec().Labels[tryLabel] != "" }
	switch kind {
	case argFile:
		return nil, true
	case argContainer:
		return containerNames(root, any), false
	case argRunning:
		return containerNames(root, running), false
	case argSandbox:
		return containerNames(root, sandboxes), given > 0
	case argDiff:
		return containerNames(root, any), true
	case argStats:
		return append(containerNames(root, running), mountPoints()...), false
	case argMount:
		return mountPoints(), false
	case argCommand:
		return nil, true
	case argExec:
		if given > 0 {
			return nil, true
		}
		return containerNames(root, running), false
	case argImage:
		return imageNames(root), false
	case argExplore:
		return append(imageNames(root), containerNames(root, any)...), true
	case argImages:
		return []string{"ls", "pull", "push", "load", "save", "import", "rm", "tag", "history", "inspect", "prune", "tree"}, false
	case argSystem:
		return []string{"df", "prune", "check"}, false
	case argShell:
		return slices.Sorted(keys(completionScripts)), false
	case argDefault:
		return []string{"default"}, false
	case argVerb:
		for _, v := range verbs() {
			list = append(list, v.name)
		}
	}
	return list, false
}

func containerNames(root string, want func(*container.Container, *container.State) bool) (names []string) {
	store, err := openStore(root)
	if err != nil {
		return nil
	}
	all, err := store.List()
	if err != nil {
		return nil
	}
	for _, c := range all {
		if st, err := c.State(); err == nil && want(c, st) {
			names = append(names, st.Name)
		}
	}
	return names
}

// imageNames are those of the images that are here.
func imageNames(root string) (names []string) {
	root, err := dataDir(root)
	if err != nil {
		return nil
	}
	list, err := image.Open(root).List()
	if err != nil {
		return nil
	}
	for _, e := range list {
		if r, err := image.Parse(e.Name); err == nil {
			names = append(names, r.Familiar())
		}
	}
	return names
}

// mountPoints are those of plyfs.
func mountPoints() (dirs []string) {
	table, err := readMounts()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	for _, m := range table {
		if m.fsType == fsType {
			dirs = append(dirs, m.dir)
		}
	}
	return dirs
}

func starting(with string, words []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !strings.HasPrefix(w, with) })
}
