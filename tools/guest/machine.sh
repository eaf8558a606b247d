#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# guest.sh runs this in the virtual machine: guests of QEMU and KVM on dax0.0.
#   usage: machine.sh PART[,PART...]
# It writes KTAP to stdout and figures to /run/out/figures.
#
# A failure means: a VMM that knows nothing of transient struct pages cannot run a guest
# on them, the guest loses data, or blocks or a hung host are left when the VMM dies.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
mkdir /tmp/guest
cd /tmp/guest
figures=/run/out/figures
: >$figures

# All parts share these.
ram=512		# MiB of a guest
cpu=1		# of the machine, which a guest has to itself
patience=3	# multiplies limits in seconds, for a machine with other load
# A check needs one round of little data; the table needs the median of more rounds.
case $ROUNDS in
1) disk_mib=4 net_mib=1 random_mib=1 ;;
*) disk_mib=16 net_mib=4 random_mib=2 ;;
esac
# Without KVM, a guest is slow, the machine has one CPU, and nothing disturbs its clock.
[ "$ACCEL" = kvm ] || { cpu=0; patience=10; }
memory=''	# what dax0.0 is bound as
qemu=''		# the guest's process
back=''		# other processes in the background

# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"
# shellcheck source=tools/guest/lib.sh
. "$tools/guest/lib.sh"
# shellcheck source=tools/guest/part-boot.sh
. "$tools/guest/part-boot.sh"
# shellcheck source=tools/guest/part-io.sh
. "$tools/guest/part-io.sh"
# shellcheck source=tools/guest/part-drills.sh
. "$tools/guest/part-drills.sh"
# shellcheck source=tools/guest/part-unbind.sh
. "$tools/guest/part-unbind.sh"
# shellcheck source=tools/guest/part-assigned.sh
. "$tools/guest/part-assigned.sh"
# shellcheck source=tools/guest/part-kexec.sh
. "$tools/guest/part-kexec.sh"
# shellcheck source=tools/guest/part-backend.sh
. "$tools/guest/part-backend.sh"
# shellcheck source=tools/guest/part-memerr.sh
. "$tools/guest/part-memerr.sh"
# shellcheck source=tools/guest/part-libvirt.sh
. "$tools/guest/part-libvirt.sh"
# shellcheck source=tools/guest/part-balloon.sh
. "$tools/guest/part-balloon.sh"
# shellcheck source=tools/guest/part-tib.sh
. "$tools/guest/part-tib.sh"

# A part is a function that lists its steps and checks, in their order:
#   check NAME COMMAND...   a result of the test; the command runs in a subshell
#   step COMMAND...         something to be done in between, in this shell
# The list is complete before anything runs, and its checks are the plan.
check() {
	entry=${part:+$part: }$1
	shift
	echo "$entry|$*" >>list
}
step() { echo "|$*" >>list; }

list_all() {
	for part in $(echo "$1" | tr , ' '); do
		case $part in
		transient | guestramfs | static) part_io "$part" ;;
		boot | drills | unbind | assigned | backend | memerr) "part_$part" ;;
		kexec | libvirt | balloon | tib) "part_$part" ;;
		*) echo "${0##*/}: no part $part" >&2; exit 2 ;;
		esac
		step took "$part"
	done
	part=''
	check 'no complaint in the log of a guest' guests_are_content
	check 'nr_memmap_pages is where it was' unbinds
}

run_all() {
	while IFS='|' read -r entry command <&3; do
		# shellcheck disable=SC2086	# The command's words
		if [ -n "$entry" ]; then
			ktap_check "$entry" $command
		else
			$command
		fi
	done 3<list
}

took() {
	echo "# $1: $((($(now) - since) / 100)) s"
	since=$(now)
}

set_up() {
	# This reads QEMU ahead, so that a guest need not wait for it to come through
	# 9p.
	cat "$(command -v qemu-system-x86_64)" "$IMAGE" >/dev/null
	qemu-system-x86_64 -version >/dev/null
	dax_unbind
	unbound=$(vmstat nr_memmap_pages)
	mkfifo open
	mount -t configfs configfs /sys/kernel/config
	for disk in guest0 guest1 guest2; do
		disk_make $disk
	done
	disk_make slow $slow_ms
	tap_make
	target_make
}

# The guests of the drills and of memory errors crash on purpose, so their logs do not
# count.
guests_are_content() {
	complaints=0
	for log in *.console.log; do
		case $log in drills.* | memerr.*) continue ;; esac
		"$tools/vm/console-check.sh" "$log" || complaints=1
	done
	return $complaints
}

# shellcheck disable=SC2317
clean_up() {
	for pid in $qemu $back; do
		kill -9 "$pid" 2>/dev/null || :
	done
	# QEMU writes a line each time that vhost-scsi tries again.
	for log in *.log; do
		uniq "$log" | head -n 500 >"/run/out/$log"
	done
}
trap clean_up EXIT

part='' since=0
list_all "$1"
case " $(cat /proc/cmdline) " in
*' vm.next=1 '*)
	# The kernel before this one has done the first part of the list.
	sed -i '1,/^|into_the_next_kernel$/d' list
	cat /run/out/before
	ktap_nr=$(grep -cE '^(not )?ok ' /run/out/before)
	;;
*) ktap_plan "$(grep -c '^[^|]' list)" ;;
esac
set_up
took 'set up'
run_all
! grep -q '^not ok' /run/out/stdout
