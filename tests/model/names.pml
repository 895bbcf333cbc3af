/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * names.pml: names of roots are found and claimed without a lock while other names are
 * added and removed. X and Y are names whose hashes lead to the same place; Y is before
 * X, and Z reuses its slot. One thread looks for X or Y, one moves Y to another extent,
 * one removes Y, one adds Z. The result of a look-up was true at some moment, and a
 * thread that claims a slot has claimed the name that it looked for.
 *
 * Stands for:
 *	lib/media/root.c: root_search root_list root_unlist
 *	lib/media/root.c: root_try_lookup root_lookup root_lookup_again
 *	lib/media/root.c: roots_change roots_changed
 *	lib/media/root.c: root_end_claim root_take root_make root_try_claim
 *	lib/media/root.c: root_free dp_root_find dp_root_claim dp_root_settle
 *
 * Left out: more than two slots and three places; that a name has several words, which
 * change under the same version; media.
 *
 * Mutants:
 *	LOOKED_ONCE: D14: a search does not read the version again
 *	NEVER_ODD: D14: the version changes once, after the names
 *	EVEN_EARLY: D14: the version is even again before the names have changed
 *	CLAIM_OF_ANY_NAME: D18: names may have changed before the claims are loaded
 *	NAMES_NOT_COUNTED: D18: a slot's claims word is the same for its next name
 */
#define NONE	0
#define X	1
#define Y	2
#define Z	3
#define NOWHERE	2		/* no slot */

#define CLAIMED	1
#define ONE	2		/* counts names, in claims */

byte version;
byte place[3] = { 1, 2, 0 };	/* a slot + 1; all names lead to the first */
byte name[2] = { Y, X };
byte word[2] = { Y, X };	/* the name it belongs to */
byte claims[2];
bool locked;
bool free0;			/* slot 0 */

bit owned[2];			/* by a thread that has claimed it */

inline lock()
{
	atomic { !locked -> locked = true }
}

inline unlock()
{
	locked = false
}

inline search(n)
{
	at = 0;
	slot = NOWHERE;
	do
	:: what = place[at];
	   if
	   :: what == 0 -> break
	   :: what > 0 && name[what - 1] == n -> slot = what - 1; break
	   :: else
	   fi;
	   at++;
	   if :: at == 3 -> break :: else fi
	od;
	at = 0; what = 0
}

inline try_look(n)
{
	seen = version;
	search(n);
	if
	:: slot != NOWHERE -> found = word[slot]
	:: else -> found = NONE
	fi;
#ifdef MUTANT_LOOKED_ONCE
	ok = true
#else
	ok = !(seen & 1) && version == seen
#endif
}

/* Without the mutex any number of times, then once with it. */
inline look(n)
{
	do
	:: try_look(n);
	   if :: ok -> break :: else fi
	:: lock();
	   try_look(n);
	   assert(ok);			/* D14 */
	   unlock();
	   break
	od;
	ok = false
}

inline change()
{
	assert(locked && !(version & 1));			/* D14 */
#ifndef MUTANT_NEVER_ODD
#ifdef MUTANT_EVEN_EARLY
	version = version + 2
#else
	version++
#endif
#endif
}

inline changed()
{
#ifdef MUTANT_NEVER_ODD
	version = version + 2
#else
#ifdef MUTANT_EVEN_EARLY
	skip
#else
	version++
#endif
#endif
}

inline own(s, n)
{
	d_step {
		assert(!owned[s] && name[s] == n);		/* D18 */
		owned[s] = true
	}
}

/* From here on another thread may claim it. */
inline end_claim(s, renamed)
{
	d_step {
		assert(owned[s] && claims[s] & CLAIMED);	/* D18 */
		owned[s] = false;
		claims[s] = claims[s] & ~CLAIMED;
#ifndef MUTANT_NAMES_NOT_COUNTED
		claims[s] = claims[s] + (renamed -> ONE : 0)
#endif
	}
}

/* slot: the claimed one, or NOWHERE if there is no such name or it is claimed. */
inline claim(n)
{
	do
	:: look(n);
	   if
	   :: slot == NOWHERE -> break
	   :: else
	   fi;
	   had = claims[slot];
	   if
#ifndef MUTANT_CLAIM_OF_ANY_NAME
	   :: version != seen
#endif
	   :: else ->
		if
		:: had & CLAIMED -> slot = NOWHERE; break
		:: else ->
			atomic {
				if
				:: claims[slot] == had ->
					claims[slot] = had | CLAIMED;
					own(slot, n);
					ok = true
				:: else
				fi
			};
			if :: ok -> break :: else fi
		fi
	   fi
	od;
	ok = false; seen = 0; had = 0; found = 0
}

/* Of slot 0, which has Y. */
inline give_back()
{
	lock();
	change();
	place[0] = place[1];
	place[1] = 0;
	name[0] = NONE;
	word[0] = NONE;
	end_claim(0, true);
	changed();
	free0 = true;
	unlock()
}

active proctype reader()
{
	byte seen, at, what, slot, found;
	bool ok;

	if
	:: look(X);
	   assert(slot == 1 && found == X)			/* D14 */
	:: look(Y);
	   assert(found == NONE || found == Y)			/* D14 */
	fi
}

active proctype mover()
{
	byte seen, at, what, slot, found, had;
	bool ok;

	claim(Y);
	if
	:: slot != NOWHERE ->
		word[slot] = Y;
		assert(name[slot] == Y);			/* D18 */
		end_claim(slot, false)
	:: else
	fi
}

active proctype remover()
{
	byte seen, at, what, slot, found, had;
	bool ok;

	claim(Y);
	if
	:: slot != NOWHERE ->
		assert(slot == 0);				/* D18 */
		give_back()
	:: else
	fi
}

/* Adds Z, if Y was removed: there is no other free slot. */
active proctype maker()
{
	lock();
	if
	:: free0 ->
		free0 = false;
		d_step {
			claims[0] = claims[0] | CLAIMED;
#ifndef MUTANT_NAMES_NOT_COUNTED
			claims[0] = claims[0] + ONE;
#endif
			assert(!owned[0]);			/* D18 */
			owned[0] = true
		};
		change();
		name[0] = Z;
		place[1] = 1;
		changed();
		unlock();
		word[0] = Z;
		end_claim(0, false)
	:: else -> unlock()
	fi
}
