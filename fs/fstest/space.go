package fstest

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// spaceCases: fallocate, holes, copy_file_range.
func spaceCases() []Case {
	data := pattern(40_000)
	zeros := strings.Repeat("\x00", 100_000)
	return []Case{
		{
			Name:  "fallocate makes a file longer, and with KEEP_SIZE it doesn't",
			Lower: Tree{"f": File("abc"), "k": File("abc")},
			Run: func(_ *testing.T, e *Env) {
				e.ok(unix.Fallocate(e.open("f", unix.O_RDWR), 0, 0, 50_000))
				e.want("f", "abc"+zeros[:49_997])
				fd := e.open("k", unix.O_RDWR)
				e.ok(unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 50_000))
				e.want("k", "abc")
				e.is(e.fstat(fd).Blocks*512 >= 50_000, "only %d blocks", e.fstat(fd).Blocks)
			},
		},
		{
			Name:  "PUNCH_HOLE and ZERO_RANGE make zeros and nothing else",
			Lower: Tree{"p": File(data), "z": File(data), "d": File(data)},
			Run: func(_ *testing.T, e *Env) {
				for n, mode := range map[string]uint32{
					"p": unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, "z": unix.FALLOC_FL_ZERO_RANGE,
				} {
					fd := e.open(n, unix.O_RDWR)
					e.pwrite(fd, "DIRTY", 9_000)
					err := unix.Fallocate(fd, mode, 10_000, 10_000)
					if n == "z" && err == unix.EOPNOTSUPP {
						continue // tmpfs
					}
					e.ok(err)
					e.want(n, data[:9_000]+"DIRTY"+data[9_005:10_000]+zeros[:10_000]+data[20_000:])
				}
			},
		},
		{
			Name:  "fallocate refuses read-only descriptors, directories and senseless ranges",
			Lower: Tree{"f": File("abc")},
			Run: func(_ *testing.T, e *Env) {
				e.fails(unix.Fallocate(e.open("f", unix.O_RDONLY), 0, 0, 10), unix.EBADF)
				fd := e.open("f", unix.O_RDWR)
				e.fails(unix.Fallocate(fd, 0, 0, 0), unix.EINVAL)
				e.fails(unix.Fallocate(fd, 0, -1, 10), unix.EINVAL)
				e.fails(unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE, 0, 1), unix.EOPNOTSUPP)
				e.want("f", "abc")
			},
		},
		{
			Name:  "the modes that FUSE doesn't pass are EOPNOTSUPP",
			Lower: Tree{"f": File(data)},
			Not:   map[string]string{Plain: "ext4 and xfs have them", Overlay: "overlayfs passes them on"},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				e.fails(unix.Fallocate(fd, unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096), unix.EOPNOTSUPP)
				e.fails(unix.Fallocate(fd, unix.FALLOC_FL_INSERT_RANGE, 0, 4096), unix.EOPNOTSUPP)
				e.want("f", data)
			},
		},
		{
			Name:  "holes of a lower file are kept at copy-up",
			Lower: Tree{"f": File("tail").After(8 << 20), "g": File("tail").After(8 << 20)},
			Run: func(_ *testing.T, e *Env) {
				e.is(e.lstat("f").Blocks < 64, "the lower file has %d blocks", e.lstat("f").Blocks)
				e.add("f", "!")
				e.ok(unix.Chmod(e.p("g"), 0o600))
				for _, n := range []string{"f", "g"} {
					fd := e.open(n, unix.O_RDONLY)
					e.equal(e.pread(fd, 4, 8<<20), "tail", "data behind the hole")
					e.equal(e.pread(fd, 100, 1<<20), zeros[:100], "the hole")
					if e.Union && e.upperKind(n) == "f" {
						var st unix.Stat_t
						e.ok(unix.Stat(e.Upper(n), &st))
						e.is(st.Blocks < 64, "%s has %d blocks in the upper", n, st.Blocks)
					}
				}
			},
		},
		{
			Name: "SEEK_DATA skips no data and SEEK_HOLE finds no hole in data", RO: true,
			Lower: Tree{"f": File("tail").After(1 << 20), "full": File(data)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDONLY)
				at, err := unix.Seek(fd, 0, unix.SEEK_DATA)
				e.ok(err)
				e.is(at <= 1<<20, "the first data at %d", at)
				at, err = unix.Seek(fd, 1<<20, unix.SEEK_HOLE)
				e.ok(err)
				e.equal(at, int64(1<<20+4), "the hole at the end")
				_, err = unix.Seek(fd, 2<<20, unix.SEEK_DATA)
				e.fails(err, unix.ENXIO)
				_, err = unix.Seek(fd, 2<<20, unix.SEEK_HOLE)
				e.fails(err, unix.ENXIO)
				at, err = unix.Seek(e.open("full", unix.O_RDONLY), 0, unix.SEEK_HOLE)
				e.ok(err)
				e.equal(at, int64(len(data)), "the hole of a full file")
			},
		},
		{
			Name:  "SEEK_DATA finds data that is not yet on disk",
			Lower: Tree{"f": File("").After(1 << 20)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				e.pwrite(fd, data, 1<<20)
				at, err := unix.Seek(fd, 0, unix.SEEK_DATA)
				e.ok(err)
				e.is(at <= 1<<20, "the first data at %d", at)
				at, err = unix.Seek(fd, 0, io.SeekEnd)
				e.ok(err)
				e.equal(at, int64(1<<20+len(data)), "the end")
			},
		},
		{
			Name:  "copy_file_range copies from a lower to a new file, and into a lower file",
			Lower: Tree{"f": File(data), "to": File(data)},
			Run: func(_ *testing.T, e *Env) {
				in := e.open("f", unix.O_RDONLY)
				out := e.open("new", unix.O_CREAT|unix.O_RDWR)
				e.copyRange(in, 0, out, 0, len(data))
				e.want("new", data)
				to := e.open("to", unix.O_RDWR)
				e.pwrite(out, "DIRTY", 100)
				e.copyRange(out, 100, to, 20_000, 5_000)
				e.want("to", data[:20_000]+"DIRTY"+data[105:5_100]+data[25_000:])
				n, err := unix.CopyFileRange(in, ptr(int64(len(data))), out, ptr(int64(0)), 100, 0)
				e.ok(err)
				e.equal(n, 0, "bytes copied at the end")
				e.wantKind("f", "-")
			},
		},
		{
			Name:  "copy_file_range within one file copies, and refuses overlap",
			Lower: Tree{"f": File(data)},
			Run: func(_ *testing.T, e *Env) {
				fd := e.open("f", unix.O_RDWR)
				e.copyRange(fd, 0, fd, 20_000, 10_000)
				e.want("f", data[:20_000]+data[:10_000]+data[30_000:])
				_, err := unix.CopyFileRange(fd, ptr(int64(0)), fd, ptr(int64(10)), 100, 0)
				e.fails(err, unix.EINVAL)
				_, err = unix.CopyFileRange(fd, ptr(int64(0)), e.open("f", unix.O_RDONLY), ptr(int64(10)), 1, 0)
				e.fails(err, unix.EBADF)
			},
		},
		{
			Name:  "sendfile and splice out of a lower file give its bytes",
			RO:    true,
			Lower: Tree{"f": File(data)},
			Run: func(_ *testing.T, e *Env) {
				var p [2]int
				e.ok(unix.Pipe2(p[:], unix.O_CLOEXEC))
				defer unix.Close(p[0])
				defer unix.Close(p[1])
				off := int64(1000)
				n, err := unix.Splice(e.open("f", unix.O_RDONLY), &off, p[1], nil, 4096, 0)
				e.ok(err)
				buf := make([]byte, n)
				_, err = unix.Read(p[0], buf)
				e.ok(err)
				e.equal(string(buf), data[1000:1000+n], "content")
			},
		},
		{
			Name: "statfs answers for the layer that takes the data", RO: true,
			Lower: Tree{"f": File("")},
			Run: func(_ *testing.T, e *Env) {
				var a, b unix.Statfs_t
				e.ok(unix.Statfs(e.p("f"), &a))
				where := e.Mount.Upper
				if where == "" {
					where = e.Mount.Lowers[0]
				}
				e.ok(unix.Statfs(where, &b))
				e.equal(a.Blocks, b.Blocks, "blocks")
				e.equal(a.Bsize, b.Bsize, "block size")
				e.equal(a.Files, b.Files, "inodes")
				e.equal(a.Namelen, int64(255), "name length")
			},
		},
		{
			Name: "the inode flags of a file can be asked", RO: true,
			Lower: Tree{"f": File(""), "d": Dir()},
			Run: func(_ *testing.T, e *Env) {
				for _, n := range []string{"f", "d"} {
					_, err := unix.IoctlGetInt(e.open(n, unix.O_RDONLY), unix.FS_IOC_GETFLAGS)
					if err == unix.ENOTTY || err == unix.EOPNOTSUPP {
						e.T.Skip("the filesystem below has none")
					}
					e.ok(err)
				}
				_, err := unix.IoctlGetInt(e.open("f", unix.O_RDONLY), 0x1234)
				e.fails(err, unix.ENOTTY, unix.ENOSYS, unix.EINVAL)
			},
		},
		{
			Name:  "the inode flags of a file are set and cleared, and its data stays",
			Lower: Tree{"f": File("x"), "d/g": File("")},
			Run: func(_ *testing.T, e *Env) {
				const noDump, noAtime = 0x40, 0x80
				e.put("new", "x")
				for _, n := range []string{"f", "new", "d"} {
					fd := e.open(n, unix.O_RDONLY)
					was, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
					if err == unix.ENOTTY || err == unix.EOPNOTSUPP {
						e.T.Skip("the filesystem below has none")
					}
					e.ok(err)
					e.ok(unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, was|noDump|noAtime))
					got, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
					e.ok(err)
					e.equal(got&(noDump|noAtime), noDump|noAtime, "flags of "+n)
					e.ok(unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, got&^noDump))
					got, err = unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
					e.ok(err)
					e.equal(got&(noDump|noAtime), noAtime, "flags of "+n)
				}
				e.add("f", "+")
				e.want("f", "x+")
				e.want("new", "x")
				e.want("d/g", "")
			},
		},
	}
}

func ptr[T any](v T) *T { return &v }

// copyRange copies n bytes with copy_file_range, in as many steps as it takes.
func (e *Env) copyRange(in int, at int64, out int, to int64, n int) {
	e.T.Helper()
	for n > 0 {
		k, err := unix.CopyFileRange(in, &at, out, &to, n, 0)
		e.ok(err)
		e.is(k > 0, "copy_file_range stopped %d bytes early", n)
		n -= k
	}
}
