# SPDX-License-Identifier: GPL-2.0
# Shared by the scripts below this directory, which set $tools and source it first.
# shellcheck shell=sh disable=SC2034,SC2154	# The variables are for them.

me=${0##*/}
# For the tests of the scripts: REPO, another series/ and overlay, and
# BASE_VERSION, another file than base.version.
top=$(cd "${REPO:-$tools/..}" && pwd)
BUILD=${BUILD:-$top/build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
JOBS=${JOBS:-$(nproc)}
linux=$BUILD/linux

say() { echo "$me: $*" >&2; }
die() { say "$*"; exit 1; }

# Called by the trap. $child is what runs in the background, as pids.
# shellcheck disable=SC2086,SC2317
cleanup() {
	if [ -n "$child" ]; then
		kill $child 2>/dev/null || :
		wait $child 2>/dev/null || :
	fi
	[ -z "$tmp" ] || rm -rf "$tmp"
}

# Also what a process of the script begins with: it has no children yet, and $tmp is
# not its own.
alone() {
	child='' tmp=''
	trap cleanup EXIT
	trap 'exit 130' INT TERM HUP
}
alone

# A private directory in $tmp, gone at the end.
make_tmp() {
	mkdir -p "$BUILD"
	tmp=$(mktemp -d "$BUILD/tmp.XXXXXX")
}

# attend COMMAND...: run it such that a signal ends it and this script at once. Its
# status is in $rc.
attend() {
	"$@" </dev/null &
	child=$!
	rc=0
	wait "$child" || rc=$?
	child=''
}

# What to add to a line of progress; a script may redefine it.
progress() { :; }

# run LOG WHAT COMMAND...: a long step. Its output goes to LOG, a line of
# progress to the terminal every 20 seconds.
run() {
	run_log=$1 run_what=$2 run_time=0
	shift 2
	mkdir -p "${run_log%/*}"
	"$@" </dev/null >"$run_log" 2>&1 &
	child=$!
	while kill -0 "$child" 2>/dev/null; do
		sleep 1
		run_time=$((run_time + 1))
		[ $((run_time % 20)) -ne 0 ] ||
			say "$run_what: $run_time s $(progress)"
	done
	run_rc=0
	wait "$child" || run_rc=$?
	child=''
	return "$run_rc"
}

# crashed_early STATUS CONSOLE: has QEMU crashed before its kernel came to init? QEMU 7.2
# does, once in hundreds of boots, as the kernel sets up PCI devices. Nothing was tried
# by then, so that one may try again.
crashed_early() {
	case $1 in 134 | 139) ;; *) return 1 ;; esac
	! grep -aqs ' as init process' "$2"
}

# pack DIRECTORY FILE: a root file system for a kernel to start from.
pack() { (cd "$1" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$2"; }
