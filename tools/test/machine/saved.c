// SPDX-License-Identifier: GPL-2.0
/*
 * saved.sh needs this for memory that it can recognize in a file, held while the machine
 * sleeps or crashes, and to load a crash kernel. "own" memory is the process's, "guest"
 * memory is the device's.
 *
 *	saved hold DEVICE		fill both, pin some of the guest's, say
 *					"held", and at the next line on standard
 *					input check all of it
 *	saved find FILE			count the pages of each that are in FILE
 *	saved loads VMCORE		print its physical memory, in hexadecimal
 *	saved kexec KERNEL INITRD ARGS	load what boots when the kernel panics
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SIZE		(8UL << 20)
#define BLOCK		(2UL << 20)
#define PAGE		4096UL
#define WORDS		(PAGE / sizeof(uint64_t))
/* A pipe holds this many pages of each block. */
#define HELD		4

/* The two memories begin with these words; each later word is one more. */
#define OWN		0x3c9a51d207e6b84fUL
#define GUEST		0xb16de02f94387ac5UL

static int fail(const char *what)
{
	fprintf(stderr, "saved: %s: %s\n", what, strerror(errno));
	return 1;
}

static void fill(uint64_t *mem, uint64_t first)
{
	for (unsigned long i = 0; i < SIZE / sizeof(*mem); i++)
		mem[i] = first + i;
}

/* Returns how many of @words words are not those that follow @first. */
static unsigned long wrong(const uint64_t *mem, uint64_t first,
			   unsigned long words)
{
	unsigned long n = 0;

	for (unsigned long i = 0; i < words; i++)
		n += mem[i] != first + i;
	return n;
}

static int hold(const char *device)
{
	unsigned long words = SIZE / sizeof(uint64_t), bad = 0;
	uint64_t *own, *guest;
	static uint64_t page[WORDS];
	struct iovec iov;
	int fd = open(device, O_RDWR), pipes[2];

	if (fd < 0)
		return fail(device);
	guest = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	own = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (guest == MAP_FAILED || own == MAP_FAILED || pipe(pipes))
		return fail("memory");
	fill(guest, GUEST);
	fill(own, OWN);
	for (unsigned long at = 0; at < SIZE; at += BLOCK) {
		iov.iov_base = (char *)guest + at;
		iov.iov_len = HELD * PAGE;
		if (vmsplice(pipes[1], &iov, 1, 0) != HELD * PAGE)
			return fail("vmsplice");
	}
	puts("held");
	fflush(stdout);
	if (getchar() == EOF)
		return fail("told nothing");

	printf("own memory: %lu words of %lu are wrong\n",
	       wrong(own, OWN, words), words);
	printf("guest memory: %lu words of %lu are wrong\n",
	       wrong(guest, GUEST, words), words);
	for (unsigned long at = 0; at < SIZE; at += BLOCK) {
		for (unsigned long i = 0; i < HELD; i++) {
			if (read(pipes[0], page, PAGE) != PAGE)
				return fail("pipe");
			bad += wrong(page, GUEST + (at + i * PAGE) / 8, WORDS);
		}
	}
	printf("pinned memory: %lu words of %lu are wrong\n", bad,
	       SIZE / BLOCK * HELD * WORDS);
	return 0;
}

/* Returns whether this is a page of the memory that begins with @first. */
static int is_page(const uint64_t *page, uint64_t first)
{
	return page[0] - first < SIZE / sizeof(*page) &&
	       !wrong(page, page[0], WORDS);
}

static int find(const char *file)
{
	static uint64_t buf[256 * WORDS];
	unsigned long own = 0, guest = 0, pages = 0;
	int fd = open(file, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fail(file);
	/* In a vmcore as on a disk, pages begin at a multiple of their size. */
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n / (ssize_t)PAGE; i++) {
			own += is_page(buf + i * WORDS, OWN);
			guest += is_page(buf + i * WORDS, GUEST);
		}
		pages += n / PAGE;
	}
	if (n < 0)
		return fail(file);
	printf("pages=%lu own=%lu guest=%lu\n", pages, own, guest);
	return 0;
}

static int loads(const char *file)
{
	int fd = open(file, O_RDONLY);
	Elf64_Ehdr head;
	Elf64_Phdr ph;

	if (fd < 0 || read(fd, &head, sizeof(head)) != sizeof(head))
		return fail(file);
	for (int i = 0; i < head.e_phnum; i++) {
		if (pread(fd, &ph, sizeof(ph), head.e_phoff + i * sizeof(ph)) !=
		    sizeof(ph))
			return fail(file);
		if (ph.p_type == PT_LOAD)
			printf("%lx-%lx\n", ph.p_paddr,
			       ph.p_paddr + ph.p_memsz - 1);
	}
	return 0;
}

static int load_kernel(const char *kernel, const char *initrd, const char *args)
{
	int k = open(kernel, O_RDONLY), i = open(initrd, O_RDONLY);

	if (k < 0 || i < 0)
		return fail("kernel and initrd");
	if (syscall(SYS_kexec_file_load, k, i, strlen(args) + 1, args,
		    KEXEC_FILE_ON_CRASH))
		return fail("kexec_file_load");
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	if (argc == 3 && !strcmp(what, "hold"))
		return hold(argv[2]);
	if (argc == 3 && !strcmp(what, "find"))
		return find(argv[2]);
	if (argc == 3 && !strcmp(what, "loads"))
		return loads(argv[2]);
	if (argc == 5 && !strcmp(what, "kexec"))
		return load_kernel(argv[2], argv[3], argv[4]);
	fprintf(stderr, "usage: saved hold DEVICE | find FILE | loads VMCORE | kexec KERNEL INITRD ARGS\n");
	return 2;
}
