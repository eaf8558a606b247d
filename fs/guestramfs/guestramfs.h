/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FS_GUESTRAMFS_H
#define _FS_GUESTRAMFS_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/transient_memmap.h>
#include <linux/uio.h>
#include <linux/xarray.h>

#define GUESTRAMFS_MAGIC	0x4752414d /* "GRAM" */

/*
 * What files are made of: what gets its struct pages at a time. A block's
 * number is its pfn >> BLOCK_ORDER.
 */
#define BLOCK_ORDER	TRANSIENT_BLOCK_ORDER
#define BLOCK_SHIFT	PMD_SHIFT
#define BLOCK_BYTES	BIT(BLOCK_SHIFT)
#define BLOCK_PAGES	BIT(BLOCK_ORDER)

/* What a PUD entry maps */
#define GIB_BLOCKS	BIT(PUD_SHIFT - BLOCK_SHIFT)

/**
 * struct guestramfs_fs - a mount, and its options before it is one
 * @sb: the super block
 * @banks: its memory; does not change while mounted
 * @dead: a device has lost its driver. Written under guestramfs_mutex before
 *	each file's lock is taken once
 * @leaving: no inode may be taken from it any more, under guestramfs_mutex
 * @limit: blocks that files may have, by the option size=
 * @cap: blocks of a file that may have struct pages, by the option cap=, or 0
 * @nr_owned: blocks that files have, or are about to
 * @mode: of the root directory
 * @uid: likewise
 * @gid: likewise
 */
struct guestramfs_fs {
	struct super_block *sb;
	struct list_head banks;
	bool dead;
	bool leaving;
	unsigned long limit;
	unsigned int cap;
	atomic_long_t nr_owned;
	umode_t mode;
	kuid_t uid;
	kgid_t gid;
};

/**
 * struct guestramfs_file - i_private of a regular file
 * @lock: held to look up blocks and to use what was found; for writing, to take
 *	away blocks and entries that map them
 * @blocks: number of the block at each index, as a value
 * @ref: of the inode, and of each block that is charged
 * @cap: how many may be charged, or 0
 * @nr_charged: how many are, see charge() in memory.c
 * @room: how many more may be
 */
struct guestramfs_file {
	struct rw_semaphore lock;
	struct xarray blocks;
	refcount_t ref;
	unsigned int cap;
	atomic_t nr_charged;
	struct semaphore room;
};

static inline struct guestramfs_fs *inode_fs(const struct inode *inode)
{
	return inode->i_sb->s_fs_info;
}

static inline struct guestramfs_file *inode_file(const struct inode *inode)
{
	return inode->i_private;
}

static inline void guestramfs_put_file(struct guestramfs_file *file)
{
	if (refcount_dec_and_test(&file->ref))
		kfree(file);
}

/* memory.c */
extern struct mutex guestramfs_mutex;
int guestramfs_claim(struct guestramfs_fs *fs, const char *name);
void guestramfs_unclaim(struct guestramfs_fs *fs);
void guestramfs_count(struct guestramfs_fs *fs, unsigned long *total,
		      unsigned long *free);
long guestramfs_alloc(struct inode *inode, unsigned long nr);
void guestramfs_give_up(struct guestramfs_fs *fs, unsigned long block);
bool guestramfs_reap(struct guestramfs_fs *fs);
bool guestramfs_is_stale(struct guestramfs_fs *fs, unsigned long block);
int guestramfs_clear(struct guestramfs_fs *fs, unsigned long block,
		     unsigned long nr);
int guestramfs_zero(phys_addr_t phys, size_t len);
ssize_t guestramfs_copy(phys_addr_t phys, size_t len, struct iov_iter *iter,
			bool write);
int guestramfs_driver_register(void);
void guestramfs_driver_unregister(void);

/* file.c */
extern const struct file_operations guestramfs_file_operations;
extern const struct inode_operations guestramfs_file_inode_operations;
extern const struct address_space_operations guestramfs_aops;
bool guestramfs_find_block(struct inode *inode, unsigned long block,
			   pgoff_t *index);
void guestramfs_drop_blocks(struct inode *inode, pgoff_t start, pgoff_t last);

/* inode.c */
struct inode *guestramfs_next_file(struct guestramfs_fs *fs,
				   struct inode *prev);

#endif /* _FS_GUESTRAMFS_H */
