/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reclaim and refill under way. See job.c for the order of things.
 */
#ifndef DP_JOB_H
#define DP_JOB_H

#include "extent/event.h"
#include "extent/holders.h"
#include "extent/state.h"
#include "reclaim/hole.h"
#include "reclaim/punch.h"

#define DP_PART_RUNS	32u		/* for the kernel at once, of a segment */
#define DP_PARTS_MAX	16u		/* that the kernel has at once */

enum dp_part_state {
	DP_PART_WAITING,		/* for its turn, holds or registrations */
	DP_PART_KERNEL,			/* gate shut, the kernel has it */
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
	uint64_t again_ns;		/* when to ask for its end once more */
	struct daxpin_job_part report;
	char label[DAXPIN_LABEL_MAX];	/* report.holder's */
};

struct dp_jobs {
	pthread_mutex_t mutex;
	struct dp_holes holes;
	struct dp_leases *leases;
	struct dp_events *events;
	struct dp_holders *holders;
	struct dp_punch punch;
	struct daxpin_job *first;
	uint64_t attempts;
	struct dp_part *in_kernel[DP_PARTS_MAX];
	bool full;			/* the filesystem, when last refilled */
	_Atomic uint32_t count;		/* jobs that were not ended */
	_Atomic uint32_t under_way;	/* of them, those that are not over */
	_Atomic bool retry;		/* somebody was refused with -EAGAIN */
	struct dp_notice retry_notice;
};

struct daxpin_job {
	struct daxpin_pool *pool;	/* for the public functions */
	struct dp_jobs *jobs;
	enum dp_way way;
	uint64_t budget;		/* chunks that may still be claimed */
	uint64_t keep_blocks;
	uint64_t deadline_ns;
	bool cancelled;
	bool zero;			/* device-dax: zero what is free */
	bool blocking;			/* in the caller's thread, no ring */
	uint32_t open_parts;
	uint32_t parts;
	struct dp_part *part;
	struct dp_notice over;
	struct daxpin_job *next;
};

void dp_jobs_init(struct dp_jobs *jobs, struct dp_pool *media,
		  struct dp_space *space, struct dp_leases *leases,
		  struct dp_events *events, struct dp_holders *holders);
void dp_jobs_fini(struct dp_jobs *jobs);

/*
 * Begin a job in a segment or all, with the fields up to `blocking` set. 0, or
 * why there can be no ring, and then nothing was begun.
 */
int dp_job_begin(struct daxpin_job *job, uint32_t segment);
bool dp_job_is_over(struct daxpin_job *job);
void dp_job_cancel(struct daxpin_job *job);
void dp_job_report(struct daxpin_job *job,
		   void (*fn)(const struct daxpin_job_part *part, void *arg),
		   void *arg, struct daxpin_job_summary *ret_summary);
/* It is over. */
void dp_job_end(struct daxpin_job *job);

/* Take what the kernel has answered, and do what comes next. Any time. */
void dp_jobs_look(struct dp_jobs *jobs);
/*
 * Somebody was refused for a shut gate or for want of space: he is told when to
 * try again, and should do so once himself after this. Never sleeps.
 */
void dp_jobs_refused(struct dp_jobs *jobs);
/* A gate opened, or space came back. */
void dp_jobs_tell_refused(struct dp_jobs *jobs);
/* Could space come back? */
bool dp_jobs_may_give_space(struct dp_jobs *jobs);

/* 0: the registration may pin the segment; -EAGAIN, -EALREADY, -EINVAL. */
int dp_jobs_pin(struct dp_jobs *jobs, struct daxpin_registration *registration,
		uint32_t segment);

#endif
