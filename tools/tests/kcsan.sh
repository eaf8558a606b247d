#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Watch the pool for data races while $@ runs, which writes KTAP to stdout. In the
# guest, with CONFIG_KCSAN. Races of others are not reported.
set -eu

kcsan=/sys/kernel/debug/kcsan
source=$(cd "$(dirname "$0")" && pwd)/../../mm/transient_memmap.c

# What the pool's file defines, and the kernel has kept as a function of its own
sed -n 's/^[a-z].*[ *]\([a-z_0-9]*\)(.*/\1/p' "$source" | sort -u >/tmp/defined
awk '$2 ~ /[tT]/ { print $3 }' /proc/kallsyms | sort -u >/tmp/kept
comm -12 /tmp/defined /tmp/kept >/tmp/functions
[ "$(wc -l </tmp/functions)" -gt 20 ] || { echo "few functions: see $source" >&2; exit 1; }
while read -r function; do
	echo "!$function" >$kcsan
done </tmp/functions
echo whitelist >$kcsan
# One of so many accesses is watched; of the whole kernel's.
echo 100 >/sys/module/kcsan/parameters/skip_watch
echo on >$kcsan
rc=0
"$@" || rc=$?
echo off >$kcsan
awk '/^(used_watchpoints|setup_watchpoints|data_races)/' $kcsan >&2
exit $rc
