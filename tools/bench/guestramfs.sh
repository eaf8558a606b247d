#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Measure what files of guestramfs cost.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/vm/programs.sh
. "$tools/vm/programs.sh"
# shellcheck source=tools/bench/lib.sh
. "$tools/bench/lib.sh"

usage() {
	cat <<USAGE
usage: $me [-k KERNEL]

Compares files of guestramfs with device-dax (pins, direct I/O, faults) and with files
of hugetlbfs (making, mapping, touching and removing them, faults), clearing with
memset(), and measures the memory that a device takes at rest: in one machine that
counts instructions, with 64 GiB for guestramfs, of which $gib are touched. Prints
tables and keeps them in build/bench/: guestramfs.txt and guestramfs.json (a JSON object
per line). Exit status 1 if a limit of tools/bench/limits is missed.

  -k KERNEL  as for vm.sh (default: normal)

The host needs 12 GiB of memory. Environment: BUILD; LIMITS, another file than
tools/bench/limits.
USAGE
}

kernel=normal gib=4 strict=1
limits=${LIMITS:-$tools/bench/limits}
while getopts k:h opt; do
	case $opt in
	k) kernel=$OPTARG ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 0 ] || { usage >&2; exit 2; }
[ -r "$limits" ] || die "no limits in $limits"

out=$BUILD/bench
json=$out/guestramfs.json
progress() { echo "$(wc -l <"$out/guestramfs/stdout" 2>/dev/null || echo 0) figures"; }

build() {
	build_programs
	# The loop that is compared with the kernel's stays one of 8 bytes at a time.
	cc -O2 -Wall -fno-tree-vectorize -o "$PROGRAMS/guestramfs-bench" \
		"$tools/bench/guestramfs.c" >"$PROGRAMS/guestramfs-bench.log" 2>&1 ||
		die_with_log "$PROGRAMS/guestramfs-bench.log" 'guestramfs.c does not compile'
}

# The machine has 64 GiB at 4 GiB, and 8 GiB of ordinary memory below and above. The
# host gives it what is touched. With ERMS, the kernel clears hugetlb's pages by an
# instruction that QEMU counts once per byte. KASLR takes the size in memmap= for a limit
# of its own, and would put the kernel into these 64 GiB.
# shellcheck disable=SC2016	# The dollar is memmap='s own.
layout='memmap=64G%4G-1+0xefffffff'
machine() {
	mkdir -p "$out/guestramfs"
	rm -f "$out/guestramfs/stdout"
	rc=0
	LAYOUT=$layout run "$out/guestramfs.log" 'the machine measures' \
		"$tools/vm/vm.sh" -c -n -k "$kernel" -m 72G -t 3600 -o "$out/guestramfs" \
		-q '-cpu max,erms=off -machine memory-backend=sparse
			-object memory-backend-ram,id=sparse,size=72G,reserve=off' \
		-a 'nokaslr dax.memmap=transient kfence.sample_interval=0' \
		env BUILD="$BUILD" PROGRAMS="$PROGRAMS" GUESTRAMFS_MIB=$((gib * 1024)) \
		"$tools/bench/bench-machine.sh" guestramfs || rc=$?
	case $rc in
	0) ;;
	2 | 12[456]) die_with_log "$out/guestramfs.log" 'the machine failed' ;;
	*) die_with_log "$out/guestramfs/stderr" 'the command in the machine failed' ;;
	esac
}

report() {
	jq -r 'select(.kind == "machine") |
		"\(.device / 1073741824) GiB for guestramfs, Linux \(.kernel), QEMU without KVM"' "$json"
	echo 'A second is 1000 million emulated instructions (QEMU -icount).'
	table guestramfs_pins 12 \
		'gup_test: instructions per pin_user_pages_fast() (-a) or get_user_pages_fast() (-u) of' \
		'n pages, and per page put. hit: the blocks have struct pages; miss: none has; cache0:' \
		'none is kept. Entries of 2 MiB.'
	table guestramfs_fio 12 'fio: 4 KiB random direct reads from a disk without data, psync'
	table guestramfs_making 12 \
		'Making a file, sizing, mapping, touching one byte in each 2 MiB, unmapping, removing it:' \
		'microseconds. hugetlbfs has pages of 2 MiB, which are there already.'
	table guestramfs_clearing 12 \
		'First touch of a new file, which clears it, and clearing it again from the process by' \
		'stores of 8 bytes, as the kernel does it here'
	table guestramfs_faults 12 'Faults on memory that has been cleared, each of which makes an entry'
	table guestramfs_rest 22 \
		'Memory at rest, in KiB: memmap_bytes of the pool, and by how much MemFree and Slab' \
		'changed. The last two are scaled to 1 TiB.'
	report_ratios
}

make_tmp
mkdir -p "$out"
build
say "a machine measures (minutes), log in $out/guestramfs"
machine
cp "$out/guestramfs/stdout" "$json"
add_ratios guestramfs_ratios 'startswith("guestramfs ")'
report | tee "$out/guestramfs.txt"
limits_hold || die "missed: $(jq -r 'select(.limit and .verdict != "ok") | .name' "$json" |
	paste -s -d ';')"
