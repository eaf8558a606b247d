#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What guest.sh runs in the virtual machine: guests of QEMU and KVM on dax0.0.
# KTAP on stdout, figures in /run/out/figures. A failure means: a VMM that knows
# nothing of transient struct pages cannot run a guest on them, loses the guest's
# data, or leaves blocks or a hung host behind when it dies.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"

parts=$1
ram=512
# Without KVM, the guest takes its time, the machine has one CPU, and its clock is not
# disturbed by anything else.
case ${ACCEL:=kvm} in
kvm) cpu=1 patience=1 rounds='1 2 3 4' ;;
*) cpu=0 patience=10 rounds='1 2' ;;
esac
nullb=/sys/kernel/config/nullb
target=/sys/kernel/config/target
tpg=$target/vhost/naa.5001405000000001/tpgt_1
qemu=''
back=''	# other processes in the background

tmp=/tmp/guest
mkdir -p $tmp
figures=/run/out/figures
: >$figures
# shellcheck disable=SC2317
cleanup() {
	for pid in $qemu $back; do
		kill -9 "$pid" 2>/dev/null || :
	done
	# A retry of vhost-scsi is a line of QEMU's.
	for log in "$tmp"/*.log; do
		uniq "$log" | head -n 500 >"/run/out/${log##*/}"
	done
}
trap cleanup EXIT

# The machine around the guest: three disks, a network, a SCSI target

# disk_make NAME [NS]: with NS, each request takes so long.
disk_make() {
	mkdir $nullb/"$1"
	if [ -n "${2:-}" ]; then
		echo 2 >$nullb/"$1"/irqmode
		echo "$2" >$nullb/"$1"/completion_nsec
	fi
	echo 256 >$nullb/"$1"/size
	echo 1 >$nullb/"$1"/memory_backed
	echo 1 >$nullb/"$1"/power
}

tap_make() {
	ip tuntap add tap0 mode tap vnet_hdr
	ip addr add 10.7.0.1/24 dev tap0
	ip link set tap0 up
}

lun_add() {
	mkdir -p $tpg/lun/lun_0
	ln -s $target/core/iblock_0/guest $tpg/lun/lun_0/guest
}

lun_del() {
	rm $tpg/lun/lun_0/guest
	rmdir $tpg/lun/lun_0
}

target_make() {
	mkdir -p $target/core/iblock_0/guest
	echo "udev_path=/dev/guest2" >$target/core/iblock_0/guest/control
	echo 1 >$target/core/iblock_0/guest/enable
	mkdir -p $tpg
	lun_add
	echo naa.5001405000000002 >$tpg/nexus
}

# The guest. Its console is $con, its monitor takes commands from a FIFO.

# start NAME [QEMU's option ...]. On one CPU of the machine, which no other guest uses,
# and with one that has no XSAVE: else the guest's kernel does not always survive what
# TCG makes of SVM, on any memory. The doorbells of its devices are I/O ports: when it has
# to emulate an access to memory of a device, KVM gives up (internal error 3) if TCG's SVM
# says just then that an interrupt is being delivered, and QEMU stops the guest. SeaBIOS
# would hang at a disk that has such a doorbell; strict makes it leave alone what it is not
# to boot from.
start() {
	name=$1
	shift
	con=$tmp/$name.console.log
	mon=$tmp/$name.monitor.log
	err=$tmp/$name.qemu.log
	rm -f $tmp/silent "$con" $tmp/con $tmp/mon.in $tmp/mon.out
	mkfifo $tmp/con $tmp/mon.in $tmp/mon.out
	cat $tmp/mon.out >"$mon" &
	back="$back $!"
	mark=0
	started=$(now)
	taskset -c "$cpu" qemu-system-x86_64 \
		-object memory-backend-file,id=mem,mem-path="$DAX,share=on,align=2M,size=${ram}M${backend:-}" \
		-machine q35,memory-backend=mem -m $ram -accel "$ACCEL" -cpu qemu64 -smp 1 \
		-nodefaults -no-user-config -display none \
		-boot strict=on -global virtio-pci.modern-pio-notify=on \
		-kernel "$IMAGE" -initrd "$INITRAMFS" \
		-append "console=ttyS0 loglevel=5 panic=-1 8250.nr_uarts=1 null_blk.nr_devices=0 scsi_debug.add_host=0 ${job:-}" \
		-serial stdio -monitor pipe:$tmp/mon "$@" <>$tmp/con >"$con" 2>"$err" &
	qemu=$!
}

all_devices="
	-drive file=/dev/guest0,if=none,id=a,format=raw,cache=none,aio=native
	-device virtio-blk-pci,drive=a
	-drive file=/dev/guest1,if=none,id=b,format=raw,cache=none,aio=io_uring
	-device virtio-blk-pci,drive=b
	-netdev tap,id=n,ifname=tap0,script=no,downscript=no,vhost=on
	-device virtio-net-pci,netdev=n,romfile=,mac=52:54:00:00:07:02
	-device vhost-scsi-pci,wwpn=naa.5001405000000001"

slow_disk='-drive file=/dev/slow,if=none,id=c,format=raw,cache=none,aio=native
	-device virtio-blk-pci,drive=c'

running() { case $(sed 's/.*) //' /proc/"$1"/stat 2>/dev/null) in '' | Z*) return 1 ;; esac; }

answered() { tail -n +$((mark + 1)) "$con" | grep -aqE "^guest: $1"; }
mark=0
mark() { mark=$(grep -c '' "$con" || :); }

# Whose answer does not come. If it is the first thing that went wrong, the guest said
# nothing else for long, and nothing is pinned that an I/O could wait for, then it is
# the emulator that has lost it, and guest.sh tries again.
lost() {
	[ ! -e $tmp/silent ] || return 0
	: >$tmp/silent
	if ! running "$qemu" || grep -q '^not ok' /run/out/stdout ||
		[ $(($(date +%s) - $(stat -c %Y "$con"))) -lt 30 ]; then
		return 0
	fi
	[ ! -e "$dax_dev/transient" ] || [ "$(dax_pool live)" = 0 ] || return 0
	echo "$name, which does not say \"$1\"" >/run/out/lost
	whereabouts >/run/out/whereabouts 2>&1
}

# What a lost guest and its QEMU are doing: twice, for whether it is the same.
whereabouts() {
	for _ in 1 2; do
		for task in /proc/"$qemu"/task/*; do
			echo "$(cat "$task/comm") $(cut -d ' ' -f 3,14,15 "$task/stat")"
			cat "$task/stack"
		done
		monitor 'info status'
		monitor 'info registers'
		monitor 'info lapic'
		monitor 'info irq'
		sleep 2
	done
	echo "The answers to \"info ...\" are in ${mon##*/}."
}

# answer SECONDS PATTERN: the line of the guest since the mark. One that was silent
# once is not waited for again.
answer() {
	limit=$(($1 * patience))
	[ ! -e $tmp/silent ] || limit=1
	within "$limit" answered "$2" ||
		{ lost "$2"; echo "no \"$2\": $(tail -n 1 "$con" "$err" | tr '\n' ' ')"; return 1; }
	tail -n +$((mark + 1)) "$con" | tr -d '\r' | grep -aE "^guest: $2" | head -n 1
}

# Opened for reading too, as it would wait for a QEMU that is no more.
order() { mark; echo "$*" 1<>$tmp/con; }
monitor() { echo "$*" 1<>$tmp/mon.in; }

# ask SECONDS JOB...: its result. Good if it is "ok", the rest of the line printed.
ask() {
	limit=$1
	shift
	order "$@"
	line=$(answer "$limit" "$1 ") || { echo "$line"; return 1; }
	case $line in *" ok"*) echo "$line" ;; *) echo "$line"; return 1 ;; esac
}

value() { echo "$1" | tr ' ' '\n' | sed -n "s/^$2=//p"; }
figure() { printf '%s\t%s\t%s\n' "$memory" "$1" "$2" >>$figures; }

is_up() {
	answer 120 up || return 1
	hundredths=$(($(now) - started))
	echo "# $name: ${hundredths%??}.${hundredths#"${hundredths%??}"} s from QEMU's start to the guest's shell"
	figure boot "${hundredths%??}.${hundredths#"${hundredths%??}"}"
}

gone() { ! running "$qemu"; }

# Whatever became of the test, the next one begins without QEMU.
end() {
	kill -9 "$qemu" 2>/dev/null || :
	status=0
	wait "$qemu" 2>/dev/null || status=$?
	qemu=''
}

# Not in ktap_check's subshell, which cannot wait for QEMU.
power_off() {
	order off
	within 60 gone || :
	end
}
ended_well() { [ "$status" = 0 ] || { echo "status $status: $(tail -n 1 "$err")"; return 1; }; }

# populates COMMAND...: it has to succeed, and to have populated blocks. None is
# left of the I/O before.
populates() {
	dax_idle 5 || { echo "$(dax_pool live) blocks are live"; return 1; }
	before=$(dax_pool populated)
	"$@" || return 1
	after=$(dax_pool populated)
	echo "# $((after - before)) blocks populated, $(dax_pool failed) refused"
	[ "$after" -gt "$before" ] || { echo "it did not populate any block"; return 1; }
}

# bind static|transient [align [direct map]]
bind() {
	memory=$1
	dax_bind "$@"
	rest=$(memmap_kib)
}

unbinds() {
	dax_unbind
	[ "$(memmap_kib)" = 0 ] || { echo "$(memmap_kib) KiB of memmap are left"; return 1; }
}

# Part boot: a guest without a disk, so that nothing is pinned

nothing_populated() {
	[ "$(dax_pool live) $(dax_pool populated)" = '0 0' ] ||
		{ echo "$(dax_pool live) live, $(dax_pool populated) populated"; return 1; }
}

# Of 512 MiB, the guest can give that much to a file.
used_its_memory() {
	total=$(ask 60 ram) || { echo "$total"; return 1; }
	line=$(ask 120 fill 400) || { echo "$line"; return 1; }
	echo "# $line KiB, of $(value "$total" kib)"
	ask 60 keep 32 && nothing_populated
}

monitor_says() { grep -aq "$1" "$mon"; }

# monitor_hears COMMAND WORDS: does it answer that?
monitor_hears() {
	monitor "$1"
	sleep 0.5
	monitor_says "$2"
}

balloons() {
	for mib in $((ram - 4)) $ram; do
		monitor balloon "$mib"
		within 60 monitor_hears 'info balloon' "actual=$mib" ||
			{ echo "not $mib MiB: $(tail -n 1 "$mon")"; return 1; }
	done
	echo "# QEMU on these 1024 pages: $(grep -c . "$err" || :) messages, the first: $(head -n 1 "$err")"
	ask 60 kept && nothing_populated
}

migrates_to_file() {
	monitor 'migrate -d "exec:cat >/tmp/guest/state"'
	within 120 monitor_hears 'info migrate' 'Migration status: completed' ||
		{ echo "it does not complete: $(tail -n 1 "$mon")"; return 1; }
	echo "# $(($(stat -c %s $tmp/state) >> 10)) KiB of state, $(dax_pool populated) blocks populated"
}

# The memory is overwritten first, so that the state has to bring it back.
scrub() {
	python3 -c "import mmap, os
fd = os.open('$DAX', os.O_RDWR)
m = mmap.mmap(fd, $ram << 20)
for i in range(0, $ram << 20, 1 << 20): m[i:i + (1 << 20)] = b'\xa5' * (1 << 20)"
}

comes_back() {
	within 120 monitor_hears 'info status' 'VM status: running' || { echo "it does not run: $(tail -n 1 "$err")"; return 1; }
	ask 60 kept
}

reboots() {
	order reboot
	answer 120 up || return 1
	ask 60 ram && no_blocks
}

# QEMU copies, so nothing is pinned.
shares() {
	dd if=/dev/urandom of=$tmp/share/given bs=1M count=4 status=none
	line=$(ask 120 share 4) || { echo "$line"; return 1; }
	sum=$(md5sum <$tmp/share/out)
	[ "${sum%% *}" = "$(value "$line" sent)" ] || { echo "the host got something else"; return 1; }
	sum=$(md5sum <$tmp/share/given)
	[ "${sum%% *}" = "$(value "$line" received)" ] || { echo "the guest got something else"; return 1; }
	nothing_populated
}

part_boot() {
	bind transient
	mkdir $tmp/share
	devices="-device virtio-balloon-pci
		-virtfs local,path=$tmp/share,mount_tag=share,security_model=none"
	# shellcheck disable=SC2086	# A list, as below.
	start boot $devices
	ktap_check 'boot: to its shell' is_up
	ktap_check 'boot: nothing was pinned' nothing_populated
	ktap_check 'boot: nor by using the memory' used_its_memory
	ktap_check 'boot: balloon' balloons
	ktap_check 'boot: migration to a file' migrates_to_file
	end
	scrub
	# shellcheck disable=SC2086
	start incoming $devices -incoming "exec:cat /tmp/guest/state"
	ktap_check 'boot: migration from a file' comes_back
	rm -f $tmp/state
	ktap_check 'boot: the guest reboots' reboots
	ktap_check 'boot: a directory by 9p' shares
	power_off
	ktap_check 'boot: and powers off' ended_well
	ktap_check 'boot: no block is left' no_blocks
	ktap_check 'boot: the device can be unbound' unbinds
}

# Parts transient and static: the same I/O on both

sample() {
	peak=$(memmap_kib)
	while :; do
		now=$(memmap_kib)
		[ "$now" -le "$peak" ] || peak=$now
		echo "$peak" >$tmp/peak
		sleep 0.5
	done
}

# A transfer each way, of which the host sees the same bytes.
disk_round() {
	line=$(ask 120 disk "$1" 16) || { echo "$line"; return 1; }
	echo "# $line"
	figure "$1-write" "$(value "$line" write)"
	figure "$1-read" "$(value "$line" read)"
	sum=$(dd if=/dev/"$2" bs=1M count=16 iflag=direct status=none | md5sum)
	[ "${sum%% *}" = "$(value "$line" sum)" ] || { echo "the host reads something else"; return 1; }
}

# More than one, of disk and network, as a clock, TCP and two schedulers make them
# differ much.
disk_io() {
	for round in $rounds; do
		disk_round "$@" || return 1
	done
	random_round "$1"
}

# 4 KiB at a time, between anywhere on the disk and anywhere in most of the memory.
random_round() {
	line=$(ask 180 random "$1" 2 320) || { echo "$line"; return 1; }
	echo "# $line"
	figure "$1-random-write" "$(value "$line" write)"
	figure "$1-random-read" "$(value "$line" read)"
}

# On ports 5001 and 5002
listening() { [ "$(cat /proc/net/tcp /proc/net/tcp6 | grep -c ':138[9A] 0*:0000 0A ')" = 2 ]; }

net_round() {
	dd if=/dev/urandom of=$tmp/give bs=1M count=4 status=none
	busybox nc -l -p 5001 <>$tmp/open >$tmp/taken 2>$tmp/nc1.log &
	takes=$!
	busybox nc -l -p 5002 <$tmp/give >/dev/null 2>$tmp/nc2.log &
	gives=$!
	within 10 listening || { echo "nobody listens"; kill $takes $gives; return 1; }
	line=$(ask 120 net 4) || { echo "$line"; kill $takes $gives; return 1; }
	wait
	sum=$(md5sum <$tmp/taken)
	[ "${sum%% *}" = "$(value "$line" sent)" ] || { echo "the host got something else"; return 1; }
	sum=$(md5sum <$tmp/give)
	[ "${sum%% *}" = "$(value "$line" received)" ] || { echo "the guest got something else"; return 1; }
}

net_io() {
	for round in $rounds; do
		net_round || return 1
		echo "# round $round: $line"
		figure net-send "$(value "$line" send)"
		figure net-receive "$(value "$line" receive)"
	done
}

# 2 seconds after the last I/O
after() {
	sleep 2
	kib=$(memmap_kib)
	peak=$(cat $tmp/peak)
	if [ "$memory" = transient ]; then
		figure populated "$(dax_pool populated)"
		# It is not only seen twice a second.
		exact=$(($(dax_pool peak) * 4))
		[ "$peak" -ge $exact ] || peak=$exact
		# Of 160 blocks in 320 MiB; how many at a time, depends on the speed.
		[ "$peak" -ge $((16 * 4)) ] || { echo "the peak was $peak KiB"; return 1; }
	fi
	figure after "$kib"
	figure peak "$peak"
	echo "# $rest KiB of memmap at rest, $peak at peak, $kib after"
	[ "$kib" = "$rest" ]
}

# The I/O was at random in 320 MiB, which are 160 huge pages.
maps_huge() {
	huge=$(cat /sys/kernel/debug/kvm/pages_2m)
	small=$(cat /sys/kernel/debug/kvm/pages_4k)
	figure pages-2m "$huge"
	figure pages-4k "$small"
	echo "# mapped by KVM: $huge pages of 2 MiB, $small of 4 KiB"
	[ "$huge" -ge 160 ] || { echo "$huge huge pages"; return 1; }
}

idle_after_boot() {
	dax_idle 3 || { echo "$(dax_pool live) blocks are live"; return 1; }
	figure live "$(dax_pool live)"
	echo "# $(dax_pool populated) blocks populated for the partition tables"
}

part_io() {
	bind "$1"
	check=''
	[ "$1" = static ] || check=populates
	figure rest "$rest"
	sample &
	sampler=$!
	back="$back $sampler"
	# shellcheck disable=SC2086	# A list.
	start "$1" $all_devices
	ktap_check "$1: boots" is_up
	[ -z "$check" ] || ktap_check "$1: no blocks after boot" idle_after_boot
	ktap_check "$1: disk, aio=native" $check disk_io vda guest0
	ktap_check "$1: disk, aio=io_uring" $check disk_io vdb guest1
	ktap_check "$1: vhost-scsi" $check disk_io sda guest2
	ktap_check "$1: vhost-net" $check net_io
	ktap_check "$1: memmap 2 s after" after
	[ "$ACCEL" != kvm ] || ktap_check "$1: KVM maps huge pages" maps_huge
	kill $sampler
	power_off
	ktap_check "$1: powers off" ended_well
	ktap_check "$1: can be unbound" unbinds
}

# Part drills: one guest that has to bear much

io_goes_on() {
	for dev; do
		mark
		answer 90 "io $dev ok" >/dev/null || { tail -n 1 "$con"; return 1; }
	done
}

prealloc_works() {
	within 90 monitor_hears 'info status' 'VM status: paused' || { tail -n 1 "$err"; return 1; }
	nothing_populated
}

# What comes out of the tap is in flight for two seconds, without a copy: the other
# port of its bridge delays it.
tap_delays() {
	ip link add br0 type bridge forward_delay 0
	ip link add delay type dummy
	tc qdisc add dev delay root netem delay 2s limit 10000
	ip link set delay master br0
	ip link set tap0 master br0
	ip link set delay up
	ip link set br0 up
}
frames_in_flight() { tc -s -j qdisc show dev delay | jq '.[0].qlen'; }
frames_fly() { [ "$(frames_in_flight)" -gt 0 ]; }

received() { cat /sys/class/net/tap0/statistics/rx_bytes; }
received_more() { [ "$(received)" -ge $(($1 + (1 << 20))) ]; }

# The tap takes a MiB.
net_goes_on() {
	had=$(received)
	within 60 received_more "$had" || { echo "the tap got $(($(received) - had)) bytes"; return 1; }
}

# Nobody else pins then.
begin_net() {
	order flood
	net_goes_on
}

begin_io() {
	order io vda 4
	order io sda 4
	io_goes_on vda sda
}

# A disk says EIO. vhost-scsi says TASK SET FULL, so the guest waits and retries.
cap_reached() {
	cap=$(dax_pool cap)
	mark
	echo 0 >"$dax_dev/transient/cap"
	seen=$(answer 90 'io vda error') || :
	sleep 3
	refused=$(dax_pool failed)
	mark
	sleep 5
	waits=y
	! answered 'io sda ok' || waits=''
	echo "$cap" >"$dax_dev/transient/cap"
	case $seen in guest:*) ;; *) echo "$seen"; return 1 ;; esac
	[ -n "$waits" ] || { echo "SCSI went on"; return 1; }
	echo "# $refused pins refused"
	sleep 1
	io_goes_on vda sda && net_goes_on || return 1
	! grep -aq 'guest: io sda error' "$con" || { echo "SCSI had an error"; return 1; }
}

disk_error() {
	mark
	echo "+0-16383" >$nullb/guest0/badblocks
	seen=$(answer 90 'io vda error') || :
	echo "-0-16383" >$nullb/guest0/badblocks
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

tap_deleted() {
	net_goes_on || return 1
	within 10 frames_fly || { echo "no frame is in flight"; return 1; }
	ip link del tap0
	frames=$(frames_in_flight)
	echo "# deleted with $frames frames in flight"
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

in_flight() {
	awk '$1 + $2 == 0 { exit 1 }' /sys/block/slow/inflight && [ "$(dax_pool live)" != 0 ]
}

killed() {
	order io vdc 2
	within 90 in_flight || { echo "nothing is in flight"; return 1; }
	kill -9 "$qemu"
	requests=$(awk '{ print $1 + $2 }' /sys/block/slow/inflight)
	echo "# killed with $(dax_pool live) blocks live, then $requests requests in flight"
	[ "$requests" -gt 0 ] || { echo "nothing was in flight any more"; return 1; }
	within 10 gone || { echo "it does not die"; return 1; }
	no_blocks
}

# Its memory is not in the direct map of the host, but for what is pinned.
part_drills() {
	bind transient 2097152 transient
	tap_delays
	# shellcheck disable=SC2086
	start drills $all_devices $slow_disk
	ktap_check 'drills: boots' is_up
	ktap_check 'drills: network at work' populates begin_net
	ktap_check 'drills: disk and SCSI as well' begin_io
	ktap_check 'drills: cap reached' cap_reached
	ktap_check 'drills: disk error' disk_error
	ktap_check 'drills: SCSI target removed' lun_removed
	ktap_check 'drills: tap deleted' tap_deleted
	tap_make
	ktap_check 'drills: no data was wrong' never_wrong
	ktap_check 'drills: the guest crashes' crashes
	ktap_check 'drills: QEMU is killed' killed
	end
	ktap_check 'drills: the device can be unbound' unbinds
	ip link del br0
	ip link del delay
}

# Part unbind

is_unbound() { ! [ -e "$dax_dev/driver" ]; }

unbound_under_it() {
	is_up || return 1
	order io vda 2
	io_goes_on vda || return 1
	within 90 in_flight || { echo "nothing is in flight"; return 1; }
	begun=$(now)
	dax_unbind &
	within 20 is_unbound || { echo "unbind hangs"; return 1; }
	wait
	echo "# unbound after $((($(now) - begun) * 10)) ms, with a request in flight of 1 s at most"
}

# 135 is SIGBUS, 137 means that only end() could end it.
was_told() {
	echo "# QEMU: status $status $(head -n 1 "$err")"
	[ "$status" = 135 ] || grep -q 'kvm run failed Bad address' "$err"
}

part_unbind() {
	bind transient
	backend=,prealloc=on
	start prealloc -S
	ktap_check 'unbind: prealloc=on' prealloc_works
	end
	backend=''
	# shellcheck disable=SC2086
	start unbind $slow_disk
	ktap_check 'unbind: the device under a guest' unbound_under_it
	within 5 gone || :
	end
	ktap_check 'unbind: QEMU gets SIGBUS or stops the guest' was_told
	ktap_check 'unbind: nothing is left' unbinds
	bind transient
	ktap_check 'unbind: it can be bound again' no_blocks
	dax_unbind
}

# Part tib: a host with 2 GiB of RAM and 1 TiB of such memory, three guests

# Tried by guest.sh in a machine of its own, which does not survive it.
static_does_not_fit() {
	echo "# with a static memmap: $(sed -n 's/.*\(device_dax dax0.0: .*\)/\1/p' "$STATIC" | tr -d '\r'), of $(host_kib MemTotal) KiB of RAM"
	grep -aq 'dax0.0: probe with driver device_dax failed with error -12' "$STATIC" ||
		{ echo "it does: $STATIC"; return 1; }
}

host_kib() { awk -v name="$1:" '$1 == name { print $2 }' /proc/meminfo; }

slices='dax0.0 dax0.1 dax0.2'
trace=/sys/kernel/tracing

# daxctl asks libkmod for the driver, which has to be told that it is built in: as
# on a host, by the files of the kernel's build, where this machine has none.
kmod=$tmp/kmod
as_on_a_host() {
	# shellcheck disable=SC2016	# The inner shell's.
	unshare -m sh -ec 'mount -t overlay -o "lowerdir=/usr/lib,upperdir=$0/lib,workdir=$0/work" lib /usr/lib
		exec "$@"' $kmod "$@"
}

# One device becomes three of 256 GiB, with the default memmap; one is out of the
# direct map.
splits() {
	mkdir -p "$kmod/work" "$kmod/lib/modules/$(uname -r)"
	cp "${IMAGE%/arch/*}"/modules.* "$kmod/lib/modules/$(uname -r)"
	as_on_a_host depmod
	for command in 'disable-device dax0.0' 'reconfigure-device -s 256G dax0.0' \
		'create-device -r 0 -s 256G' 'create-device -r 0 -s 256G' \
		'enable-device dax0.0'; do
		# shellcheck disable=SC2086	# Words.
		as_on_a_host daxctl $command >$tmp/daxctl 2>&1 || { tail -n 1 $tmp/daxctl; return 1; }
	done
	for dev in $slices; do
		[ "$(daxctl list -d "$dev" | jq -r '.[] | "\(.size) \(.mode) \(.state)"')" = '274877906944 devdax null' ] ||
			{ daxctl list | jq -c .; return 1; }
		[ "$(cat /sys/bus/dax/devices/"$dev"/memmap)" = transient ] ||
			{ echo "$dev has a static memmap"; return 1; }
	done
	# What daxctl does not know
	echo dax0.2 >"$dax_drv/unbind"
	echo transient >/sys/bus/dax/devices/dax0.2/direct_map
	echo dax0.2 >"$dax_drv/bind"
}

# Each with a disk of its own, which it starts to use by itself: direct I/O from and
# to random addresses in 320 of its 512 MiB.
three_guests() {
	disk=0
	for dev in $slices; do
		DAX=/dev/$dev job=job=roam,vda,2,320 cpu=$((disk + 1))
		start "$dev" -drive file=/dev/guest$disk,if=none,id=a,format=raw,cache=none,aio=native \
			-device virtio-blk-pci,drive=a
		back="$back $qemu"
		disk=$((disk + 1))
	done
}

all_go_on() {
	for dev in $slices; do
		dax_dev=/sys/bus/dax/devices/$dev
		name=$dev
		con=$tmp/$dev.console.log
		err=$tmp/$dev.qemu.log
		mark
		answer 240 'random vda ok' || { echo "$dev: $(tail -n 1 "$con")"; return 1; }
		! grep -a 'guest: random vda [be]' "$con" || return 1
	done
}

# How many blocks of a slice were populated, by the trace: each counts once, as it
# depends on the speed of the machine how many are live at a time.
blocks_of() {
	first=$(($(cat /sys/bus/dax/devices/"$1"/resource) >> 12))
	while read -r pfn; do
		[ $((pfn)) -lt $first ] || [ $((pfn)) -ge $((first + (ram << 8))) ] || echo
	done <$tmp/pfns | grep -c ''
}

# Of 160 in 320 MiB. The buffer of a dd would be one, or two.
all_over_the_memory() {
	sed -n 's/.*transient_memmap_populate: pfn=\([^ ]*\) .*/\1/p' $trace/trace | sort -u >$tmp/pfns
	for dev in $slices; do
		blocks=$(blocks_of "$dev")
		pool=/sys/bus/dax/devices/$dev/transient
		echo "# $dev: $blocks blocks populated, $(cat "$pool/populated") times in all, $(cat "$pool/peak") at most at a time"
		[ "$blocks" -ge 128 ] || { echo "$dev: $blocks blocks"; return 1; }
	done
}

host_stays_flat() {
	had=$(host_kib MemAvailable)
	most=0
	for second in $(seq 20); do
		sleep 1
		[ "$(memmap_kib)" -le "$most" ] || most=$(memmap_kib)
	done
	has=$(host_kib MemAvailable)
	echo "# in $second s: at most $most KiB of memmap; $had KiB of RAM available, then $has"
	# All 256 blocks of each guest
	[ "$most" -gt 0 ] && [ "$most" -le $((3 * 256 * 4)) ] && [ "$has" -gt $((had - 32768)) ]
}

# The OOM killer ends the one that takes all, and the guests do not notice. It locks the
# programs that run: to read them again and again by 9p would go on for minutes.
out_of_memory() {
	cat /proc/[0-9]*/maps 2>/dev/null | sed -n 's|.* \(/usr/.*\)|\1|p' | sort -u >$tmp/files
	# shellcheck disable=SC2046	# Words.
	python3 -c 'import mmap, os, sys
open("/proc/self/comm", "w").write("hog")
open("/proc/self/oom_score_adj", "w").write("1000")
MAP_LOCKED = 0x2000
hoard = [mmap.mmap(os.open(name, os.O_RDONLY), 0, mmap.MAP_PRIVATE | MAP_LOCKED, mmap.PROT_READ) for name in sys.argv[1:]]
while True: hoard.append(mmap.mmap(-1, 16 << 20, mmap.MAP_PRIVATE | mmap.MAP_POPULATE))' $(cat $tmp/files) &
	hog=$!
	kills=$(vmstat oom_kill)
	within 240 hog_is_gone || { kill -9 "$hog"; echo "it has what it wants"; return 1; }
	status=0
	wait "$hog" || status=$?
	kills=$(($(vmstat oom_kill) - kills))
	echo "# the hog: status $status, $kills kills for want of memory"
	[ "$status $kills" = '137 1' ] || { echo "it was not killed for want of memory"; return 1; }
	all_go_on
}
hog_is_gone() { ! running "$hog"; }

all_off() {
	# shellcheck disable=SC2086	# A list.
	kill -9 $back 2>/dev/null || :
	for dev in $slices; do
		dax_dev=/sys/bus/dax/devices/$dev
		no_blocks || return 1
	done
}

part_tib() {
	ktap_check 'tib: a static memmap does not fit' static_does_not_fit
	rest=0
	ktap_check 'tib: split by daxctl' splits
	mount -t tracefs tracefs $trace
	echo 1 >$trace/events/transient_memmap/transient_memmap_populate/enable
	three_guests
	ktap_check 'tib: three guests do I/O' all_go_on
	echo 0 >$trace/events/transient_memmap/transient_memmap_populate/enable
	ktap_check 'tib: at random addresses of all their memory' all_over_the_memory
	ktap_check 'tib: the memory of the host stays flat' host_stays_flat
	ktap_check 'tib: out of memory' out_of_memory
	ktap_check 'tib: nothing is left when they are killed' all_off
	for dev in $slices; do
		echo "$dev" >$dax_drv/unbind
	done
	dax_dev=/sys/bus/dax/devices/dax0.0
}

# Except of the guest that had to crash.
guests_complain() {
	complained=1
	for log in "$tmp"/*.console.log; do
		[ "${log##*/}" != drills.console.log ] || continue
		"$tools/vm/console-check.sh" "$log" || complained=0
	done
	return $complained
}
guests_are_content() { ! guests_complain; }

# So that the first guest does not wait for the share of 9p.
cat "$(command -v qemu-system-x86_64)" "$IMAGE" >/dev/null
qemu-system-x86_64 -version >/dev/null

plan=2
[ "$ACCEL" = kvm ] && io=9 || io=8
for part in $(echo "$parts" | tr , ' '); do
	case $part in
	boot) plan=$((plan + 11)) ;;
	transient) plan=$((plan + io + 1)) ;;
	static) plan=$((plan + io)) ;;
	drills) plan=$((plan + 11)) ;;
	tib) plan=$((plan + 7)) ;;
	unbind) plan=$((plan + 5)) ;;
	*) echo "${0##*/}: no part $part" >&2; exit 2 ;;
	esac
done
ktap_plan $plan
dax_unbind
unbound=$(vmstat nr_memmap_pages)
mkfifo $tmp/open
mount -t configfs configfs /sys/kernel/config
for disk in guest0 guest1 guest2; do
	disk_make $disk
done
disk_make slow 1000000000
tap_make
target_make
for part in $(echo "$parts" | tr , ' '); do
	case $part in
	transient | static) part_io "$part" ;;
	*) "part_$part" ;;
	esac
	echo "# $(now | sed 's/..$//') s"
done
ktap_check 'no complaint in the log of a guest' guests_are_content
ktap_check 'nr_memmap_pages is where it was' unbinds
! grep -q '^not ok' /run/out/stdout
