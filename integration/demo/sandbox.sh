# The second part: a copy of this machine in which anything may be done.
. "${BASH_SOURCE[0]%/*}/say.sh"

docs() { find /usr/share/doc -mindepth 1 -maxdepth 1 2>/dev/null | wc -l; }
before=$(docs)

# Something to install: a package where there are packages; no network is asked.
mkdir -p pkg/usr/bin
printf '#!/bin/sh\necho "hello from a program that the host does not have"\n' >pkg/usr/bin/plyfs-hello
chmod 755 pkg/usr/bin/plyfs-hello
if dpkg-deb --version >/dev/null 2>&1 && dpkg --version >/dev/null 2>&1; then
	mkdir pkg/DEBIAN
	printf '%s\n' 'Package: plyfs-hello' 'Version: 1' 'Architecture: all' \
		'Maintainer: nobody <nobody@example.org>' 'Description: the demonstration of plyfs' >pkg/DEBIAN/control
	dpkg-deb --root-owner-group --build pkg plyfs-hello.deb >/dev/null
	install='dpkg -i plyfs-hello.deb'
else
	install='install -m 755 pkg/usr/bin/plyfs-hello /usr/bin'
fi

shows plyfs try --keep --name demo -- sh -c "$install && plyfs-hello && rm -rf /usr/share/doc && echo notes >notes"
((code == 0))

step "the host is as it was"
note "plyfs-hello: $(command -v plyfs-hello || echo not there)"
note "/usr/share/doc: $before entries before, $(docs) now"
[[ $(docs) == "$before" && ! -e /usr/bin/plyfs-hello && ! -e notes ]]

shows plyfs try --keep --name demo -q -- sh -c 'plyfs-hello; ls -d /usr/share/doc'
note "the sandbox was kept: what was done in it is still there"

shows plyfs commit --to-host demo "$PWD/notes"
note "a part of it is put on the host: notes has \"$(cat notes)\""
shows plyfs discard demo
[[ $(cat notes) == notes && -z $(plyfs ps -aq) && $(docs) == "$before" ]]
