// Package hostile gives plyfs what nobody in his right mind would: layers that
// are damaged or were made to do harm, directories too deep or too big, disks
// that fill up, mount options that contradict themselves.
//
// Such input can make an operation fail. It can't crash the server, hang it,
// lead it out of the layers or leave a mount behind: every case ends with these
// four asked. Cases run as root and, where they need no device and no trusted
// xattr, in a user namespace; what a refused mount says is asked of the command
// itself.
package hostile
