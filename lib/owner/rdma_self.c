/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's number of a verbs context of this process is found by a protection
 * domain. The protection domains that this thread has made are listed, one more is
 * made, and they are listed again: the new one names its context. But a list can miss
 * entries (rdma_netlink.c), and a protection domain that only the first list missed
 * seems to be new. So the new one must also be gone after it was ended.
 */
#include <errno.h>
#include <stdlib.h>
#include "os/os.h"
#include "os/process.h"
#include "owner/netlink.h"
#include "owner/rdma_devices.h"
#include "owner/rdma_netlink.h"
#include "owner/rdma_self.h"

#define ROUNDS_MAX	8		/* while lists lose entries */
#define FAILED		(-5001)		/* a result of its own beside -errno */

/* A protection domain of the calling thread's. */
struct domain {
	uint32_t device;
	uint32_t number;
	uint32_t context;
};

struct domain_list {
	uint32_t device;		/* whose entries are read */
	uint32_t thread;
	uint32_t count;
	struct domain *domain;
};

static int domain_add(struct domain_list *list, struct domain domain)
{
	struct domain *more = realloc(list->domain,
				      (list->count + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	more[list->count++] = domain;
	list->domain = more;
	return 0;
}

static int domain_read_table(struct dp_attributes message, void *arg)
{
	struct domain_list *list = arg;
	struct dp_attributes in, table =
		dp_attribute_find(message, RDMA_NLDEV_ATTR_RES_PD);
	int ret = 0;

	while (!ret && dp_attribute_next(&table, &in)) {
		struct domain domain = { .device = list->device };
		uint32_t pid = 0;

		if (!dp_attribute_u32(in, RDMA_NLDEV_ATTR_RES_PDN,
				      &domain.number) ||
		    !dp_attribute_u32(in, RDMA_NLDEV_ATTR_RES_CTXN,
				      &domain.context) ||
		    !dp_attribute_u32(in, RDMA_NLDEV_ATTR_RES_PID, &pid) ||
		    pid != list->thread)
			continue;
		ret = domain_add(list, domain);
	}
	return ret;
}

/* Every protection domain that this thread made, unless the lists lost it. */
static int domains_list(struct dp_netlink *netlink, struct domain_list *list)
{
	struct dp_device_list devices = { 0 };
	int ret = dp_devices_list(netlink, &devices);

	list->thread = (uint32_t)dp_os_thread();
	for (uint32_t i = 0; !ret && i < devices.count; i++) {
		const struct dp_netlink_u32 index = {
			RDMA_NLDEV_ATTR_DEV_INDEX, devices.device[i].index
		};

		list->device = index.value;
		ret = dp_netlink_dump(netlink, RDMA_NLDEV_CMD_RES_PD_GET,
				      &index, domain_read_table, list);
		if (ret == -EINVAL)	/* it was removed */
			ret = 0;
	}
	free(devices.device);
	return ret;
}

static bool domain_is_listed(const struct domain_list *list,
			     const struct domain *domain)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (list->domain[i].device == domain->device &&
		    list->domain[i].number == domain->number)
			return true;
	return false;
}

static int domain_ignore(struct dp_attributes message, void *arg)
{
	(void)message;
	(void)arg;
	return 0;
}

static int domain_get(struct dp_netlink *netlink, const struct domain *domain)
{
	const struct dp_netlink_u32 name[] = {
		{ RDMA_NLDEV_ATTR_DEV_INDEX, domain->device },
		{ RDMA_NLDEV_ATTR_RES_PDN, domain->number },
	};

	return dp_netlink_get(netlink, RDMA_NLDEV_CMD_RES_PD_GET, name, 2,
			      domain_ignore, NULL);
}

/*
 * Count the protection domains that are only in the second list and are gone now that
 * `domain` has ended its own. If there are several, the first list missed one that
 * another thread has ended meanwhile. If there is none, the second list missed it. In
 * both cases the caller tries again.
 */
static uint32_t domains_pick(struct dp_netlink *netlink,
			     const struct domain_list *before,
			     const struct domain_list *after,
			     struct domain *ret_domain)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < after->count; i++) {
		const struct domain *domain = &after->domain[i];

		if (domain_is_listed(before, domain) ||
		    domain_get(netlink, domain) != -ENOENT)
			continue;
		*ret_domain = *domain;
		count++;
	}
	return count;
}

/* 1: *ret_domain is set. 0: try again. FAILED: domain() has returned *ret_failure. */
static int domain_try(struct dp_netlink *netlink, dp_rdma_domain_fn *domain,
		      void *arg, struct domain *ret_domain, int *ret_failure)
{
	struct domain_list before = { 0 }, after = { 0 };
	int ret = domains_list(netlink, &before);

	if (!ret) {
		*ret_failure = domain(1, arg);
		ret = *ret_failure ? FAILED : 0;
	}
	if (!ret) {
		ret = domains_list(netlink, &after);
		*ret_failure = domain(0, arg);
		if (*ret_failure)
			ret = FAILED;
	}
	if (!ret)
		ret = domains_pick(netlink, &before, &after, ret_domain) == 1;
	free(before.domain);
	free(after.domain);
	return ret;
}

int dp_rdma_self_find(dp_rdma_domain_fn *domain, void *arg,
		  struct dp_rdma_context *ret_context, uint32_t *ret_maker)
{
	struct dp_verbs_seen seen = { DP_VERBS_GONE, 0 };
	struct dp_rdma_context context = { 0 };
	struct dp_netlink netlink;
	struct domain own = { 0 };
	int failure = 0, ret = dp_netlink_open(&netlink);

	if (ret == -EPROTONOSUPPORT && dp_devices_have_no_support())
		return -ENODEV;
	if (ret)
		return ret == -ENOMEM ? ret : -EBUSY;
	for (int i = 0; !ret && i < ROUNDS_MAX; i++)
		ret = domain_try(&netlink, domain, arg, &own, &failure);
	if (ret == 1) {
		context.device = own.device;
		context.number = own.context;
		ret = dp_verbs_get(&netlink, &context, &seen);
		ret = ret ? ret : 1;
	}
	dp_netlink_close(&netlink);
	if (ret != 1)
		return ret == -ENOMEM ? ret :
		       ret == FAILED ? failure : -EBUSY;
	*ret_context = context;
	*ret_maker = seen.maker;
	return 0;
}
