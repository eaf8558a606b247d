// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the pool of transient struct pages, on real page tables
 *
 * They register ranges of physical address space that holds no memory, and pin
 * and unpin there. What would be in that memory is never looked at. Failing
 * allocations, nodes, the order of those who wait, and the shrinker are tested
 * in user space, by tools/testing/transient_memmap.
 *
 * All that a test sets up is undone by kunit actions, the last first, so that
 * no range stays registered and no pin is held when an assertion fails.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/prandom.h>
#include <linux/set_memory.h>
#include <linux/sizes.h>
#include <linux/smp.h>
#include <linux/tracepoint.h>
#include "../transient_memmap/internal.h"

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");

#define SECTION_SIZE	BIT(SECTION_SIZE_BITS)
#define BLOCK_NR	BIT(TRANSIENT_BLOCK_ORDER)
#define DIRECT_MAP	PGMAP_TRANSIENT_DIRECT_MAP

/* Struct pages in a page of vmemmap */
#define VMEMMAP_NR	(PAGE_SIZE / sizeof(struct page))

/* Far beyond a grace period on a busy, emulated machine */
#define PATIENCE	(20 * HZ)

/* Wait for a condition, for so long; its value at the end. */
#define within(limit, cond)						\
({									\
	unsigned long __end = jiffies + (limit);			\
	bool __is;							\
									\
	while (!(__is = (cond)) && time_before(jiffies, __end))		\
		usleep_range(500, 1000);				\
	__is;								\
})

/* Likewise, for one that has to become true */
#define eventually(cond)	within(PATIENCE, cond)

/* Setting up */

/* Have the end of the test do this, if it does not do it before. */
static void undo(struct kunit *test, kunit_action_t *action, void *arg)
{
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, action, arg));
}

static void *zalloc(struct kunit *test, size_t size)
{
	void *p = kunit_kzalloc(test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	return p;
}

static void release_region_action(void *res)
{
	release_mem_region(((struct resource *)res)->start,
			   resource_size(res));
}

/* Physical addresses, aligned to a section, that nobody uses */
static u64 unused_memory(struct kunit *test, u64 size)
{
	struct resource *res;

	res = request_free_mem_region(&iomem_resource, size, "kunit");
	if (IS_ERR(res))
		kunit_skip(test, "no %llu MiB of unused physical addresses",
			   size / SZ_1M);
	undo(test, release_region_action, res);
	return res->start;
}

static u64 unused_gigabytes(struct kunit *test, unsigned int nr)
{
	return ALIGN(unused_memory(test, (nr + 1) * PUD_SIZE), PUD_SIZE);
}

static struct dev_pagemap *new_pgmap(struct kunit *test, enum memory_type type,
				     int nr_range)
{
	struct dev_pagemap *pgmap;

	pgmap = zalloc(test, struct_size(pgmap, ranges, nr_range));
	pgmap->type = type;
	pgmap->nr_range = nr_range;
	return pgmap;
}

static void set_range(struct dev_pagemap *pgmap, int i, u64 start, u64 size)
{
	pgmap->ranges[i].start = start;
	pgmap->ranges[i].end = start + size - 1;
}

static void set_limit(struct kunit *test, struct dev_pagemap *pgmap,
		      enum transient_memmap_limit limit, unsigned long value)
{
	KUNIT_EXPECT_EQ(test, 0,
			transient_memmap_set_limit(pgmap, limit, value));
	KUNIT_EXPECT_EQ(test, value, transient_memmap_get_limit(pgmap, limit));
}

KUNIT_DEFINE_ACTION_WRAPPER(unregister_action, memunmap_pages,
			    struct dev_pagemap *);

/*
 * Returns 0 or the error; the test's end undoes it. Nothing is cached unless
 * the test says so.
 */
static int register_pgmap(struct kunit *test, struct dev_pagemap *pgmap)
{
	void *addr = memremap_pages(pgmap, numa_mem_id());

	if (IS_ERR(addr))
		return PTR_ERR(addr);
	undo(test, unregister_action, pgmap);
	if (pgmap->type == MEMORY_DEVICE_TRANSIENT)
		set_limit(test, pgmap, TRANSIENT_MEMMAP_CACHE, 0);
	return 0;
}

static void unregister_pgmap(struct kunit *test, struct dev_pagemap *pgmap)
{
	kunit_release_action(test, unregister_action, pgmap);
}

/* One range in a pgmap of its own. Returns 0 or the error. */
static int try_register(struct kunit *test, u64 start, u64 size,
			enum memory_type type, unsigned int flags,
			struct dev_pagemap **pgmap)
{
	*pgmap = new_pgmap(test, type, 1);
	(*pgmap)->flags = flags;
	set_range(*pgmap, 0, start, size);
	return register_pgmap(test, *pgmap);
}

/* The error of one that is transient, and has these flags */
static int refused(struct kunit *test, u64 start, u64 size, unsigned int flags)
{
	struct dev_pagemap *pgmap;

	return try_register(test, start, size, MEMORY_DEVICE_TRANSIENT, flags,
			    &pgmap);
}

static struct dev_pagemap *register_with(struct kunit *test, u64 start,
					 u64 size, unsigned int flags)
{
	struct dev_pagemap *pgmap;

	KUNIT_ASSERT_EQ(test, 0,
			try_register(test, start, size,
				     MEMORY_DEVICE_TRANSIENT, flags, &pgmap));
	return pgmap;
}

static struct dev_pagemap *register_range(struct kunit *test, u64 start,
					  u64 size)
{
	return register_with(test, start, size, 0);
}

static struct dev_pagemap *register_caching(struct kunit *test,
					    unsigned long *pfn,
					    unsigned long cache)
{
	u64 start = unused_memory(test, SECTION_SIZE);
	struct dev_pagemap *pgmap = register_range(test, start, SECTION_SIZE);

	*pfn = PHYS_PFN(start);
	set_limit(test, pgmap, TRANSIENT_MEMMAP_CACHE, cache);
	return pgmap;
}

static struct dev_pagemap *register_section(struct kunit *test,
					    unsigned long *pfn)
{
	return register_caching(test, pfn, 0);
}

/* Pinning */

static void put_action(void *page)
{
	folio_put(page_folio((struct page *)page));
}

/* As GUP does: what was pinned was in use. Returns 0 or the error. */
static int try_pin(struct kunit *test, unsigned long pfn,
		   unsigned int gup_flags)
{
	struct page *page = transient_memmap_populate(pfn, gup_flags);

	if (IS_ERR(page))
		return PTR_ERR(page);
	folio_set_referenced(page_folio(page));
	undo(test, put_action, page);
	KUNIT_EXPECT_PTR_EQ(test, page, pfn_to_page(pfn));
	return 0;
}

static struct folio *pin(struct kunit *test, unsigned long pfn)
{
	KUNIT_ASSERT_EQ(test, 0, try_pin(test, pfn, 0));
	return page_folio(pfn_to_page(pfn));
}

static void unpin(struct kunit *test, unsigned long pfn)
{
	kunit_release_action(test, put_action, pfn_to_page(pfn));
}

static void pin_and_unpin(struct kunit *test, unsigned long pfn)
{
	pin(test, pfn);
	unpin(test, pfn);
}

/* Likewise, but the block looks as if it had not been used for a while. */
static void pin_cold(struct kunit *test, unsigned long pfn)
{
	folio_clear_referenced(pin(test, pfn));
	unpin(test, pfn);
}

/* Looking */

#define STAT(pgmap, name)						\
	transient_memmap_stat(pgmap, TRANSIENT_MEMMAP_##name)

#define EXPECT_STAT(test, pgmap, name, value)				\
	KUNIT_EXPECT_EQ(test, STAT(pgmap, name), (unsigned long)(value))

static unsigned long nth_block(unsigned long pfn, unsigned long n)
{
	return pfn + n * BLOCK_NR;
}

/* The entry that maps a pfn's struct page; NULL if there is no page table */
static pte_t *vmemmap_pte(unsigned long pfn)
{
	unsigned int level;

	return lookup_address((unsigned long)pfn_to_page(pfn), &level);
}

static bool has_table(unsigned long pfn)
{
	return vmemmap_pte(pfn);
}

/* Is the pfn's struct page mapped? Asks the page tables, not the pool. */
static bool has_struct_page(unsigned long pfn)
{
	pte_t *pte = vmemmap_pte(pfn);

	return pte && !pte_none(ptep_get(pte));
}

static bool is_pinnable(unsigned long pfn)
{
	guard(rcu)();
	return block_pinnable(pfn);
}

static void expect_absent(struct kunit *test, unsigned long pfn)
{
	KUNIT_EXPECT_FALSE(test, pfn_has_struct_page(pfn));
	KUNIT_EXPECT_FALSE(test, has_struct_page(pfn));
	KUNIT_EXPECT_FALSE(test, pfn_valid(pfn));
}

static void expect_idle(struct kunit *test, struct dev_pagemap *pgmap)
{
	KUNIT_EXPECT_TRUE(test, eventually(!STAT(pgmap, LIVE)));
}

/* The worker has freed this block, and is done with what came before. */
static void wait_for_worker(struct kunit *test, unsigned long pfn)
{
	pin_and_unpin(test, pfn);
	KUNIT_EXPECT_TRUE(test, eventually(!has_struct_page(pfn)));
}

/*
 * What a pin gives
 */

/*
 * Drivers would do DMA to the wrong memory, or the core would take the page for
 * one of another kind.
 */
static void pin_gives_folio_of_a_block(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn, i;
	struct folio *folio;

	pgmap = register_section(test, &pfn);
	pfn = nth_block(pfn, 3);
	KUNIT_EXPECT_NULL(test, transient_memmap_try_get(pfn));
	EXPECT_STAT(test, pgmap, POPULATED, 0);
	folio = pin(test, pfn + 5);

	KUNIT_EXPECT_EQ(test, folio_pfn(folio), pfn);
	KUNIT_EXPECT_EQ(test, folio_nr_pages(folio), (long)BLOCK_NR);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 0);
	KUNIT_EXPECT_FALSE(test, folio_maybe_dma_pinned(folio));
	KUNIT_EXPECT_TRUE(test, folio_is_zone_device(folio));
	KUNIT_EXPECT_PTR_EQ(test, folio->pgmap, pgmap);
	KUNIT_EXPECT_FALSE(test, folio_test_lru(folio));
	for (i = 0; i < BLOCK_NR; i++) {
		struct page *page = pfn_to_page(pfn + i);

		KUNIT_EXPECT_EQ(test, page_to_pfn(page), pfn + i);
		KUNIT_EXPECT_PTR_EQ(test, page_folio(page), folio);
		KUNIT_EXPECT_EQ(test, page_zonenum(page), ZONE_DEVICE);
		KUNIT_EXPECT_EQ(test, page_to_nid(page), numa_mem_id());
		KUNIT_EXPECT_TRUE(test, PageReserved(page));
		KUNIT_EXPECT_TRUE(test, pfn_has_struct_page(pfn + i));
	}

	/* Other pages of the block have the same folio; other blocks do not. */
	KUNIT_EXPECT_PTR_EQ(test, folio, pin(test, pfn + BLOCK_NR - 1));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	KUNIT_EXPECT_PTR_EQ(test, pfn_to_page(pfn + 1),
			    transient_memmap_try_get(pfn + 1));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 3);
	folio_put(folio);
	EXPECT_STAT(test, pgmap, POPULATED, 1);
	KUNIT_EXPECT_PTR_NE(test, folio, pin(test, nth_block(pfn, 1)));
	EXPECT_STAT(test, pgmap, POPULATED, 2);
	EXPECT_STAT(test, pgmap, LIVE, 2);
}

/*
 * Pfn walkers (compaction, hibernation, /proc/kpageflags) would look at struct
 * pages that are not there; or a pin would cost more than the block it is for;
 * or memory that was pinned once could not be used for I/O any more.
 */
static void only_the_pinned_block_has_struct_pages(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn, block;
	int i;

	pgmap = register_section(test, &pfn);
	block = nth_block(pfn, 1);
	expect_absent(test, block);
	for (i = 1; i <= 3; i++) {
		KUNIT_EXPECT_EQ(test, folio_ref_count(pin(test, block)), 1);
		KUNIT_EXPECT_TRUE(test, has_struct_page(block));
		KUNIT_EXPECT_TRUE(test, has_struct_page(block + BLOCK_NR - 1));
		KUNIT_EXPECT_FALSE(test, pfn_valid(block));
		expect_absent(test, block - 1);
		expect_absent(test, block + BLOCK_NR);
		EXPECT_STAT(test, pgmap, POPULATED, i);

		unpin(test, block);
		expect_idle(test, pgmap);
		expect_absent(test, block);
		expect_absent(test, block + BLOCK_NR - 1);
		EXPECT_STAT(test, pgmap, FREED, i);
	}
}

/*
 * A write to one tail would be a write to all tails of all blocks; or each
 * block would cost eight pages.
 */
static void shared_tails_cannot_be_written(struct kunit *test)
{
	unsigned long pfn, tails, i;

	register_section(test, &pfn);
	pin(test, pfn);
	pin(test, nth_block(pfn, 1));

	KUNIT_EXPECT_NE(test, pte_pfn(*vmemmap_pte(pfn)),
			pte_pfn(*vmemmap_pte(nth_block(pfn, 1))));
	KUNIT_EXPECT_TRUE(test, pte_write(*vmemmap_pte(pfn)));
	tails = pte_pfn(*vmemmap_pte(pfn + VMEMMAP_NR));
	for (i = 0; i < 2 * BLOCK_NR; i += VMEMMAP_NR) {
		if (i % BLOCK_NR == 0)
			continue;
		KUNIT_EXPECT_EQ(test, pte_pfn(*vmemmap_pte(pfn + i)), tails);
		KUNIT_EXPECT_FALSE(test, pte_write(*vmemmap_pte(pfn + i)));
	}
}

/*
 * What the last unpin does
 */

struct irq_unpin {
	struct irq_work work;
	struct folio *folio;
	bool was_hardirq;
};

static void unpin_in_irq(struct irq_work *work)
{
	struct irq_unpin *irq = container_of(work, struct irq_unpin, work);

	irq->was_hardirq = in_hardirq();
	folio_put(irq->folio);
}

/* A bio that ends in its driver's interrupt handler would hang the machine. */
static void last_unpin_in_hard_irq_frees(struct kunit *test)
{
	struct irq_unpin *irq = zalloc(test, sizeof(*irq));
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	irq->work = IRQ_WORK_INIT_HARD(unpin_in_irq);
	pgmap = register_section(test, &pfn);
	irq->folio = pin(test, pfn);
	kunit_remove_action(test, put_action, pfn_to_page(pfn));

	irq_work_queue(&irq->work);
	irq_work_sync(&irq->work);

	KUNIT_EXPECT_TRUE(test, irq->was_hardirq);
	expect_idle(test, pgmap);
	expect_absent(test, pfn);
}

/*
 * Unpinning many blocks at once would leave some of them behind; or as many TLB
 * flushes as blocks would stop all CPUs all the time.
 */
static void blocks_are_freed_in_batches(struct kunit *test)
{
	const int nr = BLOCKS_PER_SECTION / 2;
	struct dev_pagemap *pgmap;
	unsigned long pfn, flushes;
	int i;

	pgmap = register_section(test, &pfn);
	for (i = 0; i < nr; i++)
		pin(test, nth_block(pfn, 2 * i));
	EXPECT_STAT(test, pgmap, LIVE, nr);
	flushes = STAT(pgmap, FLUSHES);
	for (i = 0; i < nr; i++)
		unpin(test, nth_block(pfn, 2 * i));
	expect_idle(test, pgmap);
	flushes = STAT(pgmap, FLUSHES) - flushes;
	KUNIT_EXPECT_GE(test, flushes, 1);
	KUNIT_EXPECT_LE(test, flushes, nr / 2);
	for (i = 0; i < nr; i++)
		expect_absent(test, nth_block(pfn, 2 * i));
	EXPECT_STAT(test, pgmap, FREED, nr);
	EXPECT_STAT(test, pgmap, PEAK, nr);
}

/* A CPU's view of a tail that lies in its block's private page */
struct glance {
	struct page *tail;
	unsigned long expected;
	atomic_t differs;
};

static void glance_at_tail(void *data)
{
	struct glance *glance = data;

	if (READ_ONCE(glance->tail->private) != glance->expected)
		atomic_inc(&glance->differs);
}

static struct page *tail_by_direct_map(unsigned long pfn)
{
	void *page = pfn_to_kaddr(pte_pfn(*vmemmap_pte(pfn)));

	return page + offset_in_page(pfn_to_page(pfn));
}

/* A CPU would count pins in a page that has become somebody else's memory. */
static void freed_translation_is_flushed_everywhere(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn, first, second, old;
	struct glance glance = {};

	pgmap = register_section(test, &pfn);
	first = pfn + VMEMMAP_NR - 1;
	second = nth_block(first, 1);
	glance.tail = pfn_to_page(first);

	/* All CPUs know where the first block's struct pages are. */
	pin(test, first);
	old = pte_pfn(*vmemmap_pte(first));
	on_each_cpu(glance_at_tail, &glance, true);
	KUNIT_EXPECT_EQ(test, atomic_read(&glance.differs), 0);
	unpin(test, first);
	expect_idle(test, pgmap);

	/* The second gets that page, as the one that was freed last. */
	pin(test, second);
	pin(test, first);
	KUNIT_ASSERT_EQ(test, pte_pfn(*vmemmap_pte(second)), old);
	KUNIT_ASSERT_NE(test, pte_pfn(*vmemmap_pte(first)), old);
	glance.expected = 1;
	WRITE_ONCE(tail_by_direct_map(first)->private, 1);
	on_each_cpu(glance_at_tail, &glance, true);
	KUNIT_EXPECT_EQ(test, atomic_read(&glance.differs), 0);
	/* Nobody writes to the tails of a page, so they are not made again. */
	WRITE_ONCE(tail_by_direct_map(first)->private, 0);
}

/*
 * Ranges
 */

/*
 * Memory that a platform hands out in pieces of 2 MiB could not be used; or a
 * pin would oops at a table that is not there; or page tables would stay behind
 * each time a device is unbound.
 */
static void sections_have_tables_while_registered(struct kunit *test)
{
	/* From the last block of a section to the first of another one */
	u64 start = unused_memory(test, 64ULL * SZ_1G) + SECTION_SIZE -
		    SUBSECTION_SIZE;
	u64 size = 63ULL * SZ_1G + 2 * SUBSECTION_SIZE;
	unsigned long first = PHYS_PFN(start), pfn;
	unsigned long last = PHYS_PFN(start + size - 1);
	struct dev_pagemap *pgmap;
	int round;

	for (round = 0; round < 2; round++) {
		pgmap = register_range(test, start, size);
		for (pfn = first; pfn <= last; pfn += PAGES_PER_SECTION) {
			KUNIT_EXPECT_TRUE(test, has_table(pfn));
			KUNIT_EXPECT_FALSE(test, has_struct_page(pfn));
		}
		KUNIT_EXPECT_TRUE(test, has_table(last));
		pin(test, first);
		pin(test, last);
		KUNIT_EXPECT_FALSE(test, pfn_is_transient(first - 1));
		KUNIT_EXPECT_FALSE(test, pfn_is_transient(last + 1));
		KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, first - 1, 0));
		KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, last + 1, 0));
		unpin(test, first);
		unpin(test, last);
		expect_idle(test, pgmap);
		unregister_pgmap(test, pgmap);
		for (pfn = first; pfn <= last; pfn += PAGES_PER_SECTION)
			KUNIT_EXPECT_FALSE(test, has_table(pfn));
		KUNIT_EXPECT_FALSE(test, has_table(last));
	}
}

/* One device's unbind would take the page tables of another's struct pages. */
static void ranges_share_a_section(struct kunit *test)
{
	u64 start = unused_memory(test, SECTION_SIZE), half = SECTION_SIZE / 2;
	unsigned long pfns[] = { PHYS_PFN(start), PHYS_PFN(start + half) };
	struct dev_pagemap *pgmaps[2];
	struct folio *folio;
	int first, last, i;

	for (first = 0; first < 2; first++) {
		last = !first;
		for (i = 0; i < 2; i++)
			pgmaps[i] = register_range(test, start + i * half,
						   half);
		pin(test, pfns[first]);
		folio = pin(test, pfns[last]);
		unpin(test, pfns[first]);
		unregister_pgmap(test, pgmaps[first]);
		KUNIT_EXPECT_FALSE(test, pfn_is_transient(pfns[first]));
		KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, pfns[first], 0));
		expect_absent(test, pfns[first]);
		KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
		pin_and_unpin(test, nth_block(pfns[last], 1));

		unpin(test, pfns[last]);
		unregister_pgmap(test, pgmaps[last]);
		KUNIT_EXPECT_FALSE(test, has_table(pfns[last]));
	}
}

/* Relative to a section that is registered, and has free ones on both sides */
struct bad_range {
	const char *desc;
	s64 start;
	u64 size;
	int err;
};

static const struct bad_range bad_ranges[] = {
	{ "the same", 0, SECTION_SIZE, -EBUSY },
	{ "around it", -(s64)SECTION_SIZE, 3 * SECTION_SIZE, -EBUSY },
	{ "a part of it", SUBSECTION_SIZE, SUBSECTION_SIZE, -EBUSY },
	{ "its beginning", -(s64)SECTION_SIZE, 2 * SECTION_SIZE, -EBUSY },
	{ "its end", SECTION_SIZE - SUBSECTION_SIZE, 2 * SUBSECTION_SIZE,
	  -EBUSY },
	{ "misaligned start", SECTION_SIZE + PAGE_SIZE, SUBSECTION_SIZE,
	  -EINVAL },
	{ "misaligned end", SECTION_SIZE, SUBSECTION_SIZE - PAGE_SIZE,
	  -EINVAL },
	{ "end within a page", SECTION_SIZE, SUBSECTION_SIZE - 1, -EINVAL },
	{ "one page", SECTION_SIZE, PAGE_SIZE, -EINVAL },
	{ "empty", SECTION_SIZE, 0, -EINVAL },
};
KUNIT_ARRAY_PARAM_DESC(bad_range, bad_ranges, desc);

/*
 * Two owners of one block would free each other's struct pages; or a provider's
 * bad arithmetic would make half a block.
 */
static void bad_range_is_refused(struct kunit *test)
{
	const struct bad_range *bad = test->param_value;
	u64 start = unused_memory(test, 3 * SECTION_SIZE);
	u64 mid = start + SECTION_SIZE;
	struct dev_pagemap *pgmap = register_range(test, mid, SECTION_SIZE);

	KUNIT_EXPECT_EQ(test, bad->err,
			refused(test, mid + bad->start, bad->size, 0));

	/* Neither the owner nor the neighbours have suffered. */
	pin(test, PHYS_PFN(mid));
	EXPECT_STAT(test, pgmap, LIVE, 1);
	register_range(test, start, SECTION_SIZE);
	register_range(test, mid + SECTION_SIZE, SECTION_SIZE);
	pin(test, PHYS_PFN(mid) - 1);
}

/* A device that failed to bind could not be bound again before a reboot. */
static void failed_registration_leaves_nothing(struct kunit *test)
{
	u64 start = unused_memory(test, 2 * SECTION_SIZE);
	struct dev_pagemap *pgmap;

	pgmap = new_pgmap(test, MEMORY_DEVICE_TRANSIENT, 2);
	set_range(pgmap, 0, start, SECTION_SIZE);
	set_range(pgmap, 1, start + SECTION_SIZE, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, -EINVAL, register_pgmap(test, pgmap));
	KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, PHYS_PFN(start), 0));
	KUNIT_EXPECT_FALSE(test, has_table(PHYS_PFN(start)));

	register_range(test, start, 2 * SECTION_SIZE);
	pin(test, PHYS_PFN(start));
}

/* The RAM that the kernel runs on would be handed out as a provider's. */
static void system_ram_is_refused(struct kunit *test)
{
	u64 ram = __pa(zalloc(test, PAGE_SIZE));

	KUNIT_EXPECT_EQ(test, -EBUSY,
			refused(test, ALIGN_DOWN(ram, SUBSECTION_SIZE),
				SUBSECTION_SIZE, 0));
	KUNIT_EXPECT_FALSE(test, pfn_is_transient(PHYS_PFN(ram)));
	KUNIT_EXPECT_TRUE(test, pfn_has_struct_page(PHYS_PFN(ram)));
	KUNIT_EXPECT_NULL(test, transient_memmap_try_get(PHYS_PFN(ram)));
	KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, PHYS_PFN(ram), 0));
}

/* Two kinds of memmap would share, and free, the same page tables. */
static void section_has_one_kind_of_memmap(struct kunit *test)
{
	u64 start = unused_memory(test, SECTION_SIZE);
	u64 rest = start + SUBSECTION_SIZE;
	struct dev_pagemap *pgmap, *other;

	pgmap = register_range(test, start, SUBSECTION_SIZE);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			try_register(test, rest, SUBSECTION_SIZE,
				     MEMORY_DEVICE_GENERIC, 0, &other));
	pin_and_unpin(test, PHYS_PFN(start));
	unregister_pgmap(test, pgmap);

	KUNIT_ASSERT_EQ(test, 0,
			try_register(test, rest, SUBSECTION_SIZE,
				     MEMORY_DEVICE_GENERIC, 0, &pgmap));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			refused(test, start, SUBSECTION_SIZE, 0));
	KUNIT_EXPECT_TRUE(test, pfn_valid(PHYS_PFN(rest)));
	KUNIT_EXPECT_TRUE(test, pfn_has_struct_page(PHYS_PFN(rest)));
	unregister_pgmap(test, pgmap);
	register_range(test, start, SECTION_SIZE);
}

/*
 * Limits
 */

/*
 * A guest's I/O could take all of the host's memory; or lowering the cap would
 * break I/O that is under way.
 */
static void cap_limits_live_blocks(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	pin(test, nth_block(pfn, 0));
	pin(test, nth_block(pfn, 1));
	set_limit(test, pgmap, TRANSIENT_MEMMAP_CAP, 1);
	pin(test, pfn + 1);
	unpin(test, nth_block(pfn, 1));
	KUNIT_EXPECT_TRUE(test, eventually(STAT(pgmap, LIVE) == 1));
	KUNIT_EXPECT_EQ(test, -ENOMEM, try_pin(test, nth_block(pfn, 1), 0));
	EXPECT_STAT(test, pgmap, FAILED, 1);

	set_limit(test, pgmap, TRANSIENT_MEMMAP_CAP, ULONG_MAX);
	pin(test, nth_block(pfn, 1));
	EXPECT_STAT(test, pgmap, LIVE, 2);
	/* All that would populate are refused, and without a wait. */
	set_limit(test, pgmap, TRANSIENT_MEMMAP_CAP, 0);
	KUNIT_EXPECT_EQ(test, -ENOMEM, try_pin(test, nth_block(pfn, 2), 0));
	EXPECT_STAT(test, pgmap, PEAK, 2);
}

struct cap_case {
	const char *desc;
	unsigned long cap;
	unsigned long cache;
};

static const struct cap_case cap_cases[] = {
	{ "blocks are dying", 1, 0 },
	{ "blocks are kept", 4, 100 },
};
KUNIT_ARRAY_PARAM_DESC(cap_case, cap_cases, desc);

/* One buffer after the other would fail with ENOMEM though each fits. */
static void pin_at_the_cap_gets_an_idle_block(struct kunit *test)
{
	const struct cap_case *c = test->param_value;
	struct dev_pagemap *pgmap;
	unsigned long pfn;
	int i;

	pgmap = register_caching(test, &pfn, c->cache);
	set_limit(test, pgmap, TRANSIENT_MEMMAP_CAP, c->cap);
	for (i = 0; i < 50; i++)
		pin_and_unpin(test, nth_block(pfn, i % (c->cap + 2)));
	EXPECT_STAT(test, pgmap, FAILED, 0);
	KUNIT_EXPECT_LE(test, STAT(pgmap, PEAK), c->cap);
}

/* Registered buffers would hold what I/O needs, against the operator's will. */
static void longterm_pins_need_permission(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, try_pin(test, pfn, FOLL_LONGTERM));
	EXPECT_STAT(test, pgmap, POPULATED, 0);
	set_limit(test, pgmap, TRANSIENT_MEMMAP_LONGTERM, 1);
	KUNIT_EXPECT_EQ(test, 0, try_pin(test, pfn, FOLL_LONGTERM));
	/* Those that are there stay. */
	set_limit(test, pgmap, TRANSIENT_MEMMAP_LONGTERM, 0);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, try_pin(test, pfn, FOLL_LONGTERM));
	KUNIT_EXPECT_EQ(test, folio_ref_count(pin(test, pfn)), 2);
}

/*
 * Company
 */

/* A thread that does one thing, however long that takes */
struct thread {
	struct task_struct *task;
	void (*fn)(struct thread *thread);
	struct completion done;
	struct dev_pagemap *pgmap;
	unsigned long pfn;
	struct page *page;
	bool reading;
	bool leave;
};

static void thread_pins(struct thread *thread)
{
	allow_signal(SIGKILL);
	thread->page = transient_memmap_populate(thread->pfn, 0);
}

static void thread_unregisters(struct thread *thread)
{
	memunmap_pages(thread->pgmap);
}

/* Blocks that die meanwhile are hidden, but not freed. */
static void thread_is_rcu_reader(struct thread *thread)
{
	unsigned long end = jiffies + 10 * HZ;

	guard(rcu)();
	WRITE_ONCE(thread->reading, true);
	while (!READ_ONCE(thread->leave) && time_before(jiffies, end))
		cpu_relax();
}

static int thread_main(void *data)
{
	struct thread *thread = data;

	thread->fn(thread);
	complete_all(&thread->done);
	while (!kthread_should_stop())
		schedule_timeout_uninterruptible(1);
	return 0;
}

static void thread_stop(void *data)
{
	struct thread *thread = data;

	/* If the test failed, it may be waiting still. */
	send_sig(SIGKILL, thread->task, 1);
	WRITE_ONCE(thread->leave, true);
	kthread_stop(thread->task);
	if (!IS_ERR_OR_NULL(thread->page))
		folio_put(page_folio(thread->page));
}

static struct thread *thread_start(struct kunit *test,
				   void (*fn)(struct thread *thread),
				   struct dev_pagemap *pgmap, unsigned long pfn)
{
	struct thread *thread = zalloc(test, sizeof(*thread));

	thread->fn = fn;
	thread->pgmap = pgmap;
	thread->pfn = pfn;
	init_completion(&thread->done);
	thread->task = kthread_run(thread_main, thread, "kunit_thread");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread->task));
	undo(test, thread_stop, thread);
	return thread;
}

static bool thread_waits(struct thread *thread, unsigned int state)
{
	return eventually(READ_ONCE(thread->task->__state) == state) &&
	       !completion_done(&thread->done);
}

static bool thread_goes_on(struct thread *thread)
{
	return wait_for_completion_timeout(&thread->done, PATIENCE);
}

static struct thread *reader_start(struct kunit *test)
{
	struct thread *reader;

	if (!IS_ENABLED(CONFIG_PREEMPT_RCU) && num_online_cpus() < 3)
		kunit_skip(test, "readers need CPUs of their own");
	reader = thread_start(test, thread_is_rcu_reader, NULL, 0);
	KUNIT_ASSERT_TRUE(test, eventually(READ_ONCE(reader->reading)));
	return reader;
}

static void reader_leaves(struct kunit *test, struct thread *reader)
{
	kunit_release_action(test, thread_stop, reader);
}

/* A block that was pinned and is hidden, for as long as the reader stays */
static struct thread *hide_block(struct kunit *test, unsigned long pfn)
{
	struct thread *reader;

	pin(test, pfn);
	reader = reader_start(test);
	unpin(test, pfn);
	KUNIT_ASSERT_TRUE(test, eventually(!pfn_has_struct_page(pfn)));
	return reader;
}

/* The pin would get struct pages that are unmapped a moment later. */
static void new_pin_revives_a_hidden_block(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	struct thread *reader;
	struct folio *folio;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	reader = hide_block(test, pfn);
	/* A reader that saw the block live may still look at it. */
	KUNIT_EXPECT_TRUE(test, has_struct_page(pfn));
	KUNIT_EXPECT_NULL(test, transient_memmap_try_get(pfn));
	folio = pin(test, pfn);
	KUNIT_EXPECT_TRUE(test, is_pinnable(pfn));

	reader_leaves(test, reader);
	KUNIT_EXPECT_TRUE(test, eventually(folio_ref_count(folio) == 1));
	wait_for_worker(test, nth_block(pfn, 1));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_TRUE(test, is_pinnable(pfn));
	EXPECT_STAT(test, pgmap, POPULATED, 2);

	unpin(test, pfn);
	expect_idle(test, pgmap);
	expect_absent(test, pfn);
}

/* The block would never go, or go while a new reader looks at it. */
static void revived_block_dies_again(struct kunit *test)
{
	struct thread *first, *second;
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	first = hide_block(test, pfn);
	pin_and_unpin(test, pfn);

	/* Whoever sees it live now has to be waited for, too. */
	second = reader_start(test);
	KUNIT_EXPECT_TRUE(test, pfn_has_struct_page(pfn));
	reader_leaves(test, first);
	/* RCU may make the first grace period wait for the second one, too. */
	within(HZ / 4, !pfn_has_struct_page(pfn));
	KUNIT_EXPECT_TRUE(test, has_struct_page(pfn));
	reader_leaves(test, second);

	expect_idle(test, pgmap);
	expect_absent(test, pfn);
	EXPECT_STAT(test, pgmap, POPULATED, 1);
}

#ifdef CONFIG_TRACEPOINTS
/*
 * The worker is held up after it has unmapped a block, and before it is absent:
 * where it tells that the block was freed.
 */
struct free_probe {
	struct tracepoint *tp;
	bool called;
	bool go;
};

static void free_probe_waits(void *data, unsigned long pfn)
{
	struct free_probe *probe = data;
	unsigned long end = jiffies + 10 * HZ;

	WRITE_ONCE(probe->called, true);
	while (!READ_ONCE(probe->go) && time_before(jiffies, end))
		cpu_relax();
}

static void free_probe_remove(void *data)
{
	struct free_probe *probe = data;

	WRITE_ONCE(probe->go, true);
	tracepoint_probe_unregister(probe->tp, free_probe_waits, probe);
	tracepoint_synchronize_unregister();
}

static void free_probe_find(struct tracepoint *tp, void *data)
{
	struct free_probe *probe = data;

	if (!strcmp(tp->name, "transient_memmap_free"))
		probe->tp = tp;
}

static struct free_probe *freeing_is_held_up(struct kunit *test)
{
	struct free_probe *probe = zalloc(test, sizeof(*probe));

	if (num_online_cpus() < 2)
		kunit_skip(test, "the worker needs a CPU of its own");
	for_each_kernel_tracepoint(free_probe_find, probe);
	KUNIT_ASSERT_NOT_NULL(test, probe->tp);
	KUNIT_ASSERT_EQ(test, 0,
			tracepoint_probe_register(probe->tp, free_probe_waits,
						  probe));
	undo(test, free_probe_remove, probe);
	return probe;
}

/*
 * A CPU would use the last page that was mapped; or the pin would hang, or
 * could not be killed.
 */
static void pin_waits_for_an_unmapped_block(struct kunit *test)
{
	struct thread *waiter, *killed;
	struct dev_pagemap *pgmap;
	struct free_probe *probe;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	pin(test, pfn);
	probe = freeing_is_held_up(test);
	unpin(test, pfn);
	KUNIT_ASSERT_TRUE(test, eventually(READ_ONCE(probe->called)));
	expect_absent(test, pfn);
	waiter = thread_start(test, thread_pins, pgmap, pfn + 1);
	killed = thread_start(test, thread_pins, pgmap, pfn + 2);
	KUNIT_EXPECT_TRUE(test, thread_waits(waiter, TASK_KILLABLE));
	KUNIT_EXPECT_TRUE(test, thread_waits(killed, TASK_KILLABLE));
	send_sig(SIGKILL, killed->task, 1);
	KUNIT_EXPECT_TRUE(test, thread_goes_on(killed));
	KUNIT_EXPECT_PTR_EQ(test, killed->page, (struct page *)ERR_PTR(-EINTR));
	expect_absent(test, pfn);
	EXPECT_STAT(test, pgmap, POPULATED, 1);

	kunit_release_action(test, free_probe_remove, probe);
	KUNIT_EXPECT_TRUE(test, thread_goes_on(waiter));
	KUNIT_EXPECT_PTR_EQ(test, waiter->page, pfn_to_page(pfn + 1));
	EXPECT_STAT(test, pgmap, POPULATED, 2);
	EXPECT_STAT(test, pgmap, FREED, 1);
}
#endif /* CONFIG_TRACEPOINTS */

/* A process that waits at the cap could not be killed. */
static void fatal_signal_ends_the_wait_at_the_cap(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	struct thread *waiter;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	set_limit(test, pgmap, TRANSIENT_MEMMAP_CAP, 1);
	pin(test, pfn);
	waiter = thread_start(test, thread_pins, pgmap, nth_block(pfn, 1));
	KUNIT_EXPECT_TRUE(test, thread_waits(waiter, TASK_KILLABLE));
	send_sig(SIGKILL, waiter->task, 1);
	KUNIT_EXPECT_TRUE(test, thread_goes_on(waiter));
	KUNIT_EXPECT_PTR_EQ(test, waiter->page, (struct page *)ERR_PTR(-EINTR));
	EXPECT_STAT(test, pgmap, FAILED, 0);
	unpin(test, pfn);
	pin(test, nth_block(pfn, 1));
}

/*
 * The provider would give memory away that a device still writes to; or I/O
 * that keeps coming would keep it from leaving; or an unbind that waits for a
 * pin would count as load, and as a hung task.
 */
static void unregistering_waits_for_pins_and_refuses_new(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	struct thread *thread;
	struct page *page;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	page = transient_memmap_populate(pfn, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(page));
	kunit_remove_action(test, unregister_action, pgmap);
	thread = thread_start(test, thread_unregisters, pgmap, 0);

	/* No assertion until the page is unpinned: the thread would hang. */
	KUNIT_EXPECT_TRUE(test, thread_waits(thread, TASK_IDLE));
	KUNIT_EXPECT_EQ(test, folio_ref_count(page_folio(page)), 1);
	KUNIT_EXPECT_PTR_EQ(test, transient_memmap_populate(pfn, 0),
			    (struct page *)ERR_PTR(-EFAULT));
	KUNIT_EXPECT_PTR_EQ(test,
			    transient_memmap_populate(nth_block(pfn, 1), 0),
			    (struct page *)ERR_PTR(-EFAULT));
	folio_put(page_folio(page));

	KUNIT_ASSERT_TRUE(test, thread_goes_on(thread));
	KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, pfn, 0));
	KUNIT_EXPECT_NULL(test, transient_memmap_try_get(pfn));
	KUNIT_EXPECT_NULL(test, get_dev_pagemap(pfn));
	KUNIT_EXPECT_FALSE(test, has_table(pfn));
}

/*
 * Unbinding right after I/O would free the pool under its worker, or hang until
 * the cache has aged, or for good.
 */
static void unregistering_follows_last_unpin(struct kunit *test)
{
	u64 start = unused_memory(test, SECTION_SIZE);
	unsigned long pfn = PHYS_PFN(start);
	struct dev_pagemap *pgmap;
	int round, i;

	for (round = 0; round < 20; round++) {
		pgmap = register_range(test, start, SECTION_SIZE);
		/* Blocks are kept, or freed. */
		set_limit(test, pgmap, TRANSIENT_MEMMAP_CACHE,
			  round % 2 * 100);
		for (i = 0; i < 20; i++)
			pin_and_unpin(test, nth_block(pfn, i));
		unregister_pgmap(test, pgmap);
		for (i = 0; i < 20; i++)
			expect_absent(test, nth_block(pfn, i));
	}
}

/*
 * Threads that pin and unpin a few blocks, so that most unpins are the last one
 * of a block that another thread is about to pin. Nobody waits who has what
 * another one may wait for.
 */
#define RACE_THREADS	4
#define RACE_BLOCKS	3
#define RACE_TIME	(3 * HZ)

/*
 * One block after the other has a rest, long enough for the worker to come, and
 * short enough to be pinned again while the worker is at it.
 */
#define RACE_REST	(HZ / 8)

static const struct cap_case race_cases[] = {
	{ "below the cap", RACE_BLOCKS, 0 },
	{ "at the cap", RACE_BLOCKS - 1, 0 },
	{ "at the cap, blocks are kept", RACE_BLOCKS - 1, 1 },
};
KUNIT_ARRAY_PARAM_DESC(race_case, race_cases, desc);

struct race {
	unsigned long pfn;
	atomic_t pins;
	atomic_t refused;
	atomic_t errors;
	struct racer {
		struct work_struct work;
		struct race *race;
		struct rnd_state rnd;
	} racers[RACE_THREADS];
};

/* As GUP does: fast with IRQs off, then slow */
static struct page *race_pin(struct race *race, unsigned long pfn)
{
	struct folio *folio;
	struct page *page;

	local_irq_disable();
	page = transient_memmap_try_get(pfn);
	local_irq_enable();
	if (!page)
		page = transient_memmap_populate(pfn, 0);
	if (page == ERR_PTR(-ENOMEM)) {
		atomic_inc(&race->refused);
		return NULL;
	}
	atomic_inc(&race->pins);
	if (page != pfn_to_page(pfn)) {
		atomic_inc(&race->errors);
		return NULL;
	}
	folio = page_folio(page);
	/* Beside the threads, the worker and the pool may have a reference. */
	if (!pfn_has_struct_page(pfn) ||
	    folio_pfn(folio) != ALIGN_DOWN(pfn, BLOCK_NR) ||
	    folio_ref_count(folio) < 1 ||
	    folio_ref_count(folio) > RACE_THREADS + 2)
		atomic_inc(&race->errors);
	return page;
}

static unsigned long race_pfn(struct racer *racer)
{
	unsigned long resting = jiffies / RACE_REST % RACE_BLOCKS;
	u32 random = prandom_u32_state(&racer->rnd);
	unsigned long n = 1 + random % (RACE_BLOCKS - 1);

	return nth_block(racer->race->pfn, (resting + n) % RACE_BLOCKS) +
	       random / RACE_BLOCKS % BLOCK_NR;
}

static void race_work(struct work_struct *work)
{
	struct racer *racer = container_of(work, struct racer, work);
	unsigned long end = jiffies + RACE_TIME;
	struct page *page;

	while (time_before(jiffies, end)) {
		page = race_pin(racer->race, race_pfn(racer));
		cond_resched();
		if (page)
			folio_put(page_folio(page));
	}
}

/* Under load, struct pages in use would be freed, or unused ones be kept. */
static void unpin_races_new_pin(struct kunit *test)
{
	struct race *race = zalloc(test, sizeof(*race));
	const struct cap_case *c = test->param_value;
	struct dev_pagemap *pgmap;
	int i;

	pgmap = register_caching(test, &race->pfn, c->cache);
	set_limit(test, pgmap, TRANSIENT_MEMMAP_CAP, c->cap);
	for (i = 0; i < RACE_THREADS; i++) {
		race->racers[i].race = race;
		prandom_seed_state(&race->racers[i].rnd, i + 1);
		INIT_WORK(&race->racers[i].work, race_work);
		queue_work(system_dfl_wq, &race->racers[i].work);
	}
	for (i = 0; i < RACE_THREADS; i++)
		flush_work(&race->racers[i].work);

	kunit_info(test, "%d pins, %d refused, %lu blocks populated\n",
		   atomic_read(&race->pins), atomic_read(&race->refused),
		   STAT(pgmap, POPULATED));
	KUNIT_EXPECT_EQ(test, atomic_read(&race->errors), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&race->pins), 0);
	EXPECT_STAT(test, pgmap, FAILED, atomic_read(&race->refused));
	KUNIT_EXPECT_LE(test, STAT(pgmap, PEAK), c->cap);
	expect_idle(test, pgmap);
	for (i = 0; i < RACE_BLOCKS; i++)
		expect_absent(test, nth_block(race->pfn, i));
}

/*
 * The direct map
 */

/* PG_LEVEL_NONE, or of which size the entry is that maps it */
static unsigned int direct_level(unsigned long pfn)
{
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)__va(PFN_PHYS(pfn)), &level);

	return pte && pte_present(*pte) ? level : PG_LEVEL_NONE;
}

/* Is there a table of PMDs? Without one, the lookup ends a level above. */
static bool has_direct_table(unsigned long pfn)
{
	unsigned int level;

	lookup_address((unsigned long)__va(PFN_PHYS(pfn)), &level);
	return level < PG_LEVEL_1G;
}

static bool can_read(unsigned long pfn)
{
	char byte;

	return !copy_from_kernel_nofault(&byte, __va(PFN_PHYS(pfn)), 1);
}

/* A stray read would see memory of a guest, or I/O would oops. */
static void direct_map_has_pinned_blocks_only(struct kunit *test)
{
	u64 start = unused_gigabytes(test, 2);
	unsigned long pfn = nth_block(PHYS_PFN(start + PUD_SIZE), 3);
	unsigned long other = pfn + PAGES_PER_SECTION;
	struct dev_pagemap *pgmap;
	int i;

	pgmap = register_with(test, start, 2 * PUD_SIZE, DIRECT_MAP);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_FALSE(test, can_read(pfn));
		KUNIT_EXPECT_EQ(test, direct_level(pfn), PG_LEVEL_NONE);
		/* A memory error changes nothing that is not there. */
		KUNIT_EXPECT_EQ(test, set_mce_nospec(pfn), 0);

		pin(test, pfn);
		KUNIT_EXPECT_EQ(test, direct_level(pfn), PG_LEVEL_2M);
		KUNIT_EXPECT_TRUE(test, can_read(pfn));
		KUNIT_EXPECT_TRUE(test, can_read(pfn + BLOCK_NR - 1));
		KUNIT_EXPECT_FALSE(test, can_read(pfn - 1));
		KUNIT_EXPECT_FALSE(test, can_read(pfn + BLOCK_NR));
		KUNIT_EXPECT_FALSE(test, can_read(PHYS_PFN(start)));
		KUNIT_EXPECT_EQ(test, set_mce_nospec(pfn), 0);
		KUNIT_EXPECT_EQ(test, direct_level(pfn), PG_LEVEL_2M);
		KUNIT_EXPECT_EQ(test, clear_mce_nospec(pfn), 0);

		pin(test, other);
		unpin(test, pfn);
		KUNIT_EXPECT_TRUE(test, eventually(!can_read(pfn)));
		KUNIT_EXPECT_TRUE(test, can_read(other));
		unpin(test, other);
		expect_idle(test, pgmap);
		KUNIT_EXPECT_FALSE(test, can_read(other));
	}
}

/*
 * A pin would oops at a table that is not there; or a device that is bound with
 * its memory in the direct map, then without, would fail to bind.
 */
static void direct_map_has_tables_while_registered(struct kunit *test)
{
	u64 start = unused_gigabytes(test, 2);
	unsigned long pfn = PHYS_PFN(start);
	unsigned long second = PHYS_PFN(start + PUD_SIZE);
	struct dev_pagemap *pgmap;
	int i;

	for (i = 0; i < 2; i++) {
		/* All of it is in the direct map then, and all of it goes. */
		pgmap = register_range(test, start, 2 * PUD_SIZE);
		KUNIT_EXPECT_NE(test, direct_level(pfn), PG_LEVEL_NONE);
		unregister_pgmap(test, pgmap);
		KUNIT_EXPECT_EQ(test, direct_level(pfn), PG_LEVEL_NONE);
		KUNIT_EXPECT_FALSE(test, has_direct_table(pfn));

		pgmap = register_with(test, start, 2 * PUD_SIZE, DIRECT_MAP);
		KUNIT_EXPECT_TRUE(test, has_direct_table(pfn));
		KUNIT_EXPECT_TRUE(test, has_direct_table(second));
		KUNIT_EXPECT_TRUE(test, has_table(pfn));
		pin_and_unpin(test, pfn);
		unregister_pgmap(test, pgmap);
		KUNIT_EXPECT_FALSE(test, has_direct_table(pfn));
		KUNIT_EXPECT_FALSE(test, has_direct_table(second));
		KUNIT_EXPECT_FALSE(test, has_table(pfn));
	}
}

/*
 * The page table of somebody else's memory would be freed; or the kernel and
 * somebody else would see different bytes of the same memory.
 */
static void direct_map_wants_gigabytes_of_its_own(struct kunit *test)
{
	u64 start = unused_gigabytes(test, 2);
	struct dev_pagemap *pgmap;
	void __iomem *other;

	KUNIT_EXPECT_EQ(test, -EINVAL,
			refused(test, start, SECTION_SIZE, DIRECT_MAP));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			refused(test, start + PMD_SIZE, PUD_SIZE - PMD_SIZE,
				DIRECT_MAP));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			refused(test, start, PUD_SIZE + PMD_SIZE, DIRECT_MAP));
	KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, PHYS_PFN(start), 0));

	/* Part of it is somebody else's, and in the direct map. */
	pgmap = register_range(test, start + SECTION_SIZE, SECTION_SIZE);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			refused(test, start, PUD_SIZE, DIRECT_MAP));
	KUNIT_EXPECT_TRUE(test, can_read(PHYS_PFN(start + SECTION_SIZE)));
	unregister_pgmap(test, pgmap);

	/* Part of it is mapped elsewhere, by another memory type. */
	other = ioremap_wc(start + PMD_SIZE, PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, (__force void *)other);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			refused(test, start, PUD_SIZE, DIRECT_MAP));
	iounmap(other);
	KUNIT_EXPECT_FALSE(test, has_direct_table(PHYS_PFN(start)));
	register_with(test, start, PUD_SIZE, DIRECT_MAP);
}

/*
 * What is kept
 */

/*
 * Ageing has just been here, and will not be back for half a second. Uses the
 * last block of the section.
 */
static void wait_for_ageing(struct kunit *test, struct dev_pagemap *pgmap,
			    unsigned long pfn)
{
	pin_cold(test, nth_block(pfn, BLOCKS_PER_SECTION - 1));
	KUNIT_EXPECT_TRUE(test, eventually(!STAT(pgmap, CACHED)));
}

/* Memory saved by having no memmap would be lost to guests that are idle. */
static void idle_pool_empties_itself(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn, bytes;
	int i;

	pgmap = register_caching(test, &pfn, 100);
	bytes = STAT(pgmap, BYTES);
	/* More than there are spare pages */
	for (i = 0; i < 40; i++)
		pin_and_unpin(test, nth_block(pfn, i));
	EXPECT_STAT(test, pgmap, CACHED, 40);
	expect_idle(test, pgmap);
	EXPECT_STAT(test, pgmap, CACHED, 0);
	EXPECT_STAT(test, pgmap, FREED, 40);
	for (i = 0; i < 40; i++)
		expect_absent(test, nth_block(pfn, i));
	KUNIT_EXPECT_TRUE(test, eventually(STAT(pgmap, BYTES) == bytes));
}

/* A busy guest would pay for struct pages twice a second. */
static void block_in_use_does_not_age(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn, cold;
	int i;

	pgmap = register_caching(test, &pfn, 4);
	cold = nth_block(pfn, 1);

	/* One that is pinned again and again: ageing comes three times. */
	for (i = 0; i < 3; i++) {
		pin_cold(test, cold);
		KUNIT_EXPECT_TRUE(test, eventually((pin_and_unpin(test, pfn),
						    !has_struct_page(cold))));
	}
	EXPECT_STAT(test, pgmap, CACHED, 1);
	EXPECT_STAT(test, pgmap, POPULATED, 4);

	/* One that is pinned all the time */
	pin(test, pfn);
	for (i = 0; i < 3; i++) {
		pin_cold(test, cold);
		KUNIT_EXPECT_TRUE(test, eventually(!has_struct_page(cold)));
	}
	EXPECT_STAT(test, pgmap, CACHED, 1);
	EXPECT_STAT(test, pgmap, POPULATED, 7);
	unpin(test, pfn);
	expect_idle(test, pgmap);
}

/* The operator's limit on what idle memory costs would not be one. */
static void cache_limits_kept_blocks(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;
	int i;

	pgmap = register_caching(test, &pfn, 3);
	wait_for_ageing(test, pgmap, pfn);
	for (i = 0; i < 20; i++) {
		pin_and_unpin(test, nth_block(pfn, i));
		KUNIT_EXPECT_LE(test, STAT(pgmap, CACHED), 3UL);
	}
	/* The clock's hand may drop two for one. */
	KUNIT_EXPECT_GE(test, STAT(pgmap, CACHED), 2);
	set_limit(test, pgmap, TRANSIENT_MEMMAP_CACHE, 1);
	EXPECT_STAT(test, pgmap, CACHED, 1);

	/* And 0 is: free after the last unpin, of what is pinned now, too. */
	set_limit(test, pgmap, TRANSIENT_MEMMAP_CACHE, ULONG_MAX);
	pin(test, pfn);
	set_limit(test, pgmap, TRANSIENT_MEMMAP_CACHE, 0);
	EXPECT_STAT(test, pgmap, CACHED, 0);
	KUNIT_EXPECT_TRUE(test, eventually(STAT(pgmap, LIVE) == 1));
	KUNIT_EXPECT_TRUE(test, is_pinnable(pfn));
	unpin(test, pfn);
	expect_idle(test, pgmap);
}

/*
 * Memory errors
 */

static void unpoison_action(void *pfn)
{
	transient_memmap_unpoison((unsigned long)pfn);
}

static void poison(struct kunit *test, unsigned long pfn)
{
	transient_memmap_poison(pfn);
	undo(test, unpoison_action, (void *)pfn);
}

static void expect_poisoned(struct kunit *test, unsigned long pfn)
{
	KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, pfn, 0));
	KUNIT_EXPECT_EQ(test, -EHWPOISON, try_pin(test, pfn, FOLL_HWPOISON));
}

/* GUP-fast does not look at single pages, so it leaves the block alone. */
static void expect_live_and_poisoned(struct kunit *test, unsigned long pfn)
{
	KUNIT_EXPECT_TRUE(test, pfn_has_struct_page(pfn));
	KUNIT_EXPECT_FALSE(test, is_pinnable(pfn));
	KUNIT_EXPECT_NULL(test, transient_memmap_try_get(pfn));
}

/* I/O would bring bad data, or 2 MiB would be lost with a page. */
static void poisoned_page_is_refused_and_neighbours_are_not(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn, other;

	pgmap = register_section(test, &pfn);
	other = nth_block(pfn, 1);
	poison(test, other);
	expect_poisoned(test, other);
	EXPECT_STAT(test, pgmap, POPULATED, 0);
	EXPECT_STAT(test, pgmap, FAILED, 0);

	/* One that is populated with it, and one that was before */
	pin(test, other + 1);
	pin(test, pfn);
	KUNIT_EXPECT_TRUE(test, is_pinnable(pfn));
	poison(test, pfn + 3);
	expect_poisoned(test, other);
	expect_poisoned(test, pfn + 3);
	pin(test, pfn + 4);
	EXPECT_STAT(test, pgmap, POPULATED, 2);
	expect_live_and_poisoned(test, pfn);
	expect_live_and_poisoned(test, other + 1);

	kunit_release_action(test, unpoison_action, (void *)(pfn + 3));
	KUNIT_EXPECT_TRUE(test, is_pinnable(pfn));
	pin(test, pfn + 3);
	KUNIT_EXPECT_EQ(test, transient_memmap_unpoison(pfn + 3), -EIO);
}

/* A device that is unbound and bound again would hand out bad memory. */
static void poison_outlives_block_and_range(struct kunit *test)
{
	u64 start = unused_memory(test, SECTION_SIZE);
	unsigned long pfn = PHYS_PFN(start);
	struct dev_pagemap *pgmap;

	pgmap = register_range(test, start, SECTION_SIZE);
	pin(test, pfn);
	poison(test, pfn + 1);
	unpin(test, pfn);
	expect_idle(test, pgmap);
	expect_poisoned(test, pfn + 1);
	unregister_pgmap(test, pgmap);

	register_range(test, start, SECTION_SIZE);
	pin(test, pfn);
	expect_poisoned(test, pfn + 1);
	kunit_release_action(test, unpoison_action, (void *)(pfn + 1));
	pin(test, pfn + 1);

	/* Of nobody's memory, nothing is noted. */
	transient_memmap_poison(0);
	KUNIT_EXPECT_EQ(test, transient_memmap_unpoison(0), -EIO);
}

static struct kunit_case transient_memmap_cases[] = {
	KUNIT_CASE(pin_gives_folio_of_a_block),
	KUNIT_CASE(only_the_pinned_block_has_struct_pages),
	KUNIT_CASE(shared_tails_cannot_be_written),
	KUNIT_CASE(last_unpin_in_hard_irq_frees),
	KUNIT_CASE(blocks_are_freed_in_batches),
	KUNIT_CASE(freed_translation_is_flushed_everywhere),
	KUNIT_CASE(sections_have_tables_while_registered),
	KUNIT_CASE(ranges_share_a_section),
	KUNIT_CASE_PARAM(bad_range_is_refused, bad_range_gen_params),
	KUNIT_CASE(failed_registration_leaves_nothing),
	KUNIT_CASE(system_ram_is_refused),
	KUNIT_CASE(section_has_one_kind_of_memmap),
	KUNIT_CASE_SLOW(cap_limits_live_blocks),
	KUNIT_CASE_PARAM(pin_at_the_cap_gets_an_idle_block,
			 cap_case_gen_params),
	KUNIT_CASE(longterm_pins_need_permission),
	KUNIT_CASE(new_pin_revives_a_hidden_block),
	KUNIT_CASE(revived_block_dies_again),
#ifdef CONFIG_TRACEPOINTS
	KUNIT_CASE(pin_waits_for_an_unmapped_block),
#endif
	KUNIT_CASE(fatal_signal_ends_the_wait_at_the_cap),
	KUNIT_CASE(unregistering_waits_for_pins_and_refuses_new),
	KUNIT_CASE(unregistering_follows_last_unpin),
	KUNIT_CASE_PARAM_ATTR(unpin_races_new_pin, race_case_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE(direct_map_has_pinned_blocks_only),
	KUNIT_CASE(direct_map_has_tables_while_registered),
	KUNIT_CASE(direct_map_wants_gigabytes_of_its_own),
	KUNIT_CASE_SLOW(idle_pool_empties_itself),
	KUNIT_CASE_SLOW(block_in_use_does_not_age),
	KUNIT_CASE(cache_limits_kept_blocks),
	KUNIT_CASE(poisoned_page_is_refused_and_neighbours_are_not),
	KUNIT_CASE(poison_outlives_block_and_range),
	{}
};

static struct kunit_suite transient_memmap_suite = {
	.name = "transient_memmap",
	.test_cases = transient_memmap_cases,
};

kunit_test_suite(transient_memmap_suite);

MODULE_DESCRIPTION("Tests of transient struct pages");
MODULE_LICENSE("GPL");
