/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The states of small objects and the lists of slabs, without a medium: which slab an
 * object comes from, and when a slab becomes free.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <stdarg.h>
#include <cmocka.h>
#include "extent/objects.h"

#define BLOCKS		2048u
#define SLAB_BLOCKS	16u
#define COUNT		40u		/* objects of a slab: a word of states, and a
					   part of one */
#define SIZE		48u
#define KEPT		64u		/* as in objects.c */

static struct dp_objects objects;
static const _Atomic uint64_t blocks = BLOCKS;
static uint32_t slabs;			/* made by this test */

static int set_up(void **state)
{
	struct dp_object_class class[DP_OBJECT_CLASSES];

	(void)state;
	for (uint32_t i = 0; i < DP_OBJECT_CLASSES; i++)
		class[i] = (struct dp_object_class) { SIZE, COUNT, 64 };
	memset(&objects, 0, sizeof(objects));
	slabs = 0;
	return dp_objects_init(&objects, &blocks, BLOCKS, SLAB_BLOCKS, class);
}

static int tear_down(void **state)
{
	(void)state;
	dp_objects_fini(&objects);
	return 0;
}

static struct dp_slab *new_slab(uint32_t class)
{
	struct dp_slab *slab = dp_slab_new(&objects, class,
					   ++slabs * SLAB_BLOCKS * 4096ull);

	assert_non_null(slab);
	return slab;
}

static struct dp_slab *own_slab(uint32_t class)
{
	struct dp_slab *slab = new_slab(class);

	assert_true(dp_slab_own(&objects, slab));
	return slab;
}

static uint64_t reserve(uint32_t class)
{
	uint64_t addr;

	if (dp_object_try(&objects, class, &addr) ||
	    dp_object_reserve(&objects, class, &addr))
		return addr;
	own_slab(class);
	assert_true(dp_object_try(&objects, class, &addr));
	return addr;
}

static struct dp_object find(uint64_t addr)
{
	struct dp_object object;

	assert_true(dp_object_find(&objects, addr, &object));
	assert_int_equal(dp_object_addr(object), addr);
	return object;
}

/* The slab that has to be freed, or NULL. */
static struct dp_slab *cancel(uint64_t addr)
{
	struct dp_slab *closing = NULL;

	assert_int_equal(dp_object_cancel(&objects, find(addr), &closing), 0);
	return closing;
}

/* ------------------------------------------------------------------ addresses */

static void only_addresses_of_objects_are_found(void **state)
{
	struct dp_slab *slab = own_slab(0);
	uint64_t addr = dp_slab_addr(slab), end = addr + SLAB_BLOCKS * 4096;
	uint32_t found = 0;

	(void)state;
	for (uint64_t at = addr - 4096; at < end + 4096; at++) {
		struct dp_object object;

		if (!dp_object_find(&objects, at, &object))
			continue;
		assert_int_equal(at, addr + 64 + found * SIZE);
		assert_int_equal(object.index, found++);
	}
	assert_int_equal(found, COUNT);
	assert_null(dp_slab_at(&objects, BLOCKS));
	assert_null(dp_slab_at(&objects, UINT64_MAX));
}

/* The reference divides. */
static void expect_found(struct dp_slab *slab, const struct dp_object_class *of,
			 uint64_t addr)
{
	uint64_t offset = addr - dp_slab_first(slab);
	bool is_one = addr >= dp_slab_first(slab) && offset % of->size == 0 &&
		      offset / of->size < of->count;
	struct dp_object object;

	assert_int_equal(dp_slab_find(slab, addr, &object), is_one);
	if (is_one)
		assert_int_equal(object.index, offset / of->size);
}

static void objects_of_every_size_are_found(void **state)
{
	const uint64_t addr = 7 * SLAB_BLOCKS * 4096;

	(void)state;
	for (uint32_t size = 16; size <= 2048; size += 16) {
		struct dp_object_class of = { size, 65000 / size, 64 };
		struct dp_slab *slab = dp_slab_make(0, &of);

		assert_non_null(slab);
		dp_slab_begin(slab, addr);
		for (uint64_t at = addr - 128; at < addr + 65536 + 128; at++)
			expect_found(slab, &of, at);
		expect_found(slab, &of, 0);
		expect_found(slab, &of, UINT64_MAX);
		free(slab);
	}
}

/* A word on media has 47 objects, a word of states 32. */
static void the_objects_of_an_open_are_live_or_free(void **state)
{
	const struct dp_object_class of = { 64, 1013, 192 };
	struct dp_slab *slab = dp_slab_make(0, &of);
	uint64_t random = 88172645463325252ull, live[22];

	(void)state;
	assert_non_null(slab);
	dp_slab_begin(slab, 0);
	for (uint32_t i = 0; i < 22; i++) {
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		live[i] = i % 5 ? random & DP_SLAB_BITS : i % 2 ? 0 : DP_SLAB_BITS;
		if (i == 21)	/* the last one has 26 objects */
			live[i] = (1ull << 26) - 2;
		dp_slab_restore(slab, i, live[i]);
	}
	for (uint32_t i = 0; i < of.count; i++) {
		struct dp_object object = { slab, i };
		bool is_live = live[i / 47] >> i % 47 & 1;

		assert_int_equal(dp_object_state(object),
				 is_live ? DP_OBJECT_LIVE : DP_OBJECT_FREE);
		assert_int_equal(dp_object_is_on_media(object), is_live);
	}
	assert_false(dp_slab_is_full(slab));
	assert_int_equal(dp_slab_live_count(slab) + dp_slab_free_count(slab), of.count);
	free(slab);
}

/* --------------------------------------------------------------------- states */

static void each_state_allows_its_changes_only(void **state)
{
	struct dp_slab *closing;
	struct dp_object object = find(reserve(0));

	(void)state;
	reserve(0);
	assert_int_equal(dp_object_claim(object, DP_OBJECT_LIVE), -EINVAL);
	assert_int_equal(dp_object_claim(object, DP_OBJECT_RESERVED), 0);
	assert_int_equal(dp_object_claim(object, DP_OBJECT_RESERVED), -EBUSY);
	assert_int_equal(dp_object_claim(object, DP_OBJECT_LIVE), -EBUSY);
	assert_int_equal(dp_object_cancel(&objects, object, &closing), -EBUSY);
	dp_object_settle(object, DP_OBJECT_RESERVED);
	assert_int_equal(dp_object_claim(object, DP_OBJECT_RESERVED), 0);
	dp_object_settle(object, DP_OBJECT_LIVE);
	assert_int_equal(dp_object_claim(object, DP_OBJECT_RESERVED), -EINVAL);
	assert_int_equal(dp_object_cancel(&objects, object, &closing), -EINVAL);
	assert_int_equal(dp_object_claim(object, DP_OBJECT_LIVE), 0);
	dp_object_settle_freed(&objects, object, &closing);
	assert_int_equal(dp_object_claim(object, DP_OBJECT_RESERVED), -ESTALE);
	assert_int_equal(dp_object_claim(object, DP_OBJECT_LIVE), -ESTALE);
	assert_int_equal(dp_object_cancel(&objects, object, &closing), -ESTALE);
}

static void a_slab_has_its_count_of_objects(void **state)
{
	struct dp_slab *slab = own_slab(3);
	uint64_t addr;

	(void)state;
	for (uint32_t i = 0; i < COUNT; i++) {
		assert_true(dp_object_try(&objects, 3, &addr) ||
			    dp_object_reserve(&objects, 3, &addr));
		assert_int_equal(addr, dp_slab_addr(slab) + 64 + i * SIZE);
	}
	assert_false(dp_object_try(&objects, 3, &addr));
	assert_false(dp_object_reserve(&objects, 3, &addr));
	assert_false(dp_object_steal(&objects, 3, &addr));
	/* Nor in a slab of another class. */
	own_slab(4);
	assert_false(dp_object_reserve(&objects, 3, &addr));
}

/* ---------------------------------------------------------------------- lists */

/* Fill slabs, and return their objects in order. */
static void fill(uint32_t count, uint64_t *addr)
{
	for (uint32_t i = 0; i < count * COUNT; i++)
		addr[i] = reserve(0);
	assert_int_equal(slabs, count);
}

static void a_full_slab_is_used_again_when_an_object_was_freed(void **state)
{
	uint64_t addr[3 * COUNT];

	(void)state;
	fill(3, addr);
	assert_null(cancel(addr[7]));
	assert_int_equal(reserve(0), addr[7]);
	assert_null(cancel(addr[COUNT + 39]));
	assert_int_equal(reserve(0), addr[COUNT + 39]);
	assert_int_equal(slabs, 3);
}

static void the_fullest_of_several_slabs_is_used_first(void **state)
{
	uint64_t addr[4 * COUNT];

	(void)state;
	fill(4, addr);
	for (uint32_t i = 0; i < 5; i++) {
		assert_null(cancel(addr[i]));
		assert_null(cancel(addr[2 * COUNT + i]));
	}
	assert_null(cancel(addr[COUNT]));
	assert_int_equal(reserve(0), addr[COUNT]);
}

static void some_empty_slabs_are_kept_and_the_next_one_is_freed(void **state)
{
	static uint64_t addr[(KEPT + 2) * COUNT];
	struct dp_slab *closing;

	(void)state;
	fill(KEPT + 2, addr);
	for (uint32_t i = 0; i < KEPT * COUNT; i++)
		assert_null(cancel(addr[i]));
	for (uint32_t i = 0; i < COUNT - 1; i++)
		assert_null(cancel(addr[KEPT * COUNT + i]));
	closing = cancel(addr[KEPT * COUNT + COUNT - 1]);
	assert_ptr_equal(closing, find(addr[KEPT * COUNT]).slab);
	dp_slab_forget(&objects, closing);
	assert_null(dp_slab_at(&objects, addr[KEPT * COUNT] >> 12));
	/* One of the others is used for the next object, and is not empty any more. */
	reserve(0);
	assert_int_equal(slabs, KEPT + 2);
	for (uint32_t i = 0; i < KEPT - 1; i++) {
		closing = dp_slab_take_empty(&objects, 0);
		assert_non_null(closing);
		dp_slab_forget(&objects, closing);
	}
	assert_null(dp_slab_take_empty(&objects, 0));
}

static void an_empty_slab_is_used_after_one_that_is_not(void **state)
{
	uint64_t addr[3 * COUNT];

	(void)state;
	fill(3, addr);
	for (uint32_t i = 0; i < COUNT; i++)
		assert_null(cancel(addr[i]));
	assert_null(cancel(addr[COUNT]));
	assert_int_equal(reserve(0), addr[COUNT]);
	assert_ptr_equal(find(reserve(0)).slab, find(addr[0]).slab);
	assert_int_equal(slabs, 3);
}

static void a_current_slab_that_is_empty_can_be_taken(void **state)
{
	uint64_t addr = reserve(0), other;
	struct dp_slab *slab;

	(void)state;
	assert_null(dp_slab_take_empty(&objects, 0));
	assert_null(cancel(addr));
	slab = dp_slab_take_empty(&objects, 0);
	assert_non_null(slab);
	assert_false(dp_object_try(&objects, 0, &other));
	assert_false(dp_object_reserve(&objects, 0, &other));
	assert_false(dp_object_steal(&objects, 0, &other));
	dp_slab_forget(&objects, slab);
	assert_int_equal(dp_objects_count(&objects).slabs, 0);
	/* Its memory is used for the next slab of the class. */
	assert_ptr_equal(own_slab(0), slab);
}

/* A thread that has read which slab is its current one, and is slow. */
static void a_late_reserve_in_a_withdrawn_slab_delays_its_end(void **state)
{
	uint64_t addr = reserve(0), late = 0, other;
	struct dp_slab *slab = find(addr).slab, *next;

	(void)state;
	dp_objects_withdraw_from(&objects, dp_slab_addr(slab));
	assert_null(dp_slab_withdraw(&objects, NULL));
	assert_false(dp_object_try(&objects, 0, &other));
	assert_false(dp_object_reserve(&objects, 0, &other));
	assert_false(dp_object_steal(&objects, 0, &other));
	assert_true(dp_slab_pop(slab, 0, &late));
	assert_null(cancel(addr));
	assert_ptr_equal(cancel(late), slab);
	/* No more. */
	assert_false(dp_slab_pop(slab, 0, &late));
	dp_slab_forget(&objects, slab);
	/* A slab that was being made meanwhile; then the shrink fails. */
	next = new_slab(0);
	assert_false(dp_slab_own(&objects, next));
	dp_slab_forget(&objects, next);
	dp_objects_reopen(&objects);
	assert_ptr_not_equal(own_slab(0), slab);
	assert_false(dp_slab_pop(slab, 0, &late));
}

static void objects_of_a_bad_block_are_never_reserved(void **state)
{
	struct dp_slab *slab = new_slab(0);
	uint64_t addr, live = dp_slab_addr(slab) + 64 + SIZE;

	(void)state;
	dp_slab_restore(slab, 0, 2);		/* object 1 is live */
	dp_slab_add(&objects, slab);
	/* Bytes of objects 0, 1 and 2. */
	dp_slab_bar(&objects, slab, 64 + SIZE - 1, 64 + 2 * SIZE + 1);
	assert_true(dp_slab_has_bad(slab));
	for (uint32_t i = 0; i < COUNT - 3; i++) {
		assert_true(dp_object_reserve(&objects, 0, &addr));
		assert_true(addr >= live + 2 * SIZE);
	}
	assert_false(dp_object_reserve(&objects, 0, &addr));
	assert_int_equal(dp_object_state(find(live)), DP_OBJECT_LIVE);
}

/* --------------------------------------------------------------------- threads */

static void *reserve_stolen(void *arg)
{
	uint64_t *addr = arg;

	if (!dp_object_reserve(&objects, 0, addr) &&
	    !dp_object_steal(&objects, 0, addr))
		*addr = 0;
	return NULL;
}

static void another_thread_can_steal_from_a_current_slab(void **state)
{
	uint64_t mine = reserve(0), stolen = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, reserve_stolen, &stolen), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(stolen && stolen != mine);
	assert_ptr_equal(find(stolen).slab, find(mine).slab);
}

#define THREADS	4u
#define ROUNDS	200u

static _Atomic uint64_t passed[THREADS][64];	/* from one thread to the next */
static _Atomic uint32_t owners[BLOCKS * 4096 / 16];

/* The slabs that are closed are forgotten at once, and their addresses used again. */
static pthread_mutex_t space = PTHREAD_MUTEX_INITIALIZER;
static uint64_t free_space[BLOCKS / SLAB_BLOCKS];
static uint32_t free_count;

static uint64_t take_object(void)
{
	uint64_t addr, at;

	while (!dp_object_try(&objects, 0, &addr) &&
	       !dp_object_reserve(&objects, 0, &addr)) {
		pthread_mutex_lock(&space);
		assert_true(free_count);
		at = free_space[--free_count];
		pthread_mutex_unlock(&space);
		dp_slab_own(&objects, dp_slab_new(&objects, 0, at));
	}
	/* I65 */
	assert_int_equal(atomic_fetch_add(&owners[addr / 16], 1), 0);
	return addr;
}

static void give_object(uint64_t addr)
{
	struct dp_slab *closing;

	assert_int_equal(atomic_fetch_sub(&owners[addr / 16], 1), 1);
	closing = cancel(addr);
	if (!closing)
		return;
	addr = dp_slab_addr(closing);
	dp_slab_forget(&objects, closing);
	pthread_mutex_lock(&space);
	free_space[free_count++] = addr;
	pthread_mutex_unlock(&space);
}

static void *pass_objects(void *arg)
{
	uint32_t mine = (uintptr_t)arg;

	for (uint32_t round = 0; round < ROUNDS; round++)
		for (uint32_t i = 0; i < 64; i++) {
			uint64_t addr = take_object(), was;

			was = atomic_exchange(&passed[(mine + 1) % THREADS][i], addr);
			if (was)
				give_object(was);
			was = atomic_exchange(&passed[mine][i], 0);
			if (was)
				give_object(was);
		}
	return NULL;
}

static void threads_that_free_each_others_objects_share_none(void **state)
{
	pthread_t thread[THREADS];

	(void)state;
	for (free_count = 0; free_count < BLOCKS / SLAB_BLOCKS; free_count++)
		free_space[free_count] = free_count * SLAB_BLOCKS * 4096ull;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, pass_objects,
						(void *)i), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		for (uint32_t j = 0; j < 64; j++)
			if (passed[i][j])
				give_object(passed[i][j]);
	/* One for each thread, and those that are kept. */
	assert_true(dp_objects_count(&objects).slabs <= THREADS + KEPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(only_addresses_of_objects_are_found),
		TEST(objects_of_every_size_are_found),
		TEST(the_objects_of_an_open_are_live_or_free),
		TEST(each_state_allows_its_changes_only),
		TEST(a_slab_has_its_count_of_objects),
		TEST(a_full_slab_is_used_again_when_an_object_was_freed),
		TEST(the_fullest_of_several_slabs_is_used_first),
		TEST(some_empty_slabs_are_kept_and_the_next_one_is_freed),
		TEST(an_empty_slab_is_used_after_one_that_is_not),
		TEST(a_current_slab_that_is_empty_can_be_taken),
		TEST(a_late_reserve_in_a_withdrawn_slab_delays_its_end),
		TEST(objects_of_a_bad_block_are_never_reserved),
		TEST(another_thread_can_steal_from_a_current_slab),
		TEST(threads_that_free_each_others_objects_share_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
