/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin - allocate memory that hardware writes into.
 *
 * The promise: a block is never reused, punched or unmapped while any DMA can
 * still reach it. Not under load, not after a retire, not across a crash.
 *
 * What the program must do in return (daxpin(7) has all of it, and the terms):
 *
 *  - DMA into a pool happens only under a hold, and only through an attached or
 *    guarded ring, an attached protection domain, hardware that was announced
 *    with daxpin_register(), or a call that cannot outlive the process (read,
 *    write, libaio). vmsplice, MSG_ZEROCOPY and other rings are outside the
 *    promise.
 *  - A hold is dropped only after the hardware has finished: after the
 *    request's last CQE, or after ibv_dereg_mr() has returned 0. The adapters
 *    (daxpin-uring.h, daxpin-rdma.h) do this.
 *  - A pool belongs to one process. In a child of fork() every call returns
 *    -EOWNERDEAD, except daxpin_uring_detach() and daxpin_pool_close(), which
 *    close what the child has inherited.
 *  - The program calls no function of the library in a signal handler.
 *  - Callbacks return: they are not left by longjmp(), pthread_exit() or an
 *    exception. pthread_cancel() acts at the beginning of the calls that
 *    daxpin(7) lists, before they have done anything, and nowhere else.
 *
 * Conventions:
 *
 *  - Functions return 0 or a count, or -errno. Each errno has one meaning,
 *    listed in daxpin(7). Errors that are not listed here come from the kernel.
 *  - Outputs come last, are called ret_..., and are written only on success.
 *  - An errmsg buffer is emptied when the call begins, and gets one sentence
 *    with the cause and the remedy if the call fails.
 *  - A call that ends a handle makes it invalid if it returns 0; after an error
 *    the handle remains valid.
 *  - Sizes, offsets and addresses are in bytes. Deadlines are nanoseconds of
 *    CLOCK_MONOTONIC; 0 means "do not wait".
 *  - A struct that begins with `size` may grow in later versions. In structs of
 *    the caller set it to sizeof, and the rest to zero. In structs that the
 *    library passes to a callback it is the library's size: a field exists if
 *    it ends below it. Reserved fields are zero.
 *  - "Any thread" means that any number of threads may make the call at the
 *    same time.
 */
#ifndef DAXPIN_H
#define DAXPIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DAXPIN_BLOCK_SIZE	4096u
#define DAXPIN_CHUNK_SIZE	(2u << 20)
#define DAXPIN_SEGMENT_MIN	(32u << 20)
#define DAXPIN_SEGMENT_MAX	(1024u << 20)
#define DAXPIN_SEGMENT_DEFAULT	(256u << 20)	/* more in a pool of over 64 GiB */
#define DAXPIN_SEGMENTS_MAX	16384u
#define DAXPIN_HOLDS_MAX	262143u		/* at one time, per extent */
#define DAXPIN_OPS_MAX		248u		/* operations per publish */
#define DAXPIN_ROOTS_MAX	1024u
#define DAXPIN_ROOT_NAME_MAX	48u		/* bytes with the final NUL */
#define DAXPIN_LABEL_MAX	64u		/* bytes with the final NUL */
#define DAXPIN_OBJECT_MAX	2048u		/* bytes of a small object */
#define DAXPIN_NO_DEADLINE	UINT64_MAX

struct daxpin_pool;
struct daxpin_registration;
struct daxpin_job;

/* ------------------------------------------------------------------ pools */

/* The kind of memory; daxpin(7) has what hardware may do with each. */
enum daxpin_source {
	DAXPIN_SOURCE_DEVDAX = 1,	/* a device-dax node */
	DAXPIN_SOURCE_FSDAX,		/* a directory on ext4 or XFS, -o dax */
	DAXPIN_SOURCE_SHMEM,		/* a directory on tmpfs: no durability */
	DAXPIN_SOURCE_DISK,		/* any other directory: no DMA */
};

/* How a store becomes durable. AUTO: CACHE_LINE on DAX, PAGE elsewhere. */
enum daxpin_granularity {
	DAXPIN_GRANULARITY_AUTO,
	DAXPIN_GRANULARITY_BYTE,	/* by itself (eADR); never automatic */
	DAXPIN_GRANULARITY_CACHE_LINE,	/* by write-back and fence */
	DAXPIN_GRANULARITY_PAGE,	/* by msync() */
};

enum daxpin_tristate {
	DAXPIN_UNKNOWN,			/* could not be determined */
	DAXPIN_NO,
	DAXPIN_YES,
};

/* Why a call that opens or creates a pool is waiting. */
enum daxpin_owner {
	DAXPIN_OWNER_ALIVE = 1,		/* a living process has the pool open */
	DAXPIN_OWNER_DRAINING,		/* the owner died, its I/O continues */
	DAXPIN_OWNER_UNKNOWN,		/* locked, the lock holder is unknown */
	DAXPIN_OWNER_RDMA,		/* the dead owner's verbs contexts exist */
	DAXPIN_OWNER_PINNED,		/* its files are pinned by I/O that does
					   not keep the lock (fsdax) */
	DAXPIN_OWNER_KEPT,		/* the owner died, process `pid` keeps
					   the lock */
	DAXPIN_OWNER_NONE,		/* no owner: the call allocates blocks, or
					   reads memory that may be blank */
};

/* Passed to progress(). */
struct daxpin_wait {
	size_t size;			/* of the library's struct */
	enum daxpin_owner owner;
	int pid;			/* 0: unknown */
	uint64_t waited_ns;		/* since the call began */
	uint64_t done_bytes;		/* NONE: allocated or read so far */
	uint64_t total_bytes;
};

/* Flags of struct daxpin_pool_options. */

/* open: share the pool with other readers. -EUCLEAN if it was not closed. */
#define DAXPIN_POOL_READONLY	0x1u
/* create: overwrite what exists, after its owner and its DMA are gone. */
#define DAXPIN_POOL_OVERWRITE	0x2u
/* Accept a device node outside devtmpfs. Its lock excludes only users of the
 * same node. */
#define DAXPIN_POOL_ANY_NODE	0x4u
/* open: leave damaged parts out, see daxpin_check(3); with READONLY even if the
 * pool was not closed. */
#define DAXPIN_POOL_DEGRADED	0x8u
/*
 * open, and create with DAXPIN_POOL_OVERWRITE: do not wait past the deadline for
 * the RDMA of a dead owner, and do not refuse the pool if its state is unknown.
 * If a peer of that owner still writes, it overwrites the pool's present data. For
 * an administrator who has checked, never for a program that starts automatically.
 * A context that a living process opened is -EBUSY nevertheless. The flag is
 * independent of DAXPIN_POOL_ADOPT: RDMA of an earlier owner reaches no copy.
 */
#define DAXPIN_POOL_DESPITE_RDMA	0x100u
/* Accept directories and files that other users own or can write to. They can
 * change what is opened. */
#define DAXPIN_POOL_ANY_OWNER	0x200u
/* Accept directories on filesystems whose locks may not exclude all other users
 * (overlayfs, 9p, FUSE, NFS, SMB, unknown ones), as DAXPIN_SOURCE_DISK. */
#define DAXPIN_POOL_ANY_FILESYSTEM 0x400u
/* open: use a copy of a pool that was not closed; see "Backup and restore" in
 * daxpin(7). Other pools open as without the flag. */
#define DAXPIN_POOL_ADOPT	0x10u
/* open: create a pool if path does not exist, is a directory without segment files,
 * or is blank, and complete an interrupted create, which needs pool_size where a new
 * pool does. A pool that exists keeps its size and its segment size. */
#define DAXPIN_POOL_CREATE	0x40u
/* Succeed only if dirty_shutdown of struct daxpin_pool_info is DAXPIN_NO. */
#define DAXPIN_POOL_NEED_FLUSHED 0x20u
#define DAXPIN_POOL_NO_STATUS	0x80u	/* keep no status page (daxpin-status.h) */

struct daxpin_pool_options {
	size_t size;			/* sizeof(struct daxpin_pool_options) */
	uint32_t flags;			/* DAXPIN_POOL_... */
	uint32_t granularity;		/* enum daxpin_granularity */
	/*
	 * The minimum size; for a smaller pool or device the call fails with
	 * -ENOSPC. A new pool takes the whole device, or this much of a
	 * directory's filesystem, rounded up to 2 MiB. 0: any size is accepted,
	 * and a new pool in a directory takes all free space of its filesystem
	 * except for 1/64 of it. A new pool needs a size if the filesystem is
	 * tmpfs, whose free space is the machine's memory, or does not report
	 * its free space.
	 */
	uint64_t pool_size;
	uint64_t segment_size;		/* of a new pool: a power of two;
					   0: default */
	/*
	 * Until when to wait for the owner lock and for the DMA of a dead owner:
	 * what daxpin_deadline_ms() returns, not a duration. 0, and any other
	 * time that has passed, does not wait. If it has not passed when the
	 * call begins it also limits the allocation of blocks, and the reading
	 * of memory that may be blank, which can take minutes.
	 */
	uint64_t deadline_ns;
	/* Called about every 100 ms while the call waits, allocates blocks or
	 * reads memory that may be blank; if it returns non-zero the call
	 * fails with -ECANCELED. */
	int (*progress)(const struct daxpin_wait *wait, void *arg);
	void *progress_arg;
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
	/*
	 * Of a new pool in a directory: permission bits of its files, less the
	 * umask; 0: 0600. They must not be writable by others. A directory that is
	 * created has x for each r.
	 */
	uint32_t mode;
	unsigned char uuid[16];		/* open: fail with -ENXIO if the pool has
					   another one; zeroes: any pool. Must be
					   zeroes with DAXPIN_POOL_CREATE */
	/*
	 * Called with a sentence for a log about events that are no errors: the
	 * call begins to wait, to allocate blocks or to read memory that may be
	 * blank, the last owner did not close the pool, a superblock was
	 * restored from its copy, a ring falls back to plain requests. By any
	 * thread that makes a call with this pool, until it is closed. It must
	 * not call daxpin. May be NULL.
	 */
	void (*log)(const char *message, void *arg);
	void *log_arg;
	/*
	 * How large daxpin_pool_grow() may make the pool while it is open:
	 * addresses are reserved for that much, without memory. 0: four times
	 * its size, and at least 64 GiB, or its size alone if RLIMIT_AS is set
	 * or there are no addresses. A device: all of it.
	 */
	uint64_t max_size;
};

struct daxpin_pool_info {
	size_t size;			/* sizeof(struct daxpin_pool_info) */
	uint32_t source;		/* enum daxpin_source */
	uint32_t granularity;		/* enum daxpin_granularity, never AUTO */
	uint32_t segments;
	uint32_t flags;			/* DAXPIN_POOL_READONLY, _DEGRADED */
	uint64_t segment_size;		/* one segment may be shorter */
	uint64_t epoch;			/* counts the opens for writing */
	uint64_t media_bytes;		/* size of the device or the files */
	uint64_t usable_bytes;		/* without metadata and bad blocks */
	uint64_t free_bytes;
	uint64_t largest_extent;	/* bytes */
	uint64_t hole_bytes;		/* free, but without memory */
	uint64_t unaligned_chunks;	/* that cannot be huge pages, at open */
	uint64_t ignored_files;		/* segment files past the pool's */
	uint64_t registrations;
	unsigned char uuid[16];
	int unclean;			/* the last owner did not close it */
	uint64_t quarantined_bytes;	/* DEGRADED: not used, near damage */
	uint64_t bad_bytes;		/* in known bad blocks: never reserved */
	int bad_unknown;		/* the kernel's list of bad blocks could
					   not be read, or not completely */
	uint64_t shared_bytes;		/* chunks that a reflink shares with
					   other files, counted at open */
	uint64_t sparse_bytes;		/* READONLY: chunks with metadata or
					   extents that are partly holes; they
					   read as zeroes */
	uint32_t movable;		/* enum daxpin_tristate: xfs_fsr can
					   move blocks while hardware writes */
	uint32_t dirty_shutdown;	/* enum daxpin_tristate: power failed
					   before all durable data had reached
					   the NVDIMMs */
	uint64_t retired_bytes;		/* retired or cancelled while held, not
					   free before the last drop */
	/* Since the open: */
	uint64_t deferred_frees;	/* extents that became free at a drop */
	uint64_t publishes;		/* successful calls */
	uint64_t no_space;		/* reserves that found no free run */
	uint64_t max_bytes;		/* to which daxpin_pool_grow() can enlarge
					   the pool while it is open */
	/* Small objects: */
	uint64_t slab_bytes;		/* of the extents that have them */
	uint64_t objects;		/* live ones */
	int status_error;		/* why there is no status page, or 0 */
	/* Small objects, continued: */
	uint64_t object_bytes;		/* of the live ones, by their classes' sizes */
	uint64_t partial_slab_bytes;	/* of the extents that have live ones, and
					   others that are not live */
};

/*
 * Create a pool at path, a device-dax node or a directory, and open it. A
 * directory is created if it does not exist.
 *
 * With DAXPIN_POOL_OVERWRITE the call first waits for the owner of what exists
 * and for its DMA, as an open does. A create that fails removes what it
 * created. One that is interrupted leaves a pool that open refuses with
 * -EUCLEAN and the next create completes; this needs a pool_size where a new
 * pool does, for example on tmpfs. Any thread.
 *
 * -EEXIST	a pool or something else exists
 * -EFBIG	a segment's file would be larger than RLIMIT_FSIZE
 * Others as daxpin_pool_open().
 */
int daxpin_pool_create(const char *path,
		       const struct daxpin_pool_options *options,
		       struct daxpin_pool **ret_pool);

/*
 * Open the pool at path. options may be NULL: for writing, without waiting.
 * Waits until the deadline for the owner lock and for the DMA of a dead owner.
 * With DAXPIN_POOL_CREATE a pool is created if there is none; of several
 * processes that do so at once one creates it, and each opens it in turn. Any
 * thread; a process can open a pool once.
 *
 * -E2BIG	options has a tail that is not zero and that this library does
 *		not know
 * -EBUSY	another process or this process has the pool open; or the I/O or
 *		RDMA of a dead owner has not ended by the deadline, or its state
 *		is unknown
 * -ECANCELED	progress returned non-zero
 * -EINVAL	an invalid flag, size or granularity; no path; a uuid for a new
 *		pool; no pool_size for a new pool, or for one whose create was
 *		interrupted, on tmpfs or on a filesystem that does not report
 *		its free space; DAXPIN_POOL_CREATE with DAXPIN_POOL_READONLY
 * -EIO		the medium cannot be read or written; metadata lies, or would
 *		lie, on bad blocks
 * -EMEDIUMTYPE	there is no pool (with DAXPIN_POOL_CREATE: there is something
 *		else)
 * -EMFILE	too few free descriptors: one for each segment, and a few more,
 *		are needed
 * -ENOENT	path does not exist (with DAXPIN_POOL_CREATE: nor its parent
 *		directory)
 * -ENOMEM	out of memory or address space
 * -ENOSPC	the filesystem has too little space; device or pool has less
 *		than pool_size
 * -ENOSYS	after a crash on a DAX filesystem, or create over old files
 *		there: io_uring is unavailable, and the call has a deadline or a
 *		progress function; or getrandom() is forbidden
 * -ENXIO	the pool has another uuid than the options
 * -EPERM	a device node outside devtmpfs; a directory or file that another
 *		user owns or can write to; a file on another filesystem than its
 *		directory
 * -EPROTONOSUPPORT  written by a newer daxpin
 * -EROFS	the filesystem is mounted read-only
 * -ETIMEDOUT	the deadline passed while blocks were allocated
 * -EUCLEAN	the medium was left untouched; a damaged superblock or table, or
 *		a truncated, missing or foreign segment file; a segment file
 *		from an older backup; an interrupted create; a pool that was not
 *		closed, and is to be opened for reading or is a copy;
 *		DAXPIN_POOL_DEGRADED opens the intact parts
 */
int daxpin_pool_open(const char *path,
		     const struct daxpin_pool_options *options,
		     struct daxpin_pool **ret_pool);

/*
 * Close the pool: unmap it and release the owner lock. NULL is allowed. Must not
 * run concurrently with any other call on the pool.
 *
 * In a child of fork(): unmap and close what the child has inherited, and
 * return 0; the parent's pool remains open and locked. A child that outlives
 * its parent, as after daemon(3), must do this before it can open the pool
 * itself. Before that it must call daxpin_uring_detach() for each attached
 * ring, and close the inherited rings. Not in a child of vfork(), or of clone()
 * with CLONE_VM or CLONE_FILES.
 *
 * -EBUSY	there are holds, registrations or jobs
 * -EIO		the medium cannot be read or written; the pool was not marked as
 *		closed, and the handle remains valid
 * -ESTALE	another open has written to the superblock since, for example
 *		because this process or its machine was suspended and resumed;
 *		or one of its files was truncated
 *
 * After -EIO and -ESTALE the pool is not marked as closed: it can only be read,
 * the next daxpin_pool_close() closes it and returns 0, and the next open
 * reports `unclean` and recovers it.
 */
int daxpin_pool_close(struct daxpin_pool *pool);

/*
 * Close the gates of all segments, so that new holds are -EAGAIN, and wait until
 * no extent is held. After success only drops and the close are useful. Any
 * thread.
 *
 * -ETIMEDOUT	an extent is still held at the deadline
 */
int daxpin_pool_drain(struct daxpin_pool *pool, uint64_t deadline_ns);

/*
 * Grow the pool to at least `size` bytes, by whole segments, while it is in use. A last
 * segment that is shorter than the others keeps its size, and others follow it. All
 * new segments become a part of it, or none, even if the process is killed or power
 * fails meanwhile. Attached rings and protection domains use them without a new attach.
 * A reserve that was refused for lack of space may succeed then (DAXPIN_EVENT_RETRY). A
 * device must have been made larger before the open. options may be NULL; only
 * deadline_ns, progress, log and errmsg are used, as by daxpin_pool_create(). Any
 * thread.
 *
 * -EBUSY	another call grows, shrinks or closes the pool; or a shrink has removed
 *		segments since the open: other threads may still read, without a lock,
 *		what is known about them, so close the pool and open it again first
 * -ECANCELED	progress returned non-zero; the pool is as before
 * -EEXIST	the directory has a file with the name of a new segment
 * -EFBIG	a segment's file would be larger than RLIMIT_FSIZE
 * -EINVAL	size is not larger than the pool, or more than 16384 segments
 * -EIO		the medium cannot be written, or is bad where metadata would lie
 * -EMFILE	too few free descriptors: one for each segment is needed
 * -ENOMEM	out of memory
 * -ENOSPC	the filesystem or the device has too little space; or the open has
 *		reserved too few addresses: open the pool with max_size
 * -EROFS	the pool is open for reading
 * -ESTALE	as daxpin_pool_close()
 * -ETIMEDOUT	the deadline passed while blocks were allocated
 * -EUCLEAN	the pool was opened with DAXPIN_POOL_DEGRADED
 */
int daxpin_pool_grow(struct daxpin_pool *pool, uint64_t size,
		     const struct daxpin_pool_options *options);

/* Describe the pool; set ret_info->size first. The figures are snapshots. Also writes a
 * snapshot to the status page, see daxpin_status_open(). Any thread. */
int daxpin_pool_info(struct daxpin_pool *pool, struct daxpin_pool_info *ret_info);

/* ------------------------------------------------------ check and repair */

enum daxpin_structure {
	DAXPIN_STRUCTURE_FILE = 1,	/* a segment's file */
	DAXPIN_STRUCTURE_SUPERBLOCK,
	DAXPIN_STRUCTURE_OWNER,		/* the last owner's record */
	DAXPIN_STRUCTURE_TABLE,		/* descriptors of extents */
	DAXPIN_STRUCTURE_LANE,		/* redo lanes of batches */
	DAXPIN_STRUCTURE_ROOT,
	DAXPIN_STRUCTURE_DATA,		/* published extents */
	DAXPIN_STRUCTURE_SLAB,		/* which objects of a slab are live */
};

enum daxpin_severity {
	DAXPIN_SEVERITY_NOTE = 1,	/* a legal state */
	DAXPIN_SEVERITY_DAMAGE,
};

enum daxpin_cure {
	DAXPIN_CURE_NONE,		/* none, or none is needed */
	DAXPIN_CURE_OPEN,		/* the next open for writing cures it */
	DAXPIN_CURE_DERIVED,		/* a repair restores it without loss */
	DAXPIN_CURE_LOSSY,		/* a repair discards something */
};

struct daxpin_finding {
	size_t size;			/* of the library's struct */
	uint32_t structure;		/* enum daxpin_structure */
	uint32_t severity;		/* enum daxpin_severity */
	uint32_t cure;			/* enum daxpin_cure */
	uint32_t segment;
	uint64_t offset;		/* in the segment */
	uint64_t length;
	const char *what;		/* a sentence */
	const char *remedy;		/* what the cure does; NULL: none */
};

/* Called for each finding. Negative: end the call, which returns it. In a
 * repair, 1: agree to a lossy cure. It must not call daxpin. */
typedef int daxpin_finding_fn(const struct daxpin_finding *finding, void *arg);

struct daxpin_check_summary {
	size_t size;			/* sizeof(struct daxpin_check_summary) */
	uint32_t damages;		/* findings that are damage; 0: clean */
	uint32_t repaired;		/* findings that a repair acted on */
	uint32_t source;		/* enum daxpin_source */
	uint32_t segments;		/* 0: there is no superblock */
	uint64_t segment_size;
	uint64_t media_bytes;
	uint64_t epoch;
	unsigned char uuid[16];
	int unclean;
	uint32_t ignored_files;
	uint64_t extents;		/* published and intact, without slabs */
	uint64_t extent_bytes;
	uint64_t free_bytes;
	uint64_t hole_bytes;
	uint64_t quarantined_bytes;	/* what DEGRADED does not use */
	uint64_t bad_bytes;		/* in known bad blocks, without metadata */
	uint64_t used_words;		/* free blocks at which extents began before */
	uint32_t lanes_torn;		/* normal after a power failure */
	uint32_t lanes_open;		/* batches to be completed */
	uint32_t roots;
	uint32_t roots_stale;		/* their extents or objects are gone */
	uint64_t slabs;			/* extents of 64 KiB with small objects */
	uint64_t objects;		/* live ones, and those that may be live */
};

/*
 * Check everything on media, call fn (may be NULL) for each finding, and store
 * the result in *ret_summary. Takes the lock as a reader does and changes
 * nothing. options may be NULL; of the flags only ANY_NODE is used. Returns 0
 * even if the pool is damaged, or the negative result of fn. Any thread.
 *
 * -EBUSY	the pool is open for writing in another process, or open in this
 *		one
 * -EMEDIUMTYPE	there is no pool
 * -EPROTONOSUPPORT  written by a newer daxpin
 */
int daxpin_check(const char *path, const struct daxpin_pool_options *options,
		 daxpin_finding_fn *fn, void *arg,
		 struct daxpin_check_summary *ret_summary);

/*
 * Check in the same way, with the lock and the waits of an open for writing. Then make
 * the changes of all cures, of lossy ones only if fn returned 1. Before the first
 * change the old contents are stored in the new file `backup`, which is not created if
 * there is nothing to change. When it returns 0 the changes are durable. Any thread.
 *
 * -EEXIST	the file `backup` exists
 * Others as daxpin_check().
 */
int daxpin_repair(const char *path, const struct daxpin_pool_options *options,
		  const char *backup, daxpin_finding_fn *fn, void *arg,
		  struct daxpin_check_summary *ret_summary);

/*
 * Restore the backup of a repair. Any thread.
 *
 * -EINVAL	the file is no backup, or incomplete
 * -EUCLEAN	the backup is of another pool, or the pool was written to since
 */
int daxpin_repair_undo(const char *path,
		       const struct daxpin_pool_options *options,
		       const char *backup);

/* The present time of the deadlines' clock plus ms milliseconds. Any thread. */
uint64_t daxpin_deadline_ms(uint64_t ms);

/* ------------------------------------------------------------------ space */

/*
 * A handle: it names one generation of an extent, during one open of the pool.
 * After the extent was freed, and in later opens, it is -ESTALE and never
 * another extent. Store addr on media, not gen. A call for extents refuses an
 * extent with gen 0, such as the { addr, 0 } of a small object, with -EINVAL.
 */
struct daxpin_extent {
	uint64_t addr;			/* pool address: the same at every open */
	uint64_t gen;			/* epoch << 40 | generation */
};

enum daxpin_state {
	DAXPIN_STATE_FREE,
	DAXPIN_STATE_RESERVED,		/* not published: a crash frees it */
	DAXPIN_STATE_LIVE,		/* published: survives a crash */
	DAXPIN_STATE_RETIRED,		/* free on media, still held */
};

#define DAXPIN_RESERVE_ZERO	0x1u	/* zeroed; otherwise with the old bytes */
/* With ZERO: the zeroes are durable when the call returns, so a KEEP need only make
 * durable what was written since, and nothing with DAXPIN_OP_PERSISTED. */
#define DAXPIN_RESERVE_DURABLE	0x2u

/*
 * Reserve a run of whole blocks for size bytes, inside one segment. A crash
 * frees it. Never asks the filesystem for space. Any thread.
 *
 * -EAGAIN	no free run has that length, but a job is reclaiming or
 *		refilling space; a DAXPIN_EVENT_RETRY follows
 * -EFBIG	larger than the largest extent
 * -EINVAL	a size of 0, an unknown flag, DAXPIN_RESERVE_DURABLE without
 *		DAXPIN_RESERVE_ZERO
 * -EIO		the zeroes could not be made durable, and nothing can be published any
 *		more
 * -ENOSPC	no free run has that length, and nothing in progress will
 *		provide one; a DAXPIN_EVENT_RETRY follows when space becomes
 *		free; hole_bytes of daxpin_pool_info() is what daxpin_refill()
 *		could add
 * -EROFS	the pool is open for reading
 */
int daxpin_reserve(struct daxpin_pool *pool, uint64_t size, uint32_t flags,
		   struct daxpin_extent *ret_extent);

/*
 * Free a reserved extent: immediately if it is not held, otherwise at the last
 * drop. Any thread.
 *
 * -EALREADY	already cancelled, and still held
 * -EBUSY	a publish of the extent is in progress
 * -EINVAL	cancel of a live extent
 * -ESTALE	the extent's generation has ended
 */
int daxpin_cancel(struct daxpin_pool *pool, struct daxpin_extent extent);

enum daxpin_op_type {
	DAXPIN_OP_KEEP = 1,		/* reserved -> live */
	DAXPIN_OP_RETIRE,		/* live -> free at the last drop */
	DAXPIN_OP_SET,			/* 8 aligned bytes of a live extent */
	DAXPIN_OP_ROOT,			/* a name for a live extent */
	DAXPIN_OP_OBJECT_KEEP,		/* reserved -> live, of an object */
	DAXPIN_OP_OBJECT_FREE,		/* live -> free */
};

/* KEEP, OBJECT_KEEP: do not write the payload back, because the caller has made
 * it durable or does not need it after a crash. offset and length are 0. */
#define DAXPIN_OP_PERSISTED	0x1u
/* KEEP: succeed even if there may be write holds. */
#define DAXPIN_OP_WRITERS	0x2u

/* Fields that a type does not use are 0. */
struct daxpin_op {
	uint32_t type;			/* enum daxpin_op_type */
	uint32_t flags;			/* DAXPIN_OP_... */
	struct daxpin_extent extent;	/* {addr, 0}: the object at addr;
					   ROOT: {0, 0} removes the name */
	uint64_t offset;		/* in the extent; SET: 8-aligned */
	uint64_t length;		/* KEEP, OBJECT_KEEP: [offset, offset +
					   length) is made durable; 0: to the
					   end */
	uint64_t value;			/* SET */
	const char *name;		/* ROOT */
	uint64_t reserved[2];
};

struct daxpin_publish_options {
	size_t size;			/* sizeof(struct daxpin_publish_options) */
	uint32_t flags;			/* must be 0 */
	char *errmsg;			/* on failure: a sentence with the
					   operation, the cause and the remedy */
	size_t errmsg_size;
};

/*
 * Make count operations durable, all or none, even if power fails. When it
 * returns 0 they are durable. A KEEP makes the payload durable first. SET and
 * ROOT take an extent or object that is live, or kept in the same call, which
 * for an object is { addr, 0 } (see daxpin_object_reserve()). options may be
 * NULL. On failure, and only then, *failed (may be NULL) is the index of the
 * operation that failed, or count if the error is of no single one. Any thread.
 *
 * One operation takes one aligned 8-byte store, one flush and one fence; more
 * take three fences; payloads and new names take one more.
 *
 * -E2BIG	count is more than DAXPIN_OPS_MAX
 * -EAGAIN	SET: the gate of the extent's segment is closed; a
 *		DAXPIN_EVENT_RETRY follows
 * -EALREADY	the extent is already retired
 * -EBUSY	another publish of the extent, the object or the name is in
 *		progress; OBJECT_FREE of an object that a root names; KEEP
 *		while the extent may have a write hold; RETIRE of an extent that
 *		a root names
 * -EINVAL	a field that the type does not use is not 0; KEEP of an extent
 *		that is not reserved; RETIRE, SET or ROOT of one that is not
 *		live; one extent kept or retired, one word set, or one name
 *		changed twice in a call
 * -EIO		the medium failed, now or earlier in this open; SET in a block
 *		that is known to be bad; KEEP that would write back such a
 *		block, or whose descriptor cannot be read: cancel the extent and
 *		reserve another
 * -ENAMETOOLONG	the name has DAXPIN_ROOT_NAME_MAX bytes or more
 * -ENOENT	there is no such name
 * -ENOSPC	all DAXPIN_ROOTS_MAX names are in use
 * -EOVERFLOW	SET of an extent with DAXPIN_HOLDS_MAX holds
 * -EROFS	the pool is open for reading
 * -ESTALE	the extent's generation has ended
 */
int daxpin_publish(struct daxpin_pool *pool, const struct daxpin_op *ops,
		   size_t count, const struct daxpin_publish_options *options,
		   size_t *failed);

/*
 * Store the handle of the extent with that name. Any thread.
 *
 * -ENOENT	there is no such name
 * -ESTALE	the name is of an extent or object that a repair removed, or that a
 *		degraded open has found damaged
 */
int daxpin_root(struct daxpin_pool *pool, const char *name,
		struct daxpin_extent *ret_extent);

/*
 * Call fn for every name, in no particular order, with the handle of its extent,
 * or {0, 0} if a repair has removed that. Stops when fn returns non-zero, and
 * returns that. fn may call daxpin; `name` is valid until it returns. Names that
 * are published meanwhile may be reported or not. Any thread.
 */
int daxpin_roots(struct daxpin_pool *pool,
		 int (*fn)(struct daxpin_pool *pool, const char *name,
			   struct daxpin_extent extent, void *arg),
		 void *arg);

/*
 * The address of `offset` in the extent, for the CPU; NULL if the handle is
 * stale or offset is past the end. Valid while the extent is held, and while it
 * is reserved or live and no other thread cancels or retires it. Any thread.
 */
void *daxpin_ptr(struct daxpin_pool *pool, struct daxpin_extent extent,
		 uint64_t offset);

/*
 * Copy length bytes at `offset` of the extent to `to`, whose contents are
 * undefined after a failure. Blocks that cannot be read are never reserved again
 * in this open. Any thread.
 *
 * -EINVAL	a range past the extent's end
 * -EIO		the medium is bad somewhere in the range; a load there would be
 *		SIGBUS
 * -ENOMEM	the medium is bad there, and no memory was left to record it:
 *		repeat the call before the extent ends
 * -ESTALE	the extent's generation has ended
 */
int daxpin_read(struct daxpin_pool *pool, struct daxpin_extent extent,
		uint64_t offset, uint64_t length, void *to);

/*
 * Store the handle of the live extent that begins at a pool address. Any thread.
 *
 * -EINVAL	an address that is no block of the pool
 * -ENOENT	no live extent begins at addr
 */
int daxpin_extent_at(struct daxpin_pool *pool, uint64_t addr,
		     struct daxpin_extent *ret_extent);

/* Store the extent's size: the requested size, rounded up to blocks; the requested
 * size itself is not recorded. -ESTALE. Any thread. */
int daxpin_size(struct daxpin_pool *pool, struct daxpin_extent extent,
		uint64_t *ret_size);

/* Store the extent's state. -ESTALE: its generation has ended. Any thread. */
int daxpin_state(struct daxpin_pool *pool, struct daxpin_extent extent,
		 enum daxpin_state *ret_state);

/* Make a range of the extent durable, as the granularity requires; length 0: to
 * the end. -EINVAL, -EIO, -ESTALE as daxpin_read(). Any thread. */
int daxpin_persist(struct daxpin_pool *pool, struct daxpin_extent extent,
		   uint64_t offset, uint64_t length);

/*
 * Call fn for every live extent in the order of addresses. fn may retire the
 * extent that it is given. Stops when fn returns non-zero, and returns that.
 * Extents that are published or retired meanwhile may be reported or not. Any
 * thread.
 */
int daxpin_foreach(struct daxpin_pool *pool,
		   int (*fn)(struct daxpin_pool *pool,
			     struct daxpin_extent extent, uint64_t size,
			     void *arg), void *arg);

/*
 * The same for the live extents that begin in the range of pool addresses [addr,
 * addr + length); length 0: to the pool's end. daxpin_segment() has the range of a
 * segment. Any thread.
 *
 * -EINVAL	a range past the pool's end; fn is NULL
 */
int daxpin_foreach_in(struct daxpin_pool *pool, uint64_t addr, uint64_t length,
		      int (*fn)(struct daxpin_pool *pool,
				struct daxpin_extent extent, uint64_t size,
				void *arg), void *arg);

struct daxpin_copy_options {
	size_t size;			/* sizeof(struct daxpin_copy_options) */
	uint32_t flags;			/* must be 0 */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
};

/*
 * Reserve an extent of the same size as `from`, which is live or reserved, and copy its
 * bytes to it, under a hold of `from`. They are durable when it returns 0: KEEP the
 * copy with DAXPIN_OP_PERSISTED. What other threads or devices store in `from`
 * meanwhile may be copied in part. After a failure nothing remains reserved. options
 * may be NULL. Any thread.
 *
 * To move an extent, publish KEEP of the copy, SET of the words that name the extent,
 * and RETIRE of the extent in one call.
 *
 * -EAGAIN	no free run has that length, but a job is reclaiming or refilling
 *		space; or the gate of the extent's segment is closed; a
 *		DAXPIN_EVENT_RETRY follows
 * -EALREADY	the extent is retired
 * -EBUSY	the extent is held exclusively
 * -EINVAL	an unknown flag; an address that is no block of the pool
 * -EIO		the medium is bad somewhere in the range; msync(2) failed
 * -ENOMEM	out of memory
 * -ENOSPC	no free run has that length; a DAXPIN_EVENT_RETRY follows when space
 *		becomes free
 * -EOVERFLOW	the extent has DAXPIN_HOLDS_MAX holds
 * -EROFS	the pool is open for reading
 * -ESTALE	the extent's generation has ended
 */
int daxpin_copy(struct daxpin_pool *pool, struct daxpin_extent from,
		const struct daxpin_copy_options *options,
		struct daxpin_extent *ret_extent);

/* ---------------------------------------------------------- small objects */

/*
 * Objects of 1 to DAXPIN_OBJECT_MAX bytes, for the CPU: no hardware may access
 * them, so there are no holds of them. Many of one size share an extent, the slab,
 * which the library makes and frees. An object's pool address is its handle, and is
 * the same at every open. In a publish the extent of an object is { addr, 0 }:
 * OBJECT_KEEP makes a reserved object live, OBJECT_FREE frees a live one, SET
 * changes 8 bytes of one, and ROOT names one. An address can be reserved again as
 * soon as its object was freed.
 */

/*
 * Reserve an object of at least size bytes, aligned to 16. The size is rounded up
 * to a multiple of 16 up to 128, and then to one of 8 sizes for each doubling. A
 * crash or a close frees it, unless it was kept. flags: DAXPIN_RESERVE_ZERO. Any
 * thread.
 *
 * -EAGAIN	there is no space for another slab, but a job is reclaiming or
 *		refilling space
 * -EINVAL	a size of 0 or above DAXPIN_OBJECT_MAX, an unknown flag
 * -EIO		the medium failed, now or earlier in this open
 * -ENOMEM
 * -ENOSPC	there is no space for another slab
 * -EROFS	the pool is open for reading
 */
int daxpin_object_reserve(struct daxpin_pool *pool, uint64_t size, uint32_t flags,
			  uint64_t *ret_addr);

/*
 * Free a reserved object. Any thread.
 *
 * -EBUSY	a publish of the object is in progress
 * -EINVAL	no object begins at addr, or it is live
 * -ESTALE	the object is free
 */
int daxpin_object_cancel(struct daxpin_pool *pool, uint64_t addr);

/* The object in memory, as daxpin_ptr(). NULL if no reserved or live object begins
 * at addr. Any thread. */
void *daxpin_object_ptr(struct daxpin_pool *pool, uint64_t addr);

/*
 * Store the size of the object, which is at least the size that was reserved. Any
 * thread.
 *
 * -EINVAL	no object begins at addr
 * -ESTALE	the object is free
 */
int daxpin_object_size(struct daxpin_pool *pool, uint64_t addr, uint64_t *ret_size);

/*
 * Copy length bytes at `offset` of the object to `to`, whose contents are undefined
 * after a failure. Any thread.
 *
 * -EINVAL	no object begins at addr, or a range past its end
 * -EIO		the medium is bad there; a load would be SIGBUS
 * -ENOMEM	the medium is bad there, and no memory was left to record it
 * -ESTALE	the object is free
 */
int daxpin_object_read(struct daxpin_pool *pool, uint64_t addr, uint64_t offset,
		       uint64_t length, void *to);

/*
 * Call fn for every live object in the order of addresses. fn may free the object
 * that it is given. Stops when fn returns non-zero, and returns that. Objects that
 * are published or freed meanwhile may be reported or not. Any thread.
 */
int daxpin_foreach_object(struct daxpin_pool *pool,
			  int (*fn)(struct daxpin_pool *pool, uint64_t addr,
				    uint64_t size, void *arg), void *arg);

/* ------------------------------------------------------------------ holds */

#define DAXPIN_HOLD_READ	0x1u	/* the device reads the memory */
#define DAXPIN_HOLD_WRITE	0x2u	/* the device may write it */
#define DAXPIN_HOLD_EXCLUSIVE	0x4u	/* in addition: there is no other hold */
#define DAXPIN_HOLD_GRANT	0x8u	/* labelled holds only: a remote peer, which
					   the label names, has the access. Reports
					   show it, and nothing else depends on it */

/*
 * Take a hold on a reserved or live extent: until it is dropped the blocks are
 * not used for anything else, even if the extent is retired. Does not sleep,
 * wait for a lock or allocate. If a job has closed the gate of the segment, and
 * the kernel has completed the job's work there, the call opens the gate. Any
 * thread; another thread may make the drop.
 *
 * With DAXPIN_HOLD_EXCLUSIVE the extent must not be held, or be published by
 * another call, and until the drop every other hold and clone of it, a SET in
 * it and its KEEP are -EBUSY. Use it to replace the contents as a whole. Stores
 * of the CPU are not detected, and RETIRE, which changes no byte, is allowed.
 *
 * -EAGAIN	the gate of the segment is closed; a DAXPIN_EVENT_RETRY follows
 * -EALREADY	the extent is retired
 * -EBUSY	the extent is held exclusively; or an exclusive hold was
 *		requested, and the extent is held or being published
 * -EOVERFLOW	the extent has DAXPIN_HOLDS_MAX holds
 * -EROFS	a write hold in a pool that is open for reading
 * -ESTALE	the extent's generation has ended
 */
int daxpin_hold(struct daxpin_pool *pool, struct daxpin_extent extent,
		uint32_t access);

/*
 * Take a hold on the live extent that begins at a pool address, and store its
 * handle. No lock and no sleep. Any thread.
 *
 * With this call an index needs only 8 bytes for each extent, and readers of the index
 * need no lock. A writer changes the word of the index by a SET in the same publish
 * that keeps the new extent and retires the old one. A reader loads the word, takes a
 * hold at that address, and loads the word again. If it is unchanged, the extent is the
 * one that the index refers to, until the drop. Otherwise, and after -ENOENT, which
 * means that the extent is being published, it begins again.
 *
 * The extent that contains the word must remain live. The words of a retired
 * extent no longer change, and a reader that still holds it can find an address
 * there that has been reused. If a repair has removed the extent that the word
 * names, each attempt returns -ENOENT.
 *
 * -ENOENT	no live extent begins at the address; it was retired or is being
 *		published
 * Others as daxpin_hold().
 */
int daxpin_hold_at(struct daxpin_pool *pool, uint64_t addr, uint32_t access,
		   struct daxpin_extent *ret_extent);

/*
 * Take one more hold on an extent that the caller holds: even if it is retired,
 * and behind a closed gate. The library cannot check that the existing hold is
 * the caller's. Any thread.
 *
 * -EBUSY	the extent is held exclusively
 * -EINVAL	a drop or clone of an extent without a hold
 */
int daxpin_hold_clone(struct daxpin_pool *pool, struct daxpin_extent extent,
		      uint32_t access);

/*
 * End a hold. The last drop frees a retired extent and wakes its waiters. Any
 * thread.
 *
 * Drop each hold exactly once: an excess drop ends another hold of the extent,
 * which may be a labelled one or an adapter's, and memory is reused while DMA
 * reaches it. A drop with a handle of another pool, which can be equal, does the
 * same. This cannot be detected; the owner of the other hold gets -EINVAL or
 * -ESTALE from its own drop.
 *
 * -EINVAL	a drop or clone of an extent without a hold
 * -ESTALE	the extent's generation has ended
 */
int daxpin_drop(struct daxpin_pool *pool, struct daxpin_extent extent);

/*
 * Take count holds, or none. An extent that occurs n times is held n times; equal
 * neighbouring entries are counted by one atomic operation. On failure, and only then,
 * *failed (may be NULL) is the index of the entry that cannot be held, or count if the
 * error is of no single one. Errors as daxpin_hold(). Any thread.
 */
int daxpin_hold_many(struct daxpin_pool *pool,
		     const struct daxpin_extent *extents, size_t count,
		     uint32_t access, size_t *failed);

/*
 * daxpin_drop() of each entry. An entry that cannot be dropped does not prevent
 * the others; the error and *failed (may be NULL) are those of the first one.
 * Equal neighbouring entries are dropped by one atomic operation. Any thread.
 */
int daxpin_drop_many(struct daxpin_pool *pool,
		     const struct daxpin_extent *extents, size_t count,
		     size_t *failed);

/* A labelled hold. It belongs to the caller and is zeroed before its first use;
 * its fields are the library's. While it is held, extent and bytes may be read. */
struct daxpin_hold {
	struct daxpin_extent extent;
	uint64_t bytes;			/* the extent's size */
	uint64_t since_ns;
	uint32_t access;		/* 0: not held */
	uint32_t slot;			/* a table of the pool's holds */
	uint64_t place;			/* in that table */
	const char *label;		/* the caller's */
	uint64_t reserved[3];
};

/*
 * daxpin_hold() with a label that daxpin_holds() reports, and its drop, which
 * waits while a report has this hold. *hold must not be moved, and label, which is not
 * copied, must remain valid, until the drop. Any thread; a drop in the thread that took
 * the hold is the fastest.
 *
 * A drop of a copy of *hold, a second drop, or a drop in another pool is -EINVAL and
 * changes nothing. Errors as daxpin_hold() and daxpin_drop(), and:
 *
 * -ENOMEM	no memory to list another labelled hold; the extent is not held
 */
int daxpin_hold_labelled(struct daxpin_pool *pool, struct daxpin_extent extent,
			 uint32_t access, const char *label,
			 struct daxpin_hold *hold);
int daxpin_drop_labelled(struct daxpin_pool *pool, struct daxpin_hold *hold);

/* Holds of an extent, or a registration of a segment (extent is {0, 0}). */
struct daxpin_holder {
	size_t size;			/* of the library's struct */
	struct daxpin_extent extent;
	uint64_t age_ns;		/* 0: unlabelled */
	uint32_t access;		/* 0: unlabelled */
	uint32_t count;			/* unlabelled holds; otherwise 1 */
	const char *label;		/* NULL: unlabelled */
	uint32_t segment;		/* or DAXPIN_ALL_SEGMENTS */
};

/*
 * Call fn (may be NULL) for each labelled hold of the extent, then once for all
 * unlabelled holds, then for each registration of its segment. Extent {0, 0}:
 * for all extents in the order of addresses, then for all registrations, which
 * is everything that prevents a close. fn must not call daxpin. Returns the
 * number of holds without registrations, at most INT_MAX. Other threads take
 * and drop holds meanwhile: a labelled hold that is taken or dropped during the call
 * may be reported, be counted among the unlabelled ones, or be left out. The drop of a
 * labelled hold waits while fn has it. Any thread.
 *
 * -ENOMEM	extent {0, 0}: no memory for a list of the labelled holds; fn was
 *		not called
 */
int daxpin_holds(struct daxpin_pool *pool, struct daxpin_extent extent,
		 void (*fn)(const struct daxpin_holder *holder, void *arg),
		 void *arg);

/* 1: the extent has no hold, or its generation has ended. 0: it is held. Any
 * thread. */
int daxpin_idle(struct daxpin_pool *pool, struct daxpin_extent extent);

/* Wait until daxpin_idle() is 1. -ETIMEDOUT: it is held at the deadline. Any
 * thread. */
int daxpin_wait_idle(struct daxpin_pool *pool, struct daxpin_extent extent,
		     uint64_t deadline_ns);

/* ----------------------------------------------------------------- events */

/* It belongs to the caller, is zeroed before its first use, and must exist until
 * its event was taken, daxpin_unwatch(), or the close of the pool. */
struct daxpin_watch {
	struct daxpin_extent extent;
	void *arg;			/* the caller's */
	struct daxpin_watch *next;	/* the library's */
	struct daxpin_watch **prev;
	uint32_t state;
	const void *owner;		/* which pool's */
	uint64_t reserved[1];
};

enum daxpin_event_type {
	DAXPIN_EVENT_IDLE = 1,		/* a watched extent became idle */
	/*
	 * A call that failed with -EAGAIN, or for lack of space with -ENOSPC,
	 * may succeed now. One event for all earlier failures. Another thread
	 * may take it before the failed call returns, so record what is to be
	 * tried again before making the call. The event may also arrive although
	 * no call has failed: a daxpin_reserve() that first finds no space and
	 * then succeeds can cause it.
	 */
	DAXPIN_EVENT_RETRY,
	DAXPIN_EVENT_JOB,		/* a reclaim or refill has ended */
	DAXPIN_EVENT_REVOKE,		/* call daxpin_registration_wanted(), or
					   the service function of the adapter */
};

struct daxpin_event {
	uint32_t type;			/* enum daxpin_event_type */
	struct daxpin_watch *watch;	/* IDLE, otherwise NULL */
	struct daxpin_job *job;		/* JOB */
	struct daxpin_registration *registration;	/* REVOKE; may be an
							   adapter's */
	uint64_t reserved[2];		/* 0 */
};

/*
 * Request one event for the time when the extent is idle, immediately if it is.
 * Any thread.
 *
 * -EINVAL	watch is NULL, or in use, perhaps by a call in another thread,
 *		and then it is unchanged; the address is no block of the pool
 */
int daxpin_watch(struct daxpin_pool *pool, struct daxpin_extent extent,
		 void *arg, struct daxpin_watch *watch);

/* Take a watch back: 1 if its event had not been taken, otherwise 0. -EINVAL: it is a
 * watch of another pool, and is unchanged. Any thread. */
int daxpin_unwatch(struct daxpin_pool *pool, struct daxpin_watch *watch);

/* An eventfd, which is readable after an event that was armed. While a job is in
 * progress it is also readable from time to time: call daxpin_next_event() then, so
 * that the job progresses. It belongs to the pool. Any thread. */
int daxpin_event_fd(struct daxpin_pool *pool);

/*
 * Request that the eventfd be written once, at the next event. Returns 1 if
 * events are waiting: take them instead of sleeping. The order for a consumer:
 * read the eventfd, arm, poll; then daxpin_next_event() until it returns 0. Any
 * thread.
 */
int daxpin_event_arm(struct daxpin_pool *pool);

/* Take one event: 1, or 0 if there is none. Any thread. */
int daxpin_next_event(struct daxpin_pool *pool, struct daxpin_event *ret_event);

/* --------------------------------------- for adapters (rings, MRs, others) */

/* A segment, the unit of every registration. */
struct daxpin_segment {
	uint64_t addr;			/* pool address */
	uint64_t size;			/* bytes */
	void *base;			/* where it is mapped */
	uint64_t reserved[2];		/* 0 */
};

/* Describe the segment with that index. -ENOENT: past the last. Any thread. */
int daxpin_segment(struct daxpin_pool *pool, uint32_t index,
		   struct daxpin_segment *ret_segment);

/*
 * The descriptor of the first segment's file, or of the device, which has the
 * owner lock; and the anchor, a socket that keeps all files of the pool open
 * and locked. Every ring that does I/O into the pool must have both in its table
 * of registered files from before its first SQE to after its last CQE, so that the
 * locks live as long as the DMA. They belong to the pool: never close, duplicate
 * or unlock them, and never read from the anchor. Returns a descriptor, or a
 * negative errno. Any thread.
 *
 * -EOPNOTSUPP	daxpin_anchor_fd(): the pool is in a directory on a disk, whose
 *		page-cache pages lose their dirty state under DMA
 */
int daxpin_lock_fd(struct daxpin_pool *pool);
int daxpin_anchor_fd(struct daxpin_pool *pool);

#define DAXPIN_ALL_SEGMENTS	UINT32_MAX

/* A segment counts as pinned only after daxpin_registration_pin(), and the program
 * ends the pin when the library requests it. Without the flag all segments of the
 * registration count as pinned until daxpin_unregister(). */
#define DAXPIN_REGISTRATION_BY_SEGMENT	0x1u

struct daxpin_registration_options {
	size_t size;			/* sizeof(struct ..._options) */
	uint32_t flags;			/* DAXPIN_REGISTRATION_... */
	const char *label;		/* required; copied; reported by
					   daxpin_holds() */
	const char *rdma_device;	/* the verbs device if DMA goes through
					   one, whose DMA can outlive the owner
					   lock; else NULL. For messages */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
	/*
	 * Required with rdma_device, otherwise NULL. Allocates (make is 1) or
	 * deallocates (0) one protection domain in that verbs context, in the
	 * calling thread, and returns 0 or a negative errno. The library uses the
	 * domain to find the context's number, and records that on media before
	 * daxpin_register() returns. Called a few times at most.
	 */
	int (*rdma_domain)(int make, void *arg);
	void *rdma_arg;			/* passed to rdma_domain */
	const void *maker;		/* for daxpin_registration_arg(); or NULL */
	void *maker_arg;
};

/*
 * Announce a long-lived pin on one segment, or on DAXPIN_ALL_SEGMENTS. The pool
 * cannot be closed while the registration exists. It protects no extent: DMA
 * needs holds. Any thread.
 *
 * -EAGAIN	without DAXPIN_REGISTRATION_BY_SEGMENT: the kernel is punching
 *		or filling a part of the segments; a DAXPIN_EVENT_RETRY follows
 * -EINVAL	no label; the device's context belongs to another process
 * -ENOENT	there is no such segment
 * -ENOSPC	20 other verbs contexts are registered
 * -EOPNOTSUPP	the pool is in a directory on a disk, whose page-cache pages
 *		lose their dirty state under DMA
 * -EROFS	a verbs device, in a pool that is open for reading
 */
int daxpin_register(struct daxpin_pool *pool, uint32_t segment,
		    const struct daxpin_registration_options *options,
		    struct daxpin_registration **ret_registration);

/*
 * End a registration, after its pin: the hardware must not reach the segment
 * any more. Any thread.
 *
 * For this function and the next three: only the creator of a registration may
 * use it. If the caller changes a pin of an adapter's registration, which an
 * event may name, the adapter's service function or detach returns -EINVAL; if
 * the caller ends the registration, the adapter uses freed memory.
 */
int daxpin_unregister(struct daxpin_registration *registration);

/*
 * Call it before pinning a segment of a registration BY_SEGMENT. On tmpfs a pin
 * allocates the segment's holes, and a punch of a pinned segment loses what is
 * written to it afterwards. Any thread.
 *
 * -EAGAIN	the segment is being reclaimed or refilled, or a job waits for
 *		it; a DAXPIN_EVENT_RETRY follows
 * -EALREADY	already pinned
 * -EINVAL	a segment that the registration does not cover
 * -ENOSPC	the segment has holes, which only daxpin_refill() fills; a
 *		DAXPIN_EVENT_RETRY follows when it has
 */
int daxpin_registration_pin(struct daxpin_registration *registration,
			    uint32_t segment);

/*
 * Search for a segment, from *segment on, whose pin the library wants back. 1: *segment
 * is the first one; 0: there is none. DAXPIN_EVENT_REVOKE reports that there is one.
 * Any thread.
 */
int daxpin_registration_wanted(struct daxpin_registration *registration,
			       uint32_t *segment);

/*
 * The maker_arg of a registration that was made with this maker, otherwise NULL. An
 * adapter passes the address of an object of its own as maker, to recognize its
 * registrations in events. Any thread.
 */
void *daxpin_registration_arg(const struct daxpin_registration *registration,
			      const void *maker);

/* Report that the pin on the segment is gone, requested or not: no hardware can
 * reach it through this registration. -EINVAL: it was not pinned. Any thread. */
int daxpin_registration_revoked(struct daxpin_registration *registration,
				uint32_t segment);

/* ------------------------------------------------------ giving space back */

/* If io_uring is forbidden, do the job in this call, which then cannot be
 * cancelled while the kernel waits for pins. */
#define DAXPIN_JOB_BLOCKING	0x1u
#define DAXPIN_JOB_ZERO		0x2u	/* reclaim on device-dax: zero free space */

struct daxpin_job_options {
	size_t size;			/* sizeof(struct daxpin_job_options) */
	uint32_t flags;			/* DAXPIN_JOB_... */
	uint32_t segment;		/* or DAXPIN_ALL_SEGMENTS; 0 is the first
					   segment alone */
	uint64_t bytes;			/* at most, in chunks of 2 MiB; 0: all */
	uint64_t keep_bytes;		/* reclaim: remain free and backed */
	uint64_t deadline_ns;		/* for holds, revokes and other pins */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
};

/*
 * Give free space back to the filesystem: whole free chunks become holes. The library
 * does not reserve holes, and they remain holes after a close and the next open. Starts
 * a job and returns. options may be NULL: all segments, without waiting for holds. Any
 * thread; the calling thread may end.
 *
 * The segments are processed concurrently. None is punched while anything in it
 * is held, while a registration has it pinned, or (fsdax) while any process has
 * a page of its file pinned. While the kernel works on a segment, new holds in
 * it are -EAGAIN. At the deadline the job ends, and what was not punched remains
 * free; each punch has at least one second.
 *
 * On device-dax there are no holes: DAXPIN_JOB_ZERO zeroes the free chunks
 * before this call returns.
 *
 * -ENOENT	there is no such segment
 * -ENOSYS	io_uring is unavailable, or no thread can be created for it (a
 *		limit of processes), or no descriptor is left for it, and
 *		DAXPIN_JOB_BLOCKING is not set
 * -EOPNOTSUPP	device-dax, without DAXPIN_JOB_ZERO; or the pool is on a DAX
 *		filesystem and open with page granularity
 * -EROFS	the pool is open for reading
 */
int daxpin_reclaim(struct daxpin_pool *pool,
		   const struct daxpin_job_options *options,
		   struct daxpin_job **ret_job);

/* The reverse: holes get memory and become free space. The same rules. Any thread.
 * -EOPNOTSUPP: device-dax. */
int daxpin_refill(struct daxpin_pool *pool,
		  const struct daxpin_job_options *options,
		  struct daxpin_job **ret_job);

/* Wait until the job has ended. -ETIMEDOUT: it has not, at the deadline. Any
 * thread. */
int daxpin_job_wait(struct daxpin_job *job, uint64_t deadline_ns);

/* Cancel the rest of the job, which ends soon afterwards. Any thread. */
int daxpin_job_cancel(struct daxpin_job *job);

/* The result for one segment. */
struct daxpin_job_part {
	size_t size;			/* of the library's struct */
	uint32_t segment;
	/*
	 * 0: done; -EINPROGRESS; -EBUSY: held or registered, by `holder`;
	 * -ETIMEDOUT: pinned by something that daxpin does not know;
	 * -ECANCELED; -ENOSPC: the filesystem is full; or the kernel's error.
	 */
	int result;
	uint64_t done_bytes;
	uint64_t left_bytes;		/* not done */
	const struct daxpin_holder *holder;	/* or NULL */
};

struct daxpin_job_summary {
	size_t size;			/* sizeof(struct daxpin_job_summary) */
	int result;			/* the first result of a part that is not 0 */
	uint32_t segments;		/* of the job */
	uint64_t done_bytes;
	uint64_t left_bytes;
};

/* Call fn (may be NULL) for each segment of the job, which may be in progress.
 * fn must not call daxpin. Any thread. */
int daxpin_job_report(struct daxpin_job *job,
		      void (*fn)(const struct daxpin_job_part *part, void *arg),
		      void *arg, struct daxpin_job_summary *ret_summary);

/* Free a job that has ended, and remove its event. NULL is allowed. -EBUSY: it
 * has not ended. Any thread. */
int daxpin_job_end(struct daxpin_job *job);

/* -------------------------------------------------------------- shrinking */

/* What prevents daxpin_pool_shrink() from removing the segments. */
enum daxpin_shrink_reason {
	DAXPIN_SHRINK_LIVE = 1,		/* a live extent: move it, or retire it */
	DAXPIN_SHRINK_RESERVED,		/* a reserved extent */
	DAXPIN_SHRINK_RETIRED,		/* a retired or cancelled extent that is held */
	DAXPIN_SHRINK_CHANGING,		/* a thread is reserving, freeing or holding
					   something */
	DAXPIN_SHRINK_REGISTRATION,	/* `holder` pins the segment, and was asked to
					   give it back */
	DAXPIN_SHRINK_JOB,		/* a reclaim or refill */
	DAXPIN_SHRINK_PINNED,		/* fsdax: I/O that daxpin does not know */
	DAXPIN_SHRINK_OBJECTS,		/* small objects: move or free the live ones,
					   keep or cancel the reserved ones */
};

/* Passed to progress(). */
struct daxpin_shrink_wait {
	size_t size;			/* of the library's struct */
	uint32_t reason;		/* enum daxpin_shrink_reason */
	uint32_t segment;
	struct daxpin_extent extent;	/* LIVE, RESERVED, RETIRED; OBJECTS: {address of
					   a slab that has them, 0}; otherwise {0, 0} */
	uint64_t bytes;			/* of the extent or slab */
	uint64_t left_bytes;		/* in use in all segments to be removed */
	uint64_t waited_ns;		/* since the call began */
	const struct daxpin_holder *holder;	/* of the extent, or the registration;
						   or NULL */
};

struct daxpin_shrink_options {
	size_t size;			/* sizeof(struct daxpin_shrink_options) */
	uint32_t flags;			/* must be 0 */
	uint64_t deadline_ns;
	/*
	 * Called each time something prevents the removal, before the call waits. If it
	 * returns non-zero the call fails with -ECANCELED. It may use the pool, for
	 * example to move extents, but not close, grow or shrink it.
	 */
	int (*progress)(struct daxpin_pool *pool,
			const struct daxpin_shrink_wait *wait, void *arg);
	void *progress_arg;
	char *errmsg;			/* on failure: a sentence that names what
					   prevents the removal */
	size_t errmsg_size;
};

/*
 * Shrink the pool to at least `size` bytes, by whole segments from its end, while it is
 * in use. If that is what the pool has, the call does nothing. options may be NULL:
 * without waiting. Any thread.
 *
 * At once, nothing is reserved in these segments any more: what is free there, and
 * what becomes free, is neither in free_bytes nor in usable_bytes. The call does not
 * move extents. The caller moves or retires them, in progress() or in other threads
 * (daxpin_foreach_in(), daxpin_copy()). When nothing is in use, all pins of
 * registrations were given back (DAXPIN_EVENT_REVOKE), and no page of the files is
 * pinned, all segments are removed at once, even if the process is killed or power
 * fails meanwhile; then their files are removed, by the next open for writing at the
 * latest. A device keeps its size. Handles of extents that were there are -ESTALE.
 * Until the pool is closed daxpin_segment() still describes removed segments, which
 * must not be accessed, and the pool cannot grow.
 *
 * After a failure all segments are in use as before; but if the write that removes them
 * fails (-EIO, -ESTALE), it is unknown how many the pool has on media, and they remain
 * out of use until the next open.
 *
 * -EBUSY	something uses the segments at the deadline; another call grows, shrinks
 *		or closes the pool
 * -ECANCELED	progress returned non-zero
 * -EINVAL	size is 0 or larger than the pool; an unknown flag
 * -EIO		the medium failed, now or earlier in this open; the call does not wait
 *		for what is in use then
 * -ENOSYS	on a DAX filesystem: as daxpin_pool_open()
 * -EROFS	the pool is open for reading
 * -ESTALE	as daxpin_pool_close()
 * -EUCLEAN	the pool was opened with DAXPIN_POOL_DEGRADED
 */
int daxpin_pool_shrink(struct daxpin_pool *pool, uint64_t size,
		       const struct daxpin_shrink_options *options);

/* -------------------------------------------------------- errors, versions */

/*
 * The meaning of a negative errno of any call, as in daxpin(7), without a full
 * stop; for other errnos the text of strerror(). Static, never NULL. Any thread.
 */
const char *daxpin_strerror(int error);

/* For adapters: pass a sentence, without a newline, to the log function of the
 * pool, if there is one. Any thread. */
void daxpin_log(struct daxpin_pool *pool, const char *message);

/* The version of this header: compare with < and >. */
#define DAXPIN_VERSION_NUM	0x000100u	/* major << 16 | minor << 8 | patch */

/* The version of the library, such as "0.1.0". */
const char *daxpin_version(void);

#ifdef __cplusplus
}
#endif
#endif
