package layer

import (
	"strconv"
	"strings"
)

// String is the codec the other way: text that Parse reads back into the same
// options (in lenient mode when Keep isn't empty). Options that have their
// default are left out, and the order is fixed.
func (o *Options) String() string {
	var w writer
	if len(o.Lower) > 0 {
		w.raw("lowerdir", escapeList(o.Lower))
	}
	w.str("upperdir", o.Upper)
	w.str("workdir", o.Work)
	w.str("index", o.Index)
	w.flag("ro", o.ReadOnly && o.Upper != "") // without an upper it goes without saying
	w.str("uidmapping", formatIDMap(o.UIDMap))
	w.str("gidmapping", formatIDMap(o.GIDMap))
	w.flag("squash_to_root", o.SquashToRoot)
	w.id("squash_to_uid", o.SquashUID)
	w.id("squash_to_gid", o.SquashGID)
	if o.XattrPerm != XattrPermNone {
		w.num("xattr_permissions", uint64(o.XattrPerm))
	}
	w.flag("userxattr", o.UserXattr)
	w.str("redirect_dir", [...]string{RedirectDefault: "", RedirectOn: "on", RedirectOff: "off", RedirectNoFollow: "nofollow"}[o.Redirect])
	if o.Metacopy {
		w.str("metacopy", "on")
	}
	w.str("fsync", [...]string{FsyncAuto: "", FsyncStrict: "strict", FsyncVolatile: "volatile"}[o.Fsync])
	w.flag("noacl", o.NoACL)
	if o.Timeout != nil {
		w.str("timeout", formatSeconds(*o.Timeout))
	}
	w.flag("static_nlink", o.StaticNlink)
	w.flag("nomarker", o.NoMarker)
	w.flag("scratch", o.Scratch)
	w.str("xino", o.Xino)
	w.str("io", [...]string{IOAuto: "", IOCached: "cached", IOPassthrough: "passthrough"}[o.IO])
	if o.NoWriteback {
		w.str("writeback", "off")
	}
	w.flag("live", o.Live)
	if o.Keeper {
		w.str("keeper", "on")
	}
	if o.NoKeeper {
		w.str("keeper", "off")
	}
	if o.SizeLimit != 0 {
		w.num("size_limit", o.SizeLimit)
	}
	if o.RenameLimit != 0 {
		w.num("rename_limit", o.RenameLimit)
	}
	w.flag("allow_other", o.AllowOther)
	w.flag("allow_root", o.AllowRoot)
	w.flag("nodev", o.NoDev)
	w.flag("dev", o.Dev)
	w.flag("nosuid", o.NoSuid)
	w.flag("suid", o.Suid)
	w.flag("noexec", o.NoExec)
	w.flag("exec", o.Exec)
	w.flag("noatime", o.NoAtime)
	w.str("fsname", o.FSName)
	w.flag("debug", o.Debug)
	for _, k := range o.Keep {
		w.flag(k, true) // as misused wrote it: escaped already
	}
	return strings.Join(w.parts, ",")
}

// escapeList joins directories with colons.
func escapeList(dirs []string) string {
	parts := make([]string, len(dirs))
	for i, d := range dirs {
		parts[i] = escape(d, ":")
		if strings.HasPrefix(d, "@") {
			parts[i] = `\` + parts[i] // not a list
		}
	}
	return strings.Join(parts, ":")
}

// writer collects elements.
type writer struct{ parts []string }

func (w *writer) raw(key, value string) { w.parts = append(w.parts, key+"="+value) }

func (w *writer) flag(name string, on bool) {
	if on {
		w.parts = append(w.parts, name)
	}
}

func (w *writer) str(key, value string) {
	if value != "" {
		w.raw(key, escape(value, ""))
	}
}

func (w *writer) num(key string, v uint64) { w.raw(key, strconv.FormatUint(v, 10)) }

func (w *writer) id(key string, v *uint32) {
	if v != nil {
		w.num(key, uint64(*v))
	}
}
