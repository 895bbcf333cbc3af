/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * While a dead owner's DMA can reach a file, the file must stay open, and so locked
 * and allocated (W3). A ring keeps the files of its file table open until its last
 * request has ended, but a pool has up to 16384 files. So the descriptors of all files
 * are queued in one socket, by SCM_RIGHTS, and only the socket is in the file table:
 *
 *	ring -> its file table -> socket -> its queue -> the files, with their locks
 *
 * Nothing is ever received. The kernel frees the queue with the socket's last
 * reference, and then no ring that had the socket can cause a write any more. A file
 * that is sent later is kept by all rings from then on (kernel.md K25).
 *
 * A clean close unlocks each file explicitly, so references that outlive it keep no
 * lock. Queued descriptors are in no process's table, and closing them does not drop
 * the alive byte (lock.c).
 */
#include <errno.h>
#include "os/os.h"
#include "owner/anchor.h"

#define MESSAGE_MAX	253u		/* the kernel's SCM_MAX_FD */

int dp_anchor_open(struct dp_anchor *anchor, const struct dp_errmsg *errmsg)
{
	int ends[2];
	int ret = dp_os_socketpair(ends);

	assert(!anchor->open);
	if (ret == -EAFNOSUPPORT)
		return dp_fail(errmsg, -EAFNOSUPPORT,
			       "this process cannot create an AF_UNIX socket, which keeps the pool's files locked until all DMA has ended: allow it (systemd: RestrictAddressFamilies=AF_UNIX)");
	if (ret)
		return dp_fail(errmsg, ret,
			       "the socket that keeps the pool's files locked cannot be made: %s",
			       strerror(-ret));
	*anchor = (struct dp_anchor) { true, ends[0], ends[1] };
	return 0;
}

static int anchor_refused(int error, uint32_t count,
			  const struct dp_errmsg *errmsg)
{
	switch (error) {
	case -ETOOMANYREFS:
		return dp_fail(errmsg, error,
			       "the pool's %u descriptors are queued in a socket, and all processes of a user together may queue RLIMIT_NOFILE, which is %llu: raise the limit (ulimit -n; systemd: LimitNOFILE=), or close other pools",
			       count,
			       (unsigned long long)dp_os_descriptor_limit());
	case -EWOULDBLOCK:
		return dp_fail(errmsg, -ENOMEM,
			       "the socket that keeps the pool's files locked has no room for %u more: raise net.core.wmem_default and open the pool again; the room is for some hundred calls that grow the pool while it is open, of any size",
			       count);
	default:
		return dp_fail(errmsg, error,
			       "the pool's descriptors cannot be kept in a socket: %s",
			       strerror(-error));
	}
}

int dp_anchor_add(struct dp_anchor *anchor, const int *fd, uint32_t count,
		  const struct dp_errmsg *errmsg)
{
	int ret = 0;

	assert(anchor->open && count);
	for (uint32_t i = 0; !ret && i < count; i += MESSAGE_MAX)
		ret = dp_os_send_descriptors(anchor->feed, fd + i,
					     dp_min(count - i, MESSAGE_MAX));
	return ret ? anchor_refused(ret, count, errmsg) : 0;
}

int dp_anchor_fd(const struct dp_anchor *anchor)
{
	return anchor->open ? anchor->queue : -1;
}

void dp_anchor_close(struct dp_anchor *anchor)
{
	if (!anchor->open)
		return;
	dp_os_close(anchor->feed);
	dp_os_close(anchor->queue);
	anchor->open = false;
}
