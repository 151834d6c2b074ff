package containers

import "testing"

// TestDevices: a container of root that may make any node can open none but
// the usual ones and those that it was given. /dev/fuse stands for the others:
// its own root was mounted with it.
func TestDevices(t *testing.T) {
	p := newPerson(t, "root")
	const try = `sh -c 'mknod /dev/f c 10 229 && mknod /dev/z c 1 5 && head -c 1 /dev/z | wc -c; : <>/dev/f' 2>&1`
	p.prints(t, `$RUN --userns host --cap-add MKNOD `+try, "1\nsh: can't create /dev/f: Operation not permitted")
	p.prints(t, `$RUN --userns host --cap-add MKNOD --device /dev/fuse `+try, "1")
	p.prints(t, `$RUN --device /dev/fuse sh -c ': <>/dev/fuse && echo opened'`, "opened")
	// A command that is executed later, too.
	p.prints(t, `$RUND --name x --userns host --cap-add MKNOD sleep 100 >/dev/null; $BIN exec x `+try+`; $BIN rm -f x >/dev/null`,
		"1\nsh: can't create /dev/f: Operation not permitted")
}
