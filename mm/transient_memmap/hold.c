// SPDX-License-Identifier: GPL-2.0
/*
 * Transient struct pages: holds, for users of bare pfns
 *
 * An IOMMU maps pfns, which VFIO takes from page table entries: it needs no
 * struct pages. A hold keeps the range registered meanwhile, so that its memory
 * can't go to somebody else while a device may write to it. Nothing is
 * populated: a hold is a number in the section, and references on the pgmap.
 *
 * A hold is taken under the page table lock, while the entry is seen. The
 * provider first takes away the entries, under the same lock, and then has the
 * pgmap's ref killed and drained. So either the hold finds the ref alive, and
 * the provider waits for it; or there is no entry to be seen. A caller that has
 * pinned the memory need see no entry.
 */
#include "internal.h"

/* The pages from @pfn on that lie in its block, but not more than @nr */
static unsigned int part_of_block(unsigned long pfn, unsigned long nr)
{
	return min(nr, block_start(pfn) + BIT(TRANSIENT_BLOCK_ORDER) - pfn);
}

/* The caller has a reference on the pgmap. */
static int hold_in_block(struct dev_pagemap *pgmap, unsigned long pfn,
			 unsigned int nr)
{
	struct transient_section *sec = section_of(pfn);
	unsigned int *held = &sec->held[block_index(pfn)];

	scoped_guard(spinlock, &sec->lock) {
		if (nr > UINT_MAX - *held)
			return -EOVERFLOW;
		*held += nr;
	}
	percpu_ref_get_many(&pgmap->ref, nr);
	atomic_long_add(nr, &pgmap->transient_pool->nr_held);
	return 0;
}

/* Returns false if nobody holds as much in this block. */
static bool release_in_block(unsigned long pfn, unsigned int nr)
{
	struct transient_section *sec;
	struct dev_pagemap *pgmap;

	/* Without a hold, it may be no transient range, or cease to be one. */
	guard(rcu)();
	sec = pfn_transient_section(pfn);
	if (!sec)
		return false;
	scoped_guard(spinlock, &sec->lock) {
		if (sec->held[block_index(pfn)] < nr)
			return false;
		sec->held[block_index(pfn)] -= nr;
	}
	/* The references are ours from here on: pgmap and pool stay. */
	pgmap = held_dev_pagemap(pfn);
	atomic_long_sub(nr, &pgmap->transient_pool->nr_held);
	percpu_ref_put_many(&pgmap->ref, nr);
	return true;
}

/**
 * transient_memmap_hold() - keep memory of a range from its next owner
 * @pfn: from a page table entry that is seen, or of a page that is pinned
 * @nr: number of pages that the entry maps from there on
 *
 * A hold is counted by pages, so that it can be released in other parts than
 * those in which it was taken. transient_memmap_hold_user() takes one by
 * address.
 *
 * Context: The page table lock is held, or the caller has pinned the pages. Not
 *	in interrupt context.
 * Return: 0, or
 *	-ENXIO if @pfn is in no transient range, or its provider is leaving;
 *	-EFAULT if one of the pages has a memory error;
 *	-EOVERFLOW if a block is held too often.
 */
int transient_memmap_hold(unsigned long pfn, unsigned long nr)
{
	struct dev_pagemap *pgmap = get_dev_pagemap(pfn);
	unsigned long done = 0;
	unsigned int part;
	int err = 0;

	if (!pgmap)
		return -ENXIO;
	/* It has a pgmap, but no section yet, while it is being registered. */
	if (!pfn_is_transient(pfn))
		err = -ENXIO;
	/* A poison that comes later is treated as if the hold came first. */
	else if (transient_has_poison(pfn, nr))
		err = -EFAULT;
	while (!err && done < nr) {
		part = part_of_block(pfn + done, nr - done);
		err = hold_in_block(pgmap, pfn + done, part);
		if (!err)
			done += part;
	}
	if (err)
		transient_memmap_release(pfn, done);
	put_dev_pagemap(pgmap);
	return err;
}
EXPORT_SYMBOL_GPL(transient_memmap_hold);

/**
 * transient_memmap_hold_user() - hold what a process has mapped at an address
 * @mm: the address space of the process
 * @addr: the address, with or without a tag
 * @nr: the most pages to be held
 * @write: whether they will be written to
 * @pfn: set to the pfn of the first page; those of the others follow
 *
 * An entry that is missing, or is not writable yet, is faulted in. A fault may
 * drop mmap_lock, and its entry may go as soon as it was made. So nothing is
 * taken from it: all begins again, with the VMA, until there is an entry that
 * allows what is wanted. The hold is taken before the entry is let go, so the
 * provider waits for it.
 *
 * Context: Process context, may sleep. mmap_lock is held for reading, and may
 *	have been dropped meanwhile: the caller has to look up VMAs again.
 * Return: how many pages are held, no more than the entry maps, to be released
 *	by transient_memmap_release(); or
 *	-EFAULT if vma_is_transient() does not say so of what is mapped there, or
 *	if the mapping can't be read, or written;
 *	-EINTR if the caller is being killed;
 *	or another error of the fault or of transient_memmap_hold().
 */
long transient_memmap_hold_user(struct mm_struct *mm, unsigned long addr,
				unsigned long nr, bool write,
				unsigned long *pfn)
{
	unsigned int flags = FAULT_FLAG_REMOTE | (write ? FAULT_FLAG_WRITE : 0);
	struct vm_area_struct *vma;
	unsigned long last;
	bool unlocked;
	long ret;

	addr = untagged_addr_remote(mm, addr);
	while ((vma = vma_lookup(mm, addr)) && vma_is_transient(vma) &&
	       vma_test(vma, write ? VMA_WRITE_BIT : VMA_READ_BIT)) {
		struct follow_pfnmap_args args = { .vma = vma, .address = addr };

		if (!follow_pfnmap_start(&args)) {
			if (args.writable || !write) {
				*pfn = args.pfn;
				last = args.pfn | ~args.addr_mask >> PAGE_SHIFT;
				nr = min(nr, last - args.pfn + 1);
				ret = transient_memmap_hold(args.pfn, nr);
				follow_pfnmap_end(&args);
				return ret ?: nr;
			}
			follow_pfnmap_end(&args);
		}
		ret = fixup_user_fault(mm, addr, flags, &unlocked);
		if (ret)
			return ret;
	}
	return -EFAULT;
}
EXPORT_SYMBOL_GPL(transient_memmap_hold_user);

/**
 * transient_memmap_release() - undo transient_memmap_hold()
 * @pfn: any
 * @nr: number of pages
 *
 * Memory is given back to its provider after this: the caller has seen to it
 * that no device reaches it any more.
 *
 * Context: Any but interrupt context.
 * Return: how many pages from @pfn on were held, and are not any more; 0 if
 *	@pfn is not, as in no transient range.
 */
unsigned long transient_memmap_release(unsigned long pfn, unsigned long nr)
{
	unsigned long done;
	unsigned int part;

	for (done = 0; done < nr; done += part) {
		part = part_of_block(pfn + done, nr - done);
		if (!release_in_block(pfn + done, part))
			break;
	}
	return done;
}
EXPORT_SYMBOL_GPL(transient_memmap_release);

/* A pin, or only the pool? */
static bool block_is_pinned(struct transient_section *sec, unsigned long pfn)
	__must_hold(&sec->lock)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));
	struct transient_pool *pool = folio->pgmap->transient_pool;

	guard(spinlock)(&pool->lock);
	return folio_ref_count(folio) >
	       !list_empty(&block_page(sec, pfn)->lru);
}

/**
 * transient_memmap_in_use() - is any page of a block pinned or held?
 * @pfn: any of its pages
 *
 * For a provider that gives memory from one owner to the next while the range
 * stays registered. It first removes all entries that map the block, with
 * unmap_mapping_range(), and has no access under way itself. From then on:
 *
 * - GUP's slow path, transient_memmap_hold() and whoever else looks at an entry
 *   under the page table lock has its reference or its hold already, as zapping
 *   the entry took that lock; or it finds no entry.
 * - GUP-fast may have read the entry before, and take its reference now. It
 *   reads the entry again after that, and drops the reference without having
 *   touched the memory.
 * - What populated the block without a lock, transient_memmap_faultin() and
 *   gup_fast_fallback(), looks at the entry again likewise.
 * - A caller that has pinned the block may hold it, and the reverse, before it
 *   lets go. Each takes the section's lock for its hold, and so do we: if the
 *   hold is not there yet, or not any more, then the pin is seen.
 *
 * So once this has said no, nobody reaches the memory before the provider maps
 * it again. It may say yes because of a reference that is only looking; the
 * provider asks again, later. The pool's own reference does not count, as it
 * makes nobody reach the memory.
 *
 * Context: Any but interrupt context.
 * Return: true if so; false also if @pfn is in no transient range.
 */
bool transient_memmap_in_use(unsigned long pfn)
{
	struct transient_section *sec;

	guard(rcu)();
	sec = pfn_transient_section(pfn);
	if (!sec)
		return false;
	guard(spinlock)(&sec->lock);
	if (sec->held[block_index(pfn)])
		return true;
	switch (sec->state[block_index(pfn)]) {
	case BLOCK_POPULATING:
		return true;
	case BLOCK_LIVE:
	case BLOCK_LIVE_POISONED:
		return block_is_pinned(sec, block_start(pfn));
	default:
		return false;
	}
}
EXPORT_SYMBOL_GPL(transient_memmap_in_use);
