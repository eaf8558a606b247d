/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tests of the pool of transient struct pages do alike in a kernel and in
 * user space: for transient_memmap_kunit.c, and for the tests and the fuzzer of
 * tools/testing/transient_memmap. They define EXPECT() and alloc_pgmap() first,
 * which returns a pgmap without ranges, with room for two.
 */

#define stat_of(pgmap, stat)	\
	transient_memmap_stat(pgmap, TRANSIENT_MEMMAP_##stat)
#define set_limit(pgmap, limit, value)	\
	EXPECT(!transient_memmap_set_limit(pgmap, TRANSIENT_MEMMAP_##limit, \
					   value))

static void pgmap_add(struct dev_pagemap *pgmap, unsigned long pfn,
		      unsigned long nr)
{
	struct range *range = &pgmap->ranges[pgmap->nr_range++];

	range->start = PFN_PHYS(pfn);
	range->end = PFN_PHYS(pfn + nr) - 1;
}

static struct dev_pagemap *new_pgmap(unsigned long pfn, unsigned long nr)
{
	struct dev_pagemap *pgmap = alloc_pgmap();

	pgmap->type = MEMORY_DEVICE_TRANSIENT;
	pgmap_add(pgmap, pfn, nr);
	return pgmap;
}
