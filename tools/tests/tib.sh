#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A host with 2 GiB of RAM and 1 TiB of memory without a memmap. KTAP on stdout.
# Starts a machine of its own: TOOLS and BUILD are set by run-tests.sh.
#
# A failure means: the larger the memory, the more it costs though nobody pins
# it, or there are parts of it that I/O does not reach.
set -eu

out=${1:-$BUILD/test/tib-vm}
"$TOOLS/vm.sh" -n -o "$out" -t 500 -b 1024 -a dax.memmap=transient \
	env GUEST="$GUEST" sh "$TOOLS/tests/tib-guest.sh" >"$out.log" 2>&1 || rc=$?
cat "$out/stdout"
grep '^vm.sh: note: ' "$out.log" >&2 || :
if [ "${rc:-0}" != 0 ]; then
	tail -n 3 "$out.log" >&2
	exit 1
fi
