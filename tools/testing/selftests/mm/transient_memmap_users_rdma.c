// SPDX-License-Identifier: GPL-2.0
/*
 * RDMA with memory that has a transient memmap: regions of it, and transfers, by
 * the device in software (rxe). Needs libibverbs, when it is built and when it runs.
 */
#define _GNU_SOURCE
#include <net/if.h>
#include <sys/mman.h>

#include "transient_memmap_users.h"

#if __has_include("infiniband/verbs.h")
#include <infiniband/verbs.h>

#define RXE		"tm_rxe"
#define ACCESS		(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | \
			 IBV_ACCESS_REMOTE_WRITE)

/* A queue pair that is connected to itself */
struct rdma {
	struct ibv_context *context;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_qp *qp;
};

static struct ibv_context *open_rxe(void)
{
	struct ibv_context *context = NULL;
	struct ibv_device **list;
	int i;

	list = ibv_get_device_list(NULL);
	for (i = 0; list && list[i]; i++)
		if (!strcmp(ibv_get_device_name(list[i]), RXE))
			context = ibv_open_device(list[i]);
	if (list)
		ibv_free_device_list(list);
	return context;
}

/* Returns 0, USER_FAIL or USER_SKIP. */
static int rdma_open(struct rdma *rdma)
{
	int i;

	memset(rdma, 0, sizeof(*rdma));
	if (!have_program("rdma"))
		return user_skip("no rdma");
	if (sh("ip link set lo up && rdma link add " RXE " type rxe netdev lo"))
		return user_skip("no rxe");
	/* Its file appears when devtmpfs gets to it. */
	for (i = 0; i < 500 && !rdma->context; i++) {
		usleep(10000);
		rdma->context = open_rxe();
	}
	if (rdma->context)
		rdma->pd = ibv_alloc_pd(rdma->context);
	return rdma->pd ? 0 : user_fail("no protection domain of " RXE ": %m");
}

static void rdma_close(struct rdma *rdma)
{
	if (rdma->qp)
		ibv_destroy_qp(rdma->qp);
	if (rdma->cq)
		ibv_destroy_cq(rdma->cq);
	if (rdma->pd)
		ibv_dealloc_pd(rdma->pd);
	if (rdma->context)
		ibv_close_device(rdma->context);
	sh("rdma link delete " RXE);
}

/* The port's IPv4 address: a link-local one of IPv6 leads nowhere */
static int find_gid(struct ibv_context *context, union ibv_gid *gid)
{
	static const unsigned char v4[12] = { [10] = 0xff, [11] = 0xff };
	int i;

	for (i = 0; i < 16; i++)
		if (!ibv_query_gid(context, 1, i, gid) && !memcmp(gid, v4, sizeof(v4)))
			return i;
	return -1;
}

static int rdma_connect(struct rdma *rdma)
{
	struct ibv_qp_init_attr init = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 4, .max_recv_wr = 4,
			 .max_send_sge = 1, .max_recv_sge = 1 },
	};
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT, .port_num = 1, .qp_access_flags = ACCESS,
	};
	union ibv_gid gid;
	int index;

	rdma->cq = ibv_create_cq(rdma->context, 8, NULL, NULL, 0);
	init.send_cq = rdma->cq;
	init.recv_cq = rdma->cq;
	rdma->qp = rdma->cq ? ibv_create_qp(rdma->pd, &init) : NULL;
	index = find_gid(rdma->context, &gid);
	if (!rdma->qp || index < 0)
		return user_fail("no queue pair, or no address: %m");
	if (ibv_modify_qp(rdma->qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX |
			  IBV_QP_PORT | IBV_QP_ACCESS_FLAGS))
		return user_fail("queue pair: %m");
	attr = (struct ibv_qp_attr) {
		.qp_state = IBV_QPS_RTR, .path_mtu = IBV_MTU_1024,
		.dest_qp_num = rdma->qp->qp_num, .max_dest_rd_atomic = 1,
		.min_rnr_timer = 1,
		.ah_attr = { .is_global = 1, .port_num = 1,
			     .grh = { .dgid = gid, .sgid_index = index, .hop_limit = 1 } },
	};
	if (ibv_modify_qp(rdma->qp, &attr, IBV_QP_STATE | IBV_QP_AV |
			  IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
			  IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER))
		return user_fail("queue pair, to receive: %m");
	attr = (struct ibv_qp_attr) {
		.qp_state = IBV_QPS_RTS, .timeout = 14, .retry_cnt = 7,
		.rnr_retry = 7, .max_rd_atomic = 1,
	};
	if (ibv_modify_qp(rdma->qp, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT |
			  IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
			  IBV_QP_MAX_QP_RD_ATOMIC))
		return user_fail("queue pair, to send: %m");
	return 0;
}

/* One transfer between local and remote bytes of regions, waited for */
static int transfer(struct rdma *rdma, enum ibv_wr_opcode opcode,
		    struct ibv_mr *local, char *here, struct ibv_mr *remote,
		    char *there, size_t len)
{
	struct ibv_sge sge = { (unsigned long)here, len, local->lkey };
	struct ibv_send_wr wr = {
		.opcode = opcode, .sg_list = &sge, .num_sge = 1,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { .remote_addr = (unsigned long)there, .rkey = remote->rkey },
	};
	struct ibv_send_wr *bad;
	struct ibv_wc wc = {};
	int i, n = 0;

	if (ibv_post_send(rdma->qp, &wr, &bad))
		return user_fail("can't post: %m");
	for (i = 0; i < 2000 && !n; i++) {
		n = ibv_poll_cq(rdma->cq, 1, &wc);
		if (!n)
			usleep(10000);
	}
	if (n != 1 || wc.status)
		return user_fail("%zu bytes: %s", len,
				 n == 1 ? ibv_wc_status_str(wc.status) : "never done");
	return 0;
}

/*
 * Each of the two regions is the local one, and each the remote one. Lengths are
 * odd, of less than a packet and of many, and some lie across the end of a block.
 */
static int check_regions(struct rdma *rdma, struct ibv_mr *mr, struct ibv_mr *other)
{
	static const struct { size_t at, len; } pieces[] = {
		{ 0, PAGE }, { 511, 3 }, { 2 * MB - 1, 2 }, { 2 * MB - 4097, 70001 },
		{ 4 * MB - 64 * KB, 64 * KB },
	};
	static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_WRITE, IBV_WR_RDMA_READ };
	unsigned int i, j;

	for (i = 0; i < 4 * ARRAY_SIZE(pieces); i++) {
		size_t at = pieces[i / 4].at, len = pieces[i / 4].len;
		struct ibv_mr *local = i & 1 ? mr : other;
		struct ibv_mr *remote = i & 1 ? other : mr;
		enum ibv_wr_opcode opcode = opcodes[i / 2 % 2];
		char *here = (char *)local->addr + at;
		char *there = (char *)remote->addr + at;
		char *from = opcode == IBV_WR_RDMA_WRITE ? here : there;
		char *to = opcode == IBV_WR_RDMA_WRITE ? there : here;

		fill(from, len, i);
		for (j = 0; j < len; j++)
			to[j] = ~from[j];
		if (transfer(rdma, opcode, local, here, remote, there, len))
			return USER_FAIL;
		if (memcmp(from, to, len))
			return user_fail("%zu bytes at %zu are not what was sent", len, at);
	}
	return 0;
}

static int with_region(struct rdma *rdma, struct area *a)
{
	struct ibv_mr *mr, *other = NULL;
	char *buf = mmap(NULL, 4 * MB, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	mr = ibv_reg_mr(rdma->pd, a->mem, 4 * MB, ACCESS);
	if (!mr) {
		ret = -errno;
		goto out;
	}
	ret = USER_FAIL;
	other = ibv_reg_mr(rdma->pd, buf, 4 * MB, ACCESS);
	if (!other)
		user_note("no region of anonymous memory: %m");
	else if (pool_get("live") != 2)
		user_note("%lu blocks are live, not 2", pool_get("live"));
	else
		ret = rdma_connect(rdma) ?: check_regions(rdma, mr, other);
	if (other && ibv_dereg_mr(other))
		ret = user_fail("can't unregister: %m");
	if (ibv_dereg_mr(mr))
		ret = user_fail("can't unregister: %m");
	if (!pool_becomes("live", 0))
		ret = user_fail("blocks stay live");
out:
	munmap(buf, 4 * MB);
	return ret;
}

static int rdma_region(struct area *a)
{
	struct rdma rdma;
	int ret;

	ret = rdma_open(&rdma) ?: with_region(&rdma, a);
	rdma_close(&rdma);
	return ret;
}

#else

static int rdma_region(struct area *a)
{
	return user_skip("built without libibverbs");
}

#endif

static int rdma_region_allowed(struct area *a)
{
	pool_set("longterm", 1);
	return rdma_region(a);
}

static int rdma_region_beyond(struct area *a)
{
	return beyond_cap(a, rdma_region_allowed);
}

const struct user rdma_users[] = {
	{ "RDMA memory region", -EOPNOTSUPP, NO_PINS, "long-term pin", rdma_region },
	{ "RDMA READ and WRITE, allowed", 0, PINS, "longterm is 1",
	  rdma_region_allowed },
	{ "RDMA memory region beyond the cap", -ENOMEM, NO_PINS, "longterm is 1",
	  rdma_region_beyond },
	{}
};
