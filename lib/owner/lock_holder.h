/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which living processes keep a pool's files: open with their lock, mapped, or in the
 * file table of a ring. For messages and reports: what /proc hides is not found, and at
 * best counted.
 */
#ifndef DP_LOCK_HOLDER_H
#define DP_LOCK_HOLDER_H

#include <sys/types.h>
#include "util/util.h"

struct dp_lock_file {
	dev_t dev;
	ino_t ino;
};

struct dp_lock_files {
	const struct dp_lock_file *file;
	uint32_t count;
	const char *name;		/* of the first file, without its directory;
					   of several it ends with "." and the index */
	bool patient;			/* repeat what a busy ring does not show,
					   and report what is only possible */
};

enum dp_lock_use_kind {
	DP_LOCK_USE_DESCRIPTOR,		/* of an open file that has the lock */
	DP_LOCK_USE_MAPPING,
	DP_LOCK_USE_RING,
	DP_LOCK_USE_RING_PERHAPS,	/* the kernel shows no directories */
	DP_LOCK_USE_SOCKET,		/* has descriptors in its queue, of any files */
	DP_LOCK_USES,
};

/* All uses of one kind in one process, or by a thread with its own descriptors. */
struct dp_lock_use {
	enum dp_lock_use_kind kind;
	int pid;
	int thread;			/* that has the descriptors; pid: any */
	int fd;				/* of the first one; -1: a mapping */
	uint32_t count;
	uint32_t file;			/* index of the first one */
};

/* What could not be examined. */
struct dp_lock_unseen {
	uint32_t processes;
	int pid;			/* of the first of them, and why */
	int error;
	uint32_t cut;			/* processes with a list of mappings, or a file
					   table of a ring, that was read in part */
	uint32_t rings;			/* their file tables, also of other programs */
};

typedef int dp_lock_use_fn(const struct dp_lock_use *use, void *arg);

/*
 * Call fn for each use by a process, until it returns 1, which is returned. Of
 * the calling process descriptors do not count, but its mappings and its rings do,
 * since a forked child inherits them with the pool. -ENOMEM, or the error of /proc.
 */
int dp_lock_holder_list(const struct dp_lock_files *files, dp_lock_use_fn *fn,
			void *arg, struct dp_lock_unseen *ret_unseen);

/* By the same rules: the pid of a process that keeps the file of fd, or 0. */
int dp_lock_holder_find(int fd, dev_t dev, ino_t ino);

/* True if the process does not exist, or if all its threads have exited (a zombie). */
bool dp_lock_holder_is_dead(int pid);

#endif
