/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order: lock, wait for the last owner as an open does, check everything, ask;
 * the backup, durable with its name; only then the changes, each durable before the
 * next. Each change stores bytes that do not depend on those that it replaces. So if a
 * repair is interrupted, another one completes it, and the backup of the interrupted
 * repair still restores the former state.
 *
 * A repair does not pass the layout barrier; the next open does. It needs none, because
 * it neither reuses blocks nor unmaps memory that DMA may reach.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "check/check.h"
#include "check/repair.h"
#include "os/os.h"
#include "owner/claim.h"
#include "pool/blocks.h"
#include "pool/judge.h"

/* ------------------------------------------------------------------ the media */

/* Wait for the last owner's DMA, as an open would. Returns 0 even if no superblock
 * is valid. */
static int repair_await_owner(struct dp_image *image,
			      struct dp_pool_request *request)
{
	struct dp_super_halves halves;
	struct dp_super_verdict verdict;
	struct dp_pool *pool = &image->pool;
	int ret = dp_image_segment(image, 0, 0, request->errmsg);

	/* The file is too short, so the check will find nothing to repair. */
	if (ret == -EUCLEAN)
		return 0;
	if (ret)
		return ret;
	dp_image_super(image, &halves);
	verdict = dp_super_judge(&halves);
	if (!verdict.newest || verdict.newest->version != DP_VERSION)
		return 0;
	pool->super = *verdict.newest;
	if (verdict.page_lost)
		pool->super.flags |= DP_SUPER_OWNER_UNKNOWN;
	ret = dp_pool_check_uuid(pool, &pool->super, request->uuid,
				 request->errmsg);
	return ret ? ret : dp_pool_await_owner(pool, request);
}

static int repair_go_to(struct dp_image *image, uint32_t segment,
			const struct dp_errmsg *errmsg)
{
	if (image->base && image->index == segment)
		return 0;
	return dp_image_segment(image, segment,
				dp_geometry_size(&image->pool.geometry,
						 segment), errmsg);
}

/* The chunks that are allocated together before the first store to one of them: those
 * of the metadata, or the chunk that has the words of a slab. */
struct chunks {
	uint32_t begin, end;
	const char *what;		/* for a message */
};

static struct chunks repair_chunks_at(const struct dp_image *image, uint64_t offset)
{
	uint32_t meta = dp_geometry_meta_chunks(&image->pool.geometry);
	uint32_t chunk = offset >> DP_CHUNK_SHIFT;

	if (chunk < meta)
		return (struct chunks) { 0, meta, "metadata" };
	return (struct chunks) { chunk, chunk + 1, "slabs in one chunk" };
}

/* BACKED if all these chunks are, and SHARED if any of them is. */
static uint8_t repair_flags(const struct dp_image *image, struct chunks chunks)
{
	uint8_t all = DP_CHUNK_BACKED, any = 0;

	for (uint32_t i = chunks.begin; i < chunks.end; i++) {
		all &= image->chunk[i];
		any |= image->chunk[i];
	}
	return all | (any & DP_CHUNK_SHARED);
}

/* A store to a hole or to a shared block needs a new block, and is SIGBUS if the
 * filesystem is full. So these chunks get their blocks before the first store to
 * them. */
static int repair_allocate_missing(struct dp_image *image, uint64_t offset,
				   struct dp_wait_policy *policy,
				   const struct dp_errmsg *errmsg)
{
	struct chunks chunks = repair_chunks_at(image, offset);
	uint64_t at = (uint64_t)chunks.begin << DP_CHUNK_SHIFT;
	uint64_t size = (uint64_t)(chunks.end - chunks.begin) << DP_CHUNK_SHIFT;
	struct dp_blocks blocks = {
		.policy = policy, .total_bytes = size,
	};
	const struct dp_source *source = &image->pool.source;
	struct dp_blocks_range range = {
		.fd = image->segment_fd, .offset = at, .size = size,
		.mapped = source->kind == DP_SOURCE_SHMEM ? image->base + at : NULL,
	};
	uint8_t flags = repair_flags(image, chunks);
	int ret = 0;

	if (source->kind == DP_SOURCE_FSDAX && flags & DP_CHUNK_SHARED)
		ret = dp_blocks_unshare(&blocks, range);
	else if (!(flags & DP_CHUNK_BACKED))
		ret = dp_blocks_allocate(&blocks, range);
	if (ret)
		return dp_fail(errmsg, ret,
			       "segment %u of %s: its %s (%llu MiB) are in a hole or shared by a reflink, and cannot be given blocks: %s",
			       image->index, source->path, chunks.what,
			       (unsigned long long)size >> 20, strerror(-ret));
	memset(image->chunk + chunks.begin, DP_CHUNK_BACKED,
	       chunks.end - chunks.begin);
	return 0;
}

static int repair_store(struct dp_image *image, const struct dp_patch *patch,
			const uint8_t *bytes)
{
	struct dp_persist *persist = &image->pool.persist;
	char *to = image->base + patch->offset;
	uint64_t word;
	int ret;

	if (patch->length == sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		dp_persist_store(persist, to, word);
	} else {
		dp_persist_copy(persist, to, bytes, patch->length);
	}
	ret = dp_persist_flush(persist, to, patch->length);
	dp_persist_fence(persist);
	/* For backup tools, as in dp_epochs_write(). */
	if (image->pool.source.kind != DP_SOURCE_DEVDAX)
		dp_os_touch(image->segment_fd);
	return ret;
}

/* ----------------------------------------------------------------- the backup */

/* A new name is durable when its directory is. */
static int repair_sync_directory(const char *path)
{
	char *dir = strdup(path), *slash;
	int fd, ret;

	if (!dir)
		return -ENOMEM;
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	fd = dp_os_open(AT_FDCWD, slash ? dir : ".", O_RDONLY | O_DIRECTORY,
			0);
	free(dir);
	if (fd < 0)
		return fd;
	ret = dp_os_fsync(fd);
	dp_os_close(fd);
	return ret;
}

static int repair_write_file(const char *path, const char *text, size_t size)
{
	int fd = dp_os_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	int ret;

	if (fd < 0)
		return fd;
	ret = dp_os_write(fd, text, size);
	if (!ret)
		ret = dp_os_fsync(fd);
	dp_os_close(fd);
	if (!ret)
		ret = repair_sync_directory(path);
	if (ret)
		dp_os_unlink(AT_FDCWD, path);
	return ret;
}

static int repair_write_backup(const struct dp_patches *patches,
			       const char *path, const struct dp_errmsg *errmsg)
{
	char *text;
	size_t size;
	int ret = dp_patches_format(patches, &text, &size);

	if (ret)
		return ret;
	ret = repair_write_file(path, text, size);
	free(text);
	if (ret == -EFBIG && dp_os_limit(DP_LIMIT_FILE_SIZE) != UINT64_MAX)
		return dp_fail(errmsg, ret,
			       "the backup %s has %zu bytes, and RLIMIT_FSIZE is %llu: raise it (ulimit -f; systemd: LimitFSIZE=); the pool was left untouched",
			       path, size,
			       (unsigned long long)dp_os_limit(DP_LIMIT_FILE_SIZE));
	if (ret)
		return dp_fail(errmsg, ret,
			       "the backup %s cannot be written: %s; the pool was left untouched",
			       path, strerror(-ret));
	return 0;
}

static int repair_cannot_open(const char *path, int error,
			      const struct dp_errmsg *errmsg)
{
	if (error == -ELOOP)
		return dp_fail(errmsg, -EINVAL,
			       "the backup %s is a symbolic link, and links are not followed there: give the file itself",
			       path);
	return dp_fail(errmsg, error, "the backup %s: %s", path,
		       strerror(-error));
}

/*
 * Open the backup and judge it. Its bytes will be stored to the pool, so they are read
 * only from the descriptor that was judged. The path may name a file of a pool that
 * this process has open. Closing a descriptor of that file would unlock the pool's
 * alive byte, so the backup is claimed like a file of a pool (claim.c).
 */
static int repair_open_backup(struct dp_claim **claim, const char *path,
			      const struct dp_pool_request *request,
			      struct stat *ret_stat)
{
	uint32_t flags = request->any_owner ? DP_JUDGE_ANY_OWNER : 0;
	int ret, fd = dp_os_open(AT_FDCWD, path, O_RDONLY | O_NOFOLLOW |
				 O_NONBLOCK | O_NOCTTY, 0);

	if (fd < 0)
		return repair_cannot_open(path, fd, request->errmsg);
	ret = dp_os_fstat(fd, ret_stat);
	if (ret) {
		dp_claim_stray(claim, fd);
		return repair_cannot_open(path, ret, request->errmsg);
	}
	if (dp_claim_take(claim, fd, ret_stat))
		return dp_fail(request->errmsg, -EBUSY,
			       "the backup %s is a file of a pool that this process has open: give the file that the repair made",
			       path);
	return dp_judge_other_file(path, ret_stat, flags, request->errmsg);
}

static int repair_read_backup(struct dp_patches *patches, const char *path,
			      const struct dp_pool_request *request)
{
	struct dp_claim *claim = dp_claim_new();
	char *text = NULL;
	struct stat st;
	int ret = claim ? repair_open_backup(&claim, path, request, &st) :
			  -ENOMEM;

	if (!ret) {
		text = malloc(st.st_size + 1);
		ret = text ? dp_os_read_text(dp_claim_fd(claim), text,
					     st.st_size + 1) : -ENOMEM;
	}
	if (ret >= 0)
		ret = dp_patches_parse(patches, text, request->errmsg);
	free(text);
	dp_claim_end(claim);
	return ret;
}

/* --------------------------------------------------------------------- repair */

static int repair_apply(struct dp_image *image,
			const struct dp_patches *patches,
			struct dp_pool_request *request)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < patches->count; i++) {
		ret = repair_go_to(image, patches->patch[i].segment,
				   request->errmsg);
		if (!ret)
			ret = repair_allocate_missing(image,
						      patches->patch[i].offset,
						      &request->policy,
						      request->errmsg);
		if (!ret)
			ret = repair_store(image, &patches->patch[i],
					   patches->patch[i].new);
	}
	return ret;
}

int dp_repair(struct dp_report *report, struct dp_pool_request *request,
	      const char *backup)
{
	struct dp_image image;
	int ret;

	assert(!request->readonly && report->patches);
	ret = dp_image_open(&image, request);
	if (ret)
		return ret;
	report->image = &image;
	ret = repair_await_owner(&image, request);
	if (!ret)
		ret = dp_check(report, request->errmsg);
	if (!ret && report->patches->count)
		ret = repair_write_backup(report->patches, backup,
					  request->errmsg);
	if (!ret)
		ret = repair_apply(&image, report->patches, request);
	report->image = NULL;
	dp_image_close(&image);
	return ret;
}

/* ------------------------------------------------------------------------- undo */

/* The pool's bytes must be the new ones of the repair, or the old ones if the repair or
 * an earlier undo was interrupted. */
static int repair_verify(struct dp_image *image, const struct dp_patch *patch,
			 const struct dp_errmsg *errmsg)
{
	uint64_t size = dp_geometry_size(&image->pool.geometry, patch->segment);
	uint8_t now[DP_BLOCK_SIZE];
	int ret = repair_go_to(image, patch->segment, errmsg);

	if (!ret && patch->offset + patch->length > size)
		return dp_fail(errmsg, -EUCLEAN,
			       "the pool's segment %u ends before offset 0x%llx; it was left untouched",
			       patch->segment, (unsigned long long)patch->offset);
	if (!ret)
		ret = dp_badblocks_read(&image->view, patch->offset, now,
					patch->length);
	if (ret)
		return ret;
	if (memcmp(now, patch->new, patch->length) &&
	    memcmp(now, patch->old, patch->length))
		return dp_fail(errmsg, -EUCLEAN,
			       "segment %u, offset 0x%llx: the pool was written to since the repair; it was left untouched",
			       patch->segment,
			       (unsigned long long)patch->offset);
	return 0;
}

static int repair_put_back(struct dp_image *image,
			   const struct dp_patches *patches,
			   struct dp_pool_request *request)
{
	const struct dp_errmsg *errmsg = request->errmsg;
	const struct dp_super *super = &image->pool.super;
	int ret = 0;

	if (!super->version || memcmp(super->uuid, patches->uuid, 16))
		return dp_fail(errmsg, -EUCLEAN,
			       "the backup is of another pool than %s; it was left untouched",
			       image->pool.source.path);
	ret = dp_pool_check_super(&image->pool, super, errmsg);
	if (!ret)
		ret = dp_pool_check_device(&image->pool, super, errmsg);
	if (!ret)
		image->pool.geometry = dp_geometry_of_pool(super);
	for (size_t i = 0; !ret && i < patches->count; i++) {
		if (patches->patch[i].segment >= super->segments)
			return dp_fail(errmsg, -EUCLEAN,
				       "the pool has no segment %u any more; it was left untouched",
				       patches->patch[i].segment);
		ret = repair_verify(image, &patches->patch[i], errmsg);
	}
	for (size_t i = patches->count; !ret && i--;) {
		ret = repair_go_to(image, patches->patch[i].segment, errmsg);
		if (!ret)
			ret = repair_allocate_missing(image,
						      patches->patch[i].offset,
						      &request->policy, errmsg);
		if (!ret)
			ret = repair_store(image, &patches->patch[i],
					   patches->patch[i].old);
	}
	return ret;
}

int dp_repair_undo(struct dp_pool_request *request, const char *backup)
{
	struct dp_patches patches;
	struct dp_image image;
	int ret = repair_read_backup(&patches, backup, request);

	if (ret)
		return ret;
	assert(!request->readonly);
	ret = dp_image_open(&image, request);
	if (!ret) {
		ret = repair_await_owner(&image, request);
		if (!ret)
			ret = repair_put_back(&image, &patches, request);
		dp_image_close(&image);
	}
	dp_patches_fini(&patches);
	return ret;
}
