# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154	# Variables are shared with machine.sh and the parts.
# machine.sh sources this. It has the disks, the tap and the SCSI target that the
# machine provides for a guest, and the guest itself, from its start to its end.

nullb=/sys/kernel/config/nullb
target=/sys/kernel/config/target
tpg=$target/vhost/naa.5001405000000001/tpgt_1

# disk_make NAME [MS]: make a disk /dev/NAME. With MS, each of its requests takes that
# long.
slow_ms=1000
disk_make() {
	mkdir $nullb/"$1"
	if [ -n "${2:-}" ]; then
		echo 2 >$nullb/"$1"/irqmode
		echo $(($2 * 1000000)) >$nullb/"$1"/completion_nsec
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

# These are QEMU's options for the devices above.

# disk NAME AIO: print the options of a virtio disk on /dev/NAME.
disk() {
	echo "-drive file=/dev/$1,if=none,id=$1,format=raw,cache=none,aio=$2 -device virtio-blk-pci,drive=$1"
}
slow_disk=$(disk slow native)
all_devices="$(disk guest0 native) $(disk guest1 io_uring)
	-netdev tap,id=n,ifname=tap0,script=no,downscript=no,vhost=on
	-device virtio-net-pci,netdev=n,romfile=,mac=52:54:00:00:07:02
	-device vhost-scsi-pci,wwpn=naa.5001405000000001"

# patiently SECONDS COMMAND...: like within, with more seconds where the machine may be
# slow.
patiently() {
	seconds=$(($1 * patience))
	shift
	within $seconds "$@"
}

# running PID: a process that is a zombie has ended.
running() { case $(sed 's/.*) //' /proc/"$1"/stat 2>/dev/null) in '' | Z*) return 1 ;; esac; }
ended() { ! running "$1"; }

# guest NAME: the functions below are about this guest.
guest() {
	name=$1
	con=$name.console.log
	mon=$name.monitor.log
	err=$name.qemu.log
	fifo=$name
	qemu=$(cat "$fifo.pid" 2>/dev/null) || :
}

# This is the command line of a guest's kernel.
#   - no_timer_check: when this machine gets little of its host's time, the kernel takes
#     its timer for broken and panics.
guest_cmdline='console=ttyS0 loglevel=5 panic=-1 no_timer_check 8250.nr_uarts=1 pty.legacy_count=0 null_blk.nr_devices=0 scsi_debug.add_host=0'

# start NAME [OPTION ...]: start a guest, with these additional options of QEMU.
#   - It has a CPU of the machine to itself, and its own CPU has no XSAVE: otherwise its
#     kernel does not always survive TCG's emulation of SVM, on any memory.
#   - The doorbells of its devices are I/O ports. When KVM has to emulate an access to a
#     device's memory while TCG's SVM says that an interrupt is being delivered, it gives
#     up (internal error 3), and QEMU stops the guest. SeaBIOS would hang at a disk with
#     such a doorbell, so strict=on keeps it away from disks that it is not to boot from.
start() {
	rm -f silent "$1".*
	guest "$1"
	shift
	mkfifo "$fifo.con" "$fifo.in" "$fifo.out"
	cat "$fifo.out" >"$mon" &
	back="$back $!"
	echo 0 >"$fifo.mark"
	started=$(now)
	taskset -c "$cpu" qemu-system-x86_64 \
		-object memory-backend-file,id=mem,mem-path="$DAX,share=on,align=2M,size=${ram}M${backend:-}" \
		-machine q35,memory-backend=mem -m "$ram" -accel "$ACCEL" -cpu qemu64 -smp 1 \
		-nodefaults -no-user-config -display none \
		-boot strict=on -global virtio-pci.modern-pio-notify=on \
		-kernel "$IMAGE" -initrd "$INITRAMFS" \
		-append "$guest_cmdline ${job:-}" \
		-serial stdio -monitor pipe:"$fifo" "$@" <>"$fifo.con" >"$con" 2>"$err" &
	qemu=$!
	echo "$qemu" >"$fifo.pid"
}

# The guest says "guest: JOB ..." on its console. Only what it says after the mark
# counts.
mark() { grep -c '' "$con" >"$fifo.mark" || :; }
since_mark() { tail -n +$(($(cat "$fifo.mark") + 1)) "$con" | tr -d '\r' | grep -aE "^guest: $1"; }
# said TIMES PATTERN: the guest has said so at least so many times since the mark.
said() { [ "$(since_mark "$2" | grep -c '')" -ge "$1" ]; }

# answer SECONDS PATTERN: print the first such line since the mark, or why there is
# none. A guest that was silent once is hardly waited for again.
answer() {
	limit=$1
	[ ! -e silent ] || limit=1
	patiently "$limit" said 1 "$2" ||
		{ lost "$2"; echo "no \"$2\": $(tail -n 1 "$con" "$err" | tr '\n' ' ')"; return 1; }
	since_mark "$2" | head -n 1
}

# The FIFO is opened for reading too, because otherwise this would wait when QEMU is
# dead.
order() { mark; echo "$*" 1<>"$fifo.con"; }

# ask SECONDS JOB...: print the guest's line about the job. This is true if the line
# says "ok".
ask() {
	limit=$1
	shift
	order "$@"
	line=$(answer "$limit" "$1 ") || { echo "$line"; return 1; }
	echo "$line"
	case $line in *" ok"*) ;; *) return 1 ;; esac
}

# same SENT RECEIVED OUT IN: the guest's sums are those of these files of the machine.
same() {
	sum=$(md5sum <"$3")
	[ "${sum%% *}" = "$1" ] || { echo "the host got something else"; return 1; }
	sum=$(md5sum <"$4")
	[ "${sum%% *}" = "$2" ] || { echo "the guest got something else"; return 1; }
}

value() { echo "$1" | tr ' ' '\n' | sed -n "s/^$2=//p"; }

# monitor COMMAND: return when QEMU's next prompt is there. It is a subshell, because
# the caller may be inside of within.
prompts() { [ "$(grep -ac '^(qemu)' "$mon")" -ge "$1" ] || ended "$qemu"; }
monitor() (
	patiently 20 prompts 1 || { echo "the monitor has no prompt"; return 1; }
	had=$(grep -ac '^(qemu)' "$mon")
	echo "$*" 1<>"$fifo.in"
	patiently 20 prompts $((had + 1)) || { echo "the monitor does not answer \"$*\""; return 1; }
)

# monitor_hears COMMAND WORDS: true if QEMU's answer has the words.
monitor_hears() {
	asked=$(grep -c '' "$mon" || :)
	monitor "$1" && tail -n +$((asked + 1)) "$mon" | grep -aq "$2"
}

# lost PATTERN: the emulator, and no test, has lost the guest if this is the first
# failure, the guest has long said nothing at all, and nothing is pinned that its I/O
# could wait for. In this case, guest.sh tries again.
lost() {
	[ ! -e silent ] || return 0
	: >silent
	if ended "$qemu" || grep -q '^not ok' /run/out/stdout ||
		[ $(($(date +%s) - $(stat -c %Y "$con"))) -lt 30 ]; then
		return 0
	fi
	[ ! -e "$dax_dev/transient" ] || [ "$(dax_pool live)" = 0 ] || return 0
	echo "$name, which does not say \"$1\"" >/run/out/lost
	whereabouts >/run/out/whereabouts 2>&1
}

# whereabouts: print what a lost guest and its QEMU are doing, and again 2 s later,
# which shows whether anything moves.
whereabouts() {
	for pause in 2 0; do
		for task in /proc/"$qemu"/task/*; do
			echo "$(cat "$task/comm") $(cut -d ' ' -f 3,14,15 "$task/stat")"
			cat "$task/stack"
		done
		for what in status registers lapic irq; do
			monitor "info $what"
		done
		sleep $pause
	done
	echo "The answers to \"info ...\" are in ${mon##*/}."
}

is_up() {
	answer 120 up || return 1
	hundredths=$(($(now) - started))
	seconds=${hundredths%??}.${hundredths#"${hundredths%??}"}
	echo "# $name: $seconds s from QEMU's start to the guest's shell"
	figure boot "$seconds"
}

# This is a step and not a check, because only the shell that started QEMU can wait for
# it.
end() {
	kill -9 "$qemu" 2>/dev/null || :
	status=0
	wait "$qemu" 2>/dev/null || status=$?
	qemu=''
}

power_off() {
	order off
	patiently 60 ended "$qemu" || :
	end
}
ended_well() { [ "$status" = 0 ] || { echo "status $status: $(tail -n 1 "$err")"; return 1; }; }

# The memory

figure() { printf '%s\t%s\t%s\n' "$memory" "$1" "$2" >>"$figures"; }

# bind static|transient [ALIGN [static|transient]]: bind the device, and note what is at
# rest, and the KiB of tables that the kernel counts for the device in addition.
# bind guestramfs [OPTIONS]: the same, and the guest's memory will be a file of a mount.
bind() {
	memory=$1
	if [ "$1" = guestramfs ]; then
		guests_mount "${2:-mode=0700}"
		DAX=$guests
	else
		dax_bind "$@"
		DAX=/dev/dax0.0
	fi
	rest=$(memmap_kib)
	tables=$(($(dax_memmap_kib) - rest))
}

unbinds() {
	! mountpoint -q "$guests" || umount "$guests"
	dax_unbind
	[ "$(memmap_kib)" = 0 ] || { echo "$(memmap_kib) KiB of memmap are left"; return 1; }
}

nothing_populated() {
	[ "$(dax_pool live) $(dax_pool populated)" = '0 0' ] ||
		{ echo "$(dax_pool live) live, $(dax_pool populated) populated"; return 1; }
}

# watch: look twice a second, and keep the most KiB of memmap so far in the file peak.
watch() {
	peak=0
	while :; do
		kib=$(memmap_kib)
		[ "$kib" -le "$peak" ] || peak=$kib
		echo "$peak" >peak
		sleep 0.5
	done
}
watch_memmap() {
	watch &
	watcher=$!
	back="$back $watcher"
}
stop_watching() { kill "$watcher"; }

# populates COMMAND...: the command has to succeed and to populate blocks. When it
# starts, no earlier block is left.
populates() {
	patiently 5 dax_no_live || { echo "$(dax_pool live) blocks are live"; return 1; }
	before=$(dax_pool populated)
	"$@" || return 1
	after=$(dax_pool populated)
	echo "# $((after - before)) blocks populated, $(dax_pool failed) refused"
	[ "$after" -gt "$before" ] || { echo "it did not populate any block"; return 1; }
}

# pin_page DEVICE OFFSET: a process, $pinner, has this page pinned, in a pipe, until it is
# killed.
pin_page() {
	rm -f pinned
	python3 -c "import ctypes, mmap, os, signal
m = mmap.mmap(os.open('$1', os.O_RDWR), $2 + 4096)
page = ctypes.addressof(ctypes.c_char.from_buffer(m, $2))
n = ctypes.CDLL(None).vmsplice(os.pipe()[1], (ctypes.c_size_t * 2)(page, 4096), ctypes.c_size_t(1), 0)
open('pinned', 'w').write('%d\\n' % n)
signal.pause()" >pinner.log 2>&1 &
	pinner=$!
	patiently 20 grep -qsx 4096 pinned ||
		{ echo "not pinned: $(tail -n 1 pinner.log)"; kill "$pinner"; return 1; }
}

# in_flight: there are blocks, and requests of the slow disk. The requests are looked at
# last and without starting a process, because they end soon.
requests() {
	read -r reads writes </sys/block/slow/inflight
	requests=$((reads + writes))
}
in_flight() { [ "$(dax_pool live)" != 0 ] && requests && [ "$requests" != 0 ]; }
