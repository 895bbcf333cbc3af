/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fake kernel for the code that makes and judges the owner's record: RDMA netlink,
 * the files of /proc and /sys, and the ids of threads. The test defines what exists. A
 * file that it does not define does not exist. Link with --wrap of the functions that
 * fake_rdma_wraps lists in tests/unit/meson.build.
 */
#ifndef FAKE_RDMA_H
#define FAKE_RDMA_H

#include <errno.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <rdma/rdma_netlink.h>
#include <stdio.h>
#include <string.h>
#include "os/os.h"
#include "os/process.h"

#define FAKE_MAX	40
#define FAKE_FD		1000
#define FAKE_SOCKET	2000

struct fake_file {
	const char *path;
	uint64_t magic;			/* magic number of its filesystem */
	const char *text;		/* the content, or a directory's names */
	uint64_t inode;
	bool is_mounted;		/* mounted over the real file */
};

struct fake_object {
	uint32_t device;
	uint32_t number;
	uint32_t context;		/* the context of a domain */
	const char *kernels;		/* who in the kernel has a domain, or NULL */
	bool is_empty;			/* nothing is in the domain */
	uint32_t pid;			/* 0: not shown */
	uint32_t lost;			/* the number of lists that miss it */
	uint32_t hidden;		/* the number of queries that miss it */
};

static struct {
	int socket_error;
	int answer_error;		/* error of every query */
	bool exclusive;
	bool no_context_list;		/* a kernel before 5.14 */
	struct {
		uint32_t index;
		const char *name;
		bool unlisted;
	} device[FAKE_MAX];
	uint32_t devices;
	struct fake_object context[FAKE_MAX], domain[FAKE_MAX];
	uint32_t contexts, domains;
	struct fake_file file[FAKE_MAX];
	uint32_t files;
	int pid, thread;
	int own_thread[4];		/* other threads of this process */
	bool forbids_threads;		/* a filter of system calls, for these */
	int alive[8];			/* other processes and threads */
	void (*on_question)(unsigned int command);
	/* The library's queries. */
	uint32_t questions, sockets;
	/* The reply that was not read yet. */
	char answer[8192];
	size_t length;
	bool is_list;
} fake;

/* ------------------------------------------------------------------- files */

static inline struct fake_file *fake_find(const char *path)
{
	for (uint32_t i = 0; i < fake.files; i++)
		if (!strcmp(fake.file[i].path, path))
			return &fake.file[i];
	return NULL;
}

static inline struct fake_file *fake_put(const char *path, uint64_t magic,
					 const char *text)
{
	struct fake_file *file = fake_find(path);

	if (!file)
		file = &fake.file[fake.files++];
	assert(fake.files <= FAKE_MAX);
	*file = (struct fake_file) { .path = path, .magic = magic,
				     .text = text };
	return file;
}

static inline void fake_remove(const char *path)
{
	struct fake_file *file = fake_find(path);

	if (file)
		*file = fake.file[--fake.files];
}

int __wrap_dp_os_read_file(const char *path, char *buffer, size_t size);
int __wrap_dp_os_read_file(const char *path, char *buffer, size_t size)
{
	const struct fake_file *file = fake_find(path);

	if (!file || !file->text)
		return -ENOENT;
	snprintf(buffer, size, "%s", file->text);
	return (int)strlen(buffer);
}

int __wrap_dp_os_is_genuine(const char *path, uint64_t magic);
int __wrap_dp_os_is_genuine(const char *path, uint64_t magic)
{
	const struct fake_file *file = fake_find(path);

	if (!file)
		return -ENOENT;
	return file->magic == magic && !file->is_mounted;
}

int __wrap_dp_os_stat(const char *name, struct stat *ret_stat);
int __wrap_dp_os_stat(const char *name, struct stat *ret_stat)
{
	const struct fake_file *file = fake_find(name);

	if (!file)
		return -ENOENT;
	memset(ret_stat, 0, sizeof(*ret_stat));
	ret_stat->st_ino = file->inode;
	return 0;
}

int __wrap_dp_os_open(int dir, const char *name, int flags, unsigned int mode);
int __wrap_dp_os_open(int dir, const char *name, int flags, unsigned int mode)
{
	const struct fake_file *file = fake_find(name);

	(void)dir;
	(void)flags;
	(void)mode;
	return file ? FAKE_FD + (int)(file - fake.file) : -ENOENT;
}

int __wrap_dp_os_list(int dir, int (*fn)(const char *name, void *arg),
		      void *arg);
int __wrap_dp_os_list(int dir, int (*fn)(const char *name, void *arg), void *arg)
{
	char names[256], *save, *name;

	snprintf(names, sizeof(names), "%s", fake.file[dir - FAKE_FD].text);
	for (name = strtok_r(names, " ", &save); name;
	     name = strtok_r(NULL, " ", &save))
		if (fn(name, arg))
			break;
	return 0;
}

void __wrap_dp_os_close(int fd);
void __wrap_dp_os_close(int fd)
{
	fake.sockets -= fd >= FAKE_SOCKET;
}

/* ----------------------------------------------------------------- threads */

int __wrap_dp_os_pid(void);
int __wrap_dp_os_pid(void)
{
	return fake.pid;
}

int __wrap_dp_os_thread(void);
int __wrap_dp_os_thread(void)
{
	return fake.thread;
}

bool __wrap_dp_os_is_own_thread(int thread);
bool __wrap_dp_os_is_own_thread(int thread)
{
	for (unsigned int i = 0; i < 4; i++)
		if (fake.own_thread[i] && fake.own_thread[i] == thread)
			return true;
	return thread == fake.thread;
}

enum dp_tristate __wrap_dp_os_has_thread(int thread);
enum dp_tristate __wrap_dp_os_has_thread(int thread)
{
	if (fake.forbids_threads)
		return DP_UNKNOWN;
	return __wrap_dp_os_is_own_thread(thread) ? DP_YES : DP_NO;
}

int __wrap_dp_os_pid_exists(int pid);
int __wrap_dp_os_pid_exists(int pid)
{
	for (unsigned int i = 0; i < 8; i++)
		if (fake.alive[i] && fake.alive[i] == pid)
			return 1;
	return __wrap_dp_os_is_own_thread(pid);
}

/* ----------------------------------------------------------------- netlink */

static inline void fake_add(const void *bytes, size_t size)
{
	assert(fake.length + NLMSG_ALIGN(size) <= sizeof(fake.answer));
	memset(fake.answer + fake.length, 0, NLMSG_ALIGN(size));
	memcpy(fake.answer + fake.length, bytes, size);
	fake.length += NLMSG_ALIGN(size);
}

static inline void fake_attr(unsigned int type, const void *value, size_t size)
{
	struct nlattr attr = {
		.nla_len = (uint16_t)(NLA_HDRLEN + size),
		.nla_type = (uint16_t)type,
	};

	fake_add(&attr, sizeof(attr));
	fake_add(value, size);
}

static inline void fake_u32(unsigned int type, uint32_t value)
{
	fake_attr(type, &value, sizeof(value));
}

/* Begins a message or a nested attribute. fake_end() fills in the length. */
static inline size_t fake_begin(unsigned int type, uint32_t sequence)
{
	struct nlmsghdr header = {
		.nlmsg_type = (uint16_t)type, .nlmsg_seq = sequence,
	};
	size_t at = fake.length;

	fake_add(&header, sizeof(header));
	return at;
}

static inline void fake_end(size_t at)
{
	((struct nlmsghdr *)(void *)(fake.answer + at))->nlmsg_len =
		(uint32_t)(fake.length - at);
}

static inline size_t fake_nest(unsigned int type)
{
	struct nlattr attr = { .nla_type = (uint16_t)type };
	size_t at = fake.length;

	fake_add(&attr, sizeof(attr));
	return at;
}

static inline void fake_unnest(size_t at)
{
	((struct nlattr *)(void *)(fake.answer + at))->nla_len =
		(uint16_t)(fake.length - at);
}

static inline void fake_error(uint32_t sequence, unsigned int type, int error)
{
	size_t at = fake_begin(type, sequence);

	fake_add(&error, sizeof(error));
	fake_end(at);
}

static inline void fake_context(const struct fake_object *context)
{
	fake_u32(RDMA_NLDEV_ATTR_RES_CTXN, context->number);
	if (context->pid)
		fake_u32(RDMA_NLDEV_ATTR_RES_PID, context->pid);
}

static inline void fake_domain(const struct fake_object *domain)
{
	const uint64_t uses = !domain->is_empty;

	fake_u32(RDMA_NLDEV_ATTR_RES_PDN, domain->number);
	fake_attr(RDMA_NLDEV_ATTR_RES_USECNT, &uses, sizeof(uses));
	if (domain->kernels) {
		fake_attr(RDMA_NLDEV_ATTR_RES_KERN_NAME, domain->kernels,
			  strlen(domain->kernels) + 1);
		return;
	}
	fake_u32(RDMA_NLDEV_ATTR_RES_CTXN, domain->context);
	if (domain->pid)
		fake_u32(RDMA_NLDEV_ATTR_RES_PID, domain->pid);
}

/* The device of a query, and the object on it. UINT32_MAX: not given. */
struct fake_question {
	unsigned int command;
	uint32_t sequence;
	bool dump;
	uint32_t device, number;
};

static inline struct fake_question fake_read(const void *message, size_t size)
{
	const struct nlmsghdr *header = message;
	const char *at = (const char *)message + NLMSG_HDRLEN;
	struct fake_question q = {
		.command = header->nlmsg_type & 0x3ff,
		.sequence = header->nlmsg_seq,
		.dump = (header->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP,
		.device = UINT32_MAX, .number = UINT32_MAX,
	};

	assert(header->nlmsg_len == size && header->nlmsg_flags & NLM_F_REQUEST);
	while (at < (const char *)message + size) {
		const struct nlattr *attr = (const void *)at;
		uint32_t value;

		memcpy(&value, at + NLA_HDRLEN, sizeof(value));
		if (attr->nla_type == RDMA_NLDEV_ATTR_DEV_INDEX)
			q.device = value;
		else
			q.number = value;
		at += NLA_ALIGN(attr->nla_len);
	}
	return q;
}

static inline bool fake_has_device(uint32_t index)
{
	for (uint32_t i = 0; i < fake.devices; i++)
		if (fake.device[i].index == index && !fake.device[i].unlisted)
			return true;
	return false;
}

static inline void fake_list_devices(const struct fake_question *q)
{
	for (uint32_t i = 0; i < fake.devices; i++) {
		size_t at;

		if (fake.device[i].unlisted ||
		    (!q->dump && fake.device[i].index != q->device))
			continue;
		at = fake_begin(q->command, q->sequence);
		fake_u32(RDMA_NLDEV_ATTR_DEV_INDEX, fake.device[i].index);
		fake_attr(RDMA_NLDEV_ATTR_DEV_NAME, fake.device[i].name,
			  strlen(fake.device[i].name) + 1);
		fake_end(at);
	}
}

/*
 * Makes the message of a reply. For a dump it lists the objects of the device.
 * Otherwise it describes the object with the query's number: -ENOENT if there is none.
 */
static inline int fake_list_objects(const struct fake_question *q,
				    struct fake_object *object, uint32_t count,
				    unsigned int table,
				    void (*fill)(const struct fake_object *))
{
	size_t at = fake_begin(q->command, q->sequence), nest = 0, entry;
	int ret = -ENOENT;

	if (q->dump)
		nest = fake_nest(table);
	for (uint32_t i = 0; i < count; i++) {
		if (object[i].device != q->device)
			continue;
		if (q->dump && object[i].lost) {
			object[i].lost--;
			continue;
		}
		if (!q->dump && object[i].number != q->number)
			continue;
		if (!q->dump && object[i].hidden) {
			object[i].hidden--;
			continue;
		}
		entry = q->dump ? fake_nest(table + 1) : 0;
		fill(&object[i]);
		if (q->dump)
			fake_unnest(entry);
		ret = 0;
	}
	if (q->dump)
		fake_unnest(nest);
	fake_end(at);
	if (q->dump || !ret)
		return 0;
	fake.length = at;
	return ret;
}

static inline int fake_answer(const struct fake_question *q)
{
	const uint8_t shared = !fake.exclusive;
	size_t at;

	if (fake.answer_error)
		return fake.answer_error;
	if (q->command == RDMA_NLDEV_CMD_SYS_GET) {
		at = fake_begin(q->command, q->sequence);
		fake_attr(RDMA_NLDEV_SYS_ATTR_NETNS_MODE, &shared, 1);
		fake_end(at);
		return 0;
	}
	if (q->device != UINT32_MAX && !fake_has_device(q->device))
		return -EINVAL;
	if (q->command == RDMA_NLDEV_CMD_GET) {
		fake_list_devices(q);
		return 0;
	}
	if (q->command == RDMA_NLDEV_CMD_RES_PD_GET)
		return fake_list_objects(q, fake.domain, fake.domains,
					 RDMA_NLDEV_ATTR_RES_PD, fake_domain);
	assert(q->command == RDMA_NLDEV_CMD_RES_CTX_GET);
	if (fake.no_context_list)
		return -EINVAL;
	return fake_list_objects(q, fake.context, fake.contexts,
				 RDMA_NLDEV_ATTR_RES_CTX, fake_context);
}

int __wrap_dp_os_netlink(int protocol);
int __wrap_dp_os_netlink(int protocol)
{
	assert(protocol == NETLINK_RDMA);
	if (fake.socket_error)
		return fake.socket_error;
	fake.sockets++;
	return FAKE_SOCKET;
}

int __wrap_dp_os_netlink_send(int fd, const void *message, size_t size);
int __wrap_dp_os_netlink_send(int fd, const void *message, size_t size)
{
	const struct fake_question q = fake_read(message, size);
	int ret;

	assert(fd == FAKE_SOCKET);
	fake.questions++;
	fake.length = 0;
	if (fake.on_question)
		fake.on_question(q.command);
	ret = fake_answer(&q);
	if (ret || !q.dump)
		fake_error(q.sequence, NLMSG_ERROR, ret);
	else
		fake_error(q.sequence, NLMSG_DONE, 0);
	return 0;
}

int __wrap_dp_os_netlink_receive(int fd, void *buffer, size_t size);
int __wrap_dp_os_netlink_receive(int fd, void *buffer, size_t size)
{
	size_t length = fake.length;

	assert(fd == FAKE_SOCKET && size >= sizeof(fake.answer));
	if (!length)
		return -EAGAIN;
	memcpy(buffer, fake.answer, length);
	fake.length = 0;
	return (int)length;
}

/* ----------------------------------------------------------- what exists */

static inline void fake_have_device(uint32_t index, const char *name)
{
	fake.device[fake.devices].index = index;
	fake.device[fake.devices].name = name;
	fake.device[fake.devices++].unlisted = false;
}

static inline struct fake_object *fake_have_context(uint32_t device,
						    uint32_t number,
						    uint32_t pid)
{
	fake.context[fake.contexts] = (struct fake_object) {
		.device = device, .number = number, .pid = pid,
	};
	return &fake.context[fake.contexts++];
}

static inline void fake_drop_context(uint32_t device, uint32_t number)
{
	for (uint32_t i = 0; i < fake.contexts; i++)
		if (fake.context[i].device == device &&
		    fake.context[i].number == number)
			fake.context[i--] = fake.context[--fake.contexts];
}

#define FAKE_BOOT	"00112233-4455-6677-8899-aabbccddeeff\n"
#define FAKE_PID_NS	4026531836u
#define FAKE_TIME_NS	4026531834u

/*
 * Process 100 of the initial namespaces, which sees everything; a device rxe0 with
 * index 0 and no context; and another process with an open uverbs file.
 */
static inline void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.pid = fake.thread = 100;
	fake_have_device(0, "rxe0");
	fake_put("/proc/sys/kernel/random/boot_id", PROC_SUPER_MAGIC, FAKE_BOOT);
	fake_put("/proc/self/ns/pid", NSFS_MAGIC, NULL)->inode = FAKE_PID_NS;
	fake_put("/proc/self/ns/time", NSFS_MAGIC, NULL)->inode = FAKE_TIME_NS;
	fake_put("/proc/self/stat", PROC_SUPER_MAGIC,
		 "100 (a ) b) R 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5000 0");
	fake_put("/proc/self/status", PROC_SUPER_MAGIC,
		 "Name:\ta\nNStgid:\t100\nNSpid:\t100\n");
	fake_put("/proc/self/net/dev", PROC_SUPER_MAGIC,
		 "Inter-| Receive\n face |bytes\n    lo: 1 2\n  eth0: 3 4\n");
	fake_put("/proc/sys/net/core/netdev_budget", PROC_SUPER_MAGIC, "300\n");
	fake_put("/sys/class/net", SYSFS_MAGIC, "eth0 lo");
	fake_put("/sys/class/infiniband", SYSFS_MAGIC, "rxe0");
	fake_put("/sys/module", SYSFS_MAGIC, "ib_core ib_uverbs");
	fake_put("/sys/module/ib_core", SYSFS_MAGIC, "");
	fake_put("/sys/module/ib_core/refcnt", SYSFS_MAGIC, "2\n");
	fake_put("/sys/module/ib_uverbs", SYSFS_MAGIC, "");
	fake_put("/sys/module/ib_uverbs/refcnt", SYSFS_MAGIC, "2\n");
	fake_put("/sys/module/ib_uverbs/holders", SYSFS_MAGIC, "rdma_ucm");
}

#endif
