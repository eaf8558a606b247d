// SPDX-License-Identifier: GPL-2.0
/*
 * Transient struct pages: a memmap for what is pinned, and for nothing else
 *
 * With SPARSEMEM_VMEMMAP the struct page of a pfn has one fixed address, so a
 * struct page can be made by mapping a page of memory there, and unmade by
 * unmapping it.  A pool does this for the ranges of one dev_pagemap of type
 * MEMORY_DEVICE_TRANSIENT.  Its unit is the block: one folio, whose struct
 * pages fill exactly one page of vmemmap.
 *
 * The life of a block:
 *
 *	absent --populate--> pinned --last unpin--> dying --worker--> absent
 *	                        ^                     |
 *	                        +------- revive ------+
 *
 * absent	No struct page is mapped.  pfn_valid() is false, as it always is
 *		for transient ranges, so no pfn walker looks.
 * pinned	The folio's refcount, which is the number of references that
 *		GUP's callers hold, is not 0.
 * dying	The refcount is 0, and the folio is the worker's: on the pool's
 *		list, or about to be put there, or taken off and waiting for a
 *		grace period.  A pin that comes now revives the block.  The
 *		worker comes after a delay, so that this has a chance.
 *
 * Two bits belong to each block:
 *
 * LIVE		The struct pages may be read, by whoever is in an RCU read-side
 *		section that began before LIVE was seen.  An IRQs-off section
 *		counts as one; that is what GUP-fast has.  Set in state pinned;
 *		in state dying until the worker has seen the block.
 * BUSY		A lock (bit, sleeping): who holds it may change LIVE, revive the
 *		block, make and unmake its struct pages.
 *
 * Who may be looking at a struct page, and what stops them:
 *
 * - The holders of a reference.  The worker unmaps a block of refcount 0 only,
 *   and under BUSY no reference can come to a block of refcount 0: try-get
 *   fails on 0, and reviving needs BUSY.
 *
 * - A reader that saw LIVE and has not done its try-get yet.  The worker clears
 *   LIVE, waits for an RCU grace period, and unmaps only if LIVE is still clear.
 *   Every revival sets it.
 *
 * - A CPU that speculates through, or has cached, the old translation.  The page
 *   is given back after the TLB flush, and BUSY is held until then: a block is
 *   never populated while a TLB may still hold its last page.
 *
 * - The one who dropped the last reference, in free_zone_device_folio(), until
 *   its llist_add().  The worker finds the block through that list only.  It is
 *   in an RCU section until it has queued the worker.
 *
 * The barriers: set_bit(LIVE) is a release in block_set_live(), after the struct
 * pages were initialised and mapped; it pairs with test_bit_acquire() in
 * transient_memmap_live() and transient_memmap_try_get().
 *
 * The lock order: mmap_lock -> BUSY -> table_lock -> reclaim.  The last
 * reference may be dropped in hard interrupt context, which takes none of them.
 * mem_hotplug_lock is taken by neither pin nor free; page tables of vmemmap
 * are kept from disappearing under them in another way, see
 * transient_memmap_add_range().
 */
#define pr_fmt(fmt) "transient_memmap: " fmt

#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/llist.h>
#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/pgalloc.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <kunit/static_stub.h>
#include <kunit/visibility.h>
#include <asm/tlbflush.h>
#include "internal.h"
#include "mm_init.h"
#include "sparse.h"
#include "transient_memmap.h"

/**
 * struct transient_pool - the blocks of one dev_pagemap
 * @pgmap: the owner; each live block holds a reference on @pgmap->ref
 * @cap: see struct transient_memmap_stats; read and written locklessly
 * @live: likewise
 * @peak: likewise
 * @populated: likewise
 * @failed: likewise
 * @dying: folios whose last reference has gone, for @free_work; added to from
 *	any context
 * @free_work: gives dying blocks back
 */
struct transient_pool {
	struct dev_pagemap *pgmap;
	unsigned long cap;
	atomic_long_t live;
	atomic_long_t peak;
	atomic_long_t populated;
	atomic_long_t failed;
	struct llist_head dying;
	struct delayed_work free_work;
};

/**
 * struct transient_range - a physically contiguous part of a pool
 * @pool: whose it is
 * @start_pfn: first pfn, a multiple of TRANSIENT_BLOCK_NR
 * @nr_blocks: length
 * @nid: node of the range, and of its vmemmap pages
 * @live: the LIVE bit of each block
 * @busy: the BUSY bit of each block
 *
 * Found by pfn in transient_ranges under RCU.  It goes away after its blocks
 * are gone and a grace period has passed.
 */
struct transient_range {
	struct transient_pool *pool;
	unsigned long start_pfn;
	unsigned long nr_blocks;
	int nid;
	unsigned long *live;
	unsigned long *busy;
};

/*
 * How long a dying block waits for the worker. I/O often comes back to the same
 * buffer: populating it costs a page, a grace period and a part of a TLB flush,
 * reviving it next to nothing. Short enough to need no shrinker; who meets the
 * cap doesn't wait so long.
 */
#define FREE_DELAY	(HZ / 10)

/*
 * How often a pin that met the cap waits for dying blocks before it gives up.
 * More than once, because another pin may take what the wait has freed.
 */
#define CAP_RETRIES	4

DEFINE_STATIC_KEY_FALSE(transient_memmap_key);

/* pfn -> struct transient_range, written under mem_hotplug_lock */
static DEFINE_XARRAY(transient_ranges);

/* Serialises the making of page tables in vmemmap for transient ranges */
static DEFINE_MUTEX(table_lock);

static struct workqueue_struct *transient_wq;

/* Blocks */

static struct transient_range *range_of(unsigned long pfn)
{
	return xa_load(&transient_ranges, pfn);
}

static unsigned long block_of(const struct transient_range *range,
			      unsigned long pfn)
{
	return (pfn - range->start_pfn) >> TRANSIENT_BLOCK_ORDER;
}

static unsigned long block_pfn(const struct transient_range *range,
			       unsigned long block)
{
	return range->start_pfn + (block << TRANSIENT_BLOCK_ORDER);
}

static int block_lock(struct transient_range *range, unsigned long block,
		      unsigned int mode)
{
	return wait_on_bit_lock(range->busy + BIT_WORD(block),
				block % BITS_PER_LONG, mode);
}

static void block_unlock(struct transient_range *range, unsigned long block)
{
	clear_and_wake_up_bit(block % BITS_PER_LONG,
			      range->busy + BIT_WORD(block));
}

static void block_assert_locked(struct transient_range *range,
				unsigned long block)
{
	VM_WARN_ON_ONCE(!test_bit(block, range->busy));
}

/*
 * The link on the pool's list.  Nobody else uses zone_device_data of a transient
 * folio.
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

static bool pool_charge(struct transient_pool *pool)
{
	long live = atomic_long_read(&pool->live);
	long peak;

	do {
		if (live >= READ_ONCE(pool->cap))
			return false;
	} while (!atomic_long_try_cmpxchg(&pool->live, &live, live + 1));

	peak = atomic_long_read(&pool->peak);
	while (peak <= live &&
	       !atomic_long_try_cmpxchg(&pool->peak, &peak, live + 1))
		;
	return true;
}

static void pool_uncharge(struct transient_pool *pool)
{
	atomic_long_dec(&pool->live);
}

/*
 * At the cap, dying blocks still count, as they still cost memory.  Wait for
 * them; that takes a grace period, and there is no more to be had.
 */
static int pool_charge_wait(struct transient_pool *pool)
{
	int i;

	for (i = 0; i < CAP_RETRIES; i++) {
		if (pool_charge(pool))
			return 0;
		if (fatal_signal_pending(current))
			return -EINTR;
		if (!READ_ONCE(pool->cap) ||
		    !flush_delayed_work(&pool->free_work))
			break;
	}
	return pool_charge(pool) ? 0 : -ENOMEM;
}

/*
 * Not __GFP_NORETRY: the I/O that wants this page may be the one that makes
 * memory free.  Not plain GFP_KERNEL: no process shall die for a pin that can
 * fail with -ENOMEM.
 */
VISIBLE_IF_KUNIT struct page *transient_block_page_alloc(int nid)
{
	KUNIT_STATIC_STUB_REDIRECT(transient_block_page_alloc, nid);
	return alloc_pages_node(nid, GFP_KERNEL | __GFP_RETRY_MAYFAIL |
				__GFP_NOWARN, 0);
}
EXPORT_SYMBOL_IF_KUNIT(transient_block_page_alloc);

/*
 * The PTE that maps the block's struct pages.  The tables above it are there
 * from transient_memmap_add_range() on, the PTE table from the first block that
 * needs it; both stay until transient_memmap_remove_range().
 */
static pte_t *block_pte(struct transient_range *range, unsigned long addr)
{
	pmd_t *pmd = pmd_off_k(addr);

	if (likely(!pmd_none(pmdp_get(pmd))))
		return pte_offset_kernel(pmd, addr);

	guard(mutex)(&table_lock);
	return vmemmap_alloc_tables(addr, range->nid);
}

/* Is the block in any state but absent?  BUSY is ours. */
static bool block_is_mapped(unsigned long addr)
{
	pmd_t *pmd = pmd_off_k(addr);

	return !pmd_none(pmdp_get(pmd)) &&
	       !pte_none(ptep_get(pte_offset_kernel(pmd, addr)));
}

static void block_set_live(struct transient_range *range, unsigned long block)
{
	/* Release, see the top. */
	smp_mb__before_atomic();
	set_bit(block, range->live);
}

static struct folio *block_init(struct transient_range *range,
				unsigned long pfn)
{
	struct page *head = pfn_to_page(pfn);
	struct folio *folio = (struct folio *)head;
	unsigned long i;

	for (i = 0; i < TRANSIENT_BLOCK_NR; i++) {
		struct page *page = head + i;

		__init_single_page(page, pfn + i, ZONE_DEVICE, range->nid);
		/* As in all of ZONE_DEVICE */
		__set_bit(PG_reserved, &page->flags.f);
		set_page_count(page, 0);
	}
	prep_compound_page(head, TRANSIENT_BLOCK_ORDER);
	folio->pgmap = range->pool->pgmap;
	folio->page.zone_device_data = NULL;
	return folio;
}

/* Give an absent block its struct pages, with one reference for the caller. */
static int block_populate(struct transient_range *range, unsigned long block)
{
	unsigned long pfn = block_pfn(range, block);
	unsigned long addr = (unsigned long)pfn_to_page(pfn);
	struct transient_pool *pool = range->pool;
	struct page *vmemmap_page;
	struct folio *folio;
	pte_t *pte;
	int err;

	block_assert_locked(range, block);

	err = pool_charge_wait(pool);
	if (err)
		return err;

	err = -ENOMEM;
	vmemmap_page = transient_block_page_alloc(range->nid);
	if (!vmemmap_page)
		goto err_uncharge;
	pte = block_pte(range, addr);
	if (!pte)
		goto err_free;

	/* Nothing was mapped here since the last flush: no flush needed. */
	set_pte_at(&init_mm, addr, pte, mk_pte(vmemmap_page, PAGE_KERNEL));
	folio = block_init(range, pfn);
	folio_set_count(folio, 1);
	memmap_pages_add(1);
	atomic_long_inc(&pool->populated);
	block_set_live(range, block);
	return 0;

err_free:
	__free_page(vmemmap_page);
err_uncharge:
	pool_uncharge(pool);
	return err;
}

/*
 * The block is pinned or dying: give it a reference for the caller.
 *
 * If it is dying, the worker has its link, or will get it.  So the count starts
 * at two: the second reference goes with the link, and the worker drops it.  It
 * keeps the folio from reaching 0, and the link from being added again, for as
 * long as the worker has it.
 */
static void block_revive(struct transient_range *range, unsigned long block)
{
	struct folio *folio = page_folio(pfn_to_page(block_pfn(range, block)));

	block_assert_locked(range, block);

	if (folio_try_get(folio))
		return;
	folio_set_count(folio, 2);
	block_set_live(range, block);
}

/**
 * transient_memmap_live() - does this pfn have a struct page?
 * @pfn: any pfn
 *
 * Context: Any. The answer holds until the end of the caller's RCU read-side
 *	(or IRQs-off) section; without one it is a guess.
 * Return: true if @pfn lies in a block of a transient range that is live. A
 *	reference on its folio can then be tried for, and may fail.
 */
bool transient_memmap_live(unsigned long pfn)
{
	struct transient_range *range;

	guard(rcu)();
	range = range_of(pfn);
	return range && test_bit_acquire(block_of(range, pfn), range->live);
}
EXPORT_SYMBOL_GPL(transient_memmap_live);

/**
 * transient_memmap_try_get() - get the struct page of a live block
 * @pfn: any pfn
 *
 * Context: Any.
 * Return: the page, with one more reference on its folio; -EFAULT if @pfn is in
 *	no transient range, -ENODATA if its block has to be populated first.
 */
struct page *transient_memmap_try_get(unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);
	struct transient_range *range;

	guard(rcu)();
	range = range_of(pfn);
	if (!range)
		return ERR_PTR(-EFAULT);
	/* RCU keeps the struct page mapped from here on, see the top. */
	if (!test_bit_acquire(block_of(range, pfn), range->live) ||
	    !folio_try_get(page_folio(page)))
		return ERR_PTR(-ENODATA);
	return page;
}
EXPORT_SYMBOL_IF_KUNIT(transient_memmap_try_get);

/* Find the range of a pfn and keep it, and its pool, with a pgmap reference. */
static struct transient_range *range_get(unsigned long pfn)
{
	struct transient_range *range;

	guard(rcu)();
	range = range_of(pfn);
	if (range && !percpu_ref_tryget_live_rcu(&range->pool->pgmap->ref))
		range = NULL;
	return range;
}

/**
 * transient_memmap_populate() - get a page, making its struct page if need be
 * @pfn: a pfn of a transient range
 *
 * Context: Process context, may sleep; mmap_lock may be held.
 * Return: the page, with one more reference on its folio, or
 *	-EFAULT if @pfn is in no transient range, or its provider is leaving;
 *	-ENOMEM if the pool's cap is reached or there is no memory;
 *	-EINTR if a fatal signal came while waiting.
 */
struct page *transient_memmap_populate(unsigned long pfn)
{
	struct transient_range *range;
	struct dev_pagemap *pgmap;
	unsigned long block;
	int err;

	might_sleep();

	range = range_get(pfn);
	if (!range)
		return ERR_PTR(-EFAULT);
	pgmap = range->pool->pgmap;
	block = block_of(range, pfn);

	err = block_lock(range, block, TASK_KILLABLE);
	if (err)
		goto out_put;

	if (block_is_mapped((unsigned long)pfn_to_page(pfn))) {
		block_revive(range, block);
	} else {
		err = block_populate(range, block);
		if (err == -ENOMEM)
			atomic_long_inc(&range->pool->failed);
		if (!err)
			/* The reference on pgmap is the block's from now on. */
			pgmap = NULL;
	}
	block_unlock(range, block);
out_put:
	put_dev_pagemap(pgmap);
	return err ? ERR_PTR(err) : pfn_to_page(pfn);
}
EXPORT_SYMBOL_IF_KUNIT(transient_memmap_populate);

/* Last unpin */

/**
 * transient_memmap_free_folio() - take a folio whose last reference has gone
 * @folio: folio of a live block, with refcount 0
 *
 * Context: Any, also hard interrupt: a bio may end there.
 */
void transient_memmap_free_folio(struct folio *folio)
{
	struct transient_pool *pool;

	/*
	 * The block may be revived at any time now, but not freed before it is
	 * on the list. From then on it is RCU that keeps the pool for us: a
	 * worker that is running already waits for our grace period before it
	 * drops the block's reference on pgmap.
	 */
	guard(rcu)();
	pool = folio->pgmap->transient_pool;
	if (llist_add(folio_to_link(folio), &pool->dying))
		queue_delayed_work(transient_wq, &pool->free_work, FREE_DELAY);
}

/* Free */

/*
 * Drop the reference that goes with the link, if there is one.  Returns true if
 * the block is dying, be it for the first time or again.
 */
static bool block_drop_link(struct transient_range *range, unsigned long block,
			    struct folio *folio)
{
	block_assert_locked(range, block);

	return !folio_ref_count(folio) || folio_put_testzero(folio);
}

/* First visit: make a dying block invisible.  Returns false if it is pinned. */
static bool block_hide(struct folio *folio)
{
	struct transient_range *range = range_of(folio_pfn(folio));
	unsigned long block = block_of(range, folio_pfn(folio));
	bool dying;

	block_lock(range, block, TASK_UNINTERRUPTIBLE);
	dying = block_drop_link(range, block, folio);
	if (dying)
		clear_bit(block, range->live);
	block_unlock(range, block);
	return dying;
}

/*
 * Second visit, a grace period later: take the struct pages out of vmemmap, and
 * return with BUSY held.  Returns NULL if the block was revived in between; if
 * it is dying again, readers may have seen it, and it has to begin anew.
 */
static struct page *block_unmap(struct folio *folio)
{
	unsigned long addr = (unsigned long)&folio->page, pfn = folio_pfn(folio);
	struct transient_range *range = range_of(pfn);
	unsigned long block = block_of(range, pfn);
	struct page *vmemmap_page;
	pte_t *pte;

	block_lock(range, block, TASK_UNINTERRUPTIBLE);
	if (test_bit(block, range->live)) {
		if (block_drop_link(range, block, folio))
			transient_memmap_free_folio(folio);
		block_unlock(range, block);
		return NULL;
	}

	pte = pte_offset_kernel(pmd_off_k(addr), addr);
	vmemmap_page = pte_page(ptep_get(pte));
	pte_clear(&init_mm, addr, pte);
	set_page_private(vmemmap_page, pfn);
	return vmemmap_page;
}

/* The TLB was flushed: the page is free, and the block is absent. */
static void block_free(struct page *vmemmap_page)
{
	unsigned long pfn = page_private(vmemmap_page);
	struct transient_range *range = range_of(pfn);
	struct transient_pool *pool = range->pool;

	set_page_private(vmemmap_page, 0);
	__free_page(vmemmap_page);
	memmap_pages_add(-1);
	pool_uncharge(pool);
	block_unlock(range, block_of(range, pfn));
	/* The last thing: the pool and the range may go after this. */
	put_dev_pagemap(pool->pgmap);
}

static void pool_free_work(struct work_struct *work)
{
	struct transient_pool *pool = container_of(to_delayed_work(work),
						   struct transient_pool,
						   free_work);
	struct llist_node *link, *next, *hidden = NULL;
	unsigned long start = ULONG_MAX, end = 0;
	struct page *vmemmap_page, *tmp;
	LIST_HEAD(unmapped);

	llist_for_each_safe(link, next, llist_del_all(&pool->dying)) {
		if (block_hide(link_to_folio(link))) {
			link->next = hidden;
			hidden = link;
		}
	}
	if (!hidden)
		return;

	/*
	 * Readers that saw LIVE may still look at the refcount, and who added
	 * to the list may not have queued us yet.
	 */
	synchronize_rcu();

	/* The links lie in the struct pages, so they go one by one. */
	for (link = hidden; link; link = next) {
		unsigned long addr = (unsigned long)link_to_folio(link);

		next = link->next;
		vmemmap_page = block_unmap(link_to_folio(link));
		if (!vmemmap_page)
			continue;
		list_add(&vmemmap_page->lru, &unmapped);
		start = min(start, addr);
		end = max(end, addr + PAGE_SIZE);
	}

	if (list_empty(&unmapped))
		return;
	flush_tlb_kernel_range(start, end);

	list_for_each_entry_safe(vmemmap_page, tmp, &unmapped, lru) {
		list_del(&vmemmap_page->lru);
		block_free(vmemmap_page);
	}
}

/* Register and unregister, for memremap_pages() */

/*
 * Blocks of the pool cost at most a 64th of the memory that the machine had at
 * boot, which is as much as a static memmap for that memory would.
 */
static unsigned long default_cap(void)
{
	return max(totalram_pages() / TRANSIENT_BLOCK_NR, 1UL);
}

/**
 * transient_memmap_create_pool() - give a pgmap its pool
 * @pgmap: of type MEMORY_DEVICE_TRANSIENT, with @pgmap->ref ready
 *
 * Context: Process context, may sleep; no hotplug lock held.
 * Return: 0, or -ENOMEM.
 */
int transient_memmap_create_pool(struct dev_pagemap *pgmap)
{
	struct transient_pool *pool = kzalloc(sizeof(*pool), GFP_KERNEL);

	if (!pool)
		return -ENOMEM;

	pool->pgmap = pgmap;
	pool->cap = default_cap();
	init_llist_head(&pool->dying);
	INIT_DELAYED_WORK(&pool->free_work, pool_free_work);
	pgmap->transient_pool = pool;
	static_branch_inc(&transient_memmap_key);
	return 0;
}

/**
 * transient_memmap_destroy_pool() - undo transient_memmap_create_pool()
 * @pgmap: all of whose ranges were removed
 *
 * Context: Process context, may sleep; no hotplug lock held.
 */
void transient_memmap_destroy_pool(struct dev_pagemap *pgmap)
{
	struct transient_pool *pool = pgmap->transient_pool;

	static_branch_dec(&transient_memmap_key);
	pgmap->transient_pool = NULL;
	kfree(pool);
}

static void range_free(struct transient_range *range)
{
	kvfree(range->live);
	kvfree(range->busy);
	kfree(range);
}

static struct transient_range *range_alloc(struct dev_pagemap *pgmap,
					   struct range *r, int nid)
{
	struct transient_range *range = kzalloc(sizeof(*range), GFP_KERNEL);
	size_t words;

	if (!range)
		return NULL;
	range->pool = pgmap->transient_pool;
	range->start_pfn = PHYS_PFN(r->start);
	range->nr_blocks = range_len(r) / TRANSIENT_BLOCK_SIZE;
	range->nid = nid;
	words = BITS_TO_LONGS(range->nr_blocks);
	range->live = kvcalloc(words, sizeof(long), GFP_KERNEL);
	range->busy = kvcalloc(words, sizeof(long), GFP_KERNEL);
	if (!range->live || !range->busy) {
		range_free(range);
		return NULL;
	}
	return range;
}

static unsigned long section_start(unsigned long pfn)
{
	return SECTION_ALIGN_DOWN(pfn);
}

static unsigned long section_last(unsigned long pfn)
{
	return SECTION_ALIGN_UP(pfn + 1) - 1;
}

/**
 * transient_memmap_owns_section() - may a memmap be made for this memory?
 * @start: physical address
 * @size: in bytes
 *
 * The page tables under the vmemmap of a section can be shared by transient
 * ranges, but not with a static memmap, which takes them down by its own rules.
 *
 * Context: Any.
 * Return: true if any section of the memory is also part of a transient range.
 */
bool transient_memmap_owns_section(u64 start, u64 size)
{
	unsigned long index = section_start(PHYS_PFN(start));

	return xa_find(&transient_ranges, &index,
		       section_last(PHYS_PFN(start + size - 1)), XA_PRESENT);
}

/**
 * transient_memmap_check_range() - can this become a transient range?
 * @range: physical memory
 *
 * Context: Process context. The answer is final between mem_hotplug_begin() and
 *	mem_hotplug_done(); before that it is for a clean error.
 * Return: 0, or
 *	-EINVAL if the range is not a multiple of a subsection in size and start;
 *	-EBUSY if it overlaps another transient range, or a section with a memmap.
 */
int transient_memmap_check_range(const struct range *range)
{
	unsigned long start = PHYS_PFN(range->start);
	unsigned long last = PHYS_PFN(range->end);
	unsigned long pfn;

	if (range->end < range->start ||
	    !IS_ALIGNED(range->start | (range->end + 1), PAGE_SIZE) ||
	    !IS_ALIGNED(start | (last + 1), PAGES_PER_SUBSECTION)) {
		pr_err("pfn %#lx-%#lx: not aligned to %lu MiB\n", start, last,
		       SUBSECTION_SIZE / SZ_1M);
		return -EINVAL;
	}
	for (pfn = start; pfn <= last; pfn = section_last(pfn) + 1) {
		if (!valid_section(__pfn_to_section(pfn)))
			continue;
		pr_err("pfn %#lx-%#lx: section of %#lx has a memmap\n", start,
		       last, pfn);
		return -EBUSY;
	}
	pfn = start;
	if (xa_find(&transient_ranges, &pfn, last, XA_PRESENT)) {
		pr_err("pfn %#lx-%#lx: already registered\n", start, last);
		return -EBUSY;
	}
	return 0;
}

/*
 * Make the upper page tables, and one PTE table under each of the lowest of
 * them.  Those PTE tables are in sections that belong to transient ranges alone,
 * so nobody else empties or frees them; and while there is one, nobody frees
 * the tables above it.  All other PTE tables are made on demand.
 */
static int range_alloc_tables(struct transient_range *range)
{
	unsigned long addr = (unsigned long)pfn_to_page(range->start_pfn);
	unsigned long end = (unsigned long)
		pfn_to_page(block_pfn(range, range->nr_blocks));

	guard(mutex)(&table_lock);
	for (; addr < end; addr = ALIGN(addr + 1, PUD_SIZE))
		if (!vmemmap_alloc_tables(addr, range->nid))
			return -ENOMEM;
	return 0;
}

/*
 * Free the page tables that no other range needs.  A section at either end may
 * be shared with another transient range; the last of them frees its table.
 */
static void range_free_tables(unsigned long start, unsigned long last)
{
	unsigned long end = last + 1, pfn;

	pfn = section_start(start);
	if (xa_find(&transient_ranges, &pfn, section_last(start), XA_PRESENT))
		start = section_last(start) + 1;
	pfn = section_start(last);
	if (xa_find(&transient_ranges, &pfn, section_last(last), XA_PRESENT))
		end = section_start(last);
	if (start < end)
		vmemmap_free((unsigned long)pfn_to_page(start),
			     (unsigned long)pfn_to_page(end), NULL);
}

/**
 * transient_memmap_add_range() - put a range under the care of the pool
 * @pgmap: with a pool
 * @range_id: which of its ranges
 * @nid: node for the struct pages, online
 *
 * No struct page is made, and nothing that grows with the size of the range but
 * its two bits per block.
 *
 * Context: Process context, between mem_hotplug_begin() and mem_hotplug_done().
 * Return: 0, -ENOMEM, or an error of transient_memmap_check_range().
 */
int transient_memmap_add_range(struct dev_pagemap *pgmap, int range_id,
			       int nid)
{
	struct range *r = &pgmap->ranges[range_id];
	unsigned long start = PHYS_PFN(r->start), last = PHYS_PFN(r->end);
	struct transient_range *range;
	int err;

	err = transient_memmap_check_range(r);
	if (err)
		return err;

	range = range_alloc(pgmap, r, nid);
	if (!range)
		return -ENOMEM;
	err = range_alloc_tables(range);
	if (err)
		goto err_free;
	err = xa_err(xa_store_range(&transient_ranges, start, last, range,
				    GFP_KERNEL));
	if (err)
		goto err_free;
	return 0;

err_free:
	/* xa_store_range() may have stored a part. */
	xa_store_range(&transient_ranges, start, last, NULL, GFP_KERNEL);
	range_free_tables(start, last);
	synchronize_rcu();
	range_free(range);
	return err;
}

/**
 * transient_memmap_remove_range() - undo transient_memmap_add_range()
 * @pgmap: with a pool, and @pgmap->ref drained, hence no live block
 * @range_id: which of its ranges
 *
 * Context: Process context, between mem_hotplug_begin() and mem_hotplug_done().
 */
void transient_memmap_remove_range(struct dev_pagemap *pgmap, int range_id)
{
	struct range *r = &pgmap->ranges[range_id];
	unsigned long start = PHYS_PFN(r->start), last = PHYS_PFN(r->end);
	struct transient_range *range = range_of(start);

	/* The work that freed the last block may not have returned yet. */
	flush_delayed_work(&range->pool->free_work);
	VM_WARN_ON_ONCE(!bitmap_empty(range->live, range->nr_blocks));
	VM_WARN_ON_ONCE(!bitmap_empty(range->busy, range->nr_blocks));

	xa_store_range(&transient_ranges, start, last, NULL, GFP_KERNEL);
	range_free_tables(start, last);
	synchronize_rcu();
	range_free(range);
}

/* For providers */

/**
 * transient_memmap_set_cap() - set the most blocks that may be live at a time
 * @pgmap: registered
 * @cap: in blocks. 0 refuses all pins that would populate one; a value below
 *	what is live now takes effect as blocks go.
 *
 * Context: Any; the caller keeps @pgmap registered.
 * Return: 0, or -EOPNOTSUPP if @pgmap is not of type MEMORY_DEVICE_TRANSIENT.
 */
int transient_memmap_set_cap(struct dev_pagemap *pgmap, unsigned long cap)
{
	if (pgmap->type != MEMORY_DEVICE_TRANSIENT)
		return -EOPNOTSUPP;
	/* live is signed, and never gets anywhere near. */
	WRITE_ONCE(pgmap->transient_pool->cap, min_t(unsigned long, cap, LONG_MAX));
	return 0;
}
EXPORT_SYMBOL_GPL(transient_memmap_set_cap);

/**
 * transient_memmap_get_stats() - read a pool's counters
 * @pgmap: registered
 * @stats: to be filled; the values are not of one instant
 *
 * Context: Any; the caller keeps @pgmap registered.
 * Return: 0, or -EOPNOTSUPP if @pgmap is not of type MEMORY_DEVICE_TRANSIENT.
 */
int transient_memmap_get_stats(struct dev_pagemap *pgmap,
			       struct transient_memmap_stats *stats)
{
	struct transient_pool *pool = pgmap->transient_pool;

	if (pgmap->type != MEMORY_DEVICE_TRANSIENT)
		return -EOPNOTSUPP;
	*stats = (struct transient_memmap_stats) {
		.cap = READ_ONCE(pool->cap),
		.live = atomic_long_read(&pool->live),
		.peak = atomic_long_read(&pool->peak),
		.populated = atomic_long_read(&pool->populated),
		.failed = atomic_long_read(&pool->failed),
	};
	return 0;
}
EXPORT_SYMBOL_GPL(transient_memmap_get_stats);

static int __init transient_memmap_init(void)
{
	/* Or the struct pages of a block would not fill a page of vmemmap. */
	BUILD_BUG_ON_NOT_POWER_OF_2(sizeof(struct page));

	/*
	 * WQ_MEM_RECLAIM: blocks that go are memory that comes back.  Unbound,
	 * as the work sleeps for a grace period at a time.
	 */
	transient_wq = alloc_workqueue("transient_memmap",
				       WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	return transient_wq ? 0 : -ENOMEM;
}
core_initcall(transient_memmap_init);
