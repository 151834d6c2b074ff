#!/usr/bin/env bash
# makebase.sh DIR: fills DIR with base.tar, a small Debian root, and repo/, the
# packages that the tests install. It takes the machine's apt sources and proxy.
set -euo pipefail
out=$1

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

mode=unshare
((EUID == 0)) && mode=root
mkdir -p "$out/repo"

# hello is there to be purged again; /opt/app and /srv belong to no package, so
# layers may change them and dpkg --verify has nothing to say.
mmdebstrap --quiet --mode="$mode" --variant=minbase --include=hello "${options[@]}" \
	--customize-hook='mkdir -p "$1/repo/partial" && chroot "$1" apt-get install -qy --no-install-recommends --download-only -o Dir::Cache::archives=/repo -o APT::Sandbox::User=root less tree bc cron' \
	--customize-hook="copy-out /repo '$out'" \
	--customize-hook='rm -rf "$1/repo"' \
	--customize-hook='cd "$1" && mkdir -p opt/app/sub srv/data/gone && echo 1 >opt/app/one && echo 2 >opt/app/sub/two && echo k >srv/data/keep && echo g >srv/data/gone/g' \
	--customize-hook='test -z "$(chroot "$1" dpkg --verify 2>&1)"' \
	bookworm "$out/base.tar" "${sources[@]}"

# A repository is its packages and an index of them.
cd "$out/repo"
rm -rf partial lock
for deb in *.deb; do
	dpkg-deb -f "$deb"
	printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum <"$deb" | cut -d' ' -f1)"
done >Packages
chmod -R a+rX "$out"
