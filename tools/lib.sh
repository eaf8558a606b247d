# SPDX-License-Identifier: GPL-2.0
# Shared by the scripts below this directory, which set $tools and source it first.
# shellcheck shell=sh disable=SC2034,SC2154	# The variables are for them.

me=${0##*/}
say() { echo "$me: $*" >&2; }
die() { say "$*"; exit 1; }

# check_path WHAT PATH: refuse what make, Kbuild, QEMU or the kernel's command line
# would split or expand, and what the machine covers with file systems of its own.
check_path() {
	[ "$(printf %s "$2" | LC_ALL=C tr -d 'a-zA-Z0-9/._+@~=\200-\377-' | wc -c)" = 0 ] ||
		die "no blanks, commas, colons, quotes or the like in the path of $1, please: $2"
	case $2 in
	/ | /tmp | /run | /run/out | /var | /dev | /dev/shm | /proc/* | /sys/*)
		die "$1 cannot be $2, which the machine has of its own" ;;
	esac
}

# Without symbolic links, as a path in the machine leads to what the machine has.
tools=$(cd "$tools" && pwd -P)
checkout=${tools%/*}
# For the tests of the scripts: REPO, another series/ and overlay, and
# BASE_VERSION, another file than base.version.
top=$(cd "${REPO:-$checkout}" && pwd -P)
BUILD=$(realpath -m -- "${BUILD:-$top/build}")
check_path 'the checkout' "$checkout"
check_path BUILD "$BUILD"
JOBS=${JOBS:-$(nproc)}
linux=$BUILD/linux

# log_end LOG [LINES]: the last lines of a log, of a console's too
log_end() {
	[ ! -s "$1" ] || tail -n "${2:-15}" "$1" | tr -d '\r' | sed 's/^/    /' >&2
}

# die_with_log LOG WORDS: what went wrong, and on the last line where all of it is
die_with_log() {
	log_end "$1"
	failed_log=$1
	shift
	die "$*: see $failed_log"
}

# signal SIGNAL PID: to the group that the process leads, else to it alone
signal() { kill -s "$1" -- "-$2" 2>/dev/null || kill -s "$1" "$2" 2>/dev/null || :; }

# no_group PID: wait until nothing is left of the group that the process has led.
no_group() {
	for _ in $(seq 100); do
		kill -s 0 -- "-$1" 2>/dev/null || return 0
		sleep 0.1
	done
	say "10 s after its end, processes of group $1 are still there: killed"
	kill -s KILL -- "-$1" 2>/dev/null || :
}

# Called by the trap. $child is what runs in the background, as pids: programs that
# lead a group, and parts of a script, which end what they have started themselves.
# shellcheck disable=SC2317
cleanup() {
	trap '' INT TERM HUP
	for pid in $child; do
		signal TERM "$pid"
	done
	for pid in $child; do
		wait "$pid" 2>/dev/null || :
		no_group "$pid"
	done
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
	mkdir -p "$BUILD" 2>/dev/null || die "cannot make $BUILD"
	tmp=$(mktemp -d "$BUILD/tmp.XXXXXX" 2>/dev/null) || die "cannot write to $BUILD"
}

# background PROGRAM...: start it in a process group of its own, that nothing it
# started is left when this script ends. (Unlike setsid, timeout leaves it the terminal,
# to which sudo ties its permission. Limit 0 is none.)
background() {
	timeout -k 30 0 "$@" </dev/null &
	child=$!
}

# attend PROGRAM...: run it such that a signal ends it and this script at once. Its
# status is in $rc.
attend() {
	background "$@"
	rc=0
	wait "$child" || rc=$?
	child=''
}

# What to add to a line of progress; a script may redefine it.
progress() { :; }

# run LOG WHAT PROGRAM...: a long step. Its output goes to LOG, a line of
# progress to the terminal every 20 seconds.
run() {
	run_log=$1 run_what=$2 run_time=0
	shift 2
	mkdir -p "${run_log%/*}"
	background "$@" >"$run_log" 2>&1
	# It may be a short one.
	for _ in 1 2 3 4 5; do
		! kill -0 "$child" 2>/dev/null || sleep 0.2
	done
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
