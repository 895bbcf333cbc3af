/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One file of a pool, or its device: opened and judged once, claimed in this
 * process, locked; and taken back if the create that made it fails. See file.c.
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
	bool size_is_known;
	uint64_t size_before;		/* as it was found, under the lock */
};

enum dp_file_access {
	DP_FILE_READ,
	DP_FILE_WRITE,
	DP_FILE_MAKE,			/* and make it if it is missing */
};

/*
 * Open, judge and claim the file of segment `index`; of a device the node, index
 * 0. Nothing is left behind on failure.
 *
 * -ENOENT      there is none, and it was not to be made; without a sentence
 * -EBUSY       this process has it open, under this name or another
 * -EMEDIUMTYPE, -EPERM, -EOPNOTSUPP  as dp_judge_file() and dp_judge_filesystem()
 * other        of the system call
 */
int dp_file_open(struct dp_file *file, const struct dp_source *source,
		 uint32_t index, enum dp_file_access access,
		 const struct dp_errmsg *errmsg);
/*
 * Lock it: shared, or for this process alone. -ESTALE: it is not the file of that
 * name any more, without a sentence.
 */
int dp_file_lock(struct dp_file *file, const struct dp_source *source,
		 bool shared, struct dp_wait_policy *policy,
		 const struct dp_errmsg *errmsg);
/* Its descriptor, or -1 for one that is not open; zeroed memory is not. */
int dp_file_fd(const struct dp_file *file);
/* Under the lock: had it no bytes when it was found? */
bool dp_file_was_empty(const struct dp_file *file);
/*
 * A create failed: remove the file if this process made it and had it first, or
 * give it its size back. Others may have it by now, then it is left to them.
 */
void dp_file_undo(struct dp_file *file, const struct dp_source *source);
/* Unlock and close it. */
void dp_file_close(struct dp_file *file);

#endif
