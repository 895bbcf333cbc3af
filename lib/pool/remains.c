/* SPDX-License-Identifier: BSD-3-Clause */
/* W7 and W15: a pool whose first segment was wiped is not a place for a new one. */
#include <stdlib.h>
#include "media/super.h"
#include "os/os.h"
#include "pool/file.h"
#include "pool/map.h"
#include "pool/remains.h"

static bool remains_are_zero(const char *from, uint64_t size)
{
	return !from[0] && !memcmp(from, from + 1, size - 1);
}

/*
 * Chunk 0 is all zeroes: a page of them may be damage, or another's medium. Or
 * all zeroes but for the first superblock of a create that was cut short, which
 * announces itself by the magic (dp_super_announce).
 */
bool dp_remains_are_none(const struct dp_bad_view *view)
{
	const uint64_t half = sizeof(struct dp_super);
	char *copy = malloc(DP_CHUNK_SIZE);
	bool blank;

	if (!copy)
		return false;
	blank = !dp_bad_read(view, 0, copy, DP_CHUNK_SIZE) &&
		remains_are_zero(copy, half) &&
		(remains_are_zero(copy + half, half) ||
		 !memcmp(copy + half, DP_MAGIC, 8)) &&
		remains_are_zero(copy + DP_SUPER_SIZE,
			     DP_CHUNK_SIZE - DP_SUPER_SIZE);
	free(copy);
	return blank;
}

bool dp_remains_in(int fd)
{
	static const struct dp_bad none;
	struct dp_bad_view view = {
		.bad = &none, .base = NULL, .fd = fd };
	struct dp_super super;
	struct stat st;
	void *base;
	bool found;

	if (dp_os_fstat(fd, &st) || (uint64_t)st.st_size < DP_CHUNK_SIZE ||
	    dp_map_peek(fd, DP_CHUNK_SIZE, &base))
		return false;
	view.base = base;
	found = !dp_super_newest(&view, &super) && super.index;
	dp_os_unmap(base, DP_CHUNK_SIZE);
	return found;
}

static bool remains_at(const struct dp_source *source, uint32_t index)
{
	struct dp_file file;
	bool found;

	if (dp_file_open(&file, source, index, DP_FILE_READ, NULL))
		return false;
	found = dp_remains_in(dp_file_fd(&file));
	dp_file_close(&file);
	return found;
}

uint32_t dp_remains_find(const struct dp_source *source, uint32_t index)
{
	int left = dp_source_extra_files(source, index);

	assert(index);
	for (; left > 0 && index < DP_SEGMENTS_MAX; index++) {
		struct stat st;

		if (dp_source_look(source, index, &st))
			continue;
		if (remains_at(source, index))
			return index;
		left--;
	}
	return 0;
}

int dp_remains_fail(const struct dp_source *source, uint32_t index, int error,
		    const struct dp_errmsg *errmsg)
{
	return dp_fail(errmsg, error,
		       "segment 0 of %s has no superblock of a pool, but segment %u has one: segment.0000 was wiped or replaced, so bring it back from the backup that the other files are of; nothing was changed",
		       source->path, index);
}
