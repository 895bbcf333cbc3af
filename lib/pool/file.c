/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns a pool file's descriptor, from its open to its close:
 *
 *	CLOSED -> CLAIMED	[dp_file_open]: openat() that follows no link and
 *				never waits, fstat(), claim, judgement
 *	CLAIMED -> LOCKED	[dp_file_lock], which tests the name again
 *	any -> CLOSED		[dp_file_close]
 *
 * All decisions use this descriptor, and decisions to change bytes or to remove the
 * name are made only while LOCKED (W1). A file is removed only by the call that made
 * it, and only if it was still empty when that call had locked it; otherwise another
 * create was first, and the file belongs to its pool (W15). Links are never followed,
 * and only a regular file is kept open (W14).
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include "os/os.h"
#include "owner/claim.h"
#include "pool/file.h"
#include "pool/judge.h"

#define ATTEMPTS	100u		/* while others create and remove the file */

static uint32_t file_name(const struct dp_file *file)
{
	return file->index | (file->is_new ? DP_SOURCE_NEW : 0);
}

/* ------------------------------------------------------------------ opening */

/* If the first open fails with -EEXIST, the second finds the file, unless it was
 * removed in between. */
static int file_make_or_open(struct dp_file *file,
			     const struct dp_source *source)
{
	int fd = -ENOENT;

	for (unsigned int i = 0; fd == -ENOENT && i < ATTEMPTS; i++) {
		fd = dp_source_open(source, file_name(file),
				    O_RDWR | O_CREAT | O_EXCL);
		file->made = fd >= 0;
		if (fd == -EEXIST)
			fd = dp_source_open(source, file_name(file), O_RDWR);
		else if (fd == -ENOENT)
			return fd;	/* the directory was removed */
	}
	return fd == -ENOENT ? -EBUSY : fd;
}

static int file_open_name(struct dp_file *file, const struct dp_source *source,
			  enum dp_file_access access)
{
	int fd;

	if (access == DP_FILE_MAKE && source->kind != DP_SOURCE_DEVDAX)
		return file_make_or_open(file, source);
	if (access == DP_FILE_NEW) {
		fd = dp_source_open(source, file_name(file),
				    O_RDWR | O_CREAT | O_EXCL);
		file->made = fd >= 0;
		return fd;
	}
	return dp_source_open(source, file_name(file),
			      access == DP_FILE_READ ? O_RDONLY : O_RDWR);
}

static int file_claimed(const struct dp_source *source, uint32_t index,
			const struct dp_errmsg *errmsg)
{
	if (!index)
		return dp_fail(errmsg, -EBUSY,
			       "the pool is open in this process already: use that handle");
	return dp_fail(errmsg, -EBUSY,
		       "segment %u of %s is a file that this process has open already, in another pool or as another segment of this one: each segment needs a file of its own",
		       index, source->path);
}

/* Remove a file that was just made but cannot be examined, if fstat() now succeeds. */
static void file_remove_unknown(const struct dp_file *file,
				const struct dp_source *source, int fd)
{
	struct stat stat;

	if (!file->made || dp_os_flock(fd, LOCK_EX | LOCK_NB))
		return;
	if (!dp_os_fstat(fd, &stat) && !stat.st_size)
		dp_source_remove(source, file_name(file), fd);
	dp_os_flock(fd, LOCK_UN);
}

/* The lock takes ownership of the descriptor, and closes it when it is safe. */
static int file_claim(struct dp_file *file, const struct dp_source *source,
		      int fd, bool to_be_made, const struct dp_errmsg *errmsg)
{
	struct stat stat;
	int ret = dp_os_fstat(fd, &stat);

	if (ret) {
		file_remove_unknown(file, source, fd);
		dp_lock_give_away(&file->lock, fd);
		return dp_fail(errmsg, ret,
			       "segment %u of %s cannot be examined: %s",
			       file->index, source->path, strerror(-ret));
	}
	if (dp_lock_claim(&file->lock, fd, &stat))
		return file_claimed(source, file->index, errmsg);
	file->names = stat.st_nlink;
	ret = dp_source_judge(source, file_name(file), fd, &stat, to_be_made,
			      errmsg);
	if (ret && file->made)
		dp_file_undo(file, source);
	return ret;
}

/* Has this process claimed the file of that name? It is tested before the file is
 * opened (dp_claim_exists()). */
static bool file_is_claimed(const struct dp_file *file,
			    const struct dp_source *source)
{
	struct stat stat;

	return !dp_source_stat_segment(source, file_name(file), &stat) &&
	       dp_claim_exists(&stat);
}

static int file_open_and_claim(struct dp_file *file,
			       const struct dp_source *source,
			       enum dp_file_access access,
			       const struct dp_errmsg *errmsg)
{
	int fd = file_open_name(file, source, access);

	if (fd == -ENOENT)
		return fd;
	if (fd < 0)
		return dp_source_cannot_open(source, file_name(file), fd, errmsg);
	return file_claim(file, source, fd,
			  access == DP_FILE_MAKE || access == DP_FILE_NEW, errmsg);
}

int dp_file_open(struct dp_file *file, const struct dp_source *source,
		 uint32_t index, enum dp_file_access access,
		 const struct dp_errmsg *errmsg)
{
	int ret;

	memset(file, 0, sizeof(*file));
	file->index = index & ~DP_SOURCE_NEW;
	file->is_new = access == DP_FILE_NEW || index & DP_SOURCE_NEW;
	ret = dp_lock_init(&file->lock);
	if (ret)
		return ret;
	if (file_is_claimed(file, source))
		ret = file_claimed(source, file->index, errmsg);
	else
		ret = file_open_and_claim(file, source, access, errmsg);
	if (ret)
		dp_file_close(file);
	return ret;
}

/* ------------------------------------------------------------------ locking */

bool dp_file_is_locked(const struct dp_file *file)
{
	return !dp_lock_is_free(&file->lock);
}

enum dp_owner_state dp_file_find_owner(const struct dp_file *file, int *ret_pid)
{
	return dp_lock_find_owner(&file->lock, ret_pid);
}

/* During the wait for the lock the file may have been removed or replaced. */
static bool file_is_still_there(const struct dp_file *file,
				const struct dp_source *source)
{
	struct stat stat;

	return !dp_source_stat_segment(source, file_name(file), &stat) &&
	       dp_lock_is_of(&file->lock, &stat);
}

int dp_file_lock(struct dp_file *file, const struct dp_source *source,
		 bool shared, struct dp_wait_policy *policy,
		 const struct dp_errmsg *errmsg)
{
	char sentence[400] = "";
	struct dp_errmsg inner = { sentence, sizeof(sentence) };
	struct stat stat;
	int ret = dp_lock_take(&file->lock, shared, policy,
			       file->index ? &inner : errmsg);

	if (ret && file->index)
		return dp_fail(errmsg, ret, "segment %u of %s%s: %s",
			       file->index,
			       source->path, file->names > 1 ?
			       ", a file with hard links, which may be in another pool" :
			       "", sentence);
	if (!ret)
		ret = dp_os_fstat(dp_file_fd(file), &stat);
	if (ret)
		return ret;
	file->size_before = stat.st_size;
	file->size_is_known = true;
	return file_is_still_there(file, source) ? 0 : -ESTALE;
}

/* ------------------------------------------------------------------- access */

int dp_file_fd(const struct dp_file *file)
{
	return dp_lock_fd(&file->lock);
}

bool dp_file_was_empty(const struct dp_file *file)
{
	assert(dp_lock_is_taken(&file->lock) && file->size_is_known);
	return !file->size_before;
}

/* ------------------------------------------------------------------ closing */

/* Lock a file that was not locked yet when the create failed. False: another process
 * has the lock. */
static bool file_lock_for_undo(struct dp_file *file)
{
	struct stat stat;

	if (!dp_lock_try(&file->lock))
		return false;
	if (!file->size_is_known &&
	    !dp_os_fstat(dp_file_fd(file), &stat)) {
		file->size_before = stat.st_size;
		file->size_is_known = true;
	}
	return file->size_is_known;
}

void dp_file_undo(struct dp_file *file, const struct dp_source *source)
{
	struct stat stat;
	int fd = dp_file_fd(file);

	if (fd < 0 || source->kind == DP_SOURCE_DEVDAX)
		return;
	if (!file->made && !dp_lock_is_taken(&file->lock))
		return;
	if (!file_lock_for_undo(file))
		return;
	if (file->made && !file->size_before)
		dp_source_remove(source, file_name(file), fd);
	else if (!dp_os_fstat(fd, &stat) &&
		 (uint64_t)stat.st_size > file->size_before)
		dp_os_truncate(fd, file->size_before);
}

int dp_file_rename(struct dp_file *file, const struct dp_source *source)
{
	int ret;

	assert(file->is_new && dp_lock_is_taken(&file->lock));
	ret = dp_source_rename(source, file->index);
	file->is_new = ret;
	return ret;
}

void dp_file_remove(const struct dp_file *file, const struct dp_source *source)
{
	assert(dp_lock_is_taken(&file->lock));
	dp_source_remove(source, file_name(file), dp_file_fd(file));
}

void dp_file_close(struct dp_file *file)
{
	dp_lock_end(&file->lock);
}
