/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel knows to be bad on a medium, and reading without dying of it.
 * Lists are kept in memory only and made anew at each open.
 */
#ifndef DP_BADBLOCKS_H
#define DP_BADBLOCKS_H

#include "util/util.h"

/* Bytes [begin, end). */
struct dp_badblocks_run {
	uint64_t begin;
	uint64_t end;
};

/* Sorted, apart from each other. */
struct dp_badblocks {
	struct dp_badblocks_run *run;
	uint32_t runs;
	bool unknown;			/* no list was to be had, or not all */
};

/* The whole medium: a device-dax device, by bytes of it. */
int dp_badblocks_of_device(const char *device,
			   struct dp_badblocks *ret_badblocks);
/* The block device under an open file, by bytes of it. */
int dp_badblocks_of_disk(int fd, struct dp_badblocks *ret_badblocks);

/*
 * Of those, what [begin, begin + size) of the device or the file's first
 * `size` bytes have, by bytes of these and rounded out to whole blocks.
 */
int dp_badblocks_of_slice(const struct dp_badblocks *medium, uint64_t begin,
			  uint64_t size, struct dp_badblocks *ret_badblocks);
int dp_badblocks_of_file(const struct dp_badblocks *medium, int fd,
			 uint64_t size, struct dp_badblocks *ret_badblocks);
void dp_badblocks_fini(struct dp_badblocks *badblocks);

/* The first bad bytes in [begin, end), cut to it; false: there are none. */
bool dp_badblocks_find(const struct dp_badblocks *badblocks, uint64_t begin,
		       uint64_t end, struct dp_badblocks_run *ret_run);

/* How a segment can be read: mapped, and, but on device-dax, by its file. */
struct dp_badblocks_view {
	const struct dp_badblocks *badblocks;
	const char *base;
	int fd;				/* -1: none */
	const int *pipe;		/* to copy by, of this view's only user; NULL:
					   one is made for each read */
};

/*
 * Copy out of it. -EIO: bad, also where the kernel did not know; what `to`
 * holds is then undefined. Does not wait for the file's lock. Any thread.
 */
int dp_badblocks_read(const struct dp_badblocks_view *view, uint64_t offset,
		      void *to, uint64_t size);

/*
 * After it failed so: the sentence, which names the structure that stands
 * there and the block that cannot be read. Returns error.
 */
int dp_badblocks_fail(const struct dp_badblocks_view *view, int error,
		      uint64_t offset, uint64_t size, const char *structure,
		      const struct dp_errmsg *errmsg);

#endif
