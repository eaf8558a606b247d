# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154	# $linux and more are from lib.sh.
# Sourced after lib.sh by what runs programs of the kernel's tree in the guest.

GUEST=$BUILD/guest

# The kernel's headers, for programs.
headers=$BUILD/out/headers/usr/include
build_headers() {
	[ ! -d "$headers" ] || return 0
	mkdir -p "$BUILD/log"
	make -s -C "$linux" O="$BUILD/out/headers" headers >"$BUILD/log/headers.log" 2>&1 ||
		die "kernel headers failed: see $BUILD/log/headers.log"
}

# Programs for the guest: the host's root is the guest's, so nothing is packed.
build_guest() {
	self=$linux/tools/testing/selftests
	mkdir -p "$GUEST"
	build_headers
	for prog in gup_test transient_memmap transient_memmap_stress \
		transient_memmap_users; do
		src=$self/mm/$prog.c
		[ -e "$src" ] || continue
		[ ! -e "$GUEST/$prog" ] ||
			[ -n "$(find "$self/mm" -name "${prog%%_*}*" -newer "$GUEST/$prog")" ] ||
			continue
		more=''
		case $prog in
		transient_memmap_users) more="$(cd "$self/mm" && echo "$prog"_*.c) -libverbs" ;;
		esac
		# shellcheck disable=SC2086	# $more is a list.
		(cd "$self/mm" && cc -O2 -Wall -U_FORTIFY_SOURCE -I.. -I../../../include \
			-isystem "$headers" -I../../../.. \
			-o "$GUEST/$prog" "$prog.c" $more vm_util.c hugepage_settings.c \
			-lrt -lpthread -lm) >"$GUEST/$prog.log" 2>&1 ||
			die "$prog does not compile: see $GUEST/$prog.log"
	done
	src=$linux/tools/mm/transient_memmap.c
	cc -O2 -Wall -o "$GUEST/mm-transient_memmap" "$src" >"$GUEST/mm.log" 2>&1 ||
		die "$src does not compile: see $GUEST/mm.log"
}
