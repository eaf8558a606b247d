#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Check the model of a block's life, and that each precaution in it is needed.
set -eu

# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"

usage() {
	cat <<USAGE
usage: $me [-k] [-f FILE] [-p PINNERS]

Explores all states of the model with spin. Then leaves out one precaution after
the other: each time the check has to fail. Ends with "N passed, N failed".

  -k          KTAP on stdout
  -f FILE     the model (default: tools/testing/transient_memmap/block.pml)
  -p PINNERS  tasks that pin and unpin (default: 2; 3 takes minutes)
USAGE
}

file=$top/tools/testing/transient_memmap/block.pml
ktap='' pinners=2
while getopts kf:p:h opt; do
	case $opt in
	k) ktap=1 ;;
	f) file=$OPTARG ;;
	p) pinners=$OPTARG ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -eq 0 ] || { usage >&2; exit 2; }
[ -r "$file" ] || die "no model at $file"
file=$(cd "$(dirname "$file")" && pwd)/${file##*/}
"$tools/deps.sh" model >&2

mutations='NO_GRACE_PERIOD NO_FLUSH_BEFORE_FREE REVIVE_WITHOUT_LINK_REF
	UNMAP_WITHOUT_STATE_CHECK NO_RCU_IN_FREE_FOLIO'
dir=$BUILD/model
mkdir -p "$dir"
cd "$dir"
passed=0 failed=0

# result ok|FAIL NAME TEXT
result() {
	case $1 in ok) passed=$((passed + 1)) ;; *) failed=$((failed + 1)) ;; esac
	if [ -z "$ktap" ]; then
		printf '%-4s  %-26s %s\n' "$1" "$2" "$3"
	elif [ "$1" = ok ]; then
		echo "ok $((passed + failed)) $2"
	else
		echo "# $3"
		echo "not ok $((passed + failed)) $2"
	fi
}

# check NAME [DEFINE]: leaves what spin says in NAME.log.
check() {
	log=$dir/$1.log
	rm -f pan pan.* "$log"
	{
		spin -DPINNERS="$pinners" ${2:+"-D$2"} -a "$file" &&
			cc -O2 -w -DSAFETY -DCOLLAPSE -o pan pan.c &&
			./pan -m1000000
	} >"$log" 2>&1 || die "spin failed: see $log"
	grep -q '^Full statespace search' "$log" || die "spin did not run: see $log"
	states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$log")
	errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' "$log")
	why=$(sed -n 's/^pan:[0-9]*: \(.*\) (at depth.*/\1/p' "$log" | head -n 1)
	# A search that was cut short proves nothing.
	if [ "$errors" = 0 ] && grep -q 'Search not completed\|max search depth' "$log"; then
		die "the search was not completed: see $log"
	fi
}

if [ -n "$ktap" ]; then
	echo 'KTAP version 1'
	# shellcheck disable=SC2086
	set -- $mutations
	echo "1..$(($# + 1))"
fi
check model
if [ "$errors" = 0 ]; then
	result ok model "$states states, no error"
else
	result FAIL model "$why: see $log"
fi
for m in $mutations; do
	check "$m" "$m"
	if [ "$errors" = 0 ]; then
		result FAIL "$m" "not missed in $states states: see $log"
	else
		result ok "$m" "found: $why"
	fi
done
[ -n "$ktap" ] || echo "$passed passed, $failed failed"
[ $failed = 0 ]
