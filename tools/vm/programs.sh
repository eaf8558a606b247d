# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154	# $linux and more are from lib.sh.
# Scripts that run programs of the kernel's tree in the machine source this after
# tools/lib.sh.

PROGRAMS=$BUILD/programs

# The programs are compiled with the kernel's own headers.
headers=$BUILD/out/headers/usr/include
build_headers() {
	[ ! -e "$BUILD/out/headers/.done" ] || return 0
	run "$BUILD/log/headers.log" "the kernel's headers" \
		make -s -C "$linux" O="$BUILD/out/headers" headers ||
		die_with_log "$BUILD/log/headers.log" "the kernel's headers failed"
	: >"$BUILD/out/headers/.done"
}

# Build the programs for the machine. It has the host's root, so nothing is packed.
build_programs() {
	self=$linux/tools/testing/selftests
	mkdir -p "$PROGRAMS"
	build_headers
	for prog in gup_test guestramfs transient_memmap transient_memmap_stress \
		transient_memmap_users; do
		src=$self/mm/$prog.c
		[ -e "$src" ] || continue
		[ ! -e "$PROGRAMS/$prog" ] ||
			[ -n "$(find "$self/mm" "$linux/lib" -maxdepth 1 -name '*.[ch]' -newer "$PROGRAMS/$prog")" ] ||
			continue
		more=''
		case $prog in
		transient_memmap_users) more="$(cd "$self/mm" && echo "$prog"_*.c) -libverbs" ;;
		esac
		# shellcheck disable=SC2086	# $more is a list.
		run "$PROGRAMS/$prog.log" "compiling $prog" env -C "$self/mm" \
			cc -O2 -Wall -U_FORTIFY_SOURCE -I.. -I../../../include \
			-isystem "$headers" -I../../../.. \
			-o "$PROGRAMS/$prog" "$prog.c" $more vm_util.c hugepage_settings.c \
			-lrt -lpthread -lm ||
			die_with_log "$PROGRAMS/$prog.log" "$prog does not compile"
	done
	for prog in iommufd iommufd_fail_nth; do
		src=$self/iommu/$prog.c
		[ ! -e "$PROGRAMS/$prog" ] || [ -n "$(find "$src" -newer "$PROGRAMS/$prog")" ] ||
			continue
		run "$PROGRAMS/$prog.log" "compiling $prog" \
			cc -O2 -Wall -Wno-unused-function -D_GNU_SOURCE= -isystem "$headers" \
			-I"$self" -o "$PROGRAMS/$prog" "$src" -lcap ||
			die_with_log "$PROGRAMS/$prog.log" "$prog does not compile"
	done
	cc -O2 -Wall -shared -fPIC -o "$PROGRAMS/dax-mmap.so" "$tools/test/machine/dax-mmap.c" \
		>"$PROGRAMS/dax-mmap.log" 2>&1 ||
		die_with_log "$PROGRAMS/dax-mmap.log" "dax-mmap.c does not compile"
	src=$linux/tools/mm/transient_memmap.c
	cc -O2 -Wall -o "$PROGRAMS/mm-transient_memmap" "$src" >"$PROGRAMS/mm.log" 2>&1 ||
		die_with_log "$PROGRAMS/mm.log" "$src does not compile"
}
