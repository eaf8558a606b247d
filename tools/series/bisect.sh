#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Build the kernel, or the objects that the series is about, at every commit.
set -eu
tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/series/lib.sh
. "$tools/series/lib.sh"

usage() {
	cat <<USAGE
usage: $me [-o] [group | commit ...]

Builds a bzImage in $side/out at each commit of the series (or of the
groups, or at the commits given), and at the last one without
CONFIG_TRANSIENT_MEMMAP as well. It goes on after a failure; the exit status
tells whether there was one.

  -o          build only the objects of the files that the series adds or changes, and
              see that they need no symbol that a later commit defines: this takes
              minutes, where kernels take hours. It needs the normal kernel.
USAGE
}

failed=0

# Prints the objects that the normal kernel has of the files that the series adds or
# changes, as far as their source, and what makes them of it, is there already.
objects() {
	kgit diff --name-only base..HEAD -- '*.c' | while read -r f; do
		makefile=${f%/*}/Makefile
		if [ -e "$side/linux/$f" ] && [ -e "$whole/${f%.c}.o" ] &&
			{ [ -e "$side/linux/$makefile" ] || [ ! -e "$linux/$makefile" ]; }; then
			echo "${f%.c}.o"
		fi
	done
}

# symbols KIND DIR OBJECT...: print the symbols that the objects define, or miss.
symbols() (
	kind=$1
	cd "$2" || exit
	shift 2
	nm "--$kind-only" -f posix "$@" 2>/dev/null | awk '/^[^ ]+ / { print $1 }' | sort -u
)

# early: print the symbols that the objects of this commit need, and only objects of
# later commits define.
early() {
	# shellcheck disable=SC2046	# Words.
	symbols defined "$whole" $(cat "$tmp/all") >"$tmp/defined.last"
	# shellcheck disable=SC2046
	symbols defined "$out" $(cat "$tmp/now") >"$tmp/defined.now"
	# shellcheck disable=SC2046
	symbols undefined "$out" $(cat "$tmp/now") >"$tmp/undefined"
	comm -12 "$tmp/undefined" "$tmp/defined.last" | comm -23 - "$tmp/defined.now"
}

# build_objects WHAT: build the objects at this commit and print one line about them.
build_objects() {
	out=$side/out/objects
	objects >"$tmp/now"
	start=$(date +%s) word=ok said=''
	# shellcheck disable=SC2046
	"$tools/vm/kernel.sh" -t -s "$side/linux" -o "$out" normal $(cat "$tmp/now") \
		>"$BUILD/log/bisect.out" 2>&1 || word=FAIL said=$(tail -n 1 "$BUILD/log/bisect.out")
	[ "$word" = FAIL ] || said=$(early | sed 's/^/needs a later /')
	[ -z "$said" ] || word=FAIL failed=$((failed + 1))
	printf '%-4s  %5d s  %3d objects  %s\n' $word $(($(date +%s) - start)) \
		"$(wc -l <"$tmp/now")" "$1"
	[ -z "$said" ] || echo "$said" | sed 's/^/      /'
}

# build NAME WHAT OPTION...: build a kernel and print one line about it.
build() {
	out=$side/out/$1 what=$2
	shift 2
	start=$(date +%s)
	if "$tools/vm/kernel.sh" -t -s "$side/linux" -o "$out" "$@" \
		>"$BUILD/log/bisect.out" 2>&1; then
		printf 'ok    %5d s  %s\n' $(($(date +%s) - start)) "$what"
	else
		printf 'FAIL  %5d s  %s\n' $(($(date +%s) - start)) "$what"
		failed=$((failed + 1))
		tail -n 1 "$BUILD/log/bisect.out" | sed 's/^/      /'
		cp "$BUILD/log/kernel-${out##*/}.log" \
			"$BUILD/log/bisect-failed-$failed.log" 2>/dev/null || :
	fi
}

only='' whole=$BUILD/out/normal
case ${1:-} in
-h | --help) usage; exit 0 ;;
-o) only=1; shift ;;
esac
"$tools/series/compose.sh"
make_tmp
mkdir -p "$BUILD/log"
commits=''
for what; do
	! group_dir "$what" >/dev/null || what=$(group_commits "$what")
	commits="$commits $what"
done
[ $# -gt 0 ] || commits=$(kgit rev-list --reverse base..HEAD)
[ -n "$commits" ] || die "the series is empty"
if [ -n "$only" ]; then
	[ -e "$whole/System.map" ] || die "no normal kernel in $whole: make kernel"
	side_tree HEAD
	objects >"$tmp/all"
	for c in $commits; do
		side_tree "$c"
		build_objects "$(kgit log -1 --format='%h %s' "$c")"
	done
	[ "$failed" = 0 ] || die "$failed of these do not build, or need a later one"
	exit 0
fi
for c in $commits; do
	side_tree "$c"
	build bisect "$(kgit log -1 --format='%h %s' "$c")" normal
done
echo 'CONFIG_TRANSIENT_MEMMAP=n' >"$tmp/off.config"
build bisect-off "the last one, CONFIG_TRANSIENT_MEMMAP=n" -f "$tmp/off.config" normal
[ "$failed" = 0 ] || die "$failed of these do not build, logs in $BUILD/log/bisect-failed-*.log"
