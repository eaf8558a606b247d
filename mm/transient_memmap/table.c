// SPDX-License-Identifier: GPL-2.0
/*
 * Transient struct pages: the tables of a range
 *
 * A range has its page tables for vmemmap, and the states and locks of its
 * blocks, for as long as it is registered: 35 MiB for each TiB. So a pin that
 * populates allocates one page and nothing else.
 *
 * Blocks are found through mem_section, which points to the blocks of a section
 * that has any. Ranges may share a section: whoever comes first makes its part
 * of the tables, whoever leaves last frees them. They cannot share it with a
 * static memmap, which takes the tables down by its own rules.
 */
#define pr_fmt(fmt) "transient_memmap: " fmt

#include "internal.h"

static int section_add(struct transient_pool *pool, unsigned long pfn)
{
	unsigned long addr = (unsigned long)pfn_to_page(pfn);
	struct transient_section *sec;
	int err;

	err = sparse_index_init(pfn_to_section_nr(pfn), pool->nid);
	if (err)
		return err;
	sec = section_of(pfn);
	if (sec) {
		sec->nr_ranges++;
		return 0;
	}

	sec = kzalloc_node(sizeof(*sec), GFP_KERNEL, pool->nid);
	if (!sec)
		return -ENOMEM;
	spin_lock_init(&sec->lock);
	sec->nr_ranges = 1;
	if (pool->direct_map)
		sec->direct = pmd_off_k((unsigned long)__va(PFN_PHYS(pfn)));
	sec->ptes = vmemmap_alloc_tables(addr, pool->nid);
	if (!sec->ptes) {
		/* It may have made the upper ones. */
		vmemmap_free(addr, addr + PMD_SIZE, NULL);
		kfree(sec);
		return -ENOMEM;
	}
	pool->table_bytes += PAGE_SIZE + sizeof(*sec);
	rcu_assign_pointer(__pfn_to_section(pfn)->transient, sec);
	return 0;
}

/* Both are multiples of a section; only the first and last can be shared. */
static void remove_sections(unsigned long start, unsigned long end)
{
	unsigned long pfn, first = start, last = end;
	struct transient_section *sec;

	for (pfn = start; pfn < end; pfn += PAGES_PER_SECTION) {
		sec = section_of(pfn);
		if (!--sec->nr_ranges) {
			RCU_INIT_POINTER(__pfn_to_section(pfn)->transient,
					 NULL);
			kfree_rcu(sec, rcu);
		} else if (pfn == first) {
			first += PAGES_PER_SECTION;
		} else {
			last = pfn;
		}
	}
	if (first < last)
		vmemmap_free((unsigned long)pfn_to_page(first),
			     (unsigned long)pfn_to_page(last), NULL);
}

/* Nobody populates or frees a block of the range now. */
static void set_states(unsigned long start, unsigned long end,
		       enum transient_block_state state)
{
	u8 *states = section_of(start)->state;
	unsigned long pfn;

	for (pfn = start; pfn < end; pfn += BIT(TRANSIENT_BLOCK_ORDER)) {
		if (!block_index(pfn))
			states = section_of(pfn)->state;
		/* Pairs with pfn_block_state(): pins may come. */
		smp_store_release(&states[block_index(pfn)], state);
	}
}

/**
 * transient_memmap_check_range() - can a range be registered?
 * @range: physical memory
 * @transient: as a transient range, or else with a memmap
 *
 * Ask before anything is done, for a clean error, and again under the lock.
 *
 * Context: Process context. The answer is final between mem_hotplug_begin() and
 *	mem_hotplug_done().
 * Return: 0, or with a message
 *	-EINVAL if a transient range is not a multiple of a subsection in size
 *	and start;
 *	-EBUSY if it overlaps another transient range, or shares a section with
 *	the other kind.
 */
int transient_memmap_check_range(const struct range *range, bool transient)
{
	unsigned long start = PHYS_PFN(range->start);
	unsigned long last = PHYS_PFN(range->end);
	struct mem_section *ms;
	unsigned long pfn, next;
	bool shared;

	if (transient &&
	    (range->end < range->start ||
	     !IS_ALIGNED(range->start | (range->end + 1), SUBSECTION_SIZE))) {
		pr_err("pfn %#lx-%#lx: not aligned to %lu MiB\n", start, last,
		       SUBSECTION_SIZE / SZ_1M);
		return -EINVAL;
	}
	for (pfn = block_start(start); pfn <= last; pfn = next) {
		ms = __pfn_to_section(pfn);
		shared = ms && rcu_access_pointer(ms->transient);
		if (transient ? valid_section(ms) : shared) {
			pr_err("pfn %#lx-%#lx: section of %#lx has a %smemmap\n",
			       start, last, pfn,
			       transient ? "" : "transient ");
			return -EBUSY;
		}
		if (shared && pfn_is_transient(pfn)) {
			pr_err("pfn %#lx-%#lx: %#lx is registered already\n",
			       start, last, pfn);
			return -EBUSY;
		}
		/* If nobody has a part of it, one look at a section will do. */
		next = shared ? pfn + BIT(TRANSIENT_BLOCK_ORDER) :
				SECTION_ALIGN_DOWN(pfn) + PAGES_PER_SECTION;
	}
	return 0;
}

/**
 * transient_memmap_add_range() - put a range under the care of its pool
 * @pgmap: with a pool
 * @range_id: which of its ranges
 *
 * Context: Process context, between mem_hotplug_begin() and mem_hotplug_done().
 * Return: 0, -ENOMEM, or an error of transient_memmap_check_range() or
 *	transient_direct_map_add().
 */
int transient_memmap_add_range(struct dev_pagemap *pgmap, int range_id)
{
	struct transient_pool *pool = pgmap->transient_pool;
	const struct range *range = &pgmap->ranges[range_id];
	unsigned long start = PHYS_PFN(range->start);
	unsigned long end = PHYS_PFN(range->end + 1), pfn;
	int err;

	err = transient_memmap_check_range(range, true);
	if (err)
		return err;
	if (pool->direct_map) {
		err = transient_direct_map_add(pool, start, end);
		if (err)
			return err;
	}
	for (pfn = SECTION_ALIGN_DOWN(start); pfn < end;
	     pfn += PAGES_PER_SECTION) {
		err = section_add(pool, pfn);
		if (err)
			goto err_sections;
		cond_resched();
	}
	set_states(start, end, BLOCK_ABSENT);
	return 0;

err_sections:
	remove_sections(SECTION_ALIGN_DOWN(start), pfn);
	if (pool->direct_map)
		transient_direct_map_remove(start, end);
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
	const struct range *range = &pgmap->ranges[range_id];
	unsigned long start = PHYS_PFN(range->start);
	unsigned long end = PHYS_PFN(range->end + 1);

	set_states(start, end, BLOCK_NONE);
	remove_sections(SECTION_ALIGN_DOWN(start), SECTION_ALIGN_UP(end));
	if (pgmap->transient_pool->direct_map)
		transient_direct_map_remove(start, end);
}

/**
 * pfn_is_transient() - is a page part of a transient range?
 * @pfn: any
 *
 * Context: Any. It is for the caller to know that the range does not go.
 * Return: true if so.
 */
bool pfn_is_transient(unsigned long pfn)
{
	if (!transient_memmap_enabled())
		return false;
	guard(rcu)();
	return pfn_block_state(pfn) != BLOCK_NONE;
}
EXPORT_SYMBOL_GPL(pfn_is_transient);

/**
 * pfn_has_struct_page() - does this pfn have a struct page, if only for now?
 * @pfn: any
 *
 * Context: Any. The answer holds until the end of the caller's RCU read-side
 *	section, or for as long as the caller has a reference on the page.
 * Return: true if so.
 */
bool pfn_has_struct_page(unsigned long pfn)
{
	enum transient_block_state state;

	if (pfn_valid(pfn) || !transient_memmap_enabled())
		return pfn_valid(pfn);
	guard(rcu)();
	state = pfn_block_state(pfn);
	return state == BLOCK_LIVE || state == BLOCK_LIVE_POISONED;
}
EXPORT_SYMBOL_GPL(pfn_has_struct_page);
