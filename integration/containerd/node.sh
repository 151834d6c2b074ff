#!/usr/bin/env bash
# Boots the machine's own systemd as process 1 of new namespaces, on a root
# directory that it makes in DIR: what a node of a cluster is to a DaemonSet.
# Nothing outside of DIR and of its control groups can be written from there, but
# devices; the end of process 1 is the end of everything in it, and of this.
#
#   node.sh DIR NAME
set -euo pipefail
dir=$1 name=$2

# hierarchies lists what is mounted of control groups: where, type, and options.
hierarchies() { awk '$(NF-2) ~ /^cgroup2?$/ {o = $NF; sub(/^rw,?/, "", o); print $5, $(NF-2), o}' /proc/self/mountinfo; }

# groups are those that the node gets: in version 1 below our own, whose limits
# hold on; in version 2 a group with processes has no controllers for others.
groups() {
	local at type options own
	while read -r at type options; do
		own=/
		[[ $type == cgroup2 ]] || own=$(awk -F: -v o="$options" '$2 == o {print $3}' /proc/self/cgroup)
		[[ -d $at$own ]] || own=/
		echo "$at$own/$name"
	done < <(hierarchies)
}

if [[ ${3:-} != inside ]]; then
	mapfile -t all < <(groups)
	for group in "${all[@]}"; do
		mkdir "$group"
		for file in cpus mems; do # are empty, and have to be set
			[[ ! -e $group/cpuset.$file || $group == */unified/* ]] || cat "$group/../cpuset.$file" >"$group/cpuset.$file"
		done
	done
	(
		for group in "${all[@]}"; do echo "$BASHPID" >"$group/cgroup.procs"; done
		exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --cgroup --uts --ipc bash "$0" "$dir" "$name" inside
	) || true
	for ((try = 0; try < 100; try++)); do
		find "${all[@]}" -depth -type d -exec rmdir {} + 2>/dev/null && exit
		sleep 0.1
	done
	echo "node.sh: control groups are left: ${all[*]}" >&2
	exit 1
fi

mount --make-rprivate /
mount --bind "$dir" "$dir"
cd "$dir"
mkdir -p dev etc/systemd/system proc run sys tmp usr var/lib root local/bin old
ln -sfn usr/bin bin; ln -sfn usr/sbin sbin; ln -sfn usr/lib lib; ln -sfn usr/lib64 lib64
mount --bind /usr usr
mount -o remount,bind,ro usr
mount --bind local usr/local
cp -a /etc/{passwd,group,nsswitch.conf,ld.so.cache,alternatives,hosts} etc/
touch etc/resolv.conf
# Without it systemd would think of a first boot, and enable all that there is.
echo 0123456789abcdef0123456789abcdef >etc/machine-id
echo node >etc/hostname
# Terminals, and what would change the machine: its devices, its audit.
for unit in getty.target systemd-logind.service systemd-udevd.service systemd-journald-audit.socket dbus.socket dbus.service; do
	ln -sfn /dev/null "etc/systemd/system/$unit"
done
mount -t proc proc proc
# The kernel's settings are the machine's: a node is not to change them.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mapfile -t mounts < <(hierarchies)
((${#mounts[@]} == 1)) || mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
for mount in "${mounts[@]}"; do
	read -r at type options <<<"$mount"
	mkdir -p ".$at"
	mount -t "$type" ${options:+-o "$options"} "$type" ".$at"
done
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for node in null zero full random urandom tty fuse; do
	touch "dev/$node"
	mount --bind "/dev/$node" "dev/$node"
done
pivot_root . old
exec env -i container=plyfs-tests PATH=/usr/sbin:/usr/bin chroot . bash -c '
	umount -l /old
	rmdir /old
	exec /lib/systemd/systemd --unit=multi-user.target --show-status=no' </dev/null
