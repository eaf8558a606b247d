/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests and the fuzzer have in common: verbs, and a machine. */
#ifndef _TRANSIENT_MEMMAP_HARNESS_H
#define _TRANSIENT_MEMMAP_HARNESS_H

#include <sys/syscall.h>

#include "shim.h"

#define BLOCK_NR	BIT(TRANSIENT_BLOCK_ORDER)
#define SECTION(n)	((n) * PAGES_PER_SECTION)
#define nth(n)		((n) * BLOCK_NR)
#define PER_PAGE	(PAGE_SIZE / sizeof(struct page))
/* What a pool has when nothing is live: the page of tails, and the reserve */
#define POOL_PAGES	(1 + RESERVE_NR)

#define stat_of(pgmap, stat)	\
	transient_memmap_stat(pgmap, TRANSIENT_MEMMAP_##stat)
#define set_limit(pgmap, limit, value)	\
	EXPECT(!transient_memmap_set_limit(pgmap, TRANSIENT_MEMMAP_##limit, \
					   value))

static int nr_failures;
/* Those of the test at hand: in the direct map while pinned? For which node? */
static bool direct_map_variant;
static int range_nid;

#define expect(ok, fmt, ...)						\
({									\
	bool __ok = (ok);						\
									\
	if (!__ok && __atomic_fetch_add(&nr_failures, 1, 0) < 20)	\
		printf("# %s:%d: " fmt "\n", __FILE__, __LINE__,	\
		       __VA_ARGS__);					\
	__ok;								\
})
#define EXPECT(cond)	expect(cond, "not so: %s", #cond)
#define EXPECT_EQ(left, right)						\
({									\
	long __left = (left), __right = (right);			\
									\
	expect(__left == __right, "%s is %ld, not %s, %ld", #left,	\
	       __left, #right, __right);				\
})

/* Time, which stands still unless it is told to go on */

/* Blocks may be freed with some delay, which is shorter than this. */
#define SOON	2UL

static inline bool soon(void)
{
	struct work_struct *w;

	list_for_each_entry(w, &wq_pending, entry)
		if (time_after_eq(now() + SOON, w->due))
			return true;
	return false;
}

/* Let the workers do what is due, or will be soon. */
static inline void settle(void)
{
	guard(wq)();
	while (wq_running || soon()) {
		if (wq_running || wq_next()) {
			pthread_cond_broadcast(&wq.cond);
			wq_wait();
		} else {
			__atomic_fetch_add(&wq_now, 1, __ATOMIC_RELAXED);
		}
	}
}

static inline void advance(unsigned long nr)
{
	settle();
	tick(nr);
	settle();
}

/* Registering, as memremap_pages() and memunmap_pages() do it */

static void set_pgmap(const struct range *range, struct dev_pagemap *pgmap)
{
	u64 addr;

	for (addr = range->start; addr < range->end; addr += SUBSECTION_SIZE)
		__atomic_store_n(&pgmap_array[addr / SUBSECTION_SIZE], pgmap,
				 __ATOMIC_RELEASE);
}

static void hotplug_lock(bool lock)
{
	static DEFINE_MUTEX(mutex);

	if (lock)
		mutex_lock(&mutex);
	WRITE_ONCE(hotplug_locked, lock);
	if (!lock)
		mutex_unlock(&mutex);
}

static void remove_ranges(struct dev_pagemap *pgmap, int nr)
{
	while (nr--) {
		set_pgmap(&pgmap->ranges[nr], NULL);
		hotplug_lock(true);
		transient_memmap_remove_range(pgmap, nr);
		hotplug_lock(false);
	}
	transient_memmap_destroy_pool(pgmap);
	/* Lookups may still have the pointer. */
	synchronize_rcu();
	free(pgmap);
}

static void kill_pgmap(struct dev_pagemap *pgmap)
{
	WRITE_ONCE(pgmap->ref.dying, true);
	synchronize_rcu();
	put_dev_pagemap(pgmap);
}

static void unregister(struct dev_pagemap *pgmap)
{
	kill_pgmap(pgmap);
	transient_memmap_drain_pool(pgmap);
	remove_ranges(pgmap, pgmap->nr_range);
}

static void pgmap_add(struct dev_pagemap *pgmap, unsigned long pfn,
		      unsigned long nr)
{
	struct range *range = &pgmap->ranges[pgmap->nr_range++];

	range->start = PFN_PHYS(pfn);
	range->end = PFN_PHYS(pfn + nr) - 1;
}

static struct dev_pagemap *new_pgmap(unsigned long pfn, unsigned long nr)
{
	struct dev_pagemap *pgmap = calloc(1, sizeof(*pgmap));

	pgmap->type = MEMORY_DEVICE_TRANSIENT;
	pgmap->flags = direct_map_variant ? PGMAP_TRANSIENT_DIRECT_MAP : 0;
	atomic_set(&pgmap->ref.count, 1);
	pgmap_add(pgmap, pfn, nr);
	return pgmap;
}

/* Frees the pgmap if it fails. */
static int register_pgmap(struct dev_pagemap *pgmap)
{
	int i, err = transient_memmap_create_pool(pgmap, range_nid);

	if (err) {
		free(pgmap);
		return err;
	}
	for (i = 0; i < pgmap->nr_range; i++) {
		err = transient_memmap_check_range(&pgmap->ranges[i], true);
		if (err)
			break;
		set_pgmap(&pgmap->ranges[i], pgmap);
		hotplug_lock(true);
		err = transient_memmap_add_range(pgmap, i);
		hotplug_lock(false);
		if (err)
			set_pgmap(&pgmap->ranges[i], NULL);
		if (err)
			break;
	}
	if (err) {
		kill_pgmap(pgmap);
		transient_memmap_drain_pool(pgmap);
		remove_ranges(pgmap, i);
	}
	return err;
}

/* Looking */

/* Wait for what others do, while time stands still, or goes on. */
#define poll_for(cond, between)						\
({									\
	int __n = 20000;						\
	bool __is;							\
									\
	while (!(__is = (cond)) && __n--)				\
		between;						\
	__is;								\
})
#define eventually(cond)	poll_for(cond, usleep(200))
#define wait_for(cond)		poll_for(cond, pass_time())

/* Asks the page table. */
static bool in_direct_map(unsigned long pfn)
{
	unsigned long addr = pfn * PAGE_SIZE;
	p4d_t *p4d = &direct_p4ds[addr / PUD_SIZE / PTRS_PER_PTE];

	return !p4d_none(*p4d) && !pud_none(*pud_offset(p4d, addr)) &&
	       READ_ONCE(pmd_offset(pud_offset(p4d, addr), addr)->val);
}

static enum transient_block_state state_of(unsigned long pfn)
{
	guard(rcu)();
	return pfn_block_state(pfn);
}

static int expected_nid(void)
{
	return range_nid == NUMA_NO_NODE ? numa_mem_id() : range_nid;
}

/* For who holds a reference */
static bool page_is_right(struct dev_pagemap *pgmap, unsigned long pfn)
{
	struct page *page = pfn_to_page(pfn);
	struct folio *folio = page_folio(page);

	return in_direct_map(pfn) == direct_map_variant &&
	       folio_pfn(folio) == ALIGN_DOWN(pfn, BLOCK_NR) &&
	       folio->pgmap == pgmap &&
	       folio->tail.order == TRANSIENT_BLOCK_ORDER &&
	       folio_ref_count(folio) > 0 &&
	       page_to_nid(page) == expected_nid() &&
	       page_zonenum(page) == ZONE_DEVICE &&
	       READ_ONCE(page->flags.f) & BIT(PG_reserved) &&
	       atomic_read(&page->_mapcount) == -1;
}

/* Can it be read, or written? Asks the machine, not the pool. */
static inline bool accessible(void *p, bool write)
{
	static int fds[2];
	long len = sizeof(long);
	char buf[sizeof(long)];
	bool ret;

	if (!fds[1] && pipe(fds))
		abort();
	if (syscall(SYS_write, fds[1], p, len) != len)
		return false;
	ret = syscall(SYS_read, fds[0], write ? p : buf, len) == len;
	if (!ret && read(fds[0], buf, len) != len)
		abort();
	return ret;
}

#define has_struct_page(pfn)	accessible(pfn_to_page(pfn), false)
#define is_writable(pfn)	accessible(pfn_to_page(pfn), true)
#define has_table(pfn)		(page_tables[(pfn) / PAGES_PER_SECTION])

static inline unsigned long backing(unsigned long pfn)
{
	pte_t *ptes = page_tables[pfn / PAGES_PER_SECTION];

	return pte_page(ptes[pfn % PAGES_PER_SECTION / PER_PAGE]) - ram;
}

/* It can be read while it is unmapped; it is absent only after the flush. */
static inline void expect_absent(unsigned long pfn)
{
	EXPECT(eventually(state_of(pfn) <= BLOCK_ABSENT));
	EXPECT(!pfn_has_struct_page(pfn));
	EXPECT(!transient_memmap_try_get(pfn));
	EXPECT(!has_struct_page(pfn));
	EXPECT(!in_direct_map(pfn));
}

/* Asks the pool's shrinker for blocks, as reclaim does */
static unsigned long shrink_count(struct dev_pagemap *pgmap)
{
	struct shrinker *s = pgmap->transient_pool->shrinker;
	struct shrink_control sc = { .nid = 0 };

	return s->count_objects(s, &sc);
}

static unsigned long shrink(struct dev_pagemap *pgmap, unsigned long nr)
{
	struct shrinker *s = pgmap->transient_pool->shrinker;
	struct shrink_control sc = { .nid = 0 };

	sc.nr_to_scan = min(nr, shrink_count(pgmap));
	return sc.nr_to_scan ? s->scan_objects(s, &sc) : 0;
}

static void expect_nothing_left(void)
{
	int i;

	EXPECT(nr_objects == 0);
	EXPECT(nr_pages == 0);
	EXPECT(nr_memmap_pages == 0);
	EXPECT(nr_warnings == 0);
	EXPECT(!transient_memmap_enabled());
	EXPECT(xa_empty(&poisoned_pfns));
	EXPECT(llist_empty(&dying));
	EXPECT(!pool_has_waiters());
	EXPECT(!current->rcu_depth && !current->locks);
	for (i = 0; i < NR_SECTIONS; i++)
		EXPECT(!page_tables[i] && !mem_sections[i].transient);
	for (i = 0; i < ARRAY_SIZE(upper_tables); i++)
		EXPECT(!upper_tables[i]);
	for (i = 0; i < NR_P4D * PTRS_PER_PTE; i++)
		EXPECT(!direct_p4ds[i / PTRS_PER_PTE].val ||
		       !direct_p4ds[i / PTRS_PER_PTE].val[i % PTRS_PER_PTE].val);
}

static void boot_machine(void)
{
	unsigned long addr;

	pthread_key_create(&task_key, task_exit);
	ram_fd = memfd_create("ram", 0);
	if (ram_fd < 0 || ftruncate(ram_fd, NR_RAM * PAGE_SIZE))
		abort();
	direct_map = mmap(NULL, NR_RAM * PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_SHARED, ram_fd, 0);
	addr = (unsigned long)mmap(NULL, VMEMMAP_SIZE + PUD_SIZE, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				   -1, 0);
	if (direct_map == MAP_FAILED || (void *)addr == MAP_FAILED)
		abort();
	vmemmap = (struct page *)ALIGN(addr, PUD_SIZE);
	if (transient_memmap_init())
		abort();
}

#endif /* _TRANSIENT_MEMMAP_HARNESS_H */
