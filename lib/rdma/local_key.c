/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns the local keys: one memory region for each segment whose key was requested, with
 * no access for any peer.
 *
 *	none -> made		[local_key_make]
 *	made -> lent -> made	[dp_local_key_lend, dp_local_key_return]
 *	made -> none		[local_key_end] for a reclaim,
 *				[dp_local_keys_close] at the detach
 *
 *  - C5: if the device does not end one key, the others are ended nevertheless.
 *  - C8: a temporary failure of the device is retried, and no thread waits for
 *    make_lock meanwhile.
 *  - key_word is stored after the region exists, so that a lookup needs only one load.
 *  - A region that is lent to memory windows is not deregistered. A reclaim asks for
 *    the pin of a segment only while nothing in it is held, so no window uses the
 *    region at that moment. But the reclaim may end before this module gives the pin
 *    back, and then a new grant can borrow the region. So `lent` is checked.
 */

#include "rdma/local_key.h"

#include <assert.h>
#include <errno.h>
#include "rdma/mr.h"
#include "grant/retry.h"
#include "util/cancel.h"

#define KEY_VALID	(UINT64_C(1) << 32)

/* On soft-RoCE a region can have at most 1 GiB (rdma.md R11). */
static_assert(DAXPIN_SEGMENT_MAX <= 1024u << 20, "a segment is one region");

void dp_local_keys_init(struct daxpin_rdma *rdma)
{
	pthread_mutex_init(&rdma->keys.make_lock, NULL);
}

void dp_local_keys_destroy(struct daxpin_rdma *rdma)
{
	pthread_mutex_destroy(&rdma->keys.make_lock);
}

void dp_local_keys_allow(struct daxpin_rdma *rdma, bool for_windows)
{
	int access = IBV_ACCESS_LOCAL_WRITE;

	assert(!rdma->keys.mr_access);
	if (for_windows)
		access |= IBV_ACCESS_MW_BIND;
	rdma->keys.mr_access = access;
}

/* Called with the lock held: find the key of a segment, or make it. *ret_device: the
 * device failed. */
static int local_key_make(struct daxpin_rdma *rdma, uint32_t index,
			  uint64_t *ret_key, bool *ret_device)
{
	struct dp_local_key *slot = &rdma->slots[index];
	struct daxpin_segment segment = { 0 };
	int ret;

	if (!rdma->keys.mr_access)
		return -EOPNOTSUPP;
	if (!slot->segment_mr) {
		ret = daxpin_segment(rdma->pool, index, &segment);
		if (!ret)
			ret = daxpin_registration_pin(rdma->registration,
						      index);
		if (ret)
			return ret;
		assert(segment.addr == index * rdma->segment_size);
		ret = dp_mr_register_once(rdma->pd, segment.base, segment.size,
					  rdma->keys.mr_access,
					  &slot->segment_mr);
		if (ret) {
			*ret_device = true;
			daxpin_registration_revoked(rdma->registration, index);
			return ret;
		}
		atomic_fetch_add(&rdma->keys.mr_count, 1);
		/* Pairs with the acquire in daxpin_rdma_lkey(). */
		atomic_store_explicit(&slot->key_word,
				      KEY_VALID | slot->segment_mr->lkey,
				      memory_order_release);
	}
	*ret_key = KEY_VALID | slot->segment_mr->lkey;
	return 0;
}

/* Find or make the key of a segment. If lend is set, lend its region to one more
 * window. */
static int local_key_find(struct daxpin_rdma *rdma, uint32_t index, bool lend,
			  uint64_t *ret_key)
{
	struct dp_retry retry = { 0 };
	bool of_device;
	int ret;

	do {
		of_device = false;
		pthread_mutex_lock(&rdma->keys.make_lock);
		ret = local_key_make(rdma, index, ret_key, &of_device);
		if (!ret && lend)
			rdma->slots[index].lent++;
		pthread_mutex_unlock(&rdma->keys.make_lock);
	} while (of_device && dp_retry(&retry, ret));
	return ret;
}

DP_EXPORT int daxpin_rdma_lkey(struct daxpin_rdma *rdma, uint64_t addr,
			       uint32_t *ret_lkey)
{
	DP_UNCANCELLED();
	uint32_t index;
	uint64_t key;
	int ret = 0;

	if (!rdma || !ret_lkey)
		return -EINVAL;
	if (addr >= rdma->end) {	/* which is 0 if there is no pool */
		ret = dp_rdma_enter(rdma);
		return ret ? ret : -ENOENT;
	}
	index = (uint32_t)(addr / rdma->segment_size);
	/* Pairs with the release in local_key_make(). */
	key = atomic_load_explicit(&rdma->slots[index].key_word,
				   memory_order_acquire);
	if (!key)
		ret = local_key_find(rdma, index, false, &key);
	if (!ret)
		*ret_lkey = (uint32_t)key;
	return ret;
}

int dp_local_key_lend(struct daxpin_rdma *rdma, uint64_t addr,
		     struct ibv_mr **ret_mr)
{
	uint32_t index = (uint32_t)(addr / rdma->segment_size);
	uint64_t key;
	int ret = local_key_find(rdma, index, true, &key);

	/* A lent region is not deregistered, so it can be read without the lock. */
	if (!ret)
		*ret_mr = rdma->slots[index].segment_mr;
	return ret;
}

void dp_local_key_return(struct daxpin_rdma *rdma, uint64_t addr)
{
	struct dp_local_key *slot = &rdma->slots[addr / rdma->segment_size];

	pthread_mutex_lock(&rdma->keys.make_lock);
	assert(slot->segment_mr && slot->lent);
	slot->lent--;
	pthread_mutex_unlock(&rdma->keys.make_lock);
}

/*
 * Called with the lock held: end the key, or change nothing. -EINVAL: the program has
 * changed the pin by a call with the adapter's registration.
 */
static int local_key_end(struct daxpin_rdma *rdma, uint32_t index)
{
	struct dp_local_key *slot = &rdma->slots[index];
	uint64_t key;
	int ret;

	if (!slot->segment_mr)
		return -EINVAL;
	if (slot->lent)
		return 0;
	key = atomic_exchange(&slot->key_word, 0);
	ret = dp_mr_deregister_once(slot->segment_mr);
	if (ret) {
		atomic_store_explicit(&slot->key_word, key,
				      memory_order_release);
		return ret;
	}
	slot->segment_mr = NULL;
	atomic_fetch_sub(&rdma->keys.mr_count, 1);
	return daxpin_registration_revoked(rdma->registration, index);
}

/*
 * End the key of each segment that is wanted, even after an error. Returns the first
 * error; a temporary one, if there was any, is in *ret_transient.
 */
static int local_keys_end_wanted(struct daxpin_rdma *rdma, int *ret_transient)
{
	int ret, first = 0;

	*ret_transient = 0;
	pthread_mutex_lock(&rdma->keys.make_lock);
	for (uint32_t i = 0; daxpin_registration_wanted(rdma->registration,
							&i) > 0; i++) {
		ret = local_key_end(rdma, i);
		if (!first)
			first = ret;
		if (dp_retry_is_transient(ret))
			*ret_transient = ret;
	}
	pthread_mutex_unlock(&rdma->keys.make_lock);
	return first;
}

int dp_local_keys_service(struct daxpin_rdma *rdma)
{
	struct dp_retry retry = { 0 };
	int ret, transient;

	do
		ret = local_keys_end_wanted(rdma, &transient);
	while (dp_retry(&retry, transient));
	return ret;
}

uint32_t dp_local_keys_count(struct daxpin_rdma *rdma)
{
	return atomic_load(&rdma->keys.mr_count);
}

DP_EXPORT int daxpin_rdma_sge(struct daxpin_rdma *rdma,
			      struct daxpin_extent extent, uint64_t offset,
			      uint64_t length, struct ibv_sge *ret_sge)
{
	DP_UNCANCELLED();
	uint64_t size;
	uint32_t lkey;
	int ret = ret_sge ? dp_rdma_enter(rdma) : -EINVAL;

	if (ret)
		return ret;
	ret = daxpin_size(rdma->pool, extent, &size);
	if (ret)
		return ret;
	if (!length || length > UINT32_MAX || offset > size ||
	    length > size - offset)
		return -EINVAL;
	ret = daxpin_idle(rdma->pool, extent);
	if (ret)			/* the extent is not held, or has ended */
		return ret < 0 ? ret : -EINVAL;
	/* The whole range is in one segment, like every extent. */
	ret = daxpin_rdma_lkey(rdma, extent.addr, &lkey);
	if (ret)
		return ret;
	*ret_sge = (struct ibv_sge) {
		.addr = (uintptr_t)daxpin_ptr(rdma->pool, extent, offset),
		.length = (uint32_t)length,
		.lkey = lkey,
	};
	assert(ret_sge->addr);
	return 0;
}

static int local_key_close(struct daxpin_rdma *rdma, struct dp_local_key *slot)
{
	int ret;

	if (!slot->segment_mr)
		return 0;
	assert(!slot->lent);
	ret = dp_mr_deregister(slot->segment_mr);
	if (ret)
		return ret;
	atomic_store(&slot->key_word, 0);
	slot->segment_mr = NULL;
	atomic_fetch_sub(&rdma->keys.mr_count, 1);
	return 0;
}

int dp_local_keys_close(struct daxpin_rdma *rdma)
{
	struct dp_local_key *slot;
	int ret, first = 0;

	for (slot = rdma->slots; slot < rdma->slots + rdma->segments; slot++) {
		ret = local_key_close(rdma, slot);
		if (!first)
			first = ret;
	}
	assert(first || atomic_load(&rdma->keys.mr_count) == 0);
	return first;
}
