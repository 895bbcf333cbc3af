/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cache.pml: blocks that threads keep, and a thread that steals them. There are three
 * blocks, of one segment. Threads claim one of them and free it again; a cache that is
 * empty takes two. Another thread wants two blocks: it looks whether what is kept could
 * help, steals it, and claims.
 *
 * Stands for:
 *	lib/extent/cache.c: dp_cache_enter dp_cache_leave dp_cache_pop dp_cache_push
 *	lib/extent/cache.c: dp_cache_shed cache_give dp_caches_steal dp_caches_release
 *	lib/extent/cache.c: dp_caches_most
 *	lib/extent/spaces.c: dp_spaces_claim dp_spaces_free spaces_claim_last
 *	lib/extent/spaces.c: spaces_may_have spaces_claim_cached spaces_refill
 *	lib/extent/spaces.c: spaces_free_cached dp_spaces_gather
 *
 * A claim of the segment and a free to it are one step, see returns.pml, and all that is
 * free there is joined. A cache gives some back when it likes, not when it is full.
 *
 * Scenarios:
 *	REFUSE: two threads claim, each with a cache, and one wants two blocks
 *	TWO_THIEVES: one thread claims and frees, two steal
 *
 * Mutants:
 *	STEALING_FIRST (REFUSE): I63: a thread looks at `stealing` before it is busy
 *	STEALING_IGNORED (REFUSE): I63: it does not look
 *	BUSY_SKIPPED (REFUSE): I63: the thief leaves out who is busy
 *	BUSY_NOT_TAKEN (TWO_THIEVES): I62: a thief takes what another is about to take
 *	RAISED_LATE (REFUSE): I63: the thief raises `stealing` when all are empty
 *	RELEASED_EARLY (REFUSE): I28: caches are open again before it claims
 *	NOT_STOLEN (REFUSE): I28: it is refused by what the segment has
 *	BUSY_NOT_COUNTED (REFUSE): I28: what is on its way to a cache is not counted
 *	BLOCKS_FIRST (REFUSE): I28: the blocks of a cache are read, then busy
 *	RUNS_MOVE (REFUSE): I28: between two looks a run goes from a cache to the segment
 *		and to another cache: so short a time that the library leaves it at that
 *	LEFT_UNCOUNTED (REFUSE): I28: who leaves a cache counts its blocks afterwards
 *	ONE_THIEF (TWO_THIEVES): I63: the first who releases, releases for all
 */
#define BLOCKS	3
#define LIMIT	2			/* of blocks a cache */
#define WANTED	2
#ifdef REFUSE
#define CACHES	2
#else
#define CACHES	1
#endif

/* Where a block is. */
mtype = { SEGMENT, COMING, KEPT, OWNED };
mtype place[BLOCKS] = SEGMENT;
byte in_segment = BLOCKS;

typedef Cache {
	bool busy;
	byte blocks;			/* as others read it */
	byte n, stack[BLOCKS];
};
Cache cache[CACHES];
byte stealing;

/* What the code cannot see. */
byte owned;
bool few;				/* once fewer were free than wanted */
byte over;

inline move(b, from, to)
{
	assert(place[b] == from);				/* I62 */
	place[b] = to;
	in_segment = in_segment + (to == SEGMENT) - (from == SEGMENT);
	owned = owned + (to == OWNED) - (from == OWNED);
	few = few || BLOCKS - owned < WANTED
}

/* dp_space_claim(): b, or no block. */
inline take(to)
{
	atomic {
		if
		:: place[0] == SEGMENT -> b = 0
		:: else ->
			if
			:: place[1] == SEGMENT -> b = 1
			:: else -> b = 2
			fi
		fi;
		move(b, SEGMENT, to)
	}
}

inline give(b, from)
{
	d_step { move(b, from, SEGMENT) }
}

#define mine	cache[me]

/* dp_cache_enter() */
inline enter()
{
#ifdef MUTANT_STEALING_FIRST
	ok = !stealing;
	if
	:: ok -> d_step { ok = !mine.busy; mine.busy = true }
	:: else
	fi
#else
	d_step { ok = !mine.busy; mine.busy = true };
	if
	:: !ok
	:: else ->
#ifndef MUTANT_STEALING_IGNORED
		ok = !stealing;
#endif
		if :: ok -> skip :: else -> mine.busy = false fi
	fi
#endif
}

inline count_and_leave()
{
#ifdef MUTANT_LEFT_UNCOUNTED
	mine.busy = false;
	mine.blocks = mine.n
#else
	mine.blocks = mine.n;
	mine.busy = false
#endif
}

inline push(from)
{
	mine.stack[mine.n] = b;
	atomic { move(b, from, KEPT); mine.n++ }
}

inline pop()
{
	b = mine.stack[mine.n - 1];
	atomic { mine.n--; move(b, KEPT, OWNED) }
}

/* dp_spaces_claim(): b; ok: it has a block. */
inline claim()
{
	enter();
	if
	:: !ok
	:: ok && mine.n > 0 -> pop(); count_and_leave(); goto have
	:: ok && mine.n == 0 ->
		/* spaces_refill(): two blocks in one step. */
		atomic {
			ok = in_segment >= 2;
			if
			:: ok -> take(COMING); other = b; take(OWNED)
			:: else
			fi
		};
		if
		:: ok ->
			d_step { n = b; b = other; other = n };
			push(COMING);
			b = other; count_and_leave();
			goto have
		:: else -> count_and_leave()
		fi
	fi;
	atomic {
		ok = in_segment >= 1;
		if :: ok -> take(OWNED) :: else fi
	};
have:	n = 0
}

/* dp_spaces_free() */
inline free()
{
	enter();
	if
	:: ok ->
		/* dp_cache_shed(): the oldest. */
		if
		:: mine.n > 0 ->
			other = mine.stack[0];
			give(other, KEPT);
			d_step { mine.stack[0] = mine.stack[1]; mine.n-- };
			mine.blocks = mine.n
		:: true
		fi;
		if
		:: mine.n < LIMIT -> push(OWNED); count_and_leave()
		:: else -> count_and_leave(); give(b, OWNED)	/* unreached */
		fi
	:: else -> give(b, OWNED)
	fi
}

/* dp_caches_most() */
inline count_most()
{
	most = 0; me = 0;
	do
	:: me < CACHES ->
#ifdef MUTANT_BLOCKS_FIRST
		most = most + mine.blocks;
		if :: mine.busy -> most = most + LIMIT :: else fi;
#else
#ifndef MUTANT_BUSY_NOT_COUNTED
		if :: mine.busy -> most = most + LIMIT :: else fi;
#endif
		most = most + mine.blocks;
#endif
		me++
	:: else -> break
	od
}

inline empty_one()
{
	do
	:: mine.n > 0 ->
		d_step { b = mine.stack[mine.n - 1] };
		give(b, KEPT);
		mine.n--
	:: else -> break
	od;
	mine.blocks = 0
}

/* dp_caches_steal() */
inline steal()
{
#ifndef MUTANT_RAISED_LATE
	stealing++;
#endif
	me = 0;
	do
	:: me < CACHES ->
#if defined(MUTANT_BUSY_SKIPPED)
		d_step { ok = !mine.busy; mine.busy = true };
		if :: ok -> empty_one(); mine.busy = false :: else fi;
#elif defined(MUTANT_BUSY_NOT_TAKEN)
		empty_one();
#else
		atomic { !mine.busy -> mine.busy = true };
		empty_one();
		mine.busy = false;
#endif
		me++
	:: else -> break
	od;
#ifdef MUTANT_RAISED_LATE
	stealing++;
#endif
	me = 0
}

/* Between steal and release. */
inline look()
{
	me = 0;
	do
	:: me < BLOCKS ->
		assert(place[me] == SEGMENT || place[me] == OWNED);	/* I63 */
		me++
	:: else -> me = 0; break
	od
}

inline release()
{
#ifdef MUTANT_ONE_THIEF
	stealing = 0
#else
	stealing--
#endif
}

active [CACHES] proctype thread()
{
	byte me = _pid, b, other, n;
	bool ok;

	claim();
#if defined(TWO_THIEVES) || defined(MUTANT_RUNS_MOVE)
	if
	:: ok -> free()
	:: else
	fi;
#endif
	over++
}

/* A claim of two blocks. */
active proctype claimer()
{
	byte me, b, most;
	bool ok;

	few = BLOCKS - owned < WANTED;
#ifdef REFUSE
	if
	:: in_segment >= WANTED -> goto end
	:: else
	fi;
	count_most();
#ifdef MUTANT_NOT_STOLEN
	most = 0;
#endif
	if
	:: (in_segment + 1) * (most + 1) <= WANTED ->
		assert(few);					/* I28 */
		goto end
	:: else
	fi;
#endif
	steal();
#ifdef MUTANT_RELEASED_EARLY
	release();
#else
	d_step { look() };
#endif
	atomic { assert(few || in_segment >= WANTED) };		/* I28 */
#ifndef MUTANT_RELEASED_EARLY
	release();
#endif
end:	over++
}

#ifdef TWO_THIEVES
/* dp_spaces_gather() */
active proctype gatherer()
{
	byte me, b;
	bool ok;

	steal();
	d_step { look() };
	release();
	over++
}
#endif

/* When nobody moves. */
active proctype end()
{
	byte me, kept;

	over == 3;
	assert(stealing == 0);					/* I63 */
	do
	:: me < CACHES ->
		assert(!mine.busy && mine.blocks == mine.n);	/* I62 */
		kept = kept + mine.n;
		me++
	:: else -> break
	od;
	assert(in_segment + kept + owned == BLOCKS)		/* I62 */
}
