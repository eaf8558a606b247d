#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Do random things to the pool, built in user space with ASan. Writes KTAP to stdout.
#
# A failure means: some order of pins, limits, memory errors and failed allocations
# makes the pool lose memory, or free it while it is in use.
set -eu
tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"

usage() { echo "usage: $me [SECONDS [SEED]]"; }
case ${1:-} in -h) usage; exit 0 ;; esac
[ $# -le 2 ] || { usage >&2; exit 2; }
dir=$linux/tools/testing/transient_memmap
out=$BUILD/user

# The last lines say what was not so, after how much of which seed.
fuzz() {
	rc=0
	(cd "$out" && ./fuzz -t "$@") >"$out/fuzz.log" 2>&1 || rc=$?
	if [ $rc = 0 ]; then
		cat "$out/fuzz.log"
	else
		tail -n 40 "$out/fuzz.log" | sed 's/^#* */# /'
		echo "exit status $rc, see $out/fuzz.log"
		return 1
	fi
}

make -s -C "$dir" OUT="$out" "$out/fuzz" >&2
ktap_plan 1
ktap_check 'random operations' fuzz "${1:-60}" ${2:+-s "$2"}
[ "$ktap_failed" = 0 ]
