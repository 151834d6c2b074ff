package hostile

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plyfs/plyfs/fs/fstest/nsbox"
)

// Refusal is a mount that the command has to refuse in one line.
type Refusal struct {
	Name string
	// Make makes what is wrong and gives the option text, and what the line
	// has to name.
	Make func(*Stand) (options, names string)
	// Mnt is the mount point, if it is not the stand's.
	Mnt string
}

// Refusals are all of them.
var Refusals = []Refusal{
	{Name: "upper inside lower", Make: func(s *Stand) (string, string) {
		s.Mkdir("l/up")
		return "lowerdir=" + s.Path("l") + ",upperdir=" + s.Path("l/up") + ",workdir=" + s.Work, s.Path("l/up")
	}},
	{Name: "lower inside upper", Make: func(s *Stand) (string, string) {
		return s.Options([]string{s.below(s.Mkdir("upper/l"))}), s.Path("upper/l")
	}},
	{Name: "work inside upper", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		s.Work = s.Mkdir("upper/work")
		return s.Options([]string{"l"}), s.Work
	}},
	{Name: "upper inside work", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		s.Upper = s.Mkdir("work/upper")
		return s.Options([]string{"l"}), s.Upper
	}},
	{Name: "lower given twice", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		return s.Options([]string{"l", "l"}), s.Path("l")
	}},
	{Name: "lower given twice by another name", Make: func(s *Stand) (string, string) {
		s.must(os.Symlink(s.Mkdir("l"), s.Path("other")))
		return s.Options([]string{"l", "other"}), s.Path("other")
	}},
	{Name: "upper that is a lower", Make: func(s *Stand) (string, string) {
		return s.Options([]string{"upper"}), s.Upper
	}},
	{Name: "upper that is the work directory", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		s.Work = s.Upper
		return s.Options([]string{"l"}), s.Upper
	}},
	{Name: "no such lower", Make: func(s *Stand) (string, string) {
		return s.Options([]string{"missing"}), s.Path("missing")
	}},
	{Name: "no such upper", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		s.Upper = s.Path("missing")
		return s.Options([]string{"l"}), s.Upper
	}},
	{Name: "no such work directory", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		s.Work = s.Path("missing")
		return s.Options([]string{"l"}), s.Work
	}},
	{Name: "no work directory", Make: func(s *Stand) (string, string) {
		return "lowerdir=" + s.Mkdir("l") + ",upperdir=" + s.Upper, "workdir"
	}},
	{Name: "work directory on another filesystem", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		nsbox.Tmpfs(s.T, s.Mkdir("other"), "")
		s.Work = s.Mkdir("other/work")
		return s.Options([]string{"l"}), s.Work
	}},
	{Name: "read-only upper", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		d := s.Mkdir("ro")
		nsbox.Tmpfs(s.T, d, "")
		s.Upper, s.Work = s.Mkdir("ro/upper"), s.Mkdir("ro/work")
		s.must(unix.Mount("", d, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		return s.Options([]string{"l"}), s.Upper
	}},
	{Name: "lower that is a file", Make: func(s *Stand) (string, string) {
		return s.Options([]string{s.below(s.Write("file", "x"))}), s.Path("file")
	}},
	{Name: "lower that is a dangling symlink", Make: func(s *Stand) (string, string) {
		s.must(os.Symlink("nowhere", s.Path("link")))
		return s.Options([]string{"link"}), s.Path("link")
	}},
	{Name: "lower that is a symlink to itself", Make: func(s *Stand) (string, string) {
		s.must(os.Symlink("link", s.Path("link")))
		return s.Options([]string{"link"}), s.Path("link")
	}},
	{Name: "lower with a newline in its name", Make: func(s *Stand) (string, string) {
		return s.Options([]string{"new\nline"}), "new"
	}},
	{Name: "no lower", Make: func(s *Stand) (string, string) {
		return "upperdir=" + s.Upper + ",workdir=" + s.Work, "lowerdir"
	}},
	{Name: "empty lower", Make: func(s *Stand) (string, string) {
		return "lowerdir=" + s.Mkdir("l") + "::" + s.Mkdir("m"), "lowerdir"
	}},
	{Name: "unknown option", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		return s.Options([]string{"l"}, "redirectdir=on"), "redirect_dir"
	}},
	{Name: "option with a value that it has not", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		return s.Options([]string{"l"}, "metacopy=perhaps"), "metacopy"
	}},
	{Name: "mount point inside a lower", Mnt: "l/mnt", Make: func(s *Stand) (string, string) {
		s.Mkdir("l/mnt")
		return s.Options([]string{"l"}), s.Path("l/mnt")
	}},
	{Name: "mount point deep inside the upper", Mnt: "upper/a/b/mnt", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		s.Mkdir("upper/a/b/mnt")
		return s.Options([]string{"l"}), s.Path("upper/a/b/mnt")
	}},
	{Name: "mount point that is the upper", Mnt: "upper", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		return s.Options([]string{"l"}), s.Upper
	}},
	{Name: "no such mount point", Mnt: "missing", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		return s.Options([]string{"l"}), s.Path("missing")
	}},
	{Name: "mount point that is a file", Mnt: "file", Make: func(s *Stand) (string, string) {
		s.Mkdir("l")
		s.Write("file", "x")
		return s.Options([]string{"l"}), s.Path("file")
	}},
}

// below is a full path as one below the stand.
func (s *Stand) below(full string) string { return strings.TrimPrefix(full, s.Dir+"/") }

// Refuse tries it and wants exit code 1, one line on standard error that names
// the thing, and no mount.
func (s *Stand) Refuse(r Refusal) {
	s.Helper()
	options, names := r.Make(s)
	mnt := s.Mnt
	if r.Mnt != "" {
		mnt = s.Path(r.Mnt)
	}
	before := mounts(s)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, "mount", "-o", options, mnt)
	cmd.WaitDelay = time.Second
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	switch text := errs.String(); {
	case err == nil:
		s.Errorf("it mounts")
		_ = unix.Unmount(mnt, unix.MNT_DETACH)
	case !errors.As(err, &exit) || exit.ExitCode() != 1:
		s.Errorf("it ends with %v, want exit code 1: %s", err, text)
	case strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n"):
		s.Errorf("it says %q, want one line", text)
	case !strings.Contains(text, names):
		s.Errorf("it says %q, want a line that names %s", text, names)
	default:
		s.Log(strings.TrimSpace(text))
	}
	if out.Len() > 0 {
		s.Errorf("it writes to standard output: %q", out.String())
	}
	if after := mounts(s); after != before {
		s.Errorf("mounts before:\n%s\nafter:\n%s", before, after)
	}
}

func mounts(s *Stand) string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	s.must(err)
	return string(b)
}
