package union

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/plyfs/plyfs/fs/dialect"
	"github.com/plyfs/plyfs/fs/index"
	"github.com/plyfs/plyfs/fs/layer"
	"github.com/plyfs/plyfs/fs/sys"
	"golang.org/x/sys/unix"
)

func (b *Bases) logf(format string, args ...any) {
	if b.Log != nil {
		b.Log(format, args...)
	}
}

// indexID names the index file of a stack, and gives what it must have been
// built for: the roots of the layers as they are now, and what decides how they
// are read and what of them can be seen. The name leaves out what changes with a
// root, so that a file that is stale is replaced and doesn't stay.
func (fs *FS) indexID(stack *layer.Stack) (name string, key []byte, err error) {
	var who, state strings.Builder
	for i := range stack.Lower {
		n, s, err := stack.Lower[i].LowerID()
		if err != nil {
			return "", nil, err
		}
		who.WriteString(n)
		state.WriteString(s)
	}
	// Without CAP_SYS_ADMIN in the initial namespace trusted xattrs are not
	// seen, and in another namespace owners are other numbers.
	sees := fs.ids.uid.known == nil && sys.HasCapability(unix.CAP_SYS_ADMIN)
	fmt.Fprint(&who, fs.ns.Prefix(), fs.o.Redirect, fs.o.Metacopy, sees, os.Geteuid(), fs.ids.uid.known, fs.ids.gid.known)
	for i := range fs.layers[1:] {
		fmt.Fprint(&state, fs.layers[1+i].ovName, ";")
	}
	sum := sha256.Sum256([]byte(who.String()))
	all := sha256.Sum256([]byte(who.String() + state.String()))
	return hex.EncodeToString(sum[:16]) + ".index", all[:], nil
}

// useIndex has the base answer from its index file, and has that built where
// there is none that is good. Without one everything works as well.
func (fs *FS) useIndex() {
	b, x, dir := fs.bases, fs.base, fs.stack.Index
	if x == nil {
		return
	}
	fs.shareAnswers()
	if dir == nil || x.file.Load() != nil {
		return
	}
	name, key, err := fs.indexID(fs.stack)
	if err != nil {
		b.logf("index: %v; none is used", err)
		return
	}
	path := filepath.Join(dir.Path, name)
	f, err := openIndexFile(dir.FD, name, key, len(fs.stack.Lower))
	if err == nil {
		b.attach(x, f)
		return
	}
	if !errors.Is(err, unix.ENOENT) {
		b.logf("index file %s: %v: it is not used, and built anew", path, err)
	}
	w, err := fs.indexBuilder(name, key)
	if err != nil {
		b.logf("index file %s: %v; none is used", path, err)
		return
	}
	make := func() {
		defer w.close()
		if err := w.run(); err != nil {
			b.logf("index file %s can't be built: %v; none is used", path, err)
		} else if f, err = openIndexFile(w.dir, name, key, w.layers); err != nil {
			b.logf("index file %s: %v: it is not used", path, err)
		} else {
			b.attach(x, f)
		}
	}
	if !b.Background {
		w.workers = runtime.GOMAXPROCS(0)
		make()
		return
	}
	b.mu.Lock()
	busy := b.making[path]
	if b.making == nil {
		b.making = map[string]bool{}
	}
	b.making[path] = true
	b.mu.Unlock()
	if busy {
		w.close()
		return
	}
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		sys.YieldToAll()
		make()
		b.mu.Lock()
		delete(b.making, path)
		b.mu.Unlock()
	}()
}

// attach gives a base its file, if it is in use still.
func (b *Bases) attach(x *base, f *index.File) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x.users == 0 || !x.file.CompareAndSwap(nil, f) {
		f.Close()
	}
}

func openIndexFile(dir int, name string, key []byte, layers int) (*index.File, error) {
	fd, e := sys.Open(dir, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if e != 0 {
		return nil, e
	}
	defer sys.Close(fd)
	return index.Open(fd, key, layers)
}

// indexBuilder prepares the building of the file for fs's lowers: with layers
// and a directory of its own, so that fs may be closed meanwhile.
func (fs *FS) indexBuilder(name string, key []byte) (*indexBuilder, error) {
	again, err := fs.stack.Again()
	if err != nil {
		return nil, err
	}
	o := layer.Options{
		ReadOnly: true, Lower: fs.o.Lower, Redirect: fs.o.Redirect, Metacopy: fs.o.Metacopy,
		UserXattr: fs.ns == dialect.NSUser,
	}
	w := &indexBuilder{name: name, key: key, layers: len(again.Lower), dir: -1}
	if w.fs, err = New(again, &o); err != nil {
		return nil, err
	}
	w.fs.ns = fs.ns
	// A walk needs the parts of a directory and of those above it; what the
	// process may open besides is for its mounts.
	w.fs.fds = newFDCache(min(fdBudget(w.layers), 64+8*w.layers))
	dir, e := sys.Open(fs.stack.Index.FD, ".", unix.O_PATH|unix.O_DIRECTORY, 0)
	if e != 0 {
		w.close()
		return nil, e
	}
	w.dir = dir
	return w, nil
}

// BuildIndex builds the index file of the stack's lowers in o.Index, whether
// there is one or not, and tells its path and what is in it. It takes the stack
// over.
func BuildIndex(stack *layer.Stack, o *layer.Options) (path string, names, dirs uint64, err error) {
	in := stack.Index
	stack.Index = nil // for useIndex, that it builds nothing
	plain := *o
	plain.Index, plain.Upper, plain.Work, plain.ReadOnly = "", "", "", true
	fs, err := New(stack, &plain)
	if err != nil {
		sys.Close(in.FD)
		return "", 0, 0, err
	}
	defer fs.Close()
	stack.Index = in
	name, key, err := fs.indexID(stack)
	if err != nil {
		return "", 0, 0, err
	}
	path = filepath.Join(in.Path, name)
	w, err := fs.indexBuilder(name, key)
	if err != nil {
		return "", 0, 0, err
	}
	defer w.close()
	w.workers = runtime.GOMAXPROCS(0)
	if err := w.run(); err != nil {
		return "", 0, 0, fmt.Errorf("index file %s: %w", path, err)
	}
	f, err := openIndexFile(w.dir, name, key, w.layers)
	if err != nil {
		return "", 0, 0, fmt.Errorf("index file %s: %w", path, err)
	}
	defer f.Close()
	names, dirs = f.Len()
	return path, names, dirs, nil
}
