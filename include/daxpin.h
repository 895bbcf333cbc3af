/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin - persistent memory that hardware may write into.
 *
 * The promise: a block is never reused, punched or unmapped while any DMA can
 * still reach it. Not under load, not after a retire, not across a crash.
 *
 * What you owe in return (the whole story is in daxpin(7)):
 *
 *  - DMA into a pool is licensed by a hold and goes through an attached ring,
 *    an attached protection domain, or a call that cannot outlive the process
 *    (read, write, libaio). vmsplice, MSG_ZEROCOPY and rings that were neither
 *    attached nor guarded are outside the promise.
 *  - A pool belongs to one process. In a child of fork() every call returns
 *    -EOWNERDEAD, except daxpin_uring_detach() and daxpin_pool_close(), which
 *    give back what was inherited.
 *  - A hold is dropped only when the hardware is known to be done: at the
 *    request's last CQE, or when ibv_dereg_mr() has returned. The adapters
 *    (daxpin-uring.h, daxpin-rdma.h) do this for you.
 *  - No call may be made from a signal handler. A cancellation (pthread_cancel()) ends
 *    a thread at the beginning of those calls that daxpin(7) lists, before they have
 *    done anything, and at no other place in a call. Callbacks must return.
 *
 * Conventions: functions return 0 or a count, or -errno; each errno has one
 * meaning, listed in daxpin(7). Outputs come last, are called ret_..., and are
 * written only on success. An errmsg of the caller's is emptied when the call begins
 * and has a sentence only if it fails. Where a call ends a handle, the handle is gone
 * after 0 and is not after anything else. Sizes, offsets and addresses are bytes.
 * Deadlines are CLOCK_MONOTONIC nanoseconds: 0 means "do not wait". Structs that
 * begin with `size` may grow: set it to sizeof, zero the rest. Of those that the
 * library hands to a callback it is the library's: a field is there if it ends below
 * that. Reserved fields of the caller's are zero.
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
#define DAXPIN_NO_DEADLINE	UINT64_MAX

struct daxpin_pool;
struct daxpin_registration;
struct daxpin_job;

/* ------------------------------------------------------------------ pools */

/* What the memory is: decides what hardware may do with it, see daxpin(7). */
enum daxpin_source {
	DAXPIN_SOURCE_DEVDAX = 1,	/* a device-dax node */
	DAXPIN_SOURCE_FSDAX,		/* a directory on ext4 or XFS, -o dax */
	DAXPIN_SOURCE_SHMEM,		/* a directory on tmpfs: no durability */
	DAXPIN_SOURCE_DISK,		/* any other directory: no DMA */
};

/* What makes a store durable. AUTO: CACHE_LINE on DAX, PAGE elsewhere. */
enum daxpin_granularity {
	DAXPIN_GRANULARITY_AUTO,
	DAXPIN_GRANULARITY_BYTE,	/* the store itself (eADR): say so */
	DAXPIN_GRANULARITY_CACHE_LINE,	/* cache line write-back and fence */
	DAXPIN_GRANULARITY_PAGE,	/* msync() */
};

/* That a thing could not be looked at is an answer of its own. */
enum daxpin_tristate {
	DAXPIN_UNKNOWN,
	DAXPIN_NO,
	DAXPIN_YES,
};

/* What a call that opens or creates a pool is waiting for. */
enum daxpin_owner {
	DAXPIN_OWNER_ALIVE = 1,		/* a living process has the pool open */
	DAXPIN_OWNER_DRAINING,		/* its owner died, its DMA goes on */
	DAXPIN_OWNER_UNKNOWN,		/* held, by whom cannot be told */
	DAXPIN_OWNER_RDMA,		/* verbs of the dead owner not gone */
	DAXPIN_OWNER_PINNED,		/* memory of its files is pinned by I/O
					   that keeps no lock (fsdax) */
	DAXPIN_OWNER_KEPT,		/* its owner is gone, another process
					   keeps the lock; pid is that one's */
	DAXPIN_OWNER_NOBODY,		/* for nobody: blocks of the files are
					   being allocated, done_bytes so far */
};

/* The library fills it in, and may know more fields than this header has. */
struct daxpin_wait {
	size_t size;			/* of the library's: a field is there if
					   it ends below that */
	enum daxpin_owner owner;
	int pid;			/* 0 where it is not known */
	uint64_t waited_ns;		/* since the call began */
	uint64_t done_bytes;		/* NOBODY: allocated, of total_bytes */
	uint64_t total_bytes;
};

#define DAXPIN_POOL_READONLY	0x1u	/* open: shared, refuses an unclean pool */
#define DAXPIN_POOL_OVERWRITE	0x2u	/* create: over whatever is there */
#define DAXPIN_POOL_ANY_NODE	0x4u	/* take a device node outside devtmpfs:
					   its lock excludes only users of the
					   same node */
#define DAXPIN_POOL_DEGRADED	0x8u	/* open: around what is damaged; with
					   READONLY an unclean pool too */
/*
 * open: do not wait longer for the RDMA of an owner that died where that can't be
 * told, or past the deadline. If one of its peers still writes, it overwrites
 * whatever the pool has there by then. For a person who has looked, never for a
 * program that starts by itself. A context whose maker is seen to live is still
 * -EBUSY. It has nothing to do with DAXPIN_POOL_ADOPT, which is about copies: no
 * RDMA of an earlier owner can reach those.
 */
#define DAXPIN_POOL_DESPITE_RDMA	0x100u
#define DAXPIN_POOL_ANY_OWNER	0x200u	/* take directories and files that other
					   users own or can write to: they can
					   change what is opened */
#define DAXPIN_POOL_ANY_FILESYSTEM 0x400u /* take directories on filesystems whose
					   locks may not keep everybody out
					   (overlayfs, 9p, FUSE, NFS, SMB, unknown
					   ones): as DAXPIN_SOURCE_DISK, no DMA */
#define DAXPIN_POOL_ADOPT	0x10u	/* open: this is a copy of a pool that was
					   not closed, and it is to be used; see
					   "Backup and restore" in daxpin(7). A
					   pool that is no copy opens as without */

#define DAXPIN_POOL_CREATE	0x40u	/* open: make a pool where there is none, and
					   complete a create that was cut short */
#define DAXPIN_POOL_NEED_FLUSHED 0x20u	/* only if dirty_shutdown of struct
					   daxpin_pool_info is then DAXPIN_NO */

struct daxpin_pool_options {
	size_t size;			/* sizeof(struct daxpin_pool_options) */
	uint32_t flags;			/* DAXPIN_POOL_... */
	uint32_t granularity;		/* enum daxpin_granularity */
	uint64_t pool_size;		/* bytes that the pool has at least, else
					   -ENOSPC. A new one takes the whole device,
					   or so much of a directory's filesystem,
					   rounded up to 2 MiB. 0: of a filesystem
					   all that is free, but 1/64 for itself */
	uint64_t segment_size;		/* of a new pool: power of two; 0: default */
	uint64_t deadline_ns;		/* until when to wait for the owner lock,
					   and for the DMA of an owner that died;
					   and to allocate blocks, unless it has
					   passed when the call begins */
	/* Called about every 100 ms of waiting, or of allocating blocks; non-zero
	   gives up: -ECANCELED. */
	int (*progress)(const struct daxpin_wait *wait, void *arg);
	void *progress_arg;
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
	uint32_t mode;			/* directories: permission bits of new
					   files, less the umask; 0: 0600. Not for
					   others to write. A directory that is made
					   has x for each r as well */
	unsigned char uuid[16];		/* not of a new pool: the pool that is meant,
					   or -ENXIO; zeroes: any */
	/*
	 * Called with a sentence for a log, where something is worth one and no
	 * error: this call begins to wait, an earlier owner did not close the pool,
	 * a superblock was restored from its copy, a ring falls back to plain reads
	 * and writes. In any thread that calls daxpin or an adapter with this pool,
	 * until it is closed. It must not call daxpin. NULL: nobody is told.
	 */
	void (*log)(const char *message, void *arg);
	void *log_arg;
};

struct daxpin_pool_info {
	size_t size;			/* sizeof(struct daxpin_pool_info) */
	uint32_t source;		/* enum daxpin_source */
	uint32_t granularity;		/* enum daxpin_granularity, never AUTO */
	uint32_t segments;
	uint32_t flags;			/* DAXPIN_POOL_READONLY, _DEGRADED */
	uint64_t segment_size;		/* the last one may be shorter */
	uint64_t epoch;			/* counts the opens of this pool */
	uint64_t media_bytes;		/* what the device or the files measure */
	uint64_t usable_bytes;		/* what reserve can ever hand out: no
					   metadata, no bad blocks */
	uint64_t free_bytes;		/* a snapshot */
	uint64_t largest_extent;	/* bytes */
	uint64_t hole_bytes;		/* free, but without backing store */
	uint64_t unaligned_chunks;	/* 2 MiB chunks that cannot be huge pages,
					   counted at open */
	uint64_t ignored_files;		/* segment files that are not the pool's */
	uint64_t registrations;
	unsigned char uuid[16];
	int unclean;			/* the previous owner did not close it */
	uint64_t quarantined_bytes;	/* DEGRADED: around damage, not used */
	uint64_t bad_bytes;		/* in known bad blocks: never handed out */
	int bad_unknown;		/* DAX, and the kernel's list of bad blocks
					   could not be read, or not all of it */
	uint64_t shared_bytes;		/* chunks that a reflink shares with other
					   files, counted at open: not on fsdax
					   after an open for writing */
	uint64_t sparse_bytes;		/* READONLY: chunks with metadata or extents
					   that are holes in part: they read as
					   zeroes, an open for writing fills them */
	uint32_t movable;		/* enum daxpin_tristate: xfs_fsr may move blocks
					   of its files, also while hardware writes
					   there. Known on device-dax (NO) and XFS */
	uint32_t dirty_shutdown;	/* enum daxpin_tristate: while the pool was not
					   closed, power failed before all that was
					   durable had arrived on its NVDIMMs, which
					   count that. NO where there is no DAX */
	/* Snapshots; counted since the open: */
	uint64_t retired_bytes;		/* of retired and cancelled extents that are
					   held: free at their last drop */
	uint64_t deferred_frees;	/* extents that ended at a drop */
	uint64_t publishes;		/* calls that succeeded */
	uint64_t no_space;		/* reserves that found no free run */
};

/*
 * Make a pool and open it. A directory is made where there is none. Where something
 * is already, a pool or not, this is -EEXIST; with DAXPIN_POOL_OVERWRITE the call
 * first waits for the old owner and its DMA, as an open does, and then destroys it.
 * A create cut short leaves a pool that open refuses and the next create completes.
 * Other errors as daxpin_pool_open().
 */
int daxpin_pool_create(const char *path,
		       const struct daxpin_pool_options *options,
		       struct daxpin_pool **ret_pool);

/*
 * Open a pool; options may be NULL. With DAXPIN_POOL_CREATE a pool is made where
 * there is none: of several processes that do so at once one makes it, and each
 * opens it in its turn. Waits for the owner lock, and for the DMA of an owner that
 * died, until the deadline.
 *
 * -EBUSY	somebody has it, or DMA of a dead owner may reach it; errmsg says who
 * -ENOENT	the path is not there; with CREATE, not even the directory above it
 * -EMEDIUMTYPE	there is no pool; with CREATE: there is something else
 * -EUCLEAN	damaged, or a copy or for reading and not closed; the medium is left
 *		untouched. With DAXPIN_POOL_DEGRADED what checks out can be used,
 *		see daxpin_check(3)
 * -ENXIO	it is not the pool whose uuid was given
 * -ENOSPC	it has less than pool_size bytes, or there is no room for a new one
 * -EPROTONOSUPPORT	a newer daxpin wrote it
 * -EPERM	its owner, its permissions or its node are not to be trusted
 * -EROFS	the filesystem is read-only
 * -ECANCELED	progress() gave up
 * -EINVAL	options that contradict each other, or a size that no pool can have
 * -E2BIG	options that this library does not know
 */
int daxpin_pool_open(const char *path,
		     const struct daxpin_pool_options *options,
		     struct daxpin_pool **ret_pool);

/*
 * Close. After 0 the handle is gone, after anything else it is not. Not concurrent
 * with any other call on the pool. NULL is fine.
 *
 * -EBUSY	a hold, a registration or a job is out: the pool is as it was
 * -EIO		the medium failed, now or in an earlier call
 * -ESTALE	another open has had the pool meanwhile, after a hibernation
 *
 * After -EIO and -ESTALE the pool is not marked as closed, and the next open reports
 * `unclean` and recovers it. The handle can only be read with, and the next call of
 * daxpin_pool_close() closes it and returns 0, as long as nothing is out.
 *
 * In a child of fork(): unmap and close what the child has inherited, and return
 * 0. The parent's pool stays open and locked. A child that lives on after its
 * parent, as after daemon(3), must do so before it can open the pool itself. Before
 * that it calls daxpin_uring_detach() for each attached ring, and it must also close
 * the rings of the parent that it has inherited. Not in a child of vfork() or of
 * clone() with CLONE_VM or CLONE_FILES, whose memory or descriptors are its parent's
 * own.
 */
int daxpin_pool_close(struct daxpin_pool *pool);

/*
 * Refuse new holds and wait until no extent is held, or -ETIMEDOUT and holds
 * are possible again. After success only daxpin_drop... and close make sense.
 */
int daxpin_pool_drain(struct daxpin_pool *pool, uint64_t deadline_ns);

/* Describe the pool. Set ret_info->size first. Any thread. */
int daxpin_pool_info(struct daxpin_pool *pool, struct daxpin_pool_info *ret_info);

/* ------------------------------------------------------ check and repair */

enum daxpin_structure {
	DAXPIN_STRUCTURE_FILE = 1,	/* of a segment */
	DAXPIN_STRUCTURE_SUPERBLOCK,
	DAXPIN_STRUCTURE_OWNER,		/* the last one's record */
	DAXPIN_STRUCTURE_TABLE,		/* extents */
	DAXPIN_STRUCTURE_LANE,		/* batches */
	DAXPIN_STRUCTURE_ROOT,
	DAXPIN_STRUCTURE_DATA,
};

enum daxpin_severity {
	DAXPIN_SEVERITY_NOTE = 1,	/* as it may be */
	DAXPIN_SEVERITY_DAMAGE,
};

enum daxpin_cure {
	DAXPIN_CURE_NONE,		/* nothing to be done, or not from here */
	DAXPIN_CURE_OPEN,		/* the next open for writing does it */
	DAXPIN_CURE_DERIVED,		/* repair: it follows from the rest */
	DAXPIN_CURE_LOSSY,		/* repair: something is lost */
};

struct daxpin_finding {
	size_t size;			/* as of struct daxpin_wait */
	uint32_t structure;		/* enum daxpin_structure */
	uint32_t severity;		/* enum daxpin_severity */
	uint32_t cure;			/* enum daxpin_cure */
	uint32_t segment;
	uint64_t offset;		/* of what is meant, bytes in the segment */
	uint64_t length;
	const char *what;		/* a sentence */
	const char *remedy;		/* what the cure does; NULL: there is none */
};

/* Said of each finding: negative stops; in a repair 1 agrees to a lossy cure. */
typedef int daxpin_finding_fn(const struct daxpin_finding *finding, void *arg);

struct daxpin_check_summary {
	size_t size;			/* sizeof(struct daxpin_check_summary) */
	uint32_t damages;		/* findings that are damage; 0: clean */
	uint32_t repaired;		/* findings that a repair acted on */
	uint32_t source;		/* enum daxpin_source */
	uint32_t segments;		/* 0: the superblock says nothing */
	uint64_t segment_size;
	uint64_t media_bytes;
	uint64_t epoch;
	unsigned char uuid[16];
	int unclean;
	uint32_t ignored_files;
	uint64_t extents;		/* published, that check out */
	uint64_t extent_bytes;
	uint64_t free_bytes;
	uint64_t hole_bytes;
	uint64_t quarantined_bytes;	/* in doubt: what DEGRADED goes around */
	uint64_t bad_bytes;		/* in known bad blocks, behind metadata */
	uint64_t used_words;		/* of free blocks that once began extents */
	uint32_t lanes_torn;		/* normal after a power cut */
	uint32_t lanes_open;		/* batches to be completed */
	uint32_t roots;
	uint32_t roots_stale;		/* their extents are gone */
};

/*
 * Look at everything on media and call fn (may be NULL) for each finding. Takes
 * the lock as a reader does, changes nothing. options may be NULL; of flags
 * only ANY_NODE. 0: looked at, the summary says what was found. -EBUSY: somebody
 * has it; -EMEDIUMTYPE: no pool; -EPROTONOSUPPORT: a newer version's. What fn
 * returns below 0 ends it. fn must not call daxpin.
 */
int daxpin_check(const char *path, const struct daxpin_pool_options *options,
		 daxpin_finding_fn *fn, void *arg,
		 struct daxpin_check_summary *ret_summary);

/*
 * The same with the lock and the waits of an open for writing, and then change
 * what has a cure, the lossy ones where fn returned 1. Before the first store
 * a new file `backup` has what stood there; none is made when nothing changes.
 */
int daxpin_repair(const char *path, const struct daxpin_pool_options *options,
		  const char *backup, daxpin_finding_fn *fn, void *arg,
		  struct daxpin_check_summary *ret_summary);

/*
 * Put back what a repair's backup has. -EUCLEAN, and nothing is changed, when it
 * is another pool's, or that pool was written to since.
 */
int daxpin_repair_undo(const char *path,
		       const struct daxpin_pool_options *options,
		       const char *backup);

/* The present time on the deadlines' clock plus ms milliseconds. */
uint64_t daxpin_deadline_ms(uint64_t ms);

/* ------------------------------------------------------------------ space */

/*
 * Names one life of an extent. Valid for one open of the pool: a handle whose
 * extent was freed, or that comes from an earlier open, gives -ESTALE, never
 * another extent. Keep addr on media, not gen.
 */
struct daxpin_extent {
	uint64_t addr;			/* pool address: stable across opens */
	uint64_t gen;			/* epoch << 40 | life */
};

enum daxpin_state {
	DAXPIN_STATE_FREE,
	DAXPIN_STATE_RESERVED,		/* not published: a crash frees it */
	DAXPIN_STATE_LIVE,		/* published: survives a crash */
	DAXPIN_STATE_RETIRED,		/* free on media, held by somebody still */
};

#define DAXPIN_RESERVE_ZERO	0x1u	/* zeroed, else the old bytes show */

/*
 * Reserve a run of whole blocks for `size` bytes, inside one segment. Volatile:
 * a crash forgets it. Never calls the filesystem. Any thread.
 *
 * -EAGAIN	no run of that length is free now, and a job is giving space back or
 *		taking it: DAXPIN_EVENT_RETRY follows
 * -ENOSPC	no run of that length is free, and nothing under way will give one.
 *		DAXPIN_EVENT_RETRY follows when space becomes free. hole_bytes of
 *		struct daxpin_pool_info is what daxpin_refill() could free
 * -EFBIG	larger than the largest extent
 * -EINVAL	size 0
 * -EROFS	the pool is open for reading
 */
int daxpin_reserve(struct daxpin_pool *pool, uint64_t size, uint32_t flags,
		   struct daxpin_extent *ret_extent);

/* Give a reserved extent back; deferred to the last drop while it is held. */
int daxpin_cancel(struct daxpin_pool *pool, struct daxpin_extent extent);

enum daxpin_op_type {
	DAXPIN_OP_KEEP = 1,		/* reserved -> live */
	DAXPIN_OP_RETIRE,		/* live -> free at the last drop */
	DAXPIN_OP_SET,			/* 8 aligned bytes of a live extent */
	DAXPIN_OP_ROOT,			/* a name for a live extent */
};

#define DAXPIN_OP_PERSISTED	0x1u	/* KEEP: the caller has made the payload
					   durable, or needs none of it: the call
					   writes nothing back but the extent's own
					   word. offset and length are 0 */
#define DAXPIN_OP_WRITERS	0x2u	/* KEEP: although it may be written still */

/* What a type does not use is 0. */
struct daxpin_op {
	uint32_t type;			/* enum daxpin_op_type */
	uint32_t flags;			/* DAXPIN_OP_... */
	struct daxpin_extent extent;	/* ROOT: {0, 0} takes the name away */
	uint64_t offset;		/* bytes in the extent; SET: 8-aligned */
	uint64_t length;		/* KEEP: [offset, offset + length) is made
					   durable; 0: from offset to the end */
	uint64_t value;			/* SET */
	const char *name;		/* ROOT */
	uint64_t reserved[2];
};

struct daxpin_publish_options {
	size_t size;			/* sizeof(struct daxpin_publish_options) */
	uint32_t flags;			/* must be 0 */
	char *errmsg;			/* on failure: a sentence that names the
					   operation, the cause and the cure; else
					   empty */
	size_t errmsg_size;
};

/*
 * Make `count` operations durable, all or none, also across a power cut; when it
 * returns 0 they are. A KEEP makes the payload durable before the extent. SET and
 * ROOT take an extent that is live or kept in the same call. One operation is one
 * aligned 8-byte store, one flush and one fence; more take three fences; payloads
 * and new names take one more. options may be NULL. On failure, and then alone,
 * *failed (may be NULL) is the index of the operation that could not be made, or
 * count where it is none of them by itself. Any thread.
 *
 * -EBUSY	another publish has an extent or a name; RETIRE of what a root names;
 *		KEEP while a write hold is out
 * -EALREADY	the extent was retired before
 * -EINVAL	wrong state, a field that is not used and not 0, or one word twice
 * -ENOENT	there is no such name to take away
 * -ENOSPC	all names are in use
 * -EAGAIN	SET in a segment whose gate is closed: DAXPIN_EVENT_RETRY follows
 * -E2BIG	more than DAXPIN_OPS_MAX
 * -EIO		the medium failed
 * -EROFS	the pool is open for reading
 * -ESTALE	the extent's life is over
 */
int daxpin_publish(struct daxpin_pool *pool, const struct daxpin_op *ops,
		   size_t count, const struct daxpin_publish_options *options,
		   size_t *failed);

/*
 * The handle of the extent with that name. -ENOENT: there is none; -ESTALE: it
 * names an extent that a repair took away. Any thread.
 */
int daxpin_root(struct daxpin_pool *pool, const char *name,
		struct daxpin_extent *ret_extent);

/*
 * Call fn for every name, in no order, with the handle of its extent: {0, 0} where a
 * repair took that away. Stops when fn returns non-zero, and returns that. fn may
 * call daxpin; `name` is good until it returns. Names that are published meanwhile
 * may or may not be seen. Any thread.
 */
int daxpin_roots(struct daxpin_pool *pool,
		 int (*fn)(struct daxpin_pool *pool, const char *name,
			   struct daxpin_extent extent, void *arg),
		 void *arg);

/*
 * The address of `offset` in the extent, for the CPU; NULL where the handle is
 * stale or offset is past its end. Good while the extent is yours or held.
 */
void *daxpin_ptr(struct daxpin_pool *pool, struct daxpin_extent extent,
		 uint64_t offset);

/*
 * Copy `length` bytes at `offset` of the extent to memory of yours. Where the
 * medium is bad this is -EIO, and a load by daxpin_ptr() is SIGBUS; what `to`
 * holds after a failure is undefined. -EINVAL: past the extent's end; -ESTALE:
 * its life ended, or ended meanwhile. Any thread.
 */
int daxpin_read(struct daxpin_pool *pool, struct daxpin_extent extent,
		uint64_t offset, uint64_t length, void *to);

/* The handle of the live extent at a pool address: -ENOENT where none begins. */
int daxpin_extent_at(struct daxpin_pool *pool, uint64_t addr,
		     struct daxpin_extent *ret_extent);

/* Size in bytes: what was asked for, rounded up to blocks. */
int daxpin_size(struct daxpin_pool *pool, struct daxpin_extent extent,
		uint64_t *ret_size);

/* The extent's state; -ESTALE once its life has ended. */
int daxpin_state(struct daxpin_pool *pool, struct daxpin_extent extent,
		 enum daxpin_state *ret_state);

/* Make a range of the extent durable: flush and fence (or msync). */
int daxpin_persist(struct daxpin_pool *pool, struct daxpin_extent extent,
		   uint64_t offset, uint64_t length);

/*
 * Call fn for every live extent in address order; it may retire the one it is
 * given. Stops when fn returns non-zero, and returns that. Extents published
 * or retired meanwhile may or may not be seen.
 */
int daxpin_foreach(struct daxpin_pool *pool,
		   int (*fn)(struct daxpin_pool *pool,
			     struct daxpin_extent extent, uint64_t size,
			     void *arg), void *arg);

/* ------------------------------------------------------------------ holds */

#define DAXPIN_HOLD_READ	0x1u	/* the device reads the memory */
#define DAXPIN_HOLD_WRITE	0x2u	/* the device may write it */
#define DAXPIN_HOLD_EXCLUSIVE	0x4u	/* with either: and nothing else holds it */

/*
 * Hold an extent: until the drop its blocks are not used for anything else, whatever
 * becomes of the extent. Never sleeps or allocates, and locks only when it has
 * to back out. Any thread; another thread may make the drop.
 *
 * With DAXPIN_HOLD_EXCLUSIVE the extent must not be held or be published by another
 * call, and until the drop every other hold and clone of it, a SET in it and its KEEP
 * are -EBUSY. It is for who replaces the bytes as a whole, from a copy for example.
 * Stores of the CPU's are not seen, and a RETIRE, which changes no byte, is allowed.
 *
 * -ESTALE     its life is over
 * -EALREADY   it is retired
 * -EBUSY      it is held exclusively; or EXCLUSIVE, and it is held or being published
 * -EAGAIN     its segment is being closed or punched; DAXPIN_EVENT_RETRY follows
 * -EOVERFLOW  DAXPIN_HOLDS_MAX holds are out
 * -EROFS      a write hold on a read-only pool
 */
int daxpin_hold(struct daxpin_pool *pool, struct daxpin_extent extent,
		uint32_t access);

/*
 * Hold the live extent that begins at a pool address, and return its handle: one
 * step, for a reader that found the address and has no handle. No lock and no sleep.
 *
 * So 8 bytes are all that an index needs for an extent. Writers change the index word
 * by a SET in the same publish that keeps the new extent and retires the old one. A
 * reader loads the word, holds what is at that address, and loads the word again: if
 * it is the same, the extent is the one that the index means, and stays so until the
 * drop; if not, it drops and begins anew, as after -ENOENT, which then is a publish
 * under way.
 *
 * -ENOENT	no live extent begins there: it was retired, or is being published
 * Others as daxpin_hold().
 */
int daxpin_hold_at(struct daxpin_pool *pool, uint64_t addr, uint32_t access,
		   struct daxpin_extent *ret_extent);

/* One more hold for whoever has one already: works on retired extents too,
 * and while holds are refused. The caller must have a hold, and not an exclusive one:
 * -EBUSY. */
int daxpin_hold_clone(struct daxpin_pool *pool, struct daxpin_extent extent,
		      uint32_t access);

/*
 * End a hold. The last one frees a retired extent. -EINVAL: none was out. Drop each
 * hold once: a drop too many ends a hold of somebody else, which may be a labelled
 * one or an adapter's, and memory is reused while DMA reaches it. That cannot be
 * detected here; the owner of that hold gets -EINVAL or -ESTALE at its own drop.
 */
int daxpin_drop(struct daxpin_pool *pool, struct daxpin_extent extent);

/*
 * Hold `count` extents, all or none, with the errors of daxpin_hold(): then
 * what was held is dropped again, and *failed (may be NULL) is the index of the
 * one that cannot be held, or count where it is none of them. An extent that is
 * there n times is held n times; entries next to each other that are alike are
 * one step. *failed is written on failure alone. Any thread.
 */
int daxpin_hold_many(struct daxpin_pool *pool,
		     const struct daxpin_extent *extents, size_t count,
		     uint32_t access, size_t *failed);

/*
 * daxpin_drop() of each of `count` entries, whatever becomes of the others: a
 * drop is never lost. Alike entries next to each other go in one step, and wake
 * once. An error is that of the first entry that could not be dropped, *failed
 * (may be NULL) its index, as above. Any thread.
 */
int daxpin_drop_many(struct daxpin_pool *pool,
		     const struct daxpin_extent *extents, size_t count,
		     size_t *failed);

/* A hold with a name on it. Caller-owned, zeroed; fields are the library's, and
 * extent and bytes may be read while it is held. */
struct daxpin_hold {
	struct daxpin_extent extent;
	uint64_t bytes;			/* the extent's size */
	uint64_t since_ns;
	uint32_t access;		/* 0: not held */
	uint32_t shard;
	struct daxpin_hold *next;
	struct daxpin_hold **prev;
	const char *label;		/* the caller's */
	uint64_t reserved[2];
};

/*
 * daxpin_hold() that daxpin_holds() can show. The label stays where it is until the
 * drop, as *hold does. Takes a short lock. A drop by a copy of *hold, or the second
 * drop by two threads, is -EINVAL and changes nothing; but a copy must not be
 * passed when the structs around it may be freed, for the drop follows its links.
 */
int daxpin_hold_labelled(struct daxpin_pool *pool, struct daxpin_extent extent,
			 uint32_t access, const char *label,
			 struct daxpin_hold *hold);
int daxpin_drop_labelled(struct daxpin_pool *pool, struct daxpin_hold *hold);

/* One who holds an extent, or a segment (registrations: extent is {0, 0}). */
struct daxpin_holder {
	size_t size;			/* as of struct daxpin_wait */
	struct daxpin_extent extent;
	uint64_t age_ns;		/* 0: anonymous */
	uint32_t access;		/* 0: anonymous */
	uint32_t count;			/* 1, or the number of anonymous holds */
	const char *label;		/* NULL: anonymous */
	uint32_t segment;		/* or DAXPIN_ALL_SEGMENTS */
};

/*
 * Call fn for everyone who holds the extent: labelled holds, then one entry
 * for the anonymous ones, then registrations of its segment. Extent {0, 0}: all
 * extents of the pool in address order, then all registrations: what keeps it
 * from being closed. fn (may be NULL) must not call daxpin. Returns the number of
 * holds, registrations not counted, INT_MAX at most. Any thread; others go on
 * meanwhile.
 */
int daxpin_holds(struct daxpin_pool *pool, struct daxpin_extent extent,
		 void (*fn)(const struct daxpin_holder *holder, void *arg),
		 void *arg);

/* 1: nobody holds it, or its life is over. 0: held. */
int daxpin_idle(struct daxpin_pool *pool, struct daxpin_extent extent);

/* Wait until daxpin_idle(); -ETIMEDOUT at the deadline. */
int daxpin_wait_idle(struct daxpin_pool *pool, struct daxpin_extent extent,
		     uint64_t deadline_ns);

/* ----------------------------------------------------------------- events */

/* Caller-owned, zeroed; must live until its event came, unwatch, or close. */
struct daxpin_watch {
	struct daxpin_extent extent;
	void *arg;			/* yours */
	struct daxpin_watch *next;	/* the library's */
	struct daxpin_watch **prev;
	uint32_t state;
	uint64_t reserved[2];
};

enum daxpin_event_type {
	DAXPIN_EVENT_IDLE = 1,		/* a watched extent became idle */
	DAXPIN_EVENT_RETRY,		/* what was refused with -EAGAIN, or with
					   -ENOSPC for want of free space, may work.
					   One event for all refusals before it.
					   Another thread may take it before the
					   refused call returns: put on record
					   first who is to try again */
	DAXPIN_EVENT_JOB,		/* a reclaim or refill is over */
	DAXPIN_EVENT_REVOKE,		/* daxpin_registration_wanted() has one */
};

struct daxpin_event {
	uint32_t type;			/* enum daxpin_event_type */
	struct daxpin_watch *watch;	/* IDLE, else NULL */
	struct daxpin_job *job;		/* JOB */
	struct daxpin_registration *registration;	/* REVOKE; may be an adapter's,
							   as daxpin_uring_of() says:
							   then call its service */
	uint64_t reserved[2];		/* 0 */
};

/* Ask for one event when the extent is idle (at once where it is already).
 * -EINVAL, and *watch is unchanged: it is in use, also by another thread's call. */
int daxpin_watch(struct daxpin_pool *pool, struct daxpin_extent extent,
		 void *arg, struct daxpin_watch *watch);

/* Take a watch back; 1 when its event was still to come, else 0. */
int daxpin_unwatch(struct daxpin_pool *pool, struct daxpin_watch *watch);

/* An eventfd, readable after an armed event, and now and then while a job is
 * under way, for which daxpin_next_event() must then be called. Owned by the
 * pool. */
int daxpin_event_fd(struct daxpin_pool *pool);

/*
 * Ask for the fd to be written at the next event, once. Returns 1 when events
 * are waiting already: drain them instead of sleeping. Order for a consumer:
 * read the fd, arm, poll; then daxpin_next_event() until it returns 0.
 */
int daxpin_event_arm(struct daxpin_pool *pool);

/* Take one event: 1, or 0 when there is none. */
int daxpin_next_event(struct daxpin_pool *pool, struct daxpin_event *ret_event);

/* --------------------------------------- for adapters (rings, MRs, others) */

/* One segment: the unit of every registration. */
struct daxpin_segment {
	uint64_t addr;			/* pool address */
	uint64_t size;			/* bytes */
	void *base;			/* where it is mapped */
	uint64_t reserved[2];		/* 0 */
};

/* The segment with that index: -ENOENT past the last. */
int daxpin_segment(struct daxpin_pool *pool, uint32_t index,
		   struct daxpin_segment *ret_segment);

/*
 * The first segment's file, or the device, with its owner lock; and the anchor, a
 * socket that keeps all files of the pool open and locked. Every ring that does
 * I/O into the pool keeps both in its registered-file table from before its first
 * SQE, so that the locks live as long as the DMA, and who keeps them
 * can be named. Owned by the pool: never close, dup or unlock them, nor read from
 * the anchor. A descriptor, or a negative errno; any thread.
 *
 * -EOPNOTSUPP  (anchor) the pool is on a disk, where no DMA is allowed
 */
int daxpin_lock_fd(struct daxpin_pool *pool);
int daxpin_anchor_fd(struct daxpin_pool *pool);

#define DAXPIN_ALL_SEGMENTS	UINT32_MAX

/* Pins a segment only after daxpin_registration_pin(), and gives it back when
 * asked. Without: pins all that it covers, from now on until unregister. */
#define DAXPIN_REGISTRATION_BY_SEGMENT	0x1u

struct daxpin_registration_options {
	size_t size;			/* sizeof(struct ..._options) */
	uint32_t flags;			/* DAXPIN_REGISTRATION_... */
	const char *label;		/* shown by daxpin_holds(); copied */
	const char *rdma_device;	/* set: DMA through a verbs context of this
					   device can outlive the owner lock; the
					   name is for messages */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
	/*
	 * Needed with rdma_device, else NULL: makes (make is 1) or ends (0) one
	 * protection domain in that verbs context, in the calling thread, and
	 * returns 0 or a negative errno. The context's number is found by it, and
	 * is on media before the call returns. Called a few times at most.
	 */
	int (*rdma_domain)(int make, void *arg);
	void *rdma_arg;			/* passed to rdma_domain */
	const void *maker;		/* for daxpin_registration_arg(); or NULL */
	void *maker_arg;
};

/*
 * Announce a long-lived pin on one segment, or on all. The pool is not closed
 * while it exists. Any thread.
 *
 * -EOPNOTSUPP  the pool is on a disk, where page-cache pages under DMA lose their
 *              dirty state
 * -EAGAIN      without BY_SEGMENT: the kernel is punching or filling a part of what
 *              is registered; DAXPIN_EVENT_RETRY follows
 */
int daxpin_register(struct daxpin_pool *pool, uint32_t segment,
		    const struct daxpin_registration_options *options,
		    struct daxpin_registration **ret_registration);

/*
 * The pin is gone: the hardware can no longer reach the segment. After 0 the handle
 * is gone, after anything else it is not. For this and the next three: a registration
 * belongs to whoever made it. An adapter's, as an event
 * may name it, is not for the caller: its service call or detach returns -EINVAL
 * for a pin that others took or gave back; after an unregister it uses freed memory.
 */
int daxpin_unregister(struct daxpin_registration *registration);

/*
 * Of a registration BY_SEGMENT. A segment with holes must not be pinned: on
 * tmpfs that would fill them in again; and a pinned one must not be
 * punched: the pin would keep pages that are no longer the file's.
 * So ask before pinning. Any thread.
 *
 * -EAGAIN	a job works on the segment or waits for it: DAXPIN_EVENT_RETRY follows
 * -ENOSPC	it has holes, which only daxpin_refill() fills: DAXPIN_EVENT_RETRY
 *		follows when it has
 * -EALREADY	pinned already
 * -EINVAL	no such segment, or one that the registration does not cover
 */
int daxpin_registration_pin(struct daxpin_registration *registration,
			    uint32_t segment);

/*
 * The first segment, from *segment on, whose pin is wanted back: 1, or 0 when
 * there is none. Told of by DAXPIN_EVENT_REVOKE; adapters ask in their service
 * call. Any thread.
 */
int daxpin_registration_wanted(struct daxpin_registration *registration,
			       uint32_t *segment);

/*
 * The maker_arg of a registration that was made with this `maker`, else NULL. An
 * adapter passes the address of something of its own as maker, and so tells its
 * registrations, which an event may name, from those of others. Any thread.
 */
void *daxpin_registration_arg(const struct daxpin_registration *registration,
			      const void *maker);

/* The pin on the segment is gone, asked for or not: no hardware can reach it
 * through this registration. -EINVAL: it was not pinned. Any thread. */
int daxpin_registration_revoked(struct daxpin_registration *registration,
				uint32_t segment);

/* ------------------------------------------------------ giving space back */

#define DAXPIN_JOB_BLOCKING	0x1u	/* where io_uring is forbidden: do it in
					   this call, which then cannot be
					   cancelled while the kernel waits */
#define DAXPIN_JOB_ZERO		0x2u	/* reclaim on device-dax: zero free space */

struct daxpin_job_options {
	size_t size;			/* sizeof(struct daxpin_job_options) */
	uint32_t flags;			/* DAXPIN_JOB_... */
	uint32_t segment;		/* or DAXPIN_ALL_SEGMENTS */
	uint64_t bytes;			/* at most, in chunks of 2 MiB; 0: all */
	uint64_t keep_bytes;		/* reclaim: so much stays free and backed */
	uint64_t deadline_ns;		/* for holds, revokes and foreign pins */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
};

/*
 * Give free space back to the filesystem: whole free chunks become holes, which
 * reserve does not hand out. Asynchronous: the job's segments are done side by
 * side, none is punched while anything in it is held, while a registration has
 * it pinned, or while anybody at all has a page of its file pinned (fsdax: the
 * kernel waits for that). While the kernel works on a segment, holds in it are
 * refused with -EAGAIN. At the deadline what is still waiting is given up, with
 * nothing lost; a punch is given a second at least. The calling thread may end.
 *
 * options NULL: everything, with no waiting for holds. On device-dax there is
 * nothing to give back: ZERO zeroes the free chunks, before this call returns;
 * without it -EOPNOTSUPP. -ENOSYS: io_uring is forbidden here and BLOCKING not
 * set; -EROFS; -ENOENT: no such segment. Any thread.
 */
int daxpin_reclaim(struct daxpin_pool *pool,
		   const struct daxpin_job_options *options,
		   struct daxpin_job **ret_job);

/* The way back: holes get backing store and become free space. The same rules;
 * -EOPNOTSUPP on device-dax, which has no holes. */
int daxpin_refill(struct daxpin_pool *pool,
		  const struct daxpin_job_options *options,
		  struct daxpin_job **ret_job);

/* Wait until the job is over: 0, or -ETIMEDOUT. */
int daxpin_job_wait(struct daxpin_job *job, uint64_t deadline_ns);

/* Give up what is not done. The job is over soon, not yet when this returns. */
int daxpin_job_cancel(struct daxpin_job *job);

/* What became of one segment. */
struct daxpin_job_part {
	size_t size;			/* as of struct daxpin_wait */
	uint32_t segment;
	int result;			/* 0: all that was to be done; -EINPROGRESS;
					   -EBUSY: held or registered, by `holder`;
					   -ETIMEDOUT: pinned by somebody unknown;
					   -ECANCELED; -ENOSPC: the filesystem is
					   full; else what the kernel said */
	uint64_t done_bytes;
	uint64_t left_bytes;		/* were to be done, and were not */
	const struct daxpin_holder *holder;	/* NULL: nobody */
};

struct daxpin_job_summary {
	size_t size;			/* sizeof(struct daxpin_job_summary) */
	int result;			/* the first that is not 0, of the parts */
	uint32_t segments;		/* where there was something to do */
	uint64_t done_bytes;
	uint64_t left_bytes;
};

/* Call fn (may be NULL) for each segment where there was something to do. fn
 * must not call daxpin. Also while the job is under way. */
int daxpin_job_report(struct daxpin_job *job,
		      void (*fn)(const struct daxpin_job_part *part, void *arg),
		      void *arg, struct daxpin_job_summary *ret_summary);

/* Free a job that is over: -EBUSY while it is not. Its event is taken back. After 0
 * the handle is gone, after anything else it is not. NULL is fine. */
int daxpin_job_end(struct daxpin_job *job);

/*
 * What a negative errno of any call means, as daxpin(7) has it: a sentence without
 * a full stop. Where an errno is not daxpin's own, the system's word for it. Static
 * text, never NULL; any thread.
 */
const char *daxpin_strerror(int error);

/*
 * For adapters: pass a sentence, without a newline, to the log function that the pool
 * was opened with; none: nothing is done. Any thread.
 */
void daxpin_log(struct daxpin_pool *pool, const char *message);

/* The version of this header, as a number and as a string: compare with < and >. */
#define DAXPIN_VERSION_NUM	0x000100u	/* major << 16 | minor << 8 | patch */

/* The version of the library, such as "0.1.0". */
const char *daxpin_version(void);

#ifdef __cplusplus
}
#endif
#endif
