package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/plyfs/plyfs/cmd/internal/cli"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/union"
)

const indexUsage = `usage: plyfs index [--dir DIR] [-o OPTION[,…]] LAYER…

Builds the index file of lower layers that don't change any more, the top one
first, and prints its path. A mount of these layers with index=DIR (plyfs mount
builds the file as well, where there is none) answers look-ups, listings and stat
from it.

  --dir DIR    where the file goes: made if need be; /var/cache/plyfs/index for root,
               else ~/.cache/plyfs/index ($XDG_CACHE_HOME)
  -o OPTIONS   those of the mount that decide how layers are read: userxattr,
               redirect_dir, metacopy
  -q --quiet   print the path alone
  -h           this text
`

func indexVerb(args []string) error {
	spec := cli.Spec{Short: "o:qh", Long: []string{"help", "quiet", "dir="}}
	flags, layers, err := spec.Getopt(args, nil)
	if err != nil {
		return err
	}
	if wantsHelp(flags, indexUsage) {
		return nil
	}
	var text []string
	dir, quiet := "", false
	for _, f := range flags {
		switch f.Name {
		case "o":
			text = append(text, f.Value)
		case "dir":
			dir = f.Value
		default:
			quiet = true
		}
	}
	if len(layers) == 0 {
		return errors.New("no layer: give the lower directories, the top one first")
	}
	o, warnings, err := layer.Parse(text, false)
	tell(warnings)
	if err != nil {
		return err
	}
	if len(o.Lower) > 0 || o.Upper != "" || o.Index != "" || o.Live {
		return errors.New("lowerdir, upperdir, index and live have no use in -o here: the layers are arguments, and --dir says where the file goes")
	}
	o.Lower = layers
	if o.Index, err = indexDir(dir); err != nil {
		return err
	}
	stack, err := layer.Open(o)
	if err != nil {
		return err
	}
	path, names, dirs, err := union.BuildIndex(stack, o)
	if err != nil {
		return err
	}
	fmt.Println(path)
	if !quiet {
		fmt.Fprintf(os.Stderr, "%d names in %d directories\n", names, dirs)
	}
	return nil
}

// indexDir is where index files go when nobody says, and is made.
func indexDir(dir string) (string, error) {
	if dir == "" {
		cache := "/var/cache"
		if os.Geteuid() != 0 {
			var err error
			if cache, err = os.UserCacheDir(); err != nil {
				return "", fmt.Errorf("no place for the file: give --dir: %w", err)
			}
		}
		dir = filepath.Join(cache, "plyfs", "index")
	}
	return dir, os.MkdirAll(dir, 0o700)
}
