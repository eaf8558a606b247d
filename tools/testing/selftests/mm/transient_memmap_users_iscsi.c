// SPDX-License-Identifier: GPL-2.0
/*
 * A disk by iSCSI with memory that has a transient memmap
 *
 * The target is the kernel's, over loopback, and so is the initiator. This program logs
 * in, in place of iscsid, before it hands the connection to the initiator.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "transient_memmap_users.h"

#define TARGET	"/sys/kernel/config/target"
#define IQN	"iqn.2026-01.com.example:transient-memmap"
#define PORT	3260

static bool target_make(void)
{
	return !sh("set -e; cd " TARGET "; mkdir -p core/rd_mcp_0/tm_iscsi;"
		   " cd core/rd_mcp_0/tm_iscsi; echo rd_pages=4096 >control; echo 1 >enable;"
		   " mkdir -p " TARGET "/iscsi/" IQN "/tpgt_1;"
		   " cd " TARGET "/iscsi/" IQN "/tpgt_1; mkdir lun/lun_0 np/127.0.0.1:%d;"
		   " ln -s " TARGET "/core/rd_mcp_0/tm_iscsi lun/lun_0/tm;"
		   " echo 0 >attrib/authentication; echo 1 >attrib/generate_node_acls;"
		   " echo 0 >attrib/demo_mode_write_protect; echo 1 >enable", PORT);
}

static bool target_remove(void)
{
	return !sh("cd " TARGET "/iscsi/" IQN "/tpgt_1 && { echo 0 >enable;"
		   " rm -f lun/lun_0/tm; rmdir np/* lun/lun_0; };"
		   " cd " TARGET "; rmdir iscsi/" IQN "/tpgt_1 iscsi/" IQN " iscsi"
		   " core/rd_mcp_0/tm_iscsi core/rd_mcp_0");
}

/* The head of a request or response of a login: RFC 7143, 11.12 and 11.13 */
struct login {
	uint8_t opcode, flags, versions[2];
	uint32_t length;
	uint8_t isid[6];
	uint16_t tsih;
	uint32_t task;
	uint16_t cid, reserved;
	uint32_t cmd_sn;	/* the response: StatSN */
	uint32_t exp_sn;	/* the response: ExpCmdSN */
	uint32_t max_sn;
	uint8_t status[2];
	uint8_t reserved2[10];
};

#define LOGIN_REQUEST	0x43
#define LOGIN_RESPONSE	0x23
/* From the negotiation of parameters to the full feature phase */
#define LOGIN_TRANSIT	0x87

#define BURST		"262144"

static const char offers[] =
	"InitiatorName=" IQN ":initiator\0"
	"SessionType=Normal\0"
	"TargetName=" IQN "\0"
	"HeaderDigest=None\0"
	"DataDigest=None\0"
	"DefaultTime2Wait=2\0"
	"DefaultTime2Retain=0\0"
	"ErrorRecoveryLevel=0\0"
	"InitialR2T=Yes\0"
	"ImmediateData=Yes\0"
	"MaxBurstLength=" BURST "\0"
	"FirstBurstLength=" BURST "\0"
	"MaxOutstandingR2T=1\0"
	"MaxConnections=1\0"
	"DataPDUInOrder=Yes\0"
	"DataSequenceInOrder=Yes\0"
	"MaxRecvDataSegmentLength=" BURST;

static bool receive_all(int fd, void *buf, size_t len)
{
	return recv(fd, buf, len, MSG_WAITALL) == (ssize_t)len;
}

/* A connection that has logged in, or -1; @answer is the end of it. */
static int log_in(struct login *answer)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_port = htons(PORT),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct timeval timeout = { .tv_sec = 20 };
	struct {
		struct login head;
		char text[(sizeof(offers) + 3) / 4 * 4];
	} request = { .head = {
		.opcode = LOGIN_REQUEST, .flags = LOGIN_TRANSIT,
		.length = htonl(sizeof(offers)), .isid = { 0x80, [5] = 1 },
		.cmd_sn = htonl(1),
	} };
	char text[8192];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	_Static_assert(sizeof(struct login) == 48, "a basic header segment");
	memcpy(request.text, offers, sizeof(offers));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    send(fd, &request, sizeof(request), MSG_NOSIGNAL) != sizeof(request) ||
	    !receive_all(fd, answer, sizeof(*answer)) ||
	    ntohl(answer->length) > sizeof(text) ||
	    !receive_all(fd, text, (ntohl(answer->length) + 3) & ~3)) {
		user_note("no answer to the login: %m");
	} else if (answer->opcode != LOGIN_RESPONSE || answer->flags != LOGIN_TRANSIT ||
		   answer->status[0]) {
		user_note("login: flags %#x, status %#x %#x", answer->flags,
			  answer->status[0], answer->status[1]);
	} else {
		return fd;
	}
	close(fd);
	return -1;
}

/* What the initiator is told by netlink: include/scsi/iscsi_if.h */

enum {
	CREATE_SESSION	= 11,
	DESTROY_SESSION	= 12,
	CREATE_CONN	= 13,
	DESTROY_CONN	= 14,
	BIND_CONN	= 15,
	SET_PARAM	= 16,
	START_CONN	= 17,
	STOP_CONN	= 18,
};

enum {
	PARAM_MAX_RECV_DLENGTH	= 0,
	PARAM_MAX_XMIT_DLENGTH	= 1,
	PARAM_INITIAL_R2T_EN	= 4,
	PARAM_IMM_DATA_EN	= 6,
	PARAM_FIRST_BURST	= 7,
	PARAM_MAX_BURST		= 8,
	PARAM_EXP_STATSN	= 14,
	PARAM_TARGET_NAME	= 15,
};

#define STOP_CONN_TERM	1

struct event {
	uint32_t type, error;
	uint64_t transport;
	union {
		struct { uint32_t cmd_sn; uint16_t cmds_max, queue_depth; } session;
		struct { uint32_t sid, cid; } conn;
		struct { uint32_t sid, cid; uint64_t fd; uint32_t leading; } bind;
		struct { uint32_t sid, cid, param, len; } param;
		struct { uint32_t sid, cid; uint64_t handle; uint32_t flag; } stop;
	};
	union {
		int retcode;
		struct { uint32_t sid, host; } made;
		uint64_t room[2];
	};
};

struct initiator {
	int netlink;
	uint32_t sid, host;
};

/* The answer is in @event, too. */
static bool ask(struct initiator *in, uint32_t type, struct event *event, const char *text)
{
	struct {
		struct nlmsghdr head;
		struct event event;
		char text[256];
	} m = { .head = {
		.nlmsg_type = type, .nlmsg_len = NLMSG_LENGTH(sizeof(*event) + strlen(text) + 1),
	} };

	event->type = type;
	event->transport = strtoull(read_str("/sys/class/iscsi_transport/tcp/handle"),
				    NULL, 10);
	m.event = *event;
	strcpy(m.text, text);
	if (send(in->netlink, &m, m.head.nlmsg_len, 0) < 0 ||
	    recv(in->netlink, &m, sizeof(m), 0) < (ssize_t)NLMSG_LENGTH(sizeof(*event)))
		return !user_fail("no answer by netlink: %m");
	*event = m.event;
	return event->type == type && !event->error;
}

static bool set_param(struct initiator *in, uint32_t param, const char *value)
{
	struct event event = { .param = { in->sid, 0, param, strlen(value) + 1 } };

	return ask(in, SET_PARAM, &event, value);
}

static bool set_params(struct initiator *in, uint32_t exp_stat_sn)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", exp_stat_sn);
	return set_param(in, PARAM_TARGET_NAME, IQN) &&
	       set_param(in, PARAM_MAX_RECV_DLENGTH, BURST) &&
	       set_param(in, PARAM_MAX_XMIT_DLENGTH, "8192") &&
	       set_param(in, PARAM_INITIAL_R2T_EN, "1") &&
	       set_param(in, PARAM_IMM_DATA_EN, "1") &&
	       set_param(in, PARAM_FIRST_BURST, BURST) &&
	       set_param(in, PARAM_MAX_BURST, BURST) &&
	       set_param(in, PARAM_EXP_STATSN, number);
}

static bool session_make(struct initiator *in, int fd, const struct login *login)
{
	struct event session = { .session = { ntohl(login->exp_sn), 128, 32 } };
	struct event conn, bind, start;

	if (!ask(in, CREATE_SESSION, &session, ""))
		return false;
	in->sid = session.made.sid;
	in->host = session.made.host;
	conn = (struct event) { .conn = { in->sid } };
	bind = (struct event) { .bind = { in->sid, 0, fd, true } };
	start = (struct event) { .conn = { in->sid } };
	return ask(in, CREATE_CONN, &conn, "") &&
	       ask(in, BIND_CONN, &bind, "") && !bind.retcode &&
	       set_params(in, ntohl(login->cmd_sn) + 1) &&
	       ask(in, START_CONN, &start, "") && !start.retcode;
}

static bool session_end(struct initiator *in)
{
	struct event stop = { .stop = { in->sid, .flag = STOP_CONN_TERM } };
	struct event conn = { .conn = { in->sid } };
	struct event session = { .conn = { in->sid } };

	/* What the disk would still write needs the connection. */
	sh("for d in /sys/class/iscsi_session/session%u/device/target*/*:*/delete; do"
	   " [ ! -e $d ] || echo 1 >$d; done", in->sid);
	ask(in, STOP_CONN, &stop, "");
	ask(in, DESTROY_CONN, &conn, "");
	return ask(in, DESTROY_SESSION, &session, "");
}

static int on_session(struct area *a, struct initiator *in, check_fn check)
{
	char pattern[128];
	char *disk;

	snprintf(pattern, sizeof(pattern),
		 "/sys/class/iscsi_session/session%u/device/target*/*:*/block/*", in->sid);
	if (sh("echo '- - -' >/sys/class/scsi_host/host%u/scan", in->host))
		return user_fail("no scan of the initiator");
	disk = disk_appears(pattern);
	return disk ? check(a, disk) : user_fail("no disk appears");
}

static int on_iscsi(struct area *a, check_fn check)
{
	struct initiator in = { .sid = -1 };
	struct login login;
	int fd, ret;

	sh("modprobe iscsi_target_mod; modprobe iscsi_tcp; ip link set lo up;"
	   " mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config");
	if (access("/sys/class/iscsi_transport/tcp", F_OK) || access(TARGET, F_OK))
		return user_skip("no initiator of iSCSI, or no target");
	in.netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ISCSI);
	if (!target_make()) {
		ret = user_fail("no target");
	} else {
		fd = log_in(&login);
		if (fd < 0)
			ret = USER_FAIL;
		else if (!session_make(&in, fd, &login))
			ret = user_fail("no session");
		else
			ret = on_session(a, &in, check);
		close(fd);
		if (in.sid != -1U && !session_end(&in))
			ret = ret ?: user_fail("the session stays");
	}
	close(in.netlink);
	if (!target_remove())
		ret = ret ?: user_fail("the target stays");
	if (sh("modprobe -r iscsi_tcp iscsi_target_mod"))
		ret = ret ?: user_fail("modprobe -r failed");
	return ret;
}

static int iscsi(struct area *a) { return on_iscsi(a, check_direct); }

const struct user iscsi_users[] = {
	{ "iSCSI", 0, PINS, NULL, iscsi, 0, IF_NAMED },
	{}
};
