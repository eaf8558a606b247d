// SPDX-License-Identifier: GPL-2.0
/* Disks that are made of others, or are elsewhere: RAID, NVMe over TCP, NBD */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <libgen.h>

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

/* A disk that a driver makes by itself: its path, once it is there */
static char *disk_appears(const char *pattern)
{
	static char path[PATH_MAX];
	glob_t found;
	int i;

	for (i = 0; i < 1000; i++) {
		if (!glob(pattern, 0, NULL, &found)) {
			snprintf(path, sizeof(path), "/dev/%s",
				 basename(found.gl_pathv[0]));
			globfree(&found);
			if (!access(path, R_OK | W_OK))
				return path;
		}
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
		disk = disk_appears("/sys/class/nvme/nvme*/nvme*n1");
		ret = disk ? check_direct(a, disk) : user_fail("no disk appears");
	}
	if (sh("for c in /sys/class/nvme/nvme*/delete_controller; do"
	       "  [ ! -e $c ] || echo 1 >$c; done;"
	       " cd " NVMET "; rm -f ports/1/subsystems/" NQN ";"
	       " rmdir ports/1 subsystems/" NQN "/namespaces/1 subsystems/" NQN))
		ret = ret ?: user_fail("the target stays");
	return ret;
}

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

const struct user disk_users[] = {
	{ "RAID 1", 0, PINS, NULL, raid1 },
	{ "RAID 5", 0, PINS, NULL, raid5 },
	{ "NVMe over TCP", 0, PINS, NULL, nvme_tcp },
	{ "NBD", 0, PINS, NULL, nbd },
	{}
};
