# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154	# Variables of lib.sh and machine.sh
# Part assigned: a device of the machine is assigned to a guest by VFIO, and does DMA
# from and to the guest's memory.

part_assigned() {
	step bind transient
	step start_assigned
	check 'a guest with a device' is_up
	check 'the device does DMA' ask 60 edu
	check 'its memory is held, nothing is populated' all_is_held
	step begin_unbind
	check 'unbind waits for QEMU' unbind_waits
	step end
	check 'and no longer' unbind_ended
	step edu_give_back
	check 'it can be bound again' bound_anew
	step dax_unbind
}

start_assigned() {
	edu=$(grep -l 'PCI_ID=1234:11E8' /sys/bus/pci/devices/*/uevent)
	edu=${edu%/uevent}
	echo vfio-pci >"$edu/driver_override"
	echo "${edu##*/}" >/sys/bus/pci/drivers_probe
	start assigned -device vfio-pci,host="${edu##*/}"
}

edu_give_back() {
	echo "${edu##*/}" >"$edu/driver/unbind"
	echo >"$edu/driver_override"
}

# With some devices, a PC has holes below 1 MiB, which QEMU does not map.
all_is_held() {
	held=$(dax_pool held)
	echo "# $held of $((ram * 256)) pages held"
	[ "$held" -gt $(((ram - 1) * 256)) ] || return 1
	nothing_populated
}

# The guest is stopped before, because it dies when it finds its memory gone, and QEMU
# may die with it.
begin_unbind() {
	monitor stop || :
	dax_unbind &
	unbinding=$!
}

# The writer sleeps in state I, idle, while it waits.
unbind_sleeps() { grep -q ') I ' "/proc/$unbinding/stat"; }
unbind_waits() {
	patiently 20 unbind_sleeps || { echo "it does not wait"; return 1; }
	running "$qemu" || { echo "QEMU died: $(tail -n 1 "$err")"; return 1; }
}

unbind_ended() {
	patiently 20 ended "$unbinding" || { echo "unbind hangs"; return 1; }
	[ ! -e "$dax_dev/driver" ] || { echo "it is still bound"; return 1; }
}

bound_anew() {
	bind transient
	[ "$(dax_pool held)" = 0 ] && nothing_populated
}
