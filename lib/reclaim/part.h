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

#define DP_PART_RUNS	32u		/* runs of chunks in one request of a part */
#define DP_PARTS_MAX	16u		/* parts with a request in the ring at once */

enum dp_part_state {
	DP_PART_WAITING,		/* for a slot, a drop or the end of a pin */
	DP_PART_KERNEL,			/* gate closed, request submitted, or being
					   executed by a blocking job */
	DP_PART_COMPLETED,		/* gate open, the next step is to be taken */
	DP_PART_SETTLING,		/* filled, dp_punch_settle() in progress */
	DP_PART_OVER,
};

/* A job in one segment. */
struct dp_part {
	struct daxpin_job *job;
	enum dp_part_state state;
	struct dp_run run[DP_PART_RUNS];
	struct dp_request request;	/* to punch or fill these runs */
	uint32_t pending;		/* completions to come */
	int result[DP_PART_RUNS];	/* of each run */
	struct dp_backoff backoff;	/* when to submit it again; interval 0: it was
					   not submitted before */
	bool looked;			/* it was cancelled before the deadline, mostly
					   to be submitted again */
	uint64_t next_cancel_ns;	/* when to cancel it, or cancel it once more */
	struct daxpin_job_part report;	/* its `holder` is set in the copy that is
					   reported */
	struct daxpin_holder holder;	/* count 0: none */
	char label[DAXPIN_LABEL_MAX];	/* that `holder` points to */
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
	/* Segments that leave the pool, see leave.c; UINT32_MAX: none. */
	uint32_t leaving_from, gone_from;
	_Atomic uint32_t count;		/* jobs that dp_job_end() has not freed yet */
	_Atomic uint32_t under_way;	/* jobs with a part that is not OVER */
	_Atomic uint32_t refills;	/* refills among the jobs under way */
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

/* Call all of these with jobs->mutex held. */

/* Record one completion. After the last one of a request the gate opens, unless the
 * request is to be submitted again. The completion is ignored if no part waits for it.
 * This takes no lock, makes no system call and allocates nothing. */
void dp_parts_complete(struct dp_jobs *jobs,
		       const struct dp_completion *completion);
/* Take the next steps of the parts whose requests have completed. */
void dp_parts_continue(struct dp_jobs *jobs);
/* Is the part a reclaim in the state WAITING, whose next step claims free chunks? It
 * finds more of them if the caller calls dp_spaces_gather() before, which empties the
 * caches of all threads. */
bool dp_part_wants_free(const struct dp_part *part);
/* Take the steps that no completion triggers: submit a request if the segment is idle,
 * or cancel a request at next_cancel_ns. */
void dp_part_poll(struct dp_part *part);
/* The same, only for a request that the kernel has. */
void dp_part_poll_kernel(struct dp_part *part);
/* Call it when the job was cancelled: the next dp_part_poll() cancels the request. */
void dp_part_cancel(struct dp_part *part);

/* On device-dax: zero the segment's free chunks. The mutex is released meanwhile. */
void dp_part_zero_free(struct dp_part *part);
/* Run the part to its end in this thread, without a ring. The mutex is released during
 * the punches and fills, and while the thread waits for its turn. */
void dp_part_run_blocking(struct dp_part *part);

#endif
