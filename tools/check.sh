#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Check the series as reviewers and their robots would.
set -eu
# shellcheck source=tools/lib.sh
. "${0%/*}/lib.sh"

usage() {
	cat <<USAGE
usage: $me [check ...]

  checkpatch   checkpatch.pl --strict on every patch
  compile      W=1 and sparse on every C file that the series adds or changes
  kerneldoc    kernel-doc on the same files
  shellcheck   shellcheck on every script

Default: all. compile and kerneldoc compare with the base: what the base has
been told already is no finding. A line of tools/check.exceptions, a regular
expression, a tab and a reason, makes findings explained ones.
USAGE
}

checks=0 findings=0 explained=0

# The files of the series that the filter (AM, A) and the pattern select;
# those in tools/ are no kernel code.
changed() {
	kgit diff --name-only --no-renames --diff-filter="$1" base HEAD |
		grep -E "$2" | grep -v '^tools/' || :
}

# judge NAME: counts and prints the findings in $tmp/found.
judge() {
	checks=$((checks + 1))
	: >"$tmp/patterns"
	[ ! -e "$tools/check.exceptions" ] ||
		sed -n -e '/^#/d' -e 's/\t.*//p' "$tools/check.exceptions" >"$tmp/patterns"
	grep -v -E -f "$tmp/patterns" "$tmp/found" >"$tmp/left" || :
	[ -s "$tmp/patterns" ] || cp "$tmp/found" "$tmp/left"
	n=$(wc -l <"$tmp/left")
	all=$(wc -l <"$tmp/found")
	findings=$((findings + n))
	explained=$((explained + all - n))
	printf '%-11s %3d findings%s\n' "$1" "$n" "$2"
	sed 's/^/  /' "$tmp/left"
}

# compare NAME: what $tmp/series has and $tmp/base has not. Line numbers move,
# so they don't count.
compare() {
	for side_of in base series; do
		sed -E 's/:[0-9]+(:[0-9]+)?:? /: /g' "$tmp/$side_of" |
			LC_ALL=C sort >"$tmp/$side_of.sorted"
	done
	LC_ALL=C comm -13 "$tmp/base.sorted" "$tmp/series.sorted" >"$tmp/found"
	judge "$1" "$2"
}

check_checkpatch() {
	side_tree series
	kgit format-patch -q --no-signature --no-renames -o "$tmp/patches" base..HEAD
	(cd "$side/linux" && scripts/checkpatch.pl --strict --no-signoff \
		--terse --show-types --no-summary "$tmp"/patches/*.patch) \
		>"$tmp/raw" 2>"$BUILD/log/check-checkpatch.log" || :
	sed "s|^$tmp/patches/||" "$tmp/raw" | grep -E '(ERROR|WARNING|CHECK):' >"$tmp/found" || :
	judge checkpatch ", $(find "$tmp/patches" -name '*.patch' | wc -l) patches"
}

# Prints the checker. Sparse 0.6.4, Debian 12's, does not know the keyword
# that 7.3 has make look for, and make then goes on without a checker.
checker() {
	if [ "$("$side/linux/scripts/checker-valid.sh" sparse)" = 1 ]; then
		echo sparse
	else
		echo 'sparse -D__typeof_unqual__=__typeof__'
	fi
}

# messages COMMIT NAME: the compiler's and sparse's, for the
# objects, in $tmp/NAME.
messages() {
	side_tree "$1"
	log=$BUILD/log/check-compile-$2.log
	"$tools/kernel.sh" -c -t -s "$side/linux" -o "$side/out/check" normal
	objects=''
	for f in $sources; do
		rm -f "$side/out/check/${f%.c}.o"
		[ ! -e "$side/linux/$f" ] || objects="$objects ${f%.c}.o"
	done
	: >"$tmp/$2"
	[ -n "$objects" ] || return 0
	# shellcheck disable=SC2086
	run "$log" "compiling ($2)" make -C "$side/linux" O="$side/out/check" \
		-j"$JOBS" -k W=1 C=2 CHECK="$(checker)" \
		CF=-fdiagnostic-prefix=sparse $objects || :
	for o in $objects; do
		grep -q "^  CHECK *${o%.o}.c\$" "$log" ||
			echo "${o%.o}.c: error: sparse did not see it" >>"$log"
	done
	grep -E '(error|warning): |^make.*\*\*\* No rule' "$log" |
		sed "s|$side/linux/||g" | LC_ALL=C sort -u >"$tmp/$2" || :
}

check_compile() {
	# Code of other architectures does not build here.
	sources=$(changed AM '\.c$' | grep -v -E '^arch/' || :)
	sources="$sources $(changed AM '^arch/x86/.*\.c$')"
	messages base base
	messages series series
	# shellcheck disable=SC2086
	set -- $sources
	compare compile ", $# files, logs in $BUILD/log/check-compile-*.log"
}

# doc COMMIT NAME: what kernel-doc says of the files at the commit.
doc() {
	side_tree "$1"
	(
		cd "$side/linux"
		for f in $documented; do
			[ ! -e "$f" ] || tools/docs/kernel-doc -none -Wall -Werror "$f" 2>&1
		done
	) >"$tmp/raw" || :
	# It says some things twice.
	grep -E '^(Warning|Error|[Ee]rror:|.*:[0-9]+:)' "$tmp/raw" |
		LC_ALL=C sort -u >"$tmp/$2" || :
}

check_kerneldoc() {
	documented=$(changed AM '\.[ch]$')
	doc base base
	doc series series
	# shellcheck disable=SC2086
	set -- $documented
	compare kernel-doc ", $# files"
}

check_shellcheck() {
	(
		cd "$top" || exit
		# shellcheck disable=SC2086	# A list.
		find .ci tools $overlay_dirs -type f 2>/dev/null | LC_ALL=C sort -u |
			while read -r f; do
				case $(head -c 30 "$f" | head -n 1 | tr -d '\0') in
				'#!/bin/sh' | '#!/bin/bash' | '#!/usr/bin/env bash') echo "$f" ;;
				esac
			done
	) >"$tmp/scripts"
	# shellcheck disable=SC2046
	(cd "$top" && shellcheck -x -P SCRIPTDIR:. -f gcc $(cat "$tmp/scripts")) \
		>"$tmp/found" || :
	judge shellcheck ", $(wc -l <"$tmp/scripts") scripts"
}

for name; do
	case $name in
	-h | --help) usage; exit 0 ;;
	checkpatch | compile | kerneldoc | shellcheck) ;;
	*) usage >&2; exit 2 ;;
	esac
done
"$tools/compose.sh"
make_tmp
mkdir -p "$BUILD/log"
[ $# -gt 0 ] || set -- checkpatch compile kerneldoc shellcheck
for name; do
	"check_$name"
done
[ "$explained" = 0 ] || echo "$explained findings are explained in tools/check.exceptions"
echo "check: $checks checks, $findings findings"
[ "$findings" = 0 ]
