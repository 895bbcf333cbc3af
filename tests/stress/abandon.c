/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that end with reads in flight: each makes a ring, attaches it, starts reads
 * from an empty pipe, and ends, or is cancelled. The ring is then lost and abandoned,
 * while another thread uses the pool. When the abandon has returned nothing may land
 * any more: what is written to the pipe afterwards is not found in any extent. At the
 * end of a round the pool is drained, closed and opened again.
 *
 *	stress_abandon [--seconds N] [--threads N] [--seed N]
 */
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <daxpin-uring.h>
#include "fixture.h"
#include "frames.h"
#include "needs.h"
#include "support/invariant.h"

#define POOL_SIZE	(64u << 20)
#define BYTES		4096u
#define READS_MAX	8u
#define THREADS_MAX	32u
#define IN_TIME		daxpin_deadline_ms(600000)

static struct {
	unsigned int seconds, threads, seed;
} option = { 3, 4, 0 };

/* A ring, its reads, and the thread that made it. */
struct loss {
	pthread_t thread;
	unsigned int seed;
	struct daxpin_uring *uring;
	struct io_uring ring;
	int pipe[2];
	uint32_t reads;
	struct daxpin_extent extent[READS_MAX];
	struct daxpin_uring_io io[READS_MAX];
};

static struct fixture *f;
static struct {
	uint64_t rounds, rings, reads, landed, cancelled, uses;
} seen;
static atomic_bool over;

static unsigned int draw(unsigned int *seed, unsigned int below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % below;
}

static void must(const char *what, int ret, int right)
{
	if (ret == right)
		return;
	fprintf(stderr, "%s: %d instead of %d: %s\n", what, ret, right, f->errmsg);
	abort();
}

/* ------------------------------------------------------------ the thread that ends */

static void start_reads(struct loss *loss, uint32_t count)
{
	struct daxpin_op keep = { .type = DAXPIN_OP_KEEP };

	for (; count && loss->reads < READS_MAX; count--) {
		uint32_t i = loss->reads;

		must("reserve", daxpin_reserve(f->pool, BYTES, 0, &loss->extent[i]), 0);
		memset(daxpin_ptr(f->pool, loss->extent[i], 0), 'm', BYTES);
		keep.extent = loss->extent[i];
		must("keep", daxpin_publish(f->pool, &keep, 1, NULL, NULL), 0);
		must("prep", daxpin_uring_prep_read(loss->uring, &loss->io[i],
						    io_uring_get_sqe(&loss->ring),
						    loss->pipe[0], loss->extent[i], 0,
						    BYTES, 0), 0);
		loss->reads++;
		if (io_uring_submit(&loss->ring) < 0)
			must("submit", -1, 0);
	}
}

static void lose_a_ring(struct loss *loss)
{
	static const unsigned int flags[] = {
		0, 0, IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_SQPOLL,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	unsigned int which = draw(&loss->seed, sizeof(flags) / sizeof(flags[0]));
	const struct daxpin_uring_options options = {
		.size = sizeof(options), .label = "to be lost",
		.flags = draw(&loss->seed, 2) ? DAXPIN_URING_PLAIN : 0,
	};
	bool cancelled = !draw(&loss->seed, 4);

	/* A kind of ring that this kernel lacks becomes an ordinary one. */
	if (io_uring_queue_init(READS_MAX, &loss->ring, flags[which]))
		must("queue_init", io_uring_queue_init(READS_MAX, &loss->ring, 0), 0);
	/* Cancellation is disabled in library calls, see the tests of unit/. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	must("attach", daxpin_uring_attach(f->pool, &loss->ring, &options,
					   &loss->uring), 0);
	start_reads(loss, 1 + draw(&loss->seed, READS_MAX));
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	if (cancelled)
		pthread_cancel(pthread_self());
	pthread_testcancel();
}

static void *end_with_a_ring(void *loss)
{
	pthread_cleanup_push(leave_frames, NULL);
	lose_a_ring(loss);
	pthread_cleanup_pop(0);
	return NULL;
}

static void start_loss(struct loss *loss, unsigned int seed)
{
	memset(loss, 0, sizeof(*loss));
	loss->seed = seed;
	must("pipe", pipe(loss->pipe), 0);
	must("thread", pthread_create(&loss->thread, NULL, end_with_a_ring, loss), 0);
}

/* ------------------------------------------------------------------- the abandon */

/*
 * Returns the byte that the extent is filled with: 'm' as at the start, 'x' after a
 * read has landed, another one if another extent's owner has written; '?' if its bytes
 * differ.
 */
static char colour_of(const struct loss *loss, uint32_t i)
{
	const volatile char *memory = daxpin_ptr(f->pool, loss->extent[i], 0);
	char first = memory[0];

	for (uint32_t at = 1; at < BYTES; at++)
		if (memory[at] != first)
			return '?';
	return first;
}

static void fill_pipe(struct loss *loss, char byte, uint32_t reads)
{
	char bytes[BYTES];

	memset(bytes, byte, sizeof(bytes));
	for (; reads; reads--)
		must("write", (int)write(loss->pipe[1], bytes, sizeof(bytes)), BYTES);
}

static void abandon_loss(struct loss *loss)
{
	char before[READS_MAX];

	/*
	 * Some of the reads complete before the thread's ring is freed, and are not
	 * reaped.
	 */
	if (draw(&loss->seed, 2))
		fill_pipe(loss, 'x', draw(&loss->seed, loss->reads + 1));
	/*
	 * A thread's requests end with it, so this thread, which does not end, submits
	 * some.
	 */
	if (!(loss->ring.flags & IORING_SETUP_SINGLE_ISSUER) && draw(&loss->seed, 2))
		start_reads(loss, 2);
	must("detach", daxpin_uring_detach(loss->uring), -EBUSY);
	if (draw(&loss->seed, 2))
		must("abandon too early", daxpin_uring_abandon(loss->uring, 0),
		     -ETIMEDOUT);
	io_uring_queue_exit(&loss->ring);
	must("abandon", daxpin_uring_abandon(loss->uring, IN_TIME), 0);
	for (uint32_t i = 0; i < loss->reads; i++) {
		must("idle", daxpin_idle(f->pool, loss->extent[i]), 1);
		before[i] = colour_of(loss, i);
		seen.landed += before[i] == 'x';
		must("colour", before[i] == 'x' || before[i] == 'm', 1);
	}
	fill_pipe(loss, 'L', loss->reads);
	for (uint32_t i = 0; i < loss->reads; i++)
		must("a byte of an extent after its ring was abandoned", colour_of(loss, i), before[i]);
}

static void retire_all(struct loss *loss)
{
	for (uint32_t i = 0; i < loss->reads; i++) {
		struct daxpin_op op = {
			.type = DAXPIN_OP_RETIRE, .extent = loss->extent[i],
		};

		must("at the end", colour_of(loss, i) == 'L', 0);
		must("retire", daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	}
	close(loss->pipe[0]);
	close(loss->pipe[1]);
	seen.rings++;
	seen.reads += loss->reads;
}

/* --------------------------------------------------------------------- meanwhile */

/* Space that an abandon freed is soon written again. */
static void *use_the_pool(void *arg)
{
	while (!atomic_load(&over)) {
		struct daxpin_op op = { .type = DAXPIN_OP_KEEP };

		must("reserve", daxpin_reserve(f->pool, 3 * BYTES, 0, &op.extent), 0);
		memset(daxpin_ptr(f->pool, op.extent, 0), 'u', (size_t)3 * BYTES);
		must("hold", daxpin_hold(f->pool, op.extent, DAXPIN_HOLD_READ), 0);
		must("publish", daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
		must("drop", daxpin_drop(f->pool, op.extent), 0);
		op.type = DAXPIN_OP_RETIRE;
		must("retire", daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
		++*(uint64_t *)arg;
	}
	return NULL;
}

static void play_round(unsigned int *seed)
{
	static struct loss loss[THREADS_MAX];
	pthread_t user;
	void *result;

	atomic_store(&over, false);
	must("thread", pthread_create(&user, NULL, use_the_pool, &seen.uses), 0);
	for (uint32_t i = 0; i < option.threads; i++)
		start_loss(&loss[i], draw(seed, 1u << 24));
	for (uint32_t i = 0; i < option.threads; i++) {
		must("join", pthread_join(loss[i].thread, &result), 0);
		seen.cancelled += result == PTHREAD_CANCELED;
	}
	for (uint32_t i = 0; i < option.threads; i++)
		abandon_loss(&loss[i]);
	for (uint32_t i = 0; i < option.threads; i++)
		retire_all(&loss[i]);
	atomic_store(&over, true);
	must("join", pthread_join(user, NULL), 0);
	dp_invariants(f->pool);
	must("drain", daxpin_pool_drain(f->pool, IN_TIME), 0);
	must("close and open", fixture_reopen(f), 0);
	seen.rounds++;
}

static void no_read_lands_after_its_ring_was_abandoned(void **state)
{
	uint64_t end = daxpin_deadline_ms(option.seconds * 1000);
	unsigned int seed = option.seed ? option.seed : (unsigned int)time(NULL);

	f = *state;
	print_message("# seed %u\n", seed);
	do {
		play_round(&seed);
	} while (daxpin_deadline_ms(0) < end);
	print_message("# %" PRIu64 " rounds: %" PRIu64 " rings abandoned with %" PRIu64
		      " reads, of which %" PRIu64 " had landed; %" PRIu64
		      " threads cancelled; %" PRIu64 " uses meanwhile\n",
		      seen.rounds, seen.rings, seen.reads, seen.landed,
		      seen.cancelled, seen.uses);
}

static int setup(void **state)
{
	return fixture_setup_sized(state, POOL_SIZE);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "threads", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 'r' }, { NULL, 0, NULL, 0 },
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			no_read_lands_after_its_ring_was_abandoned, setup,
			fixture_teardown),
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return 2;
		*(c == 's' ? &option.seconds : c == 't' ? &option.threads :
		  &option.seed) = (unsigned int)atoi(optarg);
	}
	if (!option.threads || option.threads > THREADS_MAX)
		return 2;
	if (skip_all_without_io_uring())
		return 0;
	return cmocka_run_group_tests_name("stress_abandon", tests, NULL, NULL);
}
