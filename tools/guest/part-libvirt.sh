# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034,SC2154	# Variables of lib.sh and machine.sh
# Part libvirt: domains of an unmodified libvirt have their memory in files of
# guestramfs, because memory_backing_dir is a directory of its mount.
#
# A failure means: an operator who uses libvirt cannot start, save or stop a guest on
# such memory, or memory stays in use when the guest has gone.

part_libvirt() {
	step start_libvirt
	libvirt 'a domain is defined and starts' domain_starts one guest0
	libvirt 'the guide has all that was typed so far' is_in_guide
	libvirt 'its memory is a file of the mount' has_file one
	libvirt 'direct I/O' domain_io one guest0
	libvirt 'suspend and resume' suspends one
	libvirt 'save' saves one
	libvirt 'the file of a saved domain has gone' has_gone one
	libvirt 'restore' restores one
	libvirt 'direct I/O of the restored domain' domain_io one guest0
	libvirt 'a second domain' domain_starts two guest1
	libvirt 'direct I/O of the second' domain_io two guest1
	libvirt 'a third does not fit: no space left' does_not_fit three guest2
	libvirt 'the first goes on' kept_by one
	libvirt 'QEMU is killed' is_killed two
	libvirt 'the file of a killed domain has gone' has_gone two
	libvirt 'now the third fits' domain_starts three guest2
	libvirt 'and powers off' powers_off three
	libvirt 'destroy in the midst of I/O' is_destroyed one guest0
	libvirt 'no file is left' no_file_left
	libvirt 'no block is left' no_blocks
	libvirt 'unmount' unmounts
	step stop_libvirt
}

# libvirt NAME COMMAND...: a check that is skipped if libvirt or the file system is
# absent.
libvirt() {
	entry=$1
	shift
	check "$entry" if_there "$@"
}
if_there() {
	[ -z "$absent" ] || { echo "$absent"; return 4; }
	"$@"
}

guests_mib=$((2 * ram + ram / 2))	# room for two and a half
export LIBVIRT_DEFAULT_URI=qemu:///system

# Without systemd and udev, this does what they and the package libvirt-daemon-system
# do: there is a user libvirt-qemu, /dev/kvm belongs to a group, the daemon runs.
start_libvirt() {
	what_is_absent
	[ -z "$absent" ] || return 0
	cp "$IMAGE" image
	cp "$INITRAMFS" initramfs
	add_user
	chown root:kvm /dev/kvm
	chmod 660 /dev/kvm
	[ -e /var/run ] || ln -s /run /var/run
	mount -t tmpfs tmpfs /etc/libvirt
	cat >/etc/libvirt/qemu.conf <<-CONF
		security_driver = "none"
		stdio_handler = "file"
	CONF
	set_memory_up >&2
	$daemon >/run/out/libvirt.log 2>&1 &
	libvirt_pid=$!
	back="$back $libvirt_pid"
	patiently 60 virsh -q uri >uri.log 2>&1 || :
}

# The device is as it was at boot, with dax.memmap=transient. From there, the guide tells
# what to type.
set_memory_up() {
	echo dax0.0 >"$dax_drv/bind"
	[ ! -e "$guests" ] || rmdir "$guests"
	: >transcript
	typed 'echo dax0.0 > /sys/bus/dax/drivers/device_dax/unbind'
	typed 'echo dax0.0 > /sys/bus/dax/drivers/guestramfs/new_id'
	memory=guestramfs
	rest=$(memmap_kib)
	typed mkdir "$guests"
	typed mount -t guestramfs -o mode=0770,gid=kvm dax0.0 "$guests"
	typed "echo 'memory_backing_dir = \"$guests\"' >> /etc/libvirt/qemu.conf"
	typed df -h "$guests"
}

guide=$tools/../Documentation/filesystems/guestramfs.rst
is_in_guide() {
	sed -n -e 's/ one\(\.xml\)*$/ guest\1/' -e 's/^# /  /p' transcript >typed
	rc=0
	grep -vxF -f "$guide" typed || rc=$?
	[ $rc = 1 ]
}

what_is_absent() {
	absent='' daemon=''
	for name in virtqemud libvirtd; do
		[ -n "$daemon" ] || daemon=$(command -v $name) || :
	done
	[ -n "$daemon" ] || absent='no virtqemud and no libvirtd (Debian: libvirt-daemon)'
	command -v virsh >/dev/null || absent='no virsh (Debian: libvirt-clients)'
	[ -e "$guests_drv" ] || absent='the kernel has no guestramfs'
}

# libvirt wants a user of this name, even if another is configured.
add_user() {
	! getent passwd libvirt-qemu >/dev/null || return 0
	getent group kvm >/dev/null || echo 'kvm:x:64054:' >group
	cat /etc/group >>group
	echo 'libvirt-qemu:x:64055:' >>group
	kvm=$(sed -n 's/^kvm:[^:]*:\([0-9]*\):.*/\1/p' group)
	cat /etc/passwd >passwd
	echo "libvirt-qemu:x:64055:$kvm::/:/usr/sbin/nologin" >>passwd
	mount --bind group /etc/group
	mount --bind passwd /etc/passwd
}

stop_libvirt() {
	[ -z "$absent" ] || return 0
	kill "$libvirt_pid"
	wait "$libvirt_pid" || :
	cp transcript /run/out/transcript
	for log in /var/log/libvirt/qemu/*.log; do
		[ ! -e "$log" ] || cp "$log" "${log##*/}.qemu.log"
	done
}

# typed COMMAND...: run it as a line of shell, note it and what it says in the transcript,
# and print the latter. The status is the command's.
typed() {
	rc=0
	eval "$*" >typed.out 2>&1 || rc=$?
	{ echo "# $*"; sed '/^$/d' typed.out; } >>transcript
	cat typed.out
	return $rc
}

# What start() of lib.sh says of the guest's CPU and of doorbells holds here as well.
# The rest is what any domain has.
define() {
	! virsh -q domstate "$1" >state.log 2>&1 || return 0
	cat >"$1.xml" <<-XML
		<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
		  <name>$1</name>
		  <memory unit='MiB'>$ram</memory>
		  <memoryBacking>
		    <source type='file'/>
		    <access mode='shared'/>
		  </memoryBacking>
		  <vcpu cpuset='$cpu'>1</vcpu>
		  <os>
		    <type arch='x86_64' machine='q35'>hvm</type>
		    <kernel>$PWD/image</kernel>
		    <initrd>$PWD/initramfs</initrd>
		    <cmdline>$guest_cmdline</cmdline>
		  </os>
		  <features><acpi/></features>
		  <cpu mode='custom' match='exact' check='none'><model>qemu64</model></cpu>
		  <devices>
		    <emulator>$(command -v qemu-system-x86_64)</emulator>
		    <disk type='block' device='disk'>
		      <driver name='qemu' type='raw' cache='none' io='native'/>
		      <source dev='/dev/$2'/>
		      <target dev='vda' bus='virtio'/>
		    </disk>
		    <controller type='usb' model='none'/>
		    <serial type='pipe'><source path='$PWD/$1'/></serial>
		    <memballoon model='none'/>
		  </devices>
		  <qemu:commandline>
		    <qemu:arg value='-global'/>
		    <qemu:arg value='virtio-pci.modern-pio-notify=on'/>
		  </qemu:commandline>
		</domain>
	XML
	typed virsh define "$1.xml"
}

# console NAME: what QEMU reads and writes as the guest's serial line.
console() {
	rm -f silent
	guest "$1"
	[ ! -e "$1.in" ] || return 0
	: >"$mon"
	mkfifo "$1.in" "$1.out"
	ln -s "$1.in" "$fifo.con"
	echo 0 >"$fifo.mark"
	# It must not end when QEMU does.
	cat <>"$1.out" >"$con" 2>"$err" &
	echo $! >>cats
}

# these NAME: the functions of lib.sh are about this domain from now on.
these() {
	state_is "$1" running || return 1
	cat "/run/libvirt/qemu/$1.pid" >"$1.pid" 2>/dev/null || :
	guest "$1"
}

file_of() { echo "$guests"/libvirt/qemu/*-"$1"/pc.ram; }

domain_starts() {
	console "$1"
	define "$1" "$2" || return 1
	mark
	typed virsh start "$1" || { log_of "$1"; return 1; }
	these "$1" || return 1
	answer 120 up || return 1
	ask 60 keep 4
}
log_of() { tail -n 2 "/var/log/libvirt/qemu/$1.log"; }

# Its blocks are used once they are reserved, whether or not the guest has touched them.
has_file() {
	file=$(file_of "$1")
	typed ls -ls "$file"
	typed df -h "$guests"
	[ "$(stat -c %s "$file")" = $((ram << 20)) ] || { echo "size $(stat -c %s "$file")"; return 1; }
	[ "$(stat -c %b "$file")" = $((ram << 11)) ] || { echo "$(stat -c %b "$file") blocks"; return 1; }
	[ "$(guests_used)" = $((ram / 2)) ] || { echo "$(guests_used) blocks used"; return 1; }
}

# The guest writes and reads, and the machine reads the same bytes. What takes longer is
# done by part guestramfs, with a guest that libvirt has no part in.
domain_io() {
	these "$1" || return 1
	populates disk_round vda "$2"
}

state_is() {
	state=$(virsh -q domstate "$1" 2>&1) || :
	[ "$state" = "$2" ] || { echo "it is not $2: $state"; return 1; }
}

suspends() {
	these "$1" || return 1
	typed virsh suspend "$1" && state_is "$1" paused || return 1
	order ram
	typed virsh resume "$1" && state_is "$1" running || return 1
	answer 60 ram
}

# virsh migrate wants a host. To save a domain is libvirt's migration to a file: QEMU
# migrates to a descriptor that libvirt has opened.
saves() {
	typed virsh save "$1" "$1.state" || return 1
	state_is "$1" 'shut off' || return 1
	typed ls -ls "$1.state"
}

gone() { [ ! -e "$(file_of "$1")" ]; }

has_gone() {
	others=$(virsh -q list --name | grep -c .) || :
	others=$((others * ram / 2))
	patiently 10 gone "$1" || { echo "$(file_of "$1") is still there"; return 1; }
	patiently 10 unused $others || { echo "$(guests_used) blocks are used, not $others"; return 1; }
	typed df -h "$guests"
}

restores() {
	typed virsh restore "$1.state" || { log_of "$1"; return 1; }
	rm "$1.state"
	kept_by "$1"
}

kept_by() {
	these "$1" || return 1
	ask 60 kept
}

# The mount is made smaller, so that half of the third would fit. Nothing of it stays.
does_not_fit() {
	console "$1"
	define "$1" "$2" || return 1
	typed mount -o "remount,size=${guests_mib}M" "$guests" || return 1
	used=$(guests_used)
	if typed virsh start "$1"; then
		echo 'it starts'
		return 1
	fi
	grep -q 'No space left on device' typed.out || return 1
	typed df -h "$guests"
	patiently 10 gone "$1" || { echo 'its file is still there'; return 1; }
	patiently 10 unused "$used" || { echo "$(guests_used) blocks are used, not $used"; return 1; }
}

is_killed() {
	these "$1" || return 1
	typed kill -9 "$qemu"
	patiently 10 state_is "$1" 'shut off'
}

powers_off() {
	these "$1" || return 1
	order off
	patiently 60 state_is "$1" 'shut off' || return 1
	typed virsh domstate "$1"
}

is_destroyed() {
	these "$1" || return 1
	order io vda 4
	answer 120 'io vda ok' || return 1
	typed virsh destroy "$1" && state_is "$1" 'shut off' && has_gone "$1"
}

no_file_left() {
	files=$(find "$guests" -type f)
	[ -z "$files" ] || { echo "$files"; return 1; }
	for name in one two three; do
		typed virsh undefine $name || return 1
	done
	typed df -h "$guests"
}

unmounts() {
	xargs kill <cats || :
	umount "$guests"
}
