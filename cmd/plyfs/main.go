// Command plyfs is the user's: it mounts union filesystems and checks them, runs
// commands on a throw-away copy of the machine and containers on layers, and
// says what a machine lacks for it.
//
// One file holds one verb; a verb reads its flags, calls one function of the
// rooms below, and returns an error. What a verb prints on success goes to
// standard output. The binary has other names, too (form.go): fuse-overlayfs
// and the mount helpers of mount(8) and containerd.
//
//go:debug decoratemappings=0
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/cmd/internal/imageverbs"
	"github.com/plyfs/plyfs/container"
	"github.com/plyfs/plyfs/fs/layer"
)

// program is how errors begin, under whichever name the binary was called.
const program = "plyfs"

func main() {
	container.RegisterRootJob(diffJobName, diffJob)
	container.Boot(openRootfs)
	os.Exit(cli.Exit(os.Stderr, program, run(os.Args)))
}

// run is main with an error for a result.
func run(argv []string) error {
	if done, err := internalRole(); done {
		return err
	}
	argv, err := globalFlags(argv)
	if err != nil {
		return err
	}
	form, args := callingForm(argv)
	switch form {
	case formDropIn:
		return dropIn(args)
	case formHelper:
		return mountHelper(args)
	}
	if len(args) == 0 {
		fmt.Print(overview())
		return cli.Silent(cli.ExitFailure)
	}
	if args[0] == "__complete" {
		return completeVerb(args[1:])
	}
	v, ok := findVerb(args[0])
	if !ok {
		return unknownVerb(args[0])
	}
	return v.run(args[1:])
}

// verb is one subcommand.
type verb struct {
	name    string
	summary string // one line, for the overview
	usage   string // the whole text of -h
	run     func(args []string) error
}

// verbs are in the order of the overview.
func verbs() []verb {
	all := []verb{
		{"mount", "mount a union of directories", mountUsage, mount},
		{"umount", "unmount it and wait until it is gone", umountUsage, umount},
		{"index", "build the index file of layers that don't change", indexUsage, indexVerb},
		{"upgrade", "hand mounts to this version of plyfs", upgradeUsage, upgrade},
		{"try", "run a command on a copy of this machine that is thrown away", tryUsage, try},
		{"diff", "say what a sandbox, a container or an upper directory has changed", diffUsage, diff},
		{"commit", "put a sandbox's changes on the host, or make an image of a container's", commitUsage, commit},
		{"discard", "delete sandboxes", discardUsage, discard},
		{"checkpoint", "keep a state of a sandbox", checkpointUsage, checkpoint},
		{"rollback", "go back to a checkpoint", rollbackUsage, rollback},
		{"config", "print the default configuration", configUsage, config},
		{"fsck", "check an upper directory", fsckUsage, fsck},
		{"run", "run a command in a container", runUsage, runVerb},
		{"exec", "run another command in it", execUsage, execVerb},
		{"attach", "go back to its terminal", attachUsage, attachVerb},
		{"ps", "list containers", psUsage, psVerb},
		{"logs", "print what a container in the background wrote", logsUsage, logsVerb},
		{"inspect", "print all that is known of containers", inspectUsage, inspectVerb},
		{"stop", "ask containers to end", stopUsage, stopVerb},
		{"kill", "send a signal to containers", killUsage, killVerb},
		{"wait", "wait for the end of containers", waitUsage, waitVerb},
		{"rm", "delete containers", rmUsage, rmVerb},
		{"pause", "stop all processes of containers for a while", pauseUsage, pauseVerb},
		{"unpause", "let them go on", unpauseUsage, unpauseVerb},
		{"update", "change limits of containers", updateUsage, updateVerb},
		{"stats", "show what containers use and mounts do", statsUsage, statsVerb},
		{"top", "show the busiest mounts, or the processes of a container", topUsage, topVerb},
		{"trace", "show who does what in a mount", traceUsage, traceVerb},
		{"metrics", "print the figures of mounts for Prometheus", metricsUsage, metricsVerb},
		{"cp", "copy files to and from a container", cpUsage, cpVerb},
		{"rename", "give a container another name", renameUsage, renameVerb},
		{"pull", "get an image from a registry", imageverbs.Of("pull").Usage, withImages("pull")},
		{"push", "send an image to a registry", imageverbs.Of("push").Usage, withImages("push")},
		{"load", "take images out of an archive", imageverbs.Of("load").Usage, withImages("load")},
		{"save", "write images to an archive", imageverbs.Of("save").Usage, withImages("save")},
		{"import", "make an image of a root tarball, or of this machine's programs", imageverbs.Of("import").Usage, withImages("import")},
		{"images", "list images", imageverbs.Of("images").Usage, withImages("images")},
		{"rmi", "delete images", imageverbs.Of("rmi").Usage, withImages("rmi")},
		{"tag", "give an image another name", imageverbs.Of("tag").Usage, withImages("tag")},
		{"history", "say how the layers of an image came to be", imageverbs.Of("history").Usage, withImages("history")},
		{"tree", "say what the layers of an image do", imageverbs.Of("tree").Usage, withImages("tree")},
		{"explore", "look around in layers and files on the terminal; judge waste (--ci)", imageverbs.Of("explore").Usage, withImages("explore")},
		{"image", "the same verbs, and inspect and prune", imageverbs.Of("image").Usage, withImages("image")},
		{"system", "say what images take, check them, delete what nothing needs", imageverbs.Of("system").Usage, withImages("system")},
		{"doctor", "say what this machine lacks for mounting", doctorUsage, doctor},
		{"completion", "have a shell complete verbs, flags and names", completionUsage, completion},
		{"man", "write the manual pages into a directory", manUsage, man},
		{"version", "print the version", versionUsage, version},
		{"help", "print the help of a verb", helpUsage, help},
	}
	for i := range all {
		all[i].usage = withQuiet(all[i].usage)
	}
	return all
}

// aliases are the other spellings of verbs.
var aliases = map[string]string{
	"unmount":   "umount",
	"check":     "doctor",
	"-h":        "help",
	"--help":    "help",
	"-V":        "version",
	"--version": "version",
}

func findVerb(name string) (verb, bool) {
	if a, ok := aliases[name]; ok {
		name = a
	}
	all := verbs()
	i := slices.IndexFunc(all, func(v verb) bool { return v.name == name })
	if i < 0 {
		return verb{}, false
	}
	return all[i], true
}

func unknownVerb(name string) error {
	var names []string
	for _, v := range verbs() {
		names = append(names, v.name)
	}
	if near := layer.Nearest(name, names); near != "" {
		return fmt.Errorf("unknown verb %q; did you mean %s?", name, near)
	}
	return fmt.Errorf("unknown verb %q; plyfs help lists the verbs", name)
}

// oneProcessor is for verbs that mostly wait: the Go runtime would start threads
// to look for work on the other ones, which costs more than the work.
func oneProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}
