/* SPDX-License-Identifier: BSD-3-Clause */
/* The protocol of RDMA netlink, as much of it as rdma_netlink.c needs. */
#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include "os/os.h"
#include "owner/netlink.h"

#define BUFFER_SIZE	(32u << 10)	/* for the messages of one recvmsg() */
#define NAMES_MAX	2u		/* attributes of a request */

/* -------------------------------------------------------------- attributes */

static const struct nlattr *attribute_step(struct dp_attributes *set)
{
	const struct nlattr *attr = (const struct nlattr *)set->at;
	size_t step;

	if (set->left < NLA_HDRLEN || attr->nla_len < NLA_HDRLEN ||
	    attr->nla_len > set->left)
		return NULL;
	step = dp_min(NLA_ALIGN(attr->nla_len), set->left);
	set->at += step;
	set->left -= step;
	return attr;
}

static struct dp_attributes attribute_inside(const struct nlattr *attr)
{
	if (!attr)
		return (struct dp_attributes) { NULL, 0 };
	return (struct dp_attributes) {
		(const char *)attr + NLA_HDRLEN, attr->nla_len - NLA_HDRLEN
	};
}

bool dp_attribute_next(struct dp_attributes *set, struct dp_attributes *ret_in)
{
	const struct nlattr *attr = attribute_step(set);

	if (attr)
		*ret_in = attribute_inside(attr);
	return attr != NULL;
}

struct dp_attributes dp_attribute_find(struct dp_attributes set,
				       unsigned int type)
{
	const struct nlattr *attr;

	do
		attr = attribute_step(&set);
	while (attr && (attr->nla_type & NLA_TYPE_MASK) != type);
	return attribute_inside(attr);
}

bool dp_attribute_u32(struct dp_attributes set, unsigned int type,
		      uint32_t *ret_value)
{
	const struct dp_attributes in = dp_attribute_find(set, type);

	if (in.left < sizeof(*ret_value))
		return false;
	memcpy(ret_value, in.at, sizeof(*ret_value));
	return true;
}

/* ---------------------------------------------------------------- requests */

struct request {
	struct nlmsghdr header;
	struct {
		struct nlattr attr;
		uint32_t value;
	} name[NAMES_MAX];
};

static int netlink_ask(struct dp_netlink *netlink, unsigned int command,
		       unsigned int flags, const struct dp_netlink_u32 *name,
		       uint32_t count)
{
	struct request request = {
		.header = {
			.nlmsg_len = NLMSG_HDRLEN +
				     count * sizeof(request.name[0]),
			.nlmsg_type = RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, command),
			.nlmsg_flags = NLM_F_REQUEST | flags,
			.nlmsg_seq = ++netlink->sequence,
		},
	};

	assert(count <= NAMES_MAX);
	for (uint32_t i = 0; i < count; i++) {
		request.name[i].attr.nla_len = sizeof(request.name[i]);
		request.name[i].attr.nla_type = name[i].type;
		request.name[i].value = name[i].value;
	}
	netlink->messages = 0;
	return dp_os_netlink_send(netlink->fd, &request,
				  request.header.nlmsg_len);
}

/* Process the messages that were received together. 1: the answer is complete. */
static int netlink_digest(struct dp_netlink *netlink, uint32_t length,
			  dp_netlink_fn *fn, void *arg)
{
	const struct nlmsghdr *m = (const struct nlmsghdr *)netlink->buffer;
	int ret = 0;

	for (; !ret && NLMSG_OK(m, length); m = NLMSG_NEXT(m, length)) {
		const uint32_t size = NLMSG_PAYLOAD(m, 0);
		const char *payload = NLMSG_DATA(m);

		if (m->nlmsg_seq != netlink->sequence)
			continue;
		if (m->nlmsg_type == NLMSG_DONE ||
		    m->nlmsg_type == NLMSG_ERROR) {
			if (size >= sizeof(ret))
				memcpy(&ret, payload, sizeof(ret));
			return ret < 0 ? ret : 1;
		}
		netlink->messages++;
		ret = fn((struct dp_attributes) { payload, size }, arg);
	}
	return ret;
}

static int netlink_answer(struct dp_netlink *netlink, dp_netlink_fn *fn,
			  void *arg)
{
	int ret = 0;

	while (!ret) {
		ret = dp_os_netlink_receive(netlink->fd, netlink->buffer,
					    BUFFER_SIZE);
		if (ret >= 0)
			ret = netlink_digest(netlink, ret, fn, arg);
	}
	return ret < 0 ? ret : 0;
}

int dp_netlink_dump(struct dp_netlink *netlink, unsigned int command,
		    const struct dp_netlink_u32 *first, dp_netlink_fn *fn,
		    void *arg)
{
	int ret = netlink_ask(netlink, command, NLM_F_DUMP, first,
			      first ? 1 : 0);

	return ret ? ret : netlink_answer(netlink, fn, arg);
}

/* Requests an acknowledgement, so that the answer has an end. */
int dp_netlink_get(struct dp_netlink *netlink, unsigned int command,
		   const struct dp_netlink_u32 *name, uint32_t count,
		   dp_netlink_fn *fn, void *arg)
{
	int ret = netlink_ask(netlink, command, NLM_F_ACK, name, count);

	if (!ret)
		ret = netlink_answer(netlink, fn, arg);
	return !ret && !netlink->messages ? -EIO : ret;
}

uint32_t dp_netlink_messages(const struct dp_netlink *netlink)
{
	return netlink->messages;
}

/* ------------------------------------------------------------ open, close */

int dp_netlink_open(struct dp_netlink *netlink)
{
	*netlink = (struct dp_netlink) { .fd = dp_os_netlink(NETLINK_RDMA) };
	if (netlink->fd < 0)
		return netlink->fd;
	netlink->buffer = malloc(BUFFER_SIZE);
	if (netlink->buffer)
		return 0;
	dp_os_close(netlink->fd);
	return -ENOMEM;
}

void dp_netlink_close(struct dp_netlink *netlink)
{
	free(netlink->buffer);
	dp_os_close(netlink->fd);
}
