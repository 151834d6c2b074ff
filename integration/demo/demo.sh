#!/usr/bin/env bash
# demo.sh PLYFS: three layers, one mount, no root: what the user does and what
# comes of it on disk, a line for each step. Leaves nothing behind.
set -euo pipefail
binary=${1:-bin/plyfs}
user=plytest

if ((EUID == 0)) && [[ -z ${PLYFS_DEMO:-} ]]; then
	# Root would prove little: go on as a user who may do nothing special.
	if ! id "$user" >/dev/null 2>&1; then
		useradd --create-home --shell /bin/bash "$user"
		echo "* made the test user $user"
	fi
	[[ $(stat -c %a /dev/fuse) == 666 ]] || chmod 0666 /dev/fuse
	home=$(mktemp -d /var/tmp/plyfs-demo.XXXXXX)
	trap 'rm -rf --one-file-system "$home"' EXIT
	install -m 0755 "$binary" "$home/plyfs"
	install -m 0755 "$0" "$home/demo.sh"
	chown "$user:" "$home"
	cd "$home"
	PLYFS_DEMO=$home setpriv --reuid "$user" --regid "$user" --init-groups ./demo.sh ./plyfs
	exit
fi

if [[ -n ${PLYFS_DEMO:-} ]]; then
	dir=$PLYFS_DEMO
	plyfs=$dir/plyfs
else
	dir=$(mktemp -d /var/tmp/plyfs-demo.XXXXXX)
	plyfs=$(realpath "$binary")
fi
mnt=$dir/mnt

cleanup() {
	if grep -q " $mnt " /proc/self/mountinfo; then
		"$plyfs" umount "$mnt" 2>/dev/null || fusermount3 -uz "$mnt" || true
	fi
	cd /
	if [[ -z ${PLYFS_DEMO:-} ]]; then
		rm -rf --one-file-system "$dir"
	fi
}
trap cleanup EXIT
trap 'echo "demo: line $LINENO failed" >&2' ERR

step() { printf '\n* %s\n' "$*"; }
# tree DIR: what is below it, with what makes layers special in words.
tree() {
	(cd "$1" && find . -mindepth 1 | LC_ALL=C sort | while read -r f; do
		indent=$(tr -dc / <<<"${f#./}" | sed 's,/,  ,g')
		what=
		if [[ -c $f ]]; then
			what="   <- whiteout: hides the name below"
		elif [[ -d $f ]] && getfattr -d -m 'overlay.opaque' --absolute-names "$f" 2>/dev/null | grep -q opaque; then
			what="/  <- opaque: hides all that is below"
		elif [[ -d $f ]]; then
			what=/
		elif [[ -L $f ]]; then
			what=" -> $(readlink "$f")"
		elif [[ -f $f ]]; then
			what=": $(tail -n 1 "$f")"
		fi
		echo "    $indent${f##*/}$what"
	done)
}

step "as $(id -un) (uid $(id -u)): three layers, the last one on top"
mkdir -p "$dir"/{base/etc,base/bin,base/doc/old,tools/bin,config/etc,upper,work,mnt}
cd "$dir"
echo "Welcome to the base" >base/etc/motd
echo "name=base" >base/etc/config
echo "version 1" >base/bin/tool
echo "read me" >base/doc/readme
echo "very old" >base/doc/old/notes
echo "version 2" >tools/bin/tool
echo "only in tools" >tools/bin/extra
echo "name=config" >config/etc/config
for l in base tools config; do
	echo "  $l:"
	tree "$l"
done

step "plyfs mount -o lowerdir=config:tools:base,upperdir=upper,workdir=work mnt"
"$plyfs" mount -o lowerdir=config:tools:base,upperdir=upper,workdir=work "$mnt"
grep " $mnt " /proc/self/mountinfo | sed 's/.* - /  the kernel says: /'
echo "  the merged view:"
tree mnt

step "edit: append a line to mnt/etc/motd"
echo "Edited in the mount" >>mnt/etc/motd
step "delete: rm mnt/doc/readme"
rm mnt/doc/readme
step "rename: mv mnt/bin mnt/programs (a directory of two lower layers)"
mv mnt/bin mnt/programs
step "replace: rm -r mnt/doc/old and make it anew, with a link beside it"
rm -r mnt/doc/old
mkdir mnt/doc/old
echo "brand new" >mnt/doc/old/news
ln -s ../etc/motd mnt/doc/motd
echo "  the merged view now:"
tree mnt

step "plyfs umount mnt"
"$plyfs" umount "$mnt"
! grep -q " $mnt " /proc/self/mountinfo

step "the upper layer has the changes and nothing else, in overlayfs's own form"
tree upper
step "the layers below are as they were"
for l in base tools config; do
	echo "  $l: $(find "$l" -type f | LC_ALL=C sort | xargs)"
done
[[ $(cat base/etc/motd) == "Welcome to the base" && -f base/doc/readme && -f base/bin/tool ]]

step "mount it again: the same view"
"$plyfs" mount -o lowerdir=config:tools:base,upperdir=upper,workdir=work "$mnt"
cat mnt/programs/tool mnt/doc/old/news
[[ ! -e mnt/bin && ! -e mnt/doc/readme && $(tail -n 1 mnt/doc/motd) == "Edited in the mount" ]]
"$plyfs" umount "$mnt"
step "unmounted; nothing is left"
