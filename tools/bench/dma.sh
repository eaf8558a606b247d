#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Measure what it takes to map memory for DMA.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/vm/programs.sh
. "$tools/vm/programs.sh"

usage() {
	cat <<USAGE
usage: $me

Boots the machine, with an IOMMU, and maps 1 GiB for the DMA of an assigned device, by
VFIO type1 and by iommufd: a page of hugetlb, and a device with a transient memmap in
mappings of 1 GiB and of 2 MiB. Prints the time to map and to unmap it, in microseconds
of 1000 emulated instructions each, the shortest of five, and keeps that in
build/bench/dma.txt. Needs the kernel of make kernel. Exit status 1 if mapping a
transient memmap in 1 GiB takes more than 1.1 of what hugetlb takes.

Environment: BUILD.
USAGE
}

# In the machine
# shellcheck disable=SC2016	# It is for the shell there.
measure='
set -eu
dax=/sys/bus/dax/devices/dax0.0 driver=/sys/bus/dax/drivers/device_dax
measure() {
	[ ! -e $dax/driver ] || echo dax0.0 >$dax/driver/unbind
	echo transient >$dax/memmap
	echo "$1" >$dax/align
	echo dax0.0 >$driver/bind
	"$2" -M | sed "s/device-dax, as it is bound/transient, $3/"
}
measure 1073741824 "$1" "1 GiB"
measure 2097152 "$1" "2 MiB" | grep transient
'

# A line for each kind of memory and way, and how it compares with hugetlb of that way
report() {
	awk -F '\t' '
	BEGIN { printf "%-9s%-18s%9s%9s%14s\n", "by", "memory", "map", "unmap", "map/hugetlb" }
	$2 ~ /^hugetlb/ { base[$1] = $3 }
	{
		ratio = base[$1] ? $3 / base[$1] : 0
		printf "%-9s%-18s%9d%9d%14.3f\n", $1, $2, $3, $4, ratio
		n++
		if ($2 == "transient, 1 GiB" && ratio > 1.1) slow = 1
	}
	END { exit n != 6 || slow }' "$1"
}

case ${1:-} in -h) usage; exit 0 ;; esac
[ $# = 0 ] || { usage >&2; exit 2; }
make_tmp
build_programs
mkdir -p "$BUILD/bench"
# shellcheck disable=SC2016	# The dollar is memmap='s own.
LAYOUT='memmap=4G%4G-1+0xefffffff hugepagesz=1G hugepages=1' \
	"$tools/vm/vm.sh" -c -n -m 10G -t 600 -o "$BUILD/vm/dma" \
	sh -c "$measure" sh "$PROGRAMS/transient_memmap_users" ||
	die_with_log "$BUILD/vm/dma/stderr" 'the machine failed'
rc=0
report "$BUILD/vm/dma/stdout" >"$BUILD/bench/dma.txt" || rc=1
cat "$BUILD/bench/dma.txt"
[ "$rc" = 0 ] || die 'mapping a transient memmap takes too long, or was not measured'
