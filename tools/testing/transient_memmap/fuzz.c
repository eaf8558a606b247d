// SPDX-License-Identifier: GPL-2.0
/*
 * A fuzzer for mm/transient_memmap: bytes say what is done to some pools, and a
 * model of what may be pinned says whether what comes of it is right
 *
 * There is one thread, so the same bytes do the same. The worker runs when the
 * bytes say so, or when a pin waits; and while it is in a grace period, or before
 * its flush, or while a pin allocates, they say what others do meanwhile.
 *
 * Built with clang -fsanitize=fuzzer this is a target of libFuzzer; otherwise it
 * makes up the bytes by itself, or takes those of a file.
 */
#include <limits.h>
#include <signal.h>
#include <sys/time.h>

#include "harness.h"

/* Seconds. A sequence takes 0.1 s at most, and longer if the CPUs are busy. */
#define HANGS_AFTER_CPU	10
#define HANGS_AFTER	120

#define NR_SLOTS	3
/* Of each slot: those at both ends, where other ranges and sections begin */
#define NR_BLOCKS	24
#define NR_PINS		48
#define MAX_DEPTH	2

/* Two that share a section, and one with a direct map */
static const struct slot {
	unsigned long pfn, nr;
} slots[NR_SLOTS] = {
	{ 0, SECTION(3) / 2 },
	{ SECTION(3) / 2, SECTION(3) / 2 },
	{ SECTION(8), PAGES_PER_GIB },
};

/* The model: what is registered, allowed, pinned, held and poisoned */
static struct {
	struct dev_pagemap *pgmap;
	unsigned long cap, peak, failed;
	bool longterm, leaving;
	unsigned int refs[NR_BLOCKS];
	unsigned int holds[NR_BLOCKS]; /* pages, each as often as it is held */
	u8 poison[NR_BLOCKS]; /* a bit for each of the first pages */
} model[NR_SLOTS];

static struct pin { int slot, block; unsigned long pfn; } pins[NR_PINS];
static int nr_pins, depth;
static unsigned long nr_ops, nr_nested;

static const u8 *bytes, *bytes_end;

static unsigned int next(unsigned int n)
{
	return bytes < bytes_end ? *bytes++ % n : 0;
}

static void die(int sig)
{
	static const char text[] = "# signal: a struct page that is not there?\n";

	if (write(1, text, sizeof(text) - 1))
		abort();
	signal(sig, SIG_DFL);
}

static unsigned long block_pfn(int slot, int block)
{
	return slots[slot].pfn + (block < NR_BLOCKS / 2 ? nth(block) :
				  slots[slot].nr - nth(NR_BLOCKS - block));
}

/* The block of any pfn; false if it is none of the model's */
static bool find_block(unsigned long pfn, int *slot, int *block)
{
	for (*slot = 0; *slot < NR_SLOTS; ++*slot)
		for (*block = 0; *block < NR_BLOCKS; ++*block)
			if (block_pfn(*slot, *block) == block_start(pfn))
				return true;
	return false;
}

static unsigned long nr_pinned(int slot)
{
	unsigned long nr = 0;
	int i;

	for (i = 0; i < NR_BLOCKS; i++)
		nr += model[slot].refs[i] > 0;
	return nr;
}

static unsigned long nr_held(int slot)
{
	unsigned long nr = 0;
	int i;

	for (i = 0; i < NR_BLOCKS; i++)
		nr += model[slot].holds[i];
	return nr;
}

/* What has to be so at any time */
static void check_block(int slot, int block)
{
	unsigned long pfn = block_pfn(slot, block);
	enum transient_block_state state = state_of(pfn);
	unsigned int refs = model[slot].refs[block];
	bool poison = model[slot].poison[block];

	EXPECT(refs == 0 || state == BLOCK_LIVE || state == BLOCK_LIVE_POISONED);
	EXPECT(state != (poison ? BLOCK_LIVE : BLOCK_LIVE_POISONED));
	EXPECT((state == BLOCK_NONE) == !model[slot].pgmap);
	EXPECT(transient_direct_map_owns(pfn) == (slot == 2 && model[2].pgmap));
	direct_map_variant = slot == 2;
	if (refs) {
		EXPECT(page_is_right(model[slot].pgmap, pfn + 5));
		/* One more is the pool's, and one goes with the link. */
		EXPECT(folio_ref_count(page_folio(pfn_to_page(pfn))) >= refs);
		EXPECT(folio_ref_count(page_folio(pfn_to_page(pfn))) <= refs + 2);
	}
}

/* Whoever waits could not be served: it must not wait for what is there. */
static void check_waiters(struct transient_pool *pool)
{
	struct pool_waiter *w;

	list_for_each_entry(w, &pool->waiters, list)
		EXPECT(pool_live(pool) >= pool->limits[TRANSIENT_MEMMAP_CAP] ||
		       (w->needs_page && !pool->nr_spare));
}

static void check(void)
{
	unsigned long live, pages = 0, spare = 0, pools = 0;
	int slot, i;

	for (slot = 0; slot < NR_SLOTS; slot++) {
		struct dev_pagemap *pgmap = model[slot].pgmap;

		for (live = i = 0; i < NR_BLOCKS; i++) {
			check_block(slot, i);
			live += state_of(block_pfn(slot, i)) > BLOCK_ABSENT;
		}
		if (!pgmap)
			continue;
		pools++;
		spare += pgmap->transient_pool->nr_spare;
		pages += stat_of(pgmap, LIVE);
		/* While a pin or the worker is at it, one may be less. */
		if (!depth) {
			EXPECT(stat_of(pgmap, LIVE) == live);
			EXPECT(atomic_read(&pgmap->ref.count) ==
			       live + nr_held(slot) + !model[slot].leaving);
		}
		EXPECT(stat_of(pgmap, HELD) == nr_held(slot));
		EXPECT(stat_of(pgmap, CACHED) <= live);
		EXPECT(stat_of(pgmap, FAILED) == model[slot].failed || depth);
		model[slot].peak = max(model[slot].peak, stat_of(pgmap, LIVE));
		EXPECT(stat_of(pgmap, PEAK) >= model[slot].peak);
		/* Pins that were given a charge, but then no memory */
		EXPECT(stat_of(pgmap, PEAK) <= model[slot].peak + 1 + MAX_DEPTH);
		check_waiters(pgmap->transient_pool);
		EXPECT(stat_of(pgmap, BYTES) % PAGE_SIZE ==
		       pgmap->transient_pool->table_bytes % PAGE_SIZE);
	}
	if (!depth) {
		EXPECT(nr_memmap_pages == pages);
		EXPECT(nr_pages == pages + spare + pools);
		EXPECT(pools || !nr_objects);
		EXPECT(!pool_has_waiters());
	}
}

static void do_register(int slot, int nth_alloc)
{
	struct dev_pagemap *pgmap;
	int err;

	if (model[slot].pgmap || depth)
		return;
	direct_map_variant = slot == 2;
	pgmap = new_pgmap(slots[slot].pfn, slots[slot].nr);
	fail_nth = nth_alloc;
	err = register_pgmap(pgmap);
	EXPECT(err == (fail_all || (nth_alloc && !fail_nth) ? -ENOMEM : 0));
	fail_nth = 0;
	if (err)
		return;
	model[slot].pgmap = pgmap;
	model[slot].cap = transient_memmap_get_limit(pgmap, TRANSIENT_MEMMAP_CAP);
	model[slot].peak = 0;
	model[slot].failed = 0;
	model[slot].longterm = false;
	model[slot].leaving = false;
}

/* It waits for pins and holds in the kernel; here, the next one goes on. */
static void do_unregister(int slot)
{
	struct dev_pagemap *pgmap = model[slot].pgmap;
	int i;

	if (!pgmap || depth)
		return;
	if (nr_pinned(slot) || nr_held(slot)) {
		if (!model[slot].leaving)
			kill_pgmap(pgmap);
		model[slot].leaving = true;
		return;
	}
	/* Others may come in while it waits for the worker, but not to this. */
	depth = MAX_DEPTH;
	if (model[slot].leaving) {
		transient_memmap_drain_pool(pgmap);
		remove_ranges(pgmap, pgmap->nr_range);
	} else {
		unregister(pgmap);
	}
	depth = 0;
	model[slot].pgmap = NULL;
	for (i = 0; i < NR_BLOCKS; i++)
		expect_absent(block_pfn(slot, i));
}

static void note_pin(int slot, int block, struct page *page)
{
	EXPECT(page_to_pfn(page) - block_pfn(slot, block) < BLOCK_NR);
	model[slot].refs[block]++;
	pins[nr_pins++] = (struct pin){ slot, block, page_to_pfn(page) };
}

static void do_populate(int slot, int block, int page, unsigned int gup_flags,
			bool killed, int nth_alloc)
{
	unsigned long pfn = block_pfn(slot, block) + page, pinned, nested;
	enum transient_block_state state = state_of(pfn);
	bool stuck = state == BLOCK_POPULATING || state == BLOCK_UNMAPPED;
	bool was_pinned = model[slot].refs[block];
	struct page *got;
	int err;

	/* Some pins may be waiting, which will want their place. */
	if (nr_pins >= NR_PINS - MAX_DEPTH)
		return;
	pinned = nr_pinned(slot);
	nested = nr_nested;
	/* Nobody but the one thread could end it. */
	current->killed = killed || stuck;
	fail_nth = nth_alloc;
	depth++;
	got = transient_memmap_populate(pfn, gup_flags);
	depth--;
	err = PTR_ERR_OR_ZERO(got);
	fail_nth = 0;
	current->killed = false;
	if (!err)
		note_pin(slot, block, got);
	if (err == -ENOMEM)
		model[slot].failed++;

	/* While it waited, all of what it depends on may have changed. */
	if (nr_nested != nested)
		return;
	if (!model[slot].pgmap || model[slot].leaving)
		EXPECT(err == -EFAULT);
	else if (page < 8 && model[slot].poison[block] & BIT(page))
		EXPECT(err == (gup_flags & FOLL_HWPOISON ? -EHWPOISON : -EFAULT));
	else if (gup_flags & FOLL_LONGTERM && !model[slot].longterm)
		EXPECT(err == -EOPNOTSUPP);
	else if (stuck)
		EXPECT(err == -EINTR);
	else if (state != BLOCK_ABSENT || was_pinned)
		EXPECT(!err);
	else if (killed)
		EXPECT(!err || err == -EINTR ||
		       (err == -ENOMEM && !model[slot].cap));
	else if (pinned >= model[slot].cap)
		EXPECT(err == -ENOMEM);
	else if (depth)
		/* The worker is busy: there may be nothing to be had. */
		EXPECT(!err || err == -ENOMEM);
	else if (!fail_all || pinned < RESERVE_NR)
		EXPECT(!err);
	else
		EXPECT(!err || err == -ENOMEM);
}

static void do_try_get(int slot, int block)
{
	unsigned long pfn = block_pfn(slot, block) + 9;
	bool live = state_of(pfn) == BLOCK_LIVE;
	struct page *page;

	/* Some pins may be waiting, which will want their place. */
	if (nr_pins >= NR_PINS - MAX_DEPTH)
		return;
	page = transient_memmap_try_get(pfn);
	EXPECT(live || !page);
	EXPECT(!live || !model[slot].refs[block] || page);
	if (page)
		note_pin(slot, block, page);
}

static void do_put(int n, bool irq)
{
	struct pin *pin = &pins[n % max(nr_pins, 1)];
	struct folio *folio;

	if (!nr_pins)
		return;
	folio = page_folio(pfn_to_page(pin->pfn));
	model[pin->slot].refs[pin->block]--;
	if (n % 2)
		folio_set_referenced(folio);
	current->irq = irq;
	folio_put(folio);
	current->irq = false;
	*pin = pins[--nr_pins];
}

/* How many of @nr pages from @pfn on lie in its block */
static unsigned long in_block(unsigned long pfn, unsigned long nr)
{
	return min(nr, BLOCK_NR - pfn % BLOCK_NR);
}

/* What transient_memmap_hold() has to say, and what it has to count */
static int model_hold(unsigned long pfn, unsigned long nr, bool crowded)
{
	unsigned long done, part, i;
	int slot, block;

	for (done = 0; done < nr; done += part) {
		part = in_block(pfn + done, nr - done);
		find_block(pfn + done, &slot, &block);
		if (!model[slot].pgmap || model[slot].leaving)
			return -ENXIO;
		for (i = 0; i < part; i++)
			if ((pfn + done + i) % BLOCK_NR < 8 &&
			    model[slot].poison[block] &
			    BIT((pfn + done + i) % BLOCK_NR))
				return -EFAULT;
	}
	if (crowded)
		return -EOVERFLOW;
	for (done = 0; done < nr; done += part) {
		part = in_block(pfn + done, nr - done);
		find_block(pfn + done, &slot, &block);
		model[slot].holds[block] += part;
	}
	return 0;
}

/*
 * An entry maps memory of one range, and here of blocks that the model knows.
 * The last block may be held so often, by others, that it can't be once more.
 */
static void do_hold(int slot, int block, int page, unsigned long nr, bool crowd)
{
	unsigned long pfn = block_pfn(slot, block) + page, last;
	unsigned int *count = NULL, before = 0;
	int s, b;

	while (last = pfn + nr - 1, !find_block(last, &s, &b) || s != slot)
		nr = block_start(last) - pfn;
	if (crowd && model[slot].pgmap) {
		count = &section_of(last)->held[block_index(last)];
		before = *count;
		*count = UINT_MAX;
	}
	EXPECT(transient_memmap_hold(pfn, nr) == model_hold(pfn, nr, count));
	if (count) {
		EXPECT(*count == UINT_MAX);
		*count = before;
	}
}

/* It may go beyond what is held, and from one range to the next. */
static void do_release(int slot, int block, int page, unsigned long nr)
{
	unsigned long pfn = block_pfn(slot, block) + page, done, part;

	for (done = 0; done < nr; done += part) {
		part = in_block(pfn + done, nr - done);
		if (!find_block(pfn + done, &slot, &block) ||
		    model[slot].holds[block] < part)
			break;
		model[slot].holds[block] -= part;
	}
	EXPECT(transient_memmap_release(pfn, nr) == done);
}

static void release_block(int slot, int block)
{
	unsigned long nr;

	while ((nr = in_block(0, model[slot].holds[block])))
		do_release(slot, block, 0, nr);
}

static void do_set_limit(int slot, int limit, unsigned long n)
{
	if (!model[slot].pgmap)
		return;
	if (limit == TRANSIENT_MEMMAP_LONGTERM) {
		n %= 2;
		model[slot].longterm = n;
	} else if (limit == TRANSIENT_MEMMAP_CAP) {
		model[slot].cap = n;
	}
	EXPECT(!transient_memmap_set_limit(model[slot].pgmap, limit, n));
}

static void do_poison(int slot, int block, int page, bool poison)
{
	unsigned long pfn = block_pfn(slot, block) + page;
	u8 *bad = &model[slot].poison[block];

	if (poison && model[slot].pgmap) {
		transient_memmap_poison(pfn);
		*bad |= BIT(page);
	} else if (!poison) {
		EXPECT(transient_memmap_unpoison(pfn) ==
		       (*bad & BIT(page) ? 0 : -EIO));
		*bad &= ~BIT(page);
	}
}

static void run_all(unsigned long ticks)
{
	tick(ticks);
	while (run_work())
		;
}

/* Nothing that nobody holds may be left after that. */
static void do_quiesce(void)
{
	int slot, i;

	if (depth)
		return;
	/* Two periods for those who were used, one for spare pages, and time */
	depth = MAX_DEPTH;
	for (i = 0; i < 4; i++) {
		run_all(AGE_PERIOD);
		run_all(FREE_DELAY);
	}
	depth = 0;
	for (slot = 0; slot < NR_SLOTS; slot++) {
		if (!model[slot].pgmap)
			continue;
		EXPECT(stat_of(model[slot].pgmap, LIVE) == nr_pinned(slot));
		EXPECT(model[slot].pgmap->transient_pool->nr_spare <= RESERVE_NR);
	}
}

static void do_op(void)
{
	int op = next(18), slot = next(NR_SLOTS), block = next(NR_BLOCKS);
	unsigned int n = next(256);

	nr_ops++;
	nr_nested += depth > 0;
	if (getenv("TRACE"))
		printf("%*sop %d slot %d block %d n %#x\n", depth * 2, "", op,
		       slot, block, n);
	switch (op) {
	case 0:
		do_register(slot, n % 4 ? 0 : n / 4);
		break;
	case 1:
		if (n % 4 == 0)
			do_unregister(slot);
		break;
	case 2 ... 5:
		do_populate(slot, block, n % 8 ?: 9,
			    (n & 8 ? FOLL_HWPOISON : 0) |
			    ((n & 0x30) == 0x30 ? FOLL_LONGTERM : 0),
			    n >= 0xf0, (n & 0xc0) == 0x40 ? 1 + n % 2 : 0);
		break;
	case 6:
		do_try_get(slot, block);
		break;
	case 7 ... 9:
		do_put(n, op == 9);
		break;
	case 10:
		/* Cap and cache small, mostly: that is where things happen. */
		do_set_limit(slot, n % NR_TRANSIENT_MEMMAP_LIMITS,
			     n & 64 ? n : block);
		break;
	case 11:
		do_poison(slot, block, n % 8, n & 8 && n & 16);
		break;
	case 12:
		fail_all = n % 4 == 0;
		ram_nid = n & 16 ? NUMA_NO_NODE : n / 32;
		break;
	case 13:
		run_all(n % 8 ? n % 4 : n);
		break;
	case 14:
		if (model[slot].pgmap)
			shrink(model[slot].pgmap, n % 32);
		break;
	case 15:
		if (n % 8 == 0)
			do_quiesce();
		break;
	case 16:
		do_hold(slot, block, n % 16, 1 + n / 16 * next(256), n < 24);
		break;
	case 17:
		/* Most go as they came, or as a whole: unregistering waits. */
		if (n & 8)
			release_block(slot, block);
		else
			do_release(slot, block, n % 16, 1 + n / 16 * next(256));
		break;
	}
	check();
}

static void others(unsigned int nr)
{
	if (depth >= MAX_DEPTH)
		return;
	depth++;
	while (nr-- && bytes < bytes_end && !nr_failures)
		do_op();
	depth--;
}

/* What others do while the worker waits, */
static void meanwhile(void)
{
	if (free_work.work.running)
		others(next(6));
}

/* and while a pin allocates */
static void while_allocating(void)
{
	if (depth)
		others(next(3));
}

static void reset(void)
{
	int slot, i;

	fail_all = false;
	ram_nid = NUMA_NO_NODE;
	while (nr_pins)
		do_put(0, false);
	do_quiesce();
	for (slot = 0; slot < NR_SLOTS; slot++) {
		for (i = 0; i < 8 * NR_BLOCKS; i++)
			do_poison(slot, i / 8, i % 8, false);
		for (i = 0; i < NR_BLOCKS; i++)
			release_block(slot, i);
		do_unregister(slot);
	}
	run_all(2 * AGE_PERIOD);
	expect_nothing_left();
	wq_now = -300;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	if (!single) {
		single = true;
		boot_machine();
		in_grace_period = meanwhile;
		before_flush = meanwhile;
		in_reclaim = while_allocating;
	}
	bytes = data;
	bytes_end = data + size;
	while (bytes < bytes_end && !nr_failures && !nr_warnings)
		do_op();
	if (!nr_failures && !nr_warnings)
		reset();
	if (nr_failures || nr_warnings)
		abort();
	return 0;
}

#ifndef LIBFUZZER
static u8 buf[4096];
static unsigned int seed;

static void print_usage(void)
{
	printf("usage: fuzz [-t SECONDS] [-n OPERATIONS] [-s SEED]\n"
	       "       fuzz FILE\n"
	       "\n"
	       "Runs sequences of random operations until the first of the limits\n"
	       "(default: 10 seconds). A seed tells which; a sequence that fails is\n"
	       "saved as fuzz.fail, to be given as FILE.\n");
}

/* So that what ASan finds is saved, too */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "abort_on_error=1";
}

static void save(int sig)
{
	FILE *f = fopen("fuzz.fail", "w");

	if (sig != SIGABRT)
		printf("# %s\n", sig == SIGALRM || sig == SIGPROF ? "hangs" :
		       "signal: a struct page that is not there?");
	printf("# failed after %lu operations of seed %u\n", nr_ops, seed);
	if (f && fwrite(buf, 1, bytes_end - buf, f))
		printf("# saved as fuzz.fail: give it to me to do it again\n");
	fflush(NULL);
	_exit(1);
}

static unsigned long parse_number(const char *s)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	if (end != s && !*end)
		return n;
	fprintf(stderr, "fuzz: %s: not a number\n", s);
	exit(2);
}

/* What was made up and what came of it, for the test's log */
static void run_sequences(time_t seconds, unsigned long max_ops)
{
	const struct itimerval hangs = { .it_value.tv_sec = HANGS_AFTER_CPU };
	time_t start = time(NULL);
	unsigned int state = seed;
	unsigned long runs = 0;
	size_t size, i;

	printf("# seed %u\n", seed);
	fflush(stdout);
	do {
		size = 1 + rand_r(&state) % sizeof(buf);
		for (i = 0; i < size; i++)
			buf[i] = rand_r(&state) >> 8;
		setitimer(ITIMER_PROF, &hangs, NULL);
		alarm(HANGS_AFTER);
		LLVMFuzzerTestOneInput(buf, size);
		runs++;
	} while (time(NULL) < start + seconds && nr_ops < max_ops);
	printf("# %lu operations in %lu sequences (%lu while the worker or a pin waits), %lu/s\n",
	       nr_ops, runs, nr_nested, nr_ops / max(time(NULL) - start, 1));
}

int main(int argc, char **argv)
{
	unsigned long seconds = 0, max_ops = 0;
	FILE *f;
	int opt;

	seed = time(NULL) ^ getpid() << 16;
	while ((opt = getopt(argc, argv, "t:n:s:h")) != -1) {
		switch (opt) {
		case 't':
			seconds = parse_number(optarg);
			break;
		case 'n':
			max_ops = parse_number(optarg);
			break;
		case 's':
			seed = parse_number(optarg);
			break;
		default:
			print_usage();
			return opt == 'h' ? 0 : 2;
		}
	}
	if (optind < argc) {
		f = fopen(argv[optind], "r");
		if (!f) {
			perror(argv[optind]);
			return 2;
		}
		signal(SIGSEGV, die);
		return LLVMFuzzerTestOneInput(buf, fread(buf, 1, sizeof(buf), f));
	}
	signal(SIGABRT, save);
	signal(SIGSEGV, save);
	signal(SIGBUS, save);
	signal(SIGALRM, save);
	signal(SIGPROF, save);
	if (!seconds)
		seconds = max_ops ? LONG_MAX / 2 : 10;
	run_sequences(seconds, max_ops ?: ULONG_MAX);
	return 0;
}
#endif
