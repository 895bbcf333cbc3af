/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A grant as bytes, for the peer: docs/format.md has the layout, byte by byte. Bytes
 * from a peer are checked completely before they are used: the result is a whole
 * descriptor or nothing.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "grant/wire.h"
#include "ofi/types.h"

static const unsigned char MAGIC[8] = { 'D', 'A', 'X', 'O', 'F', 'I', 'G', 'R' };

enum {
	AT_MAGIC = 0,
	AT_VERSION = 8,		/* u8 */
	AT_KEY_SIZE = 9,	/* u8: significant bytes of the key */
	AT_SIZE = 10,		/* u16 */
	AT_ACCESS = 12,		/* u32: WRITE, READ, VIRTUAL */
	AT_ADDR = 16,		/* u64 */
	AT_LENGTH = 24,		/* u64 */
	AT_EXTENT = 32,		/* u64 */
	AT_GEN = 40,		/* u64 */
	AT_UUID = 48,		/* 16 bytes */
	AT_KEY = 64,		/* u64 */
	AT_ID = 72,		/* u64 */
	AT_OFFSET = 80,		/* u64 */
	AT_PROTOCOL = 88,	/* u32 */
	AT_ZERO = 92,		/* u64, 0 */
	AT_CHECK = 100,		/* u32, over all before it */
	END = 104,
};

#define VERSION		1
#define WRITE		2u
#define READ		4u
#define VIRTUAL		8u

static_assert(END == DAXPIN_OFI_DESCRIPTOR_SIZE, "what the header says");

static uint32_t message_access(const struct daxpin_ofi_key *key)
{
	uint32_t access = key->is_virtual ? VIRTUAL : 0;

	if (key->access & FI_REMOTE_WRITE)
		access |= WRITE;
	if (key->access & FI_REMOTE_READ)
		access |= READ;
	return access;
}

static unsigned char message_key_size(uint64_t key)
{
	unsigned char bytes = 0;

	for (; key; key >>= 8)
		bytes++;
	return bytes;
}

DP_EXPORT int daxpin_ofi_export(const struct daxpin_ofi_grant *grant, void *buf,
				size_t size)
{
	const struct daxpin_ofi_key *key;
	unsigned char *out = buf;

	if (!grant || !buf || size < END)
		return -EINVAL;
	if (dp_ofi_state(grant) == DP_GRANT_OVER)
		return -ESTALE;
	key = &grant->key;
	assert(key->length > 0);
	memcpy(out + AT_MAGIC, MAGIC, sizeof(MAGIC));
	dp_wire_put(out + AT_VERSION, VERSION, 1);
	dp_wire_put(out + AT_KEY_SIZE, message_key_size(key->key), 1);
	dp_wire_put(out + AT_SIZE, END, 2);
	dp_wire_put(out + AT_ACCESS, message_access(key), 4);
	dp_wire_put(out + AT_ADDR, key->addr, 8);
	dp_wire_put(out + AT_LENGTH, key->length, 8);
	dp_wire_put(out + AT_EXTENT, key->extent.addr, 8);
	dp_wire_put(out + AT_GEN, key->extent.gen, 8);
	memcpy(out + AT_UUID, key->uuid, sizeof(key->uuid));
	dp_wire_put(out + AT_KEY, key->key, 8);
	dp_wire_put(out + AT_ID, key->id, 8);
	dp_wire_put(out + AT_OFFSET, key->offset, 8);
	dp_wire_put(out + AT_PROTOCOL, key->protocol, 4);
	dp_wire_put(out + AT_ZERO, 0, 8);
	dp_wire_put(out + AT_CHECK, dp_wire_checksum(out, AT_CHECK), 4);
	return END;
}

/* Reject values that no grant can have: a valid checksum does not exclude them. */
static int message_check(const struct daxpin_ofi_key *key, uint32_t access)
{
	if (!(access & (READ | WRITE)) || access & ~(READ | WRITE | VIRTUAL))
		return -EINVAL;
	if (!key->length || key->addr > UINT64_MAX - key->length ||
	    key->offset > UINT64_MAX - key->length || !key->id)
		return -EINVAL;
	return key->is_virtual || !key->addr ? 0 : -EINVAL;
}

/* The peer's provider must be the owner's, and must address memory in the same way. */
static int message_compare(const struct daxpin_ofi_key *key,
			   const struct fi_info *info)
{
	if (!info)
		return 0;
	if (!info->ep_attr || !info->domain_attr ||
	    info->ep_attr->protocol != key->protocol)
		return -EINVAL;
	return !(info->domain_attr->mr_mode & FI_MR_VIRT_ADDR) ==
	       !key->is_virtual ? 0 : -EINVAL;
}

static void message_read(const unsigned char *in, uint32_t access,
			 struct daxpin_ofi_key *key)
{
	key->is_virtual = !!(access & VIRTUAL);
	key->access = (access & WRITE ? FI_REMOTE_WRITE : 0) |
		      (access & READ ? FI_REMOTE_READ : 0);
	key->addr = dp_wire_get(in + AT_ADDR, 8);
	key->length = dp_wire_get(in + AT_LENGTH, 8);
	key->extent.addr = dp_wire_get(in + AT_EXTENT, 8);
	key->extent.gen = dp_wire_get(in + AT_GEN, 8);
	memcpy(key->uuid, in + AT_UUID, sizeof(key->uuid));
	key->key = dp_wire_get(in + AT_KEY, 8);
	key->id = dp_wire_get(in + AT_ID, 8);
	key->offset = dp_wire_get(in + AT_OFFSET, 8);
	key->protocol = (uint32_t)dp_wire_get(in + AT_PROTOCOL, 4);
}

DP_EXPORT int daxpin_ofi_import(const void *buf, size_t size,
				const struct fi_info *info,
				struct daxpin_ofi_key *ret_key)
{
	const unsigned char *in = buf;
	struct daxpin_ofi_key key = { 0 };
	uint32_t access;
	int ret;

	if (!buf || !ret_key || size < END ||
	    memcmp(in + AT_MAGIC, MAGIC, sizeof(MAGIC)))
		return -EINVAL;
	if (dp_wire_get(in + AT_VERSION, 1) != VERSION)
		return -EPROTONOSUPPORT;
	if (dp_wire_get(in + AT_CHECK, 4) != dp_wire_checksum(in, AT_CHECK))
		return -EBADMSG;
	access = (uint32_t)dp_wire_get(in + AT_ACCESS, 4);
	message_read(in, access, &key);
	if (dp_wire_get(in + AT_SIZE, 2) != END || dp_wire_get(in + AT_ZERO, 8) ||
	    dp_wire_get(in + AT_KEY_SIZE, 1) != message_key_size(key.key))
		return -EINVAL;
	ret = message_check(&key, access);
	if (!ret)
		ret = message_compare(&key, info);
	if (!ret)
		*ret_key = key;
	return ret;
}
