/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A log of blocks in a pool: each block is an extent that begins with a header, and a
 * table has the addresses of the last LOG_SLOTS blocks. A block is published together
 * with its entry of the table, and the one that it replaces is retired in the same
 * publish: after a crash the log has the one or the other.
 */
#ifndef LOG_H
#define LOG_H

#include <daxpin.h>
#include <stdbool.h>

#define LOG_SLOTS	32u
#define LOG_HEADER	4096u
#define LOG_BYTES_MAX	(1u << 20)	/* of the payload */

struct log_header {
	uint64_t seq;			/* 1, 2, 3, ... */
	uint64_t bytes;			/* of the payload */
	uint64_t hash;			/* XXH3 of it, with seq as the seed */
};

struct log {
	struct daxpin_pool *pool;
	struct daxpin_extent table;
	const volatile uint64_t *slots;	/* of the table: addresses, or 0 */
	uint64_t head;			/* seq of the newest block; 0: none */
};

/*
 * Open the pool at path, and check each block. With `make`, create the pool if there is
 * none, and the log if the pool is empty. Messages go to stderr. 0, or -errno:
 *
 * -ENOENT	there is no pool, or it is empty
 * -ENOTEMPTY	the pool has live extents or objects, but no log
 * -EUCLEAN	a block is torn, or a block or the table is missing
 */
int log_open(struct log *log, const char *path, bool make);
int log_close(struct log *log);

/* The extent of a block; -ENOENT: the log does not have it. */
int log_find(const struct log *log, uint64_t seq, struct daxpin_extent *ret_extent,
	     struct log_header *ret_header);
/* Reserve an extent for a block with so many bytes. */
int log_reserve(struct log *log, uint64_t bytes, struct daxpin_extent *ret_extent);
/* Write the header before the payload that the extent has. */
void log_seal(struct log *log, struct daxpin_extent extent, uint64_t seq,
	      uint64_t bytes);
/* Does the extent have a whole block with this number? */
bool log_is_whole(struct log *log, struct daxpin_extent extent, uint64_t seq);
/* Make the block in a reserved extent durable, as that with this number. */
int log_publish(struct log *log, struct daxpin_extent extent, uint64_t seq);

#endif
