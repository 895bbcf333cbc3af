/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The RDMA adapter: local memory regions by segment, grants by extent.
 *
 * Owns the registration that announces the protection domain, one local MR
 * for each segment that somebody asked for, and the grants that are out.
 *
 *  - A grant's hold is taken before its MR exists and dropped only after
 *    ibv_dereg_mr() returned 0: the one DMA barrier there is (RDMA 0.2). A
 *    device that refuses leaves the hold where it is, and so the memory.
 *  - A local key is published after its MR exists and stays until the detach,
 *    so that finding it is one load.
 *  - A child of fork() shares the verbs objects: deregistering there would
 *    deregister here. So struct daxpin_rdma is wiped in a child, and whoever
 *    finds no pool in it stops.
 */
#include <daxpin-rdma.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include "adapter.h"
#include "probe.h"

#define EINTR_TRIES	100
#define KEY_VALID	(UINT64_C(1) << 32)

#define ACCESS_WRITES	(IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)
/* A fetch-and-add of nothing shows eight bytes. */
#define ACCESS_READS	(IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC)
/* Each would let a peer past the grant: through a window of the caller's, or
 * to whatever is mapped at the same place later. */
#define ACCESS_REFUSED	(IBV_ACCESS_MW_BIND | IBV_ACCESS_ON_DEMAND | \
			 IBV_ACCESS_ZERO_BASED)

struct slot {
	_Atomic uint64_t key;		/* lkey | KEY_VALID, or 0 */
	struct ibv_mr *mr;
};

struct daxpin_rdma {
	struct daxpin_pool *pool;	/* NULL in a child of fork() */
	struct ibv_pd *pd;
	struct daxpin_registration *registration;
	uint64_t segment_size;
	uint64_t end;			/* pool address past the last segment */
	uint32_t segments;
	_Atomic uint32_t local_mrs;
	_Atomic uint32_t grants;
	_Atomic uint32_t quarantined;
	pthread_mutex_t lock;		/* the making of keys */
	struct slot slots[];
};

struct daxpin_grant {
	struct daxpin_rdma *rdma;
	struct ibv_mr *mr;
	struct daxpin_hold hold;
	struct daxpin_grant_key key;
	bool quarantined;
};

static_assert(sizeof(struct daxpin_grant_key) == 56, "peers rely on it");

/* A signal that is pending can end the making of an MR (RDMA 0.6). */
static int mr_register(struct ibv_pd *pd, void *base, uint64_t length,
		       int access, struct ibv_mr **ret_mr)
{
	struct ibv_mr *mr;
	int tries = 0;

	do {
		errno = 0;
		mr = ibv_reg_mr(pd, base, length, access);
	} while (!mr && errno == EINTR && ++tries < EINTR_TRIES);
	if (!mr)
		return errno ? -errno : -EIO;
	*ret_mr = mr;
	return 0;
}

static int mr_deregister(struct ibv_mr *mr)
{
	int ret;

	errno = 0;
	ret = ibv_dereg_mr(mr);		/* an errno, or -1 and errno */
	if (ret >= 0)
		return -ret;
	return errno ? -errno : -EIO;
}

/* ---------------------------------------------------------- attach, detach */

static int check_source(const struct daxpin_pool_info *info,
			const struct daxpin_rdma_options *o)
{
	if (info->source == DAXPIN_SOURCE_DEVDAX ||
	    info->source == DAXPIN_SOURCE_SHMEM)
		return 0;
	if (info->source == DAXPIN_SOURCE_FSDAX)
		return explain(o->why, o->why_size, -EOPNOTSUPP,
			       "the pool is on a DAX filesystem, where no kernel allows the long-term pin of a memory region: use a device-dax pool for RDMA");
	return explain(o->why, o->why_size, -EOPNOTSUPP,
		       "the pool is on an ordinary disk, whose page cache loses what a device writes: use a device-dax pool, or one on tmpfs");
}

static size_t rdma_bytes(uint32_t segments)
{
	return sizeof(struct daxpin_rdma) + segments * sizeof(struct slot);
}

static void destroy(struct daxpin_rdma *rdma)
{
	pthread_mutex_destroy(&rdma->lock);
	munmap(rdma, rdma_bytes(rdma->segments));
}

static int create(struct daxpin_pool *pool, struct ibv_pd *pd,
		  const struct daxpin_pool_info *info,
		  struct daxpin_rdma **ret_rdma)
{
	struct daxpin_segment last = { 0 };
	size_t bytes = rdma_bytes(info->segments);
	struct daxpin_rdma *rdma;
	int err;

	assert(info->segments > 0 && info->segment_size > 0);
	err = daxpin_segment(pool, info->segments - 1, &last);
	if (err)
		return err;
	rdma = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rdma == MAP_FAILED)
		return -errno;
	if (madvise(rdma, bytes, MADV_WIPEONFORK)) {
		err = -errno;
		munmap(rdma, bytes);
		return err;
	}
	rdma->pool = pool;
	rdma->pd = pd;
	rdma->segments = info->segments;
	rdma->segment_size = info->segment_size;
	rdma->end = last.addr + last.size;
	pthread_mutex_init(&rdma->lock, NULL);
	*ret_rdma = rdma;
	return 0;
}

/* Tell the pool, which records the device on media before it returns. */
static int announce(struct daxpin_rdma *rdma,
		    const struct daxpin_rdma_options *o)
{
	const char *device = ibv_get_device_name(rdma->pd->context->device);
	struct daxpin_registration_options options = {
		.size = sizeof(options),
		.flags = DAXPIN_REGISTRATION_BY_SEGMENT,
		.label = o->label ? o->label : device,
		.rdma_device = device,
		.why = o->why,
		.why_size = o->why_size,
	};

	return daxpin_register(rdma->pool, DAXPIN_ALL_SEGMENTS, &options,
			       &rdma->registration);
}

EXPORT int daxpin_rdma_attach(struct daxpin_pool *pool, struct ibv_pd *pd,
			      const struct daxpin_rdma_options *options,
			      struct daxpin_rdma **ret_rdma)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_rdma_options o = { .size = sizeof(o) };
	struct daxpin_rdma *rdma = NULL;
	int err;

	if (!pool || !pd || !ret_rdma)
		return -EINVAL;
	err = options ? take_options(&o, sizeof(o), options) : 0;
	if (err)
		return err;
	if (o.flags)
		return explain(o.why, o.why_size, -EINVAL,
			       "flags 0x%x: none is defined", o.flags);
	err = daxpin_pool_info(pool, &info);
	if (!err)
		err = check_source(&info, &o);
	if (!err)
		err = create(pool, pd, &info, &rdma);
	if (err)
		return err;
	err = announce(rdma, &o);
	if (err) {
		destroy(rdma);
		return err;
	}
	*ret_rdma = rdma;
	return 0;
}

EXPORT int daxpin_rdma_info(struct daxpin_rdma *rdma,
			    struct daxpin_rdma_info *ret_info)
{
	if (!rdma)
		return -EINVAL;
	if (!rdma->pool)
		return -EOWNERDEAD;
	return give_info(ret_info, &(struct daxpin_rdma_info) {
		.local_mrs = atomic_load(&rdma->local_mrs),
		.grants = atomic_load(&rdma->grants),
		.quarantined = atomic_load(&rdma->quarantined),
	}, sizeof(*ret_info));
}

EXPORT int daxpin_rdma_detach(struct daxpin_rdma *rdma)
{
	struct slot *slot;
	int err;

	if (!rdma)
		return 0;
	if (!rdma->pool)
		return -EOWNERDEAD;
	if (atomic_load(&rdma->grants))
		return -EBUSY;
	for (slot = rdma->slots; slot < rdma->slots + rdma->segments; slot++) {
		if (!slot->mr)
			continue;
		err = mr_deregister(slot->mr);
		if (err)
			return err;
		atomic_store(&slot->key, 0);
		slot->mr = NULL;
		atomic_fetch_sub(&rdma->local_mrs, 1);
	}
	assert(atomic_load(&rdma->local_mrs) == 0);
	err = daxpin_unregister(rdma->registration);
	if (!err)
		destroy(rdma);
	return err;
}

/* ------------------------------------------------------------- local keys */

/* Under the lock: the key of a segment, made where there is none yet. */
static int make_key(struct daxpin_rdma *rdma, uint32_t index, uint64_t *ret_key)
{
	struct slot *slot = &rdma->slots[index];
	struct daxpin_segment segment = { 0 };
	int err;

	if (!slot->mr) {
		err = daxpin_segment(rdma->pool, index, &segment);
		if (!err)
			err = daxpin_registration_pin(rdma->registration,
						      index);
		if (err)
			return err;
		assert(segment.addr == index * rdma->segment_size);
		err = mr_register(rdma->pd, segment.base, segment.size,
				  IBV_ACCESS_LOCAL_WRITE, &slot->mr);
		if (err) {
			daxpin_registration_revoked(rdma->registration, index);
			return err;
		}
		atomic_fetch_add(&rdma->local_mrs, 1);
		/* Pairs with the acquire in daxpin_rdma_lkey(). */
		atomic_store_explicit(&slot->key, KEY_VALID | slot->mr->lkey,
				      memory_order_release);
	}
	*ret_key = KEY_VALID | slot->mr->lkey;
	return 0;
}

EXPORT int daxpin_rdma_lkey(struct daxpin_rdma *rdma, uint64_t addr,
			    uint32_t *ret_lkey)
{
	uint32_t index;
	uint64_t key;
	int err = 0;

	if (!rdma || !ret_lkey)
		return -EINVAL;
	if (addr >= rdma->end)		/* the end is 0 in a child */
		return rdma->pool ? -ENOENT : -EOWNERDEAD;
	index = (uint32_t)(addr / rdma->segment_size);
	/* Pairs with the release in make_key(). */
	key = atomic_load_explicit(&rdma->slots[index].key,
				   memory_order_acquire);
	if (!key) {
		pthread_mutex_lock(&rdma->lock);
		err = make_key(rdma, index, &key);
		pthread_mutex_unlock(&rdma->lock);
	}
	if (!err)
		*ret_lkey = (uint32_t)key;
	return err;
}

/* Under the lock: what was made is unmade, or all stays as it was. */
static int end_key(struct daxpin_rdma *rdma, uint32_t index)
{
	struct slot *slot = &rdma->slots[index];
	uint64_t key = atomic_exchange(&slot->key, 0);
	int err = mr_deregister(slot->mr);

	if (err) {
		atomic_store_explicit(&slot->key, key, memory_order_release);
		return err;
	}
	slot->mr = NULL;
	atomic_fetch_sub(&rdma->local_mrs, 1);
	return daxpin_registration_revoked(rdma->registration, index);
}

EXPORT int daxpin_rdma_service(struct daxpin_rdma *rdma)
{
	int err = 0;

	if (!rdma)
		return -EINVAL;
	if (!rdma->pool)
		return -EOWNERDEAD;
	pthread_mutex_lock(&rdma->lock);
	for (uint32_t i = 0; !err && daxpin_registration_wanted(
				rdma->registration, &i) > 0; i++)
		err = end_key(rdma, i);
	pthread_mutex_unlock(&rdma->lock);
	return err;
}

/* ------------------------------------------------------------------ grants */

static int check_grant(const struct daxpin_grant_options *o)
{
	if (o->flags & ~(DAXPIN_GRANT_ZERO | DAXPIN_GRANT_EXPOSE))
		return explain(o->why, o->why_size, -EINVAL,
			       "flags 0x%x: unknown", o->flags);
	if (!(o->access & (ACCESS_READS | ACCESS_WRITES)))
		return explain(o->why, o->why_size, -EINVAL,
			       "access 0x%x gives the peer nothing: name IBV_ACCESS_REMOTE_READ, _WRITE or _ATOMIC",
			       (unsigned int)o->access);
	if (o->access & ACCESS_REFUSED)
		return explain(o->why, o->why_size, -EINVAL,
			       "access 0x%x: memory windows, on-demand and zero-based regions reach past the grant",
			       (unsigned int)o->access);
	return 0;
}

/*
 * What the peer would see of those who had the blocks before. The state is
 * asked under the hold, so that no other life can have begun meanwhile.
 */
static int settle_old_bytes(struct daxpin_grant *grant,
			    const struct daxpin_grant_options *o)
{
	enum daxpin_state state = DAXPIN_STATE_FREE;
	bool reserved;
	int err;

	err = daxpin_state(grant->rdma->pool, grant->key.extent, &state);
	if (err)
		return err;
	assert(state != DAXPIN_STATE_FREE);
	reserved = state == DAXPIN_STATE_RESERVED;
	if ((o->flags & DAXPIN_GRANT_ZERO) && !reserved)
		return explain(o->why, o->why_size, -EINVAL,
			       "DAXPIN_GRANT_ZERO would wipe a published extent");
	if (reserved && (o->access & ACCESS_READS) && !o->flags)
		return explain(o->why, o->why_size, -EPERM,
			       "the peer could read what the blocks held before: zero them (DAXPIN_GRANT_ZERO) or allow it (DAXPIN_GRANT_EXPOSE)");
	if (o->flags & DAXPIN_GRANT_ZERO)
		memset((void *)(uintptr_t)grant->key.addr, 0,
		       grant->key.length);
	return 0;
}

static int fill_key(struct daxpin_grant *grant, struct daxpin_extent extent,
		    const struct daxpin_grant_options *o)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_pool *pool = grant->rdma->pool;
	int err;

	err = daxpin_size(pool, extent, &grant->key.length);
	if (!err)
		err = daxpin_pool_info(pool, &info);
	if (err)
		return err;
	grant->key.addr = (uintptr_t)daxpin_ptr(pool, extent, 0);
	assert(grant->key.addr && grant->key.length);
	grant->key.access = (uint32_t)o->access;
	grant->key.extent = extent;
	memcpy(grant->key.uuid, info.uuid, sizeof(info.uuid));
	return 0;
}

/* The memory region, over exactly the extent: what lets the peer in. */
static int open_door(struct daxpin_grant *grant,
		     const struct daxpin_grant_options *o)
{
	const struct daxpin_grant_key *key = &grant->key;
	struct ibv_pd *pd = grant->rdma->pd;
	struct rlimit limit = { 0 };
	int access = o->access;
	int err;

	if (access & ACCESS_WRITES)
		access |= IBV_ACCESS_LOCAL_WRITE;	/* as the verbs ask */
	err = mr_register(pd, (void *)(uintptr_t)key->addr, key->length,
			  access, &grant->mr);
	if (!err)
		return 0;
	if (err == -ENOMEM) {
		getrlimit(RLIMIT_MEMLOCK, &limit);
		return explain(o->why, o->why_size, err,
			       "%" PRIu64 " bytes cannot be pinned: RLIMIT_MEMLOCK is %" PRIu64 ": raise it (ulimit -l, LimitMEMLOCK=) or give CAP_IPC_LOCK",
			       key->length, (uint64_t)limit.rlim_cur);
	}
	return explain(o->why, o->why_size, err,
		       "%s refused a memory region of %" PRIu64 " bytes with access 0x%x: %s",
		       ibv_get_device_name(pd->context->device), key->length,
		       (unsigned int)access, strerror(-err));
}

static int give(struct daxpin_grant *grant, struct daxpin_extent extent,
		const struct daxpin_grant_options *o)
{
	struct daxpin_pool *pool = grant->rdma->pool;
	uint32_t access = 0;
	int err, drop_err;

	if (o->access & ACCESS_WRITES)
		access |= DAXPIN_HOLD_WRITE;
	if (o->access & ACCESS_READS)
		access |= DAXPIN_HOLD_READ;
	err = daxpin_hold_labelled(pool, extent, access,
				   o->label ? o->label : "grant", &grant->hold);
	if (err)
		return explain(o->why, o->why_size, err,
			       "the extent cannot be held: %s", strerror(-err));
	err = fill_key(grant, extent, o);
	if (!err)
		err = settle_old_bytes(grant, o);
	if (!err)
		err = open_door(grant, o);
	if (!err) {
		grant->key.rkey = grant->mr->rkey;
		return 0;
	}
	drop_err = daxpin_drop_labelled(pool, &grant->hold);
	assert(drop_err == 0);
	return err;
}

EXPORT int daxpin_rdma_grant(struct daxpin_rdma *rdma,
			     struct daxpin_extent extent,
			     const struct daxpin_grant_options *options,
			     struct daxpin_grant **ret_grant)
{
	struct daxpin_grant_options o = { .size = sizeof(o) };
	struct daxpin_grant *grant;
	int err;

	if (!rdma || !options || !ret_grant)
		return -EINVAL;
	if (!rdma->pool)
		return -EOWNERDEAD;
	err = take_options(&o, sizeof(o), options);
	if (!err)
		err = check_grant(&o);
	if (err)
		return err;
	grant = calloc(1, sizeof(*grant));
	if (!grant)
		return -ENOMEM;
	grant->rdma = rdma;
	atomic_fetch_add(&rdma->grants, 1);
	err = give(grant, extent, &o);
	if (err) {
		atomic_fetch_sub(&rdma->grants, 1);
		free(grant);
		return err;
	}
	*ret_grant = grant;
	return 0;
}

EXPORT void daxpin_grant_key(const struct daxpin_grant *grant,
			     struct daxpin_grant_key *ret_key)
{
	*ret_key = grant->key;
}

EXPORT int daxpin_rdma_revoke(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma;
	int err;

	if (!grant)
		return 0;
	rdma = grant->rdma;
	if (!rdma->pool)
		return -EOWNERDEAD;
	err = mr_deregister(grant->mr);
	DP_PROBE_REVOKE(rdma->pool, grant->key.extent.addr, grant->key.length,
			grant->hold.label, err);
	if (err) {
		if (!grant->quarantined)
			atomic_fetch_add(&rdma->quarantined, 1);
		grant->quarantined = true;
		return err;
	}
	/* From here on nothing that the peer sends can reach the extent. */
	err = daxpin_drop_labelled(rdma->pool, &grant->hold);
	assert(err == 0);
	if (grant->quarantined)
		atomic_fetch_sub(&rdma->quarantined, 1);
	atomic_fetch_sub(&rdma->grants, 1);
	free(grant);
	return 0;
}
