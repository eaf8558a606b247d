#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# demo.sh runs this in the machine: one job with each kind of memory. It prints a line
# of JSON per run.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"
export DAX DISK ENGINE DEPTH SIZE="${SIZE:-32M}"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# sample FILE: keep the largest memmap while a job runs in FILE.
sample() {
	top=0
	while :; do
		now=$(dax_memmap_kib)
		if [ "$now" -gt "$top" ]; then
			top=$now
			echo "$top" >"$1"
		fi
		sleep 0.2
	done
}

# job MEMORY: read from $DISK into the device's memory, and report.
job() {
	rest=$(memmap_kib) idle=$(dax_memmap_kib)
	echo "$idle" >"$tmp/peak"
	sample "$tmp/peak" &
	sampler=$!
	rm -f "$tmp/json"
	rc=0
	fio --output-format=json --output="$tmp/json" "$tools/bench/fio/read.fio" \
		>"$tmp/log" 2>&1 || rc=$?
	kill $sampler
	wait $sampler 2>/dev/null || :
	peak=$(cat "$tmp/peak")
	populated=0
	why=$(sed -n 's/.*io_u error on file [^:]*: \([^:]*\):.*/\1/p' "$tmp/log" "$tmp/json" | head -n 1)
	if [ -d $dax_dev/transient ]; then
		# The pool keeps the exact figure.
		pool=$((idle + $(dax_pool peak) * 4))
		populated=$(dax_pool populated)
		[ "$pool" -lt "$peak" ] || peak=$pool
		no_blocks >&2 || echo "$1, $DISK: the memmap is not at rest" >&2
	fi
	sed -n '/^{/,$p' "$tmp/json" | jq -c \
		--arg memory "$1" --arg disk "${DISK#/dev/}" --arg why "$why" \
		--arg rc "$rc" --arg rest "$idle" --arg peak "$peak" \
		--arg populated "$populated" --arg after "$(dax_memmap_kib)" '.jobs[0] | {
			memory: $memory, disk: $disk, status: ($rc | tonumber),
			error: (if $rc == "0" then "" elif $why == "" then "fio failed" else $why end),
			bytes: .read.io_bytes, iops: .read.iops,
			rest: ($rest | tonumber), peak: ($peak | tonumber),
			after: ($after | tonumber), populated: ($populated | tonumber)
		}'
}

# try MEMORY static|transient ALIGN CAP: run the job. The device is bound anew, so that
# the peak is the job's own.
try() {
	dax_bind "$2" "$3"
	if [ -n "$4" ]; then
		echo "$4" >$dax_dev/transient/cap
	fi
	job "$1"
	dax_unbind
}

dax_unbind
unbound=$(vmstat nr_memmap_pages)
jq -nc --arg size "$(dax_size)" --arg kernel "$(uname -r)" --arg job "$SIZE" \
	'{device: ($size | tonumber), kernel: $kernel, job: $job}'
for disk in nullb0/psync/1 vda/io_uring/16; do
	DISK=/dev/${disk%%/*} DEPTH=${disk##*/} ENGINE=${disk#*/}
	ENGINE=${ENGINE%/*}
	fio "$tools/bench/fio/fill.fio" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }
	try 'static memmap, 2 MiB pages' static 2097152 ''
	try 'static memmap, 1 GiB pages' static 1073741824 ''
	dax_has_transient || continue
	try 'no memmap, pins refused' transient 2097152 0
	try 'transient memmap' transient 2097152 ''
done
