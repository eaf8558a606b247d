/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests of the transient memmap have in common */
#ifndef _TRANSIENT_MEMMAP_UTIL_H
#define _TRANSIENT_MEMMAP_UTIL_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest.h"

#define KB	1024UL
#define MB	(1024 * KB)
#define GB	(1024 * MB)
#define PAGE	(4 * KB)

#define DAX		"/sys/bus/dax/devices/dax0.0/"
#define DAX_DRIVER	"/sys/bus/dax/drivers/device_dax/"
#define CONFIGFS	"/sys/kernel/config"
#define NULLB		CONFIGFS "/nullb/"

/* Small files */

static inline int write_str(const char *path, const char *s)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, s, strlen(s)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static inline int write_ulong(const char *path, unsigned long n)
{
	char s[32];

	snprintf(s, sizeof(s), "%lu", n);
	return write_str(path, s);
}

/* Its contents in @buf; nothing if it can't be read */
static inline char *read_text(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd >= 0) {
		n = read(fd, buf, len - 1);
		close(fd);
	}
	buf[n > 0 ? n : 0] = 0;
	return buf;
}

/* The first line; an empty one if there is none */
static inline const char *read_str(const char *path)
{
	static char s[256];

	read_text(path, s, sizeof(s));
	s[strcspn(s, "\n")] = 0;
	return s;
}

/* What a line "name value" of @text says, or ULONG_MAX if none has this name */
static inline unsigned long named_value(const char *text, const char *name)
{
	size_t len = strlen(name);

	while (text && *text) {
		if (!strncmp(text, name, len) && text[len] == ' ')
			return strtoul(text + len, NULL, 0);
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	return ULONG_MAX;
}

static inline long memmap_pages(void)
{
	FILE *f = fopen("/proc/vmstat", "r");
	char line[128];
	long n = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "nr_memmap_pages %ld", &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

/* The pool of a device; @dir is its directory in sysfs, with a / at the end. */

/* A statistic, or ULONG_MAX */
static inline unsigned long pool_stat(const char *dir, const char *name)
{
	char path[PATH_MAX], text[1024];

	snprintf(path, sizeof(path), "%stransient/stats", dir);
	return named_value(read_text(path, text, sizeof(text)), name);
}

/* cap, cache or longterm */
static inline unsigned long pool_limit(const char *dir, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%stransient/%s", dir, name);
	return strtoul(read_str(path), NULL, 0);
}

static inline int pool_set_limit(const char *dir, const char *name,
				 unsigned long value)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%stransient/%s", dir, name);
	return write_ulong(path, value);
}

/* Contents */

static inline uint8_t pattern(size_t i, int seed)
{
	return (i ^ (i >> 9) ^ (i >> 12) * 3 ^ (i >> 18) * 7) * 31 + seed;
}

static inline void fill(char *p, size_t len, int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = pattern(i, seed);
}

/* The offset of the first byte that is not the pattern's, or @len */
static inline size_t same(const char *p, size_t len, int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((uint8_t)p[i] != pattern(i, seed))
			break;
	return i;
}

static inline bool all_bytes(const char *p, size_t len, int byte)
{
	while (len && *p == (char)byte) {
		len--;
		p++;
	}
	return !len;
}

/* Disks in memory */

/*
 * Make a disk in memory that answers from an interrupt handler. It is called
 * @name, has @mb MiB and takes @delay nanoseconds. After an error there is no
 * disk.
 */
static inline void nullb_make(const char *name, const char *mb,
			      const char *delay)
{
	const char *const attrs[][2] = {
		{ "size", mb },
		{ "blocksize", "512" },
		{ "memory_backed", "1" },
		{ "discard", "1" },
		{ "irqmode", "2" },
		{ "poll_queues", "1" },
		{ "completion_nsec", delay },
		{ "power", "1" },
	};
	char path[PATH_MAX];
	size_t i;

	mount("configfs", CONFIGFS, "configfs", 0, NULL);
	snprintf(path, sizeof(path), NULLB "%s", name);
	if (mkdir(path, 0700))
		return;
	for (i = 0; i < ARRAY_SIZE(attrs); i++) {
		snprintf(path, sizeof(path), NULLB "%s/%s", name, attrs[i][0]);
		write_str(path, attrs[i][1]);
	}
	/* devtmpfs and udev may take a moment. */
	snprintf(path, sizeof(path), "/dev/%s", name);
	for (i = 0; i < 100 && access(path, F_OK); i++)
		usleep(10000);
}

static inline void nullb_remove(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), NULLB "%s", name);
	rmdir(path);
}

/* device-dax */

static char dax_memmap[32], dax_align[32];

static inline bool dax_is_bound(void)
{
	char path[PATH_MAX];

	return realpath(DAX "driver", path) &&
	       !strcmp(strrchr(path, '/'), "/device_dax");
}

static inline int dax_unbind(void)
{
	return write_str(DAX "driver/unbind", "dax0.0");
}

static inline int dax_set(const char *memmap, const char *align)
{
	int err;

	if (dax_is_bound() && !strcmp(read_str(DAX "memmap"), memmap) &&
	    !strcmp(read_str(DAX "align"), align))
		return 0;
	if (!access(DAX "driver", F_OK)) {
		err = dax_unbind();
		if (err)
			return err;
	}
	err = write_str(DAX "memmap", memmap);
	if (!err)
		err = write_str(DAX "align", align);
	/* Bound again also if it can't be as wanted. */
	return write_str(DAX_DRIVER "bind", "dax0.0") ?: err;
}

static inline int dax_set_transient(unsigned long align)
{
	char s[32];

	snprintf(s, sizeof(s), "%lu", align);
	return dax_set("transient", s);
}

/* Leaves it unbound. */
static inline int dax_set_direct_map(const char *direct_map)
{
	int err = access(DAX "driver", F_OK) ? 0 : dax_unbind();

	return err ?: write_str(DAX "direct_map", direct_map);
}

static inline void dax_save(void)
{
	snprintf(dax_memmap, sizeof(dax_memmap), "%s", read_str(DAX "memmap"));
	snprintf(dax_align, sizeof(dax_align), "%s", read_str(DAX "align"));
}

static inline void dax_restore(void)
{
	if (*dax_memmap)
		dax_set(dax_memmap, dax_align);
}

#endif /* _TRANSIENT_MEMMAP_UTIL_H */
