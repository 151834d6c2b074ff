package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/plyfs/plyfs/fs/layer"
)

// Flag is one flag of a command line, without its dashes.
type Flag struct{ Name, Value string }

// Spec says which flags a command has, as getopt(3) does: a colon after a
// letter, or an equals sign after a word, means that it takes a value.
type Spec struct {
	Short string
	Long  []string
	// Leading ends the flags at the first positional argument: the rest is
	// a command with flags of its own.
	Leading bool
	// Plain is a command line of somebody else's form: what all verbs have in
	// common (see Quiet) isn't there.
	Plain bool
}

// quiet is what Quiet gives.
var quiet bool

// Quiet says that -q or --quiet was given to a verb that has no meaning of its own
// for it: then it prints results and errors, and no warnings, nor the names of
// what it has done something to. Verbs that list things have one: names alone.
func Quiet() bool { return quiet }

// common adds the flags that every verb has; own says that -q is the verb's own.
func (s Spec) common() (all Spec, own bool) {
	own = s.Plain || strings.Contains(s.Short, "q") || slices.Contains(s.Long, "quiet")
	if !own {
		s.Short += "q"
		s.Long = append(slices.Clip(s.Long), "quiet")
	}
	return s, own
}

// takeQuiet takes -q away.
func takeQuiet(flags []Flag) []Flag {
	return slices.DeleteFunc(flags, func(f Flag) bool {
		is := f.Name == "q" || f.Name == "quiet"
		quiet = quiet || is
		return is
	})
}

// Getopt reads flags and positional arguments in any order: -oX and -o X,
// clusters of letters, --name=X and --name X; after -- everything is
// positional. What the Spec doesn't have is given to unknown, whose error ends
// it; nil makes every unknown flag an error.
func (s Spec) Getopt(args []string, unknown func(arg string) error) (flags []Flag, rest []string, err error) {
	s, own := s.common()
	flags, rest, err = s.getopt(args, unknown)
	if !own {
		flags = takeQuiet(flags)
	}
	return flags, rest, err
}

func (s Spec) getopt(args []string, unknown func(arg string) error) (flags []Flag, rest []string, err error) {
	if asked != nil {
		*asked = s
		return nil, nil, errAsked
	}
	if unknown == nil {
		unknown = s.unknown
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var taken []Flag
		switch {
		case arg == "--":
			return flags, append(rest, args...), nil
		case strings.HasPrefix(arg, "--"):
			taken, args, err = s.long(arg, args, unknown)
		case strings.HasPrefix(arg, "-") && len(arg) > 1:
			taken, args, err = s.short(arg, args, unknown)
		case s.Leading:
			return flags, append([]string{arg}, args...), nil
		default:
			rest = append(rest, arg)
		}
		if err != nil {
			return nil, nil, err
		}
		flags = append(flags, taken...)
	}
	return flags, rest, nil
}

// asked is where Getopt leaves its Spec while Ask runs.
var asked *Spec

var errAsked = errors.New("only the flags were asked for")

// Ask gives the Spec of a command without running it: the command gets as far as
// its Getopt, which fails. So completion and manual know the flags that there
// are, and no list of them has to be kept beside. It is not for goroutines.
func Ask(run func(args []string) error) (s Spec, ok bool) {
	asked = &s
	defer func() { asked = nil }()
	return s, errors.Is(run(nil), errAsked)
}

// Names are the flags with their dashes; valued are those with a value.
func (s Spec) Names() (all []string, valued map[string]bool) {
	valued = map[string]bool{}
	for i := range len(s.Short) {
		if s.Short[i] == ':' {
			continue
		}
		name := "-" + s.Short[i:i+1]
		all = append(all, name)
		valued[name] = i+1 < len(s.Short) && s.Short[i+1] == ':'
	}
	for _, l := range s.Long {
		name, v := strings.CutSuffix("--"+l, "=")
		all = append(all, name)
		valued[name] = v
	}
	slices.Sort(all)
	return slices.Compact(all), valued
}

// unknown is the error for a flag that isn't in the Spec. Words are near each
// other or not; letters never are.
func (s Spec) unknown(arg string) error {
	if name, _, _ := strings.Cut(arg, "="); strings.HasPrefix(name, "--") {
		var long []string
		for _, l := range s.Long {
			long = append(long, strings.TrimSuffix(l, "="))
		}
		if near := layer.Nearest(name[2:], long); near != "" && near != name[2:] {
			return fmt.Errorf("unknown flag %s; did you mean --%s?", arg, near)
		}
	}
	return fmt.Errorf("unknown flag %s", arg)
}

// Takes says how many of the first arguments are one long flag of the Spec with
// its value, 0 when they aren't.
func (s Spec) Takes(args []string) int {
	name, ok := strings.CutPrefix(args[0], "--")
	name, _, joined := strings.Cut(name, "=")
	switch {
	case !ok || !slices.Contains(s.Long, name+"="):
		return 0
	case joined:
		return 1
	}
	return min(2, len(args))
}

func (s Spec) long(arg string, args []string, unknown func(string) error) ([]Flag, []string, error) {
	name, value, has := strings.Cut(arg[2:], "=")
	switch {
	case slices.Contains(s.Long, name+"="):
		if has {
			return []Flag{{name, value}}, args, nil
		}
		if len(args) == 0 {
			return nil, nil, fmt.Errorf("--%s needs a value", name)
		}
		return []Flag{{name, args[0]}}, args[1:], nil
	case slices.Contains(s.Long, name) && !has:
		return []Flag{{name, ""}}, args, nil
	}
	return nil, args, unknown(arg)
}

func (s Spec) short(arg string, args []string, unknown func(string) error) ([]Flag, []string, error) {
	var flags []Flag
	for i := 1; i < len(arg); i++ {
		at := strings.IndexByte(s.Short, arg[i])
		switch {
		case at < 0 || arg[i] == ':':
			if err := unknown("-" + arg[i:i+1]); err != nil {
				return nil, nil, err
			}
			continue
		case at+1 == len(s.Short) || s.Short[at+1] != ':':
			flags = append(flags, Flag{arg[i : i+1], ""})
			continue
		case i+1 < len(arg):
			return append(flags, Flag{arg[i : i+1], arg[i+1:]}), args, nil
		case len(args) == 0:
			return nil, nil, fmt.Errorf("-%c needs a value", arg[i])
		}
		return append(flags, Flag{arg[i : i+1], args[0]}), args[1:], nil
	}
	return flags, args, nil
}

// One gives the only positional argument; what names it in the error.
func One(rest []string, what string) (string, error) {
	switch len(rest) {
	case 0:
		return "", fmt.Errorf("no %s given", what)
	case 1:
		return rest[0], nil
	}
	return "", fmt.Errorf("one %s is wanted and %d are given: %s", what, len(rest), fmt.Sprint(rest))
}
