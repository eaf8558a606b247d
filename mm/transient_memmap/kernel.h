/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the pool needs of the kernel, in one place: built in user space, by
 * tools/testing/transient_memmap, it finds something else here.
 */
#ifndef _MM_TRANSIENT_MEMMAP_KERNEL_H
#define _MM_TRANSIENT_MEMMAP_KERNEL_H

#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/kobject.h>
#include <linux/llist.h>
#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/mutex.h>
#include <linux/pgalloc.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <kunit/visibility.h>
#include <asm/tlbflush.h>
#include "../internal.h"
#include "../mm_init.h"
#include "../sparse.h"
#include "../transient_memmap.h"

#endif /* _MM_TRANSIENT_MEMMAP_KERNEL_H */
