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

/* Cached blocks that are looked at with the lock held */
#define WALK_BATCH	256UL

/* Cached blocks that a pin that waits looks at: others need some too. */
#define CAP_BATCH	64

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
	/* Idle ones that GUP has not marked (PG_referenced) since the last look */
	DROP_COLD,
};

static LIST_HEAD(pools);
static DEFINE_MUTEX(pools_lock);

static void age_pools(struct work_struct *work);
static DECLARE_DELAYED_WORK(age_work, age_pools);

/*
 * Called when there is something to age for the first time: as long as there
 * is, the work queues itself.
 */
static void pool_age_soon(void)
{
	queue_delayed_work(transient_wq, &age_work, AGE_PERIOD);
}

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

	lockdep_assert_held(&pool->lock);

	for (nr = min(nr, pool->nr_cached); nr; nr--) {
		struct page *page = list_first_entry(&pool->cached, struct page,
						     lru);
		struct folio *folio = cached_folio(page);

		if ((which == DROP_COLD && folio_test_clear_referenced(folio)) ||
		    (which != DROP_ANY && folio_ref_count(folio) > 1)) {
			list_move_tail(&page->lru, &pool->cached);
			continue;
		}
		list_del_init(&page->lru);
		WRITE_ONCE(pool->nr_cached, pool->nr_cached - 1);
		folio_put(folio);
		dropped++;
	}
	return dropped;
}

/* The same with a lock that is not held for long */
static void pool_walk(struct transient_pool *pool, unsigned long nr,
		      enum pool_drop which)
{
	while (nr) {
		unsigned long batch = min(nr, WALK_BATCH);

		scoped_guard(spinlock, &pool->lock)
			pool_drop(pool, batch, which);
		nr -= batch;
		cond_resched();
	}
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
	WRITE_ONCE(pool->nr_cached, pool->nr_cached + 1);
	if (pool->nr_cached == 1)
		pool_age_soon();
}

/* The charge and the page */

static void pool_push_spare(struct transient_pool *pool, struct page *page)
	__must_hold(&pool->lock)
{
	list_add(&page->lru, &pool->spare);
	WRITE_ONCE(pool->nr_spare, pool->nr_spare + 1);
	if (pool->nr_spare == RESERVE_NR + 1)
		pool_age_soon();
}

static struct page *pool_pop_spare(struct transient_pool *pool)
	__must_hold(&pool->lock)
{
	struct page *page = list_first_entry_or_null(&pool->spare, struct page,
						     lru);

	if (page) {
		list_del_init(&page->lru);
		WRITE_ONCE(pool->nr_spare, pool->nr_spare - 1);
		if (pool->nr_spare == RESERVE_NR - 1)
			pool_age_soon();
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
		stats[TRANSIENT_MEMMAP_PEAK] = max(pool_live(pool),
						   stats[TRANSIENT_MEMMAP_PEAK]);
		list_del_init(&w->list);
		/* It looks at @w under the lock, so cannot be gone yet. */
		if (w->task != current)
			wake_up_process(w->task);
	}
}

/* Have the worker not wait for a batch? */
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

/*
 * Wait to be served. The limit keeps those going on whom others wait for: a
 * submitter who alone can complete its polled I/O, or the holder of a lock.
 */
static int pool_wait(struct transient_pool *pool, struct pool_waiter *w,
		     unsigned long deadline)
{
	unsigned long dropped;
	struct page *page;
	int err = 0;
	long left;

	atomic_inc(&nr_waiters);
	transient_free_soon();
	spin_lock(&pool->lock);
	/* If all are pinned, let some go with their last unpin. */
	dropped = pool_drop(pool, CAP_BATCH, DROP_IDLE);
	if (!dropped)
		pool_drop(pool, CAP_BATCH, DROP_ANY);
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
		page = NULL;
		if (!schedule_timeout(min(left, RETRY_PERIOD))) {
			/*
			 * A task that unpinned may be preempted before it
			 * queues the worker, and others do not: it was first.
			 */
			transient_free_soon();
			if (w->needs_page)
				page = pool_alloc_page(pool, GFP_TRANSIENT);
		}
		spin_lock(&pool->lock);
		if (page) {
			pool_push_spare(pool, page);
			pool_serve(pool);
		}
		/* Those that it looked at are last now: here are others. */
		if (!dropped && !list_empty(&w->list))
			dropped = pool_drop(pool, CAP_BATCH, DROP_IDLE);
	}
	spin_unlock(&pool->lock);
	atomic_dec(&nr_waiters);
	return err;
}

static void pool_uncharge(struct transient_pool *pool)
{
	guard(spinlock)(&pool->lock);
	pool->stats[TRANSIENT_MEMMAP_POPULATED]--;
	pool_serve(pool);
}

/**
 * pool_get_page() - get the page for a new block, charged to the pool
 * @pool: a pool
 * @deadline: in jiffies, when to give up
 *
 * Context: Process context, may sleep.
 * Return: a page with the tails of a block, or an ERR_PTR():
 *	-ENOMEM if the pool was at its cap, or without memory, until @deadline;
 *	-EINTR if a fatal signal came while waiting.
 */
struct page *pool_get_page(struct transient_pool *pool, unsigned long deadline)
{
	struct pool_waiter w = { .task = current };
	bool served;
	int err;

	for (;;) {
		scoped_guard(spinlock, &pool->lock) {
			list_add_tail(&w.list, &pool->waiters);
			pool_serve(pool);
			served = list_empty(&w.list);
		}
		err = served ? 0 : pool_wait(pool, &w, deadline);
		if (err)
			break;
		if (!w.page)
			w.page = pool_alloc_page(pool, GFP_TRANSIENT);
		if (w.page)
			break;
		pool_uncharge(pool);
		w.needs_page = true;
	}
	if (err == -ENOMEM) {
		scoped_guard(spinlock, &pool->lock)
			pool->stats[TRANSIENT_MEMMAP_FAILED]++;
	}
	if (err)
		return ERR_PTR(err);
	memmap_pages_add(1);
	return w.page;
}

static void free_pages_list(struct list_head *list)
{
	struct page *page, *tmp;

	list_for_each_entry_safe(page, tmp, list, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
}

/* Returns how many spare pages were freed: all but the reserve. */
static unsigned long pool_trim_spare(struct transient_pool *pool)
{
	unsigned long nr = 0;
	LIST_HEAD(list);

	scoped_guard(spinlock, &pool->lock) {
		for (; pool->nr_spare > RESERVE_NR; nr++)
			list_add(&pool_pop_spare(pool)->lru, &list);
	}
	free_pages_list(&list);
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
	LIST_HEAD(list);

	set_page_private(page, 0);
	memmap_pages_add(-1);
	scoped_guard(spinlock, &pool->lock) {
		pool->stats[TRANSIENT_MEMMAP_FREED]++;
		if (!pool->tight || pool->nr_spare < RESERVE_NR)
			pool_push_spare(pool, page);
		else
			list_add(&page->lru, &list);
		pool_serve(pool);
	}
	free_pages_list(&list);
}

/* Limits, ageing and the shrinker */

/**
 * pool_set_limit() - set a limit, and have it take effect
 * @pool: a pool
 * @limit: which
 * @value: to what
 *
 * Context: Process context, may sleep.
 */
void pool_set_limit(struct transient_pool *pool,
		    enum transient_memmap_limit limit, unsigned long value)
{
	unsigned long nr, cache;

	scoped_guard(spinlock, &pool->lock) {
		WRITE_ONCE(pool->limits[limit], value);
		pool_serve(pool);
	}
	for (;;) {
		/* Others may raise it meanwhile, and pins fill it again. */
		cache = READ_ONCE(pool->limits[TRANSIENT_MEMMAP_CACHE]);
		nr = READ_ONCE(pool->nr_cached);
		if (nr <= cache)
			break;
		pool_walk(pool, nr - cache, DROP_ANY);
	}
}

/* Bring the spare pages to the number of the reserve. */
static void pool_age_spare(struct transient_pool *pool)
{
	struct page *page;

	pool_trim_spare(pool);
	while (READ_ONCE(pool->nr_spare) < RESERVE_NR) {
		page = pool_alloc_page(pool, GFP_NOWAIT | __GFP_NOWARN);
		if (!page)
			break;
		scoped_guard(spinlock, &pool->lock) {
			pool_push_spare(pool, page);
			pool_serve(pool);
		}
	}
}

/* Returns whether there is something left to do in a period. */
static bool pool_age(struct transient_pool *pool)
{
	scoped_guard(spinlock, &pool->lock)
		pool->tight = false;
	pool_age_spare(pool);
	pool_walk(pool, READ_ONCE(pool->nr_cached), DROP_COLD);
	return READ_ONCE(pool->nr_cached) || READ_ONCE(pool->nr_spare) < RESERVE_NR;
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
	unsigned long spare = max(READ_ONCE(pool->nr_spare), RESERVE_NR);

	return READ_ONCE(pool->nr_cached) + spare - RESERVE_NR;
}

static unsigned long pool_shrink_scan(struct shrinker *shrinker,
				      struct shrink_control *sc)
{
	struct transient_pool *pool = shrinker->private_data;
	unsigned long nr = pool_trim_spare(pool);

	if (nr)
		return nr;
	scoped_guard(spinlock, &pool->lock) {
		/* What is freed until the next ageing is to be memory. */
		pool->tight = true;
		pool_age_soon();
		nr = pool_drop(pool, sc->nr_to_scan, DROP_COLD);
	}
	if (nr)
		transient_free_soon();
	return nr;
}

/* Init */

static int pool_init_shrinker(struct transient_pool *pool)
{
	struct shrinker *shrinker = shrinker_alloc(0, "mm-transient_memmap");

	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = pool_shrink_count;
	shrinker->scan_objects = pool_shrink_scan;
	shrinker->private_data = pool;
	/* A page costs a grace period and a flush, and a slow path to get back */
	shrinker->seeks = 2 * DEFAULT_SEEKS;
	pool->shrinker = shrinker;
	shrinker_register(shrinker);
	return 0;
}

/**
 * pool_init_cache() - make the spare pages and the rest that is in this file
 * @pool: with nid and tails set
 *
 * Context: Process context, may sleep.
 * Return: 0 or -ENOMEM.
 */
int pool_init_cache(struct transient_pool *pool)
{
	struct page *page;

	spin_lock_init(&pool->lock);
	INIT_LIST_HEAD(&pool->waiters);
	INIT_LIST_HEAD(&pool->spare);
	INIT_LIST_HEAD(&pool->cached);
	for (; pool->nr_spare < RESERVE_NR; pool->nr_spare++) {
		page = pool_alloc_page(pool, GFP_KERNEL);
		if (!page)
			goto err_spare;
		list_add(&page->lru, &pool->spare);
	}
	if (pool_init_shrinker(pool))
		goto err_spare;
	scoped_guard(mutex, &pools_lock)
		list_add(&pool->list, &pools);
	return 0;

err_spare:
	free_pages_list(&pool->spare);
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
	free_pages_list(&pool->spare);
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
