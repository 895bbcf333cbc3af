/* SPDX-License-Identifier: BSD-3-Clause */
/* examples/kv: its calls, and kills in the middle of them. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include "child.h"
#include "fixture.h"
#include "table.h"

struct store {
	struct fixture *f;
	struct kv *kv;
};

static int store_setup(void **state)
{
	struct store *s = calloc(1, sizeof(*s));
	void *f;

	if (!s || fixture_setup_sized(&f, 256 << 20))
		return -1;
	s->f = f;
	*state = s;
	return kv_make(s->f->pool) || kv_open(s->f->pool, &s->kv);
}

/* The store must agree with the pool after every test. */
static int store_teardown(void **state)
{
	struct store *s = *state;
	struct kv_counts counts;
	void *f = s->f;
	int ret = kv_check(s->kv, &counts);

	kv_close(s->kv);
	free(s);
	return fixture_teardown(&f) || ret || counts.leaked || counts.broken;
}

static void store_reopen(struct store *s)
{
	kv_close(s->kv);
	assert_int_equal(fixture_reopen(s->f), 0);
	assert_int_equal(kv_open(s->f->pool, &s->kv), 0);
}

static struct kv_bytes text(const char *bytes)
{
	return (struct kv_bytes) { bytes, strlen(bytes) };
}

static struct kv_counts check(struct store *s)
{
	struct kv_counts counts;

	assert_int_equal(kv_check(s->kv, &counts), 0);
	assert_int_equal(counts.leaked, 0);
	assert_int_equal(counts.broken, 0);
	return counts;
}

/* ----------------------------------------------------- keys and their values */

/* A value of that version: its size and its bytes follow from key and version. */
struct value {
	char bytes[70000];
	size_t size;
};

static void value_make(struct value *value, uint32_t key, uint32_t version)
{
	static const uint32_t sizes[] = { 0, 7, 100, 900, 2020, 5000, 69000 };
	uint32_t seed = key * 2654435761u + version * 40503u + 1;

	value->size = sizes[seed % 7] + version % 13;
	for (size_t i = 0; i < value->size; i++) {
		seed = seed * 1664525u + 1013904223u;
		value->bytes[i] = seed >> 24;
	}
}

static struct kv_bytes key_of(char name[32], uint32_t key)
{
	snprintf(name, 32, "key %u", key);
	return text(name);
}

static int put_version(struct kv *kv, uint32_t key, uint32_t version)
{
	struct value value;
	char name[32];

	value_make(&value, key, version);
	return kv_put(kv, key_of(name, key),
		      (struct kv_bytes) { value.bytes, value.size });
}

/* Does the key have the value of that version? Version 0: there is no such key. */
static bool has_version(struct kv *kv, uint32_t key, uint32_t version)
{
	struct value value, found;
	char name[32];
	int ret = kv_get(kv, key_of(name, key), found.bytes, sizeof(found.bytes),
			 &found.size);

	if (!version)
		return ret == -ENOENT;
	value_make(&value, key, version);
	return !ret && found.size == value.size &&
	       !memcmp(found.bytes, value.bytes, value.size);
}

/* -------------------------------------------------------------------- calls */

static void a_value_is_found_after_a_reopen(void **state)
{
	struct store *s = *state;

	for (uint32_t key = 0; key < 50; key++)
		assert_int_equal(put_version(s->kv, key, key + 1), 0);
	store_reopen(s);
	for (uint32_t key = 0; key < 50; key++)
		assert_true(has_version(s->kv, key, key + 1));
	assert_int_equal(check(s).keys, 50);
}

static void a_put_replaces_the_value_and_frees_the_old_one(void **state)
{
	struct store *s = *state;

	for (uint32_t version = 1; version < 100; version++) {
		assert_int_equal(put_version(s->kv, 3, version), 0);
		assert_true(has_version(s->kv, 3, version));
	}
	assert_int_equal(check(s).keys, 1);
}

static void a_deleted_key_is_gone_and_can_come_back(void **state)
{
	struct store *s = *state;

	assert_int_equal(put_version(s->kv, 1, 1), 0);
	assert_int_equal(kv_delete(s->kv, text("key 1")), 0);
	assert_int_equal(kv_delete(s->kv, text("key 1")), -ENOENT);
	assert_true(has_version(s->kv, 1, 0));
	assert_int_equal(check(s).removed, 1);
	assert_int_equal(put_version(s->kv, 1, 2), 0);
	assert_int_equal(check(s).removed, 0);
	assert_true(has_version(s->kv, 1, 2));
}

/* 30000 keys make the tables larger. Then most are deleted, and new keys are put and
 * deleted until the tables were rebuilt without the removed slots. */
static void tables_grow_and_lose_removed_slots(void **state)
{
	struct store *s = *state;
	struct kv_counts most;
	char name[32];

	for (uint32_t key = 0; key < 30000; key++)
		assert_int_equal(kv_put(s->kv, key_of(name, key), text("x")), 0);
	most = check(s);
	assert_int_equal(most.keys, 30000);
	assert_true(most.slots > 40000);
	for (uint32_t key = 0; key < 29000; key++)
		assert_int_equal(kv_delete(s->kv, key_of(name, key)), 0);
	for (uint32_t key = 30000; key < 130000; key++) {
		assert_int_equal(kv_put(s->kv, key_of(name, key), text("y")), 0);
		assert_int_equal(kv_delete(s->kv, key_of(name, key)), 0);
	}
	assert_int_equal(check(s).keys, 1000);
	assert_int_equal(check(s).slots, most.slots);
	/* More keys were put than the tables have slots. */
	assert_true(most.slots < 100000);
	assert_true(check(s).removed <= most.slots / 4 * 3);
	store_reopen(s);
	assert_int_equal(check(s).keys, 1000);
}

static void a_held_value_outlives_its_key(void **state)
{
	struct store *s = *state;
	char bytes[8192];
	struct kv_hold hold;
	uint64_t before;

	memset(bytes, 'a', sizeof(bytes));
	assert_int_equal(kv_put(s->kv, text("k"),
				(struct kv_bytes) { bytes, sizeof(bytes) }), 0);
	assert_int_equal(kv_hold(s->kv, text("k"), &hold), 0);
	assert_int_equal(hold.size, sizeof(bytes));
	assert_int_equal(kv_put(s->kv, text("k"), text("new")), 0);
	before = free_bytes(s->f);
	assert_memory_equal(daxpin_ptr(s->f->pool, hold.extent, hold.offset),
			    bytes, sizeof(bytes));
	assert_int_equal(kv_drop(s->kv, &hold), 0);
	assert_true(free_bytes(s->f) > before);
}

static void a_small_value_cannot_be_held(void **state)
{
	struct store *s = *state;
	struct kv_hold hold;

	assert_int_equal(kv_put(s->kv, text("k"), text("small")), 0);
	assert_int_equal(kv_hold(s->kv, text("k"), &hold), -EOPNOTSUPP);
	assert_int_equal(kv_hold(s->kv, text("none"), &hold), -ENOENT);
}

static void keys_of_a_wrong_size_are_refused(void **state)
{
	struct store *s = *state;
	char name[KV_KEY_MAX + 1] = { 0 };

	assert_int_equal(kv_put(s->kv, text(""), text("v")), -EINVAL);
	assert_int_equal(kv_put(s->kv, (struct kv_bytes) { name, sizeof(name) },
				text("v")), -EINVAL);
	assert_int_equal(kv_put(s->kv, (struct kv_bytes) { name, KV_KEY_MAX },
				text("v")), 0);
	assert_int_equal(check(s).keys, 1);
}

static void a_value_larger_than_an_extent_is_refused(void **state)
{
	struct store *s = *state;
	size_t size = pool_info(s->f).largest_extent;
	char *bytes = calloc(1, size);

	assert_non_null(bytes);
	assert_int_equal(kv_put(s->kv, text("k"), (struct kv_bytes) { bytes, size }),
			 -EFBIG);
	free(bytes);
	assert_int_equal(check(s).keys, 0);
}

static void a_full_pool_refuses_a_put_and_keeps_the_rest(void **state)
{
	struct store *s = *state;
	uint32_t key = 0;
	char name[32];
	int ret;

	while (!(ret = put_version(s->kv, key, 1)))
		key++;
	assert_int_equal(ret, -ENOSPC);
	assert_int_equal(check(s).keys, key);
	for (uint32_t i = 0; i < key; i++)
		assert_true(has_version(s->kv, i, 1));
	/* A delete needs no space. */
	for (uint32_t i = 0; i < key; i++)
		assert_int_equal(kv_delete(s->kv, key_of(name, i)), 0);
	assert_int_equal(put_version(s->kv, key, 1), 0);
}

static void a_root_of_another_program_is_not_taken_for_a_store(void **state)
{
	struct fixture *f = *state;
	struct daxpin_op op = { .type = DAXPIN_OP_ROOT, .name = "kv" };
	struct kv *kv;

	op.extent = live(f, 4096);
	memset(daxpin_ptr(f->pool, op.extent, 0), 0xee, 4096);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	assert_int_equal(kv_open(f->pool, &kv), -EMEDIUMTYPE);
}

/* ------------------------------------------------- what is no store, or not whole */

static void an_open_makes_no_store(void **state)
{
	struct fixture *f = *state;
	uint64_t room = free_bytes(f);
	struct kv *kv;

	assert_int_equal(kv_open(f->pool, &kv), -ENOENT);
	assert_int_equal(free_bytes(f), room);
	assert_int_equal(kv_make(f->pool), 0);
	assert_int_equal(kv_make(f->pool), -EEXIST);
	assert_int_equal(kv_open(f->pool, &kv), 0);
	kv_close(kv);
}

static void assert_refused(struct fixture *f, int error)
{
	uint64_t room = free_bytes(f);
	struct kv *kv;

	assert_int_equal(kv_open(f->pool, &kv), error);
	assert_int_equal(kv_make(f->pool), error);
	assert_int_equal(free_bytes(f), room);
}

/* As after a repair that has cleared its slot. */
static void a_store_without_its_root_is_refused(void **state)
{
	struct daxpin_op op = { .type = DAXPIN_OP_ROOT, .name = "kv" };
	struct fixture *f = *state;

	assert_int_equal(kv_make(f->pool), 0);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	assert_refused(f, -ENOTEMPTY);
	assert_int_equal(fixture_reopen(f), 0);
	assert_refused(f, -ENOTEMPTY);
}

static void a_pool_with_only_an_object_is_refused(void **state)
{
	struct daxpin_op op = { .type = DAXPIN_OP_OBJECT_KEEP };
	struct fixture *f = *state;

	assert_int_equal(daxpin_object_reserve(f->pool, 64, 0, &op.extent.addr), 0);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	assert_refused(f, -ENOTEMPTY);
}

static void no_store_is_made_in_a_degraded_pool(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->options.flags = DAXPIN_POOL_DEGRADED;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	assert_refused(f, -EUCLEAN);
}

static void a_store_without_a_table_is_refused(void **state)
{
	struct daxpin_op op = { .type = DAXPIN_OP_RETIRE };
	struct fixture *f = *state;
	uint64_t room;
	struct kv *kv;

	assert_int_equal(kv_make(f->pool), 0);
	assert_int_equal(kv_open(f->pool, &kv), 0);
	op.extent = kv->shard[SHARDS - 1].table;
	kv_close(kv);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	room = free_bytes(f);
	assert_int_equal(kv_open(f->pool, &kv), -EUCLEAN);
	assert_int_equal(free_bytes(f), room);
}

/* ------------------------------------------------------------------- threads */

#define THREADS	4u
#define KEYS	64u

/* Shared with the parent, which compares it with the store after the kill. Only one
 * thread puts a key. */
struct shadow {
	_Atomic uint32_t begun[KEYS];	/* version * 2 + 1, or a deletion: * 2 */
	_Atomic uint32_t done[KEYS];
	_Atomic uint64_t calls;
	_Atomic bool shrinks;		/* or the shrink has ended */
};

struct worker {
	struct kv *kv;
	struct shadow *shadow;
	uint32_t index;
	uint64_t calls;			/* 0: until it is killed */
	int error;
};

/* One put or deletion of a key of this thread. */
static int work_once(struct worker *w, uint32_t random)
{
	uint32_t key = random % (KEYS / THREADS) * THREADS + w->index;
	uint32_t step = atomic_load(&w->shadow->done[key]) / 2 + 1;
	bool delete = random / 64 % 8 == 0;
	char name[32];
	int ret;

	atomic_store(&w->shadow->begun[key], 2 * step + !delete);
	ret = delete ? kv_delete(w->kv, key_of(name, key)) :
		       put_version(w->kv, key, step);
	if (ret && !(delete && ret == -ENOENT))
		return ret;
	atomic_store(&w->shadow->done[key], 2 * step + !delete);
	atomic_fetch_add(&w->shadow->calls, 1);
	/* It may have been moved meanwhile. */
	if (random / 512 % 8 == 0 && !has_version(w->kv, key, delete ? 0 : step))
		return -EBADMSG;
	return 0;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint32_t random = 7 + w->index;

	for (uint64_t i = 0; !w->error && (!w->calls || i < w->calls); i++) {
		random = random * 1664525u + 1013904223u + i;
		w->error = work_once(w, random >> 8);
	}
	return NULL;
}

static void work_in_threads(struct kv *kv, struct shadow *shadow, uint64_t calls)
{
	struct worker worker[THREADS];
	pthread_t thread[THREADS];

	for (uint32_t i = 0; i < THREADS; i++) {
		worker[i] = (struct worker) { kv, shadow, i, calls, 0 };
		assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(worker[i].error, 0);
	}
}

static bool has_state(struct kv *kv, uint32_t key, uint32_t state)
{
	return has_version(kv, key, state & 1 ? state / 2 : 0);
}

/* The version that was put last, or the one whose put was interrupted. */
static void compare(struct store *s, struct shadow *shadow)
{
	for (uint32_t key = 0; key < KEYS; key++) {
		uint32_t done = shadow->done[key], begun = shadow->begun[key];

		if (has_state(s->kv, key, begun))
			shadow->done[key] = begun;
		else if (!has_state(s->kv, key, done))
			fail_msg("key %u has neither state %u nor %u", key, done,
				 begun);
	}
	check(s);
}

static struct shadow *shadow_map(void)
{
	void *shadow = mmap(NULL, sizeof(struct shadow), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(shadow, MAP_FAILED);
	return shadow;
}

static void threads_find_what_they_put(void **state)
{
	struct shadow *shadow = shadow_map();
	struct store *s = *state;

	work_in_threads(s->kv, shadow, 2000);
	for (uint32_t key = 0; key < KEYS; key++)
		assert_int_equal(shadow->done[key], shadow->begun[key]);
	compare(s, shadow);
	store_reopen(s);
	compare(s, shadow);
	munmap(shadow, sizeof(*shadow));
}

/* --------------------------------------------------------------------- kills */

struct victim {
	struct fixture *f;
	struct shadow *shadow;
};

static int work_until_killed(void *arg, int fd)
{
	struct victim *victim = arg;
	struct fixture *f = victim->f;
	struct kv *kv;

	(void)fd;
	if (daxpin_pool_open(f->path, &f->options, &f->pool) ||
	    kv_open(f->pool, &kv))
		return 1;
	work_in_threads(kv, victim->shadow, 0);
	return 1;
}

/* How many kills: DAXPIN_TEST_KV_KILLS, or so many. */
static unsigned kills(unsigned count)
{
	const char *text = getenv("DAXPIN_TEST_KV_KILLS");

	return text ? strtoul(text, NULL, 10) : count;
}

static void wait_for_calls(struct shadow *shadow, struct child *child, uint64_t calls)
{
	uint64_t until = shadow->calls + calls;
	int status;

	while (shadow->calls < until) {
		assert_false(child_ends_within(child, 0, &status));
		sched_yield();
	}
}

/* Kill the child after some of its calls have returned. */
static void kill_at_work(struct victim *victim, unsigned calls)
{
	struct child child = fork_child(work_until_killed, victim);

	wait_for_calls(victim->shadow, &child, calls);
	kill_child(&child);
}

/* For a child that opens the pool. */
static void store_close(struct store *s)
{
	kv_close(s->kv);
	assert_int_equal(daxpin_pool_close(s->f->pool), 0);
	s->f->pool = NULL;
	s->f->options.flags = 0;
	s->f->options.deadline_ns = daxpin_deadline_ms(60000);
}

static void store_open(struct store *s)
{
	s->f->options.deadline_ns = daxpin_deadline_ms(60000);
	assert_int_equal(daxpin_pool_open(s->f->path, &s->f->options, &s->f->pool), 0);
	assert_int_equal(kv_open(s->f->pool, &s->kv), 0);
}

static void a_kill_loses_no_put_that_has_returned(void **state)
{
	struct store *s = *state;
	struct victim victim = { s->f, shadow_map() };
	unsigned count = kills(20);

	for (unsigned i = 0; i < count; i++) {
		store_close(s);
		kill_at_work(&victim, 1 + i * 37 % 200);
		store_open(s);
		compare(s, victim.shadow);
	}
	print_message("# %u kills, %llu calls returned\n", count,
		      (unsigned long long)victim.shadow->calls);
	munmap(victim.shadow, sizeof(*victim.shadow));
}

/* ------------------------------------------------------------- a smaller pool */

#define SEGMENT		((uint64_t)DAXPIN_SEGMENT_MIN)
#define SEGMENTS	((256u << 20) / DAXPIN_SEGMENT_MIN)
#define STATIC_KEYS	400u		/* behind those of the threads */

static char errmsg[512];

/* So that a store which does not move everything fails instead of waiting for ever. */
static uint64_t limit(void)
{
	return daxpin_deadline_ms(60000);
}

static int shrink(struct store *s, uint64_t size, uint64_t deadline_ns)
{
	return kv_shrink(s->kv, size, deadline_ns, errmsg, sizeof(errmsg));
}

/* Keys that the threads do not put. */
static void put_static_keys(struct store *s)
{
	for (uint32_t key = KEYS; key < KEYS + STATIC_KEYS; key++)
		assert_int_equal(put_version(s->kv, key, 1), 0);
}

static void assert_static_keys(struct store *s)
{
	for (uint32_t key = KEYS; key < KEYS + STATIC_KEYS; key++)
		assert_true(has_version(s->kv, key, 1));
}

/* Extents and objects of the store are in all segments. */
static void spread(struct store *s, uint32_t *ret_keys)
{
	uint32_t key = 0;
	char name[32];

	while (!put_version(s->kv, key, 1))
		key++;
	for (uint32_t i = 0; i < key; i++)
		if (i % 5)
			assert_int_equal(kv_delete(s->kv, key_of(name, i)), 0);
	*ret_keys = key;
}

static void assert_spread(struct store *s, uint32_t keys)
{
	for (uint32_t i = 0; i < keys; i++)
		assert_true(has_version(s->kv, i, i % 5 == 0));
	check(s);
}

static void a_store_moves_itself_when_the_pool_shrinks(void **state)
{
	struct store *s = *state;
	uint32_t keys;

	spread(s, &keys);
	assert_int_equal(shrink(s, SEGMENTS / 2 * SEGMENT, 0), 0);
	assert_int_equal(pool_info(s->f).segments, SEGMENTS / 2);
	assert_spread(s, keys);
	s->f->options.pool_size = 0;
	store_reopen(s);
	assert_spread(s, keys);
}

static void a_store_that_does_not_fit_stays_as_it_is(void **state)
{
	struct store *s = *state;
	uint32_t key = 0;

	while (!put_version(s->kv, key, 1))
		key++;
	assert_int_equal(shrink(s, SEGMENT, limit()), -ENOSPC);
	assert_non_null(strstr(errmsg, "cannot be moved"));
	assert_int_equal(pool_info(s->f).segments, SEGMENTS);
	for (uint32_t i = 0; i < key; i++)
		assert_true(has_version(s->kv, i, 1));
	assert_int_equal(check(s).keys, key);
}

static void a_shrink_waits_for_a_held_value(void **state)
{
	struct store *s = *state;
	uint32_t keys, key = 0;
	struct kv_hold hold;
	char name[32];

	spread(s, &keys);
	/* A value in the last segment. */
	for (;; key++) {
		assert_true(key < keys);
		if (kv_hold(s->kv, key_of(name, key), &hold))
			continue;
		if (hold.extent.addr >= (SEGMENTS - 1) * SEGMENT)
			break;
		assert_int_equal(kv_drop(s->kv, &hold), 0);
	}
	assert_int_equal(shrink(s, (SEGMENTS - 1) * SEGMENT, 0), -EBUSY);
	/* The key has moved, the value that is held has not. */
	assert_non_null(strstr(errmsg, "retired"));
	assert_spread(s, keys);
	assert_int_equal(kv_drop(s->kv, &hold), 0);
	assert_int_equal(shrink(s, (SEGMENTS - 1) * SEGMENT, 0), 0);
	assert_spread(s, keys);
}

/* What is locked while kv_move() copies an item. */
static struct {
	struct kv *kv;			/* that moves; NULL: do not look */
	uint32_t copies;
	uint32_t unlocked;		/* while no shard was locked for writing */
} moving;

static bool a_shard_is_locked_for_writing(struct kv *kv)
{
	for (uint32_t i = 0; i < SHARDS; i++) {
		if (pthread_rwlock_tryrdlock(&kv->shard[i].lock))
			return true;
		pthread_rwlock_unlock(&kv->shard[i].lock);
	}
	return false;
}

int __real_daxpin_object_read(struct daxpin_pool *pool, uint64_t addr, uint64_t offset,
			      uint64_t length, void *to);
int __wrap_daxpin_object_read(struct daxpin_pool *pool, uint64_t addr, uint64_t offset,
			      uint64_t length, void *to);

int __wrap_daxpin_object_read(struct daxpin_pool *pool, uint64_t addr, uint64_t offset,
			      uint64_t length, void *to)
{
	if (moving.kv) {
		moving.copies++;
		moving.unlocked += !a_shard_is_locked_for_writing(moving.kv);
	}
	return __real_daxpin_object_read(pool, addr, offset, length, to);
}

static void a_move_takes_the_head_and_all_tables(void **state)
{
	struct store *s = *state;
	uint64_t head = s->kv->head.addr, table[SHARDS];

	put_static_keys(s);
	for (uint32_t i = 0; i < SHARDS; i++)
		table[i] = s->kv->shard[i].table.addr;
	assert_int_equal(kv_move(s->kv, 0), 0);
	assert_int_not_equal(s->kv->head.addr, head);
	for (uint32_t i = 0; i < SHARDS; i++)
		assert_int_not_equal(s->kv->shard[i].table.addr, table[i]);
	store_reopen(s);
	assert_int_not_equal(s->kv->head.addr, head);
	assert_static_keys(s);
}

/* A thread that reads an item has its shard locked for reading, and the move frees the
 * item. */
static void items_move_while_their_shard_is_locked_for_writing(void **state)
{
	struct store *s = *state;

	put_static_keys(s);
	memset(&moving, 0, sizeof(moving));
	moving.kv = s->kv;
	assert_int_equal(kv_move(s->kv, 0), 0);
	moving.kv = NULL;
	assert_true(moving.copies);
	assert_int_equal(moving.unlocked, 0);
	assert_static_keys(s);
}

struct shrinker {
	struct kv *kv;
	int ret;			/* only the main thread may assert */
};

/* Everything moves on, then out of one segment after the other. */
static void *shrink_repeatedly(void *arg)
{
	struct shrinker *shrinker = arg;
	uint32_t segments = SEGMENTS - 1;

	for (; !shrinker->ret && segments >= 2; segments--) {
		shrinker->ret = kv_move(shrinker->kv, 0);
		if (!shrinker->ret)
			shrinker->ret = kv_shrink(shrinker->kv, segments * SEGMENT,
						  limit(), errmsg, sizeof(errmsg));
	}
	return NULL;
}

static void threads_put_while_the_pool_shrinks(void **state)
{
	struct shadow *shadow = shadow_map();
	struct store *s = *state;
	struct shrinker shrinker = { s->kv, 0 };
	pthread_t thread;

	put_static_keys(s);
	assert_int_equal(pthread_create(&thread, NULL, shrink_repeatedly, &shrinker),
			 0);
	work_in_threads(s->kv, shadow, 3000);
	assert_int_equal(pthread_join(thread, NULL), 0);
	if (shrinker.ret)
		fail_msg("%s (%d)", errmsg, shrinker.ret);
	assert_int_equal(pool_info(s->f).segments, 2);
	compare(s, shadow);
	assert_static_keys(s);
	munmap(shadow, sizeof(*shadow));
}

#define FILLERS	400u

/* Reserve all free space below that address. */
static uint32_t fill_below(struct daxpin_pool *pool, uint64_t limit,
			   struct daxpin_extent *filler)
{
	uint32_t count = 0, below = 0;

	for (uint64_t size = SEGMENT; size >= DAXPIN_BLOCK_SIZE; size /= 2)
		while (count < FILLERS &&
		       !daxpin_reserve(pool, size, 0, &filler[count]))
			count++;
	for (uint32_t i = 0; i < count; i++)
		if (filler[i].addr < limit)
			filler[below++] = filler[i];
		else
			daxpin_cancel(pool, filler[i]);
	return below;
}

/* Move everything into the segments that are then removed. */
static int move_and_shrink(struct kv *kv, struct daxpin_pool *pool,
			   struct shadow *shadow, struct daxpin_extent *filler,
			   uint32_t count)
{
	int ret = kv_move(kv, 0);

	while (count)
		daxpin_cancel(pool, filler[--count]);
	shadow->shrinks = true;
	return ret ? ret : kv_shrink(kv, SEGMENTS / 2 * SEGMENT, limit(), NULL, 0);
}

static void *work_for_ever(void *arg)
{
	struct worker *worker = arg;

	work_in_threads(worker->kv, worker->shadow, 0);
	return NULL;
}

/* The threads begin after the fill, which takes all free space for a moment. */
static int shrink_until_killed(void *arg, int fd)
{
	struct victim *victim = arg;
	struct worker worker = { .shadow = victim->shadow };
	struct daxpin_extent filler[FILLERS];
	struct fixture *f = victim->f;
	pthread_t thread;
	uint32_t count;

	(void)fd;
	if (daxpin_pool_open(f->path, &f->options, &f->pool) ||
	    kv_open(f->pool, &worker.kv))
		return 1;
	count = fill_below(f->pool, SEGMENTS / 2 * SEGMENT, filler);
	if (pthread_create(&thread, NULL, work_for_ever, &worker) ||
	    move_and_shrink(worker.kv, f->pool, victim->shadow, filler, count))
		return 1;
	pthread_join(thread, NULL);
	return 1;
}

/* Every fourth is killed before the shrink begins. */
static void kill_at_shrink(struct victim *victim, unsigned round)
{
	struct child child;
	int status;

	victim->shadow->shrinks = false;
	child = fork_child(shrink_until_killed, victim);
	while (round % 4 && !victim->shadow->shrinks) {
		assert_false(child_ends_within(&child, 0, &status));
		sched_yield();
	}
	wait_for_calls(victim->shadow, &child, 1 + round * 137 % 600);
	kill_child(&child);
}

static void a_kill_while_the_pool_shrinks_loses_nothing(void **state)
{
	struct store *s = *state;
	struct victim victim = { s->f, shadow_map() };
	unsigned count = kills(10), removed = 0;

	put_static_keys(s);
	s->f->options.pool_size = 0;
	s->f->options.max_size = SEGMENTS * SEGMENT;
	for (unsigned i = 0; i < count; i++) {
		store_close(s);
		kill_at_shrink(&victim, i);
		store_open(s);
		compare(s, victim.shadow);
		assert_static_keys(s);
		if (pool_info(s->f).segments == SEGMENTS)
			continue;
		assert_int_equal(pool_info(s->f).segments, SEGMENTS / 2);
		assert_int_equal(daxpin_pool_grow(s->f->pool, SEGMENTS * SEGMENT, NULL),
				 0);
		removed++;
	}
	print_message("# %u kills, %u after the segments were removed\n", count, removed);
	munmap(victim.shadow, sizeof(*victim.shadow));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_value_is_found_after_a_reopen),
		TEST(a_put_replaces_the_value_and_frees_the_old_one),
		TEST(a_deleted_key_is_gone_and_can_come_back),
		TEST(tables_grow_and_lose_removed_slots),
		TEST(a_held_value_outlives_its_key),
		TEST(a_small_value_cannot_be_held),
		TEST(keys_of_a_wrong_size_are_refused),
		TEST(a_value_larger_than_an_extent_is_refused),
		TEST(a_full_pool_refuses_a_put_and_keeps_the_rest),
		cmocka_unit_test_setup_teardown(
			a_root_of_another_program_is_not_taken_for_a_store,
			fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			an_open_makes_no_store, fixture_setup,
			fixture_teardown),
		cmocka_unit_test_setup_teardown(
			a_store_without_its_root_is_refused, fixture_setup,
			fixture_teardown),
		cmocka_unit_test_setup_teardown(
			a_pool_with_only_an_object_is_refused, fixture_setup,
			fixture_teardown),
		cmocka_unit_test_setup_teardown(
			no_store_is_made_in_a_degraded_pool, fixture_setup,
			fixture_teardown),
		cmocka_unit_test_setup_teardown(
			a_store_without_a_table_is_refused, fixture_setup,
			fixture_teardown),
		TEST(threads_find_what_they_put),
		TEST(a_kill_loses_no_put_that_has_returned),
		TEST(a_store_moves_itself_when_the_pool_shrinks),
		TEST(a_store_that_does_not_fit_stays_as_it_is),
		TEST(a_shrink_waits_for_a_held_value),
		TEST(a_move_takes_the_head_and_all_tables),
		TEST(items_move_while_their_shard_is_locked_for_writing),
		TEST(threads_put_while_the_pool_shrinks),
		TEST(a_kill_while_the_pool_shrinks_loses_nothing),
	};

	return cmocka_run_group_tests_name("kv", tests, NULL, NULL);
}
