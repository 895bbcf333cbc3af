/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer reaches memory through a region, which is in a protection domain, and RDMA
 * netlink lists each domain until the kernel frees it. It refuses that, and counts the
 * uses of the domain, while a region, a memory window or a queue pair is in it
 * (rdma.md R19). A domain has the number of its context, and both have the id of the
 * thread that made them until that thread is reaped. A domain of this process is one
 * that a thread of it allocated, or that is in a context which a thread of it opened,
 * since whoever has the file of a context can use all domains in it.
 *
 * Whether an id is of this process is asked between two lists that agree: both have the
 * id, so its thread had not ended. And a list can miss an entry if another one ends
 * meanwhile (rdma_netlink.c), but the second of two equal lists is complete.
 *
 * A device that is being removed is in no list, while its domains may exist. The count
 * is refused while sysfs shows one.
 */
#include "owner/rdma_use.h"

#include <errno.h>
#include <stdlib.h>
#include "os/process.h"
#include "owner/rdma_devices.h"

#define ROUNDS_MAX	8		/* until two lists agree */

/* Internal results beside -errno: why the kernel does not show all. */
#define EXCLUSIVE	(-5001)		/* devices may be in other namespaces */
#define UNSEEN		(-5002)		/* /sys does not show every device */
#define REMOVING	(-5003)

struct use_context {
	uint32_t number;
	enum dp_tristate is_own;	/* a thread of this process opened it */
};

struct use_list {
	uint64_t ids;			/* a digest of all devices and entries */
	struct dp_rdma_counts counts;
	struct use_context *context;	/* of the device whose domains are read */
	uint32_t contexts;
};

static int use_fail(int error, const struct dp_errmsg *errmsg)
{
	if (error == -ENOMEM)
		return dp_fail(errmsg, error, "out of memory");
	if (error == EXCLUSIVE)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "RDMA devices of other network namespaces may not be seen here: `rdma system` must report netns shared");
	if (error == UNSEEN)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "RDMA devices that are being removed are seen only with /sys of the initial network namespace, which this process does not have");
	if (error == REMOVING)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "an RDMA device is being removed: try again when /sys/class/infiniband has only those of `rdma dev`");
	if (error == -EAGAIN)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "RDMA devices, contexts or protection domains come and go while they are listed: try again");
	if (error == -EINVAL)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "this kernel does not list verbs contexts (Linux 5.14 and later do)");
	return dp_fail(errmsg, -EOPNOTSUPP,
		       "RDMA netlink does not answer (%s); it needs socket(AF_NETLINK, SOCK_RAW, NETLINK_RDMA)",
		       strerror(-error));
}

/* ------------------------------------------------------------------- a list */

static void use_digest(struct use_list *list, uint32_t value)
{
	list->ids = (list->ids ^ value) * 0x100000001b3ull;
}

/* Has a thread of this process made that context or domain? */
static enum dp_tristate use_is_own(struct use_list *list, struct dp_attributes entry)
{
	uint32_t thread = 0;
	bool is_named = dp_attribute_u32(entry, RDMA_NLDEV_ATTR_RES_PID, &thread);

	use_digest(list, thread);
	return is_named ? dp_os_has_thread((int)thread) : DP_UNKNOWN;
}

static int use_add_context(struct use_list *list, struct dp_attributes entry)
{
	struct use_context *more, new = { 0 };

	/* The kernel's own have no number. */
	if (!dp_attribute_u32(entry, RDMA_NLDEV_ATTR_RES_CTXN, &new.number))
		return 0;
	use_digest(list, new.number);
	new.is_own = use_is_own(list, entry);
	list->counts.contexts += new.is_own == DP_YES;
	more = realloc(list->context, (list->contexts + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	more[list->contexts++] = new;
	list->context = more;
	return 0;
}

static int use_add_contexts(struct dp_attributes message, void *arg)
{
	struct dp_attributes entry, table =
		dp_attribute_find(message, RDMA_NLDEV_ATTR_RES_CTX);
	int ret = 0;

	while (!ret && dp_attribute_next(&table, &entry))
		ret = use_add_context(arg, entry);
	return ret;
}

static enum dp_tristate use_has_own_context(const struct use_list *list,
					    struct dp_attributes domain)
{
	uint32_t number;

	if (dp_attribute_u32(domain, RDMA_NLDEV_ATTR_RES_CTXN, &number))
		for (uint32_t i = 0; i < list->contexts; i++)
			if (list->context[i].number == number)
				return list->context[i].is_own;
	return DP_UNKNOWN;
}

/* What has no count may be used. */
static bool use_is_empty(struct dp_attributes domain)
{
	const struct dp_attributes uses =
		dp_attribute_find(domain, RDMA_NLDEV_ATTR_RES_USECNT);
	uint64_t count = 1;

	if (uses.left == sizeof(count))
		memcpy(&count, uses.at, sizeof(count));
	return !count;
}

/* Of a domain without an id that is in the context of a living thread of another
 * process, this process could know only by a file that it has inherited. */
static void use_add_domain(struct use_list *list, struct dp_attributes domain)
{
	enum dp_tristate made, opened = use_has_own_context(list, domain);
	uint32_t number = 0;

	dp_attribute_u32(domain, RDMA_NLDEV_ATTR_RES_PDN, &number);
	use_digest(list, number);
	made = use_is_own(list, domain);
	/* Those of the kernel's own users are of no process. */
	if (dp_attribute_find(domain, RDMA_NLDEV_ATTR_RES_KERN_NAME).left ||
	    use_is_empty(domain))
		return;
	if (made == DP_YES || opened == DP_YES)
		list->counts.domains++;
	else if (made == DP_UNKNOWN && opened == DP_UNKNOWN)
		list->counts.unknown++;
}

static int use_add_domains(struct dp_attributes message, void *arg)
{
	struct dp_attributes entry, table =
		dp_attribute_find(message, RDMA_NLDEV_ATTR_RES_PD);

	while (dp_attribute_next(&table, &entry))
		use_add_domain(arg, entry);
	return 0;
}

static int use_list_device(struct dp_netlink *netlink, uint32_t device,
			   struct use_list *list)
{
	const struct dp_netlink_u32 index = { RDMA_NLDEV_ATTR_DEV_INDEX, device };
	int ret = dp_netlink_dump(netlink, RDMA_NLDEV_CMD_RES_CTX_GET, &index,
				  use_add_contexts, list);

	use_digest(list, device);
	if (!ret)
		ret = dp_netlink_dump(netlink, RDMA_NLDEV_CMD_RES_PD_GET, &index,
				      use_add_domains, list);
	free(list->context);
	list->context = NULL;
	list->contexts = 0;
	/* The device was removed, or the kernel is older. */
	if (ret == -EINVAL && dp_device_check(netlink, device) == -EINVAL)
		return REMOVING;
	return ret;
}

static int use_list_all(struct dp_netlink *netlink,
			const struct dp_device_list *devices, struct use_list *list)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < devices->count; i++)
		ret = use_list_device(netlink, devices->device[i].index, list);
	return ret;
}

/* -------------------------------------------------------------- the answer */

/* 0: two lists in a row agree, and *ret_counts is what was asked after the first. */
static int use_agree(struct dp_netlink *netlink, const struct dp_device_list *devices,
		     struct dp_rdma_counts *ret_counts)
{
	struct use_list list, before = { 0 };
	int ret;

	for (int i = 0; i < ROUNDS_MAX; i++) {
		list = (struct use_list) { .ids = 1 };
		ret = use_list_all(netlink, devices, &list);
		if (ret)
			return ret;
		if (i && list.ids == before.ids) {
			*ret_counts = before.counts;
			return 0;
		}
		before = list;
	}
	return -EAGAIN;
}

/* Sysfs shows names: none of a listed device may have changed meanwhile. */
static int use_find_removed(struct dp_netlink *netlink,
			    const struct dp_device_list *devices)
{
	struct dp_device_list again = { 0 };
	bool all = false;
	int ret = dp_devices_count_unlisted(devices, &all);

	if (ret > 0)
		return REMOVING;
	if (ret < 0 || !all)
		return UNSEEN;
	ret = dp_devices_list(netlink, &again);
	if (!ret && (again.count != devices->count ||
		     (again.count && memcmp(again.device, devices->device,
					    again.count * sizeof(*again.device)))))
		ret = -EAGAIN;
	free(again.device);
	return ret;
}

static int use_count(struct dp_netlink *netlink, struct dp_device_list *devices,
		     struct dp_rdma_counts *ret_counts)
{
	int ret = dp_devices_list(netlink, devices);

	if (!ret && !dp_devices_are_shared(netlink))
		return EXCLUSIVE;
	if (!ret)
		ret = use_agree(netlink, devices, ret_counts);
	return ret ? ret : use_find_removed(netlink, devices);
}

int dp_rdma_use_count(const struct dp_errmsg *errmsg, struct dp_rdma_counts *ret_counts)
{
	struct dp_device_list devices = { 0 };
	struct dp_rdma_counts counts = { 0 };
	struct dp_netlink netlink;
	int ret = dp_netlink_open(&netlink);

	if (ret == -EPROTONOSUPPORT && dp_devices_have_no_support()) {
		*ret_counts = counts;
		return 0;
	}
	if (!ret) {
		ret = use_count(&netlink, &devices, &counts);
		free(devices.device);
		dp_netlink_close(&netlink);
	}
	if (ret)
		return use_fail(ret, errmsg);
	*ret_counts = counts;
	return 0;
}
