#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Break what the test runner watches, and check that it notices. Writes KTAP to stdout.
#
# A failure means: a broken kernel, or a test that was cut short, passes as good.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"

case ${1:-} in
-h)
	echo "usage: $me"
	echo "Tests vm.sh, kernel.sh, demo.sh, judge.sh and test.sh with machines, paths, logs and results that fail."
	exit 0
	;;
esac
# The runs below have a budget of their own, not the rest of this one's.
unset START BUDGET
image=$BUILD/out/normal/arch/x86/boot/bzImage
make_tmp

# expect STATUS WORDS COMMAND...: the command must end with both.
expect() {
	want=$1 words=$2
	shift 2
	got=0
	"$@" >"$tmp/out" 2>&1 || got=$?
	[ "$got" = "$want" ] || {
		tail -n 4 "$tmp/out" | sed 's/^/# /'
		echo "status $got, not $want: $(tail -n 1 "$tmp/out")"
		return 1
	}
	[ -z "$words" ] || grep -q "$words" "$tmp/out" || { echo "no \"$words\": $(tail -n 1 "$tmp/out")"; return 1; }
}

# wait_for WHAT COMMAND...: wait until the command succeeds, for 20 seconds at most.
wait_for() {
	what=$1
	shift
	for _ in $(seq 200); do
		! "$@" || return 0
		sleep 0.1
	done
	echo "waited 20 s for $what"
	return 1
}

# ends_with WORDS: the output that expect has caught must have them in its last line.
ends_with() {
	tail -n 1 "$tmp/out" | grep -q "$1" || { echo "last line: $(tail -n 1 "$tmp/out")"; return 1; }
}

# refused STATUS WORDS COMMAND...: the command must fail at once, with one line.
refused() {
	want=$1 words=$2
	shift 2
	expect "$want" "$words" timeout 10 "$@" || return 1
	[ "$(wc -l <"$tmp/out")" = 1 ] || { echo "$(wc -l <"$tmp/out") lines"; return 1; }
}

vm() {
	limit=$1
	shift
	"$tools/vm/vm.sh" -t "$limit" -o "$tmp/vm" "$@"
}

# This stands in for QEMU. The first COUNT machines crash after LINE is on the console;
# later ones run a script in the directory of the results, where QEMU would run.
mkdir "$tmp/bin"
cat >"$tmp/bin/qemu-system-x86_64" <<CRASH
#!/bin/sh
read -r crashes <"$tmp/crashes"
if [ "\$crashes" -gt 0 ]; then
	echo \$((crashes - 1)) >"$tmp/crashes"
	cp "$tmp/says" console.log
	kill -SEGV \$\$
fi
. "$tmp/then"
CRASH
chmod 755 "$tmp/bin/qemu-system-x86_64"

# fake COUNT LINE SCRIPT STATUS WORDS COMMAND...: expect with that QEMU.
fake() {
	echo "$1" >"$tmp/crashes"
	echo "$2" >"$tmp/says"
	echo "$3" >"$tmp/then"
	shift 3
	PATH=$tmp/bin:$PATH expect "$@"
}
ends='echo 0 >status; echo fine >stdout; echo "reboot: Power down" >console.log'

crashes_once() {
	fake 1 'pci: BAR 0' "$ends" 0 'so that was tried again' vm 60 true && grep -q fine "$tmp/out"
}
crashes_twice() { fake 2 'pci: BAR 0' "$ends" 125 'QEMU crashed (status 139): see' vm 60 true; }
crashes_later() {
	fake 1 'Run /x as init process' "$ends" 125 'QEMU crashed (status 139): see' vm 60 true
}

# The end of the log comes before its name.
hangs() {
	fake 0 '' 'echo reached the end >console.log; exec sleep 1000' \
		124 '^    reached the end' vm 2 true && ends_with 'time limit.*see .*/console.log$'
}
dies() {
	fake 0 '' 'echo Kernel panic - not syncing: x >console.log' \
		125 '^    Kernel panic - not syncing' vm 60 true && ends_with 'died.*see .*/console.log$'
}
not_in_order() {
	fake 0 '' 'echo 0 >status; echo reached the end >console.log' \
		125 '^    reached the end' vm 60 true && ends_with 'in order.*see .*/console.log$'
}
no_machine() {
	expect 125 'not a valid device' vm 60 -q '-device nonsense' true && ends_with 'see .*/qemu.log$'
}

# The machine has file systems of its own at these places. Each directory is removed at
# the end.
below_tmp=/tmp/runner.$$ below_run=/run/runner.$$ below_var=/var/tmp/runner.$$
trap 'rm -rf "$below_tmp" "$below_run" "$below_var"; cleanup' EXIT

# place CHECKOUT BUILD: copy the scripts, and put a file into each that no other has.
place() {
	for dir in "$below_tmp" "$below_run" "$below_var"; do
		mkdir -p "$dir" 2>/dev/null || { echo "cannot write to ${dir%/*}"; return 4; }
	done
	mkdir -p "$1" "$2"
	cp -r "$tools" "$1/tools"
	cp "$image" "$2/bzImage"
	echo this checkout >"$1/mark"
	echo this BUILD >"$2/mark"
	chmod -R a+rX "$1" "$2"
}

# seen CHECKOUT BUILD: a command in the machine has seen both files.
seen() {
	[ "$(head -n 2 "$tmp/out" | tr '\n' ' ')" = 'this checkout this BUILD ' ] ||
		{ echo "in the machine: $(tail -n 1 "$tmp/out")"; return 1; }
}

# $somebody runs a command as another user than root. It is a list, or empty.
somebody=''
[ "$(id -u)" != 0 ] || somebody='setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/'

# Each of the three is in another place than the others.
good_below_tmp() {
	c=$below_tmp/checkout b=$below_run/build
	place "$c" "$b" || return
	expect 0 '^fine$' env BUILD="$b" "$c/tools/vm/vm.sh" -t 120 -k "$b/bzImage" \
		-o "$below_var/results" sh -c "cat $c/mark $b/mark; echo fine; echo result >/run/out/result" || return 1
	[ "$(cat "$below_var/results/result")" = result ] || { echo 'no result'; return 1; }
	seen
}

# Here are symbolic links to the checkout, and in it to BUILD.
fails_below_run() {
	c=$below_run/checkout b=$below_var/build
	place "$c" "$b" || return
	ln -s "$c" "$below_tmp/link"
	ln -s "$b" "$c/build"
	[ -z "$somebody" ] || chown -R 65534 "$c" "$b"
	# shellcheck disable=SC2086
	expect 7 '' ${somebody:-env} BUILD="$below_tmp/link/build" "$below_tmp/link/tools/vm/vm.sh" -t 120 \
		-k "$b/bzImage" sh -c "cat $c/mark $b/mark; exit 7" && seen
}

# Here the checkout is in BUILD.
warns_below_var() {
	c=$below_var/all/checkout b=$below_var/all
	place "$c" "$b" || return
	expect 126 'the kernel complained: .*not really' env BUILD="$b" "$c/tools/vm/vm.sh" -t 120 \
		-k "$b/bzImage" sh -c "cat $c/mark $b/mark; echo '<4>WARNING: not really' >/dev/kmsg" || return 1
	seen && ends_with 'see .*/console.log$'
}

# Nothing is made for a path that is refused.
bad_paths() {
	for bad in 'a b' 'a,b' 'a:b' "a'b" 'a"b' "a\$b" 'a;b' 'a#b' 'a%b' 'a\b' 'a*b'; do
		refused 1 "in the path of BUILD, please: $tmp/a" env BUILD="$tmp/$bad" \
			"$tools/deps.sh" || { echo "$bad"; return 1; }
		[ ! -e "$tmp/$bad" ] || { echo "$bad was made"; return 1; }
		[ "$bad" != 'a b' ] || continue
		mkdir "$tmp/$bad"
		cp -r "$tools" "$tmp/$bad/tools"
		refused 1 'in the path of the checkout, please' \
			env -u BUILD "$tmp/$bad/tools/deps.sh" || { echo "$bad"; return 1; }
		rm -r "${tmp:?}/$bad"
	done
	refused 1 'BUILD cannot be /tmp' env BUILD=/tmp "$tools/deps.sh"
}

bad_paths_of_make() {
	mkdir "$tmp/c d"
	cp "$checkout/Makefile" "$tmp/c d"
	refused 2 'no blanks in the path' make --no-print-directory -C "$tmp/c d" kernel || return 1
	refused 2 'no blanks in BUILD' make --no-print-directory -C "$checkout" BUILD='a b' kernel
}

no_device() { refused 2 "'nonsense' is not a valid device" "$tools/vm/vm.sh" -C -q '-device nonsense'; }
no_address_space() (
	# KiB. The machine has 7 GiB of RAM.
	# shellcheck disable=SC3045	# Dash and bash have it.
	ulimit -v 4000000
	refused 2 "cannot set up guest memory" "$tools/vm/vm.sh" -C
)

# other_mounts WORDS SCRIPT: run the script where it may mount, as root or as root of a
# user namespace, in a mount namespace that nobody else sees.
other_mounts() {
	ns=-m
	[ -n "$somebody" ] || ns=-rm
	unshare $ns true 2>/dev/null || { echo 'may not mount'; return 4; }
	refused 2 "$1" unshare $ns sh -euc "$2"
}
# shellcheck disable=SC2016	# They are for the shell inside.
little_memory() {
	echo 'MemAvailable: 409600 kB' >"$tmp/meminfo"
	export meminfo="$tmp/meminfo" vm="$tools/vm/vm.sh"
	other_mounts 'not enough memory: 400 MiB are available, the machine takes [0-9]* MiB' \
		'mount --bind "$meminfo" /proc/meminfo; exec "$vm" -C'
}
# shellcheck disable=SC2016
little_disk() {
	mkdir -p "$tmp/small"
	export small="$tmp/small" vm="$tools/vm/vm.sh"
	other_mounts 'not enough disk: 200 MiB are free .* takes [0-9]* MiB' \
		'mount -t tmpfs -o size=200m small "$small"; BUILD=$small exec "$vm" -C'
}

# shellcheck disable=SC2086
unreadable() {
	c=$below_tmp/closed
	mkdir -p "$c/build"
	cp -r "$tools" "$c/tools"
	chmod -R a+rX,go-w "$c"
	chmod 555 "$c/build"
	refused 2 "cannot write to $c/build" ${somebody:-env} BUILD="$c/build" "$c/tools/vm/vm.sh" -C || return 1
	chmod 777 "$c/build"
	chmod 000 "$c/tools/vm/dax.sh"
	refused 2 'dax.sh cannot be read' ${somebody:-env} BUILD="$c/build" "$c/tools/vm/vm.sh" -C
}

# A tree that $CC configures and compiles. Two compilers run at once, each started by a
# make of its own.
tree=$tmp/tree
mkdir -p "$tree/scripts/kconfig"
# shellcheck disable=SC2016
printf '%s\n' 'tinyconfig olddefconfig:' '	@touch $(O)/.config' \
	'bzImage:' '	+@$(MAKE) -f sub CC="$(CC)"' >"$tree/Makefile"
# shellcheck disable=SC2016
printf '%s\n' 'all: one two' 'one two:' '	@$(CC) $@.c' >"$tree/sub"
printf '#!/bin/sh\n' >"$tree/scripts/kconfig/merge_config.sh"
chmod 755 "$tree/scripts/kconfig/merge_config.sh"
(
	cd "$tree"
	git init -q .
	git add .
	git -c user.name=test -c user.email=test@localhost -c commit.gpgSign=false commit -q -m test
	git tag base
)

# compiler LINE...: write a script for $CC, which builds then uses.
compiler() {
	printf '%s\n' '#!/bin/sh' "$@" >"$tmp/cc"
	chmod 755 "$tmp/cc"
}
builds() {
	rm -rf "$tmp/b"
	BUILD=$tmp/b CC=$tmp/cc exec "$tools/vm/kernel.sh" -t -s "$tree" -o "$tmp/b/out/fake"
}
# shellcheck disable=SC2016	# It is for the script.
build_fails() {
	compiler 'echo "$1:1: error: no such thing"' 'echo "context of it"' 'exit 1'
	expect 1 'context of it' eval '(builds)' && ends_with 'error: no such thing: see .*/kernel-fake.log$'
}

two_compile() { [ "$(grep -c . "$tmp/compilers" 2>/dev/null)" = 2 ]; }
none_at_work() {
	while read -r pid; do
		! kill -0 "$pid" 2>/dev/null || return 1
	done <"$tmp/compilers"
}
# build_ends SIGNAL: no part of the build is at work when the script is gone.
build_ends() {
	rm -f "$tmp/compilers"
	compiler "echo \$\$ >>$tmp/compilers" 'sleep 1000 &' "echo \$! >>$tmp/compilers.sleep" 'wait'
	JOBS=2 builds >"$tmp/out" 2>&1 &
	script=$!
	wait_for 'two compilers' two_compile || { kill "$script"; return 1; }
	kill -s "$1" "$script"
	rc=0
	wait "$script" || rc=$?
	[ "$rc" = 130 ] || { echo "status $rc"; return 1; }
	cat "$tmp/compilers.sleep" >>"$tmp/compilers"
	none_at_work || {
		echo 'a compiler goes on'
		# shellcheck disable=SC2046	# Words.
		kill $(cat "$tmp/compilers") 2>/dev/null
		return 1
	}
}

demo() { BUILD=$tmp/demo "$tools/bench/demo.sh" "$@"; }
demo_fails() {
	fake 0 '' "$ends; echo 127 >status; echo 'demo-machine.sh: not found' >stderr" \
		1 '^    demo-machine.sh: not found' demo -k "$image" && ends_with 'status 127): see .*/stderr$'
}
demo_no_kernel() { expect 1 'no kernel at /no/kernel' demo -k /no/kernel && ends_with 'see .*/demo.log$'; }

# A process group exceeds its memory limit, on a machine that panics for that reason.
panic='mount -t cgroup2 none /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/small
echo 8M >/sys/fs/cgroup/small/memory.max
echo 2 >/proc/sys/vm/panic_on_oom
echo $$ >/sys/fs/cgroup/small/cgroup.procs
tail /dev/zero'

# judged CI RESULT WORDS: judge the KTAP on stdin.
judged() {
	cat >"$tmp/ktap"
	got=$(CI=$1 SKIPS="$tmp/skips" "$tools/test/judge.sh" test "$tmp/ktap")
	case $got in "$2"*) ;; *) echo "judged: $got"; return 1 ;; esac
	case $got in *"$3"*) ;; *) echo "judged: $got"; return 1 ;; esac
}

judge_good() { printf '%s\n' 'KTAP version 1' 1..2 'ok 1 a' 'ok 2 b' | judged '' '2 0 0' ''; }
judge_cut() { printf '%s\n' 'KTAP version 1' 1..3 'ok 1 a' 'ok 2 b' | judged '' '2 ' '2 of 3'; }
judge_plan() { printf '%s\n' 'KTAP version 1' 'ok 1 a' 'ok 2 b' | judged '' '2 1 0' 'no plan'; }
judge_late() { printf '%s\n' 'KTAP version 1' 'ok 1 a' 1..1 | judged '' '' 'plan comes after'; }
judge_two() { printf '%s\n' 'KTAP version 1' 1..1 'ok 1 a' 'KTAP version 1' 1..1 'not ok 1 b' | judged '' '' 'second document'; }
judge_hidden() { printf '%s\n' 'KTAP version 1' 1..1 '# not ok 1 x' 'ok 1 a' | judged '' '1 1 0' hidden; }
judge_reason() {
	printf '%s\n' 'KTAP version 1' 1..2 'ok 1 a' '# 7, not 8' 'not ok 2 b' | judged '' '1 1 0' "b
  7, not 8"
}
judge_empty() { judged '' '0 1 0' 'no results' </dev/null; }
judge_suite() {
	printf '%s\n' 'KTAP version 1' 1..1 '    KTAP version 1' '    # Subtest: s' \
		'    1..2' '    ok 1 a' 'ok 1 s' | judged '' '' '1 of 2'
}
judge_skip() { printf '%s\n' 'KTAP version 1' 1..1 'ok 1 a # SKIP no such thing' | judged "$1" "$2" "$3"; }

# One machine is good, and one dies after its results. They run at once: the second
# begins before the first is over.
together() {
	cat >"$tmp/list" <<-LIST
	good - normal 120 echo KTAP version 1; echo 1..1; echo ok 1 fine
	panic - normal 120 echo KTAP version 1; echo 1..1; echo ok 1 fine; sync; $(echo "$panic" | tr '\n' ';')
	LIST
	expect 1 '^2 passed, 1 failed, 0 skipped$' env LIST="$tmp/list" \
		"$tools/test/test.sh" -n -k normal -o "$tmp/runs" good panic || return 1
	grep -q '^ok *normal *good *1 passed *0 failed' "$tmp/out" || { grep ' good ' "$tmp/out"; return 1; }
	grep -q 'the machine died before the command ended' "$tmp/out" || { echo 'no reason is told'; return 1; }
	[ -n "$(find "$tmp/runs/normal/good/status" -newer "$tmp/runs/normal/panic/command")" ] ||
		{ echo 'one after the other'; return 1; }
}

# On the host, one test is good, one hangs, and another is good.
on_host=$tmp/on-host
cat >"$on_host" <<LIST
good all host 60 echo KTAP version 1; echo 1..1; echo ok 1 fine
hangs all host 60 echo \$\$ >$tmp/hangs; exec sleep 1000
late all host 60 echo KTAP version 1; echo 1..1; echo ok 1 fine
LIST

# A signal as from Ctrl-C must end both the script and the test.
interrupted() {
	rm -f "$tmp/hangs"
	LIST="$on_host" "$tools/test/test.sh" -o "$tmp/runs" hangs >"$tmp/out" 2>&1 &
	script=$!
	wait_for 'the test' test -s "$tmp/hangs" || { kill "$script"; return 1; }
	kill "$script"
	wait "$script" || :
	! kill "$(cat "$tmp/hangs")" 2>/dev/null || { echo 'the test goes on'; return 1; }
}

printf '# comment\ntest\ta\tbecause\n' >"$tmp/skips-a"
printf '# comment\nother\ta\tbecause\n' >"$tmp/skips"

# logged STATUS LINE...: check a console with these lines. The first variable is what
# the kernel says when a test has an allocation fail.
alloc_failed='x: vmemmap alloc failure: order:0, mode:0'
logged() {
	want=$1
	shift
	printf '%s\n' "$@" >"$tmp/console"
	expect "$want" '' "$tools/vm/console-check.sh" "$tmp/console"
}

order='WARNING: possible circular locking dependency detected'
listed_skip() {
	cp "$tmp/skips-a" "$tmp/skips"
	judge_skip true '0 0 1' ''
}

# all_checks COMMAND: call it for each check, with the name and what to run.
all_checks() {
	"$1" 'console: failed allocation' logged 0 "$alloc_failed" 'Call Trace:' ' </TASK>' fine
	"$1" 'console: bug after a failed allocation' logged 1 "$alloc_failed" 'Call Trace:' ' </TASK>' 'BUG: x'
	"$1" 'console: bug within the report on one' logged 1 "$alloc_failed" 'Call Trace:' 'BUG: x' ' </TASK>'
	# shellcheck disable=SC2046	# A hundred words.
	"$1" 'console: bug after a report without end' \
		logged 1 "$alloc_failed" $(seq 100) 'BUG: x'
	"$1" 'console: the hog is killed' logged 0 'x invoked oom-killer: y' 'Call Trace:' ' </TASK>' \
		'Out of memory: Killed process 1 (hog)'
	"$1" 'console: another is killed' logged 1 'x invoked oom-killer: y' 'Call Trace:' ' </TASK>' \
		'Out of memory: Killed process 1 (init)'
	"$1" 'console: order of vhost-scsi' logged 0 "$order" 'lock, at: configfs_depend_item+0x1' \
		'vhost_scsi_port_link+0x1' 'Call Trace:' ' </TASK>' fine
	"$1" 'console: bug after that' logged 1 "$order" 'lock, at: configfs_depend_item+0x1' \
		'vhost_scsi_port_link+0x1' 'Call Trace:' ' </TASK>' 'BUG: x'
	"$1" 'console: another order' logged 1 "$order" 'lock, at: pool+0x1' 'vhost_scsi_port_link+0x1' \
		'Call Trace:' ' </TASK>'
	"$1" 'vm: good command, checkout below /tmp, BUILD below /run' good_below_tmp
	"$1" 'vm: command fails, checkout below /run, other user, links' fails_below_run
	"$1" 'vm: kernel warns, checkout below /var, in BUILD' warns_below_var
	"$1" 'vm: command hangs' hangs
	"$1" 'vm: machine dies' dies
	"$1" 'vm: machine does not end in order' not_in_order
	"$1" 'vm: no machine' no_machine
	"$1" 'vm: QEMU crashes as it boots' crashes_once
	"$1" 'vm: QEMU crashes twice' crashes_twice
	"$1" 'vm: QEMU crashes later' crashes_later
	"$1" 'paths: refused before all else' bad_paths
	"$1" 'paths: blanks are refused by make' bad_paths_of_make
	"$1" 'preflight: all is there' expect 0 '' "$tools/vm/vm.sh" -C
	"$1" 'preflight: QEMU lacks a device' no_device
	"$1" 'preflight: address space' no_address_space
	"$1" 'preflight: memory' little_memory
	"$1" 'preflight: disk' little_disk
	"$1" 'preflight: what cannot be read or written' unreadable
	"$1" 'kernel: its error is told' build_fails
	"$1" 'kernel: nothing goes on after TERM' build_ends TERM
	"$1" 'kernel: nothing goes on after HUP' build_ends HUP
	"$1" 'demo: why its command failed is told' demo_fails
	"$1" 'demo: why its machine failed is told' demo_no_kernel
	"$1" 'judge: good results' judge_good
	"$1" 'judge: results cut short' judge_cut
	"$1" 'judge: suite cut short' judge_suite
	"$1" 'judge: no plan' judge_plan
	"$1" 'judge: plan last' judge_late
	"$1" 'judge: two documents' judge_two
	"$1" 'judge: hidden failure' judge_hidden
	"$1" 'judge: why it failed' judge_reason
	"$1" 'judge: no results' judge_empty
	"$1" 'judge: unlisted skip in CI' judge_skip true '0 1 0' 'without being listed'
	"$1" 'judge: listed skip in CI' listed_skip
	"$1" 'run: two at once, one of which panics' together
	"$1" 'run: the time is used up' expect 1 '^[12] passed, [12] failed, 0 skipped$' \
		env LIST="$on_host" BUDGET=5 "$tools/test/test.sh" -o "$tmp/runs" all
	"$1" 'run: ends when it is told to' interrupted
}

checks=0
count() { checks=$((checks + 1)); }
all_checks count
ktap_plan $checks
all_checks ktap_check
