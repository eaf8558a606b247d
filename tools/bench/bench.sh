#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Measure what transient struct pages cost, compared with memory that has its own.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/series/lib.sh
. "$tools/series/lib.sh"
# shellcheck source=tools/vm/programs.sh
. "$tools/vm/programs.sh"
# shellcheck source=tools/bench/lib.sh
. "$tools/bench/lib.sh"

usage() {
	cat <<USAGE
usage: $me [-l] [-k KERNEL]
       $me [-l] [-k KERNEL] -b | -i

Compares pins, direct I/O and registration of transient memmaps with those of
static ones, anonymous memory and hugetlb, in a machine that counts instructions;
then measures how populating scales, by the clock of a machine with 4 CPUs. Prints
tables and keeps them in build/bench/: bench.txt, bench.json (a JSON object per
line) and bench.svg (if gnuplot is installed). Takes 10 to 15 minutes.

  -b         measure instead what the series costs those who don't use it: compare
             anonymous memory and hugetlb on a kernel of the base, of the same
             configuration, and on KERNEL with no range registered. Builds the
             former (12 minutes, once). Files: base.txt, base.json
  -i         measure instead the longest time that interrupts are off while blocks are
             pinned, by the tracer irqsoff, which the kernel irqsoff has: it is the
             default for KERNEL then. Files: irqsoff.txt, irqsoff.json
  -k KERNEL  as for vm.sh (default: normal)
  -l         exit status 1 if a limit of tools/bench/limits is missed

Environment: BUILD; LIMITS, another file than tools/bench/limits.
USAGE
}

out=$BUILD/bench

# The lines of progress of a long step tell how many figures there are.
progress() { echo "$(wc -l <"$out/$step/stdout" 2>/dev/null || echo 0) figures"; }

# machine STEP KERNEL icount|smp MEASURE...: run bench-machine.sh. Its figures go to
# $out/STEP/stdout.
machine() {
	step=$1 image=$2 mode=$3
	shift 3
	say "$step: a machine measures ($*, minutes), log in $out/$step"
	mkdir -p "$out/$step"
	rm -f "$out/$step/stdout"
	# KFENCE's timer would interrupt one kernel here and the other there.
	set -- -a 'kfence.sample_interval=0 vhost_net.experimental_zcopytx=1' -o "$out/$step" \
		env BUILD="$BUILD" PROGRAMS="$PROGRAMS" "$tools/bench/bench-machine.sh" "$@"
	case $mode in
	icount) set -- -c "$@" ;;
	smp) set -- -q '-smp 4' "$@" ;;
	esac
	rc=0
	run "$out/$step.log" "$step" "$tools/vm/vm.sh" -n -k "$image" -t 3600 "$@" ||
		rc=$?
	case $rc in
	0) ;;
	2 | 12[456]) die_with_log "$out/$step.log" "$step: the machine failed" ;;
	*) die_with_log "$out/$step/stderr" "$step: the command in the machine failed" ;;
	esac
	[ -s "$out/$step/stdout" ] || die_with_log "$out/$step/stderr" "$step: no figures"
}

report_main() {
	jq -r 'select(.kind == "machine" and .cpus == 1) |
		"\(.device / 1073741824) GiB of memory as /dev/dax0.0, Linux \(.kernel), QEMU without KVM"' "$json"
	echo 'A second is 1000 million emulated instructions (QEMU -icount), but where CPUs are told.'
	table gup_table 29 \
		'gup_test: instructions per pin_user_pages_fast() (-a) or get_user_pages_fast() (-u) of' \
		'n pages, and per page put. hit: the blocks have struct pages; miss: none has; cache=0:' \
		'none is kept, while the rounds follow each other. populated: of the blocks that a round' \
		'pins, for -a n=512; one that is pinned again before it is freed stays.'
	table cycle_table 39 \
		'4 KiB reads from a disk without data, each to another one of 2048 blocks: instructions of' \
		'all tasks per read, the worker that frees included. cache 0: each read populates its block,' \
		'and it is freed; populate+free: what a block costs so, over the one that was kept.'
	table fio_table 39 'fio: direct reads/s from a disk without data; 4k random, 128k in order'
	table vhost_table 39 \
		'vhost: frames/s of 1500 bytes to a tap without a copy; reads/s from a SCSI disk without data'
	table bind_table 29 'Binding the device, or getting huge pages from the kernel: instructions, and the memmap there is' \
		'for it then: nr_memmap_pages, or memmap_bytes of a transient memmap, which has tables too'
	table flush_table 29 'TLB flushes: 4 KiB reads to random pages of 1 GiB one by one, nothing kept'
	table scale_table 12 \
		"Pinning, each process or thread blocks of its own: 4 CPUs emulated on this machine's $(nproc), by its" \
		"clock (no -icount), the best of 5. More than $(nproc) at a time cannot be faster here." \
		"miss: the blocks are populated; hit: 20 times, they have struct pages. Threads share the mm."
	report_ratios
}

report_base() {
	jq -r 'select(.kind == "machine") | "\(.build): Linux \(.kernel)"' "$json"
	echo 'Instructions of patched over base: gup_test -a and -u, get and put; fio: time per read.'
	echo 'Memory that has nothing to do with the series, no transient range registered.'
	report_ratios
}

report_irqsoff() {
	jq -r 'select(.kind == "machine") | "Linux \(.kernel)"' "$json"
	table irqsoff_table 14 \
		'The longest time with interrupts off while pin_user_pages_fast() pins 512 pages at a' \
		'time, 512 MiB in all, the worst of 5; a transient memmap populates each block for it.' \
		'1000 emulated instructions are a microsecond.'
	report_ratios
}

picture() {
	can_draw || return 0
	for panel in 2m 4k fio; do
		bench_jq -rs "include \"bench\"; panel_$panel" "$json" >"$tmp/$panel.dat"
	done
	draw bench
}

bench_main() {
	machine icount "$kernel" icount bind cycle range plain
	machine smp "$kernel" smp scale
	json=$out/bench.json
	cat "$out/icount/stdout" "$out/smp/stdout" >"$json"
	add_ratios ratios 'test("^(base|growth|guestramfs|irqsoff) ") | not'
	report_main | tee "$out/bench.txt"
	picture
}

bench_base() {
	side_tree base
	"$tools/vm/kernel.sh" -t -s "$side/linux" -o "$BUILD/out/base" normal
	machine base base icount plain
	machine patched "$kernel" icount plain
	json=$out/base.json
	for build in base patched; do
		jq -c --arg build $build '. + {build: $build}' "$out/$build/stdout"
	done >"$json"
	add_ratios base_ratios 'startswith("base ")'
	report_base | tee "$out/base.txt"
}

bench_irqsoff() {
	machine irqsoff "$kernel" icount irqsoff
	json=$out/irqsoff.json
	cp "$out/irqsoff/stdout" "$json"
	add_ratios irqsoff_ratios 'startswith("irqsoff ")'
	report_irqsoff | tee "$out/irqsoff.txt"
}

kernel='' base='' irqsoff='' strict=''
limits=${LIMITS:-$tools/bench/limits}
while getopts k:bilh opt; do
	case $opt in
	k) kernel=$OPTARG ;;
	b) base=1 ;;
	i) irqsoff=1 ;;
	l) strict=1 ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 0 ] || { usage >&2; exit 2; }
if [ -z "$kernel" ]; then
	kernel=normal
	[ -z "$irqsoff" ] || kernel=irqsoff
fi
[ -r "$limits" ] || die "no limits in $limits"

make_tmp
mkdir -p "$out"
build_programs
if [ -n "$base" ]; then
	bench_base
elif [ -n "$irqsoff" ]; then
	bench_irqsoff
else
	bench_main
fi
limits_hold || die "limits are missed: see $json"
