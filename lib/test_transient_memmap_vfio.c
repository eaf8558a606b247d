// SPDX-License-Identifier: GPL-2.0
/*
 * A device of VFIO without hardware, like a mediated device, for the selftests:
 * user space reads and writes through it what it has mapped for it. An offset in
 * its file is a way to memory and an IOVA, see lib/test_transient_memmap_uapi.h.
 */
#include <linux/cleanup.h>
#include <linux/device/faux.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include "test_transient_memmap_uapi.h"

/**
 * struct tv_device - the device
 * @vdev: what VFIO has of it
 * @lock: protects @kept; VFIO's locks nest inside it
 * @kept: IOVA of a page that stays pinned until it is unmapped, and TV_KEPT; or 0
 */
struct tv_device {
	struct vfio_device vdev;
	struct mutex lock;	/* see above */
	dma_addr_t kept;
};

#define TV_KEPT		1

static struct faux_device *tv_faux;
static struct tv_device *tv;

static void tv_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	guard(mutex)(&tv->lock);
	if (tv->kept && tv->kept >= iova && tv->kept - iova < length) {
		vfio_unpin_pages(vdev, tv->kept & PAGE_MASK, 1);
		tv->kept = 0;
	}
}

static void tv_close(struct vfio_device *vdev)
{
	tv_dma_unmap(vdev, 0, U64_MAX);
}

/* Copy between @data and a page that is pinned, and may stay pinned. */
static int tv_pin(struct vfio_device *vdev, dma_addr_t iova, void *data,
		  size_t n, bool write, bool keep)
{
	struct page *page;
	int ret;

	guard(mutex)(&tv->lock);
	if (keep && tv->kept)
		return -EBUSY;
	ret = vfio_pin_pages(vdev, iova, 1, write ? IOMMU_WRITE : IOMMU_READ,
			     &page);
	if (ret < 0)
		return ret;
	if (write)
		memcpy_to_page(page, offset_in_page(iova), data, n);
	else
		memcpy_from_page(data, page, offset_in_page(iova), n);
	if (keep)
		tv->kept = (iova & PAGE_MASK) | TV_KEPT;
	else
		vfio_unpin_pages(vdev, iova, 1);
	return 0;
}

/* No more than to the end of a page at once */
static ssize_t tv_transfer(struct vfio_device *vdev, char __user *to,
			   const char __user *from, size_t n, loff_t pos)
{
	void *data __free(kfree) = kmalloc(PAGE_SIZE, GFP_KERNEL);
	dma_addr_t iova = pos & (BIT_ULL(TMEMMAP_VFIO_SHIFT) - 1);
	int way = pos >> TMEMMAP_VFIO_SHIFT, ret;

	if (!data)
		return -ENOMEM;
	n = min(n, PAGE_SIZE - offset_in_page(iova));
	if (from && copy_from_user(data, from, n))
		return -EFAULT;
	if (way == TMEMMAP_VFIO_RW)
		ret = vfio_dma_rw(vdev, iova, data, n, from);
	else
		ret = tv_pin(vdev, iova, data, n, from,
			     way == TMEMMAP_VFIO_KEEP);
	if (!ret && to && copy_to_user(to, data, n))
		ret = -EFAULT;
	return ret ?: n;
}

static ssize_t tv_read(struct vfio_device *vdev, char __user *buf, size_t count,
		       loff_t *ppos)
{
	return tv_transfer(vdev, buf, NULL, count, *ppos);
}

static ssize_t tv_write(struct vfio_device *vdev, const char __user *buf,
			size_t count, loff_t *ppos)
{
	return tv_transfer(vdev, NULL, buf, count, *ppos);
}

static const struct vfio_device_ops tv_ops = {
	.name = KBUILD_MODNAME,
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
	.close_device = tv_close,
	.read = tv_read,
	.write = tv_write,
	.dma_unmap = tv_dma_unmap,
};

static int __init tv_init(void)
{
	int err;

	tv_faux = faux_device_create(KBUILD_MODNAME, NULL, NULL);
	if (!tv_faux)
		return -ENODEV;
	tv = vfio_alloc_device(tv_device, vdev, &tv_faux->dev, &tv_ops);
	if (IS_ERR(tv)) {
		err = PTR_ERR(tv);
		goto destroy;
	}
	mutex_init(&tv->lock);
	err = vfio_register_emulated_iommu_dev(&tv->vdev);
	if (!err)
		return 0;
	vfio_put_device(&tv->vdev);
destroy:
	faux_device_destroy(tv_faux);
	return err;
}
module_init(tv_init);

static void __exit tv_exit(void)
{
	vfio_unregister_group_dev(&tv->vdev);
	vfio_put_device(&tv->vdev);
	faux_device_destroy(tv_faux);
}
module_exit(tv_exit);

MODULE_DESCRIPTION("Test device of VFIO that pins what user space maps for it");
MODULE_LICENSE("GPL");
