/* SPDX-License-Identifier: GPL-2.0 */
/* The machine: memory, its struct pages, page tables that map, and a TLB. */

/* Struct pages, of RAM and of transient memory; the layout is the kernel's. */
struct page {
	struct { unsigned long f; } flags;
	union {
		struct list_head lru;
		struct { unsigned long compound_info; void *zone_device_data; };
	};
	void *mapping;
	unsigned long __folio_index, private;
	atomic_t _mapcount, _refcount;
	unsigned long nid_zone;
};

struct folio {
	union {
		struct page page;
		struct { unsigned long flags; struct dev_pagemap *pgmap; };
	};
	struct { unsigned long flags, compound_info, order; } tail;
};

static struct page *vmemmap, ram[NR_RAM];
static char *direct_map;
static int ram_fd;
/* The node that memory comes from, if not from the one that is asked for */
static int ram_nid = NUMA_NO_NODE;
static unsigned long nr_totalram = BIT(16);

#define pfn_to_page(pfn)		(vmemmap + (pfn))
#define page_to_pfn(page)		((unsigned long)((page) - vmemmap))
#define page_folio(p)			((struct folio *)compound_head(p))
#define folio_pfn(folio)		page_to_pfn(&(folio)->page)
#define pfn_valid(pfn)			false
#ifndef FLAT_MACHINE
#define page_address(p)	((void *)(direct_map + ((p) - ram) * PAGE_SIZE))
#endif
#define page_private(p)			((p)->private)
#define set_page_private(p, v)		((p)->private = (v))
#define page_to_nid(p)			((int)((p)->nid_zone >> 8))
#define page_zonenum(p)			((p)->nid_zone & 0xff)
#define set_page_links(p, zone, nid, ...) ((p)->nid_zone = (zone) | (nid) << 8)
#define set_page_count(p, n)		atomic_set(&(p)->_refcount, n)
#define __set_bit(nr, p)		(*(p) |= BIT(nr))
#define __folio_set_head(folio)		__set_bit(PG_head, &(folio)->flags)
#define mm_zero_struct_page(p)		memset(p, 0, sizeof(struct page))
#define copy_page(to, from)		memcpy(to, from, PAGE_SIZE)
#define prep_compound_head(p, n) (((struct folio *)(p))->tail.order = (n))
#define folio_ref_count(folio)		atomic_read(&(folio)->page._refcount)
#define folio_set_count(folio, n)	set_page_count(&(folio)->page, n)
#define folio_ref_inc(folio)		folio_ref_add(folio, 1)
#define folio_put_testzero(folio)	(!folio_ref_add(folio, -1))
#define folio_try_get(folio)	atomic_inc_not_zero(&(folio)->page._refcount)
#define folio_set_referenced(folio)	\
	__atomic_fetch_or(&(folio)->flags, BIT(PG_referenced), 0)
#define folio_test_clear_referenced(folio) \
	(__atomic_fetch_and(&(folio)->flags, ~BIT(PG_referenced), 0) & \
	 BIT(PG_referenced))

static inline struct page *compound_head(struct page *page)
{
	unsigned long info = READ_ONCE(page->compound_info);

	if (!(info & 1))
		return page;
	return (void *)(info & (unsigned long)page);
}

static inline void prep_compound_tail(struct page *p, struct page *head,
				      int order)
{
	p->compound_info = -sizeof(*p) << order | 1;
}

static inline void __init_single_page(struct page *p, unsigned long pfn,
				      int zone, int nid)
{
	mm_zero_struct_page(p);
	set_page_links(p, zone, nid, pfn);
	set_page_count(p, 1);
	atomic_set(&p->_mapcount, -1);
}

static inline int folio_ref_add(struct folio *folio, int n)
{
	int new = atomic_add_return(n, &folio->page._refcount);

	WARN_ON(new < 0);
	return new;
}

#ifndef FLAT_MACHINE
/* RAM's: _refcount says allocated, _mapcount how many PTEs and TLBs map it. */
static inline struct page *alloc_pages_node(int nid, int gfp, int order)
{
	int zero = 0, other = READ_ONCE(ram_nid);
	struct page *page = ram;

	WARN_ON(nid < 0 || nid >= NR_NODES);
	if (in_reclaim)
		in_reclaim();
	if (should_fail())
		return NULL;
	while (!atomic_try_cmpxchg(&page->_refcount, &zero, 1)) {
		zero = 0;
		if (++page == ram + NR_RAM)
			return NULL;
	}
	__atomic_add_fetch(&nr_pages, 1, 0);
	set_page_links(page, 0, other == NUMA_NO_NODE ? nid : other, 0);
	page->lru.next = LIST_POISON1;
	page->private = -1;
	memset(page_address(page), 0xa5, PAGE_SIZE);
	return page;
}

static inline void __free_page(struct page *page)
{
	WARN_ON(atomic_read(&page->_mapcount));
	memset(page_address(page), 0x5a, PAGE_SIZE);
	WARN_ON(atomic_add_return(-1, &page->_refcount));
	__atomic_sub_fetch(&nr_pages, 1, 0);
}
#endif /* !FLAT_MACHINE */

/* Page tables, which map for real; a TLB, which knows a page until the flush */
#define pte_t				struct pte
pte_t { unsigned long val; };

static pte_t *page_tables[NR_SECTIONS];
static struct page *tlb[VMEMMAP_SIZE / PAGE_SIZE];
/* That of a section has something; a table that was cut may be in use. */
static bool tlb_section[NR_SECTIONS], tlb_has_table;
static bool hotplug_locked;
static int table_nid; /* that the last page table was asked for */
static unsigned long nr_tlb_flushes;
static void (*before_flush)(void);
static struct mm_struct { spinlock_t page_table_lock; } init_mm = { MUTEX_INIT };

#define PAGE_KERNEL			0
#define PAGE_KERNEL_RO			1
#define mk_pte(page, prot)	((pte_t){ (unsigned long)(page) | (prot) })
#define pte_page(pte)			((struct page *)((pte).val & ~1UL))
#define ptep_get(ptep)			(*(ptep))
#define vmemmap_index(addr, size) (((addr) - (unsigned long)vmemmap) / (size))
#define vmemmap_pmd(addr)	(page_tables + vmemmap_index(addr, PMD_SIZE))

#ifndef FLAT_MACHINE
static inline void remap(unsigned long addr, pte_t pte)
{
	int none = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
	int write = pte.val & PAGE_KERNEL_RO ? 0 : PROT_WRITE;
	void *p = (void *)addr;

	if (!pte.val)
		p = mmap(p, PAGE_SIZE, PROT_NONE, none, -1, 0);
	else
		p = mmap(p, PAGE_SIZE, PROT_READ | write,
			 MAP_SHARED | MAP_FIXED, ram_fd,
			 (pte_page(pte) - ram) * PAGE_SIZE);
	if (p == MAP_FAILED)
		abort();
}

static inline void set_pte_at(void *mm, unsigned long addr, pte_t *ptep,
			      pte_t pte)
{
	unsigned long i = vmemmap_index(addr, PAGE_SIZE);

	WARN_ON(*vmemmap_pmd(addr) + i % PTRS_PER_PTE != ptep);
	WARN_ON(ptep->val || READ_ONCE(tlb[i]));
	atomic_add_return(1, &pte_page(pte)->_mapcount);
	*ptep = pte;
	remap(addr, pte);
}

static inline void pte_clear(void *mm, unsigned long addr, pte_t *ptep)
{
	char page[PAGE_SIZE];

	WRITE_ONCE(tlb[vmemmap_index(addr, PAGE_SIZE)], pte_page(*ptep));
	(void)xchg(&tlb_section[vmemmap_index(addr, PMD_SIZE)], true);
	/* For TSan: who reads by a stale translation races with this. */
	if (!(ptep->val & PAGE_KERNEL_RO)) {
		memcpy(page, (void *)addr, PAGE_SIZE);
		memset((void *)addr, 0xee, PAGE_SIZE);
		memcpy((void *)addr, page, PAGE_SIZE);
	}
	ptep->val = 0;
	remap(addr, *ptep);
}
#endif /* !FLAT_MACHINE */

static inline void flush_tlb(unsigned long i, unsigned long end)
{
	struct page *page;

	for (; i < end; i++) {
		page = READ_ONCE(tlb[i]) ? xchg(&tlb[i], NULL) : NULL;
		if (page)
			atomic_add_return(-1, &page->_mapcount);
	}
}

static inline void flush_begin(void)
{
	__atomic_add_fetch(&nr_tlb_flushes, 1, 0);
	if (before_flush)
		before_flush();
}

#ifdef FLAT_MACHINE
#include "flat.h"
#else
static inline void flush_tlb_kernel_range(unsigned long start,
					  unsigned long end)
{
	flush_begin();
	flush_tlb(vmemmap_index(start, PAGE_SIZE), vmemmap_index(end, PAGE_SIZE));
}
#endif /* !FLAT_MACHINE */

/* The direct map's share of it, by block, and of which GiB it has something */
static bool direct_tlb[NR_PFNS / PTRS_PER_PTE];
static bool direct_tlb_gib[NR_PFNS / PTRS_PER_PTE / PTRS_PER_PTE];

static inline void flush_tlb_all(void)
{
	/* A flush has to be over when it returns, also if another one is at it. */
	static spinlock_t lock = MUTEX_INIT;
	int i, j;

	flush_begin();
	guard(spinlock)(&lock);
	for (i = 0; i < NR_SECTIONS; i++)
		if (READ_ONCE(tlb_section[i]) && xchg(&tlb_section[i], false))
			flush_tlb(i * PTRS_PER_PTE, (i + 1) * PTRS_PER_PTE);
	for (i = 0; i < ARRAY_SIZE(direct_tlb_gib); i++)
		if (READ_ONCE(direct_tlb_gib[i]) &&
		    xchg(&direct_tlb_gib[i], false))
			for (j = 0; j < PTRS_PER_PTE; j++)
				WRITE_ONCE(direct_tlb[i * PTRS_PER_PTE + j], false);
	WRITE_ONCE(tlb_has_table, false);
}

/* A table above these is for 512 of them. */
static void *upper_tables[DIV_ROUND_UP(NR_SECTIONS, PTRS_PER_PTE)];

static inline pte_t *vmemmap_alloc_tables(unsigned long addr, int nid)
{
	void **upper = upper_tables + vmemmap_index(addr, PUD_SIZE);
	pte_t **pmd = vmemmap_pmd(addr);

	WARN_ON(!READ_ONCE(hotplug_locked) || *pmd);
	table_nid = nid;
	if (!*upper)
		*upper = kzalloc(PAGE_SIZE);
	if (*upper)
		*pmd = kzalloc(PAGE_SIZE);
	return *pmd;
}

static inline void vmemmap_free(unsigned long start, unsigned long end,
				void *altmap)
{
	unsigned long i, j, used;

	WARN_ON(!READ_ONCE(hotplug_locked));
	for (i = vmemmap_index(start, PMD_SIZE);
	     i < vmemmap_index(end, PMD_SIZE); i++) {
		if (!page_tables[i])
			continue;
		for (j = 0; j < PTRS_PER_PTE; j++)
			WARN_ON(page_tables[i][j].val);
		kfree(page_tables[i]);
		page_tables[i] = NULL;
	}
	for (i = vmemmap_index(start, PUD_SIZE);
	     i <= vmemmap_index(end - 1, PUD_SIZE); i++) {
		for (used = j = 0; j < PTRS_PER_PTE; j++)
			used |= (unsigned long)page_tables[i * PTRS_PER_PTE + j];
		if (!used && upper_tables[i])
			kfree(upper_tables[i]);
		if (!used)
			upper_tables[i] = NULL;
	}
}

/*
 * The direct map of transient memory, which maps nothing: it has a page table for
 * each GiB, and in that an entry for each block. What is above stays for good.
 */
#define pmd_t				struct pmd
#define pud_t				struct pud
#define p4d_t				struct p4d
#define pgd_t				struct pgd
pmd_t { unsigned long val; };
pud_t { struct ptdesc *val; };
p4d_t { pud_t *val; };
pgd_t { p4d_t *val; };

struct ptdesc {
	struct list_head pt_list;
	pmd_t pmds[PTRS_PER_PTE];
};

#define PAGES_PER_GIB			(PUD_SIZE / PAGE_SIZE)
#define NR_GIB				(NR_PFNS / PAGES_PER_GIB)
#define NR_P4D				DIV_ROUND_UP(NR_GIB, PTRS_PER_PTE)

static p4d_t direct_p4ds[NR_P4D];
static pgd_t direct_pgd;

#define __va(phys)			((void *)(phys))
#define pgd_offset_k(addr)		((void)(addr), &direct_pgd)
#define pgd_none(pgd)			(!(pgd).val)
#define p4d_alloc_one(mm, addr)		(should_fail() ? NULL : direct_p4ds)
#define pgd_populate_kernel(addr, pgd, p4d)	((pgd)->val = (p4d))
#define p4d_offset(pgd, addr)	((pgd)->val + (addr) / PUD_SIZE / PTRS_PER_PTE)
#define p4d_none(p4d)			(!(p4d).val)
#define pud_alloc_one(mm, addr)	\
	(should_fail() ? NULL : calloc(PTRS_PER_PTE, sizeof(pud_t)))
#define p4d_populate_kernel(addr, p4d, pud)	((p4d)->val = (pud))
#define pud_offset(p4d, addr)	((p4d)->val + (addr) / PUD_SIZE % PTRS_PER_PTE)
#define pud_none(pud)			(!(pud).val)
#define pmd_offset(pud, addr)	\
	((pud)->val->pmds + (addr) / PMD_SIZE % PTRS_PER_PTE)
#define pmd_off_k(addr)	\
	pmd_offset(pud_offset(p4d_offset(pgd_offset_k(addr), addr), addr), addr)
#define virt_to_ptdesc(pmd)	\
	container_of((pmd_t (*)[PTRS_PER_PTE])(pmd), struct ptdesc, pmds)
#define ptdesc_address(ptdesc)		((ptdesc)->pmds)
#define pfn_pmd(pfn, prot)		((pmd_t){ (pfn) * PAGE_SIZE })
#define pmd_mkhuge(pmd)			((pmd_t){ (pmd).val | 1 })

static inline pmd_t *pmd_alloc(struct mm_struct *mm, pud_t *pud,
			       unsigned long addr)
{
	if (!pud->val)
		pud->val = kzalloc(sizeof(*pud->val));
	return pud->val ? pmd_offset(pud, addr) : NULL;
}

static inline void pud_clear(pud_t *pud)
{
	int i;

	for (i = 0; i < PTRS_PER_PTE; i++)
		WARN_ON(READ_ONCE(pud->val->pmds[i].val));
	WRITE_ONCE(tlb_has_table, true);
	pud->val = NULL;
}

static inline void pmd_free(struct mm_struct *mm, pmd_t *pmds)
{
	WARN_ON(READ_ONCE(tlb_has_table));
	kfree(virt_to_ptdesc(pmds));
}

static inline void set_pmd(pmd_t *pmdp, pmd_t pmd)
{
	WARN_ON(READ_ONCE(pmdp->val));
	WARN_ON(READ_ONCE(direct_tlb[pmd.val / PMD_SIZE]));
	WRITE_ONCE(pmdp->val, pmd.val);
}

static inline void pmd_clear(pmd_t *pmdp)
{
	unsigned long val = READ_ONCE(pmdp->val);

	WARN_ON(!val);
	WRITE_ONCE(direct_tlb[val / PMD_SIZE], true);
	(void)xchg(&direct_tlb_gib[val / PUD_SIZE], true);
	WRITE_ONCE(pmdp->val, 0);
}

/* Sections */
struct mem_section {
	bool has_memmap;
	struct transient_section *transient;
};

static struct mem_section mem_sections[NR_SECTIONS];

#define valid_section(ms)		((ms) && (ms)->has_memmap)
#define sparse_index_init(...)		(should_fail() ? -ENOMEM : 0)

static inline struct mem_section *__pfn_to_section(unsigned long pfn)
{
	unsigned long nr = pfn / PAGES_PER_SECTION;

	return nr < NR_SECTIONS ? &mem_sections[nr] : NULL;
}

/* dev_pagemap */
struct percpu_ref { atomic_t count; bool dying; };
struct completion { };

struct dev_pagemap {
	unsigned long flags;
	struct percpu_ref ref;
	struct completion done;
	enum memory_type type;
	unsigned long vmemmap_shift;
	struct transient_pool *transient_pool;
	int nr_range;
	struct range ranges[2];
};

static struct dev_pagemap *pgmap_array[NR_PFNS / PAGES_PER_SUBSECTION];

#define percpu_ref_get(ref)		atomic_inc(&(ref)->count)
#define percpu_ref_get_many(ref, n)	atomic_long_add(n, &(ref)->count)
#define percpu_ref_put_many(ref, n)	atomic_long_sub(n, &(ref)->count)
/* Nobody may touch it after the last one. */
#define put_dev_pagemap(pgmap)		atomic_dec(&(pgmap)->ref.count)

static inline struct dev_pagemap *get_dev_pagemap(unsigned long pfn)
{
	unsigned long i = pfn / PAGES_PER_SUBSECTION;
	struct dev_pagemap *pgmap;

	guard(rcu)();
	pgmap = i < ARRAY_SIZE(pgmap_array) ?
		__atomic_load_n(&pgmap_array[i], __ATOMIC_ACQUIRE) : NULL;
	return pgmap && !READ_ONCE(pgmap->ref.dying) &&
	       atomic_inc_not_zero(&pgmap->ref.count) ? pgmap : NULL;
}

static inline struct dev_pagemap *held_dev_pagemap(unsigned long pfn)
{
	return __atomic_load_n(&pgmap_array[pfn / PAGES_PER_SUBSECTION],
			       __ATOMIC_ACQUIRE);
}

static inline bool pgmap_drained(struct dev_pagemap *pgmap)
{
	return !__atomic_load_n(&pgmap->ref.count.counter, __ATOMIC_SEQ_CST);
}

static inline void wait_for_completion_state(struct completion *done, int state)
{
	WARN_ON(state != TASK_IDLE);
	/* However slow the machine is, what is due takes no time. */
	while (!pgmap_drained(container_of(done, struct dev_pagemap, done)))
		if (single || !wq_is_busy())
			pass_time();
		else
			usleep(100);
}

void transient_memmap_free_folio(struct folio *folio);

static inline void folio_put(struct folio *folio)
{
	if (folio_put_testzero(folio))
		transient_memmap_free_folio(folio);
}
