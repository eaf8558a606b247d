// SPDX-License-Identifier: GPL-2.0
/*
 * Transient struct pages: the direct map of what is pinned
 *
 * A range that is registered with PGMAP_TRANSIENT_DIRECT_MAP has no part in the
 * kernel's direct map.  A block of it is mapped, by one PMD entry, for as long as
 * it has struct pages: who gets hold of a struct page may ask for its address, and
 * who can't get one has no business there.
 *
 * Such ranges consist of whole GiB, so that nobody else's memory is mapped by the
 * same page table.  The page table of a GiB comes and goes with the sections in
 * it that have blocks, under the lock that serialises their making and freeing.
 * The tables above it are made when the range is registered. With five levels,
 * arch code frees one that is empty; so there is a section that keeps its table
 * below each, see range_add_tables().
 */
#define pr_fmt(fmt) "transient_memmap: " fmt

#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/pgalloc.h>
#include <linux/pgtable.h>
#include <asm/tlbflush.h>
#include "transient_memmap.h"

static unsigned long direct_addr(unsigned long pfn)
{
	return (unsigned long)__va(PFN_PHYS(pfn));
}

/* The tables above it were made by transient_direct_map_add(). */
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

/**
 * transient_direct_map_end() - how far the tables above a page reach
 * @pfn: first pfn of a section
 *
 * Context: Any.
 * Return: the first pfn that is mapped by others.
 */
unsigned long transient_direct_map_end(unsigned long pfn)
{
	unsigned long addr = direct_addr(pfn);

	return pfn + PHYS_PFN(ALIGN(addr + 1, P4D_SIZE) - addr);
}

/**
 * transient_direct_map_add() - get ready to map blocks of a range
 * @start: first pfn
 * @last: last pfn
 *
 * Context: Process context, between mem_hotplug_begin() and mem_hotplug_done().
 * Return: 0, or
 *	-EINVAL if the range is not a multiple of 1 GiB in size and start;
 *	-EBUSY if a part of it is mapped already;
 *	-ENOMEM.
 */
int transient_direct_map_add(unsigned long start, unsigned long last)
{
	unsigned long pfn;
	int err;

	if (!IS_ALIGNED(start | (last + 1), PUD_SIZE / PAGE_SIZE)) {
		pr_err("pfn %#lx-%#lx: not aligned to %lu MiB, for a transient direct map\n",
		       start, last, PUD_SIZE / SZ_1M);
		return -EINVAL;
	}
	for (pfn = start; pfn <= last; pfn += PUD_SIZE / PAGE_SIZE) {
		err = direct_add_upper_tables(pfn);
		if (err)
			return err;
		if (!pud_none(*direct_pud(pfn))) {
			pr_err("pfn %#lx: is in the direct map\n", pfn);
			return -EBUSY;
		}
	}
	return 0;
}

/**
 * transient_direct_map_table() - make the page table for a section
 * @pfn: first pfn of the section
 *
 * Context: Process context, may sleep. The caller keeps others from making or
 *	freeing the same table.
 * Return: the entry of @pfn in it, or NULL if out of memory.
 */
pmd_t *transient_direct_map_table(unsigned long pfn)
{
	return pmd_alloc(&init_mm, direct_pud(pfn), direct_addr(pfn));
}

/**
 * transient_direct_map_cut() - take the page table of a GiB out
 * @pfn: any pfn of it
 * @tables: where to add the table, if there is one, for transient_direct_map_free()
 *
 * No block of it is mapped. The table may be in use by the hardware until the
 * caller has flushed the TLB everywhere.
 *
 * Context: Process context. The caller keeps others from making or freeing the
 *	same table, and ptdump from walking it.
 */
void transient_direct_map_cut(unsigned long pfn, struct list_head *tables)
{
	pud_t *pud = direct_pud(pfn);
	pmd_t *table;

	if (pud_none(*pud))
		return;
	table = pmd_offset(pud, 0);
	spin_lock(&init_mm.page_table_lock);
	pud_clear(pud);
	spin_unlock(&init_mm.page_table_lock);
	mm_dec_nr_pmds(&init_mm);
	list_add(&virt_to_ptdesc(table)->pt_list, tables);
}

/**
 * transient_direct_map_free() - free what was cut
 * @tables: by transient_direct_map_cut(), before the last TLB flush
 *
 * Context: Process context.
 */
void transient_direct_map_free(struct list_head *tables)
{
	struct ptdesc *table, *tmp;

	list_for_each_entry_safe(table, tmp, tables, pt_list)
		pmd_free(&init_mm, ptdesc_address(table));
}

/**
 * transient_direct_map_block() - put a block into the direct map
 * @pmd: its entry
 * @pfn: its first pfn
 *
 * Nothing was mapped there since the last flush, so none is needed.
 *
 * Context: Any. The caller has the block to itself.
 */
void transient_direct_map_block(pmd_t *pmd, unsigned long pfn)
{
	set_pmd(pmd, pmd_mkhuge(pfn_pmd(pfn, PAGE_KERNEL)));
}

/**
 * transient_direct_unmap_block() - take it out again
 * @pmd: its entry
 *
 * Context: Any. The caller has the block to itself, and flushes the TLB.
 */
void transient_direct_unmap_block(pmd_t *pmd)
{
	pmd_clear(pmd);
}
