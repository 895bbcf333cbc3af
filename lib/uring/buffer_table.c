/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes the buffer table of a ring, or checks that a range of an existing table is
 * free. The errors that a program can cause are described in errmsg.
 */
#include "uring/buffer_table.h"

#include "util/memlock.h"

/* Refuse slots in use: an update would silently remove a buffer of the program. */
int dp_uring_take_range(const struct dp_uring_link *link, uint32_t first,
			uint32_t count,
			const struct daxpin_uring_options *options)
{
	int number = dp_uring_taken_buffer(link, first, count), ret;

	if (number >= 0)
		return dp_fail(DP_ERRMSG_OF(options), -EBUSY,
			       "slot %d of the ring's buffer table is in use: name a range of free ones in buffer_slot and buffer_slots",
			       number);
	if (number != -ENOENT)
		return dp_fail(DP_ERRMSG_OF(options), number,
			       "/proc, which shows the free slots of the ring's buffer table, cannot be read: %s",
			       strerror(-number));
	/* Emptying the last slot of the range, which is empty, fails if there is no
	 * table, or if the table is too short. */
	ret = dp_uring_put_buffer(link, first + count - 1, NULL, 0);
	if (ret == -ENXIO || ret == -EINVAL)
		return dp_fail(
			DP_ERRMSG_OF(options), -EINVAL,
			"the ring has no buffer table with the slots %u to %u: register one with io_uring_register_buffers_sparse() first",
			first, first + count - 1);
	return ret;
}

int dp_uring_make_table(const struct dp_uring_link *link, uint32_t slots,
			const struct daxpin_uring_options *options)
{
	int ret = dp_uring_make_buffers(link, slots);

	if (ret == -EACCES)
		return dp_fail(DP_ERRMSG_OF(options), ret,
			       "the ring has restrictions (IORING_REGISTER_RESTRICTIONS) that forbid a buffer table: attach before io_uring_enable_rings(), allow IORING_REGISTER_BUFFERS2, IORING_REGISTER_BUFFERS_UPDATE and IORING_UNREGISTER_BUFFERS, or attach with DAXPIN_URING_PLAIN");
	if (ret == -EBUSY)
		return dp_fail(DP_ERRMSG_OF(options), ret,
			       "the ring has a buffer table already: name a range of free slots of it (DAXPIN_URING_BUFFER_RANGE), or attach with DAXPIN_URING_PLAIN");
	return ret;
}

int dp_uring_refuse_memory(uint64_t bytes, const struct daxpin_uring_options *options)
{
	char text[DP_MEMLOCK_TEXT];

	return dp_fail(DP_ERRMSG_OF(options), -ENOMEM,
		       "fixed buffers for the pool need %llu KiB; %s: raise it (ulimit -l; systemd: LimitMEMLOCK=), give CAP_IPC_LOCK, or leave out DAXPIN_URING_NEED_FIXED",
		       (unsigned long long)bytes >> 10, dp_memlock_text(text));
}

uint32_t dp_uring_count_segments(const struct daxpin_uring *uring)
{
	struct daxpin_segment segment;
	uint32_t count = uring->segments;

	while (count < uring->most && !daxpin_segment(uring->pool, count, &segment))
		count++;
	return count;
}
