/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin for RDMA: memory regions over a pool, and grants to remote peers that
 * can be taken back. Written on daxpin.h alone.
 *
 * The CPU sees nothing of one-sided RDMA, so idleness of remote access is
 * made, never counted: a grant is a memory region of its own over exactly one
 * extent, and revoke deregisters it, which is the barrier (RDMA 0.2). A peer
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

struct daxpin_rdma_options {
	size_t size;			/* sizeof(struct daxpin_rdma_options) */
	uint32_t flags;			/* must be 0 */
	const char *label;		/* shown by daxpin_holds(); copied */
	char *why;			/* on failure: one sentence, cause and cure */
	size_t why_size;
};

struct daxpin_rdma_info {
	size_t size;			/* sizeof(struct daxpin_rdma_info) */
	uint32_t local_mrs;		/* segments registered for local keys */
	uint32_t grants;		/* out now */
	uint32_t quarantined;		/* grants the device refused to end */
};

/*
 * Attach a protection domain. The owner is recorded on media, so that a
 * successor waits for this process's verbs context. Nothing is pinned yet.
 * -EOPNOTSUPP: fsdax takes no long-term pins (KERNEL 0.1); a disk directory.
 */
int daxpin_rdma_attach(struct daxpin_pool *pool, struct ibv_pd *pd,
		       const struct daxpin_rdma_options *options,
		       struct daxpin_rdma **ret_rdma);

int daxpin_rdma_info(struct daxpin_rdma *rdma,
		     struct daxpin_rdma_info *ret_info);

/*
 * The local key for the segment of a pool address. The first call for a
 * segment registers it, which may block; later ones are one load. Local keys
 * give no remote access. Whoever posts a work request with it takes a hold, and
 * asks for the key under it: daxpin_rdma_service() may end a key.
 * -ENOENT: past the pool's end; -ENOMEM: RLIMIT_MEMLOCK; -EAGAIN: the segment
 * has holes or is being reclaimed, refill it first. Any thread.
 */
int daxpin_rdma_lkey(struct daxpin_rdma *rdma, uint64_t addr,
		     uint32_t *ret_lkey);

/*
 * Deregister the local keys of segments that a reclaim wants to punch; the next
 * daxpin_rdma_lkey() makes new ones. Blocks in ibv_dereg_mr(). Call it when there
 * was a DAXPIN_EVENT_REVOKE; without it no segment that has a local key can be
 * reclaimed. What is posted with such a key at this time fails; none is asked for
 * while anything in its segment is held. The device's -errno where it refuses.
 * Not concurrent with daxpin_rdma_detach(), else any thread.
 */
int daxpin_rdma_service(struct daxpin_rdma *rdma);

#define DAXPIN_GRANT_ZERO	0x1u	/* zero it first; reserved extents only */
#define DAXPIN_GRANT_EXPOSE	0x2u	/* let the peer read what is there */

struct daxpin_grant_options {
	size_t size;			/* sizeof(struct daxpin_grant_options) */
	uint32_t flags;			/* DAXPIN_GRANT_... */
	int access;			/* IBV_ACCESS_REMOTE_READ, _WRITE, _ATOMIC */
	const char *label;		/* the peer, for daxpin_holds(); copied */
	char *why;			/* on failure: one sentence, cause and cure */
	size_t why_size;
};

/* What the peer needs. As bytes for a message: daxpin_grant_export(). */
struct daxpin_grant_key {
	uint64_t addr;			/* remote address for work requests */
	uint64_t length;		/* bytes */
	uint32_t rkey;
	uint32_t access;		/* IBV_ACCESS_REMOTE_..., no other bit */
	struct daxpin_extent extent;	/* to name it in messages */
	unsigned char uuid[16];		/* of the pool */
};

/*
 * Let a peer at exactly this extent. Takes a hold until the revoke. A grant
 * that can read a reserved extent would show the previous owner's bytes: it
 * needs ZERO or EXPOSE, else -EPERM. Registering blocks. Errors as
 * daxpin_hold(), and those of ibv_reg_mr(). Any thread.
 */
int daxpin_rdma_grant(struct daxpin_rdma *rdma, struct daxpin_extent extent,
		      const struct daxpin_grant_options *options,
		      struct daxpin_grant **ret_grant);

void daxpin_grant_key(const struct daxpin_grant *grant,
		      struct daxpin_grant_key *ret_key);

#define DAXPIN_GRANT_DESCRIPTOR_SIZE	72

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
 * Take a grant back and free it. Blocks in ibv_dereg_mr(); when it returns 0
 * no byte of the peer's can land any more and the hold is dropped. Should the
 * device refuse, its -errno is returned and the extent is quarantined: grant
 * and hold stay, the pool cannot be closed. Each further call asks again; only
 * the device's yes ends it. NULL is fine.
 */
int daxpin_rdma_revoke(struct daxpin_grant *grant);

/*
 * Deregister the local keys, free rdma. -EBUSY while grants are out; the
 * device's -errno, and rdma stays, where it refuses. Not concurrent with any
 * other call on rdma. NULL is fine.
 */
int daxpin_rdma_detach(struct daxpin_rdma *rdma);

#ifdef __cplusplus
}
#endif
#endif
