#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Show what transient struct pages do: the same verified direct I/O into memory
# with a memmap, without one, and with a transient one.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"

usage() {
	cat <<USAGE
usage: $me [-w] [-k KERNEL]
Boots a machine with 4 GiB of pageless memory (about a minute), prints a table
and keeps it in build/demo.txt. KERNEL is as for vm.sh.

The machine counts instructions and takes 1000 million of them for a second, so
that reads/s can be compared whatever else this machine does. With -w, it uses the
wall clock.
USAGE
}

kernel=normal icount=-c
while getopts k:wh opt; do
	case $opt in
	k) kernel=$OPTARG ;;
	w) icount='' ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done

out=$BUILD/demo
log=$BUILD/log/demo.log
rows=8
progress() {
	done_now=$(grep -c '"disk"' "$out/stdout" 2>/dev/null) || :
	echo "(${done_now:-0} of $rows rows)"
}

# If the machine fails, $log says why; if the command fails, its stderr does.
machine() {
	rm -f "$out/stdout"
	rc=0
	# shellcheck disable=SC2086	# Empty, or an option.
	run "$log" 'the machine measures' "$tools/vm/vm.sh" -n $icount -k "$kernel" -t 600 \
		-o "$out" "$tools/bench/demo-machine.sh" || rc=$?
	case $rc in
	0) ;;
	2 | 12[456]) die_with_log "$log" 'the machine failed' ;;
	*) die_with_log "$out/stderr" "the command in the machine failed (status $rc)" ;;
	esac
	[ "$(grep -c '"disk"' "$out/stdout")" = $rows ] ||
		die_with_log "$out/stderr" "not $rows rows, but $(grep -c '"disk"' "$out/stdout")"
}
say "a machine measures $rows rows (a minute), log in $log"
machine

report() {
	jq -r 'select(.device) | "\(.device / 1073741824) GiB of pageless memory as /dev/dax0.0, Linux \(.kernel), QEMU without KVM",
		"fio: 4 KiB random O_DIRECT reads into it, \(.job)iB, each block verified by its crc32c", ""' "$out/stdout"
	jq -rs '
	["memory", "disk", "result", "verified", "memmap KiB", "", "", "reads"],
	["", "", "", "MiB", "at rest", "at peak", "after", "/s"],
	(.[] | select(.disk) | [
		.memory, .disk,
		(if .error == "" then "ok" else .error end),
		(.bytes / 1048576 * 10 | round / 10),
		.rest, .peak, .after,
		(if .error == "" then (.iops | round) else "-" end)
	]) | @tsv' "$out/stdout" | awk -F '\t' '{
		printf "%-28s %-7s %-24s %8s %10s %9s %9s %7s\n", $1, $2, $3, $4, $5, $6, $7, $8
	}'
	echo
	jq -rs '[.[] | select(.disk and .error == "")] | group_by(.disk)[] |
		(map(select(.memory | startswith("static")) | .iops) | max) as $static |
		map(select(.memory | startswith("transient")))[] |
		"\(.disk): \(.iops / $static * 100 | round) % of the reads/s of the static memmap, \(.populated) block\(if .populated == 1 then "" else "s" end) populated for \(.bytes / 4096) reads."' "$out/stdout"
	if [ -n "$icount" ]; then
		echo "A second is 1000 million emulated instructions (QEMU -icount): compare reads/s of nullb0; vda also waits for this machine's disk."
		return
	fi
	echo "Timed by the clock of a machine that may do other things: reads/s differ from run to run."
}

report | tee "$BUILD/demo.txt"

# The figures must show the effect; how fast the reads were does not matter.
jq -es '[.[] | select(.disk)] |
	def of(kind): map(select(.memory | startswith(kind)));
	(of("static memmap, 2 MiB") | map(.peak) | min) as $static |
	(of("transient") | length > 0 and
		all(.error == "" and .peak < $static and .after == .rest)) and
	(of("no memmap") | length > 0 and all(.error != ""))' \
	"$out/stdout" >/dev/null ||
	die_with_log "$out/stderr" "not what a transient memmap has to show (figures in $out/stdout)"
