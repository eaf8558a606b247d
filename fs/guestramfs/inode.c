// SPDX-License-Identifier: GPL-2.0
/*
 * guestramfs: the memory of guests, as files
 *
 * Directories, links and the like are those of libfs. This has the mount and
 * its options, and makes inodes. See file.c for files, memory.c for what they
 * are made of.
 *
 * All that there is to be known of a file's memory are numbers of blocks in an
 * array, and of a device five bits for each block, 320 KiB per TiB.
 */
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/security.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>

#include "guestramfs.h"

/* Inodes */

static const struct inode_operations guestramfs_dir_inode_operations;

static int init_file(struct inode *inode)
{
	struct guestramfs_fs *fs = inode->i_sb->s_fs_info;
	struct guestramfs_file *file = kzalloc_obj(*file);

	if (!file)
		return -ENOMEM;
	init_rwsem(&file->lock);
	xa_init(&file->blocks);
	refcount_set(&file->ref, 1);
	file->cap = fs->cap;
	sema_init(&file->room, fs->cap);
	inode->i_private = file;
	inode->i_op = &guestramfs_file_inode_operations;
	inode->i_fop = &guestramfs_file_operations;
	inode->i_mapping->a_ops = &guestramfs_aops;
	return 0;
}

static struct inode *make_inode(struct super_block *sb, struct mnt_idmap *idmap,
				const struct inode *dir, umode_t mode)
{
	struct inode *inode = new_inode(sb);

	if (!inode)
		return NULL;
	if (S_ISREG(mode) && init_file(inode)) {
		iput(inode);
		return NULL;
	}
	inode->i_ino = get_next_ino();
	inode_init_owner(idmap, inode, dir, mode);
	simple_inode_init_ts(inode);
	if (S_ISDIR(mode)) {
		inode->i_op = &guestramfs_dir_inode_operations;
		inode->i_fop = &simple_dir_operations;
		inc_nlink(inode);
	} else if (S_ISLNK(mode)) {
		inode->i_op = &page_symlink_inode_operations;
		inode->i_mapping->a_ops = &ram_aops;
		mapping_set_unevictable(inode->i_mapping);
		inode_nohighmem(inode);
	}
	return inode;
}

/* An inode for a directory; @target is what a symbolic link says. */
static struct inode *new_child(struct mnt_idmap *idmap, struct inode *dir,
			       struct dentry *dentry, umode_t mode,
			       const char *target)
{
	struct inode *inode = make_inode(dir->i_sb, idmap, dir, mode);
	int err;

	if (!inode)
		return ERR_PTR(-ENOMEM);
	err = security_inode_init_security(inode, dir, &dentry->d_name, NULL,
					   NULL);
	if (!err && target)
		err = page_symlink(inode, target, strlen(target) + 1);
	if (!err)
		return inode;
	iput(inode);
	return ERR_PTR(err);
}

static int add_child(struct mnt_idmap *idmap, struct inode *dir,
		     struct dentry *dentry, umode_t mode, const char *target)
{
	struct inode *inode = new_child(idmap, dir, dentry, mode, target);

	if (IS_ERR(inode))
		return PTR_ERR(inode);
	if (S_ISDIR(mode))
		inc_nlink(dir);
	d_make_persistent(dentry, inode);
	inode_set_mtime_to_ts(dir, inode_set_ctime_current(dir));
	return 0;
}

static int guestramfs_create(struct mnt_idmap *idmap, struct inode *dir,
			     struct dentry *dentry, umode_t mode)
{
	return add_child(idmap, dir, dentry, mode | S_IFREG, NULL);
}

static struct dentry *guestramfs_mkdir(struct mnt_idmap *idmap,
				       struct inode *dir, struct dentry *dentry,
				       umode_t mode)
{
	return ERR_PTR(add_child(idmap, dir, dentry, mode | S_IFDIR, NULL));
}

static int guestramfs_symlink(struct mnt_idmap *idmap, struct inode *dir,
			      struct dentry *dentry, const char *target)
{
	return add_child(idmap, dir, dentry, S_IFLNK | 0777, target);
}

static int guestramfs_tmpfile(struct mnt_idmap *idmap, struct inode *dir,
			      struct file *filp, umode_t mode)
{
	struct inode *inode = new_child(idmap, dir, file_dentry(filp), mode,
					NULL);

	if (!IS_ERR(inode))
		d_tmpfile(filp, inode);
	return finish_open_simple(filp, PTR_ERR_OR_ZERO(inode));
}

static const struct inode_operations guestramfs_dir_inode_operations = {
	.create		= guestramfs_create,
	.lookup		= simple_lookup,
	.link		= simple_link,
	.unlink		= simple_unlink,
	.symlink	= guestramfs_symlink,
	.mkdir		= guestramfs_mkdir,
	.rmdir		= simple_rmdir,
	.rename		= simple_rename,
	.tmpfile	= guestramfs_tmpfile,
};

static void guestramfs_evict_inode(struct inode *inode)
{
	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	if (!inode->i_private)
		return;
	guestramfs_drop_blocks(inode, 0, ULONG_MAX);
	xa_destroy(&inode_file(inode)->blocks);
	guestramfs_put_file(inode_file(inode));
}

/**
 * guestramfs_next_file() - walk the regular files of a mount
 * @fs: a mount that is not leaving
 * @prev: what this returned before, to be put; NULL to begin
 *
 * Files that are made meanwhile may be left out.
 *
 * Context: Process context, may sleep. guestramfs_mutex is held until the last
 *	inode was put.
 * Return: an inode with a reference, or NULL after the last.
 */
struct inode *guestramfs_next_file(struct guestramfs_fs *fs, struct inode *prev)
{
	struct super_block *sb = fs->sb;
	struct inode *inode, *next = NULL;

	lockdep_assert_held(&guestramfs_mutex);
	scoped_guard(spinlock, &sb->s_inode_list_lock) {
		inode = list_prepare_entry(prev, &sb->s_inodes, i_sb_list);
		list_for_each_entry_continue(inode, &sb->s_inodes, i_sb_list) {
			if (!inode->i_private || !igrab(inode))
				continue;
			next = inode;
			break;
		}
	}
	iput(prev);
	return next;
}

/* The mount */

static int guestramfs_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	unsigned long total, free;
	int err = simple_statfs(dentry, buf);

	guestramfs_count(dentry->d_sb->s_fs_info, &total, &free);
	buf->f_bsize = BLOCK_BYTES;
	buf->f_blocks = total;
	buf->f_bfree = free;
	buf->f_bavail = free;
	return err;
}

static int guestramfs_show_options(struct seq_file *m, struct dentry *root)
{
	struct guestramfs_fs *fs = root->d_sb->s_fs_info;

	seq_printf(m, ",mode=%04o,uid=%u,gid=%u", fs->mode,
		   from_kuid_munged(&init_user_ns, fs->uid),
		   from_kgid_munged(&init_user_ns, fs->gid));
	if (fs->limit != ULONG_MAX)
		seq_printf(m, ",size=%luM", fs->limit << (BLOCK_SHIFT - 20));
	if (fs->cap)
		seq_printf(m, ",cap=%u", fs->cap);
	return 0;
}

static const struct super_operations guestramfs_super_operations = {
	.statfs		= guestramfs_statfs,
	.drop_inode	= inode_just_drop,
	.evict_inode	= guestramfs_evict_inode,
	.show_options	= guestramfs_show_options,
};

static int claim_devs(struct fs_context *fc, struct guestramfs_fs *fs)
{
	char *names __free(kfree) = kstrdup(fc->source ?: "", GFP_KERNEL);
	char *rest = names, *name;
	int err = names ? 0 : -ENOMEM;

	while (!err && (name = strsep(&rest, ","))) {
		err = guestramfs_claim(fs, name);
		if (err == -ENODEV)
			errorf(fc, "guestramfs: %s: no device that has the driver guestramfs",
			       name);
		else if (err == -EBUSY)
			errorf(fc, "guestramfs: %s: is mounted", name);
	}
	return err;
}

static int guestramfs_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct guestramfs_fs *fs = sb->s_fs_info;
	struct inode *root;
	int err;

	fs->sb = sb;
	sb->s_maxbytes = round_down(MAX_LFS_FILESIZE, (loff_t)BLOCK_BYTES);
	sb->s_blocksize = BLOCK_BYTES;
	sb->s_blocksize_bits = BLOCK_SHIFT;
	sb->s_magic = GUESTRAMFS_MAGIC;
	sb->s_op = &guestramfs_super_operations;
	sb->s_d_flags = DCACHE_DONTCACHE;
	sb->s_time_gran = 1;

	err = claim_devs(fc, fs);
	if (err)
		return err;
	root = make_inode(sb, &nop_mnt_idmap, NULL, S_IFDIR | fs->mode);
	if (root) {
		root->i_uid = fs->uid;
		root->i_gid = fs->gid;
	}
	sb->s_root = d_make_root(root);
	return sb->s_root ? 0 : -ENOMEM;
}

static int guestramfs_get_tree(struct fs_context *fc)
{
	return get_tree_nodev(fc, guestramfs_fill_super);
}

enum guestramfs_param {
	OPT_CAP,
	OPT_GID,
	OPT_MODE,
	OPT_SIZE,
	OPT_UID,
};

static const struct fs_parameter_spec guestramfs_parameters[] = {
	fsparam_u32("cap", OPT_CAP),
	fsparam_gid("gid", OPT_GID),
	fsparam_u32oct("mode", OPT_MODE),
	fsparam_string("size", OPT_SIZE),
	fsparam_uid("uid", OPT_UID),
	{}
};

static int guestramfs_parse_param(struct fs_context *fc,
				  struct fs_parameter *param)
{
	struct guestramfs_fs *fs = fc->s_fs_info;
	struct fs_parse_result result;
	int opt = fs_parse(fc, guestramfs_parameters, param, &result);
	char *end;

	switch (opt) {
	case OPT_CAP:
		fs->cap = result.uint_32;
		if (!fs->cap || fs->cap > INT_MAX)
			return invalf(fc, "guestramfs: cap: not a number of blocks");
		return 0;
	case OPT_GID:
		fs->gid = result.gid;
		return 0;
	case OPT_MODE:
		fs->mode = result.uint_32 & 07777;
		return 0;
	case OPT_SIZE:
		fs->limit = memparse(param->string, &end) >> BLOCK_SHIFT;
		if (*end || !fs->limit)
			return invalf(fc, "guestramfs: size: not a size of at least 2M");
		return 0;
	case OPT_UID:
		fs->uid = result.uid;
		return 0;
	default:
		return opt;
	}
}

/* Only the size can be changed. */
static int guestramfs_reconfigure(struct fs_context *fc)
{
	struct guestramfs_fs *fs = fc->root->d_sb->s_fs_info;
	struct guestramfs_fs *new = fc->s_fs_info;

	if (new->limit != ULONG_MAX)
		WRITE_ONCE(fs->limit, new->limit);
	return 0;
}

static void guestramfs_free_fc(struct fs_context *fc)
{
	kfree(fc->s_fs_info);
}

static const struct fs_context_operations guestramfs_context_ops = {
	.free		= guestramfs_free_fc,
	.parse_param	= guestramfs_parse_param,
	.get_tree	= guestramfs_get_tree,
	.reconfigure	= guestramfs_reconfigure,
};

static int guestramfs_init_fs_context(struct fs_context *fc)
{
	struct guestramfs_fs *fs = kzalloc_obj(*fs);

	if (!fs)
		return -ENOMEM;
	INIT_LIST_HEAD(&fs->banks);
	fs->mode = 0755;
	fs->uid = GLOBAL_ROOT_UID;
	fs->gid = GLOBAL_ROOT_GID;
	fs->limit = ULONG_MAX;
	fc->s_fs_info = fs;
	fc->ops = &guestramfs_context_ops;
	return 0;
}

static void guestramfs_kill_sb(struct super_block *sb)
{
	struct guestramfs_fs *fs = sb->s_fs_info;

	/* Whoever walks the inodes is done when we have the mutex. */
	scoped_guard(mutex, &guestramfs_mutex)
		fs->leaving = true;
	kill_anon_super(sb);
	guestramfs_unclaim(fs);
	kfree(fs);
}

static struct file_system_type guestramfs_type = {
	.owner			= THIS_MODULE,
	.name			= "guestramfs",
	.init_fs_context	= guestramfs_init_fs_context,
	.parameters		= guestramfs_parameters,
	.kill_sb		= guestramfs_kill_sb,
};
MODULE_ALIAS_FS("guestramfs");

static int __init guestramfs_init(void)
{
	int err = guestramfs_driver_register();

	if (err)
		return err;
	err = register_filesystem(&guestramfs_type);
	if (err)
		guestramfs_driver_unregister();
	return err;
}

static void __exit guestramfs_exit(void)
{
	unregister_filesystem(&guestramfs_type);
	guestramfs_driver_unregister();
}

module_init(guestramfs_init);
module_exit(guestramfs_exit);
MODULE_DESCRIPTION("Files of memory without a memmap");
MODULE_LICENSE("GPL");
