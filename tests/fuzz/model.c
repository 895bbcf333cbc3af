/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include "model.h"

#define GEN_MASK	0xfffffffu
#define GENERATION_BITS	40
#define GENERATION_MASK	((1ull << GENERATION_BITS) - 1)

struct model model;

void m_begin(uint32_t segments, uint64_t epoch, uint32_t gen)
{
	memset(&model, 0, sizeof(model));
	model.segments = model.mapped = segments;
	model.epoch = epoch;
	for (uint32_t b = 0; b < M_SEGMENTS * M_BLOCKS; b++)
		model.block[b].gen = gen;
}

/* ---------------------------------------------------------------- handles */

/* Is it past the pool, or in metadata? */
static bool is_bad_place(uint64_t addr)
{
	uint64_t block = addr / 4096;

	return block >= model.mapped * M_BLOCKS || block % M_BLOCKS < M_FIRST;
}

/* Returns 0, or the error of every call with this handle. */
static int bad_handle(struct daxpin_extent extent)
{
	if (extent.addr % 4096 || is_bad_place(extent.addr))
		return -EINVAL;
	if (extent.gen >> GENERATION_BITS == (model.epoch & 0xffffff))
		return 0;
	/* No extent has gen 0: the address may be an object's. */
	return extent.gen ? -ESTALE : -EINVAL;
}

struct m_generation *m_find(struct daxpin_extent extent)
{
	for (uint32_t i = 0; i < model.generations; i++)
		if (model.generation[i].extent.addr == extent.addr &&
		    model.generation[i].extent.gen == extent.gen &&
		    model.generation[i].state != DAXPIN_STATE_FREE)
			return &model.generation[i];
	return NULL;
}

/*
 * Has this generation not been handed out yet? Its block is free and will have it next.
 */
static bool is_to_come(struct daxpin_extent extent)
{
	return (extent.gen & GENERATION_MASK) ==
	       model.block[extent.addr / 4096].generation;
}

/* Does a slab begin at this address? */
static bool is_slab(uint64_t addr)
{
	for (uint32_t i = 0; i < M_SLABS; i++)
		if (model.slab[i].used && model.slab[i].addr == addr)
			return true;
	return false;
}

static int find(struct daxpin_extent extent,
		struct m_generation **ret_generation)
{
	int ret = bad_handle(extent);

	if (ret)
		return ret;
	*ret_generation = m_find(extent);
	if (*ret_generation)
		return 0;
	return is_to_come(extent) && is_slab(extent.addr) ? -EINVAL : -ESTALE;
}

uint64_t m_size(const struct m_generation *generation)
{
	return generation->blocks * 4096ull;
}

static struct m_generation *new_generation(struct daxpin_extent extent,
					   uint32_t blocks,
					   enum daxpin_state state)
{
	uint32_t at = model.generations;

	/* Reuse the place of one that has ended. */
	for (uint32_t i = 0; at == M_GENERATIONS && i < M_GENERATIONS; i++)
		if (model.generation[i].state == DAXPIN_STATE_FREE)
			at = i;
	if (at == M_GENERATIONS)
		return NULL;
	if (at == model.generations)
		model.generations++;
	model.generation[at] = (struct m_generation) {
		.extent = extent, .blocks = blocks, .state = state,
	};
	return &model.generation[at];
}

static void mark(uint64_t block, uint32_t blocks, bool taken)
{
	for (uint64_t b = block; b < block + blocks; b++) {
		expect(model.block[b].taken != taken,
		       "block %llu is %s already", (unsigned long long)b,
		       taken ? "taken" : "free");
		model.block[b].taken = taken;
	}
}

/* ----------------------------------------------------------------- events */

static void signal_if_armed(void)
{
	model.signals += model.armed;
	model.armed = false;
}

static void fire(uint64_t addr)
{
	bool any = false;

	model.batches++;
	for (uint32_t i = 0; i < M_WATCHES; i++) {
		struct m_watch *watch = &model.watch[i];

		if (watch->state != M_WAITING || watch->addr != addr)
			continue;
		watch->state = M_READY;
		watch->batch = model.batches;
		any = true;
	}
	if (any)
		signal_if_armed();
}

void m_refused(void)
{
	model.refused = true;
}

static void queue_retry(void)
{
	if (model.refused && !model.retry) {
		model.retry = true;
		signal_if_armed();
	}
	model.refused = false;
}

static void end_generation(struct m_generation *generation)
{
	uint64_t block = generation->extent.addr / 4096;

	for (uint32_t i = 0; i < M_SETS; i++)
		if (model.set[i].addr / 4096 - block < generation->blocks)
			model.set[i].addr = 0;
	mark(block, generation->blocks, false);
	model.block[block].generation = (model.block[block].generation + 1) &
					GENERATION_MASK;
	generation->state = DAXPIN_STATE_FREE;
	queue_retry();
}

static void end_or_retire(struct m_generation *generation)
{
	generation->publishing = false;
	generation->state = DAXPIN_STATE_RETIRED;
	if (!generation->count)
		end_generation(generation);
}

/* ---------------------------------------------------------------- objects */

/* The size of the objects that have `size` bytes: 16, 32 ... 128, then in eight steps
 * for each doubling. */
static uint32_t object_size_for(uint64_t size)
{
	uint32_t step = 16, end = 128;

	for (; size > end; end *= 2)
		step = end / 8;
	return (size + step - 1) / step * step;
}

/* The most objects that fit into a slab behind a bit for each, 47 bits a word. */
static void shape_slab(struct m_slab *slab, uint32_t size)
{
	slab->size = size;
	slab->count = 0;
	for (uint32_t n = 1; n <= M_SLAB_BLOCKS * 4096 / size; n++) {
		uint64_t first = ((n + 46) / 47 * 8 + 63) / 64 * 64;

		if (first + n * size > M_SLAB_BLOCKS * 4096)
			break;
		slab->first = first;
		slab->count = n;
	}
}

static struct m_slab *slab_of(uint64_t addr)
{
	for (uint32_t i = 0; i < M_SLABS; i++)
		if (model.slab[i].used &&
		    addr - model.slab[i].addr < M_SLAB_BLOCKS * 4096)
			return &model.slab[i];
	return NULL;
}

/* The number of the object that begins at an address of a slab. -1: none does. */
static int index_in(const struct m_slab *slab, uint64_t addr)
{
	uint64_t offset = addr - slab->addr - slab->first;

	if (addr - slab->addr < slab->first || offset % slab->size ||
	    offset / slab->size >= slab->count)
		return -1;
	return offset / slab->size;
}

static struct m_object *object_at(uint64_t addr)
{
	for (uint32_t i = 0; i < M_OBJECTS; i++)
		if (model.object[i].addr == addr &&
		    model.object[i].state != DAXPIN_STATE_FREE)
			return &model.object[i];
	return NULL;
}

int m_object_find(uint64_t addr, struct m_object **ret_object)
{
	struct m_slab *slab = slab_of(addr);

	if (!slab || index_in(slab, addr) < 0)
		return -EINVAL;
	*ret_object = object_at(addr);
	return 0;
}

uint64_t m_object_size(uint64_t addr)
{
	struct m_slab *slab = slab_of(addr);

	return slab && index_in(slab, addr) >= 0 ? slab->size : 0;
}

static uint32_t objects_in(const struct m_slab *slab)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < M_OBJECTS; i++)
		count += model.object[i].state != DAXPIN_STATE_FREE &&
			 model.object[i].slab == slab;
	return count;
}

static bool has_bits(const struct m_slab *slab)
{
	for (uint32_t i = 0; i < M_OBJECTS; i++)
		if (model.object[i].state != DAXPIN_STATE_FREE &&
		    model.object[i].slab == slab && model.object[i].bit)
			return true;
	return false;
}

/* Are there free objects of this size? */
static bool has_free_object(uint32_t size)
{
	for (uint32_t i = 0; i < M_SLABS; i++) {
		const struct m_slab *slab = &model.slab[i];

		if (slab->used && slab->size == size &&
		    objects_in(slab) < slab->count)
			return true;
	}
	return false;
}

static void forget_sets(uint64_t addr, uint64_t size)
{
	for (uint32_t i = 0; i < M_SETS; i++)
		if (model.set[i].addr - addr < size)
			model.set[i].addr = 0;
}

static void end_object(struct m_object *object)
{
	forget_sets(object->addr, object->slab->size);
	object->state = DAXPIN_STATE_FREE;
	object->bit = false;
}

/* The extent of a slab is freed, on media too. */
static void end_slab(struct m_slab *slab)
{
	struct m_block *block = &model.block[slab->addr / 4096];

	mark(slab->addr / 4096, M_SLAB_BLOCKS, false);
	block->generation = (block->generation + 1) & GENERATION_MASK;
	block->gen = block->generation & GEN_MASK;
	slab->used = slab->durable = false;
	queue_retry();
}

/* Frees the slabs without objects, from this address on, unless the medium has
 * failed. */
static void give_back_slabs(uint64_t begin)
{
	if (model.failed)
		return;
	for (uint32_t i = 0; i < M_SLABS; i++) {
		struct m_slab *slab = &model.slab[i];

		if (slab->used && !objects_in(slab) && slab->addr >= begin)
			end_slab(slab);
	}
}

/* A close frees the slabs without live objects. */
static void close_slabs(void)
{
	for (uint32_t i = 0; i < M_SLABS; i++) {
		struct m_slab *slab = &model.slab[i];

		if (!slab->used || has_bits(slab))
			continue;
		for (uint32_t j = 0; j < M_OBJECTS; j++)
			if (model.object[j].slab == slab &&
			    model.object[j].state != DAXPIN_STATE_FREE)
				end_object(&model.object[j]);
		end_slab(slab);
	}
}

static void find_objects_again(void)
{
	for (uint32_t i = 0; i < M_SLABS; i++) {
		struct m_slab *slab = &model.slab[i];

		slab->used = slab->durable;
		if (slab->used)
			mark(slab->addr / 4096, M_SLAB_BLOCKS, true);
	}
	for (uint32_t i = 0; i < M_OBJECTS; i++) {
		struct m_object *object = &model.object[i];

		object->state = object->durable ? DAXPIN_STATE_LIVE :
						  DAXPIN_STATE_FREE;
		object->bit = object->durable;
		object->publishing = false;
	}
	for (uint32_t i = 0; i < M_SETS; i++) {
		uint64_t addr = model.set[i].addr;
		bool kept = !slab_of(addr);

		for (uint32_t j = 0; !kept && j < M_OBJECTS; j++)
			kept = model.object[j].durable &&
			       addr - model.object[j].addr <
			       model.object[j].slab->size;
		if (!kept)
			model.set[i].addr = 0;
	}
}

/* --------------------------------------------------------- watches of extents */

int m_watch(struct m_watch *watch, struct daxpin_extent extent)
{
	struct m_generation *generation = m_find(extent);
	int ret = bad_handle(extent);

	if (watch->state != M_UNUSED || ret == -EINVAL)
		return -EINVAL;
	watch->addr = extent.addr;
	watch->state = M_WAITING;
	if (generation && generation->count)
		return 0;
	watch->state = M_READY;
	watch->batch = ++model.batches;
	signal_if_armed();
	return 0;
}

int m_unwatch(struct m_watch *watch)
{
	bool was = watch->state != M_UNUSED;

	watch->state = M_UNUSED;
	return was;
}

static uint64_t oldest_batch(void)
{
	uint64_t batch = UINT64_MAX;

	for (uint32_t i = 0; i < M_WATCHES; i++)
		if (model.watch[i].state == M_READY)
			batch = dp_min(batch, model.watch[i].batch);
	return batch;
}

int m_arm(void)
{
	model.armed = true;
	return oldest_batch() != UINT64_MAX || model.retry;
}

void m_event(const struct daxpin_event *event)
{
	struct daxpin_watch *watch = event ? event->watch : NULL;
	uint64_t batch = oldest_batch();

	expect(!watch == (batch == UINT64_MAX), "an event too %s",
	       watch ? "many" : "few");
	if (!watch) {
		expect(!event == !model.retry, "a RETRY too %s",
		       event ? "many" : "few");
		expect(!event || event->type == DAXPIN_EVENT_RETRY,
		       "event %u", event ? event->type : 0);
		model.retry = false;
	}
	for (uint32_t i = 0; watch && i < M_WATCHES; i++) {
		if (&model.watch[i].watch != watch)
			continue;
		expect(model.watch[i].state == M_READY &&
		       model.watch[i].batch == batch, "events out of order");
		model.watch[i].state = M_UNUSED;
	}
}

/* ------------------------------------------------------------------ pools */

/*
 * An owner's verbs contexts end with its boot. Within a boot, an unnumbered one cannot
 * be looked up.
 */
static bool owner_may_write(void)
{
	return model.unclean && model.unnumbered && machine.has_rdma &&
	       model.owner_boot == machine.boot_id[0];
}

int m_open(bool readonly, bool waits)
{
	if (model.pool)
		return -EBUSY;
	if (model.unclean && readonly)
		return -EUCLEAN;
	if (owner_may_write())
		return -EBUSY;
	/* The machine has no ring, which a wait with a deadline needs. */
	return machine.kind == DP_SOURCE_FSDAX && model.unclean && !waits ?
	       -ENOSYS : 0;
}

static void forget_memory(void)
{
	model.gates = 0;
	model.armed = model.refused = model.retry = false;
	model.signals = 0;
	for (uint32_t i = 0; i < model.generations; i++)
		model.generation[i].state = DAXPIN_STATE_FREE;
	for (uint32_t i = 0; i < M_WATCHES; i++)
		model.watch[i].state = M_UNUSED;
	for (uint32_t i = 0; i < M_HOLDS; i++)
		model.hold[i].held = false;
}

static void find_again(uint64_t block)
{
	struct m_block *at = &model.block[block];
	struct m_generation *generation;

	generation = new_generation(
		(struct daxpin_extent) {
			block * 4096,
			(model.epoch & 0xffffff) << GENERATION_BITS | at->gen },
		at->blocks, DAXPIN_STATE_LIVE);
	expect(generation, "more extents than the model has room for");
	generation->tag = at->tag;
	mark(block, at->blocks, true);
}

static void begin_epoch(struct daxpin_pool *pool, bool readonly)
{
	model.pool = pool;
	model.mapped = model.segments;
	model.readonly = readonly;
	model.failed = false;
	if (readonly)
		return;
	model.epoch++;
	model.unclean = true;
	model.unnumbered = 0;
	model.owner_boot = machine.boot_id[0];
}

void m_opened(struct daxpin_pool *pool, bool readonly)
{
	forget_memory();
	begin_epoch(pool, readonly);
	for (uint32_t b = 0; b < model.segments * M_BLOCKS; b++) {
		model.block[b].taken = false;
		model.block[b].generation = model.block[b].gen;
	}
	for (uint32_t b = 0; b < model.segments * M_BLOCKS; b++)
		if (model.block[b].data)
			find_again(b);
	find_objects_again();
	memcpy(model.root, model.durable_root, sizeof(model.root));
	for (uint32_t i = 0; i < M_SETS; i++)
		if (!model.block[model.set[i].addr / 4096].taken)
			model.set[i].addr = 0;
}

int m_create(bool overwrite, bool waits)
{
	if (model.pool)
		return -EBUSY;
	if (!overwrite)
		return -EEXIST;
	if (owner_may_write())
		return -EBUSY;
	return machine.kind == DP_SOURCE_FSDAX && !waits ? -ENOSYS : 0;
}

void m_created(struct daxpin_pool *pool)
{
	forget_memory();
	begin_epoch(pool, false);
	memset(model.block, 0, sizeof(model.block));
	memset(model.set, 0, sizeof(model.set));
	memset(model.slab, 0, sizeof(model.slab));
	memset(model.object, 0, sizeof(model.object));
	memset(model.root, 0, sizeof(model.root));
	memset(model.durable_root, 0, sizeof(model.durable_root));
}

static bool anything_held(void)
{
	for (uint32_t i = 0; i < model.generations; i++)
		if (model.generation[i].state != DAXPIN_STATE_FREE &&
		    model.generation[i].count)
			return true;
	return false;
}

/* The close opens its gates again. */
static int refused_close(void)
{
	queue_retry();
	return -EBUSY;
}

int m_close(void)
{
	for (uint32_t i = 0; i < M_REGISTRATIONS; i++)
		if (model.registration[i])
			return refused_close();
	if (anything_held())
		return refused_close();
	if (!model.readonly && !model.failed)
		close_slabs();
	/* The close may have written some of its stores; the next open reads them. */
	if (model.failed && !model.readonly) {
		model.readonly = true;
		queue_retry();
		return -EIO;
	}
	model.pool = NULL;
	forget_memory();
	if (!model.readonly) {
		model.unclean = false;
		model.unnumbered = 0;
	}
	return 0;
}

void m_crash(bool boot)
{
	model.pool = NULL;
	forget_memory();
	machine.pid++;
	machine_set_boot(machine.boot_id[0] + boot);
}

int m_drain(void)
{
	if (anything_held()) {
		queue_retry();
		return -ETIMEDOUT;
	}
	model.gates++;
	return 0;
}

/* ---------------------------------------------------------- grow and shrink */

static uint64_t segments_for(uint64_t size)
{
	return size / M_SEGMENT_SIZE + !!(size % M_SEGMENT_SIZE);
}

int m_grow(uint64_t size)
{
	if (model.readonly)
		return -EROFS;
	if (model.segments < model.mapped)
		return -EBUSY;
	if (size <= model.segments * M_SEGMENT_SIZE ||
	    size > (16384 * M_SEGMENT_SIZE))
		return -EINVAL;
	if (segments_for(size) > M_SEGMENTS)
		return -ENOSPC;
	return 0;
}

static bool is_registered(uint32_t from)
{
	for (uint32_t i = 0; i < M_REGISTRATIONS; i++)
		if (model.registration[i] && model.registered_on[i] >= from)
			return true;
	return false;
}

uint64_t m_left(uint64_t size)
{
	uint64_t blocks = 0;

	for (uint32_t b = segments_for(size) * M_BLOCKS; b < model.segments * M_BLOCKS;
	     b++)
		blocks += model.block[b].taken;
	return blocks * 4096;
}

int m_shrink(uint64_t size, uint32_t flags, bool waits)
{
	if (model.readonly)
		return -EROFS;
	if (flags || !size || size > model.segments * M_SEGMENT_SIZE)
		return -EINVAL;
	if (segments_for(size) == model.segments)
		return 0;
	give_back_slabs(segments_for(size) * M_SEGMENT_SIZE);
	if (m_left(size) || is_registered(segments_for(size))) {
		queue_retry();
		return waits ? -ECANCELED : model.failed ? -EIO : -EBUSY;
	}
	/* The machine has no ring, which a wait with a deadline needs. */
	if (machine.kind == DP_SOURCE_FSDAX && !waits) {
		queue_retry();
		return -ENOSYS;
	}
	return 0;
}

/* A removed segment's generations continue if it is added again in the same open. */
void m_resized(uint64_t size)
{
	uint32_t was = model.segments;

	model.segments = segments_for(size);
	for (uint32_t b = was * M_BLOCKS; b < model.segments * M_BLOCKS; b++) {
		uint64_t generation = model.block[b].generation;

		model.block[b] = (struct m_block) {
			.generation = b / M_BLOCKS < model.mapped ? generation : 0
		};
	}
	if (model.segments > model.mapped)
		model.mapped = model.segments;
	if (model.segments > was)
		queue_retry();
}

int m_register(uint32_t segment, bool rdma)
{
	if (segment >= model.segments && segment != DAXPIN_ALL_SEGMENTS)
		return -ENOENT;
	if (machine.kind == DP_SOURCE_DISK)
		return -EOPNOTSUPP;
	if (!rdma)
		return 0;
	if (model.readonly)
		return -EROFS;
	/* Without netlink the library cannot learn the number of a verbs context. */
	if (!machine.has_rdma)
		return -EINVAL;
	model.unnumbered++;
	return 0;
}

void m_unregister(bool rdma)
{
	model.unnumbered -= rdma;
}

/* ------------------------------------------------------- reserve to retire */

static uint64_t longest_run(void)
{
	uint64_t longest = 0, run = 0;

	for (uint32_t b = 0; b < model.segments * M_BLOCKS; b++) {
		bool is_free = b % M_BLOCKS >= M_FIRST && !model.block[b].taken;

		run = is_free ? run + 1 : 0;
		longest = run > longest ? run : longest;
	}
	return longest;
}

/* If there is no space, empty slabs are freed first. */
static int m_allocate(uint32_t blocks)
{
	if (blocks > longest_run()) {
		m_refused();
		give_back_slabs(0);
	}
	return blocks > longest_run() ? -ENOSPC : 0;
}

int m_reserve(uint64_t size, uint32_t flags)
{
	uint64_t blocks = size / 4096 + !!(size % 4096);

	if (!size || flags & ~(DAXPIN_RESERVE_ZERO | DAXPIN_RESERVE_DURABLE) ||
	    flags == DAXPIN_RESERVE_DURABLE)
		return -EINVAL;
	if (model.readonly)
		return -EROFS;
	if (blocks > M_BLOCKS - M_FIRST)
		return -EFBIG;
	return m_allocate((uint32_t)blocks);
}

int m_object_reserve(uint64_t size, uint32_t flags)
{
	if (!size || size > DAXPIN_OBJECT_MAX || flags & ~DAXPIN_RESERVE_ZERO)
		return -EINVAL;
	if (model.readonly)
		return -EROFS;
	if (has_free_object(object_size_for(size)))
		return 0;
	if (model.failed)
		return -EIO;
	return m_allocate(M_SLAB_BLOCKS);
}

/* A slab that was made for the object at an address, which is its first one. */
static struct m_slab *new_slab(uint64_t addr, uint32_t size)
{
	uint64_t block = addr / 4096;
	struct m_slab *slab = model.slab;

	expect(!has_free_object(size), "a new slab, but an object was free");
	while (slab < model.slab + M_SLABS && (slab->used || slab->durable))
		slab++;
	expect(slab < model.slab + M_SLABS, "more slabs than the model has room for");
	*slab = (struct m_slab) { .addr = block * 4096, .used = true, .durable = true };
	shape_slab(slab, size);
	mark(block, M_SLAB_BLOCKS, true);
	model.block[block].gen = model.block[block].generation & GEN_MASK;
	return slab;
}

struct m_object *m_object_reserved(uint64_t size, uint64_t addr)
{
	struct m_slab *slab = slab_of(addr);
	struct m_object *object = model.object;

	if (!slab)
		slab = new_slab(addr, object_size_for(size));
	expect(slab->size == object_size_for(size) &&
		       index_in(slab, addr) >= 0,
	       "0x%llx is no object of %llu bytes", (unsigned long long)addr,
	       (unsigned long long)size);
	expect(!object_at(addr), "the object at 0x%llx is not free",
	       (unsigned long long)addr);
	while (object < model.object + M_OBJECTS &&
	       (object->state != DAXPIN_STATE_FREE || object->durable))
		object++;
	expect(object < model.object + M_OBJECTS,
	       "more objects than the model has room for");
	*object = (struct m_object) {
		.addr = addr, .slab = slab, .state = DAXPIN_STATE_RESERVED
	};
	forget_sets(addr, slab->size);
	return object;
}

int m_object_cancel(uint64_t addr)
{
	struct m_object *object;
	int ret = m_object_find(addr, &object);

	if (ret)
		return ret;
	if (!object)
		return -ESTALE;
	if (object->publishing)
		return -EBUSY;
	if (object->state == DAXPIN_STATE_LIVE)
		return -EINVAL;
	end_object(object);
	return 0;
}

int m_object_query(uint64_t addr)
{
	struct m_object *object;
	int ret = m_object_find(addr, &object);

	return !ret && !object ? -ESTALE : ret;
}

int m_object_read(uint64_t addr, uint64_t offset, uint64_t length)
{
	int ret = m_object_query(addr);
	uint64_t size;

	if (ret || !length)
		return ret;
	size = m_object_size(addr);
	return offset > size || length > size - offset ? -EINVAL : 0;
}

struct m_generation *m_reserved(uint64_t size, struct daxpin_extent extent)
{
	uint64_t block = extent.addr / 4096;
	uint64_t blocks = size / 4096 + !!(size % 4096);

	expect(!bad_handle(extent), "a new handle is bad");
	expect(block % M_BLOCKS + blocks <= M_BLOCKS, "over a segment's end");
	expect((extent.gen & GENERATION_MASK) == model.block[block].generation,
	       "generation %llx, not %llx",
	       (unsigned long long)extent.gen & GENERATION_MASK,
	       (unsigned long long)model.block[block].generation);
	mark(block, blocks, true);
	return new_generation(extent, blocks, DAXPIN_STATE_RESERVED);
}

/* A generation that has not ended and is not retired. */
static int usable(struct daxpin_extent extent,
		  struct m_generation **ret_generation)
{
	int ret = find(extent, ret_generation);

	if (!ret && (*ret_generation)->state == DAXPIN_STATE_RETIRED)
		ret = -EALREADY;
	return ret;
}

int m_cancel(struct daxpin_extent extent)
{
	struct m_generation *generation;
	int ret = usable(extent, &generation);

	if (!ret && generation->state != DAXPIN_STATE_RESERVED)
		ret = -EINVAL;
	if (!ret && generation->publishing)
		ret = -EBUSY;
	if (!ret)
		end_or_retire(generation);
	return ret;
}

static void may(struct m_errors *errors, int error)
{
	if (error && errors->count < 8)
		errors->error[errors->count++] = error;
}

static int check_name(const char *name)
{
	size_t length = name ? strlen(name) : 0;

	if (!length)
		return -EINVAL;
	return length < DAXPIN_ROOT_NAME_MAX ? 0 : -ENAMETOOLONG;
}

static bool clears(const struct daxpin_op *op)
{
	return op->type == DAXPIN_OP_ROOT && !op->extent.addr &&
	       !op->extent.gen;
}

static int check_op(const struct daxpin_op *op)
{
	switch (op->type) {
	case DAXPIN_OP_KEEP:
		if (op->flags & DAXPIN_OP_PERSISTED && (op->offset || op->length))
			return -EINVAL;
		return op->value || op->name || op->flags > 3 ? -EINVAL : 0;
	case DAXPIN_OP_OBJECT_KEEP:
		if (op->flags & DAXPIN_OP_PERSISTED && (op->offset || op->length))
			return -EINVAL;
		return op->value || op->name || op->flags > 1 ? -EINVAL : 0;
	case DAXPIN_OP_OBJECT_FREE:
	case DAXPIN_OP_RETIRE:
		return op->value || op->name || op->flags || op->offset ||
		       op->length ? -EINVAL : 0;
	case DAXPIN_OP_SET:
		return op->flags || op->length || op->name || op->offset % 8 ?
		       -EINVAL : 0;
	case DAXPIN_OP_ROOT:
		if (op->flags || op->offset || op->length || op->value)
			return -EINVAL;
		return check_name(op->name);
	}
	return -EINVAL;
}

static bool moves_object(const struct daxpin_op *op)
{
	return op->type == DAXPIN_OP_OBJECT_KEEP || op->type == DAXPIN_OP_OBJECT_FREE;
}

/* A SET in an object, or a ROOT of one. */
static bool names_object(const struct daxpin_op *op)
{
	return (op->type == DAXPIN_OP_SET || op->type == DAXPIN_OP_ROOT) &&
	       op->extent.addr && !op->extent.gen;
}

static int check_place(const struct daxpin_op *op)
{
	if (clears(op))
		return 0;
	if (moves_object(op) && op->extent.gen)
		return -EINVAL;
	if (moves_object(op) || names_object(op))
		return op->extent.addr % 16 || is_bad_place(op->extent.addr) ?
		       -EINVAL : 0;
	return bad_handle(op->extent);
}

static bool in_range(const struct m_generation *generation, uint64_t offset,
		     uint64_t length)
{
	return offset <= m_size(generation) &&
	       length <= m_size(generation) - offset;
}

/* Instead of strcmp(), which is slow under libFuzzer and the sanitizers. */
static bool same_name(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static struct m_root *find_root(struct m_root *root, const char *name)
{
	for (uint32_t i = 0; i < M_ROOTS; i++)
		if (same_name(root[i].name, name))
			return &root[i];
	return NULL;
}

static uint32_t count_roots(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < M_ROOTS; i++)
		count += model.root[i].name[0] != 0;
	return count;
}

static bool same_extent(struct daxpin_extent a, struct daxpin_extent b)
{
	return a.addr == b.addr && a.gen == b.gen;
}

static bool moves(const struct daxpin_op *op)
{
	return op->type == DAXPIN_OP_KEEP || op->type == DAXPIN_OP_RETIRE;
}

/* Do both change the same word: of an extent, in an extent, of a name? */
static bool same_word(const struct daxpin_op *a, const struct daxpin_op *b)
{
	if ((moves(a) && moves(b)) || (moves_object(a) && moves_object(b)))
		return a->extent.addr == b->extent.addr;
	if (a->type != b->type)
		return false;
	if (a->type == DAXPIN_OP_SET)
		return a->extent.addr + a->offset == b->extent.addr + b->offset;
	return same_name(a->name, b->name);
}

/* Does an earlier operation change the same word? */
static bool is_second(const struct daxpin_op *ops, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (same_word(&ops[i], &ops[j]))
			return true;
	return false;
}

/* The address of the word on media that has the bit of an object. */
static uint64_t bits_word(uint64_t addr)
{
	struct m_slab *slab = slab_of(addr);

	return slab->addr + index_in(slab, addr) / 47 * 8;
}

/* No object begins there, or an earlier SET, which is invalid, is of its bits. */
static int check_bits(const struct daxpin_op *ops, uint32_t i)
{
	if (!m_object_size(ops[i].extent.addr))
		return -EINVAL;
	for (uint32_t j = 0; j < i; j++)
		if (ops[j].type == DAXPIN_OP_SET && ops[j].extent.addr +
		    ops[j].offset == bits_word(ops[i].extent.addr))
			return -EINVAL;
	return 0;
}

static int claim(const struct daxpin_op *op)
{
	bool keep = op->type == DAXPIN_OP_KEEP;
	struct m_generation *generation;
	int ret = usable(op->extent, &generation);

	if (!ret && generation->state !=
	    (keep ? DAXPIN_STATE_RESERVED : DAXPIN_STATE_LIVE))
		ret = -EINVAL;
	if (!ret && (generation->publishing || (keep && generation->exclusive) ||
		     (keep && !(op->flags & DAXPIN_OP_WRITERS) &&
		      generation->written)))
		ret = -EBUSY;
	return ret;
}

static bool fits(const struct daxpin_op *op, uint64_t length)
{
	uint64_t size = m_object_size(op->extent.addr);

	return op->offset <= size && length <= size - op->offset;
}

static int claim_object(const struct daxpin_op *op)
{
	bool keep = op->type == DAXPIN_OP_OBJECT_KEEP;
	struct m_object *object = object_at(op->extent.addr);

	if (keep && !fits(op, op->length))
		return -EINVAL;
	if (!object)
		return -ESTALE;
	if (object->publishing)
		return -EBUSY;
	return object->state == (keep ? DAXPIN_STATE_RESERVED : DAXPIN_STATE_LIVE) ?
	       0 : -EINVAL;
}

/* A name must exist if it is cleared; otherwise there must be room for it. roots: how
 * many there will be. */
static int claim_name(const struct daxpin_op *op, uint32_t *roots)
{
	if (find_root(model.root, op->name))
		return 0;
	if (clears(op))
		return -ENOENT;
	return (*roots)++ == M_ROOTS ? -ENOSPC : 0;
}

/* What does not depend on later operations: the word, which no earlier one may change,
 * and the claim of the extent, object or name. */
static int check_begin(const struct daxpin_op *ops, uint32_t i, uint32_t *roots)
{
	if ((moves_object(&ops[i]) && check_bits(ops, i)) || is_second(ops, i))
		return -EINVAL;
	if (moves(&ops[i]))
		return claim(&ops[i]);
	if (moves_object(&ops[i]))
		return claim_object(&ops[i]);
	return ops[i].type == DAXPIN_OP_ROOT ? claim_name(&ops[i], roots) : 0;
}

/* The object must be live, or be kept by this batch. */
static int check_object(const struct daxpin_op *ops, uint32_t count,
			const struct daxpin_op *op)
{
	struct m_object *object;
	uint32_t here = 0;

	if (m_object_find(op->extent.addr, &object))
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++)
		if (moves_object(&ops[i]) && ops[i].extent.addr == op->extent.addr)
			here = ops[i].type;
	if (here == DAXPIN_OP_OBJECT_FREE)
		return -EINVAL;
	if (!object)
		return -ESTALE;
	if (!here && object->publishing)
		return -EBUSY;
	if (!here && object->state != DAXPIN_STATE_LIVE)
		return -EINVAL;
	return op->type == DAXPIN_OP_SET && !fits(op, 8) ? -EINVAL : 0;
}

/* Returns the type of this batch's operation on the extent, 0 if there is none. */
static uint32_t done_here(const struct daxpin_op *ops, uint32_t count,
			  struct daxpin_extent extent)
{
	for (uint32_t i = 0; i < count; i++)
		if (moves(&ops[i]) && same_extent(ops[i].extent, extent))
			return ops[i].type;
	return 0;
}

/* The extent must be live, or be kept by this batch. */
static int check_target(const struct daxpin_op *ops, uint32_t count,
			const struct daxpin_op *op)
{
	uint32_t here = done_here(ops, count, op->extent);
	struct m_generation *generation;
	int ret;

	if (here)
		return here == DAXPIN_OP_KEEP ? 0 : -EINVAL;
	ret = usable(op->extent, &generation);
	if (!ret && op->type == DAXPIN_OP_SET && generation->exclusive)
		return -EBUSY;
	if (!ret && op->type == DAXPIN_OP_SET && model.gates)
		return -EAGAIN;
	return !ret && generation->state != DAXPIN_STATE_LIVE ? -EINVAL : ret;
}

static bool is_changed(const struct daxpin_op *ops, uint32_t count,
		       const char *name)
{
	for (uint32_t i = 0; i < count; i++)
		if (ops[i].type == DAXPIN_OP_ROOT && same_name(ops[i].name, name))
			return true;
	return false;
}

/* No root that the batch leaves unchanged may name what is retired or freed. */
static int check_roots(const struct daxpin_op *ops, uint32_t count,
		       const struct daxpin_op *op)
{
	for (uint32_t i = 0; i < M_ROOTS; i++)
		if (model.root[i].name[0] &&
		    model.root[i].addr == op->extent.addr &&
		    !is_changed(ops, count, model.root[i].name))
			return -EBUSY;
	return 0;
}

static int check_last(const struct daxpin_op *ops, uint32_t count,
		      const struct daxpin_op *op)
{
	struct m_generation *generation;
	int ret;

	if (names_object(op))
		return check_object(ops, count, op);
	switch (op->type) {
	case DAXPIN_OP_RETIRE:
	case DAXPIN_OP_OBJECT_FREE:
		return check_roots(ops, count, op);
	case DAXPIN_OP_ROOT:
		return clears(op) ? 0 : check_target(ops, count, op);
	case DAXPIN_OP_SET:
		ret = check_target(ops, count, op);
		if (ret)
			return ret;
		generation = m_find(op->extent);
		return in_range(generation, op->offset, 8) ? 0 : -EINVAL;
	}
	return 0;
}

/* Checks in stages. The last one may find several mistakes and report any of them; each
 * other one reports the first. */
static struct m_errors check(const struct daxpin_op *ops, uint32_t count)
{
	struct m_errors errors = { .count = 0 };
	uint32_t roots = count_roots();

	for (uint32_t i = 0; !errors.count && i < count; i++) {
		may(&errors, check_op(&ops[i]));
		if (!errors.count)
			may(&errors, check_place(&ops[i]));
	}
	if (!errors.count && model.failed)
		may(&errors, -EIO);
	for (uint32_t i = 0; !errors.count && i < count; i++)
		may(&errors, check_begin(ops, i, &roots));
	for (uint32_t i = 0, before = errors.count; !before && i < count; i++)
		may(&errors, check_last(ops, count, &ops[i]));
	return errors;
}

/* -------------------------------------------------- what a publish changes */

static void write_word(const struct m_generation *generation, bool data)
{
	struct m_block *block = &model.block[generation->extent.addr / 4096];

	block->data = data;
	block->gen = (block->generation + !data) & GEN_MASK;
	block->blocks = generation->blocks;
	block->tag = generation->tag;
}

static void set_root(struct m_root root[M_ROOTS], const struct daxpin_op *op)
{
	struct m_root *at = find_root(root, op->name);

	if (!at)
		at = find_root(root, "");
	expect(at, "no root is free");
	memset(at, 0, sizeof(*at));
	if (clears(op))
		return;
	strcpy(at->name, op->name);
	at->addr = op->extent.addr;
	at->object = names_object(op);
	at->generation = op->extent.gen & GENERATION_MASK;
}

static void forget_set(uint64_t addr)
{
	for (uint32_t i = 0; i < M_SETS; i++)
		if (model.set[i].addr == addr)
			model.set[i].addr = 0;
}

static void remember_set(const struct daxpin_op *op)
{
	forget_set(op->extent.addr + op->offset);
	model.set[model.sets++ % M_SETS] = (struct m_set) {
		op->extent.addr + op->offset, op->value
	};
}

static void change_media(const struct daxpin_op *ops, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (moves(&ops[i]))
			write_word(m_find(ops[i].extent),
				   ops[i].type == DAXPIN_OP_KEEP);
		else if (ops[i].type == DAXPIN_OP_ROOT)
			set_root(model.durable_root, &ops[i]);
		else if (moves_object(&ops[i]))
			object_at(ops[i].extent.addr)->durable =
				ops[i].type == DAXPIN_OP_OBJECT_KEEP;
	}
}

static void keep_object(struct m_object *object)
{
	object->state = DAXPIN_STATE_LIVE;
	object->bit = true;
}

void m_published(const struct daxpin_op *ops, uint32_t count)
{
	change_media(ops, count);
	for (uint32_t i = 0; i < count; i++) {
		if (ops[i].type == DAXPIN_OP_KEEP)
			m_find(ops[i].extent)->state = DAXPIN_STATE_LIVE;
		else if (ops[i].type == DAXPIN_OP_OBJECT_KEEP)
			keep_object(object_at(ops[i].extent.addr));
		else if (ops[i].type == DAXPIN_OP_ROOT)
			set_root(model.root, &ops[i]);
		else if (ops[i].type == DAXPIN_OP_SET)
			remember_set(&ops[i]);
	}
	for (uint32_t i = 0; i < count; i++)
		if (ops[i].type == DAXPIN_OP_RETIRE)
			end_or_retire(m_find(ops[i].extent));
		else if (ops[i].type == DAXPIN_OP_OBJECT_FREE)
			end_object(object_at(ops[i].extent.addr));
}

/*
 * Is the page of the table in use that has the word of that block of the pool? Reads
 * the page bitmap on the medium, whose first word covers the whole table of these
 * pools.
 */
static bool page_is_used(uint64_t block)
{
	uint64_t word;

	memcpy(&word, machine_memory(block / M_BLOCKS) + 0x2000, sizeof(word));
	return word >> block % M_BLOCKS / 512 & 1;
}

/* The pages that these operations are the first to use. */
static uint32_t count_pages(const struct daxpin_op *ops, uint32_t count)
{
	bool seen[M_SEGMENTS * M_BLOCKS / 512] = { false };
	uint32_t pages = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t block = ops[i].extent.addr / 4096;

		if (ops[i].type != DAXPIN_OP_KEEP || seen[block / 512] ||
		    page_is_used(block))
			continue;
		seen[block / 512] = true;
		pages++;
	}
	return pages;
}

/*
 * The flushes before those of the words: for each new page the page and its bit, then
 * payloads and new names.
 */
static uint32_t count_first(const struct daxpin_op *ops, uint32_t count)
{
	uint32_t first = 2 * count_pages(ops, count);

	for (uint32_t i = 0; i < count; i++)
		first += ((ops[i].type == DAXPIN_OP_KEEP ||
			   ops[i].type == DAXPIN_OP_OBJECT_KEEP) &&
			  !(ops[i].flags & DAXPIN_OP_PERSISTED)) ||
			 (ops[i].type == DAXPIN_OP_ROOT &&
			  !find_root(model.root, ops[i].name));
	return first;
}

/* The words that a batch changes: objects may share one. */
static uint32_t count_entries(const struct daxpin_op *ops, uint32_t count)
{
	uint32_t entries = count;

	for (uint32_t i = 0; i < count; i++)
		for (uint32_t j = 0; moves_object(&ops[i]) && j < i; j++)
			if (moves_object(&ops[j]) &&
			    bits_word(ops[i].extent.addr) ==
			    bits_word(ops[j].extent.addr)) {
				entries--;
				break;
			}
	return entries;
}

/* The object's claim stays. */
static void fail_object(const struct daxpin_op *op)
{
	struct m_object *object = object_at(op->extent.addr);

	object->publishing = true;
	if (moves_object(op))
		object->bit = op->type == DAXPIN_OP_OBJECT_KEEP;
}

/*
 * A flush after those of count_first() fails: the claims stay, and a batch that was
 * committed (from the second flush of its lane on) is there after the next open.
 */
static void fail_at_words(const struct daxpin_op *ops, uint32_t count,
			  uint32_t at)
{
	if (count_entries(ops, count) == 1 || at > 1)
		change_media(ops, count);
	for (uint32_t i = 0; i < count; i++) {
		if (moves(&ops[i]))
			m_find(ops[i].extent)->publishing = true;
		else if (ops[i].type == DAXPIN_OP_SET)
			forget_set(ops[i].extent.addr + ops[i].offset);
		if (moves_object(&ops[i]) || names_object(&ops[i]))
			fail_object(&ops[i]);
	}
}

struct m_errors m_publish(const struct daxpin_op *ops, uint32_t count,
			  uint32_t fails_at)
{
	struct m_errors errors = { .count = 0 };
	uint32_t first, flushes;

	if (model.readonly)
		may(&errors, -EROFS);
	else
		errors = check(ops, count);
	if (errors.count)
		return errors;
	first = count_first(ops, count);
	flushes = count_entries(ops, count);
	flushes += flushes == 1 ? 0 : 3;
	for (uint32_t i = 0; i < count; i++)
		if (ops[i].type == DAXPIN_OP_KEEP &&
		    !(ops[i].flags & DAXPIN_OP_PERSISTED) &&
		    !in_range(m_find(ops[i].extent), ops[i].offset,
			      ops[i].length))
			may(&errors, -EINVAL);
	if (!fails_at || fails_at > first + flushes)
		return errors;
	expect(!errors.count, "a flush must fail, but a range is invalid");
	if (fails_at > first)
		fail_at_words(ops, count, fails_at - first);
	model.failed = true;
	may(&errors, -EIO);
	return errors;
}

int m_root(const char *name, struct daxpin_extent *ret_extent)
{
	struct m_root *root;
	int ret = check_name(name);

	if (ret)
		return ret;
	root = find_root(model.root, name);
	if (!root)
		return -ENOENT;
	/* A publish that failed may have freed the object on media. */
	if (root->object && !(object_at(root->addr) && object_at(root->addr)->bit))
		return -ESTALE;
	*ret_extent = (struct daxpin_extent) { root->addr, 0 };
	if (root->object)
		return 0;
	*ret_extent = (struct daxpin_extent) {
		root->addr, (model.epoch & 0xffffff) << GENERATION_BITS |
			    model.block[root->addr / 4096].generation
	};
	return 0;
}

int m_persist(struct daxpin_extent extent, uint64_t offset, uint64_t length,
	      uint32_t fails_at)
{
	struct m_generation *generation;
	int ret = find(extent, &generation);

	if (!ret && !in_range(generation, offset, length))
		ret = -EINVAL;
	if (!ret && model.readonly)
		ret = -EROFS;
	if (!ret && model.page && fails_at == 1) {
		model.failed = true;
		ret = -EIO;
	}
	return ret;
}

/* The copy holds the extent for reading, and drops it. */
int m_copy(struct daxpin_extent from)
{
	struct m_generation *generation;
	int ret = bad_handle(from);

	if (!ret && model.readonly)
		ret = -EROFS;
	if (!ret)
		ret = m_hold(from, DAXPIN_HOLD_READ);
	if (ret)
		return ret;
	generation = m_find(from);
	ret = m_allocate(generation->blocks);
	expect(m_drop(from) >= 0, "the hold of a copy");
	return ret;
}

int m_extent_at(uint64_t addr, struct daxpin_extent *ret_extent)
{
	struct daxpin_extent extent = { addr, (model.epoch & 0xffffff)
						      << GENERATION_BITS };
	struct m_generation *generation;
	int ret = bad_handle(extent);

	if (ret)
		return ret;
	extent.gen |= model.block[addr / 4096].generation;
	generation = m_find(extent);
	if (!generation || generation->state != DAXPIN_STATE_LIVE)
		return -ENOENT;
	*ret_extent = extent;
	return 0;
}

/* ---------------------------------------------------------- hold and drop */

static int check_access(uint32_t access)
{
	return access & 3 && access <= 7 ? 0 : -EINVAL;
}

static void take(struct m_generation *generation, uint32_t access)
{
	generation->count++;
	generation->written |= access & DAXPIN_HOLD_WRITE;
	generation->exclusive = access & DAXPIN_HOLD_EXCLUSIVE;
}

static bool excludes(const struct m_generation *generation, uint32_t access)
{
	return generation->exclusive ||
	       (access & DAXPIN_HOLD_EXCLUSIVE &&
		(generation->count || generation->publishing));
}

int m_hold(struct daxpin_extent extent, uint32_t access)
{
	struct m_generation *generation;
	int ret = check_access(access);

	if (!ret)
		ret = bad_handle(extent);
	if (!ret && access & DAXPIN_HOLD_WRITE && model.readonly)
		ret = -EROFS;
	if (!ret)
		ret = usable(extent, &generation);
	if (!ret && excludes(generation, access))
		ret = -EBUSY;
	if (!ret && model.gates)
		ret = -EAGAIN;
	if (!ret)
		take(generation, access);
	return ret;
}

/*
 * A generation that was not handed out yet has no hold, so this is -EINVAL and not
 * -ESTALE.
 */
static int find_held(struct daxpin_extent extent,
		     struct m_generation **ret_generation)
{
	int ret = bad_handle(extent);

	if (ret)
		return ret;
	*ret_generation = m_find(extent);
	if (!*ret_generation)
		return is_to_come(extent) ? -EINVAL : -ESTALE;
	return (*ret_generation)->count ? 0 : -EINVAL;
}

int m_clone(struct daxpin_extent extent, uint32_t access)
{
	struct m_generation *generation;
	int ret = check_access(access);

	if (access & DAXPIN_HOLD_EXCLUSIVE)
		ret = -EINVAL;
	if (!ret)
		ret = bad_handle(extent);
	if (!ret && access & DAXPIN_HOLD_WRITE && model.readonly)
		ret = -EROFS;
	if (!ret)
		ret = find_held(extent, &generation);
	if (!ret && generation->exclusive)
		ret = -EBUSY;
	if (!ret)
		take(generation, access);
	return ret;
}

int m_drop(struct daxpin_extent extent)
{
	struct m_generation *generation;
	int ret = find_held(extent, &generation);

	if (ret)
		return ret;
	if (--generation->count)
		return 0;
	generation->written = generation->exclusive = false;
	if (generation->state == DAXPIN_STATE_RETIRED)
		end_generation(generation);
	fire(extent.addr);
	return 0;
}

int m_idle(struct daxpin_extent extent)
{
	struct m_generation *generation;
	int ret = find(extent, &generation);

	if (ret == -ESTALE)
		return 1;
	return ret ? ret : !generation->count;
}

int m_wait_idle(struct daxpin_extent extent)
{
	int ret = m_idle(extent);

	if (ret < 0)
		return ret;
	return ret ? 0 : -ETIMEDOUT;
}

int m_query(struct daxpin_extent extent)
{
	struct m_generation *generation;

	return find(extent, &generation);
}

int m_holds(struct daxpin_extent extent)
{
	struct m_generation *generation;
	int ret, holds = 0;

	if (extent.addr || extent.gen) {
		ret = find(extent, &generation);
		return ret ? ret : (int)generation->count;
	}
	/*
	 * Counts the generations of this open that have not ended. After an open for
	 * reading only, which has the same epoch as the open before, two entries may
	 * have one handle.
	 */
	for (uint32_t i = 0; i < model.generations; i++)
		if (!find(model.generation[i].extent, &generation) &&
		    generation == &model.generation[i])
			holds += generation->count;
	return holds;
}
