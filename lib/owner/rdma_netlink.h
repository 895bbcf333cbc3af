/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's verbs contexts, by RDMA netlink. A context keeps a dead process's
 * memory regions alive: the kernel removes it only after the last of them is gone.
 */
#ifndef DP_VERBS_H
#define DP_VERBS_H

#include "media/layout.h"
#include "owner/netlink.h"

enum dp_verbs_state {
	DP_VERBS_GONE,
	DP_VERBS_PRESENT,
	DP_VERBS_REMOVING,	/* its device may be one that is being removed */
};

struct dp_verbs_seen {
	enum dp_verbs_state state;
	uint32_t maker;			/* the thread that made it; 0: dead, or in
					   another pid namespace */
};

/*
 * Does a context with that device and number exist? Who opened it does not matter.
 * -EBUSY with a sentence: the kernel cannot answer.
 */
int dp_verbs_find(const struct dp_rdma_context *context,
		  struct dp_verbs_seen *ret_seen,
		  const struct dp_errmsg *errmsg);

/* The kernel's answer alone: 0, -ENOENT, or -EINVAL for a device that is not seen. */
int dp_verbs_get(struct dp_netlink *netlink,
		 const struct dp_rdma_context *context,
		 struct dp_verbs_seen *ret_seen);

/*
 * The number of contexts of all devices. Only a result of 0 is exact: if contexts are
 * destroyed meanwhile some may be missed, and a device that is being removed may count
 * as a context. -EBUSY with a sentence: the kernel cannot answer.
 */
int dp_verbs_count_all(const struct dp_errmsg *errmsg);

#endif
