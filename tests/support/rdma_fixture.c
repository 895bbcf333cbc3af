/* SPDX-License-Identifier: BSD-3-Clause */
#include "rdma_fixture.h"
#include "draw.h"
#include "segment_files.h"
#include "shm.h"
#include "writers.h"

const char *rdma_device;

bool rdma_find_device(void)
{
	rdma_device = getenv("DAXPIN_TEST_RDMA");
	if (!rdma_device)
		printf("# skipped: DAXPIN_TEST_RDMA names no RDMA device: run it in the lab (./dev lab)\n");
	return rdma_device;
}

int remove_one(const char *path, const struct stat *st, int type,
	       struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void remove_tree(const char *path)
{
	nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int make_pool(const struct place *place, char path[64],
	      struct daxpin_pool **ret_pool)
{
	char errmsg[256] = "";
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.flags = DAXPIN_POOL_OVERWRITE,
		.deadline_ns = daxpin_deadline_ms(600000),
		.errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	int err;

	if (place->device) {
		snprintf(path, 64, "%s", place->device);
	} else {
		snprintf(path, 64, "%s/daxpin-test-XXXXXX",
			 place->directory ? place->directory : shm_directory());
		if (!mkdtemp(path))
			return -errno;
		/*
		 * A pool on shmem is smaller, since an emulated CPU takes long to zero
		 * it.
		 */
		options.pool_size = UINT64_C(1) <<
				    (place->directory ? 27 : 26);
	}
	if (!place->device || place->small_segments)
		options.segment_size = DAXPIN_SEGMENT_MIN;
	err = daxpin_pool_create(path, &options, ret_pool);
	if (!err)
		return 0;
	print_message("%s\n", errmsg);
	if (!place->device)
		remove_tree(path);
	return err;
}

int attach(struct fixture *f)
{
	struct daxpin_rdma_options options = {
		.size = sizeof(options),
		.flags = f->flags | DAXPIN_RDMA_NO_REGIONS,
		.label = "test domain",
		.run = f->run,
		.errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};

	return daxpin_rdma_attach(f->pool, f->nic.pd, &options, &f->rdma);
}

int reconnect(struct fixture *f)
{
	struct wire_address ours = wire_address(&f->wire);
	struct wire_address theirs = wire_address(&f->peer);
	int err = wire_connect(&f->wire, &theirs);

	return err ? err : wire_connect(&f->peer, &ours);
}

int make_peer(struct fixture *f)
{
	if (nic_open(&f->nic, rdma_device) ||
	    nic_open(&f->peer_nic, rdma_device) ||
	    wire_open(&f->wire, &f->nic) || wire_open(&f->peer, &f->peer_nic))
		return -1;
	f->buffer = aligned_alloc(4096, PEER_BYTES);
	if (!f->buffer)
		return -1;
	f->mr = ibv_reg_mr(f->peer_nic.pd, f->buffer, PEER_BYTES,
			   IBV_ACCESS_LOCAL_WRITE | WRITE | READ);
	return f->mr ? reconnect(f) : -1;
}

int setup(void **state)
{
	const struct place *place = *state;
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || make_pool(place, f->path, &f->pool))
		return -1;
	*state = f;
	return make_peer(f) ? -1 : attach(f);
}

int teardown(void **state)
{
	struct fixture *f = *state;
	int i, err = 0;

	for (i = 0; i < GRANTS_MAX; i++)
		err |= daxpin_rdma_revoke(f->grants[i]);
	err |= daxpin_rdma_detach(f->rdma);
	wire_close(&f->wire);
	wire_close(&f->peer);
	ibv_dereg_mr(f->mr);
	err |= nic_close(&f->nic);
	err |= nic_close(&f->peer_nic);
	err |= daxpin_pool_close(f->pool);
	if (strstr(f->path, "/daxpin-test-"))
		remove_tree(f->path);
	free(f->buffer);
	free(f);
	return err;
}

struct daxpin_extent reserve(struct fixture *f)
{
	struct daxpin_extent extent;

	assert_int_equal(daxpin_reserve(f->pool, EXTENT_BYTES, 0, &extent), 0);
	return extent;
}

unsigned char *bytes(struct fixture *f, struct daxpin_extent extent)
{
	unsigned char *base = daxpin_ptr(f->pool, extent, 0);

	assert_non_null(base);
	return base;
}

int publish(struct fixture *f, struct daxpin_extent extent, uint32_t type)
{
	struct daxpin_op op = {
		.type = type,
		.flags = type == DAXPIN_OP_KEEP ? DAXPIN_OP_WRITERS : 0,
		.extent = extent,
	};

	return daxpin_publish(f->pool, &op, 1, NULL, NULL);
}

int grant(struct fixture *f, unsigned int i, struct daxpin_extent extent,
	  int access, uint32_t flags)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options),
		.flags = flags,
		.access = access,
		.label = "test peer",
		.errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};

	assert_true(i < GRANTS_MAX && !f->grants[i]);
	f->errmsg[0] = '\0';
	return daxpin_rdma_grant(f->rdma, extent, &options, &f->grants[i]);
}

struct daxpin_grant_key key_of(struct fixture *f, unsigned int i)
{
	struct daxpin_grant_key key;

	daxpin_grant_key(f->grants[i], &key);
	return key;
}

int take_back(struct fixture *f, unsigned int i)
{
	int err = daxpin_rdma_revoke(f->grants[i]);

	if (!err)
		f->grants[i] = NULL;
	return err;
}

int transfer(struct fixture *f, enum ibv_wr_opcode opcode,
	     const struct daxpin_grant_key *key, uint64_t offset,
	     uint64_t length)
{
	struct transfer transfer = {
		.opcode = opcode,
		.mr = f->mr,
		.remote = key->addr + offset,
		.rkey = key->rkey,
		.length = (uint32_t)length,
	};
	int status = wire_transfer(&f->peer, &transfer);

	if (status)
		assert_int_equal(reconnect(f), 0);
	return status;
}

int transfer_some(struct wire *wire, enum ibv_wr_opcode opcode, struct ibv_mr *mr,
		  const struct daxpin_grant_key *key, uint32_t serial,
		  unsigned int *seed)
{
	unsigned int blocks = (unsigned int)(key->length / DAXPIN_BLOCK_SIZE);
	unsigned int first = draw(seed, blocks);
	unsigned int count = 1 + draw(seed, blocks - first);
	struct transfer transfer = {
		.opcode = opcode, .mr = mr, .rkey = key->rkey,
		.remote = key->addr + first * DAXPIN_BLOCK_SIZE,
		.length = count * DAXPIN_BLOCK_SIZE,
	};

	writers_stamp(mr->addr, transfer.length, serial);
	return wire_transfer(wire, &transfer);
}

int peer_write(struct fixture *f, const struct daxpin_grant_key *key,
	       uint64_t offset, uint64_t length)
{
	pattern_fill(f->buffer, PEER_BYTES, PEER_PATTERN);
	return transfer(f, IBV_WR_RDMA_WRITE, key, offset, length);
}

int peer_read(struct fixture *f, const struct daxpin_grant_key *key,
	      uint64_t length)
{
	memset(f->buffer, 0, PEER_BYTES);
	return transfer(f, IBV_WR_RDMA_READ, key, 0, length);
}

void allow_write(struct fixture *f, unsigned int i, struct daxpin_extent extent)
{
	struct daxpin_grant_key key;

	assert_int_equal(grant(f, i, extent, WRITE, 0), 0);
	key = key_of(f, i);
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES), 0);
}

void reopen(struct fixture *f)
{
	assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
	f->rdma = NULL;
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
	assert_int_equal(daxpin_pool_open(f->path, NULL, &f->pool), 0);
}

struct daxpin_rdma_info rdma_info(struct fixture *f)
{
	struct daxpin_rdma_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_rdma_info(f->rdma, &info), 0);
	return info;
}

struct daxpin_pool_info pool_info(const struct fixture *f)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	return info;
}

void check_segments(const struct fixture *f, uint64_t segments)
{
	struct daxpin_pool_info info = pool_info(f);
	uint64_t bytes;

	assert_int_equal(info.segments, segments);
	if (!strstr(f->path, "/daxpin-test-"))
		return;
	assert_int_equal(segment_files(f->path, &bytes), segments);
	assert_int_equal(bytes, info.media_bytes);
}
