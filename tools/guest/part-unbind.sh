# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154	# Variables of lib.sh and machine.sh
# Part unbind: the device is unbound under a guest that does I/O.

part_unbind() {
	step bind transient
	step start_prealloc
	check 'prealloc=on' prealloc_works
	step end
	# shellcheck disable=SC2086	# A list
	step start unbind $slow_disk
	check 'the device under a guest' unbound_under_it
	step end_unbind
	check 'QEMU gets SIGBUS or stops the guest' was_told
	check 'nothing is left' unbinds
	step bind transient
	check 'it can be bound again' no_blocks
	step dax_unbind
}

start_prealloc() {
	backend=,prealloc=on
	start prealloc -S
	backend=''
}

prealloc_works() {
	patiently 90 monitor_hears 'info status' 'VM status: paused' || { tail -n 1 "$err"; return 1; }
	nothing_populated
}

unbound_under_it() {
	is_up || return 1
	order io vda 2
	patiently 90 in_flight || { echo "nothing is in flight"; return 1; }
	begun=$(now)
	dax_unbind &
	patiently 20 ended $! || { echo "unbind hangs"; return 1; }
	echo "# unbound after $((($(now) - begun) * 10)) ms, with requests in flight of $slow_ms ms at most"
}

stopped() { grep -q 'kvm run failed Bad address' "$err"; }
ended_or_stopped() { ended "$qemu" || stopped; }

end_unbind() {
	patiently 20 ended_or_stopped || :
	end
}

# The status is 135 after SIGBUS. It is 137 if end() had to kill QEMU.
was_told() {
	echo "# QEMU: status $status $(head -n 1 "$err")"
	[ "$status" = 135 ] || stopped
}
