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

/*
 * A guest with paging, which has its state saved to a page of its memory, and loaded:
 * KVM does that, if the CPU does not, and pins the page.
 */
static const unsigned char svm_code[] = {
	0xb8, 0x00, 0x00, 0x40, 0x00,	/* mov $0x400000, %eax */
	0x0f, 0x01, 0xdb,		/* vmsave */
	0xe6, 0x80,			/* out %al, $0x80 */
	0x0f, 0x01, 0xda,		/* vmload */
	0xe6, 0x80,			/* out %al, $0x80 */
};

#define SVM_STATE	(4 * MB)
#define SVM_STAR	(SVM_STATE + 0x600)
#define SVM_TABLE	0x3000
#define MSR_STAR	0xc0000081

static bool guest_has_svm(struct guest *g)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };
	__u32 i;

	if (ioctl(g->kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) ||
	    ioctl(g->cpu, KVM_SET_CPUID2, &cpuid))
		return false;
	for (i = 0; i < cpuid.head.nent; i++)
		if (cpuid.entries[i].function == 0x80000001)
			return cpuid.entries[i].ecx & 4;
	return false;
}

/* 32 bits, flat, its memory mapped by two pages of 4 MiB */
static bool guest_enter_svm_code(struct guest *g)
{
	struct kvm_segment data = {
		.limit = -1, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1,
		.g = 1,
	};
	struct kvm_regs regs = { .rip = GUEST_CODE, .rflags = 2 };
	__u32 table[] = { 0x83, 0x400083 };
	struct kvm_sregs sregs;

	memcpy(g->mem + SVM_TABLE, table, sizeof(table));
	memcpy(g->mem + GUEST_CODE, svm_code, sizeof(svm_code));
	if (ioctl(g->cpu, KVM_GET_SREGS, &sregs))
		return false;
	sregs.ds = data;
	sregs.es = data;
	sregs.ss = data;
	data.selector = 8;
	data.type = 11;
	sregs.cs = data;
	sregs.cr3 = SVM_TABLE;
	sregs.cr4 = 0x10;	/* PSE */
	sregs.cr0 = 0x80000011;	/* PG, ET, PE */
	sregs.efer = 0x1000;	/* SVME */
	return !ioctl(g->cpu, KVM_SET_SREGS, &sregs) &&
	       !ioctl(g->cpu, KVM_SET_REGS, &regs);
}

static bool guest_comes_to_port(struct guest *g)
{
	return !ioctl(g->cpu, KVM_RUN, 0) && g->run->exit_reason == KVM_EXIT_IO &&
	       g->run->io.port == 0x80;
}

static const char *check_svm_state(struct guest *g)
{
	__u64 *star = (__u64 *)(g->mem + SVM_STAR);
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msr = { .head.nmsrs = 1, .entry = { MSR_STAR, 0, 0x0123456789abcdef } };

	if (!guest_enter_svm_code(g) || ioctl(g->cpu, KVM_SET_MSRS, &msr) != 1)
		return "the guest can't have SVM";
	*star = 0;
	if (!guest_comes_to_port(g))
		return "the guest can't save its state";
	if (*star != msr.entry.data)
		return "not what the guest has is saved";
	*star = ~msr.entry.data;
	if (!guest_comes_to_port(g) || ioctl(g->cpu, KVM_GET_MSRS, &msr) != 1)
		return "the guest can't load its state";
	return *star == msr.entry.data ? NULL : "not what was saved is loaded";
}

static int svm_state(struct area *a)
{
	struct guest g;
	int ret;

	ret = row_guest_create(&g, a);
	if (ret)
		return ret;
	if (!guest_has_svm(&g)) {
		row_guest_destroy(&g, NULL);
		return user_skip("no nested SVM");
	}
	return row_guest_destroy(&g, check_svm_state(&g));
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
	{ "KVM, state of a nested guest", 0, PINS, "maps what it pins", svm_state },
	{ "memory error", -EFAULT, PINS, "its neighbours work", memory_error },
	{}
};
