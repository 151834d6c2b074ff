#!/usr/bin/env bash
# demo.sh PLYFS: what plyfs is for, a line for each step: what the machine can
# do, a union of three layers, a command on a copy of this machine, a container
# with limits. It needs neither root nor a network, and leaves nothing behind.
# Root watches an unprivileged user do it, who proves more, and starts only the
# last container himself: the limits of root's are enforced everywhere.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
binary=$(realpath "${1:-bin/plyfs}")
user=plytest
as=()         # how a part is run as the user
made_user=

if ((EUID == 0)); then
	if ! id "$user" >/dev/null 2>&1; then
		useradd --create-home --shell /bin/bash "$user"
		made_user=yes
		echo "* made the user $user, for as long as this takes"
	fi
	[[ $(stat -c %a /dev/fuse) == 666 ]] || chmod 0666 /dev/fuse
	as=(setpriv --reuid "$user" --regid "$user" --init-groups)
fi

dir=$(mktemp -d /var/tmp/plyfs-demo.XXXXXX)
# forget STORE COMMAND…: removes what a part that failed has left in its store.
forget() {
	local store=$1 id
	shift
	[[ -d $store ]] || return 0
	for id in $("$@" "$dir/plyfs" ps -aq --root "$store"); do
		"$@" "$dir/plyfs" rm -f --root "$store" "$id" >/dev/null
	done
}
cleanup() {
	cd /
	forget "$dir/home/store" "${as[@]}"
	forget "$dir/store"
	if grep -q " $dir/home/mnt " /proc/self/mountinfo; then
		"${as[@]}" "$dir/plyfs" umount "$dir/home/mnt" || "${as[@]}" fusermount3 -uz "$dir/home/mnt"
	fi
	rm -rf --one-file-system "$dir"
	[[ -z $made_user ]] || userdel --remove "$user" 2>/dev/null || true
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

chmod 0755 "$dir"
mkdir "$dir/home"
install -m 0755 "$binary" "$dir/plyfs"
install -m 0755 "$here"/*.sh "$dir"
((EUID != 0)) || chown "$user:" "$dir/home"

# part NAME HOME COMMAND…: one part, with a home and a store of its own.
part() {
	local name=$1 home=$2
	shift 2
	cd "$home"
	"$@" env HOME="$home" PLYFS_ROOT="$home/store" PATH="$dir:$PATH" bash "$dir/$name.sh"
}
# Without fusermount3 a user mounts in a user namespace, where nobody else sees it.
own=()
"${as[@]}" sh -c 'PATH=$PATH:/usr/sbin:/sbin; command -v fusermount3' >/dev/null || own=(unshare --user --map-root-user --mount)
part union "$dir/home" "${as[@]}" "${own[@]}"
part sandbox "$dir/home" "${as[@]}"
part limits "$dir"

cleanup
trap - EXIT
[[ ! -e $dir ]]
printf '\n* done: nothing is mounted, nothing runs, nothing is left\n'
