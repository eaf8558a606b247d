/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How the rest of mm/ reaches the pool of transient struct pages.
 */
#ifndef _MM_TRANSIENT_MEMMAP_H
#define _MM_TRANSIENT_MEMMAP_H

#include <linux/jump_label.h>
#include <linux/memremap.h>
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

/* For memremap_pages() */
int transient_memmap_create_pool(struct dev_pagemap *pgmap);
void transient_memmap_destroy_pool(struct dev_pagemap *pgmap);
int transient_memmap_check_range(const struct range *range);
int transient_memmap_add_range(struct dev_pagemap *pgmap, int range_id,
			       int nid);
void transient_memmap_remove_range(struct dev_pagemap *pgmap, int range_id);
void transient_memmap_free_folio(struct folio *folio);
bool transient_memmap_owns_section(u64 start, u64 size);

/* For GUP */
struct page *transient_memmap_try_get(unsigned long pfn);
struct page *transient_memmap_populate(unsigned long pfn);

#if IS_ENABLED(CONFIG_KUNIT)
struct page *transient_block_page_alloc(int nid);
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

static inline int transient_memmap_create_pool(struct dev_pagemap *pgmap)
{
	return -EOPNOTSUPP;
}

static inline void transient_memmap_destroy_pool(struct dev_pagemap *pgmap)
{
}

static inline int transient_memmap_check_range(const struct range *range)
{
	return -EOPNOTSUPP;
}

static inline int transient_memmap_add_range(struct dev_pagemap *pgmap,
					     int range_id, int nid)
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

static inline struct page *transient_memmap_populate(unsigned long pfn)
{
	return ERR_PTR(-EFAULT);
}

#endif /* CONFIG_TRANSIENT_MEMMAP */

#endif /* _MM_TRANSIENT_MEMMAP_H */
