# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154	# Variables of lib.sh and machine.sh
# Part boot: a guest without a disk lives on transient memory, and none of it is pinned.

part_boot() {
	step bind transient
	step start_boot
	check 'to its shell' is_up
	check 'nothing was pinned' nothing_populated
	check 'nor by using the memory' used_its_memory
	check 'balloon' balloons
	check 'migration to a file' migrates_to_file
	step start_incoming
	check 'migration from a file' comes_back
	check 'the guest reboots' reboots
	check 'a directory by 9p' shares
	step power_off
	check 'and powers off' ended_well
	check 'no block is left' no_blocks
	check 'the device can be unbound' unbinds
}

boot_devices="-device virtio-balloon-pci
	-virtfs local,path=share,mount_tag=share,security_model=none"

start_boot() {
	mkdir share
	# shellcheck disable=SC2086	# A list
	start boot $boot_devices
}

# The guest can write to 400 of its 512 MiB.
used_its_memory() {
	total=$(ask 60 ram) || { echo "$total"; return 1; }
	line=$(ask 120 fill 400) || { echo "$line"; return 1; }
	echo "# $line KiB, of $(value "$total" kib)"
	ask 60 keep 4 && nothing_populated
}

balloons() {
	for mib in $((ram - 4)) $ram; do
		monitor balloon "$mib"
		patiently 60 monitor_hears 'info balloon' "actual=$mib" ||
			{ echo "not $mib MiB: $(tail -n 1 "$mon")"; return 1; }
	done
	echo "# QEMU on these 1024 pages: $(grep -c . "$err" || :) messages, the first: $(head -n 1 "$err")"
	ask 60 kept && nothing_populated
}

migrates_to_file() {
	monitor "migrate -d \"exec:cat >state\""
	patiently 120 monitor_hears 'info migrate' 'Migration status: completed' ||
		{ echo "it does not complete: $(tail -n 1 "$mon")"; return 1; }
	echo "# $(($(stat -c %s state) >> 10)) KiB of state, $(dax_pool populated) blocks populated"
}

# The guest's memory is overwritten first, so that all of it has to come from the file.
start_incoming() {
	end
	python3 -c "import mmap, os
fd = os.open('$DAX', os.O_RDWR)
m = mmap.mmap(fd, $ram << 20)
for i in range(0, $ram << 20, 1 << 20): m[i:i + (1 << 20)] = b'\xa5' * (1 << 20)"
	# shellcheck disable=SC2086	# A list
	start incoming $boot_devices -incoming "exec:cat state"
}

comes_back() {
	patiently 120 monitor_hears 'info status' 'VM status: running' ||
		{ echo "it does not run: $(tail -n 1 "$err")"; return 1; }
	rm state
	ask 60 kept
}

reboots() {
	order reboot
	answer 120 up || return 1
	ask 60 ram && no_blocks
}

# QEMU copies the data of 9p, so nothing is pinned.
shares() {
	dd if=/dev/urandom of=share/given bs=1M count=1 status=none
	line=$(ask 120 share 1) || { echo "$line"; return 1; }
	same "$(value "$line" sent)" "$(value "$line" received)" share/out share/given &&
		nothing_populated
}
