#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What tib.sh runs in the guest.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/ktap.sh"
. "$here/../dax.sh"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

has_a_tib() {
	[ "$(dax_size)" = 1099511627776 ] || { echo "$(dax_size) bytes"; return 1; }
	ram=$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)
	[ "$ram" -lt $((2 << 20)) ] || { echo "$ram KiB of RAM"; return 1; }
}

# A static memmap has to be made, page by page, and does not even fit.
static_does_not_fit() {
	! dax_bind static 4096 || { echo "16 GiB of memmap in 2 GiB of RAM"; return 1; }
}

free_kib() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	awk '/^MemFree:/ { print $2 }' /proc/meminfo
}

# Bound, but nothing pinned, at most 1 MiB is gone. Once more than needed, as the
# first time costs what stays: see sparse_index_init().
idle_costs_less_than_a_mib() {
	dax_unbind
	before=$(free_kib)
	dax_bind transient
	after=$(free_kib)
	echo "# idle: $((before - after)) KiB" >&2
	[ $((before - after)) -le 1024 ] || { echo "$((before - after)) KiB"; return 1; }
	[ "$(vmstat nr_memmap_pages)" = "$unbound" ]
}

# $1 requests in flight, each with a buffer $2 MiB from the last one's.
fio_over_all() {
	fio --output="$tmp/log" --name=tib --filename=/dev/vda --direct=1 --thread \
		--iomem=mmaphuge:$DAX --ioengine=libaio --iodepth="$1" \
		--iodepth_batch_submit="$1" --rw=randwrite --size=16M \
		--bssplit=4k/100:"$2"m/0 --verify=crc32c --verify_fatal=1 \
		--do_verify=1 || { tail -n 3 "$tmp/log"; return 1; }
	[ "$(dax_pool failed)" = 0 ] || { echo "pins failed"; return 1; }
}

# gup_test pins, and touches nothing: all the memory there is, until the cap.
cap_holds() {
	"$GUEST/gup_test" -a -S -f $DAX -m $((1 << 20)) -n 512 -r 1 >"$tmp/gup" 2>&1 || :
	echo "# at the cap: $(dax_pool peak) blocks, $(dax_pool failed) pins refused" >&2
	[ "$(dax_pool peak)" -le "$(dax_pool cap)" ] || { echo "over the cap"; return 1; }
	[ "$(dax_pool failed)" -gt 0 ] || { echo "never at the cap"; return 1; }
}

gone() {
	dax_idle 5 || { echo "$(dax_pool live) blocks are live"; return 1; }
	[ "$(vmstat nr_memmap_pages)" = "$unbound" ] || { vmstat nr_memmap_pages; return 1; }
}

ktap_plan 8
dax_unbind
unbound=$(vmstat nr_memmap_pages)
ktap_check 'a TiB of memory, 2 GiB of RAM' has_a_tib
ktap_check 'a static memmap does not fit' static_does_not_fit
dax_bind transient
ktap_check 'idle, it costs less than a MiB' idle_costs_less_than_a_mib
ktap_check '1000 buffers over 1 TiB' fio_over_all 1000 1048
ktap_check '300 buffers over 1 TiB' fio_over_all 300 3494
ktap_check 'nothing stays after I/O' gone
ktap_check 'the cap holds' cap_holds
ktap_check 'nothing stays after the cap was reached' gone
