/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * returns.pml: blocks that are freed to a segment while another thread has its lock.
 * Two threads free a run each, of two words and of one. Each then ends, or claims a run
 * of that length, as no other thread does. A third has the lock, perhaps until both
 * have freed.
 *
 * Stands for:
 *	lib/extent/space.c: dp_space_claim dp_space_free dp_space_settle space_return
 *	lib/extent/space.c: space_drain space_drain_word space_enter space_leave
 *	lib/extent/space.c: space_add space_lower_bound space_has_returned
 *	lib/extent/spaces.c: spaces_claim_last spaces_settle
 *
 * The three words have one bit of returned_groups. `bound` is the segment's bound, for
 * each of the two lengths.
 *
 * Left out: how a thread sleeps for the lock; other segments; caches (cache.pml); how
 * the bound is found (longest.pml).
 *
 * Mutants:
 *	NO_LOOK_AFTER: I28: a thread that releases the lock does not look for returned
 *		blocks
 *	NO_LOOK_BEFORE: I28: a thread that takes the lock does not look for them
 *	NO_SECOND_TRY: I28: a thread that returned its run does not try the lock again
 *	GROUP_FIRST: I28: the bit of the group is set before those of the blocks
 *	COUNTED_LATE: I28: the segment is counted after the bit of the group is set
 *	COUNT_TAKEN_EARLY: I28: the count is lowered before the words are read
 *	COUNT_KEPT: I28: a segment that is counted is counted again
 *	WORD_STORED: I28: a word is read, then zeroed
 *	COUNT_IGNORED: I28: a claim is refused by the bounds only
 *	FREE_WAITS: stuck: a free waits for the lock
 */
#define WORDS	3
#define RUN_OF(word)	((word) / 2)
#define really(which)	((which) == 0 -> (runs[0] && runs[1]) : runs[2])

bool lock;
bool returned[WORDS];
bool groups;
short returns;
bool runs[WORDS];		/* free, under the lock */
bool bound[2];			/* may a run of this length be found? */

byte freed, over;

inline try_lock()
{
	d_step { ok = !lock; lock = true }
}

inline take_lock()
{
	atomic { !lock -> lock = true }
}

/* space_add(): a thread that was refused has read the bound. */
inline add(word)
{
	d_step {
		assert(lock && !runs[word]);			/* I28 */
		runs[word] = true;
		bound[RUN_OF(word)] = really(RUN_OF(word))
	}
}

inline drain()
{
	d_step { seen = groups; groups = false };
	if
	:: seen ->
#ifdef MUTANT_COUNT_TAKEN_EARLY
		returns--;
#endif
		i = 0;
		do
		:: i < WORDS ->
#ifdef MUTANT_WORD_STORED
			seen = returned[i];
			returned[i] = false;
#else
			d_step { seen = returned[i]; returned[i] = false };
#endif
			if :: seen -> add(i) :: else fi;
			i++
		:: else -> i = 0; break
		od;
#ifndef MUTANT_COUNT_TAKEN_EARLY
		returns--;
#endif
		seen = false;
	:: else
	fi
}

inline enter()
{
	take_lock();
#ifndef MUTANT_NO_LOOK_BEFORE
	if :: groups -> drain() :: else fi
#endif
}

inline leave()
{
	lock = false;
#ifndef MUTANT_NO_LOOK_AFTER
	do
	:: !groups -> break
	:: else ->
		try_lock();
		if
		:: !ok -> break
		:: else -> drain(); lock = false
		fi
	od
#endif
}

inline set_bits()
{
	returned[first] = true;
	if :: first != last -> returned[last] = true :: else fi
}

inline set_group()
{
	d_step { seen = groups; groups = true }
}

/* space_return() */
inline give()
{
#ifdef MUTANT_GROUP_FIRST
	returns++;
	set_group();
	set_bits();
#else
	set_bits();
#ifndef MUTANT_COUNTED_LATE
	returns++;
#endif
	set_group();
#endif
	if
#ifdef MUTANT_COUNTED_LATE
	:: !seen -> returns++
#elif !defined(MUTANT_COUNT_KEPT)
	:: seen -> returns--
#endif
	:: else
	fi;
	seen = false
}

/* dp_space_free() */
inline free()
{
#ifdef MUTANT_FREE_WAITS
	take_lock(); ok = true;
#else
	try_lock();
#endif
	if
	:: ok ->
		add(first);
		if :: first != last -> add(last) :: else fi;
		leave()
	:: else ->
		give();
#ifdef MUTANT_NO_SECOND_TRY
		ok = false;
#else
		try_lock();
#endif
		if
		:: ok -> drain(); leave()
		:: else
		fi
	fi
}

/* space_lower_bound(), for both lengths. */
inline lower_bounds()
{
	d_step { bound[0] = really(0); bound[1] = really(1) }
}

/* spaces_claim_run(): found. */
inline claim(which)
{
	found = false;
	if
	:: !bound[which]
	:: else ->
		enter();
		d_step {
			found = really(which);
			if
			:: found && which == 0 -> runs[0] = false; runs[1] = false
			:: found && which == 1 -> runs[2] = false
			:: else
			fi
		};
		lower_bounds();
		leave()
	fi
}

active [2] proctype thread()
{
	bool ok, seen, found;
	byte i, first, last;

	if
	:: _pid == 0 -> last = 1
	:: else -> first = 2; last = 2
	fi;
	free();
	freed++;
	if :: goto end :: true fi;
	claim(_pid);
	/* spaces_claim_last() */
	if
	:: found -> goto end
	:: else
	fi;
#ifndef MUTANT_COUNT_IGNORED
	if
	:: returns -> enter(); leave()
	:: else -> assert(bound[_pid])				/* I28 */
	fi;
	claim(_pid);
#endif
	assert(found);						/* I28 */
end:	over++
}

/* Claims a run of the length that only this thread claims. */
active proctype other()
{
	bool ok, seen;
	byte i;

	enter();
	if :: true -> freed == 2 :: true fi;
	lower_bounds();
	leave();
	over++
}

/* At the end nothing is left in the words of returned blocks. */
active proctype end()
{
	over == 3;
	assert(!lock && !groups && returns == 0);		/* I28 */
	assert(!returned[0] && !returned[1] && !returned[2])	/* I28 */
}
