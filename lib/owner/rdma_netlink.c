/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RDMA netlink, as much of it as the question needs: a dump of the devices,
 * and of each device's contexts. What the kernel does, seen on 6.12 and 7.3:
 *
 *  - A context is listed from its making until its last object is destroyed,
 *    whoever keeps it: a forked child's mapping is enough.
 *  - Its pid is its maker's thread id and is left out once that thread is
 *    reaped, or when it is not of the asker's pid namespace.
 *  - A device leaves the list when its removal begins; its directory in sysfs
 *    goes after the last object of its contexts. 6.12 waits in between until
 *    the processes close their contexts, 7.3 takes these away (docs/rdma.md).
 *  - A dump of several messages skips an entry when an earlier one is freed
 *    between two of them. Ids are not used again soon, so two dumps that list
 *    the same ids show that nothing was freed meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <rdma/rdma_netlink.h>
#include <stdlib.h>
#include "os/os.h"
#include "owner/rdma_netlink.h"

#define BUFFER_SIZE	(32u << 10)	/* the most of a dump at once */
#define DUMPS_MAX	8		/* until two agree */

/* A conversation with the kernel. */
struct talk {
	int fd;
	uint32_t sequence;
	uint32_t messages;		/* of the answer so far */
	char *buffer;
};

struct device {
	uint32_t index;
	bool named;			/* the caller asked for it */
	char name[DP_DEVICE_NAME_MAX];
};

struct device_list {
	const char (*name)[DP_DEVICE_NAME_MAX];
	uint32_t names;
	uint32_t named;			/* names that were found */
	uint32_t count;
	struct device *device;
};

struct context_list {
	dp_verbs_filter *filter;
	void *arg;
	int count;
	uint64_t ids;			/* a digest of those of all contexts */
};

/* Attributes that stand side by side. */
struct attributes {
	const char *at;
	size_t left;
};

/* ------------------------------------------------------------ the protocol */

static const struct nlattr *attribute_next(struct attributes *set)
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

static struct attributes attribute_inside(const struct nlattr *attr)
{
	if (!attr)
		return (struct attributes) { NULL, 0 };
	return (struct attributes) {
		(const char *)attr + NLA_HDRLEN, attr->nla_len - NLA_HDRLEN
	};
}

static const struct nlattr *attribute_find(struct attributes set,
					   unsigned int type)
{
	const struct nlattr *attr;

	do
		attr = attribute_next(&set);
	while (attr && (attr->nla_type & NLA_TYPE_MASK) != type);
	return attr;
}

static bool attribute_u32(struct attributes set, unsigned int type,
			  uint32_t *ret_value)
{
	const struct nlattr *attr = attribute_find(set, type);
	const struct attributes in = attribute_inside(attr);

	if (in.left < sizeof(*ret_value))
		return false;
	memcpy(ret_value, in.at, sizeof(*ret_value));
	return true;
}

/* Ask for a dump; of one device's when index is given. */
static int netlink_ask(struct talk *talk, unsigned int command,
		       const uint32_t *index)
{
	struct {
		struct nlmsghdr header;
		struct nlattr attr;
		uint32_t index;
	} request = {
		.header = {
			.nlmsg_len = index ? sizeof(request) : NLMSG_HDRLEN,
			.nlmsg_type = RDMA_NL_GET_TYPE(RDMA_NL_NLDEV, command),
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			.nlmsg_seq = ++talk->sequence,
		},
		.attr = {
			.nla_len = NLA_HDRLEN + sizeof(request.index),
			.nla_type = RDMA_NLDEV_ATTR_DEV_INDEX,
		},
		.index = index ? *index : 0,
	};

	return dp_os_netlink_send(talk->fd, &request, request.header.nlmsg_len);
}

typedef int digest_fn(struct attributes message, void *arg);

/* What came in one piece. 1: the dump ended with it. */
static int netlink_digest(struct talk *talk, uint32_t length, digest_fn *fn,
			  void *arg)
{
	const struct nlmsghdr *m = (const struct nlmsghdr *)talk->buffer;
	int ret = 0;

	for (; !ret && NLMSG_OK(m, length); m = NLMSG_NEXT(m, length)) {
		const uint32_t size = NLMSG_PAYLOAD(m, 0);
		const char *payload = NLMSG_DATA(m);

		if (m->nlmsg_seq != talk->sequence)
			continue;
		if (m->nlmsg_type == NLMSG_DONE ||
		    m->nlmsg_type == NLMSG_ERROR) {
			if (size >= sizeof(ret))
				memcpy(&ret, payload, sizeof(ret));
			return ret < 0 ? ret : 1;
		}
		talk->messages++;
		ret = fn((struct attributes) { payload, size }, arg);
	}
	return ret;
}

static int netlink_dump(struct talk *talk, unsigned int command,
			const uint32_t *index, digest_fn *fn, void *arg)
{
	int ret = netlink_ask(talk, command, index);

	talk->messages = 0;
	while (!ret) {
		ret = dp_os_netlink_receive(talk->fd, talk->buffer,
					    BUFFER_SIZE);
		if (ret >= 0)
			ret = netlink_digest(talk, ret, fn, arg);
	}
	return ret < 0 ? ret : 0;
}

/* --------------------------------------------------------------- devices */

static bool netlink_is_named(const struct device_list *list, const char *name)
{
	for (uint32_t i = 0; i < list->names; i++)
		if (!strncmp(list->name[i], name, DP_DEVICE_NAME_MAX))
			return true;
	return false;
}

static void netlink_read_name(struct attributes message,
			      char name[DP_DEVICE_NAME_MAX])
{
	const struct attributes in = attribute_inside(
		attribute_find(message, RDMA_NLDEV_ATTR_DEV_NAME));

	memset(name, 0, DP_DEVICE_NAME_MAX);
	if (in.left)
		memcpy(name, in.at, dp_min(in.left, DP_DEVICE_NAME_MAX - 1u));
}

static int device_add(struct attributes message, void *arg)
{
	struct device_list *list = arg;
	struct device *more, new;

	if (!attribute_u32(message, RDMA_NLDEV_ATTR_DEV_INDEX, &new.index))
		return 0;
	netlink_read_name(message, new.name);
	new.named = netlink_is_named(list, new.name);
	more = realloc(list->device, (list->count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	more[list->count++] = new;
	list->device = more;
	list->named += new.named;
	return 0;
}

static int device_is(struct attributes message, void *arg)
{
	uint32_t index, *wanted = arg;

	if (attribute_u32(message, RDMA_NLDEV_ATTR_DEV_INDEX, &index) &&
	    index == *wanted)
		*wanted = UINT32_MAX;	/* found: no such index */
	return 0;
}

static int device_exists(struct talk *talk, uint32_t index)
{
	int ret =
		netlink_dump(talk, RDMA_NLDEV_CMD_GET, NULL, device_is, &index);

	return ret ? ret : index == UINT32_MAX;
}

struct sysfs_scan {
	const struct device_list *list;
	uint32_t unlisted;
};

static int netlink_sysfs_entry(const char *name, void *arg)
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

/*
 * How many devices sysfs has that are not in the list, which was made before:
 * those that are being removed. A device that came or was renamed meanwhile
 * counts too; the next look will tell.
 */
static int netlink_count_unlisted(const struct device_list *list)
{
	struct sysfs_scan scan = { .list = list };
	struct stat stat;
	int ret, dir = dp_os_open(AT_FDCWD, "/sys/class/infiniband",
				  O_RDONLY | O_DIRECTORY, 0);

	/* No such class, or no sysfs? */
	if (dir == -ENOENT)
		return dp_os_stat(AT_FDCWD, "/sys/module", &stat);
	if (dir < 0)
		return dir;
	ret = dp_os_list(dir, netlink_sysfs_entry, &scan);
	dp_os_close(dir);
	return ret < 0 ? ret : (int)scan.unlisted;
}

/* -------------------------------------------------------------- contexts */

static int context_add(struct attributes message, void *arg)
{
	struct context_list *list = arg;
	struct attributes table = attribute_inside(
		attribute_find(message, RDMA_NLDEV_ATTR_RES_CTX));
	const struct nlattr *entry;

	while ((entry = attribute_next(&table))) {
		const struct attributes in = attribute_inside(entry);
		uint32_t id, pid = 0;

		/* The kernel's own have neither id nor pid. */
		if (!attribute_u32(in, RDMA_NLDEV_ATTR_RES_CTXN, &id))
			continue;
		attribute_u32(in, RDMA_NLDEV_ATTR_RES_PID, &pid);
		list->ids = (list->ids ^ id) * 0x100000001b3ull;
		list->count += list->filter(pid, list->arg);
	}
	return 0;
}

/* The contexts of one device, of a dump that missed none. */
static int contexts_count(struct talk *talk, uint32_t index,
			  dp_verbs_filter *filter, void *arg)
{
	uint64_t before = 0;

	for (int i = 0; i < DUMPS_MAX; i++) {
		struct context_list list = {
			.filter = filter, .arg = arg, .ids = 1,
		};
		int ret = netlink_dump(talk, RDMA_NLDEV_CMD_RES_CTX_GET, &index,
				       context_add, &list);

		if (ret == -EINVAL) {
			ret = device_exists(talk, index);
			/* Being removed since a moment: look again. */
			if (!ret)
				return filter(0, arg);
			return ret > 0 ? -EOPNOTSUPP : ret;
		}
		if (ret || talk->messages <= 1 || list.ids == before ||
		    list.count)
			return ret ? ret : list.count;
		before = list.ids;
	}
	return -EAGAIN;
}

/*
 * Of the devices named, or of all when none is named, or when one of these is
 * not to be found: it may have been renamed, and removed after that.
 */
static int devices_count(struct talk *talk, struct device_list *list,
			 dp_verbs_filter *filter, void *arg)
{
	bool all;
	int ret, count = 0, unlisted = 0;

	ret = netlink_dump(talk, RDMA_NLDEV_CMD_GET, NULL, device_add, list);
	all = !list->names || list->named < list->names;
	for (uint32_t i = 0; ret >= 0 && i < list->count; i++) {
		if (!all && !list->device[i].named)
			continue;
		ret = contexts_count(talk, list->device[i].index, filter, arg);
		count += ret > 0 ? ret : 0;
	}
	if (ret >= 0 && all && !count)
		unlisted = netlink_count_unlisted(list);
	if (ret < 0)
		return ret;
	if (unlisted <= 0)
		return unlisted < 0 ? unlisted : count;
	return filter(0, arg) ? unlisted : 0;
}

/* --------------------------------------------------------- the whole answer */

/*
 * No socket of that protocol: ib_core is not in the kernel, and so neither is
 * a context, each of which keeps it there. A filter of system calls may say
 * the same, so sysfs must agree.
 */
static bool has_no_rdma(void)
{
	struct stat stat;

	return !dp_os_stat(AT_FDCWD, "/sys/module", &stat) &&
	       dp_os_stat(AT_FDCWD, "/sys/module/ib_core", &stat) == -ENOENT &&
	       dp_os_stat(AT_FDCWD, "/sys/class/infiniband", &stat) == -ENOENT;
}

static int netlink_cannot_tell(int error, const struct dp_why *why)
{
	if (error == -ENOMEM)
		return error;
	if (error == -EOPNOTSUPP)
		return dp_fail(why, -EBUSY,
			       "a dead owner may still write into the pool by RDMA, and this kernel does not list verbs contexts (Linux 5.14 and later do): reboot, then open");
	return dp_fail(why, -EBUSY,
		       "a dead owner may still write into the pool by RDMA, and RDMA netlink does not tell (%s): allow socket(AF_NETLINK, SOCK_RAW, NETLINK_RDMA) to this process, or reboot, then open",
		       strerror(-error));
}

int dp_verbs_count(const char (*device)[DP_DEVICE_NAME_MAX], uint32_t devices,
		   dp_verbs_filter *filter, void *arg,
		   const struct dp_why *why)
{
	struct device_list list = { .name = device, .names = devices };
	struct talk talk = { .fd = dp_os_netlink(NETLINK_RDMA) };
	int ret = -ENOMEM;

	assert(devices);
	if (talk.fd == -EPROTONOSUPPORT && has_no_rdma())
		return 0;
	if (talk.fd < 0)
		return netlink_cannot_tell(talk.fd, why);
	talk.buffer = malloc(BUFFER_SIZE);
	if (talk.buffer)
		ret = devices_count(&talk, &list, filter, arg);
	free(list.device);
	free(talk.buffer);
	dp_os_close(talk.fd);
	return ret < 0 ? netlink_cannot_tell(ret, why) : ret;
}

/* --------------------------------------------------------- every context */

/* Fixed since Linux 3.8 (the kernel's PROC_PID_INIT_INO). */
#define INITIAL_PID_NAMESPACE	0xEFFFFFFCu

static bool netlink_every(uint32_t pid, void *arg)
{
	(void)pid;
	(void)arg;
	return true;
}

/* Does RDMA netlink show this process all there is on the machine? */
static int netlink_check_outlook(const struct dp_why *why)
{
	struct stat stat;
	char mode[8];

	if (dp_os_stat(AT_FDCWD, "/proc/self/ns/pid", &stat) ||
	    stat.st_ino != INITIAL_PID_NAMESPACE)
		return dp_fail(why, -EBUSY,
			       "the record of the pool's last owner was lost with a damaged superblock, and whether its RDMA is over can only be told from the initial pid namespace, with /proc: open the pool there once");
	if (dp_os_read_file("/sys/module/ib_core/parameters/netns_mode", mode,
			    sizeof(mode)) < 0 || mode[0] != 'Y')
		return dp_fail(why, -EBUSY,
			       "the record of the pool's last owner was lost with a damaged superblock, and whether its RDMA is over cannot be told while network namespaces have RDMA devices for themselves: `rdma system set netns shared`, mount /sys, or reboot without RDMA");
	return 0;
}

static int netlink_count_every(struct talk *talk)
{
	struct device_list list = { .name = NULL };
	int ret = devices_count(talk, &list, netlink_every, NULL);

	free(list.device);
	return ret;
}

int dp_verbs_count_all(const struct dp_why *why)
{
	struct talk talk = { .fd = dp_os_netlink(NETLINK_RDMA) };
	int ret;

	if (talk.fd == -EPROTONOSUPPORT && has_no_rdma())
		return 0;
	if (talk.fd < 0)
		return netlink_cannot_tell(talk.fd, why);
	ret = netlink_check_outlook(why);
	if (ret) {
		dp_os_close(talk.fd);
		return ret;
	}
	ret = -ENOMEM;
	talk.buffer = malloc(BUFFER_SIZE);
	if (talk.buffer)
		ret = netlink_count_every(&talk);
	free(talk.buffer);
	dp_os_close(talk.fd);
	return ret < 0 ? netlink_cannot_tell(ret, why) : ret;
}
