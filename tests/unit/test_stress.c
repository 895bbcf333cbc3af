/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads reserve, hold, publish, retire and drop at random. A shadow map says
 * who owns each block; a block handed out while its last life is held, or to
 * two at once, is a failure. Made for the thread sanitizer too. The seed is
 * printed; DAXPIN_TEST_SEED and DAXPIN_TEST_ROUNDS repeat or lengthen a run.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "fixture.h"
#include "invariant.h"

#define THREADS		4
#define SLOTS		32
#define BLOCKS		(64 << 20 >> 12)

struct slot {
	pthread_mutex_t mutex;
	struct daxpin_extent extent;
	uint32_t blocks;		/* 0: empty */
};

static struct {
	struct fixture *f;
	struct slot slot[SLOTS];
	_Atomic uint64_t owner[BLOCKS];	/* gen of the life that has the block */
	_Atomic uint64_t holds;
	unsigned int seed;
	int rounds;
} world;

static unsigned int number(const char *name, unsigned int otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

/* The first thing a life does, and the last thing before it can end. */
static void own(struct daxpin_extent extent, uint32_t blocks)
{
	for (uint32_t i = 0; i < blocks; i++) {
		uint64_t nobody = 0;

		if (!atomic_compare_exchange_strong(
			    &world.owner[(extent.addr >> 12) + i], &nobody,
			    extent.gen))
			fail_msg("block %llu has two owners",
				 (unsigned long long)(extent.addr >> 12) + i);
	}
}

static void disown(struct daxpin_extent extent, uint32_t blocks)
{
	for (uint32_t i = 0; i < blocks; i++)
		atomic_store(&world.owner[(extent.addr >> 12) + i], 0);
}

static void fill_slot(struct slot *slot, unsigned int *seed)
{
	struct daxpin_pool *pool = world.f->pool;
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP };
	uint32_t blocks = 1 + rand_r(seed) % 200;

	if (daxpin_reserve(pool, blocks * 4096ull, 0, &op.extent))
		return;
	own(op.extent, blocks);
	assert_int_equal(daxpin_publish(pool, &op, 1), 0);
	slot->extent = op.extent;
	slot->blocks = blocks;
}

/*
 * Retire with a hold of our own: the blocks must stay ours until the drop. The
 * shadow is cleared just before that drop; whoever else holds the extent only
 * keeps it longer.
 */
static void empty_slot(struct slot *slot)
{
	struct daxpin_pool *pool = world.f->pool;
	struct daxpin_extent extent = slot->extent;
	uint32_t blocks = slot->blocks;
	struct daxpin_op op = { .type = DAXPIN_OP_RETIRE, .extent = extent };

	assert_int_equal(daxpin_hold(pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_publish(pool, &op, 1), 0);
	slot->blocks = 0;
	pthread_mutex_unlock(&slot->mutex);
	sched_yield();
	disown(extent, blocks);
	assert_int_equal(daxpin_drop(pool, extent), 0);
	pthread_mutex_lock(&slot->mutex);
}

/* A hold by a handle that may go stale at any time. */
static void use_slot(struct daxpin_extent extent, bool labelled, bool wait)
{
	struct daxpin_pool *pool = world.f->pool;
	struct daxpin_hold hold = { .access = 0 };
	int ret;

	if (labelled)
		ret = daxpin_hold_labelled(pool, extent, DAXPIN_HOLD_READ,
					   "stress", &hold);
	else
		ret = daxpin_hold(pool, extent, DAXPIN_HOLD_READ);
	if (ret) {
		assert_true(ret == -ESTALE || ret == -EALREADY);
		return;
	}
	atomic_fetch_add(&world.holds, 1);
	sched_yield();
	assert_int_equal(daxpin_idle(pool, extent), 0);
	if (labelled)
		assert_int_equal(daxpin_drop_labelled(pool, &hold), 0);
	else
		assert_int_equal(daxpin_drop(pool, extent), 0);
	if (wait)
		daxpin_wait_idle(pool, extent, daxpin_deadline_ms(1));
}

static void *work(void *arg)
{
	unsigned int seed = world.seed + (uintptr_t)arg;

	for (int i = 0; i < world.rounds; i++) {
		struct slot *slot = &world.slot[rand_r(&seed) % SLOTS];
		struct daxpin_extent extent;
		uint32_t blocks;

		pthread_mutex_lock(&slot->mutex);
		extent = slot->extent;
		blocks = slot->blocks;
		if (!blocks)
			fill_slot(slot, &seed);
		else if (rand_r(&seed) % 4 == 0)
			empty_slot(slot);
		pthread_mutex_unlock(&slot->mutex);
		if (blocks)
			use_slot(extent, i & 1, i % 16 == 0);
	}
	return NULL;
}

static void no_block_has_two_lives_at_once(void **state)
{
	pthread_t thread[THREADS];

	world.f = *state;
	world.seed = number("DAXPIN_TEST_SEED", time(NULL));
	world.rounds = number("DAXPIN_TEST_ROUNDS", 20000);
	print_message("# DAXPIN_TEST_SEED=%u\n", world.seed);
	for (int i = 0; i < SLOTS; i++)
		pthread_mutex_init(&world.slot[i].mutex, NULL);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, work,
						(void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_true(atomic_load(&world.holds) > 0);
	dp_invariants(world.f->pool);
	assert_int_equal(fixture_reopen(world.f), 0);
	dp_invariants(world.f->pool);
}

/* More threads than stripes, short-lived: hand-over and the shared stripe. */
static void *hold_and_leave(void *arg)
{
	struct daxpin_extent *extent = arg;

	for (int i = 0; i < 100; i++) {
		assert_int_equal(daxpin_hold(world.f->pool, *extent,
					     DAXPIN_HOLD_READ), 0);
		assert_int_equal(daxpin_drop(world.f->pool, *extent), 0);
	}
	return NULL;
}

static void counts_survive_their_threads(void **state)
{
	pthread_t thread[100];
	struct daxpin_extent extent;

	world.f = *state;
	extent = live(world.f, 4096);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 100; i++)
			assert_int_equal(pthread_create(&thread[i], NULL,
							hold_and_leave,
							&extent), 0);
		for (int i = 0; i < 100; i++)
			pthread_join(thread[i], NULL);
		dp_invariants(world.f->pool);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
						   fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(no_block_has_two_lives_at_once),
		TEST(counts_survive_their_threads),
	};

	return cmocka_run_group_tests_name("stress", tests, NULL, NULL);
}
