# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154	# Variables of lib.sh and machine.sh
# Part balloon: QEMU punches what a guest gives back out of the guest's file, and
# another guest has it. Guests give back by free page reporting, which is a feature of
# the balloon, and by virtio-mem. A device does not let QEMU punch anything out.
#
# A failure means: an operator does not get the memory that a guest has given back, or a
# guest loses what it still has in memory.

part_balloon() {
	step lacks_for_balloon
	step unless_absent start_reporting
	lends 'the file of a guest takes all of its size' takes_all
	lends 'boots' comes_up
	lends 'free page reporting: another guest has what this one never used' is_lent
	lends 'it takes back what it uses' takes_back
	lends 'and another guest has what it frees' lends_again
	lends 'disk I/O beside the other one' populates disk_round vda guest0
	step unless_absent other_goes
	lends 'disk I/O from and to all of its memory' populates random_round vda $most_mib
	lends 'it still has its data' ask 60 kept
	step unless_absent power_off
	lends 'powers off' ended_well
	lends 'its memory is free' all_free

	step unless_absent start_plug
	lends 'virtio-mem: what is not plugged takes nothing' takes_base
	lends 'balloon without free page reporting' inflates
	lends 'plug' plugs
	lends 'disk I/O from and to what is plugged' uses_plugged
	lends 'unplug' unplugs
	step unless_absent start_other
	lends 'another guest boots with that memory' other_uses_it
	lends 'the first one still has its data' plug_kept
	step unless_absent power_off_plug
	lends 'both power off' ended_well
	lends 'all memory is free' all_free
	lends 'no block is left' no_blocks
	lends 'unmount' unbinds

	step unless_absent start_refused
	lends 'a device: virtio-mem is refused' was_refused
	step unless_absent start_on_device
	lends 'a device: free page reporting is refused, and the guest goes on' goes_on
	step unless_absent power_off
	lends 'a device: powers off' ended_well
	lends 'a device: no block is left' no_blocks
	lends 'a device: can be unbound' unbinds
}

plug_mib=$((ram / 2))			# what virtio-mem can plug
lend_mib=$((ram + plug_mib))		# the size of the mount
most_mib=$((ram * 5 / 8))		# of a guest's memory, that it can use at once
balloon_mib=64
reporting='-device virtio-balloon-pci,free-page-reporting=on'

# lends NAME COMMAND...: a check that is skipped if something is absent. if_there() and
# unused() are part-libvirt.sh's.
lends() {
	entry=$1
	shift
	check "$entry" if_there "$@"
}
unless_absent() { [ -n "$absent" ] || "$@"; }

# The guest's kernel is the machine's.
lacks_for_balloon() {
	absent=''
	[ -e "$guests_drv" ] || absent='the kernel has no guestramfs'
	[ -e /sys/module/page_reporting ] || absent='the kernel has no PAGE_REPORTING'
	[ -e /sys/module/virtio_mem ] || absent='the kernel has no VIRTIO_MEM'
	qemu-system-x86_64 -device help | grep -q '"virtio-mem-pci"' ||
		absent='QEMU has no virtio-mem'
}

# fits MIB: a file of another guest gets that much memory.
fits() { truncate -s "$1M" "$guests/other" 2>fits.log; }
other_goes() { rm -f "$guests/other"; }

# room_for_none MIB: it gets nothing, and df says that there is not so much.
room_for_none() {
	if fits "$1"; then
		echo "another guest fits: $(guests_used) blocks are used"
		return 1
	fi
	other_goes
	grep -q 'No space left on device' fits.log || { cat fits.log; return 1; }
	[ "$(stat -f -c %f "$guests")" -lt $(($1 / 2)) ] || { echo 'df says otherwise'; return 1; }
}

# Free page reporting

# The guest waits, so that it has not reported anything before it is looked at.
start_reporting() {
	bind guestramfs "size=${lend_mib}M"
	# shellcheck disable=SC2046,SC2086	# Lists
	start reporting -S $reporting $(disk guest0 native)
}

takes_all() {
	patiently 90 monitor_hears 'info status' 'VM status: paused' ||
		{ tail -n 1 "$err"; return 1; }
	[ "$(guests_used)" = $((ram / 2)) ] || { echo "$(guests_used) blocks are used"; return 1; }
	room_for_none "$ram"
}

comes_up() {
	monitor cont
	answer 120 up || return 1
	ask 60 keep 4
}

# There is room for one guest and a half, so the other one fits if this one has given back
# half of its memory.
is_lent() {
	patiently 90 fits "$ram" || { echo "$(guests_used) blocks are used"; return 1; }
	echo "# of $ram MiB, the guest has $(($(guests_used) * 2 - ram))"
	ask 60 kept || return 1
	other_goes
}

# Half of its memory and the guest's kernel are more than half.
takes_back() {
	ask 240 keep $((ram / 2)) || return 1
	echo "# of $ram MiB, the guest has $(($(guests_used) * 2))"
	room_for_none "$ram" || return 1
	ask 120 kept
}

lends_again() {
	ask 60 keep 4 || return 1
	patiently 90 fits "$ram" || { echo "$(guests_used) blocks are used"; return 1; }
	echo "# of $ram MiB, the guest has $(($(guests_used) * 2 - ram))"
	ask 60 kept
}

# QEMU has unlinked the guest's file itself, but not that of virtio-mem, which has a
# name.
all_free() {
	rm -f "$guests/plug"
	files=$(find "$guests" -type f)
	[ -z "$files" ] || { echo "$files"; return 1; }
	patiently 10 unused 0 || { echo "$(guests_used) blocks are used"; return 1; }
}

# virtio-mem

# plug_device PATH: print QEMU's options.
plug_device() {
	echo "-m maxmem=$((2 * lend_mib))M
		-object memory-backend-file,id=plug,mem-path=$1,share=on,align=2M,size=${plug_mib}M
		-device virtio-mem-pci,id=vm0,memdev=plug,requested-size=0"
}

# When the files of both come to be, they take all of the mount.
start_plug() {
	job=memhp_default_state=online_movable
	# shellcheck disable=SC2046	# Lists
	start plug $(plug_device "$guests/plug") -device virtio-balloon-pci $(disk guest0 native)
	job=''
}

# plugged_file: print how many MiB of it are there.
plugged_file() { echo $(($(stat -c %b "$guests/plug") >> 11)); }

takes_base() {
	is_up || return 1
	[ "$(stat -c %s "$guests/plug")" = $((plug_mib << 20)) ] ||
		{ ls -l "$guests/plug"; return 1; }
	[ "$(plugged_file)" = 0 ] || { echo "$(plugged_file) MiB of the file are there"; return 1; }
	[ "$(guests_used)" = $((ram / 2)) ] || { echo "$(guests_used) blocks are used"; return 1; }
	fits $plug_mib || { cat fits.log; return 1; }
	other_goes
	ask 60 keep 4
}

# The guest gives its balloon 4 KiB at a time, and QEMU punches them out one by one, so no
# block goes as a whole.
inflates() {
	used=$(guests_used)
	for mib in $((ram - balloon_mib)) $ram; do
		monitor balloon "$mib"
		patiently 120 monitor_hears 'info balloon' "actual=$mib" ||
			{ echo "not $mib MiB: $(tail -n 1 "$mon")"; return 1; }
		echo "# balloon of $((ram - mib)) MiB: $(guests_used) blocks are used, before $used"
	done
	echo "# QEMU's messages: $(grep -c . "$err" || :), the first: $(head -n 1 "$err")"
	[ "$(guests_used)" -le "$used" ] || { echo 'it takes more memory'; return 1; }
	ask 60 kept
}

# plug_size MIB: return when the guest has that much plugged.
plug_size() {
	monitor qom-set vm0 requested-size "$1M"
	patiently 120 monitor_hears 'info memory-devices' " size: $(($1 << 20))" ||
		{ echo "not $1 MiB: $(grep -a ' size:' "$mon" | tail -n 1)"; return 1; }
}

guest_has() { line=$(ask 60 ram) && [ "$(value "$line" kib)" = "$1" ]; }

plugs() {
	line=$(ask 60 ram) || { echo "$line"; return 1; }
	kib=$(($(value "$line" kib) + plug_mib * 1024))
	plug_size $plug_mib || return 1
	patiently 30 guest_has $kib || { echo "not $kib KiB: $line"; return 1; }
	echo "# $line, $(plugged_file) MiB of the file are there"
}

# It uses more than it had before.
uses_plugged() {
	more=$((plug_mib / 4))
	populates random_round vda $((ram + more)) || return 1
	echo "# $(plugged_file) MiB of the file are there"
	[ "$(plugged_file)" -ge $more ] || { echo "too few"; return 1; }
	room_for_none $plug_mib
}

unplugs() {
	plug_size 0 || return 1
	patiently 10 unused $((ram / 2)) || { echo "$(guests_used) blocks are used"; return 1; }
	[ "$(plugged_file)" = 0 ] || { echo "$(plugged_file) MiB of the file are there"; return 1; }
}

start_other() {
	ram=$plug_mib
	start other
	ram=$((lend_mib - plug_mib))
}

other_uses_it() {
	is_up || return 1
	room_for_none 2 || return 1
	ask 60 fill $((plug_mib / 2))
}

plug_kept() {
	guest plug
	ask 60 kept || return 1
	populates disk_round vda guest0
}

power_off_plug() {
	bad=0
	for one in other plug; do
		guest $one
		power_off
		[ "$status" = 0 ] || bad=$status
	done
	status=$bad
}

# A device

start_refused() {
	bind transient
	# shellcheck disable=SC2046	# A list
	start refused -S $(plug_device "$DAX")
	patiently 60 ended "$qemu" || :
	end
}

cannot_punch() { grep -q 'Failed to fallocate' "$err"; }

was_refused() {
	echo "# QEMU: status $status $(tail -n 1 "$err")"
	[ "$status" = 1 ] && cannot_punch
}

start_on_device() {
	# shellcheck disable=SC2086	# A list
	start device $reporting
}

goes_on() {
	is_up || return 1
	ask 60 keep 4 || return 1
	ask 120 fill $most_mib || return 1
	patiently 60 cannot_punch || { echo 'QEMU has not tried'; return 1; }
	echo "# QEMU: $(head -n 1 "$err")"
	ask 60 kept && nothing_populated
}
