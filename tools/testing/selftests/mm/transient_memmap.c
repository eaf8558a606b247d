// SPDX-License-Identifier: GPL-2.0
/*
 * What user space sees of memory with a transient memmap: it can be pinned like
 * any other, and nothing of that stays behind.
 *
 * Run as root. Tests use /dev/dax0.0, the provider of
 * lib/test_transient_memmap.c, and a disk, as far as they are there. The disk is
 * what TRANSIENT_MEMMAP_DISK names, and loses its contents; or /dev/vda, if it is
 * unused and blank; or else a null_blk made for the purpose.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "transient_memmap_hwpoison.h"
#include "transient_memmap_kvm.h"
#include "transient_memmap_util.h"
#include "../../../../lib/test_transient_memmap_uapi.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

#define BLOCK	(2 * MB)

#define PROVIDER	"/dev/test_transient_memmap"
#define FAIL_NTH	"/proc/self/fail-nth"

/* An emulated machine with all debugging options takes its time. */
#define TIMEOUT		120

/* What a transfer claims to have read is there. */
static bool transferred(const char *p, long ret, int seed)
{
	return ret < 0 || same(p, ret, seed) == (size_t)ret;
}

/* The disk */

#define DISK_LEN	(8 * MB)

static char disk_path[PATH_MAX];
static bool disk_was_blank;

static bool disk_is_blank(const char *path)
{
	/* O_EXCL: not mounted, and no part of anything else */
	int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	char *p = malloc(DISK_LEN);
	bool blank;

	blank = read(fd, p, DISK_LEN) == (ssize_t)DISK_LEN &&
		all_bytes(p, DISK_LEN, 0);
	free(p);
	close(fd);
	return blank;
}

static void disk_find(void)
{
	const char *name = getenv("TRANSIENT_MEMMAP_DISK");

	if (!name && disk_is_blank("/dev/vda")) {
		name = "/dev/vda";
		disk_was_blank = true;
	}
	if (!name) {
		nullb_make("tm_fast", "16", "10000");
		name = "/dev/tm_fast";
	}
	snprintf(disk_path, sizeof(disk_path), "%s", name);
}

static void disk_leave(void)
{
	char *zeros = calloc(1, DISK_LEN);
	int fd = -1;

	if (disk_was_blank)
		fd = open(disk_path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		pwrite(fd, zeros, DISK_LEN, 0);
		close(fd);
	}
	free(zeros);
	nullb_remove("tm_fast");
}

/* Its contents, by another way than direct I/O */

static bool disk_put(off_t off, size_t len, int seed)
{
	int fd = open(disk_path, O_RDWR | O_CLOEXEC);
	char *p = malloc(len);
	bool ok;

	fill(p, len, seed);
	ok = pwrite(fd, p, len, off) == (ssize_t)len && !fsync(fd) &&
	     !ioctl(fd, BLKFLSBUF);
	free(p);
	close(fd);
	return ok;
}

static bool disk_has(off_t off, size_t len, int seed)
{
	int fd = open(disk_path, O_RDWR | O_CLOEXEC);
	char *p = malloc(len);
	bool ok;

	ok = !ioctl(fd, BLKFLSBUF) &&
	     pread(fd, p, len, off) == (ssize_t)len &&
	     same(p, len, seed) == len;
	free(p);
	close(fd);
	return ok;
}

/* I/O in three ways, by system calls alone */

enum engine { PSYNC, AIO, URING };

#define MAX_IO 16

struct io {
	enum engine engine;
	long res[MAX_IO];
	aio_context_t aio;
	int ring;
	char *sq, *cq;
	struct io_uring_params p;
	struct io_uring_sqe *sqes;
	bool fixed; /* reads go to the buffer that was registered */
};

static bool uring_open(struct io *io)
{
	io->ring = syscall(__NR_io_uring_setup, MAX_IO, &io->p);
	if (io->ring < 0)
		return false;
	io->sq = mmap(NULL, io->p.sq_off.array + MAX_IO * sizeof(int),
		      PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		      io->ring, IORING_OFF_SQ_RING);
	io->cq = mmap(NULL, io->p.cq_off.cqes + 2 * MAX_IO *
		      sizeof(struct io_uring_cqe),
		      PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		      io->ring, IORING_OFF_CQ_RING);
	io->sqes = mmap(NULL, MAX_IO * sizeof(struct io_uring_sqe),
			PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			io->ring, IORING_OFF_SQES);
	return io->sq != MAP_FAILED && io->cq != MAP_FAILED &&
	       io->sqes != MAP_FAILED;
}

/* Returns false with errno if the kernel does not have this engine. */
static bool io_open(struct io *io, enum engine engine)
{
	memset(io, 0, sizeof(*io));
	io->engine = engine;
	switch (engine) {
	case AIO:
		return !syscall(__NR_io_setup, MAX_IO, &io->aio);
	case URING:
		return uring_open(io);
	default:
		return true;
	}
}

static void io_close(struct io *io)
{
	if (io->engine == AIO)
		syscall(__NR_io_destroy, io->aio);
	if (io->engine == URING)
		close(io->ring);
}

static int aio_submit(struct io *io, int tag, int fd, bool write, void *buf,
		      size_t len, off_t off)
{
	struct iocb cb = {
		.aio_data = tag,
		.aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = fd,
		.aio_buf = (unsigned long)buf,
		.aio_nbytes = len,
		.aio_offset = off,
	}, *cbs[] = { &cb };

	return syscall(__NR_io_submit, io->aio, 1, cbs) == 1 ? 0 : -errno;
}

static int uring_submit(struct io *io, int tag, int fd, bool write, void *buf,
			size_t len, off_t off)
{
	unsigned int *tail = (unsigned int *)(io->sq + io->p.sq_off.tail);
	unsigned int *array = (unsigned int *)(io->sq + io->p.sq_off.array);
	unsigned int slot = *tail % io->p.sq_entries;

	io->sqes[slot] = (struct io_uring_sqe) {
		.opcode = write ? IORING_OP_WRITE :
			  io->fixed ? IORING_OP_READ_FIXED : IORING_OP_READ,
		.fd = fd,
		.addr = (unsigned long)buf,
		.len = len,
		.off = off,
		.user_data = tag,
	};
	array[slot] = slot;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	return syscall(__NR_io_uring_enter, io->ring, 1, 0, 0, NULL, 0) == 1 ?
		0 : -errno;
}

/* The result is going to be in io->res[tag]; or returns -errno. */
static int io_submit(struct io *io, int tag, int fd, bool write, void *buf,
		     size_t len, off_t off)
{
	switch (io->engine) {
	case AIO:
		return aio_submit(io, tag, fd, write, buf, len, off);
	case URING:
		return uring_submit(io, tag, fd, write, buf, len, off);
	default:
		io->res[tag] = write ? pwrite(fd, buf, len, off) :
				       pread(fd, buf, len, off);
		if (io->res[tag] < 0)
			io->res[tag] = -errno;
		return 0;
	}
}

static void aio_wait(struct io *io, int nr)
{
	struct io_event event;

	while (nr) {
		if (syscall(__NR_io_getevents, io->aio, 1, 1, &event, NULL) != 1)
			continue;
		io->res[event.data] = event.res;
		nr--;
	}
}

static void uring_wait(struct io *io, int nr)
{
	unsigned int *head = (unsigned int *)(io->cq + io->p.cq_off.head);
	unsigned int *tail = (unsigned int *)(io->cq + io->p.cq_off.tail);
	struct io_uring_cqe *cqes = (void *)(io->cq + io->p.cq_off.cqes);

	while (nr) {
		if (*head == __atomic_load_n(tail, __ATOMIC_ACQUIRE)) {
			syscall(__NR_io_uring_enter, io->ring, 0, 1,
				IORING_ENTER_GETEVENTS, NULL, 0);
			continue;
		}
		io->res[cqes[*head % io->p.cq_entries].user_data] =
			cqes[*head % io->p.cq_entries].res;
		__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
		nr--;
	}
}

static void io_wait(struct io *io, int nr)
{
	if (io->engine == AIO)
		aio_wait(io, nr);
	if (io->engine == URING)
		uring_wait(io, nr);
}

/* One transfer: bytes, or -errno */
static long io_one(enum engine engine, int fd, bool write, void *buf, size_t len,
		   off_t off)
{
	struct io io;
	int err;

	if (!io_open(&io, engine))
		return -errno;
	err = io_submit(&io, 0, fd, write, buf, len, off);
	if (!err)
		io_wait(&io, 1);
	io_close(&io);
	return err ?: io.res[0];
}

/*
 * A mapping of memory with a transient memmap, with inaccessible space on both
 * sides, and its pool
 */
struct space {
	bool provider;
	size_t page_size;
	int fd;
	char *mem;
	size_t len;
	char *reserve;
	size_t reserve_len;
	unsigned long cap;
	unsigned long cache;
	long memmap_pages;
};

static unsigned long provider_stat(int fd, const char *name)
{
	struct tmemmap_stats stats;

	if (ioctl(fd, TMEMMAP_STATS, &stats))
		return ULONG_MAX;
	return named_value(stats.text, name);
}

static unsigned long provider_limit(int fd, int which)
{
	struct tmemmap_limit limit = { .which = which };

	return ioctl(fd, TMEMMAP_GET_LIMIT, &limit) ? ULONG_MAX : limit.value;
}

static int provider_set_limit(int fd, int which, unsigned long value)
{
	struct tmemmap_limit limit = { .which = which, .value = value };

	return ioctl(fd, TMEMMAP_SET_LIMIT, &limit) ? -errno : 0;
}

static unsigned long stat_of(struct space *s, const char *name)
{
	return s->provider ? provider_stat(s->fd, name) : pool_stat(DAX, name);
}

static const char * const limit_names[] = {
	[TMEMMAP_CAP] = "cap",
	[TMEMMAP_CACHE] = "cache",
	[TMEMMAP_ALLOW_LONGTERM] = "longterm",
};

static unsigned long get_limit(struct space *s, int which)
{
	return s->provider ? provider_limit(s->fd, which) :
			     pool_limit(DAX, limit_names[which]);
}

static int set_limit(struct space *s, int which, unsigned long value)
{
	return s->provider ? provider_set_limit(s->fd, which, value) :
			     pool_set_limit(DAX, limit_names[which], value);
}

static int set_cap(struct space *s, unsigned long cap)
{
	return set_limit(s, TMEMMAP_CAP, cap);
}

static int set_cache(struct space *s, unsigned long cache)
{
	return set_limit(s, TMEMMAP_CACHE, cache);
}

/* Idle blocks age for a second; an emulated machine may be slower. */
static bool eventually_live(struct space *s, unsigned long live)
{
	int i;

	for (i = 0; i < 1000; i++) {
		if (stat_of(s, "live") == live)
			return true;
		usleep(10000);
	}
	return false;
}

/* All struct pages are gone, and so is the memory that they took. */
static bool eventually_gone(struct space *s)
{
	int i;

	if (!eventually_live(s, 0))
		return false;
	for (i = 0; i < 1000; i++) {
		if (memmap_pages() == s->memmap_pages)
			return true;
		usleep(10000);
	}
	return false;
}

/* @len of memory from @off of the file on, at an address aligned for it */
static char *map_aligned(struct space *s, size_t len, off_t off, int prot)
{
	char *addr;

	s->reserve_len = len + 2 * s->page_size;
	s->reserve = mmap(NULL, s->reserve_len, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->reserve == MAP_FAILED)
		return MAP_FAILED;
	addr = s->reserve + s->page_size;
	addr -= (unsigned long)addr % s->page_size;
	return mmap(addr, len, prot, MAP_SHARED | MAP_FIXED, s->fd, off);
}

static const char *space_open_dax(struct space *s)
{
	if (access(DAX, F_OK))
		return "no dax0.0";
	if (access(DAX "memmap", F_OK))
		return "dax0.0 has no memmap attribute";
	if (dax_set_transient(s->page_size))
		return "dax0.0 can't be bound with this alignment";
	s->fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	return s->fd < 0 ? "can't open /dev/dax0.0" : NULL;
}

static const char *space_open_provider(struct space *s)
{
	struct tmemmap_register reg = { .nr = 1, .ranges[0].len = 64 * MB };
	struct tmemmap_map map = { .page_size = s->page_size };

	s->fd = open(PROVIDER, O_RDWR | O_CLOEXEC);
	if (s->fd < 0)
		return "no " PROVIDER;
	if (ioctl(s->fd, TMEMMAP_REGISTER, &reg) ||
	    ioctl(s->fd, TMEMMAP_MAP, &map))
		return "the provider can't register its memory";
	return NULL;
}

/* Returns why there is none, or NULL. */
static const char *space_open(struct space *s, bool provider, size_t page_size)
{
	const char *why;

	memset(s, 0, sizeof(*s));
	s->provider = provider;
	s->page_size = page_size;
	why = provider ? space_open_provider(s) : space_open_dax(s);
	if (why)
		return why;

	s->memmap_pages = memmap_pages();
	s->cap = get_limit(s, TMEMMAP_CAP);
	s->cache = get_limit(s, TMEMMAP_CACHE);
	s->len = page_size > 8 * MB ? page_size : 8 * MB;
	s->mem = map_aligned(s, s->len, 0, PROT_READ | PROT_WRITE);
	if (s->mem == MAP_FAILED)
		return "can't map its memory";
	/* The huge mapping would cost a GiB of zeroing. */
	memset(s->mem, 0x5a, 8 * MB);
	return NULL;
}

static void space_unmap(struct space *s)
{
	munmap(s->reserve, s->reserve_len);
}

/* Every test ends here. */
static void space_close(struct __test_metadata *_metadata, struct space *s)
{
	space_unmap(s);
	/* Drop what is cached now: to wait for it is the business of one test. */
	set_cache(s, 0);
	EXPECT_TRUE(eventually_gone(s)) {
		TH_LOG("live %lu, nr_memmap_pages %ld, was %ld",
		       stat_of(s, "live"), memmap_pages(), s->memmap_pages);
	}
	set_cap(s, s->cap);
	set_cache(s, s->cache);
	close(s->fd);
}

static int open_disk(void)
{
	return open(disk_path, O_RDWR | O_DIRECT | O_CLOEXEC);
}

static int wait_exit(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/*
 * Direct I/O
 */

FIXTURE(dio)
{
	struct space s;
	int disk;
};

FIXTURE_VARIANT(dio)
{
	enum engine engine;
	size_t page_size;
};

FIXTURE_VARIANT_ADD(dio, psync_4k) { .engine = PSYNC, .page_size = 4 * KB };
FIXTURE_VARIANT_ADD(dio, aio_4k) { .engine = AIO, .page_size = 4 * KB };
FIXTURE_VARIANT_ADD(dio, uring_4k) { .engine = URING, .page_size = 4 * KB };
FIXTURE_VARIANT_ADD(dio, psync_2m) { .engine = PSYNC, .page_size = 2 * MB };
FIXTURE_VARIANT_ADD(dio, aio_2m) { .engine = AIO, .page_size = 2 * MB };
FIXTURE_VARIANT_ADD(dio, uring_2m) { .engine = URING, .page_size = 2 * MB };
FIXTURE_VARIANT_ADD(dio, psync_1g) { .engine = PSYNC, .page_size = GB };
FIXTURE_VARIANT_ADD(dio, aio_1g) { .engine = AIO, .page_size = GB };
FIXTURE_VARIANT_ADD(dio, uring_1g) { .engine = URING, .page_size = GB };

static const char *dio_open(struct space *s, int *disk, enum engine engine,
			    size_t page_size)
{
	struct io io;

	*disk = open_disk();
	if (*disk < 0)
		return "no disk";
	if (!io_open(&io, engine))
		return "no such engine";
	io_close(&io);
	return space_open(s, false, page_size);
}

FIXTURE_SETUP(dio)
{
	const char *why = dio_open(&self->s, &self->disk, variant->engine,
				   variant->page_size);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(dio)
{
	space_close(_metadata, &self->s);
	close(self->disk);
}

/* A guest would read something else than what is on its disk. */
TEST_F_TIMEOUT(dio, read_brings_what_the_disk_has, TIMEOUT)
{
	/* From the middle of a page, over three blocks */
	const size_t start = BLOCK - 3 * PAGE + 512;
	const size_t len = BLOCK + 16 * PAGE;
	char *buf = self->s.mem + start;

	ASSERT_TRUE(disk_put(MB, len, 1));
	EXPECT_EQ(io_one(variant->engine, self->disk, false, buf, len, MB),
		  (long)len);
	EXPECT_EQ(same(buf, len, 1), len);
	EXPECT_TRUE(all_bytes(self->s.mem, start, 0x5a));
	EXPECT_TRUE(all_bytes(buf + len, 8 * MB - start - len, 0x5a));
	EXPECT_GE(stat_of(&self->s, "populated"), 3);
}

/* A guest's disk would hold something else than what it wrote. */
TEST_F_TIMEOUT(dio, write_brings_what_memory_has, TIMEOUT)
{
	const size_t len = BLOCK + 16 * PAGE;
	char *buf = self->s.mem + BLOCK - 3 * PAGE + 512;

	ASSERT_TRUE(disk_put(0, 4 * MB, 2));
	fill(buf, len, 3);
	EXPECT_EQ(io_one(variant->engine, self->disk, true, buf, len, MB),
		  (long)len);
	EXPECT_TRUE(disk_has(MB, len, 3));
	EXPECT_TRUE(disk_has(0, MB, 2));
}

/* Requests in flight together would share, or lose, their struct pages. */
TEST_F_TIMEOUT(dio, requests_overlap_in_blocks, TIMEOUT)
{
	const int nr = 8;
	const size_t len = 96 * KB;
	struct io io;
	int i;

	ASSERT_TRUE(disk_put(0, nr * len, 4));
	ASSERT_TRUE(io_open(&io, variant->engine));
	for (i = 0; i < nr; i++)
		ASSERT_EQ(io_submit(&io, i, self->disk, false,
				    self->s.mem + i * len, len, i * len), 0);
	io_wait(&io, nr);
	io_close(&io);
	for (i = 0; i < nr; i++)
		EXPECT_EQ(io.res[i], (long)len);
	EXPECT_EQ(same(self->s.mem, nr * len, 4), nr * len);
}

/*
 * A program that relies on the result of a transfer over the end of its mapping
 * would see another one than for anonymous memory.
 */
TEST_F_TIMEOUT(dio, end_of_mapping_is_as_for_anonymous_memory, TIMEOUT)
{
	const size_t len = 6 * PAGE, in = 2 * PAGE;
	char *end = self->s.mem + self->s.len, *anon;
	long want, got;
	int write;

	anon = mmap(NULL, 2 * len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(anon, MAP_FAILED);
	ASSERT_EQ(mprotect(anon, len, PROT_READ | PROT_WRITE), 0);
	memset(anon, 0x5a, len);
	ASSERT_TRUE(disk_put(0, len, 5));

	for (write = 0; write < 2; write++) {
		want = io_one(variant->engine, self->disk, write,
			      anon + len - in, len, 0);
		got = io_one(variant->engine, self->disk, write, end - in, len, 0);
		EXPECT_EQ(got, want);
		EXPECT_TRUE(transferred(end - in, got, 5));
	}
	EXPECT_EQ(io_one(variant->engine, self->disk, false, end, PAGE, 0),
		  io_one(variant->engine, self->disk, false, anon + len, PAGE, 0));
}

/* A read into read-only memory would change it. */
TEST_F_TIMEOUT(dio, protection_counts, TIMEOUT)
{
	const size_t len = self->s.len;
	char *mem = self->s.mem;

	ASSERT_EQ(mprotect(mem, len, PROT_READ), 0);
	EXPECT_EQ(io_one(variant->engine, self->disk, false, mem, PAGE, 0),
		  -EFAULT);
	EXPECT_EQ(io_one(variant->engine, self->disk, true, mem, PAGE, 0),
		  (long)PAGE);
	EXPECT_TRUE(all_bytes(mem, PAGE, 0x5a));

	/*
	 * Not for 1 GiB entries: taking PROT_NONE back from one trips over
	 * pudp_invalidate()'s VM_WARN_ON_ONCE(), whatever the memory.
	 */
	if (self->s.page_size < GB) {
		ASSERT_EQ(mprotect(mem, len, PROT_NONE), 0);
		EXPECT_EQ(io_one(variant->engine, self->disk, true, mem, PAGE,
				 0), -EFAULT);
	}

	ASSERT_EQ(mprotect(mem, len, PROT_READ | PROT_WRITE), 0);
	EXPECT_EQ(io_one(variant->engine, self->disk, false, mem, PAGE, 0),
		  (long)PAGE);
}

/*
 * The limit on blocks. A pin that waits in vain takes a second, so there is
 * only one variant for each engine.
 */

FIXTURE(cap)
{
	struct space s;
	int disk;
};

FIXTURE_VARIANT(cap)
{
	enum engine engine;
};

FIXTURE_VARIANT_ADD(cap, psync) { .engine = PSYNC };
FIXTURE_VARIANT_ADD(cap, aio) { .engine = AIO };
FIXTURE_VARIANT_ADD(cap, uring) { .engine = URING };

FIXTURE_SETUP(cap)
{
	const char *why = dio_open(&self->s, &self->disk, variant->engine,
				   2 * MB);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(cap)
{
	space_close(_metadata, &self->s);
	close(self->disk);
}

/* I/O at the limit would hang, or keep memory for good. */
TEST_F_TIMEOUT(cap, of_zero_gives_enomem, TIMEOUT)
{
	unsigned long failed = stat_of(&self->s, "failed");

	ASSERT_EQ(set_cap(&self->s, 0), 0);
	EXPECT_EQ(io_one(variant->engine, self->disk, false, self->s.mem, PAGE,
			 0), -ENOMEM);
	EXPECT_EQ(stat_of(&self->s, "live"), 0);
	EXPECT_GT(stat_of(&self->s, "failed"), failed);
	EXPECT_EQ(memmap_pages(), self->s.memmap_pages);

	ASSERT_EQ(set_cap(&self->s, 1), 0);
	EXPECT_EQ(io_one(variant->engine, self->disk, false, self->s.mem, PAGE,
			 0), (long)PAGE);
}

/*
 * A transfer larger than the limit would hang, or claim to have done more than
 * it has; or less, which QEMU takes for the end of a disk, and gives its guest
 * zeroes.
 */
TEST_F_TIMEOUT(cap, larger_transfer_fails_or_is_whole, TIMEOUT)
{
	const size_t len = 4 * BLOCK;
	long ret;

	ASSERT_TRUE(disk_put(0, len, 6));
	ASSERT_EQ(set_cap(&self->s, 2), 0);
	ret = io_one(variant->engine, self->disk, false, self->s.mem, len, 0);
	TH_LOG("%ld of %zu bytes", ret, len);
	EXPECT_TRUE(ret == (long)len || ret == -ENOMEM || ret == -EIO);
	EXPECT_TRUE(transferred(self->s.mem, ret, 6));
	EXPECT_TRUE(eventually_gone(&self->s));
}

/*
 * I/O that outlives its memory's mapping
 */

FIXTURE(in_flight)
{
	struct space s;
	int disk;
	struct io io;
};

FIXTURE_VARIANT(in_flight)
{
	enum engine engine;
};

FIXTURE_VARIANT_ADD(in_flight, aio) { .engine = AIO };
FIXTURE_VARIANT_ADD(in_flight, uring) { .engine = URING };

/*
 * Parts of two blocks; and small, as a request that is split would make io_uring
 * start it a second time, from a worker.
 */
#define FLIGHT_LEN	(64 * KB)

static char *flight_buf(const struct space *s)
{
	return s->mem + BLOCK - FLIGHT_LEN / 2;
}

FIXTURE_SETUP(in_flight)
{
	const char *why;

	/* Half a second is enough to do things meanwhile. */
	nullb_make("tm_slow", "16", "500000000");
	self->disk = open("/dev/tm_slow", O_RDWR | O_DIRECT | O_CLOEXEC);
	if (self->disk < 0)
		SKIP(return, "no null_blk through configfs");
	if (!io_open(&self->io, variant->engine))
		SKIP(return, "engine: %s", strerror(errno));
	why = space_open(&self->s, false, 2 * MB);
	if (why)
		SKIP(return, "%s", why);

	fill(self->s.mem, FLIGHT_LEN, 7);
	ASSERT_EQ(pwrite(self->disk, self->s.mem, FLIGHT_LEN, 0),
		  (ssize_t)FLIGHT_LEN);
	memset(self->s.mem, 0x5a, FLIGHT_LEN);
	ASSERT_TRUE(eventually_gone(&self->s));
}

FIXTURE_TEARDOWN(in_flight)
{
	io_close(&self->io);
	space_close(_metadata, &self->s);
	close(self->disk);
}

/* The disk would write to memory that has become somebody else's. */
TEST_F_TIMEOUT(in_flight, munmap_leaves_the_pins, TIMEOUT)
{
	struct space *s = &self->s;

	ASSERT_EQ(io_submit(&self->io, 0, self->disk, false, flight_buf(s),
			    FLIGHT_LEN, 0), 0);
	EXPECT_TRUE(eventually_live(s, 2));
	space_unmap(s);
	EXPECT_EQ(stat_of(s, "live"), 2);
	io_wait(&self->io, 1);
	EXPECT_EQ(self->io.res[0], (long)FLIGHT_LEN);
	EXPECT_TRUE(eventually_gone(s));

	s->mem = map_aligned(s, s->len, 0, PROT_READ | PROT_WRITE);
	ASSERT_NE(s->mem, MAP_FAILED);
	EXPECT_EQ(same(flight_buf(s), FLIGHT_LEN, 7), FLIGHT_LEN);
}

/* Killing a VM in the midst of I/O would leak, or take the host down. */
TEST_F_TIMEOUT(in_flight, killed_process_leaves_nothing, TIMEOUT)
{
	struct space *s = &self->s;
	int ready[2];
	char c;
	pid_t pid;

	ASSERT_EQ(pipe(ready), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		struct io io;

		if (io_open(&io, variant->engine) &&
		    !io_submit(&io, 0, self->disk, false, flight_buf(s),
			       FLIGHT_LEN, 0))
			write(ready[1], "", 1);
		pause();
		_exit(1);
	}
	close(ready[1]);
	ASSERT_EQ(read(ready[0], &c, 1), 1);
	EXPECT_TRUE(eventually_live(s, 2));
	kill(pid, SIGKILL);
	EXPECT_EQ(wait_exit(pid), -SIGKILL);
	EXPECT_TRUE(eventually_gone(s));
	EXPECT_EQ(same(flight_buf(s), FLIGHT_LEN, 7), FLIGHT_LEN);
	close(ready[0]);
}

/*
 * A guest would get I/O errors whenever it has more in flight than the cap
 * allows, although a block is soon free.
 */
TEST_F_TIMEOUT(in_flight, pin_at_the_cap_waits_for_a_block, TIMEOUT)
{
	struct space *s = &self->s;
	unsigned long failed = stat_of(s, "failed");

	ASSERT_EQ(set_cache(s, 0), 0);
	ASSERT_EQ(set_cap(s, 2), 0);
	ASSERT_EQ(io_submit(&self->io, 0, self->disk, false, flight_buf(s),
			    FLIGHT_LEN, 0), 0);
	EXPECT_TRUE(eventually_live(s, 2));
	EXPECT_EQ(pread(self->disk, s->mem + 3 * BLOCK, FLIGHT_LEN, 0),
		  (ssize_t)FLIGHT_LEN);
	EXPECT_EQ(same(s->mem + 3 * BLOCK, FLIGHT_LEN, 7), FLIGHT_LEN);
	io_wait(&self->io, 1);
	EXPECT_EQ(self->io.res[0], (long)FLIGHT_LEN);
	EXPECT_EQ(stat_of(s, "failed"), failed);
}

/* New I/O to a buffer would disturb the I/O to it that is under way. */
TEST_F_TIMEOUT(in_flight, second_request_shares_the_block, TIMEOUT)
{
	struct space *s = &self->s;
	unsigned long populated = stat_of(s, "populated");

	ASSERT_EQ(io_submit(&self->io, 0, self->disk, false, flight_buf(s),
			    FLIGHT_LEN, 0), 0);
	ASSERT_EQ(io_submit(&self->io, 1, self->disk, false, s->mem + 2 * BLOCK,
			    FLIGHT_LEN, 0), 0);
	ASSERT_EQ(io_submit(&self->io, 2, self->disk, true, s->mem + 3 * BLOCK -
			    FLIGHT_LEN, FLIGHT_LEN, 4 * MB), 0);
	EXPECT_TRUE(eventually_live(s, 3));
	EXPECT_EQ(stat_of(s, "populated"), populated + 3);
	io_wait(&self->io, 3);
	EXPECT_EQ(self->io.res[0], (long)FLIGHT_LEN);
	EXPECT_EQ(self->io.res[1], (long)FLIGHT_LEN);
	EXPECT_EQ(self->io.res[2], (long)FLIGHT_LEN);
	EXPECT_EQ(same(flight_buf(s), FLIGHT_LEN, 7), FLIGHT_LEN);
}

/*
 * Everything else that pins, or must not
 */

FIXTURE(gup)
{
	struct space s;
	int disk;
};

FIXTURE_VARIANT(gup)
{
	bool provider;
	size_t page_size;
};

FIXTURE_VARIANT_ADD(gup, dax_4k) { .page_size = 4 * KB };
FIXTURE_VARIANT_ADD(gup, dax_2m) { .page_size = 2 * MB };
FIXTURE_VARIANT_ADD(gup, dax_1g) { .page_size = GB };
FIXTURE_VARIANT_ADD(gup, provider_4k) { .provider = true, .page_size = 4 * KB };
FIXTURE_VARIANT_ADD(gup, provider_2m) { .provider = true, .page_size = 2 * MB };

FIXTURE_SETUP(gup)
{
	const char *why;

	self->disk = open_disk();
	if (self->disk < 0)
		SKIP(return, "no disk");
	why = space_open(&self->s, variant->provider, variant->page_size);
	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(gup)
{
	space_close(_metadata, &self->s);
	close(self->disk);
}

/* Mere use of the memory would cost what the transient memmap saves. */
TEST_F_TIMEOUT(gup, use_without_pins_populates_nothing, TIMEOUT)
{
	unsigned long populated = stat_of(&self->s, "populated");
	char *mem = self->s.mem;
	size_t i, len = self->s.len;
	pid_t pid;

	for (i = 0; i < 4 * MB; i += PAGE)
		mem[i]++;
	EXPECT_EQ(mlock(mem, len), 0);
	EXPECT_EQ(munlock(mem, len), 0);
	EXPECT_EQ(madvise(mem, len, MADV_POPULATE_READ), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(madvise(mem, len, MADV_POPULATE_WRITE), -1);
	EXPECT_EQ(errno, EINVAL);

	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		for (i = 0; i < 4 * MB; i += PAGE)
			mem[i]++;
		_exit(0);
	}
	EXPECT_EQ(wait_exit(pid), 0);
	EXPECT_EQ(mem[PAGE], 0x5c);

	ASSERT_EQ(mprotect(mem, len, PROT_READ), 0);
	ASSERT_EQ(mprotect(mem, len, PROT_READ | PROT_WRITE), 0);
	mem[0]++;
	EXPECT_EQ(stat_of(&self->s, "populated"), populated);
	EXPECT_EQ(stat_of(&self->s, "live"), 0);
}

/* A VMM that forks would have I/O that goes to the wrong process's memory. */
TEST_F_TIMEOUT(gup, fork_shares_the_memory, TIMEOUT)
{
	const ssize_t len = 256 * KB;
	char *mem = self->s.mem;
	pid_t pid;

	ASSERT_TRUE(disk_put(0, len, 8));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		fill(mem + MB, len, 9);
		_exit(pread(self->disk, mem, len, 0) != len ||
		      pwrite(self->disk, mem + MB, len, MB) != len ||
		      same(mem, len, 8) != (size_t)len);
	}
	EXPECT_EQ(wait_exit(pid), 0);
	EXPECT_EQ(same(mem, len, 8), (size_t)len);
	EXPECT_EQ(same(mem + MB, len, 9), (size_t)len);
	EXPECT_TRUE(disk_has(MB, len, 9));
	EXPECT_EQ(pread(self->disk, mem, PAGE, MB), PAGE);
	EXPECT_EQ(same(mem, PAGE, 9), PAGE);
}

static int uring_register(struct io *io, struct iovec *iov)
{
	return syscall(__NR_io_uring_register, io->ring,
		       IORING_REGISTER_BUFFERS, iov, 1) ? -errno : 0;
}

/* Closing the ring would do it in the background. */
static void uring_unregister(struct io *io)
{
	syscall(__NR_io_uring_register, io->ring, IORING_UNREGISTER_BUFFERS,
		NULL, 0);
}

static int register_buffer(char *buf, size_t len)
{
	struct iovec iov = { buf, len };
	struct io io;
	int err;

	if (!io_open(&io, URING))
		return -errno;
	err = uring_register(&io, &iov);
	if (!err)
		uring_unregister(&io);
	io_close(&io);
	return err;
}

/* Splicing guest memory would bring garbage, or lose count of what it holds. */
TEST_F_TIMEOUT(gup, pipe_holds_a_block_and_the_cap_counts_it, TIMEOUT)
{
	struct space *s = &self->s;
	struct iovec iov = { s->mem + 100, PAGE };
	char buf[PAGE];
	int p[2];

	ASSERT_EQ(pipe(p), 0);
	fill(iov.iov_base, PAGE, 14);
	ASSERT_EQ(set_cap(s, 1), 0);
	ASSERT_EQ(vmsplice(p[1], &iov, 1, 0), PAGE);
	usleep(100000);
	EXPECT_EQ(stat_of(s, "live"), 1);
	EXPECT_EQ(memmap_pages(), s->memmap_pages + 1);

	EXPECT_EQ(pread(self->disk, s->mem + BLOCK, PAGE, 0), -1);
	EXPECT_EQ(errno, ENOMEM);
	EXPECT_EQ(pread(self->disk, s->mem + BLOCK - PAGE, PAGE, 0), PAGE);
	EXPECT_EQ(stat_of(s, "live"), 1);

	EXPECT_EQ(read(p[0], buf, PAGE), PAGE);
	EXPECT_EQ(same(buf, PAGE, 14), PAGE);
	EXPECT_TRUE(eventually_gone(s));
	EXPECT_EQ(pread(self->disk, s->mem + BLOCK, PAGE, 0), PAGE);

	/* What is never read goes with the pipe. */
	EXPECT_TRUE(eventually_gone(s));
	ASSERT_EQ(vmsplice(p[1], &iov, 1, 0), PAGE);
	close(p[0]);
	close(p[1]);
}

/* The memory of guests that do no I/O would have struct pages for good. */
TEST_F_TIMEOUT(gup, guest_faults_populate_nothing, TIMEOUT)
{
	static const struct {
		size_t size;
		const char *stat;
	} sizes[] = {
		{ 4 * KB, "pages_4k" }, { 2 * MB, "pages_2m" }, { GB, "pages_1g" },
	};
	struct space *s = &self->s;
	unsigned long populated = stat_of(s, "populated");
	struct iovec iov = { s->mem + 16 * PAGE, 1 };
	const char *why;
	struct guest g;
	size_t i;
	int p[2];

	if (access("/dev/kvm", R_OK | W_OK))
		SKIP(return, "no /dev/kvm");
	ASSERT_TRUE(guest_create(&g, s->fd, s->mem, s->len));
	/* Nobody has touched it: KVM has it mapped in the VMM, and does the same. */
	why = guest_run(&g);
	EXPECT_EQ(why, NULL) TH_LOG("%s", why);
	EXPECT_GE(g.faults, s->page_size == PAGE ? GUEST_END - GUEST_FIRST : 1);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		EXPECT_EQ(guest_stat(&g, sizes[i].stat) > 0,
			  sizes[i].size == s->page_size) {
			TH_LOG("%s: %ld", sizes[i].stat, guest_stat(&g, sizes[i].stat));
		}
	}
	EXPECT_EQ(stat_of(s, "populated"), populated);

	/* I/O to memory that the guest has */
	EXPECT_EQ(pread(self->disk, s->mem + 16 * PAGE + 512, 512, 0), 512);
	EXPECT_EQ(stat_of(s, "populated"), populated + 1);
	why = guest_run(&g);
	EXPECT_EQ(why, NULL) TH_LOG("%s", why);
	EXPECT_EQ(g.faults, 0);

	/* And to what it gets meanwhile: KVM maps it without a reference. */
	ASSERT_TRUE(guest_remap(&g, 1));
	ASSERT_EQ(pipe(p), 0);
	ASSERT_EQ(vmsplice(p[1], &iov, 1, 0), 1);
	EXPECT_EQ(stat_of(s, "populated"), populated + 2);
	why = guest_run(&g);
	EXPECT_EQ(why, NULL) TH_LOG("%s", why);
	close(p[0]);
	close(p[1]);
	EXPECT_TRUE(eventually_live(s, 0));
	why = guest_run(&g);
	EXPECT_EQ(why, NULL) TH_LOG("%s", why);
	ASSERT_TRUE(guest_remap(&g, 1));
	why = guest_run(&g);
	EXPECT_EQ(why, NULL) TH_LOG("%s", why);
	guest_destroy(&g);
	EXPECT_EQ(stat_of(s, "populated"), populated + 2);
}

/* Moving a mapping would move I/O to other memory. */
TEST_F_TIMEOUT(gup, remapped_memory_is_pinned_where_it_is, TIMEOUT)
{
	struct space *s = &self->s;
	size_t len = s->page_size;
	char *to;

	if (len > 2 * MB)
		SKIP(return, "the mapping is a single entry");
	to = s->mem + s->len / 2;
	fill(s->mem, len, 15);
	EXPECT_EQ(pwrite(self->disk, s->mem, PAGE, 0), PAGE);
	ASSERT_EQ(mremap(s->mem, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	EXPECT_EQ(pwrite(self->disk, s->mem, PAGE, 0), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(pwrite(self->disk, to, len, MB), (ssize_t)len);
	EXPECT_TRUE(disk_has(MB, len, 15));
}

static long resident_pages(void)
{
	long size, resident = -1;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%ld %ld", &size, &resident) != 2)
		resident = -1;
	if (f)
		fclose(f);
	return resident;
}

static bool read_all(const char *path)
{
	int fd = open(path, O_RDONLY);
	char buf[4096];
	ssize_t n;

	do
		n = read(fd, buf, sizeof(buf));
	while (n > 0);
	close(fd);
	return n == 0;
}

/* Whether smaps has the flag for the mapping that begins at @addr */
static bool mapping_has_flag(const char *addr, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	bool ours = false, found = false;
	unsigned long start, end;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			ours = start == (unsigned long)addr;
		if (ours && !strncmp(line, "VmFlags:", 8))
			found = strstr(line, flag);
	}
	if (f)
		fclose(f);
	return found;
}

/* Nobody could tell why a mapping can be pinned, and others can't. */
TEST_F_TIMEOUT(gup, smaps_tells_that_it_is_transient, TIMEOUT)
{
	char *anon = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	EXPECT_TRUE(mapping_has_flag(self->s.mem, " tr "));
	EXPECT_TRUE(mapping_has_flag(self->s.mem, " pf "));
	EXPECT_FALSE(mapping_has_flag(anon, " tr "));
	munmap(anon, PAGE);
}

/*
 * These split huge entries. Reading them could crash the host, or take away
 * references of others.
 */
TEST_F_TIMEOUT(gup, files_in_proc_can_be_read, TIMEOUT)
{
	static const char * const files[] = {
		"/proc/self/smaps", "/proc/self/smaps_rollup", "/proc/self/numa_maps",
	};
	struct space *s = &self->s;
	struct iovec iov = { .iov_base = s->mem, .iov_len = PAGE };
	unsigned int i, held;
	long resident;
	int pipefd[2];

	ASSERT_EQ(pipe(pipefd), 0);
	for (held = 0; held < 2; held++) {
		for (i = 0; i < ARRAY_SIZE(files); i++) {
			fill(s->mem, MB, 17 + i);
			ASSERT_TRUE(!held || i ||
				    vmsplice(pipefd[1], &iov, 1, 0) == PAGE);
			resident = resident_pages();
			EXPECT_TRUE(read_all(files[i]));
			/* What others have of it is a few pages. */
			EXPECT_LT(labs(resident_pages() - resident), 1000);
			EXPECT_EQ(pwrite(self->disk, s->mem, MB, MB), MB);
			EXPECT_TRUE(disk_has(MB, MB, 17 + i));
		}
	}
	close(pipefd[0]);
	close(pipefd[1]);
}

static void fail_nth_setup(struct __test_metadata *_metadata)
{
	static const char * const debugfs[][2] = {
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
	};
	char path[PATH_MAX];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(debugfs); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s",
			 debugfs[i][0]);
		ASSERT_EQ(write_str(path, debugfs[i][1]), 0);
	}
}

/* Direct I/O would break for good after the machine was short of memory once. */
TEST_F_TIMEOUT(gup, each_allocation_may_fail, 2 * TIMEOUT)
{
	struct space *s = &self->s;
	char path[32];
	int fd, nth, failures = 0;
	bool injected = true;
	ssize_t ret;

	fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		SKIP(return, "no fault injection");
	fail_nth_setup(_metadata);
	ASSERT_EQ(set_cache(s, 0), 0);
	ASSERT_TRUE(disk_put(0, 2 * BLOCK, 16));
	for (nth = 1; injected && nth < 1000; nth++) {
		char left[16] = "";

		memset(s->mem, 0x5a, 2 * BLOCK);
		snprintf(path, sizeof(path), "%d", nth);
		ASSERT_GT(pwrite(fd, path, strlen(path), 0), 0);
		ret = pread(self->disk, s->mem, 2 * BLOCK, 0);
		ASSERT_GT(pread(fd, left, sizeof(left) - 1, 0), 0);
		injected = !atoi(left);
		ASSERT_GT(pwrite(fd, "0", 1, 0), 0);

		failures += ret < 0;
		EXPECT_TRUE(transferred(s->mem, ret, 16));
		ASSERT_TRUE(eventually_gone(s)) {
			TH_LOG("allocation %d failed", nth);
		}
	}
	close(fd);
	TH_LOG("%d allocations failed, %d reads", nth - 2, failures);
	EXPECT_FALSE(injected);
	EXPECT_EQ(ret, (ssize_t)(2 * BLOCK));
	/* Most reads go on: the pool has a reserve. */
	EXPECT_GT(nth - 2, 3);
}

/*
 * Mappings that are none of our business
 */

/* Direct I/O to MMIO, a bug in the caller that was an error until now. */
TEST(other_pfnmap_is_refused_as_before)
{
	int mem = open("/dev/mem", O_RDONLY | O_CLOEXEC), disk = open_disk();
	char *bios;

	if (disk < 0)
		SKIP(return, "no disk");
	bios = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, mem, 0xf0000);
	if (mem < 0 || bios == MAP_FAILED)
		SKIP(return, "/dev/mem can't be mapped");
	/* Also with transient ranges registered */
	if (dax_set_transient(2 * MB))
		TH_LOG("no transient ranges");

	EXPECT_EQ(pwrite(disk, bios, PAGE, 0), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(register_buffer(bios, PAGE), -EFAULT);
	munmap(bios, PAGE);
	close(disk);
	close(mem);
}

/*
 * device-dax
 */

FIXTURE(dax)
{
	struct space s;
	int disk;
};

FIXTURE_SETUP(dax)
{
	const char *why;

	self->disk = open_disk();
	if (self->disk < 0)
		SKIP(return, "no disk");
	why = space_open(&self->s, false, 2 * MB);
	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(dax)
{
	space_close(_metadata, &self->s);
	close(self->disk);
}

/* A script could not tell what a device is, or would break one in use. */
TEST_F_TIMEOUT(dax, memmap_attribute_is_changed_while_unbound_only, TIMEOUT)
{
	EXPECT_STREQ(read_str(DAX "memmap"), "transient");
	EXPECT_EQ(write_str(DAX "memmap", "static"), -EBUSY);
	EXPECT_EQ(write_str(DAX "memmap", "none"), -EINVAL);
	EXPECT_STREQ(read_str(DAX "memmap"), "transient");
}

/* An operator could not limit a device, or not know what it holds. */
TEST_F_TIMEOUT(dax, limits_and_statistics_are_in_sysfs, TIMEOUT)
{
	static const char * const names[] = {
		"block_size", "live", "cached", "peak", "populated", "freed",
		"failed", "flushes", "memmap_bytes",
	};
	struct space *s = &self->s;
	size_t i;

	EXPECT_EQ(write_str(DAX "transient/cap", "many"), -EINVAL);
	EXPECT_GT(get_limit(s, TMEMMAP_CAP), 0);
	EXPECT_EQ(set_cap(s, 17), 0);
	EXPECT_EQ(get_limit(s, TMEMMAP_CAP), 17);
	EXPECT_EQ(write_str(DAX "transient/cache", "-1"), -EINVAL);
	EXPECT_EQ(set_cache(s, 3), 0);
	EXPECT_EQ(get_limit(s, TMEMMAP_CACHE), 3);
	EXPECT_EQ(set_cap(s, ULONG_MAX), 0);
	EXPECT_EQ(set_cache(s, ULONG_MAX), 0);
	EXPECT_EQ(set_limit(s, TMEMMAP_ALLOW_LONGTERM, 2), -EINVAL);
	EXPECT_EQ(get_limit(s, TMEMMAP_ALLOW_LONGTERM), 0);

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		EXPECT_NE(stat_of(s, names[i]), ULONG_MAX) {
			TH_LOG("no %s", names[i]);
		}
	}
	EXPECT_EQ(write_str(DAX "transient/stats", "0"), -EACCES);
	EXPECT_EQ(stat_of(s, "block_size"), BLOCK);
	EXPECT_EQ(stat_of(s, "live"), 0);
}

/* An operator would not know what the memory costs the host. */
TEST_F_TIMEOUT(dax, memmap_bytes_follow_the_blocks, TIMEOUT)
{
	struct space *s = &self->s;
	unsigned long rest = stat_of(s, "memmap_bytes");
	unsigned long size = strtoul(read_str(DAX "size"), NULL, 0);
	struct iovec iov = { s->mem, PAGE };
	int p[2], i;

	/* About 33 MiB per TiB */
	EXPECT_GT(rest, 0);
	EXPECT_LT(rest, size / 16384 + MB);

	/* The block takes a page of the reserve, which is filled up again. */
	ASSERT_EQ(pipe(p), 0);
	ASSERT_EQ(vmsplice(p[1], &iov, 1, 0), PAGE);
	for (i = 0; i < 1000 && stat_of(s, "memmap_bytes") == rest; i++)
		usleep(10000);
	EXPECT_EQ(stat_of(s, "memmap_bytes"), rest + PAGE);

	/* What the block leaves is given back. */
	close(p[0]);
	close(p[1]);
	EXPECT_TRUE(eventually_gone(s));
	for (i = 0; i < 1000 && stat_of(s, "memmap_bytes") != rest; i++)
		usleep(10000);
	EXPECT_EQ(stat_of(s, "memmap_bytes"), rest);
}

struct reader {
	pthread_t thread;
	struct space *s;
	int disk, nr, failed;
	unsigned int seed;
};

static void *read_to_random_blocks(void *arg)
{
	struct reader *r = arg;
	int i;

	for (i = 0; i < r->nr; i++) {
		size_t block = rand_r(&r->seed) % (r->s->len / BLOCK);

		r->failed += pread(r->disk, r->s->mem + block * BLOCK, PAGE,
				   0) != PAGE;
	}
	return NULL;
}

/* Guests would get I/O errors while others' blocks are being freed. */
TEST_F_TIMEOUT(dax, threads_at_the_cap_do_not_fail, TIMEOUT)
{
	static const struct {
		int threads, cap, cache;
	} cases[] = {
		{ 4, 4, 0 }, { 4, 4, 4 }, { 8, 4, 0 }, { 8, 4, 2 },
	};
	struct space *s = &self->s;
	struct reader r[8];
	int i, j;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		ASSERT_EQ(set_cap(s, cases[i].cap), 0);
		ASSERT_EQ(set_cache(s, cases[i].cache), 0);
		for (j = 0; j < cases[i].threads; j++) {
			r[j] = (struct reader){ .s = s, .disk = self->disk,
				.nr = 800 / cases[i].threads, .seed = j };
			ASSERT_EQ(pthread_create(&r[j].thread, NULL,
						 read_to_random_blocks, &r[j]), 0);
		}
		for (j = 0; j < cases[i].threads; j++) {
			pthread_join(r[j].thread, NULL);
			EXPECT_EQ(r[j].failed, 0) {
				TH_LOG("%d threads, cap %d, cache %d",
				       cases[i].threads, cases[i].cap,
				       cases[i].cache);
			}
		}
	}
	EXPECT_EQ(stat_of(s, "failed"), 0);
	EXPECT_LE(stat_of(s, "peak"), 4);
}

/* Registering the memory would cost what the transient memmap saves. */
TEST_F_TIMEOUT(dax, static_memmap_is_as_before_and_costs_more, TIMEOUT)
{
	struct space *s = &self->s;
	char *mem;

	space_unmap(s);
	close(s->fd);
	ASSERT_EQ(dax_set("static", "2097152"), 0);
	EXPECT_NE(access(DAX "transient", F_OK), 0);
	EXPECT_GT(memmap_pages(), s->memmap_pages);

	s->fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	ASSERT_GE(s->fd, 0);
	mem = map_aligned(s, s->len, 0, PROT_READ | PROT_WRITE);
	ASSERT_NE(mem, MAP_FAILED);
	ASSERT_TRUE(disk_put(0, MB, 17));
	EXPECT_EQ(pread(self->disk, mem, MB, 0), MB);
	EXPECT_EQ(same(mem, MB, 17), MB);
	EXPECT_EQ(munmap(mem + PAGE, PAGE), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(mmap(NULL, MB, PROT_READ, MAP_SHARED, s->fd, 0), MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
	space_unmap(s);
	close(s->fd);

	ASSERT_EQ(dax_set_transient(s->page_size), 0);
	EXPECT_EQ(memmap_pages(), s->memmap_pages);
	s->fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	ASSERT_GE(s->fd, 0);
	s->mem = map_aligned(s, s->len, 0, PROT_READ | PROT_WRITE);
	ASSERT_NE(s->mem, MAP_FAILED);
	EXPECT_EQ(same(s->mem, MB, 17), MB);
}

/* Memory would be taken away while a device may still write to it. */
TEST_F_TIMEOUT(dax, unbind_waits_for_pins, TIMEOUT)
{
	struct space *s = &self->s;
	struct iovec iov = { s->mem, PAGE };
	int p[2], status;
	pid_t pid;

	ASSERT_EQ(pipe(p), 0);
	ASSERT_EQ(vmsplice(p[1], &iov, 1, 0), PAGE);
	space_unmap(s);
	close(s->fd);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(p[0]);
		close(p[1]);
		_exit(!!dax_unbind());
	}
	usleep(500000);
	EXPECT_EQ(waitpid(pid, &status, WNOHANG), 0);
	close(p[0]);
	close(p[1]);
	EXPECT_EQ(wait_exit(pid), 0);
	EXPECT_FALSE(dax_is_bound());

	ASSERT_EQ(dax_set_transient(s->page_size), 0);
	s->fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	ASSERT_GE(s->fd, 0);
	s->mem = map_aligned(s, s->len, 0, PROT_READ | PROT_WRITE);
	ASSERT_NE(s->mem, MAP_FAILED);
	EXPECT_EQ(pread(self->disk, s->mem, PAGE, 0), PAGE);
}

/* Whether the kernel's log says so within 20 s, from where @fd is on */
static bool kernel_says(int fd, const char *what)
{
	char record[PAGE];
	ssize_t n;
	int i;

	for (i = 0; i < 2000; i++) {
		n = read(fd, record, sizeof(record) - 1);
		if (n < 0 && errno == EAGAIN)
			usleep(10000);
		record[n > 0 ? n : 0] = 0;
		if (strstr(record, what))
			return true;
	}
	return false;
}

/*
 * An operator would not learn why an unbind does not end; or a kill would give
 * memory to somebody else that a device still writes to.
 */
TEST_F_TIMEOUT(dax, unbind_waits_for_the_process_that_pins, TIMEOUT)
{
	struct space *s = &self->s;
	struct mapper *holder;
	int log, status;
	pid_t pid;

	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_GE(log, 0);
	lseek(log, 0, SEEK_END);
	holder = mapper_start(0, s->len, PAGE, s->reserve, s->reserve_len);
	ASSERT_NE(holder, NULL);
	space_unmap(s);
	close(s->fd);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(!!dax_unbind());
	EXPECT_TRUE(kernel_says(log,
			"dax0.0: unregistering waits: live blocks 1, held pages 0"));
	close(log);
	EXPECT_EQ(kill(pid, SIGKILL), 0);
	usleep(500000);
	EXPECT_EQ(waitpid(pid, &status, WNOHANG), 0);

	/* What it pinned stays what it was. The wait ends with the pin. */
	EXPECT_TRUE(mapper_end(holder));
	EXPECT_EQ(wait_exit(pid), -SIGKILL);
	EXPECT_FALSE(dax_is_bound());
	ASSERT_EQ(space_open(s, false, 2 * MB), NULL);
	EXPECT_EQ(pread(self->disk, s->mem, PAGE, 0), PAGE);
}

static bool touch_gives_sigbus(char *mem)
{
	pid_t pid = fork();

	if (!pid) {
		signal(SIGBUS, SIG_DFL);
		*mem = 2;
		_exit(0);
	}
	return wait_exit(pid) == -SIGBUS;
}

/* Unbinding a device that is mapped would leave a way to its memory. */
TEST_F_TIMEOUT(dax, unbind_takes_the_mapping, TIMEOUT)
{
	struct space *s = &self->s;

	s->mem[0] = 1;
	EXPECT_EQ(pread(self->disk, s->mem, PAGE, 0), PAGE);
	ASSERT_EQ(dax_unbind(), 0);
	EXPECT_EQ(pread(self->disk, s->mem, PAGE, 0), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_TRUE(touch_gives_sigbus(s->mem));

	/* Binding a device that is open still upsets the cdev's refcount. */
	space_unmap(s);
	close(s->fd);
	ASSERT_EQ(dax_set_transient(s->page_size), 0);
	s->fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	ASSERT_GE(s->fd, 0);
	s->mem = map_aligned(s, s->len, 0, PROT_READ | PROT_WRITE);
	ASSERT_NE(s->mem, MAP_FAILED);
}

#define HMEM_DRIVER	"/sys/bus/platform/drivers/hmem/"

/* To unplug memory would take the host down, or leave a way to what comes next. */
TEST_F_TIMEOUT(dax, removed_device_gives_sigbus, TIMEOUT)
{
	struct space *s = &self->s;
	struct iovec iov = { s->mem + 2 * BLOCK, PAGE };
	char path[PATH_MAX], *parent, buf[PAGE];
	int held, p[2], status;
	pid_t pid;

	/* dax0.0 is a child of the device that stands for the memory. */
	ASSERT_NE(realpath(DAX, path), NULL);
	parent = basename(dirname(path));
	if (strncmp(parent, "hmem.", 5))
		SKIP(return, "dax0.0 is not of an hmem device");

	for (held = 0; held < 2; held++) {
		ASSERT_EQ(pipe(p), 0);
		fill(iov.iov_base, PAGE, 22);
		EXPECT_EQ(pread(self->disk, s->mem, PAGE, 0), PAGE);
		ASSERT_TRUE(!held || vmsplice(p[1], &iov, 1, 0) == PAGE);
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid) {
			close(p[0]);
			close(p[1]);
			_exit(!!write_str(HMEM_DRIVER "unbind", parent));
		}
		if (held) {
			usleep(500000);
			EXPECT_EQ(waitpid(pid, &status, WNOHANG), 0);
		} else {
			EXPECT_EQ(wait_exit(pid), 0);
			EXPECT_NE(access(DAX, F_OK), 0);
			EXPECT_NE(access("/dev/dax0.0", F_OK), 0);
		}

		/* Gone for the CPU and for GUP, also while a pin holds it up */
		EXPECT_TRUE(touch_gives_sigbus(s->mem));
		EXPECT_EQ(pread(self->disk, s->mem, PAGE, 0), -1);
		EXPECT_EQ(errno, EFAULT);
		EXPECT_EQ(pwrite(self->disk, iov.iov_base, PAGE, 0), -1);
		EXPECT_EQ(errno, EFAULT);
		EXPECT_EQ(mmap(NULL, 2 * MB, PROT_READ, MAP_SHARED, s->fd, 0), MAP_FAILED);
		EXPECT_EQ(errno, ENXIO);

		if (held) {
			EXPECT_EQ(read(p[0], buf, PAGE), PAGE);
			EXPECT_EQ(same(buf, PAGE, 22), PAGE);
			EXPECT_EQ(wait_exit(pid), 0);
			EXPECT_NE(access(DAX, F_OK), 0);
			EXPECT_TRUE(touch_gives_sigbus(s->mem));
		}
		close(p[0]);
		close(p[1]);
		EXPECT_LE(memmap_pages(), s->memmap_pages);
		space_unmap(s);
		close(s->fd);

		ASSERT_EQ(write_str(HMEM_DRIVER "bind", parent), 0);
		ASSERT_EQ(space_open(s, false, 2 * MB), NULL);
		iov.iov_base = s->mem + 2 * BLOCK;
		EXPECT_EQ(pread(self->disk, s->mem, PAGE, 0), PAGE);
		EXPECT_GT(stat_of(s, "populated"), 0);
	}
}

/* Memory would stay lost to guests that do no I/O; or busy ones would pay. */
TEST_F_TIMEOUT(dax, idle_blocks_go_within_two_seconds, TIMEOUT)
{
	struct space *s = &self->s;
	unsigned long before = stat_of(s, "populated");
	struct timespec start, now;

	EXPECT_EQ(pread(self->disk, s->mem, 2 * MB, 0), (ssize_t)(2 * MB));
	EXPECT_EQ(pread(self->disk, s->mem, 2 * MB, 0), (ssize_t)(2 * MB));
	EXPECT_GT(stat_of(s, "cached"), 0);
	EXPECT_EQ(stat_of(s, "populated"), before + stat_of(s, "live"));

	clock_gettime(CLOCK_MONOTONIC, &start);
	EXPECT_TRUE(eventually_gone(s));
	clock_gettime(CLOCK_MONOTONIC, &now);
	EXPECT_LE((now.tv_sec - start.tv_sec) * 1000 +
		  (now.tv_nsec - start.tv_nsec) / 1000000, 2000);
	EXPECT_EQ(stat_of(s, "freed"), stat_of(s, "populated"));
}

/* The pool would not give way when the host is short of memory. */
TEST_F_TIMEOUT(dax, reclaim_takes_idle_blocks, TIMEOUT)
{
	struct space *s = &self->s;

	EXPECT_EQ(pread(self->disk, s->mem, PAGE, 0), PAGE);
	EXPECT_EQ(stat_of(s, "cached"), 1);
	/* The first time, it was pinned lately. */
	EXPECT_EQ(write_str("/proc/sys/vm/drop_caches", "2"), 0);
	EXPECT_EQ(write_str("/proc/sys/vm/drop_caches", "2"), 0);
	EXPECT_EQ(stat_of(s, "cached"), 0);
	EXPECT_TRUE(eventually_gone(s));
}

/* An operator who needs them could not allow them, or not limit their cost. */
TEST_F_TIMEOUT(dax, longterm_pins_can_be_allowed, TIMEOUT)
{
	struct space *s = &self->s;
	struct iovec two = { s->mem + BLOCK - PAGE, 2 * PAGE };
	struct iovec three = { s->mem, 3 * BLOCK };
	unsigned long failed = stat_of(s, "failed");
	struct io io;

	if (!io_open(&io, URING))
		SKIP(return, "io_uring: %s", strerror(errno));
	EXPECT_EQ(uring_register(&io, &two), -EOPNOTSUPP);

	/* They count against the cap, as all others do. */
	ASSERT_EQ(set_limit(s, TMEMMAP_ALLOW_LONGTERM, 1), 0);
	ASSERT_EQ(set_cap(s, 2), 0);
	/* Not ENOMEM, as some of it could be pinned. */
	EXPECT_EQ(uring_register(&io, &three), -EFAULT);
	EXPECT_GT(stat_of(s, "failed"), failed);
	ASSERT_EQ(uring_register(&io, &two), 0);
	io.fixed = true;
	ASSERT_TRUE(disk_put(0, 2 * PAGE, 19));
	ASSERT_EQ(io_submit(&io, 0, self->disk, false, two.iov_base, 2 * PAGE,
			    0), 0);
	io_wait(&io, 1);
	EXPECT_EQ(io.res[0], (long)(2 * PAGE));
	EXPECT_EQ(same(two.iov_base, 2 * PAGE, 19), 2 * PAGE);

	/* Their blocks stay until the unpin, even if no more are allowed. */
	EXPECT_EQ(set_limit(s, TMEMMAP_ALLOW_LONGTERM, 0), 0);
	EXPECT_EQ(set_cache(s, 0), 0);
	sleep(3);
	EXPECT_EQ(stat_of(s, "live"), 2);
	uring_unregister(&io);
	EXPECT_TRUE(eventually_live(s, 0));
	io_close(&io);
}

#define KERNEL_TABLES	"/sys/kernel/debug/page_tables/kernel"
#define OUR_TABLES	"/sys/kernel/debug/page_tables/current_kernel"

/*
 * Bytes of the device's memory that the kernel's page tables map for itself, and
 * if there are any, where the first is, from the start of the device
 */
static unsigned long direct_mapped(unsigned long *first)
{
	unsigned long base = 0, start, end, from, to, mapped = 0;
	unsigned long phys = strtoul(read_str(DAX "resource"), NULL, 0);
	unsigned long size = strtoul(read_str(DAX "size"), NULL, 0);
	FILE *f = fopen(KERNEL_TABLES, "r");
	bool is_direct = false;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "---[", 4)) {
			is_direct = strstr(line, "Low Kernel Mapping");
			base = 0;
		}
		if (!is_direct || sscanf(line, "0x%lx-0x%lx", &start, &end) != 2)
			continue;
		/* The first line of this part begins with physical address 0. */
		if (!base)
			base = start;
		/* Nothing is said of what is not present. */
		if (!strstr(line, " RW ") && !strstr(line, " ro "))
			continue;
		from = start - base > phys ? start - base : phys;
		to = end - base < phys + size ? end - base : phys + size;
		if (from >= to)
			continue;
		if (!mapped)
			*first = from - phys;
		mapped += to - from;
	}
	if (f)
		fclose(f);
	return mapped;
}

/* A stray read in the kernel would see what guests have in their memory. */
TEST_F_TIMEOUT(dax, direct_map_has_pinned_blocks_only, TIMEOUT)
{
	unsigned long size = strtoul(read_str(DAX "size"), NULL, 0);
	struct space *s = &self->s;
	struct iovec iov = { s->mem + 2 * BLOCK + PAGE, 1 };
	unsigned long first = 0;
	int fds[2], err;

	if (access(DAX "direct_map", F_OK) || access(KERNEL_TABLES, R_OK))
		SKIP(return, "needs " KERNEL_TABLES);
	EXPECT_STREQ(read_str(DAX "direct_map"), "static");
	EXPECT_EQ(write_str(DAX "direct_map", "transient"), -EBUSY);
	EXPECT_EQ(direct_mapped(&first), size);

	space_unmap(s);
	close(s->fd);
	ASSERT_EQ(dax_set_direct_map("transient"), 0);
	EXPECT_EQ(write_str(DAX "direct_map", "other"), -EINVAL);
	err = write_str(DAX_DRIVER "bind", "dax0.0");
	if (err) {
		write_str(DAX "direct_map", "static");
		ASSERT_EQ(write_str(DAX_DRIVER "bind", "dax0.0"), 0);
		ASSERT_EQ(space_open(s, false, 2 * MB), NULL);
		SKIP(return, "can't be bound so: %s", strerror(-err));
	}
	ASSERT_EQ(space_open(s, false, 2 * MB), NULL);
	iov.iov_base = s->mem + 2 * BLOCK + PAGE;
	set_cache(s, 0);
	EXPECT_EQ(direct_mapped(&first), 0);

	ASSERT_EQ(pipe(fds), 0);
	ASSERT_EQ(vmsplice(fds[1], &iov, 1, 0), 1);
	EXPECT_EQ(direct_mapped(&first), BLOCK);
	EXPECT_EQ(first, 2 * BLOCK);
	close(fds[0]);
	close(fds[1]);
	EXPECT_TRUE(eventually_live(s, 0));
	EXPECT_EQ(direct_mapped(&first), 0);

	/* What the last transfer needed stays for as long as the cache keeps it. */
	set_cache(s, s->cache);
	ASSERT_TRUE(disk_put(0, 64 * KB, 5));
	EXPECT_EQ(io_one(PSYNC, self->disk, false, s->mem, 64 * KB, 0), (long)(64 * KB));
	EXPECT_EQ(same(s->mem, 64 * KB, 5), 64 * KB);
	EXPECT_TRUE(eventually_gone(s));
	EXPECT_EQ(direct_mapped(&first), 0);

	/* As it was, for those who come next */
	space_unmap(s);
	close(s->fd);
	ASSERT_EQ(dax_unbind(), 0);
	EXPECT_EQ(direct_mapped(&first), 0);
	ASSERT_EQ(write_str(DAX "direct_map", "static"), 0);
	ASSERT_EQ(write_str(DAX_DRIVER "bind", "dax0.0"), 0);
	ASSERT_EQ(space_open(s, false, 2 * MB), NULL);
}

/* An administrator would believe guests' memory to be where it is not. */
TEST_F_TIMEOUT(dax, direct_map_refuses_what_it_cannot_do, TIMEOUT)
{
	struct space *s = &self->s;

	if (access(DAX "direct_map", F_OK))
		SKIP(return, "dax0.0 has no direct_map attribute");
	space_unmap(s);
	close(s->fd);
	ASSERT_EQ(dax_set_direct_map("transient"), 0);
	EXPECT_EQ(dax_set("static", "2097152"), -EINVAL);
	EXPECT_FALSE(dax_is_bound());
	EXPECT_LE(memmap_pages(), s->memmap_pages);
	/* Nothing of that stays: what it can do works. */
	EXPECT_EQ(dax_set_transient(2 * MB), 0);
	EXPECT_TRUE(dax_is_bound());

	ASSERT_EQ(dax_set_direct_map("static"), 0);
	EXPECT_EQ(dax_set("static", "2097152"), 0);
	ASSERT_EQ(space_open(s, false, 2 * MB), NULL);
	EXPECT_EQ(pread(self->disk, s->mem, PAGE, 0), PAGE);
}

static void fail_binds(struct __test_metadata *_metadata, struct space *s, int disk,
		       const char *direct_map)
{
	int fd, nth, failures = 0;
	bool injected = true;
	char text[16];

	fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	fail_nth_setup(_metadata);
	space_unmap(s);
	close(s->fd);
	ASSERT_EQ(dax_set_direct_map(direct_map), 0);
	for (nth = 1; injected && nth < 2000; nth++) {
		snprintf(text, sizeof(text), "%d", nth);
		ASSERT_GT(pwrite(fd, text, strlen(text), 0), 0);
		write_str(DAX_DRIVER "bind", "dax0.0");
		memset(text, 0, sizeof(text));
		ASSERT_GT(pread(fd, text, sizeof(text) - 1, 0), 0);
		injected = atoi(text) == 0;
		ASSERT_GT(pwrite(fd, "0", 1, 0), 0);

		if (dax_is_bound()) {
			if (injected)
				dax_unbind();
		} else {
			failures++;
		}
		EXPECT_LE(memmap_pages(), s->memmap_pages);
	}
	close(fd);
	TH_LOG("%d allocations failed, %d times unbound", nth - 2, failures);
	EXPECT_FALSE(injected);
	EXPECT_GT(failures, 10);

	ASSERT_EQ(dax_set_transient(s->page_size), 0);
	EXPECT_STREQ(read_str(DAX "direct_map"), direct_map);
	ASSERT_EQ(space_open(s, false, 2 * MB), NULL);
	EXPECT_EQ(pread(disk, s->mem, PAGE, 0), PAGE);
}

/* A device could not be bound any more after memory was short once. */
TEST_F_TIMEOUT(dax, each_allocation_of_bind_may_fail, 2 * TIMEOUT)
{
	if (access(FAIL_NTH, F_OK))
		SKIP(return, "no fault injection");
	fail_binds(_metadata, &self->s, self->disk, "static");
}

/* Nor could one that leaves the direct map and comes back. */
TEST_F_TIMEOUT(dax, each_allocation_of_bind_may_fail_direct_map, 2 * TIMEOUT)
{
	struct space *s = &self->s;

	if (access(DAX "direct_map", F_OK))
		SKIP(return, "dax0.0 has no direct_map attribute");
	if (access(FAIL_NTH, F_OK))
		SKIP(return, "no fault injection");
	fail_binds(_metadata, s, self->disk, "transient");

	space_unmap(s);
	close(s->fd);
	ASSERT_EQ(dax_set_direct_map("static"), 0);
	ASSERT_EQ(space_open(s, false, 2 * MB), NULL);
}

/*
 * Mappings that are not aligned as the device is
 */

FIXTURE(ends)
{
	struct space s;
	int disk;
	size_t pmd;	/* what 2 MiB that are aligned are mapped by */
};

FIXTURE_VARIANT(ends)
{
	size_t page_size;
};

FIXTURE_VARIANT_ADD(ends, 4k) { .page_size = 4 * KB };
FIXTURE_VARIANT_ADD(ends, 2m) { .page_size = 2 * MB };
FIXTURE_VARIANT_ADD(ends, 1g) { .page_size = GB };

FIXTURE_SETUP(ends)
{
	const char *why;

	self->pmd = variant->page_size > PAGE ? 2 * MB : PAGE;
	self->disk = open_disk();
	if (self->disk < 0)
		SKIP(return, "no disk");
	if (access(OUR_TABLES, R_OK))
		SKIP(return, "needs " OUR_TABLES);
	why = space_open(&self->s, false, variant->page_size);
	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(ends)
{
	space_close(_metadata, &self->s);
	close(self->disk);
}

/* The size of the page table entry that maps an address, or 0 */
static size_t entry_size(const char *addr)
{
	unsigned long at = (unsigned long)addr, start, end;
	FILE *f = fopen(OUR_TABLES, "r");
	size_t size = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "0x%lx-0x%lx", &start, &end) != 2 ||
		    at < start || at >= end || !strstr(line, " USR "))
			continue;
		size = strstr(line, " pte") ? PAGE :
		       strstr(line, " pmd") ? 2 * MB :
		       strstr(line, " pud") ? GB : 0;
		break;
	}
	if (f)
		fclose(f);
	return size;
}

/* Whether direct I/O both ways brings the data */
static bool transfers(int disk, char *buf, size_t len, int seed)
{
	fill(buf, len, seed);
	if (pwrite(disk, buf, len, 0) != (ssize_t)len ||
	    !disk_has(0, len, seed) || !disk_put(0, len, seed + 1))
		return false;
	return pread(disk, buf, len, 0) == (ssize_t)len &&
	       same(buf, len, seed + 1) == len;
}

/* Whether there is no memory to read to, as far as the kernel sees */
static bool no_memory(int disk, char *buf)
{
	return pread(disk, buf, PAGE, 0) == -1 && errno == EFAULT;
}

/* A vhost-user back end could not map what a PC has below and above its hole. */
TEST_F_TIMEOUT(ends, parts_beside_a_hole_can_be_mapped, TIMEOUT)
{
	const size_t low_len = 640 * KB, hole_end = 768 * KB;
	const size_t high_len = 8 * MB - hole_end;
	struct space *s = &self->s;
	char *low, *high, *border;

	low = mmap(NULL, low_len, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	ASSERT_NE(low, MAP_FAILED);
	EXPECT_TRUE(transfers(self->disk, low, low_len, 31));
	EXPECT_EQ(entry_size(low), PAGE);

	high = mmap(NULL, high_len, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd,
		    hole_end);
	ASSERT_NE(high, MAP_FAILED);
	border = high + 2 * MB - hole_end;
	EXPECT_TRUE(transfers(self->disk, border - 64 * KB, 128 * KB, 41));
	EXPECT_EQ(entry_size(high), 0);
	EXPECT_EQ(entry_size(border - PAGE), PAGE);
	EXPECT_EQ(entry_size(border), self->pmd);

	/* It is the memory that others have there. */
	EXPECT_EQ(same(s->mem, low_len, 32), low_len);
	EXPECT_EQ(same(s->mem + 2 * MB - 64 * KB, 128 * KB, 42), 128 * KB);
	EXPECT_EQ(entry_size(s->mem), variant->page_size);
	EXPECT_EQ(munmap(high, high_len), 0);
	EXPECT_EQ(munmap(low, low_len), 0);
}

/* A mapping would show other memory than that of its offset. */
TEST_F_TIMEOUT(ends, offset_need_not_fit_the_address, TIMEOUT)
{
	const size_t len = 4 * MB, inner = 3 * PAGE;
	struct space *s = &self->s;
	char *mem, *to;

	fill(s->mem, 8 * MB, 51);
	mem = mmap(NULL, inner, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd,
		   MB + PAGE);
	ASSERT_NE(mem, MAP_FAILED);
	EXPECT_EQ(memcmp(mem, s->mem + MB + PAGE, inner), 0);
	EXPECT_TRUE(transfers(self->disk, mem, inner, 52));
	EXPECT_EQ(entry_size(mem), PAGE);
	munmap(mem, inner);

	/* An address that is aligned, an offset that is not */
	to = mmap(NULL, len + 2 * MB, PROT_NONE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(to, MAP_FAILED);
	mem = to + (-(unsigned long)to & (2 * MB - 1));
	ASSERT_EQ(mmap(mem, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		       s->fd, PAGE), mem);
	EXPECT_EQ(memcmp(mem, s->mem + PAGE, len), 0);
	EXPECT_TRUE(transfers(self->disk, mem + 2 * MB - 64 * KB, 128 * KB, 53));
	EXPECT_EQ(same(s->mem + PAGE + 2 * MB - 64 * KB, 128 * KB, 54), 128 * KB);
	EXPECT_EQ(entry_size(mem + 2 * MB), PAGE);
	munmap(to, len + 2 * MB);
}

/*
 * The kernel would take the memory for a page table, or a process would lose
 * more of it than it gives up.
 */
TEST_F_TIMEOUT(ends, munmap_takes_a_page_out_of_an_entry, TIMEOUT)
{
	struct space *s = &self->s;
	char *hole = s->mem + 2 * MB + 5 * PAGE, *mem = s->mem;
	struct iovec iov = { .iov_base = hole, .iov_len = PAGE };
	char *copy = malloc(8 * MB);
	int p[2];
	pid_t pid;

	fill(mem, 8 * MB, 61);
	memcpy(copy, mem, 8 * MB);
	ASSERT_EQ(entry_size(hole), variant->page_size);
	ASSERT_EQ(pipe(p), 0);
	ASSERT_EQ(vmsplice(p[1], &iov, 1, 0), (ssize_t)PAGE);
	ASSERT_EQ(munmap(hole, PAGE), 0);
	EXPECT_EQ(stat_of(s, "live"), 1);

	EXPECT_TRUE(no_memory(self->disk, hole));
	EXPECT_EQ(memcmp(mem, copy, hole - mem), 0);
	EXPECT_EQ(memcmp(hole + PAGE, copy + (hole + PAGE - mem),
			 mem + 8 * MB - hole - PAGE), 0);
	EXPECT_EQ(entry_size(mem), self->pmd);
	EXPECT_EQ(entry_size(hole - PAGE), PAGE);
	EXPECT_EQ(entry_size(hole), 0);
	EXPECT_EQ(entry_size(hole + PAGE), PAGE);
	EXPECT_EQ(entry_size(mem + 4 * MB), self->pmd);

	/* What was pinned before is what it was. */
	EXPECT_EQ(read(p[0], copy, PAGE), (ssize_t)PAGE);
	EXPECT_EQ(memcmp(copy, copy + (hole - mem), PAGE), 0);
	close(p[0]);
	close(p[1]);

	/* Up to the border, and over one between two sizes */
	EXPECT_TRUE(transfers(self->disk, hole - 64 * KB, 64 * KB, 62));
	EXPECT_TRUE(transfers(self->disk, hole + PAGE, 64 * KB, 64));
	EXPECT_TRUE(transfers(self->disk, mem + 4 * MB - 64 * KB, 128 * KB, 66));

	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(same(hole + PAGE, 64 * KB, 65) != 64 * KB ||
		      !no_memory(self->disk, hole) ||
		      !transfers(self->disk, mem + 4 * MB - MB, 2 * MB, 68));
	EXPECT_EQ(wait_exit(pid), 0);
	EXPECT_EQ(same(mem + 3 * MB, 2 * MB, 69), 2 * MB);

	ASSERT_EQ(mmap(hole, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		       s->fd, hole - mem), hole);
	EXPECT_TRUE(transfers(self->disk, hole - 64 * KB, 128 * KB, 70));
	free(copy);
}

/* Reading from a disk would write to what must not be written to. */
TEST_F_TIMEOUT(ends, mprotect_of_a_part_counts, TIMEOUT)
{
	struct space *s = &self->s;
	char *part = s->mem + 2 * MB + 64 * KB;
	size_t len = 32 * KB;

	fill(s->mem, 8 * MB, 71);
	fill(part, len, 72);
	ASSERT_EQ(entry_size(part), variant->page_size);
	ASSERT_EQ(mprotect(part, len, PROT_READ), 0);
	EXPECT_EQ(pwrite(self->disk, part, len, 0), (ssize_t)len);
	EXPECT_TRUE(disk_has(0, len, 72));
	EXPECT_TRUE(no_memory(self->disk, part));
	EXPECT_TRUE(no_memory(self->disk, part + len - PAGE));
	EXPECT_EQ(same(part, len, 72), len);
	EXPECT_TRUE(transfers(self->disk, part - 64 * KB, 64 * KB, 73));
	EXPECT_TRUE(transfers(self->disk, part + len, 64 * KB, 75));
	EXPECT_EQ(entry_size(part), PAGE);
	EXPECT_EQ(entry_size(part + len), PAGE);

	ASSERT_EQ(mprotect(part, len, PROT_READ | PROT_WRITE), 0);
	EXPECT_TRUE(transfers(self->disk, part - 64 * KB, 256 * KB, 77));
}

/* The same, and the entry of 1 GiB ends where one of 2 MiB could. */
TEST_F_TIMEOUT(ends, mprotect_of_2m_counts, TIMEOUT)
{
	char *part = self->s.mem + 4 * MB, *end = part + 2 * MB;

	ASSERT_EQ(entry_size(part), variant->page_size);
	ASSERT_EQ(mprotect(part, end - part, PROT_READ), 0);
	EXPECT_TRUE(no_memory(self->disk, part));
	EXPECT_TRUE(no_memory(self->disk, end - PAGE));
	EXPECT_TRUE(all_bytes(part, end - part, 0x5a));
	EXPECT_TRUE(transfers(self->disk, part - 64 * KB, 64 * KB, 91));
	EXPECT_TRUE(transfers(self->disk, end, 64 * KB, 93));
	EXPECT_EQ(entry_size(part - PAGE), self->pmd);
	EXPECT_EQ(entry_size(part), self->pmd);
	EXPECT_EQ(entry_size(end), self->pmd);
}

/* mremap(), which keeps others from where the mapping was */
static bool move(int disk, char *from, size_t len, char *to)
{
	return mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to &&
	       no_memory(disk, from) &&
	       mmap(from, len, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
		    -1, 0) == from;
}

/* Moving a mapping would move I/O to other memory, or upset the kernel. */
TEST_F_TIMEOUT(ends, mremap_moves_entries_or_splits_them, TIMEOUT)
{
	struct space *s = &self->s;
	size_t size = variant->page_size, len = s->len, part = 8 * PAGE;
	char *room, *to;

	room = mmap(NULL, len + 2 * size, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(room, MAP_FAILED);
	to = room + (-(unsigned long)room & (size - 1));

	/* As a whole, with its entry */
	fill(s->mem, 8 * MB, 81);
	ASSERT_EQ(entry_size(s->mem), size);
	ASSERT_TRUE(move(self->disk, s->mem, len, to));
	EXPECT_EQ(entry_size(to), size);
	EXPECT_EQ(same(to, 8 * MB, 81), 8 * MB);
	EXPECT_TRUE(transfers(self->disk, to + MB, 2 * MB, 82));

	/* To where it is not aligned */
	fill(to, 8 * MB, 84);
	ASSERT_TRUE(move(self->disk, to, len, s->mem + PAGE));
	EXPECT_EQ(same(s->mem + PAGE, 8 * MB, 84), 8 * MB);
	EXPECT_EQ(entry_size(s->mem + PAGE), PAGE);

	/* And back */
	ASSERT_TRUE(move(self->disk, s->mem + PAGE, len, to));
	EXPECT_EQ(same(to, 8 * MB, 84), 8 * MB);

	/* A part of an entry */
	ASSERT_EQ(mmap(to, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		       s->fd, 0), to);
	fill(to + MB, part, 85);
	EXPECT_EQ(entry_size(to + MB), size);
	ASSERT_TRUE(move(self->disk, to + MB, part, s->mem));
	EXPECT_EQ(same(s->mem, part, 85), part);
	EXPECT_EQ(same(to, MB, 84), MB);
	EXPECT_TRUE(transfers(self->disk, s->mem, part, 86));
	EXPECT_TRUE(transfers(self->disk, to + MB + part, 64 * KB, 88));
	munmap(room, len + 2 * size);
}

/*
 * Memory errors
 */

FIXTURE(memory_error)
{
	struct space s;
	int disk;
	off_t off;
	struct bus_error error;
	struct mapper *holder;
	struct mapper *bystander;
};

FIXTURE_VARIANT(memory_error)
{
	size_t page_size;
};

FIXTURE_VARIANT_ADD(memory_error, 4k) { .page_size = 4 * KB };
FIXTURE_VARIANT_ADD(memory_error, 2m) { .page_size = 2 * MB };
FIXTURE_VARIANT_ADD(memory_error, 1g) { .page_size = GB };

FIXTURE_SETUP(memory_error)
{
	struct space *s = &self->s;
	const char *why;

	self->disk = open_disk();
	if (self->disk < 0)
		SKIP(return, "no disk");
	if (access(HWPOISON "corrupt-pfn", F_OK))
		SKIP(return, "no hwpoison-inject");
	why = space_open(s, false, variant->page_size);
	if (why)
		SKIP(return, "%s", why);

	/* Not from the file's start; another process has it elsewhere, with a pin */
	self->off = variant->page_size;
	space_unmap(s);
	s->mem = map_aligned(s, s->len, self->off, PROT_READ | PROT_WRITE);
	ASSERT_NE(s->mem, MAP_FAILED);
	ASSERT_TRUE(note_bus_errors(&self->error));
	ASSERT_EQ(set_cache(s, 0), 0);
	self->holder = mapper_start(0, self->off + s->len, self->off + PAGE,
				    s->reserve, s->reserve_len);
	ASSERT_NE(self->holder, NULL);
	/* And one has what comes before it. */
	self->bystander = mapper_start(0, self->off, HOLDS_NOTHING, s->reserve,
				       s->reserve_len);
	ASSERT_NE(self->bystander, NULL);
}

FIXTURE_TEARDOWN(memory_error)
{
	EXPECT_EQ(self->bystander->error.nr, 0);
	EXPECT_TRUE(mapper_end(self->bystander));
	EXPECT_TRUE(mapper_end(self->holder));
	space_close(_metadata, &self->s);
	close(self->disk);
}

/* A guest would go on with bad data, or all of it would die for one page. */
TEST_F_TIMEOUT(memory_error, hits_one_page, TIMEOUT)
{
	struct space *s = &self->s;
	char *bad = s->mem + 5 * PAGE, *worse = s->mem + BLOCK + 7 * PAGE;
	unsigned long first = (strtoul(read_str(DAX "resource"), NULL, 0) + self->off) / PAGE;
	unsigned long bad_pfn = first + (bad - s->mem) / PAGE;
	unsigned long worse_pfn = first + (worse - s->mem) / PAGE;
	char *there = self->holder->mem + self->off - (unsigned long)s->mem;
	int p[2];

	ASSERT_TRUE(disk_put(0, MB, 20));
	ASSERT_EQ(pipe(p), 0);
	memset(bad, 0x5a, PAGE);
	EXPECT_EQ(stat_of(s, "live"), 1);

	/* In a block that somebody else has pinned */
	EXPECT_EQ(madvise(bad, PAGE, MADV_HWPOISON), 0);
	EXPECT_TRUE(bus_error_came(&self->error, 1, BUS_MCEERR_AR, bad));
	EXPECT_TRUE(bus_error_came(&self->holder->error, 1, BUS_MCEERR_AO,
				   there + (unsigned long)bad));
	EXPECT_EQ(pread(self->disk, bad, PAGE, 0), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(pwrite(self->disk, bad, PAGE, 4 * MB), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(pread(self->disk, bad - PAGE, PAGE, 0), PAGE);
	EXPECT_EQ(same(bad - PAGE, PAGE, 20), PAGE);
	EXPECT_EQ(pread(self->disk, bad + PAGE, 64 * PAGE, 0), 64 * PAGE);
	EXPECT_EQ(same(bad + PAGE, 64 * PAGE, 20), 64 * PAGE);

	/* A copy must not touch it either, nor finish what direct I/O began. */
	EXPECT_EQ(pread(self->disk, bad - PAGE, 2 * PAGE, 0), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(pwrite(self->disk, bad - PAGE, 2 * PAGE, 4 * MB), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(write(p[1], bad - PAGE, PAGE), (ssize_t)PAGE);
	EXPECT_EQ(read(p[0], bad, PAGE), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(write(p[1], bad, PAGE), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(read(p[0], bad + PAGE, PAGE), (ssize_t)PAGE);
	EXPECT_EQ(same(bad + PAGE, PAGE, 20), PAGE);

	/* In one that is not there */
	*worse = 1;
	EXPECT_TRUE(eventually_live(s, 1));
	EXPECT_EQ(write_ulong(HWPOISON "corrupt-pfn", worse_pfn), 0);
	EXPECT_TRUE(bus_error_came(&self->error, 2, BUS_MCEERR_AR, worse));
	EXPECT_TRUE(bus_error_came(&self->holder->error, 2, BUS_MCEERR_AO,
				   there + (unsigned long)worse));
	EXPECT_EQ(stat_of(s, "live"), 1);
	EXPECT_EQ(pread(self->disk, worse, PAGE, 0), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(pread(self->disk, worse + PAGE, PAGE, 0), PAGE);

	/* The page can't be given up for another one. */
	EXPECT_EQ(madvise(bad + PAGE, PAGE, MADV_SOFT_OFFLINE), -1);
	EXPECT_EQ(self->error.nr, 2);
	EXPECT_EQ(self->holder->error.nr, 2);

	EXPECT_EQ(write_ulong(HWPOISON "unpoison-pfn", bad_pfn), 0);
	EXPECT_EQ(write_ulong(HWPOISON "unpoison-pfn", worse_pfn), 0);
	EXPECT_EQ(write_ulong(HWPOISON "unpoison-pfn", bad_pfn), -EIO);
	EXPECT_TRUE(all_bytes(bad, PAGE, 0x5a));
	EXPECT_EQ(pread(self->disk, bad, PAGE, 0), PAGE);
	EXPECT_EQ(pread(self->disk, worse, PAGE, 0), PAGE);
	EXPECT_EQ(same(worse, PAGE, 20), PAGE);
}

/*
 * The test provider: ranges of any shape, and pins of any kind
 */

FIXTURE(provider)
{
	int fd;
	char *mem;
	long memmap_pages;
};

#define HOLE_START	(4 * MB)
#define HOLE_END	(6 * MB)
#define MAPPED		(HOLE_END + 4 * BLOCK)

FIXTURE_SETUP(provider)
{
	/* 2 MiB that are not aligned to a section, a hole, 8 MiB */
	struct tmemmap_register reg = {
		.nr = 2,
		.ranges = {
			{ 2 * MB, HOLE_START - 2 * MB },
			{ HOLE_END, MAPPED - HOLE_END },
		},
	};

	self->fd = open(PROVIDER, O_RDWR | O_CLOEXEC);
	if (self->fd < 0)
		SKIP(return, "no " PROVIDER);
	self->memmap_pages = memmap_pages();
	ASSERT_EQ(ioctl(self->fd, TMEMMAP_REGISTER, &reg), 0);
	/* What is counted here is pins, not what is kept after them. */
	ASSERT_EQ(provider_set_limit(self->fd, TMEMMAP_CACHE, 0), 0);
	self->mem = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED,
			 self->fd, 0);
	ASSERT_NE(self->mem, MAP_FAILED);
}

FIXTURE_TEARDOWN(provider)
{
	struct space s = {
		.provider = true,
		.fd = self->fd,
		.memmap_pages = self->memmap_pages,
	};

	munmap(self->mem, MAPPED);
	EXPECT_TRUE(eventually_gone(&s));
	EXPECT_EQ(ioctl(self->fd, TMEMMAP_UNREGISTER), 0);
	close(self->fd);
}

static long tm_pin(int fd, int how, int flags, void *addr, size_t nr, __u32 *id)
{
	struct tmemmap_pin pin = {
		.addr = (unsigned long)addr,
		.nr = nr,
		.how = how,
		.flags = flags,
	};

	*id = -1;
	if (ioctl(fd, TMEMMAP_PIN, &pin))
		return -errno;
	*id = pin.id;
	return pin.pinned;
}

static int tm_unpin(int fd, __u32 id)
{
	return ioctl(fd, TMEMMAP_UNPIN, &id) ? -errno : 0;
}

static int tm_read(int fd, __u32 id, size_t offset, void *buf, size_t len)
{
	struct tmemmap_read rd = {
		.buf = (unsigned long)buf,
		.offset = offset,
		.len = len,
		.id = id,
	};

	return ioctl(fd, TMEMMAP_READ, &rd) ? -errno : 0;
}

static struct tmemmap_block tm_block(int fd, size_t offset)
{
	struct tmemmap_block block = { .offset = offset };

	if (ioctl(fd, TMEMMAP_BLOCK, &block))
		block.live = -1;
	return block;
}

/* The worker puts its reference on a block that GUP-fast populated 10 ms later. */
static struct tmemmap_block tm_block_settled(int fd, __u64 offset, __u64 refs)
{
	struct tmemmap_block block = tm_block(fd, offset);
	int i;

	for (i = 0; i < 1000 && block.refs != refs; i++) {
		usleep(10000);
		block = tm_block(fd, offset);
	}
	return block;
}

static char *tm_map(int fd, int kind, size_t off, size_t len, int prot)
{
	struct tmemmap_map map = { .page_size = PAGE, .kind = kind };

	if (ioctl(fd, TMEMMAP_MAP, &map))
		return MAP_FAILED;
	return mmap(NULL, len, prot, MAP_SHARED, fd, off);
}

static const int pin_functions[] = {
	TMEMMAP_PIN_FAST, TMEMMAP_PIN_UNLOCKED, TMEMMAP_PIN_REMOTE,
	TMEMMAP_GET_FAST,
};

/* Drivers would see other memory than the process, or lose it while they do. */
TEST_F_TIMEOUT(provider, every_way_to_pin_works, TIMEOUT)
{
	const size_t start = HOLE_END + BLOCK - 4 * PAGE, nr = BLOCK / PAGE;
	char *at = self->mem + start, *buf = malloc(BLOCK);
	struct space s = { .provider = true, .fd = self->fd };
	struct tmemmap_block block;
	unsigned int i;
	bool get;
	__u32 id;

	for (i = 0; i < ARRAY_SIZE(pin_functions); i++) {
		get = pin_functions[i] == TMEMMAP_GET_FAST;
		fill(at, BLOCK, 20 + i);
		EXPECT_EQ(tm_pin(self->fd, pin_functions[i], TMEMMAP_WRITE, at,
				 nr, &id), (long)nr);
		EXPECT_EQ(provider_stat(self->fd, "live"), 2);
		block = tm_block_settled(self->fd, start, 4);
		EXPECT_EQ(block.live, 1);
		EXPECT_EQ(block.refs, 4);
		EXPECT_EQ(block.pins, get ? 0 : 4);
		block = tm_block_settled(self->fd, start + BLOCK, nr - 4);
		EXPECT_EQ(block.live, 1);
		EXPECT_EQ(block.refs, nr - 4);
		EXPECT_EQ(block.pins, get ? 0 : nr - 4);
		EXPECT_EQ(tm_block(self->fd, start + 2 * BLOCK).live, 0);

		EXPECT_EQ(tm_read(self->fd, id, 0, buf, BLOCK), 0);
		EXPECT_EQ(same(buf, BLOCK, 20 + i), BLOCK);
		EXPECT_EQ(tm_unpin(self->fd, id), 0);
		/* Else the worker may hold a reference on the next one. */
		EXPECT_TRUE(eventually_live(&s, 0));
	}
	free(buf);
}

/* A driver could do I/O to memory that is not the provider's any more. */
TEST_F_TIMEOUT(provider, hole_between_ranges_cannot_be_pinned, TIMEOUT)
{
	char *hole = self->mem + HOLE_START;
	unsigned int i;
	__u32 id;

	for (i = 0; i < ARRAY_SIZE(pin_functions); i++) {
		EXPECT_EQ(tm_pin(self->fd, pin_functions[i], 0, hole, 1, &id),
			  -EFAULT);
		EXPECT_EQ(tm_pin(self->fd, pin_functions[i], 0,
				 self->mem + HOLE_END - PAGE, 2, &id), -EFAULT);
		/* What comes before the hole is pinned, as for any memory. */
		EXPECT_EQ(tm_pin(self->fd, pin_functions[i], 0, hole - 3 * PAGE,
				 5, &id), 3);
		EXPECT_EQ(tm_unpin(self->fd, id), 0);
	}
}

/* Mappings that could not be pinned could be all of a sudden. */
TEST_F_TIMEOUT(provider, mapping_not_marked_transient_is_refused, TIMEOUT)
{
	static const int slow[] = { TMEMMAP_PIN_UNLOCKED, TMEMMAP_PIN_REMOTE };
	char *mem = tm_map(self->fd, TMEMMAP_MAP_PLAIN, HOLE_END, PAGE,
			   PROT_READ | PROT_WRITE);
	unsigned int i;
	__u32 id, held;

	ASSERT_NE(mem, MAP_FAILED);
	mem[0] = 1;
	for (i = 0; i < ARRAY_SIZE(slow); i++)
		EXPECT_EQ(tm_pin(self->fd, slow[i], 0, mem, 1, &id), -EFAULT);
	EXPECT_EQ(provider_stat(self->fd, "populated"), 0);

	/* Nor while the block has struct pages, by another mapping */
	ASSERT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST, 0, self->mem + HOLE_END, 1,
			 &held), 1);
	for (i = 0; i < ARRAY_SIZE(slow); i++)
		EXPECT_EQ(tm_pin(self->fd, slow[i], 0, mem, 1, &id), -EFAULT);
	EXPECT_EQ(tm_unpin(self->fd, held), 0);
	munmap(mem, PAGE);
}

/* A pin for good would keep struct pages for good, beyond anybody's control. */
TEST_F_TIMEOUT(provider, longterm_pin_is_refused, TIMEOUT)
{
	char *mem = self->mem + HOLE_END;
	__u32 id, held;
	int i;

	for (i = TMEMMAP_PIN_FAST; i <= TMEMMAP_PIN_REMOTE; i++)
		EXPECT_EQ(tm_pin(self->fd, i, TMEMMAP_LONGTERM, mem, 1, &id),
			  -EOPNOTSUPP);
	EXPECT_EQ(provider_stat(self->fd, "populated"), 0);

	/* Live or not */
	ASSERT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST, 0, mem, 1, &held), 1);
	for (i = TMEMMAP_PIN_FAST; i <= TMEMMAP_PIN_REMOTE; i++)
		EXPECT_EQ(tm_pin(self->fd, i, TMEMMAP_LONGTERM, mem, 1, &id),
			  -EOPNOTSUPP);
	EXPECT_EQ(tm_block_settled(self->fd, HOLE_END, 1).refs, 1);
	EXPECT_EQ(tm_unpin(self->fd, held), 0);

	/* Unless they are allowed */
	ASSERT_EQ(provider_set_limit(self->fd, TMEMMAP_ALLOW_LONGTERM, 1), 0);
	for (i = TMEMMAP_PIN_FAST; i <= TMEMMAP_PIN_REMOTE; i++) {
		EXPECT_EQ(tm_pin(self->fd, i, TMEMMAP_LONGTERM, mem, 1, &id),
			  1);
		EXPECT_EQ(tm_unpin(self->fd, id), 0);
	}
}

/* perf would put the last reference on a block in an NMI. */
TEST_F_TIMEOUT(provider, fast_only_gets_no_transient_page, TIMEOUT)
{
	char *mem = self->mem + HOLE_END;
	__u32 id, held;

	mem[0] = 1;
	EXPECT_EQ(tm_pin(self->fd, TMEMMAP_GET_FAST_ONLY, 0, mem, 1, &id), 0);
	EXPECT_EQ(tm_unpin(self->fd, id), 0);
	EXPECT_EQ(provider_stat(self->fd, "populated"), 0);

	ASSERT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST, 0, mem, 1, &held), 1);
	EXPECT_EQ(tm_pin(self->fd, TMEMMAP_GET_FAST_ONLY, 0, mem, 1, &id), 0);
	EXPECT_EQ(tm_unpin(self->fd, id), 0);
	EXPECT_EQ(tm_unpin(self->fd, held), 0);
	EXPECT_EQ(provider_stat(self->fd, "populated"), 1);
}

/* gfs2 would bring the entry about and try again for ever; or a fault deadlock. */
TEST_F_TIMEOUT(provider, nofault_pin_wants_the_entry_and_no_more, TIMEOUT)
{
	char *mem = self->mem + HOLE_END;
	__u32 id;

	EXPECT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST, TMEMMAP_NOFAULT, mem, 1,
			 &id), -EFAULT);
	EXPECT_EQ(provider_stat(self->fd, "populated"), 0);
	mem[0] = 1;
	EXPECT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST, TMEMMAP_NOFAULT, mem, 1,
			 &id), 1);
	EXPECT_EQ(provider_stat(self->fd, "populated"), 1);
	EXPECT_EQ(tm_unpin(self->fd, id), 0);
}

/* Core dumps and KVM would populate all of a guest's memory. */
TEST_F_TIMEOUT(provider, who_wants_no_struct_pages_gets_none, TIMEOUT)
{
	static const int flags[] = { TMEMMAP_DUMP, TMEMMAP_NO_TRANSIENT };
	static const int how[] = { TMEMMAP_PIN_UNLOCKED, TMEMMAP_PIN_REMOTE };
	char *mem = self->mem + HOLE_END, *anon;
	unsigned int f, h, live;
	__u32 id, held = 0;

	anon = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(anon, MAP_FAILED);
	mem[0] = 1;
	for (live = 0; live < 2; live++) {
		if (live) {
			ASSERT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST, 0, mem, 1,
					 &held), 1);
		}
		for (f = 0; f < ARRAY_SIZE(flags); f++) {
			for (h = 0; h < ARRAY_SIZE(how); h++) {
				EXPECT_EQ(tm_pin(self->fd, how[h], flags[f],
						 mem, 1, &id), -EFAULT);
				EXPECT_EQ(tm_pin(self->fd, how[h], flags[f],
						 anon, 1, &id), 1);
				EXPECT_EQ(tm_unpin(self->fd, id), 0);
			}
		}
		/* Get-user-pages-fast knows only one of the flags. */
		EXPECT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST,
				 TMEMMAP_NO_TRANSIENT, mem, 1, &id), -EFAULT);
		EXPECT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST,
				 TMEMMAP_NO_TRANSIENT, anon, 1, &id), 1);
		EXPECT_EQ(tm_unpin(self->fd, id), 0);
		EXPECT_EQ(provider_stat(self->fd, "populated"), live);
		EXPECT_EQ(tm_block_settled(self->fd, HOLE_END, live).refs,
			  live);
	}
	EXPECT_EQ(tm_unpin(self->fd, held), 0);
	munmap(anon, PAGE);
}

/* Read-only memory could be written to. */
TEST_F_TIMEOUT(provider, write_pin_needs_a_writable_mapping, TIMEOUT)
{
	char *mem = tm_map(self->fd, TMEMMAP_MAP_TRANSIENT, HOLE_END, BLOCK,
			   PROT_READ);
	unsigned int i;
	__u32 id;

	ASSERT_NE(mem, MAP_FAILED);
	for (i = 0; i < ARRAY_SIZE(pin_functions); i++) {
		EXPECT_EQ(tm_pin(self->fd, pin_functions[i], TMEMMAP_WRITE, mem,
				 1, &id), -EFAULT);
		EXPECT_EQ(tm_pin(self->fd, pin_functions[i],
				 TMEMMAP_WRITE | TMEMMAP_FORCE, mem, 1, &id),
			  -EFAULT);
		EXPECT_EQ(tm_pin(self->fd, pin_functions[i], 0, mem, 1, &id), 1);
		EXPECT_EQ(tm_unpin(self->fd, id), 0);
	}
	munmap(mem, BLOCK);
}

/* A pin would get less than there is, or more than the administrator allows. */
TEST_F_TIMEOUT(provider, pin_ends_where_the_cap_does, TIMEOUT)
{
	char *mem = self->mem + HOLE_END;
	__u32 id, more;

	ASSERT_EQ(provider_set_limit(self->fd, TMEMMAP_CAP, 2), 0);
	EXPECT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST, 0, mem, 4 * BLOCK / PAGE,
			 &id), (long)(2 * BLOCK / PAGE));
	EXPECT_EQ(provider_stat(self->fd, "live"), 2);
	EXPECT_EQ(provider_stat(self->fd, "failed"), 1);
	EXPECT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST, 0, mem + 2 * BLOCK, 1,
			 &more), -ENOMEM);
	EXPECT_EQ(tm_unpin(self->fd, id), 0);
	EXPECT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST, 0, mem + 2 * BLOCK, 1,
			 &more), 1);
	EXPECT_EQ(tm_unpin(self->fd, more), 0);
}

/* A large buffer would cost more than its blocks. */
TEST_F_TIMEOUT(provider, large_pin_costs_one_page_per_block, TIMEOUT)
{
	__u32 id;

	EXPECT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST, TMEMMAP_WRITE,
			 self->mem + HOLE_END, 4 * BLOCK / PAGE, &id),
		  (long)(4 * BLOCK / PAGE));
	EXPECT_EQ(provider_stat(self->fd, "live"), 4);
	EXPECT_EQ(memmap_pages(), self->memmap_pages + 4);
	EXPECT_EQ(tm_unpin(self->fd, id), 0);
}

/* Two drivers' memory in one section: the one would break the other's. */
TEST_F_TIMEOUT(provider, files_share_a_section_but_no_memory, TIMEOUT)
{
	struct tmemmap_register reg = {
		.nr = 1,
		.ranges = { { HOLE_START, HOLE_END - HOLE_START } },
	};
	struct tmemmap_register overlap = {
		.nr = 1,
		.ranges = { { HOLE_START, 4 * MB } },
	};
	struct tmemmap_register odd = {
		.nr = 1,
		.ranges = { { 32 * MB, MB } },
	};
	int fd = open(PROVIDER, O_RDWR | O_CLOEXEC);
	char *mem;
	__u32 id;

	ASSERT_GE(fd, 0);
	EXPECT_EQ(ioctl(fd, TMEMMAP_REGISTER, &overlap), -1);
	EXPECT_NE(errno, EFAULT);
	EXPECT_EQ(ioctl(fd, TMEMMAP_REGISTER, &odd), -1);
	EXPECT_EQ(errno, EINVAL);
	ASSERT_EQ(ioctl(fd, TMEMMAP_REGISTER, &reg), 0);
	mem = tm_map(fd, TMEMMAP_MAP_TRANSIENT, HOLE_START, PAGE, PROT_READ);
	ASSERT_NE(mem, MAP_FAILED);
	EXPECT_EQ(ioctl(fd, TMEMMAP_UNREGISTER), -1);
	EXPECT_EQ(errno, EBUSY);

	EXPECT_EQ(tm_pin(fd, TMEMMAP_PIN_FAST, 0, mem, 1, &id), 1);
	EXPECT_EQ(provider_stat(fd, "live"), 1);
	EXPECT_EQ(provider_stat(self->fd, "live"), 0);
	munmap(mem, PAGE);
	EXPECT_EQ(ioctl(fd, TMEMMAP_UNREGISTER), -1);
	EXPECT_EQ(errno, EBUSY);
	EXPECT_EQ(tm_unpin(fd, id), 0);
	EXPECT_EQ(ioctl(fd, TMEMMAP_UNREGISTER), 0);
	close(fd);

	EXPECT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST, 0, self->mem + HOLE_END, 1,
			 &id), 1);
	EXPECT_EQ(tm_unpin(self->fd, id), 0);
	EXPECT_EQ(tm_pin(self->fd, TMEMMAP_PIN_FAST, 0, self->mem + HOLE_START,
			 1, &id), -EFAULT);
}

int main(int argc, char **argv)
{
	int ret;

	if (geteuid())
		ksft_exit_skip("needs root\n");
	dax_save();
	disk_find();
	ret = test_harness_run(argc, argv);
	disk_leave();
	nullb_remove("tm_slow");
	dax_restore();
	return ret;
}
