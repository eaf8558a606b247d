// SPDX-License-Identifier: GPL-2.0
/* Devices with memory that has a transient memmap: assigned, and limited ones */
#define _GNU_SOURCE
#include <glob.h>
#include <libgen.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "transient_memmap_users.h"

/* A disk whose driver has to bounce everything, as QEMU's vm.sh names it */
static int bounced_disk(struct area *a)
{
	unsigned long before, after;
	char disk[PATH_MAX] = "";
	glob_t found;
	size_t i;
	int ret;

	if (access("/sys/kernel/debug/swiotlb/io_tlb_used_hiwater", F_OK))
		return user_skip("no bounce buffers");
	glob("/sys/block/*/serial", 0, NULL, &found);
	for (i = 0; i < found.gl_pathc && !*disk; i++)
		if (!strcmp(read_str(found.gl_pathv[i]), "bounced"))
			snprintf(disk, sizeof(disk), "/dev/%s",
				 basename(dirname(found.gl_pathv[i])));
	globfree(&found);
	if (!*disk)
		return user_skip("no disk that calls itself bounced");

	/* Writing 0 resets it to what is in use. */
	write_str("/sys/kernel/debug/swiotlb/io_tlb_used_hiwater", "0");
	before = strtoul(read_str("/sys/kernel/debug/swiotlb/io_tlb_used_hiwater"), NULL, 0);
	ret = check_transfers(a, disk, O_DIRECT, 512, transfer_psync);
	after = strtoul(read_str("/sys/kernel/debug/swiotlb/io_tlb_used_hiwater"), NULL, 0);
	if (!ret && after <= before)
		ret = user_skip("%s needs no bounce buffers: swiotlb=SLABS,force,track_hiwater",
				disk);
	return ret;
}

bool ends_well(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       !WEXITSTATUS(status);
}

/*
 * VFIO, with QEMU's device for education, which does DMA between a buffer of its
 * own, of a page, and any address below 256 MiB
 */

#define EDU_ID		"0x1234 0x11e8"
#define EDU_SRC		0x80
#define EDU_DST		0x88
#define EDU_COUNT	0x90
#define EDU_COMMAND	0x98
#define EDU_START	1
#define EDU_TO_MEMORY	2
#define EDU_BUFFER	0x40000
#define EDU_LEN		4000	/* QEMU's check of a whole page is off by one. */

/*
 * Where the memory is for the device: below and above what the IOMMU keeps for
 * interrupts, as in a PC
 */
#define IOVA_LOW	(32 * MB)
#define IOVA_HIGH	(4 * GB)
#define LOW_LEN		(2 * GB)

/* The device's directory in sysfs, or NULL */
static char *edu_find(void)
{
	static char path[PATH_MAX];
	char ids[64], *found = NULL;
	glob_t all;
	size_t i;
	int n;

	glob("/sys/bus/pci/devices/*", 0, NULL, &all);
	for (i = 0; i < all.gl_pathc && !found; i++) {
		snprintf(path, sizeof(path), "%s/vendor", all.gl_pathv[i]);
		n = snprintf(ids, sizeof(ids), "%.16s ", read_str(path));
		snprintf(path, sizeof(path), "%s/device", all.gl_pathv[i]);
		snprintf(ids + n, sizeof(ids) - n, "%.16s", read_str(path));
		if (!strcmp(ids, EDU_ID)) {
			strcpy(path, all.gl_pathv[i]);
			found = path;
		}
	}
	globfree(&all);
	return found;
}

struct edu {
	int container, group, fd;
	char *regs;
};

static int edu_open(struct edu *edu)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX
	}, config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX
	};
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	char path[PATH_MAX], link[PATH_MAX] = "", *name, *dir = edu_find();

	if (!dir)
		return user_skip("no edu device");
	edu->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	snprintf(path, sizeof(path), "%.200s/iommu_group", dir);
	if (edu->container < 0 || readlink(path, link, sizeof(link) - 1) < 0)
		return user_skip("no VFIO, or no IOMMU: intel_iommu=on");
	name = basename(dir);
	if (sh("echo vfio-pci >%s/driver_override; echo %s >/sys/bus/pci/drivers_probe",
	       dir, name))
		return user_skip("no vfio-pci");
	snprintf(path, sizeof(path), "/dev/vfio/%.200s", basename(link));
	edu->group = open(path, O_RDWR | O_CLOEXEC);
	if (edu->group < 0 ||
	    ioctl(edu->group, VFIO_GROUP_SET_CONTAINER, &edu->container) ||
	    ioctl(edu->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return user_fail("%s: %m", path);
	edu->fd = ioctl(edu->group, VFIO_GROUP_GET_DEVICE_FD, name);
	if (edu->fd < 0 || ioctl(edu->fd, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
	    ioctl(edu->fd, VFIO_DEVICE_GET_REGION_INFO, &config))
		return user_fail("%s: %m", name);
	edu->regs = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, edu->fd,
			 bar.offset);
	if (edu->regs == MAP_FAILED ||
	    pwrite(edu->fd, &command, 2, config.offset + PCI_COMMAND) != 2)
		return user_fail("%s: %m", name);
	return 0;
}

static void edu_close(struct edu *edu)
{
	close(edu->fd);
	close(edu->group);
	close(edu->container);
}

static uint64_t *edu_reg(struct edu *edu, int offset)
{
	return (uint64_t *)(edu->regs + offset);
}

static bool edu_dma(struct edu *edu, uint64_t src, uint64_t dst, uint64_t command)
{
	int i;

	__atomic_store_n(edu_reg(edu, EDU_SRC), src, __ATOMIC_RELAXED);
	__atomic_store_n(edu_reg(edu, EDU_DST), dst, __ATOMIC_RELAXED);
	__atomic_store_n(edu_reg(edu, EDU_COUNT), EDU_LEN, __ATOMIC_RELAXED);
	__atomic_store_n(edu_reg(edu, EDU_COMMAND), command | EDU_START,
			 __ATOMIC_RELEASE);
	for (i = 0; i < 1000; i++) {
		if (!(__atomic_load_n(edu_reg(edu, EDU_COMMAND), __ATOMIC_ACQUIRE) &
		      EDU_START))
			return true;
		usleep(10000);
	}
	return false;
}

static int map_dma(struct edu *edu, char *mem, uint64_t iova, size_t len)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (unsigned long)mem,
		.iova = iova,
		.size = len,
	};

	return ioctl(edu->container, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

static bool unmap_dma(struct edu *edu, uint64_t iova, size_t len)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = iova, .size = len,
	};

	return !ioctl(edu->container, VFIO_IOMMU_UNMAP_DMA, &unmap) && unmap.size == len;
}

static int check_dma(struct edu *edu, char *mem)
{
	const size_t from = 6 * MB - 100, to = 100 * MB + 300;

	fill(mem + from, EDU_LEN, 9);
	memset(mem + to - PAGE, 0, 3 * PAGE);
	if (!edu_dma(edu, IOVA_LOW + from, EDU_BUFFER, 0) ||
	    !edu_dma(edu, EDU_BUFFER, IOVA_LOW + to, EDU_TO_MEMORY))
		return user_fail("the device does not end its DMA");
	if (same(mem + to, EDU_LEN, 9) != EDU_LEN)
		return user_fail("byte %zu that the device wrote is wrong",
				 same(mem + to, EDU_LEN, 9));
	if (!all_bytes(mem + to - PAGE, PAGE, 0) ||
	    !all_bytes(mem + to + EDU_LEN, PAGE, 0))
		return user_fail("the device wrote elsewhere");
	return 0;
}

static bool all_held(size_t len)
{
	unsigned long held = pool_get("held");

	if (held != len / PAGE)
		user_note("%lu pages held, not %zu", held, len / PAGE);
	return held == len / PAGE;
}

/* All of the device's memory is mapped for DMA, as a VMM would do. */
static int assigned(struct area *a)
{
	size_t len = strtoul(read_str(DAX "size"), NULL, 0);
	size_t low = len < LOW_LEN ? len : LOW_LEN;
	struct edu edu;
	char *mem;
	int fd, ret;

	ret = edu_open(&edu);
	if (ret)
		return ret;
	fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return user_fail("can't map /dev/dax0.0: %m");
	ret = map_dma(&edu, mem, IOVA_LOW, low);
	if (!ret && len > low)
		ret = map_dma(&edu, mem + low, IOVA_HIGH, len - low);
	if (!ret && !all_held(len))
		ret = USER_FAIL;
	if (!ret)
		ret = check_dma(&edu, mem);
	if (!ret && (!unmap_dma(&edu, IOVA_LOW, low) ||
		     (len > low && !unmap_dma(&edu, IOVA_HIGH, len - low))))
		ret = user_fail("can't unmap: %m");
	if (!ret && !all_held(0))
		ret = USER_FAIL;
	edu_close(&edu);
	munmap(mem, len);
	close(fd);
	return ret;
}

/*
 * VFIO asks for long-term pins. If it got them, it would pin the guest as a
 * whole, and never unpin it: VFIO takes a pfn that is not pfn_valid() for one
 * without a struct page.
 */
static int assigned_allowed(struct area *a)
{
	pool_set("longterm", 1);
	return assigned(a);
}

#define ASSIGNED_LEN	(128 * MB)

/* Assigned as well, and then only the device reaches the memory. */
static int assign_and_unmap(struct edu *edu)
{
	int fd, ret = edu_open(edu);
	char *mem;

	if (ret)
		return ret;
	fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	mem = mmap(NULL, ASSIGNED_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (mem == MAP_FAILED)
		return user_fail("can't map /dev/dax0.0: %m");
	ret = map_dma(edu, mem, IOVA_LOW, ASSIGNED_LEN);
	if (!ret)
		ret = check_dma(edu, mem);
	munmap(mem, ASSIGNED_LEN);
	return ret ?: all_held(ASSIGNED_LEN) ? 0 : USER_FAIL;
}

pid_t unbind_that_waits(void)
{
	char path[PATH_MAX];
	pid_t pid = fork();
	int i;

	if (!pid) {
		/* exec, for VFIO's files and mappings to be the parent's alone. */
		execl("/bin/sh", "sh", "-c", "echo dax0.0 >" DAX "driver/unbind", NULL);
		_exit(1);
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (i = 0; i < 1000; i++) {
		/* Idle: neither running nor a load */
		if (strstr(read_str(path), ") I "))
			return pid;
		usleep(10000);
	}
	user_note("unbind does not wait: %s", read_str(path));
	return -1;
}

/* With no process that could tell the owner of the next byte from the last */
static int bound_again(struct edu *edu)
{
	size_t len = 4 * MB;
	char *mem;
	int fd;

	if (write_str(DAX_DRIVER "bind", "dax0.0") || pool_set("cache", 0))
		return user_fail("can't bind again");
	if (!edu)
		return 0;
	fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (mem == MAP_FAILED)
		return user_fail("can't map it again: %m");
	memset(mem, 0x33, len);
	if (!edu_dma(edu, EDU_BUFFER, IOVA_LOW + MB, EDU_TO_MEMORY))
		return user_fail("the device does not end its DMA");
	if (!all_bytes(mem, len, 0x33))
		return user_fail("the device wrote to somebody else's memory");
	return 0;
}

/* The dax device is unbound before the memory is unmapped from the IOMMU. */
static int assigned_unbound(struct area *a)
{
	struct edu edu;
	pid_t pid;
	int ret;

	munmap(a->mem, a->len);
	ret = assign_and_unmap(&edu);
	if (ret)
		return ret;
	pid = unbind_that_waits();
	if (pid < 0)
		return USER_FAIL;
	if (!edu_dma(&edu, EDU_BUFFER, IOVA_LOW + MB, EDU_TO_MEMORY))
		return user_fail("the device does not end its DMA");
	if (waitpid(pid, NULL, WNOHANG))
		return user_fail("unbind did not wait");
	if (!unmap_dma(&edu, IOVA_LOW, ASSIGNED_LEN))
		return user_fail("can't unmap: %m");
	if (!ends_well(pid))
		return user_fail("unbind failed");
	ret = bound_again(&edu);
	edu_close(&edu);
	return ret;
}

/* Nobody unmaps it: the process that assigned it is killed. */
static int assigned_killed(struct area *a)
{
	struct edu edu;
	int p[2], ret;
	pid_t pid, vmm;

	munmap(a->mem, a->len);
	if (pipe(p))
		return user_fail("pipe: %m");
	vmm = fork();
	if (!vmm) {
		ret = assign_and_unmap(&edu);
		if (write(p[1], &ret, sizeof(ret)) != sizeof(ret))
			_exit(1);
		for (;;)
			edu_dma(&edu, EDU_BUFFER, IOVA_LOW + MB, EDU_TO_MEMORY);
	}
	if (read(p[0], &ret, sizeof(ret)) != sizeof(ret))
		return user_fail("no word of the process that assigns");
	pid = ret ? -1 : unbind_that_waits();
	kill(vmm, SIGKILL);
	waitpid(vmm, NULL, 0);
	if (pid < 0)
		return ret ?: USER_FAIL;
	if (!ends_well(pid))
		return user_fail("unbind failed");
	return bound_again(NULL);
}

const struct user dma_users[] = {
	{ "disk behind bounce buffers", 0, PINS, NULL, bounced_disk },
	{ "VFIO type1", 0, NO_PINS, "falls back to page tables", assigned },
	{ "VFIO type1, long-term allowed", 0, NO_PINS, "falls back to page tables",
	  assigned_allowed },
	{ "VFIO type1, unbound", 0, NO_PINS, "unbind waits for the unmap",
	  assigned_unbound },
	{ "VFIO type1, killed", 0, NO_PINS, "unbind waits for the exit",
	  assigned_killed },
	{}
};
