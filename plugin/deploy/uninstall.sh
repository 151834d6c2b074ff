#!/bin/sh
# Takes the snapshotter off a machine: containerd's configuration, the units and
# the program. The layers stay. Run it as root on the machine when nothing uses
# the snapshotter; docs/kubernetes.md says how to come to that.
set -eu
conf=/etc/containerd/conf.d/plyfs.toml
state=/run/plyfs/snapshotter
root=/var/lib/plyfs/snapshotter

if [ -n "$(ls -A "$state/m" 2>/dev/null)" ]; then
	echo "uninstall: containers use the snapshotter ($state/m is not empty): remove them first, the DaemonSet's own too" >&2
	exit 1
fi
if [ -e "$conf" ]; then
	rm "$conf"
	systemctl restart containerd
fi
for unit in plyfs-snapshotter plyfs-snapshotter-keeper; do
	systemctl disable --now "$unit.socket" "$unit.service" || true # the keeper came later
	rm -f "/etc/systemd/system/$unit.service" "/etc/systemd/system/$unit.socket"
done
systemctl daemon-reload
rm -rf /usr/local/bin/containerd-plyfs-grpc /usr/local/share/plyfs
echo "the layers are left in $root: delete it when nothing in it is wanted"
