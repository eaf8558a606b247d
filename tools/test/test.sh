#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Run the tests of tools/test/list, in virtual machines, and count the results.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/vm/programs.sh
. "$tools/vm/programs.sh"
list=${LIST:-$tools/test/list}

usage() {
	cat <<USAGE
usage: $me [-n] [-k KERNELS] [-o DIR] SET | TEST ...

Runs tests, two at a time. The last line is "N passed, N failed, N skipped".

  -k KERNELS  run them on these (default: for a set all of its own, for a test the first)
  -n          use the kernels as they are, don't build them
  -o DIR      where the logs go (default: build/test)

Sets: test (one kernel, takes minutes), all. Tests, with the smallest set that has
each, and the kernels they run on (host: none; own: the test starts machines itself,
with the normal kernel):
$(sed -n 's/^\([a-z][^ ]*\) *\([^ ]*\) *\([^ ]*\).*/  \1\t\2\t\3/p' "$list" | expand -t 18,24)

A test's results are the KTAP on its standard output, judged by
tools/test/judge.sh. In a virtual machine, the machine must also end in order
and its kernel's log be free of complaints. A SKIP that tools/test/skips does not
list is reported, and is a failure when CI is set.

Environment: BUILD, CI, LIST; BUDGET, in seconds, from now, or from START if that
is set (in the form of date +%s): a test that is not done by then has failed.
USAGE
}

# Prints how many seconds of the budget are left.
left() { echo $((deadline - $(date +%s))); }

# one TEST KERNEL LIMIT COMMAND: run the test, judge it and print a line. The results
# are in $dir/counts.
one() {
	start=$(date +%s)
	limit=$(left)
	if [ "$limit" -le 0 ]; then
		echo 0 1 0 0 >"$dir/counts"
		printf 'FAIL  %-7s %-10s not run: the time is used up, BUDGET=%s\n' "$2" "$1" "$BUDGET"
		return
	fi
	[ "$3" -le "$limit" ] || set -- "$1" "$2" "$limit" "$4"
	problem=''
	if [ "$2" = host ] || [ "$2" = own ]; then
		attend timeout -k 10 "$3" sh -c "$4" >"$dir/stdout" 2>"$dir/stderr"
		[ $rc = 0 ] || problem="exit status $rc"
		[ $rc != 124 ] || problem="time limit of $3 s"
		log=$dir/stderr
	else
		attend "$tools/vm/vm.sh" -n -k "$2" -t "$3" -o "$dir" env \
			BUILD="$BUILD" TOOLS="$tools" PROGRAMS="$PROGRAMS" sh -c "$4" \
			>"$dir/vm.log" 2>&1
		[ $rc = 0 ] || problem=$(tail -n 1 "$dir/vm.log")
		[ -n "$problem" ] || [ $rc = 0 ] || problem="exit status $rc"
		log=$dir/console.log
	fi
	"$tools/test/judge.sh" "$1" "$dir/stdout" >"$dir/verdict" 2>"$dir/judge.log" ||
		{ echo "0 1 0"; tail -n 1 "$dir/judge.log"; } >"$dir/verdict"
	read -r p f s <"$dir/verdict"
	# A test that fails says so by its status as well, so that is counted once.
	[ -z "$problem" ] || [ "$f" -gt 0 ] || f=1
	word=ok
	[ "$f" = 0 ] || word=FAIL
	printf '%-4s  %-7s %-10s %4d passed %3d failed %3d skipped %5d s\n' \
		$word "$2" "$1" "$p" "$f" "$s" $(($(date +%s) - start))
	sed 1d "$dir/verdict" | head -n 10 | sed 's/^/      /'
	# These are notes of the test and of the machine.
	sed -n 's/^# note: /      note: /p' "$dir/stdout"
	cat "$dir/stderr" "$dir/vm.log" 2>/dev/null | sed -n 's/^vm\.sh: note: /      note: /p'
	if [ "$f" != 0 ]; then
		[ -z "$problem" ] || echo "      ${problem%: see *}"
		[ "$log" != "$dir/stderr" ] || tail -n 8 "$log" | cut -c -300 | sed 's/^/        /'
		echo "      see $dir/stdout, $log"
	fi
	echo "$p $f $s $(($(date +%s) - start))" >"$dir/counts"
}

# tick WHAT: say how far all of the tests are.
tick() {
	done=$(find "$out" -name counts -newer "$tmp/plan" | wc -l)
	say "$done of $(wc -l <"$tmp/plan") tests done, $(($(date +%s) - begun)) s: $1"
}

# wait_while WHAT COMMAND...: wait until the command fails. Every 20 seconds, tell what
# the command WHAT prints.
wait_while() {
	what=$1 waited=0
	shift
	while "$@"; do
		sleep 1
		waited=$((waited + 1))
		[ $((waited % 20)) -ne 0 ] || tick "$($what)"
	done
}

# $tests is a list of KERNEL/TEST:PID.
running() { echo "running: $(echo "$tests" | sed 's/:[0-9]*//g')"; }
at_least() {
	alive='' n=0
	for test in $tests; do
		! kill -0 "${test##*:}" 2>/dev/null || alive="$alive $test" n=$((n + 1))
	done
	tests=$alive
	child="$builder $(echo "$tests" | sed 's/[^ ]*://g')"
	[ "$n" -ge "$1" ]
}

# begin TEST KERNEL LIMIT COMMAND: run the test beside those that are running. Its
# output comes at its end, in one piece.
begin() {
	dir=$out/$2/$1
	rm -rf "$dir"
	mkdir -p "$dir"
	: >"$dir/stdout"
	(
		alone
		one "$@" >"$dir/row"
		cat "$dir/row"
	) &
	tests="$tests $2/$1:$!"
	child="$child $!"
}

# build KERNEL...: build one after the other, in the background.
build() {
	here=$tmp
	alone
	for kernel; do
		start=$(date +%s) limit=$(left) rc=124
		[ "$limit" -le 0 ] || attend timeout -k 30 "$limit" \
			"$tools/vm/kernel.sh" "$kernel" >"$here/build" 2>&1
		printf '%5d s  building the %s kernel\n' $(($(date +%s) - start)) "$kernel" >>"$here/times"
		[ "$rc" = 0 ] || no_kernel >"$here/failed.$kernel"
	done
}
no_kernel() {
	rm -f "$BUILD/out/$kernel/arch/x86/boot/bzImage"
	why='the kernel does not build'
	[ "$rc" != 124 ] || why="no time to build the kernel, BUDGET=$BUDGET"
	echo "FAIL  $kernel  $why"
	sed 's/^/      /' "$here/build" | tail -n 20
}

# built: wait until all kernels are there, because beside two machines a build takes
# three times as long. A kernel that does not build is a failure of its own, and then of
# each test that needs it.
builds() { kill -0 "$builder" 2>/dev/null; }
build_said() { tail -n 1 "$tmp/build" 2>/dev/null || :; }
built() {
	[ -n "$builder" ] || return 0
	wait_while build_said builds
	builder=''
	for failure in "$tmp"/failed.*; do
		[ -e "$failure" ] || continue
		failed=$((failed + 1))
		cat "$failure"
	done
}

# first_on TEST: print the kernels of the first line of the list that has the test.
first_on() { sed -n "s/^$1  *[^ ]*  *\([^ ]*\) .*/\1/p" "$list" | head -n 1; }

# wants TEST SET ON ARGUMENT...: print the kernels on which this script's arguments ask
# for this line of the list, separated by commas, or host.
wants() {
	test=$1 set=$2 on=$3
	shift 3
	for arg; do
		case $arg,$set in
		"$test",*)
			[ -n "$kernels" ] || [ "$on" = "$(first_on "$test")" ] || continue
			echo "${kernels:-${on%%,*}}"
			;;
		test,test) echo "${kernels:-${on%%,*}}" ;;
		all,test | all,all) echo "${kernels:-$on}" ;;
		*) continue ;;
		esac
		return
	done
}

# plan ARGUMENT...: print the tests to run, as: kernel, name, limit, command. Those that
# need no kernel come first and run while the kernels are built; those that are slowest
# do not come last, when they would run alone.
plan() {
	for kernel in host own debug normal kcsan; do
		grep '^[a-z]' "$list" | while read -r name set on limit command; do
			wanted=$(wants "$name" "$set" "$on" "$@")
			case $on in host | own) wanted=${wanted:+$on} ;; esac
			case ,$on, in *,$kernel,*) ;; *) continue ;; esac
			case ,$wanted, in *,$kernel,*) ;; *) continue ;; esac
			case $kernel in debug | kcsan) limit=$((limit * 4)) ;; esac
			printf "%s\n" "$kernel $name $limit $command"
		done
	done
}

# Prints the kernels that the plan needs, in its order.
to_build() {
	cut -d ' ' -f 1 "$tmp/plan" | sed -e '/host/d' -e 's/own/normal/' | awk '!seen[$0]++'
}

kernels='' asis=''
out=$BUILD/test
while getopts k:o:nh opt; do
	case $opt in
	k) kernels=$OPTARG ;;
	o) out=$OPTARG ;;
	n) asis=1 ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { usage >&2; exit 2; }
mkdir -p "$out"
out=$(cd "$out" && pwd)

begun=$(date +%s)
BUDGET=${BUDGET:-86400}
deadline=$((${START:-$begun} + BUDGET))
export BUILD TOOLS="$tools" PROGRAMS="$BUILD/programs"
passed=0 failed=0 skipped=0 tests='' builder=''
for name; do
	case $name in test | all) continue ;; esac
	grep -q "^$name " "$list" || die "no test $name: see $me -h"
done
make_tmp
plan "$@" >"$tmp/plan"
if [ -n "$(to_build)" ]; then
	build_programs
	if [ -z "$asis" ]; then
		# shellcheck disable=SC2046	# Words.
		build $(to_build) &
		builder=$!
		child=$builder
	fi
fi
# A test in a machine of its own is idle for half of its time, so two of them run at
# once.
while read -r kernel name limit command <&3; do
	[ "$kernel" = host ] || built
	wait_while running at_least 2
	begin "$name" "$kernel" "$limit" "$command"
done 3<"$tmp/plan"
wait_while running at_least 1
while read -r kernel name limit command; do
	read -r p f s t 2>/dev/null <"$out/$kernel/$name/counts" || {
		p=0 f=1 s=0 t=0
		echo "FAIL  $kernel  $name  ended without results"
	}
	printf '%5d s  %s on the %s kernel\n' "$t" "$name" "$kernel" >>"$tmp/longest"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done <"$tmp/plan"

[ $((passed + failed + skipped)) -gt 0 ] || { say "nothing was run"; failed=1; }
if [ "$(wc -l <"$tmp/plan")" -gt 10 ]; then
	echo "The ten longest of $(wc -l <"$tmp/plan") tests:"
	sort -rn "$tmp/longest" | head -n 10 | sed -E 's/ on the (host|own) kernel$//'
	cat "$tmp/times" 2>/dev/null || :
	printf '%5d s  in all\n' $(($(date +%s) - begun))
fi
echo "logs: $out"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
