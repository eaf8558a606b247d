#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Measure how the cost of transient struct pages grows with what there is.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/bench/lib.sh
. "$tools/bench/lib.sh"

usage() {
	cat <<USAGE
usage: $me [-l] [-r ROUNDS]

Builds the pool in user space, and measures what one operation takes against the
number of blocks that are live, sections that are registered and threads that pin:
in CPU time, the median of ROUNDS (default: 15), and in instructions. Prints
tables and keeps them in build/bench/: growth.txt, growth.tsv (as measured),
growth.json and growth.svg (if gnuplot is installed). Takes some minutes, 3 GiB
of RAM, and no virtual machine.

  -l  exit status 1 if a limit of tools/bench/limits is missed

Environment: BUILD; LIMITS, another file than tools/bench/limits.
USAGE
}

out=$BUILD/bench

# The cells of a line are: against, n, operation, ns, instructions.
to_json() {
	jq -Rc 'split("\t") | {kind: "growth", against: .[0], n: (.[1] | tonumber),
		operation: .[2], ns: (.[3] | tonumber),
		instructions: (.[4] | if . == "-" then null else tonumber end)}'
}

report() {
	echo 'The pool in user space: what one operation takes, or a block or section of it'
	table 'growth_table("live"; "ns")' 12 \
		'ns of CPU time, by blocks that are live. age: per block that is looked at'
	table 'growth_table("live"; "instructions")' 12 'The same, in instructions'
	table 'growth_table("sections"; "ns")' 12 \
		'ns, by sections of 128 MiB that are registered, and per section; 64 blocks, spread over them'
	table 'growth_table("sections"; "instructions")' 12 'The same, in instructions'
	table 'growth_table("threads"; "ns")' 12 \
		"ns, by threads that pin blocks of one pool, on $(nproc) CPUs"
	report_ratios
}

picture() {
	can_draw || return 0
	for against in live sections threads; do
		bench_jq -rs "include \"bench\"; growth_panel(\"$against\")" "$json" \
			>"$tmp/$against.dat"
	done
	draw growth
}

strict='' rounds=15
limits=${LIMITS:-$tools/bench/limits}
while getopts r:lh opt; do
	case $opt in
	r) rounds=$OPTARG ;;
	l) strict=1 ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# = 0 ] || { usage >&2; exit 2; }
[ -r "$limits" ] || die "no limits in $limits"

make_tmp
mkdir -p "$out"
json=$out/growth.json
make -s -C "$linux/tools/testing/transient_memmap" OUT="$BUILD/user" "$BUILD/user/growth"
# shellcheck disable=SC2016	# They are of the shell inside.
run "$out/growth.log" 'growth' sh -c '"$1" "$2" >"$3"' sh \
	"$BUILD/user/growth" "$rounds" "$out/growth.tsv" ||
	die_with_log "$out/growth.log" 'the program failed'
sed 1d "$out/growth.tsv" | to_json >"$json"
add_ratios growth_ratios 'startswith("growth ")'
report | tee "$out/growth.txt"
picture
limits_hold || die "limits are missed: see $json"
