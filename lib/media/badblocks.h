/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's list of bad blocks of a medium, and reads that return -EIO where a load
 * would be SIGBUS. Lists exist in memory only; each open reads them again.
 */
#ifndef DP_BADBLOCKS_H
#define DP_BADBLOCKS_H

#include "util/util.h"

/* Bytes [begin, end). */
struct dp_badblocks_run {
	uint64_t begin;
	uint64_t end;
};

/* The runs are sorted, and no two of them touch. */
struct dp_badblocks {
	struct dp_badblocks_run *run;
	uint32_t runs;
	bool unknown;			/* the list is unavailable or incomplete */
};

/* The list of a whole device-dax device, in bytes from its beginning. */
int dp_badblocks_of_device(const char *device,
			   struct dp_badblocks *ret_badblocks);
/* The list of the block device under an open file, in bytes from its beginning. */
int dp_badblocks_of_disk(int fd, struct dp_badblocks *ret_badblocks);

/*
 * The part of such a list that lies in [begin, begin + size) of the device, or in the
 * file's first `size` bytes; in bytes from begin, or from the beginning of the file,
 * extended to whole blocks.
 */
int dp_badblocks_of_slice(const struct dp_badblocks *medium, uint64_t begin,
			  uint64_t size, struct dp_badblocks *ret_badblocks);
int dp_badblocks_of_file(const struct dp_badblocks *medium, int fd,
			 uint64_t size, struct dp_badblocks *ret_badblocks);
void dp_badblocks_fini(struct dp_badblocks *badblocks);

/* The part of the first bad run that is in [begin, end); false: there is none. */
bool dp_badblocks_find(const struct dp_badblocks *badblocks, uint64_t begin,
		       uint64_t end, struct dp_badblocks_run *ret_run);

/* How to read a segment: through its mapping and, except on device-dax, its file. */
struct dp_badblocks_view {
	const struct dp_badblocks *badblocks;
	const char *base;
	int fd;				/* -1: none */
	const int *pipe;		/* for copies from the mapping; used by one
					   thread at a time. NULL: each read
					   makes one */
};

/*
 * Copy from the segment. Does not wait for the file's lock. Any thread.
 *
 * -EIO	bad, perhaps in a place that is not in the list; `to` is undefined
 */
int dp_badblocks_read(const struct dp_badblocks_view *view, uint64_t offset,
		      void *to, uint64_t size);

/*
 * Write the sentence for a dp_badblocks_read() that failed with `error`: it names the
 * structure that is there and the block that cannot be read. Returns error.
 */
int dp_badblocks_fail(const struct dp_badblocks_view *view, int error,
		      uint64_t offset, uint64_t size, const char *structure,
		      const struct dp_errmsg *errmsg);

#endif
