/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * W7 and W15: no pool is created over one whose beginning was wiped. Its remains are
 * searched for in this order: superblocks of later segments, which prove that there was
 * a pool; a descriptor table or redo lanes in the first chunk, which have a unique
 * pattern, although their checks cannot be tested without the uuid; and any other byte
 * that is not zero, whose origin is unknown.
 */
#include <errno.h>
#include <stdlib.h>
#include "media/super.h"
#include "os/os.h"
#include "pool/file.h"
#include "pool/map.h"
#include "pool/remains.h"

#define EQUAL_MAX	16u	/* adjacent equal checks; chance: one in 65536 */
#define LANES_ENOUGH	8u
#define BLANK_STEP	(16 * DP_BLOCK_SIZE)	/* read of a chunk that may be blank */

static bool remains_are_zero(const char *from, uint64_t size)
{
	return !from[0] && !memcmp(from, from + 1, size - 1);
}

/* The two superblocks, and zeroes after them up to size. */
static bool remains_super_is_none(const char *copy, uint64_t size)
{
	const uint64_t half = sizeof(struct dp_super);

	return remains_are_zero(copy, half) &&
	       (remains_are_zero(copy + half, half) ||
		!memcmp(copy + half, DP_MAGIC, 8)) &&
	       remains_are_zero(copy + DP_SUPER_SIZE, size - DP_SUPER_SIZE);
}

/*
 * True if all of chunk 0 is zero; a single page of zeroes is not enough, because it may
 * be damage, or another program's medium. Also true if all of it is zero except for the
 * first superblock of an interrupted create, which has the magic (dp_super_announce()).
 */
bool dp_remains_are_none(const struct dp_badblocks_view *view)
{
	char *copy = malloc(BLANK_STEP);
	bool blank = copy;

	for (uint64_t at = 0; blank && at < DP_CHUNK_SIZE; at += BLANK_STEP)
		blank = !dp_badblocks_read(view, at, copy, BLANK_STEP) &&
			(at ? remains_are_zero(copy, BLANK_STEP) :
			      remains_super_is_none(copy, BLANK_STEP));
	free(copy);
	return blank;
}

/* ---------------------------------------- what it looks like without a uuid */

/* Is it a page of a descriptor table: do its words describe extents that do not
 * overlap, with checks that differ? */
static bool remains_is_table_page(const char *page)
{
	uint64_t word, before = 0;
	uint32_t inside = 0, equal = 0;
	struct dp_word taken;

	for (uint64_t i = 0; i < DP_PAGE_WORDS; i++) {
		memcpy(&word, page + dp_word_offset(i), sizeof(word));
		if (!dp_word_unpack(word, &taken) ||
		    (inside && taken.kind != DP_KIND_FREE))
			return false;
		inside = inside ? inside - 1 : taken.blocks - 1;
		equal += word == before;
		before = word;
	}
	return equal <= EQUAL_MAX;
}

static bool remains_is_lane(const char *page)
{
	struct dp_lane lane;

	memcpy(&lane, page, sizeof(lane));
	return lane.check && lane.count <= DP_LANE_ENTRIES && !lane.zero_0 &&
	       lane.sequence - lane.done + 1 <= 2 &&
	       remains_are_zero((char *)lane.zero_1, sizeof(lane.zero_1)) &&
	       remains_are_zero((char *)lane.zero_2, sizeof(lane.zero_2));
}

/* -------------------------------------------------- one file, or the device */

struct search {
	struct dp_badblocks_view view;
	uint32_t segment;
	char *buffer;			/* one chunk */
	struct dp_remains *found;
	struct progress *progress;
};

/* Over all files. The size of a file is added to the total when its search begins. */
struct progress {
	struct dp_wait_policy *policy;
	uint64_t before;		/* bytes of the files before this one */
	uint64_t done, total;
};

/* Before each read: report progress, which can end the search. */
static int remains_report_progress(struct search *search, uint64_t offset)
{
	struct progress *progress = search->progress;

	progress->done = progress->before + offset;
	if (!progress->policy)
		return 0;
	return dp_wait_work(progress->policy, progress->done,
				progress->total);
}

static void remains_note(struct search *search, enum dp_remains_kind kind,
			 uint64_t offset)
{
	if (kind > search->found->kind)
		*search->found = (struct dp_remains) {
			kind, search->segment, offset };
}

/* Read into the buffer. Unreadable pages become zeroes; the last one is returned. */
static int remains_read(struct search *search, uint64_t offset, uint64_t size,
			uint64_t *ret_unreadable)
{
	int ret = dp_badblocks_read(&search->view, offset, search->buffer, size);

	for (uint64_t at = 0; ret == -EIO && at < size; at += DP_BLOCK_SIZE) {
		uint64_t part = dp_min(size - at, DP_BLOCK_SIZE);
		int one = dp_badblocks_read(&search->view, offset + at,
					    search->buffer + at, part);

		if (one && one != -EIO)
			return one;
		if (!one)
			continue;
		memset(search->buffer + at, 0, part);
		*ret_unreadable = offset + at;
	}
	return ret == -EIO ? 0 : ret;
}

/* Record the place on the medium of the buffer's first byte that is not zero. */
static void remains_note_bytes(struct search *search, uint64_t offset, uint64_t size)
{
	uint64_t at = 0;

	if (remains_are_zero(search->buffer, size))
		return;
	while (!search->buffer[at])
		at++;
	remains_note(search, DP_REMAINS_BYTES, offset + at);
}

/* Search for pages of a table; only used pages were written. */
static void remains_note_table(struct search *search, uint64_t offset,
			       uint64_t begin, uint64_t end)
{
	for (uint64_t at = begin; at + DP_BLOCK_SIZE <= end; at += DP_BLOCK_SIZE)
		if (remains_is_table_page(search->buffer + at))
			remains_note(search, DP_REMAINS_TABLE, offset + at);
}

/* Search the first chunk, if no superblock is whole. The magic that an interrupted
 * create has written is not a remain. */
static int remains_in_first_chunk(struct search *search)
{
	uint64_t unreadable = UINT64_MAX;
	uint32_t lanes = 0;
	int ret;

	if (dp_remains_are_none(&search->view))
		return 0;
	ret = remains_read(search, 0, DP_CHUNK_SIZE, &unreadable);
	if (ret)
		return ret;
	for (uint64_t at = DP_LANES_OFFSET; at < DP_LANES_END;
	     at += DP_BLOCK_SIZE)
		lanes += remains_is_lane(search->buffer + at);
	if (lanes >= LANES_ENOUGH)
		remains_note(search, DP_REMAINS_LANES, DP_LANES_OFFSET);
	remains_note_table(search, 0, DP_TABLE_OFFSET, DP_COPY_OFFSET);
	remains_note_bytes(search, 0, DP_CHUNK_SIZE);
	if (unreadable != UINT64_MAX)
		remains_note(search, DP_REMAINS_BYTES, unreadable);
	return 0;
}

/* Search behind the first chunk, where the table of a large segment is. */
static int remains_in_range(struct search *search, uint64_t begin, uint64_t end)
{
	uint64_t unreadable = 0, size;
	int ret = 0;

	/* Behind the metadata, one byte that is not zero ends the search. */
	for (; !ret && begin < end; begin += size) {
		size = dp_min(end - begin,
			      DP_CHUNK_SIZE - begin % DP_CHUNK_SIZE);
		if (begin >= DP_META_SIZE_MAX && search->found->kind)
			return 0;
		ret = remains_report_progress(search, begin);
		if (!ret)
			ret = remains_read(search, begin, size, &unreadable);
		if (!ret && begin < DP_META_SIZE_MAX)
			remains_note_table(search, begin, -begin % DP_BLOCK_SIZE,
					   size);
		if (!ret)
			remains_note_bytes(search, begin, size);
	}
	return ret;
}

static bool remains_is_super(const struct search *search, uint64_t offset)
{
	struct dp_badblocks_view view = search->view;
	struct dp_super super;

	view.base += offset;
	return !dp_super_newest(&view, &super) && super.index;
}

static int remains_in_device(struct search *search, uint64_t size)
{
	int ret = remains_in_first_chunk(search);
	uint64_t at = DP_CHUNK_SIZE, part;

	for (; !ret && at + DP_CHUNK_SIZE <= size; at += DP_CHUNK_SIZE) {
		if (at % DP_SEGMENT_SIZE_MIN == 0 && remains_is_super(search, at)) {
			remains_note(search, DP_REMAINS_SUPER, at);
			return 0;
		}
		part = at < DP_SEGMENT_SIZE_MAX ? DP_CHUNK_SIZE : DP_BLOCK_SIZE;
		ret = remains_in_range(search, at, at + part);
	}
	return ret;
}

struct extents {
	struct search *search;
	uint64_t size;			/* of the part of the file to be searched */
};

/* Search one extent of the file; unwritten parts are zeroes. */
static int remains_in_extent(const struct dp_os_extent *extent, void *arg)
{
	const struct extents *extents = arg;
	uint64_t begin = extent->offset, end = begin + extent->length;

	if (begin < DP_CHUNK_SIZE)
		begin = DP_CHUNK_SIZE;
	return remains_in_range(extents->search, begin,
				dp_min(end, extents->size));
}

static int remains_in_mapped_file(struct search *search, uint64_t size)
{
	struct extents extents = { search, size };
	int ret;

	if (search->segment && remains_is_super(search, 0)) {
		remains_note(search, DP_REMAINS_SUPER, 0);
		return 0;
	}
	ret = remains_in_first_chunk(search);
	return ret ? ret : dp_os_seek_data(search->view.fd, size,
					   remains_in_extent, &extents);
}

/* -------------------------------------------------------------- all of them */

/* Map a device completely, or a file up to `end`. */
static int remains_map(struct search *search, int fd, uint64_t end)
{
	void *base;
	int ret = dp_map_peek(fd, end, &base);

	if (ret)
		return ret;
	search->view.base = base;
	search->progress->before = search->progress->total;
	search->progress->total += end;
	search->buffer = malloc(DP_CHUNK_SIZE);
	if (!search->buffer)
		ret = -ENOMEM;
	else if (search->view.fd < 0)
		ret = remains_in_device(search, end);
	else
		ret = remains_in_mapped_file(search, end);
	free(search->buffer);
	dp_os_unmap(base, end);
	return ret;
}

static int remains_of_file(struct dp_remains *found, struct progress *progress,
			   uint32_t index, int fd)
{
	static const struct dp_badblocks none;
	struct search search = {
		.view = { .badblocks = &none, .fd = fd },
		.segment = index, .found = found, .progress = progress,
	};
	struct stat st;
	int ret = dp_os_fstat(fd, &st);

	if (ret)
		return ret;
	if ((uint64_t)st.st_size >= DP_CHUNK_SIZE)
		return remains_map(&search, fd, dp_min((uint64_t)st.st_size,
						       DP_SEGMENT_SIZE_MAX));
	if (st.st_size)
		remains_note(&search, DP_REMAINS_BYTES, 0);
	return 0;
}

/* A device has no read(), so bytes are copied from its mapping through a pipe. */
static int remains_of_device(const struct dp_remains_place *place,
			     struct dp_remains *found, struct progress *progress)
{
	struct search search = { .found = found, .progress = progress };
	int pipe[2], ret = dp_os_pipe(pipe);

	if (ret)
		return ret;
	search.view = (struct dp_badblocks_view) {
		.badblocks = place->badblocks, .fd = -1, .pipe = pipe };
	ret = remains_map(&search, place->first, place->source->device_size);
	dp_os_close(pipe[0]);
	dp_os_close(pipe[1]);
	return ret;
}

static int remains_fail_search(const struct dp_source *source, uint32_t segment,
			       int error, const struct progress *progress,
			       const struct dp_errmsg *errmsg)
{
	if (error == -ECANCELED || error == -ETIMEDOUT)
		return dp_fail(errmsg, error,
			       "%s has no superblock of a pool, and %s when %llu of %llu MiB had been searched for the remains of one; nothing was changed",
			       source->path, error == -ECANCELED ? "the call gave up" :
			       "the deadline passed",
			       (unsigned long long)progress->done >> 20,
			       (unsigned long long)progress->total >> 20);
	if (source->kind == DP_SOURCE_DEVDAX)
		return dp_fail(errmsg, error,
			       "%s cannot be searched for remains of a pool: %s",
			       source->path, strerror(-error));
	return dp_fail(errmsg, error,
		       "segment %u of %s cannot be searched for remains of a pool: %s",
		       segment, source->path, strerror(-error));
}

/* The descriptor of a segment that is open already, or -1. */
static int remains_fd(const struct dp_remains_place *place, uint32_t index)
{
	if (!index)
		return place->first;
	if (!place->segments || index >= dp_segments_count(place->segments))
		return -1;
	return dp_segment_fd(place->segments, index);
}

/* 1: the segment's file exists. */
static int remains_of_segment(const struct dp_remains_place *place,
			      uint32_t index, struct dp_remains *found,
			      struct progress *progress,
			      const struct dp_errmsg *errmsg)
{
	int fd = remains_fd(place, index);
	struct dp_file file;
	int ret = 0;

	if (fd >= 0) {
		ret = remains_of_file(found, progress, index, fd);
	} else {
		ret = dp_file_open(&file, place->source, index, DP_FILE_READ,
				   errmsg);
		if (ret)
			return ret == -ENOENT ? 0 : ret;
		ret = remains_of_file(found, progress, index,
				      dp_file_fd(&file));
		dp_file_close(&file);
	}
	if (ret)
		return remains_fail_search(place->source, index, ret, progress,
					   errmsg);
	return 1;
}

int dp_remains_find(const struct dp_remains_place *place,
		    struct dp_remains *ret_remains,
		    const struct dp_errmsg *errmsg)
{
	const struct dp_source *source = place->source;
	struct dp_remains found = { .kind = DP_REMAINS_NONE };
	struct progress progress = { .policy = place->policy };
	int left, ret;

	if (source->kind == DP_SOURCE_DEVDAX) {
		ret = remains_of_device(place, &found, &progress);
		if (ret)
			return remains_fail_search(source, 0, ret, &progress,
						   errmsg);
		*ret_remains = found;
		return 0;
	}
	left = dp_source_extra_files(source, 0);
	if (left < 0)
		return dp_fail(errmsg, left, "the files of %s cannot be listed: %s",
			       source->path, strerror(-left));
	for (uint32_t i = 0; left > 0 && i < DP_SEGMENTS_MAX; i++) {
		ret = remains_of_segment(place, i, &found, &progress, errmsg);
		if (ret < 0)
			return ret;
		left -= ret;
	}
	*ret_remains = found;
	return 0;
}

/* ---------------------------------------------------------------- sentences */

int dp_remains_errno(const struct dp_remains *remains)
{
	return remains->kind > DP_REMAINS_BYTES ? -EUCLEAN : -EMEDIUMTYPE;
}

static int remains_fail_super(const struct dp_source *source,
			      const struct dp_remains *remains, int error,
			      const char *also, const struct dp_errmsg *errmsg)
{
	if (source->kind == DP_SOURCE_DEVDAX)
		return dp_fail(errmsg, error,
			       "%s has no superblock of a pool at its beginning, but one of a later segment at offset 0x%llx: the beginning was wiped or overwritten, so restore it from a backup of the device; nothing was changed%s",
			       source->path,
			       (unsigned long long)remains->offset, also);
	return dp_fail(errmsg, error,
		       "segment 0 of %s has no superblock of a pool, but segment %u has one: segment.0000 was wiped or replaced, so restore it from the backup that the other files are of; nothing was changed%s",
		       source->path, remains->segment, also);
}

int dp_remains_fail(const struct dp_source *source,
		    const struct dp_remains *remains, int error,
		    const char *also, const struct dp_errmsg *errmsg)
{
	unsigned long long offset = remains->offset;
	bool device = source->kind == DP_SOURCE_DEVDAX;
	char where[40];

	assert(remains->kind);
	if (device)
		snprintf(where, sizeof(where), "the device");
	else
		snprintf(where, sizeof(where), "segment %u", remains->segment);
	if (remains->kind == DP_REMAINS_SUPER)
		return remains_fail_super(source, remains, error, also, errmsg);
	if (remains->kind == DP_REMAINS_BYTES)
		return dp_fail(errmsg, error,
			       "there is no daxpin pool in %s, but something else, at offset 0x%llx of %s; it may be the remains of a pool: give another path, or restore its beginning from a backup; nothing was changed%s",
			       source->path, offset, where, also);
	return dp_fail(errmsg, error,
		       "%s has no superblock of a pool, but at offset 0x%llx of %s it has a pattern that only the %s of a pool has: the rest was wiped or overwritten, so restore %s from a backup; nothing was changed%s",
		       source->path, offset, where,
		       remains->kind == DP_REMAINS_TABLE ? "descriptor table" :
							   "redo lanes",
		       device ? "the beginning" : "the pool's files", also);
}
