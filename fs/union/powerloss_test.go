package union

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
	"github.com/plyfs/plyfs/fs/fstest/require"
	"github.com/plyfs/plyfs/fs/layer"
	"golang.org/x/sys/unix"
)

// TestPowerLoss copies files up on a disk of its own, has that disk's journal
// written, and looks at what a power loss right then would leave: a file with
// its name and no data must not hide the good lower one. Without the sync it
// would: the volatile mount proves it.
func TestPowerLoss(t *testing.T) {
	if !nsbox.Enter(t, nsbox.Mounts) {
		return
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		require.Missing(t, "loop devices: %v", err)
	}
	const noJournal = "-O^has_journal"
	for _, tt := range []struct {
		name    string
		fsync   layer.Fsync
		mkfs    string
		options string
		ordered bool // the data of a copy goes without a commit of the journal
		whole   bool
	}{
		{"auto", layer.FsyncAuto, "", lazily, true, true},
		{"auto, early allocation", layer.FsyncAuto, "", lazily + ",nodelalloc,nodioread_nolock", true, true},
		{"auto, data=writeback", layer.FsyncAuto, "", lazily + ",data=writeback", false, false},
		{"auto, no barriers", layer.FsyncAuto, "", lazily + ",nobarrier", false, false},
		{"auto, no journal", layer.FsyncAuto, noJournal, "noauto_da_alloc", false, false},
		{"strict", layer.FsyncStrict, "", lazily, true, true},
		{"volatile", layer.FsyncVolatile, "", lazily, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t, 1)
			content := bytes.Repeat([]byte("good old data, "), 20000)
			sizes := []int{1, 100, 4096, 5000, 65536, len(content)}
			name := func(what string, n int) string { return fmt.Sprintf("d/%s-%d", what, n) }
			for _, n := range sizes {
				for _, what := range []string{"write", "chmod", "rename", "truncate"} {
					e.file("lower1/"+name(what, n), string(content[:n]))
				}
			}
			img := e.path("img")
			formatDisk(t, img, tt.mkfs)
			mountDisk(t, img, e.mkdir("disk"), tt.options)
			e.o.Upper, e.o.Work = e.mkdir("disk/upper"), e.mkdir("disk/work")
			e.o.Fsync, e.o.NoMarker = tt.fsync, true
			e.open()
			if got := e.fs.ordered(); got != tt.ordered {
				t.Errorf("the upper's disk keeps the order of changes: %v, want %v", got, tt.ordered)
			}
			if !tt.ordered {
				return // fsync(2) for each file, as for "strict"
			}
			for _, n := range sizes {
				e.c.write(e.c.id(name("write", n)), "G", 0)
				e.c.chmod(name("chmod", n), 0o600)
				e.c.rename(name("rename", n), name("renamed", n))
				e.c.truncate(name("truncate", n), uint64(n+1)/2)
			}
			flushJournal(t, e.path("disk/other"))
			// What the disk has now is what is there after the power loss.
			copyDisk(t, img, img+"2")
			mountDisk(t, img+"2", e.mkdir("after"), "rw")
			torn, there := 0, 0
			look := func(what string, n, size, from int) {
				b, err := os.ReadFile(e.path("after/upper/" + name(what, n)))
				if err != nil {
					if tt.fsync == layer.FsyncStrict || !os.IsNotExist(err) {
						t.Errorf("the upper file: %v", err)
					}
					return
				}
				there++
				if len(b) != size || !bytes.Equal(b[from:], content[from:size]) {
					torn++
					if tt.whole {
						t.Errorf("%s: the upper has %d bytes of %d, or others", name(what, n), len(b), size)
					}
				}
			}
			for _, n := range sizes {
				look("write", n, n, 1)
				look("chmod", n, n, 0)
				look("renamed", n, n, 0)
				look("truncate", n, (n+1)/2, 0)
			}
			if there < 4*len(sizes) {
				t.Errorf("%d files are in the upper layer, want %d", there, 4*len(sizes))
			}
			if !tt.whole && torn == 0 {
				t.Error("all files are whole: this shows nothing")
			}
		})
	}
}

// formatDisk makes an image with an empty ext4, which option is for.
func formatDisk(t *testing.T, img, option string) {
	t.Helper()
	f, err := os.Create(img)
	if err == nil {
		err = f.Truncate(48 << 20)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	args := []string{"-q", "-E", "lazy_itable_init=1,nodiscard"}
	if option != "" {
		args = append(args, option)
	}
	runTool(t, "mkfs.ext4", append(args, img)...)
}

func runTool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(require.Tool(t, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// lazily keeps ext4 from writing anything early on its own.
const lazily = "noauto_da_alloc,commit=600"

// mountDisk mounts an image until the test ends.
func mountDisk(t *testing.T, img, dir, options string) {
	t.Helper()
	runTool(t, "mount", "-o", "loop,"+options, img, dir)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// flushJournal makes all changes of names so far durable, by syncing another
// file of the disk.
func flushJournal(t *testing.T, p string) {
	t.Helper()
	f, err := os.Create(p)
	if err == nil {
		_, err = f.WriteString("other")
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func copyDisk(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Clean(to), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
