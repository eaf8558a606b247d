// SPDX-License-Identifier: GPL-2.0
/*
 * vhost with memory that has a transient memmap: this program plays both the
 * VMM, which sets vhost up, and the guest, whose rings and buffers lie in that
 * memory.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/fs.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_scsi.h>
#include <linux/virtio_vsock.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "transient_memmap_users.h"
#include "transient_memmap_vhost.h"

static uint64_t guest_address(struct vdev *dev, void *p)
{
	return dev->iova + ((char *)p - dev->a->mem);
}

/* Where a ring is for the other side, which may be a device behind an IOMMU */
static uint64_t ring_address(struct vdev *dev, void *p)
{
	return dev->iova ? guest_address(dev, p) : (unsigned long)p;
}

int set_features(struct vdev *dev, uint64_t wanted)
{
	uint64_t features;

	if (ioctl(dev->fd, VHOST_GET_FEATURES, &features) ||
	    (features & wanted) != wanted)
		return -1;
	return ioctl(dev->fd, VHOST_SET_FEATURES, &wanted);
}

int set_queue(struct vdev *dev, unsigned int index)
{
	struct vhost_vring_state num = { index, RING }, base = { index, 0 };
	struct queue *q = &dev->queues[index];
	struct vhost_vring_addr addr = { .index = index };
	struct vhost_vring_file kick, call;

	memset(q, 0, sizeof(*q));
	vring_init(&q->ring, RING, dev->a->mem + index * 64 * KB, PAGE);
	q->kick = eventfd(0, EFD_CLOEXEC);
	q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	kick = (struct vhost_vring_file) { index, q->kick };
	call = (struct vhost_vring_file) { index, q->call };
	addr.desc_user_addr = ring_address(dev, q->ring.desc);
	addr.avail_user_addr = ring_address(dev, q->ring.avail);
	addr.used_user_addr = ring_address(dev, q->ring.used);
	return ioctl(dev->fd, VHOST_SET_VRING_NUM, &num) ||
	       ioctl(dev->fd, VHOST_SET_VRING_BASE, &base) ||
	       ioctl(dev->fd, VHOST_SET_VRING_ADDR, &addr) ||
	       ioctl(dev->fd, VHOST_SET_VRING_KICK, &kick) ||
	       ioctl(dev->fd, VHOST_SET_VRING_CALL, &call);
}

/* Returns 0, USER_FAIL or USER_SKIP. */
static int vdev_open(struct vdev *dev, struct area *a, const char *path,
		     uint64_t features, unsigned int queues)
{
	struct {
		struct vhost_memory memory;
		struct vhost_memory_region region;
	} table = {
		.memory.nregions = 1,
		.region.memory_size = a->len,
		.region.userspace_addr = (unsigned long)a->mem,
	};
	unsigned int i;

	dev->a = a;
	dev->iova = 0;
	dev->fd = open(path, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0)
		return user_skip("no %s", path);
	memset(a->mem, 0, RINGS_LEN);
	if (ioctl(dev->fd, VHOST_SET_OWNER) ||
	    set_features(dev, features | 1ULL << VIRTIO_F_VERSION_1) ||
	    ioctl(dev->fd, VHOST_SET_MEM_TABLE, &table))
		return user_fail("%s: %m", path);
	for (i = 0; i < queues; i++)
		if (set_queue(dev, i))
			return user_fail("%s, queue %u: %m", path, i);
	return 0;
}

void queue_post(struct vdev *dev, unsigned int index, const struct iovec *iov,
		int nr_out, int nr)
{
	struct vring *ring = &dev->queues[index].ring;
	uint16_t head = ring->avail->idx * 8 % RING;
	uint64_t one = 1;
	int i;

	for (i = 0; i < nr; i++)
		ring->desc[head + i] = (struct vring_desc) {
			.addr = guest_address(dev, iov[i].iov_base),
			.len = iov[i].iov_len,
			.flags = (i < nr - 1 ? VRING_DESC_F_NEXT : 0) |
				 (i >= nr_out ? VRING_DESC_F_WRITE : 0),
			.next = head + i + 1,
		};
	ring->avail->ring[ring->avail->idx % RING] = head;
	__atomic_store_n(&ring->avail->idx, ring->avail->idx + 1, __ATOMIC_RELEASE);
	if (write(dev->queues[index].kick, &one, sizeof(one)) != sizeof(one))
		user_note("can't kick: %m");
}

static bool queue_has_used(struct vdev *dev, unsigned int index)
{
	struct queue *q = &dev->queues[index];

	return __atomic_load_n(&q->ring.used->idx, __ATOMIC_ACQUIRE) != q->seen;
}

long queue_wait(struct vdev *dev, unsigned int index)
{
	struct queue *q = &dev->queues[index];
	int i;

	for (i = 0; i < 2000; i++) {
		if (queue_has_used(dev, index))
			return q->ring.used->ring[q->seen++ % RING].len;
		usleep(10000);
	}
	return -1;
}

/* vhost-net, with a tap */

#define RX		0
#define TX		1
#define HDR_LEN		sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define ETH_P_TEST	0x88b5

/* Over 256 bytes, a frame is sent without a copy, if the module is told so. */
#define SHORT_LEN	200
#define LONG_LEN	1500

/* Of a frame, this many bytes lie in one block and the rest in the next. */
#define BEFORE_END	700

struct net {
	struct vdev dev;
	int tap;
	int packet;	/* socket on the host's side of the tap */
};

static int packet_socket(const char *ifname, int protocol)
{
	struct timeval timeout = { .tv_sec = 20 };
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(protocol),
		.sll_ifindex = if_nametoindex(ifname),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&sll, sizeof(sll)))
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	return fd;
}

static int net_open(struct net *net, struct area *a)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int hdr_len = HDR_LEN, ret;

	if (unshare(CLONE_NEWNET))
		return user_skip("no network namespaces");
	/* No frames but ours, please. */
	write_str("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	write_str("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	net->tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (net->tap < 0)
		return user_skip("no /dev/net/tun");
	strcpy(ifr.ifr_name, "tap0");
	if (ioctl(net->tap, TUNSETIFF, &ifr) ||
	    ioctl(net->tap, TUNSETVNETHDRSZ, &hdr_len) ||
	    sh("ip link set tap0 up"))
		return user_fail("no tap: %m");
	net->packet = packet_socket("tap0", ETH_P_TEST);
	ret = vdev_open(&net->dev, a, "/dev/vhost-net", 0, 2);
	if (ret)
		return ret;
	return net->packet < 0 ? user_fail("no packet socket: %m") : 0;
}

static int net_set_backends(struct net *net, int fd)
{
	struct vhost_vring_file rx = { RX, fd }, tx = { TX, fd };

	return ioctl(net->dev.fd, VHOST_NET_SET_BACKEND, &rx) ||
	       ioctl(net->dev.fd, VHOST_NET_SET_BACKEND, &tx);
}

static bool zerocopy_enabled(void)
{
	return atoi(read_str("/sys/module/vhost_net/parameters/experimental_zcopytx"));
}

static void make_frame(char *frame, size_t len, int seed)
{
	/* To an address that is nobody's */
	struct ethhdr eth = {
		.h_dest = { 2, 0, 0, 0, 0, 9 },
		.h_source = { 2, 0, 0, 0, 0, 1 },
		.h_proto = htons(ETH_P_TEST),
	};

	fill(frame, len, seed);
	memcpy(frame, &eth, sizeof(eth));
}

static bool is_frame(const char *frame, size_t len, int seed)
{
	char want[LONG_LEN];

	make_frame(want, len, seed);
	return !memcmp(frame, want, len);
}

/* The header and the frame, which lies across the end of a block */
static void net_post(struct net *net, unsigned int index, char *frame, size_t len)
{
	struct iovec iov[2] = {
		{ net->dev.a->mem + RINGS_LEN, HDR_LEN }, { frame, len },
	};

	memset(iov[0].iov_base, 0, HDR_LEN);
	queue_post(&net->dev, index, iov, index == TX ? 2 : 0, 2);
}

/* Where a frame is that lies in two blocks, from the 3rd one on */
static char *frame_at(struct area *a, int i)
{
	return a->mem + (2 * (i % 14) + 2) * 2 * MB - BEFORE_END;
}

/* Who listens gets a copy: at once, from the guest's pages, if it is a long one. */
static int net_transmit(struct area *a, size_t len)
{
	char got[LONG_LEN];
	struct net net;
	int i, ret;

	ret = net_open(&net, a);
	if (ret)
		return ret;
	if (net_set_backends(&net, net.tap))
		return user_fail("no backend: %m");
	for (i = 0; i < 100; i++) {
		char *frame = frame_at(a, i);

		make_frame(frame, len, i);
		net_post(&net, TX, frame, len);
		if (recv(net.packet, got, sizeof(got), 0) != (ssize_t)len ||
		    !is_frame(got, len, i))
			return user_fail("frame %d is not what arrives", i);
		if (queue_wait(&net.dev, TX) < 0)
			return user_fail("frame %d never comes back", i);
	}
	return 0;
}

static int net_transmit_copy(struct area *a)
{
	return net_transmit(a, SHORT_LEN);
}

static int net_transmit_heard(struct area *a)
{
	return zerocopy_enabled() ? net_transmit(a, LONG_LEN) :
		user_skip("needs vhost_net.experimental_zcopytx=1");
}

/* A frame that can't be pinned, as the cap is used up, is copied and not lost. */
static int net_transmit_capped(struct area *a)
{
	unsigned long cap = pool_limit(DAX, "cap"), failed = pool_get("failed");
	int ret;

	if (!user_hold(a->mem + a->len - 2 * MB))
		return user_fail("no block can be pinned");
	pool_set("cap", 1);
	ret = net_transmit_heard(a);
	if (!ret && pool_get("failed") == failed)
		ret = user_fail("no pin was refused");
	pool_set("cap", cap);
	user_let_go();
	return ret;
}

static int net_receive_frames(struct net *net, int nr)
{
	char out[LONG_LEN];
	long len;
	int i;

	for (i = 0; i < nr; i++) {
		char *frame = net->dev.a->mem + (i % 20 + 2) * 2 * MB - BEFORE_END;

		memset(frame, 0, LONG_LEN + 1);
		net_post(net, RX, frame, LONG_LEN);
		make_frame(out, LONG_LEN, i);
		if (send(net->packet, out, LONG_LEN, 0) != LONG_LEN)
			return user_fail("can't send: %m");
		len = queue_wait(&net->dev, RX);
		if (len != (long)HDR_LEN + LONG_LEN)
			return user_fail("%ld bytes came", len);
		if (!is_frame(frame, LONG_LEN, i) || frame[LONG_LEN])
			return user_fail("frame %d is not what was sent", i);
	}
	return 0;
}

static int net_receive(struct area *a)
{
	struct net net;
	int ret;

	ret = net_open(&net, a);
	if (ret)
		return ret;
	if (net_set_backends(&net, net.tap))
		return user_fail("no backend: %m");
	return net_receive_frames(&net, 100);
}

/* The log of pages that were written may lie in the memory itself. */
static int net_dirty_log(struct area *a)
{
	uint64_t log = (unsigned long)(a->mem + 60 * MB);
	uint8_t *bits = (uint8_t *)a->mem + 60 * MB;
	struct net net;
	size_t page;
	int ret;

	ret = net_open(&net, a);
	if (ret)
		return ret;
	memset(bits, 0, a->len / PAGE / 8);
	if (set_features(&net.dev, 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VHOST_F_LOG_ALL) ||
	    ioctl(net.dev.fd, VHOST_SET_LOG_BASE, &log) ||
	    net_set_backends(&net, net.tap))
		return user_fail("no log: %m");
	ret = net_receive_frames(&net, 1);
	if (ret)
		return ret;
	/* The frame that came is on either side of the end of a block. */
	for (page = 4 * MB / PAGE - 1; page <= 4 * MB / PAGE; page++)
		if (!(bits[page / 8] & 1 << page % 8))
			return user_fail("page %zu is not in the log", page);
	page = 20 * MB / PAGE;
	return bits[page / 8] & 1 << page % 8 ?
		user_fail("page %zu is in the log", page) : 0;
}

/*
 * A frame that stays in flight for a while: the tap is a port of a bridge, and the
 * other port's queue delays what it gets. There it arrives without a copy.
 */
static int net_open_delayed(struct net *net, struct area *a, const char *delay)
{
	int ret;

	if (!zerocopy_enabled())
		return user_skip("needs vhost_net.experimental_zcopytx=1");
	ret = net_open(net, a);
	if (ret)
		return ret;
	if (sh("ip link add br0 type bridge && ip link add dummy0 type dummy &&"
	       "tc qdisc add dev dummy0 root netem delay %s &&"
	       "ip link set dummy0 master br0 && ip link set tap0 master br0 &&"
	       "ip link set dummy0 up && ip link set br0 up", delay))
		return user_skip("no bridge, dummy or netem");
	close(net->packet);
	return net_set_backends(net, net->tap) ? user_fail("no backend: %m") : 0;
}

/* As many as the ring takes at a time */
#define IN_FLIGHT	(RING / 8)

/* This much of a frame at most is copied in any case. */
#define HEAD_LEN	256

static bool recv_frame(int fd, char *got)
{
	do {
		if (recv(fd, got, LONG_LEN, 0) < 0)
			return false;
	} while (((struct ethhdr *)got)->h_proto != htons(ETH_P_TEST));
	return true;
}

/*
 * What is in flight are the guest's pages: a change that the guest makes meanwhile
 * is seen on the far side, where who listens to what leaves has it copied. vhost
 * then gives up on zero-copy, until it has a new backend.
 */
static int net_send_changed(struct net *net, int seed)
{
	int packet = packet_socket("dummy0", ETH_P_ALL), i;
	char got[LONG_LEN], want[LONG_LEN];

	for (i = 0; i < IN_FLIGHT; i++) {
		make_frame(frame_at(net->dev.a, i), LONG_LEN, seed + i);
		net_post(net, TX, frame_at(net->dev.a, i), LONG_LEN);
	}
	if (!pool_becomes("live", 2 * IN_FLIGHT))
		return user_fail("%lu blocks are live, not those of %d frames",
				 pool_get("live"), IN_FLIGHT);
	for (i = 0; i < IN_FLIGHT; i++)
		fill(frame_at(net->dev.a, i) + HEAD_LEN, LONG_LEN - HEAD_LEN, ~seed - i);
	for (i = 0; i < IN_FLIGHT; i++) {
		make_frame(want, LONG_LEN, seed + i);
		fill(want + HEAD_LEN, LONG_LEN - HEAD_LEN, ~seed - i);
		if (!recv_frame(packet, got) || memcmp(got, want, LONG_LEN))
			return user_fail("frame %d is not the changed one", seed + i);
	}
	for (i = 0; i < IN_FLIGHT; i++)
		if (queue_wait(&net->dev, TX) < 0)
			return user_fail("frame %d never comes back", seed + i);
	close(packet);
	return pool_becomes("live", 0) ? 0 : user_fail("blocks stay live");
}

static unsigned long transmitted(const char *ifname)
{
	char format[64];

	snprintf(format, sizeof(format), " %s: %%*u %%*u %%*u %%*u %%*u %%*u %%*u %%*u %%*u %%lu",
		 ifname);
	return named_number("/proc/net/dev", format);
}

/* With nobody who listens there is no copy: each frame has its two blocks pinned. */
static int net_send_unheard(struct net *net, int nr)
{
	unsigned long before, sent = transmitted("dummy0");
	int i;

	for (i = 0; i < nr; i++) {
		before = pool_get("populated");
		make_frame(frame_at(net->dev.a, i), LONG_LEN, i);
		net_post(net, TX, frame_at(net->dev.a, i), LONG_LEN);
		if (queue_wait(&net->dev, TX) < 0)
			return user_fail("frame %d never comes back", i);
		if (!pool_becomes("live", 0))
			return user_fail("blocks stay live");
		if (pool_get("populated") != before + 2)
			return user_fail("%lu blocks were populated for frame %d",
					 pool_get("populated") - before, i);
	}
	sent = transmitted("dummy0") - sent;
	return (int)sent == nr ? 0 : user_fail("%lu frames of %d arrived", sent, nr);
}

static int net_transmit_zerocopy(struct area *a)
{
	struct net net;
	int i, ret;

	ret = net_open_delayed(&net, a, "3s");
	for (i = 0; i < 2 && !ret; i++)
		ret = net_send_changed(&net, i * IN_FLIGHT) ?:
		      net_set_backends(&net, -1) || net_set_backends(&net, net.tap) ?
			user_fail("no new backend: %m") : 0;
	if (ret)
		return ret;
	if (sh("tc qdisc del dev dummy0 root"))
		return user_fail("the delay stays");
	return net_send_unheard(&net, 100);
}

static int net_send_delayed(struct net *net)
{
	char *frame = net->dev.a->mem + 4 * MB - BEFORE_END;

	make_frame(frame, LONG_LEN, 1);
	net_post(net, TX, frame, LONG_LEN);
	return pool_becomes("live", 2) ? 0 :
		user_fail("%lu blocks are live, not 2", pool_get("live"));
}

static int net_used_after_last_reference(struct area *a)
{
	struct net net;
	int ret;

	ret = net_open_delayed(&net, a, "1s") ?: net_send_delayed(&net);
	if (ret)
		return ret;
	if (queue_has_used(&net.dev, TX))
		return user_fail("it came back while it was in flight");
	if (queue_wait(&net.dev, TX) < 0)
		return user_fail("it never comes back");
	/* vhost tells the guest after the last reference went. */
	return pool_becomes("live", 0) ? 0 : user_fail("blocks stay live");
}

static int net_reset_in_flight(struct area *a)
{
	struct net net;
	int ret;

	ret = net_open_delayed(&net, a, "1s") ?: net_send_delayed(&net);
	if (ret)
		return ret;
	/* Waits for what is in flight. */
	if (net_set_backends(&net, -1) || ioctl(net.dev.fd, VHOST_RESET_OWNER))
		return user_fail("can't reset: %m");
	if (!pool_becomes("live", 0))
		return user_fail("blocks stay live");
	close(net.dev.fd);
	/* And it works again. */
	ret = vdev_open(&net.dev, a, "/dev/vhost-net", 0, 2);
	if (ret || net_set_backends(&net, net.tap))
		return user_fail("can't set it up again: %m");
	ret = net_send_delayed(&net);
	return ret ?: queue_wait(&net.dev, TX) < 0 ? user_fail("it never comes back") : 0;
}

/* Run @fn in a process that is killed when it is done. */
static int in_killed_process(struct area *a, int (*fn)(struct area *a))
{
	int fds[2], ret = USER_FAIL;
	pid_t pid;

	if (pipe(fds))
		return user_fail("no pipe: %m");
	pid = fork();
	if (!pid) {
		ret = fn(a);
		write(fds[1], &ret, sizeof(ret));
		pause();
	}
	close(fds[1]);
	if (read(fds[0], &ret, sizeof(ret)) != sizeof(ret))
		ret = user_fail("the process died");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (!ret && !pool_becomes("live", 0))
		ret = user_fail("blocks stay live");
	return ret;
}

static int net_start_delayed(struct area *a)
{
	struct net net;

	return net_open_delayed(&net, a, "1s") ?: net_send_delayed(&net);
}

static int net_killed_in_flight(struct area *a)
{
	return in_killed_process(a, net_start_delayed);
}

/* vhost-scsi, with targets that are set up in configfs */

#define TARGET	CONFIGFS "/target"
#define WWN	"naa.5001405000000001"
#define IO	2

static int target_create(const char *backstore, const char *control, int protection)
{
	mount("configfs", CONFIGFS, "configfs", 0, NULL);
	if (access(TARGET, F_OK))
		return user_skip("no target core");
	if (sh("set -e; cd " TARGET "; mkdir -p core/%s_0/tm; cd core/%s_0/tm;"
	       "echo '%s' >control; echo 1 >enable; echo %d >attrib/pi_prot_type",
	       backstore, backstore, control, protection))
		return user_skip("no backstore %s", backstore);
	if (sh("set -e; cd " TARGET "; mkdir -p vhost/" WWN "/tpgt_1/lun/lun_0;"
	       "cd vhost/" WWN "/tpgt_1; ln -s " TARGET "/core/%s_0/tm lun/lun_0/tm;"
	       "echo naa.5001405000000002 >nexus", backstore))
		return user_fail("no target for vhost");
	return 0;
}

static void target_remove(const char *backstore)
{
	sh("cd " TARGET "/vhost/" WWN "/tpgt_1 && rm -f lun/lun_0/tm && rmdir lun/lun_0;"
	   "echo NULL >nexus; cd " TARGET "; rmdir vhost/" WWN "/tpgt_1 vhost/" WWN
	   " vhost core/%s_0/tm core/%s_0", backstore, backstore);
}

static struct vhost_scsi_target scsi_target(void)
{
	return (struct vhost_scsi_target) {
		.abi_version = VHOST_SCSI_ABI_VERSION,
		.vhost_wwpn = WWN,
		.vhost_tpgt = 1,
	};
}

static int scsi_open(struct vdev *dev, struct area *a, uint64_t features)
{
	struct vhost_scsi_target target = scsi_target();
	int ret = vdev_open(dev, a, "/dev/vhost-scsi", features, 3);

	if (!ret && ioctl(dev->fd, VHOST_SCSI_SET_ENDPOINT, &target))
		ret = user_fail("no endpoint: %m");
	return ret;
}

/* With VIRTIO_SCSI_F_T10_PI there is a @prot, which may be empty, else there is none. */
static void scsi_post(struct vdev *dev, unsigned char *cdb, size_t cdb_len, bool write,
		      const struct iovec *prot, void *buf, size_t len)
{
	struct virtio_scsi_cmd_req *req = (void *)(dev->a->mem + RINGS_LEN);
	struct virtio_scsi_cmd_resp *resp = (void *)(dev->a->mem + RINGS_LEN + PAGE);
	struct virtio_scsi_cmd_req_pi *req_pi = (void *)req;	/* begins as @req */
	struct iovec iov[4] = { { req, prot ? sizeof(*req_pi) : sizeof(*req) } };
	int n = 1, nr_out;

	memset(req_pi, 0, sizeof(*req_pi));
	memset(resp, 0xff, sizeof(*resp));
	req->lun[0] = 1;
	req->lun[1] = 1;	/* the target is the tpgt */
	req->lun[2] = 0x40;
	memcpy(prot ? req_pi->cdb : req->cdb, cdb, cdb_len);
	if (prot && write)
		req_pi->pi_bytesout = prot->iov_len;
	else if (prot)
		req_pi->pi_bytesin = prot->iov_len;
	if (!write)
		iov[n++] = (struct iovec) { resp, sizeof(*resp) };
	if (prot && prot->iov_len)
		iov[n++] = *prot;
	if (len)
		iov[n++] = (struct iovec) { buf, len };
	nr_out = write ? n : 1;
	if (write)
		iov[n++] = (struct iovec) { resp, sizeof(*resp) };
	queue_post(dev, IO, iov, nr_out, n);
}

static bool scsi_good(struct vdev *dev)
{
	struct virtio_scsi_cmd_resp *resp = (void *)(dev->a->mem + RINGS_LEN + PAGE);

	return queue_wait(dev, IO) >= 0 && !resp->response && !resp->status;
}

/* The first command may only tell that the unit is new. */
static bool scsi_get_ready(struct vdev *dev, const struct iovec *prot)
{
	unsigned char ready[6] = {};

	scsi_post(dev, ready, sizeof(ready), false, prot, NULL, 0);
	return queue_wait(dev, IO) >= 0;
}

static bool scsi_rw(struct vdev *dev, bool write, const struct iovec *prot, void *buf,
		    size_t len, off_t off)
{
	unsigned int lba = off / 512, nr = len / 512;
	unsigned char cdb[10] = {
		write ? 0x2a : 0x28, prot ? 1 << 5 : 0, lba >> 24, lba >> 16, lba >> 8, lba, 0,
		nr >> 8, nr,
	};

	scsi_post(dev, cdb, sizeof(cdb), write, prot, buf, len);
	return scsi_good(dev);
}

/* Protection information of type 1: for each sector a checksum, and its number */
static void protect(unsigned char *to, const unsigned char *data, size_t len, off_t off)
{
	uint32_t nr = off / 512;
	uint16_t crc;
	size_t i;
	int bit;

	for (; len; len -= 512, to += 8, nr++) {
		for (crc = 0, i = 0; i < 512; i++) {
			crc ^= *data++ << 8;
			for (bit = 0; bit < 8; bit++)
				crc = crc << 1 ^ (crc & 0x8000 ? 0x8bb7 : 0);
		}
		memset(to, 0, 8);
		to[0] = crc >> 8;
		to[1] = crc;
		for (i = 0; i < 4; i++)
			to[4 + i] = nr >> (24 - 8 * i);
	}
}

/*
 * What was written to the disk from one place is read to another; also the 8 bytes
 * for each sector that protect it, if the disk has any.
 */
static int scsi_transfers(struct area *a, bool protected)
{
	static const size_t lens[] = { 512, 4096, 5 * 512, 68 * KB + 512, 512 * KB };
	const struct iovec none = {};
	struct vdev dev;
	size_t i;
	int ret;

	ret = scsi_open(&dev, a, protected ? 1ULL << VIRTIO_SCSI_F_T10_PI : 0);
	if (ret)
		return ret;
	if (!scsi_get_ready(&dev, protected ? &none : NULL))
		return user_fail("it does not answer");
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		char *out = a->mem + (2 * i + 2) * 2 * MB - 1001;
		char *in = a->mem + 30 * MB + (2 * i + 2) * 2 * MB - 77;
		size_t prot_len = lens[i] / 512 * 8;
		/* In other blocks, the first 16 bytes at the end of one: LIO can't split the 8. */
		struct iovec prot_out = { out + 1001 + 2 * MB - 16, prot_len };
		struct iovec prot_in = { in + 77 + 2 * MB - 16, prot_len };

		fill(out, lens[i], i);
		protect(prot_out.iov_base, (void *)out, lens[i], i * MB);
		memset(in - 1, 0, lens[i] + 2);
		memset(prot_in.iov_base, 0, prot_len + 1);
		if (!scsi_rw(&dev, true, protected ? &prot_out : NULL, out, lens[i], i * MB))
			return user_fail("%zu bytes can't be written", lens[i]);
		if (!scsi_rw(&dev, false, protected ? &prot_in : NULL, in, lens[i], i * MB))
			return user_fail("%zu bytes can't be read", lens[i]);
		if (same(in, lens[i], i) != lens[i] || in[-1] || in[lens[i]])
			return user_fail("of %zu bytes, byte %zu is wrong", lens[i],
					 same(in, lens[i], i));
		if (protected && (memcmp(prot_in.iov_base, prot_out.iov_base, prot_len) ||
				  ((char *)prot_in.iov_base)[prot_len]))
			return user_fail("of %zu bytes, the protection is wrong", lens[i]);
	}
	close(dev.fd);
	return 0;
}

static int scsi_ramdisk(struct area *a)
{
	int ret = target_create("rd_mcp", "rd_pages=4096", 0) ?: scsi_transfers(a, false);

	target_remove("rd_mcp");
	return ret;
}

static int scsi_protected(struct area *a)
{
	int ret = target_create("rd_mcp", "rd_pages=4096", 1) ?: scsi_transfers(a, true);

	target_remove("rd_mcp");
	return ret;
}

static int scsi_file(struct area *a)
{
	int ret;

	if (sh("truncate -s 16M backing"))
		return user_fail("no file");
	ret = target_create("fileio", "fd_dev_name=" SCRATCH "/backing,fd_dev_size=16777216", 0) ?:
		scsi_transfers(a, false);
	target_remove("fileio");
	return ret;
}

/* On a disk that takes half a second for each request */
static int on_slow_disk(struct area *a, int (*fn)(struct area *a))
{
	int ret;

	nullb_make("tm_users", "16", "500000000");
	if (access("/dev/tm_users", F_OK))
		return user_skip("no null_blk with configfs");
	ret = target_create("iblock", "udev_path=/dev/tm_users", 0) ?: fn(a);
	target_remove("iblock");
	nullb_remove("tm_users");
	return ret;
}

#define READ_LEN	(64 * KB)

static char *read_to(struct area *a)
{
	return a->mem + 4 * MB - 700;
}

/* Leaves a read in flight of what is written to the disk before. */
static int scsi_start(struct vdev *dev, struct area *a)
{
	unsigned char read_cdb[10] = { 0x28, [8] = READ_LEN / 512 };
	int ret;

	ret = scsi_open(dev, a, 0);
	if (ret)
		return ret;
	fill(a->mem + 8 * MB, READ_LEN, 1);
	memset(read_to(a) - 1, 0, READ_LEN + 2);
	if (!scsi_get_ready(dev, NULL) ||
	    !scsi_rw(dev, true, NULL, a->mem + 8 * MB, READ_LEN, 0) ||
	    !pool_becomes("live", 0))
		return user_fail("can't write to the disk");
	scsi_post(dev, read_cdb, sizeof(read_cdb), false, NULL, read_to(a), READ_LEN);
	return pool_becomes("live", 2) ? 0 :
		user_fail("%lu blocks are live, not 2", pool_get("live"));
}

/* Afterwards, with no block live, the read has come. */
static int scsi_has_read(struct area *a)
{
	char *in = read_to(a);

	if (!pool_becomes("live", 0))
		return user_fail("blocks stay live");
	return same(in, READ_LEN, 1) != READ_LEN || in[-1] || in[READ_LEN] ?
		user_fail("byte %zu of the read in flight is wrong",
			  same(in, READ_LEN, 1)) : 0;
}

/* It works again, with rings that begin anew. */
static int scsi_use_again(struct vdev *dev)
{
	struct vhost_scsi_target target = scsi_target();
	char *out = dev->a->mem + 12 * MB - 78, *in = dev->a->mem + 16 * MB - 78;

	memset(dev->a->mem, 0, RINGS_LEN);
	if (set_queue(dev, 0) || set_queue(dev, 1) || set_queue(dev, IO) ||
	    ioctl(dev->fd, VHOST_SCSI_SET_ENDPOINT, &target))
		return user_fail("no endpoint any more: %m");
	fill(out, READ_LEN, 2);
	if (!scsi_get_ready(dev, NULL) ||
	    !scsi_rw(dev, true, NULL, out, READ_LEN, 1 * MB) ||
	    !scsi_rw(dev, false, NULL, in, READ_LEN, 1 * MB))
		return user_fail("after the reset it does not work");
	return same(in, READ_LEN, 2) == READ_LEN ? 0 :
		user_fail("after the reset, byte %zu is wrong", same(in, READ_LEN, 2));
}

static int scsi_reset(struct area *a)
{
	struct vhost_scsi_target target = scsi_target();
	struct vdev dev;
	int ret;

	ret = scsi_start(&dev, a);
	if (!ret && ioctl(dev.fd, VHOST_SCSI_CLEAR_ENDPOINT, &target))
		ret = user_fail("can't clear the endpoint: %m");
	ret = ret ?: scsi_has_read(a) ?: scsi_use_again(&dev);
	close(dev.fd);
	return ret;
}

static int scsi_start_only(struct area *a)
{
	struct vdev dev;

	return scsi_start(&dev, a);
}

static int scsi_kill(struct area *a)
{
	return in_killed_process(a, scsi_start_only) ?: scsi_has_read(a);
}

static int scsi_reset_in_flight(struct area *a)
{
	return on_slow_disk(a, scsi_reset);
}

static int scsi_killed_in_flight(struct area *a)
{
	return on_slow_disk(a, scsi_kill);
}

/* vhost-vsock: a connection from the guest to the host */

#define GUEST_CID	77
#define GUEST_PORT	1024
#define HOST_PORT	4712
#define VSOCK_LEN	(60 * KB + 1)

static void vsock_send(struct vdev *dev, int op, char *data, size_t len)
{
	struct virtio_vsock_hdr *hdr = (void *)(dev->a->mem + RINGS_LEN);
	struct iovec iov[2] = { { hdr, sizeof(*hdr) }, { data, len } };

	*hdr = (struct virtio_vsock_hdr) {
		.src_cid = GUEST_CID,
		.dst_cid = VMADDR_CID_HOST,
		.src_port = GUEST_PORT,
		.dst_port = HOST_PORT,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = 256 * KB,
	};
	queue_post(dev, TX, iov, len ? 2 : 1, len ? 2 : 1);
}

/* The next packet: its operation, its data in @data */
static int vsock_receive(struct vdev *dev, char *data, size_t len)
{
	struct virtio_vsock_hdr *hdr = (void *)(dev->a->mem + RINGS_LEN + PAGE);
	struct iovec iov[2] = { { hdr, sizeof(*hdr) }, { data, len } };

	queue_post(dev, RX, iov, 0, 2);
	return queue_wait(dev, RX) < 0 ? -1 : hdr->op;
}

static int vsock_stream(struct area *a)
{
	struct sockaddr_vm svm = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = HOST_PORT,
	};
	char *out = a->mem + 4 * MB - 333, *in = a->mem + 8 * MB - 333;
	struct timeval timeout = { .tv_sec = 20 };
	static char buf[VSOCK_LEN];
	uint64_t cid = GUEST_CID;
	size_t done;
	struct vdev dev;
	int sock, running = 1, ret;
	ssize_t n;

	sock = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (sock < 0)
		return user_skip("no vsock");
	ret = vdev_open(&dev, a, "/dev/vhost-vsock", 0, 2);
	if (ret)
		return ret;
	if (bind(sock, (struct sockaddr *)&svm, sizeof(svm)) || listen(sock, 1))
		return user_fail("can't listen: %m");
	if (ioctl(dev.fd, VHOST_VSOCK_SET_GUEST_CID, &cid) ||
	    ioctl(dev.fd, VHOST_VSOCK_SET_RUNNING, &running))
		return user_fail("vhost-vsock does not run: %m");

	vsock_send(&dev, VIRTIO_VSOCK_OP_REQUEST, NULL, 0);
	if (queue_wait(&dev, TX) < 0 ||
	    vsock_receive(&dev, in, PAGE) != VIRTIO_VSOCK_OP_RESPONSE)
		return user_fail("the host does not answer");
	sock = accept(sock, NULL, NULL);
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));

	fill(out, VSOCK_LEN, 1);
	vsock_send(&dev, VIRTIO_VSOCK_OP_RW, out, VSOCK_LEN);
	for (done = 0; done < VSOCK_LEN; done += n) {
		n = read(sock, buf + done, VSOCK_LEN - done);
		if (n <= 0)
			return user_fail("%zu bytes came", done);
	}
	if (queue_wait(&dev, TX) < 0 || same(buf, VSOCK_LEN, 1) != VSOCK_LEN)
		return user_fail("what the host got is wrong");

	fill(buf, 4000, 2);
	if (write(sock, buf, 4000) != 4000)
		return user_fail("the host can't send: %m");
	do {
		ret = vsock_receive(&dev, in, 4000);
	} while (ret == VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	if (ret != VIRTIO_VSOCK_OP_RW || same(in, 4000, 2) != 4000)
		return user_fail("what the guest got is wrong");
	return 0;
}

/*
 * vhost-user: a process of QEMU's serves the disk. It maps the memory by itself, and
 * as a PC has it, with a hole.
 */

#define HOLE_START	(640 * KB)
#define HOLE_END	(768 * KB)

/* What the messages of the protocol are called */
enum {
	GET_FEATURES = 1, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8, SET_VRING_ADDR, SET_VRING_BASE,
	SET_VRING_KICK = 12, SET_VRING_CALL
};

#define MESSAGE_VERSION	1

struct message {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		struct vhost_vring_state state;
		struct vhost_vring_addr addr;
		struct {
			uint32_t nr, padding;
			struct {
				uint64_t guest, size, user, offset;
			} regions[2];
		} memory;
	};
} __attribute__((packed));

#define HEADER_LEN	offsetof(struct message, u64)

static bool message_send(int sock, uint32_t request, const void *payload, size_t size,
			 const int *fds, int nr_fds)
{
	char control[CMSG_SPACE(2 * sizeof(int))] = {};
	struct message m = {
		.request = request, .flags = MESSAGE_VERSION, .size = size,
	};
	struct iovec iov = { &m, HEADER_LEN + size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	memcpy(&m.u64, payload, size);
	if (nr_fds) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nr_fds * sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == (ssize_t)iov.iov_len;
}

/* The number that is the answer, or -1. All messages before it have been handled. */
static uint64_t message_ask(int sock, uint32_t request, const void *payload, size_t size)
{
	struct message m;

	if (!message_send(sock, request, payload, size, NULL, 0) ||
	    recv(sock, &m, HEADER_LEN + sizeof(m.u64), MSG_WAITALL) !=
	    (ssize_t)(HEADER_LEN + sizeof(m.u64)))
		return -1;
	return m.u64;
}

static bool user_set_memory(int sock, struct area *a)
{
	unsigned long user = (unsigned long)a->mem;
	struct message m = { .memory = { .nr = 2, .regions = {
		{ 0, HOLE_START, user, 0 },
		{ HOLE_END, a->len - HOLE_END, user + HOLE_END, HOLE_END },
	} } };
	int fds[2], dax = open("/dev/dax0.0", O_RDWR | O_CLOEXEC);
	bool sent;

	fds[0] = dax;
	fds[1] = dax;
	sent = message_send(sock, SET_MEM_TABLE, &m.memory, sizeof(m.memory), fds, 2);
	close(dax);
	return sent;
}

static bool user_set_queue(struct vdev *dev)
{
	struct vhost_vring_state num = { 0, RING }, base = { 0, 0 };
	struct queue *q = &dev->queues[0];
	struct vhost_vring_addr addr = {};
	uint64_t index = 0;

	memset(dev->a->mem, 0, RINGS_LEN);
	memset(q, 0, sizeof(*q));
	vring_init(&q->ring, RING, dev->a->mem, PAGE);
	q->kick = eventfd(0, EFD_CLOEXEC);
	q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	addr.desc_user_addr = (unsigned long)q->ring.desc;
	addr.avail_user_addr = (unsigned long)q->ring.avail;
	addr.used_user_addr = (unsigned long)q->ring.used;
	return message_send(dev->fd, SET_VRING_NUM, &num, sizeof(num), NULL, 0) &&
	       message_send(dev->fd, SET_VRING_BASE, &base, sizeof(base), NULL, 0) &&
	       message_send(dev->fd, SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0) &&
	       message_send(dev->fd, SET_VRING_CALL, &index, sizeof(index), &q->call, 1) &&
	       message_send(dev->fd, SET_VRING_KICK, &index, sizeof(index), &q->kick, 1);
}

/* The process, which will have a socket "socket" and a log "log"; or -1 */
static pid_t user_blk_start(const char *disk)
{
	char blockdev[256];
	pid_t pid;
	int fd;

	snprintf(blockdev, sizeof(blockdev),
		 "driver=host_device,node-name=disk,filename=%s,cache.direct=on,aio=native",
		 disk);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fd = open("log", O_WRONLY | O_CREAT | O_TRUNC, 0600);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		execlp("qemu-storage-daemon", "qemu-storage-daemon",
		       "--blockdev", blockdev, "--export",
		       "type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path=socket,writable=on",
		       NULL);
		_exit(1);
	}
	return pid;
}

/* One request, @mem in one or two pieces: whether it ends well */
static bool user_blk_request(struct vdev *dev, bool write, const struct iovec *mem,
			     int nr, uint64_t sector)
{
	struct virtio_blk_outhdr *hdr = (void *)(dev->a->mem + RINGS_LEN);
	char *status = (char *)(hdr + 1);
	struct iovec iov[4] = { { hdr, sizeof(*hdr) } };

	*hdr = (struct virtio_blk_outhdr) {
		.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, .sector = sector,
	};
	*status = -1;
	memcpy(iov + 1, mem, nr * sizeof(*mem));
	iov[nr + 1] = (struct iovec) { status, 1 };
	queue_post(dev, 0, iov, write ? nr + 1 : 1, nr + 2);
	return queue_wait(dev, 0) >= 0 && *status == VIRTIO_BLK_S_OK;
}

/* The guest writes, and reads what the disk has been given meanwhile. */
static int user_blk_at(struct vdev *dev, int disk, const struct iovec *mem, int nr,
		       int seed)
{
	static char data[2][64 * KB];
	size_t len[2] = { mem[0].iov_len, nr > 1 ? mem[1].iov_len : 0 };
	int i;

	for (i = 0; i < nr; i++)
		fill(mem[i].iov_base, len[i], seed + i);
	if (!user_blk_request(dev, true, mem, nr, seed * 8))
		return user_fail("%d: can't write: %s", seed, read_str("log"));
	ioctl(disk, BLKFLSBUF);
	if (pread(disk, data[0], len[0], seed * PAGE) != (ssize_t)len[0] ||
	    pread(disk, data[1], len[1], seed * PAGE + len[0]) != (ssize_t)len[1])
		return user_fail("can't read the disk: %m");
	for (i = 0; i < nr; i++)
		if (same(data[i], len[i], seed + i) != len[i])
			return user_fail("%d: the disk has something else", seed);

	for (i = 0; i < nr; i++)
		fill(data[i], len[i], seed + 100 + i);
	if (pwrite(disk, data[0], len[0], seed * PAGE) != (ssize_t)len[0] ||
	    pwrite(disk, data[1], len[1], seed * PAGE + len[0]) != (ssize_t)len[1] ||
	    fsync(disk))
		return user_fail("can't write to the disk: %m");
	if (!user_blk_request(dev, false, mem, nr, seed * 8))
		return user_fail("%d: can't read: %s", seed, read_str("log"));
	for (i = 0; i < nr; i++)
		if (same(mem[i].iov_base, len[i], seed + 100 + i) != len[i])
			return user_fail("%d: the guest gets something else", seed);
	return 0;
}

static int user_blk_connect(struct vdev *dev, struct area *a, pid_t pid)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "socket" };
	struct timeval timeout = { .tv_sec = 20 };
	uint64_t features = 1ULL << VIRTIO_F_VERSION_1;
	int i;

	dev->a = a;
	dev->iova = 0;
	dev->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(dev->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	/* The process may be slow to start. */
	for (i = 0; connect(dev->fd, (struct sockaddr *)&addr, sizeof(addr)); i++) {
		if (i == 9000 || waitpid(pid, NULL, WNOHANG))
			return user_fail("no back end: %s", read_str("log"));
		usleep(10000);
	}
	if (!message_send(dev->fd, SET_OWNER, NULL, 0, NULL, 0) ||
	    !message_send(dev->fd, SET_FEATURES, &features, sizeof(features), NULL, 0) ||
	    !user_set_memory(dev->fd, a) ||
	    message_ask(dev->fd, GET_FEATURES, NULL, 0) == (uint64_t)-1 ||
	    !user_set_queue(dev))
		return user_fail("the back end is not content: %s", read_str("log"));
	return 0;
}

/* Requests at all ends of what the back end maps, and across those of entries */
static int user_blk_requests(struct area *a, const char *path, pid_t pid)
{
	int disk = open(path, O_RDWR | O_CLOEXEC), ret;
	const struct iovec at[][2] = {
		{ { a->mem + HOLE_START - 64 * KB, 64 * KB } },
		{ { a->mem + HOLE_END, 64 * KB } },
		{ { a->mem + HOLE_START - 20 * KB, 20 * KB },
		  { a->mem + HOLE_END, 64 * KB } },
		{ { a->mem + 2 * MB - 20 * KB, 64 * KB } },
		{ { a->mem + 4 * MB - 512, 1024 } },
		{ { a->mem + a->len - 64 * KB, 64 * KB } },
	};
	struct vdev dev = { .fd = -1 };
	unsigned int i;

	ret = disk < 0 ? user_skip("no %s", path) : user_blk_connect(&dev, a, pid);
	for (i = 0; !ret && i < ARRAY_SIZE(at); i++)
		ret = user_blk_at(&dev, disk, at[i], at[i][1].iov_len ? 2 : 1, i + 1);
	close(disk);
	close(dev.fd);
	return ret;
}

static int user_blk(struct area *a)
{
	pid_t pid;
	int ret;

	if (!have_program("qemu-storage-daemon"))
		return user_skip("no qemu-storage-daemon");
	nullb_make("tm_user", "16", "10000");
	pid = user_blk_start("/dev/tm_user");
	ret = user_blk_requests(a, "/dev/tm_user", pid);
	if (!ret && *read_str("log"))
		ret = user_fail("the back end says: %s", read_str("log"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	nullb_remove("tm_user");
	return ret;
}

/* Measured, not tested: nobody looks at the data, or there is none. */

#define MEASURED	20000
#define WARM_UP		2000
#define AT_A_TIME	(RING / 8)

static long microseconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Wait for so many chains to come back. */
static int queue_wait_all(struct vdev *dev, unsigned int index, int nr)
{
	struct queue *q = &dev->queues[index];
	struct pollfd call = { .fd = q->call, .events = POLLIN };
	uint64_t calls;

	while (nr) {
		if (!queue_has_used(dev, index)) {
			if (poll(&call, 1, 100000) != 1)
				return -1;
			(void)!read(q->call, &calls, sizeof(calls));
			continue;
		}
		q->seen++;
		nr--;
	}
	return 0;
}

static int measure_net(struct area *a)
{
	struct net net;
	long start = 0;
	int i, j, ret;

	if (!zerocopy_enabled())
		return user_skip("needs vhost_net.experimental_zcopytx=1");
	ret = net_open(&net, a);
	if (ret)
		return ret;
	/* Who listens has frames copied. */
	close(net.packet);
	if (net_set_backends(&net, net.tap))
		return user_fail("no backend: %m");
	for (i = 0; i < 28 * MB; i += 2 * KB)
		make_frame(a->mem + 2 * MB + i, LONG_LEN, i);
	for (i = -WARM_UP; i < MEASURED; i += AT_A_TIME) {
		if (!i)
			start = microseconds();
		for (j = i + WARM_UP; j < i + WARM_UP + AT_A_TIME; j++)
			net_post(&net, TX, a->mem + 2 * MB + j * 2 * KB % (28 * MB), LONG_LEN);
		if (queue_wait_all(&net.dev, TX, AT_A_TIME))
			return user_fail("frame %d never comes back", i);
	}
	printf("vhost-net send\t%d\t%ld\n", MEASURED, microseconds() - start);
	return 0;
}

static int measure_scsi(struct area *a, size_t len)
{
	unsigned char cdb[10] = { 0x28, [7] = len / 512 >> 8, len / 512 };
	struct virtio_scsi_cmd_resp *resp = (void *)(a->mem + RINGS_LEN + PAGE);
	struct vdev dev = { .fd = -1 };
	long start = 0;
	int i, ret;

	ret = target_create("rd_mcp", "rd_pages=4096,rd_nullio=1", 0) ?:
	      scsi_open(&dev, a, 0);
	for (i = -WARM_UP; i < MEASURED && !ret; i++) {
		if (!i)
			start = microseconds();
		scsi_post(&dev, cdb, sizeof(cdb), false, NULL,
			  a->mem + 2 * MB + (i + WARM_UP) * len % (28 * MB), len);
		if (queue_wait_all(&dev, IO, 1))
			ret = user_fail("command %d never comes back", i);
		/* The first command may only tell that the unit is new. */
		else if (i >= 0 && (resp->response || resp->status))
			ret = user_fail("command %d: status %d", i, resp->status);
	}
	if (!ret)
		printf("vhost-scsi %zuk\t%d\t%ld\n", (size_t)(len / KB), MEASURED,
		       microseconds() - start);
	close(dev.fd);
	target_remove("rd_mcp");
	return ret;
}

int vhost_measure(struct area *a)
{
	return measure_net(a) ?: measure_scsi(a, 4 * KB) ?: measure_scsi(a, 128 * KB);
}

const struct user vhost_users[] = {
	{ "vhost-net, transmit, short frames", 0, NO_PINS, "copied", net_transmit_copy },
	{ "vhost-net, transmit, zero-copy", 0, PINS, NULL, net_transmit_zerocopy },
	{ "vhost-net, transmit, zero-copy, heard", 0, PINS, "copied for who listens",
	  net_transmit_heard },
	{ "vhost-net, transmit, at the cap", 0, NO_PINS, "copied", net_transmit_capped },
	{ "vhost-net, receive", 0, NO_PINS, "copied", net_receive },
	{ "vhost-net, used after the last reference", 0, PINS, NULL,
	  net_used_after_last_reference },
	{ "vhost-net, reset in flight", 0, PINS, NULL, net_reset_in_flight },
	{ "vhost-net, killed in flight", 0, PINS, NULL, net_killed_in_flight },
	{ "vhost dirty log", 0, PINS, NULL, net_dirty_log },
	{ "vhost-scsi, ramdisk", 0, PINS, NULL, scsi_ramdisk },
	{ "vhost-scsi, T10-PI", 0, PINS, NULL, scsi_protected },
	{ "vhost-scsi, file", 0, PINS, NULL, scsi_file },
	{ "vhost-scsi, reset in flight", 0, PINS, NULL, scsi_reset_in_flight },
	{ "vhost-scsi, killed in flight", 0, PINS, NULL, scsi_killed_in_flight },
	{ "vhost-vsock", 0, NO_PINS, "copied", vsock_stream },
	{ "vhost-user-blk, align 4 KiB", 0, PINS, NULL, user_blk, 4 * KB },
	{ "vhost-user-blk, align 2 MiB", 0, PINS, NULL, user_blk, 2 * MB },
	{ "vhost-user-blk, align 1 GiB", 0, PINS, NULL, user_blk, GB },
	{}
};
