/* SPDX-License-Identifier: BSD-3-Clause */
/* What the adapter asks of the kernel about a ring: its file and buffer tables. */
#ifndef DP_URING_REGISTER_H
#define DP_URING_REGISTER_H

#include <daxpin-uring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "util/util.h"

/* Newer than the oldest liburing; the kernel is asked whether it has them. */
#define DP_URING_OP_READV_FIXED		60
#define DP_URING_OP_WRITEV_FIXED	61

/* private to register.c */
struct dp_uring_link {
	int ring_fd_copy;		/* a descriptor of our own, or an index */
	unsigned int index_flag;	/* flag of every call, or 0 */
	uint64_t thread;		/* the one thread in which an index means
					   this ring */
};

/* All return 0 or -errno unless a comment says otherwise. */
int dp_uring_link(const struct io_uring *ring, struct dp_uring_link *ret_link);
void dp_uring_unlink(struct dp_uring_link *link);
/* 1: the kernel has the operation; 0: it does not, or does not say; or -ENOMEM. */
int dp_uring_supports(const struct dp_uring_link *link, uint8_t opcode);
int dp_uring_make_files(const struct dp_uring_link *link, const int *fd,
			uint32_t count);
int dp_uring_remove_files(const struct dp_uring_link *link);
/* Put files into consecutive slots, all or none. fd NULL: empty these slots. */
int dp_uring_put_files(const struct dp_uring_link *link, uint32_t slot,
		       const int *fd, uint32_t count);
/* Make a pipe for one ring, whose write end the caller puts into the ring's file
 * table. */
int dp_uring_pipe(int ret_fd[2]);
/* Is no write end of the pipe left? Then the adapter's files are not in the ring's file
 * table any more. */
bool dp_uring_pipe_is_hung_up(int read_fd);
/* Wait for that. -ETIMEDOUT at the deadline, in CLOCK_MONOTONIC nanoseconds. */
int dp_uring_pipe_await(int read_fd, uint64_t deadline_ns);
void dp_uring_close(int fd);
/* A ring that does no I/O, for its buffer table: it is disabled, and not mapped. */
int dp_uring_make_ring(struct dp_uring_link *ret_link);
int dp_uring_make_buffers(const struct dp_uring_link *link, uint32_t slots);
int dp_uring_remove_buffers(const struct dp_uring_link *link);
/* Register one buffer in the slot; with a base of NULL and a size of 0, empty the
 * slot. */
int dp_uring_put_buffer(const struct dp_uring_link *link, uint32_t slot,
			void *base, size_t size);
int dp_uring_empty_buffers(const struct dp_uring_link *link, uint32_t first,
			   uint32_t count);
/* Copy one entry of a buffer table into a slot of another ring's, or all into a ring
 * that has no table. -EINVAL: this kernel cannot, or charges the two rings to
 * different users. */
int dp_uring_copy_buffer(const struct dp_uring_link *from, uint32_t from_slot,
			 const struct dp_uring_link *to, uint32_t to_slot);
int dp_uring_copy_buffers(const struct dp_uring_link *from,
			  const struct dp_uring_link *to);
/* The first slot of the range that is in use according to /proc. -ENOENT: all are free,
 * or /proc shows no rings; -EMFILE, -ENFILE, -ENOMEM: it could not be read; -EBUSY:
 * other threads were in the ring all the time. */
int dp_uring_taken_file(const struct dp_uring_link *link, uint32_t first,
			uint32_t count);
int dp_uring_taken_buffer(const struct dp_uring_link *link, uint32_t first,
			  uint32_t count);
/* Is a pipe in that slot of the file table the one with this read end? */
enum dp_tristate dp_uring_has_pipe(const struct dp_uring_link *link,
				   uint32_t slot, int read_fd);

#endif
