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

/* Memory that children share, for a new pool. The seed is printed. */
int shadow_init(uint64_t blocks, unsigned int seed);
/* Forgets all generations. All threads must pause. */
void shadow_reset(void);
void shadow_fini(void);

/* Prints an error with the seed, and ends the process. */
_Noreturn void shadow_fail(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

/*
 * Call it when a reserve has returned: the blocks now belong to a new generation. If
 * their previous owner may not have ended, this reports an overlap.
 */
struct named shadow_begin(struct daxpin_extent extent, uint32_t blocks);

/* Call these after a hold was taken, and before one is dropped. */
void shadow_hold(struct named named);
void shadow_drop(struct named named);
uint32_t shadow_holds(struct named named);
bool shadow_any_held(void);

/*
 * Call shadow_ending() before a call that may end the generation; it returns false if
 * the generation has ended already. If the call then failed, call shadow_not_ended().
 */
bool shadow_ending(struct named named);
void shadow_not_ended(struct named named);
/* Call it when a KEEP has returned 0. */
void shadow_kept(struct named named);

/* Has it certainly ended, because another generation has the blocks? */
bool shadow_is_over(struct named named);
/* Was its end noted, or has it ended? */
bool shadow_may_be_over(struct named named);

/* Returns the generation of a handle that the library returned. Hold it meanwhile. */
struct named shadow_find(struct daxpin_extent extent);

/* Call it after a shrink: every generation from this block on must have ended. */
void shadow_removed(uint64_t block);

/* Returns the expected state of the generation at a block. All threads must pause. */
enum shadow_state shadow_look(uint64_t block, struct named *ret_named);
/*
 * For an open after a close: a generation that was not kept has ended, and one that was
 * kept continues with a new handle.
 */
void shadow_forget(struct named named);
void shadow_reopened(struct named *named, struct daxpin_extent extent);
/* Returns how many generations have begun. */
uint64_t shadow_generations(void);

#endif
