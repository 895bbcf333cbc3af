/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool and a ring, on shmem or on the real backing that the environment names
 * (DAXPIN_TEST_DAX, DAXPIN_TEST_FSDAX).
 */
#ifndef URING_FIXTURE_H
#define URING_FIXTURE_H

#include <daxpin-uring.h>
#include "fixture.h"

enum target { SHMEM, DEVDAX, FSDAX };
extern enum target target;

struct world {
	struct fixture f;
	struct io_uring ring;
	struct daxpin_uring *uring;
	int pipe[2];
	/* Sizes and options that differ from the defaults. */
	uint64_t pool_size;
	uint64_t segment_size;
};

int name_target(const struct world *w, struct fixture *f);

int create_pool(struct world *w);

void remove_pool(struct fixture *f);

int setup_sized(void **state, uint64_t pool_size, uint64_t segment_size);

int setup(void **state);

int teardown(void **state);

struct daxpin_uring_options uring_options(struct world *w, uint32_t flags);

int attach(struct world *w, uint32_t flags);

/*
 * Submits one request. A ring's kernel thread may not have taken earlier ones yet, so
 * io_uring_submit() can return more.
 */
void submit_one(struct world *w);

/* Submits a read from the empty pipe into the extent, which waits for data. */
void start_read(struct world *w, struct daxpin_uring_io *io,
		struct daxpin_extent extent);

/*
 * Skips the test if RLIMIT_MEMLOCK is too small to register the pool and 64 MiB more.
 */
void need_fixed_buffers(struct world *w);

/* Skips a test in which a reclaim unregisters a fixed buffer, except on shmem. */
void need_reclaimable_buffers(struct world *w);

/* Registers the extent's segment as a fixed buffer. On fsdax that must fail. */
void fix(struct world *w, struct daxpin_extent extent);

/* begin_reclaim() begins a reclaim of that segment, end_reclaim() waits for its end. */
struct daxpin_job *begin_reclaim(struct world *w, uint32_t segment);
void end_reclaim(struct daxpin_job *job);
/* Refills the segment that was reclaimed. */
void refill(struct world *w, uint32_t segment);

int finish(struct world *w, struct daxpin_uring_io *io);

/* Fills and compares the first `length` bytes of an extent. */
void colour(struct world *w, struct daxpin_extent extent, size_t length,
	    unsigned char byte);

bool has_colour(struct world *w, struct daxpin_extent extent, size_t length,
		unsigned char byte);

struct daxpin_uring_info info_of(struct daxpin_uring *uring);

/* Makes an empty file without a name. */
int scratch_file(void);

int skip_all(const char *reason);

/*
 * Chooses the backing by its name. Returns false, after printing a skip, if the
 * environment does not name such a backing, or if there are no rings.
 */
bool choose_target(const char *which);

#endif
