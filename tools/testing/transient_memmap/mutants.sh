#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Break the pool in one place after the other: each time the named test has to fail, or
# with -f the fuzzer.
#
# A failure means: a test passes whatever the pool does, and its fault would come back
# unnoticed.
#
# usage: mutants.sh [-f] [NAME]	only tests, or faults, with NAME in their name
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
: "${POOL:=../../../mm/transient_memmap}"

# The fuzzer's seeds, and after how many operations it gives up
seeds='1 2 3'
max_ops=500000

# TEST FILE SED-EXPRESSION
mutants() {
	cat <<'LIST'
served_in_order cache.c s/list_add_tail(&w.list/list_add(\&w.list/
cap_limits_live cache.c s/pool_live(pool) >= pool->limits/pool_live(pool) > pool->limits/
cap_limits_live internal.h s/^#define POOL_TIMEOUT.*/#define POOL_TIMEOUT (HZ \/ 2)/
cap_limits_live cache.c s/\(!pool->limits.*\) || left <= 0/\1/
cap_limits_live cache.c s/!pool->limits.* || left <= 0/left <= 0/
served_in_order cache.c /WRITE_ONCE(pool->limits/{n;d}
waits_for_a_dying cache.c /spare = !pool->tight/,/}/s/pool_serve(pool);/;/
waits_for_a_dying core.c s/pool_has_waiters() ? 0 : FREE_DELAY/FREE_DELAY/
waits_for_a_dying core.c s/synchronize_rcu_expedited/synchronize_rcu/
waits_for_a_dying cache.c s/^\ttransient_free_soon();//
takes_idle_blocks cache.c s/pool_drop(pool, WALK_BATCH, DROP_IDLE)/1/
gives_up_few cache.c s/WALK_BATCH\t20UL/WALK_BATCH\t512UL/
idle_blocks_behind cache.c s/if (!list_empty(&w->list))$/if (0)/
share_one_limit core.c s/pool_get_page(pool, deadline);/pool_get_page(pool, jiffies + POOL_TIMEOUT);/
waits_for_the_flush core.c s/TASK_KILLABLE))/TASK_KILLABLE) \&\& 0)/
fatal_signal cache.c s/if (fatal_signal_pending(current))/if (0)/
preempted_unpin cache.c s/^\t\t\ttransient_free_soon();//
time_may_pass cache.c s/schedule_timeout(min(left, RETRY_PERIOD))/schedule_timeout(deadline - jiffies)/
cap_limits_live cache.c s/max(pool_live(pool),/max(pool_live(pool) - 1,/
counted_once cache.c s/shrinker_alloc(0,/shrinker_alloc(SHRINKER_NUMA_AWARE,/
makes_memory_free cache.c s/pool->tight = true/pool->tight = false/
makes_memory_free cache.c /^\tif (nr)$/{N;s/transient_free_soon();/;/}
neighbours_are_not core.c s/gup_flags & FOLL_HWPOISON ? -EHWPOISON : -EFAULT/-EHWPOISON/
neighbours_are_not core.c s/block_set_state(sec, pfn, BLOCK_LIVE);$/;/
poison_counts_in core.c s/state == BLOCK_LIVE &&$/0 \&\&/
noted_without_memory core.c s/GFP_KERNEL | __GFP_NOFAIL/GFP_KERNEL/
longterm_pins core.c s/(gup_flags & FOLL_LONGTERM)/0/
pools_share_a_flush core.c s/^\t\tlist_add(&page->lru, pages);/&{static void *l; if (l != page_pool(page)) atomic_long_inc(\&transient_nr_flushes); l = page_pool(page);}/
share_a_flush core.c s/^\t\tlist_add(&page->lru, pages);/&atomic_long_inc(\&transient_nr_flushes);/
without_memory_go_on cache.c s/spare = !pool->tight || .*/spare = false;/
without_memory_takes cache.c s/for (; pool->nr_spare > keep; nr++)/for (; pool->nr_spare; nr++)/
without_memory_takes cache.c s/w->page = pool_pop_spare(pool)/w->page = NULL/
waiting_for_memory cache.c s/^\t\t\tcontinue;/\t\t\tbreak;/
waiting_for_memory cache.c s/if (w->needs_page)/if (0)/
last_unpin_gives cache.c s/queue_delayed_work(transient_wq, &age_work, AGE_PERIOD);/;/
in_an_interrupt core.c s/if (llist_add(folio_to_link(folio), &dying))/transient_memmap_stat(folio->pgmap, 0);&/
revives_a_dying core.c s/^\t\tsynchronize_rcu();/\t\t;/
revives_a_dying core.c s/^\tfolio_set_count(folio, 2);$/\tfolio_set_count(folio, 1);/
revives_a_dying core.c s/BLOCK_HIDDEN) {/BLOCK_HIDDEN \&\& 0) {/
died_again_waits core.c s/if (sec->state\[block_index(pfn)\] != BLOCK_HIDDEN)/if (folio_ref_count(folio))/
block_dies_again core.c s/^\t\t\ttransient_memmap_free_folio(folio);//
waits_for_the_flush core.c s/ || state == BLOCK_UNMAPPED//
waits_for_the_flush core.c s/flush_tlb_kernel_range(start, end)/(void)start/
populate_once core.c s/state == BLOCK_POPULATING || //
neighbours_are_not core.c s/block_pinnable(pfn) &&/pfn_block_state(pfn) >= BLOCK_LIVE \&\&/
shared_tails core.c s/mk_pte(pool->tails, PAGE_KERNEL_RO)/mk_pte(pool->tails, PAGE_KERNEL)/
ranges_node cache.c s/alloc_pages_node(pool->nid, gfp, 0)/alloc_pages_node(0, gfp, 0)/
kept_block_serves cache.c s/INIT_LIST_HEAD(&page->lru);//
until_it_is_idle cache.c s/again |= pool_age(pool)/pool_age(pool)/
ageing_takes_two cache.c s/return pool_live(pool) ||/return true ||/
until_it_is_idle cache.c s/return pool_live(pool) ||/return/
in_use_does_not_age cache.c s/(which == DROP_COLD && folio_test_clear_referenced(folio)) ||//
prefers_those_in_use cache.c s/(which == DROP_COLD && folio_test_clear_referenced(folio)) ||//
cache_limits cache.c s/excess = max(.*/excess = 0;/
cache_limits cache.c s/if (pool->nr_cached >= pool->limits.*/if (0)/
blocks_of_all_nodes cache.c s/excess = max(.*/excess = 0;/
registration_unwinds table.c s/^\t\tkfree(sec);//
registration_unwinds table.c s/vmemmap_free(addr, addr + PMD_SIZE, NULL);//
share_a_section table.c s/if (--sec->nr_ranges)/if (0)/
tables_are_complete pgmap.c s/if (pool_init_cache(pool))/if (pool_init_cache(pool) || (pool->table_bytes = SZ_64M, 0))/
bad_range table.c s/if (shared && pfn_is_transient(pfn)) {/if (0) {/
one_kind_of table.c s/if (transient ? valid_section(ms) :/if (transient ? 0 :/
one_kind_of table.c s/: shared) {/: 0) {/
others_are_left core.c s/if (!pfn_is_transient(pfn))$/if (0)/
direct_map_has core.c s/pmd_clear(sec->direct + block_index(pfn))/(void)0/
direct_map_wants direct_map.c s/if (!IS_ALIGNED(start | end, PAGES_PER_TABLE)) {/if (0) {/
follows_last_unpin pgmap.c s/transient_memmap_set_limit(pgmap, TRANSIENT_MEMMAP_CACHE, 0);//
hold_populates hold.c s/else if (transient_has_poison(pfn, nr))/else if (0)/
hold_populates hold.c s/if (sec->held\[block_index(pfn)\] < nr)/if (0)/
hold_populates hold.c s/^\tatomic_long_sub.*//
hold_does_not_overflow hold.c s/if (nr > UINT_MAX - \*held)/if (*held == UINT_MAX)/
hold_does_not_overflow hold.c s/^\t\ttransient_memmap_release(pfn, done);//
waits_for_holds hold.c s/percpu_ref_get_many(&pgmap->ref, nr);/;/;s/percpu_ref_put_many(&pgmap->ref, nr);/;/
waits_for_holds hold.c s/percpu_ref_put_many(&pgmap->ref, nr);/percpu_ref_put_many(\&pgmap->ref, 1);/
waits_for_pins_and pgmap.c s/wait_for_completion_state(&pgmap->done, TASK_IDLE);//
sysfs_shows pgmap.c s/set_limit(kobj_pgmap(kobj), attr - limit_attrs,/set_limit(kobj_pgmap(kobj), 0,/
LIST
}

# FAULT FILE SED-EXPRESSION: what the fuzzer has to find
faults() {
	cat <<'LIST'
charge_leaked cache.c s/pool->stats\[TRANSIENT_MEMMAP_FREED\]++;/;/
charge_leaked cache.c s/pool->stats\[TRANSIENT_MEMMAP_POPULATED\]--;/;/
page_freed_twice core.c s/^\tpool_put_page(pool, page);/&&/
page_freed_twice cache.c s/if (!spare)$/if (!spare || pool->tight)/
link_lost core.c s/^\t\t\ttransient_memmap_free_folio(folio);//
link_lost core.c s/link->next = hidden;/link->next = NULL;/
link_lost core.c s/if (llist_add(folio_to_link(folio), &dying))/if (llist_add(folio_to_link(folio), \&dying) \&\& !current->irq)/
pin_not_checked core.c s/if (!folio_ref_count(folio))$/if (1)/
pin_not_checked core.c s/BLOCK_HIDDEN) {/BLOCK_HIDDEN \&\& 0) {/
peak_wrong cache.c s/max(pool_live(pool),/max(pool_live(pool) - 1,/
peak_wrong cache.c s/max(pool_live(pool),/max(stats[TRANSIENT_MEMMAP_POPULATED],/
poison_ignored core.c s/else if (xa_load(&poisoned_pfns, pfn))/else if (0)/
poison_ignored core.c s/state == BLOCK_LIVE &&$/0 \&\&/
poison_ignored core.c s/^\tif (!sec)$/\tif (!sec || !pgmap_array[pfn \/ 512] || pgmap_array[pfn \/ 512]->ref.dying)/
cap_overrun cache.c s/pool_live(pool) >= pool->limits/pool_live(pool) > pool->limits/
waiter_not_served cache.c /spare = !pool->tight/,/}/s/pool_serve(pool);/;/
waiter_not_served cache.c /WRITE_ONCE(pool->limits/{n;d}
failed_alloc_leaks table.c s/^\t\tkfree(sec);//
failed_alloc_leaks table.c s/vmemmap_free(addr, addr + PMD_SIZE, NULL);//
failed_alloc_leaks cache.c /^err_spare:/{n;d}
failed_alloc_leaks pgmap.c /^err_tails:/{n;d}
failed_alloc_leaks core.c s/IS_ERR(page) ? BLOCK_ABSENT : BLOCK_LIVE/IS_ERR(page) ? BLOCK_POPULATING : BLOCK_LIVE/
unregister_while_live pgmap.c s/wait_for_completion_state(&pgmap->done, TASK_IDLE);//
unregister_while_live core.c s/percpu_ref_get(&pool->pgmap->ref);//
revive_loses_ref core.c s/^\tfolio_set_count(folio, 2);$/\tfolio_set_count(folio, 1);/
no_flush core.c s/flush_tlb_kernel_range(start, end)/(void)start/
hold_lost hold.c s/percpu_ref_get_many(&pgmap->ref, nr);/;/;s/percpu_ref_put_many(&pgmap->ref, nr);/;/
hold_lost hold.c s/return min(nr, block_start(pfn) + BIT(TRANSIENT_BLOCK_ORDER) - pfn)/return nr/
hold_leaked hold.c s/percpu_ref_put_many(&pgmap->ref, nr);/percpu_ref_put_many(\&pgmap->ref, 1);/
hold_leaked hold.c s/^\t\ttransient_memmap_release(pfn, done);//
hold_overflows hold.c s/return -EOVERFLOW;/;/
poison_held hold.c s/transient_has_poison(pfn, nr)/transient_has_poison(pfn, 1)/
LIST
}

passed=0 failed=0
result() {
	case $1 in
	ok) passed=$((passed + 1)) ;;
	*) failed=$((failed + 1)) ;;
	esac
	printf '%-6s %-24s %s\n' "$1" "$2" "$3"
}

build() {
	make -s OUT="$tmp" POOL="$tmp/pool" CFLAGS=-w ${LINUX:+LINUX="$LINUX"} \
		"$tmp/$1" >"$tmp/log" 2>&1
}

# mutate TEST FILE SED-EXPRESSION PROGRAM: build the program with the changed pool.
mutate() {
	rm -rf "$tmp/pool"
	cp -r "$POOL" "$tmp/pool"
	sed -i -e "$3" "$tmp/pool/$2"
	if cmp -s "$POOL/$2" "$tmp/pool/$2"; then
		result STALE "$1" "$3"
		return 1
	fi
	build "$4" && return
	result BUILD "$1" "$3"
	cat "$tmp/log"
	return 1
}

# fuzz: have the fuzzer do the same with each seed. $ops lists after how many operations
# it failed; it is cut short if it did not.
fuzz() {
	ops=''
	for seed in $seeds; do
		(cd "$tmp" && ./fuzz -n "$max_ops" -s "$seed") >"$tmp/log" 2>&1 && return
		n=$(sed -n 's/^# failed after \([0-9]*\) operations.*/\1/p' "$tmp/log")
		ops="$ops $(printf %6d "$n")"
	done
}

test_list() {
	while read -r test file expr; do
		mutate "$test" "$file" "$expr" transient_memmap-plain || continue
		if timeout 10 "$tmp/transient_memmap-plain" -s 1 "$test" >"$tmp/log" 2>&1; then
			result PASSES "$test" "$expr"
		else
			result ok "$test" "$expr"
		fi
	done
}

fault_list() {
	echo "# after how many operations the fuzzer found it, with the seeds $seeds"
	while read -r fault file expr; do
		mutate "$fault" "$file" "$expr" fuzz || continue
		fuzz
		# shellcheck disable=SC2086	# They are lists.
		if [ "$(echo $ops | wc -w)" = "$(echo $seeds | wc -w)" ]; then
			result ok "$fault" "$ops  $expr"
		else
			result PASSES "$fault" "$max_ops operations  $expr"
		fi
	done
}

fuzz=''
case ${1:-} in
-h) sed -n 's/^# usage/usage/p' "mutants.sh"; exit 0 ;;
-f) fuzz=1; shift ;;
esac
if [ -n "$fuzz" ]; then
	faults | grep -e "${1:-.}" >"$tmp/list"
	fault_list <"$tmp/list"
else
	mutants | grep -e "${1:-.}" >"$tmp/list"
	test_list <"$tmp/list"
fi
echo "$passed failed as they should, $failed did not"
[ "$failed" = 0 ]
