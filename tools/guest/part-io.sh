# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154	# Variables of lib.sh and machine.sh
# Parts transient, guestramfs and static: the guest does the same I/O on each, by all of
# QEMU's and vhost's paths.

part_io() {
	if [ "$1" = static ]; then may=''; else may=populates; fi
	step start_io "$1"
	check 'boots' is_up
	[ "$1" = static ] || check 'no blocks after boot' idle_after_boot
	check 'disk, aio=native' $may disk_io vda guest0
	check 'disk, aio=io_uring' $may disk_io vdb guest1
	check 'vhost-scsi' $may disk_io sda guest2
	check 'vhost-net' $may net_io
	check 'memmap 2 s after' after
	[ "$ACCEL" != kvm ] || check 'KVM maps huge pages' maps_huge
	step stop_io
	check 'powers off' ended_well
	check 'can be unbound' unbinds
}

start_io() {
	bind "$1"
	figure rest $((rest + tables))
	watch_memmap
	# shellcheck disable=SC2086	# A list
	start "$1" $all_devices
}

stop_io() {
	stop_watching
	power_off
}

idle_after_boot() {
	patiently 3 dax_no_live || { echo "$(dax_pool live) blocks are live"; return 1; }
	figure live "$(dax_pool live)"
	echo "# $(dax_pool populated) blocks populated for the partition tables"
}

# disk_io DEVICE DISK: the guest's DEVICE is the machine's DISK. Rounds differ much
# because of the clock, TCP and two schedulers, so a table takes several.
disk_io() {
	for _ in $(seq "$ROUNDS"); do
		disk_round "$@" || return 1
	done
	random_round "$1"
}

# The guest writes and reads, and the machine reads the same bytes.
disk_round() {
	line=$(ask 120 disk "$1" "$disk_mib") || { echo "$line"; return 1; }
	echo "# $line"
	figure "$1-write" "$(value "$line" write)"
	figure "$1-read" "$(value "$line" read)"
	sum=$(dd if=/dev/"$2" bs=1M count="$disk_mib" iflag=direct status=none | md5sum)
	[ "${sum%% *}" = "$(value "$line" sum)" ] || { echo "the host reads something else"; return 1; }
}

# random_round DEVICE [MIB]: the guest transfers 4 KiB at a time between random places of
# the disk and of most, or so much, of its memory.
random_round() {
	line=$(ask 180 random "$1" "$random_mib" "${2:-320}") || { echo "$line"; return 1; }
	echo "# $line"
	figure "$1-random-write" "$(value "$line" write)"
	figure "$1-random-read" "$(value "$line" read)"
}

net_io() {
	for round in $(seq "$ROUNDS"); do
		net_round || return 1
		echo "# round $round: $line"
		figure net-send "$(value "$line" send)"
		figure net-receive "$(value "$line" receive)"
	done
}

# The guest sends a file to port 5001 and receives one from port 5002.
net_round() {
	dd if=/dev/urandom of=give bs=1M count="$net_mib" status=none
	busybox nc -l -p 5001 <>open >taken 2>nc1.log &
	takes=$!
	busybox nc -l -p 5002 <give >/dev/null 2>nc2.log &
	gives=$!
	rc=0
	net_transfer || rc=1
	kill $takes $gives 2>/dev/null || :
	return $rc
}

net_transfer() {
	patiently 10 listening || { echo "nobody listens"; return 1; }
	line=$(ask 120 net "$net_mib") || { echo "$line"; return 1; }
	patiently 10 ended "$takes" || { echo "the connection to port 5001 does not end"; return 1; }
	same "$(value "$line" sent)" "$(value "$line" received)" taken give
}

# listening: both ports, 5001 and 5002, are open.
listening() { [ "$(cat /proc/net/tcp /proc/net/tcp6 | grep -c ':138[9A] 0*:0000 0A ')" = 2 ]; }

# The blocks that were populated for the I/O are gone at most 2 s after it.
after() {
	within 2 at_rest || :
	kib=$(memmap_kib)
	peak=$(cat peak)
	if [ "$memory" != static ]; then
		figure populated "$(dax_pool populated)"
		# The pool sees a peak that the sampler may miss.
		exact=$((rest + $(dax_pool peak) * 4))
		[ "$peak" -ge $exact ] || peak=$exact
		# The random I/O was in 320 MiB, which are 160 blocks. How many of them
		# exist at a time depends on the speed.
		[ "$peak" -ge $((rest + 16 * 4)) ] || { echo "the peak was $peak KiB"; return 1; }
	fi
	figure after $((kib + tables))
	figure peak $((peak + tables))
	echo "# $rest KiB of memmap at rest, $peak at peak, $kib after; $tables of tables"
	[ "$kib" = "$rest" ]
}

# The random I/O was in 320 MiB, which are 160 huge pages.
maps_huge() {
	huge=$(cat /sys/kernel/debug/kvm/pages_2m)
	small=$(cat /sys/kernel/debug/kvm/pages_4k)
	figure pages-2m "$huge"
	figure pages-4k "$small"
	echo "# mapped by KVM: $huge pages of 2 MiB, $small of 4 KiB"
	[ "$huge" -ge 160 ] || { echo "$huge huge pages"; return 1; }
}
