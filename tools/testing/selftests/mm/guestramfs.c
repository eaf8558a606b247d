// SPDX-License-Identifier: GPL-2.0
/*
 * guestramfs as its users see it: a file is a guest's memory, its size is
 * reserved, it is zero before anybody sees it, and what is given up goes to
 * nobody else while it is pinned.
 *
 * Run as root. /dev/dax0.0 loses its contents.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "transient_memmap_hwpoison.h"
#include "transient_memmap_util.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

#define BLOCK	(2 * MB)

#define DRIVER	"/sys/bus/dax/drivers/guestramfs/"
#define STATS	DAX "guestramfs/stats"
#define DIR	"/tmp/guestramfs-test"
#define NAME	DIR "/file"
#define OTHER	DIR "/other"

/* What a mount has by default here, and how many blocks that is */
#define SIZE	"size=64M"
#define BLOCKS	32

#define DISK	"/dev/tm_fast"

/* An emulated machine with all debugging options takes its time. */
#define TIMEOUT	120

/* Waits ten seconds at most, until @condition. */
#define eventually(condition)						\
({									\
	bool _ok;							\
	int _i;								\
									\
	for (_i = 0; !(_ok = (condition)) && _i < 1000; _i++)		\
		usleep(10000);						\
	_ok;								\
})

static int wait_exit(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* The device and the mount */

static const char *driver_bind(const char *direct_map)
{
	if (access(DAX "memmap", F_OK))
		return "no dax0.0 with a memmap attribute";
	if (access(DRIVER, F_OK))
		return "the kernel has no guestramfs";
	if (dax_set_direct_map(direct_map))
		return "direct_map cannot be set";
	if (write_str(DAX "memmap", "transient") ||
	    write_str(DRIVER "new_id", "dax0.0") || access(STATS, F_OK))
		return "guestramfs does not bind dax0.0";
	return NULL;
}

/* Each test has a mount namespace, so mounts go when it ends in any way. */
static bool own_namespace(void)
{
	return !unshare(CLONE_NEWNS) &&
	       !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int mount_with(const char *options)
{
	mkdir(DIR, 0700);
	return mount("dax0.0", DIR, "guestramfs", 0, options) ? -errno : 0;
}

/* Blocks that df shows as used, those included that something pins */
static long used(void)
{
	struct statfs s;

	return statfs(DIR, &s) ? -1 : (long)(s.f_blocks - s.f_bfree);
}

static long total(void)
{
	struct statfs s;

	return statfs(DIR, &s) ? -1 : (long)s.f_blocks;
}

/* A statistic of the device, or ULONG_MAX */
static unsigned long fs_stat(const char *name)
{
	char text[1024];

	return named_value(read_text(STATS, text, sizeof(text)), name);
}

/* Files */

static int make(const char *path)
{
	return open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

static int make_sized(const char *path, off_t size)
{
	int fd = make(path);

	if (fd >= 0 && ftruncate(fd, size)) {
		close(fd);
		return -1;
	}
	return fd;
}

static char *map(int fd, size_t len, off_t off)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, off);
}

static long blocks_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : st.st_blocks * 512 / (long)BLOCK;
}

static off_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : st.st_size;
}

static int punch(int fd, off_t off, off_t len)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off,
			 len);
}

/* A pipe that holds a page until it is closed */
struct pin {
	int p[2];
};

static bool pin_page(struct pin *pin, char *addr)
{
	struct iovec iov = { .iov_base = addr, .iov_len = PAGE };

	return !pipe2(pin->p, O_CLOEXEC) &&
	       vmsplice(pin->p[1], &iov, 1, 0) == (ssize_t)PAGE;
}

static void drop_pin(struct pin *pin)
{
	close(pin->p[0]);
	close(pin->p[1]);
}

/* Whether the page has what @seed says until the end */
static bool unpin_page(struct pin *pin, int seed)
{
	char buf[PAGE];
	bool ok = read(pin->p[0], buf, PAGE) == (ssize_t)PAGE &&
		  same(buf, PAGE, seed) == PAGE;

	drop_pin(pin);
	return ok;
}

/* What a child dies of if it touches @mem: 0 if it lives */
static int touch(char *mem)
{
	pid_t pid = fork();

	if (!pid) {
		signal(SIGBUS, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		*mem = 2;
		_exit(0);
	}
	return wait_exit(pid);
}

FIXTURE(guestramfs)
{
	long unbound;	/* nr_memmap_pages without the device */
	long rest;	/* and with it */
	bool gone;	/* the test has unbound the device */
};

FIXTURE_VARIANT(guestramfs)
{
	const char *direct_map;
};

FIXTURE_VARIANT_ADD(guestramfs, mapped) { .direct_map = "static" };
FIXTURE_VARIANT_ADD(guestramfs, unmapped) { .direct_map = "transient" };

FIXTURE_SETUP(guestramfs)
{
	const char *why;

	self->gone = false;
	dax_unbind();
	self->unbound = memmap_pages();
	why = driver_bind(variant->direct_map);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_TRUE(own_namespace());
	self->rest = memmap_pages();
	ASSERT_EQ(mount_with(SIZE), 0);
	ASSERT_EQ(used(), 0);
}

FIXTURE_TEARDOWN(guestramfs)
{
	unlink(NAME);
	unlink(OTHER);
	if (!self->gone) {
		EXPECT_TRUE(eventually(!used())) {
			TH_LOG("%ld blocks are used", used());
		}
		EXPECT_TRUE(eventually(!fs_stat("waiting")));
		pool_set_limit(DAX, "cache", 0);
		EXPECT_TRUE(eventually(!pool_stat(DAX, "live")));
		EXPECT_TRUE(eventually(memmap_pages() == self->rest)) {
			TH_LOG("nr_memmap_pages %ld, was %ld", memmap_pages(),
			       self->rest);
		}
	}
	EXPECT_EQ(umount(DIR), 0);
	if (!self->gone)
		EXPECT_EQ(dax_unbind(), 0);
	EXPECT_EQ(memmap_pages(), self->unbound);
}

/*
 * The mount
 */

/* Others than the guests' users would get at their memory, or these would not. */
TEST_F_TIMEOUT(guestramfs, options_count, TIMEOUT)
{
	char mounts[8 * KB];
	struct statfs s;
	struct stat st;

	ASSERT_EQ(umount(DIR), 0);
	ASSERT_EQ(mount_with("mode=0750,uid=12,gid=34,size=6M"), 0);
	ASSERT_EQ(stat(DIR, &st), 0);
	EXPECT_EQ(st.st_mode, S_IFDIR | 0750);
	EXPECT_EQ(st.st_uid, 12);
	EXPECT_EQ(st.st_gid, 34);
	ASSERT_EQ(statfs(DIR, &s), 0);
	EXPECT_EQ(s.f_bsize, BLOCK);
	EXPECT_EQ(s.f_blocks, 3);
	EXPECT_EQ(s.f_bfree, 3);
	EXPECT_EQ(s.f_bavail, 3);
	read_text("/proc/mounts", mounts, sizeof(mounts));
	EXPECT_NE(strstr(mounts, "mode=0750,uid=12,gid=34,size=6M"), NULL);

	ASSERT_EQ(umount(DIR), 0);
	ASSERT_EQ(mount_with(""), 0);
	EXPECT_EQ(total(), strtol(read_str(DAX "size"), NULL, 0) / BLOCK);
	/* A limit beyond the device's size is none, and can be lowered. */
	ASSERT_EQ(umount(DIR), 0);
	ASSERT_EQ(mount_with("size=100T"), 0);
	EXPECT_EQ(total(), strtol(read_str(DAX "size"), NULL, 0) / BLOCK);
	EXPECT_EQ(mount(NULL, DIR, NULL, MS_REMOUNT, "size=8M"), 0);
	EXPECT_EQ(total(), 4);
}

/* A mistake in fstab would go unnoticed until a guest has no memory. */
TEST_F_TIMEOUT(guestramfs, mistakes_are_refused, TIMEOUT)
{
	const char *const wrong[] = {
		"size=1", "size=2Q", "size=", "mode=9", "mode=x", "uid=nobody",
		"what=1",
	};
	size_t i;

	EXPECT_EQ(mount_with(SIZE), -EBUSY);
	EXPECT_EQ(mount("dax0.0,dax0.0", DIR, "guestramfs", 0, ""), -1);
	EXPECT_EQ(errno, EBUSY);
	ASSERT_EQ(umount(DIR), 0);
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT_EQ(mount_with(wrong[i]), -EINVAL) {
			TH_LOG("%s", wrong[i]);
		}
	}
	EXPECT_EQ(mount("dax0.0,dax0.0", DIR, "guestramfs", 0, ""), -1);
	EXPECT_EQ(errno, EBUSY);
	EXPECT_EQ(mount("dax9.9", DIR, "guestramfs", 0, ""), -1);
	EXPECT_EQ(errno, ENODEV);
	EXPECT_EQ(mount("dax0.0,dax9.9", DIR, "guestramfs", 0, ""), -1);
	EXPECT_EQ(errno, ENODEV);
	/* None of these has kept the device. */
	EXPECT_EQ(mount_with(SIZE), 0);
}

/* A static memmap would be made, of 16 GiB per TiB, for nothing. */
TEST_F_TIMEOUT(guestramfs, static_memmap_is_refused, TIMEOUT)
{
	ASSERT_EQ(umount(DIR), 0);
	ASSERT_EQ(dax_unbind(), 0);
	EXPECT_EQ(mount_with(SIZE), -ENODEV);
	ASSERT_EQ(dax_set_direct_map("static"), 0);
	ASSERT_EQ(write_str(DAX "memmap", "static"), 0);
	EXPECT_EQ(write_str(DRIVER "bind", "dax0.0"), -EINVAL);
	EXPECT_EQ(memmap_pages(), self->unbound);
	ASSERT_EQ(driver_bind(variant->direct_map), NULL);
	EXPECT_EQ(mount_with(SIZE), 0);
}

/* Guests would lose their memory; or it would never come back. */
TEST_F_TIMEOUT(guestramfs, unmount_waits_for_those_who_use_it, TIMEOUT)
{
	int fd = make_sized(NAME, 4 * MB);
	char *mem = map(fd, 4 * MB, 0);
	struct pin pin;

	ASSERT_NE(mem, MAP_FAILED);
	EXPECT_EQ(umount(DIR), -1);
	EXPECT_EQ(errno, EBUSY);
	close(fd);
	EXPECT_EQ(umount(DIR), -1);
	EXPECT_EQ(errno, EBUSY);
	fill(mem, PAGE, 1);
	ASSERT_TRUE(pin_page(&pin, mem));
	munmap(mem, 4 * MB);

	/* A pin does not keep the mount, but the memory. */
	ASSERT_EQ(umount(DIR), 0);
	EXPECT_EQ(fs_stat("waiting"), 1);
	ASSERT_EQ(mount_with(""), 0);
	EXPECT_EQ(used(), 1);
	EXPECT_NE(access(NAME, F_OK), 0);
	EXPECT_TRUE(unpin_page(&pin, 1));
	EXPECT_TRUE(eventually(!used()));
}

/* A file manager, or a management daemon, would not find its way. */
TEST_F_TIMEOUT(guestramfs, names_are_as_elsewhere, TIMEOUT)
{
	struct stat st;
	int fd, pid;

	EXPECT_EQ(mkdir(DIR "/a", 0755), 0);
	EXPECT_EQ(mkdir(DIR "/a/b", 0700), 0);
	EXPECT_EQ(rmdir(DIR "/a"), -1);
	EXPECT_EQ(errno, ENOTEMPTY);
	fd = make_sized(DIR "/a/b/c", 4 * MB);
	ASSERT_GE(fd, 0);
	close(fd);
	EXPECT_EQ(rename(DIR "/a/b/c", NAME), 0);
	EXPECT_EQ(link(NAME, DIR "/a/d"), 0);
	EXPECT_EQ(symlink("../file", DIR "/a/e"), 0);
	EXPECT_EQ(stat(DIR "/a/e", &st), 0);
	EXPECT_EQ(st.st_nlink, 2);
	EXPECT_EQ(st.st_size, 4 * MB);
	EXPECT_EQ(used(), 2);

	/* Memory goes with the last name. */
	EXPECT_EQ(unlink(NAME), 0);
	EXPECT_EQ(used(), 2);
	fd = make_sized(NAME, 2 * MB);
	ASSERT_GE(fd, 0);
	close(fd);
	EXPECT_EQ(used(), 3);
	EXPECT_EQ(rename(NAME, DIR "/a/d"), 0);
	EXPECT_TRUE(eventually(used() == 1));

	/* Another user has no business here. */
	EXPECT_EQ(chmod(DIR, 0770), 0);
	EXPECT_EQ(chown(DIR "/a/d", 12, 34), 0);
	pid = fork();
	if (!pid) {
		if (setgid(65534) || setuid(65534))
			_exit(1);
		_exit(open(DIR "/a/d", O_RDONLY) >= 0 || errno != EACCES);
	}
	EXPECT_EQ(wait_exit(pid), 0);
	EXPECT_EQ(unlink(DIR "/a/d"), 0);
	EXPECT_EQ(unlink(DIR "/a/e"), 0);
	EXPECT_EQ(rmdir(DIR "/a/b"), 0);
	EXPECT_EQ(rmdir(DIR "/a"), 0);
}

/*
 * Sizes
 */

/* A guest would die by SIGBUS, long after it was started. */
TEST_F_TIMEOUT(guestramfs, size_is_reserved_or_refused, TIMEOUT)
{
	int fd = make_sized(NAME, 10 * MB + 1), other = make(OTHER);
	struct stat st;

	ASSERT_GE(fd, 0);
	ASSERT_GE(other, 0);
	ASSERT_EQ(fstat(fd, &st), 0);
	EXPECT_EQ(st.st_blksize, BLOCK);
	EXPECT_EQ(blocks_of(fd), 6);
	EXPECT_EQ(used(), 6);

	EXPECT_EQ(ftruncate(other, (BLOCKS - 6) * BLOCK + 1), -1);
	EXPECT_EQ(errno, ENOSPC);
	EXPECT_EQ(size_of(other), 0);
	EXPECT_EQ(blocks_of(other), 0);
	EXPECT_EQ(used(), 6);
	EXPECT_EQ(ftruncate(other, (BLOCKS - 6) * BLOCK), 0);
	EXPECT_EQ(used(), BLOCKS);
	EXPECT_EQ(ftruncate(fd, 12 * MB), 0);
	EXPECT_EQ(ftruncate(fd, 12 * MB + 1), -1);
	EXPECT_EQ(errno, ENOSPC);
	EXPECT_EQ(size_of(fd), 12 * MB);

	EXPECT_EQ(ftruncate(other, 0), 0);
	EXPECT_TRUE(eventually(used() == 6));
	EXPECT_EQ(ftruncate(fd, 2 * MB + 1), 0);
	EXPECT_TRUE(eventually(used() == 2));
	EXPECT_EQ(blocks_of(fd), 2);
	close(fd);
	close(other);
}

/* A wrong size would take the host down, or all of its memory. */
TEST_F_TIMEOUT(guestramfs, absurd_sizes_are_refused, TIMEOUT)
{
	const off_t large[] = { 1L << 33, 1L << 50, 1L << 62 };
	int fd = make_sized(NAME, 2 * MB);
	size_t i;

	ASSERT_GE(fd, 0);
	for (i = 0; i < ARRAY_SIZE(large); i++) {
		EXPECT_EQ(ftruncate(fd, large[i]), -1);
		EXPECT_EQ(errno, ENOSPC);
		EXPECT_EQ(fallocate(fd, 0, 0, large[i]), -1);
		EXPECT_EQ(errno, ENOSPC);
		EXPECT_EQ(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, large[i]), -1);
		EXPECT_EQ(errno, ENOSPC);
	}
	EXPECT_EQ(ftruncate(fd, LONG_MAX), -1);
	EXPECT_EQ(errno, EFBIG);
	EXPECT_EQ(ftruncate(fd, -1), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(fallocate(fd, 0, -1, MB), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(fallocate(fd, 0, 0, 0), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(fallocate(fd, 0, 1L << 62, 1L << 62), -1);
	EXPECT_EQ(errno, EFBIG);
	EXPECT_EQ(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, MB), -1);
	EXPECT_EQ(errno, EOPNOTSUPP);
	EXPECT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, MB), -1);
	EXPECT_EQ(errno, EOPNOTSUPP);
	EXPECT_EQ(punch(fd, 1L << 50, 1L << 62), 0);
	EXPECT_EQ(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, LONG_MIN),
		  MAP_FAILED);
	EXPECT_EQ(size_of(fd), 2 * MB);
	EXPECT_EQ(used(), 1);
	close(fd);
}

/*
 * QEMU ignores what ftruncate() says, and relies on mmap(): a guest that has no
 * memory would start, and die at its first access.
 */
TEST_F_TIMEOUT(guestramfs, map_beyond_the_end_is_refused, TIMEOUT)
{
	int fd = make_sized(NAME, 3 * MB);

	ASSERT_GE(fd, 0);
	EXPECT_EQ(map(fd, 4 * MB, 0), MAP_FAILED);
	EXPECT_EQ(errno, ENOSPC);
	EXPECT_EQ(map(fd, PAGE, 3 * MB), MAP_FAILED);
	EXPECT_EQ(errno, ENOSPC);
	EXPECT_EQ(munmap(map(fd, 3 * MB - 1, 0), 3 * MB - 1), 0);
	EXPECT_EQ(munmap(map(fd, PAGE, 3 * MB - PAGE), PAGE), 0);
	close(fd);
}

/* What df shows would depend on luck after a full file system. */
TEST_F_TIMEOUT(guestramfs, failed_fallocate_takes_nothing, TIMEOUT)
{
	int fd = make_sized(NAME, 10 * BLOCK);
	int mode;

	ASSERT_GE(fd, 0);
	EXPECT_EQ(punch(fd, 2 * BLOCK, 2 * BLOCK), 0);
	EXPECT_TRUE(eventually(used() == 8));
	for (mode = 0; mode < 2; mode++) {
		EXPECT_EQ(fallocate(fd, mode ? FALLOC_FL_KEEP_SIZE : 0, 0,
				    (BLOCKS + 1) * BLOCK), -1);
		EXPECT_EQ(errno, ENOSPC);
		EXPECT_EQ(used(), 8);
		EXPECT_EQ(blocks_of(fd), 8);
	}
	EXPECT_EQ(size_of(fd), 10 * BLOCK);

	/* Beyond the end, for later */
	EXPECT_EQ(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 12 * BLOCK), 0);
	EXPECT_EQ(size_of(fd), 10 * BLOCK);
	EXPECT_EQ(used(), 12);
	EXPECT_EQ(fallocate(fd, 0, 12 * BLOCK, 1), 0);
	EXPECT_EQ(size_of(fd), 12 * BLOCK + 1);
	EXPECT_EQ(used(), 13);
	close(fd);
}

static void ignore(int sig)
{
}

/* A large fallocate() could not be stopped; or memory would be lost by that. */
TEST_F_TIMEOUT(guestramfs, fallocate_can_be_interrupted, TIMEOUT)
{
	struct sigaction action = { .sa_handler = ignore };
	struct itimerval fast = { { 0, 100 }, { 0, 100 } }, off = {};
	int i, interrupted = 0, fd;
	long size, had, err;

	ASSERT_EQ(umount(DIR), 0);
	ASSERT_EQ(mount_with(""), 0);
	size = total() * BLOCK;
	fd = make(NAME);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(sigaction(SIGALRM, &action, NULL), 0);
	for (i = 0; i < 1000 && interrupted < 10; i++) {
		ASSERT_EQ(setitimer(ITIMER_REAL, &fast, NULL), 0);
		err = fallocate(fd, 0, 0, size) ? errno : 0;
		ASSERT_EQ(setitimer(ITIMER_REAL, &off, NULL), 0);
		had = blocks_of(fd);
		if (err) {
			ASSERT_EQ(err, EINTR);
			ASSERT_EQ(had, 0);
			interrupted++;
		} else {
			ASSERT_EQ(had, total());
			ASSERT_EQ(ftruncate(fd, 0), 0);
		}
		ASSERT_TRUE(eventually(!used()));
	}
	EXPECT_GT(interrupted, 0);
	close(fd);
}

/*
 * Contents
 */

/* How somebody gets to see memory first */
static bool sees_zero_mapped(int fd, size_t len)
{
	char *mem = map(fd, len, 0);
	bool zero = all_bytes(mem, len, 0);

	munmap(mem, len);
	return zero;
}

static bool sees_zero_by_page(int fd, size_t len)
{
	char *mem = map(fd, PAGE, len - PAGE);
	bool zero = all_bytes(mem, PAGE, 0);

	munmap(mem, PAGE);
	return zero && sees_zero_mapped(fd, len);
}

static bool sees_zero_read(int fd, size_t len)
{
	char *buf = malloc(len);
	bool zero;

	memset(buf, 1, len);
	zero = pread(fd, buf, len, 0) == (ssize_t)len && all_bytes(buf, len, 0);
	free(buf);
	return zero;
}

static bool sees_zero_beside_write(int fd, size_t len)
{
	char *mem;
	bool zero;

	if (pwrite(fd, "x", 1, MB) != 1)
		return false;
	mem = map(fd, len, 0);
	zero = all_bytes(mem, MB, 0) && mem[MB] == 'x' &&
	       all_bytes(mem + MB + 1, len - MB - 1, 0);
	munmap(mem, len);
	return zero;
}

/* By a device that reads it: what it got is what a disk has then */
static bool sees_zero_direct(int fd, size_t len)
{
	int disk = open(DISK, O_RDWR | O_DIRECT | O_CLOEXEC);
	char *mem = map(fd, len, 0), *buf;
	bool zero;

	buf = mmap(NULL, len, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(buf, 1, len);
	zero = pwrite(disk, buf, len, 0) == (ssize_t)len &&
	       pwrite(disk, mem, len, 0) == (ssize_t)len &&
	       pread(disk, buf, len, 0) == (ssize_t)len &&
	       all_bytes(buf, len, 0);
	munmap(buf, len);
	munmap(mem, len);
	close(disk);
	return zero;
}

/* A guest would read what the one before it has left. */
TEST_F_TIMEOUT(guestramfs, memory_is_zero_before_it_is_seen, TIMEOUT)
{
	bool (*const see[])(int fd, size_t len) = {
		sees_zero_mapped, sees_zero_by_page, sees_zero_read,
		sees_zero_beside_write, sees_zero_direct,
	};
	const size_t len = 4 * BLOCK;
	unsigned long cleared;
	size_t i;
	char *mem;
	int fd;

	ASSERT_EQ(access(DISK, F_OK), 0);
	for (i = 0; i < ARRAY_SIZE(see); i++) {
		/* All that a mount of this size may have */
		fd = make_sized(NAME, BLOCKS * BLOCK);
		ASSERT_GE(fd, 0);
		mem = map(fd, BLOCKS * BLOCK, 0);
		ASSERT_NE(mem, MAP_FAILED);
		memset(mem, 0x5a, BLOCKS * BLOCK);
		munmap(mem, BLOCKS * BLOCK);
		unlink(NAME);
		close(fd);
		ASSERT_TRUE(eventually(!used()));

		cleared = fs_stat("cleared");
		fd = make_sized(NAME, len);
		ASSERT_GE(fd, 0);
		EXPECT_EQ(fs_stat("cleared"), cleared);
		EXPECT_TRUE(see[i](fd, len)) {
			TH_LOG("in the %zu. way", i);
		}
		/* What only reads zeroes need not have memory. */
		EXPECT_LE(fs_stat("cleared"), cleared + 4);
		EXPECT_TRUE(sees_zero_mapped(fd, MB));
		unlink(NAME);
		close(fd);
		ASSERT_TRUE(eventually(!used()));
	}
}

struct writer {
	pthread_t thread;
	char *mem;
	int nr;
};

#define WRITERS	4

static void *write_own_bytes(void *arg)
{
	struct writer *w = arg;
	size_t i;

	for (i = 0; i < BLOCKS * BLOCK; i += PAGE)
		w->mem[i + w->nr * 8] = w->nr + 1;
	return NULL;
}

/* What one CPU of a guest writes would be cleared for another that comes later. */
TEST_F_TIMEOUT(guestramfs, clearing_loses_no_write, TIMEOUT)
{
	struct writer w[WRITERS];
	int round, i, fd;
	size_t off;
	char *mem;

	for (round = 0; round < 5; round++) {
		fd = make_sized(NAME, BLOCKS * BLOCK);
		ASSERT_GE(fd, 0);
		mem = map(fd, BLOCKS * BLOCK, 0);
		ASSERT_NE(mem, MAP_FAILED);
		for (i = 0; i < WRITERS; i++) {
			w[i].mem = mem;
			w[i].nr = i;
			ASSERT_EQ(pthread_create(&w[i].thread, NULL,
						 write_own_bytes, &w[i]), 0);
		}
		for (i = 0; i < WRITERS; i++)
			pthread_join(w[i].thread, NULL);
		for (off = 0; off < BLOCKS * BLOCK; off += PAGE) {
			for (i = 0; i < WRITERS; i++)
				ASSERT_EQ(mem[off + i * 8], i + 1);
			ASSERT_TRUE(all_bytes(mem + off + WRITERS * 8,
					      PAGE - WRITERS * 8, 0));
		}
		munmap(mem, BLOCKS * BLOCK);
		unlink(NAME);
		close(fd);
		ASSERT_TRUE(eventually(!used()));
	}
}

#define DD_DIRECT " bs=64k iflag=direct oflag=direct status=none"

/* cp and cmp would not show what a guest has. */
TEST_F_TIMEOUT(guestramfs, read_and_write_are_the_memory, TIMEOUT)
{
	const size_t len = 2 * BLOCK + 3 * PAGE + 7, off = BLOCK - 100;
	char *buf = malloc(len + PAGE), *mem;
	int fd = make_sized(NAME, 4 * BLOCK);

	ASSERT_GE(fd, 0);
	mem = map(fd, 4 * BLOCK, 0);
	ASSERT_NE(mem, MAP_FAILED);
	fill(buf, len, 2);
	EXPECT_EQ(pwrite(fd, buf, len, off), (ssize_t)len);
	EXPECT_EQ(same(mem + off, len, 2), len);
	EXPECT_TRUE(all_bytes(mem, off, 0));
	EXPECT_TRUE(all_bytes(mem + off + len, 4 * BLOCK - off - len, 0));
	fill(mem + off, len, 3);
	EXPECT_EQ(pread(fd, buf, len, off), (ssize_t)len);
	EXPECT_EQ(same(buf, len, 3), len);

	/* From and to itself */
	EXPECT_EQ(pwrite(fd, mem + off, MB, 3 * BLOCK), (ssize_t)MB);
	EXPECT_EQ(same(mem + 3 * BLOCK, MB, 3), MB);
	EXPECT_EQ(pread(fd, mem + 3 * BLOCK + MB / 2, MB, off), (ssize_t)MB);
	EXPECT_EQ(same(mem + 3 * BLOCK + MB / 2, MB, 3), MB);

	/* The end */
	EXPECT_EQ(pread(fd, buf, PAGE, 4 * BLOCK - 10), 10);
	EXPECT_EQ(pread(fd, buf, PAGE, 4 * BLOCK), 0);
	EXPECT_EQ(pread(fd, buf, PAGE, 1L << 50), 0);
	EXPECT_EQ(pwrite(fd, "end", 3, 4 * BLOCK + 5), 3);
	EXPECT_EQ(size_of(fd), 4 * BLOCK + 8);
	EXPECT_EQ(used(), 5);
	EXPECT_EQ(pread(fd, buf, PAGE, 4 * BLOCK), 8);
	EXPECT_EQ(memcmp(buf, "\0\0\0\0\0end", 8), 0);
	EXPECT_EQ(lseek(fd, 0, SEEK_END), 4 * BLOCK + 8);

	/* Into what can't be written to, from what can't be read */
	ASSERT_EQ(mprotect(mem, PAGE, PROT_NONE), 0);
	EXPECT_EQ(pread(fd, mem, PAGE, BLOCK), -1);
	EXPECT_EQ(errno, EFAULT);
	EXPECT_EQ(pwrite(fd, mem, PAGE, BLOCK), -1);
	EXPECT_EQ(errno, EFAULT);

	EXPECT_EQ(system("cp " NAME " " OTHER), 0);
	EXPECT_EQ(system("cmp " NAME " " OTHER), 0);
	EXPECT_EQ(system("dd if=" NAME " of=" OTHER DD_DIRECT), 0);
	EXPECT_EQ(system("cmp " NAME " " OTHER), 0);
	munmap(mem, 4 * BLOCK);
	close(fd);
	free(buf);
}

/* A disk's data would end up elsewhere, or not at all. */
TEST_F_TIMEOUT(guestramfs, direct_io_reaches_the_memory, TIMEOUT)
{
	const size_t start = BLOCK - 3 * PAGE + 512, len = BLOCK + 16 * PAGE;
	unsigned long populated = pool_stat(DAX, "populated");
	int fd = make_sized(NAME, 8 * MB), disk;
	char *mem, *buf = malloc(len);

	disk = open(DISK, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_GE(disk, 0);
	ASSERT_GE(fd, 0);
	mem = map(fd, 8 * MB, 0);
	ASSERT_NE(mem, MAP_FAILED);
	fill(mem + start, len, 4);
	EXPECT_EQ(pwrite(disk, mem + start, len, 0), (ssize_t)len);
	memset(mem, 0x5a, 8 * MB);
	EXPECT_EQ(pread(disk, mem + start, len, 0), (ssize_t)len);
	EXPECT_EQ(same(mem + start, len, 4), len);
	EXPECT_TRUE(all_bytes(mem, start, 0x5a));
	EXPECT_TRUE(all_bytes(mem + start + len, 8 * MB - start - len, 0x5a));
	EXPECT_EQ(pread(fd, buf, len, start), (ssize_t)len);
	EXPECT_EQ(same(buf, len, 4), len);
	EXPECT_GE(pool_stat(DAX, "populated"), populated + 3);
	munmap(mem, 8 * MB);
	close(disk);
	close(fd);
	free(buf);
}

/*
 * Giving memory up
 */

enum how { BY_UNLINK, BY_TRUNCATE, BY_PUNCH, NR_HOW };

static void give_up(enum how how, int *fd, size_t len)
{
	if (how == BY_TRUNCATE)
		ftruncate(*fd, 0);
	if (how == BY_PUNCH)
		punch(*fd, 0, len);
	unlink(NAME);
	if (how == BY_UNLINK) {
		close(*fd);
		*fd = -1;
	}
}

/* A disk or a network card would write to another guest's memory. */
TEST_F_TIMEOUT(guestramfs, pinned_memory_is_nobodys, TIMEOUT)
{
	const size_t len = 4 * BLOCK;
	struct pin pin;
	int fd, other;
	enum how how;
	char *mem;

	for (how = 0; how < NR_HOW; how++) {
		fd = make_sized(NAME, len);
		ASSERT_GE(fd, 0);
		mem = map(fd, len, 0);
		ASSERT_NE(mem, MAP_FAILED);
		fill(mem + BLOCK + PAGE, PAGE, how);
		ASSERT_TRUE(pin_page(&pin, mem + BLOCK + PAGE));
		munmap(mem, len);
		give_up(how, &fd, len);

		/* At once, and without a wait for the pin */
		EXPECT_TRUE(eventually(used() == 1));
		EXPECT_EQ(fs_stat("waiting"), 1);
		other = make(OTHER);
		ASSERT_GE(other, 0);
		EXPECT_EQ(ftruncate(other, BLOCKS * BLOCK), -1);
		EXPECT_EQ(errno, ENOSPC);
		ASSERT_EQ(ftruncate(other, (BLOCKS - 1) * BLOCK), 0);
		mem = map(other, (BLOCKS - 1) * BLOCK, 0);
		ASSERT_NE(mem, MAP_FAILED);
		memset(mem, 0xa5, (BLOCKS - 1) * BLOCK);

		/* The pin has what it had. */
		EXPECT_TRUE(unpin_page(&pin, how));
		EXPECT_TRUE(eventually(used() == BLOCKS - 1));
		EXPECT_EQ(fs_stat("waiting"), 0);
		EXPECT_EQ(ftruncate(other, BLOCKS * BLOCK), 0);
		munmap(mem, (BLOCKS - 1) * BLOCK);
		close(other);
		unlink(OTHER);
		if (fd >= 0)
			close(fd);
		EXPECT_TRUE(eventually(!used()));
	}
}

#define CAP	4

/* A guest whose I/O pins too much would stop that of all others. */
TEST_F_TIMEOUT(guestramfs, file_cannot_starve_another, TIMEOUT)
{
	struct pin pin[CAP + 1], more;
	char *mem, *theirs;
	int fd, other, i;

	ASSERT_EQ(umount(DIR), 0);
	EXPECT_EQ(mount_with(SIZE ",cap=0"), -EINVAL);
	ASSERT_EQ(mount_with(SIZE ",cap=4"), 0);
	fd = make_sized(NAME, 2 * CAP * BLOCK);
	other = make_sized(OTHER, 2 * CAP * BLOCK);
	ASSERT_GE(fd, 0);
	ASSERT_GE(other, 0);
	mem = map(fd, 2 * CAP * BLOCK, 0);
	theirs = map(other, 2 * CAP * BLOCK, 0);
	ASSERT_NE(mem, MAP_FAILED);
	ASSERT_NE(theirs, MAP_FAILED);
	memset(mem, 1, 2 * CAP * BLOCK);
	memset(theirs, 2, 2 * CAP * BLOCK);

	/* One after the other, as many as it wants */
	for (i = 0; i < 2 * CAP; i++) {
		ASSERT_TRUE(pin_page(&more, mem + i * BLOCK));
		drop_pin(&more);
	}
	for (i = 0; i < CAP; i++)
		ASSERT_TRUE(pin_page(&pin[i], mem + i * BLOCK));
	EXPECT_FALSE(pin_page(&more, mem + CAP * BLOCK));
	EXPECT_EQ(errno, ENOMEM);
	drop_pin(&more);
	/* What has struct pages is not charged again. */
	EXPECT_TRUE(pin_page(&more, mem + PAGE));
	drop_pin(&more);
	for (i = 0; i < CAP; i++) {
		ASSERT_TRUE(pin_page(&more, theirs + i * BLOCK));
		drop_pin(&more);
	}

	/* Its file outlives what it was charged with, or the reverse. */
	drop_pin(&pin[0]);
	ASSERT_TRUE(pin_page(&pin[0], mem + CAP * BLOCK));
	munmap(mem, 2 * CAP * BLOCK);
	munmap(theirs, 2 * CAP * BLOCK);
	close(fd);
	close(other);
	unlink(NAME);
	EXPECT_EQ(fs_stat("waiting"), CAP);
	for (i = 0; i < CAP; i++)
		drop_pin(&pin[i]);
}

/* A VMM that was killed in the midst of I/O would leave its memory behind. */
TEST_F_TIMEOUT(guestramfs, killed_process_leaves_nothing, TIMEOUT)
{
	int ready[2];
	pid_t pid;
	char c;

	ASSERT_EQ(pipe(ready), 0);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		int fd = make_sized(NAME, 8 * MB);
		char *mem = map(fd, 8 * MB, 0);
		struct pin pin;

		unlink(NAME);
		if (mem != MAP_FAILED && pin_page(&pin, mem + 3 * MB))
			write(ready[1], "", 1);
		pause();
		_exit(1);
	}
	close(ready[1]);
	ASSERT_EQ(read(ready[0], &c, 1), 1);
	EXPECT_EQ(used(), 4);
	EXPECT_EQ(pool_stat(DAX, "live"), 1);
	kill(pid, SIGKILL);
	EXPECT_EQ(wait_exit(pid), -SIGKILL);
	EXPECT_TRUE(eventually(!used()));
	close(ready[0]);
}

/* Memory that a guest gives back would stay its, or come back as it was. */
TEST_F_TIMEOUT(guestramfs, hole_is_zero_and_costs_nothing, TIMEOUT)
{
	const size_t len = 4 * BLOCK;
	int fd = make_sized(NAME, len), other;
	char *mem;

	ASSERT_GE(fd, 0);
	mem = map(fd, len, 0);
	ASSERT_NE(mem, MAP_FAILED);
	memset(mem, 0x5a, len);

	/* From the middle of the first block to that of the last */
	EXPECT_EQ(punch(fd, MB + 100, len - 2 * MB - 200), 0);
	EXPECT_TRUE(eventually(used() == 2));
	EXPECT_EQ(blocks_of(fd), 2);
	EXPECT_EQ(size_of(fd), (off_t)len);
	EXPECT_TRUE(all_bytes(mem, MB + 100, 0x5a));
	EXPECT_TRUE(all_bytes(mem + len - MB - 100, MB + 100, 0x5a));
	EXPECT_TRUE(all_bytes(mem + MB + 100, MB - 100, 0));
	EXPECT_TRUE(all_bytes(mem + len - 2 * MB, MB - 100, 0));

	/* A read has no need of memory, a touch has. */
	EXPECT_EQ(pread(fd, mem, PAGE, BLOCK), (ssize_t)PAGE);
	EXPECT_TRUE(all_bytes(mem, PAGE, 0));
	EXPECT_EQ(used(), 2);
	EXPECT_TRUE(all_bytes(mem + BLOCK, BLOCK, 0));
	EXPECT_EQ(used(), 3);
	memset(mem, 0x5a, len);
	EXPECT_EQ(used(), 4);
	EXPECT_EQ(fallocate(fd, FALLOC_FL_ZERO_RANGE, PAGE + 1, 2 * BLOCK), 0);
	EXPECT_EQ(used(), 4);
	EXPECT_TRUE(all_bytes(mem, PAGE + 1, 0x5a));
	EXPECT_TRUE(all_bytes(mem + PAGE + 1, 2 * BLOCK, 0));
	EXPECT_TRUE(all_bytes(mem + PAGE + 1 + 2 * BLOCK,
			      len - PAGE - 1 - 2 * BLOCK, 0x5a));

	/* In a hole, and only there, memory can be short later. */
	EXPECT_EQ(punch(fd, BLOCK, BLOCK), 0);
	EXPECT_TRUE(eventually(used() == 3));
	other = make_sized(OTHER, (BLOCKS - 3) * BLOCK);
	ASSERT_GE(other, 0);
	EXPECT_EQ(touch(mem + BLOCK), -SIGBUS);
	EXPECT_EQ(pwrite(fd, "x", 1, BLOCK), -1);
	EXPECT_EQ(errno, ENOSPC);
	EXPECT_EQ(touch(mem), 0);
	EXPECT_EQ(touch(mem + 2 * BLOCK), 0);
	close(other);
	unlink(OTHER);
	EXPECT_TRUE(eventually(touch(mem + BLOCK) == 0));
	munmap(mem, len);
	close(fd);
}

/* A way to memory that is another guest's would be left. */
TEST_F_TIMEOUT(guestramfs, truncate_takes_the_mapping, TIMEOUT)
{
	const size_t len = 4 * BLOCK;
	int fd = make_sized(NAME, len);
	char *mem;

	ASSERT_GE(fd, 0);
	mem = map(fd, len, 0);
	ASSERT_NE(mem, MAP_FAILED);
	memset(mem, 0x5a, len);
	EXPECT_EQ(ftruncate(fd, BLOCK + PAGE + 5), 0);
	EXPECT_TRUE(eventually(used() == 2));
	EXPECT_TRUE(all_bytes(mem, BLOCK + PAGE + 5, 0x5a));
	EXPECT_TRUE(all_bytes(mem + BLOCK + PAGE + 5, PAGE - 5, 0));
	EXPECT_EQ(touch(mem + BLOCK + 2 * PAGE), -SIGBUS);
	EXPECT_EQ(touch(mem + 2 * BLOCK), -SIGBUS);
	EXPECT_EQ(touch(mem + len - 1), -SIGBUS);
	EXPECT_EQ(touch(mem + BLOCK), 0);

	/* What comes back is zero. */
	EXPECT_EQ(ftruncate(fd, len), 0);
	EXPECT_TRUE(all_bytes(mem + BLOCK + PAGE + 5,
			      len - BLOCK - PAGE - 5, 0));
	munmap(mem, len);
	close(fd);
}

#define MANY	1000

/* A host that starts and stops guests all day would run out of memory. */
TEST_F_TIMEOUT(guestramfs, thousand_files_come_and_go, 2 * TIMEOUT)
{
	char path[64], *mem[MANY];
	int i, fd, round;

	ASSERT_EQ(umount(DIR), 0);
	ASSERT_EQ(mount_with(""), 0);
	ASSERT_GT(total(), MANY);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < MANY; i++) {
			snprintf(path, sizeof(path), DIR "/%d", i);
			fd = make_sized(path, BLOCK - i);
			ASSERT_GE(fd, 0);
			mem[i] = map(fd, BLOCK - i, 0);
			ASSERT_NE(mem[i], MAP_FAILED);
			close(fd);
			mem[i][i] = i;
		}
		EXPECT_EQ(used(), MANY);
		for (i = 0; i < MANY; i++) {
			snprintf(path, sizeof(path), DIR "/%d", i);
			ASSERT_EQ(unlink(path), 0);
		}
		EXPECT_EQ(used(), MANY);
		for (i = 0; i < MANY; i++) {
			ASSERT_EQ(mem[i][i], (char)i);
			ASSERT_EQ(mem[i][i ? 0 : 1], 0);
			ASSERT_EQ(munmap(mem[i], BLOCK - i), 0);
		}
		EXPECT_TRUE(eventually(!used()));
	}
}

/*
 * Mappings
 */

/* vhost-user back ends map what lies beside holes, and would get nothing. */
TEST_F_TIMEOUT(guestramfs, any_pages_can_be_mapped, TIMEOUT)
{
	const struct { off_t off; size_t len; } parts[] = {
		{ 0, 640 * KB }, { MB, 7 * MB }, { PAGE, PAGE },
		{ BLOCK - PAGE, 2 * PAGE }, { BLOCK + PAGE, BLOCK },
		{ 3 * PAGE, 7 * MB },
	};
	int fd = make_sized(NAME, 8 * MB);
	char *buf = malloc(8 * MB), *mem;
	size_t i;

	ASSERT_GE(fd, 0);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		mem = map(fd, parts[i].len, parts[i].off);
		ASSERT_NE(mem, MAP_FAILED);
		fill(mem, parts[i].len, i);
		EXPECT_EQ(pread(fd, buf, parts[i].len, parts[i].off),
			  (ssize_t)parts[i].len);
		EXPECT_EQ(same(buf, parts[i].len, i), parts[i].len);
		munmap(mem, parts[i].len);
	}
	free(buf);
	close(fd);
}

/* The memory would be mapped by small entries, and a guest slower. */
TEST_F_TIMEOUT(guestramfs, addresses_fit_large_entries, TIMEOUT)
{
	const size_t lens[] = { BLOCK, 7 * MB, GB, GB + 5 * MB };
	const off_t offs[] = { 0, MB, PAGE, 2 * BLOCK };
	size_t i, j, align;
	char *mem;
	int fd;

	ASSERT_EQ(umount(DIR), 0);
	ASSERT_EQ(mount_with(""), 0);
	fd = make_sized(NAME, 2 * GB);
	ASSERT_GE(fd, 0);
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		align = lens[i] >= GB ? GB : BLOCK;
		for (j = 0; j < ARRAY_SIZE(offs); j++) {
			mem = map(fd, lens[i], offs[j]);
			ASSERT_NE(mem, MAP_FAILED);
			EXPECT_EQ(((unsigned long)mem - offs[j]) % align, 0);
			munmap(mem, lens[i]);
		}
	}
	close(fd);
}

/* Page faults of this process so far */
static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* A guest would take 512 times the faults, in the host and in the guest. */
TEST_F_TIMEOUT(guestramfs, entries_are_as_large_as_they_fit, TIMEOUT)
{
	size_t off;
	long had;
	char *mem;
	int fd;

	ASSERT_EQ(umount(DIR), 0);
	ASSERT_EQ(mount_with(""), 0);
	fd = make_sized(NAME, GB + 16 * MB);
	ASSERT_GE(fd, 0);
	mem = map(fd, GB + 16 * MB, 0);
	ASSERT_NE(mem, MAP_FAILED);
	had = faults();
	for (off = 0; off < 16 * MB; off += PAGE)
		mem[GB + off] = 1;
	EXPECT_LE(faults() - had, 16);
	had = faults();
	for (off = 0; off < GB; off += BLOCK / 2)
		mem[off] = 1;
	EXPECT_LE(faults() - had, 4);
	munmap(mem, GB + 16 * MB);
	close(fd);
}

/* A guest's writes would be lost in a copy, or go where they must not. */
TEST_F_TIMEOUT(guestramfs, protection_and_sharing_count, TIMEOUT)
{
	int fd = make_sized(NAME, 4 * BLOCK), ro;
	char *mem, *again;
	pid_t pid;

	ASSERT_GE(fd, 0);
	EXPECT_EQ(mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0),
		  MAP_FAILED);
	EXPECT_EQ(errno, EINVAL);
	mem = mmap(NULL, BLOCK, PROT_READ, MAP_PRIVATE, fd, 0);
	if (mem != MAP_FAILED) {
		EXPECT_NE(mprotect(mem, BLOCK, PROT_READ | PROT_WRITE), 0);
		munmap(mem, BLOCK);
	}

	mem = map(fd, 4 * BLOCK, 0);
	again = map(fd, 4 * BLOCK, 0);
	ASSERT_NE(mem, MAP_FAILED);
	ASSERT_NE(again, MAP_FAILED);
	mem[BLOCK] = 1;
	EXPECT_EQ(again[BLOCK], 1);
	pid = fork();
	if (!pid) {
		mem[BLOCK + 1] = 2;
		_exit(mem[BLOCK] != 1);
	}
	EXPECT_EQ(wait_exit(pid), 0);
	EXPECT_EQ(again[BLOCK + 1], 2);

	EXPECT_EQ(mprotect(mem + BLOCK, PAGE, PROT_READ), 0);
	EXPECT_EQ(touch(mem + BLOCK), -SIGSEGV);
	EXPECT_EQ(touch(mem + BLOCK + PAGE), 0);
	EXPECT_EQ(munmap(mem + 2 * BLOCK + PAGE, PAGE), 0);
	EXPECT_EQ(touch(mem + 2 * BLOCK + PAGE), -SIGSEGV);
	EXPECT_EQ(touch(mem + 2 * BLOCK), 0);
	munmap(mem, 4 * BLOCK);
	munmap(again, 4 * BLOCK);

	ro = open(NAME, O_RDONLY | O_CLOEXEC);
	EXPECT_EQ(map(ro, BLOCK, 0), MAP_FAILED);
	EXPECT_EQ(errno, EACCES);
	EXPECT_EQ(ftruncate(ro, 0), -1);
	EXPECT_EQ(fallocate(ro, 0, 0, BLOCK), -1);
	close(ro);
	close(fd);
}

/* Calls that VMMs make on any memory would fail here. */
TEST_F_TIMEOUT(guestramfs, calls_on_mappings_work, TIMEOUT)
{
	unsigned char vec[2 * BLOCK / PAGE];
	int fd = make_sized(NAME, 4 * BLOCK);
	char *mem, *moved;

	ASSERT_GE(fd, 0);
	mem = map(fd, 2 * BLOCK, 0);
	ASSERT_NE(mem, MAP_FAILED);
	fill(mem, 2 * BLOCK, 5);
	EXPECT_EQ(msync(mem, 2 * BLOCK, MS_SYNC), 0);
	EXPECT_EQ(fsync(fd), 0);
	EXPECT_EQ(fdatasync(fd), 0);
	EXPECT_EQ(mincore(mem, 2 * BLOCK, vec), 0);
	EXPECT_EQ(mlock(mem, 2 * BLOCK), 0);
	EXPECT_EQ(munlock(mem, 2 * BLOCK), 0);
	EXPECT_EQ(madvise(mem, 2 * BLOCK, MADV_DONTDUMP), 0);
	EXPECT_EQ(madvise(mem, 2 * BLOCK, MADV_DONTFORK), 0);
	moved = mremap(mem, 2 * BLOCK, 2 * BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED,
		       mmap(NULL, 2 * BLOCK, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	ASSERT_NE(moved, MAP_FAILED);
	EXPECT_EQ(same(moved, 2 * BLOCK, 5), 2 * BLOCK);
	munmap(moved, 2 * BLOCK);
	close(fd);
}

/* virtio-mem and reports of free pages would fail in QEMU, which calls this. */
TEST_F_TIMEOUT(guestramfs, zapped_mapping_comes_back, TIMEOUT)
{
	const size_t len = 4 * BLOCK;
	int fd = make_sized(NAME, len);
	struct pin pin;
	char *mem;

	ASSERT_GE(fd, 0);
	mem = map(fd, len, 0);
	ASSERT_NE(mem, MAP_FAILED);
	fill(mem, len, 8);
	ASSERT_TRUE(pin_page(&pin, mem));
	EXPECT_EQ(madvise(mem, BLOCK, MADV_DONTNEED), 0);
	EXPECT_EQ(madvise(mem + BLOCK + PAGE, BLOCK, MADV_DONTNEED), 0);
	EXPECT_EQ(used(), 4);
	EXPECT_EQ(same(mem, len, 8), len);
	EXPECT_EQ(madvise(mem, len, MADV_FREE), -1);
	EXPECT_EQ(errno, EINVAL);

	/* As QEMU does it: the pinned block is not its any more. */
	EXPECT_EQ(punch(fd, 0, BLOCK), 0);
	EXPECT_EQ(madvise(mem, BLOCK, MADV_DONTNEED), 0);
	EXPECT_TRUE(all_bytes(mem, BLOCK, 0));
	EXPECT_EQ(used(), 5);
	EXPECT_TRUE(unpin_page(&pin, 8));
	EXPECT_TRUE(eventually(used() == 4));
	munmap(mem, len);
	close(fd);
}

struct toucher {
	pthread_t thread;
	char *mem;
	bool stop;
};

static void *touch_on(void *arg)
{
	struct toucher *t = arg;

	while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED))
		__atomic_fetch_add(t->mem, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* Whether what the log got since @kmsg was at its end has this word */
static bool log_says(int kmsg, const char *word)
{
	bool said = false;
	char line[8192];
	ssize_t len;

	while ((len = read(kmsg, line, sizeof(line) - 1)) > 0 ||
	       (len < 0 && errno == EPIPE)) {
		line[len > 0 ? len : 0] = 0;
		said |= !!strstr(line, word);
	}
	return said;
}

/* A TLB would have what is another guest's later, and the log "bad pud". */
TEST_F_TIMEOUT(guestramfs, zap_races_with_fault, TIMEOUT)
{
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), fd, i;
	struct toucher t = {};
	char *mem;

	ASSERT_GE(kmsg, 0);
	ASSERT_GE(lseek(kmsg, 0, SEEK_END), 0);

	ASSERT_EQ(umount(DIR), 0);
	ASSERT_EQ(mount_with(""), 0);
	fd = make_sized(NAME, GB);
	ASSERT_GE(fd, 0);
	mem = map(fd, GB, 0);
	ASSERT_NE(mem, MAP_FAILED);
	t.mem = mem + BLOCK;
	ASSERT_EQ(pthread_create(&t.thread, NULL, touch_on, &t), 0);
	for (i = 0; i < 20000; i++)
		ASSERT_EQ(madvise(mem, BLOCK, MADV_DONTNEED), 0);
	__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
	pthread_join(t.thread, NULL);
	EXPECT_TRUE(all_bytes(mem, BLOCK, 0));
	EXPECT_FALSE(log_says(kmsg, "bad pud"));
	munmap(mem, GB);
	close(fd);
	close(kmsg);
}

/*
 * VMMs, as far as their memory is concerned
 */

/* QEMU with mem-path=DIRECTORY; libvirt names the file, and unlinks it itself. */
TEST_F_TIMEOUT(guestramfs, qemu_gets_its_memory, TIMEOUT)
{
	const size_t len = 16 * MB;
	char path[] = DIR "/qemu_back_mem.ram.XXXXXX", *area, *mem;
	struct stat st;
	int fd;

	fd = mkstemp(path);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(unlink(path), 0);
	EXPECT_EQ(lseek(fd, 0, SEEK_END), 0);
	EXPECT_EQ(ftruncate(fd, len), 0);
	area = mmap(NULL, len + BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	ASSERT_NE(area, MAP_FAILED);
	mem = (char *)(((unsigned long)area + BLOCK - 1) & ~(BLOCK - 1));
	EXPECT_EQ(mmap(mem, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		       fd, 0), mem);
	EXPECT_EQ(fstat(fd, &st), 0);
	/* Preallocation touches each page if MADV_POPULATE_WRITE can't. */
	EXPECT_TRUE(!madvise(mem, len, MADV_POPULATE_WRITE) || errno == EINVAL);
	fill(mem, len, 6);
	/* virtio-mem and the balloon give back what the guest does. */
	EXPECT_EQ(punch(fd, 2 * BLOCK, 4 * BLOCK), 0);
	EXPECT_EQ(madvise(mem + 2 * BLOCK, 4 * BLOCK, MADV_DONTNEED), 0);
	EXPECT_TRUE(eventually(used() == 4));
	EXPECT_TRUE(all_bytes(mem + 2 * BLOCK, 4 * BLOCK, 0));
	munmap(area, len + BLOCK);
	close(fd);
	EXPECT_TRUE(eventually(!used()));
}

/* Cloud Hypervisor with file=DIRECTORY, and crosvm */
TEST_F_TIMEOUT(guestramfs, others_get_their_memory, TIMEOUT)
{
	const size_t len = 16 * MB;
	char path[] = DIR "/tmpfile_XXXXXX", *mem;
	int fd = mkstemp(path);

	ASSERT_GE(fd, 0);
	EXPECT_EQ(unlink(path), 0);
	EXPECT_EQ(ftruncate(fd, len), 0);
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_NORESERVE, fd, 0);
	ASSERT_NE(mem, MAP_FAILED);
	fill(mem, len, 7);
	EXPECT_EQ(punch(fd, BLOCK, BLOCK), 0);
	EXPECT_TRUE(eventually(used() == 7));
	/* By address instead of by file, as crosvm's balloon does */
	EXPECT_EQ(madvise(mem + 3 * BLOCK, 2 * BLOCK, MADV_REMOVE), 0);
	EXPECT_TRUE(eventually(used() == 5));
	EXPECT_TRUE(all_bytes(mem + 3 * BLOCK, 2 * BLOCK, 0));
	EXPECT_EQ(same(mem, BLOCK, 7), BLOCK);
	munmap(mem, len);
	close(fd);
	EXPECT_TRUE(eventually(!used()));

	/* A file that somebody else has made, mapped in parts */
	fd = make(NAME);
	EXPECT_EQ(fallocate(fd, 0, 0, len), 0);
	close(fd);
	fd = open(NAME, O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	mem = mmap(NULL, len / 2, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_POPULATE, fd, len / 2);
	ASSERT_NE(mem, MAP_FAILED);
	mem[0] = 1;
	munmap(mem, len / 2);
	close(fd);

	/* Without a name from the start */
	fd = open(DIR, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(ftruncate(fd, len), 0);
	EXPECT_EQ(used(), 16);
	close(fd);
	EXPECT_TRUE(eventually(used() == 8));
}

/*
 * What goes wrong
 */

/* What a process does that is killed at any moment */
struct victim {
	unsigned int seed;
	uint64_t stamp;
	int fd, disk;
	char *mem;
	size_t nr;
	bool has[6];	/* blocks: its stamp, or else zeroes or a hole */
	struct pin pin;
	bool pinned;
};

#define REQUIRE(condition)						\
do {									\
	if (!(condition)) {						\
		ksft_print_msg("line %d: %s\n", __LINE__, #condition);	\
		_exit(1);						\
	}								\
} while (0)

static off_t place(struct victim *v, size_t i)
{
	return i * BLOCK + v->stamp % 512 * PAGE;
}

static uint64_t *word(struct victim *v, size_t i)
{
	return (uint64_t *)(v->mem + place(v, i));
}

/* A hole may find no memory when it is touched, so it is filled before. */
static void stamp_block(struct victim *v, size_t i)
{
	if (fallocate(v->fd, 0, i * BLOCK, BLOCK)) {
		REQUIRE(errno == ENOSPC);
		return;
	}
	REQUIRE(*word(v, i) == (v->has[i] ? v->stamp : 0));
	*word(v, i) = v->stamp;
	v->has[i] = true;
}

static void drop_block(struct victim *v, size_t i)
{
	uint64_t got = 1;

	REQUIRE(!punch(v->fd, i * BLOCK, BLOCK));
	REQUIRE(!madvise(v->mem + i * BLOCK, BLOCK, MADV_DONTNEED));
	REQUIRE(pread(v->fd, &got, sizeof(got), place(v, i)) == sizeof(got));
	REQUIRE(!got);
	v->has[i] = false;
}

/* A pin has what it had, wherever the block has gone since. */
static void pin_block(struct victim *v, size_t i)
{
	uint64_t page[PAGE / sizeof(uint64_t)];

	if (v->pinned) {
		REQUIRE(read(v->pin.p[0], page, PAGE) == (ssize_t)PAGE);
		REQUIRE(*page == v->stamp);
		drop_pin(&v->pin);
		v->pinned = false;
	} else if (v->has[i]) {
		REQUIRE(pin_page(&v->pin, (char *)word(v, i)));
		v->pinned = true;
	}
}

/* read() and write() hold the block. */
static void copy_block(struct victim *v, size_t i)
{
	static char buf[MB];

	if (!v->has[i])
		return;
	REQUIRE(pread(v->fd, buf, MB, i * BLOCK) == (ssize_t)MB);
	REQUIRE(pwrite(v->fd, buf, MB, i * BLOCK) == (ssize_t)MB);
}

static void disk_block(struct victim *v, size_t i)
{
	uint64_t *at = word(v, i);

	if (!v->has[i])
		return;
	REQUIRE(pwrite(v->disk, at, PAGE, v->seed % 16 * PAGE) ==
		(ssize_t)PAGE);
	REQUIRE(pread(v->disk, at, PAGE, v->seed % 16 * PAGE) == (ssize_t)PAGE);
	/* That of another one who has written there in between, perhaps */
	REQUIRE(*at);
	*at = v->stamp;
}

static void fork_block(struct victim *v, size_t i)
{
	pid_t pid = fork();

	if (!pid) {
		for (i = 0; i < v->nr; i++)
			REQUIRE(!v->has[i] || *word(v, i) == v->stamp);
		_exit(0);
	}
	REQUIRE(pid < 0 || !wait_exit(pid));
}

static void (*const do_block[])(struct victim *v, size_t i) = {
	stamp_block, drop_block, pin_block, copy_block, disk_block, fork_block,
};

static void use_file(struct victim *v, const char *path)
{
	bool early = rand_r(&v->seed) % 2;
	size_t i;
	int n;

	v->nr = 1 + rand_r(&v->seed) % ARRAY_SIZE(v->has);
	memset(v->has, 0, sizeof(v->has));
	v->fd = make(path);
	REQUIRE(v->fd >= 0);
	if (ftruncate(v->fd, v->nr * BLOCK)) {
		REQUIRE(errno == ENOSPC);
		goto out;
	}
	v->mem = map(v->fd, v->nr * BLOCK, 0);
	REQUIRE(v->mem != MAP_FAILED);
	if (early)
		unlink(path);
	for (i = 0; i < v->nr; i++)
		stamp_block(v, i);
	for (n = rand_r(&v->seed) % 16; n; n--)
		do_block[rand_r(&v->seed) % ARRAY_SIZE(do_block)](v,
			rand_r(&v->seed) % v->nr);
	for (i = 0; i < v->nr; i++)
		REQUIRE(!v->has[i] || *word(v, i) == v->stamp);
	munmap(v->mem, v->nr * BLOCK);
out:
	if (v->pinned)
		pin_block(v, 0);
	close(v->fd);
	unlink(path);
}

static void use_files(unsigned int seed)
{
	struct victim v = { .seed = seed };
	char path[64];

	snprintf(path, sizeof(path), DIR "/%u", seed);
	v.disk = open(DISK, O_RDWR | O_DIRECT | O_CLOEXEC);
	REQUIRE(v.disk >= 0);
	for (v.stamp = (uint64_t)seed << 32 | 1;; v.stamp++)
		use_file(&v, path);
}

#define VICTIMS		4
#define STRESS_SECONDS	"20"

/*
 * A host where guests come and go and crash would lose memory, or mix it up. The
 * environment's STRESS_SECONDS can have that tried for longer, up to an hour.
 */
TEST_F_TIMEOUT(guestramfs, all_are_killed_at_any_moment, 3600)
{
	time_t end = time(NULL) + atoi(getenv("STRESS_SECONDS") ?: STRESS_SECONDS);
	unsigned int seed = 0, round;
	pid_t pid[VICTIMS];
	int i;

	for (round = 0; round < 3 || time(NULL) < end; round++) {
		for (i = 0; i < VICTIMS; i++) {
			seed++;
			pid[i] = fork();
			if (!pid[i]) {
				setpgid(0, i ? pid[0] : 0);
				use_files(seed);
			}
			ASSERT_EQ(setpgid(pid[i], pid[0]), 0);
		}
		usleep(rand_r(&seed) % 300000);
		EXPECT_EQ(kill(-pid[0], SIGKILL), 0);
		for (i = 0; i < VICTIMS; i++)
			EXPECT_EQ(wait_exit(pid[i]), -SIGKILL);
		ASSERT_EQ(system("rm -f " DIR "/*"), 0);
		ASSERT_TRUE(eventually(!used())) {
			TH_LOG("round %u: %ld blocks are used", round, used());
		}
	}
	ksft_print_msg("all were killed %u times\n", round);
}

/* Unplugging memory would hang, or leave a way to it. */
TEST_F_TIMEOUT(guestramfs, unbind_takes_the_memory, TIMEOUT)
{
	int fd = make_sized(NAME, 4 * BLOCK), status;
	struct pin pin;
	char *mem;
	pid_t pid;

	ASSERT_GE(fd, 0);
	mem = map(fd, 4 * BLOCK, 0);
	ASSERT_NE(mem, MAP_FAILED);
	fill(mem, PAGE, 8);
	ASSERT_TRUE(pin_page(&pin, mem));
	self->gone = true;
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		drop_pin(&pin);
		_exit(!!dax_unbind());
	}

	EXPECT_TRUE(eventually(touch(mem + BLOCK) == -SIGBUS));
	EXPECT_EQ(touch(mem), -SIGBUS);
	EXPECT_EQ(pread(fd, &status, 1, 0), -1);
	EXPECT_EQ(errno, EIO);
	EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
	EXPECT_EQ(errno, EIO);
	EXPECT_EQ(ftruncate(fd, 8 * BLOCK), -1);
	EXPECT_EQ(errno, EIO);
	EXPECT_EQ(fallocate(fd, 0, 0, BLOCK), -1);
	EXPECT_EQ(errno, EIO);
	EXPECT_EQ(map(fd, BLOCK, 0), MAP_FAILED);

	/* It waits for the pin. */
	EXPECT_EQ(waitpid(pid, &status, WNOHANG), 0);
	EXPECT_TRUE(unpin_page(&pin, 8));
	EXPECT_EQ(wait_exit(pid), 0);
	EXPECT_NE(access(DAX "driver", F_OK), 0);
	EXPECT_EQ(touch(mem), -SIGBUS);

	/* Somebody else can have the device while the mount is still there. */
	EXPECT_EQ(driver_bind(variant->direct_map), NULL);
	EXPECT_EQ(touch(mem), -SIGBUS);
	EXPECT_EQ(make_sized(OTHER, BLOCK), -1);
	munmap(mem, 4 * BLOCK);
	close(fd);
	unlink(NAME);
	ASSERT_EQ(umount(DIR), 0);
	self->gone = false;
	ASSERT_EQ(mount_with(SIZE), 0);
	EXPECT_EQ(used(), 0);
	fd = make_sized(NAME, BLOCK);
	EXPECT_GE(fd, 0);
	EXPECT_TRUE(sees_zero_mapped(fd, BLOCK));
	close(fd);
}

/* A guest would go on with bad data, or the next one would get the bad page. */
TEST_F_TIMEOUT(guestramfs, memory_error_hits_one_page, TIMEOUT)
{
	const off_t off = BLOCK + 5 * PAGE;
	struct bus_error error = {};
	unsigned long pfn;
	char *mem, *bad;
	long blocks;
	int fd;
	char c;

	if (access(HWPOISON "corrupt-pfn", F_OK))
		SKIP(return, "no hwpoison-inject");
	ASSERT_EQ(umount(DIR), 0);
	ASSERT_EQ(mount_with(""), 0);
	blocks = total();
	/* The first GiB of the device is the first that a file gets. */
	fd = make_sized(NAME, GB);
	ASSERT_GE(fd, 0);
	pfn = (strtoul(read_str(DAX "resource"), NULL, 0) + off) / PAGE;
	mem = map(fd, 4 * BLOCK, 0);
	ASSERT_NE(mem, MAP_FAILED);
	fill(mem, 4 * BLOCK, 9);
	bad = mem + off;

	ASSERT_TRUE(note_bus_errors(&error));
	EXPECT_EQ(madvise(bad, PAGE, MADV_HWPOISON), 0);
	EXPECT_TRUE(bus_error_came(&error, 1, BUS_MCEERR_AR, bad));
	EXPECT_EQ(same(mem, off, 9), off);
	EXPECT_EQ(bad[PAGE], (char)pattern(off + PAGE, 9));
	EXPECT_EQ(pread(fd, &c, 1, off), -1);
	EXPECT_EQ(errno, EIO);
	EXPECT_EQ(pread(fd, &c, 1, off + PAGE), 1);
	EXPECT_EQ(c, (char)pattern(off + PAGE, 9));
	EXPECT_EQ(fs_stat("bad"), 1);

	/* QEMU resets the guest: it punches the page's block out, and goes on. */
	EXPECT_EQ(punch(fd, BLOCK, BLOCK), 0);
	EXPECT_TRUE(all_bytes(mem + BLOCK, BLOCK, 0));
	fill(mem, 4 * BLOCK, 10);
	EXPECT_EQ(same(mem, 4 * BLOCK, 10), 4 * BLOCK);
	munmap(mem, 4 * BLOCK);
	close(fd);
	unlink(NAME);
	EXPECT_TRUE(eventually(!used()));

	/* All that is left can be had, and the bad block is not among it. */
	EXPECT_EQ(total(), blocks - 1);
	fd = make(NAME);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(ftruncate(fd, blocks * BLOCK), -1);
	EXPECT_EQ(errno, ENOSPC);
	EXPECT_EQ(ftruncate(fd, (blocks - 1) * BLOCK), 0);
	EXPECT_EQ(used(), blocks - 1);
	close(fd);
	EXPECT_EQ(write_ulong(HWPOISON "unpoison-pfn", pfn), 0);
}

int main(int argc, char **argv)
{
	int ret;

	if (geteuid())
		ksft_exit_skip("needs root\n");
	dax_save();
	nullb_make("tm_fast", "64", "10000");
	ret = test_harness_run(argc, argv);
	nullb_remove("tm_fast");
	dax_set_direct_map("static");
	dax_restore();
	return ret;
}
