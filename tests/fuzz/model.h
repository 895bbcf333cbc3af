/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What daxpin(7) says a pool does, in the plainest way: an array of blocks, a
 * list of generations. Each m_ function is the call of that name: it returns what the
 * call must return, and does to the model what the call does to the pool.
 */
#ifndef FUZZ_MODEL_H
#define FUZZ_MODEL_H

#include <daxpin.h>
#include "fuzz.h"

#define M_SEGMENTS	2u
#define M_BLOCKS	8192u		/* of a segment of 32 MiB */
#define M_FIRST		512u		/* chunk 0 is metadata */
#define M_LIVES		96u
#define M_WATCHES	8u
#define M_HOLDS		8u
#define M_REGISTRATIONS	6u
#define M_ROOTS		DAXPIN_ROOTS_MAX
#define M_SETS		64u

/* A generation that was handed out, also after its end. */
struct m_generation {
	struct daxpin_extent extent;
	uint32_t blocks;
	enum daxpin_state state;	/* FREE: over */
	uint32_t count;
	bool written;			/* a write hold since it last was idle */
	bool alone;			/* its one hold is exclusive */
	bool publishing;		/* for good: the medium failed */
	uint64_t tag;			/* what stands at its end */
};

struct m_block {
	uint64_t generation;		/* of the block as a first block */
	bool taken;
	/* On media. */
	bool data;
	uint32_t gen;
	uint32_t blocks;
	uint64_t tag;
};

/* A root; name[0] is 0 where there is none. */
struct m_root {
	char name[DAXPIN_ROOT_NAME_MAX];
	uint64_t addr;
	uint64_t generation;		/* low bits, on media */
};

/* An 8-byte word that was set, in an extent that lives. */
struct m_set {
	uint64_t addr;			/* 0: none */
	uint64_t value;
};

/* The outcomes that a call may have: one, but for batches with two mistakes. */
struct m_errors {
	int error[8];
	uint32_t count;
};

struct m_watch {
	struct daxpin_watch watch;
	enum { M_UNUSED, M_WAITING, M_READY } state;
	uint64_t addr;
	uint64_t batch;			/* ready with those of the same number */
};

struct m_hold {
	struct daxpin_hold hold;
	bool held;
};

struct model {
	struct daxpin_pool *pool;	/* NULL: closed */
	uint32_t segments;
	bool readonly;
	bool page;			/* granularity: a flush may fail */
	bool failed;			/* one did, in a publish */
	uint64_t epoch;
	bool unclean;			/* on media */
	uint8_t owner_boot;
	uint32_t unnumbered;		/* registrations whose verbs context has no
					   number, on media of that owner */
	uint32_t gates;
	bool refused;			/* with -EAGAIN, or for want of space */
	bool retry;			/* the event is there */
	bool armed;
	uint64_t signals;		/* to the eventfd, not yet looked at */
	uint64_t batches;
	struct m_block block[M_SEGMENTS * M_BLOCKS];
	struct m_generation generation[M_LIVES];
	uint32_t generations;
	struct m_root root[M_ROOTS];		/* in memory */
	struct m_root durable_root[M_ROOTS];	/* on media */
	struct m_set set[M_SETS];
	uint32_t sets;
	struct m_watch watch[M_WATCHES];
	struct m_hold hold[M_HOLDS];
	struct daxpin_registration *registration[M_REGISTRATIONS];
	bool has_rdma[M_REGISTRATIONS];
	uint32_t registered_on[M_REGISTRATIONS];
};

extern struct model model;

/* A closed pool of that many segments; gen is that of all its free words. */
void m_begin(uint32_t segments, uint64_t epoch, uint32_t gen);

/* The generation that a handle names, NULL: none that goes on. */
struct m_generation *m_find(struct daxpin_extent extent);
uint64_t m_size(const struct m_generation *generation);

/* waits: with no deadline. */
int m_open(bool readonly, bool waits);
/* After a successful open: what was live is found again. */
void m_opened(struct daxpin_pool *pool, bool readonly);
int m_create(bool overwrite, bool waits);
void m_created(struct daxpin_pool *pool);
int m_close(void);
/* The process dies, and with boot the machine as well. */
void m_crash(bool boot);
int m_drain(void);

int m_reserve(uint64_t size, uint32_t flags);
/* It gave this: check it, and the generation begins. */
struct m_generation *m_reserved(uint64_t size, struct daxpin_extent extent);
int m_cancel(struct daxpin_extent extent);
/* fails_at: which flush of this call fails, 0 none. What it may return. */
struct m_errors m_publish(const struct daxpin_op *ops, uint32_t count,
			  uint32_t fails_at);
/* And what comes of it when it returned 0. */
void m_published(const struct daxpin_op *ops, uint32_t count);
int m_root(const char *name, struct daxpin_extent *ret_extent);
int m_persist(struct daxpin_extent extent, uint64_t offset, uint64_t length,
	      uint32_t fails_at);
int m_extent_at(uint64_t addr, struct daxpin_extent *ret_extent);

int m_hold(struct daxpin_extent extent, uint32_t access);
int m_clone(struct daxpin_extent extent, uint32_t access);
int m_drop(struct daxpin_extent extent);
int m_idle(struct daxpin_extent extent);
int m_wait_idle(struct daxpin_extent extent);
int m_look(struct daxpin_extent extent);	/* size, state */
int m_holds(struct daxpin_extent extent);

int m_watch(struct m_watch *watch, struct daxpin_extent extent);
int m_unwatch(struct m_watch *watch);
int m_arm(void);
/* A call was refused, and a RETRY is owed. */
void m_refused(void);
/* The library says that this event is next, or NULL that there is none. */
void m_event(const struct daxpin_event *event);

int m_register(uint32_t segment, bool rdma);
void m_unregister(bool rdma);

#endif
