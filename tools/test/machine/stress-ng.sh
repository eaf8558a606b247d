#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Run those stressors of stress-ng that use files, each on guestramfs for SECONDS. Writes
# KTAP to stdout. Runs in the machine.
#   usage: stress-ng.sh SECONDS [STRESSOR ...]
#
# A failure means: guestramfs answers a call as no file system does, loses memory, or
# ends what calls it.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"

seconds=$1
shift
# These are of its class filesystem, and others that map, copy or write files. guestramfs
# has no xattr, as little as hugetlbfs, and the machine's kernel no inotify.
[ $# -gt 0 ] || set -- access chdir chmod chown copy-file dentry dir dirdeep dirmany fallocate \
	fcntl fiemap file-ioctl filename flock fpunch fsize fstat getdent handle hdd \
	inode-flags io iomix lease link locka lockf lockofd mknod open rename symlink \
	sync-file touch utime verity \
	aio aiol mmap msync readahead seek sendfile splice
if ! command -v stress-ng >/dev/null; then
	echo 'KTAP version 1'
	echo '1..0 # SKIP no stress-ng (Debian: stress-ng)'
	exit
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# By default, some write a GiB, which takes an emulated machine minutes.
options() {
	case $1 in
	copy-file) echo '--copy-file-bytes 128M' ;;
	fallocate | hdd | iomix | readahead | sync-file) echo "--$1-bytes 64M" ;;
	seek) echo '--seek-size 64M' ;;
	mmap) echo '--mmap-file --mmap-bytes 64M' ;;
	esac
}

stress() {
	status=0
	# shellcheck disable=SC2046	# Words
	stress-ng --temp-path $guests --verify --timeout "$seconds" "--$1" 2 $(options "$1") \
		>"$tmp/log" 2>&1 || status=$?
	case $status in
	0) ;;
	4) echo 'not implemented'; return 4 ;;
	*) echo "status $status: $(grep -E 'fail|error|nvalid' "$tmp/log" | tr '\n' ';')"; return 1 ;;
	esac
	within 30 unused 0 || { echo "$(guests_used) blocks stay used"; return 1; }
}

ends_well() {
	umount $guests
	dax_unbind
	[ "$(memmap_kib)" = 0 ] || { echo "$(memmap_kib) KiB of memmap"; return 1; }
}

ktap_plan $(($# + 1))
dax_unbind
unbound=$(vmstat nr_memmap_pages)
guests_mount mode=0755
for stressor; do
	ktap_check "$stressor" stress "$stressor"
done
ktap_check 'nothing stays' ends_well
