// SPDX-License-Identifier: GPL-2.0
/*
 * Other processes, debuggers, futexes, and all that looks at a mapping or at the
 * pages of the machine, with memory that has a transient memmap
 */
#define _GNU_SOURCE
#include <linux/elf.h>
#include <linux/futex.h>
#include <linux/kernel-page-flags.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "transient_memmap_users.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif

/* From the end of one block to the beginning of the next */
#define LEN	(3 * PAGE + 5)
#define PLACE(a) ((a)->mem + 2 * MB - PAGE - 3)

/* The memory in another process, of the same address there */

static pid_t other_process(void)
{
	pid_t pid = fork();

	if (!pid) {
		pause();
		_exit(0);
	}
	return pid;
}

static void end_process(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

typedef long (*remote_fn)(pid_t pid, bool write, char *local, char *remote, size_t len);

static int check_remote(struct area *a, remote_fn access)
{
	static char buf[LEN];
	char *mem = PLACE(a);
	pid_t pid = other_process();
	long n;
	int ret = 0;

	fill(mem, LEN, 1);
	n = access(pid, false, buf, mem, LEN);
	if (n != LEN)
		ret = n < 0 ? n : user_fail("%ld of %lu bytes were read", n, LEN);
	else if (same(buf, LEN, 1) != LEN)
		ret = user_fail("what was read is wrong");
	if (ret)
		goto out;

	fill(buf, LEN, 2);
	n = access(pid, true, buf, mem, LEN);
	if (n != LEN)
		ret = n < 0 ? n : user_fail("%ld of %lu bytes were written", n, LEN);
	else if (same(mem, LEN, 2) != LEN)
		ret = user_fail("what was written is wrong");
out:
	end_process(pid);
	return ret;
}

static long by_process_vm(pid_t pid, bool write, char *local, char *remote, size_t len)
{
	struct iovec here = { local, len }, there = { remote, len };
	long n = write ? process_vm_writev(pid, &here, 1, &there, 1, 0) :
			 process_vm_readv(pid, &here, 1, &there, 1, 0);

	return n < 0 ? -errno : n;
}

static long by_proc_mem(pid_t pid, bool write, char *local, char *remote, size_t len)
{
	char path[64];
	long n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	n = write ? pwrite(fd, local, len, (unsigned long)remote) :
		    pread(fd, local, len, (unsigned long)remote);
	n = n < 0 ? -errno : n;
	close(fd);
	return n;
}

static long by_ptrace(pid_t pid, bool write, char *local, char *remote, size_t len)
{
	long err = 0, word;
	size_t i, n;

	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) || waitpid(pid, NULL, 0) != pid)
		return -errno;
	for (i = 0; i < len && !err; i += n) {
		n = len - i < sizeof(word) ? len - i : sizeof(word);
		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, pid, remote + i, NULL);
		err = -errno;
		if (write && !err) {
			memcpy(&word, local + i, n);
			if (ptrace(PTRACE_POKEDATA, pid, remote + i, word))
				err = -errno;
		} else if (!err) {
			memcpy(local + i, &word, n);
		}
	}
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return err ?: (long)len;
}

/* By files: that is how gdb dumps and restores memory. */
static long by_gdb(pid_t pid, bool write, char *local, char *remote, size_t len)
{
	int fd = open("bytes", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	long n = -EIO;

	if (write && pwrite(fd, local, len, 0) != (ssize_t)len)
		goto out;
	if (write ? sh("gdb -nx -batch -p %d -ex 'restore bytes binary %p'", pid, remote) :
		    sh("gdb -nx -batch -p %d -ex 'dump binary memory bytes %p %p'", pid,
		       remote, remote + len))
		goto out;
	n = write ? (long)len : pread(fd, local, len, 0);
out:
	close(fd);
	return n;
}

static int process_vm(struct area *a) { return check_remote(a, by_process_vm); }
static int proc_mem(struct area *a) { return check_remote(a, by_proc_mem); }
static int ptraced(struct area *a) { return check_remote(a, by_ptrace); }

static int debugged(struct area *a)
{
	return have_program("gdb") ? check_remote(a, by_gdb) : user_skip("no gdb");
}

/* Pipes */

static int spliced(struct area *a)
{
	struct iovec iov = { PLACE(a), LEN };
	static char buf[LEN];
	int fds[2], ret = 0;
	long n;

	fill(PLACE(a), LEN, 3);
	if (pipe(fds))
		return user_fail("no pipe: %m");
	n = vmsplice(fds[1], &iov, 1, 0);
	if (n < 0)
		return -errno;
	/* What is in the pipe are the pages: a change is seen. */
	PLACE(a)[LEN - 1] ^= 1;
	if (n != LEN || read(fds[0], buf, LEN) != LEN)
		ret = user_fail("%ld bytes went through the pipe", n);
	else if (memcmp(buf, PLACE(a), LEN))
		ret = user_fail("what came out of the pipe is wrong");
	close(fds[0]);
	close(fds[1]);
	return ret;
}

/* The pipe holds a block, and the cap counts it. */
static int spliced_beyond_cap(struct area *a)
{
	unsigned long cap = pool_get("cap");
	struct iovec iov = { a->mem + 6 * MB, 1 };
	int fds[2], ret = 0;

	if (!user_hold(a->mem) || pipe(fds))
		return user_fail("nothing is held: %m");
	pool_set("cap", 1);
	if (vmsplice(fds[1], &iov, 1, 0) < 0)
		ret = -errno;
	pool_set("cap", cap);
	user_let_go();
	return ret;
}

/* Futexes */

static long futex(void *word, int op, int val)
{
	static const struct timespec soon = { .tv_nsec = 1000000 };
	long n = syscall(SYS_futex, word, op, val, &soon, NULL, 0);

	return n < 0 ? -errno : n;
}

static int futex_private(struct area *a)
{
	int *word = (int *)a->mem;
	long n;

	*word = 1;
	n = futex(word, FUTEX_WAIT_PRIVATE, 1);
	if (n != -ETIMEDOUT)
		return n;
	n = futex(word, FUTEX_WAIT_PRIVATE, 0);
	if (n != -EAGAIN)
		return n;
	return futex(word, FUTEX_WAKE_PRIVATE, 1);
}

static int futex_shared(struct area *a)
{
	return futex(a->mem, FUTEX_WAKE, 1);
}

/* A thread dies with a lock in the memory, and so does the list it is on. */
static int futex_robust(struct area *a)
{
	struct lock {
		struct robust_list list;
		int word;
	} *lock = (void *)(a->mem + 100 * PAGE);
	struct robust_list_head *head = (void *)(a->mem + 4 * MB);
	pid_t pid;

	lock->list.next = &head->list;
	head->list.next = &lock->list;
	head->futex_offset = offsetof(struct lock, word);
	head->list_op_pending = NULL;
	pid = fork();
	if (!pid) {
		lock->word = getpid();
		_exit(syscall(SYS_set_robust_list, head, sizeof(*head)) ? 1 : 0);
	}
	waitpid(pid, NULL, 0);
	return (lock->word & FUTEX_OWNER_DIED) ? 0 :
		user_fail("the word is %#x, owner %#x", lock->word, pid);
}

/* Core dumps: a file that does not have the memory */

static int core_dump(struct area *a)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	char was[256];
	struct stat st;
	pid_t pid;
	int ret = 0;

	strcpy(was, read_str("/proc/sys/kernel/core_pattern"));
	if (write_str("/proc/sys/kernel/core_pattern", "/tmp/core.tm"))
		return user_skip("no core dumps");
	memset(a->mem, 0x77, a->len);
	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_CORE, &unlimited);
		write_str("/proc/self/coredump_filter", "0xff");
		abort();
	}
	waitpid(pid, NULL, 0);
	write_str("/proc/sys/kernel/core_pattern", was);
	if (stat("/tmp/core.tm", &st))
		ret = user_fail("no core file: %m");
	else if (!st.st_blocks || st.st_blocks * 512 > (off_t)a->len / 2)
		ret = user_fail("the core file has %ld KiB", st.st_blocks / 2);
	return ret;
}

/*
 * Answers to calls on a mapping: those that any PFNMAP gives. All of a 2 MiB entry
 * at a time, as device-dax lets no mapping be split elsewhere. msync() and
 * MADV_REMOVE are the file's to answer, not the mapping's.
 */

struct call {
	const char *name;
	long (*fn)(char *mem, size_t len, int arg);
	int arg;
};

static long do_madvise(char *mem, size_t len, int arg)
{
	return madvise(mem, len, arg);
}

static long do_mlock(char *mem, size_t len, int arg)
{
	return mlock(mem, len);
}

static long do_munlock(char *mem, size_t len, int arg)
{
	return munlock(mem, len);
}

static long do_mprotect(char *mem, size_t len, int arg)
{
	return mprotect(mem, len, arg);
}

static long do_mincore(char *mem, size_t len, int arg)
{
	unsigned char vec[2 * MB / PAGE];

	return mincore(mem, len, vec) ?: vec[0];
}

static long do_mbind(char *mem, size_t len, int arg)
{
	unsigned long nodes = 1;

	return syscall(SYS_mbind, mem, len, arg, &nodes, 64,
		       MPOL_MF_MOVE | MPOL_MF_STRICT);
}

static long do_move_pages(char *mem, size_t len, int arg)
{
	void *page = mem;
	int node = 0, status = 1;

	return syscall(SYS_move_pages, 0, 1, &page, arg ? &node : NULL, &status, 0) ?:
		status;
}

static long do_uffd(char *mem, size_t len, int arg)
{
	struct uffdio_register reg = {
		.range = { (unsigned long)mem, len }, .mode = arg
	};
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC), ret;

	ioctl(fd, UFFDIO_API, &api);
	ret = ioctl(fd, UFFDIO_REGISTER, &reg);
	close(fd);
	return ret;
}

/* Elsewhere, and back again */
static long do_mremap(char *mem, size_t len, int arg)
{
	char *at = mmap(NULL, 4 * MB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *p;

	at = (char *)(((unsigned long)at + 2 * MB - 1) & ~(2 * MB - 1));
	p = mremap(mem, len, len, MREMAP_MAYMOVE | arg, at);
	if (p == MAP_FAILED)
		return -1;
	return mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, mem) == mem ? 0 : 1;
}

#define CALL(fn, arg)	{ #fn " " #arg, do_##fn, arg }

static const struct call calls[] = {
	CALL(mincore, 0), CALL(mlock, 0), CALL(munlock, 0),
	CALL(madvise, MADV_NORMAL), CALL(madvise, MADV_RANDOM),
	CALL(madvise, MADV_WILLNEED), CALL(madvise, MADV_DONTNEED),
	CALL(madvise, MADV_FREE),
	CALL(madvise, MADV_DONTFORK), CALL(madvise, MADV_DOFORK),
	CALL(madvise, MADV_MERGEABLE), CALL(madvise, MADV_UNMERGEABLE),
	CALL(madvise, MADV_HUGEPAGE), CALL(madvise, MADV_NOHUGEPAGE),
	CALL(madvise, MADV_DONTDUMP), CALL(madvise, MADV_WIPEONFORK),
	CALL(madvise, MADV_COLD), CALL(madvise, MADV_PAGEOUT),
	CALL(madvise, MADV_POPULATE_READ), CALL(madvise, MADV_POPULATE_WRITE),
	CALL(madvise, MADV_COLLAPSE),
	CALL(mbind, MPOL_BIND), CALL(move_pages, 0), CALL(move_pages, 1),
	CALL(uffd, UFFDIO_REGISTER_MODE_MISSING), CALL(uffd, UFFDIO_REGISTER_MODE_WP),
	CALL(mremap, MREMAP_FIXED), CALL(mprotect, PROT_READ),
	CALL(mprotect, PROT_READ | PROT_WRITE),
};

/* A PFNMAP of somebody else: the registers of a PCI device, or NULL */
static char *other_pfnmap(void)
{
	FILE *f = popen("ls -d /sys/bus/pci/devices/*/resource[0-5] 2>/dev/null", "r");
	char path[PATH_MAX], *mem = MAP_FAILED;
	int fd;

	while (f && mem == MAP_FAILED && fgets(path, sizeof(path), f)) {
		path[strcspn(path, "\n")] = 0;
		fd = open(path, O_RDWR | O_CLOEXEC);
		mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	if (f)
		pclose(f);
	return mem == MAP_FAILED ? NULL : mem;
}

static int mapping_calls(struct area *a)
{
	char *other = other_pfnmap(), *mem = a->mem + 8 * MB;
	char wrong[200] = "";
	size_t i, n = 0;

	if (!other)
		return user_skip("no PCI device to compare with");
	memset(mem, 0x42, 2 * MB);
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		long ours, theirs;
		int our_errno, their_errno;

		errno = 0;
		ours = calls[i].fn(mem, 2 * MB, calls[i].arg);
		our_errno = errno;
		errno = 0;
		theirs = calls[i].fn(other, PAGE, calls[i].arg);
		their_errno = errno;
		if (ours == theirs && (ours != -1 || our_errno == their_errno))
			continue;
		n += snprintf(wrong + n, n < sizeof(wrong) ? sizeof(wrong) - n : 0,
			      "%s: %ld %s, not %ld %s; ", calls[i].name, ours,
			      ours == -1 ? strerrorname_np(our_errno) : "", theirs,
			      theirs == -1 ? strerrorname_np(their_errno) : "");
	}
	if (*wrong)
		return user_fail("%s", wrong);
	if (!all_bytes(mem, 2 * MB, 0x42))
		return user_fail("the memory changed");
	return 0;
}

/* fork, faults, munmap, exit */
static int faults(struct area *a)
{
	int status;
	pid_t pid;

	memset(a->mem, 0x33, a->len);
	pid = fork();
	if (!pid) {
		memset(a->mem + a->len / 2, 0x44, a->len / 2);
		munmap(a->mem, a->len / 4);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status || !all_bytes(a->mem, a->len / 2, 0x33) ||
	    !all_bytes(a->mem + a->len / 2, a->len / 2, 0x44))
		return user_fail("the child's bytes are not there");
	return 0;
}

/*
 * Those that look at all pages of the machine, with nothing there of this memory
 * and with a block populated
 */

static int check_walker(struct area *a, int (*walk)(struct area *a))
{
	int ret;

	fill(a->mem, 8 * MB, 5);
	ret = walk(a);
	if (ret)
		return ret;
	if (!user_hold(a->mem + 2 * MB))
		return user_fail("nothing can be held: %m");
	ret = walk(a);
	user_let_go();
	if (!ret && same(a->mem, 8 * MB, 5) != 8 * MB)
		ret = user_fail("the memory changed");
	return ret;
}

static unsigned long first_pfn(void)
{
	return strtoul(read_str(DAX "resource"), NULL, 0) / PAGE;
}

/* 8 bytes for each page: what the kernel tells of ours, all of it */
static int run_page_files(struct area *a)
{
	static const char *const files[] = {
		"/proc/kpagecount", "/proc/kpageflags", "/proc/kpagecgroup"
	};
	static uint64_t buf[AREA_LEN / PAGE];
	size_t i, n;
	int fd;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		fd = open(files[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (pread(fd, buf, sizeof(buf), first_pfn() * 8) != sizeof(buf))
			return user_fail("can't read %s: %m", files[i]);
		close(fd);
		/* There is no page, or one that nobody should act on. */
		for (n = 0; i == 1 && n < ARRAY_SIZE(buf); n++)
			if (buf[n] & (1 << KPF_LRU | 1 << KPF_BUDDY | 1 << KPF_MMAP))
				return user_fail("page %zu has flags %#lx", n, buf[n]);
	}
	return 0;
}

static int run_pagemap(struct area *a)
{
	static uint64_t buf[AREA_LEN / PAGE];
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t i;

	if (fd < 0 || pread(fd, buf, sizeof(buf), (unsigned long)a->mem / PAGE * 8) !=
	    sizeof(buf))
		return user_fail("can't read pagemap: %m");
	close(fd);
	for (i = 0; i < ARRAY_SIZE(buf); i++)
		if (buf[i])
			return user_fail("page %zu: %#lx", i, buf[i]);
	return sh("cat /proc/self/smaps /proc/%d/numa_maps >/dev/null", getpid()) ?
		user_fail("can't read smaps and numa_maps") : 0;
}

/* None of its segments may be of the device. */
static int run_kcore(struct area *a)
{
	unsigned long start = first_pfn() * PAGE;
	int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	struct elf64_phdr ph;
	struct elf64_hdr eh;
	int i, ram = 0;

	if (fd < 0)
		return user_skip("no /proc/kcore");
	if (read(fd, &eh, sizeof(eh)) != sizeof(eh))
		return user_fail("can't read the head of /proc/kcore: %m");
	for (i = 0; i < eh.e_phnum; i++) {
		if (pread(fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph)) != sizeof(ph))
			return user_fail("can't read segment %d of /proc/kcore: %m", i);
		if (ph.p_type != PT_LOAD || ph.p_paddr == -1UL)
			continue;
		ram++;
		if (ph.p_paddr < start + a->len && start < ph.p_paddr + ph.p_memsz)
			return user_fail("segment %d has physical address %#lx", i, start);
	}
	close(fd);
	return ram ? 0 : user_fail("/proc/kcore has no memory");
}

/* Maps what it reads by itself: root sees the guest's memory. */
static int run_dev_mem(struct area *a)
{
	unsigned long start = first_pfn() * PAGE;
	int fd = open("/dev/mem", O_RDWR | O_CLOEXEC);
	static char buf[PAGE];
	size_t off;
	void *map;

	if (fd < 0)
		return user_skip("no /dev/mem");
	for (off = 0; off <= 2 * MB; off += 2 * MB) {
		if (pread(fd, buf, PAGE, start + off) < 0)
			return errno == EPERM ? user_skip("CONFIG_IO_STRICT_DEVMEM") :
				user_fail("read: %m");
		if (memcmp(buf, a->mem + off, PAGE))
			return user_fail("read something else");
		map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, start + off);
		if (map == MAP_FAILED)
			return user_fail("mmap: %m");
		if (memcmp(map, a->mem + off, PAGE))
			return user_fail("mapped something else");
		munmap(map, PAGE);
	}
	close(fd);

	/* Uncached it can't be: the device's mappings are not. */
	fd = open("/dev/mem", O_RDWR | O_DSYNC | O_CLOEXEC);
	for (off = 0; off <= 2 * MB; off += 2 * MB) {
		map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, start + off);
		if (map != MAP_FAILED)
			return user_fail("mapped uncached what is mapped cached");
		if (errno != EINVAL && errno != EAGAIN)
			return user_fail("mmap uncached: %m");
	}
	close(fd);
	return 0;
}

static int run_page_idle(struct area *a)
{
	int fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR | O_CLOEXEC);
	static uint64_t buf[AREA_LEN / PAGE / 64];
	size_t i;

	if (fd < 0)
		return user_skip("no page_idle");
	memset(buf, 0xff, sizeof(buf));
	if (pwrite(fd, buf, sizeof(buf), first_pfn() / 8) != sizeof(buf) ||
	    pread(fd, buf, sizeof(buf), first_pfn() / 8) != sizeof(buf))
		return user_fail("bitmap: %m");
	close(fd);
	for (i = 0; i < ARRAY_SIZE(buf); i++)
		if (buf[i])
			return user_fail("a page is idle: bits %#lx", buf[i]);
	return 0;
}

static int run_compaction(struct area *a)
{
	unsigned long nodes = 1;

	if (write_str("/proc/sys/vm/compact_memory", "1") ||
	    write_str("/proc/sys/vm/drop_caches", "3"))
		return user_skip("no compaction");
	return syscall(SYS_migrate_pages, 0, 64, &nodes, &nodes) < 0 ?
		user_fail("migrate_pages: %m") : 0;
}

static int run_ksm(struct area *a)
{
	const char *run = "/sys/kernel/mm/ksm/run";
	unsigned long scans;
	char *anon;
	int i;

	/* It scans only if there is something for it. */
	anon = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	memset(anon, 1, 16 * PAGE);
	madvise(anon, 16 * PAGE, MADV_MERGEABLE);
	madvise(a->mem, a->len, MADV_MERGEABLE);
	madvise(a->mem, a->len, MADV_HUGEPAGE);
	write_ulong("/sys/kernel/mm/ksm/sleep_millisecs", 1);
	scans = strtoul(read_str("/sys/kernel/mm/ksm/full_scans"), NULL, 0);
	if (write_str(run, "1"))
		return user_skip("no KSM");
	for (i = 0; i < 500; i++) {
		if (strtoul(read_str("/sys/kernel/mm/ksm/full_scans"), NULL, 0) >
		    scans + 1)
			break;
		usleep(10000);
	}
	write_str(run, "0");
	munmap(anon, 16 * PAGE);
	return i < 500 ? 0 : user_fail("KSM does not scan");
}

/* Watch the physical addresses, and this process. */
static int run_damon(struct area *a)
{
	unsigned long start = first_pfn() * PAGE;
	int ret;

	if (access("/sys/kernel/mm/damon/admin", F_OK))
		return user_skip("no DAMON");
	ret = sh("set -e; cd /sys/kernel/mm/damon/admin/kdamonds; echo 1 >nr_kdamonds; cd 0;"
		 "echo 1 >contexts/nr_contexts; cd contexts/0; echo paddr >operations;"
		 "echo 1 >targets/nr_targets; cd targets/0/regions; echo 1 >nr_regions;"
		 "echo %lu >0/start; echo %lu >0/end; cd ../../../../..; echo on >state;"
		 "sleep 1; echo off >state; echo 0 >../nr_kdamonds", start,
		 start + a->len);
	if (ret)
		return user_fail("DAMON does not watch the physical addresses");
	ret = sh("set -e; cd /sys/kernel/mm/damon/admin/kdamonds; echo 1 >nr_kdamonds; cd 0;"
		 "echo 1 >contexts/nr_contexts; cd contexts/0; echo vaddr >operations;"
		 "echo 1 >targets/nr_targets; echo %d >targets/0/pid_target; cd ../..;"
		 "echo on >state; sleep 1; echo off >state; echo 0 >../nr_kdamonds",
		 getpid());
	return ret ? user_fail("DAMON does not watch this process") : 0;
}

static int run_numa(struct area *a)
{
	char was[256];

	strcpy(was, read_str("/proc/sys/kernel/numa_balancing"));
	if (write_str("/proc/sys/kernel/numa_balancing", "1"))
		return user_skip("no NUMA balancing");
	usleep(500000);
	write_str("/proc/sys/kernel/numa_balancing", was);
	return 0;
}

static int walk_page_files(struct area *a) { return check_walker(a, run_page_files); }
static int walk_pagemap(struct area *a) { return check_walker(a, run_pagemap); }
static int walk_kcore(struct area *a) { return check_walker(a, run_kcore); }
static int walk_dev_mem(struct area *a) { return check_walker(a, run_dev_mem); }
static int walk_idle(struct area *a) { return check_walker(a, run_page_idle); }
static int walk_compaction(struct area *a) { return check_walker(a, run_compaction); }
static int walk_ksm(struct area *a) { return check_walker(a, run_ksm); }
static int walk_damon(struct area *a) { return check_walker(a, run_damon); }
static int walk_numa(struct area *a) { return check_walker(a, run_numa); }

const struct user gup_users[] = {
	{ "page faults, fork, munmap, exit", 0, NO_PINS, "no struct page needed", faults },
	{ "vmsplice", 0, PINS, NULL, spliced },
	{ "vmsplice beyond the cap", -ENOMEM, NO_PINS, "a full pipe counts",
	  spliced_beyond_cap },
	{ "process_vm_readv, process_vm_writev", 0, PINS, NULL, process_vm },
	{ "/proc/PID/mem", 0, PINS, NULL, proc_mem },
	{ "ptrace", 0, PINS, NULL, ptraced },
	{ "gdb", 0, PINS, NULL, debugged },
	{ "futex, private", 0, NO_PINS, "known by its address", futex_private },
	{ "futex, shared", -EFAULT, PINS, "no page cache to know it by",
	  futex_shared },
	{ "futex, robust list", 0, NO_PINS, "known by its address", futex_robust },
	{ "core dump", 0, NO_PINS, "a hole, as for any PFNMAP", core_dump },
	{ "calls on the mapping", 0, NO_PINS, "answer as for any PFNMAP", mapping_calls },
	{ "kpagecount, kpageflags, kpagecgroup", 0, NO_PINS, "reads what is there",
	  walk_page_files },
	{ "pagemap, smaps, numa_maps", 0, NO_PINS, "skip PFNMAP", walk_pagemap },
	{ "/proc/kcore", 0, NO_PINS, "not System RAM", walk_kcore },
	{ "/dev/mem", 0, NO_PINS, "maps what it reads", walk_dev_mem },
	{ "page_idle", 0, NO_PINS, "never on an LRU list", walk_idle },
	{ "compaction, migration", 0, NO_PINS, "not System RAM", walk_compaction },
	{ "KSM, khugepaged", 0, NO_PINS, "not anonymous", walk_ksm },
	{ "DAMON", 0, NO_PINS, "never on an LRU list", walk_damon },
	{ "NUMA balancing", 0, NO_PINS, "skips PFNMAP", walk_numa },
	{}
};
