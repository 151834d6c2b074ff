package containers

import (
	"testing"

	"github.com/plyfs/plyfs/fs/fstest/require"
)

// TestUserNetwork: a connection in by a published port, and its end, with each
// of the helpers.
func TestUserNetwork(t *testing.T) {
	for _, helper := range []string{"pasta", "slirp4netns"} {
		require.Tool(t, helper)
		t.Run(helper, func(t *testing.T) {
			each(t, func(t *testing.T, p *person) {
				p.sh(t, `
		mkdir -p $HOME/only; for t in newuidmap newgidmap `+helper+`; do ln -sf $(command -v $t) $HOME/only/; done
		private=; [[ $(id -u) != 0 ]] || private='--userns private'
		port=$((20000 + RANDOM % 10000))
		PATH=$HOME/only $BIN run -d --name n $private `+p.flags+` --layer $LAYER --net user -p 127.0.0.1:$port:80 sh -c 'ls /sys/class/net >/if; echo hello | nc -l -p 80' >/dev/null
		[[ $($BIN ps --format '{{.Ports}}') = "127.0.0.1:$port->80/tcp" ]]
		for i in $(seq 50); do got=$(busybox nc 127.0.0.1 $port </dev/null 2>/dev/null || true); [[ -z $got ]] || break; sleep 0.1; done
		[[ $got = hello ]]
		$BIN wait n >/dev/null; $BIN rm n >/dev/null; rm -r $HOME/only
		no $RUN -p 80:80 true 2>/dev/null`)
			})
		})
	}
}

// TestNetworkFallback: without a helper the default is no network and a warning,
// and a wish for one an error.
func TestNetworkFallback(t *testing.T) {
	each(t, func(t *testing.T, p *person) {
		p.prints(t, `mkdir -p $HOME/nobin; for t in newuidmap newgidmap; do ln -sf $(command -v $t) $HOME/nobin/; done; P=$PATH
			PATH=$HOME/nobin $BIN run --rm `+p.flags+` --layer $LAYER ls /sys/class/net 2>&1
			PATH=$HOME/nobin $BIN run --rm `+p.flags+` --layer $LAYER --net user true 2>&1 || echo $?; PATH=$P; rm -r $HOME/nobin`,
			"plyfs: no network: neither pasta nor slirp4netns is installed (Debian: apt install passt, or slirp4netns); --net none says that this is as it should be\nlo\n"+
				"plyfs: network user: neither pasta nor slirp4netns is installed (Debian: apt install passt, or slirp4netns)\n125")
	})
}
