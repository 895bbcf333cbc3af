/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin for RDMA: memory regions over a pool, and revocable grants to remote
 * peers. Uses daxpin.h only.
 *
 * The target's CPU does not see one-sided RDMA, so the end of remote access
 * cannot be counted; it must be enforced. A grant is a memory region over
 * exactly one extent, and a revoke deregisters it, which is a barrier. A peer
 * that writes afterwards gets a remote access error, and its queue pair moves
 * to the error state: use one queue pair for each peer.
 *
 * Any thread may call these functions, unless a comment says otherwise.
 */
#ifndef DAXPIN_RDMA_H
#define DAXPIN_RDMA_H

#include <daxpin.h>
#include <infiniband/verbs.h>

#ifdef __cplusplus
extern "C" {
#endif

struct daxpin_rdma;
struct daxpin_grant;

/* --------------------------------------------- what a device really does */

enum daxpin_rdma_verdict {
	DAXPIN_RDMA_UNTRIED,
	DAXPIN_RDMA_WORKS,		/* everything that was tried worked */
	DAXPIN_RDMA_NONE,		/* the device has none, or refused */
	DAXPIN_RDMA_WRONG,		/* it did what it must not do */
	DAXPIN_RDMA_UNKNOWN,		/* the trial could not be made */
};

#define DAXPIN_RDMA_WHAT_MAX	320u	/* bytes with the final NUL */

struct daxpin_rdma_finding {
	uint32_t verdict;		/* enum daxpin_rdma_verdict */
	int32_t error;			/* NONE, UNKNOWN: -errno, or 0 */
	char what[DAXPIN_RDMA_WHAT_MAX];	/* without a full stop */
};

struct daxpin_rdma_report {
	size_t size;			/* sizeof(struct daxpin_rdma_report) */
	struct daxpin_rdma_finding pinned;	/* regions */
	struct daxpin_rdma_finding odp;		/* on-demand regions */
	struct daxpin_rdma_finding window2;	/* memory windows of type 2 */
	struct daxpin_rdma_finding window1;	/* memory windows of type 1 */
};

#define DAXPIN_RDMA_TRY_PINNED	0x1u
#define DAXPIN_RDMA_TRY_ODP	0x2u
#define DAXPIN_RDMA_TRY_WINDOWS	0x4u	/* on memory of its own */

#define DAXPIN_RDMA_TRY_BYTES	65536u

/*
 * Try what a device does, on two queue pairs in pd that are created, connected
 * with each other, and destroyed. Blocks for about a second, at most 30. Regions
 * are tried on `memory`, which begins at a page and whose first
 * DAXPIN_RDMA_TRY_BYTES are overwritten; it may be NULL if no region is tried,
 * and must not belong to a pool. Set ret_report->size first. Returns 0 even if
 * something does not work; the report has the results.
 *
 * -EINVAL	an unknown bit in tries; memory is too small or does not begin
 *		at a page; an argument is NULL
 * -ENOMEM	out of memory, or more than RLIMIT_MEMLOCK allows
 * Others are the device's: ENETDOWN if none of its ports is up, and those of the
 * verbs that create and destroy queue pairs and regions.
 */
int daxpin_rdma_probe(struct ibv_pd *pd, void *memory, size_t length,
		      uint32_t tries, struct daxpin_rdma_report *ret_report);

/* ---------------------------------------------------------- attach, detach */

#define DAXPIN_RDMA_BOUNCE	0x1u	/* on a DAX filesystem: use copies if
					   on-demand regions are unreliable */
#define DAXPIN_RDMA_TRY		0x2u	/* try memory windows and report the result */
#define DAXPIN_RDMA_WINDOWS	0x4u	/* try memory windows, and use those
					   that work; not on a DAX filesystem */
#define DAXPIN_RDMA_NO_REGIONS	0x8u	/* the program registers no memory of
					   the pool in this domain itself */

/*
 * run() is the executor, which ends grants whose revoke must not block the
 * caller. It calls fn(arg) once, in a thread that may block, possibly before it
 * returns, and returns 0. If it returns anything else fn must not be called;
 * daxpin_rdma_service() offers the grant again. Until fn is called a
 * daxpin_rdma_revoke() can take the grant over, and fn then does nothing. fn
 * cannot be cancelled. A second call of fn(arg) ends the process by an
 * assertion. Without run(), daxpin_rdma_service() calls fn. run and executor
 * must exist until the detach.
 */
struct daxpin_rdma_options {
	size_t size;			/* sizeof(struct daxpin_rdma_options) */
	uint32_t flags;			/* DAXPIN_RDMA_BOUNCE and others */
	const char *label;		/* reported by daxpin_holds(); copied */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
	int (*run)(void (*fn)(void *arg), void *arg, void *executor);
	void *executor;			/* passed to run */
};

/* How grants give access to the memory. */
enum daxpin_rdma_mode {
	DAXPIN_RDMA_UNDECIDED,		/* fsdax: the trial could not be made yet */
	DAXPIN_RDMA_PINNED,		/* device-dax, shmem */
	DAXPIN_RDMA_ON_DEMAND,		/* fsdax: it works on this device */
	DAXPIN_RDMA_BOUNCED,		/* fsdax: by a copy */
};

struct daxpin_rdma_info {
	size_t size;			/* sizeof(struct daxpin_rdma_info) */
	uint32_t local_mrs;		/* segments registered for local keys */
	uint32_t grants;		/* existing */
	uint32_t quarantined;		/* of these: the device refused to end them */
	uint32_t pending;		/* of these: asked back, or being ended */
	uint64_t next_deadline_ns;	/* when to call daxpin_rdma_service();
					   0: not needed */
	uint32_t mode;			/* enum daxpin_rdma_mode */
	uint32_t bounced;		/* existing grants that are copies */
	uint64_t bounced_bytes;		/* memory of these copies */
	/* Since the attach: */
	uint64_t granted;
	uint64_t ended;			/* grants, confirmed by the device */
	uint64_t returned;		/* grants that their peers returned */
	uint64_t expired;		/* grants asked back, not returned in time */
	uint64_t refusals;		/* failed attempts of the device */
	uint64_t queue_pairs_stopped;	/* moved to the error state, to end
					   grants */
	uint64_t bounce_errors;		/* copies not written back, or not known to
					   be durable: daxpin_persist() returns
					   the reason */
	uint64_t prefetched;		/* on-demand grants, pages prefetched */
	uint64_t prefetch_refused;	/* on-demand grants, pages fault in at the
					   peer's first access */
	uint64_t windows_refused;	/* grants by a region, because a window
					   could not be made or bound */
	uint32_t windows;		/* existing grants by window */
	uint32_t reserved;		/* 0 */
	uint64_t executor_refusals;	/* times that run() refused */
};

/*
 * Attach a protection domain. Its verbs context is recorded on media before the
 * call returns, so that a successor waits for it.
 *
 * The attach itself pins nothing. The library cannot detect regions that the
 * program makes itself over the pool in this domain. So all segments count as
 * pinned until the detach, and none is reclaimed, unless DAXPIN_RDMA_NO_REGIONS
 * is set. The program must deregister its own regions before the detach.
 *
 * On a DAX filesystem, which refuses long-term pins, on-demand regions are
 * tried first. If they do not work, grants are copies with DAXPIN_RDMA_BOUNCE.
 * If the trial cannot be made, the attach succeeds and the next grant tries
 * again; until then grants are copies, or fail with the errno of the trial.
 * daxpin_rdma_report() has the findings.
 *
 * rdma belongs to the library until the detach; pd and its context must exist
 * until then, and the pool cannot be closed before. options may be NULL, and is
 * copied.
 *
 * -E2BIG	options has a tail that is not zero and that this library does
 *		not know
 * -EAGAIN	the kernel is punching or filling a part of the pool, and
 *		DAXPIN_RDMA_NO_REGIONS is not set
 * -EINVAL	an argument is NULL; an unknown flag; the device's context
 *		belongs to another process
 * -EIO		the record cannot be written
 * -ENOSPC	20 other verbs contexts are attached
 * -EOPNOTSUPP	the pool is on a disk; it is on a DAX filesystem, the device's
 *		on-demand regions do not work, and DAXPIN_RDMA_BOUNCE is not set
 * -EROFS	the pool is open for reading
 */
int daxpin_rdma_attach(struct daxpin_pool *pool, struct ibv_pd *pd,
		       const struct daxpin_rdma_options *options,
		       struct daxpin_rdma **ret_rdma);

/*
 * Describe the attachment. Set ret_info->size first. The figures are snapshots.
 *
 * -EINVAL	an argument is NULL
 * -ESTALE	rdma was detached
 */
int daxpin_rdma_info(struct daxpin_rdma *rdma,
		     struct daxpin_rdma_info *ret_info);

/*
 * Store the findings about the device, of the attach or of a later trial that a
 * grant has repeated. Set ret_report->size first.
 * Errors as daxpin_rdma_info().
 */
int daxpin_rdma_report(struct daxpin_rdma *rdma,
		       struct daxpin_rdma_report *ret_report);

/*
 * Store the local key for the segment of a pool address. The first call for a
 * segment registers it, which may block; later calls are one load. A local key
 * gives no remote access. Take a hold before getting the key, because
 * daxpin_rdma_service() may end it, and keep the hold until the completion.
 *
 * -EAGAIN	the segment is being reclaimed or refilled, or a job waits for it
 * -EINVAL	an argument is NULL
 * -ENOENT	addr is past the pool's end
 * -ENOMEM	out of memory, or more than RLIMIT_MEMLOCK allows
 * -ENOSPC	the segment has holes, which daxpin_refill() fills
 * -EOPNOTSUPP	the pool is on a DAX filesystem
 * -ESTALE	rdma was detached
 * Others as ibv_reg_mr().
 */
int daxpin_rdma_lkey(struct daxpin_rdma *rdma, uint64_t addr,
		     uint32_t *ret_lkey);

/*
 * Pass the grants whose deadline has passed to the executor; without one, end all
 * grants that must be ended, in this call. Then deregister the local keys of segments
 * that a reclaim needs; the next daxpin_rdma_lkey() registers them again. Blocks in
 * ibv_dereg_mr(). Call it after a DAXPIN_EVENT_REVOKE; otherwise no segment with a
 * local key can be reclaimed. No key is ended while anything in its segment is held.
 *
 * One failure does not prevent the rest; the first -errno is returned. Not
 * concurrently with daxpin_rdma_detach().
 *
 * -EINVAL	rdma is NULL; the program changed a pin of the adapter's
 *		registration; an excess daxpin_drop() had ended the hold of a
 *		grant, which has ended
 * -ESTALE	rdma was detached
 * Others as ibv_dereg_mr().
 */
int daxpin_rdma_service(struct daxpin_rdma *rdma);

/*
 * Fill in an entry for a work request from a range of an extent, in bytes: address,
 * length and local key. The caller must hold the extent until the completion.
 *
 * -EINVAL	the extent is not held; length is 0, is 4 GiB or more, or is past
 *		the extent's end
 * -ESTALE	the extent's generation has ended
 * Others as daxpin_rdma_lkey().
 */
int daxpin_rdma_sge(struct daxpin_rdma *rdma, struct daxpin_extent extent,
		    uint64_t offset, uint64_t length, struct ibv_sge *ret_sge);

#define DAXPIN_GRANT_ZERO	0x1u	/* zero it first: for reserved extents
					   without other holds */
#define DAXPIN_GRANT_EXPOSE	0x2u	/* let the peer read the present bytes */

#define DAXPIN_KEY_BOUNCED	0x80000000u	/* a copy: what the peer writes
						   reaches the pool at the revoke */

/* In a grant's access: the peer may FLUSH. These are two bits of the verbs, which
 * older headers do not name. A device may refuse them for memory that is not
 * persistent. */
#define DAXPIN_ACCESS_FLUSH	0x300u

/* What the peer needs; daxpin_grant_export() makes a message of it. */
struct daxpin_grant_key {
	uint64_t addr;			/* remote address for work requests */
	uint64_t length;		/* bytes */
	uint32_t rkey;
	uint32_t access;		/* IBV_ACCESS_REMOTE_..., DAXPIN_ACCESS_FLUSH,
					   DAXPIN_KEY_BOUNCED */
	struct daxpin_extent extent;	/* to name it in messages */
	unsigned char uuid[16];		/* of the pool */
	uint64_t id;			/* of the grant: see daxpin_rdma_returned() */
	uint64_t offset;		/* in the extent, of the first byte */
	uint64_t reserved[2];		/* 0 */
};

struct daxpin_grant_options {
	size_t size;			/* sizeof(struct daxpin_grant_options) */
	uint32_t flags;			/* DAXPIN_GRANT_... */
	int access;			/* IBV_ACCESS_REMOTE_READ, _WRITE, _ATOMIC;
					   DAXPIN_ACCESS_FLUSH */
	const char *label;		/* the peer, for daxpin_holds(); copied */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
	struct ibv_qp *qp;		/* the peer's, or NULL; see
					   daxpin_grant_qp() */
	uint64_t bind_wr_id;		/* see daxpin_grant_bound() */
	/* For daxpin_rdma_revoke_start(), all optional: */
	void (*ask_back)(void *arg, const struct daxpin_grant_key *key);
	void (*done)(void *arg, int result);
	void *arg;
	uint64_t offset, length;	/* of a part of the extent; length 0: to
					   the end */
};

/*
 * Give a peer remote access to exactly this extent, or to the part of it that
 * offset and length name, in bytes. options must not be NULL, and is copied.
 * Takes a hold until the grant has ended, and blocks while the region is
 * registered.
 *
 *  - A grant of reads or atomics on a reserved extent would reveal the previous
 *    owner's bytes: it needs ZERO or EXPOSE.
 *  - A key works on every queue pair of the protection domain. If peers must
 *    not use each other's keys, use one domain for each.
 *  - A bounced grant (see enum daxpin_rdma_mode) is a copy, which takes as much
 *    memory. The revoke writes it back and makes it durable; a crash before that
 *    loses it. A bounced grant that can write has a DAXPIN_HOLD_EXCLUSIVE hold,
 *    and the CPU must not write to the extent meanwhile.
 *  - With DAXPIN_RDMA_WINDOWS, a grant of reads and writes only is a memory window
 *    over the region of the segment's local key, if a trial showed that the
 *    device's windows work. With qp it has type 2 and is bound by a request on qp,
 *    which must be ready to send and be destroyed only after the revoke; see
 *    daxpin_grant_bound(). Otherwise it has type 1. If neither type is available
 *    the grant is a region. daxpin_grant_info() reports which of them it is.
 *
 * -E2BIG	options has a tail that is not zero and that this library does
 *		not know
 * -EBUSY	the extent is held exclusively; with DAXPIN_GRANT_ZERO, or if the
 *		grant is bounced and can write, the extent is held or being
 *		published
 * -EINVAL	an argument is NULL; an unknown flag; access that is none, or that
 *		is not allowed; a range that is not in the extent;
 *		DAXPIN_GRANT_ZERO of a published extent; qp is of another
 *		protection domain; an excess daxpin_drop() ended the grant's hold
 * -EPERM	the peer could read the previous owner's bytes
 * Others as daxpin_hold() and ibv_reg_mr().
 */
int daxpin_rdma_grant(struct daxpin_rdma *rdma, struct daxpin_extent extent,
		      const struct daxpin_grant_options *options,
		      struct daxpin_grant **ret_grant);

/*
 * Store what the peer needs. Always succeeds while the library remembers the
 * grant (see daxpin_grant_info()). Neither pointer may be NULL.
 */
void daxpin_grant_key(const struct daxpin_grant *grant,
		      struct daxpin_grant_key *ret_key);

#define DAXPIN_GRANT_DESCRIPTOR_SIZE	96

/*
 * Write the key as DAXPIN_GRANT_DESCRIPTOR_SIZE bytes that any machine can read,
 * with a checksum (docs/format.md), and return that number.
 *
 * -EINVAL	an argument is NULL; size is too small
 * -ESTALE	the grant has ended
 */
int daxpin_grant_export(const struct daxpin_grant *grant, void *buf,
			size_t size);

/*
 * Decode such bytes, at the peer. Needs neither a pool nor a device. More bytes
 * may follow them.
 *
 * -EBADMSG	the bytes are damaged
 * -EINVAL	an argument is NULL; the bytes are too few, are no descriptor, or
 *		describe a grant that cannot exist
 * -EPROTONOSUPPORT  written by a newer daxpin
 */
int daxpin_grant_import(const void *buf, size_t size,
			struct daxpin_grant_key *ret_key);

/*
 * End a grant in this thread and free it. Blocks in ibv_dereg_mr(). When it
 * returns 0 no further byte of the peer can arrive, and the hold is dropped. 0
 * also for a grant that has already ended. NULL is allowed.
 *
 * A temporary failure of the device (EINTR, EAGAIN, EBUSY) is retried for an
 * eighth of a second. If it refuses, the grant's queue pair is moved to the
 * error state and the device is tried for half a second more. If it still
 * refuses, its -errno is returned and the extent is quarantined: grant and hold
 * remain, and the pool cannot be closed. Further calls try again.
 *
 * A grant that waits for the executor is taken over, and done() is not called.
 * If another thread is in ask_back() of this grant, the call waits for it.
 *
 * After -EINVAL call daxpin_grant_info(). If that fails with -ESTALE the grant has
 * ended, as below. Otherwise the device refused with this errno, and the grant
 * remains.
 *
 * -EALREADY	the grant is already being ended
 * -EINPROGRESS	the bind of the grant's window may still execute, and there is no
 *		queue pair to move to the error state, or that failed; see
 *		daxpin_grant_bound()
 * -EINVAL	the grant has ended, but an excess daxpin_drop() had ended its
 *		hold, and the peer may have written to the blocks after their
 *		reuse
 * Others as ibv_dereg_mr().
 */
int daxpin_rdma_revoke(struct daxpin_grant *grant);

/*
 * End a grant without blocking. If the deadline has not passed, ask_back() is
 * called before this function returns, and sends the peer a message. The peer has
 * until the deadline to reply; report its reply by daxpin_rdma_returned() or
 * daxpin_grant_returned(). The grant is ended in the executor: after the reply, at
 * the deadline, which daxpin_rdma_service() checks, or immediately if the deadline
 * has passed. done() is called with the result; after 0 the grant is freed. A
 * second call changes the deadline and does not call ask_back() again. If
 * daxpin_rdma_revoke() is called meanwhile it ends the grant, and done() is not
 * called. Returns 0, without a callback, for a grant that has already ended.
 *
 * Callbacks are called without a lock, in any thread, and those of one grant
 * never overlap: ask_back() at most once, and before done(); none after done()
 * with result 0. deadline_ns is in nanoseconds of CLOCK_MONOTONIC.
 *
 * -EALREADY	the grant is already being ended
 * -EINVAL	grant is NULL
 */
int daxpin_rdma_revoke_start(struct daxpin_grant *grant, uint64_t deadline_ns);

/*
 * The peer has returned a grant, asked or not: end it in the executor. The grant
 * is the one with the id, extent and uuid of key, which is what the peer sent
 * back (see daxpin_grant_import()), so a late reply ends no other grant.
 *
 * -EALREADY	the grant is already being ended
 * -EINVAL	an argument is NULL
 * -ESTALE	there is no such grant, because it has ended or is of another
 *		open of the pool; rdma was detached
 */
int daxpin_rdma_returned(struct daxpin_rdma *rdma,
			 const struct daxpin_grant_key *key);

/*
 * The same for programs that know by other means which grant is returned.
 *
 * -EALREADY	the grant is already being ended
 * -EINVAL	grant is NULL
 * -ESTALE	the grant has ended
 */
int daxpin_grant_returned(struct daxpin_grant *grant);

/*
 * Replace the queue pair that is moved to the error state if the device refuses
 * to end the grant by another one, or by NULL. Call this before destroying the
 * queue pair; after the call has returned, the library does not use it any more.
 *
 * -EINVAL	grant is NULL; qp is of another protection domain
 * -ESTALE	the grant has ended, and qp is not NULL
 */
int daxpin_grant_qp(struct daxpin_grant *grant, struct ibv_qp *qp);

/*
 * Report that the bind of a window of type 2 has completed. wc is its completion,
 * whose wr_id is the bind_wr_id of the grant's options, or a later one of qp's
 * send queue. Requests that are posted after the bind execute after it, so the
 * key may be sent on qp immediately. But a window is not freed while its bind may
 * still execute, so a revoke before this call moves qp to the error state.
 *
 * -EINVAL	an argument is NULL; the grant has no window of type 2
 * -EIO		the bind failed, and qp is in the error state, so revoke the
 *		grant
 * -ESTALE	the grant has ended
 */
int daxpin_grant_bound(struct daxpin_grant *grant, const struct ibv_wc *wc);

enum daxpin_grant_state {
	DAXPIN_GRANT_STATE_GRANTED = 1,	/* the peer may use it */
	DAXPIN_GRANT_STATE_ASKED,	/* asked back, the grace has not ended */
	DAXPIN_GRANT_STATE_QUEUED,	/* waits for the executor or service */
	DAXPIN_GRANT_STATE_ENDING,	/* a thread is ending it */
	DAXPIN_GRANT_STATE_QUARANTINED,	/* the device refused */
};

/* The last step of the escalation. */
enum daxpin_grant_escalation {
	DAXPIN_GRANT_ESCALATION_NONE,
	DAXPIN_GRANT_ESCALATION_DEREGISTER,	/* refused once */
	DAXPIN_GRANT_ESCALATION_QUEUE_PAIR,	/* its queue pair was stopped */
	DAXPIN_GRANT_ESCALATION_QUARANTINE,	/* until the device agrees */
};

/* The kind of access. */
enum daxpin_grant_via {
	DAXPIN_GRANT_VIA_MR = 1,	/* a memory region of its own */
	DAXPIN_GRANT_VIA_MW2,		/* a memory window of type 2 */
	DAXPIN_GRANT_VIA_MW1,		/* a memory window of type 1 */
};

struct daxpin_grant_info {
	size_t size;			/* sizeof(struct daxpin_grant_info) */
	uint32_t state;			/* enum daxpin_grant_state */
	uint32_t escalation;		/* enum daxpin_grant_escalation */
	uint64_t refusals;		/* failed attempts of the device */
	uint64_t deadline_ns;		/* ASKED: the deadline of the peer's reply */
	int device_error;		/* of the last attempt: 0 or -errno */
	int qp_error;			/* of moving qp to the error state */
	uint32_t via;			/* enum daxpin_grant_via */
};

/*
 * Describe one grant. Set ret_info->size first. The library remembers the last 1024
 * grants of an attachment that have ended; an older handle is like a freed pointer.
 *
 * -EINVAL	an argument is NULL
 * -ESTALE	the grant has ended
 */
int daxpin_grant_info(struct daxpin_grant *grant,
		      struct daxpin_grant_info *ret_info);

/* ------------------------------------------------------------- durability */

/*
 * For the target, when a peer has written everything: revoke the grants, which
 * blocks; make their extents durable; then publish ops, in which each KEEP makes
 * its payload durable. The entry of a grant that has ended and whose extent is
 * durable, or has ended too, becomes NULL, and NULLs are skipped. If the device
 * does not end one grant, the others are ended nevertheless, but nothing is
 * published; call this again to do the rest.
 *
 * -E2BIG	more than DAXPIN_OPS_MAX operations
 * -EINVAL	a grant of another attachment; an array is NULL, and its count is
 *		not 0
 * -ESTALE	rdma was detached
 * Others as daxpin_rdma_revoke(), daxpin_persist() and daxpin_publish().
 */
int daxpin_rdma_publish(struct daxpin_rdma *rdma, struct daxpin_grant **grants,
			size_t grant_count, const struct daxpin_op *ops,
			size_t op_count);

/* The target's machine. The peer cannot query it, so an administrator must know it. */
enum daxpin_platform {
	DAXPIN_PLATFORM_UNKNOWN,
	DAXPIN_PLATFORM_ADR_NO_DDIO,	/* writes of devices bypass the caches,
					   to memory that ADR saves */
	DAXPIN_PLATFORM_EADR,		/* the caches are saved, too */
};

/* The request that was posted. */
enum daxpin_flush_method {
	DAXPIN_FLUSH_VERB = 1,		/* FLUSH: completes as IBV_WC_FLUSH */
	DAXPIN_FLUSH_READ,		/* a READ of the range's last byte */
};

struct daxpin_flush_options {
	size_t size;			/* sizeof(struct daxpin_flush_options) */
	uint32_t flags;			/* must be 0 */
	uint32_t platform;		/* enum daxpin_platform */
	uint64_t wr_id;			/* of the completion */
	struct ibv_sge sink;		/* READ: one byte of registered memory */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
};

/*
 * For the peer, which needs no pool: post a request after its writes. When that request
 * has completed successfully, all writes that were posted on qp before it to [offset,
 * offset + length) of the grant are durable. The request is a FLUSH if qp was created
 * for it and the grant allows it; otherwise, if platform makes that sufficient, a READ.
 * ret_method may be NULL. Threads as ibv_post_send().
 *
 * -E2BIG	options has a tail that is not zero and that this library does
 *		not know
 * -EINVAL	length is 0, or the range is not inside the grant; qp is NULL, or
 *		not reliable; key or options is NULL; an unknown flag or platform;
 *		a READ is necessary, and sink is empty
 * -EOPNOTSUPP	no FLUSH is available, and platform or the grant does not allow a
 *		READ; the grant is bounced
 * Others as ibv_post_send().
 */
int daxpin_rdma_flush(struct ibv_qp *qp, const struct daxpin_grant_key *key,
		      uint64_t offset, uint64_t length,
		      const struct daxpin_flush_options *options,
		      enum daxpin_flush_method *ret_method);

/*
 * Deregister the local keys and free rdma. NULL is allowed. Must not run
 * concurrently with another call on rdma or its grants. Later calls on them are
 * -ESTALE; the library remembers the last 64 attachments, and an older handle is
 * like a freed pointer.
 *
 * -EBUSY	there are grants
 * -ESTALE	rdma was detached
 * Others as ibv_dereg_mr(), if the device refuses; rdma remains valid.
 */
int daxpin_rdma_detach(struct daxpin_rdma *rdma);

#ifdef __cplusplus
}
#endif
#endif
