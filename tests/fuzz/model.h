/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A model of what daxpin(7) promises, written as simply as possible: an array of blocks
 * and a list of generations. Each m_ function models the call of that name: it returns
 * what the call must return, and changes the model as the call changes the pool.
 */
#ifndef FUZZ_MODEL_H
#define FUZZ_MODEL_H

#include <daxpin.h>
#include "fuzz.h"

#define M_SEGMENTS	3u		/* at most */
#define M_BLOCKS	8192u		/* of a segment of 32 MiB */
#define M_SEGMENT_SIZE	(M_BLOCKS * 4096ull)
#define M_FIRST		512u		/* chunk 0 is metadata */
#define M_GENERATIONS	96u
#define M_WATCHES	8u
#define M_HOLDS		8u
#define M_REGISTRATIONS	6u
#define M_ROOTS		DAXPIN_ROOTS_MAX
#define M_SETS		64u
#define M_SLABS		48u
#define M_SLAB_BLOCKS	16u
#define M_OBJECTS	224u

/* A generation that was handed out. It stays in the list after its end. */
struct m_generation {
	struct daxpin_extent extent;
	uint32_t blocks;
	enum daxpin_state state;	/* FREE: it has ended */
	uint32_t count;
	bool written;			/* a write hold since it was last idle */
	bool exclusive;			/* its one hold is exclusive */
	bool publishing;		/* for ever, because the medium failed */
	uint64_t tag;			/* the test's tag in its last 8 bytes */
};

struct m_block {
	uint64_t generation;		/* the next one of an extent that begins here */
	bool taken;
	/* On media. */
	bool data;
	uint32_t gen;
	uint32_t blocks;
	uint64_t tag;
};

/* A root; name[0] is 0 if there is none. */
struct m_root {
	char name[DAXPIN_ROOT_NAME_MAX];
	uint64_t addr;
	uint64_t generation;		/* low bits, on media; of an object 0 */
	bool object;
};

/* An extent with small objects of one size. It is used in memory, durable on media. */
struct m_slab {
	uint64_t addr;
	uint64_t first;			/* offset of the first object */
	uint32_t size, count;		/* of the objects */
	bool used, durable;
};

/* A small object that is not free, in memory or on media. */
struct m_object {
	uint64_t addr;
	struct m_slab *slab;
	enum daxpin_state state;
	bool publishing;		/* for ever, because the medium failed */
	bool bit;			/* what the next publish of its word writes */
	bool durable;			/* it is live on media */
	uint64_t tag;			/* the test's tag in its last 8 bytes */
};

/* An 8-byte word that a SET changed, in an extent that is live. */
struct m_set {
	uint64_t addr;			/* 0: not used */
	uint64_t value;
};

/* The results that a call may have: one, except for batches with two mistakes. */
struct m_errors {
	int error[8];
	uint32_t count;
};

struct m_watch {
	struct daxpin_watch watch;
	enum { M_UNUSED, M_WAITING, M_READY } state;
	uint64_t addr;
	uint64_t batch;			/* events of one batch come in any order */
};

struct m_hold {
	struct daxpin_hold hold;
	bool held;
};

struct model {
	struct daxpin_pool *pool;	/* NULL: closed */
	uint32_t segments;
	uint32_t mapped;		/* with those that were removed in this open */
	bool readonly;
	bool page;			/* page granularity: a flush may fail */
	bool failed;			/* a flush of a publish failed */
	uint64_t epoch;
	bool unclean;			/* on media */
	uint8_t owner_boot;
	uint32_t unnumbered;		/* registrations whose verbs context has no
					   number, on media of that owner */
	uint32_t gates;
	bool refused;			/* a call was refused: a RETRY is due */
	bool retry;			/* the RETRY event is queued */
	bool armed;
	uint64_t signals;		/* writes to the eventfd since the last check */
	uint64_t batches;
	struct m_block block[M_SEGMENTS * M_BLOCKS];
	struct m_generation generation[M_GENERATIONS];
	uint32_t generations;
	struct m_root root[M_ROOTS];		/* in memory */
	struct m_root durable_root[M_ROOTS];	/* on media */
	struct m_set set[M_SETS];
	uint32_t sets;
	struct m_slab slab[M_SLABS];
	struct m_object object[M_OBJECTS];
	struct m_watch watch[M_WATCHES];
	struct m_hold hold[M_HOLDS];
	struct daxpin_registration *registration[M_REGISTRATIONS];
	bool has_rdma[M_REGISTRATIONS];
	uint32_t registered_on[M_REGISTRATIONS];	/* a segment, or all */
};

extern struct model model;

/*
 * Start with a closed pool of that many segments. gen: the generation of all free
 * words.
 */
void m_begin(uint32_t segments, uint64_t epoch, uint32_t gen);

/* The generation that a handle names, or NULL if it has ended or never began. */
struct m_generation *m_find(struct daxpin_extent extent);
uint64_t m_size(const struct m_generation *generation);

/* waits: there is no deadline. */
int m_open(bool readonly, bool waits);
/* After a successful open: finds the live extents again. */
void m_opened(struct daxpin_pool *pool, bool readonly);
int m_create(bool overwrite, bool waits);
void m_created(struct daxpin_pool *pool);
int m_close(void);
/* The process dies. boot: the machine is rebooted as well. */
void m_crash(bool boot);
int m_drain(void);
int m_grow(uint64_t size);
/* What a shrink of extents that nobody frees meanwhile returns. waits: it has no
 * deadline, and progress() cancels it. */
int m_shrink(uint64_t size, uint32_t flags, bool waits);
/* After a grow or shrink: the pool has as many segments as `size` needs. */
void m_resized(uint64_t size);
/* In bytes: what prevents a shrink, in all segments that it removes. */
uint64_t m_left(uint64_t size);

int m_reserve(uint64_t size, uint32_t flags);
/* A reserve returned this extent: checks it and begins the generation. */
struct m_generation *m_reserved(uint64_t size, struct daxpin_extent extent);
int m_cancel(struct daxpin_extent extent);
/* What a publish may return. fails_at: which flush of this call fails, 0 for none. */
struct m_errors m_publish(const struct daxpin_op *ops, uint32_t count,
			  uint32_t fails_at);
/* Changes the model after a publish that returned 0. */
void m_published(const struct daxpin_op *ops, uint32_t count);
int m_root(const char *name, struct daxpin_extent *ret_extent);
int m_persist(struct daxpin_extent extent, uint64_t offset, uint64_t length,
	      uint32_t fails_at);
/* -EINVAL: no object begins there. *ret_object is NULL if the object is free. */
int m_object_find(uint64_t addr, struct m_object **ret_object);
/* The size of the object that begins at an address, or 0. */
uint64_t m_object_size(uint64_t addr);
int m_object_reserve(uint64_t size, uint32_t flags);
/* A reserve returned this object. */
struct m_object *m_object_reserved(uint64_t size, uint64_t addr);
int m_object_cancel(uint64_t addr);
int m_object_query(uint64_t addr);		/* size */
int m_object_read(uint64_t addr, uint64_t offset, uint64_t length);

/* Whether a copy succeeds; the new generation is not made. */
int m_copy(struct daxpin_extent from);
int m_extent_at(uint64_t addr, struct daxpin_extent *ret_extent);

int m_hold(struct daxpin_extent extent, uint32_t access);
int m_clone(struct daxpin_extent extent, uint32_t access);
int m_drop(struct daxpin_extent extent);
int m_idle(struct daxpin_extent extent);
int m_wait_idle(struct daxpin_extent extent);
int m_query(struct daxpin_extent extent);	/* size, state */
int m_holds(struct daxpin_extent extent);

int m_watch(struct m_watch *watch, struct daxpin_extent extent);
int m_unwatch(struct m_watch *watch);
int m_arm(void);
/* A call was refused, so a RETRY event is due. */
void m_refused(void);
/* Checks an event that the library reported; NULL: it reported that there is none. */
void m_event(const struct daxpin_event *event);

int m_register(uint32_t segment, bool rdma);
void m_unregister(bool rdma);

#endif
