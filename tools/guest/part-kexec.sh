# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154	# Variables of lib.sh and machine.sh
# Part kexec: two guests on slices of one device outlive the kernel of their host. Their
# states go to files, without their memory; the machine boots another kernel by kexec,
# which does not touch the memory; QEMU is started on the states.

part_kexec() {
	check 'divided by daxctl' divides
	step start_two
	check 'two guests are at work' work
	check 'their states are saved, without their memory' save
	check 'a page that is pinned keeps the host from kexec' pin_refuses_kexec
	check 'no block is left' no_blocks_of_two
	step into_the_next_kernel
	check 'another kernel' is_the_next
	check 'divided otherwise: not the memory of before' refuses_another_division
	check 'divided as before' divides_again
	check 'all of their memory is as it was' memory_is_as_it_was
	check 'a guest of another size does not start' refuses_another_size
	step start_two_again
	check 'the guests go on' go_on
	step end_two
	check 'no block is left after that' no_blocks_of_two
}

# Files that outlive the kernel are here. The disk of the first guest does, too.
kept=/run/out
first=dax0.0 second=dax0.1

# The memory of the second guest is out of the direct map. daxctl does not know that.
bind_second() {
	echo $second >"$dax_drv/unbind"
	echo transient >/sys/bus/dax/devices/$second/direct_map
	echo $second >"$dax_drv/bind"
}

# Where a device is, and what else daxctl knows of it. --input takes one device, not a list.
place() { daxctl list -d "$1" -M | jq '.[0]'; }

divides() {
	dax_ctl reconfigure-device -s 2G $first &&
		dax_ctl create-device -r 0 -s 1G &&
		dax_ctl enable-device $first && bind_second || return
	for dev in $first $second; do
		place "$dev" >"$kept/$dev".json
	done
}

as_noted() { place "$1" | cmp -s - "$kept/$1".json; }

# With another size of the first, the second is not where it was, and daxctl does not mind.
refuses_another_division() {
	dax_ctl reconfigure-device -s 1G $first &&
		dax_ctl create-device -r 0 -s 1G &&
		dax_ctl enable-device $first || return
	for dev in $first $second; do
		! as_noted "$dev" || { echo "$dev is taken for the one of before"; return 1; }
		place "$dev" | tr -d ' \n' | sed 's/^/# not /; s/$/\n/'
	done
	dax_ctl disable-device $first && dax_ctl disable-device $second &&
		dax_ctl destroy-device $second
}

divides_again() {
	dax_ctl reconfigure-device -s 2G $first &&
		dax_ctl create-device --input $kept/$second.json &&
		dax_ctl enable-device $first && bind_second || return
	for dev in $first $second; do
		as_noted "$dev" || { place "$dev" | tr -d ' \n'; return 1; }
	done
}

start_two() {
	slice $first
	# shellcheck disable=SC2046	# A list
	start $first $(disk vda native)
	back="$back $qemu"
	slice $second
	start $second
	back="$back $qemu"
}

# The first guest counts rounds on its disk, and both keep data in their memory.
work() {
	for dev in $second $first; do
		slice "$dev"
		answer 240 up >/dev/null && ask 60 keep 16 >/dev/null || return
	done
	order io vda 2
	answer 120 'io vda ok round=2' || return
}

last_round() { since_mark 'io vda ok' | tail -n 1 | sed 's/.*round=//'; }

save() {
	date +%s >$kept/paused
	for dev in $first $second; do
		slice "$dev"
		monitor stop
		monitor migrate_set_capability x-ignore-shared on
		monitor "migrate -d \"exec:cat >$kept/$dev.state\""
		patiently 60 monitor_hears 'info migrate' 'Migration status: completed' ||
			{ echo "it does not complete: $(tail -n 1 "$mon")"; return 1; }
		kib=$(($(stat -c %s "$kept/$dev".state) >> 10))
		echo "# $dev: $kib KiB of state, of a guest of $ram MiB"
		[ $kib -lt 4096 ] || return 1
		kill -9 "$qemu"
	done
	sums >$kept/sums || return
	slice $first
	last_round >$kept/rounds
	echo "# $(cat $kept/rounds) rounds on the disk"
}

# The memory of both, the bytes that no guest has included
sums() {
	for dev in $first $second; do
		python3 -c "import mmap, os, sys, zlib
fd = os.open('/dev/$dev', os.O_RDWR)
m = mmap.mmap(fd, int(open('/sys/bus/dax/devices/$dev/size').read()))
s = 0
for i in range(0, len(m), 1 << 20): s = zlib.adler32(m[i:i + (1 << 20)], s)
print('$dev', s)" || return
	done
}

# What the guide lets kexec -e depend on. It names what is pinned.
may_kexec() {
	condition=$(sed -n 's/^ *\(! grep .*\) && kexec -e$/\1/p' \
		"$tools/../Documentation/admin-guide/mm/transient_memmap.rst")
	[ -n "$condition" ] && eval "$condition"
}

# The page could be one that a disk is still to write to.
pin_refuses_kexec() {
	pin_page /dev/$second 4096 || return
	refused=0
	! may_kexec >refused || refused=1
	kill "$pinner"
	sed 's/^/# /' refused
	grep -qx "/sys/bus/dax/devices/$second/transient/stats:live 1" refused || refused=1
	[ $refused = 0 ] || { echo 'it is not refused for that reason'; return 1; }
}

no_blocks_of_two() {
	for dev in $first $second; do
		slice "$dev"
		patiently 5 dax_no_live || { echo "$dev: $(dax_pool live) blocks are live"; return 1; }
	done
	slice $first
}

into_the_next_kernel() {
	read -r args </proc/cmdline
	uname -r >$kept/kernel
	if ! grep -q '^not ok' /run/out/stdout; then
		cp /run/out/stdout $kept/before
		# The last vm.modules= counts.
		args="$args vm.next=1 vm.modules=${NEXT%/arch/*}/root"
		may_kexec && kexec -s -l "$NEXT" --command-line="$args" && kexec -e
	fi
	echo "Bail out! no kexec"
	exit 1
}

is_the_next() {
	echo "# $(cat $kept/kernel), then $(uname -r)"
	[ "$(uname -r)" != "$(cat $kept/kernel)" ]
}

memory_is_as_it_was() { sums >sums.now && cmp sums.now "$kept/sums"; }

# restore NAME OPTION...: start a guest on its state.
restore() {
	slice "$1"
	shift
	start "$dev" -incoming defer "$@"
	back="$back $qemu"
	monitor migrate_set_capability x-ignore-shared on
	monitor "migrate_incoming \"exec:cat $kept/$dev.state\""
}

refuses_another_size() {
	dev=$second
	(ram=256 && restore $second) || :
	slice $second
	patiently 60 ended "$qemu" || { echo 'it runs'; kill -9 "$qemu"; return 1; }
	echo "# QEMU: $(tail -n 1 "$err")"
	memory_is_as_it_was
}

start_two_again() {
	dev=$second
	restore $second
	dev=$first
	# shellcheck disable=SC2046	# A list
	restore $first $(disk vda native)
}

go_on() {
	for dev in $first $second; do
		slice "$dev"
		patiently 120 monitor_hears 'info status' 'VM status: ' || return
		monitor cont
		ask 120 kept >/dev/null || return
		echo "# $dev goes on $(($(date +%s) - $(cat $kept/paused))) s after it was stopped"
	done
	slice $first
	answer 120 'io vda ok' >/dev/null || return
	now_at=$(last_round)
	echo "# round $now_at on the disk"
	[ "$now_at" -gt "$(cat $kept/rounds)" ] && ! grep -aqE 'guest: io vda (bad|error)' "$con"
}

end_two() {
	for dev in $first $second; do
		slice "$dev"
		end
	done
	slice $first
}
