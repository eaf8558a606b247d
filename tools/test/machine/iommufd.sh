#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Run the kernel's own tests of iommufd, which are in the directory of programs (the
# argument), with ordinary memory, and with the device's in place of it. Writes KTAP to
# stdout. Runs in the machine, whose kernel has CONFIG_IOMMUFD_TEST.
#
# A failure means: a device that is assigned, or emulated in the kernel, reads and writes
# other memory than the guest's, or its memory is never given back.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"
# shellcheck source=tools/vm/dax.sh
. "$tools/vm/dax.sh"

programs=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# These count references on anonymous pages, which the device's memory does not have.
refs='all_aligns'

# run PROGRAM [VARIABLE=VALUE]: all its tests pass, with the variable set.
run() {
	name=$1
	shift
	rc=0
	env "$@" "$programs/$name" >"$tmp/log" 2>&1 || rc=$?
	cp "$tmp/log" "/run/out/$name-${1:+dax}.log" 2>/dev/null || :
	sed -n 's/^# Totals:/# totals:/p' "$tmp/log"
	[ $rc = 0 ] || sed -n 's/^not ok [0-9]* //p' "$tmp/log" | tr '\n' ' '
	[ $rc = 0 ]
}

dax_holds() { [ "$(dax_pool held)" != 0 ]; }
nothing_left() {
	dax_idle 5 || { echo "$(dax_pool live) blocks are live"; return 1; }
	! dax_holds || { echo "$(dax_pool held) pages are held"; return 1; }
}
with_device() {
	held=$(dax_pool populated)
	run "$1" LD_PRELOAD="$programs/dax-mmap.so"
	[ "$(dax_pool populated)" != "$held" ] || { echo "the device was not used"; return 1; }
	nothing_left
}

ktap_plan 4
dax_bind transient 4096
echo 1 >$dax_dev/transient/longterm
ktap_check "ordinary memory" run iommufd
ktap_check "the device's memory" with_device iommufd
ktap_check "ordinary memory, each allocation fails" run iommufd_fail_nth
ktap_check "the device's memory, each allocation fails" with_device iommufd_fail_nth
exit $((ktap_failed > 0))
