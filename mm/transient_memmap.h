/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How the rest of mm/ reaches the pool of transient struct pages.
 */
#ifndef _MM_TRANSIENT_MEMMAP_H
#define _MM_TRANSIENT_MEMMAP_H

#include <linux/jump_label.h>
#include <linux/memremap.h>
#include <linux/mmzone.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/transient_memmap.h>

#ifdef CONFIG_TRANSIENT_MEMMAP

DECLARE_STATIC_KEY_FALSE(transient_memmap_key);

/* True while any transient range is registered; free when none is. */
static inline bool transient_memmap_enabled(void)
{
	return static_branch_unlikely(&transient_memmap_key);
}

/*
 * A struct page that exists does not have to have a section behind it: ask here
 * before looking at what hangs on sections (pageblocks, page_ext).
 */
static inline bool pfn_has_no_section(unsigned long pfn)
{
	return transient_memmap_enabled() &&
	       !valid_section(__pfn_to_section(pfn));
}

/*
 * The states of a block. Each state but the first has memory charged to the
 * pool.
 */
enum transient_block_state {
	/* No struct page is mapped; a pin may start to populate. */
	BLOCK_ABSENT,
	/* A pin makes the struct pages; the others wait. */
	BLOCK_POPULATING,
	/* The struct pages can be seen by who is in an RCU read-side section. */
	BLOCK_LIVE,
	/* Likewise, but a page has a memory error: pins take the slow path. */
	BLOCK_LIVE_POISONED,
	/* The refcount was 0, and no reader comes any more; a pin revives. */
	BLOCK_HIDDEN,
	/* No struct page is mapped, but a TLB may not know; pins wait. */
	BLOCK_UNMAPPED,
};

/**
 * struct transient_section - what is populated of a section
 * @state: enum transient_block_state, for each page of vmemmap; a block that has
 *	eight of those has its state in each. Written under @lock.
 * @lock: protects @state, the reviving of blocks, and the entries of @ptes but
 *	for those of a block that its owner by BLOCK_POPULATING makes
 * @anchor: keeps the page tables above @ptes, see range_add_tables()
 * @ref: one for being in mem_section, one for each block that is not absent, one
 *	for each pin that looks at it
 * @start_pfn: first pfn
 * @ptes: the page table that maps the section's struct pages
 * @direct: where the first block is in the page table that maps the section's
 *	memory, or NULL if that is mapped otherwise
 * @list: all sections
 * @rcu: for the readers of mem_section
 *
 * There for as long as it has blocks, and up to a second longer.
 */
struct transient_section {
	u8 state[PTRS_PER_PTE];
	spinlock_t lock; /* state, ptes */
	bool anchor;
	refcount_t ref;
	unsigned long start_pfn;
	pte_t *ptes;
	pmd_t *direct;
	struct list_head list;
	struct rcu_head rcu;
};

/* Which page of its section's vmemmap holds the struct page of this pfn? */
static inline unsigned int transient_slot(unsigned long pfn)
{
	return (pfn & (PAGES_PER_SECTION - 1)) >> TRANSIENT_SLOT_ORDER;
}

/*
 * The state of the block of any pfn, for who is in an RCU read-side (or IRQs-off)
 * section; none holds for longer than that.
 */
static __always_inline enum transient_block_state
transient_pfn_state(unsigned long pfn)
{
	struct mem_section *ms = __pfn_to_section(pfn);
	struct transient_section *sec;

	if (!ms)
		return BLOCK_ABSENT;
	sec = rcu_dereference_check(ms->transient, rcu_read_lock_any_held());
	if (!sec)
		return BLOCK_ABSENT;
	/* Pairs with block_set_state(). */
	return smp_load_acquire(&sec->state[transient_slot(pfn)]);
}

/* Is there a struct page that a pin can have without further questions? */
static __always_inline bool transient_pfn_live(unsigned long pfn)
{
	return transient_pfn_state(pfn) == BLOCK_LIVE;
}

/* For memremap_pages() */
struct dev_pagemap *transient_memmap_create_pool(struct dev_pagemap *pgmap,
						 int nid);
struct dev_pagemap *transient_memmap_pgmap(const struct dev_pagemap *pgmap);
bool transient_memmap_drain_pool(struct dev_pagemap *pgmap,
				 void (*release)(struct dev_pagemap *pgmap));
void transient_memmap_destroy_pool(struct dev_pagemap *pgmap);
int transient_memmap_check_range(const struct range *range);
int transient_memmap_add_range(struct dev_pagemap *pgmap, int range_id);
void transient_memmap_remove_range(struct dev_pagemap *pgmap, int range_id);
void transient_memmap_free_folio(struct folio *folio);
bool transient_memmap_owns_section(u64 start, u64 size);

/* Of the direct map: mm/transient_direct_map.c */
unsigned long transient_direct_map_end(unsigned long pfn);
int transient_direct_map_add(unsigned long start, unsigned long last);
pmd_t *transient_direct_map_table(unsigned long pfn);
void transient_direct_map_cut(unsigned long pfn, struct list_head *tables);
void transient_direct_map_free(struct list_head *tables);
void transient_direct_map_block(pmd_t *pmd, unsigned long pfn);
void transient_direct_unmap_block(pmd_t *pmd);

/* For GUP */
struct page *transient_memmap_try_get(unsigned long pfn);
struct page *transient_memmap_populate(unsigned long pfn, bool longterm);
bool transient_memmap_populate_nowait(unsigned long pfn);

/* For memory_failure() */
void transient_memmap_poison(unsigned long pfn);
int transient_memmap_unpoison(unsigned long pfn);

#if IS_ENABLED(CONFIG_KUNIT)
struct page *transient_block_page_alloc(int nid, gfp_t gfp);
#endif

#else /* !CONFIG_TRANSIENT_MEMMAP */

static inline bool transient_memmap_enabled(void)
{
	return false;
}

static inline bool pfn_has_no_section(unsigned long pfn)
{
	return false;
}

static inline bool transient_pfn_live(unsigned long pfn)
{
	return false;
}

static inline struct dev_pagemap *
transient_memmap_create_pool(struct dev_pagemap *pgmap, int nid)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline struct dev_pagemap *
transient_memmap_pgmap(const struct dev_pagemap *pgmap)
{
	return (struct dev_pagemap *)pgmap;
}

static inline bool
transient_memmap_drain_pool(struct dev_pagemap *pgmap,
			    void (*release)(struct dev_pagemap *pgmap))
{
	return true;
}

static inline void transient_memmap_destroy_pool(struct dev_pagemap *pgmap)
{
}

static inline int transient_memmap_check_range(const struct range *range)
{
	return -EOPNOTSUPP;
}

static inline int transient_memmap_add_range(struct dev_pagemap *pgmap,
					     int range_id)
{
	return -EOPNOTSUPP;
}

static inline void transient_memmap_remove_range(struct dev_pagemap *pgmap,
						 int range_id)
{
}

static inline void transient_memmap_free_folio(struct folio *folio)
{
}

static inline bool transient_memmap_owns_section(u64 start, u64 size)
{
	return false;
}

static inline struct page *transient_memmap_try_get(unsigned long pfn)
{
	return ERR_PTR(-EFAULT);
}

static inline struct page *transient_memmap_populate(unsigned long pfn,
						     bool longterm)
{
	return ERR_PTR(-EFAULT);
}

static inline bool transient_memmap_populate_nowait(unsigned long pfn)
{
	return false;
}

static inline void transient_memmap_poison(unsigned long pfn)
{
}

static inline int transient_memmap_unpoison(unsigned long pfn)
{
	return -EIO;
}

#endif /* CONFIG_TRANSIENT_MEMMAP */

#endif /* _MM_TRANSIENT_MEMMAP_H */
