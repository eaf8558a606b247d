#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# bench.sh runs this in the machine. It measures, and prints a line of JSON for each
# figure. The arguments say what to measure:
#   bind    binding the device
#   cycle   the cost of populating a block and freeing it
#   range   static and transient memmaps of the device
#   plain   memory that has nothing to do with the device
#   irqsoff the longest time with interrupts off while blocks are pinned
#   scale   pinning in several processes or threads at a time
#   guestramfs  files of guestramfs, and of hugetlbfs
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"
disk=/dev/bench
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

die() { echo "bench-machine.sh: $*" >&2; exit 1; }

# warm_up: bring all programs into the page cache, so that nothing waits for the 9p
# share.
warm_up() {
	"$PROGRAMS/gup_test" -a -m 2 >/dev/null 2>&1 || die "gup_test does not run"
	fio_run malloc psync 1 randread 4k 4m
	fio_run malloc libaio 32 randread 4k 4m
	fio_run malloc io_uring 32 randread 4k 4m
}

# This disk has no data. That of the demo has data, to be verified.
make_disk() {
	mkdir -p /sys/kernel/config
	mountpoint -q /sys/kernel/config ||
		mount -t configfs configfs /sys/kernel/config
	dir=/sys/kernel/config/nullb/bench
	mkdir $dir
	echo 0 >$dir/memory_backed
	echo 1024 >$dir/size
	echo 1 >$dir/power
	[ -b $disk ] || die "no disk $disk"
}

# The pool

pool_set() { echo "$2" >"$dax_dev/transient/$1"; }

# pool_empty [CACHE]: wait until there is no block, and no page table of one either.
pool_empty() {
	pool_set cache 0
	dax_idle 30 || die "$(dax_pool live) blocks stay live"
	sleep 2
	pool_set cache "${1:-$cache}"
}

# bind static|transient ALIGN [static|transient]: bind the device, and note the pool's
# cache.
bind() {
	dax_bind "$@"
	[ "$1" = transient ] || return 0
	[ -e $dax_dev/transient/cache ] ||
		die "the pool has no file \"cache\": a kernel of an older series"
	cache=$(dax_pool cache)
}

# gup_test

# gup_run ROUNDS OPTION...: append "get put" of each round to $tmp/rounds.
gup_run() {
	times=$1
	shift
	"$PROGRAMS/gup_test" -r "$times" "$@" >"$tmp/log" 2>&1 || :
	sed -n 's/.*Time: get:\([0-9]*\) put:\([0-9]*\) us.*/\1 \2/p' "$tmp/log" \
		>"$tmp/new"
	if [ "$(wc -l <"$tmp/new")" != "$times" ] || grep -q truncated "$tmp/log"; then
		die "gup_test $*: $(grep -m 1 -e truncated -e 'not ok' -e Bail -e SKIP "$tmp/log" || echo 'no figures')"
	fi
	cat "$tmp/new" >>"$tmp/rounds"
}

# gup_line MEMORY STATE CALL N MIB POPULATED: print a figure. All rounds of hits are
# alike, except for the timer's ticks, so the least counts. Of other rounds, it is the
# mean of the middle half.
gup_line() {
	jq -sc --arg memory "$1" --arg state "$2" --arg call "$3" \
		--arg n "$4" --arg mib "$5" --arg populated "$6" '
		def middle: sort | (length / 4 | floor) as $cut |
			.[$cut:length - $cut] | add / length;
		def typical: if $state == "hit" then min else middle end;
		{kind: "gup", memory: $memory, state: $state, call: $call,
		 n: ($n | tonumber), mib: ($mib | tonumber),
		 get: (map(.[0]) | typical), put: (map(.[1]) | typical),
		 rounds: length, populated: ($populated | tonumber)}' <<-JSON
		$(sed 's/\(.*\) \(.*\)/[\1,\2]/' "$tmp/rounds")
	JSON
}

# gup MEMORY STATE FEW MANY OPTION...: measure each call with each number of pages per
# call. FEW is for one page per call, MANY for more, both in MiB.
gup() {
	memory=$1 state=$2 few=$3 many=$4
	shift 4
	for call in a u; do
		for n in 1 64 512; do
			mib=$few rounds=8 populated=0
			[ $n = 1 ] || mib=$many rounds=16
			"gup_$state" -$call -n $n -m "$mib" "$@"
			gup_line "$memory" "$state" $call $n "$mib" "$populated"
		done
	done
}

# The first round of a process populates what it can, and does not count.
gup_hit() {
	: >"$tmp/rounds"
	gup_run $((rounds + 1)) "$@"
	sed -i 1d "$tmp/rounds"
}

# Each process has a single round and finds no block.
gup_miss() {
	: >"$tmp/rounds"
	for _ in 1 2 3; do
		pool_empty
		before=$(dax_pool populated)
		gup_run 1 "$@"
		populated=$(($(dax_pool populated) - before))
	done
}

# No block is kept: the worker frees while the next round begins.
gup_cache0() {
	pool_empty 0
	before=$(dax_pool populated)
	gup_hit "$@"
	populated=$((($(dax_pool populated) - before) / (rounds + 1)))
	pool_set cache "$cache"
}

# fio

# fio_run IOMEM ENGINE DEPTH RW BS SIZE: run bench.fio.
fio_run() {
	DISK=$disk IOMEM=$1 ENGINE=$2 DEPTH=$3 RW=$4 BS=$5 SIZE=$6 \
		fio --output-format=json --output="$tmp/json" \
		"$tools/bench/fio/bench.fio" >"$tmp/log" 2>&1 ||
		die "fio $1 $2 $4: $(grep -m 1 -h 'err' "$tmp/log" "$tmp/json" || echo failed)"
}

# fio_measure MEMORY IOMEM ENGINE DEPTH RW BS SIZE: run the job, and print how fast it reads.
fio_measure() {
	memory=$1
	shift
	fio_run "$@"
	sed -n '/^{/,$p' "$tmp/json" | jq -c --arg memory "$memory" \
		--arg engine "$2" --arg rw "$4" --arg bs "$5" '.jobs[0] |
		{kind: "fio", memory: $memory, engine: $engine, rw: $rw,
		 bs: $bs, ios: .read.total_ios, ms: .read.runtime,
		 iops: (.read.total_ios * 1000 / .read.runtime)}'
}

# fio_all MEMORY IOMEM: print a figure for each job.
fio_all() {
	for job in psync/1/randread/4k/1g libaio/32/randread/4k/1g \
		io_uring/32/randread/4k/1g psync/1/read/128k/16g \
		libaio/32/read/128k/16g io_uring/32/read/128k/16g; do
		# shellcheck disable=SC2046	# Five words.
		fio_measure "$1" "$2" $(echo $job | tr / ' ')
	done
}

# vhost MEMORY: print how fast vhost does I/O with the memory of a guest.
vhost() {
	"$PROGRAMS/transient_memmap_users" -m >"$tmp/vhost" 2>"$tmp/log" ||
		die "vhost, $1: $(tail -n 1 "$tmp/log")"
	jq -cR --arg memory "$1" 'split("\t") |
		{kind: "vhost", memory: $memory, name: .[0], ios: (.[1] | tonumber),
		 iops: ((.[1] | tonumber) * 1000000 / (.[2] | tonumber))}' "$tmp/vhost"
}

# What to measure

# registration NAME static|transient ALIGN [static|transient]: measure binding the
# device.
registration() {
	dax_unbind
	unbound=$(vmstat nr_memmap_pages)
	: >"$tmp/rounds"
	for _ in 1 2 3; do
		dax_unbind
		sleep 1
		echo "${4:-static}" >$dax_dev/direct_map
		echo "$3" >$dax_dev/align
		echo "$2" >$dax_dev/memmap
		"$tools/bench/bench.py" write $dax_drv/bind dax0.0 >>"$tmp/rounds" ||
			die "dax0.0 does not bind"
	done
	jq -sc --arg memory "$1" --arg kib "$(dax_memmap_kib)" \
		--arg mib $(($(dax_size) >> 20)) \
		'{kind: "bind", memory: $memory, mib: ($mib | tonumber),
		us: (sort | .[1] / 1000), memmap_kib: ($kib | tonumber)}' <"$tmp/rounds"
}

# flushes MEMORY: each read pins one block of many and unpins it.
flushes() {
	pool_empty 0
	freed=$(dax_pool freed) flushes=$(dax_pool flushes)
	reads=20000
	"$tools/bench/bench.py" read $disk $DAX 1024 $reads
	dax_idle 30 || die "$(dax_pool live) blocks stay live"
	jq -nc --arg memory "$1" --arg reads $reads \
		--arg freed $(($(dax_pool freed) - freed)) \
		--arg flushes $(($(dax_pool flushes) - flushes)) \
		'{kind: "flush", memory: $memory, reads: ($reads | tonumber),
		freed: ($freed | tonumber), flushes: ($flushes | tonumber)}'
	pool_set cache "$cache"
}

# Pinning and letting go

# cycle MEMORY: measure reads, each of which pins one of as many blocks as the
# default cap allows, and count the blocks that were populated for them.
cycle() {
	blocks=2048 rounds=4 populated=0
	[ ! -e $dax_dev/transient/cache ] || before=$(dax_pool populated)
	ns=$("$tools/bench/bench.py" cycle $disk $DAX $blocks $rounds) ||
		die "bench.py cycle does not run"
	# The first round does not count: it populates the blocks that are kept.
	[ ! -e $dax_dev/transient/cache ] ||
		populated=$(($(dax_pool populated) - before - blocks))
	jq -nc --arg memory "$1" --arg reads $((blocks * rounds)) \
		--arg populated $populated --arg ns "$ns" \
		'{kind: "cycle", memory: $memory, reads: ($reads | tonumber),
		populated: ($populated | tonumber), ns: ($ns | tonumber)}'
}

# cycle_kept MEMORY: measure with blocks that are kept, and with none kept.
cycle_kept() {
	cycle "$1"
	pool_empty 0
	cycle "$1, cache 0"
}

measure_cycle() {
	dax_has_transient || die "the kernel has no transient memmap"
	bind static 4096
	cycle 'static 4k'
	bind transient 4096
	cycle_kept 'transient 4k'
	bind static 2097152
	cycle 'static 2m'
	bind transient 2097152
	cycle_kept 'transient 2m'
	bind transient 2097152 transient
	cycle_kept 'transient 2m, direct map too'
}

io_all() {
	fio_all "$1" mmaphuge:$DAX
	vhost "$1"
}

measure_bind() {
	dax_has_transient || die "the kernel has no transient memmap"
	registration 'static 4k' static 4096
	registration 'static 2m' static 2097152
	registration 'static 1g' static 1073741824
	registration 'transient 4k' transient 4096
	registration 'transient 2m' transient 2097152
	registration 'transient 1g' transient 1073741824
	registration 'transient 2m, direct map too' transient 2097152 transient
}

measure_range() {
	measure_align 4k 4096
	measure_align 2m 2097152
	measure_1g
	measure_direct
	io_all 'static 2m'
	bind transient 2097152
	io_all 'transient 2m'
	pool_set cache 0
	io_all 'transient 2m, cache 0'
	# This shows by how much two runs of the same differ.
	bind static 2097152
	io_all 'static 2m, again'
}

# measure_align NAME ALIGN: measure pins with a transient and with a static memmap.
measure_align() {
	bind transient "$2"
	for state in hit miss cache0; do
		gup "transient $1" $state 64 512 -S -f $DAX
	done
	flushes "transient $1"
	bind static "$2"
	gup "static $1" hit 64 512 -S -f $DAX
}

# What is populated is the same for all sizes of entries, so only hits differ. A mapping
# of such a device is a multiple of 1 GiB.
measure_1g() {
	for memmap in transient static; do
		bind $memmap 1073741824
		gup "$memmap 1g" hit 1024 1024 -S -f $DAX
	done
}

# Here the memory of a block comes into the direct map, and leaves it, with its struct
# pages.
measure_direct() {
	bind transient 2097152 transient
	for state in hit miss cache0; do
		gup 'transient 2m, direct map too' $state 64 512 -S -f $DAX
	done
	flushes 'transient 2m, direct map too'
	pool_empty
	io_all 'transient 2m, direct map too'
	pool_set cache 0
	io_all 'transient 2m, direct map too, cache 0'
}

# HVO frees struct pages that were there from boot, so these count too.
memmap_pages() { echo $(($(vmstat nr_memmap_pages) + $(vmstat nr_memmap_boot_pages))); }

# huge_pages NAME 0|1: measure gup_test and fio with huge pages, without or with HVO,
# and how long it takes to get these pages and how much memmap they have.
huge_pages() {
	echo "$2" >/proc/sys/vm/hugetlb_optimize_vmemmap
	gup "$1" hit 64 512 -H
	mib=512 pages=$(memmap_pages)
	ns=$("$tools/bench/bench.py" write /proc/sys/vm/nr_hugepages $((mib / 2)))
	[ "$(cat /proc/sys/vm/nr_hugepages)" = $((mib / 2)) ] ||
		die "$(cat /proc/sys/vm/nr_hugepages) huge pages of $((mib / 2))"
	# The struct pages that this memory has from boot are included.
	jq -nc --arg memory "$1" --arg mib $mib --arg ns "$ns" \
		--arg pages $(($(memmap_pages) - pages)) \
		'{kind: "bind", memory: $memory, mib: ($mib | tonumber),
		us: (($ns | tonumber) / 1000),
		memmap_kib: (($mib | tonumber) * 16 + ($pages | tonumber) * 4)}'
	fio_all "$1" "mmaphuge:$tmp/huge/fio"
	rm -f "$tmp/huge/fio"
	echo 0 >/proc/sys/vm/nr_hugepages
}

# This is more than 64 MiB, because gup_test counts in microseconds, and 115 are too few
# of them.
measure_plain() {
	dax_unbind
	gup 'anonymous 4k' hit 64 256 -T
	gup 'anonymous THP' hit 64 512 -t
	fio_all 'anonymous 4k' malloc
	mkdir "$tmp/huge"
	mount -t hugetlbfs none "$tmp/huge"
	huge_pages 'hugetlb 2m' 0
	huge_pages 'hugetlb 2m HVO' 1
	umount "$tmp/huge"
}

# irqsoff static|transient NAME ALIGN: pin 512 pages at a time, of blocks that have to be
# populated if the memmap is transient. The tracer's trace begins and ends with the
# places where interrupts were switched.
irqsoff() {
	bind "$1" "$3"
	[ "$1" = static ] || pool_empty 0
	for _ in 1 2 3 4 5; do
		: >"$tmp/rounds"
		echo irqsoff >"$tracefs"/current_tracer
		echo 0 >"$tracefs"/tracing_max_latency
		gup_run 1 -a -n 512 -m 512 -S -f $DAX
		jq -nc --arg memory "$1 $2" --arg us "$(cat "$tracefs"/tracing_max_latency)" \
			--arg where "$(sed -n 's/^# *=> *started at: *//p' "$tracefs"/trace)" \
			'{kind: "irqsoff", memory: $memory, us: ($us | tonumber), where: $where}'
		echo nop >"$tracefs"/current_tracer
	done
}

measure_irqsoff() {
	tracefs=/sys/kernel/tracing
	mountpoint -q $tracefs || mount -t tracefs none $tracefs
	grep -qw irqsoff $tracefs/available_tracers || die "the kernel has no tracer irqsoff"
	for memmap in static transient; do
		irqsoff $memmap 4k 4096
		irqsoff $memmap 2m 2097152
	done
}

# scale NAME ALIGN MIB processes|threads: each of them pins MIB.
scale() {
	bind transient "$2"
	for state in miss hit; do
		rounds=0
		[ $state = miss ] || rounds=20
		for workers in 1 2 4; do
			for _ in 1 2 3 4 5; do
				pool_empty
				before=$(dax_pool populated)
				us=$("$tools/bench/bench.py" pin $DAX "$4" $workers "$3" $rounds) ||
					die "$workers $4 did not pin"
				blocks=$(($3 * workers / 2))
				[ $(($(dax_pool populated) - before)) -ge $blocks ] ||
					die "blocks were there before they were pinned"
				jq -nc --arg memory "transient $1" --arg state $state --arg who "$4" \
					--arg workers $workers --arg rounds $rounds \
					--arg blocks $blocks --arg us "$us" \
					'{kind: "scale", memory: $memory, state: $state, who: $who,
					workers: ($workers | tonumber), us: ($us | tonumber),
					blocks: (($blocks | tonumber) * ([($rounds | tonumber), 1] | max))}'
			done
		done
	done
}

measure_scale() {
	for who in processes threads; do
		scale 4k 4096 256 $who
		scale 2m 2097152 1024 $who
	done
}

# guestramfs

file_load() { "$PROGRAMS/guestramfs-bench" "$@" || die "guestramfs-bench $*"; }

# Each miss and each hit of a file has to be compared with one of the device.
pins_and_fio() {
	for state in hit miss cache0; do
		gup "$1" $state 64 512 -S -f "$2"
	done
	fio_measure "$1" "mmaphuge:$2" psync 1 randread 4k 1g
}

file_stat() { awk -v name="$1" '$1 == name { print $2 }' $dax_dev/guestramfs/stats; }

# kernel_memory: what the kernel has, in KiB, when it has nothing left to drop.
kernel_memory() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	echo "$(meminfo MemFree) $(meminfo Slab)"
}

# rest WHAT BEFORE AFTER: print the difference of two kernel_memory's.
rest() {
	jq -nc --arg what "$1" --arg before "$2" --arg after "$3" \
		--arg mib $(($(dax_size) >> 20)) --arg pool "$(dax_pool memmap_bytes)" '
		def two: split(" ") | map(tonumber);
		($before | two) as $b | ($after | two) as $a |
		{kind: "rest", what: $what, mib: ($mib | tonumber),
		 pool_kib: (($pool | tonumber) / 1024), used: ($b[0] - $a[0]),
		 slab: ($a[1] - $b[1])}'
}

# first_touch MIB ENTRY: have a new file cleared, and see that it was not before.
first_touch() {
	before=$(file_stat cleared)
	file_load clear guestramfs $guests/new "$1" "$2"
	[ $(($(file_stat cleared) - before)) = $(($1 / 2)) ] ||
		die "$(($(file_stat cleared) - before)) blocks were cleared of $(($1 / 2))"
}

# hugetlb_files MIB: the same with hugetlbfs.
hugetlb_files() {
	mkdir -p "$tmp/huge"
	mount -t hugetlbfs none "$tmp/huge"
	echo $(($1 / 2)) >/proc/sys/vm/nr_hugepages
	[ "$(cat /proc/sys/vm/nr_hugepages)" = $(($1 / 2)) ] ||
		die "$(cat /proc/sys/vm/nr_hugepages) huge pages of $(($1 / 2))"
	file_load make hugetlbfs "$tmp/huge/new" "$1" touch
	truncate -s "$1M" "$tmp/huge/memory"
	# Once to have the pages
	file_load fault hugetlbfs "$tmp/huge/memory" "$1" 2m >/dev/null
	file_load fault hugetlbfs "$tmp/huge/memory" "$1" 2m
	rm "$tmp/huge/memory"
	umount "$tmp/huge"
	echo 0 >/proc/sys/vm/nr_hugepages
}

measure_guestramfs() {
	[ -e "$guests_drv" ] || die "the kernel has no guestramfs"
	touched=$GUESTRAMFS_MIB all=$(($(dax_size) >> 20))
	dax_unbind
	before=$(kernel_memory)
	guests_mount mode=0700 || die "no guestramfs on dax0.0: see dmesg"
	rest 'bound and mounted' "$before" "$(kernel_memory)"
	before=$(kernel_memory)
	truncate -s ${all}M $guests/all
	rest 'a file of all of it' "$before" "$(kernel_memory)"
	rm $guests/all
	file_load make guestramfs $guests/new "$all" no
	file_load make guestramfs $guests/new "$touched" touch
	for entry in 2m 1g; do
		first_touch "$touched" $entry
	done
	truncate -s "${touched}M" $guests/memory
	file_load fault guestramfs $guests/memory "$touched" 1g >/dev/null
	for entry in 1g 2m; do
		file_load fault guestramfs $guests/memory "$touched" $entry
	done
	file_load fault guestramfs $guests/memory 256 4k
	cache=$(dax_pool cache)
	pins_and_fio guestramfs $guests/memory
	rm $guests/memory
	umount $guests

	bind transient 2097152
	file_load fault device-dax $DAX "$touched" 2m
	pins_and_fio device-dax $DAX
	dax_unbind
	hugetlb_files "$touched"
}

[ -x "$PROGRAMS/gup_test" ] || die "no gup_test in $PROGRAMS"
make_disk
[ "$*" = scale ] || warm_up
jq -nc --arg kernel "$(uname -r)" --arg cpus "$(nproc)" --arg size "$(dax_size)" \
	'{kind: "machine", kernel: $kernel, cpus: ($cpus | tonumber), device: ($size | tonumber)}'
for what; do
	"measure_$what"
done
