#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The init of the virtual machine that vm.sh starts: it sets the machine up, runs
# /run/out/command and switches the machine off. It runs in the machine only.
set -eu

[ $$ = 1 ] || { echo "${0##*/}: started by tools/vm/vm.sh, in the machine" >&2; exit 2; }

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LC_ALL=C

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mount -t debugfs debugfs /sys/kernel/debug
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for dir in /tmp /run /var /dev/shm; do
	mount -t tmpfs tmpfs "$dir"
done
mkdir -p /run/lock /var/tmp /var/log
chmod 1777 /tmp /var/tmp /dev/shm

read -r cmdline </proc/cmdline
for word in $cmdline; do
	case $word in
	vm.tools=*) export TOOLS="${word#*=}" ;;
	vm.build=*) build=${word#*=} ;;
	vm.shell=1) shell=1 ;;
	vm.modules=*) export MODPROBE_OPTIONS="-d ${word#*=}" ;;
	esac
done

# share TAG DIRECTORY OPTIONS: mount a directory of the host at the same path, which a
# tmpfs may cover.
share() {
	mkdir -p "$2"
	mount -t 9p -o "trans=virtio,version=9p2000.L,msize=262144,$3" "$1" "$2"
}
share out /run/out cache=none
share checkout "${TOOLS%/*}" ro,cache=loose
share build "$build" ro,cache=loose

ln -sf /proc/self/fd /dev/fd 2>/dev/null || :
echo "|/bin/false" >/proc/sys/kernel/core_pattern
hostname vm
# A rate limit on messages from user space would hide those of the tests.
echo on >/proc/sys/kernel/printk_devkmsg 2>/dev/null || :
ip link set lo up 2>/dev/null || :

# The kernel has the kmem driver, as distributions do, and leaves soft-reserved memory to
# it. All tests but those of that want device_dax.
case " $cmdline " in
*' vm.kmem=1 '*) ;;
*)
	for dev in dax0.0 dax0.1 dax0.2 dax0.3 dax1.0 dax1.1; do
		echo $dev >/sys/bus/dax/drivers/device_dax/new_id 2>/dev/null || :
	done
	;;
esac

cd /tmp

rc=0
if [ -n "${shell:-}" ]; then
	echo "The scripts are in $TOOLS, results go to /run/out, exit ends the machine."
	setsid -c sh -i </dev/ttyS0 >/dev/ttyS0 2>&1 || rc=$?
else
	setsid sh /run/out/command </dev/null >/run/out/stdout 2>/run/out/stderr || rc=$?
fi

dmesg >/run/out/dmesg || :
echo "$rc" >/run/out/status
sync
umount /run/out || :
# There is no init system to ask, so this program calls reboot(2) by itself.
busybox poweroff -f
sleep 60
