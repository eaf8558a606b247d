#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
# The init of the machines that saved.sh starts. saved= on the command line says what to
# do. The findings go to the second serial line, as NAME=VALUE or as text.
set -u

/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
stty -F /dev/ttyS1 raw
exec </dev/null >/dev/ttyS1 2>&1
# shellcheck source=tools/vm/dax.sh
. /dax.sh

die() { echo "error: $*"; poweroff -f; sleep 60; }

# The whole device is out of the direct map, except for pinned memory, and no block is
# kept.
bind() {
	dax_has_transient || die "no device"
	dax_bind transient 2097152 transient || die "does not bind"
	echo 0 >$dax_dev/transient/cache
}

# hold: keep blocks pinned until something is written to the pipe.
hold() {
	mkfifo /go
	saved hold $DAX </go >/held 2>&1 &
	holder=$!
	exec 3>/go
	within 60 grep -q held /held || die "nothing is held after 60 s: $(cat /held)"
	echo "live=$(dax_pool live)"
}

hibernate() {
	mkswap /dev/vda >/dev/null
	swapon /dev/vda || die "no swap"
	bind
	hold
	before=$(dax_pool populated)
	echo shutdown >/sys/power/disk
	echo "asleep=1"
	echo disk >/sys/power/state || die "does not hibernate"

	# From here on, this is the second serial line of another machine.
	echo "awake=1"
	echo "live=$(dax_pool live)"
	echo go >&3
	wait "$holder"
	sed 1d /held
	dax_idle 20 || echo "not idle after 20 s"
	echo "after=$(dax_pool live)"
	echo "made=$(($(dax_pool populated) - before))"
	# Pinning must still work after waking up.
	rm /go
	hold
	echo go >&3
	wait "$holder"
	sed 1d /held
}

crash() {
	bind
	hold
	read -r args </proc/cmdline
	saved kexec /bzImage /initramfs "${args%%crashkernel=*} saved=dump maxcpus=1 reset_devices" ||
		die "no crash kernel"
	echo "loaded=$(cat /sys/kernel/kexec_crash_loaded)"
	# When init ends, the kernel panics.
	exit 1
}

dump() {
	echo "dump=1"
	saved loads /proc/vmcore | sed 's/^/load /'
	saved find /proc/vmcore
}

read -r cmdline </proc/cmdline
for word in $cmdline; do
	case $word in saved=*) what=${word#*=} ;; esac
done
case ${what:-} in
hibernate | crash | dump) $what ;;
*) die "nothing to do" ;;
esac
echo "end=1"
poweroff -f
sleep 60
