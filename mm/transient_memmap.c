// SPDX-License-Identifier: GPL-2.0
/*
 * Transient struct pages: a memmap for what is pinned, and for nothing else
 *
 * With SPARSEMEM_VMEMMAP the struct page of a pfn has one fixed address, so a
 * struct page can be made by mapping a page of memory there, and unmade by
 * unmapping it.  A pool does this for the ranges of one dev_pagemap of type
 * MEMORY_DEVICE_TRANSIENT.  Its unit is the block: one folio, whose head is in a
 * page of vmemmap that is the block's own.  A block of order 6 has no more than
 * that (64 struct pages of 64 bytes).  A block of order 9 (2 MiB) has seven more
 * pages of vmemmap; as the tails of all folios of one order are alike, all of
 * them map one page of tails, which is the pool's, and read-only there.
 *
 * The life of a block, see enum transient_block_state:
 *
 *	absent -> populating -> live -----> hidden -> unmapped -> absent
 *	                        ^  \ (last unpin)  |
 *	                        +---+--- revive ---+
 *
 * A live block has a refcount of 1 for the pool, if the pool keeps the block for
 * its next pin, and of 1 for each reference that GUP's callers hold.  What the
 * pool keeps is on its list.  It keeps up to "cache" blocks, drops those that
 * were not pinned for two periods of ageing, those that the shrinker asks for,
 * and idle ones if it is at its cap.  To drop is to put the reference.
 *
 * Whoever puts the last reference hands the folio to the pool's worker.  A moment
 * later, the worker hides the blocks it was given, waits for an RCU grace period, unmaps
 * their struct pages, flushes the TLB once for all of them, and frees.  Until
 * it unmaps, a pin can revive the block.
 *
 * Who may be looking at a struct page, and what stops them:
 *
 * - The holders of a reference.  Only a block of refcount 0 is unmapped, under
 *   the section's lock, and no reference can come to it there: try-get fails on
 *   0, and reviving needs the lock.
 *
 * - A reader that saw BLOCK_LIVE and has not done its try-get yet.  It is in an
 *   RCU read-side section (or has IRQs off, which counts as one: GUP-fast) since
 *   before it looked.  The worker hides the block, waits for a grace period, and
 *   unmaps only if it is hidden still.
 *
 * - A CPU that speculates through, or has cached, the old translation.  The page
 *   is given back after the TLB flush, and the block stays BLOCK_UNMAPPED until
 *   then: it is never populated while a TLB may still hold its last page.
 *
 * - The one who dropped the last reference, in free_zone_device_folio(), until
 *   its llist_add().  The worker finds the block through that list only.  It is
 *   in an RCU section until it has queued the worker, and is done with the pool.
 *
 * A pool whose range was registered with PGMAP_TRANSIENT_DIRECT_MAP has the memory
 * of a block in the direct map for as long as its struct pages are mapped; see
 * mm/transient_direct_map.c.  The above holds for both.
 *
 * The barriers: the state is stored with release semantics after the struct
 * pages were mapped and initialised, in block_set_state(); this pairs with the
 * acquire in transient_pfn_state().
 *
 * The lock order: mem_hotplug_lock or mmap_lock -> table_lock -> reclaim, and
 * section lock -> the lock of the list of kept blocks.  Nothing sleeps under a
 * section's lock, nor under that of the spare pages, which is taken alone.  GUP-fast
 * takes these three with IRQs off.  The last reference may be dropped in hard
 * interrupt context, which takes none of them.  mem_hotplug_lock is taken by
 * neither pin nor free; page tables of vmemmap are kept from disappearing under
 * them in another way, see range_add_tables().
 */
#define pr_fmt(fmt) "transient_memmap: " fmt

#include "transient_memmap_internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/transient_memmap.h>

/**
 * struct transient_pool - the blocks of one dev_pagemap
 * @pgmap: the pool's copy of what the provider registered, as the provider may
 *	leave before the last pin does; each block that is not absent holds a
 *	reference on @pgmap->ref
 * @nid: node of the memory, which struct pages say and shall lie on
 * @order: of the blocks
 * @direct_map: they are in the direct map while they have struct pages, and the
 *	rest of the memory is not
 * @tails: a page full of tail struct pages: what the private page of a new block
 *	is copied from, and what the other pages of its vmemmap map
 * @reserve: pages for blocks, for when there is no other memory
 * @spare_lock: protects @spare and @nr_spare
 * @spare: private vmemmap pages of blocks that went, for those that come next
 * @nr_spare: how many
 * @cap: see struct transient_memmap_stats, as for all counters; read and written
 *	locklessly
 * @cache: likewise
 * @longterm_cap: likewise
 * @live: likewise
 * @longterm: likewise
 * @peak: likewise
 * @populated: likewise
 * @freed: likewise
 * @failed: likewise
 * @flushes: likewise
 * @kept: private vmemmap pages of the blocks that the pool holds a reference on,
 *	by node of that page. Its page->private is the block's first pfn.
 * @shrinker: drops kept blocks
 * @age_work: drops kept blocks that nobody pinned for a while
 * @dying: folios whose last reference has gone, or goes with this list, for
 *	@free_work; added to from any context
 * @free_work: gives dying blocks back
 * @release_work: waits for @pgmap->ref if the provider doesn't, for @release
 * @release: what is to be done then
 */
struct transient_pool {
	struct dev_pagemap *pgmap;
	int nid;
	unsigned int order;
	bool direct_map;
	struct page *tails;
	mempool_t reserve;
	spinlock_t spare_lock; /* spare, nr_spare */
	struct list_head spare;
	unsigned long nr_spare;

	unsigned long cap;
	unsigned long cache;
	unsigned long longterm_cap;
	atomic_long_t live;
	atomic_long_t longterm;
	atomic_long_t peak;
	atomic_long_t populated;
	atomic_long_t freed;
	atomic_long_t failed;
	atomic_long_t flushes;

	struct list_lru kept;
	struct shrinker *shrinker;
	struct delayed_work age_work;

	struct llist_head dying;
	struct delayed_work free_work;

	struct work_struct release_work;
	void (*release)(struct dev_pagemap *pgmap);
};

/*
 * A kept block that was not pinned during one whole period is dropped at the end
 * of the next: with no I/O, the pool is empty after two periods and the time that
 * freeing takes.
 */
#define AGE_PERIOD	(HZ / 2)

/* Kept blocks that are looked at with the list's lock held */
#define WALK_BATCH	256UL

/* Page tables that hold no block may be wanted again soon. */
#define REAP_DELAY	(HZ / 2)

/*
 * How long a dying block waits for the worker, so that this has more than one to
 * flush the TLB for, and that the next I/O to the same buffer finds the block
 * also if nothing is kept. Who meets the cap doesn't wait so long.
 */
#define FREE_DELAY	msecs_to_jiffies(10)

/*
 * How often a pin that met the cap waits for dying blocks before it gives up.
 * More than once, because another pin may take what the wait has freed.
 */
#define CAP_RETRIES	4

/* Idle blocks that such a pin drops at a time: the next ones need not wait. */
#define CAP_BATCH	64

/*
 * Enough pages for a request to go on, that of a page table included; each that
 * completes gives pages back, to the reserve first.
 */
#define RESERVE_NR	8

/* The same for sections, of all pools */
#define SECTION_RESERVE_NR	2

DEFINE_STATIC_KEY_FALSE(transient_memmap_key);

/* pfn -> struct transient_pool, written under mem_hotplug_lock */
static DEFINE_XARRAY(transient_pools);

/* The pfns that had a memory error, whether anybody owns them now or not */
static DEFINE_XARRAY(poisoned_pfns);

/* Serialises the making and freeing of sections and their page tables */
static DEFINE_MUTEX(table_lock);

/* All sections, under table_lock */
static LIST_HEAD(sections);

static mempool_t section_reserve;

static struct workqueue_struct *transient_wq;

/* Sections */

static void reap_sections(struct work_struct *work);
static DECLARE_DELAYED_WORK(reap_work, reap_sections);

static struct mem_section *mem_section_of(unsigned long pfn)
{
	return __pfn_to_section(pfn);
}

/* The caller has a reference on the section, or table_lock. */
static struct transient_section *section_of(unsigned long pfn)
{
	return rcu_dereference_protected(mem_section_of(pfn)->transient, true);
}

static struct transient_section *section_tryget(unsigned long pfn)
{
	struct transient_section *sec;

	guard(rcu)();
	sec = rcu_dereference(mem_section_of(pfn)->transient);
	return sec && refcount_inc_not_zero(&sec->ref) ? sec : NULL;
}

/* The reference for being there is left, until reap_sections(). */
static void section_put(struct transient_section *sec)
{
	int old;

	__refcount_dec(&sec->ref, &old);
	if (old == 2)
		queue_delayed_work(system_dfl_wq, &reap_work, REAP_DELAY);
}

/*
 * For what a pin allocates.  Not __GFP_NORETRY: the I/O that wants it may be the
 * one that makes memory free.  Not plain GFP_KERNEL: no process shall die for a
 * pin that can fail with -ENOMEM, and has a reserve before it does; so no warning
 * either.  Not __GFP_ACCOUNT: the block outlives the pin and serves whoever pins
 * next; its cost is bounded by the device's cap.
 */
#define GFP_TRANSIENT	(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

static struct transient_section *section_alloc(void)
{
	struct transient_section *sec = kzalloc_obj(*sec, GFP_TRANSIENT);

	if (sec)
		return sec;
	sec = mempool_alloc_preallocated(&section_reserve);
	return sec ? memset(sec, 0, sizeof(*sec)) : NULL;
}

static void section_free_rcu(struct rcu_head *rcu)
{
	mempool_free(container_of(rcu, struct transient_section, rcu),
		     &section_reserve);
}

static pte_t *section_alloc_ptes(struct transient_pool *pool, unsigned long pfn)
{
	unsigned long addr = (unsigned long)pfn_to_page(SECTION_ALIGN_DOWN(pfn));
	pte_t *ptes = vmemmap_alloc_tables(addr, pool->nid);
	struct page *page;

	/* Who is registered has the tables above, see range_add_tables(). */
	if (ptes || !xa_load(&transient_pools, pfn))
		return ptes;

	page = mempool_alloc_preallocated(&pool->reserve);
	if (!page)
		return NULL;
	ptes = page_address(page);
	clear_page(ptes);
	/* As in vmemmap_pmd_populate() */
	smp_wmb();
	pmd_populate_kernel(&init_mm, pmd_off_k(addr), ptes);
	return ptes;
}

static struct transient_section *section_create(struct transient_pool *pool,
						unsigned long pfn)
{
	unsigned long start = SECTION_ALIGN_DOWN(pfn);
	struct transient_section *sec;

	lockdep_assert_held(&table_lock);

	sec = section_alloc();
	if (!sec)
		return NULL;
	/* If that fails later, the next section of this GiB finds the table. */
	if (pool->direct_map) {
		sec->direct = transient_direct_map_table(start);
		if (!sec->direct)
			goto err;
	}
	sec->ptes = section_alloc_ptes(pool, pfn);
	if (!sec->ptes)
		goto err;
	sec->start_pfn = start;
	spin_lock_init(&sec->lock);
	refcount_set(&sec->ref, 1);
	list_add(&sec->list, &sections);
	rcu_assign_pointer(mem_section_of(pfn)->transient, sec);
	return sec;

err:
	mempool_free(sec, &section_reserve);
	return NULL;
}

/* Get the section of a pfn, with a reference; NULL if out of memory. */
static struct transient_section *section_get(struct transient_pool *pool,
					     unsigned long pfn)
{
	struct transient_section *sec = section_tryget(pfn);

	if (likely(sec))
		return sec;

	/* It isn't there, or it is about to go, which table_lock waits for. */
	guard(mutex)(&table_lock);
	sec = section_tryget(pfn);
	if (sec)
		return sec;
	sec = section_create(pool, pfn);
	if (sec)
		refcount_inc(&sec->ref);
	return sec;
}

static void section_unlink(struct transient_section *sec)
{
	lockdep_assert_held(&table_lock);
	RCU_INIT_POINTER(mem_section_of(sec->start_pfn)->transient, NULL);
	list_del(&sec->list);
}

/*
 * The section was unlinked: if it was the last one that used its page table of the
 * direct map, move that to @tables.
 */
static void section_cut_direct(struct transient_section *sec,
			       struct list_head *tables)
{
	unsigned long nr = PUD_SIZE / PAGE_SIZE;
	unsigned long pfn = ALIGN_DOWN(sec->start_pfn, nr), end = pfn + nr;

	lockdep_assert_held(&table_lock);

	if (!sec->direct)
		return;
	for (; pfn < end; pfn += PAGES_PER_SECTION)
		if (section_of(pfn))
			return;
	transient_direct_map_cut(sec->start_pfn, tables);
}

/*
 * Give back the page tables that hold no block.  table_lock is held until after
 * the flush, so that no CPU reaches a new table's struct pages through its cached
 * pointer to the old table; flush_tlb_all(), since such pointers are cached by
 * address space.
 */
static void reap_sections(struct work_struct *work)
{
	struct transient_section *sec, *tmp;
	LIST_HEAD(empty);
	LIST_HEAD(tables);

	/* ptdump walks the kernel's tables with that lock held for writing. */
	guard(mmap_read_lock)(&init_mm);
	guard(mutex)(&table_lock);
	list_for_each_entry_safe(sec, tmp, &sections, list) {
		/* At 0, nobody gets it any more. */
		if (sec->anchor || !refcount_dec_if_one(&sec->ref))
			continue;
		section_unlink(sec);
		list_add(&sec->list, &empty);
		spin_lock(&init_mm.page_table_lock);
		pmd_clear(pmd_off_k((unsigned long)pfn_to_page(sec->start_pfn)));
		spin_unlock(&init_mm.page_table_lock);
	}
	if (list_empty(&empty))
		return;

	list_for_each_entry(sec, &empty, list)
		section_cut_direct(sec, &tables);
	flush_tlb_all();
	transient_direct_map_free(&tables);
	list_for_each_entry_safe(sec, tmp, &empty, list) {
		/* An IOMMU may share the kernel's part of page tables. */
		ptdesc_set_kernel(virt_to_ptdesc(sec->ptes));
		pagetable_free(virt_to_ptdesc(sec->ptes));
		call_rcu(&sec->rcu, section_free_rcu);
	}
}

/* Blocks */

static unsigned long block_pages(const struct transient_pool *pool)
{
	return BIT(pool->order);
}

/* Pages of vmemmap that the struct pages of a block fill */
static unsigned int block_slots(const struct transient_pool *pool)
{
	return BIT(pool->order - TRANSIENT_SLOT_ORDER);
}

static unsigned long block_start(const struct transient_pool *pool,
				 unsigned long pfn)
{
	return ALIGN_DOWN(pfn, block_pages(pool));
}

static bool block_in_transit(const struct transient_section *sec,
			     unsigned long pfn)
{
	u8 state = READ_ONCE(sec->state[transient_slot(pfn)]);

	return state == BLOCK_POPULATING || state == BLOCK_UNMAPPED;
}

static bool block_is_poisoned(const struct transient_pool *pool,
			      unsigned long pfn)
{
	unsigned long index = block_start(pool, pfn);

	return xa_find(&poisoned_pfns, &index, index + block_pages(pool) - 1,
		       XA_PRESENT);
}

static void block_set_state(struct transient_pool *pool,
			    struct transient_section *sec, unsigned long pfn,
			    enum transient_block_state state)
{
	u8 *slot = &sec->state[transient_slot(pfn)];
	bool wake = block_in_transit(sec, pfn);
	unsigned int i, nr = block_slots(pool);

	lockdep_assert_held(&sec->lock);

	/* Who poisons a page comes here after that, see transient_memmap_poison(). */
	if (state == BLOCK_LIVE && block_is_poisoned(pool, pfn))
		state = BLOCK_LIVE_POISONED;
	/* Readers look at the slot of their own pfn. */
	for (i = 0; i < nr; i++)
		/* Pairs with transient_pfn_state(): struct pages are ready. */
		smp_store_release(&slot[i], state);
	if (wake)
		wake_up_var_locked(slot, &sec->lock);
}

/* The private vmemmap page of a block that is mapped */
static struct page *block_page(struct transient_section *sec, unsigned long pfn)
{
	return pte_page(ptep_get(sec->ptes + transient_slot(pfn)));
}

/*
 * The link on the pool's list of the dying.  Nobody else uses zone_device_data of
 * a transient folio.
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

/*
 * Spare pages
 *
 * The page of a block that went serves the next one: that saves the page allocator,
 * twice, and the copying of the tails. Nobody writes to those, as to the tails of
 * any memory; with a static memmap too they are made once and serve many folios.
 *
 * Together with the live ones there are no more than were live at a time. They are
 * given back when ageing comes by, twice a second.
 */

static void pool_put_spare(struct transient_pool *pool, struct page *page)
{
	scoped_guard(spinlock, &pool->spare_lock) {
		list_add(&page->lru, &pool->spare);
		WRITE_ONCE(pool->nr_spare, pool->nr_spare + 1);
	}
	queue_delayed_work(transient_wq, &pool->age_work, AGE_PERIOD);
}

static struct page *pool_get_spare(struct transient_pool *pool)
{
	struct page *page;

	guard(spinlock)(&pool->spare_lock);
	page = list_first_entry_or_null(&pool->spare, struct page, lru);
	if (page) {
		list_del(&page->lru);
		WRITE_ONCE(pool->nr_spare, pool->nr_spare - 1);
	}
	return page;
}

static unsigned long pool_drop_spare(struct transient_pool *pool)
{
	struct page *page, *tmp;
	unsigned long nr;
	LIST_HEAD(spare);

	scoped_guard(spinlock, &pool->spare_lock) {
		list_splice_init(&pool->spare, &spare);
		nr = pool->nr_spare;
		WRITE_ONCE(pool->nr_spare, 0);
	}
	list_for_each_entry_safe(page, tmp, &spare, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
	memmap_pages_add(-(long)nr);
	return nr;
}

/* Keep */

static struct folio *kept_folio(struct list_head *item)
{
	struct page *page = container_of(item, struct page, lru);

	return page_folio(pfn_to_page(page_private(page)));
}

/* Under the list's lock.  The block may be freed from here on. */
static enum lru_status kept_drop(struct list_head *item,
				 struct list_lru_one *list)
{
	list_lru_isolate(list, item);
	folio_put(kept_folio(item));
	return LRU_REMOVED;
}

static enum lru_status drop_any(struct list_head *item,
				struct list_lru_one *list, void *arg)
{
	return kept_drop(item, list);
}

/* Idle: nobody but the pool has a reference, but a pin may come now. */
static enum lru_status drop_idle(struct list_head *item,
				 struct list_lru_one *list, void *arg)
{
	if (folio_ref_count(kept_folio(item)) > 1)
		return LRU_ROTATE;
	return kept_drop(item, list);
}

/* Second chance: GUP sets PG_referenced each time it pins. */
static enum lru_status drop_cold(struct list_head *item,
				 struct list_lru_one *list, void *arg)
{
	if (folio_test_clear_referenced(kept_folio(item)))
		return LRU_ROTATE;
	return drop_idle(item, list, arg);
}

/*
 * Show up to @nr kept blocks of a node to @drop, the oldest first, until it has
 * dropped @most.
 */
static unsigned long pool_walk_node(struct transient_pool *pool, int nid,
				    unsigned long nr, unsigned long most,
				    list_lru_walk_cb drop)
{
	unsigned long dropped = 0;

	nr = min(nr, list_lru_count_node(&pool->kept, nid));
	while (nr && dropped < most) {
		unsigned long batch = min3(nr, most - dropped, WALK_BATCH);

		nr -= batch;
		dropped += list_lru_walk_node(&pool->kept, nid, drop, NULL,
					      &batch);
		cond_resched();
	}
	return dropped;
}

static void pool_walk(struct transient_pool *pool, unsigned long most,
		      list_lru_walk_cb drop)
{
	unsigned long dropped = 0;
	int nid;

	for_each_node_state(nid, N_NORMAL_MEMORY)
		dropped += pool_walk_node(pool, nid, ULONG_MAX, most - dropped,
					  drop);
}

/*
 * The reference that the caller has on a block becomes the pool's.  Returns false
 * if the pool keeps enough already, and the caller still has its reference.  The
 * limit is a soft one: several may pass here at a time.
 */
static bool pool_keep(struct transient_pool *pool, struct page *vmemmap_page)
{
	int nid = page_to_nid(vmemmap_page);

	if (list_lru_count(&pool->kept) >= READ_ONCE(pool->cache))
		return false;
	if (!list_lru_add(&pool->kept, &vmemmap_page->lru, nid, NULL))
		return false;
	queue_delayed_work(transient_wq, &pool->age_work, AGE_PERIOD);
	return true;
}

/* For a new block: full, the clock's hand moves on by two blocks. */
static bool pool_keep_new(struct transient_pool *pool, struct page *vmemmap_page)
{
	unsigned long two = 2;

	if (!READ_ONCE(pool->cache))
		return false;
	/* Not pool_walk_node(): IRQs may be off. */
	if (list_lru_count(&pool->kept) >= READ_ONCE(pool->cache))
		list_lru_walk_node(&pool->kept, page_to_nid(vmemmap_page),
				   drop_cold, NULL, &two);
	return pool_keep(pool, vmemmap_page);
}

/* Drop what is beyond the limit, as it was lowered; or several passed it. */
static void pool_trim(struct transient_pool *pool)
{
	unsigned long kept, cache = READ_ONCE(pool->cache);
	int nid;

	for_each_node_state(nid, N_NORMAL_MEMORY) {
		kept = list_lru_count(&pool->kept);
		if (kept > cache)
			pool_walk_node(pool, nid, kept - cache, ULONG_MAX,
				       drop_any);
	}
}

static void pool_age_work(struct work_struct *work)
{
	struct transient_pool *pool = container_of(to_delayed_work(work),
						   struct transient_pool,
						   age_work);

	pool_drop_spare(pool);
	pool_trim(pool);
	pool_walk(pool, ULONG_MAX, drop_cold);
	if (list_lru_count(&pool->kept))
		queue_delayed_work(transient_wq, &pool->age_work, AGE_PERIOD);
}

static unsigned long pool_shrink_count(struct shrinker *shrinker,
				       struct shrink_control *sc)
{
	struct transient_pool *pool = shrinker->private_data;

	/* The pool's node may have no memory, so spare pages are of any. */
	return list_lru_shrink_count(&pool->kept, sc) +
	       READ_ONCE(pool->nr_spare);
}

static unsigned long pool_shrink_scan(struct shrinker *shrinker,
				      struct shrink_control *sc)
{
	struct transient_pool *pool = shrinker->private_data;
	unsigned long nr = pool_drop_spare(pool);

	return nr ?: list_lru_shrink_walk(&pool->kept, sc, drop_cold, NULL);
}

/* Populate */

static bool charge(atomic_long_t *count, unsigned long limit)
{
	long n = atomic_long_read(count);

	do {
		if (n >= limit)
			return false;
	} while (!atomic_long_try_cmpxchg(count, &n, n + 1));
	return true;
}

/*
 * Charge a block to @count. At the limit, drop what is idle and wait for what is
 * dying, as they still cost memory.  That takes a grace period, and there is no
 * more to be had.
 */
static int pool_charge(struct transient_pool *pool, atomic_long_t *count,
		       const unsigned long *limit, gfp_t gfp)
{
	int i;

	for (i = 0; i < CAP_RETRIES; i++) {
		if (charge(count, READ_ONCE(*limit)))
			return 0;
		if (!gfpflags_allow_blocking(gfp))
			return -EAGAIN;
		if (fatal_signal_pending(current))
			return -EINTR;
		if (!READ_ONCE(*limit))
			break;
		pool_walk(pool, CAP_BATCH, drop_idle);
		/* Or who unpins may not have queued the work yet. */
		if (!flush_delayed_work(&pool->free_work))
			cond_resched();
	}
	return charge(count, READ_ONCE(*limit)) ? 0 : -ENOMEM;
}

static void pool_note_peak(struct transient_pool *pool)
{
	long live = atomic_long_read(&pool->live);
	long peak = atomic_long_read(&pool->peak);

	while (peak < live && !atomic_long_try_cmpxchg(&pool->peak, &peak, live))
		;
}

VISIBLE_IF_KUNIT struct page *transient_block_page_alloc(int nid, gfp_t gfp)
{
	KUNIT_STATIC_STUB_REDIRECT(transient_block_page_alloc, nid, gfp);
	return alloc_pages_node(nid, gfp, 0);
}
EXPORT_SYMBOL_IF_KUNIT(transient_block_page_alloc);

/*
 * A page with the tails of a block. Who can wait shall have waited before the
 * reserve is used.
 */
static struct page *pool_alloc_page(struct transient_pool *pool, gfp_t gfp)
{
	struct page *page = pool_get_spare(pool);

	if (page)
		return page;
	page = transient_block_page_alloc(pool->nid, gfp);
	if (!page && gfpflags_allow_blocking(gfp))
		page = mempool_alloc_preallocated(&pool->reserve);
	if (page) {
		copy_page(page_address(page), page_address(pool->tails));
		memmap_pages_add(1);
	}
	return page;
}

static void *reserve_alloc(gfp_t gfp, void *data)
{
	struct transient_pool *pool = data;

	return alloc_pages_node(pool->nid, gfp, 0);
}

static void reserve_free(void *page, void *data)
{
	__free_page(page);
}

/* A tail struct page, which is what it is by its content, not its address */
static void init_tail(struct page *page, unsigned int order, int nid)
{
	mm_zero_struct_page(page);
	set_page_links(page, ZONE_DEVICE, nid, 0);
	atomic_set(&page->_mapcount, -1);
	page_kasan_tag_reset(page);
	/* As in all of ZONE_DEVICE */
	__set_bit(PG_reserved, &page->flags.f);
	if (compound_info_has_mask())
		prep_compound_tail(page, NULL, order);
}

/* Make the head, and make it the folio of the tails that are there already. */
static struct folio *block_init(struct transient_pool *pool, unsigned long pfn)
{
	struct page *head = pfn_to_page(pfn);
	struct folio *folio = (struct folio *)head;
	unsigned long i;

	__init_single_page(head, pfn, ZONE_DEVICE, pool->nid);
	__set_bit(PG_reserved, &head->flags.f);
	set_page_count(head, 0);
	__folio_set_head(folio);
	for (i = 1; !compound_info_has_mask() && i < block_pages(pool); i++)
		prep_compound_tail(head + i, head, pool->order);
	prep_compound_head(head, pool->order);
	folio->pgmap = pool->pgmap;
	folio->page.zone_device_data = NULL;
	return folio;
}

/* The entry of a block in the page table of the direct map */
static pmd_t *block_direct(struct transient_section *sec, unsigned long pfn)
{
	return sec->direct + (pfn - sec->start_pfn) / (PMD_SIZE / PAGE_SIZE);
}

/* Nothing was mapped here since the last flush: no flush needed. */
static void block_map(struct transient_pool *pool, struct transient_section *sec,
		      unsigned long pfn, struct page *vmemmap_page)
{
	unsigned long addr = (unsigned long)pfn_to_page(pfn);
	pte_t *pte = sec->ptes + transient_slot(pfn);
	pte_t tails = mk_pte(pool->tails, PAGE_KERNEL_RO);
	unsigned int i, nr = block_slots(pool);

	set_pte_at(&init_mm, addr, pte, mk_pte(vmemmap_page, PAGE_KERNEL));
	for (i = 1; i < nr; i++)
		set_pte_at(&init_mm, addr + i * PAGE_SIZE, pte + i, tails);
	if (sec->direct)
		transient_direct_map_block(block_direct(sec, pfn), pfn);
}

/*
 * Give a block its struct pages, with one reference for the caller, who has set
 * BLOCK_POPULATING.
 */
static int block_populate(struct transient_pool *pool,
			  struct transient_section *sec, unsigned long pfn,
			  gfp_t gfp)
{
	struct page *vmemmap_page;
	struct folio *folio;
	int err;

	err = pool_charge(pool, &pool->live, &pool->cap, gfp);
	if (err)
		return err;
	pool_note_peak(pool);

	vmemmap_page = pool_alloc_page(pool, gfp);
	if (!vmemmap_page) {
		atomic_long_dec(&pool->live);
		return -ENOMEM;
	}
	set_page_private(vmemmap_page, pfn);
	INIT_LIST_HEAD(&vmemmap_page->lru);
	block_map(pool, sec, pfn, vmemmap_page);
	folio = block_init(pool, pfn);
	folio_set_count(folio, 2);
	if (!pool_keep_new(pool, vmemmap_page))
		folio_ref_dec(folio);
	atomic_long_inc(&pool->populated);
	return 0;
}

/*
 * The block is mapped, and its state says it, or is hidden: give it a reference
 * for the caller.
 *
 * If it is dying, the worker has its link, or will get it.  So the count starts
 * at two: the second reference goes with the link, and the worker drops it.  It
 * keeps the folio from reaching 0, and the link from being added again, for as
 * long as the worker has it.
 */
static void block_revive(struct transient_pool *pool,
			 struct transient_section *sec, unsigned long pfn)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));

	lockdep_assert_held(&sec->lock);

	if (folio_try_get(folio))
		return;
	folio_set_count(folio, 2);
	block_set_state(pool, sec, pfn, BLOCK_LIVE);
}

/*
 * Get a reference on a block, or the task to populate it: returns 0, or 1, or
 * -EINTR if a fatal signal came while others populated or freed it.
 */
static int block_claim(struct transient_pool *pool,
		       struct transient_section *sec, unsigned long pfn,
		       gfp_t gfp)
{
	u8 *slot = &sec->state[transient_slot(pfn)];

	guard(spinlock)(&sec->lock);
	if (!gfpflags_allow_blocking(gfp) && block_in_transit(sec, pfn))
		return -EAGAIN;
	if (wait_var_event_any_lock(slot, !block_in_transit(sec, pfn),
				    &sec->lock, spin, TASK_KILLABLE))
		return -EINTR;
	if (*slot != BLOCK_ABSENT) {
		block_revive(pool, sec, pfn);
		return 0;
	}
	block_set_state(pool, sec, pfn, BLOCK_POPULATING);
	return 1;
}

/*
 * Get a reference on a block.  Returns 1 if it was populated for that: then the
 * references on the pgmap and on the section are the block's from now on.
 *
 * If @gfp does not allow to wait, the section is not made either, and -EAGAIN may
 * come.
 */
static int block_get(struct transient_pool *pool, unsigned long pfn, gfp_t gfp)
{
	struct transient_section *sec = gfpflags_allow_blocking(gfp) ?
			section_get(pool, pfn) : section_tryget(pfn);
	int ret, err;

	if (!sec)
		return -ENOMEM;

	ret = block_claim(pool, sec, pfn, gfp);
	if (ret == 1) {
		err = block_populate(pool, sec, pfn, gfp);
		scoped_guard(spinlock, &sec->lock)
			block_set_state(pool, sec, pfn,
					err ? BLOCK_ABSENT : BLOCK_LIVE);
		if (!err) {
			trace_transient_memmap_populate(pfn, pool->order);
			return 1;
		}
		ret = err;
	}
	section_put(sec);
	return ret;
}

/*
 * Who unpins doesn't say of which kind the pin was, so the block counts for as
 * long as it lives.  The caller has a reference on it.
 */
static int block_set_longterm(struct transient_pool *pool, unsigned long pfn)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));
	int err;

	if (folio_test_owner_2(folio))
		return 0;
	err = pool_charge(pool, &pool->longterm, &pool->longterm_cap,
			  GFP_TRANSIENT);
	if (err)
		return err;

	guard(spinlock)(&section_of(pfn)->lock);
	if (folio_test_owner_2(folio))
		atomic_long_dec(&pool->longterm);
	else
		folio_set_owner_2(folio);
	return 0;
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
	enum transient_block_state state;

	guard(rcu)();
	state = transient_pfn_state(pfn);
	return state == BLOCK_LIVE || state == BLOCK_LIVE_POISONED;
}
EXPORT_SYMBOL_GPL(transient_memmap_live);

/**
 * transient_memmap_try_get() - get the struct page of a live block
 * @pfn: any pfn
 *
 * Context: Any.
 * Return: the page, with one more reference on its folio; -EFAULT if @pfn is in
 *	no transient range, -ENODATA if it takes transient_memmap_populate().
 */
struct page *transient_memmap_try_get(unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);

	guard(rcu)();
	/* RCU keeps the struct page mapped from here on, see the top. */
	if (transient_pfn_live(pfn) && folio_try_get(page_folio(page)))
		return page;
	return ERR_PTR(xa_load(&transient_pools, pfn) ? -ENODATA : -EFAULT);
}
EXPORT_SYMBOL_IF_KUNIT(transient_memmap_try_get);

/* Find the pool of a pfn and keep it with a pgmap reference. */
static struct transient_pool *pool_get(unsigned long pfn)
{
	struct transient_pool *pool;

	guard(rcu)();
	pool = xa_load(&transient_pools, pfn);
	if (pool && !percpu_ref_tryget_live_rcu(&pool->pgmap->ref))
		pool = NULL;
	return pool;
}

/*
 * Like block_get(), for a page of the block, and what is to be known of the pin
 * besides.  If it fails after the block was populated, the block stays, idle.
 */
static int page_get(struct transient_pool *pool, unsigned long pfn, bool longterm)
{
	int ret, err;

	/* Poisoned later, or a bit before: the pin is one of those that were there. */
	if (xa_load(&poisoned_pfns, pfn))
		return -EHWPOISON;
	if (longterm && !READ_ONCE(pool->longterm_cap))
		return -EOPNOTSUPP;

	ret = block_get(pool, block_start(pool, pfn), GFP_TRANSIENT);
	if (ret < 0 || !longterm)
		return ret;

	err = block_set_longterm(pool, pfn);
	if (!err)
		return ret;
	/* The block has its references, the caller shall keep what it has. */
	if (ret == 1)
		percpu_ref_get(&pool->pgmap->ref);
	folio_put(page_folio(pfn_to_page(pfn)));
	return err;
}

/**
 * transient_memmap_populate() - get a page, making its struct page if need be
 * @pfn: a pfn of a transient range
 * @longterm: for a pin that may be there to stay, see FOLL_LONGTERM
 *
 * Context: Process context, may sleep; mmap_lock may be held.
 * Return: the page, with one more reference on its folio, or
 *	-EFAULT if @pfn is in no transient range, or its provider is leaving;
 *	-EHWPOISON if the page has a memory error;
 *	-EOPNOTSUPP if long-term pins are not allowed;
 *	-ENOMEM if a cap of the pool is reached or there is no memory;
 *	-EINTR if a fatal signal came while waiting.
 */
struct page *transient_memmap_populate(unsigned long pfn, bool longterm)
{
	struct transient_pool *pool;
	int ret;

	might_sleep();

	pool = pool_get(pfn);
	if (!pool)
		return ERR_PTR(-EFAULT);

	ret = page_get(pool, pfn, longterm);
	if (ret == -ENOMEM)
		atomic_long_inc(&pool->failed);
	if (ret < 0)
		trace_transient_memmap_fail(pfn, pool->order, ret);
	if (ret != 1)
		put_dev_pagemap(pool->pgmap);
	return ret < 0 ? ERR_PTR(ret) : pfn_to_page(pfn);
}
EXPORT_SYMBOL_IF_KUNIT(transient_memmap_populate);

/**
 * transient_memmap_populate_nowait() - populate, if nothing has to be waited for
 * @pfn: any pfn
 *
 * For GUP-fast, which has IRQs off, and saves itself the slow path.  What takes
 * longer is left to that: a section or page table that is missing, reclaim, the
 * reserve, a block that others populate or free now, a pool at its cap.
 *
 * Context: Process context that may sleep but for that it has IRQs off: no lock is
 *	held that is taken here, or in a page allocation.
 * Return: whether @pfn is live now, in the sense of transient_pfn_live().  Who wants
 *	a reference on its folio has to try, and may fail.
 */
bool transient_memmap_populate_nowait(unsigned long pfn)
{
	struct transient_pool *pool;
	struct folio *folio;
	int ret;

	/* Spinlocks sleep there. */
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		return false;

	pool = pool_get(pfn);
	if (!pool)
		return false;

	ret = block_get(pool, block_start(pool, pfn), GFP_NOWAIT);
	if (ret != 1)
		put_dev_pagemap(pool->pgmap);
	if (ret < 0)
		return false;

	/*
	 * If nobody else has a reference, the link is free, and ours goes with
	 * it, as in block_revive(): it keeps the block until the worker comes.
	 * Acquire: if it has just put the one that went with the link, it is done
	 * with that.
	 */
	folio = page_folio(pfn_to_page(pfn));
	if (atomic_read_acquire(&folio->page._refcount) == 1)
		transient_memmap_free_folio(folio);
	else
		folio_put(folio);
	return transient_pfn_live(pfn);
}
EXPORT_SYMBOL_IF_KUNIT(transient_memmap_populate_nowait);

/* Memory errors */

/* A block that is live becomes one that GUP-fast leaves alone, or the reverse. */
static void block_update_poison(unsigned long pfn)
{
	struct transient_pool *pool = pool_get(pfn);
	struct transient_section *sec;

	if (!pool)
		return;
	pfn = block_start(pool, pfn);
	sec = section_tryget(pfn);
	if (sec) {
		scoped_guard(spinlock, &sec->lock) {
			u8 state = sec->state[transient_slot(pfn)];

			if (state == BLOCK_LIVE || state == BLOCK_LIVE_POISONED)
				block_set_state(pool, sec, pfn, BLOCK_LIVE);
		}
		section_put(sec);
	}
	put_dev_pagemap(pool->pgmap);
}

/**
 * transient_memmap_poison() - have a page refused from now on
 * @pfn: any pfn; if it is in no transient range, nothing happens
 *
 * Pins that are there already stay; the other pages of the block can be pinned as
 * before. The page stays poisoned if its range is unregistered.
 *
 * Context: Process context, may sleep.
 */
void transient_memmap_poison(unsigned long pfn)
{
	if (!xa_load(&transient_pools, pfn))
		return;
	/* It is rare, small, and must not be forgotten. */
	xa_store(&poisoned_pfns, pfn, xa_mk_value(1), GFP_KERNEL | __GFP_NOFAIL);
	block_update_poison(pfn);
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
	block_update_poison(pfn);
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(transient_memmap_unpoison);

/* Last unpin */

/**
 * transient_memmap_free_folio() - take a folio whose last reference has gone
 * @folio: folio of a live block, with refcount 0; or with a reference that goes with
 *	it, until the worker has seen whether there are others
 *
 * Context: Any, also hard interrupt: a bio may end there.
 */
void transient_memmap_free_folio(struct folio *folio)
{
	struct transient_pool *pool;

	/*
	 * The block may be revived at any time now, but not freed before it is
	 * on the list. From then on RCU keeps the pool for us: the worker waits
	 * for a grace period before it drops the block's reference on pgmap. As
	 * long as this is the only place that queues it, no worker takes the
	 * block before that; the pool shall not depend on it.
	 */
	guard(rcu)();
	pool = folio->pgmap->transient_pool;
	if (llist_add(folio_to_link(folio), &pool->dying))
		queue_delayed_work(transient_wq, &pool->free_work, FREE_DELAY);
}

/* Free */

/*
 * The link is the worker's now.  If the block was revived, the reference that
 * goes with the link becomes the pool's if the pool keeps blocks, as this one is
 * in use; else it is dropped.  Returns true if the block is dying, for the first
 * time or again.
 */
static bool block_take_link(struct transient_pool *pool,
			    struct transient_section *sec, struct folio *folio)
{
	lockdep_assert_held(&sec->lock);

	if (!folio_ref_count(folio))
		return true;
	if (pool_keep(pool, block_page(sec, folio_pfn(folio))))
		return false;
	return folio_put_testzero(folio);
}

/* First visit: make a dying block invisible.  Returns false if it is pinned. */
static bool block_hide(struct transient_pool *pool, struct folio *folio)
{
	unsigned long pfn = folio_pfn(folio);
	struct transient_section *sec = section_of(pfn);

	guard(spinlock)(&sec->lock);
	if (!block_take_link(pool, sec, folio))
		return false;
	block_set_state(pool, sec, pfn, BLOCK_HIDDEN);
	return true;
}

/*
 * Second visit, a grace period later: take the struct pages out of vmemmap.
 * Returns the block's page, or NULL if it was revived in between; if it is dying
 * again, readers may have seen it, and it has to begin anew.
 */
static struct page *block_unmap(struct transient_pool *pool, struct folio *folio)
{
	unsigned long addr = (unsigned long)&folio->page, pfn = folio_pfn(folio);
	struct transient_section *sec = section_of(pfn);
	pte_t *pte = sec->ptes + transient_slot(pfn);
	unsigned int i, nr = block_slots(pool);
	struct page *vmemmap_page;

	guard(spinlock)(&sec->lock);
	if (sec->state[transient_slot(pfn)] != BLOCK_HIDDEN) {
		if (block_take_link(pool, sec, folio))
			transient_memmap_free_folio(folio);
		return NULL;
	}

	if (folio_test_owner_2(folio))
		atomic_long_dec(&pool->longterm);
	vmemmap_page = block_page(sec, pfn);
	for (i = 0; i < nr; i++)
		pte_clear(&init_mm, addr + i * PAGE_SIZE, pte + i);
	if (sec->direct)
		transient_direct_unmap_block(block_direct(sec, pfn));
	block_set_state(pool, sec, pfn, BLOCK_UNMAPPED);
	return vmemmap_page;
}

/* The TLB was flushed: the page is free, and the block is absent. */
static void block_free(struct transient_pool *pool, struct page *vmemmap_page)
{
	unsigned long pfn = page_private(vmemmap_page);
	struct transient_section *sec = section_of(pfn);

	set_page_private(vmemmap_page, 0);
	if (mempool_is_saturated(&pool->reserve)) {
		pool_put_spare(pool, vmemmap_page);
	} else {
		mempool_free(vmemmap_page, &pool->reserve);
		memmap_pages_add(-1);
	}
	trace_transient_memmap_free(pfn, pool->order);
	atomic_long_inc(&pool->freed);
	/* After these: who waits for 0 finds that all is counted. */
	atomic_long_dec(&pool->live);
	scoped_guard(spinlock, &sec->lock)
		block_set_state(pool, sec, pfn, BLOCK_ABSENT);
	section_put(sec);
	/* The last thing: the pool may go after this. */
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
		if (block_hide(pool, link_to_folio(link))) {
			link->next = hidden;
			hidden = link;
		}
	}
	if (!hidden)
		return;

	/*
	 * Readers that saw BLOCK_LIVE may still look at the refcount, and who
	 * added to the list may still look at the pool.
	 */
	synchronize_rcu();

	/* The links lie in the struct pages, so they go one by one. */
	for (link = hidden; link; link = next) {
		unsigned long addr = (unsigned long)link_to_folio(link);

		next = link->next;
		vmemmap_page = block_unmap(pool, link_to_folio(link));
		if (!vmemmap_page)
			continue;
		list_add(&vmemmap_page->lru, &unmapped);
		start = min(start, addr);
		end = max(end, addr + block_slots(pool) * PAGE_SIZE);
	}

	if (list_empty(&unmapped))
		return;
	/* One flush for both: the struct pages and the memory itself */
	if (pool->direct_map)
		flush_tlb_all();
	else
		flush_tlb_kernel_range(start, end);
	atomic_long_inc(&pool->flushes);

	list_for_each_entry_safe(vmemmap_page, tmp, &unmapped, lru) {
		list_del(&vmemmap_page->lru);
		block_free(pool, vmemmap_page);
	}
}

/* Register and unregister, for memremap_pages() */

/*
 * Blocks of the pool cost at most a 64th of the ordinary memory that the machine
 * has now, which is as much as a static memmap for that memory does.
 */
static unsigned long default_cap(void)
{
	return max(totalram_pages() / 64, 1UL);
}

/*
 * Blocks of 2 MiB for what is mapped by entries of 2 MiB or more: one page for 512
 * struct pages.  They need tails that don't point to their head.
 */
static unsigned int block_order(const struct dev_pagemap *pgmap)
{
	return compound_info_has_mask() &&
	       pgmap->vmemmap_shift >= TRANSIENT_BLOCK_MAX_ORDER ?
	       TRANSIENT_BLOCK_MAX_ORDER : TRANSIENT_SLOT_ORDER;
}

static int pool_init_tails(struct transient_pool *pool)
{
	struct page *tail;
	unsigned long i;

	pool->tails = alloc_pages_node(pool->nid, GFP_KERNEL, 0);
	if (!pool->tails)
		return -ENOMEM;
	tail = page_address(pool->tails);
	for (i = 0; i < PAGE_SIZE / sizeof(*tail); i++)
		init_tail(tail + i, pool->order, pool->nid);
	return 0;
}

static int pool_init_shrinker(struct transient_pool *pool)
{
	struct shrinker *shrinker;

	shrinker = shrinker_alloc(SHRINKER_NUMA_AWARE, "mm-transient_memmap");
	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = pool_shrink_count;
	shrinker->scan_objects = pool_shrink_scan;
	shrinker->private_data = pool;
	/* A grace period and a flush for a page, and a slow path to get it back */
	shrinker->seeks = 2 * DEFAULT_SEEKS;
	pool->shrinker = shrinker;
	shrinker_register(shrinker);
	return 0;
}

static void pool_release_work(struct work_struct *work)
{
	struct transient_pool *pool = container_of(work, struct transient_pool,
						   release_work);

	/* Neither load nor a hang, however long somebody pins */
	wait_for_completion_state(&pool->pgmap->done, TASK_IDLE);
	pool->release(pool->pgmap);
}

/* The ranges are the last member of a pgmap, and the first is part of it. */
static struct dev_pagemap *pgmap_copy(const struct dev_pagemap *pgmap)
{
	size_t size = offsetof(struct dev_pagemap, ranges) +
		      pgmap->nr_range * sizeof(pgmap->ranges[0]);

	return kmemdup(pgmap, max(size, sizeof(*pgmap)), GFP_KERNEL);
}

/**
 * transient_memmap_create_pool() - give a pgmap its pool
 * @pgmap: of type MEMORY_DEVICE_TRANSIENT
 * @nid: node for its struct pages, or NUMA_NO_NODE
 *
 * Context: Process context, may sleep; no hotplug lock held.
 * Return: a copy of @pgmap, to be registered in its place, whose ref and done are
 *	the caller's to initialise; or ERR_PTR() of
 *	-ENOMEM, or
 *	-EINVAL for PGMAP_TRANSIENT_DIRECT_MAP with blocks smaller than 2 MiB.
 */
struct dev_pagemap *transient_memmap_create_pool(struct dev_pagemap *pgmap,
						 int nid)
{
	struct transient_pool *pool = kzalloc_obj(*pool);
	int err = -ENOMEM;

	if (!pool)
		return ERR_PTR(err);

	pool->pgmap = pgmap_copy(pgmap);
	if (!pool->pgmap)
		goto err_pool;
	pool->nid = nid < 0 ? numa_mem_id() : nid;
	pool->order = block_order(pgmap);
	pool->direct_map = pgmap->flags & PGMAP_TRANSIENT_DIRECT_MAP;
	/* Their direct map would need a page table for each 2 MiB. */
	if (pool->direct_map && pool->order != TRANSIENT_BLOCK_MAX_ORDER) {
		err = -EINVAL;
		goto err_pgmap;
	}
	pool->cap = default_cap();
	/* The other half is for what is pinned, and for what waits to be freed. */
	pool->cache = pool->cap / 2;
	spin_lock_init(&pool->spare_lock);
	INIT_LIST_HEAD(&pool->spare);
	init_llist_head(&pool->dying);
	INIT_DELAYED_WORK(&pool->free_work, pool_free_work);
	INIT_DELAYED_WORK(&pool->age_work, pool_age_work);
	INIT_WORK(&pool->release_work, pool_release_work);

	if (pool_init_tails(pool))
		goto err_pgmap;
	if (mempool_init_node(&pool->reserve, RESERVE_NR, reserve_alloc,
			      reserve_free, pool, GFP_KERNEL, pool->nid))
		goto err_tails;
	if (list_lru_init(&pool->kept))
		goto err_reserve;
	if (pool_init_shrinker(pool))
		goto err_kept;

	pgmap->transient_pool = pool;
	pool->pgmap->transient_pool = pool;
	static_branch_inc(&transient_memmap_key);
	return pool->pgmap;

err_kept:
	list_lru_destroy(&pool->kept);
err_reserve:
	mempool_exit(&pool->reserve);
err_tails:
	__free_page(pool->tails);
err_pgmap:
	kfree(pool->pgmap);
err_pool:
	kfree(pool);
	return ERR_PTR(err);
}

/**
 * transient_memmap_pgmap() - the pgmap that was registered in a pgmap's place
 * @pgmap: with a pool; or what this returned for it
 *
 * Context: Any; the caller keeps the pool.
 * Return: what transient_memmap_create_pool() returned for @pgmap.
 */
struct dev_pagemap *transient_memmap_pgmap(const struct dev_pagemap *pgmap)
{
	return pgmap->transient_pool->pgmap;
}
EXPORT_SYMBOL_IF_KUNIT(transient_memmap_pgmap);

/**
 * transient_memmap_drain_pool() - wait until no block is left
 * @pgmap: from transient_memmap_create_pool(); its ref was killed
 * @release: what to do with @pgmap if the caller should not wait for that
 *
 * What is pinned goes when it is unpinned, which may be never. So the caller can
 * be killed; the wait, and @release, are the business of a worker then. Until
 * that is done, nobody else gets the ranges: see transient_memmap_check_range()
 * and transient_memmap_owns_section().
 *
 * Context: Process context, may sleep.
 * Return: true if @pgmap->ref has gone; false if @release will be called, or was.
 */
bool transient_memmap_drain_pool(struct dev_pagemap *pgmap,
				 void (*release)(struct dev_pagemap *pgmap))
{
	struct transient_pool *pool = pgmap->transient_pool;

	/* A pin that read it before may still keep one: pool_age_work() drops it. */
	transient_memmap_set_cache(pgmap, 0);

	if (!wait_for_completion_killable(&pgmap->done))
		return true;

	pool->release = release;
	queue_work(system_dfl_wq, &pool->release_work);
	return false;
}

/**
 * transient_memmap_destroy_pool() - undo transient_memmap_create_pool()
 * @pgmap: what that returned; all its ranges were removed. It is freed.
 *
 * Context: Process context, may sleep; no hotplug lock held.
 */
void transient_memmap_destroy_pool(struct dev_pagemap *pgmap)
{
	struct transient_pool *pool = pgmap->transient_pool;

	static_branch_dec(&transient_memmap_key);
	shrinker_free(pool->shrinker);
	cancel_delayed_work_sync(&pool->age_work);
	pool_drop_spare(pool);
	/* Who found the pool by a pfn looks at @pgmap->ref still. */
	synchronize_rcu();
	list_lru_destroy(&pool->kept);
	mempool_exit(&pool->reserve);
	__free_page(pool->tails);
	kfree(pool->pgmap);
	kfree(pool);
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

	return xa_find(&transient_pools, &index,
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
	if (xa_find(&transient_pools, &pfn, last, XA_PRESENT)) {
		pr_err("pfn %#lx-%#lx: already registered\n", start, last);
		return -EBUSY;
	}
	return 0;
}

/* Pages of memory whose struct pages lie under one of the upper page tables */
#define PAGES_PER_ANCHOR	(PUD_SIZE / sizeof(struct page))

/* The tables of the direct map may begin at other pfns than those of vmemmap. */
static unsigned long next_anchor(const struct transient_pool *pool,
				 unsigned long pfn)
{
	unsigned long next = ALIGN(pfn + 1, PAGES_PER_ANCHOR);

	return pool->direct_map ? min(next, transient_direct_map_end(pfn)) : next;
}

/*
 * Make the upper page tables, and a section with its PTE table under each of the
 * lowest of them: the anchors.  They are in sections that belong to transient
 * ranges alone, so nobody else empties or frees them; and while there is one,
 * nobody frees the tables above it.  All other sections come and go with their
 * blocks.
 */
static int range_add_tables(struct transient_pool *pool, unsigned long start,
			    unsigned long last)
{
	struct transient_section *sec;
	unsigned long pfn;
	int err;

	for (pfn = section_start(start); pfn <= last; pfn += PAGES_PER_SECTION) {
		err = sparse_index_init(pfn_to_section_nr(pfn), pool->nid);
		if (err)
			return err;
	}

	for (pfn = start; pfn <= last; pfn = next_anchor(pool, pfn)) {
		sec = section_get(pool, pfn);
		if (!sec)
			return -ENOMEM;
		scoped_guard(mutex, &table_lock)
			sec->anchor = true;
		section_put(sec);
	}
	return 0;
}

/*
 * Free the sections and page tables that no other range needs.  A section at
 * either end may be shared with another transient range; the last of them frees
 * it.
 */
static void range_remove_tables(struct transient_pool *pool, unsigned long start,
				unsigned long last)
{
	struct transient_section *sec, *tmp;
	unsigned long end = last + 1, pfn;
	LIST_HEAD(tables);

	pfn = section_start(start);
	if (xa_find(&transient_pools, &pfn, section_last(start), XA_PRESENT))
		start = section_last(start) + 1;
	pfn = section_start(last);
	if (xa_find(&transient_pools, &pfn, section_last(last), XA_PRESENT))
		end = section_start(last);
	if (start >= end)
		return;

	guard(mutex)(&table_lock);
	list_for_each_entry_safe(sec, tmp, &sections, list) {
		if (sec->start_pfn < section_start(start) ||
		    sec->start_pfn >= end)
			continue;
		VM_WARN_ON_ONCE(refcount_read(&sec->ref) != 1);
		section_unlink(sec);
		call_rcu(&sec->rcu, section_free_rcu);
	}
	vmemmap_free((unsigned long)pfn_to_page(start),
		     (unsigned long)pfn_to_page(end), NULL);
	if (!pool->direct_map)
		return;

	/* Of whole GiB, hence shared with nobody */
	for (pfn = start; pfn < end; pfn += PUD_SIZE / PAGE_SIZE)
		transient_direct_map_cut(pfn, &tables);
	flush_tlb_all();
	transient_direct_map_free(&tables);
}

/**
 * transient_memmap_add_range() - put a range under the care of its pool
 * @pgmap: with a pool
 * @range_id: which of its ranges
 *
 * No struct page is made, nor anything else that grows with the size of the range
 * but a section's page table and states for every 64 GiB, and the roots of
 * mem_section.
 *
 * Context: Process context, between mem_hotplug_begin() and mem_hotplug_done().
 * Return: 0, -ENOMEM, or an error of transient_memmap_check_range() or
 *	transient_direct_map_add().
 */
int transient_memmap_add_range(struct dev_pagemap *pgmap, int range_id)
{
	struct range *r = &pgmap->ranges[range_id];
	unsigned long start = PHYS_PFN(r->start), last = PHYS_PFN(r->end);
	struct transient_pool *pool = pgmap->transient_pool;
	int err;

	err = transient_memmap_check_range(r);
	if (err)
		return err;

	if (pool->direct_map) {
		err = transient_direct_map_add(start, last);
		if (err)
			return err;
	}
	err = range_add_tables(pool, start, last);
	if (err)
		goto err_tables;
	err = xa_err(xa_store_range(&transient_pools, start, last, pool,
				    GFP_KERNEL));
	if (err)
		goto err_tables;
	return 0;

err_tables:
	/* xa_store_range() may have stored a part. */
	xa_store_range(&transient_pools, start, last, NULL, GFP_KERNEL);
	range_remove_tables(pool, start, last);
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
	struct transient_pool *pool = pgmap->transient_pool;

	/* The work that freed the last block may not have returned yet. */
	flush_delayed_work(&pool->free_work);

	xa_store_range(&transient_pools, start, last, NULL, GFP_KERNEL);
	range_remove_tables(pool, start, last);
}

/**
 * transient_direct_map_owns() - whether a page is mapped only while pinned
 * @pfn: any
 *
 * Who changes the attributes of a page in the direct map has to leave it alone: it
 * may be mapped or unmapped at any moment, and together with its neighbours.
 *
 * Context: Any.
 * Return: true if so.
 */
bool transient_direct_map_owns(unsigned long pfn)
{
	struct transient_pool *pool;

	guard(rcu)();
	pool = xa_load(&transient_pools, pfn);
	return pool && pool->direct_map;
}

/**
 * transient_memmap_owns() - is a page part of a transient range?
 * @pfn: any
 *
 * For who takes a pfn without a memmap for a device's registers otherwise. It is
 * for the caller to know that the range does not go meanwhile.
 *
 * Context: Any.
 * Return: true if so.
 */
bool transient_memmap_owns(unsigned long pfn)
{
	return transient_memmap_enabled() && xa_load(&transient_pools, pfn);
}
EXPORT_SYMBOL_GPL(transient_memmap_owns);

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
 * transient_memmap_set_cache() - set how many blocks to keep for reuse
 * @pgmap: registered
 * @cache: in blocks; what is kept beyond that is dropped now. With 0, a block goes
 *	with its last pin.
 *
 * Context: Process context, may sleep; the caller keeps @pgmap registered.
 * Return: 0, or -EOPNOTSUPP if @pgmap is not of type MEMORY_DEVICE_TRANSIENT.
 */
int transient_memmap_set_cache(struct dev_pagemap *pgmap, unsigned long cache)
{
	struct transient_pool *pool = pgmap->transient_pool;

	if (pgmap->type != MEMORY_DEVICE_TRANSIENT)
		return -EOPNOTSUPP;

	WRITE_ONCE(pool->cache, cache);
	pool_trim(pool);
	return 0;
}
EXPORT_SYMBOL_GPL(transient_memmap_set_cache);

/**
 * transient_memmap_set_longterm_cap() - allow long-term pins
 * @pgmap: registered
 * @cap: the most blocks that may have one; 0, as at first, refuses them
 *
 * Context: Any; the caller keeps @pgmap registered.
 * Return: 0, or -EOPNOTSUPP if @pgmap is not of type MEMORY_DEVICE_TRANSIENT.
 */
int transient_memmap_set_longterm_cap(struct dev_pagemap *pgmap,
				      unsigned long cap)
{
	if (pgmap->type != MEMORY_DEVICE_TRANSIENT)
		return -EOPNOTSUPP;
	WRITE_ONCE(pgmap->transient_pool->longterm_cap,
		   min_t(unsigned long, cap, LONG_MAX));
	return 0;
}
EXPORT_SYMBOL_GPL(transient_memmap_set_longterm_cap);

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
		.block_size = PAGE_SIZE << pool->order,
		.cap = READ_ONCE(pool->cap),
		.cache = READ_ONCE(pool->cache),
		.longterm_cap = READ_ONCE(pool->longterm_cap),
		.live = atomic_long_read(&pool->live),
		.cached = list_lru_count(&pool->kept),
		.longterm = atomic_long_read(&pool->longterm),
		.peak = atomic_long_read(&pool->peak),
		.populated = atomic_long_read(&pool->populated),
		.freed = atomic_long_read(&pool->freed),
		.failed = atomic_long_read(&pool->failed),
		.flushes = atomic_long_read(&pool->flushes),
	};
	return 0;
}
EXPORT_SYMBOL_GPL(transient_memmap_get_stats);

static int __init transient_memmap_init(void)
{
	/* Or the struct pages of a block would not fill pages of vmemmap, */
	BUILD_BUG_ON_NOT_POWER_OF_2(sizeof(struct page));
	/* and those of a section a page table. */
	BUILD_BUG_ON(PAGES_PER_SECTION * sizeof(struct page) != PMD_SIZE);
	/* A block of any order lies in one range: they are aligned to that. */
	BUILD_BUG_ON(PAGES_PER_SUBSECTION % BIT(TRANSIENT_BLOCK_MAX_ORDER));

	/*
	 * WQ_MEM_RECLAIM: blocks that go are memory that comes back.  Unbound,
	 * as the work sleeps for a grace period at a time.
	 */
	transient_wq = alloc_workqueue("transient_memmap",
				       WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!transient_wq)
		return -ENOMEM;
	return mempool_init_kmalloc_pool(&section_reserve, SECTION_RESERVE_NR,
					 sizeof(struct transient_section));
}
core_initcall(transient_memmap_init);
