// SPDX-License-Identifier: GPL-2.0
/*
 * How the cost of what mm/transient_memmap does grows with what there is:
 * blocks that are live, sections that are registered, threads that pin
 *
 * It is the cost of the pool's own code and of flat.h, without page tables that
 * map, TLB flushes and interrupts, so only how it grows means something. Each
 * is measured twice: as CPU time, the median of some rounds, in which cache and
 * TLB misses show; and in instructions, which are the same in each run. They are
 * counted by single steps, so not where there are too many.
 */
#define FLAT_MACHINE
#define NR_SECTIONS	32768UL /* 4 TiB */
#define NR_RAM		BIT(20)

#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "harness.h"

#define MAX_ROUNDS	99
#define MAX_THREADS	4
#define MAX_LIVE	500000UL
/* Blocks that are made or freed at a time, and while steps are counted */
#define BATCH		1024UL
#define COUNT_BATCH	16UL
/* Blocks that are pinned while they are live, and how many pins */
#define HIT_BLOCKS	64UL
#define HITS		4096UL
/* Of what is done for each block or section, no more is counted */
#define MAX_COUNT	1000UL
#define MAX_COUNT_SECTIONS	8UL

/* The blocks of MAX_LIVE, and as many batches as there can be rounds */
#define LIVE_SECTIONS	10240UL

static int rounds = 15;
static bool failed;

static void check(bool ok, const char *what)
{
	if (ok || failed)
		return;
	failed = true;
	fprintf(stderr, "growth: not so: %s\n", what);
}

/* Probes: begin() and end(), around what is measured */

struct figure {
	const char *name;
	double ns[MAX_ROUNDS], steps;
};

/* Shared with the process that counts, if there is one */
static volatile unsigned long *nr_steps;
/* While steps are counted */
static bool counting;
static unsigned long begun, empty_probe;

static unsigned long cpu_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

static void begin(void)
{
	if (counting)
		raise(SIGUSR1);
	else
		begun = cpu_time();
}

static unsigned long end(void)
{
	if (!counting)
		return cpu_time() - begun;
	raise(SIGUSR2);
	return *nr_steps - empty_probe;
}

/*
 * The last round counts. The first is made anew by the last but one, when what
 * it touches has been touched before.
 */
#define for_each_round(i)						\
	for (i = 0; counting = i > rounds, i <= rounds + !!nr_steps; i++)

static void note(struct figure *f, int round, double value)
{
	if (counting)
		f->steps = value;
	else
		f->ns[round % rounds] = value;
}

static int compare(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

static void print_figure(const char *against, unsigned long n, struct figure *f)
{
	qsort(f->ns, rounds, sizeof(f->ns[0]), compare);
	printf("%s\t%lu\t%s\t%.1f\t", against, n, f->name, f->ns[rounds / 2]);
	if (f->steps)
		printf("%.1f\n", f->steps);
	else
		printf("-\n");
	fflush(stdout);
}

/* Count the steps of a child between the signals that it raises. */
static unsigned long count_steps(pid_t pid)
{
	unsigned long nr = 0;
	int status;

	for (;; nr++) {
		ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
		if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			exit(1);
		if (WSTOPSIG(status) == SIGUSR2)
			return nr;
	}
}

static int attend(pid_t pid)
{
	int status, sig;

	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		sig = WSTOPSIG(status);
		if (sig == SIGUSR1) {
			*nr_steps = count_steps(pid);
			sig = 0;
		}
		if (sig == SIGTRAP)
			sig = 0;
		ptrace(PTRACE_CONT, pid, 0, sig);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* Returns in the child; or here, if it may not be traced. */
static void be_counted(void)
{
	pid_t pid;

	nr_steps = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = fork();
	if (pid < 0)
		abort();
	if (pid)
		exit(attend(pid));
	if (ptrace(PTRACE_TRACEME, 0, 0, 0)) {
		fprintf(stderr, "growth: may not count: %m\n");
		nr_steps = NULL;
		return;
	}
	counting = true;
	begin();
	empty_probe = end();
}

/* Verbs */

static void pin(unsigned long pfn)
{
	check(!IS_ERR(transient_memmap_populate(pfn, 0)), "pinned");
}

static void unpin(unsigned long pfn)
{
	folio_put(page_folio(pfn_to_page(pfn)));
}

/* Each @step-th block */
static void pin_blocks(unsigned long first, unsigned long nr,
		       unsigned long step)
{
	for (; nr; nr--, first += step)
		pin(nth(first));
}

/* What is dying, and nothing else. Ageing is for those who measure it. */
static void run_worker(void)
{
	age_work.work.running = true;
	tick(FREE_DELAY);
	while (run_work())
		;
	age_work.work.running = false;
}

static void free_blocks(unsigned long first, unsigned long nr,
			unsigned long step)
{
	for (; nr; nr--, first += step)
		unpin(nth(first));
	run_worker();
}

/* Pin some of the first @nr blocks, which are live, and unpin them. */
static void hit_blocks(unsigned long first, unsigned long nr,
		       unsigned long hits)
{
	unsigned long n = min(nr, HIT_BLOCKS), step = nr / n, pfn, i;

	for (i = 0; hits; hits--) {
		pfn = nth(first + i * step);
		check(transient_memmap_try_get(pfn), "hit");
		unpin(pfn);
		if (++i == n)
			i = 0;
	}
}

static struct dev_pagemap *register_sections(unsigned long nr)
{
	struct dev_pagemap *pgmap = new_pgmap(0, SECTION(nr));

	check(!register_pgmap(pgmap), "registered");
	set_limit(pgmap, CAP, ULONG_MAX);
	set_limit(pgmap, CACHE, 0);
	return pgmap;
}

/* By blocks that are live */

static void measure_live(unsigned long nr)
{
	struct figure populate = { "populate" }, hit = { "hit" };
	struct figure free = { "free" };
	struct dev_pagemap *pgmap = register_sections(LIVE_SECTIONS);
	unsigned long batch, hits;
	int i;

	pin_blocks(0, nr, 1);
	for_each_round(i) {
		batch = counting ? COUNT_BATCH : BATCH;
		hits = counting ? COUNT_BATCH : HITS;
		begin();
		pin_blocks(nr, batch, 1);
		note(&populate, i, (double)end() / batch);
		begin();
		hit_blocks(0, nr, hits);
		note(&hit, i, (double)end() / hits);
		begin();
		free_blocks(nr, batch, 1);
		note(&free, i, (double)end() / batch);
		check(stat_of(pgmap, LIVE) == nr, "all are freed");
	}
	free_blocks(0, nr, 1);
	unregister(pgmap);
	print_figure("live", nr, &populate);
	print_figure("live", nr, &hit);
	print_figure("live", nr, &free);
}

/* One pass over blocks that GUP has marked since the last: they stay. */
static void measure_age(unsigned long nr, struct figure *age)
{
	unsigned long block;
	int i;

	for_each_round(i) {
		if (counting && nr > MAX_COUNT)
			continue;
		for (block = 0; block < nr; block++)
			folio_set_referenced(page_folio(pfn_to_page(nth(block))));
		begin();
		age_pools(NULL);
		note(age, i, (double)end() / nr);
	}
}

/* All blocks that may be live are pinned. The pin waits for a second. */
static void measure_refused(struct dev_pagemap *pgmap, unsigned long nr,
			    struct figure *refused)
{
	struct page *page;
	int i;

	pin_blocks(0, nr, 1);
	set_limit(pgmap, CAP, nr);
	for_each_round(i) {
		begin();
		page = transient_memmap_populate(nth(nr), 0);
		note(refused, i, end());
		check(IS_ERR(page), "refused");
	}
	free_blocks(0, nr, 1);
}

/*
 * Pins of other blocks, while all that may be live are idle: each 20th drops as
 * many, and waits for the worker. What that takes is part of the figure.
 */
static void measure_at_cap(struct dev_pagemap *pgmap, unsigned long nr,
			   struct figure *at_cap)
{
	unsigned long populated, first, batch, block;
	int i;

	for_each_round(i) {
		batch = counting ? WALK_BATCH : BATCH;
		populated = stat_of(pgmap, POPULATED);
		first = nr + i * BATCH;
		begin();
		for (block = first; block < first + batch; block++) {
			pin(nth(block));
			unpin(nth(block));
		}
		note(at_cap, i, (double)end() / batch);
		check(stat_of(pgmap, POPULATED) == populated + batch,
		      "all are new");
		check(stat_of(pgmap, LIVE) <= nr, "not above the cap");
	}
}

static void measure_cached(unsigned long nr)
{
	struct figure age = { "age" }, at_cap = { "at the cap" };
	struct figure refused = { "refused" };
	struct dev_pagemap *pgmap = register_sections(LIVE_SECTIONS);

	set_limit(pgmap, CACHE, ULONG_MAX);
	pin_blocks(0, nr, 1);
	free_blocks(0, nr, 1);
	measure_age(nr, &age);
	check(stat_of(pgmap, CACHED) == nr, "kept by ageing");

	age_work.work.running = true;
	measure_refused(pgmap, nr, &refused);
	age_work.work.running = true;
	measure_at_cap(pgmap, nr, &at_cap);
	age_work.work.running = false;
	unregister(pgmap);
	print_figure("live", nr, &age);
	print_figure("live", nr, &at_cap);
	print_figure("live", nr, &refused);
}

/* By sections that are registered */

static void measure_sections(unsigned long nr)
{
	struct figure reg = { "register" }, unreg = { "unregister" };
	struct figure populate = { "populate and free" };
	/* As many as are in one section, spread over all */
	unsigned long n = BLOCKS_PER_SECTION, time, times, took;
	struct dev_pagemap *pgmap;
	bool many;
	int i;

	for_each_round(i) {
		/* Populating only is counted if there are many. */
		many = counting && nr > MAX_COUNT_SECTIONS;
		counting = counting && !many;
		begin();
		pgmap = register_sections(nr);
		took = end();
		if (!many)
			note(&reg, i, (double)took / nr);

		counting = counting || many;
		times = counting ? 1 : BATCH / n;
		pin_blocks(0, n, nr);
		free_blocks(0, n, nr);
		begin();
		for (time = 0; time < times; time++) {
			pin_blocks(0, n, nr);
			free_blocks(0, n, nr);
		}
		note(&populate, i, (double)end() / n / times);

		counting = counting && !many;
		begin();
		unregister(pgmap);
		took = end();
		if (!many)
			note(&unreg, i, (double)took / nr);
	}
	print_figure("sections", nr, &reg);
	print_figure("sections", nr, &unreg);
	print_figure("sections", nr, &populate);
}

/* By threads */

static pthread_barrier_t barrier;

static struct thread {
	pthread_t id;
	unsigned long first;
	double populate[MAX_ROUNDS], hit[MAX_ROUNDS];
} threads[MAX_THREADS];
static int nr_threads;

/* Each has blocks and sections of its own, of one pool. */
static void *pin_thread(void *arg)
{
	struct thread *t = arg;
	unsigned long start;
	int i, j, rc;

	for (i = 0; i <= rounds; i++) {
		pthread_barrier_wait(&barrier);
		start = cpu_time();
		pin_blocks(t->first, BATCH, 1);
		t->populate[i % rounds] = (double)(cpu_time() - start) / BATCH;
		pthread_barrier_wait(&barrier);
		start = cpu_time();
		hit_blocks(t->first, BATCH, HITS);
		t->hit[i % rounds] = (double)(cpu_time() - start) / HITS;
		/* One frees the blocks of all. */
		rc = pthread_barrier_wait(&barrier);
		if (rc != PTHREAD_BARRIER_SERIAL_THREAD)
			continue;
		for (j = 0; j < nr_threads; j++)
			free_blocks(threads[j].first, BATCH, 1);
	}
	return NULL;
}

static void measure_threads(unsigned long nr)
{
	struct figure populate = { "populate" }, hit = { "hit" };
	struct dev_pagemap *pgmap = register_sections(1024);
	unsigned long i, j;

	nr_threads = nr;
	pthread_barrier_init(&barrier, NULL, nr);
	for (i = 0; i < nr; i++) {
		threads[i].first = 2 * i * BATCH;
		if (pthread_create(&threads[i].id, NULL, pin_thread,
				   &threads[i]))
			abort();
	}
	for (i = 0; i < nr; i++) {
		pthread_join(threads[i].id, NULL);
		for (j = 0; j < rounds; j++) {
			populate.ns[j] += threads[i].populate[j] / nr;
			hit.ns[j] += threads[i].hit[j] / nr;
		}
	}
	pthread_barrier_destroy(&barrier);
	unregister(pgmap);
	print_figure("threads", nr, &populate);
	print_figure("threads", nr, &hit);
}

static void measure(void)
{
	static const unsigned long sections[] = { 1, 8, 64, 512, 4096, 32768 };
	static const unsigned long live[] = {
		1, 10, 100, 1000, 10000, 100000, MAX_LIVE
	};
	int i;

	printf("against\tn\toperation\tns\tinstructions\n");
	for (i = 0; i < ARRAY_SIZE(live); i++)
		measure_live(live[i]);
	for (i = 0; i < ARRAY_SIZE(live); i++)
		measure_cached(live[i]);
	for (i = 0; i < ARRAY_SIZE(sections); i++)
		measure_sections(sections[i]);
	for (i = 1; i <= MAX_THREADS; i *= 2)
		measure_threads(i);
}

int main(int argc, char **argv)
{
	unsigned long i;

	if (argc > 1)
		rounds = atoi(argv[1]);
	if (argc > 2 || rounds < 1 || rounds > MAX_ROUNDS) {
		fprintf(stderr, "usage: growth [ROUNDS]\n");
		return 2;
	}
	be_counted();
	/* No page faults for what was freed before, */
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	mallopt(M_MMAP_MAX, 0);
	single = true;
	boot_machine();
	if (mprotect(vmemmap, VMEMMAP_SIZE, PROT_READ | PROT_WRITE) ||
	    madvise(vmemmap, VMEMMAP_SIZE, MADV_NOHUGEPAGE))
		abort();
	/* nor for struct pages */
	for (i = 0; i < MAX_LIVE + (rounds + 2) * BATCH; i++)
		WRITE_ONCE(pfn_to_page(nth(i))->private, 0);
	measure();
	while (age_work.work.pending) {
		tick(AGE_PERIOD);
		run_work();
	}
	expect_nothing_left();
	return failed || nr_warnings || nr_failures;
}
