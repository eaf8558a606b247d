#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Check the model of a block's life, and that each precaution in it is needed.
#
# A failure means: some order of events lets the host free struct pages that are in use,
# and crash or lose data.
set -eu
tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"

usage() {
	cat <<USAGE
usage: $me [-k] [-f FILE]

Explores all states of the model with spin. Then leaves out one precaution after
the other: each time the check has to fail, for the reason that is expected. Ends
with "N passed, N failed"; what spin says is in $BUILD/model.

  -k        KTAP on stdout
  -f FILE   the model (default: tools/testing/transient_memmap/block.pml)
USAGE
}

# Each line has a precaution that is left out and the error that spin then reports. spin
# shows an mtype as a number: 5 is ABSENT.
mutations='NO_GRACE_PERIOD: assertion violated mapped[b]
NO_FLUSH_BEFORE_FREE: assertion violated (tlb[b]==0)
REVIVE_WITHOUT_LINK_REF: assertion violated mapped[b]
UNMAP_WITHOUT_STATE_CHECK: assertion violated (((state[i]==5)&&(ref[i]==0))&&!(mapped[i]))
UNMAP_WHAT_DIES_AGAIN: assertion violated mapped[b]
QUEUE_BEFORE_ADD: invalid end state
NO_WAIT_FOR_DROPPERS: assertion violated !(gone)
NO_REF_OF_BLOCK: assertion violated (((state[i]==5)&&(ref[i]==0))&&!(mapped[i]))'

# Likewise for two blocks of which one may be live: without these a pin waits for ever.
waits='NO_KICK KICK_ONCE KEEP_WITHOUT_LOOKING NO_SERVE'

passed=0 failed=0 ktap=''

# result ok|FAIL NAME TEXT: count and print one result.
result() {
	case $1 in
	ok) passed=$((passed + 1)) ;;
	*) failed=$((failed + 1)) ;;
	esac
	if [ -z "$ktap" ]; then
		printf '%-4s  %-28s %s\n' "$1" "$2" "$3"
	else
		echo "# $3"
		[ "$1" = ok ] || printf 'not '
		echo "ok $((passed + failed)) $2"
	fi
}

# search DIR DEFINE...: have spin explore the model.
search() {
	search_in=$1
	shift
	# shellcheck disable=SC2016	# They are of the shell inside.
	run "$log" "${search_in##*/}" env -C "$search_in" sh -c '
		spin -a "$@" &&
		gcc -O2 -w -DSAFETY -DMEMLIM=4000 -o pan pan.c &&
		./pan -m1000000 -w24' sh "$@" "$file"
}

# explore NAME DEFINE...: sets $errors, $why, $states and $depth.
explore() {
	dir=$BUILD/model/$1
	log=$dir.log
	shift
	rm -rf "$dir"
	mkdir -p "$dir"
	search "$dir" "$@" || die_with_log "$log" "spin failed"
	errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' "$log")
	why=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' "$log")
	states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$log")
	depth=$(sed -n 's/.*depth reached \([0-9]*\),.*/\1/p' "$log")
	[ -n "$errors" ] || die_with_log "$log" "spin did not run"
	# A search that was cut short without an error proves nothing.
	[ "$errors" != 0 ] ||
		! grep -q 'Search not completed\|max search depth' "$log" ||
		die_with_log "$log" "not all states were explored"
}

# holds NAME DEFINE...: the model must have no error.
holds() {
	explore "$@"
	if [ "$errors" = 0 ]; then
		result ok "$1" "holds: $states states, depth $depth"
	else
		result FAIL "$1" "$why, see $log"
	fi
}

# fails NAME ERROR DEFINE...: the model must have this error. spin is free with blanks.
fails() {
	name=$1 expected=$2
	shift 2
	explore "$name" "$@"
	if [ "$errors" = 0 ]; then
		result FAIL "$name" "not found in $states states, see $log"
	elif [ "$(echo "$why" | tr -d ' ')" = "$(echo "$expected" | tr -d ' ')" ]; then
		result ok "$name" "found: $why"
	else
		result FAIL "$name" "found another one: $why, see $log"
	fi
}

file=$top/tools/testing/transient_memmap/block.pml
while getopts f:kh opt; do
	case $opt in
	k) ktap=1 ;;
	f) file=$OPTARG ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -eq 0 ] || { usage >&2; exit 2; }
[ -r "$file" ] || die "no model at $file"
file=$(cd "$(dirname "$file")" && pwd)/${file##*/}
"$tools/deps.sh" model >&2

if [ -n "$ktap" ]; then
	echo 'KTAP version 1'
	# shellcheck disable=SC2086	# It is a list.
	set -- $waits
	echo "1..$(($(echo "$mutations" | wc -l) + $# + 4))"
fi
holds one_block_two_pinners
holds two_blocks_one_pinner -DBLOCKS=2 -DPINNERS=1
holds pin_at_the_cap -DBLOCKS=2 -DPINNERS=1 -DCAP=1
holds pin_at_the_cap_gives_up -DBLOCKS=2 -DPINNERS=1 -DCAP=1 -DGIVE_UP
while read -r m error; do
	fails "${m%:}" "$error" "-D${m%:}"
done <<MUTATIONS
$mutations
MUTATIONS
for m in $waits; do
	fails "$m" 'invalid end state' -DBLOCKS=2 -DPINNERS=1 -DCAP=1 "-D$m"
done

[ -n "$ktap" ] || echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
