/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One segment at a time: a pool has up to 16384, and each has 2 or 4 MiB of metadata.
 * Everything is read through the kernel into a private copy, so poison is an
 * error. A page with poison is marked unreadable and shown as zeroes, which are
 * never valid (D6).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "check/image.h"
#include "os/os.h"

static enum dp_file_access image_access(const struct dp_image *image)
{
	return image->pool.readonly ? DP_FILE_READ : DP_FILE_WRITE;
}

static int image_first_fd(const struct dp_image *image)
{
	return dp_file_fd(&image->pool.first);
}

void dp_image_end_segment(struct dp_image *image)
{
	dp_map_release(&image->map);
	dp_badblocks_fini(&image->badblocks);
	dp_file_close(&image->own);
	image->segment_fd = -1;
	image->base = NULL;
}

int dp_image_open(struct dp_image *image, struct dp_pool_request *request)
{
	struct dp_pool *pool = &image->pool;
	int ret;

	memset(image, 0, sizeof(*image));
	image->segment_fd = -1;
	image->policy = &request->policy;
	memcpy(image->uuid, request->uuid, sizeof(image->uuid));
	ret = dp_pool_begin(pool, request, 0);
	if (ret)
		return ret;
	ret = dp_pool_lock(pool, request, image_access(image));
	if (!ret)
		ret = dp_pool_resolve_granularity(pool, request->granularity,
						  request->errmsg);
	image->copy = ret ? NULL : malloc(DP_META_SIZE_MAX);
	if (!ret && !image->copy)
		ret = -ENOMEM;
	if (ret)
		dp_image_close(image);
	return ret;
}

void dp_image_close(struct dp_image *image)
{
	dp_image_end_segment(image);
	free(image->copy);
	image->copy = NULL;
	dp_pool_tear_down(&image->pool);
}

static int image_read_page(struct dp_image *image, uint64_t at)
{
	char *to = image->copy + at;
	int ret = dp_badblocks_read(&image->view, at, to, DP_BLOCK_SIZE);

	if (ret && ret != -EIO)
		return ret;
	image->unreadable[at / DP_BLOCK_SIZE] = ret;
	if (ret)
		memset(to, 0, DP_BLOCK_SIZE);
	return 0;
}

static int image_read_supers(struct dp_image *image)
{
	int ret = 0;

	memset(image->unreadable, 0, sizeof(image->unreadable));
	memset(image->copy, 0, DP_META_SIZE_MAX);
	for (int i = 0; !ret && i < 4; i++)
		ret = image_read_page(image, dp_super_offset[i / 2] +
					     i % 2 * DP_BLOCK_SIZE);
	return ret;
}

static int image_read_meta(struct dp_image *image)
{
	uint64_t size = dp_geometry_meta_size(&image->pool.geometry);
	int ret = dp_badblocks_read(&image->view, 0, image->copy, size);

	memset(image->unreadable, 0, sizeof(image->unreadable));
	if (ret != -EIO)
		return ret;
	ret = 0;
	for (uint64_t at = 0; !ret && at < size; at += DP_BLOCK_SIZE)
		ret = image_read_page(image, at);
	return ret;
}

static int image_map_range(struct dp_image *image, uint64_t size,
			   const struct dp_errmsg *errmsg)
{
	const struct dp_source *source = &image->pool.source;
	uint32_t flags = image->pool.readonly ? DP_MAP_READONLY : 0;
	int ret;

	if (source->kind == DP_SOURCE_FSDAX)
		flags |= DP_MAP_SYNC;
	ret = dp_map_reserve(&image->map, size, source->align);
	if (!ret)
		ret = dp_map_file(&image->map, 0, size, image->segment_fd,
				  flags);
	if (ret)
		return dp_fail(errmsg, ret,
			       "segment %u of %s cannot be mapped: %s",
			       image->index, source->path, strerror(-ret));
	return 0;
}

static int image_lock_own(struct dp_image *image,
			  const struct dp_errmsg *errmsg)
{
	const struct dp_source *source = &image->pool.source;
	int ret = dp_file_lock(&image->own, source, image->pool.readonly,
			       image->policy, errmsg);

	if (ret == -ESTALE)
		return dp_fail(errmsg, -EBUSY,
			       "segment %u of %s was replaced while its lock was waited for: try again",
			       image->index, source->path);
	return ret;
}

/* Segment 0's file is open, and must not be opened twice (claim.c). */
static int image_open_file(struct dp_image *image,
			   const struct dp_errmsg *errmsg)
{
	struct dp_source *source = &image->pool.source;
	char name[DP_SEGMENT_NAME_SIZE];
	int ret;

	image->segment_fd = image_first_fd(image);
	if (!image->index || source->kind == DP_SOURCE_DEVDAX)
		return 0;
	image->segment_fd = -1;
	ret = dp_file_open(&image->own, source, image->index,
			   image_access(image), errmsg);
	if (ret == -ENOENT) {
		dp_source_segment_name(image->index, name);
		return dp_fail(errmsg, ret,
			       "%s/%s is missing: bring the file back, the pool needs all its segments",
			       source->path, name);
	}
	if (!ret)
		ret = image_lock_own(image, errmsg);
	if (!ret)
		image->segment_fd = dp_file_fd(&image->own);
	return ret;
}

static int image_check_length(struct dp_image *image, uint64_t size,
			      const struct dp_errmsg *errmsg)
{
	struct stat st;
	int ret = dp_os_fstat(image->segment_fd, &st);

	if (ret || (uint64_t)st.st_size >= size)
		return ret;
	return dp_fail(errmsg, -EUCLEAN,
		       "segment %u has %llu bytes instead of %llu or more: its file is truncated",
		       image->index, (unsigned long long)st.st_size,
		       (unsigned long long)size);
}

/* The chunks are listed before the file is mapped, because a load from a hole of a
 * tmpfs file would allocate a page. */
static int image_map_file(struct dp_image *image, uint64_t size,
			  const struct dp_errmsg *errmsg)
{
	uint64_t length = size ? size : DP_CHUNK_SIZE;
	int ret = image_open_file(image, errmsg);

	if (!ret)
		ret = image_check_length(image, length, errmsg);
	if (!ret)
		ret = dp_source_chunks(&image->pool.source, image->segment_fd,
				       length, image->chunk, errmsg);
	if (!ret)
		ret = image_map_range(image, length, errmsg);
	if (!ret)
		ret = dp_badblocks_of_file(&image->pool.badblocks,
					   image->segment_fd, length,
					   &image->badblocks);
	image->base = image->map.base;
	image->view =
		(struct dp_badblocks_view) { .badblocks = &image->badblocks,
					    .base = image->base,
					    .fd = image->segment_fd };
	return ret;
}

static int image_map_device(struct dp_image *image, uint64_t size,
			    const struct dp_errmsg *errmsg)
{
	const struct dp_source *source = &image->pool.source;
	uint64_t at = dp_geometry_begin(&image->pool.geometry,
					image->index);
	uint64_t length = size ? size : DP_CHUNK_SIZE;
	int ret;

	assert(at + length <= source->device_size);
	image->segment_fd = image_first_fd(image);
	ret = dp_source_chunks(source, image->segment_fd, length, image->chunk,
			       errmsg);
	if (!ret)
		ret = image_map_range(image, source->device_size, errmsg);
	if (!ret)
		ret = dp_badblocks_of_slice(&image->pool.badblocks, at, length,
					    &image->badblocks);
	image->base = image->map.base + at;
	image->view = (struct dp_badblocks_view) {
		.badblocks = &image->badblocks, .base = image->base, .fd = -1 };
	return ret;
}

int dp_image_segment(struct dp_image *image, uint32_t index, uint64_t size,
		     const struct dp_errmsg *errmsg)
{
	int ret;

	assert(size <= DP_SEGMENT_SIZE_MAX && (size || !index));
	dp_image_end_segment(image);
	image->index = index;
	if (image->pool.source.kind == DP_SOURCE_DEVDAX)
		ret = image_map_device(image, size, errmsg);
	else
		ret = image_map_file(image, size, errmsg);
	if (!ret)
		ret = size ? image_read_meta(image) : image_read_supers(image);
	if (ret)
		dp_image_end_segment(image);
	return ret;
}

void dp_image_super(const struct dp_image *image,
		    struct dp_super_halves *ret_halves)
{
	for (int i = 0; i < 2; i++) {
		memcpy(ret_halves->half[i], image->copy + dp_super_offset[i],
		       DP_SUPER_SIZE);
		ret_halves->error[i] = dp_image_is_unreadable(
			image, dp_super_offset[i], DP_SUPER_SIZE) ? -EIO : 0;
	}
}

bool dp_image_is_unreadable(const struct dp_image *image, uint64_t offset,
			    uint64_t size)
{
	bool found = false;

	assert(size && offset + size <= DP_META_SIZE_MAX);
	for (uint64_t i = offset / DP_BLOCK_SIZE;
	     i <= (offset + size - 1) / DP_BLOCK_SIZE; i++)
		found |= image->unreadable[i];
	return found;
}
