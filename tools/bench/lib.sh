# SPDX-License-Identifier: GPL-2.0
# bench.sh and growth.sh source this. They set $json, the file of the figures, and
# $limits, that of the limits.
# shellcheck shell=sh disable=SC2154

bench_jq() { jq -L "$tools/bench" "$@"; }

# aligned WIDTH: align tab-separated cells. The first is WIDTH wide, and those that
# follow are aligned to the right.
aligned() {
	awk -F '\t' -v width="$1" '{
		line = sprintf("%-*s", width, $1)
		for (i = 2; i <= NF; i++)
			line = line sprintf(" %13s", $i)
		sub(/ +$/, "", line)
		print line
	}'
}

# table NAME WIDTH TITLE...: print a table of the figures in $json.
table() {
	name=$1 width=$2
	shift 2
	echo
	printf '%s\n' "$@"
	bench_jq -rs "include \"bench\"; $name" "$json" | aligned "$width"
}

# add_ratios NAME MINE: append the ratios of the figures in $json to it. MINE is a jq
# condition that selects limits by name.
add_ratios() {
	bench_jq -cs --rawfile limits "$limits" \
		"include \"bench\"; [$1] | judge(\$limits; $2)" \
		"$json" >"$tmp/ratios" || die "the figures are not complete: see $json"
	cat "$tmp/ratios" >>"$json"
}

report_ratios() {
	table ratio_table 52 'Ratios, and the limits of tools/bench/limits'
	echo
	jq -rs '[.[] | select(.limit)] | (map(select(.verdict == "ok")) | length) as $ok |
		"\(length) limits: \($ok) ok, \(length - $ok) missed"' "$json"
}

# draw PICTURE: have PICTURE.gnuplot make PICTURE.svg of the data in $tmp.
draw() {
	gnuplot -e "dir='$tmp'" "$tools/bench/$1.gnuplot" >"$out/gnuplot.log" 2>&1 ||
		die_with_log "$out/gnuplot.log" "no picture"
	mv "$tmp/$1.svg" "$out/$1.svg"
}

can_draw() {
	command -v gnuplot >/dev/null && return
	say 'gnuplot is missing (Debian: gnuplot-nox): no picture'
	return 1
}

# True without -l, or if all limits hold.
limits_hold() {
	[ -n "$strict" ] || return 0
	jq -es 'map(select(.limit and .verdict != "ok")) | length == 0' "$json" >/dev/null
}
