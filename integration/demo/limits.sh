# The third part: a container of one directory, with limits.
. "${BASH_SOURCE[0]%/*}/say.sh"

mkdir -p root/bin
if busybox=$(command -v busybox) && busybox true 2>/dev/null && ! ldd "$busybox" >/dev/null 2>&1; then
	cp "$busybox" root/bin/
	for a in sh id ls ps dd hostname; do ln -s busybox "root/bin/$a"; done
else
	busybox=
	cp "$(command -v plyfs)" root/bin/
fi

step "as $(id -un): a root directory with nothing in it but $(ls root/bin | xargs); plyfs run with limits"
limits=(--net none --layer root -m 32m --cpus 0.5 --pids-limit 20)
if [[ -z $busybox ]]; then
	shows plyfs run --rm "${limits[@]}" plyfs version
	((code == 0))
	exit
fi
shows plyfs run --rm "${limits[@]}" sh -c 'echo "uid $(id -u) on $(hostname)"; ls /; ps'
((code == 0))
shows plyfs run --name hog "${limits[@]}" dd if=/dev/zero of=/dev/null bs=96M count=1
if ((code == 137)); then
	note "code 137: it wanted 96 MB of 32 and was ended; OOMKilled is $(plyfs inspect -f '{{.State.OOMKilled}}' hog)"
	[[ $(plyfs inspect -f '{{.State.OOMKilled}}' hog) == true ]]
else
	note "code $code: memory is not limited here for $(id -un), and the warning above says why"
	((code == 0)) && plyfs inspect -f '{{.State.Warnings}}' hog | grep -q memory
fi
shows plyfs rm hog
