/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * W13: on some kernels a call that a signal interrupts loses its progress: fallocate()
 * on tmpfs undoes what it has allocated (kernel.md K20). With a timer signal every few
 * milliseconds a whole segment would never be allocated. So a range is processed in
 * steps, and completed steps are kept. After a signal the step is halved, down to one
 * block; after success it grows. Between two steps the progress function is called,
 * which may end the call.
 *
 * W7, W8: a copy may lack blocks that were zero (cp --sparse, rsync -S, any copy of a
 * file with holes). They read as zeroes, so the data is complete. But a store there
 * needs a block, and on a full filesystem it is SIGBUS (kernel.md K17), so the blocks
 * are allocated before the first store. A block that a reflink shares with another
 * file is complete as well, but on a DAX filesystem a store moves it while hardware
 * writes to its old place (A10). On a disk the kernel copies the page, so nothing needs
 * to be done.
 *
 * XFS waits in these calls while a page of the file is pinned. They are made after the
 * layout barrier (pool.c), so that only a process without the pool's locks can have
 * pinned one. Nevertheless they go through a ring, which repeats them (W12) and can
 * cancel them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include "media/layout.h"
#include "os/os.h"
#include "pool/blocks.h"

#define STEP_MAX	(16ull << 20)
#define STEP_MIN	DP_BLOCK_SIZE
#define ROOM_LOOKS	20u
#define ROOM_PAUSE_NS	(50 * 1000000ull)

static_assert(STEP_MAX % DP_CHUNK_SIZE == 0, "whole chunks, without signals");

static int blocks_report(void *arg)
{
	const struct dp_blocks *blocks = arg;

	return blocks ? dp_wait_work(blocks->policy, blocks->done_bytes,
				     blocks->total_bytes) : 0;
}

static int blocks_fallocate(struct dp_blocks *blocks, struct dp_falloc_args call)
{
	if (blocks && blocks->falloc)
		return dp_falloc_run(blocks->falloc, call, blocks_report, blocks);
	return dp_os_fallocate(call.fd, call.mode, call.offset, call.size);
}

/* Do one step. On tmpfs a block exists once its page was touched; until then it counts
 * as a hole (kernel.md K19). */
static int blocks_step(struct dp_blocks *blocks,
		       const struct dp_blocks_range *range, uint64_t done,
		       uint64_t size, int mode)
{
	int ret = blocks_fallocate(blocks, (struct dp_falloc_args) {
		.fd = range->fd, .mode = mode,
		.offset = range->offset + done, .size = size,
	});

	if (!ret && range->mapped)
		ret = dp_os_advise(range->mapped + done, size,
				   MADV_POPULATE_WRITE);
	return ret;
}

/* The step after a signal: half of the last one, in whole blocks, at least one. */
static uint64_t blocks_half(uint64_t size)
{
	uint64_t half = size / 2 & ~(STEP_MIN - 1);

	return half ? half : STEP_MIN;
}

/* blocks: for progress reports, or NULL. */
static int blocks_do(struct dp_blocks *blocks, struct dp_blocks_range range,
		     int mode)
{
	uint64_t step = STEP_MAX, done = 0, size;
	int ret = 0;

	assert(range.offset % DP_BLOCK_SIZE == 0 &&
	       range.size % DP_BLOCK_SIZE == 0);
	while (!ret && done < range.size) {
		size = dp_min(step, range.size - done);
		ret = blocks_report(blocks);
		if (!ret)
			ret = blocks_step(blocks, &range, done, size, mode);
		if (ret == -EINTR) {
			step = blocks_half(size);
			ret = 0;
		} else if (!ret) {
			done += size;
			step = dp_min(2 * step, STEP_MAX);
			if (blocks)
				blocks->done_bytes += size;
		}
	}
	assert(ret || done == range.size);
	return ret;
}

int dp_blocks_allocate(struct dp_blocks *blocks, struct dp_blocks_range range)
{
	return blocks_do(blocks, range, 0);
}

int dp_blocks_unshare(struct dp_blocks *blocks, struct dp_blocks_range range)
{
	return blocks_do(blocks, range, FALLOC_FL_UNSHARE_RANGE);
}

int dp_blocks_allocate_here(struct dp_blocks_range range)
{
	return blocks_do(NULL, range, 0);
}

/* ------------------------------------------------------------- of a whole pool */

#define MIB(bytes)	((unsigned long long)(bytes) >> 20)

enum blocks_work {
	BLOCKS_NONE,
	BLOCKS_ALLOCATE,
	BLOCKS_UNSHARE,
};

static enum blocks_work blocks_work_of(const struct dp_segments *segments,
				       uint32_t index, uint32_t chunk)
{
	uint8_t flags = dp_segment_chunk(segments, index, chunk);
	bool needed = chunk * DP_CHUNK_BLOCKS <
			      dp_segment_table(segments, index)->begin ||
		      flags & DP_CHUNK_WANTED;

	if (flags & DP_CHUNK_SHARED &&
	    segments->source->kind == DP_SOURCE_FSDAX)
		return BLOCKS_UNSHARE;
	return needed && !(flags & DP_CHUNK_BACKED) ? BLOCKS_ALLOCATE :
						      BLOCKS_NONE;
}

static uint64_t blocks_size_of(const struct dp_segments *segments,
			       uint32_t index)
{
	return (uint64_t)dp_segment_table(segments, index)->blocks
	       << DP_BLOCK_SHIFT;
}

static uint32_t blocks_chunks_of(const struct dp_segments *segments,
				 uint32_t index)
{
	return blocks_size_of(segments, index) >> DP_CHUNK_SHIFT;
}

static uint64_t blocks_segment_lacks(const struct dp_segments *segments,
				     uint32_t index)
{
	uint64_t chunks = 0;

	for (uint32_t i = 0; i < blocks_chunks_of(segments, index); i++)
		chunks += blocks_work_of(segments, index, i) != BLOCKS_NONE;
	return chunks << DP_CHUNK_SHIFT;
}

uint64_t dp_blocks_lacking(const struct dp_segments *segments)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < dp_segments_count(segments); i++)
		bytes += blocks_segment_lacks(segments, i);
	return bytes;
}

static struct dp_blocks_range blocks_range_of(const struct dp_segments *segments,
					      uint32_t index, uint64_t offset,
					      uint64_t size)
{
	char *base = dp_segment_table(segments, index)->base;

	return (struct dp_blocks_range) {
		.fd = dp_segment_fd(segments, index),
		.offset = offset, .size = size,
		.mapped = segments->source->kind == DP_SOURCE_SHMEM ?
			  base + offset : NULL,
	};
}

/* Process runs of chunks that need the same work. Blocks are durable before they are
 * used. */
static int blocks_allocate_segment(struct dp_blocks *blocks,
				   const struct dp_segments *segments,
				   uint32_t index)
{
	uint32_t chunks = blocks_chunks_of(segments, index);
	uint32_t end;
	int ret = 0;

	for (uint32_t i = 0; !ret && i < chunks; i = end) {
		enum blocks_work work = blocks_work_of(segments, index, i);
		struct dp_blocks_range range;

		for (end = i + 1; end < chunks &&
		     blocks_work_of(segments, index, end) == work; end++)
			;
		range = blocks_range_of(segments, index,
					(uint64_t)i << DP_CHUNK_SHIFT,
					(uint64_t)(end - i) << DP_CHUNK_SHIFT);
		if (work == BLOCKS_ALLOCATE)
			ret = dp_blocks_allocate(blocks, range);
		else if (work == BLOCKS_UNSHARE)
			ret = dp_blocks_unshare(blocks, range);
	}
	return ret ? ret : dp_os_fsync(dp_segment_fd(segments, index));
}

static int blocks_fail(const struct dp_blocks *blocks, int error,
		       const char *path, const char *what,
		       const struct dp_errmsg *errmsg)
{
	uint64_t left = blocks->total_bytes - blocks->done_bytes;

	if (error == -ENOSPC)
		return dp_fail(errmsg, error,
			       "%s: the filesystem is full, and %llu MiB %s have no blocks yet: free that much space",
			       path, MIB(left), what);
	if (error == -EOPNOTSUPP)
		return dp_fail(errmsg, error,
			       "%s shares blocks with another file (a reflink), so that hardware could write into that file, and this kernel does not unshare them: copy the files with cp --reflink=never, and use the copy",
			       path);
	if (error == -ECANCELED || error == -ETIMEDOUT)
		return dp_fail(errmsg, error,
			       "%s: %s when %llu of %llu MiB %s had their blocks",
			       path, error == -ECANCELED ? "the call gave up" :
			       "the deadline passed", MIB(blocks->done_bytes),
			       MIB(blocks->total_bytes), what);
	return dp_fail(errmsg, error, "%s: blocks cannot be allocated: %s",
		       path,
		       strerror(-error));
}

static int blocks_allocate_missing(struct dp_blocks *blocks,
				   struct dp_segments *segments,
				   const struct dp_errmsg *errmsg)
{
	const char *path = segments->source->path;
	int ret = 0;

	for (uint32_t i = 0; !ret && i < dp_segments_count(segments); i++) {
		if (!blocks_segment_lacks(segments, i))
			continue;
		ret = blocks_allocate_segment(blocks, segments, i);
		if (ret)
			return blocks_fail(blocks, ret, path,
					   "that are holes of its files, or shared by a reflink,",
					   errmsg);
		ret = dp_segment_list(segments, i, errmsg);
		if (!ret)
			ret = dp_segment_find_badblocks(segments, i, errmsg);
		if (!ret && blocks_segment_lacks(segments, i))
			return dp_fail(errmsg, -EOPNOTSUPP,
				       "segment %u of %s got blocks of its own, but its filesystem does not list them: copy the files with cp --reflink=never --sparse=never, and use the copy",
				       i, path);
	}
	return ret;
}

/* On a DAX filesystem the calls go through a ring, because they may wait. */
static void blocks_begin(struct dp_blocks *blocks,
			 const struct dp_segments *segments, struct dp_falloc *falloc)
{
	if (segments->source->kind != DP_SOURCE_FSDAX)
		return;
	dp_falloc_open(falloc);
	blocks->falloc = falloc;
}

static void blocks_end(struct dp_blocks *blocks)
{
	if (blocks->falloc)
		dp_falloc_close(blocks->falloc);
}

int dp_blocks_allocate_missing(struct dp_segments *segments,
			       struct dp_wait_policy *policy,
			       const struct dp_errmsg *errmsg)
{
	struct dp_blocks blocks = {
		.policy = policy,
		.total_bytes = dp_blocks_lacking(segments),
	};
	struct dp_falloc falloc;
	int ret;

	assert(!segments->readonly);
	blocks_begin(&blocks, segments, &falloc);
	ret = blocks_allocate_missing(&blocks, segments, errmsg);
	blocks_end(&blocks);
	return ret;
}

/* -------------------------------------------------------------------- a create */

/* The bytes of the segments' files that are not allocated yet. */
static int blocks_missing(const struct dp_segments *segments, uint32_t first,
			  uint64_t *ret_bytes)
{
	struct stat st;
	int ret = 0;

	*ret_bytes = 0;
	for (uint32_t i = first; !ret && i < dp_segments_count(segments); i++) {
		uint64_t size = blocks_size_of(segments, i);

		ret = dp_os_fstat(dp_segment_fd(segments, i), &st);
		if (!ret && (uint64_t)st.st_blocks * 512 < size)
			*ret_bytes += size - (uint64_t)st.st_blocks * 512;
	}
	return ret;
}

/*
 * XFS frees the blocks of removed files in the background. statfs() makes it begin, and
 * counts them only when they are free (K39). So if there is too little, look again.
 */
static int blocks_find_room(const struct dp_segments *segments, uint64_t missing,
			    uint64_t *ret_room)
{
	int fd = dp_segment_fd(segments, 0);
	int ret = dp_os_free_space(fd, ret_room);

	for (uint32_t i = 0; !ret && missing > *ret_room && i < ROOM_LOOKS &&
	     segments->source->is_xfs; i++) {
		dp_os_sleep_ns(ROOM_PAUSE_NS);
		ret = dp_os_free_space(fd, ret_room);
	}
	return ret;
}

/* Fail before the filesystem is filled, if it reports its free space. */
static int blocks_check_room(const struct dp_segments *segments, uint32_t first,
			     const struct dp_errmsg *errmsg)
{
	uint64_t missing = 0, room = UINT64_MAX;
	int ret = blocks_missing(segments, first, &missing);

	if (!ret)
		ret = blocks_find_room(segments, missing, &room);
	if (ret || missing <= room)
		return ret;
	return dp_fail(errmsg, -ENOSPC,
		       "%s: the %s %llu bytes, and its filesystem has %llu left: free some space, or %s",
		       segments->source->path, first ? "new segments need" :
		       "pool needs", (unsigned long long)missing,
		       (unsigned long long)room,
		       first ? "grow the pool by less" : "create a smaller pool");
}

int dp_blocks_create(struct dp_segments *segments, uint32_t first,
		     struct dp_wait_policy *policy,
		     const struct dp_errmsg *errmsg)
{
	struct dp_blocks blocks = { .policy = policy };
	struct dp_falloc falloc;
	int ret;

	if (segments->source->kind == DP_SOURCE_DEVDAX)
		return 0;
	ret = blocks_check_room(segments, first, errmsg);
	if (ret)
		return ret;
	for (uint32_t i = first; i < dp_segments_count(segments); i++)
		blocks.total_bytes += blocks_size_of(segments, i);
	blocks_begin(&blocks, segments, &falloc);
	for (uint32_t i = first; !ret && i < dp_segments_count(segments); i++)
		ret = dp_blocks_allocate(&blocks, blocks_range_of(
			segments, i, 0, blocks_size_of(segments, i)));
	blocks_end(&blocks);
	return ret ? blocks_fail(&blocks, ret, segments->source->path,
				 first ? "of the new segments" : "of the new pool",
				 errmsg) : 0;
}
