// Command containerd-plyfs-grpc is the snapshotter daemon: containerd asks it over a
// socket for snapshots, and it has their unions mounted by server processes
// that outlive it.
//
// Beside the daemon there are a few verbs: what containerd's configuration
// needs, a check of a running containerd against it, the daemon's own
// configuration, the version, the keeper of the server processes, and what hands
// their mounts to a new version. A hidden one is the server process.
package main

import (
	"fmt"
	"log"
	"os"
	"slices"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/cmd/internal/mountd"
)

const program = "containerd-plyfs-grpc"

// serveVerb makes this process a server of mounts; the daemon says it. With
// keptFlag it has the keeper start one.
const (
	serveVerb = "serve-mounts"
	keptFlag  = "--keeper"
	keepVerb  = "keep-mounts"
)

var verbs = mountd.Verbs{Program: program, Serve: serveVerb, Keep: keepVerb}

const usage = `usage: containerd-plyfs-grpc [--address SOCKET] [--root DIR] [FLAG…]
       containerd-plyfs-grpc SOCKET ROOT
       containerd-plyfs-grpc config containerd | config default | doctor | version
       containerd-plyfs-grpc keep-mounts | upgrade [--state DIR] [--config FILE]

Serves containerd's snapshots on a socket, with plyfs for the mounts. It can be
stopped and started while containers run. "keep-mounts" is the process that holds
their mounts and replaces servers that die; the daemon starts it where systemd
doesn't. "upgrade" hands the mounts to this version; when it can't go on with what the
old one has, it says so and the old one stays.

  --address SOCKET    where it listens (%s)
  --root DIR          layers and metadata (%s)
  --state DIR         mount points and server processes (%s)
  --config FILE       configuration (%s, if there is one)
  --containerd SOCKET containerd, for the diff service and doctor (%s)
  --log-level LEVEL   debug, info, warn or error (info)
  --log-format FORMAT text or json (text)
  --metrics ADDRESS   serve Prometheus metrics there, HOST:PORT
  --debug SOCKET      serve pprof there
  -h, --help          this text

Flags win over PLYFS_SNAPSHOTTER_ADDRESS, …_ROOT, …_STATE and …_CONFIG, those
over the file. ` + "`%[6]s config default`" + ` prints a file with all that can be set.
`

func main() {
	os.Exit(cli.Exit(os.Stderr, program, run(os.Args[1:])))
}

func run(args []string) error {
	if len(args) == 0 {
		return daemonVerb(nil)
	}
	rest := args[1:]
	switch args[0] {
	case serveVerb:
		logger := log.New(os.Stderr, program+": server: ", log.LstdFlags|log.Lmsgprefix)
		if len(rest) == 2 && rest[0] == keptFlag {
			return mountd.ServeKept(rest[1], verbs, logger)
		}
		return mountd.Serve(logger)
	case keepVerb, "upgrade":
		return keeperVerb(args[0], rest)
	case "config":
		return configVerb(rest)
	case "doctor":
		return doctorVerb(rest)
	case "version", "--version", "-V":
		fmt.Printf("%s %s\n", program, cli.VersionString())
		return nil
	case "help":
		return daemonVerb([]string{"-h"})
	}
	return daemonVerb(args)
}

// spec are the flags of the daemon and its verbs.
var spec = cli.Spec{Short: "h", Plain: true, Long: []string{
	"address=", "root=", "state=", "config=", "containerd=", "log-level=", "log-format=", "metrics=", "debug=", "help",
}}

// readFlags gives the configuration that args, environment and file make
// together, and the positional arguments. done says that the help was printed.
func readFlags(args []string) (c config, rest []string, done bool, err error) {
	flags, rest, err := spec.Getopt(args, nil)
	if err != nil {
		return c, nil, false, err
	}
	if slices.ContainsFunc(flags, func(f cli.Flag) bool { return f.Name == "h" || f.Name == "help" }) {
		d := defaults()
		fmt.Printf(usage, d.Address, d.Root, d.State, configFile(), d.Containerd.Address, program)
		return c, nil, true, nil
	}
	c, err = readConfig(flags)
	return c, rest, false, err
}

// keeperVerb is the keeper, or an order to it.
func keeperVerb(verb string, args []string) error {
	c, rest, done, err := readFlags(args)
	if done || err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%s takes flags only; got %q", verb, rest)
	}
	socket := mountd.KeeperSocket(c.State)
	if verb == keepVerb {
		return mountd.Keep(socket, verbs)
	}
	return mountd.Upgrade(socket)
}

func daemonVerb(args []string) error {
	c, rest, done, err := readFlags(args)
	if done || err != nil {
		return err
	}
	switch len(rest) {
	case 0:
	case 2: // as all proxy snapshotters are called
		c.Address, c.Root = rest[0], rest[1]
	default:
		return fmt.Errorf("SOCKET and ROOT are wanted, or flags; got %q", rest)
	}
	if err := c.check(); err != nil {
		return err
	}
	return daemon(&c)
}
