// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of mm/transient_memmap, built in user space
 *
 * They look for what the KUnit tests of the pool cannot well see: they stop it
 * in each state of a block, let each allocation fail, hold the clock, and run it
 * under AddressSanitizer and ThreadSanitizer.
 */
#include <getopt.h>
#include <signal.h>
#include <sys/syscall.h>

#include "harness.h"

/* How long a pin waits, says the documentation */
#define LIMIT		HZ
/* Pages of the smallest range, or n of them */
#define RANGE(n)	((n) * (direct_map_variant ? PAGES_PER_GIB : SECTION(1)))

static struct test {
	const char *name;
	void (*run)(void);
	enum { DEFAULT, BARE, SMALL, DIRECT_MAP } kind;
} tests[100];
static int nr_tests, test_nr;
static char test_name[100];
static unsigned int seconds = 2, nr_threads = 4;

#define eventually(cond)						\
({									\
	int __n = 20000;						\
	bool __is;							\
									\
	while (!(__is = (cond)) && __n--)				\
		usleep(200);						\
	__is;								\
})

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

#define ANY_TEST(_name, _kind)						\
static void _name(void);						\
static void __attribute__((constructor)) add_##_name(void)		\
{									\
	tests[nr_tests++] = (struct test){ #_name, _name, _kind };	\
}									\
static void _name(void)

/* Begins with a range of at least four sections, with nothing cached */
#define TEST(name)		ANY_TEST(name, DEFAULT)
static struct dev_pagemap *pgmap;
/* Registers by itself */
#define BARE_TEST(name)		ANY_TEST(name, BARE)
/* Likewise, ranges that a direct map has no page table of its own for */
#define SMALL_TEST(name)	ANY_TEST(name, SMALL)
/* Likewise, for a transient direct map only */
#define DIRECT_MAP_TEST(name)	ANY_TEST(name, DIRECT_MAP)

/* Time, which stands still unless it is told to go on */

/* Blocks may be freed with some delay, which is shorter than this. */
#define SOON	2UL

static bool soon(void)
{
	struct work_struct *w;

	list_for_each_entry(w, &wq_pending, entry)
		if (time_after_eq(now() + SOON, w->due))
			return true;
	return false;
}

/* Let the workers do what is due, or will be soon. */
static void settle(void)
{
	guard(wq)();
	while (wq_running || soon()) {
		if (wq_running || wq_next()) {
			pthread_cond_broadcast(&wq.cond);
			wq_wait();
		} else {
			__atomic_fetch_add(&wq_now, 1, __ATOMIC_RELAXED);
		}
	}
}

static void advance(unsigned long nr)
{
	settle();
	tick(nr);
	settle();
}

static bool clock_stop;

static void *clock_thread(void *unused)
{
	while (!READ_ONCE(clock_stop)) {
		usleep(3000);
		tick(1);
	}
	return NULL;
}

static pthread_t clock_start(void)
{
	pthread_t thread;

	clock_stop = false;
	pthread_create(&thread, NULL, clock_thread, NULL);
	return thread;
}

static void clock_end(pthread_t thread)
{
	WRITE_ONCE(clock_stop, true);
	pthread_join(thread, NULL);
}

/* Registering, with nothing cached, of no fewer pages than it takes */

static struct dev_pagemap *register_range(unsigned long pfn, unsigned long nr)
{
	struct dev_pagemap *pgmap;

	if (direct_map_variant)
		nr = ALIGN(nr, PAGES_PER_GIB);
	pgmap = new_pgmap(pfn, nr);
	if (!EXPECT(!register_pgmap(pgmap)))
		bail_out();
	set_limit(pgmap, CACHE, 0);
	return pgmap;
}

static struct dev_pagemap *register_caching(unsigned long cache)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(4));

	set_limit(pgmap, CACHE, cache);
	return pgmap;
}

/* Pinning */

static int try_pin(unsigned long pfn, unsigned int gup_flags)
{
	struct page *page = transient_memmap_populate(pfn, gup_flags);

	EXPECT(IS_ERR(page) || page == pfn_to_page(pfn));
	return PTR_ERR_OR_ZERO(page);
}

static struct folio *pin(unsigned long pfn)
{
	if (!EXPECT(!try_pin(pfn, 0)))
		bail_out();
	return page_folio(pfn_to_page(pfn));
}

static void unpin(unsigned long pfn)
{
	folio_put(page_folio(pfn_to_page(pfn)));
}

static void pin_and_unpin(unsigned long pfn)
{
	pin(pfn);
	unpin(pfn);
}

/* As GUP does, which says that the block is in use */
static void use(unsigned long pfn)
{
	folio_set_referenced(pin(pfn));
	unpin(pfn);
}

static void pin_blocks(unsigned long first, unsigned long nr)
{
	while (nr--)
		pin(nth(first++));
}

static void unpin_blocks(unsigned long first, unsigned long nr)
{
	while (nr--)
		unpin(nth(first++));
}

/* A pin in another thread, which can be made to wait */
struct pinner {
	pthread_t thread;
	unsigned long pfn, took;
	unsigned int gup_flags;
	struct task_struct *task;
	int ret;
	bool done;
};

static void *pinner_thread(void *arg)
{
	struct pinner *p = arg;
	unsigned long start = jiffies;

	__atomic_store_n(&p->task, current, __ATOMIC_SEQ_CST);
	p->ret = try_pin(p->pfn, p->gup_flags);
	p->took = jiffies - start;
	__atomic_store_n(&p->done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void pinner_start(struct pinner *p, unsigned long pfn)
{
	*p = (struct pinner){ .pfn = pfn };
	pthread_create(&p->thread, NULL, pinner_thread, p);
	while (!__atomic_load_n(&p->task, __ATOMIC_SEQ_CST))
		usleep(100);
}

static bool pinner_done(struct pinner *p)
{
	return __atomic_load_n(&p->done, __ATOMIC_SEQ_CST);
}

static bool pinner_sleeps(struct pinner *p)
{
	return !pinner_done(p) && READ_ONCE(p->task->state);
}

/* It waits, and what goes on besides does not end that. */
static bool pinner_waits(struct pinner *p)
{
	if (!eventually(pinner_done(p) || pinner_sleeps(p)))
		return false;
	usleep(2000);
	return pinner_sleeps(p);
}

static void start_waiting(struct pinner *p, unsigned long pfn)
{
	pinner_start(p, pfn);
	EXPECT(pinner_waits(p));
}

static int pinner_join(struct pinner *p)
{
	pthread_join(p->thread, NULL);
	return p->ret;
}

/* For who is in an RCU read-side section, where a pin may not be */
static int pin_elsewhere(unsigned long pfn)
{
	struct pinner p;

	pinner_start(&p, pfn);
	return pinner_join(&p);
}

/* Tick until @nr pins have ended, or for longer than any may take. */
static bool pass_limit(struct pinner *p, int nr)
{
	unsigned long ticks = 2 * LIMIT;
	int i;

	for (i = 0; i < nr; i++) {
		while (!pinner_done(&p[i]) && ticks--) {
			usleep(500);
			tick(1);
		}
		if (!eventually(pinner_done(&p[i])))
			return false;
	}
	return true;
}

/* A pin that has to wait for as long as it may; how long that was is checked. */
static int pin_in_vain(unsigned long pfn)
{
	struct pinner p;

	pinner_start(&p, pfn);
	if (!EXPECT(pass_limit(&p, 1)))
		bail_out();
	EXPECT(p.took >= LIMIT && p.took < 2 * LIMIT);
	return pinner_join(&p);
}

/* Looking */

/* Can it be read, or written? Asks the machine, not the pool. */
static bool accessible(void *p, bool write)
{
	static int fds[2];
	long len = sizeof(long);
	char buf[sizeof(long)];
	bool ret;

	if (!fds[1] && pipe(fds))
		abort();
	if (syscall(SYS_write, fds[1], p, len) != len)
		return false;
	ret = syscall(SYS_read, fds[0], write ? p : buf, len) == len;
	if (!ret && read(fds[0], buf, len) != len)
		abort();
	return ret;
}

static bool has_struct_page(unsigned long pfn)
{
	return accessible(pfn_to_page(pfn), false);
}

static bool has_table(unsigned long pfn)
{
	return page_tables[pfn / PAGES_PER_SECTION];
}

static unsigned int refs(unsigned long pfn)
{
	return folio_ref_count(page_folio(pfn_to_page(pfn)));
}

static void expect_absent(unsigned long pfn)
{
	EXPECT(state_of(pfn) == BLOCK_ABSENT || state_of(pfn) == BLOCK_NONE);
	EXPECT(!pfn_has_struct_page(pfn));
	EXPECT(!transient_memmap_try_get(pfn));
	EXPECT(!has_struct_page(pfn));
	EXPECT(!in_direct_map(pfn));
}

static void unpin_and_free(unsigned long pfn)
{
	unpin(pfn);
	settle();
	expect_absent(pfn);
}

/* Stop the worker in its grace period, until rcu_read_unlock(), or unhide(). */
static void hide(unsigned long pfn)
{
	rcu_read_lock();
	unpin(pfn);
	tick(SOON);
	EXPECT(eventually(state_of(pfn) == BLOCK_HIDDEN));
}

static void unhide(void)
{
	rcu_read_unlock();
	settle();
}

/* Stop the worker before its flush, until flush_go(). */
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

static void flush_go(void)
{
	__atomic_store_n(&flush_stopped, false, __ATOMIC_SEQ_CST);
}

/*
 * What a pin gives
 */

/* Drivers would do DMA to other memory, or the core would meet a bad page. */
TEST(pin_gives_folio_of_a_block)
{
	struct folio *folio = pin(nth(3) + 5);
	unsigned long i;

	EXPECT(folio_ref_count(folio) == 1);
	EXPECT(folio_pfn(folio) == nth(3));
	EXPECT(folio->flags & BIT(PG_head));
	for (i = 0; i < BLOCK_NR; i++) {
		EXPECT(page_is_right(pgmap, nth(3) + i));
		EXPECT(pfn_has_struct_page(nth(3) + i));
	}
	EXPECT(state_of(nth(3)) == BLOCK_LIVE);
	unpin(nth(3));
}

/* A large buffer would cost more pages of struct pages than it has blocks. */
TEST(pages_of_a_block_share_its_folio)
{
	struct folio *first = pin(0), *last = pin(BLOCK_NR - 1);
	unsigned long bytes = stat_of(pgmap, BYTES);

	EXPECT(first == last);
	EXPECT(folio_ref_count(first) == 2);
	EXPECT(stat_of(pgmap, LIVE) == 1);
	/* The reserve serves first, then the page allocator. */
	EXPECT(nr_pages == POOL_PAGES);
	pin_blocks(1, RESERVE_NR);
	EXPECT(nr_pages == POOL_PAGES + 1);
	EXPECT(nr_memmap_pages == RESERVE_NR + 1);
	EXPECT(stat_of(pgmap, LIVE) == RESERVE_NR + 1);
	EXPECT(stat_of(pgmap, BYTES) == bytes + PAGE_SIZE);
	unpin(0);
	unpin_blocks(0, RESERVE_NR + 1);
}

/* Pfn walkers would look at struct pages that are not there. */
TEST(only_the_pinned_block_has_struct_pages)
{
	expect_absent(nth(1));
	pin(nth(1));
	EXPECT(has_struct_page(nth(1)));
	EXPECT(has_struct_page(nth(2) - 1));
	EXPECT(in_direct_map(nth(1)) == direct_map_variant);
	expect_absent(nth(1) - 1);
	expect_absent(nth(2));
	unpin_and_free(nth(1));
	expect_absent(nth(2) - 1);
}

/* GUP-fast would sleep, or get a struct page that is not there. */
TEST(only_live_blocks_are_had_without_populating)
{
	EXPECT(!transient_memmap_try_get(1));
	pin(0);
	EXPECT(transient_memmap_try_get(1) == pfn_to_page(1));
	EXPECT(refs(0) == 2);
	EXPECT(!transient_memmap_try_get(nth(1)));
	EXPECT(stat_of(pgmap, POPULATED) == 1);
	unpin(0);
	hide(0);
	EXPECT(!transient_memmap_try_get(0));
	rcu_read_unlock();
}

/* A write to one tail would be a write to the tails of all blocks. */
TEST(shared_tails_cannot_be_written)
{
	unsigned long i;

	pin(0);
	for (i = 0; i < BLOCK_NR; i += PER_PAGE)
		EXPECT(accessible(pfn_to_page(i), true) == (i < PER_PAGE));
	/* The private tails are not what others see, nor are copied from. */
	pin_blocks(1, RESERVE_NR);
	for (i = 0; i <= RESERVE_NR; i++)
		EXPECT(pfn_to_page(nth(i) + 1)->index != 7);
	for (i = 0; i <= RESERVE_NR; i++)
		pfn_to_page(nth(i) + 1)->index = 7;
	pin(nth(20));
	EXPECT(pfn_to_page(nth(20) + 1)->index == 0);
	unpin(nth(20));
	unpin_blocks(0, RESERVE_NR + 1);
}

static long pages_on_node(int nid)
{
	struct page *page;
	long n = 0;

	for (page = ram; page < ram + NR_RAM; page++)
		n += atomic_read(&page->_refcount) && page_to_nid(page) == nid;
	return n;
}

/* I/O would reach across the machine for struct pages. */
BARE_TEST(all_memory_is_of_the_ranges_node)
{
	int nids[] = { 1, NUMA_NO_NODE, 0 }, i, nid;
	struct dev_pagemap *pgmap;

	for (i = 0; i < ARRAY_SIZE(nids); i++) {
		range_nid = nids[i];
		nid = expected_nid();
		table_nid = NUMA_NO_NODE;
		pgmap = register_range(0, SECTION(2));
		EXPECT(table_nid == nid);
		EXPECT(pages_on_node(nid) == POOL_PAGES);
		EXPECT(transient_memmap_uses_node(nid));
		EXPECT(!transient_memmap_uses_node(2));
		pin_blocks(0, RESERVE_NR + 1);
		EXPECT(pages_on_node(nid) == POOL_PAGES + 1);
		EXPECT(page_is_right(pgmap, 0));
		EXPECT(page_is_right(pgmap, nth(RESERVE_NR) + 1));
		unpin_blocks(0, RESERVE_NR + 1);
		unregister(pgmap);
		EXPECT(!transient_memmap_uses_node(nid));
	}
	range_nid = 0;
}

/*
 * What the last unpin does
 */

/* The memory saved by having no memmap would be lost pin by pin. */
TEST(last_unpin_gives_the_memory_back)
{
	unsigned long nr = RESERVE_NR + 5;
	int i;

	for (i = 1; i <= 4; i++) {
		pin_blocks(0, nr);
		pin(1);
		unpin_blocks(0, nr);
		settle();
		EXPECT(has_struct_page(0));
		EXPECT(stat_of(pgmap, LIVE) == 1);
		unpin(1);
		settle();
		expect_absent(0);
		/* They could serve the next blocks; half a second, and no more. */
		EXPECT(nr_pages == 1 + nr);
		if (i % 2)
			continue;
		advance(AGE_PERIOD);
		EXPECT(nr_pages == POOL_PAGES);
		EXPECT(nr_memmap_pages == 0);
		EXPECT(stat_of(pgmap, POPULATED) == i * nr);
		EXPECT(stat_of(pgmap, FREED) == i * nr);
	}
	EXPECT(stat_of(pgmap, LIVE) == 0);
	EXPECT(stat_of(pgmap, PEAK) == nr);
}

/* A disk interrupt that ends a bio would deadlock on a lock of the pool. */
TEST(last_unpin_may_be_in_an_interrupt)
{
	pin(0);
	current->irq = true;
	unpin(0);
	current->irq = false;
	settle();
	expect_absent(0);
}

/* GUP-fast would read the refcount of a struct page that is not mapped. */
TEST(reader_keeps_struct_pages_mapped)
{
	pin(0);
	rcu_read_lock();
	EXPECT(block_pinnable(0));
	unpin(0);
	tick(SOON);
	EXPECT(eventually(state_of(0) != BLOCK_LIVE));
	usleep(20000);
	EXPECT(state_of(0) == BLOCK_HIDDEN);
	if (EXPECT(has_struct_page(0)))
		EXPECT(!folio_try_get(page_folio(pfn_to_page(0))));
	unhide();
	expect_absent(0);
}

/* As many TLB flushes as blocks would stop all CPUs all the time. */
TEST(blocks_that_go_together_share_a_flush)
{
	unsigned long flushes = stat_of(pgmap, FLUSHES), tlb = nr_tlb_flushes;

	pin_blocks(0, 31);
	hide(0);
	unpin_blocks(1, 30);
	unhide();
	EXPECT(stat_of(pgmap, FREED) == 31);
	EXPECT(stat_of(pgmap, FLUSHES) == flushes + 2);
	EXPECT(nr_tlb_flushes == tlb + 2);
}

/* Pins of one load, spread over some pools; returns how many flushes it took. */
static unsigned long flushes_of_pools(int nr_pools)
{
	struct dev_pagemap *pgmaps[50];
	unsigned long held[20] = {}, flushes;
	unsigned int seed = 1;
	int i, n;

	for (i = 0; i < nr_pools; i++)
		pgmaps[i] = register_range(RANGE(i), RANGE(1));
	flushes = stat_of(pgmaps[0], FLUSHES);
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
	for (i = 0; i < nr_pools; i++)
		unregister(pgmaps[i]);
	return flushes;
}

/* Fifty guests would interrupt all CPUs fifty times as often as one. */
BARE_TEST(pools_share_a_flush)
{
	unsigned long one = flushes_of_pools(1), many = flushes_of_pools(50);

	printf("# flushes: 1 pool %lu, 50 pools %lu\n", one, many);
	EXPECT(one > 0 && many * 10 <= one * 12);
}

/*
 * A new pin of a dying block
 */

/* A holder would lose its struct page, or the block would never be freed. */
TEST(new_pin_revives_a_block_that_waits_for_the_worker)
{
	pin_blocks(0, 2);
	hide(0);
	unpin(nth(1));
	EXPECT(state_of(nth(1)) == BLOCK_LIVE);
	EXPECT(!transient_memmap_try_get(nth(1)));
	EXPECT(!pin_elsewhere(nth(1)));
	/* One reference is for the link that the worker will get. */
	EXPECT(refs(nth(1)) == 2);
	EXPECT(page_is_right(pgmap, nth(1)));
	unhide();
	EXPECT(state_of(nth(1)) == BLOCK_LIVE);
	EXPECT(refs(nth(1)) == 1);
	EXPECT(stat_of(pgmap, POPULATED) == 2);
	EXPECT(stat_of(pgmap, FREED) == 1);
	unpin_and_free(nth(1));
}

/* The same, or one I/O after the other would wait for grace periods. */
TEST(new_pin_revives_a_hidden_block)
{
	pin(0);
	hide(0);
	EXPECT(!pin_elsewhere(1));
	EXPECT(state_of(0) == BLOCK_LIVE);
	/* One reference is for the worker, who has the link. */
	EXPECT(refs(0) == 2);
	EXPECT(page_is_right(pgmap, 1));
	unhide();
	EXPECT(state_of(0) == BLOCK_LIVE);
	EXPECT(refs(0) == 1);
	EXPECT(stat_of(pgmap, FREED) == 0);
	unpin_and_free(0);
	EXPECT(stat_of(pgmap, POPULATED) == 1);
	EXPECT(stat_of(pgmap, FREED) == 1);
}

/* The block would be freed twice, or under its next holder, or not at all. */
TEST(block_dies_again_while_hidden)
{
	int i;

	pin(0);
	hide(0);
	for (i = 0; i < 3; i++) {
		EXPECT(!pin_elsewhere(0));
		unpin(0);
	}
	/* Others die meanwhile: the lists must not mix. */
	EXPECT(!pin_elsewhere(nth(1)));
	unpin(nth(1));
	unhide();
	expect_absent(0);
	expect_absent(nth(1));
	EXPECT(stat_of(pgmap, POPULATED) == 2);
	EXPECT(stat_of(pgmap, FREED) == 2);
}

/* A block that is used again and again would be made again and again. */
TEST(revived_block_is_kept)
{
	pin(0);
	hide(0);
	WRITE_ONCE(pgmap->transient_pool->limits[TRANSIENT_MEMMAP_CACHE], 4);
	EXPECT(!pin_elsewhere(0));
	unhide();
	EXPECT(stat_of(pgmap, CACHED) == 1);
	unpin(0);
	settle();
	EXPECT(state_of(0) == BLOCK_LIVE);
	pin_and_unpin(0);
	EXPECT(stat_of(pgmap, POPULATED) == 1);
}

/* A CPU would use the last page that was mapped, after it was freed. */
TEST(pin_waits_for_the_flush)
{
	struct pinner p;

	pin(0);
	unmap(0);
	EXPECT(!has_struct_page(0));
	EXPECT(!in_direct_map(0));
	EXPECT(READ_ONCE(direct_tlb[0]) == direct_map_variant);
	EXPECT(!transient_memmap_try_get(0));
	start_waiting(&p, 1);
	EXPECT(state_of(0) == BLOCK_UNMAPPED);
	flush_go();
	EXPECT(!pinner_join(&p));
	EXPECT(page_is_right(pgmap, 1));
	EXPECT(!READ_ONCE(direct_tlb[0]));
	EXPECT(stat_of(pgmap, POPULATED) == 2);
	unpin(1);
}

/* Start pins of one absent block, of which one populates, and waits. */
static void start_together(struct pinner *p, int nr, unsigned long pfn)
{
	int i;

	for (i = 0; i < nr; i++) {
		start_waiting(&p[i], pfn + i);
	}
	EXPECT(state_of(pfn) == BLOCK_POPULATING);
}

/* Two pins would map a page each, and one of them would be lost. */
TEST(pins_of_one_block_populate_once)
{
	struct pinner p[4];
	int i;

	set_limit(pgmap, CAP, 1);
	pin(0);
	hide(0);
	start_together(p, 4, nth(1));
	EXPECT(!transient_memmap_try_get(nth(1)));
	rcu_read_unlock();
	for (i = 0; i < 4; i++)
		EXPECT(!pinner_join(&p[i]));
	EXPECT(refs(nth(1)) == 4);
	EXPECT(stat_of(pgmap, POPULATED) == 2);
	for (i = 0; i < 4; i++)
		unpin(nth(1));
}

/* A process could not be killed, nor a device be unbound from it. */
TEST(fatal_signal_ends_the_wait)
{
	struct pinner p[3];

	/* For the flush, */
	pin(0);
	unmap(0);
	start_waiting(&p[0], 0);
	kill_task(p[0].task);
	EXPECT(pinner_join(&p[0]) == -EINTR);
	flush_go();
	settle();

	/* for another's populating, and at the cap, where others stay. */
	set_limit(pgmap, CAP, 1);
	pin(0);
	start_together(p, 2, nth(1));
	start_waiting(&p[2], nth(2));
	kill_task(p[1].task);
	EXPECT(pinner_join(&p[1]) == -EINTR);
	EXPECT(pinner_waits(&p[0]));
	kill_task(p[0].task);
	EXPECT(pinner_join(&p[0]) == -EINTR);
	expect_absent(nth(1));
	EXPECT(pinner_waits(&p[2]));
	unpin(0);
	EXPECT(!pinner_join(&p[2]));
	EXPECT(stat_of(pgmap, FAILED) == 0);
	unpin(nth(2));
	settle();
	EXPECT(stat_of(pgmap, LIVE) == 0);
}

/*
 * The cap
 */

/* A guest could take all of the host's memory by I/O. */
TEST(cap_limits_live_blocks)
{
	set_limit(pgmap, CAP, 3);
	pin_blocks(0, 3);
	EXPECT(pin_in_vain(nth(3)) == -ENOMEM);
	expect_absent(nth(3));
	pin(nth(1));
	EXPECT(stat_of(pgmap, FAILED) == 1);
	/* Below what is live: no new ones until there is room. */
	set_limit(pgmap, CAP, 2);
	unpin(nth(0));
	settle();
	EXPECT(pin_in_vain(nth(3)) == -ENOMEM);
	unpin(nth(2));
	settle();
	pin_and_unpin(nth(3));
	unpin(nth(1));
	unpin(nth(1));
}

/* An operator who sizes the cap by the peak would size it wrong. */
TEST(peak_is_the_most_that_was_live)
{
	int i;

	for (i = 1; i <= 5; i++) {
		pin_blocks(0, i);
		EXPECT(stat_of(pgmap, LIVE) == i);
		EXPECT(stat_of(pgmap, PEAK) == i);
		unpin_blocks(0, i);
		settle();
		EXPECT(stat_of(pgmap, LIVE) == 0);
	}
	/* What waits at the cap is not live. */
	set_limit(pgmap, CAP, 5);
	pin_blocks(0, 5);
	EXPECT(pin_in_vain(nth(5)) == -ENOMEM);
	EXPECT(stat_of(pgmap, PEAK) == 5);
	unpin_blocks(0, 5);
}

/*
 * A host whose operator has set nothing would lose its memory to a hostile guest,
 * or have pins that stay for ever.
 */
BARE_TEST(defaults_are_bounded)
{
	unsigned long ram[] = { BIT(16), 1024, 63, 0 };
	unsigned long caps[] = { 1024, 16, 1, 1 };
	struct dev_pagemap *pgmap;
	int i;

	for (i = 0; i < ARRAY_SIZE(ram); i++) {
		nr_totalram = ram[i];
		pgmap = new_pgmap(0, RANGE(1));
		if (!EXPECT(!register_pgmap(pgmap)))
			continue;
		EXPECT(transient_memmap_get_limit(pgmap, TRANSIENT_MEMMAP_CAP) ==
		       caps[i]);
		EXPECT(transient_memmap_get_limit(pgmap, TRANSIENT_MEMMAP_CACHE) ==
		       caps[i] / 2);
		EXPECT(!transient_memmap_get_limit(pgmap,
						   TRANSIENT_MEMMAP_LONGTERM));
		unregister(pgmap);
	}
	nr_totalram = BIT(16);
}

/* A guest at its limit would make the I/O of all others fail. */
BARE_TEST(limits_of_one_pool_leave_the_other)
{
	struct dev_pagemap *full = register_range(0, RANGE(1));
	struct dev_pagemap *other = register_range(RANGE(1), RANGE(1));
	unsigned long pfn = RANGE(1);
	struct pinner p;
	int i;

	set_limit(full, CAP, 2);
	pin_blocks(0, 2);
	pinner_start(&p, nth(2));
	for (i = 0; i < 4; i++)
		pin(pfn + nth(i));
	EXPECT(pinner_waits(&p));
	EXPECT(stat_of(full, LIVE) == 2);
	EXPECT(stat_of(other, LIVE) == 4);
	kill_task(p.task);
	pinner_join(&p);

	/* The same without memory: each has its reserve. */
	set_limit(full, CAP, ULONG_MAX);
	WRITE_ONCE(fail_all, true);
	pin_blocks(2, RESERVE_NR - 2);
	EXPECT(pin_in_vain(nth(20)) == -ENOMEM);
	for (i = 4; i < RESERVE_NR; i++)
		pin(pfn + nth(i));
	EXPECT(stat_of(full, FAILED) == 1 && stat_of(other, FAILED) == 0);
	WRITE_ONCE(fail_all, false);

	unpin_blocks(0, RESERVE_NR);
	for (i = 0; i < RESERVE_NR; i++)
		unpin(pfn + nth(i));
	unregister(full);
	unregister(other);
}

/* The operator could not stop a device from using memory. */
TEST(cap_of_zero_refuses_pins)
{
	pin(0);
	set_limit(pgmap, CAP, 0);
	/* At once, as there is nothing to wait for. */
	EXPECT(try_pin(nth(1), 0) == -ENOMEM);
	pin(0);
	unpin(0);
	unpin(0);
	settle();
	EXPECT(try_pin(0, 0) == -ENOMEM);
	set_limit(pgmap, CAP, ULONG_MAX);
	pin_and_unpin(0);
}

/* Pins would fail for blocks that nobody uses. */
TEST(pin_at_the_cap_takes_idle_blocks)
{
	int i;

	set_limit(pgmap, CACHE, 100);
	set_limit(pgmap, CAP, 4);
	for (i = 0; i < 20; i++)
		use(nth(i));
	EXPECT(stat_of(pgmap, FAILED) == 0);
	EXPECT(stat_of(pgmap, PEAK) == 4);
	settle();
	pin_blocks(0, 4);
	EXPECT(pin_in_vain(nth(4)) == -ENOMEM);
	for (i = 0; i < 4; i++)
		EXPECT(page_is_right(pgmap, nth(i)));
	unpin_blocks(0, 4);
}

/*
 * One pin too many would empty the cache of all other users, or take as long as
 * the cache is large.
 */
TEST(pin_at_the_cap_gives_up_few_blocks)
{
	int i;

	set_limit(pgmap, CACHE, 200);
	set_limit(pgmap, CAP, 200);
	/* One that is served: all are idle. */
	for (i = 0; i < 200; i++)
		pin_and_unpin(nth(i));
	pin_and_unpin(nth(200));
	settle();
	EXPECT(stat_of(pgmap, CACHED) >= 200 - 64);
	/* One that is refused: all are pinned. */
	pin_blocks(0, 200);
	EXPECT(stat_of(pgmap, LIVE) == 200);
	i = stat_of(pgmap, CACHED);
	EXPECT(pin_in_vain(nth(201)) == -ENOMEM);
	EXPECT(stat_of(pgmap, CACHED) >= i - 64);
	unpin_blocks(0, 200);
}

/* Pins would fail for what is pinned for long, with most of the cache idle. */
TEST(pin_at_the_cap_finds_idle_blocks_behind_pinned_ones)
{
	struct pinner p;
	int i;

	set_limit(pgmap, CACHE, 300);
	set_limit(pgmap, CAP, 220);
	pin_blocks(0, 200);
	for (i = 200; i < 220; i++)
		use(nth(i));
	pinner_start(&p, nth(220));
	EXPECT(pass_limit(&p, 1));
	/* Ageing would find them too, but maybe too late. */
	EXPECT(p.took < AGE_PERIOD);
	if (EXPECT(!pinner_join(&p)))
		unpin(nth(220));
	unpin_blocks(0, 200);
}

/* Pins would fail for blocks that are about to go. */
TEST(pin_at_the_cap_waits_for_a_dying_block)
{
	unsigned long expedited = nr_expedited;
	struct pinner p;

	set_limit(pgmap, CAP, 1);
	pin(0);
	hide(0);
	start_waiting(&p, nth(1));
	rcu_read_unlock();
	EXPECT(!pinner_join(&p));
	/* It does not wait for a batch, nor in a slow grace period. */
	EXPECT(p.took == 0);
	start_waiting(&p, nth(2));
	unpin(nth(1));
	EXPECT(!pinner_join(&p));
	EXPECT(p.took == 0);
	EXPECT(nr_expedited > expedited);
	unpin(nth(2));
	EXPECT(!pin_elsewhere(nth(3)));
	EXPECT(stat_of(pgmap, FAILED) == 0);
	unpin(nth(3));
}

/* Under load, some guest's I/O would time out while that of newcomers is done. */
TEST(pins_at_the_cap_are_served_in_order)
{
	struct pinner p[6];
	int i;

	set_limit(pgmap, CAP, 1);
	pin(0);
	for (i = 0; i < 6; i++) {
		start_waiting(&p[i], nth(i + 1));
	}
	for (i = 0; i < 6; i++) {
		unpin(nth(i));
		EXPECT(!pinner_join(&p[i]));
		if (i < 5)
			EXPECT(pinner_waits(&p[i + 1]));
		EXPECT(stat_of(pgmap, LIVE) == 1);
	}
	unpin(nth(6));
}

/* An operator who raises the cap for I/O that hangs would not help it. */
TEST(raised_cap_serves_those_who_wait)
{
	struct pinner p[4];
	int i;

	set_limit(pgmap, CAP, 1);
	pin(0);
	for (i = 0; i < 4; i++) {
		start_waiting(&p[i], nth(i + 1));
	}
	set_limit(pgmap, CAP, 2);
	EXPECT(!pinner_join(&p[0]));
	EXPECT(pinner_waits(&p[1]));
	set_limit(pgmap, CAP, 4);
	EXPECT(!pinner_join(&p[1]));
	EXPECT(!pinner_join(&p[2]));
	EXPECT(pinner_waits(&p[3]));
	unpin(0);
	EXPECT(!pinner_join(&p[3]));
	unpin_blocks(1, 4);
}

/* A process would hang for as many seconds as it has threads. */
TEST(pins_of_one_block_share_one_limit)
{
	struct pinner p[6];
	int i;

	set_limit(pgmap, CAP, 1);
	pin(0);
	start_together(p, 6, nth(1));
	EXPECT(pass_limit(p, 6));
	for (i = 0; i < 6; i++) {
		EXPECT(pinner_join(&p[i]) == -ENOMEM);
		EXPECT(p[i].took >= LIMIT);
		EXPECT(p[i].took < LIMIT + 50);
	}
	EXPECT(stat_of(pgmap, FAILED) == 6);
	expect_absent(nth(1));
	unpin(0);
	settle();
	pin_and_unpin(nth(1));
}

/* Preempt who unpins at the worst moment: a task that sets stalled to itself. */
static struct task_struct *stalled;

static void stall(void)
{
	while (__atomic_load_n(&stalled, __ATOMIC_SEQ_CST) == current)
		usleep(100);
}

static void *stalled_unpin(void *pfn)
{
	__atomic_store_n(&stalled, current, __ATOMIC_SEQ_CST);
	unpin((unsigned long)pfn);
	return NULL;
}

/* I/O would fail because a process of low priority was preempted. */
TEST(preempted_unpin_strands_nobody)
{
	struct pinner p;
	pthread_t thread;
	int i;

	set_limit(pgmap, CAP, 1);
	before_queue = stall;
	for (i = 0; i < 2; i++) {
		pin(0);
		/* Who waits comes before the unpin, or after it. */
		if (!i)
			pinner_start(&p, nth(1));
		EXPECT(i || pinner_waits(&p));
		pthread_create(&thread, NULL, stalled_unpin, NULL);
		EXPECT(eventually(READ_ONCE(dying.first)));
		if (i)
			pinner_start(&p, nth(1));
		EXPECT(pass_limit(&p, 1));
		EXPECT(!pinner_join(&p));
		EXPECT(p.took < LIMIT);
		__atomic_store_n(&stalled, NULL, __ATOMIC_SEQ_CST);
		pthread_join(thread, NULL);
		unpin(nth(1));
		settle();
	}
	before_queue = NULL;
	EXPECT(stat_of(pgmap, FAILED) == 0);
}

/* Whoever is slow would have a backtrace in the log for each pin that fails. */
TEST(time_may_pass_at_any_point)
{
	pthread_t clock = clock_start();
	int i;

	set_limit(pgmap, CAP, 1);
	pin(0);
	for (i = LIMIT / 8; i < LIMIT * 2; i += 7) {
		WRITE_ONCE(time_flies, i);
		EXPECT(try_pin(nth(1), 0) == -ENOMEM);
	}
	WRITE_ONCE(time_flies, 0);
	clock_end(clock);
	unpin(0);
}

static bool crowd_stop;
static unsigned long crowd_pins;

static void *crowd_thread(void *arg)
{
	unsigned int seed = (long)arg;
	unsigned long pfn;

	while (!READ_ONCE(crowd_stop)) {
		pfn = nth(rand_r(&seed) % 64) + rand_r(&seed) % BLOCK_NR;
		if (!EXPECT(!try_pin(pfn, 0)))
			break;
		if (rand_r(&seed) % 2)
			folio_set_referenced(page_folio(pfn_to_page(pfn)));
		if (rand_r(&seed) % 4 == 0)
			usleep(rand_r(&seed) % 300);
		unpin(pfn);
		__atomic_add_fetch(&crowd_pins, 1, 0);
		if (rand_r(&seed) % 16 == 0)
			usleep(rand_r(&seed) % 1000);
	}
	return NULL;
}

/* Threads that hold one block each, for a while */
static void crowd(int nr, unsigned long cap, unsigned long cache)
{
	struct dev_pagemap *pgmap = register_caching(cache);
	pthread_t threads[16], clock = clock_start();
	unsigned int round = 10 * seconds;
	int i;

	set_limit(pgmap, CAP, cap);
	crowd_pins = 0;
	crowd_stop = false;
	for (i = 0; i < nr; i++)
		pthread_create(&threads[i], NULL, crowd_thread,
			       (void *)(i + 1L));
	while (round-- && !READ_ONCE(nr_failures))
		usleep(10000);
	WRITE_ONCE(crowd_stop, true);
	for (i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
	clock_end(clock);
	EXPECT(stat_of(pgmap, PEAK) <= cap);
	EXPECT(stat_of(pgmap, FAILED) == 0);
	unregister(pgmap);
	printf("# %d threads, cap %lu, cache %lu: %lu pins\n", nr, cap, cache,
	       crowd_pins);
}

/* I/O that fits the cap would fail now and then, under load. */
BARE_TEST(nobody_starves_at_the_cap)
{
	unsigned long cap;

	for (cap = 1; cap <= 8 && !nr_failures; cap *= 2) {
		crowd(cap, cap, 0);
		crowd(cap, cap, cap);
		/* More than there is room for take turns. */
		crowd(8, cap, cap / 2);
	}
}

/*
 * Memory errors, and long-term pins
 */

/* I/O would bring bad data, or 2 MiB would be lost with a page. */
BARE_TEST(poisoned_page_is_refused_and_neighbours_are_not)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));

	transient_memmap_poison(nth(1));
	EXPECT(try_pin(nth(1), FOLL_HWPOISON) == -EHWPOISON);
	EXPECT(try_pin(nth(1), 0) == -EFAULT);
	EXPECT(stat_of(pgmap, POPULATED) == 0);
	pin(nth(1) + 1);
	EXPECT(state_of(nth(1)) == BLOCK_LIVE_POISONED);

	/* Also if there is no memory to note it. */
	pin(0);
	WRITE_ONCE(fail_all, true);
	transient_memmap_poison(3);
	WRITE_ONCE(fail_all, false);
	EXPECT(state_of(0) == BLOCK_LIVE_POISONED);
	EXPECT(pfn_has_struct_page(0));
	EXPECT(try_pin(3, FOLL_HWPOISON) == -EHWPOISON);
	EXPECT(try_pin(3, FOLL_LONGTERM) == -EFAULT);
	EXPECT(!transient_memmap_try_get(4));
	pin(4);
	EXPECT(!transient_memmap_unpoison(3));
	EXPECT(transient_memmap_unpoison(3) == -EIO);
	EXPECT(state_of(0) == BLOCK_LIVE);
	pin(3);

	unpin(0);
	unpin(4);
	unpin(3);
	unpin(nth(1) + 1);
	unregister(pgmap);
	/* It stays so without an owner; what is nobody's is not noted. */
	transient_memmap_poison(5);
	EXPECT(transient_memmap_unpoison(5) == -EIO);
	EXPECT(!transient_memmap_unpoison(nth(1)));
}

static void *poison_thread(void *pfn)
{
	transient_memmap_poison((unsigned long)pfn);
	return NULL;
}

/* For who is in an RCU read-side section */
static void poison_elsewhere(unsigned long pfn)
{
	pthread_t thread;

	pthread_create(&thread, NULL, poison_thread, (void *)pfn);
	pthread_join(thread, NULL);
}

static void expect_poisoned_and_live(unsigned long pfn, unsigned long bad)
{
	EXPECT(state_of(pfn) == BLOCK_LIVE_POISONED);
	EXPECT(pin_elsewhere(bad) == -EFAULT);
	EXPECT(!pin_elsewhere(bad + 1));
	unpin(bad + 1);
	EXPECT(!transient_memmap_unpoison(bad));
	EXPECT(state_of(pfn) == BLOCK_LIVE);
}

/* I/O would bring bad data if the error came while its block was freed or made. */
TEST(poison_counts_in_any_state)
{
	struct pinner p;

	/* Hidden, and revived */
	pin(0);
	hide(0);
	poison_elsewhere(3);
	EXPECT(state_of(0) == BLOCK_HIDDEN);
	EXPECT(pin_elsewhere(3) == -EFAULT);
	EXPECT(state_of(0) == BLOCK_HIDDEN);
	EXPECT(!pin_elsewhere(2));
	rcu_read_unlock();
	expect_poisoned_and_live(0, 3);
	EXPECT(stat_of(pgmap, POPULATED) == 1);

	/* Unmapped, and populated again */
	settle();
	unmap(0);
	poison_elsewhere(3);
	EXPECT(state_of(0) == BLOCK_UNMAPPED);
	flush_go();
	settle();
	expect_absent(0);
	pin(2);
	expect_poisoned_and_live(0, 3);

	/* Populating, as it waits at the cap */
	set_limit(pgmap, CAP, 1);
	settle();
	hide(0);
	start_together(&p, 1, nth(1) + 2);
	poison_elsewhere(nth(1) + 3);
	EXPECT(state_of(nth(1)) == BLOCK_POPULATING);
	rcu_read_unlock();
	EXPECT(!pinner_join(&p));
	expect_poisoned_and_live(nth(1), nth(1) + 3);
	unpin(nth(1));
}

/* Registered buffers would hold for good what I/O needs, without permission. */
TEST(longterm_pins_are_allowed_or_not)
{
	EXPECT(try_pin(0, FOLL_LONGTERM) == -EOPNOTSUPP);
	EXPECT(stat_of(pgmap, POPULATED) == 0);
	EXPECT(transient_memmap_set_limit(pgmap, TRANSIENT_MEMMAP_LONGTERM, 2) ==
	       -EINVAL);
	set_limit(pgmap, LONGTERM, 1);
	EXPECT(!try_pin(0, FOLL_LONGTERM));
	/* They count like all others. */
	set_limit(pgmap, CAP, 1);
	EXPECT(pin_in_vain(nth(1)) == -ENOMEM);
	set_limit(pgmap, LONGTERM, 0);
	EXPECT(try_pin(0, FOLL_LONGTERM) == -EOPNOTSUPP);
	pin(0);
	unpin(0);
	unpin(0);
}

/*
 * What is kept
 */

/* Each I/O to the same buffer would make its struct pages anew. */
TEST(kept_block_serves_the_next_pin)
{
	int i;

	set_limit(pgmap, CACHE, 50);
	/* More than the reserve, so that any page will do. */
	for (i = 0; i < 60; i++)
		pin_and_unpin(nth(i % 20));
	settle();
	EXPECT(transient_memmap_try_get(0) == pfn_to_page(0));
	EXPECT(refs(0) == 2);
	unpin(0);
	EXPECT(stat_of(pgmap, POPULATED) == 20);
	EXPECT(stat_of(pgmap, CACHED) == 20);
}

/* Memory saved by having no memmap would be lost to guests that are idle. */
TEST(idle_pool_empties_itself)
{
	int i;

	set_limit(pgmap, CACHE, 100);
	for (i = 0; i < 20; i++)
		use(nth(i));
	EXPECT(stat_of(pgmap, CACHED) == 20);
	advance(AGE_PERIOD);
	EXPECT(stat_of(pgmap, CACHED) == 20);
	advance(AGE_PERIOD);
	EXPECT(stat_of(pgmap, LIVE) == 0);
	advance(AGE_PERIOD);
	EXPECT(nr_pages == POOL_PAGES);
	/* And there is nothing to wake up for any more. */
	advance(AGE_PERIOD);
	EXPECT(list_empty(&wq_pending));

	/* And again, from nothing */
	pin_and_unpin(0);
	advance(AGE_PERIOD);
	expect_absent(0);
}

/* A busy guest would pay for struct pages twice a second. */
TEST(block_in_use_does_not_age)
{
	int i;

	set_limit(pgmap, CACHE, 100);
	pin(nth(1));
	for (i = 0; i < 10; i++) {
		use(0);
		advance(AGE_PERIOD);
	}
	EXPECT(stat_of(pgmap, POPULATED) == 2);
	EXPECT(stat_of(pgmap, CACHED) == 2);
	unpin(nth(1));
	advance(AGE_PERIOD);
	advance(AGE_PERIOD);
	EXPECT(stat_of(pgmap, LIVE) == 0);
}

/* One pass over a large buffer would throw out what is used all the time. */
TEST(referenced_block_gets_a_second_chance)
{
	set_limit(pgmap, CACHE, 2);
	use(nth(0));
	pin_and_unpin(nth(1));
	pin_and_unpin(nth(2));
	settle();
	EXPECT(state_of(nth(0)) == BLOCK_LIVE);
	expect_absent(nth(1));
	EXPECT(state_of(nth(2)) == BLOCK_LIVE);
}

/* The operator's limit on what idle memory costs would not be one. */
TEST(cache_limits_kept_blocks)
{
	int i;

	set_limit(pgmap, CACHE, 3);
	for (i = 0; i < 20; i++) {
		pin_and_unpin(nth(i));
		EXPECT(stat_of(pgmap, CACHED) <= 3);
	}
	settle();
	EXPECT(stat_of(pgmap, CACHED) > 0);
	EXPECT(stat_of(pgmap, LIVE) == stat_of(pgmap, CACHED));
	set_limit(pgmap, CACHE, 1);
	settle();
	EXPECT(stat_of(pgmap, LIVE) == 1);

	/* Of 0: what is pinned goes with its last pin. */
	pin(0);
	set_limit(pgmap, CACHE, 0);
	settle();
	EXPECT(stat_of(pgmap, LIVE) == 1);
	EXPECT(page_is_right(pgmap, 0));
	EXPECT(refs(0) == 1);
	unpin_and_free(0);
}

/* Populate and idle: one block after the other has its page from another node. */
static void cache_on_nodes(int nr, int nr_nodes)
{
	int i;

	for (i = 0; i < nr; i++) {
		ram_nid = i % nr_nodes;
		pin_and_unpin(nth(i));
	}
	ram_nid = NUMA_NO_NODE;
}

/* What lies on another node than it should would be kept for good. */
BARE_TEST(kept_blocks_of_all_nodes_are_dropped)
{
	struct dev_pagemap *pgmap;

	ram_nid = 1;
	pgmap = register_caching(100);
	cache_on_nodes(30, NR_NODES);
	set_limit(pgmap, CACHE, 7);
	EXPECT(stat_of(pgmap, CACHED) == 7);
	advance(AGE_PERIOD);
	EXPECT(stat_of(pgmap, CACHED) == 0);
	set_limit(pgmap, CACHE, 100);
	cache_on_nodes(30, NR_NODES);
	set_limit(pgmap, CACHE, 0);
	settle();
	EXPECT(stat_of(pgmap, LIVE) == 0);
	unregister(pgmap);
}

/* Reclaim would ask for memory that is not there, on a large machine. */
TEST(shrinker_counts_each_object_once)
{
	set_limit(pgmap, CACHE, 100);
	/* Reclaim of each node would ask for its own. */
	EXPECT(!(pgmap->transient_pool->shrinker->flags & SHRINKER_NUMA_AWARE));
	EXPECT(shrink_count(pgmap) == 0);
	cache_on_nodes(40, NR_NODES);
	EXPECT(shrink_count(pgmap) == 40);
	/* Spare pages instead: all but the reserve can be had. */
	set_limit(pgmap, CACHE, 0);
	settle();
	EXPECT(nr_pages == 1 + 40);
	EXPECT(shrink_count(pgmap) == 40 - RESERVE_NR);
	shrink(pgmap, 100);
	EXPECT(nr_pages == POOL_PAGES);
	EXPECT(shrink_count(pgmap) == 0);
}

/* The OOM killer would come while the pool keeps what nobody uses. */
TEST(shrinker_makes_memory_free)
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

/*
 * Without memory
 */

/* I/O that has to be done for memory to become free would fail. */
TEST(pin_without_memory_takes_the_reserve)
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

/* Swapping out would hang or fail for good, once memory was short for long. */
BARE_TEST(pins_without_memory_go_on)
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

/*
 * I/O that had to wait for the reserve would fail though there is memory again, or
 * hold up others who would have found some.
 */
TEST(waiting_for_memory_ends_when_there_is_some)
{
	struct pinner p[2];

	WRITE_ONCE(fail_all, true);
	pin_blocks(0, RESERVE_NR);
	start_waiting(&p[0], nth(20));
	EXPECT(stat_of(pgmap, LIVE) == RESERVE_NR);
	WRITE_ONCE(fail_all, false);
	pinner_start(&p[1], nth(21));
	EXPECT(eventually(pinner_done(&p[1])));
	EXPECT(pass_limit(p, 2));
	/* Ageing would find some too, but later. */
	EXPECT(!pinner_join(&p[0]) && p[0].took < AGE_PERIOD);
	EXPECT(!pinner_join(&p[1]) && p[1].took == 0);
	unpin_blocks(0, RESERVE_NR);
	unpin_blocks(20, 2);
}

/* A device that failed to bind could not be bound again before a reboot. */
BARE_TEST(registration_unwinds_each_failed_allocation)
{
	/* The second range is where there is nothing yet, or half a neighbour. */
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
			pgmap->nr_range = 2;
			pgmap->ranges[1].start = far * PAGE_SIZE;
			pgmap->ranges[1].end = (far + nr) * PAGE_SIZE - 1;
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

/*
 * Ranges and their page tables
 */

/* The far end of a terabyte could not be pinned, or a pin would need more. */
BARE_TEST(tables_are_complete_once_registered)
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

/* One device's unbind would take the page tables of another's struct pages. */
SMALL_TEST(pools_share_a_section)
{
	unsigned long half = PAGES_PER_SECTION / 2, pfns[] = { 0, half };
	struct dev_pagemap *pgmaps[2];
	int i;

	/* Whichever of the two comes, and goes, first */
	for (i = 0; i < 4; i++) {
		int first = i % 2, other = !first, order = i / 2;

		pgmaps[order] = register_range(order * half,
					       half + order * half);
		pgmaps[!order] = register_range(!order * half,
						half + !order * half);
		pin(0);
		pin(half);
		EXPECT(stat_of(pgmaps[0], LIVE) == 1);
		EXPECT(page_is_right(pgmaps[0], 0));
		EXPECT(page_is_right(pgmaps[1], half));
		unpin(pfns[first]);
		unregister(pgmaps[first]);
		EXPECT(try_pin(pfns[first], 0) == -EFAULT);
		expect_absent(pfns[first]);
		EXPECT(!pfn_is_transient(pfns[first]));
		EXPECT(page_is_right(pgmaps[other], pfns[other]));
		pin_and_unpin(pfns[other] + BLOCK_NR);
		unpin(pfns[other]);
		settle();
		pin_and_unpin(pfns[other]);
		unregister(pgmaps[other]);
		EXPECT(!has_table(0) && !has_table(SECTION(1)));
	}
}

static int refused(unsigned long pfn, unsigned long nr)
{
	return register_pgmap(new_pgmap(pfn, nr));
}

/* Two owners would free each other's struct pages; RAM would lose its own. */
SMALL_TEST(range_of_another_is_refused)
{
	struct dev_pagemap *pgmap = register_range(SECTION(2), SECTION(1));
	const unsigned long sub = PAGES_PER_SUBSECTION;
	const u64 start = SECTION(2) * PAGE_SIZE;

	EXPECT(refused(SECTION(2), SECTION(1)) == -EBUSY);
	EXPECT(refused(SECTION(1), SECTION(3)) == -EBUSY);
	EXPECT(refused(SECTION(3) - sub, SECTION(1)) == -EBUSY);
	EXPECT(refused(SECTION(1), sub + 1) == -EINVAL);
	EXPECT(refused(SECTION(1), 0) == -EINVAL);
	EXPECT(transient_memmap_check_range(&(struct range){
			start, start + PAGE_SIZE - 1 }, false) == -EBUSY);
	EXPECT(!transient_memmap_check_range(&(struct range){
			0, start - 1 }, false));
	mem_sections[4].has_memmap = true;
	EXPECT(refused(SECTION(3), SECTION(2)) == -EBUSY);
	mem_sections[4].has_memmap = false;
	/* And none of that has hurt the owner. */
	pin(SECTION(2));
	EXPECT(page_is_right(pgmap, SECTION(2)));
	unpin(SECTION(2));
	unregister(register_range(SECTION(1), SECTION(1)));
	unregister(pgmap);
}

/* GUP would make struct pages for MMIO. */
BARE_TEST(others_are_left_alone)
{
	struct dev_pagemap *pgmap = register_range(RANGE(1), RANGE(1));
	unsigned long pfns[] = { 0, RANGE(1) - 1, RANGE(2), NR_PFNS + SECTION(1) };
	struct dev_pagemap other = { .ref = { { 1 } } };
	int i;

	for (i = 0; i < 4; i++) {
		EXPECT(!transient_memmap_try_get(pfns[i]));
		EXPECT(try_pin(pfns[i], 0) == -EFAULT);
		EXPECT(!pfn_has_struct_page(pfns[i]));
		EXPECT(!pfn_is_transient(pfns[i]));
		EXPECT(!transient_direct_map_owns(pfns[i]));
	}
	EXPECT(pfn_is_transient(RANGE(1)) && pfn_is_transient(RANGE(2) - 1));
	/* Ordinary ZONE_DEVICE memory has a pgmap too. */
	pgmap_array[0] = &other;
	EXPECT(try_pin(0, 0) == -EFAULT);
	EXPECT(atomic_read(&other.ref.count) == 1);
	pgmap_array[0] = NULL;
	unregister(pgmap);
}

static struct kobj_attribute *find_attr(const char *name)
{
	struct attribute **attr = pool_attrs;

	while (strcmp((*attr)->name, name))
		attr++;
	return container_of(*attr, struct kobj_attribute, attr);
}

static ssize_t store(struct dev_pagemap *pgmap, const char *name, const char *s)
{
	struct kobj_attribute *attr = find_attr(name);

	return attr->store(&pgmap->transient_pool->kobj, attr, s, strlen(s));
}

static char *show(struct dev_pagemap *pgmap, const char *name, char *buf)
{
	struct kobj_attribute *attr = find_attr(name);

	attr->show(&pgmap->transient_pool->kobj, attr, buf);
	return buf;
}

/* The operator would set, or be shown, something else. */
TEST(sysfs_shows_limits_and_statistics)
{
	char buf[PAGE_SIZE];

	pin_blocks(0, 2);
	EXPECT(store(pgmap, "cap", "7\n") == 2);
	EXPECT(store(pgmap, "cache", "0x5") == 3);
	EXPECT(store(pgmap, "longterm", "2") == -EINVAL);
	EXPECT(store(pgmap, "cap", "many") == -EINVAL);
	EXPECT(!strcmp(show(pgmap, "cap", buf), "7\n"));
	EXPECT(!strcmp(show(pgmap, "cache", buf), "5\n"));
	EXPECT(!strcmp(show(pgmap, "longterm", buf), "0\n"));
	EXPECT(strstr(show(pgmap, "stats", buf), "block_size 2097152\nlive 2\n"));
	EXPECT(strstr(buf, "\npeak 2\npopulated 2\nfreed 0\nfailed 0\n"));
	unpin_blocks(0, 2);
}

/*
 * The direct map
 */

/* A stray read would see memory of a guest, or I/O would fault. */
DIRECT_MAP_TEST(direct_map_has_pinned_blocks_only)
{
	struct dev_pagemap *pgmap = register_range(0, RANGE(2));
	unsigned long pfn = RANGE(1) + nth(3), far = pfn + SECTION(1);
	int i;

	for (i = 0; i < 3; i++) {
		pin(pfn);
		pin(far);
		EXPECT(in_direct_map(pfn) && in_direct_map(pfn + BLOCK_NR - 1));
		EXPECT(!in_direct_map(pfn - 1));
		EXPECT(!in_direct_map(pfn + BLOCK_NR));
		EXPECT(!in_direct_map(nth(3)));
		unpin(pfn);
		settle();
		EXPECT(!in_direct_map(pfn));
		EXPECT(in_direct_map(far));
		unpin(far);
		settle();
		EXPECT(!in_direct_map(far));
	}
	EXPECT(transient_direct_map_owns(0));
	EXPECT(transient_direct_map_owns(RANGE(2) - 1));
	EXPECT(!transient_direct_map_owns(RANGE(2)));
	unregister(pgmap);
	EXPECT(!transient_direct_map_owns(0));
}

/* The page table of somebody else's memory would be freed. */
DIRECT_MAP_TEST(direct_map_wants_whole_page_tables)
{
	EXPECT(refused(0, SECTION(1)) == -EINVAL);
	EXPECT(refused(SECTION(1), RANGE(1)) == -EINVAL);
	EXPECT(refused(SECTION(1), RANGE(1) - SECTION(1)) == -EINVAL);
	EXPECT(try_pin(0, 0) == -EFAULT);
	unregister(register_range(0, RANGE(1)));
}

/*
 * Unregistering
 */

struct unregistering {
	pthread_t thread;
	struct dev_pagemap *pgmap;
	bool done;
};

static void *unregister_thread(void *arg)
{
	struct unregistering *u = arg;

	unregister(u->pgmap);
	__atomic_store_n(&u->done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void unregister_start(struct unregistering *u, struct dev_pagemap *pgmap)
{
	*u = (struct unregistering){ .pgmap = pgmap };
	pthread_create(&u->thread, NULL, unregister_thread, u);
	EXPECT(eventually(READ_ONCE(pgmap->ref.dying)));
}

/* Unbinding would hang until the cache has aged, or for good. */
BARE_TEST(unregister_drops_kept_blocks)
{
	struct dev_pagemap *pgmap = register_caching(100);
	unsigned long start = jiffies;
	int i;

	for (i = 0; i < 20; i++)
		use(nth(i));
	EXPECT(stat_of(pgmap, CACHED) == 20);
	unregister(pgmap);
	EXPECT(jiffies - start < AGE_PERIOD);
	for (i = 0; i < 20; i++)
		expect_absent(nth(i));
}

/* I/O would go to memory whose device has gone, or nobody knows why unbind hangs. */
BARE_TEST(unregister_waits_for_pins_and_refuses_new)
{
	struct dev_pagemap *pgmap = register_caching(4);
	int messages = nr_messages;
	struct unregistering u;

	pin(0);
	use(nth(1));
	unregister_start(&u, pgmap);
	EXPECT(eventually(state_of(nth(1)) == BLOCK_ABSENT));
	EXPECT(try_pin(nth(1), 0) == -EFAULT);
	EXPECT(try_pin(0, 0) == -EFAULT);
	EXPECT(refused(0, RANGE(1)) == -EBUSY);
	tick(DRAIN_WARN);
	EXPECT(eventually(READ_ONCE(nr_messages) == messages + 1));
	EXPECT(page_is_right(pgmap, 0));
	EXPECT(!__atomic_load_n(&u.done, __ATOMIC_SEQ_CST));
	unpin(0);
	pthread_join(u.thread, NULL);
	expect_absent(0);
	EXPECT(!has_table(0));
	unregister(register_range(0, RANGE(1)));
}

/*
 * All at once
 */
#define STRESS_BLOCKS	20
#define STRESS_HELD	3

static struct stress {
	/* Two pools that share a section, if they can; written with the lock held */
	struct dev_pagemap *pgmaps[2];
	pthread_rwlock_t lock;
	bool stop;
	unsigned long pins, hits, refused, populated;
} stress = { .lock = PTHREAD_RWLOCK_INITIALIZER };

#define stress_goes_on()	(!READ_ONCE(stress.stop))

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
	unsigned int gup_flags = rand_r(seed) % 4 ? 0 : FOLL_LONGTERM;
	unsigned long pfn = stress_pfn(seed);
	struct page *page;

	/* A provider that leaves unmaps its memory first. */
	if (!READ_ONCE(stress.pgmaps[pfn >= STRESS_BORDER]))
		return NULL;
	page = transient_memmap_try_get(pfn);
	if (page) {
		__atomic_add_fetch(&stress.hits, 1, 0);
	} else {
		if (rand_r(seed) % 64 == 0)
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

	EXPECT(held >= (n > 0) && held <= STRESS_HELD * (long)nr_threads);
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

static void *stress_pinner(void *arg)
{
	struct page *held[STRESS_HELD] = {};
	unsigned int seed = (long)arg, i;

	for (i = 0; stress_goes_on(); i = (i + 1) % STRESS_HELD) {
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
	return NULL;
}

static void stress_tune(struct dev_pagemap *pgmap, unsigned int *seed)
{
	unsigned int n = rand_r(seed) % STRESS_BLOCKS;
	unsigned long pfn = stress_pfn(seed);

	switch (rand_r(seed) % 10) {
	case 0:
		set_limit(pgmap, CAP, n);
		break;
	case 1:
		set_limit(pgmap, CAP, ULONG_MAX);
		break;
	case 2:
		set_limit(pgmap, CACHE, n);
		break;
	case 3:
		set_limit(pgmap, CACHE, 0);
		break;
	case 4:
		shrink(pgmap, n);
		break;
	case 5:
		WRITE_ONCE(fail_nth, n);
		break;
	case 6:
		tick(AGE_PERIOD);
		break;
	case 7:
		WRITE_ONCE(ram_nid, n % 2 ? NUMA_NO_NODE : n / 2 % NR_NODES);
		break;
	case 8:
		set_limit(pgmap, LONGTERM, n % 2);
		break;
	case 9:
		transient_memmap_poison(pfn);
		usleep(n * 100);
		transient_memmap_unpoison(pfn);
		break;
	}
	EXPECT(stat_of(pgmap, LIVE) <= STRESS_BLOCKS);
	EXPECT(stat_of(pgmap, PEAK) <= STRESS_BLOCKS);
}

static void *stress_tuner(void *arg)
{
	unsigned int seed = (long)arg;
	struct dev_pagemap *pgmap;

	while (stress_goes_on()) {
		pthread_rwlock_rdlock(&stress.lock);
		pgmap = stress.pgmaps[rand_r(&seed) % 2];
		if (pgmap)
			stress_tune(pgmap, &seed);
		pthread_rwlock_unlock(&stress.lock);
		tick(1);
		usleep(rand_r(&seed) % 1000);
	}
	return NULL;
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

/* Under load, what is in use would be freed, or what is not in use be kept. */
BARE_TEST(pins_race_with_all_else)
{
	pthread_t threads[nr_threads + 2], clock = clock_start();
	time_t end = time(NULL) + seconds;
	int i, rounds = 0;

	stress = (struct stress){ .lock = PTHREAD_RWLOCK_INITIALIZER };
	stress_register(0);
	stress_register(1);
	for (i = 0; i < nr_threads + 2; i++)
		pthread_create(&threads[i], NULL,
			       i > 1 ? stress_pinner : stress_tuner,
			       (void *)(i + 1L));
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
	WRITE_ONCE(stress.stop, true);
	for (i = 0; i < nr_threads + 2; i++)
		pthread_join(threads[i], NULL);
	clock_end(clock);
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

/* Running */

static void boot(void)
{
	struct sigaction action = {
		.sa_sigaction = die, .sa_flags = SA_SIGINFO,
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	boot_machine();
	before_flush = stop_flush;
}


/* Sets test_name, too. */
static bool selected(int i, const char *name)
{
	const struct test *test = &tests[i % nr_tests];

	direct_map_variant = i >= nr_tests;
	snprintf(test_name, sizeof(test_name), "%s%s", test->name,
		 direct_map_variant ? ".direct_map" : "");
	return test->kind != (direct_map_variant ? SMALL : DIRECT_MAP) &&
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
		pgmap = register_range(0, SECTION(4));
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
	boot();
	for (i = 0; i < 2 * nr_tests; i++)
		nr += selected(i, name);
	printf("KTAP version 1\n1..%d\n", nr);
	for (i = 0; i < 2 * nr_tests; i++)
		if (selected(i, name))
			bad += !run(i);
	return bad || !nr;
}
