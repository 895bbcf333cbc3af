/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel does, seen on 6.1, 6.12 and 7.3:
 *
 *  - Devices are numbered in ascending order. A renamed device keeps its number.
 *  - netlink does not list a device from the moment its removal begins. Its directory
 *    in sysfs disappears after the last object of its contexts was destroyed: 6.12
 *    waits until the processes have closed their contexts, 7.3 destroys the objects
 *    itself (docs/rdma.md R1). Only sysfs of the initial network namespace shows the
 *    device until then.
 *  - If network namespaces have exclusive devices, a request for a device of another
 *    namespace returns -EINVAL, as for a device that does not exist.
 *  - An open uverbs file is a reference to the module ib_uverbs, in every
 *    namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include "os/os.h"
#include "owner/place.h"
#include "owner/rdma_devices.h"

/* ------------------------------------------------------- without netlink */

static bool devices_sysfs_has(const char *path)
{
	struct stat stat;

	return !dp_os_stat(path, &stat);
}

static int devices_count_name(const char *name, void *arg)
{
	*(uint32_t *)arg += name[0] != '.';
	return 0;
}

/* References to the module by other modules. */
static int devices_count_holders(uint32_t *ret_count)
{
	uint32_t count = 0;
	int ret, dir = dp_os_open(AT_FDCWD, "/sys/module/ib_uverbs/holders",
				  O_RDONLY | O_DIRECTORY, 0);

	if (dir < 0)
		return dir;
	ret = dp_os_list(dir, devices_count_name, &count);
	dp_os_close(dir);
	*ret_count = count;
	return ret;
}

/*
 * /sys/module is the same in all namespaces. Code that is built into the kernel has no
 * refcnt there. But if ib_core is a module, ib_uverbs is a module as well, so if it is
 * missing it is not loaded.
 */
bool dp_devices_none_is_open(void)
{
	char text[16];
	uint32_t holders;

	if (dp_os_is_genuine("/sys/module", SYSFS_MAGIC) != 1)
		return false;
	if (!devices_sysfs_has("/sys/module/ib_uverbs"))
		return devices_sysfs_has("/sys/module/ib_core/refcnt");
	return dp_os_is_genuine("/sys/module/ib_uverbs/refcnt",
				SYSFS_MAGIC) == 1 &&
	       !devices_count_holders(&holders) &&
	       dp_os_read_file("/sys/module/ib_uverbs/refcnt", text,
			       sizeof(text)) > 0 &&
	       (uint32_t)atoi(text) <= holders;
}

/*
 * Without ib_core the kernel refuses a socket of RDMA netlink, and no verbs context
 * exists, because a context prevents ib_core from being unloaded. A seccomp filter may
 * refuse the socket as well, so sysfs must also show that ib_core is missing.
 */
bool dp_devices_have_no_support(void)
{
	return dp_os_is_genuine("/sys/module", SYSFS_MAGIC) == 1 &&
	       !devices_sysfs_has("/sys/module/ib_core") &&
	       !devices_sysfs_has("/sys/class/infiniband");
}

/* ---------------------------------------------------------------- devices */

static int device_ignore(struct dp_attributes message, void *arg)
{
	(void)message;
	(void)arg;
	return 0;
}

static void device_read_name(struct dp_attributes message,
			    char name[DP_DEVICE_NAME_MAX])
{
	const struct dp_attributes in =
		dp_attribute_find(message, RDMA_NLDEV_ATTR_DEV_NAME);

	memset(name, 0, DP_DEVICE_NAME_MAX);
	if (in.left)
		memcpy(name, in.at, dp_min(in.left, DP_DEVICE_NAME_MAX - 1u));
}

static int device_add(struct dp_attributes message, void *arg)
{
	struct dp_device_list *list = arg;
	struct dp_device *more, new;

	if (!dp_attribute_u32(message, RDMA_NLDEV_ATTR_DEV_INDEX, &new.index))
		return 0;
	device_read_name(message, new.name);
	more = realloc(list->device, (list->count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	more[list->count++] = new;
	list->device = more;
	return 0;
}

static int device_keep_name(struct dp_attributes message, void *arg)
{
	device_read_name(message, arg);
	return 0;
}

int dp_devices_list(struct dp_netlink *netlink, struct dp_device_list *list)
{
	return dp_netlink_dump(netlink, RDMA_NLDEV_CMD_GET, NULL, device_add,
			       list);
}

static int device_find(struct dp_netlink *netlink, uint32_t index,
		       dp_netlink_fn *fn, void *arg)
{
	const struct dp_netlink_u32 name = { RDMA_NLDEV_ATTR_DEV_INDEX, index };

	return dp_netlink_get(netlink, RDMA_NLDEV_CMD_GET, &name, 1, fn, arg);
}

int dp_device_check(struct dp_netlink *netlink, uint32_t index)
{
	return device_find(netlink, index, device_ignore, NULL);
}

void dp_device_name(uint32_t index, char name[DP_DEVICE_NAME_MAX])
{
	struct dp_netlink netlink;
	int ret = dp_netlink_open(&netlink);

	name[0] = '\0';
	if (!ret) {
		ret = device_find(&netlink, index, device_keep_name, name);
		dp_netlink_close(&netlink);
	}
	if (ret || !name[0])
		snprintf(name, DP_DEVICE_NAME_MAX, "device %u", index);
}

static int devices_read_mode(struct dp_attributes message, void *arg)
{
	const struct dp_attributes in =
		dp_attribute_find(message, RDMA_NLDEV_SYS_ATTR_NETNS_MODE);

	*(bool *)arg = in.left && in.at[0] == 1;
	return 0;
}

bool dp_devices_are_shared(struct dp_netlink *netlink)
{
	bool shared = false;

	return !dp_netlink_get(netlink, RDMA_NLDEV_CMD_SYS_GET, NULL, 0,
			       devices_read_mode, &shared) && shared;
}

struct sysfs_scan {
	const struct dp_device_list *list;
	uint32_t unlisted;
};

static int devices_sysfs_entry(const char *name, void *arg)
{
	struct sysfs_scan *scan = arg;

	if (name[0] == '.')
		return 0;
	for (uint32_t i = 0; i < scan->list->count; i++)
		if (!strncmp(scan->list->device[i].name, name,
			     DP_DEVICE_NAME_MAX))
			return 0;
	scan->unlisted++;
	return 0;
}

int dp_devices_count_unlisted(const struct dp_device_list *list, bool *ret_all)
{
	struct sysfs_scan scan = { .list = list };
	int ret, dir = dp_os_open(AT_FDCWD, "/sys/class/infiniband",
				  O_RDONLY | O_DIRECTORY, 0);

	*ret_all = false;
	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	ret = dp_os_list(dir, devices_sysfs_entry, &scan);
	dp_os_close(dir);
	*ret_all = dp_os_is_genuine("/sys/class/infiniband", SYSFS_MAGIC) == 1 &&
		   dp_place_sees_initial_network();
	return ret < 0 ? ret : (int)scan.unlisted;
}
