#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Configure and build the kernel.
set -eu
tools=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$tools/lib.sh"

usage() {
	cat <<USAGE
usage: $me [options] [config [target ...]]

Builds $linux in $BUILD/out/CONFIG. The configuration is
tinyconfig and tools/vm/config/normal.config, then tools/vm/config/CONFIG.config.
It fails when an option of these did not take effect.

  config      normal (default), debug, ...; next: normal, with another version string
              and kmem built in
  target      build only these targets of the kernel's Makefile
  -s DIR      use another source tree
  -o DIR      build in another directory
  -f FILE     merge this configuration as well, last
  -t          accept that the tree does not have some of the options
  -c          configure only

Environment: BUILD, JOBS, CC; CCACHE_DIR and the other variables of ccache.
USAGE
}

src=$linux out='' extra='' tolerant='' only=''
while getopts s:o:f:tch opt; do
	case $opt in
	s) src=$OPTARG ;;
	o) out=$OPTARG ;;
	f) extra=$OPTARG ;;
	t) tolerant=1 ;;
	c) only=1 ;;
	h) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
config=${1:-normal}
[ $# = 0 ] || shift
wanted=$*
out=${out:-$BUILD/out/$config}
log=$BUILD/log/kernel-${out##*/}.log
git -C "$src" rev-parse -q --verify base^0 >/dev/null 2>&1 ||
	die "no kernel with a commit tagged base in $src: make tree"

fragments=$tools/vm/config/normal.config
[ "$config" = normal ] || fragments="$fragments $tools/vm/config/$config.config"
fragments="$fragments $extra"
for f in $fragments; do
	[ -r "$f" ] || die "no configuration $f"
done


# The cache of compilations is the user's own. Paths below this directory are the same
# for every tree that is laid out like ours.
CCACHE_BASEDIR=$(cd "$src/.." && pwd)
CCACHE_NOHASHDIR=1
CCACHE_SLOPPINESS=time_macros
KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'
KBUILD_BUILD_USER=build
KBUILD_BUILD_HOST=localhost
export CCACHE_BASEDIR CCACHE_NOHASHDIR CCACHE_SLOPPINESS
export KBUILD_BUILD_TIMESTAMP KBUILD_BUILD_USER KBUILD_BUILD_HOST

# kmake WHAT ARGUMENT...: run make in the source tree; lines of progress begin with
# WHAT.
kmake() {
	what=$1
	shift
	run "$log" "$what" make -C "$src" O="$out" CC="${CC:-ccache gcc}" "$@"
}

# Hash what the configuration is made of: the fragments, and the difference of the
# Kconfig files from the base's.
config_hash() {
	{
		# shellcheck disable=SC2086
		cat $fragments
		git -C "$src" diff base -- '*Kconfig*'
	} | sha256sum
}

# Prints the options that .config does not have as the fragments want them. The last
# fragment that names an option counts.
not_taken() {
	# shellcheck disable=SC2086
	sed -n -e 's/^# \(CONFIG_[A-Za-z0-9_]*\) is not set$/\1=n/' \
		-e '/^CONFIG_/p' $fragments |
		awk -v config="$out/.config" '
		BEGIN {
			while ((getline line < config) > 0)
				if (match(line, /^CONFIG_[A-Za-z0-9_]*=/))
					is[substr(line, 1, RLENGTH - 1)] = substr(line, RLENGTH + 1)
		}
		{
			at = index($0, "=")
			name = substr($0, 1, at - 1)
			if (!(name in want)) order[++n] = name
			want[name] = substr($0, at + 1)
		}
		END {
			for (i = 1; i <= n; i++) {
				name = order[i]
				got = name in is ? is[name] : "n"
				if (got != want[name])
					printf " %s=%s (is %s)", name, want[name], got
			}
		}'
}

# shellcheck disable=SC2086	# Files
make_config() {
	kmake "configuring $config" tinyconfig &&
		run "$log" "configuring $config" env -C "$out" \
			"$src/scripts/kconfig/merge_config.sh" -m -O "$out" .config $fragments &&
		kmake "configuring $config" olddefconfig
}

configure() {
	mkdir -p "$out" "${log%/*}"
	hash=$(config_hash)
	[ "$hash" != "$(cat "$out/.fragments" 2>/dev/null)" ] || return 0
	rm -f "$out/.fragments"
	say "configuring $config in $out"
	make_config || die_with_log "$log" "configuration failed"
	missed=$(not_taken)
	[ -n "$missed" ] || echo "$hash" >"$out/.fragments"
	[ -z "$missed" ] || [ -n "$tolerant" ] ||
		die "$config: did not take:$missed"
}

# Prints the number of commands run so far, and how many the last full build ran.
progress() {
	done_now=$(grep -c '^  [A-Z]' "$log") || :
	echo "($done_now steps, ${steps:-about 3000} in a build from scratch)"
}

# Show the first error and the lines that follow it. The log has the rest.
no_build() {
	grep -m 1 -A 14 -E 'error:|undefined reference|^make.*\*\*\*' "$log" >"$log.error" ||
		tail -n 15 "$log" >"$log.error"
	log_end "$log.error"
	die "$config does not build: $(head -n 1 "$log.error"): see $log"
}

build() {
	targets=bzImage
	if grep -q '=m$' "$out/.config"; then
		targets='bzImage modules'
	fi
	targets=${wanted:-$targets}
	steps=$(cat "$out/.steps" 2>/dev/null) || :
	say "building $config in $out, log in $log"
	start=$(date +%s)
	# A fragment can set variables of the kernel's Makefiles too.
	# shellcheck disable=SC2046,SC2086
	kmake "building $config" -j"$JOBS" $(sed -n 's/^# make: //p' $fragments) $targets ||
		no_build
	count=$(grep -c '^  [A-Z]' "$log") || :
	[ -n "$wanted" ] || [ "$count" -le "${steps:-0}" ] || echo "$count" >"$out/.steps"
	# vm.sh says where modprobe finds them.
	case $targets in
	*modules) kmake "installing modules" -s modules_install INSTALL_MOD_PATH="$out/root" ||
		die_with_log "$log" "the modules can't be installed" ;;
	esac
	say "${wanted:-$out/arch/x86/boot/bzImage} is ready ($count steps, $(($(date +%s) - start)) s)"
}

# Two tests may want the next kernel at the same time.
mkdir -p "${out%/*}"
exec 8>"$out.lock"
flock 8

# This one differs in its version and kmem only, so that hardly more than linking is left
# to do.
if [ "$config" = next ] && [ ! -e "$out" ] && [ -e "$BUILD/out/normal/vmlinux" ]; then
	cp -a "$BUILD/out/normal" "$out"
fi
configure
[ -n "$only" ] || build
