// SPDX-License-Identifier: GPL-2.0
/*
 * Transient struct pages: a pool from memremap_pages() to memunmap_pages(), and
 * what its provider and its operator do with it meanwhile
 */
#define pr_fmt(fmt) "transient_memmap: " fmt

#include "internal.h"

/* When an unregistering that waits for pins says so */
#define DRAIN_WARN	(10 * HZ)

const char * const transient_memmap_stat_names[] = {
	[TRANSIENT_MEMMAP_LIVE]		= "live",
	[TRANSIENT_MEMMAP_CACHED]	= "cached",
	[TRANSIENT_MEMMAP_PEAK]		= "peak",
	[TRANSIENT_MEMMAP_POPULATED]	= "populated",
	[TRANSIENT_MEMMAP_FREED]	= "freed",
	[TRANSIENT_MEMMAP_FAILED]	= "failed",
	[TRANSIENT_MEMMAP_FLUSHES]	= "flushes",
	[TRANSIENT_MEMMAP_HELD]		= "held",
	[TRANSIENT_MEMMAP_BYTES]	= "memmap_bytes",
};
EXPORT_SYMBOL_GPL(transient_memmap_stat_names);

static_assert(ARRAY_SIZE(transient_memmap_stat_names) ==
	      NR_TRANSIENT_MEMMAP_STATS);

/* Limits and statistics */

/**
 * transient_memmap_get_limit() - read a limit
 * @pgmap: registered
 * @limit: which
 *
 * Context: Any; the caller keeps @pgmap registered.
 * Return: its value.
 */
unsigned long transient_memmap_get_limit(const struct dev_pagemap *pgmap,
					 enum transient_memmap_limit limit)
{
	return READ_ONCE(pgmap->transient_pool->limits[limit]);
}
EXPORT_SYMBOL_GPL(transient_memmap_get_limit);

/**
 * transient_memmap_stat() - read a statistic
 * @pgmap: registered
 * @stat: which
 *
 * Context: Process context; the caller keeps @pgmap registered.
 * Return: its value.
 */
unsigned long transient_memmap_stat(const struct dev_pagemap *pgmap,
				    enum transient_memmap_stat stat)
{
	struct transient_pool *pool = pgmap->transient_pool;

	guard(spinlock)(&pool->lock);
	switch (stat) {
	case TRANSIENT_MEMMAP_LIVE:
		return pool_live(pool);
	case TRANSIENT_MEMMAP_CACHED:
		return pool->nr_cached;
	case TRANSIENT_MEMMAP_FLUSHES:
		return atomic_long_read(&transient_nr_flushes);
	case TRANSIENT_MEMMAP_HELD:
		return atomic_long_read(&pool->nr_held);
	case TRANSIENT_MEMMAP_BYTES:
		/* The tails are one page more. */
		return pool->table_bytes +
		       (pool_live(pool) + pool->nr_spare + 1) * PAGE_SIZE;
	default:
		return pool->stats[stat];
	}
}
EXPORT_SYMBOL_GPL(transient_memmap_stat);

/**
 * transient_memmap_set_owner_ops() - have owners charged
 * @pgmap: registered, and not mapped anywhere yet
 * @ops: what charges them
 *
 * Context: Any.
 */
void transient_memmap_set_owner_ops(struct dev_pagemap *pgmap,
				    const struct transient_owner_ops *ops)
{
	pgmap->transient_pool->owner_ops = ops;
}
EXPORT_SYMBOL_GPL(transient_memmap_set_owner_ops);

/* The sysfs directory */

static struct dev_pagemap *kobj_pgmap(struct kobject *kobj)
{
	return container_of(kobj, struct transient_pool, kobj)->pgmap;
}

static struct kobj_attribute limit_attrs[NR_TRANSIENT_MEMMAP_LIMITS];

static ssize_t limit_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%lu\n",
			  transient_memmap_get_limit(kobj_pgmap(kobj),
						     attr - limit_attrs));
}

static ssize_t limit_store(struct kobject *kobj, struct kobj_attribute *attr,
			   const char *buf, size_t len)
{
	unsigned long value;
	int err;

	err = kstrtoul(buf, 0, &value) ?:
	      transient_memmap_set_limit(kobj_pgmap(kobj), attr - limit_attrs,
					 value);
	return err ?: len;
}

static struct kobj_attribute limit_attrs[] = {
	[TRANSIENT_MEMMAP_CAP]	= __ATTR(cap, 0644, limit_show, limit_store),
	[TRANSIENT_MEMMAP_CACHE] = __ATTR(cache, 0644, limit_show, limit_store),
	[TRANSIENT_MEMMAP_LONGTERM] = __ATTR(longterm, 0644, limit_show,
					     limit_store),
};

static ssize_t stats_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	int i, len = sysfs_emit(buf, "block_size %lu\n", TRANSIENT_BLOCK_SIZE);
	struct dev_pagemap *pgmap = kobj_pgmap(kobj);

	for (i = 0; i < NR_TRANSIENT_MEMMAP_STATS; i++)
		len += sysfs_emit_at(buf, len, "%s %lu\n",
				     transient_memmap_stat_names[i],
				     transient_memmap_stat(pgmap, i));
	return len;
}

static struct kobj_attribute stats_attr = __ATTR_RO(stats);

static struct attribute *pool_attrs[] = {
	&limit_attrs[TRANSIENT_MEMMAP_CAP].attr,
	&limit_attrs[TRANSIENT_MEMMAP_CACHE].attr,
	&limit_attrs[TRANSIENT_MEMMAP_LONGTERM].attr,
	&stats_attr.attr,
	NULL,
};
ATTRIBUTE_GROUPS(pool);

static void pool_release(struct kobject *kobj)
{
	kfree(container_of(kobj, struct transient_pool, kobj));
}

static const struct kobj_type pool_ktype = {
	.release	= pool_release,
	.sysfs_ops	= &kobj_sysfs_ops,
	.default_groups	= pool_groups,
};

static void pool_del_sysfs(void *kobj)
{
	kobject_del(kobj);
}

/**
 * devm_transient_memmap_sysfs() - show limits and statistics to the operator
 * @dev: the provider's device, which gets a directory "transient"
 * @pgmap: registered by devm_memremap_pages() for @dev
 *
 * Context: Process context, may sleep.
 * Return: 0 or a negative error.
 */
int devm_transient_memmap_sysfs(struct device *dev, struct dev_pagemap *pgmap)
{
	struct transient_pool *pool = pgmap->transient_pool;
	int err;

	pool->dev = dev;
	err = kobject_add(&pool->kobj, &dev->kobj, "transient");
	if (err)
		return err;
	return devm_add_action_or_reset(dev, pool_del_sysfs, &pool->kobj);
}
EXPORT_SYMBOL_GPL(devm_transient_memmap_sysfs);

static vm_fault_t insert_pfn(struct vm_fault *vmf, unsigned long pfn,
			     unsigned int order)
{
	bool write = vmf->flags & FAULT_FLAG_WRITE;

	if (!order)
		return vmf_insert_pfn(vmf->vma, vmf->address, pfn);
	if (order == PMD_ORDER)
		return vmf_insert_pfn_pmd(vmf, pfn, write);
	if (IS_ENABLED(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD) &&
	    order == PUD_ORDER)
		return vmf_insert_pfn_pud(vmf, pfn, write);
	return VM_FAULT_FALLBACK;
}

/**
 * vmf_insert_transient_pfn() - map what a fault asks for
 * @vmf: a fault in a VMA with VMA_TRANSIENT_BIT
 * @pfn: of a transient range
 * @order: 0, or that of a PMD or PUD, as the fault is
 *
 * A page with a memory error is not mapped. Those around it are, by smaller
 * entries, and so is memory that is not aligned as its address is. So the
 * provider has to handle faults of all smaller orders.
 *
 * Context: Process context, in a fault handler. Takes the mapping's
 * invalidate_lock.
 * Return: as of vmf_insert_pfn(); VM_FAULT_FALLBACK if @order is too large;
 * VM_FAULT_HWPOISON.
 */
vm_fault_t vmf_insert_transient_pfn(struct vm_fault *vmf, unsigned long pfn,
				    unsigned int order)
{
	struct address_space *mapping = vmf->vma->vm_file->f_mapping;
	vm_fault_t ret;

	if (!IS_ALIGNED(pfn, 1UL << order))
		return VM_FAULT_FALLBACK;

	/*
	 * memory_failure() notes the error before it takes the lock to unmap
	 * the page. Either we see the error, or it sees our entry.
	 */
	filemap_invalidate_lock_shared(mapping);
	if (transient_has_poison(pfn, 1UL << order))
		ret = order ? VM_FAULT_FALLBACK : VM_FAULT_HWPOISON;
	else
		ret = insert_pfn(vmf, pfn, order);
	filemap_invalidate_unlock_shared(mapping);
	return ret;
}
EXPORT_SYMBOL_GPL(vmf_insert_transient_pfn);

/* Register and unregister, for memremap_pages() */

/* As much as a static memmap for the machine's ordinary memory costs */
static unsigned long default_cap(void)
{
	return max(totalram_pages() / 64, 1UL);
}

/* Tail struct pages: what they are is in their content, not their address. */
static int pool_init_tails(struct transient_pool *pool)
{
	struct page *tail;
	int i;

	pool->tails = alloc_pages_node(pool->nid, GFP_KERNEL, 0);
	if (!pool->tails)
		return -ENOMEM;
	tail = page_address(pool->tails);
	for (i = 0; i < PAGE_SIZE / sizeof(*tail); i++, tail++) {
		mm_zero_struct_page(tail);
		set_page_links(tail, ZONE_DEVICE, pool->nid, 0);
		atomic_set(&tail->_mapcount, -1);
		page_kasan_tag_reset(tail);
		/* As in all of ZONE_DEVICE */
		__set_bit(PG_reserved, &tail->flags.f);
		prep_compound_tail(tail, NULL, TRANSIENT_BLOCK_ORDER);
	}
	return 0;
}

static void pool_warn_drain(struct work_struct *work)
{
	struct transient_pool *pool = container_of(to_delayed_work(work),
						   struct transient_pool,
						   drain_work);

	pr_warn("%s: unregistering waits: live blocks %lu, held pages %lu\n",
		pool->dev ? dev_name(pool->dev) : "a pool",
		transient_memmap_stat(pool->pgmap, TRANSIENT_MEMMAP_LIVE),
		transient_memmap_stat(pool->pgmap, TRANSIENT_MEMMAP_HELD));
}

/**
 * transient_memmap_create_pool() - give a pgmap its pool
 * @pgmap: of type MEMORY_DEVICE_TRANSIENT
 * @nid: node for its struct pages, or NUMA_NO_NODE
 *
 * Context: Process context, may sleep; no hotplug lock held.
 * Return: 0 or -ENOMEM.
 */
int transient_memmap_create_pool(struct dev_pagemap *pgmap, int nid)
{
	struct transient_pool *pool = kzalloc_obj(*pool);

	if (!pool)
		return -ENOMEM;
	kobject_init(&pool->kobj, &pool_ktype);
	pool->pgmap = pgmap;
	pool->nid = nid < 0 ? numa_mem_id() : nid;
	pool->direct_map = pgmap->flags & PGMAP_TRANSIENT_DIRECT_MAP;
	pool->limits[TRANSIENT_MEMMAP_CAP] = default_cap();
	/* The other half is for what is pinned, or waits to be freed. */
	pool->limits[TRANSIENT_MEMMAP_CACHE] =
		pool->limits[TRANSIENT_MEMMAP_CAP] / 2;
	INIT_DELAYED_WORK(&pool->drain_work, pool_warn_drain);

	if (pool_init_tails(pool))
		goto err_pool;
	if (pool_init_cache(pool))
		goto err_tails;
	pgmap->transient_pool = pool;
	static_branch_inc(&transient_memmap_key);
	return 0;

err_tails:
	__free_page(pool->tails);
err_pool:
	kobject_put(&pool->kobj);
	return -ENOMEM;
}

/**
 * transient_memmap_drain_pool() - wait until no block is left
 * @pgmap: with a pool; its ref was killed
 *
 * A page may be pinned for as long as its process lives, which must neither
 * count as load nor trip the hung-task detector: hence TASK_IDLE.
 *
 * Context: Process context, may sleep.
 */
void transient_memmap_drain_pool(struct dev_pagemap *pgmap)
{
	struct transient_pool *pool = pgmap->transient_pool;

	transient_memmap_set_limit(pgmap, TRANSIENT_MEMMAP_CACHE, 0);
	queue_delayed_work(system_dfl_wq, &pool->drain_work, DRAIN_WARN);
	wait_for_completion_state(&pgmap->done, TASK_IDLE);
	cancel_delayed_work_sync(&pool->drain_work);
}

/**
 * transient_memmap_destroy_pool() - undo transient_memmap_create_pool()
 * @pgmap: with a pool; all its ranges were removed
 *
 * Context: Process context, may sleep; no hotplug lock held.
 */
void transient_memmap_destroy_pool(struct dev_pagemap *pgmap)
{
	struct transient_pool *pool = pgmap->transient_pool;

	static_branch_dec(&transient_memmap_key);
	pool_exit_cache(pool);
	__free_page(pool->tails);
	kobject_put(&pool->kobj);
	pgmap->transient_pool = NULL;
}
