/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reclaim.pml: a chunk of two blocks becomes a hole and comes back. One thread
 * reclaims and refills it, with a deadline at any time; one reserves a block of
 * it, holds it and gives it back; one holds an extent in another chunk of the
 * same segment; a foreign pin, which the library does not know, comes and goes.
 *
 * Stands for:
 *	lib/extent/space.c: dp_space_claim dp_space_claim_at dp_space_free
 *	lib/extent/state.c: dp_state_hold dp_state_drop
 *	lib/extent/gate.c: dp_gate_close dp_gate_open dp_gate_busy
 *	lib/reclaim/part.c: part_is_in_use part_try part_ask_kernel
 *	lib/reclaim/part.c: part_after_kernel part_end_runs part_run_end
 *	lib/reclaim/job.c: dp_jobs_pin
 *	lib/reclaim/hole.c: dp_holes_claim dp_holes_end
 *
 * Close the gate; count; ask for a registration's pin; claim the chunk's free
 * blocks, all or none; punch, asynchronously; when the kernel has answered, open
 * the gate. An interrupted request changed nothing (A7), one that failed may be
 * done in part, so its chunk is a hole. Refill does the same the other way round.
 *
 * Left out: how the counter is read (gate.pml): here it is exact. A claim and a free
 * are one atomic step each (returns.pml), and what threads keep is gathered before
 * (cache.pml).
 *
 * Mutants:
 *	BUSY_SKIPPED_UNMAPPED: I8: nothing is pinned by a registration, so nobody
 *		counts holds
 *	BUSY_BEFORE_GATE: I31: counts, then closes the gate
 *	NO_GATE: I32: counts, and leaves the gate open
 *	NOT_CLAIMED: I7: looks whether the blocks are free, and punches
 *	PARTLY_CLAIMED: I7: one free block is enough
 *	RELEASED_EARLY: I7: the blocks are released at the deadline, the punch goes on
 *	OPENED_EARLY: I32: the gate opens at the deadline, the punch goes on
 *	BACKED_AFTER_FAILURE: D9: a punch that failed leaves the chunk backed
 *	LISTED_BEFORE_REFILL: D9: the blocks are listed, then refilled
 *	CLAIM_KEPT: I29: an interrupted punch keeps what was claimed
 *	PIN_NOT_ASKED: A6: nobody asks for a registration's pin
 *	PIN_NOT_AWAITED: A6: it is asked for, and not waited for
 *	PINNED_MEANWHILE: A6: a pin is given while the segment is being reclaimed
 *	PINNED_HOLE: D9: a pin is given to a segment with a hole, which fills it
 */
#define NOTHING		0
#define PUNCH		1
#define REFILL		2

bool listed[2] = true;		/* free blocks, in memory */
bool hole;			/* and what memory knows of the chunk */
byte gate, held;
bool pinned, wanted;		/* by a registration; asked back */
bool under_way;			/* a job is, in this segment */

/* The kernel: what it was asked, and what it answers. */
byte asked;
bool answered, failed, cancelled, interrupted;
byte pins;			/* pages of the file that DMA has */
bool backed = true;		/* the truth */

/* What the code cannot see. */
byte granted;			/* holds that may be used */
bool owned[2];
byte over;

/* Waits for every pin in the file, and looks whether it was cancelled. */
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
	/* No space, or half way. */
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

/* The gate is closed: does anybody hold anything in the segment? */
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

/* At the deadline the request is cancelled; only its answer is the end. */
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

/* Under the gate, until nothing is held or pinned; or not at all. */
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

	/* Refill, when it likes. */
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

/* A registration pins the segment, and gives it back when it is asked. */
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

/* ok, or the gate was closed: an ordinary drop. */
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
