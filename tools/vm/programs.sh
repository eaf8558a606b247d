# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154	# $linux and more are from lib.sh.
# Sourced after tools/lib.sh by what runs programs of the kernel's tree in the machine.

PROGRAMS=$BUILD/programs

# The kernel's headers, for programs.
headers=$BUILD/out/headers/usr/include
build_headers() {
	[ ! -d "$headers" ] || return 0
	mkdir -p "$BUILD/log"
	make -s -C "$linux" O="$BUILD/out/headers" headers >"$BUILD/log/headers.log" 2>&1 ||
		die "kernel headers failed: see $BUILD/log/headers.log"
}

# Programs for the machine: the host's root is the machine's, so nothing is packed.
build_programs() {
	self=$linux/tools/testing/selftests
	mkdir -p "$PROGRAMS"
	build_headers
	for prog in gup_test transient_memmap transient_memmap_stress \
		transient_memmap_users; do
		src=$self/mm/$prog.c
		[ -e "$src" ] || continue
		[ ! -e "$PROGRAMS/$prog" ] ||
			[ -n "$(find "$self/mm" -name "${prog%%_*}*" -newer "$PROGRAMS/$prog")" ] ||
			continue
		more=''
		case $prog in
		transient_memmap_users) more="$(cd "$self/mm" && echo "$prog"_*.c) -libverbs" ;;
		esac
		# shellcheck disable=SC2086	# $more is a list.
		(cd "$self/mm" && cc -O2 -Wall -U_FORTIFY_SOURCE -I.. -I../../../include \
			-isystem "$headers" -I../../../.. \
			-o "$PROGRAMS/$prog" "$prog.c" $more vm_util.c hugepage_settings.c \
			-lrt -lpthread -lm) >"$PROGRAMS/$prog.log" 2>&1 ||
			die "$prog does not compile: see $PROGRAMS/$prog.log"
	done
	src=$linux/tools/mm/transient_memmap.c
	cc -O2 -Wall -o "$PROGRAMS/mm-transient_memmap" "$src" >"$PROGRAMS/mm.log" 2>&1 ||
		die "$src does not compile: see $PROGRAMS/mm.log"
}
