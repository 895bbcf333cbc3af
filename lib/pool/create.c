/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Creating a pool. If there was a pool, the create waits first like an open: for the
 * owner lock, then for the verbs contexts of a dead owner. Segment 0's superblock has
 * the flag CREATING before anything else is written, and loses it last, so that the
 * next create completes one that was interrupted.
 */
#include <errno.h>
#include <fcntl.h>
#include "media/super.h"
#include "os/os.h"
#include "owner/owner.h"
#include "pool/create.h"
#include "pool/defrag.h"
#include "pool/remains.h"

#define ATTEMPTS	8u	/* to create the pool, or to open another process's */
#define FILESYSTEM_PART	64u	/* 1/64 of the free space is for the filesystem */

/*
 * Wait for the RDMA of the last owner. If no half of the superblock is whole, the owner
 * is unknown, and its RDMA may continue.
 */
static int create_await_old_owner(struct dp_pool *pool,
				  struct dp_pool_request *request, int damage)
{
	if (!damage)
		return dp_pool_await_owner(pool, request);
	assert(damage == -EUCLEAN || damage == -EMEDIUMTYPE);
	return dp_owner_await_unknown(&request->policy, request->despite_rdma,
				      request->errmsg);
}

/*
 * No superblock was found: may a pool be created here? If there are remains of a
 * pool, the sentence names them, and the cure that destroys them. segments: those that
 * are open.
 */
static int create_check_remains(struct dp_pool *pool,
				struct dp_pool_request *request,
				const struct dp_segments *segments)
{
	const struct dp_remains_place place = {
		&pool->source, &pool->badblocks, dp_file_fd(&pool->first), segments,
		&request->policy };
	struct dp_remains remains;
	int ret = dp_remains_find(&place, &remains, request->errmsg);

	if (ret || !remains.kind)
		return ret;
	if (request->overwrite)
		return create_await_old_owner(pool, request, -EMEDIUMTYPE);
	return dp_remains_fail(&pool->source, &remains, -EEXIST,
			       "; to destroy it create with the overwrite flag",
			       request->errmsg);
}

/* The error for a path that has a pool. If the pool has an unknown format version, the
 * sentence is that of dp_pool_peek(), because overwriting it is refused as well. */
static int create_would_overwrite(const struct dp_pool_request *request,
				  int damage, const char *sentence)
{
	if (!damage)
		return dp_fail(request->errmsg, -EEXIST,
			       "%s has a pool already: open it (if that fails `daxpin check` shows why), or create with the overwrite flag to destroy it",
			       request->path);
	if (damage == -EUCLEAN)
		return dp_fail(request->errmsg, -EEXIST,
			       "%s has a damaged pool: `daxpin check` shows what can be repaired, and the overwrite flag would destroy it",
			       request->path);
	assert(damage == -EPROTONOSUPPORT);
	return dp_fail(request->errmsg, -EEXIST, "%s", sentence);
}

/*
 * Does the superblock of segment 0, or of the device, allow a create? If it returns 0,
 * pool->super continues the counts of the old one. If *ret_blank is set there is no
 * superblock, and create_check_remains() decides.
 */
static int create_check_first(struct dp_pool *pool,
			      struct dp_pool_request *request, bool *ret_blank)
{
	char sentence[400] = "";
	struct dp_errmsg inner = { sentence, sizeof(sentence) };
	int ret = dp_pool_peek(pool, &pool->super, ret_blank, &inner);

	if (ret && ret != -EMEDIUMTYPE && ret != -EUCLEAN &&
	    ret != -EPROTONOSUPPORT)
		return sentence[0] ? dp_fail(request->errmsg, ret, "%s",
					     sentence) :
				     ret;
	if (!ret && dp_super_check_counts(&pool->super, request->errmsg))
		return -EUCLEAN;
	if (!ret && pool->super.flags & DP_SUPER_CREATING)
		return 0;
	if (*ret_blank)
		return 0;
	if (ret == -EMEDIUMTYPE)
		return create_check_remains(pool, request, NULL);
	if (!request->overwrite)
		return create_would_overwrite(request, ret, sentence);
	if (ret == -EPROTONOSUPPORT)
		return dp_fail(request->errmsg, ret, "%s", sentence);
	return create_await_old_owner(pool, request, ret);
}

static int create_size_of_device(const struct dp_pool *pool,
				 const struct dp_pool_request *request,
				 uint64_t *ret_size)
{
	*ret_size = pool->source.device_size;
	if (*ret_size >= request->pool_size)
		return 0;
	return dp_fail(request->errmsg, -ENOSPC,
		       "%s has %llu bytes, and the options ask for at least %llu",
		       request->path, (unsigned long long)*ret_size,
		       (unsigned long long)request->pool_size);
}

/* The bytes that segment files of an interrupted create occupy already. */
static uint64_t create_size_of_files(const struct dp_source *source)
{
	uint64_t size = 0;
	struct stat st;

	for (uint32_t i = 0; i < DP_SEGMENTS_MAX; i++) {
		if (dp_source_stat_segment(source, i, &st))
			break;
		size += (uint64_t)st.st_blocks * 512;
	}
	return size;
}

/*
 * The free space of tmpfs is memory that the machine's programs share, and one that
 * reports no size (ramfs, hugetlbfs) may have no limit but that memory.
 */
static int create_find_room(const struct dp_pool *pool,
			    const struct dp_pool_request *request,
			    uint64_t *ret_room)
{
	int ret;

	if (pool->source.kind == DP_SOURCE_SHMEM)
		return dp_fail(request->errmsg, -EINVAL,
			       "%s is on tmpfs, whose free space is the memory of this machine: give a pool_size of 32 MiB or more",
			       request->path);
	ret = dp_os_free_space(dp_file_fd(&pool->first), ret_room);
	if (ret)
		return dp_fail(request->errmsg, ret,
			       "the free space at %s is unknown (%s): give a pool_size",
			       request->path, strerror(-ret));
	if (*ret_room == UINT64_MAX)
		return dp_fail(request->errmsg, -EINVAL,
			       "the filesystem of %s does not report its free space: give a pool_size of 32 MiB or more",
			       request->path);
	return 0;
}

/* The free space of the filesystem, less a part that it needs for its metadata. */
static int create_size_of_filesystem(const struct dp_pool *pool,
				     const struct dp_pool_request *request,
				     uint64_t *ret_size)
{
	uint64_t most = DP_SEGMENTS_MAX * (request->segment_size ?
					   request->segment_size :
					   DP_SEGMENT_SIZE_MAX);
	uint64_t room = 0;
	int ret = create_find_room(pool, request, &room);

	if (ret)
		return ret;
	room += create_size_of_files(&pool->source);
	room = dp_min(room - room / FILESYSTEM_PART, most);
	*ret_size = room - room % DP_CHUNK_SIZE;
	if (*ret_size >= DP_SEGMENT_SIZE_MIN)
		return 0;
	return dp_fail(request->errmsg, -ENOSPC,
		       "the filesystem of %s has %llu bytes left for a pool, which needs 32 MiB: free some space",
		       request->path, (unsigned long long)*ret_size);
}

/* pool_size 0 takes a whole device or filesystem; any other is a minimum. */
static int create_choose_size(const struct dp_pool *pool,
			      const struct dp_pool_request *request,
			      uint64_t *ret_size)
{
	if (pool->source.kind == DP_SOURCE_DEVDAX)
		return create_size_of_device(pool, request, ret_size);
	if (!request->pool_size)
		return create_size_of_filesystem(pool, request, ret_size);
	/* A value too large to be rounded up is refused later. */
	*ret_size = dp_round_up(dp_min(request->pool_size,
				       UINT64_MAX - DP_CHUNK_SIZE),
				DP_CHUNK_SIZE);
	return 0;
}

/* The size that was given is rounded, so both are named. */
static int create_fail_size(const struct dp_pool_request *request, uint64_t size)
{
	char given[64] = "";

	if (request->pool_size && request->pool_size != size)
		snprintf(given, sizeof(given), " (pool_size is %llu)",
			 (unsigned long long)request->pool_size);
	return dp_fail(request->errmsg, -EINVAL,
		       "a pool of %llu bytes%s is impossible with segments of %llu bytes: the size must be a multiple of 2 MiB, from 32 MiB to %u segments",
		       (unsigned long long)size, given,
		       (unsigned long long)request->segment_size, DP_SEGMENTS_MAX);
}

static int create_check_options(const struct dp_pool_request *request)
{
	static const uint8_t none[16];

	if (memcmp(request->uuid, none, sizeof(none)))
		return dp_fail(request->errmsg, -EINVAL,
			       "a new pool gets a new uuid: leave it out of the options");
	if (request->segment_size &&
	    !dp_geometry_segment_size_is_valid(request->segment_size))
		return dp_fail(request->errmsg, -EINVAL,
			       "segment_size %llu must be a power of two from 32 MiB to 1 GiB",
			       (unsigned long long)request->segment_size);
	return 0;
}

static int create_choose_geometry(struct dp_pool *pool,
				  struct dp_pool_request *request,
				  uint64_t *ret_size)
{
	uint64_t size = 0;
	int ret = create_choose_size(pool, request, &size);

	if (ret)
		return ret;
	if (!request->segment_size)
		request->segment_size = dp_geometry_default_segment_size(size);
	pool->geometry = dp_geometry_of(size, request->segment_size);
	if (size < DP_SEGMENT_SIZE_MIN || size % DP_CHUNK_SIZE ||
	    pool->geometry.segments > DP_SEGMENTS_MAX)
		return create_fail_size(request, size);
	*ret_size = size;
	return 0;
}

/* Write empty roots and lanes to segment 0; durable after the next fence. */
static int create_format_directories(struct dp_pool *pool)
{
	const struct dp_root_word nothing = { 0, 0, 0 };
	char *base = pool->geometry.base;
	uint64_t none;

	for (uint32_t i = 0; i < DP_ROOTS; i++) {
		none = dp_root_encode(pool->seed, i, nothing);
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

/* A superblock without the identity of the segment's file. */
static struct dp_super create_new_super(const struct dp_pool *pool,
					uint32_t index)
{
	struct dp_super super = {
		.magic = DP_MAGIC,
		.version = DP_VERSION,
		.epoch = pool->super.epoch,
		.open_id = pool->super.open_id,
		.segment_size = pool->geometry.segment_size,
		.size = (uint64_t)dp_segment_table(&pool->segments, index)->blocks <<
			DP_BLOCK_SHIFT,
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

/*
 * Zero the metadata that is read before it is written: in segment 0 the page bitmap,
 * roots and lanes, but not the superblock and its copy, which have the flag CREATING;
 * in the other segments the superblock, its copy and the page bitmap. The table itself
 * is not zeroed, because an empty page bitmap means that no page of it is used.
 */
static int create_wipe_metadata(struct dp_pool *pool, uint32_t index)
{
	char *base = dp_segment_table(&pool->segments, index)->base;
	int ret;

	if (!index)
		ret = create_wipe(pool, base + DP_PAGES_OFFSET,
				  DP_LANES_END - DP_PAGES_OFFSET);
	else
		ret = create_wipe(pool, base, DP_PAGES_OFFSET + DP_BLOCK_SIZE);
	if (!ret && index)
		ret = create_wipe(pool, base + DP_COPY_OFFSET, DP_SUPER_SIZE);
	dp_persist_fence(&pool->persist);
	return ret;
}

int dp_pool_format_segment(struct dp_pool *pool, uint32_t index, uint32_t flags)
{
	struct dp_super super = create_new_super(pool, index);
	int ret;

	super.flags = flags;
	ret = create_wipe_metadata(pool, index);
	if (!ret)
		ret = dp_source_file_id(&pool->source,
					dp_segment_fd(&pool->segments, index),
					&super.file);
	if (!ret && !index)
		ret = create_format_directories(pool);
	if (!ret)
		ret = dp_table_format(dp_segment_table(&pool->segments, index));
	dp_persist_fence(&pool->persist);
	if (!ret && index)
		ret = dp_super_write(dp_segment_table(&pool->segments, index)->base,
				     &pool->persist, &super);
	return ret;
}

/* Segment 0's superblock is CREATING at first, and complete at last. */
static int create_format_pool(struct dp_pool *pool, uint64_t size)
{
	struct dp_super super = create_new_super(pool, 0);
	char *base = pool->geometry.base;
	int ret;

	super.sequence = pool->super.sequence;
	super.flags = DP_SUPER_CREATING;
	super.pool_size = size;
	super.segments = pool->geometry.segments;
	if (pool->geometry.short_size < pool->geometry.segment_size) {
		super.short_size = pool->geometry.short_size;
		super.short_index = pool->geometry.short_index;
	}
	dp_super_fill_set(&super);
	ret = dp_source_file_id(&pool->source, dp_segment_fd(&pool->segments, 0),
				&super.file);
	if (!ret)
		ret = dp_super_announce(base, &pool->persist);
	if (!ret)
		ret = dp_super_write(base, &pool->persist, &super);
	for (uint32_t i = 0; !ret && i < pool->geometry.segments; i++)
		ret = dp_pool_format_segment(pool, i, 0);
	if (ret)
		return ret;
	super.flags = 0;
	ret = dp_super_write(base, &pool->persist, &super);
	pool->super = super;
	return ret;
}

/* The files' sizes and names must survive a power cut like the stores. */
int dp_pool_sync_files(struct dp_pool *pool, uint32_t first,
		       const struct dp_errmsg *errmsg)
{
	int ret = 0;

	if (pool->source.dir < 0)
		return 0;
	for (uint32_t i = first; !ret && i < dp_segments_count(&pool->segments); i++)
		ret = dp_os_fsync(dp_segment_fd(&pool->segments, i));
	if (!ret)
		ret = dp_os_fsync(pool->source.dir);
	return ret ? dp_fail(errmsg, ret, "%s: fsync() of the new files fails: %s",
			     pool->source.path, strerror(-ret)) : 0;
}

/* Metadata has a fixed place, and a store to a bad block may be SIGBUS. */
int dp_pool_check_medium(const struct dp_pool *pool, uint32_t first,
			 const struct dp_errmsg *errmsg)
{
	struct dp_badblocks_run run;

	for (uint32_t i = first; i < dp_segments_count(&pool->segments); i++) {
		if (!dp_badblocks_find(
			    dp_segment_badblocks(&pool->segments, i), 0,
			    dp_geometry_meta_size(&pool->geometry), &run))
			continue;
		return dp_fail(errmsg, -EIO,
			       "segment %u of %s: the medium is bad at its offset 0x%llx, the place of metadata: clear it (ndctl clear-errors)%s",
			       i, pool->source.path,
			       (unsigned long long)run.begin,
			       pool->source.dir < 0 ? "" :
			       ", or put the bad blocks into a file of their own and create again");
	}
	return 0;
}

/*
 * Check the request and what is there. In a directory the size is looked at only if
 * there is no pool: an existing one keeps its size, and the caller of
 * dp_pool_open_or_create() gets it even if nothing is free, or if no new pool could be
 * as small as the minimum. A pool that is overwritten is not waited for if the size is
 * impossible.
 */
static int create_check(struct dp_pool *pool, struct dp_pool_request *request,
			uint64_t *ret_size, bool *ret_blank)
{
	bool last = pool->source.kind != DP_SOURCE_DEVDAX &&
		    (!request->pool_size || !request->overwrite);
	int ret = create_check_options(request);

	if (!ret && !last)
		ret = create_choose_geometry(pool, request, ret_size);
	if (!ret)
		ret = dp_flushed_check(&pool->flushed, &pool->source,
				       dp_file_fd(&pool->first),
				       &(struct dp_super) { .flags = 0 },
				       request->need_flushed, request->errmsg);
	if (!ret)
		ret = create_check_first(pool, request, ret_blank);
	if (!ret && last)
		ret = create_choose_geometry(pool, request, ret_size);
	return ret;
}

/* Check the request and what is there, and draw the numbers of the new pool. */
static int create_begin(struct dp_pool *pool, struct dp_pool_request *request,
			uint64_t *ret_size, bool *ret_blank)
{
	int ret = create_check(pool, request, ret_size, ret_blank);

	if (!ret)
		ret = dp_pool_resolve_granularity(pool, request->granularity,
					  request->errmsg);
	if (!ret)
		ret = dp_epochs_draw(&pool->source, pool->super.uuid, 16,
				     request->errmsg);
	if (!ret)
		ret = dp_epochs_draw(&pool->source, &pool->super.open_id,
				     sizeof(pool->super.open_id),
				     request->errmsg);
	return ret;
}

/* All decisions are made under the locks. Before the last decision, files are created,
 * extended and given blocks. create_undo() removes these, except for blocks in holes of
 * old files. No byte of an old file is changed before the last decision. */
static int create_locked(struct dp_pool *pool, struct dp_pool_request *request)
{
	bool blank = false;
	uint64_t size = 0;
	int ret = create_begin(pool, request, &size, &blank);

	if (ret)
		return ret;
	pool->seed = dp_layout_seed(pool->super.uuid);
	ret = dp_pool_open_segments(pool, request, true);
	if (!ret && blank)
		ret = create_check_remains(pool, request, &pool->segments);
	if (!ret)
		ret = dp_pool_map(pool, request, size, true);
	if (!ret)
		ret = dp_pool_check_medium(pool, 0, request->errmsg);
	if (!ret)
		ret = dp_pool_sync_files(pool, 0, request->errmsg);
	if (!ret)
		ret = create_format_pool(pool, size);
	return ret ? ret : dp_epochs_check(&pool->epochs, &pool->segments,
					   &pool->super,
					   &(struct dp_epochs_rules) { 0 },
					   request->errmsg);
}

/*
 * Remove what this call made, and nothing that existed before. Segment 0 is the last:
 * while it exists, the next create completes this one.
 */
static void create_undo(struct dp_pool *pool)
{
	dp_segments_undo(&pool->segments);
	dp_file_undo(&pool->first, &pool->source);
}

int dp_pool_create(struct dp_pool *pool, struct dp_pool_request *request)
{
	int ret;

	if (request->readonly)
		return -EINVAL;
	ret = dp_pool_begin(pool, request, DP_SOURCE_MAKE_DIR);
	if (ret)
		return ret;
	if (pool->source.made_dir)
		dp_defrag_prevent_one(&pool->source, pool->source.dir,
				      &pool->mark_error);
	ret = dp_pool_lock(pool, request, DP_FILE_MAKE);
	if (!ret)
		ret = create_locked(pool, request);
	pool->created = true;
	if (ret)
		dp_pool_give_up(pool);
	return ret;
}

/*
 * Try to create first, because a create tests and writes under one lock, so that one of
 * several processes makes the pool. If it returns -EEXIST it has changed nothing. The
 * pool that it found may not exist any more when it is opened, if that pool's create
 * failed; then both are tried again.
 */
int dp_pool_open_or_create(struct dp_pool *pool,
			   struct dp_pool_request *request)
{
	int ret = -EEXIST;

	assert(!request->readonly && !request->overwrite);
	for (unsigned int i = 0; i < ATTEMPTS; i++) {
		dp_clear_errmsg(request->errmsg);
		ret = dp_pool_create(pool, request);
		if (ret != -EEXIST)
			return ret;
		dp_clear_errmsg(request->errmsg);
		ret = dp_pool_open(pool, request);
		if (ret != -ENOENT && ret != -EMEDIUMTYPE)
			return ret;
	}
	return ret;
}

void dp_pool_give_up(struct dp_pool *pool)
{
	if (pool->created) {
		create_undo(pool);
		dp_source_unmake(&pool->source);
	}
	dp_pool_tear_down(pool);
}
