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
 * A block is the memory whose struct pages fill one page of vmemmap, and one
 * folio: order 6 (256 KiB) where a struct page has 64 bytes.
 */
#define TRANSIENT_BLOCK_ORDER	(PAGE_SHIFT - order_base_2(sizeof(struct page)))
#define TRANSIENT_BLOCK_NR	BIT(TRANSIENT_BLOCK_ORDER)
#define TRANSIENT_BLOCK_SIZE	(PAGE_SIZE << TRANSIENT_BLOCK_ORDER)

/**
 * struct transient_memmap_stats - what a pool holds and has done
 * @cap: the most blocks that may be live at a time
 * @live: blocks that have struct pages now, or are getting or losing them;
 *	each costs one page of memory
 * @peak: the highest value of @live since the pool was made
 * @populated: blocks that were given struct pages since the pool was made
 * @failed: pins refused because of @cap or for want of memory
 */
struct transient_memmap_stats {
	unsigned long cap;
	unsigned long live;
	unsigned long peak;
	unsigned long populated;
	unsigned long failed;
};

#ifdef CONFIG_TRANSIENT_MEMMAP
int transient_memmap_set_cap(struct dev_pagemap *pgmap, unsigned long cap);
int transient_memmap_get_stats(struct dev_pagemap *pgmap,
			       struct transient_memmap_stats *stats);
#else
static inline int transient_memmap_set_cap(struct dev_pagemap *pgmap,
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
