# What happens in the new machine: root, and then a new user, clone and make.
set -euo pipefail
useradd --create-home --shell /bin/bash somebody
cat >/etc/go.env <<EOF
export GOPROXY=file:///modules,$PROXY GOSUMDB=$SUMDB GOTOOLCHAIN=local
EOF
cat >/work.sh <<'EOF'
set -euo pipefail
. /etc/go.env
cd
git config --global --add safe.directory '*'
begin=$SECONDS
git clone --quiet /plyfs.git plyfs
cd plyfs
for target in "$@"; do
	make "$target" >../log 2>&1 || { tail -n 50 ../log; echo "test-fresh: make $target failed as $(id -un)"; exit 1; }
	tail -n 1 ../log
	echo "test-fresh: as $(id -un): git clone && make $target: $((SECONDS - begin)) s"
done
EOF
HOME=/root bash /work.sh "$@"
setpriv --reuid somebody --regid somebody --init-groups env HOME=/home/somebody bash /work.sh "$@"
