#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What the series adds to the kernel's image.
set -eu

# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"

usage() {
	cat <<USAGE
usage: $me

Builds each C file that the series adds to the kernel or changes, without its
tests, three times: of the base, of the series with CONFIG_TRANSIENT_MEMMAP off, and with it
on. Prints the sum of their sections. Takes a few minutes.
USAGE
}

case ${1:-} in
'') ;;
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
	# Not all of them are part of this kernel.
	[ ! -e "$BUILD/out/normal/${f%.c}.o" ] || echo "$f"
done >"$tmp/files"
[ -s "$tmp/files" ] || die "no kernel in $BUILD/out/normal: make kernel"

# sum NAME COMMIT: text, data and bss of the files in one configuration
sum() {
	side_tree "$2"
	out=$side/out/size-$1
	config=$1
	[ "$1" != base ] || config=off
	"$tools/kernel.sh" -c -t -s "$side/linux" -o "$out" -f "$tmp/$config.config" normal
	objects=''
	while read -r f; do
		rm -f "$out/${f%.c}.o"
		[ ! -e "$side/linux/$f" ] || objects="$objects ${f%.c}.o"
	done <"$tmp/files"
	if [ "$1" = off ]; then
		objects=$(echo "$objects" | sed 's/ [^ ]*transient[^ ]*//g')
	fi
	log=$BUILD/log/size-$1.log
	# shellcheck disable=SC2086	# $objects is a list.
	run "$log" "compiling ($1)" make -C "$side/linux" O="$out" \
		CC="${CC:-ccache gcc}" -j"$JOBS" $objects || die "does not compile: see $log"
	# shellcheck disable=SC2086
	(cd "$out" && size -t $objects) | awk '/TOTALS/ { print $1, $2, $3 }'
}

for kind in 'base base' 'off series' 'on series'; do
	# shellcheck disable=SC2086	# Two words.
	sum $kind >"$tmp/sum"
	echo "${kind% *} $(tail -n 1 "$tmp/sum")" >>"$tmp/sums"
done
awk '
	NR == 1 {
		printf "%-8s %10s %10s %10s\n", "bytes", "text", "data", "bss"
		t = $2; d = $3; b = $4
	}
	{ printf "%-8s %10d %10d %10d\n", $1, $2, $3, $4 }
	NR > 1 { printf "%-8s %+10d %+10d %+10d\n", "  added", $2 - t, $3 - d, $4 - b }' \
	"$tmp/sums" | tee "$BUILD/size.txt"
