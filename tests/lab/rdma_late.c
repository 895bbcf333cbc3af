/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_late [ROUNDS]: counts how often bytes arrive at soft-RoCE after each of three
 * operations that end a peer's access has completed (docs/rdma.md R3). It fails only if
 * bytes arrive after the one that is a barrier. For the other two it may count none.
 *
 * If this process does not run for a while, all of the peer's writes can have succeeded
 * before the operation begins. Such a round shows nothing, and is repeated.
 */
#include <pthread.h>
#include "rdma_ends.h"

#define ROUNDS 50
#define WRITES 4
#define TRIES 20 /* of each round at most */
#define SHORT_TIMEOUT 14 /* 4.096 us << 14 is 67 ms */

struct ending {
	const char *name;
	bool window; /* the peer has the key of a window */
	void (*end)(struct ends *e, uint32_t rkey);
};

static void deregister(struct ends *e, uint32_t rkey)
{
	(void)rkey;
	assert_int_equal(ibv_dereg_mr(e->mr), 0);
	e->mr = NULL;
}

static void invalidate_window(struct ends *e, uint32_t rkey)
{
	assert_int_equal(invalidate(e, rkey), IBV_WC_SUCCESS);
}

static void stop_near(struct ends *e, uint32_t rkey)
{
	(void)rkey;
	stop_queue_pair(&e->near);
}

static const struct ending endings[] = {
	{ "ibv_dereg_mr()", false, deregister },
	{ "local invalidate of a window of type 2", true, invalidate_window },
	{ "the target's queue pair to the error state", false, stop_near },
};

struct posting {
	struct ends *e;
	struct transfer write;
};

/*
 * In a thread of its own: soft-RoCE of 6.1 transfers the bytes of a request before the
 * call that posts it returns.
 */
static void *post_writes(void *arg)
{
	struct posting *posting = arg;

	for (int i = 0; i < WRITES; i++)
		assert_int_equal(wire_post(&posting->e->far, &posting->write), 0);
	return NULL;
}

/* Waits for the end of all writes. Returns false if each of them succeeded. */
static bool a_write_was_refused(struct ends *e)
{
	for (int i = 0; i < WRITES; i++)
		if (completion_of(&e->far) != IBV_WC_SUCCESS)
			return true;
	return false;
}

/*
 * Returns how many bytes changed after the end of the access, or -1 if all writes had
 * succeeded before that.
 */
static long late_bytes(struct ends *e, const struct ending *ending)
{
	struct ibv_mw *mw = ending->window ? bind_near_window(e) : NULL;
	struct posting posting = { e, far_write(e, (uint32_t)MR_BYTES) };
	volatile unsigned char *first = e->memory;
	pthread_t thread;
	long late = 0;

	if (mw)
		posting.write.rkey = mw->rkey;
	assert_int_equal(pthread_create(&thread, NULL, post_writes, &posting), 0);
	while (*first == OLD_PATTERN)
		; /* until the first packet has arrived */
	ending->end(e, posting.write.rkey);
	memset(e->memory, OLD_PATTERN, MR_BYTES);
	pthread_join(thread, NULL);
	if (!a_write_was_refused(e))
		late = -1;
	for (size_t i = 0; late >= 0 && i < MR_BYTES; i++)
		late += e->memory[i] != OLD_PATTERN;
	if (mw)
		assert_int_equal(ibv_dealloc_mw(mw), 0);
	return late;
}

static long one_try(const struct ending *ending)
{
	void *state = NULL;
	struct ends *e;
	long late;

	assert_int_equal(ends_setup(&state), 0);
	e = state;
	e->far.ack_timeout = SHORT_TIMEOUT;
	e->far.retry_count = 2;
	assert_int_equal(connect_ends(e), 0);
	late = late_bytes(e, ending);
	assert_int_equal(ends_teardown(&state), 0);
	return late;
}

static int late_rounds(const struct ending *ending, int rounds)
{
	int done = 0, late = 0;

	for (int tries = 0; done < rounds && tries < TRIES * rounds; tries++) {
		long bytes = one_try(ending);

		done += bytes >= 0;
		late += bytes > 0;
	}
	printf("%s: bytes were late in %d of %d\n", ending->name, late, done);
	return late;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS, barrier;

	if (!rdma_find_device())
		return 77;
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	barrier = late_rounds(&endings[0], rounds);
	late_rounds(&endings[1], rounds);
	late_rounds(&endings[2], rounds);
	return barrier ? 1 : 0;
}
