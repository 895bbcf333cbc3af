/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * state.pml: the state of one extent. A block is reserved twice. Its owner and another
 * thread with the same handle publish, retire and cancel it in any order; one thread
 * takes a read, write or exclusive hold by any handle that was ever returned, another
 * clones. Both drop their holds, the latter one by one or together.
 *
 * Stands for:
 *	lib/extent/state.h: dp_state_reserve dp_state_try_hold dp_state_try_drop
 *	lib/extent/state.h: dp_state_try_cancel
 *	lib/extent/state.c: dp_state_cancel dp_state_claim
 *	lib/extent/state.c: dp_state_unclaim dp_state_settle_kept
 *	lib/extent/state.c: dp_state_settle_retired dp_state_hold
 *	lib/extent/state.c: dp_state_clone dp_state_drop dp_state_after_swap
 *	lib/extent/state_word.h: dp_word_excludes dp_word_retired dp_word_refuses
 *	lib/extent/state_word.h: dp_word_refuses_hold dp_word_without_holds
 *	lib/extent/space.c: dp_space_claim dp_space_free
 *	lib/core/publish.c: step_claim_extent batch_settle
 *
 * Left out: several holds by one call, which are one CAS like one hold; a drop of
 * more than there are, which is a mistake. Counter and gate (gate.pml), waiting
 * (wait.pml), roots (root.pml), the medium between claim and settle, extents of
 * several blocks. A claim of the segment and a free to it are one atomic step each, see
 * returns.pml; threads' caches are in cache.pml.
 *
 * Mutants:
 *	BASE_ONE: I13: a freed block has a count of 1, a new one of 0
 *	BIT_FIRST: I16: a block is on the free list before its count is final
 *	NOBODY_FREES: I21: no thread frees the block if the last drop comes before
 *		RETIRED
 *	COUNT_THEN_STATE: I41: the count is read before the state is cleared
 *	ADD_THEN_LOOK: I16: a hold counts first, then tests the word
 *	GENERATION_IGNORED: I41: a handle is accepted for the next generation too
 *	GENERATION_LATER: D12: the generation advances by a second CAS, after the one to
 *		FREE
 *	FREED_BY_SEER: I18: every thread that finds the word FREE frees the block
 *	CANCEL_CLAIMED: D2: cancel ignores a publish
 *	CLAIM_TWICE: D2: a claim ignores another one
 *	WRITERS_APART: D12: KEEP tests for writers once, not in its CAS
 *	EXCLUSIVE_LOOKS_ONCE: C7: an exclusive hold tests for others once, not in its CAS
 *	EXCLUSIVE_TO_HOLDS: C7: other holds ignore an exclusive one
 *	EXCLUSIVE_TO_CLONES: C7: clones ignore an exclusive one
 *	EXCLUSIVE_TO_KEEP: C7: KEEP ignores an exclusive hold
 *	KEEP_TO_EXCLUSIVE: C7: an exclusive hold ignores a KEEP
 */
#include "word.h"

#define GENERATIONS 2

short word;			/* a page of zeroes is a page of free states */
bool listed = true;		/* the block is on the free list */
byte known;			/* generations below this have a handle */

/* Only for assertions: the users of the block, by generation. */
byte using[GENERATIONS];
byte writing[GENERATIONS];
byte claims;
bool keeping;			/* a KEEP has the claim and reads the payload */
bool exclusive_out;		/* an exclusive hold exists */
byte over;			/* threads that have ended */

/*
 * The inlines use these of the thread that calls them: w and to, words; ok;
 * ret, 0 or how it failed. settled() forgets them, so that they make no states.
 */
#define LOCALS		short w, to; bool ok, ret
#define settled()	atomic { w = 0; to = 0; ok = false }

inline space_free()
{
	d_step {
		assert(!listed);				/* I18 */
		listed = true
	}
}

/* After the CAS from w to `to`, by the thread that made it only. */
inline after()
{
	if
#ifdef MUTANT_FREED_BY_SEER
	:: state_of(word) == FREE -> space_free()
#elif defined(MUTANT_BIT_FIRST)
	:: state_of(to) == FREE && state_of(w) != RETIRED -> space_free()
#elif defined(MUTANT_GENERATION_LATER)
	:: state_of(to) == FREE -> space_free(); word = next_generation(word)
#else
	:: state_of(to) == FREE -> space_free()
#endif
	:: else
	fi
}

#ifdef MUTANT_BASE_ONE
#define ended(word)	(next_generation(word) | COUNT_ONE)
#elif defined(MUTANT_GENERATION_LATER)
#define ended(word)	(generation_of(word) << GENERATION_SHIFT)
#else
#define ended(word)	next_generation(word)
#endif

inline refuse(generation)
{
	ret = state_of(w) == FREE || state_of(w) == RETIRED;
#ifndef MUTANT_GENERATION_IGNORED
	ret = ret || generation_of(w) != generation
#endif
}

/* The word after a RETIRE, which ends the generation unless it is held. */
inline retire()
{
#ifdef MUTANT_COUNT_THEN_STATE
	/* It was not held earlier, so it is assumed not to be now. */
	before = count_of(w) != 0;
	do
	:: to = (before && count_of(w) != 0 -> with_state(w & ~PUBLISHING, RETIRED) :
			     next_generation(w));
	   cas(word, w, to, ok);
	   if :: ok -> break :: else fi
	od
#else
	do
	:: to = (count_of(w) == 0 -> ended(w) :
		 with_state(w & ~PUBLISHING, RETIRED));
#ifdef MUTANT_NOBODY_FREES
	   to = with_state(w & ~PUBLISHING, RETIRED);
#endif
	   cas(word, w, to, ok);
	   if :: ok -> break :: else fi
	od
#endif
}

/* ------------------------------------------------------ reserve to retire */

/* dp_space_claim() and dp_state_reserve(); ret: there is no space. */
inline reserve()
{
	atomic {
		if
		:: listed -> listed = false; ret = false
		:: !listed && over == 3 -> ret = true
		fi
	};
	if
	:: ret
	:: else ->
		w = word;
		assert(w == generation_of(w) << GENERATION_SHIFT);	/* I13 I16 */
		cas(word, w, with_state(w, RESERVED), ok);
		assert(ok);				/* I16 */
		d_step {
			/*
			 * A reserve returns each generation once; the last one has no
			 * users.
			 */
			assert(generation_of(w) == known);	/* D12 I19 */
			assert(known == 0 || using[0] == 0);	/* I41 */
			known++
		}
	fi;
	settled()
}

inline cancel(generation)
{
	w = word;
	do
	:: refuse(generation);
	   ret = ret || state_of(w) != RESERVED;
#ifndef MUTANT_CANCEL_CLAIMED
	   ret = ret || w & PUBLISHING;
#endif
	   if
	   :: ret -> break
	   :: else ->
		to = (count_of(w) == 0 -> ended(w) :
		      with_state(w & ~PUBLISHING, RETIRED));
		cas(word, w, to, ok);
		if :: ok -> after(); break :: else fi
	   fi
	od;
	settled()
}

/* dp_state_claim(); KEEP requires that there was no writer. */
inline claim(generation, from)
{
	w = word;
	do
	:: refuse(generation);
	   ret = ret || state_of(w) != from;
#ifndef MUTANT_CLAIM_TWICE
	   ret = ret || w & PUBLISHING;
#endif
#ifdef MUTANT_WRITERS_APART
	   ret = ret || (!before && from == RESERVED && w & WRITERS);
	   before = true;
#else
	   ret = ret || (from == RESERVED && w & WRITERS);
#endif
#ifndef MUTANT_EXCLUSIVE_TO_KEEP
	   ret = ret || (from == RESERVED && w & EXCLUSIVE);
#endif
	   if
	   :: ret -> break
	   :: else ->
		d_step {
			if
			:: word == w ->
				assert(from == LIVE || !writing[generation]);	/* D12 */
				claims++;
				assert(claims == 1);			/* D2 */
				keeping = from == RESERVED;
				assert(!(keeping && exclusive_out));	/* C7 */
				word = w | PUBLISHING; ok = true
			:: else -> w = word; ok = false
			fi
		}
		if :: ok -> break :: else fi
	   fi
	od;
	settled()
}

inline unclaim()
{
	d_step {
		assert(word & PUBLISHING);			/* D2 */
		claims--; keeping = false;
		word = word & ~PUBLISHING
	}
}

/* dp_state_settle_kept() and dp_state_settle_retired(): change memory, after the medium. */
inline settle_live()
{
	d_step { claims--; keeping = false };
	w = word;
	do
	:: assert(w & PUBLISHING && state_of(w) == RESERVED);	/* D2 */
	   to = with_state(w & ~PUBLISHING, LIVE);
	   cas(word, w, to, ok);
	   if :: ok -> break :: else fi
	od;
	settled()
}

inline settle_retired()
{
	claims--;
	w = word;
	assert(w & PUBLISHING && state_of(w) == LIVE);		/* D2 */
	retire();
	after();
	settled()
}

/* A publish of one operation: the medium accepts it or fails. */
inline publish_keep(generation)
{
	claim(generation, RESERVED);
	if
	:: ret
	:: !ret -> settle_live()
	:: !ret -> unclaim()
	fi
}

inline publish_retire(generation)
{
	claim(generation, LIVE);
	if
	:: ret
	:: !ret -> settle_retired()
	:: !ret -> unclaim()
	fi
}

/* ---------------------------------------------------------- hold and drop */

#define one_more(w, write, exclusive) \
	(((w) + COUNT_ONE) | (write -> WRITERS : 0) | (exclusive -> EXCLUSIVE : 0))

/* dp_word_excludes() */
#ifdef MUTANT_EXCLUSIVE_TO_HOLDS
#define excluded(w)	false
#else
#define excluded(w)	((w) & EXCLUSIVE)
#endif
#ifdef MUTANT_KEEP_TO_EXCLUSIVE
#define in_the_way(w)	(count_of(w) > 0)
#else
#define in_the_way(w)	(count_of(w) > 0 || (w) & PUBLISHING)
#endif

/* The hold exists from its CAS on. */
inline hold_cas(generation, write, exclusive)
{
	d_step {
		if
		:: word == w ->
			word = one_more(w, write, exclusive); ok = true;
			assert(!exclusive_out);			/* C7 */
			assert(!exclusive || (!using[generation] && !keeping)); /* C7 */
			exclusive_out = exclusive;
			using[generation]++;
			writing[generation] = writing[generation] + write
		:: else -> w = word; ok = false
		fi
	}
}

inline hold(generation, write, exclusive)
{
#ifdef MUTANT_ADD_THEN_LOOK
	d_step { w = word; word = word + COUNT_ONE };
	refuse(generation);
	if
	:: ret -> word = word - COUNT_ONE
	:: else -> d_step { using[generation]++; if :: write -> word = word | WRITERS; writing[generation]++ :: else fi }
	fi;
#else
	w = word;
	do
	:: refuse(generation);
	   ret = ret || count_of(w) == COUNT_MAX || excluded(w);
#ifdef MUTANT_EXCLUSIVE_LOOKS_ONCE
	   ret = ret || (exclusive && !before && in_the_way(w));
	   before = true;
#else
	   ret = ret || (exclusive && in_the_way(w));
#endif
	   if
	   :: ret -> break
	   :: else -> hold_cas(generation, write, exclusive); if :: ok -> break :: else fi
	   fi
	od;
#endif
	settled()
}

/* mine: the caller has a hold, so the generation cannot have ended. */
inline clone(generation, write, mine)
{
	w = word;
	do
	:: assert(!mine || (generation_of(w) == generation && count_of(w) > 0)); /* I26 I41 */
	   ret = generation_of(w) != generation || count_of(w) == 0 ||
		 count_of(w) == COUNT_MAX;
#ifndef MUTANT_EXCLUSIVE_TO_CLONES
	   ret = ret || w & EXCLUSIVE;
#endif
	   if
	   :: ret -> break
	   :: else -> hold_cas(generation, write, false); if :: ok -> break :: else fi
	   fi
	od;
	settled()
}

/* Drop n of the caller's holds together. */
inline drop(n, generation, write, exclusive)
{
	atomic {
		using[generation] = using[generation] - n; writing[generation] = writing[generation] - write;
		if :: exclusive -> exclusive_out = false :: else fi
	};
	w = word;
	do
	:: assert(count_of(w) >= n);			/* D13 I41 */
	   to = w - n * COUNT_ONE;
	   if
	   :: count_of(to) == 0 -> to = to & ~(WRITERS | EXCLUSIVE)
	   :: else
	   fi;
	   if
#ifdef MUTANT_NOBODY_FREES
	   :: false
#else
	   :: count_of(to) == 0 && state_of(to) == RETIRED -> to = ended(to)
#endif
	   :: else
	   fi;
#ifdef MUTANT_BIT_FIRST
	   if :: state_of(to) == FREE -> space_free() :: else fi;
#endif
	   cas(word, w, to, ok);
	   if :: ok -> after(); break :: else fi
	od;
	settled()
}

/* ---------------------------------------------------------------- threads */

active proctype owner()
{
	LOCALS;
	bool before;		/* of some mutants */

	reserve();
	if
	:: cancel(0)
	:: publish_keep(0); publish_retire(0)
	fi;
	reserve();
	if
	:: ret
	:: else -> cancel(1)
	fi;
	over++
}

/* May get the handle too, and make any call with it. */
active proctype rival()
{
	LOCALS;
	bool before;		/* of some mutants */

	known > 0;
	if
	:: cancel(0)
	:: publish_keep(0)
	:: publish_retire(0)
	fi;
	over++
}

active proctype writer()
{
	LOCALS;
	byte generation;
	bool write, exclusive;
	bool before;		/* of some mutants */

	if
	:: known > 0
	:: known > 1 -> generation = 1
	fi;
	if :: write = true :: exclusive = true :: true fi;
	hold(generation, write, exclusive);
	if
	:: ret
	:: else -> drop(1, generation, write, exclusive)
	fi;
	over++
}

/* Clones its own hold, or without one, which is a mistake. */
active proctype cloner()
{
	LOCALS;
	byte generation, holds;
	bool before;		/* of some mutants */

	if
	:: known > 0
	:: known > 1 -> generation = 1
	fi;
	if
	:: hold(generation, false, false); if :: ret :: else -> holds = 1 fi
	:: true
	fi;
	clone(generation, false, holds > 0);
	if
	:: ret
	:: else -> holds++
	fi;
	do
	:: holds > 0 -> holds--; drop(1, generation, false, false)
	:: holds > 1 -> holds = 0; drop(2, generation, false, false)
	:: holds == 0 -> break
	od;
	over++
}

/* After all threads have ended. */
active proctype end()
{
	over == 4;
	assert(count_of(word) == 0);				/* I29 */
	assert(!(word & PUBLISHING) && claims == 0);		/* D2 */
	assert(state_of(word) != RETIRED);			/* I21 */
	assert(listed == (state_of(word) == FREE))		/* I21 */
}
