// SPDX-License-Identifier: GPL-2.0
/*
 * A back end of vhost-user that joins the network cards of two guests: what one sends,
 * the other receives. It maps the memory of both, and copies frames, as DPDK does.
 *
 * usage: backend-net SOCKET SOCKET
 *
 * It listens at both sockets, and ends with the first of its guests.
 */
#define _GNU_SOURCE
#include <err.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QUEUES	2
#define RX	0	/* as the guest sees it */
#define TX	1
#define REGIONS	8
#define FRAME	65536

enum request {
	GET_FEATURES	= 1,
	SET_FEATURES	= 2,
	SET_OWNER	= 3,
	SET_MEM_TABLE	= 5,
	SET_VRING_NUM	= 8,
	SET_VRING_ADDR	= 9,
	SET_VRING_BASE	= 10,
	GET_VRING_BASE	= 11,
	SET_VRING_KICK	= 12,
	SET_VRING_CALL	= 13,
	SET_VRING_ERR	= 14,
	GET_PROTOCOL	= 15,
	SET_PROTOCOL	= 16,
	SET_VRING_ENABLE = 18,
};

/* It offers none of these features, but without it QEMU does not use the back end. */
#define F_PROTOCOL	30

#define VERSION		1
#define REPLY		4
#define NO_FD		0x100

struct message {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		struct vhost_vring_state state;
		struct vhost_vring_addr addr;
		struct {
			uint32_t nr, padding;
			struct { uint64_t guest, size, user, offset; } regions[REGIONS];
		} memory;
	};
} __attribute__((packed));

#define HEAD_LEN	offsetof(struct message, u64)

struct region {
	uint64_t guest, user, size;
	char *map;
};

struct queue {
	struct vring ring;
	struct vhost_vring_addr addr;
	uint16_t seen;		/* of the available ring */
	bool enabled;
	int kick, call;
};

struct guest {
	int sock;
	struct region regions[REGIONS];
	unsigned int nr;
	struct queue queues[QUEUES];
};

static struct guest guests[2];

/* Where the back end has what the guest, or QEMU, has at this address */
static void *at_guest(const struct guest *g, uint64_t addr, uint64_t len)
{
	const struct region *r;

	for (r = g->regions; r < g->regions + g->nr; r++)
		if (addr >= r->guest && len <= r->size && addr - r->guest <= r->size - len)
			return r->map + (addr - r->guest);
	errx(1, "%#lx: not the guest's memory", (unsigned long)addr);
}

static void *at_user(const struct guest *g, uint64_t addr)
{
	const struct region *r;

	for (r = g->regions; r < g->regions + g->nr; r++)
		if (addr >= r->user && addr - r->user < r->size)
			return r->map + (addr - r->user);
	errx(1, "%#lx: not QEMU's memory", (unsigned long)addr);
}

static bool next_chain(struct queue *q, uint16_t *head)
{
	if (!q->enabled || q->kick < 0 ||
	    __atomic_load_n(&q->ring.avail->idx, __ATOMIC_ACQUIRE) == q->seen)
		return false;
	*head = q->ring.avail->ring[q->seen++ % q->ring.num];
	return true;
}

static void return_chain(struct queue *q, uint16_t head, uint32_t len)
{
	uint16_t idx = q->ring.used->idx;

	q->ring.used->ring[idx % q->ring.num] = (struct vring_used_elem) { head, len };
	__atomic_store_n(&q->ring.used->idx, idx + 1, __ATOMIC_SEQ_CST);
	if (!(__atomic_load_n(&q->ring.avail->flags, __ATOMIC_SEQ_CST) &
	      VRING_AVAIL_F_NO_INTERRUPT) && q->call >= 0)
		(void)!write(q->call, &(uint64_t) { 1 }, sizeof(uint64_t));
}

/* Copy between a chain and @frame, and return how much. */
static uint32_t copy(const struct guest *g, struct queue *q, uint16_t head, char *frame,
		     uint32_t len, bool to_guest)
{
	struct vring_desc *d = &q->ring.desc[head];
	uint32_t done = 0, n;
	void *p;

	for (;;) {
		n = d->len < len - done ? d->len : len - done;
		p = at_guest(g, d->addr, n);
		memcpy(to_guest ? p : frame + done, to_guest ? frame + done : p, n);
		done += n;
		if (!(d->flags & VRING_DESC_F_NEXT))
			return done;
		d = &q->ring.desc[d->next];
	}
}

/* A frame for which there is no room is lost, as in any network. */
static void forward(struct guest *from, struct guest *to)
{
	struct queue *tx = &from->queues[TX], *rx = &to->queues[RX];
	static char frame[FRAME];
	struct virtio_net_hdr_v1 *hdr = (void *)frame;
	uint16_t head, room;
	uint32_t len;

	while (next_chain(tx, &head)) {
		len = copy(from, tx, head, frame, sizeof(frame), false);
		hdr->num_buffers = 1;
		if (next_chain(rx, &room))
			return_chain(rx, room, copy(to, rx, room, frame, len, true));
		return_chain(tx, head, 0);
	}
}

static void find_rings(const struct guest *g, struct queue *q)
{
	q->ring.desc = at_user(g, q->addr.desc_user_addr);
	q->ring.avail = at_user(g, q->addr.avail_user_addr);
	q->ring.used = at_user(g, q->addr.used_user_addr);
}

static void set_memory(struct guest *g, const struct message *m, const int *fds)
{
	struct region *r;
	unsigned int i;

	for (i = 0; i < g->nr; i++)
		munmap(g->regions[i].map, g->regions[i].size);
	g->nr = m->memory.nr;
	for (i = 0; i < g->nr; i++) {
		r = &g->regions[i];
		r->guest = m->memory.regions[i].guest;
		r->user = m->memory.regions[i].user;
		r->size = m->memory.regions[i].size;
		r->map = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i],
			      m->memory.regions[i].offset);
		if (r->map == MAP_FAILED)
			err(1, "%#lx bytes at %#lx", (unsigned long)r->size,
			    (unsigned long)r->guest);
		close(fds[i]);
	}
	for (i = 0; i < QUEUES; i++)
		if (g->queues[i].kick >= 0)
			find_rings(g, &g->queues[i]);
}

static void set_fd(int *to, const struct message *m, int fd)
{
	if (*to >= 0)
		close(*to);
	*to = m->u64 & NO_FD ? -1 : fd;
}

/* All requests have the index of a queue in the same place. */
static struct queue *queue_of(struct guest *g, const struct message *m)
{
	if ((m->u64 & 0xff) >= QUEUES)
		errx(1, "request %u: no such queue", m->request);
	return &g->queues[m->u64 & 0xff];
}

static void answer(const struct guest *g, struct message *m, uint32_t size)
{
	m->flags = VERSION | REPLY;
	m->size = size;
	if (send(g->sock, m, HEAD_LEN + size, MSG_NOSIGNAL) != (ssize_t)(HEAD_LEN + size))
		err(1, "send");
}

static void handle(struct guest *g, struct message *m, const int *fds)
{
	struct queue *q;

	switch (m->request) {
	case GET_FEATURES:
		m->u64 = 1ULL << VIRTIO_F_VERSION_1 | 1ULL << F_PROTOCOL;
		answer(g, m, sizeof(m->u64));
		break;
	case GET_PROTOCOL:
		m->u64 = 0;
		answer(g, m, sizeof(m->u64));
		break;
	case SET_FEATURES:
	case SET_PROTOCOL:
	case SET_OWNER:
		break;
	case SET_MEM_TABLE:
		set_memory(g, m, fds);
		break;
	case SET_VRING_NUM:
		queue_of(g, m)->ring.num = m->state.num;
		break;
	case SET_VRING_ADDR:
		q = queue_of(g, m);
		q->addr = m->addr;
		find_rings(g, q);
		break;
	case SET_VRING_BASE:
		queue_of(g, m)->seen = m->state.num;
		break;
	case GET_VRING_BASE:
		q = queue_of(g, m);
		m->state.num = q->seen;
		close(q->kick);
		q->kick = -1;
		answer(g, m, sizeof(m->state));
		break;
	case SET_VRING_ENABLE:
		queue_of(g, m)->enabled = m->state.num;
		break;
	case SET_VRING_KICK:
		set_fd(&queue_of(g, m)->kick, m, fds[0]);
		break;
	case SET_VRING_CALL:
		set_fd(&queue_of(g, m)->call, m, fds[0]);
		break;
	case SET_VRING_ERR:
		close(fds[0]);
		break;
	default:
		errx(1, "request %u", m->request);
	}
}

static void receive(struct guest *g)
{
	char control[CMSG_SPACE(REGIONS * sizeof(int))];
	int fds[REGIONS] = { [0 ... REGIONS - 1] = -1 };
	struct message m;
	struct iovec iov = { &m, HEAD_LEN };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;

	if (recvmsg(g->sock, &msg, MSG_WAITALL | MSG_CMSG_CLOEXEC) != (ssize_t)HEAD_LEN)
		_exit(0);
	for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg))
		if (cmsg->cmsg_type == SCM_RIGHTS)
			memcpy(fds, CMSG_DATA(cmsg), cmsg->cmsg_len - CMSG_LEN(0));
	if (m.size > sizeof(m) - HEAD_LEN ||
	    (m.size && recv(g->sock, &m.u64, m.size, MSG_WAITALL) != (ssize_t)m.size))
		errx(1, "request %u of %u bytes", m.request, m.size);
	handle(g, &m, fds);
}

static int listens(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 1))
		err(1, "%s", path);
	return fd;
}

int main(int argc, char **argv)
{
	struct pollfd p[4] = {};
	uint64_t kicks;
	int i;

	if (argc != 3)
		errx(2, "usage: backend-net SOCKET SOCKET");
	for (i = 0; i < 2; i++)
		guests[i].sock = listens(argv[i + 1]);
	for (i = 0; i < 2; i++) {
		guests[i].sock = accept(guests[i].sock, NULL, NULL);
		guests[i].queues[RX].kick = guests[i].queues[RX].call = -1;
		guests[i].queues[TX].kick = guests[i].queues[TX].call = -1;
	}
	for (;;) {
		for (i = 0; i < 2; i++) {
			p[i] = (struct pollfd) {
				.fd = guests[i].sock, .events = POLLIN,
			};
			p[2 + i] = (struct pollfd) {
				.fd = guests[i].queues[TX].kick, .events = POLLIN,
			};
		}
		if (poll(p, 4, -1) < 0)
			err(1, "poll");
		for (i = 0; i < 2; i++) {
			if (p[i].revents)
				receive(&guests[i]);
			if (p[2 + i].revents && guests[i].queues[TX].kick >= 0) {
				(void)!read(guests[i].queues[TX].kick, &kicks, sizeof(kicks));
				forward(&guests[i], &guests[!i]);
			}
		}
	}
}
