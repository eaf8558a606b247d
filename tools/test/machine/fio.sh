#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Do verified direct I/O into device-dax memory with every engine, with a static and
# with a transient memmap or with those that the arguments name. Writes KTAP to stdout.
# Runs in the machine.
#
# A failure means: direct I/O into a guest's memory fails, or gives the guest wrong
# data.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"
export DAX DISK SIZE="${SIZE:-8M}"

# run ENGINE DISK: run the job, and check how much it says it has verified.
run() {
	fio --output-format=json --output="$tmp/json" "$tools/bench/fio/$1.fio" \
		>"$tmp/log" 2>&1 || { cat "$tmp/log"; return 1; }
	jq -e --arg size "$SIZE" '.jobs[0] |
		.error == 0 and .read.total_ios > 0 and
		.read.io_bytes == .write.io_bytes and
		.read.io_bytes == ($size | rtrimstr("M") | tonumber * 1048576)' \
		"$tmp/json" >/dev/null || { echo "fio verified too little"; return 1; }
}

# pinned BEFORE: the job used the pool, and none of its pins failed.
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
		# The static memmap is there for comparison, for which one alignment is
		# enough.
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
