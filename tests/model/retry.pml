/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * retry.pml: a call that is refused, and the RETRY that follows. A job has a request
 * in the kernel, with a gate closed or a chunk claimed. It completes at any time, and a
 * thread that polls the jobs reaps it. A thread's call is refused because of the job.
 * (A hold only opens the gate, and leaves the next step to a call that may wait.) It
 * waits for events as a loop does (it looks, arms, looks, sleeps), and tries again
 * after a RETRY. Another thread may poll too.
 *
 * Stands for:
 *	lib/reclaim/job.c: dp_jobs_finish_hold dp_jobs_space dp_jobs_poll
 *	lib/reclaim/job.c: jobs_refused jobs_reap
 *	lib/reclaim/part.c: part_after_kernel part_after_gate part_end_round
 *	lib/reclaim/part.c: part_finish
 *	lib/extent/event.c: dp_events_refused dp_events_post_retry dp_events_post
 *	lib/extent/event.h: dp_events_notify_refused
 *	lib/extent/event.c: dp_events_next dp_events_arm
 *
 * Left out: threads' caches (cache.pml), watches (event.pml), several jobs; store
 * buffers (all operations here are sequentially consistent).
 *
 * Scenarios:
 *	GATE: the call is a hold that a closed gate refuses
 *	CHUNK: it is a reserve of a chunk that a job has claimed and frees or punches
 *
 * Mutants:
 *	NOTED_LATE (GATE): stuck: the refusal is noted after the last attempt
 *	NOT_TRIED_AGAIN (GATE): stuck: there is no attempt after the refusal was noted
 *	TOLD_FIRST (GATE): stuck: the job looks for a refusal, then opens the gate
 *	FREED_SILENTLY (CHUNK): C4: the job frees the chunk and does not look for a
 *		refusal
 *	HOLE_SILENTLY (CHUNK): stuck: a job that frees nothing ends without a RETRY
 *	CLAIM_READ_FIRST (CHUNK): stuck: whether a job is in progress is read before the
 *		refusal is noted
 *	LEFT_BY_A_HOLD (GATE): stuck: no call takes the next step of a part whose gate a
 *		hold has opened
 *	NO_WAKE_UP (GATE): stuck: a completion does not write the eventfd
 */
bool answered, taken;
bool told;			/* the next step was taken */
bool closed = true;		/* the gate */
bool claimed = true;		/* the chunk, by the job */
bool chunk;			/* it is free */
bool mutex;			/* of the jobs */
bool refused, posted, armed;
bool fd;			/* the descriptor is readable */
bool no_space;
byte over;

/* dp_events_post(), under its mutex */
inline post()
{
	d_step {
		posted = true;
		if
		:: armed -> armed = false; fd = true
		:: else
		fi
	}
}

/* dp_events_notify_refused() */
inline tell()
{
	if
	:: atomic { refused -> refused = false }; post()
	:: else
	fi
}

#ifdef GATE
/* With the mutex: record the completion, if there is one. */
inline record()
{
	if
	:: answered && !taken ->
#ifdef MUTANT_TOLD_FIRST
		tell();
#endif
		taken = true;
		closed = false
	:: else
	fi
}

/* With the mutex: the same, and the next step. */
inline poll()
{
#ifdef MUTANT_LEFT_BY_A_HOLD
	told = taken;
#endif
	record();
	if
	:: taken && !told ->
		told = true;
#ifndef MUTANT_TOLD_FIRST
		tell()
#endif
	:: else
	fi
}

/* A hold does not take the next step. */
#define poll_refused()	record()
#else
/* With the mutex: reap the completion, if there is one. */
inline poll()
{
	if
	:: answered && !taken ->
		taken = true;
		if
		:: chunk = true;
			claimed = false;
#ifndef MUTANT_FREED_SILENTLY
			tell()
#endif
		:: claimed = false;
#ifndef MUTANT_HOLE_SILENTLY
			tell()
#endif
		fi
	:: else
	fi
}

#define poll_refused()	poll()
#endif

#ifdef GATE
#define attempt()	atomic { ok = !closed }
#else
#define attempt()	atomic { ok = chunk; chunk = false }
#endif

active proctype kernel()
{
	answered = true;
#ifndef MUTANT_NO_WAKE_UP
	fd = true
#endif
}

active proctype other()
{
	if
	:: true
	:: atomic { !mutex -> mutex = true }; poll(); mutex = false
	:: atomic { !mutex -> mutex = true }; poll_refused(); mutex = false
	fi;
	over++
}

active proctype caller()
{
	bool ok, passes;

again:	attempt();
	if :: ok -> goto end :: else fi;
#ifdef MUTANT_CLAIM_READ_FIRST
	passes = claimed;
#endif
	if
	:: atomic { !mutex -> mutex = true }; poll_refused(); mutex = false
	:: mutex
	fi;
#ifndef MUTANT_NOTED_LATE
	refused = true;
#endif
#ifndef MUTANT_NOT_TRIED_AGAIN
	attempt();
	if :: ok -> goto end :: else fi;
#endif
#ifdef MUTANT_NOTED_LATE
	refused = true;
#endif
#ifdef CHUNK
#ifndef MUTANT_CLAIM_READ_FIRST
	passes = claimed;
#endif
	if :: !passes -> no_space = true; goto end :: else fi;
#endif
	/* -EAGAIN */
wait:	atomic { !mutex -> mutex = true };
	poll();
	mutex = false;
	if
	:: atomic { posted -> posted = false }; goto again
	:: else
	fi;
	d_step { armed = true; ok = posted };
	if :: ok -> goto wait :: else fi;
	atomic { fd -> fd = false };
	goto wait;
end:	over++
}

/* After all threads have stopped. */
active proctype end()
{
	over == 2;
	assert(!no_space || !chunk || posted)			/* C4 */
}
