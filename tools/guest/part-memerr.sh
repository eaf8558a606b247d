# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154	# Variables of lib.sh and machine.sh
# Part memerr: pages of a guest's memory get uncorrectable errors. QEMU tells the guest,
# which panics and reboots, and maps the bad page anew as it resets: 4 KiB, whatever the
# align of the device is.

part_memerr() {
	for kib in $ALIGNS; do
		at="align $kib KiB"
		step bind transient $((kib * 1024))
		step start_memerr
		check "$at: boots" is_up
		check "$at: an error while the guest runs" page_fails $bad
		check "$at: disk I/O after the reset" populates disk_round vda guest0
		check "$at: an error in a page that is pinned" pinned_page_fails $bad_pinned
		check "$at: disk I/O after that reset" populates disk_round vda guest0
		step power_off
		check "$at: powers off" ended_well
		check "$at: no block is left" no_blocks
		check "$at: two pages are bad until they are made good" unpoisons
		check "$at: can be unbound" unbinds
	done
}

# Both are in free memory of the guest, 400 MiB up, if its kernel does not choose its
# place by chance.
bad=$((400 << 20))
bad_pinned=$(((404 << 20) + 4096))

start_memerr() {
	job=nokaslr
	# shellcheck disable=SC2046	# A list
	start memerr $(disk guest0 native)
	job=''
}

pfn_of() { echo $(($(cat "$dax_dev/resource") / 4096 + $1 / 4096)); }

# page_fails OFFSET: the guest has to hear the address of the page, and to come back
# under the same QEMU.
page_fails() {
	mark
	echo $(($(pfn_of "$1") * 4096)) >/sys/devices/system/memory/hard_offline_page
	answer 120 up || return 1
	running "$qemu" || { echo 'QEMU has ended'; return 1; }
	hardware_error=$(tail -n +$(($(cat "$fifo.mark") + 1)) "$con" | tr -d '\r' |
		grep -a "Hardware Error.* ADDR $(printf %x "$1") ") ||
		{ echo 'the guest was not told the address'; return 1; }
	echo "# ${hardware_error#*: }, then: $(last_words)"
}
last_words() { tr -d '\r' <"$con" | grep -a 'Kernel panic' | tail -n 1 | sed 's/.*Kernel panic/Kernel panic/'; }

# Somebody else than QEMU holds the page, for longer than the reset takes.
pinned_page_fails() {
	pin_page /dev/dax0.0 "$1" || return 1
	failed=0
	page_fails "$1" || failed=1
	[ "$(dax_pool live)" -ge 1 ] || { echo 'it was not pinned until then'; failed=1; }
	kill "$pinner"
	return $failed
}

# touch_page OFFSET STATUS: it is 135 after SIGBUS.
touch_page() {
	rc=0
	python3 -c "import mmap, os
mmap.mmap(os.open('/dev/dax0.0', os.O_RDWR), $1 + 4096)[$1]" || rc=$?
	[ $rc = "$2" ] || { echo "page $1: status $rc, not $2"; return 1; }
}

unpoisons() {
	touch_page $((bad + 4096)) 0 || return 1
	for page in $bad $bad_pinned; do
		touch_page "$page" 135 || return 1
		pfn_of "$page" >/sys/kernel/debug/hwpoison/unpoison-pfn || return 1
		touch_page "$page" 0 || return 1
	done
}
