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
	unsigned long index, private;
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
static bool has_mask;
static unsigned long nr_totalram = BIT(16);

#define compound_info_has_mask()	has_mask
#define pfn_to_page(pfn)		(vmemmap + (pfn))
#define page_to_pfn(page)		((unsigned long)((page) - vmemmap))
#define page_folio(p)			((struct folio *)compound_head(p))
#define folio_pfn(folio)		page_to_pfn(&(folio)->page)
#define page_address(p)	((void *)(direct_map + ((p) - ram) * PAGE_SIZE))
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
#define clear_page(p)			memset(p, 0, PAGE_SIZE)
#define prep_compound_head(p, n) (((struct folio *)(p))->tail.order = (n))
#define folio_ref_count(folio)		atomic_read(&(folio)->page._refcount)
#define folio_set_count(folio, n)	set_page_count(&(folio)->page, n)
#define folio_ref_dec(folio)		folio_ref_add(folio, -1)
#define folio_put_testzero(folio)	(!folio_ref_add(folio, -1))
#define folio_try_get(folio)	atomic_inc_not_zero(&(folio)->page._refcount)
#define folio_test_owner_2(folio)	\
	(READ_ONCE((folio)->flags) & BIT(PG_owner_2))
#define folio_set_owner_2(folio)	\
	__atomic_fetch_or(&(folio)->flags, BIT(PG_owner_2), 0)
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
	return (void *)(has_mask ? info & (unsigned long)page : info - 1);
}

static inline void prep_compound_tail(struct page *p, struct page *head,
				      int order)
{
	p->compound_info = has_mask ? -sizeof(*p) << order | 1 : (long)head | 1;
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

/* RAM's: _refcount says allocated, _mapcount how many PTEs and TLBs map it. */
static inline struct page *alloc_pages_node(int nid, int gfp, int order)
{
	int zero = 0, other = READ_ONCE(ram_nid);
	struct page *page = ram;

	WARN_ON(nid < 0 || nid >= NR_NODES);
	if (gfpflags_allow_blocking(gfp))
		might_sleep();
	if (should_fail_nowait())
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

/* Page tables, which map for real; a TLB, which knows a page until the flush */
#define pte_t				struct pte
pte_t { unsigned long val; };

static pte_t *page_tables[NR_SECTIONS];
static struct page *tlb[VMEMMAP_SIZE / PAGE_SIZE];
/* That of a section has something; a table that was cut may be in use. */
static bool tlb_section[NR_SECTIONS], tlb_has_table;
static bool hotplug_locked;
static int table_nid; /* that the last page table was asked for */
static void (*before_flush)(void);
static struct mm_struct { spinlock_t page_table_lock; } init_mm = { MUTEX_INIT };

#define PAGE_KERNEL			0
#define PAGE_KERNEL_RO			1
#define mk_pte(page, prot)	((pte_t){ (unsigned long)(page) | (prot) })
#define pte_page(pte)			((struct page *)((pte).val & ~1UL))
#define ptep_get(ptep)			(*(ptep))
#define vmemmap_index(addr, size) (((addr) - (unsigned long)vmemmap) / (size))
#define pmd_off_k(addr)		(page_tables + vmemmap_index(addr, PMD_SIZE))
#define pmd_clear(pmd)	(WRITE_ONCE(tlb_has_table, true), *(pmd) = NULL)
#define virt_to_ptdesc(p)		(p)

static inline void pmd_populate_kernel(struct mm_struct *mm, pte_t **pmd,
				       pte_t *table)
{
	*pmd = table;
}

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

	WARN_ON(*pmd_off_k(addr) + i % PTRS_PER_PTE != ptep);
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

static inline void flush_tlb(unsigned long i, unsigned long end)
{
	struct page *page;

	for (; i < end; i++) {
		page = READ_ONCE(tlb[i]) ? xchg(&tlb[i], NULL) : NULL;
		if (page)
			atomic_add_return(-1, &page->_mapcount);
	}
}

static inline void flush_tlb_kernel_range(unsigned long start,
					  unsigned long end)
{
	if (before_flush)
		before_flush();
	flush_tlb(vmemmap_index(start, PAGE_SIZE), vmemmap_index(end, PAGE_SIZE));
}

/* The direct map's share of it, by block */
static bool direct_tlb[NR_SECTIONS * PAGES_PER_SECTION / PTRS_PER_PTE];
static bool direct_tlb_any;

static inline void flush_tlb_all(void)
{
	/* A flush has to be over when it returns, also if another one is at it. */
	static spinlock_t lock = MUTEX_INIT;
	int i;

	if (before_flush)
		before_flush();
	guard(spinlock)(&lock);
	for (i = 0; i < NR_SECTIONS; i++)
		if (READ_ONCE(tlb_section[i]) && xchg(&tlb_section[i], false))
			flush_tlb(i * PTRS_PER_PTE, (i + 1) * PTRS_PER_PTE);
	if (xchg(&direct_tlb_any, false))
		for (i = 0; i < ARRAY_SIZE(direct_tlb); i++)
			WRITE_ONCE(direct_tlb[i], false);
	WRITE_ONCE(tlb_has_table, false);
}

/* Out of hotplug, the upper tables are there already: no anchor is missing. */
static inline pte_t *vmemmap_alloc_tables(unsigned long addr, int nid)
{
	pte_t **upper = pmd_off_k(ALIGN_DOWN(addr, PUD_SIZE));
	pte_t **pmd = pmd_off_k(addr);
	int i, others = 0;

	for (i = 0; i < PTRS_PER_PTE; i++)
		others += !!upper[i];
	WARN_ON(!others && !READ_ONCE(hotplug_locked));
	WARN_ON(*pmd && !READ_ONCE(hotplug_locked));
	table_nid = nid;
	if (!*pmd)
		*pmd = kzalloc(PAGE_SIZE);
	return *pmd;
}

/* It is of kzalloc(), or a page. */
static inline void pagetable_free(pte_t *table)
{
	unsigned long i, nr = ((char *)table - direct_map) / PAGE_SIZE;

	WARN_ON(READ_ONCE(tlb_has_table));
	for (i = 0; i < PTRS_PER_PTE; i++)
		WARN_ON(table[i].val);
	if (nr < NR_RAM)
		__free_page(ram + nr);
	else
		kfree(table);
}

static inline void vmemmap_free(unsigned long start, unsigned long end,
				void *altmap)
{
	pte_t **pmd;

	for (pmd = pmd_off_k(start); pmd <= pmd_off_k(end - 1); *pmd++ = NULL)
		if (*pmd)
			pagetable_free(*pmd);
}

/* Nobody walks these tables but the pool. */
DEFINE_LOCK_GUARD_1(mmap_read_lock, struct mm_struct, (void)_T, (void)_T);

/*
 * The direct map of transient memory, which maps nothing: it has a page table for
 * each GiB, and in that an entry for each block.
 */
#define pmd_t				struct pmd
pmd_t { unsigned long val; };

struct direct_table {
	struct list_head list;
	pmd_t pmds[PTRS_PER_PTE];
};

#define PAGES_PER_GIB			(PUD_SIZE / PAGE_SIZE)
#define NR_GIB		(NR_SECTIONS * PAGES_PER_SECTION / PAGES_PER_GIB)

/* A table above these is for fewer GiB than one of vmemmap's. */
#define GIB_PER_UPPER			32UL

static struct direct_table *direct_tables[NR_GIB];

static inline pmd_t *direct_pmd(unsigned long pfn)
{
	struct direct_table *table = direct_tables[pfn / PAGES_PER_GIB];

	return table ? &table->pmds[pfn % PAGES_PER_GIB / PTRS_PER_PTE] : NULL;
}

static inline int transient_direct_map_add(unsigned long start, unsigned long last)
{
	unsigned long i = start / PAGES_PER_GIB;

	WARN_ON(!READ_ONCE(hotplug_locked));
	if ((start | (last + 1)) % PAGES_PER_GIB)
		return -EINVAL;
	for (; i <= last / PAGES_PER_GIB; i++) {
		if (should_fail())
			return -ENOMEM;
		if (direct_tables[i])
			return -EBUSY;
	}
	return 0;
}

static inline unsigned long transient_direct_map_end(unsigned long pfn)
{
	return ALIGN(pfn + 1, GIB_PER_UPPER * PAGES_PER_GIB);
}

/* Out of hotplug, another one keeps the table above from being freed. */
static inline pmd_t *transient_direct_map_table(unsigned long pfn)
{
	unsigned long nr = pfn / PAGES_PER_GIB;
	struct direct_table **table = &direct_tables[nr];
	int i, others = 0;

	for (i = 0; i < GIB_PER_UPPER; i++)
		others += !!direct_tables[ALIGN_DOWN(nr, GIB_PER_UPPER) + i];
	WARN_ON(!others && !READ_ONCE(hotplug_locked));
	if (!*table)
		*table = kzalloc(sizeof(**table));
	return *table ? direct_pmd(pfn) : NULL;
}

static inline void transient_direct_map_cut(unsigned long pfn,
					    struct list_head *tables)
{
	struct direct_table **table = &direct_tables[pfn / PAGES_PER_GIB];
	int i;

	if (!*table)
		return;
	for (i = 0; i < PTRS_PER_PTE; i++)
		WARN_ON(READ_ONCE((*table)->pmds[i].val));
	WRITE_ONCE(tlb_has_table, true);
	list_add(&(*table)->list, tables);
	*table = NULL;
}

static inline void transient_direct_map_free(struct list_head *tables)
{
	struct direct_table *table, *tmp;

	WARN_ON(!list_empty(tables) && READ_ONCE(tlb_has_table));
	list_for_each_entry_safe(table, tmp, tables, list)
		kfree(table);
}

static inline void transient_direct_map_block(pmd_t *pmd, unsigned long pfn)
{
	WARN_ON(pmd != direct_pmd(pfn) || pfn % PTRS_PER_PTE);
	WARN_ON(READ_ONCE(pmd->val));
	WARN_ON(READ_ONCE(direct_tlb[pfn / PTRS_PER_PTE]));
	WRITE_ONCE(pmd->val, pfn * PAGE_SIZE | 1);
}

static inline void transient_direct_unmap_block(pmd_t *pmd)
{
	unsigned long val = READ_ONCE(pmd->val);

	WARN_ON(!val);
	WRITE_ONCE(direct_tlb[val / PMD_SIZE], true);
	(void)xchg(&direct_tlb_any, true);
	WRITE_ONCE(pmd->val, 0);
}

/* Sections */
struct mem_section {
	bool has_memmap;
	struct transient_section *transient;
};

static struct mem_section mem_sections[NR_SECTIONS];

#define valid_section(ms)		((ms)->has_memmap)
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

#define put_dev_pagemap(pgmap)	atomic_add_return(-1, &(pgmap)->ref.count)

#define percpu_ref_get(ref)	atomic_add_return(1, &(ref)->count)

static inline bool percpu_ref_tryget_live_rcu(struct percpu_ref *ref)
{
	return !READ_ONCE(ref->dying) && atomic_inc_not_zero(&ref->count);
}

static inline bool pgmap_drained(struct dev_pagemap *pgmap)
{
	return !__atomic_load_n(&pgmap->ref.count.counter, __ATOMIC_SEQ_CST);
}

static inline void wait_for_completion_state(struct completion *done, int state)
{
	while (!pgmap_drained(container_of(done, struct dev_pagemap, done)))
		usleep(100);
}

/* Who isn't killed waits itself: it has the clock, see tick(). */
static inline int wait_for_completion_killable(struct completion *done)
{
	return fatal_signal_pending(current) ? -ERESTARTSYS : 0;
}

void transient_memmap_free_folio(struct folio *folio);

static inline void folio_put(struct folio *folio)
{
	if (folio_put_testzero(folio))
		transient_memmap_free_folio(folio);
}
