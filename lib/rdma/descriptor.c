/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A grant as bytes, for the peer: docs/format.md has the layout, byte by byte.
 *
 *  - Bytes from a peer are checked completely before they are used: the result is a
 *    whole descriptor or nothing.
 */

#include <assert.h>
#include <errno.h>
#include <string.h>
#include "grant/wire.h"
#include "rdma/revoke.h"
#include "rdma/types.h"

static const unsigned char MAGIC[8] = { 'D', 'A', 'X', 'G', 'R', 'A', 'N', 'T' };

enum {
	AT_MAGIC = 0,
	AT_VERSION = 8,		/* u16 */
	AT_SIZE = 10,		/* u16 */
	AT_ACCESS = 12,		/* u32 */
	AT_ADDR = 16,		/* u64 */
	AT_LENGTH = 24,		/* u64 */
	AT_EXTENT = 32,		/* u64 */
	AT_GEN = 40,		/* u64 */
	AT_UUID = 48,		/* 16 bytes */
	AT_RKEY = 64,		/* u32 */
	AT_ZERO = 68,		/* u32, 0 */
	AT_ID = 72,		/* u64 */
	AT_OFFSET = 80,		/* u64 */
	AT_ZERO2 = 88,		/* u32, 0 */
	AT_CHECK = 92,		/* u32, over all before it */
	END = 96,
};

#define VERSION		1

static_assert(END == DAXPIN_GRANT_DESCRIPTOR_SIZE, "what the header says");
/* The verbs' own numbers, which are part of the kernel's ABI. */
static_assert(IBV_ACCESS_REMOTE_WRITE == 2 && IBV_ACCESS_REMOTE_READ == 4 &&
	      IBV_ACCESS_REMOTE_ATOMIC == 8, "docs/format.md says so");

#define ACCESS_ALL	(IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
			 IBV_ACCESS_REMOTE_ATOMIC | DAXPIN_ACCESS_FLUSH | \
			 DAXPIN_KEY_BOUNCED)

DP_EXPORT int daxpin_grant_export(const struct daxpin_grant *grant, void *buf,
				  size_t size)
{
	const struct daxpin_grant_key *key;
	unsigned char *out = buf;

	if (!grant || !buf || size < END)
		return -EINVAL;
	if (dp_revoke_is_over(grant))
		return -ESTALE;
	key = &grant->key;
	assert(key->length > 0);
	memcpy(out + AT_MAGIC, MAGIC, sizeof(MAGIC));
	dp_wire_put(out + AT_VERSION, VERSION, 2);
	dp_wire_put(out + AT_SIZE, END, 2);
	dp_wire_put(out + AT_ACCESS, key->access & ACCESS_ALL, 4);
	dp_wire_put(out + AT_ADDR, key->addr, 8);
	dp_wire_put(out + AT_LENGTH, key->length, 8);
	dp_wire_put(out + AT_EXTENT, key->extent.addr, 8);
	dp_wire_put(out + AT_GEN, key->extent.gen, 8);
	memcpy(out + AT_UUID, key->uuid, sizeof(key->uuid));
	dp_wire_put(out + AT_RKEY, key->rkey, 4);
	dp_wire_put(out + AT_ZERO, 0, 4);
	dp_wire_put(out + AT_ID, key->id, 8);
	dp_wire_put(out + AT_OFFSET, key->offset, 8);
	dp_wire_put(out + AT_ZERO2, 0, 4);
	dp_wire_put(out + AT_CHECK, dp_wire_checksum(out, AT_CHECK), 4);
	return END;
}

/* Reject values that no grant can have: a valid checksum does not exclude them. */
static int descriptor_check(const struct daxpin_grant_key *key)
{
	if (!key->access || key->access & ~(uint32_t)ACCESS_ALL)
		return -EINVAL;
	if (!key->length || key->addr > UINT64_MAX - key->length ||
	    key->offset > UINT64_MAX - key->length || !key->id)
		return -EINVAL;
	return 0;
}

DP_EXPORT int daxpin_grant_import(const void *buf, size_t size,
				  struct daxpin_grant_key *ret_key)
{
	const unsigned char *in = buf;
	struct daxpin_grant_key key = { 0 };
	int ret;

	if (!buf || !ret_key || size < END ||
	    memcmp(in + AT_MAGIC, MAGIC, sizeof(MAGIC)))
		return -EINVAL;
	if (dp_wire_get(in + AT_VERSION, 2) != VERSION)
		return -EPROTONOSUPPORT;
	if (dp_wire_get(in + AT_CHECK, 4) !=
	    dp_wire_checksum(in, AT_CHECK))
		return -EBADMSG;
	if (dp_wire_get(in + AT_SIZE, 2) != END ||
	    dp_wire_get(in + AT_ZERO, 4) || dp_wire_get(in + AT_ZERO2, 4))
		return -EINVAL;
	key.access = (uint32_t)dp_wire_get(in + AT_ACCESS, 4);
	key.addr = dp_wire_get(in + AT_ADDR, 8);
	key.length = dp_wire_get(in + AT_LENGTH, 8);
	key.extent.addr = dp_wire_get(in + AT_EXTENT, 8);
	key.extent.gen = dp_wire_get(in + AT_GEN, 8);
	memcpy(key.uuid, in + AT_UUID, sizeof(key.uuid));
	key.id = dp_wire_get(in + AT_ID, 8);
	key.offset = dp_wire_get(in + AT_OFFSET, 8);
	key.rkey = (uint32_t)dp_wire_get(in + AT_RKEY, 4);
	ret = descriptor_check(&key);
	if (!ret)
		*ret_key = key;
	return ret;
}
