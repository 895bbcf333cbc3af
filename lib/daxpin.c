/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public functions: what the caller did wrong is found here, once, and the
 * work is done by the modules below.
 */
#include <errno.h>
#include <stdlib.h>
#include "core.h"
#include "create.h"
#include "os.h"
#include "publish.h"

static_assert(DAXPIN_BLOCK_SIZE == DP_BLOCK_SIZE, "public and media");
static_assert(DAXPIN_CHUNK_SIZE == DP_CHUNK_SIZE, "public and media");
static_assert(DAXPIN_SEGMENT_MIN == DP_SEGMENT_SIZE_MIN, "public and media");
static_assert(DAXPIN_SEGMENT_MAX == DP_SEGMENT_SIZE_MAX, "public and media");
static_assert(DAXPIN_SEGMENTS_MAX == DP_SEGMENTS_MAX, "public and media");
static_assert(DAXPIN_HOLDS_MAX == DP_COUNT_MAX, "public and lease");
static_assert((int)DAXPIN_SOURCE_DISK == DP_SOURCE_DISK, "same order");
static_assert((int)DAXPIN_GRANULARITY_PAGE == DP_GRANULARITY_PAGE, "same order");
static_assert((int)DAXPIN_OWNER_RDMA == DP_OWNER_RDMA, "same order");
static_assert((int)DAXPIN_STATE_RETIRED == DP_STATE_RETIRED, "same order");

/* ------------------------------------------------------------------ pools */

struct progress {
	int (*fn)(const struct daxpin_wait *wait, void *arg);
	void *arg;
};

static int pass_progress(enum dp_owner_state owner, int pid, uint64_t waited_ns,
			 void *arg)
{
	struct progress *progress = arg;
	struct daxpin_wait wait = { (enum daxpin_owner)owner, pid, waited_ns };

	return progress->fn(&wait, progress->arg);
}

static int check_options(const struct daxpin_pool_options *options,
			 uint32_t flags, struct daxpin_pool_options *ret_copy)
{
	struct dp_why why;
	int ret;

	memset(ret_copy, 0, sizeof(*ret_copy));
	if (!options)
		return 0;
	ret = dp_copy_versioned(ret_copy, sizeof(*ret_copy), options,
				options->size);
	if (ret == -E2BIG) {
		/* Longer than ours, so it has these fields. */
		why = (struct dp_why) { options->why, options->why_size };
		return dp_fail(&why, ret,
			       "the options ask for what daxpin %s does not know",
			       DAXPIN_VERSION);
	}
	if (ret)
		return ret;
	why = (struct dp_why) { ret_copy->why, ret_copy->why_size };
	if (why.text && why.size)
		why.text[0] = '\0';
	if (ret_copy->flags & ~flags)
		return dp_fail(&why, -EINVAL,
			       "flags 0x%x are not for this call",
			       ret_copy->flags & ~flags);
	return 0;
}

static int request_pool(const char *path,
			const struct daxpin_pool_options *options,
			uint32_t flags,
			int (*media)(struct dp_pool *, struct dp_pool_request *),
			struct daxpin_pool **ret_pool)
{
	struct daxpin_pool_options copy;
	struct progress progress;
	struct dp_why why;
	int ret = check_options(options, flags, &copy);

	if (ret)
		return ret;
	why = (struct dp_why) { copy.why, copy.why_size };
	if (!path || !ret_pool)
		return dp_fail(&why, -EINVAL,
			       "no path, or nowhere to put the pool");
	progress = (struct progress) { copy.progress, copy.progress_arg };
	struct dp_pool_request request = {
		.path = path,
		.readonly = copy.flags & DAXPIN_POOL_READONLY,
		.overwrite = copy.flags & DAXPIN_POOL_OVERWRITE,
		.any_node = copy.flags & DAXPIN_POOL_ANY_NODE,
		.granularity = copy.granularity,
		.pool_size = copy.pool_size,
		.segment_size = copy.segment_size ? copy.segment_size :
				DAXPIN_SEGMENT_DEFAULT,
		.patience = {
			.deadline_ns = copy.deadline_ns,
			.progress = copy.progress ? pass_progress : NULL,
			.arg = &progress,
		},
		.why = &why,
	};
	ret = dp_core_start(&request, media, ret_pool);
	if (ret && copy.why && copy.why_size && !copy.why[0])
		dp_fail(&why, ret, "%s: %s", path, strerror(-ret));
	return ret;
}

DP_EXPORT int daxpin_pool_create(const char *path,
				 const struct daxpin_pool_options *options,
				 struct daxpin_pool **ret_pool)
{
	return request_pool(path, options,
			    DAXPIN_POOL_OVERWRITE | DAXPIN_POOL_ANY_NODE,
			    dp_pool_create, ret_pool);
}

DP_EXPORT int daxpin_pool_open(const char *path,
			       const struct daxpin_pool_options *options,
			       struct daxpin_pool **ret_pool)
{
	return request_pool(path, options,
			    DAXPIN_POOL_READONLY | DAXPIN_POOL_ANY_NODE,
			    dp_pool_open, ret_pool);
}

static void shut_gates(struct daxpin_pool *pool)
{
	for (uint32_t i = 0; i < pool->media.segments; i++)
		dp_gate_shut(&pool->leases, i);
}

static void open_gates(struct daxpin_pool *pool)
{
	for (uint32_t i = 0; i < pool->media.segments; i++)
		dp_gate_open(&pool->leases, i);
}

/* Under the gate: is anything held anywhere? */
static bool is_busy(struct daxpin_pool *pool)
{
	for (uint32_t i = 0; i < pool->media.segments; i++)
		if (dp_segment_busy(&pool->leases, i))
			return true;
	return false;
}

DP_EXPORT int daxpin_pool_close(struct daxpin_pool *pool)
{
	int ret;

	if (!pool)
		return 0;
	ret = dp_enter(pool);
	if (ret)
		return ret;
	shut_gates(pool);
	if (is_busy(pool) || dp_registration_count(&pool->holders)) {
		open_gates(pool);
		return -EBUSY;
	}
	ret = dp_pool_close(&pool->media, true);
	dp_core_discard(pool);
	return ret;
}

DP_EXPORT int daxpin_pool_drain(struct daxpin_pool *pool, uint64_t deadline_ns)
{
	uint64_t step_ns = 50000;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	shut_gates(pool);
	while (is_busy(pool)) {
		if (dp_os_now_ns() >= deadline_ns) {
			open_gates(pool);
			return -ETIMEDOUT;
		}
		dp_os_sleep_ns(step_ns);
		step_ns = dp_min(step_ns * 2, 5000000);
	}
	return 0;
}

static uint64_t free_blocks(struct daxpin_pool *pool)
{
	uint64_t blocks = 0;

	for (uint32_t i = 0; i < pool->media.segments; i++)
		blocks += dp_space_free_count(&pool->space[i]);
	return blocks;
}

DP_EXPORT int daxpin_pool_info(struct daxpin_pool *pool,
			       struct daxpin_pool_info *ret_info)
{
	const struct dp_pool *media;
	struct daxpin_pool_info info;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!ret_info || ret_info->size < sizeof(size_t))
		return -EINVAL;
	media = &pool->media;
	info = (struct daxpin_pool_info) {
		.size = ret_info->size,
		.source = media->source.kind,
		.granularity = media->persist.granularity,
		.segments = media->segments,
		.flags = media->readonly ? DAXPIN_POOL_READONLY : 0,
		.segment_size = media->segment_size,
		.epoch = media->super.epoch,
		.media_bytes = media->super.pool_size,
		.usable_bytes = pool->usable_blocks << DP_BLOCK_SHIFT,
		.free_bytes = free_blocks(pool) << DP_BLOCK_SHIFT,
		.largest_extent = media->segment[0].size - DP_CHUNK_SIZE,
		.hole_bytes = pool->hole_blocks << DP_BLOCK_SHIFT,
		.unaligned_chunks = pool->unaligned_chunks,
		.ignored_files = media->ignored_files,
		.registrations = dp_registration_count(&pool->holders),
		.unclean = media->was_unclean,
	};
	memcpy(info.uuid, media->super.uuid, 16);
	memcpy(ret_info, &info, dp_min(info.size, sizeof(info)));
	return 0;
}

DP_EXPORT uint64_t daxpin_deadline_ms(uint64_t ms)
{
	return dp_os_now_ns() + dp_min(ms, 1ull << 40) * 1000000;
}

/* ------------------------------------------------------------------ space */

/* A handle whose life goes on, and its lease. */
static int find(struct daxpin_pool *pool, struct daxpin_extent extent,
		struct dp_handle *ret_handle, struct dp_lease_view *ret_view)
{
	int ret = dp_enter(pool);

	if (!ret)
		ret = dp_handle(pool, extent, ret_handle);
	if (ret)
		return ret;
	*ret_view = dp_lease_look(&pool->leases, ret_handle->block);
	if (ret_view->life != ret_handle->life ||
	    ret_view->state == DP_STATE_FREE)
		return -ESTALE;
	return 0;
}

/* Threads begin in different segments, so that they seldom meet. */
static int claim_blocks(struct daxpin_pool *pool, uint32_t blocks,
			uint64_t *ret_block)
{
	uint32_t segments = pool->media.segments, block;
	uint32_t first = dp_stripe() % segments;

	for (uint32_t i = 0; i < segments; i++) {
		uint32_t segment = (first + i) % segments;

		if (dp_space_claim(&pool->space[segment], blocks, &block))
			continue;
		*ret_block = block + ((uint64_t)segment <<
				      pool->leases.segment_shift);
		return 0;
	}
	return -ENOSPC;
}

DP_EXPORT int daxpin_reserve(struct daxpin_pool *pool, uint64_t size,
			     uint32_t flags, struct daxpin_extent *ret_extent)
{
	uint64_t blocks = (size >> DP_BLOCK_SHIFT) + !!(size % DP_BLOCK_SIZE);
	uint64_t block, life;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!size || flags & ~DAXPIN_RESERVE_ZERO || !ret_extent)
		return -EINVAL;
	if (pool->media.readonly)
		return -EROFS;
	if (blocks > pool->media.segment[0].blocks - DP_CHUNK_BLOCKS)
		return -EFBIG;
	ret = claim_blocks(pool, blocks, &block);
	if (ret)
		return ret;
	if (flags & DAXPIN_RESERVE_ZERO)
		dp_persist_zero(&pool->media.persist, pool->media.map.base +
				(block << DP_BLOCK_SHIFT),
				blocks << DP_BLOCK_SHIFT);
	life = dp_lease_reserve(&pool->leases, block, blocks);
	*ret_extent = dp_extent(pool, block, life);
	return 0;
}

DP_EXPORT int daxpin_cancel(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (!ret)
		ret = dp_handle(pool, extent, &handle);
	return ret ? ret : dp_lease_cancel(&pool->leases, handle.block,
					   handle.life);
}

DP_EXPORT int daxpin_publish(struct daxpin_pool *pool,
			     const struct daxpin_op *ops, size_t count)
{
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!ops || !count)
		return -EINVAL;
	if (count > DAXPIN_OPS_MAX)
		return -E2BIG;
	if (pool->media.readonly)
		return -EROFS;
	return dp_publish_one(pool, ops);
}

DP_EXPORT void *daxpin_ptr(struct daxpin_pool *pool, struct daxpin_extent extent,
			   uint64_t offset)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	uint64_t length = 1;

	if (find(pool, extent, &handle, &view) ||
	    dp_range(pool, handle.block, offset, &length))
		return NULL;
	return pool->media.map.base + extent.addr + offset;
}

DP_EXPORT int daxpin_extent_at(struct daxpin_pool *pool, uint64_t addr,
			       struct daxpin_extent *ret_extent)
{
	/* Any life of this epoch will do to find the block. */
	struct daxpin_extent extent = { addr, 0 };
	struct dp_lease_view view;
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!ret_extent)
		return -EINVAL;
	extent.gen = pool->epoch << DP_LIFE_BITS;
	ret = dp_handle(pool, extent, &handle);
	if (ret)
		return ret;
	view = dp_lease_look(&pool->leases, handle.block);
	if (view.state != DP_STATE_LIVE)
		return -ENOENT;
	*ret_extent = dp_extent(pool, handle.block, view.life);
	return 0;
}

DP_EXPORT int daxpin_size(struct daxpin_pool *pool, struct daxpin_extent extent,
			  uint64_t *ret_size)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	int ret = ret_size ? find(pool, extent, &handle, &view) : -EINVAL;

	if (!ret)
		*ret_size = (uint64_t)dp_lease_blocks(&pool->leases,
						      handle.block) <<
			    DP_BLOCK_SHIFT;
	return ret;
}

DP_EXPORT int daxpin_state(struct daxpin_pool *pool, struct daxpin_extent extent,
			   enum daxpin_state *ret_state)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	int ret = ret_state ? find(pool, extent, &handle, &view) : -EINVAL;

	if (!ret)
		*ret_state = (enum daxpin_state)view.state;
	return ret;
}

DP_EXPORT int daxpin_persist(struct daxpin_pool *pool,
			     struct daxpin_extent extent, uint64_t offset,
			     uint64_t length)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	int ret = find(pool, extent, &handle, &view);

	if (!ret)
		ret = dp_range(pool, handle.block, offset, &length);
	if (!ret && pool->media.readonly)
		ret = -EROFS;
	if (ret)
		return ret;
	ret = dp_persist_flush(&pool->media.persist, pool->media.map.base +
			       extent.addr + offset, length);
	dp_persist_fence(&pool->media.persist);
	return ret;
}

/*
 * What stands at a block: blocks to go on by, and, where a live extent begins
 * there, its life. The length is read between two looks at the same life.
 */
static uint32_t look_at(struct daxpin_pool *pool, uint64_t block,
			struct dp_lease_view *ret_view)
{
	struct dp_lease_view again;
	uint32_t blocks;

	do {
		*ret_view = dp_lease_look(&pool->leases, block);
		if (ret_view->state == DP_STATE_FREE)
			return 1;
		blocks = dp_lease_blocks(&pool->leases, block);
		again = dp_lease_look(&pool->leases, block);
	} while (again.life != ret_view->life);
	assert(blocks);
	return blocks;
}

DP_EXPORT int daxpin_foreach(struct daxpin_pool *pool,
			     int (*fn)(struct daxpin_pool *pool,
				       struct daxpin_extent extent,
				       uint64_t size, void *arg), void *arg)
{
	struct dp_lease_view view;
	uint32_t blocks;
	int ret = dp_enter(pool);

	if (ret || !fn)
		return ret ? ret : -EINVAL;
	for (uint64_t b = 0; !ret && b < pool->leases.blocks; b += blocks) {
		uint32_t shift = pool->leases.segment_shift;
		uint32_t in_segment = b & ((1ull << shift) - 1);

		blocks = 1;
		if (in_segment >= pool->media.segment[b >> shift].blocks ||
		    dp_space_is_free(&pool->space[b >> shift], in_segment))
			continue;
		blocks = look_at(pool, b, &view);
		if (view.state == DP_STATE_LIVE)
			ret = fn(pool, dp_extent(pool, b, view.life),
				 (uint64_t)blocks << DP_BLOCK_SHIFT, arg);
	}
	return ret;
}

/* ------------------------------------------------------------------ holds */

static int check_access(uint32_t access)
{
	if (!access || access & ~(DAXPIN_HOLD_READ | DAXPIN_HOLD_WRITE))
		return -EINVAL;
	return 0;
}

static int hold_with(struct daxpin_pool *pool, struct daxpin_extent extent,
		     uint32_t access,
		     int (*take)(struct dp_leases *, uint64_t, uint64_t, bool))
{
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (!ret)
		ret = check_access(access);
	if (!ret)
		ret = dp_handle(pool, extent, &handle);
	if (!ret && access & DAXPIN_HOLD_WRITE && pool->media.readonly)
		ret = -EROFS;
	return ret ? ret : take(&pool->leases, handle.block, handle.life,
				access & DAXPIN_HOLD_WRITE);
}

DP_EXPORT int daxpin_hold(struct daxpin_pool *pool, struct daxpin_extent extent,
			  uint32_t access)
{
	return hold_with(pool, extent, access, dp_lease_hold);
}

DP_EXPORT int daxpin_hold_clone(struct daxpin_pool *pool,
				struct daxpin_extent extent, uint32_t access)
{
	return hold_with(pool, extent, access, dp_lease_clone);
}

DP_EXPORT int daxpin_drop(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (!ret)
		ret = dp_handle(pool, extent, &handle);
	return ret ? ret : dp_lease_drop(&pool->leases, handle.block,
					 handle.life);
}

DP_EXPORT int daxpin_hold_labelled(struct daxpin_pool *pool,
				   struct daxpin_extent extent, uint32_t access,
				   const char *label, struct daxpin_hold *hold)
{
	int ret;

	if (!hold || !label || hold->access)
		return -EINVAL;
	ret = daxpin_hold(pool, extent, access);
	if (ret)
		return ret;
	hold->extent = extent;
	hold->access = access;
	snprintf(hold->label, sizeof(hold->label), "%s", label);
	dp_holder_add(&pool->holders, hold);
	return 0;
}

DP_EXPORT int daxpin_drop_labelled(struct daxpin_pool *pool,
				   struct daxpin_hold *hold)
{
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!hold || !hold->access)
		return -EINVAL;
	/* Off the list first: after the drop the pool may be closed. */
	dp_holder_remove(&pool->holders, hold);
	hold->access = 0;
	return daxpin_drop(pool, hold->extent);
}

DP_EXPORT int daxpin_holds(struct daxpin_pool *pool, struct daxpin_extent extent,
			   void (*fn)(const struct daxpin_holder *holder,
				      void *arg), void *arg)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	uint32_t labelled;
	int ret = find(pool, extent, &handle, &view);

	if (ret)
		return ret;
	labelled = dp_holders_of(&pool->holders, extent, fn, arg);
	if (fn && view.count > labelled)
		fn(&(struct daxpin_holder) { .extent = extent,
			.count = view.count - labelled }, arg);
	if (fn)
		dp_registrations_of(&pool->holders, handle.block >>
				    pool->leases.segment_shift, fn, arg);
	return view.count;
}

DP_EXPORT int daxpin_idle(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	int ret = find(pool, extent, &handle, &view);

	if (ret == -ESTALE)
		return 1;
	return ret ? ret : !view.count;
}

DP_EXPORT int daxpin_wait_idle(struct daxpin_pool *pool,
			       struct daxpin_extent extent, uint64_t deadline_ns)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	int ret = find(pool, extent, &handle, &view);

	if (ret == -ESTALE)
		return 0;
	return ret ? ret : dp_lease_wait(&pool->leases, handle.block,
					 handle.life, deadline_ns);
}

/* ----------------------------------------------------------------- events */

static bool is_over(void *arg)
{
	(void)arg;
	return false;
}

DP_EXPORT int daxpin_watch(struct daxpin_pool *pool, struct daxpin_extent extent,
			   void *arg, struct daxpin_watch *watch)
{
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (!ret && (!watch || watch->state))
		ret = -EINVAL;
	if (!ret)
		ret = dp_handle(pool, extent, &handle);
	if (ret && ret != -ESTALE)
		return ret;
	watch->extent = extent;
	watch->arg = arg;
	if (ret)
		dp_events_watch(&pool->events, watch, is_over, NULL);
	else
		dp_lease_watch(&pool->leases, handle.block, handle.life, watch);
	return 0;
}

DP_EXPORT int daxpin_unwatch(struct daxpin_pool *pool, struct daxpin_watch *watch)
{
	int ret = dp_enter(pool);

	if (ret || !watch)
		return ret ? ret : -EINVAL;
	return dp_events_unwatch(&pool->events, watch);
}

DP_EXPORT int daxpin_event_fd(struct daxpin_pool *pool)
{
	int ret = dp_enter(pool);

	return ret ? ret : pool->events.fd;
}

DP_EXPORT int daxpin_event_arm(struct daxpin_pool *pool)
{
	int ret = dp_enter(pool);

	return ret ? ret : dp_events_arm(&pool->events);
}

DP_EXPORT int daxpin_next_event(struct daxpin_pool *pool,
				struct daxpin_event *ret_event)
{
	int ret = dp_enter(pool);

	if (ret || !ret_event)
		return ret ? ret : -EINVAL;
	return dp_events_next(&pool->events, ret_event);
}

/* --------------------------------------------------------------- adapters */

DP_EXPORT int daxpin_segment(struct daxpin_pool *pool, uint32_t index,
			     struct daxpin_segment *ret_segment)
{
	int ret = dp_enter(pool);

	if (ret || !ret_segment)
		return ret ? ret : -EINVAL;
	if (index >= pool->media.segments)
		return -ENOENT;
	*ret_segment = (struct daxpin_segment) {
		.addr = index * pool->media.segment_size,
		.size = pool->media.segment[index].size,
		.base = pool->media.segment[index].base,
	};
	return 0;
}

DP_EXPORT int daxpin_lock_fd(struct daxpin_pool *pool)
{
	int ret = dp_enter(pool);

	return ret ? ret : pool->media.lock.fd;
}

static int check_registration(struct daxpin_pool *pool, uint32_t segment,
			      const struct daxpin_registration_options *options,
			      const struct dp_why *why)
{
	if (segment >= pool->media.segments && segment != DAXPIN_ALL_SEGMENTS)
		return -ENOENT;
	if (pool->media.source.kind == DP_SOURCE_DISK)
		return dp_fail(why, -EOPNOTSUPP,
			       "%s is on a disk, whose page-cache pages lose their dirty state under DMA: use a DAX filesystem, device-dax or tmpfs",
			       pool->media.source.path);
	if (options->rdma_device && pool->media.readonly)
		return -EROFS;
	return 0;
}

DP_EXPORT int daxpin_register(struct daxpin_pool *pool, uint32_t segment,
			      const struct daxpin_registration_options *options,
			      struct daxpin_registration **ret_registration)
{
	struct daxpin_registration_options copy;
	struct daxpin_registration *registration;
	struct dp_why why;
	int ret = dp_enter(pool);

	if (ret || !options || !ret_registration)
		return ret ? ret : -EINVAL;
	ret = dp_copy_versioned(&copy, sizeof(copy), options, options->size);
	if (ret || !copy.label)
		return ret ? ret : -EINVAL;
	why = (struct dp_why) { copy.why, copy.why_size };
	ret = check_registration(pool, segment, &copy, &why);
	if (ret)
		return ret;
	registration = calloc(1, sizeof(*registration));
	if (!registration)
		return -ENOMEM;
	registration->pool = pool;
	registration->segment = segment;
	snprintf(registration->label, sizeof(registration->label), "%s",
		 copy.label);
	if (copy.rdma_device)
		ret = dp_pool_record_rdma(&pool->media, copy.rdma_device);
	if (ret) {
		free(registration);
		return dp_fail(&why, ret,
			       "the verbs device %s cannot be recorded in the pool: %s",
			       copy.rdma_device, strerror(-ret));
	}
	dp_registration_add(&pool->holders, registration);
	*ret_registration = registration;
	return 0;
}

DP_EXPORT int daxpin_unregister(struct daxpin_registration *registration)
{
	int ret;

	if (!registration)
		return -EINVAL;
	ret = dp_enter(registration->pool);
	if (ret)
		return ret;
	dp_registration_remove(&registration->pool->holders, registration);
	free(registration);
	return 0;
}

DP_EXPORT const char *daxpin_version(void)
{
	return DAXPIN_VERSION;
}
