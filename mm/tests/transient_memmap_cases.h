/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tests of the pool of transient struct pages, for two worlds
 *
 * transient_memmap_kunit.c runs them in a kernel, with its page tables, RCU and
 * interrupts; tools/testing/transient_memmap/main.c in user space, under
 * sanitizers, on a pool that can be broken, and with a direct map that has
 * pinned blocks only. Each includes this file once, after it has defined:
 *
 *   EXPECT(), EXPECT_EQ()	note a failure and go on
 *   ASSERT()			note a failure and end the test
 *   wait_for(cond)		let time pass until so; false if it never is
 *   memory(nr)			first pfn of as many that nobody uses, aligned
 *				to a section, or to 1 GiB if @nr is
 *   alloc_pgmap(), and included transient_memmap_verbs.h after that
 *   register_pgmap(), unregister()
 *   try_pin(), unpin()		of the same pfn
 *   pin_in_vain()		a pin that fails no earlier than it may
 *   unpin_in_irq()		in a hard interrupt
 *   has_struct_page(), has_table(), is_writable(), backing()
 *				ask the page tables: is there a struct page, a
 *				table for it, may it be written, where is it?
 *   state_of(), in_direct_map(), page_is_right(), expect_absent()
 *   hide(), unhide()		unpin, and stop the worker in its grace period
 *   unmap(), flush_go()	unpin, and stop it between unmapping and absent
 *   poison(), unpoison()
 *   start_pin(), start_unregister()	in a thread, for which there are
 *   waits(), kill_thread(), join()	which returns 0 or the error
 *
 * A CASE() has @pgmap, with four sections from block nth(0) on. Others register
 * what they need: a BARE_CASE() ranges of RANGE(n) pages; a SMALL_CASE() some
 * that are no whole GiB; a DIRECT_MAP_CASE() some that are in the direct map
 * while they are pinned. Nothing is cached unless the test says so.
 */

static struct dev_pagemap *register_with(unsigned long pfn, unsigned long nr,
					 unsigned int flags)
{
	struct dev_pagemap *pgmap = new_pgmap(pfn, nr);

	pgmap->flags |= flags;
	ASSERT(!register_pgmap(pgmap));
	set_limit(pgmap, CACHE, 0);
	return pgmap;
}

static struct dev_pagemap *register_range(unsigned long pfn, unsigned long nr)
{
	return register_with(pfn, nr, 0);
}

/* The error of one that is not registered */
static int refused(unsigned long pfn, unsigned long nr, unsigned int flags)
{
	struct dev_pagemap *pgmap = new_pgmap(pfn, nr);

	pgmap->flags |= flags;
	return register_pgmap(pgmap);
}

static struct folio *pin(unsigned long pfn)
{
	ASSERT(!try_pin(pfn, 0));
	return page_folio(pfn_to_page(pfn));
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

static unsigned int refs(unsigned long pfn)
{
	return folio_ref_count(page_folio(pfn_to_page(pfn)));
}

/* Can it be had without populating, as GUP-fast does? */
static bool can_get(unsigned long pfn)
{
	struct page *page = transient_memmap_try_get(pfn);

	EXPECT(!page || page == pfn_to_page(pfn));
	if (page)
		folio_put(page_folio(page));
	return page;
}

/* Wait until this many are left. */
static void expect_live(struct dev_pagemap *pgmap, unsigned long nr)
{
	EXPECT(wait_for(stat_of(pgmap, LIVE) == nr));
}

/* Wait until none are left, of which these were the first. */
static void expect_freed(unsigned long nr)
{
	expect_live(pgmap, 0);
	while (nr--)
		expect_absent(nth(nr));
}

/* Ageing has just been here, and will not be back for half a second. */
static void wait_for_ageing(void)
{
	pin_and_unpin(nth(100));
	EXPECT(wait_for(!stat_of(pgmap, CACHED)));
}

static void expect_poisoned(unsigned long pfn)
{
	EXPECT_EQ(try_pin(pfn, 0), -EFAULT);
	EXPECT_EQ(try_pin(pfn, FOLL_LONGTERM), -EFAULT);
	EXPECT_EQ(try_pin(pfn, FOLL_HWPOISON), -EHWPOISON);
}

/* What a pin gives */

/* If this fails, DMA goes to other memory, or the core meets a bad page. */
CASE(pin_gives_folio_of_a_block)
{
	struct folio *folio;
	unsigned long pfn;

	EXPECT(!can_get(nth(3)));
	EXPECT_EQ(stat_of(pgmap, POPULATED), 0);
	folio = pin(nth(3) + 5);
	EXPECT_EQ(folio_ref_count(folio), 1);
	for (pfn = nth(3); pfn < nth(4); pfn++) {
		EXPECT(page_is_right(pgmap, pfn));
		EXPECT(pfn_has_struct_page(pfn));
		EXPECT(page_folio(pfn_to_page(pfn)) == folio);
	}

	/* Other pages of the block have the same folio; other blocks do not. */
	EXPECT(pin(nth(4) - 1) == folio);
	EXPECT_EQ(folio_ref_count(folio), 2);
	EXPECT(transient_memmap_try_get(nth(3) + 1));
	EXPECT_EQ(folio_ref_count(folio), 3);
	folio_put(folio);
	EXPECT_EQ(stat_of(pgmap, POPULATED), 1);
	EXPECT(pin(nth(4)) != folio);
	EXPECT(can_get(nth(4)) && !can_get(nth(5)));
	EXPECT_EQ(stat_of(pgmap, POPULATED), 2);
	EXPECT_EQ(stat_of(pgmap, LIVE), 2);
	unpin(nth(3) + 5);
	unpin(nth(4) - 1);
	unpin(nth(4));
}

/*
 * If this fails, pfn walkers (compaction, hibernation, /proc/kpageflags) read
 * struct pages that are not there, or memory cannot be used for I/O again.
 */
CASE(only_the_pinned_block_has_struct_pages)
{
	int i;

	expect_absent(nth(1));
	for (i = 1; i <= 3; i++) {
		EXPECT_EQ(folio_ref_count(pin(nth(1))), 1);
		EXPECT(has_struct_page(nth(1)) && has_struct_page(nth(2) - 1));
		EXPECT(page_is_right(pgmap, nth(2) - 1) && !pfn_valid(nth(1)));
		expect_absent(nth(1) - 1);
		expect_absent(nth(2));
		EXPECT_EQ(stat_of(pgmap, POPULATED), i);

		unpin(nth(1));
		expect_live(pgmap, 0);
		expect_absent(nth(1));
		expect_absent(nth(2) - 1);
		EXPECT_EQ(stat_of(pgmap, FREED), i);
	}
}

/* If this fails, writing a tail writes all, or a block costs eight pages. */
CASE(shared_tails_cannot_be_written)
{
	unsigned long nr = 20, pfn, tails;

	/* More than there are spare pages */
	pin_blocks(0, nr);
	tails = backing(nth(0) + PER_PAGE);
	for (pfn = nth(0); pfn < nth(nr); pfn += PER_PAGE) {
		bool has_head = (pfn - nth(0)) % BLOCK_NR == 0;

		EXPECT_EQ(is_writable(pfn), has_head);
		EXPECT_EQ(backing(pfn) != tails, has_head);
		if (has_head && pfn != nth(0))
			EXPECT(backing(pfn) != backing(pfn - BLOCK_NR));
	}
	unpin_blocks(0, nr);
}

/* What the last unpin does */

/* If this fails, a bio that ends in an interrupt handler hangs the machine. */
CASE(last_unpin_may_be_in_an_interrupt)
{
	pin(nth(0));
	unpin_in_irq(nth(0));
	expect_freed(1);
}

/*
 * If this fails, as many TLB flushes as blocks stop all CPUs again and again,
 * or some of many blocks stay behind.
 */
CASE(blocks_that_go_together_share_a_flush)
{
	unsigned long flushes;

	pin_blocks(0, 31);
	hide(nth(0));
	flushes = stat_of(pgmap, FLUSHES);
	unpin_blocks(1, 30);
	unhide();
	expect_freed(31);
	EXPECT_EQ(stat_of(pgmap, FLUSHES) - flushes, 2);
}

/* A new pin of a dying block */

/*
 * If this fails, GUP-fast reads the refcount of a struct page that is not
 * mapped, or the new holder loses its struct page, or the block is never freed.
 */
CASE(new_pin_revives_a_dying_block)
{
	int i;

	pin_blocks(0, 2);
	hide(nth(0));
	/* The worker has the first block, and will get the second one. */
	unpin(nth(1));
	EXPECT_EQ(state_of(nth(1)), BLOCK_LIVE);
	for (i = 0; i < 2; i++) {
		/* A reader that saw it live may still look at it. */
		EXPECT(has_struct_page(nth(i)));
		EXPECT_EQ(refs(nth(i)), 0);
		EXPECT(!can_get(nth(i)));
		pin(nth(i) + 1);
		EXPECT_EQ(state_of(nth(i)), BLOCK_LIVE);
		/* One reference goes with the worker's link. */
		EXPECT_EQ(refs(nth(i)), 2);
		EXPECT(page_is_right(pgmap, nth(i)));
	}
	unhide();
	for (i = 0; i < 2; i++)
		EXPECT(wait_for(refs(nth(i)) == 1));

	/* The worker comes again, for another one. */
	pin_and_unpin(nth(2));
	expect_live(pgmap, 2);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(state_of(nth(i)), BLOCK_LIVE);
		EXPECT_EQ(refs(nth(i)), 1);
		unpin(nth(i) + 1);
	}
	expect_freed(2);
	EXPECT_EQ(stat_of(pgmap, POPULATED), 3);
	EXPECT_EQ(stat_of(pgmap, FREED), 3);
}

/* If this fails, the block is freed twice, or under its holder, or never. */
CASE(block_dies_again_while_hidden)
{
	int i;

	pin(nth(0));
	hide(nth(0));
	for (i = 0; i < 3; i++)
		pin_and_unpin(nth(0));
	/* Another one dies meanwhile: the lists must not mix. */
	pin_and_unpin(nth(1));
	unhide();
	expect_freed(2);
	EXPECT_EQ(stat_of(pgmap, POPULATED), 2);
	EXPECT_EQ(stat_of(pgmap, FREED), 2);
}

/* If this fails, a block that is used again and again is made each time. */
CASE(revived_block_is_kept)
{
	pin(nth(0));
	hide(nth(0));
	set_limit(pgmap, CACHE, 4);
	pin(nth(0) + 1);
	EXPECT_EQ(stat_of(pgmap, CACHED), 0);
	unhide();
	EXPECT(wait_for(stat_of(pgmap, CACHED) == 1));
	unpin(nth(0) + 1);
	pin_and_unpin(nth(0));
	EXPECT_EQ(stat_of(pgmap, POPULATED), 1);
	EXPECT_EQ(stat_of(pgmap, FREED), 0);
}

/*
 * If this fails, a CPU uses the last page that was mapped, after it was freed;
 * or the pin hangs, or cannot be killed.
 */
CASE(pin_waits_for_the_flush)
{
	struct thread *waiter, *killed;

	pin(nth(0));
	unmap(nth(0));
	EXPECT(!has_struct_page(nth(0)));
	EXPECT(!pfn_has_struct_page(nth(0)));
	EXPECT(!can_get(nth(0)));
	waiter = start_pin(nth(0) + 1);
	killed = start_pin(nth(0) + 2);
	EXPECT(waits(waiter) && waits(killed));
	kill_thread(killed);
	EXPECT_EQ(join(killed), -EINTR);
	EXPECT(waits(waiter));
	EXPECT_EQ(state_of(nth(0)), BLOCK_UNMAPPED);
	EXPECT_EQ(stat_of(pgmap, POPULATED), 1);

	flush_go();
	EXPECT_EQ(join(waiter), 0);
	EXPECT(page_is_right(pgmap, nth(0) + 1));
	EXPECT_EQ(stat_of(pgmap, POPULATED), 2);
	EXPECT_EQ(stat_of(pgmap, FREED), 1);
	unpin(nth(0) + 1);
}

/* Limits */

/*
 * If this fails, a guest's I/O can take all of the host's memory, or lowering
 * the cap breaks I/O that is under way, or an operator who sizes it by the peak
 * sizes it wrong.
 */
CASE(cap_limits_live_blocks)
{
	int i;

	set_limit(pgmap, CAP, 3);
	EXPECT_EQ(transient_memmap_get_limit(pgmap, TRANSIENT_MEMMAP_CAP), 3);
	pin_blocks(0, 3);
	EXPECT_EQ(pin_in_vain(nth(3)), -ENOMEM);
	expect_absent(nth(3));
	for (i = 0; i < 3; i++)
		EXPECT(page_is_right(pgmap, nth(i)));
	EXPECT_EQ(stat_of(pgmap, FAILED), 1);

	/* Below what is live: no new ones until there is room. */
	set_limit(pgmap, CAP, 2);
	pin_and_unpin(nth(1) + 1);
	unpin(nth(0));
	expect_live(pgmap, 2);
	EXPECT_EQ(pin_in_vain(nth(3)), -ENOMEM);
	unpin(nth(2));
	expect_live(pgmap, 1);
	pin_and_unpin(nth(3));
	expect_live(pgmap, 1);
	EXPECT_EQ(stat_of(pgmap, FAILED), 2);
	/* What waited was not live. */
	EXPECT_EQ(stat_of(pgmap, PEAK), 3);

	/* With 0, all that would populate fail, and at once. */
	set_limit(pgmap, CAP, 0);
	EXPECT_EQ(try_pin(nth(2), 0), -ENOMEM);
	pin_and_unpin(nth(1) + 1);
	unpin(nth(1));
	expect_live(pgmap, 0);
	EXPECT_EQ(try_pin(nth(1), 0), -ENOMEM);
	set_limit(pgmap, CAP, ULONG_MAX);
	pin_and_unpin(nth(1));
}

/* If this fails, buffers that fit one after the other fail with ENOMEM. */
CASE(pin_at_the_cap_takes_idle_blocks)
{
	static const unsigned long caps[] = { 1, 4 }, caches[] = { 0, 100 };
	unsigned long i, round;

	for (round = 0; round < 4; round++) {
		set_limit(pgmap, CAP, caps[round / 2]);
		set_limit(pgmap, CACHE, caches[round % 2]);
		for (i = 0; i < 50; i++)
			use(nth(i % (caps[round / 2] + 2)));
		EXPECT(stat_of(pgmap, PEAK) <= caps[round / 2]);
	}
	EXPECT_EQ(stat_of(pgmap, FAILED), 0);
}

/* If this fails, a process that waits for memory to pin cannot be killed. */
CASE(fatal_signal_ends_the_wait_at_the_cap)
{
	struct thread *waiter;

	set_limit(pgmap, CAP, 1);
	pin(nth(0));
	waiter = start_pin(nth(1));
	EXPECT(waits(waiter));
	kill_thread(waiter);
	EXPECT_EQ(join(waiter), -EINTR);
	EXPECT_EQ(stat_of(pgmap, FAILED), 0);
	expect_absent(nth(1));
	unpin(nth(0));
	pin_and_unpin(nth(1));
}

/* If this fails, registered buffers hold what I/O needs, without permission. */
CASE(longterm_pins_need_permission)
{
	EXPECT_EQ(try_pin(nth(0), FOLL_LONGTERM), -EOPNOTSUPP);
	EXPECT_EQ(stat_of(pgmap, POPULATED), 0);
	EXPECT_EQ(transient_memmap_set_limit(pgmap, TRANSIENT_MEMMAP_LONGTERM,
					     2), -EINVAL);
	set_limit(pgmap, LONGTERM, 1);
	EXPECT_EQ(try_pin(nth(0), FOLL_LONGTERM), 0);
	/* It counts like all others, and stays. */
	EXPECT_EQ(stat_of(pgmap, LIVE), 1);
	set_limit(pgmap, LONGTERM, 0);
	EXPECT_EQ(try_pin(nth(0), FOLL_LONGTERM), -EOPNOTSUPP);
	pin_and_unpin(nth(0) + 1);
	EXPECT_EQ(refs(nth(0)), 1);
	unpin(nth(0));
}

/* What is kept */

/*
 * If this fails, each I/O to the same buffer makes its struct pages anew, or
 * memory that was saved by having no memmap is lost to guests that are idle.
 */
CASE(kept_block_serves_the_next_pin_until_it_is_idle)
{
	unsigned long bytes = stat_of(pgmap, BYTES);
	int i;

	set_limit(pgmap, CACHE, 100);
	/* More than there are spare pages, so that any page will do */
	for (i = 0; i < 100; i++)
		use(nth(i % 40));
	EXPECT(can_get(nth(0)));
	EXPECT_EQ(stat_of(pgmap, POPULATED), 40);
	EXPECT_EQ(stat_of(pgmap, CACHED), 40);

	expect_freed(40);
	EXPECT_EQ(stat_of(pgmap, CACHED), 0);
	EXPECT(wait_for(stat_of(pgmap, BYTES) == bytes));

	/* And again, from nothing */
	use(nth(0));
	expect_live(pgmap, 0);
}

/* If this fails, a busy guest pays for struct pages twice a second. */
CASE(block_in_use_does_not_age)
{
	int i;

	set_limit(pgmap, CACHE, 4);
	/* One that is pinned again and again: ageing comes three times. */
	for (i = 1; i <= 3; i++) {
		pin_and_unpin(nth(i));
		use(nth(0));
		EXPECT(wait_for(stat_of(pgmap, CACHED) == 1));
		EXPECT(can_get(nth(0)));
	}
	EXPECT_EQ(stat_of(pgmap, POPULATED), 4);

	/* One that is pinned all the time */
	pin(nth(0));
	for (i = 4; i <= 6; i++) {
		pin_and_unpin(nth(i));
		EXPECT(wait_for(stat_of(pgmap, CACHED) == 1));
	}
	EXPECT_EQ(stat_of(pgmap, POPULATED), 7);
	unpin(nth(0));
	expect_live(pgmap, 0);
}

/*
 * If this fails, the operator's limit on what idle memory costs is none, or one
 * pass over a large buffer throws out what is in use.
 */
CASE(cache_limits_kept_blocks_and_prefers_those_in_use)
{
	int i;

	set_limit(pgmap, CACHE, 2);
	wait_for_ageing();
	use(nth(0));
	pin_and_unpin(nth(1));
	pin_and_unpin(nth(2));
	EXPECT(can_get(nth(0)) && !can_get(nth(1)) && can_get(nth(2)));

	set_limit(pgmap, CACHE, 3);
	for (i = 0; i < 20; i++) {
		pin_and_unpin(nth(i));
		EXPECT(stat_of(pgmap, CACHED) <= 3);
	}
	/* The clock's hand may drop two for one. */
	EXPECT(stat_of(pgmap, CACHED) >= 2);
	set_limit(pgmap, CACHE, 1);
	EXPECT_EQ(stat_of(pgmap, CACHED), 1);

	/* And 0 is: free after the last unpin, of what is pinned now, too. */
	set_limit(pgmap, CACHE, ULONG_MAX);
	pin(nth(0));
	set_limit(pgmap, CACHE, 0);
	EXPECT_EQ(stat_of(pgmap, CACHED), 0);
	expect_live(pgmap, 1);
	EXPECT(page_is_right(pgmap, nth(0)));
	EXPECT_EQ(refs(nth(0)), 1);
	unpin(nth(0));
	expect_live(pgmap, 0);
}

/* Memory errors */

/* If this fails, I/O brings bad data, or 2 MiB are lost with a page. */
CASE(poisoned_page_is_refused_and_neighbours_are_not)
{
	int i;

	poison(nth(1));
	expect_poisoned(nth(1));
	EXPECT_EQ(stat_of(pgmap, POPULATED), 0);
	EXPECT_EQ(stat_of(pgmap, FAILED), 0);

	/* One that is populated with it, and one that was before */
	pin(nth(1) + 1);
	pin(nth(0));
	EXPECT_EQ(state_of(nth(0)), BLOCK_LIVE);
	poison(nth(0) + 3);
	expect_poisoned(nth(1));
	expect_poisoned(nth(0) + 3);
	pin_and_unpin(nth(0) + 4);
	EXPECT_EQ(stat_of(pgmap, POPULATED), 2);
	for (i = 0; i < 2; i++) {
		/* GUP-fast looks at no single page, so may not have any. */
		EXPECT_EQ(state_of(nth(i)), BLOCK_LIVE_POISONED);
		EXPECT(pfn_has_struct_page(nth(i) + 1));
		EXPECT(!can_get(nth(i) + 1));
	}

	EXPECT_EQ(unpoison(nth(0) + 3), 0);
	EXPECT_EQ(unpoison(nth(0) + 3), -EIO);
	EXPECT_EQ(state_of(nth(0)), BLOCK_LIVE);
	pin_and_unpin(nth(0) + 3);
	unpin(nth(0));
	unpin(nth(1) + 1);
	EXPECT_EQ(unpoison(nth(1)), 0);
}

/* Page 3 of the block was poisoned, and page 2 is pinned. */
static void expect_live_and_poisoned(unsigned long pfn)
{
	EXPECT_EQ(state_of(pfn), BLOCK_LIVE_POISONED);
	expect_poisoned(pfn + 3);
	pin_and_unpin(pfn + 4);
	EXPECT_EQ(unpoison(pfn + 3), 0);
	EXPECT_EQ(state_of(pfn), BLOCK_LIVE);
}

/* If this fails, an error in a block that is made or freed is forgotten. */
CASE(poison_counts_in_any_state)
{
	struct thread *waiter;

	/* Hidden, and revived */
	pin(nth(0));
	hide(nth(0));
	poison(nth(0) + 3);
	expect_poisoned(nth(0) + 3);
	EXPECT_EQ(state_of(nth(0)), BLOCK_HIDDEN);
	pin(nth(0) + 2);
	unhide();
	expect_live_and_poisoned(nth(0));
	EXPECT(wait_for(refs(nth(0)) == 1));
	EXPECT_EQ(stat_of(pgmap, POPULATED), 1);

	/* Unmapped, and populated again */
	unmap(nth(0) + 2);
	poison(nth(0) + 3);
	EXPECT_EQ(state_of(nth(0)), BLOCK_UNMAPPED);
	flush_go();
	pin(nth(0) + 2);
	expect_live_and_poisoned(nth(0));

	/* Populating, as it waits at the cap */
	set_limit(pgmap, CAP, 1);
	waiter = start_pin(nth(1) + 2);
	EXPECT(waits(waiter));
	poison(nth(1) + 3);
	EXPECT_EQ(state_of(nth(1)), BLOCK_POPULATING);
	unpin(nth(0) + 2);
	EXPECT_EQ(join(waiter), 0);
	expect_live_and_poisoned(nth(1));
	unpin(nth(1) + 2);
}

/* If this fails, a device that is bound again hands out bad memory. */
BARE_CASE(poison_outlives_block_and_range)
{
	unsigned long pfn = memory(RANGE(1));
	struct dev_pagemap *pgmap = register_range(pfn, RANGE(1));

	pin(pfn);
	poison(pfn + 1);
	unpin(pfn);
	expect_live(pgmap, 0);
	expect_poisoned(pfn + 1);
	unregister(pgmap);
	/* Of nobody's memory, nothing is noted. */
	transient_memmap_poison(pfn + 5);
	EXPECT_EQ(transient_memmap_unpoison(pfn + 5), -EIO);

	pgmap = register_range(pfn, RANGE(1));
	pin(pfn);
	expect_poisoned(pfn + 1);
	EXPECT_EQ(unpoison(pfn + 1), 0);
	pin_and_unpin(pfn + 1);
	unpin(pfn);
	unregister(pgmap);
}

/* Ranges */

/*
 * If this fails, memory that a platform hands out in pieces of 2 MiB cannot be
 * used, or a pin oopses at a table that is not there, or page tables leak.
 */
SMALL_CASE(sections_have_tables_while_registered)
{
	/* From the last block of a section to the first of another one */
	unsigned long start = memory(64 * PAGES_PER_GIB), pfn;
	unsigned long nr = 63 * PAGES_PER_GIB + 2 * BLOCK_NR;
	unsigned long first = start + SECTION(1) - BLOCK_NR;
	unsigned long last = first + nr - 1;
	struct dev_pagemap *pgmap;
	int round;

	for (round = 0; round < 2; round++) {
		pgmap = register_range(first, nr);
		for (pfn = first; pfn <= last; pfn += SECTION(1))
			EXPECT(has_table(pfn) && !has_struct_page(pfn));
		EXPECT(has_table(last));
		pin(first);
		pin(last);
		EXPECT(!pfn_is_transient(first - 1));
		EXPECT(!pfn_is_transient(last + 1));
		EXPECT_EQ(try_pin(first - 1, 0), -EFAULT);
		EXPECT_EQ(try_pin(last + 1, 0), -EFAULT);
		unpin(first);
		unpin(last);
		unregister(pgmap);
		for (pfn = first; pfn <= last; pfn += SECTION(1))
			EXPECT(!has_table(pfn));
		EXPECT(!has_table(last));
	}
}

/* If this fails, one device's unbind takes another's page tables. */
SMALL_CASE(ranges_share_a_section)
{
	unsigned long start = memory(SECTION(2)), half = SECTION(1) / 2;
	unsigned long pfns[] = { start, start + half };
	unsigned long nr[] = { half, 2 * half };
	struct dev_pagemap *pgmaps[2];
	int i;

	/* Whichever of the two comes, and goes, first */
	for (i = 0; i < 4; i++) {
		int first = i % 2, other = !first, order = i / 2;

		pgmaps[order] = register_range(pfns[order], nr[order]);
		pgmaps[!order] = register_range(pfns[!order], nr[!order]);
		pin(pfns[first]);
		pin(pfns[other]);
		EXPECT_EQ(stat_of(pgmaps[first], LIVE), 1);
		EXPECT(page_is_right(pgmaps[first], pfns[first]));
		unpin(pfns[first]);
		unregister(pgmaps[first]);
		EXPECT(!pfn_is_transient(pfns[first]));
		EXPECT_EQ(try_pin(pfns[first], 0), -EFAULT);
		expect_absent(pfns[first]);
		EXPECT(page_is_right(pgmaps[other], pfns[other]));
		EXPECT_EQ(refs(pfns[other]), 1);
		pin_and_unpin(pfns[other] + BLOCK_NR);
		unpin(pfns[other]);
		unregister(pgmaps[other]);
		EXPECT(!has_table(start) && !has_table(start + SECTION(1)));
	}
}

/*
 * If this fails, two owners of one block free each other's struct pages, or a
 * provider's bad arithmetic makes half a block, or a device that failed to bind
 * cannot be bound before a reboot.
 */
SMALL_CASE(bad_range_is_refused)
{
	unsigned long start = memory(SECTION(3)), mid = start + SECTION(1);
	unsigned long end = mid + SECTION(1);
	struct dev_pagemap *pgmap = register_range(mid, SECTION(1));
	struct dev_pagemap *lower, *upper;

	/* The same, around it, and a part: of its middle, beginning and end */
	EXPECT_EQ(refused(mid, SECTION(1), 0), -EBUSY);
	EXPECT_EQ(refused(start, SECTION(3), 0), -EBUSY);
	EXPECT_EQ(refused(mid + BLOCK_NR, BLOCK_NR, 0), -EBUSY);
	EXPECT_EQ(refused(start, SECTION(2), 0), -EBUSY);
	EXPECT_EQ(refused(end - BLOCK_NR, 2 * BLOCK_NR, 0), -EBUSY);
	/* A bad start, bad ends, and nothing */
	EXPECT_EQ(refused(end + 1, BLOCK_NR, 0), -EINVAL);
	EXPECT_EQ(refused(end, BLOCK_NR - 1, 0), -EINVAL);
	EXPECT_EQ(refused(end, 1, 0), -EINVAL);
	EXPECT_EQ(refused(end, 0, 0), -EINVAL);
	upper = new_pgmap(end, BLOCK_NR);
	upper->ranges[0].end--;
	EXPECT_EQ(register_pgmap(upper), -EINVAL);
	/* The second of two: the first is unregistered. */
	lower = new_pgmap(start, SECTION(1));
	pgmap_add(lower, end, 1);
	EXPECT_EQ(register_pgmap(lower), -EINVAL);
	EXPECT_EQ(try_pin(start, 0), -EFAULT);
	EXPECT(!has_table(start));

	/* Neither the owner nor the neighbours have suffered. */
	pin(mid);
	EXPECT(page_is_right(pgmap, mid));
	lower = register_range(start, SECTION(1));
	upper = register_range(end, SECTION(1));
	pin_and_unpin(mid - 1);
	EXPECT_EQ(stat_of(pgmap, LIVE), 1);
	unpin(mid);
	unregister(upper);
	unregister(lower);
	unregister(pgmap);
}

/* If this fails, DMA costs struct pages, or is let into a bad page. */
CASE(hold_populates_nothing)
{
	const unsigned long pfn = nth(0) + 5, nr = 2 * BLOCK_NR;

	EXPECT_EQ(transient_memmap_hold(pfn, nr), 0);
	EXPECT_EQ(transient_memmap_hold(pfn, 1), 0);
	EXPECT_EQ(stat_of(pgmap, HELD), nr + 1);
	EXPECT_EQ(stat_of(pgmap, POPULATED), 0);
	EXPECT(!has_struct_page(pfn));

	poison(nth(1) + 3);
	EXPECT_EQ(transient_memmap_hold(nth(0), nr), -EFAULT);
	EXPECT_EQ(transient_memmap_hold(nth(1) + 3, 1), -EFAULT);
	EXPECT_EQ(transient_memmap_hold(nth(1) + 4, 1), 0);
	EXPECT_EQ(stat_of(pgmap, HELD), nr + 2);
	EXPECT_EQ(unpoison(nth(1) + 3), 0);

	/* In other parts than they were taken */
	EXPECT_EQ(transient_memmap_release(nth(1), BLOCK_NR + 5), BLOCK_NR + 5);
	EXPECT_EQ(transient_memmap_release(nth(1), 1), 1);
	EXPECT_EQ(transient_memmap_release(nth(1), 1), 0);
	EXPECT_EQ(transient_memmap_release(pfn, nr), BLOCK_NR - 5);
	EXPECT_EQ(transient_memmap_release(nth(0), 1), 1);
	EXPECT_EQ(transient_memmap_release(nth(0), 1), 0);
	EXPECT_EQ(stat_of(pgmap, HELD), 0);
}

/* If this fails, a user gets a block for good, or frees one that others use. */
CASE(hold_does_not_overflow)
{
	unsigned int *held;

	scoped_guard(rcu)
		held = &pfn_transient_section(nth(1))->held[block_index(nth(1))];
	*held = UINT_MAX - 1;
	EXPECT_EQ(transient_memmap_hold(nth(0), BLOCK_NR + 2), -EOVERFLOW);
	EXPECT_EQ(*held, UINT_MAX - 1);
	EXPECT_EQ(transient_memmap_hold(nth(1), 1), 0);
	EXPECT_EQ(*held, UINT_MAX);
	EXPECT_EQ(transient_memmap_release(nth(1), 1), 1);
	EXPECT_EQ(stat_of(pgmap, HELD), 0);
	*held = 0;
}

/* If this fails, a device writes to memory that somebody else has by then. */
BARE_CASE(unregistering_waits_for_holds)
{
	unsigned long pfn = memory(RANGE(1));
	struct dev_pagemap *pgmap = register_range(pfn, RANGE(1));
	struct thread *thread;

	EXPECT_EQ(transient_memmap_hold(pfn + 1, BLOCK_NR), 0);
	thread = start_unregister(pgmap);
	/* No ASSERT() until it is released: the thread would hang. */
	EXPECT(waits(thread));
	EXPECT_EQ(transient_memmap_hold(pfn, 1), -ENXIO);
	EXPECT_EQ(transient_memmap_release(pfn + 1, BLOCK_NR - 1), BLOCK_NR - 1);
	EXPECT(waits(thread));
	EXPECT_EQ(transient_memmap_release(pfn + BLOCK_NR, 1), 1);
	EXPECT_EQ(join(thread), 0);

	EXPECT_EQ(transient_memmap_hold(pfn, 1), -ENXIO);
	EXPECT_EQ(transient_memmap_release(pfn, 1), 0);
	unregister(register_range(pfn, RANGE(1)));
}

/*
 * If this fails, the provider gives memory away that a device still writes to,
 * or I/O that keeps coming keeps it from leaving, or an unbind that waits for a
 * pin counts as load, and as a hung task.
 */
BARE_CASE(unregistering_waits_for_pins_and_refuses_new)
{
	unsigned long pfn = memory(RANGE(1)), idle = pfn + BLOCK_NR;
	struct dev_pagemap *pgmap = register_range(pfn, RANGE(1));
	struct thread *thread;

	set_limit(pgmap, CACHE, 4);
	use(idle);
	pin(pfn);
	thread = start_unregister(pgmap);
	/* No ASSERT() until the page is unpinned: the thread would hang. */
	EXPECT(waits(thread));
	EXPECT(wait_for(!has_struct_page(idle)));
	EXPECT_EQ(try_pin(idle, 0), -EFAULT);
	EXPECT_EQ(try_pin(pfn, 0), -EFAULT);
	EXPECT(page_is_right(pgmap, pfn));
	EXPECT_EQ(refs(pfn), 1);
	EXPECT(waits(thread));
	unpin(pfn);

	EXPECT_EQ(join(thread), 0);
	EXPECT_EQ(try_pin(pfn, 0), -EFAULT);
	EXPECT(!can_get(pfn));
	EXPECT(!get_dev_pagemap(pfn));
	EXPECT(!has_table(pfn));
	unregister(register_range(pfn, RANGE(1)));
}

/*
 * If this fails, unbinding right after I/O frees the pool under its worker, or
 * hangs until the cache has aged, or for good.
 */
BARE_CASE(unregistering_follows_last_unpin)
{
	unsigned long start = memory(RANGE(1)), began;
	struct dev_pagemap *pgmap;
	int round, i;

	for (round = 0; round < 20; round++) {
		pgmap = register_range(start, RANGE(1));
		/* Blocks are freed, or kept. */
		set_limit(pgmap, CACHE, round % 2 * 100);
		for (i = 0; i < 20; i++)
			use(start + i * BLOCK_NR);
		began = jiffies;
		unregister(pgmap);
		EXPECT(jiffies - began < UNREGISTER_LIMIT);
		for (i = 0; i < 20; i++)
			expect_absent(start + i * BLOCK_NR);
	}
}

/* The direct map */

/* If this fails, a stray read sees memory of a guest, or I/O oopses. */
DIRECT_MAP_CASE(direct_map_has_pinned_blocks_only)
{
	unsigned long start = memory(2 * PAGES_PER_GIB);
	unsigned long pfn = start + PAGES_PER_GIB + 3 * BLOCK_NR;
	unsigned long far = pfn + SECTION(1);
	struct dev_pagemap *pgmap;
	int i;

	pgmap = register_with(start, 2 * PAGES_PER_GIB, DIRECT_MAP);
	for (i = 0; i < 3; i++) {
		EXPECT(!in_direct_map(pfn) && !in_direct_map(far));
		pin(pfn);
		pin(far);
		EXPECT(in_direct_map(pfn) && in_direct_map(pfn + BLOCK_NR - 1));
		EXPECT(!in_direct_map(pfn - 1));
		EXPECT(!in_direct_map(pfn + BLOCK_NR));
		EXPECT(!in_direct_map(pfn - PAGES_PER_GIB));
		EXPECT(!in_direct_map(start));
		unpin(pfn);
		expect_live(pgmap, 1);
		EXPECT(!in_direct_map(pfn) && in_direct_map(far));
		unpin(far);
		expect_live(pgmap, 0);
	}
	EXPECT(!in_direct_map(far));
	unregister(pgmap);
}

/* If this fails, the page table of somebody else's memory is freed. */
DIRECT_MAP_CASE(direct_map_wants_whole_page_tables)
{
	unsigned long gib = PAGES_PER_GIB, start = memory(2 * gib), part;

	part = start + BLOCK_NR;
	EXPECT_EQ(refused(start, SECTION(1), DIRECT_MAP), -EINVAL);
	EXPECT_EQ(refused(part, gib, DIRECT_MAP), -EINVAL);
	EXPECT_EQ(refused(part, gib - BLOCK_NR, DIRECT_MAP), -EINVAL);
	EXPECT_EQ(refused(start, gib + BLOCK_NR, DIRECT_MAP), -EINVAL);
	EXPECT_EQ(try_pin(start, 0), -EFAULT);
	unregister(register_with(start, gib, DIRECT_MAP));
}
