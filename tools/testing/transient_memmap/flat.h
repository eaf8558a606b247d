/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For growth.c: struct pages that are there all the time, a page allocator and
 * a TLB flush that take as long whatever there is
 *
 * Nothing is mapped: as with the kernel's page tables, it takes eight stores to
 * make the struct pages of a block. A page has no memory of its own, but is at
 * the address where it is mapped, or was last.
 */
#define page_address(p)			((void *)(p)->index)

static inline struct page *alloc_pages_node(int nid, int gfp, int order)
{
	/* Where pages are written that were not mapped yet */
	static char unmapped[64][PAGE_SIZE];
	static unsigned long next;
	struct page *page;
	int zero;

	do {
		page = ram + __atomic_fetch_add(&next, 1, 0) % NR_RAM;
		zero = 0;
	} while (!atomic_try_cmpxchg(&page->_refcount, &zero, 1));
	__atomic_add_fetch(&nr_pages, 1, 0);
	page->index = (unsigned long)unmapped[(page - ram) % 64];
	return page;
}

static inline void __free_page(struct page *page)
{
	atomic_set(&page->_refcount, 0);
	__atomic_sub_fetch(&nr_pages, 1, 0);
}

static inline void set_pte_at(void *mm, unsigned long addr, pte_t *ptep,
			      pte_t pte)
{
	*ptep = pte;
	if (!(pte.val & PAGE_KERNEL_RO))
		pte_page(pte)->index = addr;
}

static inline void pte_clear(void *mm, unsigned long addr, pte_t *ptep)
{
	ptep->val = 0;
}

static inline void flush_tlb_kernel_range(unsigned long start,
					  unsigned long end)
{
	flush_begin();
}
