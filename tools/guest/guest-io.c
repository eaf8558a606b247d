// SPDX-License-Identifier: GPL-2.0
/*
 * Do direct I/O, 4 KiB at a time, between random places of a disk and random places of
 * memory, for init.sh. Each block of the disk is written once, in an order that no
 * readahead follows, then read once in another order, from and to a random page.
 * Each word of a block tells the round and the block, so data of another block or of
 * an earlier round is found, and so is torn data.
 *
 * usage: guest-io DEVICE DISK_MIB MEMORY_MIB, the first a power of two
 * Prints "ok write=IOPS read=IOPS", or begins with "bad" or "error".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define BLOCK	4096
#define WORDS	(BLOCK / sizeof(unsigned long))

static unsigned long blocks, pages, seed;
static unsigned long *mem;
static int fd;

static unsigned long next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* No two words of a round are equal. */
static unsigned long word(unsigned long round, unsigned long block, unsigned int i)
{
	return round ^ (block * WORDS + i);
}

static int write_block(unsigned long round, unsigned long block, unsigned long *page)
{
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		page[i] = word(round, block, i);
	return pwrite(fd, page, BLOCK, block * BLOCK) == BLOCK ? 0 : -1;
}

static int read_block(unsigned long round, unsigned long block, unsigned long *page)
{
	unsigned int i;

	memset(page, 0, BLOCK);
	if (pread(fd, page, BLOCK, block * BLOCK) != BLOCK)
		return -1;
	for (i = 0; i < WORDS; i++) {
		if (page[i] == word(round, block, i))
			continue;
		printf("bad block=%lu word=%u is=%lx\n", block, i, page[i]);
		exit(1);
	}
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Returns blocks per second. An odd factor permutes the numbers below a power of two. */
static double all_blocks(const char *what, unsigned long round,
			 int (*one)(unsigned long, unsigned long, unsigned long *))
{
	unsigned long factor = next() | 1, first = next(), i;
	double begun = now();

	for (i = 0; i < blocks; i++) {
		if (!one(round, (i * factor + first) % blocks, mem + next() % pages * WORDS))
			continue;
		printf("error %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return blocks / (now() - begun);
}

int main(int argc, char **argv)
{
	double writes, reads;
	unsigned long round;
	size_t size;

	if (argc != 4)
		return 2;
	blocks = strtoul(argv[2], NULL, 0) * ((1 << 20) / BLOCK);
	size = strtoul(argv[3], NULL, 0) << 20;
	pages = size / BLOCK;
	fd = open(argv[1], O_RDWR | O_DIRECT);
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fd < 0 || mem == MAP_FAILED || !blocks || blocks & (blocks - 1) ||
	    madvise(mem, size, MADV_HUGEPAGE) || madvise(mem, size, MADV_POPULATE_WRITE) ||
	    getrandom(&seed, sizeof(seed), GRND_INSECURE) != sizeof(seed)) {
		printf("error start: %s\n", strerror(errno));
		return 1;
	}
	seed |= 1;
	round = next();
	writes = all_blocks("write", round, write_block);
	reads = all_blocks("read", round, read_block);
	printf("ok write=%.0f read=%.0f\n", writes, reads);
	return 0;
}
