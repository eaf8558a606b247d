#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Do verified direct I/O into device-dax memory with every engine, with a static and
# with a transient memmap; with a transient one, also where the cap is a quarter of the
# queue depth. Writes KTAP to stdout. Runs in the machine.
#
# A failure means: direct I/O into a guest's memory fails, or gives the guest wrong
# data.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"
export DAX DISK SIZE=8M

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

# capped CAP: bind the device anew, with this cap if it is not empty. With a cap, all of
# it is used; without, each of 16 requests in flight has a block.
capped() {
	dax_bind transient
	[ -z "$1" ] || echo "$1" >$dax_dev/transient/cap
	run capped || return 1
	pinned 0 || return 1
	peak=$(dax_pool peak)
	if [ -n "$1" ]; then [ "$peak" = "$1" ]; else [ "$peak" -ge 16 ]; fi ||
		{ echo "$peak blocks were live, with a cap of ${1:-$(dax_pool cap)}"; return 1; }
}

# at_the_cap ENGINE CAP: with so many blocks for 16 requests in flight, these are done a
# few at a time. Say how many a second, and how many without such a cap. The disk has to
# complete requests later, and nullb0 does not.
at_the_cap() {
	rates='' tries=0 DISK=/dev/vda SIZE=$((2 * ${SIZE%M}))M ENGINE=$1
	export ENGINE
	for cap in "$2" ''; do
		# A machine under load may need more than a second to complete a request.
		until capped "$cap"; do
			tries=$((tries + 1))
			[ $tries -lt 3 ] || return 1
			grep -q 'Cannot allocate memory' "$tmp/log" || return 1
			echo "# $1: ENOMEM with a cap of $cap, tried again"
		done
		rates="$rates $(jq '.jobs[0].read.iops * 10 | round / 10' "$tmp/json")"
	done
	# shellcheck disable=SC2086	# Two numbers
	printf '# %s, 16 requests in flight: %s reads/s with a cap of %s, %s without\n' \
		"$1" ${rates% *} "$2" ${rates##* }
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# Two disks and three engines. A transient memmap has two alignments, and a check of the
# pool for each, and two engines at the cap.
ktap_plan $((6 + 2 * (6 + 1) + 2))
for mode in static transient; do
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
	[ "$mode" = transient ] || continue
	for engine in libaio io_uring; do
		name="transient cap of a quarter of the queue depth $engine"
		if [ -n "$skip" ]; then
			ktap_result skip "$name" "$skip"
		else
			ktap_check "$name" at_the_cap $engine 4
		fi
	done
done
