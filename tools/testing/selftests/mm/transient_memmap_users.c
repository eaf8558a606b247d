// SPDX-License-Identifier: GPL-2.0
/*
 * Try each user of guest memory on memory that has a transient memmap, and print
 * a table: whether it works or how it is refused, and whether struct pages were
 * made for it. Each row runs the real user and compares the data.
 *
 * usage: transient_memmap_users [-dl] [-f memory] [-t file] [-c file] [row ...]
 *        transient_memmap_users -m | -M
 *
 *   -d       with a transient direct map
 *   -f memory  with this file of guestramfs, which has all of /dev/dax0.0's memory
 *            from its start on, and without the rows that unbind that
 *   -l       list the rows
 *   -t file  write the table to this file, in Markdown
 *   -c file  fail unless this file has the same table, between the lines
 *            "<!-- begin users -->" and "<!-- end users -->"
 *   row      the beginning of a name: these rows only; some run only so
 *   -m       measure instead, what vhost takes for I/O with /dev/dax0.0 as it is
 *   -M       measure instead, what mapping it for DMA takes
 *
 * Run as root. The program binds /dev/dax0.0 with memmap transient; it makes the
 * disks, targets and network interfaces that it needs, and removes them.
 *
 * The pool's cache is 0 meanwhile. So "populated" tells whether a row needed
 * struct pages, and all of them have to be gone after it.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "transient_memmap_users.h"

/* An emulated machine with all debugging options takes its time. */
#define ROW_SECONDS	300
/* A row that takes so long says how long. */
#define SLOW_SECONDS	10

/* What comes back from the process of a row */
struct outcome {
	int ret;
	unsigned long held;	/* blocks that user_hold() had populated */
	char note[256];
};

static struct outcome *outcome;

/* The file that rows are given as /dev/dax0.0, or NULL */
static const char *memory_file;

void user_note(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(outcome->note, sizeof(outcome->note), fmt, args);
	va_end(args);
}

static int held_by[2];

bool user_hold(char *addr)
{
	struct iovec iov = { .iov_base = addr, .iov_len = 1 };
	unsigned long populated = pool_get("populated");

	if (pipe(held_by) || vmsplice(held_by[1], &iov, 1, 0) != 1)
		return false;
	outcome->held += pool_get("populated") - populated;
	return true;
}

void user_let_go(void)
{
	close(held_by[0]);
	close(held_by[1]);
}

int sh(const char *fmt, ...)
{
	char command[1024];
	va_list args;
	int n;

	n = snprintf(command, sizeof(command), "exec >&2 </dev/null\n");
	va_start(args, fmt);
	vsnprintf(command + n, sizeof(command) - n, fmt, args);
	va_end(args);
	return system(command);
}

bool have_program(const char *name)
{
	return !sh("PATH=$PATH:/usr/sbin:/sbin command -v %s >/dev/null", name);
}

unsigned long named_number(const char *path, const char *format)
{
	FILE *f = fopen(path, "r");
	unsigned long n = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, format, &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

unsigned long pool_get(const char *name)
{
	return pool_stat(DAX, name);
}

int pool_set(const char *name, unsigned long n)
{
	return pool_set_limit(DAX, name, n);
}

bool pool_becomes(const char *name, unsigned long n)
{
	int i;

	for (i = 0; i < 1000; i++) {
		if (pool_get(name) == n)
			return true;
		usleep(10000);
	}
	return false;
}

/* Run in a process of its own: everything it makes goes with it, if possible. */
static void run_in_child(int (*run)(struct area *a))
{
	struct area a = { .len = AREA_LEN };
	char *reserve;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		outcome->ret = user_fail("no mount namespace: %m");
		return;
	}
	/* Scratch space for files and mount points. Others need what is in /tmp. */
	mkdir(SCRATCH, 0700);
	if (mount("tmpfs", SCRATCH, "tmpfs", 0, NULL) || chdir(SCRATCH)) {
		outcome->ret = user_fail("no tmpfs: %m");
		return;
	}
	if (memory_file &&
	    mount(memory_file, "/dev/dax0.0", NULL, MS_BIND, NULL)) {
		outcome->ret = user_fail("can't mount %s: %m", memory_file);
		return;
	}
	fd = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	reserve = mmap(NULL, a.len + 2 * MB, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	a.mem = (char *)(((unsigned long)reserve + 2 * MB - 1) & ~(2 * MB - 1));
	a.mem = mmap(a.mem, a.len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		     fd, 0);
	if (a.mem == MAP_FAILED) {
		outcome->ret = user_fail("can't map /dev/dax0.0: %m");
		return;
	}
	close(fd);
	outcome->ret = run(&a);
	munmap(a.mem, a.len);
}

static void wait_for(pid_t pid, int seconds)
{
	struct timespec ts = { .tv_nsec = 10000000 };
	time_t end = time(NULL) + seconds;

	while (time(NULL) < end) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return;
		nanosleep(&ts, NULL);
	}
	outcome->ret = user_fail("no end within %d s", seconds);
	kill(-pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static const char *result_name(int ret)
{
	return ret == 0 ? "works" :
	       ret < 0 ? strerrorname_np(-ret) ?: "?" :
	       ret == USER_SKIP ? "skipped" : "fails";
}

/* Prints the KTAP line and appends to the table. */
static void run_row(const struct user *user, FILE *table)
{
	unsigned long populated;
	long memmap = memmap_pages();
	time_t start = time(NULL);
	bool ok, pinned;
	pid_t pid;
	int i;

	/* A row that dies says so. */
	outcome->ret = USER_FAIL;
	outcome->held = 0;
	strcpy(outcome->note, "its process died");
	populated = pool_get("populated");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		strcpy(outcome->note, "");
		run_in_child(user->run);
		_exit(0);
	}
	wait_for(pid, ROW_SECONDS);

	/* A row that has the device bound again begins with none. */
	pinned = pool_get("populated") > populated + outcome->held;
	ok = outcome->ret == user->expected;
	if (ok && user->pins == PINS && !pinned)
		ok = !user_fail("nothing was pinned");
	if (ok && user->pins == NO_PINS && pinned)
		ok = !user_fail("struct pages were made");
	if (ok && !pool_becomes("live", 0))
		ok = !user_fail("%lu blocks left live", pool_get("live"));
	if (ok && !pool_becomes("held", 0))
		ok = !user_fail("%lu pages left held", pool_get("held"));
	for (i = 0; i < 1000 && memmap_pages() != memmap; i++)
		usleep(10000);
	if (ok && memmap_pages() != memmap)
		ok = !user_fail("nr_memmap_pages: %ld, was %ld", memmap_pages(),
				memmap);

	if (*outcome->note)
		ksft_print_msg("%s: %s\n", user->name, outcome->note);
	if (time(NULL) - start >= SLOW_SECONDS)
		ksft_print_msg("%s: %ld s\n", user->name, time(NULL) - start);
	if (outcome->ret == USER_SKIP) {
		ksft_test_result_skip("%s\n", user->name);
	} else {
		if (outcome->ret != user->expected)
			ksft_print_msg("%s: %s, not %s\n", user->name,
				       result_name(outcome->ret),
				       result_name(user->expected));
		ksft_test_result(ok, "%s\n", user->name);
	}
	fprintf(table, "%s\t%s\t%s\t%s\n", user->name,
		ok || outcome->ret == USER_SKIP ? result_name(outcome->ret) : "fails",
		pinned ? "yes" : "no", user->why ?: "");
}

/* The table in Markdown, its columns as wide as their widest cell */

#define COLUMNS	4

static void print_row(FILE *f, const char *prefix, char **cells,
		      const int *width)
{
	int c;

	fprintf(f, "%s|", prefix);
	for (c = 0; c < COLUMNS; c++)
		fprintf(f, " %-*s |", width[c], cells[c]);
	fputc('\n', f);
}

static void print_rule(FILE *f, const char *prefix, const int *width)
{
	int c, i;

	fprintf(f, "%s|", prefix);
	for (c = 0; c < COLUMNS; c++) {
		fputc(' ', f);
		for (i = 0; i < width[c]; i++)
			fputc('-', f);
		fputs(" |", f);
	}
	fputc('\n', f);
}

static void print_table(const char *rows, FILE *f, const char *prefix)
{
	char *copy = strdup(rows), *cells[256][COLUMNS], *line, *next = copy;
	int width[COLUMNS] = {}, nr = 0, r, c, len;

	while ((line = strsep(&next, "\n")) && *line && nr < 256) {
		for (c = 0; c < COLUMNS; c++) {
			cells[nr][c] = strsep(&line, "\t");
			len = strlen(cells[nr][c]);
			width[c] = len > width[c] ? len : width[c];
		}
		nr++;
	}
	for (r = 0; r < nr; r++) {
		print_row(f, prefix, cells[r], width);
		if (!r)
			print_rule(f, prefix, width);
	}
	free(copy);
}

/* Whether a file has the table, and no other, between the lines that mark it */
static bool has_table(const char *rows, const char *path)
{
	FILE *in = fopen(path, "r"), *f;
	char *table, *text = NULL;
	size_t size = 0;
	bool found;

	f = open_memstream(&table, &size);
	fputs("\n<!-- begin users -->\n", f);
	print_table(rows, f, "");
	fputs("<!-- end users -->\n", f);
	fclose(f);
	found = in && getdelim(&text, &size, 0, in) > 0 && strstr(text, table);
	if (in)
		fclose(in);
	free(table);
	free(text);
	return found;
}

static int measure(int (*by)(struct area *a))
{
	run_in_child(by);
	if (!outcome->ret)
		return KSFT_PASS;
	fprintf(stderr, "%s\n", outcome->note);
	return outcome->ret == USER_SKIP ? KSFT_SKIP : KSFT_FAIL;
}

static bool selected(const struct user *user, char **names)
{
	if (memory_file && user->when == ON_DEVICE)
		return false;
	if (!*names)
		return user->when != IF_NAMED;
	for (; *names; names++)
		if (!strncmp(user->name, *names, strlen(*names)))
			return true;
	return false;
}

/* Have the device as a row wants it. A file is as it is. */
static bool bind_memory(size_t align)
{
	return memory_file || !dax_set_transient(align);
}

/* Where the file is mounted for each row: the device has no node now. */
static bool place_for_file(void)
{
	int fd = open("/dev/dax0.0", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int main(int argc, char **argv)
{
	const struct user *const all[] = {
		/* Lockdep has something to say of vhost-scsi, and is silent then. */
		io_users, nfs_users, disk_users, iscsi_users, gup_users, net_users,
		rdma_users, dma_users, kvm_users, vdpa_users, vhost_users
	}, *user;
	unsigned long cache, longterm;
	const char *file = NULL, *wanted = NULL;
	bool list = false, direct = false;
	size_t size, i;
	FILE *table;
	char *rows;
	int c, n = 0;

	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	while ((c = getopt(argc, argv, "df:lmMt:c:")) != -1) {
		if (c == 'd')
			direct = true;
		else if (c == 'f')
			memory_file = optarg;
		else if (c == 'm')
			return measure(vhost_measure);
		else if (c == 'M')
			return measure(dma_measure);
		else if (c == 'l')
			list = true;
		else if (c == 't')
			file = optarg;
		else if (c == 'c')
			wanted = optarg;
		else
			return KSFT_FAIL;
	}
	if (memory_file && direct)
		return KSFT_FAIL;
	argv += optind;

	for (i = 0; i < ARRAY_SIZE(all); i++)
		for (user = all[i]; user->name; user++)
			if (selected(user, argv)) {
				if (list)
					puts(user->name);
				n++;
			}
	if (list)
		return 0;
	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("run me as root\n");
	if (access(DAX "memmap", F_OK))
		ksft_exit_skip("no dax0.0 with a memmap attribute\n");
	if (memory_file && !place_for_file())
		ksft_exit_fail_msg("/dev/dax0.0: %m\n");
	if (!memory_file)
		dax_save();
	if (direct && access(DAX "direct_map", F_OK))
		ksft_exit_skip("dax0.0 has no direct_map attribute\n");
	if (direct && dax_set_direct_map("transient"))
		ksft_exit_fail_msg("direct_map can't be set\n");
	if (!bind_memory(2 * MB))
		ksft_exit_fail_msg("dax0.0 can't be bound with memmap transient\n");
	if (direct && strcmp(read_str(DAX "direct_map"), "transient"))
		ksft_exit_fail_msg("the direct map is static\n");
	ksft_set_plan(n + !!wanted);

	cache = pool_limit(DAX, "cache");
	longterm = pool_limit(DAX, "longterm");
	table = open_memstream(&rows, &size);
	fprintf(table, "User\tResult\tPages\tWhy\n");
	for (i = 0; i < ARRAY_SIZE(all); i++)
		for (user = all[i]; user->name; user++)
			if (selected(user, argv)) {
				if (!bind_memory(user->align ?: 2 * MB))
					ksft_exit_fail_msg("dax0.0 can't be bound\n");
				pool_set("cache", 0);
				pool_set("longterm", 0);
				run_row(user, table);
			}
	fclose(table);
	pool_set("cache", cache);
	pool_set("longterm", longterm);
	if (direct && dax_set_direct_map("static"))
		ksft_print_msg("direct_map stays transient\n");
	dax_restore();
	if (memory_file)
		unlink("/dev/dax0.0");

	print_table(rows, stdout, "# ");
	if (file) {
		FILE *f = fopen(file, "w");

		if (!f)
			ksft_exit_fail_msg("%s: %m\n", file);
		print_table(rows, f, "");
		fclose(f);
	}
	if (wanted)
		ksft_test_result(has_table(rows, wanted), "the table is that of %s\n",
				 wanted);
	ksft_finished();
}
