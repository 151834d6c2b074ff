//go:build vm

package guest

import "testing"

// TestOldKernel: what newer kernels do and this one doesn't is left out, and
// what can do without it works.
func TestOldKernel(t *testing.T) {
	for name, ways := range map[string]string{superuser: "--init", tenant: "'' '--userns single'"} {
		p := newPerson(t, name)
		p.sh(t, `
			for more in `+ways+`; do
				$RUND --name x $more sleep 100 >/dev/null
				want "$($BIN exec x sh -c 'echo $(id -u); exit 3' || echo $?)" $'0\n3'
				$BIN rm -f x >/dev/null
			done`)
		// A program with threads: before Linux 6.2 a process that waits for a
		// time namespace may make none.
		p.sh(t, `cp $BIN $LAYER/bin/plyfs; $RUN plyfs version | grep -q .`)
	}
}
