/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Looking at a pool that another process has open, by its status page. These functions
 * are in libdaxpin; the conventions are those of daxpin.h.
 */
#ifndef DAXPIN_STATUS_H
#define DAXPIN_STATUS_H

#include <daxpin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A copy of a pool's status page. */
struct daxpin_status;

#define DAXPIN_STATUS_HOLDERS	512u	/* listed of each kind, the oldest */
#define DAXPIN_STATUS_JOBS	16u	/* listed */

struct daxpin_status_info {
	size_t size;			/* sizeof(struct daxpin_status_info) */
	uint32_t alive;			/* enum daxpin_tristate: the owner is a living
					   process; UNKNOWN: it is in another pid
					   namespace, or /proc hides it */
	uint32_t pid;			/* of the owner, in its own namespace */
	uint64_t age_ns;		/* of the figures; UINT64_MAX: written before
					   the machine was started */
	uint64_t open_ns;		/* how long the pool had been open then */
	uint64_t snapshots;		/* written since the open */
	uint64_t held_extents;
	uint64_t labelled_holds;
	uint32_t jobs;
	uint32_t rdma_contexts;		/* verbs contexts on record */
	uint64_t cells;
	uint32_t cell_chunks;		/* chunks of 2 MiB in a cell */
};

struct daxpin_status_segment {
	size_t size;			/* of the library's struct */
	uint32_t segment;
	uint32_t held_extents;
	uint64_t bytes;
	uint64_t free_bytes;		/* without those in caches of threads */
};

struct daxpin_status_job {
	size_t size;			/* of the library's struct */
	int refill;			/* 0: a reclaim */
	int cancelled;
	uint32_t segments;
	uint32_t segments_left;		/* not yet finished */
	uint64_t done_bytes;
	uint64_t left_bytes;
};

/* Values of a cell: 0 is free, 1 to 100 is the percentage in use, rounded up, or: */
#define DAXPIN_CELL_META	254u	/* the library's metadata */
#define DAXPIN_CELL_HOLE	255u	/* without memory */

/*
 * Copy the status page of the pool at path. It does not open or lock the pool, so the
 * pool's owner does not notice. The owner of a pool that is open for writing keeps the
 * page: the file `status` in the pool's directory, or /run/daxpin/daxX.Y for a device.
 * Who may read the pool may read the page. A close removes it. That of an owner that
 * died remains until the next open for writing.
 *
 * The library writes a snapshot at the open, and during the owner's later calls of
 * daxpin_pool_info(), daxpin_holds(), daxpin_register(), daxpin_unregister() and those
 * on jobs, at most ten times a second. Other calls do not write it, so that they cost
 * the same with and without a page. A program that wants current figures there calls
 * daxpin_pool_info() from time to time. age_ns is the time since the snapshot.
 *
 * Do not base decisions on the contents: whoever can write the file can forge them.
 * ret_status is never inconsistent or out of bounds nevertheless. Any thread.
 *
 * -EBUSY	the page was replaced during each of many attempts to copy it
 * -EMEDIUMTYPE	the path is neither a directory nor a device-dax node
 * -ENODATA	there is no page: the pool is not open for writing, or its owner
 *		keeps none
 * -EPERM	the page belongs to a user who is neither root, nor this process's,
 *		nor the owner of the pool's directory
 * -EPROTONOSUPPORT  the page has a version that this library does not read
 * -EUCLEAN	the page is damaged, or of other files than the pool's
 */
int daxpin_status_open(const char *path, char *errmsg, size_t errmsg_size,
		       struct daxpin_status **ret_status);

/* Free the copy. NULL is allowed. Any thread. */
void daxpin_status_close(struct daxpin_status *status);

/* Describe the copy and the owner; set ret_info->size first. Any thread. */
int daxpin_status_info(const struct daxpin_status *status,
		       struct daxpin_status_info *ret_info);

/* What daxpin_pool_info() returned to the owner when the page was written; set
 * ret_info->size first. Any thread. */
int daxpin_status_pool(const struct daxpin_status *status,
		       struct daxpin_pool_info *ret_info);

/*
 * Call fn for each segment, job, labelled hold or registration that the page lists, the
 * oldest hold first. Of a registration extent is {0, 0}. age_ns counts until the page
 * was written. Strings are valid until daxpin_status_close(). Any thread.
 */
void daxpin_status_segments(const struct daxpin_status *status,
			    void (*fn)(const struct daxpin_status_segment *segment,
				       void *arg), void *arg);
void daxpin_status_holds(const struct daxpin_status *status,
			 void (*fn)(const struct daxpin_holder *holder, void *arg),
			 void *arg);
void daxpin_status_jobs(const struct daxpin_status *status,
			void (*fn)(const struct daxpin_status_job *job, void *arg),
			void *arg);

/* The cells of the pool, in the order of addresses: `cells` bytes of struct
 * daxpin_status_info, valid until daxpin_status_close(). Any thread. */
const unsigned char *daxpin_status_cells(const struct daxpin_status *status);

/* What an owner that died has left behind. */
enum daxpin_leftover_kind {
	DAXPIN_LEFTOVER_DESCRIPTOR = 1,	/* a process has locked files open */
	DAXPIN_LEFTOVER_MAPPING,	/* a process has files mapped */
	DAXPIN_LEFTOVER_RING,		/* a ring of a process has files */
	DAXPIN_LEFTOVER_SOCKET,		/* descriptors are queued in a socket */
	DAXPIN_LEFTOVER_REQUESTS,	/* no process that was found keeps the locks */
	DAXPIN_LEFTOVER_CONTEXT,	/* a recorded verbs context exists */
	DAXPIN_LEFTOVER_UNKNOWN,	/* something that could not be examined */
};

struct daxpin_leftover {
	size_t size;			/* of the library's struct */
	uint32_t kind;			/* enum daxpin_leftover_kind */
	int certain;			/* 0: it may belong to another pool */
	int pid;			/* of the process; of a context, the thread
					   that opened it; 0: none, or unknown */
	int fd;				/* its descriptor, the first; -1: none */
	uint32_t count;			/* of this kind in the process, or of files */
	uint32_t segment;		/* of the first file */
	uint32_t context;		/* its number */
	const char *device;		/* of the context; otherwise "" */
	const char *sentence;		/* what it is, and how it ends */
};

/*
 * Call fn for everything that an owner of the pool at path, which died, has left
 * behind, and that could still write into the pool: what keeps the owner lock, and the
 * verbs contexts on record that the kernel still has. An open for writing waits for all
 * of these. The strings are valid during fn, which may not call daxpin.
 *
 * The locks of the pool's files are tried for reading for a moment, so an open without
 * a deadline at the same time can fail with -EBUSY. Nothing is changed. The pool may
 * belong to another user. Pins that are not the owner's are not found: a ublk device is
 * one example. A process is searched for in /proc only if a lock is kept.
 *
 * *ret_pid is the pid of the owner that did not close the pool, in its own namespace,
 * or 0 if the pool was closed; ret_pid may be NULL. Any thread.
 *
 * Returns the number of calls of fn: with 0 nothing is left. With
 * DAXPIN_LEFTOVER_UNKNOWN among them more may be left than is listed, and its sentence
 * says how to find out.
 *
 * -EBUSY	a living process has the pool open, or this process
 * -EMEDIUMTYPE	there is no pool at path
 * -EPROTONOSUPPORT  written by a newer daxpin
 * -EUCLEAN	the superblock of segment 0 is damaged
 */
int daxpin_leftovers(const char *path, char *errmsg, size_t errmsg_size,
		     void (*fn)(const struct daxpin_leftover *leftover, void *arg),
		     void *arg, uint32_t *ret_pid);

/* ------------------------------------------------- verbs of this process */

struct daxpin_rdma_use {
	size_t size;			/* sizeof(struct daxpin_rdma_use) */
	uint32_t contexts;		/* verbs contexts that a living thread of this
					   process opened */
	uint32_t domains;		/* protection domains in use that are in such
					   a context, or that such a thread made */
	uint32_t unknown;		/* those in use for which the kernel names
					   neither a thread that made the domain nor
					   one that opened its context */
};

/*
 * Count the verbs contexts and protection domains of this process on all RDMA devices,
 * as the kernel lists them (RDMA netlink). A peer reaches memory through a region,
 * which is in a protection domain: a domain is in use while a region, a memory window
 * or a queue pair is in it. So if domains and unknown are 0, no peer reaches memory
 * through a context that a living thread of this process opened. The kernel names no
 * thread that has ended or is in another pid namespace, and a filter of system calls
 * can prevent the question. If the process has more uverbs files open than contexts,
 * others may be inherited, received through a socket, or opened by a thread that has
 * ended, and are not counted; the numbers alone cannot show that if it has closed a
 * context that a child keeps open. Memory that is registered by DEVX, mlx5's own
 * interface, is not seen. errmsg: on failure a sentence; NULL: none. Any thread.
 *
 * -EINVAL	ret_use is NULL, or its size is less than a size_t
 * -ENOMEM
 * -EOPNOTSUPP	the kernel does not show every device or domain to this process
 */
int daxpin_rdma_use(char *errmsg, size_t errmsg_size,
		    struct daxpin_rdma_use *ret_use);

#ifdef __cplusplus
}
#endif
#endif
