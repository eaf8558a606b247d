// SPDX-License-Identifier: GPL-2.0
/*
 * Guests of KVM, which need no struct pages, and errors in memory that has a
 * transient memmap
 */
#define _GNU_SOURCE
#include <fcntl.h>

#include "transient_memmap_hwpoison.h"
#include "transient_memmap_kvm.h"
#include "transient_memmap_users.h"

#define GUEST_LEN	(8 * MB)

static int row_guest_create(struct guest *g, struct area *a)
{
	int fd;

	if (access("/dev/kvm", R_OK | W_OK))
		return user_skip("no /dev/kvm");
	fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	if (!guest_create(g, fd, a->mem, GUEST_LEN))
		return user_fail("can't make a guest: %m");
	return 0;
}

static int row_guest_destroy(struct guest *g, const char *why)
{
	guest_destroy(g);
	close(g->fd);
	return why ? user_fail("%s", why) : 0;
}

static const char *check_guest_faults(struct guest *g)
{
	const char *why;

	/* Nobody has touched it: KVM has it mapped in the VMM, and does the same. */
	why = guest_run(g);
	if (why)
		return why;
	if (!g->faults)
		return "the memory was mapped before";
	if (guest_stat(g, "pages_2m") <= 0)
		return "KVM maps it by small pages";

	/* With struct pages, which go; and mapped anew */
	if (!guest_remap(g, 1) || !user_hold(g->mem + GUEST_FIRST * PAGE))
		return "can't hold a block";
	why = guest_run(g);
	user_let_go();
	if (!pool_becomes("live", 0))
		return "KVM keeps a block";
	why = why ?: guest_run(g);
	guest_remap(g, 1);
	return why ?: guest_run(g);
}

static int guest_faults(struct area *a)
{
	struct guest g;

	return row_guest_create(&g, a) ?: row_guest_destroy(&g, check_guest_faults(&g));
}

static int pvclock(struct area *a)
{
	struct guest g;

	return row_guest_create(&g, a) ?:
	       row_guest_destroy(&g, guest_share(&g, &guest_pvclock));
}

static int steal_time(struct area *a)
{
	struct guest g;

	return row_guest_create(&g, a) ?:
	       row_guest_destroy(&g, guest_share(&g, &guest_steal_time));
}

static long pin_by_pipe(char *addr)
{
	struct iovec iov = { addr, PAGE };
	int p[2];
	long n;

	if (pipe(p))
		return -errno;
	n = vmsplice(p[1], &iov, 1, 0);
	n = n < 0 ? -errno : n;
	close(p[0]);
	close(p[1]);
	return n;
}

/*
 * Another process has the memory elsewhere, not from the device's start, and pins a
 * page of the same block.
 */
#define BAD		(4 * MB + 5 * PAGE)
#define ELSEWHERE	(2 * MB)

static int check_memory_error(struct area *a, struct mapper *other)
{
	struct bus_error error = {};
	char *bad = a->mem + BAD;
	long n;

	if (!note_bus_errors(&error) || madvise(bad, PAGE, MADV_HWPOISON))
		return user_fail("can't poison a page: %m");
	if (!bus_error_came(&error, 1, BUS_MCEERR_AR, bad))
		return user_fail("%d SIGBUS, of code %d, for %p, not %p", error.nr,
				 error.code, error.addr, bad);
	if (!bus_error_came(&other->error, 1, BUS_MCEERR_AO, other->mem + BAD - ELSEWHERE))
		return user_fail("%d SIGBUS in the other process, of code %d, for %p",
				 other->error.nr, other->error.code, other->error.addr);
	if (pin_by_pipe(bad - PAGE) != PAGE || pin_by_pipe(bad + PAGE) != PAGE)
		return user_fail("its neighbours can't be pinned");
	n = pin_by_pipe(bad);
	return n < 0 ? n : 0;
}

static int memory_error(struct area *a)
{
	unsigned long pfn = (strtoul(read_str(DAX "resource"), NULL, 0) + BAD) / PAGE;
	struct mapper *other;
	int ret, err;

	if (access(HWPOISON "corrupt-pfn", F_OK))
		return user_skip("no hwpoison-inject");
	other = mapper_start(ELSEWHERE, 4 * MB, BAD - ELSEWHERE - 3 * PAGE, a->mem,
			     a->len);
	if (!other)
		return user_fail("another process can't have the memory");
	ret = check_memory_error(a, other);
	if (!mapper_end(other) && ret != USER_FAIL)
		ret = user_fail("what the other process held is wrong");
	err = write_ulong(HWPOISON "unpoison-pfn", pfn);
	if (ret != USER_FAIL && (err || pin_by_pipe(a->mem + BAD) != PAGE))
		ret = user_fail("the page can't be had back");
	return ret;
}

const struct user kvm_users[] = {
	{ "KVM, guest faults", 0, NO_PINS, "maps pfns", guest_faults },
	{ "KVM, pvclock", 0, NO_PINS, "maps the pfn", pvclock },
	{ "KVM, steal time", 0, NO_PINS, "written by address", steal_time },
	{ "memory error", -EFAULT, PINS, "its neighbours work", memory_error },
	{}
};
