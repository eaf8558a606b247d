#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Break what the test runner watches, and see that it notices. KTAP on stdout.
#
# A failure means: a broken kernel, or a test that was cut short, counts as good.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"

case ${1:-} in
-h)
	echo "usage: $me"
	echo "Tests vm.sh, judge.sh and test.sh with machines and results that fail."
	exit 0
	;;
esac
# The runs below have a budget of their own, not what is left of this one's.
unset START BUDGET
make_tmp

# expect STATUS WORDS command ...: both must come.
expect() {
	want=$1 words=$2
	shift 2
	got=0
	"$@" >"$tmp/out" 2>&1 || got=$?
	[ "$got" = "$want" ] || { echo "status $got, not $want: $(tail -n 1 "$tmp/out")"; return 1; }
	[ -z "$words" ] || grep -q "$words" "$tmp/out" || { echo "no \"$words\": $(tail -n 1 "$tmp/out")"; return 1; }
}

vm() {
	limit=$1
	shift
	"$tools/vm/vm.sh" -t "$limit" -o "$tmp/vm" "$@"
}

# QEMU, but the first COUNT machines crash, having said LINE.
mkdir "$tmp/bin"
cat >"$tmp/bin/qemu-system-x86_64" <<CRASH
#!/bin/sh
read -r crashes <"$tmp/crashes"
if [ "\$crashes" -gt 0 ]; then
	echo \$((crashes - 1)) >"$tmp/crashes"
	cp "$tmp/says" console.log
	kill -SEGV \$\$
fi
exec $(command -v qemu-system-x86_64) "\$@"
CRASH
chmod 755 "$tmp/bin/qemu-system-x86_64"

# crashing COUNT LINE STATUS WORDS
crashing() {
	echo "$1" >"$tmp/crashes"
	echo "$2" >"$tmp/says"
	PATH=$tmp/bin:$PATH expect "$3" "$4" vm 60 echo fine
}

# A group of processes over its limit, where that is a reason to panic.
panic='mount -t cgroup2 none /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/small
echo 8M >/sys/fs/cgroup/small/memory.max
echo 2 >/proc/sys/vm/panic_on_oom
echo $$ >/sys/fs/cgroup/small/cgroup.procs
tail /dev/zero'

# judged CI RESULT WORDS: KTAP on stdin.
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

runs() {
	cat >"$tmp/list" <<-LIST
	good normal 60 printf 'KTAP version 1\n1..1\nok 1 fine\n'
	panic normal 60 printf 'KTAP version 1\n1..1\nok 1 fine\n'; sync; $(echo "$panic" | tr '\n' ';')
	LIST
	LIST="$tmp/list" "$tools/test/test.sh" -n -k normal -o "$tmp/runs" "$@"
}

# Both in machines, hence at once: the second began before the first was over.
together() {
	expect 1 '^2 passed, 1 failed, 0 skipped$' runs good panic || return 1
	[ -n "$(find "$tmp/runs/normal/good/status" -newer "$tmp/runs/normal/panic/command")" ] ||
		{ echo "one after the other"; return 1; }
}

# On the host: a test that is good, one that hangs, another that is good.
cat >"$tmp/on-host" <<LIST
good host 60 printf 'KTAP version 1\n1..1\nok 1 fine\n'
hangs host 60 echo \$\$ >$tmp/hangs; exec sleep 1000
late host 60 printf 'KTAP version 1\n1..1\nok 1 fine\n'
LIST

# As Ctrl-C does: neither the script nor the test may go on.
interrupted() {
	rm -f "$tmp/hangs"
	LIST="$tmp/on-host" "$tools/test/test.sh" -o "$tmp/runs" hangs >"$tmp/out" 2>&1 &
	script=$!
	for _ in $(seq 100); do
		[ ! -s "$tmp/hangs" ] || break
		sleep 0.1
	done
	[ -s "$tmp/hangs" ] || { echo "it did not start"; return 1; }
	kill "$script"
	for _ in $(seq 100); do
		kill -0 "$script" 2>/dev/null || break
		sleep 0.1
	done
	! kill "$script" "$(cat "$tmp/hangs")" 2>/dev/null || { echo "it goes on"; return 1; }
}

printf '# comment\ntest\ta\tbecause\n' >"$tmp/skips-a"
printf '# comment\nother\ta\tbecause\n' >"$tmp/skips"

# A log in which an allocation failed that a test had fail: STATUS LINE...
alloc_failed='x: vmemmap alloc failure: order:0, mode:0'
logged() {
	want=$1
	shift
	printf '%s\n' "$@" >"$tmp/console"
	expect "$want" '' "$tools/vm/console-check.sh" "$tmp/console"
}

ktap_plan 35
ktap_check 'console: failed allocation' logged 0 "$alloc_failed" 'Call Trace:' ' </TASK>' fine
ktap_check 'console: bug after a failed allocation' logged 1 "$alloc_failed" 'Call Trace:' ' </TASK>' 'BUG: x'
# shellcheck disable=SC2046	# A hundred words.
ktap_check 'console: bug after a report without end' \
	logged 1 "$alloc_failed" $(seq 100) 'BUG: x'
ktap_check 'console: the hog is killed' logged 0 'x invoked oom-killer: y' 'Call Trace:' ' </TASK>' \
	'Out of memory: Killed process 1 (hog)'
ktap_check 'console: another is killed' logged 1 'x invoked oom-killer: y' 'Call Trace:' ' </TASK>' \
	'Out of memory: Killed process 1 (init)'
order='WARNING: possible circular locking dependency detected'
ktap_check 'console: order of vhost-scsi' logged 0 "$order" 'lock, at: configfs_depend_item+0x1' \
	'vhost_scsi_port_link+0x1' 'Call Trace:' ' </TASK>' fine
ktap_check 'console: bug after that' logged 1 "$order" 'lock, at: configfs_depend_item+0x1' \
	'vhost_scsi_port_link+0x1' 'Call Trace:' ' </TASK>' 'BUG: x'
ktap_check 'console: another order' logged 1 "$order" 'lock, at: pool+0x1' 'vhost_scsi_port_link+0x1' \
	'Call Trace:' ' </TASK>'
ktap_check 'vm: good command' expect 0 fine vm 60 echo fine
ktap_check 'vm: command fails' expect 7 '' vm 60 sh -c 'exit 7'
ktap_check 'vm: command hangs' expect 124 'time limit' vm 12 sleep 1000
ktap_check 'vm: kernel warns' expect 126 'the kernel complained' \
	vm 60 sh -c "echo '<4>WARNING: not really' >/dev/kmsg"
ktap_check 'vm: kernel panics' expect 125 'the machine died' vm 60 sh -c "$panic"
ktap_check 'vm: no init' expect 125 'the machine died' vm 60 -a init=/bin/false true
ktap_check 'vm: no machine' expect 125 'did not start' vm 60 -q '-device nonsense' true
ktap_check 'vm: QEMU crashes as it boots' crashing 1 'pci: BAR 0' 0 'so that was tried again'
ktap_check 'vm: and then it works' grep -q fine "$tmp/out"
ktap_check 'vm: QEMU crashes twice' crashing 2 'pci: BAR 0' 125 'QEMU crashed (status 139): see'
ktap_check 'vm: QEMU crashes later' crashing 1 'Run /x as init process' 125 'QEMU crashed (status 139): see'
ktap_check 'judge: good results' judge_good
ktap_check 'judge: results cut short' judge_cut
ktap_check 'judge: suite cut short' judge_suite
ktap_check 'judge: no plan' judge_plan
ktap_check 'judge: plan last' judge_late
ktap_check 'judge: two documents' judge_two
ktap_check 'judge: hidden failure' judge_hidden
ktap_check 'judge: why it failed' judge_reason
ktap_check 'judge: no results' judge_empty
ktap_check 'judge: unlisted skip in CI' judge_skip true '0 1 0' 'without being listed'
cp "$tmp/skips-a" "$tmp/skips"
ktap_check 'judge: listed skip in CI' judge_skip true '0 0 1' ''
ktap_check 'run: good test' expect 0 '^1 passed, 0 failed, 0 skipped$' runs good
ktap_check 'run: panic after good results' expect 1 '^1 passed, 1 failed, 0 skipped$' runs panic
ktap_check 'run: two at once' together
ktap_check 'run: the time is used up' expect 1 '^1 passed, 2 failed, 0 skipped$' \
	env LIST="$tmp/on-host" BUDGET=5 "$tools/test/test.sh" -o "$tmp/runs" all
ktap_check 'run: ends when it is told to' interrupted
