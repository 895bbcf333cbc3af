/* SPDX-License-Identifier: BSD-3-Clause */
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define ROOT		"replica"
#define POOL_SIZE	(128ull << 20)
#define WAIT_MS		60000		/* for the end of an owner that was killed */

static struct log_header *header_of(const struct log *log,
				    struct daxpin_extent extent)
{
	return daxpin_ptr(log->pool, extent, 0);
}

static int make_table(struct log *log)
{
	struct daxpin_op ops[] = {
		{ .type = DAXPIN_OP_KEEP },
		{ .type = DAXPIN_OP_ROOT, .name = ROOT },
	};
	int ret = daxpin_reserve(log->pool, LOG_SLOTS * sizeof(uint64_t),
				 DAXPIN_RESERVE_ZERO, &log->table);

	ops[0].extent = ops[1].extent = log->table;
	return ret ? ret : daxpin_publish(log->pool, ops, 2, NULL, NULL);
}

static int refuse_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
			 uint64_t size, void *arg)
{
	(void)pool;
	(void)extent;
	(void)size;
	(void)arg;
	return -ENOTEMPTY;
}

/*
 * A pool without the root is not always new: a repair clears a damaged root. No crash
 * leaves a log without its root, since one publish makes both. So a log is made only
 * where nothing is live.
 */
static int find_table(struct log *log, bool make)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	int ret = daxpin_root(log->pool, ROOT, &log->table);

	if (ret != -ENOENT)
		return ret == -ESTALE ? -EUCLEAN : ret;
	ret = daxpin_foreach(log->pool, refuse_extent, NULL);
	ret = ret ? ret : daxpin_pool_info(log->pool, &info);
	if (!ret && info.objects)
		return -ENOTEMPTY;
	if (!ret)
		ret = make ? make_table(log) : -ENOENT;
	return ret;
}

/* Find the head, and see that each block is whole. */
static int check_blocks(struct log *log)
{
	struct daxpin_extent extent;
	uint64_t seq;
	int ret;

	for (uint32_t i = 0; i < LOG_SLOTS; i++) {
		if (!log->slots[i])
			continue;
		ret = daxpin_extent_at(log->pool, log->slots[i], &extent);
		if (ret)
			return ret == -ENOENT || ret == -EINVAL ? -EUCLEAN : ret;
		seq = header_of(log, extent)->seq;
		if (seq % LOG_SLOTS != i || !log_is_whole(log, extent, seq)) {
			fprintf(stderr, "replica: the block in slot %u is torn\n", i);
			return -EUCLEAN;
		}
		if (seq > log->head)
			log->head = seq;
	}
	return 0;
}

static int open_pool(struct log *log, const char *path, bool make)
{
	char errmsg[512] = "";
	struct daxpin_pool_options options = {
		.size = sizeof(options), .pool_size = POOL_SIZE,
		.segment_size = 32 << 20, .deadline_ns = daxpin_deadline_ms(WAIT_MS),
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	int ret = daxpin_pool_open(path, &options, &log->pool);

	if (ret == -ENOENT && make)
		ret = daxpin_pool_create(path, &options, &log->pool);
	if (ret)
		fprintf(stderr, "replica: %s: %s\n", path, errmsg);
	return ret;
}

static const char *why_no_log(int ret)
{
	switch (ret) {
	case -ENOENT:
		return "the pool is empty; an owner or a peer makes a log";
	case -ENOTEMPTY:
		return "the pool has data, but no root \"" ROOT "\": they are another program's, or of a log whose root was removed by a repair; nothing was changed: use another pool";
	case -EUCLEAN:
		return "a block or the table of the log is damaged or was removed by a repair; nothing was changed: use another pool";
	default:
		return daxpin_strerror(ret);
	}
}

int log_open(struct log *log, const char *path, bool make)
{
	int ret = open_pool(log, path, make);

	if (ret)
		return ret;
	ret = find_table(log, make);
	if (!ret) {
		log->slots = daxpin_ptr(log->pool, log->table, 0);
		ret = check_blocks(log);
	}
	if (ret) {
		fprintf(stderr, "replica: %s: %s\n", path, why_no_log(ret));
		daxpin_pool_close(log->pool);
	}
	return ret;
}

int log_close(struct log *log)
{
	return daxpin_pool_close(log->pool);
}

int log_find(const struct log *log, uint64_t seq, struct daxpin_extent *ret_extent,
	     struct log_header *ret_header)
{
	uint64_t addr = log->slots[seq % LOG_SLOTS];
	struct daxpin_extent extent;
	int ret;

	if (!addr)
		return -ENOENT;
	ret = daxpin_extent_at(log->pool, addr, &extent);
	if (ret)
		return ret;
	if (header_of(log, extent)->seq != seq)
		return -ENOENT;
	*ret_extent = extent;
	*ret_header = *header_of(log, extent);
	return 0;
}

int log_reserve(struct log *log, uint64_t bytes, struct daxpin_extent *ret_extent)
{
	if (!bytes || bytes > LOG_BYTES_MAX)
		return -EINVAL;
	return daxpin_reserve(log->pool, LOG_HEADER + bytes, 0, ret_extent);
}

static uint64_t hash(const struct log_header *header)
{
	return XXH3_64bits_withSeed((const char *)header + LOG_HEADER, header->bytes,
				    header->seq);
}

void log_seal(struct log *log, struct daxpin_extent extent, uint64_t seq,
	      uint64_t bytes)
{
	struct log_header *header = header_of(log, extent);

	memset(header, 0, LOG_HEADER);
	header->seq = seq;
	header->bytes = bytes;
	header->hash = hash(header);
}

bool log_is_whole(struct log *log, struct daxpin_extent extent, uint64_t seq)
{
	const struct log_header *header = header_of(log, extent);
	uint64_t size;

	return !daxpin_size(log->pool, extent, &size) && header->seq == seq && seq &&
	       header->bytes && header->bytes <= size - LOG_HEADER &&
	       header->hash == hash(header);
}

int log_publish(struct log *log, struct daxpin_extent extent, uint64_t seq)
{
	const uint64_t slot = seq % LOG_SLOTS;
	struct daxpin_op ops[] = {
		{ .type = DAXPIN_OP_KEEP, .extent = extent },
		{ .type = DAXPIN_OP_SET, .extent = log->table,
		  .offset = slot * sizeof(uint64_t), .value = extent.addr },
		{ .type = DAXPIN_OP_RETIRE },
	};
	const bool replaces = log->slots[slot];
	int ret = 0;

	if (replaces)
		ret = daxpin_extent_at(log->pool, log->slots[slot], &ops[2].extent);
	if (!ret)
		ret = daxpin_publish(log->pool, ops, replaces ? 3 : 2, NULL, NULL);
	if (!ret && seq > log->head)
		log->head = seq;
	return ret;
}
