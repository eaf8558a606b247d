#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Check the series as reviewers and their robots would.
set -eu
tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/series/lib.sh
. "$tools/series/lib.sh"
# shellcheck source=tools/vm/programs.sh
. "$tools/vm/programs.sh"

usage() {
	cat <<USAGE
usage: $me [check ...]

  checkpatch   checkpatch.pl --strict on every patch
  maintainers  whether the entry in MAINTAINERS names each file of the series
  compile      W=1 and sparse on every C file that the series adds or changes
  arm64        the same for arm64, of what is in mm/ and drivers/dax/, with the option
               forced on: Kconfig does not offer it there
  debian       the same with Debian's configuration and the option
  kerneldoc    kernel-doc on the same files
  programs     the programs of the series by the kernel's own Makefiles
  shellcheck   shellcheck on every script

Default: all. compile, arm64, debian and kerneldoc compare with the base: a message that the
base gives too is no finding. A line of tools/series/check.exceptions (a regular
expression, a tab and a reason) turns the findings that it matches into
explained ones.
USAGE
}

checks=0 findings=0 explained=0

# changed FILTER PATTERN: print the files of the series that the filter (AM, A) and the
# pattern select. Files in tools/ are no kernel code and are left out.
changed() {
	kgit diff --name-only --no-renames --diff-filter="$1" base HEAD |
		grep -E "$2" | grep -v '^tools/' || :
}

# judge NAME WORDS: count and print the findings in $tmp/found.
judge() {
	checks=$((checks + 1))
	: >"$tmp/patterns"
	[ ! -e "$tools/series/check.exceptions" ] ||
		sed -n -e '/^#/d' -e 's/\t.*//p' "$tools/series/check.exceptions" >"$tmp/patterns"
	grep -v -E -f "$tmp/patterns" "$tmp/found" >"$tmp/left" || :
	[ -s "$tmp/patterns" ] || cp "$tmp/found" "$tmp/left"
	n=$(wc -l <"$tmp/left")
	all=$(wc -l <"$tmp/found")
	findings=$((findings + n))
	explained=$((explained + all - n))
	printf '%-11s %3d findings%s\n' "$1" "$n" "$2"
	sed 's/^/  /' "$tmp/left"
}

# compare NAME WORDS: judge what $tmp/series has and $tmp/base has not. Line numbers
# move, so they don't count.
compare() {
	for side_of in base series; do
		sed -E 's/:[0-9]+(:[0-9]+)?:? /: /g' "$tmp/$side_of" |
			LC_ALL=C sort >"$tmp/$side_of.sorted"
	done
	LC_ALL=C comm -13 "$tmp/base.sorted" "$tmp/series.sorted" >"$tmp/found"
	judge "$1" "$2"
}

# can WHAT STATUS,... COMMAND: run the command in the tree of the series, with its
# output in $tmp/one. Any other exit status is no finding: it ends the script.
can() {
	what=$1 good=$2 rc=0
	shift 2
	(cd "$side/linux" && "$@") >"$tmp/one" 2>"$tmp/err" || rc=$?
	case ,$good, in *,$rc,*) return 0 ;; esac
	die "$what: exit status $rc: $(tail -n 1 "$tmp/err")"
}

check_checkpatch() {
	side_tree series
	kgit format-patch -q --no-signature --no-renames -o "$tmp/patches" base..HEAD
	: >"$tmp/raw"
	for p in "$tmp"/patches/*.patch; do
		# checkpatch needs modules that Debian's python3 has.
		can "checkpatch on ${p##*/}" 0,1 env PATH="/usr/bin:$PATH" \
			scripts/checkpatch.pl --strict --no-signoff \
			--terse --show-types --showfile "$p"
		# In this case checkpatch, or a script that it calls, did not come to
		# its end.
		if [ -s "$tmp/err" ] || { [ "$rc" = 1 ] && ! grep -q '^total: ' "$tmp/one"; }; then
			die "checkpatch on ${p##*/} failed: $(tail -n 1 "$tmp/err")"
		fi
		sed "s|^|${p##*/}: |" "$tmp/one" >>"$tmp/raw"
	done
	grep -E '(ERROR|WARNING|CHECK):' "$tmp/raw" >"$tmp/found" || :
	judge checkpatch ", $(find "$tmp/patches" -name '*.patch' | wc -l) patches"
}

# checkpatch asks for this with each new file, but does not check it.
check_maintainers() {
	side_tree series
	kgit diff --name-only --no-renames --diff-filter=A base HEAD >"$tmp/new"
	: >"$tmp/found"
	while read -r f; do
		can "get_maintainer on $f" 0 scripts/get_maintainer.pl --no-git \
			--no-git-fallback --sections -f "$f"
		grep -qxE "$sections" "$tmp/one" ||
			echo "$f: no F: line of a section of ours" >>"$tmp/found"
	done <"$tmp/new"
	judge maintainers ", $(wc -l <"$tmp/new") files"
}
sections='MEMORY MANAGEMENT - TRANSIENT MEMMAP|GUESTRAMFS'

# Prints the command of the checker. Sparse 0.6.4, which Debian 12 has, does not know
# the keyword that make looks for in 7.3, and make then goes on without a checker.
checker() {
	if [ "$("$side/linux/scripts/checker-valid.sh" sparse)" = 1 ]; then
		echo sparse
	else
		echo 'sparse -D__typeof_unqual__=__typeof__'
	fi
}

# messages NAME [ARGUMENT...]: put what the compiler and sparse say about the objects of
# the second work tree into $tmp/NAME. They are built in $out, which is configured, with
# the arguments for make.
messages() {
	name=$1
	shift
	log=$BUILD/log/check-${out##*/}-$name.log
	objects=''
	for f in $sources; do
		rm -f "$out/${f%.c}.o"
		[ ! -e "$side/linux/$f" ] || objects="$objects ${f%.c}.o"
	done
	: >"$tmp/$name"
	[ -n "$objects" ] || return 0
	# shellcheck disable=SC2086
	run "$log" "compiling (${out##*/}, $name)" make -C "$side/linux" O="$out" \
		-j"$JOBS" -k W=1 C=2 CHECK="$(checker)" \
		CF=-fdiagnostic-prefix=sparse "$@" $objects || :
	for o in $objects; do
		grep -q "^  CHECK *${o%.o}.c\$" "$log" ||
			echo "${o%.o}.c: error: sparse did not see it" >>"$log"
	done
	grep -E '(error|warning): |^make.*\*\*\* No rule' "$log" |
		sed "s|$side/linux/||g" | LC_ALL=C sort -u >"$tmp/$name" || :
}

check_compile() {
	out=$side/out/check
	# Code of other architectures cannot be built here.
	sources=$(changed AM '\.c$' | grep -v -E '^arch/' || :)
	sources="$sources $(changed AM '^arch/x86/.*\.c$')"
	for which in base series; do
		side_tree $which
		"$tools/vm/kernel.sh" -c -t -s "$side/linux" -o "$out" normal
		messages $which
	done
	# shellcheck disable=SC2086
	set -- $sources
	compare compile ", $# files, logs in $BUILD/log/check-check-*.log"
}

# Neither the pool nor its hooks may assume more of x86 than Kconfig says.
check_arm64() {
	out=$side/out/arm64
	cross='ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-'
	sources=$(changed AM '^(mm|drivers/dax)/.*\.c$' | grep -v '^mm/tests/' || :)
	mkdir -p "$out"
	log=$BUILD/log/check-arm64-config.log
	for which in base series; do
		side_tree $which
		# shellcheck disable=SC2086	# A list.
		run "$log" "configuring for arm64" make -C "$side/linux" O="$out" $cross defconfig
		"$side/linux/scripts/config" --file "$out/.config" -e MEMORY_HOTPLUG \
			-e MEMORY_HOTREMOVE -e ZONE_DEVICE -e MEMORY_FAILURE -e DAX -e DEV_DAX
		# shellcheck disable=SC2086
		run "$log" "configuring for arm64" make -C "$side/linux" O="$out" $cross olddefconfig
		# shellcheck disable=SC2086
		messages $which $cross CONFIG_TRANSIENT_MEMMAP=y KCFLAGS=-DCONFIG_TRANSIENT_MEMMAP=1
	done
	# shellcheck disable=SC2086
	set -- $sources
	compare arm64 ", $# files, logs in $BUILD/log/check-arm64-*.log"
}

# Debian has most of what the series touches as modules. No package has a configuration
# of this version; make takes the defaults for what is new.
check_debian() {
	out=$side/out/debian
	config=$(find /usr/src/linux-config-* -name config.amd64_none_amd64.xz 2>/dev/null |
		sort -V | tail -n 1)
	[ -n "$config" ] || die "Debian's configuration is missing (package linux-config-6.12)"
	# Debian does not build tests.
	sources=$(changed AM '^(mm|drivers|fs|block|kernel|virt|arch/x86)/.*\.c$' |
		grep -v '^mm/tests/')
	mkdir -p "$out"
	log=$BUILD/log/check-debian-config.log
	for which in base series; do
		side_tree $which
		xz -dc "$config" >"$out/.config"
		"$side/linux/scripts/config" --file "$out/.config" -e TRANSIENT_MEMMAP \
			--set-str SYSTEM_TRUSTED_KEYS '' -d DEBUG_INFO_BTF
		run "$log" "configuring as Debian" make -C "$side/linux" O="$out" olddefconfig
		messages $which
	done
	grep -qx CONFIG_TRANSIENT_MEMMAP=y "$out/.config" ||
		die "CONFIG_TRANSIENT_MEMMAP does not fit $config"
	# shellcheck disable=SC2086
	set -- $sources
	compare debian ", $# files, logs in $BUILD/log/check-debian-*.log"
}

# doc COMMIT NAME: put what kernel-doc says about the files into $tmp/NAME.
doc() {
	side_tree "$1"
	: >"$tmp/raw"
	for f in $documented; do
		[ -e "$side/linux/$f" ] || continue
		can "kernel-doc on $f" 0,3 tools/docs/kernel-doc -none -Wall -Werror "$f"
		cat "$tmp/one" "$tmp/err" >>"$tmp/raw"
	done
	# kernel-doc says some things twice.
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

# Build all programs that the series adds to the kernel's Makefiles, with these
# Makefiles; vm/programs.sh does without them. Warnings are findings.
check_programs() {
	side_tree series
	build_headers
	rm -rf "$side/out/programs"
	: >"$tmp/bad"
	mkdir -p "$side/out/programs"
	# Targets of that Makefile are full paths.
	programs=$(kgit diff base HEAD -- tools/testing/selftests/mm/Makefile |
		sed -n "s|^+TEST_GEN_FILES += |$side/out/programs/|p")
	[ -n "$programs" ] || die "selftests/mm/Makefile has no program of the series"
	log=$BUILD/log/check-programs.log
	# shellcheck disable=SC2086	# A list.
	run "$log" "selftests" make -C "$side/linux/tools/testing/selftests/mm" \
		OUTPUT="$side/out/programs" KHDR_INCLUDES="-isystem $headers" \
		$programs || { log_end "$log"; echo "selftests/mm: make failed: see $log" >"$tmp/bad"; }
	grep -E '(error|warning): ' "$log" | cat - "$tmp/bad" >"$tmp/found" || :
	tools_log=$BUILD/log/check-tools.log
	rm -f "$side/linux/tools/mm/transient_memmap"
	run "$tools_log" "tools/mm" make -C "$side/linux/tools/mm" transient_memmap ||
		{ log_end "$tools_log"; echo "tools/mm: make failed: see $tools_log" >>"$tmp/found"; }
	grep -E '(error|warning): ' "$tools_log" >>"$tmp/found" || :
	for p in $programs "$side/linux/tools/mm/transient_memmap"; do
		[ -x "$p" ] || echo "$p: was not built" >>"$tmp/found"
	done
	# shellcheck disable=SC2086
	set -- $programs
	judge programs ", $(($# + 1)) programs, logs in $BUILD/log"
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
	rc=0
	# shellcheck disable=SC2046
	(cd "$top" && shellcheck -f gcc $(cat "$tmp/scripts")) \
		>"$tmp/found" || rc=$?
	[ "$rc" -le 1 ] || die "shellcheck: exit status $rc"
	judge shellcheck ", $(wc -l <"$tmp/scripts") scripts"
}

for name; do
	case $name in
	-h | --help) usage; exit 0 ;;
	checkpatch | maintainers | compile | arm64 | debian | kerneldoc | programs | shellcheck) ;;
	*) usage >&2; exit 2 ;;
	esac
done
"$tools/series/compose.sh"
make_tmp
mkdir -p "$BUILD/log"
[ $# -gt 0 ] || set -- checkpatch maintainers compile arm64 debian kerneldoc programs shellcheck
for name; do
	"check_$name"
done
[ "$explained" = 0 ] || echo "$explained findings are explained in tools/series/check.exceptions"
echo "check: $checks checks, $findings findings"
[ "$findings" = 0 ]
