#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Check a host with 2 GiB of RAM and 1 TiB of memory without a memmap. Writes KTAP to
# stdout. Starts a machine of its own.
#
# A failure means: memory that nobody pins costs the host more than 0.004 % of its size,
# or I/O does not reach all parts of it.
set -eu
tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"

case ${1:-} in -h) echo "usage: $me"; exit 0 ;; esac
out=$BUILD/test/tib-vm
rc=0
mkdir -p "$out"
attend "$tools/vm/vm.sh" -n -o "$out" -t 500 -b 1024 -a dax.memmap=transient \
	sh "$tools/test/machine/tib.sh" >"$out.log" 2>&1
cat "$out/stdout"
grep '^vm.sh: note: ' "$out.log" >&2 || :
if [ "$rc" != 0 ]; then
	tail -n 20 "$out.log" >&2
	exit 1
fi
