#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Bind, pin and unbind many times; nothing may stay. Writes KTAP to stdout. Runs in the
# machine.
#
# A failure means: a host leaks memory each time a hypervisor restarts its memory
# device, or keeps mappings of memory that is gone.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"

rounds=${1:-100}
gup_test=$2

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# snapshot NAME: note everything that must be the same before and after.
snapshot() {
	vmstat nr_memmap_pages >"$tmp/$1.nr_memmap_pages"
	vmstat nr_page_table_pages >"$tmp/$1.nr_page_table_pages"
	cat /proc/iomem >"$tmp/$1.iomem"
	tables=/sys/kernel/debug/page_tables/kernel
	awk '/^---\[/ { on = /Vmemmap/ } on' $tables >"$tmp/$1.vmemmap"
	awk '/^---\[/ { on = /Low Kernel/ } on && /^0x/' $tables >"$tmp/all"
	# KFENCE takes pages of its own out of the rest of the direct map now and then.
	# All addresses begin with f; including it, they are too large for the shell.
	first=$(sed -n '1s/^0xf\(.*\)-.*/0x\1/p' "$tmp/all")
	low=$((first + $(cat $dax_dev/resource)))
	awk -v low="$(printf '0xf%015x' $low)" -v end="$(printf '0xf%015x' $((low + $(dax_size))))" \
		'{ split($1, at, "-") } at[1] < end && at[2] > low' "$tmp/all" >"$tmp/$1.direct_map"
	grep '^direct_map_.*splits' /proc/vmstat >"$tmp/$1.direct_map_splits"
	awk '/^Slab:/ { print $2 }' /proc/meminfo >"$tmp/$1.slab"
}

same() { diff "$tmp/before.$1" "$tmp/after.$1"; }

# near NAME UNITS: the figure grew by fewer units than that. Page tables come and go
# with every process, and slab caches grow and shrink, but a leak of a page or an object
# in each of 100 rounds shows.
near() {
	limit=$2
	# KASAN keeps freed objects for a while, up to a 32nd of memory. The kernel
	# without KASAN tells whether objects leak.
	if [ "$1" = slab ] && grep -q ' kasan_quarantine_put$' /proc/kallsyms; then
		limit=$((limit + $(awk '/^MemTotal:/ { print $2 }' /proc/meminfo) / 32))
	fi
	diff=$(($(cat "$tmp/after.$1") - $(cat "$tmp/before.$1")))
	[ $diff -lt "$limit" ] || { echo "$1 grew by $diff"; return 1; }
}

# round ALIGN static|transient: the second argument is about the direct map.
round() {
	dax_bind transient "$@" || { echo "bind failed"; return 1; }
	# This pins and unpins 8 MiB, 16 pages at a call.
	"$gup_test" -a -S -f $DAX -m 8 -n 16 -w >"$tmp/gup" 2>&1 || { tail -n 3 "$tmp/gup"; return 1; }
	[ "$(dax_pool populated)" -ge 4 ] || { echo "nothing was pinned"; return 1; }
	dax_unbind || { echo "unbind failed"; return 1; }
	[ "$(vmstat nr_memmap_pages)" = "$(cat "$tmp/before.nr_memmap_pages")" ] ||
		{ echo "nr_memmap_pages $(vmstat nr_memmap_pages)"; return 1; }
}

all_rounds() {
	i=0
	while [ $i -lt "$rounds" ]; do
		i=$((i + 1))
		case $((i % 3)) in
		0) set -- 4096 static ;;
		1) set -- 2097152 static ;;
		*) set -- 2097152 transient ;;
		esac
		why=$(round "$@") || { echo "round $i: $why"; return 1; }
	done
}

ktap_plan 8
if ! dax_has_transient; then
	for name in rounds nr_memmap_pages nr_page_table_pages slab iomem vmemmap \
		direct_map direct_map_splits; do
		ktap_result skip "$name" "kernel without transient memmap"
	done
	exit
fi
dax_unbind
vmstat nr_memmap_pages >"$tmp/before.nr_memmap_pages"
# The first rounds fill caches and make the page tables above the vmemmap.
round 2097152 static >&2 || :
round 2097152 transient >&2 || :
round 4096 static >&2 || :
[ -z "$(dax_unbind 2>&1)" ]
snapshot before
ktap_check rounds all_rounds
dax_unbind
snapshot after
ktap_check nr_memmap_pages same nr_memmap_pages
ktap_check nr_page_table_pages near nr_page_table_pages 50
ktap_check slab near slab 1024
ktap_check iomem same iomem
ktap_check vmemmap same vmemmap
# No entry of the device's memory is left over, and none of its neighbours was split.
ktap_check direct_map same direct_map
ktap_check direct_map_splits same direct_map_splits
