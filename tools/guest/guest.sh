#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Run a guest of unmodified QEMU and KVM, whose memory has no memmap, in the virtual
# machine.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"

usage() {
	cat <<USAGE
usage: $me [-c | -k] [-K KERNEL] [-j PARTS]
       $me -k -j tib [-K KERNEL]
Starts a guest on pageless memory with QEMU and KVM inside the machine of vm.sh,
lets it do I/O by all of QEMU's and vhost's paths, compares it with a static
memmap (three times), and prints a table (kept in build/guest.txt). Logs are in
build/guest/PARTS.

  -c         compare once, with QEMU but not KVM, in a machine that counts instructions:
             slow, but other load makes no difference (build/guest-count.txt)
  -k         print KTAP instead, with the drills (killed, crashed, unbound, ...), but
             without the comparison
  -K KERNEL  the kernel of both the machine and the guest, as for vm.sh -k
  -j PARTS   run only these, of: boot,transient,guestramfs,static,drills,unbind,
             assigned,backend,memerr,libvirt,balloon,kexec
             guestramfs: its memory is a file of that file system
             memerr: pages of its memory get uncorrectable errors
             libvirt: domains of Debian's libvirt, on such files
             balloon: they give memory back, by free page reporting and virtio-mem
             kexec: last, as it boots another kernel, which is built from the normal one
             tib: several guests, in a machine with 1 TiB of pageless memory

Environment: ALIGNS, of the device, in KiB, for the parts backend and memerr (2048).
USAGE
}

parts=''
ktap='' kernel=normal limit=2400 accel=kvm rounds=4 file=$BUILD/guest.txt
while getopts ckK:j:h opt; do
	case $opt in
	c) accel=tcg limit=3600 rounds=2 file=$BUILD/guest-count.txt ;;
	k) ktap=1 rounds=1 limit=2400 ;;
	K) kernel=$OPTARG ;;
	j) parts=$OPTARG ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
if [ -z "$parts" ]; then
	# It is done three times, because other load disturbs the clock, and the
	# emulator gets faster.
	round=transient,guestramfs,static
	parts=$round,$round,$round
	[ $accel = kvm ] || parts=transient,static
	[ -z "$ktap" ] || parts=boot,transient,drills,unbind,assigned
fi
case $kernel in
*/*) image=$(realpath -m "$kernel") ;;
*) image=$BUILD/out/$kernel/arch/x86/boot/bzImage ;;
esac
busybox=$(command -v busybox) || die "no busybox (Debian: busybox-static)"
command -v cpio >/dev/null || die "no cpio (Debian: cpio)"

aligns=${ALIGNS:-2048}
out=$BUILD/guest/$(echo "$parts${ALIGNS:+ $ALIGNS}" | tr ', ' '-')
[ $accel = kvm ] || out=$out-count
rm -rf "$out"
# This is the root of the guest.
mkdir -p "$out/root/bin" "$out/root/dev" "$out/root/tmp"
cp "$busybox" "$out/root/bin/busybox"
for prog in guest-io guest-edu; do
	gcc -O2 -Wall -static -o "$out/root/bin/$prog" "$tools/guest/$prog.c"
done
gcc -O2 -Wall -o "$out/backend-net" "$tools/guest/backend-net.c"
cp "$tools/guest/init.sh" "$out/root/init"
chmod 755 "$out/root/init"
pack "$out/root" "$out/initramfs"

next=''
case $parts in
*kexec*)
	"$tools/vm/kernel.sh" next >"$out/next.log" 2>&1 ||
		die_with_log "$out/next.log" "the next kernel does not build"
	next=$BUILD/out/next/arch/x86/boot/bzImage
	set -- -a dax.memmap=transient
	;;
*libvirt*) set -- -a dax.memmap=transient ;;	# as the guide has it
*) set -- ;;
esac

if [ "$parts" = tib ]; then
	# This machine runs out of memory as it boots. Its log shows how.
	"$tools/vm/vm.sh" -n -k "$kernel" -o "$out/static" -t 120 -b 1024 true >"$out/static.log" 2>&1 || :
	set -- -b 1024 -a dax.memmap=transient
fi

# Only without KVM does the machine count instructions: with SVM emulated under -icount,
# KVM stops too often.
[ $accel = kvm ] || set -- "$@" -c
machine() {
	"$tools/vm/vm.sh" -n -k "$kernel" -o "$out/vm" -t "$limit" "$@" env \
		IMAGE="$image" NEXT="$next" ALIGNS="$aligns" INITRAMFS="$out/initramfs" BACKEND_NET="$out/backend-net" \
		STATIC="$out/static/console.log" ACCEL=$accel ROUNDS=$rounds \
		sh "$tools/guest/machine.sh" "$parts" >"$out/vm.log" 2>&1
}

# Now and then, TCG's SVM loses a guest, on any memory. Only that failure, which lost()
# in lib.sh recognizes, gets a second try, and a note says so. The limit in
# tools/test/list allows for both.
rc=0
machine "$@" || rc=$?
note=''
if [ "$rc" = 1 ] && [ -s "$out/vm/lost" ]; then
	note="a second try, as the first lost its guest: $(cat "$out/vm/lost")"
	mv "$out/vm" "$out/lost"
	rc=0
	machine "$@" || rc=$?
fi
[ -z "$ktap" ] || cat "$out/vm/stdout"
[ -z "$note" ] || echo "# note: $note"
grep -hs '^vm.sh: note: ' "$out"/*.log >&2 || :
if [ "$rc" != 0 ]; then
	tail -n 3 "$out/vm.log" "$out/vm/stderr" >&2
	[ -n "$ktap" ] || grep -B 1 '^not ok' "$out/vm/stdout" >&2 || :
	exit 1
fi
[ -z "$ktap" ] && [ -s "$out/vm/figures" ] || exit 0

# The fields of figures are memory, name and value. A cell is the median of its values.
table() {
	awk -F '\t' '
	# Each value is inserted in the order of those before it.
	{
		for (i = ++nr[$1, $2]; i > 1 && v[$1, $2, i - 1] > $3 + 0; i--)
			v[$1, $2, i] = v[$1, $2, i - 1]
		v[$1, $2, i] = $3 + 0
		if (!($1 in seen)) { seen[$1]; memory[++n] = $1 }
	}
	function median(memory, name,   k) {
		k = nr[memory, name]
		return (v[memory, name, int((k + 1) / 2)] + v[memory, name, int(k / 2) + 1]) / 2
	}
	function row(label, name, ratio,   i) {
		printf "%-38s", label
		for (i = 1; i <= n; i++)
			printf " %10s", (memory[i], name) in nr ? median(memory[i], name) : "-"
		if (ratio && median("static", name))
			printf " %9.0f%%", 100 * median("transient", name) / median("static", name)
		print ""
	}
	END {
		printf "%-38s", ""
		for (i = 1; i <= n; i++)
			printf " %10s", memory[i]
		printf " %10s\n", "ratio"
		printf "%-38s", "runs"
		for (i = 1; i <= n; i++)
			printf " %10s", nr[memory[i], "boot"]
		print ""
		row("QEMU to the shell of the guest, s", "boot", 1)
		row("memmap KiB at rest", "rest")
		row("memmap KiB at peak", "peak")
		row("memmap KiB 2 s after", "after")
		row("blocks live after boot", "live")
		row("blocks populated in all", "populated")
		if (("static", "pages-2m") in nr) {
			row("mapped by KVM: pages of 2 MiB", "pages-2m")
			row("mapped by KVM: pages of 4 KiB", "pages-4k")
		}
		row("virtio-blk, aio=native: write KiB/s", "vda-write", 1)
		row("virtio-blk, aio=native: read KiB/s", "vda-read", 1)
		row("  4 KiB at random: writes/s", "vda-random-write", 1)
		row("  4 KiB at random: reads/s", "vda-random-read", 1)
		row("virtio-blk, aio=io_uring: write KiB/s", "vdb-write", 1)
		row("virtio-blk, aio=io_uring: read KiB/s", "vdb-read", 1)
		row("  4 KiB at random: writes/s", "vdb-random-write", 1)
		row("  4 KiB at random: reads/s", "vdb-random-read", 1)
		row("vhost-scsi: write KiB/s", "sda-write", 1)
		row("vhost-scsi: read KiB/s", "sda-read", 1)
		row("  4 KiB at random: writes/s", "sda-random-write", 1)
		row("  4 KiB at random: reads/s", "sda-random-read", 1)
		row("vhost-net: send KiB/s", "net-send", 1)
		row("vhost-net: receive KiB/s", "net-receive", 1)
	}' "$out/vm/figures"
}

{
	if [ $accel = kvm ]; then
		echo "A guest of 512 MiB on /dev/dax0.0, with QEMU and KVM: medians"
	else
		echo "A guest of 512 MiB on /dev/dax0.0, with QEMU alone, by -icount"
	fi
	echo
	table
	echo
	if [ $accel = kvm ]; then
		echo "KVM's hardware is emulated, and timed by the clock of a machine that may do other things."
	else
		echo "A second is 1000 million instructions of the host, QEMU's translation of the guest among them."
	fi
	[ -z "$note" ] || echo "Note: $note"
} >"$file"
cat "$file"
