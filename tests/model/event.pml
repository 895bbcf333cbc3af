/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * event.pml: a watch always becomes an event, and a consumer never sleeps while an
 * event is queued. One thread watches two extents, two threads drop the last holds of
 * them, and a consumer takes both events: it looks, clears the fd, arms, looks again,
 * and sleeps.
 *
 * Stands for:
 *	lib/extent/event.c: dp_events_watch dp_events_fire dp_events_next
 *	lib/extent/event.c: dp_events_arm event_signal_if_armed
 *	lib/extent/event.c: event_make_ready event_unlink_watch
 *	lib/extent/state.c: dp_state_watch state_watch_is_busy state_ask_wake
 *	lib/extent/state.c: state_wake dp_state_drop
 *	lib/os/os.c: dp_os_eventfd_signal
 *
 * Left out: generations (wait.pml), several watches of one extent, buckets, unwatch.
 * The state is its count and its waiters bit, and one CAS changes both.
 *
 * Mutants:
 *	BIT_BEFORE_LINK: stuck: it sets the waiters bit, then links the watch
 *	IDLE_NOT_SEEN: stuck: it watches an idle extent and waits for a drop
 *	READY_UNSIGNALLED: stuck: an event is queued without a signal to an armed fd
 *	ARMED_BEFORE_QUEUE: stuck: fire reads armed, then queues the event
 *	ARM_WITHOUT_LOOK: stuck: the consumer arms and sleeps without a look
 *	CLEARED_AFTER_ARM: stuck: the consumer arms, then clears the fd
 *	ARM_BUFFERED: stuck: armed is a plain store, without the mutex before the look
 *	WRITTEN_UNARMED: ARM: the fd is written although it is not armed
 *	NOT_DISARMED: ARM: the fd is written more than once for one arming
 */
#define NONE	0
#define WAITING	1
#define READY	2

bool busy[2] = true;
bool bits[2];			/* waiters */
byte state[2];			/* of the watches */
bool mutex, armed, fd;
bool arming;			/* the store to armed is in a buffer */

/* Only for assertions: how often the fd was written, and may be. */
byte arms, writes;

#define anything_ready	(state[0] == READY || state[1] == READY)

inline lock()
{
	atomic { !mutex -> mutex = true }
}

inline unlock()
{
	mutex = false
}

inline write_fd()
{
	d_step {
		fd = true;
		writes++;
		assert(writes <= arms)				/* ARM */
	}
}

inline signal_if_armed()
{
#ifdef MUTANT_WRITTEN_UNARMED
	write_fd()
#elif defined(MUTANT_NOT_DISARMED)
	was = armed;
	if :: was -> write_fd() :: else fi
#else
	atomic { was = armed; armed = false };
	if :: was -> write_fd() :: else fi
#endif
}

/* Set the waiters bit by a CAS. idle: the extent is idle already. */
inline ask_wake(extent)
{
	d_step {
		idle = !busy[extent];
		if :: !idle -> bits[extent] = true :: else fi
	}
}

inline watch(extent)
{
#ifdef MUTANT_BIT_BEFORE_LINK
	ask_wake(extent);
	lock();
	state[extent] = WAITING;
#else
	lock();
	state[extent] = WAITING;
	ask_wake(extent);
#endif
#ifdef MUTANT_IDLE_NOT_SEEN
	idle = false;
#endif
	if
	:: idle ->
		state[extent] = READY;
#ifndef MUTANT_READY_UNSIGNALLED
		signal_if_armed()
#endif
	:: else
	fi;
	unlock()
}

inline fire(extent)
{
#ifdef MUTANT_ARMED_BEFORE_QUEUE
	atomic { was = armed; armed = false };
#endif
	lock();
	seen = state[extent] == WAITING;
	if
	:: seen ->
		state[extent] = READY;
#ifdef MUTANT_ARMED_BEFORE_QUEUE
		if :: was -> write_fd() :: else fi
#else
		signal_if_armed()
#endif
	:: else
	fi;
	unlock()
}

active proctype watcher()
{
	bool idle, was;

	watch(0);
	watch(1)
}

/* The last drop: one CAS clears count and bit. */
active [2] proctype dropper()
{
	bool was, seen, asked;
	byte extent = _pid - 1;

	d_step {
		asked = bits[extent];
		busy[extent] = false; bits[extent] = false
	};
	if
	:: asked -> fire(extent)
	:: else
	fi
}

inline next_event()
{
	lock();
	if
	:: state[0] == READY -> state[0] = NONE; taken++; got = true
	:: state[1] == READY -> state[1] = NONE; taken++; got = true
	:: !anything_ready -> got = false
	fi;
	unlock()
}

#ifdef MUTANT_ARM_BUFFERED
active proctype memory()
{
end:	do
	:: atomic { arming -> arming = false; armed = true }
	od
}
#endif

inline arm()
{
	arms++;
#ifdef MUTANT_ARM_BUFFERED
	arming = true;
	got = anything_ready
#else
	lock();
	armed = true;
	got = anything_ready;
	unlock()
#endif
}

active proctype consumer()
{
	byte taken;
	bool got;

	do
	:: next_event();
	   if
	   :: taken == 2 -> break
	   :: got
	   :: !got && taken < 2 ->
#ifdef MUTANT_CLEARED_AFTER_ARM
		arm();
		fd = false;
#else
		fd = false;
		arm();
#endif
#ifdef MUTANT_ARM_WITHOUT_LOOK
		got = false;
#endif
		if
		:: got			/* look again */
		:: else -> fd		/* sleep in poll() */
		fi
	   fi
	od
}
