/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * abandon.pml: a ring with two requests in flight is abandoned. Before that, the
 * caller may empty the ring's file table or replace the pipe in it. It closes its
 * descriptor of the ring before or after. The kernel completes requests, and frees the
 * ring when nothing refers to it, at any time.
 *
 * Stands for:
 *	lib/uring/end.c: daxpin_uring_abandon abandon_begin abandon_check_sign
 *	lib/uring/end.c: abandon_renew_pipe abandon_look_at_table
 *	lib/uring/end.c: abandon_without_sign abandon_end
 *
 * Left out: completions that are reaped nevertheless, deadlines, tables of buffers. A
 * file that was replaced stays open until the older requests have ended, as before
 * Linux 6.13, or is closed at once.
 *
 * Scenarios:
 *	ANY: this thread may change the ring's tables
 *	ISSUER: it may not, and reads what is in the file table
 *	INDEX: the adapter has no descriptor of the ring
 *
 * Mutants:
 *	HUNG_UP_IS_OVER (ISSUER): C3: a pipe that had hung up before is taken for the
 *		end
 *	INDEX_IS_OVER (INDEX): C3: the same, without a descriptor of the ring
 *	NOT_RENEWED (ANY): C3: the table is not given a new pipe
 *	NOT_LOOKED_AT (ISSUER): C3: the file in the table is not read, if it cannot be
 *		replaced
 *	AT_ONCE (ANY): C3: the holds are dropped when the descriptor is closed
 *	FILES_FIRST (ANY): C3: a kernel that closes files before requests end
 *	CLOSED_FIRST (ISSUER): C3: the pipe is tested after the descriptor was closed
 *	DESCRIPTOR_KEPT (ANY): stuck: the adapter's descriptor keeps the ring alive
 */
#define NO_TABLE	0
#define PIPE		1
#define OTHER		2

byte slot = PIPE;		/* what is in the ring's file table */
byte ends = 1;			/* what keeps the pipe open */
bool lingers;			/* one of these is an older request's */
byte requests = 2;		/* in flight */
bool callers = true;		/* the caller's descriptor */
#ifdef INDEX
bool adapters = false;
#else
bool adapters = true;
#endif
bool freed;
bool changed;			/* the caller has changed the table */
byte holds = 2;

inline leave_table()
{
	if
	:: slot == PIPE -> ends--
	:: else
	fi;
	slot = NO_TABLE
}

active proctype kernel()
{
end:	do
	:: atomic {
		requests ->
		requests--;	/* the oldest */
		if
		:: lingers -> lingers = false; ends--
		:: else
		fi
	   }
	:: atomic {
		!requests && !callers && !adapters && !freed ->
		freed = true;
		leave_table()
	   }
#ifdef MUTANT_FILES_FIRST
	:: atomic { !callers && !adapters && slot -> leave_table() }
#endif
	od
}

/* Put a new pipe into the table. */
inline renew()
{
	atomic {
		if
		:: slot == NO_TABLE -> goto quarantine
		:: else -> slot = PIPE; ends = 1; lingers = false
		fi
	}
}

inline check_sign()
{
	if
	:: !ends ->
#if defined(MUTANT_HUNG_UP_IS_OVER) || defined(MUTANT_INDEX_IS_OVER)
		goto over
#else
		goto quarantine
#endif
	:: else
	fi;
#if defined(ANY) || defined(INDEX)
#ifndef MUTANT_NOT_RENEWED
	renew()
#endif
#elif defined(ISSUER)
#ifndef MUTANT_NOT_LOOKED_AT
	if
	:: slot != PIPE -> goto quarantine
	:: else
	fi
#endif
#endif
}

active proctype caller()
{
	/* Calls that the manual forbids. */
	if
	:: atomic { !freed -> leave_table(); changed = true };
		if
		:: slot = OTHER		/* another table */
		:: skip
		fi
	:: atomic {
		slot = OTHER;
		changed = true;
		if
		:: requests -> lingers = true
		:: ends--
		fi
	   }
	:: skip
	fi;
	if
	:: callers = false
	:: skip
	fi;

#ifdef MUTANT_CLOSED_FIRST
	adapters = false;
#endif
	check_sign();
#ifndef MUTANT_DESCRIPTOR_KEPT
	adapters = false;
#endif
	callers = false;
#ifndef MUTANT_AT_ONCE
	!ends;
#endif
over:	holds = 0;
	assert(!requests);	/* C3 */
	goto out;

quarantine:
	assert(holds == 2);
#ifndef INDEX
	assert(changed);	/* C3 */
#endif
out:	skip
}
