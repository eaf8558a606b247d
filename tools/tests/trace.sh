#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The tracepoints, as trace-cmd shows them. KTAP on stdout. In the guest.
#
# A failure means: an operator can't see which blocks come and go, or sees other
# ones than the statistics count.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/ktap.sh"
. "$here/../dax.sh"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# record NAME READS: direct reads to random pages of 64 MiB, until all is idle.
record() {
	(cd "$tmp" && trace-cmd record -q -e transient_memmap -o "$1.dat" \
		sh -c ". '$here/../dax.sh'
			python3 '$here/../bench.py' read /dev/nullb0 $DAX 64 $2 || :
			dax_idle 10") >"$tmp/$1.log" 2>&1 ||
		{ tail -n 1 "$tmp/$1.log"; return 1; }
	trace-cmd report -q -i "$tmp/$1.dat" >"$tmp/$1" 2>"$tmp/$1.log"
}

# events NAME EVENT NUMBER: so many in the record, each with all of its fields.
events() {
	nr=$(grep -c "transient_memmap_$2: *pfn=0x[0-9a-f]* order=9" "$tmp/$1" || :)
	[ "$nr" = "$3" ] || { echo "$nr of $2, not $3"; return 1; }
}

come_and_go() {
	record comes 100 || return 1
	[ "$(dax_pool populated)" -gt 10 ] || { echo 'nothing was populated'; return 1; }
	events comes populate "$(dax_pool populated)" && events comes free "$(dax_pool freed)" &&
		events comes fail 0
}

refused() {
	echo 0 >$dax_dev/transient/cap
	record refused 1
	events refused fail "$(dax_pool failed)" && [ "$(dax_pool failed)" -gt 0 ] &&
		grep -q 'order=9 error=-12$' "$tmp/refused"
}

ktap_plan 2
dax_bind transient
ktap_check 'populate and free, as often as the statistics say' come_and_go
ktap_check 'fail, with its reason' refused
