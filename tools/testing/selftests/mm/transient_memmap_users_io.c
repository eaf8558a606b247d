// SPDX-License-Identifier: GPL-2.0
/* Block and file I/O with memory that has a transient memmap */
#define _GNU_SOURCE
#include <dirent.h>
#include <linux/aio_abi.h>
#include <linux/bsg.h>
#include <linux/fs.h>
#include <linux/if_alg.h>
#include <linux/io_uring.h>
#include <mntent.h>
#include <netinet/in.h>
#include <sched.h>
#include <scsi/sg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "transient_memmap_users.h"

/* The interfaces */

long transfer_psync(int fd, bool write, void *buf, size_t len, off_t off)
{
	long ret = write ? pwrite(fd, buf, len, off) : pread(fd, buf, len, off);

	return ret < 0 ? -errno : ret;
}

/* As many pieces as there may be, none smaller than a sector */
static long transfer_vectored(int fd, bool write, void *buf, size_t len, off_t off)
{
	struct iovec iov[IOV_MAX];
	size_t done = 0, piece = 512;
	int n = 0;
	long ret;

	while (done < len) {
		if (n == IOV_MAX - 1 || piece > len - done)
			piece = len - done;
		iov[n++] = (struct iovec) { buf + done, piece };
		done += piece;
	}
	ret = write ? pwritev(fd, iov, n, off) : preadv(fd, iov, n, off);
	return ret < 0 ? -errno : ret;
}

static long aio_request(struct iocb *cb)
{
	struct iocb *cbs[] = { cb };
	struct io_event event = { .res = -EIO };
	aio_context_t ctx = 0;

	if (syscall(SYS_io_setup, 1, &ctx))
		return -errno;
	if (syscall(SYS_io_submit, ctx, 1, cbs) != 1)
		event.res = -errno;
	else
		syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL);
	syscall(SYS_io_destroy, ctx);
	return event.res;
}

long transfer_aio(int fd, bool write, void *buf, size_t len, off_t off)
{
	return aio_request(&(struct iocb) {
		.aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = fd,
		.aio_buf = (unsigned long)buf,
		.aio_nbytes = len,
		.aio_offset = off,
	});
}

long uring_request(int flags, const struct io_uring_sqe *sqe, const struct iovec *fixed)
{
	struct io_uring_params p = { .flags = flags | IORING_SETUP_NO_SQARRAY };
	unsigned int *sq_tail, *cq_head, *cq_tail, submit = 1;
	int ring = syscall(SYS_io_uring_setup, 1, &p);
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqes;
	bool more = true;
	long ret = 0;
	char *rings;

	if (ring < 0)
		return -errno;
	if (fixed && syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS,
			     fixed, 1)) {
		ret = -errno;
		goto out;
	}
	/* Both rings are in one mapping. */
	rings = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		     IORING_OFF_SQ_RING);
	sqes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		    IORING_OFF_SQES);
	if (rings == MAP_FAILED || sqes == MAP_FAILED) {
		ret = -errno;
		goto out;
	}
	sq_tail = (unsigned int *)(rings + p.sq_off.tail);
	cq_head = (unsigned int *)(rings + p.cq_off.head);
	cq_tail = (unsigned int *)(rings + p.cq_off.tail);
	memcpy(sqes, sqe, sizeof(*sqe) << !!(flags & IORING_SETUP_SQE128));
	__atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
	/* A second completion may tell when the memory is free again. */
	while (more && ret >= 0) {
		if (syscall(SYS_io_uring_enter, ring, submit, 1,
			    IORING_ENTER_GETEVENTS, NULL, 0) < 0) {
			ret = -errno;
			break;
		}
		submit = 0;
		while (*cq_head != __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE)) {
			cqe = (struct io_uring_cqe *)(rings + p.cq_off.cqes) +
			      ((*cq_head % p.cq_entries) << !!(flags & IORING_SETUP_CQE32));
			more = cqe->flags & IORING_CQE_F_MORE;
			if (!(cqe->flags & IORING_CQE_F_NOTIF))
				ret = cqe->res;
			__atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
		}
	}
	munmap(rings, PAGE);
	munmap(sqes, PAGE);
	/* What is left to the end of a ring is unpinned some time after it. */
	if (fixed && syscall(SYS_io_uring_register, ring, IORING_UNREGISTER_BUFFERS,
			     NULL, 0) && ret >= 0)
		ret = -errno;
out:
	close(ring);
	return ret;
}

static long uring_transfer(int flags, bool fixed, int fd, bool write, void *buf,
			   size_t len, off_t off)
{
	const struct iovec iov = { buf, len };
	const struct io_uring_sqe sqe = {
		.opcode = write ? fixed ? IORING_OP_WRITE_FIXED : IORING_OP_WRITE :
				  fixed ? IORING_OP_READ_FIXED : IORING_OP_READ,
		.fd = fd,
		.addr = (unsigned long)buf,
		.len = len,
		.off = off,
	};

	return uring_request(flags, &sqe, fixed ? &iov : NULL);
}

static long transfer_uring(int fd, bool write, void *buf, size_t len, off_t off)
{
	return uring_transfer(0, false, fd, write, buf, len, off);
}

static long transfer_polled(int fd, bool write, void *buf, size_t len, off_t off)
{
	return uring_transfer(IORING_SETUP_IOPOLL, false, fd, write, buf, len, off);
}

static long transfer_fixed(int fd, bool write, void *buf, size_t len, off_t off)
{
	return uring_transfer(0, true, fd, write, buf, len, off);
}

/*
 * Every other piece lies in ordinary memory. Pieces of a sector come to 256, as many
 * as one bio takes, and more.
 */
static long transfer_mixed(int fd, bool write, char *buf, size_t len, off_t off,
			   long (*by)(int fd, bool write, struct iovec *iov, int n,
				      off_t off))
{
	const size_t unit = len > 128 * KB ? PAGE : 512;
	char *ordinary = aligned_alloc(PAGE, MB);
	struct iovec iov[IOV_MAX];
	size_t done, piece;
	int i, n = 0;
	long ret;

	memcpy(ordinary, buf, len);
	for (done = 0; done < len; done += piece) {
		piece = len - done < unit ? len - done : unit;
		iov[n] = (struct iovec) { (n & 1 ? ordinary : buf) + done, piece };
		n++;
	}
	ret = by(fd, write, iov, n, off);
	for (i = 1; i < n && !write; i += 2)
		memcpy(buf + ((char *)iov[i].iov_base - ordinary), iov[i].iov_base,
		       iov[i].iov_len);
	free(ordinary);
	return ret;
}

static long aio_pieces(int fd, bool write, struct iovec *iov, int n, off_t off)
{
	return aio_request(&(struct iocb) {
		.aio_lio_opcode = write ? IOCB_CMD_PWRITEV : IOCB_CMD_PREADV,
		.aio_fildes = fd,
		.aio_buf = (unsigned long)iov,
		.aio_nbytes = n,
		.aio_offset = off,
	});
}

static long transfer_aio_mixed(int fd, bool write, void *buf, size_t len, off_t off)
{
	return transfer_mixed(fd, write, buf, len, off, aio_pieces);
}

static long uring_pieces(int fd, bool write, struct iovec *iov, int n, off_t off)
{
	const struct io_uring_sqe sqe = {
		.opcode = write ? IORING_OP_WRITEV : IORING_OP_READV,
		.fd = fd,
		.addr = (unsigned long)iov,
		.len = n,
		.off = off,
	};

	return uring_request(0, &sqe, NULL);
}

static long transfer_uring_mixed(int fd, bool write, void *buf, size_t len, off_t off)
{
	return transfer_mixed(fd, write, buf, len, off, uring_pieces);
}

/* SCSI commands, as struct sg_io_hdr or struct sg_io_v4 */

static void rw_10(unsigned char *cdb, bool write, size_t len, off_t off)
{
	unsigned int lba = off / 512, nr = len / 512;

	memset(cdb, 0, 10);
	cdb[0] = write ? 0x2a : 0x28;
	cdb[2] = lba >> 24;
	cdb[3] = lba >> 16;
	cdb[4] = lba >> 8;
	cdb[5] = lba;
	cdb[7] = nr >> 8;
	cdb[8] = nr;
}

static long transfer_sg_io(int fd, bool write, void *buf, size_t len, off_t off)
{
	unsigned char cdb[10], sense[32];
	struct sg_io_hdr hdr = {
		.interface_id = 'S',
		.dxfer_direction = write ? SG_DXFER_TO_DEV : SG_DXFER_FROM_DEV,
		.cmd_len = sizeof(cdb),
		.cmdp = cdb,
		.mx_sb_len = sizeof(sense),
		.sbp = sense,
		.dxferp = buf,
		.dxfer_len = len,
		.timeout = 20000,
		.flags = SG_FLAG_DIRECT_IO,
	};

	rw_10(cdb, write, len, off);
	if (ioctl(fd, SG_IO, &hdr))
		return -errno;
	return hdr.status || hdr.host_status ? -EIO : (long)len - hdr.resid;
}

static long transfer_bsg(int fd, bool write, void *buf, size_t len, off_t off)
{
	unsigned char cdb[10], sense[32];
	struct sg_io_v4 hdr = {
		.guard = 'Q',
		.protocol = BSG_PROTOCOL_SCSI,
		.subprotocol = BSG_SUB_PROTOCOL_SCSI_CMD,
		.request_len = sizeof(cdb),
		.request = (unsigned long)cdb,
		.max_response_len = sizeof(sense),
		.response = (unsigned long)sense,
		.timeout = 20000,
	};

	rw_10(cdb, write, len, off);
	if (write) {
		hdr.dout_xfer_len = len;
		hdr.dout_xferp = (unsigned long)buf;
	} else {
		hdr.din_xfer_len = len;
		hdr.din_xferp = (unsigned long)buf;
	}
	if (ioctl(fd, SG_IO, &hdr))
		return -errno;
	return hdr.device_status || hdr.transport_status ? -EIO : (long)len;
}

/*
 * What is on a disk or in a file, by way of ordinary memory: @fd is open for the
 * page cache, or what is to be used by a transfer_fn
 */

static bool contents_put(int fd, transfer_fn by, size_t len, off_t off, int seed)
{
	char *p = malloc(len);
	bool ok;

	fill(p, len, seed);
	ok = by(fd, true, p, len, off) == (long)len;
	fsync(fd);
	ioctl(fd, BLKFLSBUF);
	free(p);
	return ok;
}

static bool contents_are(int fd, transfer_fn by, size_t len, off_t off, int seed)
{
	char *p = malloc(len);
	bool ok;

	ioctl(fd, BLKFLSBUF);
	ok = by(fd, false, p, len, off) == (long)len && same(p, len, seed) == len;
	free(p);
	return ok;
}

/* The way to the data that is tested, and another one */
struct way {
	int fd, fd2;
	transfer_fn by, by2;
};

/* One transfer each way */
static int check_transfer(const struct way *way, char *buf, size_t len, off_t off,
			  int seed)
{
	long ret;

	fill(buf, len, seed);
	ret = way->by(way->fd, true, buf, len, off);
	if (ret < 0)
		return ret;
	if (ret != (long)len)
		return user_fail("%ld of %zu bytes were written", ret, len);
	if (!contents_are(way->fd2, way->by2, len, off, seed))
		return user_fail("%zu bytes written are not there", len);

	if (!contents_put(way->fd2, way->by2, len, off, seed + 1))
		return user_fail("can't write from ordinary memory");
	memset(buf - PAGE, 0x3c, len + 2 * PAGE);
	ret = way->by(way->fd, false, buf, len, off);
	if (ret < 0)
		return ret;
	if (ret != (long)len)
		return user_fail("%ld of %zu bytes were read", ret, len);
	if (same(buf, len, seed + 1) != len)
		return user_fail("byte %zu of %zu that were read is wrong",
				 same(buf, len, seed + 1), len);
	if (!all_bytes(buf - PAGE, PAGE, 0x3c) || !all_bytes(buf + len, PAGE, 0x3c))
		return user_fail("bytes beside %zu that were read changed", len);
	return 0;
}

static int check_way(struct area *a, const struct way *way, size_t unit)
{
	const size_t lens[] = {
		unit, 4 * KB, 4 * KB + unit, 68 * KB + unit, 512 * KB - unit,
		512 * KB,	/* IOV_MAX sectors */
	};
	int seed = 1, ret = 0;
	size_t i;

	/* Each begins a unit short of a block's end, and then of a page's. */
	for (i = 0; i < ARRAY_SIZE(lens) && !ret; i++) {
		ret = check_transfer(way, a->mem + (2 * i + 2) * 2 * MB - unit,
				     lens[i], i * 640 * KB, seed);
		seed += 2;
		if (!ret)
			ret = check_transfer(way, a->mem + 40 * MB + 7 * PAGE - unit,
					     lens[i], unit * i, seed);
		seed += 2;
	}
	return ret;
}

int check_transfers(struct area *a, const char *path, int flags, size_t unit,
		    transfer_fn transfer)
{
	struct way way = {
		.fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600),
		.by = transfer,
		.fd2 = open(path, O_RDWR | O_CLOEXEC),
		.by2 = transfer_psync,
	};
	int ret;

	if (way.fd < 0 || way.fd2 < 0)
		return user_fail("can't open %s: %m", path);
	ret = check_way(a, &way, unit);
	close(way.fd);
	close(way.fd2);
	return ret;
}

int check_other_way(struct area *a, const char *path, const char *disk,
		    transfer_fn transfer)
{
	struct way way = {
		.fd = open(path, O_RDWR | O_CLOEXEC),
		.by = transfer,
		.fd2 = open(disk, O_RDWR | O_CLOEXEC),
		.by2 = transfer_psync,
	};
	int ret;

	if (way.fd < 0 || way.fd2 < 0)
		return user_fail("can't open %s: %m", path);
	ret = check_way(a, &way, 512);
	close(way.fd);
	close(way.fd2);
	return ret;
}

int check_direct(struct area *a, const char *path)
{
	return check_transfers(a, path, O_DIRECT, 512, transfer_psync) ?:
	       check_transfers(a, path, O_DIRECT, 512, transfer_aio);
}

/* A disk in memory, with a queue that is polled */

#define DISK	"/dev/tm_users"

static int disk_transfers(struct area *a, transfer_fn transfer)
{
	int ret;

	nullb_make("tm_users", "16", "10000");
	if (access(DISK, F_OK))
		return user_skip("no null_blk with configfs");
	ret = check_transfers(a, DISK, O_DIRECT, 512, transfer);
	nullb_remove("tm_users");
	return ret;
}

static int disk_psync(struct area *a) { return disk_transfers(a, transfer_psync); }
static int disk_vectored(struct area *a) { return disk_transfers(a, transfer_vectored); }
static int disk_aio(struct area *a) { return disk_transfers(a, transfer_aio); }
static int disk_aio_mixed(struct area *a) { return disk_transfers(a, transfer_aio_mixed); }
static int disk_uring_mixed(struct area *a) { return disk_transfers(a, transfer_uring_mixed); }
static int disk_uring(struct area *a) { return disk_transfers(a, transfer_uring); }
static int disk_fixed(struct area *a) { return disk_transfers(a, transfer_fixed); }

/* null_blk sleeps, for memory, where it is polled: give it all it needs before. */
static int disk_polled(struct area *a)
{
	int fd, ret;

	nullb_make("tm_users", "16", "10000");
	fd = open(DISK, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return user_skip("no null_blk with configfs");
	if (contents_put(fd, transfer_psync, 16 * MB, 0, 1))
		ret = check_transfers(a, DISK, O_DIRECT, 512, transfer_polled);
	else
		ret = user_fail("can't write %s", DISK);
	close(fd);
	nullb_remove("tm_users");
	return ret;
}

static int disk_fixed_allowed(struct area *a)
{
	pool_set("longterm", 1);
	return disk_fixed(a);
}

/* Whether the disk has the pattern, and zeroes from @from to @to */
static bool zeroed(int fd, size_t from, size_t to)
{
	char *want = malloc(4 * MB), *got = malloc(4 * MB);
	bool ok;

	fill(want, 4 * MB, 7);
	memset(want + from, 0, to - from);
	ok = pread(fd, got, 4 * MB, 0) == 4 * (ssize_t)MB && !memcmp(got, want, 4 * MB);
	free(want);
	free(got);
	return ok;
}

/* Commands without data take nothing of the caller's. */
static int disk_discard(struct area *a)
{
	uint64_t *range = (uint64_t *)a->mem;
	int fd, cached, ret = 0;

	nullb_make("tm_users", "16", "10000");
	cached = open(DISK, O_RDWR | O_CLOEXEC);
	fd = open(DISK, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return user_skip("no null_blk with configfs");
	range[0] = 1 * MB;
	range[1] = 1 * MB;
	if (!contents_put(cached, transfer_psync, 4 * MB, 0, 7))
		ret = user_fail("can't write %s", DISK);
	else if (ioctl(fd, BLKZEROOUT, range))
		ret = -errno;
	else if (!zeroed(cached, 1 * MB, 2 * MB))
		ret = user_fail("the wrong part was zeroed");
	/* This disk has nothing but zeroes where there is no data. */
	range[0] = 2 * MB;
	if (!ret && ioctl(fd, BLKDISCARD, range))
		ret = -errno;
	else if (!ret && !zeroed(cached, 1 * MB, 3 * MB))
		ret = user_fail("the wrong part was discarded");
	close(fd);
	close(cached);
	nullb_remove("tm_users");
	return ret;
}

/* File systems */

/* What is made in the directory mnt for a check, and removed after it */
typedef int (*on_fn)(struct area *a, check_fn check);

static int on_fs(struct area *a, const char *fs, const char *mb, const char *mkfs,
		 on_fn on, check_fn check)
{
	int ret;

	nullb_make("tm_users", mb, "10000");
	if (access(DISK, F_OK))
		return user_skip("no null_blk with configfs");
	mkdir("mnt", 0700);
	if (!have_program(mkfs))
		ret = user_skip("no mkfs.%s", fs);
	else if (sh("PATH=$PATH:/usr/sbin:/sbin %s " DISK, mkfs))
		ret = user_fail("mkfs.%s failed", fs);
	else if (mount(DISK, "mnt", fs, 0, NULL))
		ret = errno == ENODEV ? user_skip("no %s", fs) :
					user_fail("can't mount %s: %m", fs);
	else
		ret = on(a, check);
	umount2("mnt", 0);
	nullb_remove("tm_users");
	return ret;
}

static int file_at(struct area *a, const char *path, check_fn check)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (ftruncate(fd, 8 * MB))
		return user_fail("can't make a file: %m");
	close(fd);
	return check(a, path);
}

static int on_file(struct area *a, check_fn check)
{
	return file_at(a, "mnt/file", check);
}

static int on_overlay(struct area *a, check_fn check)
{
	int ret;

	if (sh("cd mnt && mkdir lower upper work merged"))
		return user_fail("can't make directories");
	if (mount("overlay", "mnt/merged", "overlay", 0,
		  "lowerdir=mnt/lower,upperdir=mnt/upper,workdir=mnt/work"))
		return errno == ENODEV ? user_skip("no overlayfs") :
					 user_fail("can't mount overlayfs: %m");
	ret = file_at(a, "mnt/merged/file", check);
	umount2("mnt/merged", 0);
	return ret;
}

/* The machine's own share with its host, the first that can be written */
static int on_9p(struct area *a, check_fn check)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	char path[PATH_MAX] = "";
	struct mntent *ent;
	int ret;

	while (f && !*path && (ent = getmntent(f)))
		if (!strcmp(ent->mnt_type, "9p") && hasmntopt(ent, "rw"))
			snprintf(path, sizeof(path), "%s/transient_memmap_users.tmp",
				 ent->mnt_dir);
	if (f)
		endmntent(f);
	if (!*path)
		return user_skip("no 9p that can be written");
	ret = file_at(a, path, check);
	unlink(path);
	return ret;
}

/* QEMU's storage daemon serves one file, by libfuse. */
static int on_fuse(struct area *a, check_fn check)
{
	int ret;

	if (access("/dev/fuse", F_OK))
		return user_skip("no fuse");
	if (!have_program("qemu-storage-daemon"))
		return user_skip("no qemu-storage-daemon");
	if (sh("truncate -s 8M image; : >served;"
	       " qemu-storage-daemon --daemonize --pidfile $PWD/pid"
	       " --blockdev driver=file,node-name=n,filename=$PWD/image"
	       " --export type=fuse,id=e,node-name=n,mountpoint=$PWD/served,writable=on"))
		return user_fail("qemu-storage-daemon failed");
	ret = check(a, "served");
	if (sh("umount served; pid=$(cat pid); kill $pid;"
	       " while [ -e /proc/$pid ]; do sleep 0.05; done"))
		ret = ret ?: user_fail("qemu-storage-daemon stays");
	return ret;
}

/* The machine's host serves a directory with this tag, if it does. */
#define VIRTIOFS_TAG	"transient_memmap"

static int on_virtiofs(struct area *a, check_fn check)
{
	int ret;

	mkdir("mnt", 0700);
	if (mount(VIRTIOFS_TAG, "mnt", "virtiofs", 0, NULL))
		return user_skip("no virtiofs " VIRTIOFS_TAG ": %m");
	ret = file_at(a, "mnt/file", check);
	unlink("mnt/file");
	if (umount2("mnt", 0))
		ret = ret ?: user_fail("can't unmount virtiofs: %m");
	return ret;
}

static int ext4_file(struct area *a)
{
	return on_fs(a, "ext4", "64", "mkfs.ext4", on_file, check_direct);
}

static int xfs_file(struct area *a)
{
	return on_fs(a, "xfs", "320", "mkfs.xfs", on_file, check_direct);
}

/* Pages only: it does the rest through the page cache. */
static int check_pages(struct area *a, const char *path)
{
	return check_transfers(a, path, O_DIRECT, PAGE, transfer_psync) ?:
	       check_transfers(a, path, O_DIRECT, PAGE, transfer_aio);
}

/* Without copy on write, it has no checksums either. */
static int on_nocow_file(struct area *a, check_fn check)
{
	int fd = open("mnt/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int flags = FS_NOCOW_FL;

	if (ioctl(fd, FS_IOC_SETFLAGS, &flags))
		return user_fail("can't switch copy on write off: %m");
	close(fd);
	return on_file(a, check);
}

static int on_btrfs(struct area *a, on_fn on, check_fn check)
{
	sh("modprobe btrfs");
	return on_fs(a, "btrfs", "256", "mkfs.btrfs", on, check);
}

static int btrfs_file(struct area *a) { return on_btrfs(a, on_file, check_pages); }
static int btrfs_nocow(struct area *a) { return on_btrfs(a, on_nocow_file, check_pages); }

static int file_on_9p(struct area *a) { return on_9p(a, check_direct); }
static int file_on_fuse(struct area *a) { return on_fuse(a, check_direct); }
static int file_on_virtiofs(struct area *a) { return on_virtiofs(a, check_direct); }

static int on_loop(struct area *a, check_fn check)
{
	char dev[64], dio[PATH_MAX];
	FILE *f;
	int ret;

	if (!have_program("losetup"))
		return user_skip("no losetup");
	if (sh("truncate -s 8M mnt/image"))
		return user_fail("can't make a file");
	f = popen("/sbin/losetup --show --direct-io=on -f mnt/image", "r");
	if (!f || !fgets(dev, sizeof(dev), f) || strncmp(dev, "/dev/loop", 9)) {
		ret = user_fail("losetup failed");
		dev[0] = 0;
	} else {
		dev[strcspn(dev, "\n")] = 0;
		/* If it can't, it does not say so. */
		snprintf(dio, sizeof(dio), "/sys/block/%s/loop/dio", dev + 5);
		ret = strcmp(read_str(dio), "1") ? user_fail("no direct I/O to the file") :
						   check(a, dev);
	}
	if (f)
		pclose(f);
	if (dev[0] && sh("/sbin/losetup -d %s", dev))
		ret = user_fail("can't detach %s", dev);
	return ret;
}

static int loop_disk(struct area *a)
{
	return on_fs(a, "ext4", "64", "mkfs.ext4", on_loop, check_direct);
}

static int buffered_file(struct area *a)
{
	return check_transfers(a, "file", O_CREAT, 1, transfer_psync) ?:
	       check_transfers(a, "file", O_CREAT, 1, transfer_vectored);
}

/*
 * One block at a time may be live, and a request has memory of two. It has to be
 * done, or to fail; if it was short, QEMU would take the rest for zeroes, and the
 * guest would get wrong data.
 */

static bool sectors_are_either(int fd, size_t len, int seed, int seed2)
{
	char *got = malloc(len), *want = malloc(len), *want2 = malloc(len);
	bool ok = pread(fd, got, len, 0) == (ssize_t)len;
	size_t i;

	fill(want, len, seed);
	fill(want2, len, seed2);
	for (i = 0; i < len && ok; i += 512)
		ok = !memcmp(got + i, want + i, 512) ||
		     !memcmp(got + i, want2 + i, 512);
	free(got);
	free(want);
	free(want2);
	return ok;
}

/*
 * The calls of FUSE may end where the memory of the first block does. Then the count
 * has to be right, and the next call goes on.
 */
static long transfer_capped(transfer_fn by, int fd, bool write, char *buf, size_t len,
			    bool may_be_short)
{
	unsigned long cap = pool_limit(DAX, "cap");
	size_t done = 0;
	long ret;

	pool_set("cap", 1);
	do {
		ret = by(fd, write, buf + done, len - done, done);
		done += ret > 0 ? ret : 0;
	} while (may_be_short && ret > 0 && done < len);
	pool_set("cap", cap);
	return ret < 0 ? ret : (long)done;
}

/* What a file system may do with direct I/O, other than to do it or to fail */
enum {
	READ_MAY_BE_SHORT = 1,
	WRITE_MAY_BE_SHORT = 2,
	COPIES = 4,
};

/* The first error, or 0 */
static int check_halves(struct area *a, int fd, int cached, transfer_fn by, int may)
{
	/* What can be pinned ends in the middle of a cluster of 8 KiB. */
	char *buf = a->mem + 4 * MB - 516 * KB;
	const size_t len = MB;
	long wrote, got;

	if (!contents_put(cached, transfer_psync, len, 0, 1))
		return user_fail("can't write from ordinary memory");
	fill(buf, len, 2);
	wrote = transfer_capped(by, fd, true, buf, len, may & WRITE_MAY_BE_SHORT);
	if (wrote >= 0 && wrote != (long)len)
		return user_fail("%ld of %zu bytes were written", wrote, len);
	if (!(wrote < 0 ? sectors_are_either(cached, len, 1, 2) :
			  contents_are(cached, transfer_psync, len, 0, 2)))
		return user_fail("%ld: it wrote something else", wrote);

	if (!contents_put(cached, transfer_psync, len, 0, 3))
		return user_fail("can't write from ordinary memory");
	memset(buf, 0x3c, len);
	got = transfer_capped(by, fd, false, buf, len, may & READ_MAY_BE_SHORT);
	if (got >= 0 && (got != (long)len || same(buf, len, 3) != len))
		return user_fail("%ld of %zu bytes were read, %zu of them right", got,
				 len, same(buf, len, 3));
	return wrote < 0 ? wrote : got < 0 ? got : 0;
}

/* Another block is pinned for all the time, so nothing can be. */
static int check_refused(struct area *a, int fd, int cached, int may)
{
	const long says = may & COPIES ? (long)PAGE : -ENOMEM;
	char *buf = a->mem + 4 * MB;
	long wrote, got;
	int ret = 0;

	if (!contents_put(cached, transfer_psync, PAGE, 0, 4))
		return user_fail("can't write from ordinary memory");
	fill(buf, PAGE, 5);
	if (!user_hold(a->mem))
		return user_fail("can't pin a page");
	wrote = transfer_capped(transfer_aio, fd, true, buf, PAGE, false);
	memset(buf, 0x3c, PAGE);
	got = transfer_capped(transfer_psync, fd, false, buf, PAGE, false);
	user_let_go();
	if (wrote != says || got != says)
		ret = user_fail("refused, a write says %ld, a read %ld", wrote, got);
	else if (!contents_are(cached, transfer_psync, PAGE, 0, wrote < 0 ? 4 : 5))
		ret = user_fail("a write that was refused wrote");
	else if (got > 0 && same(buf, PAGE, 5) != PAGE)
		ret = user_fail("what was copied is not what was written");
	return ret;
}

static int check_cap(struct area *a, const char *path, int may)
{
	static const transfer_fn by[] = { transfer_psync, transfer_aio };
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	int cached = open(path, O_RDWR | O_CLOEXEC);
	int ret, worst, tries;
	size_t i;

	if (fd < 0 || cached < 0)
		return user_fail("can't open %s: %m", path);
	worst = check_refused(a, fd, cached, may);
	for (i = 0; i < ARRAY_SIZE(by) && worst <= 0; i++) {
		ret = -ENOMEM;
		/* A machine under load may take a second to complete a part. */
		for (tries = 0; tries < 3 && ret == -ENOMEM; tries++)
			ret = check_halves(a, fd, cached, by[i], may);
		worst = ret ?: worst;
	}
	close(fd);
	close(cached);
	return worst;
}

int check_capped(struct area *a, const char *path)
{
	return check_cap(a, path, 0);
}

static int check_capped_short(struct area *a, const char *path)
{
	return check_cap(a, path, READ_MAY_BE_SHORT | WRITE_MAY_BE_SHORT);
}

int check_capped_write_short(struct area *a, const char *path)
{
	return check_cap(a, path, WRITE_MAY_BE_SHORT);
}

static int check_capped_copied(struct area *a, const char *path)
{
	return check_cap(a, path, COPIES);
}

static int capped_disk(struct area *a)
{
	int ret;

	nullb_make("tm_users", "16", "10000");
	if (access(DISK, F_OK))
		return user_skip("no null_blk with configfs");
	ret = check_capped(a, DISK);
	nullb_remove("tm_users");
	return ret;
}

static int capped_ext4(struct area *a)
{
	return on_fs(a, "ext4", "64", "mkfs.ext4", on_file, check_capped);
}

static int capped_xfs(struct area *a)
{
	return on_fs(a, "xfs", "320", "mkfs.xfs", on_file, check_capped);
}

static int capped_btrfs(struct area *a)
{
	return on_btrfs(a, on_file, check_capped_copied);
}

static int capped_btrfs_nocow(struct area *a)
{
	return on_btrfs(a, on_nocow_file, check_capped_copied);
}

static int capped_vfat(struct area *a)
{
	return on_fs(a, "vfat", "64", "mkfs.vfat -s 16", on_file, check_capped);
}

static int capped_overlay(struct area *a)
{
	return on_fs(a, "ext4", "64", "mkfs.ext4", on_overlay, check_capped);
}

static int capped_loop(struct area *a)
{
	return on_fs(a, "ext4", "64", "mkfs.ext4", on_loop, check_capped);
}

static int capped_9p(struct area *a) { return on_9p(a, check_capped); }
static int capped_fuse(struct area *a) { return on_fuse(a, check_capped_short); }
static int capped_virtiofs(struct area *a) { return on_virtiofs(a, check_capped_short); }

/*
 * What each call says if its first page can't be pinned. ENOMEM tells an
 * administrator more than EFAULT, which is what a stray pointer gets.
 */

static long beyond_vmsplice(char *p)
{
	struct iovec iov = { p, PAGE };
	int fds[2];
	long n;

	if (pipe(fds))
		return 0;
	n = vmsplice(fds[1], &iov, 1, 0);
	n = n < 0 ? -errno : n;
	close(fds[0]);
	close(fds[1]);
	return n;
}

static long beyond_process_vm(char *p)
{
	char c;
	struct iovec here = { &c, 1 }, there = { p, 1 };
	long n = process_vm_readv(getpid(), &here, 1, &there, 1, 0);

	return n < 0 ? -errno : n;
}

static long beyond_proc_mem(char *p)
{
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	char c;
	long n = pread(fd, &c, 1, (unsigned long)p);

	n = n < 0 ? -errno : n;
	close(fd);
	return n;
}

static long beyond_af_alg(char *p)
{
	const struct sockaddr_alg alg = {
		.salg_family = AF_ALG,
		.salg_type = "skcipher",
		.salg_name = "cbc(aes)",
	};
	int tfm = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), op;
	char zero[PAGE] = {};
	long n;

	if (bind(tfm, (struct sockaddr *)&alg, sizeof(alg)) ||
	    setsockopt(tfm, SOL_ALG, ALG_SET_KEY, zero, 16))
		return 0;
	op = accept4(tfm, NULL, NULL, SOCK_CLOEXEC);
	if (send(op, zero, PAGE, 0) != (ssize_t)PAGE)
		return 0;
	n = recv(op, p, PAGE, 0);
	n = n < 0 ? -errno : n;
	close(op);
	close(tfm);
	return n;
}

static long beyond_zerocopy(char *p)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int listener, fd, one = 1;
	long n;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (unshare(CLONE_NEWNET) || sh("ip link set lo up"))
		return 0;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&sin, sizeof(sin)) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&sin, &len) ||
	    connect(fd, (struct sockaddr *)&sin, sizeof(sin)) ||
	    setsockopt(fd, SOL_SOCKET, 60 /* SO_ZEROCOPY */, &one, sizeof(one)))
		return 0;
	n = send(fd, p, PAGE, 0x4000000 /* MSG_ZEROCOPY */);
	n = n < 0 ? -errno : n;
	close(fd);
	close(listener);
	return n;
}

static long beyond_write(char *p)
{
	int fd = open(DISK, O_WRONLY | O_DIRECT | O_CLOEXEC);
	long n = transfer_psync(fd, true, p, PAGE, 0);

	close(fd);
	return n;
}

static long beyond_registered(char *p)
{
	int fd = open(DISK, O_RDONLY | O_DIRECT | O_CLOEXEC);
	long n;

	pool_set("longterm", 1);
	n = transfer_fixed(fd, false, p, PAGE, 0);
	pool_set("longterm", 0);
	close(fd);
	return n;
}

static const struct {
	const char *call;
	int err;
	long (*by)(char *p);
	transfer_fn disk;
} beyond[] = {
	{ "read", -ENOMEM, .disk = transfer_psync },
	{ "write", -ENOMEM, beyond_write },
	{ "libaio", -ENOMEM, .disk = transfer_aio },
	{ "io_uring", -ENOMEM, .disk = transfer_uring },
	{ "io_uring, polled", -ENOMEM, .disk = transfer_polled },
	{ "io_uring, registered", -ENOMEM, beyond_registered },
	{ "vmsplice", -ENOMEM, beyond_vmsplice },
	{ "AF_ALG", -ENOMEM, beyond_af_alg },
	{ "process_vm_readv", -EFAULT, beyond_process_vm },
	{ "/proc/PID/mem", -EIO, beyond_proc_mem },
	{ "MSG_ZEROCOPY", -EFAULT, beyond_zerocopy },
};

static int check_calls(struct area *a)
{
	int fd = open(DISK, O_RDWR | O_DIRECT | O_CLOEXEC), ret = -ENOMEM;
	size_t i;
	long n;

	if (fd < 0)
		return user_skip("no null_blk with configfs");
	for (i = 0; i < ARRAY_SIZE(beyond); i++) {
		n = beyond[i].by ? beyond[i].by(a->mem) :
				   beyond[i].disk(fd, false, a->mem, PAGE, 0);
		if (n != beyond[i].err)
			ret = user_fail("%s: %ld, not %d", beyond[i].call, n,
					beyond[i].err);
	}
	close(fd);
	return ret;
}

static int beyond_calls(struct area *a)
{
	int ret;

	nullb_make("tm_users", "16", "10000");
	ret = beyond_cap(a, check_calls);
	nullb_remove("tm_users");
	return ret;
}

int beyond_cap(struct area *a, int (*run)(struct area *a))
{
	struct area rest = { a->mem + 2 * MB, a->len - 2 * MB };
	unsigned long cap = pool_limit(DAX, "cap");
	int ret;

	if (!user_hold(a->mem))
		return user_fail("can't pin a page");
	pool_set("cap", 1);
	ret = run(&rest);
	pool_set("cap", cap);
	user_let_go();
	return ret;
}

/* Device mapper: targets that look at the data */

static int on_dm(struct area *a, const char *table, check_fn check)
{
	int ret;

	nullb_make("tm_users", "16", "10000");
	if (access(DISK, F_OK))
		return user_skip("no null_blk with configfs");
	if (!have_program("dmsetup"))
		ret = user_skip("no dmsetup");
	else if (sh("/sbin/dmsetup --noudevsync create tm_users --table '%s'", table) ||
		 sh("/sbin/dmsetup --noudevsync mknodes tm_users"))
		ret = user_fail("dmsetup create failed");
	/* Some can't be read before they were written. */
	else if (sh("dd if=/dev/zero of=/dev/mapper/tm_users bs=1M count=8"))
		ret = user_fail("can't write to the target");
	else
		ret = check(a, "/dev/mapper/tm_users");
	if (ret != USER_SKIP && sh("/sbin/dmsetup --noudevsync remove --retry tm_users"))
		ret = ret ?: user_fail("dmsetup remove failed");
	nullb_remove("tm_users");
	return ret;
}

/* The key is of no secret: 256 bits for xts(aes) */
#define CRYPT	"0 16384 crypt capi:xts(aes)-plain64 " \
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f " \
		"0 " DISK " 0"

static int dm_crypt(struct area *a) { return on_dm(a, CRYPT, check_direct); }
static int capped_crypt(struct area *a) { return on_dm(a, CRYPT, check_capped); }

static int dm_integrity(struct area *a)
{
	return on_dm(a, "0 16384 integrity " DISK " 0 4 D 1 internal_hash:sha256",
		     check_direct);
}

/* SCSI: a disk that checks the protection information of what it gets */

#define SCSI_DEBUG	"/sys/bus/pseudo/drivers/scsi_debug/"

/* The file in directory @dir of the first scsi_debug disk, or NULL */
static const char *scsi_find(const char *dir)
{
	static char path[PATH_MAX];
	const char *found = NULL;
	struct dirent *entry;
	DIR *d;

	d = opendir("/sys/bus/scsi/devices");
	while (d && !found && (entry = readdir(d))) {
		struct dirent *sub = NULL;
		DIR *subdir;

		snprintf(path, sizeof(path), "/sys/bus/scsi/devices/%s/model",
			 entry->d_name);
		if (strncmp(read_str(path), "scsi_debug", 10))
			continue;
		snprintf(path, sizeof(path), "/sys/bus/scsi/devices/%s/%s",
			 entry->d_name, dir);
		subdir = opendir(path);
		while (subdir && (sub = readdir(subdir)) && sub->d_name[0] == '.')
			;
		if (sub) {
			snprintf(path, sizeof(path), "/dev/%s%s",
				 !strcmp(dir, "bsg") ? "bsg/" : "", sub->d_name);
			found = path;
		}
		if (subdir)
			closedir(subdir);
	}
	if (d)
		closedir(d);
	return found;
}

/* The disk may be there before it can be opened. */
static int scsi_open(const char *dir, int flags)
{
	const char *path;
	int i, fd = -1;

	for (i = 0; i < 1000 && fd < 0; i++) {
		path = scsi_find(dir);
		if (path)
			fd = open(path, O_RDWR | O_CLOEXEC | flags);
		if (fd < 0)
			usleep(10000);
	}
	return fd;
}

static void scsi_remove(void)
{
	int i;

	/* Who had it open a moment ago may still hold on to it. */
	for (i = 0; i < 500 && scsi_find("block"); i++) {
		write_str(SCSI_DEBUG "add_host", "-1");
		usleep(10000);
	}
}

/* Commands that were made here, to a node in directory @dir */
static int scsi_commands(struct area *a, const char *dir, transfer_fn transfer)
{
	struct way way = { .by = transfer, .by2 = transfer };
	int ret;

	if (write_str(SCSI_DEBUG "add_host", "1"))
		return user_skip("no scsi_debug");
	way.fd = scsi_open(dir, 0);
	way.fd2 = way.fd;
	ret = way.fd < 0 ? user_fail("no %s of scsi_debug", dir) :
			   check_way(a, &way, 512);
	close(way.fd);
	scsi_remove();
	return ret;
}

static int scsi_protected(struct area *a)
{
	char disk[PATH_MAX];
	int fd, ret;

	if (atoi(read_str("/sys/module/scsi_debug/parameters/dix")) == 0 ||
	    atoi(read_str("/sys/module/scsi_debug/parameters/dif")) == 0)
		return user_skip("needs scsi_debug.dif=1 scsi_debug.dix=1");
	if (write_str(SCSI_DEBUG "add_host", "1"))
		return user_skip("no scsi_debug");
	fd = scsi_open("block", 0);
	if (fd < 0) {
		ret = user_fail("no disk of scsi_debug");
	} else {
		/* Never written, it has no valid protection information. */
		strcpy(disk, scsi_find("block"));
		ret = contents_put(fd, transfer_psync, 8 * MB, 0, 0) ?
			check_transfers(a, disk, O_DIRECT, 512, transfer_psync) :
			user_fail("can't write %s", disk);
		close(fd);
	}
	scsi_remove();
	return ret;
}

static int scsi_sg_io(struct area *a)
{
	return scsi_commands(a, "block", transfer_sg_io);
}

static int scsi_sg(struct area *a)
{
	char was = read_str("/proc/scsi/sg/allow_dio")[0];
	int ret;

	if (write_str("/proc/scsi/sg/allow_dio", "1"))
		return user_skip("no sg driver");
	ret = scsi_commands(a, "scsi_generic", transfer_sg_io);
	if (was == '0')
		write_str("/proc/scsi/sg/allow_dio", "0");
	return ret;
}

static int scsi_bsg(struct area *a)
{
	return scsi_commands(a, "bsg", transfer_bsg);
}

static int beyond_sg_io(struct area *a)
{
	return beyond_cap(a, scsi_sg_io);
}

const struct user io_users[] = {
	{ "read(2), write(2), O_DIRECT", 0, PINS, NULL, disk_psync },
	{ "preadv, pwritev, IOV_MAX pieces", 0, PINS, NULL, disk_vectored },
	{ "libaio", 0, PINS, NULL, disk_aio },
	{ "io_uring", 0, PINS, NULL, disk_uring },
	{ "libaio, ordinary memory among it", 0, PINS, NULL, disk_aio_mixed },
	{ "io_uring, ordinary memory among it", 0, PINS, NULL, disk_uring_mixed },
	{ "io_uring, polled", 0, PINS, NULL, disk_polled },
	{ "io_uring, registered buffers", -EOPNOTSUPP, NO_PINS,
	  "long-term pin", disk_fixed },
	{ "io_uring, registered buffers, allowed", 0, PINS,
	  "longterm is 1", disk_fixed_allowed },
	{ "write zeroes, discard", 0, NO_PINS, "no data", disk_discard },
	{ "read(2), write(2), page cache", 0, NO_PINS, "copied", buffered_file },
	{ "file on ext4, O_DIRECT", 0, PINS, NULL, ext4_file },
	{ "file on xfs, O_DIRECT", 0, PINS, NULL, xfs_file },
	{ "file on btrfs, O_DIRECT", 0, PINS, "writes are copied", btrfs_file, 0, IF_NAMED },
	{ "file on btrfs, nodatacow, O_DIRECT", 0, PINS, NULL, btrfs_nocow, 0, IF_NAMED },
	{ "file on 9p, O_DIRECT", 0, PINS, NULL, file_on_9p },
	{ "file on FUSE, O_DIRECT", 0, PINS, NULL, file_on_fuse },
	{ "file on virtiofs, O_DIRECT", 0, PINS, NULL, file_on_virtiofs, 0, IF_NAMED },
	{ "loop, direct-io", 0, PINS, NULL, loop_disk },
	{ "beyond the cap, 11 calls", -ENOMEM, MAY_PIN, "some say EFAULT or EIO",
	  beyond_calls },
	{ "cap of 1: disk", 0, PINS, NULL, capped_disk },
	{ "cap of 1: ext4", 0, PINS, NULL, capped_ext4 },
	{ "cap of 1: xfs", 0, PINS, NULL, capped_xfs },
	{ "cap of 1: btrfs", 0, PINS, "refused: copied", capped_btrfs, 0, IF_NAMED },
	{ "cap of 1: btrfs, nodatacow", 0, PINS, "refused: copied", capped_btrfs_nocow, 0, IF_NAMED },
	{ "cap of 1: vfat", -ENOMEM, PINS, "data unharmed", capped_vfat },
	{ "cap of 1: overlayfs", 0, PINS, NULL, capped_overlay },
	{ "cap of 1: loop", 0, PINS, NULL, capped_loop },
	{ "cap of 1: dm-crypt", 0, PINS, NULL, capped_crypt },
	{ "cap of 1: 9p", -ENOMEM, PINS, "data unharmed", capped_9p },
	{ "cap of 1: FUSE", 0, PINS, "may be short, goes on", capped_fuse },
	{ "cap of 1: virtiofs", 0, PINS, "may be short, goes on", capped_virtiofs, 0,
	  IF_NAMED },
	{ "dm-crypt", 0, PINS, NULL, dm_crypt },
	{ "dm-integrity", 0, PINS, NULL, dm_integrity },
	{ "SCSI disk with T10 protection", 0, PINS, NULL, scsi_protected },
	{ "SCSI disk, SG_IO", 0, PINS, NULL, scsi_sg_io },
	{ "SCSI disk, SG_IO, beyond the cap", -ENOMEM, NO_PINS, NULL, beyond_sg_io },
	{ "sg, direct", 0, PINS, NULL, scsi_sg },
	{ "bsg", 0, PINS, NULL, scsi_bsg },
	{}
};
