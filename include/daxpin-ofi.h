/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin for libfabric: revocable grants to remote peers over providers that copy with
 * the CPU, such as tcp and shm, and over those of RDMA devices, such as verbs. Uses
 * daxpin.h only.
 *
 * Closing a memory region of libfabric ends a peer's access on few providers: on the
 * others the rest of a write that is in progress arrives after fi_close() has returned.
 * Closing the endpoint ends it there. So each peer has an endpoint of its own, in a
 * domain of its own, which it uses for nothing but one-sided access to its grants; for
 * messages the program has other endpoints. An attach tries on free space of the pool
 * what ends the access on this provider. Where only the end of the endpoint does, a
 * revoke closes the endpoint, and that ends all grants of this peer.
 *
 * Any thread may call these functions, unless a comment says otherwise. The library has
 * no threads: daxpin_ofi_service() makes the progress of the endpoints.
 */
#ifndef DAXPIN_OFI_H
#define DAXPIN_OFI_H

#include <daxpin.h>
#include <rdma/fabric.h>

#ifdef __cplusplus
extern "C" {
#endif

struct daxpin_ofi;
struct daxpin_ofi_peer;
struct daxpin_ofi_grant;

/* ---------------------------------------------------------- attach, detach */

/* What ends a peer's access. */
enum daxpin_ofi_ends {
	DAXPIN_OFI_ENDS_UNKNOWN,	/* the trial had no result; `what` says why,
					   and how to find out */
	DAXPIN_OFI_ENDS_REGION,		/* the close of the memory region */
	DAXPIN_OFI_ENDS_ENDPOINT,	/* only the close of the endpoint */
	DAXPIN_OFI_ENDS_NOTHING,	/* bytes arrived even after that */
};

/*
 * What stores the bytes of a peer into the memory. A device could go on after the death
 * of the owner's process. So this is asked, and not concluded from a provider's name:
 *
 * 1. RDMA, if the provider names its device in info->nic, and while a domain is open
 *    the process has exactly one uverbs file of this device open, and no device file
 *    other than those of rule 3 and of RDMA. An attach has the verbs context of the
 *    device recorded in the pool before the device can reach memory of it, and after
 *    a crash the next open waits for the end of that context (daxpin_register()). If
 *    a domain of the provider has no protection domain of its own, the number of the
 *    context is unknown, and the next open waits until no verbs context exists on the
 *    machine. Only the close of a region is tried: set FI_MR_CACHE_MAX_COUNT=0, or a
 *    cache keeps the region. Set FI_OFI_RXM_USE_SRX=1, too: otherwise verbs;ofi_rxm
 *    can crash in the close of any endpoint.
 * 2. DEVICE, if the provider has another device: one with a name and without exactly
 *    one verbs context, info->nic without a name, or FI_MR_ALLOCATED or
 *    FI_MR_PROV_KEY in its mr_mode.
 * 3. PROCESS, if this process has no device file open, nor mapped, while endpoints and
 *    regions of the provider are open, after a first write between them. /dev/null,
 *    zero, full, random, urandom and kmsg, terminals and device-dax do not count; what
 *    cannot be examined counts. The files of RDMA devices, which libfabric (1.17)
 *    opens in fi_getinfo() of any provider, do not count if daxpin_rdma_use() finds
 *    no protection domain in use that is, or may be, of this process, and at least as
 *    many verbs contexts of its threads as it has uverbs files open. A context counts
 *    that it has closed and a child keeps open, if a protection domain in it is in
 *    use.
 * 4. UNKNOWN otherwise: the device may be the provider's, or of another part of the
 *    program, and nothing that a trial sees tells these apart. Attach before the
 *    program opens it, or registers memory with it, or in a process without it, for
 *    example by InaccessiblePaths=/dev/infiniband of systemd. Outside the initial
 *    network namespace the kernel does not show every RDMA device: hide them there.
 *
 * A provider that opens a device, or registers memory with one, only later, for example
 * when a peer on another machine connects, is not seen by rule 3, nor is memory that is
 * registered by DEVX of mlx5.
 */
enum daxpin_ofi_writer {
	DAXPIN_OFI_WRITER_UNKNOWN,	/* `writer_what` says how to find out */
	DAXPIN_OFI_WRITER_PROCESS,	/* the CPU, until the process ends */
	DAXPIN_OFI_WRITER_DEVICE,	/* ... that the pool cannot record */
	DAXPIN_OFI_WRITER_RDMA,		/* a device that the pool records */
};

#define DAXPIN_OFI_WHAT_MAX	512u	/* bytes with the final NUL */

struct daxpin_ofi_report {
	size_t size;			/* sizeof(struct daxpin_ofi_report) */
	uint32_t ends;			/* enum daxpin_ofi_ends */
	uint32_t writer;		/* enum daxpin_ofi_writer */
	uint32_t rounds;		/* writes that were in progress at a close */
	uint32_t reserved;		/* 0 */
	uint64_t region_late;		/* bytes after a region's close */
	uint64_t endpoint_late;		/* ... after an endpoint's */
	char what[DAXPIN_OFI_WHAT_MAX];	/* ends in words, without a full stop */
	char writer_what[DAXPIN_OFI_WHAT_MAX];
};

struct daxpin_ofi_options {
	size_t size;			/* sizeof(struct daxpin_ofi_options) */
	uint32_t flags;			/* must be 0 */
	const char *label;		/* reported by daxpin_holds(); copied */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
};

/*
 * Attach a provider, which fabric and info name: info is a result of fi_getinfo() for
 * endpoints of type FI_EP_RDM with FI_RMA, and is copied; fabric must exist until the
 * detach. options may be NULL, and is copied. If a process stores the peer's bytes,
 * or a device whose verbs context is then on record in the pool, the call writes to
 * up to 8 MiB of free space of the pool, through endpoints that it opens and closes,
 * to find out what ends a peer's access. If a provider may copy a write in one call,
 * one of 64 MiB is made in memory of the process. That takes three seconds as a rule.
 * There is no upper limit: a write is given up when no byte of it has arrived for 20
 * seconds, and a call of the provider may take any time. After the trial the attach
 * pins nothing; an RDMA device pins what is granted. ofi belongs to the library until
 * the detach, and the pool cannot be closed before.
 *
 * If the provider refuses to close an object of the trial, or bytes arrived after all
 * was closed (DAXPIN_OFI_ENDS_NOTHING), the attach fails, and the space that it used
 * remains held: the pool cannot be closed until the process ends. The sentence in
 * errmsg says so, and daxpin_holds() reports the hold.
 *
 * -E2BIG	options has a tail that is not zero and that this library does
 *		not know
 * -EINVAL	an argument is NULL; an unknown flag; info is not complete
 * -EMFILE	the files that the process has open cannot be listed in /proc: close
 *		some, or raise RLIMIT_NOFILE
 * -ENOMEM	out of memory
 * -ENOSPC	the pool has no free run of 1 MiB for the trial; 20 other verbs
 *		contexts are registered
 * -EOPNOTSUPP	the provider has no RMA, or needs a mode that this library does not
 *		have; a device that the pool cannot record stores the peer's bytes, or
 *		what stores them cannot be found out; neither the close of a region nor
 *		that of an endpoint ends its access, or that cannot be found out; the
 *		pool is on a disk
 * -EROFS	the pool is open for reading
 * Others as daxpin_register(), fi_domain(), fi_endpoint(), fi_mr_reg() and fi_close().
 */
int daxpin_ofi_attach(struct daxpin_pool *pool, struct fid_fabric *fabric,
		      const struct fi_info *info,
		      const struct daxpin_ofi_options *options,
		      struct daxpin_ofi **ret_ofi);

/*
 * Make the trial of daxpin_ofi_attach() without a pool, and store the report whatever
 * the verdict is, also for a provider that an attach refuses: a device, or one on which
 * nothing ends access. Up to 8 MiB of memory, which has length bytes, at least 1 MiB,
 * are written to. With DAXPIN_OFI_ENDS_NOTHING more bytes may arrive: do not use the
 * memory again, nor unmap it. Pass private memory: the kernel gives pages that a device
 * can reach to no other process before the access has ended. Set ret_report->size
 * first. It takes as long as the trial of an attach.
 *
 * -EBUSY	the provider refused to close an object of the trial, so a peer could
 *		still write: do not use the memory again, nor unmap it
 * -EINVAL	an argument is NULL; length is below 1 MiB; info is not complete
 * -ENOMEM	out of memory
 * -EOPNOTSUPP	the provider has no RMA, or needs a mode that this library does not
 *		have
 * Others as fi_domain(), fi_endpoint() and fi_mr_reg().
 */
int daxpin_ofi_probe(struct fid_fabric *fabric, const struct fi_info *info,
		     void *memory, uint64_t length,
		     struct daxpin_ofi_report *ret_report);

/* Store the result of the attach's trial. Set ret_report->size first.
 *
 * -EINVAL	an argument is NULL
 * -ESTALE	ofi was detached
 */
int daxpin_ofi_report(struct daxpin_ofi *ofi,
		      struct daxpin_ofi_report *ret_report);

struct daxpin_ofi_info {
	size_t size;			/* sizeof(struct daxpin_ofi_info) */
	uint32_t peers;			/* open */
	uint32_t grants;		/* existing */
	uint32_t quarantined;		/* of these: their end failed */
	uint32_t pending;		/* of these: asked back, or to be ended */
	uint64_t next_deadline_ns;	/* when daxpin_ofi_service() must
					   end a grant; 0: none waits */
	/* Since the attach: */
	uint64_t granted;
	uint64_t ended;			/* grants */
	uint64_t returned;		/* grants that their peers returned */
	uint64_t expired;		/* grants asked back, not returned in time */
	uint64_t endpoints_closed;	/* to end grants */
	uint64_t refusals;		/* times that the provider refused a close */
};

/* Describe the attachment. Set ret_info->size first. The figures are snapshots.
 * Errors as daxpin_ofi_report(). */
int daxpin_ofi_info(struct daxpin_ofi *ofi, struct daxpin_ofi_info *ret_info);

/*
 * Make progress on the endpoints of all peers, and end the grants that were returned or
 * whose deadline has passed. With most providers a peer's requests do not proceed
 * without it, so call it as often as the completion queues of other endpoints. It does
 * not wait. One failure does not prevent the rest; the first -errno is returned.
 *
 * -EINVAL	ofi is NULL; an excess daxpin_drop() had ended the hold of a
 *		grant, which has ended
 * -ESTALE	ofi was detached
 * Others as fi_close(), for a grant that could not be ended and is quarantined.
 */
int daxpin_ofi_service(struct daxpin_ofi *ofi);

/*
 * Free ofi. NULL is allowed. Must not run concurrently with another call on ofi, its
 * peers or its grants. Later calls on ofi and its grants are -ESTALE; the library
 * remembers the last 64 attachments, and an older handle is like a freed pointer.
 *
 * -EBUSY	there are peers
 * -ESTALE	ofi was detached
 * Others as fi_close(), for an endpoint that daxpin_ofi_peer_open() could neither open
 * nor close, or for the domain that keeps the verbs context of an RDMA device; the call
 * can be repeated.
 */
int daxpin_ofi_detach(struct daxpin_ofi *ofi);

/* ------------------------------------------------------------------- peers */

/* The program knows that this peer returns a grant only after its last request on it
 * has completed with FI_DELIVERY_COMPLETE, and does not use the key again. So a grant
 * that it has returned ends with its region, and the endpoint remains. If the peer
 * breaks this, it overwrites what the memory is used for next. */
#define DAXPIN_OFI_TRUST_RETURNS	0x1u

struct daxpin_ofi_peer_options {
	size_t size;			/* sizeof(struct daxpin_ofi_peer_options) */
	uint32_t flags;			/* DAXPIN_OFI_TRUST_RETURNS */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
};

/*
 * Open an endpoint for one peer. options may be NULL.
 *
 * -E2BIG	options has a tail that is not zero and that this library does
 *		not know
 * -EINVAL	an argument is NULL; an unknown flag
 * -EMFILE	the files that the process has open cannot be listed in /proc: close
 *		some, or raise RLIMIT_NOFILE
 * -ENOMEM	out of memory
 * -EOPNOTSUPP	the process has another device open, or another verbs context of the
 *		provider's device
 * -ESTALE	ofi was detached
 * Others as fi_domain() and fi_endpoint(). If the provider refuses an endpoint, and
 * also to close what was open of it, that counts as a peer until the detach, which
 * closes it.
 */
int daxpin_ofi_peer_open(struct daxpin_ofi *ofi,
			 const struct daxpin_ofi_peer_options *options,
			 struct daxpin_ofi_peer **ret_peer);

/*
 * Store the address of the peer's endpoint, which the peer inserts in its address
 * vector: at most *size bytes; *size becomes the number of bytes of the address.
 *
 * -EINVAL	an argument is NULL; *size is too small, and then it is stored
 *		nevertheless
 * -ESTALE	the endpoint was closed by a revoke; ofi was detached
 * Others as fi_getname().
 */
int daxpin_ofi_peer_name(struct daxpin_ofi_peer *peer, void *name, size_t *size);

/*
 * Close the peer's endpoint, end all its grants, and free peer. NULL is allowed. Must
 * not run concurrently with another call on peer, nor in a callback; after a success
 * peer is like a freed pointer. If the provider refuses, its -errno is returned, the
 * grants are quarantined, and the call can be repeated.
 *
 * -EINVAL	all has ended, but an excess daxpin_drop() had ended the hold of a
 *		grant
 * -ESTALE	ofi was detached
 * Others as fi_close().
 */
int daxpin_ofi_peer_close(struct daxpin_ofi_peer *peer);

/* ------------------------------------------------------------------ grants */

#define DAXPIN_GRANT_ZERO	0x1u	/* zero it first: for reserved extents
					   without other holds */
#define DAXPIN_GRANT_EXPOSE	0x2u	/* let the peer read the present bytes */

/* What the peer needs; daxpin_ofi_export() makes a message of it. */
struct daxpin_ofi_key {
	uint64_t addr;			/* remote address for fi_write(), fi_read() */
	uint64_t length;		/* bytes */
	uint64_t key;
	uint64_t access;		/* FI_REMOTE_READ, FI_REMOTE_WRITE */
	struct daxpin_extent extent;	/* to name it in messages */
	unsigned char uuid[16];		/* of the pool */
	uint64_t id;			/* of the grant: see daxpin_ofi_returned() */
	uint64_t offset;		/* in the extent, of the first byte */
	uint32_t protocol;		/* of the provider: ep_attr->protocol */
	uint32_t is_virtual;		/* addr is an address of the owner's process:
					   FI_MR_VIRT_ADDR */
	uint64_t reserved[2];		/* 0 */
};

struct daxpin_ofi_grant_options {
	size_t size;			/* sizeof(struct ..._options) */
	uint32_t flags;			/* DAXPIN_GRANT_... */
	uint64_t access;		/* FI_REMOTE_READ, FI_REMOTE_WRITE */
	const char *label;		/* the peer, for daxpin_holds(); copied */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
	void (*ask_back)(void *arg, const struct daxpin_ofi_key *key);
	void (*done)(void *arg, int result);
	void *arg;
	uint64_t offset, length;	/* of a part of the extent; length 0: to
					   the end */
};

/*
 * Give a peer remote access to exactly this extent, or to the part of it that offset
 * and length name, in bytes. options must not be NULL, and is copied. Takes a hold
 * until the grant has ended. The key works on the endpoint of this peer only. A grant
 * of reads on a reserved extent would reveal the previous owner's bytes: it needs
 * ZERO or EXPOSE.
 *
 * done() is called once, when the grant has ended in whatever way, for example with
 * its peer's endpoint: with 0, or -EINVAL if an excess daxpin_drop() had ended its
 * hold. It is the last callback of a grant, and is called without a lock in the
 * thread that has ended the grant; if another thread is in ask_back() of this grant
 * then, in that thread, afterwards. Until then arg must exist. Callbacks must not
 * close a peer or detach.
 *
 * -E2BIG	options has a tail that is not zero and that this library does
 *		not know
 * -EBUSY	the extent is held exclusively; with DAXPIN_GRANT_ZERO the extent is
 *		held or being published
 * -EINVAL	an argument is NULL; an unknown flag; access that is none, or other
 *		than FI_REMOTE_READ and FI_REMOTE_WRITE; a range that is not in the
 *		extent; DAXPIN_GRANT_ZERO of a published extent; an excess
 *		daxpin_drop() ended the grant's hold
 * -EPERM	the peer could read the previous owner's bytes
 * -ESTALE	the extent's generation has ended; the peer's endpoint was closed by a
 *		revoke; ofi was detached
 * Others as daxpin_hold_labelled() and fi_mr_reg(). If the provider refuses the memory
 * region, and also to close what was open of it, the extent is quarantined until the
 * peer's endpoint has been closed, by daxpin_ofi_peer_close() or a revoke of another
 * grant; done() is not called.
 */
int daxpin_ofi_grant(struct daxpin_ofi_peer *peer, struct daxpin_extent extent,
		     const struct daxpin_ofi_grant_options *options,
		     struct daxpin_ofi_grant **ret_grant);

/* Store what the peer needs. Always succeeds while the library remembers the grant (see
 * daxpin_ofi_grant_info()). Neither pointer may be NULL. */
void daxpin_ofi_grant_key(const struct daxpin_ofi_grant *grant,
			  struct daxpin_ofi_key *ret_key);

#define DAXPIN_OFI_DESCRIPTOR_SIZE	104

/*
 * Write the key as DAXPIN_OFI_DESCRIPTOR_SIZE bytes that any machine can read, with a
 * checksum (docs/format.md), and return that number. The peer needs the name of its
 * endpoint besides.
 *
 * -EINVAL	an argument is NULL; size is too small
 * -ESTALE	the grant has ended
 */
int daxpin_ofi_export(const struct daxpin_ofi_grant *grant, void *buf, size_t size);

/*
 * Decode such bytes, at the peer. Needs no pool. info is what the peer's endpoint was
 * opened with; it may be NULL, and then the provider is not compared. More bytes may
 * follow them.
 *
 * -EBADMSG	the bytes are damaged
 * -EINVAL	buf or ret_key is NULL; the bytes are too few, are no descriptor, or
 *		describe a grant that cannot exist; info is of another provider than
 *		the grant, or addresses memory in another way
 * -EPROTONOSUPPORT  written by a newer daxpin
 */
int daxpin_ofi_import(const void *buf, size_t size, const struct fi_info *info,
		      struct daxpin_ofi_key *ret_key);

/*
 * End a grant in this thread. When it returns 0 no further byte of the peer can arrive,
 * and the hold is dropped. 0 also for a grant that has already ended. NULL is allowed.
 *
 * Where only the close of the endpoint ends access (see daxpin_ofi_report()), the
 * endpoint is closed, and all grants of the peer end. Only a grant that a trusted
 * peer has returned (see DAXPIN_OFI_TRUST_RETURNS) ends alone. Elsewhere the endpoint
 * is closed as well if the first attempt to close the region fails.
 *
 * If the provider refuses, its -errno is returned and the grants are quarantined: they
 * and their holds remain, and the pool cannot be closed. Further calls try again. A
 * refusal that may pass (EINTR, EAGAIN, EBUSY) is retried for an eighth of a second
 * before that.
 *
 * -EINVAL	the grant has ended, but an excess daxpin_drop() had ended its
 *		hold, and the peer may have written to the blocks after their
 *		reuse
 * Others as fi_close().
 */
int daxpin_ofi_revoke(struct daxpin_ofi_grant *grant);

/*
 * End a grant without blocking. If the deadline has not passed, ask_back() is called
 * before this function returns, and sends the peer a message. The peer has until the
 * deadline to reply; report its reply by daxpin_ofi_returned(). daxpin_ofi_service()
 * ends the grant: after the reply, or when the deadline has passed. A second call
 * changes the deadline and does not call ask_back() again. deadline_ns is in
 * nanoseconds of CLOCK_MONOTONIC. Returns 0, without a callback, for a grant that has
 * already ended.
 *
 * -EALREADY	the grant is already being ended
 * -EINVAL	grant is NULL
 */
int daxpin_ofi_revoke_start(struct daxpin_ofi_grant *grant, uint64_t deadline_ns);

/*
 * The peer has returned a grant, asked or not: the next daxpin_ofi_service() ends it.
 * The grant is the one with the id, extent and uuid of key, which is what the peer
 * sent back (see daxpin_ofi_import()), so a late reply ends no other grant.
 *
 * -EALREADY	the grant is already being ended
 * -EINVAL	an argument is NULL
 * -ESTALE	there is no such grant, because it has ended or is of another
 *		open of the pool; ofi was detached
 */
int daxpin_ofi_returned(struct daxpin_ofi *ofi, const struct daxpin_ofi_key *key);

enum daxpin_ofi_state {
	DAXPIN_OFI_STATE_GRANTED = 1,	/* the peer may use it */
	DAXPIN_OFI_STATE_ASKED,		/* asked back, the grace has not ended */
	DAXPIN_OFI_STATE_QUEUED,	/* waits for daxpin_ofi_service() */
	DAXPIN_OFI_STATE_ENDING,	/* a thread is ending it */
	DAXPIN_OFI_STATE_QUARANTINED,	/* the provider refused */
};

struct daxpin_ofi_grant_info {
	size_t size;			/* sizeof(struct ..._grant_info) */
	uint32_t state;			/* enum daxpin_ofi_state */
	uint32_t reserved;		/* 0 */
	uint64_t refusals;		/* of the provider, for this grant */
	uint64_t deadline_ns;		/* ASKED: the deadline of the reply */
	int error;			/* of the last attempt to end it: 0 or -errno */
};

/*
 * Describe one grant. Set ret_info->size first. The library remembers the last 1024
 * grants of an attachment that have ended; an older handle is like a freed pointer.
 *
 * -EINVAL	an argument is NULL
 * -ESTALE	the grant has ended
 */
int daxpin_ofi_grant_info(struct daxpin_ofi_grant *grant,
			  struct daxpin_ofi_grant_info *ret_info);

/* -------------------------------------------------------- local operations */

/*
 * The program's own requests out of a pool and into it: fi_send(), fi_recv(),
 * fi_write() and fi_read() on endpoints of the program, for which the memory of an
 * extent is the local buffer. Each holds its extent until the program has read its
 * completion or error entry. These calls need no attachment. daxpin_ofi_local_open()
 * opens and closes two endpoints, and writes between them to memory of its own, to find
 * out what stores bytes (enum daxpin_ofi_writer). Of an RDMA device it makes the trial
 * of an attach on 8 MiB of memory of its own besides.
 *
 * A hold never ends with the close of an endpoint: libfabric does not report when what
 * was in progress ends then, and its providers can crash in such a close (tcp;ofi_rxm
 * and shm of 1.17). So before closing an endpoint, let each request complete; for what
 * was posted by fi_recv(), call fi_cancel(). A request whose completion never comes
 * keeps its hold until the process ends, and the pool cannot be closed.
 */
struct daxpin_ofi_local;

struct daxpin_ofi_local_options {
	size_t size;			/* sizeof(struct ..._local_options) */
	uint32_t flags;			/* must be 0 */
	const char *label;		/* reported by daxpin_holds(); copied. "out, "
					   or "in, " precedes it for a request */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
};

/*
 * Prepare a domain of the program for local operations. info is what the domain was
 * opened with, and is copied. The domain must exist until daxpin_ofi_local_close().
 * options may be NULL, and is copied. local belongs to the library until the close, and
 * the pool cannot be closed before. Memory of the pool is pinned only during a request
 * that has a region.
 *
 * If the provider needs FI_MR_LOCAL, each request has a memory region of its own, which
 * is opened in daxpin_ofi_prep() and closed in daxpin_ofi_done(). If the domain is not
 * FI_THREAD_SAFE, both then count as calls on the domain.
 *
 * On an RDMA device the memory of a request must be free when its region was closed.
 * A registration cache, which libfabric has by default, would keep it. So there info
 * must have FI_MR_LOCAL, and the trial must find DAXPIN_OFI_ENDS_REGION: set
 * FI_MR_CACHE_MAX_COUNT=0, and FI_OFI_RXM_USE_SRX=1 (enum daxpin_ofi_writer). The trial
 * takes three seconds as a rule. The verbs context of the device that info names is on
 * record in the pool until the close, with a domain that is open until then. libfabric
 * does not say which device a domain uses. So if info is of another device than the
 * domain, the wrong context is recorded, and an open after a crash does not wait for
 * what the domain's device still writes.
 *
 * -E2BIG	options has a tail that is not zero and that this library does
 *		not know
 * -EINVAL	an argument is NULL; an unknown flag; info is not complete
 * -EMFILE	the files that the process has open cannot be listed in /proc: close
 *		some, or raise RLIMIT_NOFILE
 * -ENOMEM	out of memory
 * -EOPNOTSUPP	a device that the pool cannot record stores the bytes, or what stores
 *		them cannot be found out, for example because info has no FI_RMA or its
 *		endpoints are not FI_EP_RDM; on an RDMA device the close of a region
 *		does not end access, or that cannot be found out, or info has no
 *		FI_MR_LOCAL; it needs FI_MR_LOCAL, and regions of one endpoint
 *		(FI_MR_ENDPOINT); the pool is on a disk
 * Others as daxpin_register(), fi_fabric(), fi_domain(), fi_endpoint(), fi_mr_reg() and
 * fi_close().
 */
int daxpin_ofi_local_open(struct daxpin_pool *pool, struct fid_domain *domain,
			  const struct fi_info *info,
			  const struct daxpin_ofi_local_options *options,
			  struct daxpin_ofi_local **ret_local);

struct daxpin_ofi_local_info {
	size_t size;			/* sizeof(struct daxpin_ofi_local_info) */
	uint64_t in_flight;		/* requests prepared and not done */
	uint64_t regions;		/* of these: with a memory region */
	uint64_t prepared;		/* since the open */
	uint64_t refusals;		/* times that the provider refused to close a
					   region */
};

/* Describe local. Set ret_info->size first. The figures are snapshots.
 *
 * -EINVAL	an argument is NULL
 * -ESTALE	local was closed
 */
int daxpin_ofi_local_info(struct daxpin_ofi_local *local,
			  struct daxpin_ofi_local_info *ret_info);

/*
 * Free local. NULL is allowed. Must not run concurrently with another call on local or
 * its requests. Later calls on local are -ESTALE; the library remembers the last 64,
 * and an older handle is like a freed pointer.
 *
 * -EBUSY	a request is in flight
 * -ESTALE	local was closed
 * Others as fi_close(), for the domain that keeps the verbs context of an RDMA device:
 * the call can be repeated.
 */
int daxpin_ofi_local_close(struct daxpin_ofi_local *local);

/* One for each request in flight. It belongs to the caller, is zeroed before its first
 * use, and must not be moved or changed until the request is done. Then it can be used
 * again. Its address is the context of the request (FI_CONTEXT, FI_CONTEXT2). */
struct daxpin_ofi_io {
	struct fi_context2 context;	/* the provider's */
	void *memory;			/* the buffer */
	void *desc;			/* its descriptor: the argument desc */
	/* The rest is the library's. */
	struct daxpin_hold hold;
	struct daxpin_ofi_local *local;	/* NULL: not in use */
	struct daxpin_ofi_io *self;
	struct fid_mr *region;
	uint64_t reserved[4];
};

/*
 * Hold the extent for one request that uses length bytes of it, from offset on, as its
 * buffer, and store the buffer in io->memory and its descriptor in io->desc. access is
 * DAXPIN_HOLD_READ for fi_send() and fi_write(), DAXPIN_HOLD_WRITE for fi_recv() and
 * fi_read(), or both. Post the request next, with io as its context, so that op_context
 * of its completion is io:
 *
 *	ret = daxpin_ofi_prep(local, io, extent, 0, length, DAXPIN_HOLD_READ);
 *	if (!ret) {
 *		ret = fi_write(ep, io->memory, length, io->desc, to, addr, key, io);
 *		if (ret)
 *			daxpin_ofi_abort(io);
 *	}
 *
 * A request with several buffers needs an io for each; the context is one of them. Each
 * request must have a completion: with FI_SELECTIVE_COMPLETION set FI_COMPLETION.
 * Any thread.
 *
 * -EINVAL	an argument is NULL; access that is none, or other than these two;
 *		length is 0, or the range is not inside the extent; io is in use
 * -ESTALE	the extent's generation has ended; local was closed
 * Others as daxpin_hold_labelled() and fi_mr_reg().
 */
int daxpin_ofi_prep(struct daxpin_ofi_local *local, struct daxpin_ofi_io *io,
		    struct daxpin_extent extent, uint64_t offset, uint64_t length,
		    uint32_t access);

/*
 * End a request whose last completion was read, by fi_cq_read() or fi_cq_readerr():
 * drop its hold. The last completion of a buffer that was posted with FI_MULTI_RECV has
 * the flag FI_MULTI_RECV. If the provider does not close the region of the request, the
 * hold remains, and the call can be repeated. Any thread.
 *
 * -EINVAL	io is NULL, not in use, or a copy; the request is done, but an excess
 *		daxpin_drop() had ended its hold
 * -ESTALE	the request is done, but an excess daxpin_drop() had ended its
 *		hold, and the extent was freed
 * Others as fi_close().
 */
int daxpin_ofi_done(struct daxpin_ofi_io *io);

/* End a request that was not posted: libfabric returned an error, or was not called.
 * Errors as daxpin_ofi_done(). Any thread. */
int daxpin_ofi_abort(struct daxpin_ofi_io *io);

#ifdef __cplusplus
}
#endif
#endif
