// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of mm/transient_memmap.c, built in user space.
 *
 * They look for what the KUnit tests of the pool cannot well see: they stop it
 * in each state of a block, let each allocation fail, and run it under
 * AddressSanitizer and ThreadSanitizer.
 */
#include <getopt.h>
#include <signal.h>
#include <sys/syscall.h>

#include "transient_memmap_internal.h"
#ifndef POOL
#define POOL "../../../mm/transient_memmap.c"
#endif
#include POOL

static const struct variant {
	const char *name;
	unsigned int order;
	bool has_mask, direct_map;
} variants[] = {
	{ "256K", 6, false },
	{ "256K_mask", 6, true },
	{ "2M", 9, true },
	{ "2M_direct_map", 9, true, true },
}, *variant;

#define BLOCK_NR	BIT(variant->order)
#define SECTION(n)	((n) * PAGES_PER_SECTION)
/* Pages of the smallest range, or n of them */
#define RANGE(n)	\
	((n) * (variant->direct_map ? PAGES_PER_GIB : PAGES_PER_SECTION))
#define PER_PAGE	(PAGE_SIZE / sizeof(struct page))
/* What a pool has when nothing is live: the page of tails, and the reserve */
#define POOL_PAGES	(1 + RESERVE_NR)

/* Results */

static char test_name[100];
static int test_nr, nr_failures;
static unsigned int seconds = 2, nr_threads = 4;

/* The node that ranges are registered for */
static int range_nid;

#define EXPECT(cond)							\
({									\
	bool __ok = (cond);						\
									\
	if (!__ok && __atomic_fetch_add(&nr_failures, 1, 0) < 20)	\
		printf("# line %d: not so: %s\n", __LINE__, #cond);	\
	__ok;								\
})

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

/* Time */

/* Blocks may be freed with some delay, which is shorter than this. */
#define SOON	2

static void tick(unsigned long nr)
{
	guard(wq)();
	wq_now += nr;
}

static bool soon(void)
{
	struct work_struct *w;

	list_for_each_entry(w, &wq_pending, entry)
		if (w->due <= wq_now + SOON)
			return true;
	return false;
}

/* Let the workers do what is due, or will be soon. */
static void settle(void)
{
	guard(wq)();
	while (wq_running || soon()) {
		if (wq_running || wq_next()) {
			wq_wait();
		} else {
			wq_now++;
			pthread_cond_broadcast(&wq.cond);
		}
	}
}

static void advance(unsigned long nr)
{
	settle();
	tick(nr);
	settle();
}

/* Registering, as memremap_pages() and memunmap_pages() do it */

static void remove_ranges(struct dev_pagemap *pgmap, int nr)
{
	while (nr--) {
		WRITE_ONCE(hotplug_locked, true);
		transient_memmap_remove_range(pgmap, nr);
		WRITE_ONCE(hotplug_locked, false);
	}
	transient_memmap_destroy_pool(pgmap);
}

static void kill_pgmap(struct dev_pagemap *pgmap)
{
	WRITE_ONCE(pgmap->ref.dying, true);
	put_dev_pagemap(pgmap);
	EXPECT(transient_memmap_drain_pool(pgmap, NULL));
}

static void unregister(struct dev_pagemap *pgmap)
{
	kill_pgmap(pgmap);
	if (EXPECT(eventually((tick(1), pgmap_drained(pgmap)))))
		remove_ranges(pgmap, pgmap->nr_range);
}

static struct dev_pagemap *new_pgmap(unsigned long pfn, unsigned long nr)
{
	struct dev_pagemap *pgmap = calloc(1, sizeof(*pgmap));

	pgmap->type = MEMORY_DEVICE_TRANSIENT;
	pgmap->vmemmap_shift = variant->order;
	pgmap->flags = variant->direct_map ? PGMAP_TRANSIENT_DIRECT_MAP : 0;
	atomic_set(&pgmap->ref.count, 1);
	pgmap->nr_range = 1;
	pgmap->ranges[0].start = pfn * PAGE_SIZE;
	pgmap->ranges[0].end = (pfn + nr) * PAGE_SIZE - 1;
	return pgmap;
}

/* The pool's copy takes the place of the pgmap. */
static int register_pgmap(struct dev_pagemap **pgmapp)
{
	struct dev_pagemap *pgmap = transient_memmap_create_pool(*pgmapp, range_nid);
	int i, err = 0;

	free(*pgmapp);
	*pgmapp = pgmap;
	if (IS_ERR(pgmap))
		return PTR_ERR(pgmap);
	EXPECT(transient_memmap_pgmap(pgmap) == pgmap);
	for (i = 0; !err && i < pgmap->nr_range; i++) {
		WRITE_ONCE(hotplug_locked, true);
		err = transient_memmap_add_range(pgmap, i);
		WRITE_ONCE(hotplug_locked, false);
	}
	if (err)
		remove_ranges(pgmap, i - 1);
	return err;
}

/* With nothing kept, unless the test says so; of no fewer pages than it takes */
static struct dev_pagemap *register_range(unsigned long pfn, unsigned long nr)
{
	struct dev_pagemap *pgmap;

	if (variant->direct_map)
		nr = ALIGN(nr, PAGES_PER_GIB);
	pgmap = new_pgmap(pfn, nr);

	if (!EXPECT(!register_pgmap(&pgmap)))
		bail_out();
	transient_memmap_set_cache(pgmap, 0);
	return pgmap;
}

static struct dev_pagemap *register_caching(unsigned long cache)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));

	EXPECT(!transient_memmap_set_cache(pgmap, cache));
	return pgmap;
}

static int refused(unsigned long pfn, unsigned long nr)
{
	struct dev_pagemap *pgmap = new_pgmap(pfn, nr);

	return register_pgmap(&pgmap);
}

/* Pinning */

static unsigned long nth(unsigned long n)
{
	return n * BLOCK_NR;
}

static int try_pin(unsigned long pfn)
{
	struct page *page = transient_memmap_populate(pfn, false);

	EXPECT(IS_ERR(page) || page == pfn_to_page(pfn));
	return PTR_ERR_OR_ZERO(page);
}

/* With IRQs off, which is no place to sleep; might_sleep() knows of RCU. */
static struct page *populate_nowait(unsigned long pfn)
{
	struct page *page;

	guard(rcu)();
	if (!transient_memmap_populate_nowait(pfn))
		return NULL;
	page = transient_memmap_try_get(pfn);
	return IS_ERR(page) ? NULL : page;
}

static struct folio *pin(unsigned long pfn)
{
	if (!EXPECT(!try_pin(pfn)))
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

/* A pin in another thread, which can be made to wait */
struct pinner {
	pthread_t thread;
	unsigned long pfn;
	struct task *task;
	int ret;
	bool done;
};

static void *pinner_thread(void *arg)
{
	struct pinner *pinner = arg;

	__atomic_store_n(&pinner->task, current, __ATOMIC_SEQ_CST);
	pinner->ret = try_pin(pinner->pfn);
	__atomic_store_n(&pinner->done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void pinner_start(struct pinner *pinner, unsigned long pfn)
{
	*pinner = (struct pinner){ .pfn = pfn };
	pthread_create(&pinner->thread, NULL, pinner_thread, pinner);
	while (!__atomic_load_n(&pinner->task, __ATOMIC_SEQ_CST))
		usleep(100);
}

static bool pinner_done(struct pinner *pinner)
{
	return __atomic_load_n(&pinner->done, __ATOMIC_SEQ_CST);
}

static bool pinner_waits(struct pinner *pinner)
{
	usleep(20000);
	return !pinner_done(pinner);
}

static int pinner_join(struct pinner *pinner)
{
	pthread_join(pinner->thread, NULL);
	return pinner->ret;
}

/* Looking */

static struct transient_memmap_stats stats_of(struct dev_pagemap *pgmap)
{
	struct transient_memmap_stats stats;

	EXPECT(!transient_memmap_get_stats(pgmap, &stats));
	return stats;
}

/* Can it be read, or written?  Asks the machine, not the pool. */
static bool accessible(void *p, bool write)
{
	long len = sizeof(long);
	char buf[sizeof(long)];
	int fds[2];
	bool ret;

	if (pipe(fds))
		abort();
	ret = syscall(SYS_write, fds[1], p, len) == len;
	if (ret && write)
		ret = syscall(SYS_read, fds[0], p, len) == len;
	else if (ret)
		ret = read(fds[0], buf, len) == len;
	close(fds[0]);
	close(fds[1]);
	return ret;
}

static bool has_struct_page(unsigned long pfn)
{
	return accessible(pfn_to_page(pfn), false);
}

/* Asks the page table; nobody is about to cut it. */
static bool in_direct_map(unsigned long pfn)
{
	pmd_t *pmd = direct_pmd(pfn);

	return pmd && READ_ONCE(pmd->val);
}

static bool has_direct_table(unsigned long pfn)
{
	guard(mutex)(&table_lock);
	return direct_pmd(pfn);
}

static bool has_table(unsigned long pfn)
{
	guard(mutex)(&table_lock);
	return page_tables[pfn / PAGES_PER_SECTION];
}

static enum transient_block_state state_of(unsigned long pfn)
{
	struct transient_section *sec;

	guard(rcu)();
	sec = rcu_dereference(__pfn_to_section(pfn)->transient);
	return sec ? READ_ONCE(sec->state[transient_slot(pfn)]) : BLOCK_ABSENT;
}

static void expect_absent(unsigned long pfn)
{
	EXPECT(state_of(pfn) == BLOCK_ABSENT);
	EXPECT(!transient_memmap_live(pfn));
	EXPECT(!has_struct_page(pfn));
	EXPECT(!in_direct_map(pfn));
}

static int expected_nid(void)
{
	return range_nid == NUMA_NO_NODE ? numa_mem_id() : range_nid;
}

/* For who holds a reference */
static bool page_is_right(struct dev_pagemap *pgmap, unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);
	struct folio *folio = page_folio(page);

	return in_direct_map(pfn) == variant->direct_map &&
	       folio_pfn(folio) == ALIGN_DOWN(pfn, BLOCK_NR) &&
	       folio->pgmap == pgmap && folio->tail.order == variant->order &&
	       folio_ref_count(folio) > 0 &&
	       page_to_nid(page) == expected_nid() &&
	       page_zonenum(page) == ZONE_DEVICE &&
	       READ_ONCE(page->flags.f) & BIT(PG_reserved) &&
	       atomic_read(&page->_mapcount) == -1;
}

/* Stop the worker in its grace period, until rcu_read_unlock(). */
static void hide(unsigned long pfn)
{
	rcu_read_lock();
	unpin(pfn);
	tick(SOON);
	EXPECT(eventually(state_of(pfn) == BLOCK_HIDDEN));
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
static void pin_gives_folio_of_a_block(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	struct folio *folio = pin(nth(3) + 5);
	unsigned long i;

	EXPECT(folio_ref_count(folio) == 1);
	EXPECT(folio_pfn(folio) == nth(3));
	EXPECT(folio->flags & BIT(PG_head));
	for (i = 0; i < BLOCK_NR; i++) {
		EXPECT(page_is_right(pgmap, nth(3) + i));
		EXPECT(transient_memmap_live(nth(3) + i));
	}
	EXPECT(state_of(nth(3)) == BLOCK_LIVE);
	EXPECT(stats_of(pgmap).block_size == BLOCK_NR * PAGE_SIZE);
	unpin(nth(3));
	unregister(pgmap);
}

/* A large buffer would cost more pages of struct pages than it has blocks. */
static void pages_of_a_block_share_its_folio(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	struct folio *first = pin(0), *last = pin(BLOCK_NR - 1);

	EXPECT(first == last);
	EXPECT(folio_ref_count(first) == 2);
	EXPECT(nr_pages == POOL_PAGES + 1);
	EXPECT(nr_memmap_pages == 1);
	EXPECT(pin(nth(1)) != first);
	EXPECT(nr_pages == POOL_PAGES + 2);
	EXPECT(stats_of(pgmap).live == 2);
	unpin(0);
	unpin(0);
	unpin(nth(1));
	unregister(pgmap);
}

/* Pfn walkers would look at struct pages that are not there. */
static void only_the_pinned_block_has_struct_pages(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));

	expect_absent(nth(1));
	pin(nth(1));
	EXPECT(has_struct_page(nth(1)));
	EXPECT(has_struct_page(nth(2) - 1));
	expect_absent(nth(1) - 1);
	expect_absent(nth(2));
	unpin(nth(1));
	settle();
	expect_absent(nth(1));
	expect_absent(nth(2) - 1);
	unregister(pgmap);
}

/* GUP-fast would sleep, or get a struct page that is not there. */
static void only_live_blocks_are_had_without_populating(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));

	EXPECT(transient_memmap_try_get(1) == ERR_PTR(-ENODATA));
	pin(0);
	EXPECT(transient_memmap_try_get(1) == pfn_to_page(1));
	EXPECT(folio_ref_count(page_folio(pfn_to_page(0))) == 2);
	EXPECT(transient_memmap_try_get(nth(1)) == ERR_PTR(-ENODATA));
	EXPECT(stats_of(pgmap).populated == 1);
	unpin(0);

	hide(0);
	EXPECT(transient_memmap_try_get(0) == ERR_PTR(-ENODATA));
	rcu_read_unlock();
	unregister(pgmap);
}

/* A write to one tail would be a write to the tails of all blocks. */
static void shared_tails_cannot_be_written(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	unsigned long i;

	pin(0);
	for (i = 0; i < BLOCK_NR; i += PER_PAGE)
		EXPECT(accessible(pfn_to_page(i), true) == (i < PER_PAGE));
	/* The private tails are not what others see. */
	pin(nth(1));
	pfn_to_page(1)->index = 0x77;
	EXPECT(pfn_to_page(nth(1) + 1)->index != 0x77);
	unpin(0);
	unpin(nth(1));
	/* Nor what blocks are copied from, if no page is left of one. */
	advance(AGE_PERIOD);
	EXPECT(nr_pages == POOL_PAGES);
	pin(nth(2));
	EXPECT(pfn_to_page(nth(2) + 1)->index != 0x77);
	unpin(nth(2));
	unregister(pgmap);
}

/* Tails that point to their head would point to that of another block. */
static void large_blocks_take_masks(void)
{
	unsigned long shifts[] = { 0, 6, 8, 9, 10, 18 };
	struct dev_pagemap *pgmap;
	int i;

	for (i = 0; i < ARRAY_SIZE(shifts); i++) {
		bool large = has_mask && shifts[i] >= 9;

		pgmap = new_pgmap(0, SECTION(1));
		pgmap->vmemmap_shift = shifts[i];
		pgmap->flags = 0;
		if (!EXPECT(!register_pgmap(&pgmap)))
			continue;
		EXPECT(stats_of(pgmap).block_size ==
		       (large ? SZ_2M : SZ_256K));
		pin(0);
		pin(511);
		EXPECT(stats_of(pgmap).live == (large ? 1 : 2));
		EXPECT(page_folio(pfn_to_page(511)) ==
		       (void *)pfn_to_page(large ? 0 : 448));
		unpin(0);
		unpin(511);
		unregister(pgmap);
	}
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
static void all_memory_is_of_the_ranges_node(void)
{
	int nids[] = { 1, NUMA_NO_NODE, 0 }, i, nid;
	struct dev_pagemap *pgmap;

	for (i = 0; i < ARRAY_SIZE(nids); i++) {
		range_nid = nids[i];
		nid = expected_nid();
		pgmap = register_range(0, SECTION(2));
		EXPECT(pages_on_node(nid) == POOL_PAGES);
		table_nid = NUMA_NO_NODE;
		pin(SECTION(1));
		EXPECT(table_nid == nid);
		EXPECT(pages_on_node(nid) == POOL_PAGES + 1);
		EXPECT(page_is_right(pgmap, SECTION(1)));
		EXPECT(page_is_right(pgmap, SECTION(1) + BLOCK_NR - 1));
		unpin(SECTION(1));
		unregister(pgmap);
	}
	range_nid = 0;
}

/*
 * What the last unpin does
 */

/* The memory saved by having no memmap would be lost pin by pin. */
static void last_unpin_gives_the_memory_back(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	int i;

	for (i = 1; i <= 5; i++) {
		pin(0);
		pin(1);
		unpin(0);
		settle();
		EXPECT(has_struct_page(0));
		EXPECT(nr_pages == POOL_PAGES + 1);
		unpin(1);
		settle();
		expect_absent(0);
		/* It could serve the next block; half a second, and no more. */
		EXPECT(nr_pages == POOL_PAGES + 1);
		EXPECT(nr_memmap_pages == 1);
		if (i % 2)
			continue;
		advance(AGE_PERIOD);
		EXPECT(nr_pages == POOL_PAGES);
		EXPECT(nr_memmap_pages == 0);
		EXPECT(stats_of(pgmap).populated == i);
		EXPECT(stats_of(pgmap).freed == i);
	}
	EXPECT(stats_of(pgmap).live == 0);
	EXPECT(stats_of(pgmap).peak == 1);
	unregister(pgmap);
}

static int try_pin_longterm(unsigned long pfn)
{
	struct page *page = transient_memmap_populate(pfn, true);

	if (!IS_ERR(page))
		folio_put(page_folio(page));
	return PTR_ERR_OR_ZERO(page);
}

/* I/O would bring bad data, or 2 MiB would be lost with a page. */
static void poisoned_page_is_refused_and_neighbours_are_not(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));

	transient_memmap_poison(nth(1));
	EXPECT(try_pin(nth(1)) == -EHWPOISON);
	EXPECT(stats_of(pgmap).populated == 0);
	pin(nth(1) + 1);
	EXPECT(state_of(nth(1)) == BLOCK_LIVE_POISONED);

	pin(0);
	transient_memmap_poison(3);
	EXPECT(state_of(0) == BLOCK_LIVE_POISONED);
	EXPECT(transient_memmap_live(0));
	EXPECT(try_pin(3) == -EHWPOISON);
	EXPECT(transient_memmap_try_get(4) == ERR_PTR(-ENODATA));
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

static int pin_elsewhere(unsigned long pfn)
{
	struct pinner pinner;

	pinner_start(&pinner, pfn);
	return pinner_join(&pinner);
}

static void expect_poisoned_and_live(unsigned long pfn, unsigned long bad)
{
	EXPECT(state_of(pfn) == BLOCK_LIVE_POISONED);
	EXPECT(pin_elsewhere(bad) == -EHWPOISON);
	EXPECT(!pin_elsewhere(bad + 1));
	unpin(bad + 1);
	EXPECT(!transient_memmap_unpoison(bad));
	EXPECT(state_of(pfn) == BLOCK_LIVE);
}

/* I/O would bring bad data if the error came while its block was freed or made. */
static void poison_counts_in_any_state(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	struct pinner pinner;

	/* Hidden, and revived */
	pin(0);
	hide(0);
	poison_elsewhere(3);
	EXPECT(state_of(0) == BLOCK_HIDDEN);
	EXPECT(pin_elsewhere(3) == -EHWPOISON);
	EXPECT(state_of(0) == BLOCK_HIDDEN);
	EXPECT(!pin_elsewhere(2));
	rcu_read_unlock();
	expect_poisoned_and_live(0, 3);
	EXPECT(stats_of(pgmap).populated == 1);

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
	EXPECT(!transient_memmap_set_cap(pgmap, 1));
	settle();
	hide(0);
	pinner_start(&pinner, nth(1) + 2);
	EXPECT(eventually(state_of(nth(1)) == BLOCK_POPULATING));
	poison_elsewhere(nth(1) + 3);
	EXPECT(state_of(nth(1)) == BLOCK_POPULATING);
	rcu_read_unlock();
	EXPECT(!pinner_join(&pinner));
	expect_poisoned_and_live(nth(1), nth(1) + 3);
	unpin(nth(1));
	unregister(pgmap);
}

/* I/O would bring bad data from memory whose error there was no memory to note. */
static void poison_takes_no_failure(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));

	pin(0);
	fail_all = true;
	transient_memmap_poison(3);
	fail_all = false;
	expect_poisoned_and_live(0, 3);
	unpin(0);
	unregister(pgmap);
}

/* Registered buffers would hold what I/O needs, or hold it uncounted. */
static void longterm_pins_have_a_cap(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));

	EXPECT(try_pin_longterm(0) == -EOPNOTSUPP);
	EXPECT(stats_of(pgmap).populated == 0);
	transient_memmap_set_longterm_cap(pgmap, 1);
	pin(0);
	EXPECT(stats_of(pgmap).longterm == 0);
	EXPECT(!try_pin_longterm(0));
	EXPECT(!try_pin_longterm(1));
	EXPECT(stats_of(pgmap).longterm == 1);
	EXPECT(try_pin_longterm(nth(1)) == -ENOMEM);
	unpin(0);
	EXPECT(!try_pin_longterm(nth(1)));
	advance(SOON);
	EXPECT(stats_of(pgmap).longterm == 0);
	EXPECT(stats_of(pgmap).live == 0);
	unregister(pgmap);
}

/* GUP-fast would read the refcount of a struct page that is not mapped. */
static void reader_keeps_struct_pages_mapped(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));

	pin(0);
	rcu_read_lock();
	EXPECT(transient_pfn_live(0));
	unpin(0);
	tick(SOON);
	EXPECT(eventually(state_of(0) != BLOCK_LIVE));
	usleep(20000);
	EXPECT(state_of(0) == BLOCK_HIDDEN);
	if (EXPECT(has_struct_page(0)))
		EXPECT(!folio_try_get(page_folio(pfn_to_page(0))));
	rcu_read_unlock();
	settle();
	expect_absent(0);
	unregister(pgmap);
}

/* As many TLB flushes as blocks would stop all CPUs all the time. */
static void blocks_that_go_together_share_a_flush(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	int i;

	for (i = 0; i <= 30; i++)
		pin(nth(i));
	hide(0);
	for (i = 1; i <= 30; i++)
		unpin(nth(i));
	rcu_read_unlock();
	settle();
	EXPECT(stats_of(pgmap).freed == 31);
	EXPECT(stats_of(pgmap).flushes == 2);
	unregister(pgmap);
}

/*
 * A new pin of a dying block
 */

/* A holder would lose its struct page, or the block would never be freed. */
static void new_pin_revives_a_block_that_waits_for_the_worker(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	struct folio *folio = pin(nth(1));
	struct pinner pinner;

	pin(0);
	hide(0);
	unpin(nth(1));
	EXPECT(state_of(nth(1)) == BLOCK_LIVE);
	EXPECT(transient_memmap_try_get(nth(1)) == ERR_PTR(-ENODATA));
	pinner_start(&pinner, nth(1));
	EXPECT(!pinner_join(&pinner));
	/* One reference is for the link that the worker will get. */
	EXPECT(folio_ref_count(folio) == 2);
	EXPECT(page_is_right(pgmap, nth(1)));
	rcu_read_unlock();
	settle();
	EXPECT(state_of(nth(1)) == BLOCK_LIVE);
	EXPECT(folio_ref_count(folio) == 1);
	EXPECT(stats_of(pgmap).populated == 2);
	EXPECT(stats_of(pgmap).freed == 1);
	unpin(nth(1));
	settle();
	expect_absent(nth(1));
	unregister(pgmap);
}

/* The same, or one I/O after the other would wait for grace periods. */
static void new_pin_revives_a_hidden_block(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	struct pinner pinner;
	struct folio *folio;

	folio = pin(0);
	hide(0);
	pinner_start(&pinner, 1);
	EXPECT(eventually(pinner_done(&pinner)));
	EXPECT(state_of(0) == BLOCK_LIVE);
	/* One reference is for the worker, who has the link. */
	EXPECT(folio_ref_count(folio) == 2);
	EXPECT(page_is_right(pgmap, 1));
	rcu_read_unlock();
	EXPECT(!pinner_join(&pinner));
	settle();
	EXPECT(state_of(0) == BLOCK_LIVE);
	EXPECT(folio_ref_count(folio) == 1);
	EXPECT(stats_of(pgmap).populated == 1);
	EXPECT(stats_of(pgmap).freed == 0);
	unpin(0);
	settle();
	expect_absent(0);
	EXPECT(stats_of(pgmap).freed == 1);
	unregister(pgmap);
}

/* The block would be freed twice, or under its next holder, or not at all. */
static void block_dies_again_while_hidden(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	struct pinner pinner;
	int i;

	pin(0);
	hide(0);
	for (i = 0; i < 3; i++) {
		pinner_start(&pinner, 0);
		EXPECT(!pinner_join(&pinner));
		unpin(0);
	}
	/* Others die meanwhile: the lists must not mix. */
	pinner_start(&pinner, nth(1));
	EXPECT(!pinner_join(&pinner));
	unpin(nth(1));
	rcu_read_unlock();
	settle();
	expect_absent(0);
	expect_absent(nth(1));
	EXPECT(stats_of(pgmap).populated == 2);
	EXPECT(stats_of(pgmap).freed == 2);
	EXPECT(stats_of(pgmap).live == 0);
	unregister(pgmap);
}

/* A block that is used again and again would be made again and again. */
static void revived_block_is_kept(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	struct pinner pinner;

	pin(0);
	hide(0);
	EXPECT(!transient_memmap_set_cache(pgmap, 4));
	pinner_start(&pinner, 0);
	EXPECT(!pinner_join(&pinner));
	rcu_read_unlock();
	settle();
	EXPECT(stats_of(pgmap).cached == 1);
	unpin(0);
	settle();
	EXPECT(state_of(0) == BLOCK_LIVE);
	pin_and_unpin(0);
	EXPECT(stats_of(pgmap).populated == 1);
	unregister(pgmap);
}

/* A CPU would use the last page that was mapped, after it was freed. */
static void pin_waits_for_the_flush(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	struct pinner pinner;

	pin(0);
	unmap(0);
	EXPECT(!has_struct_page(0));
	EXPECT(nr_pages == POOL_PAGES + 1);
	EXPECT(transient_memmap_try_get(0) == ERR_PTR(-ENODATA));
	pinner_start(&pinner, 1);
	EXPECT(pinner_waits(&pinner));
	EXPECT(state_of(0) == BLOCK_UNMAPPED);
	flush_go();
	EXPECT(!pinner_join(&pinner));
	EXPECT(page_is_right(pgmap, 1));
	EXPECT(stats_of(pgmap).populated == 2);
	unpin(1);
	unregister(pgmap);
}

/* Two pins would map a page each, and one of them would be lost. */
static void pins_of_one_block_populate_once(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	struct pinner pinners[4];
	int i;

	EXPECT(!transient_memmap_set_cap(pgmap, 1));
	pin(0);
	hide(0);
	/* One populates, and waits at the cap; the others wait for that. */
	for (i = 0; i < 4; i++)
		pinner_start(&pinners[i], nth(1) + i);
	EXPECT(eventually(state_of(nth(1)) == BLOCK_POPULATING));
	EXPECT(pinner_waits(&pinners[0]));
	EXPECT(transient_memmap_try_get(nth(1)) == ERR_PTR(-ENODATA));
	rcu_read_unlock();
	for (i = 0; i < 4; i++)
		EXPECT(!pinner_join(&pinners[i]));
	EXPECT(folio_ref_count(page_folio(pfn_to_page(nth(1)))) == 4);
	EXPECT(stats_of(pgmap).populated == 2);
	for (i = 0; i < 4; i++)
		unpin(nth(1));
	unregister(pgmap);
}

/* Those who wait for a pin that fails would wait for good. */
static void failed_pin_wakes_those_who_wait(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	struct pinner pinners[4];
	int i;

	EXPECT(!transient_memmap_set_cap(pgmap, 1));
	pin(0);
	hide(0);
	for (i = 0; i < 4; i++)
		pinner_start(&pinners[i], nth(1) + i);
	EXPECT(pinner_waits(&pinners[0]));
	EXPECT(!transient_memmap_set_cap(pgmap, 0));
	rcu_read_unlock();
	for (i = 0; i < 4; i++)
		EXPECT(pinner_join(&pinners[i]) == -ENOMEM);
	settle();
	expect_absent(nth(1));
	EXPECT(stats_of(pgmap).failed == 4);
	EXPECT(stats_of(pgmap).live == 0);
	unregister(pgmap);
}

/* A process could not be killed, nor a device be unbound from it. */
static void fatal_signal_ends_the_wait(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	struct pinner pinner, populates, waits;

	/* For the flush, */
	pin(0);
	unmap(0);
	pinner_start(&pinner, 0);
	EXPECT(pinner_waits(&pinner));
	WRITE_ONCE(pinner.task->killed, true);
	EXPECT(pinner_join(&pinner) == -EINTR);
	flush_go();
	settle();

	/* for another's populating, and at the cap. */
	EXPECT(!transient_memmap_set_cap(pgmap, 1));
	pin(0);
	hide(0);
	pinner_start(&populates, nth(1));
	EXPECT(eventually(state_of(nth(1)) == BLOCK_POPULATING));
	pinner_start(&waits, nth(1));
	EXPECT(pinner_waits(&waits));
	WRITE_ONCE(waits.task->killed, true);
	EXPECT(pinner_join(&waits) == -EINTR);
	EXPECT(!transient_memmap_set_cap(pgmap, 0));
	WRITE_ONCE(populates.task->killed, true);
	rcu_read_unlock();
	EXPECT(pinner_join(&populates) == -EINTR);
	expect_absent(nth(1));
	EXPECT(stats_of(pgmap).failed == 0);
	unregister(pgmap);
}

/*
 * The cap
 */

/* A guest could take all of the host's memory by I/O. */
static void cap_limits_live_blocks(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	int i;

	EXPECT(!transient_memmap_set_cap(pgmap, 3));
	for (i = 0; i < 3; i++)
		pin(nth(i));
	EXPECT(try_pin(nth(3)) == -ENOMEM);
	expect_absent(nth(3));
	pin(nth(1));
	EXPECT(stats_of(pgmap).failed == 1);
	EXPECT(stats_of(pgmap).peak == 3);
	/* Below what is live: no new ones until there is room. */
	EXPECT(!transient_memmap_set_cap(pgmap, 2));
	unpin(nth(0));
	settle();
	EXPECT(try_pin(nth(3)) == -ENOMEM);
	unpin(nth(2));
	settle();
	pin(nth(3));
	unpin(nth(3));
	unpin(nth(1));
	unpin(nth(1));
	unregister(pgmap);
}

/*
 * A host whose operator has set nothing would lose its memory to a hostile guest,
 * or have pins that stay for ever.
 */
static void defaults_are_bounded(void)
{
	unsigned long ram[] = { BIT(16), 1024, 63, 0 };
	unsigned long caps[] = { 1024, 16, 1, 1 };
	struct dev_pagemap *pgmap;
	int i;

	for (i = 0; i < ARRAY_SIZE(ram); i++) {
		nr_totalram = ram[i];
		pgmap = new_pgmap(0, RANGE(1));
		if (!EXPECT(!register_pgmap(&pgmap)))
			continue;
		EXPECT(stats_of(pgmap).cap == caps[i]);
		EXPECT(stats_of(pgmap).cache == caps[i] / 2);
		EXPECT(stats_of(pgmap).longterm_cap == 0);
		unregister(pgmap);
	}
	nr_totalram = BIT(16);
}

/* A guest at its limit would make the I/O of all others fail. */
static void limits_of_one_pool_leave_the_other(void)
{
	struct dev_pagemap *full = register_range(0, RANGE(1));
	struct dev_pagemap *other = register_range(RANGE(1), RANGE(1));
	unsigned long pfn = RANGE(1);
	int i;

	EXPECT(!transient_memmap_set_cap(full, 2));
	pin(nth(0));
	pin(nth(1));
	for (i = 0; i < 4; i++) {
		EXPECT(try_pin(nth(2)) == -ENOMEM);
		pin(pfn + nth(i));
	}
	EXPECT(stats_of(full).live == 2 && stats_of(full).failed == 4);
	EXPECT(stats_of(other).live == 4 && stats_of(other).failed == 0);

	/* The same without memory: each has its reserve. */
	EXPECT(!transient_memmap_set_cap(full, ULONG_MAX));
	fail_all = true;
	for (i = 0; i < RESERVE_NR; i++)
		pin(nth(2 + i));
	EXPECT(try_pin(nth(2 + i)) == -ENOMEM);
	for (i = 0; i < RESERVE_NR; i++)
		pin(pfn + nth(4 + i));
	EXPECT(stats_of(other).failed == 0);
	fail_all = false;

	for (i = 0; i < 2 + RESERVE_NR; i++)
		unpin(nth(i));
	for (i = 0; i < 4 + RESERVE_NR; i++)
		unpin(pfn + nth(i));
	unregister(full);
	unregister(other);
}

/* The operator could not stop a device from using memory. */
static void cap_of_zero_refuses_pins(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));

	pin(0);
	EXPECT(!transient_memmap_set_cap(pgmap, 0));
	EXPECT(try_pin(nth(1)) == -ENOMEM);
	pin(0);
	unpin(0);
	unpin(0);
	settle();
	EXPECT(try_pin(0) == -ENOMEM);
	EXPECT(!transient_memmap_set_cap(pgmap, ULONG_MAX));
	pin_and_unpin(0);
	unregister(pgmap);
}

/* Pins would fail for blocks that nobody uses. */
static void pin_at_the_cap_takes_idle_blocks(void)
{
	struct dev_pagemap *pgmap = register_caching(100);
	int i;

	EXPECT(!transient_memmap_set_cap(pgmap, 4));
	for (i = 0; i < 20; i++)
		use(nth(i));
	EXPECT(stats_of(pgmap).failed == 0);
	EXPECT(stats_of(pgmap).peak == 4);
	for (i = 0; i < 4; i++)
		pin(nth(i));
	EXPECT(try_pin(nth(4)) == -ENOMEM);
	for (i = 0; i < 4; i++)
		EXPECT(page_is_right(pgmap, nth(i)));
	for (i = 0; i < 4; i++)
		unpin(nth(i));
	unregister(pgmap);
}

/* Pins would fail for blocks that are about to go. */
static void pin_at_the_cap_waits_for_a_dying_block(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	struct pinner pinner;

	EXPECT(!transient_memmap_set_cap(pgmap, 1));
	pin(0);
	hide(0);
	pinner_start(&pinner, nth(1));
	EXPECT(pinner_waits(&pinner));
	rcu_read_unlock();
	EXPECT(!pinner_join(&pinner));
	EXPECT(stats_of(pgmap).failed == 0);
	unpin(nth(1));
	unregister(pgmap);
}

/*
 * What is kept
 */

/* Each I/O to the same buffer would make its struct pages anew. */
static void kept_block_serves_the_next_pin(void)
{
	struct dev_pagemap *pgmap = register_caching(4);
	int i;

	for (i = 0; i < 10; i++)
		pin_and_unpin(i);
	settle();
	EXPECT(transient_memmap_try_get(0) == pfn_to_page(0));
	EXPECT(folio_ref_count(page_folio(pfn_to_page(0))) == 2);
	unpin(0);
	EXPECT(stats_of(pgmap).populated == 1);
	EXPECT(stats_of(pgmap).cached == 1);
	unregister(pgmap);
}

/* Memory saved by having no memmap would be lost to guests that are idle. */
static void idle_pool_empties_itself(void)
{
	struct dev_pagemap *pgmap = register_caching(100);
	int i;

	for (i = 0; i < 20; i++)
		use(nth(i));
	EXPECT(stats_of(pgmap).cached == 20);
	advance(AGE_PERIOD);
	EXPECT(stats_of(pgmap).cached == 20);
	advance(AGE_PERIOD);
	EXPECT(stats_of(pgmap).cached == 0);
	EXPECT(stats_of(pgmap).live == 0);
	advance(AGE_PERIOD);
	EXPECT(nr_pages == POOL_PAGES);

	/* And again, from nothing */
	pin_and_unpin(0);
	advance(AGE_PERIOD);
	expect_absent(0);
	unregister(pgmap);
}

/* A busy guest would pay for struct pages twice a second. */
static void block_in_use_does_not_age(void)
{
	struct dev_pagemap *pgmap = register_caching(100);
	int i;

	pin(nth(1));
	for (i = 0; i < 10; i++) {
		use(0);
		advance(AGE_PERIOD);
	}
	EXPECT(stats_of(pgmap).populated == 2);
	EXPECT(stats_of(pgmap).cached == 2);
	unpin(nth(1));
	advance(AGE_PERIOD);
	advance(AGE_PERIOD);
	EXPECT(stats_of(pgmap).live == 0);
	unregister(pgmap);
}

/* One pass over a large buffer would throw out what is used all the time. */
static void referenced_block_gets_a_second_chance(void)
{
	struct dev_pagemap *pgmap = register_caching(2);

	use(nth(0));
	pin_and_unpin(nth(1));
	pin_and_unpin(nth(2));
	settle();
	EXPECT(state_of(nth(0)) == BLOCK_LIVE);
	expect_absent(nth(1));
	EXPECT(state_of(nth(2)) == BLOCK_LIVE);
	unregister(pgmap);
}

/* The operator's limit on what idle memory costs would not be one. */
static void cache_limits_kept_blocks(void)
{
	struct dev_pagemap *pgmap = register_caching(3);
	int i;

	for (i = 0; i < 20; i++) {
		pin_and_unpin(nth(i));
		EXPECT(stats_of(pgmap).cached <= 3);
	}
	settle();
	EXPECT(stats_of(pgmap).cached > 0);
	EXPECT(stats_of(pgmap).live == stats_of(pgmap).cached);
	EXPECT(!transient_memmap_set_cache(pgmap, 1));
	settle();
	EXPECT(stats_of(pgmap).live == 1);

	/* Of 0: what is pinned goes with its last pin. */
	pin(0);
	EXPECT(!transient_memmap_set_cache(pgmap, 0));
	settle();
	EXPECT(stats_of(pgmap).live == 1);
	EXPECT(page_is_right(pgmap, 0));
	EXPECT(folio_ref_count(page_folio(pfn_to_page(0))) == 1);
	unpin(0);
	settle();
	expect_absent(0);
	unregister(pgmap);
}

/* What lies on another node than it should would be kept for good. */
static void kept_blocks_of_all_nodes_are_dropped(void)
{
	struct dev_pagemap *pgmap = register_caching(100);
	int i;

	for (i = 0; i < 10; i++) {
		ram_nid = i % 2;
		pin_and_unpin(nth(i));
	}
	ram_nid = NUMA_NO_NODE;
	EXPECT(!transient_memmap_set_cache(pgmap, 7));
	EXPECT(stats_of(pgmap).cached == 7);
	advance(AGE_PERIOD);
	EXPECT(stats_of(pgmap).cached == 0);
	for (i = 0; i < 10; i++) {
		ram_nid = i % 2;
		pin_and_unpin(nth(i));
	}
	ram_nid = NUMA_NO_NODE;
	EXPECT(!transient_memmap_set_cache(pgmap, 0));
	settle();
	EXPECT(stats_of(pgmap).live == 0);
	unregister(pgmap);
}

/* Asks the pool's shrinker for blocks, as reclaim does */
static unsigned long shrink(struct dev_pagemap *pgmap, int nid, unsigned long nr)
{
	struct shrinker *s = pgmap->transient_pool->shrinker;
	struct shrink_control sc = { .nid = nid };

	sc.nr_to_scan = min(nr, s->count_objects(s, &sc));
	return s->scan_objects(s, &sc);
}

/* The OOM killer would come while the pool keeps what nobody uses. */
static void shrinker_takes_what_is_cold(void)
{
	struct dev_pagemap *pgmap = register_caching(100);
	int i;

	EXPECT(shrink(pgmap, 0, 100) == 0);
	for (i = 0; i < 10; i++)
		pin_and_unpin(nth(i));
	use(nth(8));
	pin(nth(9));
	EXPECT(shrink(pgmap, 0, 4) == 4);
	EXPECT(shrink(pgmap, 0, 100) == 4);
	settle();
	EXPECT(state_of(nth(8)) == BLOCK_LIVE);
	EXPECT(page_is_right(pgmap, nth(9)));
	/* What these eight have left, and then the one that was used. */
	EXPECT(nr_pages == POOL_PAGES + 10);
	EXPECT(shrink(pgmap, 0, 100) == 8);
	EXPECT(nr_pages == POOL_PAGES + 2);
	EXPECT(shrink(pgmap, 0, 100) == 1);
	settle();
	EXPECT(stats_of(pgmap).live == 1);
	unpin(nth(9));
	unregister(pgmap);
}

/* A node would be out of memory, and the pool give up what it keeps on others. */
static void shrinker_takes_from_the_node_that_asks(void)
{
	struct dev_pagemap *pgmap = register_caching(100);
	int i;

	for (i = 0; i < 20; i++) {
		ram_nid = i % 2;
		pin_and_unpin(nth(i));
	}
	ram_nid = NUMA_NO_NODE;
	use(nth(7));
	EXPECT(shrink(pgmap, 1, 3) == 3);
	EXPECT(shrink(pgmap, 1, 100) == 6);
	EXPECT(stats_of(pgmap).cached == 11);
	settle();
	for (i = 0; i < 20; i++)
		EXPECT(state_of(nth(i)) ==
		       (i % 2 && i != 7 ? BLOCK_ABSENT : BLOCK_LIVE));
	EXPECT(shrink(pgmap, 1, 100) == 9);
	EXPECT(shrink(pgmap, 1, 100) == 1);
	EXPECT(shrink(pgmap, 1, 100) == 0);
	EXPECT(shrink(pgmap, 0, 100) == 10);
	settle();
	EXPECT(stats_of(pgmap).live == 0);
	unregister(pgmap);
}

/*
 * Without memory
 */

/* I/O that has to be done for memory to become free would fail. */
static void pin_without_memory_takes_the_reserve(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(1));
	int i, round;

	pin(nth(20));
	for (round = 0; round < 3; round++) {
		fail_all = true;
		for (i = 0; i < RESERVE_NR; i++)
			pin(nth(i));
		EXPECT(try_pin(nth(i)) == -ENOMEM);
		expect_absent(nth(i));
		EXPECT(stats_of(pgmap).live == RESERVE_NR + 1);
		for (i = 0; i < RESERVE_NR; i++)
			unpin(nth(i));
		settle();
		fail_all = false;
	}
	EXPECT(stats_of(pgmap).failed == 3);
	unpin(nth(20));
	unregister(pgmap);
}

/* I/O into memory that nobody used lately would fail. */
static void first_pin_of_a_section_takes_the_reserve(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(8));
	int i, round;

	for (round = 0; round < 3; round++) {
		EXPECT(!has_table(SECTION(1)) && !has_table(SECTION(2)));
		fail_all = true;
		for (i = 1; i <= SECTION_RESERVE_NR; i++)
			pin(SECTION(i));
		EXPECT(try_pin(SECTION(i)) == -ENOMEM);
		EXPECT(!has_table(SECTION(i)));
		/* What there is serves the rest, each section by a page more. */
		for (i = 0; i < RESERVE_NR - 2 * SECTION_RESERVE_NR; i++)
			pin(SECTION(1) + nth(1 + i));
		EXPECT(try_pin(SECTION(2) + nth(1)) == -ENOMEM);
		fail_all = false;
		EXPECT(page_is_right(pgmap, SECTION(1)));
		EXPECT(page_is_right(pgmap, SECTION(2)));

		unpin(SECTION(2));
		for (i = 0; i <= RESERVE_NR - 2 * SECTION_RESERVE_NR; i++)
			unpin(SECTION(1) + nth(i));
		advance(2 * REAP_DELAY);
		/* The pages that became page tables come back with other blocks. */
		for (i = 0; i < SECTION_RESERVE_NR; i++)
			pin(nth(i));
		for (i = 0; i < SECTION_RESERVE_NR; i++)
			unpin(nth(i));
		settle();
		EXPECT(nr_pages == POOL_PAGES);
	}
	EXPECT(stats_of(pgmap).failed == 6);
	unregister(pgmap);
}

/* Takes what there is but for memory; returns how many blocks are live then. */
static int empty_reserves(void)
{
	int i;

	fail_all = true;
	for (i = 0; i < SECTION_RESERVE_NR; i++)
		pin(SECTION(7 - i));
	for (i = 0; i < RESERVE_NR - 2 * SECTION_RESERVE_NR; i++)
		pin(nth(i));
	fail_all = false;
	return RESERVE_NR - SECTION_RESERVE_NR;
}

static void unpin_reserves(void)
{
	int i;

	for (i = 0; i < SECTION_RESERVE_NR; i++)
		unpin(SECTION(7 - i));
	for (i = 0; i < RESERVE_NR - 2 * SECTION_RESERVE_NR; i++)
		unpin(nth(i));
}

/* A pin that fails would leave a block that can never be pinned, or memory. */
static void pin_unwinds_each_failed_allocation(void)
{
	struct dev_pagemap *pgmap = register_range(0, RANGE(8));
	/* Page, section, its page table, and the direct map's */
	int n = 0, err, nr = 3 + variant->direct_map;
	int live = empty_reserves();
	unsigned long pfn;

	do {
		fail_nth = ++n;
		/* Each time where there is nothing yet */
		pfn = RANGE(n);
		err = try_pin(pfn);
		fail_nth = 0;
		EXPECT(!err || err == -ENOMEM);
		EXPECT(stats_of(pgmap).live == live + !err);
		advance(REAP_DELAY);
		EXPECT(has_table(pfn) == !err);
	} while (err && n < 5);
	EXPECT(n == nr + 1);
	EXPECT(stats_of(pgmap).failed == nr);
	EXPECT(page_is_right(pgmap, pfn));
	unpin(pfn);
	unpin_reserves();
	unregister(pgmap);
}

/*
 * GUP-fast would sleep with IRQs off, as might_sleep() would tell; or take what is
 * for those who have waited.
 */
static void pin_with_irqs_off_does_not_wait(void)
{
	struct dev_pagemap *pgmap = register_range(0, RANGE(1));

	/* No section yet */
	EXPECT(!populate_nowait(SECTION(1)));
	EXPECT(stats_of(pgmap).live == 0);

	/* No memory, and there is a reserve */
	WRITE_ONCE(fail_all, true);
	EXPECT(!populate_nowait(0));
	WRITE_ONCE(fail_all, false);
	EXPECT(stats_of(pgmap).live == 0);

	EXPECT(populate_nowait(1) == pfn_to_page(1));
	EXPECT(page_is_right(pgmap, 1));
	EXPECT(stats_of(pgmap).populated == 1);

	/* At the cap, and one block is idle */
	transient_memmap_set_cache(pgmap, 1);
	pin_and_unpin(nth(1));
	transient_memmap_set_cap(pgmap, 2);
	EXPECT(!populate_nowait(nth(2)));
	EXPECT(stats_of(pgmap).cached == 1);
	EXPECT(stats_of(pgmap).failed == 0);

	unpin(0);
	EXPECT(populate_nowait(0) == pfn_to_page(0));
	unpin(0);
	unregister(pgmap);
}

/* A device that failed to bind could not be bound again before a reboot. */
static void registration_unwinds_each_failed_allocation(void)
{
	struct dev_pagemap *pgmap;
	int n = 0, err, covered = 0;
	bool failed;

	do {
		pgmap = new_pgmap(RANGE(1), RANGE(1));
		pgmap->nr_range = 2;
		pgmap->ranges[1].start = RANGE(3) * PAGE_SIZE;
		pgmap->ranges[1].end = RANGE(4) * PAGE_SIZE - 1;
		fail_nth = ++n;
		err = register_pgmap(&pgmap);
		failed = !fail_nth;
		fail_nth = 0;
		if (err) {
			EXPECT(err == -ENOMEM);
			EXPECT(nr_objects == 0 && nr_pages == 0);
			EXPECT(try_pin(RANGE(1)) == -EFAULT);
			EXPECT(!has_table(RANGE(1)));
			EXPECT(!has_table(RANGE(3)));
			continue;
		}
		covered += failed;
		pin_and_unpin(RANGE(1));
		pin_and_unpin(RANGE(4) - 1);
		unregister(pgmap);
	} while (failed && n < 50);
	EXPECT(!failed && n > 10);
	/* The sections, by their reserve */
	EXPECT(covered == 2);
}

/*
 * Ranges and their page tables
 */

/* A device that was busy once would cost page tables until it is unbound. */
static void page_tables_go_with_the_last_block(void)
{
	struct dev_pagemap *pgmap = register_range(0, SECTION(3));
	unsigned long pfn = SECTION(2);
	int i;

	for (i = 0; i < 3; i++) {
		EXPECT(!has_table(pfn));
		pin(pfn);
		pin(pfn + BLOCK_NR);
		unpin(pfn);
		advance(2 * REAP_DELAY);
		EXPECT(page_is_right(pgmap, pfn + BLOCK_NR));
		unpin(pfn + BLOCK_NR);
		settle();
		EXPECT(has_table(pfn));
		/* Wanted again soon: the same */
		pin_and_unpin(pfn);
		advance(2 * REAP_DELAY);
		EXPECT(!has_table(pfn));
		EXPECT(!mem_sections[2].transient);
	}
	/* Who keeps the upper tables stays. */
	EXPECT(has_table(0));
	unregister(pgmap);
	EXPECT(!has_table(0));
}

/* The far end of a terabyte could not be pinned, or registering cost memory. */
static void large_range_works_at_both_ends(void)
{
	unsigned long nr = SECTION(NR_SECTIONS), middle = nr / 2;
	unsigned long pfns[] = { 0, middle - 1, middle, nr - 1 };
	struct dev_pagemap *pgmap = register_range(0, nr);
	int i;

	/*
	 * Pool, its pgmap, shrinker, and two anchors with a table, or four with
	 * one of the direct map besides
	 */
	EXPECT(nr_objects == (variant->direct_map ? 15 : 7));
	for (i = 0; i < 4; i++)
		pin(pfns[i]);
	for (i = 0; i < 4; i++)
		EXPECT(page_is_right(pgmap, pfns[i]));
	for (i = 0; i < 4; i++)
		unpin(pfns[i]);
	advance(2 * REAP_DELAY);
	EXPECT(nr_objects == (variant->direct_map ? 15 : 7));
	unregister(pgmap);
}

/* One device's unbind would take the page tables of another's struct pages. */
static void pools_share_a_section(void)
{
	unsigned long half = PAGES_PER_SECTION / 2, pfns[] = { 0, half };
	struct dev_pagemap *pgmaps[2];
	int i;

	/* Whichever of the two goes first */
	for (i = 0; i < 2; i++) {
		pgmaps[0] = register_range(0, half);
		pgmaps[1] = register_range(half, SECTION(1));
		pin(0);
		pin(half);
		EXPECT(stats_of(pgmaps[0]).live == 1);
		EXPECT(page_is_right(pgmaps[0], 0));
		EXPECT(page_is_right(pgmaps[1], half));
		unpin(pfns[i]);
		unregister(pgmaps[i]);
		EXPECT(try_pin(pfns[i]) == -EFAULT);
		expect_absent(pfns[i]);
		EXPECT(page_is_right(pgmaps[!i], pfns[!i]));
		pin_and_unpin(pfns[!i] + BLOCK_NR);
		advance(2 * REAP_DELAY);
		EXPECT(page_is_right(pgmaps[!i], pfns[!i]));
		unpin(pfns[!i]);
		advance(2 * REAP_DELAY);
		pin_and_unpin(pfns[!i]);
		unregister(pgmaps[!i]);
		EXPECT(!has_table(0) && !has_table(SECTION(1)));
	}
}

/* Two owners would free each other's struct pages; RAM would lose its own. */
static void range_of_another_is_refused(void)
{
	struct dev_pagemap *pgmap = register_range(SECTION(2), SECTION(1));
	const unsigned long sub = PAGES_PER_SUBSECTION;
	const u64 start = SECTION(2) * PAGE_SIZE;

	EXPECT(refused(SECTION(2), SECTION(1)) == -EBUSY);
	EXPECT(refused(SECTION(1), SECTION(3)) == -EBUSY);
	EXPECT(refused(SECTION(3) - sub, SECTION(1)) == -EBUSY);
	EXPECT(refused(SECTION(1), sub + 1) == -EINVAL);
	EXPECT(refused(SECTION(1), 0) == -EINVAL);
	EXPECT(transient_memmap_owns_section(start, PAGE_SIZE));
	EXPECT(!transient_memmap_owns_section(0, start));
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

/* GUP would make struct pages for MMIO, or settings of others would oops. */
static void others_are_left_alone(void)
{
	struct dev_pagemap *pgmap = register_range(RANGE(1), RANGE(1));
	struct dev_pagemap other = { .type = MEMORY_DEVICE_GENERIC };
	struct transient_memmap_stats stats;
	unsigned long pfns[] = { 0, RANGE(1) - 1, RANGE(2), SECTION(5000) };
	int i;

	for (i = 0; i < 4; i++) {
		EXPECT(transient_memmap_try_get(pfns[i]) == ERR_PTR(-EFAULT));
		EXPECT(try_pin(pfns[i]) == -EFAULT);
		EXPECT(!transient_memmap_live(pfns[i]));
		EXPECT(!transient_memmap_owns(pfns[i]));
	}
	EXPECT(transient_memmap_owns(RANGE(1)));
	EXPECT(transient_memmap_owns(RANGE(2) - 1));
	EXPECT(transient_memmap_set_cap(&other, 1) == -EOPNOTSUPP);
	EXPECT(transient_memmap_set_cache(&other, 1) == -EOPNOTSUPP);
	EXPECT(transient_memmap_get_stats(&other, &stats) == -EOPNOTSUPP);
	EXPECT(transient_memmap_enabled());
	unregister(pgmap);
	EXPECT(!transient_memmap_enabled());
}

/*
 * The direct map
 */

/* A stray read would see memory of a guest, or I/O would fault. */
static void direct_map_has_pinned_blocks_only(void)
{
	struct dev_pagemap *pgmap = register_range(0, RANGE(2));
	unsigned long pfn = RANGE(1) + nth(3), far = pfn + SECTION(1);
	int i;

	for (i = 0; i < 3; i++) {
		EXPECT(!has_direct_table(pfn));
		pin(pfn);
		EXPECT(in_direct_map(pfn) && in_direct_map(pfn + BLOCK_NR - 1));
		EXPECT(!in_direct_map(pfn - 1));
		EXPECT(!in_direct_map(pfn + BLOCK_NR));
		EXPECT(!in_direct_map(nth(3)));

		/* Another section, and thus the same page table */
		pin(far);
		unpin(pfn);
		advance(2 * REAP_DELAY);
		EXPECT(!has_table(pfn));
		EXPECT(!in_direct_map(pfn));
		EXPECT(in_direct_map(far));
		unpin(far);
		settle();
		EXPECT(!in_direct_map(far));
		EXPECT(has_direct_table(pfn));
		advance(2 * REAP_DELAY);
		EXPECT(!has_direct_table(pfn));
	}
	unregister(pgmap);
	EXPECT(!has_direct_table(0));
}

/* As long as struct pages can be had or seen, so can the memory. */
static void direct_map_goes_with_the_struct_pages(void)
{
	struct dev_pagemap *pgmap = register_range(0, RANGE(1));

	pin(0);
	hide(0);
	EXPECT(has_struct_page(0));
	EXPECT(in_direct_map(0));
	rcu_read_unlock();
	settle();
	pin(0);
	unmap(0);
	EXPECT(!has_struct_page(0));
	EXPECT(!in_direct_map(0));
	EXPECT(READ_ONCE(direct_tlb[0]));
	flush_go();
	settle();
	EXPECT(!READ_ONCE(direct_tlb[0]));
	EXPECT(stats_of(pgmap).flushes == 2);
	unregister(pgmap);
}

/* The page table of somebody else's memory would be freed. */
static void direct_map_wants_whole_page_tables(void)
{
	struct dev_pagemap *pgmap;

	EXPECT(refused(0, SECTION(1)) == -EINVAL);
	EXPECT(refused(SECTION(1), RANGE(1)) == -EINVAL);
	EXPECT(refused(SECTION(1), RANGE(1) - SECTION(1)) == -EINVAL);
	/* Small blocks would take more tables, of PTEs. */
	pgmap = new_pgmap(0, RANGE(1));
	pgmap->vmemmap_shift = 6;
	EXPECT(register_pgmap(&pgmap) == -EINVAL);
	EXPECT(try_pin(0) == -EFAULT);
	unregister(register_range(0, RANGE(1)));
}

/* Who changes attributes of pages would meet entries that come and go. */
static void direct_map_has_an_owner(void)
{
	struct dev_pagemap *pgmap = register_range(RANGE(1), RANGE(1));

	EXPECT(transient_direct_map_owns(RANGE(1)) == variant->direct_map);
	EXPECT(transient_direct_map_owns(RANGE(2) - 1) == variant->direct_map);
	EXPECT(!transient_direct_map_owns(RANGE(1) - 1));
	EXPECT(!transient_direct_map_owns(RANGE(2)));
	unregister(pgmap);
	EXPECT(!transient_direct_map_owns(RANGE(1)));
}

/* Unbinding would hang until the cache has aged, or for good. */
static void unregister_drops_kept_blocks(void)
{
	struct dev_pagemap *pgmap = register_caching(100);
	int i;

	for (i = 0; i < 20; i++)
		use(nth(i));
	EXPECT(stats_of(pgmap).cached == 20);
	kill_pgmap(pgmap);
	EXPECT(stats_of(pgmap).cached == 0);
	settle();
	if (EXPECT(pgmap_drained(pgmap)))
		remove_ranges(pgmap, 1);
	for (i = 0; i < 20; i++)
		expect_absent(nth(i));
}

/* I/O would go to memory whose device has gone. */
static void unregister_waits_for_pins_and_refuses_new(void)
{
	struct dev_pagemap *pgmap = register_caching(4);

	pin(0);
	kill_pgmap(pgmap);
	usleep(20000);
	EXPECT(!pgmap_drained(pgmap));
	EXPECT(try_pin(nth(1)) == -EFAULT);
	EXPECT(try_pin(0) == -EFAULT);
	EXPECT(page_is_right(pgmap, 0));
	unpin(0);
	settle();
	if (EXPECT(pgmap_drained(pgmap)))
		remove_ranges(pgmap, 1);
}

static bool released;

static void release(struct dev_pagemap *pgmap)
{
	remove_ranges(pgmap, pgmap->nr_range);
	__atomic_store_n(&released, true, __ATOMIC_SEQ_CST);
}

static bool was_released(void)
{
	return __atomic_load_n(&released, __ATOMIC_SEQ_CST);
}

/* Who unbinds a device could not be killed, or I/O would go to somebody else. */
static void killed_unregister_is_ended_when_the_last_pin_goes(void)
{
	struct dev_pagemap *pgmap = register_caching(4);

	released = false;
	pin(0);
	use(nth(1));
	WRITE_ONCE(pgmap->ref.dying, true);
	put_dev_pagemap(pgmap);
	WRITE_ONCE(current->killed, true);
	EXPECT(!transient_memmap_drain_pool(pgmap, release));
	WRITE_ONCE(current->killed, false);

	usleep(20000);
	settle();
	EXPECT(!was_released());
	EXPECT(stats_of(pgmap).live == 1);
	EXPECT(page_is_right(pgmap, 0));
	EXPECT(try_pin(nth(1)) == -EFAULT);
	/* Until it is done, the range is nobody else's. */
	EXPECT(refused(0, RANGE(1)) == -EBUSY);
	EXPECT(page_is_right(pgmap, 0));

	unpin(0);
	EXPECT(eventually((tick(1), was_released())));
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
	(variant->direct_map ? RANGE(1) : SECTION(1) + SECTION(1) / 2)

/* Where the pools meet, and where sections do */
static unsigned long stress_pfn(unsigned int *seed)
{
	unsigned long borders[] = { SECTION(1), STRESS_BORDER };
	unsigned long n = rand_r(seed) % (STRESS_BLOCKS / 2);

	return borders[rand_r(seed) % 2] + n * BLOCK_NR -
	       STRESS_BLOCKS / 4 * BLOCK_NR + rand_r(seed) % BLOCK_NR;
}

static struct page *stress_pin(unsigned long pfn, bool nowait)
{
	struct page *page;

	/* A provider that leaves unmaps its memory first. */
	if (!READ_ONCE(stress.pgmaps[pfn >= STRESS_BORDER]))
		return NULL;
	page = transient_memmap_try_get(pfn);
	if (!IS_ERR(page)) {
		__atomic_add_fetch(&stress.hits, 1, 0);
	} else {
		EXPECT(PTR_ERR(page) == -ENODATA || PTR_ERR(page) == -EFAULT);
		page = nowait ? populate_nowait(pfn) : NULL;
		if (!page)
			page = transient_memmap_populate(pfn, false);
	}
	if (IS_ERR(page)) {
		EXPECT(PTR_ERR(page) == -ENOMEM || PTR_ERR(page) == -EFAULT);
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
			held[i] = stress_pin(stress_pfn(&seed),
					     rand_r(&seed) % 2);
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

	switch (rand_r(seed) % 9) {
	case 0:
		transient_memmap_set_cap(pgmap, n);
		break;
	case 1:
		transient_memmap_set_cap(pgmap, ULONG_MAX);
		break;
	case 2:
		transient_memmap_set_cache(pgmap, n);
		break;
	case 3:
		transient_memmap_set_cache(pgmap, 0);
		break;
	case 4:
		shrink(pgmap, n % NR_NODES, n);
		break;
	case 5:
		WRITE_ONCE(fail_nth, n);
		break;
	case 6:
		tick(AGE_PERIOD);
		break;
	case 7:
		tick(2 * REAP_DELAY);
		break;
	case 8:
		WRITE_ONCE(ram_nid, n % 2 ? NUMA_NO_NODE : n / 2 % NR_NODES);
		break;
	}
	EXPECT(stats_of(pgmap).live <= STRESS_BLOCKS);
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
		err = register_pgmap(&pgmap);
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
	stress.populated += stats_of(pgmap).populated;
	kill_pgmap(pgmap);
	/* A pin may have kept a block just after that, which has to age. */
	if (EXPECT(eventually((tick(1), pgmap_drained(pgmap)))))
		remove_ranges(pgmap, pgmap->nr_range);
}

/* Under load, what is in use would be freed, or what is not in use be kept. */
static void pins_race_with_all_else(void)
{
	pthread_t threads[nr_threads + 1];
	time_t end = time(NULL) + seconds;
	int i, rounds = 0;

	stress.pins = 0;
	stress.hits = 0;
	stress.refused = 0;
	stress.populated = 0;
	stress.stop = false;
	stress_register(0);
	stress_register(1);
	for (i = 0; i <= nr_threads; i++)
		pthread_create(&threads[i], NULL,
			       i ? stress_pinner : stress_tuner,
			       (void *)(long)(i + 1));
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
	for (i = 0; i <= nr_threads; i++)
		pthread_join(threads[i], NULL);
	WRITE_ONCE(fail_nth, 0);
	WRITE_ONCE(ram_nid, NUMA_NO_NODE);

	/* Nobody holds anything: all of it goes. */
	for (i = 0; i < 2 && stress.pgmaps[i]; i++) {
		transient_memmap_set_cache(stress.pgmaps[i], 0);
		advance(AGE_PERIOD);
		advance(AGE_PERIOD);
		EXPECT(stats_of(stress.pgmaps[i]).live == 0);
		EXPECT(stats_of(stress.pgmaps[i]).cached == 0);
		stress_unregister(i);
	}
	printf("# pins %lu, hits %lu, refused %lu, populated %lu, rounds %d\n",
	       stress.pins, stress.hits, stress.refused, stress.populated,
	       rounds);
	EXPECT(stress.pins > 0 && stress.populated > 0);
}

/* Running */

#define TEST(name)	{ #name, name }
/* Registers ranges that a direct map has no page table of its own for */
#define SMALL_TEST(name)	{ #name, name, .small = true }
#define DIRECT_MAP_TEST(name)	{ #name, name, .direct_map = true }

static const struct test {
	const char *name;
	void (*run)(void);
	bool small, direct_map;
} tests[] = {
	TEST(pin_gives_folio_of_a_block),
	TEST(pages_of_a_block_share_its_folio),
	TEST(only_the_pinned_block_has_struct_pages),
	TEST(only_live_blocks_are_had_without_populating),
	TEST(shared_tails_cannot_be_written),
	SMALL_TEST(large_blocks_take_masks),
	TEST(all_memory_is_of_the_ranges_node),
	TEST(last_unpin_gives_the_memory_back),
	TEST(reader_keeps_struct_pages_mapped),
	TEST(blocks_that_go_together_share_a_flush),
	TEST(new_pin_revives_a_block_that_waits_for_the_worker),
	TEST(new_pin_revives_a_hidden_block),
	TEST(block_dies_again_while_hidden),
	TEST(revived_block_is_kept),
	TEST(pin_waits_for_the_flush),
	TEST(pins_of_one_block_populate_once),
	TEST(failed_pin_wakes_those_who_wait),
	TEST(fatal_signal_ends_the_wait),
	TEST(cap_limits_live_blocks),
	TEST(defaults_are_bounded),
	TEST(limits_of_one_pool_leave_the_other),
	TEST(cap_of_zero_refuses_pins),
	TEST(pin_at_the_cap_takes_idle_blocks),
	TEST(pin_at_the_cap_waits_for_a_dying_block),
	TEST(poisoned_page_is_refused_and_neighbours_are_not),
	TEST(poison_counts_in_any_state),
	TEST(poison_takes_no_failure),
	TEST(longterm_pins_have_a_cap),
	TEST(kept_block_serves_the_next_pin),
	TEST(idle_pool_empties_itself),
	TEST(block_in_use_does_not_age),
	TEST(referenced_block_gets_a_second_chance),
	TEST(cache_limits_kept_blocks),
	TEST(kept_blocks_of_all_nodes_are_dropped),
	TEST(shrinker_takes_what_is_cold),
	TEST(shrinker_takes_from_the_node_that_asks),
	TEST(pin_without_memory_takes_the_reserve),
	TEST(first_pin_of_a_section_takes_the_reserve),
	TEST(pin_unwinds_each_failed_allocation),
	TEST(pin_with_irqs_off_does_not_wait),
	TEST(registration_unwinds_each_failed_allocation),
	TEST(page_tables_go_with_the_last_block),
	TEST(large_range_works_at_both_ends),
	SMALL_TEST(pools_share_a_section),
	SMALL_TEST(range_of_another_is_refused),
	TEST(others_are_left_alone),
	DIRECT_MAP_TEST(direct_map_has_pinned_blocks_only),
	DIRECT_MAP_TEST(direct_map_goes_with_the_struct_pages),
	DIRECT_MAP_TEST(direct_map_wants_whole_page_tables),
	TEST(direct_map_has_an_owner),
	TEST(unregister_drops_kept_blocks),
	TEST(unregister_waits_for_pins_and_refuses_new),
	TEST(killed_unregister_is_ended_when_the_last_pin_goes),
	TEST(pins_race_with_all_else),
};

static void expect_nothing_left(void)
{
	int i;

	advance(2 * REAP_DELAY);
	EXPECT(nr_objects == 0);
	EXPECT(nr_pages == 0);
	EXPECT(nr_memmap_pages == 0);
	EXPECT(nr_warnings == 0);
	EXPECT(!current->rcu_depth && !current->locks);
	for (i = 0; i < NR_SECTIONS; i++)
		EXPECT(!page_tables[i] && !mem_sections[i].transient);
	for (i = 0; i < NR_GIB; i++)
		EXPECT(!direct_tables[i]);
}

static void boot_machine(void)
{
	unsigned long addr;

	ram_fd = memfd_create("ram", 0);
	if (ram_fd < 0 || ftruncate(ram_fd, NR_RAM * PAGE_SIZE))
		abort();
	direct_map = mmap(NULL, NR_RAM * PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_SHARED, ram_fd, 0);
	addr = (unsigned long)mmap(NULL, VMEMMAP_SIZE + PUD_SIZE, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				   -1, 0);
	if (direct_map == MAP_FAILED || (void *)addr == MAP_FAILED)
		abort();
	vmemmap = (struct page *)ALIGN(addr, PUD_SIZE);
	before_flush = stop_flush;
	if (transient_memmap_init())
		abort();
	/* Not those that are there for good */
	nr_objects = 0;
}

#define NR_RUNS		(ARRAY_SIZE(tests) * ARRAY_SIZE(variants))

/* Sets test_name, too. */
static bool selected(int i, const char *name)
{
	const struct test *test = &tests[i % ARRAY_SIZE(tests)];

	variant = &variants[i / ARRAY_SIZE(tests)];
	snprintf(test_name, sizeof(test_name), "%s.%s", test->name, variant->name);
	return !(variant->direct_map ? test->small : test->direct_map) &&
	       strstr(test_name, name);
}

static bool run(int i)
{
	test_nr++;
	nr_failures = 0;
	nr_warnings = 0;
	has_mask = variant->has_mask;
	alarm(seconds + 60);
	tests[i % ARRAY_SIZE(tests)].run();
	expect_nothing_left();
	printf("%sok %d %s\n", nr_failures ? "not " : "", test_nr, test_name);
	return !nr_failures;
}

static void usage(const char *name)
{
	printf("Usage: %s [-s SECONDS] [-t THREADS] [NAME]\n"
	       "Runs the tests whose name has NAME in it.\n"
	       "  -s  how long to race, for each kind of block (%u)\n"
	       "  -t  how many threads pin meanwhile (%u)\n",
	       name, seconds, nr_threads);
}

int main(int argc, char **argv)
{
	struct sigaction action = {
		.sa_sigaction = die, .sa_flags = SA_SIGINFO,
	};
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

	for (i = 0; i < NR_RUNS; i++)
		nr += selected(i, name);
	printf("KTAP version 1\n1..%d\n", nr);
	for (i = 0; i < NR_RUNS; i++)
		if (selected(i, name))
			bad += !run(i);
	return bad || !nr;
}
