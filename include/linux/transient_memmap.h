/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Transient struct pages for memory without a memmap
 *
 * This is what a provider of such memory needs: a driver that registers a
 * dev_pagemap of type MEMORY_DEVICE_TRANSIENT with memremap_pages(), and maps
 * its memory VM_PFNMAP with VMA_TRANSIENT_BIT set.
 * See Documentation/mm/transient_memmap.rst.
 */
#ifndef _LINUX_TRANSIENT_MEMMAP_H
#define _LINUX_TRANSIENT_MEMMAP_H

#include <linux/mm.h>

struct dev_pagemap;
struct device;

/* A block is the memory that gets, and loses, its struct pages at a time. */
#define TRANSIENT_BLOCK_ORDER	(PMD_SHIFT - PAGE_SHIFT)
#define TRANSIENT_BLOCK_SIZE	(PAGE_SIZE << TRANSIENT_BLOCK_ORDER)

/*
 * A flag of dev_pagemap, for MEMORY_DEVICE_TRANSIENT: the memory of a block is
 * in the direct map only while it has struct pages. Needs ranges of whole GiB.
 */
#define PGMAP_TRANSIENT_DIRECT_MAP	BIT(1)

/**
 * enum transient_memmap_limit - what an operator sets
 * @TRANSIENT_MEMMAP_CAP: the most blocks that may be live at a time; 0 refuses
 *	all pins that would populate one
 * @TRANSIENT_MEMMAP_CACHE: the most blocks that stay live when they are idle;
 *	with 0, a block is freed after its last unpin
 * @TRANSIENT_MEMMAP_LONGTERM: whether FOLL_LONGTERM pins are allowed: 0 or 1
 */
enum transient_memmap_limit {
	TRANSIENT_MEMMAP_CAP,
	TRANSIENT_MEMMAP_CACHE,
	TRANSIENT_MEMMAP_LONGTERM,
	/* private: */
	NR_TRANSIENT_MEMMAP_LIMITS,
};

/**
 * enum transient_memmap_stat - what a pool holds and has done
 * @TRANSIENT_MEMMAP_LIVE: blocks that have struct pages now, or are getting or
 *	losing them
 * @TRANSIENT_MEMMAP_CACHED: of these, blocks that the pool keeps for their next
 *	pin, whether they are pinned now or not
 * @TRANSIENT_MEMMAP_PEAK: the highest value of live since the pool was made
 * @TRANSIENT_MEMMAP_POPULATED: blocks that were given struct pages
 * @TRANSIENT_MEMMAP_FREED: blocks that lost them again
 * @TRANSIENT_MEMMAP_FAILED: pins refused because of the cap, or for want of
 *	memory
 * @TRANSIENT_MEMMAP_FLUSHES: TLB flushes for blocks of all pools together
 * @TRANSIENT_MEMMAP_HELD: pages that are held, each as often as it is
 * @TRANSIENT_MEMMAP_BYTES: memory that struct pages and static tables take now
 */
enum transient_memmap_stat {
	TRANSIENT_MEMMAP_LIVE,
	TRANSIENT_MEMMAP_CACHED,
	TRANSIENT_MEMMAP_PEAK,
	TRANSIENT_MEMMAP_POPULATED,
	TRANSIENT_MEMMAP_FREED,
	TRANSIENT_MEMMAP_FAILED,
	TRANSIENT_MEMMAP_FLUSHES,
	TRANSIENT_MEMMAP_HELD,
	TRANSIENT_MEMMAP_BYTES,
	/* private: */
	NR_TRANSIENT_MEMMAP_STATS,
};

extern const char * const transient_memmap_stat_names[];

/**
 * struct transient_owner_ops - who pays for the struct pages of a block
 * @charge: called before they are made. May sleep until the deadline in
 *	jiffies, with mmap_lock held. Returns the owner who has the memory, NULL
 *	if nobody is to pay, or an ERR_PTR() for the pin that wants them. Sets
 *	keep to false if the pool shall not keep them for the next pin.
 * @uncharge: called with that owner when they have gone, in process context
 *
 * By this a provider has a cap for each owner of a part of the memory. An owner
 * has to outlive what it was charged with, as the memory may change hands
 * before the struct pages go. Then the new one has them for nothing.
 */
struct transient_owner_ops {
	void *(*charge)(struct dev_pagemap *pgmap, unsigned long pfn,
			unsigned long deadline, bool *keep);
	void (*uncharge)(void *owner);
};

#ifdef CONFIG_TRANSIENT_MEMMAP
bool vma_is_transient(const struct vm_area_struct *vma);
bool pfn_is_transient(unsigned long pfn);
bool transient_direct_map_owns(unsigned long pfn);
bool transient_has_poison(unsigned long pfn, unsigned long nr);
bool transient_memmap_in_use(unsigned long pfn);
int transient_memmap_hold(unsigned long pfn, unsigned long nr);
long transient_memmap_hold_user(struct mm_struct *mm, unsigned long addr,
				unsigned long nr, bool write,
				unsigned long *pfn);
unsigned long transient_memmap_release(unsigned long pfn, unsigned long nr);
struct page *transient_memmap_pin(unsigned long pfn, unsigned int gup_flags);
unsigned long transient_memmap_get_limit(const struct dev_pagemap *pgmap,
					 enum transient_memmap_limit limit);
int transient_memmap_set_limit(struct dev_pagemap *pgmap,
			       enum transient_memmap_limit limit,
			       unsigned long value);
unsigned long transient_memmap_stat(const struct dev_pagemap *pgmap,
				    enum transient_memmap_stat stat);
int devm_transient_memmap_sysfs(struct device *dev, struct dev_pagemap *pgmap);
void transient_memmap_set_owner_ops(struct dev_pagemap *pgmap,
				    const struct transient_owner_ops *ops);
vm_fault_t vmf_insert_transient_pfn(struct vm_fault *vmf, unsigned long pfn,
				    unsigned int order);
#else
static inline bool vma_is_transient(const struct vm_area_struct *vma)
{
	return false;
}

static inline bool pfn_is_transient(unsigned long pfn)
{
	return false;
}

static inline bool transient_direct_map_owns(unsigned long pfn)
{
	return false;
}

static inline bool transient_has_poison(unsigned long pfn, unsigned long nr)
{
	return false;
}

static inline bool transient_memmap_in_use(unsigned long pfn)
{
	return false;
}

static inline int transient_memmap_hold(unsigned long pfn, unsigned long nr)
{
	return -ENXIO;
}

static inline long transient_memmap_hold_user(struct mm_struct *mm,
					      unsigned long addr,
					      unsigned long nr, bool write,
					      unsigned long *pfn)
{
	return -EFAULT;
}

static inline unsigned long transient_memmap_release(unsigned long pfn,
						     unsigned long nr)
{
	return 0;
}

static inline struct page *transient_memmap_pin(unsigned long pfn,
						unsigned int gup_flags)
{
	return ERR_PTR(-EFAULT);
}

static inline int devm_transient_memmap_sysfs(struct device *dev,
					      struct dev_pagemap *pgmap)
{
	return 0;
}

static inline vm_fault_t vmf_insert_transient_pfn(struct vm_fault *vmf,
						  unsigned long pfn,
						  unsigned int order)
{
	return VM_FAULT_SIGBUS;
}
#endif /* CONFIG_TRANSIENT_MEMMAP */

#endif /* _LINUX_TRANSIENT_MEMMAP_H */
