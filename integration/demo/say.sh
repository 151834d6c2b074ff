# What the parts of the demonstration share: how a step is told.
set -euo pipefail
trap 'echo "demo: ${BASH_SOURCE[0]##*/} failed in line $LINENO" >&2' ERR

step() { printf '\n* %s\n' "$*"; }
note() { printf '  %s\n' "$*"; }
# shows COMMAND…: a step that is a command, and what it says. Its code is in $code.
shows() {
	local words=
	for w in "$@"; do
		[[ $w != *[\ \;\&\>]* ]] || w="'$w'"
		words+=" $w"
	done
	step "${words# }"
	code=0
	"$@" </dev/null 2>&1 | sed 's/^/    /' || code=${PIPESTATUS[0]}
}
