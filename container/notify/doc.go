// Package notify lets programs give files away, and give up their own ids, in a
// container with a single id: the kernel neither shows nor accepts another one
// there, whatever the filesystem says.
//
// A seccomp filter ([Install]) catches the system calls that name an id beside
// the one:
//
//   - setuid(2) and its relatives, and setgroups(2), answer "done" at once and
//     change nothing. Programs that look whether it worked will notice.
//   - chown(2) and its relatives, and mknod(2) of a device, are sent to [Serve],
//     which has the union keep the owner or the device as data (virtual
//     ownership; [dialect.ChownXattr]). What can't carry that, a symbolic link
//     or a file of another filesystem, is left as it is, with success.
//
// Serve runs inside of the container, with the rights that the payload has, so
// it can't be led to do what the payload couldn't do itself; that is why it may
// walk the caller's paths. It resolves them itself and never tells the kernel
// to go on with a call that it has looked at.
//
// The filter of the container's security policy comes on top: what that one
// forbids never gets here.
package notify
