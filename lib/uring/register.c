/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the adapter asks of the kernel about a ring: its tables of files and of
 * buffers, and what is in them.
 *
 * By a descriptor of its own, so that a ring which its owner frees too early is
 * still there for the detach, and no other ring is taken for it that got its
 * number.
 */
#include "uring/register.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Newer than the oldest liburing. */
#define BY_REGISTERED_RING	(1u << 31)

int dp_uring_link(const struct io_uring *ring, struct dp_uring_link *ret_link)
{
	int fd;

	/* A ring that is known by its number among the thread's registered
	 * rings alone: there is nothing to duplicate. */
	if (ring->ring_fd < 0 && ring->enter_ring_fd >= 0) {
		*ret_link = (struct dp_uring_link) { ring->enter_ring_fd,
						     BY_REGISTERED_RING };
		return 0;
	}
	fd = fcntl(ring->ring_fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	*ret_link = (struct dp_uring_link) { fd, 0 };
	return 0;
}

void dp_uring_unlink(struct dp_uring_link *link)
{
	if (!link->index_flag)
		close(link->ring_fd_copy);
	link->ring_fd_copy = -1;
}

/* 0 or more, or -errno. */
static int register_change(const struct dp_uring_link *link, unsigned int what,
			   const void *argument, unsigned int count)
{
	int ret = syscall(__NR_io_uring_register, link->ring_fd_copy,
			  what | link->index_flag, argument, count);

	return ret < 0 ? -errno : ret;
}

bool dp_uring_knows(const struct dp_uring_link *link, uint8_t opcode)
{
	enum { OPERATIONS = 256 };
	struct io_uring_probe *probe =
		calloc(1, sizeof(*probe) +
			  OPERATIONS * sizeof(struct io_uring_probe_op));
	bool known = false;

	if (!probe)
		return false;
	if (!register_change(link, IORING_REGISTER_PROBE, probe, OPERATIONS))
		known = opcode <= probe->last_op &&
			probe->ops[opcode].flags & IO_URING_OP_SUPPORTED;
	free(probe);
	return known;
}

int dp_uring_make_files(const struct dp_uring_link *link, const int *fd,
			uint32_t count)
{
	return register_change(link, IORING_REGISTER_FILES, fd, count);
}

int dp_uring_remove_files(const struct dp_uring_link *link)
{
	return register_change(link, IORING_UNREGISTER_FILES, NULL, 0);
}

static int register_put_file(const struct dp_uring_link *link, uint32_t slot,
			     int fd)
{
	struct io_uring_files_update update = {
		.offset = slot, .fds = (uintptr_t)&fd
	};
	int ret =
		register_change(link, IORING_REGISTER_FILES_UPDATE, &update, 1);

	return ret == 1 ? 0 : ret < 0 ? ret : -EIO;
}

int dp_uring_put_files(const struct dp_uring_link *link, uint32_t slot,
		       const int *fd, uint32_t count)
{
	int ret = 0;
	uint32_t i = 0;

	for (; !ret && i < count; i++)
		ret = register_put_file(link, slot + i, fd ? fd[i] : -1);
	if (!ret || !fd)
		return ret;
	for (i--; i--;)
		register_put_file(link, slot + i, -1);
	return ret;
}

int dp_uring_pipe(int ret_fd[2])
{
	return pipe2(ret_fd, O_CLOEXEC | O_NONBLOCK) ? -errno : 0;
}

bool dp_uring_pipe_is_hung_up(int read_fd)
{
	struct pollfd one = { .fd = read_fd };

	return poll(&one, 1, 0) > 0 && one.revents & POLLHUP;
}

void dp_uring_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

int dp_uring_make_buffers(const struct dp_uring_link *link, uint32_t slots)
{
	struct io_uring_rsrc_register table = {
		.nr = slots, .flags = IORING_RSRC_REGISTER_SPARSE
	};

	return register_change(link, IORING_REGISTER_BUFFERS2, &table,
			       sizeof(table));
}

int dp_uring_remove_buffers(const struct dp_uring_link *link)
{
	return register_change(link, IORING_UNREGISTER_BUFFERS, NULL, 0);
}

/* Empty the slot with a base of NULL and a size of 0. */
int dp_uring_put_buffer(const struct dp_uring_link *link, uint32_t slot,
			void *base, size_t size)
{
	struct iovec iov = { base, size };
	__u64 no_tag = 0;
	struct io_uring_rsrc_update2 update = {
		.offset = slot, .data = (uintptr_t)&iov,
		.tags = (uintptr_t)&no_tag, .nr = 1
	};
	int ret = register_change(link, IORING_REGISTER_BUFFERS_UPDATE, &update,
				  sizeof(update));

	return ret == 1 ? 0 : ret < 0 ? ret : -EIO;
}

/* ------------------------------------------------------- what is in a slot */

/*
 * What the kernel shows of a table: "   2: NAME" for a slot in use, where a
 * file's name may be empty; "<none>", no line at all, or an address of all ones
 * for a free one. It shows nothing while the ring is busy.
 */
static bool register_is_in_use(const char *line)
{
	return !strstr(line, ": <none>\n") && !strstr(line, ": 0xffffffffffffffff/");
}

static int register_find_taken(FILE *fdinfo, const char *table, uint32_t first,
			       uint32_t count)
{
	bool in_table = false, ended = false;
	unsigned int number;
	char *line = NULL;
	int taken = -1;
	size_t size = 0;

	while (!ended && taken < 0 && getline(&line, &size, fdinfo) > 0) {
		if (in_table && sscanf(line, " %u:", &number) != 1)
			ended = true;
		else if (in_table && number >= first &&
			 number - first < count && register_is_in_use(line))
			taken = number;
		in_table |= !strncmp(line, table, strlen(table));
	}
	free(line);
	return taken;
}

static int register_taken(const struct dp_uring_link *link, const char *table,
			  uint32_t first, uint32_t count)
{
	FILE *fdinfo;
	char path[64];
	int slot;

	if (link->index_flag)
		return -1;
	snprintf(path, sizeof(path), "/proc/thread-self/fdinfo/%d", link->ring_fd_copy);
	fdinfo = fopen(path, "re");
	if (!fdinfo)
		return -1;		/* cannot be told: his to know */
	slot = register_find_taken(fdinfo, table, first, count);
	fclose(fdinfo);
	return slot;
}

int dp_uring_taken_file(const struct dp_uring_link *link, uint32_t first,
			uint32_t count)
{
	return register_taken(link, "UserFiles:", first, count);
}

int dp_uring_taken_buffer(const struct dp_uring_link *link, uint32_t first,
			  uint32_t count)
{
	return register_taken(link, "UserBufs:", first, count);
}
