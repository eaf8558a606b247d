/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Transient struct pages for memory without a memmap.
 *
 * Here is what a provider of such memory needs: a driver that registers a
 * dev_pagemap of type MEMORY_DEVICE_TRANSIENT with memremap_pages() and maps
 * its memory VM_PFNMAP, with vm_operations_struct.transient_memmap set.
 * See Documentation/mm/transient_memmap.rst.
 */
#ifndef _LINUX_TRANSIENT_MEMMAP_H
#define _LINUX_TRANSIENT_MEMMAP_H

#include <linux/mm.h>

struct dev_pagemap;

/*
 * Struct pages that fill a page of vmemmap: 64 of them, 256 KiB of memory, where a
 * struct page has 64 bytes.
 */
#define TRANSIENT_SLOT_ORDER	(PAGE_SHIFT - order_base_2(sizeof(struct page)))

/*
 * A block is the memory that gets, and loses, its struct pages at a time, and one
 * folio. All blocks of a pool have the same order: 9 (2 MiB) if the provider says
 * by dev_pagemap.vmemmap_shift that it maps the memory by entries of that size or
 * larger, and the kernel has CONFIG_HUGETLB_PAGE_OPTIMIZE_VMEMMAP; otherwise that
 * of a page of vmemmap.
 */
#define TRANSIENT_BLOCK_MAX_ORDER	(PMD_SHIFT - PAGE_SHIFT)

/*
 * A flag of dev_pagemap, for MEMORY_DEVICE_TRANSIENT: the memory of a block is in
 * the direct map only while it has struct pages. Needs blocks of 2 MiB, and ranges
 * of whole GiB.
 */
#define PGMAP_TRANSIENT_DIRECT_MAP	BIT(1)

/**
 * struct transient_memmap_stats - what a pool holds and has done
 * @block_size: bytes of memory that a block is; each that is live costs a page
 * @cap: the most blocks that may be live at a time
 * @cache: the most blocks that are kept for reuse
 * @longterm_cap: the most blocks that long-term pins may make stay
 * @live: blocks that have struct pages now, or are getting or losing them
 * @cached: of these, blocks that are kept, whether pinned now or not
 * @longterm: of these, blocks that had a long-term pin since they were populated
 * @peak: the highest value of @live since the pool was made
 * @populated: blocks that were given struct pages since the pool was made
 * @freed: blocks that lost them again
 * @failed: pins refused because of @cap or for want of memory
 * @flushes: TLB flushes for @freed blocks
 */
struct transient_memmap_stats {
	unsigned long block_size;
	unsigned long cap;
	unsigned long cache;
	unsigned long longterm_cap;
	unsigned long live;
	unsigned long cached;
	unsigned long longterm;
	unsigned long peak;
	unsigned long populated;
	unsigned long freed;
	unsigned long failed;
	unsigned long flushes;
};

#ifdef CONFIG_TRANSIENT_MEMMAP
bool transient_memmap_owns(unsigned long pfn);
bool transient_direct_map_owns(unsigned long pfn);
int transient_memmap_set_cap(struct dev_pagemap *pgmap, unsigned long cap);
int transient_memmap_set_cache(struct dev_pagemap *pgmap, unsigned long cache);
int transient_memmap_set_longterm_cap(struct dev_pagemap *pgmap,
				      unsigned long cap);
int transient_memmap_get_stats(struct dev_pagemap *pgmap,
			       struct transient_memmap_stats *stats);
#else
static inline bool transient_memmap_owns(unsigned long pfn)
{
	return false;
}

static inline bool transient_direct_map_owns(unsigned long pfn)
{
	return false;
}

static inline int transient_memmap_set_cap(struct dev_pagemap *pgmap,
					   unsigned long cap)
{
	return -EOPNOTSUPP;
}

static inline int transient_memmap_set_cache(struct dev_pagemap *pgmap,
					     unsigned long cache)
{
	return -EOPNOTSUPP;
}

static inline int transient_memmap_set_longterm_cap(struct dev_pagemap *pgmap,
						    unsigned long cap)
{
	return -EOPNOTSUPP;
}

static inline int transient_memmap_get_stats(struct dev_pagemap *pgmap,
					     struct transient_memmap_stats *stats)
{
	return -EOPNOTSUPP;
}
#endif /* CONFIG_TRANSIENT_MEMMAP */

#endif /* _LINUX_TRANSIENT_MEMMAP_H */
