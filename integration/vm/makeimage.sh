#!/usr/bin/env bash
# makeimage.sh DIR: fills DIR with what a virtual machine starts from: vmlinuz,
# Debian's kernel 6.1 for clouds, the oldest that we support; initrd, which loads
# the modules and changes over to the disk; and disk, a small Debian with systemd
# and the user plytest. It takes the machine's apt sources and proxy.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
out=$1
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

sources=()
if grep -qs '^VERSION_CODENAME=bookworm$' /etc/os-release; then
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
		[[ -s $f ]] && sources+=("$f")
	done
fi
options=()
while read -r line; do
	options+=("--aptopt=$line")
done < <(apt-config dump 2>/dev/null | grep -E '^Acquire::(https?::Proxy.*|Check-Valid-Until|Check-Date) "[^"]' || true)

# The kernel is unpacked, not installed: no boot loader, no initramfs-tools.
mmdebstrap --quiet --mode=root --variant=minbase \
	--include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,uidmap,busybox-static,procps,attr,bsdutils,fuse3 \
	"${options[@]}" \
	--customize-hook='cd "$1" && mkdir kernel && chroot . sh -c "cd /kernel && apt-get download -o APT::Sandbox::User=root \$(apt-cache depends linux-image-cloud-amd64 | sed -n \"s/.*Depends: \\(linux-image-6[^ ]*\\)/\\1/p\")"' \
	--customize-hook="mv \"\$1/kernel\" '$work/'" \
	bookworm "$work/root" "${sources[@]}"
dpkg -x "$work"/kernel/*.deb "$work/kernel"
cp "$work"/kernel/boot/vmlinuz-* "$out/vmlinuz"

# The initrd: modules in the order in which they need each other.
init=$work/initrd
mkdir -p "$init"/{bin,mod,proc,sys,dev,root}
cp "$(command -v busybox)" "$init/bin/"
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk crc16 crc32c_generic libcrc32c mbcache jbd2 ext4 fuse overlay; do
	file=$(find "$work/kernel/lib/modules" -name "$m.ko")
	[[ -z $file ]] && continue # built in
	cp "$file" "$init/mod/"
	echo "$m" >>"$init/mod/order"
done
cat >"$init/init" <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in $(cat /mod/order); do insmod /mod/$m.ko; done
mount -t ext4 /dev/vda /root || { echo 'initrd: no disk'; poweroff -f; }
umount /proc /sys /dev
exec switch_root /root /sbin/init
END
chmod 755 "$init/init"
(cd "$init" && find . | cpio --quiet -o -H newc | gzip -1) >"$out/initrd"

# The disk. Nothing that a test doesn't need is started.
root=$work/root
echo vm >"$root/etc/hostname"
chroot "$root" useradd --create-home --shell /bin/bash plytest
chroot "$root" useradd --create-home --shell /bin/bash lone # nobody runs a manager for him
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
	systemd-timesyncd.service getty@tty1.service serial-getty@ttyS0.service systemd-udevd.service systemd-udev-trigger.service \
	systemd-udev-settle.service systemd-hwdb-update.service systemd-journal-flush.service systemd-update-utmp.service \
	systemd-tmpfiles-clean.timer systemd-random-seed.service systemd-pcrphase.service systemd-pcrphase-sysinit.service; do
	ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
mkdir -p "$root/var/lib/systemd/linger" "$root/t"
touch "$root/var/lib/systemd/linger/plytest"
cat >"$root/etc/systemd/system/tests.service" <<'END'
[Unit]
Description=The tests
Wants=user@1000.service
After=systemd-user-sessions.service user@1000.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'stty -F /dev/ttyS1 raw; cd /t && tar -xf /dev/vdb && exec ./run >/dev/ttyS1 2>&1'
ExecStopPost=/bin/systemctl poweroff -ff
[Install]
WantedBy=default.target
END
mkdir -p "$root/etc/systemd/system/default.target.wants"
ln -sf ../tests.service "$root/etc/systemd/system/default.target.wants/tests.service"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,locale,man}/*
truncate -s 1G "$out/disk"
mkfs.ext4 -q -F -O ^has_journal -d "$root" "$out/disk"
