#!/usr/bin/env bash
# deb.sh VERSION DIR: a Debian package of what make install installs, with the
# systemd units, AppArmor's profile for user namespaces, and /usr/bin/fuse-overlayfs
# as an alternative. The snapshotter's unit isn't enabled: containerd has to be
# configured for it first.
set -euo pipefail
version=$1 out=$(realpath -m "$2")
version=${version#v}
[[ $version == [0-9]*.* ]] || version=0.0~git$version
version=${version//-/+}
arch=$(dpkg --print-architecture)
here=$(realpath "$(dirname "$0")")
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH=$epoch
umask 022
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root doc=$work/root/usr/share/doc/plyfs
mkdir "$root"
make install DESTDIR="$root" PREFIX=/usr SBINDIR=/usr/sbin >/dev/null
ln -sfn ../bin/plyfs "$root/usr/sbin/mount.fuse3.plyfs"
install -D -m 0644 -t "$root/usr/lib/systemd/system" plugin/deploy/systemd/*.service plugin/deploy/systemd/*.slice 2>/dev/null ||
	install -D -m 0644 -t "$root/usr/lib/systemd/system" plugin/deploy/systemd/*
sed -i 's|/usr/local/bin/|/usr/bin/|g' "$root"/usr/lib/systemd/system/*
install -D -m 0644 "$here/deb/plyfs.apparmor" "$root/usr/share/plyfs/apparmor/plyfs"
install -d "$root/usr/share/man/man8" "$root/usr/share/lintian/overrides"
ln -s ../man1/plyfs-mount.1.gz "$root/usr/share/man/man8/mount.fuse3.plyfs.8.gz"
"$root/usr/bin/plyfs" man "$work"
printf '.TH CONTAINERD-PLYFS-GRPC 1 "" "plyfs" "plyfs"\n.SH NAME\ncontainerd\\-plyfs\\-grpc \\- snapshotter of containerd on plyfs\n.SH DESCRIPTION\n.nf\n%s\n.fi\n' \
	"$("$root/usr/bin/containerd-plyfs-grpc" -h | sed 's/[\\]/\\e/g; s/-/\\-/g')" | gzip -9n >"$root/usr/share/man/man1/containerd-plyfs-grpc.1.gz"
install -d "$doc"
printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: plyfs\n\nFiles: *\nCopyright: 2026 the authors of plyfs\nLicense: Apache-2.0\n On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n' >"$doc/copyright"
printf 'plyfs (%s) unstable; urgency=medium\n\n  * CHANGELOG.gz has the changes. (Closes: #0)\n\n -- plyfs <plyfs@users.noreply.github.com>  %s\n' "$version" "$(date -uRd "@$epoch")" | sed 's/ (Closes: #0)//' | gzip -9n >"$doc/changelog.gz"
# Static binaries are meant so: the same file runs in any container.
cat >"$root/usr/share/lintian/overrides/plyfs" <<'O'
plyfs: statically-linked-binary
O
mkdir "$root/DEBIAN"
install -m 0755 "$here/deb/postinst" "$here/deb/prerm" "$root/DEBIAN/"
cat >"$root/DEBIAN/control" <<C
Package: plyfs
Version: $version
Architecture: $arch
Maintainer: plyfs <plyfs@users.noreply.github.com>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Recommends: fuse3, uidmap, passt
Section: admin
Priority: optional
Homepage: https://github.com/plyfs/plyfs
Description: union filesystem for containers, snapshotter and container runner
 plyfs merges read-only directory layers with a writable one as a FUSE
 filesystem, without root and in the on-disk form of the kernel's overlayfs. It
 takes the place of fuse-overlayfs, runs commands on a throw-away copy of the
 machine, runs containers, and is a snapshotter for containerd.
C
find "$root" -path "$root/DEBIAN" -prune -o -type f -printf '%P\0' | sort -z | (cd "$root" && xargs -0 md5sum) >"$root/DEBIAN/md5sums"
find "$root" -exec touch -hd "@$epoch" {} +
dpkg-deb --root-owner-group -Zxz -z1 -b "$root" "$out/plyfs_${version}_$arch.deb"
