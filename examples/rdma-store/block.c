/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "block.h"

static int open_access(struct access *access, const char *peer, int rights,
		       uint32_t flags, struct message *answer)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .flags = flags, .access = rights,
		.label = peer,
	};
	int ret = daxpin_rdma_grant(access->rdma, access->extent, &options,
				    &access->grant);

	if (ret)
		return ret;
	ret = daxpin_grant_export(access->grant, answer->grant,
				  sizeof(answer->grant));
	return ret < 0 ? ret : 0;
}

int block_put(struct store *store, struct access *access, const char *peer,
	      const struct message *request, struct message *answer)
{
	int ret;

	if (access->grant)
		return -EBUSY;
	if (!request->name[0] || !request->size ||
	    request->size > DAXPIN_SEGMENT_MAX)
		return -EINVAL;
	ret = daxpin_reserve(store->pool, request->size + sizeof(struct header),
			     0, &access->extent);
	if (ret)
		return ret;
	access->size = request->size;
	access->writing = 1;
	memcpy(access->name, request->name, sizeof(access->name));
	/*
	 * The peer may read, in order to flush. The block is zeroed, so that it sees no
	 * old bytes.
	 */
	ret = open_access(access, peer,
			  IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
			  DAXPIN_GRANT_ZERO, answer);
	if (ret)
		daxpin_cancel(store->pool, access->extent);
	return ret;
}

/* After this no byte of the peer can land any more. */
static int revoke(struct access *access)
{
	int ret = daxpin_rdma_revoke(access->grant);

	access->grant = NULL;
	return ret;
}

/*
 * Publishes all or nothing: the block, its name, and the retire of the block that had
 * the name before.
 */
static int publish(struct store *store, const struct access *access)
{
	struct daxpin_op ops[3] = {
		{ .type = DAXPIN_OP_KEEP,
		  .extent = access->extent },
		{ .type = DAXPIN_OP_ROOT, .extent = access->extent,
		  .name = access->name },
		{ .type = DAXPIN_OP_RETIRE },
	};
	int ret = daxpin_root(store->pool, access->name, &ops[2].extent);

	if (ret && ret != -ENOENT)
		return ret;
	return daxpin_publish(store->pool, ops, ret ? 2 : 3, NULL, NULL);
}

/* The data are checked after the peer can no longer write them. */
static bool is_whole(struct store *store, const struct access *access,
		     uint64_t hash)
{
	const void *data = daxpin_ptr(store->pool, access->extent,
				      sizeof(struct header));

	return XXH3_64bits(data, access->size) == hash;
}

int block_commit(struct store *store, struct access *access,
		 const struct message *request)
{
	struct header header = { .size = htole64(access->size),
				 .hash = htole64(request->hash) };
	int ret;

	if (!access->grant || !access->writing)
		return -EINVAL;
	ret = revoke(access);
	if (ret)
		return ret;
	if (!is_whole(store, access, request->hash))
		ret = -EBADMSG;
	else
		memcpy(daxpin_ptr(store->pool, access->extent, 0), &header,
		       sizeof(header));
	if (!ret)
		ret = publish(store, access);
	if (ret)
		daxpin_cancel(store->pool, access->extent);
	return ret;
}

int block_get(struct store *store, struct access *access, const char *peer,
	      const struct message *request, struct message *answer)
{
	struct header header;
	int ret;

	if (access->grant)
		return -EBUSY;
	ret = daxpin_root(store->pool, request->name, &access->extent);
	if (ret)
		return ret;
	access->writing = 0;
	/* The grant's hold keeps the block, even if another client retires it now. */
	ret = open_access(access, peer, IBV_ACCESS_REMOTE_READ, 0, answer);
	if (ret)
		return ret == -ESTALE || ret == -EALREADY ? -ENOENT : ret;
	ret = daxpin_read(store->pool, access->extent, 0, sizeof(header),
			  &header);
	if (ret) {
		block_take_back(store, access);
		return ret;
	}
	answer->size = le64toh(header.size);
	answer->hash = le64toh(header.hash);
	return 0;
}

int block_retire(struct store *store, const char *name)
{
	struct daxpin_op ops[2] = {
		{ .type = DAXPIN_OP_ROOT, .name = name },
		{ .type = DAXPIN_OP_RETIRE },
	};
	int ret = daxpin_root(store->pool, name, &ops[1].extent);

	return ret ? ret : daxpin_publish(store->pool, ops, 2, NULL, NULL);
}

int block_take_back(struct store *store, struct access *access)
{
	int ret;

	if (!access->grant)
		return 0;
	ret = revoke(access);
	if (!ret && access->writing)
		ret = daxpin_cancel(store->pool, access->extent);
	return ret;
}
