# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154	# Variables of lib.sh and machine.sh
# Part backend: another process serves the guest's disk, by vhost-user. It maps what a PC
# has, the 640 KiB below the hole by themselves, and reads and writes with O_DIRECT.

part_backend() {
	step bind transient
	step start_backend
	check 'boots' is_up
	check 'vhost-user-blk' populates disk_round vda guest0
	check 'the back end has mapped all' backend_is_content
	step power_off
	check 'powers off' ended_well
	step end_backend
	check 'no block is left' no_blocks
	check 'can be unbound' unbinds
}

# The guest has VGA, as a PC does, whose memory lies in the hole.
start_backend() {
	qemu-storage-daemon \
		--blockdev driver=host_device,node-name=disk,filename=/dev/guest0,cache.direct=on,aio=native \
		--export type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path=backend.sock,writable=on \
		>backend.log 2>&1 &
	backend_pid=$!
	back="$back $backend_pid"
	patiently 20 test -S backend.sock || :
	start served -device VGA \
		-chardev socket,id=backend,path=backend.sock -device vhost-user-blk-pci,chardev=backend
}

backend_is_content() {
	[ ! -s backend.log ] || { head -n 1 backend.log; return 1; }
	running "$backend_pid" || { echo "it has ended"; return 1; }
}

end_backend() {
	kill "$backend_pid" 2>/dev/null || :
	wait "$backend_pid" 2>/dev/null || :
}
