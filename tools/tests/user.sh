#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The pool built in user space, its unit and stress tests. KTAP on stdout. On the
# host: BUILD is set by run-tests.sh.
set -eu

case ${1:--h} in plain | asan | tsan) ;; *) echo "usage: ${0##*/} plain|asan|tsan" >&2; exit 2 ;; esac
dir=$BUILD/linux/tools/testing/transient_memmap
make -s -C "$dir" OUT="$BUILD/user" "$BUILD/user/transient_memmap-$1" >&2
exec "$BUILD/user/transient_memmap-$1" -s "${2:-5}"
