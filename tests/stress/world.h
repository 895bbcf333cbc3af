/* SPDX-License-Identifier: BSD-3-Clause */
/* What the threads of the stress test share, and their actions. */
#ifndef WORLD_H
#define WORLD_H

#include <pthread.h>
#include "shadow.h"

#define STRESS_SEGMENT	(32u << 20)
#define STRESS_SIZE	(2 * STRESS_SEGMENT)	/* of the pool at first */
#define STRESS_SIZE_MAX	(3 * STRESS_SEGMENT)	/* after a grow */
#define THREADS_MAX	64
#define SLOTS		48
#define BAG		64
#define WATCHES		4		/* a thread */
#define EXTENT_BLOCKS	16		/* at most, except for pads */
#define SEGMENT_PADS	15		/* fill a segment */
#define PADS		(3 * SEGMENT_PADS - 1)
#define NAMES		8
#define PAD_BLOCKS	512
#define JOBS		2
#define HANG_MS		600000		/* a deadline that is never reached */

/* Slots with handles. A thread may use its copy of a handle late. */
struct slot {
	pthread_mutex_t mutex;
	struct named named;
};

struct held {
	struct named named;
	uint32_t access;
	struct daxpin_hold *label;	/* NULL: a plain hold */
};

enum { WATCH_UNUSED, WATCH_SET, WATCH_FIRED };

struct watch {
	struct daxpin_watch watch;
	_Atomic int state;
};

struct thread {
	pthread_t thread;
	unsigned int index;
	uint64_t random;
	struct watch watch[WATCHES];
};

struct world {
	struct daxpin_pool *pool;
	struct slot slot[SLOTS];
	/* Holds that any thread may drop. */
	struct {
		pthread_mutex_t mutex;
		struct held held[BAG];
		uint32_t count;
		bool in_use;		/* in this round */
	} bag;
	/*
	 * Extents of a chunk each, so that some chunks become entirely free. The thread
	 * that has the mutex owns them.
	 */
	struct slot pad[PADS];
	uint32_t pads;			/* in this round: all space but one chunk */
	struct job {
		pthread_mutex_t mutex;
		struct daxpin_job *job;	/* or NULL */
	} job[JOBS];
	/* In this round. If false, no timer of a job can wake the consumer. */
	bool jobs_in_use;
	uint32_t job_flags;		/* DAXPIN_JOB_BLOCKING without rings */
	/* Drains and jobs. A hold may be refused only during one. */
	_Atomic uint64_t gates_begun, gates_over;
	_Atomic uint64_t exclusions_begun, exclusions_over;	/* tries to hold
								   exclusively */
	_Atomic bool stop;		/* no more actions */
	_Atomic bool drained;		/* nothing is left to do in this round */
};

extern struct world world;

struct action {
	const char *name;
	uint32_t weight;
	bool (*act)(struct thread *thread);	/* true: it did something */
};

extern const struct action actions[];
uint32_t action_count(void);

/* Returns the thread's next random number, below n. */
uint32_t chance(struct thread *thread, uint32_t n);
/* Runs one action. Returns its number, or -1 if there was nothing to do. */
int act(struct thread *thread);
/* Drops one of the holds in the bag. Returns false if it is empty. */
bool drop_from_bag(struct thread *thread);
/* Reserves an extent for an empty pad. Returns false if there is no space. */
bool make_pad(struct thread *thread, struct slot *pad);
/* Ends the job. Returns false if it is still in progress. */
bool end_job(struct job *job);
/* Adds a segment. Removes it again, with what is in it: false if that takes longer. */
void grow(void);
bool shrink(struct thread *thread, uint32_t ms);
/* Takes one event. Returns false if there is none. */
bool take_event(void);

/* Reserves an extent and writes its stamps. Returns 0 or -ENOSPC. */
int make_extent(struct thread *thread, struct named *ret_named);
/* Writes the stamps of a new extent; checks those of an existing one. */
void write_stamps(struct named named);
void check_stamps(struct named named, uint32_t from);

#endif
