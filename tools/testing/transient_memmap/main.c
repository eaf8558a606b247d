// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of mm/transient_memmap, built in user space
 *
 * First those that KUnit runs, too, of mm/tests/transient_memmap_cases.h. Then
 * what KUnit cannot well see: here are nodes, allocations that fail, a clock
 * that stands still, tasks that are preempted at the worst moment, and
 * AddressSanitizer and ThreadSanitizer.
 */
#include <getopt.h>
#include <signal.h>

#include "harness.h"

/* How long a pin waits, says the documentation */
#define LIMIT		HZ
#define DIRECT_MAP	PGMAP_TRANSIENT_DIRECT_MAP
/* Pages of the smallest range, or n of them */
#define RANGE(n)	\
	((n) * (direct_map_variant ? PAGES_PER_GIB : SECTION(1)))
/* What unregistering takes, if nothing is pinned */
#define UNREGISTER_LIMIT	AGE_PERIOD

static struct test {
	const char *name;
	void (*run)(void);
	enum { DEFAULT, BARE, SMALL, WHOLE_GIB } kind;
} tests[100];
static int nr_tests, test_nr;
static char test_name[100];
static unsigned int seconds = 2, nr_threads = 4;
/* That of a CASE() */
static struct dev_pagemap *pgmap;

#define ANY_CASE(_name, _kind)						\
static void _name(void);						\
static void __attribute__((constructor)) add_##_name(void)		\
{									\
	tests[nr_tests++] = (struct test){ #_name, _name, _kind };	\
}									\
static void _name(void)

#define CASE(name)		ANY_CASE(name, DEFAULT)
#define BARE_CASE(name)		ANY_CASE(name, BARE)
#define SMALL_CASE(name)	ANY_CASE(name, SMALL)
#define DIRECT_MAP_CASE(name)	ANY_CASE(name, WHOLE_GIB)

#define ASSERT(cond)							\
do {									\
	if (!EXPECT(cond))						\
		bail_out();						\
} while (0)

/* There is no going on. */
static void bail_out(void)
{
	printf("not ok %d %s\nBail out!\n", test_nr, test_name);
	fflush(stdout);
	_exit(1);
}

static void die(int sig, siginfo_t *info, void *context)
{
	if (sig == SIGALRM)
		printf("# hangs\n");
	else
		printf("# signal %d, address %p: struct page of pfn %#lx\n",
		       sig, info->si_addr,
		       page_to_pfn((struct page *)info->si_addr));
	bail_out();
}

/* Pinning */

/* All is unused, but for the range of a CASE(). */
#define memory(nr)	((void)(nr), 0UL)

#define poison(pfn)	transient_memmap_poison(pfn)
#define unpoison(pfn)	transient_memmap_unpoison(pfn)

static int try_pin(unsigned long pfn, unsigned int gup_flags)
{
	struct page *page = transient_memmap_populate(pfn, gup_flags);

	EXPECT(IS_ERR(page) || page == pfn_to_page(pfn));
	return PTR_ERR_OR_ZERO(page);
}

static void unpin(unsigned long pfn)
{
	folio_put(page_folio(pfn_to_page(pfn)));
}

#define unpin_in_irq(pfn)	\
	(current->irq = true, unpin(pfn), current->irq = false)

/* A thread that does one thing, and can be made to wait */
static struct thread {
	pthread_t thread;
	void (*fn)(struct thread *t);
	unsigned long pfn, took;
	struct dev_pagemap *pgmap;
	struct task_struct *task;
	int ret;
	bool done, leave;
} threads[256];
static int next_thread;

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	unsigned long start = jiffies;

	__atomic_store_n(&t->task, current, __ATOMIC_SEQ_CST);
	t->fn(t);
	t->took = jiffies - start;
	__atomic_store_n(&t->done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static struct thread *thread_start(void (*fn)(struct thread *t),
				   unsigned long pfn, struct dev_pagemap *pgmap)
{
	struct thread *t = &threads[next_thread++ % ARRAY_SIZE(threads)];

	*t = (struct thread){ .fn = fn, .pfn = pfn, .pgmap = pgmap };
	pthread_create(&t->thread, NULL, thread_main, t);
	while (!__atomic_load_n(&t->task, __ATOMIC_SEQ_CST))
		usleep(100);
	return t;
}

static bool is_done(struct thread *t)
{
	return __atomic_load_n(&t->done, __ATOMIC_SEQ_CST);
}

static bool sleeps(struct thread *t)
{
	return !is_done(t) && (t->pgmap ? READ_ONCE(t->pgmap->ref.dying) :
			       READ_ONCE(t->task->state));
}

/* It waits, and what goes on besides does not end that. */
static bool waits(struct thread *t)
{
	if (!eventually(is_done(t) || sleeps(t)))
		return false;
	usleep(2000);
	return sleeps(t);
}

static int join(struct thread *t)
{
	pthread_join(t->thread, NULL);
	return t->ret;
}

/* Pairs with leave(): what its caller has looked at was there until then. */
#define goes_on(t)		(!smp_load_acquire(&(t)->leave))

static void leave(struct thread *t)
{
	/* Pairs with goes_on() */
	smp_store_release(&t->leave, true);
	join(t);
}

#define kill_thread(t)		kill_task((t)->task)

static void thread_pins(struct thread *t)
{
	t->ret = try_pin(t->pfn, 0);
}

#define start_pin(pfn)		thread_start(thread_pins, pfn, NULL)

static struct thread *start_waiting(unsigned long pfn)
{
	struct thread *t = start_pin(pfn);

	EXPECT(waits(t));
	return t;
}

static void thread_unregisters(struct thread *t)
{
	unregister(t->pgmap);
}

#define start_unregister(pgmap)	thread_start(thread_unregisters, 0, pgmap)

static void thread_ticks(struct thread *t)
{
	while (goes_on(t)) {
		usleep(3000);
		tick(1);
	}
}

#define start_clock()		thread_start(thread_ticks, 0, NULL)

/* Tick until @nr pins have ended, or for longer than any may take. */
static bool pass_limit(struct thread **t, int nr)
{
	unsigned long ticks = 2 * LIMIT;

	for (; nr--; t++) {
		while (!is_done(*t) && ticks--) {
			usleep(500);
			tick(1);
		}
		if (!eventually(is_done(*t)))
			return false;
	}
	return true;
}

static int pin_in_vain(unsigned long pfn)
{
	struct thread *t = start_pin(pfn);

	ASSERT(pass_limit(&t, 1));
	EXPECT(t->took >= LIMIT && t->took < 2 * LIMIT);
	return join(t);
}

/* Stopping the worker: in its grace period, */

static void thread_reads(struct thread *t)
{
	guard(rcu)();
	while (goes_on(t))
		usleep(100);
}

static struct thread *start_reading(void)
{
	struct thread *t = thread_start(thread_reads, 0, NULL);

	EXPECT(eventually(READ_ONCE(t->task->rcu_gp)));
	return t;
}

static struct thread *reader;

static void hide(unsigned long pfn)
{
	reader = start_reading();
	unpin(pfn);
	tick(SOON);
	EXPECT(eventually(state_of(pfn) == BLOCK_HIDDEN));
}

#define unhide()		leave(reader)

/* or before its flush. */
static bool flush_stopped;

static void stop_flush(void)
{
	while (__atomic_load_n(&flush_stopped, __ATOMIC_SEQ_CST))
		usleep(100);
}

static void unmap(unsigned long pfn)
{
	__atomic_store_n(&flush_stopped, true, __ATOMIC_SEQ_CST);
	unpin(pfn);
	tick(SOON);
	EXPECT(eventually(state_of(pfn) == BLOCK_UNMAPPED));
}

#define flush_go()	\
	__atomic_store_n(&flush_stopped, false, __ATOMIC_SEQ_CST)

#include "../../../mm/tests/transient_memmap_cases.h"

/* Where the memory comes from, and goes */

static long pages_on_node(int nid)
{
	struct page *page;
	long n = 0;

	for (page = ram; page < ram + NR_RAM; page++)
		n += atomic_read(&page->_refcount) && page_to_nid(page) == nid;
	return n;
}

/* If this fails, I/O reaches across the machine for struct pages. */
BARE_CASE(all_memory_is_of_the_ranges_node)
{
	int nids[] = { 1, NUMA_NO_NODE, 0 }, i, nid;
	struct dev_pagemap *pgmap;

	for (i = 0; i < ARRAY_SIZE(nids); i++) {
		range_nid = nids[i];
		nid = expected_nid();
		table_nid = NUMA_NO_NODE;
		pgmap = register_range(0, RANGE(1));
		EXPECT(table_nid == nid && pages_on_node(nid) == POOL_PAGES);
		EXPECT(transient_memmap_uses_node(nid));
		EXPECT(!transient_memmap_uses_node(2));
		pin_blocks(0, RESERVE_NR + 1);
		EXPECT(pages_on_node(nid) == POOL_PAGES + 1);
		EXPECT(page_is_right(pgmap, nth(RESERVE_NR) + 1));
		unpin_blocks(0, RESERVE_NR + 1);
		unregister(pgmap);
		EXPECT(!transient_memmap_uses_node(nid));
	}
	range_nid = 0;
}

/* If this fails, the memory that the pool saves is lost pin by pin. */
CASE(last_unpin_gives_the_memory_back)
{
	unsigned long nr = RESERVE_NR + 5, bytes = stat_of(pgmap, BYTES);
	int i;

	for (i = 1; i <= 4; i++) {
		/* The spare pages serve first, then the page allocator. */
		pin_blocks(0, nr);
		EXPECT_EQ(nr_pages, 1 + nr);
		EXPECT_EQ(nr_memmap_pages, nr);
		EXPECT_EQ(stat_of(pgmap, BYTES), bytes + 5 * PAGE_SIZE);
		pin(1);
		unpin_blocks(0, nr);
		settle();
		EXPECT(has_struct_page(0) && stat_of(pgmap, LIVE) == 1);
		unpin(1);
		settle();
		expect_absent(0);
		/* Half a second long, they could serve others. */
		EXPECT_EQ(nr_pages, 1 + nr);
		if (i % 2)
			continue;
		advance(AGE_PERIOD);
		EXPECT_EQ(nr_pages, POOL_PAGES);
		EXPECT_EQ(nr_memmap_pages, 0);
		EXPECT_EQ(stat_of(pgmap, FREED), i * nr);
	}
}

/* Pins of one load, spread over pools; returns how many flushes it took. */
static unsigned long flushes_of_pools(int nr_pools)
{
	struct dev_pagemap *pgmaps[50];
	unsigned long held[20] = {}, flushes, tlb;
	unsigned int seed = 1;
	int i, n;

	for (i = 0; i < nr_pools; i++)
		pgmaps[i] = register_range(RANGE(i), RANGE(1));
	flushes = stat_of(pgmaps[0], FLUSHES);
	tlb = nr_tlb_flushes;
	for (i = 0; i < 4000; i++) {
		n = rand_r(&seed) % 200;
		if (held[i % 20])
			unpin(held[i % 20]);
		held[i % 20] = RANGE(n % nr_pools) + nth(n / nr_pools % 64) + 1;
		pin(held[i % 20]);
		if (i % 10 == 0)
			advance(1);
	}
	for (i = 0; i < 20; i++)
		unpin(held[i]);
	settle();
	flushes = stat_of(pgmaps[0], FLUSHES) - flushes;
	EXPECT_EQ(nr_tlb_flushes - tlb, flushes);
	for (i = 0; i < nr_pools; i++)
		unregister(pgmaps[i]);
	return flushes;
}

/* If this fails, fifty guests interrupt all CPUs fifty times as often. */
BARE_CASE(pools_share_a_flush)
{
	unsigned long one = flushes_of_pools(1), many = flushes_of_pools(50);

	printf("# flushes: 1 pool %lu, 50 pools %lu\n", one, many);
	EXPECT(one > 0 && many * 10 <= one * 12);
}

/* Those who come together */

/* If this fails, struct pages are unmapped under a reader that is new. */
CASE(block_that_died_again_waits_for_new_readers)
{
	struct thread *second;

	pin(0);
	hide(0);
	pin_and_unpin(0);
	second = start_reading();
	EXPECT(pfn_has_struct_page(0));
	unhide();
	/* The worker comes back to it, and waits again. */
	EXPECT(wait_for(state_of(0) == BLOCK_HIDDEN));
	EXPECT(has_struct_page(0));
	EXPECT_EQ(refs(0), 0);
	leave(second);
	settle();
	expect_absent(0);
	EXPECT_EQ(stat_of(pgmap, FREED), 1);
}

/* Start pins of one absent block, of which one populates, and waits. */
static void start_together(struct thread **t, int nr, unsigned long pfn)
{
	int i;

	for (i = 0; i < nr; i++)
		t[i] = start_waiting(pfn + i);
	EXPECT_EQ(state_of(pfn), BLOCK_POPULATING);
}

/*
 * If this fails, two pins map a page each, of which one is lost, or a process
 * hangs for as many seconds as it has threads.
 */
CASE(pins_of_one_block_populate_once_and_share_one_limit)
{
	struct thread *t[6];
	int i;

	set_limit(pgmap, CAP, 1);
	pin(0);
	start_together(t, 6, nth(1));
	EXPECT(pass_limit(t, 6));
	for (i = 0; i < 6; i++) {
		EXPECT_EQ(join(t[i]), -ENOMEM);
		EXPECT(t[i]->took >= LIMIT && t[i]->took < LIMIT + 50);
	}
	EXPECT_EQ(stat_of(pgmap, FAILED), 6);
	expect_absent(nth(1));

	start_together(t, 6, nth(1));
	EXPECT(!transient_memmap_try_get(nth(1)));
	unpin(0);
	for (i = 0; i < 6; i++)
		EXPECT_EQ(join(t[i]), 0);
	EXPECT_EQ(refs(nth(1)), 6);
	EXPECT_EQ(stat_of(pgmap, POPULATED), 2);
	for (i = 0; i < 6; i++)
		unpin(nth(1));
}

/* If this fails, a process that is killed takes others with it. */
CASE(killed_pin_leaves_others_waiting)
{
	struct thread *t[2], *other;

	set_limit(pgmap, CAP, 1);
	pin(0);
	start_together(t, 2, nth(1));
	other = start_waiting(nth(2));
	/* One that waits for the one that populates, and that one */
	kill_thread(t[1]);
	EXPECT_EQ(join(t[1]), -EINTR);
	EXPECT(waits(t[0]));
	kill_thread(t[0]);
	EXPECT_EQ(join(t[0]), -EINTR);
	expect_absent(nth(1));
	EXPECT(waits(other));
	unpin(0);
	EXPECT_EQ(join(other), 0);
	EXPECT_EQ(stat_of(pgmap, FAILED), 0);
	unpin(nth(2));
}

/* The cap */

/* If this fails, a guest takes all memory of a host that sets no limit. */
BARE_CASE(defaults_are_bounded)
{
	unsigned long ram[] = { BIT(16), 1024, 63, 0 };
	unsigned long values[][NR_TRANSIENT_MEMMAP_LIMITS] = {
		{ 1024, 512, 0 }, { 16, 8, 0 }, { 1, 0, 0 }, { 1, 0, 0 },
	};
	struct dev_pagemap *pgmap;
	int i, limit;

	for (i = 0; i < ARRAY_SIZE(ram); i++) {
		nr_totalram = ram[i];
		pgmap = new_pgmap(0, RANGE(1));
		ASSERT(!register_pgmap(pgmap));
		for (limit = 0; limit < NR_TRANSIENT_MEMMAP_LIMITS; limit++)
			EXPECT_EQ(transient_memmap_get_limit(pgmap, limit),
				  values[i][limit]);
		unregister(pgmap);
	}
	nr_totalram = BIT(16);
}

/* If this fails, a guest at its limit makes the I/O of all others fail. */
BARE_CASE(limits_of_one_pool_leave_the_other)
{
	struct dev_pagemap *full = register_range(0, RANGE(1));
	struct dev_pagemap *other = register_range(RANGE(1), RANGE(1));
	unsigned long first = RANGE(1) / BLOCK_NR;
	struct thread *t;

	set_limit(full, CAP, 2);
	pin_blocks(0, 2);
	t = start_waiting(nth(2));
	pin_blocks(first, 4);
	EXPECT(waits(t));
	EXPECT(stat_of(full, LIVE) == 2 && stat_of(other, LIVE) == 4);
	kill_thread(t);
	join(t);

	/* The same without memory: each has its reserve. */
	set_limit(full, CAP, ULONG_MAX);
	WRITE_ONCE(fail_all, true);
	pin_blocks(2, RESERVE_NR - 2);
	EXPECT_EQ(pin_in_vain(nth(20)), -ENOMEM);
	pin_blocks(first + 4, RESERVE_NR - 4);
	WRITE_ONCE(fail_all, false);
	EXPECT(stat_of(full, FAILED) == 1 && stat_of(other, FAILED) == 0);
	unpin_blocks(0, RESERVE_NR);
	unpin_blocks(first, RESERVE_NR);
	unregister(full);
	unregister(other);
}

/* If this fails, one pin too many empties the cache of all other users. */
CASE(pin_at_the_cap_gives_up_few_blocks)
{
	int i;

	set_limit(pgmap, CACHE, 200);
	set_limit(pgmap, CAP, 200);
	/* One that is served: all are idle. */
	for (i = 0; i < 200; i++)
		pin_and_unpin(nth(i));
	pin_and_unpin(nth(200));
	settle();
	EXPECT(stat_of(pgmap, CACHED) > 200 - 32);
	/* One that is refused: all are pinned. */
	pin_blocks(0, 200);
	EXPECT(stat_of(pgmap, LIVE) == 200);
	i = stat_of(pgmap, CACHED);
	EXPECT(pin_in_vain(nth(201)) == -ENOMEM);
	EXPECT(stat_of(pgmap, CACHED) > i - 32);
	unpin_blocks(0, 200);
}

/* If this fails, pins fail though most of the cache is idle. */
CASE(pin_at_the_cap_finds_idle_blocks_behind_pinned_ones)
{
	struct thread *t;
	int i;

	set_limit(pgmap, CACHE, 200);
	set_limit(pgmap, CAP, 120);
	pin_blocks(0, 100);
	for (i = 100; i < 120; i++)
		use(nth(i));
	t = start_pin(nth(120));
	EXPECT(pass_limit(&t, 1));
	/* Ageing would find them too, but maybe too late. */
	EXPECT(t->took < AGE_PERIOD);
	if (EXPECT(!join(t)))
		unpin(nth(120));
	unpin_blocks(0, 100);
}

/* What a provider was told of */
static unsigned long nr_charged, nr_uncharged;
static bool charge_fails, charge_keeps;

static void *count_charge(struct dev_pagemap *pgmap, unsigned long pfn,
			  unsigned long deadline, bool *keep)
{
	if (charge_fails)
		return ERR_PTR(-ENOMEM);
	*keep = charge_keeps;
	nr_charged++;
	return &nr_charged;
}

static void count_uncharge(void *owner)
{
	EXPECT(owner == &nr_charged);
	nr_uncharged++;
}

/* If this fails, a guest is charged for good, or for what another one has. */
CASE(provider_charges_who_has_the_memory)
{
	static const struct transient_owner_ops ops = {
		.charge = count_charge, .uncharge = count_uncharge,
	};

	transient_memmap_set_owner_ops(pgmap, &ops);
	set_limit(pgmap, CACHE, 8);
	/* Once for all pins of a block */
	pin(0);
	pin(1);
	EXPECT_EQ(nr_charged, 1);
	EXPECT_EQ(stat_of(pgmap, CACHED), 0);
	unpin(1);
	unpin(0);
	settle();
	EXPECT_EQ(nr_uncharged, 1);
	EXPECT_EQ(stat_of(pgmap, LIVE), 0);

	/* For as long as it is kept */
	charge_keeps = true;
	pin_and_unpin(0);
	EXPECT_EQ(stat_of(pgmap, CACHED), 1);
	EXPECT_EQ(nr_uncharged, 1);
	set_limit(pgmap, CACHE, 0);
	settle();
	EXPECT_EQ(nr_uncharged, 2);

	/* Not if it is refused, by either */
	charge_fails = true;
	EXPECT_EQ(try_pin(0, 0), -ENOMEM);
	EXPECT_EQ(nr_charged, 2);
	charge_fails = false;
	set_limit(pgmap, CAP, 0);
	EXPECT_EQ(try_pin(0, 0), -ENOMEM);
	EXPECT_EQ(nr_charged, 3);
	EXPECT_EQ(nr_uncharged, 3);
	EXPECT_EQ(stat_of(pgmap, FAILED), 2);
	transient_memmap_set_owner_ops(pgmap, NULL);
	nr_charged = 0;
	nr_uncharged = 0;
	charge_keeps = false;
}

/* If this fails, pins fail for blocks that are about to go. */
CASE(pin_at_the_cap_waits_for_a_dying_block)
{
	unsigned long expedited = nr_expedited;
	struct thread *t;

	set_limit(pgmap, CAP, 1);
	pin(0);
	hide(0);
	t = start_waiting(nth(1));
	unhide();
	/* It does not wait for a batch, nor in a slow grace period. */
	EXPECT(!join(t) && t->took == 0);
	t = start_waiting(nth(2));
	unpin(nth(1));
	EXPECT(!join(t) && t->took == 0);
	EXPECT(nr_expedited > expedited);
	unpin(nth(2));
	pin(nth(3));
	EXPECT(stat_of(pgmap, FAILED) == 0);
	unpin(nth(3));
}

/*
 * If this fails, I/O of some guest times out while newcomers are served, or to
 * raise the cap does not help I/O that hangs.
 */
CASE(pins_at_the_cap_are_served_in_order)
{
	struct thread *t[6];
	int i;

	set_limit(pgmap, CAP, 1);
	pin(0);
	for (i = 0; i < 6; i++)
		t[i] = start_waiting(nth(i + 1));
	/* One for each that goes */
	for (i = 0; i < 3; i++) {
		unpin(nth(i));
		EXPECT_EQ(join(t[i]), 0);
		EXPECT(waits(t[i + 1]));
		EXPECT_EQ(stat_of(pgmap, LIVE), 1);
	}
	/* One for each that may be live besides */
	set_limit(pgmap, CAP, 2);
	EXPECT_EQ(join(t[3]), 0);
	EXPECT(waits(t[4]));
	set_limit(pgmap, CAP, 4);
	EXPECT_EQ(join(t[4]), 0);
	EXPECT_EQ(join(t[5]), 0);
	unpin_blocks(3, 4);
}

/* The task that is preempted after it has put its block on the list */
static struct task_struct *stalled;

static void stall(void)
{
	while (__atomic_load_n(&stalled, __ATOMIC_SEQ_CST) == current)
		usleep(100);
}

static void thread_stalls(struct thread *t)
{
	__atomic_store_n(&stalled, current, __ATOMIC_SEQ_CST);
	unpin(t->pfn);
}

/* If this fails, I/O fails as a process of low priority was preempted. */
CASE(preempted_unpin_strands_nobody)
{
	struct thread *t, *preempted;
	int i;

	set_limit(pgmap, CAP, 1);
	before_queue = stall;
	for (i = 0; i < 2; i++) {
		pin(0);
		/* The pin that waits comes before the unpin, or after it. */
		if (i)
			t = start_waiting(nth(1));
		preempted = thread_start(thread_stalls, 0, NULL);
		EXPECT(eventually(READ_ONCE(dying.first)));
		if (!i)
			t = start_pin(nth(1));
		EXPECT(pass_limit(&t, 1));
		EXPECT(!join(t) && t->took < LIMIT);
		__atomic_store_n(&stalled, NULL, __ATOMIC_SEQ_CST);
		join(preempted);
		unpin(nth(1));
		settle();
	}
	before_queue = NULL;
	EXPECT_EQ(stat_of(pgmap, FAILED), 0);
}

/* If this fails, pins that are slow leave a backtrace in the log each. */
CASE(time_may_pass_at_any_point)
{
	struct thread *clock = start_clock();
	int i;

	set_limit(pgmap, CAP, 1);
	pin(0);
	for (i = LIMIT / 8; i < LIMIT * 2; i += 7) {
		WRITE_ONCE(time_flies, i);
		EXPECT(try_pin(nth(1), 0) == -ENOMEM);
	}
	WRITE_ONCE(time_flies, 0);
	leave(clock);
	unpin(0);
}

/* What is kept */

/* If this fails, idle memory costs more than it need, or wakes up CPUs. */
CASE(ageing_takes_two_periods_and_ends)
{
	int i;

	set_limit(pgmap, CACHE, 100);
	for (i = 0; i < 20; i++)
		use(nth(i));
	advance(AGE_PERIOD);
	EXPECT_EQ(stat_of(pgmap, CACHED), 20);
	advance(AGE_PERIOD);
	EXPECT_EQ(stat_of(pgmap, LIVE), 0);
	advance(AGE_PERIOD);
	EXPECT_EQ(nr_pages, POOL_PAGES);
	/* And there is nothing to wake up for any more. */
	advance(AGE_PERIOD);
	EXPECT(list_empty(&wq_pending));

	/* One that is cold */
	pin_and_unpin(0);
	advance(AGE_PERIOD);
	expect_absent(0);
}

/* Populate: one block after the other has its page from another node. */
static void cache_on_nodes(int nr)
{
	int i;

	for (i = 0; i < nr; i++) {
		ram_nid = i % NR_NODES;
		pin_and_unpin(nth(i));
	}
	ram_nid = NUMA_NO_NODE;
}

/*
 * If this fails, reclaim asks for memory that is not there, or what lies on
 * another node than it should is kept for good.
 */
CASE(blocks_of_all_nodes_are_counted_once_and_dropped)
{
	set_limit(pgmap, CACHE, 100);
	/* Reclaim of each node would ask for its own. */
	EXPECT(!(pgmap->transient_pool->shrinker->flags & SHRINKER_NUMA_AWARE));
	EXPECT_EQ(shrink_count(pgmap), 0);
	cache_on_nodes(30);
	advance(AGE_PERIOD);
	EXPECT_EQ(stat_of(pgmap, CACHED), 0);
	cache_on_nodes(40);
	EXPECT_EQ(shrink_count(pgmap), 40);
	set_limit(pgmap, CACHE, 7);
	EXPECT_EQ(stat_of(pgmap, CACHED), 7);
	/* Spare pages instead: all but the reserve can be had. */
	set_limit(pgmap, CACHE, 0);
	settle();
	EXPECT_EQ(stat_of(pgmap, LIVE), 0);
	EXPECT_EQ(nr_pages, 1 + 40);
	EXPECT_EQ(shrink_count(pgmap), 40 - RESERVE_NR);
	shrink(pgmap, 100);
	EXPECT_EQ(nr_pages, POOL_PAGES);
	EXPECT_EQ(shrink_count(pgmap), 0);
}

/* If this fails, the OOM killer comes while the pool keeps what is idle. */
CASE(shrinker_makes_memory_free)
{
	int i;

	set_limit(pgmap, CACHE, 100);
	EXPECT(shrink(pgmap, 100) == 0);
	for (i = 0; i < 30; i++)
		pin_and_unpin(nth(i));
	use(nth(28));
	pin(nth(29));
	EXPECT(nr_pages == 1 + 30);
	/* Not one of them ends as a spare page, nor waits for others. */
	EXPECT(shrink(pgmap, 4) == 4);
	settle();
	EXPECT(state_of(0) == BLOCK_ABSENT);
	EXPECT(shrink(pgmap, 100) == 24);
	EXPECT(eventually(READ_ONCE(nr_pages) == POOL_PAGES + 2));
	EXPECT(state_of(nth(28)) == BLOCK_LIVE);
	EXPECT(page_is_right(pgmap, nth(29)));
	EXPECT(shrink(pgmap, 100) == 1);
	settle();
	EXPECT(nr_pages == POOL_PAGES + 1);
	EXPECT(stat_of(pgmap, LIVE) == 1);
	unpin(nth(29));
}

/* Without memory */

/* If this fails, I/O fails that has to be done for memory to become free. */
CASE(pin_without_memory_takes_the_reserve)
{
	int round;

	for (round = 0; round < 3; round++) {
		WRITE_ONCE(fail_all, true);
		pin_blocks(0, RESERVE_NR);
		EXPECT(pin_in_vain(nth(20)) == -ENOMEM);
		expect_absent(nth(20));
		EXPECT(stat_of(pgmap, LIVE) == RESERVE_NR);
		unpin_blocks(0, RESERVE_NR);
		/* Neither ageing nor the shrinker takes it. */
		advance(AGE_PERIOD);
		shrink(pgmap, 100);
		WRITE_ONCE(fail_all, false);
	}
	EXPECT(stat_of(pgmap, FAILED) == 3);
}

/* If this fails, swapping out hangs or fails once memory is short for long. */
BARE_CASE(pins_without_memory_go_on)
{
	struct dev_pagemap *pgmap = register_range(0, NR_PFNS);
	int i, round;

	WRITE_ONCE(fail_all, true);
	for (round = 0; round < 2 && !nr_failures; round++) {
		set_limit(pgmap, CACHE, round ? 64 : 0);
		for (i = 0; i < 10000; i++)
			pin_and_unpin(SECTION(i % NR_SECTIONS) +
				      nth(i / NR_SECTIONS + round * 2));
	}
	WRITE_ONCE(fail_all, false);
	EXPECT(stat_of(pgmap, POPULATED) == 20000);
	EXPECT(stat_of(pgmap, FAILED) == 0);
	unregister(pgmap);
}

/* If this fails, I/O that waited for memory fails though there is some. */
CASE(waiting_for_memory_ends_when_there_is_some)
{
	struct thread *t[2];

	WRITE_ONCE(fail_all, true);
	pin_blocks(0, RESERVE_NR);
	t[0] = start_waiting(nth(20));
	EXPECT(stat_of(pgmap, LIVE) == RESERVE_NR);
	WRITE_ONCE(fail_all, false);
	t[1] = start_pin(nth(21));
	EXPECT(eventually(is_done(t[1])));
	EXPECT(pass_limit(t, 2));
	/* Ageing would find some too, but later. */
	EXPECT(!join(t[0]) && t[0]->took < AGE_PERIOD);
	EXPECT(!join(t[1]) && t[1]->took == 0);
	unpin_blocks(0, RESERVE_NR);
	unpin_blocks(20, 2);
}

/* If this fails, an error is forgotten that comes while memory is short. */
CASE(poison_is_noted_without_memory)
{
	pin(0);
	WRITE_ONCE(fail_all, true);
	poison(3);
	WRITE_ONCE(fail_all, false);
	EXPECT_EQ(state_of(0), BLOCK_LIVE_POISONED);
	expect_poisoned(3);
	EXPECT_EQ(unpoison(3), 0);
	unpin(0);
}

/* If this fails, a device that failed to bind cannot before a reboot. */
BARE_CASE(registration_unwinds_each_failed_allocation)
{
	/* The second is where there is nothing yet, or half a neighbour. */
	unsigned long half = direct_map_variant ? 0 : SECTION(1) / 2;
	unsigned long far = NR_PFNS / 2, nr = RANGE(1) + half;
	unsigned long pfns[] = { 0, RANGE(1) - 1, far, far + nr - 1 };
	struct dev_pagemap *pgmap, *neighbour;
	int n, i, objects, shared;
	bool failed;

	for (shared = 0; shared < 2; shared++) {
		neighbour = register_range(shared ? far + nr : nr, RANGE(1));
		objects = nr_objects;
		for (n = 1, failed = true; failed && n < 200; n++) {
			pgmap = new_pgmap(0, RANGE(1));
			pgmap_add(pgmap, far, nr);
			WRITE_ONCE(fail_nth, n);
			failed = register_pgmap(pgmap) == -ENOMEM;
			EXPECT(failed == !READ_ONCE(fail_nth));
			WRITE_ONCE(fail_nth, 0);
			for (i = 0; i < 4; i++) {
				if (failed)
					EXPECT(try_pin(pfns[i], 0) == -EFAULT);
				else
					pin_and_unpin(pfns[i]);
			}
			if (!failed)
				unregister(pgmap);
			EXPECT(nr_objects == objects && nr_pages == POOL_PAGES);
		}
		EXPECT(!failed && n > 15);
		pin_and_unpin(shared ? far + nr : nr);
		unregister(neighbour);
	}
}

/* Ranges */

/* If this fails, a pin at the far end of a terabyte needs memory, or oopses. */
BARE_CASE(tables_are_complete_once_registered)
{
	unsigned long middle = NR_PFNS / 2, i;
	unsigned long pfns[] = { 0, middle - 1, middle, NR_PFNS - 1 };
	struct dev_pagemap *pgmap = register_range(0, NR_PFNS);
	long objects = nr_objects;

	for (i = 0; i < NR_SECTIONS; i++)
		EXPECT(has_table(SECTION(i)));
	for (i = 0; i < NR_PFNS; i += nth(61))
		EXPECT(state_of(i) == BLOCK_ABSENT && pfn_is_transient(i));
	EXPECT(stat_of(pgmap, BYTES) < 40 * SZ_1M);
	WRITE_ONCE(fail_all, true);
	for (i = 0; i < 4; i++)
		pin(pfns[i]);
	WRITE_ONCE(fail_all, false);
	for (i = 0; i < 4; i++)
		EXPECT(page_is_right(pgmap, pfns[i]));
	EXPECT(nr_objects == objects);
	for (i = 0; i < 4; i++)
		unpin(pfns[i]);
	unregister(pgmap);
}

/* If this fails, RAM loses its struct pages, or two memmaps share tables. */
SMALL_CASE(section_has_one_kind_of_memmap)
{
	struct dev_pagemap *pgmap = register_range(SECTION(2), SECTION(1));
	const u64 start = PFN_PHYS(SECTION(2));

	EXPECT_EQ(transient_memmap_check_range(&(struct range){
			start, start + PAGE_SIZE - 1 }, false), -EBUSY);
	EXPECT(!transient_memmap_check_range(&(struct range){
			0, start - 1 }, false));
	mem_sections[4].has_memmap = true;
	EXPECT_EQ(refused(SECTION(3), SECTION(2), 0), -EBUSY);
	mem_sections[4].has_memmap = false;
	pin_and_unpin(SECTION(2));
	unregister(pgmap);

	/* Beside it, not only within it */
	pgmap = register_range(SECTION(2), SECTION(1) / 2);
	EXPECT_EQ(transient_memmap_check_range(&(struct range){
			start + PFN_PHYS(SECTION(1)) - PAGE_SIZE,
			start + PFN_PHYS(SECTION(1)) - 1 }, false), -EBUSY);
	unregister(pgmap);
}

/* If this fails, GUP makes struct pages for MMIO. */
BARE_CASE(others_are_left_alone)
{
	struct dev_pagemap *pgmap = register_range(RANGE(1), RANGE(1));
	unsigned long pfns[] = { 0, RANGE(1) - 1, RANGE(2),
				 NR_PFNS + SECTION(1) };
	struct dev_pagemap other = { .ref = { { 1 } } };
	int i;

	for (i = 0; i < 4; i++) {
		EXPECT(!transient_memmap_try_get(pfns[i]));
		EXPECT(try_pin(pfns[i], 0) == -EFAULT);
		EXPECT(!pfn_has_struct_page(pfns[i]));
		EXPECT(!pfn_is_transient(pfns[i]));
		EXPECT(!transient_direct_map_owns(pfns[i]));
	}
	EXPECT_EQ(transient_direct_map_owns(RANGE(1)), direct_map_variant);
	EXPECT_EQ(transient_direct_map_owns(RANGE(2) - 1), direct_map_variant);
	EXPECT(pfn_is_transient(RANGE(1)) && pfn_is_transient(RANGE(2) - 1));
	/* Ordinary ZONE_DEVICE memory has a pgmap too. */
	pgmap_array[0] = &other;
	EXPECT(try_pin(0, 0) == -EFAULT);
	EXPECT(atomic_read(&other.ref.count) == 1);
	pgmap_array[0] = NULL;
	unregister(pgmap);
}

/* Writes to a file of sysfs, or reads it. */
static ssize_t sysfs(const char *name, const char *in, char *out)
{
	struct attribute **attr = pool_attrs;
	struct kobj_attribute *file;

	while (strcmp((*attr)->name, name))
		attr++;
	file = container_of(*attr, struct kobj_attribute, attr);
	return in ? file->store(&pgmap->transient_pool->kobj, file, in,
				strlen(in)) :
		    file->show(&pgmap->transient_pool->kobj, file, out);
}

/* If this fails, the operator sets, or is shown, something else. */
CASE(sysfs_shows_limits_and_statistics)
{
	static const struct {
		const char *name, *in, *out;
		int ret;
	} limits[] = {
		{ "cap", "7\n", "7\n", 2 }, { "cap", "many", "7\n", -EINVAL },
		{ "cache", "0x5", "5\n", 3 },
		{ "longterm", "2", "0\n", -EINVAL },
	};
	char buf[PAGE_SIZE];
	int i;

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		EXPECT_EQ(sysfs(limits[i].name, limits[i].in, NULL),
			  limits[i].ret);
		sysfs(limits[i].name, NULL, buf);
		EXPECT(!strcmp(buf, limits[i].out));
	}
	pin_blocks(0, 2);
	sysfs("stats", NULL, buf);
	EXPECT(strstr(buf, "block_size 2097152\nlive 2\n") == buf);
	EXPECT(strstr(buf, "\npeak 2\npopulated 2\nfreed 0\nfailed 0\n"));
	unpin_blocks(0, 2);
}

/* If this fails, an operator does not know why unbinding a device hangs. */
CASE(unregistering_that_hangs_says_why)
{
	struct dev_pagemap *pgmap = register_range(RANGE(4), RANGE(1));
	int messages = nr_messages;
	struct thread *t;

	pin(RANGE(4));
	t = start_unregister(pgmap);
	EXPECT(waits(t));
	EXPECT_EQ(refused(RANGE(4), RANGE(1), 0), -EBUSY);
	tick(DRAIN_WARN);
	EXPECT(eventually(READ_ONCE(nr_messages) == messages + 1));
	EXPECT(waits(t));
	unpin(RANGE(4));
	join(t);
}

/*
 * All at once
 */
#define STRESS_BLOCKS	20
#define STRESS_HELD	3

static struct stress {
	/* They share a section, if they can; written with the lock held */
	struct dev_pagemap *pgmaps[2];
	pthread_rwlock_t lock;
	/* How many blocks a thread holds; with one, it is never killed. */
	int nr_held;
	unsigned long pins, hits, refused, populated;
} stress;

/* The second pool's first pfn, in the middle of a section */
#define STRESS_BORDER	\
	(direct_map_variant ? RANGE(1) : SECTION(1) + SECTION(1) / 2)

/* Where the pools meet, and where sections do */
static unsigned long stress_pfn(unsigned int *seed)
{
	unsigned long borders[] = { SECTION(1), STRESS_BORDER };
	unsigned long n = rand_r(seed) % (STRESS_BLOCKS / 2);

	return borders[rand_r(seed) % 2] + nth(n) - nth(STRESS_BLOCKS / 4) +
	       rand_r(seed) % BLOCK_NR;
}

static struct page *stress_pin(unsigned int *seed)
{
	unsigned long pfn = stress_pfn(seed);
	bool calm = stress.nr_held == 1;
	unsigned int gup_flags = calm || rand_r(seed) % 4 ? 0 : FOLL_LONGTERM;
	struct page *page;

	/* A provider that leaves unmaps its memory first. */
	if (!READ_ONCE(stress.pgmaps[pfn >= STRESS_BORDER]))
		return NULL;
	page = transient_memmap_try_get(pfn);
	if (page) {
		__atomic_add_fetch(&stress.hits, 1, 0);
	} else {
		if (!calm && rand_r(seed) % 64 == 0)
			kill_task(current);
		page = transient_memmap_populate(pfn, gup_flags);
		WRITE_ONCE(current->killed, false);
	}
	if (IS_ERR(page)) {
		EXPECT(page != ERR_PTR(-EHWPOISON));
		__atomic_add_fetch(&stress.refused, 1, 0);
		return NULL;
	}
	__atomic_add_fetch(&stress.pins, 1, 0);
	EXPECT(page == pfn_to_page(pfn));
	return page;
}

/* The head's private counts who hold it; it would be 0 if made anew. */
static void stress_hold(struct page *page, int n)
{
	struct folio *folio = page_folio(page);
	unsigned long pfn = folio_pfn(folio);
	long held = __atomic_add_fetch(&folio->page.private, n, 0);
	unsigned long i;

	EXPECT(held >= (n > 0) && held <= STRESS_HELD * ARRAY_SIZE(threads));
	for (i = 0; i < BLOCK_NR; i += 13)
		EXPECT(page_is_right(folio->pgmap, pfn + i));
}

static void stress_unpin(struct page *page)
{
	if (!page)
		return;
	stress_hold(page, -1);
	folio_put(page_folio(page));
}

/* Its seed is where others have a pfn. */
static void stress_pinner(struct thread *t)
{
	struct page *held[STRESS_HELD] = {};
	unsigned int seed = t->pfn, i;

	for (i = 0; goes_on(t); i = (i + 1) % stress.nr_held) {
		stress_unpin(held[i]);
		held[i] = NULL;
		if (rand_r(&seed) % 4)
			held[i] = stress_pin(&seed);
		if (held[i]) {
			stress_hold(held[i], 1);
			if (rand_r(&seed) % 2)
				folio_set_referenced(page_folio(held[i]));
		}
		if (rand_r(&seed) % 16 == 0)
			usleep(rand_r(&seed) % 200);
	}
	for (i = 0; i < STRESS_HELD; i++)
		stress_unpin(held[i]);
}

static void stress_tune(struct dev_pagemap *pgmap, unsigned int *seed)
{
	unsigned int n = rand_r(seed) % STRESS_BLOCKS;
	unsigned long pfn = stress_pfn(seed);

	switch (rand_r(seed) % 8) {
	case 0:
		set_limit(pgmap, CAP, n % 2 ? n : ULONG_MAX);
		break;
	case 1:
		set_limit(pgmap, CACHE, n % 2 ? n : 0);
		break;
	case 2:
		shrink(pgmap, n);
		break;
	case 3:
		WRITE_ONCE(fail_nth, n);
		break;
	case 4:
		tick(AGE_PERIOD);
		break;
	case 5:
		WRITE_ONCE(ram_nid, n % 2 ? NUMA_NO_NODE : n / 2 % NR_NODES);
		break;
	case 6:
		set_limit(pgmap, LONGTERM, n % 2);
		break;
	case 7:
		transient_memmap_poison(pfn);
		usleep(n * 100);
		transient_memmap_unpoison(pfn);
		break;
	}
	EXPECT(stat_of(pgmap, PEAK) <= STRESS_BLOCKS);
}

static void stress_tuner(struct thread *t)
{
	unsigned int seed = t->pfn;
	struct dev_pagemap *pgmap;

	while (goes_on(t)) {
		pthread_rwlock_rdlock(&stress.lock);
		pgmap = stress.pgmaps[rand_r(&seed) % 2];
		if (pgmap)
			stress_tune(pgmap, &seed);
		pthread_rwlock_unlock(&stress.lock);
		tick(1);
		usleep(rand_r(&seed) % 1000);
	}
}

/* Registering fails, too, now and then, until it does not. */
static void stress_register(int i)
{
	struct dev_pagemap *pgmap;
	int err;

	do {
		pgmap = new_pgmap(i * STRESS_BORDER, STRESS_BORDER);
		err = register_pgmap(pgmap);
	} while (err == -ENOMEM);
	EXPECT(!err);
	pthread_rwlock_wrlock(&stress.lock);
	WRITE_ONCE(stress.pgmaps[i], err ? NULL : pgmap);
	pthread_rwlock_unlock(&stress.lock);
}

static void stress_unregister(int i)
{
	struct dev_pagemap *pgmap = stress.pgmaps[i];

	pthread_rwlock_wrlock(&stress.lock);
	WRITE_ONCE(stress.pgmaps[i], NULL);
	pthread_rwlock_unlock(&stress.lock);
	if (!pgmap)
		return;
	stress.populated += stat_of(pgmap, POPULATED);
	unregister(pgmap);
}

/* If this fails, under load memory in use is freed, or what is idle kept. */
BARE_CASE(pins_race_with_all_else)
{
	struct thread *t[nr_threads + 2], *clock = start_clock();
	time_t end = time(NULL) + seconds;
	int i, rounds = 0;

	stress = (struct stress){ .lock = PTHREAD_RWLOCK_INITIALIZER,
				  .nr_held = STRESS_HELD };
	stress_register(0);
	stress_register(1);
	for (i = 0; i < nr_threads + 2; i++)
		t[i] = thread_start(i > 1 ? stress_pinner : stress_tuner,
				    i + 1, NULL);
	for (; time(NULL) < end && !READ_ONCE(nr_failures); rounds++) {
		usleep(100000);
		stress_unregister(rounds % 2);
		if (rounds % 4 == 3)
			stress_unregister(!(rounds % 2));
		usleep(1000);
		for (i = 0; i < 2; i++)
			if (!stress.pgmaps[i])
				stress_register(i);
	}
	for (i = 0; i < nr_threads + 2; i++)
		leave(t[i]);
	leave(clock);
	WRITE_ONCE(fail_nth, 0);
	WRITE_ONCE(ram_nid, NUMA_NO_NODE);

	/* Nobody holds anything: all of it goes. */
	for (i = 0; i < 2 && stress.pgmaps[i]; i++) {
		set_limit(stress.pgmaps[i], CACHE, 0);
		advance(AGE_PERIOD);
		advance(AGE_PERIOD);
		EXPECT(stat_of(stress.pgmaps[i], LIVE) == 0);
		EXPECT(stat_of(stress.pgmaps[i], CACHED) == 0);
		stress_unregister(i);
	}
	printf("# pins %lu, hits %lu, refused %lu, populated %lu, rounds %d\n",
	       stress.pins, stress.hits, stress.refused, stress.populated,
	       rounds);
	EXPECT(stress.pins > 0 && stress.populated > 0);
}

/* Threads that hold one block each, for a while */
static void crowd(int nr, unsigned long cap, unsigned long cache)
{
	struct dev_pagemap *pgmap = register_range(0, RANGE(4));
	struct thread *t[8], *clock = start_clock();
	unsigned int round = 10 * seconds;
	int i;

	set_limit(pgmap, CAP, cap);
	set_limit(pgmap, CACHE, cache);
	stress = (struct stress){ { pgmap, pgmap }, .nr_held = 1 };
	for (i = 0; i < nr; i++)
		t[i] = thread_start(stress_pinner, i + 1, NULL);
	while (round-- && !READ_ONCE(nr_failures))
		usleep(10000);
	for (i = 0; i < nr; i++)
		leave(t[i]);
	leave(clock);
	EXPECT(stat_of(pgmap, PEAK) <= cap);
	EXPECT_EQ(stat_of(pgmap, FAILED), 0);
	EXPECT(stress.pins > 0 && !stress.refused);
	unregister(pgmap);
}

/* If this fails, I/O that fits the cap fails now and then, under load. */
BARE_CASE(nobody_starves_at_the_cap)
{
	unsigned long cap;

	for (cap = 1; cap <= 8 && !nr_failures; cap *= 2) {
		crowd(cap, cap, 0);
		crowd(cap, cap, cap);
		/* More than there is room for take turns. */
		crowd(8, cap, cap / 2);
	}
}

/* Running */

/* Sets test_name, too. */
static bool selected(int i, const char *name)
{
	const struct test *test = &tests[i % nr_tests];

	direct_map_variant = i >= nr_tests;
	snprintf(test_name, sizeof(test_name), "%s%s", test->name,
		 direct_map_variant ? ".direct_map" : "");
	return test->kind != (direct_map_variant ? SMALL : WHOLE_GIB) &&
	       strstr(test_name, name);
}

static bool run(int i)
{
	const struct test *test = &tests[i % nr_tests];

	test_nr++;
	nr_failures = 0;
	nr_warnings = 0;
	alarm(seconds * 10 + 60);
	if (test->kind == DEFAULT)
		pgmap = register_range(0, RANGE(4));
	test->run();
	if (test->kind == DEFAULT)
		unregister(pgmap);
	advance(AGE_PERIOD);
	expect_nothing_left();
	printf("%sok %d %s\n", nr_failures ? "not " : "", test_nr, test_name);
	return !nr_failures;
}

static void usage(const char *name)
{
	printf("Usage: %s [-s SECONDS] [-t THREADS] [NAME]\n"
	       "Runs the tests whose name has NAME in it.\n"
	       "  -s  how long to race (%u)\n"
	       "  -t  how many threads pin meanwhile (%u)\n",
	       name, seconds, nr_threads);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = die,
				    .sa_flags = SA_SIGINFO };
	int i, opt, nr = 0, bad = 0;
	const char *name;

	while ((opt = getopt(argc, argv, "hs:t:")) != -1) {
		if (opt == 's') {
			seconds = atoi(optarg);
		} else if (opt == 't') {
			nr_threads = atoi(optarg);
		} else {
			usage(argv[0]);
			return opt != 'h';
		}
	}
	name = optind < argc ? argv[optind] : "";
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	boot_machine();
	before_flush = stop_flush;
	for (i = 0; i < 2 * nr_tests; i++)
		nr += selected(i, name);
	printf("KTAP version 1\n1..%d\n", nr);
	for (i = 0; i < 2 * nr_tests; i++)
		if (selected(i, name))
			bad += !run(i);
	return bad || !nr;
}
