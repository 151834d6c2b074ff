package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/layer"
)

// compatVersion is the fuse-overlayfs that callers may take us for: the one
// whose options and on-disk data we have.
const compatVersion = "1.13"

const dropInUsage = `usage: fuse-overlayfs [-f] [-d] -o lowerdir=DIR[:DIR…][,upperdir=DIR,workdir=DIR][,OPTION…] MOUNTPOINT

plyfs with the command line of fuse-overlayfs: unknown options are ignored with a
warning. plyfs mount -h and docs/options.md say more.

  -o OPTIONS   mount options
  -f           stay in the foreground
  -d --debug   trace every request (implies -f)
  -V --version print the version
  -h --help    this text
`

// dropIn is the calling form of fuse-overlayfs, which containers/storage uses.
// What it doesn't know it ignores with a warning; the last positional argument
// is the mount point.
func dropIn(args []string) error {
	spec := cli.Spec{Short: "o:fdhVs", Long: []string{"debug", "help", "version", "log="}, Plain: true}
	flags, rest, err := spec.Getopt(args, ignore)
	if err != nil {
		return plainFailure(err)
	}
	if wantsHelp(flags, dropInUsage) {
		return nil
	}
	for _, f := range flags {
		if f.Name == "V" || f.Name == "version" {
			dropInVersion()
			return nil
		}
	}
	r, text := readMountFlags(flags)
	if len(rest) == 0 {
		return fmt.Errorf("no mountpoint specified: it is the last argument")
	}
	r.mountPoint = rest[len(rest)-1]
	o, warnings, err := layer.Parse(text, true)
	if err == nil {
		warnings = append(warnings, likeFuseOverlayfs(o)...)
	}
	tell(warnings)
	if err != nil {
		return err
	}
	r.take(o)
	return r.mount()
}

// likeFuseOverlayfs turns off what fuse-overlayfs leaves to the kernel driver:
// storage.conf has these options for overlayfs, and a store must stay readable
// for both. What it has on by default is on: set-user-ID programs. And after a
// crash nobody would know what to do with the marker of a volatile mount.
func likeFuseOverlayfs(o *layer.Options) (warnings []string) {
	o.Suid = !o.NoSuid
	o.NoMarker = true
	o.NoMarker = true // its callers mount a volatile upper again and again
	if o.Metacopy {
		o.Metacopy = false
		warnings = append(warnings, "argument ignored: metacopy=on (this calling form copies files whole, as fuse-overlayfs does)")
	}
	if o.Redirect == layer.RedirectOn {
		o.Redirect = layer.RedirectDefault
		warnings = append(warnings, "argument ignored: redirect_dir=on (this calling form writes no redirects, as fuse-overlayfs does)")
	}
	if o.FSName == "" {
		o.FSName = "fuse-overlayfs"
	}
	return warnings
}

// mountHelper is the calling form of /sbin/mount.fuse3.plyfs (mount(8)) and of
// libfuse's mount.fuse3: a source word before the mount point.
func mountHelper(args []string) error {
	spec := cli.Spec{Short: "o:t:N:sfnvrwdhV", Long: []string{"help", "version"}, Plain: true}
	flags, rest, err := spec.Getopt(args, ignore)
	if err != nil {
		return plainFailure(err)
	}
	if wantsHelp(flags, helperUsage) {
		return nil
	}
	fake := false
	var text []string
	r := new(request)
	for _, f := range flags {
		switch f.Name {
		case "o":
			text = append(text, f.Value)
		case "r":
			text = append(text, "ro")
		case "w":
			text = append(text, "rw")
		case "d":
			r.trace = true
		case "f":
			fake = true // as in mount(8): all but the mount itself
		case "V", "version":
			return version(nil)
		}
	}
	if len(rest) == 0 {
		return fmt.Errorf("no mount point given: mount.fuse3.plyfs SOURCE MOUNTPOINT -o lowerdir=…")
	}
	r.mountPoint = rest[len(rest)-1]
	o, warnings, err := layer.Parse(text, true)
	tell(warnings)
	if err != nil {
		return err
	}
	if len(rest) > 1 && o.FSName == "" {
		o.FSName = rest[0]
	}
	r.take(o)
	if fake {
		s, err := openLayers(r)
		if err == nil {
			err = s.Close()
		}
		return err
	}
	return r.mount()
}

const helperUsage = `usage: mount.fuse3.plyfs SOURCE MOUNTPOINT [-o OPTIONS] [-t TYPE] [-f] [-n] [-r] [-s] [-v] [-w]

The helper of mount(8) for: mount -t fuse3.plyfs SOURCE MOUNTPOINT -o lowerdir=…
SOURCE is any word; it is shown as the source of the mount. docs/options.md has
the options.
`

// ignore is what drop-in forms do with an unknown flag.
func ignore(arg string) error {
	tell([]string{"unknown argument ignored: " + arg})
	return nil
}

// plainFailure takes the usage exit code off an error: callers of drop-in
// forms know 0 and 1.
func plainFailure(err error) error { return fmt.Errorf("%s", err.Error()) }

// dropInVersion prints what callers look for in the output of
// `fuse-overlayfs --version`: a first line with a number that compares, and
// the lines that libfuse adds.
func dropInVersion() {
	fmt.Printf("fuse-overlayfs: version %s-plyfs-%s\n", compatVersion, cli.VersionString())
	if out, err := exec.Command("fusermount3", "--version").Output(); err == nil {
		fmt.Println(strings.TrimSpace(string(out)))
	}
	fmt.Printf("FUSE library version plyfs-%s\n", cli.VersionString())
	fmt.Fprintf(os.Stdout, "using FUSE kernel interface version %s\n", fuseInterface)
}
