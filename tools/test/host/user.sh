#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Build the pool in user space and run its unit and stress tests. Writes KTAP to stdout.
#
# A failure means: the pool loses blocks or frees them while they are in use, and a host
# leaks memory or crashes.
set -eu
tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"

usage() { echo "usage: $me plain|asan|tsan [SECONDS]"; }
case ${1:-} in
plain | asan | tsan) ;;
-h) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac
dir=$linux/tools/testing/transient_memmap
make -s -C "$dir" OUT="$BUILD/user" "$BUILD/user/transient_memmap-$1" >&2
exec "$BUILD/user/transient_memmap-$1" -s "${2:-5}"
