/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The naive model: what a pool holds, as plain lists, and what each operation
 * does to them, without words, lanes or fences. A recovered pool
 * must be equal to what the operations that had returned make of it, with any
 * of those in flight done or not done.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_EXTENTS	280u
#define MODEL_ENDED	280u
#define MODEL_ROOTS	6u
#define MODEL_WORDS	280u
#define MODEL_OBJECTS	280u

struct model_extent {
	uint64_t addr;
	uint32_t blocks;
	uint32_t gen;
	bool loose;			/* the payload was never made durable */
};

struct model_object {
	uint64_t addr;
	uint32_t size;			/* of its class */
	uint32_t tag;			/* in its first word: a number of each KEEP */
};

/* An address in the pool, and a value that belongs to it. */
struct model_word {
	uint64_t addr;
	uint64_t value;
};

struct model {
	bool ready;			/* a pool exists and opens */
	bool unclean;
	uint32_t rdma;			/* verbs contexts on record */
	uint32_t owners;		/* set by create: which pool it is */
	uint32_t segments;
	uint32_t short_end;		/* segments up to the short one; 0: none */
	uint64_t bytes;			/* of all segments */
	uint64_t epoch;			/* the highest that was returned */
	uint32_t extents;
	uint32_t ended;
	uint32_t words;
	uint32_t objects;
	struct model_extent extent[MODEL_EXTENTS];	/* live, sorted by address */
	struct model_word end[MODEL_ENDED];	/* free: least allowed generation */
	struct model_word word[MODEL_WORDS];	/* payload that a SET changed */
	struct model_object object[MODEL_OBJECTS];	/* live, sorted by address */
	uint64_t root[MODEL_ROOTS];	/* address, 0 none */
};

enum effect_what {
	EFFECT_KEEP,
	EFFECT_RETIRE,
	EFFECT_SET,
	EFFECT_ROOT,
	EFFECT_OBJECT_KEEP,
	EFFECT_OBJECT_FREE,
	EFFECT_READ,			/* a thread read that value there */
	EFFECT_OPEN,
	EFFECT_CLOSE,
	EFFECT_RDMA,
	EFFECT_NO_RDMA,
	EFFECT_SEGMENTS,		/* the pool has `value` of them */
	EFFECT_DESTROY,
	EFFECT_CREATE,
};

struct effect {
	enum effect_what what;
	uint32_t blocks;
	uint32_t gen;			/* of an object: its tag */
	uint32_t size;			/* of an object */
	uint32_t root;
	bool loose;
	bool zeroed;
	uint64_t addr;
	uint64_t value;
};

/* Applies an effect. Returns false if it is impossible in this state. */
bool model_apply(struct model *model, const struct effect *effect);
/*
 * Does every root name a live extent or object? The effects of an operation may be
 * applied in any order, so this is asked after all of them.
 */
bool model_is_sound(const struct model *model);
const struct model_extent *model_find(const struct model *model, uint64_t addr);
/* Fills a model from a pool that is open. */
bool model_add_extent(struct model *model, uint64_t addr, uint32_t blocks,
		      uint32_t gen, bool loose);
bool model_add_object(struct model *model, uint64_t addr, uint32_t size,
		      uint32_t tag);
bool model_add_word(struct model *model, uint64_t addr, uint64_t value);
void model_clear_space(struct model *model);

const char *model_root_name(uint32_t root);

/*
 * The payload of a generation, and the offsets of an extent at which it is written
 * and checked: 0, then the next one until it is past the size.
 */
uint64_t model_payload(uint64_t addr, uint32_t gen, uint64_t offset);
uint64_t model_next_offset(uint64_t offset, uint64_t size);
/* The same for an object; the value at offset 0 tells the tag. */
uint64_t model_object_payload(uint64_t addr, uint32_t tag, uint64_t offset);
/* False: no object begins with that word. */
bool model_object_tag(uint64_t first, uint32_t *ret_tag);

#endif
