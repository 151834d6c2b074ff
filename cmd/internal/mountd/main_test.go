package mountd_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/plyfs/plyfs/cmd/internal/mountd"
	"github.com/plyfs/plyfs/fs/sys"
	"github.com/plyfs/plyfs/snapshot"
	"github.com/plyfs/plyfs/snapshot/servers"
)

// serveWord makes this test binary a server process.
const serveWord = "serve-mounts"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == serveWord {
		if err := mountd.Serve(log.New(os.Stderr, "server: ", log.Lmsgprefix)); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 3 && os.Args[1] == serveWord {
		v := mountd.Verbs{Program: "mountd.test", Serve: serveWord, Keep: "keep-mounts"}
		if err := mountd.ServeKept(os.Args[2], v, log.New(os.Stderr, "server: ", log.Lmsgprefix)); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == operateWord {
		if err := operate(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "daemon:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// perServer is how many mounts share a server process here.
var perServer = 16

// kept says whether servers have a keeper here.
var kept = false

// silent gets what is told of servers that don't answer.
var silent = make(chan string, 16)

// newPool makes a pool that keeps its sockets in state.
func newPool(state string) (*servers.Pool, error) {
	args := []string{"mountd.test", serveWord}
	if kept {
		args = append(args, mountd.KeeperSocket(state))
	}
	return servers.NewPool(servers.Config{
		State: state, MountsPerServer: perServer,
		Program: "/proc/self/exe", Args: args,
		Silent: func(who string) { silent <- who },
	})
}

// open opens the snapshots below root with server processes of their own; the
// state is beside the root.
func open(root string) (*snapshot.Snapshotter, *servers.Pool, error) {
	state := filepath.Join(root, "..", "state")
	pool, err := newPool(state)
	if err != nil {
		return nil, nil, err
	}
	s, err := snapshot.New(snapshot.Config{Root: root, State: state, Mounter: pool, UserNS: sys.InUserNamespace()})
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return s, pool, nil
}

// forSuite is open for containerd's suite. What a test of the suite leaves
// mounted goes with the state.
func forSuite(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
	s, pool, err := open(root)
	if err != nil {
		return nil, nil, err
	}
	return s, func() error {
		err := s.Close()
		served, _ := pool.Served(context.Background())
		for dir := range served {
			if e := pool.Unmount(context.Background(), dir); e != nil {
				err = e
			}
		}
		pool.Close()
		return err
	}, nil
}
