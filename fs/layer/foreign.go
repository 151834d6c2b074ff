package layer

import "strings"

// foreignOption is an option of another program that plyfs knows and has no
// use for.
type foreignOption struct {
	of      string // whose it is
	why     string // why plyfs has no use for it
	context bool   // ignored with a warning even in strict text
}

const (
	ofKernel = "kernel overlayfs"
	ofFuse   = "libfuse"
	ofFovl   = "fuse-overlayfs"
	ofVFS    = "mount(8)"
)

// foreign lists what people carry over from other command lines.
var foreign = map[string]foreignOption{
	"context":     {of: ofVFS, why: selinux, context: true},
	"fscontext":   {of: ofVFS, why: selinux, context: true},
	"defcontext":  {of: ofVFS, why: selinux, context: true},
	"rootcontext": {of: ofVFS, why: selinux, context: true},
	"seclabel":    {of: ofVFS, why: selinux, context: true},

	"nfs_export":     {of: ofKernel, why: "a FUSE mount is exported by its node ids"},
	"uuid":           {of: ofKernel, why: "a FUSE mount has no uuid"},
	"verity":         {of: ofKernel, why: "digests of metadata-only files are not checked"},
	"datadir+":       {of: ofKernel, why: "data-only layers are not supported"},
	"override_creds": {of: ofKernel, why: "the server always uses its own rights"},

	"threaded":  {of: ofFovl, why: "the number of threads follows the processors"},
	"fast_ino":  {of: ofFovl, why: "inode numbers cost nothing"},
	"ino32_t":   {of: ofFovl, why: "inode numbers have 64 bits"},
	"noxattrs":  {of: ofFovl, why: "xattrs are asked for only where there can be some"},
	"plugins":   {of: ofFovl, why: "there are no plugins"},
	"clone_fd":  {of: ofFuse, why: "the transport is plyfs's own"},
	"max_write": {of: ofFuse, why: "the largest that the kernel takes is used"},
	"max_read":  {of: ofFuse, why: "the largest that the kernel takes is used"},
	"subtype":   {of: ofFuse, why: "the type is always fuse.plyfs"},
	"blksize":   {of: ofFuse, why: "there is no block device"},

	"max_readahead":    {of: ofFuse, why: "the kernel's value is used"},
	"max_background":   {of: ofFuse, why: "the value is fixed"},
	"max_idle_threads": {of: ofFuse, why: "the number of threads follows the processors"},
	"max_threads":      {of: ofFuse, why: "the number of threads follows the processors"},
	"auto_unmount":     {of: ofFuse, why: "use plyfs umount"},
	"kernel_cache":     {of: ofFuse, why: "timeout= and live say what is cached"},
	"auto_cache":       {of: ofFuse, why: "timeout= and live say what is cached"},
	"direct_io":        {of: ofFuse, why: "timeout= and live say what is cached"},
	"entry_timeout":    {of: ofFuse, why: "use timeout="},
	"attr_timeout":     {of: ofFuse, why: "use timeout="},
	"negative_timeout": {of: ofFuse, why: "use timeout="},
	"big_writes":       {of: ofFuse, why: "writes are as big as the kernel makes them"},
	"nonempty":         {of: ofFuse, why: "the mount point may always have files in it"},
	"large_read":       {of: ofFuse, why: "the largest that the kernel takes is used"},
	"hard_remove":      {of: ofFuse, why: "open files that were removed stay readable without it"},
	"use_ino":          {of: ofFuse, why: "inode numbers are always those of the layers"},

	"lazytime":    {of: ofVFS, why: noVFS},
	"strictatime": {of: ofVFS, why: noVFS},
	"diratime":    {of: ofVFS, why: noVFS},
	"nodiratime":  {of: ofVFS, why: noVFS},
	"relatime":    {of: ofVFS, why: noVFS},
	"norelatime":  {of: ofVFS, why: noVFS},
	"nolazytime":  {of: ofVFS, why: noVFS},
	"sync":        {of: ofVFS, why: "fsync= says what is durable"},
	"dirsync":     {of: ofVFS, why: "fsync= says what is durable"},
	"async":       {of: ofVFS, why: "fsync= says what is durable"},
	"mand":        {of: ofVFS, why: noVFS},
	"nomand":      {of: ofVFS, why: noVFS},
	"iversion":    {of: ofVFS, why: noVFS},
	"noiversion":  {of: ofVFS, why: noVFS},
	"silent":      {of: ofVFS, why: noVFS},
	"loud":        {of: ofVFS, why: noVFS},
	"nosymfollow": {of: ofVFS, why: "the flag is not handed on"},
	"remount":     {of: ofVFS, why: "a FUSE mount can't change its layers: unmount and mount again"},
}

const (
	selinux = "files keep the labels that their layers give them"
	noVFS   = "it does nothing on a FUSE mount"
)

// carriedOver says whether an option is another program's. The kernel's index=
// is on or off; ours is a directory.
func carriedOver(key string, e element) (foreignOption, bool) {
	if v := unescape(e.value); key == "index" && (v == "on" || v == "off") {
		return foreignOption{of: ofKernel, why: "hard links survive copy-up without it, and index=DIR is another thing here"}, true
	}
	f, ok := foreign[key]
	return f, ok
}

// userspace says whether an option is for mount(8) and fstab alone. Such a
// one is no business of a file system and is passed over in silence.
func userspace(key string) bool {
	switch key {
	case "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev":
		return true
	}
	return strings.HasPrefix(key, "x-") || strings.HasPrefix(key, "X-") || key == "comment"
}
