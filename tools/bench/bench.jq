# SPDX-License-Identifier: GPL-2.0
# bench.sh makes ratios and tables of bench-machine.sh's figures with this. All input is
# one array.

def round3: . * 1000 | round / 1000;
def pages: .mib * 256;
# One emulated instruction is one nanosecond.
def get_cost: .get * 1000 / (pages / .n);
def put_cost: .put * 1000 / pages;

def gup($memory; $state; $call; $n): map(select(.kind == "gup" and
	.memory == $memory and .state == $state and .call == $call and .n == $n))[0];
def of($kind; $memory): map(select(.kind == $kind and .memory == $memory));
def of_kind($kind): map(select(.kind == $kind));
def job: "\(.engine) \(.bs)";
def ratio($name; $value): {kind: "ratio", name: $name, value: ($value | round3)};

# These make ratios of two sets of rounds: get for each n, and put.
def gup_two($memory; $state; $base; $base_state; $call; $n):
	[gup($memory; $state; $call; $n), gup($base; $base_state; $call; $n)];
def get_ratio($what; $suffix):
	ratio("gup -\(.[0].call) \($what) n=\(.[0].n) get \($suffix)";
		(.[0] | get_cost) / (.[1] | get_cost));
def put_ratio($what; $suffix):
	ratio("gup -\(.[0].call) \($what) put \($suffix)";
		(.[0] | put_cost) / (.[1] | put_cost));
def gup_ratios($what; $memory; $state; $base; $suffix): ("a", "u") as $call |
	((1, 64, 512) as $n |
		gup_two($memory; $state; $base; "hit"; $call; $n) | get_ratio($what; $suffix)),
	(gup_two($memory; $state; $base; "hit"; $call; 512) | put_ratio($what; $suffix));

def fio_ratios($memory; $base; $suffix):
	[of("fio"; $memory), of("fio"; $base)] | transpose[] |
	ratio("fio \(.[0] | job) \($suffix)"; .[0].iops / .[1].iops);

def vhost_ratios($memory; $base; $suffix):
	[of("vhost"; $memory), of("vhost"; $base)] | transpose[] |
	ratio("\(.[0].name) \($suffix)"; .[0].iops / .[1].iops);

# This is the cost of one read that pins and unpins, with all that follows from it.
def cycle_cost: .ns / .reads;
def cycle_ratios: map(select(.kind == "cycle")) |
	([.[] | {(.memory): cycle_cost}] | add // empty) as $cost |
	(("transient 4k", "transient 2m", "transient 2m, direct map too") as $m |
		($m | sub(",.*"; "") | sub("transient"; "static")) as $static |
		($m | sub("transient "; "") | sub(", direct map too"; " direct map")) as $name |
		ratio("cycle \($name) kept/static"; $cost[$m] / $cost[$static]),
		ratio("cycle \($name) cache=0/static"; $cost["\($m), cache 0"] / $cost[$static]));

# The best round counts: other load of the machine can only make a round slower.
def scale_best: map(select(.kind == "scale")) | group_by([.memory, .state, .who, .workers])[] |
	sort_by(.us)[0] | .rate = .blocks * 1000000 / .us;
def scale_ratios: [scale_best] | group_by([.memory, .state, .who])[] | .[0] as $one |
	.[1:][] | ratio("scale \(.memory | sub("transient "; "")) \(.state) \(.who) \(.workers) to 1";
		.rate / $one.rate);

def ratios:
	gup_ratios("1g"; "transient 1g"; "hit"; "static 1g"; "hit/static"),
	(("4k", "2m") as $size | "static \($size)" as $static |
	 "transient \($size)" as $ours |
		gup_ratios($size; $ours; "hit"; $static; "hit/static"),
		gup_ratios($size; $ours; "miss"; $static; "miss/static"),
		(("a", "u") as $call | gup_two($ours; "miss"; $ours; "hit"; $call; 512) |
			get_ratio($size; "miss/hit")),
		gup_ratios($size; $ours; "cache0"; $static; "cache=0/static")),
	# These compare with and without a transient direct map, each in the same state.
	(("hit", "miss", "cache0") as $state | ("a", "u") as $call |
		(gup_two("transient 2m, direct map too"; $state; "transient 2m"; $state; $call; 512) |
			get_ratio("2m"; "direct map \($state)"), put_ratio("2m"; "direct map \($state)")),
		(gup_two("transient 2m, direct map too"; $state; "transient 2m"; $state; $call; 1) |
			get_ratio("2m"; "direct map \($state)"))),
	gup_ratios("4k"; "anonymous 4k"; "hit"; "static 4k"; "anonymous/static"),
	gup_ratios("2m"; "anonymous THP"; "hit"; "static 2m"; "THP/static"),
	gup_ratios("2m"; "hugetlb 2m"; "hit"; "static 2m"; "hugetlb/static"),
	gup_ratios("2m"; "hugetlb 2m HVO"; "hit"; "static 2m"; "hugetlb HVO/static"),
	fio_ratios("transient 2m"; "static 2m"; "transient/static"),
	fio_ratios("static 2m, again"; "static 2m"; "again/static"),
	fio_ratios("transient 2m, cache 0"; "static 2m"; "cache=0/static"),
	fio_ratios("transient 2m, direct map too"; "static 2m"; "direct map/static"),
	fio_ratios("transient 2m, direct map too, cache 0"; "static 2m"; "direct map cache=0/static"),
	fio_ratios("anonymous 4k"; "static 2m"; "anonymous/static"),
	fio_ratios("hugetlb 2m"; "static 2m"; "hugetlb/static"),
	fio_ratios("hugetlb 2m HVO"; "static 2m"; "hugetlb HVO/static"),
	vhost_ratios("transient 2m"; "static 2m"; "transient/static"),
	vhost_ratios("static 2m, again"; "static 2m"; "again/static"),
	vhost_ratios("transient 2m, cache 0"; "static 2m"; "cache=0/static"),
	vhost_ratios("transient 2m, direct map too"; "static 2m"; "direct map/static"),
	vhost_ratios("transient 2m, direct map too, cache 0"; "static 2m"; "direct map cache=0/static"),
	(("4k", "2m", "1g") as $size | ratio("bind \($size) transient/static";
		of("bind"; "transient \($size)")[0].us / of("bind"; "static \($size)")[0].us)),
	ratio("bind 2m direct map/static";
		of("bind"; "transient 2m, direct map too")[0].us / of("bind"; "static 2m")[0].us),
	cycle_ratios,
	scale_ratios,
	(map(select(.kind == "flush"))[] |
		ratio("flushes per 1000 frees, \(.memory)"; .flushes * 1000 / .freed)),
	(map(select(.kind == "flush")) | map({ (.memory): (.flushes / .freed) }) | add |
		select(.) | ratio("flushes direct map";
			.["transient 2m, direct map too"] / .["transient 2m"]));

# base_ratios: the input is figures with build: base or patched.
def base_ratios:
	group_by([.kind, .memory, .call, .n, .engine, .bs])[] |
	select(.[0].kind == "gup" or .[0].kind == "fio") |
	(map({key: .build, value: .}) | from_entries) as $b |
	if $b.base.kind == "gup" then "base gup -\($b.base.call) \($b.base.memory) n=\($b.base.n)" as $name |
		ratio("\($name) get"; ($b.patched | get_cost) / ($b.base | get_cost)),
		(select($b.base.n == 512) |
		 ratio("\($name | sub(" n=512"; "")) put"; ($b.patched | put_cost) / ($b.base | put_cost)))
	else ratio("base fio \($b.base | job) \($b.base.memory)"; $b.base.iops / $b.patched.iops) end;

# How cost grows. What is done for some blocks or sections has a part that is not: it
# counts from $from on, where there are enough.
def growth($against): of_kind("growth") | map(select(.against == $against));
def spread($against; $from; $unit; $operation):
	growth($against) | map(select(.operation == $operation and .n >= $from) | .[$unit]) |
	select(all) | ratio("growth \($against) \($operation) \($unit)"; max / min);
def growth_ratios: ("instructions", "ns") as $unit |
	spread("live"; 1; $unit; "populate", "hit", "free"),
	spread("live"; 100; $unit; "at the cap"),
	spread("live"; 10000; $unit; "refused"),
	spread("sections"; 1; $unit; "populate and free"),
	(select($unit == "ns") | spread("live"; 1000; "ns"; "age"),
	 spread("sections"; 64; "ns"; "register", "unregister"),
	 spread("threads"; 1; "ns"; "populate", "hit"));

# guestramfs.sh: files compared with the device, with hugetlbfs, and with memset()
def file($memory; $what): map(select(.kind == "file" and .memory == $memory and .what == $what));
def steps: ["open", "ftruncate", "mmap", "touch", "munmap", "unlink"];
def making($memory; $steps): [$steps[] as $s | file($memory; $s)[-1].ns] | add;
def per_fault: .ns / .count;
def guestramfs_ratios:
	(("hit", "miss", "cache0") as $state |
		({hit: "hit", miss: "miss", cache0: "cache=0"}[$state]) as $case | ("a", "u") as $c |
		((1, 64, 512) as $n | [gup("guestramfs"; $state; $c; $n), gup("device-dax"; $state; $c; $n)] |
			ratio("guestramfs -\($c) \($case) n=\($n) get file/device";
				(.[0] | get_cost) / (.[1] | get_cost))),
		([gup("guestramfs"; $state; $c; 512), gup("device-dax"; $state; $c; 512)] |
			ratio("guestramfs -\($c) \($case) put file/device";
				(.[0] | put_cost) / (.[1] | put_cost)))),
	ratio("guestramfs fio psync 4k file/device";
		of("fio"; "guestramfs")[0].iops / of("fio"; "device-dax")[0].iops),
	ratio("guestramfs making file/hugetlbfs";
		making("guestramfs"; steps) / making("hugetlbfs"; steps)),
	ratio("guestramfs making, not touched, file/hugetlbfs";
		making("guestramfs"; steps - ["touch"]) / making("hugetlbfs"; steps - ["touch"])),
	(("2m", "1g") as $e | ratio("guestramfs first touch \($e)/memset";
		file("guestramfs"; "first touch \($e)")[0].ns / file("guestramfs"; "memset \($e)")[0].ns)),
	(("device-dax", "hugetlbfs") as $m | ratio("guestramfs fault 2m file/\($m)";
		(file("guestramfs"; "fault 2m")[0] | per_fault) / (file($m; "fault 2m")[0] | per_fault)));

# $limits is the text of tools/bench/limits. $mine selects those that are measured.
def parse_limits: split("\n") | map(select(test("^[^#]")) |
	(capture("^(?<pattern>.*?)\\s+(?<op>[<>]=)\\s+(?<limit>[0-9.]+)\\s*$") //
		error("no limit: \(.)")) |
	.regex = "^" + (.pattern | gsub("(?<c>[.+?()\\[\\]])"; "\\\(.c)") | gsub("\\*"; ".*")) + "$" |
	.number = (.limit | tonumber));
def verdict($limit):
	if $limit == null then . else . + {op: $limit.op, limit: $limit.number, text: "\($limit.op) \($limit.limit)"} |
	.verdict = if .op == "<=" then (if .value <= .limit then "ok" else "above the limit" end)
		elif .value >= .limit then "ok" else "below the limit" end end;
# judge: the input is an array of ratios. The output is each with its verdict, and a
# line for a limit without a ratio.
def judge($limits; mine): ($limits | parse_limits | map(select(.pattern | mine))) as $limits |
	(.[] | .name as $name | verdict(first($limits[] | .regex as $r | select($name | test($r))) // null)),
	(map(.name) as $names | $limits[] | select(.regex as $r | all($names[]; test($r) | not)) |
		{kind: "ratio", name: .pattern, value: null, op, limit: .number,
		 text: "\(.op) \(.limit)", verdict: "not measured"});

# Tables are lines of tab-separated cells.

def cell: if . == null then "-" elif type == "number" then
	(if . >= 1000 then round elif . >= 100 then . * 10 | round / 10 else . * 100 | round / 100 end | tostring)
	else tostring end;
def row: map(cell) | join("\t");

def gup_table: . as $all |
	["memory", "case", "-a n=1", "n=64", "n=512", "put", "-u n=1", "n=64", "n=512", "put", "populated"],
	([["static 4k", "hit"], ["transient 4k", "hit"], ["transient 4k", "miss"], ["transient 4k", "cache0"],
	  ["anonymous 4k", "hit"],
	  ["static 2m", "hit"], ["transient 2m", "hit"], ["transient 2m", "miss"], ["transient 2m", "cache0"],
	  ["transient 2m, direct map too", "hit"], ["transient 2m, direct map too", "miss"],
	  ["transient 2m, direct map too", "cache0"],
	  ["static 1g", "hit"], ["transient 1g", "hit"],
	  ["anonymous THP", "hit"], ["hugetlb 2m", "hit"], ["hugetlb 2m HVO", "hit"]][] |
	 . as [$memory, $state] |
	 select($all | gup($memory; $state; "a"; 1)) |
	 [$memory, (if $memory | startswith("transient") then {hit: "hit", miss: "miss", cache0: "cache=0"}[$state] else "" end),
	  (("a", "u") as $c | ((1, 64, 512) as $n | $all | gup($memory; $state; $c; $n) | get_cost),
	  ($all | gup($memory; $state; $c; 512) | put_cost)),
	  (if $memory | startswith("transient") then
		$all | gup($memory; $state; "a"; 512) | .populated / (.mib / 2) else "" end)]) | row;
def io_table($kind; name): map(select(.kind == $kind)) |
	["memory", (.[0].memory as $m | .[] | select(.memory == $m) | name)],
	((map(.memory) | unique) as $have |
	 ("static 2m", "static 2m, again", "transient 2m", "transient 2m, cache 0",
	  "transient 2m, direct map too", "transient 2m, direct map too, cache 0",
	  "anonymous 4k", "hugetlb 2m", "hugetlb 2m HVO") as $m |
	 select($have | index($m)) | [$m, (.[] | select(.memory == $m) | .iops | round)]) | row;
def fio_table: io_table("fio"; job);
def vhost_table: io_table("vhost"; .name);
def bind_table:
	["memory", "MiB", "instructions", "memmap KiB", "KiB per GiB"],
	(.[] | select(.kind == "bind") |
	 [.memory, .mib, .us * 1000, .memmap_kib, .memmap_kib * 1024 / .mib]) | row;
def flush_table:
	["memory", "reads", "freed", "flushes", "per 1000"],
	(.[] | select(.kind == "flush") | [.memory, .reads, .freed, .flushes, .flushes * 1000 / .freed]) | row;
def scale_table:
	["memory", "case", "", "at a time", "blocks", "microseconds", "blocks/s", "to one"],
	([scale_best] | group_by([.memory, .state, .who])[] | .[0].rate as $one |
	 .[] | [.memory, .state, .who, .workers, .blocks, .us, .rate, .rate / $one]) | row;
# populate+free is the cost beyond that of the same memory when it has its struct pages.
def cycle_table: of_kind("cycle") as $all |
	([$all[] | select(.populated == 0) | {(.memory): cycle_cost}] | add) as $kept |
	["memory", "reads", "populated", "per read", "populate+free"],
	($all[] | [.memory, .reads, .populated, cycle_cost,
	 (if .populated == 0 then null else
	  (cycle_cost - $kept[.memory | sub(", cache 0"; "")]) * .reads / .populated end)]) | row;
def growth_table($against; $unit): growth($against) |
	(map(.operation) | reduce .[] as $o ([]; if index($o) then . else . + [$o] end)) as $operations |
	[$against] + $operations,
	(group_by(.n)[] | . as $row |
	 [$row[0].n] + ($operations | map(. as $o | $row[] | select(.operation == $o) | .[$unit]))) | row;
def irqsoff_worst($memory): map(select(.kind == "irqsoff" and .memory == $memory)) | max_by(.us);
def irqsoff_ratios: ("4k", "2m") as $size | ratio("irqsoff \($size) transient/static";
	irqsoff_worst("transient \($size)").us / irqsoff_worst("static \($size)").us);
def irqsoff_table:
	["memory", "microseconds", "switched off in"],
	((map(select(.kind == "irqsoff") | .memory) | unique[]) as $m |
	 irqsoff_worst($m) | [.memory, .us, .where]) | row;
def guestramfs_pins: . as $all |
	["memory", "case", "-a n=1", "n=64", "n=512", "put", "-u n=1", "n=64", "n=512", "put", "populated"],
	(("hit", "miss", "cache0") as $state | ("device-dax", "guestramfs") as $m |
	 [$m, $state, (("a", "u") as $c | ((1, 64, 512) as $n | $all | gup($m; $state; $c; $n) | get_cost),
	  ($all | gup($m; $state; $c; 512) | put_cost)),
	  ($all | gup($m; $state; "a"; 512) | .populated / (.mib / 2))]) | row;
def guestramfs_fio: ["memory", "reads/s"], (("device-dax", "guestramfs") as $m |
	[$m, (of("fio"; $m)[0].iops | round)]) | row;
def guestramfs_making: . as $all |
	["memory", "GiB", steps[], "all"],
	([["hugetlbfs", -1], ["guestramfs", -1], ["guestramfs", 0]][] as [$m, $i] |
	 ($all | file($m; "open")[$i].mib) as $mib |
	 [steps[] as $s | $all | file($m; $s) | map(select(.mib == $mib))[0].ns] as $ns |
	 [$m, $mib / 1024, ($ns[] | if . then . / 1000 else . end), ($ns | add / 1000)]) | row;
def guestramfs_clearing:
	["entries", "GiB", "first touch GiB/s", "memset GiB/s"],
	(("2m", "1g") as $e | file("guestramfs"; "first touch \($e)")[0] as $t |
	 file("guestramfs"; "memset \($e)")[0] as $s |
	 [$e, $t.mib / 1024, ($t, $s | .mib / 1024 * 1000000000 / .ns)]) | row;
def guestramfs_faults:
	["memory", "entries", "faults", "instructions", "faults/s"],
	(([["guestramfs", "4k"], ["guestramfs", "2m"], ["guestramfs", "1g"], ["device-dax", "2m"],
	   ["hugetlbfs", "2m"]][]) as [$m, $e] | file($m; "fault \($e)")[0] |
	 [$m, $e, .count, per_fault, (.count * 1000000000 / .ns)]) | row;
def guestramfs_rest:
	["", "GiB", "memmap KiB", "MemFree less", "Slab more", "memmap/TiB", "MemFree/TiB"],
	(.[] | select(.kind == "rest") | (1048576 / .mib) as $f |
	 [.what, .mib / 1024, .pool_kib, .used, .slab, .pool_kib * $f, .used * $f]) | row;
def three_decimals: . * 1000 | round | tostring |
	("000" + .)[-([length, 4] | max):] | .[:-3] + "." + .[-3:];
def ratio_table:
	["ratio", "value", "limit", ""],
	(.[] | select(.kind == "ratio") | [.name, (.value | if . then three_decimals else . end), .text // "", .verdict // ""]) | row;

# bench.gnuplot draws these: a line per group of bars, with the ratios that are there.

def panel($columns; $groups): . as $all |
	([""] + ($columns | map(sub("=0/.*"; "=0") | sub("/.*"; "")))),
	($groups[] | . as $g | [$g[0]] + ($columns | map(. as $c |
		[$all[] | select(.name == "\($g[1]) \($c)") | .value][0]))) | row;
def panel_gup($size; $columns): panel($columns;
	["n=1 get", "n=64 get", "n=512 get", "put"] | map([., "gup -a \($size) \(.)"]));
def panel_2m: panel_gup("2m"; ["hit/static", "miss/static", "cache=0/static", "THP/static", "hugetlb/static"]);
def panel_4k: panel_gup("4k"; ["hit/static", "miss/static", "cache=0/static", "anonymous/static"]);
def panel_fio: panel(["transient/static", "cache=0/static", "anonymous/static", "hugetlb/static"];
	[("4k", "128k") as $bs | ("psync", "libaio", "io_uring") as $e | "\($e) \($bs)" | [sub("_"; "\\\\_"), "fio \(.)"]]);

# growth.gnuplot draws these.
def growth_panel($against): growth_table($against; "ns");
