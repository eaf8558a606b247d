#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Watch the pool for data races while the command $@ runs, which writes KTAP to stdout.
# Runs in the machine, on a kernel where only the pool is built for KCSAN
# (kcsan.config).
#
# A failure means: two CPUs can corrupt the state of a block, and the host then frees
# memory that a device still writes to.
set -eu

kcsan=/sys/kernel/debug/kcsan
# KCSAN watches one of this many accesses for a while. It does not simulate reordering:
# the barriers are in locks, which are not built for KCSAN.
echo 20 >/sys/module/kcsan/parameters/skip_watch
echo N >/sys/module/kcsan/parameters/weak_memory
echo on >$kcsan
rc=0
"$@" || rc=$?
echo off >$kcsan
awk '/^(used_watchpoints|setup_watchpoints|data_races)/' $kcsan >&2
awk '/^setup_watchpoints/ && $2 < 1000 { exit 1 }' $kcsan ||
	{ echo "nearly nothing was watched" >&2; exit 1; }
exit $rc
