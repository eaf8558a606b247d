/* SPDX-License-Identifier: GPL-2.0 */
/* What does nothing, or is nothing but a number. */

#define __init
#define __rcu
#define __UNIQUE_ID(name)		CONCATENATE(name##_, __COUNTER__)
#define core_initcall(fn)
#define EXPORT_SYMBOL_IF_KUNIT(sym)
#define VISIBLE_IF_KUNIT		static
#define KUNIT_STATIC_STUB_REDIRECT(...)	do { } while (0)
#define pr_err(...)			do { } while (0)
#define cond_resched()			do { } while (0)
#define gfpflags_allow_blocking(gfp)	(!!((gfp) & __GFP_DIRECT_RECLAIM))
#define page_kasan_tag_reset(...)	do { } while (0)
#define ptdesc_set_kernel(...)		do { } while (0)
/* What follows is published by rcu_assign_pointer(). */
#define smp_wmb()			do { } while (0)

#define __GFP_DIRECT_RECLAIM		2
#define GFP_KERNEL			__GFP_DIRECT_RECLAIM
#define GFP_NOWAIT			0
#define __GFP_RETRY_MAYFAIL		0
#define __GFP_NOWARN			0
#define __GFP_NOFAIL			1
#define TASK_KILLABLE			0
#define TASK_IDLE			0
#define ERESTARTSYS			512
#define WQ_MEM_RECLAIM			0
#define WQ_UNBOUND			0
#define SHRINKER_NUMA_AWARE		0
#define DEFAULT_SEEKS			2
#define XA_PRESENT			0
#define ZONE_DEVICE			3
#define PG_reserved			0
#define PG_referenced			1
#define PG_head				2
#define PG_owner_2			3
#define HZ				100

#define PAGE_SHIFT			12
#define PAGE_SIZE			BIT(PAGE_SHIFT)
#define PAGE_MASK			(~(PAGE_SIZE - 1))
#define PMD_SHIFT			21
#define PMD_SIZE			BIT(PMD_SHIFT)
#define PUD_SIZE			BIT(30)
#define PTRS_PER_PTE			512
#define PAGES_PER_SECTION		BIT(27 - PAGE_SHIFT)
#define PAGES_PER_SUBSECTION		512UL
#define SUBSECTION_SIZE			(PAGES_PER_SUBSECTION * PAGE_SIZE)
#define SECTION_ALIGN_UP(pfn)		ALIGN(pfn, PAGES_PER_SECTION)
#define SECTION_ALIGN_DOWN(pfn)		ALIGN_DOWN(pfn, PAGES_PER_SECTION)
#define PHYS_PFN(addr)			((unsigned long)(addr) >> PAGE_SHIFT)
#define pfn_to_section_nr(pfn)		((pfn) / PAGES_PER_SECTION)
#define NR_SECTIONS			1024
#define NR_RAM				4096
#define NR_NODES			2
#define NR_SUBSECTIONS	(NR_SECTIONS * PAGES_PER_SECTION / PAGES_PER_SUBSECTION)
#define VMEMMAP_SIZE			(NR_SECTIONS * PMD_SIZE)
#define order_base_2(n)			(ilog2((n) - 1) + 1)
#define msecs_to_jiffies(ms)		((ms) * HZ / 1000)
#define NUMA_NO_NODE			(-1)
#define numa_mem_id()			0
#define for_each_node_state(nid, ...)	\
	for (int *__n = memset(&(nid), 0, sizeof(int)); *__n < NR_NODES; ++*__n)
#define totalram_pages()		nr_totalram

enum memory_type { MEMORY_DEVICE_GENERIC, MEMORY_DEVICE_TRANSIENT };

struct workqueue_struct;
struct rcu_head {};
struct range { u64 start, end; };
