# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154	# Variables are shared with machine.sh and the parts.
# Part backend: other processes serve a guest's disk, a directory and, to another guest,
# its network, by vhost-user. They map what a PC has, the 640 KiB below the hole by
# themselves. Those of the disk and the directory read and write with O_DIRECT.

part_backend() {
	step backend_set_up
	for kib in $ALIGNS; do
		at="align $kib KiB"
		step bind_two $((kib * 1024))
		step start_served
		check "$at: two guests boot" are_up
		check "$at: vhost-user-net" passes
		check "$at: vhost-user-blk" populates disk_round vda guest0
		check "$at: virtiofsd" populates serves
		check "$at: the back ends have mapped all" backends_are_content
		step power_off_two
		check "$at: power off" ended_well
		step end_backends
		check "$at: no block is left" no_blocks_of_two
		check "$at: can be unbound" unbind_two
	done
	step backend_end
}

gib=$((1 << 30))
region() { echo "$1" >"$(readlink -f "$dax_dev/..")/dax_region/$2"; }

# The file system does direct I/O, which a tmpfs would not.
backend_set_up() {
	disk_make served
	mkfs.ext4 -q /dev/served
	mkdir served
	mount /dev/served served
	dax_unbind
	backend_size=$(dax_size)
	echo $gib >"$dax_dev/size"
	region 1 create
	echo $gib >"/sys/bus/dax/devices/$second/size"
}

backend_end() {
	umount served
	echo 0 >"/sys/bus/dax/devices/$second/size"
	region "$second" delete
	echo "$backend_size" >"$dax_dev/size"
}

# bind_two ALIGN: first and second are part-kexec.sh's.
bind_two() {
	memory=transient
	for dev in $second $first; do
		slice "$dev"
		echo "$1" >"$dax_dev/align"
		echo transient >"$dax_dev/memmap"
		echo "$dev" >"$dax_drv/bind"
	done
}

unbind_two() {
	for dev in $second $first; do
		echo "$dev" >"$dax_drv/unbind"
	done
	[ "$(memmap_kib)" = 0 ] || { echo "$(memmap_kib) KiB of memmap are left"; return 1; }
}

# Debian 13 has another one, elsewhere.
virtiofsd() {
	daemon=/usr/lib/qemu/virtiofsd
	[ -x $daemon ] || daemon=/usr/libexec/virtiofsd
	exec $daemon --socket-path=virtiofsd.sock \
		-o source="$PWD/served",cache=none,allow_direct_io,sandbox=chroot,log_level=warn
}

# by PROGRAM ARGUMENT...: start a back end, with a log PROGRAM.log.
by() {
	"$@" >"${1##*/}.log" 2>&1 &
	back="$back $!"
	backends="$backends $!"
}

# card SOCKET MAC: QEMU's options for a network card.
card() {
	echo "-chardev socket,id=net,path=$1 -netdev vhost-user,id=net,chardev=net
		-device virtio-net-pci,netdev=net,romfile=,mac=$2"
}

# The first guest has VGA, as a PC does, whose memory lies in the hole.
start_served() {
	backends=''
	by qemu-storage-daemon \
		--blockdev driver=host_device,node-name=disk,filename=/dev/guest0,cache.direct=on,aio=native \
		--export type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path=disk.sock,writable=on
	by virtiofsd
	by "$BACKEND_NET" net0.sock net1.sock
	for socket in disk.sock virtiofsd.sock net0.sock net1.sock; do
		patiently 20 test -S $socket || :
	done
	slice "$second"
	# shellcheck disable=SC2046	# A list
	start "$second" $(card net1.sock 52:54:00:00:07:04)
	slice "$first"
	# shellcheck disable=SC2046
	start "$first" -device VGA $(card net0.sock 52:54:00:00:07:03) \
		-chardev socket,id=disk,path=disk.sock -device vhost-user-blk-pci,chardev=disk \
		-chardev socket,id=fs,path=virtiofsd.sock -device vhost-user-fs-pci,chardev=fs,tag=share
}

are_up() {
	for dev in $second $first; do
		slice "$dev"
		is_up || return
	done
}

# Each guest sends the other a file. No struct page is needed for that.
passes() {
	for dev in $first $second; do
		slice "$dev"
		patiently 5 dax_no_live || { echo "$(dax_pool live) blocks are live"; return 1; }
		ask 60 address "$(address "$dev")" >/dev/null || return
	done
	before=$(populated_in_two)
	sends "$first" "$second" && sends "$second" "$first" || return
	[ "$(populated_in_two)" = "$before" ] || { echo "it populated blocks"; return 1; }
}
address() { echo 10.7.1.1"${1#dax0.}"; }
populated_in_two() {
	for dev in $first $second; do
		slice "$dev"
		dax_pool populated
	done
}

# sends FROM TO: one guest sends the other a file.
sends() {
	slice "$2"
	line=$(ask 60 take) || { echo "$2: $line"; return 1; }
	slice "$1"
	line=$(ask 120 give "$(address "$2")" "$net_mib") || { echo "$1: $line"; return 1; }
	sum=$(value "$line" sum)
	slice "$2"
	line=$(answer 60 "taken ok") || { echo "$2: $line"; return 1; }
	[ "$(value "$line" sum)" = "$sum" ] || { echo "$2 got something else"; return 1; }
}

serves() {
	dd if=/dev/urandom of=served/given bs=1M count="$disk_mib" conv=fsync status=none
	line=$(ask 120 virtiofs "$disk_mib") || { echo "$line"; return 1; }
	echo "# $line"
	same "$(value "$line" sent)" "$(value "$line" received)" served/out served/given
}

backends_are_content() {
	for log in qemu-storage-daemon.log virtiofsd.log backend-net.log; do
		[ ! -s $log ] || { head -n 1 $log; return 1; }
	done
	for pid in $backends; do
		running "$pid" || { echo "one has ended"; return 1; }
	done
}

power_off_two() {
	bad=0
	for dev in $second $first; do
		slice "$dev"
		power_off
		[ "$status" = 0 ] || bad=$status
	done
	status=$bad
}

# Two of them end with their guests, by themselves.
end_backends() {
	for pid in $backends; do
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	rm -f ./*.sock
}
