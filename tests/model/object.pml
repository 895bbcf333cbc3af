/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * object.pml: one object, its state in memory, and its bit in a word on media that it
 * shares with another object. It is reserved, kept or cancelled, and freed, by threads
 * that know nothing of each other. Another thread publishes the other object.
 *
 * Stands for:
 *	lib/extent/slab.h: dp_slab_try_pop dp_object_toggle dp_object_take_change
 *	lib/extent/slab.c: dp_object_claim dp_object_settle
 *	lib/extent/objects.c: dp_object_cancel dp_object_settle_freed
 *
 * Left out: slabs (slabs.pml); batches of more than one object; a crash (tests/sim).
 *
 * Mutants:
 *	CLAIM_STORED: D2: a claim loads the state, then stores it
 *	CANCEL_CLAIMED: D2: an object that a publish has claimed is cancelled
 *	FREE_EARLY: D3: the object is free in memory before its bit is on media
 *	LIVE_AFTER_FAILURE: D3: a KEEP that failed leaves the object live
 *	NO_WORD_LOCK: D3: two publishes write one word without its lock
 *	MARK_KEPT: D3: a word is written as it was before the change
 */
#define FREE		0
#define RESERVED	1
#define LIVE		2
#define CLAIMED		3

byte state;
byte bits;			/* in memory, as on media: 1 this object, 2 the other */
byte media;
bool word_lock;
byte claims;			/* publishes that have claimed the object */
byte rounds, over, others;

/* One CAS: ok, or the object has another state. */
inline change(from, to)
{
	d_step { ok = state == from; if :: ok -> state = to :: else fi }
}

inline claim(from)
{
#ifdef MUTANT_CLAIM_STORED
	ok = state == from;
	if :: ok -> state = CLAIMED :: else fi;
#else
	change(from, CLAIMED);
#endif
	if
	:: ok -> d_step { assert(claims == 0); claims++ }		/* D2 */
	:: else
	fi
}

/* End the claim. Media must have the bit of a live object, and no other. */
inline settle(to)
{
	d_step {
		assert(state == CLAIMED);				/* D2 */
		assert((media & 1) == (to == LIVE));			/* D3 */
		claims--;
		state = to
	}
}

/* Change a bit of the word on media. Nothing else happens under the word's lock. */
inline publish(which)
{
#ifndef MUTANT_NO_WORD_LOCK
	atomic { !word_lock -> word_lock = true };
#endif
	value = bits;
#ifdef MUTANT_MARK_KEPT
	bits = value ^ which;
#else
	value = value ^ which;
	bits = value;
#endif
	media = value;
#ifndef MUTANT_NO_WORD_LOCK
	word_lock = false;
#endif
	value = 0
}

/* dp_slab_pop() */
active proctype reserver()
{
	do
	:: rounds == 2 -> break
	:: d_step {
			if
			:: state == FREE ->
				assert((media & 1) == 0);		/* D3 */
				state = RESERVED;
				rounds++
			:: else
			fi
		}
	:: over == 4 -> break
	od;
	others++
}

active proctype canceller()
{
	bool ok;

#ifdef MUTANT_CANCEL_CLAIMED
	d_step { ok = state == RESERVED || state == CLAIMED;
		 if :: ok -> state = FREE :: else fi };
#else
	change(RESERVED, FREE);
#endif
	over++
}

active proctype keep()
{
	bool ok;
	byte value;

	claim(RESERVED);
	if
	:: ok ->
		if
		:: publish(1); settle(LIVE)
		:: true ->
			/* The publish fails before it has written anything. */
#ifdef MUTANT_LIVE_AFTER_FAILURE
			settle(LIVE)
#else
			settle(RESERVED)
#endif
		fi
	:: else
	fi;
	over++
}

active [2] proctype freer()
{
	bool ok;
	byte value;

	claim(LIVE);
	if
	:: ok ->
#ifdef MUTANT_FREE_EARLY
		settle(FREE); publish(1)
#else
		publish(1); settle(FREE)
#endif
	:: else
	fi;
	over++
}

active proctype other()
{
	byte value;

	publish(2);
	publish(2);
	publish(2);
	others++
}

active proctype end()
{
	over == 4 && others == 2;
	assert(media == bits && (media & 2));				/* D3 */
	assert((media & 1) == (state == LIVE) && claims == 0)		/* D3 */
}
