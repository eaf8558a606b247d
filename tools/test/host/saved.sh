#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Hibernate a machine, and take its crash dump, while some of its memory that has no
# memmap and is not in the direct map is pinned. Writes KTAP to stdout. Starts machines
# of its own.
#
# A failure means: a host does not wake up, or the memory of its guests can be read from
# its swap or its crash dumps.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"

case ${1:-} in -h) echo "usage: $me"; exit 0 ;; esac
image=$BUILD/out/normal/arch/x86/boot/bzImage
out=$BUILD/test/saved-vm
rm -rf "$out"
mkdir -p "$out"

# saved.c holds this many blocks, and fills this many pages of memory.
blocks=4
pages=2048

# One root file system is for all machines; another also contains it and the kernel.
build() {
	mkdir -p "$out/root/bin"
	cp "$(command -v busybox)" "$out/root/bin/busybox"
	cp "$tools/vm/dax.sh" "$out/root"
	cp "$tools/test/machine/saved-init.sh" "$out/root/init"
	chmod 755 "$out/root/init"
	gcc -O2 -Wall -static -o "$out/root/bin/saved" "$tools/test/machine/saved.c"
	pack "$out/root" "$out/initramfs"
	cp -r "$out/root" "$out/full"
	cp "$image" "$out/initramfs" "$out/full"
	pack "$out/full" "$out/initramfs.full"
	# These files are sparse.
	truncate -s 1G "$out/memory"
	truncate -s 1G "$out/disk"
}

# start NAME INITRAMFS ARGS: start a machine with 1 GiB of its own and, at 4 GiB, one
# for guests. Its results go to NAME.
start() {
	attend timeout -k 5 200 qemu-system-x86_64 \
		-machine q35,max-ram-below-4g=1G -cpu max -accel tcg,thread=multi -smp 2 -m 2G \
		-object memory-backend-ram,id=own,size=1G \
		-object memory-backend-file,id=guests,size=1G,mem-path="$out/memory",share=on \
		-numa node,memdev=own,cpus=0-1 -numa node,memdev=guests \
		-nodefaults -no-user-config -display none -no-reboot \
		-drive file="$out/disk",if=none,id=vda,format=raw -device virtio-blk-pci,drive=vda \
		-kernel "$image" -initrd "$out/$2" \
		-append "console=ttyS0 panic=-1 oops=panic no_console_suspend hibernate=nocompress memmap=1G%4G-1+0xefffffff resume=/dev/vda $3" \
		-serial file:"$out/$1.console" -serial file:"$out/$1" \
		>"$out/$1.qemu" 2>&1
}

machine() {
	start "$@"
	if crashed_early "$rc" "$out/$1.console"; then
		echo "# note: QEMU crashed as the machine \"$1\" booted (status $rc), so that was tried again"
		start "$@"
	fi
	[ "$rc" = 0 ] || {
		tail -n 15 "$out/$1.console" | tr -d '\r' | sed 's/^/# /'
		echo "$1: status $rc of QEMU: see $out/$1.console"
		return 1
	}
	! grep -m 1 '^error' "$out/$1" || return 1
}

# says NAME LINE...: the machine has printed each of these lines.
says() {
	name=$1
	shift
	for line; do
		grep -qx "$line" "$out/$name" || { echo "no \"$line\" in $out/$name"; return 1; }
	done
}

quiet() { "$tools/vm/console-check.sh" "$out/$1.console"; }

unharmed() {
	for what in own guest pinned; do
		[ "$(grep -c "^$what memory: 0 words of [1-9]" "$out/wakes")" = 2 ] ||
			{ grep "^$what memory" "$out/wakes" || echo "nothing told of $what memory"; return 1; }
	done
}

# found OUTPUT: all pages of the process were found, which shows that the search works,
# and none of the guests'. A dump has some pages twice, those of the kernel's image.
found() {
	echo "# $1"
	own=${1#*own=}
	[ "${own%% *}" -ge "$pages" ] || { echo "not all of the process's $pages pages"; return 1; }
	case $1 in *" guest=0") ;; *) echo "pages of the guests'"; return 1 ;; esac
}

in_swap() { found "$("$out/root/bin/saved" find "$out/image")"; }

in_guests() {
	case $("$out/root/bin/saved" find "$out/memory") in *" guest=$pages") ;; *) return 1 ;; esac
}

in_dump() { found "$(grep '^pages=' "$out/crashes")"; }

# The dump must have no program header for 4 GiB to 5 GiB.
no_load() {
	grep -c '^load ' "$out/crashes" >/dev/null || { echo "no program headers"; return 1; }
	! grep -m 1 '^load 1[0-3][0-9a-f]\{7\}-' "$out/crashes"
}

ktap_plan 10
build >"$out/build.log" 2>&1 || die_with_log "$out/build.log" "no root file system"

ktap_check 'hibernate: sleeps with blocks pinned' machine sleeps initramfs 'saved=hibernate'
# A machine that wakes up marks its swap as used.
cp --sparse=always "$out/disk" "$out/image"
ktap_check 'hibernate: wakes up' machine wakes initramfs 'saved=hibernate'
ktap_check 'hibernate: blocks stay live while pinned' says wakes awake=1 "live=$blocks" end=1
ktap_check 'hibernate: all memory is as it was' unharmed
ktap_check 'hibernate: blocks go, none was made meanwhile' says wakes after=0 made=0
ktap_check 'hibernate: guest memory is not in the image' in_swap
ktap_check 'hibernate: the kernels are quiet' eval 'quiet sleeps && quiet wakes'
ktap_check 'crash: dump is taken with blocks pinned' machine crashes initramfs.full \
	'crashkernel=256M saved=crash'
ktap_check 'crash: dump has no headers for guest memory' no_load
ktap_check 'crash: guest memory is not in the dump' eval 'in_guests && says crashes dump=1 end=1 && in_dump'
