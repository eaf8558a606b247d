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
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
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
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
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

/* From the pipe on to a file, which has a copy, or a socket, which has the pages */
static int spliced_on(struct area *a, int to, int from)
{
	struct iovec iov = { PLACE(a), LEN };
	static char buf[LEN];
	size_t done;
	int fds[2];
	long n;

	fill(PLACE(a), LEN, 4);
	if (pipe(fds))
		return user_fail("no pipe: %m");
	n = vmsplice(fds[1], &iov, 1, 0);
	if (n < 0)
		return -errno;
	for (done = 0; done < LEN; done += n) {
		n = splice(fds[0], NULL, to, NULL, LEN - done, 0);
		if (n <= 0)
			return user_fail("%zu bytes were spliced: %m", done);
	}
	if (to != from)
		PLACE(a)[LEN - 1] ^= 1;
	else
		lseek(from, 0, SEEK_SET);
	for (done = 0; done < LEN; done += n) {
		n = read(from, buf + done, LEN - done);
		if (n <= 0)
			return user_fail("%zu bytes arrived: %m", done);
	}
	close(fds[0]);
	close(fds[1]);
	return memcmp(buf, PLACE(a), LEN) ? user_fail("what arrived is wrong") : 0;
}

static int spliced_to_file(struct area *a)
{
	int fd = open("spliced", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	return fd < 0 ? user_fail("no file: %m") : spliced_on(a, fd, fd);
}

/*
 * All of it on one CPU: what a CPU has read from the socket is freed on the CPU
 * that sent it, the next time that it has packets, and until then it is pinned.
 */
static int spliced_to_socket(struct area *a)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(sin);
	int from, to, ret;
	cpu_set_t cpu;

	if (unshare(CLONE_NEWNET) || sh("ip link set lo up"))
		return user_skip("no network namespaces");
	CPU_ZERO(&cpu);
	CPU_SET(sched_getcpu(), &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu))
		return user_fail("can't stay on a CPU: %m");
	from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listen(from, 1) || getsockname(from, (struct sockaddr *)&sin, &len) ||
	    connect(to, (struct sockaddr *)&sin, sizeof(sin)))
		return user_fail("can't connect: %m");
	from = accept(from, NULL, NULL);
	ret = spliced_on(a, to, from);
	close(to);
	close(from);
	return ret;
}

/*
 * A pipe full of pinned blocks leaves nothing of a cap of as many: a pin waits for a
 * second, and is refused then.
 */
static int spliced_beyond_cap(struct area *a)
{
	const int slots = 16;
	struct iovec iov = { a->mem + slots * 2 * MB, 1 };
	unsigned long cap = pool_limit(DAX, "cap");
	int full[2], other[2], i, ret = 0;
	char buf[16];

	fill(a->mem, (slots + 1) * 2 * MB, 6);
	if (pipe(full) || pipe(other) ||
	    fcntl(full[1], F_SETPIPE_SZ, slots * PAGE) != slots * (int)PAGE)
		return user_fail("no pipe of %d slots: %m", slots);
	pool_set("cap", slots);
	for (i = 0; i < slots && !ret; i++) {
		struct iovec one = { a->mem + i * 2 * MB, 1 };

		if (vmsplice(full[1], &one, 1, SPLICE_F_NONBLOCK) != 1)
			ret = user_fail("block %d does not go into the pipe: %m", i);
	}
	if (!ret && (vmsplice(full[1], &iov, 1, SPLICE_F_NONBLOCK) != -1 ||
		     errno != EAGAIN))
		ret = user_fail("the pipe is not full: %m");
	if (!ret && vmsplice(other[1], &iov, 1, 0) < 0)
		ret = -errno;
	/* Drained, it lets another one have the room. */
	if (ret == -ENOMEM) {
		if (read(full[0], buf, slots) != slots)
			ret = user_fail("the pipe can't be read: %m");
		for (i = 0; i < slots && ret == -ENOMEM; i++)
			if ((uint8_t)buf[i] != pattern(i * 2 * MB, 6))
				ret = user_fail("byte %d out of the pipe is wrong", i);
	}
	if (ret == -ENOMEM && (vmsplice(other[1], &iov, 1, 0) != 1 ||
			       read(other[0], buf, 1) != 1 || *buf != *(char *)iov.iov_base))
		ret = user_fail("refused still, with the pipe drained: %m");
	pool_set("cap", cap);
	return ret;
}

/* Futexes */

static long futex(void *word, int op, int val, int seconds)
{
	const struct timespec ts = { .tv_sec = seconds };
	long n = syscall(SYS_futex, word, op, val, &ts, NULL, 0);

	return n < 0 ? -errno : n;
}

/* A thread that waits */
struct waiter {
	pthread_t thread;
	pid_t tid;
	int *word, op, val, seconds;
	long result;
};

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;

	__atomic_store_n(&w->tid, gettid(), __ATOMIC_RELEASE);
	w->result = futex(w->word, w->op, w->val, w->seconds);
	return NULL;
}

static bool waiter_sleeps(struct waiter *w)
{
	pid_t tid = __atomic_load_n(&w->tid, __ATOMIC_ACQUIRE);
	const char *state;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	state = tid ? strrchr(read_str(path), ')') : NULL;
	return state && state[2] == 'S';
}

/* Returns when it waits; or else a while later. */
static bool waiter_start(struct waiter *w)
{
	int i;

	if (pthread_create(&w->thread, NULL, waiter_main, w))
		return false;
	for (i = 0; i < 100 && !waiter_sleeps(w); i++)
		usleep(10000);
	return true;
}

static int futex_private(struct area *a)
{
	struct waiter w = {
		.word = (int *)a->mem, .op = FUTEX_WAIT_PRIVATE, .val = 1, .seconds = 20,
	};
	long n;
	int i;

	*w.word = 1;
	n = futex(w.word, FUTEX_WAIT_PRIVATE, 0, 0);
	if (n != -EAGAIN)
		return n;
	if (!waiter_start(&w))
		return user_fail("no thread: %m");
	for (i = 0, n = 0; i < 1000 && !n; i++) {
		n = futex(w.word, FUTEX_WAKE_PRIVATE, 1, 0);
		if (!n)
			usleep(10000);
	}
	pthread_join(w.thread, NULL);
	if (n == 1 && w.result)
		return w.result;
	return n == 1 ? 0 : n ?: user_fail("nobody was woken");
}

static int futex_shared(struct area *a)
{
	int *word = (int *)a->mem;
	long n;

	*word = 1;
	n = futex(word, FUTEX_WAIT, 1, 1);
	return n == -EFAULT ? futex(word, FUTEX_WAKE, 1, 0) : n;
}

/*
 * A thread dies with a lock that is in the memory, and so is the list it is on.
 * Somebody waits for it: with FUTEX_WAIT, as is usual, or FUTEX_WAIT_PRIVATE.
 */

struct lock {
	struct robust_list list;
	int word;
};

struct robust {
	struct robust_list_head head;
	struct lock lock;
	int die;
};

static void *robust_owner(void *arg)
{
	struct robust *r = arg;

	if (!syscall(SYS_set_robust_list, &r->head, sizeof(r->head)))
		__atomic_store_n(&r->lock.word, gettid() | FUTEX_WAITERS, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&r->die, __ATOMIC_ACQUIRE))
		usleep(10000);
	return NULL;
}

/* The result of waiting, or USER_FAIL if the lock is not what the dead left */
static long robust_wait(char *mem, int op, int seconds)
{
	struct robust *r = (struct robust *)mem;
	struct waiter w = { .word = &r->lock.word, .op = op, .seconds = seconds };
	pthread_t owner;
	int i;

	memset(r, 0, sizeof(*r));
	r->lock.list.next = &r->head.list;
	r->head.list.next = &r->lock.list;
	r->head.futex_offset = offsetof(struct lock, word);
	if (pthread_create(&owner, NULL, robust_owner, r))
		return user_fail("no thread: %m");
	for (i = 0; i < 1000 && !w.val; i++) {
		usleep(10000);
		w.val = __atomic_load_n(w.word, __ATOMIC_ACQUIRE);
	}
	if (!waiter_start(&w))
		return user_fail("no thread: %m");
	__atomic_store_n(&r->die, 1, __ATOMIC_RELEASE);
	pthread_join(owner, NULL);
	pthread_join(w.thread, NULL);
	if (*w.word != (int)(FUTEX_WAITERS | FUTEX_OWNER_DIED))
		return user_fail("the word is %#x, was %#x", *w.word, w.val);
	return w.result;
}

/*
 * The dead owner's lock is marked. A waiter would have to use a shared futex, which
 * is refused, so nobody waits forever. A private futex isn't woken, in any memory.
 */
static int futex_robust(struct area *a)
{
	char *other = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			   -1, 0);
	const struct {
		char *mem;
		int op, seconds;
		long result;
	} tries[] = {
		{ other, FUTEX_WAIT, 20, 0 },
		{ other, FUTEX_WAIT_PRIVATE, 1, -ETIMEDOUT },
		{ a->mem + 100 * PAGE, FUTEX_WAIT_PRIVATE, 1, -ETIMEDOUT },
		{ a->mem + 100 * PAGE, FUTEX_WAIT, 20, -EFAULT },
	};
	size_t i;
	long n;

	for (i = 0; i < ARRAY_SIZE(tries); i++) {
		n = robust_wait(tries[i].mem, tries[i].op, tries[i].seconds);
		if (n == USER_FAIL)
			return n;
		if (n != tries[i].result)
			return user_fail("waiter %zu: %ld, not %ld", i, n,
					 tries[i].result);
	}
	munmap(other, PAGE);
	return 0;
}

/* Core dumps: a file that does not have the memory, though it is told to have all */

/* How much of the mapping at @mem is in the file, or -1 if it can't tell */
static long core_has(int fd, const char *mem)
{
	struct elf64_phdr ph;
	struct elf64_hdr eh;
	int i;

	if (fd < 0 || pread(fd, &eh, sizeof(eh), 0) != sizeof(eh))
		return -1;
	for (i = 0; i < eh.e_phnum; i++)
		if (pread(fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph)) == sizeof(ph) &&
		    ph.p_type == PT_LOAD && ph.p_vaddr == (unsigned long)mem)
			return ph.p_filesz;
	return -1;
}

static int core_dump(struct area *a)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	char was[256], *other;
	int fd, ret = 0;
	pid_t pid;

	strcpy(was, read_str("/proc/sys/kernel/core_pattern"));
	if (write_str("/proc/sys/kernel/core_pattern", SCRATCH "/core"))
		return user_skip("no core dumps");
	memset(a->mem, 0x77, a->len);
	other = mmap(NULL, 1 * MB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(other, 0x77, 1 * MB);
	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_CORE, &unlimited);
		write_str("/proc/self/coredump_filter", "0x1ff");
		abort();
	}
	waitpid(pid, NULL, 0);
	write_str("/proc/sys/kernel/core_pattern", was);
	fd = open(SCRATCH "/core", O_RDONLY | O_CLOEXEC);
	if (core_has(fd, other) != 1 * MB)
		ret = user_fail("no core file, or one without shared memory");
	else if (core_has(fd, a->mem))
		ret = user_fail("the core file has %ld bytes of it", core_has(fd, a->mem));
	close(fd);
	munmap(other, 1 * MB);
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
	CALL(madvise, MADV_SEQUENTIAL), CALL(madvise, MADV_WILLNEED),
	CALL(madvise, MADV_FREE),
	CALL(madvise, MADV_DONTFORK), CALL(madvise, MADV_DOFORK),
	CALL(madvise, MADV_MERGEABLE), CALL(madvise, MADV_UNMERGEABLE),
	CALL(madvise, MADV_HUGEPAGE), CALL(madvise, MADV_NOHUGEPAGE),
	CALL(madvise, MADV_DONTDUMP), CALL(madvise, MADV_DODUMP),
	CALL(madvise, MADV_WIPEONFORK), CALL(madvise, MADV_KEEPONFORK),
	CALL(madvise, MADV_COLD), CALL(madvise, MADV_PAGEOUT),
	CALL(madvise, MADV_POPULATE_READ), CALL(madvise, MADV_POPULATE_WRITE),
	CALL(madvise, MADV_COLLAPSE),
	CALL(madvise, MADV_GUARD_INSTALL), CALL(madvise, MADV_GUARD_REMOVE),
	CALL(mbind, MPOL_BIND), CALL(move_pages, 0), CALL(move_pages, 1),
	CALL(uffd, UFFDIO_REGISTER_MODE_MISSING), CALL(uffd, UFFDIO_REGISTER_MODE_WP),
	CALL(uffd, UFFDIO_REGISTER_MODE_MINOR),
	CALL(mremap, MREMAP_FIXED), CALL(mprotect, PROT_NONE),
	CALL(mprotect, PROT_READ), CALL(mprotect, PROT_READ | PROT_WRITE),
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

/* A page of ordinary memory, of the same contents as ours, and its pfn or 0 */
static char *ordinary_page(unsigned long *pfn)
{
	char *mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	fill(mem, PAGE, 5);
	if (pread(fd, &entry, 8, (unsigned long)mem / PAGE * 8) != 8)
		entry = 0;
	close(fd);
	*pfn = entry & ((1ULL << 55) - 1);
	return mem;
}

/* 8 bytes for each page: what the kernel tells of ours, all of it, is nothing. */
static int run_page_files(struct area *a)
{
	static const char *const files[] = {
		"/proc/kpagecount", "/proc/kpageflags", "/proc/kpagecgroup"
	};
	static uint64_t buf[AREA_LEN / PAGE];
	unsigned long pfn;
	char *page = ordinary_page(&pfn);
	uint64_t other;
	size_t i, n;
	int fd;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		fd = open(files[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0 && i == 2)
			continue;
		if (pread(fd, &other, 8, pfn * 8) != 8 ||
		    pread(fd, buf, sizeof(buf), first_pfn() * 8) != sizeof(buf))
			return user_fail("can't read %s: %m", files[i]);
		close(fd);
		/* The control group may be none. */
		if (!other && i < 2)
			return user_fail("%s knows no page", files[i]);
		for (n = 0; n < ARRAY_SIZE(buf); n++)
			if (buf[n] && !(i == 1 && buf[n] == 1ULL << KPF_NOPAGE))
				return user_fail("%s, page %zu: %#lx", files[i], n, buf[n]);
	}
	munmap(page, PAGE);
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

/*
 * None of its segments may be of the device, and nothing of it can be read where
 * it would be if they were: beyond the end of memory, seen from a segment of that.
 */
static int run_kcore(struct area *a)
{
	unsigned long start = first_pfn() * PAGE, pfn;
	int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	char buf[PAGE], *page = ordinary_page(&pfn);
	off_t ram = 0;
	struct elf64_phdr ph;
	struct elf64_hdr eh;
	size_t off;
	int i;

	if (fd < 0)
		return user_skip("no /proc/kcore");
	if (read(fd, &eh, sizeof(eh)) != sizeof(eh))
		return user_fail("can't read the head of /proc/kcore: %m");
	for (i = 0; i < eh.e_phnum; i++) {
		if (pread(fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph)) != sizeof(ph))
			return user_fail("can't read segment %d of /proc/kcore: %m", i);
		if (ph.p_type != PT_LOAD || ph.p_paddr == -1UL)
			continue;
		if (ph.p_paddr < start + a->len && start < ph.p_paddr + ph.p_memsz)
			return user_fail("segment %d has physical address %#lx", i, start);
		if (pfn * PAGE >= ph.p_paddr && pfn * PAGE < ph.p_paddr + ph.p_memsz)
			ram = ph.p_offset - ph.p_paddr;
	}
	if (!ram || pread(fd, buf, PAGE, ram + pfn * PAGE) != PAGE ||
	    memcmp(buf, page, PAGE))
		return user_fail("/proc/kcore does not have page %#lx", pfn);
	for (off = 0; off < 8 * MB; off += PAGE)
		if (pread(fd, buf, PAGE, ram + start + off) > 0 &&
		    !all_bytes(buf, PAGE, 0))
			return user_fail("/proc/kcore has physical address %#lx",
					 start + off);
	close(fd);
	munmap(page, PAGE);
	return 0;
}

/* What a crash dump is made of is what /proc/iomem says is System RAM. */
static int run_iomem(struct area *a)
{
	unsigned long start = first_pfn() * PAGE, from, to;
	unsigned long end = start + strtoul(read_str(DAX "size"), NULL, 0);
	FILE *f = fopen("/proc/iomem", "r");
	bool device = false, ram = false;
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		device = device || (from <= start && to >= end - 1);
		if (!strstr(line, "System RAM"))
			continue;
		ram = ram || to;
		if (from < end && start <= to)
			return user_fail("it is System RAM: %s", line);
	}
	if (f)
		fclose(f);
	return device && ram ? 0 : user_fail("/proc/iomem does not have it");
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

/* A file with a number in it, which has another one for a while */
struct knob {
	const char *path;
	unsigned long value, was;
};

static bool knobs_set(struct knob *knob)
{
	bool ok = true;

	for (; knob->path; knob++) {
		knob->was = strtoul(read_str(knob->path), NULL, 0);
		ok &= !write_ulong(knob->path, knob->value);
	}
	return ok;
}

static void knobs_restore(const struct knob *knob)
{
	for (; knob->path; knob++)
		write_ulong(knob->path, knob->was);
}

/* Wait half a minute for a file's number to have grown by @n. */
static bool file_grows(const char *path, unsigned long from, unsigned long n)
{
	int i;

	for (i = 0; i < 3000; i++) {
		if (strtoul(read_str(path), NULL, 0) >= from + n)
			return true;
		usleep(10000);
	}
	return false;
}

#define KSM	"/sys/kernel/mm/ksm/"

/* There are anonymous pages for it beside, and it has to merge these. */
static int run_ksm(struct area *a)
{
	struct knob knobs[] = {
		{ KSM "sleep_millisecs", 1 }, { KSM "run", 1 }, {}
	};
	unsigned long scans = strtoul(read_str(KSM "full_scans"), NULL, 0);
	int ret = 0;
	char *anon;

	anon = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	memset(anon, 1, 16 * PAGE);
	madvise(anon, 16 * PAGE, MADV_MERGEABLE);
	madvise(a->mem, a->len, MADV_MERGEABLE);
	if (!knobs_set(knobs))
		ret = user_skip("no KSM");
	else if (!file_grows(KSM "full_scans", scans, 2) ||
		 !file_grows(KSM "pages_sharing", 0, 15))
		ret = user_fail("KSM does not merge");
	knobs_restore(knobs);
	munmap(anon, 16 * PAGE);
	return ret;
}

#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"

/* There are small pages for it beside, and it has to make a huge one of these. */
static int run_khugepaged(struct area *a)
{
	struct knob knobs[] = {
		{ KHUGEPAGED "scan_sleep_millisecs", 10 },
		{ KHUGEPAGED "alloc_sleep_millisecs", 10 }, {}
	};
	unsigned long scans = strtoul(read_str(KHUGEPAGED "full_scans"), NULL, 0);
	unsigned long huge = strtoul(read_str(KHUGEPAGED "pages_collapsed"), NULL, 0);
	int ret = 0;
	char *anon;

	if (access(KHUGEPAGED, F_OK))
		return user_skip("no khugepaged");
	anon = mmap(NULL, 4 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(anon, 4 * MB, MADV_NOHUGEPAGE);
	memset(anon, 1, 4 * MB);
	madvise(anon, 4 * MB, MADV_HUGEPAGE);
	madvise(a->mem, a->len, MADV_HUGEPAGE);
	if (!knobs_set(knobs) || !file_grows(KHUGEPAGED "pages_collapsed", huge, 1) ||
	    !file_grows(KHUGEPAGED "full_scans", scans, 2))
		ret = user_fail("khugepaged does not scan");
	knobs_restore(knobs);
	munmap(anon, 4 * MB);
	return ret;
}

#define DAMON	"/sys/kernel/mm/damon/admin/kdamonds"

/* Watch something until a scheme that only counts has had regions. */
static int damon_watches(const char *operations, const char *target)
{
	int ret;

	ret = sh("set -e; cd " DAMON "; echo 1 >nr_kdamonds; cd 0;"
		 "echo 1 >contexts/nr_contexts; cd contexts/0; echo %s >operations;"
		 "echo 1 >targets/nr_targets; %s; echo 1 >schemes/nr_schemes;"
		 "cd schemes/0; echo stat >action; cd access_pattern;"
		 "for i in sz nr_accesses age; do echo 4294967295 >$i/max; done;"
		 "cd " DAMON "/0; echo on >state; i=0; n=0;"
		 "while [ $n = 0 ] && [ $i -lt 200 ]; do sleep 0.1; i=$((i + 1));"
		 "echo update_schemes_stats >state;"
		 "read -r n <contexts/0/schemes/0/stats/nr_tried; done;"
		 "echo off >state; [ $n != 0 ]", operations, target);
	sh("echo 0 >" DAMON "/nr_kdamonds");
	return ret;
}

/* Watch the physical addresses, and this process. */
static int run_damon(struct area *a)
{
	unsigned long start = first_pfn() * PAGE;
	char target[256];

	if (access(DAMON, F_OK))
		return user_skip("no DAMON");
	snprintf(target, sizeof(target), "(cd targets/0/regions; echo 1 >nr_regions;"
		 "echo %lu >0/start; echo %lu >0/end)", start, start + a->len);
	if (damon_watches("paddr", target))
		return user_fail("DAMON does not watch the physical addresses");
	snprintf(target, sizeof(target), "echo %d >targets/0/pid_target", getpid());
	return damon_watches("vaddr", target) ?
		user_fail("DAMON does not watch this process") : 0;
}

#define NUMAB	"/sys/kernel/debug/sched/numa_balancing/"

/* Of reading a byte of each page */
static long faults_of_reading(const char *mem, size_t len)
{
	struct rusage before, after;
	size_t i;

	getrusage(RUSAGE_THREAD, &before);
	for (i = 0; i < len; i += PAGE)
		(void)__atomic_load_n(mem + i, __ATOMIC_RELAXED);
	getrusage(RUSAGE_THREAD, &after);
	return after.ru_minflt - before.ru_minflt;
}

static void *spin(void *arg)
{
	for (;;)
		;
	return NULL;
}

/*
 * A process that has run for a while, by two threads, as pages on the node of a
 * single one are left alone. All of its mappings are scanned twice, and what gives
 * faults then are the anonymous pages.
 */
static int numa_process(struct area *a)
{
	unsigned long updates = named_number("/proc/vmstat", "numa_pte_updates %lu"), seq;
	time_t end = time(NULL) + 40;
	long hints = 0, faults;
	pthread_t thread;
	char *anon;

	anon = mmap(NULL, 1 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(anon, 1, 1 * MB);
	faults_of_reading(a->mem, a->len);
	if (pthread_create(&thread, NULL, spin, NULL))
		return user_fail("no thread: %m");
	do {
		seq = named_number("/proc/self/sched", "mm->numa_scan_seq : %lu");
		hints += faults_of_reading(anon, 1 * MB);
	} while (time(NULL) < end &&
		 (seq < 2 || !hints ||
		  named_number("/proc/vmstat", "numa_pte_updates %lu") == updates));
	faults = faults_of_reading(a->mem, a->len);
	if (time(NULL) >= end)
		return user_fail("%lu scans, %ld hint faults", seq, hints);
	return faults ? user_fail("reading it gives %ld faults", faults) : 0;
}

static int run_numa(struct area *a)
{
	struct knob knobs[] = {
		{ NUMAB "scan_delay_ms", 10 }, { NUMAB "scan_period_min_ms", 10 },
		{ NUMAB "scan_period_max_ms", 20 }, { NUMAB "scan_size_mb", 256 },
		{ "/proc/sys/kernel/numa_balancing", 1 }, {}
	};
	int ret = USER_FAIL;
	pid_t pid;

	if (!knobs_set(knobs)) {
		ret = user_skip("no NUMA balancing, or no debugfs");
	} else {
		pid = fork();
		if (!pid)
			_exit(numa_process(a));
		if (waitpid(pid, &ret, 0) == pid && ret)
			ret = USER_FAIL;
	}
	knobs_restore(knobs);
	return ret;
}

static int walk_page_files(struct area *a) { return check_walker(a, run_page_files); }
static int walk_pagemap(struct area *a) { return check_walker(a, run_pagemap); }
static int walk_kcore(struct area *a) { return check_walker(a, run_kcore); }
static int walk_iomem(struct area *a) { return check_walker(a, run_iomem); }
static int walk_dev_mem(struct area *a) { return check_walker(a, run_dev_mem); }
static int walk_idle(struct area *a) { return check_walker(a, run_page_idle); }
static int walk_compaction(struct area *a) { return check_walker(a, run_compaction); }
static int walk_ksm(struct area *a) { return check_walker(a, run_ksm); }
static int walk_khugepaged(struct area *a) { return check_walker(a, run_khugepaged); }
static int walk_damon(struct area *a) { return check_walker(a, run_damon); }
static int walk_numa(struct area *a) { return check_walker(a, run_numa); }

const struct user gup_users[] = {
	{ "page faults, fork, munmap, exit", 0, NO_PINS, "no struct page needed", faults },
	{ "vmsplice", 0, PINS, NULL, spliced },
	{ "splice to a file", 0, PINS, NULL, spliced_to_file },
	{ "splice to a socket", 0, PINS, NULL, spliced_to_socket },
	{ "vmsplice beyond the cap", -ENOMEM, PINS, "a full pipe counts",
	  spliced_beyond_cap },
	{ "process_vm_readv, process_vm_writev", 0, PINS, NULL, process_vm },
	{ "/proc/PID/mem", 0, PINS, NULL, proc_mem },
	{ "ptrace", 0, PINS, NULL, ptraced },
	{ "gdb", 0, PINS, NULL, debugged },
	{ "futex, private", 0, NO_PINS, "known by its address", futex_private },
	{ "futex, shared", -EFAULT, PINS, "no page cache to know it by",
	  futex_shared },
	{ "futex, robust list", 0, PINS, "marked; nobody can wait",
	  futex_robust },
	{ "core dump", 0, NO_PINS, "left out, as any PFNMAP", core_dump },
	{ "calls on the mapping", 0, NO_PINS, "answer as for any PFNMAP", mapping_calls },
	{ "kpagecount, kpageflags, kpagecgroup", 0, NO_PINS, "reads what is there",
	  walk_page_files },
	{ "pagemap, smaps, numa_maps", 0, NO_PINS, "see special entries", walk_pagemap },
	{ "/proc/kcore", 0, NO_PINS, "not System RAM", walk_kcore },
	{ "crash dump", 0, NO_PINS, "not System RAM", walk_iomem },
	{ "/dev/mem", 0, NO_PINS, "maps what it reads", walk_dev_mem },
	{ "page_idle", 0, NO_PINS, "never on an LRU list", walk_idle },
	{ "compaction, migration", 0, NO_PINS, "not System RAM", walk_compaction },
	{ "KSM", 0, NO_PINS, "not anonymous", walk_ksm },
	{ "khugepaged", 0, NO_PINS, "not anonymous", walk_khugepaged },
	{ "DAMON", 0, NO_PINS, "never on an LRU list", walk_damon },
	{ "NUMA balancing", 0, NO_PINS, "skips PFNMAP", walk_numa },
	{}
};
