/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel, for the pool of transient struct pages in user space.
 *
 * This has the include guard of mm/transient_memmap/kernel.h, the only file by
 * which the pool reaches the kernel, and is included first; and the guards of the
 * headers that the pool's other two headers include. So all of the pool's files
 * are used where and as they are.
 */
#ifndef _MM_TRANSIENT_MEMMAP_KERNEL_H
#define _MM_TRANSIENT_MEMMAP_KERNEL_H

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
#include <stdarg.h>
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

/* The pool, or a mutated one: the Makefile says where it is. */
#include "core.c"
#include "cache.c"
#include "table.c"
#include "pgmap.c"
#include "direct_map.c"
#include "hold.c"

#endif /* _MM_TRANSIENT_MEMMAP_KERNEL_H */
