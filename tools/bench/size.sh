#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Measure what the series adds to the kernel's image.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/series/lib.sh
. "$tools/series/lib.sh"

usage() {
	cat <<USAGE
usage: $me [-q]

Builds the kernel, without the tests of the series, three times: from the base, from
the series with CONFIG_TRANSIENT_MEMMAP off, and with it on. Prints the sections of
vmlinux; the sum of those of each C file that the series adds or changes; and the
files that differ although it is off. Takes three builds, 15 minutes each at first.

  -q  build only these files, not vmlinux: a few minutes
USAGE
}

quick=''
case ${1:-} in
'') ;;
-q) quick=1 ;;
-h) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac
command -v size >/dev/null || die "size is missing (Debian: binutils)"
make_tmp
printf '%s\n' CONFIG_TRANSIENT_MEMMAP=n CONFIG_TRANSIENT_MEMMAP_KUNIT_TEST=n \
	CONFIG_TEST_TRANSIENT_MEMMAP=n >"$tmp/off.config"
sed 1s/n$/y/ "$tmp/off.config" >"$tmp/on.config"

git -C "$linux" diff --name-only base series -- '*.c' |
	grep -vE '/tests/|/testing/|/test_' | while read -r f; do
	# Not all of these files are part of this kernel.
	[ ! -e "$BUILD/out/normal/${f%.c}.o" ] || echo "$f"
done >"$tmp/files"
[ -s "$tmp/files" ] || die "no kernel in $BUILD/out/normal: make kernel"

# All of KVM is built from its architecture's directory.
dirs=''
[ -z "$quick" ] || dirs=$(sed -e 's|[^/]*$||' -e 's|^virt/kvm/|arch/x86/kvm/|' \
	-e 's|^\(arch/x86/kvm/\).*|\1|' "$tmp/files" | LC_ALL=C sort -u)

# sum NAME COMMIT: note text, data and bss of one configuration.
sum() {
	side_tree "$2"
	out=$side/out/size-$1
	config=$1
	[ "$1" != base ] || config=off
	# shellcheck disable=SC2086	# Directories, or none.
	"$tools/vm/kernel.sh" -t -s "$side/linux" -o "$out" -f "$tmp/$config.config" normal $dirs
	[ -n "$quick" ] || size "$out/vmlinux" |
		awk -v name="$1" 'NR == 2 { print name, $1, $2, $3 }' >>"$tmp/vmlinux"
	while read -r f; do
		f=${f%.c}.o
		[ -e "$out/$f" ] || continue
		size "$out/$f" | awk -v name="$f" 'NR == 2 { print name, $1, $2, $3 }'
	done <"$tmp/files" >"$tmp/$1.files"
	awk -v name="$1" '{ t += $2; d += $3; b += $4 } END { print name, t, d, b }' \
		"$tmp/$1.files" >>"$tmp/sums"
}

# table TITLE FILE: print three lines, and what the later ones add to the first.
table() {
	awk -v title="$1" '
	NR == 1 {
		printf "%-16s %10s %10s %10s\n", title, "text", "data", "bss"
		t = $2; d = $3; b = $4
	}
	{ printf "%-16s %10d %10d %10d\n", $1, $2, $3, $4 }
	NR > 1 { printf "%-16s %+10d %+10d %+10d\n", "  added", $2 - t, $3 - d, $4 - b }' "$2"
}

for kind in 'base base' 'off series' 'on series'; do
	# shellcheck disable=SC2086	# Two words.
	sum $kind
done
{
	[ -n "$quick" ] || { table vmlinux "$tmp/vmlinux" && echo; }
	table 'touched files' "$tmp/sums"
	echo
	printf '%-32s %10s %10s %10s\n' 'added while off, in' text data bss
	awk 'NR == FNR { t[$1] = $2; d[$1] = $3; b[$1] = $4; next }
		$2 != t[$1] || $3 != d[$1] || $4 != b[$1] {
			printf "%-32s %+10d %+10d %+10d\n", $1, $2 - t[$1], $3 - d[$1], $4 - b[$1]
		}' "$tmp/base.files" "$tmp/off.files"
} | tee "$BUILD/size.txt"
