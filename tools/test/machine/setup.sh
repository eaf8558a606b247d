#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The host's setup.sh runs a part of this in each of its machines: it says which, and how
# many results there are so far.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"

guide=$tools/../Documentation/admin-guide/mm/transient_memmap.rst
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

driver() { basename "$(readlink $dax_dev/driver || echo none)"; }
has_driver() { [ "$(driver)" = "$1" ] || { echo "driver: $(driver)"; return 1; }; }
gib() { awk '/^MemTotal:/ { print int($2 / 1048576) }' /proc/meminfo; }
grown() { [ "$(gib)" -ge $((gib + 3)) ] || { echo "$(gib) GiB, $gib before"; return 1; }; }
as_before() { [ "$(gib)" = "$gib" ] || { echo "$(gib) GiB, $gib before"; return 1; }; }
onlining() { echo "$1" >/sys/devices/system/memory/auto_online_blocks; }
static_and_free() {
	[ ! -e $dax_dev/driver ] || echo dax0.0 >$dax_dev/driver/unbind
	echo static >$dax_dev/memmap
}

# The shell of the guide's systemd unit, as systemd would start it for dax0.0
unit() {
	awk '/^  ExecStart=/ { on = 1 } on { sub(/^ *(ExecStart=)?/, ""); line = line $0 }
		on && !/\\$/ { print line; exit } { sub(/\\$/, "", line) }' "$guide" |
		sed 's/%i/dax0.0/g; s/\$\$/$/g' >"$tmp/unit"
	[ -s "$tmp/unit" ] || { echo "no ExecStart= in $guide"; return 1; }
	(cd /sys/bus/dax && timeout "${1:-60}" sh "$tmp/unit")
}

# Bound, without a memmap, and direct I/O reaches it.
transient() {
	has_driver device_dax && as_before || return
	[ "$(cat $dax_dev/memmap)" = transient ] || { echo 'a static memmap'; return 1; }
	io $DAX
}
io() {
	DAX=$1 DISK=/dev/nullb0 SIZE=2M fio "$tools/bench/fio/psync.fio" >"$tmp/fio" 2>&1 ||
		{ grep -m 1 fio: "$tmp/fio"; return 1; }
}

# The guide has what was typed, and the answers.
typed() {
	awk '/^This was typed on a host/ { on = 1; next } on && /^[^ ]/ { exit }
		on && NF { sub(/^  /, ""); print }' "$guide" >"$tmp/typed"
	awk '/^# / { typing = 1 }
		typing {
			printf "cat <<\"TYPED\"\n%s\nTYPED\n", $0
			sub(/^# /, "")
			command = command $0 "\n"
			typing = /\\$/
			if (!typing) { printf "%s", command; command = "" }
		}' "$tmp/typed" >"$tmp/script"
	[ "$(grep -c '^# ' "$tmp/typed")" -ge 7 ] || { echo "too little was typed in $guide"; return 1; }
	timeout 120 sh "$tmp/script" >"$tmp/answers" 2>&1 || :
	diff "$tmp/typed" "$tmp/answers" | sed 's/^/# /'
	cmp -s "$tmp/typed" "$tmp/answers" || { echo 'the answers differ'; return 1; }
}

unit_without_driver() { has_driver none && unit && transient && unit && transient; }

# with_kmem HOW: kmem has the memory online.
with_kmem() {
	static_and_free
	onlining "$1"
	modprobe kmem || return
	[ -e $dax_dev/driver ] || echo dax0.0 >/sys/bus/dax/drivers/kmem/bind
	has_driver kmem
}
unit_with_kmem() {
	with_kmem "$1" || return
	[ "$1" = offline ] || grown || return
	unit && transient
}

# While somebody uses so much memory that it cannot go, the unit changes nothing.
unit_with_kmem_in_use() {
	with_kmem online_movable && grown || return
	mkdir -p "$tmp/full"
	mount -t tmpfs -o size=100% tmpfs "$tmp/full" || return
	fill=$(awk '/^MemAvailable:/ { print int($2 / 1024) - 600 }' /proc/meminfo)
	fallocate -l "${fill}M" "$tmp/full/file" || return
	refused=0
	! unit 5 || refused=1
	has_driver kmem && grown || refused=2
	[ "$(cat $dax_dev/memmap)" = static ] || refused=3
	umount "$tmp/full"
	[ $refused = 0 ] || { echo "case $refused"; return 1; }
	unit && transient
}

daxctl_there_and_back() {
	with_kmem online_movable && grown || return
	dax_ctl reconfigure-device --mode=devdax --force dax0.0 || return
	has_driver device_dax && as_before || return
	unit && transient || return
	# It does not do this if the kernel puts memory online by itself.
	onlining offline
	dax_ctl reconfigure-device --mode=system-ram dax0.0 || return
	has_driver kmem && grown || return
	unit && transient
}

kmem_built_in() { [ -e /sys/bus/dax/drivers/kmem ] && ! grep -q '^kmem ' /proc/modules; }
hot_added() { grep -q '(kmem)' /proc/iomem; }
kmem_has_it_from_boot() {
	kmem_built_in || { echo 'kmem is not built in'; return 1; }
	has_driver kmem || return
	hot_added || { echo 'it has no memory'; return 1; }
	echo "# $((gib + 4)) GiB of RAM"
}
built_in_kmem_leaves_it() {
	kmem_built_in || { echo 'kmem is not built in'; return 1; }
	! hot_added || { echo 'it is ordinary memory'; return 1; }
	transient
}

stays_transient_with_kmem() {
	modprobe kmem || return
	[ -e /sys/bus/dax/drivers/kmem ] || { echo 'kmem is not loaded'; return 1; }
	transient
}
daxctl_divides() {
	dax_ctl disable-device dax0.0 && dax_ctl reconfigure-device -s 2G dax0.0 &&
		dax_ctl create-device -r 0 -s 2G && dax_ctl enable-device dax0.0 || return
	for DAX in /dev/dax0.0 /dev/dax0.1; do
		[ -e "/sys/bus/dax/devices/${DAX#/dev/}/transient" ] || { echo "no pool: $DAX"; return 1; }
		io $DAX || return
	done
}

has_range() {
	r=/sys/bus/dax/devices/$1
	[ "$(cat "$r/size") $(cat "$r/resource")" = "$2 $3" ] ||
		{ echo "$(cat "$r/size") bytes at $(cat "$r/resource")"; return 1; }
	[ -e "$r/transient" ] || { echo 'no pool'; return 1; }
	io "/dev/$1"
}
refused() {
	dmesg | grep -F "range=$1 $2" >/dev/null ||
		{ dmesg | grep dax_hmem | tail -n 1; return 1; }
}

gib=$(gib)
ktap_nr=$2
case $1 in
late)
	ktap_check 'the unit, kmem is not loaded, no driver' unit_without_driver
	ktap_check 'the unit, kmem has the memory online' unit_with_kmem online_movable
	ktap_check 'the unit, kmem has it online for all uses' unit_with_kmem online_kernel
	ktap_check 'the unit, kmem has the memory offline' unit_with_kmem offline
	ktap_check 'the unit, kmem, memory in use: nothing changed' unit_with_kmem_in_use
	ktap_check 'daxctl gives it to kmem and back' daxctl_there_and_back
	;;
builtin)
	# These include the 4 GiB.
	gib=$((gib - 4))
	ktap_check 'kmem, built in, has the memory online from boot' kmem_has_it_from_boot
	ktap_check 'the unit takes it from there' eval 'unit && transient'
	ktap_check 'daxctl gives it to kmem, built in, and back' daxctl_there_and_back
	;;
boot)
	ktap_check 'dax.memmap=transient: device_dax has it at boot' transient
	ktap_check 'kmem, built in, leaves it' built_in_kmem_leaves_it
	ktap_check 'the unit changes nothing' eval 'unit && transient'
	ktap_check 'what was typed in the guide' typed
	ktap_check 'daxctl divides it' daxctl_divides
	;;
mem)
	ktap_check 'mem=, dax_hmem.range=: a device' has_range dax0.0 3221225472 0x100000000
	ktap_check 'a second one' has_range dax1.0 1073741824 0x200000000
	ktap_check 'kmem, loaded later, leaves them' stays_transient_with_kmem
	ktap_check 'a range of System RAM is refused' refused 2M@1G 'is System RAM'
	ktap_check 'a range of the firmware is' refused 2M@0xffe00000 'is reserved by the firmware'
	ktap_check 'a range of a device is' refused 2M@0xfea00000 'belongs to a device'
	ktap_check 'a range in another one is' refused 1G@6G 'overlaps one'
	ktap_check 'no range at all is' refused 1G 'is not SIZE@START'
	ktap_check 'a range beyond all addresses is' refused 2M@7E 'is beyond'
	;;
esac
