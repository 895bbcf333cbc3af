/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A part: a job in one segment, and the state that all parts share. The head of
 * part.c has its states and invariants.
 */
#ifndef DP_PART_H
#define DP_PART_H

#include "extent/event.h"
#include "extent/holders.h"
#include "extent/state.h"
#include "reclaim/hole.h"
#include "reclaim/punch.h"
#include "util/backoff.h"

#define DP_PART_RUNS	32u		/* for the kernel at once, of a segment */
#define DP_PARTS_MAX	16u		/* that the kernel has at once */

enum dp_part_state {
	DP_PART_WAITING,		/* for its turn, holds or registrations */
	DP_PART_KERNEL,			/* gate closed, the kernel has it */
	DP_PART_SETTLING,		/* refilled, being made durable */
	DP_PART_OVER,
};

/* A job in one segment. */
struct dp_part {
	struct daxpin_job *job;
	enum dp_part_state state;
	struct dp_run run[DP_PART_RUNS];
	struct dp_request request;	/* of these */
	uint32_t pending;		/* completions to come */
	int result[DP_PART_RUNS];	/* of each run */
	struct dp_backoff backoff;	/* when to submit again; no interval: begin */
	bool looked;			/* the request was ended for that */
	uint64_t next_cancel_ns;	/* when to ask for its end once more */
	struct daxpin_job_part report;	/* all but its pointer to the holder */
	struct daxpin_holder holder;	/* count 0: none */
	char label[DAXPIN_LABEL_MAX];	/* the holder's */
};

struct dp_jobs {
	pthread_mutex_t mutex;
	struct dp_holes holes;
	struct dp_states *states;
	struct dp_events *events;
	struct dp_holders *holders;
	struct dp_punch punch;
	struct daxpin_job *first;
	uint64_t attempts;
	struct dp_part *in_kernel[DP_PARTS_MAX];
	_Atomic uint32_t count;		/* jobs that were not ended */
	_Atomic uint32_t under_way;	/* of them, those that are not over */
	_Atomic uint32_t refills;	/* of these, those that give space back */
};

struct daxpin_job {
	struct daxpin_pool *pool;	/* for the public functions */
	struct dp_jobs *jobs;
	enum dp_job_kind kind;
	uint64_t budget;		/* chunks that may still be claimed */
	uint64_t keep_blocks;
	uint64_t deadline_ns;
	bool cancelled;
	bool zero;			/* device-dax: zero what is free */
	bool blocking;			/* in the calling thread, no ring */
	uint32_t open_parts;
	uint32_t parts;
	struct dp_part *part;
	struct dp_notice over;
	struct daxpin_job *next, **prev;	/* prev NULL: not listed */
};

/* All of these under jobs->mutex. */

/* One answer of the kernel: to its part, if that still waits for it. */
void dp_parts_complete(struct dp_jobs *jobs,
		       const struct dp_completion *completion);
/* Is it a reclaim whose next step looks for free chunks? It finds more of them if the
 * caller has emptied the caches of all threads before: dp_spaces_gather(). */
bool dp_part_wants_free(const struct dp_part *part);
/* Do what no completion causes: try to begin, or cancel a request that is due. */
void dp_part_poll(struct dp_part *part);
/* The same, only for a request that the kernel has. */
void dp_part_poll_kernel(struct dp_part *part);
/* The job was cancelled: dp_part_poll() asks for the end of the request now. */
void dp_part_cancel(struct dp_part *part);

/* Device-dax: zero what is free. The mutex is released meanwhile. */
void dp_part_zero_free(struct dp_part *part);
/* To the end, in this thread, without a ring. The mutex is released meanwhile. */
void dp_part_run_blocking(struct dp_part *part);

#endif
