// SPDX-License-Identifier: GPL-2.0
/*
 * Loads of bench-machine.sh on files that are memory: those of guestramfs and of
 * hugetlbfs, and a device-dax. Prints a line of JSON for each figure.
 *
 *	make NAME FILE MIB touch|no	make a file, size it, map it, touch one byte in
 *					each 2 MiB if asked to, unmap it, remove it
 *	clear NAME FILE MIB 2m|1g	touch a new file once per entry, so that the
 *					kernel clears it; then clear it again from here
 *	fault NAME FILE MIB 4k|2m|1g	touch once per entry what has been cleared
 *
 * The mapping lies so that entries of no other size fit; the count of faults, and a
 * touch of every page later, show that they have it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define PAGE	(1UL << 12)
#define BLOCK	(1UL << 21)
#define GIB	(1UL << 30)

static const char *name, *file;
static unsigned long len;

static void die(const char *what)
{
	fprintf(stderr, "guestramfs.c: %s: %s: %s\n", file ? file : "", what,
		strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static void figure(const char *what, uint64_t ns, unsigned long count)
{
	printf("{\"kind\":\"file\",\"memory\":\"%s\",\"what\":\"%s\",", name, what);
	printf("\"mib\":%lu,\"ns\":%llu,\"count\":%lu}\n", len >> 20,
	       (unsigned long long)ns, count);
}

static void touch(volatile char *map, unsigned long step)
{
	unsigned long at;

	for (at = 0; at < len; at += step)
		map[at] = 1;
}

/* Eight stores of eight bytes in a round, like the kernel's memset() here */
static void clear(volatile uint64_t *to)
{
	volatile uint64_t *end = to + len / sizeof(*to);

	for (; to < end; to += 8) {
		to[0] = 0;
		to[1] = 0;
		to[2] = 0;
		to[3] = 0;
		to[4] = 0;
		to[5] = 0;
		to[6] = 0;
		to[7] = 0;
	}
}

static unsigned long entry_size(const char *word)
{
	if (!strcmp(word, "4k"))
		return PAGE;
	if (!strcmp(word, "2m"))
		return BLOCK;
	if (!strcmp(word, "1g"))
		return GIB;
	errno = EINVAL;
	die(word);
	return 0;
}

/* An address that is aligned like the offset by this much and by no more */
static char *map_for(int fd, unsigned long entry)
{
	char *area = mmap(NULL, len + 2 * GIB, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		die("no address space");
	area += -(uintptr_t)area & (GIB - 1);
	if (entry < GIB)
		area += entry;
	area = mmap(area, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		    fd, 0);
	if (area == MAP_FAILED)
		die("mmap");
	return area;
}

/* Returns the nanoseconds that it takes. */
static uint64_t touch_entries(char *map, unsigned long entry)
{
	long before = faults(), expected = len / entry;
	uint64_t ns = now();

	touch(map, entry);
	ns = now() - ns;
	touch(map, PAGE);
	errno = EINVAL;
	if (faults() - before != expected) {
		fprintf(stderr, "%ld faults, expected %ld\n",
			faults() - before, expected);
		die("not the entries that were asked for");
	}
	return ns;
}

static void load_make(const char *touched)
{
	int want = !strcmp(touched, "touch"), fd;
	uint64_t t[7];
	char *map;

	t[0] = now();
	fd = open(file, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		die("open");
	t[1] = now();
	if (ftruncate(fd, len))
		die("ftruncate");
	t[2] = now();
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap");
	t[3] = now();
	if (want)
		touch(map, BLOCK);
	t[4] = now();
	if (munmap(map, len))
		die("munmap");
	t[5] = now();
	if (unlink(file) || close(fd))
		die("unlink");
	t[6] = now();
	figure("open", t[1] - t[0], 1);
	figure("ftruncate", t[2] - t[1], 1);
	figure("mmap", t[3] - t[2], 1);
	if (want)
		figure("touch", t[4] - t[3], 1);
	figure("munmap", t[5] - t[4], 1);
	figure("unlink", t[6] - t[5], 1);
}

static void load_clear(const char *size)
{
	unsigned long entry = entry_size(size);
	char what[32], *map;
	uint64_t ns;
	int fd;

	fd = open(file, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || ftruncate(fd, len))
		die("making it");
	map = map_for(fd, entry);
	ns = touch_entries(map, entry);
	snprintf(what, sizeof(what), "first touch %s", size);
	figure(what, ns, len / entry);
	ns = now();
	clear((void *)map);
	ns = now() - ns;
	snprintf(what, sizeof(what), "memset %s", size);
	figure(what, ns, 1);
	if (unlink(file) || close(fd))
		die("unlink");
}

static void load_fault(const char *size)
{
	unsigned long entry = entry_size(size);
	int fd = open(file, O_RDWR);
	char what[32];

	if (fd < 0)
		die("open");
	snprintf(what, sizeof(what), "fault %s", size);
	figure(what, touch_entries(map_for(fd, entry), entry), len / entry);
}

int main(int argc, char **argv)
{
	if (argc != 6) {
		fprintf(stderr, "usage: %s make|clear|fault NAME FILE MIB WORD\n",
			argv[0]);
		return 2;
	}
	/* What they touch for the first time is not to be counted. */
	now();
	faults();
	name = argv[2];
	file = argv[3];
	len = strtoul(argv[4], NULL, 10) << 20;
	if (!strcmp(argv[1], "make"))
		load_make(argv[5]);
	else if (!strcmp(argv[1], "clear"))
		load_clear(argv[5]);
	else
		load_fault(argv[5]);
	return 0;
}
