/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copy an extent to a new one, so that its space can be given up: the caller then
 * publishes KEEP of the copy, SET of the words that name the extent, and RETIRE of the
 * original at once.
 *
 *	hold `from` --> reserve --> copy, a piece at a time --> fence --> drop
 *	                                  |
 *	                                  '--> cancel: a block cannot be read, or
 *	                                       msync() failed
 *
 * Each piece is read into ordinary memory first, by the read that returns -EIO where a
 * load would be SIGBUS (core/medium.c), and is then stored past the caches.
 *
 * Invariants:
 *	I19	the hold compares the generation, so the bytes are those of the extent
 *		that the handle names. While it lasts, no block of `from` is reused
 *	D1	the copied bytes are durable before the call returns, so that a KEEP of
 *		the copy need not write them back
 */
#include <errno.h>
#include <stdlib.h>
#include "core/copy.h"
#include "core/medium.h"
#include "core/slabs.h"

#define PIECE	(256u << 10)

static int copy_bytes(struct daxpin_pool *pool, struct dp_handle from,
		      struct dp_handle to, uint64_t bytes, void *piece)
{
	struct dp_persist *persist = &pool->media.persist;
	char *base = pool->media.geometry.base + (to.block << DP_BLOCK_SHIFT);
	int ret = 0;

	for (uint64_t at = 0; !ret && at < bytes; at += PIECE) {
		uint64_t length = dp_min(bytes - at, PIECE);

		ret = dp_read(pool, from, at, piece, length);
		if (!ret)
			ret = dp_persist_copy_past(persist, base + at, piece, length);
	}
	dp_persist_fence(persist);
	return ret;
}

static int copy_explain(uint64_t bytes, int error, const struct dp_errmsg *errmsg)
{
	switch (error) {
	case -ENOSPC:
	case -EAGAIN:
		return dp_fail(errmsg, error,
			       "no free run has the %llu bytes of the extent: %s",
			       (unsigned long long)bytes, error == -ENOSPC ?
			       "retire something, or refill holes, then copy it again" :
			       "a job is reclaiming or refilling space: copy it again after DAXPIN_EVENT_RETRY");
	case -EIO:
		return dp_fail(errmsg, error,
			       "the medium cannot be read everywhere in the extent, or cannot be written: find out with daxpin_read() which blocks are lost");
	case -ENOMEM:
		return dp_fail(errmsg, error, "there is no memory for the copy");
	default:
		return error;
	}
}

/* `from` is held. */
static int copy_held(struct daxpin_pool *pool, struct dp_handle from,
		     struct daxpin_extent *ret_extent, const struct dp_errmsg *errmsg)
{
	uint32_t blocks = dp_state_blocks(&pool->states, from.block);
	uint64_t bytes = (uint64_t)blocks << DP_BLOCK_SHIFT;
	void *piece = malloc(dp_min(bytes, PIECE));
	struct daxpin_extent to;
	int ret = -ENOMEM;

	if (piece)
		ret = dp_slabs_allocate(pool, blocks, 0, &to);
	if (!ret) {
		struct dp_handle handle = dp_handle_of(pool, to);

		ret = copy_bytes(pool, from, handle, bytes, piece);
		if (ret)
			dp_state_cancel(&pool->states, handle.block,
					handle.generation);
	}
	free(piece);
	if (ret)
		return copy_explain(bytes, ret, errmsg);
	*ret_extent = to;
	return 0;
}

int dp_copy(struct daxpin_pool *pool, struct dp_handle from,
	    struct daxpin_extent *ret_extent, const struct dp_errmsg *errmsg)
{
	struct daxpin_extent to;
	int dropped, ret;

	ret = dp_jobs_hold(&pool->jobs, from.block, from.generation, 1, 0);
	if (ret)
		return ret;
	ret = copy_held(pool, from, &to, errmsg);
	dropped = dp_state_drop(&pool->states, from.block, from.generation, 1);
	/* If the program made one drop too many, it ended this hold, and the bytes may
	 * be those of another extent. */
	if (!ret && dropped < 0) {
		struct dp_handle handle = dp_handle_of(pool, to);

		dp_state_cancel(&pool->states, handle.block, handle.generation);
		return dropped;
	}
	if (!ret)
		*ret_extent = to;
	return ret;
}
