# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154	# Variables of lib.sh and machine.sh
# Part tib: a host with 2 GiB of RAM has 1 TiB of pageless memory and three guests on
# it.

part_tib() {
	check 'a static memmap does not fit' static_does_not_fit
	check 'split by daxctl' splits
	step three_guests
	check 'three guests do I/O' all_go_on
	step trace 0
	check 'at random addresses of all their memory' all_over_the_memory
	check 'the memory of the host stays flat' host_stays_flat
	check 'out of memory' out_of_memory
	step stop_watching
	check 'nothing is left when they are killed' all_off
	step end_tib
}

slices='dax0.0 dax0.1 dax0.2'

# slice NAME: the functions below are about this device and the guest on it.
slice() {
	DAX=/dev/$1
	dax_dev=/sys/bus/dax/devices/$1
	guest "$1"
}

# guest.sh tried this in a separate machine, which ran out of memory as it booted.
static_does_not_fit() {
	echo "# with a static memmap: $(sed -n 's/.*\(device_dax dax0.0: .*\)/\1/p' "$STATIC" | tr -d '\r'), of $(meminfo MemTotal) KiB of RAM"
	grep -aq 'dax0.0: probe with driver device_dax failed with error -12' "$STATIC" ||
		{ echo "it does: $STATIC"; return 1; }
}

# One device becomes three of 256 GiB, with the default memmap. One of them is out of
# the direct map.
splits() {
	for command in 'disable-device dax0.0' 'reconfigure-device -s 256G dax0.0' \
		'create-device -r 0 -s 256G' 'create-device -r 0 -s 256G' \
		'enable-device dax0.0'; do
		# shellcheck disable=SC2086	# Words.
		dax_ctl $command || return
	done
	daxctl list >daxctl.list
	for dev in $slices; do
		jq -e --arg dev "$dev" 'any(.chardev == $dev and .size == 274877906944 and
			.mode == "devdax" and .state == null)' daxctl.list >jq.log ||
			{ jq -c . daxctl.list; return 1; }
		[ "$(cat /sys/bus/dax/devices/"$dev"/memmap)" = transient ] ||
			{ echo "$dev has a static memmap"; return 1; }
	done
	# daxctl does not know the direct map.
	echo dax0.2 >"$dax_drv/unbind"
	echo transient >/sys/bus/dax/devices/dax0.2/direct_map
	echo dax0.2 >"$dax_drv/bind"
}

# Each guest has a disk, on which it starts I/O by itself: direct I/O from and to random
# addresses in 320 of its 512 MiB.
three_guests() {
	mount -t tracefs tracefs $tracing
	trace 1
	rest=$(memmap_kib)
	watch_memmap
	disk=0
	for dev in $slices; do
		slice "$dev"
		job=job=roam,vda,1,320 cpu=$((disk + 1))
		# shellcheck disable=SC2046	# A list
		start "$dev" $(disk guest$disk native)
		back="$back $qemu"
		disk=$((disk + 1))
	done
}

tracing=/sys/kernel/tracing
trace() { echo "$1" >$tracing/events/transient_memmap/transient_memmap_populate/enable; }

# Each guest does a round from now on, and all of its data is right.
all_go_on() {
	for dev in $slices; do
		slice "$dev"
		mark
	done
	for dev in $slices; do
		slice "$dev"
		answer 240 'random vda ok' || { echo "$dev: $(tail -n 1 "$con")"; return 1; }
		! grep -a 'guest: random vda [be]' "$con" || return 1
	done
}

# blocks_of DEVICE: print how many of its blocks were populated, from the trace, where
# each counts once. How many are live at a time depends on the speed of the machine.
blocks_of() {
	first=$(($(cat /sys/bus/dax/devices/"$1"/resource) >> 12))
	while read -r pfn; do
		[ $((pfn)) -lt $first ] || [ $((pfn)) -ge $((first + (ram << 8))) ] || echo
	done <pfns | grep -c ''
}

# 320 MiB are 160 blocks. The buffer of a dd would only take one or two.
all_over_the_memory() {
	sed -n 's/.*transient_memmap_populate: pfn=\(0x[0-9a-f]*\).*/\1/p' $tracing/trace | sort -u >pfns
	for dev in $slices; do
		blocks=$(blocks_of "$dev")
		slice "$dev"
		echo "# $dev: $blocks blocks populated, $(dax_pool populated) times in all, $(dax_pool peak) at most at a time"
		[ "$blocks" -ge 128 ] || { echo "$dev: $blocks blocks"; return 1; }
	done
}

# The limit is the memmap of all 256 blocks of each guest.
host_stays_flat() {
	had=$(meminfo MemAvailable)
	begun=$(now)
	all_go_on >/dev/null || { echo "a guest does not go on"; return 1; }
	has=$(meminfo MemAvailable)
	most=$(($(cat peak) - rest))
	echo "# at most $most KiB of struct pages; $had KiB of RAM available, $((($(now) - begun) / 100)) s later $has"
	[ "$most" -gt 0 ] && [ "$most" -le $((3 * 256 * 4)) ] && [ "$has" -gt $((had - 32768)) ]
}

# The OOM killer must end the process that takes all memory, and the guests go on. That
# process also locks the running programs: it would take minutes to read them again and
# again by 9p.
out_of_memory() {
	cat /proc/[0-9]*/maps 2>/dev/null | sed -n 's|.* \(/usr/.*\)|\1|p' | sort -u >files
	# shellcheck disable=SC2046	# Words.
	python3 -c 'import mmap, os, sys
open("/proc/self/comm", "w").write("hog")
open("/proc/self/oom_score_adj", "w").write("1000")
MAP_LOCKED = 0x2000
hoard = [mmap.mmap(os.open(name, os.O_RDONLY), 0, mmap.MAP_PRIVATE | MAP_LOCKED, mmap.PROT_READ) for name in sys.argv[1:]]
while True: hoard.append(mmap.mmap(-1, 16 << 20, mmap.MAP_PRIVATE | mmap.MAP_POPULATE))' $(cat files) &
	hog=$!
	kills=$(vmstat oom_kill)
	patiently 240 ended "$hog" || { kill -9 "$hog"; echo "it has what it wants"; return 1; }
	status=0
	wait "$hog" || status=$?
	kills=$(($(vmstat oom_kill) - kills))
	echo "# the hog: status $status, $kills kills for want of memory"
	[ "$status $kills" = '137 1' ] || { echo "it was not killed for want of memory"; return 1; }
	all_go_on
}

all_off() {
	for dev in $slices; do
		slice "$dev"
		kill -9 "$qemu"
	done
	for dev in $slices; do
		slice "$dev"
		no_blocks || return 1
	done
}

end_tib() {
	for dev in $slices; do
		slice "$dev"
		end
		echo "$dev" >"$dax_drv/unbind"
	done
	slice dax0.0
}
