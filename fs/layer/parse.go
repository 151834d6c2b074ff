package layer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Parse reads the option text of a mount: args holds the value of each -o.
// Of an option that is given twice the last one counts, as in every mount
// program; lowerdir+= adds to what is there.
//
// A strict caller gets an error for each option that plyfs doesn't have, with
// the nearest one that it has. A lenient one (the calling forms of
// fuse-overlayfs and mount helpers) gets a warning, and the option is kept in
// Options.Keep. Values that are wrong are errors for both.
func Parse(args []string, lenient bool) (*Options, []string, error) {
	p := parser{lenient: lenient, o: new(Options), list: readList}
	return p.parse(args)
}

// parser is one run of Parse.
type parser struct {
	lenient  bool
	o        *Options
	warnings []string
	lowerSet bool                                // lowerdir= was given
	list     func(file string) ([]string, error) // reads lowerdir=@FILE
}

func (p *parser) parse(args []string) (*Options, []string, error) {
	for _, a := range args {
		for _, e := range split(a) {
			if err := p.element(e); err != nil {
				return nil, p.warnings, err
			}
		}
	}
	if p.o.Work != "" && p.o.Upper == "" {
		p.warn("workdir=%s has no use without upperdir=: the mount is read-only", p.o.Work)
		p.o.Work = ""
	}
	if p.o.Upper == "" {
		p.o.ReadOnly = true
	}
	return p.o, p.warnings, nil
}

func (p *parser) warn(format string, a ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, a...))
}

func (p *parser) element(e element) error {
	key := unescape(e.key)
	if userspace(key) {
		return nil
	}
	if why, ok := carriedOver(key, e); ok {
		return p.foreign(key, e, why)
	}
	opt, ok := options[key]
	switch {
	case !ok:
		return p.unknown(key, e)
	case e.hasValue && opt.flag != nil:
		return p.misused(e, fmt.Errorf("%s takes no value: write %s alone", key, key))
	case !e.hasValue && opt.value != nil:
		return p.misused(e, fmt.Errorf("%s needs a value: write %s=%s", key, key, opt.usage))
	case opt.flag != nil:
		opt.flag(p.o)
		return nil
	}
	if err := opt.value(p, e.value); err != nil {
		return fmt.Errorf("option %s: %w", key, err)
	}
	return nil
}

// unknown is for options that nobody we know has.
func (p *parser) unknown(key string, e element) error {
	if p.lenient {
		return p.misused(e, nil)
	}
	if near := Nearest(key, optionNames()); near != "" {
		return fmt.Errorf("unknown option %q; did you mean %s?", key, near)
	}
	return fmt.Errorf("unknown option %q; plyfs mount -h lists the options", key)
}

// misused is for an option in a form that plyfs doesn't have. To a lenient
// caller it is an unknown one.
func (p *parser) misused(e element, err error) error {
	if !p.lenient {
		return err
	}
	text := escape(unescape(e.key), "=")
	if e.hasValue {
		text += "=" + escape(unescape(e.value), "")
	}
	p.warn("unknown argument ignored: %s", text)
	p.o.Keep = append(p.o.Keep, text)
	return nil
}

// foreign is for options of the kernel, libfuse and fuse-overlayfs that plyfs
// has no use for.
func (p *parser) foreign(key string, e element, f foreignOption) error {
	switch {
	case f.context:
		p.warn("%s= ignored: %s", key, f.why)
	case p.lenient:
		p.warn("argument ignored: %s (%s)", key, f.why)
	default:
		return fmt.Errorf("option %s is one of %s; %s: leave it out", key, f.of, f.why)
	}
	return nil
}

// lowerdir reads the value of lowerdir=: directories with colons between,
// @FILE for a list in a file.
func (p *parser) lowerdir(value string) error {
	if p.lowerSet {
		p.warn("lowerdir= given again: only the last one counts (lowerdir+= adds)")
	}
	p.lowerSet = true
	p.o.Lower = nil
	if value == "" {
		return nil
	}
	for _, part := range splitList(value) {
		if part == "" {
			if p.lenient {
				continue // as strtok has it in fuse-overlayfs
			}
			return errors.New("an empty directory name; data-only layers (`::`) are not supported")
		}
		if err := p.addLower(part); err != nil {
			return err
		}
	}
	return nil
}

// addLower takes one still escaped directory, or the name of a list of them.
func (p *parser) addLower(part string) error {
	file, isList := strings.CutPrefix(part, "@")
	if !isList {
		if part = unescape(part); part == "" {
			return errors.New("an empty directory name")
		}
		p.o.Lower = append(p.o.Lower, part)
		return nil
	}
	dirs, err := p.list(unescape(file))
	if err != nil {
		return err
	}
	p.o.Lower = append(p.o.Lower, dirs...)
	return nil
}

// maxList bounds the file of lowerdir=@FILE, so that a wrong name such as
// /dev/zero ends in an error: 16 MiB are more paths than fds can be had.
const maxList = 16 << 20

// readList reads one directory per line. Empty lines don't count; there are
// no comments and no escapes.
func readList(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the list of layers: %w", err)
	}
	defer f.Close()
	var dirs []string
	r := &io.LimitedReader{R: f, N: maxList}
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		if dir := sc.Text(); dir != "" {
			dirs = append(dirs, dir)
		}
	}
	switch {
	case sc.Err() != nil:
		return nil, fmt.Errorf("cannot read the list of layers %s: %w", file, sc.Err())
	case r.N <= 0:
		return nil, fmt.Errorf("%s is larger than %d bytes; it should have one directory per line", file, maxList)
	case len(dirs) == 0:
		return nil, fmt.Errorf("%s lists no directory; it should have one per line", file)
	}
	return dirs, nil
}

// optionNames are the names to offer for a misspelt one, in order.
func optionNames() []string {
	names := make([]string, 0, len(options))
	for n := range options {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
