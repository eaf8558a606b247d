// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once, for a given number of seconds: threads that do direct I/O
 * into memory with a transient memmap, hold its pages in pipes, and unmap it
 * under I/O, while others change the pool's limits, reclaim, unbind the device,
 * and walk the page tables of the kernel. Every other time that it is bound, the
 * device's direct map is transient too.
 *
 * usage: transient_memmap_stress [seconds [disk [device]]]
 *
 * Data is compared all the time, and at the end all struct pages have to be
 * gone. The kernel's checkers see the rest.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>

#include "transient_memmap_util.h"

#define IO_THREADS	4
#define PIPES		4

/* What the disk holds: each 8 bytes say where they are. */
#define DISK_LEN	(16 * MB)

/* Some of it at a time, anywhere in the device */
#define MAP_LEN		(8 * MB)
#define MAX_IO		(512 * KB)

#define TABLES		"/sys/kernel/debug/page_tables/kernel"

static char dev[64] = "dax0.0", disk[PATH_MAX] = "/dev/vda", dev_dir[128];
static atomic_bool stop, leave;
static atomic_int mapped;
static atomic_ulong transfers, refused, remaps, rebinds, walks, wrong;
static unsigned long dev_size;

/* Small files */

static const char *dev_attr(char *path, const char *name)
{
	snprintf(path, PATH_MAX, "%s%s", dev_dir, name);
	return path;
}

static int drv_write(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/dax/drivers/device_dax/%s", name);
	return write_str(path, dev);
}

static int bind_transient(void)
{
	char path[PATH_MAX];

	if (write_str(dev_attr(path, "memmap"), "transient") ||
	    write_str(dev_attr(path, "direct_map"), rebinds % 2 ? "transient" : "static"))
		return -1;
	return drv_write("bind");
}

/* Random numbers: one state per thread */

static uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static unsigned long below(uint64_t *state, unsigned long n)
{
	return rnd(state) % n;
}

/*
 * Is it what the disk has at @off?  The memory can go at any time, as the device
 * is unbound under it, so it is not read directly.  True if it can't be read.
 */
static bool is_disk_data(char *mem, size_t len, off_t off)
{
	static __thread uint64_t copy[MAX_IO / 8];
	struct iovec local = { copy, len }, remote = { mem, len };
	ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	ssize_t i;

	for (i = 0; i < n / 8; i++)
		if (copy[i] != (uint64_t)off + i * 8)
			return false;
	return true;
}

/* Threads */

struct io {
	uint64_t seed;
	int disk;
	char *mem;
	int pipes[PIPES][2];
};

static void io_unmap(struct io *io)
{
	if (!io->mem)
		return;
	munmap(io->mem, MAP_LEN);
	io->mem = NULL;
	mapped--;
}

/* No two threads write to the same memory: each has its part of the device. */
static bool io_map(struct io *io, int nr)
{
	unsigned long part = dev_size / IO_THREADS / (2 * MB) * (2 * MB);
	unsigned long off = nr * part +
		below(&io->seed, (part - MAP_LEN) / (2 * MB) + 1) * 2 * MB;
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", dev);
	mapped++;
	fd = leave ? -1 : open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		mapped--;
		return false;
	}
	io->mem = mmap(NULL, MAP_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       off);
	close(fd);
	if (io->mem == MAP_FAILED) {
		io->mem = NULL;
		mapped--;
	}
	remaps++;
	return io->mem;
}

/* From the disk to memory, and perhaps back */
static void io_transfer(struct io *io)
{
	size_t len = (1 + below(&io->seed, MAX_IO / 512)) * 512;
	off_t off = below(&io->seed, (DISK_LEN - len) / 512) * 512;
	char *at = io->mem + below(&io->seed, (MAP_LEN - len) / 512) * 512;
	ssize_t n = pread(io->disk, at, len, off);

	if (n < 0 && errno != EFAULT && errno != ENOMEM) {
		ksft_print_msg("read: %s\n", strerror(errno));
		wrong++;
	}
	if (n <= 0) {
		refused++;
		return;
	}
	if (!is_disk_data(at, n, off)) {
		ksft_print_msg("%zd bytes of disk offset %ld are wrong\n", n,
			       (long)off);
		wrong++;
	}
	transfers++;
	/* And back; if it went wrong, somebody will read it. */
	if (below(&io->seed, 4) == 0 && pwrite(io->disk, at, n, off) < 0)
		refused++;
}

static void pipe_close(int *p)
{
	if (p[0] < 0)
		return;
	close(p[0]);
	close(p[1]);
	p[0] = -1;
}

/* Pages that stay pinned until somebody reads the pipe, or it is closed. */
static void io_hold(struct io *io)
{
	int *p = io->pipes[below(&io->seed, PIPES)];
	struct iovec iov = {
		io->mem + below(&io->seed, MAP_LEN / PAGE - 8) * PAGE, 8 * PAGE,
	};

	if (p[0] < 0) {
		if (pipe2(p, O_CLOEXEC | O_NONBLOCK))
			p[0] = -1;
		return;
	}
	if (below(&io->seed, 3) == 0)
		pipe_close(p);
	else if (vmsplice(p[1], &iov, 1, SPLICE_F_NONBLOCK) < 0)
		refused++;
}

static void io_let_go(struct io *io)
{
	int i;

	for (i = 0; i < PIPES; i++)
		pipe_close(io->pipes[i]);
}

static void *io_thread(void *arg)
{
	int nr = (long)arg, i;
	struct io io = { .seed = 0x9e3779b97f4a7c15 * (nr + 1) };

	for (i = 0; i < PIPES; i++)
		io.pipes[i][0] = -1;
	io.disk = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	while (!stop) {
		/* Now and then a thread is late, and does I/O to what is gone. */
		if (leave && below(&io.seed, 8) == 0)
			io_unmap(&io);
		if (!io.mem && !io_map(&io, nr)) {
			/* It is being unbound, and may wait for our pins. */
			io_let_go(&io);
			usleep(10000);
			continue;
		}
		switch (below(&io.seed, 32)) {
		case 0:
			io_unmap(&io);
			break;
		case 1 ... 3:
			io_hold(&io);
			break;
		default:
			io_transfer(&io);
		}
	}
	io_unmap(&io);
	io_let_go(&io);
	close(io.disk);
	return NULL;
}

/* An administrator who can't decide */
static void *limits_thread(void *arg)
{
	static const unsigned long some[] = { 0, 1, 3, 16, 100, 1000, ULONG_MAX };
	uint64_t seed = 42;

	while (!stop) {
		pool_set_limit(dev_dir, "cap", some[below(&seed, 7)]);
		pool_set_limit(dev_dir, "cache", some[below(&seed, 7)]);
		if (below(&seed, 4) == 0)
			write_str("/proc/sys/vm/drop_caches", "2");
		usleep(1000 * below(&seed, 50));
	}
	return NULL;
}

/*
 * The device is unbound with mappings, I/O in flight, and pages in pipes; it
 * waits for the latter two. It is bound again when nobody has it open, as device
 * files don't survive that.
 */
static void *bind_thread(void *arg)
{
	while (!stop) {
		usleep(700000);
		leave = true;
		if (drv_write("unbind"))
			wrong++;
		while (mapped)
			usleep(1000);
		if (bind_transient())
			wrong++;
		leave = false;
		rebinds++;
	}
	return NULL;
}

/* The page tables of the direct map and of the memmap come and go under it. */
static void *tables_thread(void *arg)
{
	static char buf[PAGE];
	int fd;

	while (!stop) {
		fd = open(TABLES, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return NULL;
		/* The first read walks them all. */
		if (read(fd, buf, sizeof(buf)) > 0)
			walks++;
		close(fd);
		usleep(50000);
	}
	return NULL;
}

static bool disk_fill(void)
{
	uint64_t *buf = malloc(DISK_LEN);
	int fd = open(disk, O_WRONLY | O_CLOEXEC);
	bool ok = false;
	size_t i;

	if (buf && fd >= 0) {
		for (i = 0; i < DISK_LEN / 8; i++)
			buf[i] = i * 8;
		ok = pwrite(fd, buf, DISK_LEN, 0) == (ssize_t)DISK_LEN &&
		     !fsync(fd);
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	return ok;
}

static bool eventually_gone(void)
{
	int i;

	for (i = 0; i < 1000 && pool_stat(dev_dir, "live"); i++)
		usleep(10000);
	return !pool_stat(dev_dir, "live") &&
	       pool_stat(dev_dir, "populated") == pool_stat(dev_dir, "freed");
}

int main(int argc, char **argv)
{
	void *(*const threads[])(void *) = {
		io_thread, io_thread, io_thread, io_thread, limits_thread,
		bind_thread, tables_thread,
	};
	unsigned long seconds = argc > 1 ? strtoul(argv[1], NULL, 0) : 10;
	pthread_t ids[ARRAY_SIZE(threads)];
	char path[PATH_MAX];
	unsigned long i;

	if (argc > 2)
		snprintf(disk, sizeof(disk), "%s", argv[2]);
	if (argc > 3)
		snprintf(dev, sizeof(dev), "%s", argv[3]);
	snprintf(dev_dir, sizeof(dev_dir), "/sys/bus/dax/devices/%s/", dev);

	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("needs root\n");
	if (access(dev_attr(path, "memmap"), W_OK))
		ksft_exit_skip("no %s with a memmap attribute\n", dev);
	if (!disk_fill())
		ksft_exit_skip("can't write to the disk %s\n", disk);
	ksft_set_plan(4);

	drv_write("unbind");
	dev_size = strtoul(read_str(dev_attr(path, "size")), NULL, 0);
	if (write_ulong(dev_attr(path, "align"), 2 * MB) || bind_transient())
		ksft_exit_fail_msg("can't bind %s\n", dev);

	for (i = 0; i < ARRAY_SIZE(threads); i++)
		if (pthread_create(&ids[i], NULL, threads[i], (void *)i))
			ksft_exit_fail_msg("no thread\n");
	sleep(seconds);
	stop = true;
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(ids[i], NULL);

	ksft_print_msg("%lu transfers, %lu refused, %lu mappings, %lu rebinds, %lu walks\n",
		       transfers, refused, remaps, rebinds, walks);
	ksft_test_result(!wrong, "data is right\n");
	ksft_test_result(transfers > 100 && refused && rebinds,
			 "there was something to see\n");
	if (access(TABLES, R_OK))
		ksft_test_result_skip("page tables are walked: no " TABLES "\n");
	else
		ksft_test_result(walks, "page tables are walked\n");
	ksft_test_result(eventually_gone(), "all struct pages are gone\n");
	drv_write("unbind");
	write_str(dev_attr(path, "direct_map"), "static");
	ksft_finished();
}
