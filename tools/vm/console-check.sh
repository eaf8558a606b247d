#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Look for complaints in a kernel's log, print them, and fail when there are any.
set -eu

me=${0##*/}
tools=$(cd "$(dirname "$0")/.." && pwd)

case ${1:--h} in
-h)
	echo "usage: $me console.log"
	echo "Prints the lines that match console-badness, but for the exceptions named here."
	exit 0
	;;
esac
[ -r "$1" ] || { echo "$me: cannot read $1" >&2; exit 2; }

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

grep -v '^#' "$tools/vm/console-badness" | grep . >"$tmp/bad"
# Harmless reports of several lines are removed first:
# - vmemmap_alloc_block()'s only report on a missing page, in tests that make
#   allocations fail, up to its end.
# - The killing of a test's process that takes all memory, and is named hog.
# - Lockdep's report on vhost-scsi, which takes the mutex of its TPG and a lock of
#   configfs in both orders, on any memory. (Lockdep says no more after a report.)
# - A directory of sysfs that is refused, in the same tests.
# A bug that another CPU reports meanwhile ends the first two.
tr -d '\r' <"$1" | awk '
	function release() {
		if (!(held ~ /at: configfs_depend_item/ && held ~ /vhost_scsi_port_link/))
			printf "%s", held
		held = ""
	}
	/: vmemmap alloc failure: order:0/ { skip = 80 }
	/kobject_add_internal failed for transient \(error: -12 / { next }
	/ invoked oom-killer: / { skip = 200 }
	/Out of memory: Killed process/ { skip = /\(hog\)/ }
	/possible circular locking/ { release(); lockdep = 200 }
	lockdep {
		held = held $0 "\n"
		lockdep = /<\/TASK>/ ? 0 : lockdep - 1
		if (!lockdep)
			release()
		next
	}
	/BUG:|BUG at|KASAN:|KFENCE:|Oops|general protection/ { skip = 0 }
	skip <= 0
	{ skip = /<\/TASK>/ ? 0 : skip - 1 }
	END { release() }' >"$tmp/log"
rc=0
grep -aE -f "$tmp/bad" "$tmp/log" || rc=$?
[ "$rc" = 1 ]
