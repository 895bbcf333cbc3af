/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reclaim.pml: a chunk of two blocks becomes a hole and comes back. One thread
 * reclaims and refills it, and its deadline may expire at any time; one reserves a
 * block of it, holds it and cancels it; one holds an extent in another chunk of the
 * same segment; pages are pinned and unpinned without the library's knowledge.
 *
 * Stands for:
 *	lib/extent/space.c: dp_space_claim dp_space_claim_at dp_space_free
 *	lib/extent/state.c: dp_state_hold dp_state_drop
 *	lib/extent/gate.c: dp_gate_close dp_gate_open dp_gate_busy
 *	lib/reclaim/part.c: part_is_in_use part_try part_begin_request
 *	lib/reclaim/part.c: part_after_kernel part_end_runs part_run_end
 *	lib/reclaim/job.c: dp_jobs_pin
 *	lib/reclaim/hole.c: dp_holes_claim dp_holes_end
 *
 * Close the gate; read the counter; ask a registration to end its pin; claim the
 * chunk's free blocks, all or none; punch, asynchronously; when the kernel has
 * answered, open the gate. An interrupted request changed nothing (A7). One that failed
 * may be done in part, so its chunk counts as a hole. Refill takes the same steps.
 *
 * Left out: how the counter is read (gate.pml): here it is exact. A claim and a free
 * are one atomic step each (returns.pml), and threads' caches were emptied before
 * (cache.pml).
 *
 * Mutants:
 *	BUSY_SKIPPED_UNMAPPED: I8: if no registration has a pin, holds are not
 *		counted
 *	BUSY_BEFORE_GATE: I31: it counts holds, then closes the gate
 *	NO_GATE: I32: it counts holds, and does not close the gate
 *	NOT_CLAIMED: I7: it tests whether the blocks are free, and punches
 *	PARTLY_CLAIMED: I7: one free block is enough
 *	RELEASED_EARLY: I7: the blocks are released at the deadline, but the punch
 *		continues
 *	OPENED_EARLY: I32: the gate is opened at the deadline, but the punch continues
 *	BACKED_AFTER_FAILURE: D9: a punch that failed leaves the chunk backed
 *	LISTED_BEFORE_REFILL: D9: the blocks are made free, then refilled
 *	CLAIM_KEPT: I29: an interrupted punch keeps the claimed blocks
 *	PIN_NOT_ASKED: A6: a registration is not asked to end its pin
 *	PIN_NOT_AWAITED: A6: it is asked to, but its end is not awaited
 *	PINNED_MEANWHILE: A6: a pin is allowed while the segment is being reclaimed
 *	PINNED_HOLE: D9: a pin is allowed in a segment with a hole, which it fills
 */
#define NOTHING		0
#define PUNCH		1
#define REFILL		2

bool listed[2] = true;		/* free in memory */
bool hole;			/* in memory, the chunk is a hole */
byte gate, held;
bool pinned, wanted;		/* by a registration; asked to end it */
bool under_way;			/* a job in this segment */

/* The kernel's request and its result. */
byte asked;
bool answered, failed, cancelled, interrupted;
byte pins;			/* pages of the file that are pinned */
bool backed = true;		/* on the filesystem */

/* Only for assertions. */
byte granted;			/* holds that may be used */
bool owned[2];
byte over;

/* Waits for every pin in the file, or until it is cancelled. */
active proctype kernel()
{
end:	do
	:: atomic { asked == PUNCH && pins == 0 ->
		assert(!owned[0] && !owned[1]);			/* I7 */
		backed = false; asked = NOTHING; answered = true
	   }
	:: atomic { asked == REFILL && pins == 0 ->
		backed = true; asked = NOTHING; answered = true
	   }
	/* Out of space, or done in part. */
	:: atomic { asked != NOTHING && pins == 0 ->
		assert(asked != PUNCH || (!owned[0] && !owned[1])); /* I7 */
		if :: asked == PUNCH -> backed = false :: true fi;
		asked = NOTHING; failed = true; answered = true
	   }
	:: atomic { asked != NOTHING && cancelled ->
		asked = NOTHING; interrupted = true; answered = true
	   }
	od
}

inline close_gate()
{
#ifdef MUTANT_NO_GATE
	skip
#else
	gate++
#endif
}

inline open_gate()
{
#ifdef MUTANT_NO_GATE
	skip
#else
	gate--
#endif
}

inline give_back()
{
	listed[0] = true;
	listed[1] = true
}

/* Both blocks, under the segment's lock. */
inline claim_chunk()
{
	atomic {
		got = listed[0] && listed[1];
#ifdef MUTANT_PARTLY_CLAIMED
		got = listed[0];
#endif
#ifndef MUTANT_NOT_CLAIMED
		if :: got -> listed[0] = false; listed[1] = false :: else fi
#endif
	}
}

/* The gate is closed: is anything in the segment held? */
inline count()
{
	busy = held > 0;
#ifdef MUTANT_BUSY_SKIPPED_UNMAPPED
	busy = busy && pinned
#endif
}

inline close_and_count()
{
#ifdef MUTANT_BUSY_BEFORE_GATE
	count();
	close_gate()
#else
	close_gate();
	count()
#endif
}

inline ask(what)
{
	atomic {
		assert(granted == 0);				/* I8 I31 I32 */
		assert(!pinned);				/* A6 */
		answered = false; cancelled = false; failed = false;
		interrupted = false; asked = what
	}
}

/* At the deadline the request is cancelled; only its completion ends it. */
inline await()
{
	if
	:: answered
	:: cancelled = true;
#ifdef MUTANT_RELEASED_EARLY
	   give_back();
#endif
#ifdef MUTANT_OPENED_EARLY
	   open_gate();
#endif
	   answered
#ifdef MUTANT_OPENED_EARLY
	   ; close_gate()
#endif
	fi
}

/* With the gate closed, once nothing is held or pinned; otherwise not at all. */
inline make_idle()
{
	do
	:: true ->
		close_and_count();
		if
		:: busy -> open_gate(); goto end
#ifdef MUTANT_PIN_NOT_ASKED
		:: !busy -> break
#elif defined(MUTANT_PIN_NOT_AWAITED)
		:: !busy -> wanted = pinned; break
#else
		:: !busy && !pinned -> break
		:: !busy && pinned -> wanted = true; open_gate(); !pinned
#endif
		fi
	od
}

active proctype reclaim()
{
	bool got, busy;

	under_way = true;
	make_idle();
	claim_chunk();
	if
	:: !got -> open_gate(); goto end
	:: else
	fi;
	ask(PUNCH);
	await();
	if
#ifdef MUTANT_CLAIM_KEPT
	:: interrupted -> open_gate(); goto end
#else
	:: interrupted -> give_back(); open_gate(); goto end
#endif
#ifdef MUTANT_BACKED_AFTER_FAILURE
	:: failed -> give_back(); open_gate(); goto end
#endif
	:: else
	fi;
	atomic { hole = true; under_way = false };
	open_gate();

	/* Refill, at any time. */
	under_way = true;
	make_idle();
#ifdef MUTANT_LISTED_BEFORE_REFILL
	give_back();
#endif
	ask(REFILL);
	await();
	if
	:: failed || interrupted
	:: else -> atomic { hole = false; give_back() }
	fi;
	open_gate();
end:	under_way = false;
	over++
}

/* A registration pins the segment, and ends the pin when it is asked to. */
active proctype registration()
{
end_out:
	atomic {
#ifdef MUTANT_PINNED_MEANWHILE
		!hole ->
#elif defined(MUTANT_PINNED_HOLE)
		!under_way ->
#else
		!hole && !under_way ->
#endif
		pinned = true;
		assert(backed && !hole)				/* D9 */
	};
end_in:	wanted;
	pinned = false
}

/* ok, or an ordinary drop because the gate was closed. */
inline hold()
{
	held++;
	atomic {
		ok = gate == 0;
		if
		:: ok -> granted++; assert(asked == NOTHING)	/* I32 */
		:: else
		fi
	};
	if :: !ok -> held-- :: else fi
}

inline use_and_drop()
{
	pins++;
	pins--;
	atomic { granted--; held-- }
}

active proctype user()
{
	bool ok, block;

	atomic {
		if
		:: listed[0] -> listed[0] = false
		:: listed[1] -> listed[1] = false; block = true
		:: !listed[0] && !listed[1] -> goto end
		fi
	};
	atomic { owned[block] = true; assert(backed && !hole) };	/* D9 */
	hold();
	if
	:: ok -> assert(backed); use_and_drop()			/* D9 */
	:: else
	fi;
	atomic { owned[block] = false; listed[block] = true };
end:	over++
}

active proctype neighbour()
{
	bool ok;

	hold();
	if
	:: ok -> use_and_drop()
	:: else
	fi;
	over++
}

active proctype foreigner()
{
	pins++;
	pins--
}

active proctype end()
{
	over == 3;
	assert(gate == 0 && held == 0);				/* I29 D17 */
	assert(hole || (backed && listed[0] && listed[1]));	/* I29 */
	assert(!hole || (!listed[0] && !listed[1]))		/* D9 */
}
