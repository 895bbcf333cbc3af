/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "block.h"

static const char magic[8] = "dxstore";

/*
 * At the start of each block, little-endian. It is written after the peer has lost its
 * access. The grant would not cover it in any case, so that the order alone does not
 * decide whether the target can trust it.
 */
struct header {
	char magic[8];
	uint64_t size;			/* bytes of data */
	uint64_t hash;			/* XXH3 of the data */
	unsigned char zero[40];
};

_Static_assert(sizeof(struct header) == 64, "a cache line");

/* The checks hold whatever else is in the pool, for example another program's roots. */
static int read_header(struct store *store, struct daxpin_extent extent,
		       struct message *answer)
{
	struct header header;
	uint64_t size;
	int ret = daxpin_read(store->pool, extent, 0, sizeof(header), &header);

	if (!ret)
		ret = daxpin_size(store->pool, extent, &size);
	if (ret)
		return ret;
	answer->size = le64toh(header.size);
	answer->hash = le64toh(header.hash);
	return memcmp(header.magic, magic, sizeof(magic)) || !answer->size ||
	       answer->size > size - sizeof(header) ? -EUCLEAN : 0;
}

/*
 * The block with this name, in order to retire it. With the lock of the names.
 *
 * -ENOENT	there is none
 * -EUCLEAN	the name is of another program, whose extent must not be retired
 */
static int find_block(struct store *store, const char *name,
		      struct daxpin_extent *ret_extent)
{
	struct message ignored;
	int ret = daxpin_root(store->pool, name, ret_extent);

	return ret ? ret : read_header(store, *ret_extent, &ignored);
}

/* Grants the data, to the byte. */
static int open_access(struct access *access, const char *peer, int rights,
		       uint32_t flags, struct message *answer)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .flags = flags, .access = rights,
		.label = peer, .offset = sizeof(struct header),
		.length = access->size,
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
	if (request->size > DAXPIN_SEGMENT_MAX)
		return -EFBIG;
	/* The commit would be refused as well, but only after the transfer. */
	pthread_mutex_lock(&store->names);
	ret = find_block(store, request->name, &access->extent);
	pthread_mutex_unlock(&store->names);
	if (ret && ret != -ENOENT)
		return ret;
	ret = daxpin_reserve(store->pool, request->size + sizeof(struct header),
			     0, &access->extent);
	if (ret)
		return ret;
	access->size = request->size;
	access->writing = true;
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
 * the name before. Peers that are reading that one keep it until they are done.
 */
static int publish(struct store *store, const struct access *access)
{
	struct daxpin_op ops[3] = {
		{ .type = DAXPIN_OP_KEEP, .extent = access->extent },
		{ .type = DAXPIN_OP_ROOT, .extent = access->extent,
		  .name = access->name },
		{ .type = DAXPIN_OP_RETIRE },
	};
	int ret;

	pthread_mutex_lock(&store->names);
	ret = find_block(store, access->name, &ops[2].extent);
	if (!ret || ret == -ENOENT)
		ret = daxpin_publish(store->pool, ops, ret ? 2 : 3, NULL, NULL);
	pthread_mutex_unlock(&store->names);
	return ret;
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
	memcpy(header.magic, magic, sizeof(magic));
	memcpy(daxpin_ptr(store->pool, access->extent, 0), &header, sizeof(header));
	ret = is_whole(store, access, request->hash) ? publish(store, access) :
						       -EBADMSG;
	if (ret)
		daxpin_cancel(store->pool, access->extent);
	return ret;
}

/*
 * -ESTALE, -EALREADY: the block was retired after its name was looked up. From the
 * grant on, its hold keeps the block.
 */
static int get_once(struct store *store, struct access *access, const char *peer,
		    const char *name, struct message *answer)
{
	int ret = daxpin_root(store->pool, name, &access->extent);

	if (ret)
		return ret == -ESTALE ? -EUCLEAN : ret;
	ret = read_header(store, access->extent, answer);
	if (ret)
		return ret;
	access->size = answer->size;
	access->writing = false;
	return open_access(access, peer, IBV_ACCESS_REMOTE_READ, 0, answer);
}

int block_get(struct store *store, struct access *access, const char *peer,
	      const struct message *request, struct message *answer)
{
	int ret;

	if (access->grant)
		return -EBUSY;
	/* A block that was replaced has a successor, and one that was removed none. */
	do
		ret = get_once(store, access, peer, request->name, answer);
	while (ret == -ESTALE || ret == -EALREADY);
	return ret;
}

int block_retire(struct store *store, const char *name)
{
	struct daxpin_op ops[2] = {
		{ .type = DAXPIN_OP_ROOT, .name = name },
		{ .type = DAXPIN_OP_RETIRE },
	};
	int ret;

	pthread_mutex_lock(&store->names);
	ret = find_block(store, name, &ops[1].extent);
	if (!ret)
		ret = daxpin_publish(store->pool, ops, 2, NULL, NULL);
	pthread_mutex_unlock(&store->names);
	return ret;
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
