/* SPDX-License-Identifier: BSD-3-Clause */
/* An RDMA device that a test makes for itself, and may rename and remove. */
#ifndef RDMA_OWN_DEVICE_H
#define RDMA_OWN_DEVICE_H

#include <infiniband/verbs.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OWN_DEVICE	"daxpin_test0"
#define OWN_RENAMED	"daxpin_test1"
#define OWN_NETDEV	"daxpin_net0"
#define OWN_PROBE_MS	5000

static inline bool own_device_add(void)
{
	return !system("ip link add " OWN_NETDEV " type dummy && "
		       "ip addr add 10.199.0.1/24 dev " OWN_NETDEV " && "
		       "ip link set " OWN_NETDEV " up && rdma link add "
		       OWN_DEVICE " type rxe netdev " OWN_NETDEV);
}

/* Removes the network device, and with it the RDMA device if that still exists. */
static inline void own_device_drop(void)
{
	if (system("ip link del " OWN_NETDEV " 2>/dev/null"))
		printf("# " OWN_NETDEV " was not there\n");
}

static inline struct ibv_context *own_device_open(const char *name)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_context *context = NULL;

	for (int i = 0; list && list[i] && !context; i++)
		if (!strcmp(ibv_get_device_name(list[i]), name))
			context = ibv_open_device(list[i]);
	if (list)
		ibv_free_device_list(list);
	return context;
}

/* Starts a process that removes the device, and ends when that is done. */
static inline pid_t own_device_begin_removal(const char *name)
{
	pid_t pid = fork();

	if (!pid) {
		execlp("rdma", "rdma", "link", "del", name, NULL);
		_exit(1);
	}
	return pid;
}

/* Waits until the device is no longer listed: its removal has begun. */
static inline bool own_device_is_unlisted(const char *name)
{
	const struct timespec step = { 0, 50 * 1000000l };
	char command[128];

	snprintf(command, sizeof(command), "rdma dev show %s >/dev/null 2>&1",
		 name);
	for (int i = 0; i < 200; i++) {
		if (system(command))
			return true;
		nanosleep(&step, NULL);
	}
	return false;
}

static inline bool own_device_ends_within(pid_t pid, int ms)
{
	const struct timespec step = { 0, 10 * 1000000l };

	for (; ms > 0; ms -= 10) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		nanosleep(&step, NULL);
	}
	return false;
}

/*
 * What does this kernel do with an open context of a device that is removed? true: it
 * takes the context from its process and removes the device. false: it waits until the
 * process closes the context. -1: it cannot make a second device.
 */
static inline int own_device_removal_takes_contexts(void)
{
	pid_t holder, remover;
	int ends[2], takes;
	char opened;

	if (pipe(ends) || !own_device_add())
		return -1;
	holder = fork();
	if (!holder) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		opened = own_device_open(OWN_DEVICE) != NULL;
		if (write(ends[1], &opened, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ends[1]);
	takes = read(ends[0], &opened, 1) == 1 && opened ? 0 : -1;
	close(ends[0]);
	remover = own_device_begin_removal(OWN_DEVICE);
	if (own_device_ends_within(remover, OWN_PROBE_MS)) {
		remover = 0;
		takes += takes >= 0;
	}
	kill(holder, SIGKILL);
	waitpid(holder, NULL, 0);
	if (remover)
		waitpid(remover, NULL, 0);
	own_device_drop();
	return takes;
}

#endif
