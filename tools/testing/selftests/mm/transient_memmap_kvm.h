/* SPDX-License-Identifier: GPL-2.0 */
/* A guest of KVM whose memory is a file's: as small as a VMM can be */
#ifndef _TRANSIENT_MEMMAP_KVM_H
#define _TRANSIENT_MEMMAP_KVM_H

#include <asm/kvm_para.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "transient_memmap_util.h"

/*
 * A guest in real mode: it adds one to a byte of each page from 2 to 255 of its
 * memory, and says so at port 0x80.
 */
static const unsigned char guest_code[] = {
	0xb8, 0x00, 0x02,	/* 1000: mov $0x200, %ax */
	0x8e, 0xd8,		/* 1003: mov %ax, %ds */
	0xfe, 0x06, 0x20, 0x00,	/* 1005: incb 0x20 */
	0x05, 0x00, 0x01,	/* 1009: add $0x100, %ax */
	0x75, 0xf5,		/* 100c: jnz 1003 */
	0xe6, 0x80,		/* 100e: out %al, $0x80 */
};

#define GUEST_CODE	0x1000
#define GUEST_BYTE	0x20
#define GUEST_FIRST	2
#define GUEST_END	256
#define GUEST_SHARED	0x800	/* what KVM writes there itself */

/*
 * @mem, @len: where its memory is mapped
 * @half: which @len of the file is mapped there
 * @runs: of the guest, on each half
 * @faults: of this process during the last run, all of them KVM's doing
 */
struct guest {
	int fd;
	char *mem;
	size_t len;
	int half;
	int runs[2];
	long faults;
	int kvm, vm, cpu;
	struct kvm_run *run;
	size_t run_size;
};

/* Other memory in the same place. Nothing of it is in the page tables yet. */
static inline bool guest_remap(struct guest *g, int half)
{
	g->half = half;
	return mmap(g->mem, g->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		    g->fd, half * g->len) == g->mem;
}

static inline bool guest_load(struct guest *g)
{
	int half;

	for (half = 1; half >= 0; half--) {
		if (!guest_remap(g, half))
			return false;
		memset(g->mem, 0, MB);
		memcpy(g->mem + GUEST_CODE, guest_code, sizeof(guest_code));
	}
	return guest_remap(g, 0);
}

static inline bool guest_create_cpu(struct guest *g)
{
	struct kvm_sregs sregs;

	g->cpu = ioctl(g->vm, KVM_CREATE_VCPU, 0);
	if (g->cpu < 0 || ioctl(g->cpu, KVM_GET_SREGS, &sregs))
		return false;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(g->cpu, KVM_SET_SREGS, &sregs))
		return false;
	g->run_size = ioctl(g->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	g->run = mmap(NULL, g->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      g->cpu, 0);
	return g->run != MAP_FAILED;
}

/*
 * A guest with @len of memory that is mapped at @mem, in place of what is there:
 * from the start of @fd. Twice as much of the file is used.
 */
static inline bool guest_create(struct guest *g, int fd, char *mem, size_t len)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = len, .userspace_addr = (unsigned long)mem,
	};

	*g = (struct guest) { .fd = fd, .mem = mem, .len = len };
	g->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (g->kvm < 0 || !guest_load(g))
		return false;
	g->vm = ioctl(g->kvm, KVM_CREATE_VM, 0);
	return g->vm >= 0 && !ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region) &&
	       guest_create_cpu(g);
}

static inline void guest_destroy(struct guest *g)
{
	munmap(g->run, g->run_size);
	close(g->cpu);
	close(g->vm);
	close(g->kvm);
}

/* From the start of its code to the end. NULL, or what went wrong */
static inline const char *guest_run(struct guest *g)
{
	struct kvm_regs regs = { .rip = GUEST_CODE, .rflags = 2 };
	struct rusage before, after;
	size_t i;
	int ret;

	if (ioctl(g->cpu, KVM_SET_REGS, &regs))
		return "KVM_SET_REGS fails";
	getrusage(RUSAGE_SELF, &before);
	ret = ioctl(g->cpu, KVM_RUN, 0);
	getrusage(RUSAGE_SELF, &after);
	g->faults = after.ru_minflt - before.ru_minflt;
	if (ret)
		return "KVM_RUN fails";
	if (g->run->exit_reason != KVM_EXIT_IO || g->run->io.port != 0x80)
		return "the guest did not come to its end";
	g->runs[g->half]++;
	for (i = GUEST_FIRST; i < GUEST_END; i++)
		if (g->mem[i * PAGE + GUEST_BYTE] != g->runs[g->half])
			return "a page has not what the guest wrote";
	return NULL;
}

/* One of KVM's statistics of the VM, or -1 */
static inline long guest_stat(struct guest *g, const char *name)
{
	int fd = ioctl(g->vm, KVM_GET_STATS_FD, NULL);
	struct kvm_stats_header head = {};
	struct kvm_stats_desc *desc;
	long value = -1;
	size_t size;
	__u32 i;

	if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head))
		return -1;
	size = sizeof(*desc) + head.name_size;
	desc = malloc(size);
	for (i = 0; i < head.num_desc; i++)
		if (pread(fd, desc, size, head.desc_offset + i * size) == (ssize_t)size &&
		    !strcmp(desc->name, name) &&
		    pread(fd, &value, sizeof(value), head.data_offset + desc->offset) !=
		    sizeof(value))
			value = -1;
	free(desc);
	close(fd);
	return value;
}

/* What KVM keeps in a guest's memory: by which MSR, and where its version is */
struct guest_shared {
	__u32 msr;
	size_t version;
};

/* KVM has the page mapped for itself, in a gfn_to_pfn_cache. */
static const struct guest_shared guest_pvclock = { MSR_KVM_SYSTEM_TIME_NEW, 0 };
/* KVM writes by the VMM's mapping. */
static const struct guest_shared guest_steal_time = {
	MSR_KVM_STEAL_TIME, offsetof(struct kvm_steal_time, version)
};

static inline __u32 guest_version(struct guest *g, const struct guest_shared *shared)
{
	return __atomic_load_n((__u32 *)(g->mem + GUEST_SHARED + shared->version),
			       __ATOMIC_RELAXED);
}

/* Have KVM write to the guest's memory: NULL, or what went wrong */
static inline const char *guest_share(struct guest *g, const struct guest_shared *shared)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = {
		.head.nmsrs = 1,
		.entry = { shared->msr, 0, GUEST_SHARED | KVM_MSR_ENABLED },
	};
	struct kvm_clock_data clock;
	const char *why;
	__u32 version;

	if (ioctl(g->cpu, KVM_SET_MSRS, &msrs) != 1)
		return "KVM refuses the MSR";
	why = guest_run(g);
	if (why)
		return why;
	version = guest_version(g, shared);
	if (!version || version & 1)
		return "KVM did not write what it should";

	/* Other memory, as if the page had moved. Setting the clock has it written. */
	if (!guest_remap(g, !g->half) ||
	    ioctl(g->vm, KVM_GET_CLOCK, &clock) || ioctl(g->vm, KVM_SET_CLOCK, &clock))
		return "KVM_SET_CLOCK fails";
	why = guest_run(g);
	if (why)
		return why;
	version = guest_version(g, shared);
	if (!version || version & 1)
		return "KVM did not write to the memory that is mapped now";
	return NULL;
}

#endif /* _TRANSIENT_MEMMAP_KVM_H */
