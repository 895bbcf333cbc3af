/* SPDX-License-Identifier: BSD-3-Clause */
#include "ofi_peer.h"

#include <errno.h>
#include <poll.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "child.h"

#define SOURCE_BYTES	(8u << 20)
#define NETDEV		"daxpin_ofi_net0"
#define ADDRESS		"10.198.0.1"

/* One endpoint for each write. */
struct line {
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	struct fid_av *av;
	struct fid_cq *cq;
	struct fid_ep *ep;
	struct fid_mr *mr;
	fi_addr_t to;
	struct fi_context2 context;
	int result;		/* of the write */
};

const char *provider;
struct fi_info *info;
struct fid_fabric *fabric;

bool ofi_close_inherited(void)
{
	return !close_range(3, ~0u, 0);
}

bool ofi_add_device(void)
{
	return ofi_close_inherited() &&
	       !system("ip link add " NETDEV " type dummy && "
		       "ip addr add " ADDRESS "/24 dev " NETDEV " && "
		       "ip link set " NETDEV " up && "
		       "rdma link add " OFI_DEVICE " type rxe netdev " NETDEV);
}

/* The RDMA device goes with its network device. */
void ofi_remove_device(void)
{
	if (system("ip link del " NETDEV))
		printf("# " NETDEV " was not there\n");
}

static struct fi_info *find(const char *name, const char *address, int modes)
{
	struct fi_info *hints = fi_allocinfo(), *found = NULL;

	if (!hints)
		abort();
	hints->ep_attr->type = FI_EP_RDM;
	hints->caps = FI_RMA | FI_MSG;
	hints->domain_attr->mr_mode = modes;
	hints->fabric_attr->prov_name = strdup(name);
	if (fi_getinfo(FI_VERSION(1, 11), address, NULL, address ? FI_SOURCE : 0,
		       hints, &found))
		found = NULL;
	fi_freeinfo(hints);
	return found;
}

/* libfabric 1.17 asks for longer queues than soft-RoCE has otherwise. Its cache of
 * memory registrations would keep a region after its close. Without shared receive
 * contexts the close of an endpoint can crash (rdma.md R10). */
static void set_up_verbs(void)
{
	setenv("FI_MR_CACHE_MAX_COUNT", "0", 0);
	setenv("FI_OFI_RXM_USE_SRX", "1", 0);
	setenv("FI_UNIVERSE_SIZE", "2", 1);
	setenv("FI_OFI_RXM_TX_SIZE", "64", 1);
	setenv("FI_OFI_RXM_RX_SIZE", "64", 1);
	setenv("FI_OFI_RXM_MSG_TX_SIZE", "32", 1);
	setenv("FI_OFI_RXM_MSG_RX_SIZE", "32", 1);
}

struct fi_info *ofi_find(const char *name, int extra_modes)
{
	const int modes = FI_MR_LOCAL | FI_MR_ENDPOINT | extra_modes;

	if (!strcmp(name, "shm"))
		return find(name, NULL, modes);
	if (strcmp(name, OFI_VERBS))
		return find(name, "127.0.0.1", modes);
	set_up_verbs();
	return find(name, ADDRESS, modes | FI_MR_ALLOCATED |
		    FI_MR_VIRT_ADDR | FI_MR_PROV_KEY);
}

/* fi_dupinfo() and fi_freeinfo() call these. */
static int control_nic(struct fid *fid, int command, void *arg)
{
	if (command != FI_DUP)
		return -FI_ENOSYS;
	*(struct fid_nic **)arg = (struct fid_nic *)fid;
	return 0;
}

static int close_nic(struct fid *fid)
{
	(void)fid;
	return 0;
}

struct fid_nic *ofi_nic(char *name)
{
	static struct fi_ops ops = {
		.size = sizeof(ops), .close = close_nic, .control = control_nic,
	};
	static struct fi_device_attr device;
	static struct fid_nic nic = { .fid = { .ops = &ops }, .device_attr = &device };

	device.name = name;
	return &nic;
}

int open_provider(const char *name)
{
	provider = name;
	info = ofi_find(name, 0);
	return info ? fi_fabric(info->fabric_attr, &fabric, NULL) : 0;
}

int close_provider(void)
{
	if (!info)
		return 0;
	fi_freeinfo(info);
	return fi_close(&fabric->fid);
}

bool lacks_provider(void)
{
	if (info)
		return false;
	printf("# skipped: libfabric has no provider %s here\n", provider);
	return true;
}

static int line_open(struct line *line, void *source,
		     const struct ofi_order *order)
{
	struct fi_cq_attr cq = { .format = FI_CQ_FORMAT_CONTEXT, .size = 64 };
	struct fi_av_attr av = { .type = FI_AV_TABLE };

	if (fi_fabric(info->fabric_attr, &line->fabric, NULL) ||
	    fi_domain(line->fabric, info, &line->domain, NULL) ||
	    fi_av_open(line->domain, &av, &line->av, NULL) ||
	    fi_cq_open(line->domain, &cq, &line->cq, NULL) ||
	    fi_endpoint(line->domain, info, &line->ep, NULL) ||
	    fi_ep_bind(line->ep, &line->av->fid, 0) ||
	    fi_ep_bind(line->ep, &line->cq->fid, FI_TRANSMIT | FI_RECV) ||
	    fi_enable(line->ep) ||
	    fi_mr_reg(line->domain, source, SOURCE_BYTES, FI_WRITE | FI_READ, 0, 1,
		      0, &line->mr, NULL) ||
	    fi_av_insert(line->av, order->name, 1, &line->to, 0, NULL) != 1)
		return -EIO;
	return 0;
}

static void line_close(struct line *line)
{
	struct fid *fids[] = {
		line->mr ? &line->mr->fid : NULL,
		line->ep ? &line->ep->fid : NULL,
		line->cq ? &line->cq->fid : NULL,
		line->av ? &line->av->fid : NULL,
		line->domain ? &line->domain->fid : NULL,
		line->fabric ? &line->fabric->fid : NULL,
	};

	for (size_t i = 0; i < sizeof(fids) / sizeof(fids[0]); i++)
		if (fids[i])
			fi_close(fids[i]);
	*line = (struct line){ 0 };
}

static void line_step(struct line *line)
{
	struct fi_cq_err_entry error = { 0 };
	struct fi_cq_entry entry;
	ssize_t count;

	if (!line->cq)
		return;
	count = fi_cq_read(line->cq, &entry, 1);
	if (count == 1)
		line->result = 0;
	else if (count == -FI_EAVAIL &&
		 fi_cq_readerr(line->cq, &error, 0) == 1)
		line->result = error.err ? -error.err : -EIO;
}

/* Is there an order, or has the test ended? */
static bool line_is_called(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) != 0;
}

static ssize_t line_send(struct line *line, const struct fi_msg_rma *message,
			 const struct ofi_order *order)
{
	if (order->type == OFI_READ)
		return fi_readmsg(line->ep, message, FI_COMPLETION);
	return fi_writemsg(line->ep, message, FI_COMPLETION |
			   (order->type == OFI_WRITE_DELIVERED ?
			    FI_DELIVERY_COMPLETE : 0));
}

static int line_post(struct line *line, void *source,
		     const struct ofi_order *order, int fd)
{
	struct daxpin_ofi_key key;
	struct iovec iov = { source, 0 };
	struct fi_rma_iov remote;
	struct fi_msg_rma message = {
		.msg_iov = &iov, .iov_count = 1, .rma_iov = &remote,
		.rma_iov_count = 1, .context = &line->context,
	};
	ssize_t ret = daxpin_ofi_import(order->descriptor,
					sizeof(order->descriptor), info, &key);
	void *desc;

	if (ret)
		return (int)ret;
	iov.iov_len = key.length;
	remote = (struct fi_rma_iov){ key.addr, key.length, key.key };
	desc = fi_mr_desc(line->mr);
	message.desc = &desc;
	message.addr = line->to;
	memset(source, order->type == OFI_READ ? ~order->value : order->value,
	       key.length);
	do {
		ret = line_send(line, &message, order);
		if (ret == -FI_EAGAIN)
			line_step(line);
	} while (ret == -FI_EAGAIN && !line_is_called(fd));
	return (int)ret;
}

static int line_compare(const unsigned char *source, const struct ofi_order *order)
{
	struct daxpin_ofi_key key;
	int ret = daxpin_ofi_import(order->descriptor, sizeof(order->descriptor),
				    info, &key);

	for (uint64_t i = 0; !ret && i < key.length; i++)
		if (source[i] != order->value)
			return -EILSEQ;
	return ret;
}

static int peer_do(struct line *line, void *source,
		   const struct ofi_order *order, int fd)
{
	int ret;

	if (order->type == OFI_STOP) {
		ret = line->result;
		line_close(line);
		return ret;
	}
	if (order->type != OFI_WRITE_AGAIN) {
		line_close(line);
		ret = line_open(line, source, order);
		if (ret)
			return ret;
	}
	line->result = -EINPROGRESS;
	ret = line_post(line, source, order, fd);
	if (ret || (order->type != OFI_WRITE_DELIVERED && order->type != OFI_READ))
		return ret;
	while (line->result == -EINPROGRESS && !line_is_called(fd))
		line_step(line);
	if (order->type == OFI_READ && !line->result)
		return line_compare(source, order);
	return line->result;
}

static int peer_run(void *arg, int fd)
{
	void *source = aligned_alloc(4096, SOURCE_BYTES);
	struct line line = { 0 };
	struct ofi_order order;
	struct ofi_reply reply;

	info = ofi_find(arg, 0);
	if (!info || !source)
		return 1;
	for (;;) {
		while (!line_is_called(fd))
			line_step(&line);
		if (!receive_message(fd, &order, sizeof(order)))
			break;
		reply.result = peer_do(&line, source, &order, fd);
		if (!send_message(fd, &reply, sizeof(reply)))
			break;
	}
	line_close(&line);
	fi_freeinfo(info);
	free(source);
	return 0;
}

struct child ofi_peer_start(const char *name)
{
	return fork_child(peer_run, (void *)(uintptr_t)name);
}
