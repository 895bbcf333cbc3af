/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One file of a pool, or its device: opened and judged once, claimed in this process,
 * locked; and removed if the create that made it fails. See file.c.
 */
#ifndef DP_FILE_H
#define DP_FILE_H

#include "owner/lock.h"
#include "pool/source.h"

/* private to file.c */
struct dp_file {
	struct dp_lock lock;
	uint32_t index;
	uint64_t names;			/* hard links */
	bool made;			/* by this process, O_EXCL */
	bool is_new;			/* it has the name of a new file */
	bool size_is_known;
	uint64_t size_before;		/* when the lock was taken */
};

enum dp_file_access {
	DP_FILE_READ,
	DP_FILE_WRITE,
	DP_FILE_MAKE,			/* create it if it is missing */
	DP_FILE_NEW,			/* create it under the name of a new file */
};

/*
 * Open, judge and claim the file of segment `index`; of a device the node, with index
 * 0. With DP_SOURCE_NEW in the index, or DP_FILE_NEW, it is the new file. A failure
 * leaves nothing behind.
 *
 * -EBUSY		this process has it open, under this name or another
 * -ENOENT		it does not exist, and access is not DP_FILE_MAKE; without
 *			a sentence
 * -EMEDIUMTYPE, -EOPNOTSUPP, -EPERM  as dp_judge_file(), dp_judge_filesystem()
 * -EEXIST		DP_FILE_NEW: it exists
 * others		of the system call
 */
int dp_file_open(struct dp_file *file, const struct dp_source *source,
		 uint32_t index, enum dp_file_access access,
		 const struct dp_errmsg *errmsg);
/*
 * Lock it, shared or exclusively. -ESTALE, without a sentence: the name belongs to
 * another file now, or to none.
 */
int dp_file_lock(struct dp_file *file, const struct dp_source *source,
		 bool shared, struct dp_wait_policy *policy,
		 const struct dp_errmsg *errmsg);
/* As dp_lock_is_free(), of a file that this process has not locked; and as
 * dp_lock_find_owner(). */
bool dp_file_is_locked(const struct dp_file *file);
enum dp_owner_state dp_file_find_owner(const struct dp_file *file, int *ret_pid);
/* Its descriptor, or -1 if it is not open, as zeroed memory is. */
int dp_file_fd(const struct dp_file *file);
/* Was it empty when the lock was taken? */
bool dp_file_was_empty(const struct dp_file *file);
/*
 * A create failed: remove the file if this process made it and locked it first, or
 * restore its size. If another process uses the file now, it is left alone.
 */
void dp_file_undo(struct dp_file *file, const struct dp_source *source);
/* Give a new file its final name: -EEXIST if that exists. */
int dp_file_rename(struct dp_file *file, const struct dp_source *source);
/* Remove the name of a file that is locked. */
void dp_file_remove(const struct dp_file *file, const struct dp_source *source);
/* Unlock and close it. */
void dp_file_close(struct dp_file *file);

#endif
