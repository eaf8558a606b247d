#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Watch the pool for data races while $@ runs, which writes KTAP to stdout. In the
# machine, with CONFIG_KCSAN and nothing but the pool built for it (kcsan.config).
set -eu

kcsan=/sys/kernel/debug/kcsan
# One of so many accesses is watched for a while, and is not taken to be reordered: the
# barriers are in locks, which are not built for KCSAN.
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
