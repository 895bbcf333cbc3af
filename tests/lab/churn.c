/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * churn: a load on pools that shows afterwards, from the pools alone, whether
 * anything was lost. tests/lab/powercut cuts its power repeatedly.
 *
 *	churn [SECONDS] NAME=PATH:ACK,ACK...
 *
 * For each pool: open it (create it, if there is none), check everything in
 * it, then let THREADS threads change it, for SECONDS or without end. ACK is the
 * last step of each thread that was reported as done before the cut: the pool
 * must have it. Lines on stdout:
 *
 *	verified NAME THREAD STEP	the last step that the pool has
 *	ack NAME THREAD STEP		that step is done, and durable
 *
 * Everything that a thread does follows from its number and the step's. A step
 * is one batch: it keeps a new extent, puts its address into the thread's index
 * and the step's number beside it (SET), retires the extent that it replaces,
 * and sometimes moves the thread's second name (ROOT). So the contents of the pool
 * follow from the number in the index, to the byte. Every fifth step also keeps
 * and retires a spare extent by single operations; a cut may leave that one.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <daxpin.h>

#define THREADS		2
#define SLOTS		64
#define POOLS_MAX	4
#define MAGIC		0x6e72756863ull		/* "churn" */
#define SPARE		UINT64_MAX		/* used as a slot number */

/* The first words of every extent. The rest follows from step and place. */
struct header {
	uint64_t magic;
	uint64_t thread;
	uint64_t step;
	uint64_t slot;
	uint64_t size;
};

struct index {
	uint64_t step;
	uint64_t addr[SLOTS];
};

struct worker {
	struct churn *churn;
	uint64_t number;
	uint64_t acked;			/* before the cut */
	struct daxpin_extent index;
	struct daxpin_extent slot[SLOTS];
	uint64_t slot_step[SLOTS];	/* 0: empty */
	uint64_t root_step;		/* of the extent that the root names */
	pthread_t thread;
};

struct churn {
	char name[32];
	char path[200];
	struct daxpin_pool *pool;
	struct worker worker[THREADS];
	uint64_t live;			/* seen in the pool */
};

static uint64_t until_ns;		/* 0: without end */

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fprintf(stderr, "churn: ");
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

#define MUST(condition, churn)						\
	((condition) ? (void)0 : die("%s, line %d: %s", (churn)->name,	\
				     __LINE__, #condition))

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t x = a * 0x9e3779b97f4a7c15ull + b + 1;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* --------------------------------------------------- the content of a step */

static uint64_t slot_of(uint64_t thread, uint64_t step)
{
	return mix(thread, step) % SLOTS;
}

static uint64_t size_of(uint64_t thread, uint64_t step)
{
	return (1 + mix(step, thread) % 48) * 4096;
}

/*
 * Does the root move to the step's extent? It does even if its present extent is
 * replaced.
 */
static bool moves_root(const struct worker *worker, uint64_t step)
{
	uint64_t replaced = worker->slot_step[slot_of(worker->number, step)];

	return step % 8 == 0 || (replaced && replaced == worker->root_step);
}

static void note_step(struct worker *worker, uint64_t step)
{
	if (moves_root(worker, step))
		worker->root_step = step;
	worker->slot_step[slot_of(worker->number, step)] = step;
}

static void name_of(const struct worker *worker, const char *what, char name[32])
{
	snprintf(name, 32, "%s %llu", what,
		 (unsigned long long)worker->number);
}

static uint64_t payload(const struct header *header, uint64_t word)
{
	return mix(header->step ^ header->slot << 20, word) + header->thread;
}

static void fill(const struct worker *worker, struct daxpin_extent extent,
		 struct header header)
{
	uint64_t *to = daxpin_ptr(worker->churn->pool, extent, 0);

	memcpy(to, &header, sizeof(header));
	for (uint64_t i = sizeof(header) / 8; i < header.size / 8; i++)
		to[i] = payload(&header, i);
}

static bool is_whole(const uint64_t *from, const struct header *header)
{
	for (uint64_t i = sizeof(*header) / 8; i < header->size / 8; i++)
		if (from[i] != payload(header, i))
			return false;
	return true;
}

/* ----------------------------------------------------------------- running */

static void say(const char *what, const struct worker *worker, uint64_t step)
{
	char line[100];
	int size = snprintf(line, sizeof(line), "%s %s %llu %llu\n", what,
			    worker->churn->name,
			    (unsigned long long)worker->number,
			    (unsigned long long)step);

	if (write(STDOUT_FILENO, line, size) != size)
		exit(1);
}

static struct daxpin_extent new_extent(const struct worker *worker,
				       uint64_t step, uint64_t slot)
{
	struct header header = { MAGIC, worker->number, step, slot,
				 size_of(worker->number, step) };
	struct daxpin_extent extent;

	MUST(!daxpin_reserve(worker->churn->pool, header.size, 0, &extent),
	     worker->churn);
	fill(worker, extent, header);
	return extent;
}

static void keep_and_retire_a_spare(const struct worker *worker, uint64_t step)
{
	struct daxpin_op op = {
		.type = DAXPIN_OP_KEEP,
		.extent = new_extent(worker, step, SPARE),
	};

	MUST(!daxpin_publish(worker->churn->pool, &op, 1,
			     NULL, NULL), worker->churn);
	op.type = DAXPIN_OP_RETIRE;
	op.flags = 0;
	MUST(!daxpin_publish(worker->churn->pool, &op, 1,
			     NULL, NULL), worker->churn);
}

static void do_step(struct worker *worker, uint64_t step)
{
	uint64_t slot = slot_of(worker->number, step);
	struct daxpin_extent extent = new_extent(worker, step, slot);
	char name[32];
	struct daxpin_op ops[5] = {
		{ .type = DAXPIN_OP_KEEP,
		  .extent = extent },
		{ .type = DAXPIN_OP_SET, .extent = worker->index,
		  .offset = offsetof(struct index, step), .value = step },
		{ .type = DAXPIN_OP_SET, .extent = worker->index,
		  .offset = offsetof(struct index, addr) + slot * 8,
		  .value = extent.addr },
	};
	size_t count = 3;

	if (worker->slot_step[slot])
		ops[count++] = (struct daxpin_op) {
			.type = DAXPIN_OP_RETIRE,
			.extent = worker->slot[slot],
		};
	name_of(worker, "last", name);
	if (moves_root(worker, step))
		ops[count++] = (struct daxpin_op) { .type = DAXPIN_OP_ROOT,
			.extent = extent, .name = name };
	MUST(!daxpin_publish(worker->churn->pool, ops, count,
			     NULL, NULL), worker->churn);
	note_step(worker, step);
	worker->slot[slot] = extent;
	if (step % 5 == 0)
		keep_and_retire_a_spare(worker, step);
}

static uint64_t now_ns(void)
{
	return daxpin_deadline_ms(0);
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	struct index *index = daxpin_ptr(worker->churn->pool, worker->index, 0);

	for (uint64_t step = index->step + 1; ; step++) {
		if (until_ns && now_ns() >= until_ns)
			return NULL;
		do_step(worker, step);
		if (step % 4 == 0)
			say("ack", worker, step);
	}
}

/* ---------------------------------------------------------------- checking */

static void start_index(struct worker *worker)
{
	char name[32];
	struct daxpin_op ops[2] = {
		{ .type = DAXPIN_OP_KEEP },
		{ .type = DAXPIN_OP_ROOT, .name = name },
	};

	name_of(worker, "index", name);
	MUST(!daxpin_reserve(worker->churn->pool, sizeof(struct index),
			     DAXPIN_RESERVE_ZERO, &ops[0].extent),
	     worker->churn);
	ops[1].extent = ops[0].extent;
	MUST(!daxpin_publish(worker->churn->pool, ops, 2,
			     NULL, NULL), worker->churn);
	worker->index = ops[0].extent;
}

/* The pool must agree with the steps up to `step`. */
static void verify_index(struct worker *worker)
{
	struct churn *churn = worker->churn;
	const struct index *index = daxpin_ptr(churn->pool, worker->index, 0);
	uint64_t step = index->step;
	char name[32];
	struct daxpin_extent named;

	if (step < worker->acked)
		die("%s: thread %llu had step %llu done, the pool has %llu",
		    churn->name, (unsigned long long)worker->number,
		    (unsigned long long)worker->acked,
		    (unsigned long long)step);
	for (uint64_t i = 1; i <= step; i++)
		note_step(worker, i);
	for (uint64_t i = 0; i < SLOTS; i++) {
		MUST(!index->addr[i] == !worker->slot_step[i], churn);
		if (index->addr[i])
			MUST(!daxpin_extent_at(churn->pool, index->addr[i],
					       &worker->slot[i]), churn);
	}
	name_of(worker, "last", name);
	if (worker->root_step) {
		uint64_t slot = slot_of(worker->number, worker->root_step);

		MUST(!daxpin_root(churn->pool, name, &named), churn);
		MUST(named.addr == worker->slot[slot].addr, churn);
	} else {
		MUST(daxpin_root(churn->pool, name, &named) == -ENOENT, churn);
	}
	say("verified", worker, step);
}

static bool is_index(const struct churn *churn, struct daxpin_extent extent)
{
	for (int i = 0; i < THREADS; i++)
		if (churn->worker[i].index.addr == extent.addr)
			return true;
	return false;
}

/* Every live extent must be an index, in its slot with the right step, or a spare. */
static int verify_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
			 uint64_t size, void *arg)
{
	struct churn *churn = arg;
	const uint64_t *from = daxpin_ptr(pool, extent, 0);
	const struct header *header = (const struct header *)from;
	const struct worker *worker = &churn->worker[header->thread % THREADS];
	struct daxpin_op op = { .type = DAXPIN_OP_RETIRE, .extent = extent };

	churn->live++;
	if (is_index(churn, extent))
		return 0;
	MUST(header->magic == MAGIC && header->size == size, churn);
	MUST(header->thread < THREADS && is_whole(from, header), churn);
	if (header->slot == SPARE) {
		churn->live--;
		MUST(!daxpin_publish(pool, &op, 1, NULL, NULL), churn);
		return 0;
	}
	MUST(header->slot < SLOTS, churn);
	MUST(header->step == worker->slot_step[header->slot], churn);
	MUST(extent.addr == worker->slot[header->slot].addr, churn);
	return 0;
}

static void verify(struct churn *churn)
{
	uint64_t expected = THREADS;
	char name[32];

	for (int i = 0; i < THREADS; i++) {
		struct worker *worker = &churn->worker[i];

		name_of(worker, "index", name);
		if (daxpin_root(churn->pool, name, &worker->index)) {
			MUST(!worker->acked, churn);
			start_index(worker);
		}
		verify_index(worker);
		for (int slot = 0; slot < SLOTS; slot++)
			expected += !!worker->slot_step[slot];
	}
	MUST(!daxpin_foreach(churn->pool, verify_extent, churn), churn);
	if (churn->live != expected)
		die("%s: %llu extents are live instead of %llu", churn->name,
		    (unsigned long long)churn->live,
		    (unsigned long long)expected);
}

/* -------------------------------------------------------------------- main */

static void open_pool(struct churn *churn)
{
	char errmsg[400] = "";
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.deadline_ns = daxpin_deadline_ms(600000),
		.errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	bool acked = churn->worker[0].acked || churn->worker[1].acked;
	int ret = daxpin_pool_open(churn->path, &options, &churn->pool);

	/* The first create may have been interrupted. */
	if (ret && !acked) {
		options.segment_size = 32 << 20;
		if (strncmp(churn->path, "/dev/dax", 8))
			options.pool_size = 96 << 20;
		ret = daxpin_pool_create(churn->path, &options, &churn->pool);
	}
	if (ret)
		die("%s: %s", churn->name, errmsg);
}

static void parse(struct churn *churn, const char *text)
{
	unsigned long long acked[THREADS] = { 0 };

	if (sscanf(text, "%31[^=]=%199[^:]:%llu,%llu", churn->name, churn->path,
		   &acked[0], &acked[1]) < 2)
		die("what is %s?", text);
	for (int i = 0; i < THREADS; i++)
		churn->worker[i] = (struct worker) { .churn = churn,
			.number = i, .acked = acked[i] };
}

int main(int argc, char **argv)
{
	static struct churn churn[POOLS_MAX];
	int pools = 0;

	for (int i = 1; i < argc && pools < POOLS_MAX; i++) {
		if (!strchr(argv[i], '='))
			until_ns = now_ns() + strtoull(argv[i], NULL, 10) *
					      1000000000ull + 1;
		else
			parse(&churn[pools++], argv[i]);
	}
	for (int i = 0; i < pools; i++) {
		open_pool(&churn[i]);
		verify(&churn[i]);
	}
	for (int i = 0; i < pools * THREADS; i++)
		pthread_create(&churn[i / THREADS].worker[i % THREADS].thread,
			       NULL, work, &churn[i / THREADS].worker[i % THREADS]);
	for (int i = 0; i < pools * THREADS; i++)
		pthread_join(churn[i / THREADS].worker[i % THREADS].thread, NULL);
	for (int i = 0; i < pools; i++)
		MUST(!daxpin_pool_close(churn[i].pool), &churn[i]);
	return 0;
}
