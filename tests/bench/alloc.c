/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_alloc [OPTIONS] TEST PEER: reserve and cancel, compared with other allocators.
 *
 *	TEST	lifo | pair | mixed | passed, see workload.h
 *		objects: lifo of small objects, beside malloc() of their size
 *	PEER	glibc | tcmalloc | mimalloc | jemalloc: page-aligned allocations
 *		two-adds: two bare locked adds for each operation, the least cost of an
 *		allocator that several threads use
 *		llfree: page frames of LLFree, for lifo and pair and sizes that are
 *		powers of two; $DAXPIN_BENCH_LLFREE is llfree.c as a shared library
 *		floor: what every allocator does that several threads use, with a word
 *		for each block as daxpin has, and nothing else: see floor_take()
 *		one-thread: daxpin itself, against --threads N of it
 */
#include "workload.h"

#include <dlfcn.h>
#include <sys/mman.h>

static struct daxpin_pool *pool;

/* ------------------------------------------------------------- the allocators */

ALWAYS_INLINE void malloc_take(struct slot *slot, size_t size)
{
	slot->memory = aligned_alloc(DAXPIN_BLOCK_SIZE, size);
	if (!slot->memory)
		bench_die("no memory: %zu bytes", size);
	work_touch(slot->memory);
}

ALWAYS_INLINE void malloc_give(struct slot *slot)
{
	free(slot->memory);
}

ALWAYS_INLINE void reserve_take(struct slot *slot, size_t size)
{
	must(daxpin_reserve(pool, size, 0, &slot->extent), "reserve");
	if (!work.bench.untouched)
		work_touch(daxpin_ptr(pool, slot->extent, 0));
}

ALWAYS_INLINE void reserve_give(struct slot *slot)
{
	must(daxpin_cancel(pool, slot->extent), "cancel");
}

ALWAYS_INLINE void small_malloc_take(struct slot *slot, size_t size)
{
	slot->memory = malloc(size);
	if (!slot->memory)
		bench_die("no memory: %zu bytes", size);
	work_touch(slot->memory);
}

ALWAYS_INLINE void object_take(struct slot *slot, size_t size)
{
	must(daxpin_object_reserve(pool, size, 0, &slot->word[0]), "reserve");
	if (!work.bench.untouched)
		work_touch(daxpin_object_ptr(pool, slot->word[0]));
}

ALWAYS_INLINE void object_give(struct slot *slot)
{
	must(daxpin_object_cancel(pool, slot->word[0]), "cancel");
}

static struct {
	_Alignas(LINE) _Atomic uint64_t word;
} lines[WORKERS_MAX];

static uint64_t two_adds(struct worker *worker)
{
	_Atomic uint64_t *word = &lines[worker->index].word;
	uint64_t count = 0;

	do {
		for (int i = 0; i < 64; i++) {
			atomic_fetch_add(word, 1);
			atomic_fetch_sub(word, 1);
		}
		count += 64;
	} while (!turn_is_over(worker));
	return count;
}

/*
 * The floor has a word for each block, and memory of its own. A take stores a word, and
 * a give replaces it by a CAS, because another thread may have the handle. A thread
 * gets the block that it gave last. In `mixed` it gets a random one: extents of many
 * lengths that fill their blocks without gaps begin anywhere. In `passed` the other
 * thread gives the blocks, so all are taken in turn: one is taken again when its place
 * in the ring is free.
 */
static struct floor {
	_Alignas(LINE) uint32_t *blocks;	/* that can be taken; NULL: anywhere */
	size_t count;
	uint32_t first;				/* of this thread's part */
	uint64_t random;
} floors[WORKERS_MAX];

static struct {
	_Atomic uint64_t *word;
	char *memory;
	uint32_t part;			/* blocks for each thread */
	bool in_turn;
} floor_all;

/* Returns a number for each thread, from 0. */
static size_t thread_number(void)
{
	static _Atomic size_t next = 1;
	static _Thread_local size_t number;

	if (!number)
		number = atomic_fetch_add(&next, 1);
	return number - 1;
}

ALWAYS_INLINE uint32_t floor_choose(struct floor *mine)
{
	if (mine->blocks)
		return mine->blocks[--mine->count];
	if (floor_all.in_turn)
		return mine->count++ % RING;
	return mine->first + bench_below(&mine->random, floor_all.part);
}

ALWAYS_INLINE void floor_take(struct slot *slot, size_t size)
{
	uint32_t block = floor_choose(&floors[thread_number()]);
	uint64_t word = atomic_load_explicit(&floor_all.word[block],
					     memory_order_relaxed);

	(void)size;
	atomic_store_explicit(&floor_all.word[block], word | 1, memory_order_release);
	slot->word[0] = block;
	work_touch(floor_all.memory + (uint64_t)block * DAXPIN_BLOCK_SIZE);
}

ALWAYS_INLINE void floor_give(struct slot *slot)
{
	struct floor *mine = &floors[thread_number()];
	uint32_t block = slot->word[0];
	uint64_t word = atomic_load_explicit(&floor_all.word[block],
					     memory_order_relaxed);

	if (!atomic_compare_exchange_strong(&floor_all.word[block], &word, word + 2))
		bench_die("the word of a thread's own block has changed");
	if (mine->blocks)
		mine->blocks[mine->count++] = block;
}

static void *floor_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		bench_die("no memory for the floor: %zu bytes", bytes);
	return memory;
}

static void floor_begin(const struct bench *bench)
{
	uint64_t blocks = work_bytes() / DAXPIN_BLOCK_SIZE;
	uint32_t step = bench->size / DAXPIN_BLOCK_SIZE;

	floor_all.part = blocks / bench->threads;
	floor_all.in_turn = !strcmp(bench->test, "passed");
	floor_all.word = floor_memory(blocks * sizeof(*floor_all.word));
	floor_all.memory = floor_memory(blocks * DAXPIN_BLOCK_SIZE);
	for (int i = 0; i < bench->threads; i++) {
		struct floor *one = &floors[i];

		one->first = i * floor_all.part;
		one->random = 88172645463325252 + i;
		if (floor_all.in_turn || !strcmp(bench->test, "mixed"))
			continue;
		one->blocks = calloc(work.live, sizeof(*one->blocks));
		while (one->blocks && one->count < work.live) {
			one->blocks[one->count] = one->first + one->count * step;
			one->count++;
		}
		if (!one->blocks)
			bench_die("no memory for %zu blocks", work.live);
	}
}

/* LLFree returns numbers of page frames: there is no memory to touch. */
static int (*llfree_begin)(size_t frames, size_t threads);
static uint64_t (*llfree_frame)(int order, size_t local);
static int (*llfree_put)(uint64_t frame, int order, size_t local);
static int llfree_order;

ALWAYS_INLINE void llfree_take(struct slot *slot, size_t size)
{
	(void)size;
	slot->word[0] = llfree_frame(llfree_order, thread_number());
	if (slot->word[0] == UINT64_MAX)
		bench_die("llfree has no free frame left");
}

ALWAYS_INLINE void llfree_give(struct slot *slot)
{
	if (llfree_put(slot->word[0], llfree_order, thread_number()))
		bench_die("llfree refused a frame that it allocated");
}

static void llfree_load(const struct bench *bench)
{
	const char *path = getenv("DAXPIN_BENCH_LLFREE");
	void *library = path ? dlopen(path, RTLD_NOW) : NULL;

	if (!path)
		bench_skip("llfree: set LLFREE to a checkout of luhsra/llfree-c for ./dev bench");
	if (!library)
		bench_die("%s", dlerror());
	llfree_begin = (int (*)(size_t, size_t))dlsym(library, "llfree_peer_begin");
	llfree_frame = (uint64_t (*)(int, size_t))dlsym(library,
							"llfree_peer_take");
	llfree_put = (int (*)(uint64_t, int, size_t))dlsym(library,
							   "llfree_peer_give");
	if (!llfree_begin || !llfree_frame || !llfree_put)
		bench_die("%s", dlerror());
	llfree_order = __builtin_ctzll(bench->size / DAXPIN_BLOCK_SIZE);
	if (bench->size != (uint64_t)DAXPIN_BLOCK_SIZE << llfree_order ||
	    strcmp(bench->test, "mixed") == 0)
		bench_die("llfree allocates powers of two only");
	/* Twice as many bytes as are live, rounded up to whole GiB. */
	if (llfree_begin((2 * work_bytes() / DAXPIN_BLOCK_SIZE | 0x3ffff) + 1,
			 bench->threads))
		bench_die("llfree cannot be initialized");
}

WORKLOADS(with_malloc, malloc_take, malloc_give);
WORKLOADS(with_daxpin, reserve_take, reserve_give);
WORKLOADS(with_llfree, llfree_take, llfree_give);
WORKLOADS(with_objects, object_take, object_give);
WORKLOADS(with_small_malloc, small_malloc_take, malloc_give);
WORKLOADS(with_floor, floor_take, floor_give);

/* ------------------------------------------------------------------ the tests */

static const struct test {
	const char *name;
	size_t live, live_once;
} tests[] = {
	{ "lifo", 1000, BENCH_SMALL },
	{ "pair", 1, 1 },
	{ "mixed", 10000, BENCH_SMALL },
	{ "passed", 1, 1 },
	{ "objects", 10000, BENCH_SMALL },
};

static const struct test *find_test(const char *name)
{
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (!strcmp(tests[i].name, name))
			return &tests[i];
	bench_die("no test %s", name);
}

static turn_fn *turn_of_test(const struct allocator *with, const char *test)
{
	if (!strcmp(test, "objects"))
		return with == &with_daxpin ? with_objects.lifo :
					      with_small_malloc.lifo;
	if (!strcmp(test, "lifo"))
		return with->lifo;
	if (!strcmp(test, "pair"))
		return with->pair;
	return !strcmp(test, "mixed") ? with->mixed : with->passed;
}

static struct side find_peer(const struct bench *bench, bool is_malloc)
{
	if (is_malloc)
		return (struct side) { turn_of_test(&with_malloc, bench->test),
				       bench->threads };
	if (!strcmp(bench->peer, "two-adds"))
		return (struct side) { two_adds, bench->threads };
	if (!strcmp(bench->peer, "llfree"))
		return (struct side) { turn_of_test(&with_llfree, bench->test),
				       bench->threads };
	if (!strcmp(bench->peer, "floor"))
		return (struct side) { turn_of_test(&with_floor, bench->test),
				       bench->threads };
	if (!strcmp(bench->peer, "one-thread"))
		return (struct side) { turn_of_test(&with_daxpin, bench->test),
				       1 };
	bench_die("no peer %s", bench->peer);
}

static void set_up(const struct test *test)
{
	const struct bench *bench = &work.bench;

	work.live = bench->once ? test->live_once :
		    bench->live ? bench->live : test->live;
	work_make_sizes();
	work_make_hands(with_daxpin.hands);
	work_make_hands(with_malloc.hands);
	work_make_hands(with_llfree.hands);
	work_make_hands(with_floor.hands);
	work_make_hands(with_objects.hands);
	work_make_hands(with_small_malloc.hands);
	if (!strcmp(bench->peer, "llfree"))
		llfree_load(bench);
	if (!strcmp(bench->peer, "floor"))
		floor_begin(bench);
	atomic_store(&work.passage.last, NO_LAST);
	pool = bench_pool(bench, work_bytes());
}

int main(int argc, char **argv)
{
	struct bench *bench = &work.bench;
	const struct test *test;
	bool mixed, is_malloc;

	bench_parse(bench, argc, argv);
	test = find_test(bench->test);
	mixed = !strcmp(test->name, "mixed");
	if (!strcmp(test->name, "passed") && bench->threads != 2)
		bench_die("passed takes --threads 2");
	is_malloc = bench_become(bench, argv);
	set_up(test);
	turns_begin(bench->threads);
	if (mixed && is_malloc)
		turns_each(with_malloc.fill);
	if (mixed && !strcmp(bench->peer, "floor"))
		turns_each(with_floor.fill);
	if (mixed)
		turns_each(with_daxpin.fill);
	turns_compare(bench, find_peer(bench, is_malloc),
		      (struct side) { turn_of_test(&with_daxpin, bench->test),
				      bench->threads });
	turns_end();
	return 0;
}
