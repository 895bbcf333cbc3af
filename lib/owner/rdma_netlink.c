/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel does, observed on 6.1, 6.12 and 7.3 (rdma.md R2):
 *
 *  - A context is listed from its creation until its last object is destroyed,
 *    whatever keeps it: a forked child's mapping is enough.
 *  - Contexts are numbered for each device, in ascending order. A request by number
 *    returns the context or -ENOENT.
 *  - Its pid is the id of the thread that opened it. It is left out once that thread
 *    is reaped, and in other pid namespaces.
 *  - If a list has several messages, and a context in an earlier message is destroyed
 *    before the next message is made, the list misses another context. Numbers are not
 *    reused soon, so if two lists in a row have the same numbers, no context was
 *    destroyed meanwhile, and the second list is complete.
 */
#include <errno.h>
#include <stdlib.h>
#include "owner/netlink.h"
#include "owner/rdma_devices.h"
#include "owner/rdma_netlink.h"

#define ROUNDS_MAX	8		/* until two lists agree */

/* Internal results beside -errno: why the kernel cannot answer. */
#define EXCLUSIVE	(-5001)		/* devices may be in other namespaces */
#define UNSEEN		(-5002)		/* /sys does not show every device */

/* ------------------------------------------------------ what is not known */

/* Each reason why the kernel cannot answer, with what to check. */
static int verbs_fail_unknown(int error, const struct dp_errmsg *errmsg)
{
	if (error == -ENOMEM)
		return error;
	if (error == -EOPNOTSUPP)
		return dp_fail(errmsg, -EBUSY,
			       "a dead owner may still write into the pool by RDMA, and this kernel does not list verbs contexts (Linux 5.14 and later do): reboot, then open");
	if (error == EXCLUSIVE)
		return dp_fail(errmsg, -EBUSY,
			       "a dead owner may still write into the pool by RDMA: not every RDMA device is seen from here, as network namespaces may have devices for themselves (`rdma system`): open the pool once from the namespace that has the device, end what `grep -l uverbs /proc/[0-9]*/maps` lists on the host, or reboot");
	if (error == UNSEEN)
		return dp_fail(errmsg, -EBUSY,
			       "a dead owner may still write into the pool by RDMA: a device that is being removed is shown by /sys of the initial network namespace alone, with /proc: open the pool once on the host, end what `grep -l uverbs /proc/[0-9]*/maps` lists there, or reboot");
	return dp_fail(errmsg, -EBUSY,
		       "a dead owner may still write into the pool by RDMA, and RDMA netlink does not answer whether it has ended (%s): allow socket(AF_NETLINK, SOCK_RAW, NETLINK_RDMA) to this process, or reboot, then open",
		       strerror(-error));
}

/* ------------------------------------------------------------ one context */

static int context_read(struct dp_attributes message, void *arg)
{
	struct dp_verbs_seen *seen = arg;

	seen->state = DP_VERBS_PRESENT;
	seen->maker = 0;
	dp_attribute_u32(message, RDMA_NLDEV_ATTR_RES_PID, &seen->maker);
	return 0;
}

int dp_verbs_get(struct dp_netlink *netlink,
		 const struct dp_rdma_context *context,
		 struct dp_verbs_seen *ret_seen)
{
	const struct dp_netlink_u32 name[] = {
		{ RDMA_NLDEV_ATTR_DEV_INDEX, context->device },
		{ RDMA_NLDEV_ATTR_RES_CTXN, context->number },
	};

	return dp_netlink_get(netlink, RDMA_NLDEV_CMD_RES_CTX_GET, name, 2,
			      context_read, ret_seen);
}

/* Find the state of a context whose device netlink does not list. EXCLUSIVE, UNSEEN:
 * the device may exist nevertheless. */
static int context_device_is_gone(struct dp_netlink *netlink,
				  struct dp_verbs_seen *seen)
{
	struct dp_device_list list = { 0 };
	bool all = false;
	int ret;

	if (!dp_devices_are_shared(netlink))
		return EXCLUSIVE;
	ret = dp_devices_list(netlink, &list);
	if (!ret)
		ret = dp_devices_count_unlisted(&list, &all);
	free(list.device);
	if (ret < 0)
		return ret;
	if (!ret && !all)
		return UNSEEN;
	seen->state = ret ? DP_VERBS_REMOVING : DP_VERBS_GONE;
	return 0;
}

static int context_look(struct dp_netlink *netlink,
			const struct dp_rdma_context *context,
			struct dp_verbs_seen *seen)
{
	int ret = dp_verbs_get(netlink, context, seen);

	if (ret == -EINVAL) {
		ret = dp_device_check(netlink, context->device);
		if (ret == -EINVAL)
			return context_device_is_gone(netlink, seen);
		/* The device exists, or was added between the two requests. */
		if (!ret)
			ret = dp_verbs_get(netlink, context, seen);
		if (ret == -EINVAL)
			return -EOPNOTSUPP;
	}
	if (ret != -ENOENT)
		return ret;
	seen->state = DP_VERBS_GONE;
	return 0;
}

int dp_verbs_find(const struct dp_rdma_context *context,
		  struct dp_verbs_seen *ret_seen,
		  const struct dp_errmsg *errmsg)
{
	struct dp_verbs_seen seen = { DP_VERBS_GONE, 0 };
	struct dp_netlink netlink;
	int ret = dp_netlink_open(&netlink);

	if (!ret) {
		ret = context_look(&netlink, context, &seen);
		dp_netlink_close(&netlink);
	} else if (ret == -EPROTONOSUPPORT && dp_devices_have_no_support()) {
		ret = 0;
	}
	if (ret && !dp_devices_none_is_open())
		return verbs_fail_unknown(ret, errmsg);
	*ret_seen = ret ? (struct dp_verbs_seen) { DP_VERBS_GONE, 0 } : seen;
	return 0;
}

/* --------------------------------------------------------- every context */

struct context_list {
	int count;
	uint64_t ids;			/* a digest of those of all contexts */
};

static int context_add(struct dp_attributes message, void *arg)
{
	struct context_list *list = arg;
	struct dp_attributes in, table =
		dp_attribute_find(message, RDMA_NLDEV_ATTR_RES_CTX);

	while (dp_attribute_next(&table, &in)) {
		uint32_t id;

		/* The kernel's own have no id. */
		if (!dp_attribute_u32(in, RDMA_NLDEV_ATTR_RES_CTXN, &id))
			continue;
		list->ids = (list->ids ^ id) * 0x100000001b3ull;
		list->count++;
	}
	return 0;
}

/*
 * The number of contexts of one device. 0 is returned only if the list is complete: it
 * came in one message, or was empty twice in a row. A larger number may be too small.
 */
static int contexts_count(struct dp_netlink *netlink, uint32_t index)
{
	const struct dp_netlink_u32 name = { RDMA_NLDEV_ATTR_DEV_INDEX, index };
	uint64_t before = 0;
	int ret;

	for (int i = 0; i < ROUNDS_MAX; i++) {
		struct context_list list = { .ids = 1 };

		ret = dp_netlink_dump(netlink, RDMA_NLDEV_CMD_RES_CTX_GET,
				      &name, context_add, &list);
		if (ret == -EINVAL) {
			ret = dp_device_check(netlink, index);
			/* The device is being removed. 1 makes the caller ask again. */
			return ret == -EINVAL ? 1 : ret ? ret : -EOPNOTSUPP;
		}
		if (ret || dp_netlink_messages(netlink) <= 1 ||
		    list.ids == before || list.count)
			return ret ? ret : list.count;
		before = list.ids;
	}
	return -EAGAIN;
}

/* The number of contexts of all devices; if it is 0, that of the devices that are being
 * removed. EXCLUSIVE, UNSEEN: devices that this process cannot see may have more. */
static int devices_count(struct dp_netlink *netlink, struct dp_device_list *list)
{
	bool all = false;
	int ret, count = 0;

	if (!dp_devices_are_shared(netlink))
		return EXCLUSIVE;
	ret = dp_devices_list(netlink, list);
	for (uint32_t i = 0; ret >= 0 && i < list->count; i++) {
		ret = contexts_count(netlink, list->device[i].index);
		count += ret > 0 ? ret : 0;
	}
	if (ret >= 0 && !count)
		ret = dp_devices_count_unlisted(list, &all);
	else if (ret >= 0)
		return count;
	return ret || all ? ret : UNSEEN;
}

int dp_verbs_count_all(const struct dp_errmsg *errmsg)
{
	struct dp_device_list list = { 0 };
	struct dp_netlink netlink;
	int ret = dp_netlink_open(&netlink);

	if (ret == -EPROTONOSUPPORT && dp_devices_have_no_support())
		return 0;
	if (!ret) {
		ret = devices_count(&netlink, &list);
		free(list.device);
		dp_netlink_close(&netlink);
	}
	if (ret >= 0)
		return ret;
	return dp_devices_none_is_open() ? 0 : verbs_fail_unknown(ret, errmsg);
}
