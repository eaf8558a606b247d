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
usage: $me [-n] [-k KERNELS] [-o DIR] all | TEST ...
       $me kunitpy

Runs tests and ends with one line "N passed, N failed, N skipped".

  -k KERNELS  on these (default: normal, for all normal,debug); kcsan is for the
              test of that name
  -n          take the kernels as they are, don't build them
  -o DIR      where the logs go (default: build/test)

Tests, and the kernels they run on:
$(sed -n 's/^\([a-z][^ ]*\) *\([^ ]*\).*/  \1\t\2/p' "$list" | expand -t 14)
  kunitpy     the KUnit suite by kunit.py run, in a kernel of its own (minutes)

A test's results are the KTAP on its standard output, judged by
tools/test/judge.sh; in a virtual machine, the machine must also end in order
and its kernel's log be free of complaints. A SKIP that tools/test/skips does not
list is told, and is a failure when CI is set.

Environment: BUILD, CI, LIST; BUDGET, in seconds, from now, or from START if that
is set (as date +%s has it): what is not done by then has failed.
USAGE
}

# Seconds of the budget that are left.
left() { echo $((deadline - $(date +%s))); }

# one TEST KERNEL LIMIT COMMAND: run it, judge it, print a line. The results are
# in $dir/counts.
one() {
	start=$(date +%s)
	if [ "$(left)" -le 0 ]; then
		echo 0 1 0 >"$dir/counts"
		printf 'FAIL  %-7s %-10s not run: the time is used up, BUDGET=%s\n' "$2" "$1" "$BUDGET"
		return
	fi
	[ "$3" -le "$(left)" ] || set -- "$1" "$2" "$(left)" "$4"
	problem=''
	if [ "$2" = host ]; then
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
	# A test that fails says so by its status as well: count that once.
	[ -z "$problem" ] || [ "$f" -gt 0 ] || f=1
	word=ok
	[ "$f" = 0 ] || word=FAIL
	printf '%-4s  %-7s %-10s %4d passed %3d failed %3d skipped %5d s\n' \
		$word "$2" "$1" "$p" "$f" "$s" $(($(date +%s) - start))
	sed 1d "$dir/verdict" | head -n 10 | sed 's/^/      /'
	# Of the test, and of the machine
	sed -n 's/^# note: /      note: /p' "$dir/stdout"
	cat "$dir/stderr" "$dir/vm.log" 2>/dev/null | sed -n 's/^vm\.sh: note: /      note: /p'
	if [ "$f" != 0 ]; then
		[ -z "$problem" ] || echo "      ${problem%: see *}"
		echo "      see $dir/stdout, $log"
	fi
	echo "$p $f $s" >"$dir/counts"
}

# at_once N: wait until fewer than so many tests run.
at_once() {
	while :; do
		running='' n=0
		for pid in $child; do
			! kill -0 "$pid" 2>/dev/null || running="$running $pid" n=$((n + 1))
		done
		child=$running
		[ "$n" -ge "$1" ] || break
		sleep 1
	done
}

# begin TEST KERNEL LIMIT COMMAND: run it beside what runs already. What it has to
# say comes at its end, in one piece.
begin() {
	dir=$out/$2/$1
	rm -rf "$dir"
	mkdir -p "$dir"
	(
		alone
		one "$@" >"$dir/row"
		cat "$dir/row"
	) &
	child="$child $!"
}

# No kernel is a failure of its own, and then of each test that wanted it.
kernel() {
	why='the kernel does not build' rc=124
	[ "$(left)" -le 0 ] || attend timeout -k 30 "$(left)" "$tools/vm/kernel.sh" "$1"
	[ "$rc" != 0 ] || return 0
	[ "$rc" != 124 ] || why="no time to build the kernel, BUDGET=$BUDGET"
	failed=$((failed + 1))
	echo "FAIL  $1  $why"
	rm -f "$BUILD/out/$1/arch/x86/boot/bzImage"
}

# The suite in a kernel that kunit.py configures, builds and boots itself.
kunitpy() {
	mkdir -p "$out/kunitpy"
	rc=0
	run "$out/kunitpy/log" "kunit.py run" \
		python3 "$linux/tools/testing/kunit/kunit.py" run --arch=x86_64 \
		--kunitconfig="$linux/mm/tests/.kunitconfig" \
		--build_dir="$BUILD/kunit" --jobs="$JOBS" --timeout=600 \
		--json="$out/kunitpy/json" || rc=$?
	p=0 f=0 s=0
	if [ -s "$out/kunitpy/json" ]; then
		jq -r '.. | .test_cases? // empty | .[] | .status' \
			"$out/kunitpy/json" >"$out/kunitpy/status"
		p=$(grep -c PASS "$out/kunitpy/status" || :)
		s=$(grep -c SKIP "$out/kunitpy/status" || :)
		f=$(grep -cvE 'PASS|SKIP' "$out/kunitpy/status" || :)
	fi
	[ $rc = 0 ] && [ "$p" -gt 0 ] || [ "$f" -gt 0 ] || f=1
	[ "$f" = 0 ] || say "kunit.py run failed: see $out/kunitpy/log"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
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

BUDGET=${BUDGET:-86400}
deadline=$((${START:-$(date +%s)} + BUDGET))
export BUILD TOOLS="$tools" PROGRAMS="$BUILD/programs"
passed=0 failed=0 skipped=0
for name; do
	case $name in
	all | kunitpy) ;;
	*) grep -q "^$name " "$list" || die "no test $name: see $me -h" ;;
	esac
done
if [ -z "$kernels" ]; then
	case " $* " in *" all "*) kernels=normal,debug ;; *) kernels=normal ;; esac
fi
make_tmp
# The tests to run, as: kernel, name, limit, command. One kernel after the other.
for kernel in host normal debug kcsan; do
	case ,host,$kernels, in *,$kernel,*) ;; *) continue ;; esac
	grep '^[a-z]' "$list" | while read -r name on limit command; do
		case " $* " in *" all "* | *" $name "*) ;; *) continue ;; esac
		case ,$on, in *,$kernel,*) ;; *) continue ;; esac
		case $kernel in debug | kcsan) limit=$((limit * 4)) ;; esac
		printf "%s\n" "$kernel $name $limit $command"
	done
done >"$tmp/plan"
if grep -qv '^host ' "$tmp/plan"; then
	build_programs
fi
# A test in a machine of one's own waits for half of its time, so two of them run at
# once. Those on the host have the host to themselves.
built=host width=1
while read -r kernel name limit command <&3; do
	if [ "$kernel" != "$built" ]; then
		at_once 1
		built=$kernel width=2
		[ -n "$asis" ] || kernel "$kernel"
	fi
	at_once $width
	begin "$name" "$kernel" "$limit" "$command"
done 3<"$tmp/plan"
at_once 1
while read -r kernel name limit command; do
	read -r p f s 2>/dev/null <"$out/$kernel/$name/counts" || {
		p=0 f=1 s=0
		echo "FAIL  $kernel  $name  ended without results"
	}
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done <"$tmp/plan"
case " $* " in *" kunitpy "*) kunitpy ;; esac

[ $((passed + failed + skipped)) -gt 0 ] || { say "nothing was run"; failed=1; }
echo "logs: $out"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
