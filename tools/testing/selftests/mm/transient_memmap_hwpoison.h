/* SPDX-License-Identifier: GPL-2.0 */
/* Who maps a page that gets a memory error, and what they are told */
#ifndef _TRANSIENT_MEMMAP_HWPOISON_H
#define _TRANSIENT_MEMMAP_HWPOISON_H

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "transient_memmap_util.h"

#define HWPOISON	"/sys/kernel/debug/hwpoison/"

/* The last SIGBUS of a process, and how many there were */
struct bus_error {
	atomic_int nr;
	int code;
	int lsb;
	char *addr;
};

static struct bus_error *bus_error;

static inline void note_bus_error(int sig, siginfo_t *info, void *context)
{
	bus_error->code = info->si_code;
	bus_error->lsb = info->si_addr_lsb;
	bus_error->addr = info->si_addr;
	bus_error->nr++;
	/* Anything else would come again and again. */
	if (info->si_code != BUS_MCEERR_AR && info->si_code != BUS_MCEERR_AO)
		signal(SIGBUS, SIG_DFL);
}

static inline bool note_bus_errors(struct bus_error *error)
{
	struct sigaction action = {
		.sa_sigaction = note_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART,
	};

	bus_error = error;
	return !sigaction(SIGBUS, &action, NULL);
}

/* Whether one of @code came for the page at @addr, and was the @nr-th */
static inline bool bus_error_came(struct bus_error *error, int nr, int code,
				  const char *addr)
{
	int i;

	/* A signal to another process takes a moment. */
	for (i = 0; i < 1000 && error->nr < nr; i++)
		usleep(10000);
	return error->nr == nr && error->code == code && error->addr == addr &&
	       1UL << error->lsb == PAGE;
}

/* Another process that maps /dev/dax0.0, in memory that both see */
struct mapper {
	struct bus_error error;
	char *mem;
	atomic_int ready;
	int end;
	pid_t pid;
};

#define HOLDS_NOTHING	ULONG_MAX

/* Holds a page by a pipe until it is told to end. */
static inline int mapper_run(struct mapper *m, off_t off, size_t len,
			     unsigned long hold, int end)
{
	int fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC), held[2];
	char buf[PAGE];
	struct iovec iov = { .iov_len = PAGE };

	m->mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, off);
	if (m->mem == MAP_FAILED || !note_bus_errors(&m->error) || pipe(held))
		return 1;
	if (hold != HOLDS_NOTHING) {
		iov.iov_base = m->mem + hold;
		fill(iov.iov_base, PAGE, 21);
		if (vmsplice(held[1], &iov, 1, 0) != PAGE)
			return 1;
	}
	m->ready = 1;
	read(end, buf, 1);
	return hold != HOLDS_NOTHING &&
	       (read(held[0], buf, PAGE) != PAGE || same(buf, PAGE, 21) != PAGE);
}

/*
 * Start one. It maps @len from @off on and nothing else, not what the caller has
 * at @mine; and holds the page at @hold, from the start of its mapping, or
 * HOLDS_NOTHING.
 */
static inline struct mapper *mapper_start(off_t off, size_t len, unsigned long hold,
					  void *mine, size_t mine_len)
{
	struct mapper *m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int end[2], i;
	pid_t pid;

	if (m == MAP_FAILED || pipe2(end, O_CLOEXEC))
		return NULL;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* As a VMM does, to be told of errors that others meet */
		prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
		close(end[1]);
		munmap(mine, mine_len);
		_exit(mapper_run(m, off, len, hold, end[0]));
	}
	close(end[0]);
	m->pid = pid;
	m->end = end[1];
	for (i = 0; i < 1000 && !m->ready; i++)
		usleep(10000);
	return m->ready ? m : NULL;
}

/* Whether what it held was right until the end */
static inline bool mapper_end(struct mapper *m)
{
	int status;
	bool ok;

	write(m->end, "", 1);
	close(m->end);
	ok = waitpid(m->pid, &status, 0) == m->pid && !status;
	munmap(m, sizeof(*m));
	return ok;
}

#endif /* _TRANSIENT_MEMMAP_HWPOISON_H */
