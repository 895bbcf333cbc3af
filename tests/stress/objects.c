/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small objects, and their shadow. An object's address is its whole handle, so a thread
 * that frees by a copy of an address may free another object. Therefore each object is
 * in a slot, and a thread changes it only while it has the slot's mutex. Every result
 * is then known: the calls of different threads meet in the slabs and in the words on
 * media, which many objects share, not in one object.
 *
 * A bit for each 16 bytes of the pool says that an object has them, and each block
 * counts its objects. A bit is set after the reserve and cleared before the call that
 * frees, so an overlap that is found is real. All accesses are relaxed, as in shadow.c.
 *
 * All words of an object are its tag, except the second one, which SETs change: it is
 * the tag and a number.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "objects.h"

#define UNIT		16u
#define OBJECT_SLOTS	192u
#define BATCH		6u

enum object_state { OBJECT_NONE, OBJECT_RESERVED, OBJECT_LIVE };

struct object {
	pthread_mutex_t mutex;
	enum object_state state;
	bool ending;			/* a call that frees it has begun */
	uint64_t addr, size;		/* of its class */
	uint64_t tag;			/* a multiple of 256 */
};

/* In shared memory, so that it outlives a process that is killed. */
static struct {
	struct object slot[OBJECT_SLOTS];
	_Atomic uint64_t unit[STRESS_SIZE_MAX / UNIT / 64];
	_Atomic uint32_t in_block[STRESS_SIZE_MAX / DAXPIN_BLOCK_SIZE];
	_Atomic uint64_t tags;
} *all;

static void check(const char *call, int ret, int right, const struct object *object)
{
	if (ret != right)
		shadow_fail("%s of the object at 0x%" PRIx64 " of %" PRIu64
			    " bytes: %d, not %d", call, object->addr, object->size,
			    ret, right);
}

/* For a process whose predecessor was killed: threads of that had some of them. */
static void unlock_all(void)
{
	for (uint32_t i = 0; i < OBJECT_SLOTS; i++)
		pthread_mutex_init(&all->slot[i].mutex, NULL);
}

void objects_init(void)
{
	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		shadow_fail("there is no memory for the shadow of the objects");
	unlock_all();
}

void objects_fini(void)
{
	munmap(all, sizeof(*all));
}

/* -------------------------------------------------------------- who has what */

/* Sets or clears the bits of the object's bytes. */
static void own(const struct object *object, bool owned)
{
	uint64_t first = object->addr / UNIT, end = first + object->size / UNIT;
	uint64_t block = object->addr / DAXPIN_BLOCK_SIZE;

	if (object->addr % UNIT || end * UNIT > STRESS_SIZE_MAX)
		shadow_fail("an object at 0x%" PRIx64, object->addr);
	for (uint64_t at = first; at < end; at++) {
		uint64_t bit = UINT64_C(1) << at % 64;
		uint64_t was = owned ?
			atomic_fetch_or_explicit(&all->unit[at / 64], bit,
						 memory_order_relaxed) :
			atomic_fetch_and_explicit(&all->unit[at / 64], ~bit,
						  memory_order_relaxed);

		if (!(was & bit) != owned)
			shadow_fail("overlap: the object at 0x%" PRIx64 " of %" PRIu64
				    " bytes and another", object->addr, object->size);
	}
	for (; block * DAXPIN_BLOCK_SIZE < object->addr + object->size; block++)
		atomic_fetch_add_explicit(&all->in_block[block], owned ? 1 : -1u,
					  memory_order_relaxed);
}

void objects_expect_none(struct daxpin_extent extent, uint32_t blocks)
{
	uint64_t first = extent.addr / DAXPIN_BLOCK_SIZE;

	for (uint64_t b = first; b < first + blocks; b++)
		if (atomic_load_explicit(&all->in_block[b], memory_order_relaxed))
			shadow_fail("overlap: block %" PRIu64
				    " was given to an extent and has objects", b);
}

/* ------------------------------------------------------------------ its bytes */

static uint64_t *words_of(const struct object *object)
{
	uint64_t *words = daxpin_object_ptr(world.pool, object->addr);

	if (!words)
		shadow_fail("the object at 0x%" PRIx64 " has no address", object->addr);
	return words;
}

/* Plain accesses: ThreadSanitizer reports the previous owner's, if they are not ordered
 * before them. */
static void fill(const struct object *object)
{
	uint64_t *words = words_of(object);

	for (uint32_t i = 0; i < object->size / sizeof(*words); i++)
		words[i] = object->tag;
}

static void check_words(const struct object *object, const uint64_t *words)
{
	for (uint32_t i = 0; i < object->size / sizeof(*words); i++)
		if ((i == 1 ? words[i] & ~UINT64_C(255) : words[i]) != object->tag)
			shadow_fail("word %u of the object at 0x%" PRIx64 " is 0x%" PRIx64
				    ", its tag 0x%" PRIx64, i, object->addr, words[i],
				    object->tag);
}

static void check_zeroed(const struct object *object)
{
	const uint64_t *words = words_of(object);

	for (uint32_t i = 0; i < object->size / sizeof(*words); i++)
		if (words[i])
			shadow_fail("word %u of the object at 0x%" PRIx64
				    " is not zeroed", i, object->addr);
}

/* -------------------------------------------------------------------- one call */

/* Few sizes are frequent, so that their slabs become full. */
static uint64_t size_for(struct thread *thread)
{
	static const uint16_t frequent[] = { 16, 100, 1000, DAXPIN_OBJECT_MAX };

	return chance(thread, 8) ? frequent[chance(thread, 4)] :
				   1 + chance(thread, DAXPIN_OBJECT_MAX);
}

/* Returns false if there is no space. */
static bool make_object(struct thread *thread, struct object *object)
{
	uint64_t size = size_for(thread);
	uint32_t flags = chance(thread, 3) ? 0 : DAXPIN_RESERVE_ZERO;
	int ret = daxpin_object_reserve(world.pool, size, flags, &object->addr);

	if (ret == -ENOSPC || ret == -EAGAIN)
		return false;
	object->size = size;
	check("object_reserve", ret, 0, object);
	check("object_size", daxpin_object_size(world.pool, object->addr,
						&object->size), 0, object);
	if (object->size < size || object->size > size + size / 8 + UNIT)
		shadow_fail("an object of %" PRIu64 " bytes has %" PRIu64, size,
			    object->size);
	own(object, true);
	if (flags)
		check_zeroed(object);
	object->tag = 256 * (1 + atomic_fetch_add_explicit(&all->tags, 1,
							   memory_order_relaxed));
	object->state = OBJECT_RESERVED;
	fill(object);
	return true;
}

static int publish_one(uint32_t type, const struct object *object)
{
	struct daxpin_op op = { .type = type, .extent = { object->addr, 0 } };

	return daxpin_publish(world.pool, &op, 1, NULL, NULL);
}

static void cancel_object(struct object *object)
{
	check_words(object, words_of(object));
	check("OBJECT_FREE", publish_one(DAXPIN_OP_OBJECT_FREE, object), -EINVAL,
	      object);
	own(object, false);
	check("object_cancel", daxpin_object_cancel(world.pool, object->addr), 0,
	      object);
	object->state = OBJECT_NONE;
}

static void end_object(struct object *object)
{
	object->state = OBJECT_NONE;
	object->ending = false;
}

static void free_object(struct object *object)
{
	check_words(object, words_of(object));
	check("object_cancel", daxpin_object_cancel(world.pool, object->addr), -EINVAL,
	      object);
	check("OBJECT_KEEP", publish_one(DAXPIN_OP_OBJECT_KEEP, object), -EINVAL,
	      object);
	object->ending = true;
	own(object, false);
	check("OBJECT_FREE", publish_one(DAXPIN_OP_OBJECT_FREE, object), 0, object);
	end_object(object);
}

static void keep_object(struct object *object)
{
	check("OBJECT_KEEP", publish_one(DAXPIN_OP_OBJECT_KEEP, object), 0, object);
	object->state = OBJECT_LIVE;
}

static struct object *lock_one(struct thread *thread)
{
	struct object *object = &all->slot[chance(thread, OBJECT_SLOTS)];

	pthread_mutex_lock(&object->mutex);
	return object;
}

bool object_step(struct thread *thread)
{
	struct object *object = lock_one(thread);
	bool done = true;

	if (object->state == OBJECT_NONE)
		done = make_object(thread, object);
	else if (object->state == OBJECT_RESERVED && chance(thread, 3))
		keep_object(object);
	else if (object->state == OBJECT_RESERVED)
		cancel_object(object);
	else
		free_object(object);
	pthread_mutex_unlock(&object->mutex);
	return done;
}

bool object_read(struct thread *thread)
{
	struct object *object = lock_one(thread);
	uint64_t copy[DAXPIN_OBJECT_MAX / sizeof(uint64_t)];
	bool done = object->state != OBJECT_NONE;

	if (done) {
		check("object_read", daxpin_object_read(world.pool, object->addr, 0,
							object->size, copy), 0, object);
		check_words(object, copy);
	}
	pthread_mutex_unlock(&object->mutex);
	return done;
}

void objects_leave(uint64_t begin)
{
	for (uint32_t i = 0; i < OBJECT_SLOTS; i++) {
		struct object *object = &all->slot[i];

		pthread_mutex_lock(&object->mutex);
		if (object->state == OBJECT_LIVE && object->addr >= begin)
			free_object(object);
		else if (object->state == OBJECT_RESERVED && object->addr >= begin)
			cancel_object(object);
		pthread_mutex_unlock(&object->mutex);
	}
}

/* ---------------------------------------------------------------------- batches */

static struct daxpin_op op_for(struct thread *thread, const struct object *object)
{
	struct daxpin_op op = { .type = DAXPIN_OP_OBJECT_KEEP,
				.extent = { object->addr, 0 } };

	if (object->state == OBJECT_RESERVED)
		return op;
	op.type = DAXPIN_OP_OBJECT_FREE;
	if (!chance(thread, 2))
		return op;
	op.type = DAXPIN_OP_SET;
	op.offset = sizeof(uint64_t);
	op.value = object->tag + chance(thread, 256);
	return op;
}

/* Before the call, which may end the object at once. */
static void begin_op(const struct daxpin_op *op, struct object *object)
{
	check_words(object, words_of(object));
	if (op->type != DAXPIN_OP_OBJECT_FREE)
		return;
	object->ending = true;
	own(object, false);
}

static void end_op(const struct daxpin_op *op, struct object *object)
{
	if (op->type == DAXPIN_OP_OBJECT_KEEP)
		object->state = OBJECT_LIVE;
	else if (op->type == DAXPIN_OP_OBJECT_FREE)
		end_object(object);
	else if (words_of(object)[1] != op->value)
		shadow_fail("a SET in the object at 0x%" PRIx64 " is not there",
			    object->addr);
}

/* In slots that follow each other, so that no two threads wait for each other. */
bool object_batch(struct thread *thread)
{
	uint32_t first = chance(thread, OBJECT_SLOTS - BATCH), count = 0;
	struct object *object[BATCH];
	struct daxpin_op ops[BATCH];

	for (uint32_t i = first; i < first + BATCH; i++) {
		pthread_mutex_lock(&all->slot[i].mutex);
		if (all->slot[i].state == OBJECT_NONE)
			continue;
		object[count] = &all->slot[i];
		ops[count] = op_for(thread, object[count]);
		begin_op(&ops[count], object[count]);
		count++;
	}
	if (count)
		check("a batch", daxpin_publish(world.pool, ops, count, NULL, NULL), 0,
		      object[0]);
	for (uint32_t i = 0; i < count; i++)
		end_op(&ops[i], object[i]);
	for (uint32_t i = first; i < first + BATCH; i++)
		pthread_mutex_unlock(&all->slot[i].mutex);
	return count;
}

/* ------------------------------------------------- while all threads pause */

static struct object *find_object(uint64_t addr)
{
	for (uint32_t i = 0; i < OBJECT_SLOTS; i++)
		if (all->slot[i].state != OBJECT_NONE && all->slot[i].addr == addr)
			return &all->slot[i];
	return NULL;
}

static int count_one(struct daxpin_pool *pool, uint64_t addr, uint64_t size, void *arg)
{
	const struct object *object = find_object(addr);
	uint64_t *count = arg;

	(void)pool;
	if (!object || object->state != OBJECT_LIVE || object->size != size)
		shadow_fail("an object of %" PRIu64 " bytes at 0x%" PRIx64 " is live",
			    size, addr);
	++*count;
	return 0;
}

void objects_compare(void)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	uint64_t live = 0, found = 0, size;

	for (uint32_t i = 0; i < OBJECT_SLOTS; i++) {
		const struct object *object = &all->slot[i];

		if (object->state == OBJECT_NONE)
			continue;
		live += object->state == OBJECT_LIVE;
		check("object_size",
		      daxpin_object_size(world.pool, object->addr, &size), 0, object);
		check_words(object, words_of(object));
	}
	if (daxpin_foreach_object(world.pool, count_one, &found) || found != live ||
	    daxpin_pool_info(world.pool, &info) || info.objects != live)
		shadow_fail("%" PRIu64 " objects are live, %" PRIu64
			    " were found, and %" PRIu64 " counted", live, found,
			    info.objects);
}

void objects_reopened(void)
{
	for (uint32_t i = 0; i < OBJECT_SLOTS; i++) {
		struct object *object = &all->slot[i];

		if (object->state != OBJECT_RESERVED)
			continue;
		own(object, false);
		object->state = OBJECT_NONE;
	}
	objects_compare();
}

/* ------------------------------------------------------------------ after a kill */

/* The address and the class may be those of an object that ended before; the tag is
 * not. */
static int find_survivor(struct daxpin_pool *pool, uint64_t addr, uint64_t size,
			 void *arg)
{
	const uint64_t *words = daxpin_object_ptr(pool, addr);
	uint64_t *found = arg;

	for (uint32_t i = 0; i < OBJECT_SLOTS; i++) {
		const struct object *object = &all->slot[i];

		if (object->state == OBJECT_NONE || object->addr != addr ||
		    object->size != size || object->tag != words[0])
			continue;
		check_words(object, words);
		found[i / 64] |= UINT64_C(1) << i % 64;
		return 0;
	}
	shadow_fail("after a kill an object of %" PRIu64 " bytes at 0x%" PRIx64
		    " is live, which nobody kept", size, addr);
}

/* An object whose KEEP had returned must be there, unless it was being freed. */
uint32_t objects_survived(void)
{
	uint64_t found[OBJECT_SLOTS / 64] = { 0 };
	uint32_t count = 0;

	if (daxpin_foreach_object(world.pool, find_survivor, found))
		shadow_fail("the objects cannot be listed after a kill");
	memset(all->unit, 0, sizeof(all->unit));
	memset(all->in_block, 0, sizeof(all->in_block));
	unlock_all();
	for (uint32_t i = 0; i < OBJECT_SLOTS; i++) {
		struct object *object = &all->slot[i];

		if (!(found[i / 64] >> i % 64 & 1)) {
			if (object->state == OBJECT_LIVE && !object->ending)
				shadow_fail("a kill has lost the object at 0x%" PRIx64,
					    object->addr);
			end_object(object);
			continue;
		}
		object->state = OBJECT_LIVE;
		object->ending = false;
		own(object, true);
		count++;
	}
	return count;
}
