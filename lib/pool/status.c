/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The status page: the file `status` in the pool's directory, or /run/daxpin/daxX.Y for
 * device-dax. The owner writes a snapshot into the slot that does not have the newest
 * one, and then stores its number:
 *
 *	owner					reader
 *	(1) writes slot (n + 1) % 2		(3) reads the number n
 *	(2) writes the number n + 1		(4) reads slot n % 2
 *
 * The owner next writes to the slot that the reader reads after (2) of the snapshot
 * n + 1. Then the slot has another number than n, or its check fails, and the reader
 * begins again. If the owner dies at any point, slot n % 2 is whole.
 *
 * Both use read() and write(), so a page that another user truncates is an error and
 * not SIGBUS. The file is created with O_EXCL, after a file of that name was removed:
 * so it is never one that another user has prepared.
 *
 * Invariants:
 *	W16	a reader gets a whole snapshot or none, and never follows a count out of
 *		the copy
 *	W17	the page is a new file
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "os/file_at.h"
#include "os/os.h"
#include "pool/status.h"

#define STATUS_NAME	"status"
#define STATUS_RUN	"/run/daxpin"
#define ATTEMPTS	1000u

/* ----------------------------------------------------------------- arrays */

uint64_t dp_status_bytes(const struct dp_status_snapshot *s)
{
	return sizeof(*s) +
	       (uint64_t)s->segments * sizeof(struct dp_status_segment) +
	       (uint64_t)s->holders * sizeof(struct dp_status_holder) +
	       (uint64_t)s->jobs * sizeof(struct dp_status_job) + s->cells;
}

const struct dp_status_segment *dp_status_segments(const struct dp_status_snapshot *s)
{
	return (const void *)(s + 1);
}

const struct dp_status_holder *dp_status_holders(const struct dp_status_snapshot *s)
{
	return (const void *)(dp_status_segments(s) + s->segments);
}

const struct dp_status_job *dp_status_jobs(const struct dp_status_snapshot *s)
{
	return (const void *)(dp_status_holders(s) + s->holders);
}

const uint8_t *dp_status_cells(const struct dp_status_snapshot *s)
{
	return (const void *)(dp_status_jobs(s) + s->jobs);
}

/* Where the slot of a snapshot begins. */
static uint64_t status_slot_at(uint64_t turn, uint64_t slot_size)
{
	return turn % 2 * slot_size + DP_STATUS_SLOTS;
}

static uint64_t status_check_of(const struct dp_status_snapshot *s)
{
	return dp_layout_digest(&s->bytes, s->bytes - sizeof(s->check));
}

static uint64_t status_header_check(const struct dp_status_header *header)
{
	return dp_layout_digest(header, offsetof(struct dp_status_header, check));
}

/* ------------------------------------------------------------- the file */

static bool status_is_in_run(const struct dp_source *source)
{
	return source->kind == DP_SOURCE_DEVDAX;
}

static const char *status_name(const struct dp_source *source)
{
	return status_is_in_run(source) ? source->device : STATUS_NAME;
}

/* Could another user replace files there? */
static int status_judge_run(int dir, const struct dp_errmsg *errmsg)
{
	struct stat stat;
	int ret = dp_os_fstat(dir, &stat);

	if (ret)
		return ret;
	if (stat.st_uid && stat.st_uid != dp_os_user())
		return dp_fail(errmsg, -EPERM,
			       STATUS_RUN " belongs to user %u: remove it, and let root create it",
			       stat.st_uid);
	if (stat.st_mode & (S_IWGRP | S_IWOTH) && !(stat.st_mode & S_ISVTX))
		return dp_fail(errmsg, -EPERM,
			       "other users can replace files in " STATUS_RUN " (mode %04o): chmod go-w it, or chmod +t it",
			       stat.st_mode & 07777u);
	return 0;
}

/* Open /run/daxpin. Returns a descriptor. */
static int status_open_run(bool make, const struct dp_errmsg *errmsg)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
	int dir = dp_os_open(AT_FDCWD, STATUS_RUN, flags, 0), ret;

	if (dir == -ENOENT && make) {
		dp_os_mkdir(STATUS_RUN, 0755);
		dir = dp_os_open(AT_FDCWD, STATUS_RUN, flags, 0);
	}
	if (dir == -ENOENT && !make)
		return -ENOENT;
	if (dir < 0)
		return dp_fail(errmsg, dir,
			       STATUS_RUN " cannot be created or opened: %s; root can create it",
			       strerror(-dir));
	ret = status_judge_run(dir, errmsg);
	if (!ret)
		return dir;
	dp_os_close(dir);
	return ret;
}

static uint64_t status_first_of(const struct dp_source *source, const struct stat *stat)
{
	return status_is_in_run(source) ? stat->st_rdev : stat->st_ino;
}

/* ---------------------------------------------------------- the owner's side */

/* A new file that those who can read the pool can read. */
static int status_make_file(int dir, const char *name, const struct stat *pool)
{
	int fd, ret = dp_os_unlink(dir, name);

	if (ret && ret != -ENOENT)
		return ret;
	fd = dp_os_open(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fd;
	ret = dp_os_set_access(fd, pool->st_gid,
			       0600 | (pool->st_mode & (S_IRGRP | S_IROTH)));
	if (!ret)
		return fd;
	dp_os_unlink(dir, name);
	dp_os_close(fd);
	return ret;
}

static int status_write_header(struct dp_status *status, const struct dp_pool *media,
			       uint64_t first)
{
	struct dp_status_header header = {
		.version = DP_STATUS_VERSION,
		.epoch = media->super.epoch,
		.slot_size = status->slot_size,
		.first = first,
		.owner = media->super.owner,
	};
	struct stat stat;
	int ret = dp_os_fstat(status->status_fd, &stat);

	if (ret)
		return ret;
	/* Contexts are recorded during the open, and are figures. */
	header.owner.contexts = 0;
	memset(header.owner.context, 0, sizeof(header.owner.context));
	memcpy(header.magic, DP_STATUS_MAGIC, sizeof(header.magic));
	memcpy(header.uuid, media->super.uuid, sizeof(header.uuid));
	header.inode = stat.st_ino;
	header.check = status_header_check(&header);
	return dp_os_write_at(status->status_fd, &header, sizeof(header), 0);
}

static int status_begin(struct dp_status *status, const struct dp_pool *media,
			const struct dp_errmsg *sentence)
{
	const struct dp_source *source = &media->source;
	const char *name = status_name(source);
	int dir = source->dir;
	struct stat pool;
	int ret = dp_os_fstat(dp_file_fd(&media->first), &pool);

	if (!ret && status_is_in_run(source))
		ret = dir = status->status_dir = status_open_run(true, sentence);
	if (ret < 0)
		return ret;
	status->status_fd = status_make_file(dir, name, &pool);
	if (status->status_fd < 0)
		return dp_fail(sentence, status->status_fd,
			       "%s/%s cannot be created: %s",
			       status_is_in_run(source) ? STATUS_RUN : source->path,
			       name, strerror(-status->status_fd));
	status->status_open = true;
	status->buffer = calloc(1, status->slot_size);
	if (!status->buffer)
		return -ENOMEM;
	return status_write_header(status, media, status_first_of(source, &pool));
}

int dp_status_create(struct dp_status *status, const struct dp_pool *media,
		     uint64_t bytes, const struct dp_errmsg *sentence)
{
	int ret;

	*status = (struct dp_status) {
		.status_fd = -1, .status_dir = -1,
		.slot_size = dp_round_up(bytes, DP_BLOCK_SIZE),
	};
	dp_clear_errmsg(sentence);
	assert(status->slot_size <= DP_STATUS_SLOT_MAX);
	ret = status_begin(status, media, sentence);
	/* The file has its full size, so that readers know it is complete. */
	if (!ret)
		ret = dp_os_truncate(status->status_fd,
				     DP_STATUS_SLOTS + 2 * status->slot_size);
	if (!ret)
		return 0;
	dp_status_remove(status, media);
	return dp_end_errmsg(sentence, ret, strerror(-ret));
}

void dp_status_remove_old(const struct dp_pool *media)
{
	int dir = media->source.dir;

	if (!status_is_in_run(&media->source)) {
		dp_os_unlink(dir, STATUS_NAME);
		return;
	}
	dir = status_open_run(false, NULL);
	if (dir < 0)
		return;
	dp_os_unlink(dir, media->source.device);
	dp_os_close(dir);
}

struct dp_status_snapshot *dp_status_next(struct dp_status *status)
{
	return status->status_open ? status->buffer : NULL;
}

int dp_status_write(struct dp_status *status)
{
	struct dp_status_snapshot *snapshot = status->buffer;
	uint64_t turn = status->turn + 1;
	int ret;

	snapshot->turn = turn;
	snapshot->bytes = dp_status_bytes(snapshot);
	assert(snapshot->bytes <= status->slot_size);
	snapshot->check = status_check_of(snapshot);
	ret = dp_os_write_at(status->status_fd, snapshot, snapshot->bytes,
			     status_slot_at(turn, status->slot_size));
	if (!ret)
		ret = dp_os_write_at(status->status_fd, &turn, sizeof(turn),
				     DP_STATUS_TURN);
	if (!ret)
		status->turn = turn;
	return ret;
}

void dp_status_remove(struct dp_status *status, const struct dp_pool *media)
{
	if (status->status_open)
		dp_os_unlink(status->status_dir < 0 ? media->source.dir :
						      status->status_dir,
			     status_name(&media->source));
	dp_status_close(status);
}

void dp_status_close(struct dp_status *status)
{
	if (status->status_open)
		dp_os_close(status->status_fd);
	if (status->status_open && status->status_dir >= 0)
		dp_os_close(status->status_dir);
	status->status_open = false;
	free(status->buffer);
	status->buffer = NULL;
}

/* --------------------------------------------------------- the reader's side */

/* What a reader knows of the page that it copies. */
struct status_page {
	struct dp_source source;
	int fd;
	struct stat stat;
	char what[300];			/* its path */
	const struct dp_errmsg *errmsg;
};

static int status_fail_damaged(const struct status_page *page, const char *how)
{
	return dp_fail(page->errmsg, -EUCLEAN,
		       "%s is no usable status page (%s): the next open for writing replaces it",
		       page->what, how);
}

/* A user who made the page could have written anything into it. */
static int status_judge_page(const struct status_page *page)
{
	uint32_t uid = page->stat.st_uid;

	if (!S_ISREG(page->stat.st_mode))
		return status_fail_damaged(page, "it is not a regular file");
	if (!uid || uid == dp_os_user() ||
	    (page->source.dir >= 0 && uid == page->source.dir_stat.st_uid))
		return 0;
	return dp_fail(page->errmsg, -EPERM,
		       "%s belongs to user %u, who is neither root nor the pool's owner nor this user: what it contains was not read",
		       page->what, uid);
}

static int status_open_page(struct status_page *page)
{
	bool in_run = status_is_in_run(&page->source);
	const char *name = status_name(&page->source);
	int dir = in_run ? status_open_run(false, page->errmsg) : page->source.dir;
	int ret;

	snprintf(page->what, sizeof(page->what), "%s/%s",
		 in_run ? STATUS_RUN : page->source.path, name);
	page->fd = dir < 0 ? dir : dp_os_open(dir, name, O_RDONLY | O_NOFOLLOW |
					      O_NONBLOCK | O_NOCTTY, 0);
	if (in_run && dir >= 0)
		dp_os_close(dir);
	if (page->fd == -ENOENT)
		return dp_fail(page->errmsg, -ENODATA,
			       "%s does not exist: the pool is not open for writing, or its owner keeps no status page",
			       page->what);
	if (page->fd == -ELOOP)
		return status_fail_damaged(page, "it is a symbolic link");
	if (page->fd < 0)
		return dp_fail(page->errmsg, page->fd, "%s cannot be opened: %s",
			       page->what, strerror(-page->fd));
	ret = dp_os_fstat(page->fd, &page->stat);
	return ret ? ret : status_judge_page(page);
}

/* Is it the page of this pool, and not of one that this directory was copied from? */
static int status_check_origin(const struct status_page *page,
			       const struct dp_status_header *header)
{
	struct stat first;
	int ret = dp_source_stat_segment(&page->source, 0, &first);

	if (ret)
		return dp_fail(page->errmsg, ret, "segment 0 of %s: %s",
			       page->source.path, strerror(-ret));
	if (header->inode != page->stat.st_ino)
		return status_fail_damaged(page, "it is a copy of another file");
	if (header->first != status_first_of(&page->source, &first))
		return status_fail_damaged(page, "it is of a pool in other files");
	return 0;
}

static int status_read_header(const struct status_page *page,
			      struct dp_status_header *header)
{
	int64_t n = dp_os_read_at(page->fd, header, sizeof(*header), 0);

	if (n < 0)
		return (int)n;
	if (n < (int64_t)sizeof(*header) ||
	    memcmp(header->magic, DP_STATUS_MAGIC, sizeof(header->magic)))
		return status_fail_damaged(page, "its beginning is not one");
	if (header->version && header->version != DP_STATUS_VERSION)
		return dp_fail(page->errmsg, -EPROTONOSUPPORT,
			       "%s has version %u, and this library reads only version %u: use %s daxpin, or open the pool with this one, which replaces the page",
			       page->what, header->version, DP_STATUS_VERSION,
			       header->version > DP_STATUS_VERSION ? "a newer" :
								     "an older");
	if (!header->version || header->check != status_header_check(header) ||
	    !header->slot_size || header->slot_size % DP_BLOCK_SIZE ||
	    header->slot_size > DP_STATUS_SLOT_MAX)
		return status_fail_damaged(page, "its header is damaged");
	if (page->stat.st_size !=
	    (off_t)(DP_STATUS_SLOTS + 2 * header->slot_size))
		return status_fail_damaged(page, "it has another size than its header says");
	return status_check_origin(page, header);
}

/* Are the counts and the texts inside their bounds? */
static bool status_is_plausible(const struct dp_status_snapshot *s)
{
	const struct dp_status_holder *holder = dp_status_holders(s);

	for (uint32_t i = 0; i < s->holders; i++)
		if (!memchr(holder[i].label, '\0', DP_STATUS_LABEL))
			return false;
	return s->cell_chunks && s->figures.segment_count == s->segments;
}

/* 1: it is whole and has that number. 0: it was replaced meanwhile, or is damaged. */
static int status_read_slot(const struct status_page *page, uint64_t slot_size,
			    uint64_t turn, struct dp_status_snapshot *s)
{
	int64_t n = dp_os_read_at(page->fd, s, slot_size,
				  status_slot_at(turn, slot_size));

	if (n < 0)
		return (int)n;
	if (n < (int64_t)slot_size || s->turn != turn || s->bytes > slot_size ||
	    s->segments > DP_SEGMENTS_MAX || s->holders > DP_STATUS_HOLDERS * 2 ||
	    s->jobs > DP_STATUS_JOBS || s->cells > DP_STATUS_CELLS ||
	    s->bytes != dp_status_bytes(s))
		return 0;
	return s->check == status_check_of(s) && status_is_plausible(s);
}

static int status_read_turn(const struct status_page *page, uint64_t *ret_turn)
{
	int64_t n = dp_os_read_at(page->fd, ret_turn, sizeof(*ret_turn),
				  DP_STATUS_TURN);

	return n < 0 ? (int)n : n < (int64_t)sizeof(*ret_turn) ? -EUCLEAN : 0;
}

static int status_read_newest(const struct status_page *page,
			      struct dp_status_copy *copy)
{
	uint64_t turn = 0, before = 0;
	unsigned int attempt = 0;
	int ret;

	do {
		before = turn;
		ret = status_read_turn(page, &turn);
		if (!ret && turn)
			ret = status_read_slot(page, copy->header.slot_size, turn,
					       copy->snapshot);
	} while (!ret && ++attempt < ATTEMPTS);
	if (ret)
		return ret > 0 ? 0 : ret;
	if (!turn)
		return status_fail_damaged(page, "the owner has written nothing into it yet");
	if (turn == before)
		return status_fail_damaged(page, "its snapshot is damaged");
	return dp_fail(page->errmsg, -EBUSY,
		       "%s was replaced during each of %u attempts to copy it: try again",
		       page->what, ATTEMPTS);
}

static int status_copy_page(struct status_page *page, struct dp_status_copy *copy)
{
	int ret = status_open_page(page);

	if (!ret)
		ret = status_read_header(page, &copy->header);
	if (ret)
		return ret;
	copy->snapshot = malloc(copy->header.slot_size);
	if (!copy->snapshot)
		return -ENOMEM;
	return status_read_newest(page, copy);
}

int dp_status_read(const char *path, struct dp_status_copy *ret_copy,
		   const struct dp_errmsg *errmsg)
{
	/* Whoever may read the page may look at it: it is not trusted. */
	const uint32_t flags = DP_JUDGE_ANY_OWNER | DP_JUDGE_ANY_FILESYSTEM |
			       DP_SOURCE_ANY_NODE;
	struct status_page page = { .fd = -1, .errmsg = errmsg };
	struct dp_status_copy copy = { .snapshot = NULL };
	int ret = dp_source_find(&page.source, path, flags, 0600, errmsg);

	if (ret)
		return ret;
	ret = status_copy_page(&page, &copy);
	if (page.fd >= 0)
		dp_os_close(page.fd);
	dp_source_close(&page.source);
	if (ret)
		dp_status_free(&copy);
	else
		*ret_copy = copy;
	return ret;
}

void dp_status_free(struct dp_status_copy *copy)
{
	free(copy->snapshot);
	copy->snapshot = NULL;
}
