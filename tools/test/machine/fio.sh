#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Verified direct I/O into device-dax memory, every engine, with a static
# memmap and with a transient one, or with what the arguments name. KTAP on stdout. In
# the machine.
#
# A failure means: O_DIRECT into a guest's memory fails, or the data is wrong.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"
export DAX DISK SIZE="${SIZE:-8M}"

# run ENGINE DISK: the job, and a look at what it says it has verified.
run() {
	fio --output-format=json --output="$tmp/json" "$tools/bench/fio/$1.fio" \
		>"$tmp/log" 2>&1 || { cat "$tmp/log"; return 1; }
	jq -e --arg size "$SIZE" '.jobs[0] |
		.error == 0 and .read.total_ios > 0 and
		.read.io_bytes == .write.io_bytes and
		.read.io_bytes == ($size | rtrimstr("M") | tonumber * 1048576)' \
		"$tmp/json" >/dev/null || { echo "fio verified too little"; return 1; }
}

# pinned BEFORE: the job did use the pool, and nothing of it failed.
pinned() {
	[ "$(dax_pool populated)" -gt "$1" ] || { echo "no block was populated"; return 1; }
	[ "$(dax_pool failed)" = 0 ] || { echo "failed: $(dax_pool failed)"; return 1; }
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
modes=${*:-static transient}
plan=0
for mode in $modes; do
	# Two disks and three engines. A transient memmap has two alignments, and a check
	# of the pool for each.
	case $mode in
	static) plan=$((plan + 6)) ;;
	transient) plan=$((plan + 2 * (6 + 1))) ;;
	*) echo "${0##*/}: no memmap is $mode" >&2; exit 2 ;;
	esac
done
ktap_plan $plan
for mode in $modes; do
	for align in 2097152 4096; do
		# For comparison: once is enough.
		[ "$mode$align" != static4096 ] || continue
		skip=''
		if [ "$mode" = transient ] && ! dax_has_transient; then
			skip='kernel without transient memmap'
		else
			dax_bind "$mode" $align
		fi
		for DISK in /dev/vda /dev/nullb0; do
			for engine in psync libaio io_uring; do
				name="$mode align $align ${DISK#/dev/} $engine"
				if [ -n "$skip" ]; then
					ktap_result skip "$name" "$skip"
				else
					ktap_check "$name" run $engine
				fi
			done
		done
		[ "$mode" = transient ] || continue
		name="transient align $align used the pool"
		if [ -n "$skip" ]; then
			ktap_result skip "$name" "$skip"
		else
			ktap_check "$name" pinned 0
		fi
	done
done
