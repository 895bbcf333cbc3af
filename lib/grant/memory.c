/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *  - C7: memory is zeroed under an exclusive hold.
 *  - A peer does not see the previous owner's bytes unless the caller allows it.
 */
#include "grant/memory.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

int dp_grant_fill_range(struct dp_grant_memory *memory,
			const struct dp_errmsg *errmsg)
{
	uint64_t size, length = memory->length;
	int ret = daxpin_size(memory->pool, memory->extent, &size);

	if (ret == -EINVAL && !memory->extent.gen)
		return dp_fail(errmsg, ret,
			       "gen 0 is not that of an extent, and no device may access a small object: reserve an extent with daxpin_reserve()");
	if (ret)
		return dp_fail(errmsg, ret,
			       "the extent cannot be held: %s", strerror(-ret));
	if (!length)
		memory->length = size - memory->offset;
	if (memory->offset < size && memory->length <= size - memory->offset)
		return 0;
	return dp_fail(errmsg, -EINVAL,
		       "%" PRIu64 " bytes at offset %" PRIu64 " are not inside the extent, which has %" PRIu64 " bytes",
		       length, memory->offset, size);
}

/*
 * The exclusive hold is the function's own, so that no other peer, request or SET
 * writes to the extent meanwhile, and no publish makes it live. It may be dropped
 * before the grant's hold is taken: whatever is written in between belongs to this
 * generation of the extent, not to the previous owner.
 */
int dp_grant_zero(const struct dp_grant_memory *memory,
		  const struct dp_errmsg *errmsg)
{
	const uint32_t access = DAXPIN_HOLD_WRITE | DAXPIN_HOLD_EXCLUSIVE;
	enum daxpin_state state = DAXPIN_STATE_FREE;
	void *bytes;
	int ret = daxpin_hold(memory->pool, memory->extent, access);

	if (ret == -EBUSY)
		return dp_fail(errmsg, ret,
			       "DAXPIN_GRANT_ZERO would wipe an extent that is held or being published: leave out the flag, or wait until the extent is idle");
	if (ret)
		return dp_fail(errmsg, ret,
			       "the extent cannot be held: %s", strerror(-ret));
	ret = daxpin_state(memory->pool, memory->extent, &state);
	if (!ret && state != DAXPIN_STATE_RESERVED)
		ret = dp_fail(errmsg, -EINVAL,
			      "DAXPIN_GRANT_ZERO would wipe a published extent");
	bytes = daxpin_ptr(memory->pool, memory->extent, memory->offset);
	if (!ret && bytes)
		memset(bytes, 0, memory->length);
	if (daxpin_drop(memory->pool, memory->extent) || !bytes)
		return dp_fail(errmsg, -EINVAL, DP_HOLD_LOST);
	return ret;
}

/* The state is read under the hold, so it is that of the same generation. */
int dp_grant_check_old_bytes(const struct dp_grant_memory *memory, bool allowed,
			     const struct dp_errmsg *errmsg)
{
	enum daxpin_state state = DAXPIN_STATE_FREE;
	int ret = daxpin_state(memory->pool, memory->extent, &state);

	if (ret)
		return ret;
	assert(state != DAXPIN_STATE_FREE);
	if (state == DAXPIN_STATE_RESERVED && !allowed)
		return dp_fail(errmsg, -EPERM,
			       "the peer could read what the blocks held before: zero them (DAXPIN_GRANT_ZERO) or allow it (DAXPIN_GRANT_EXPOSE)");
	return 0;
}

/*
 * C10: no two grants that an adapter makes in a process have the same number, even if
 * they are of different attachments. The grants of two opens of a pool differ in their
 * extents' generations.
 */
uint64_t dp_grant_next_id(void)
{
	static _Atomic uint64_t last_id;

	return atomic_fetch_add(&last_id, 1) + 1;
}
