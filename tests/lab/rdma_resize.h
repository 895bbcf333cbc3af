/* SPDX-License-Identifier: BSD-3-Clause */
/* Of rdma_resize_kill: what its processes share. See there. */
#ifndef RDMA_RESIZE_H
#define RDMA_RESIZE_H

#include <inttypes.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include "draw.h"
#include "rdma_fixture.h"
#include "writers.h"

#define PEERS		2u
#define SLOTS		24u		/* extents; the first two are for peer 0 */
#define STEADY		2u
#define KEYS		(1u << 17)	/* of all owners */
#define RECENT		64u		/* of these, the last */
#define BLOCKS_MAX	16u
#define ROOM_BYTES	(UINT64_C(256) << 10)	/* the rest is in a new segment */
#define SEGMENTS	2u		/* of the pool when it is small */
#define SEGMENT_BYTES	((uint64_t)DAXPIN_SEGMENT_MIN)
#define STEPS		60u		/* of load before, between and after */
#define TRIES		4u		/* of old keys, by each peer at each owner */
#define LATE		3u		/* writes that a dead owner's peers make */
#define LEFT_MAX	12u		/* extents that a shrink ends before a kill */
#define HANG_MS		600000		/* limit of a wait that must end */
#define PRINT_MAX	3u		/* violations that a process prints */
#define DENIED		IBV_WC_REM_ACCESS_ERR

/* What an owner does when it is killed. */
enum phase {
	LOAD, GROW, SHRINK,
	AIMS,
	LARGE = AIMS,			/* a load between a grow and a shrink */
	PHASES
};

/* Of an extent. What the next owner must find, or may. */
enum slot_state {
	NONE,
	RESERVED,			/* nothing */
	KEEPING,			/* either: a KEEP had begun */
	KEPT,				/* the extent */
	RETIRING,			/* either: a RETIRE had begun */
	ENDED,				/* nothing; its grant still holds it */
};

struct slot {
	_Atomic enum slot_state state;
	struct daxpin_extent extent;
	uint64_t size;
	struct writers writers;
};

/* REUSED: the device has given its number to a later key. */
enum key_state { LIVE = 1, ENDING, OLD, REUSED };

struct key {
	_Atomic enum key_state state;
	uint32_t owner, serial;
	struct daxpin_grant_key key;
};

/* Where a peer asks the owner of the moment for a connection. */
struct mailbox {
	struct wire_address peer, owner;
	uint32_t by;			/* the owner that answered */
	_Atomic uint32_t asked, answered;
	sem_t answer;
	_Atomic uint64_t refused;	/* attempts with old keys */
	_Atomic uint64_t late;		/* writes for an owner that is dead */
};

/* In memory that all processes share. Owners are numbered from 1. */
struct shared {
	struct slot slots[SLOTS];
	struct mailbox box[PEERS];
	sem_t ask;
	atomic_bool stop;		/* ends the peers */
	_Atomic uint32_t keys, last_serial;
	_Atomic uint32_t steady[STEADY];	/* 1 + the index of the key */
	_Atomic uint32_t dead;		/* the last owner that is known to be */
	_Atomic uint32_t mortal;	/* the owner that may be killed any time */
	atomic_bool granting;		/* its key is not in the table yet */
	atomic_bool kept;		/* a process has the dead owner's context */
	_Atomic enum phase phase[2];	/* of the owners with even, odd numbers */
	_Atomic uint32_t segments, target;	/* confirmed; intended by the call */
	uint64_t took_ns[PHASES];	/* the last call */
	_Atomic uint64_t written, overtaken, unanswered, violations;
	uint64_t grants, revokes, retired, cancelled, left, left_granted;
	uint64_t grown, shrunk, grown_by_dead, shrunk_by_dead;
	uint64_t survived, doubt_found, doubt_gone, waits, checked_bytes;
	struct key key[KEYS];
};

/* How long an owner lives. */
struct plan {
	uint32_t owner;			/* its number */
	enum phase phase;		/* in which it dies */
	unsigned int when;		/* after so many steps or extents, or ... */
	bool timed;			/* ... at a random moment of the call */
	bool keep;			/* leaves a process with its context */
	bool last;			/* is not killed */
	unsigned int seed;
};

extern struct shared *shared;
extern struct fixture *f;
extern unsigned int first_seed;
extern int context_pipe[2];		/* a byte ends the process of keep_context() */

static inline void violation(const char *what, uint32_t serial, uint64_t addr)
{
	static unsigned int count;

	atomic_fetch_add(&shared->violations, 1);
	if (count++ < PRINT_MAX)
		print_error("# VIOLATION: %s (serial %u, pool address 0x%" PRIx64
			    ")\n", what, serial, addr);
}

/* For fork_child(). The argument is a mailbox. */
int resize_peer(void *arg, int fd);
/*
 * The same. The argument is a plan. It sends a step when the pool is open and was
 * compared. An owner that is not killed returns 0, or 2 after a violation.
 */
int resize_owner(void *arg, int fd);

#endif
