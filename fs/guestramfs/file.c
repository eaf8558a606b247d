// SPDX-License-Identifier: GPL-2.0
/*
 * guestramfs: regular files, which are memory and nothing else
 *
 * The page cache has no part in this: a file has an array of blocks, and
 * mappings are VM_PFNMAP with VMA_TRANSIENT_BIT. A block comes with ftruncate()
 * to a larger size, with fallocate(), with write(), or with a fault into a hole
 * that a punch has left. It goes with a punch, ftruncate() to a smaller size,
 * or the inode.
 *
 * These use a block of a file, and this keeps it from being given up meanwhile:
 *
 * - Faults hold the file's lock from looking the block up until the entry is
 *   there. Giving up takes the lock for writing, zaps the entries, and has mm
 *   asked about pins and holds after that (see memory.c).
 * - read() and write() copy from and to user memory, which may fault, perhaps
 *   in a mapping of this file. So they look the block up under the lock, take a
 *   hold, and copy without the lock. The block waits for the hold.
 * - fallocate() and ftruncate() hold the lock for writing.
 *
 * The size shrinks under the lock too. So a fault has seen the new size, or its
 * entry is zapped.
 *
 * Locks: i_rwsem -> mmap_lock -> the file's lock -> the mapping's
 * invalidate_lock (vmf_insert_transient_pfn()), i_mmap_rwsem -> page table
 * lock. memory_failure() takes the invalidate_lock without the file's.
 */
#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/splice.h>

#include "guestramfs.h"

/* Blocks that fill_holes() has added and may have to take back */
#define NEW_BLOCK	XA_MARK_1

/* The file's blocks */

/* Returns 0 for a hole: no memory lies at address 0. */
static unsigned long lookup(struct inode *inode, pgoff_t index)
{
	void *entry = xa_load(&inode_file(inode)->blocks, index);

	return entry ? xa_to_value(entry) : 0;
}

/**
 * guestramfs_find_block() - search a file for a block
 * @inode: a regular file
 * @block: number of a block
 * @index: set to the block's place in the file
 *
 * Context: Any; the file may give the block up at any time.
 * Return: true if the file has it.
 */
bool guestramfs_find_block(struct inode *inode, unsigned long block,
			   pgoff_t *index)
{
	XA_STATE(xas, &inode_file(inode)->blocks, 0);
	void *entry;

	guard(rcu)();
	xas_for_each(&xas, entry, ULONG_MAX) {
		if (xas_retry(&xas, entry) || xa_to_value(entry) != block)
			continue;
		*index = xas.xa_index;
		return true;
	}
	return false;
}

/**
 * guestramfs_drop_blocks() - give up blocks that no entry maps any more
 * @inode: a regular file
 * @start: index of the first
 * @last: index of the last
 *
 * Context: Process context, may sleep. The file's lock is held for writing, or
 *	the inode is being evicted.
 */
void guestramfs_drop_blocks(struct inode *inode, pgoff_t start, pgoff_t last)
{
	struct xarray *blocks = &inode_file(inode)->blocks;
	pgoff_t index;
	void *entry;

	xa_for_each_range(blocks, index, entry, start, last) {
		xa_erase(blocks, index);
		inode_sub_bytes(inode, BLOCK_BYTES);
		guestramfs_give_up(inode_fs(inode), xa_to_value(entry));
		cond_resched();
	}
}

/* Have @nr blocks at @index. Another fault may have brought one meanwhile. */
static int fill(struct inode *inode, pgoff_t index, unsigned long nr)
{
	struct xarray *blocks = &inode_file(inode)->blocks;
	long block = guestramfs_alloc(inode, nr);
	unsigned long i;
	int err = 0;

	if (block < 0)
		return block;
	for (i = 0; i < nr && !err; i++) {
		err = xa_insert(blocks, index + i, xa_mk_value(block + i),
				GFP_KERNEL);
		if (err)
			break;
		inode_add_bytes(inode, BLOCK_BYTES);
	}
	/* Then no other fault has seen any: more than one come with the lock. */
	if (err && i)
		guestramfs_drop_blocks(inode, index, index + i - 1);
	for (; i < nr; i++)
		guestramfs_give_up(inode_fs(inode), block + i);
	return err == -EBUSY ? 0 : err;
}

static int fill_one(struct inode *inode, pgoff_t index)
{
	int err = fill(inode, index, 1);

	if (err == -ENOSPC && guestramfs_reap(inode_fs(inode)))
		err = fill(inode, index, 1);
	return err;
}

static bool wants_gib(struct inode *inode, pgoff_t index, pgoff_t end)
{
	unsigned long found = index;

	return IS_ALIGNED(index, GIB_BLOCKS) && end - index >= GIB_BLOCKS &&
	       !xa_find(&inode_file(inode)->blocks, &found,
			index + GIB_BLOCKS - 1, XA_PRESENT);
}

static int check_space(struct inode *inode, pgoff_t start, pgoff_t end)
{
	struct guestramfs_fs *fs = inode_fs(inode);
	unsigned long total, free, need = end - start;
	pgoff_t index;
	void *entry;

	xa_for_each_range(&inode_file(inode)->blocks, index, entry, start,
			  end - 1)
		need--;
	guestramfs_count(fs, &total, &free);
	if (need > free && guestramfs_reap(fs))
		guestramfs_count(fs, &total, &free);
	return need > free ? -ENOSPC : 0;
}

/*
 * Give the file all blocks that it lacks from @start to before @end, or none.
 * The lock is held for writing, so nobody sees those that are taken back.
 */
static int fill_holes(struct inode *inode, pgoff_t start, pgoff_t end,
		      bool any_signal)
{
	struct xarray *blocks = &inode_file(inode)->blocks;
	int err = start < end ? check_space(inode, start, end) : 0;
	pgoff_t index = start, i;
	unsigned long nr;
	void *entry;

	for (; !err && index < end; index += nr) {
		nr = 1;
		cond_resched();
		if (any_signal ? signal_pending(current) :
				 fatal_signal_pending(current)) {
			err = -EINTR;
			break;
		}
		if (wants_gib(inode, index, end) &&
		    !fill(inode, index, GIB_BLOCKS))
			nr = GIB_BLOCKS;
		else if (lookup(inode, index))
			continue;
		else
			err = fill_one(inode, index);
		for (i = index; !err && i < index + nr; i++)
			xa_set_mark(blocks, i, NEW_BLOCK);
	}
	xa_for_each_marked(blocks, index, entry, NEW_BLOCK) {
		xa_clear_mark(blocks, index, NEW_BLOCK);
		if (err)
			guestramfs_drop_blocks(inode, index, index);
	}
	return err;
}

/* Zero a part of the file that lies in one block. */
static int zero_part(struct inode *inode, loff_t from, loff_t to)
{
	unsigned long block = lookup(inode, from >> BLOCK_SHIFT);

	if (from >= to || !block || guestramfs_is_stale(inode_fs(inode), block))
		return 0;
	return guestramfs_zero(((phys_addr_t)block << BLOCK_SHIFT) +
			       (from & (BLOCK_BYTES - 1)), to - from);
}

static int zero_range(struct inode *inode, loff_t from, loff_t to)
{
	loff_t next;
	int err = 0;

	for (; from < to && !err; from = next) {
		next = min_t(loff_t, to, round_up(from + 1, BLOCK_BYTES));
		err = signal_pending(current) ? -EINTR :
		      zero_part(inode, from, next);
		cond_resched();
	}
	return err;
}

/* Blocks within are given up, and what is a part of one is zeroed. */
static int punch_hole(struct inode *inode, loff_t from, loff_t to)
{
	loff_t start = round_up(from, BLOCK_BYTES);
	loff_t end = round_down(to, BLOCK_BYTES);

	if (start > end)
		return zero_part(inode, from, to);
	if (start < end) {
		unmap_mapping_range(inode->i_mapping, start, end - start, 1);
		guestramfs_drop_blocks(inode, start >> BLOCK_SHIFT,
				       (end >> BLOCK_SHIFT) - 1);
	}
	return zero_part(inode, from, start) ?: zero_part(inode, end, to);
}

static pgoff_t blocks_up(loff_t size)
{
	return DIV_ROUND_UP_ULL(size, BLOCK_BYTES);
}

static int set_size(struct inode *inode, loff_t size)
{
	int err;

	guard(rwsem_write)(&inode_file(inode)->lock);
	if (READ_ONCE(inode_fs(inode)->dead))
		return -EIO;
	/* What lies beyond the end in its block is what a larger file has. */
	if (size > inode->i_size)
		err = fill_holes(inode, inode->i_size >> BLOCK_SHIFT,
				 blocks_up(size), false);
	else
		err = zero_part(inode, size, round_up(size, BLOCK_BYTES));
	if (err)
		return err;
	truncate_setsize(inode, size);
	guestramfs_drop_blocks(inode, blocks_up(size), ULONG_MAX);
	return 0;
}

static int guestramfs_setattr(struct mnt_idmap *idmap, struct dentry *dentry,
			      struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	int err = setattr_prepare(idmap, dentry, attr);

	if (!err && (attr->ia_valid & ATTR_SIZE))
		err = set_size(inode, attr->ia_size);
	if (!err)
		setattr_copy(idmap, inode, attr);
	return err;
}

static int allocate_range(struct inode *inode, int mode, loff_t from, loff_t to)
{
	bool grows = !(mode & FALLOC_FL_KEEP_SIZE) && to > inode->i_size;
	int err = grows ? inode_newsize_ok(inode, to) : 0;

	if (err)
		return err;
	guard(rwsem_write)(&inode_file(inode)->lock);
	if (READ_ONCE(inode_fs(inode)->dead))
		return -EIO;
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return punch_hole(inode, from, to);
	err = fill_holes(inode, from >> BLOCK_SHIFT, blocks_up(to), true);
	if (!err && (mode & FALLOC_FL_ZERO_RANGE))
		err = zero_range(inode, from, to);
	if (!err && grows)
		i_size_write(inode, to);
	return err;
}

static long guestramfs_fallocate(struct file *filp, int mode, loff_t offset,
				 loff_t len)
{
	struct inode *inode = file_inode(filp);
	int err;

	if (mode & ~(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE |
		     FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	inode_lock(inode);
	err = file_modified(filp) ?:
	      allocate_range(inode, mode, offset, offset + len);
	inode_unlock(inode);
	return err;
}

/* Mappings */

static bool is_contiguous(struct inode *inode, pgoff_t index, unsigned long nr)
{
	unsigned long block = lookup(inode, index), i;

	if (!block || !IS_ALIGNED(block, nr))
		return false;
	for (i = 1; i < nr; i++)
		if (lookup(inode, index + i) != block + i)
			return false;
	return true;
}

static vm_fault_t guestramfs_huge_fault(struct vm_fault *vmf,
					unsigned int order)
{
	unsigned long nr = BIT(order), nr_blocks = max(nr >> BLOCK_ORDER, 1UL);
	unsigned long addr = ALIGN_DOWN(vmf->address, nr << PAGE_SHIFT), block;
	struct vm_area_struct *vma = vmf->vma;
	struct inode *inode = file_inode(vma->vm_file);
	pgoff_t pgoff, eof, index;
	int err = 0;

	if (addr < vma->vm_start || (nr << PAGE_SHIFT) > vma->vm_end - addr)
		return VM_FAULT_FALLBACK;
	pgoff = linear_page_index(vma, addr);
	index = pgoff >> BLOCK_ORDER;
	if (!IS_ALIGNED(pgoff, nr))
		return VM_FAULT_FALLBACK;

	guard(rwsem_read)(&inode_file(inode)->lock);
	eof = DIV_ROUND_UP_ULL(i_size_read(inode), PAGE_SIZE);
	if (READ_ONCE(inode_fs(inode)->dead) || vmf->pgoff >= eof)
		return VM_FAULT_SIGBUS;
	if (eof - pgoff < nr ||
	    (nr_blocks > 1 && !is_contiguous(inode, index, nr_blocks)))
		return VM_FAULT_FALLBACK;
	if (!lookup(inode, index))
		err = fill_one(inode, index);
	block = lookup(inode, index);
	if (!err)
		err = guestramfs_clear(inode_fs(inode), block, nr_blocks);
	if (err == -EXDEV)
		return VM_FAULT_FALLBACK;
	if (err)
		return vmf_error(err);
	return vmf_insert_transient_pfn(vmf, (block << BLOCK_ORDER) +
					pgoff % BLOCK_PAGES, order);
}

static vm_fault_t guestramfs_fault(struct vm_fault *vmf)
{
	return guestramfs_huge_fault(vmf, 0);
}

static const struct vm_operations_struct guestramfs_vm_ops = {
	.fault		= guestramfs_fault,
	.huge_fault	= guestramfs_huge_fault,
};

/*
 * A private mapping can be read; it never gets a copy, as there are no pages.
 *
 * QEMU does not look at what ftruncate() returns, and relies on mmap() to fail,
 * as it does for hugetlbfs. Otherwise a guest that got no memory would start,
 * and end by SIGBUS.
 */
static int guestramfs_mmap_prepare(struct vm_area_desc *desc)
{
	bool shared = vma_desc_test(desc, VMA_MAYSHARE_BIT);
	struct inode *inode = file_inode(desc->file);

	if (READ_ONCE(inode_fs(inode)->dead))
		return -EIO;
	if (!shared && vma_desc_test(desc, VMA_WRITE_BIT))
		return -EINVAL;
	if (desc->pgoff + vma_desc_pages(desc) >
	    DIV_ROUND_UP_ULL(i_size_read(inode), PAGE_SIZE))
		return -ENOSPC;
	if (shared)
		vma_desc_set_flags(desc, VMA_TRANSIENT_BIT);
	else
		vma_desc_clear_flags(desc, VMA_MAYWRITE_BIT);
	file_accessed(desc->file);
	desc->vm_ops = &guestramfs_vm_ops;
	vma_desc_set_flags(desc, VMA_PFNMAP_BIT, VMA_HUGEPAGE_BIT,
			   VMA_DONTEXPAND_BIT, VMA_DONTDUMP_BIT);
	return 0;
}

/* Have the address aligned like the offset, for the largest entries. */
static unsigned long
guestramfs_get_unmapped_area(struct file *filp, unsigned long addr,
			     unsigned long len, unsigned long pgoff,
			     unsigned long flags)
{
	unsigned long align = len >= PUD_SIZE ? PUD_SIZE : PMD_SIZE, area;

	if (!addr && len >= align && len <= TASK_SIZE - align) {
		area = mm_get_unmapped_area(filp, 0, len + align, pgoff, flags);
		if (!IS_ERR_VALUE(area))
			return area + (((pgoff << PAGE_SHIFT) - area) &
				       (align - 1));
	}
	return mm_get_unmapped_area(filp, addr, len, pgoff, flags);
}

/* Read and write */

static unsigned long nr_pages(phys_addr_t phys, size_t len)
{
	return DIV_ROUND_UP(offset_in_page(phys) + len, PAGE_SIZE);
}

/*
 * Hold what lies at @pos, of at most @len bytes, which becomes what was held.
 * @phys is set to 0 if it reads as zeroes. If a page has a memory error, the
 * others of its block are held one by one.
 */
static int hold(struct inode *inode, loff_t pos, bool write, size_t *len,
		phys_addr_t *phys)
{
	unsigned long offset = pos & (BLOCK_BYTES - 1), block;
	struct guestramfs_fs *fs = inode_fs(inode);
	int err = 0;

	*phys = 0;
	*len = min(*len, BLOCK_BYTES - offset);
	guard(rwsem_read)(&inode_file(inode)->lock);
	if (READ_ONCE(fs->dead))
		return -EIO;
	if (write && !lookup(inode, pos >> BLOCK_SHIFT))
		err = fill_one(inode, pos >> BLOCK_SHIFT);
	block = lookup(inode, pos >> BLOCK_SHIFT);
	if (write && !err)
		err = guestramfs_clear(fs, block, 1);
	if (err || !block || guestramfs_is_stale(fs, block))
		return err;

	*phys = ((phys_addr_t)block << BLOCK_SHIFT) + offset;
	if (!transient_memmap_hold(PHYS_PFN(*phys), nr_pages(*phys, *len)))
		return 0;
	*len = min(*len, PAGE_SIZE - offset_in_page(offset));
	return transient_memmap_hold(PHYS_PFN(*phys), 1) ? -EIO : 0;
}

/* Copy until @end, or for as long as it goes. */
static ssize_t copy_file(struct kiocb *iocb, struct iov_iter *iter, loff_t end,
			 bool write)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	loff_t start = iocb->ki_pos;
	phys_addr_t phys;
	ssize_t err = 0;
	size_t len;

	while (!err && iov_iter_count(iter) && iocb->ki_pos < end) {
		len = min_t(u64, iov_iter_count(iter), end - iocb->ki_pos);
		err = hold(inode, iocb->ki_pos, write, &len, &phys);
		if (err)
			break;
		if (phys) {
			err = guestramfs_copy(phys, len, iter, write);
			transient_memmap_release(PHYS_PFN(phys),
						 nr_pages(phys, len));
		} else {
			err = iov_iter_zero(len, iter);
		}
		if (err < 0)
			break;
		iocb->ki_pos += err;
		if (err < len)
			err = -EFAULT;
		else
			err = fatal_signal_pending(current) ? -EINTR : 0;
		cond_resched();
	}
	return iocb->ki_pos - start ?: err;
}

static ssize_t guestramfs_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct inode *inode = file_inode(iocb->ki_filp);

	file_accessed(iocb->ki_filp);
	return copy_file(iocb, to, i_size_read(inode), false);
}

static ssize_t guestramfs_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct inode *inode = file_inode(iocb->ki_filp);
	ssize_t ret;

	inode_lock(inode);
	ret = generic_write_checks(iocb, from);
	if (ret > 0)
		ret = file_modified(iocb->ki_filp) ?:
		      copy_file(iocb, from, inode->i_sb->s_maxbytes, true);
	if (ret > 0 && iocb->ki_pos > inode->i_size)
		i_size_write(inode, iocb->ki_pos);
	inode_unlock(inode);
	return ret;
}

/* There is no cache that O_DIRECT would have to go around. */
static int guestramfs_open(struct inode *inode, struct file *filp)
{
	filp->f_mode |= FMODE_CAN_ODIRECT;
	return generic_file_open(inode, filp);
}

const struct file_operations guestramfs_file_operations = {
	.owner			= THIS_MODULE,
	.open			= guestramfs_open,
	.llseek			= generic_file_llseek,
	.read_iter		= guestramfs_read_iter,
	.write_iter		= guestramfs_write_iter,
	.splice_read		= copy_splice_read,
	.splice_write		= iter_file_splice_write,
	.mmap_prepare		= guestramfs_mmap_prepare,
	.get_unmapped_area	= guestramfs_get_unmapped_area,
	.fallocate		= guestramfs_fallocate,
	.fsync			= noop_fsync,
};

const struct inode_operations guestramfs_file_inode_operations = {
	.setattr	= guestramfs_setattr,
};

/* Struct pages that were pinned are set dirty, for nobody. */
const struct address_space_operations guestramfs_aops = {
	.dirty_folio	= noop_dirty_folio,
};
