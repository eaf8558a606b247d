#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Run one command in a virtual machine whose root is this machine's root.
set -eu

tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"

usage() {
	cat <<USAGE
usage: $me [options] [--] command [argument ...]
       $me [options] -i
       $me [options] -C

Boots a kernel in QEMU and runs the command in it, as root. The root file
system is the host's, read-only, with empty /tmp, /run and /var on top; the
checkout and BUILD are at their paths, also below these.

  -k KERNEL   normal, debug, or the path of a bzImage (default: normal)
  -m RAM      memory of the machine (default: 7G, see below)
  -b GIB      four CPUs, 2 GiB of RAM, and GIB of soft-reserved memory at 1 TiB;
              the host needs only as much of it as is used
  -a ARGS     append to the kernel's command line
  -t SECONDS  time limit (default: 300)
  -o DIR      where the results go (default: a directory in build/vm)
  -q ARGS     append to QEMU's command line, split at blanks
  -c          count instructions (-icount): one CPU, time independent of load
  -i          run a shell on the console instead of a command
  -n          keep quiet: leave the command's output in DIR only
  -C          boot nothing: check that QEMU has all devices of the machine, and that
              memory and disk suffice for it, the tree and the kernel, as far as
              these are not built yet (2 s)

DIR gets stdout, stderr, status, dmesg and console.log. The machine sees it
as /run/out, writable.

With 7G the machine has 2.5 GiB of ordinary memory, 4 GiB that are soft-reserved
at 4 GiB (/dev/dax0.0) and 512 MiB that belong to nobody at 8.25 GiB, for
test_transient_memmap. /dev/vda is an empty disk of 1 GiB, /dev/nullb0 one
that lives in memory, /dev/vdb one whose driver has to bounce all data; nvme0
appears with its module. For VFIO, there is QEMU's educational device behind an
IOMMU. LAYOUT= (empty or memmap=
options) replaces the layout.

Environment: BUILD, LAYOUT, ACCEL (tcg, or kvm where it is known to work).

Exit status: the command's, or 2 wrong usage, 124 time limit, 125 the machine did
not end in order, 126 the kernel complained (tools/vm/console-badness).
USAGE
}

die() { say "$*"; exit 2; }

# quote ARGUMENT...: print the arguments quoted so that a shell reads them back.
quote() {
	for word; do
		printf "'%s' " "$(printf '%s' "$word" | sed "s/'/'\\\\''/g")"
	done
	echo
}

kernel=normal ram=7G cpus=2 big='' append='' limit=300 out='' extra='' icount='' shell='' quiet='' check=''
while getopts k:m:b:a:t:o:q:cinCh opt; do
	case $opt in
	k) kernel=$OPTARG ;;
	m) ram=$OPTARG ;;
	b) big=$OPTARG ram=$((OPTARG + 2))G cpus=4 ;;
	a) append=$OPTARG ;;
	t) limit=$OPTARG ;;
	o) out=$OPTARG ;;
	q) extra=$OPTARG ;;
	c) icount=1 ;;
	i) shell=1 ;;
	n) quiet=1 ;;
	C) check=1 ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ -n "$shell$check" ] || [ $# -gt 0 ] || { usage >&2; exit 2; }

case $kernel in
*/*) image=$kernel ;;
*) image=$BUILD/out/$kernel/arch/x86/boot/bzImage ;;
esac
command -v qemu-system-x86_64 >/dev/null ||
	die "qemu-system-x86_64 is missing (Debian: qemu-system-x86)"

# results: set $out, make it the current directory and empty it.
results() {
	if [ -z "$out" ]; then
		mkdir -p "$BUILD/vm"
		out=$(mktemp -d "$BUILD/vm/$(date +%H%M%S)-XXXXXX")
	fi
	mkdir -p "$out"
	out=$(cd "$out" && pwd -P)
	check_path 'the directory of results' "$out"
	cd "$out"
	rm -f stdout stderr status dmesg console.log first-complaint complaints command
	: >stdout
	: >stderr
}

make_tmp
if [ -n "$check" ]; then
	out=$tmp
else
	[ -r "$image" ] || die "no kernel at $image: run make kernel"
	image=$(realpath "$image")
	results
	[ -n "$shell" ] || quote "$@" >"$out/command"
fi

# The q35 machine puts 2 of its 7 GiB below 4 GiB and 5 above. The reserved region
# touches neither the soft-reserved one nor its section.
# shellcheck disable=SC2016	# The dollar is memmap='s own.
layout='memmap=4G%4G-1+0xefffffff memmap=512M$8448M
	test_transient_memmap.base=0x210000000
	test_transient_memmap.size=0x20000000'
case $ram in 7G | 7g) ;; *) layout='' ;; esac
if [ -n "$big" ]; then
	# So much memory does not fit below 1 TiB: QEMU puts all but the first 2 GiB at
	# 1 TiB.
	layout="memmap=${big}G%1024G-1+0xefffffff"
	extra="$extra -object memory-backend-ram,id=ram,size=2G
		-object memory-backend-ram,id=big,size=${big}G,reserve=off
		-numa node,memdev=ram,cpus=0-3 -numa node,memdev=big"
fi
layout=${LAYOUT-$layout}

# The debug kernel has these checkers built in, but off. It runs with four levels of
# page tables: with five, KASAN takes good addresses for wild ones when an interrupt
# comes while identify_cpu() has the CPU's features cleared.
cpu=max checkers=''
case $image in
*/debug/*) cpu=max,la57=off checkers='page_owner=on page_table_check=on' ;;
esac
[ -z "$big" ] || cpu=$cpu,phys-bits=46

# no_timer_check: when QEMU gets little of the host's time, the kernel takes its timer
# for broken and panics.
cmdline="console=ttyS0 root=root rootfstype=9p ro no_timer_check
	rootflags=trans=virtio,version=9p2000.L,cache=loose,msize=262144
	init=$tools/vm/init.sh vm.tools=$tools vm.build=$BUILD vm.shell=$shell
	vm.modules=${image%/arch/x86/boot/bzImage}/root
	panic=-1 oops=panic log_buf_len=4M
	rcupdate.rcu_cpu_stall_timeout=120
	null_blk.nr_devices=1 null_blk.gb=1 null_blk.memory_backed=1
	scsi_debug.add_host=0 scsi_debug.dev_size_mb=16 scsi_debug.dif=1 scsi_debug.dix=1
	vhost_net.experimental_zcopytx=1 vfio_iommu_type1.allow_unsafe_interrupts=1
	iommufd.allow_unsafe_interrupts=1
	intel_iommu=on iommu=pt swiotlb=8192,force,track_hiwater
	$layout $checkers $append"
# shellcheck disable=SC2086	# Blanks and newlines become one blank.
cmdline=$(printf '%s ' $cmdline)

# These files are sparse.
truncate -s 1G "$tmp/disk.raw"
truncate -s 16M "$tmp/bounced.raw"
truncate -s 16M "$tmp/nvme.raw"
case ${ACCEL:-tcg} in
kvm) accel="-accel kvm -smp $cpus" ;;
tcg) accel="-accel tcg,thread=multi -smp $cpus" ;;
*) die "ACCEL=$ACCEL: neither tcg nor kvm" ;;
esac
if [ -n "$icount" ]; then
	accel='-accel tcg,thread=single -icount shift=0,sleep=off -smp 1'
fi

# share TAG PATH ACCESS: print the options that share a directory with the machine.
share() { echo "local,path=$2,$3security_model=none,multidevs=remap,mount_tag=$1"; }

# The callers start this in the background, on the terminal, or without a kernel.
qemu() {
	# shellcheck disable=SC2086	# $accel and $extra are lists.
	exec timeout --foreground -k 5 "$limit" qemu-system-x86_64 \
		-machine q35 -cpu "$cpu" $accel -m "$ram" \
		-nodefaults -no-user-config -display none -no-reboot \
		-virtfs "$(share root / readonly=on,)" \
		-virtfs "$(share out "$out" '')" \
		-drive file="$tmp/disk.raw",if=none,id=vda,format=raw,cache=writeback,aio=threads \
		-device virtio-blk-pci,drive=vda \
		-device virtio-rng-pci \
		-device intel-iommu,intremap=off -device edu,dma_mask=0xffffffff \
		-drive file="$tmp/bounced.raw",if=none,id=vdb,format=raw \
		-device virtio-blk-pci,drive=vdb,serial=bounced,disable-legacy=on,iommu_platform=on \
		-drive file="$tmp/nvme.raw",if=none,id=nvme,format=raw \
		-device nvme,drive=nvme,serial=nvme \
		-virtfs "$(share checkout "$checkout" readonly=on,)" \
		-virtfs "$(share build "$BUILD" readonly=on,)" \
		$extra "$@"
}
boot() { qemu -kernel "$image" -append "$cmdline" "$@"; }

# All of these are MiB. Memory: the stress test's machine needs 2,400, the demo's 1,000.
# Disk: the tree takes 2,200 and its download 160 or, as a package, twice that; a kernel
# takes 460, or 830 with all checkers; the rest is for programs, logs and results.
need_memory=2600
need_tree=2600
need_kernel=600
need_debug=1000
need_rest=300

# Start the machine paused and without a kernel, and ask it to quit.
check_qemu() {
	limit=20
	echo quit | (qemu -S -monitor stdio) >"$tmp/monitor" 2>"$tmp/qemu.log" ||
		die "QEMU cannot be started with this machine: $(grep -v ' warning: ' "$tmp/qemu.log" | head -n 1)"
}

check_memory() {
	have=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
	[ "$have" -ge "$need_memory" ] ||
		die "not enough memory: $have MiB are available, the machine takes $need_memory MiB"
}

check_disk() {
	need=$need_rest
	[ -d "$linux" ] || need=$((need + need_tree))
	case $image in
	*/debug/*) [ -e "$image" ] || need=$((need + need_debug)) ;;
	*) [ -e "$image" ] || need=$((need + need_kernel)) ;;
	esac
	have=$(df -Pk "$BUILD" | awk 'NR == 2 { print int($4 / 1024) }')
	[ "$have" -ge "$need" ] ||
		die "not enough disk: $have MiB are free for $BUILD, what is still to be built takes $need MiB"
}

check_readable() {
	closed=$(find "$checkout" -path "$BUILD" -prune -o -name .git -prune -o \
		! -readable -print -quit)
	[ -z "$closed" ] || die "$closed cannot be read, which the machine has to do as $(id -un)"
}

if [ -n "$check" ]; then
	check_readable
	check_memory
	check_disk
	check_qemu
	exit 0
fi

if [ -n "$shell" ]; then
	limit=0
	(boot -chardev stdio,id=con,logfile=console.log,signal=off -serial chardev:con)
	exit
fi

machine() {
	boot -serial file:console.log </dev/null >qemu.log 2>&1 &
	child=$!
	if [ -z "$quiet" ]; then
		tail -q -s 0.2 --pid="$child" -n +1 -f stdout &
		follow=$!
		tail -q -s 0.2 --pid="$child" -n +1 -f stderr >&2 &
		follow="$follow $!"
	fi
	rc=0
	wait "$child" || rc=$?
	child=''
	# shellcheck disable=SC2086
	[ -n "$quiet" ] || wait $follow || :
}
machine
if crashed_early "$rc" console.log; then
	say "note: QEMU crashed as the machine booted (status $rc), so that was tried again"
	machine
fi

# died LOG STATUS WORDS: show the end of the log and exit with the status.
died() {
	log_end "$1"
	say "$3: see $out/$1"
	exit "$2"
}

if [ "$rc" = 124 ] || [ "$rc" = 137 ]; then
	died console.log 124 "time limit of $limit s"
fi
[ -s console.log ] || died qemu.log 125 "the machine did not start: $(head -n 1 qemu.log)"
# A complaint says more than the missing status that follows from it.
bad=0
"$tools/vm/console-check.sh" console.log >complaints || bad=$?
complaint=$(head -n 1 complaints)
if [ "$bad" != 0 ]; then
	grep -aF -m 1 -A 14 -e "$complaint" console.log >first-complaint || :
	log_end first-complaint
fi
why=''
if [ ! -s status ] && [ "$rc" -gt 128 ]; then
	why="QEMU crashed (status $rc)"
elif [ ! -s status ]; then
	why='the machine died before the command ended'
elif ! grep -q 'reboot: Power down' console.log; then
	why='the machine did not shut down in order'
fi
if [ -n "$why" ]; then
	[ "$bad" = 0 ] || say "the kernel complained: $complaint"
	died console.log 125 "$why"
fi
if [ "$bad" != 0 ]; then
	say "the kernel complained: $complaint: see $out/console.log"
	exit 126
fi
exit "$(cat status)"
