# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154	# Variables of lib.sh and machine.sh
# Part drills: one guest has to survive faults while it does I/O. Its memory is in the
# direct map of the machine only while it is pinned.

part_drills() {
	step start_drills
	check 'boots' is_up
	check 'network at work' populates begin_net
	check 'disk and SCSI as well' begin_io
	check 'cap reached' cap_reached
	check 'disk error' disk_error
	check 'SCSI target removed' lun_removed
	check 'tap deleted' tap_deleted
	check 'no data was wrong' never_wrong
	check 'the guest crashes' crashes
	check 'QEMU is killed' killed
	step end_drills
	check 'the device can be unbound' unbinds
}

start_drills() {
	bind transient 2097152 transient
	tap_delays
	# shellcheck disable=SC2086	# Lists
	start drills $all_devices $slow_disk
}

# Frames from the tap are in flight for two seconds, without a copy: the other port of
# its bridge delays them.
tap_delays() {
	ip link add br0 type bridge forward_delay 0
	ip link add delay type dummy
	tc qdisc add dev delay root netem delay 2s limit 10000
	ip link set delay master br0
	ip link set tap0 master br0
	ip link set delay up
	ip link set br0 up
}

# The parts after this one find the network as it was, even if a check has failed.
end_drills() {
	end
	ip link del tap0 2>ip.log || :
	tap_make
	ip link del br0
	ip link del delay
}

received() { cat /sys/class/net/tap0/statistics/rx_bytes; }
received_more() { [ "$(received)" -ge $(($1 + ($2 << 10))) ]; }

# net_goes_on KIB: the tap gets that much more.
net_goes_on() {
	had=$(received)
	patiently 60 received_more "$had" "$1" || { echo "the tap got $(($(received) - had)) bytes"; return 1; }
}

# This comes before the disks' I/O, so that all blocks are populated for the network.
begin_net() {
	order flood
	net_goes_on 256
}

# io_goes_on DEVICE...: each finishes a round from now on.
io_goes_on() {
	mark
	for dev; do
		answer 90 "io $dev ok" >/dev/null || { tail -n 1 "$con"; return 1; }
	done
}

begin_io() {
	order io vda 2
	order io sda 2
	io_goes_on vda sda
}

# While nothing more can be pinned, the disk fails in each round. vhost-scsi says TASK
# SET FULL, and the guest tries again without an end: after the disk's first error, SCSI
# can finish only a round that had done all of its I/O.
cap_reached() {
	cap=$(dax_pool cap)
	failed=''
	mark
	echo 0 >"$dax_dev/transient/cap"
	answer 90 'io vda error' >/dev/null || failed='the disk goes on'
	mark
	patiently 90 said 3 'io vda error' || failed='the disk goes on'
	! said 2 'io sda ok' || failed='SCSI goes on'
	refused=$(dax_pool failed)
	echo "$cap" >"$dax_dev/transient/cap"
	[ -z "$failed" ] || { echo "$failed"; return 1; }
	echo "# $refused pins refused"
	io_goes_on vda sda && net_goes_on 256 || return 1
	! grep -aq 'guest: io sda error' "$con" || { echo "SCSI had an error"; return 1; }
}

disk_error() {
	mark
	echo "+0-16383" >"$nullb"/guest0/badblocks
	seen=$(answer 90 'io vda error') || :
	echo "-0-16383" >"$nullb"/guest0/badblocks
	case $seen in guest:*) ;; *) echo "$seen"; return 1 ;; esac
	io_goes_on vda sda
}

lun_removed() {
	mark
	lun_del
	answer 90 "io sda error" || return 1
	io_goes_on vda || return 1
	lun_add
	io_goes_on sda
}

frames_in_flight() { tc -s -j qdisc show dev delay | jq '.[0].qlen'; }
frames_fly() { [ "$(frames_in_flight)" -gt 0 ]; }

# The frames that come from now on stay in flight until the queue is deleted. They may be
# few: the guest can't send for ever if nothing that it sends is done.
tap_deleted() {
	tc qdisc change dev delay root netem delay 100s limit 10000
	net_goes_on 64 || return 1
	patiently 10 frames_fly || { echo "no frame is in flight"; return 1; }
	ip link del tap0
	frames=$(frames_in_flight)
	echo "# deleted with $frames frames in flight"
	tc qdisc del dev delay root
	[ "$frames" -gt 0 ] || { echo "nothing was in flight any more"; return 1; }
	io_goes_on vda sda
}

never_wrong() { ! grep -a 'guest: .* bad' "$con"; }

crashes() {
	order crash
	answer 120 up || return 1
	grep -aq 'Kernel panic' "$con" || { echo "it did not crash"; return 1; }
	no_blocks
}

killed() {
	order io vdc 2
	patiently 90 in_flight || { echo "nothing is in flight"; return 1; }
	kill -9 "$qemu"
	requests
	echo "# killed with $(dax_pool live) blocks live, then $requests requests in flight"
	[ "$requests" -gt 0 ] || { echo "nothing was in flight any more"; return 1; }
	patiently 10 ended "$qemu" || { echo "it does not die"; return 1; }
	no_blocks
}
