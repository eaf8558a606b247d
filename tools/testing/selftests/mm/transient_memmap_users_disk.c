// SPDX-License-Identifier: GPL-2.0
/* Disks that are made of others, or are elsewhere: RAID, NVMe, NBD, ublk */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>
#include <linux/stddef.h>	/* io_uring.h needs it. */
#include <linux/io_uring.h>
#include <linux/nvme_ioctl.h>
#include <linux/ublk_cmd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "transient_memmap_users.h"

#define NVMET	"/sys/kernel/config/nvmet"
#define NQN	"transient-memmap"

char *find_disk(const char *serial)
{
	static char path[PATH_MAX];
	char *found = NULL;
	glob_t all;
	size_t i;

	glob("/sys/block/*/serial", 0, NULL, &all);
	for (i = 0; i < all.gl_pathc && !found; i++)
		if (!strcmp(read_str(all.gl_pathv[i]), serial)) {
			snprintf(path, sizeof(path), "%s", all.gl_pathv[i]);
			found = dirname(path);
		}
	globfree(&all);
	return found;
}

/* Three slices of a disk of zeroes make an array that need not be synced. */
static int on_raid(struct area *a, const char *params)
{
	int ret;

	if (!have_program("dmsetup"))
		return user_skip("no dmsetup");
	if (sh("/sbin/dmsetup targets | grep -q '^raid '"))
		return user_skip("no dm-raid");
	if (sh("dd if=/dev/zero of=/dev/nullb0 bs=1M count=48"))
		return user_skip("no /dev/nullb0");
	ret = sh("set -e; for i in 0 1 2; do"
		 " /sbin/dmsetup --noudevsync create tm_slice$i --table"
		 "  \"0 32768 linear /dev/nullb0 $((i * 32768))\";"
		 " done;"
		 " /sbin/dmsetup --noudevsync mknodes;"
		 " /sbin/dmsetup --noudevsync create tm_raid --table '0 16384 raid %s';"
		 " /sbin/dmsetup --noudevsync mknodes", params) ?
		user_fail("dmsetup create failed") :
		check_direct(a, "/dev/mapper/tm_raid");
	if (sh("for i in tm_raid tm_slice0 tm_slice1 tm_slice2; do"
	       " /sbin/dmsetup --noudevsync remove --retry $i || exit 1; done"))
		ret = ret ?: user_fail("dmsetup remove failed");
	return ret;
}

#define SLICE(n)	" - /dev/mapper/tm_slice" #n

static int raid1(struct area *a)
{
	return on_raid(a, "raid1 2 0 nosync 2" SLICE(0) SLICE(1));
}

static int raid5(struct area *a)
{
	return on_raid(a, "raid5_ls 2 128 nosync 3" SLICE(0) SLICE(1) SLICE(2));
}

/* The file of a device may be there before its driver takes an open(). */
static bool can_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

char *disk_appears(const char *pattern)
{
	static char path[PATH_MAX];
	glob_t found;
	int i;

	for (i = 0; i < 1000; i++) {
		if (!glob(pattern, 0, NULL, &found)) {
			snprintf(path, sizeof(path), "/dev/%s",
				 basename(found.gl_pathv[0]));
			globfree(&found);
			if (can_open(path))
				return path;
		}
		usleep(10000);
	}
	return NULL;
}

/* The disk, "nvme", or the generic device, "ng", of the controller with a transport */
static char *nvme_node(const char *kind, const char *transport)
{
	static char path[PATH_MAX];
	unsigned int nr;
	glob_t all;
	size_t i;
	int tries;

	for (tries = 0; tries < 1000; tries++) {
		if (glob("/sys/class/nvme/nvme*/transport", 0, NULL, &all))
			all.gl_pathc = 0;
		for (i = 0; i < all.gl_pathc; i++)
			if (!strcmp(read_str(all.gl_pathv[i]), transport) &&
			    sscanf(all.gl_pathv[i], "/sys/class/nvme/nvme%u/", &nr) == 1) {
				snprintf(path, sizeof(path), "/dev/%s%un1", kind, nr);
				if (can_open(path))
					return path;
			}
		globfree(&all);
		usleep(10000);
	}
	return NULL;
}

static int nvme_tcp(struct area *a)
{
	char *disk;
	int ret;

	sh("mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config");
	if (access(NVMET, F_OK) || access("/dev/nvme-fabrics", F_OK))
		return user_skip("no NVMe target, or no host for it");
	if (access("/dev/nullb0", F_OK))
		return user_skip("no /dev/nullb0");
	if (sh("set -e; ip link set lo up; cd " NVMET ";"
	       " mkdir subsystems/" NQN " subsystems/" NQN "/namespaces/1 ports/1;"
	       " echo 1 >subsystems/" NQN "/attr_allow_any_host;"
	       " echo /dev/nullb0 >subsystems/" NQN "/namespaces/1/device_path;"
	       " echo 1 >subsystems/" NQN "/namespaces/1/enable;"
	       " echo tcp >ports/1/addr_trtype; echo ipv4 >ports/1/addr_adrfam;"
	       " echo 127.0.0.1 >ports/1/addr_traddr; echo 4420 >ports/1/addr_trsvcid;"
	       " ln -s " NVMET "/subsystems/" NQN " ports/1/subsystems/")) {
		ret = user_fail("no target");
	} else if (sh("echo transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn=" NQN
		      " >/dev/nvme-fabrics")) {
		ret = user_fail("can't connect to the target");
	} else {
		disk = nvme_node("nvme", "tcp");
		ret = disk ? check_direct(a, disk) : user_fail("no disk appears");
	}
	if (sh("for c in /sys/class/nvme/nvme*/delete_controller; do"
	       "  [ ! -e $c ] || echo 1 >$c; done;"
	       " cd " NVMET "; rm -f ports/1/subsystems/" NQN ";"
	       " rmdir ports/1 subsystems/" NQN "/namespaces/1 subsystems/" NQN))
		ret = ret ?: user_fail("the target stays");
	return ret;
}

/*
 * Commands for NVMe that were made here, by an ioctl or by io_uring. One of more than
 * the controller or a bounce buffer takes is refused, so they are of 128 KiB.
 */

#define NVME_LEN	(128 * KB)

static long nvme_pieces(transfer_fn by, int fd, bool write, void *buf, size_t len,
			off_t off)
{
	size_t done, n;
	long ret;

	for (done = 0; done < len; done += n) {
		n = len - done < NVME_LEN ? len - done : NVME_LEN;
		ret = by(fd, write, buf + done, n, off + done);
		if (ret < 0)
			return ret;
	}
	return done;
}

static struct nvme_passthru_cmd rw_command(bool write, void *buf, size_t len, off_t off)
{
	return (struct nvme_passthru_cmd) {
		.opcode = write ? 1 : 2,
		.nsid = 1,
		.addr = (unsigned long)buf,
		.data_len = len,
		.cdw10 = off / 512,
		.cdw12 = len / 512 - 1,
	};
}

static long command_by_ioctl(int fd, bool write, void *buf, size_t len, off_t off)
{
	struct nvme_passthru_cmd cmd = rw_command(write, buf, len, off);
	int status = ioctl(fd, NVME_IOCTL_IO_CMD, &cmd);

	return status < 0 ? -errno : status ? -EIO : (long)len;
}

/* A command to a driver: what it is, and what @flags say of the ring's entries */
static long uring_cmd(int flags, int fd, uint32_t op, const void *cmd, size_t len)
{
	union {
		struct io_uring_sqe sqe;
		char bytes[128];
	} big = { .sqe = { .opcode = IORING_OP_URING_CMD, .fd = fd } };

	big.sqe.cmd_op = op;
	memcpy(big.sqe.cmd, cmd, len);
	return uring_request(flags, &big.sqe, NULL);
}

/* struct nvme_uring_cmd is laid out alike, but for the result, which is 0 here. */
static long command_by_uring(int fd, bool write, void *buf, size_t len, off_t off)
{
	const struct nvme_passthru_cmd cmd = rw_command(write, buf, len, off);
	long status;

	_Static_assert(sizeof(cmd) == sizeof(struct nvme_uring_cmd), "alike");
	status = uring_cmd(IORING_SETUP_SQE128 | IORING_SETUP_CQE32, fd,
			   NVME_URING_CMD_IO, &cmd, sizeof(cmd));
	return status < 0 ? status : status ? -EIO : (long)len;
}

static long transfer_nvme_ioctl(int fd, bool write, void *buf, size_t len, off_t off)
{
	return nvme_pieces(command_by_ioctl, fd, write, buf, len, off);
}

static long transfer_nvme_uring(int fd, bool write, void *buf, size_t len, off_t off)
{
	return nvme_pieces(command_by_uring, fd, write, buf, len, off);
}

/* QEMU's controller; the driver is there for it alone. */
static int on_nvme(struct area *a, int (*check)(struct area *a))
{
	int ret;

	if (sh("modprobe nvme") || access("/sys/class/nvme/nvme0", F_OK))
		return user_skip("no NVMe controller");
	ret = check(a);
	if (sh("modprobe -r nvme"))
		ret = ret ?: user_fail("modprobe -r nvme failed");
	return ret;
}

static int check_nvme(struct area *a)
{
	char *disk = nvme_node("nvme", "pcie");

	return disk ? check_direct(a, disk) : user_fail("no disk appears");
}

static int check_nvme_by(struct area *a, transfer_fn by)
{
	char *disk = nvme_node("nvme", "pcie"), *node;
	char path[PATH_MAX];

	if (!disk)
		return user_fail("no disk appears");
	strcpy(path, disk);
	node = nvme_node("ng", "pcie");
	return node ? check_other_way(a, node, path, by) : user_fail("no generic device");
}

static int check_nvme_ioctl(struct area *a)
{
	return check_nvme_by(a, transfer_nvme_ioctl);
}

static int check_nvme_uring(struct area *a)
{
	return check_nvme_by(a, transfer_nvme_uring);
}

static int nvme(struct area *a) { return on_nvme(a, check_nvme); }
static int nvme_ioctl(struct area *a) { return on_nvme(a, check_nvme_ioctl); }
static int nvme_uring(struct area *a) { return on_nvme(a, check_nvme_uring); }

static int check_nvme_beyond(struct area *a)
{
	int ret = check_nvme_ioctl(a), by_uring = check_nvme_uring(a);

	return ret == by_uring ? ret :
	       user_fail("an ioctl says %d, io_uring %d", ret, by_uring);
}

static int check_nvme_at_cap(struct area *a) { return beyond_cap(a, check_nvme_beyond); }
static int beyond_nvme(struct area *a) { return on_nvme(a, check_nvme_at_cap); }

static int nbd(struct area *a)
{
	int ret;

	if (access("/dev/nbd0", F_OK))
		return user_skip("no nbd");
	if (!have_program("qemu-nbd"))
		return user_skip("no qemu-nbd");
	if (sh("truncate -s 16M image && qemu-nbd -f raw -k $PWD/socket -c /dev/nbd0 image"))
		return user_fail("qemu-nbd failed");
	ret = check_direct(a, "/dev/nbd0");
	if (sh("qemu-nbd -d /dev/nbd0"))
		ret = ret ?: user_fail("qemu-nbd -d failed");
	return ret;
}

/*
 * ublk: a process of the row serves the disk, a request at a time, and has the data in
 * ordinary memory. A completion is the next request.
 */

#define UBLK_LEN	(16 * MB)
#define UBLK_REQUEST	(512 * KB)

static void ublk_serve(void)
{
	struct ublksrv_io_cmd cmd = { .result = -1 };
	const struct ublksrv_io_desc *iod;
	uint32_t op = UBLK_U_IO_FETCH_REQ;
	char *data, *buf, *at;
	size_t len;
	int i, fd = -1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < 1000 && fd < 0; i++) {
		fd = open("/dev/ublkc0", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			usleep(10000);
	}
	iod = mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, fd,
		   UBLKSRV_CMD_BUF_OFFSET);
	data = calloc(1, UBLK_LEN);
	buf = aligned_alloc(PAGE, UBLK_REQUEST);
	if (iod == MAP_FAILED || !data || !buf)
		_exit(1);
	cmd.addr = (unsigned long)buf;
	while (!uring_cmd(0, fd, op, &cmd, sizeof(cmd))) {
		at = data + iod->start_sector * 512;
		len = iod->nr_sectors * 512;
		switch (iod->op_flags & 0xff) {
		case UBLK_IO_OP_READ:
			memcpy(buf, at, len);
			break;
		case UBLK_IO_OP_WRITE:
			memcpy(at, buf, len);
			break;
		}
		cmd.result = len;
		op = UBLK_U_IO_COMMIT_AND_FETCH_REQ;
	}
	_exit(0);
}

static long ublk_control(int fd, uint32_t op, void *arg, size_t len, uint64_t data)
{
	const struct ublksrv_ctrl_cmd cmd = {
		.queue_id = -1, .addr = (unsigned long)arg, .len = len, .data = { data },
	};

	return uring_cmd(IORING_SETUP_SQE128, fd, op, &cmd, sizeof(cmd));
}

static int ublk(struct area *a)
{
	struct ublksrv_ctrl_dev_info info = {
		.nr_hw_queues = 1, .queue_depth = 1, .max_io_buf_bytes = UBLK_REQUEST,
		.flags = UBLK_F_CMD_IOCTL_ENCODE,
	};
	struct ublk_params params = {
		.len = sizeof(params), .types = UBLK_PARAM_TYPE_BASIC,
		.basic = {
			.logical_bs_shift = 9, .physical_bs_shift = 9, .io_min_shift = 9,
			.max_sectors = UBLK_REQUEST / 512, .dev_sectors = UBLK_LEN / 512,
		},
	};
	int fd, ret = 0;
	pid_t server;
	char *disk;

	sh("modprobe ublk_drv");
	fd = open("/dev/ublk-control", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return user_skip("no ublk");
	if (ublk_control(fd, UBLK_U_CMD_ADD_DEV, &info, sizeof(info), 0))
		return user_fail("ublk makes no device");
	server = fork();
	if (!server)
		ublk_serve();
	if (ublk_control(fd, UBLK_U_CMD_SET_PARAMS, &params, sizeof(params), 0) ||
	    ublk_control(fd, UBLK_U_CMD_START_DEV, NULL, 0, server))
		ret = user_fail("ublk does not start");
	disk = ret ? NULL : disk_appears("/sys/block/ublkb0");
	if (!ret)
		ret = disk ? check_direct(a, disk) : user_fail("no disk appears");
	ublk_control(fd, UBLK_U_CMD_STOP_DEV, NULL, 0, 0);
	kill(server, SIGTERM);
	waitpid(server, NULL, 0);
	if (ublk_control(fd, UBLK_U_CMD_DEL_DEV, NULL, 0, 0))
		ret = ret ?: user_fail("ublk's device stays");
	close(fd);
	return ret;
}

const struct user disk_users[] = {
	{ "RAID 1", 0, PINS, NULL, raid1 },
	{ "RAID 5", 0, PINS, NULL, raid5 },
	{ "NVMe over TCP", 0, PINS, NULL, nvme_tcp },
	{ "NVMe", 0, PINS, NULL, nvme, 0, IF_NAMED },
	{ "NVMe passthrough, ioctl", 0, PINS, NULL, nvme_ioctl, 0, IF_NAMED },
	{ "NVMe passthrough, io_uring", 0, PINS, NULL, nvme_uring, 0, IF_NAMED },
	{ "NVMe passthrough, beyond the cap", -ENOMEM, NO_PINS, NULL, beyond_nvme, 0, IF_NAMED },
	{ "NBD", 0, PINS, NULL, nbd },
	{ "ublk", 0, PINS, NULL, ublk, 0, IF_NAMED },
	{}
};
