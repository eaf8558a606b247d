/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * How tools/testing/selftests/mm/transient_memmap.c talks to the test provider,
 * lib/test_transient_memmap.c. Offsets, of the file and in these structures,
 * count from the start of the provider's memory.
 */
#ifndef _LIB_TEST_TRANSIENT_MEMMAP_UAPI_H
#define _LIB_TEST_TRANSIENT_MEMMAP_UAPI_H

#include <linux/types.h>
#include <linux/ioctl.h>

#define TMEMMAP_MAX_RANGES	8

/*
 * @size: (out) of the provider's memory, in bytes
 */
struct tmemmap_info {
	__u64	size;
};

/*
 * @nr: (in) number of ranges that this file registers, as one pgmap
 * @offset, @len: (in) in bytes
 */
struct tmemmap_register {
	__u32	nr;
	__u32	pad;
	struct {
		__u64	offset;
		__u64	len;
	} ranges[TMEMMAP_MAX_RANGES];
};

/*
 * @text: (out) lines "name value", as in a device's file transient/stats, but
 *	without block_size
 */
struct tmemmap_stats {
	char	text[1024];
};

/* What a limit is called; as enum transient_memmap_limit */
enum {
	TMEMMAP_CAP,
	TMEMMAP_CACHE,
	TMEMMAP_ALLOW_LONGTERM,
};

/*
 * @which: (in) TMEMMAP_CAP etc.
 * @value: (in or out)
 */
struct tmemmap_limit {
	__u32	which;
	__u32	pad;
	__u64	value;
};

/*
 * @offset: (in) of any page of the block
 * @live: (out) whether it has struct pages; the rest is 0 if not
 * @refs: (out) of the folio, one for each page that is pinned or got
 * @pins: (out) of the folio, one for each page that is pinned
 */
struct tmemmap_block {
	__u64	offset;
	__u32	live;
	__u32	refs;
	__u32	pins;
	__u32	pad;
};

/* What mappings made from now on look like */
enum {
	TMEMMAP_MAP_TRANSIENT,	/* may be pinned where it is registered */
	TMEMMAP_MAP_PLAIN,	/* no VMA_TRANSIENT_BIT, and 4 KiB pages */
};

/*
 * @page_size: (in) largest size of a page table entry, in bytes
 * @kind: (in) TMEMMAP_MAP_*
 */
struct tmemmap_map {
	__u64	page_size;
	__u32	kind;
	__u32	pad;
};

/* The function that pins */
enum {
	TMEMMAP_PIN_FAST,
	TMEMMAP_PIN_UNLOCKED,
	TMEMMAP_PIN_REMOTE,
	TMEMMAP_GET_FAST,
	TMEMMAP_GET_FAST_ONLY,
};

/* Its flags */
#define TMEMMAP_WRITE		0x1
#define TMEMMAP_LONGTERM	0x2
#define TMEMMAP_FORCE		0x4
#define TMEMMAP_NOFAULT		0x8
#define TMEMMAP_DUMP		0x10
#define TMEMMAP_NO_TRANSIENT	0x20

/*
 * @addr: (in) in the caller's address space, of any kind of memory
 * @nr: (in) pages
 * @how: (in) TMEMMAP_PIN_*, TMEMMAP_GET_*
 * @flags: (in) TMEMMAP_WRITE etc.
 * @pinned: (out) pages that were pinned, and are held under @id
 * @id: (out) for TMEMMAP_READ and TMEMMAP_UNPIN
 */
struct tmemmap_pin {
	__u64	addr;
	__u64	nr;
	__u32	how;
	__u32	flags;
	__u32	pinned;
	__u32	id;
};

/*
 * @buf: (in) where to copy to, through the struct pages that are held
 * @offset: (in) from the start of the first page
 * @len: (in) in bytes
 * @id: (in) whose pages
 */
struct tmemmap_read {
	__u64	buf;
	__u64	offset;
	__u64	len;
	__u32	id;
	__u32	pad;
};

#define TMEMMAP_INFO		_IOR('T', 0xd0, struct tmemmap_info)
#define TMEMMAP_REGISTER	_IOW('T', 0xd1, struct tmemmap_register)
#define TMEMMAP_UNREGISTER	_IO('T', 0xd2)
#define TMEMMAP_STATS		_IOR('T', 0xd3, struct tmemmap_stats)
#define TMEMMAP_GET_LIMIT	_IOWR('T', 0xd4, struct tmemmap_limit)
#define TMEMMAP_BLOCK		_IOWR('T', 0xd5, struct tmemmap_block)
#define TMEMMAP_MAP		_IOW('T', 0xd6, struct tmemmap_map)
#define TMEMMAP_PIN		_IOWR('T', 0xd7, struct tmemmap_pin)
#define TMEMMAP_READ		_IOW('T', 0xd8, struct tmemmap_read)
#define TMEMMAP_UNPIN		_IOW('T', 0xd9, __u32)
#define TMEMMAP_SET_LIMIT	_IOW('T', 0xda, struct tmemmap_limit)

/*
 * An offset in the file of lib/test_transient_memmap_vfio.c, the device of VFIO, is
 * a way << TMEMMAP_VFIO_SHIFT and an IOVA. A transfer ends where a page does.
 */
#define TMEMMAP_VFIO_SHIFT	40

enum {
	TMEMMAP_VFIO_RW,	/* vfio_dma_rw() */
	TMEMMAP_VFIO_PIN,	/* vfio_pin_pages() */
	TMEMMAP_VFIO_KEEP,	/* the same, and it stays pinned until it is unmapped */
};

#endif /* _LIB_TEST_TRANSIENT_MEMMAP_UAPI_H */
