// SPDX-License-Identifier: GPL-2.0
/* The network with memory that has a transient memmap, vhost aside */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/ethtool.h>
#include <linux/if_alg.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <linux/io_uring.h>
#include <linux/sockios.h>
#include <linux/tls.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "transient_memmap_users.h"

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY	60
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY	0x4000000
#endif
#ifndef AF_XDP
#define AF_XDP		44
#endif
#ifndef SOL_XDP
#define SOL_XDP		283
#endif

#ifndef TCP_ULP
#define TCP_ULP		31
#endif
#ifndef SOL_TLS
#define SOL_TLS		282
#endif

#define PORT	4711

/* What is sent: from the middle of a block, and across the ends of some */
static const size_t lengths[] = { 1, 1500, 4097, 60001 };

#define STREAM_LEN	(5 * MB + 3)

static int own_network(void)
{
	if (unshare(CLONE_NEWNET))
		return user_skip("no network namespaces");
	if (sh("ip link set lo up"))
		return user_fail("no loopback interface");
	return 0;
}

/* The other side: a process, in a network namespace of its own for veth */
struct peer {
	pid_t pid;
	int up, down;	/* bytes to and from it mean: go on */
	const char *addr;
};

static bool step(int fd_out, int fd_in)
{
	char c = 0;

	return write(fd_out, &c, 1) == 1 && read(fd_in, &c, 1) == 1;
}

static struct sockaddr_in address(const char *addr)
{
	return (struct sockaddr_in) {
		.sin_family = AF_INET,
		.sin_port = htons(PORT),
		.sin_addr.s_addr = inet_addr(addr),
	};
}

static bool receive_stream(int fd, char *buf)
{
	size_t done = 0;
	ssize_t n;

	while (done < STREAM_LEN) {
		n = read(fd, buf + done, STREAM_LEN - done);
		if (n <= 0)
			return false;
		done += n;
	}
	return same(buf, STREAM_LEN, 1) == STREAM_LEN;
}

static bool receive_datagrams(int fd, char *buf)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lengths); i++)
		if (recv(fd, buf, 1 * MB, 0) != (ssize_t)lengths[i] ||
		    same(buf, lengths[i], i) != lengths[i])
			return false;
	return true;
}

static int peer_main(int up, int down, bool veth, int type)
{
	char *buf = malloc(STREAM_LEN);
	struct sockaddr_in sin;
	int fd, one = 1;

	if (veth && unshare(CLONE_NEWNET))
		return 1;
	/* Now the other one can make the link. */
	if (!step(up, down))
		return 2;
	if (veth && sh("ip addr add 10.9.9.2/24 dev veth1 && ip link set veth1 up"))
		return 3;
	sin = address(veth ? "10.9.9.2" : "127.0.0.1");
	fd = socket(AF_INET, type, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) ||
	    (type == SOCK_STREAM && listen(fd, 1)) || !step(up, down))
		return 4;
	if (type == SOCK_DGRAM)
		return receive_datagrams(fd, buf) ? 0 : 5;
	fd = accept(fd, NULL, NULL);
	return receive_stream(fd, buf) ? 0 : 6;
}

/*
 * TCP has to compute the checksums then, over the pages. UDP would not even try
 * without a copy.
 */
static int checksum_in_software(const char *name)
{
	struct ethtool_value value = { .cmd = ETHTOOL_STXCSUM };
	struct ifreq ifr = { .ifr_data = (void *)&value };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), ret;

	strcpy(ifr.ifr_name, name);
	ret = ioctl(fd, SIOCETHTOOL, &ifr);
	close(fd);
	return ret;
}

static int peer_start(struct peer *peer, bool veth, int type)
{
	int up[2], down[2];
	char c;

	if (pipe(up) || pipe(down))
		return user_fail("no pipes: %m");
	peer->pid = fork();
	if (!peer->pid)
		_exit(peer_main(up[1], down[0], veth, type));
	peer->up = up[0];
	peer->down = down[1];
	peer->addr = veth ? "10.9.9.2" : "127.0.0.1";
	if (read(peer->up, &c, 1) != 1)
		return user_fail("no second network namespace");
	if (veth && (sh("ip link add veth0 type veth peer name veth1 netns %d &&"
			"ip addr add 10.9.9.1/24 dev veth0 && ip link set veth0 up",
			peer->pid) ||
		     (type == SOCK_STREAM && checksum_in_software("veth0"))))
		return user_fail("no pair of veth");
	if (!step(peer->down, peer->up) || write(peer->down, &c, 1) != 1)
		return user_fail("the receiver has no socket");
	return 0;
}

static int peer_result(struct peer *peer)
{
	int status;

	if (waitpid(peer->pid, &status, 0) != peer->pid || status)
		return user_fail("what was received is wrong: %#x", status);
	return 0;
}

/* Wait until the kernel says of @nr calls that their memory is free again. */
static int wait_completions(int fd, unsigned int nr)
{
	unsigned int done = 0;

	while (done < nr) {
		struct pollfd pfd = { .fd = fd };
		char control[128];
		struct msghdr msg = {
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};
		struct sock_extended_err *err;

		if (poll(&pfd, 1, 100000) != 1)
			return user_fail("%u of %u completions came", done, nr);
		if (recvmsg(fd, &msg, MSG_ERRQUEUE) < 0)
			return user_fail("no completion: %m");
		err = (void *)CMSG_DATA(CMSG_FIRSTHDR(&msg));
		if (err->ee_origin != SO_EE_ORIGIN_ZEROCOPY || err->ee_errno)
			return user_fail("an error instead of a completion");
		done += err->ee_data - err->ee_info + 1;
	}
	return 0;
}

/* All of it, of whichever lengths the kernel takes */
static long send_zerocopy(int fd, const char *buf, size_t len)
{
	unsigned int calls = 0;
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = send(fd, buf + done, len - done, MSG_ZEROCOPY);
		if (n < 0)
			return -errno;
		done += n;
		calls++;
	}
	return wait_completions(fd, calls);
}

/*
 * The completion is not waited for: it may come as late as the next packet, for
 * ordinary memory as well. The pages have to be free anyway.
 */
static long send_zerocopy_only(int fd, const char *buf, size_t len)
{
	ssize_t n = send(fd, buf, len, MSG_ZEROCOPY);

	return n < 0 ? -errno : 0;
}

static long send_uring_zc(int fd, const char *buf, size_t len)
{
	const struct io_uring_sqe sqe = {
		.opcode = IORING_OP_SEND_ZC,
		.fd = fd,
		.addr = (unsigned long)buf,
		.len = len,
		.msg_flags = MSG_WAITALL,
	};
	long n = uring_request(0, &sqe, NULL);

	return n < 0 ? n : n == (long)len ? 0 : -EIO;
}

static int check_send(struct area *a, bool veth, int type,
		      long (*send_fn)(int fd, const char *buf, size_t len))
{
	struct sockaddr_in sin;
	struct peer peer;
	int fd, one = 1, ret;
	size_t i;

	ret = own_network() ?: peer_start(&peer, veth, type);
	if (ret)
		return ret;
	sin = address(peer.addr);
	fd = socket(AF_INET, type, 0);
	if (connect(fd, (struct sockaddr *)&sin, sizeof(sin)) ||
	    setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)))
		return user_fail("can't connect: %m");

	if (type == SOCK_STREAM) {
		fill(a->mem + PAGE - 7, STREAM_LEN, 1);
		ret = send_fn(fd, a->mem + PAGE - 7, STREAM_LEN);
	}
	for (i = 0; type == SOCK_DGRAM && i < ARRAY_SIZE(lengths) && !ret; i++) {
		char *buf = a->mem + (i + 1) * 2 * MB - 700;

		fill(buf, lengths[i], i);
		ret = send_fn(fd, buf, lengths[i]);
	}
	close(fd);
	if (ret)
		return ret;
	return peer_result(&peer);
}

static int zerocopy_tcp(struct area *a)
{
	return check_send(a, false, SOCK_STREAM, send_zerocopy);
}

static int zerocopy_udp(struct area *a)
{
	return check_send(a, false, SOCK_DGRAM, send_zerocopy);
}

static int zerocopy_tcp_veth(struct area *a)
{
	return check_send(a, true, SOCK_STREAM, send_zerocopy);
}

static int zerocopy_udp_veth(struct area *a)
{
	return check_send(a, true, SOCK_DGRAM, send_zerocopy_only);
}

static int uring_send_zc(struct area *a)
{
	return check_send(a, false, SOCK_STREAM, send_uring_zc);
}

/* Frames of an experimental type, over the loopback interface */

#define ETH_P_TEST	0x88b5
#define FRAME_LEN	(sizeof(struct ethhdr) + 1400)

static struct sockaddr_ll lo_address(void)
{
	return (struct sockaddr_ll) {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_TEST),
		.sll_ifindex = if_nametoindex("lo"),
	};
}

static int packet_socket(void)
{
	struct timeval timeout = { .tv_sec = 20 };
	struct sockaddr_ll sll = lo_address();
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_TEST));

	if (fd >= 0 && bind(fd, (struct sockaddr *)&sll, sizeof(sll)))
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	return fd;
}

static void make_frame(char *frame, int seed)
{
	struct ethhdr eth = { .h_proto = htons(ETH_P_TEST) };

	fill(frame, FRAME_LEN, seed);
	memcpy(frame, &eth, sizeof(eth));
}

static bool is_frame(const char *frame, int seed)
{
	char want[FRAME_LEN];

	make_frame(want, seed);
	return !memcmp(frame, want, FRAME_LEN);
}

static int af_packet(struct area *a)
{
	char *out = a->mem + 2 * MB - 100, *in = a->mem + 4 * MB - 100;
	int fd, other, ret;

	ret = own_network();
	if (ret)
		return ret;
	other = packet_socket();
	fd = packet_socket();
	if (fd < 0 || other < 0)
		return user_skip("no AF_PACKET");
	make_frame(out, 3);
	if (send(fd, out, FRAME_LEN, 0) != (ssize_t)FRAME_LEN)
		return -errno;
	if (recv(other, in, FRAME_LEN, 0) != (ssize_t)FRAME_LEN || !is_frame(in, 3))
		return user_fail("the frame received is not the one sent");
	return 0;
}

#define XDP_FRAMES	64

static int xdp_umem(struct area *a)
{
	struct xdp_umem_reg reg = {
		.addr = (unsigned long)a->mem,
		.len = XDP_FRAMES * PAGE,
		.chunk_size = PAGE,
	};
	int n = XDP_FRAMES, fd, ret;

	ret = own_network();
	if (ret)
		return ret;
	fd = socket(AF_XDP, SOCK_RAW, 0);
	if (fd < 0)
		return user_skip("no AF_XDP");
	if (setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg))) {
		ret = -errno;
		close(fd);
		return ret;
	}
	if (setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &n, sizeof(n)) ||
	    setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &n, sizeof(n)) ||
	    setsockopt(fd, SOL_XDP, XDP_TX_RING, &n, sizeof(n)))
		return user_fail("no rings: %m");
	return fd + 1000;
}

static int af_xdp(struct area *a)
{
	return xdp_umem(a);
}

static int af_xdp_beyond(struct area *a)
{
	pool_set("longterm", 1);
	return beyond_cap(a, xdp_umem);
}

/* Sends a frame out of the umem, in copy mode. */
static int af_xdp_allowed(struct area *a)
{
	struct sockaddr_xdp sxdp = { .sxdp_family = AF_XDP, .sxdp_flags = XDP_COPY };
	struct xdp_mmap_offsets off;
	socklen_t len = sizeof(off);
	struct xdp_desc *desc;
	char *tx, *done, got[FRAME_LEN];
	int fd, other, i;

	pool_set("longterm", 1);
	fd = xdp_umem(a) - 1000;
	if (fd < 0)
		return fd + 1000;
	other = packet_socket();
	sxdp.sxdp_ifindex = if_nametoindex("lo");
	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len))
		return user_fail("no offsets: %m");
	tx = mmap(NULL, off.tx.desc + XDP_FRAMES * sizeof(*desc),
		  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		  XDP_PGOFF_TX_RING);
	done = mmap(NULL, off.cr.desc + XDP_FRAMES * sizeof(uint64_t),
		    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		    XDP_UMEM_PGOFF_COMPLETION_RING);
	if (tx == MAP_FAILED || done == MAP_FAILED ||
	    bind(fd, (struct sockaddr *)&sxdp, sizeof(sxdp)))
		return user_fail("can't bind: %m");
	if (!pool_get("live"))
		return user_fail("the umem is not pinned");

	make_frame(a->mem + 5 * PAGE, 4);
	desc = (struct xdp_desc *)(tx + off.tx.desc);
	desc[0] = (struct xdp_desc) { .addr = 5 * PAGE, .len = FRAME_LEN };
	__atomic_store_n((uint32_t *)(tx + off.tx.producer), 1, __ATOMIC_RELEASE);
	if (sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN)
		return user_fail("can't send: %m");
	if (recv(other, got, FRAME_LEN, 0) != (ssize_t)FRAME_LEN || !is_frame(got, 4))
		return user_fail("the frame received is not the one sent");
	for (i = 0; i < 1000; i++) {
		if (__atomic_load_n((uint32_t *)(done + off.cr.producer),
				    __ATOMIC_ACQUIRE) == 1)
			return 0;
		usleep(10000);
	}
	return user_fail("the frame is not given back");
}

/*
 * Encryption, by a socket: what is read is written to the guest's pages, and what is
 * spliced is read from there.
 */

#define CRYPT_LEN	(32 * KB)	/* A pipe holds it, wherever it begins. */

static int alg_socket(void)
{
	struct sockaddr_alg sa = {
		.salg_family = AF_ALG, .salg_type = "skcipher", .salg_name = "xts(aes)",
	};
	char key[64];
	int fd = socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	fill(key, sizeof(key), 3);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) ||
	    setsockopt(fd, SOL_ALG, ALG_SET_KEY, key, sizeof(key)))
		return -1;
	return accept(fd, NULL, NULL);
}

/* From @in to @out, by splicing if @pipe is not NULL */
static bool crypt_by_socket(int fd, int op, char *in, char *out, int *pipe)
{
	char control[CMSG_SPACE(4) + CMSG_SPACE(4 + 16)] = {};
	struct iovec iov = { in, CRYPT_LEN };
	struct msghdr msg = {
		.msg_control = control, .msg_controllen = sizeof(control),
		.msg_iov = pipe ? NULL : &iov, .msg_iovlen = !pipe,
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	*cmsg = (struct cmsghdr) { CMSG_LEN(4), SOL_ALG, ALG_SET_OP };
	memcpy(CMSG_DATA(cmsg), &op, 4);
	cmsg = CMSG_NXTHDR(&msg, cmsg);
	*cmsg = (struct cmsghdr) { CMSG_LEN(4 + 16), SOL_ALG, ALG_SET_IV };
	((struct af_alg_iv *)CMSG_DATA(cmsg))->ivlen = 16;
	if (sendmsg(fd, &msg, pipe ? MSG_MORE : 0) != (pipe ? 0 : CRYPT_LEN))
		return false;
	if (pipe && (vmsplice(pipe[1], &iov, 1, 0) != CRYPT_LEN ||
		     splice(pipe[0], NULL, fd, NULL, CRYPT_LEN, 0) != CRYPT_LEN))
		return false;
	return read(fd, out, CRYPT_LEN) == CRYPT_LEN;
}

static int check_crypt(int fd, char *mem, char *want, int *pipe)
{
	char *in = mem + 2 * MB - 16, *out = mem + 6 * MB - PAGE - 48;

	fill(in, CRYPT_LEN, 5);
	if (!crypt_by_socket(fd, ALG_OP_ENCRYPT, in, out, pipe))
		return user_fail("can't encrypt%s: %m", pipe ? " what is spliced" : "");
	if (memcmp(out, want, CRYPT_LEN))
		return user_fail("it is encrypted otherwise than in other memory");
	memset(in, 0, CRYPT_LEN);
	if (!crypt_by_socket(fd, ALG_OP_DECRYPT, out, in, pipe) ||
	    same(in, CRYPT_LEN, 5) != CRYPT_LEN)
		return user_fail("it is not decrypted: %m");
	return 0;
}

static int af_alg(struct area *a)
{
	char *other = malloc(2 * CRYPT_LEN);
	int fd = alg_socket(), fds[2], ret;

	if (fd < 0)
		return user_skip("no AF_ALG with xts(aes)");
	if (pipe(fds))
		return user_fail("no pipe: %m");
	fill(other, CRYPT_LEN, 5);
	if (!crypt_by_socket(fd, ALG_OP_ENCRYPT, other, other + CRYPT_LEN, NULL))
		return user_fail("can't encrypt other memory: %m");
	ret = check_crypt(fd, a->mem, other + CRYPT_LEN, NULL) ?:
	      check_crypt(fd, a->mem + 10 * MB, other + CRYPT_LEN, fds);
	free(other);
	return ret;
}

/* TLS, which encrypts from the guest's pages, and decrypts to them */

#define TLS_LEN		16000	/* of a record, which has 16 KiB at most */

static bool tls_start(int fd, int direction)
{
	struct tls12_crypto_info_aes_gcm_128 info = {
		.info = { TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128 },
		.key = "0123456789abcde", .salt = "abc", .iv = "1234567",
	};

	return !setsockopt(fd, SOL_TCP, TCP_ULP, "tls", sizeof("tls")) &&
	       !setsockopt(fd, SOL_TLS, direction, &info, sizeof(info));
}

static int tls(struct area *a)
{
	struct sockaddr_in sin = address("127.0.0.1");
	int from, to, ret, i;

	ret = own_network();
	if (ret)
		return ret;
	from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(to, (struct sockaddr *)&sin, sizeof(sin)) || listen(to, 1) ||
	    connect(from, (struct sockaddr *)&sin, sizeof(sin)))
		return user_fail("can't connect: %m");
	to = accept(to, NULL, NULL);
	if (!tls_start(from, TLS_TX) || !tls_start(to, TLS_RX))
		return user_skip("no TLS in the kernel, or no AES-GCM for it");
	for (i = 0; i < 20; i++) {
		char *out = a->mem + (2 * i % 16 + 1) * 2 * MB - 700 - i;
		char *in = a->mem + (2 * i % 16 + 2) * 2 * MB - 900 + i;

		fill(out, TLS_LEN, i);
		memset(in, 0, TLS_LEN);
		if (send(from, out, TLS_LEN, 0) != TLS_LEN ||
		    recv(to, in, TLS_LEN, MSG_WAITALL) != TLS_LEN)
			return user_fail("record %d does not arrive: %m", i);
		if (same(in, TLS_LEN, i) != TLS_LEN)
			return user_fail("record %d is not the one sent", i);
	}
	return 0;
}

const struct user net_users[] = {
	{ "TCP, MSG_ZEROCOPY", 0, PINS, NULL, zerocopy_tcp },
	{ "TCP, MSG_ZEROCOPY, veth", 0, PINS, NULL, zerocopy_tcp_veth },
	{ "TCP, io_uring send_zc", 0, PINS, NULL, uring_send_zc },
	{ "UDP, MSG_ZEROCOPY", 0, PINS, NULL, zerocopy_udp },
	{ "UDP, MSG_ZEROCOPY, veth", 0, PINS, NULL, zerocopy_udp_veth },
	{ "TLS in the kernel", 0, PINS, NULL, tls },
	{ "AF_ALG", 0, PINS, NULL, af_alg },
	{ "AF_PACKET", 0, NO_PINS, "copied", af_packet },
	{ "AF_XDP umem", -EOPNOTSUPP, NO_PINS, "long-term pin", af_xdp },
	{ "AF_XDP umem, allowed", 0, PINS, "longterm is 1", af_xdp_allowed },
	{ "AF_XDP umem beyond the cap", -ENOMEM, NO_PINS, "longterm is 1",
	  af_xdp_beyond },
	{}
};
