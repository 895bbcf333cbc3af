/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RDMA netlink, the protocol: requests for one object and for lists, and the
 * attributes of the answers. What is asked, and what an answer means, is
 * rdma_netlink.c's business.
 */
#ifndef DP_NETLINK_H
#define DP_NETLINK_H

#include <rdma/rdma_netlink.h>
#include "util/util.h"

/* A conversation with the kernel; private to netlink.c */
struct dp_netlink {
	int fd;
	uint32_t sequence;
	uint32_t messages;		/* of the answer so far */
	char *buffer;
};

/* A sequence of attributes: those of a message, or those inside another attribute. */
struct dp_attributes {
	const char *at;
	size_t left;
};

/* Called for each message of an answer. A negative result ends the request, which
 * returns that result. */
typedef int dp_netlink_fn(struct dp_attributes message, void *arg);

/* An attribute of a request. */
struct dp_netlink_u32 {
	unsigned int type;
	uint32_t value;
};

/* -EPROTONOSUPPORT: the kernel has no RDMA, or a filter of system calls denies it. */
int dp_netlink_open(struct dp_netlink *netlink);
void dp_netlink_close(struct dp_netlink *netlink);

/* Request all objects; fn() is called for each message of the answer. `first`: an
 * attribute of the request, such as the device, or NULL. */
int dp_netlink_dump(struct dp_netlink *netlink, unsigned int command,
		    const struct dp_netlink_u32 *first, dp_netlink_fn *fn,
		    void *arg);
/* Request one object, which is named by `count` attributes. Returns the kernel's error,
 * or that of fn(), or -EIO if the answer has no message. */
int dp_netlink_get(struct dp_netlink *netlink, unsigned int command,
		   const struct dp_netlink_u32 *name, uint32_t count,
		   dp_netlink_fn *fn, void *arg);
/* How many messages the last answer had. */
uint32_t dp_netlink_messages(const struct dp_netlink *netlink);

/* Get the payload of the next attribute; false at the end. */
bool dp_attribute_next(struct dp_attributes *set, struct dp_attributes *ret_in);
/* The payload of the first attribute of that type; empty if there is none. */
struct dp_attributes dp_attribute_find(struct dp_attributes set,
				       unsigned int type);
bool dp_attribute_u32(struct dp_attributes set, unsigned int type,
		      uint32_t *ret_value);

#endif
