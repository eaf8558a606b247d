// SPDX-License-Identifier: GPL-2.0
/*
 * guestramfs: blocks of memory, from one owner to the next, and the driver of
 * the dax devices that they come from
 *
 *	free -> in a file ---------------> free
 *	               \                  /
 *	                +--> waiting ----+
 *
 * A block that a file gives up belongs to nobody while it is pinned or held: a
 * device may still write to it. The file has zapped the entries that map it,
 * and no access of our own is under way: those have a hold, or the file's lock.
 * So nobody can come by a new pin or hold, and once transient_memmap_in_use()
 * says no, it is free; the races are argued there. A delayed work asks, and so
 * does whoever finds too few free blocks.
 *
 * Memory is cleared by whoever needs it first: a block becomes stale when it
 * becomes free, and is cleared with its bit in @clearing locked. Several tasks
 * clear several blocks of a GiB that way.
 *
 * A device may lose its driver at any time. Then the mount is dead: mappings
 * are zapped, and calls and faults fail. The mount keeps the bitmaps, but no
 * memory stands behind them: mm waits for pins and holds and lets it go.
 *
 * Both that and memory_failure() look for files of a mount, and take references
 * on inodes. They do so under guestramfs_mutex, which an unmount takes first,
 * so that it finds no inode busy.
 *
 * Locks: pfn_space_lock in mm -> guestramfs_mutex -> a file's lock -> a bank's
 * lock -> locks of the section and the pool in mm.
 */
#include <linux/bitmap.h>
#include <linux/device.h>
#include <linux/io.h>
#include <linux/memory-failure.h>
#include <linux/memremap.h>
#include <linux/range.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include "guestramfs.h"
#include "../../drivers/dax/dax-private.h"
#include "../../drivers/dax/bus.h"

/* How often what waits is looked at */
#define REAP_PERIOD	(HZ / 10)

/**
 * struct bank - the blocks of one range of a device
 * @dev: the device, while it has its driver
 * @kref: of the driver and of the mount
 * @next: another range of the device, or NULL
 * @list: all banks that have their driver, under guestramfs_mutex
 * @fs: the mount that has it, or NULL, under guestramfs_mutex
 * @mounted: in @fs
 * @first: number of its first block; bits of the bitmaps count from there
 * @nr: how many
 * @lock: protects the members up to @owner
 * @dead: the driver has gone; nothing is to be asked of mm
 * @free: blocks that a file can have
 * @waiting: blocks that no file has, but that were in use when last looked at
 * @bad: blocks with a memory error. Neither free nor waiting, once they have
 *	left the file that they are in
 * @nr_free: bits in @free
 * @nr_bad: bits in @bad
 * @nr_waiting: bits in @waiting
 * @owner: the file that has each block, or NULL if the mount has no cap
 * @stale: blocks to be cleared before anybody sees them
 * @clearing: bit locks of those who do that
 * @nr_cleared: how many were
 * @work: looks at what is waiting
 * @space: how memory_failure() finds us
 */
struct bank {
	struct device *dev;
	struct kref kref;
	struct bank *next;
	struct list_head list;
	struct guestramfs_fs *fs;
	struct list_head mounted;
	unsigned long first;
	unsigned long nr;
	spinlock_t lock; /* dead to owner */
	bool dead;
	unsigned long *free;
	unsigned long *waiting;
	unsigned long *bad;
	unsigned long nr_free;
	unsigned long nr_bad;
	unsigned long nr_waiting;
	struct guestramfs_file **owner;
	unsigned long *stale;
	unsigned long *clearing;
	atomic_long_t nr_cleared;
	struct delayed_work work;
	struct pfn_address_space space;
};

/* Banks, who has mounted them, and whether inodes may be taken of a mount */
DEFINE_MUTEX(guestramfs_mutex);
static LIST_HEAD(banks);

/* Free, waiting and bad blocks */

/* The bank that a block of a file lies in */
static struct bank *find_bank(struct guestramfs_fs *fs, unsigned long block)
{
	struct bank *bank;

	list_for_each_entry(bank, &fs->banks, mounted)
		if (block - bank->first < bank->nr)
			break;
	return bank;
}

static bool block_in_use(struct bank *bank, unsigned long nr)
	__must_hold(&bank->lock)
{
	return !bank->dead &&
	       transient_memmap_in_use((bank->first + nr) << BLOCK_ORDER);
}

/* Nobody reaches the block any more: a file can have it, unless it is bad. */
static void make_free(struct bank *bank, unsigned long nr)
	__must_hold(&bank->lock)
{
	set_bit(nr, bank->stale);
	if (test_bit(nr, bank->bad))
		return;
	__set_bit(nr, bank->free);
	bank->nr_free++;
}

/* Returns true if any block has ceased to wait. */
static bool bank_reap(struct bank *bank)
{
	unsigned long nr = 0;
	bool done = false;

	for (;; nr++) {
		scoped_guard(spinlock, &bank->lock) {
			nr = find_next_bit(bank->waiting, bank->nr, nr);
			if (nr >= bank->nr)
				return done;
			if (block_in_use(bank, nr))
				continue;
			__clear_bit(nr, bank->waiting);
			bank->nr_waiting--;
			make_free(bank, nr);
			done = true;
		}
		cond_resched();
	}
}

static void bank_work(struct work_struct *work)
{
	struct bank *bank = container_of(to_delayed_work(work), struct bank,
					 work);

	bank_reap(bank);
	guard(spinlock)(&bank->lock);
	if (bank->nr_waiting && !bank->dead)
		queue_delayed_work(system_dfl_wq, &bank->work, REAP_PERIOD);
}

static unsigned long count_waiting(struct guestramfs_fs *fs)
{
	unsigned long waiting = 0;
	struct bank *bank;

	list_for_each_entry(bank, &fs->banks, mounted)
		waiting += READ_ONCE(bank->nr_waiting);
	return waiting;
}

/**
 * guestramfs_count() - count blocks as df does
 * @fs: a mount
 * @total: set to how many there are, without bad ones, up to the limit
 * @free: set to how many files can have now
 *
 * Context: Any but interrupt context.
 */
void guestramfs_count(struct guestramfs_fs *fs, unsigned long *total,
		      unsigned long *free)
{
	unsigned long limit = READ_ONCE(fs->limit), used;
	struct bank *bank;

	*total = 0;
	*free = 0;
	list_for_each_entry(bank, &fs->banks, mounted) {
		guard(spinlock)(&bank->lock);
		*total += bank->nr - bank->nr_bad;
		*free += bank->nr_free;
	}
	used = atomic_long_read(&fs->nr_owned) + count_waiting(fs);
	*total = min(*total, limit);
	*free = min(*free, limit - min(limit, used));
}

/*
 * A GiB is taken from the lower end, and a block from the upper, so that small
 * files do not break up what a large one could have. Returns bank->nr if there
 * is none.
 */
static unsigned long find_free(struct bank *bank, unsigned long nr)
	__must_hold(&bank->lock)
{
	unsigned long start = ALIGN(bank->first, nr) - bank->first;

	if (bank->nr_free < nr)
		return bank->nr;
	if (nr == 1)
		return find_last_bit(bank->free, bank->nr);
	for (; start + nr <= bank->nr; start += nr)
		if (find_next_zero_bit(bank->free, start + nr, start) ==
		    start + nr)
			return start;
	return bank->nr;
}

/**
 * guestramfs_alloc() - get blocks for a file
 * @inode: the file
 * @nr: 1, or GIB_BLOCKS, which are aligned and contiguous
 *
 * Context: Any but interrupt context.
 * Return: number of the first block, stale; -ENOSPC; or -EIO if a device has
 *	gone.
 */
long guestramfs_alloc(struct inode *inode, unsigned long nr)
{
	struct guestramfs_fs *fs = inode_fs(inode);
	unsigned long found;
	struct bank *bank;

	if (READ_ONCE(fs->dead))
		return -EIO;
	/* Counted first, so that two at the limit do not both go beyond it. */
	if (atomic_long_add_return(nr, &fs->nr_owned) + count_waiting(fs) <=
	    READ_ONCE(fs->limit)) {
		list_for_each_entry(bank, &fs->banks, mounted) {
			guard(spinlock)(&bank->lock);
			found = find_free(bank, nr);
			if (found >= bank->nr)
				continue;
			bitmap_clear(bank->free, found, nr);
			bank->nr_free -= nr;
			if (bank->owner)
				memset_p((void **)bank->owner + found,
					 inode_file(inode), nr);
			return bank->first + found;
		}
	}
	atomic_long_sub(nr, &fs->nr_owned);
	return -ENOSPC;
}

/**
 * guestramfs_give_up() - take a block from its file
 * @fs: a mount
 * @block: no entry maps it, and nobody looks it up any more
 *
 * Context: Any but interrupt context. Does not wait for pins and holds.
 */
void guestramfs_give_up(struct guestramfs_fs *fs, unsigned long block)
{
	struct bank *bank = find_bank(fs, block);
	unsigned long nr = block - bank->first;

	scoped_guard(spinlock, &bank->lock) {
		if (bank->owner)
			bank->owner[nr] = NULL;
		if (!block_in_use(bank, nr)) {
			make_free(bank, nr);
			break;
		}
		__set_bit(nr, bank->waiting);
		bank->nr_waiting++;
		queue_delayed_work(system_dfl_wq, &bank->work, REAP_PERIOD);
	}
	atomic_long_dec(&fs->nr_owned);
}

/**
 * guestramfs_reap() - look at what waits, now
 * @fs: a mount
 *
 * Context: Process context, may sleep.
 * Return: true if any block has ceased to wait.
 */
bool guestramfs_reap(struct guestramfs_fs *fs)
{
	struct bank *bank;
	bool done = false;

	list_for_each_entry(bank, &fs->banks, mounted)
		done |= bank_reap(bank);
	return done;
}

/* Clearing and access */

/*
 * Memory that is in the direct map only while it is pinned gets a mapping of
 * its own: a pin would count against the cap, and could be refused.
 */
static void *map(phys_addr_t phys, size_t len)
{
	unsigned long offset = offset_in_page(phys);
	void *addr;

	if (!transient_direct_map_owns(PHYS_PFN(phys)))
		return __va(phys);
	addr = memremap(phys - offset, PAGE_ALIGN(offset + len), MEMREMAP_WB);
	return addr ? addr + offset : NULL;
}

static void unmap(phys_addr_t phys, void *addr)
{
	if (addr != __va(phys))
		memunmap(addr - offset_in_page(phys));
}

/**
 * guestramfs_copy() - copy from or to a part of a block
 * @phys: its physical address; the caller has a hold
 * @len: bytes
 * @iter: where to, or where from
 * @write: the latter
 *
 * Context: Process context, may fault.
 * Return: how many bytes were copied; -ENOMEM.
 */
ssize_t guestramfs_copy(phys_addr_t phys, size_t len, struct iov_iter *iter,
			bool write)
{
	void *addr = map(phys, len);

	if (!addr)
		return -ENOMEM;
	/* A memory error that nobody knows of yet does not end the machine. */
	len = write ? copy_from_iter(addr, len, iter) :
		      _copy_mc_to_iter(addr, len, iter);
	unmap(phys, addr);
	return len;
}

/**
 * guestramfs_zero() - write zeroes
 * @phys: physical address in a block; the caller has the file's lock
 * @len: bytes, within the block
 *
 * Pages with a memory error are left out: nobody gets to see them, and they may
 * have left the direct map.
 *
 * Context: Process context, may sleep.
 * Return: 0 or -ENOMEM.
 */
int guestramfs_zero(phys_addr_t phys, size_t len)
{
	size_t part;
	void *addr;

	for (; len; phys += part, len -= part) {
		part = len;
		if (transient_has_poison(PHYS_PFN(phys), BLOCK_PAGES -
					 PHYS_PFN(phys) % BLOCK_PAGES)) {
			part = min(part, PAGE_SIZE - offset_in_page(phys));
			if (transient_has_poison(PHYS_PFN(phys), 1))
				continue;
		}
		addr = map(phys, part);
		if (!addr)
			return -ENOMEM;
		/* Of a whole block it is the faster way. */
		if (PAGE_ALIGNED(phys | part))
			clear_pages(addr, part >> PAGE_SHIFT);
		else
			memset(addr, 0, part);
		unmap(phys, addr);
	}
	return 0;
}

/**
 * guestramfs_is_stale() - is a block not cleared yet?
 * @fs: a mount
 * @block: the caller has the lock of the file that it is in
 *
 * Context: Any.
 * Return: true if so: nobody has seen it, and it reads as zeroes.
 */
bool guestramfs_is_stale(struct guestramfs_fs *fs, unsigned long block)
{
	struct bank *bank = find_bank(fs, block);

	return test_bit_acquire(block - bank->first, bank->stale);
}

/* The bit in @clearing is locked, so nobody else clears the block. */
static int clear_block(struct bank *bank, unsigned long nr)
{
	int err;

	if (!test_bit(nr, bank->stale))
		return 0;
	err = guestramfs_zero((phys_addr_t)(bank->first + nr) << BLOCK_SHIFT,
			      BLOCK_BYTES);
	if (err)
		return err;
	/* Pairs with test_bit_acquire(): the zeroes are there. */
	clear_bit_unlock(nr, bank->stale);
	atomic_long_inc(&bank->nr_cleared);
	return 0;
}

/**
 * guestramfs_clear() - make sure that blocks are cleared
 * @fs: a mount
 * @block: the first; the caller has the lock of the file that they are in
 * @nr: how many
 *
 * First this clears what nobody else is at, then it waits for the others.
 *
 * Context: Process context, may sleep.
 * Return: 0; -ENOMEM; -EXDEV if they lie in more than one range.
 */
int guestramfs_clear(struct guestramfs_fs *fs, unsigned long block,
		     unsigned long nr)
{
	struct bank *bank = find_bank(fs, block);
	unsigned long start = block - bank->first, i;
	int pass, err;

	if (start + nr > bank->nr)
		return -EXDEV;
	for (pass = 0; pass < 2; pass++) {
		for (i = start; i < start + nr; i++) {
			if (!test_bit_acquire(i, bank->stale))
				continue;
			if (pass == 1)
				wait_on_bit_lock(bank->clearing, i,
						 TASK_UNINTERRUPTIBLE);
			else if (test_and_set_bit_lock(i, bank->clearing))
				continue;
			err = clear_block(bank, i);
			clear_and_wake_up_bit(i, bank->clearing);
			if (err)
				return err;
			cond_resched();
		}
	}
	return 0;
}

/* Memory errors */

static void set_bad(struct bank *bank, unsigned long nr)
{
	guard(spinlock)(&bank->lock);
	if (__test_and_set_bit(nr, bank->bad))
		return;
	bank->nr_bad++;
	if (__test_and_clear_bit(nr, bank->free))
		bank->nr_free--;
}

static int pfn_to_vma_pgoff(struct vm_area_struct *vma, unsigned long pfn,
			    pgoff_t *pgoff)
{
	pgoff_t index;

	if (!guestramfs_find_block(file_inode(vma->vm_file), pfn >> BLOCK_ORDER,
				   &index))
		return -EFAULT;
	*pgoff = (index << BLOCK_ORDER) + pfn % BLOCK_PAGES;
	return in_range(*pgoff, vma->vm_pgoff, vma_pages(vma)) ? 0 : -EFAULT;
}

/*
 * The error was noted in mm. A file that gets the block after we have looked
 * finds that out when it maps the page. Errors are rare, so all files are
 * searched, instead of every block knowing its file.
 */
static struct address_space *get_mapping(struct pfn_address_space *space,
					 unsigned long pfn)
{
	struct bank *bank = container_of(space, struct bank, space);
	struct inode *inode = NULL;
	pgoff_t index;

	set_bad(bank, (pfn >> BLOCK_ORDER) - bank->first);
	mutex_lock(&guestramfs_mutex);
	if (bank->fs && !bank->fs->leaving)
		while ((inode = guestramfs_next_file(bank->fs, inode)) &&
		       !guestramfs_find_block(inode, pfn >> BLOCK_ORDER, &index))
			;
	if (inode)
		return inode->i_mapping;
	mutex_unlock(&guestramfs_mutex);
	return NULL;
}

static void put_mapping(struct address_space *mapping)
{
	iput(mapping->host);
	mutex_unlock(&guestramfs_mutex);
}

static void unregister_pfns(void *space)
{
	unregister_pfn_address_space(space);
}

static int register_pfns(struct bank *bank)
{
	unsigned long pfn = bank->first << BLOCK_ORDER, nr;
	int err;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		return 0;
	bank->space = (struct pfn_address_space) {
		.node.start = pfn,
		.node.last = pfn + (bank->nr << BLOCK_ORDER) - 1,
		.pfn_to_vma_pgoff = pfn_to_vma_pgoff,
		.get_mapping = get_mapping,
		.put_mapping = put_mapping,
	};
	err = register_pfn_address_space(&bank->space) ?:
	      devm_add_action_or_reset(bank->dev, unregister_pfns,
				       &bank->space);
	if (err)
		return err;
	/* Errors from now on come by get_mapping(). */
	if (transient_has_poison(pfn, bank->nr << BLOCK_ORDER))
		for (nr = 0; nr < bank->nr; nr++, pfn += BLOCK_PAGES)
			if (transient_has_poison(pfn, BLOCK_PAGES))
				set_bad(bank, nr);
	return 0;
}

/*
 * The cap of a file. Of its blocks that have struct pages, less than half of the
 * cap are kept for their next pin: so the others, which go with their last pin,
 * make room for a pin that waits.
 */

static void *charge(struct dev_pagemap *pgmap, unsigned long pfn,
		    unsigned long deadline, bool *keep)
{
	long block = pfn >> BLOCK_ORDER, left = deadline - jiffies;
	struct guestramfs_file *file = NULL;
	struct bank *bank = pgmap->owner;

	while (block - bank->first >= bank->nr)
		bank = bank->next;
	/* A file that gives the block up does so under the lock. */
	scoped_guard(spinlock, &bank->lock) {
		if (bank->owner)
			file = bank->owner[block - bank->first];
		if (file)
			refcount_inc(&file->ref);
	}
	if (!file)
		return NULL;
	/* First come, first served */
	if (down_timeout(&file->room, max(left, 0L))) {
		guestramfs_put_file(file);
		return ERR_PTR(-ENOMEM);
	}
	*keep = atomic_inc_return(&file->nr_charged) * 2L <= file->cap;
	return file;
}

static void uncharge(void *owner)
{
	struct guestramfs_file *file = owner;

	atomic_dec(&file->nr_charged);
	up(&file->room);
	guestramfs_put_file(file);
}

static const struct transient_owner_ops guestramfs_owner_ops = {
	.charge		= charge,
	.uncharge	= uncharge,
};

/* A mount takes banks */

static int have_owners(struct bank *bank)
{
	struct guestramfs_file **owner = kvcalloc(bank->nr, sizeof(*owner),
						  GFP_KERNEL);

	guard(spinlock)(&bank->lock);
	bank->owner = owner;
	return owner ? 0 : -ENOMEM;
}

/* Pins that had the address before may be about to ask for an owner. */
static void have_no_owners(struct bank *bank)
{
	struct guestramfs_file **owner = bank->owner;

	scoped_guard(spinlock, &bank->lock)
		bank->owner = NULL;
	kvfree(owner);
}

static void release_bank(struct kref *kref)
{
	struct bank *bank = container_of(kref, struct bank, kref);

	kvfree(bank->free);
	kfree(bank);
}

static void put_bank(void *bank)
{
	kref_put(&((struct bank *)bank)->kref, release_bank);
}

/**
 * guestramfs_claim() - have a mount take all memory of a device
 * @fs: the mount
 * @name: of the device
 *
 * Context: Process context, may sleep.
 * Return: 0; -ENODEV if there is no such device with our driver; -EBUSY if it
 *	is mounted; -ENOMEM. guestramfs_unclaim() undoes it, in any case.
 */
int guestramfs_claim(struct guestramfs_fs *fs, const char *name)
{
	struct bank *bank;
	int err = -ENODEV;

	guard(mutex)(&guestramfs_mutex);
	list_for_each_entry(bank, &banks, list) {
		/* Set when all banks of the device are there */
		if (strcmp(dev_name(bank->dev), name) ||
		    !dev_get_drvdata(bank->dev))
			continue;
		if (bank->fs)
			return -EBUSY;
		kref_get(&bank->kref);
		bank->fs = fs;
		list_add_tail(&bank->mounted, &fs->banks);
		err = fs->cap ? have_owners(bank) : 0;
		if (err)
			break;
	}
	return err;
}

/**
 * guestramfs_unclaim() - undo guestramfs_claim()
 * @fs: a mount without inodes
 *
 * Context: Process context, may sleep.
 */
void guestramfs_unclaim(struct guestramfs_fs *fs)
{
	struct bank *bank, *next;

	guard(mutex)(&guestramfs_mutex);
	list_for_each_entry_safe(bank, next, &fs->banks, mounted) {
		list_del(&bank->mounted);
		have_no_owners(bank);
		bank->fs = NULL;
		put_bank(bank);
	}
}

/* The driver */

static ssize_t stats_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	unsigned long blocks = 0, free = 0, waiting = 0, bad = 0, cleared = 0;
	struct bank *bank;

	guard(mutex)(&guestramfs_mutex);
	list_for_each_entry(bank, &banks, list) {
		if (bank->dev != dev)
			continue;
		guard(spinlock)(&bank->lock);
		blocks += bank->nr;
		free += bank->nr_free;
		waiting += bank->nr_waiting;
		bad += bank->nr_bad;
		cleared += atomic_long_read(&bank->nr_cleared);
	}
	return sysfs_emit(buf, "blocks %lu\nfree %lu\nwaiting %lu\nbad %lu\ncleared %lu\n",
			  blocks, free, waiting, bad, cleared);
}
static DEVICE_ATTR_RO(stats);

static struct attribute *guestramfs_attrs[] = { &dev_attr_stats.attr, NULL };

static const struct attribute_group guestramfs_group = {
	.name	= "guestramfs",
	.attrs	= guestramfs_attrs,
};
__ATTRIBUTE_GROUPS(guestramfs);

/*
 * The driver goes, and then its memory. Faults and calls that have a file's
 * lock are done when we have had it; later ones see that the mount is dead.
 */
static void kill_bank(void *data)
{
	struct inode *inode = NULL;
	struct bank *bank = data;

	scoped_guard(mutex, &guestramfs_mutex) {
		list_del(&bank->list);
		if (!bank->fs || bank->fs->leaving)
			break;
		WRITE_ONCE(bank->fs->dead, true);
		while ((inode = guestramfs_next_file(bank->fs, inode))) {
			guard(rwsem_write)(&inode_file(inode)->lock);
			unmap_mapping_range(inode->i_mapping, 0, 0, 1);
		}
	}
	scoped_guard(spinlock, &bank->lock)
		bank->dead = true;
	cancel_delayed_work_sync(&bank->work);
}

static struct bank *make_bank(struct device *dev, const struct range *range)
{
	struct bank *bank = kzalloc_obj(*bank);
	unsigned long longs;
	int err;

	if (!bank)
		return ERR_PTR(-ENOMEM);
	bank->dev = dev;
	kref_init(&bank->kref);
	err = devm_add_action_or_reset(dev, put_bank, bank);
	if (err)
		return ERR_PTR(err);
	bank->first = range->start >> BLOCK_SHIFT;
	bank->nr = range_len(range) >> BLOCK_SHIFT;
	bank->nr_free = bank->nr;
	spin_lock_init(&bank->lock);
	INIT_DELAYED_WORK(&bank->work, bank_work);
	longs = BITS_TO_LONGS(bank->nr);
	bank->free = kvcalloc(longs, 5 * sizeof(long), GFP_KERNEL);
	if (!bank->free)
		return ERR_PTR(-ENOMEM);
	bank->waiting = bank->free + longs;
	bank->bad = bank->waiting + longs;
	bank->stale = bank->bad + longs;
	bank->clearing = bank->stale + longs;
	/* Whoever had the memory before has left in it what was there. */
	bitmap_fill(bank->free, bank->nr);
	bitmap_fill(bank->stale, bank->nr);
	return bank;
}

static int add_bank(struct device *dev, struct bank *bank)
{
	int err = register_pfns(bank);

	if (err)
		return err;
	scoped_guard(mutex, &guestramfs_mutex)
		list_add_tail(&bank->list, &banks);
	return devm_add_action_or_reset(dev, kill_bank, bank);
}

static int register_memory(struct dev_dax *dev_dax, struct dev_pagemap *pgmap)
{
	struct device *dev = &dev_dax->dev;
	struct range *range;
	int i;

	for (i = 0; i < dev_dax->nr_range; i++) {
		range = &dev_dax->ranges[i].range;
		pgmap->ranges[i] = *range;
		if (!devm_request_mem_region(dev, range->start,
					     range_len(range), dev_name(dev))) {
			dev_err(dev, "%pra is not free\n", range);
			return -EBUSY;
		}
	}
	pgmap->nr_range = dev_dax->nr_range;
	pgmap->type = MEMORY_DEVICE_TRANSIENT;
	if (dev_dax->direct_map_transient)
		pgmap->flags = PGMAP_TRANSIENT_DIRECT_MAP;
	return PTR_ERR_OR_ZERO(devm_memremap_pages(dev, pgmap)) ?:
	       devm_transient_memmap_sysfs(dev, pgmap);
}

static int guestramfs_probe(struct dev_dax *dev_dax)
{
	struct device *dev = &dev_dax->dev;
	struct bank *bank, *first = NULL;
	struct dev_pagemap *pgmap;
	int i, err;

	if (!dev_dax->memmap_transient || static_dev_dax(dev_dax)) {
		dev_err(dev, "guestramfs needs \"transient\" in the attribute memmap, and no persistent memory\n");
		return -EINVAL;
	}
	pgmap = devm_kzalloc(dev, struct_size(pgmap, ranges,
					      dev_dax->nr_range - 1),
			     GFP_KERNEL);
	if (!pgmap)
		return -ENOMEM;
	/* charge() may look at them until the memory is unregistered. */
	for (i = 0; i < dev_dax->nr_range; i++) {
		bank = make_bank(dev, &dev_dax->ranges[i].range);
		if (IS_ERR(bank))
			return PTR_ERR(bank);
		bank->next = first;
		first = bank;
	}
	pgmap->owner = first;
	err = register_memory(dev_dax, pgmap);
	if (!err)
		transient_memmap_set_owner_ops(pgmap, &guestramfs_owner_ops);
	for (bank = first; bank && !err; bank = bank->next)
		err = add_bank(dev, bank);
	if (!err)
		dev_set_drvdata(dev, pgmap);
	return err;
}

/* The type is that of drivers to which devices do not come by themselves. */
static struct dax_device_driver guestramfs_driver = {
	.probe			= guestramfs_probe,
	.type			= DAXDRV_FSDEV_TYPE,
	.drv.dev_groups		= guestramfs_groups,
};

/**
 * guestramfs_driver_register() - let devices be bound
 *
 * Context: Process context, may sleep.
 * Return: 0 or a negative error.
 */
int guestramfs_driver_register(void)
{
	return dax_driver_register(&guestramfs_driver);
}

/**
 * guestramfs_driver_unregister() - undo guestramfs_driver_register()
 *
 * Context: Process context, may sleep.
 */
void guestramfs_driver_unregister(void)
{
	dax_driver_unregister(&guestramfs_driver);
}
