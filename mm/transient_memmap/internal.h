/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _MM_TRANSIENT_MEMMAP_INTERNAL_H
#define _MM_TRANSIENT_MEMMAP_INTERNAL_H

#include "kernel.h"

/**
 * struct transient_pool - the blocks of one dev_pagemap
 * @pgmap: each block that is not absent holds a reference on its ref
 * @nid: node of the memory, which struct pages say and shall lie on
 * @direct_map: the blocks are in the direct map while they have struct pages,
 *	and the rest of the memory is not
 * @tails: a page full of tail struct pages: what a block's private page is
 *	copied from, and what the other pages of its vmemmap map
 * @table_bytes: what the tables that were made for its ranges take
 * @lock: protects the members up to @stats
 * @limits: what the operator sets, see enum transient_memmap_limit; read
 *	locklessly too
 * @waiters: pins that wait for a page, struct pool_waiter, in order of arrival
 * @spare: pages that can become the private page of a block: tails included
 * @nr_spare: how many
 * @tight: the shrinker has been here since the last ageing, so pages go back to
 *	the page allocator
 * @cached: private pages of the blocks that the pool has a reference on, the
 *	oldest first; page->private is the block's first pfn
 * @nr_cached: how many
 * @stats: what is not derived, see enum transient_memmap_stat
 * @nr_held: pages of its ranges that are held, see hold.c
 * @shrinker: drops cached blocks and spare pages
 * @list: all pools, under pools_lock
 * @owner_ops: the provider's, or NULL
 * @dev: the provider's device, which messages name, or NULL
 * @drain_work: says who keeps the range from being unregistered
 * @kobj: the sysfs directory
 */
struct transient_pool {
	struct dev_pagemap *pgmap;
	int nid;
	bool direct_map;
	struct page *tails;
	size_t table_bytes;

	spinlock_t lock; /* limits to stats */
	unsigned long limits[NR_TRANSIENT_MEMMAP_LIMITS];
	bool tight;
	struct list_head waiters;
	struct list_head spare;
	unsigned long nr_spare;
	struct list_head cached;
	unsigned long nr_cached;
	unsigned long stats[NR_TRANSIENT_MEMMAP_STATS];

	atomic_long_t nr_held;
	struct shrinker *shrinker;
	struct list_head list;
	const struct transient_owner_ops *owner_ops;
	struct device *dev;
	struct delayed_work drain_work;
	struct kobject kobj;
};

/*
 * For what a pin allocates. Not __GFP_NORETRY: the I/O that wants the page may
 * be what makes memory free. Not plain GFP_KERNEL: no process may be killed for
 * a pin that can fail with -ENOMEM, and has a reserve before it does; for the
 * same reason no warning. Not __GFP_ACCOUNT: a block outlives the pin and
 * serves whoever pins next; the cap bounds what it costs.
 */
#define GFP_TRANSIENT	(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

extern struct workqueue_struct *transient_wq;
extern atomic_long_t transient_nr_flushes;

/* table.c */

/*
 * The section of a pfn whose range stays registered: the caller has a reference
 * on its pgmap, or on a block, which has one; or registers or unregisters it.
 */
static inline struct transient_section *section_of(unsigned long pfn)
{
	return rcu_dereference_raw(__pfn_to_section(pfn)->transient);
}

/* core.c */

static inline unsigned long block_start(unsigned long pfn)
{
	return ALIGN_DOWN(pfn, BIT(TRANSIENT_BLOCK_ORDER));
}

void transient_free_soon(void);
struct page *block_page(struct transient_section *sec, unsigned long pfn);

/* cache.c */

/* How long a pin waits at the cap, or for memory, before it fails */
#define POOL_TIMEOUT	HZ

static inline unsigned long pool_live(const struct transient_pool *pool)
	__must_hold(&pool->lock)
{
	return pool->stats[TRANSIENT_MEMMAP_POPULATED] -
	       pool->stats[TRANSIENT_MEMMAP_FREED];
}

/* Whom the provider has charged with a block, or NULL */
static inline void *block_owner(struct page *page)
{
	/* The block's private page is in no mapping, so its index is free. */
	return (void *)page->__folio_index;
}

struct page *pool_get_page(struct transient_pool *pool, unsigned long pfn,
			   unsigned long deadline, bool *keep);
void pool_put_page(struct transient_pool *pool, struct page *page);
bool pool_has_waiters(void);
void pool_keep(struct transient_pool *pool, struct page *page);
int pool_init_cache(struct transient_pool *pool);
void pool_exit_cache(struct transient_pool *pool);

/* direct_map.c */
int transient_direct_map_add(struct transient_pool *pool, unsigned long start,
			     unsigned long end);
void transient_direct_map_remove(unsigned long start, unsigned long end);

#endif /* _MM_TRANSIENT_MEMMAP_INTERNAL_H */
