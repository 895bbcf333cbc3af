/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adds segments to a pool that is open for writing. On media:
 *
 *	none -> NEW		[grow_make] a file under the name of a new file, locked,
 *				with its blocks and all its metadata, durable
 *	NEW -> NAMED		[dp_segments_rename] the final name, durable
 *	NAMED -> PART		[dp_pool_set_segments] segment 0's superblock counts it
 *	NEW, NAMED -> none	[dp_pool_grow_undo], or by the next open for writing
 *				after a crash: [dp_pool_remove_unfinished], or, if the
 *				dead owner's DMA had them locked then, by the next grow
 *
 * So after a crash the pool has all of the segments or none of them. On a device there
 * are no files, and the space behind the pool's segments is formatted.
 *
 * A new segment has the epoch of the present open. The next open takes a file with a
 * final name for the remains of a grow only if its superblock is of this pool, of that
 * segment and of the open that did not end, and if no page of its table is used,
 * because a segment gets its first extent after it was counted. Other files remain,
 * and are counted in ignored_files: they may be a part of a backup.
 *
 * Invariants:
 *	D10	one write of segment 0's superblock adds all segments of a grow
 *	D20	the next open for writing removes what a crashed grow has made, and no
 *		other file
 *	W3	a segment's file is locked and in the anchor before an address in it is
 *		given to anybody
 */
#include <errno.h>
#include "media/super.h"
#include "os/os.h"
#include "pool/blocks.h"
#include "pool/create.h"
#include "pool/defrag.h"
#include "pool/grow.h"
#include "pool/own.h"

/* ----------------------------------------------------------------- may it grow */

static int grow_check_state(const struct dp_pool *pool,
			    const struct dp_errmsg *errmsg)
{
	if (pool->readonly)
		return dp_fail(errmsg, -EROFS,
			       "%s is open for reading: open it for writing to grow it",
			       pool->source.path);
	if (pool->degraded)
		return dp_fail(errmsg, -EUCLEAN,
			       "%s was opened with DAXPIN_POOL_DEGRADED: repair it first, see daxpin_check(3)",
			       pool->source.path);
	if (dp_pool_in_set(pool) < pool->geometry.segments)
		return dp_fail(errmsg, -EBUSY,
			       "segments of %s were removed since it was opened: close it and open it again, then grow it",
			       pool->source.path);
	return 0;
}

static int grow_no_room(const struct dp_pool *pool, uint64_t size,
			const struct dp_errmsg *errmsg)
{
	uint64_t most = dp_geometry_bytes(&pool->geometry, pool->geometry.most);

	if (pool->source.kind == DP_SOURCE_DEVDAX)
		return dp_fail(errmsg, -ENOSPC,
			       "%s has room for a pool of %llu bytes, in whole segments, and %llu are wanted: make the device larger (daxctl reconfigure-device) and open the pool again",
			       pool->source.path, (unsigned long long)most,
			       (unsigned long long)size);
	return dp_fail(errmsg, -ENOSPC,
		       "%s was opened with addresses for %llu bytes, and %llu are wanted: close it, and open it with max_size of at least that (see also RLIMIT_AS)",
		       pool->source.path, (unsigned long long)most,
		       (unsigned long long)size);
}

int dp_pool_grow_check(const struct dp_pool *pool, uint64_t size,
		       uint32_t *ret_segments, const struct dp_errmsg *errmsg)
{
	const struct dp_geometry *geometry = &pool->geometry;
	uint64_t now = dp_geometry_bytes(geometry, geometry->segments);
	uint64_t most = dp_geometry_bytes(geometry, DP_SEGMENTS_MAX), segments;
	int ret = grow_check_state(pool, errmsg);

	if (ret)
		return ret;
	if (size <= now || size > most)
		return dp_fail(errmsg, -EINVAL,
			       "%s has %llu bytes and cannot grow to %llu: the size must be larger, and at most %llu, %u segments of %llu bytes; for more, create a pool with a larger segment_size",
			       pool->source.path, (unsigned long long)now,
			       (unsigned long long)size, (unsigned long long)most,
			       DP_SEGMENTS_MAX,
			       (unsigned long long)geometry->segment_size);
	segments = dp_geometry_segments_for(geometry, size);
	if (segments > geometry->most)
		return grow_no_room(pool, dp_geometry_bytes(geometry, segments),
				    errmsg);
	*ret_segments = segments;
	return 0;
}

/* ------------------------------------------------------------- after a crash */

static bool grow_is_blank_bitmap(const struct dp_pool *pool, uint32_t index,
				 const struct dp_badblocks_view *view)
{
	uint64_t first = dp_geometry_begin(&pool->geometry, index) >> DP_BLOCK_SHIFT;
	uint64_t raw[DP_PAGES_WORDS], bits;

	if (dp_badblocks_read(view, DP_PAGES_OFFSET, raw, sizeof(raw)))
		return false;
	for (uint32_t i = 0; i < DP_PAGES_WORDS; i++)
		if (!dp_pages_decode(pool->seed, first + i, raw[i], &bits) || bits)
			return false;
	return true;
}

/* Is a file with a final name one that the last owner was adding? */
static bool grow_is_unfinished(const struct dp_pool *pool, uint32_t index, int fd)
{
	static const struct dp_badblocks none;
	struct dp_badblocks_view view = { &none, NULL, fd, NULL };
	const struct dp_super *first = &pool->super;
	struct dp_super super;
	struct stat stat;
	void *base;
	bool is;

	if (dp_os_fstat(fd, &stat) || (uint64_t)stat.st_size < DP_CHUNK_SIZE ||
	    dp_map_peek(fd, DP_CHUNK_SIZE, &base))
		return false;
	view.base = base;
	is = !dp_super_newest(&view, &super) && super.index == index &&
	     super.flags == DP_SUPER_UNCLEAN && super.epoch == first->epoch &&
	     super.open_id == first->open_id &&
	     !memcmp(super.uuid, first->uuid, sizeof(super.uuid)) &&
	     grow_is_blank_bitmap(pool, index, &view);
	dp_os_unmap(base, DP_CHUNK_SIZE);
	return is;
}

/* What cannot be opened, or is locked, remains, and is counted as an ignored file. */
static int grow_remove_one(uint32_t index, void *arg)
{
	struct dp_wait_policy without_waiting = { 0 };
	struct dp_errmsg silent = { NULL, 0 };
	struct dp_pool *pool = arg;
	struct dp_file file;

	if (dp_file_open(&file, &pool->source, index, DP_FILE_WRITE, &silent))
		return 0;
	dp_wait_begin(&without_waiting);
	if (!dp_file_lock(&file, &pool->source, false, &without_waiting, &silent) &&
	    (index & DP_SOURCE_NEW ||
	     grow_is_unfinished(pool, index, dp_file_fd(&file))))
		dp_file_remove(&file, &pool->source);
	dp_file_close(&file);
	return 0;
}

static int grow_remove_new(uint32_t index, void *arg)
{
	return index & DP_SOURCE_NEW ? grow_remove_one(index, arg) : 0;
}

static int grow_cannot_list(const struct dp_pool *pool, int error,
			    const struct dp_errmsg *errmsg)
{
	return dp_fail(errmsg, error, "the files of %s cannot be listed: %s",
		       pool->source.path, strerror(-error));
}

int dp_pool_remove_unfinished(struct dp_pool *pool,
			      const struct dp_errmsg *errmsg)
{
	int extra;
	int ret = dp_source_each_extra(&pool->source, pool->geometry.segments,
				       grow_remove_one, pool);

	extra = dp_source_extra_files(&pool->source, pool->geometry.segments);
	if (ret || extra < 0)
		return grow_cannot_list(pool, ret ? ret : extra, errmsg);
	pool->ignored_files = extra;
	return 0;
}

/* ------------------------------------------------------------------- the files */

static int grow_make(struct dp_pool *pool, uint32_t segments,
		     struct dp_wait_policy *policy,
		     const struct dp_errmsg *errmsg)
{
	struct dp_segments *all = &pool->segments;
	uint32_t first = pool->geometry.segments;
	/* Only the owner makes new files, and no other grow runs. So those that are
	 * there are of a crashed grow, and were locked when the pool was opened. */
	int ret = dp_source_each_extra(&pool->source, first, grow_remove_new, pool);

	if (ret)
		return grow_cannot_list(pool, ret, errmsg);
	for (uint32_t i = first; !ret && i < segments; i++) {
		ret = dp_segments_add(all, policy, errmsg);
		if (!ret && dp_segment_fd(all, i) >= 0)
			dp_defrag_prevent_one(&pool->source, dp_segment_fd(all, i),
					      &pool->mark_error);
	}
	if (!ret)
		ret = dp_blocks_create(all, first, policy, errmsg);
	for (uint32_t i = first; !ret && i < segments; i++) {
		ret = dp_segment_list(all, i, errmsg);
		if (!ret)
			ret = dp_segment_find_badblocks(all, i, errmsg);
	}
	return ret ? ret : dp_pool_check_medium(pool, first, errmsg);
}

static int grow_format(struct dp_pool *pool, uint32_t segments,
		       const struct dp_errmsg *errmsg)
{
	struct dp_file_id file;
	int ret = 0;

	for (uint32_t i = pool->geometry.segments; !ret && i < segments; i++) {
		ret = dp_pool_format_segment(pool, i, DP_SUPER_UNCLEAN);
		if (!ret)
			ret = dp_source_file_id(&pool->source,
						dp_segment_fd(&pool->segments, i),
						&file);
		if (!ret)
			ret = dp_epochs_prepare(&pool->epochs, i, &file);
	}
	return ret ? dp_fail(errmsg, ret,
			     "a new segment of %s cannot be formatted: %s",
			     pool->source.path, strerror(-ret)) :
		     dp_pool_sync_files(pool, pool->geometry.segments, errmsg);
}

/* Keep the new files locked as long as a ring has the anchor (W3). */
static int grow_add_to_anchor(struct dp_pool *pool, const struct dp_errmsg *errmsg)
{
	if (dp_anchor_fd(&pool->anchor) < 0)
		return 0;
	return dp_segments_add_to_anchor(&pool->segments, pool->geometry.segments,
					 &pool->anchor, errmsg);
}

int dp_pool_grow_prepare(struct dp_pool *pool, uint32_t segments,
			 struct dp_wait_policy *policy,
			 const struct dp_errmsg *errmsg)
{
	int ret = grow_make(pool, segments, policy, errmsg);

	if (!ret)
		ret = grow_format(pool, segments, errmsg);
	if (!ret)
		ret = grow_add_to_anchor(pool, errmsg);
	if (ret)
		dp_pool_grow_undo(pool);
	return ret;
}

void dp_pool_grow_undo(struct dp_pool *pool)
{
	dp_segments_cut(&pool->segments, pool->geometry.segments, true);
}

int dp_pool_grow_commit(struct dp_pool *pool, const struct dp_errmsg *errmsg)
{
	uint32_t first = pool->geometry.segments;
	int ret = dp_segments_rename(&pool->segments, first, errmsg);

	if (!ret && pool->source.dir >= 0)
		ret = dp_os_fsync(pool->source.dir);
	if (ret) {
		dp_pool_grow_undo(pool);
		return ret;
	}
	ret = dp_pool_set_segments(pool, dp_segments_count(&pool->segments));
	if (!ret)
		return 0;
	/* The superblock may count the files, so they remain. */
	dp_segments_cut(&pool->segments, first, false);
	return dp_fail(errmsg, ret,
		       "the superblock of %s cannot be written: %s: the next open finds out whether the pool has grown",
		       pool->source.path, strerror(-ret));
}
