/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns the array of segments, their files, mappings, chunk flags and lists of bad
 * blocks. The states of a set of segments:
 *
 *	NONE ---> OPEN ---> MAPPED ---> BACKED ---> NONE
 *
 *	NONE -> OPEN		[dp_segments_open]
 *	OPEN -> MAPPED		[dp_segments_map]
 *	MAPPED -> BACKED	[dp_segments_list, dp_segments_find_badblocks], and
 *				again if blocks.c has changed blocks
 *	any -> NONE		[dp_segments_close], after partial steps too
 *
 *	OPEN     all files are open, claimed in this process and locked, in the
 *	         order of their numbers (W2), and their sizes are known (W1)
 *	MAPPED   all files are mapped once, at their place in one range of
 *	         addresses. They were neither read nor changed: the layout barrier
 *	         needs them mapped, and is passed before the first change (D8)
 *	BACKED   it is known which chunks are backed (D9) and which blocks are bad
 *
 * A segment stays mapped until all are closed (I24), or a shrink has dropped it when
 * nothing could reach it any more (A2).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "os/os.h"
#include "pool/segment.h"

#define DEFAULT_SEGMENTS	256u	/* the maximum, while segments are below 1
					   GiB */

struct dp_segment {
	char *base;
	uint64_t size;
	struct dp_file own;		/* not used by the first segment */
	struct dp_file *file;		/* NULL: a slice of the device */
	struct dp_table table;
	struct dp_pages pages;		/* of the table */
	uint8_t *chunk;			/* DP_CHUNK_..., one per chunk */
	struct dp_badblocks badblocks;	/* whole blocks, in bytes of the segment */
	struct dp_badblocks_view view;
	bool dropped;			/* see dp_segment_drop() */
};

/* --------------------------------------------------------------- geometry */

bool dp_geometry_segment_size_is_valid(uint64_t size)
{
	return dp_is_power_of_two(size) && size >= DP_SEGMENT_SIZE_MIN &&
	       size <= DP_SEGMENT_SIZE_MAX;
}

/* Each segment in a directory is an open file, and a process may have 1024 of them. */
uint64_t dp_geometry_default_segment_size(uint64_t size)
{
	uint64_t segment_size = DP_SEGMENT_SIZE_DEFAULT;

	while (segment_size < DP_SEGMENT_SIZE_MAX &&
	       size / segment_size > DEFAULT_SEGMENTS)
		segment_size *= 2;
	assert(dp_geometry_segment_size_is_valid(segment_size));
	return segment_size;
}

/* The bytes of a short last segment, or 0. */
static uint64_t geometry_rest(uint64_t size, uint64_t segment_size)
{
	uint64_t rest = size % segment_size & ~(DP_CHUNK_SIZE - 1);

	return rest >= DP_SEGMENT_SIZE_MIN ? rest : 0;
}

uint32_t dp_geometry_count(uint64_t size, uint64_t segment_size)
{
	return dp_min(size / segment_size + !!geometry_rest(size, segment_size),
		      UINT32_MAX);
}

struct dp_geometry dp_geometry_of(uint64_t size, uint64_t segment_size)
{
	uint64_t rest = geometry_rest(size, segment_size);
	uint32_t segments = dp_geometry_count(size, segment_size);

	assert(dp_geometry_segment_size_is_valid(segment_size));
	return (struct dp_geometry) {
		.segment_size = segment_size,
		.short_size = rest ? rest : segment_size,
		.short_index = rest ? segments - 1 : 0,
		.segments = segments,
		.most = segments,
	};
}

static bool geometry_short_is_possible(const struct dp_super *super)
{
	if (!super->short_size)
		return !super->short_index;
	return super->short_size >= DP_SEGMENT_SIZE_MIN &&
	       super->short_size < super->segment_size &&
	       !(super->short_size % DP_CHUNK_SIZE) &&
	       super->short_index < super->segments;
}

bool dp_geometry_is_possible(const struct dp_super *super)
{
	struct dp_geometry geometry;
	uint64_t bytes;

	if (!dp_geometry_segment_size_is_valid(super->segment_size) ||
	    !super->segments || super->segments > DP_SEGMENTS_MAX ||
	    !geometry_short_is_possible(super))
		return false;
	geometry = dp_geometry_of_pool(super);
	bytes = dp_geometry_bytes(&geometry, super->segments);
	return super->pool_size >= bytes &&
	       super->pool_size - bytes < DP_SEGMENT_SIZE_MIN;
}

struct dp_geometry dp_geometry_of_pool(const struct dp_super *super)
{
	return (struct dp_geometry) {
		.segment_size = super->segment_size,
		.short_size = super->short_size ? super->short_size :
						  super->segment_size,
		.short_index = super->short_index,
		.segments = super->segments,
		.most = super->segments,
	};
}

/* ---------------------------------------------------------------- opening */

/* All files of a pool must be DAX, or none; XFS and ext4 decide for each file. */
static int segment_check_kind(const struct dp_segments *segments,
			      uint32_t index, const struct dp_errmsg *errmsg)
{
	const struct dp_source *source = segments->source;
	int dax;

	if (source->kind != DP_SOURCE_FSDAX)
		return 0;
	dax = dp_os_is_dax(dp_file_fd(segments->all[index].file));
	if (dax > 0)
		return 0;
	if (dax)
		return dp_fail(errmsg, dax,
			       "segment %u of %s: it is unknown whether the file is DAX: %s",
			       index, source->path, strerror(-dax));
	return dp_fail(errmsg, -EOPNOTSUPP,
		       "segment %u of %s is not a DAX file, but the first one is: mount with -o dax=always, or copy the file to one that is DAX",
		       index, source->path);
}

static int segment_is_not_there(const struct dp_segments *segments,
				uint32_t index, bool create,
				const struct dp_errmsg *errmsg)
{
	char name[DP_SEGMENT_NAME_SIZE];

	dp_source_segment_name(index, name);
	if (create)
		return dp_fail(errmsg, -EBUSY,
			       "%s was removed while a pool was made in it: try again",
			       segments->source->path);
	return dp_fail(errmsg, -EUCLEAN,
		       "%s/%s is missing: restore the file, the pool needs all its segments",
		       segments->source->path, name);
}

static int segment_lock(struct dp_segments *segments, uint32_t index,
			struct dp_wait_policy *policy,
			const struct dp_errmsg *errmsg)
{
	int ret = dp_file_lock(segments->all[index].file, segments->source,
			       segments->readonly, policy, errmsg);

	if (ret != -ESTALE)
		return ret;
	return dp_fail(errmsg, -EBUSY,
		       "segment %u of %s was replaced while its lock was waited for: try again",
		       index, segments->source->path);
}

static int segment_open(struct dp_segments *segments, uint32_t index,
			bool create, struct dp_wait_policy *policy,
			const struct dp_errmsg *errmsg)
{
	struct dp_segment *segment = &segments->all[index];
	enum dp_file_access access = create ? DP_FILE_MAKE :
				     segments->readonly ? DP_FILE_READ :
							  DP_FILE_WRITE;
	int ret = dp_file_open(&segment->own, segments->source, index, access,
			       errmsg);

	if (ret == -ENOENT)
		return segment_is_not_there(segments, index, create, errmsg);
	if (ret)
		return ret;
	segment->file = &segment->own;
	ret = segment_lock(segments, index, policy, errmsg);
	return ret ? ret : segment_check_kind(segments, index, errmsg);
}

int dp_segments_open(struct dp_segments *segments, struct dp_file *first,
		     const struct dp_geometry *geometry, bool create,
		     struct dp_wait_policy *policy,
		     const struct dp_errmsg *errmsg)
{
	int ret = 0;

	assert(geometry->segments && geometry->segments <= DP_SEGMENTS_MAX);
	assert(!segments->all && segments->source);
	assert(geometry->most >= geometry->segments);
	segments->all = calloc(geometry->most, sizeof(*segments->all));
	if (!segments->all)
		return -ENOMEM;
	segments->first = first;
	for (uint32_t i = 0; !ret && i < geometry->segments; i++) {
		segments->opened = i + 1;
		if (segments->source->kind == DP_SOURCE_DEVDAX)
			continue;
		if (i)
			ret = segment_open(segments, i, create, policy,
					   errmsg);
		else
			segments->all[i].file = first;
	}
	return ret;
}

int dp_segments_add_to_anchor(const struct dp_segments *segments, uint32_t first,
			      struct dp_anchor *anchor, const struct dp_errmsg *errmsg)
{
	uint32_t count = segments->opened - first;
	int device = dp_file_fd(segments->first), ret;
	int *fd;

	if (segments->source->kind == DP_SOURCE_DEVDAX)
		return first ? 0 : dp_anchor_add(anchor, &device, 1, errmsg);
	fd = calloc(count, sizeof(*fd));
	if (!fd)
		return dp_fail(errmsg, -ENOMEM,
			       "%s: no memory for a list of %u descriptors, which keeps the files locked while a ring has them: free some, and try again",
			       segments->source->path, count);
	for (uint32_t i = 0; i < count; i++)
		fd[i] = dp_segment_fd(segments, first + i);
	ret = dp_anchor_add(anchor, fd, count, errmsg);
	free(fd);
	return ret;
}

void dp_segments_undo(struct dp_segments *segments)
{
	for (uint32_t i = segments->opened; i-- > 1;)
		dp_file_undo(&segments->all[i].own, segments->source);
}

int dp_segments_check_sizes(const struct dp_segments *segments)
{
	struct stat st;
	int ret = 0;

	if (segments->source->kind == DP_SOURCE_DEVDAX)
		return 0;
	for (uint32_t i = 0; !ret && i < segments->opened; i++) {
		if (segments->all[i].dropped)
			continue;
		ret = dp_os_fstat(dp_segment_fd(segments, i), &st);
		if (!ret && (uint64_t)st.st_size < segments->all[i].size)
			ret = -ESTALE;
	}
	return ret;
}

/* ---------------------------------------------------------------- mapping */

static int segment_map_one(struct dp_segments *segments, uint64_t offset,
			   uint64_t size, int fd,
			   const struct dp_errmsg *errmsg)
{
	uint32_t flags = segments->readonly ? DP_MAP_READONLY : 0;
	int ret;

	if (segments->source->kind == DP_SOURCE_FSDAX)
		flags |= DP_MAP_SYNC;
	ret = dp_map_file(&segments->range, offset, size, fd, flags);
	if (ret)
		return dp_fail(errmsg, ret, "%s cannot be mapped%s: %s",
			       segments->source->path,
			       flags & DP_MAP_SYNC ? " with MAP_SYNC" : "",
			       strerror(-ret));
	return 0;
}

/* A new file gets its size when its space is allocated; an old file must have it. */
static int segment_check_size(const struct dp_segments *segments,
			      uint32_t index, const struct dp_errmsg *errmsg)
{
	const struct dp_segment *segment = &segments->all[index];
	struct stat st;
	int ret = dp_os_fstat(dp_file_fd(segment->file), &st);

	if (!ret && (uint64_t)st.st_size < segment->size)
		return dp_fail(errmsg, -EUCLEAN,
			       "segment %u of %s has %llu bytes instead of %llu: truncated; the pool was left untouched",
			       index, segments->source->path,
			       (unsigned long long)st.st_size,
			       (unsigned long long)segment->size);
	return ret;
}

static void segment_describe(struct dp_segments *segments, uint32_t index)
{
	const struct dp_geometry *geometry = &segments->divided;
	struct dp_segment *segment = &segments->all[index];
	uint64_t begin = dp_geometry_begin(geometry, index);

	segment->base = dp_geometry_base(geometry, index);
	segment->size = dp_geometry_size(geometry, index);
	segment->view =
		(struct dp_badblocks_view) { .badblocks = &segment->badblocks,
					    .base = segment->base,
					    .fd = -1 };
	dp_pages_init(&segment->pages, segment->size >> DP_CHUNK_SHIFT,
		      segment->base, begin >> DP_BLOCK_SHIFT, segments->seed,
		      segments->persist);
	segment->table = (struct dp_table) {
		.base = segment->base,
		.view = &segment->view,
		.pages = &segment->pages,
		.offset = dp_layout_table_offset(geometry->segment_size),
		.first_block = begin >> DP_BLOCK_SHIFT,
		.begin = dp_geometry_meta_blocks(geometry),
		.blocks = segment->size >> DP_BLOCK_SHIFT,
		.segment = index,
		.seed = segments->seed,
		.persist = segments->persist,
	};
}

static int segment_map(struct dp_segments *segments, uint32_t index,
		       bool create, const struct dp_errmsg *errmsg)
{
	struct dp_segment *segment = &segments->all[index];
	int ret = 0;

	segment->chunk = calloc(1, segment->size >> DP_CHUNK_SHIFT);
	if (!segment->chunk)
		return -ENOMEM;
	if (!segment->file)
		return 0;
	if (!create)
		ret = segment_check_size(segments, index, errmsg);
	if (ret)
		return ret;
	return segment_map_one(segments, dp_geometry_begin(&segments->divided,
							   index),
			       segment->size, dp_file_fd(segment->file),
			       errmsg);
}

static int segment_map_all(struct dp_segments *segments, uint64_t size,
			   bool create, const struct dp_errmsg *errmsg)
{
	int ret = 0;

	if (segments->source->kind == DP_SOURCE_DEVDAX)
		ret = segment_map_one(segments, 0, size,
				      dp_file_fd(segments->first), errmsg);
	for (uint32_t i = 0; !ret && i < segments->divided.segments; i++) {
		segment_describe(segments, i);
		ret = segment_map(segments, i, create, errmsg);
	}
	return ret;
}

/* The error of the mapping. mmap() returns -EAGAIN if the memory would be locked beyond
 * the limit. */
static int segment_no_addresses(int error, uint64_t range,
				const struct dp_errmsg *errmsg)
{
	if (error == -ENOMEM && dp_os_limit(DP_LIMIT_MAPPED) != UINT64_MAX)
		return dp_fail(errmsg, error,
			       "there is no free range of %llu MiB of addresses for the pool, and RLIMIT_AS is %llu KiB: raise it (ulimit -v; systemd: LimitAS=)",
			       (unsigned long long)range >> 20,
			       (unsigned long long)dp_os_limit(DP_LIMIT_MAPPED) >> 10);
	if (error != -EAGAIN)
		return dp_fail(errmsg, error,
			       "there is no free range of %llu MiB of addresses for the pool",
			       (unsigned long long)range >> 20);
	return dp_fail(errmsg, -ENOMEM,
		       "the %llu MiB of the pool cannot be mapped: mlockall(MCL_FUTURE) locks what is mapped, and RLIMIT_MEMLOCK is %llu KiB: raise it (ulimit -l; systemd: LimitMEMLOCK=), or call munlockall() before",
		       (unsigned long long)range >> 20,
		       (unsigned long long)dp_os_limit(DP_LIMIT_LOCKED) >> 10);
}

/* Reserve the addresses of geometry->most segments. */
static int segment_reserve(struct dp_segments *segments,
			   const struct dp_geometry *geometry, uint64_t size,
			   uint64_t *ret_range)
{
	*ret_range = dp_geometry_begin(geometry, geometry->most);
	if (segments->source->kind == DP_SOURCE_DEVDAX && *ret_range < size)
		*ret_range = size;	/* the whole device is one mapping */
	return dp_map_reserve(&segments->range, *ret_range,
			      segments->source->align);
}

int dp_segments_map(struct dp_segments *segments, uint64_t size,
		    struct dp_geometry *geometry, bool create,
		    const struct dp_errmsg *errmsg)
{
	uint64_t range;
	int ret;

	assert(segments->opened == geometry->segments && segments->persist);
	ret = segment_reserve(segments, geometry, size, &range);
	if (ret && !segments->need_most && geometry->most > geometry->segments) {
		geometry->most = geometry->segments;
		ret = segment_reserve(segments, geometry, size, &range);
	}
	if (ret)
		return segment_no_addresses(ret, range, errmsg);
	geometry->base = segments->range.base;
	segments->divided = *geometry;
	return segment_map_all(segments, size, create, errmsg);
}

static void segment_close(struct dp_segment *segment)
{
	dp_file_close(&segment->own);
	free(segment->chunk);
	dp_pages_fini(&segment->pages);
	dp_badblocks_fini(&segment->badblocks);
}

void dp_segments_close(struct dp_segments *segments)
{
	dp_map_release(&segments->range);
	for (uint32_t i = 0; i < segments->opened; i++)
		segment_close(&segments->all[i]);
	free(segments->all);
	segments->all = NULL;
	segments->opened = 0;
}

/* If the unmapping fails (ENOMEM), the file keeps its blocks until the close. */
void dp_segment_drop(struct dp_segments *segments, uint32_t index)
{
	struct dp_segment *segment = &segments->all[index];
	uint64_t begin = dp_geometry_begin(&segments->divided, index);

	assert(index && index < segments->opened && !segment->dropped);
	segment->dropped = true;
	if (!segment->file)
		return;
	if (!dp_map_clear(&segments->range, begin, segment->size))
		dp_os_truncate(dp_file_fd(segment->file), 0);
	dp_source_remove(segments->source, index, dp_file_fd(segment->file));
}

/* ------------------------------------------------------------ while it is open */

static int segment_exists(const struct dp_segments *segments, uint32_t index,
			  const struct dp_errmsg *errmsg)
{
	char name[DP_SEGMENT_NAME_SIZE];

	dp_source_segment_name(index, name);
	return dp_fail(errmsg, -EEXIST,
		       "%s/%s exists and is not a segment of this pool: move it elsewhere",
		       segments->source->path, name);
}

static int segment_is_left(const struct dp_segments *segments, uint32_t index,
			   const struct dp_errmsg *errmsg)
{
	char name[DP_SEGMENT_NAME_SIZE];

	dp_source_segment_name(index | DP_SOURCE_NEW, name);
	return dp_fail(errmsg, -EEXIST,
		       "%s/%s is left from a grow that did not finish, and cannot be removed, because its lock is held, or because of its permissions: end what has it open (fuser), or remove it, then try again",
		       segments->source->path, name);
}

static int segment_make(struct dp_segments *segments, uint32_t index,
			struct dp_wait_policy *policy,
			const struct dp_errmsg *errmsg)
{
	struct dp_segment *segment = &segments->all[index];
	struct stat stat;
	int ret;

	if (dp_source_stat_segment(segments->source, index, &stat) != -ENOENT)
		return segment_exists(segments, index, errmsg);
	ret = dp_file_open(&segment->own, segments->source, index, DP_FILE_NEW,
			   errmsg);
	if (ret == -EEXIST)
		return segment_is_left(segments, index, errmsg);
	if (ret)
		return ret;
	segment->file = &segment->own;
	ret = segment_lock(segments, index, policy, errmsg);
	return ret ? ret : segment_check_kind(segments, index, errmsg);
}

int dp_segments_add(struct dp_segments *segments, struct dp_wait_policy *policy,
		    const struct dp_errmsg *errmsg)
{
	uint32_t index = segments->opened;
	int ret = 0;

	assert(index < segments->divided.most && !segments->readonly);
	memset(&segments->all[index], 0, sizeof(segments->all[index]));
	segments->divided.segments = index + 1;
	segments->opened = index + 1;
	segment_describe(segments, index);
	if (segments->source->kind != DP_SOURCE_DEVDAX)
		ret = segment_make(segments, index, policy, errmsg);
	return ret ? ret : segment_map(segments, index, true, errmsg);
}

int dp_segments_rename(struct dp_segments *segments, uint32_t first,
		       const struct dp_errmsg *errmsg)
{
	int ret = 0;

	for (uint32_t i = first; !ret && i < segments->opened; i++) {
		if (!segments->all[i].file)
			continue;
		ret = dp_file_rename(&segments->all[i].own, segments->source);
		if (ret == -EEXIST)
			return segment_exists(segments, i, errmsg);
	}
	return !ret ? 0 :
	       dp_fail(errmsg, ret, "a new file of %s cannot be renamed: %s",
		       segments->source->path, strerror(-ret));
}

/* The mapping ends last: if that fails the addresses stay mapped to a file that was
 * removed, and a later grow maps another one there. */
void dp_segments_cut(struct dp_segments *segments, uint32_t count, bool remove)
{
	while (segments->opened > count) {
		uint32_t index = segments->opened - 1;
		struct dp_segment *segment = &segments->all[index];

		if (remove)
			dp_file_undo(&segment->own, segments->source);
		segments->opened = index;
		segments->divided.segments = index;
		segment_close(segment);
		if (segment->file)
			dp_map_clear(&segments->range,
				     dp_geometry_begin(&segments->divided, index),
				     segment->size);
	}
}

/* ---------------------------------------------------------------- backing */

/* List the segment's bad blocks, and set its view. */
int dp_segment_find_badblocks(struct dp_segments *segments, uint32_t index,
			      const struct dp_errmsg *errmsg)
{
	struct dp_segment *segment = &segments->all[index];
	int ret;

	assert(index < segments->opened);
	dp_badblocks_fini(&segment->badblocks);
	segment->view.fd = dp_segment_fd(segments, index);
	if (segments->source->kind == DP_SOURCE_DEVDAX)
		ret = dp_badblocks_of_slice(
			segments->medium,
			dp_geometry_begin(&segments->divided, index),
			segment->size, &segment->badblocks);
	else
		ret = dp_badblocks_of_file(segments->medium, segment->view.fd,
					   segment->size, &segment->badblocks);
	if (ret)
		return dp_fail(errmsg, ret,
			       "segment %u of %s: its bad blocks cannot be listed: %s",
			       index, segments->source->path, strerror(-ret));
	return 0;
}

int dp_segments_find_badblocks(struct dp_segments *segments,
			       const struct dp_errmsg *errmsg)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < segments->opened; i++)
		ret = dp_segment_find_badblocks(segments, i, errmsg);
	return ret;
}

int dp_segment_list(struct dp_segments *segments, uint32_t index,
		    const struct dp_errmsg *errmsg)
{
	struct dp_segment *segment = &segments->all[index];

	assert(index < segments->opened);
	return dp_source_chunks(segments->source,
				dp_segment_fd(segments, index), segment->size,
				segment->chunk, errmsg);
}

int dp_segments_list(struct dp_segments *segments,
		     const struct dp_errmsg *errmsg)
{
	int ret = 0;

	assert(segments->opened == segments->divided.segments);
	for (uint32_t i = 0; !ret && i < segments->opened; i++)
		ret = dp_segment_list(segments, i, errmsg);
	return ret;
}

/* An empty file has no pages that could be pinned. */
bool dp_segments_have_old_files(const struct dp_segments *segments)
{
	for (uint32_t i = 0; i < segments->opened; i++)
		if (!dp_segment_was_empty(segments, i))
			return true;
	return false;
}

/* ------------------------------------------------------------------ access */

static struct dp_segment *segment_at(const struct dp_segments *segments,
				     uint32_t index)
{
	assert(index < segments->opened);
	return &segments->all[index];
}

uint32_t dp_segments_count(const struct dp_segments *segments)
{
	return segments->opened;
}

int dp_segment_fd(const struct dp_segments *segments, uint32_t index)
{
	const struct dp_file *file = segment_at(segments, index)->file;

	return file ? dp_file_fd(file) : -1;
}

bool dp_segment_was_empty(const struct dp_segments *segments, uint32_t index)
{
	const struct dp_file *file = segment_at(segments, index)->file;

	return file && dp_file_was_empty(file);
}

const struct dp_table *dp_segment_table(const struct dp_segments *segments,
					uint32_t index)
{
	return &segment_at(segments, index)->table;
}

const struct dp_badblocks *
dp_segment_badblocks(const struct dp_segments *segments, uint32_t index)
{
	return &segment_at(segments, index)->badblocks;
}

const struct dp_badblocks_view *
dp_segment_view(const struct dp_segments *segments, uint32_t index)
{
	return &segment_at(segments, index)->view;
}

uint8_t dp_segment_chunk(const struct dp_segments *segments, uint32_t index,
			 uint32_t chunk)
{
	assert(chunk < dp_geometry_chunks(&segments->divided, index));
	return segment_at(segments, index)->chunk[chunk];
}

void dp_segment_set_chunk(struct dp_segments *segments, uint32_t index,
			  uint32_t chunk, uint8_t flags)
{
	/* The first chunks are metadata, which always keeps its blocks. */
	assert(chunk >= dp_geometry_meta_chunks(&segments->divided) &&
	       chunk < dp_geometry_chunks(&segments->divided, index));
	segment_at(segments, index)->chunk[chunk] = flags;
}
