/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cache.pml: a thread's cache of free blocks, and a thread that steals from it, on a
 * machine with store buffers. There are three blocks, of one segment. A thread claims
 * one of them and frees it again; if its cache is empty, it fills it with two. Another
 * thread, the thief, wants two blocks, or all: it notes that it is refused, steals, and
 * claims. A thread that frees a block looks for such a note.
 *
 * Stands for:
 *	lib/extent/cache.h: dp_cache_set_busy dp_cache_pop dp_cache_push
 *	lib/extent/cache.h: dp_cache_take dp_cache_put
 *	lib/extent/cache.c: dp_cache_enter dp_cache_leave cache_begin dp_cache_shed cache_give cache_empty
 *	lib/extent/cache.c: caches_to_empty caches_fenced dp_caches_steal dp_caches_release
 *	lib/extent/cache.c: dp_caches_note_fenced caches_thread_ended
 *	lib/extent/thread_slot.c: thread_slot_release dp_thread_slots_free
 *	lib/extent/spaces.h: dp_spaces_try dp_spaces_free
 *	lib/extent/spaces.c: dp_spaces_claim spaces_claim_last spaces_may_have spaces_refill
 *	lib/extent/spaces.c: spaces_claim_cached spaces_free_cached dp_spaces_gather
 *	lib/extent/event.c: dp_events_refused dp_events_post_retry
 *	lib/extent/event.h: dp_events_notify_refused
 *
 * A thread's stores to its cache are plain: they go through a buffer, and reach memory
 * in their order some time later (TSO). A locked instruction waits until the buffer of
 * its thread is empty; membarrier() waits until each other buffer has been. A claim
 * from the segment and a free to it are one locked step, see returns.pml, and
 * neighbouring free blocks are joined there. `content` is a bitmap of blocks. A cache
 * may return blocks to the segment at any time.
 *
 * Left out: other caches, including the thief's own; what a thread leaves in its slot
 * for the next one.
 *
 * If the fence fails, the thread may also end while it has a block.
 *
 * Scenarios:
 *	ASYMMETRIC: the thief makes the fence for the thread
 *	SYMMETRIC: the thread makes its own fence
 *	REFUSED: as ASYMMETRIC; while the thread has a block, too few are left
 *	NEW: as ASYMMETRIC; the thread has had no cache before
 *	TWO_THIEVES: as ASYMMETRIC, and a third thread steals
 *	LATE: as ASYMMETRIC, but membarrier is forbidden since the open, so that it
 *		fails
 *
 * Mutants:
 *	NO_FENCE (ASYMMETRIC): I62: the thief makes no fence
 *	FENCE_FIRST (ASYMMETRIC): I62: it makes the fence, then sets `stealing`
 *	FENCE_LAST (ASYMMETRIC): I62: it reads `busy`, then makes the fence
 *	BUSY_PLAIN (SYMMETRIC): I62: a thread sets busy without a fence
 *	STEALING_FIRST (SYMMETRIC): I62: a thread reads `stealing` before it sets busy
 *	STEALING_IGNORED (SYMMETRIC): I62: a thread does not read `stealing`
 *	BUSY_SKIPPED (ASYMMETRIC): I63: the thief leaves out caches that are busy
 *	BUSY_NOT_AWAITED (ASYMMETRIC): I62: it does not wait for busy caches
 *	LEFT_EARLY (ASYMMETRIC): I62: a thread clears busy, then takes its block
 *	USED_FIRST (NEW): I63: the thief reads `used`, then sets `stealing`
 *	USED_LATE (NEW): I63: a thread enters, then sets its bit of `used`
 *	NO_MUTEX (TWO_THIEVES): I62: the first of two thieves to release releases for
 *		both
 *	RELEASED_EARLY (ASYMMETRIC): I28: caches may be used again before the thief
 *		claims
 *	NOT_STOLEN (ASYMMETRIC): I28: a claim fails by the segment's blocks alone
 *	NOTED_LATE (REFUSED): C4: a refusal is noted after the last claim
 *	LOOKS_EARLY (REFUSED): C4: a thread looks for a note, then frees
 *	FAILED_WILL_DO (LATE): I62: the thief continues after its fence has failed
 *	LOOKED_PLAIN (LATE): I62: a thread publishes without a fence that it makes its
 *		own
 *	LOOKED_SILENTLY (LATE): C4: that thread then does not look for a note
 *	ENDED_SILENTLY (LATE): C4: a thread that ends does not look for a note
 */
#define BLOCKS	3
#if defined(SYMMETRIC) || defined(REFUSED)
#define WANTED	3
#define PLACE_0	KEPT			/* what the cache has: block 0 */
#define PLACE_1	SEGMENT
#elif defined(ASYMMETRIC) || defined(TWO_THIEVES) || defined(LATE)
#define WANTED	2
#define PLACE_0	KEPT			/* blocks 0 and 1 */
#define PLACE_1	KEPT
#elif defined(NEW)
#define WANTED	3
#define PLACE_0	OWNED			/* by a fourth thread */
#define PLACE_1	SEGMENT
#endif

#define BUSY	0
#define CONTENT	1

/* Where a block is. */
#define SEGMENT	0
#define COMING	1
#define KEPT	2
#define OWNED	3
byte place[BLOCKS] = { PLACE_0, PLACE_1, SEGMENT };
byte in_segment = 1 + (PLACE_0 == SEGMENT) + (PLACE_1 == SEGMENT);

bool busy;
byte content = (PLACE_0 == KEPT) + 2 * (PLACE_1 == KEPT);
bool used = PLACE_0 == KEPT;
bool stealing, thief;
bool refused;
bool each_fences;		/* FENCED of mode */
bool fences;			/* `fenced` of this cache */
bool ended;			/* its slot is free */

/* Stores that are not yet visible: which word, value. */
chan buffer = [4] of { bit, byte };

/* Only for assertions. */
byte owned = PLACE_0 == OWNED;
bool few = false;			/* fewer were free than wanted, once */
bool denied, told;
bool unreliable;		/* the thief could not use the cache */
byte over;

active proctype memory()
{
	bit what;
	byte value;

end:	do
	:: atomic { buffer?what,value ->
		if
		:: what == BUSY -> busy = value
		:: else -> content = value
		fi;
		value = 0; what = 0
	   }
	od
}

inline move(block, from, to)
{
	assert(place[block] == from);				/* I62 */
	place[block] = to;
	in_segment = in_segment + (to == SEGMENT) - (from == SEGMENT);
	owned = owned + (to == OWNED) - (from == OWNED);
	few = few || BLOCKS - owned < WANTED
}

#define locked	empty(buffer)

/* The first free block. */
inline take(to)
{
	b = (place[0] == SEGMENT -> 0 : (place[1] == SEGMENT -> 1 : 2));
	move(b, SEGMENT, to)
}

#if defined(SYMMETRIC) && !defined(MUTANT_BUSY_PLAIN)
#define fenced(to)	atomic { locked -> busy = to }
#else
#define fenced(to)	buffer!BUSY,to
#endif
#define leave()		fenced(0)

/* dp_events_notify_refused() */
inline tell()
{
	if
	:: refused -> d_step { refused = false; told = true }
	:: else
	fi
}

#ifdef LATE
/* dp_caches_note_fenced() */
inline own_fences()
{
	if
	:: each_fences && !fences ->
#ifdef MUTANT_LOOKED_PLAIN
		fences = true;
#else
		atomic { locked -> fences = true };
#endif
#ifndef MUTANT_LOOKED_SILENTLY
		tell()
#endif
	:: else
	fi
}

/* cache_set_busy(): mode may have changed when busy is set. */
inline set_busy()
{
	if
	:: each_fences -> atomic { locked -> busy = 1 }
	:: !each_fences -> buffer!BUSY,1
	fi
}
#else
#define own_fences()		skip
#define set_busy()	fenced(1)
#endif

/* dp_cache_enter(), and the contents of the cache. */
inline enter()
{
	own_fences();
#ifndef MUTANT_USED_LATE
	atomic { locked -> used = true };
#endif
#ifdef MUTANT_STEALING_FIRST
	ok = !stealing;
	set_busy();
#else
	set_busy();
	ok = !stealing;
#endif
#ifdef MUTANT_STEALING_IGNORED
	ok = true;
#endif
#ifdef MUTANT_USED_LATE
	atomic { locked -> used = true };
#endif
	if
	:: !ok -> leave()
	:: else ->
		d_step {
			if
			:: buffer??[CONTENT,_]
			:: else -> mine = content
			fi
		}
	fi
}

/* `place` changes with the store of the content, in the thread's order. */
inline change(block, from, to)
{
	atomic {
		nfull(buffer) ->
		mine = mine ^ (1 << block);
		buffer!CONTENT,mine;
		move(block, from, to)
	}
}

inline pop()
{
	b = (mine & 1 -> 0 : (mine & 2 -> 1 : 2));
	change(b, KEPT, OWNED)
}

/* dp_spaces_claim(): b; ok: it has a block. */
inline claim()
{
	enter();
	if
	:: ok && mine ->
#ifdef MUTANT_LEFT_EARLY
		leave();
		pop();
#else
		pop();
		leave();
#endif
		goto have
	:: ok && !mine ->
		/* spaces_refill() */
		atomic { locked ->
			ok = in_segment >= 2;
			if
			:: ok -> take(COMING); other = b; take(OWNED)
			:: else
			fi
		};
		if :: ok -> change(other, COMING, KEPT) :: else fi;
		leave();
		if :: ok -> goto have :: else fi
	:: else
	fi;
	atomic { locked ->
		ok = in_segment >= 1;
		if :: ok -> take(OWNED) :: else fi
	};
have:	skip
}

/* dp_spaces_free() */
inline free()
{
	enter();
	if
	:: ok ->
		/* dp_cache_shed() */
		if
		:: mine ->
			other = (mine & 1 -> 0 : (mine & 2 -> 1 : 2));
			atomic { locked -> move(other, KEPT, SEGMENT) };
			atomic {
				mine = mine ^ (1 << other);
				buffer!CONTENT,mine
			}
		:: true
		fi;
		change(b, OWNED, KEPT);
		leave()
	:: else ->
		atomic { locked -> move(b, OWNED, SEGMENT) }
	fi
}

/* thread_slot_release(): its stores are visible. */
inline end_thread()
{
#ifdef LATE
	atomic { locked -> ended = true };
#ifndef MUTANT_ENDED_SILENTLY
	if :: each_fences && !fences -> tell() :: else fi
#endif
#else
	skip
#endif
}

active proctype thread()
{
	byte b, other, mine;
	bool ok;

	claim();
	if
	:: !ok
#ifdef LATE
	:: ok
#endif
	:: ok ->
#ifdef MUTANT_LOOKS_EARLY
		tell();
		free()
#else
		free();
		tell()
#endif
	fi;
	end_thread();
	over++
}

inline fence()
{
#ifdef SYMMETRIC
	skip
#elif defined(LATE)
	each_fences = true;
	d_step {
		unreliable = !fences && !ended;
#ifndef MUTANT_FAILED_WILL_DO
		seen = seen && !unreliable
#endif
	}
#else
	if :: seen -> empty(buffer) :: else fi
#endif
}

inline empty_cache()
{
	d_step {
		do
		:: b < BLOCKS && content & 1 << b -> move(b, KEPT, SEGMENT); b++
		:: b < BLOCKS && !(content & 1 << b) -> b++
		:: b == BLOCKS -> break
		od;
		b = 0
	};
	content = 0
}

inline wait_and_empty()
{
	if
	:: !seen
#if defined(MUTANT_BUSY_SKIPPED)
	:: seen && busy
	:: seen && !busy -> empty_cache()
#elif defined(MUTANT_BUSY_NOT_AWAITED)
	:: seen -> empty_cache()
#else
	:: seen -> !busy; empty_cache()
#endif
	fi
}

/* dp_caches_steal() */
inline steal()
{
#ifndef MUTANT_NO_MUTEX
	atomic { !thief -> thief = true };
#endif
#ifdef MUTANT_USED_FIRST
	seen = used;
	stealing = true;
#elif defined(MUTANT_FENCE_FIRST)
	seen = used;
	fence();
	stealing = true;
	seen = used;
#else
	stealing = true;
	seen = used;
#endif
#if !defined(MUTANT_FENCE_FIRST) && !defined(MUTANT_NO_FENCE) && !defined(MUTANT_FENCE_LAST)
	fence();
#endif
	wait_and_empty();
#ifdef MUTANT_FENCE_LAST
	fence();
#endif
	seen = false
}

/* I63, which the thief relies on until it releases. */
inline look()
{
	d_step {
		assert(unreliable || place[0] != COMING && place[0] != KEPT); /* I63 */
		assert(unreliable || place[1] != COMING && place[1] != KEPT); /* I63 */
		assert(unreliable || place[2] != COMING && place[2] != KEPT)  /* I63 */
	}
}

inline release()
{
	stealing = false;
	thief = false
}

/* The first WANTED free blocks. */
inline take_wanted()
{
	d_step {
		take(OWNED);
		take(OWNED);
#if WANTED == 3
		take(OWNED);
#endif
		b = 0
	}
}

/* The last claim of a thread that has no cache. */
active proctype claimer()
{
	byte b;
	bool seen;

#ifndef MUTANT_NOTED_LATE
	refused = true;
#endif
	few = BLOCKS - owned < WANTED;
	if
	:: atomic { in_segment >= WANTED -> take_wanted() }; goto end
	:: else
	fi;
#ifdef MUTANT_NOT_STOLEN
	assert(few);						/* I28 */
#endif
	steal();
	look();
#ifdef MUTANT_RELEASED_EARLY
	release();
#endif
	if
	:: atomic { in_segment >= WANTED -> take_wanted() }
	:: else -> denied = true; assert(few || unreliable)	/* I28 */
	fi;
#ifndef MUTANT_RELEASED_EARLY
	look();
	release();
#endif
#ifdef MUTANT_NOTED_LATE
	refused = true;
#endif
end:	over++
}

#ifdef TWO_THIEVES
/* dp_spaces_gather() */
active proctype gatherer()
{
	byte b;
	bool seen;

	steal();
	look();
	release();
	over++
}
#endif

/* After all threads have stopped. */
active proctype end()
{
#ifdef TWO_THIEVES
	over == 3;
#else
	over == 2;
#endif
	assert(!denied || told || BLOCKS - owned < WANTED);	/* C4 */
	assert(!stealing && !thief)				/* I63 */
}
