// SPDX-License-Identifier: GPL-2.0
/*
 * vhost-vdpa with memory that has a transient memmap: disks that are simulated, by
 * virtual and by physical address; a disk behind an IOMMU; one in user space. This
 * program plays the VMM and the guest, and for VDUSE the disk, too.
 */
#define _GNU_SOURCE
#include <glob.h>
#include <libgen.h>
#include <linux/stddef.h>
#include <linux/vduse.h>
#include <linux/vhost.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "transient_memmap_users.h"
#include "transient_memmap_vhost.h"

#define NAME		"tm_vdpa"
#define DEVICE		"/sys/bus/vdpa/devices/" NAME

/* Where the area is for the device: address 0 is another test's. */
#define IOVA		(32 * MB)

/* What the simulator takes at a time */
#define MOST		(128 * KB)

static const uint64_t wanted =
	1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_ACCESS_PLATFORM;

static int iotlb(struct vdev *dev, int type, uint64_t iova, const void *mem, size_t len)
{
	struct vhost_msg_v2 msg = {
		.type = VHOST_IOTLB_MSG_V2,
		.iotlb = {
			.iova = iova,
			.size = len,
			.uaddr = (unsigned long)mem,
			.perm = VHOST_ACCESS_RW,
			.type = type,
		},
	};

	return write(dev->fd, &msg, sizeof(msg)) == sizeof(msg) ? 0 : -errno;
}

static int map_area(struct vdev *dev)
{
	return iotlb(dev, VHOST_IOTLB_UPDATE, IOVA, dev->a->mem, dev->a->len);
}

static bool set_status(struct vdev *dev, uint8_t status)
{
	uint8_t is;

	return !ioctl(dev->fd, VHOST_VDPA_SET_STATUS, &status) &&
	       !ioctl(dev->fd, VHOST_VDPA_GET_STATUS, &is) && is == status;
}

/* Opens the device that NAME is. */
static int vdpa_open(struct vdev *dev, struct area *a)
{
	uint64_t features = 1ULL << VHOST_BACKEND_F_IOTLB_MSG_V2;
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	char path[64] = "";
	glob_t found;
	int i;

	if (!glob(DEVICE "/vhost-vdpa-*", 0, NULL, &found))
		snprintf(path, sizeof(path), "/dev/%s", basename(found.gl_pathv[0]));
	globfree(&found);
	for (i = 0; i < 100 && access(path, F_OK); i++)
		usleep(10000);
	*dev = (struct vdev) { .iova = IOVA, .a = a };
	dev->fd = open(path, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0)
		return user_skip("no vhost-vdpa");
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	if (ioctl(dev->fd, VHOST_SET_OWNER) ||
	    ioctl(dev->fd, VHOST_SET_BACKEND_FEATURES, &features))
		return user_fail("%s: %m", path);
	return 0;
}

/* Has it take requests from queue 0, which lies in memory that is mapped for it. */
static int vdpa_start(struct vdev *dev)
{
	const uint8_t driver = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	struct vhost_vring_state enable = { 0, 1 };

	memset(dev->a->mem, 0, RINGS_LEN);
	if (!set_status(dev, driver) || set_features(dev, wanted) ||
	    !set_status(dev, driver | VIRTIO_CONFIG_S_FEATURES_OK))
		return user_fail("features are refused: %m");
	if (set_queue(dev, 0) || ioctl(dev->fd, VHOST_VDPA_SET_VRING_ENABLE, &enable))
		return user_fail("no queue: %m");
	if (!set_status(dev, driver | VIRTIO_CONFIG_S_FEATURES_OK |
			     VIRTIO_CONFIG_S_DRIVER_OK))
		return user_fail("it does not start: %m");
	return 0;
}

static bool blk_rw(struct vdev *dev, bool write, char *buf, size_t len, off_t off)
{
	struct virtio_blk_outhdr *hdr = (void *)(dev->a->mem + RINGS_LEN);
	uint8_t *status = (uint8_t *)(dev->a->mem + RINGS_LEN + PAGE);
	struct iovec iov[] = { { hdr, sizeof(*hdr) }, { buf, len }, { status, 1 } };

	*hdr = (struct virtio_blk_outhdr) {
		.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
		.sector = off / 512,
	};
	*status = 0xff;
	queue_post(dev, 0, iov, write ? 2 : 1, 3);
	return queue_wait(dev, 0) >= 0 && *status == VIRTIO_BLK_S_OK;
}

/* What was written to the disk from one place is read to another. */
static int blk_transfers(struct vdev *dev)
{
	static const size_t lens[] = { 512, 4096, 5 * 512, 68 * KB + 512, MOST };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		char *out = dev->a->mem + (2 * i + 2) * 2 * MB - 1001;
		char *in = dev->a->mem + 30 * MB + (2 * i + 2) * 2 * MB - 77;

		fill(out, lens[i], i);
		memset(in - 1, 0, lens[i] + 2);
		if (!blk_rw(dev, true, out, lens[i], i * MB))
			return user_fail("%zu bytes can't be written", lens[i]);
		if (!blk_rw(dev, false, in, lens[i], i * MB))
			return user_fail("%zu bytes can't be read", lens[i]);
		if (same(in, lens[i], i) != lens[i] || in[-1] || in[lens[i]])
			return user_fail("of %zu bytes, byte %zu is wrong", lens[i],
					 same(in, lens[i], i));
	}
	return 0;
}

/* Each page, as often as it is mapped; for the process, what is pinned counts, too. */
static bool held_and_charged(size_t held, size_t charged)
{
	if (pool_get("held") == held / PAGE &&
	    named_number("/proc/self/status", "VmPin: %lu kB") == charged / KB)
		return true;
	user_note("%lu pages held, %lu kB charged", pool_get("held"),
		  named_number("/proc/self/status", "VmPin: %lu kB"));
	return false;
}

static long pins(void)
{
	write_str("/proc/sys/vm/stat_refresh", "1");
	return named_number("/proc/vmstat", "nr_foll_pin_acquired %lu") -
	       named_number("/proc/vmstat", "nr_foll_pin_released %lu");
}

/*
 * A request is refused that ends in a hole, after three pieces of memory. What was
 * pinned or held up to there is let go again, mapped already or not.
 */
static int blk_refuses_hole(struct vdev *dev)
{
	const int fixed = MAP_SHARED | MAP_FIXED, rw = PROT_READ | PROT_WRITE;
	char *reserve = mmap(NULL, 10 * MB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *mem = (char *)(((unsigned long)reserve + 2 * MB - 1) & ~(2 * MB - 1));
	int fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC), ret;
	unsigned long held = pool_get("held");
	long before, page;

	if (mmap(mem, 2 * MB, rw, fixed, fd, 80 * MB) == MAP_FAILED ||
	    mmap(mem + 2 * MB, 2 * MB, rw, fixed, fd, 90 * MB) == MAP_FAILED)
		return user_fail("can't map /dev/dax0.0: %m");
	close(fd);
	/* The last piece is ordinary memory, in pages that are hardly contiguous. */
	mprotect(mem + 4 * MB, MB, rw);
	for (page = MB - PAGE; page >= 0; page -= PAGE)
		mem[4 * MB + page] = 1;
	before = pins();
	ret = iotlb(dev, VHOST_IOTLB_UPDATE, IOVA + GB, mem + MB, 5 * MB);
	munmap(reserve, 10 * MB);
	if (ret != -EFAULT)
		return user_fail("a hole can be mapped: %s", strerror(-ret));
	if (pins() != before)
		return user_fail("%ld pages stay pinned", pins() - before);
	return pool_get("held") == held ? 0 :
		user_fail("%lu pages are held, not %lu", pool_get("held"), held);
}

/* By address of the process: whether it has a file tells what can be mapped. */
static int blk_by_va(struct area *a)
{
	struct vdev dev;
	int ret;

	ret = vdpa_open(&dev, a) ?: map_area(&dev);
	/* The end of the address space: this is not mapped, and nothing else unmapped. */
	if (!ret && iotlb(&dev, VHOST_IOTLB_UPDATE, 0, (void *)~(2 * MB - 1), MB) != -EINVAL)
		ret = user_fail("an address that nobody can have is mapped");
	if (!ret && map_area(&dev) != -EEXIST)
		ret = user_fail("it is not mapped");
	ret = ret ?: vdpa_start(&dev) ?: blk_transfers(&dev);
	close(dev.fd);
	return ret;
}

static int blk_by_pa(struct area *a)
{
	struct vdev dev;
	int ret;

	ret = vdpa_open(&dev, a) ?: map_area(&dev);
	ret = ret ?: vdpa_start(&dev) ?: blk_transfers(&dev) ?: blk_refuses_hole(&dev);
	close(dev.fd);
	return ret;
}

#define USE_VA	"/sys/module/vdpa_sim/parameters/use_va"

static int on_simulated(struct area *a, bool use_va, int (*fn)(struct area *a))
{
	int ret;

	sh("modprobe -r vdpa_sim_blk vdpa_sim; modprobe vdpa_sim use_va=%d", use_va);
	if (*read_str(USE_VA) != (use_va ? 'Y' : 'N'))
		return user_skip("no module vdpa_sim");
	if (sh("modprobe vdpa_sim_blk && vdpa dev add name " NAME " mgmtdev vdpasim_blk"))
		return user_skip("no module vdpa_sim_blk, or no program vdpa");
	ret = fn(a);
	sh("vdpa dev del " NAME);
	return ret;
}

static int simulated_by_va(struct area *a)
{
	return on_simulated(a, true, blk_by_va);
}

static int simulated_by_pa(struct area *a)
{
	return on_simulated(a, false, blk_by_pa);
}

static int simulated_by_pa_allowed(struct area *a)
{
	if (pool_set("longterm", 1))
		return user_fail("long-term pins can't be allowed");
	return simulated_by_pa(a);
}

/* On QEMU's disk that is called bounced, behind the IOMMU, by its driver for vDPA */
static int on_iommu(struct area *a, int (*fn)(struct area *a))
{
	char path[PATH_MAX], link[PATH_MAX], *pci, *dir = find_disk("bounced");
	int ret;

	if (dir)
		snprintf(path, sizeof(path), "%s/device/..", dir);
	if (!dir || !realpath(path, link) ||
	    sh("test -e %s/iommu_group -a -e /sys/bus/pci/drivers/vp-vdpa", link))
		return user_skip("no such disk, or no vp_vdpa, or no IOMMU: intel_iommu=on");
	pci = basename(link);
	if (sh("cd %s; echo vp-vdpa >driver_override; echo %s >driver/unbind;"
	       "echo %s >/sys/bus/pci/drivers_probe;"
	       "vdpa dev add name " NAME " mgmtdev pci/%s", link, pci, pci, pci))
		ret = user_skip("%s can't be a vDPA device", pci);
	else
		ret = fn(a);
	sh("cd %s; vdpa dev del " NAME "; echo >driver_override; echo %s >driver/unbind;"
	   "echo %s >/sys/bus/pci/drivers_probe", link, pci, pci);
	return ret;
}

static int blk_behind_iommu(struct area *a)
{
	struct rlimit small = { MB, RLIM_INFINITY };
	struct vdev dev;
	int ret;

	ret = vdpa_open(&dev, a);
	setrlimit(RLIMIT_MEMLOCK, &small);
	if (!ret && map_area(&dev) != -ENOMEM)
		ret = user_fail("it need not be charged");
	small.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_MEMLOCK, &small);
	ret = ret ?: map_area(&dev);
	if (!ret && !held_and_charged(a->len, a->len))
		ret = USER_FAIL;
	ret = ret ?: vdpa_start(&dev) ?: blk_transfers(&dev) ?: blk_refuses_hole(&dev);
	if (!ret && iotlb(&dev, VHOST_IOTLB_INVALIDATE, IOVA, NULL, a->len))
		ret = user_fail("can't unmap: %m");
	if (!ret && !held_and_charged(0, 0))
		ret = USER_FAIL;
	close(dev.fd);
	return ret;
}

/*
 * With the rings in other memory, which vhost pins. Then only the device reaches
 * what is held.
 */
static int blk_with_other_rings(void *arg)
{
	struct vdev *dev = arg;
	struct area *a = dev->a;
	int ret;

	mmap(a->mem, 2 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
	     -1, 0);
	ret = vdpa_open(dev, a) ?: map_area(dev);
	if (!ret && !held_and_charged(a->len - 2 * MB, a->len))
		ret = USER_FAIL;
	ret = ret ?: vdpa_start(dev) ?: blk_transfers(dev);
	munmap(a->mem + 2 * MB, a->len - 2 * MB);
	return ret;
}

/* The last of the transfers, again */
static bool read_again(void *arg)
{
	struct vdev *dev = arg;

	return blk_rw(dev, false, dev->a->mem + 50 * MB, MOST, 4 * MB);
}

/* What it wrote while unbind waited is in the memory, which nobody else had. */
static int has_been_read(struct area *a)
{
	char *mem = bind_and_map(a->len);

	if (mem == MAP_FAILED)
		return USER_FAIL;
	if (same(mem + 50 * MB, MOST, 4) != MOST)
		return user_fail("byte %zu of the last read is wrong",
				 same(mem + 50 * MB, MOST, 4));
	return 0;
}

/* The dax device is unbound before the other one is closed. */
static int blk_unbound(struct area *a)
{
	struct vdev dev = { .a = a };
	pid_t pid;
	int ret;

	ret = blk_with_other_rings(&dev);
	if (ret)
		goto out;
	ret = USER_FAIL;
	pid = unbind_that_waits();
	if (pid < 0)
		goto out;
	if (!read_again(&dev))
		user_note("the disk can't be read");
	else if (waitpid(pid, NULL, WNOHANG))
		user_note("unbind did not wait");
	else
		ret = 0;
	close(dev.fd);
	if (!ends_well(pid))
		ret = user_fail("unbind failed");
	return ret ?: has_been_read(a);
out:
	close(dev.fd);
	return ret;
}

/* Nobody closes it: the process that opened it is killed. */
static int blk_killed(struct area *a)
{
	struct vdev dev = { .a = a };

	return unbind_and_kill(a, blk_with_other_rings, read_again, &dev) ?:
	       has_been_read(a);
}

static int iommu_works(struct area *a)
{
	return on_iommu(a, blk_behind_iommu);
}

static int iommu_unbound(struct area *a)
{
	return on_iommu(a, blk_unbound);
}

static int iommu_killed(struct area *a)
{
	return on_iommu(a, blk_killed);
}

/* VDUSE: all is well, whatever the kernel asks. */
static void *vduse_answer(void *arg)
{
	int fd = *(int *)arg;
	struct vduse_dev_request request;

	while (read(fd, &request, sizeof(request)) == sizeof(request)) {
		struct vduse_dev_response response = {
			.request_id = request.request_id,
			.result = VDUSE_REQ_RESULT_OK,
		};

		if (write(fd, &response, sizeof(response)) != sizeof(response))
			break;
	}
	return NULL;
}

/* The disk maps the file of what vhost-vdpa maps, and both see the same bytes. */
static int vduse_maps(struct vdev *dev, int disk)
{
	struct vduse_iotlb_entry entry = { .start = IOVA, .last = IOVA };
	struct area *a = dev->a;
	char *mem;
	int fd, ret = 0;

	fd = ioctl(disk, VDUSE_IOTLB_GET_FD, &entry);
	if (fd < 0)
		return user_fail("no file: %m");
	if (entry.start != IOVA || entry.last != IOVA + a->len - 1)
		return user_fail("another range is mapped: %#llx to %#llx", entry.start,
				 entry.last);
	mem = mmap(NULL, a->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, entry.offset);
	close(fd);
	if (mem == MAP_FAILED)
		return user_fail("the file can't be mapped: %m");
	fill(a->mem + 4 * MB - 100, 8 * KB, 1);
	fill(mem + 8 * MB - 100, 8 * KB, 2);
	if (same(mem + 4 * MB - 100, 8 * KB, 1) != 8 * KB ||
	    same(a->mem + 8 * MB - 100, 8 * KB, 2) != 8 * KB)
		ret = user_fail("it is other memory");
	munmap(mem, a->len);
	return ret;
}

static int in_user_space(struct area *a)
{
	struct {
		struct vduse_dev_config config;
		struct virtio_blk_config blk;
	} new = {
		.config = {
			.name = NAME,
			.device_id = VIRTIO_ID_BLOCK,
			.features = wanted,
			.vq_num = 1,
			.vq_align = PAGE,
			.config_size = sizeof(new.blk),
		},
	};
	struct vduse_vq_config queue = { .max_size = RING };
	int control, fd, ret;
	struct vdev dev;
	pthread_t thread;

	control = open("/dev/vduse/control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return user_skip("no VDUSE");
	if (ioctl(control, VDUSE_CREATE_DEV, &new))
		return user_fail("can't make a device: %m");
	fd = open("/dev/vduse/" NAME, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, VDUSE_VQ_SETUP, &queue))
		return user_fail("no queue: %m");
	pthread_create(&thread, NULL, vduse_answer, &fd);
	if (sh("vdpa dev add name " NAME " mgmtdev vduse"))
		return user_skip("no program vdpa");
	ret = vdpa_open(&dev, a) ?: map_area(&dev) ?: vduse_maps(&dev, fd);
	close(dev.fd);
	sh("vdpa dev del " NAME);
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	close(fd);
	if (ioctl(control, VDUSE_DESTROY_DEV, NAME) && !ret)
		ret = user_fail("can't destroy the device: %m");
	close(control);
	return ret;
}

const struct user vdpa_users[] = {
	{ "vhost-vdpa, by virtual address", 0, NO_PINS, "copied", simulated_by_va },
	{ "vhost-vdpa, by physical address", -EOPNOTSUPP, NO_PINS, "long-term pin",
	  simulated_by_pa },
	{ "vhost-vdpa, by physical address, allowed", 0, PINS, "longterm is 1",
	  simulated_by_pa_allowed },
	{ "vhost-vdpa, IOMMU", 0, NO_PINS, "maps pfns", iommu_works },
	{ "vhost-vdpa, IOMMU, unbound", 0, NO_PINS, "unbind waits for the close",
	  iommu_unbound, 0, ON_DEVICE },
	{ "vhost-vdpa, IOMMU, killed", 0, NO_PINS, "unbind waits for the exit",
	  iommu_killed, 0, ON_DEVICE },
	{ "VDUSE", 0, NO_PINS, "maps the file", in_user_space },
	{}
};
