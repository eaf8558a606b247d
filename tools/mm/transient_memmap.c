// SPDX-License-Identifier: GPL-2.0
/*
 * transient_memmap: watch device-dax memory that has struct pages only while pinned
 *
 * Shows how many blocks have them, and how fast that changes. What the numbers
 * mean is told in Documentation/admin-guide/mm/transient_memmap.rst.
 */

#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HEADER_EVERY 20	/* samples */
#define UNKNOWN -1

enum { RESOURCE, SIZE, FIRST_COUNTER = 10, NODE_PINNED = 10, NR_ATTRS = 15 };

/* In the order of the columns. Without a width it is in the JSON only. */
static const struct {
	const char *name;
	int width;
} attrs[NR_ATTRS] = {
	[RESOURCE] = { "resource", 13 },
	[SIZE] = { "size", 8 },
	/* The others are in transient/. */
	{ "block_size" },
	{ "live", 7 }, { "cached", 7 }, { "cache", 7 }, { "cap", 7 },
	{ "peak" }, { "longterm" }, { "longterm_cap" },
	/* These only grow, as long as the driver is bound. */
	[NODE_PINNED] = { "node_pinned", 13 },
	{ "populated", 11 },
	{ "freed", 9 }, { "failed", 9 }, { "flushes", 9 },
};

struct pool {
	char *name;
	int error;		/* of the last sample */
	bool show;
	double time;
	long long values[NR_ATTRS];
	double rates[NR_ATTRS];	/* of the counters, per second */
};

static const char *dir = "/sys/bus/dax/devices";
static struct pool *pools;
static size_t nr_pools;
static double interval;
static bool json;

static bool is_rate(int attr)
{
	return interval && attr >= FIRST_COUNTER;
}

/*
 * Pins aren't counted for each pool, as that would cost every pin. But each node
 * counts the pages that get pinned, be they of its pools or others. Not having
 * the number is no error.
 */
static int read_node_pinned(const struct pool *pool, long long *value)
{
	char path[PATH_MAX], name[64];
	long long number;
	int node = -1;
	FILE *file;

	*value = UNKNOWN;
	snprintf(path, sizeof(path), "%s/numa_node", pool->name);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (fscanf(file, "%d", &node) != 1)
		node = -1;
	fclose(file);
	snprintf(path, sizeof(path), "../../../devices/system/node/node%d/vmstat", node);
	file = fopen(path, "r");
	if (!file)
		return 0;
	while (fscanf(file, "%63s %lld", name, &number) == 2)
		if (!strcmp(name, "nr_foll_pin_acquired"))
			*value = number;
	fclose(file);
	return 0;
}

/* Returns 0 or an errno. */
static int read_attr(const struct pool *pool, int attr, long long *value)
{
	char path[PATH_MAX];
	int error = 0;
	FILE *file;

	if (attr == NODE_PINNED)
		return read_node_pinned(pool, value);
	snprintf(path, sizeof(path), "%s/%s%s", pool->name,
		 attr > SIZE ? "transient/" : "", attrs[attr].name);
	*value = UNKNOWN;
	errno = 0;
	file = fopen(path, "r");
	if (!file || fscanf(file, "%lli", value) != 1)
		error = errno ? errno : EINVAL;
	if (file)
		fclose(file);
	if (error == EACCES && attr == RESOURCE)	/* Only root may know. */
		return 0;
	if (error == ENODEV)	/* It went while the file was open. */
		error = ENOENT;
	/* Once is enough, the device may stay away. */
	if (error && error != pool->error)
		warnx("%s/%s: %s", dir, path, strerror(error));
	return error;
}

/*
 * The files are read one after the other while the pool is at work, so the
 * numbers of a sample need not add up exactly. Returns if there is a pool.
 */
static bool sample(struct pool *pool)
{
	struct pool old = *pool;
	struct timespec now;
	int attr;

	pool->show = false;
	for (attr = 0; attr < NR_ATTRS; attr++) {
		pool->error = read_attr(&old, attr, &pool->values[attr]);
		if (pool->error)
			return false;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	pool->time = now.tv_sec + now.tv_nsec / 1e9;

	/* One that has just come has no rates yet. */
	pool->show = !interval || !old.error;
	for (attr = FIRST_COUNTER; attr < NR_ATTRS; attr++) {
		pool->rates[attr] = 0;
		if (pool->values[attr] == UNKNOWN || old.values[attr] == UNKNOWN)
			continue;
		pool->rates[attr] = (pool->values[attr] - old.values[attr]) /
				    (pool->time - old.time);
		/* The driver was bound anew, and has begun at 0. */
		if (pool->rates[attr] < 0)
			pool->show = false;
	}
	return true;
}

static void add_pool(const char *name)
{
	size_t i;

	for (i = 0; i < nr_pools; i++)
		if (!strcmp(pools[i].name, name))
			return;
	pools = reallocarray(pools, nr_pools + 1, sizeof(*pools));
	if (!pools)
		err(1, "reallocarray");
	/* To have no pool is no news. */
	pools[nr_pools] = (struct pool){ .name = strdup(name), .error = ENOENT };
	if (!pools[nr_pools++].name)
		err(1, "strdup");
}

/* Nothing but daxX.Y, so that a name needs no quotes in JSON. */
static bool is_device(const char *name)
{
	return !strncmp(name, "dax", 3) && isdigit(name[3]) &&
	       !name[3 + strspn(name + 3, "0123456789.")];
}

static void find_pools(void)
{
	struct dirent **entries;
	int i, nr;

	nr = scandir(".", &entries, NULL, versionsort);
	if (nr < 0)
		err(1, "%s", dir);
	for (i = 0; i < nr; i++) {
		if (is_device(entries[i]->d_name))
			add_pool(entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
}

static void print_header(void)
{
	int attr;

	printf("%-8s", "device");
	for (attr = 0; attr < NR_ATTRS; attr++)
		if (attrs[attr].width)
			printf(" %*s%s", attrs[attr].width - 2 * is_rate(attr),
			       attrs[attr].name, is_rate(attr) ? "/s" : "");
	putchar('\n');
}

/* Exact, in the largest unit that allows it. */
static void print_size(long long size, int width)
{
	const char *unit = "BKMGTP";

	while (size && size % 1024 == 0 && unit[1]) {
		size /= 1024;
		unit++;
	}
	printf(" %*lld%c", width - 1, size, *unit);
}

static void print_line(const struct pool *pool)
{
	int attr, width;

	printf("%-8s", pool->name);
	for (attr = 0; attr < NR_ATTRS; attr++) {
		width = attrs[attr].width;
		if (!width)
			continue;
		if (attr == SIZE)
			print_size(pool->values[attr], width);
		else if (pool->values[attr] == UNKNOWN)
			printf(" %*s", width, "-");
		else if (attr == RESOURCE)
			printf(" %#*llx", width, pool->values[attr]);
		else if (!is_rate(attr))
			printf(" %*lld", width, pool->values[attr]);
		/* A failure should show, however long the interval is. */
		else if (pool->rates[attr] > 0 && pool->rates[attr] < 0.1)
			printf(" %*s", width, "<0.1");
		else
			printf(" %*.1f", width, pool->rates[attr]);
	}
	putchar('\n');
}

static void print_object(const struct pool *pool, bool first)
{
	int attr;

	printf("%c{\"device\":\"%s\"", first ? '[' : ',', pool->name);
	for (attr = 0; attr < NR_ATTRS; attr++) {
		printf(",\"%s\":", attrs[attr].name);
		if (pool->values[attr] == UNKNOWN)
			printf("null");
		else
			printf("%lld", pool->values[attr]);
		if (is_rate(attr) && pool->values[attr] == UNKNOWN)
			printf(",\"%s_per_s\":null", attrs[attr].name);
		else if (is_rate(attr))
			printf(",\"%s_per_s\":%.6f", attrs[attr].name, pool->rates[attr]);
	}
	putchar('}');
}

static void print_sample(unsigned long nr)
{
	size_t i, shown = 0;

	if (!json && nr % HEADER_EVERY == 0)
		print_header();
	for (i = 0; i < nr_pools; i++) {
		if (pools[i].show && json)
			print_object(&pools[i], !shown++);
		else if (pools[i].show)
			print_line(&pools[i]);
	}
	if (json)
		puts(shown ? "]" : "[]");
	if (!fflush(stdout) && !ferror(stdout))
		return;
	/* SIGPIPE can be ignored. Who reads no more wants no message. */
	if (errno != EPIPE)
		err(1, "stdout");
	exit(0);
}

/* Returns how many devices have a pool. */
static size_t take_sample(bool named)
{
	size_t i, nr = 0;

	if (!named)
		find_pools();	/* Some may have come. */
	for (i = 0; i < nr_pools; i++)
		nr += sample(&pools[i]);
	return nr;
}

static void help(FILE *out)
{
	fputs("Usage: transient_memmap [-j] [-s DIR] [-n COUNT] [INTERVAL] [DEVICE...]\n"
	      "Show what transient memmaps of device-dax hold: once, with totals since the\n"
	      "driver was bound, or every INTERVAL seconds, with rates since the last time.\n"
	      "  -j        JSON, a line with an array of devices each time\n"
	      "  -s DIR    where the devices are (default: /sys/bus/dax/devices)\n"
	      "  -n COUNT  so many times (default: until interrupted)\n"
	      "  -h        this text\n", out);
	exit(out == stdout ? 0 : 2);
}

int main(int argc, char **argv)
{
	unsigned long i, count = 0;
	int opt, named;
	char *end;

	while ((opt = getopt(argc, argv, "hjn:s:")) != -1) {
		switch (opt) {
		case 'j':
			json = true;
			break;
		case 's':
			dir = optarg;
			break;
		case 'n':
			count = strtoul(optarg, &end, 10);
			if (!isdigit(*optarg) || *end || !count)
				errx(2, "-n %s: not a number of samples", optarg);
			break;
		default:
			help(opt == 'h' ? stdout : stderr);
		}
	}
	if (optind < argc && isdigit(*argv[optind])) {
		interval = strtod(argv[optind], &end);
		if (*end || !(interval >= 0.01 && interval <= 3600))
			errx(2, "%s: not an interval from 0.01 to 3600 seconds", argv[optind]);
		optind++;
	}
	if (count > 1 && !interval)
		errx(2, "-n %lu: needs an INTERVAL", count);
	if (chdir(dir))
		err(1, "%s", dir);
	named = optind < argc;
	for (; optind < argc; optind++) {
		if (!is_device(argv[optind]))
			errx(1, "%s: not the name of a device (daxX.Y)", argv[optind]);
		if (access(argv[optind], F_OK))
			err(1, "%s/%s", dir, argv[optind]);
		add_pool(argv[optind]);
	}

	/* With an INTERVAL, what the first rates start from. */
	if (!take_sample(named) && !named)
		errx(1, "no device with a transient memmap below %s", dir);
	for (i = 0; named && i < nr_pools; i++)
		if (pools[i].error)
			errx(1, "%s/%s/transient: no transient memmap, or not bound",
			     dir, pools[i].name);
	if (!interval)
		print_sample(0);
	for (i = 0; interval && (!count || i < count); i++) {
		usleep(interval * 1000000);
		take_sample(named);
		print_sample(i);
	}
	return 0;
}
