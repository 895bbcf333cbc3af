/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device stores into memory only through a memory region of verbs, and RDMA netlink
 * lists the regions of each device. What the kernel does, seen on 6.1, 6.12 and 7.3
 * (rdma.md R19):
 *
 *  - A region is listed from its registration to its end, in every pid namespace, with
 *    the id of the thread that registered it, whoever opened the verbs context. It
 *    covers memory of that thread's process.
 *  - Once that thread was reaped the id is left out, as in other pid namespaces.
 *  - A list of several messages can lose an entry if another one ends meanwhile. If two
 *    lists in a row are the same, no entry has ended meanwhile, and the second is
 *    complete (owner/rdma_netlink.c).
 *
 * That an id is of no thread of this process is asked between two such lists. Both have
 * the id, so its thread had not ended when that was asked.
 */
#include "ofi/regions.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "util/netlink.h"

#define ROUNDS_MAX	8		/* until two lists agree */

struct regions_list {
	const char *device;		/* its name */
	bool is_listed;
	uint32_t index;			/* ... if it is listed */
	uint64_t ids;			/* a digest of the index and of all entries */
	struct dp_regions regions;
};

static void regions_digest(struct regions_list *list, uint32_t value)
{
	list->ids = (list->ids ^ value) * 0x100000001b3ull;
}

static int regions_find_device(struct dp_attributes message, void *arg)
{
	struct regions_list *list = arg;
	const struct dp_attributes name =
		dp_attribute_find(message, RDMA_NLDEV_ATTR_DEV_NAME);
	const size_t length = strlen(list->device);

	if (name.left <= length || memcmp(name.at, list->device, length + 1))
		return 0;
	list->is_listed = dp_attribute_u32(message, RDMA_NLDEV_ATTR_DEV_INDEX,
					   &list->index);
	return 0;
}

/* By number, since /proc may be that of another pid namespace. What cannot be asked
 * counts as a thread of this process. */
static bool regions_is_own_thread(uint32_t thread)
{
	return !syscall(SYS_tgkill, getpid(), (pid_t)thread, 0) || errno != ESRCH;
}

static void regions_add(struct regions_list *list, struct dp_attributes region)
{
	uint32_t number = 0, thread = 0;
	const bool is_numbered =
		dp_attribute_u32(region, RDMA_NLDEV_ATTR_RES_MRN, &number);

	const bool is_named =
		dp_attribute_u32(region, RDMA_NLDEV_ATTR_RES_PID, &thread);

	regions_digest(list, number);
	regions_digest(list, thread);
	/* Those of the kernel's own users are of no process. */
	if (dp_attribute_find(region, RDMA_NLDEV_ATTR_RES_KERN_NAME).left)
		return;
	if (!is_numbered || !is_named)
		list->regions.unknown++;
	else if (regions_is_own_thread(thread))
		list->regions.own++;
}

static int regions_read_table(struct dp_attributes message, void *arg)
{
	struct dp_attributes region, table =
		dp_attribute_find(message, RDMA_NLDEV_ATTR_RES_MR);

	while (dp_attribute_next(&table, &region))
		regions_add(arg, region);
	return 0;
}

static int regions_ignore(struct dp_attributes message, void *arg)
{
	(void)message;
	(void)arg;
	return 0;
}

/* Kernels before 5.5 leave out what they show no id for. A kernel that lists contexts
 * is newer. */
static int regions_check_kernel(struct dp_netlink *netlink,
				const struct dp_netlink_u32 *index)
{
	int ret = dp_netlink_dump(netlink, RDMA_NLDEV_CMD_RES_CTX_GET, index,
				  regions_ignore, NULL);

	return ret == -EINVAL ? -EOPNOTSUPP : ret;
}

static int regions_list(struct dp_netlink *netlink, struct regions_list *list)
{
	struct dp_netlink_u32 index = { RDMA_NLDEV_ATTR_DEV_INDEX, 0 };
	int ret = dp_netlink_dump(netlink, RDMA_NLDEV_CMD_GET, NULL,
				  regions_find_device, list);

	if (ret)
		return ret;
	if (!list->is_listed)
		return -ENODEV;
	index.value = list->index;
	regions_digest(list, list->index);
	ret = dp_netlink_dump(netlink, RDMA_NLDEV_CMD_RES_MR_GET, &index,
			      regions_read_table, list);
	if (ret == -EINVAL)	/* it was removed */
		return -ENODEV;
	return ret ? ret : regions_check_kernel(netlink, &index);
}

/* 0: two lists in a row agree, and *ret_regions is what was asked after the first. */
static int regions_agree(struct dp_netlink *netlink, const char *device,
			 struct dp_regions *ret_regions)
{
	struct regions_list list, before = { 0 };
	int ret;

	for (int i = 0; i < ROUNDS_MAX; i++) {
		list = (struct regions_list) { .device = device, .ids = 1 };
		ret = regions_list(netlink, &list);
		if (ret)
			return ret;
		if (i && list.ids == before.ids) {
			*ret_regions = before.regions;
			return 0;
		}
		before = list;
	}
	return -EAGAIN;
}

static void regions_close(int fd)
{
	close(fd);
}

int dp_regions_count(const char *device, struct dp_regions *ret_regions)
{
	static const struct dp_netlink_calls calls = {
		dp_netlink_socket, dp_netlink_send, dp_netlink_receive, regions_close,
	};
	struct dp_netlink netlink;
	int ret = dp_netlink_open(&netlink, &calls);

	if (ret)
		return ret;
	ret = regions_agree(&netlink, device, ret_regions);
	dp_netlink_close(&netlink);
	return ret;
}
