/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wait.pml: two threads wait for an extent's generation while holds on it are dropped,
 * one by one, two at once, or because a hold met the gate. A futex sleeps only
 * while the word is what it was told; nobody may sleep for ever.
 *
 * Stands for:
 *	lib/extent/state.c: dp_state_wait state_ask_wake dp_state_drop
 *	lib/extent/state.c: dp_state_hold state_after_swap state_wake
 *	lib/extent/state.c: dp_state_settle word_retired
 *	lib/os/os.c: dp_os_futex_wait dp_os_futex_wake
 *
 * Left out: deadlines: a waiter that would time out here waits for ever. The
 * counter, and the segment's gate but for one look at it. A drop of more than
 * there are, which takes those there are: nobody here makes that mistake. A futex
 * compares half of the word, flags, state, count and low bits of generation; here that
 * is all of it.
 *
 * Scenarios:
 *	IDLE: the holds are dropped, then new ones are taken and dropped
 *	REUSE: the extent is retired, and its block begins a new generation, which is held
 *		until the waiters of the old one are done
 *	GATED: a hold meets the gate, and backs out while somebody waits
 *
 * Mutants:
 *	NOT_WHEN_BATCHED (IDLE): stuck: two dropped at once wake nobody
 *	WAKE_ONE (IDLE): stuck: one of the waiters is woken
 *	BIT_CLEARED_LATER (IDLE): stuck: the bit goes after the drop and the wake-up
 *	EXPECTS_RELOAD (IDLE): stuck: sleeps on the word as it is, not as was asked
 *	NO_GENERATION_IN_FUTEX (REUSE): stuck: the futex compares a half without generation
 *	WAITS_FOR_BLOCK (REUSE): stuck: waits for the block, not for the generation
 *	RETIRE_CLEARS_BIT (REUSE): stuck: settle forgets who waits
 *	UNDONE_WITHOUT_WAKE (GATED): stuck: a gated hold backs out silently
 *	UNDONE_BY_HAND (GATED): stuck: a gated hold takes its count back by an add
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
byte woken;			/* waiters that are done */

#ifdef MUTANT_NO_GENERATION_IN_FUTEX
#define half(w)		((w) & ((1 << GENERATION_SHIFT) - 1))
#else
#define half(w)		(w)
#endif

/* The kernel compares under the lock that a wake-up takes too. */
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

/* n holds of the caller's go in one CAS. */
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

/* ask_wake() and the sleep, until the generation's holds are gone. */
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
/* Two at once, or one after the other. */
active proctype holder()
{
	short w, to;
	bool ok;

	if
	:: drop(2)
	:: drop(1); drop(1)
	fi
}

/* Perhaps when it was idle already, and before the waiters have looked. */
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

/* The end of a publish: dp_state_settle(). */
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

/* The next generation: held, and waited for, as long as anybody waits for the last. */
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
/* It was refused: an ordinary, full drop. */
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
