/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wait.pml: two threads wait for an extent's generation while holds on it are dropped,
 * one by one, two in one CAS, or because a hold was refused by the gate. A futex sleeps
 * only if the word has the expected value; no thread may sleep for ever.
 *
 * Stands for:
 *	lib/extent/state.c: dp_state_wait state_ask_wake dp_state_drop
 *	lib/extent/state.c: dp_state_finish_hold dp_state_after_swap state_wake
 *	lib/extent/state.c: dp_state_settle_retired
 *	lib/os/os.c: dp_os_futex_wait dp_os_futex_wake
 *
 * Left out: deadlines, so a waiter that would time out waits for ever here; the
 * counter; the segment's gate, except for one test of it; a drop of more holds than
 * there are, a mistake that no thread here makes. A futex compares half of the word,
 * flags, state, count and low bits of generation; here that is all of it.
 *
 * Scenarios:
 *	IDLE: the holds are dropped, then new ones are taken and dropped
 *	REUSE: the extent is retired, and its block gets a new generation, which is held
 *		until the waiters of the old one have returned
 *	GATED: a hold is refused by the gate and dropped while a thread waits
 *
 * Mutants:
 *	NOT_WHEN_BATCHED (IDLE): stuck: two drops in one CAS wake no thread
 *	WAKE_ONE (IDLE): stuck: only one of the waiters is woken
 *	BIT_CLEARED_LATER (IDLE): stuck: the bit is cleared after the drop and the
 *		wake-up
 *	EXPECTS_RELOAD (IDLE): stuck: it sleeps on a reloaded word, not on the one with
 *		its bit
 *	NO_GENERATION_IN_FUTEX (REUSE): stuck: the futex compares a half without
 *		generation
 *	WAITS_FOR_BLOCK (REUSE): stuck: it waits for the block, not the generation
 *	RETIRE_CLEARS_BIT (REUSE): stuck: settle clears the waiters bit
 *	UNDONE_WITHOUT_WAKE (GATED): stuck: a refused hold is dropped without a wake-up
 *	UNDONE_BY_HAND (GATED): stuck: a refused hold subtracts its count without a drop
 */
#include "word.h"

#if defined(GATED)
#define HOLDS		0
#elif defined(REUSE)
#define HOLDS		1
#else
#define HOLDS		2
#endif

/* Live, with holds. */
short word = LIVE << STATE_SHIFT | HOLDS << COUNT_SHIFT;
bool asleep[2];
byte woken;			/* waiters that have returned */

#ifdef MUTANT_NO_GENERATION_IN_FUTEX
#define half(w)		((w) & ((1 << GENERATION_SHIFT) - 1))
#else
#define half(w)		(w)
#endif

/* The kernel compares under the lock that a wake-up also takes. */
inline futex_wait(expected)
{
	atomic {
		if
		:: half(word) == half(expected) -> asleep[me] = true
		:: else
		fi
	};
	!asleep[me]
}

inline wake()
{
#ifdef MUTANT_WAKE_ONE
	d_step {
		if
		:: asleep[0] -> asleep[0] = false
		:: else -> asleep[1] = false
		fi
	}
#else
	d_step { asleep[0] = false; asleep[1] = false }
#endif
}

inline after(was, now)
{
	if
#ifdef MUTANT_NOT_WHEN_BATCHED
	:: was & WAITERS && !(now & WAITERS) && count_of(was) == 1 -> wake()
#else
	:: was & WAITERS && !(now & WAITERS) -> wake()
#endif
	:: else
	fi
}

#ifdef MUTANT_BIT_CLEARED_LATER
#define KEPT_BITS	WRITERS
#else
#define KEPT_BITS	(WRITERS | WAITERS)
#endif

/* Drop n of the caller's holds in one CAS. */
inline drop(n)
{
	w = word;
	do
	:: to = w - n * COUNT_ONE;
	   if
	   :: count_of(to) == 0 -> to = to & ~KEPT_BITS
	   :: else
	   fi;
	   if
	   :: count_of(to) == 0 && state_of(to) == RETIRED -> to = next_generation(to)
	   :: else
	   fi;
	   cas(word, w, to, ok);
	   if :: ok -> break :: else fi
	od;
#ifdef MUTANT_BIT_CLEARED_LATER
	if
	:: count_of(to) == 0 && w & WAITERS -> wake(); word = word & ~WAITERS
	:: else
	fi;
#endif
	after(w, to)
}

inline hold(generation)
{
	w = word;
	do
	:: assert(!ESTALE(w, generation) && !EALREADY(w));
	   cas(word, w, w + COUNT_ONE, ok);
	   if :: ok -> break :: else fi
	od
}

/* ask_wake() and sleep, until the generation has no holds. */
active [2] proctype waiter()
{
	short w;
	bool ok;
	byte me = _pid;

	do
	:: w = word;
	   ok = false;
	   do
#ifdef MUTANT_WAITS_FOR_BLOCK
	   :: count_of(w) == 0 -> goto idle
#else
	   :: generation_of(w) != 0 || count_of(w) == 0 -> goto idle
#endif
	   :: else ->
		if
		:: w & WAITERS -> break
		:: else ->
			cas(word, w, w | WAITERS, ok);
			if :: ok -> break :: else fi
		fi
	   od;
#ifdef MUTANT_EXPECTS_RELOAD
	   w = word;
	   futex_wait(w)
#else
	   futex_wait(w | WAITERS)
#endif
	od;
idle:	woken++
}


#ifdef IDLE
/* Both in one CAS, or one after the other. */
active proctype holder()
{
	short w, to;
	bool ok;

	if
	:: drop(2)
	:: drop(1); drop(1)
	fi
}

/* May run when the extent is idle already, before the waiters have tested it. */
active proctype again()
{
	short w, to;
	bool ok;

	hold(0);
	drop(1)
}
#endif

#ifdef REUSE
active proctype holder()
{
	short w, to;
	bool ok;

	drop(1)
}

/* The end of a publish: dp_state_settle_retired(). */
active proctype retire()
{
	short w, to;
	bool ok;

	w = word;
	do
	:: to = retired(w);
#ifdef MUTANT_RETIRE_CLEARS_BIT
	   to = to & ~WAITERS;
	   cas(word, w, to, ok);
	   if :: ok -> break :: else fi
#else
	   cas(word, w, to, ok);
	   if :: ok -> after(w, to); break :: else fi
#endif
	od
}

/* The next generation: held while a thread still waits for the one before. */
active proctype heir()
{
	short w, to;
	bool ok;

	generation_of(word) == 1;
	word = with_state(word, RESERVED);
	word = with_state(word, LIVE);
	hold(1);
	word = word | WAITERS;
	woken == 2;
	drop(1)
}
#endif

#ifdef GATED
/* It is refused by an ordinary drop. */
active proctype holder()
{
	short w, to;
	bool ok;

	hold(0);
#if defined(MUTANT_UNDONE_BY_HAND)
	word = word - COUNT_ONE
#elif defined(MUTANT_UNDONE_WITHOUT_WAKE)
	word = word & ~(WRITERS | WAITERS);
	word = word - COUNT_ONE
#else
	drop(1)
#endif
}
#endif
