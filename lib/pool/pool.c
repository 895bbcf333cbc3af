/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening: open the first file, claim its inode in this process, take its lock, wait
 * for the verbs contexts of a dead owner, open, claim and lock the other files, map
 * everything, pass the layout barrier on a DAX filesystem, check everything; only then
 * may anything be written (D8). A failure before that leaves the medium unchanged.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "media/stamp.h"
#include "media/super.h"
#include "os/os.h"
#include "owner/barrier.h"
#include "owner/owner.h"
#include "pool/blocks.h"
#include "pool/pool.h"
#include "pool/remains.h"

#define MAX_SIZE_DEFAULT	(64ull << 30)

/* ------------------------------------------------------- finding and locking */

int dp_pool_resolve_granularity(struct dp_pool *pool, uint32_t wanted,
				const struct dp_errmsg *errmsg)
{
	enum dp_source_kind kind = pool->source.kind;
	bool dax = kind == DP_SOURCE_DEVDAX || kind == DP_SOURCE_FSDAX;

	if (wanted > DP_GRANULARITY_PAGE)
		return dp_fail(errmsg, -EINVAL, "there is no granularity %u",
			       wanted);
	if (!wanted)
		wanted = dax ? DP_GRANULARITY_CACHE_LINE : DP_GRANULARITY_PAGE;
	if (kind == DP_SOURCE_DISK && wanted != DP_GRANULARITY_PAGE)
		return dp_fail(errmsg, -EINVAL,
			       "%s is on a disk: only page granularity is durable there",
			       pool->source.path);
	if (kind == DP_SOURCE_DEVDAX && wanted == DP_GRANULARITY_PAGE)
		return dp_fail(errmsg, -EINVAL,
			       "%s is device-dax, which has no msync: use cache line granularity",
			       pool->source.path);
	return dp_persist_init(&pool->persist, wanted, errmsg);
}

static int pool_cannot_list(const struct dp_pool *pool, int error,
			    const struct dp_errmsg *errmsg)
{
	return dp_fail(errmsg, error, "the files of %s cannot be listed: %s",
		       pool->source.path, strerror(-error));
}

/* If segment 0 is missing there is no pool, unless other files of one exist. */
static int pool_no_first_segment(const struct dp_pool *pool,
				 enum dp_file_access access,
				 const struct dp_errmsg *errmsg)
{
	char name[DP_SEGMENT_NAME_SIZE];
	int extra = dp_source_extra_files(&pool->source, 1);

	if (pool->source.kind == DP_SOURCE_DEVDAX)
		return dp_fail(errmsg, -ENOENT, "%s was removed meanwhile",
			       pool->source.path);
	if (access == DP_FILE_MAKE)
		return dp_fail(errmsg, -EBUSY,
			       "%s was removed while a pool was made in it: try again",
			       pool->source.path);
	if (extra < 0)
		return pool_cannot_list(pool, extra, errmsg);
	dp_source_segment_name(0, name);
	if (extra)
		return dp_fail(errmsg, -EUCLEAN,
			       "%s/%s is missing: restore the file, the pool needs all its segments",
			       pool->source.path, name);
	return dp_fail(errmsg, -EMEDIUMTYPE,
		       "%s has no daxpin pool: create one",
		       pool->source.path);
}

static int pool_list_bad(struct dp_pool *pool)
{
	if (pool->source.kind == DP_SOURCE_DEVDAX)
		return dp_badblocks_of_device(pool->source.device,
					      &pool->badblocks);
	return dp_badblocks_of_disk(dp_file_fd(&pool->first), &pool->badblocks);
}

int dp_pool_classify(struct dp_pool *pool)
{
	int ret = dp_source_classify(&pool->source, dp_file_fd(&pool->first));

	return ret ? ret : pool_list_bad(pool);
}

int dp_pool_open_first(struct dp_pool *pool, struct dp_pool_request *request,
		       enum dp_file_access access)
{
	int ret = dp_file_open(&pool->first, &pool->source, 0, access,
			       request->errmsg);

	if (ret == -ENOENT)
		return pool_no_first_segment(pool, access, request->errmsg);
	return ret;
}

/* Other processes may create, remove and replace the file meanwhile. */
static int pool_lock_first(struct dp_pool *pool,
			   struct dp_pool_request *request,
			   enum dp_file_access access)
{
	int ret = dp_pool_open_first(pool, request, access);

	if (ret)
		return ret;
	ret = dp_file_lock(&pool->first, &pool->source, request->readonly,
			   &request->policy, request->errmsg);
	if (ret == -ESTALE)
		ret = dp_fail(request->errmsg, ret,
			      "%s was replaced while its lock was waited for: try again",
			      pool->source.path);
	return ret;
}

/*
 * If a create opened a file that another create has made and then removed, there is no
 * pool, so it begins again. Each repetition needs another create that fails, so this
 * ends.
 */
int dp_pool_lock(struct dp_pool *pool, struct dp_pool_request *request,
		 enum dp_file_access access)
{
	int ret;

	while ((ret = pool_lock_first(pool, request, access)) == -ESTALE &&
	       access == DP_FILE_MAKE &&
	       pool->source.kind != DP_SOURCE_DEVDAX)
		dp_file_close(&pool->first);
	if (ret == -ESTALE)
		ret = -EBUSY;
	return ret ? ret : dp_pool_classify(pool);
}

/* Bytes of segment 0's file, or of the device. */
static int pool_medium_size(const struct dp_pool *pool, uint64_t *ret_size)
{
	struct stat st;
	int ret;

	if (pool->source.kind == DP_SOURCE_DEVDAX) {
		*ret_size = pool->source.device_size;
		return 0;
	}
	ret = dp_os_fstat(dp_file_fd(&pool->first), &st);
	if (!ret)
		*ret_size = st.st_size;
	return ret;
}

/* The error for a segment 0 that is too short for a superblock. */
static int pool_fail_short(const struct dp_pool *pool, uint64_t size,
			   const struct dp_errmsg *errmsg)
{
	int extra = dp_source_extra_files(&pool->source, 1);
	bool was_longer = size || extra;

	if (extra < 0)
		return pool_cannot_list(pool, extra, errmsg);
	return dp_fail(errmsg, was_longer ? -EUCLEAN : -EMEDIUMTYPE,
		       "segment 0 of %s has %llu bytes: %s", pool->source.path,
		       (unsigned long long)size, was_longer ?
		       "truncated: restore the file, the pool needs all its segments; the pool was left untouched" :
		       "there is no daxpin pool: create one");
}

/*
 * A view of the device or of segment 0's file, before the file has its own list of bad
 * blocks. It needs none, because reads of the file are checked by the filesystem.
 */
static struct dp_badblocks_view pool_first_view(const struct dp_pool *pool,
						int fd, const char *base)
{
	static const struct dp_badblocks none;

	if (pool->source.kind == DP_SOURCE_DEVDAX)
		return (struct dp_badblocks_view) { &pool->badblocks, base, -1,
						   NULL };
	return (struct dp_badblocks_view) { &none, base, fd, NULL };
}

/* Read the superblock before the geometry is known. *ret_blank: the file is empty, or
 * its first chunk is blank (dp_remains_are_none()). */
int dp_pool_peek(const struct dp_pool *pool, struct dp_super *ret_super,
		 bool *ret_blank, const struct dp_errmsg *errmsg)
{
	int fd = dp_file_fd(&pool->first);
	char sentence[400];
	struct dp_errmsg inner = { sentence, sizeof(sentence) };
	struct dp_badblocks_view view;
	uint64_t size;
	void *base;
	int ret;

	*ret_blank = false;
	ret = pool_medium_size(pool, &size);
	if (ret)
		return ret;
	*ret_blank = !size;
	if (size < DP_CHUNK_SIZE)
		return pool_fail_short(pool, size, errmsg);
	if (pool->source.kind != DP_SOURCE_DEVDAX)
		size = DP_CHUNK_SIZE;
	ret = dp_map_peek(fd, size, &base);
	if (ret)
		return dp_fail(errmsg, ret, "%s cannot be mapped: %s",
			       pool->source.path, strerror(-ret));
	view = pool_first_view(pool, fd, base);
	ret = dp_super_read(&view, dp_pool_is_degraded_readonly(pool),
			    ret_super, &inner);
	*ret_blank = (ret == -EMEDIUMTYPE || ret == -EUCLEAN) &&
		     dp_remains_are_none(&view);
	dp_os_unmap(base, size);
	if (ret)
		return dp_fail(errmsg, ret, "segment 0 of %s: %s",
			       pool->source.path, sentence);
	return 0;
}

/* ---------------------------------------------------------------- mapping */

static int pool_barrier_fd(uint32_t index, void *arg)
{
	const struct dp_segments *segments = arg;

	return dp_segment_fd(segments, index);
}

/*
 * The owner lock and the wait for verbs contexts do not cover DMA of a ring that was
 * never attached, or a page in a pipe. On a DAX filesystem the kernel waits for these
 * pins, too, in the layout barrier. A create passes the barrier for all old files, even
 * if their pool was closed.
 */
static int pool_pass_barrier(struct dp_pool *pool,
			     struct dp_wait_policy *policy,
			     const struct dp_errmsg *errmsg)
{
	const struct dp_barrier barrier = {
		.path = pool->source.path,
		.pid = pool->super.owner.pid,
		.files = pool->geometry.segments,
		.file = pool_barrier_fd,
		.arg = &pool->segments,
	};

	int ret;

	if (pool->source.kind != DP_SOURCE_FSDAX || pool->readonly ||
	    pool->passed_barrier)
		return 0;
	ret = dp_barrier_pass(&barrier, policy, errmsg);
	pool->passed_barrier = !ret;
	return ret;
}

/* After a clean close the barrier is needed only so that the calls that allocate blocks
 * do not wait for pins. If it is unavailable then, they are made without it. */
int dp_pool_allocate_missing(struct dp_pool *pool, struct dp_wait_policy *policy,
			     const struct dp_errmsg *errmsg)
{
	int ret;

	if (pool->readonly || !dp_blocks_lacking(&pool->segments))
		return 0;
	ret = pool_pass_barrier(pool, policy, errmsg);
	if (ret && (ret != -ENOSYS || pool->was_unclean))
		return ret;
	return dp_blocks_allocate_missing(&pool->segments, policy, errmsg);
}

/*
 * How many segments the pool may get while it is open. Reserved addresses have no
 * memory and no page tables, but they count against RLIMIT_AS. So without a wish the
 * pool gets four times its size, and at least 64 GiB, if there is no such limit; and
 * what it has if even that fails (dp_segments_map()). On a device all of it is mapped
 * anyway.
 */
static uint32_t pool_choose_most(const struct dp_pool *pool, uint64_t wanted)
{
	const struct dp_geometry *geometry = &pool->geometry;
	uint64_t size = geometry->segment_size, most = geometry->segments;

	if (pool->readonly || pool->degraded)
		return most;
	if (pool->source.kind == DP_SOURCE_DEVDAX)
		return dp_max(most, dp_min(pool->source.device_size / size,
					   DP_SEGMENTS_MAX));
	if (!wanted && dp_os_limit(DP_LIMIT_MAPPED) == UINT64_MAX)
		wanted = 4 * most * size < MAX_SIZE_DEFAULT ? MAX_SIZE_DEFAULT :
							      4 * most * size;
	wanted = dp_min(wanted, DP_SEGMENTS_MAX * size);
	return dp_max(most, dp_min(dp_geometry_segments_for(geometry, wanted),
				   DP_SEGMENTS_MAX));
}

int dp_pool_open_segments(struct dp_pool *pool, struct dp_pool_request *request,
			  bool create)
{
	struct dp_segments *segments = &pool->segments;
	int ret;

	request->segments = pool->geometry.segments;
	atomic_init(&pool->in_set, pool->geometry.segments);
	pool->geometry.most = pool_choose_most(pool, request->max_size);
	segments->need_most = request->max_size;
	segments->source = &pool->source;
	segments->persist = &pool->persist;
	segments->medium = &pool->badblocks;
	segments->seed = pool->seed;
	segments->readonly = pool->readonly;
	ret = dp_segments_open(segments, &pool->first, &pool->geometry, create,
			       &request->policy, request->errmsg);
	if (ret || pool->source.kind == DP_SOURCE_DISK)
		return ret;
	ret = dp_anchor_open(&pool->anchor, request->errmsg);
	return ret ? ret : dp_segments_add_to_anchor(segments, 0, &pool->anchor,
						     request->errmsg);
}

int dp_pool_map(struct dp_pool *pool, struct dp_pool_request *request,
		uint64_t size, bool create)
{
	struct dp_segments *segments = &pool->segments;
	int ret, extra = dp_source_extra_files(&pool->source,
					       pool->geometry.segments);

	if (extra < 0)
		return pool_cannot_list(pool, extra, request->errmsg);
	pool->ignored_files = extra;
	if (pool->source.kind == DP_SOURCE_DEVDAX)
		size = pool->source.device_size;
	ret = dp_segments_map(segments, size, &pool->geometry, create,
			      request->errmsg);
	if (!ret && (create ? dp_segments_have_old_files(segments) :
		     pool->was_unclean))
		ret = pool_pass_barrier(pool, &request->policy,
					request->errmsg);
	if (!ret && create)
		ret = dp_blocks_create(segments, 0, &request->policy,
				       request->errmsg);
	if (!ret)
		ret = dp_segments_list(segments, request->errmsg);
	if (!ret && create)
		ret = dp_pool_allocate_missing(pool, &request->policy,
					       request->errmsg);
	if (!ret)
		ret = dp_segments_find_badblocks(segments, request->errmsg);
	return ret;
}

void dp_pool_tear_down(struct dp_pool *pool)
{
	if (pool->has_pipe) {
		dp_os_close(pool->pipe[0]);
		dp_os_close(pool->pipe[1]);
	}
	dp_epochs_fini(&pool->epochs);
	dp_anchor_close(&pool->anchor);
	dp_segments_close(&pool->segments);
	dp_badblocks_fini(&pool->badblocks);
	dp_file_close(&pool->first);
	dp_source_close(&pool->source);
	pthread_mutex_destroy(&pool->super_mutex);
}

/* ------------------------------------------------------------------- open */

/* Validate the fields of a whole superblock. */
int dp_pool_check_super(const struct dp_pool *pool,
			const struct dp_super *super,
			const struct dp_errmsg *errmsg)
{
	if (super->flags & ~DP_SUPER_FLAGS)
		return dp_fail(errmsg, -EPROTONOSUPPORT,
			       "%s has flags 0x%x that this library does not know: use a newer daxpin",
			       pool->source.path, super->flags & ~DP_SUPER_FLAGS);
	if (super->flags & DP_SUPER_CREATING)
		return dp_fail(errmsg, -EUCLEAN,
			       "%s: its create was interrupted: create it again",
			       pool->source.path);
	if (!dp_geometry_is_possible(super) || super->index ||
	    super->size > super->segment_size || super->size % DP_CHUNK_SIZE ||
	    !dp_super_set_is_valid(super) ||
	    super->owner.contexts > DP_RDMA_CONTEXTS_MAX)
		return dp_fail(errmsg, -EUCLEAN,
			       "the superblock of %s has a valid check but impossible values" DP_UNTOUCHED,
			       pool->source.path);
	return 0;
}

/* Wait until the last owner's RDMA has ended, or fail with a sentence about it. */
int dp_pool_await_owner(struct dp_pool *pool, struct dp_pool_request *request)
{
	bool unknown = pool->super.flags & DP_SUPER_OWNER_UNKNOWN;

	if (!dp_super_is_unclean(&pool->super) || dp_pool_is_degraded_readonly(pool))
		return 0;
	if (pool->readonly && unknown)
		return dp_epochs_refuse_lost(&pool->source, 0, request->errmsg);
	if (pool->readonly)
		return dp_fail(request->errmsg, -EUCLEAN,
			       "%s was not closed by its last owner: open it for writing once",
			       request->path);
	if (unknown)
		return dp_owner_await_unknown(&request->policy,
					      request->despite_rdma,
					      request->errmsg);
	return dp_owner_await(&pool->super.owner, &request->policy,
			      request->despite_rdma, request->errmsg);
}

int dp_pool_check_uuid(const struct dp_pool *pool,
		       const struct dp_super *super, const uint8_t uuid[16],
		       const struct dp_errmsg *errmsg)
{
	static const uint8_t any[16];

	if (!memcmp(uuid, any, sizeof(any)) ||
	    !memcmp(uuid, super->uuid, sizeof(any)))
		return 0;
	return dp_fail(errmsg, -ENXIO,
		       "%s has another pool than the one with the uuid of the options: give the path of that one, or leave out the uuid",
		       pool->source.path);
}

/*
 * The owner of the pool that this file was copied from never used this copy, so there
 * is no wait for its RDMA. Whether the other files are copies is tested later.
 */
static int pool_await_if_original(struct dp_pool *pool,
				  struct dp_pool_request *request)
{
	struct dp_file_id file;
	int ret = dp_source_file_id(&pool->source,
				    dp_file_fd(&pool->first), &file);

	if (ret)
		return dp_fail(request->errmsg, ret, "segment 0 of %s: %s",
			       request->path, strerror(-ret));
	if (!pool->readonly && !dp_file_id_is(&pool->super.file, &file))
		return 0;
	return dp_pool_await_owner(pool, request);
}

/* A short segment is followed by a part of the device that the pool does not use. */
int dp_pool_check_device(const struct dp_pool *pool, const struct dp_super *super,
			 const struct dp_errmsg *errmsg)
{
	struct dp_geometry geometry = dp_geometry_of_pool(super);
	uint64_t needed = dp_max(super->pool_size, dp_geometry_end(&geometry));

	if (pool->source.kind != DP_SOURCE_DEVDAX ||
	    pool->source.device_size >= needed)
		return 0;
	return dp_fail(errmsg, -EUCLEAN,
		       "%s has %llu bytes, and its pool needs %llu: the device was made smaller: make it as large again (daxctl reconfigure-device)",
		       pool->source.path,
		       (unsigned long long)pool->source.device_size,
		       (unsigned long long)needed);
}

static int pool_check_size(const struct dp_pool *pool,
			   const struct dp_pool_request *request)
{
	if (pool->super.pool_size >= request->pool_size)
		return 0;
	return dp_fail(request->errmsg, -ENOSPC,
		       "%s has %llu bytes, and the options ask for a pool of at least %llu: open it with less, or create a larger one elsewhere",
		       request->path, (unsigned long long)pool->super.pool_size,
		       (unsigned long long)request->pool_size);
}

static int pool_map_and_check(struct dp_pool *pool,
			      struct dp_pool_request *request)
{
	const struct dp_epochs_rules rules = {
		.degraded_readonly = dp_pool_is_degraded_readonly(pool),
		.degraded = pool->degraded,
		.adopt = request->adopt,
	};
	int ret;

	pool->was_unclean = dp_super_is_unclean(&pool->super);
	pool->restored = pool->super.flags & DP_SUPER_OWNER_UNKNOWN;
	pool->geometry = dp_geometry_of_pool(&pool->super);
	pool->seed = dp_layout_seed(pool->super.uuid);
	ret = dp_pool_check_device(pool, &pool->super, request->errmsg);
	if (!ret)
		ret = pool_check_size(pool, request);
	if (!ret)
		ret = dp_flushed_check(&pool->flushed, &pool->source,
				       dp_file_fd(&pool->first), &pool->super,
				       request->need_flushed, request->errmsg);
	if (!ret)
		ret = dp_pool_open_segments(pool, request, false);
	if (!ret)
		ret = dp_pool_map(pool, request, pool->super.pool_size, false);
	return ret ? ret : dp_epochs_check(&pool->epochs, &pool->segments,
					   &pool->super, &rules,
					   request->errmsg);
}

/* The error for remains of a pool. If it said that there is no pool, the user would
 * create one over them. */
static int pool_refuse_remains(const struct dp_pool *pool,
			       struct dp_pool_request *request)
{
	const struct dp_errmsg *errmsg = request->errmsg;
	const struct dp_remains_place place = {
		&pool->source, &pool->badblocks, dp_file_fd(&pool->first), NULL,
		&request->policy };
	struct dp_remains remains;
	int ret = dp_remains_find(&place, &remains, errmsg);

	if (ret)
		return ret;
	if (!remains.kind)
		return dp_fail(errmsg, -EMEDIUMTYPE,
			       "there is no daxpin pool in %s: create one",
			       pool->source.path);
	return dp_remains_fail(&pool->source, &remains,
			       dp_remains_errno(&remains), "", errmsg);
}

static int pool_open_locked(struct dp_pool *pool,
			    struct dp_pool_request *request)
{
	bool blank;
	int ret;

	ret = dp_pool_peek(pool, &pool->super, &blank, request->errmsg);
	if (ret == -EMEDIUMTYPE)
		ret = pool_refuse_remains(pool, request);
	if (!ret)
		ret = dp_pool_check_super(pool, &pool->super, request->errmsg);
	if (!ret)
		ret = dp_pool_check_uuid(pool, &pool->super, request->uuid,
					 request->errmsg);
	if (!ret)
		ret = pool_await_if_original(pool, request);
	if (!ret)
		ret = dp_pool_resolve_granularity(pool, request->granularity,
					  request->errmsg);
	return ret ? ret : pool_map_and_check(pool, request);
}

int dp_pool_begin(struct dp_pool *pool, struct dp_pool_request *request,
		  uint32_t flags)
{
	int ret;

	memset(pool, 0, sizeof(*pool));
	pool->readonly = request->readonly;
	pool->degraded = request->degraded;
	if (request->any_node)
		flags |= DP_SOURCE_ANY_NODE;
	if (request->any_owner)
		flags |= DP_JUDGE_ANY_OWNER;
	if (request->any_filesystem)
		flags |= DP_JUDGE_ANY_FILESYSTEM;
	dp_wait_begin(&request->policy);
	ret = dp_source_find(&pool->source, request->path, flags, request->mode,
			     request->errmsg);
	if (!ret)
		pthread_mutex_init(&pool->super_mutex, NULL);
	return ret;
}

int dp_pool_open(struct dp_pool *pool, struct dp_pool_request *request)
{
	int ret = dp_pool_begin(pool, request, 0);

	if (ret)
		return ret;
	ret = dp_pool_lock(pool, request, request->readonly ? DP_FILE_READ :
							      DP_FILE_WRITE);
	if (!ret)
		ret = pool_open_locked(pool, request);
	if (ret)
		dp_pool_tear_down(pool);
	return ret;
}
