/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_resize_kill [ROUNDS [shmem|devdax [SEED]]]: a pool grows and shrinks while peers
 * write to it over RDMA, and its owner is killed: ROUNDS times, each time the next
 * owner opens the pool.
 *
 * Three kinds of processes. The test starts the others and draws when an owner dies. An
 * owner opens the pool, grants extents to the peers, grows the pool by a segment and
 * removes it again. The peers outlive the owners: peer 0 writes with two keys that
 * its owner never revokes, peer 1 with keys drawn from all that there ever were.
 * Some owners leave a process that keeps their verbs context. Then the peers go on
 * writing with the keys of the dead owner, until the next owner, which waits for that
 * context, has seen them do it and ends that process.
 *
 * What an owner has done is noted in memory that all share, after the call if it is a
 * promise ("this extent is kept") and before the call if it ends one ("this extent may
 * be gone"). The next owner compares the pool with that, gives each extent that is left
 * new contents, fills all free space with a pattern, and waits until the peers have
 * tried old keys. A byte that arrives after the open is found in one of them.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include "child.h"
#include "rdma_resize.h"

#define MANY		100u		/* rounds in which everything happens */

struct shared *shared;
struct fixture *f;
unsigned int first_seed;
int context_pipe[2] = { -1, -1 };

static struct place place = { .name = "shmem", .small_segments = true };
static unsigned int rounds = 3;
static struct child owner, next, peers[PEERS];
static uint64_t killed[PHASES], kept_contexts;

/* The first owners die in different phases, and leave their contexts. */
static struct plan draw_plan(unsigned int *seed, uint32_t number)
{
	struct plan drawn = { .owner = number, .last = number > rounds };

	drawn.seed = draw(seed, 1u << 24);
	drawn.phase = draw(seed, AIMS);
	if (number <= AIMS)
		drawn.phase = number % AIMS;
	drawn.timed = drawn.phase == GROW || draw(seed, 2);
	drawn.when = draw(seed, drawn.phase == SHRINK ? LEFT_MAX : 3 * STEPS);
	drawn.keep = number <= AIMS || draw(seed, 2);
	if (drawn.last)
		drawn.timed = drawn.keep = false;
	kept_contexts += drawn.keep;
	return drawn;
}

static struct child start_owner(unsigned int *seed, uint32_t number)
{
	struct plan drawn = draw_plan(seed, number);

	return fork_child(resize_owner, &drawn);
}

/* The next owner begins to open the pool while this one lives. */
static void run_owners(unsigned int *seed)
{
	int status;

	owner = start_owner(seed, 1);
	for (uint32_t number = 1; number <= rounds; number++) {
		assert_true(await_step(owner.fd));
		next = start_owner(seed, number + 1);
		status = end_child(&owner);
		owner = next;
		next.pid = 0;
		assert_int_equal(status, -SIGKILL);
		killed[atomic_load(&shared->phase[number % 2])]++;
	}
	assert_true(await_step(owner.fd));
	status = end_child(&owner);
	owner.pid = 0;
	assert_int_equal(status, 0);
}

static void start_peers(void)
{
	for (uint32_t i = 0; i < PEERS; i++)
		peers[i] = fork_child(resize_peer, &shared->box[i]);
}

static void stop_peers(void)
{
	atomic_store(&shared->stop, true);
	for (uint32_t i = 0; i < PEERS; i++)
		sem_post(&shared->box[i].answer);
	for (uint32_t i = 0; i < PEERS; i++) {
		struct child ended = peers[i];

		peers[i].pid = 0;
		assert_int_equal(end_child(&ended), 0);
	}
}

/* The processes that kept a context are children of this one since their owners died.
 * One that waits for its byte in vain finds the end of the pipe, and fails. */
static void end_context_processes(void)
{
	int status;

	close(context_pipe[1]);
	context_pipe[1] = -1;
	for (uint64_t i = 0; i < kept_contexts; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(wait(&status), -1);
}

static void print_summary(void)
{
	const struct mailbox *box = shared->box;

	print_message("# %" PRIu64 " owners died in a grow, %" PRIu64
		      " in a shrink, %" PRIu64 " between, %" PRIu64
		      " before or after; %" PRIu64 " left a verbs context, %" PRIu64
		      " opens waited for one\n", killed[GROW], killed[SHRINK],
		      killed[LARGE], killed[LOAD], kept_contexts, shared->waits);
	print_message("# %" PRIu64 " times grown and %" PRIu64 " times shrunk, and %"
		      PRIu64 " and %" PRIu64 " times by an owner that died in the call; %"
		      PRIu64 " extents ended by a shrink, %" PRIu64 " of them granted\n",
		      shared->grown, shared->shrunk, shared->grown_by_dead,
		      shared->shrunk_by_dead, shared->left, shared->left_granted);
	print_message("# %" PRIu64 " grants, %" PRIu64 " revokes, %" PRIu64
		      " retired, %" PRIu64 " cancelled; after a death %" PRIu64
		      " extents were there, %" PRIu64 " of them in doubt, and %" PRIu64
		      " in doubt were gone\n", shared->grants, shared->revokes,
		      shared->retired, shared->cancelled, shared->survived,
		      shared->doubt_found, shared->doubt_gone);
	print_message("# peers: %" PRIu64 " writes, %" PRIu64 " met a revoke or a death, %"
		      PRIu64 " not answered; %" PRIu64 " and %" PRIu64
		      " with keys of an owner that was dead; %" PRIu64 " and %" PRIu64
		      " attempts with old keys refused; %" PRIu64 " MiB looked at, %"
		      PRIu64 " violations\n", shared->written, shared->overtaken,
		      shared->unanswered, box[0].late, box[1].late, box[0].refused,
		      box[1].refused, shared->checked_bytes >> 20, shared->violations);
}

static void nothing_is_lost_when_an_owner_is_killed(void **state)
{
	const long long before = pinned_pages();
	unsigned int seed = first_seed;

	f = *state;
	start_peers();
	run_owners(&seed);
	stop_peers();
	print_summary();
	end_context_processes();
	assert_int_equal(shared->violations, 0);
	assert_true(shared->written);
	for (uint32_t i = 0; i < PEERS; i++)
		assert_true(shared->box[i].refused >= rounds * TRIES);
	/* In few rounds a peer may be without a connection at each death. */
	if (rounds >= MANY)
		assert_true(killed[LOAD] && killed[GROW] && killed[LARGE] &&
			    killed[SHRINK] && shared->left_granted &&
			    shared->box[0].late);
	assert_true(pins_await(before));
}

static int share_memory(void)
{
	void *memory = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -1;
	shared = memory;
	shared->took_ns[GROW] = 20000000;	/* until one has been measured */
	shared->took_ns[SHRINK] = 5000000;
	shared->took_ns[LOAD] = 10000000;	/* remains: a few steps */
	shared->segments = shared->target = SEGMENTS;
	for (uint32_t i = 0; i < PEERS; i++)
		if (sem_init(&shared->box[i].answer, 1, 0))
			return -1;
	return sem_init(&shared->ask, 1, 0);
}

static int make_small_pool(void **state)
{
	const uint64_t size = SEGMENTS * SEGMENT_BYTES;

	f = calloc(1, sizeof(*f));
	if (!f || share_memory() || pipe(context_pipe) ||
	    prctl(PR_SET_CHILD_SUBREAPER, 1) ||
	    make_pool(&place, f->path, &f->pool))
		return -1;
	*state = f;
	if (pool_info(f).media_bytes > size &&
	    daxpin_pool_shrink(f->pool, size, NULL))
		return -1;
	return daxpin_pool_close(f->pool);
}

static void stop(struct child *child)
{
	if (child->pid > 0)
		stop_child(child);
	child->pid = 0;
}

static int end_children(void **state)
{
	(void)state;
	stop(&next);
	stop(&owner);
	for (uint32_t i = 0; i < PEERS; i++)
		stop(&peers[i]);
	close(context_pipe[0]);
	close(context_pipe[1]);
	if (!place.device)
		remove_tree(f->path);
	free(f);
	return munmap(shared, sizeof(*shared));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_lost_when_an_owner_is_killed,
						make_small_pool, end_children),
	};

	if (!rdma_find_device())
		return 77;
	if (argc > 1)
		rounds = (unsigned int)atoi(argv[1]);
	if (argc < 3 || !strcmp(argv[2], "devdax"))
		place.device = getenv("DAXPIN_TEST_DAX");
	if (argc > 2 && !place.device && strcmp(argv[2], "shmem")) {
		printf("# %s: needs DAXPIN_TEST_DAX, or shmem\n", argv[2]);
		return 77;
	}
	first_seed = argc > 3 ? (unsigned int)strtoul(argv[3], NULL, 0) :
				(unsigned int)time(NULL);
	print_message("# seed %u\n", first_seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
