// Package layer says what a stack of layers is. It owns two things: the codec
// between the text of mount options and [Options] (Parse and String), and the
// step from options to a validated set of open directories (Open).
//
// The text follows kernel overlayfs where the kernel has the option, and
// fuse-overlayfs where only that has it; docs/options.md is the table. Layer
// roots are resolved once, as the kernel does it: a symbolic link given as a
// layer root is followed. After that only the descriptor counts; no path is
// opened twice.
//
// The room opens and looks, it never creates or changes anything. It holds no
// lock: Options and Stack belong to one goroutine until they are handed on,
// and nobody writes them after that.
package layer
