// SPDX-License-Identifier: GPL-2.0
/*
 * A file on NFS with memory that has a transient memmap
 *
 * The client is the kernel's. The server is a process of the row, with one file, which
 * is in ordinary memory. It needs no rpcbind and no mountd: the mount is told its port
 * and the handle of its root.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/nfs_mount.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "transient_memmap_users.h"

#define FILE_LEN	(8 * MB)
#define ROOT		1
#define NFS3_PROG	100003
#define WORDS(bytes)	(((bytes) + 3) / 4)

/* What the processes of the server share */
struct served {
	uint32_t changes;
	char data[FILE_LEN];
};

/* A message as it is written, and what is known of the file */
struct reply {
	uint32_t *p;
	struct served *file;
};

static void put(struct reply *r, uint32_t n)
{
	*r->p++ = htonl(n);
}

static void put_zeroes(struct reply *r, int n)
{
	while (n--)
		put(r, 0);
}

static void put64(struct reply *r, uint64_t n)
{
	put(r, n >> 32);
	put(r, n);
}

static uint64_t get64(const uint32_t *p)
{
	return (uint64_t)ntohl(p[0]) << 32 | ntohl(p[1]);
}

/* fattr3 of RFC 1813. Each change is a second later. */
static void put_fattr(struct reply *r, bool root)
{
	put(r, root ? 2 : 1);
	put(r, root ? 0755 : 0644);
	put(r, 1);
	put_zeroes(r, 2);
	put64(r, FILE_LEN);
	put64(r, FILE_LEN);
	put_zeroes(r, 2);
	put64(r, 1);
	put64(r, root ? ROOT : ROOT + 1);
	put_zeroes(r, 2);
	put(r, r->file->changes);
	put(r, 0);
	put(r, r->file->changes);
	put(r, 0);
}

/* post_op_attr */
static void put_attr(struct reply *r, bool root)
{
	put(r, 1);
	put_fattr(r, root);
}

/* wcc_data */
static void put_wcc(struct reply *r)
{
	put(r, 0);
	put_attr(r, false);
}

static void put_read(struct reply *r, const uint32_t *arg)
{
	uint64_t off = get64(arg);
	uint32_t n = ntohl(arg[2]);

	if (off > FILE_LEN)
		off = FILE_LEN;
	if (n > FILE_LEN - off)
		n = FILE_LEN - off;
	put_attr(r, false);
	put(r, n);
	put(r, off + n == FILE_LEN);
	put(r, n);
	r->p[WORDS(n) - !!n] = 0;
	memcpy(r->p, r->file->data + off, n);
	r->p += WORDS(n);
}

static void put_written(struct reply *r, const uint32_t *arg)
{
	uint64_t off = get64(arg);
	uint32_t n = ntohl(arg[2]);

	if (off <= FILE_LEN && n <= FILE_LEN - off)
		memcpy(r->file->data + off, arg + 5, n);
	r->file->changes++;
	put_wcc(r);
	put(r, n);
	put(r, ntohl(arg[3]));
	put64(r, 1);
}

static void put_fsinfo(struct reply *r)
{
	int i;

	put_attr(r, true);
	for (i = 0; i < 2; i++) {
		put(r, MB);
		put(r, MB);
		put(r, PAGE);
	}
	put(r, PAGE);
	put64(r, FILE_LEN);
	put64(r, 1);
	put(r, 0x18);
}

/* The result of a procedure, or false if the server does not have it */
static bool put_result(struct reply *r, uint32_t proc, const uint32_t *arg)
{
	bool root = proc && ntohl(arg[1]) == ROOT;

	/* After the handle */
	arg += 2;
	/* The status of all but the first, which has no result */
	if (proc)
		put(r, 0);
	switch (proc) {
	case 0:				/* NULL */
		return true;
	case 1:				/* GETATTR */
		put_fattr(r, root);
		return true;
	case 2:				/* SETATTR: the size is right already */
		put_wcc(r);
		return true;
	case 3:				/* LOOKUP: any name is that of the file */
		put(r, 4);
		put(r, ROOT + 1);
		put_attr(r, false);
		put_attr(r, true);
		return true;
	case 4:				/* ACCESS */
		put_attr(r, root);
		put(r, ntohl(arg[0]));
		return true;
	case 6:
		put_read(r, arg);
		return true;
	case 7:
		put_written(r, arg);
		return true;
	case 18:			/* FSSTAT */
		put_attr(r, true);
		put_zeroes(r, 13);
		return true;
	case 19:
		put_fsinfo(r);
		return true;
	case 20:			/* PATHCONF */
		put_attr(r, root);
		put(r, 1);
		put(r, 255);
		put_zeroes(r, 4);
		return true;
	case 21:			/* COMMIT */
		put_wcc(r);
		put64(r, 1);
		return true;
	}
	return false;
}

static void put_reply(struct reply *r, const uint32_t *call)
{
	const uint32_t *arg = call + 6;
	uint32_t *accepted;
	bool ours = ntohl(call[3]) == NFS3_PROG && ntohl(call[4]) == 3;
	int i;

	/* Who calls, and a verifier */
	for (i = 0; i < 2; i++)
		arg += 2 + WORDS(ntohl(arg[1]));
	*r->p++ = call[0];
	put(r, 1);
	put_zeroes(r, 3);
	accepted = r->p;
	put(r, 0);
	if (!ours || !put_result(r, ntohl(call[5]), arg)) {
		r->p = accepted;
		put(r, ours ? 3 : 1);
	}
}

static bool transfer_all(int fd, bool write, void *buf, size_t len)
{
	ssize_t n;

	for (; len; buf += n, len -= n) {
		n = write ? send(fd, buf, len, MSG_NOSIGNAL) : recv(fd, buf, len, 0);
		if (n <= 0)
			return false;
	}
	return true;
}

static void serve_one(struct served *file, int fd)
{
	static uint32_t call[WORDS(MB + 64 * KB)], reply[WORDS(MB + 64 * KB)];
	struct reply r = { .file = file };
	uint32_t mark;
	size_t len;

	while (transfer_all(fd, false, &mark, sizeof(mark))) {
		len = ntohl(mark) & 0x7fffffff;
		if (!(ntohl(mark) >> 31) || len > sizeof(call) ||
		    !transfer_all(fd, false, call, len))
			break;
		r.p = reply + 1;
		put_reply(&r, call);
		len = (char *)r.p - (char *)reply;
		reply[0] = htonl(0x80000000 | (len - 4));
		if (!transfer_all(fd, true, reply, len))
			break;
	}
}

/* A process for each connection; all of them end with the first. */
static void serve(int listener)
{
	struct served *file = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve_one(file, fd);
			_exit(0);
		}
		close(fd);
	}
	_exit(1);
}

static int on_nfs(struct area *a, check_fn check)
{
	struct nfs_mount_data data = {
		.version = NFS_MOUNT_VERSION,
		.flags = NFS_MOUNT_VER3 | NFS_MOUNT_TCP | NFS_MOUNT_NONLM | NFS_MOUNT_SOFT,
		.rsize = MB, .wsize = MB, .timeo = 600, .retrans = 2,
		.hostname = "localhost",
		.root = { .size = 4, .data = { [3] = ROOT } },
	};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;
	socklen_t len = sizeof(data.addr);
	pid_t server;

	if (sh("modprobe nfsv3; grep -qw nfs /proc/filesystems && ip link set lo up"))
		return user_skip("no NFS");
	data.addr.sin_family = AF_INET;
	data.addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&data.addr, len) || listen(listener, 8) ||
	    getsockname(listener, (struct sockaddr *)&data.addr, &len))
		return user_fail("no socket for the server: %m");
	server = fork();
	if (!server)
		serve(listener);
	close(listener);
	mkdir("mnt", 0700);
	if (mount("localhost:/", "mnt", "nfs", 0, &data)) {
		ret = user_fail("can't mount NFS: %m");
	} else {
		ret = check(a, "mnt/file");
		if (umount2("mnt", 0))
			ret = ret ?: user_fail("can't unmount NFS: %m");
	}
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return ret;
}

static int nfs_file(struct area *a) { return on_nfs(a, check_direct); }
static int capped_nfs(struct area *a) { return on_nfs(a, check_capped_write_short); }

const struct user nfs_users[] = {
	{ "file on NFS, O_DIRECT", 0, PINS, NULL, nfs_file, 0, IF_NAMED },
	{ "cap of 1: NFS", 0, PINS, "a write may be short", capped_nfs, 0, IF_NAMED },
	{}
};
