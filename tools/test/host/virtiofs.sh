#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Try virtiofs as a user of memory without a memmap. Writes KTAP to stdout. Starts a
# machine of its own, which shares its memory with a virtiofsd of the host.
#
# A failure means: a virtual machine that itself has guests cannot keep their images on a
# virtiofs of its host, or they get wrong data.
set -eu

tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"

case ${1:-} in -h) echo "usage: $me"; exit 0 ;; esac
# Debian 13 has another one, elsewhere.
daemon=/usr/lib/qemu/virtiofsd
[ -x $daemon ] || daemon=/usr/libexec/virtiofsd
[ -x $daemon ] || die "no virtiofsd (Debian 12: qemu-system-common, 13: virtiofsd)"
out=$BUILD/test/virtiofs-vm
mkdir -p "$out"
make_tmp
mkdir "$tmp/served"

server=''
# shellcheck disable=SC2317
end() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || :
	cleanup
}
trap end EXIT

# It wants to be root, if only in a name space, and makes a directory in /run.
# shellcheck disable=SC2016	# The inner shell's
unshare -rm sh -c 'mount -t tmpfs run /run && exec "$@"' sh \
	$daemon --socket-path="$tmp/socket" -o source="$tmp/served",cache=none,sandbox=chroot \
	>"$out.daemon.log" 2>&1 &
server=$!
for _ in $(seq 200); do
	[ ! -S "$tmp/socket" ] || break
	sleep 0.1
done
[ -S "$tmp/socket" ] || die_with_log "$out.daemon.log" "virtiofsd does not start"

rc=0
attend "$tools/vm/vm.sh" -n -o "$out" -t 300 \
	-q "-object memory-backend-memfd,id=ram,size=7G,share=on -machine memory-backend=ram
		-chardev socket,id=fs,path=$tmp/socket
		-device vhost-user-fs-pci,chardev=fs,tag=transient_memmap" \
	"$BUILD/programs/transient_memmap_users" "file on virtiofs" "cap of 1: virtiofs" \
	>"$out.log" 2>&1
cat "$out/stdout"
grep '^vm.sh: note: ' "$out.log" >&2 || :
if [ "$rc" != 0 ]; then
	tail -n 20 "$out.daemon.log" "$out.log" >&2
	exit 1
fi
