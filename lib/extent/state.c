/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of every extent: one word at its first block, see state_word.h.
 *
 *	FREE -----> RESERVED -----> LIVE -----> RETIRED
 *	  ^            |  |           |            ^  |
 *	  +--not held--+  +----held---|------------+  |
 *	  +---------not held----------+               |
 *	  +------------------last drop----------------+
 *
 *	FREE -> RESERVED	[dp_state_reserve] of state.h, by the thread that
 *				claimed the blocks
 *	RESERVED -> LIVE	[dp_state_settle_kept], claimed by a publish
 *	RESERVED -> FREE	[dp_state_try_cancel], [dp_state_cancel], while not held
 *	RESERVED -> RETIRED	[dp_state_cancel], while held
 *	LIVE -> FREE		[dp_state_settle_retired], claimed, while not held
 *	LIVE -> RETIRED		[dp_state_settle_retired], claimed, while held
 *	RETIRED -> FREE		[dp_state_try_drop] that makes the count 0
 *	FREE -> SLAB -> FREE	[dp_state_reserve_slab], [dp_state_free_slab]: an extent
 *				for small objects, of which no program has a handle
 *	publishing on, off	[dp_state_claim], [dp_state_unclaim] or settle
 *	writers on		[dp_state_try_hold], [dp_state_clone] for writing
 *	exclusive on		[dp_state_try_hold] by an exclusive hold
 *	waiters on		[dp_state_wait], [dp_state_watch] while held
 *	writers, exclusive, waiters off
 *				by the drop that makes the count 0
 *
 * What is true in each state:
 *	FREE		count 0 and no flag; the blocks' bits may be set
 *			(I13-I15)
 *	RESERVED	may be held; there is no record of the extent on media
 *	LIVE		may be held; the word on media records the extent (D3)
 *	RETIRED		held; new holds are refused, clones of a hold are not;
 *			publishing is off
 *
 * Invariants:
 *	D12	each change is one atomic operation, which decides one fact: a CAS,
 *		except for a reserve (a store), and for an unclaim and the end of a
 *		KEEP, which may rely on the claim
 *	I18	the CAS that reaches FREE also increments the generation, so no call
 *		with an old handle can match later. The thread that made it frees the
 *		blocks and wakes waiters, exactly once (also I19, I21, I38)
 *	I30	a hold succeeds only from RESERVED or LIVE with the handle's
 *		generation and otherwise does not change the word, so there is no
 *		speculative count to undo (also I36)
 *	D13	a hold increments inc of the segment before its CAS and reads the gate
 *		after it; the last drop increments dec after everything else (also
 *		D16): see gate.c
 *
 *	C7	exclusive means that there is one hold, which excludes others. It is set
 *		by the CAS that takes the count from 0 to 1, and only if no publish has
 *		a claim. While it is set, holds (a SET needs one), clones and claims for
 *		a KEEP fail. So of an exclusive hold and an operation that it excludes,
 *		the second fails, because its CAS finds the first in this word.
 *
 * A call takes or drops one or more holds with one CAS; a CAS from n to 0 wakes and
 * frees like one from 1 to 0.
 *
 * writers means that since the count was last 0 a write hold was taken, or was tried
 * while the gate was closed. A write hold that backs out must not clear the bit while
 * there are other holds, even if the word is the same as after its own CAS. One of
 * these holds may be a write hold: if a second thread has taken it and a third thread
 * has dropped a read hold, the count is the same again. The last drop clears the bit.
 *
 *	I64	a block that was found bad is marked while its extent still owns it, so
 *		the thread that frees it later excludes it: see state_is_owner()
 *
 * tests/model/state.pml, wait.pml and root.pml search the interleavings.
 */
#include <errno.h>
#include <sys/mman.h>
#include "extent/state.h"
#include "os/os.h"
#include "util/probe.h"

/* The smallest table that gets huge pages. Smaller ones, of pools below 512 MiB, would
 * take more memory than they need. */
#define HUGE_TABLE	(2u << 20)

static_assert(sizeof(struct dp_extent_state) * 4 == DP_CACHE_LINE,
	      "see dp_state_at()");

static _Atomic uint64_t *state_word(struct dp_states *states, uint64_t block)
{
	assert(block < dp_states_blocks(states));
	return &dp_state_at(states, block)->word;
}

static uint64_t state_load(struct dp_states *states, uint64_t block)
{
	return atomic_load_explicit(state_word(states, block),
				    memory_order_acquire);
}

static bool state_swap(struct dp_states *states, uint64_t block, uint64_t *word,
		       uint64_t to)
{
	return dp_state_swap(state_word(states, block), word, to);
}

/* ------------------------------------------------------------ the tables */

/* Bytes of the states of so many segments. */
static uint64_t state_table_size(const struct dp_states *states, uint32_t segments)
{
	return ((uint64_t)segments << states->block_shift) * sizeof(*states->state);
}

/*
 * State words are accessed at random, and an open touches those of all extents:
 * huge pages cause fewer faults and TLB misses. If the kernel has none it uses small
 * ones.
 */
static void state_use_huge_pages(void *base, uint64_t size)
{
	if (size >= HUGE_TABLE)
		dp_os_advise(base, size, MADV_HUGEPAGE);
}

/*
 * Reserve the addresses of `most` segments, of which those not in use have no memory
 * and may not be accessed: a writable mapping would count as memory in use where the
 * kernel overcommits none. (An access past the table is then SIGSEGV.)
 */
static int state_reserve(const struct dp_states *states, void **ret_base)
{
	return dp_os_map(NULL, state_table_size(states, states->most), PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, ret_base);
}

int dp_states_prepare(struct dp_states *states, uint32_t segments)
{
	uint64_t begin = state_table_size(states, states->mapped);
	uint64_t end = state_table_size(states, segments);
	void *base;
	int ret;

	assert(segments <= states->most);
	/* What was mapped before, by a grow that failed or for a segment that was
	 * removed, keeps its words: no generation may come again in this epoch. */
	if (end <= begin)
		return 0;
	/* Anonymous memory is zeroed: every extent is FREE, of generation 0. */
	ret = dp_os_map((char *)states->state + begin, end - begin,
			PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			MAP_NORESERVE | MAP_FIXED, -1, &base);
	if (ret)
		return ret;
	state_use_huge_pages(base, end - begin);
	states->mapped = segments;
	return 0;
}

/* A call compares a block with this number before it uses the block's word. It is
 * stored with release after the words were mapped, and read with acquire. */
void dp_states_grow(struct dp_states *states, uint32_t segments)
{
	assert(segments <= states->mapped);
	atomic_store_explicit(states->block_count,
			      (uint64_t)segments << states->block_shift,
			      memory_order_release);
}

/* The number of blocks, 0 at first. */
static int state_make_count(struct dp_states *states)
{
	uint64_t size = sizeof(*states->block_count);
	void *page;
	int ret = dp_os_map(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, &page);

	if (ret)
		return ret;
	states->block_count = page;
	ret = dp_os_advise(page, size, MADV_WIPEONFORK);
	if (ret)
		dp_os_unmap(page, size);
	return ret;
}

static int state_make_tables(struct dp_states *states, uint32_t segments)
{
	void *base;
	int ret = state_reserve(states, &base);

	if (ret)
		return ret;
	states->state = base;
	ret = dp_states_prepare(states, segments);
	if (!ret)
		ret = dp_gates_init(&states->gates, states->most);
	if (ret)
		dp_os_unmap(base, state_table_size(states, states->most));
	return ret;
}

int dp_states_init(struct dp_states *states, uint32_t segments, uint32_t most,
		   uint32_t segment_shift, struct dp_spaces *spaces,
		   struct dp_events *events)
{
	int ret;

	assert(segments && segments <= most && segment_shift < 32);
	assert(segment_shift >= 9);	/* dp_state_at() permutes within 512 */
	states->block_shift = segment_shift;
	states->most = most;
	states->mapped = 0;
	states->spaces = spaces;
	states->events = events;
	ret = state_make_count(states);
	if (ret)
		return ret;
	ret = state_make_tables(states, segments);
	if (ret) {
		dp_os_unmap(states->block_count, sizeof(*states->block_count));
		states->state = NULL;
		return ret;
	}
	dp_states_grow(states, segments);
	return 0;
}

void dp_states_fini(struct dp_states *states)
{
	if (!states->state)
		return;
	dp_gates_fini(&states->gates);
	dp_os_unmap(states->state, state_table_size(states, states->most));
	dp_os_unmap(states->block_count, sizeof(*states->block_count));
	states->state = NULL;
}

static void state_set_blocks(struct dp_states *states, uint64_t block,
			     uint32_t blocks)
{
	atomic_store_explicit(&dp_state_at(states, block)->blocks, blocks,
			      memory_order_relaxed);
}

void dp_state_restore(struct dp_states *states, uint64_t block, uint32_t blocks,
		      uint64_t generation, enum dp_state state)
{
	assert(generation <= DP_GENERATION_MASK &&
	       !blocks == (state == DP_STATE_FREE));
	/* Store before the first read: a page that is read first faults twice. */
	state_set_blocks(states, block, blocks);
	assert(state_load(states, block) == 0);
	/* No other thread uses the pool yet. */
	atomic_store_explicit(state_word(states, block),
			      state == DP_STATE_SLAB ? dp_word_slab(generation) :
						       dp_word_idle(generation, state),
			      memory_order_relaxed);
}

/* -------------------------------------------------- the end of a generation */

static void state_wake(struct dp_states *states, uint64_t block)
{
	dp_os_futex_wake(state_word(states, block));
	dp_events_fire(states->events, block << 12);
}

/*
 * Count an extent that waits for its last drop. Another thread may have made the last
 * drop already. So the sum may be below 0 for a moment, and `blocks` was read before
 * the CAS that retired the extent, because they may belong to the next one now.
 */
static void state_defer(struct dp_states *states, uint32_t blocks)
{
	atomic_fetch_add_explicit(&states->deferred_blocks, blocks,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&states->deferred, 1, memory_order_relaxed);
}

struct dp_state_deferred dp_states_deferred(struct dp_states *states)
{
	int64_t blocks = atomic_load_explicit(&states->deferred_blocks,
					      memory_order_relaxed);

	return (struct dp_state_deferred) {
		.blocks = blocks > 0 ? blocks : 0,
		.extents = atomic_load_explicit(&states->deferred,
						memory_order_relaxed),
	};
}

static inline void state_assert_change(uint64_t was, uint64_t now)
{
	/* I13, I15: the end of a generation leaves the next number, count 0 and no
	 * flags. */
	assert(dp_word_state(now) != DP_STATE_FREE ||
	       now == dp_word_next_generation(was));
	/* C7: an exclusive hold is the only one. */
	assert(!(now & DP_WORD_EXCLUSIVE) || dp_word_count(now) == 1);
	/* D2: while a publish has a claim, the state does not change. */
	assert(!(now & DP_WORD_PUBLISHING) ||
	       dp_word_state(now) == dp_word_state(was));
}

__attribute__((cold))
void dp_state_after_swap(struct dp_states *states, uint64_t block, uint64_t was,
			 uint64_t now)
{
	state_assert_change(was, now);
	if (dp_word_state(now) == DP_STATE_FREE &&
	    dp_word_state(was) == DP_STATE_RETIRED)
		atomic_fetch_sub_explicit(&states->deferred_blocks,
					  dp_state_blocks(states, block),
					  memory_order_relaxed);
	if (dp_word_state(now) == DP_STATE_FREE)
		dp_state_free_blocks(states, block);
	if (was & DP_WORD_WAITERS && !(now & DP_WORD_WAITERS))
		state_wake(states, block);
	if (dp_word_count(was) && !dp_word_count(now))
		dp_state_now_idle(states, block, was, dp_thread_slot());
}

/* ------------------------------------------------------ reserve to retire */

uint64_t dp_state_reserve_slab(struct dp_states *states, uint64_t block,
			       uint32_t blocks)
{
	uint64_t word = state_load(states, block);
	uint64_t generation = dp_word_generation(word);

	/* As dp_state_reserve(). */
	assert(word == dp_word_idle(generation, DP_STATE_FREE));
	state_set_blocks(states, block, blocks);
	atomic_store_explicit(state_word(states, block), dp_word_slab(generation),
			      memory_order_release);
	return generation;
}

void dp_state_free_slab(struct dp_states *states, uint64_t block)
{
	uint64_t word = state_load(states, block);

	assert(dp_word_is_slab(word));
	/* No call changes the word of a slab. */
	atomic_store(state_word(states, block), dp_word_next_generation(word));
	dp_state_free_blocks(states, block);
}

/* For all words but the usual one. */
static int state_cancel_other(struct dp_states *states, uint64_t block,
			     uint64_t generation)
{
	uint64_t word = state_load(states, block), to;
	uint32_t blocks = dp_state_blocks(states, block);
	int ret;

	do {
		ret = dp_word_refuses(word, generation);
		if (!ret && dp_word_state(word) != DP_STATE_RESERVED)
			ret = -EINVAL;
		if (!ret && word & DP_WORD_PUBLISHING)
			ret = -EBUSY;
		if (ret)
			return ret;
		to = dp_word_retired(word);
	} while (!state_swap(states, block, &word, to));
	DP_PROBE_RETIRE(states, block << 12, generation, dp_word_count(to));
	if (dp_word_state(to) == DP_STATE_RETIRED)
		state_defer(states, blocks);
	dp_state_after_swap(states, block, word, to);
	return 0;
}

int dp_state_cancel(struct dp_states *states, uint64_t block,
		    uint64_t generation)
{
	return dp_state_try_cancel(states, block, generation) ? 0 :
	       state_cancel_other(states, block, generation);
}

/* An extent that may own the block. */
struct state_owner {
	struct dp_states *states;
	uint64_t block;
	uint64_t generation;
	uint64_t bad_block;
};

/*
 * Ends with a CAS that changes nothing. If another thread's CAS has ended the
 * generation before, this function returns false. If that CAS comes later, the thread
 * that made it sees the mark of the block when it frees the blocks.
 */
static bool state_is_owner(void *arg)
{
	const struct state_owner *owner = arg;
	uint64_t word = state_load(owner->states, owner->block);
	uint32_t blocks;

	do {
		if (dp_word_generation(word) != owner->generation ||
		    dp_word_state(word) == DP_STATE_FREE)
			return false;
		blocks = dp_state_blocks(owner->states, owner->block);
	} while (!state_swap(owner->states, owner->block, &word, word));
	return owner->bad_block - owner->block < blocks;
}

int dp_state_quarantine(struct dp_states *states, uint64_t block,
			uint64_t generation, uint64_t bad_block)
{
	struct state_owner owner = { states, block, generation, bad_block };
	int ret = dp_spaces_quarantine(states->spaces, bad_block, state_is_owner,
				       &owner);

	return ret == -EALREADY ? 0 : ret;
}

/* For all words but the usual one. */
__attribute__((noinline))
static int state_claim_other(struct dp_states *states, uint64_t block,
			     uint64_t generation, enum dp_state from,
			     bool no_writers)
{
	uint64_t word = state_load(states, block);
	int ret;

	do {
		ret = dp_word_refuses(word, generation);
		if (!ret && dp_word_state(word) != from)
			ret = -EINVAL;
		if (!ret && (word & DP_WORD_PUBLISHING ||
			     (no_writers && word & DP_WORD_WRITERS)))
			ret = -EBUSY;
		/* C7: a KEEP persists the payload. A RETIRE does not access it. */
		if (!ret && word & DP_WORD_EXCLUSIVE && from == DP_STATE_RESERVED)
			ret = -EBUSY;
		if (ret)
			return ret;
	} while (!state_swap(states, block, &word, word | DP_WORD_PUBLISHING));
	return 0;
}

int dp_state_claim(struct dp_states *states, uint64_t block,
		   uint64_t generation, enum dp_state from, bool no_writers)
{
	uint64_t word = dp_word_idle(generation, from);

	/* The usual case: no hold and no other publish. */
	if (state_load(states, block) == word &&
	    state_swap(states, block, &word, word | DP_WORD_PUBLISHING))
		return 0;
	return state_claim_other(states, block, generation, from, no_writers);
}

void dp_state_unclaim(struct dp_states *states, uint64_t block)
{
	uint64_t was = atomic_fetch_and(state_word(states, block), ~DP_WORD_PUBLISHING);

	assert(was & DP_WORD_PUBLISHING);
	/* D2: a claimed extent can be neither cancelled nor retired. */
	assert(dp_word_state(was) == DP_STATE_RESERVED ||
	       dp_word_state(was) == DP_STATE_LIVE);
	(void)was;
}

/* The claim excludes every other change of the state, so that a sum is enough. */
void dp_state_settle_kept(struct dp_states *states, uint64_t block)
{
	const uint64_t change = ((uint64_t)(DP_STATE_LIVE - DP_STATE_RESERVED) <<
				 DP_WORD_STATE_SHIFT) - DP_WORD_PUBLISHING;
	uint64_t was = atomic_fetch_add(state_word(states, block), change);

	static_assert(DP_STATE_LIVE > DP_STATE_RESERVED, "the sum carries nothing");
	assert(was & DP_WORD_PUBLISHING && dp_word_state(was) == DP_STATE_RESERVED);
	(void)was;
}

void dp_state_settle_retired(struct dp_states *states, uint64_t block)
{
	uint64_t word = state_load(states, block), next;
	uint32_t blocks = dp_state_blocks(states, block);

	do {
		assert(word & DP_WORD_PUBLISHING);
		assert(dp_word_state(word) == DP_STATE_LIVE);
		next = dp_word_retired(word);
	} while (!state_swap(states, block, &word, next));
	DP_PROBE_RETIRE(states, block << 12, dp_word_generation(word),
			dp_word_count(next));
	state_assert_change(word, next);
	/* A thread waits only for holds, so none waits if there are none. */
	if (dp_word_state(next) == DP_STATE_RETIRED)
		state_defer(states, blocks);
	else
		dp_state_free_blocks(states, block);
}

/* seq_cst, all three: two-sided with the CAS in dp_state_claim(). */
void dp_state_add_root(struct dp_states *states, uint64_t block)
{
	atomic_fetch_add(&dp_state_at(states, block)->roots, 1);
	dp_fence_after_rmw();
}

void dp_state_remove_root(struct dp_states *states, uint64_t block)
{
	uint32_t was = atomic_fetch_sub(&dp_state_at(states, block)->roots, 1);

	assert(was);
	(void)was;
}

uint32_t dp_state_roots(struct dp_states *states, uint64_t block)
{
	dp_fence_after_rmw();
	return atomic_load(&dp_state_at(states, block)->roots);
}

/* ---------------------------------------------------------- hold and drop */

__attribute__((cold))
int dp_state_finish_hold(struct dp_states *states, uint64_t block,
			 uint64_t generation, uint32_t count, uint64_t flags,
			 int result)
{
	while (result == DP_STATE_UNDECIDED || result == DP_STATE_RAISED) {
		if (result == DP_STATE_RAISED)
			dp_gate_raise_dec(&states->gates, block >> states->block_shift,
					  dp_thread_slot());
		result = dp_state_try_hold(states, block, generation, count, flags,
					   dp_thread_slot());
	}
	if (result != DP_STATE_GATE_CLOSED)
		return result;
	result = dp_state_drop(states, block, generation, count);
	assert(result == (int)count);
	return -EAGAIN;
}

int dp_state_hold(struct dp_states *states, uint64_t block, uint64_t generation,
		  uint32_t count, uint64_t flags)
{
	assert(count);
	return dp_state_finish_hold(states, block, generation, count, flags,
				    DP_STATE_UNDECIDED);
}

int dp_state_drop(struct dp_states *states, uint64_t block, uint64_t generation,
		  uint32_t count)
{
	int ret;

	assert(count);
	do
		ret = dp_state_try_drop(states, block, generation, count,
					dp_thread_slot(), false);
	while (ret == DP_STATE_UNDECIDED);
	return ret;
}

int dp_state_clone(struct dp_states *states, uint64_t block,
		   uint64_t generation, bool write)
{
	uint64_t word = state_load(states, block);

	/* The caller's hold keeps the count above 0, so the generation cannot end. */
	do {
		if (dp_word_generation(word) != generation)
			return -ESTALE;
		if (!dp_word_count(word))
			return -EINVAL;
		if (word & DP_WORD_EXCLUSIVE)
			return -EBUSY;
		if (dp_word_count(word) == DP_COUNT_MAX)
			return -EOVERFLOW;
	} while (!state_swap(states, block, &word,
			     dp_word_with_holds(word, 1,
					     write ? DP_HOLD_WRITE : 0)));
	DP_PROBE_HOLD(states, block << 12, generation, 1, dp_word_count(word) + 1,
		      write);
	return 0;
}

/* ------------------------------------------------------------------- wait */

/*
 * Request a wake-up by setting the waiters bit. True, with the word to sleep on; false
 * if the extent is idle. The CAS that makes it idle clears the bit.
 */
static bool state_ask_wake(struct dp_states *states, uint64_t block,
			   uint64_t generation, uint64_t *ret_word)
{
	uint64_t word = state_load(states, block);

	do {
		if (dp_word_generation(word) != generation || !dp_word_count(word))
			return false;
	} while (!(word & DP_WORD_WAITERS) &&
		 !state_swap(states, block, &word, word | DP_WORD_WAITERS));
	*ret_word = word | DP_WORD_WAITERS;
	return true;
}

int dp_state_wait(struct dp_states *states, uint64_t block, uint64_t generation,
		  uint64_t deadline_ns)
{
	uint64_t word;

	while (state_ask_wake(states, block, generation, &word)) {
		if (dp_os_now_ns() >= deadline_ns)
			return -ETIMEDOUT;
		/* The futex compares the low half: flags, state, count and 8 bits of
		 * the generation. */
		dp_os_futex_wait(state_word(states, block), (uint32_t)word,
				 deadline_ns);
	}
	return 0;
}

struct watched_state {
	struct dp_states *states;
	uint64_t block;
	uint64_t generation;
};

static bool state_watch_is_busy(void *arg)
{
	struct watched_state *state = arg;
	uint64_t word;

	return state_ask_wake(state->states, state->block, state->generation,
			      &word);
}

int dp_state_watch(struct dp_states *states, uint64_t block,
		   uint64_t generation, struct daxpin_watch *watch,
		   const struct daxpin_watch *wanted)
{
	struct watched_state state = { states, block, generation };

	return dp_events_watch(states->events, watch, wanted,
			       state_watch_is_busy, &state);
}
