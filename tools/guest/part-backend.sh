# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154	# Variables of lib.sh and machine.sh
# Part backend: another process serves the guest's disk, by vhost-user. It maps what a PC
# has, the 640 KiB below the hole by themselves, and reads and writes with O_DIRECT.

part_backend() {
	for size in 4K 2M 1G; do
		step start_backend $size
		check "align $size: boots" is_up
		check "align $size: vhost-user-blk" populates disk_round vda guest0
		check "align $size: the back end has mapped all" backend_is_content
		step power_off
		check "align $size: powers off" ended_well
		step end_backend
		check "align $size: no block is left" no_blocks
	done
	step dax_unbind
}

# The guest has VGA, as a PC does, whose memory lies in the hole.
start_backend() {
	align=$1
	bind transient $(($(echo "$align" | sed 's/K/ << 10/; s/M/ << 20/; s/G/ << 30/')))
	rm -f backend.sock
	qemu-storage-daemon \
		--blockdev driver=host_device,node-name=disk,filename=/dev/guest0,cache.direct=on,aio=native \
		--export type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path=backend.sock,writable=on \
		>backend.log 2>&1 &
	backend_pid=$!
	back="$back $backend_pid"
	patiently 20 test -S backend.sock || :
	start served -device VGA \
		-chardev socket,id=backend,path=backend.sock -device vhost-user-blk-pci,chardev=backend
	align=2M
}

backend_is_content() {
	[ ! -s backend.log ] || { head -n 1 backend.log; return 1; }
	running "$backend_pid" || { echo "it has ended"; return 1; }
}

end_backend() {
	kill "$backend_pid" 2>/dev/null || :
	wait "$backend_pid" 2>/dev/null || :
}
