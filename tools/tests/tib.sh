#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A host with 2 GiB of RAM and 1 TiB of memory without a memmap. KTAP on stdout.
# Starts a machine of its own: TOOLS and BUILD are set by run-tests.sh.
#
# A failure means: the larger the memory, the more it costs though nobody pins
# it, or there are parts of it that I/O does not reach.
set -eu

gib=1024
out=${1:-$BUILD/test/tib-vm}
# So much does not fit below 1 TiB: QEMU puts all that is above 2 GiB there.
LAYOUT="memmap=${gib}G%1024G-1+0xefffffff" "$TOOLS/vm.sh" -n -o "$out" -t 500 \
	-m $((gib + 2))G -a dax.memmap=transient -q "-cpu max,phys-bits=46
		-object memory-backend-ram,id=ram,size=2G
		-object memory-backend-ram,id=big,size=${gib}G,reserve=off
		-numa node,memdev=ram,cpus=0-1 -numa node,memdev=big" \
	env GUEST="$GUEST" sh "$TOOLS/tests/tib-guest.sh" >"$out.log" 2>&1 || rc=$?
cat "$out/stdout"
if [ "${rc:-0}" != 0 ]; then
	tail -n 3 "$out.log" >&2
	exit 1
fi
