/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The argument, for each source:
 *
 *  - The boot id is the kernel's own if the file is on procfs and not the root of a
 *    mount: containers mount a file of theirs over it. Two such ids that differ
 *    prove a reboot. Anything else proves nothing.
 *  - A pid has a meaning only in its pid namespace. NStgid in /proc/PID/status
 *    ends with the process's id in its own namespace, as getpid() returned it to
 *    the owner: a different id there is a different process. If the ids are equal, the
 *    numbers of the pid namespaces are compared. A process never leaves its namespace,
 *    which exists at least as long as the process. So different namespace numbers are
 *    different processes. Equal ones prove nothing, since the kernel reuses them.
 *  - /proc may show another pid namespace than that of the process that reads it.
 *    Then NStgid of /proc/self has more than one number.
 *  - Start times are compared only if the thread belongs to this process, because this
 *    process may be the owner after an exec(). They must be of one time namespace.
 *  - /proc/sys/net/core has netdev_budget in the initial network namespace only.
 *    /sys shows the network namespace of the process that mounted it, which can
 *    differ from this one's: so the names of the network devices are compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include "os/os.h"
#include "os/process.h"
#include "owner/lock_holder.h"
#include "owner/place.h"

#define TEXT_SIZE	4096
#define PATH_SIZE	64
#define NETDEVS_SIZE	(64u << 10)

#define BOOT_ID		"/proc/sys/kernel/random/boot_id"

/* ------------------------------------------------------------- this process */

static bool place_has_genuine(const char *path, uint64_t magic)
{
	return dp_os_is_genuine(path, magic) == 1;
}

/* 16 bytes from hexadecimal digits; the dashes between them are skipped. */
static bool place_read_boot_id(uint8_t boot_id[16])
{
	uint8_t bytes[16] = { 0 };
	char text[64];
	unsigned int digits = 0;
	uint8_t *byte;
	int digit;

	if (dp_os_read_file(BOOT_ID, text, sizeof(text)) < 0)
		return false;
	for (const char *c = text; *c && digits < 32; c++) {
		digit = dp_hex_digit(*c);
		if (digit < 0)
			continue;
		byte = &bytes[digits++ / 2];
		*byte = (uint8_t)(*byte << 4 | digit);
	}
	if (digits < 32)
		return false;
	memcpy(boot_id, bytes, sizeof(bytes));
	return true;
}

/* Its number, or 0: not known. */
static uint64_t place_read_namespace(const char *path)
{
	struct stat stat;

	if (!place_has_genuine(path, NSFS_MAGIC) ||
	    dp_os_stat(path, &stat))
		return 0;
	return stat.st_ino;
}

/* The name in between may hold anything, so the rest follows the last ')'. */
static uint64_t place_read_start_time(const char *path)
{
	const char *rest;
	char text[TEXT_SIZE];
	uint64_t ticks;

	if (!place_has_genuine(path, PROC_SUPER_MAGIC) ||
	    dp_os_read_file(path, text, sizeof(text)) < 0)
		return 0;
	rest = strrchr(text, ')');
	if (!rest || sscanf(rest + 1,
			    " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64,
			    &ticks) != 1)
		return 0;
	return ticks;
}

void dp_place_describe(struct dp_owner *ret_owner)
{
	struct dp_owner self = { .pid = dp_os_pid() };

	if (place_read_boot_id(self.boot_id) &&
	    place_has_genuine(BOOT_ID, PROC_SUPER_MAGIC))
		self.flags |= DP_OWNER_BOOT_GENUINE;
	self.pid_namespace = place_read_namespace("/proc/self/ns/pid");
	self.time_namespace = place_read_namespace("/proc/self/ns/time");
	self.start_time = place_read_start_time("/proc/self/stat");
	*ret_owner = self;
}

bool dp_place_is_another_boot(const struct dp_owner *owner)
{
	struct dp_owner self;

	dp_place_describe(&self);
	return (owner->flags & self.flags & DP_OWNER_BOOT_GENUINE) &&
	       memcmp(owner->boot_id, self.boot_id, sizeof(self.boot_id));
}

enum dp_tristate dp_place_is_alive(const struct dp_owner *owner)
{
	struct dp_owner self;
	char path[PATH_SIZE];
	uint64_t start;

	if (dp_place_is_another_boot(owner))
		return DP_NO;
	dp_place_describe(&self);
	if (!self.pid_namespace || self.pid_namespace != owner->pid_namespace ||
	    memcmp(self.boot_id, owner->boot_id, sizeof(self.boot_id)))
		return DP_UNKNOWN;
	if (owner->pid > INT_MAX || dp_lock_holder_is_dead((int)owner->pid))
		return DP_NO;
	snprintf(path, sizeof(path), "/proc/%u/stat", owner->pid);
	start = place_read_start_time(path);
	if (!start || !owner->start_time || !self.time_namespace ||
	    self.time_namespace != owner->time_namespace)
		return DP_UNKNOWN;
	return start == owner->start_time ? DP_YES : DP_NO;
}

/* ------------------------------------------------------------ other threads */

/* A process's ids, from that of /proc's pid namespace to that of its own. */
struct ids {
	uint32_t count;			/* 0: they could not be read */
	uint32_t last;
};

/* Read the NStgid line of a status file. No process name can contain such a line,
 * because the kernel escapes newlines in names. */
static struct ids place_read_ids(const char *path)
{
	struct ids ids = { 0 };
	char text[TEXT_SIZE];
	unsigned long id;
	char *at, *end;

	if (!place_has_genuine(path, PROC_SUPER_MAGIC) ||
	    dp_os_read_file(path, text, sizeof(text)) < 0)
		return ids;
	at = strstr(text, "\nNStgid:");
	if (!at)
		return ids;
	at += sizeof("\nNStgid:") - 1;
	while (*at == '\t' || *at == ' ') {
		id = strtoul(at, &end, 10);
		if (end == at)
			break;
		ids.count++;
		ids.last = (uint32_t)id;
		at = end;
	}
	return ids;
}

/* Is it proven that this process and the owner started at different times? Start times
 * are comparable only in the same time namespace. */
static bool place_began_later(const struct dp_owner *owner)
{
	struct dp_owner self;

	dp_place_describe(&self);
	return self.time_namespace && self.start_time && owner->start_time &&
	       self.time_namespace == owner->time_namespace &&
	       self.start_time != owner->start_time;
}

bool dp_place_is_outside(const struct dp_owner *owner, uint32_t thread)
{
	const struct ids self = place_read_ids("/proc/self/status");
	uint64_t namespace;
	char path[PATH_SIZE];
	struct ids ids;

	if (self.count != 1 || self.last != (uint32_t)dp_os_pid())
		return false;
	snprintf(path, sizeof(path), "/proc/%u/status", thread);
	ids = place_read_ids(path);
	if (!ids.count)
		return false;
	if (ids.last != owner->pid)
		return true;
	snprintf(path, sizeof(path), "/proc/%u/ns/pid", thread);
	namespace = place_read_namespace(ids.count == 1 ? "/proc/self/ns/pid" :
							  path);
	if (namespace && owner->pid_namespace &&
	    namespace != owner->pid_namespace)
		return true;
	return dp_os_is_own_thread((int)thread) && place_began_later(owner);
}

/* ------------------------------------------------------------- the network */

struct netdevs {
	const char *text;		/* of /proc/self/net/dev */
	uint32_t same;
	bool differ;
};

static int place_compare_netdev(const char *name, void *arg)
{
	struct netdevs *netdevs = arg;
	const char *at = netdevs->text;
	const size_t length = strlen(name);

	if (name[0] == '.' || !strcmp(name, "bonding_masters"))
		return 0;
	for (; (at = strstr(at, name)); at += length)
		if (at > netdevs->text && (at[-1] == ' ' || at[-1] == '\n') &&
		    at[length] == ':')
			break;
	netdevs->same += at != NULL;
	netdevs->differ |= !at;
	return 0;
}

/* Lines that name a device; the heading has no colon. */
static uint32_t place_count_netdevs(const char *text)
{
	uint32_t count = 0;

	for (; (text = strchr(text, ':')); text++)
		count++;
	return count;
}

static bool place_sys_has_our_netdevs(char *text)
{
	struct netdevs netdevs = { .text = text };
	int ret, dir, length;

	length = dp_os_read_file("/proc/self/net/dev", text, NETDEVS_SIZE);
	if (length < 0 || length == NETDEVS_SIZE - 1)
		return false;
	dir = dp_os_open(AT_FDCWD, "/sys/class/net", O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0)
		return false;
	ret = dp_os_list(dir, place_compare_netdev, &netdevs);
	dp_os_close(dir);
	return !ret && !netdevs.differ &&
	       netdevs.same == place_count_netdevs(text);
}

bool dp_place_sees_initial_network(void)
{
	char *text;
	bool same;

	if (!place_has_genuine("/proc/sys/net/core/netdev_budget",
			       PROC_SUPER_MAGIC) ||
	    !place_has_genuine("/proc/self/net/dev", PROC_SUPER_MAGIC) ||
	    !place_has_genuine("/sys/class/net", SYSFS_MAGIC))
		return false;
	text = malloc(NETDEVS_SIZE);
	same = text && place_sys_has_our_netdevs(text);
	free(text);
	return same;
}
