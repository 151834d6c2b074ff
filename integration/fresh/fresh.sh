#!/usr/bin/env bash
# fresh.sh [TARGET…]: a new Debian with nothing but git, make and Go, in which root
# and then a new user clone this repository (what is committed) and make the
# targets (demo). Prints how long each took. As root; leaves nothing behind.
set -euo pipefail
targets=("${@:-demo}")
((EUID == 0)) || { echo "test-fresh: it makes a Debian, and needs root: sudo make test-fresh" >&2; exit 1; }
here=$(realpath "$(dirname "$0")")
command -v mmdebstrap >/dev/null || { echo "test-fresh: mmdebstrap is missing: make setup installs it" >&2; exit 1; }

dir=$(mktemp -d /var/tmp/plyfs-fresh.XXXXXX)
trap 'rm -rf --one-file-system "$dir"' EXIT
chmod 0755 "$dir"
root=$dir/root

sources=() options=()
if grep -qs '^VERSION_CODENAME=bookworm$' /etc/os-release; then
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
		[[ -s $f ]] && sources+=("$f")
	done
fi
while read -r line; do
	options+=("--aptopt=$line")
done < <(apt-config dump 2>/dev/null | grep -E '^Acquire::(https?::Proxy.*|Check-Valid-Until|Check-Date) "[^"]' || true)
begin=$SECONDS
if [[ -n ${PLYFS_FRESH:-} ]]; then # a Debian that is there, to work on this script
	cp -a "$PLYFS_FRESH" "$root"
else
	mmdebstrap --quiet --variant=minbase --include=git,make,ca-certificates "${options[@]}" bookworm "$root" "${sources[@]}"
fi
echo "test-fresh: a Debian of $(du -sm "$root" | cut -f1) MB after $((SECONDS - begin)) s"

git clone --quiet --bare . "$root/plyfs.git"
mkdir -p "$root/usr/local/go" "$root/modules" "$root/old"
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
cp "$here/inside.sh" "$root/inside.sh"
# Modules that this machine has needn't be fetched again: the time is that of building.
modules=$(go env GOMODCACHE)/cache/download
[[ -d $modules ]] || modules=
export GOROOT_HERE=$(go env GOROOT) MODULES=$modules ROOT=$root
PROXY=$(go env GOPROXY) SUMDB=$(go env GOSUMDB)
export PROXY SUMDB DEVICES="null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
fuse 10 229"

# A chroot may make no user namespaces: the root is changed for good.
unshare --mount --pid --fork --kill-child --propagation private bash -euc '
	mount --bind "$ROOT" "$ROOT"
	mount --bind -o ro "$GOROOT_HERE" "$ROOT/usr/local/go"
	[[ -z $MODULES ]] || mount --bind -o ro "$MODULES" "$ROOT/modules"
	mount -t proc proc "$ROOT/proc"
	mount --rbind /sys "$ROOT/sys"
	mount -t tmpfs -o mode=0755 tmpfs "$ROOT/dev"
	while read -r name major minor; do
		mknod -m 0666 "$ROOT/dev/$name" c "$major" "$minor"
	done <<<"$DEVICES"
	ln -s /proc/self/fd "$ROOT/dev/fd"
	mkdir "$ROOT/dev/pts" "$ROOT/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=0666 devpts "$ROOT/dev/pts"
	ln -s pts/ptmx "$ROOT/dev/ptmx"
	mount -t tmpfs tmpfs "$ROOT/dev/shm"
	cd "$ROOT"
	pivot_root . old
	umount -l /old
	exec env -i PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		PROXY="$PROXY" SUMDB="$SUMDB" LANG=C.UTF-8 bash /inside.sh "$@"
' - "${targets[@]}"
