// SPDX-License-Identifier: GPL-2.0
/*
 * Transient struct pages: the slow path of GUP
 *
 * A missing struct page is handled like a missing page table entry: drop the
 * page table lock, populate, look at the entry again. GUP-fast has its part in
 * mm/gup.c.
 */
#include "internal.h"

/**
 * vma_is_transient() - do all pfns of a mapping lie in transient ranges?
 * @vma: any
 *
 * Context: mmap_lock or the VMA's lock is held.
 * Return: true if the provider of the mapping says so.
 */
bool vma_is_transient(const struct vm_area_struct *vma)
{
	return !vma_test(vma, VMA_IO_BIT) &&
	       vma_test_all(vma, VMA_PFNMAP_BIT, VMA_TRANSIENT_BIT,
			    VMA_MAYSHARE_BIT);
}
EXPORT_SYMBOL_GPL(vma_is_transient);

/**
 * transient_memmap_may_pin() - may GUP go on in this mapping?
 * @vma: has VM_PFNMAP or VM_IO
 * @gup_flags: of the caller
 *
 * Refused are mappings without struct pages of others, and callers that want no
 * page (populate), that need none (KVM), or that would have one made for every
 * page there is (core dump).
 *
 * Context: mmap_lock or the VMA's lock is held.
 * Return: true if so.
 */
bool transient_memmap_may_pin(struct vm_area_struct *vma,
			      unsigned int gup_flags)
{
	return vma_is_transient(vma) &&
	       (gup_flags & (FOLL_GET | FOLL_PIN)) &&
	       !(gup_flags & (FOLL_DUMP | FOLL_NO_TRANSIENT));
}

/*
 * The end of a walk. @page has a reference that keeps its folio while it is
 * grabbed the way @flags ask for; @nr_pages is what the entry maps.
 */
static struct page *grab_page(struct page *page, unsigned int flags,
			      unsigned long nr_pages, unsigned long *page_mask)
{
	struct folio *folio = page_folio(page);
	bool pinnable;
	int ret;

	ret = try_grab_folio(folio, 1, flags);
	folio_put(folio);
	if (ret)
		return ERR_PTR(ret);

	folio_set_referenced(folio);
	/* If a page has a memory error, it may be the next: ask for each. */
	scoped_guard(rcu)
		pinnable = block_pinnable(page_to_pfn(page));
	*page_mask = pinnable ? min(nr_pages, folio_nr_pages(folio)) - 1 : 0;
	return page;
}

/**
 * transient_memmap_follow() - get the page of an entry, if it has a struct page
 * @pfn: what the entry maps at the address
 * @writable: whether the entry is
 * @flags: of GUP
 * @nr_pages: how many the entry maps
 * @page_mask: set to the number of pages, less one, that the caller may take
 *	references on by this one
 *
 * Long-term pins always take transient_memmap_faultin(), which may refuse them.
 *
 * Context: The page table lock is held.
 * Return: the page, grabbed as @flags ask for; NULL if the entry has to be made
 *	writable by a fault; or an ERR_PTR(): -ENODATA if the struct page is
 *	missing, or an error of try_grab_folio().
 */
struct page *transient_memmap_follow(unsigned long pfn, bool writable,
				     unsigned int flags, unsigned long nr_pages,
				     unsigned long *page_mask)
{
	struct page *page = NULL;

	if ((flags & FOLL_WRITE) && !writable)
		return NULL;
	if (!(flags & FOLL_LONGTERM))
		page = transient_memmap_try_get(pfn);
	if (!page)
		return ERR_PTR(-ENODATA);
	return grab_page(page, flags, nr_pages, page_mask);
}

/* Is there an entry that allows what @flags say? */
static bool follow_entry(struct follow_pfnmap_args *args, unsigned int flags)
{
	if (follow_pfnmap_start(args))
		return false;
	follow_pfnmap_end(args);
	return !(flags & FOLL_WRITE) || args->writable;
}

/**
 * transient_memmap_faultin() - populate the block that an address maps
 * @vma: transient_memmap_may_pin() it
 * @address: where transient_memmap_follow() found no struct page
 * @flags: of GUP
 * @page_mask: as for transient_memmap_follow()
 *
 * This is no fault, so FOLL_NOFAULT does not forbid it: a caller that can't
 * have a fault brings the entry about by one, and tries again, for ever if that
 * were not enough.
 *
 * While no lock is held, the provider may take the entry away, and the memory
 * back, and give it to others. So the entry is looked at again. If it is there
 * when we have a reference, then the provider, which first takes away entries
 * and then waits for references, waits for ours.
 *
 * Context: Process context, may sleep; mmap_lock or the VMA's lock is held.
 * Return: the page, grabbed as @flags ask for; NULL if the entry has gone, and
 *	must be faulted in again; or an error of transient_memmap_populate() or
 *	try_grab_folio().
 */
struct page *transient_memmap_faultin(struct vm_area_struct *vma,
				      unsigned long address, unsigned int flags,
				      unsigned long *page_mask)
{
	struct follow_pfnmap_args args = { .vma = vma, .address = address };
	struct page *page;
	unsigned long pfn;

	if (!follow_entry(&args, flags))
		return NULL;
	pfn = args.pfn;

	page = transient_memmap_populate(pfn, flags);
	if (IS_ERR(page))
		return page;

	if (!follow_entry(&args, flags) || args.pfn != pfn) {
		folio_put(page_folio(page));
		return NULL;
	}
	return grab_page(page, flags, (~args.addr_mask >> PAGE_SHIFT) + 1,
			 page_mask);
}

/**
 * transient_memmap_pin() - pin a page that the caller holds
 * @pfn: see transient_memmap_hold()
 * @gup_flags: FOLL_LONGTERM for a pin that may be there to stay
 *
 * For a user of pfns that has to look at the memory, or to give a page to
 * others.
 *
 * Context: Process context, may sleep; mmap_lock may be held.
 * Return: the page, for unpin_user_page(), or an ERR_PTR() as of
 *	transient_memmap_populate().
 */
struct page *transient_memmap_pin(unsigned long pfn, unsigned int gup_flags)
{
	struct page *page = transient_memmap_populate(pfn, gup_flags);
	unsigned long page_mask;

	if (IS_ERR(page))
		return page;
	return grab_page(page, gup_flags | FOLL_PIN, 1, &page_mask);
}
EXPORT_SYMBOL_GPL(transient_memmap_pin);
