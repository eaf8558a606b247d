# SPDX-License-Identifier: GPL-2.0
# The scripts below this directory set $tools and source this file first.
# shellcheck shell=sh disable=SC2034,SC2154	# The variables are for them.

me=${0##*/}
say() { echo "$me: $*" >&2; }
die() { say "$*"; exit 1; }

# check_path WHAT PATH: refuse a path that make, Kbuild, QEMU or the kernel's command
# line would split or expand, and one that the machine covers with a file system of its
# own.
check_path() {
	[ "$(printf %s "$2" | LC_ALL=C tr -d 'a-zA-Z0-9/._+@~=\200-\377-' | wc -c)" = 0 ] ||
		die "no blanks, commas, colons, quotes or the like in the path of $1, please: $2"
	case $2 in
	/ | /tmp | /run | /run/out | /var | /dev | /dev/shm | /proc/* | /sys/*)
		die "$1 cannot be $2, which the machine has of its own" ;;
	esac
}

# Symbolic links are resolved, because in the machine they may lead to its own files.
tools=$(cd "$tools" && pwd -P)
checkout=${tools%/*}
# The tests of the scripts set REPO, to use another series/ and overlay, and
# BASE_VERSION, to use another file than base.version.
top=$(cd "${REPO:-$checkout}" && pwd -P)
BUILD=$(realpath -m -- "${BUILD:-$top/build}")
check_path 'the checkout' "$checkout"
check_path BUILD "$BUILD"
JOBS=${JOBS:-$(nproc)}
linux=$BUILD/linux

# log_end LOG [LINES]: print the last lines of a log, which may be a console's.
log_end() {
	[ ! -s "$1" ] || tail -n "${2:-15}" "$1" | tr -d '\r' | sed 's/^/    /' >&2
}

# die_with_log LOG WORDS: print the end of the log, and what went wrong on the last
# line, with the name of the log.
die_with_log() {
	log_end "$1"
	failed_log=$1
	shift
	die "$*: see $failed_log"
}

# signal SIGNAL PID: send it to the group that the process leads, or else to it alone.
signal() { kill -s "$1" -- "-$2" 2>/dev/null || kill -s "$1" "$2" 2>/dev/null || :; }

# no_group PID: wait until nothing is left of the group that the process led.
no_group() {
	for _ in $(seq 100); do
		kill -s 0 -- "-$1" 2>/dev/null || return 0
		sleep 0.1
	done
	say "10 s after its end, processes of group $1 are still there: killed"
	kill -s KILL -- "-$1" 2>/dev/null || :
}

# The trap calls this. $child has the pids of what runs in the background: programs that
# lead a group, and parts of a script, which end whatever they have started.
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

# A part of a script that runs in the background calls this first: it has no children
# yet, and $tmp belongs to its parent.
alone() {
	child='' tmp=''
	trap cleanup EXIT
	trap 'exit 130' INT TERM HUP
}
alone

# Make a private directory, $tmp, which is removed at the end.
make_tmp() {
	mkdir -p "$BUILD" 2>/dev/null || die "cannot make $BUILD"
	tmp=$(mktemp -d "$BUILD/tmp.XXXXXX" 2>/dev/null) || die "cannot write to $BUILD"
}

# background PROGRAM...: start it in a process group of its own, so that nothing that it
# started outlives this script. Unlike setsid, timeout leaves it the terminal, to which
# sudo ties its permission. A limit of 0 means none.
background() {
	timeout -k 30 0 "$@" </dev/null &
	child=$!
}

# attend PROGRAM...: run it so that a signal ends it and this script at once. $rc has
# its status.
attend() {
	background "$@"
	rc=0
	wait "$child" || rc=$?
	child=''
}

# run adds this to a line of progress. A script may redefine it.
progress() { :; }

# run LOG WHAT PROGRAM...: run a long step. Its output goes to LOG, and a line of
# progress to the terminal every 20 seconds.
run() {
	run_log=$1 run_what=$2 run_time=0
	shift 2
	mkdir -p "${run_log%/*}"
	background "$@" >"$run_log" 2>&1
	# The program may be a short one.
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

# crashed_early STATUS CONSOLE: true if QEMU crashed before its kernel started init.
# QEMU 7.2 does so once in hundreds of boots, while the kernel sets up PCI devices.
# Nothing has been tested by then, so the caller may try again.
crashed_early() {
	case $1 in 134 | 139) ;; *) return 1 ;; esac
	! grep -aqs ' as init process' "$2"
}

# pack DIRECTORY FILE: make an initramfs of the directory.
pack() { (cd "$1" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$2"; }
