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
	check 'no block is left' no_blocks_of_two
	step into_the_next_kernel
	check 'another kernel' is_the_next
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

# As for part tib: daxctl looks for the driver among a host's modules.
on_a_host() {
	mkdir -p "$kmod/work" "$kmod/lib/modules/$(uname -r)"
	if [ ! -e "$kmod/lib/modules/$(uname -r)/modules.dep" ]; then
		cp "${IMAGE%/arch/*}"/modules.* "$kmod/lib/modules/$(uname -r)"
		as_on_a_host depmod
	fi
	as_on_a_host "$@" >daxctl.log 2>&1 || { tail -n 1 daxctl.log; return 1; }
}

# The memory of the second guest is out of the direct map. daxctl does not know that.
bind_second() {
	echo $second >"$dax_drv/unbind"
	echo transient >/sys/bus/dax/devices/$second/direct_map
	echo $second >"$dax_drv/bind"
}

divides() {
	on_a_host daxctl reconfigure-device -s 2G $first &&
		on_a_host daxctl create-device -r 0 -s 1G &&
		on_a_host daxctl enable-device $first && bind_second || return
	for dev in $first $second; do
		# --input takes one device, not a list.
		daxctl list -d "$dev" -M | jq '.[0]' >"$kept/$dev".json
	done
}

divides_again() {
	on_a_host daxctl reconfigure-device -s 2G $first &&
		on_a_host daxctl create-device --input $kept/$second.json &&
		on_a_host daxctl enable-device $first && bind_second || return
	for dev in $first $second; do
		daxctl list -d "$dev" -M | jq '.[0]' | cmp - "$kept/$dev".json || { daxctl list -M | tr -d '\n '; return 1; }
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
		kexec -s -l "$NEXT" --command-line="$args vm.next=1" && kexec -e
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
