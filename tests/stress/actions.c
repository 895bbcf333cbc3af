/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The actions of the threads. Any handle may become stale at any time, so most calls
 * may be refused, but only for a reason that the shadow confirms.
 *
 * Every block has four stamps: the first and last word have the generation, written by
 * its owner and by threads that hold it for writing; the second has the generation and
 * a number, for SETs; only the owner writes the third.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "objects.h"

#define MANY	6u			/* holds in a call */
#define WORDS	(DAXPIN_BLOCK_SIZE / sizeof(uint64_t))

struct world world;

uint32_t chance(struct thread *thread, uint32_t n)
{
	thread->random ^= thread->random << 13;
	thread->random ^= thread->random >> 7;
	thread->random ^= thread->random << 17;
	return (thread->random >> 20) % n;
}

/* ---------------------------------------------------------- what is allowed */

#define EXPECT(call, ret, ...)						\
	expect(call, ret, (const int[]){ 0, __VA_ARGS__ },		\
	       sizeof((const int[]){ 0, __VA_ARGS__ }) / sizeof(int))

static void expect(const char *call, int ret, const int *allowed, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ret == allowed[i])
			return;
	shadow_fail("%s: %d", call, ret);
}

/*
 * -ESTALE and -EALREADY are allowed only if the end of the generation was noted. If it
 * had certainly ended before the call, the call must return -ESTALE.
 */
static void expect_generation(const char *call, int ret, struct named named,
			      bool was_over)
{
	if ((ret == -ESTALE || ret == -EALREADY) && !shadow_may_be_over(named))
		shadow_fail("%s: %d, although generation %" PRIu64 " has not ended", call, ret,
			    named.generation);
	if (was_over && ret != -ESTALE)
		shadow_fail("%s: %d, although generation %" PRIu64 " had ended", call, ret,
			    named.generation);
}

struct gates {
	uint64_t begun, over;
	bool drained;
};

static struct gates look_at_gates(void)
{
	return (struct gates) { atomic_load(&world.gates_begun),
				atomic_load(&world.gates_over),
				atomic_load(&world.drained) };
}

/*
 * -EAGAIN, from a closed gate, is allowed only if a gate was closed during the call.
 * After a drain that succeeded all gates are closed until the pool is closed.
 */
static void expect_gate(const char *call, int ret, struct gates before)
{
	if (ret == -EAGAIN && before.begun == before.over &&
	    atomic_load(&world.gates_begun) == before.begun)
		shadow_fail("%s: %d, although no gate was closed", call, ret);
	if (!ret && before.drained)
		shadow_fail("%s: succeeded, although the pool was drained", call);
}

/* The same for -EBUSY, from an exclusive hold. */
static struct gates look_at_exclusions(void)
{
	return (struct gates) { atomic_load(&world.exclusions_begun),
				atomic_load(&world.exclusions_over), false };
}

static void expect_exclusion(const char *call, int ret, struct gates before)
{
	if (ret == -EBUSY && before.begun == before.over &&
	    atomic_load(&world.exclusions_begun) == before.begun)
		shadow_fail("%s: %d, although no hold was exclusive", call, ret);
}

/* ------------------------------------------------------------------- stamps */

static _Atomic uint64_t *stamp_at(struct named named, uint32_t block,
				  uint32_t word)
{
	uint64_t *base = daxpin_ptr(world.pool, named.extent, 0);

	if (!base)
		shadow_fail("generation %" PRIu64 " has no address",
			    named.generation);
	return (_Atomic uint64_t *)(base + block * WORDS + word);
}

static void check_stamp(struct named named, uint32_t block, uint32_t word)
{
	uint64_t found = atomic_load_explicit(stamp_at(named, block, word),
					      memory_order_relaxed);

	if (word == 1)
		found >>= 8;
	if (found != named.generation)
		shadow_fail("overlap: block %" PRIu64 " of generation %" PRIu64
			    ", word %u, was written by generation %" PRIu64,
			    named.extent.addr / DAXPIN_BLOCK_SIZE + block,
			    named.generation, word, found);
}

/* Checks at most EXTENT_BLOCKS blocks, so only some of a large extent. */
void check_stamps(struct named named, uint32_t from)
{
	for (uint32_t i = 0; i < EXTENT_BLOCKS && i < named.blocks; i++) {
		uint32_t block = (from + i) % named.blocks;

		check_stamp(named, block, 0);
		check_stamp(named, block, 1);
		check_stamp(named, block, 2);
		check_stamp(named, block, WORDS - 1);
	}
}

/*
 * The stores are plain: if the library does not order the previous owner's accesses
 * before them, ThreadSanitizer reports a race.
 */
void write_stamps(struct named named)
{
	uint64_t *base = daxpin_ptr(world.pool, named.extent, 0);

	for (uint32_t i = 0; i < named.blocks; i++) {
		base[i * WORDS] = named.generation;
		base[i * WORDS + 1] = named.generation << 8;
		base[i * WORDS + 2] = named.generation;
		base[i * WORDS + WORDS - 1] = named.generation;
	}
}

static void check_zeroes(struct named named)
{
	uint64_t *base = daxpin_ptr(world.pool, named.extent, 0);

	for (uint32_t i = 0; i < named.blocks * WORDS; i++)
		if (base[i])
			shadow_fail("block %u of generation %" PRIu64 ", word %zu, "
				    "is not zeroed: %" PRIx64, i / (int)WORDS,
				    named.generation, i % WORDS, base[i]);
}

/* Writes to the extent, as a device may as long as it has a hold. */
static void use(struct thread *thread, const struct held *held)
{
	struct named named = held->named;

	if (held->access & DAXPIN_HOLD_WRITE) {
		uint32_t block = chance(thread, named.blocks);

		atomic_store_explicit(stamp_at(named, block, 0),
				      named.generation, memory_order_relaxed);
		atomic_store_explicit(stamp_at(named, block, WORDS - 1),
				      named.generation, memory_order_relaxed);
	}
	check_stamps(named, chance(thread, named.blocks));
}

/* -------------------------------------------------------------------- holds */

static struct named pick(struct thread *thread)
{
	struct slot *slot = &world.slot[chance(thread, SLOTS)];
	struct named named;

	pthread_mutex_lock(&slot->mutex);
	named = slot->named;
	pthread_mutex_unlock(&slot->mutex);
	return named;
}

static int take_label(struct daxpin_extent extent, struct held *held)
{
	int ret;

	held->label = calloc(1, sizeof(*held->label));
	if (!held->label)
		return -ENOMEM;
	ret = daxpin_hold_labelled(world.pool, extent, held->access, "stress",
				   held->label);
	if (ret) {
		free(held->label);
		held->label = NULL;
	}
	return ret;
}

/*
 * Takes a hold of an extent from a slot; if generation is 0, the library returned it.
 */
static bool take(struct thread *thread, struct named named,
		 struct held *ret_held)
{
	struct gates gates = look_at_gates();
	struct gates exclusions = look_at_exclusions();
	struct held held = { .access = 1 + chance(thread, 3) };
	bool over = named.generation && shadow_is_over(named);
	int ret;

	ret = chance(thread, 4) ?
	      daxpin_hold(world.pool, named.extent, held.access) :
	      take_label(named.extent, &held);
	EXPECT("hold", ret, -ESTALE, -EALREADY, -EAGAIN, -EBUSY);
	expect_gate("hold", ret, gates);
	expect_exclusion("hold", ret, exclusions);
	if (named.generation)
		expect_generation("hold", ret, named, over);
	if (ret)
		return false;
	held.named = shadow_find(named.extent);
	if (named.generation && held.named.generation != named.generation)
		shadow_fail("the handle of generation %" PRIu64 " holds generation %" PRIu64,
			    named.generation, held.named.generation);
	shadow_hold(held.named);
	*ret_held = held;
	return true;
}

static void release_child(struct thread *thread, struct held held)
{
	struct daxpin_extent extent = held.named.extent;
	int ret;

	use(thread, &held);
	if (daxpin_idle(world.pool, extent))
		shadow_fail("generation %" PRIu64 " is held, but reported as idle",
			    held.named.generation);
	shadow_drop(held.named);
	ret = held.label ? daxpin_drop_labelled(world.pool, held.label) :
			   daxpin_drop(world.pool, extent);
	if (ret)
		shadow_fail("drop of generation %" PRIu64 ": %d",
			    held.named.generation, ret);
	free(held.label);
}

bool drop_from_bag(struct thread *thread)
{
	struct held held;
	uint32_t i;

	pthread_mutex_lock(&world.bag.mutex);
	if (!world.bag.count) {
		pthread_mutex_unlock(&world.bag.mutex);
		return false;
	}
	i = chance(thread, world.bag.count);
	held = world.bag.held[i];
	world.bag.held[i] = world.bag.held[--world.bag.count];
	pthread_mutex_unlock(&world.bag.mutex);
	release_child(thread, held);
	return true;
}

/* Puts the hold into the bag; if that is full or not in use, drops it. */
static void give_away(struct thread *thread, struct held held)
{
	bool given = false;

	pthread_mutex_lock(&world.bag.mutex);
	if (world.bag.in_use && world.bag.count < BAG) {
		world.bag.held[world.bag.count++] = held;
		given = true;
	}
	pthread_mutex_unlock(&world.bag.mutex);
	if (!given)
		release_child(thread, held);
}

static bool hold(struct thread *thread)
{
	struct held held;

	if (!take(thread, pick(thread), &held))
		return false;
	use(thread, &held);
	if (chance(thread, 2))
		sched_yield();
	if (chance(thread, 8))
		release_child(thread, held);
	else
		give_away(thread, held);
	return true;
}

/* A clone succeeds while the original hold exists, whatever the state of the extent. */
static bool clone_hold(struct thread *thread)
{
	struct held held, more;
	int ret;

	if (!take(thread, pick(thread), &held))
		return false;
	more = (struct held) { held.named, 1 + chance(thread, 3), NULL };
	ret = daxpin_hold_clone(world.pool, more.named.extent, more.access);
	EXPECT("hold_clone", ret, 0);
	shadow_hold(more.named);
	give_away(thread, held);
	use(thread, &more);
	give_away(thread, more);
	return true;
}

static void check_is_alone(struct named named, uint64_t word)
{
	if (shadow_holds(named) != 1)
		shadow_fail("generation %" PRIu64 " is held exclusively, but its count is %u",
			    named.generation, shadow_holds(named));
	if (atomic_load_explicit(stamp_at(named, 0, 1),
				 memory_order_relaxed) != word)
		shadow_fail("a SET in generation %" PRIu64 ", which is held exclusively",
			    named.generation);
}

/* Until the drop there is no other hold, no new hold succeeds, and no SET. */
static bool hold_exclusively(struct thread *thread)
{
	struct held held = { .access = 1 + chance(thread, 3) };
	struct named named = pick(thread);
	uint64_t word;
	int ret;

	atomic_fetch_add(&world.exclusions_begun, 1);
	ret = daxpin_hold(world.pool, named.extent,
			  held.access | DAXPIN_HOLD_EXCLUSIVE);
	EXPECT("exclusive hold", ret, -ESTALE, -EALREADY, -EAGAIN, -EBUSY);
	if (!ret) {
		held.named = shadow_find(named.extent);
		shadow_hold(held.named);
		word = atomic_load_explicit(stamp_at(held.named, 0, 1),
					    memory_order_relaxed);
		check_is_alone(held.named, word);
		if (chance(thread, 2))
			sched_yield();
		use(thread, &held);
		check_is_alone(held.named, word);
		release_child(thread, held);
	}
	atomic_fetch_add(&world.exclusions_over, 1);
	return !ret;
}

/* Holds all of several extents or none, some twice, and drops all by one call. */
static bool hold_many(struct thread *thread)
{
	uint32_t count = 2 + chance(thread, MANY - 1), i;
	uint32_t access = 1 + chance(thread, 3);
	struct gates exclusions = look_at_exclusions();
	struct daxpin_extent extent[MANY];
	struct held held[MANY];
	int ret;

	for (i = 0; i < count; i++)
		extent[i] = i && chance(thread, 2) ? extent[i - 1] :
			    pick(thread).extent;
	ret = daxpin_hold_many(world.pool, extent, count, access, NULL);
	EXPECT("hold_many", ret, -ESTALE, -EALREADY, -EAGAIN, -EBUSY);
	expect_exclusion("hold_many", ret, exclusions);
	if (ret)
		return false;
	for (i = 0; i < count; i++) {
		held[i] = (struct held) { shadow_find(extent[i]), access, NULL };
		shadow_hold(held[i].named);
	}
	for (i = 0; i < count; i++)
		use(thread, &held[i]);
	for (i = 0; i < count; i++)
		shadow_drop(held[i].named);
	ret = daxpin_drop_many(world.pool, extent, count, NULL);
	if (ret)
		shadow_fail("drop_many of %u: %d", count, ret);
	return true;
}

/* Holds an extent whose handle the library returned for a name or an address. */
static bool hold_found(struct thread *thread)
{
	struct named found = { .generation = 0 };
	struct held held;
	char name[8];
	int ret;

	if (chance(thread, 2)) {
		snprintf(name, sizeof(name), "r%u", chance(thread, NAMES));
		ret = daxpin_root(world.pool, name, &found.extent);
	} else {
		ret = daxpin_extent_at(world.pool, pick(thread).extent.addr,
				       &found.extent);
	}
	EXPECT("root or extent_at", ret, -ENOENT);
	if (ret || !take(thread, found, &held))
		return false;
	give_away(thread, held);
	return true;
}

/*
 * Without a hold the blocks may have another owner before the read has ended; the read
 * must then fail. ThreadSanitizer would report that race, so with it all reads hold.
 */
#if defined(__SANITIZE_THREAD__)
#define READS_UNHELD 0
#else
#define READS_UNHELD 1
#endif

static bool read_out(struct thread *thread)
{
	struct named named = pick(thread);
	uint64_t offset = chance(thread, named.blocks) * DAXPIN_BLOCK_SIZE + 16;
	bool unheld = READS_UNHELD && chance(thread, 2);
	bool over = shadow_is_over(named);
	struct held held;
	uint64_t word = 0;
	int ret;

	if (!unheld && !take(thread, named, &held))
		return false;
	ret = daxpin_read(world.pool, named.extent, offset, sizeof(word), &word);
	EXPECT("read", ret, -ESTALE);
	expect_generation("read", ret, named, over);
	if (!ret && word != named.generation)
		shadow_fail("read of generation %" PRIu64 " gave generation %" PRIu64,
			    named.generation, word);
	if (!unheld)
		release_child(thread, held);
	return !ret;
}

/* ----------------------------------------------- generations and their ends */

static int make(struct thread *thread, uint32_t blocks,
		struct named *ret_named)
{
	bool zero = blocks <= EXTENT_BLOCKS && !chance(thread, 3);
	uint32_t flags = zero ? DAXPIN_RESERVE_ZERO : 0;
	struct daxpin_extent extent;
	int ret = daxpin_reserve(world.pool, blocks * DAXPIN_BLOCK_SIZE, flags,
				 &extent);

	EXPECT("reserve", ret, -ENOSPC, -EAGAIN);
	if (ret)
		return ret;
	*ret_named = shadow_begin(extent, blocks);
	objects_expect_none(extent, blocks);
	if (flags)
		check_zeroes(*ret_named);
	write_stamps(*ret_named);
	return 0;
}

int make_extent(struct thread *thread, struct named *ret_named)
{
	return make(thread, 1 + chance(thread, EXTENT_BLOCKS), ret_named);
}

/*
 * Stores the new extent in a slot whose generation has ended. No slot is ever empty:
 * see fill_slots().
 */
static bool reserve(struct thread *thread)
{
	struct slot *slot = &world.slot[chance(thread, SLOTS)];
	enum daxpin_state state;
	bool done = false;

	pthread_mutex_lock(&slot->mutex);
	if (daxpin_state(world.pool, slot->named.extent, &state) == -ESTALE)
		done = !make_extent(thread, &slot->named);
	pthread_mutex_unlock(&slot->mutex);
	return done;
}

static bool cancel_one(struct named named)
{
	bool over = !shadow_ending(named);
	int ret = daxpin_cancel(world.pool, named.extent);

	EXPECT("cancel", ret, -ESTALE, -EALREADY, -EINVAL, -EBUSY);
	if (ret && !over)
		shadow_not_ended(named);
	expect_generation("cancel", ret == -EALREADY ? 0 : ret, named, over);
	return !ret;
}

static bool cancel(struct thread *thread)
{
	return cancel_one(pick(thread));
}

static bool keep(struct thread *thread)
{
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP };
	struct named named = pick(thread);
	bool over = shadow_is_over(named);
	int ret;

	op.extent = named.extent;
	op.flags = chance(thread, 4) ? DAXPIN_OP_WRITERS : 0;
	op.flags |= chance(thread, 2) ? DAXPIN_OP_PERSISTED : 0;
	ret = daxpin_publish(world.pool, &op, 1, NULL, NULL);
	EXPECT("KEEP", ret, -ESTALE, -EALREADY, -EINVAL, -EBUSY);
	expect_generation("KEEP", ret, named, over);
	if (!ret)
		shadow_kept(named);
	return !ret;
}

static int retire_one(struct named named)
{
	struct daxpin_op op = {
		.type = DAXPIN_OP_RETIRE, .extent = named.extent,
	};
	bool over = !shadow_ending(named);
	int ret = daxpin_publish(world.pool, &op, 1, NULL, NULL);

	EXPECT("RETIRE", ret, -ESTALE, -EALREADY, -EINVAL, -EBUSY);
	if (over && ret != -ESTALE)
		shadow_fail("RETIRE: %d, although generation %" PRIu64 " had ended", ret,
			    named.generation);
	if (ret && !over)
		shadow_not_ended(named);
	return ret;
}

static bool retire(struct thread *thread)
{
	return !retire_one(pick(thread));
}

static bool set(struct thread *thread)
{
	struct named named = pick(thread);
	struct gates gates = look_at_gates();
	struct gates exclusions = look_at_exclusions();
	struct daxpin_op op = { .type = DAXPIN_OP_SET };
	bool over = shadow_is_over(named);
	int ret;

	op.extent = named.extent;
	op.offset = chance(thread, named.blocks) * DAXPIN_BLOCK_SIZE + 8;
	op.value = named.generation << 8 | chance(thread, 256);
	ret = daxpin_publish(world.pool, &op, 1, NULL, NULL);
	EXPECT("SET", ret, -ESTALE, -EALREADY, -EINVAL, -EAGAIN, -EBUSY);
	expect_exclusion("SET", ret, exclusions);
	expect_gate("SET", ret, gates);
	expect_generation("SET", ret, named, over);
	return !ret;
}

/* ------------------------------------------------------------------ batches */

struct batch {
	uint32_t count;
	struct daxpin_op op[5];
	struct named named[5];
	bool ending[5];
	char name[5][8];
};

static void add(struct batch *batch, uint32_t type, struct named named)
{
	uint32_t i = batch->count++;

	batch->op[i] = (struct daxpin_op) {
		.type = type, .extent = named.extent,
	};
	batch->named[i] = named;
	batch->ending[i] = false;
}

static void add_random(struct thread *thread, struct batch *batch)
{
	uint32_t i = batch->count, type = 1 + chance(thread, 4);

	add(batch, type, pick(thread));
	if (type == DAXPIN_OP_KEEP)
		batch->op[i].flags = DAXPIN_OP_WRITERS;
	if (type == DAXPIN_OP_SET) {
		batch->op[i].offset = 8;
		batch->op[i].value = batch->named[i].generation << 8;
	}
	if (type == DAXPIN_OP_ROOT) {
		snprintf(batch->name[i], 8, "r%u", chance(thread, NAMES));
		batch->op[i].name = batch->name[i];
		if (!chance(thread, 3))
			batch->op[i].extent = (struct daxpin_extent) { 0, 0 };
	}
}

static bool run_batch(struct batch *batch)
{
	int ret;

	for (uint32_t i = 0; i < batch->count; i++)
		if (batch->op[i].type == DAXPIN_OP_RETIRE)
			batch->ending[i] = shadow_ending(batch->named[i]);
	ret = daxpin_publish(world.pool, batch->op, batch->count, NULL, NULL);
	EXPECT("a batch", ret, -ESTALE, -EALREADY, -EINVAL, -EBUSY, -ENOENT,
	       -EAGAIN);
	for (uint32_t i = 0; i < batch->count; i++) {
		if (ret && batch->ending[i])
			shadow_not_ended(batch->named[i]);
		if (!ret && batch->op[i].type == DAXPIN_OP_RETIRE &&
		    !batch->ending[i])
			shadow_fail("generation %" PRIu64 " was retired when it was "
				    "over", batch->named[i].generation);
		if (!ret && batch->op[i].type == DAXPIN_OP_KEEP)
			shadow_kept(batch->named[i]);
	}
	return !ret;
}

static bool publish_some(struct thread *thread)
{
	uint32_t count = 2 + chance(thread, 3);
	struct batch batch = { .count = 0 };

	while (batch.count < count)
		add_random(thread, &batch);
	return run_batch(&batch);
}

/* A name gets a new extent, and the old one is retired in the same batch. */
static bool replace(struct thread *thread)
{
	struct batch batch = { .count = 0 };
	struct named old = { .generation = 0 }, next;
	struct held held;
	char name[8];
	bool has_old, done;

	snprintf(name, sizeof(name), "r%u", chance(thread, NAMES));
	has_old = !daxpin_root(world.pool, name, &old.extent) &&
		  take(thread, old, &held);
	done = !make_extent(thread, &next);
	if (done) {
		add(&batch, DAXPIN_OP_KEEP, next);
		add(&batch, DAXPIN_OP_ROOT, next);
		batch.op[1].name = name;
		if (has_old)
			add(&batch, DAXPIN_OP_RETIRE, held.named);
		done = run_batch(&batch);
		if (!done && shadow_ending(next))
			EXPECT("cancel of its own extent",
			       daxpin_cancel(world.pool, next.extent), 0);
	}
	if (has_old)
		give_away(thread, held);
	return done;
}

static int retire_seen(struct daxpin_pool *pool, struct daxpin_extent extent,
		       uint64_t size, void *arg)
{
	struct named found = { .extent = extent };
	struct thread *thread = arg;
	struct held held;

	(void)pool;
	(void)size;
	if (chance(thread, 8) || !take(thread, found, &held))
		return 0;
	retire_one(held.named);
	release_child(thread, held);
	return chance(thread, 4) ? 0 : 1;
}

/* Finds extents that are in no slot any more. */
static bool walk(struct thread *thread)
{
	int ret = daxpin_foreach(world.pool, retire_seen, thread);

	EXPECT("foreach", ret, 1);
	return ret;
}

/* ---------------------------------------------------------- waits and events */

/*
 * A waiting thread has no hold, and all holds are in the bag or end soon: if a long
 * wait has not ended in ten minutes, it was not woken.
 */
static bool wait_idle(struct thread *thread)
{
	static const uint64_t ms[] = { 0, 1, 1, HANG_MS };
	uint64_t policy = ms[chance(thread, 4)];
	uint64_t deadline_ns = policy ? daxpin_deadline_ms(policy) : 0;
	struct named named = pick(thread);
	int ret = daxpin_wait_idle(world.pool, named.extent, deadline_ns);

	EXPECT("wait_idle", ret, -ETIMEDOUT);
	/* A wait that lasted until its deadline was not woken, whatever it returns. */
	if (policy == HANG_MS && daxpin_deadline_ms(0) >= deadline_ns)
		shadow_fail("a wait for generation %" PRIu64 " was not woken",
			    named.generation);
	return !ret;
}

bool take_event(void)
{
	struct daxpin_event event;
	int was = WATCH_SET;
	struct watch *watch;
	int ret = daxpin_next_event(world.pool, &event);

	EXPECT("next_event", ret, 1);
	if (!ret)
		return false;
	if (event.type != DAXPIN_EVENT_IDLE)
		return true;
	watch = event.watch->arg;
	if (!atomic_compare_exchange_strong(&watch->state, &was, WATCH_FIRED))
		shadow_fail("an event for a watch in state %d", was);
	return true;
}

static bool next_event(struct thread *thread)
{
	(void)thread;
	return take_event();
}

static bool unwatch(struct watch *watch)
{
	int ret = daxpin_unwatch(world.pool, &watch->watch);

	EXPECT("unwatch", ret, 1);
	/* 0: another thread has taken the event and will set WATCH_FIRED. */
	while (!ret && atomic_load(&watch->state) != WATCH_FIRED)
		sched_yield();
	atomic_store(&watch->state, WATCH_UNUSED);
	return ret;
}

static bool watch(struct thread *thread)
{
	struct watch *watch = &thread->watch[chance(thread, WATCHES)];

	switch (atomic_load(&watch->state)) {
	case WATCH_SET:
		return !chance(thread, 4) && unwatch(watch);
	case WATCH_FIRED:
		atomic_store(&watch->state, WATCH_UNUSED);
		return false;
	default:
		atomic_store(&watch->state, WATCH_SET);
		EXPECT("watch", daxpin_watch(world.pool, pick(thread).extent,
					     watch, &watch->watch), 0);
		return true;
	}
}

/* ---------------------------------------------------------- gates and threads */

/* Most deadlines are too short; a drain that fails opens the gates again. */
static bool drain(struct thread *thread)
{
	uint64_t policy_ms = !chance(thread, 32);
	uint64_t now_ns = daxpin_deadline_ms(0);
	int ret;

	atomic_fetch_add(&world.gates_begun, 1);
	ret = daxpin_pool_drain(world.pool, policy_ms ?
				daxpin_deadline_ms(policy_ms) :
				now_ns + chance(thread, 50000));
	EXPECT("drain", ret, -ETIMEDOUT);
	if (ret) {
		atomic_fetch_add(&world.gates_over, 1);
		return true;
	}
	if (shadow_any_held())
		shadow_fail("a drain succeeded although something is held");
	atomic_store(&world.drained, true);
	usleep(1000);		/* other threads try to hold */
	atomic_store(&world.stop, true);
	return true;
}

static void *a_few_actions(void *arg)
{
	struct thread *thread = arg;

	for (int i = 0; i < 20; i++)
		hold(thread);
	return NULL;
}

/* A thread that ends soon, so that the next one reuses its thread slot. */
static bool short_thread(struct thread *thread)
{
	struct thread other = { .random = thread->random + 1 };

	if (pthread_create(&other.thread, NULL, a_few_actions, &other))
		return false;
	pthread_join(other.thread, NULL);
	return true;
}

/* -------------------------------------------------------------------- holes */

bool make_pad(struct thread *thread, struct slot *pad)
{
	bool done = false;

	pthread_mutex_lock(&pad->mutex);
	if (!pad->named.generation)
		done = !make(thread, PAD_BLOCKS, &pad->named);
	pthread_mutex_unlock(&pad->mutex);
	return done;
}

static bool pad(struct thread *thread)
{
	return make_pad(thread, &world.pad[chance(thread, world.pads)]);
}

/* If it is from that address on. No other thread knows its handle. */
static void free_pad(struct slot *pad, uint64_t begin)
{
	pthread_mutex_lock(&pad->mutex);
	if (pad->named.generation && pad->named.extent.addr >= begin) {
		check_stamps(pad->named, 0);
		shadow_ending(pad->named);
		EXPECT("cancel of a pad",
		       daxpin_cancel(world.pool, pad->named.extent), 0);
		pad->named.generation = 0;
	}
	pthread_mutex_unlock(&pad->mutex);
}

bool end_job(struct job *job)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	int ret;

	EXPECT("job_report", daxpin_job_report(job->job, NULL, NULL, &summary),
	       0);
	ret = daxpin_job_end(job->job);
	EXPECT("job_end", ret, -EBUSY);
	if (ret)
		return false;
	EXPECT("a job", summary.result, -EBUSY, -ETIMEDOUT, -ECANCELED,
	       -EINPROGRESS);
	job->job = NULL;
	atomic_fetch_add(&world.gates_over, 1);
	return true;
}

typedef int begin_job(struct daxpin_pool *pool,
		      const struct daxpin_job_options *options,
		      struct daxpin_job **ret_job);

/* Ends the job that is in progress, sometimes after a cancel, and begins another. */
static bool run_job(struct thread *thread, begin_job *begin)
{
	struct job *job = &world.job[chance(thread, JOBS)];
	uint32_t segment = chance(thread, 3);
	struct daxpin_job_options options = {
		.size = sizeof(options), .flags = world.job_flags,
		.segment = segment < 2 ? segment : DAXPIN_ALL_SEGMENTS,
		.bytes = chance(thread, 3) * DAXPIN_CHUNK_SIZE,
		.deadline_ns = daxpin_deadline_ms(chance(thread, 20)),
	};
	bool done = false;

	if (!world.jobs_in_use || pthread_mutex_trylock(&job->mutex))
		return false;
	if (job->job && !chance(thread, 4))
		EXPECT("job_cancel", daxpin_job_cancel(job->job), 0);
	if (!job->job || end_job(job)) {
		atomic_fetch_add(&world.gates_begun, 1);
		EXPECT("reclaim or refill", begin(world.pool, &options,
						  &job->job), 0);
		done = true;
	}
	pthread_mutex_unlock(&job->mutex);
	return done;
}

/* Frees a pad first, so that there is a chunk to give back. */
static bool reclaim(struct thread *thread)
{
	free_pad(&world.pad[chance(thread, world.pads)], 0);
	return run_job(thread, daxpin_reclaim);
}

static bool refill(struct thread *thread)
{
	return run_job(thread, daxpin_refill);
}

/* ---------------------------------------------------------- grow and shrink */

struct leaving {
	struct thread *thread;
	uint64_t begin;			/* of the segment that is removed */
};

void grow(void)
{
	EXPECT("grow", daxpin_pool_grow(world.pool, STRESS_SIZE_MAX, NULL), 0);
}

/* Adds ROOT of the copy, if a name is the original's. */
static void add_name(struct batch *batch, struct named original, struct named copy)
{
	struct daxpin_extent found;
	char *name = batch->name[batch->count];

	for (uint32_t i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(batch->name[0]), "r%u", i);
		if (daxpin_root(world.pool, name, &found) ||
		    found.addr != original.extent.addr)
			continue;
		add(batch, DAXPIN_OP_ROOT, copy);
		batch->op[batch->count - 1].name = name;
		return;
	}
}

/* The copy has the stamps of the original's generation. */
static void check_copy(struct named original, struct named copy)
{
	struct named as_original = { copy.extent, original.generation, copy.blocks };

	check_stamps(as_original, 0);
	write_stamps(copy);
}

/* Whoever uses the original's handle afterwards finds that it has ended. */
static void move(struct named original)
{
	struct batch batch = { .count = 0 };
	struct daxpin_extent extent;
	struct named copy;
	int ret = daxpin_copy(world.pool, original.extent, NULL, &extent);

	EXPECT("copy", ret, -ENOSPC, -EAGAIN, -EALREADY, -EBUSY);
	if (ret)
		return;
	copy = shadow_begin(extent, original.blocks);
	objects_expect_none(extent, original.blocks);
	check_copy(original, copy);
	add(&batch, DAXPIN_OP_KEEP, copy);
	add(&batch, DAXPIN_OP_RETIRE, original);
	add_name(&batch, original, copy);
	if (!run_batch(&batch) && shadow_ending(copy))
		EXPECT("cancel of a copy", daxpin_cancel(world.pool, extent), 0);
}

static int move_seen(struct daxpin_pool *pool, struct daxpin_extent extent,
		     uint64_t size, void *arg)
{
	struct named found = { .extent = extent };
	struct leaving *leaving = arg;
	struct held held;

	(void)pool;
	(void)size;
	if (!take(leaving->thread, found, &held))
		return 0;
	if (chance(leaving->thread, 2))
		move(held.named);
	else
		retire_one(held.named);
	release_child(leaving->thread, held);
	return 0;
}

/* Moves or ends what is there, as progress(). */
static int leave(struct daxpin_pool *pool, const struct daxpin_shrink_wait *wait,
		 void *arg)
{
	struct leaving *leaving = arg;

	if (wait->segment != leaving->begin / STRESS_SEGMENT)
		shadow_fail("segment %u prevents a shrink", wait->segment);
	EXPECT("foreach_in", daxpin_foreach_in(pool, leaving->begin, 0, move_seen, arg),
	       0);
	for (int i = 0; i < SLOTS; i++) {
		struct named named;

		pthread_mutex_lock(&world.slot[i].mutex);
		named = world.slot[i].named;
		pthread_mutex_unlock(&world.slot[i].mutex);
		if (named.extent.addr >= leaving->begin)
			cancel_one(named);
	}
	for (int i = 0; i < PADS; i++)
		free_pad(&world.pad[i], leaving->begin);
	objects_leave(leaving->begin);
	drop_from_bag(leaving->thread);
	return 0;
}

bool shrink(struct thread *thread, uint32_t ms)
{
	struct leaving leaving = { thread, STRESS_SIZE };
	char errmsg[300] = "";
	const struct daxpin_shrink_options options = {
		.size = sizeof(options), .deadline_ns = daxpin_deadline_ms(ms),
		.progress = leave, .progress_arg = &leaving,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	int ret;

	atomic_fetch_add(&world.gates_begun, 1);
	ret = daxpin_pool_shrink(world.pool, STRESS_SIZE, &options);
	atomic_fetch_add(&world.gates_over, 1);
	if (ret && ret != -EBUSY)
		shadow_fail("shrink: %d, %s", ret, errmsg);
	if (!ret)
		shadow_removed(STRESS_SIZE / DAXPIN_BLOCK_SIZE);
	return !ret;
}

/* ------------------------------------------------------------------- choice */

/* To add an action, add a line. */
const struct action actions[] = {
	{ "reserve", 1500, reserve },
	{ "cancel", 150, cancel },
	{ "keep", 600, keep },
	{ "retire", 300, retire },
	{ "set", 300, set },
	{ "batch", 300, publish_some },
	{ "replace", 200, replace },
	{ "walk", 25, walk },
	{ "object", 600, object_step },
	{ "object read", 100, object_read },
	{ "object batch", 150, object_batch },
	{ "hold", 2000, hold },
	{ "clone", 200, clone_hold },
	{ "alone", 300, hold_exclusively },
	{ "many", 300, hold_many },
	{ "found", 200, hold_found },
	{ "dropped by another", 1500, drop_from_bag },
	{ "read", 100, read_out },
	{ "wait", 100, wait_idle },
	{ "watch", 300, watch },
	{ "event", 150, next_event },
	{ "pad", 80, pad },
	{ "reclaim", 15, reclaim },
	{ "refill", 10, refill },
	{ "drain", 10, drain },
	{ "short thread", 10, short_thread },
};

uint32_t action_count(void)
{
	return sizeof(actions) / sizeof(actions[0]);
}

int act(struct thread *thread)
{
	uint32_t sum = 0, at, i;

	for (i = 0; i < action_count(); i++)
		sum += actions[i].weight;
	at = chance(thread, sum);
	for (i = 0; at >= actions[i].weight; i++)
		at -= actions[i].weight;
	return actions[i].act(thread) ? (int)i : -1;
}
