#!/usr/bin/env bash
# compare.sh VERSION: makes the tarballs in this tree and in a copy of it at
# another path, with an empty build cache, and fails when a byte differs.
set -euo pipefail
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
integration/dist/dist.sh "$1" "$work/here" >"$work/sums"
mkdir "$work/tree"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$work/tree"
(cd "$work/tree" && GOCACHE=$work/cache integration/dist/dist.sh "$1" "$work/there" >/dev/null)
cmp "$work/here/SHA256SUMS" "$work/there/SHA256SUMS"
echo "the same twice:"
cat "$work/sums"
