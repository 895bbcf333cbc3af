/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening: claim the inode in this process, take the owner lock, wait for the
 * verbs of an owner that died, map everything, pass the layout barrier on a DAX
 * filesystem, check everything; only then may anything be written (D8). A
 * failure on the way leaves the medium as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "media/super.h"
#include "os/os.h"
#include "owner/barrier.h"
#include "owner/owner.h"
#include "pool/pool.h"

/* --------------------------------------------------------------- geometry */

/* Sizes of a pool on a medium of `size` bytes. A rest below 32 MiB is lost. */
uint32_t dp_pool_count_segments(uint64_t size, uint64_t segment_size)
{
	uint64_t rest = size % segment_size & ~(DP_CHUNK_SIZE - 1);

	return size / segment_size + (rest >= DP_SEGMENT_SIZE_MIN);
}

uint64_t dp_pool_size_of_segment(uint64_t size, uint64_t segment_size,
				 uint32_t index)
{
	uint64_t begin = index * segment_size;

	assert(index < dp_pool_count_segments(size, segment_size));
	return dp_min(segment_size, (size - begin) & ~(DP_CHUNK_SIZE - 1));
}

bool dp_pool_segment_size_is_valid(uint64_t size)
{
	return dp_is_power_of_two(size) && size >= DP_SEGMENT_SIZE_MIN &&
	       size <= DP_SEGMENT_SIZE_MAX;
}

/* ------------------------------------------------------- finding and locking */

int dp_pool_resolve_granularity(struct dp_pool *pool, uint32_t wanted,
				const struct dp_why *why)
{
	enum dp_source_kind kind = pool->source.kind;
	bool dax = kind == DP_SOURCE_DEVDAX || kind == DP_SOURCE_FSDAX;

	if (wanted > DP_GRANULARITY_PAGE)
		return dp_fail(why, -EINVAL, "there is no granularity %u",
			       wanted);
	if (!wanted)
		wanted = dax ? DP_GRANULARITY_CACHE_LINE : DP_GRANULARITY_PAGE;
	if (kind == DP_SOURCE_DISK && wanted != DP_GRANULARITY_PAGE)
		return dp_fail(why, -EINVAL,
			       "%s is on a disk: only page granularity is durable there",
			       pool->source.path);
	if (kind == DP_SOURCE_DEVDAX && wanted == DP_GRANULARITY_PAGE)
		return dp_fail(why, -EINVAL,
			       "%s is device-dax, which has no msync: use cache line granularity",
			       pool->source.path);
	dp_persist_init(&pool->persist, wanted);
	return 0;
}

/* Without segment 0 there is no pool, unless others of its files are there. */
static int no_first_segment(const struct dp_pool *pool, const struct dp_why *why)
{
	char name[DP_SEGMENT_NAME_SIZE];

	dp_source_segment_name(0, name);
	if (dp_source_extra_files(&pool->source, 1))
		return dp_fail(why, -EUCLEAN,
			       "%s/%s is missing: bring the file back, the pool needs all its segments",
			       pool->source.path, name);
	return dp_fail(why, -EMEDIUMTYPE,
		       "%s holds no daxpin pool: create one",
		       pool->source.path);
}

/* While one waits for the lock, the file may be removed or replaced. */
static int check_identity(const struct dp_pool *pool, const struct dp_why *why)
{
	dev_t dev;
	ino_t ino;

	if (!dp_source_identity(&pool->source, &dev, &ino) &&
	    dev == pool->lock.dev && ino == pool->lock.ino)
		return 0;
	return dp_fail(why, -EBUSY,
		       "%s was replaced while its lock was waited for: try again",
		       pool->source.path);
}

/* Of the medium as a whole; which of it is whose is found out later. */
static int list_bad(struct dp_pool *pool, int fd)
{
	if (pool->source.kind == DP_SOURCE_DEVDAX)
		return dp_bad_of_device(pool->source.device, &pool->bad);
	return dp_bad_of_disk(fd, &pool->bad);
}

/* Find the path, claim it in this process, open and lock segment 0. */
int dp_pool_lock(struct dp_pool *pool, struct dp_pool_request *request,
		 int flags, int *ret_fd)
{
	dev_t dev;
	ino_t ino;
	int fd, ret;

	ret = dp_source_identity(&pool->source, &dev, &ino);
	if (ret == -ENOENT)
		return no_first_segment(pool, request->why);
	if (ret)
		return dp_fail(request->why, ret, "%s: %s", request->path,
			       strerror(-ret));
	ret = dp_lock_claim(&pool->lock, dev, ino, request->why);
	if (ret)
		return ret;
	fd = dp_source_open(&pool->source, 0, flags, request->why);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	ret = dp_lock_take(&pool->lock, fd, request->readonly,
			   &request->patience, request->why);
	if (!ret)
		ret = check_identity(pool, request->why);
	if (!ret)
		ret = dp_source_classify(&pool->source, fd);
	return ret ? ret : list_bad(pool, fd);
}

/* Bytes of segment 0's file, or of the device. */
static int medium_size(const struct dp_pool *pool, int fd, uint64_t *ret_size)
{
	struct stat st;
	int ret;

	if (pool->source.kind == DP_SOURCE_DEVDAX) {
		*ret_size = pool->source.device_size;
		return 0;
	}
	ret = dp_os_fstat(fd, &st);
	if (!ret)
		*ret_size = st.st_size;
	return ret;
}

static bool is_zero(const char *from, uint64_t size)
{
	return !from[0] && !memcmp(from, from + 1, size - 1);
}

/*
 * Chunk 0 is all zeroes: a page of them may be damage, or another's medium. Or
 * all zeroes but for the first superblock of a create that was cut short, which
 * announces itself by the magic (dp_super_announce).
 */
bool dp_pool_is_blank(const struct dp_bad_view *view)
{
	const uint64_t half = sizeof(struct dp_super);
	char *copy = malloc(DP_CHUNK_SIZE);
	bool blank;

	if (!copy)
		return false;
	blank = !dp_bad_read(view, 0, copy, DP_CHUNK_SIZE) &&
		is_zero(copy, half) &&
		(is_zero(copy + half, half) ||
		 !memcmp(copy + half, DP_MAGIC, 8)) &&
		is_zero(copy + DP_BLOCK_SIZE, DP_CHUNK_SIZE - DP_BLOCK_SIZE);
	free(copy);
	return blank;
}

/* Segment 0 is too short for any superblock. */
static int is_stunted(const struct dp_pool *pool, uint64_t size,
		      const struct dp_why *why)
{
	bool was_longer = size || dp_source_extra_files(&pool->source, 1);

	return dp_fail(why, was_longer ? -EUCLEAN : -EMEDIUMTYPE,
		       "segment 0 of %s has %llu bytes: %s", pool->source.path,
		       (unsigned long long)size, was_longer ?
		       "truncated; the pool was left untouched" :
		       "there is no daxpin pool: create one");
}

/*
 * Of the device or of segment 0's file, before the file's own list is there:
 * it does without, for its filesystem knows as well.
 */
static struct dp_bad_view first_view(const struct dp_pool *pool, int fd,
				     const char *base)
{
	static const struct dp_bad none;

	if (pool->source.kind == DP_SOURCE_DEVDAX)
		return (struct dp_bad_view) { &pool->bad, base, -1 };
	return (struct dp_bad_view) { &none, base, fd };
}

/* Look at the superblock before the geometry is known. *ret_blank: zeroes. */
int dp_pool_peek(const struct dp_pool *pool, int fd, struct dp_super *ret_super,
		 bool *ret_blank, const struct dp_why *why)
{
	char sentence[400];
	struct dp_why inner = { sentence, sizeof(sentence) };
	struct dp_bad_view view;
	uint64_t size;
	void *base;
	int ret;

	*ret_blank = false;
	ret = medium_size(pool, fd, &size);
	if (ret)
		return ret;
	*ret_blank = !size;
	if (size < DP_CHUNK_SIZE)
		return is_stunted(pool, size, why);
	if (pool->source.kind != DP_SOURCE_DEVDAX)
		size = DP_CHUNK_SIZE;
	ret = dp_map_peek(fd, size, &base);
	if (ret)
		return dp_fail(why, ret, "%s cannot be mapped: %s",
			       pool->source.path, strerror(-ret));
	view = first_view(pool, fd, base);
	ret = dp_super_read(&view, dp_pool_only_looks(pool), ret_super, &inner);
	*ret_blank = (ret == -EMEDIUMTYPE || ret == -EUCLEAN) &&
		     dp_pool_is_blank(&view);
	dp_os_unmap(base, size);
	if (ret)
		return dp_fail(why, ret, "segment 0 of %s: %s",
			       pool->source.path, sentence);
	return 0;
}

/* ---------------------------------------------------------------- mapping */

static int map_one(struct dp_pool *pool, uint64_t offset, uint64_t size, int fd,
		   const struct dp_why *why)
{
	uint32_t flags = pool->readonly ? DP_MAP_READONLY : 0;
	int ret;

	if (pool->source.kind == DP_SOURCE_FSDAX)
		flags |= DP_MAP_SYNC;
	ret = dp_map_file(&pool->map, offset, size, fd, flags);
	if (ret)
		return dp_fail(why, ret, "%s cannot be mapped%s: %s",
			       pool->source.path,
			       flags & DP_MAP_SYNC ? " with MAP_SYNC" : "",
			       strerror(-ret));
	if (offset)
		return 0;
	return dp_persist_bind(&pool->persist, fd, pool->map.base, size, why);
}

/* Open the file of a segment, or make it where there is none. */
static int open_or_make(struct dp_pool *pool, uint32_t index, bool create,
			const struct dp_why *why)
{
	struct dp_segment *segment = &pool->segment[index];
	int flags = pool->readonly ? O_RDONLY : O_RDWR;

	if (create)
		segment->fd = dp_source_open(&pool->source, index,
					     flags | O_CREAT | O_EXCL, NULL);
	segment->made = segment->fd >= 0;
	if (!segment->made)
		segment->fd = dp_source_open(&pool->source, index, flags, why);
	return segment->fd < 0 ? segment->fd : 0;
}

/* A new file gets its size with its space; an old one must have it. */
static int check_file_size(struct dp_pool *pool, uint32_t index,
			   const struct dp_why *why)
{
	const struct dp_segment *segment = &pool->segment[index];
	struct stat st;
	int ret = dp_os_fstat(segment->fd, &st);

	if (!ret && (uint64_t)st.st_size < segment->size)
		return dp_fail(why, -EUCLEAN,
			       "segment %u of %s has %llu bytes instead of %llu: truncated; the pool was left untouched",
			       index, pool->source.path,
			       (unsigned long long)st.st_size,
			       (unsigned long long)segment->size);
	return ret;
}

static void describe_segment(struct dp_pool *pool, uint32_t index, uint64_t size)
{
	struct dp_segment *segment = &pool->segment[index];

	segment->base = pool->map.base + index * pool->segment_size;
	segment->size = size;
	segment->blocks = size >> DP_BLOCK_SHIFT;
	segment->view = (struct dp_bad_view) { &segment->bad, segment->base, -1 };
	segment->table = (struct dp_table) {
		.base = segment->base,
		.view = &segment->view,
		.first_block = index * (pool->segment_size >> DP_BLOCK_SHIFT),
		.blocks = segment->blocks,
		.segment = index,
		.seed = pool->seed,
		.persist = &pool->persist,
	};
}

/* Open the segment's file, or make it, and map it: no more (see the barrier). */
static int map_segment(struct dp_pool *pool, uint32_t index, bool create,
		       const struct dp_why *why)
{
	struct dp_segment *segment = &pool->segment[index];
	int ret = 0;

	segment->chunk = calloc(1, segment->size >> DP_CHUNK_SHIFT);
	if (!segment->chunk)
		return -ENOMEM;
	if (pool->source.kind == DP_SOURCE_DEVDAX)
		return 0;
	if (index)
		ret = open_or_make(pool, index, create, why);
	if (!ret && !create)
		ret = check_file_size(pool, index, why);
	if (ret)
		return ret;
	return map_one(pool, index * pool->segment_size, segment->size,
		       segment->fd, why);
}

static int map_segments(struct dp_pool *pool, uint64_t size, int fd,
			bool create, const struct dp_why *why)
{
	int ret = 0;

	if (pool->source.kind == DP_SOURCE_DEVDAX)
		ret = map_one(pool, 0, size, fd, why);
	for (uint32_t i = 0; !ret && i < pool->segments; i++) {
		describe_segment(pool, i, dp_pool_size_of_segment(
					 size, pool->segment_size, i));
		pool->size += pool->segment[i].size;
		pool->segment[i].fd = -1;
		if (!i && pool->source.kind != DP_SOURCE_DEVDAX)
			pool->segment[i].fd = fd;
		pool->segments_open = i + 1;
		ret = map_segment(pool, i, create, why);
	}
	return ret;
}

/* Which of its blocks are bad, and how it is read. */
static int find_bad(struct dp_pool *pool, uint32_t index,
		    const struct dp_why *why)
{
	struct dp_segment *segment = &pool->segment[index];
	int ret;

	segment->view.fd = segment->fd;
	if (pool->source.kind == DP_SOURCE_DEVDAX)
		ret = dp_bad_of_slice(&pool->bad, index * pool->segment_size,
				      segment->size, &segment->bad);
	else
		ret = dp_bad_of_file(&pool->bad, segment->fd, segment->size,
				     &segment->bad);
	if (ret)
		return dp_fail(why, ret,
			       "segment %u of %s: its bad blocks cannot be listed: %s",
			       index, pool->source.path, strerror(-ret));
	return 0;
}

/* Now that nothing reaches it: its space, and which chunks have any. */
static int back_segment(struct dp_pool *pool, uint32_t index, bool create,
			const struct dp_why *why)
{
	struct dp_segment *segment = &pool->segment[index];
	int ret = 0;

	if (create && pool->source.kind != DP_SOURCE_DEVDAX)
		ret = dp_os_allocate(segment->fd, segment->size);
	if (ret)
		return dp_fail(why, ret,
			       "%s: no room for segment %u of %llu MiB: %s",
			       pool->source.path, index,
			       (unsigned long long)segment->size >> 20,
			       strerror(-ret));
	if (create && pool->source.kind == DP_SOURCE_SHMEM)
		ret = dp_os_advise(segment->base, segment->size,
				   MADV_POPULATE_WRITE);
	if (ret)
		return ret;
	ret = dp_source_chunks(&pool->source, segment->fd, segment->size,
			       segment->chunk, why);
	return ret ? ret : find_bad(pool, index, why);
}

static int segment_fd(uint32_t index, void *arg)
{
	const struct dp_pool *pool = arg;

	return pool->segment[index].fd;
}

/* Files that this create made have no past, and an empty one no pages. */
static bool has_old_files(const struct dp_pool *pool)
{
	struct stat st;

	for (uint32_t i = 0; i < pool->segments; i++)
		if (!pool->segment[i].made &&
		    (dp_os_fstat(pool->segment[i].fd, &st) || st.st_size))
			return true;
	return false;
}

/*
 * The owner lock and the verbs say nothing of a ring that was never attached,
 * or of a page in a pipe. On a DAX filesystem the kernel does. A create takes
 * whatever files it finds, so it does not ask how they were left.
 */
static int pass_barrier(struct dp_pool *pool, struct dp_pool_request *request,
			bool create)
{
	const struct dp_barrier barrier = {
		.path = pool->source.path,
		.pid = pool->super.owner.pid,
		.files = pool->segments,
		.file = segment_fd,
		.arg = pool,
	};

	if (pool->source.kind != DP_SOURCE_FSDAX || pool->readonly)
		return 0;
	if (create ? !has_old_files(pool) : !pool->was_unclean)
		return 0;
	return dp_barrier_pass(&barrier, &request->patience, request->why);
}

int dp_pool_map(struct dp_pool *pool, struct dp_pool_request *request,
		uint64_t size, int fd, bool create)
{
	uint64_t range;
	int ret;

	pool->segments = dp_pool_count_segments(size, pool->segment_size);
	assert(pool->segments && pool->segments <= DP_SEGMENTS_MAX);
	range = pool->segments * pool->segment_size;
	if (pool->source.kind == DP_SOURCE_DEVDAX && range < size)
		range = size;
	ret = dp_map_reserve(&pool->map, range, pool->source.align);
	if (ret)
		return dp_fail(request->why, ret,
			       "no %llu MiB of addresses for the pool",
			       (unsigned long long)range >> 20);
	pool->segment = calloc(pool->segments, sizeof(*pool->segment));
	if (!pool->segment)
		return -ENOMEM;
	ret = map_segments(pool, size, fd, create, request->why);
	if (!ret)
		ret = pass_barrier(pool, request, create);
	for (uint32_t i = 0; !ret && i < pool->segments; i++)
		ret = back_segment(pool, i, create, request->why);
	pool->ignored_files = dp_source_extra_files(&pool->source,
						    pool->segments);
	return ret;
}

static void close_segments(struct dp_pool *pool)
{
	for (uint32_t i = 0; i < pool->segments_open; i++) {
		if (i)
			dp_os_close(pool->segment[i].fd);
		free(pool->segment[i].chunk);
		dp_bad_fini(&pool->segment[i].bad);
	}
	free(pool->segment);
	pool->segment = NULL;
}

/* Undo everything but what is on media. fd: segment 0 or the device, or -1. */
void dp_pool_tear_down(struct dp_pool *pool, int fd, bool unlock)
{
	dp_persist_fini(&pool->persist);
	dp_map_release(&pool->map);
	close_segments(pool);
	dp_bad_fini(&pool->bad);
	if (unlock)
		dp_lock_drop(&pool->lock);
	dp_os_close(fd);
	dp_lock_unclaim(&pool->lock);
	dp_source_close(&pool->source);
	pthread_mutex_destroy(&pool->super_mutex);
}

/* ------------------------------------------------------------------- open */

/* D10: here the set is always the first ones, up to their number. */
static bool segment_set_is_valid(const struct dp_super *super)
{
	for (uint32_t i = 0; i < DP_SEGMENTS_MAX; i++)
		if ((super->segment_set[i / 8] >> i % 8 & 1) !=
		    (i < super->segments))
			return false;
	return true;
}

/* What a whole superblock says must also make sense. */
int dp_pool_check_super(const struct dp_pool *pool,
			const struct dp_super *super, const struct dp_why *why)
{
	if (super->flags & ~DP_SUPER_FLAGS)
		return dp_fail(why, -EPROTONOSUPPORT,
			       "%s has flags 0x%x that this library does not know: use a newer daxpin",
			       pool->source.path, super->flags & ~DP_SUPER_FLAGS);
	if (super->flags & DP_SUPER_CREATING)
		return dp_fail(why, -EUCLEAN,
			       "%s: its creation was cut short: create it again",
			       pool->source.path);
	if (!dp_pool_segment_size_is_valid(super->segment_size) || super->index ||
	    !super->segments || super->segments > DP_SEGMENTS_MAX ||
	    super->pool_size > DP_SEGMENTS_MAX * DP_SEGMENT_SIZE_MAX ||
	    super->segments !=
	    dp_pool_count_segments(super->pool_size, super->segment_size) ||
	    super->size > super->segment_size || super->size % DP_CHUNK_SIZE ||
	    !segment_set_is_valid(super) ||
	    super->owner.rdma_devices > DP_RDMA_DEVICES_MAX)
		return dp_fail(why, -EUCLEAN,
			       "the superblock of %s checks out but makes no sense; the pool was left untouched",
			       pool->source.path);
	return 0;
}

static int super_is_lost(const struct dp_pool *pool, uint32_t index,
			 const struct dp_why *why)
{
	return dp_fail(why, -EUCLEAN,
		       "the superblock at offset 0x0 of segment %u of %s is damaged, its copy is whole: open it for writing once, which restores it",
		       index, pool->source.path);
}

/* Each segment says itself which one it is, of which pool, and how large. */
static int check_segments(const struct dp_pool *pool, const struct dp_why *why)
{
	struct dp_super super;
	char sentence[400];
	struct dp_why inner = { sentence, sizeof(sentence) };
	int ret;

	for (uint32_t i = 0; i < pool->segments; i++) {
		ret = dp_super_read(&pool->segment[i].view,
				    dp_pool_only_looks(pool), &super, &inner);
		if (ret == -EMEDIUMTYPE)
			return dp_fail(why, -EUCLEAN,
				       "segment %u of %s has no superblock; the pool was left untouched",
				       i, pool->source.path);
		if (ret)
			return dp_fail(why, ret, "segment %u of %s: %s", i,
				       pool->source.path, sentence);
		if (super.index != i || super.size != pool->segment[i].size ||
		    memcmp(super.uuid, pool->super.uuid, 16))
			return dp_fail(why, -EUCLEAN,
				       "segment %u of %s is not the one that belongs there; the pool was left untouched",
				       i, pool->source.path);
		pool->segment[i].super_lost =
			super.flags & DP_SUPER_OWNER_UNKNOWN;
		if (pool->segment[i].super_lost && pool->readonly &&
		    !pool->degraded)
			return super_is_lost(pool, i, why);
	}
	return 0;
}

/* Whoever had it before is gone, or this says who is in the way. */
int dp_pool_await_owner(struct dp_pool *pool, struct dp_pool_request *request)
{
	bool unknown = pool->super.flags & DP_SUPER_OWNER_UNKNOWN;

	if (!unknown && !(pool->super.flags & DP_SUPER_UNCLEAN))
		return 0;
	if (dp_pool_only_looks(pool))
		return 0;
	if (pool->readonly && unknown)
		return super_is_lost(pool, 0, request->why);
	if (pool->readonly)
		return dp_fail(request->why, -EUCLEAN,
			       "%s was not closed by its last owner: open it for writing once",
			       request->path);
	if (unknown)
		return dp_owner_await_unknown(&request->patience, request->why);
	return dp_owner_await(&pool->super.owner, &request->patience,
			      request->why);
}

static int open_locked(struct dp_pool *pool, struct dp_pool_request *request,
		       int fd)
{
	bool blank;
	int ret;

	ret = dp_pool_peek(pool, fd, &pool->super, &blank, request->why);
	if (!ret)
		ret = dp_pool_check_super(pool, &pool->super, request->why);
	if (!ret)
		ret = dp_pool_await_owner(pool, request);
	if (!ret)
		ret = dp_pool_resolve_granularity(pool, request->granularity,
					  request->why);
	if (ret)
		return ret;
	pool->was_unclean = pool->super.flags & DP_SUPER_UNCLEAN;
	pool->segment_size = pool->super.segment_size;
	pool->seed = dp_layout_seed(pool->super.uuid);
	if (pool->source.kind == DP_SOURCE_DEVDAX &&
	    pool->source.device_size != pool->super.pool_size)
		return dp_fail(request->why, -EUCLEAN,
			       "%s has %llu bytes, its pool was made on %llu: the device was reconfigured; the pool was left untouched",
			       request->path,
			       (unsigned long long)pool->source.device_size,
			       (unsigned long long)pool->super.pool_size);
	ret = dp_pool_map(pool, request, pool->super.pool_size, fd, false);
	return ret ? ret : check_segments(pool, request->why);
}

int dp_pool_begin(struct dp_pool *pool, struct dp_pool_request *request,
		  uint32_t flags)
{
	int ret;

	memset(pool, 0, sizeof(*pool));
	pool->lock.fd = -1;
	pool->readonly = request->readonly;
	pool->degraded = request->degraded;
	if (request->any_node)
		flags |= DP_SOURCE_ANY_NODE;
	dp_patience_begin(&request->patience);
	ret = dp_source_find(&pool->source, request->path, flags, request->why);
	if (!ret)
		pthread_mutex_init(&pool->super_mutex, NULL);
	return ret;
}

int dp_pool_open(struct dp_pool *pool, struct dp_pool_request *request)
{
	int flags = request->readonly ? O_RDONLY : O_RDWR;
	int fd = -1, ret;

	ret = dp_pool_begin(pool, request, 0);
	if (ret)
		return ret;
	ret = dp_pool_lock(pool, request, flags, &fd);
	if (!ret)
		ret = open_locked(pool, request, fd);
	if (ret)
		dp_pool_tear_down(pool, fd, true);
	return ret;
}

/* -------------------------------------------------------- owning, closing */

static int write_super(struct dp_pool *pool)
{
	return dp_super_write(pool->segment[0].base, &pool->persist,
			      &pool->super);
}

/* Only segment 0's changes after create: the others' say what they said. */
static int restore_supers(struct dp_pool *pool)
{
	struct dp_super super;
	int ret = 0;

	for (uint32_t i = 1; !ret && i < pool->segments; i++) {
		struct dp_segment *segment = &pool->segment[i];

		if (!segment->super_lost)
			continue;
		ret = dp_super_read(&segment->view, false, &super, NULL);
		super.flags = 0;
		if (!ret)
			ret = dp_super_write(segment->base, &pool->persist,
					     &super);
		segment->super_lost = ret;
	}
	return ret;
}

uint64_t dp_pool_next_epoch(const struct dp_pool *pool)
{
	const struct dp_super *super = &pool->super;

	/* D15: a page that was lost may have been one epoch ahead. */
	return super->epoch + (super->flags & DP_SUPER_OWNER_UNKNOWN ? 2 : 1);
}

int dp_pool_own(struct dp_pool *pool)
{
	struct dp_super *super = &pool->super;
	int ret;

	if (pool->readonly)
		return 0;
	ret = dp_owner_self(&super->owner);
	if (!ret)
		ret = restore_supers(pool);
	if (ret)
		return ret;
	super->epoch = dp_pool_next_epoch(pool);
	super->flags |= DP_SUPER_UNCLEAN;
	super->flags &= ~DP_SUPER_OWNER_UNKNOWN;
	return write_super(pool);
}

int dp_pool_record_rdma(struct dp_pool *pool, const char *device)
{
	int ret;

	assert(!pool->readonly);
	pthread_mutex_lock(&pool->super_mutex);
	ret = dp_owner_add_device(&pool->super.owner, device);
	if (ret > 0)
		ret = write_super(pool);
	pthread_mutex_unlock(&pool->super_mutex);
	return ret;
}

int dp_pool_close(struct dp_pool *pool, bool clean)
{
	int fd = pool->lock.fd;
	int ret = dp_persist_error(&pool->persist);

	/* After an error nobody can tell what is on media: the next open looks. */
	if (clean && !pool->readonly && !ret) {
		pool->super.flags &= ~DP_SUPER_UNCLEAN;
		memset(&pool->super.owner, 0, sizeof(pool->super.owner));
		ret = write_super(pool);
	}
	dp_pool_tear_down(pool, fd, true);
	return ret;
}
