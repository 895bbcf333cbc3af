/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The verbs contexts that the kernel knows of, by RDMA netlink. A context is
 * what keeps a dead process's memory regions alive: the kernel forgets it only
 * after the last of them is gone.
 */
#ifndef DP_VERBS_H
#define DP_VERBS_H

#include "media/layout.h"

/* Says whether the context of that pid (0: see dp_verbs_count) counts. */
typedef bool dp_verbs_filter(uint32_t pid, void *arg);

/*
 * How many of these devices' contexts pass the filter. A pid is that of the
 * thread that opened the context, 0 when that thread is dead or in another pid
 * namespace. A device that is being removed counts as one context with pid 0;
 * one that is not there has none, but may have been renamed: then the contexts
 * of every device are asked for. -EBUSY with a sentence: it cannot be told.
 */
int dp_verbs_count(const char (*device)[DP_DEVICE_NAME_MAX], uint32_t devices,
		   dp_verbs_filter *filter, void *arg,
		   const struct dp_why *why);

/*
 * How many contexts there are at all, of every device. -EBUSY with a sentence:
 * it cannot be told, which takes the initial pid namespace, and devices that
 * no network namespace has for itself.
 */
int dp_verbs_count_all(const struct dp_why *why);

#endif
