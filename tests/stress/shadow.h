/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A second account of the owners of blocks, separate from the library's and with other
 * rules: a generation begins by taking each of its blocks in a table of owners, and the
 * previous owner of each block must have been allowed to end.
 *
 * Its inaccuracies favour the library: a hold is counted after it was taken and until
 * just before its drop, and an end is noted before the call that may cause it. So an
 * overlap that it reports is real.
 *
 * All its accesses are relaxed atomics: a sanitizer then sees no order except the
 * library's, and the library's order is enough to keep this account right.
 */
#ifndef SHADOW_H
#define SHADOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <daxpin.h>

/* A handle, and its generation in the shadow, which is never reused. */
struct named {
	struct daxpin_extent extent;
	uint64_t generation;
	uint32_t blocks;
};

enum shadow_state {		/* enum daxpin_state, unless it has ended */
	SHADOW_OVER,
	SHADOW_RESERVED,
	SHADOW_LIVE,
	SHADOW_RETIRED,
};

/* Forgets all generations, for a new pool. The seed is printed. */
int shadow_init(uint64_t blocks, unsigned int seed);
void shadow_fini(void);

/* Report an error, with the seed, and end the process. */
_Noreturn void shadow_fail(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

/*
 * A reserve returned: the blocks belong to the new generation, or it reports an
 * overlap.
 */
struct named shadow_begin(struct daxpin_extent extent, uint32_t blocks);

/* A hold was taken; a hold is about to be dropped. */
void shadow_hold(struct named named);
void shadow_drop(struct named named);
uint32_t shadow_holds(struct named named);
bool shadow_any_held(void);

/*
 * A call that may end the generation is about to be made; false: it has ended already.
 * A call that did not end it is taken back.
 */
bool shadow_ending(struct named named);
void shadow_not_ended(struct named named);
/* KEEP returned 0. */
void shadow_kept(struct named named);

/* Has it certainly ended, because another generation has the blocks? */
bool shadow_is_over(struct named named);
/* Was its end noted, or has it ended? */
bool shadow_may_be_over(struct named named);

/* The generation of a handle from the library, while it is held. */
struct named shadow_find(struct daxpin_extent extent);

/* While no calls are made: the expected state of each generation. */
enum shadow_state shadow_look(uint64_t block, struct named *ret_named);
/* The pool was closed: a generation that was not kept has ended, others continue. */
void shadow_forget(struct named named);
void shadow_reopened(struct named *named, struct daxpin_extent extent);
uint64_t shadow_lives(void);

#endif
