/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin for RDMA: memory regions over a pool, and grants to remote peers that
 * can be taken back. Written on daxpin.h alone.
 *
 * The CPU sees nothing of one-sided RDMA, so idleness of remote access is
 * made, never counted: a grant is a memory region of its own over exactly one
 * extent, and revoke deregisters it, which is the barrier. A peer
 * that writes after the revoke gets a remote access error and its queue pair
 * goes to error: use one queue pair per peer.
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
	DAXPIN_RDMA_WORKS,		/* seen to do what it should */
	DAXPIN_RDMA_NONE,		/* the device has none, or refuses it */
	DAXPIN_RDMA_WRONG,		/* seen to do something else */
	DAXPIN_RDMA_UNKNOWN,		/* could not be found out */
};

#define DAXPIN_RDMA_WHAT_MAX	320u	/* bytes with the final NUL */

struct daxpin_rdma_finding {
	uint32_t verdict;		/* enum daxpin_rdma_verdict */
	int32_t error;			/* NONE, UNKNOWN: -errno, or 0 */
	char what[DAXPIN_RDMA_WHAT_MAX];	/* in words, without a dot */
};

struct daxpin_rdma_report {
	size_t size;			/* sizeof(struct daxpin_rdma_report) */
	struct daxpin_rdma_finding pinned;	/* regions */
	struct daxpin_rdma_finding odp;		/* on-demand regions */
	struct daxpin_rdma_finding window2;	/* memory windows of type 2 */
	struct daxpin_rdma_finding window1;	/* and of type 1 */
};

#define DAXPIN_RDMA_TRY_PINNED	0x1u
#define DAXPIN_RDMA_TRY_ODP	0x2u
#define DAXPIN_RDMA_TRY_WINDOWS	0x4u	/* on memory of its own */

#define DAXPIN_RDMA_TRY_BYTES	65536u

/*
 * Try a device, on two queue pairs of its own in the protection domain that are
 * connected with each other: transfers that are compared byte by byte, windows
 * written through and past. Takes a second or so, 30 at most, and leaves
 * nothing behind. Regions are tried on `memory`: a multiple of a page, of which
 * the first DAXPIN_RDMA_TRY_BYTES are written over; else it may be NULL. Set
 * ret_report->size first. -EINVAL; -ENOMEM; what the device says when it has no
 * port that is up, makes no queue pair, or does not let go. Any thread.
 */
int daxpin_rdma_probe(struct ibv_pd *pd, void *memory, size_t length,
		      uint32_t tries, struct daxpin_rdma_report *ret_report);

/* ---------------------------------------------------------- attach, detach */

#define DAXPIN_RDMA_BOUNCE	0x1u	/* on a DAX filesystem: copy, where on-demand
					   regions are not to be relied on */
#define DAXPIN_RDMA_TRY		0x2u	/* try memory windows, for the report */
#define DAXPIN_RDMA_WINDOWS	0x4u	/* and grant by them, where they were seen to
					   work; not on a DAX filesystem */
#define DAXPIN_RDMA_NO_REGIONS	0x8u	/* the caller registers no memory of the pool
					   in this domain itself; see attach */

/*
 * Deregistering blocks, so a revoke that does not must run elsewhere: `run` has
 * fn(arg) called, once, in whatever thread, or before it returns, and returns 0. If
 * it returns anything else, fn must not be called; daxpin_rdma_service() offers the
 * grant to `run` again. Until fn is called, a daxpin_rdma_revoke() takes the grant
 * over, and fn, whenever it is called, does nothing. fn cannot be cancelled. Not set:
 * daxpin_rdma_service() calls fn. Both must live until the detach. A second call of
 * fn(arg) ends the process by an assertion: fn returns nothing, and what arg points
 * to may be freed by then.
 */
struct daxpin_rdma_options {
	size_t size;			/* sizeof(struct daxpin_rdma_options) */
	uint32_t flags;			/* DAXPIN_RDMA_BOUNCE, _TRY, _WINDOWS */
	const char *label;		/* shown by daxpin_holds(); copied */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
	int (*run)(void (*fn)(void *arg), void *arg, void *executor);
	void *executor;			/* yours */
};

/* How grants reach the memory. */
enum daxpin_rdma_way {
	DAXPIN_RDMA_UNDECIDED,		/* fsdax, and the trial could not be made yet */
	DAXPIN_RDMA_PINNED,		/* device-dax, shmem */
	DAXPIN_RDMA_ON_DEMAND,		/* fsdax, and the device was seen to do it */
	DAXPIN_RDMA_BOUNCED,		/* fsdax: by a copy */
};

struct daxpin_rdma_info {
	size_t size;			/* sizeof(struct daxpin_rdma_info) */
	uint32_t local_mrs;		/* segments registered for local keys */
	uint32_t grants;		/* out now */
	uint32_t quarantined;		/* of them, the device refused to end */
	uint32_t pending;		/* of them, asked back or to be ended */
	uint64_t next_deadline_ns;	/* call daxpin_rdma_service() then; 0: there
					   is nothing for it to do */
	uint32_t way;			/* enum daxpin_rdma_way */
	uint32_t bounced;		/* grants out that are bounced */
	uint64_t bounced_bytes;		/* and the memory that this takes */
	/* Since the attach: */
	uint64_t granted;
	uint64_t ended;			/* with the device's yes */
	uint64_t returned;		/* by their peers */
	uint64_t expired;		/* asked back, and the grace ran out */
	uint64_t refusals;		/* times that the device said no */
	uint64_t queue_pairs_stopped;	/* put to error for it */
	uint64_t bounce_errors;		/* copied home, not known to be durable:
					   daxpin_persist() tells why */
	uint64_t prefetched;		/* on-demand grants whose pages are there */
	uint64_t prefetch_refused;	/* or come with the first access */
	uint64_t windows_refused;	/* grants by a region for want of a window */
	uint32_t windows;		/* grants out that are by one */
	uint32_t reserved;		/* 0 */
	uint64_t executor_refusals;	/* times that run() refused */
};

/*
 * Attach a protection domain. The owner is recorded on media, so that a
 * successor waits for this process's verbs context. The library pins nothing yet; but
 * the caller may make regions of its own over the pool in this domain, by
 * ibv_reg_mr(), which the library cannot see. So all segments count as pinned until
 * the detach, and no reclaim punches any, unless DAXPIN_RDMA_NO_REGIONS says that
 * there are no such regions. Deregister them before the detach. On a
 * DAX filesystem, which takes no long-term pins, on-demand regions
 * are tried first, on free space of the pool or on a file without a name beside
 * it, as daxpin_rdma_probe() does; where they cannot be relied on, grants are bounced
 * with DAXPIN_RDMA_BOUNCE, without it -EOPNOTSUPP. If the trial cannot be made, for a
 * link that is down for example, the attach succeeds and the next grant tries again;
 * until then a grant is bounced, or without DAXPIN_RDMA_BOUNCE fails with the errno of
 * the trial. -EOPNOTSUPP: a disk directory. daxpin_rdma_report() has words.
 */
int daxpin_rdma_attach(struct daxpin_pool *pool, struct ibv_pd *pd,
		       const struct daxpin_rdma_options *options,
		       struct daxpin_rdma **ret_rdma);

int daxpin_rdma_info(struct daxpin_rdma *rdma,
		     struct daxpin_rdma_info *ret_info);

/* What the attach found out of the device, in words. Set ret_report->size. */
int daxpin_rdma_report(struct daxpin_rdma *rdma,
		       struct daxpin_rdma_report *ret_report);

/*
 * The local key for the segment of a pool address. The first call for a
 * segment registers it, which may block; later ones are one load. Local keys
 * give no remote access. Whoever posts a work request with it takes a hold, and
 * asks for the key under it: daxpin_rdma_service() may end a key.
 * -ENOENT: past the pool's end; -ENOMEM: RLIMIT_MEMLOCK; -EAGAIN: the segment
 * is being reclaimed or refilled; -ENOSPC: it has holes, refill it first;
 * -EOPNOTSUPP: a DAX
 * filesystem: use device-dax, or a buffer of your own and a copy. Any thread.
 */
int daxpin_rdma_lkey(struct daxpin_rdma *rdma, uint64_t addr,
		     uint32_t *ret_lkey);

/*
 * Deregister the local keys of segments that a reclaim wants to punch; the next
 * daxpin_rdma_lkey() makes new ones. Blocks in ibv_dereg_mr(). Call it when there
 * was a DAXPIN_EVENT_REVOKE; without it no segment that has a local key can be
 * reclaimed. What is posted with such a key at this time fails; none is asked for
 * while anything in its segment is held.
 *
 * Then end the grants whose grace is over, or all that are to be ended where no
 * executor was given. The device's -errno where it refuses. Not concurrent with
 * daxpin_rdma_detach(), else any thread.
 */
int daxpin_rdma_service(struct daxpin_rdma *rdma);

/*
 * Bytes of an extent, for a work request of your own: address, length, and the
 * local key as daxpin_rdma_lkey() gives it. The extent must be held by you, and
 * stay so until the completion. -EINVAL: no hold is out, length 0 or above 4 GiB,
 * past the extent's end; -ESTALE: its life is over. Any thread.
 */
int daxpin_rdma_sge(struct daxpin_rdma *rdma, struct daxpin_extent extent,
		    uint64_t offset, uint64_t length, struct ibv_sge *ret_sge);

#define DAXPIN_GRANT_ZERO	0x1u	/* zero it first: reserved extents only, that
					   nothing else holds or publishes */
#define DAXPIN_GRANT_EXPOSE	0x2u	/* let the peer read what is there */

#define DAXPIN_KEY_BOUNCED	0x80000000u	/* what the peer writes reaches the
						   pool with the revoke */

/* In a grant's access: the peer may FLUSH; the verbs' own two bits, which older
 * headers do not name. The device refuses them where its memory is not durable. */
#define DAXPIN_ACCESS_FLUSH	0x300u

/* What the peer needs. As bytes for a message: daxpin_grant_export(). */
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
	struct ibv_qp *qp;		/* the peer's; see daxpin_grant_qp() */
	uint64_t bind_wr_id;		/* see daxpin_grant_bound() */
	/* For daxpin_rdma_revoke_start(), all optional: */
	void (*ask_back)(void *arg, const struct daxpin_grant_key *key);
	void (*done)(void *arg, int result);
	void *arg;
	uint64_t offset, length;	/* grant so many bytes of the extent from there
					   on; length 0: all the rest */
};

/*
 * Give a peer remote access to exactly this extent, or to the part of it that offset
 * and length name. Takes a hold until the revoke. A grant that can read a reserved
 * extent would show the previous owner's bytes: it needs ZERO or EXPOSE. Registering
 * blocks. Any thread.
 *
 * A key works on every queue pair of the protection domain, so use one domain for each
 * peer if peers must not use each other's keys.
 *
 * Bounced (see daxpin_rdma_info): the peer gets a copy, which costs as much
 * memory and is brought home by the revoke, durably; a crash before loses it.
 * One that can write has a DAXPIN_HOLD_EXCLUSIVE hold: until its end other holds,
 * also of readers, SETs and the KEEP are -EBUSY, and the CPU must not write there.
 *
 * With DAXPIN_RDMA_WINDOWS, where the attach saw them work, and for reads and
 * writes alone: a memory window over the region of the segment's local key, which
 * the first of them registers. Of type 2 if qp is given: bound by a request on qp,
 * which must be ready to send, and must be destroyed only after the revoke; see
 * daxpin_grant_bound(). Else of type 1. If neither is available the grant is a
 * region: daxpin_grant_info() tells.
 *
 * -EINVAL  an unknown flag or access; a range that is not in the extent; ZERO of a
 *          published extent; qp is of another protection domain than rdma
 * -EPERM   the peer could read old bytes
 * -EBUSY   the extent is held exclusively; or ZERO, or a bounced grant that can
 *          write, and it is held or being published
 * and the errors of daxpin_hold() and of ibv_reg_mr()
 */
int daxpin_rdma_grant(struct daxpin_rdma *rdma, struct daxpin_extent extent,
		      const struct daxpin_grant_options *options,
		      struct daxpin_grant **ret_grant);

void daxpin_grant_key(const struct daxpin_grant *grant,
		      struct daxpin_grant_key *ret_key);

#define DAXPIN_GRANT_DESCRIPTOR_SIZE	96

/*
 * The key as bytes that any machine can take, with a checksum; docs/format.md
 * has the layout. Returns how many bytes it wrote, DAXPIN_GRANT_DESCRIPTOR_SIZE;
 * -EINVAL: size is less. Any thread, while the grant is out.
 */
int daxpin_grant_export(const struct daxpin_grant *grant, void *buf,
			size_t size);

/*
 * For the peer, which needs neither a pool nor a device: take such bytes apart.
 * More of them may follow. -EINVAL: short, something else, or no grant that can
 * be; -EPROTONOSUPPORT: a newer daxpin's; -EBADMSG: damaged. Any thread.
 */
int daxpin_grant_import(const void *buf, size_t size,
			struct daxpin_grant_key *ret_key);

/*
 * Take a grant back and free it, now and in this thread: blocks in
 * ibv_dereg_mr(). When it returns 0 no byte of the peer's can land any more and
 * the hold is dropped. 0 also for a grant that is over already. A device that fails
 * for a passing reason (EINTR, EAGAIN, EBUSY) is asked again for an eighth of a
 * second. Should it refuse all the same, the grant's queue pair is put to error and
 * the device asked for half a second more; then its -errno is returned and the extent
 * is quarantined: grant and hold stay, the pool cannot be closed. Each further call
 * asks again; only the device's success ends it. A grant that waits for the executor
 * is taken over, and done() is not called. If another thread is in ask_back() of this
 * grant, this call waits for that to return. NULL is fine. Any thread.
 *
 * -EALREADY     another thread is ending it
 * -EINPROGRESS  see daxpin_grant_bound()
 * -EINVAL       if daxpin_grant_info() then returns -ESTALE: it is over, but its hold
 *               was gone: a daxpin_drop() too many had ended that, and the peer may
 *               have written into what the blocks became
 */
int daxpin_rdma_revoke(struct daxpin_grant *grant);

/*
 * The same without blocking: ask_back() is called before this returns and sends the
 * peer a message; the peer has until the deadline to answer, which is reported by
 * daxpin_rdma_returned() or daxpin_grant_returned(). Then, or at the deadline, which
 * daxpin_rdma_service() looks at, or at once if that is past, the grant is ended as
 * above in the executor. done() has the result; 0: the grant is over, and freed. A
 * second call gives another deadline. A daxpin_rdma_revoke() meanwhile takes over,
 * and then done() is not called. 0 also, and no callback, for a grant that is over
 * already. Any thread.
 *
 * The callbacks are called without a lock, and those of one grant one after the
 * other, in whatever threads: ask_back() once at most; it has returned before done()
 * is called; nothing is called after a done() with result 0.
 *
 * -EALREADY     it is being ended
 */
int daxpin_rdma_revoke_start(struct daxpin_grant *grant, uint64_t deadline_ns);

/*
 * The peer is done with a grant, asked or not: end it now, in the executor. The grant
 * is the one whose id, extent and uuid are in key, which is what the peer sent back
 * (daxpin_grant_import() of the bytes that it was given). So an answer that comes
 * late ends no other grant, whatever has the extent by then. Any thread.
 *
 * -EALREADY  it is being ended
 * -ESTALE    no such grant is out: it is over, or was another open's
 */
int daxpin_rdma_returned(struct daxpin_rdma *rdma,
			 const struct daxpin_grant_key *key);

/*
 * The same for a caller that knows by other means which grant is meant, for example
 * because each connection has one at a time. Errors as above. Any thread.
 */
int daxpin_grant_returned(struct daxpin_grant *grant);

/*
 * The queue pair that goes to error when the device refuses to end the grant.
 * Before it is destroyed: NULL; when this returns it is used no more. -EINVAL: qp is
 * of another protection domain than rdma; -ESTALE: the grant is over, and qp is not
 * NULL. Any thread.
 */
int daxpin_grant_qp(struct daxpin_grant *grant, struct ibv_qp *qp);

/*
 * The completion of the bind of a window of type 2, from the send queue of qp, with
 * the bind_wr_id of the grant's options, or any later one of that queue. Requests
 * behind the bind begin after it, so the key may be sent on qp at once; but a window
 * is not freed while it may still be bound, so a revoke before this call puts qp to
 * error. -EIO: it failed, and qp is in error; revoke the grant. -EINVAL: no window
 * of type 2; -ESTALE. Any thread.
 */
int daxpin_grant_bound(struct daxpin_grant *grant, const struct ibv_wc *wc);

enum daxpin_grant_state {
	DAXPIN_GRANT_STATE_OUT = 1,	/* the peer may use it */
	DAXPIN_GRANT_STATE_ASKED,	/* asked back, its grace is not over */
	DAXPIN_GRANT_STATE_QUEUED,	/* given to the executor, or to service */
	DAXPIN_GRANT_STATE_ENDING,	/* a thread is at it */
	DAXPIN_GRANT_STATE_QUARANTINED,	/* the device refused */
};

/* How far up the ladder. */
enum daxpin_grant_step {
	DAXPIN_GRANT_STEP_NONE,
	DAXPIN_GRANT_STEP_DEREGISTER,	/* refused once */
	DAXPIN_GRANT_STEP_QUEUE_PAIR,	/* its queue pair was put to error */
	DAXPIN_GRANT_STEP_QUARANTINE,	/* for as long as the device refuses */
};

/* What lets the peer in. */
enum daxpin_grant_door {
	DAXPIN_GRANT_DOOR_REGION = 1,	/* a memory region of its own */
	DAXPIN_GRANT_DOOR_WINDOW2,	/* a memory window of type 2, for one queue
					   pair alone */
	DAXPIN_GRANT_DOOR_WINDOW1,	/* or of type 1 */
};

struct daxpin_grant_info {
	size_t size;			/* sizeof(struct daxpin_grant_info) */
	uint32_t state;			/* enum daxpin_grant_state */
	uint32_t step;			/* enum daxpin_grant_step */
	uint64_t refusals;		/* times that the device said no */
	uint64_t deadline_ns;		/* ASKED: the end of its grace */
	int device_error;		/* what it said last: 0 or -errno */
	int qp_error;			/* the same of the queue pair */
	uint32_t door;			/* enum daxpin_grant_door */
};

/*
 * About one grant. -ESTALE: it is over, which the library remembers of the last
 * 1024 of an attachment; an older handle is as a pointer that was freed.
 */
int daxpin_grant_info(struct daxpin_grant *grant,
		      struct daxpin_grant_info *ret_info);

/* ------------------------------------------------------------- durability */

/*
 * For the target, when a peer says that all is written: revoke the grants, which
 * blocks, then publish; each KEEP makes its payload durable; a grant's extent
 * that is not kept here is made durable by itself. A grant that is over, by this
 * call or before, and durable is NULL in the array from then on, and NULLs are
 * skipped. A grant that the device does not end stops no other; then nothing is
 * published, and the same call again does what is left. Without ops the extents
 * are only made durable. Errors of daxpin_rdma_revoke(), daxpin_persist()
 * and daxpin_publish(); -EINVAL: a grant of another attachment. Any thread.
 */
int daxpin_rdma_publish(struct daxpin_rdma *rdma, struct daxpin_grant **grants,
			size_t grant_count, const struct daxpin_op *ops,
			size_t op_count);

/* What is known of the target's machine. It cannot be asked over the wire, so
 * whoever sets it answers for it. */
enum daxpin_platform {
	DAXPIN_PLATFORM_UNKNOWN,
	DAXPIN_PLATFORM_ADR_NO_DDIO,	/* what devices write goes past the caches,
					   to memory that ADR saves */
	DAXPIN_PLATFORM_EADR,		/* the caches are saved too */
};

/* What was posted. */
enum daxpin_flush_way {
	DAXPIN_FLUSH_VERB = 1,		/* FLUSH: completes as IBV_WC_FLUSH */
	DAXPIN_FLUSH_READ,		/* a READ of the range's last byte */
};

struct daxpin_flush_options {
	size_t size;			/* sizeof(struct daxpin_flush_options) */
	uint32_t flags;			/* must be 0 */
	uint32_t platform;		/* enum daxpin_platform */
	uint64_t wr_id;			/* of the completion */
	struct ibv_sge sink;		/* READ: a byte of registered memory */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
};

/*
 * For the peer, which needs no pool: post behind its writes what makes
 * [offset, offset + length) of the grant durable at the target; when the one
 * completion is a success, what was posted before on this queue pair is. FLUSH
 * where qp was made with it and the grant allows it, else, if platform says that
 * this is enough, a READ. -EOPNOTSUPP: neither, or a bounced grant; -EINVAL: past
 * the grant's end; the device's -errno. ret_way may be NULL. As ibv_post_send().
 */
int daxpin_rdma_flush(struct ibv_qp *qp, const struct daxpin_grant_key *key,
		      uint64_t offset, uint64_t length,
		      const struct daxpin_flush_options *options,
		      enum daxpin_flush_way *ret_way);

/*
 * Deregister the local keys, free rdma. After 0 the handle is gone, after anything
 * else it is not. -EBUSY while grants are out; the device's -errno where it refuses.
 * From then on a call on rdma
 * or a grant of its is -ESTALE, which the library remembers of the last 64; older
 * ones are as pointers that were freed. Not concurrent with any other call on
 * rdma or its grants. NULL is fine.
 */
int daxpin_rdma_detach(struct daxpin_rdma *rdma);

#ifdef __cplusplus
}
#endif
#endif
