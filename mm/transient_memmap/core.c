// SPDX-License-Identifier: GPL-2.0
/*
 * Transient struct pages: a memmap for what is pinned, and for nothing else
 *
 * With SPARSEMEM_VMEMMAP the struct page of a pfn has one fixed address, so a
 * struct page can be made by mapping a page of memory there, and unmade by
 * unmapping it. A pool does this for the ranges of one dev_pagemap of type
 * MEMORY_DEVICE_TRANSIENT. Its unit is the block: 2 MiB, one folio, whose
 * struct pages fill eight pages of vmemmap. The first is the block's own and
 * has the head. The other seven map one page of tails, which is the pool's and
 * read-only there, as the tails of all folios of one order are alike.
 *
 * The life of a block, see enum transient_block_state:
 *
 *	absent -> populating -> live -----> hidden -> unmapped -> absent
 *	                        ^  \ (last unpin)  |
 *	                        +---+--- revive ---+
 *
 * A live block has a refcount of 1 for the pool, if that keeps the block for
 * its next pin (see cache.c), and of 1 for each reference that callers of GUP
 * hold.
 *
 * Whoever puts the last reference hands the folio to a worker, which serves all
 * pools. The worker hides the blocks that it was given, waits for an RCU grace
 * period, unmaps their struct pages, flushes the TLB once for all of them, and
 * frees. Until it unmaps, a pin can revive a block.
 *
 * Who may be looking at a struct page, and what stops them:
 *
 * - The holders of a reference. Only a block of refcount 0 is unmapped, under
 *   the section's lock, and no reference can come to it there: try-get fails on
 *   0, and reviving needs the lock.
 *
 * - A reader that saw BLOCK_LIVE and has not done its try-get yet. It is in an
 *   RCU read-side section (or has IRQs off, which counts as one: GUP-fast)
 *   since before it looked. The worker hides the block, waits for a grace
 *   period, and unmaps only if it is hidden still.
 *
 * - A CPU that speculates through, or has cached, the old translation. The page
 *   is given back after the TLB flush, and the block stays BLOCK_UNMAPPED until
 *   then: it is never populated while a TLB may still hold its last page.
 *
 * - The one who dropped the last reference, in free_zone_device_folio(), until
 *   its llist_add(). The worker finds the block through that list only. If that
 *   task is preempted there, its block waits for it; if it is preempted between
 *   llist_add() and queueing the worker, the worker takes the block whenever
 *   somebody else queues it, as pins that wait do.
 *
 * A pool whose range was registered with PGMAP_TRANSIENT_DIRECT_MAP has the
 * memory of a block in the direct map for as long as its struct pages are
 * mapped; see direct_map.c. The above holds for both.
 *
 * Barriers: the state is stored with release semantics after the struct pages
 * were mapped and initialised, in block_set_state(); this pairs with the
 * acquire in pfn_block_state(). A reader derives the address of the struct page
 * from the pfn and not from the state, so the acquire is what orders them.
 *
 * Locks: mem_hotplug_lock or mmap_lock -> section lock -> pool lock, and
 * pools_lock -> pool lock. Nothing sleeps under a section's or a pool's lock,
 * and neither is taken with IRQs off, or by the last unpin, which may come from
 * a hard interrupt. Neither pin nor free takes mem_hotplug_lock: the tables of
 * a range are there for as long as it is registered, and a block keeps it
 * registered.
 */
#include "internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/transient_memmap.h>

/*
 * How long a dying block waits for the worker, so that this has more than one
 * to flush the TLB for, and that the next I/O to the same buffer finds the
 * block also if nothing is kept.
 */
#define FREE_DELAY	msecs_to_jiffies(10)

/* Pages of vmemmap, and entries of its page table, that a block has */
#define BLOCK_PTES	8

DEFINE_STATIC_KEY_FALSE(transient_memmap_key);

struct workqueue_struct *transient_wq;

/* The pfns that had a memory error, whether anybody owns them now or not */
static DEFINE_XARRAY(poisoned_pfns);

/*
 * Folios whose last reference has gone, or goes with this list; added to from
 * any context
 */
static LLIST_HEAD(dying);

static void free_dying(struct work_struct *work);
static DECLARE_DELAYED_WORK(free_work, free_dying);

atomic_long_t transient_nr_flushes = ATOMIC_LONG_INIT(0);

/* States */

static bool block_in_transit(const struct transient_section *sec,
			     unsigned long pfn)
{
	u8 state = READ_ONCE(sec->state[block_index(pfn)]);

	return state == BLOCK_POPULATING || state == BLOCK_UNMAPPED;
}

/**
 * transient_has_poison() - has any of these pages a memory error?
 * @pfn: the first
 * @nr: how many
 *
 * Context: Any.
 * Return: true if so.
 */
bool transient_has_poison(unsigned long pfn, unsigned long nr)
{
	unsigned long index = pfn;

	return !xa_empty(&poisoned_pfns) &&
	       xa_find(&poisoned_pfns, &index, pfn + nr - 1, XA_PRESENT);
}
EXPORT_SYMBOL_GPL(transient_has_poison);

static void block_set_state(struct transient_section *sec, unsigned long pfn,
			    enum transient_block_state state)
	__must_hold(&sec->lock)
{
	u8 *slot = &sec->state[block_index(pfn)];
	bool wake = block_in_transit(sec, pfn);

	lockdep_assert_held(&sec->lock);

	/* Whoever poisons a page comes here after that: see update_poison(). */
	if (state == BLOCK_LIVE &&
	    transient_has_poison(block_start(pfn), BIT(TRANSIENT_BLOCK_ORDER)))
		state = BLOCK_LIVE_POISONED;
	/* Pairs with pfn_block_state(): the struct pages are ready. */
	smp_store_release(slot, state);
	if (wake)
		wake_up_var_locked(slot, &sec->lock);
}

static pte_t *block_pte(struct transient_section *sec, unsigned long pfn)
{
	return sec->ptes + BLOCK_PTES * block_index(pfn);
}

/**
 * block_page() - get the private page of a block
 * @sec: its section
 * @pfn: of the block, which is mapped
 *
 * Context: @sec->lock is held, or the caller keeps the block mapped.
 * Return: the page.
 */
struct page *block_page(struct transient_section *sec, unsigned long pfn)
{
	return pte_page(ptep_get(block_pte(sec, pfn)));
}

/*
 * The pool of a block's private page. The head lies in that page, whether it is
 * mapped into vmemmap or not any more.
 */
static struct transient_pool *page_pool(struct page *page)
{
	struct folio *folio = page_address(page);

	return folio->pgmap->transient_pool;
}

/*
 * The link on the list of the dying. Nobody else uses zone_device_data of a
 * transient folio.
 */
static struct llist_node *folio_to_link(struct folio *folio)
{
	BUILD_BUG_ON(sizeof(struct llist_node) !=
		     sizeof(folio->page.zone_device_data));
	return (struct llist_node *)&folio->page.zone_device_data;
}

static struct folio *link_to_folio(struct llist_node *link)
{
	return container_of((void **)link, struct folio, page.zone_device_data);
}

/* Populate */

/* Nothing was mapped here since the last flush: no flush needed. */
static void block_map(struct transient_pool *pool,
		      struct transient_section *sec, unsigned long pfn,
		      struct page *page)
{
	unsigned long addr = (unsigned long)pfn_to_page(pfn);
	pte_t *pte = block_pte(sec, pfn);
	pte_t tails = mk_pte(pool->tails, PAGE_KERNEL_RO);
	int i;

	set_pte_at(&init_mm, addr, pte, mk_pte(page, PAGE_KERNEL));
	for (i = 1; i < BLOCK_PTES; i++)
		set_pte_at(&init_mm, addr + i * PAGE_SIZE, pte + i, tails);
	if (sec->direct)
		set_pmd(sec->direct + block_index(pfn),
			pmd_mkhuge(pfn_pmd(pfn, PAGE_KERNEL)));
}

/*
 * Make the head, which makes it the folio of the tails that are there. Its
 * refcount is 1, for the caller: nobody else sees it before BLOCK_LIVE.
 */
static void block_init(struct transient_pool *pool, unsigned long pfn)
{
	struct page *head = pfn_to_page(pfn);
	struct folio *folio = (struct folio *)head;

	__init_single_page(head, pfn, ZONE_DEVICE, pool->nid);
	__set_bit(PG_reserved, &head->flags.f);
	__folio_set_head(folio);
	prep_compound_head(head, TRANSIENT_BLOCK_ORDER);
	folio->pgmap = pool->pgmap;
	folio->page.zone_device_data = NULL;
}

/*
 * The block is mapped, and its state says it, or is hidden: give it a reference
 * for the caller.
 *
 * If it is dying, the worker has its link, or will get it. So the count starts
 * at two: the second reference goes with the link, and the worker drops it. It
 * keeps the folio from reaching 0, and the link from being added again, for as
 * long as the worker has it. Nobody else raises a count of 0: that needs the
 * lock, and the worker frees the block under the lock.
 */
static void block_revive(struct transient_section *sec, unsigned long pfn)
	__must_hold(&sec->lock)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));

	if (folio_try_get(folio))
		return;
	folio_set_count(folio, 2);
	block_set_state(sec, pfn, BLOCK_LIVE);
}

/*
 * Get a reference on a block, and populate it if need be. To wait until others
 * have populated or freed the block counts against the deadline.
 */
static int block_get(struct transient_pool *pool, unsigned long pfn)
{
	unsigned long deadline = jiffies + POOL_TIMEOUT;
	struct transient_section *sec = section_of(pfn);
	u8 *slot = &sec->state[block_index(pfn)];
	struct page *page;
	bool keep;

	scoped_guard(spinlock, &sec->lock) {
		if (wait_var_event_any_lock(slot, !block_in_transit(sec, pfn),
					    &sec->lock, spin, TASK_KILLABLE))
			return -EINTR;
		if (*slot != BLOCK_ABSENT) {
			block_revive(sec, pfn);
			return 0;
		}
		block_set_state(sec, pfn, BLOCK_POPULATING);
	}

	page = pool_get_page(pool, pfn, deadline, &keep);
	if (!IS_ERR(page)) {
		block_map(pool, sec, pfn, page);
		block_init(pool, pfn);
		if (keep)
			pool_keep(pool, page);
		percpu_ref_get(&pool->pgmap->ref);
		trace_transient_memmap_populate(pfn);
	}
	guard(spinlock)(&sec->lock);
	block_set_state(sec, pfn, IS_ERR(page) ? BLOCK_ABSENT : BLOCK_LIVE);
	return PTR_ERR_OR_ZERO(page);
}

/**
 * transient_memmap_populate() - get a page, making its struct page if need be
 * @pfn: any pfn
 * @gup_flags: FOLL_LONGTERM for a pin that may be there to stay, FOLL_HWPOISON
 *	for a caller that wants to know of memory errors
 *
 * Context: Process context, may sleep; mmap_lock may be held.
 * Return: the page, with one more reference on its folio, or an ERR_PTR():
 *	-EFAULT if @pfn is in no transient range, its provider is leaving, or
 *	the page has a memory error;
 *	-EHWPOISON for the latter with FOLL_HWPOISON;
 *	-EOPNOTSUPP if long-term pins are not allowed;
 *	-ENOMEM if the pool was at its cap, or without memory, for POOL_TIMEOUT;
 *	-EINTR if a fatal signal came while waiting.
 */
struct page *transient_memmap_populate(unsigned long pfn,
				       unsigned int gup_flags)
{
	struct dev_pagemap *pgmap = get_dev_pagemap(pfn);
	int err;

	might_sleep();

	if (!pgmap)
		return ERR_PTR(-EFAULT);
	/* It has a pgmap, but no section yet, while it is being registered. */
	if (!pfn_is_transient(pfn))
		err = -EFAULT;
	/* A poison that comes later is treated as if the pin came first. */
	else if (xa_load(&poisoned_pfns, pfn))
		err = gup_flags & FOLL_HWPOISON ? -EHWPOISON : -EFAULT;
	else if ((gup_flags & FOLL_LONGTERM) &&
		 !transient_memmap_get_limit(pgmap, TRANSIENT_MEMMAP_LONGTERM))
		err = -EOPNOTSUPP;
	else
		err = block_get(pgmap->transient_pool, block_start(pfn));
	put_dev_pagemap(pgmap);
	if (!err)
		return pfn_to_page(pfn);
	trace_transient_memmap_fail(pfn, err);
	return ERR_PTR(err);
}
EXPORT_SYMBOL_IF_KUNIT(transient_memmap_populate);

/**
 * transient_memmap_try_get() - get the struct page of a live block
 * @pfn: any pfn
 *
 * Context: Any.
 * Return: the page, with one more reference on its folio; NULL if it takes
 *	transient_memmap_populate().
 */
struct page *transient_memmap_try_get(unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);

	guard(rcu)();
	/* RCU keeps the struct page mapped from here on, see the top. */
	if (block_pinnable(pfn) && folio_try_get(page_folio(page)))
		return page;
	return NULL;
}
EXPORT_SYMBOL_IF_KUNIT(transient_memmap_try_get);

/* Last unpin */

/**
 * transient_free_soon() - have the worker not wait for more blocks
 *
 * Context: Any.
 */
void transient_free_soon(void)
{
	mod_delayed_work(transient_wq, &free_work, 0);
}

/**
 * transient_memmap_free_folio() - take a folio whose last reference has gone
 * @folio: folio of a live block, with refcount 0
 *
 * The block may be revived at any time now, but not freed before it is on the
 * list; from then on it must not be touched here.
 *
 * Context: Any, also hard interrupt: a bio may end there.
 */
void transient_memmap_free_folio(struct folio *folio)
{
	if (llist_add(folio_to_link(folio), &dying))
		queue_delayed_work(transient_wq, &free_work,
				   pool_has_waiters() ? 0 : FREE_DELAY);
}

/* Free */

/*
 * The link is the worker's now. If the block was revived, it is in use: it may
 * be worth keeping, and the reference that goes with the link is dropped.
 * Returns true if the block is dying, for the first time or again.
 */
static bool block_take_link(struct transient_section *sec, struct folio *folio)
	__must_hold(&sec->lock)
{
	struct page *page = block_page(sec, folio_pfn(folio));

	if (!folio_ref_count(folio))
		return true;
	/* Of the blocks of an owner, charge() has said which to keep. */
	if (!block_owner(page))
		pool_keep(page_pool(page), page);
	return folio_put_testzero(folio);
}

/* First visit: make a dying block invisible. Returns false if it is pinned. */
static bool block_hide(struct folio *folio)
{
	unsigned long pfn = folio_pfn(folio);
	struct transient_section *sec = section_of(pfn);

	guard(spinlock)(&sec->lock);
	if (!block_take_link(sec, folio))
		return false;
	block_set_state(sec, pfn, BLOCK_HIDDEN);
	return true;
}

/*
 * Second visit, a grace period later: take the struct pages out of vmemmap.
 * Returns the block's page, or NULL if it was revived in between; if it is
 * dying again, readers may have seen it, and it has to begin anew.
 */
static struct page *block_unmap(struct folio *folio)
{
	unsigned long addr = (unsigned long)folio, pfn = folio_pfn(folio);
	struct transient_section *sec = section_of(pfn);
	pte_t *pte = block_pte(sec, pfn);
	struct page *page;
	int i;

	guard(spinlock)(&sec->lock);
	if (sec->state[block_index(pfn)] != BLOCK_HIDDEN) {
		if (block_take_link(sec, folio))
			transient_memmap_free_folio(folio);
		return NULL;
	}

	page = block_page(sec, pfn);
	for (i = 0; i < BLOCK_PTES; i++)
		pte_clear(&init_mm, addr + i * PAGE_SIZE, pte + i);
	if (sec->direct)
		pmd_clear(sec->direct + block_index(pfn));
	block_set_state(sec, pfn, BLOCK_UNMAPPED);
	return page;
}

/* The TLB was flushed: the page is free, and the block is absent. */
static void block_free(struct page *page)
{
	struct transient_pool *pool = page_pool(page);
	unsigned long pfn = page_private(page);
	struct dev_pagemap *pgmap = pool->pgmap;
	struct transient_section *sec = section_of(pfn);

	trace_transient_memmap_free(pfn);
	pool_put_page(pool, page);
	scoped_guard(spinlock, &sec->lock)
		block_set_state(sec, pfn, BLOCK_ABSENT);
	/* The last thing: pool and section may go after this. */
	put_dev_pagemap(pgmap);
}

/* Hide what is dying, and return a list of it. */
static struct llist_node *hide_dying(void)
{
	struct llist_node *link, *next, *hidden = NULL;

	llist_for_each_safe(link, next, llist_del_all(&dying)) {
		if (block_hide(link_to_folio(link))) {
			link->next = hidden;
			hidden = link;
		}
	}
	return hidden;
}

/*
 * Unmap what is hidden still: move the pages to @pages. One flush does for all,
 * struct pages and the memory itself.
 */
static void unmap_hidden(struct llist_node *link, struct list_head *pages)
{
	unsigned long start = ULONG_MAX, end = 0, addr;
	bool direct_map = false;
	struct llist_node *next;
	struct page *page;

	/* The links lie in the struct pages, so they go one by one. */
	for (; link; link = next) {
		next = link->next;
		addr = (unsigned long)link_to_folio(link);
		page = block_unmap(link_to_folio(link));
		if (!page)
			continue;
		list_add(&page->lru, pages);
		start = min(start, addr);
		end = max(end, addr + BLOCK_PTES * PAGE_SIZE);
		direct_map |= page_pool(page)->direct_map;
	}
	if (list_empty(pages))
		return;
	if (direct_map)
		flush_tlb_all();
	else
		flush_tlb_kernel_range(start, end);
	atomic_long_inc(&transient_nr_flushes);
}

static void free_dying(struct work_struct *work)
{
	struct llist_node *hidden = hide_dying();
	struct page *page, *tmp;
	LIST_HEAD(pages);

	if (!hidden)
		return;

	/* Readers that saw BLOCK_LIVE may still look at the refcount. */
	if (pool_has_waiters())
		synchronize_rcu_expedited();
	else
		synchronize_rcu();

	unmap_hidden(hidden, &pages);
	list_for_each_entry_safe(page, tmp, &pages, lru) {
		list_del_init(&page->lru);
		block_free(page);
	}
}

/* Memory errors */

/* A live block becomes one that GUP-fast leaves alone, or the reverse. */
static void update_poison(unsigned long pfn)
{
	struct transient_section *sec;
	u8 state;

	/* The range may be leaving, so that its pgmap gives no reference. */
	guard(rcu)();
	sec = pfn_transient_section(pfn);
	if (!sec)
		return;
	guard(spinlock)(&sec->lock);
	state = pfn_block_state(pfn);
	if (state == BLOCK_LIVE || state == BLOCK_LIVE_POISONED)
		block_set_state(sec, pfn, BLOCK_LIVE);
}

/**
 * transient_memmap_poison() - have a page refused from now on
 * @pfn: any pfn; if it is in no transient range, nothing happens
 *
 * Pins that are there already stay; the other pages of the block can be pinned
 * as before. The page stays poisoned if its range is unregistered.
 *
 * Context: Process context, may sleep.
 */
void transient_memmap_poison(unsigned long pfn)
{
	if (!pfn_is_transient(pfn))
		return;
	/* It is rare, small, and must not be forgotten. */
	xa_store(&poisoned_pfns, pfn, xa_mk_value(1),
		 GFP_KERNEL | __GFP_NOFAIL);
	update_poison(pfn);
}
EXPORT_SYMBOL_IF_KUNIT(transient_memmap_poison);

/**
 * transient_memmap_unpoison() - undo transient_memmap_poison()
 * @pfn: any pfn
 *
 * Context: Process context, may sleep.
 * Return: 0, or -EIO if @pfn is not one that was poisoned.
 */
int transient_memmap_unpoison(unsigned long pfn)
{
	if (!xa_erase(&poisoned_pfns, pfn))
		return -EIO;
	update_poison(pfn);
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(transient_memmap_unpoison);

static int __init transient_memmap_init(void)
{
	/* Or the struct pages of a block would not fill pages of vmemmap, */
	BUILD_BUG_ON_NOT_POWER_OF_2(sizeof(struct page));
	BUILD_BUG_ON(sizeof(struct page) << TRANSIENT_BLOCK_ORDER !=
		     BLOCK_PTES * PAGE_SIZE);
	/* and those of a section a page table. */
	BUILD_BUG_ON(PAGES_PER_SECTION * sizeof(struct page) != PMD_SIZE);
	/* A block lies in one range. */
	BUILD_BUG_ON(PAGES_PER_SUBSECTION % BIT(TRANSIENT_BLOCK_ORDER));

	/*
	 * WQ_MEM_RECLAIM: blocks that go are memory that comes back. Unbound,
	 * as the work sleeps for a grace period at a time.
	 */
	transient_wq = alloc_workqueue("transient_memmap",
				       WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	return transient_wq ? 0 : -ENOMEM;
}
core_initcall(transient_memmap_init);
