# What can be run on this machine's own tree without root, an image or a daemon:
# run as a user. A line "ROW TOOL CODE" for each; 0 means that it can.
set +e
mkdir -p run bin
cp "$(command -v busybox)" bin/busybox && ln -sf busybox bin/sh && ln -sf busybox bin/chown && ln -sf busybox bin/touch
export XDG_RUNTIME_DIR=$PWD/run PLYFS_ROOT=$PWD/store

copy='echo x >/etc/motd && rm -rf /usr/share/doc && [ ! -e /usr/share/doc ]'
ids='touch /x && chown 1:1 /x'
here=$PWD
copy-of-root() {
	case $1 in
	bubblewrap) bwrap --overlay-src / --tmp-overlay / sh -c "$copy" ;;
	podman) podman --runtime runc --cgroup-manager cgroupfs run --rm --network none --rootfs /:O sh -c "$copy" ;;
	plyfs) "$BIN" try --discard -q -- sh -c "$copy" </dev/null ;;
	esac
}
one-id() {
	case $1 in
	bubblewrap) bwrap --unshare-user --uid 0 --gid 0 --bind "$here/root" / sh -c "$ids" ;;
	podman) podman --runtime runc --cgroup-manager cgroupfs run --rm --network none --uidmap 0:0:1 --gidmap 0:0:1 --rootfs "$here/root" sh -c "$ids" ;;
	plyfs) "$BIN" run --rm --net none --userns single --ids virtual --layer "$here/root" sh -c "$ids" ;;
	esac
}
for tool in bubblewrap podman plyfs; do
	for row in copy-of-root one-id; do
		rm -rf root && mkdir -p root/{proc,dev,sys,etc,tmp,run} && cp -a bin root/bin
		$row $tool >log 2>&1
		code=$?
		echo "$row $tool $code"
		sed "s/^/$row $tool: /" log >&2
	done
done
# podman leaves a process that keeps its namespaces.
podman system migrate >&2
exit 0
