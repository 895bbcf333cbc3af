/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making a pool. Over anything that was a pool the same waits come first as in
 * an open: the owner lock, then the verbs of an owner that died. Segment 0's
 * superblock says CREATING before anything else is written and whole last, so
 * that a create cut short is completed by the next one.
 */
#include <errno.h>
#include <fcntl.h>
#include "media/super.h"
#include "os/os.h"
#include "pool/create.h"

static bool create_file_is_blank(int fd)
{
	struct stat st;
	static const struct dp_bad none;
	void *base;
	bool blank;

	if (dp_os_fstat(fd, &st))
		return false;
	if ((uint64_t)st.st_size < DP_CHUNK_SIZE)
		return !st.st_size;
	if (dp_map_peek(fd, DP_CHUNK_SIZE, &base))
		return false;
	blank = dp_pool_is_blank(&(struct dp_bad_view) { &none, base, fd });
	dp_os_unmap(base, DP_CHUNK_SIZE);
	return blank;
}

/* Files of later segments: a create that was cut short leaves blank ones. */
static bool create_later_segments_are_blank(struct dp_pool *pool)
{
	int extra = dp_source_extra_files(&pool->source, 1);
	bool blank = true;

	for (uint32_t i = 1; blank && extra && i < DP_SEGMENTS_MAX; i++) {
		int fd = dp_source_open(&pool->source, i, O_RDONLY, NULL);

		if (fd == -EUCLEAN)	/* no such file */
			continue;
		extra--;
		blank = fd >= 0 && create_file_is_blank(fd);
		dp_os_close(fd);
	}
	return blank;
}

/*
 * Whose was it? Where no half of the superblock is whole nobody can tell, and
 * the RDMA of that owner may go on.
 */
static int create_await_old_owner(struct dp_pool *pool,
				  struct dp_pool_request *request, int damage)
{
	switch (damage) {
	case 0:
		return dp_pool_await_owner(pool, request);
	case -EMEDIUMTYPE:		/* never a pool */
		return 0;
	case -EUCLEAN:
		return dp_fail(request->why, damage,
			       "%s: its superblock is lost, and with it whose RDMA may still reach it: make sure that none does, then remove its files (or zero the first 2 MiB of the device) and create again",
			       request->path);
	default:
		return damage;
	}
}

/* May what is there be written over? On 0 pool->super continues its counts. */
static int create_check_overwrite(struct dp_pool *pool,
				  struct dp_pool_request *request, int fd)
{
	bool blank, unfinished;
	int ret;

	ret = dp_pool_peek(pool, fd, &pool->super, &blank, request->why);
	if (ret == -EIO)
		return ret;
	unfinished = !ret && pool->super.flags & DP_SUPER_CREATING;
	if (unfinished || (blank && create_later_segments_are_blank(pool)))
		return 0;
	if (!request->overwrite)
		return dp_fail(request->why, -EEXIST,
			       "%s holds %s already: open it, or create with the overwrite flag to destroy it",
			       request->path, ret ? "something" : "a pool");
	return create_await_old_owner(pool, request, ret);
}

static int create_check_geometry(struct dp_pool *pool,
				 const struct dp_pool_request *request,
				 uint64_t *ret_size)
{
	uint64_t size = request->pool_size;

	if (!dp_geometry_segment_size_is_valid(request->segment_size))
		return dp_fail(request->why, -EINVAL,
			       "a segment has 32 to 512 MiB and a power of two");
	if (pool->source.kind == DP_SOURCE_DEVDAX) {
		if (size)
			return dp_fail(request->why, -EINVAL,
				       "a pool takes the whole device: give no size");
		size = pool->source.device_size;
	}
	pool->geometry = dp_geometry_of(size, request->segment_size);
	if (size < DP_SEGMENT_SIZE_MIN || size % DP_CHUNK_SIZE ||
	    pool->geometry.segments > DP_SEGMENTS_MAX)
		return dp_fail(request->why, -EINVAL,
			       "a pool has 32 MiB to %u segments, in multiples of 2 MiB",
			       DP_SEGMENTS_MAX);
	*ret_size = size;
	return 0;
}

/* Empty roots and lanes, for segment 0; durable after the next fence. */
static int create_format_directories(struct dp_pool *pool)
{
	char *base = pool->geometry.base;
	uint64_t none;

	for (uint32_t i = 0; i < DP_ROOTS; i++) {
		none = dp_root_encode(pool->seed, i, 0, 0);
		dp_persist_store(&pool->persist, base + DP_ROOTS_OFFSET +
				 i * sizeof(struct dp_root) +
				 offsetof(struct dp_root, word), none);
	}
	for (uint32_t i = 0; i < DP_LANES; i++) {
		static const struct dp_lane empty;
		char *to = base + DP_LANES_OFFSET + i * sizeof(empty);

		dp_persist_store(&pool->persist,
				 to + offsetof(struct dp_lane, check),
				 dp_lane_check(pool->seed, i, &empty));
	}
	return dp_persist_flush(&pool->persist, base + DP_ROOTS_OFFSET,
				DP_LANES_END - DP_ROOTS_OFFSET);
}

static struct dp_super create_new_super(const struct dp_pool *pool,
					uint32_t index)
{
	struct dp_super super = {
		.magic = DP_MAGIC,
		.version = DP_VERSION,
		.segment_size = pool->geometry.segment_size,
		.size = dp_geometry_size(&pool->geometry, index),
		.index = index,
	};

	memcpy(super.uuid, pool->super.uuid, 16);
	return super;
}

/* Zero a range and write it back. */
static int create_wipe(struct dp_pool *pool, char *from, uint64_t size)
{
	dp_persist_zero(&pool->persist, from, size);
	return dp_persist_flush(&pool->persist, from, size);
}

/* All of chunk 0 but segment 0's superblock and its copy, which say CREATING. */
static int create_wipe_chunk(struct dp_pool *pool, uint32_t index)
{
	uint64_t keep = index ? 0 : DP_BLOCK_SIZE;
	char *base = dp_geometry_base(&pool->geometry, index);
	int ret;

	ret = create_wipe(pool, base + keep, DP_COPY_OFFSET - keep);
	if (!ret)
		ret = create_wipe(pool, base + DP_COPY_OFFSET + keep,
				  DP_CHUNK_SIZE - DP_COPY_OFFSET - keep);
	dp_persist_fence(&pool->persist);
	return ret;
}

/* Everything of a segment but, for segment 0, its superblock. */
static int create_format_segment(struct dp_pool *pool, uint32_t index)
{
	struct dp_super super = create_new_super(pool, index);
	int ret;

	ret = create_wipe_chunk(pool, index);
	if (!ret && !index)
		ret = create_format_directories(pool);
	if (!ret)
		ret = dp_table_format(dp_segment_table(&pool->segments, index));
	dp_persist_fence(&pool->persist);
	if (!ret && index)
		ret = dp_super_write(dp_geometry_base(&pool->geometry, index),
				     &pool->persist, &super);
	return ret;
}

/* Segment 0's superblock first says CREATING, and last that all is there. */
static int create_format_pool(struct dp_pool *pool, uint64_t size)
{
	struct dp_super super = create_new_super(pool, 0);
	char *base = pool->geometry.base;
	int ret;

	super.sequence = pool->super.sequence;
	super.epoch = pool->super.epoch;
	/* As dp_pool_own() does: D15. */
	if (pool->super.flags & DP_SUPER_OWNER_UNKNOWN)
		super.epoch++;
	super.flags = DP_SUPER_CREATING;
	super.pool_size = size;
	super.segments = pool->geometry.segments;
	for (uint32_t i = 0; i < pool->geometry.segments; i++)
		super.segment_set[i / 8] |= 1u << i % 8;
	ret = dp_super_announce(base, &pool->persist);
	if (!ret)
		ret = dp_super_write(base, &pool->persist, &super);
	for (uint32_t i = 0; !ret && i < pool->geometry.segments; i++)
		ret = create_format_segment(pool, i);
	if (ret)
		return ret;
	super.flags = 0;
	ret = dp_super_write(base, &pool->persist, &super);
	pool->super = super;
	return ret;
}

/* The files' sizes and names must survive a power cut as the stores do. */
static int create_sync_files(struct dp_pool *pool)
{
	int ret = 0;

	if (pool->source.dir < 0)
		return 0;
	for (uint32_t i = 0; !ret && i < pool->geometry.segments; i++)
		ret = dp_os_fsync(dp_segment_fd(&pool->segments, i));
	return ret ? ret : dp_os_fsync(pool->source.dir);
}

/* Metadata cannot be moved elsewhere, and a store there may be a SIGBUS. */
static int create_check_medium(const struct dp_pool *pool,
			       const struct dp_why *why)
{
	struct dp_bad_run run;

	for (uint32_t i = 0; i < pool->geometry.segments; i++) {
		if (!dp_bad_find(dp_segment_bad(&pool->segments, i), 0,
				 DP_CHUNK_SIZE, &run))
			continue;
		return dp_fail(why, -EIO,
			       "segment %u of %s: the medium is bad at offset 0x%llx of it, where metadata goes: clear it (ndctl clear-errors)%s",
			       i, pool->source.path,
			       (unsigned long long)run.begin,
			       pool->source.dir < 0 ? "" :
			       ", or leave the bad blocks to a file of their own and create again");
	}
	return 0;
}

static int create_locked(struct dp_pool *pool, struct dp_pool_request *request,
			 int fd)
{
	uint64_t size = 0;
	int ret;

	ret = create_check_geometry(pool, request, &size);
	if (!ret)
		ret = create_check_overwrite(pool, request, fd);
	if (!ret)
		ret = dp_pool_resolve_granularity(pool, request->granularity,
					  request->why);
	if (!ret)
		ret = dp_os_random(pool->super.uuid, 16);
	if (ret)
		return ret;
	pool->seed = dp_layout_seed(pool->super.uuid);
	ret = dp_pool_map(pool, request, size, fd, true);
	if (!ret)
		ret = create_check_medium(pool, request->why);
	if (!ret)
		ret = create_sync_files(pool);
	return ret ? ret : create_format_pool(pool, size);
}

/* Take back what this call made, and nothing that was there before. */
static void create_remove_new_files(struct dp_pool *pool, bool first_is_new)
{
	char name[DP_SEGMENT_NAME_SIZE];

	/* Segment 0 last: while it is there, the next create goes on from it. */
	for (uint32_t i = DP_SEGMENTS_MAX; i--;) {
		if (i ? !dp_segment_was_made(&pool->segments, i) :
			!first_is_new)
			continue;
		dp_source_segment_name(i, name);
		dp_os_unlink(pool->source.dir, name);
	}
}

/* Under the lock, or the new file may be somebody else's by now. */
static int create_or_remove(struct dp_pool *pool,
			    struct dp_pool_request *request, int fd,
			    bool first_is_new)
{
	int ret = create_locked(pool, request, fd);

	if (ret && pool->source.dir >= 0)
		create_remove_new_files(pool, first_is_new);
	return ret;
}

int dp_pool_create(struct dp_pool *pool, struct dp_pool_request *request)
{
	bool fresh;
	int fd = -1, ret;
	dev_t dev;
	ino_t ino;

	if (request->readonly)
		return -EINVAL;
	ret = dp_pool_begin(pool, request, DP_SOURCE_MAKE_DIR);
	if (ret)
		return ret;
	fresh = pool->source.dir >= 0 &&
		dp_source_identity(&pool->source, &dev, &ino) == -ENOENT;
	if (fresh) {
		/* Made by name first, so that there is an inode to claim. */
		fd = dp_source_open(&pool->source, 0, O_RDWR | O_CREAT | O_EXCL,
				    request->why);
		dp_os_close(fd);
		ret = fd < 0 ? fd : 0;
		fd = -1;
	}
	if (!ret)
		ret = dp_pool_lock(pool, request, O_RDWR, &fd);
	if (!ret)
		ret = create_or_remove(pool, request, fd, fresh);
	if (ret) {
		dp_source_unmake(&pool->source);
		dp_pool_tear_down(pool, fd, true);
	}
	return ret;
}
