// SPDX-License-Identifier: GPL-2.0
/* Devices with memory that has a transient memmap: assigned, and limited ones */
#define _GNU_SOURCE
#include <glob.h>
#include <libgen.h>
#include <linux/iommufd.h>
#include <linux/memfd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "transient_memmap_users.h"
#include "../../../../lib/test_transient_memmap_uapi.h"
#include "vm_util.h"

/* A disk whose driver has to bounce everything, as QEMU's vm.sh names it */
static int bounced_disk(struct area *a)
{
	unsigned long before, after;
	char *dir = find_disk("bounced"), disk[PATH_MAX];
	int ret;

	if (access("/sys/kernel/debug/swiotlb/io_tlb_used_hiwater", F_OK))
		return user_skip("no bounce buffers");
	if (!dir)
		return user_skip("no disk that calls itself bounced");
	snprintf(disk, sizeof(disk), "/dev/%s", basename(dir));

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

struct way;

struct edu {
	const struct way *way;
	int container, group, fd;
	uint32_t ioas;
	char *regs;
	size_t regs_len;
};

/* A way to assign the device, and to map memory for it */
struct way {
	int (*open)(struct edu *edu, const char *dir, const char *name);
	int (*map)(struct edu *edu, char *mem, uint64_t iova, size_t len);
	bool (*unmap)(struct edu *edu, uint64_t iova, size_t len);
};

/* The group's way: its container is VFIO's, or an iommufd that acts as one. */
static int group_open(struct edu *edu, const char *container, const char *dir,
		      const char *name)
{
	char path[PATH_MAX], link[PATH_MAX] = "";

	edu->container = open(container, O_RDWR | O_CLOEXEC);
	snprintf(path, sizeof(path), "%.200s/iommu_group", dir);
	if (edu->container < 0 || readlink(path, link, sizeof(link) - 1) < 0)
		return user_skip("no %s, or no IOMMU: intel_iommu=on", container);
	snprintf(path, sizeof(path), "/dev/vfio/%.200s", basename(link));
	edu->group = open(path, O_RDWR | O_CLOEXEC);
	if (edu->group < 0 ||
	    ioctl(edu->group, VFIO_GROUP_SET_CONTAINER, &edu->container) ||
	    ioctl(edu->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return user_fail("%s: %m", path);
	edu->fd = ioctl(edu->group, VFIO_GROUP_GET_DEVICE_FD, name);
	return 0;
}

static int type1_open(struct edu *edu, const char *dir, const char *name)
{
	return group_open(edu, "/dev/vfio/vfio", dir, name);
}

static int compat_open(struct edu *edu, const char *dir, const char *name)
{
	return group_open(edu, "/dev/iommu", dir, name);
}

static int container_map(struct edu *edu, char *mem, uint64_t iova, size_t len)
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

static bool container_unmap(struct edu *edu, uint64_t iova, size_t len)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = iova, .size = len,
	};

	return !ioctl(edu->container, VFIO_IOMMU_UNMAP_DMA, &unmap) && unmap.size == len;
}

static int ioas_alloc(struct edu *edu, uint32_t *ioas)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	if (ioctl(edu->container, IOMMU_IOAS_ALLOC, &alloc))
		return user_fail("IOMMU_IOAS_ALLOC: %m");
	*ioas = alloc.out_ioas_id;
	return 0;
}

/* The device's own way, with an IOAS of an iommufd */
static int cdev_open(struct edu *edu, const char *dir, const char *name)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	char path[PATH_MAX];
	glob_t found;

	edu->container = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (edu->container < 0)
		return user_skip("no iommufd");
	snprintf(path, sizeof(path), "%.200s/vfio-dev/vfio*", dir);
	if (glob(path, 0, NULL, &found))
		return user_skip("no device of VFIO's for %s", name);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%.200s",
		 basename(found.gl_pathv[0]));
	globfree(&found);
	edu->fd = open(path, O_RDWR | O_CLOEXEC);
	bind.iommufd = edu->container;
	if (edu->fd < 0 || ioctl(edu->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		return user_fail("%s: %m", path);
	if (ioas_alloc(edu, &edu->ioas))
		return USER_FAIL;
	attach.pt_id = edu->ioas;
	if (ioctl(edu->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		return user_fail("can't attach: %m");
	return 0;
}

#define IOAS_FLAGS	(IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | \
			 IOMMU_IOAS_MAP_WRITEABLE)

static int ioas_map(struct edu *edu, uint32_t ioas, char *mem, uint64_t iova,
		    size_t len)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOAS_FLAGS,
		.ioas_id = ioas,
		.user_va = (unsigned long)mem,
		.iova = iova,
		.length = len,
	};

	return ioctl(edu->container, IOMMU_IOAS_MAP, &map) ? -errno : 0;
}

static int cdev_map(struct edu *edu, char *mem, uint64_t iova, size_t len)
{
	return ioas_map(edu, edu->ioas, mem, iova, len);
}

static bool cdev_unmap(struct edu *edu, uint64_t iova, size_t len)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap), .ioas_id = edu->ioas, .iova = iova,
		.length = len,
	};

	return !ioctl(edu->container, IOMMU_IOAS_UNMAP, &unmap) && unmap.length == len;
}

static const struct way type1 = { type1_open, container_map, container_unmap };
static const struct way compat = { compat_open, container_map, container_unmap };
static const struct way cdev = { cdev_open, cdev_map, cdev_unmap };

static int edu_open(struct edu *edu, const struct way *way)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX
	}, config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX
	};
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	char *name, *dir = edu_find();
	int ret;

	if (!dir)
		return user_skip("no edu device");
	name = strrchr(dir, '/') + 1;
	if (sh("echo vfio-pci >%s/driver_override; echo %s >/sys/bus/pci/drivers_probe",
	       dir, name))
		return user_skip("no vfio-pci");
	*edu = (struct edu) { .way = way, .group = -1 };
	ret = way->open(edu, dir, name);
	if (ret)
		return ret;
	if (edu->fd < 0 || ioctl(edu->fd, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
	    ioctl(edu->fd, VFIO_DEVICE_GET_REGION_INFO, &config))
		return user_fail("%s: %m", name);
	edu->regs_len = bar.size;
	edu->regs = mmap(NULL, edu->regs_len, PROT_READ | PROT_WRITE, MAP_SHARED, edu->fd,
			 bar.offset);
	if (edu->regs == MAP_FAILED ||
	    pwrite(edu->fd, &command, 2, config.offset + PCI_COMMAND) != 2)
		return user_fail("%s: %m", name);
	return 0;
}

/* The device stays open as long as its registers are mapped. */
static void edu_close(struct edu *edu)
{
	munmap(edu->regs, edu->regs_len);
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
static int assigned(struct area *a, const struct way *way)
{
	size_t len = strtoul(read_str(DAX "size"), NULL, 0);
	size_t low = len < LOW_LEN ? len : LOW_LEN;
	struct edu edu;
	char *mem;
	int fd, ret;

	ret = edu_open(&edu, way);
	if (ret)
		return ret;
	fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return user_fail("can't map /dev/dax0.0: %m");
	ret = edu.way->map(&edu, mem, IOVA_LOW, low);
	if (!ret && len > low)
		ret = edu.way->map(&edu, mem + low, IOVA_HIGH, len - low);
	if (!ret && !all_held(len))
		ret = USER_FAIL;
	if (!ret)
		ret = check_dma(&edu, mem);
	if (!ret && (!edu.way->unmap(&edu, IOVA_LOW, low) ||
		     (len > low && !edu.way->unmap(&edu, IOVA_HIGH, len - low))))
		ret = user_fail("can't unmap: %m");
	if (!ret && !all_held(0))
		ret = USER_FAIL;
	edu_close(&edu);
	munmap(mem, len);
	close(fd);
	return ret;
}

/*
 * VFIO and iommufd ask for long-term pins. If they got them, they would pin the
 * guest as a whole.
 */
static int assigned_allowed(struct area *a, const struct way *way)
{
	pool_set("longterm", 1);
	return assigned(a, way);
}

#define ASSIGNED_LEN	(128 * MB)

/* Assigned as well, and then only the device reaches the memory. */
static int assign_and_unmap(void *arg)
{
	struct edu *edu = arg;
	int fd, ret = edu_open(edu, edu->way);
	char *mem;

	if (ret)
		return ret;
	fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	mem = mmap(NULL, ASSIGNED_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (mem == MAP_FAILED)
		return user_fail("can't map /dev/dax0.0: %m");
	ret = edu->way->map(edu, mem, IOVA_LOW, ASSIGNED_LEN);
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

int unbind_and_kill(struct area *a, int (*start)(void *arg), bool (*again)(void *arg),
		    void *arg)
{
	pid_t pid, vmm;
	int p[2], ret;

	if (pipe(p))
		return user_fail("pipe: %m");
	vmm = fork();
	if (!vmm) {
		ret = start(arg);
		if (write(p[1], &ret, sizeof(ret)) != sizeof(ret) || ret)
			_exit(1);
		for (;;)
			again(arg);
	}
	munmap(a->mem, a->len);
	if (read(p[0], &ret, sizeof(ret)) != sizeof(ret))
		ret = user_fail("no word of the process that uses the memory");
	pid = ret ? -1 : unbind_that_waits();
	kill(vmm, SIGKILL);
	waitpid(vmm, NULL, 0);
	if (pid < 0)
		return ret ?: USER_FAIL;
	return ends_well(pid) ? 0 : user_fail("unbind failed");
}

char *bind_and_map(size_t len)
{
	char *mem = MAP_FAILED;
	int fd;

	if (!write_str(DAX_DRIVER "bind", "dax0.0") && !pool_set("cache", 0)) {
		fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
		mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	if (mem == MAP_FAILED)
		user_note("can't bind or map it again: %m");
	return mem;
}

static bool write_again(void *edu)
{
	return edu_dma(edu, EDU_BUFFER, IOVA_LOW + MB, EDU_TO_MEMORY);
}

/* With no process that could tell the owner of the next byte from the last */
static int bound_again(struct edu *edu)
{
	size_t len = 4 * MB;
	char *mem = bind_and_map(len);

	if (mem == MAP_FAILED)
		return USER_FAIL;
	memset(mem, 0x33, len);
	if (!write_again(edu))
		return user_fail("the device does not end its DMA");
	if (!all_bytes(mem, len, 0x33))
		return user_fail("the device wrote to somebody else's memory");
	return 0;
}

/* The dax device is unbound before the memory is unmapped from the IOMMU. */
static int assigned_unbound(struct area *a, const struct way *way)
{
	struct edu edu = { .way = way };
	pid_t pid;
	int ret;

	munmap(a->mem, a->len);
	ret = assign_and_unmap(&edu);
	if (ret)
		return ret;
	pid = unbind_that_waits();
	if (pid < 0)
		return USER_FAIL;
	if (!write_again(&edu))
		return user_fail("the device does not end its DMA");
	if (waitpid(pid, NULL, WNOHANG))
		return user_fail("unbind did not wait");
	if (!edu.way->unmap(&edu, IOVA_LOW, ASSIGNED_LEN))
		return user_fail("can't unmap: %m");
	if (!ends_well(pid))
		return user_fail("unbind failed");
	ret = bound_again(&edu);
	edu_close(&edu);
	return ret;
}

/* Nobody unmaps it: the process that assigned it is killed. */
static int assigned_killed(struct area *a, const struct way *way)
{
	struct edu edu = { .way = way };

	return unbind_and_kill(a, assign_and_unmap, write_again, &edu) ?:
	       bind_and_map(a->len) == MAP_FAILED ? USER_FAIL : 0;
}

/*
 * The pages of an IOAS that is copied are shared, so that each is held once, until
 * the last has gone.
 */
static int ioas_copied(struct area *a)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy), .flags = IOAS_FLAGS, .length = ASSIGNED_LEN,
	};
	struct edu edu;
	char *mem;
	int fd, ret;

	ret = edu_open(&edu, &cdev);
	if (ret)
		return ret;
	fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	mem = mmap(NULL, ASSIGNED_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return user_fail("can't map /dev/dax0.0: %m");
	copy.dst_ioas_id = edu.ioas;
	ret = ioas_alloc(&edu, &copy.src_ioas_id);
	if (ret)
		return ret;

	/* From one that no device uses, and then within the other */
	ret = ioas_map(&edu, copy.src_ioas_id, mem, 0, ASSIGNED_LEN);
	if (ret)
		return ret;
	if (!all_held(0))
		return USER_FAIL;
	copy.dst_iova = IOVA_HIGH;
	if (ioctl(edu.container, IOMMU_IOAS_COPY, &copy))
		return -errno;
	copy.src_ioas_id = edu.ioas;
	copy.src_iova = IOVA_HIGH;
	copy.dst_iova = IOVA_LOW;
	if (ioctl(edu.container, IOMMU_IOAS_COPY, &copy))
		return -errno;
	if (!all_held(ASSIGNED_LEN))
		return USER_FAIL;
	if (!cdev_unmap(&edu, IOVA_HIGH, ASSIGNED_LEN))
		return user_fail("can't unmap: %m");
	if (!all_held(ASSIGNED_LEN))
		return USER_FAIL;
	ret = check_dma(&edu, mem);
	if (!ret && !cdev_unmap(&edu, IOVA_LOW, ASSIGNED_LEN))
		return user_fail("can't unmap: %m");
	return ret ?: all_held(0) ? 0 : USER_FAIL;
}

/* Each border between the kinds of memory is within one transfer. */
static int check_borders(struct edu *edu, char *mem, size_t len, size_t step)
{
	size_t at;

	for (at = step - EDU_LEN / 2; at + EDU_LEN <= len; at += step) {
		fill(mem + at, EDU_LEN, 5);
		if (!edu_dma(edu, IOVA_LOW + at, EDU_BUFFER, 0))
			return user_fail("the device does not end its DMA");
		memset(mem + at, 0, EDU_LEN);
		if (!edu_dma(edu, EDU_BUFFER, IOVA_LOW + at, EDU_TO_MEMORY))
			return user_fail("the device does not end its DMA");
		if (same(mem + at, EDU_LEN, 5) != EDU_LEN)
			return user_fail("at %zu, byte %zu is wrong", at,
					 same(mem + at, EDU_LEN, 5));
	}
	return 0;
}

/*
 * Ordinary memory, memory without a memmap that was only read so far, and ordinary
 * memory again, in one go. What can't be mapped leaves nothing behind.
 */
static int ioas_mixed(struct area *a)
{
	const size_t step = 4 * MB, len = 5 * step;
	struct edu edu;
	size_t at;
	char *mem;
	int fd, ret, i;

	ret = edu_open(&edu, &cdev);
	if (ret)
		return ret;
	fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	for (i = 1; i < 5; i += 2) {
		if (mmap(mem + i * step, step, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, i * step) == MAP_FAILED)
			return user_fail("can't map /dev/dax0.0: %m");
		for (at = 0; at < step; at += PAGE)
			FORCE_READ(mem[i * step + at]);
	}

	ret = cdev_map(&edu, mem, IOVA_LOW, len);
	if (ret)
		return ret;
	if (!all_held(2 * step))
		return USER_FAIL;
	ret = check_borders(&edu, mem, len, step);
	if (ret)
		return ret;
	if (!cdev_unmap(&edu, IOVA_LOW, len))
		return user_fail("can't unmap: %m");
	if (!all_held(0))
		return USER_FAIL;

	/* Nothing at all, and memory of a device, at the end */
	munmap(mem + len - step, step);
	ret = cdev_map(&edu, mem, IOVA_LOW, len);
	if (ret != -EFAULT || !all_held(0))
		return user_fail("a hole gives %s, not EFAULT", strerror(-ret));
	ret = cdev_map(&edu, edu.regs, IOVA_LOW, PAGE);
	if (ret != -EFAULT)
		return user_fail("a BAR gives %s, not EFAULT", strerror(-ret));
	edu_close(&edu);
	return 0;
}

/* What is held counts as locked, as what is pinned does. */
static int ioas_limited(struct area *a)
{
	struct rlimit limit = { .rlim_cur = a->len - PAGE, .rlim_max = RLIM_INFINITY };
	struct edu edu;
	int ret;

	ret = edu_open(&edu, &cdev);
	if (ret)
		return ret;
	setrlimit(RLIMIT_MEMLOCK, &limit);
	/* Then CAP_IPC_LOCK has gone, too. */
	if (setresuid(65534, 65534, 0))
		return user_fail("setresuid: %m");
	ret = cdev_map(&edu, a->mem, IOVA_LOW, a->len - PAGE);
	if (ret)
		return user_fail("%s, below the limit", strerror(-ret));
	if (!cdev_unmap(&edu, IOVA_LOW, a->len - PAGE))
		return user_fail("can't unmap: %m");
	ret = cdev_map(&edu, a->mem, IOVA_LOW, a->len);
	edu_close(&edu);
	return ret;
}

/* What a device's memory of 1 GiB takes to be mapped for DMA, and to be unmapped */

#define MEASURED	5

static double microseconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

/* The shortest of all, after one that is not measured */
static int measure_way(const char *name, const char *memory, const struct way *way, char *mem)
{
	double start, mapped, done, map = 1e12, unmap = 1e12;
	struct edu edu;
	int i, ret;

	ret = edu_open(&edu, way);
	for (i = 0; i <= MEASURED && !ret; i++) {
		start = microseconds();
		ret = way->map(&edu, mem, IOVA_HIGH, GB);
		mapped = microseconds();
		if (ret)
			return user_fail("%s, %s: %s", name, memory, strerror(-ret));
		if (!way->unmap(&edu, IOVA_HIGH, GB))
			return user_fail("%s, %s: can't unmap: %m", name, memory);
		done = microseconds();
		if (i && mapped - start < map)
			map = mapped - start;
		if (i && done - mapped < unmap)
			unmap = done - mapped;
	}
	if (!ret)
		printf("%s\t%s\t%.0f\t%.0f\n", name, memory, map, unmap);
	edu_close(&edu);
	return ret;
}

int dma_measure(struct area *a)
{
	int dax = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	int huge = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_1GB);
	const struct {
		const char *name;
		char *mem;
	} memory[] = {
		{ "hugetlb, 1 GiB", ftruncate(huge, GB) ? MAP_FAILED :
		  mmap(NULL, GB, PROT_READ | PROT_WRITE, MAP_SHARED, huge, 0) },
		{ "device-dax, as it is bound",
		  mmap(NULL, GB, PROT_READ | PROT_WRITE, MAP_SHARED, dax, 0) },
	};
	size_t i;
	int ret = 0;

	for (i = 0; i < ARRAY_SIZE(memory) && !ret; i++) {
		if (memory[i].mem == MAP_FAILED)
			return user_skip("no %s: hugepagesz=1G hugepages=1", memory[i].name);
		memory[i].mem[0] = 1;
		ret = measure_way("type1", memory[i].name, &type1, memory[i].mem) ?:
		      measure_way("iommufd", memory[i].name, &cdev, memory[i].mem);
	}
	return ret;
}

/*
 * A device without hardware, as a mediated device is: lib/test_transient_memmap_vfio.c.
 * It asks VFIO for pages, or to copy.
 */

#define MDEV		"test_transient_memmap_vfio"
#define MDEV_DIR	"/sys/devices/faux/" MDEV
#define MDEV_LEN	(4 * MB)

static int mdev_open(struct edu *dev, const struct way *way, struct area *a)
{
	int ret;

	*dev = (struct edu) { .way = way, .group = -1 };
	if (sh("modprobe " MDEV) || access(MDEV_DIR, F_OK))
		return user_skip("no " MDEV);
	ret = way->open(dev, MDEV_DIR, MDEV);
	if (!ret && dev->fd < 0)
		ret = user_fail("no device: %m");
	return ret ?: way->map(dev, a->mem, IOVA_LOW, MDEV_LEN);
}

static void mdev_close(struct edu *dev)
{
	edu_close(dev);
	sh("modprobe -r " MDEV);
}

/* Through the device, to or from the middle of a page and on into the next block */
static long mdev_transfer(struct edu *dev, uint64_t how, bool write, char *buf, size_t len,
			  uint64_t at)
{
	uint64_t pos = how << TMEMMAP_VFIO_SHIFT | (IOVA_LOW + at);
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = write ? pwrite(dev->fd, buf + done, len - done, pos + done) :
			    pread(dev->fd, buf + done, len - done, pos + done);
		if (n <= 0)
			return n ? -errno : (long)done;
		done += n;
	}
	return done;
}

static int check_mdev(struct edu *dev, struct area *a, uint64_t how)
{
	const size_t at = 2 * MB - 5000, len = 10000;
	char buf[10000];
	long n;

	fill(a->mem + at, len, 1);
	n = mdev_transfer(dev, how, false, buf, len, at);
	if (n < 0)
		return n;
	if (n != (long)len || same(buf, len, 1) != len)
		return user_fail("%ld bytes were read, %zu of them right", n,
				 same(buf, len, 1));
	fill(buf, len, 2);
	memset(a->mem + at - PAGE, 0, len + 2 * PAGE);
	n = mdev_transfer(dev, how, true, buf, len, at);
	if (n < 0)
		return n;
	if (n != (long)len || same(a->mem + at, len, 2) != len)
		return user_fail("%ld bytes were written, %zu of them right", n,
				 same(a->mem + at, len, 2));
	if (!all_bytes(a->mem + at - PAGE, PAGE, 0) || !all_bytes(a->mem + at + len, PAGE, 0))
		return user_fail("bytes beside those written changed");
	return 0;
}

static int mdev_by(struct area *a, const struct way *way, uint64_t how)
{
	struct edu dev;
	int ret;

	ret = mdev_open(&dev, way, a) ?: check_mdev(&dev, a, how);
	mdev_close(&dev);
	return ret;
}

static int mdev(struct area *a, const struct way *way)
{
	return mdev_by(a, way, TMEMMAP_VFIO_PIN);
}

static int mdev_copies(struct area *a, const struct way *way)
{
	return mdev_by(a, way, TMEMMAP_VFIO_RW);
}

/* And a page that stays pinned until it is unmapped */
static int mdev_allowed(struct area *a, const struct way *way)
{
	struct edu dev;
	char c = 7;
	int ret;

	pool_set("longterm", 1);
	ret = mdev_open(&dev, way, a) ?: check_mdev(&dev, a, TMEMMAP_VFIO_PIN);
	if (!ret && !pool_becomes("live", 0))
		ret = user_fail("%lu blocks are live", pool_get("live"));
	if (!ret && mdev_transfer(&dev, TMEMMAP_VFIO_KEEP, true, &c, 1, 3 * MB) != 1)
		ret = user_fail("can't pin a page: %m");
	if (!ret && (a->mem[3 * MB] != 7 || pool_get("live") != 1))
		ret = user_fail("%lu blocks are live, not 1", pool_get("live"));
	if (!ret && !way->unmap(&dev, IOVA_LOW, MDEV_LEN))
		ret = user_fail("can't unmap: %m");
	if (!ret && !pool_becomes("live", 0))
		ret = user_fail("what was unmapped stays live");
	mdev_close(&dev);
	return ret;
}

/*
 * VMCI's queue pairs, which a VMM gives the memory for: pinned for as long as they
 * live, by a driver that does not say FOLL_LONGTERM. So nothing but the cap limits it.
 */

#define VMCI_INIT_CONTEXT	_IO(7, 0xa0)
#define VMCI_VERSION2		_IO(7, 0xa7)
#define VMCI_QUEUEPAIR_ALLOC	_IO(7, 0xa8)
#define VMCI_NO_MEM		(-3)

struct vmci_queue_pair {
	uint32_t context, resource;
	uint32_t peer, flags;
	uint64_t produce_size, consume_size;
	uint64_t va, pages;
	int32_t result;
	uint32_t version;
};

/* The two queues, each with a page that describes it, have half a block each. */
static int vmci_pair(struct area *a, int fd)
{
	struct {
		uint32_t context, flags;
	} init = { .context = 5 };
	struct vmci_queue_pair pair = {
		.resource = 1024, .peer = 2 /* the host */,
		.produce_size = MB - PAGE, .consume_size = MB - PAGE,
		.va = (unsigned long)a->mem, .pages = 2 * MB / PAGE,
	};
	int version = 11 << 16;

	if (ioctl(fd, VMCI_VERSION2, &version) < 0 || ioctl(fd, VMCI_INIT_CONTEXT, &init))
		return user_fail("no context of VMCI: %m");
	pair.context = init.context;
	memset(a->mem, 0, 2 * MB);
	if (ioctl(fd, VMCI_QUEUEPAIR_ALLOC, &pair))
		return user_fail("VMCI: %m");
	if (pair.result == VMCI_NO_MEM)
		return -ENOMEM;
	if (pair.result < 0)
		return user_fail("VMCI says %d", pair.result);
	return pool_get("live") == 1 ? 0 :
	       user_fail("%lu blocks are live, not 1", pool_get("live"));
}

static int vmci(struct area *a)
{
	int fd, ret;

	sh("modprobe vmw_vmci");
	fd = open("/dev/vmci", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return user_skip("no VMCI");
	ret = vmci_pair(a, fd);
	close(fd);
	return ret;
}

static int vmci_beyond(struct area *a) { return beyond_cap(a, vmci); }

#define BY(way, test)	static int test##_by_##way(struct area *a) \
			{ return test(a, &(way)); }
BY(type1, assigned)
BY(type1, assigned_allowed)
BY(type1, assigned_unbound)
BY(type1, assigned_killed)
BY(cdev, assigned)
BY(cdev, assigned_allowed)
BY(cdev, assigned_unbound)
BY(cdev, assigned_killed)
BY(compat, assigned)
BY(compat, assigned_unbound)
BY(compat, assigned_killed)
BY(type1, mdev)
BY(type1, mdev_allowed)
BY(type1, mdev_copies)
BY(cdev, mdev)
BY(cdev, mdev_allowed)
BY(cdev, mdev_copies)

const struct user dma_users[] = {
	{ "disk behind bounce buffers", 0, PINS, NULL, bounced_disk },
	{ "VFIO type1", 0, NO_PINS, "falls back to page tables", assigned_by_type1 },
	{ "VFIO type1, long-term allowed", 0, NO_PINS, "falls back to page tables",
	  assigned_allowed_by_type1 },
	{ "VFIO type1, unbound", 0, NO_PINS, "unbind waits for the unmap",
	  assigned_unbound_by_type1, 0, ON_DEVICE },
	{ "VFIO type1, killed", 0, NO_PINS, "unbind waits for the exit",
	  assigned_killed_by_type1, 0, ON_DEVICE },
	{ "iommufd", 0, NO_PINS, "falls back to page tables", assigned_by_cdev },
	{ "iommufd, long-term allowed", 0, NO_PINS, "falls back to page tables",
	  assigned_allowed_by_cdev },
	{ "iommufd, unbound", 0, NO_PINS, "unbind waits for the unmap",
	  assigned_unbound_by_cdev, 0, ON_DEVICE },
	{ "iommufd, killed", 0, NO_PINS, "unbind waits for the exit",
	  assigned_killed_by_cdev, 0, ON_DEVICE },
	{ "iommufd, copy of an IOAS", 0, NO_PINS, "copies share their pages",
	  ioas_copied },
	{ "iommufd, mixed memory", 0, NO_PINS, "pins only what is ordinary",
	  ioas_mixed },
	{ "iommufd, beyond RLIMIT_MEMLOCK", -ENOMEM, NO_PINS, "as for all memory",
	  ioas_limited },
	{ "iommufd, compat", 0, NO_PINS, "falls back to page tables",
	  assigned_by_compat },
	{ "iommufd, compat, unbound", 0, NO_PINS, "unbind waits for the unmap",
	  assigned_unbound_by_compat, 0, ON_DEVICE },
	{ "iommufd, compat, killed", 0, NO_PINS, "unbind waits for the exit",
	  assigned_killed_by_compat, 0, ON_DEVICE },
	{ "VFIO mdev, type1", -EOPNOTSUPP, NO_PINS, "long-term pin", mdev_by_type1, 0, IF_NAMED },
	{ "VFIO mdev, type1, allowed", 0, PINS, "longterm is 1", mdev_allowed_by_type1, 0, IF_NAMED },
	{ "VFIO mdev, type1, vfio_dma_rw", 0, NO_PINS, "copied", mdev_copies_by_type1, 0, IF_NAMED },
	{ "VFIO mdev, iommufd", -EOPNOTSUPP, NO_PINS, "long-term pin", mdev_by_cdev, 0, IF_NAMED },
	{ "VFIO mdev, iommufd, allowed", 0, PINS, "longterm is 1", mdev_allowed_by_cdev, 0, IF_NAMED },
	{ "VFIO mdev, iommufd, vfio_dma_rw", 0, MAY_PIN, "copied", mdev_copies_by_cdev, 0, IF_NAMED },
	{ "VMCI queue pair", 0, PINS, "for good, without FOLL_LONGTERM", vmci, 0, IF_NAMED },
	{ "VMCI queue pair beyond the cap", -ENOMEM, NO_PINS, NULL, vmci_beyond, 0, IF_NAMED },
	{}
};
