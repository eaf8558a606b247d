#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Run a KUnit suite of the running kernel and print its results. Runs in the machine.
set -eu

case ${1:--h} in -h) echo "usage: ${0##*/} SUITE" >&2; exit 2 ;; esac
dir=/sys/kernel/debug/kunit/$1
[ -d "$dir" ] || { echo "${0##*/}: the kernel has no suite $1" >&2; exit 1; }
echo run >"$dir/run"
cat "$dir/results"
