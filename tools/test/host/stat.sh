#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Test tools/mm/transient_memmap with devices made of plain files. Writes KTAP to
# stdout. Runs on the host.
#
# A failure means: an operator is shown wrong numbers, or none after one of the devices
# goes.
# shellcheck disable=SC2317	# The tests are called by name.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"

case ${1:-} in
-h)
	echo "usage: $me"
	echo "Tests tools/mm/transient_memmap of $linux. Prints KTAP."
	exit 0
	;;
esac
source=$linux/tools/mm/transient_memmap.c
[ -e "$source" ] || die "$source: not found"
command -v jq >/dev/null || die 'needs jq'
make_tmp
dax=$tmp/sys/bus/dax/devices
node=$tmp/sys/devices/system/node

# set_attr DEVICE FILE VALUE: write it at once, as sysfs does, for somebody may be
# reading.
set_attr() {
	echo "$3" >"$tmp/new"
	mv "$tmp/new" "$dax/$1/$2"
}

# add_device DEVICE RESOURCE SIZE: add one without a pool.
add_device() {
	mkdir -p "$dax/$1"
	set_attr "$1" numa_node 1
	set_attr "$1" resource "$2"
	set_attr "$1" size "$3"
}

# add_pool DEVICE FIRST: number its limits and statistics from FIRST, so that no two
# numbers are the same. Its memmap takes that many KiB.
add_pool() {
	mkdir -p "$dax/$1/transient"
	set_attr "$1" transient/cap "$2"
	set_attr "$1" transient/cache $(($2 + 1))
	set_attr "$1" transient/longterm 1
	set_attr "$1" transient/stats "$(add_pool_nr=$(($2 + 2))
		echo block_size 2097152
		for a in live cached peak populated freed failed flushes; do
			echo "$a $add_pool_nr"
			add_pool_nr=$((add_pool_nr + 1))
		done
		echo "memmap_bytes $(($2 * 1024))")"
}

# set_stat DEVICE NAME VALUE: change or add a statistic.
set_stat() {
	set_attr "$1" transient/stats "$(grep -v "^$2 " "$dax/$1/transient/stats"
		echo "$2 $3")"
}

# set_pinned NUMBER: set the count of pinned pages of node 1.
set_pinned() {
	printf 'nr_free_pages 7\nnr_foll_pin_acquired %s\nnr_foll_pin_released 9\n' "$1" >"$tmp/new"
	mv "$tmp/new" "$node/node1/vmstat"
}

# Three devices are bound, in another order than the shell's, and one is not.
fresh() {
	rm -rf "$dax" "$node"
	mkdir -p "$node/node1"
	set_pinned 500
	add_device dax0.0 0x1000000000 137438953472
	add_pool dax0.0 101
	add_device dax10.0 0x5000000000 1610612736
	add_pool dax10.0 301
	add_device dax2.0 0x8000000000 270532608
	add_pool dax2.0 201
	add_device dax3.0 0x9000000000 137438953472
}

stat() { timeout 60 "$tmp/transient_memmap" -s "$dax" "$@"; }

# expect STATUS PATTERN COMMAND...: the command must end so, with one line that matches.
expect() {
	want=$1 pattern=$2
	shift 2
	got=0
	"$@" >"$tmp/out" 2>&1 || got=$?
	[ "$got" = "$want" ] || {
		echo "status $got, not $want: $(tail -n 1 "$tmp/out")"
		return 1
	}
	[ "$(wc -l <"$tmp/out")" = 1 ] || {
		echo "not one line: $(tail -n 1 "$tmp/out")"
		return 1
	}
	grep -q -e "$pattern" "$tmp/out" || {
		echo "no \"$pattern\": $(cat "$tmp/out")"
		return 1
	}
}

# same FILE: it must be what is on stdin, except for the width of the columns.
same() {
	tr -s ' ' <"$1" >"$tmp/got"
	diff - "$tmp/got" >"$tmp/diff" || {
		sed 's/^/# /' "$tmp/diff"
		echo "not as expected"
		return 1
	}
}

# wait_for FILE PATTERN: wait for a line that matches, for 20 seconds at most.
wait_for() {
	wait_nr=200
	until grep -q "$2" "$1"; do
		wait_nr=$((wait_nr - 1))
		[ $wait_nr -gt 0 ] || { echo "no \"$2\" in time"; return 1; }
		sleep 0.1
	done
}

# said LINES [PATTERN]: $tmp/err has so many lines, and all of them match.
said() {
	if [ "$(wc -l <"$tmp/err")" != "$1" ] ||
		[ "$(grep -c -e "${2:-}" "$tmp/err")" != "$1" ]; then
		echo "said: $(tail -n 1 "$tmp/err")"
		return 1
	fi
}

builds() {
	# shellcheck disable=SC2086	# It may have arguments.
	${CC:-cc} -g -O2 -Wall -Wextra -Werror -fsanitize=address,undefined \
		-o "$tmp/transient_memmap" "$source"
}

one_sample() {
	fresh
	stat >"$tmp/out" || return 1
	same "$tmp/out" <<-TEXT
	device resource size live cached cache cap memmap_bytes node_pinned populated freed failed flushes
	dax0.0 0x1000000000 128G 103 104 102 101 101K 500 106 107 108 109
	dax2.0 0x8000000000 258M 203 204 202 201 201K 500 206 207 208 209
	dax10.0 0x5000000000 1536M 303 304 302 301 301K 500 306 307 308 309
	TEXT
}

named_in_their_order() {
	fresh
	stat dax2.0 dax0.0 dax2.0 >"$tmp/out" || return 1
	[ "$(cut -d ' ' -f 1 "$tmp/out" | tr '\n' ' ')" = 'device dax2.0 dax0.0 ' ]
}

json() {
	fresh
	stat -j >"$tmp/out" || return 1
	[ "$(wc -l <"$tmp/out")" = 1 ] || { echo 'not one line'; return 1; }
	jq -e 'map(.device) == ["dax0.0", "dax2.0", "dax10.0"] and .[0] == {
		device: "dax0.0", resource: 68719476736, size: 137438953472,
		cap: 101, cache: 102, longterm: 1, block_size: 2097152, live: 103,
		cached: 104, peak: 105, populated: 106, freed: 107, failed: 108,
		flushes: 109, memmap_bytes: 103424, node_pinned: 500 }' "$tmp/out" >/dev/null ||
		{ cat "$tmp/out"; return 1; }
}

# A newer kernel may tell more, and another one less.
other_kernel() {
	fresh
	set_stat dax0.0 from_the_future 7
	set_attr dax2.0 transient/stats "$(grep -v flushes "$dax/dax2.0/transient/stats")"
	stat -j >"$tmp/out" || return 1
	jq -e '.[0].from_the_future == 7 and .[0].flushes == 109 and .[1].live == 203' \
		"$tmp/out" >/dev/null || { cat "$tmp/out"; return 1; }
	stat dax2.0 >"$tmp/out" && grep -q ' 208 *-$' "$tmp/out"
}

# within WHAT GOT WANT: a bit less is fine, because the interval may last longer.
within() {
	awk "BEGIN { exit !($2 > 0.7 * $3 && $2 < 1.02 * $3) }" ||
		{ echo "$1: $2 per second, not $3"; return 1; }
}

# The counters change some time after the first line, so the rates of the other two
# lines must add up to the difference.
rates() {
	fresh
	: >"$tmp/text"
	stat -n 3 1 dax0.0 >"$tmp/text" &
	text=$!
	stat -j -n 3 1 dax0.0 >"$tmp/json" &
	json=$!
	wait_for "$tmp/text" '^dax' && wait_for "$tmp/json" '^\[' || return 1
	set_pinned 1000500
	set_stat dax0.0 populated 100106
	set_stat dax0.0 freed 10107
	set_stat dax0.0 failed 1108
	set_stat dax0.0 flushes 209
	wait "$text" || { echo 'failed'; return 1; }
	wait "$json" || { echo 'failed with -j'; return 1; }
	grep -q 'node_pinned/s *populated/s *freed/s *failed/s *flushes/s' "$tmp/text" || { echo 'header'; return 1; }
	nr=9
	for a in node_pinned:1000000 populated:100000 freed:10000 failed:1000 flushes:100; do
		want=${a#*:} a=${a%:*}
		within "$a" "$(awk "/^dax/ { s += \$$nr } END { print s }" "$tmp/text")" "$want" || return 1
		within "json $a" "$(jq -s "map(.[0].${a}_per_s) | add" "$tmp/json")" "$want" || return 1
		jq -s -e ".[2][0].$a > $want" "$tmp/json" >/dev/null || { echo "no total of $a"; return 1; }
		nr=$((nr + 1))
	done
}

node_unknown() {
	fresh
	rm -r "$node"
	set_attr dax2.0 numa_node -1
	stat -j -n 1 0.01 >"$tmp/out" || return 1
	jq -e 'map(.node_pinned, .node_pinned_per_s) | all(. == null) and length == 6' \
		"$tmp/out" >/dev/null || { cat "$tmp/out"; return 1; }
	stat dax2.0 >"$tmp/out" && grep -q ' - *206 ' "$tmp/out"
}

header_every_20() {
	fresh
	stat -n 41 0.01 dax0.0 >"$tmp/out" || return 1
	[ "$(grep -n '^device' "$tmp/out" | cut -d : -f 1 | tr '\n' ' ')" = '1 22 43 ' ] &&
		[ "$(wc -l <"$tmp/out")" = 44 ]
}

# watched COMMAND...: run it after a first sample of all devices. The samples are in
# $tmp/out, a line of JSON each.
watched() {
	fresh
	: >"$tmp/out"
	stat -j -n 4 0.5 >"$tmp/out" 2>"$tmp/err" &
	pid=$!
	wait_for "$tmp/out" '^\[' || return 1
	"$@"
	wait "$pid" || { echo "status $?: $(tail -n 1 "$tmp/err")"; return 1; }
	[ "$(wc -l <"$tmp/out")" = 4 ] || { echo 'not 4 samples'; return 1; }
}

one_goes() {
	watched rm -r "$dax/dax0.0" || return 1
	jq -s -e '(.[0] | length) == 3 and (.[3] | map(.device)) == ["dax2.0", "dax10.0"]' \
		"$tmp/out" >/dev/null || { tail -n 1 "$tmp/out"; return 1; }
	said 1 "$dax/dax0.0/.*: No such file"
}

all_go() {
	watched rm -r "$dax/dax0.0" "$dax/dax2.0/transient" "$dax/dax10.0" || return 1
	[ "$(tail -n 1 "$tmp/out")" = '[]' ]
}

one_comes() {
	watched add_pool dax3.0 401 || return 1
	jq -s -e '.[3] | map(select(.device == "dax3.0" and .populated_per_s == 0)) | length == 1' \
		"$tmp/out" >/dev/null || { tail -n 1 "$tmp/out"; return 1; }
	said 0
}

bound_anew() {
	watched add_pool dax0.0 1 || return 1
	jq -s -e 'map(.[] | .populated_per_s, .flushes_per_s) | all(. == 0)' "$tmp/out" >/dev/null ||
		{ echo 'rates of a counter that began anew'; return 1; }
	jq -s -e '.[3][0].populated == 6' "$tmp/out" >/dev/null
}

none_has_a_pool() {
	fresh
	rm -r "$dax"/*/transient
	expect 1 "^transient_memmap: no device with a transient memmap below $dax\$" stat
}

bad_content() {
	for file in cap stats; do
		fresh
		set_attr dax2.0 transient/$file lots
		stat >"$tmp/out" 2>"$tmp/err" || return 1
		said 1 "$dax/dax2.0/transient/$file: Invalid" || return 1
		[ "$(wc -l <"$tmp/out")" = 3 ] || return 1
	done
}

# reader_goes ACTION: ACTION is the trap of SIGPIPE, "-" or nothing.
reader_goes() {
	fresh
	# shellcheck disable=SC2064	# Now.
	(trap "$1" PIPE; stat 0.05 2>"$tmp/err") | head -n 1 >"$tmp/out"
	[ -s "$tmp/out" ] && said 0
}

interrupted() {
	fresh
	: >"$tmp/out"
	# A shell without job control makes its background processes ignore SIGINT.
	env --default-signal=INT "$tmp/transient_memmap" -s "$dax" 0.05 \
		>"$tmp/out" 2>"$tmp/err" &
	pid=$!
	wait_for "$tmp/out" '^dax' || return 1
	kill -INT "$pid"
	got=0
	wait "$pid" || got=$?
	[ "$got" = 130 ] || { echo "status $got, not 130"; return 1; }
	said 0
}

disk_is_full() {
	fresh
	got=0
	stat 2>"$tmp/err" >/dev/full || got=$?
	[ "$got" = 1 ] && said 1 'stdout: No space'
}

help() {
	stat -h >"$tmp/out" && grep -q '^Usage: transient_memmap ' "$tmp/out"
}

unknown_option() {
	got=0
	stat -x >"$tmp/out" 2>"$tmp/err" || got=$?
	[ "$got" = 2 ] && [ ! -s "$tmp/out" ] && grep -q '^Usage: ' "$tmp/err"
}

ktap_plan 31
ktap_check 'builds without a warning' builds
fresh
ktap_check 'one sample' one_sample
ktap_check 'devices that are named' named_in_their_order
ktap_check 'JSON' json
ktap_check 'a kernel with other statistics' other_kernel
ktap_check 'rates' rates
ktap_check 'node is not known' node_unknown
ktap_check 'header every 20 samples' header_every_20
ktap_check 'a device goes' one_goes
ktap_check 'all devices go' all_go
ktap_check 'a device comes' one_comes
ktap_check 'a device is bound anew' bound_anew
ktap_check 'no device with a pool' none_has_a_pool
ktap_check 'a file that is no number' bad_content
fresh
ktap_check 'named device is static' expect 1 "$dax/dax3.0/transient: no transient memmap" stat dax3.0
ktap_check 'one of two named is static' expect 1 "$dax/dax3.0/transient: no transient memmap" stat dax0.0 dax3.0
ktap_check 'named device is not there' expect 1 "$dax/dax9.0: No such file" stat dax9.0
ktap_check 'name of no device' expect 1 'nonsense: not the name of a device' stat nonsense
ktap_check 'name of a path' expect 1 'dax0.0/: not the name of a device' stat dax0.0/
ktap_check 'directory is not there' expect 1 "$dax/none: No such file" stat -s "$dax/none"
ktap_check 'reader goes' reader_goes -
ktap_check 'reader goes, SIGPIPE ignored' reader_goes ''
ktap_check 'interrupted' interrupted
ktap_check 'disk is full' disk_is_full
ktap_check 'interval of 0' expect 2 '^transient_memmap: 0: not an interval' stat 0
ktap_check 'interval with a unit' expect 2 '1s: not an interval' stat 1s
ktap_check 'interval of a day' expect 2 '86400: not an interval' stat 86400
ktap_check 'no number of samples' expect 2 '-n 0: not a number' stat -n 0 1
ktap_check 'samples without an interval' expect 2 '-n 2: needs an INTERVAL' stat -n 2
ktap_check 'unknown option' unknown_option
ktap_check 'help' help
[ "$ktap_failed" = 0 ]
