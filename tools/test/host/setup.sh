#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Try the guide's ways to a transient memmap on a kernel with the kmem driver, as
# distributions have it. Writes KTAP to stdout. Starts machines of its own.
#
# A failure means: on a distribution's host the guests' memory becomes ordinary memory of
# the host, or is lost until the next boot.
set -eu
tools=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"
# shellcheck source=tools/test/ktap.sh
. "$tools/test/ktap.sh"

case ${1:-} in -h) echo "usage: $me"; exit 0 ;; esac

# The part of each of the series' messages that has no format must be in the guide.
guide_has_each_message() {
	guide=$top/Documentation/admin-guide/mm/transient_memmap.rst
	tr '\n' ' ' <"$guide" | tr -s ' ' >"$tmp/guide"
	{
		cat "$top"/mm/transient_memmap/*.c
		sed -n 's/^+//p' "$top"/series/*/*-dax-*.patch
	} | sed -n -E -e 's/.*(pr_(err|warn)\(|dev_(err|warn)\(dev, )"(.*)".*/\4/p' \
		-e 's/.*return "([a-z].*)";/\1/p' | sed 's/\\n$//' >"$tmp/messages"
	[ "$(wc -l <"$tmp/messages")" -ge 15 ] || { echo 'too few messages were found'; return 1; }
	while read -r message; do
		part=$(printf '%s\n' "$message" | sed -E 's/%#?l?[a-z]+/\n/g' |
			awk 'length > length(longest) { longest = $0 } END { print longest }' |
			sed 's/^ *//; s/ *$//')
		grep -q -F -- "$part" "$tmp/guide" || { echo "not in the guide: $message"; return 1; }
	done <"$tmp/messages"
}

# machine NAME KERNEL ARGS: boot KERNEL with ARGS on the command line, and run the part
# NAME in it.
machine() {
	out=$BUILD/test/setup-vm-$1 rc=0
	mkdir -p "$out"
	attend "$tools/vm/vm.sh" -n -k "$2" -o "$out" -t 400 -a "vm.kmem=1 $3" \
		sh "$tools/test/machine/setup.sh" "$1" "$ktap_nr" >"$out.log" 2>&1
	cat "$out/stdout"
	ktap_nr=$((ktap_nr + $(grep -c -E '^(not )?ok ' "$out/stdout")))
	grep '^vm.sh: note: ' "$out.log" >&2 || :
	if [ "$rc" != 0 ]; then
		tail -n 20 "$out.log" >&2
		exit 1
	fi
}

make_tmp
ktap_plan 24
ktap_check 'the guide has each message' guide_has_each_message
# kmem is a module of the normal kernel, and built into the next one.
"$tools/vm/kernel.sh" next >"$tmp/next.log" 2>&1 ||
	die_with_log "$tmp/next.log" "the next kernel does not build"
machine late normal ''
machine builtin next memhp_default_state=online_movable
machine boot next dax.memmap=transient
# The firmware's image lies below 4 GiB, and what PCI devices have before it.
export LAYOUT=''
machine mem normal 'mem=4G dax.memmap=transient
	dax_hmem.range=3G@4G,1G@8G,2M@1G,2M@0xffe00000,2M@0xfea00000,1G@6G,1G,2M@7E'
