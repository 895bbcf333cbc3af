/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_load [SECONDS [shmem|devdax [faults|resize]]]: 64 extents that are granted,
 * written by peers, revoked, retired and reused at random, at the same time, with peers
 * that keep old keys and try them.
 *
 * Every 8 bytes of an extent identify their writer: the fill of this generation, or one
 * grant. So a write that lands where it no longer may is detected, whenever it comes,
 * in the extent that it hits. A good write that is refused is a failure as well. With
 * faults an executor refuses one grant in ten and runs the others later, revokes take
 * over grants that the executor has, peers answer for grants that have ended, and the
 * device fails one call in ten temporarily. None of that may have an effect.
 *
 * With resize the pool grows by a segment and loses it again under the load, SECONDS
 * times instead of for so long. What is granted in that segment is revoked while the
 * shrink waits for it. A pool must be opened again between a shrink and a grow.
 */
#include "draw.h"
#include "rdma_fixture.h"
#include "segment_files.h"
#include "verbs_hooks.h"
#include "writers.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define SLOTS		64
#define PEERS		2
#define KNOWN		2048		/* keys that the peers remember */
#define BLOCKS_MAX	32u
#define ROOM_BYTES	(UINT64_C(6) << 20)	/* less than the slots want to use */
#define SMALL_ROOM_BYTES (UINT64_C(1) << 20)	/* the rest is in a new segment */
#define HANG_MS		600000		/* limit of a wait that must end */
#define DENIED		IBV_WC_REM_ACCESS_ERR
#define JOBS		1024u

enum known_state { UNUSED, LIVE, ENDING, OLD };

struct known {
	enum known_state state;
	uint32_t serial;
	struct daxpin_grant_key key;
};

struct slot {
	bool taken, published, retired, written;
	struct daxpin_extent extent;
	uint64_t size;
	struct writers writers;
	struct daxpin_grant *grant;
	struct known *known;
};

struct peer {
	pthread_t thread;
	unsigned int seed;
	struct wire wire, target;
	unsigned char *buffer;
	struct ibv_mr *mr;
};

static struct {
	_Atomic uint64_t written, overtaken, stale_writes, stale_reads;
	_Atomic uint64_t unanswered, violations;
	uint64_t grants, revokes, asked, forced, kept, retired, cancelled;
	uint64_t reserved, reused, checked_bytes, full;
	uint64_t taken_over, late_answers;
	uint64_t left, left_granted;	/* extents that a shrink has ended */
} seen;

static struct fixture *f;
static struct slot slots[SLOTS];
static struct known known[KNOWN];
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;
static struct peer peers[PEERS];
static atomic_bool stop;
static uint32_t last_serial;
static unsigned int seconds = 4;
static bool with_faults, with_resizes;
static struct {
	unsigned int seed;
	uint32_t first, count;
	struct {
		void (*fn)(void *arg);
		void *arg;
	} job[JOBS];
} executor = { .seed = 99 };
static unsigned char *used_before;	/* a byte for each block of the pool */

static void violation(const char *what, uint32_t serial, uint64_t addr)
{
	if (atomic_fetch_add(&seen.violations, 1) < 8)
		print_message("# VIOLATION: %s (serial %u, pool address 0x%" PRIx64 ")\n",
			      what, serial, addr);
}

/* -------------------------------------------------------------- the executor */

/*
 * Runs in the main thread. Refuses one job in ten, and queues the others for
 * run_jobs().
 */
static int run_later(void (*fn)(void *arg), void *arg, void *to)
{
	uint32_t at;

	(void)to;
	if (!draw(&executor.seed, 10) || executor.count == JOBS)
		return 1;
	at = (executor.first + executor.count++) % JOBS;
	executor.job[at].fn = fn;
	executor.job[at].arg = arg;
	return 0;
}

static void run_jobs(uint32_t most)
{
	uint32_t at;

	while (executor.count && most--) {
		at = executor.first;
		executor.first = (at + 1) % JOBS;
		executor.count--;
		executor.job[at].fn(executor.job[at].arg);
	}
}

/* ------------------------------------------------------------------- a peer */

static int peer_reconnect(struct peer *peer)
{
	struct wire_address ours = wire_address(&peer->target);
	struct wire_address theirs = wire_address(&peer->wire);
	int err = wire_connect(&peer->target, &theirs);

	return err ? err : wire_connect(&peer->wire, &ours);
}

static bool choose(struct peer *peer, struct known **ret_at, struct known *copy)
{
	struct known *at = &known[draw(&peer->seed, KNOWN)];
	enum known_state wanted = draw(&peer->seed, 4) ? LIVE : OLD;
	unsigned int i;

	pthread_mutex_lock(&known_lock);
	for (i = 0; i < KNOWN && at->state != wanted; i++)
		at = at + 1 < known + KNOWN ? at + 1 : known;
	*copy = *at;
	pthread_mutex_unlock(&known_lock);
	*ret_at = at;
	return copy->state == wanted;
}

static bool is_still(const struct known *at, const struct known *copy)
{
	bool same;

	pthread_mutex_lock(&known_lock);
	same = at->state == copy->state && at->serial == copy->serial;
	pthread_mutex_unlock(&known_lock);
	return same;
}

static void judge(const struct known *at, const struct known *copy, bool read,
		  int status)
{
	if (status && status != (int)DENIED) {
		atomic_fetch_add(&seen.unanswered, 1);
	} else if (copy->state == OLD) {
		atomic_fetch_add(read ? &seen.stale_reads : &seen.stale_writes,
				 1);
		if (!status)
			violation("an old key was accepted", copy->serial,
				  copy->key.extent.addr);
	} else if (!status) {
		atomic_fetch_add(&seen.written, 1);
	} else if (is_still(at, copy)) {
		violation("a good key was refused", copy->serial,
			  copy->key.extent.addr);
	} else {
		atomic_fetch_add(&seen.overtaken, 1);
	}
}

static void *be_a_peer(void *arg)
{
	struct peer *peer = arg;
	struct known *at, copy;
	bool read;
	int status;

	while (!atomic_load(&stop)) {
		if (!choose(peer, &at, &copy)) {
			sched_yield();
			continue;
		}
		read = copy.state == OLD && !draw(&peer->seed, 4);
		status = transfer_some(&peer->wire, read ? IBV_WR_RDMA_READ :
						    IBV_WR_RDMA_WRITE, peer->mr,
				       &copy.key, copy.serial, &peer->seed);
		judge(at, &copy, read, status);
		if (status && peer_reconnect(peer))
			violation("a peer cannot connect", copy.serial, 0);
	}
	return NULL;
}

static void start_peers(void)
{
	for (struct peer *peer = peers; peer < peers + PEERS; peer++) {
		peer->seed = 77u * (unsigned int)(peer - peers + 1);
		assert_int_equal(wire_open(&peer->wire, &f->peer_nic), 0);
		assert_int_equal(wire_open(&peer->target, &f->nic), 0);
		assert_int_equal(peer_reconnect(peer), 0);
		peer->buffer = aligned_alloc(4096, BLOCKS_MAX * 4096);
		assert_non_null(peer->buffer);
		peer->mr = ibv_reg_mr(f->peer_nic.pd, peer->buffer,
				      BLOCKS_MAX * 4096, IBV_ACCESS_LOCAL_WRITE);
		assert_non_null(peer->mr);
		assert_int_equal(pthread_create(&peer->thread, NULL, be_a_peer,
						peer), 0);
	}
}

static void stop_peers(void)
{
	atomic_store(&stop, true);
	for (struct peer *peer = peers; peer < peers + PEERS; peer++) {
		pthread_join(peer->thread, NULL);
		wire_close(&peer->wire);
		wire_close(&peer->target);
		ibv_dereg_mr(peer->mr);
		free(peer->buffer);
	}
}

/* -------------------------------------------------------------- the extents */

/* All bytes must be from writers that may write here. */
static void check(const struct slot *slot)
{
	const void *memory = daxpin_ptr(f->pool, slot->extent, 0);
	uint32_t serial;
	uint64_t at;

	assert_non_null(memory);
	at = writers_find_other(&slot->writers, memory, slot->size, &serial);
	if (at < slot->size)
		violation("bytes of another writer", serial, slot->extent.addr + at);
	else
		seen.checked_bytes += slot->size;
}

static void take(struct slot *slot, unsigned int *seed)
{
	uint64_t blocks = 1 + draw(seed, BLOCKS_MAX);
	unsigned char *before;
	int err = daxpin_reserve(f->pool, blocks * DAXPIN_BLOCK_SIZE, 0,
				 &slot->extent);

	if (err) {
		assert_int_equal(err, -ENOSPC);
		seen.full++;
		return;
	}
	slot->taken = true;
	slot->published = slot->retired = false;
	slot->size = blocks * DAXPIN_BLOCK_SIZE;
	before = used_before + slot->extent.addr / DAXPIN_BLOCK_SIZE;
	seen.reserved++;
	seen.reused += memchr(before, 1, blocks) != NULL;
	memset(before, 1, blocks);
	writers_fill(&slot->writers, daxpin_ptr(f->pool, slot->extent, 0), slot->size,
		     ++last_serial);
}

/* From the next reserve on the blocks may belong to another extent. */
static void release_child(struct slot *slot)
{
	check(slot);
	if (slot->published) {
		assert_int_equal(publish(f, slot->extent, DAXPIN_OP_RETIRE), 0);
		seen.retired++;
	} else {
		assert_int_equal(daxpin_cancel(f->pool, slot->extent), 0);
		seen.cancelled++;
	}
	if (slot->grant)
		slot->retired = true;	/* and held by the grant */
	else
		slot->taken = false;
}

static struct known *new_known(void)
{
	static unsigned int next;

	while (known[next].state == LIVE || known[next].state == ENDING)
		next = (next + 1) % KNOWN;
	return &known[next++ % KNOWN];
}

static void mark(struct known *at, enum known_state state)
{
	pthread_mutex_lock(&known_lock);
	at->state = state;
	pthread_mutex_unlock(&known_lock);
}

static void on_end(void *arg, int result)
{
	struct slot *slot = arg;

	assert_int_equal(result, 0);
	mark(slot->known, OLD);
	slot->grant = NULL;
	if (slot->retired)
		slot->taken = false;	/* its generation ended with the hold */
	else
		check(slot);
}

static void give(struct slot *slot)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .label = "load",
		.done = on_end, .arg = slot,
	};
	unsigned char message[DAXPIN_GRANT_DESCRIPTOR_SIZE];
	struct daxpin_grant_key key;
	struct known *at;

	if (writers_are_full(&slot->writers))
		return;
	assert_int_equal(daxpin_rdma_grant(f->rdma, slot->extent, &options,
					   &slot->grant), 0);
	writers_add(&slot->writers, ++last_serial);
	assert_int_equal(daxpin_grant_export(slot->grant, message,
					     sizeof(message)), sizeof(message));
	assert_int_equal(daxpin_grant_import(message, sizeof(message), &key),
			 0);
	pthread_mutex_lock(&known_lock);
	at = new_known();
	*at = (struct known) { .state = LIVE, .serial = last_serial,
			       .key = key };
	pthread_mutex_unlock(&known_lock);
	slot->known = at;
	seen.grants++;
}

static void take_back_by(struct slot *slot, unsigned int how)
{
	mark(slot->known, ENDING);
	seen.revokes++;
	switch (how) {
	case 0:		/* the peer was asked, and returns it */
		assert_int_equal(daxpin_rdma_revoke_start(slot->grant,
						daxpin_deadline_ms(HANG_MS)), 0);
		assert_int_equal(daxpin_rdma_returned(f->rdma,
						      &slot->known->key), 0);
		seen.asked++;
		break;
	case 1:		/* the peer does not answer: the service call ends it */
		assert_int_equal(daxpin_rdma_revoke_start(slot->grant,
						daxpin_deadline_ms(20)), 0);
		seen.forced++;
		break;
	default:
		assert_int_equal(daxpin_rdma_revoke(slot->grant), 0);
		on_end(slot, 0);
	}
}

static bool is_pending(const struct slot *slot)
{
	return slot->known->state == ENDING;
}

/* Revokes although the executor has the job, or the peer was asked. */
static void take_over(struct slot *slot)
{
	assert_int_equal(daxpin_rdma_revoke(slot->grant), 0);
	on_end(slot, 0);
	seen.taken_over++;
}

/*
 * The answer of a slow peer: its grant has ended, and the extent may have a new owner.
 */
static void answer_late(unsigned int *seed)
{
	const struct known *at = &known[draw(seed, KNOWN)];

	if (at->state != OLD)
		return;
	assert_int_equal(daxpin_rdma_returned(f->rdma, &at->key), -ESTALE);
	seen.late_answers++;
}

static void step(struct slot *slot, unsigned int *seed)
{
	unsigned int what = draw(seed, 8);

	if (!slot->taken)
		take(slot, seed);
	else if (slot->grant && is_pending(slot)) {
		if (with_faults && !draw(seed, 8))
			take_over(slot);
		return;
	}
	else if (slot->grant && (slot->retired || what < 3))
		take_back_by(slot, draw(seed, 4));
	else if (what < 5 && !slot->grant)
		give(slot);
	else if (what == 5)
		release_child(slot);
	else if (what == 6 && !slot->published) {
		assert_int_equal(publish(f, slot->extent, DAXPIN_OP_KEEP), 0);
		slot->published = true;
		seen.kept++;
	} else {
		check(slot);
	}
}

static void end_all(void)
{
	for (struct slot *slot = slots; slot < slots + SLOTS; slot++) {
		if (slot->grant && !is_pending(slot))
			take_back_by(slot, 2);
		while (slot->grant) {
			assert_int_equal(daxpin_rdma_service(f->rdma), 0);
			run_jobs(JOBS);
		}
		if (slot->taken)
			release_child(slot);
	}
}

static void print_summary(void)
{
	struct daxpin_rdma_info info = rdma_info(f);

	print_message("# %u s: %" PRIu64 " grants, %" PRIu64 " revokes (%" PRIu64
		      " returned, %" PRIu64 " expired), %" PRIu64 " kept, %" PRIu64
		      " retired, %" PRIu64 " cancelled, %" PRIu64
		      " reserved of which %" PRIu64 " reuse blocks\n",
		      seconds, info.granted, info.ended, info.returned,
		      info.expired, seen.kept, seen.retired, seen.cancelled,
		      seen.reserved, seen.reused);
	print_message("# peers: %" PRIu64 " writes, %" PRIu64
		      " met a revoke, %" PRIu64 " stale writes and %" PRIu64
		      " stale reads tried, %" PRIu64 " not answered; %" PRIu64
		      " MiB looked at, %" PRIu64 " violations\n",
		      seen.written, seen.overtaken, seen.stale_writes,
		      seen.stale_reads, seen.unanswered,
		      seen.checked_bytes >> 20, seen.violations);
	if (with_faults)
		print_message("# the executor refused %" PRIu64 " times, %" PRIu64
			      " grants were taken over, %" PRIu64
			      " answers came late, the device failed %u times\n",
			      info.executor_refusals, seen.taken_over,
			      seen.late_answers, verbs_hooks.passing);
}

/* Has everything that the run must show happened at least once? */
static bool has_seen_all(void)
{
	if (with_faults && !(seen.taken_over && seen.late_answers &&
			     verbs_hooks.passing &&
			     rdma_info(f).executor_refusals))
		return false;
	return seen.written && seen.stale_writes && seen.reused;
}

/*
 * Runs for this number of seconds, and on a slow machine until everything has happened.
 */
static void run_load(unsigned int *draws)
{
	uint64_t end = daxpin_deadline_ms(seconds * 1000);
	uint64_t hang = daxpin_deadline_ms(seconds * 1000 + HANG_MS);

	while (!seen.violations &&
	       daxpin_deadline_ms(0) < (has_seen_all() ? end : hang)) {
		step(&slots[draw(draws, SLOTS)], draws);
		assert_int_equal(daxpin_rdma_service(f->rdma), 0);
		if (!with_faults)
			continue;
		answer_late(draws);
		run_jobs(draw(draws, 2));
	}
}

/* ----------------------------------------------------------- grow and shrink */

#define PART_MS		300u		/* of load, before, between and after */

/* As progress(): ends the grants and the extents of the segments that are removed. */
static int leave(struct daxpin_pool *pool, const struct daxpin_shrink_wait *wait,
		 void *arg)
{
	const uint64_t *from = arg;

	(void)pool;
	(void)wait;
	for (struct slot *slot = slots; slot < slots + SLOTS; slot++) {
		if (!slot->taken || slot->extent.addr < *from)
			continue;
		seen.left++;
		seen.left_granted += slot->grant != NULL;
		if (slot->grant && is_pending(slot))
			take_over(slot);
		else if (slot->grant)
			take_back_by(slot, 2);
		if (slot->taken)
			release_child(slot);
	}
	return 0;
}

static void load_part(unsigned int *draws)
{
	uint64_t end = daxpin_deadline_ms(PART_MS);

	while (!seen.violations && daxpin_deadline_ms(0) < end) {
		step(&slots[draw(draws, SLOTS)], draws);
		assert_int_equal(daxpin_rdma_service(f->rdma), 0);
	}
}

/* A new domain may use the numbers of old keys again, so the peers forget these. */
static void open_again(uint64_t max_size)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .max_size = max_size,
		.deadline_ns = daxpin_deadline_ms(HANG_MS),
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};

	assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	assert_int_equal(daxpin_pool_open(f->path, &options, &f->pool), 0);
	assert_int_equal(attach(f), 0);
	memset(known, 0, sizeof(known));
	atomic_store(&stop, false);
}

static void resize_once(unsigned int *draws, uint64_t size, uint64_t segment_size)
{
	const struct daxpin_shrink_options options = {
		.size = sizeof(options), .deadline_ns = daxpin_deadline_ms(HANG_MS),
		.progress = leave, .progress_arg = &size,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	uint64_t segments = size / segment_size;
	struct free_space free_space;
	int ret;

	free_space_reserve_but(&free_space, f->pool, SMALL_ROOM_BYTES);
	start_peers();
	load_part(draws);
	assert_int_equal(daxpin_pool_grow(f->pool, size + segment_size, NULL), 0);
	check_segments(f, segments + 1);
	load_part(draws);
	ret = daxpin_pool_shrink(f->pool, size, &options);
	if (ret)
		print_message("# \"%s\"\n", f->errmsg);
	assert_int_equal(ret, 0);
	check_segments(f, segments);
	load_part(draws);
	end_all();
	stop_peers();
	free_space_release(&free_space);
	assert_int_equal(rdma_info(f).grants, 0);
	assert_int_equal(rdma_info(f).quarantined, 0);
	assert_int_equal(pool_info(f).free_bytes, pool_info(f).usable_bytes);
}

/* `seconds` times. A device is made smaller first, so that it can grow. */
static void run_resizes(unsigned int *draws)
{
	struct daxpin_pool_info info = pool_info(f);
	uint64_t size = 2 * info.segment_size;

	if (info.media_bytes > size)
		assert_int_equal(daxpin_pool_shrink(f->pool, size, NULL), 0);
	for (unsigned int i = 0; i < seconds && !seen.violations; i++) {
		open_again(size + info.segment_size);
		resize_once(draws, size, info.segment_size);
	}
	print_message("# %u times larger and smaller: %" PRIu64
		      " extents were ended by a shrink, %" PRIu64
		      " of them granted; %" PRIu64 " grants\n", seconds, seen.left,
		      seen.left_granted, seen.grants);
	assert_true(seen.left_granted);
}

static void run_peers(unsigned int *draws)
{
	struct free_space free_space;

	free_space_reserve_but(&free_space, f->pool, ROOM_BYTES);
	start_peers();
	verbs_hooks.passing_one_in = with_faults ? 10 : 0;
	run_load(draws);
	end_all();
	run_jobs(JOBS);
	verbs_hooks.passing_one_in = 0;
	stop_peers();
	free_space_release(&free_space);
}

static void no_write_with_an_old_key_succeeds(void **state)
{
	const long long before = pinned_pages();
	struct daxpin_pool_info info;
	unsigned int seed = 4711;

	f = *state;
	info = pool_info(f);
	used_before = calloc(info.segments + 1, info.segment_size / DAXPIN_BLOCK_SIZE);
	assert_non_null(used_before);
	if (with_faults) {
		assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
		f->run = run_later;
		assert_int_equal(attach(f), 0);
	}
	if (with_resizes)
		run_resizes(&seed);
	else
		run_peers(&seed);
	print_summary();
	free(used_before);
	assert_int_equal(seen.violations, 0);
	assert_true(has_seen_all());
	assert_int_equal(rdma_info(f).refusals, 0);
	assert_int_equal(rdma_info(f).quarantined, 0);
	assert_int_equal(rdma_info(f).queue_pairs_stopped, 0);
	assert_int_equal(rdma_info(f).pending, 0);
	assert_int_equal(rdma_info(f).grants, 0);
	assert_int_equal(pinned_pages(), before);
}

int main(int argc, char **argv)
{
	static struct place place = { .name = "shmem" };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate_setup_teardown(
			no_write_with_an_old_key_succeeds, setup, teardown, &place),
	};

	if (!rdma_find_device())
		return 77;
	if (argc > 1)
		seconds = (unsigned int)atoi(argv[1]);
	if (argc < 3 || !strcmp(argv[2], "devdax"))
		place.device = getenv("DAXPIN_TEST_DAX");
	if (argc > 2 && !place.device && strcmp(argv[2], "shmem")) {
		printf("# %s: needs DAXPIN_TEST_DAX, or shmem\n", argv[2]);
		return 77;
	}
	with_faults = argc > 3 && !strcmp(argv[3], "faults");
	with_resizes = argc > 3 && !strcmp(argv[3], "resize");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
