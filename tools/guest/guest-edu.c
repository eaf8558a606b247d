// SPDX-License-Identifier: GPL-2.0
/*
 * Let QEMU's device for education, which the guest was assigned, do DMA from and to
 * pages of the guest, for init.sh. There is no driver: this writes to its registers.
 *
 * usage: guest-edu DIRECTORY, the device's in sysfs
 * Prints "ok pages=N", or begins with "bad" or "error".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE		4096
#define PAGES		8
#define STRIDE		(3 << 20)	/* in huge pages, each in a block of its own */

#define BAR_LEN		(1 << 20)
#define SRC		0x80
#define DST		0x88
#define COUNT		0x90
#define COMMAND		0x98
#define START		1
#define TO_MEMORY	2
#define BUFFER		0x40000
#define LEN		4000	/* QEMU's check of a whole page is off by one. */

static volatile char *regs;

static void fail(const char *what)
{
	printf("error %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_in(const char *dir, const char *name, int flags)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, flags);
	if (fd < 0)
		fail(path);
	return fd;
}

/* Its memory is decoded then, and it may master the bus. */
static void enable(const char *dir)
{
	int config = open_in(dir, "config", O_RDWR);
	uint16_t command;

	if (write(open_in(dir, "enable", O_WRONLY), "1", 1) != 1 ||
	    pread(config, &command, 2, 4) != 2)
		fail("enable");
	command |= 6;
	if (pwrite(config, &command, 2, 4) != 2)
		fail("command");
	regs = mmap(NULL, BAR_LEN, PROT_READ | PROT_WRITE, MAP_SHARED,
		    open_in(dir, "resource0", O_RDWR | O_SYNC), 0);
	if (regs == MAP_FAILED)
		fail("resource0");
}

static uint64_t physical(const char *page)
{
	static int fd = -1;
	uint64_t entry;

	if (fd < 0)
		fd = open_in("/proc/self", "pagemap", O_RDONLY);
	if (pread(fd, &entry, 8, (uintptr_t)page / PAGE * 8) != 8 || !(entry >> 63))
		fail("pagemap");
	return (entry & ((1ULL << 55) - 1)) * PAGE;
}

static void dma(uint64_t src, uint64_t dst, uint64_t command)
{
	int i;

	*(volatile uint64_t *)(regs + SRC) = src;
	*(volatile uint64_t *)(regs + DST) = dst;
	*(volatile uint64_t *)(regs + COUNT) = LEN;
	*(volatile uint64_t *)(regs + COMMAND) = command | START;
	for (i = 0; i < 3000; i++) {
		if (!(*(volatile uint64_t *)(regs + COMMAND) & START))
			return;
		usleep(10000);
	}
	errno = ETIMEDOUT;
	fail("dma");
}

int main(int argc, char **argv)
{
	unsigned char *mem, *from, *to;
	int i, j;

	if (argc != 2)
		return 2;
	enable(argv[1]);
	mem = mmap(NULL, (PAGES + 1) * STRIDE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED || madvise(mem, (PAGES + 1) * STRIDE, MADV_HUGEPAGE))
		fail("memory");
	for (i = 0; i < PAGES; i++) {
		from = mem + i * STRIDE;
		to = from + STRIDE;
		for (j = 0; j < PAGE; j++)
			from[j] = j * 7 + (j >> 8) + i;
		memset(to, 0xa5, PAGE);
		dma(physical((char *)from), BUFFER, 0);
		dma(BUFFER, physical((char *)to), TO_MEMORY);
		for (j = 0; j < PAGE; j++) {
			if (to[j] == (j < LEN ? from[j] : 0xa5))
				continue;
			printf("bad page=%d byte=%d is=%x\n", i, j, to[j]);
			return 1;
		}
	}
	printf("ok pages=%d\n", PAGES);
	return 0;
}
