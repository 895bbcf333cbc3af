/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gate.pml: the segment counter and the gate, on a machine with store buffers.
 * Threads hold and drop two extents of a segment while a closer closes the gate
 * and reads the counter. An old hold on extent 0 was taken before by a thread on the
 * shared slot; another thread drops it.
 *
 * Stands for:
 *	lib/extent/state.h: dp_state_try_hold dp_state_try_drop dp_state_now_idle
 *	lib/extent/state.c: dp_state_finish_hold dp_state_hold dp_state_clone
 *	lib/extent/state.c: dp_state_drop dp_state_after_swap state_wake
 *	lib/api/hold.c: hold_take hold_finish hold_drop hold_finish_drop
 *	lib/extent/gate.h: dp_gate_raise_inc dp_gate_raise_dec dp_gate_go_up
 *	lib/extent/gate.h: dp_gate_is_closed dp_gate_counter
 *	lib/extent/gate.c: dp_gate_busy dp_gate_close dp_gate_open
 *	lib/extent/gate.c: dp_gates_close dp_gates_open
 *	lib/extent/thread_slot.h: dp_thread_slot dp_thread_slot_own
 *	lib/extent/thread_slot.c: dp_thread_slot_take thread_slot_claim
 *	lib/extent/thread_slot.c: thread_slot_release
 *	lib/api/pool.c: daxpin_pool_close pool_is_busy pool_open_gates
 *
 * A thread's stores to its own slot are plain: they go through a buffer and reach
 * memory some time later, in order (TSO). A locked instruction waits until
 * the buffer of its thread is empty. Other architectures have the fences of
 * dp_fence_after_rmw() and the releases of go_up() instead, see litmus.c.
 *
 * Left out: generation and state of the extents (state.pml): the word is its count.
 * The other accesses of a drop to pool memory, the bitmap and the wake-up, are one
 * step. A close that finds the segment idle unmaps it.
 *
 * Scenarios:
 *	MIGRATE: two threads hold and drop, while the old hold is in use
 *	CLONE: another thread drops a clone of the old hold, with the gate closed
 *	HANDOVER: a thread ends and its slot is given to a new one
 *	TWO_GATERS: a reclaim opens its gate while a close keeps its own closed
 *
 * Mutants:
 *	COUNTER_AFTER_CAS (MIGRATE): D16: inc is raised after the CAS
 *	INC_BUFFERED (MIGRATE): D16: the CAS does not wait until inc is visible
 *	GATE_BEFORE_CAS (MIGRATE): D16: a hold reads the gate, then makes its CAS
 *	ONE_TO_N_EXEMPT (MIGRATE): D16: only a hold from count 0 reads the gate
 *	COUNT_BEFORE_GATE (MIGRATE): D16: the counter is read, then the gate is closed
 *	UNDO_BY_HAND (MIGRATE): I29: a refused hold undoes count and inc without a drop
 *	SIGNED (MIGRATE): D16: one signed word for each slot
 *	INCS_FIRST (MIGRATE): D16: incs are read before decs
 *	DEC_BEFORE_CAS (MIGRATE): D16: dec is raised before the CAS of the drop
 *	LOST_RACE_KEEPS_INC (MIGRATE): I29: no dec if the CAS did not change 0 to 1
 *	LOST_RACE_TAKES_INC (MIGRATE): D16: a dec even if the CAS changed 0 to 1
 *	WAKE_AFTER_DEC (MIGRATE): D16: bitmap and wake-up come after the dec
 *	CLONE_REVIVES (CLONE): D16: a clone counts up from 0, without the gate and inc
 *	CLONE_RIDES (CLONE): D16: a clone by a thread without a hold, of a refused hold
 *		that is being undone: the caller's mistake, which cannot be detected
 *	SLOT_KEPT (HANDOVER): D16: a slot is used after it was given back
 *	SLOT_ZEROED (HANDOVER): D16: a thread that takes a slot resets it to 0
 *	BOOLEAN_GATE (TWO_GATERS): D17: the first of two to open it opens it for both
 */
#ifdef MUTANT_CLONE_RIDES
#define OLD_HOLD	1
#define ENDS		5		/* threads */
#elif defined(MIGRATE) || defined(CLONE)
#define OLD_HOLD	1
#define ENDS		4
#else
#define OLD_HOLD	0
#define ENDS		3
#endif

#define THREADS	3
#define SHARED	2			/* the slot of threads that have none */
#define SLOTS	3
#define INC	0
#define DEC	1

short counter[6] = { 0, 0, 0, 0, OLD_HOLD, 0 };	/* inc, dec of each slot */
#define at(slot, which)	counter[(slot) * 2 + (which)]
byte gate;
byte count[2] = { OLD_HOLD, 0 };	/* the states' */
bool taken = true;			/* slot 0, for HANDOVER */

/* Stores that are not yet visible: slot, which word, value. */
chan buffer[THREADS] = [4] of { byte, bit, short };

/* Only for assertions. */
byte using = OLD_HOLD;				/* holds that are in use by DMA */
byte idle;				/* closers that found the segment idle */
bool unmapped;
byte over, handed;

/* Stores of each thread reach memory in order, at any time. */
active proctype memory()
{
	byte slot;
	bit which;
	short value;

end:	do
	:: atomic { buffer[0]?slot,which,value -> at(slot, which) = value }
	:: atomic { buffer[1]?slot,which,value -> at(slot, which) = value }
	od
}

/*
 * Of each thread: who it is, its slot, the last values that it stored, and
 * what hold and drop need.
 */
#define THREAD(number, its_slot)				\
	byte me = number, slot = its_slot;			\
	short inc, dec;						\
	byte w, e;						\
	bool ok, raised, ret

/* A word of the thread's own slot: from its buffer if it is there, or from memory. */
inline own(which, latest)
{
	d_step {
		if
		:: buffer[me]??[eval(slot), which, _]
		:: else -> latest = at(slot, which)
		fi
	}
}

inline locked_add(which, by)
{
	atomic {
		empty(buffer[me]) ->
		at(slot, which) = at(slot, which) + by
	}
}

inline go_up(which, latest, by)
{
	if
	:: slot == SHARED -> locked_add(which, by)
	:: else ->
		own(which, latest);
		atomic { latest = latest + by; buffer[me]!slot,which,latest }
	fi
}

#ifdef MUTANT_SIGNED
#define raise_inc()	go_up(INC, inc, 1)
#define raise_dec()	go_up(INC, inc, -1)
#else
#define raise_inc()	go_up(INC, inc, 1)
#define raise_dec()	go_up(DEC, dec, 1)
#endif

/* What mutants do after a CAS from 0. */
#ifdef MUTANT_COUNTER_AFTER_CAS
#define after_cas()	raise_inc()
#elif defined(MUTANT_LOST_RACE_TAKES_INC)
#define after_cas()	raise_dec()
#endif

#ifdef MUTANT_INC_BUFFERED
#define LOCKED		true
#else
#define LOCKED		empty(buffer[me])
#endif

/* uses: how many uses by DMA end with the CAS. */
inline locked_cas(to, uses)
{
	atomic {
		LOCKED ->
		if
		:: count[e] == w -> count[e] = to; ok = true; using = using - uses
		:: else -> w = count[e]; ok = false
		fi
	}
}

/*
 * The bitmap and the futex are pool memory. real: of a hold that was granted,
 * so that a close may wait for its drop.
 */
inline wake_up(real)
{
	assert(!real || !unmapped)				/* D16 */
}

inline drop(real)
{
	w = count[e];
	do
	:: assert(w > 0);
#ifdef MUTANT_DEC_BEFORE_CAS
	   if :: w == 1 -> raise_dec() :: else fi;
#endif
	   locked_cas(w - 1, real);
	   if :: ok -> break :: else fi
	od;
	if
	:: w == 1 ->
#ifndef MUTANT_WAKE_AFTER_DEC
		wake_up(real);
#endif
#ifndef MUTANT_DEC_BEFORE_CAS
		raise_dec();
#endif
#ifdef MUTANT_WAKE_AFTER_DEC
		wake_up(real)
#endif
	:: else
	fi
}

/* Read the gate: the hold is refused, or its use begins. */
inline look_at_gate()
{
	atomic {
		ret = gate > 0;
		if
		:: ret
		:: else -> using++; assert(!idle)		/* D16 D17 */
		fi
	}
}

inline back_out()
{
#ifdef MUTANT_UNDO_BY_HAND
	count[e]--;
	if :: raised && w == 0 -> raise_dec() :: else fi
#else
	drop(false)
#endif
}

inline hold()
{
#ifdef MUTANT_GATE_BEFORE_CAS
	ret = gate > 0;
#endif
	do
	:: w = count[e];
	   raised = w == 0;
#ifndef MUTANT_COUNTER_AFTER_CAS
	   if :: raised -> raise_inc() :: else fi;
#endif
	   locked_cas(w + 1, 0);
	   if
	   :: ok -> break
#if !defined(MUTANT_COUNTER_AFTER_CAS) && !defined(MUTANT_LOST_RACE_KEEPS_INC)
	   :: !ok && raised -> raise_dec()
	   :: !ok && !raised
#else
	   :: !ok
#endif
	   fi
	od;
#ifdef after_cas
	if :: raised -> after_cas() :: else fi;
#endif
#ifdef MUTANT_GATE_BEFORE_CAS
	if :: ret :: else -> atomic { using++; assert(!idle) } fi; /* D16 */
#elif defined(MUTANT_ONE_TO_N_EXEMPT)
	if
	:: w > 0 -> atomic { ret = false; using++; assert(!idle) } /* D16 */
	:: else -> look_at_gate()
	fi;
#else
	look_at_gate();
#endif
	if :: ret -> back_out() :: else fi
}

#ifdef CLONE
/*
 * The caller should have a hold; without one it succeeds while another thread has one.
 */
inline clone()
{
	w = count[e];
	do
	:: ret = w == 0;
#ifdef MUTANT_CLONE_REVIVES
	   ret = false;
#endif
	   if
	   :: ret -> break
	   :: else ->
		atomic {
			locked_cas(w + 1, 0);
			if :: ok -> using++; assert(!idle) :: else fi	/* D16 */
		};
		if :: ok -> break :: else fi
	   fi
	od
}
#endif

/* ---------------------------------------------------------------- closers */

inline read_all(which, sum)
{
	i = 0;
	do
	:: i < SLOTS -> atomic { sum = sum + at(i, which); i++ }
	:: else -> break
	od
}

inline read_counter()
{
#ifdef MUTANT_INCS_FIRST
	read_all(INC, incs);
	read_all(DEC, decs)
#else
	read_all(DEC, decs);
	read_all(INC, incs);
#ifndef MUTANT_SIGNED
	assert(incs >= decs)					/* D16 I29 */
#endif
#endif
}

inline close_gate()
{
#ifdef MUTANT_BOOLEAN_GATE
	gate = 1
#else
	gate++
#endif
}

inline open_gate()
{
#ifdef MUTANT_BOOLEAN_GATE
	gate = 0
#else
	gate--
#endif
}

active proctype close()
{
	short incs, decs;
	byte i;

#ifdef MUTANT_COUNT_BEFORE_GATE
	read_counter();
	close_gate();
#else
	close_gate();
	read_counter();
#endif
	if
	:: incs == decs ->
		atomic { idle++; assert(!using) };		/* D16 D17 */
		unmapped = true
	:: else -> open_gate()
	fi;
	over++
}

#ifdef TWO_GATERS
active proctype reclaim()
{
	short incs, decs;
	byte i;

	close_gate();
	read_counter();
	if
	:: incs == decs ->
		atomic { idle++; assert(!using) };		/* D16 D17 */
		idle--
	:: else
	fi;
	open_gate();
	over++
}
#endif

/* ---------------------------------------------------------------- threads */

inline choose()
{
	if :: e = 0 :: e = 1 fi
}

#ifdef MIGRATE
active [2] proctype thread()
{
	THREAD(0, 0);

	/* The first thread to run has slot 0. */
	atomic { me = handed; slot = handed; handed++ };
	choose();
	hold();
	if :: ret :: else -> drop(true) fi;
	over++
}
#endif

#if defined(MIGRATE) || defined(CLONE)
active proctype old()
{
	THREAD(2, SHARED);

#ifdef CLONE
	clone();
	assert(!ret);						/* I26 */
	handed = 1;
#endif
	drop(true);
	over++
}
#endif

#ifdef CLONE
active proctype dropper()
{
	THREAD(0, 0);

	handed == 1;
	drop(true);
	over++
}

/* Clones without a hold, which succeeds as long as another thread has one. */
active proctype rude()
{
	THREAD(1, 1);

#ifdef MUTANT_CLONE_RIDES
	e = 1;
#endif
	clone();
	if :: ret :: else -> drop(true) fi;
	over++
}
#endif

#ifdef MUTANT_CLONE_RIDES
active proctype thread()
{
	THREAD(2, SHARED);

	e = 1;
	hold();
	if :: ret :: else -> drop(true) fi;
	over++
}
#endif

#ifdef TWO_GATERS
active proctype thread()
{
	THREAD(0, 0);

	hold();
	if :: ret :: else -> drop(true) fi;
	over++
}
#endif

#ifdef HANDOVER
/* Returns its slot while it has a hold, then drops it and holds again. */
active proctype thread()
{
	THREAD(0, 0);

	choose();
	hold();
#ifndef MUTANT_SLOT_KEPT
	slot = SHARED;
#endif
	atomic { empty(buffer[me]) -> taken = false };
	if :: ret :: else -> drop(true) fi;
	hold();
	if :: ret :: else -> drop(true) fi;
	over++
}

active proctype heir()
{
	THREAD(1, 0);

	atomic { !taken -> taken = true };
#ifdef MUTANT_SLOT_ZEROED
	buffer[me]!slot,INC,0; buffer[me]!slot,DEC,0;
#endif
	choose();
	hold();
	if :: ret :: else -> drop(true) fi;
	over++
}
#endif

/* After all threads have ended. */
active proctype end()
{
	over == ENDS && empty(buffer[0]) && empty(buffer[1]);
	assert(count[0] == 0 && count[1] == 0);			/* I29 */
#ifndef MUTANT_SIGNED
	assert(at(0, INC) + at(1, INC) + at(SHARED, INC) ==	/* I29 */
	       at(0, DEC) + at(1, DEC) + at(SHARED, DEC))	/* I29 */
#endif
}
