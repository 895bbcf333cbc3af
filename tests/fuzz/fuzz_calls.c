/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_calls: sequences of calls, valid and invalid, compared with model.c. An input is
 * a header and then records of 16 bytes, one call each. Each result, errno included,
 * must be the model's. After each open everything that was published must be there with
 * its payload. Every few calls dp_invariants() checks the pool.
 */
#include <errno.h>
#include <stdlib.h>
#include "core/recover.h"
#include "support/invariant.h"
#include "format.h"
#include "model.h"

#define MIB		(1ull << 20)
#define CALLS_MAX	128u
#define CREATES_MAX	2u
#define CHECK_EVERY	16u
#define GENERATIONS_FULL	(M_GENERATIONS - 8)

struct call {
	uint8_t what;
	uint8_t slot;			/* which generation, watch, hold ... */
	uint8_t flags;
	uint8_t twist;			/* of the handle: see handle_of() */
	uint32_t a;
	uint64_t b;
};

static_assert(sizeof(struct call) == 16, "a record");

static struct {
	uint8_t granularity;
	struct daxpin_op op[DAXPIN_OPS_MAX];
	uint32_t ops;			/* of the batch that is being put together */
	uint32_t calls;
	uint32_t creates;
	uint64_t tags;			/* of objects */
	char errmsg[512];
} run;

static const char *name_of(int result)
{
	static char text[32];

	if (result >= 0)
		snprintf(text, sizeof(text), "%d", result);
	else
		snprintf(text, sizeof(text), "%s", strerrorname_np(-result));
	return text;
}

/* The result must be exactly the expected one, errno included. */
static void agree(const char *call, int got, int want)
{
	char wanted[32];

	snprintf(wanted, sizeof(wanted), "%s", name_of(want));
	fuzz_log("%3u %s: %s", run.calls, call, name_of(got));
	expect(got == want, "call %u, %s: returned %s, the model %s", run.calls,
	       call, name_of(got), wanted);
	if (got == -EAGAIN || (got == -ENOSPC && !strcmp(call, "reserve")))
		m_refused();
}

/* ---------------------------------------------------------------- handles */

static struct daxpin_extent handle_of(const struct call *call)
{
	struct daxpin_extent extent = { 0x200000, model.epoch << 40 };

	if (model.generations)
		extent = model.generation[call->slot % model.generations].extent;
	switch (call->twist & 15) {
	case 1:
		extent.addr += 8;
		break;
	case 2:
		extent.addr += 4096;
		break;
	case 3:
		extent.gen += 1;
		break;
	case 4:
		extent.gen += 1ull << 40;
		break;
	case 5:
		extent.gen -= 1ull << 40;
		break;
	case 6:
		extent.addr = call->b;
		break;
	case 7:
		extent.gen = call->b;
		break;
	case 8:
		extent = (struct daxpin_extent) { 0, 0 };
		break;
	}
	fuzz_log("    handle 0x%llx, 0x%llx", (unsigned long long)extent.addr,
		 (unsigned long long)extent.gen);
	return extent;
}

static uint64_t *tag_at(struct m_generation *generation)
{
	return daxpin_ptr(model.pool, generation->extent,
			  m_size(generation) - 8);
}

static void check_payload(struct m_generation *generation)
{
	uint64_t *tag = tag_at(generation);

	expect(tag, "no address of a live extent");
	expect(*tag == generation->tag, "payload 0x%llx, not 0x%llx",
	       (unsigned long long)*tag, (unsigned long long)generation->tag);
}

static uint64_t object_of(const struct call *call)
{
	const struct m_object *object = &model.object[call->slot % M_OBJECTS];
	uint64_t addr;

	/* The first one in use from there on. */
	for (uint32_t i = 0; i < M_OBJECTS && object->state == DAXPIN_STATE_FREE; i++)
		object = &model.object[(call->slot + i) % M_OBJECTS];
	addr = object->addr ? object->addr : 0x200040;
	switch (call->twist & 15) {
	case 1:
		addr += 8;
		break;
	case 2:
		addr += 16;
		break;
	case 3:			/* the next one, which may be free */
		addr += m_object_size(addr);
		break;
	case 4:
		addr += 65536;
		break;
	case 5:
		addr &= ~4095ull;
		break;
	case 6:
		addr = call->b;
		break;
	case 7:
		addr = model.generation[0].extent.addr;
		break;
	}
	fuzz_log("    object 0x%llx", (unsigned long long)addr);
	return addr;
}

static uint32_t count_objects(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < M_OBJECTS; i++)
		count += model.object[i].state != DAXPIN_STATE_FREE ||
			 model.object[i].durable;
	return count;
}

static void check_object(const struct m_object *object)
{
	uint64_t size = object->slab->size, tag, got, read = 0;
	char *at = daxpin_object_ptr(model.pool, object->addr);

	expect(at, "no address of the object at 0x%llx",
	       (unsigned long long)object->addr);
	memcpy(&tag, at + size - 8, 8);
	expect(tag == object->tag, "object 0x%llx has 0x%llx, not 0x%llx",
	       (unsigned long long)object->addr, (unsigned long long)tag,
	       (unsigned long long)object->tag);
	expect(!daxpin_object_size(model.pool, object->addr, &got) && got == size,
	       "size of an object");
	expect(!daxpin_object_read(model.pool, object->addr, size - 8, 8, &read) &&
	       read == tag, "read of an object");
}

/* ---------------------------------------------------------- all of the pool */

struct walk {
	uint64_t after;
	uint32_t seen;
	uint32_t stop;
};

static int walk_one(struct daxpin_pool *pool, struct daxpin_extent extent,
		    uint64_t size, void *arg)
{
	struct m_generation *generation = m_find(extent);
	struct walk *walk = arg;

	expect(pool == model.pool && generation &&
		       generation->state == DAXPIN_STATE_LIVE,
	       "0x%llx is not live", (unsigned long long)extent.addr);
	expect(size == m_size(generation), "size %llu",
	       (unsigned long long)size);
	expect(!walk->seen || extent.addr > walk->after, "out of order");
	check_payload(generation);
	walk->after = extent.addr;
	walk->seen++;
	return walk->stop == walk->seen ? (int)walk->stop : 0;
}

static int walk_object(struct daxpin_pool *pool, uint64_t addr, uint64_t size,
		       void *arg)
{
	struct m_object *object;
	struct walk *walk = arg;

	expect(pool == model.pool && !m_object_find(addr, &object) && object &&
	       object->bit, "the object at 0x%llx is not live",
	       (unsigned long long)addr);
	expect(size == object->slab->size, "size %llu", (unsigned long long)size);
	expect(!walk->seen || addr > walk->after, "objects out of order");
	walk->after = addr;
	walk->seen++;
	return walk->stop == walk->seen ? (int)walk->stop : 0;
}

static uint32_t count_bits(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < M_OBJECTS; i++)
		count += model.object[i].bit;
	return count;
}

static uint32_t count_bits_of(const struct m_slab *slab)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < M_OBJECTS; i++)
		count += model.object[i].bit && model.object[i].slab == slab;
	return count;
}

/* The live objects by their size, and the slabs that have live and other objects. */
static void check_object_bytes(const struct daxpin_pool_info *info)
{
	uint64_t bytes = 0, partial = 0;

	for (uint32_t i = 0; i < M_SLABS; i++) {
		uint32_t count = count_bits_of(&model.slab[i]);

		bytes += (uint64_t)count * model.slab[i].size;
		partial += count && count < model.slab[i].count;
	}
	expect(info->object_bytes == bytes &&
	       info->partial_slab_bytes == partial * 65536,
	       "%llu bytes of objects and %llu of partial slabs, not %llu and %llu",
	       (unsigned long long)info->object_bytes,
	       (unsigned long long)info->partial_slab_bytes,
	       (unsigned long long)bytes, (unsigned long long)partial * 65536);
}

static void check_objects(void)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct walk walk = { 0, 0, 0 };
	uint64_t slabs = 0;

	for (uint32_t i = 0; i < M_SLABS; i++)
		slabs += model.slab[i].used;
	for (uint32_t i = 0; i < M_OBJECTS; i++)
		if (model.object[i].state != DAXPIN_STATE_FREE)
			check_object(&model.object[i]);
	expect(!daxpin_foreach_object(model.pool, walk_object, &walk) &&
	       walk.seen == count_bits(), "%u objects, not %u", walk.seen,
	       count_bits());
	expect(!daxpin_pool_info(model.pool, &info), "info");
	expect(info.slab_bytes == slabs * 65536 && info.objects == walk.seen,
	       "%llu bytes of slabs and %llu objects, not %llu and %u",
	       (unsigned long long)info.slab_bytes,
	       (unsigned long long)info.objects,
	       (unsigned long long)slabs * 65536, walk.seen);
	check_object_bytes(&info);
}

static uint32_t count_live(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < model.generations; i++)
		count += model.generation[i].state == DAXPIN_STATE_LIVE;
	return count;
}

static void check_info(void)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	uint64_t taken = 0, registrations = 0;

	for (uint32_t b = 0; b < model.segments * M_BLOCKS; b++)
		taken += model.block[b].taken;
	for (uint32_t i = 0; i < M_REGISTRATIONS; i++)
		registrations += !!model.registration[i];
	expect(!daxpin_pool_info(model.pool, &info), "info");
	expect(info.epoch == model.epoch, "epoch %llu, not %llu",
	       (unsigned long long)info.epoch, (unsigned long long)model.epoch);
	expect(info.free_bytes + taken * 4096 == info.usable_bytes,
	       "%llu bytes free, %llu blocks taken",
	       (unsigned long long)info.free_bytes, (unsigned long long)taken);
	expect(info.registrations == registrations, "registrations");
	expect(info.segments == model.segments &&
	       info.flags == (model.readonly ? DAXPIN_POOL_READONLY : 0) &&
	       info.source == (uint32_t)machine.kind, "info of another pool");
}

static void check_sets(void)
{
	struct daxpin_segment segment;
	uint64_t addr, value;

	for (uint32_t i = 0; i < M_SETS; i++) {
		addr = model.set[i].addr;
		if (!addr)
			continue;
		expect(!daxpin_segment(model.pool, addr / M_SEGMENT_SIZE, &segment),
		       "segment");
		memcpy(&value, (char *)segment.base + addr % M_SEGMENT_SIZE, 8);
		expect(value == model.set[i].value,
		       "the word at 0x%llx is 0x%llx, not 0x%llx",
		       (unsigned long long)addr, (unsigned long long)value,
		       (unsigned long long)model.set[i].value);
	}
}

static void check_roots(void)
{
	struct daxpin_extent want, got;
	int expected;

	/* Tests only a few names of a full directory, because each is searched for. */
	for (uint32_t i = 0; i < M_ROOTS; i++) {
		if (!model.root[i].name[0] || (i > 32 && i % 101))
			continue;
		expected = m_root(model.root[i].name, &want);
		expect(daxpin_root(model.pool, model.root[i].name, &got) == expected,
		       "root %s", model.root[i].name);
		expect(expected || (got.addr == want.addr && got.gen == want.gen),
		       "root %s names something else", model.root[i].name);
	}
}

/* Checks everything except dp_invariants(), which takes as long as ten calls. */
static void check_most(void)
{
	struct walk walk = { 0, 0, 0 };

	check_info();
	expect(!daxpin_foreach(model.pool, walk_one, &walk), "foreach");
	expect(walk.seen == count_live(), "%u extents, not %u", walk.seen,
	       count_live());
	for (uint32_t i = 0; i < model.generations; i++)
		if (model.generation[i].state != DAXPIN_STATE_FREE)
			check_payload(&model.generation[i]);
	check_objects();
	check_sets();
	check_roots();
}

static void check_all(void)
{
	dp_invariants(model.pool);
	check_most();
}

/* ------------------------------------------------------------------ pools */

static struct daxpin_pool_options options_for(uint32_t flags)
{
	run.errmsg[0] = '\0';
	return (struct daxpin_pool_options) {
		.size = sizeof(struct daxpin_pool_options),
		.flags = flags,
		.granularity = run.granularity,
		.max_size = M_SEGMENTS * M_SEGMENT_SIZE,
		.errmsg = run.errmsg,
		.errmsg_size = sizeof(run.errmsg),
	};
}

static void check_errmsg(int ret)
{
	expect(!ret || strlen(run.errmsg) > 10, "%s without a message",
	       name_of(ret));
	fuzz_log("    %s", run.errmsg);
}

static void call_open(const struct call *call)
{
	bool readonly = call->flags & 1, waits = !(call->flags & 2);
	struct daxpin_pool_options options =
		options_for(readonly ? DAXPIN_POOL_READONLY : 0);
	struct daxpin_pool *pool = NULL;
	int want = m_open(readonly, waits), ret;

	options.deadline_ns = waits ? DAXPIN_NO_DEADLINE : call->a;
	ret = daxpin_pool_open(MACHINE_POOL, &options, &pool);
	agree(readonly ? "open readonly" : "open", ret, want);
	check_errmsg(ret);
	if (ret)
		return;
	m_opened(pool, readonly);
	check_most();
}

/* Invalid options, and paths that do not exist. */
static void call_open_badly(const struct call *call)
{
	struct daxpin_pool_options options = options_for(0);
	struct daxpin_pool_options longer[2] = { options, { .size = 1 } };
	struct daxpin_pool *pool = NULL;

	switch (call->flags % 7) {
	case 0:
		options.size = call->a % sizeof(size_t);
		agree("open: size", daxpin_pool_open(MACHINE_POOL, &options,
						     &pool), -EINVAL);
		break;
	case 1:
		longer[0].size = sizeof(longer);
		agree("open: tail", daxpin_pool_open(MACHINE_POOL, longer,
						     &pool), -E2BIG);
		break;
	case 2:
		options.flags = call->a | 0x800;
		agree("open: flags", daxpin_pool_open(MACHINE_POOL, &options,
						      &pool), -EINVAL);
		break;
	case 3:
		agree("open: no path", daxpin_pool_open(NULL, &options, &pool),
		      -EINVAL);
		break;
	case 4:
		agree("open: nowhere", daxpin_pool_open(MACHINE_POOL, &options,
							NULL), -EINVAL);
		break;
	case 5:
		agree("open: no such path", daxpin_pool_open("/none", &options,
							     &pool), -ENOENT);
		break;
	case 6:
		agree("close: NULL", daxpin_pool_close(NULL), 0);
		break;
	}
	expect(!pool, "an open failed and returned a pool");
}

static void call_create(const struct call *call)
{
	bool overwrite = call->flags & 1;
	struct daxpin_pool_options options =
		options_for(overwrite ? DAXPIN_POOL_OVERWRITE : 0);
	struct daxpin_pool *pool = NULL;
	int want = m_create(overwrite, true), ret;

	options.deadline_ns = DAXPIN_NO_DEADLINE;
	if (!want && run.creates++ >= CREATES_MAX)
		return;
	options.segment_size = M_SEGMENT_SIZE;
	options.pool_size = model.segments * M_SEGMENT_SIZE;
	if (call->flags & 2 && !model.pool) {
		options.pool_size = 1 + call->b % (30 * MIB);
		/* The size of a pool that is not overwritten is not looked at. */
		want = want == -EEXIST ? want : -EINVAL;
	}
	ret = daxpin_pool_create(MACHINE_POOL, &options, &pool);
	agree(overwrite ? "create over it" : "create", ret, want);
	check_errmsg(ret);
	if (ret)
		return;
	m_created(pool);
	check_most();
}

/* From nothing to a segment more than the machine has, or an odd number. */
static uint64_t pool_size_of(const struct call *call)
{
	if (call->flags & 1)
		return call->b;
	return call->a % (M_SEGMENTS + 2) * M_SEGMENT_SIZE + (call->flags >> 1 & 1);
}

static void call_grow(const struct call *call)
{
	struct daxpin_pool_options options = options_for(0);
	uint64_t size = pool_size_of(call);
	bool plain = call->flags & 4;
	int want = m_grow(size);

	options.deadline_ns = DAXPIN_NO_DEADLINE;
	agree("grow", daxpin_pool_grow(model.pool, size, plain ? NULL : &options),
	      want);
	if (!plain)
		check_errmsg(want);
	if (want)
		return;
	m_resized(size);
	check_most();
}

struct shrink {
	uint64_t left;			/* what the model counts, in bytes */
	uint32_t calls;
};

static int cancel_shrink(struct daxpin_pool *pool,
			 const struct daxpin_shrink_wait *wait, void *arg)
{
	struct shrink *shrink = arg;

	expect(pool == model.pool && wait->left_bytes == shrink->left,
	       "%llu bytes left, not %llu", (unsigned long long)wait->left_bytes,
	       (unsigned long long)shrink->left);
	expect((wait->reason == DAXPIN_SHRINK_REGISTRATION) == !shrink->left,
	       "reason %u", wait->reason);
	shrink->calls++;
	return 1;
}

/* Without progress() a shrink that something prevents would wait for ever. */
static void call_shrink(const struct call *call)
{
	uint64_t size = pool_size_of(call);
	bool waits = call->flags & 4;
	struct shrink shrink = { 0, 0 };
	struct daxpin_shrink_options options = {
		.size = sizeof(options), .flags = call->flags & 8 ? call->a : 0,
		.deadline_ns = waits ? DAXPIN_NO_DEADLINE : 0,
		.progress_arg = &shrink,
		.errmsg = run.errmsg, .errmsg_size = sizeof(run.errmsg),
	};
	int want = m_shrink(size, options.flags, waits);

	shrink.left = m_left(size);
	options.progress = want == -ECANCELED ? cancel_shrink : NULL;
	agree("shrink", daxpin_pool_shrink(model.pool, size, &options), want);
	check_errmsg(want);
	expect(shrink.calls == (want == -ECANCELED), "%u calls of progress()",
	       shrink.calls);
	if (!want)
		m_resized(size);
	check_most();
}

static void call_close(const struct call *call)
{
	struct daxpin_pool *pool = model.pool;

	(void)call;
	dp_invariants(pool);
	agree("close", daxpin_pool_close(pool), m_close());
	if (!model.pool)
		machine_expect_quiet();
}

static void unregister(uint32_t at)
{
	agree("unregister", daxpin_unregister(model.registration[at]), 0);
	m_unregister(model.has_rdma[at]);
	model.registration[at] = NULL;
	model.has_rdma[at] = false;
}

static void unregister_all(void)
{
	for (uint32_t i = 0; i < M_REGISTRATIONS; i++)
		if (model.registration[i])
			unregister(i);
}

/*
 * Lose the registrations as a process that dies does: without daxpin_unregister(),
 * which removes the record from the medium.
 */
static void lose_registrations(struct daxpin_pool *pool)
{
	for (uint32_t i = 0; i < M_REGISTRATIONS; i++) {
		struct daxpin_registration *lost = model.registration[i];

		model.registration[i] = NULL;
		model.has_rdma[i] = false;
		if (!lost)
			continue;
		dp_registration_remove(&pool->holders, lost, &pool->events);
		dp_registration_free(lost);
	}
}

/* Ends the process without a close: what is on media remains. */
static void call_crash(const struct call *call)
{
	struct daxpin_pool *pool = model.pool;

	fuzz_log("%3u crash, %s", run.calls,
		 call->flags & 1 ? "the machine too" : "of the process");
	lose_registrations(pool);
	dp_pool_tear_down(&pool->media);
	dp_discard(pool);
	m_crash(call->flags & 1);
	machine_expect_quiet();
	memset(model.watch, 0, sizeof(model.watch));
	memset(model.hold, 0, sizeof(model.hold));
	run.ops = 0;
}

static void call_drain(const struct call *call)
{
	uint64_t deadline = call->flags & 1 ? machine.now_ns + call->a : 0;

	agree("drain", daxpin_pool_drain(model.pool, deadline), m_drain());
}

static void call_info(const struct call *call)
{
	struct daxpin_pool_info info = { .size = call->a % sizeof(size_t) };

	agree("info: size", daxpin_pool_info(model.pool, &info), -EINVAL);
	agree("info: nowhere", daxpin_pool_info(model.pool, NULL), -EINVAL);
	check_info();
}

/* ------------------------------------------------------------------ space */

static void expect_zero(const struct m_generation *generation)
{
	static const char zeroes[4096];
	const char *base = daxpin_ptr(model.pool, generation->extent, 0);

	expect(!memcmp(base, zeroes, 4096) &&
		       !memcmp(base + m_size(generation) - 4096, zeroes, 4096),
	       "not zero");
}

static uint32_t count_going_on(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < model.generations; i++)
		count += model.generation[i].state != DAXPIN_STATE_FREE;
	return count;
}

/*
 * A reserve may fail at its first attempt and find the blocks in a thread's cache at
 * the second. It has noted a refusal then, which a RETRY follows.
 */
static void note_first_attempt(void)
{
	if (atomic_load(&model.pool->events.refused))
		m_refused();
}

static void call_reserve(const struct call *call)
{
	uint32_t flags = call->flags & 0x80 ? call->flags :
			 call->flags & 1 ? 1 | (call->flags & 0x40) >> 5 : 0;
	uint64_t size = call->flags & 2 ? call->b : call->b % (600 * 4096);
	struct daxpin_extent extent;
	struct m_generation *generation;
	int want = m_reserve(size, flags);

	if (!want && count_going_on() >= GENERATIONS_FULL)
		return;
	agree("reserve", daxpin_reserve(model.pool, size, flags, &extent), want);
	if (want)
		return;
	note_first_attempt();
	generation = m_reserved(size, extent);
	if (flags & DAXPIN_RESERVE_ZERO)
		expect_zero(generation);
	generation->tag = extent.addr ^ extent.gen * 0x9e3779b97f4a7c15;
	*tag_at(generation) = generation->tag;
}

static void call_cancel(const struct call *call)
{
	struct daxpin_extent extent = handle_of(call);

	agree("cancel", daxpin_cancel(model.pool, extent), m_cancel(extent));
}

/* A flush can fail with page granularity only. */
static uint32_t set_failure(uint32_t at)
{
	machine.flushes_to_failure = model.page ? at : 0;
	return machine.flushes_to_failure;
}

static const char *name_for(uint32_t at)
{
	static const char long_name[] =
		"a name of forty-seven bytes, as long as can be.";
	static const char longer_name[] =
		"a name of forty-eight bytes, one longer than can.";
	static char name[16];

	static_assert(sizeof(long_name) == DAXPIN_ROOT_NAME_MAX, "the longest");
	switch (at % 16) {
	case 12:
		return long_name;
	case 13:
		return longer_name;
	case 14:
		return "";
	case 15:
		return NULL;
	}
	/* The names of a full directory, see fill_roots(). */
	snprintf(name, sizeof(name), "n%u", at % 12 + (at & 16 ? 2000 : 0));
	return name;
}

/* Copies the name, because an operation has only a pointer. */
static const char *keep_name(const char *name)
{
	static char kept[DAXPIN_OPS_MAX][64];

	if (!name)
		return NULL;
	snprintf(kept[run.ops], sizeof(kept[0]), "%s", name);
	return kept[run.ops];
}

#define OP_TYPE(flags)	((flags) & 3)
#define OP_FLAGS(flags)	((flags) >> 2 & 3)
#define OP_ODD		0x10u		/* Combinations of fields that are invalid */
#define OP_NOTHING	0x20u		/* ROOT: removes the name */
#define OP_MORE		0x40u		/* collect a batch: do not publish yet */

/* The type is KEEP to ROOT, of an extent; object_op() makes it one of an object. */
static struct daxpin_op op_for(const struct call *call)
{
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP + OP_TYPE(call->flags) };

	if (op.type == DAXPIN_OP_KEEP)
		op.flags = OP_FLAGS(call->flags);
	if (op.type == DAXPIN_OP_SET) {
		op.offset = call->a % 512 * 8;
		op.value = call->b;
	}
	if (op.type == DAXPIN_OP_ROOT)
		op.name = keep_name(name_for(call->a));
	return op;
}

static struct daxpin_op extent_op(const struct call *call)
{
	struct daxpin_op op = op_for(call);

	op.extent = handle_of(call);
	return op;
}

static struct daxpin_op object_op(const struct call *call)
{
	struct daxpin_op op = op_for(call);

	op.extent.addr = object_of(call);
	if ((call->twist & 15) == 8)
		op.extent.gen = call->b;
	if (op.type == DAXPIN_OP_KEEP) {
		op.type = DAXPIN_OP_OBJECT_KEEP;
		op.flags &= DAXPIN_OP_PERSISTED;
	} else if (op.type == DAXPIN_OP_RETIRE) {
		op.type = DAXPIN_OP_OBJECT_FREE;
	} else if (op.type == DAXPIN_OP_SET) {
		op.offset = call->a & 0x80000000 ? 0 : call->a % 260 * 8;
	}
	return op;
}

/* Makes it invalid, if the flags say so. */
static struct daxpin_op odd_op(const struct call *call, struct daxpin_op op)
{
	if (op.type == DAXPIN_OP_ROOT && call->flags & OP_NOTHING)
		op.extent = (struct daxpin_extent) { 0, 0 };
	if (!(call->flags & OP_ODD))
		return op;
	if (call->a & 0x10000)
		op.offset = call->b & 0xffffffff;
	if (call->a & 0x20000)
		op.length = call->b >> 40;
	if (call->a & 0x40000)
		op.value = call->b;
	if (call->a & 0x80000)
		op.name = keep_name("odd");
	if (call->a & 0x100000)
		op.flags = call->b >> 32;
	if (call->a & 0x200000)
		op.type = call->b >> 24;
	return op;
}

static void log_op(const struct daxpin_op *op)
{
	fuzz_log("    op: type %u, flags %u, 0x%llx 0x%llx, offset 0x%llx, length 0x%llx, value 0x%llx, name %s",
		 op->type, op->flags, (unsigned long long)op->extent.addr,
		 (unsigned long long)op->extent.gen,
		 (unsigned long long)op->offset, (unsigned long long)op->length,
		 (unsigned long long)op->value, op->name ? op->name : "-");
}

/* If a batch has two mistakes, the library may report either of them. */
static void publish(uint32_t fails_at)
{
	struct m_errors want = m_publish(run.op, run.ops, set_failure(fails_at));
	char errmsg[300] = "left";
	const struct daxpin_publish_options options = {
		.size = sizeof(options), .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	size_t failed = SIZE_MAX;
	bool agreed;
	int ret;

	/* Pages of the table are flushed before every mistake of a batch is found. */
	if (want.count && !model.failed)
		machine.flushes_to_failure = 0;
	ret = daxpin_publish(model.pool, run.op, run.ops, &options, &failed);
	agreed = !want.count && !ret;
	machine.flushes_to_failure = 0;
	for (uint32_t i = 0; i < want.count; i++)
		agreed = agreed || ret == want.error[i];
	fuzz_log("%3u publish %u: %s", run.calls, run.ops, name_of(ret));
	expect(agreed, "call %u, publish: returned %s, the model %d, %d", run.calls,
	       name_of(ret), want.count ? want.error[0] : 0,
	       want.count > 1 ? want.error[1] : 0);
	expect(ret ? failed <= run.ops && errmsg[0] :
	       failed == SIZE_MAX && !errmsg[0],
	       "call %u, publish: %s, operation %zu: %s", run.calls,
	       name_of(ret), failed, errmsg);
	if (!ret)
		m_published(run.op, run.ops);
	if (ret == -EAGAIN)
		m_refused();
	run.ops = 0;
}

/* The test's own tag, at the end of each extent, must not be changed by a SET. */
static bool sets_a_tag(const struct daxpin_op *op)
{
	struct m_generation *generation = m_find(op->extent);

	if (op->type == DAXPIN_OP_SET && !op->extent.gen)
		return op->offset == m_object_size(op->extent.addr) - 8;
	return op->type == DAXPIN_OP_SET && generation &&
	       op->offset == m_size(generation) - 8;
}

static void collect(const struct call *call, struct daxpin_op op)
{
	uint32_t fails_at = call->twist >> 4 & 7;

	op = odd_op(call, op);
	if (sets_a_tag(&op))
		return;
	log_op(&op);
	run.op[run.ops++] = op;
	if (call->flags & OP_MORE && run.ops < DAXPIN_OPS_MAX)
		return;
	/*
	 * A flush fails only if all ranges are valid: otherwise publish() returns
	 * before it.
	 */
	for (uint32_t i = 0; i < run.ops; i++)
		if (run.op[i].offset || run.op[i].length)
			fails_at = 0;
	publish(fails_at);
}

static void call_publish(const struct call *call)
{
	collect(call, extent_op(call));
}

static void call_publish_object(const struct call *call)
{
	collect(call, object_op(call));
}

static void call_publish_badly(const struct call *call)
{
	static struct daxpin_op ops[DAXPIN_OPS_MAX + 1];

	ops[0] = (struct daxpin_op) {
		.type = DAXPIN_OP_KEEP, .extent = handle_of(call),
	};
	agree("publish: NULL", daxpin_publish(model.pool, NULL, 1,
					      NULL, NULL), -EINVAL);
	agree("publish: none", daxpin_publish(model.pool, ops, 0,
					      NULL, NULL), -EINVAL);
	agree("publish: too many", daxpin_publish(model.pool, ops,
						  DAXPIN_OPS_MAX + 1,
						  NULL, NULL), -E2BIG);
}

static void call_root(const struct call *call)
{
	struct daxpin_extent want = { 0 }, got = { 0 };
	const char *name = name_for(call->a);

	agree("root", daxpin_root(model.pool, name, &got), m_root(name, &want));
	expect(got.addr == want.addr && got.gen == want.gen,
	       "the root of another extent");
	agree("root: nowhere", daxpin_root(model.pool, name, NULL), -EINVAL);
}

/* Makes all roots except two, in batches of the largest size. */
static void fill_roots(void)
{
	struct call reserve = { .flags = 2, .b = 4096 }, keep = { 0 };
	struct daxpin_op *op;
	char name[16];

	call_reserve(&reserve);
	call_publish(&keep);
	for (uint32_t i = 0; i < M_ROOTS - 2; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		op = &run.op[run.ops];
		*op = (struct daxpin_op) {
			.type = DAXPIN_OP_ROOT,
			.extent = model.generation[0].extent,
			.name = keep_name(name),
		};
		if (++run.ops == DAXPIN_OPS_MAX)
			publish(0);
	}
	publish(0);
}

static void call_persist(const struct call *call)
{
	struct daxpin_extent extent = handle_of(call);
	uint64_t length = call->b >> 40;
	int want = m_persist(extent, call->a, length,
			     set_failure(call->twist >> 4 & 7));

	agree("persist",
	      daxpin_persist(model.pool, extent, call->a, length), want);
	machine.flushes_to_failure = 0;
}

static void call_extent_at(const struct call *call)
{
	struct daxpin_extent extent = handle_of(call), got = { 0 }, want = { 0 };

	agree("extent_at", daxpin_extent_at(model.pool, extent.addr, &got),
	      m_extent_at(extent.addr, &want));
	expect(got.addr == want.addr && got.gen == want.gen, "another extent");
	agree("extent_at: nowhere",
	      daxpin_extent_at(model.pool, extent.addr, NULL), -EINVAL);
}

/* The extents that begin in a range. */
static void foreach_in(const struct call *call)
{
	uint64_t end = model.mapped * M_SEGMENT_SIZE, begin = call->b % end;
	uint64_t length = call->flags & 1 ? M_SEGMENT_SIZE : (call->b >> 32) % end;
	struct walk walk = { 0, 0, 0 };
	uint32_t count = 0;

	if (call->flags & 2)
		begin = begin / M_SEGMENT_SIZE * M_SEGMENT_SIZE;
	if (length > end - begin) {
		agree("foreach_in: past the end",
		      daxpin_foreach_in(model.pool, begin, length, walk_one, &walk),
		      -EINVAL);
		return;
	}
	for (uint32_t i = 0; i < model.generations; i++)
		count += model.generation[i].state == DAXPIN_STATE_LIVE &&
			 model.generation[i].extent.addr - begin <
			 (length ? length : end - begin);
	agree("foreach_in",
	      daxpin_foreach_in(model.pool, begin, length, walk_one, &walk), 0);
	expect(walk.seen == count, "%u extents in the range, not %u", walk.seen, count);
}

static void call_foreach(const struct call *call)
{
	uint32_t live = count_live(), stop = live ? call->a % (live + 2) : 0;
	struct walk walk = { 0, 0, stop };

	agree("foreach", daxpin_foreach(model.pool, walk_one, &walk),
	      stop <= live ? (int)stop : 0);
	agree("foreach: no fn", daxpin_foreach(model.pool, NULL, NULL), -EINVAL);
	walk = (struct walk) { 0, 0, 0 };
	agree("foreach_in", daxpin_foreach_in(model.pool, 0, 0, walk_one, &walk), 0);
	expect(walk.seen == live, "%u extents in the range of all", walk.seen);
	foreach_in(call);
	agree("foreach_in: too far",
	      daxpin_foreach_in(model.pool, model.mapped * M_SEGMENT_SIZE, call->b,
				walk_one, &walk), -EINVAL);
}

/* A copy has the tag of the original. No flush fails here: the copy would use up a
 * generation of blocks that the model cannot know. */
static void call_copy(const struct call *call)
{
	struct daxpin_extent from = handle_of(call), to;
	struct m_generation *original = m_find(from), *copy;
	int want = m_copy(from);

	if (!want && count_going_on() >= GENERATIONS_FULL)
		return;
	agree("copy", daxpin_copy(model.pool, from, NULL, &to), want);
	if (want)
		return;
	note_first_attempt();
	copy = m_reserved(m_size(original), to);
	copy->tag = original->tag;
	check_payload(copy);
}

static void sum_holders(const struct daxpin_holder *holder, void *arg)
{
	uint32_t *sum = arg;

	if (holder->extent.gen || holder->extent.addr)
		*sum += holder->count;
}

static void call_query(const struct call *call)
{
	struct daxpin_extent extent = handle_of(call);
	struct m_generation *generation = m_find(extent);
	int want = m_query(extent), holds = m_holds(extent);
	enum daxpin_state state;
	uint64_t size;
	uint32_t sum = 0;

	agree("size", daxpin_size(model.pool, extent, &size), want);
	agree("state", daxpin_state(model.pool, extent, &state), want);
	agree("holds", daxpin_holds(model.pool, extent, sum_holders, &sum),
	      holds);
	expect(holds < 0 || sum == (uint32_t)holds, "holders");
	expect(!daxpin_ptr(model.pool, extent, call->b) ==
	       (want || call->b >= m_size(generation)), "ptr");
	if (!want)
		expect(size == m_size(generation) && state == generation->state,
		       "size or state");
	if (call->flags & 0x10)
		call_copy(call);
}

/* ------------------------------------------------------------------ holds */

static uint32_t access_of(const struct call *call)
{
	return call->flags & 0x80 ? call->a : 1u + call->flags % 3;
}

/*
 * Returns an array: this extent, the next one of the model's list, and this one again,
 * as often as the flags say. The model makes one call for each entry.
 */
static size_t many_of(const struct call *call, struct daxpin_extent *extents)
{
	size_t count = 1 + (call->flags & 7);
	struct call next = *call;

	next.slot++;
	for (size_t i = 0; i < count; i++)
		extents[i] = handle_of(i == 1 ? &next : call);
	return count;
}

static void call_hold_many(const struct call *call)
{
	struct daxpin_extent extents[8];
	size_t count = many_of(call, extents), i = 0, failed = count;
	uint32_t access = access_of(call);
	int want = 0;

	while (!want && i < count) {
		want = m_hold(extents[i], access);
		i += !want;
	}
	agree("hold_many", daxpin_hold_many(model.pool, extents, count, access,
					    &failed), want);
	if (!want)
		return;
	expect(failed == i || want == -EINVAL || want == -EOVERFLOW ||
	       access & DAXPIN_HOLD_EXCLUSIVE,
	       "another entry failed");
	while (i)
		m_drop(extents[--i]);
}

static void call_hold(const struct call *call)
{
	struct daxpin_extent extent = handle_of(call);
	uint32_t access = access_of(call);

	if (call->flags & 0x40) {
		call_hold_many(call);
		return;
	}
	agree("hold", daxpin_hold(model.pool, extent, access),
	      m_hold(extent, access));
}

static void call_clone(const struct call *call)
{
	struct daxpin_extent extent = handle_of(call);
	uint32_t access = access_of(call);

	agree("hold_clone", daxpin_hold_clone(model.pool, extent, access),
	      m_clone(extent, access));
}

/*
 * Would `count` drops end a labelled hold, which only daxpin_drop_labelled() may end?
 */
static bool would_take_labelled(struct daxpin_extent extent, uint32_t count)
{
	struct m_generation *generation = m_find(extent);
	uint32_t labelled = 0;

	for (uint32_t i = 0; i < M_HOLDS; i++)
		labelled += model.hold[i].held &&
			    model.hold[i].hold.extent.addr == extent.addr &&
			    model.hold[i].hold.extent.gen == extent.gen;
	return generation && labelled && generation->count < labelled + count;
}

static void call_drop_many(const struct call *call)
{
	struct daxpin_extent extents[8];
	size_t count = many_of(call, extents), failed = count, first = count;
	int want = 0, ret;

	for (size_t i = 0; i < count; i++)
		if (would_take_labelled(extents[i], count))
			return;
	for (size_t i = 0; i < count; i++) {
		ret = m_drop(extents[i]);
		if (ret && !want) {
			want = ret;
			first = i;
		}
	}
	agree("drop_many", daxpin_drop_many(model.pool, extents, count,
					    &failed), want);
	expect(failed == first, "another entry failed");
}

static void call_drop(const struct call *call)
{
	struct daxpin_extent extent = handle_of(call);

	if (call->flags & 0x40) {
		call_drop_many(call);
		return;
	}
	if (!would_take_labelled(extent, 1))
		agree("drop", daxpin_drop(model.pool, extent), m_drop(extent));
}

static void call_labelled(const struct call *call)
{
	struct m_hold *hold = &model.hold[call->a % M_HOLDS];
	struct daxpin_extent extent;
	uint32_t access = access_of(call);
	int want;

	if (hold->held) {
		extent = hold->hold.extent;
		agree("hold_labelled: again",
		      daxpin_hold_labelled(model.pool, extent, 1, "again",
					   &hold->hold), -EINVAL);
		hold->held = false;
		agree("drop_labelled",
		      daxpin_drop_labelled(model.pool, &hold->hold),
		      m_drop(extent));
		return;
	}
	extent = handle_of(call);
	agree("drop_labelled: none",
	      daxpin_drop_labelled(model.pool, &hold->hold), -EINVAL);
	want = m_hold(extent, access & ~DAXPIN_HOLD_GRANT);
	agree("hold_labelled",
	      daxpin_hold_labelled(model.pool, extent, access, "the label",
				   &hold->hold), want);
	hold->held = !want;
}

static void call_idle(const struct call *call)
{
	struct daxpin_extent extent = handle_of(call);
	uint64_t deadline = call->flags & 1 ? machine.now_ns + call->a : 0;

	agree("idle", daxpin_idle(model.pool, extent), m_idle(extent));
	agree("wait_idle", daxpin_wait_idle(model.pool, extent, deadline),
	      m_wait_idle(extent));
}

/* ----------------------------------------------------------------- events */

static void check_signals(void)
{
	uint64_t count = machine_event_count(daxpin_event_fd(model.pool));

	expect(count == model.signals, "the eventfd was written %llu times, not %llu",
	       (unsigned long long)count, (unsigned long long)model.signals);
	model.signals = 0;
}

static void call_watch(const struct call *call)
{
	struct m_watch *watch = &model.watch[call->a % M_WATCHES];
	struct daxpin_extent extent = handle_of(call);

	agree("watch", daxpin_watch(model.pool, extent, watch, &watch->watch),
	      m_watch(watch, extent));
	check_signals();
}

static void call_unwatch(const struct call *call)
{
	struct m_watch *watch = &model.watch[call->a % M_WATCHES];

	agree("unwatch", daxpin_unwatch(model.pool, &watch->watch),
	      m_unwatch(watch));
	agree("unwatch: NULL", daxpin_unwatch(model.pool, NULL), -EINVAL);
}

static void call_events(const struct call *call)
{
	struct daxpin_event event = { 0 };
	int ret = 1;

	if (call->flags & 1)
		agree("event_arm", daxpin_event_arm(model.pool), m_arm());
	agree("next_event: nowhere", daxpin_next_event(model.pool, NULL),
	      -EINVAL);
	for (uint32_t i = call->a % 4; i && ret > 0; i--) {
		ret = daxpin_next_event(model.pool, &event);
		fuzz_log("%3u next_event: %d", run.calls, ret);
		m_event(ret ? &event : NULL);
		expect(!ret || !event.watch || event.watch->arg == event.watch,
		       "arg is not ours");
	}
	check_signals();
}

/* ---------------------------------------------------------------- objects */

static void reserve_object(uint64_t size, uint32_t flags)
{
	int want = m_object_reserve(size, flags);
	struct m_object *object;
	uint64_t addr, bytes;
	char *at;

	agree("object_reserve", daxpin_object_reserve(model.pool, size, flags, &addr),
	      want);
	if (want == -ENOSPC)
		m_refused();
	if (want)
		return;
	note_first_attempt();
	object = m_object_reserved(size, addr);
	bytes = object->slab->size;
	at = daxpin_object_ptr(model.pool, addr);
	expect(at && addr % 16 == 0, "0x%llx", (unsigned long long)addr);
	for (uint64_t i = 0; flags && i < bytes; i++)
		expect(!at[i], "byte %llu is not zero", (unsigned long long)i);
	/* What an object had before must be overwritten. */
	memset(at, 0x5a, bytes);
	object->tag = addr ^ ++run.tags * 0x9e3779b97f4a7c15;
	memcpy(at + bytes - 8, &object->tag, 8);
}

static uint32_t count_slabs(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < M_SLABS; i++)
		count += model.slab[i].used || model.slab[i].durable;
	return count;
}

/* Reserves several objects of one size, so that slabs become full. */
static void call_object_reserve(const struct call *call)
{
	uint64_t size = call->flags & 2 ? call->b : call->a % (DAXPIN_OBJECT_MAX + 2);
	uint32_t flags = call->flags & 0x80 ? call->a >> 16 :
			 call->flags & 1 ? DAXPIN_RESERVE_ZERO : 0;

	if (call->flags & 0x40)
		size = DAXPIN_OBJECT_MAX;
	for (uint32_t i = 0; i <= (call->flags >> 2 & 15u) &&
	     count_objects() < M_OBJECTS && count_slabs() < M_SLABS - 1; i++)
		reserve_object(size, flags);
	agree("object_reserve: nowhere",
	      daxpin_object_reserve(model.pool, 16, 0, NULL), -EINVAL);
}

static void call_object_cancel(const struct call *call)
{
	uint64_t addr = object_of(call);

	agree("object_cancel", daxpin_object_cancel(model.pool, addr),
	      m_object_cancel(addr));
}

static void call_object_query(const struct call *call)
{
	uint64_t addr = object_of(call), size = 0, offset = call->a % 2100;
	uint64_t length = call->flags & 1 ? call->b : (call->a >> 16) % 2100;
	int want = m_object_query(addr), read = m_object_read(addr, offset, length);
	char bytes[DAXPIN_OBJECT_MAX], *at = daxpin_object_ptr(model.pool, addr);

	agree("object_size", daxpin_object_size(model.pool, addr, &size), want);
	expect(size == (want ? 0 : m_object_size(addr)), "size");
	expect(!at == (want != 0), "ptr of an object");
	agree("object_read", daxpin_object_read(model.pool, addr, offset, length,
						bytes), read);
	expect(read || !length || !memcmp(bytes, at + offset, length),
	       "other bytes were read");
	agree("object_size: nowhere", daxpin_object_size(model.pool, addr, NULL),
	      -EINVAL);
	agree("object_read: nowhere", daxpin_object_read(model.pool, addr, 0, 8, NULL),
	      -EINVAL);
}

static void call_foreach_object(const struct call *call)
{
	uint32_t live = count_bits(), stop = live ? call->a % (live + 2) : 0;
	struct walk walk = { 0, 0, stop };

	agree("foreach_object",
	      daxpin_foreach_object(model.pool, walk_object, &walk),
	      stop <= live ? (int)stop : 0);
	agree("foreach_object: no fn", daxpin_foreach_object(model.pool, NULL, NULL),
	      -EINVAL);
}

/* --------------------------------------------------------------- adapters */

/* The machine has no netlink, so no protection domain may be created. */
static int no_domain(int make, void *arg)
{
	(void)make;
	(void)arg;
	expect(false, "a protection domain was created without netlink");
	return -EIO;
}

static void call_register(const struct call *call)
{
	bool rdma = call->flags & 1;
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "registration",
		.rdma_device = rdma ? "a" : NULL,
		.rdma_domain = rdma ? no_domain : NULL,
		.errmsg = run.errmsg, .errmsg_size = sizeof(run.errmsg),
	};
	uint32_t at = call->slot % M_REGISTRATIONS;
	int want;

	if (model.registration[at]) {
		unregister(at);
		return;
	}
	want = m_register(call->a, rdma);
	model.registered_on[at] = call->a;
	agree("register", daxpin_register(model.pool, call->a, &options,
					  &model.registration[at]), want);
	model.has_rdma[at] = !want && rdma;
	options.rdma_domain = rdma ? NULL : no_domain;
	want = call->a < model.segments || call->a == DAXPIN_ALL_SEGMENTS ?
	       -EINVAL : -ENOENT;
	if (machine.kind == DP_SOURCE_DISK && want == -EINVAL)
		want = -EOPNOTSUPP;
	if (rdma && model.readonly && want == -EINVAL)
		want = -EROFS;
	agree("register: half of it",
	      daxpin_register(model.pool, call->a, &options,
			      &(struct daxpin_registration *) { NULL }), want);
	options.label = NULL;
	agree("register: no label",
	      daxpin_register(model.pool, 0, &options,
			      &(struct daxpin_registration *) { NULL }), -EINVAL);
}

static void call_segment(const struct call *call)
{
	struct daxpin_segment segment;
	int want = call->a < model.mapped ? 0 : -ENOENT;

	agree("segment", daxpin_segment(model.pool, call->a, &segment), want);
	expect(want || (segment.addr == call->a * M_SEGMENT_SIZE &&
			segment.size == M_SEGMENT_SIZE), "another segment");
	agree("segment: nowhere", daxpin_segment(model.pool, 0, NULL), -EINVAL);
	agree("unregister: NULL", daxpin_unregister(NULL), -EINVAL);
}

/* ------------------------------------------------------------------- runs */

static const struct {
	void (*fn)(const struct call *call);
	bool closed;			/* also while no pool is open */
} calls[] = {
	{ call_reserve, false },
	{ call_publish, false },
	{ call_hold, false },
	{ call_drop, false },
	{ call_cancel, false },
	{ call_clone, false },
	{ call_labelled, false },
	{ call_watch, false },
	{ call_unwatch, false },
	{ call_events, false },
	{ call_idle, false },
	{ call_query, false },
	{ call_extent_at, false },
	{ call_foreach, false },
	{ call_persist, false },
	{ call_crash, false },
	{ call_drain, false },
	{ call_register, false },
	{ call_segment, false },
	{ call_info, false },
	{ call_publish_badly, false },
	{ call_root, false },
	{ call_open, true },
	{ call_open_badly, true },
	{ call_create, true },
	{ call_close, false },
	{ call_object_reserve, false },
	{ call_object_cancel, false },
	{ call_object_query, false },
	{ call_foreach_object, false },
	{ call_publish_object, false },
	{ call_grow, false },
	{ call_shrink, false },
};

static void make_call(const struct call *call)
{
	uint32_t what = call->what % (sizeof(calls) / sizeof(calls[0]));

	if (!model.pool && !calls[what].closed)
		return;
	calls[what].fn(call);
	run.calls++;
	if (model.pool && (fuzz_thorough || run.calls % CHECK_EVERY == 0))
		check_all();
}

static void drop_all(void)
{
	struct daxpin_extent extent;

	for (uint32_t i = 0; i < M_HOLDS; i++) {
		if (!model.hold[i].held)
			continue;
		model.hold[i].held = false;
		extent = model.hold[i].hold.extent;
		agree("drop_labelled", daxpin_drop_labelled(model.pool,
				&model.hold[i].hold), m_drop(extent));
	}
	for (uint32_t i = 0; i < model.generations; i++)
		while (model.generation[i].state != DAXPIN_STATE_FREE &&
		       model.generation[i].count)
			agree("drop", daxpin_drop(model.pool,
						  model.generation[i].extent),
			      m_drop(model.generation[i].extent));
}

/* Closes, opens as after a reboot, and compares with what was published. */
static void finish(void)
{
	struct call again = { 0 };

	if (model.pool) {
		unregister_all();
		drop_all();
		check_most();
		call_close(&again);
	}
	/* The first close may have returned -EIO because the medium failed. */
	if (model.pool)
		call_close(&again);
	expect(!model.pool, "does not close");
	machine_set_boot(machine.boot_id[0] + 1);
	call_open(&again);
	expect(model.pool, "does not open");
	call_close(&again);
}

/* Gives each free block of an empty pool the highest generation. */
static void age(struct machine_disk *disk, uint32_t segments)
{
	const struct dp_super *super = (const void *)disk->memory;
	uint64_t seed = format_seed(super->uuid), word;

	for (uint32_t b = 0; b < segments * M_BLOCKS; b++) {
		word = format_word_sealed(seed, b, 1ull << 18 |
					  0xfffffffull << 36);
		if (b % M_BLOCKS >= M_FIRST)
			machine_write(b / M_BLOCKS,
				      format_word_offset(M_SEGMENT_SIZE, b % M_BLOCKS),
				      &word, 8);
	}
	/* In each table all pages are in use but the one of the metadata's blocks. */
	for (uint32_t i = 0; i < segments; i++) {
		word = format_pages_sealed(seed, i * M_BLOCKS,
					   1ull << 47 | 0xfffe);
		machine_write(i, 0x2000, &word, 8);
	}
}

static struct machine_disk *make_base(uint32_t segments, bool aged)
{
	struct machine_disk *disk = machine_disk_new();
	struct daxpin_pool_options options = options_for(0);
	struct daxpin_pool *pool;

	options.segment_size = M_SEGMENT_SIZE;
	options.pool_size = segments * M_SEGMENT_SIZE;
	machine_reset(disk);
	expect(!daxpin_pool_create(MACHINE_POOL, &options, &pool), "create");
	expect(!daxpin_pool_close(pool), "close");
	if (aged)
		age(disk, segments);
	machine_disk_save(disk);
	return disk;
}

/*
 * Header: byte 0 is segments and age, byte 1 the kind of memory, byte 2 the
 * granularity, byte 3 bit 0 RDMA devices, bit 1 a full directory.
 */
static void begin(const uint8_t header[16])
{
	static struct machine_disk *base[4];
	struct call open = { 0 };
	uint32_t at = header[0] & 3;

	memset(&run, 0, sizeof(run));
	if (!base[at])
		base[at] = make_base(1 + (at & 1), at & 2);
	machine_reset(base[at]);
	m_begin(1 + (at & 1), 1, at & 2 ? 0xfffffff : 0);
	machine.kind = (enum dp_source_kind)(DP_SOURCE_FSDAX + header[1] % 3);
	run.granularity = header[2] & 1 ? DAXPIN_GRANULARITY_PAGE :
			  DAXPIN_GRANULARITY_AUTO;
	model.page = run.granularity || machine.kind != DP_SOURCE_FSDAX;
	machine.has_rdma = header[3] & 1;
	call_open(&open);
	if (header[3] & 2)
		fill_roots();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t header[16] = { 0 };
	struct call call;

	memcpy(header, data, dp_min(size, sizeof(header)));
	begin(header);
	for (size_t at = sizeof(header); at + sizeof(call) <= size &&
	     run.calls < CALLS_MAX; at += sizeof(call)) {
		memcpy(&call, data + at, sizeof(call));
		make_call(&call);
	}
	finish();
	machine_expect_quiet();
	return 0;
}
