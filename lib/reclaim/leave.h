/* SPDX-License-Identifier: BSD-3-Clause */
/* Segments that leave the pool while it is open: see leave.c for the states. */
#ifndef DP_LEAVE_H
#define DP_LEAVE_H

#include "reclaim/part.h"

enum dp_leave_obstacle_kind {
	DP_LEAVE_JOB = 1,		/* a reclaim or refill works on the segment */
	DP_LEAVE_HOLD,			/* a hold is being taken or dropped */
	DP_LEAVE_REGISTRATION,		/* it pins the segment, and was asked for it */
};

/* What prevents the segments from leaving. */
struct dp_leave_obstacle {
	enum dp_leave_obstacle_kind kind;
	uint32_t segment;
	struct daxpin_holder holder;	/* REGISTRATION */
	char label[DAXPIN_LABEL_MAX];	/* that `holder` points to */
};

/* What of a segment is in use. */
struct dp_leave_used {
	uint32_t blocks;		/* how many, about; 0: none */
	uint32_t block;			/* the first */
	bool is_claimed;		/* by a job, and not by an extent or a thread */
};

/* In a segment whose space is closed. Blocks in quarantine, and holes, are not in use.
 * If no block is, what their last owners did is visible to the caller. May sleep. */
struct dp_leave_used dp_leave_find_used(struct dp_jobs *jobs, uint32_t segment);

/*
 * Let the segments from `from` to `to` leave, which have no extent and whose free space
 * is closed: their gates close, and no job or pin of them begins. False: something uses
 * one of them; *ret_obstacle is the first such thing, all pins were asked back, and
 * nothing has changed.
 */
bool dp_leave_begin(struct dp_jobs *jobs, uint32_t from, uint32_t to,
		    struct dp_leave_obstacle *ret_obstacle);
/* They stay, after dp_leave_begin(): their gates open. */
void dp_leave_undo(struct dp_jobs *jobs, uint32_t from, uint32_t to);
/* They are gone: their gates stay closed, and their holes are not counted any more. */
void dp_leave_end(struct dp_jobs *jobs, uint32_t from, uint32_t to);
/* The pins are not wanted back any more, after dp_leave_begin() has failed. */
void dp_leave_unwant(struct dp_jobs *jobs, uint32_t from, uint32_t to);

#endif
