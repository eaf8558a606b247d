# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154	# $linux and more are from lib.sh.
# Sourced after lib.sh by what runs programs of the kernel's tree in the guest.

GUEST=$BUILD/guest

# Programs for the guest: the host's root is the guest's, so nothing is packed.
build_guest() {
	self=$linux/tools/testing/selftests
	mkdir -p "$GUEST"
	if [ ! -d "$BUILD/out/headers/usr/include" ]; then
		make -s -C "$linux" O="$BUILD/out/headers" headers >"$GUEST/headers.log" 2>&1 ||
			die "kernel headers failed: see $GUEST/headers.log"
	fi
	for prog in gup_test transient_memmap transient_memmap_stress; do
		src=$self/mm/$prog.c
		[ -e "$src" ] || continue
		[ -z "$(find "$GUEST/$prog" -newer "$src" 2>/dev/null)" ] || continue
		libs=$(sed -n 's/.*\[libs: \(.*\)\].*/\1/p' "$src")
		# shellcheck disable=SC2086	# $libs is a list.
		(cd "$self/mm" && cc -O2 -Wall -U_FORTIFY_SOURCE -I.. -I../../../include \
			-isystem "$BUILD/out/headers/usr/include" -I../../../.. \
			-o "$GUEST/$prog" "$prog.c" vm_util.c hugepage_settings.c \
			-laio -luring -lrt -lpthread -lm $libs) >"$GUEST/$prog.log" 2>&1 ||
			die "$prog does not compile: see $GUEST/$prog.log"
	done
}
