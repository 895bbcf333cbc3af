/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * longest.pml: the bound of a group of segments. Each of two segments has an owner,
 * which raises its bound, searches for a run of that length, and lowers the bound
 * again, one of them twice. A searcher wants a run of any length. If no segment has
 * one, it lowers the group's bound, while the owners raise it.
 *
 * Stands for:
 *	lib/extent/longest.c: dp_longest_set longest_raise_group longest_lower_group
 *	lib/extent/longest.c: dp_longest_find longest_find_in dp_longest_get
 *
 * A word of the group is its count of raises and its bound. An owner is a thread that
 * has the segment's lock (returns.pml), so its stores to the segment's bound do not
 * race.
 *
 * Left out: other groups, because a search treats each separately; memory order,
 * because all operations that raise and lower are seq_cst.
 *
 * Mutants:
 *	RAISES_NOT_COUNTED: I61: the searcher's swap compares the bound only
 *	GROUP_FIRST: I61: an owner raises the group, then its segment
 *	RAISED_ONLY_IF_HIGHER: I61: the word is not changed if it is high enough
 *	SEGMENTS_FIRST: I61: a searcher reads the segments, then the word
 *	STORED: I61: a searcher stores the result without a CAS
 *	WANTED_LESS_ONE: I61: the group is lowered to one less than the wanted length
 *	ONE_SEGMENT: I61: the group is lowered to the first segment's bound
 */
#define SEGMENTS	2
#define MOST		2		/* the greatest bound */

byte segment[SEGMENTS];
/* The word of the group. */
byte raises, bound;

/* Only for assertions: the bound that each owner has published. */
byte known[SEGMENTS];

/* longest_raise_group() */
inline raise_group(to)
{
	do
	:: atomic { seen_raises = raises; seen = bound };
#ifdef MUTANT_RAISED_ONLY_IF_HIGHER
	   if :: seen >= to -> break :: else fi;
#endif
	   atomic {
		if
		:: raises == seen_raises && bound == seen ->
#ifndef MUTANT_RAISES_NOT_COUNTED
			raises++;
#endif
			bound = (seen < to -> to : seen);
			break
		:: else
		fi
	   }
	od
}

/* longest_lower_group() */
inline lower_group(wanted)
{
#ifndef MUTANT_SEGMENTS_FIRST
	atomic { seen_raises = raises; seen = bound };
#endif
	most = segment[0];
#ifndef MUTANT_ONE_SEGMENT
	d_step { most = (segment[1] > most -> segment[1] : most) };
#endif
#ifdef MUTANT_SEGMENTS_FIRST
	atomic { seen_raises = raises; seen = bound };
#endif
#ifdef MUTANT_WANTED_LESS_ONE
	most = wanted - 1;
#endif
	atomic {
		if
#ifdef MUTANT_STORED
		:: most < seen -> bound = most
#else
		:: most < seen && raises == seen_raises && bound == seen ->
			bound = most
#endif
		:: else
		fi
	}
}

/* dp_longest_find(); found: a segment may have such a run. */
inline find(wanted)
{
	found = bound >= wanted;
	if
	:: !found
	:: else ->
		found = segment[0] >= wanted;
		if
		:: found
		:: else -> found = segment[1] >= wanted
		fi;
		if
		:: found
		:: else -> lower_group(wanted)
		fi
	fi
}

active [SEGMENTS] proctype owner()
{
	byte seen_raises, seen, most, to, turn;
	bool found;

	do
	:: turn < 2 - _pid ->
		/* dp_longest_set(), higher. */
		if :: to = 1 :: to = MOST fi;
#ifdef MUTANT_GROUP_FIRST
		raise_group(to);
		segment[_pid] = to;
#else
		segment[_pid] = to;
		raise_group(to);
#endif
		known[_pid] = to;
		/* Its own search must find it. */
		find(to);
		assert(found);					/* I61 */
		/* dp_longest_set(), lower: the run was taken. */
		d_step { known[_pid] = 0; segment[_pid] = 0 };
		turn++
	:: turn == 2 - _pid -> break
	od
}

active proctype searcher()
{
	byte seen_raises, seen, most, wanted;
	bool found;

	if :: wanted = 1 :: wanted = MOST fi;
	find(wanted)
}

/* At any time. */
active proctype look()
{
	atomic {
		assert(bound >= known[0] && bound >= known[1]);	/* I61 */
		assert(segment[0] >= known[0] && segment[1] >= known[1]) /* I61 */
	}
}
