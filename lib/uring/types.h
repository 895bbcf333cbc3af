/* SPDX-License-Identifier: BSD-3-Clause */
/* A ring that is attached, and what each module keeps in it. */
#ifndef DP_URING_TYPES_H
#define DP_URING_TYPES_H

#include <daxpin-uring.h>
#include "uring/register.h"
#include "util/util.h"

struct dp_uring_share;
struct dp_uring_slot;
struct dp_uring_segment;

/* The ring's buffer table, or our range of it. */
/* private to buffer_slots.c */
struct dp_uring_table {
	bool is_wanted;			/* the caller did not ask for
					   DAXPIN_URING_PLAIN */
	bool is_open;
	bool is_own;			/* the adapter made the table */
	bool is_eager;
	bool is_on_demand;		/* reap and service may register, too */
	uint32_t first_number;
	uint32_t slot_count;
	uint32_t filled;
	uint32_t fill_limit;		/* slots for which there is memory, as far
					   as is known */
	uint64_t use_clock;
	int last_error;			/* why requests are plain, or 0 */
	uint32_t asking;		/* the segment that the next reap or service
					   call tries to register; or DP_URING_EMPTY */
	uint32_t shared;		/* filled slots that are copies, see share.c */
	uint64_t filled_bytes;
	uint64_t fill_count, evict_count, fallback_count;
	struct dp_uring_slot *slot_of;
	struct dp_uring_segment *segment_of;	/* one for each segment */
};

/* private to share.c */
struct dp_uring_sharing {
	struct dp_uring_share *share;	/* what the rings of the process have in
					   common; NULL before it is needed */
	int error;			/* why this ring registers for itself, or 0 */
};

/* private to prep.c */
struct dp_uring_requests {
	uint64_t unfinished;		/* requests between prep and last CQE */
	struct daxpin_uring_io *first;	/* the list of them */
};

/* private to end.c */
struct dp_uring_end {
	bool is_begun;			/* by daxpin_uring_abandon() */
	bool is_quarantined;		/* the pipe cannot show that requests ended */
};

/* attach.c writes the first part, and every module may read it. */
struct daxpin_uring {
	struct daxpin_pool *pool;	/* NULL when detached or abandoned */
	struct dp_uring_link link;
	struct daxpin_registration *registration;
	char label[DAXPIN_LABEL_MAX];
	/* Labels of requests: what they do, and for which ring. */
	char read_label[DAXPIN_LABEL_MAX];
	char write_label[DAXPIN_LABEL_MAX];
	char send_label[DAXPIN_LABEL_MAX];
	char command_label[DAXPIN_LABEL_MAX];
	uint32_t file_slot;		/* the first of DAXPIN_URING_FILES */
	int pipe;			/* the read end of the ring's own pipe, see
					   attach.c; or -1 */
	bool own_files;			/* the adapter made the file table */
	bool has_own_buffers;		/* a guarded ring in which the program may
					   register buffers */
	bool has_vectors;		/* the kernel knows READV_FIXED */
	bool has_send_zc;
	uint32_t segments;		/* that the ring knows of */
	uint32_t most;			/* that the pool may have while it is open */
	uint32_t segment_shift;		/* log2 of a segment's size */
	uint64_t needed_bytes;		/* of all segments */
	struct dp_uring_requests requests;
	struct dp_uring_table table;
	struct dp_uring_sharing sharing;
	struct dp_uring_end end;
};

static inline uint64_t dp_uring_in_flight(const struct daxpin_uring *uring)
{
	return uring->requests.unfinished;
}

/*
 * Every call on a uring calls this first. A call that accesses the ring calls
 * dp_uring_enter_ring() instead, which also returns -ESTALE after
 * daxpin_uring_abandon() has begun.
 *
 * -EINVAL  uring is NULL
 * -ESTALE  the ring was detached, or an abandon has ended
 */
static inline int dp_uring_enter(const struct daxpin_uring *uring)
{
	if (!uring)
		return -EINVAL;
	return uring->pool ? 0 : -ESTALE;
}

static inline int dp_uring_enter_ring(const struct daxpin_uring *uring)
{
	int ret = dp_uring_enter(uring);

	return ret || !uring->end.is_begun ? ret : -ESTALE;
}

#endif
