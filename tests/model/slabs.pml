/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slabs.pml: which slab objects are reserved in, and when a slab is freed. One slab has
 * two words of states with one object each. A thread reserves in it while it is its
 * current one, leaves it when it is full, and finds it again in the list of its class,
 * or makes it anew. Two threads free the objects. A thief has no slab of its own. A
 * shrink closes the segment of the slab, which is not used then, and may fail.
 *
 * Stands for:
 *	lib/extent/slab.h: dp_slab_try_pop dp_slab_pop dp_slab_is_empty
 *	lib/extent/slab.h: dp_object_is_settled
 *	lib/extent/slab.c: dp_slab_is_full dp_slab_seal dp_slab_set_place
 *	lib/extent/objects.h: dp_object_try
 *	lib/extent/objects.c: dp_object_try_all dp_object_reserve dp_object_steal
 *	lib/extent/objects.c: dp_object_cancel
 *	lib/extent/objects.c: objects_leave objects_choose objects_list dp_object_freed
 *	lib/extent/objects.c: objects_close_surplus objects_close dp_slab_take_empty
 *	lib/extent/objects.c: dp_slab_own dp_slab_forget
 *	lib/extent/objects.c: objects_close_freed objects_withdraw dp_slab_withdraw
 *	lib/extent/objects.c: dp_objects_withdraw_from dp_objects_reopen
 *
 * Left out: how the fullest of the listed slabs is chosen; claims (object.pml).
 *
 * Scenarios:
 *	THIEF: another thread steals objects, and nothing shrinks
 *	SHRINK: a shrink, and no thief
 *
 * Mutants:
 *	LOOK_FIRST (THIEF): I66: the slab is FULL after its states were read, not before
 *	PLACE_FIRST (THIEF): I66: a thread that frees reads the place before it frees
 *	PLACE_ONCE (THIEF): I66: a thread that frees does not read the place under the
 *		mutex
 *	CLOSE_UNSEEN (THIEF): I66: under the mutex nobody looks whether the slab is empty
 *	CLOSE_OWNED (THIEF): I66: the current slab of another thread is closed
 *	THIEF_ALONE (THIEF): I66: a thief reserves without the mutex
 *	POP_STORED (THIEF): I65: the state is loaded, then stored
 *	WITHDRAWN_LISTED (SHRINK): I66: a slab that is WITHDRAWN stays in the list of its
 *		class
 *	WITHDRAWN_OWNED (SHRINK): I68: a slab that is WITHDRAWN stays the current one of its owner
 *	WITHDRAWN_UNSEEN (SHRINK): I68: a new slab in a closed segment becomes a current one
 *	WITHDRAWN_KEPT (SHRINK): I68: a slab that is WITHDRAWN is kept when it is empty
 *	UNSEALED (SHRINK): I66: a slab that was taken from its owner is closed without a
 *		seal
 *	SEALED_USED (SHRINK): I66: the struct of a sealed slab is used for a new slab
 *	FREED_UNSEEN (SHRINK): I68: a free in a slab that was taken looks at the states
 *		before it takes the mutex, and may see a seal that is being tried
 *	SEAL_KEPT (SHRINK): I65: a seal that fails leaves words sealed
 */
#define NEW	0
#define OWNED	1
#define FULL	2
#define PARTIAL	3
#define CLOSING	4
#define WITHDRAWN	5
#define GONE	6		/* sealed, and not used again before the close */
#ifdef SHRINK
#define ROUNDS	1		/* see begin() */
#else
#define ROUNDS	3
#endif
#ifdef MUTANT_FREED_UNSEEN
#define MUST_LOOK	false
#else
#define MUST_LOOK	taken
#endif

bool used[2];			/* states: FREE or not */
byte place = OWNED;
bool current = true;		/* the slab is the owner's current one */
bool listed, mutex;
bool has[2];			/* a caller has the object */
bool given[2];			/* and lets another thread free it */
byte reserved, freed, over;
bool begun;			/* the shrink may begin */
bool closed;			/* withdrawn_from: a shrink has closed the segment */
bool all_closed;			/* and dp_slab_withdraw() has seen the slab */
bool taken;			/* was_taken: from its owner, by the shrink */
bool sealed;			/* no word has a free object, for ever */

inline use(n)
{
	used[n] = true;
	has[n] = true;
	given[n] = true
}

inline lock()
{
	atomic { !mutex -> mutex = true }
}

/* dp_slab_pop() of the word n. */
inline pop(n)
{
#ifdef MUTANT_POP_STORED
	ok = !used[n];
	if
	:: ok -> used[n] = true
	:: else
	fi;
#endif
	d_step {
#ifndef MUTANT_POP_STORED
		ok = !used[n];
		used[n] = true;
#endif
		if
		:: ok ->
			assert(place != CLOSING && place != NEW);	/* I66 */
			assert(!has[n]);				/* I65 */
			assert(place != WITHDRAWN || !began_closed);		/* I68 */
			has[n] = true;
			given[n] = true;
			reserved++
		:: else
		fi
	}
}

inline reserve_in_any_word()
{
	pop(0);
	if
	:: !ok -> pop(1)
	:: else
	fi
}

inline look_if_empty()
{
	ok = !used[0];
	ok = ok && !used[1]
}

inline look_if_full()
{
	ok = used[0];
	ok = ok && used[1]
}

inline add_to_list()
{
	d_step { assert(mutex && !listed); listed = true }	/* I66 */
}

/* objects_leave(): ok if the slab was left. */
inline leave()
{
#ifdef MUTANT_LOOK_FIRST
	look_if_full();
	place = FULL;
#else
	place = FULL;
	look_if_full();
#endif
	if
	:: ok -> current = false
	:: else -> place = OWNED
	fi
}

inline own()
{
	d_step { assert(!all_closed); place = OWNED; current = true }	/* I68 */
}

/* objects_choose(), or dp_slab_own() of a slab that was freed before. */
inline choose()
{
	if
	:: listed -> listed = false; own()
#ifdef MUTANT_WITHDRAWN_UNSEEN
	:: place == NEW -> own()
#else
	:: place == NEW && !closed -> own()
#endif
	:: else
	fi
}

/* objects_list() */
inline enter_list()
{
	place = FULL;
	look_if_full();
	if
	:: !ok -> place = PARTIAL; add_to_list()
	:: else
	fi
}

/* dp_slab_seal(): ok if no object was in use. */
inline seal()
{
	d_step { ok = !used[0]; used[0] = true };
	if
	:: ok ->
		d_step { ok = !used[1]; used[1] = true; sealed = ok };
		if
#ifndef MUTANT_SEAL_KEPT
		:: !ok -> used[0] = false
#endif
		:: else
		fi
	:: else
	fi
}

/* objects_close(), under the mutex: ok if the caller must free the slab. */
inline close()
{
	if
#ifndef MUTANT_UNSEALED
	:: taken -> seal()
#endif
	:: else
	fi;
	if
	:: ok ->
		d_step {
			assert(place == PARTIAL && listed || place == WITHDRAWN);	/* I66 */
			listed = false;
			place = CLOSING;
			assert(sealed || !used[0] && !used[1])		/* I66 */
		}
	:: else
	fi
}

inline forget()
{
	d_step {
		assert(place == CLOSING && (sealed || !used[0] && !used[1])); /* I66 */
#ifdef MUTANT_SEALED_USED
		used[0] = false;
		used[1] = false;
		sealed = false;
#endif
		place = (sealed -> GONE : NEW)
	}
}

/* dp_object_freed(): now is the place that was read. */
inline after_free()
{
	look_if_empty();
	if
	:: now == FULL || (now == PARTIAL || now == WITHDRAWN) && (ok || MUST_LOOK) ->
		lock();
#ifndef MUTANT_PLACE_ONCE
		now = place;
#endif
		if
		:: now == FULL -> enter_list()
		:: else
		fi;
#ifdef MUTANT_CLOSE_UNSEEN
		ok = true;
#else
		look_if_empty();
#endif
		if
		:: place == PARTIAL && ok -> close()
		:: place == PARTIAL && ok -> ok = false	/* the only empty one is kept */
#ifndef MUTANT_WITHDRAWN_KEPT
		:: place == WITHDRAWN && ok -> close()
#endif
#ifdef MUTANT_CLOSE_OWNED
		:: place == OWNED && ok -> place = PARTIAL; listed = true; close()
#endif
		:: else -> ok = false
		fi;
		mutex = false;
		if
		:: ok -> forget()
		:: else
		fi
	:: else
	fi
}

#ifdef SHRINK
/* A shrink begins with a slab in any place, which needs no rounds of reserves. */
inline begin()
{
	atomic {
		if
		:: true
		:: use(0)
		:: use(0); place = PARTIAL; listed = true; current = false
		:: use(0); use(1); place = FULL; current = false
		:: place = NEW; current = false
		fi;
		begun = true
	}
}
#endif

active proctype owner()
{
	bool ok, began_closed;

#ifdef SHRINK
	begin();
#endif
	do
	:: reserved >= ROUNDS || (closed && !current) || place == GONE -> break
	:: reserved < ROUNDS ->
		d_step { ok = false; began_closed = all_closed };
		/* dp_object_try() may be slow after it has read the current slab. */
		if
		:: current -> pop(0)
		:: current -> pop(1)
		:: true
		fi;
		if
		:: ok
		:: else ->
			lock();
			began_closed = all_closed;
			if
			:: !current -> choose()
			:: else
			fi;
			if
			:: current -> reserve_in_any_word()
			:: else
			fi;
			if
			:: current && !ok -> leave()
			:: else
			fi;
			mutex = false
		fi
	od;
	/* dp_slab_take_empty() */
	lock();
	if
	:: current ->
		look_if_empty();
		if
		:: ok -> current = false; place = PARTIAL; add_to_list(); close()
		:: else
		fi
	:: else -> ok = false
	fi;
	mutex = false;
	if
	:: ok -> forget()
	:: else
	fi;
	over++
}

#ifdef THIEF
active proctype thief()
{
	bool ok, began_closed;

#ifdef MUTANT_THIEF_ALONE
	if
	:: current -> reserve_in_any_word()
	:: true
	fi;
#else
	lock();
	if
	:: current -> reserve_in_any_word()
	:: true
	fi;
	mutex = false;
#endif
	over++
}
#endif

#ifdef SHRINK
active proctype shrink()
{
	bool ok;

	begun;
	closed = true;
	/* objects_withdraw() */
	lock();
	if
	:: place == OWNED || place == FULL || place == PARTIAL ->
		if
		:: place == OWNED ->
#ifndef MUTANT_WITHDRAWN_OWNED
			current = false;
#endif
			taken = true
		:: place == PARTIAL ->
#ifndef MUTANT_WITHDRAWN_LISTED
			listed = false
#endif
		:: else
		fi;
		place = WITHDRAWN;
		look_if_empty();
		if
		:: ok -> close()
		:: else
		fi
	:: else
	fi;
	d_step { all_closed = true; mutex = false };
	if
	:: ok -> forget()
	:: else
	fi;
	if
	:: true					/* until the slab was freed */
	:: true ->
		d_step { all_closed = false; closed = false };
		lock();
		if
		:: place == WITHDRAWN -> enter_list()
		:: else
		fi;
		mutex = false
	fi;
	over++
}
#endif

active [2] proctype freer()
{
	bool ok;
	byte n, now;

	do
	:: over == 2 && !given[0] && !given[1] -> break
	:: given[0] || given[1] ->
		atomic {
			if
			:: given[0] -> given[0] = false; n = 0
			:: given[1] -> given[1] = false; n = 1
			:: else -> n = 2
			fi
		};
		if
		:: n < 2
		:: else -> goto again
		fi;
#ifdef MUTANT_PLACE_FIRST
		now = place;
#endif
		d_step { has[n] = false; used[n] = false };
#ifndef MUTANT_PLACE_FIRST
		now = place;
#endif
		after_free();
		now = 0;
again:		n = 0;
		ok = false
	od;
	freed++
}

/* A slab with a free object can be found: it is current, listed, or was freed. */
active proctype end()
{
	freed == 2;
	assert(sealed || !used[0] && !used[1] && !mutex);		/* I65 */
	assert(!all_closed || place == NEW || place == GONE);		/* I68 */
	assert(place == NEW || place == GONE || (place == OWNED && current) ||
	       (place == PARTIAL && listed))				/* I66 */
}
