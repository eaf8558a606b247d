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

# run PROGRAM [ARGUMENT...]: all its tests pass. Those of dma-buf don't in the base:
# iommufd_test_dmabuf_get() returns 0 instead of the file descriptor.
# shellcheck disable=SC2317	# ktap_check calls these functions.
run() {
	program=$1
	shift
	LD_PRELOAD=${preload:-} "$programs/$program" "$@" >"$tmp/log" 2>&1 || :
	cp "$tmp/log" "/run/out/$program${preload:+-dax}.log" || :
	sed -n 's/^# Totals:/# totals:/p' "$tmp/log"
	grep -q '^# Totals:' "$tmp/log" || { tail -n 1 "$tmp/log"; return 1; }
	failed=$(sed -n -e '/\.dmabuf_/d' -e 's/^not ok [0-9]* //p' "$tmp/log" | tr '\n' ' ')
	echo "$failed"
	[ -z "$failed" ]
}

# with_device PROGRAM [ARGUMENT...]: likewise; the device is used, and nothing is left.
# shellcheck disable=SC2317
with_device() {
	preload=$programs/dax-mmap.so populated=$(dax_pool populated)
	run "$@" || return 1
	[ "$(dax_pool populated)" != "$populated" ] || { echo "the device was not used"; return 1; }
	nothing_left
}

# shellcheck disable=SC2317
nothing_left() {
	dax_idle 5 || { echo "$(dax_pool live) blocks are live"; return 1; }
	held=$(dax_pool held)
	[ "$held" = 0 ] || { echo "$held pages are held"; return 1; }
}

# shellcheck disable=SC2317
refused() {
	echo 0 >"$dax_dev/transient/longterm"
	! with_device iommufd -t access_pin || { echo "access_pin passes"; return 1; }
	grep -q '^not ok .*access_pin' "$tmp/log" && nothing_left
}

ktap_plan 6
# What the tests want besides, of 2 MiB
echo 128 >/proc/sys/vm/nr_hugepages
dax_bind transient 4096
ktap_check "pinned accesses are refused unless allowed" refused
ktap_check "copies need no long-term pins" with_device iommufd -t access_rw
echo 1 >$dax_dev/transient/longterm
ktap_check "ordinary memory" run iommufd
ktap_check "the device's memory" with_device iommufd
ktap_check "ordinary memory, each allocation fails" run iommufd_fail_nth
ktap_check "the device's memory, each allocation fails" with_device iommufd_fail_nth
exit $((ktap_failed > 0))
