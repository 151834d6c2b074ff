package layer

import (
	"errors"
	"fmt"
	"time"
)

// option is how one option is read: flag when it stands alone, value when it
// has a value.
type option struct {
	flag  func(*Options)
	value func(p *parser, text string) error // text is still escaped
	usage string                             // what the value looks like
}

// options is the table of all options that plyfs has. docs/options.md says
// what they mean.
var options map[string]option

// A table that refers to functions that refer to the table has to be filled
// here.
func init() {
	options = map[string]option{
		"lowerdir":  {value: (*parser).lowerdir, usage: "DIR[:DIR…] or @FILE"},
		"lowerdir+": {value: (*parser).addLower, usage: "DIR"},
		"upperdir":  str("DIR", func(o *Options) *string { return &o.Upper }),
		"workdir":   str("DIR", func(o *Options) *string { return &o.Work }),
		"fsname":    str("NAME", func(o *Options) *string { return &o.FSName }),

		"uidmapping":     conv("STORED:SHOWN:LENGTH[:…]", parseIDMap, func(o *Options) *[]IDRange { return &o.UIDMap }),
		"gidmapping":     conv("STORED:SHOWN:LENGTH[:…]", parseIDMap, func(o *Options) *[]IDRange { return &o.GIDMap }),
		"squash_to_root": flag(func(o *Options) { o.SquashToRoot = true }),
		"squash_to_uid":  conv("UID", pointer(parseID), func(o *Options) **uint32 { return &o.SquashUID }),
		"squash_to_gid":  conv("GID", pointer(parseID), func(o *Options) **uint32 { return &o.SquashGID }),

		"xattr_permissions": word(func(o *Options) *XattrPermissions { return &o.XattrPerm },
			names[XattrPermissions]{"0": XattrPermNone, "1": XattrPermPrivileged, "2": XattrPermUser}, "0|1|2"),
		"userxattr": flag(func(o *Options) { o.UserXattr = true }),
		"redirect_dir": word(func(o *Options) *Redirect { return &o.Redirect },
			names[Redirect]{"on": RedirectOn, "off": RedirectOff, "follow": RedirectOff, "nofollow": RedirectNoFollow}, "on|off|follow|nofollow"),
		"metacopy": conv("on|off", parseBool, func(o *Options) *bool { return &o.Metacopy }),
		"volatile": flag(func(o *Options) { o.Fsync = FsyncVolatile }),
		"nomarker": flag(func(o *Options) { o.NoMarker = true }),
		"scratch":  flag(func(o *Options) { o.Scratch = true }),
		"fsync": word(func(o *Options) *Fsync { return &o.Fsync },
			names[Fsync]{"auto": FsyncAuto, "1": FsyncAuto, "strict": FsyncStrict, "volatile": FsyncVolatile, "0": FsyncVolatile}, "auto|strict|volatile"),
		"noacl":        flag(func(o *Options) { o.NoACL = true }),
		"acl":          flag(func(o *Options) { o.NoACL = false }),
		"timeout":      conv("SECONDS", pointer(parseSeconds), func(o *Options) **time.Duration { return &o.Timeout }),
		"static_nlink": flag(func(o *Options) { o.StaticNlink = true }),
		"xino": word(func(o *Options) *string { return &o.Xino },
			names[string]{"auto": "", "on": "on", "off": "off"}, "auto|on|off"),

		"io": word(func(o *Options) *IOMode { return &o.IO },
			names[IOMode]{"auto": IOAuto, "cached": IOCached, "passthrough": IOPassthrough}, "auto|cached|passthrough"),
		"writeback":    {value: setWriteback, usage: "on|off"},
		"index":        str("DIR", func(o *Options) *string { return &o.Index }),
		"keeper":       {value: setKeeper, usage: "on|off"},
		"live":         flag(func(o *Options) { o.Live = true }),
		"size_limit":   conv("BYTES[k|m|g|t]", parseSize, func(o *Options) *uint64 { return &o.SizeLimit }),
		"rename_limit": {value: setRenameLimit, usage: "BYTES[k|m|g|t]"},

		"ro":                  flag(func(o *Options) { o.ReadOnly = true }),
		"rw":                  flag(func(o *Options) { o.ReadOnly = false }),
		"allow_other":         flag(func(o *Options) { o.AllowOther, o.AllowRoot = true, false }),
		"allow_root":          flag(func(o *Options) { o.AllowRoot, o.AllowOther = true, false }),
		"default_permissions": flag(func(*Options) {}), // always on
		"nodev":               flag(func(o *Options) { o.NoDev, o.Dev = true, false }),
		"dev":                 flag(func(o *Options) { o.Dev, o.NoDev = true, false }),
		"nosuid":              flag(func(o *Options) { o.NoSuid, o.Suid = true, false }),
		"suid":                flag(func(o *Options) { o.Suid, o.NoSuid = true, false }),
		"noexec":              flag(func(o *Options) { o.NoExec, o.Exec = true, false }),
		"exec":                flag(func(o *Options) { o.Exec, o.NoExec = true, false }),
		"noatime":             flag(func(o *Options) { o.NoAtime = true }),
		"atime":               flag(func(o *Options) { o.NoAtime = false }),
		"debug":               flag(func(o *Options) { o.Debug = true }),
	}
}

func flag(set func(*Options)) option { return option{flag: set} }

// str is an option whose value is text that must not be empty.
func str(usage string, field func(*Options) *string) option {
	return conv(usage, func(s string) (string, error) {
		if s == "" {
			return "", errors.New("the value is empty")
		}
		return s, nil
	}, field)
}

// conv is an option whose value is read by read and stored in a field.
func conv[T any](usage string, read func(string) (T, error), field func(*Options) *T) option {
	return option{usage: usage, value: func(p *parser, text string) error {
		v, err := read(unescape(text))
		if err == nil {
			*field(p.o) = v
		}
		return err
	}}
}

// names are the words that a value can be.
type names[T any] map[string]T

func word[T any](field func(*Options) *T, words names[T], usage string) option {
	return conv(usage, func(s string) (T, error) {
		v, ok := words[s]
		if !ok {
			return v, fmt.Errorf("%q is not one of %s", s, usage)
		}
		return v, nil
	}, field)
}

// pointer makes the reader of a T one of a *T, for fields where nil is the
// default.
func pointer[T any](read func(string) (T, error)) func(string) (*T, error) {
	return func(s string) (*T, error) {
		v, err := read(s)
		return &v, err
	}
}

func setWriteback(p *parser, text string) error {
	on, err := parseBool(unescape(text))
	p.o.NoWriteback = !on && err == nil
	return err
}

func setKeeper(p *parser, text string) error {
	on, err := parseBool(unescape(text))
	p.o.NoKeeper, p.o.Keeper = !on && err == nil, on && err == nil
	return err
}

// setRenameLimit keeps zero for "the default": a limit of one byte already
// leaves nothing to copy.
func setRenameLimit(p *parser, text string) error {
	v, err := parseSize(unescape(text))
	if err == nil && v == 0 {
		err = errors.New("the least is 1, which makes a rename of any lower directory with data in it answer EXDEV")
	}
	if err == nil {
		p.o.RenameLimit = v
	}
	return err
}
