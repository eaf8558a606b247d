// SPDX-License-Identifier: GPL-2.0
/*
 * Preloaded, this gives a program memory of the device when it asks for anonymous
 * memory to share, 64 KiB or more. So tests that know nothing of the device try it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK	(2UL << 20)
#define ENOUGH	(1UL << 30)

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	static off_t next;
	int dax = -1;
	void *mem;

	if ((flags & MAP_SHARED) && (flags & MAP_ANONYMOUS) &&
	    !(flags & MAP_HUGETLB) && len >= 64 << 10)
		dax = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	if (dax >= 0) {
		flags &= ~MAP_ANONYMOUS;
		fd = dax;
		if (next + len > ENOUGH)
			next = 0;
		offset = next;
		next += (len + BLOCK - 1) & -BLOCK;
	}
	mem = (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
	if (dax >= 0)
		close(dax);
	return mem;
}
