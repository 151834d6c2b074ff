#!/usr/bin/env bash
# dist.sh VERSION DIR: static tarballs for amd64 and arm64, a list of the modules
# in them (a CycloneDX SBOM made of what the binary itself says), and SHA256SUMS.
# The same sources give the same bytes: nothing in them has a time or a name of
# this machine.
set -euo pipefail
version=${1#v} out=$(realpath -m "$2")
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false
umask 022
rm -rf "$out"
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# sbom BINARY…: the modules that binaries are made of, as they say themselves.
sbom() {
	go version -m "$@" | awk '$1 == "dep" || $1 == "=>"' | sort -u -k2,2 | awk -v version="$version" '
		BEGIN { printf "{\"bomFormat\":\"CycloneDX\",\"specVersion\":\"1.5\",\"version\":1,\"metadata\":{\"component\":{\"type\":\"application\",\"name\":\"plyfs\",\"version\":\"%s\"}},\"components\":[", version }
		$1 == "dep" || $1 == "=>" { printf "%s{\"type\":\"library\",\"name\":\"%s\",\"version\":\"%s\",\"purl\":\"pkg:golang/%s@%s\"}", sep, $2, $3, $2, $3; sep = "," }
		END { print "]}" }'
}

go build -o "$work/native" ./cmd/plyfs
for arch in amd64 arm64; do
	name=plyfs-$version-linux-$arch
	top=$work/$name
	mkdir -p "$top/man" "$top/systemd"
	flags="-s -w -X github.com/plyfs/plyfs/cmd/internal/cli.Version=$version" entry=
	[[ $arch != amd64 ]] || entry="-E main.entry"
	GOARCH=$arch go build -trimpath -ldflags "$flags" -ldflags "github.com/plyfs/plyfs/cmd/plyfs=$flags $entry" -o "$top/" ./cmd/plyfs ./cmd/plyfs-image ./cmd/containerd-plyfs-grpc
	cp README.md CHANGELOG.md LICENSE "$top/"
	cp plugin/deploy/systemd/* "$top/systemd/"
	"$work/native" man "$top/man"
	for shell in bash zsh fish; do "$work/native" completion $shell >"$top/plyfs.$shell"; done
	sed -i "s/\"plyfs [^\"]*\" \"plyfs\"$/\"plyfs $version\" \"plyfs\"/" "$top"/man/*.1
	sbom "$top"/{plyfs,plyfs-image,containerd-plyfs-grpc} >"$out/$name.cdx.json"
	tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -cf - "$name" | gzip -9n >"$out/$name.tar.gz"
done
cd "$out"
sha256sum -- *.tar.gz *.cdx.json >SHA256SUMS
cat SHA256SUMS
