#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Try the users of guest memory on a file of guestramfs. Runs in the machine.
#   usage: users-file.sh PROGRAM static|transient [ROW ...]
# The second argument is about the direct map.
#
# A failure means: what works for a guest on device-dax does not on guestramfs.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"

program=$1 direct_map=$2
shift 2
if [ ! -e "$guests_drv" ]; then
	echo 'KTAP version 1'
	echo '1..0 # SKIP the kernel has no guestramfs'
	exit
fi
guests_mount mode=0700 "$direct_map"
# It has all of the memory, in the device's order: some rows count pages from there.
truncate -s "$(dax_size)" $guests/memory
rc=0
"$program" -f $guests/memory "$@" || rc=$?
umount $guests
dax_unbind
exit $rc
