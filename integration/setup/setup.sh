#!/usr/bin/env bash
# Makes a machine ready for `make test`: packages, /dev/fuse, an unprivileged
# test user. As root it does what is missing; as anyone else it says what is
# missing and how to get it. Quick and silent when nothing is.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

# What the tests call, and the Debian package that brings it.
needs=(
	fusermount3:fuse3 fuse-overlayfs:fuse-overlayfs
	podman:podman buildah:buildah runc:runc crun:crun conmon:conmon
	newuidmap:uidmap mmdebstrap:mmdebstrap busybox:busybox-static
	getfattr:attr getfacl:acl setcap:libcap2-bin sqlite3:sqlite3
	git:git gcc:gcc tar:tar unshare:util-linux setpriv:util-linux script:bsdutils
	pasta:passt slirp4netns:slirp4netns pgrep:procps rootlesskit:rootlesskit nsenter:util-linux
	systemctl:systemd systemd-analyze:systemd dbus-daemon:dbus-daemon
	bwrap:bubblewrap strace:strace man:man-db umoci:umoci
)
user=plytest
quiet=
for arg in "$@"; do
	case $arg in
	-q) quiet=-q ;;
	vm) needs+=(qemu-system-x86_64:qemu-system-x86 cpio:cpio) ;; # make test-vm
	arch) needs+=(qemu-arm-static:qemu-user-static) ;; # make test-arch
	esac
done

say() { echo "setup: $*"; }
missing_packages() {
	local n
	for n in "${needs[@]}"; do
		command -v "${n%%:*}" >/dev/null || echo "${n##*:}"
	done
	[[ -x /sbin/mkfs.ext4 ]] || echo e2fsprogs # not in everybody's PATH
	[[ -e /usr/include/stdlib.h ]] || echo libc6-dev # for go test -race
	[[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || echo debian-archive-keyring
}

problems=()
mapfile -t packages < <(missing_packages | sort -u)
if ((${#packages[@]})); then
	if ((EUID == 0)) && command -v apt-get >/dev/null; then
		say "installing ${packages[*]}"
		log=$(mktemp)
		export DEBIAN_FRONTEND=noninteractive
		if ! { apt-get update -q && apt-get install -qy --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
			tail -n 20 "$log" >&2
			problems+=("apt-get could not install ${packages[*]} (log: $log)")
		else
			rm -f "$log"
			mapfile -t packages < <(missing_packages | sort -u)
			((${#packages[@]} == 0)) || problems+=("still missing after the installation: ${packages[*]}")
		fi
	else
		problems+=("missing packages; run: sudo apt-get install --no-install-recommends ${packages[*]}")
	fi
fi

# Devices that udev opens to everybody: the rootless tests are the point.
device() { # DEVICE MAJOR MINOR MODULE
	if [[ ! -c $1 ]] && ((EUID == 0)); then
		modprobe "$4" 2>/dev/null || true
		mkdir -p "${1%/*}"
		[[ -c $1 ]] || mknod -m 0666 "$1" c "$2" "$3" 2>/dev/null || true
	fi
	if [[ ! -c $1 ]]; then
		problems+=("no $1: load the kernel module with: sudo modprobe $4")
	elif [[ $(stat -c %a "$1") != 666 ]]; then
		if ((EUID == 0)); then
			say "making $1 usable for everybody"
			chmod 0666 "$1"
		elif [[ ! -r $1 || ! -w $1 ]]; then
			problems+=("$1 is closed to $(id -un); run: sudo chmod 0666 $1")
		fi
	fi
}
device /dev/fuse 10 229 fuse
device /dev/net/tun 10 200 tun # for pasta and slirp4netns

# The tests' unprivileged user, with 65536 subordinate ids.
next_free() { # first id that no line of $1 covers
	awk -F: 'BEGIN {n = 100000} $2 + $3 > n {n = $2 + $3} END {print n}' "$1"
}
if ((EUID == 0)); then
	if ! id "$user" >/dev/null 2>&1; then
		say "creating the user $user"
		useradd --create-home --shell /bin/bash "$user"
	fi
	touch /etc/subuid /etc/subgid
	if ! grep -q "^$user:" /etc/subuid; then
		n=$(next_free /etc/subuid)
		usermod --add-subuids "$n-$((n + 65535))" "$user"
	fi
	if ! grep -q "^$user:" /etc/subgid; then
		n=$(next_free /etc/subgid)
		usermod --add-subgids "$n-$((n + 65535))" "$user"
	fi
	as_user=(setpriv --reuid "$user" --regid "$user" --init-groups)
else
	grep -q "^$(id -un):" /etc/subuid /etc/subgid 2>/dev/null ||
		problems+=("no subordinate ids; run: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)")
	as_user=()
fi
if ! "${as_user[@]}" unshare --user --map-root-user true 2>/dev/null; then
	problems+=("unprivileged user namespaces are off; run: sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000")
fi

if ((${#problems[@]})); then
	printf 'setup: %s\n' "${problems[@]}" >&2
	exit 1
fi
[[ $quiet == -q ]] || say "ready"
