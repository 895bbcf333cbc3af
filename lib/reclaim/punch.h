/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to the kernel to punch or fill chunks of a file, through a private ring. The
 * kernel enforces their deadline without the program. part.c decides when to submit
 * them.
 */
#ifndef DP_PUNCH_H
#define DP_PUNCH_H

#include "os/ring.h"
#include "reclaim/hole.h"

#define DP_PUNCH_COMPLETIONS	1024u	/* that fit in the queue */
#define DP_PUNCH_RUNS		64u	/* in one request, at most */

/* Timers that write the eventfd, so that the program polls: */
enum dp_tick {
	DP_TICK_SHORT,			/* after 10 ms: a part is WAITING */
	DP_TICK_LONG,			/* after 100 ms: a part is KERNEL (fsdax) */
	DP_TICKS,
};

struct dp_punch {
	struct dp_ring ring;
	struct dp_ring clock;		/* of ticks alone */
	bool open;
	bool ticking[DP_TICKS];
};

/* Runs of one file that are punched or filled together. */
struct dp_request {
	uint64_t attempt;		/* never used before, not 0 */
	enum dp_job_kind kind;
	int fd;
	char *base;			/* where the file is mapped */
	const struct dp_run *run;
	uint32_t runs;
	uint64_t cancel_ns;		/* the deadline, or DAXPIN_NO_DEADLINE */
	struct __kernel_timespec at;	/* the same, as the kernel reads it */
};

enum dp_completion_type {
	DP_COMPLETION_RUN,		/* one for each run */
	DP_COMPLETION_SETTLE,		/* on shmem one for each run with result 0,
					   otherwise one for all of them */
	DP_COMPLETION_TIMER,		/* of a deadline: callers ignore it */
	DP_COMPLETION_OTHER,		/* of a cancellation: callers ignore it */
};

struct dp_completion {
	uint64_t attempt;
	enum dp_completion_type type;
	uint32_t run;
	int result;
};

/* Open both rings; the errors are those of dp_ring_open() and io_uring_register(). The
 * descriptors still belong to the caller. */
int dp_punch_open(struct dp_punch *punch, int lock_fd, int anchor_fd,
		  int event_fd);
void dp_punch_close(struct dp_punch *punch);

/*
 * Each run completes separately, in any order, even if others fail. A punch that was
 * interrupted, or cancelled before it began, has changed nothing (A7); a fill may have
 * allocated some blocks. At cancel_ns the kernel cancels the runs that have not
 * completed, and all other requests on the same file. The request must exist until all
 * its runs have completed.
 */
void dp_punch_request(struct dp_punch *punch, struct dp_request *request);
/* All runs have completed: stop the request's deadline. */
void dp_punch_forget(struct dp_punch *punch, const struct dp_request *request);
/* Cancel it and all other requests on the same file. Each still completes. */
void dp_punch_cancel(struct dp_punch *punch, const struct dp_request *request);
/* Call it after a refill, before the runs with result 0 are used. There must be at
 * least one of them. Returns how many completions will come. */
uint32_t dp_punch_settle(struct dp_punch *punch,
			 const struct dp_request *request, const int *result,
			 bool shmem);
/* The work of dp_punch_request() and dp_punch_settle() for one run, in this thread,
 * without a limit of time. */
int dp_punch_here(const struct dp_request *request, uint32_t run);
int dp_punch_settle_here(const struct dp_request *request, uint32_t run,
			 bool shmem);

/* Start a timer, unless one of this kind is running. */
void dp_punch_tick(struct dp_punch *punch, enum dp_tick tick);

/* Take a completion that is in the queue, without a system call. */
bool dp_punch_take(struct dp_punch *punch, struct dp_completion *ret_completion);
/* Process the ticks, make sure that the ring's thread is awake, and take a
 * completion. */
bool dp_punch_next(struct dp_punch *punch, struct dp_completion *ret_completion);

#endif
