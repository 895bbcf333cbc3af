/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slabs.pml: which slab objects are reserved in, and when a slab is freed. One slab has
 * two words of states with one object each. A thread reserves in it while it is its
 * current one, leaves it when it is full, and finds it again in the list of its class,
 * or makes it anew. Two threads free the objects. A thief has no slab of its own.
 *
 * Stands for:
 *	lib/extent/objects.h: dp_slab_pop dp_object_try
 *	lib/extent/objects.c: dp_object_reserve dp_object_steal dp_object_cancel
 *	lib/extent/objects.c: objects_leave objects_choose objects_list dp_object_freed
 *	lib/extent/objects.c: objects_close_surplus objects_close dp_slab_take_empty
 *	lib/extent/objects.c: dp_slab_own dp_slab_forget slab_is_empty slab_is_full
 *
 * Left out: how the fullest of the listed slabs is chosen; claims (object.pml).
 *
 * Mutants:
 *	LOOK_FIRST: I66: the slab is FULL after its states were read, not before
 *	PLACE_FIRST: I66: a thread that frees reads the place before it frees
 *	PLACE_ONCE: I66: a thread that frees does not read the place under the mutex
 *	CLOSE_UNSEEN: I66: under the mutex nobody looks whether the slab is empty
 *	CLOSE_OWNED: I66: the current slab of another thread is closed
 *	THIEF_ALONE: I66: a thief reserves without the mutex
 *	POP_STORED: I65: the state is loaded, then stored
 */
#define NEW	0
#define OWNED	1
#define FULL	2
#define PARTIAL	3
#define CLOSING	4
#define ROUNDS	4

bool used[2];			/* states: FREE or not */
byte place = OWNED;
bool current = true;		/* the slab is the owner's current one */
bool listed, mutex;
bool has[2];			/* a caller has the object */
bool given[2];			/* and lets another thread free it */
byte reserved, freed, over;
bool tried;

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

/* objects_choose(), or dp_slab_own() of a slab that was freed before. */
inline choose()
{
	if
	:: listed -> listed = false; place = OWNED; current = true
	:: place == NEW -> place = OWNED; current = true
	:: else
	fi
}

/* Under the mutex: ok if the caller must free the slab. */
inline close()
{
	d_step {
		assert(place == PARTIAL && listed);			/* I66 */
		listed = false;
		place = CLOSING;
		assert(!used[0] && !used[1])				/* I66 */
	}
}

inline forget()
{
	d_step { assert(place == CLOSING && !used[0] && !used[1]); place = NEW } /* I66 */
}

/* dp_object_freed(): now is the place that was read. */
inline after_free()
{
	look_if_empty();
	if
	:: now == FULL || (now == PARTIAL && ok) ->
		lock();
#ifndef MUTANT_PLACE_ONCE
		now = place;
#endif
		if
		:: now == FULL ->
			look_if_full();
			if
			:: !ok -> place = PARTIAL; add_to_list()
			:: else
			fi
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

active proctype owner()
{
	bool ok;

	do
	:: reserved >= ROUNDS -> break
	:: else ->
		ok = false;
		if
		:: current -> pop(0)
		:: current -> pop(1)
		:: true
		fi;
		if
		:: ok
		:: else ->
			lock();
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

active proctype thief()
{
	bool ok;

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
	assert(!used[0] && !used[1] && !mutex);			/* I65 */
	assert(place == NEW || (place == OWNED && current) ||
	       (place == PARTIAL && listed))				/* I66 */
}
