# What the machine runs: results go to standard output, the serial line.
export PLYFS_BIN=/t/plyfs PLYFS_REQUIRE=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/var/tmp
code=0

# seen lists what the tests may leave behind.
seen() {
	find /sys/fs/cgroup -type d -name '*plyfs-*' | sed 's/^/cgroup /'
	awk '{print "mount " $5}' /proc/self/mountinfo | sort
	pgrep -fa plyfs | sed 's/^/process /' || true
}

suite() { # NAME REGEXP
	echo "SUITE $1"
	rc=0
	./"$1".test -test.v -test.run "$2" -test.timeout 20m 2>&1 || rc=$?
	echo "EXIT $1 $rc"
}

finish() {
	sleep 1 # systemd takes a scope away in its own time
	after=$(seen)
	[[ $after == "$before" ]] && echo "LEFT nothing" || diff <(echo "$before") <(echo "$after") | sed 's/^/LEFT /'
	echo "UP $(cut -d' ' -f1 /proc/uptime)"
}

echo "UP $(cut -d' ' -f1 /proc/uptime) $(uname -r)"
mount -o remount,size=400M /tmp 2>/dev/null || true
chmod 666 /dev/fuse
before=$(seen)
