// Package dialect says how deletions, opaque directories, redirects, origins
// and virtual ownership are written on disk, in every form that is met in
// layers: the kernel's (trusted.overlay.* and user.overlay.*), that of
// fuse-overlayfs and containers/storage, and AUFS' .wh. files.
//
// Its core is pure: bytes and strings in, values out, no file touched, no
// lock, no state. The functions that a look-up calls (ParseDotWh, ParseOpaque,
// ClientToDisk on an ordinary name) allocate nothing. Whatever a layer holds
// is taken as hostile: each parser accepts any bytes, reads no further than
// they go and says ErrInvalid at the first thing that the format forbids.
//
// The one part that touches files is the checker, which walks an upper directory
// and follows no symlink and crosses no mount point. Check reports and writes
// nothing; Mend puts right what Check reports, or turns one dialect into another.
//
// docs/ondisk.md describes the formats byte by byte.
package dialect
