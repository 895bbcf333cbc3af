/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Removes segments on media:
 *
 *	COUNTED -> LEFT OUT	[dp_pool_set_segments] by the superblock, durable
 *	LEFT OUT -> none	[dp_segment_drop], or by the next open for writing after
 *				a crash: [dp_pool_remove_left]
 *
 * A file is truncated before its name is removed. A ring that has the anchor in its
 * table of files keeps the file open (W3), and its blocks would stay allocated.
 *
 * What the segments have in memory stays until the close: other threads may still read
 * it, without a lock, for a report. It says that they are empty.
 *
 * The next open removes a file past the pool's only if it is empty, or if its
 * superblock is of this pool, of that segment and of the last open, and if no extent is
 * in its table. Others may be a part of another backup.
 *
 * Invariants:
 *	D10	one write of segment 0's superblock removes all segments of a shrink
 *	D24	a file is truncated and removed only after the superblock does not count
 *		it; the next open for writing removes what a crash has left of a shrink,
 *		and no other file
 */
#include <errno.h>
#include <stdlib.h>
#include "media/super.h"
#include "os/os.h"
#include "pool/own.h"
#include "pool/shrink.h"

int dp_pool_shrink(struct dp_pool *pool, uint32_t segments,
		   const struct dp_errmsg *errmsg)
{
	uint32_t before = dp_pool_in_set(pool);
	int ret;

	assert(segments && segments < before);
	ret = dp_pool_set_segments(pool, segments);
	if (ret)
		return dp_fail(errmsg, ret,
			       "the superblock of %s cannot be written: %s: the next open finds out how many segments the pool has",
			       pool->source.path, strerror(-ret));
	atomic_store(&pool->in_set, segments);
	/* If a file cannot be removed, the next open does it. */
	for (uint32_t i = before; i-- > segments;)
		dp_segment_drop(&pool->segments, i);
	if (pool->source.dir >= 0)
		dp_os_fsync(pool->source.dir);
	return 0;
}

/* ------------------------------------------------------------- after a crash */

struct left {
	const struct dp_pool *pool;
	uint32_t index;
	uint64_t size;			/* of the file */
	struct dp_badblocks_view view;
	struct dp_pages pages;
	bool has_extent;
};

static int left_find_word(void *arg, uint32_t block, struct dp_word word)
{
	struct left *left = arg;

	(void)block;
	left->has_extent |= word.kind != DP_KIND_FREE;
	return 0;
}

/* What is damaged may have been an extent. */
static int left_find_damage(void *arg, const struct dp_table_damage *damage)
{
	struct left *left = arg;

	(void)damage;
	left->has_extent = true;
	return 0;
}

static bool left_is_of_last_open(const struct left *left)
{
	const struct dp_super *first = &left->pool->super;
	struct dp_super super;

	return !dp_super_newest(&left->view, &super) && super.index == left->index &&
	       super.size == left->size &&
	       super.segment_size == first->segment_size &&
	       super.epoch == first->epoch && super.open_id == first->open_id &&
	       !memcmp(super.uuid, first->uuid, sizeof(super.uuid));
}

/* Read the whole table, whose pages are loaded. */
static bool left_scan(struct left *left, const struct dp_table *table)
{
	const struct dp_table_visitor visitor = {
		left_find_word, left_find_damage, left
	};
	uint64_t bytes = table->blocks * sizeof(uint64_t);
	char *copy = malloc(bytes);
	bool is_read;

	if (!copy)
		return false;
	is_read = !dp_badblocks_read(&left->view, table->offset, copy, bytes) &&
		  !dp_table_scan_copy(table, copy, &visitor);
	free(copy);
	return is_read && !left->has_extent;
}

static bool left_has_no_extent(struct left *left)
{
	const struct dp_geometry *geometry = &left->pool->geometry;
	const struct dp_errmsg silent = { NULL, 0 };
	uint64_t begin = dp_geometry_begin(geometry, left->index);
	const struct dp_table table = {
		.view = &left->view, .pages = &left->pages,
		.offset = dp_layout_table_offset(geometry->segment_size),
		.first_block = begin >> DP_BLOCK_SHIFT,
		.begin = dp_geometry_meta_blocks(geometry),
		.blocks = left->size >> DP_BLOCK_SHIFT,
		.segment = left->index, .seed = left->pool->seed,
	};
	bool is_empty;

	dp_pages_init(&left->pages, left->size >> DP_CHUNK_SHIFT, NULL,
		      table.first_block, table.seed, NULL);
	is_empty = !dp_table_load_pages(&table, false, &silent) &&
		   left_scan(left, &table);
	dp_pages_fini(&left->pages);
	return is_empty;
}

/* The file is locked. */
static bool left_is_of_shrink(const struct dp_pool *pool, uint32_t index, int fd)
{
	static const struct dp_badblocks none;
	struct left left = { .pool = pool, .index = index,
			     .view = { &none, NULL, fd, NULL } };
	struct stat stat;
	void *base;
	bool is;

	if (dp_os_fstat(fd, &stat))
		return false;
	left.size = stat.st_size;
	if (!left.size)
		return true;
	if (left.size % DP_CHUNK_SIZE || left.size > pool->geometry.segment_size ||
	    left.size < DP_SEGMENT_SIZE_MIN || dp_map_peek(fd, left.size, &base))
		return false;
	left.view.base = base;
	is = left_is_of_last_open(&left) && left_has_no_extent(&left);
	dp_os_unmap(base, left.size);
	return is;
}

/* What cannot be opened, or is locked, remains. */
static bool left_remove(struct dp_pool *pool, uint32_t index)
{
	struct dp_wait_policy without_waiting = { .deadline_ns = 0 };
	const struct dp_errmsg silent = { NULL, 0 };
	struct dp_file file;
	bool is = false;

	if (dp_file_open(&file, &pool->source, index, DP_FILE_WRITE, &silent))
		return false;
	dp_wait_begin(&without_waiting);
	if (!dp_file_lock(&file, &pool->source, false, &without_waiting, &silent))
		is = left_is_of_shrink(pool, index, dp_file_fd(&file));
	if (is)
		dp_source_remove(&pool->source, index, dp_file_fd(&file));
	dp_file_close(&file);
	return is;
}

void dp_pool_remove_left(struct dp_pool *pool)
{
	uint32_t found = 0, removed = 0;
	struct stat stat;

	for (uint32_t i = pool->geometry.segments;
	     i < DP_SEGMENTS_MAX && found < pool->ignored_files; i++) {
		if (dp_source_stat_segment(&pool->source, i, &stat))
			continue;
		found++;
		removed += left_remove(pool, i);
	}
	pool->ignored_files -= removed;
	if (removed)
		dp_os_fsync(pool->source.dir);
}
