// SPDX-License-Identifier: GPL-2.0
/*
 * A provider of memory with a transient memmap, for the selftests.
 *
 * Its memory is what the command line reserves and says to whom, for instance
 *
 *	memmap=512M$8448M test_transient_memmap.base=0x210000000
 *	test_transient_memmap.size=0x20000000
 *
 * Each open file of /dev/test_transient_memmap can register parts of it as a
 * pgmap, map any of it, and hold pins of the caller's memory of any kind.
 * Closing it undoes all this. See lib/test_transient_memmap_uapi.h.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/ioport.h>
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/transient_memmap.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>
#include "test_transient_memmap_uapi.h"

/* More than any test wants, but too little to exhaust the kernel's memory */
#define MAX_PIN_PAGES	(SZ_1G / PAGE_SIZE)

static ulong base;
module_param(base, ulong, 0444);
MODULE_PARM_DESC(base, "Physical address of the memory to provide");

static ulong size;
module_param(size, ulong, 0444);
MODULE_PARM_DESC(size, "Its size in bytes");

/**
 * struct tmemmap_file - an open file
 * @lock: held by ioctls
 * @pgmap: what this file has registered, or NULL
 * @pins: struct tmemmap_held by id
 * @nr_vmas: mappings of this file. Changed under some mmap_lock, which nests
 *	inside @lock when user memory is pinned, so @lock can't protect it. A
 *	mapping that is made while TMEMMAP_UNREGISTER runs is the tester's fault.
 * @map: how to make mappings
 */
struct tmemmap_file {
	struct mutex lock;	/* serialises ioctls */
	struct dev_pagemap *pgmap;
	struct xarray pins;
	atomic_t nr_vmas;
	struct tmemmap_map map;
};

struct tmemmap_held {
	bool get;
	unsigned long nr;
	struct page *pages[] __counted_by(nr);
};

/* Mappings */

static vm_fault_t tmemmap_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct tmemmap_file *tf = vma->vm_file->private_data;
	unsigned long len = PAGE_SIZE << order;
	unsigned long addr = ALIGN_DOWN(vmf->address, len);
	unsigned long phys;

	if (len > max(tf->map.page_size, PAGE_SIZE) ||
	    addr < vma->vm_start || addr + len > vma->vm_end)
		return VM_FAULT_FALLBACK;

	phys = base + PFN_PHYS(vma->vm_pgoff) + addr - vma->vm_start;
	if (vma_test(vma, VMA_TRANSIENT_BIT))
		return vmf_insert_transient_pfn(vmf, PHYS_PFN(phys), order);
	/* If it is not transient, it is mapped as other drivers map MMIO. */
	if (order)
		return VM_FAULT_FALLBACK;
	return vmf_insert_pfn(vma, vmf->address, PHYS_PFN(phys));
}

static vm_fault_t tmemmap_fault(struct vm_fault *vmf)
{
	return tmemmap_huge_fault(vmf, 0);
}

static void tmemmap_vma_open(struct vm_area_struct *vma)
{
	struct tmemmap_file *tf = vma->vm_file->private_data;

	atomic_inc(&tf->nr_vmas);
}

static void tmemmap_vma_close(struct vm_area_struct *vma)
{
	struct tmemmap_file *tf = vma->vm_file->private_data;

	atomic_dec(&tf->nr_vmas);
}

static const struct vm_operations_struct tmemmap_vm_ops = {
	.open = tmemmap_vma_open,
	.close = tmemmap_vma_close,
	.fault = tmemmap_fault,
	.huge_fault = tmemmap_huge_fault,
};

static int tmemmap_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct tmemmap_file *tf = file->private_data;
	unsigned long pages = size >> PAGE_SHIFT;

	if (vma->vm_pgoff > pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -EINVAL;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;

	vma_set_flags(vma, VMA_PFNMAP_BIT, VMA_DONTEXPAND_BIT,
		      VMA_DONTDUMP_BIT);
	if (tf->map.kind == TMEMMAP_MAP_TRANSIENT)
		vma_set_flags(vma, VMA_TRANSIENT_BIT);
	vma->vm_ops = &tmemmap_vm_ops;
	tmemmap_vma_open(vma);
	return 0;
}

static int tmemmap_set_map(struct tmemmap_file *tf, void __user *arg)
{
	struct tmemmap_map map;

	if (copy_from_user(&map, arg, sizeof(map)))
		return -EFAULT;
	if (map.kind > TMEMMAP_MAP_PLAIN)
		return -EINVAL;
	tf->map = map;
	return 0;
}

/* The pgmap */

static int tmemmap_register(struct tmemmap_file *tf, void __user *arg)
{
	struct dev_pagemap *pgmap __free(kfree) = NULL;
	struct tmemmap_register reg;
	void *addr;
	int i;

	if (tf->pgmap)
		return -EEXIST;
	if (copy_from_user(&reg, arg, sizeof(reg)))
		return -EFAULT;
	if (!reg.nr || reg.nr > TMEMMAP_MAX_RANGES)
		return -EINVAL;

	pgmap = kzalloc(struct_size(pgmap, ranges, reg.nr), GFP_KERNEL);
	if (!pgmap)
		return -ENOMEM;
	pgmap->type = MEMORY_DEVICE_TRANSIENT;
	pgmap->nr_range = reg.nr;
	for (i = 0; i < reg.nr; i++) {
		if (reg.ranges[i].offset > size ||
		    reg.ranges[i].len > size - reg.ranges[i].offset)
			return -ERANGE;
		pgmap->ranges[i].start = base + reg.ranges[i].offset;
		pgmap->ranges[i].end = pgmap->ranges[i].start +
				       reg.ranges[i].len - 1;
	}

	addr = memremap_pages(pgmap, NUMA_NO_NODE);
	if (IS_ERR(addr))
		return PTR_ERR(addr);
	tf->pgmap = no_free_ptr(pgmap);
	return 0;
}

/* Waits for pins that others hold, of I/O under way for instance. */
static int tmemmap_unregister(struct tmemmap_file *tf)
{
	if (!tf->pgmap)
		return -ENOENT;
	if (atomic_read(&tf->nr_vmas) || !xa_empty(&tf->pins))
		return -EBUSY;

	memunmap_pages(tf->pgmap);
	kfree(tf->pgmap);
	tf->pgmap = NULL;
	return 0;
}

/* In the words of sysfs, so that the selftests read both alike */
static int tmemmap_stats(struct tmemmap_file *tf, void __user *arg)
{
	struct tmemmap_stats *out __free(kfree) = NULL;
	size_t len = 0;
	int i;

	if (!tf->pgmap)
		return -ENOENT;
	out = kzalloc_obj(*out);
	if (!out)
		return -ENOMEM;
	for (i = 0; i < NR_TRANSIENT_MEMMAP_STATS; i++)
		len += scnprintf(out->text + len, sizeof(out->text) - len,
				 "%s %lu\n", transient_memmap_stat_names[i],
				 transient_memmap_stat(tf->pgmap, i));
	return copy_to_user(arg, out, sizeof(*out)) ? -EFAULT : 0;
}

static_assert((int)TMEMMAP_CAP == (int)TRANSIENT_MEMMAP_CAP);
static_assert((int)TMEMMAP_CACHE == (int)TRANSIENT_MEMMAP_CACHE);
static_assert((int)TMEMMAP_ALLOW_LONGTERM == (int)TRANSIENT_MEMMAP_LONGTERM);

static int tmemmap_limit(struct tmemmap_file *tf, void __user *arg, bool set)
{
	struct tmemmap_limit limit;

	if (!tf->pgmap)
		return -ENOENT;
	if (copy_from_user(&limit, arg, sizeof(limit)))
		return -EFAULT;
	if (limit.which > TMEMMAP_ALLOW_LONGTERM)
		return -EINVAL;
	if (set)
		return transient_memmap_set_limit(tf->pgmap, limit.which,
						  limit.value);
	limit.value = transient_memmap_get_limit(tf->pgmap, limit.which);
	return copy_to_user(arg, &limit, sizeof(limit)) ? -EFAULT : 0;
}

static int tmemmap_info(void __user *arg)
{
	struct tmemmap_info info = {
		.size = size,
	};

	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static int tmemmap_block(void __user *arg)
{
	struct tmemmap_block block;
	unsigned long pfn;

	if (copy_from_user(&block, arg, sizeof(block)))
		return -EFAULT;
	if (block.offset >= size)
		return -ERANGE;
	pfn = PHYS_PFN(base + block.offset);

	/* RCU keeps the struct pages of a block that was seen to be live. */
	scoped_guard(rcu) {
		block.live = pfn_has_struct_page(pfn);
		block.refs = 0;
		block.pins = 0;
		if (block.live) {
			struct folio *folio = page_folio(pfn_to_page(pfn));

			block.refs = folio_ref_count(folio);
			block.pins = atomic_read(&folio->_pincount);
		}
	}
	return copy_to_user(arg, &block, sizeof(block)) ? -EFAULT : 0;
}

/* Pins */

static long tmemmap_gup_remote(unsigned long addr, unsigned long nr,
			       unsigned int flags, struct page **pages)
{
	int locked = 1;
	long ret;

	mmap_read_lock(current->mm);
	ret = pin_user_pages_remote(current->mm, addr, nr, flags, pages,
				    &locked);
	if (locked)
		mmap_read_unlock(current->mm);
	return ret;
}

static long tmemmap_gup(const struct tmemmap_pin *pin, struct page **pages)
{
	unsigned int flags = 0;

	if (pin->flags & TMEMMAP_WRITE)
		flags |= FOLL_WRITE;
	if (pin->flags & TMEMMAP_LONGTERM)
		flags |= FOLL_LONGTERM;
	if (pin->flags & TMEMMAP_FORCE)
		flags |= FOLL_FORCE;
	if (pin->flags & TMEMMAP_NOFAULT)
		flags |= FOLL_NOFAULT;
	if (pin->flags & TMEMMAP_DUMP)
		flags |= FOLL_DUMP;
	if (pin->flags & TMEMMAP_NO_TRANSIENT)
		flags |= FOLL_NO_TRANSIENT;

	switch (pin->how) {
	case TMEMMAP_PIN_FAST:
		return pin_user_pages_fast(pin->addr, pin->nr, flags, pages);
	case TMEMMAP_PIN_UNLOCKED:
		return pin_user_pages_unlocked(pin->addr, pin->nr, pages,
					       flags);
	case TMEMMAP_PIN_REMOTE:
		return tmemmap_gup_remote(pin->addr, pin->nr, flags, pages);
	case TMEMMAP_GET_FAST:
		return get_user_pages_fast(pin->addr, pin->nr, flags, pages);
	case TMEMMAP_GET_FAST_ONLY:
		return get_user_pages_fast_only(pin->addr, pin->nr, flags,
						pages);
	default:
		return -EINVAL;
	}
}

static void tmemmap_release_held(struct tmemmap_held *held)
{
	unsigned long i;

	if (!held->get)
		unpin_user_pages(held->pages, held->nr);
	else
		for (i = 0; i < held->nr; i++)
			put_page(held->pages[i]);
	kvfree(held);
}

static int tmemmap_pin(struct tmemmap_file *tf, void __user *arg)
{
	struct tmemmap_held *held;
	struct tmemmap_pin pin;
	long ret;

	if (copy_from_user(&pin, arg, sizeof(pin)))
		return -EFAULT;
	if (!pin.nr || pin.nr > MAX_PIN_PAGES)
		return -EINVAL;

	held = kvzalloc(struct_size(held, pages, pin.nr), GFP_KERNEL);
	if (!held)
		return -ENOMEM;
	held->nr = pin.nr;
	held->get = pin.how == TMEMMAP_GET_FAST ||
		    pin.how == TMEMMAP_GET_FAST_ONLY;
	ret = tmemmap_gup(&pin, held->pages);
	held->nr = max(ret, 0);
	if (ret < 0)
		goto err_release;

	pin.pinned = ret;
	ret = xa_alloc(&tf->pins, &pin.id, held, xa_limit_31b, GFP_KERNEL);
	if (ret)
		goto err_release;
	if (!copy_to_user(arg, &pin, sizeof(pin)))
		return 0;
	ret = -EFAULT;
	xa_erase(&tf->pins, pin.id);
err_release:
	tmemmap_release_held(held);
	return ret;
}

static int tmemmap_unpin(struct tmemmap_file *tf, void __user *arg)
{
	struct tmemmap_held *held;
	u32 id;

	if (copy_from_user(&id, arg, sizeof(id)))
		return -EFAULT;
	held = xa_erase(&tf->pins, id);
	if (!held)
		return -ENOENT;
	tmemmap_release_held(held);
	return 0;
}

static int tmemmap_read(struct tmemmap_file *tf, void __user *arg)
{
	struct tmemmap_held *held;
	struct tmemmap_read rd;

	if (copy_from_user(&rd, arg, sizeof(rd)))
		return -EFAULT;
	held = xa_load(&tf->pins, rd.id);
	if (!held)
		return -ENOENT;
	if (rd.offset > held->nr * PAGE_SIZE ||
	    rd.len > held->nr * PAGE_SIZE - rd.offset)
		return -ERANGE;

	while (rd.len) {
		unsigned long in_page = offset_in_page(rd.offset);
		unsigned long len = min(PAGE_SIZE - in_page, rd.len);
		struct page *page = held->pages[rd.offset / PAGE_SIZE];
		void *addr = kmap_local_page(page);
		unsigned long left;

		left = copy_to_user(u64_to_user_ptr(rd.buf), addr + in_page,
				    len);
		kunmap_local(addr);
		if (left)
			return -EFAULT;
		rd.buf += len;
		rd.offset += len;
		rd.len -= len;
	}
	return 0;
}

/* The file */

static long tmemmap_ioctl(struct file *file, unsigned int cmd,
			  unsigned long argp)
{
	struct tmemmap_file *tf = file->private_data;
	void __user *arg = (void __user *)argp;

	guard(mutex)(&tf->lock);
	switch (cmd) {
	case TMEMMAP_INFO:
		return tmemmap_info(arg);
	case TMEMMAP_REGISTER:
		return tmemmap_register(tf, arg);
	case TMEMMAP_UNREGISTER:
		return tmemmap_unregister(tf);
	case TMEMMAP_STATS:
		return tmemmap_stats(tf, arg);
	case TMEMMAP_GET_LIMIT:
		return tmemmap_limit(tf, arg, false);
	case TMEMMAP_SET_LIMIT:
		return tmemmap_limit(tf, arg, true);
	case TMEMMAP_BLOCK:
		return tmemmap_block(arg);
	case TMEMMAP_MAP:
		return tmemmap_set_map(tf, arg);
	case TMEMMAP_PIN:
		return tmemmap_pin(tf, arg);
	case TMEMMAP_READ:
		return tmemmap_read(tf, arg);
	case TMEMMAP_UNPIN:
		return tmemmap_unpin(tf, arg);
	default:
		return -ENOTTY;
	}
}

static int tmemmap_open(struct inode *inode, struct file *file)
{
	struct tmemmap_file *tf = kzalloc(sizeof(*tf), GFP_KERNEL);

	if (!tf)
		return -ENOMEM;
	mutex_init(&tf->lock);
	xa_init_flags(&tf->pins, XA_FLAGS_ALLOC);
	tf->map.page_size = PAGE_SIZE;
	file->private_data = tf;
	return 0;
}

/* The last user of the file has gone, hence all of its mappings. */
static int tmemmap_release(struct inode *inode, struct file *file)
{
	struct tmemmap_file *tf = file->private_data;
	struct tmemmap_held *held;
	unsigned long id;

	xa_for_each(&tf->pins, id, held) {
		xa_erase(&tf->pins, id);
		tmemmap_release_held(held);
	}
	tmemmap_unregister(tf);
	xa_destroy(&tf->pins);
	kfree(tf);
	return 0;
}

static const struct file_operations tmemmap_fops = {
	.owner = THIS_MODULE,
	.open = tmemmap_open,
	.release = tmemmap_release,
	.mmap = tmemmap_mmap,
	.unlocked_ioctl = tmemmap_ioctl,
};

static struct miscdevice tmemmap_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "test_transient_memmap",
	.fops = &tmemmap_fops,
	.mode = 0600,
};

static int __init tmemmap_init(void)
{
	int err;

	if (!size)
		return -ENODEV;
	if (!IS_ALIGNED(base | size, PAGE_SIZE) ||
	    !request_mem_region(base, size, KBUILD_MODNAME)) {
		pr_err("%#lx bytes at %#lx are not reserved memory\n", size,
		       base);
		return -EINVAL;
	}
	err = misc_register(&tmemmap_misc);
	if (err)
		release_mem_region(base, size);
	return err;
}
module_init(tmemmap_init);

static void __exit tmemmap_exit(void)
{
	misc_deregister(&tmemmap_misc);
	release_mem_region(base, size);
}
module_exit(tmemmap_exit);

MODULE_DESCRIPTION("Test provider of memory with a transient memmap");
MODULE_LICENSE("GPL");
