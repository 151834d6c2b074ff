# The first part: plyfs doctor, and three layers that become one tree.
. "${BASH_SOURCE[0]%/*}/say.sh"

# tree DIR: what is below it, with what makes layers special in words.
tree() {
	(cd "$1" && find . -mindepth 1 | LC_ALL=C sort | while read -r f; do
		indent=$(tr -dc / <<<"${f#./}" | sed 's,/,  ,g')
		what=
		if [[ -c $f ]] || [[ -f $f && ! -s $f ]]; then
			what="   <- whiteout: hides the name below"
		elif [[ -d $f ]]; then
			what=/
		elif [[ -f $f ]]; then
			what=": $(tail -n 1 "$f")"
		fi
		echo "    $indent${f##*/}$what"
	done)
}

step "as $(id -un) (uid $(id -u)): plyfs doctor, what this machine can do"
plyfs doctor | sed 's/^/    /'

step "three layers, the last one on top"
mkdir -p base/etc base/bin tools/bin config/etc upper work mnt
echo "Welcome to the base" >base/etc/motd
echo "name=base" >base/etc/config
echo "version 1" >base/bin/tool
echo "version 2" >tools/bin/tool
echo "name=config" >config/etc/config
for l in base tools config; do
	note "$l: $(cd "$l" && find . -type f -printf '%P ' | tr ' ' '\n' | LC_ALL=C sort | xargs)"
done

step "plyfs mount -o lowerdir=config:tools:base,upperdir=upper,workdir=work mnt"
plyfs mount -o lowerdir=config:tools:base,upperdir=upper,workdir=work mnt
note "the merged view:"
tree mnt
[[ $(cat mnt/bin/tool) == "version 2" ]]

step "in mnt: a line more in etc/motd, etc/config removed, bin renamed to programs"
echo "Edited in the mount" >>mnt/etc/motd
rm mnt/etc/config
mv mnt/bin mnt/programs
note "the merged view now:"
tree mnt
[[ ! -e mnt/bin && ! -e mnt/etc/config && $(cat mnt/programs/tool) == "version 2" ]]

step "plyfs umount mnt: the upper layer has the changes and nothing else"
plyfs umount mnt
tree upper
note "base/etc/motd is as it was: $(cat base/etc/motd)"
[[ $(cat base/etc/motd) == "Welcome to the base" && -f base/bin/tool && -z $(ls mnt) ]]
