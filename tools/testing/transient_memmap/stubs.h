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
#define pr_warn(...)	\
	(snprintf(NULL, 0, __VA_ARGS__), __atomic_add_fetch(&nr_messages, 1, 0))
#define cond_resched()			do { } while (0)
#define page_kasan_tag_reset(...)	do { } while (0)
#define mm_dec_nr_pmds(mm)		do { } while (0)

#define GFP_KERNEL			0
#define GFP_NOWAIT			0
#define __GFP_RETRY_MAYFAIL		0
#define __GFP_NOWARN			0
#define __GFP_NOFAIL			1
#define TASK_RUNNING			0
#define TASK_KILLABLE			1
#define TASK_IDLE			2
#define ERESTARTSYS			512
#define EHWPOISON			133
#define WQ_MEM_RECLAIM			0
#define WQ_UNBOUND			0
#define SHRINKER_NUMA_AWARE		1
#define DEFAULT_SEEKS			2
#define XA_PRESENT			0
#define ZONE_DEVICE			3
#define PG_reserved			0
#define PG_referenced			1
#define PG_head				2
#define FOLL_LONGTERM			BIT(8)
#define FOLL_HWPOISON			BIT(6)
#define FAULT_FLAG_WRITE		1
#define FAULT_FLAG_REMOTE		2
#define VM_FAULT_FALLBACK		0x800
#define VM_FAULT_SIGBUS			2
#define VM_FAULT_HWPOISON		0x10
#define HZ				100

#define PAGE_SHIFT			12
#define PAGE_SIZE			BIT(PAGE_SHIFT)
#define PAGE_MASK			(~(PAGE_SIZE - 1))
#define PMD_SHIFT			21
#define PMD_SIZE			BIT(PMD_SHIFT)
#define PMD_ORDER			(PMD_SHIFT - PAGE_SHIFT)
#define PUD_SHIFT			30
#define PUD_SIZE			BIT(PUD_SHIFT)
#define PUD_ORDER			(PUD_SHIFT - PAGE_SHIFT)
#define PTRS_PER_PTE			512
#define PAGES_PER_SECTION		BIT(27 - PAGE_SHIFT)
#define PAGES_PER_SUBSECTION		512UL
#define SUBSECTION_SIZE			(PAGES_PER_SUBSECTION * PAGE_SIZE)
#define SECTION_ALIGN_UP(pfn)		ALIGN(pfn, PAGES_PER_SECTION)
#define SECTION_ALIGN_DOWN(pfn)		ALIGN_DOWN(pfn, PAGES_PER_SECTION)
#define PHYS_PFN(addr)			((unsigned long)(addr) >> PAGE_SHIFT)
#define PFN_PHYS(pfn)			((unsigned long)(pfn) << PAGE_SHIFT)
#define pfn_to_section_nr(pfn)		((pfn) / PAGES_PER_SECTION)
#ifndef NR_SECTIONS
#define NR_SECTIONS			8192UL /* 1 TiB */
#define NR_RAM				4096
#endif
#define NR_PFNS				(NR_SECTIONS * PAGES_PER_SECTION)
#define NR_NODES			8
#define VMEMMAP_SIZE			(NR_SECTIONS * PMD_SIZE)
#define msecs_to_jiffies(ms)		((ms) * HZ / 1000)
#define time_after_eq(a, b)		((long)((a) - (b)) >= 0)
#define NUMA_NO_NODE			(-1)
#define numa_mem_id()			0
#define for_each_node_state(nid, ...)	\
	for (int *__n = memset(&(nid), 0, sizeof(int)); *__n < NR_NODES; ++*__n)
#define totalram_pages()		nr_totalram

enum memory_type { MEMORY_DEVICE_GENERIC, MEMORY_DEVICE_TRANSIENT };

typedef int vm_fault_t;
struct workqueue_struct;
struct file { void *f_mapping; };
struct vm_area_struct { struct file *vm_file; };
struct rcu_head {};
struct range { u64 start, end; };
struct vm_fault {
	struct vm_area_struct *vma;
	unsigned long address;
	unsigned int flags;
};

#define filemap_invalidate_lock_shared(mapping)		((void)(mapping))
#define filemap_invalidate_unlock_shared(mapping)	((void)(mapping))
#define vmf_insert_pfn(...)		0
#define vmf_insert_pfn_pmd(vmf, pfn, write)	((void)(write), 0)
#define vmf_insert_pfn_pud		vmf_insert_pfn_pmd

/* No process has memory mapped. */
struct mm_struct;
struct follow_pfnmap_args {
	struct vm_area_struct *vma;
	unsigned long address, pfn, addr_mask;
	bool writable;
};

#define untagged_addr_remote(mm, addr)	((void)(mm), (addr))
#define vma_lookup(...)			((struct vm_area_struct *)NULL)
#define vma_test(...)			false
#define follow_pfnmap_start(...)	(-EINVAL)
#define follow_pfnmap_end(...)		do { } while (0)

static inline int fixup_user_fault(struct mm_struct *mm, unsigned long addr,
				   unsigned int flags, bool *unlocked)
{
	return -EFAULT;
}

static inline bool vma_is_transient(const struct vm_area_struct *vma)
{
	return false;
}

/* What an operator would have read */
static int nr_messages;

/* sysfs, which the tests read by the functions of its attributes */
struct kobject { const struct kobj_type *ktype; };
struct attribute { const char *name; };
struct attribute_group { struct attribute **attrs; };

struct kobj_attribute {
	struct attribute attr;
	ssize_t (*show)(struct kobject *kobj, struct kobj_attribute *attr,
			char *buf);
	ssize_t (*store)(struct kobject *kobj, struct kobj_attribute *attr,
			 const char *buf, size_t len);
};

struct kobj_type {
	void (*release)(struct kobject *kobj);
	const void *sysfs_ops;
	const struct attribute_group **default_groups;
};

struct device { struct kobject kobj; const char *name; };

static const int kobj_sysfs_ops;

#define __ATTR(_name, mode, show, store) { { #_name }, show, store }
#define __ATTR_RO(_name)	{ { #_name }, _name##_show }
#define __ATTR_RW(_name)	{ { #_name }, _name##_show, _name##_store }
#define ATTRIBUTE_GROUPS(_name)						\
static const struct attribute_group _name##_group = { _name##_attrs };	\
static const struct attribute_group *_name##_groups[] = {		\
	&_name##_group, NULL						\
}
#define kobject_init(kobj, type)	((kobj)->ktype = (type))
#define kobject_put(kobj)		(kobj)->ktype->release(kobj)
#define kobject_add(...)		0
#define kobject_del(kobj)		(void)(kobj)
#define dev_name(dev)			((dev)->name)
#define devm_add_action_or_reset(dev, fn, arg)	((fn)(arg), 0)
#define sysfs_emit(buf, ...)		sprintf(buf, __VA_ARGS__)
#define sysfs_emit_at(buf, at, ...)	sprintf((buf) + (at), __VA_ARGS__)

static inline int kstrtoul(const char *s, int base, unsigned long *value)
{
	char *end;

	*value = strtoul(s, &end, base);
	return end == s || (*end && *end != '\n') ? -EINVAL : 0;
}
