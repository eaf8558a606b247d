/* SPDX-License-Identifier: GPL-2.0 */
/* Those who are handed guest memory, each a row of a table; see the .c file */
#ifndef _TRANSIENT_MEMMAP_USERS_H
#define _TRANSIENT_MEMMAP_USERS_H

#include "transient_memmap_util.h"

/* What a row returns besides 0, it works, and -errno, it is refused */
#define USER_FAIL	1	/* something went wrong: user_note() says what */
#define USER_SKIP	2	/* can't be tried here: user_note() says why */

/* When a row runs: always, only if it is named, or not on a file of guestramfs */
enum user_when { ALWAYS, IF_NAMED, ON_DEVICE };

/* Whether it may, must, or must not have struct pages made */
enum user_pins { MAY_PIN, PINS, NO_PINS };

/*
 * Memory without a memmap, for a row to do with as it likes: nobody else uses
 * it, and it is mapped, with 2 MiB entries, in the row's process alone.
 */
struct area {
	char *mem;
	size_t len;
};

struct user {
	const char *name;
	int expected;		/* 0 or -errno */
	enum user_pins pins;
	const char *why;	/* for the table: of a refusal, or of no pins */
	int (*run)(struct area *a);
	size_t align;		/* of the device; 0: 2 MiB */
	enum user_when when;
};

#define AREA_LEN	(64 * MB)

/* A row runs in this directory, which is empty and for it alone. */
#define SCRATCH		"/tmp/transient_memmap_users"

/* Each ends with an entry that has no name. */
extern const struct user io_users[], disk_users[], nfs_users[], iscsi_users[], gup_users[],
	net_users[], rdma_users[], vhost_users[], vdpa_users[], dma_users[], kvm_users[];

/*
 * Prints what vhost takes for I/O with @a, of any kind of memory: a name, how many
 * transfers, microseconds. Returns 0, USER_FAIL or USER_SKIP.
 */
int vhost_measure(struct area *a);

/*
 * Prints what mapping 1 GiB for DMA takes: a way, a kind of memory, microseconds to map
 * and to unmap. Returns 0, USER_FAIL or USER_SKIP.
 */
int dma_measure(struct area *a);

void user_note(const char *fmt, ...) __printf(1, 2);

/* Notes what was wrong and returns USER_FAIL or USER_SKIP. */
#define user_fail(...)	({ user_note(__VA_ARGS__); USER_FAIL; })
#define user_skip(...)	({ user_note(__VA_ARGS__); USER_SKIP; })

/*
 * Have a block's struct pages made and held, by a pipe, until user_let_go(); does
 * not count as the row's doing.
 */
bool user_hold(char *addr);
void user_let_go(void);

/* The directory in sysfs of the disk with this serial number, or NULL */
char *find_disk(const char *serial);

/*
 * A disk that a driver makes by itself: its path, once a directory of sysfs fits the
 * pattern and the disk can be opened, or NULL
 */
char *disk_appears(const char *pattern);

/* Run a shell command, its output kept from the results: its status */
int sh(const char *fmt, ...) __printf(1, 2);

/* Whether sh() will find a program */
bool have_program(const char *name);

/* Whether a process ends well */
bool ends_well(pid_t pid);

/* Unbind /dev/dax0.0: the process that does, once it waits, or -1 */
pid_t unbind_that_waits(void);

/*
 * Unbind it while another process uses its memory, and does so again and again, until
 * that is killed: 0, or what @start returned. @a is unmapped.
 */
int unbind_and_kill(struct area *a, int (*start)(void *arg), bool (*again)(void *arg),
		    void *arg);

/* Bind it again, and map it: MAP_FAILED, and a note, if that fails */
char *bind_and_map(size_t len);

/* The number in the first line of a file that fits @format, or 0 */
unsigned long named_number(const char *path, const char *format);

/* A statistic of the pool, and one of its limits */
unsigned long pool_get(const char *name);
int pool_set(const char *name, unsigned long n);

/* Wait until the statistic @name is @n, ten seconds at most. */
bool pool_becomes(const char *name, unsigned long n);

/*
 * One direct transfer by some interface: bytes, or -errno. A refusal before any
 * transfer is the row's result.
 */
typedef long (*transfer_fn)(int fd, bool write, void *buf, size_t len, off_t off);

/*
 * Transfers at odd places and of odd lengths, between memory of @a and @path,
 * a disk or a file that may be overwritten; what arrives is compared, and so is
 * what must not have changed.
 */
int check_transfers(struct area *a, const char *path, int flags, size_t unit,
		    transfer_fn transfer);

/* The same, of a node for commands, with what arrives seen by the disk that it has */
int check_other_way(struct area *a, const char *path, const char *disk,
		    transfer_fn transfer);

/* A check of @path, a disk or a file that may be overwritten */
typedef int (*check_fn)(struct area *a, const char *path);

/* check_transfers() with O_DIRECT, by read(2) and write(2), and by libaio */
int check_direct(struct area *a, const char *path);

/*
 * One block may be live: requests with memory of two have to be done, or to fail, and
 * ENOMEM is the error if another block is pinned.
 */
int check_capped(struct area *a, const char *path);
int check_capped_write_short(struct area *a, const char *path);

/* Run what is to be refused, with the only block that may be live in use. */
int beyond_cap(struct area *a, int (*run)(struct area *a));

long transfer_psync(int fd, bool write, void *buf, size_t len, off_t off);
long transfer_aio(int fd, bool write, void *buf, size_t len, off_t off);

struct io_uring_sqe;
struct iovec;

/*
 * One request by an io_uring of its own, with a buffer registered if @fixed is
 * not NULL: the result, or -errno. @sqe has 128 bytes if @flags say so.
 */
long uring_request(int flags, const struct io_uring_sqe *sqe, const struct iovec *fixed);

#endif /* _TRANSIENT_MEMMAP_USERS_H */
