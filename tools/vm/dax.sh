# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154	# $DAX is for those who source it; see memmap_kib.
# Scripts that run in the machine source this, for the device-dax under test and its
# counters.

DAX=/dev/dax0.0
dax_dev=/sys/bus/dax/devices/dax0.0
dax_drv=/sys/bus/dax/drivers/device_dax

# True if the kernel can do without the memmap at all.
dax_has_transient() { [ -e $dax_dev/memmap ]; }

dax_unbind() {
	[ ! -e $dax_dev/driver ] || echo dax0.0 >$dax_dev/driver/unbind
}

# dax_bind static|transient [ALIGN [static|transient]]: bind the device with this
# memmap, alignment and direct map.
dax_bind() {
	dax_unbind
	[ ! -e $dax_dev/direct_map ] || echo "${3:-static}" >$dax_dev/direct_map
	echo "${2:-2097152}" >$dax_dev/align
	if [ "$1" != static ] || dax_has_transient; then
		echo "$1" >$dax_dev/memmap
	fi
	echo dax0.0 >$dax_drv/bind
	[ "$1" = static ] || dax_rest=$(dax_pool memmap_bytes)
}

guests=/run/guests
guests_drv=/sys/bus/dax/drivers/guestramfs

# guests_bind [static|transient]: have the device under guestramfs, with this direct map.
guests_bind() {
	dax_unbind
	echo transient >$dax_dev/memmap
	echo "${1:-static}" >$dax_dev/direct_map
	echo dax0.0 >$guests_drv/new_id
	dax_rest=$(dax_pool memmap_bytes)
}

# guests_mount OPTIONS [static|transient]: have it mounted at $guests.
guests_mount() {
	guests_bind "${2:-static}"
	mkdir -p $guests
	mount -t guestramfs -o "$1" dax0.0 $guests
}

# Prints how many blocks of 2 MiB are in use, those included that something pins.
guests_used() { echo $(($(stat -f -c '%b - %f' $guests))); }
# unused BLOCKS: true if so many are.
unused() { [ "$(guests_used)" = "$1" ]; }

# dax_pool NAME: print a statistic of the pool, or one of its limits.
dax_pool() {
	case $1 in
	cap | cache | longterm) cat "$dax_dev/transient/$1" ;;
	*) awk -v name="$1" '$1 == name { print $2 }' "$dax_dev/transient/stats" ;;
	esac
}

# Prints the hundredths of a second since boot.
now() { sed 's/ .*//; s/\.//' /proc/uptime; }

# within SECONDS COMMAND...: true if the command succeeds in that time.
within() {
	until=$(($(now) + $1 * 100))
	shift
	until "$@"; do
		[ "$(now)" -lt $until ] || return 1
		sleep 0.2
	done
}

# dax_idle SECONDS: wait until no block is live, for that time at most.
dax_no_live() { [ "$(dax_pool live)" = 0 ]; }
dax_idle() { within "$1" dax_no_live; }

# dax_at_rest: memmap_bytes is what it was when the device was bound: ageing has given
# back the pages of the blocks that have gone, too.
dax_at_rest() { [ "$(dax_pool memmap_bytes)" = "$dax_rest" ]; }

# dax_ctl ARGUMENT...: run daxctl, and print its last line if it fails. It asks libkmod for
# the driver, which has to be told that it is built in. A host has the files of the
# kernel's modules where libkmod looks; this machine gets them there by an overlay.
dax_ctl() {
	# shellcheck disable=SC2016	# The inner shell's.
	dax_ctl=$(unshare -m sh -ec 'mount -t overlay -o "lowerdir=$0/lib:/usr/lib" lib /usr/lib
		exec daxctl "$@"' "${MODPROBE_OPTIONS#-d }" "$@" 2>&1) ||
		{ echo "$dax_ctl" | tail -n 1; return 1; }
}

# These print the size of the device in bytes, a figure of /proc/meminfo in KiB, and a
# counter of /proc/vmstat.
dax_size() { cat $dax_dev/size; }
meminfo() { awk -v name="$1:" '$1 == name { print $2 }' /proc/meminfo; }
vmstat() { awk -v name="$1" '$1 == name { print $2 }' /proc/vmstat; }

# memmap_kib: print the KiB of memmap beyond $unbound, which is nr_memmap_pages without
# the device. $rest is that figure when the device is bound and nothing is pinned. It
# has what leaks; dax_memmap_kib has what the kernel says of this device, the tables of a
# transient memmap included.
memmap_kib() { echo $((($(vmstat nr_memmap_pages) - unbound) * 4)); }
dax_memmap_kib() {
	if [ -e $dax_dev/transient ]; then
		echo $(($(dax_pool memmap_bytes) / 1024))
	else
		memmap_kib
	fi
}
at_rest() { [ "$(memmap_kib)" = "$rest" ]; }

# no_blocks: the struct pages are gone, and all that was counted for them.
no_blocks() {
	dax_idle 5 || { echo "$(dax_pool live) blocks are live"; return 1; }
	within 2 at_rest || { echo "$(memmap_kib) KiB of memmap, $rest before"; return 1; }
}
