/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uring-read DIRECTORY FILE: read a file's first bytes into a pool by io_uring
 * and publish them. The same code is a fixed-buffer read on device-dax and
 * tmpfs, and a plain one on a DAX filesystem.
 */
#include <daxpin-uring.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LENGTH 65536

static char errmsg[256];

static int check(const char *what, int ret)
{
	if (ret < 0)
		fprintf(stderr, "%s: %s\n", what,
			errmsg[0] ? errmsg : strerror(-ret));
	return ret < 0;
}

/* Makes one read and waits for it. Returns the number of bytes. */
static int read_into(struct daxpin_uring *uring, struct io_uring *ring, int fd,
		     struct daxpin_extent extent, int *ret_fixed)
{
	struct daxpin_uring_io io = { 0 };
	struct io_uring_cqe *cqe;
	int ret, result;

	ret = daxpin_uring_prep_read(uring, &io, io_uring_get_sqe(ring), fd,
				     extent, 0, LENGTH, 0);
	if (ret)
		return ret;
	*ret_fixed = daxpin_uring_is_fixed(&io);
	ret = io_uring_submit_and_wait(ring, 1);
	if (ret < 0)
		return ret;
	ret = io_uring_wait_cqe(ring, &cqe);
	if (ret)
		return ret;
	result = cqe->res;
	ret = daxpin_uring_done(&io, cqe);
	io_uring_cqe_seen(ring, cqe);
	return ret < 0 ? ret : result;
}

static int run(struct daxpin_pool *pool, struct io_uring *ring, int fd)
{
	struct daxpin_uring_options options = {
		.size = sizeof(options), .flags = DAXPIN_URING_EAGER,
		.label = "uring-read", .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	struct daxpin_op keep = { .type = DAXPIN_OP_KEEP };
	struct daxpin_uring *uring;
	int bytes, fixed = 0;

	if (check("attach", daxpin_uring_attach(pool, ring, &options, &uring)) ||
	    check("reserve", daxpin_reserve(pool, LENGTH, DAXPIN_RESERVE_ZERO,
					    &keep.extent)))
		return 1;
	bytes = read_into(uring, ring, fd, keep.extent, &fixed);
	if (check("read", bytes) ||
	    check("publish", daxpin_publish(pool, &keep, 1, NULL, NULL)) ||
	    check("detach", daxpin_uring_detach(uring)))
		return 1;
	printf("%d bytes read %s and published at address 0x%llx\n", bytes,
	       fixed ? "into a fixed buffer" : "plainly",
	       (unsigned long long)keep.extent.addr);
	return 0;
}

int main(int argc, char **argv)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .pool_size = 64 << 20,
		.segment_size = 32 << 20, .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	struct daxpin_pool *pool;
	struct io_uring ring;
	int fd, ret;

	if (argc != 3)
		return fprintf(stderr, "usage: uring-read DIRECTORY FILE\n"), 2;
	fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return perror(argv[2]), 1;
	if (check("create", daxpin_pool_create(argv[1], &options, &pool)) ||
	    check("ring", io_uring_queue_init(8, &ring, 0)))
		return 1;
	ret = run(pool, &ring, fd);
	if (check("close", daxpin_pool_close(pool)))
		ret = 1;
	io_uring_queue_exit(&ring);
	close(fd);
	return ret;
}
