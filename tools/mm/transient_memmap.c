// SPDX-License-Identifier: GPL-2.0
/*
 * transient_memmap: watch memory that has struct pages only while it is pinned
 *
 * Shows how many blocks of a device-dax device have struct pages, and how fast
 * that changes. Documentation/admin-guide/mm/transient_memmap.rst says what the
 * numbers mean.
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

#define HEADER_EVERY	20	/* samples */
#define MAX_VALUES	64
#define UNKNOWN		-1

enum kind { NUMBER, ADDRESS, BYTES, COUNTER };

/*
 * The values that are shown in a line, in their order. The JSON has all that the
 * kernel tells. A counter only grows as long as the driver is bound, and has a
 * rate.
 */
static const struct column {
	const char *name;
	int width;
	enum kind kind;
} columns[] = {
	{ "resource", 13, ADDRESS },
	{ "size", 8, BYTES },
	{ "live", 7, NUMBER },
	{ "cached", 7, NUMBER },
	{ "cache", 7, NUMBER },
	{ "cap", 7, NUMBER },
	{ "memmap_bytes", 12, BYTES },
	{ "node_pinned", 13, COUNTER },
	{ "populated", 11, COUNTER },
	{ "freed", 9, COUNTER },
	{ "failed", 9, COUNTER },
	{ "flushes", 9, COUNTER },
};

#define NR_COLUMNS	(sizeof(columns) / sizeof(*columns))

/* Files with a number each. The statistics are in transient/stats. */
static const char * const files[] = {
	"resource", "size",
	"transient/cap", "transient/cache", "transient/longterm",
};

#define NR_FILES	(sizeof(files) / sizeof(*files))

struct value {
	char name[32];
	long long number;
	double rate;		/* of a counter, per second */
};

struct pool {
	char *name;
	int error;		/* of the last sample */
	bool show;
	double time;
	size_t nr_values;
	struct value values[MAX_VALUES];
};

static const char *dir = "/sys/bus/dax/devices";
static struct pool *pools;
static size_t nr_pools;
static double interval;
static bool json;

static const struct value *find_value(const struct pool *pool, const char *name)
{
	size_t i;

	for (i = 0; i < pool->nr_values; i++)
		if (!strcmp(pool->values[i].name, name))
			return &pool->values[i];
	return NULL;
}

static bool is_counter(const char *name)
{
	size_t i;

	for (i = 0; i < NR_COLUMNS; i++)
		if (!strcmp(columns[i].name, name))
			return columns[i].kind == COUNTER;
	return false;
}

static void add_value(struct pool *pool, const char *name, long long number)
{
	struct value *value = &pool->values[pool->nr_values];

	if (pool->nr_values == MAX_VALUES)
		return;
	snprintf(value->name, sizeof(value->name), "%s", name);
	value->number = number;
	value->rate = 0;
	pool->nr_values++;
}

static FILE *open_file(const struct pool *pool, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", pool->name, name);
	errno = 0;
	return fopen(path, "r");
}

static int read_number(struct pool *pool, const char *name)
{
	const char *slash = strrchr(name, '/');
	FILE *file = open_file(pool, name);
	long long number = UNKNOWN;
	int error = 0;

	if (!file || fscanf(file, "%lli", &number) != 1)
		error = errno ? errno : EINVAL;
	if (file)
		fclose(file);
	/* Only root may know the address. */
	if (error == EACCES && !strcmp(name, "resource"))
		error = 0;
	add_value(pool, slash ? slash + 1 : name, number);
	return error;
}

static int read_stats(struct pool *pool, const char *name)
{
	FILE *file = open_file(pool, name);
	char stat[32], line[128];
	long long number;
	int error = 0;

	if (!file)
		return errno;
	while (!error && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%31s %lld", stat, &number) == 2)
			add_value(pool, stat, number);
		else
			error = EINVAL;
	}
	if (ferror(file))
		error = errno;
	fclose(file);
	return error;
}

/*
 * Pins aren't counted for each pool, as that would cost every pin. But each
 * node counts the pages that are pinned, those of other memory too. If the
 * number isn't there, this is no error.
 */
static void read_node_pinned(struct pool *pool)
{
	char path[PATH_MAX], name[64];
	long long number, pinned = UNKNOWN;
	FILE *file = open_file(pool, "numa_node");
	int node = -1;

	if (file && fscanf(file, "%d", &node) != 1)
		node = -1;
	if (file)
		fclose(file);
	snprintf(path, sizeof(path),
		 "../../../devices/system/node/node%d/vmstat", node);
	file = fopen(path, "r");
	while (file && fscanf(file, "%63s %lld", name, &number) == 2)
		if (!strcmp(name, "nr_foll_pin_acquired"))
			pinned = number;
	if (file)
		fclose(file);
	add_value(pool, "node_pinned", pinned);
}

/* Returns 0 or an errno; @last is that of the sample before. */
static int read_pool(struct pool *pool, int last)
{
	const char *name = "transient/stats";
	int error = 0;
	size_t i;

	pool->nr_values = 0;
	for (i = 0; i < NR_FILES && !error; i++)
		error = read_number(pool, files[i]);
	if (error)
		name = files[i - 1];
	else
		error = read_stats(pool, name);
	if (!error)
		read_node_pinned(pool);
	if (error == ENODEV)	/* It went while the file was open. */
		error = ENOENT;
	/* Once is enough, the device may stay away. */
	if (error && error != last)
		warnx("%s/%s/%s: %s", dir, pool->name, name, strerror(error));
	return error;
}

/* Returns if there is a pool. */
static bool sample(struct pool *pool)
{
	static struct pool old;
	const struct value *before;
	struct timespec now;
	struct value *value;
	size_t i;

	old = *pool;
	pool->show = false;
	pool->error = read_pool(pool, old.error);
	if (pool->error)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	pool->time = now.tv_sec + now.tv_nsec / 1e9;

	/* One that has just come has no rates yet. */
	pool->show = !interval || !old.error;
	for (i = 0; i < pool->nr_values; i++) {
		value = &pool->values[i];
		before = find_value(&old, value->name);
		if (!is_counter(value->name) || value->number == UNKNOWN ||
		    !before || before->number == UNKNOWN)
			continue;
		value->rate = (value->number - before->number) /
			      (pool->time - old.time);
		/* The driver was bound anew, and has begun at 0. */
		if (value->rate < 0)
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

static bool has_rate(const char *name)
{
	return interval && is_counter(name);
}

static void print_header(void)
{
	size_t i;

	printf("%-8s", "device");
	for (i = 0; i < NR_COLUMNS; i++) {
		bool rate = has_rate(columns[i].name);

		printf(" %*s%s", columns[i].width - 2 * rate, columns[i].name,
		       rate ? "/s" : "");
	}
	putchar('\n');
}

/* Exact, in the largest unit that allows it. */
static void print_bytes(long long bytes, int width)
{
	const char *unit = "BKMGTP";

	while (bytes && bytes % 1024 == 0 && unit[1]) {
		bytes /= 1024;
		unit++;
	}
	printf(" %*lld%c", width - 1, bytes, *unit);
}

static void print_cell(const struct column *column, const struct value *value)
{
	int width = column->width;

	if (!value || value->number == UNKNOWN)
		printf(" %*s", width, "-");
	else if (column->kind == BYTES)
		print_bytes(value->number, width);
	else if (column->kind == ADDRESS)
		printf(" %#*llx", width, value->number);
	else if (!has_rate(column->name))
		printf(" %*lld", width, value->number);
	/* A failure should show, however long the interval is. */
	else if (value->rate > 0 && value->rate < 0.1)
		printf(" %*s", width, "<0.1");
	else
		printf(" %*.1f", width, value->rate);
}

static void print_line(const struct pool *pool)
{
	size_t i;

	printf("%-8s", pool->name);
	for (i = 0; i < NR_COLUMNS; i++)
		print_cell(&columns[i], find_value(pool, columns[i].name));
	putchar('\n');
}

static void print_object(const struct pool *pool, bool first)
{
	const struct value *value = pool->values;

	printf("%c{\"device\":\"%s\"", first ? '[' : ',', pool->name);
	for (; value < pool->values + pool->nr_values; value++) {
		bool unknown = value->number == UNKNOWN;

		if (unknown)
			printf(",\"%s\":null", value->name);
		else
			printf(",\"%s\":%lld", value->name, value->number);
		if (has_rate(value->name) && unknown)
			printf(",\"%s_per_s\":null", value->name);
		else if (has_rate(value->name))
			printf(",\"%s_per_s\":%.6f", value->name, value->rate);
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
	/* SIGPIPE may be ignored. A reader that has gone wants no message. */
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
			errx(2, "%s: not an interval from 0.01 to 3600 seconds",
			     argv[optind]);
		optind++;
	}
	if (count > 1 && !interval)
		errx(2, "-n %lu: needs an INTERVAL", count);
	if (chdir(dir))
		err(1, "%s", dir);
	named = optind < argc;
	for (; optind < argc; optind++) {
		if (!is_device(argv[optind]))
			errx(1, "%s: not the name of a device (daxX.Y)",
			     argv[optind]);
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
