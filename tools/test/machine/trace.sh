#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Compare what trace-cmd and bpftrace show of the tracepoints, and what
# tools/mm/transient_memmap (the argument) shows, with the statistics. Writes KTAP to
# stdout. Runs in the machine.
#
# A failure means: an operator can't see which blocks come and go, or sees other ones
# than the statistics count.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"

mm=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# record NAME READS: trace direct reads to random pages of 64 MiB, until the pool is
# idle.
record() {
	(cd "$tmp" && trace-cmd record -q -e transient_memmap -o "$1.dat" \
		sh -c ". '$tools/vm/dax.sh'
			python3 '$tools/bench/bench.py' read /dev/nullb0 $DAX 64 $2 || :
			dax_idle 10") >"$tmp/$1.log" 2>&1 ||
		{ tail -n 1 "$tmp/$1.log"; return 1; }
	trace-cmd report -q -i "$tmp/$1.dat" >"$tmp/$1" 2>"$tmp/$1.log"
}

# events NAME EVENT NUMBER: the record has exactly so many, each with all of its fields.
events() {
	nr=$(grep -c "transient_memmap_$2: *pfn=0x[0-9a-f]*" "$tmp/$1" || :)
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
		grep -q 'error=-12$' "$tmp/refused"
}

# node_pinned: print the number of pins so far on the device's node. Each CPU's part is
# added within a second, or by a write to stat_refresh.
node_pinned() {
	echo 1 >/proc/sys/vm/stat_refresh
	awk '$1 == "nr_foll_pin_acquired" { print $2 }' \
		"/sys/devices/system/node/node$(cat $dax_dev/numa_node)/vmstat"
}

no_spare_pages() { [ "$(dax_pool memmap_bytes)" = "$bytes" ]; }

shows_the_kernels() {
	dax_idle 10 || { echo "$(dax_pool live) blocks are live"; return 1; }
	# Ageing gives the pages of blocks that have gone back.
	within 10 no_spare_pages || { echo "memmap_bytes stays $(dax_pool memmap_bytes)"; return 1; }
	# Others on the node may pin meanwhile, so its count lies between two readings.
	before=$(node_pinned)
	shown=$("$mm" -j dax0.0) || return 1
	after=$(node_pinned)
	for name in cap cache longterm $(cut -d ' ' -f 1 $dax_dev/transient/stats); do
		echo "$shown" | jq -e ".[0].$name == $(dax_pool "$name")" >/dev/null ||
			{ echo "$name: $(dax_pool "$name"), but $shown"; return 1; }
	done
	echo "$shown" | jq -e ".[0] | .node_pinned >= $before and .node_pinned <= $after and
		.populated > 0 and .resource == $((4 << 30))" >/dev/null ||
		{ echo "node_pinned from $before to $after, but $shown"; return 1; }
}

# Count by the process that pinned, as the administrator's guide shows it.
counted_by_bpftrace() {
	before=$(dax_pool populated)
	bpftrace -e 'BEGIN { printf("begun\n"); }
		tracepoint:transient_memmap:transient_memmap_populate { @[comm] = count(); }' \
		>"$tmp/counted" 2>&1 &
	tracer=$!
	for try in $(seq 300); do
		! grep -qx begun "$tmp/counted" || break
		[ "$try" != 300 ] || { tail -n 1 "$tmp/counted"; return 1; }
		sleep 0.2
	done
	python3 "$tools/bench/bench.py" read /dev/nullb0 $DAX 64 100 || return 1
	kill -INT $tracer
	wait $tracer || { tail -n 1 "$tmp/counted"; return 1; }
	nr=$(($(dax_pool populated) - before))
	grep -qx "@\[python3\]: $nr" "$tmp/counted" ||
		{ echo "not $nr: $(tail -n 1 "$tmp/counted")"; return 1; }
}

# Whatever a pin allocates must not have a process killed for it: GFP_KERNEL comes with
# __GFP_RETRY_MAYFAIL (or NORETRY, of a debugging aid). DIRECT_MAP as for dax_bind.
no_oom_flags() {
	dax_bind transient 2097152 "$1"
	(cd "$tmp" && trace-cmd record -q -T -e kmem:mm_page_alloc -e kmem:kmalloc \
		-e kmem:kmem_cache_alloc -o gfp.dat \
		python3 "$tools/bench/bench.py" read /dev/nullb0 $DAX 64 100) \
		>"$tmp/gfp.log" 2>&1 || { tail -n 1 "$tmp/gfp.log"; return 1; }
	# An event is followed by its stack, a line each.
	trace-cmd report -q -i "$tmp/gfp.dat" 2>"$tmp/gfp.log" | awk '
		/gfp_flags=/ { sub(/.*gfp_flags=/, ""); flags = $1 }
		/=> transient_memmap_populate/ { print flags; flags = "twice" }' >"$tmp/gfp"
	[ -s "$tmp/gfp" ] || { echo 'no pin allocated anything'; return 1; }
	sort "$tmp/gfp" | uniq -c | sed 's/^ */# /'
	! grep GFP_KERNEL "$tmp/gfp" | grep -v -e __GFP_RETRY_MAYFAIL -e __GFP_NORETRY
}

ktap_plan 6
ktap_check 'what a pin allocates invokes no OOM killer' no_oom_flags static
ktap_check 'nor with a transient direct map' no_oom_flags transient
dax_bind transient
bytes=$(dax_pool memmap_bytes)
ktap_check 'populate and free, as often as the statistics say' come_and_go
ktap_check 'bpftrace counts as many' counted_by_bpftrace
ktap_check 'transient_memmap shows what the kernel tells' shows_the_kernels
ktap_check 'fail, with its reason' refused
