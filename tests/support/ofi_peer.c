/* SPDX-License-Identifier: BSD-3-Clause */
#include "ofi_peer.h"

#include <errno.h>
#include <poll.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "child.h"

#define SOURCE_BYTES	(8u << 20)

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

struct fi_info *ofi_find(const char *provider, int extra_modes)
{
	bool is_shm = !strcmp(provider, "shm");
	struct fi_info *hints = fi_allocinfo(), *info = NULL;

	if (!hints)
		abort();
	hints->ep_attr->type = FI_EP_RDM;
	hints->caps = FI_RMA | FI_MSG;
	hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_ENDPOINT | extra_modes;
	hints->fabric_attr->prov_name = strdup(provider);
	if (fi_getinfo(FI_VERSION(1, 11), is_shm ? NULL : "127.0.0.1", NULL,
		       is_shm ? 0 : FI_SOURCE, hints, &info))
		info = NULL;
	fi_freeinfo(hints);
	return info;
}

static int line_open(struct line *line, struct fi_info *info, void *source,
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

static int line_post(struct line *line, struct fi_info *info, void *source,
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

static int line_compare(const unsigned char *source, const struct ofi_order *order,
			const struct fi_info *info)
{
	struct daxpin_ofi_key key;
	int ret = daxpin_ofi_import(order->descriptor, sizeof(order->descriptor),
				    info, &key);

	for (uint64_t i = 0; !ret && i < key.length; i++)
		if (source[i] != order->value)
			return -EILSEQ;
	return ret;
}

static int peer_do(struct line *line, struct fi_info *info, void *source,
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
		ret = line_open(line, info, source, order);
		if (ret)
			return ret;
	}
	line->result = -EINPROGRESS;
	ret = line_post(line, info, source, order, fd);
	if (ret || (order->type != OFI_WRITE_DELIVERED && order->type != OFI_READ))
		return ret;
	while (line->result == -EINPROGRESS && !line_is_called(fd))
		line_step(line);
	if (order->type == OFI_READ && !line->result)
		return line_compare(source, order, info);
	return line->result;
}

static int peer_run(void *arg, int fd)
{
	struct fi_info *info = ofi_find(arg, 0);
	void *source = aligned_alloc(4096, SOURCE_BYTES);
	struct line line = { 0 };
	struct ofi_order order;
	struct ofi_reply reply;

	if (!info || !source)
		return 1;
	for (;;) {
		while (!line_is_called(fd))
			line_step(&line);
		if (!receive_message(fd, &order, sizeof(order)))
			break;
		reply.result = peer_do(&line, info, source, &order, fd);
		if (!send_message(fd, &reply, sizeof(reply)))
			break;
	}
	line_close(&line);
	fi_freeinfo(info);
	free(source);
	return 0;
}

struct child ofi_peer_start(const char *provider)
{
	return fork_child(peer_run, (void *)(uintptr_t)provider);
}
