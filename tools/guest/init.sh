#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
# The init of the guest that machine.sh starts. It does the jobs of job=NAME[,ARG...] on
# its command line, then those that come as lines (NAME ARG...) on the console, and
# writes a line for each to the console,
#   guest: NAME[ ARG] ok|bad|error [KEY=VALUE ...]
# where bad is wrong data and error an I/O that failed.
set -u

/bin/busybox mkdir -p /bin /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o size=90% tmpfs /tmp
exec </dev/console >/dev/console 2>&1
cd /tmp || exit
mkfifo open

say() { echo "guest: $*"; }

# now: print microseconds, which begin again at 0 every 100000 s.
now() { adjtimex | awk '/time.tv_sec:/ { s = $2 % 100000 } /time.tv_usec:/ { printf "%.0f", s * 1000000 + $2 }'; }

# pattern MIB FILE: write a file whose data differs each time.
pattern() { dd if=/dev/urandom of="$2" bs=1M count="$1" status=none; }

store() { dd if="$1" of="/dev/$2" bs=1M oflag=direct conv=notrunc status=none; }
load() { dd if="/dev/$1" bs=1M count="$2" iflag=direct status=none; }

drop_caches() { echo 3 >/proc/sys/vm/drop_caches; }

# rate MIB MICROSECONDS: print KiB/s.
rate() { echo $(($1 * 1024 * 1000000 / $2)); }

# disk DEV MIB: write, drop the caches, read back and compare.
disk() {
	pattern "$2" out
	sum=$(md5sum <out)
	t=$(now)
	store out "$1" || { say "disk $1 error write"; return; }
	wt=$(($(now) - t))
	rm out
	drop_caches
	t=$(now)
	load "$1" "$2" >in || { say "disk $1 error read"; return; }
	rt=$(($(now) - t))
	[ "$(md5sum <in)" = "$sum" ] || { say "disk $1 bad"; return; }
	rm in
	say "disk $1 ok sum=${sum%% *} mib=$2 write=$(rate "$2" $wt) read=$(rate "$2" $rt)"
}

# io DEV MIB: the same without an end in the background, with a line for each round. It
# goes on after an error, but not so fast that the console is full of them.
io() {
	round=0
	while :; do
		round=$((round + 1))
		pattern "$2" "out.$1"
		sum=$(md5sum <"out.$1")
		if ! store "out.$1" "$1" || ! load "$1" "$2" >"in.$1"; then
			say "io $1 error round=$round"
			sleep 1
		elif [ "$(md5sum <"in.$1")" != "$sum" ]; then
			say "io $1 bad round=$round"
		else
			say "io $1 ok round=$round"
		fi
	done 2>/dev/null
}

# random DEV MIB RAM: run guest-io with RAM MiB of the guest's memory.
random() { say "random $1 $(guest-io "/dev/$1" "$2" "$3")"; }

# net MIB: send to the machine's port 5001 and receive from 5002. nc would end at the
# end of its input, so its input is a FIFO that does not end.
net() {
	ip link set lo up
	ip link set eth0 up
	ip addr add 10.7.0.2/24 dev eth0 2>/dev/null
	pattern "$1" out
	t=$(now)
	nc -w 60 10.7.0.1 5001 <out >/dev/null || { say "net error send"; return; }
	wt=$(($(now) - t))
	t=$(now)
	nc -w 60 10.7.0.1 5002 <>open >in || { say "net error receive"; return; }
	rt=$(($(now) - t))
	sum=$(md5sum <out) got=$(md5sum <in)
	[ "$(wc -c <in)" = $(($1 << 20)) ] || { say "net bad received=$(wc -c <in)"; return; }
	say "net ok sent=${sum%% *} received=${got%% *} mib=$1 send=$(rate "$1" $wt) receive=$(rate "$1" $rt)"
	rm out in
}

# share MIB: write the file "out" by 9p, read the file "given". A request each for what
# md5sum reads at a time would take long.
share() {
	mkdir -p share
	mount -t 9p -o trans=virtio,version=9p2000.L share share || { say "share error mount"; return; }
	pattern "$1" share/out
	sum=$(dd if=share/out bs=128k status=none | md5sum)
	got=$(dd if=share/given bs=128k status=none | md5sum)
	umount share
	say "share ok sent=${sum%% *} received=${got%% *}"
}

# virtiofs MIB: write the file "out" and read the file "given", with O_DIRECT.
virtiofs() {
	mkdir -p share
	mount -t virtiofs share share || { say "virtiofs error mount"; return; }
	pattern "$1" out
	sum=$(md5sum <out)
	dd if=out of=share/out bs=1M oflag=direct status=none || { say "virtiofs error write"; return; }
	dd if=share/given bs=1M iflag=direct status=none >in || { say "virtiofs error read"; return; }
	got=$(md5sum <in)
	umount share
	say "virtiofs ok sent=${sum%% *} received=${got%% *}"
	rm out in
}

# address IP: give it to the network card.
address() {
	ip link set lo up
	ip link set eth0 up
	ip addr add "$1/24" dev eth0 && say "address ok"
}

# give IP MIB: send a file to another guest. take: receive one, and say so when it is
# there.
give() {
	pattern "$2" out
	nc -w 60 "$1" 5001 <out >/dev/null || { say "give error"; return; }
	sum=$(md5sum <out)
	rm out
	say "give ok sum=${sum%% *}"
}
take() {
	nc -w 60 -l -p 5001 <>open >in &
	until grep -q ':1389 0*:0000 0A ' /proc/net/tcp; do sleep 0.1; done
	say "take ok"
	wait $!
	sum=$(md5sum <in)
	rm in
	say "taken ok sum=${sum%% *}"
}

# flood: send frames to nobody without an end, in the background. The frames are long,
# because vhost copies short ones.
flood() {
	ip link set eth0 up
	ip addr add 10.7.0.2/24 dev eth0
	arp -s 10.7.0.9 52:54:00:00:07:09
	# ping ends when the queue is full.
	while :; do ping -q -s 8000 -i 0.03 10.7.0.9; sleep 0.2; done >/dev/null 2>&1
}

# edu: have the device do DMA.
edu() {
	dev=$(grep -l 'PCI_ID=1234:11E8' /sys/bus/pci/devices/*/uevent)
	say "edu $(guest-edu "${dev%/uevent}")"
}

# keep MIB: store data in memory. kept: tell whether it is still there.
keep() {
	pattern "$1" kept
	md5sum <kept >kept.sum
	say "keep ok"
}
kept() {
	if [ "$(md5sum <kept)" = "$(cat kept.sum)" ]; then say "kept ok"; else say "kept bad"; fi
}

# fill MIB: write to that much memory, then free it.
fill() {
	if dd if=/dev/zero of=filled bs=1M count="$1" status=none; then
		say "fill ok free=$(sed -n 's/^MemFree: *\([0-9]*\).*/\1/p' /proc/meminfo)"
	else
		say "fill error"
	fi
	rm filled
}

ram() { say "ram ok kib=$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"; }

job() {
	case $1 in
	disk | random | net | share | virtiofs | address | give | take | edu | keep | kept | fill | ram) "$@" ;;
	io | flood) "$@" & ;;
	roam) shift; while :; do random "$@"; done & ;;
	crash) exit 1 ;;	# The kernel panics when its init ends.
	reboot) reboot -f ;;
	off) poweroff -f ;;
	*) say "$1 error no such job" ;;
	esac
}

say "up"
read -r cmdline </proc/cmdline
for word in $cmdline; do
	case $word in
	job=*)
		# shellcheck disable=SC2046	# Words
		job $(echo "${word#job=}" | tr , ' ') ;;
	esac
done
while read -r line; do
	# shellcheck disable=SC2086
	[ -z "$line" ] || job $line
done
