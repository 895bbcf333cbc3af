/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Detached handles, kept for a while: a late call on one finds memory that is marked as
 * detached and returns an error, instead of accessing memory that has been reused.
 *
 * No lock: a thread of the parent could hold it while another thread forks, and
 * the child would wait forever for that thread, which it does not have.
 */
#ifndef DP_DETACHED_H
#define DP_DETACHED_H

#include <stdatomic.h>

#define DP_DETACHED_MAX		64u

struct dp_detached {
	void *handle;
	void *more;		/* is freed with the handle; leak checkers find it
				   here, even if they do not scan the handle */
};

/* One for each kind of handle, static, all zeroes at first. */
struct dp_detached_list {
	_Atomic(void *) handle[DP_DETACHED_MAX];
	_Atomic(void *) more[DP_DETACHED_MAX];
	atomic_uint next;
};

/*
 * Returns an old entry, which the caller must free, or NULLs. Any thread. Each
 * pointer is returned once. If DP_DETACHED_MAX threads detach at once, a handle may be
 * returned with the `more` of another handle.
 */
struct dp_detached dp_detached_remember(struct dp_detached_list *list,
					struct dp_detached detached);

#endif
