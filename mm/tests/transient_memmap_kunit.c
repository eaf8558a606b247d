// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the pool of transient struct pages.
 *
 * They register ranges of physical address space that holds no memory, and pin
 * and unpin there.  What would be in that memory is never looked at.
 *
 * All that a test sets up is undone by kunit actions, the last first, so that
 * no range stays registered and no pin is held when an assertion fails.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/irq_work.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmzone.h>
#include <linux/pgtable.h>
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/tracepoint.h>
#include <linux/prandom.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/set_memory.h>
#include <linux/sizes.h>
#include <linux/workqueue.h>
#include "../transient_memmap.h"
#include "../internal.h"

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");

#define SECTION_SIZE	BIT(SECTION_SIZE_BITS)

/* Pages of a block, in the case that runs */
static unsigned long block_nr;

/* Far beyond a grace period on a busy, emulated machine */
#define PATIENCE	(20 * HZ)

/* Wait for a condition that has to become true; its value at the end. */
#define eventually(cond)						\
({									\
	unsigned long __end = jiffies + PATIENCE;			\
	bool __is;							\
									\
	while (!(__is = (cond)) && time_before(jiffies, __end))		\
		usleep_range(500, 1000);				\
	__is;								\
})

/* Setting up */

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
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
							   release_region_action,
							   res));
	return res->start;
}

static struct dev_pagemap *new_pgmap(struct kunit *test, enum memory_type type,
				     int nr_range)
{
	struct dev_pagemap *pgmap;

	pgmap = kunit_kzalloc(test, struct_size(pgmap, ranges, nr_range),
			      GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pgmap);
	pgmap->type = type;
	pgmap->nr_range = nr_range;
	pgmap->vmemmap_shift = ilog2(block_nr);
	return pgmap;
}

static void set_range(struct dev_pagemap *pgmap, int i, u64 start, u64 size)
{
	pgmap->ranges[i].start = start;
	pgmap->ranges[i].end = start + size - 1;
}

static void unregister_action(void *pgmap)
{
	memunmap_pages(pgmap);
}

/* Returns 0 or the error; the test's end undoes it. */
static int register_on_node(struct kunit *test, struct dev_pagemap *pgmap,
			    int nid)
{
	void *addr = memremap_pages(pgmap, nid);

	if (IS_ERR(addr))
		return PTR_ERR(addr);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
							   unregister_action,
							   pgmap));
	return 0;
}

/* Nothing is cached unless the test says so. */
static int register_pgmap(struct kunit *test, struct dev_pagemap *pgmap)
{
	int err = register_on_node(test, pgmap, numa_mem_id());

	if (!err)
		transient_memmap_set_cache(pgmap, 0);
	return err;
}

static void unregister_pgmap(struct kunit *test, struct dev_pagemap *pgmap)
{
	kunit_release_action(test, unregister_action, pgmap);
}

/* One range in a pgmap of its own; NULL and an error code if it is refused. */
static struct dev_pagemap *try_register(struct kunit *test,
					enum memory_type type,
					u64 start, u64 size, int *err)
{
	struct dev_pagemap *pgmap = new_pgmap(test, type, 1);

	set_range(pgmap, 0, start, size);
	*err = register_pgmap(test, pgmap);
	return *err ? NULL : pgmap;
}

static struct dev_pagemap *register_range(struct kunit *test, u64 start,
					  u64 size)
{
	struct dev_pagemap *pgmap;
	int err;

	pgmap = try_register(test, MEMORY_DEVICE_TRANSIENT, start, size, &err);
	KUNIT_ASSERT_EQ(test, 0, err);
	return pgmap;
}

static int refused(struct kunit *test, enum memory_type type, u64 start,
		   u64 size)
{
	int err;

	try_register(test, type, start, size, &err);
	return err;
}

static struct dev_pagemap *register_section(struct kunit *test,
					    unsigned long *pfn)
{
	u64 start = unused_memory(test, SECTION_SIZE);

	*pfn = PHYS_PFN(start);
	return register_range(test, start, SECTION_SIZE);
}

/* Pinning */

static void put_action(void *page)
{
	folio_put(page_folio((struct page *)page));
}

static int try_pin(struct kunit *test, unsigned long pfn)
{
	struct page *page = transient_memmap_populate(pfn, false);

	if (IS_ERR(page))
		return PTR_ERR(page);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, put_action,
							   page));
	KUNIT_EXPECT_PTR_EQ(test, page, pfn_to_page(pfn));
	return 0;
}

static struct folio *pin(struct kunit *test, unsigned long pfn)
{
	KUNIT_ASSERT_EQ(test, 0, try_pin(test, pfn));
	return page_folio(pfn_to_page(pfn));
}

static void unpin(struct kunit *test, unsigned long pfn)
{
	kunit_release_action(test, put_action, pfn_to_page(pfn));
}

/* Looking */

static struct transient_memmap_stats stats_of(struct dev_pagemap *pgmap)
{
	struct transient_memmap_stats stats;

	if (transient_memmap_get_stats(pgmap, &stats))
		memset(&stats, 0xff, sizeof(stats));
	return stats;
}

#define EXPECT_STAT(test, pgmap, name, value)				\
	KUNIT_EXPECT_EQ(test, stats_of(pgmap).name,			\
			(unsigned long)(value))

/* Is the pfn's struct page mapped?  Asks the page tables, not the pool. */
static bool has_struct_page(unsigned long pfn)
{
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)pfn_to_page(pfn), &level);

	return pte && !pte_none(ptep_get(pte));
}

static void expect_absent(struct kunit *test, unsigned long pfn)
{
	KUNIT_EXPECT_FALSE(test, transient_memmap_live(pfn));
	KUNIT_EXPECT_FALSE(test, has_struct_page(pfn));
	KUNIT_EXPECT_FALSE(test, pfn_valid(pfn));
}

static void expect_idle(struct kunit *test, struct dev_pagemap *pgmap)
{
	KUNIT_EXPECT_TRUE(test, eventually(!stats_of(pgmap).live));
}

static unsigned long nth_block(unsigned long pfn, unsigned long n)
{
	return pfn + n * block_nr;
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
	struct folio *folio;
	unsigned long pfn, i;

	pgmap = register_section(test, &pfn);
	pfn = nth_block(pfn, 3);
	folio = pin(test, pfn + 5);

	KUNIT_EXPECT_EQ(test, folio_pfn(folio), pfn);
	KUNIT_EXPECT_EQ(test, folio_nr_pages(folio), (long)block_nr);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_EQ(test, folio_mapcount(folio), 0);
	KUNIT_EXPECT_FALSE(test, folio_maybe_dma_pinned(folio));
	KUNIT_EXPECT_TRUE(test, folio_is_zone_device(folio));
	KUNIT_EXPECT_PTR_EQ(test, folio->pgmap, transient_memmap_pgmap(pgmap));
	KUNIT_EXPECT_FALSE(test, folio_test_anon(folio));
	KUNIT_EXPECT_FALSE(test, folio_test_lru(folio));
	for (i = 0; i < block_nr; i++) {
		struct page *page = pfn_to_page(pfn + i);

		KUNIT_EXPECT_EQ(test, page_to_pfn(page), pfn + i);
		KUNIT_EXPECT_PTR_EQ(test, page_folio(page), folio);
		KUNIT_EXPECT_EQ(test, page_zonenum(page), ZONE_DEVICE);
		KUNIT_EXPECT_EQ(test, page_to_nid(page), numa_mem_id());
		KUNIT_EXPECT_TRUE(test, transient_memmap_live(pfn + i));
	}
}

/* Each page of a large buffer would cost a struct page's page, 64 times. */
static void pages_of_a_block_share_its_folio(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	struct folio *first, *last;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	first = pin(test, pfn);
	last = pin(test, pfn + block_nr - 1);

	KUNIT_EXPECT_PTR_EQ(test, first, last);
	KUNIT_EXPECT_EQ(test, folio_ref_count(first), 2);
	EXPECT_STAT(test, pgmap, live, 1);
	EXPECT_STAT(test, pgmap, populated, 1);

	KUNIT_EXPECT_PTR_NE(test, first, pin(test, nth_block(pfn, 1)));
	EXPECT_STAT(test, pgmap, live, 2);
	EXPECT_STAT(test, pgmap, populated, 2);
}

/* GUP-fast would fail on, or worse pin, what the slow path has not made. */
static void only_live_blocks_are_had_without_populating(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	struct page *page;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	KUNIT_EXPECT_PTR_EQ(test, transient_memmap_try_get(pfn),
			    (struct page *)ERR_PTR(-ENODATA));
	EXPECT_STAT(test, pgmap, populated, 0);

	pin(test, pfn);
	page = transient_memmap_try_get(pfn + 1);
	KUNIT_ASSERT_PTR_EQ(test, page, pfn_to_page(pfn + 1));
	KUNIT_EXPECT_EQ(test, folio_ref_count(page_folio(page)), 2);
	folio_put(page_folio(page));
	KUNIT_EXPECT_PTR_EQ(test, transient_memmap_try_get(nth_block(pfn, 1)),
			    (struct page *)ERR_PTR(-ENODATA));
	EXPECT_STAT(test, pgmap, populated, 1);
}

/*
 * Pfn walkers (compaction, hibernation, /proc/kpageflags) would look at struct
 * pages that are not there; or a pin would cost more than the block it is for.
 */
static void only_the_pinned_block_has_struct_pages(struct kunit *test)
{
	unsigned long pfn, block;

	register_section(test, &pfn);
	block = nth_block(pfn, 1);
	expect_absent(test, block);

	pin(test, block);
	KUNIT_EXPECT_TRUE(test, has_struct_page(block));
	KUNIT_EXPECT_TRUE(test, has_struct_page(nth_block(block, 1) - 1));
	KUNIT_EXPECT_FALSE(test, pfn_valid(block));
	expect_absent(test, block - 1);
	expect_absent(test, nth_block(block, 1));

	unpin(test, block);
	KUNIT_EXPECT_TRUE(test, eventually(!has_struct_page(block)));
	expect_absent(test, block);
}

/* A stub that notes the node that it is asked for */
static struct page *alloc_notes_node(int nid, gfp_t gfp)
{
	*(int *)kunit_get_current_test()->priv = nid;
	return alloc_pages_node(numa_mem_id(), GFP_KERNEL, 0);
}

static void expect_block_on_node(struct kunit *test, u64 start, int nid,
				 int expected)
{
	unsigned long pfn = PHYS_PFN(start);
	struct dev_pagemap *pgmap;
	int asked = MAX_NUMNODES;

	pgmap = new_pgmap(test, MEMORY_DEVICE_TRANSIENT, 1);
	set_range(pgmap, 0, start, SECTION_SIZE);
	KUNIT_ASSERT_EQ(test, 0, register_on_node(test, pgmap, nid));
	test->priv = &asked;
	kunit_activate_static_stub(test, transient_block_page_alloc,
				   alloc_notes_node);
	pin(test, pfn);
	kunit_deactivate_static_stub(test, transient_block_page_alloc);
	KUNIT_EXPECT_EQ(test, asked, expected);
	KUNIT_EXPECT_EQ(test, page_to_nid(pfn_to_page(pfn)), expected);
	KUNIT_EXPECT_EQ(test, page_to_nid(pfn_to_page(pfn + block_nr - 1)),
			expected);
	unpin(test, pfn);
	unregister_pgmap(test, pgmap);
}

/*
 * I/O would reach across the machine for struct pages, or the core would count
 * the pages for another node.  With one node, this sees that it is always asked
 * for.
 */
static void block_page_is_of_the_ranges_node(struct kunit *test)
{
	u64 start = unused_memory(test, SECTION_SIZE);
	int nid;

	expect_block_on_node(test, start, NUMA_NO_NODE, numa_mem_id());
	for_each_node_state(nid, N_MEMORY)
		expect_block_on_node(test, start, nid, nid);
}

/*
 * What the last unpin does
 */

static void free_page_action(void *page)
{
	__free_page(page);
}

/* A stub that keeps a reference on the page, to see when the pool drops its. */
static struct page *alloc_observed(int nid, gfp_t gfp)
{
	struct kunit *test = kunit_get_current_test();
	struct page *page = alloc_pages_node(nid, GFP_KERNEL, 0);

	if (page) {
		get_page(page);
		test->priv = page;
	}
	return page;
}

/* The memory saved by having no memmap would be lost pin by pin. */
static void last_unpin_gives_the_memory_back(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	struct page *memory;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	kunit_activate_static_stub(test, transient_block_page_alloc,
				   alloc_observed);
	pin(test, pfn);
	memory = test->priv;
	KUNIT_ASSERT_NOT_NULL(test, memory);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
							   free_page_action,
							   memory));
	pin(test, pfn + 1);

	unpin(test, pfn);
	msleep(50);
	KUNIT_EXPECT_EQ(test, page_ref_count(memory), 2);
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(pfn));

	unpin(test, pfn + 1);
	KUNIT_EXPECT_TRUE(test, eventually(page_ref_count(memory) == 1));
	expect_idle(test, pgmap);
	expect_absent(test, pfn);
	EXPECT_STAT(test, pgmap, peak, 1);
	EXPECT_STAT(test, pgmap, populated, 1);
	EXPECT_STAT(test, pgmap, failed, 0);
}

/* Memory that was pinned once could not be used for I/O any more. */
static void block_is_repopulated_after_it_went(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	struct folio *folio;
	unsigned long pfn;
	int i;

	pgmap = register_section(test, &pfn);
	for (i = 1; i <= 5; i++) {
		folio = pin(test, pfn);
		KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
		EXPECT_STAT(test, pgmap, populated, i);
		unpin(test, pfn);
		expect_idle(test, pgmap);
		expect_absent(test, pfn);
	}
}

struct irq_unpin {
	struct irq_work work;
	struct folio *folio;
	bool was_hardirq;
};

static void unpin_in_irq(struct irq_work *work)
{
	struct irq_unpin *unpin = container_of(work, struct irq_unpin, work);

	unpin->was_hardirq = in_hardirq();
	folio_put(unpin->folio);
}

/* A bio that ends in its driver's interrupt handler would hang the machine. */
static void last_unpin_in_hard_irq_frees(struct kunit *test)
{
	struct irq_unpin *irq;
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	irq = kunit_kzalloc(test, sizeof(*irq), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, irq);
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

/* Unpinning many blocks at once would leave some of them behind. */
static void many_blocks_go_together(struct kunit *test)
{
	const int nr = PAGES_PER_SECTION / block_nr / 2;
	struct dev_pagemap *pgmap;
	unsigned long pfn;
	int i;

	pgmap = register_section(test, &pfn);
	for (i = 0; i < nr; i++)
		pin(test, nth_block(pfn, 2 * i));
	EXPECT_STAT(test, pgmap, live, nr);
	EXPECT_STAT(test, pgmap, peak, nr);
	for (i = 0; i < nr; i++)
		unpin(test, nth_block(pfn, 2 * i));
	expect_idle(test, pgmap);
	for (i = 0; i < nr; i++)
		expect_absent(test, nth_block(pfn, 2 * i));
	EXPECT_STAT(test, pgmap, peak, nr);
}

/*
 * Ranges
 */

/* A provider with memory in two places would have two caps, or one hole. */
static void ranges_of_a_pgmap_share_a_pool(struct kunit *test)
{
	u64 start = unused_memory(test, 4 * SECTION_SIZE);
	struct dev_pagemap *pgmap;
	unsigned long first = PHYS_PFN(start);
	unsigned long second = PHYS_PFN(start + 3 * SECTION_SIZE);

	pgmap = new_pgmap(test, MEMORY_DEVICE_TRANSIENT, 2);
	set_range(pgmap, 0, start, SECTION_SIZE);
	set_range(pgmap, 1, start + 3 * SECTION_SIZE, SECTION_SIZE);
	KUNIT_ASSERT_EQ(test, 0, register_pgmap(test, pgmap));

	pin(test, first);
	pin(test, second);
	EXPECT_STAT(test, pgmap, live, 2);
	KUNIT_EXPECT_EQ(test, -EFAULT,
			try_pin(test, PHYS_PFN(start + SECTION_SIZE)));
	KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, second - 1));
	unpin(test, first);
	unpin(test, second);
	expect_idle(test, pgmap);
}

/* Memory that a platform hands out in pieces of 2 MiB could not be used. */
static void range_need_not_be_aligned_to_a_section(struct kunit *test)
{
	u64 start = unused_memory(test, 3 * SECTION_SIZE);
	u64 size = SECTION_SIZE + 2 * SUBSECTION_SIZE;
	unsigned long first, last;
	struct dev_pagemap *pgmap;

	start += SECTION_SIZE - SUBSECTION_SIZE;
	pgmap = register_range(test, start, size);
	first = PHYS_PFN(start);
	last = PHYS_PFN(start + size - 1);

	pin(test, first);
	pin(test, last);
	KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, first - 1));
	KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, last + 1));
	expect_absent(test, first - 1);
	expect_absent(test, last + 1);
	unpin(test, first);
	unpin(test, last);
	expect_idle(test, pgmap);
}

/* One device's unbind would take the page tables of another's struct pages. */
static void pgmaps_share_a_section(struct kunit *test)
{
	u64 start = unused_memory(test, SECTION_SIZE);
	unsigned long left = PHYS_PFN(start);
	unsigned long right = PHYS_PFN(start + SECTION_SIZE / 2);
	struct dev_pagemap *pgmaps[2];
	struct folio *folio;
	int i;

	/* Whichever of the two goes first. */
	for (i = 0; i < 2; i++) {
		pgmaps[0] = register_range(test, start, SECTION_SIZE / 2);
		pgmaps[1] = register_range(test, start + SECTION_SIZE / 2,
					   SECTION_SIZE / 2);
		pin(test, left);
		pin(test, right);
		EXPECT_STAT(test, pgmaps[0], live, 1);
		EXPECT_STAT(test, pgmaps[1], live, 1);

		unpin(test, i ? right : left);
		unregister_pgmap(test, pgmaps[i]);
		folio = page_folio(pfn_to_page(i ? left : right));
		KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
		pin(test, nth_block(i ? left : right, 1));

		unpin(test, nth_block(i ? left : right, 1));
		unpin(test, i ? left : right);
		unregister_pgmap(test, pgmaps[!i]);
		expect_absent(test, left);
		expect_absent(test, right);
	}
}

/* The far end of a terabyte could not be pinned, or registering cost memory. */
static void large_range_works_at_both_ends(struct kunit *test)
{
	u64 size = 128ULL * SZ_1G, start = unused_memory(test, size);
	unsigned long pfns[] = {
		PHYS_PFN(start), PHYS_PFN(start + size / 2 - PAGE_SIZE),
		PHYS_PFN(start + size / 2), PHYS_PFN(start + size - PAGE_SIZE),
	};
	struct dev_pagemap *pgmap = register_range(test, start, size);
	int i;

	for (i = 0; i < ARRAY_SIZE(pfns); i++)
		pin(test, pfns[i]);
	EXPECT_STAT(test, pgmap, live, ARRAY_SIZE(pfns));
	for (i = 0; i < ARRAY_SIZE(pfns); i++)
		unpin(test, pfns[i]);
	expect_idle(test, pgmap);
	unregister_pgmap(test, pgmap);
	for (i = 0; i < ARRAY_SIZE(pfns); i++)
		expect_absent(test, pfns[i]);
}

/* Two owners of one block would free each other's struct pages. */
static void overlapping_range_is_refused(struct kunit *test)
{
	const enum memory_type type = MEMORY_DEVICE_TRANSIENT;
	u64 start = unused_memory(test, 3 * SECTION_SIZE);
	u64 mid = start + SECTION_SIZE;
	struct dev_pagemap *pgmap = register_range(test, mid, SECTION_SIZE);

	KUNIT_EXPECT_LT(test, refused(test, type, mid, SECTION_SIZE), 0);
	KUNIT_EXPECT_LT(test, refused(test, type, start, 2 * SECTION_SIZE), 0);
	KUNIT_EXPECT_LT(test, refused(test, type, start, 3 * SECTION_SIZE), 0);
	KUNIT_EXPECT_LT(test, refused(test, type, mid + SUBSECTION_SIZE,
				      SUBSECTION_SIZE), 0);
	KUNIT_EXPECT_LT(test, refused(test, type,
				      mid + SECTION_SIZE - SUBSECTION_SIZE,
				      2 * SUBSECTION_SIZE), 0);

	/* Neither the owner nor the neighbours have suffered. */
	pin(test, PHYS_PFN(mid));
	EXPECT_STAT(test, pgmap, live, 1);
	KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, PHYS_PFN(mid) - 1));
	register_range(test, start, SECTION_SIZE);
	register_range(test, mid + SECTION_SIZE, SECTION_SIZE);
	pin(test, PHYS_PFN(mid) - 1);
}

/* A provider's bad arithmetic would make half a block, or a warning. */
static void malformed_range_is_refused(struct kunit *test)
{
	const enum memory_type type = MEMORY_DEVICE_TRANSIENT;
	u64 start = unused_memory(test, SECTION_SIZE);

	KUNIT_EXPECT_EQ(test, -EINVAL,
			refused(test, type, start + PAGE_SIZE, SUBSECTION_SIZE));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			refused(test, type, start, SUBSECTION_SIZE - PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			refused(test, type, start, SUBSECTION_SIZE - 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, refused(test, type, start, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EINVAL, refused(test, type, start, 0));

	register_range(test, start, SECTION_SIZE);
}

/* RAM in use would be handed out as the provider's. */
static void memory_with_a_memmap_is_refused(struct kunit *test)
{
	void *ram = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ram);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			refused(test, MEMORY_DEVICE_TRANSIENT,
				ALIGN_DOWN(__pa(ram), SUBSECTION_SIZE),
				SUBSECTION_SIZE));
	KUNIT_EXPECT_FALSE(test, transient_memmap_live(PHYS_PFN(__pa(ram))));
}

/* Two kinds of memmap would share, and free, the same page tables. */
static void section_has_one_kind_of_memmap(struct kunit *test)
{
	u64 start = unused_memory(test, SECTION_SIZE);
	u64 rest = start + SUBSECTION_SIZE;
	struct dev_pagemap *pgmap;
	int err;

	pgmap = register_range(test, start, SUBSECTION_SIZE);
	KUNIT_EXPECT_EQ(test, -EBUSY, refused(test, MEMORY_DEVICE_GENERIC, rest,
					      SUBSECTION_SIZE));
	pin(test, PHYS_PFN(start));
	unpin(test, PHYS_PFN(start));
	unregister_pgmap(test, pgmap);

	pgmap = try_register(test, MEMORY_DEVICE_GENERIC, rest, SUBSECTION_SIZE,
			     &err);
	KUNIT_ASSERT_EQ(test, 0, err);
	KUNIT_EXPECT_EQ(test, -EBUSY, refused(test, MEMORY_DEVICE_TRANSIENT,
					      start, SUBSECTION_SIZE));
	KUNIT_EXPECT_TRUE(test, pfn_valid(PHYS_PFN(rest)));
	unregister_pgmap(test, pgmap);
	register_range(test, start, SECTION_SIZE);
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
	KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, PHYS_PFN(start)));
	expect_absent(test, PHYS_PFN(start));

	register_range(test, start, 2 * SECTION_SIZE);
	pin(test, PHYS_PFN(start));
}

/* GUP would make struct pages for MMIO, or take RAM's away. */
static void foreign_pfn_is_left_alone(struct kunit *test)
{
	u64 start = unused_memory(test, SECTION_SIZE);
	void *ram = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	unsigned long pfns[] = { PHYS_PFN(start), 0, 0 };
	unsigned long registered;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, ram);
	pfns[1] = PHYS_PFN(__pa(ram));
	register_section(test, &registered);
	for (i = 0; i < ARRAY_SIZE(pfns); i++) {
		KUNIT_EXPECT_PTR_EQ(test, transient_memmap_try_get(pfns[i]),
				    (struct page *)ERR_PTR(-EFAULT));
		KUNIT_EXPECT_PTR_EQ(test, transient_memmap_populate(pfns[i], false),
				    (struct page *)ERR_PTR(-EFAULT));
		KUNIT_EXPECT_FALSE(test, transient_memmap_live(pfns[i]));
	}
}

/* Settings of a device with a static memmap would oops. */
static void other_pgmaps_have_no_pool(struct kunit *test)
{
	struct dev_pagemap *pgmap = new_pgmap(test, MEMORY_DEVICE_GENERIC, 1);
	struct transient_memmap_stats stats;

	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			transient_memmap_get_stats(pgmap, &stats));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, transient_memmap_set_cap(pgmap, 1));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, transient_memmap_set_cache(pgmap, 1));
}

/*
 * Limits
 */

static struct page *alloc_fails(int nid, gfp_t gfp)
{
	return NULL;
}

/*
 * A moment without free memory would break a device until it is unbound; or the
 * I/O that would make memory free could not begin.
 */
static void pin_without_memory_takes_the_reserve(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn, live;
	int i;

	pgmap = register_section(test, &pfn);
	kunit_activate_static_stub(test, transient_block_page_alloc,
				   alloc_fails);
	for (live = 0; !try_pin(test, nth_block(pfn, live)); live++)
		KUNIT_ASSERT_LT(test, live, 20);
	KUNIT_EXPECT_GT(test, live, 0);
	KUNIT_EXPECT_EQ(test, -ENOMEM, try_pin(test, nth_block(pfn, live)));
	EXPECT_STAT(test, pgmap, failed, 2);
	EXPECT_STAT(test, pgmap, populated, live);
	EXPECT_STAT(test, pgmap, live, live);
	expect_absent(test, nth_block(pfn, live));

	/* What goes can be had again at once. */
	unpin(test, pfn);
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).live == live - 1));
	pin(test, nth_block(pfn, live));
	KUNIT_EXPECT_EQ(test, -ENOMEM, try_pin(test, pfn));
	kunit_deactivate_static_stub(test, transient_block_page_alloc);

	pin(test, pfn);
	for (i = 0; i <= live; i++)
		unpin(test, nth_block(pfn, i));
	expect_idle(test, pgmap);
}

/*
 * A host whose operator has set nothing would lose its memory to a hostile guest,
 * or have pins that stay for ever.
 */
static void defaults_are_bounded(struct kunit *test)
{
	u64 start = unused_memory(test, SECTION_SIZE);
	unsigned long cap = max(totalram_pages() / 64, 1UL);
	struct dev_pagemap *pgmap;

	pgmap = new_pgmap(test, MEMORY_DEVICE_TRANSIENT, 1);
	set_range(pgmap, 0, start, SECTION_SIZE);
	KUNIT_ASSERT_EQ(test, 0, register_on_node(test, pgmap, numa_mem_id()));
	EXPECT_STAT(test, pgmap, cap, cap);
	EXPECT_STAT(test, pgmap, cache, cap / 2);
	EXPECT_STAT(test, pgmap, longterm_cap, 0);
	EXPECT_STAT(test, pgmap, block_size, block_nr * PAGE_SIZE);
	EXPECT_STAT(test, pgmap, live, 0);
}

/* What an administrator forbids would be pinned nevertheless. */
static void cap_of_zero_refuses_pins(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cap(pgmap, 0));
	EXPECT_STAT(test, pgmap, cap, 0);
	KUNIT_EXPECT_EQ(test, -ENOMEM, try_pin(test, pfn));
	EXPECT_STAT(test, pgmap, failed, 1);
	EXPECT_STAT(test, pgmap, peak, 0);
	expect_absent(test, pfn);

	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cap(pgmap, 1));
	pin(test, pfn);
}

/* A guest's I/O could take all of the host's memory, or none of what it may. */
static void cap_limits_live_blocks(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cap(pgmap, 1));
	pin(test, pfn);
	pin(test, pfn + 1);
	KUNIT_EXPECT_EQ(test, -ENOMEM, try_pin(test, nth_block(pfn, 1)));
	EXPECT_STAT(test, pgmap, failed, 1);
	EXPECT_STAT(test, pgmap, live, 1);

	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cap(pgmap, ULONG_MAX));
	pin(test, nth_block(pfn, 1));
	pin(test, nth_block(pfn, 2));
	EXPECT_STAT(test, pgmap, live, 3);
	EXPECT_STAT(test, pgmap, peak, 3);
}

/* A guest at its limit would make the I/O of all others fail. */
static void cap_of_one_pool_leaves_the_other(struct kunit *test)
{
	struct dev_pagemap *full, *other;
	unsigned long pfn, other_pfn;
	int i;

	full = register_section(test, &pfn);
	other = register_section(test, &other_pfn);
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cap(full, 2));
	pin(test, nth_block(pfn, 0));
	pin(test, nth_block(pfn, 1));
	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_EQ(test, -ENOMEM,
				try_pin(test, nth_block(pfn, 2 + i)));
		pin(test, nth_block(other_pfn, i));
	}
	EXPECT_STAT(test, full, live, 2);
	EXPECT_STAT(test, full, failed, 4);
	EXPECT_STAT(test, other, live, 4);
	EXPECT_STAT(test, other, failed, 0);

	/* Nor is there room in one for what goes in the other. */
	unpin(test, other_pfn);
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(other).live == 3));
	KUNIT_EXPECT_EQ(test, -ENOMEM, try_pin(test, nth_block(pfn, 2)));
}

/* Lowering the cap would break I/O that is under way. */
static void cap_below_live_waits_for_blocks_to_go(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;
	int i;

	pgmap = register_section(test, &pfn);
	for (i = 0; i < 3; i++)
		pin(test, nth_block(pfn, i));
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cap(pgmap, 1));
	EXPECT_STAT(test, pgmap, live, 3);
	pin(test, nth_block(pfn, 2) + 1);
	KUNIT_EXPECT_EQ(test, -ENOMEM, try_pin(test, nth_block(pfn, 3)));

	unpin(test, nth_block(pfn, 0));
	unpin(test, nth_block(pfn, 1));
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).live == 1));
	KUNIT_EXPECT_EQ(test, -ENOMEM, try_pin(test, nth_block(pfn, 3)));

	unpin(test, nth_block(pfn, 2));
	unpin(test, nth_block(pfn, 2) + 1);
	pin(test, nth_block(pfn, 3));
	EXPECT_STAT(test, pgmap, live, 1);
}

/* One buffer after the other would fail with ENOMEM though each fits. */
static void pin_at_the_cap_waits_for_a_dying_block(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;
	int i;

	pgmap = register_section(test, &pfn);
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cap(pgmap, 1));
	for (i = 0; i < 50; i++) {
		pin(test, nth_block(pfn, i % 3));
		unpin(test, nth_block(pfn, i % 3));
	}
	EXPECT_STAT(test, pgmap, failed, 0);
	EXPECT_STAT(test, pgmap, peak, 1);
	expect_idle(test, pgmap);
}

/*
 * Company
 */

/*
 * Somebody who is in an RCU read-side section until told to leave it: blocks
 * that die meanwhile are hidden, but not freed.
 */
struct rcu_reader {
	struct task_struct *task;
	bool reading;
	bool leave;
};

static int rcu_reader_thread(void *data)
{
	struct rcu_reader *reader = data;
	unsigned long end = jiffies + 10 * HZ;

	rcu_read_lock();
	WRITE_ONCE(reader->reading, true);
	while (!READ_ONCE(reader->leave) && time_before(jiffies, end))
		cpu_relax();
	rcu_read_unlock();

	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static void rcu_reader_stop(void *data)
{
	struct rcu_reader *reader = data;

	WRITE_ONCE(reader->leave, true);
	kthread_stop(reader->task);
}

static struct rcu_reader *rcu_reader_start(struct kunit *test)
{
	struct rcu_reader *reader;

	if (!IS_ENABLED(CONFIG_PREEMPT_RCU) && num_online_cpus() < 2)
		kunit_skip(test, "a reader needs a CPU of its own");
	reader = kunit_kzalloc(test, sizeof(*reader), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, reader);
	reader->task = kthread_run(rcu_reader_thread, reader, "kunit_reader");
	KUNIT_ASSERT_FALSE(test, IS_ERR(reader->task));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
							   rcu_reader_stop,
							   reader));
	KUNIT_ASSERT_TRUE(test, eventually(READ_ONCE(reader->reading)));
	return reader;
}

/* A thread that pins one page, however long that takes */
struct pinner {
	struct task_struct *task;
	struct kunit *test;
	unsigned long pfn;
	struct page *page;
	struct completion done;
};

static int pinner_thread(void *data)
{
	struct pinner *pinner = data;

	allow_signal(SIGKILL);
	current->kunit_test = pinner->test;
	pinner->page = transient_memmap_populate(pinner->pfn, false);
	current->kunit_test = NULL;
	complete_all(&pinner->done);
	while (!kthread_should_stop())
		schedule_timeout_uninterruptible(1);
	return 0;
}

static void pinner_stop(void *data)
{
	struct pinner *pinner = data;

	/* Of a test that failed, it may wait still. */
	send_sig(SIGKILL, pinner->task, 1);
	kthread_stop(pinner->task);
	if (!IS_ERR(pinner->page))
		folio_put(page_folio(pinner->page));
}

static struct pinner *pinner_start(struct kunit *test, unsigned long pfn)
{
	struct pinner *pinner;

	pinner = kunit_kzalloc(test, sizeof(*pinner), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pinner);
	pinner->test = test;
	pinner->pfn = pfn;
	init_completion(&pinner->done);
	pinner->task = kthread_run(pinner_thread, pinner, "kunit_pinner");
	KUNIT_ASSERT_FALSE(test, IS_ERR(pinner->task));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, pinner_stop,
							   pinner));
	return pinner;
}

static bool pinner_waits(struct pinner *pinner)
{
	return eventually(READ_ONCE(pinner->task->__state) == TASK_KILLABLE) &&
	       !completion_done(&pinner->done);
}

static bool pinner_goes_on(struct pinner *pinner)
{
	return wait_for_completion_timeout(&pinner->done, PATIENCE / 2);
}

/* Pin and unpin in a loop would free the block twice, or under the last pin. */
static void new_pin_revives_a_dying_block(struct kunit *test)
{
	struct rcu_reader *reader;
	struct dev_pagemap *pgmap;
	struct folio *folio;
	unsigned long pfn, dying;
	int i;

	pgmap = register_section(test, &pfn);
	dying = nth_block(pfn, 1);
	pin(test, pfn);
	pin(test, dying);

	/* The worker is held up by the first block when the other one dies. */
	reader = rcu_reader_start(test);
	unpin(test, pfn);
	KUNIT_ASSERT_TRUE(test, eventually(!transient_memmap_live(pfn)));
	unpin(test, dying);
	KUNIT_EXPECT_PTR_EQ(test, transient_memmap_try_get(dying),
			    (struct page *)ERR_PTR(-ENODATA));

	/* Again, now that it is on the worker's list. */
	for (i = 0; i < 3; i++) {
		folio = pin(test, dying);
		KUNIT_EXPECT_GE(test, folio_ref_count(folio), 1);
		unpin(test, dying);
	}
	folio = pin(test, dying);
	EXPECT_STAT(test, pgmap, populated, 2);

	kunit_release_action(test, rcu_reader_stop, reader);
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).live == 1));
	KUNIT_EXPECT_TRUE(test, eventually(folio_ref_count(folio) == 1));
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(dying));

	unpin(test, dying);
	expect_idle(test, pgmap);
	expect_absent(test, dying);
}

/* The pin would get struct pages that are unmapped a moment later. */
static void new_pin_revives_a_block_being_freed(struct kunit *test)
{
	struct rcu_reader *reader;
	struct dev_pagemap *pgmap;
	struct folio *folio;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	pin(test, pfn);
	reader = rcu_reader_start(test);
	unpin(test, pfn);
	KUNIT_ASSERT_TRUE(test, eventually(!transient_memmap_live(pfn)));

	/* A reader that saw the block live may still look at it. */
	KUNIT_EXPECT_TRUE(test, has_struct_page(pfn));
	KUNIT_EXPECT_PTR_EQ(test, transient_memmap_try_get(pfn),
			    (struct page *)ERR_PTR(-ENODATA));
	folio = pin(test, pfn);
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(pfn));

	kunit_release_action(test, rcu_reader_stop, reader);
	KUNIT_EXPECT_TRUE(test, eventually(folio_ref_count(folio) == 1));
	msleep(300);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(pfn));
	KUNIT_EXPECT_TRUE(test, has_struct_page(pfn));
	EXPECT_STAT(test, pgmap, populated, 1);
	EXPECT_STAT(test, pgmap, live, 1);

	unpin(test, pfn);
	expect_idle(test, pgmap);
	expect_absent(test, pfn);
}

/* The block would never go, or go while a new reader looks at it. */
static void block_dies_again_while_being_freed(struct kunit *test)
{
	struct rcu_reader *reader, *second;
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	pin(test, pfn);
	reader = rcu_reader_start(test);
	unpin(test, pfn);
	KUNIT_ASSERT_TRUE(test, eventually(!transient_memmap_live(pfn)));
	pin(test, pfn);
	unpin(test, pfn);
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(pfn));

	/* Who sees it live now has to be waited for, too. */
	second = rcu_reader_start(test);
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(pfn));
	kunit_release_action(test, rcu_reader_stop, reader);
	msleep(300);
	KUNIT_EXPECT_TRUE(test, has_struct_page(pfn));
	kunit_release_action(test, rcu_reader_stop, second);

	expect_idle(test, pgmap);
	expect_absent(test, pfn);
	EXPECT_STAT(test, pgmap, populated, 1);
}

/* A stub that keeps the block locked until the test says so */
static struct page *alloc_when_told(int nid, gfp_t gfp)
{
	struct completion *go = kunit_get_current_test()->priv;

	wait_for_completion_timeout(go, PATIENCE);
	return alloc_pages_node(nid, GFP_KERNEL, 0);
}

static struct completion *alloc_is_held_up(struct kunit *test)
{
	struct completion *go = kunit_kzalloc(test, sizeof(*go), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, go);
	init_completion(go);
	test->priv = go;
	kunit_activate_static_stub(test, transient_block_page_alloc,
				   alloc_when_told);
	return go;
}

/* The same, and there is no memory */
static struct page *alloc_fails_when_told(int nid, gfp_t gfp)
{
	struct completion *go = kunit_get_current_test()->priv;

	wait_for_completion_timeout(go, PATIENCE);
	return NULL;
}

/* One I/O fails for want of memory, and another one would hang for good. */
static void failed_pin_wakes_those_who_wait(struct kunit *test)
{
	struct pinner *owner, *waiter;
	struct dev_pagemap *pgmap;
	struct completion *go;
	unsigned long pfn, block;

	pgmap = register_section(test, &pfn);
	kunit_activate_static_stub(test, transient_block_page_alloc,
				   alloc_fails);
	for (block = pfn; !try_pin(test, block); block = nth_block(block, 1))
		KUNIT_ASSERT_LT(test, block, nth_block(pfn, 20));

	go = alloc_is_held_up(test);
	kunit_activate_static_stub(test, transient_block_page_alloc,
				   alloc_fails_when_told);
	owner = pinner_start(test, block);
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).live ==
					   (block - pfn) / block_nr + 1));
	waiter = pinner_start(test, block + 1);
	KUNIT_EXPECT_TRUE(test, pinner_waits(waiter));

	/* Who was woken tries for itself. */
	complete_all(go);
	KUNIT_EXPECT_TRUE(test, pinner_goes_on(owner));
	KUNIT_EXPECT_TRUE(test, pinner_goes_on(waiter));
	KUNIT_EXPECT_PTR_EQ(test, owner->page, (struct page *)ERR_PTR(-ENOMEM));
	KUNIT_EXPECT_PTR_EQ(test, waiter->page, (struct page *)ERR_PTR(-ENOMEM));
	EXPECT_STAT(test, pgmap, failed, 3);
	expect_absent(test, block);

	kunit_deactivate_static_stub(test, transient_block_page_alloc);
	pin(test, block);
}

static struct page *populate_nowait(struct kunit *test, unsigned long pfn)
{
	struct page *page;

	local_irq_disable();
	page = transient_memmap_populate_nowait(pfn) ?
			transient_memmap_try_get(pfn) : NULL;
	local_irq_enable();
	if (!IS_ERR_OR_NULL(page))
		KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
								   put_action,
								   page));
	return page;
}

/* Each first pin of a block would look up the VMA and walk the page tables again. */
static void pin_with_irqs_off_populates(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn, i;
	struct folio *folio;

	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		kunit_skip(test, "spinlocks sleep");

	pgmap = register_section(test, &pfn);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_PTR_EQ(test, pfn_to_page(nth_block(pfn, i) + 1),
				    populate_nowait(test, nth_block(pfn, i) + 1));
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(pfn));
	EXPECT_STAT(test, pgmap, populated, 3);

	/* One that is dying is revived. */
	unpin(test, pfn + 1);
	KUNIT_EXPECT_PTR_EQ(test, pfn_to_page(pfn), populate_nowait(test, pfn));
	EXPECT_STAT(test, pgmap, populated, 3);
	folio = page_folio(pfn_to_page(pfn));
	KUNIT_EXPECT_TRUE(test, eventually(folio_ref_count(folio) == 1));

	/* What is kept is the limit's business here, too. */
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cache(pgmap, 2));
	for (i = 3; i < 20; i++) {
		KUNIT_EXPECT_NOT_NULL(test, populate_nowait(test,
							    nth_block(pfn, i)));
		unpin(test, nth_block(pfn, i));
		KUNIT_EXPECT_LE(test, stats_of(pgmap).cached, 2UL);
	}
	KUNIT_EXPECT_GT(test, stats_of(pgmap).cached, 0UL);
	EXPECT_STAT(test, pgmap, failed, 0);

	KUNIT_EXPECT_NULL(test, populate_nowait(test, 0));
}

/* The machine would hang with IRQs off, or I/O find the reserve gone. */
static void pin_with_irqs_off_does_not_wait(struct kunit *test)
{
	u64 start = unused_memory(test, 2 * SECTION_SIZE);
	unsigned long pfn = PHYS_PFN(start);
	struct dev_pagemap *pgmap;
	struct completion *go;
	struct pinner *owner;
	int i;

	pgmap = register_range(test, start, 2 * SECTION_SIZE);
	/* The section has to be made. */
	KUNIT_EXPECT_NULL(test, populate_nowait(test,
						pfn + PAGES_PER_SECTION));

	/* No memory; what is left is for who has waited. */
	kunit_activate_static_stub(test, transient_block_page_alloc,
				   alloc_fails);
	for (i = 0; i < 20; i++)
		KUNIT_EXPECT_NULL(test, populate_nowait(test, pfn));
	EXPECT_STAT(test, pgmap, live, 0);
	pin(test, pfn);
	unpin(test, pfn);
	expect_idle(test, pgmap);

	/* Somebody else populates. */
	go = alloc_is_held_up(test);
	owner = pinner_start(test, pfn);
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).live == 1));
	KUNIT_EXPECT_NULL(test, populate_nowait(test, pfn));
	complete_all(go);
	KUNIT_EXPECT_TRUE(test, pinner_goes_on(owner));
	kunit_deactivate_static_stub(test, transient_block_page_alloc);

	/* At the cap, with one that could be dropped. */
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cache(pgmap, 1));
	pin(test, nth_block(pfn, 1));
	unpin(test, nth_block(pfn, 1));
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cap(pgmap, 2));
	KUNIT_EXPECT_NULL(test, populate_nowait(test, nth_block(pfn, 2)));
	EXPECT_STAT(test, pgmap, cached, 1);
	/* That is no failure yet. */
	EXPECT_STAT(test, pgmap, failed, 0);
	pin(test, nth_block(pfn, 2));
}

/*
 * The worker is held up after it has unmapped a block, and before it is absent:
 * where it tells that the block was freed.
 */
struct free_probe {
	struct tracepoint *tp;
	bool called;
	bool go;
};

#ifdef CONFIG_TRACEPOINTS
static void free_probe_waits(void *data, unsigned long pfn, unsigned int order)
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
	struct free_probe *probe;

	if (num_online_cpus() < 2)
		kunit_skip(test, "the worker needs a CPU of its own");
	probe = kunit_kzalloc(test, sizeof(*probe), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, probe);
	for_each_kernel_tracepoint(free_probe_find, probe);
	KUNIT_ASSERT_NOT_NULL(test, probe->tp);
	KUNIT_ASSERT_EQ(test, 0, tracepoint_probe_register(probe->tp,
							   free_probe_waits,
							   probe));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
							   free_probe_remove,
							   probe));
	return probe;
}
#else
static void free_probe_remove(void *data)
{
}

static struct free_probe *freeing_is_held_up(struct kunit *test)
{
	kunit_skip(test, "CONFIG_TRACEPOINTS is not set");
	return NULL;
}
#endif

/* A CPU would use the last page that was mapped, or the pin would hang. */
static void pin_waits_for_a_block_that_is_unmapped(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	struct free_probe *probe;
	struct pinner *waiter;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	pin(test, pfn);
	probe = freeing_is_held_up(test);
	unpin(test, pfn);
	KUNIT_ASSERT_TRUE(test, eventually(READ_ONCE(probe->called)));
	expect_absent(test, pfn);
	waiter = pinner_start(test, pfn + 1);
	KUNIT_EXPECT_TRUE(test, pinner_waits(waiter));
	KUNIT_EXPECT_FALSE(test, has_struct_page(pfn));
	EXPECT_STAT(test, pgmap, populated, 1);

	kunit_release_action(test, free_probe_remove, probe);
	KUNIT_EXPECT_TRUE(test, pinner_goes_on(waiter));
	KUNIT_EXPECT_PTR_EQ(test, waiter->page, pfn_to_page(pfn + 1));
	EXPECT_STAT(test, pgmap, populated, 2);
	EXPECT_STAT(test, pgmap, freed, 1);
	EXPECT_STAT(test, pgmap, live, 1);
}

/* A process could not be killed while it waits for struct pages. */
static void fatal_signal_ends_the_wait(struct kunit *test)
{
	struct completion *go;
	struct pinner *owner, *waiter;
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	go = alloc_is_held_up(test);
	owner = pinner_start(test, pfn);
	/* It has charged the block: it is about to allocate. */
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).live == 1));
	waiter = pinner_start(test, pfn);
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&waiter->done,
							     HZ / 10));
	send_sig(SIGKILL, waiter->task, 1);
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&waiter->done,
							    PATIENCE / 2));
	KUNIT_EXPECT_PTR_EQ(test, waiter->page,
			    (struct page *)ERR_PTR(-EINTR));

	complete_all(go);
	wait_for_completion(&owner->done);
	wait_for_completion(&waiter->done);
	KUNIT_EXPECT_PTR_EQ(test, owner->page, pfn_to_page(pfn));
	KUNIT_EXPECT_EQ(test, folio_ref_count(page_folio(pfn_to_page(pfn))), 1);
	EXPECT_STAT(test, pgmap, populated, 1);
	EXPECT_STAT(test, pgmap, failed, 0);
}

/* Two I/Os to one buffer would make its struct pages twice. */
static void pins_of_one_block_populate_once(struct kunit *test)
{
	struct completion *go;
	struct pinner *pinners[2];
	struct dev_pagemap *pgmap;
	struct folio *folio;
	unsigned long pfn;
	int i;

	pgmap = register_section(test, &pfn);
	go = alloc_is_held_up(test);
	for (i = 0; i < 2; i++)
		pinners[i] = pinner_start(test, pfn + i);
	msleep(100);
	complete_all(go);
	for (i = 0; i < 2; i++) {
		wait_for_completion(&pinners[i]->done);
		KUNIT_EXPECT_PTR_EQ(test, pinners[i]->page, pfn_to_page(pfn + i));
	}
	folio = page_folio(pfn_to_page(pfn));
	KUNIT_EXPECT_PTR_EQ(test, folio, page_folio(pfn_to_page(pfn + 1)));
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 2);
	EXPECT_STAT(test, pgmap, populated, 1);
	for (i = 0; i < 2; i++)
		kunit_release_action(test, pinner_stop, pinners[i]);
	expect_idle(test, pgmap);
}

struct unregister {
	struct work_struct work;
	struct dev_pagemap *pgmap;
	struct completion done;
};

static void unregister_work(struct work_struct *work)
{
	struct unregister *un = container_of(work, struct unregister, work);

	memunmap_pages(un->pgmap);
	complete(&un->done);
}

/*
 * The provider would give memory away that a device still writes to; or I/O
 * that keeps coming would keep it from leaving.
 */
static void unregister_waits_for_pins_and_refuses_new(struct kunit *test)
{
	struct dev_pagemap *registered;
	struct unregister *un;
	struct page *page;
	unsigned long pfn;

	un = kunit_kzalloc(test, sizeof(*un), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, un);
	init_completion(&un->done);
	INIT_WORK(&un->work, unregister_work);
	un->pgmap = register_section(test, &pfn);
	page = transient_memmap_populate(pfn, false);
	KUNIT_ASSERT_FALSE(test, IS_ERR(page));

	/* No assertion from here on: it would leave the work behind. */
	registered = transient_memmap_pgmap(un->pgmap);
	kunit_remove_action(test, unregister_action, un->pgmap);
	queue_work(system_dfl_wq, &un->work);
	KUNIT_EXPECT_TRUE(test, eventually(percpu_ref_is_dying(&registered->ref)));
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&un->done, HZ / 10));
	KUNIT_EXPECT_EQ(test, folio_ref_count(page_folio(page)), 1);
	KUNIT_EXPECT_PTR_EQ(test, transient_memmap_populate(pfn, false),
			    (struct page *)ERR_PTR(-EFAULT));
	KUNIT_EXPECT_PTR_EQ(test, transient_memmap_populate(nth_block(pfn, 1), false),
			    (struct page *)ERR_PTR(-EFAULT));

	folio_put(page_folio(page));
	flush_work(&un->work);
	KUNIT_EXPECT_PTR_EQ(test, transient_memmap_populate(pfn, false),
			    (struct page *)ERR_PTR(-EFAULT));
	KUNIT_EXPECT_PTR_EQ(test, transient_memmap_try_get(pfn),
			    (struct page *)ERR_PTR(-EFAULT));
	expect_absent(test, pfn);
	KUNIT_EXPECT_NULL(test, get_dev_pagemap(pfn));
}

/* Unbinding right after I/O would free the pool under its worker. */
static void unregister_follows_last_unpin(struct kunit *test)
{
	u64 start = unused_memory(test, SECTION_SIZE);
	unsigned long pfn = PHYS_PFN(start);
	struct dev_pagemap *pgmap;
	int i;

	for (i = 0; i < 10; i++) {
		pgmap = register_range(test, start, SECTION_SIZE);
		pin(test, pfn);
		pin(test, nth_block(pfn, 9));
		unpin(test, pfn);
		unpin(test, nth_block(pfn, 9));
		unregister_pgmap(test, pgmap);
		expect_absent(test, pfn);
		expect_absent(test, nth_block(pfn, 9));
	}
}

/*
 * Threads that pin and unpin a few blocks, so that most unpins are the last one
 * of a block that another thread is about to pin.
 */
#define RACE_THREADS	4
#define RACE_BLOCKS	3
#define RACE_HELD	2
#define RACE_TIME	(3 * HZ)

/*
 * One block after the other has a rest, long enough for the worker to come, and
 * short enough to be pinned again while the worker is at it.
 */
#define RACE_REST	(HZ / 8)

struct race {
	unsigned long pfn;
	struct work_struct work[RACE_THREADS];
	atomic_t next_seed;
	atomic_t pins;
	atomic_t enomem;
	atomic_t errors;
};

/* As GUP does: fast with IRQs off, then slow, and the latter alone as well. */
static struct page *race_pin(struct race *race, unsigned long pfn, bool nowait)
{
	struct page *page;

	local_irq_disable();
	page = transient_memmap_try_get(pfn);
	if (PTR_ERR(page) == -ENODATA && nowait &&
	    transient_memmap_populate_nowait(pfn))
		page = transient_memmap_try_get(pfn);
	local_irq_enable();
	if (PTR_ERR(page) == -ENODATA)
		page = transient_memmap_populate(pfn, false);

	if (page == ERR_PTR(-ENOMEM)) {
		atomic_inc(&race->enomem);
		return NULL;
	}
	if (page != pfn_to_page(pfn)) {
		atomic_inc(&race->errors);
		return NULL;
	}
	if (!transient_memmap_live(pfn) ||
	    folio_pfn(page_folio(page)) != ALIGN_DOWN(pfn, block_nr) ||
	    folio_ref_count(page_folio(page)) < 1 ||
	    folio_ref_count(page_folio(page)) > RACE_THREADS * (RACE_HELD + 1))
		atomic_inc(&race->errors);
	atomic_inc(&race->pins);
	return page;
}

static unsigned long race_pfn(struct race *race, struct rnd_state *rnd)
{
	unsigned long resting = jiffies / RACE_REST % RACE_BLOCKS;
	unsigned long n = 1 + prandom_u32_state(rnd) % (RACE_BLOCKS - 1);

	return nth_block(race->pfn, (resting + n) % RACE_BLOCKS) +
	       prandom_u32_state(rnd) % block_nr;
}

static void race_thread(struct race *race)
{
	unsigned long end = jiffies + RACE_TIME;
	struct page *held[RACE_HELD] = {};
	struct rnd_state rnd;
	int i, slot;

	prandom_seed_state(&rnd, atomic_inc_return(&race->next_seed));
	for (i = 0; time_before(jiffies, end); i++) {
		slot = i % RACE_HELD;
		if (held[slot])
			folio_put(page_folio(held[slot]));
		held[slot] = race_pin(race, race_pfn(race, &rnd),
				      prandom_u32_state(&rnd) % 2);
		/* Let all go now and then. */
		if (prandom_u32_state(&rnd) % 4 == 0) {
			for (slot = 0; slot < RACE_HELD; slot++) {
				if (held[slot])
					folio_put(page_folio(held[slot]));
				held[slot] = NULL;
			}
		}
		cond_resched();
	}
	for (slot = 0; slot < RACE_HELD; slot++)
		if (held[slot])
			folio_put(page_folio(held[slot]));
}

#define RACE_WORK(n)							\
static void race_work_##n(struct work_struct *work)			\
{									\
	race_thread(container_of(work, struct race, work[n]));		\
}

RACE_WORK(0)
RACE_WORK(1)
RACE_WORK(2)
RACE_WORK(3)

static void run_race(struct kunit *test, unsigned long cap)
{
	struct race *race = kunit_kzalloc(test, sizeof(*race), GFP_KERNEL);
	struct dev_pagemap *pgmap;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, race);
	pgmap = register_section(test, &race->pfn);
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cap(pgmap, cap));

	INIT_WORK(&race->work[0], race_work_0);
	INIT_WORK(&race->work[1], race_work_1);
	INIT_WORK(&race->work[2], race_work_2);
	INIT_WORK(&race->work[3], race_work_3);
	for (i = 0; i < RACE_THREADS; i++)
		queue_work(system_dfl_wq, &race->work[i]);
	for (i = 0; i < RACE_THREADS; i++)
		flush_work(&race->work[i]);

	kunit_info(test, "%d pins, %d refused, %lu blocks populated\n",
		   atomic_read(&race->pins), atomic_read(&race->enomem),
		   stats_of(pgmap).populated);
	KUNIT_EXPECT_EQ(test, atomic_read(&race->errors), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&race->pins), 0);
	EXPECT_STAT(test, pgmap, failed, atomic_read(&race->enomem));
	KUNIT_EXPECT_LE(test, stats_of(pgmap).peak, cap);
	expect_idle(test, pgmap);
	for (i = 0; i < RACE_BLOCKS; i++)
		expect_absent(test, nth_block(race->pfn, i));
}

/* Under load, struct pages in use would be freed, or unused ones be kept. */
static void unpin_races_new_pin(struct kunit *test)
{
	run_race(test, RACE_BLOCKS);
}

/* The same where pins also fight for the last block that the cap allows. */
static void unpin_races_new_pin_at_the_cap(struct kunit *test)
{
	run_race(test, RACE_BLOCKS - 1);
}

/*
 * What blocks of 2 MiB share
 */

/* The page that the vmemmap of a pfn maps */
static unsigned long vmemmap_pfn(unsigned long pfn)
{
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)pfn_to_page(pfn), &level);

	return pte ? pte_pfn(ptep_get(pte)) : 0;
}

/*
 * A write to one tail would be a write to all tails of all blocks; or each block
 * would cost eight pages.
 */
static void shared_tails_cannot_be_written(struct kunit *test)
{
	const unsigned long per_page = PAGE_SIZE / sizeof(struct page);
	struct page *tail, copy;
	unsigned long pfn, i;

	register_section(test, &pfn);
	pin(test, pfn);
	pin(test, nth_block(pfn, 1));

	KUNIT_EXPECT_NE(test, vmemmap_pfn(pfn), vmemmap_pfn(nth_block(pfn, 1)));
	for (i = per_page; i < block_nr; i += per_page) {
		KUNIT_EXPECT_EQ(test, vmemmap_pfn(pfn + i),
				vmemmap_pfn(pfn + per_page));
		KUNIT_EXPECT_EQ(test, vmemmap_pfn(nth_block(pfn, 1) + i),
				vmemmap_pfn(pfn + per_page));
	}

	/* Small blocks share nothing. */
	for (i = per_page; i < block_nr; i++) {
		tail = pfn_to_page(pfn + i);
		KUNIT_EXPECT_EQ(test, 0,
				copy_from_kernel_nofault(&copy, tail,
							 sizeof(copy)));
		KUNIT_EXPECT_EQ(test, -EFAULT,
				copy_to_kernel_nofault(tail, &copy,
						       sizeof(copy)));
	}
	/* The private page can be: it is not that nothing can. */
	tail = pfn_to_page(pfn + per_page - 1);
	KUNIT_EXPECT_EQ(test, 0, copy_from_kernel_nofault(&copy, tail,
							  sizeof(copy)));
	KUNIT_EXPECT_EQ(test, 0, copy_to_kernel_nofault(tail, &copy,
							sizeof(copy)));
}

/* A device that was busy once would cost page tables until it is unbound. */
static void page_tables_go_with_the_last_block(struct kunit *test)
{
	u64 start = unused_memory(test, 3 * SECTION_SIZE);
	unsigned long pfn = PHYS_PFN(start + 2 * SECTION_SIZE);
	struct dev_pagemap *pgmap;
	unsigned int level;
	int i;

	pgmap = register_range(test, start, 3 * SECTION_SIZE);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_NULL(test,
				  lookup_address((unsigned long)pfn_to_page(pfn),
						 &level));
		pin(test, pfn);
		pin(test, nth_block(pfn, 1));
		unpin(test, pfn);
		KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).live == 1));
		pin(test, pfn);
		unpin(test, pfn);
		unpin(test, nth_block(pfn, 1));
		KUNIT_EXPECT_TRUE(test,
				  eventually(!lookup_address((unsigned long)
							     pfn_to_page(pfn),
							     &level)));
	}
	EXPECT_STAT(test, pgmap, live, 0);
	EXPECT_STAT(test, pgmap, freed, stats_of(pgmap).populated);
}

/*
 * The direct map
 */

static int register_direct(struct kunit *test, u64 start, u64 size,
			   struct dev_pagemap **pgmap)
{
	*pgmap = new_pgmap(test, MEMORY_DEVICE_TRANSIENT, 1);
	(*pgmap)->flags = PGMAP_TRANSIENT_DIRECT_MAP;
	set_range(*pgmap, 0, start, size);
	return register_pgmap(test, *pgmap);
}

/* PG_LEVEL_NONE, or of which size the entry is that maps it */
static unsigned int direct_level(unsigned long pfn)
{
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)__va(PFN_PHYS(pfn)), &level);

	return pte && pte_present(*pte) ? level : PG_LEVEL_NONE;
}

static bool can_read(unsigned long pfn)
{
	char byte;

	return !copy_from_kernel_nofault(&byte, __va(PFN_PHYS(pfn)), 1);
}

static bool has_direct_table(unsigned long pfn)
{
	unsigned long addr = (unsigned long)__va(PFN_PHYS(pfn));

	return !pud_none(*pud_offset(p4d_offset(pgd_offset_k(addr), addr), addr));
}

/* A stray read would see memory of a guest, or I/O would oops. */
static void direct_map_has_pinned_blocks_only(struct kunit *test)
{
	u64 start = ALIGN(unused_memory(test, 3UL * PUD_SIZE), PUD_SIZE);
	unsigned long pfn = PHYS_PFN(start + PUD_SIZE) + 3 * block_nr;
	struct dev_pagemap *pgmap;
	int i, err;

	err = register_direct(test, start, 2UL * PUD_SIZE, &pgmap);
	if (block_nr < PMD_SIZE / PAGE_SIZE) {
		KUNIT_EXPECT_EQ(test, err, -EINVAL);
		return;
	}
	KUNIT_ASSERT_EQ(test, err, 0);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, direct_level(pfn), PG_LEVEL_NONE);
		KUNIT_EXPECT_FALSE(test, can_read(pfn));
		KUNIT_EXPECT_FALSE(test, has_direct_table(pfn));
		/* A memory error changes nothing that is not there. */
		KUNIT_EXPECT_EQ(test, set_mce_nospec(pfn), 0);

		pin(test, pfn);
		KUNIT_EXPECT_EQ(test, direct_level(pfn), PG_LEVEL_2M);
		KUNIT_EXPECT_EQ(test, direct_level(pfn + block_nr - 1), PG_LEVEL_2M);
		KUNIT_EXPECT_TRUE(test, can_read(pfn));
		KUNIT_EXPECT_FALSE(test, can_read(pfn - 1));
		KUNIT_EXPECT_FALSE(test, can_read(pfn + block_nr));
		KUNIT_EXPECT_FALSE(test, can_read(PHYS_PFN(start)));
		KUNIT_EXPECT_EQ(test, set_mce_nospec(pfn), 0);
		KUNIT_EXPECT_EQ(test, direct_level(pfn), PG_LEVEL_2M);
		KUNIT_EXPECT_EQ(test, clear_mce_nospec(pfn), 0);

		/* Another section, and thus the same page table */
		pin(test, pfn + PAGES_PER_SECTION);
		unpin(test, pfn);
		KUNIT_EXPECT_TRUE(test, eventually(!can_read(pfn)));
		KUNIT_EXPECT_TRUE(test, can_read(pfn + PAGES_PER_SECTION));
		unpin(test, pfn + PAGES_PER_SECTION);
		expect_idle(test, pgmap);
		KUNIT_EXPECT_FALSE(test, can_read(pfn + PAGES_PER_SECTION));
		KUNIT_EXPECT_TRUE(test, eventually(!has_direct_table(pfn)));
	}
	pin(test, PHYS_PFN(start));
	unpin(test, PHYS_PFN(start));
	unregister_pgmap(test, pgmap);
	KUNIT_EXPECT_FALSE(test, has_direct_table(PHYS_PFN(start)));
}

/* The page table of somebody else's memory would be freed. */
static void direct_map_wants_whole_page_tables(struct kunit *test)
{
	u64 start = ALIGN(unused_memory(test, 2UL * PUD_SIZE), PUD_SIZE);
	struct dev_pagemap *pgmap;

	KUNIT_EXPECT_EQ(test, -EINVAL,
			register_direct(test, start, SECTION_SIZE, &pgmap));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			register_direct(test, start + PMD_SIZE,
					PUD_SIZE - PMD_SIZE, &pgmap));
	KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, PHYS_PFN(start)));
	/* It is all in the direct map then, and all of it goes. */
	pgmap = register_range(test, start, PUD_SIZE);
	KUNIT_EXPECT_NE(test, direct_level(PHYS_PFN(start)), PG_LEVEL_NONE);
	unregister_pgmap(test, pgmap);
	KUNIT_EXPECT_FALSE(test, can_read(PHYS_PFN(start)));
}

/* The kernel and somebody else would see different bytes of the same memory. */
static void direct_map_agrees_with_other_mappings(struct kunit *test)
{
	u64 start = ALIGN(unused_memory(test, 2UL * PUD_SIZE), PUD_SIZE);
	struct dev_pagemap *pgmap;
	void __iomem *other;
	/* Small blocks have no direct map to agree with. */
	int i, err = block_nr < PMD_SIZE / PAGE_SIZE ? -EINVAL : 0;

	for (i = 0; i < 2; i++) {
		other = i ? ioremap_wc(start + PMD_SIZE, PAGE_SIZE) :
			ioremap_uc(start + PMD_SIZE, PAGE_SIZE);
		KUNIT_ASSERT_TRUE(test, !!other);
		KUNIT_EXPECT_EQ(test, err ?: -EBUSY,
				register_direct(test, start, PUD_SIZE, &pgmap));
		KUNIT_EXPECT_EQ(test, -EFAULT, try_pin(test, PHYS_PFN(start)));
		iounmap(other);
	}
	KUNIT_EXPECT_EQ(test, err,
			register_direct(test, start, PUD_SIZE, &pgmap));
}

/*
 * What is kept
 */

static struct dev_pagemap *register_caching(struct kunit *test,
					    unsigned long *pfn,
					    unsigned long cache)
{
	struct dev_pagemap *pgmap = register_section(test, pfn);

	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cache(pgmap, cache));
	EXPECT_STAT(test, pgmap, cache, cache);
	return pgmap;
}

static void pin_and_unpin(struct kunit *test, unsigned long pfn)
{
	pin(test, pfn);
	unpin(test, pfn);
}

/* Each I/O to the same buffer would make its struct pages anew. */
static void kept_block_serves_the_next_pin(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	struct page *page;
	unsigned long pfn;
	int i;

	pgmap = register_caching(test, &pfn, 4);
	for (i = 0; i < 10; i++)
		pin_and_unpin(test, pfn + i);
	EXPECT_STAT(test, pgmap, populated, 1);
	EXPECT_STAT(test, pgmap, cached, 1);
	EXPECT_STAT(test, pgmap, live, 1);

	/* GUP-fast gets it. */
	page = transient_memmap_try_get(pfn);
	KUNIT_ASSERT_PTR_EQ(test, page, pfn_to_page(pfn));
	KUNIT_EXPECT_EQ(test, folio_ref_count(page_folio(page)), 2);
	folio_put(page_folio(page));
}

/* Memory saved by having no memmap would be lost to guests that are idle. */
static void idle_pool_empties_itself(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn, end;
	struct folio *folio;
	int i;

	pgmap = register_caching(test, &pfn, 100);
	for (i = 0; i < 20; i++) {
		folio = pin(test, nth_block(pfn, i));
		folio_set_referenced(folio);
		unpin(test, nth_block(pfn, i));
	}
	EXPECT_STAT(test, pgmap, cached, 20);
	end = jiffies + 2 * HZ;
	expect_idle(test, pgmap);
	KUNIT_EXPECT_TRUE(test, time_before(jiffies, end));
	EXPECT_STAT(test, pgmap, cached, 0);
	EXPECT_STAT(test, pgmap, freed, 20);
	for (i = 0; i < 20; i++)
		expect_absent(test, nth_block(pfn, i));
}

/* A busy guest would pay for struct pages twice a second. */
static void block_in_use_does_not_age(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;
	struct folio *folio;
	int i;

	pgmap = register_caching(test, &pfn, 4);
	for (i = 0; i < 30; i++) {
		folio = pin(test, pfn);
		folio_set_referenced(folio);
		unpin(test, pfn);
		msleep(100);
	}
	EXPECT_STAT(test, pgmap, populated, 1);

	/* One that is pinned all the time does not age either. */
	pin(test, pfn);
	msleep(3000);
	EXPECT_STAT(test, pgmap, cached, 1);
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
	for (i = 0; i < 20; i++) {
		pin_and_unpin(test, nth_block(pfn, i));
		KUNIT_EXPECT_LE(test, stats_of(pgmap).cached, 3UL);
	}
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).live <= 3));
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cache(pgmap, 1));
	EXPECT_STAT(test, pgmap, cached, 1);
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cache(pgmap, ULONG_MAX));
	for (i = 0; i < 20; i++)
		pin_and_unpin(test, nth_block(pfn, i));
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).cached == 20));

	/* And 0 is: free on the last unpin, of what is pinned now, too. */
	pin(test, pfn);
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cache(pgmap, 0));
	EXPECT_STAT(test, pgmap, cached, 0);
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).live == 1));
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(pfn));
	unpin(test, pfn);
	expect_idle(test, pgmap);
}

/* One pass over a large buffer would throw out what is used all the time. */
static void referenced_block_gets_a_second_chance(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;
	struct folio *folio;

	pgmap = register_caching(test, &pfn, 2);
	folio = pin(test, nth_block(pfn, 0));
	folio_set_referenced(folio);
	unpin(test, nth_block(pfn, 0));
	pin_and_unpin(test, nth_block(pfn, 1));

	pin_and_unpin(test, nth_block(pfn, 2));
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).live == 2));
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(nth_block(pfn, 0)));
	KUNIT_EXPECT_FALSE(test, transient_memmap_live(nth_block(pfn, 1)));
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(nth_block(pfn, 2)));
}

/* A mapping of the range that begins at the pfn in the file's private_data */
static vm_fault_t mapped_fault(struct vm_fault *vmf)
{
	unsigned long pfn = *(unsigned long *)vmf->vma->vm_file->private_data;

	return vmf_insert_pfn(vmf->vma, vmf->address, pfn + vmf->pgoff);
}

static const struct vm_operations_struct mapped_vm_ops = {
	.fault = mapped_fault,
	.transient_memmap = true,
};

static int mapped_mmap(struct file *file, struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &mapped_vm_ops;
	return 0;
}

static const struct file_operations mapped_fops = {
	.owner = THIS_MODULE,
	.mmap = mapped_mmap,
};

static unsigned long map_section(struct kunit *test, unsigned long *pfn)
{
	struct file *file = anon_inode_getfile("kunit", &mapped_fops, pfn,
					       O_RDWR);
	unsigned long addr;

	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	addr = kunit_vm_mmap(test, file, 0, SECTION_SIZE, PROT_READ | PROT_WRITE,
			     MAP_SHARED, 0);
	fput(file);
	KUNIT_ASSERT_NE(test, addr, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	return addr;
}

static void gup_and_unpin(struct kunit *test, unsigned long addr)
{
	struct page *page;

	KUNIT_ASSERT_EQ(test, 1, pin_user_pages_fast(addr, 1, FOLL_WRITE, &page));
	unpin_user_page(page);
}

/* One pass over all shrinkers, as reclaim does in need */
static void shrink_all_nodes(void)
{
	int nid;

	for_each_online_node(nid)
		/* Not for modules */
		if (IS_BUILTIN(CONFIG_TRANSIENT_MEMMAP_KUNIT_TEST))
			shrink_slab(GFP_KERNEL, nid, root_mem_cgroup, 0);
}

/* Returns false if it took so long that the pool may have aged meanwhile. */
static bool shrink_one_hot_of_ten(struct kunit *test, struct dev_pagemap *pgmap,
				  unsigned long pfn, unsigned long addr)
{
	unsigned long end = jiffies + HZ / 4;
	struct transient_memmap_stats kept, first, second;
	int i;

	transient_memmap_set_cache(pgmap, 100);
	for (i = 0; i < 10; i++)
		pin_and_unpin(test, nth_block(pfn, i));
	gup_and_unpin(test, addr + 3 * block_nr * PAGE_SIZE);
	pin(test, nth_block(pfn, 5));
	kept = stats_of(pgmap);
	shrink_all_nodes();
	first = stats_of(pgmap);
	shrink_all_nodes();
	second = stats_of(pgmap);
	if (time_after(jiffies, end))
		return false;

	KUNIT_EXPECT_EQ(test, kept.cached, 10UL);
	/* What is in use, or was a moment ago */
	KUNIT_EXPECT_EQ(test, first.cached, 2UL);
	/* But only a moment ago */
	KUNIT_EXPECT_EQ(test, second.cached, 1UL);
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).live == 1));
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(nth_block(pfn, 5)));
	return true;
}

/*
 * The OOM killer would come while the pool keeps what nobody uses; or memory
 * pressure would take from I/O what it needs next.
 */
static void shrinker_takes_cold_blocks_first(struct kunit *test)
{
	u64 start = unused_memory(test, SECTION_SIZE);
	unsigned long pfn = PHYS_PFN(start), addr;
	struct dev_pagemap *pgmap;
	int tries = 10;
	bool in_time;

	if (!IS_BUILTIN(CONFIG_TRANSIENT_MEMMAP_KUNIT_TEST))
		kunit_skip(test, "a module can't ask shrinkers");
	addr = map_section(test, &pfn);
	/* What others keep would take the time. */
	shrink_all_nodes();
	do {
		pgmap = register_range(test, start, SECTION_SIZE);
		in_time = shrink_one_hot_of_ten(test, pgmap, pfn, addr);
		if (!in_time)
			unpin(test, nth_block(pfn, 5));
		if (!in_time)
			unregister_pgmap(test, pgmap);
	} while (!in_time && --tries);
	KUNIT_EXPECT_TRUE(test, in_time);
}

/* A pin would fail for want of memory that holds nothing in use. */
static void pin_at_the_cap_takes_idle_blocks(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;
	struct folio *folio;
	int i;

	pgmap = register_caching(test, &pfn, 100);
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cap(pgmap, 4));
	for (i = 0; i < 20; i++) {
		folio = pin(test, nth_block(pfn, i));
		folio_set_referenced(folio);
		unpin(test, nth_block(pfn, i));
	}
	EXPECT_STAT(test, pgmap, failed, 0);
	KUNIT_EXPECT_LE(test, stats_of(pgmap).peak, 4UL);

	/* But what is pinned stays. */
	for (i = 0; i < 4; i++)
		pin(test, nth_block(pfn, i));
	KUNIT_EXPECT_EQ(test, -ENOMEM, try_pin(test, nth_block(pfn, 4)));
}

/* The host would hang, or a pin fail that has what it needs if it looks on. */
static void pin_at_the_cap_takes_some_of_many_idle_blocks(struct kunit *test)
{
	u64 start = unused_memory(test, SZ_1G);
	unsigned long pfn = PHYS_PFN(start);
	struct dev_pagemap *pgmap;
	int i;

	pgmap = register_range(test, start, SZ_1G);
	transient_memmap_set_cache(pgmap, 400);
	for (i = 0; i < 300; i++) {
		pin(test, nth_block(pfn, i));
		if (i >= 150)
			unpin(test, nth_block(pfn, i));
	}
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cap(pgmap, 200));
	pin(test, nth_block(pfn, 300));
	EXPECT_STAT(test, pgmap, failed, 0);
	KUNIT_EXPECT_LE(test, stats_of(pgmap).live, 200UL);
	KUNIT_EXPECT_GE(test, stats_of(pgmap).live, 151UL);
	unpin(test, nth_block(pfn, 300));
	for (i = 0; i < 150; i++)
		unpin(test, nth_block(pfn, i));
}

/* A block that dies and is used again would be freed, and made, over and over. */
static void revived_block_is_kept(struct kunit *test)
{
	struct rcu_reader *reader;
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	pin(test, pfn);
	reader = rcu_reader_start(test);
	unpin(test, pfn);
	KUNIT_ASSERT_TRUE(test, eventually(!transient_memmap_live(pfn)));
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cache(pgmap, 4));
	pin_and_unpin(test, pfn);
	kunit_release_action(test, rcu_reader_stop, reader);

	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).cached == 1));
	pin_and_unpin(test, pfn);
	EXPECT_STAT(test, pgmap, populated, 1);
	expect_idle(test, pgmap);
}

/* Unbinding would hang until the cache has aged, or for good. */
static void unregister_drops_kept_blocks(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;
	int i;

	pgmap = register_caching(test, &pfn, 100);
	for (i = 0; i < 20; i++)
		pin_and_unpin(test, nth_block(pfn, i));
	EXPECT_STAT(test, pgmap, cached, 20);
	unregister_pgmap(test, pgmap);
	for (i = 0; i < 20; i++)
		expect_absent(test, nth_block(pfn, i));
}

/* As many TLB flushes as blocks would stop all CPUs all the time. */
static void flushes_are_batched(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;
	int i;

	pgmap = register_caching(test, &pfn, 100);
	for (i = 0; i < 30; i++)
		pin_and_unpin(test, nth_block(pfn, i));
	KUNIT_EXPECT_EQ(test, 0, transient_memmap_set_cache(pgmap, 0));
	expect_idle(test, pgmap);
	EXPECT_STAT(test, pgmap, freed, 30);
	KUNIT_EXPECT_LE(test, stats_of(pgmap).flushes, 10UL);
	KUNIT_EXPECT_GE(test, stats_of(pgmap).flushes, 1UL);
}

/*
 * What may not be pinned
 */

static int try_pin_longterm(unsigned long pfn)
{
	struct page *page = transient_memmap_populate(pfn, true);

	if (!IS_ERR(page))
		folio_put(page_folio(page));
	return PTR_ERR_OR_ZERO(page);
}

static void unpoison_action(void *pfn)
{
	transient_memmap_unpoison((unsigned long)pfn);
}

static void poison(struct kunit *test, unsigned long pfn)
{
	transient_memmap_poison(pfn);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, unpoison_action,
							   (void *)pfn));
}

static void unpoison(struct kunit *test, unsigned long pfn)
{
	kunit_remove_action(test, unpoison_action, (void *)pfn);
	KUNIT_EXPECT_EQ(test, transient_memmap_unpoison(pfn), 0);
}

/* I/O would bring bad data, or 2 MiB would be lost with a page. */
static void poisoned_page_is_refused_and_neighbours_are_not(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn, other;

	pgmap = register_section(test, &pfn);
	other = nth_block(pfn, 1);
	poison(test, other);
	KUNIT_EXPECT_EQ(test, try_pin(test, other), -EHWPOISON);
	EXPECT_STAT(test, pgmap, populated, 0);
	EXPECT_STAT(test, pgmap, failed, 0);

	/* One that is populated with it, and one that was before */
	pin(test, other + 1);
	pin(test, pfn);
	poison(test, pfn + 3);
	KUNIT_EXPECT_EQ(test, try_pin(test, other), -EHWPOISON);
	KUNIT_EXPECT_EQ(test, try_pin(test, pfn + 3), -EHWPOISON);
	pin(test, pfn + 4);
	pin(test, pfn + block_nr - 1);
	EXPECT_STAT(test, pgmap, populated, 2);
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(pfn));
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(other));
	/* GUP-fast does not look at single pages. */
	scoped_guard(rcu) {
		KUNIT_EXPECT_FALSE(test, transient_pfn_live(pfn));
		KUNIT_EXPECT_FALSE(test, transient_pfn_live(pfn + block_nr - 1));
		KUNIT_EXPECT_FALSE(test, transient_pfn_live(other));
	}

	unpoison(test, pfn + 3);
	scoped_guard(rcu)
		KUNIT_EXPECT_TRUE(test, transient_pfn_live(pfn));
	pin(test, pfn + 3);
	KUNIT_EXPECT_EQ(test, transient_memmap_unpoison(pfn + 3), -EIO);
}

static void expect_poisoned_and_live(struct kunit *test, unsigned long pfn)
{
	KUNIT_EXPECT_TRUE(test, transient_memmap_live(pfn));
	scoped_guard(rcu)
		KUNIT_EXPECT_FALSE(test, transient_pfn_live(pfn));
}

/* I/O would bring bad data if the error came while its block was being freed. */
static void block_poisoned_while_hidden_is_revived_so(struct kunit *test)
{
	struct rcu_reader *reader;
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	pin(test, pfn);
	reader = rcu_reader_start(test);
	unpin(test, pfn);
	KUNIT_ASSERT_TRUE(test, eventually(!transient_memmap_live(pfn)));
	poison(test, pfn + 3);
	KUNIT_EXPECT_FALSE(test, transient_memmap_live(pfn));

	KUNIT_EXPECT_EQ(test, try_pin(test, pfn + 3), -EHWPOISON);
	pin(test, pfn + 2);
	expect_poisoned_and_live(test, pfn);
	KUNIT_EXPECT_EQ(test, try_pin(test, pfn + 3), -EHWPOISON);
	pin(test, pfn + 4);
	EXPECT_STAT(test, pgmap, populated, 1);
	kunit_release_action(test, rcu_reader_stop, reader);

	unpin(test, pfn + 2);
	unpin(test, pfn + 4);
	expect_idle(test, pgmap);
	expect_absent(test, pfn);
}

/* The same if it came while the block was made. */
static void block_poisoned_while_populating_is_live_so(struct kunit *test)
{
	struct completion *go;
	struct pinner *owner;
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	go = alloc_is_held_up(test);
	owner = pinner_start(test, pfn + 2);
	KUNIT_EXPECT_TRUE(test, eventually(stats_of(pgmap).live == 1));
	poison(test, pfn + 3);
	KUNIT_EXPECT_FALSE(test, completion_done(&owner->done));
	complete_all(go);
	KUNIT_EXPECT_TRUE(test, pinner_goes_on(owner));
	KUNIT_EXPECT_PTR_EQ(test, owner->page, pfn_to_page(pfn + 2));

	expect_poisoned_and_live(test, pfn);
	KUNIT_EXPECT_EQ(test, try_pin(test, pfn + 3), -EHWPOISON);
	pin(test, pfn + 4);
	EXPECT_STAT(test, pgmap, populated, 1);
}

/* The error is the memory's, not the range's. */
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
	KUNIT_EXPECT_EQ(test, try_pin(test, pfn + 1), -EHWPOISON);
	unregister_pgmap(test, pgmap);

	register_range(test, start, SECTION_SIZE);
	pin(test, pfn);
	KUNIT_EXPECT_EQ(test, try_pin(test, pfn + 1), -EHWPOISON);
	unpoison(test, pfn + 1);
	pin(test, pfn + 1);

	/* Of nobody's memory, nothing is noted. */
	transient_memmap_poison(0);
	KUNIT_EXPECT_EQ(test, transient_memmap_unpoison(0), -EIO);
}

/* Registered buffers would hold what I/O needs, or hold it uncounted. */
static void longterm_pins_have_a_cap(struct kunit *test)
{
	struct dev_pagemap *pgmap;
	unsigned long pfn;

	pgmap = register_section(test, &pfn);
	KUNIT_EXPECT_EQ(test, try_pin_longterm(pfn), -EOPNOTSUPP);
	EXPECT_STAT(test, pgmap, populated, 0);

	transient_memmap_set_longterm_cap(pgmap, 1);
	pin(test, pfn);
	EXPECT_STAT(test, pgmap, longterm, 0);
	KUNIT_EXPECT_EQ(test, try_pin_longterm(pfn), 0);
	KUNIT_EXPECT_EQ(test, try_pin_longterm(pfn + 1), 0);
	EXPECT_STAT(test, pgmap, longterm, 1);
	KUNIT_EXPECT_EQ(test, try_pin_longterm(nth_block(pfn, 1)), -ENOMEM);
	EXPECT_STAT(test, pgmap, failed, 1);
	/* Others are none of its business. */
	pin(test, nth_block(pfn, 1));
	unpin(test, nth_block(pfn, 1));

	/* The pin at the cap waits for the block that is about to go. */
	unpin(test, pfn);
	KUNIT_EXPECT_EQ(test, try_pin_longterm(nth_block(pfn, 1)), 0);
	expect_idle(test, pgmap);
	EXPECT_STAT(test, pgmap, longterm, 0);
}

/* With blocks whose struct pages fill one page, and with those that share tails */
static const unsigned long block_sizes[] = {
	PAGE_SIZE / sizeof(struct page),
	PMD_SIZE / PAGE_SIZE,
};

static void block_size_desc(const unsigned long *nr, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "blocks of %lu KiB",
		 *nr * PAGE_SIZE / SZ_1K);
}

KUNIT_ARRAY_PARAM(block_size, block_sizes, block_size_desc);

static int set_block_size(struct kunit *test)
{
	block_nr = *(const unsigned long *)test->param_value;
	if (block_nr > block_sizes[0] && !compound_info_has_mask())
		kunit_skip(test, "CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP is not set");
	return 0;
}

#define BLOCK_CASE(name)	KUNIT_CASE_PARAM(name, block_size_gen_params)
#define BLOCK_CASE_SLOW(name)						\
	KUNIT_CASE_PARAM_ATTR(name, block_size_gen_params,		\
			      { .speed = KUNIT_SPEED_SLOW })

static struct kunit_case transient_memmap_cases[] = {
	BLOCK_CASE(pin_gives_folio_of_a_block),
	BLOCK_CASE(pages_of_a_block_share_its_folio),
	BLOCK_CASE(only_live_blocks_are_had_without_populating),
	BLOCK_CASE(only_the_pinned_block_has_struct_pages),
	BLOCK_CASE(block_page_is_of_the_ranges_node),
	BLOCK_CASE(last_unpin_gives_the_memory_back),
	BLOCK_CASE(block_is_repopulated_after_it_went),
	BLOCK_CASE(last_unpin_in_hard_irq_frees),
	BLOCK_CASE(many_blocks_go_together),
	BLOCK_CASE(ranges_of_a_pgmap_share_a_pool),
	BLOCK_CASE(range_need_not_be_aligned_to_a_section),
	BLOCK_CASE(pgmaps_share_a_section),
	BLOCK_CASE(large_range_works_at_both_ends),
	BLOCK_CASE(overlapping_range_is_refused),
	BLOCK_CASE(malformed_range_is_refused),
	BLOCK_CASE(memory_with_a_memmap_is_refused),
	BLOCK_CASE(section_has_one_kind_of_memmap),
	BLOCK_CASE(failed_registration_leaves_nothing),
	BLOCK_CASE(foreign_pfn_is_left_alone),
	BLOCK_CASE(other_pgmaps_have_no_pool),
	BLOCK_CASE(pin_without_memory_takes_the_reserve),
	BLOCK_CASE(defaults_are_bounded),
	BLOCK_CASE(cap_of_zero_refuses_pins),
	BLOCK_CASE(cap_limits_live_blocks),
	BLOCK_CASE(cap_of_one_pool_leaves_the_other),
	BLOCK_CASE(cap_below_live_waits_for_blocks_to_go),
	BLOCK_CASE(pin_at_the_cap_waits_for_a_dying_block),
	BLOCK_CASE(poisoned_page_is_refused_and_neighbours_are_not),
	BLOCK_CASE(block_poisoned_while_hidden_is_revived_so),
	BLOCK_CASE(block_poisoned_while_populating_is_live_so),
	BLOCK_CASE(poison_outlives_block_and_range),
	BLOCK_CASE(longterm_pins_have_a_cap),
	BLOCK_CASE(new_pin_revives_a_dying_block),
	BLOCK_CASE(new_pin_revives_a_block_being_freed),
	BLOCK_CASE(block_dies_again_while_being_freed),
	BLOCK_CASE(fatal_signal_ends_the_wait),
	BLOCK_CASE(failed_pin_wakes_those_who_wait),
	BLOCK_CASE(pin_with_irqs_off_populates),
	BLOCK_CASE(pin_with_irqs_off_does_not_wait),
	BLOCK_CASE(pin_waits_for_a_block_that_is_unmapped),
	BLOCK_CASE(pins_of_one_block_populate_once),
	BLOCK_CASE(unregister_waits_for_pins_and_refuses_new),
	BLOCK_CASE(unregister_follows_last_unpin),
	BLOCK_CASE(shared_tails_cannot_be_written),
	BLOCK_CASE_SLOW(page_tables_go_with_the_last_block),
	BLOCK_CASE_SLOW(direct_map_has_pinned_blocks_only),
	BLOCK_CASE(direct_map_wants_whole_page_tables),
	BLOCK_CASE(direct_map_agrees_with_other_mappings),
	BLOCK_CASE(kept_block_serves_the_next_pin),
	BLOCK_CASE_SLOW(idle_pool_empties_itself),
	BLOCK_CASE_SLOW(block_in_use_does_not_age),
	BLOCK_CASE(cache_limits_kept_blocks),
	BLOCK_CASE(referenced_block_gets_a_second_chance),
	BLOCK_CASE(shrinker_takes_cold_blocks_first),
	BLOCK_CASE(pin_at_the_cap_takes_idle_blocks),
	BLOCK_CASE(pin_at_the_cap_takes_some_of_many_idle_blocks),
	BLOCK_CASE(revived_block_is_kept),
	BLOCK_CASE(unregister_drops_kept_blocks),
	BLOCK_CASE(flushes_are_batched),
	BLOCK_CASE_SLOW(unpin_races_new_pin),
	BLOCK_CASE_SLOW(unpin_races_new_pin_at_the_cap),
	{}
};

static struct kunit_suite transient_memmap_suite = {
	.name = "transient_memmap",
	.init = set_block_size,
	.test_cases = transient_memmap_cases,
};

kunit_test_suite(transient_memmap_suite);

MODULE_DESCRIPTION("Tests of transient struct pages");
MODULE_LICENSE("GPL");
