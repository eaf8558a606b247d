// SPDX-License-Identifier: GPL-2.0
/*
 * Transient struct pages: the pages that blocks are made of, and for how long
 *
 * A live block costs one page. It comes from the pool's spare pages, which are
 * those of blocks that were freed, or else from the page allocator; and each is
 * charged to the pool, which has no more than "cap" of them. A pin that finds
 * the pool at its cap, or no memory, waits: first come, first served. While
 * pins wait, the pool gives up blocks that it keeps, the next free worker does
 * not wait for a batch, and a freed page goes straight to the first who waits.
 *
 * The pool has a reference on up to "cache" blocks, so that their next pin is
 * quick. It drops those that nobody pinned for two periods of ageing, those
 * that the shrinker asks for, and some if a pin has to wait.
 *
 * Of the spare pages, RESERVE_NR are there for when there is no other memory:
 * I/O that would make memory free has to go on. No block keeps its page for
 * good, so they come back.
 */
#include "internal.h"

/*
 * A cached block that was not pinned during one whole period is dropped at the
 * end of the next: with no I/O, the pool is empty after two periods and the
 * time that freeing takes.
 */
#define AGE_PERIOD	(HZ / 2)

/*
 * Cached blocks that are looked at with the lock held. A pin that waits looks
 * at up to two batches when it begins, and at one each RETRY_PERIOD: at less
 * than 256 blocks before it is refused, as others need some too.
 */
#define WALK_BATCH	20UL

/* How often a pin that waits tries itself to get on, see pool_wait() */
#define RETRY_PERIOD	(HZ / 10)

/* Spare pages that neither ageing nor the shrinker takes */
#define RESERVE_NR	8UL

/**
 * struct pool_waiter - a pin that wants a page
 * @list: in the pool's waiters; empty once it was served
 * @task: to be woken
 * @page: what it was given; NULL if it may allocate one
 * @needs_page: that has failed, so it waits for a spare page
 */
struct pool_waiter {
	struct list_head list;
	struct task_struct *task;
	struct page *page;
	bool needs_page;
};

/* Which cached blocks are dropped; what is pinned goes with its last unpin */
enum pool_drop {
	DROP_ANY,
	DROP_IDLE,
	/* Idle, and not marked by GUP (PG_referenced) since the last look */
	DROP_COLD,
};

static LIST_HEAD(pools);
static DEFINE_MUTEX(pools_lock);

static void age_pools(struct work_struct *work);
static DECLARE_DELAYED_WORK(age_work, age_pools);

/* Pins that wait, in all pools */
static atomic_t nr_waiters = ATOMIC_INIT(0);

/* The cache */

static struct folio *cached_folio(struct page *page)
{
	return page_folio(pfn_to_page(page_private(page)));
}

/*
 * Look at up to @nr cached blocks, the oldest first. Returns how many were
 * dropped: each of them may be freed from then on.
 */
static unsigned long pool_drop(struct transient_pool *pool, unsigned long nr,
			       enum pool_drop which)
	__must_hold(&pool->lock)
{
	unsigned long dropped = 0;
	struct folio *folio;
	struct page *page;

	lockdep_assert_held(&pool->lock);

	for (nr = min(nr, pool->nr_cached); nr; nr--) {
		page = list_first_entry(&pool->cached, struct page, lru);
		folio = cached_folio(page);
		if ((which == DROP_COLD && folio_test_clear_referenced(folio)) ||
		    (which != DROP_ANY && folio_ref_count(folio) > 1)) {
			list_move_tail(&page->lru, &pool->cached);
			continue;
		}
		list_del_init(&page->lru);
		pool->nr_cached--;
		folio_put(folio);
		dropped++;
	}
	return dropped;
}

/**
 * pool_keep() - keep a block for its next pin, by a reference of the pool's own
 * @pool: a pool
 * @page: the block's private page; the caller has a reference on the block
 *
 * If the cache is full, the clock's hand moves on by two blocks. While pins
 * wait for blocks to go, none is kept.
 *
 * Context: Any but interrupt context.
 */
void pool_keep(struct transient_pool *pool, struct page *page)
{
	guard(spinlock)(&pool->lock);
	if (!list_empty(&page->lru) || !list_empty(&pool->waiters))
		return;
	if (pool->nr_cached >= pool->limits[TRANSIENT_MEMMAP_CACHE])
		pool_drop(pool, 2, DROP_COLD);
	if (pool->nr_cached >= pool->limits[TRANSIENT_MEMMAP_CACHE])
		return;
	folio_ref_inc(cached_folio(page));
	list_add_tail(&page->lru, &pool->cached);
	pool->nr_cached++;
}

/* The charge and the page */

static void pool_push_spare(struct transient_pool *pool, struct page *page)
	__must_hold(&pool->lock)
{
	list_add(&page->lru, &pool->spare);
	pool->nr_spare++;
}

static struct page *pool_pop_spare(struct transient_pool *pool)
	__must_hold(&pool->lock)
{
	struct page *page = list_first_entry_or_null(&pool->spare, struct page,
						     lru);

	if (page) {
		list_del_init(&page->lru);
		pool->nr_spare--;
	}
	return page;
}

/* Give to those who wait what there is: a charge, and a spare page with it. */
static void pool_serve(struct transient_pool *pool)
	__must_hold(&pool->lock)
{
	unsigned long *stats = pool->stats;
	struct pool_waiter *w, *tmp;

	lockdep_assert_held(&pool->lock);

	list_for_each_entry_safe(w, tmp, &pool->waiters, list) {
		if (pool_live(pool) >= pool->limits[TRANSIENT_MEMMAP_CAP])
			break;
		w->page = pool_pop_spare(pool);
		if (!w->page && w->needs_page)
			continue;
		stats[TRANSIENT_MEMMAP_POPULATED]++;
		stats[TRANSIENT_MEMMAP_PEAK] =
			max(pool_live(pool), stats[TRANSIENT_MEMMAP_PEAK]);
		/* As long as any is live, the work queues itself. */
		if (pool_live(pool) == 1)
			queue_delayed_work(transient_wq, &age_work, AGE_PERIOD);
		list_del_init(&w->list);
		/* It looks at @w under the lock, so cannot be gone yet. */
		if (w->task != current)
			wake_up_process(w->task);
	}
}

/**
 * pool_has_waiters() - do pins wait, so that the worker shall not?
 *
 * Context: Any.
 * Return: true if any does, in any pool.
 */
bool pool_has_waiters(void)
{
	return atomic_read(&nr_waiters);
}

static struct page *pool_alloc_page(struct transient_pool *pool, gfp_t gfp)
{
	struct page *page = alloc_pages_node(pool->nid, gfp, 0);

	if (page) {
		/* pool_keep() looks whether it is on a list. */
		INIT_LIST_HEAD(&page->lru);
		copy_page(page_address(page), page_address(pool->tails));
	}
	return page;
}

/* Have one spare page more, for the first who waits for it if any does. */
static bool pool_add_spare(struct transient_pool *pool, gfp_t gfp)
{
	struct page *page = pool_alloc_page(pool, gfp);

	if (!page)
		return false;
	guard(spinlock)(&pool->lock);
	pool_push_spare(pool, page);
	pool_serve(pool);
	return true;
}

/*
 * Wait to be served. The limit keeps those going on whom others wait for: a
 * submitter who alone can complete its polled I/O, or the holder of a lock.
 */
static int pool_wait(struct transient_pool *pool, struct pool_waiter *w,
		     unsigned long deadline)
{
	int err = 0;
	long left;

	atomic_inc(&nr_waiters);
	transient_free_soon();
	spin_lock(&pool->lock);
	/* If all are pinned, let some go with their last unpin. */
	if (!pool_drop(pool, WALK_BATCH, DROP_IDLE))
		pool_drop(pool, WALK_BATCH, DROP_ANY);
	while (!list_empty(&w->list)) {
		left = deadline - jiffies;
		if (fatal_signal_pending(current))
			err = -EINTR;
		else if (!pool->limits[TRANSIENT_MEMMAP_CAP] || left <= 0)
			err = -ENOMEM;
		if (err) {
			list_del(&w->list);
			break;
		}
		/* pool_serve() wakes under the lock, hence after this. */
		set_current_state(TASK_KILLABLE);
		spin_unlock(&pool->lock);
		if (!schedule_timeout(min(left, RETRY_PERIOD))) {
			/*
			 * A task that unpinned may be preempted before it
			 * queues the worker, and others do not: it was first.
			 */
			transient_free_soon();
			if (w->needs_page)
				pool_add_spare(pool, GFP_TRANSIENT);
		}
		spin_lock(&pool->lock);
		/* Those that it looked at are last now: here are others. */
		if (!list_empty(&w->list))
			pool_drop(pool, WALK_BATCH, DROP_IDLE);
	}
	spin_unlock(&pool->lock);
	atomic_dec(&nr_waiters);
	return err;
}

static struct page *pool_take_page(struct transient_pool *pool,
				   unsigned long deadline)
{
	struct pool_waiter w = { .task = current };
	bool served;
	int err;

	do {
		scoped_guard(spinlock, &pool->lock) {
			/* Others can use the charge: they may have a page. */
			if (w.needs_page)
				pool->stats[TRANSIENT_MEMMAP_POPULATED]--;
			list_add_tail(&w.list, &pool->waiters);
			pool_serve(pool);
			served = list_empty(&w.list);
		}
		err = served ? 0 : pool_wait(pool, &w, deadline);
		if (err)
			return ERR_PTR(err);
		if (!w.page)
			w.page = pool_alloc_page(pool, GFP_TRANSIENT);
		w.needs_page = true;
	} while (!w.page);
	return w.page;
}

/**
 * pool_get_page() - get the page for a new block
 * @pool: a pool
 * @pfn: the first of the block, which the page is to remember
 * @deadline: in jiffies, when to give up
 * @keep: set to whether the pool may keep the block for its next pin
 *
 * It is charged to the pool, and to whom the provider says.
 *
 * Context: Process context, may sleep.
 * Return: a page with the tails of a block, or an ERR_PTR():
 *	-ENOMEM if the pool or the owner was at its cap, or there was no memory,
 *	until @deadline;
 *	-EINTR if a fatal signal came while waiting;
 *	or another error of the provider.
 */
struct page *pool_get_page(struct transient_pool *pool, unsigned long pfn,
			   unsigned long deadline, bool *keep)
{
	const struct transient_owner_ops *ops = pool->owner_ops;
	struct page *page;
	void *owner;

	*keep = true;
	owner = ops ? ops->charge(pool->pgmap, pfn, deadline, keep) : NULL;
	page = IS_ERR(owner) ? owner : pool_take_page(pool, deadline);
	if (!IS_ERR(page)) {
		set_page_private(page, pfn);
		page->__folio_index = (unsigned long)owner;
		memmap_pages_add(1);
		return page;
	}
	if (!IS_ERR_OR_NULL(owner))
		ops->uncharge(owner);
	guard(spinlock)(&pool->lock);
	pool->stats[TRANSIENT_MEMMAP_FAILED] += PTR_ERR(page) == -ENOMEM;
	return page;
}

/* Free the spare pages but for so many. Returns how many were freed. */
static unsigned long pool_trim_spare(struct transient_pool *pool,
				     unsigned long keep)
{
	struct page *page, *tmp;
	unsigned long nr = 0;
	LIST_HEAD(list);

	scoped_guard(spinlock, &pool->lock) {
		for (; pool->nr_spare > keep; nr++)
			list_add(&pool_pop_spare(pool)->lru, &list);
	}
	list_for_each_entry_safe(page, tmp, &list, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
	return nr;
}

/**
 * pool_put_page() - take back the page of a block that was freed
 * @pool: a pool
 * @page: from pool_get_page()
 *
 * The page serves the next block: that saves the page allocator, twice, and the
 * copying of the tails, which nobody writes to.
 *
 * Context: Process context.
 */
void pool_put_page(struct transient_pool *pool, struct page *page)
{
	void *owner = block_owner(page);
	bool spare;

	memmap_pages_add(-1);
	if (owner)
		pool->owner_ops->uncharge(owner);
	scoped_guard(spinlock, &pool->lock) {
		pool->stats[TRANSIENT_MEMMAP_FREED]++;
		spare = !pool->tight || pool->nr_spare < RESERVE_NR;
		if (spare)
			pool_push_spare(pool, page);
		pool_serve(pool);
	}
	if (!spare)
		__free_page(page);
}

/* Limits, ageing and the shrinker */

/**
 * transient_memmap_set_limit() - set a limit
 * @pgmap: registered
 * @limit: which
 * @value: to what. A cap below what is live takes effect as blocks go; blocks
 *	that are cached beyond the limit are dropped.
 *
 * Context: Process context, may sleep; the caller keeps @pgmap registered.
 * Return: 0, or -EINVAL if @value is neither 0 nor 1 for a limit that is a
 *	permission.
 */
int transient_memmap_set_limit(struct dev_pagemap *pgmap,
			       enum transient_memmap_limit limit,
			       unsigned long value)
{
	struct transient_pool *pool = pgmap->transient_pool;
	unsigned long cache, excess;

	if (limit == TRANSIENT_MEMMAP_LONGTERM && value > 1)
		return -EINVAL;
	scoped_guard(spinlock, &pool->lock) {
		WRITE_ONCE(pool->limits[limit], value);
		pool_serve(pool);
	}
	do {
		scoped_guard(spinlock, &pool->lock) {
			/* Others may raise it meanwhile, and pins fill it. */
			cache = pool->limits[TRANSIENT_MEMMAP_CACHE];
			excess = max(pool->nr_cached, cache) - cache;
			pool_drop(pool, min(excess, WALK_BATCH), DROP_ANY);
		}
		cond_resched();
	} while (excess);
	return 0;
}
EXPORT_SYMBOL_GPL(transient_memmap_set_limit);

/* Returns whether there is something to do in the next period. */
static bool pool_age(struct transient_pool *pool)
{
	unsigned long nr, missing;

	pool_trim_spare(pool, RESERVE_NR);
	scoped_guard(spinlock, &pool->lock) {
		pool->tight = false;
		missing = RESERVE_NR - min(pool->nr_spare, RESERVE_NR);
		nr = pool->nr_cached;
	}
	while (missing-- && pool_add_spare(pool, GFP_NOWAIT | __GFP_NOWARN))
		;
	for (; nr; nr -= min(nr, WALK_BATCH)) {
		scoped_guard(spinlock, &pool->lock)
			pool_drop(pool, min(nr, WALK_BATCH), DROP_COLD);
		cond_resched();
	}
	guard(spinlock)(&pool->lock);
	return pool_live(pool) || pool->nr_spare != RESERVE_NR;
}

static void age_pools(struct work_struct *work)
{
	struct transient_pool *pool;
	bool again = false;

	guard(mutex)(&pools_lock);
	list_for_each_entry(pool, &pools, list)
		again |= pool_age(pool);
	if (again)
		queue_delayed_work(transient_wq, &age_work, AGE_PERIOD);
}

static unsigned long pool_shrink_count(struct shrinker *shrinker,
				       struct shrink_control *sc)
{
	struct transient_pool *pool = shrinker->private_data;

	guard(spinlock)(&pool->lock);
	return pool->nr_cached + max(pool->nr_spare, RESERVE_NR) - RESERVE_NR;
}

static unsigned long pool_shrink_scan(struct shrinker *shrinker,
				      struct shrink_control *sc)
{
	struct transient_pool *pool = shrinker->private_data;
	unsigned long nr = pool_trim_spare(pool, RESERVE_NR);

	if (nr)
		return nr;
	scoped_guard(spinlock, &pool->lock) {
		/* What is freed until the next ageing is to be memory. */
		pool->tight = true;
		nr = pool_drop(pool, sc->nr_to_scan, DROP_COLD);
	}
	if (nr)
		transient_free_soon();
	return nr;
}

/* Init */

/**
 * pool_init_cache() - make the spare pages and the rest that is in this file
 * @pool: with nid and tails set
 *
 * Context: Process context, may sleep.
 * Return: 0 or -ENOMEM.
 */
int pool_init_cache(struct transient_pool *pool)
{
	struct shrinker *shrinker;

	spin_lock_init(&pool->lock);
	INIT_LIST_HEAD(&pool->waiters);
	INIT_LIST_HEAD(&pool->spare);
	INIT_LIST_HEAD(&pool->cached);
	while (pool->nr_spare < RESERVE_NR)
		if (!pool_add_spare(pool, GFP_KERNEL))
			goto err_spare;
	shrinker = shrinker_alloc(0, "mm-transient_memmap");
	if (!shrinker)
		goto err_spare;
	shrinker->count_objects = pool_shrink_count;
	shrinker->scan_objects = pool_shrink_scan;
	shrinker->private_data = pool;
	/* A page costs a grace period and a flush, and is made anew. */
	shrinker->seeks = 2 * DEFAULT_SEEKS;
	pool->shrinker = shrinker;
	shrinker_register(shrinker);
	scoped_guard(mutex, &pools_lock)
		list_add(&pool->list, &pools);
	return 0;

err_spare:
	pool_trim_spare(pool, 0);
	return -ENOMEM;
}

/**
 * pool_exit_cache() - undo pool_init_cache()
 * @pool: no block of it is left
 *
 * Context: Process context, may sleep.
 */
void pool_exit_cache(struct transient_pool *pool)
{
	scoped_guard(mutex, &pools_lock)
		list_del(&pool->list);
	shrinker_free(pool->shrinker);
	pool_trim_spare(pool, 0);
}

/**
 * transient_memmap_uses_node() - do struct pages say they are of this node?
 * @nid: a node
 *
 * Context: Process context, may sleep.
 * Return: true if those of any pool do, so that it must stay online.
 */
bool transient_memmap_uses_node(int nid)
{
	struct transient_pool *pool;

	guard(mutex)(&pools_lock);
	list_for_each_entry(pool, &pools, list)
		if (pool->nid == nid)
			return true;
	return false;
}
