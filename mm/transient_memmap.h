/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How the rest of mm/ reaches transient struct pages. The life of a block, and
 * who may look at its struct pages when, are described in
 * mm/transient_memmap/core.c.
 */
#ifndef _MM_TRANSIENT_MEMMAP_H
#define _MM_TRANSIENT_MEMMAP_H

#include <linux/jump_label.h>
#include <linux/memremap.h>
#include <linux/mmzone.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/transient_memmap.h>

#ifdef CONFIG_TRANSIENT_MEMMAP

DECLARE_STATIC_KEY_FALSE(transient_memmap_key);

/* True while any transient range is registered; free when none is. */
static inline bool transient_memmap_enabled(void)
{
	return static_branch_unlikely(&transient_memmap_key);
}

/**
 * enum transient_block_state - what there is of a block
 * @BLOCK_NONE: it is no part of a transient range
 * @BLOCK_ABSENT: no struct page is mapped; a pin may populate it
 * @BLOCK_POPULATING: a pin makes the struct pages; others wait
 * @BLOCK_LIVE: readers within an RCU read-side section see the struct pages
 * @BLOCK_LIVE_POISONED: likewise, but a page has a memory error: pins take the
 *	slow path, which looks for it
 * @BLOCK_HIDDEN: the refcount was 0 and no new reader comes; a pin revives it
 * @BLOCK_UNMAPPED: no struct page is mapped, but TLBs may not know; pins wait
 *
 * In all states after @BLOCK_ABSENT it is charged to its pool.
 */
enum transient_block_state {
	BLOCK_NONE,
	BLOCK_ABSENT,
	BLOCK_POPULATING,
	BLOCK_LIVE,
	BLOCK_LIVE_POISONED,
	BLOCK_HIDDEN,
	BLOCK_UNMAPPED,
};

#define BLOCKS_PER_SECTION	(PAGES_PER_SECTION >> TRANSIENT_BLOCK_ORDER)

/**
 * struct transient_section - the blocks of a section
 * @state: enum transient_block_state of each block, written under @lock
 * @lock: also protects the reviving of blocks, and the page table entries of
 *	those that nobody populates
 * @held: how many pages of each block are held, each as often as it is
 * @nr_ranges: how many ranges have blocks here, under mem_hotplug_lock
 * @ptes: the page table that maps the section's struct pages
 * @direct: its part of the page table that maps its memory, or NULL if that is
 *	in the direct map anyway
 * @rcu: readers reach a section through mem_section
 *
 * There from the registering of the first range in the section until the
 * unregistering of the last.
 */
struct transient_section {
	u8 state[BLOCKS_PER_SECTION];
	spinlock_t lock; /* state, held, ptes, direct */
	unsigned int held[BLOCKS_PER_SECTION];
	unsigned int nr_ranges;
	pte_t *ptes;
	pmd_t *direct;
	struct rcu_head rcu;
};

static inline unsigned int block_index(unsigned long pfn)
{
	return (pfn & (PAGES_PER_SECTION - 1)) >> TRANSIENT_BLOCK_ORDER;
}

/*
 * The section of any pfn, or NULL, for callers within an RCU read-side (or
 * IRQs-off) section: it stays until the end of that.
 */
static __always_inline struct transient_section *
pfn_transient_section(unsigned long pfn)
{
	struct mem_section *ms = __pfn_to_section(pfn);

	if (!ms)
		return NULL;
	return rcu_dereference_check(ms->transient, rcu_read_lock_any_held());
}

/*
 * The state of the block of any pfn, for the same callers; what it says of
 * struct pages holds as long.
 */
static __always_inline enum transient_block_state
pfn_block_state(unsigned long pfn)
{
	struct transient_section *sec = pfn_transient_section(pfn);

	if (!sec)
		return BLOCK_NONE;
	/* Pairs with block_set_state(): the struct pages are ready. */
	return smp_load_acquire(&sec->state[block_index(pfn)]);
}

/* Is there a struct page that a pin can have without further questions? */
static __always_inline bool block_pinnable(unsigned long pfn)
{
	return pfn_block_state(pfn) == BLOCK_LIVE;
}

#else /* !CONFIG_TRANSIENT_MEMMAP */

static inline bool transient_memmap_enabled(void)
{
	return false;
}

static inline bool block_pinnable(unsigned long pfn)
{
	return false;
}

#endif /* CONFIG_TRANSIENT_MEMMAP */

/* Without the option, no call of the following is left. */
static inline bool pgmap_is_transient(const struct dev_pagemap *pgmap)
{
	return IS_ENABLED(CONFIG_TRANSIENT_MEMMAP) &&
	       pgmap->type == MEMORY_DEVICE_TRANSIENT;
}

struct dev_pagemap *held_dev_pagemap(unsigned long pfn);

/* For memremap_pages() */
int transient_memmap_create_pool(struct dev_pagemap *pgmap, int nid);
void transient_memmap_drain_pool(struct dev_pagemap *pgmap);
void transient_memmap_destroy_pool(struct dev_pagemap *pgmap);
int transient_memmap_check_range(const struct range *range, bool transient);
int transient_memmap_add_range(struct dev_pagemap *pgmap, int range_id);
void transient_memmap_remove_range(struct dev_pagemap *pgmap, int range_id);
void transient_memmap_free_folio(struct folio *folio);
bool transient_memmap_uses_node(int nid);

/* For GUP */
bool transient_memmap_may_pin(struct vm_area_struct *vma,
			      unsigned int gup_flags);
struct page *transient_memmap_follow(unsigned long pfn, bool writable,
				     unsigned int flags, unsigned long nr_pages,
				     unsigned long *page_mask);
struct page *transient_memmap_faultin(struct vm_area_struct *vma,
				      unsigned long address, unsigned int flags,
				      unsigned long *page_mask);
struct page *transient_memmap_try_get(unsigned long pfn);
struct page *transient_memmap_populate(unsigned long pfn,
				       unsigned int gup_flags);

/* For memory_failure() */
void transient_memmap_poison(unsigned long pfn);
int transient_memmap_unpoison(unsigned long pfn);

#endif /* _MM_TRANSIENT_MEMMAP_H */
