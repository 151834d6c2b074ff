# What union filesystems can do without root: run as root of a user namespace.
# A line "ROW TOOL CODE" for each; 0 means that it can. Nothing here is a matter of time.
set +e
top=$PWD

# fresh makes layers, and enters their directory.
fresh() {
	cd "$top" && rm -rf t && mkdir -p t/low/d/e t/up t/work t/mnt t/outer/{l,u,w,m} && cd t
	echo a >low/a; ln low/a low/b; echo x >low/d/e/f
}
union() { # OPTIONS MOUNTPOINT
	case $tool in
	kernel) mount -t overlay -o "userxattr,$1" overlay "$2" ;;
	fuse-overlayfs) fuse-overlayfs -o "$1" "$2" ;;
	plyfs) "$BIN" mount -o "$1" "$2" ;;
	esac
}
layers=lowerdir=low,upperdir=up,workdir=work

many-layers() {
	local all=(l{1..600}) l
	mkdir "${all[@]}"
	l=low:$(IFS=:; echo "${all[*]}")
	union "lowerdir=$l" mnt && [[ -e mnt/a ]]
}
rename-directory() { union $layers mnt && perl -e 'rename("mnt/d", "mnt/D") or exit 1'; }
hard-links() { union $layers mnt && echo b >>mnt/a && cmp mnt/a mnt/b; }
upper-on-fuse() {
	"$BIN" mount -o lowerdir=outer/l,upperdir=outer/u,workdir=outer/w outer/m && mkdir outer/m/{u,w} &&
		union lowerdir=low,upperdir=outer/m/u,workdir=outer/m/w mnt &&
		echo b >>mnt/a && mkdir mnt/n && rm -r mnt/d && [[ ! -e mnt/d ]]
}
size-limit() { union "$layers,size_limit=1m" mnt && ! dd if=/dev/zero of=mnt/big bs=64k count=64 conv=fsync; }
server-dies() {
	union $layers mnt || return
	local p
	for p in /proc/[0-9]*; do
		p=${p#/proc/}
		# The server: who has the device and a layer open.
		if find "/proc/$p/fd" -lname /dev/fuse | grep -q . && find "/proc/$p/fd" -lname '*/t/up' | grep -q .; then
			kill -9 "$p"
			break
		fi
	done
	ls mnt && echo b >>mnt/a
}

for tool in kernel fuse-overlayfs plyfs; do
	for row in many-layers rename-directory hard-links upper-on-fuse size-limit server-dies; do
		fresh
		$row >log 2>&1
		code=$?
		echo "$row $tool $code"
		sed "s/^/$row $tool: /" log >&2
		cd "$top" && umount -l t/mnt t/outer/m 2>/dev/null
	done
done
exit 0
