// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the pool of transient struct pages, on real page tables
 *
 * They register ranges of physical address space that holds no memory, and pin
 * and unpin there. What would be in that memory is never looked at. Most of
 * them are in transient_memmap_cases.h, and run in user space, too; here is
 * what they stand on, and what takes a kernel. Failing allocations, nodes, the
 * order of those who wait, and the shrinker are tested in user space only, by
 * tools/testing/transient_memmap.
 *
 * All that a test sets up is undone by kunit actions, the last first, so that
 * no range stays registered and no pin is held when an assertion fails.
 */
#include <kunit/test.h>
#include <kunit/test-bug.h>
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

#define DIRECT_MAP	PGMAP_TRANSIENT_DIRECT_MAP
#define SECTION(n)	((n) * PAGES_PER_SECTION)
#define RANGE(n)	SECTION(n)
#define BLOCK_NR	BIT(TRANSIENT_BLOCK_ORDER)
#define PAGES_PER_GIB	(PUD_SIZE / PAGE_SIZE)
/* Struct pages in a page of vmemmap */
#define PER_PAGE	(PAGE_SIZE / sizeof(struct page))

/* Far beyond a grace period on a busy, emulated machine */
#define PATIENCE		(20 * HZ)
#define UNREGISTER_LIMIT	PATIENCE

/* What each test has: four sections from this pfn on, which nobody uses */
static struct dev_pagemap *pgmap;
static unsigned long first_pfn;

#define nth(n)		(first_pfn + (n) * BLOCK_NR)

/* The verbs have no argument for the test, as they have none in user space. */
#define this_test	kunit_get_current_test()

#define CASE(name)		static void name(struct kunit *test)
#define BARE_CASE(name)		CASE(name)
#define SMALL_CASE(name)	CASE(name)
#define DIRECT_MAP_CASE(name)	CASE(name)

#define EXPECT(cond)							\
({									\
	bool __ok = (cond);						\
									\
	if (!__ok)							\
		KUNIT_FAIL(this_test, "not so: %s\n", #cond);		\
	__ok;								\
})

#define ASSERT(cond)		KUNIT_ASSERT_TRUE(this_test, cond)
#define EXPECT_EQ(left, right)						\
	KUNIT_EXPECT_EQ(this_test, (long)(left), (long)(right))

#define wait_for(cond)							\
({									\
	unsigned long __end = jiffies + PATIENCE;			\
	bool __is;							\
									\
	while (!(__is = (cond)) && time_before(jiffies, __end))		\
		usleep_range(500, 1000);				\
	__is;								\
})

/* Setting up */

/* Have the end of the test do this, if it does not do it before. */
static void undo(kunit_action_t *action, void *arg)
{
	ASSERT(!kunit_add_action_or_reset(this_test, action, arg));
}

static void *zalloc(size_t size)
{
	void *p = kunit_kzalloc(this_test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(this_test, p);
	return p;
}

static void release_region_action(void *res)
{
	release_mem_region(((struct resource *)res)->start,
			   resource_size(res));
}

static unsigned long memory(unsigned long nr)
{
	bool whole_gib = IS_ALIGNED(nr, PAGES_PER_GIB);
	u64 size = PFN_PHYS(nr) + (whole_gib ? PUD_SIZE : 0);
	struct resource *res;

	res = request_free_mem_region(&iomem_resource, size, "kunit");
	if (IS_ERR(res))
		kunit_skip(this_test, "no %llu MiB of unused addresses",
			   size / SZ_1M);
	undo(release_region_action, res);
	return PHYS_PFN(whole_gib ? ALIGN(res->start, PUD_SIZE) : res->start);
}

static struct dev_pagemap *alloc_pgmap(void)
{
	return zalloc(struct_size_t(struct dev_pagemap, ranges, 2));
}

#include "transient_memmap_verbs.h"

KUNIT_DEFINE_ACTION_WRAPPER(unregister_action, memunmap_pages,
			    struct dev_pagemap *);

static int register_pgmap(struct dev_pagemap *pgmap)
{
	void *addr = memremap_pages(pgmap, numa_mem_id());

	if (IS_ERR(addr))
		return PTR_ERR(addr);
	undo(unregister_action, pgmap);
	return 0;
}

static void unregister(struct dev_pagemap *pgmap)
{
	kunit_release_action(this_test, unregister_action, pgmap);
}

/* Pinning */

static void put_action(void *page)
{
	folio_put(page_folio((struct page *)page));
}

static int try_pin(unsigned long pfn, unsigned int gup_flags)
{
	struct page *page = transient_memmap_populate(pfn, gup_flags);

	if (IS_ERR(page))
		return PTR_ERR(page);
	undo(put_action, page);
	EXPECT(page == pfn_to_page(pfn));
	return 0;
}

static void unpin(unsigned long pfn)
{
	kunit_release_action(this_test, put_action, pfn_to_page(pfn));
}

static int pin_in_vain(unsigned long pfn)
{
	unsigned long limit = jiffies + HZ;
	int err = try_pin(pfn, 0);

	EXPECT(time_after_eq(jiffies, limit));
	return err;
}

struct irq_unpin {
	struct irq_work work;
	struct folio *folio;
	bool was_hardirq;
};

static void irq_unpin_work(struct irq_work *work)
{
	struct irq_unpin *irq = container_of(work, struct irq_unpin, work);

	irq->was_hardirq = in_hardirq();
	folio_put(irq->folio);
}

static void unpin_in_irq(unsigned long pfn)
{
	struct irq_unpin *irq = zalloc(sizeof(*irq));

	irq->work = IRQ_WORK_INIT_HARD(irq_unpin_work);
	irq->folio = page_folio(pfn_to_page(pfn));
	kunit_remove_action(this_test, put_action, pfn_to_page(pfn));
	irq_work_queue(&irq->work);
	irq_work_sync(&irq->work);
	EXPECT(irq->was_hardirq);
}

static void unpoison_action(void *pfn)
{
	transient_memmap_unpoison((unsigned long)pfn);
}

static void poison(unsigned long pfn)
{
	transient_memmap_poison(pfn);
	undo(unpoison_action, (void *)pfn);
}

static int unpoison(unsigned long pfn)
{
	kunit_remove_action(this_test, unpoison_action, (void *)pfn);
	return transient_memmap_unpoison(pfn);
}

/* Looking */

static enum transient_block_state state_of(unsigned long pfn)
{
	guard(rcu)();
	return pfn_block_state(pfn);
}

/* The entry that maps a pfn's struct page; NULL if there is no page table */
static pte_t *vmemmap_pte(unsigned long pfn)
{
	unsigned int level;

	return lookup_address((unsigned long)pfn_to_page(pfn), &level);
}

#define has_table(pfn)	(!!vmemmap_pte(pfn))

static bool has_struct_page(unsigned long pfn)
{
	pte_t *pte = vmemmap_pte(pfn);

	return pte && !pte_none(ptep_get(pte));
}

#define is_writable(pfn)	pte_write(ptep_get(vmemmap_pte(pfn)))
#define backing(pfn)		pte_pfn(ptep_get(vmemmap_pte(pfn)))

static bool page_is_right(struct dev_pagemap *pgmap, unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);
	struct folio *folio = page_folio(page);

	return folio_pfn(folio) == ALIGN_DOWN(pfn, BLOCK_NR) &&
	       folio_nr_pages(folio) == BLOCK_NR && folio->pgmap == pgmap &&
	       folio_is_zone_device(folio) && !folio_test_lru(folio) &&
	       folio_ref_count(folio) > 0 && !folio_mapcount(folio) &&
	       !folio_maybe_dma_pinned(folio) && page_to_pfn(page) == pfn &&
	       page_to_nid(page) == numa_mem_id() &&
	       page_zonenum(page) == ZONE_DEVICE && PageReserved(page);
}

static void expect_absent(unsigned long pfn)
{
	EXPECT(!pfn_has_struct_page(pfn));
	EXPECT(!has_struct_page(pfn));
	EXPECT(!pfn_valid(pfn));
	EXPECT(!transient_memmap_try_get(pfn));
}

/* PG_LEVEL_NONE, or of which size the entry is that maps it */
static unsigned int direct_level(unsigned long pfn)
{
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)__va(PFN_PHYS(pfn)), &level);

	return pte && pte_present(*pte) ? level : PG_LEVEL_NONE;
}

/* Can it be read? */
static bool in_direct_map(unsigned long pfn)
{
	char byte;

	return !copy_from_kernel_nofault(&byte, __va(PFN_PHYS(pfn)), 1);
}

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

static struct thread *thread_start(void (*fn)(struct thread *thread),
				   struct dev_pagemap *pgmap, unsigned long pfn)
{
	struct thread *thread = zalloc(sizeof(*thread));

	thread->fn = fn;
	thread->pgmap = pgmap;
	thread->pfn = pfn;
	init_completion(&thread->done);
	thread->task = kthread_run(thread_main, thread, "kunit_thread");
	ASSERT(!IS_ERR(thread->task));
	undo(thread_stop, thread);
	return thread;
}

#define start_pin(pfn)	thread_start(thread_pins, NULL, pfn)

static struct thread *start_unregister(struct dev_pagemap *pgmap)
{
	kunit_remove_action(this_test, unregister_action, pgmap);
	return thread_start(thread_unregisters, pgmap, 0);
}

static bool waits(struct thread *thread)
{
	unsigned int state = thread->pgmap ? TASK_IDLE : TASK_KILLABLE;

	return wait_for(READ_ONCE(thread->task->__state) == state) &&
	       !completion_done(&thread->done);
}

#define kill_thread(thread)	send_sig(SIGKILL, (thread)->task, 1)

static int join(struct thread *thread)
{
	struct page *page;

	if (!wait_for_completion_timeout(&thread->done, PATIENCE))
		return -ETIMEDOUT;
	page = thread->page;
	thread->page = NULL;
	if (!IS_ERR_OR_NULL(page))
		undo(put_action, page);
	return PTR_ERR_OR_ZERO(page);
}

/* Stopping the worker */

static struct thread *reader;

static void hide(unsigned long pfn)
{
	if (!IS_ENABLED(CONFIG_PREEMPT_RCU) && num_online_cpus() < 3)
		kunit_skip(this_test, "readers need CPUs of their own");
	reader = thread_start(thread_is_rcu_reader, NULL, 0);
	ASSERT(wait_for(READ_ONCE(reader->reading)));
	unpin(pfn);
	ASSERT(wait_for(state_of(pfn) == BLOCK_HIDDEN));
}

static void unhide(void)
{
	kunit_release_action(this_test, thread_stop, reader);
}

/* The worker has unmapped a block, and tells that it was freed. */
static struct free_probe {
	struct tracepoint *tp;
	bool called;
	bool go;
} probe;

static void free_probe_waits(void *data, unsigned long pfn)
{
	unsigned long end = jiffies + 10 * HZ;

	WRITE_ONCE(probe.called, true);
	while (!READ_ONCE(probe.go) && time_before(jiffies, end))
		cpu_relax();
}

static void free_probe_remove(void *data)
{
	WRITE_ONCE(probe.go, true);
	tracepoint_probe_unregister(probe.tp, free_probe_waits, &probe);
	tracepoint_synchronize_unregister();
}

static void free_probe_find(struct tracepoint *tp, void *data)
{
	if (!strcmp(tp->name, "transient_memmap_free"))
		probe.tp = tp;
}

static void unmap(unsigned long pfn)
{
	if (!IS_ENABLED(CONFIG_TRACEPOINTS) || num_online_cpus() < 2)
		kunit_skip(this_test, "needs tracepoints, and two CPUs");
	probe = (struct free_probe){};
	for_each_kernel_tracepoint(free_probe_find, NULL);
	ASSERT(probe.tp);
	ASSERT(!tracepoint_probe_register(probe.tp, free_probe_waits, &probe));
	undo(free_probe_remove, &probe);
	unpin(pfn);
	ASSERT(wait_for(READ_ONCE(probe.called)));
	EXPECT_EQ(state_of(pfn), BLOCK_UNMAPPED);
}

static void flush_go(void)
{
	if (IS_ENABLED(CONFIG_TRACEPOINTS))
		kunit_release_action(this_test, free_probe_remove, &probe);
}

#include "transient_memmap_cases.h"

/* The processor's view */

/* A tail that lies in its block's private page; what CPUs shall see of it */
static struct page *glanced;
static unsigned long glance_expected;
static atomic_t glance_differs;

static void glance_at_tail(void *unused)
{
	if (READ_ONCE(glanced->private) != glance_expected)
		atomic_inc(&glance_differs);
}

static struct page *tail_by_direct_map(unsigned long pfn)
{
	return pfn_to_kaddr(backing(pfn)) + offset_in_page(pfn_to_page(pfn));
}

/* If this fails, a CPU counts pins in what has become somebody's memory. */
CASE(freed_translation_is_flushed_everywhere)
{
	unsigned long first = nth(0) + PER_PAGE - 1, second = first + BLOCK_NR;
	unsigned long old;

	glanced = pfn_to_page(first);
	glance_expected = 0;
	atomic_set(&glance_differs, 0);
	/* All CPUs know where the first block's struct pages are. */
	pin(first);
	old = backing(first);
	on_each_cpu(glance_at_tail, NULL, true);
	EXPECT_EQ(atomic_read(&glance_differs), 0);
	unpin(first);
	expect_live(pgmap, 0);

	/* The second gets that page, as the one that was freed last. */
	pin(second);
	pin(first);
	ASSERT(backing(second) == old);
	ASSERT(backing(first) != old);
	glance_expected = 1;
	WRITE_ONCE(tail_by_direct_map(first)->private, 1);
	on_each_cpu(glance_at_tail, NULL, true);
	EXPECT_EQ(atomic_read(&glance_differs), 0);
	/* Nobody writes to the tails of a page, so they are not made again. */
	WRITE_ONCE(tail_by_direct_map(first)->private, 0);
}

/* Other memory */

/* If this fails, the kernel's own RAM is handed out as a provider's. */
CASE(system_ram_is_refused)
{
	unsigned long ram = PHYS_PFN(__pa(zalloc(PAGE_SIZE)));

	EXPECT_EQ(refused(ALIGN_DOWN(ram, BLOCK_NR), BLOCK_NR, 0), -EBUSY);
	EXPECT(!pfn_is_transient(ram));
	EXPECT(pfn_has_struct_page(ram));
	EXPECT(!transient_memmap_try_get(ram));
	EXPECT_EQ(try_pin(ram, 0), -EFAULT);
}

/* If this fails, two kinds of memmap share, and free, the same page tables. */
CASE(section_has_one_kind_of_memmap)
{
	unsigned long start = memory(SECTION(1)), rest = start + BLOCK_NR;
	struct dev_pagemap *pgmap = register_range(start, BLOCK_NR), *other;

	other = new_pgmap(rest, BLOCK_NR);
	other->type = MEMORY_DEVICE_GENERIC;
	EXPECT_EQ(register_pgmap(other), -EBUSY);
	pin_and_unpin(start);
	unregister(pgmap);

	other = new_pgmap(rest, BLOCK_NR);
	other->type = MEMORY_DEVICE_GENERIC;
	ASSERT(!register_pgmap(other));
	EXPECT_EQ(refused(start, BLOCK_NR, 0), -EBUSY);
	EXPECT(pfn_valid(rest) && pfn_has_struct_page(rest));
	EXPECT_EQ(try_pin(rest, 0), -EFAULT);
	unregister(other);
	register_range(start, SECTION(1));
}

/*
 * Threads that pin and unpin a few blocks, so that most unpins are the last one
 * of a block that another thread is about to pin. Nobody waits who has what
 * another one may wait for.
 *
 * One block after the other has a rest, long enough for the worker to come, and
 * short enough to be pinned again while the worker is at it.
 */
#define RACE_THREADS	4
#define RACE_BLOCKS	3
#define RACE_TIME	(3 * HZ)
#define RACE_REST	(HZ / 8)

static atomic_t race_pins, race_refused, race_errors;

/* As GUP does: fast with IRQs off, then slow */
static void race_pin(unsigned long pfn)
{
	struct page *page;

	local_irq_disable();
	page = transient_memmap_try_get(pfn);
	local_irq_enable();
	if (!page)
		page = transient_memmap_populate(pfn, 0);
	if (IS_ERR(page)) {
		atomic_inc(page == ERR_PTR(-ENOMEM) ? &race_refused :
						      &race_errors);
		return;
	}
	atomic_inc(&race_pins);
	/* Beside the threads, the worker and the pool may have a reference. */
	if (page != pfn_to_page(pfn) || !pfn_has_struct_page(pfn) ||
	    !page_is_right(pgmap, pfn) || refs(pfn) > RACE_THREADS + 2)
		atomic_inc(&race_errors);
	cond_resched();
	folio_put(page_folio(page));
}

/* Its number is where others have a pfn. */
static void thread_races(struct thread *thread)
{
	unsigned long end = jiffies + RACE_TIME, n;
	struct rnd_state rnd;
	u32 random;

	prandom_seed_state(&rnd, thread->pfn + 1);
	while (time_before(jiffies, end)) {
		random = prandom_u32_state(&rnd);
		n = jiffies / RACE_REST + 1 + random % (RACE_BLOCKS - 1);
		race_pin(nth(n % RACE_BLOCKS) +
			 random / RACE_BLOCKS % BLOCK_NR);
	}
}

static void race(unsigned long cap, unsigned long cache)
{
	struct thread *threads[RACE_THREADS];
	int i;

	set_limit(pgmap, CAP, cap);
	set_limit(pgmap, CACHE, cache);
	for (i = 0; i < RACE_THREADS; i++)
		threads[i] = thread_start(thread_races, NULL, i);
	for (i = 0; i < RACE_THREADS; i++)
		EXPECT_EQ(join(threads[i]), 0);
	expect_live(pgmap, 0);
	for (i = 0; i < RACE_BLOCKS; i++)
		expect_absent(nth(i));
}

/* If this fails, under load memory in use is freed, or what is idle kept. */
CASE(unpin_races_new_pin)
{
	atomic_set(&race_pins, 0);
	atomic_set(&race_refused, 0);
	atomic_set(&race_errors, 0);
	/* At the cap, where blocks are kept, or not; and below it */
	race(RACE_BLOCKS - 1, 0);
	race(RACE_BLOCKS - 1, 1);
	EXPECT(stat_of(pgmap, PEAK) <= RACE_BLOCKS - 1);
	race(RACE_BLOCKS, 0);
	kunit_info(test, "%d pins, %d refused, %lu blocks populated\n",
		   atomic_read(&race_pins), atomic_read(&race_refused),
		   stat_of(pgmap, POPULATED));
	EXPECT(atomic_read(&race_pins) > 0);
	EXPECT_EQ(atomic_read(&race_errors), 0);
	EXPECT_EQ(stat_of(pgmap, FAILED), atomic_read(&race_refused));
}

/* The direct map */

/* Is there a table of PMDs? Without one, the lookup ends a level above. */
static bool has_direct_table(unsigned long pfn)
{
	unsigned int level;

	lookup_address((unsigned long)__va(PFN_PHYS(pfn)), &level);
	return level < PG_LEVEL_1G;
}

/*
 * If this fails, a memory error maps memory that nobody has pinned, or splits a
 * page table entry that the pool will clear.
 */
CASE(memory_error_leaves_direct_map_alone)
{
	unsigned long pfn = memory(PAGES_PER_GIB);

	register_with(pfn, PAGES_PER_GIB, DIRECT_MAP);
	EXPECT_EQ(set_mce_nospec(pfn), 0);
	EXPECT_EQ(direct_level(pfn), PG_LEVEL_NONE);
	pin(pfn);
	EXPECT_EQ(direct_level(pfn), PG_LEVEL_2M);
	EXPECT_EQ(set_mce_nospec(pfn), 0);
	EXPECT_EQ(direct_level(pfn), PG_LEVEL_2M);
	EXPECT(in_direct_map(pfn));
	EXPECT_EQ(clear_mce_nospec(pfn), 0);
}

/*
 * If this fails, a pin oopses at a table that is not there, or a device that is
 * bound with its memory in the direct map cannot be bound without.
 */
CASE(direct_map_has_tables_while_registered)
{
	unsigned long first = memory(2 * PAGES_PER_GIB);
	unsigned long second = first + PAGES_PER_GIB;
	struct dev_pagemap *pgmap;
	int i;

	for (i = 0; i < 2; i++) {
		/* All of it is in the direct map then, and all of it goes. */
		pgmap = register_range(first, 2 * PAGES_PER_GIB);
		EXPECT(direct_level(first) != PG_LEVEL_NONE);
		unregister(pgmap);
		EXPECT_EQ(direct_level(first), PG_LEVEL_NONE);
		EXPECT(!has_direct_table(first));

		pgmap = register_with(first, 2 * PAGES_PER_GIB, DIRECT_MAP);
		EXPECT(has_direct_table(first) && has_direct_table(second));
		EXPECT(has_table(first));
		pin_and_unpin(first);
		unregister(pgmap);
		EXPECT(!has_direct_table(first) && !has_direct_table(second));
		EXPECT(!has_table(first));
	}
}

/*
 * If this fails, the kernel and somebody else see different bytes of the same
 * memory, or the page table of somebody else's memory is freed.
 */
CASE(direct_map_wants_memory_of_its_own)
{
	unsigned long start = memory(PAGES_PER_GIB);
	struct dev_pagemap *pgmap;
	void __iomem *other;

	/* Part of it is somebody else's, and in the direct map. */
	pgmap = register_range(start + SECTION(1), SECTION(1));
	EXPECT_EQ(refused(start, PAGES_PER_GIB, DIRECT_MAP), -EBUSY);
	EXPECT(in_direct_map(start + SECTION(1)));
	unregister(pgmap);

	/* Part of it is mapped elsewhere, by another memory type. */
	other = ioremap_wc(PFN_PHYS(start + BLOCK_NR), PAGE_SIZE);
	ASSERT((__force void *)other);
	EXPECT_EQ(refused(start, PAGES_PER_GIB, DIRECT_MAP), -EBUSY);
	iounmap(other);
	EXPECT(!has_direct_table(start));
	register_with(start, PAGES_PER_GIB, DIRECT_MAP);
}

static int transient_memmap_test_init(struct kunit *test)
{
	first_pfn = memory(SECTION(4));
	pgmap = register_range(first_pfn, SECTION(4));
	return 0;
}

static struct kunit_case transient_memmap_cases[] = {
	KUNIT_CASE(pin_gives_folio_of_a_block),
	KUNIT_CASE(only_the_pinned_block_has_struct_pages),
	KUNIT_CASE(shared_tails_cannot_be_written),
	KUNIT_CASE(last_unpin_may_be_in_an_interrupt),
	KUNIT_CASE(blocks_that_go_together_share_a_flush),
	KUNIT_CASE(new_pin_revives_a_dying_block),
	KUNIT_CASE(block_dies_again_while_hidden),
	KUNIT_CASE(revived_block_is_kept),
	KUNIT_CASE(pin_waits_for_the_flush),
	KUNIT_CASE_SLOW(cap_limits_live_blocks),
	KUNIT_CASE(pin_at_the_cap_takes_idle_blocks),
	KUNIT_CASE(fatal_signal_ends_the_wait_at_the_cap),
	KUNIT_CASE(longterm_pins_need_permission),
	KUNIT_CASE_SLOW(kept_block_serves_the_next_pin_until_it_is_idle),
	KUNIT_CASE_SLOW(block_in_use_does_not_age),
	KUNIT_CASE(cache_limits_kept_blocks_and_prefers_those_in_use),
	KUNIT_CASE(poisoned_page_is_refused_and_neighbours_are_not),
	KUNIT_CASE(poison_counts_in_any_state),
	KUNIT_CASE(poison_outlives_block_and_range),
	KUNIT_CASE(sections_have_tables_while_registered),
	KUNIT_CASE(ranges_share_a_section),
	KUNIT_CASE(bad_range_is_refused),
	KUNIT_CASE(hold_populates_nothing),
	KUNIT_CASE(hold_does_not_overflow),
	KUNIT_CASE(unregistering_waits_for_holds),
	KUNIT_CASE(unregistering_waits_for_pins_and_refuses_new),
	KUNIT_CASE(unregistering_follows_last_unpin),
	KUNIT_CASE(direct_map_has_pinned_blocks_only),
	KUNIT_CASE(direct_map_wants_whole_page_tables),
	/* Those of this file */
	KUNIT_CASE(freed_translation_is_flushed_everywhere),
	KUNIT_CASE(system_ram_is_refused),
	KUNIT_CASE(section_has_one_kind_of_memmap),
	KUNIT_CASE_SLOW(unpin_races_new_pin),
	KUNIT_CASE(memory_error_leaves_direct_map_alone),
	KUNIT_CASE(direct_map_has_tables_while_registered),
	KUNIT_CASE(direct_map_wants_memory_of_its_own),
	{}
};

static struct kunit_suite transient_memmap_suite = {
	.name = "transient_memmap",
	.init = transient_memmap_test_init,
	.test_cases = transient_memmap_cases,
};

kunit_test_suite(transient_memmap_suite);

MODULE_DESCRIPTION("Tests of transient struct pages");
MODULE_LICENSE("GPL");
