/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an open for writing stores in segment 0's superblock: that it owns the pool, the
 * verbs contexts that it uses, the segments that it adds or removes, and that it closed
 * the pool.
 */
#include <errno.h>
#include "media/super.h"
#include "os/os.h"
#include "owner/owner.h"
#include "pool/defrag.h"
#include "pool/own.h"

/*
 * Is the superblock still the one that this open wrote? After a hibernation, or a
 * restore of the process, another owner may have used the pool; its superblock must not
 * be overwritten. The read costs little compared with the write.
 */
static int pool_check_ours(const struct dp_pool *pool)
{
	const struct dp_super *super = &pool->super;
	struct dp_badblocks_view view = *dp_segment_view(&pool->segments, 0);
	struct dp_super now;
	int ret;

	assert(pool->has_pipe);
	view.pipe = pool->pipe;
	ret = dp_super_newest(&view, &now);
	if (ret)
		return ret;
	return now.sequence == super->sequence && now.epoch == super->epoch &&
	       now.open_id == super->open_id ? 0 : -ESTALE;
}

static int pool_write_super(struct dp_pool *pool)
{
	return dp_super_write(pool->geometry.base, &pool->persist,
			      &pool->super);
}

/* Record the last open that has written the superblocks of all segments. Until this
 * open has written them all, some may still be of that one (media/stamp.c). If the last
 * open was interrupted before it had written all, its record is kept. */
static void pool_remember_before(struct dp_super *super)
{
	if (super->flags & DP_SUPER_OPENING)
		return;
	super->before_epoch = super->epoch;
	super->before_open_id = super->open_id;
}

int dp_pool_own(struct dp_pool *pool, const struct dp_errmsg *errmsg)
{
	struct dp_super *super = &pool->super;
	int ret;

	pool->movable = dp_defrag_prevent(&pool->segments, &pool->mark_error);
	if (pool->readonly)
		return 0;
	dp_shutdowns_record(super, &pool->flushed.now);
	pool_remember_before(super);
	dp_owner_self(&super->owner);
	ret = dp_epochs_draw(&pool->source, &super->open_id,
			     sizeof(super->open_id), errmsg);
	if (ret)
		return ret;
	super->epoch = dp_epochs_next(&pool->epochs);
	super->file = dp_epochs_first_file(&pool->epochs);
	super->flags |= DP_SUPER_UNCLEAN | DP_SUPER_OPENING;
	super->flags &= ~DP_SUPER_OWNER_UNKNOWN;
	if (dp_epochs_are_copied(&pool->epochs))
		super->flags |= DP_SUPER_ADOPTING;
	ret = pool_write_super(pool);
	if (!ret)
		ret = dp_epochs_write(&pool->epochs, super, false);
	if (ret)
		return ret;
	super->flags &= ~(DP_SUPER_OPENING | DP_SUPER_ADOPTING);
	ret = pool_write_super(pool);
	if (!ret)
		ret = dp_os_pipe(pool->pipe);
	if (ret)
		return ret;
	pool->has_pipe = true;
	dp_persist_set_pipe(&pool->persist, pool->pipe);
	return 0;
}

/* Count a use, and add it to the record. 1: the record was changed. */
static int pool_add_rdma(struct dp_pool *pool,
			 const struct dp_rdma_context *context)
{
	struct dp_owner *owner = &pool->super.owner;
	struct dp_rdma_use *use;
	int ret;

	if (!context) {
		owner->flags |= DP_OWNER_RDMA_UNKNOWN;
		return !pool->rdma_unknown++;
	}
	ret = dp_owner_add_context(owner, context);
	if (ret < 0)
		return ret;
	use = dp_owner_find_use(pool->rdma_use, context);
	assert(use && ret == !use->count);
	use->context = *context;
	use->count++;
	return ret;
}

/* Remove a use. 1: the record was changed. */
static int pool_remove_rdma(struct dp_pool *pool,
			    const struct dp_rdma_context *context)
{
	struct dp_owner *owner = &pool->super.owner;
	struct dp_rdma_use *use;

	if (!context) {
		assert(pool->rdma_unknown);
		if (--pool->rdma_unknown)
			return 0;
		owner->flags &= ~DP_OWNER_RDMA_UNKNOWN;
		return 1;
	}
	use = dp_owner_find_use(pool->rdma_use, context);
	assert(use && use->count);
	if (--use->count)
		return 0;
	dp_owner_remove_context(owner, context);
	return 1;
}

int dp_pool_record_rdma(struct dp_pool *pool,
			const struct dp_rdma_context *context)
{
	int ret;

	assert(!pool->readonly);
	pthread_mutex_lock(&pool->super_mutex);
	/* The next owner reads the record only if the pool is unclean. */
	assert(pool->super.flags & DP_SUPER_UNCLEAN);
	ret = pool_check_ours(pool);
	if (!ret)
		ret = pool_add_rdma(pool, context);
	if (ret > 0) {
		ret = pool_write_super(pool);
		if (ret)
			pool_remove_rdma(pool, context);
	}
	pthread_mutex_unlock(&pool->super_mutex);
	return ret;
}

/* If the write fails, the record has a context too many, which is safe. The close
 * reports the failure. */
void dp_pool_forget_rdma(struct dp_pool *pool,
			 const struct dp_rdma_context *context)
{
	assert(!pool->readonly);
	pthread_mutex_lock(&pool->super_mutex);
	if (pool_remove_rdma(pool, context) && !pool_check_ours(pool))
		pool_write_super(pool);
	pthread_mutex_unlock(&pool->super_mutex);
}

/* A segment that is removed may be the short one. */
static void own_resize(struct dp_super *super, uint32_t segments)
{
	struct dp_geometry geometry;

	super->segments = segments;
	if (super->short_index >= segments) {
		super->short_size = 0;
		super->short_index = 0;
	}
	geometry = dp_geometry_of_pool(super);
	super->pool_size = dp_geometry_bytes(&geometry, segments);
	dp_super_fill_set(super);
}

int dp_pool_set_segments(struct dp_pool *pool, uint32_t segments)
{
	struct dp_super *super = &pool->super, was;
	int ret;

	assert(!pool->readonly && segments && segments <= DP_SEGMENTS_MAX);
	pthread_mutex_lock(&pool->super_mutex);
	was = *super;
	assert(super->flags & DP_SUPER_UNCLEAN);
	ret = pool_check_ours(pool);
	own_resize(super, segments);
	if (!ret)
		ret = pool_write_super(pool);
	if (ret) {
		was.sequence = super->sequence;
		*super = was;
	} else {
		dp_epochs_set_count(&pool->epochs, segments);
	}
	pthread_mutex_unlock(&pool->super_mutex);
	return ret;
}

uint64_t dp_pool_size(struct dp_pool *pool)
{
	uint64_t size;

	pthread_mutex_lock(&pool->super_mutex);
	size = pool->super.pool_size;
	pthread_mutex_unlock(&pool->super_mutex);
	return size;
}

/* The others are marked first, because CLEAN means that all are closed. */
static int pool_mark_clean(struct dp_pool *pool)
{
	struct dp_super *super = &pool->super;
	int ret = dp_segments_check_sizes(&pool->segments);

	if (!ret)
		ret = pool_check_ours(pool);
	if (!ret)
		ret = dp_epochs_write(&pool->epochs, super, true);
	if (ret)
		return ret;
	super->flags &= ~DP_SUPER_UNCLEAN;
	memset(&super->owner, 0, sizeof(super->owner));
	return pool_write_super(pool);
}

int dp_pool_end(struct dp_pool *pool)
{
	int ret;

	if (pool->readonly)
		return 0;
	ret = dp_persist_error(&pool->persist);
	/* After an error it is unknown what is on media; the next open checks it. */
	if (!ret)
		ret = pool_mark_clean(pool);
	/* Part of the mark may be on media, so nothing may be stored afterwards. */
	pool->readonly = true;
	return ret;
}
