#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Install what the other scripts need.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"

usage() {
	cat <<USAGE
usage: $me [set ...]

Installs the missing Debian packages of the sets. Without root and without a
passwordless sudo, it prints the command instead.

  build   for building a kernel and its self tests
  vm      for the virtual machine and the programs that run in it
  check   for make check
  model   for make model
  bench   for make bench, in addition to build and vm

Default: build vm.
USAGE
}

packages() {
	case $1 in
	build) echo git make gcc libc6-dev flex bison bc libelf-dev libssl-dev \
		ccache xz-utils lz4 kmod cpio python3 perl pkg-config \
		libaio-dev liburing-dev libcap-dev libibverbs-dev \
		ca-certificates curl ;;
	vm) echo qemu-system-x86 qemu-system-common qemu-utils fio jq busybox-static trace-cmd \
		bpftrace daxctl iproute2 ibverbs-providers e2fsprogs xfsprogs btrfs-progs dosfstools \
		dmsetup mount gdb kexec-tools \
		libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients
		# Debian 12 has virtiofsd in qemu-system-common.
		case $(cat /etc/debian_version 2>/dev/null) in 12*) ;; *) echo virtiofsd ;; esac ;;
	check) echo sparse shellcheck python3-ply python3-git gcc-aarch64-linux-gnu \
		linux-config-6.12 ;;
	model) echo spin gcc libc6-dev ;;
	bench) echo gnuplot-nox binutils ;;
	*) die "no such set: $1 (build, vm, check, model, bench)" ;;
	esac
}

# Prints those of the packages that are not installed.
missing() {
	for p; do
		case $(dpkg-query -W -f '${db:Status-Status} ' "$p" 2>/dev/null) in
		"installed "*) ;;
		*) printf ' %s' "$p" ;;
		esac
	done
}

commands() {
	case $1 in
	build) echo git make gcc flex bison bc ccache xz lz4 kmod cpio python3 perl curl ;;
	vm) echo qemu-system-x86_64 qemu-storage-daemon fio jq busybox trace-cmd bpftrace daxctl ip \
		mkfs.ext4 mkfs.xfs mkfs.btrfs mkfs.vfat dmsetup mount gdb kexec libvirtd virsh ;;
	check) echo sparse shellcheck aarch64-linux-gnu-gcc ;;
	model) echo spin gcc ;;
	bench) echo gnuplot size ;;
	esac
}

# On a machine without dpkg, name the commands that are missing.
check_commands() {
	absent=''
	for set; do
		for c in $(commands "$set"); do
			PATH=$PATH:/sbin:/usr/sbin command -v "$c" >/dev/null || absent="$absent $c"
		done
	done
	[ -z "$absent" ] || die "not Debian, please install:$absent"
	exit 0
}

install() {
	# shellcheck disable=SC2086	# $sudo and $want are lists.
	run "$log" "installing" $sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends $want
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
[ $# -gt 0 ] || set -- build vm
all=''
for set; do
	all="$all $(packages "$set")" || exit
done
command -v dpkg-query >/dev/null || check_commands "$@"

# shellcheck disable=SC2086
want=$(missing $all)
[ -n "$want" ] || exit 0

sudo=''
if [ "$(id -u)" != 0 ]; then
	sudo -n true 2>/dev/null ||
		die "not root: please run: apt-get install --no-install-recommends$want"
	sudo='sudo -n'
fi
log=$BUILD/log/deps.log
say "installing$want, log in $log"
if ! install; then
	# Most likely the package list is missing or old.
	# shellcheck disable=SC2086
	run "$BUILD/log/deps-update.log" "apt-get update" $sudo apt-get -q update ||
		die_with_log "$BUILD/log/deps-update.log" "apt-get update failed"
	install || die_with_log "$log" "apt-get install failed"
fi
