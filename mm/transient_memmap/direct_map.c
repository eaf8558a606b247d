// SPDX-License-Identifier: GPL-2.0
/*
 * Transient struct pages: the direct map of what is pinned
 *
 * A range that is registered with PGMAP_TRANSIENT_DIRECT_MAP has no part in the
 * kernel's direct map. A block of it is mapped, by one PMD entry, for as long
 * as it has struct pages: whoever has a struct page may ask for its address,
 * and nobody else has business there.
 *
 * Such ranges consist of whole GiB, so that nobody else's memory is mapped by
 * the same page tables. Those are made when the range is registered, 4 KiB for
 * each GiB, so that a pin allocates none.
 */
#define pr_fmt(fmt) "transient_memmap: " fmt

#include "internal.h"

#define PAGES_PER_TABLE		(PUD_SIZE / PAGE_SIZE)

static unsigned long direct_addr(unsigned long pfn)
{
	return (unsigned long)__va(PFN_PHYS(pfn));
}

/* The tables above it were made by direct_add_upper_tables(). */
static pud_t *direct_pud(unsigned long pfn)
{
	unsigned long addr = direct_addr(pfn);

	return pud_offset(p4d_offset(pgd_offset_k(addr), addr), addr);
}

static int direct_add_upper_tables(unsigned long pfn)
{
	unsigned long addr = direct_addr(pfn);
	pgd_t *pgd = pgd_offset_k(addr);
	p4d_t *p4d;
	pud_t *pud;

	if (pgd_none(*pgd)) {
		p4d = p4d_alloc_one(&init_mm, addr);
		if (!p4d)
			return -ENOMEM;
		pgd_populate_kernel(addr, pgd, p4d);
	}
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(*p4d)) {
		pud = pud_alloc_one(&init_mm, addr);
		if (!pud)
			return -ENOMEM;
		p4d_populate_kernel(addr, p4d, pud);
	}
	return 0;
}

/* Make the page table of a GiB. */
static int direct_add_table(unsigned long pfn)
{
	int err = direct_add_upper_tables(pfn);

	if (err)
		return err;
	if (!pud_none(*direct_pud(pfn))) {
		pr_err("pfn %#lx: is in the direct map\n", pfn);
		return -EBUSY;
	}
	return pmd_alloc(&init_mm, direct_pud(pfn), direct_addr(pfn)) ? 0 :
								       -ENOMEM;
}

/**
 * transient_direct_map_add() - get ready to map blocks of a range
 * @pool: its pool
 * @start: first pfn
 * @end: the pfn after the last
 *
 * Context: Process context, between mem_hotplug_begin() and mem_hotplug_done().
 * Return: 0, or
 *	-EINVAL if the range is not a multiple of 1 GiB in size and start;
 *	-EBUSY if a part of it is mapped already;
 *	-ENOMEM.
 */
int transient_direct_map_add(struct transient_pool *pool, unsigned long start,
			     unsigned long end)
{
	unsigned long pfn;
	int err;

	if (!IS_ALIGNED(start | end, PAGES_PER_TABLE)) {
		pr_err("pfn %#lx-%#lx: not aligned to %lu MiB, for a transient direct map\n",
		       start, end - 1, PUD_SIZE / SZ_1M);
		return -EINVAL;
	}
	for (pfn = start; pfn < end; pfn += PAGES_PER_TABLE) {
		err = direct_add_table(pfn);
		if (err) {
			transient_direct_map_remove(start, pfn);
			return err;
		}
		pool->table_bytes += PAGE_SIZE;
	}
	return 0;
}

/**
 * transient_direct_map_remove() - undo transient_direct_map_add()
 * @start: first pfn
 * @end: the pfn after the last; no block is mapped
 *
 * Context: Process context, between mem_hotplug_begin() and mem_hotplug_done(),
 *	which also keeps ptdump from walking the tables.
 */
void transient_direct_map_remove(unsigned long start, unsigned long end)
{
	struct ptdesc *table, *tmp;
	unsigned long pfn;
	LIST_HEAD(tables);

	for (pfn = start; pfn < end; pfn += PAGES_PER_TABLE) {
		pud_t *pud = direct_pud(pfn);

		table = virt_to_ptdesc(pmd_offset(pud, 0));
		scoped_guard(spinlock, &init_mm.page_table_lock)
			pud_clear(pud);
		mm_dec_nr_pmds(&init_mm);
		list_add(&table->pt_list, &tables);
	}
	/* The hardware may still use them, and caches their addresses. */
	flush_tlb_all();
	list_for_each_entry_safe(table, tmp, &tables, pt_list)
		pmd_free(&init_mm, ptdesc_address(table));
}

/**
 * transient_direct_map_owns() - whether a page is mapped only while pinned
 * @pfn: any
 *
 * Whoever changes the attributes of a page in the direct map has to leave it
 * alone: it may be mapped or unmapped at any moment, together with its block.
 *
 * Context: Any.
 * Return: true if so.
 */
bool transient_direct_map_owns(unsigned long pfn)
{
	struct transient_section *sec;

	guard(rcu)();
	sec = pfn_transient_section(pfn);
	return sec && sec->direct;
}
EXPORT_SYMBOL_GPL(transient_direct_map_owns);
