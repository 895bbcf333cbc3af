/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "narrate.h"
#include "reading.h"

#define PIPE_BYTES	(64u << 10)	/* capacity of a pipe */
#define DISK_BYTES	(256u << 10)
#define LAND_SECONDS	60

void source_open(struct source *source, const struct stage *stage)
{
	int fds[2];

	if (stage->slow) {
		source->fd = open(stage->slow, O_RDONLY | O_DIRECT | O_CLOEXEC);
		if (source->fd < 0)
			give_up("%s: %s", stage->slow, strerror(errno));
		source->write_fd = -1;
		source->bytes = DISK_BYTES;
		return;
	}
	if (pipe2(fds, O_CLOEXEC))
		give_up("pipe: %s", strerror(errno));
	source->fd = fds[0];
	source->write_fd = fds[1];
	source->bytes = PIPE_BYTES;
}

void source_release(const struct source *source)
{
	char *bytes;

	if (source->write_fd < 0)
		return;
	bytes = malloc(source->bytes);
	if (!bytes)
		give_up("no memory");
	memset(bytes, 0xa5, source->bytes);
	if (write(source->write_fd, bytes, source->bytes) < 0)
		give_up("cannot write to the pipe: %s", strerror(errno));
	free(bytes);
}

void source_close(struct source *source)
{
	close(source->fd);
	if (source->write_fd >= 0)
		close(source->write_fd);
}

static int attach(struct reading *reading, char *errmsg, size_t errmsg_size)
{
	struct daxpin_uring_options options = {
		.size = sizeof(options), .flags = DAXPIN_URING_EAGER,
		.label = "rdma-pin ring",
		.errmsg = errmsg,
		.errmsg_size = errmsg_size,
	};
	int err;

	err = daxpin_uring_attach(reading->pool, &reading->ring, &options,
				  &reading->uring);
	if (err != -ENOMEM)
		return err;
	/* The pool exceeds RLIMIT_MEMLOCK. Plain reads are as safe, and slower. */
	options.flags = DAXPIN_URING_PLAIN;
	return daxpin_uring_attach(reading->pool, &reading->ring, &options,
				   &reading->uring);
}

/*
 * Prepares the read: through the adapter, or with --unsafe as a program does that uses
 * only liburing.
 */
static int prepare(struct reading *reading, const struct source *source)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&reading->ring);
	void *memory;

	if (reading->uring)
		return daxpin_uring_prep_read(reading->uring, &reading->io, sqe,
					      source->fd, reading->extent, 0,
					      source->bytes, 0);
	memory = daxpin_ptr(reading->pool, reading->extent, 0);
	io_uring_prep_read(sqe, source->fd, memory, source->bytes, 0);
	return 0;
}

int reading_begin(struct reading *reading, struct daxpin_pool *pool,
		  struct daxpin_extent extent, const struct source *source,
		  bool unsafe, char *errmsg, size_t errmsg_size)
{
	int err;

	memset(reading, 0, sizeof(*reading));
	reading->pool = pool;
	reading->extent = extent;
	err = io_uring_queue_init(8, &reading->ring, 0);
	if (err) {
		snprintf(errmsg, errmsg_size,
			 "io_uring is unavailable: %s: see the sysctl kernel.io_uring_disabled and the container's seccomp profile",
			 strerror(-err));
		return err;
	}
	if (!unsafe)
		err = attach(reading, errmsg, errmsg_size);
	if (!err) {
		err = prepare(reading, source);
		if (err)
			snprintf(errmsg, errmsg_size,
				 "the read cannot be prepared: %s",
				 strerror(-err));
	}
	if (err) {
		io_uring_queue_exit(&reading->ring);
		return err;
	}
	reading->begin_ns = now_ns();
	err = io_uring_submit(&reading->ring);
	return err < 0 ? err : 0;
}

bool reading_in_flight(struct reading *reading)
{
	struct io_uring_cqe *cqe;

	return io_uring_peek_cqe(&reading->ring, &cqe) == -EAGAIN;
}

int reading_end(struct reading *reading)
{
	struct __kernel_timespec limit = { .tv_sec = LAND_SECONDS };
	struct io_uring_cqe *cqe;
	int result, err;

	err = io_uring_wait_cqe_timeout(&reading->ring, &cqe, &limit);
	if (err)
		give_up("the read does not complete within 60 s: %s", strerror(-err));
	result = cqe->res;
	if (reading->uring && daxpin_uring_done(&reading->io, cqe) != 1)
		give_up("daxpin_uring_done: the request has not ended with its completion");
	io_uring_cqe_seen(&reading->ring, cqe);
	return result;
}

void reading_close(struct reading *reading)
{
	must(daxpin_uring_detach(reading->uring), "daxpin_uring_detach");
	io_uring_queue_exit(&reading->ring);
}
