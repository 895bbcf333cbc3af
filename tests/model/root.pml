/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * root.pml: a root never names an extent that is not live. Root b names an extent. One
 * thread makes root a name it too; one clears root b; one retires the extent, alone or
 * in a batch that clears root b; then its block gets a new generation, which is kept.
 * All run concurrently, and each may come late, with a stale handle.
 *
 * Stands for:
 *	lib/extent/state.c: dp_state_add_root dp_state_remove_root
 *	lib/extent/state.c: dp_state_roots dp_state_claim dp_state_unclaim
 *	lib/extent/state.c: dp_state_settle_kept dp_state_settle_retired
 *	lib/extent/state.h: dp_state_read
 *	lib/core/publish.c: batch_claim step_claim_slot step_claim_extent
 *	lib/core/publish.c: step_count_target step_check_roots
 *	lib/core/publish.c: step_release batch_settle
 *	lib/core/handle.c: dp_refuse_name
 *	lib/core/publish.c: step_settle_root step_settle_last
 *	lib/media/root.c: dp_root_claim dp_root_unclaim dp_root_settle
 *	lib/media/root.c: dp_root_counted
 *
 * Left out: names (names.pml: a claim is one step), holds, the medium between
 * claim and settle.
 *
 * Mutants:
 *	LOOK_THEN_COUNT: D14: ROOT looks for a claim before it counts, not after
 *	COUNT_THEN_CLAIM: D14: RETIRE reads the count, then claims
 *	COUNT_BUFFERED: D14: ROOT looks while its count is still in a store buffer
 *	NO_CLAIM_SEEN: D14: ROOT ignores a claim
 *	GENERATION_IGNORED: D14: ROOT names any generation that is live
 *	RETIRED_FIRST: D14: a batch settles its RETIRE before its ROOT
 *	UNCOUNTED_FIRST: D14: a root is removed from the count, then names another
 *		extent
 *	ANY_SLOT_COUNTS: D14: RETIRE allows as many roots as its batch has ROOTs
 *	SLOT_NOT_CLAIMED: D18: two batches change one root
 *	COUNT_LEFT: D14: a ROOT that is refused stays counted
 */
#include "word.h"

#define A 0
#define B 1
#define NONE 255

short word = LIVE << STATE_SHIFT;
short roots = 1;		/* in the state */
byte names[2] = { NONE, 0 };	/* the generation that a slot names */
bool claimed[2];

byte buffered;			/* counts in the store buffer */
byte over;

inline add_root()
{
#ifdef MUTANT_COUNT_BUFFERED
	buffered++
#else
	roots++
#endif
}

#ifdef MUTANT_COUNT_BUFFERED
active proctype memory()
{
end:	do
	:: atomic { buffered > 0 -> buffered--; roots++ }
	od
}
#endif

inline remove_root()
{
	d_step { assert(roots > 0); roots-- }			/* D14 */
}

/* An extent that is named is live: checked when the root or the extent changes. */
inline check()
{
	assert(names[A] == NONE ||
	       (names[A] == generation_of(word) && state_of(word) == LIVE)); /* D14 */
	assert(names[B] == NONE ||
	       (names[B] == generation_of(word) && state_of(word) == LIVE)) /* D14 */
}

/* ret: another publish has it. */
inline claim_slot(slot)
{
	d_step {
		ret = claimed[slot];
#ifdef MUTANT_SLOT_NOT_CLAIMED
		ret = false;
#endif
		if :: !ret -> claimed[slot] = true :: else fi
	}
}

inline unclaim_slot(slot)
{
	claimed[slot] = false
}

/* The slot's new word; the extent that it named is no longer counted. */
inline settle_root(slot, to)
{
#ifdef MUTANT_UNCOUNTED_FIRST
	if :: names[slot] != NONE -> remove_root() :: else fi;
#endif
	atomic {
		assert(claimed[slot]);				/* D18 */
		was = names[slot]; names[slot] = to;
		check()
	};
	claimed[slot] = false;
	if
#ifdef MUTANT_UNCOUNTED_FIRST
	:: false
#else
	:: was != NONE -> remove_root()
#endif
	:: else
	fi
}

/* ret: why a root cannot name generation 0. */
inline refuse()
{
	w = word;
	ret = state_of(w) != LIVE;
#ifndef MUTANT_GENERATION_IGNORED
	ret = ret || generation_of(w) != 0;
#endif
#ifndef MUTANT_NO_CLAIM_SEEN
	ret = ret || w & PUBLISHING;
#endif
	w = 0
}

/* ROOT a -> the extent. */
active proctype root()
{
	short w;
	bool ret;
	byte was;

	claim_slot(A);
	refuse();
	if
	:: ret -> goto out
	:: else
	fi;
	add_root();
#ifndef MUTANT_LOOK_THEN_COUNT
	refuse();
#endif
	if
	:: ret ->
#ifdef MUTANT_COUNT_BUFFERED
		buffered == 0;
#endif
#ifndef MUTANT_COUNT_LEFT
		remove_root();
#endif
		goto out
	:: else
	fi;
	settle_root(A, 0);
	goto end;
out:	unclaim_slot(A);
end:	over++
}

/* ROOT b -> nothing. */
active proctype clear()
{
	bool ret;
	byte was;

	claim_slot(B);
	if
	:: ret
	:: else -> settle_root(B, NONE)
	fi;
	over++
}

inline count_roots()
{
	left = roots;
	if
#ifdef MUTANT_ANY_SLOT_COUNTS
	:: has_slot && left > 0 -> left--
#else
	:: has_slot && names[B] != NONE -> left--
#endif
	:: else
	fi
}

/* The claim's CAS; if it fails nothing has changed. */
inline claim()
{
	w = word;
	do
	:: ret = ESTALE(w, 0) || EALREADY(w) || w & PUBLISHING;
	   if
	   :: ret -> break
	   :: else ->
		cas(word, w, w | PUBLISHING, ok);
		if :: ok -> break :: else fi
	   fi
	od;
	w = 0
}

inline settle_retired()
{
	atomic { word = next_generation(word); check() }
}

/* RETIRE, and perhaps ROOT b -> nothing before or behind it, in one batch. */
active proctype retire()
{
	short w, left;
	bool ok, ret, has_slot;
	byte was;

	if
	:: true
	:: claim_slot(B);
	   if
	   :: ret -> goto end
	   :: else -> has_slot = true
	   fi
	fi;
#ifdef MUTANT_COUNT_THEN_CLAIM
	count_roots();
	claim();
#else
	claim();
	assert(!ret);		/* only this thread retires it */
	if
	:: true
	:: !has_slot -> claim_slot(B);
	   if
	   :: ret -> word = word & ~PUBLISHING; goto end
	   :: else -> has_slot = true
	   fi
	fi;
	count_roots();
#endif
	if
	:: left > 0 ->
		word = word & ~PUBLISHING;
		if :: has_slot -> unclaim_slot(B) :: else fi
	:: else ->
#ifdef MUTANT_RETIRED_FIRST
		settle_retired();
		if :: has_slot -> settle_root(B, NONE) :: else fi
#else
		if :: has_slot -> settle_root(B, NONE) :: else fi;
		settle_retired()
#endif
	fi;
end:	over++
}

/* The next generation of the block. */
active proctype heir()
{
	if
	:: generation_of(word) == 1 ->
		word = with_state(word, RESERVED);
		word = with_state(word, LIVE)
	:: over == 3 && generation_of(word) == 0
	fi
}

active proctype end()
{
	over == 3 && buffered == 0;
	assert(roots == (names[A] != NONE) + (names[B] != NONE)); /* D14 */
	assert(!claimed[A] && !claimed[B]);			/* D18 */
	assert(!(word & PUBLISHING))				/* D2 */
}
