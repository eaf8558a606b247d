# SPDX-License-Identifier: GPL-2.0
# Shared by the scripts in this directory, which source it first.
# shellcheck shell=sh disable=SC2034	# The variables are for them.

me=${0##*/}
tools=$(cd "$(dirname "$0")" && pwd)
# For the tests of the scripts: REPO, another series/ and overlay, and
# BASE_VERSION, another file than base.version.
top=$(cd "${REPO:-$tools/..}" && pwd)
BUILD=${BUILD:-$top/build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
JOBS=${JOBS:-$(nproc)}
linux=$BUILD/linux

# Where the repository keeps kernel files that the series adds.
overlay_dirs='mm include lib Documentation tools/testing tools/mm'

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

base_version() {
	# shellcheck source=tools/base.version
	. "${BASE_VERSION:-$tools/base.version}"
}

# release TREE: the version its Makefile tells.
release() {
	awk '$2 == "=" && $1 == "VERSION" { v = $3 }
	     $2 == "=" && $1 == "PATCHLEVEL" { p = $3 }
	     $2 == "=" && $1 == "SUBLEVEL" { s = $3 }
	     END { print v "." p "." s }' "$1/Makefile"
}

# git in the kernel tree, deaf to whatever the user's configuration says
# about the look of diffs and messages.
kgit() {
	git -C "$linux" -c core.quotePath=false -c core.autocrlf=false \
		-c commit.gpgSign=false -c diff.noprefix=false \
		-c diff.mnemonicPrefix=false "$@"
}

# side_tree COMMIT: check the commit out in $side/linux, a second work tree,
# for whatever must not disturb the first.
side=$BUILD/side
side_tree() {
	if [ ! -e "$side/linux/.git" ]; then
		rm -rf "$side/linux"
		mkdir -p "$side"
		say "a second work tree in $side/linux (20 s)"
		kgit worktree add -q -f --detach --no-checkout "$side/linux" "$1"
	fi
	git -C "$side/linux" am --abort >/dev/null 2>&1 || :
	git -C "$side/linux" reset -q --hard "$1"
	git -C "$side/linux" clean -q -fd
}

# The files the repository adds to the kernel, one a line.
overlay_files() (
	cd "$top" || exit
	dirs=''
	for d in $overlay_dirs; do
		[ ! -d "$d" ] || dirs="$dirs $d"
	done
	[ -n "$dirs" ] || exit 0
	# shellcheck disable=SC2086
	if [ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$top" ]; then
		git -c core.quotePath=false ls-files -co --exclude-standard \
			-- $dirs | while read -r f; do
			[ ! -e "$f" ] || echo "$f"
		done
	else
		find $dirs -type f
	fi | LC_ALL=C sort -u
)

# The parts of a patch file: message (without its Adds), added files, hunks.
patch_header() { sed -n -e '/^$/q' -e "s/^$2: //p" "$1"; }
patch_body() { sed -e '1,/^$/d' -e '/^---$/,$d' "$1"; }
patch_adds() { patch_body "$1" | sed -n 's/^Adds: *//p'; }
patch_hunks() { sed '1,/^---$/d' "$1"; }

# Identifies the series and the overlay of the repository.
series_hash() (
	cd "$top" || exit
	{
		patch_sums
		overlay_files | while read -r f; do
			[ ! -x "$f" ] || echo x
			sha256sum "$f"
		done
		git -C "$linux" rev-parse base
	} | sha256sum | cut -d ' ' -f 1
)

# What was composed last, kept with the tree: the hash of its sources, the
# commit, and the patches.
load_state() {
	was='' known=''
	[ ! -e "$linux/.git/composed" ] ||
		read -r was known <"$linux/.git/composed"
}

save_state() {
	patch_sums >"$linux/.git/composed.series"
	echo "$1 $2" >"$linux/.git/composed"
}

patch_sums() (
	cd "$top" || exit
	for p in series/[0-9]*.patch; do
		[ ! -e "$p" ] || sha256sum "$p"
	done
)
