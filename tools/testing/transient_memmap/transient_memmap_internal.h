/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel, for the pool of transient struct pages in user space.
 *
 * This has the include guard of the one in mm/, and main.c includes
 * this first: so the pool's own #include, which finds the one beside it, finds
 * nothing there.  The same goes for the headers that are included by the pool's
 * other two.  Thus all of the pool's files are used where and as they are, with
 * no copy of them to be made, or to get stale.
 */
#ifndef _MM_TRANSIENT_MEMMAP_INTERNAL_H
#define _MM_TRANSIENT_MEMMAP_INTERNAL_H

#define _LINUX_JUMP_LABEL_H
#define _LINUX_MEMREMAP_H_
#define _LINUX_MMZONE_H
#define __LINUX_RCUPDATE_H
#define __TOOLS_LINUX_ATOMIC_H
#define _TOOLS_LINUX_MM_H
#define _TOOLS_LINUX_REFCOUNT_H
#define __LINUX_SPINLOCK_H_

#define CONFIG_64BIT			1
#define CONFIG_TRANSIENT_MEMMAP		1

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/align.h>
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/cleanup.h>
#include <linux/compiler.h>
#include <linux/compiler_attributes.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/kconfig.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/sizes.h>
#include <linux/types.h>

#include "stubs.h"
#include "custom.h"
#include "machine.h"
#include "../../../mm/transient_memmap.h"

#endif /* _MM_TRANSIENT_MEMMAP_INTERNAL_H */
