/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_uring_abandon() ends the attachment of a ring whose completions the
 * application can no longer read. The tests run on shmem and on each real backing that
 * the environment names (DAXPIN_TEST_DAX, DAXPIN_TEST_FSDAX). When a ring ends, the
 * kernel cancels its read from an empty pipe. It cannot cancel a read from a disk that
 * delays it (DAXPIN_TEST_DISK), which lands when the test decides.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>
#include "child.h"
#include "uring_fixture.h"
#include "../support/held_disk.h"

#define BYTES		4096u
#define READS		4u
#define LENGTH		65536u
#define IN_TIME		daxpin_deadline_ms(600000)
/* A deadline for a call that must time out. Its length does not matter. */
#define SHORTLY		daxpin_deadline_ms(50)

/* Frees the application's ring and makes another, which the teardown expects. */
static void free_ring(struct world *w)
{
	io_uring_queue_exit(&w->ring);
	assert_int_equal(io_uring_queue_init(8, &w->ring, 0), 0);
}

static bool use_ring(struct world *w, unsigned int flags)
{
	int ret;

	io_uring_queue_exit(&w->ring);
	ret = io_uring_queue_init(8, &w->ring, flags);
	if (!ret)
		return true;
	assert_int_equal(io_uring_queue_init(8, &w->ring, 0), 0);
	print_message("# skipped: ring flags 0x%x: %s\n", flags,
		      strerror(-ret));
	return false;
}

static void abandon(struct world *w)
{
	assert_int_equal(daxpin_uring_abandon(w->uring, IN_TIME), 0);
	w->uring = NULL;
}

static void assert_reopens(struct world *w)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_pool_info(w->f.pool, &info), 0);
	assert_int_equal(info.registrations, 0);
	assert_int_equal(daxpin_holds(w->f.pool, (struct daxpin_extent) { 0, 0 },
				      NULL, NULL), 0);
	assert_int_equal(fixture_reopen(&w->f), 0);
}

/* ------------------------------------------------------ rings that are lost */

static void a_ring_freed_during_a_read_can_be_abandoned(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent;
	volatile char *memory;

	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, BYTES);
	memory = daxpin_ptr(w->f.pool, extent, 0);
	memory[0] = 'm';
	start_read(w, &io, extent);
	free_ring(w);
	assert_int_equal(publish(&w->f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(daxpin_uring_detach(w->uring), -EBUSY);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 0);
	abandon(w);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
	assert_null(io.uring);
	/* The read was cancelled, so this byte does not arrive. */
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	assert_int_equal(memory[0], 'm');
	assert_reopens(w);
}

struct worker {
	struct world *w;
	unsigned int flags;
	bool reads;
	struct daxpin_uring_io io;
	struct daxpin_extent extent;
	bool done;
};

static void *work_and_end(void *arg)
{
	struct worker *worker = arg;
	struct world *w = worker->w;

	if (!use_ring(w, worker->flags))
		return NULL;
	assert_int_equal(attach(w, 0), 0);
	if (worker->reads)
		start_read(w, &worker->io, worker->extent);
	worker->done = true;
	return NULL;
}

static void abandon_after_thread_end(struct world *w, unsigned int flags,
				     bool reads)
{
	struct worker worker = { .w = w, .flags = flags, .reads = reads };
	pthread_t thread;

	worker.extent = live(&w->f, BYTES);
	assert_int_equal(pthread_create(&thread, NULL, work_and_end, &worker),
			 0);
	pthread_join(thread, NULL);
	if (!worker.done)
		return;
	assert_int_equal(daxpin_uring_detach(w->uring),
			 reads ? -EBUSY : -EEXIST);
	assert_int_equal(daxpin_idle(w->f.pool, worker.extent), !reads);
	free_ring(w);
	abandon(w);
	assert_int_equal(daxpin_idle(w->f.pool, worker.extent), 1);
	assert_reopens(w);
}

static void a_ring_whose_single_issuer_ended_can_be_abandoned(void **state)
{
	const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		abandon_after_thread_end(*state, flags[i], false);
		abandon_after_thread_end(*state, flags[i], true);
	}
}

static void a_ring_with_a_skipped_completion_can_be_abandoned(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent = live(&w->f, BYTES);
	volatile char *memory = daxpin_ptr(w->f.pool, extent, 0);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);

	memory[0] = 'm';
	assert_int_equal(attach(w, 0), 0);
	assert_int_equal(daxpin_uring_prep_read(w->uring, &io, sqe, w->pipe[0],
						extent, 0, 1, 0), 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	submit_one(w);
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	for (int i = 0; i < 60000 && memory[0] != 'x'; i++)
		usleep(10000);
	assert_int_equal(memory[0], 'x');
	assert_int_equal(io_uring_cq_ready(&w->ring), 0);
	assert_int_equal(daxpin_uring_detach(w->uring), -EBUSY);
	free_ring(w);
	abandon(w);
	assert_reopens(w);
}

static void abandon_drops_every_piece_of_a_vector(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_uring_vec vec[READS] = { { .length = 0 } };
	struct iovec iov[READS];

	assert_int_equal(attach(w, 0), 0);
	for (uint32_t i = 0; i < READS; i++) {
		vec[i].extent = live(&w->f, BYTES);
		vec[i].length = BYTES;
	}
	assert_int_equal(daxpin_uring_prep_readv(w->uring, &io,
						 io_uring_get_sqe(&w->ring),
						 w->pipe[0], vec, iov, READS,
						 0), 0);
	submit_one(w);
	free_ring(w);
	abandon(w);
	for (uint32_t i = 0; i < READS; i++)
		assert_int_equal(daxpin_idle(w->f.pool, vec[i].extent), 1);
	assert_reopens(w);
}

/* The kernel unpins the buffers when the ring ends. */
static void a_ring_with_fixed_buffers_can_be_abandoned(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };

	need_fixed_buffers(w);
	assert_int_equal(attach(w, DAXPIN_URING_EAGER), 0);
	start_read(w, &io, live(&w->f, BYTES));
	free_ring(w);
	abandon(w);
	assert_reopens(w);
}

static void a_guarded_ring_can_be_abandoned(void **state)
{
	struct world *w = *state;

	assert_int_equal(daxpin_uring_guard(w->f.pool, &w->ring, NULL,
					    &w->uring), 0);
	free_ring(w);
	abandon(w);
	assert_reopens(w);
}

/* ----------------------------------------- when the ring continues to exist */

/* Runs in a child that keeps copies of all descriptors until it is killed. */
static int keep_descriptors(void *arg, int parent)
{
	(void)arg;
	if (!send_step(parent))
		return 1;
	pause();
	return 1;
}

static void a_hold_is_kept_as_long_as_the_ring_exists(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent;
	struct child child;
	volatile char *memory;
	struct pollfd end = { .events = POLLIN };

	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, BYTES);
	memory = daxpin_ptr(w->f.pool, extent, 0);
	memory[0] = 'm';
	start_read(w, &io, extent);
	child = fork_child(keep_descriptors, NULL);
	assert_true(await_step(child.fd));
	assert_int_equal(info_of(w->uring).abandon_fd, -1);
	io_uring_queue_exit(&w->ring);
	/* Deadlines that have passed, and one that passes during the call. */
	assert_int_equal(daxpin_uring_abandon(w->uring, 0), -ETIMEDOUT);
	assert_int_equal(daxpin_uring_abandon(w->uring, 1), -ETIMEDOUT);
	assert_int_equal(daxpin_uring_abandon(w->uring, SHORTLY), -ETIMEDOUT);
	assert_int_equal(daxpin_uring_detach(w->uring), -ETIMEDOUT);
	end.fd = info_of(w->uring).abandon_fd;
	assert_int_equal(poll(&end, 1, 0), 0);
	assert_int_equal(publish(&w->f, DAXPIN_OP_RETIRE, extent), 0);
	/* The read continues, and lands. */
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	for (int i = 0; i < 60000 && memory[0] != 'x'; i++)
		usleep(10000);
	assert_int_equal(memory[0], 'x');
	assert_int_equal(daxpin_idle(w->f.pool, extent), 0);
	assert_int_equal(daxpin_pool_close(w->f.pool), -EBUSY);
	kill_child(&child);
	assert_int_equal(poll(&end, 1, -1), 1);
	assert_true(end.revents & POLLHUP);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
	assert_int_equal(io_uring_queue_init(8, &w->ring, 0), 0);
	assert_reopens(w);
}

static void an_abandoned_ring_refuses_requests(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io[2] = { { .uring = NULL } };
	struct io_uring_sqe *sqe;
	struct daxpin_extent extent;

	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, BYTES);
	start_read(w, &io[0], extent);
	assert_int_equal(daxpin_uring_abandon(w->uring, 0), -ETIMEDOUT);
	sqe = io_uring_get_sqe(&w->ring);
	assert_int_equal(daxpin_uring_prep_read(w->uring, &io[1], sqe,
						w->pipe[0], extent, 0, 1, 0),
			 -ESTALE);
	assert_int_equal(sqe->opcode, IORING_OP_NOP);
	assert_int_equal(daxpin_uring_service(w->uring), -ESTALE);
	assert_int_equal(info_of(w->uring).in_flight, 1);
	/* A completion that is read after all ends its request. */
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	assert_int_equal(finish(w, &io[0]), 1);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
	free_ring(w);
	abandon(w);
	assert_reopens(w);
}

static int abandon_in_the_child(void *arg)
{
	struct world *w = arg;

	return daxpin_uring_abandon(w->uring, 0) == -EOWNERDEAD ? 0 : 1;
}

/* The calls are made twice, with NULL, with ended rings, and in a child. */
static void calls_on_an_abandoned_ring_are_estale(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_info info = { .size = sizeof(info) };
	struct daxpin_uring *gone;

	assert_int_equal(daxpin_uring_abandon(NULL, 0), 0);
	assert_int_equal(attach(w, 0), 0);
	assert_int_equal(run_child(abandon_in_the_child, w), 0);
	gone = w->uring;
	free_ring(w);
	abandon(w);
	assert_int_equal(daxpin_uring_abandon(gone, 0), -ESTALE);
	assert_int_equal(daxpin_uring_detach(gone), -ESTALE);
	assert_int_equal(daxpin_uring_info(gone, &info), -ESTALE);
	assert_int_equal(attach(w, 0), 0);
	gone = w->uring;
	assert_int_equal(daxpin_uring_detach(gone), 0);
	w->uring = NULL;
	assert_int_equal(daxpin_uring_abandon(gone, IN_TIME), -ESTALE);
	assert_reopens(w);
}

/* ------------------------------------------------ the file table was emptied */

static void an_emptied_file_table_does_not_prove_that_the_ring_ended(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent;
	volatile char *memory;

	/* Linux 6.12 waits in an unregister for requests by fixed buffers. */
	assert_int_equal(attach(w, DAXPIN_URING_PLAIN), 0);
	extent = live(&w->f, BYTES);
	memory = daxpin_ptr(w->f.pool, extent, 0);
	memory[0] = 'm';
	start_read(w, &io, extent);
	assert_int_equal(info_of(w->uring).lock_lost, 0);
	assert_int_equal(io_uring_unregister_files(&w->ring), 0);
	/* The kernel closes the files of a ring some time later. */
	for (int i = 0; i < 60000 && !info_of(w->uring).lock_lost; i++)
		usleep(10000);
	assert_int_equal(info_of(w->uring).lock_lost, 1);
	assert_int_equal(publish(&w->f, DAXPIN_OP_RETIRE, extent), 0);
	free_ring(w);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(daxpin_uring_abandon(w->uring, SHORTLY),
				 -ENXIO);
		assert_int_equal(info_of(w->uring).quarantined, 1);
		assert_int_equal(daxpin_idle(w->f.pool, extent), 0);
	}
	/* The hold was needed: the read lands. */
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	for (int i = 0; i < 60000 && memory[0] != 'x'; i++)
		usleep(10000);
	assert_int_equal(memory[0], 'x');
	assert_int_equal(daxpin_uring_abandon(w->uring, SHORTLY), -ENXIO);
	assert_int_equal(daxpin_pool_close(w->f.pool), -EBUSY);
	assert_int_equal(daxpin_uring_abort(&io, NULL), 0);
	assert_int_equal(info_of(w->uring).quarantined, 0);
	abandon(w);
	assert_reopens(w);
}

/*
 * Replaces the pipe in the ring's file table by a file that has a name, since older
 * kernels do not show pipes in a file table.
 */
static int replace_the_pipe(struct world *w)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), ret;

	ret = io_uring_register_files_update(&w->ring, DAXPIN_URING_FILES - 1,
					     &fd, 1);
	close(fd);
	return ret;
}

static void *read_and_replace(void *arg)
{
	struct worker *worker = arg;

	work_and_end(worker);
	if (worker->done)
		assert_int_equal(replace_the_pipe(worker->w), 1);
	return NULL;
}

/* The ring has another single issuer, so this thread can only read its tables. */
static void a_replaced_file_does_not_prove_that_the_ring_ended(void **state)
{
	struct world *w = *state;
	struct worker worker = {
		.w = w, .flags = IORING_SETUP_SINGLE_ISSUER, .reads = true
	};
	pthread_t thread;

	worker.extent = live(&w->f, BYTES);
	assert_int_equal(pthread_create(&thread, NULL, read_and_replace,
					&worker), 0);
	pthread_join(thread, NULL);
	if (!worker.done)
		skip();
	free_ring(w);
	assert_int_equal(daxpin_uring_abandon(w->uring, SHORTLY), -ENXIO);
	assert_int_equal(daxpin_idle(w->f.pool, worker.extent), 0);
	assert_int_equal(daxpin_uring_abort(&worker.io, NULL), 0);
	abandon(w);
	assert_reopens(w);
}

/*
 * A caller that has read every completion can detach, and the application's own table
 * is not touched.
 */
static void a_ring_with_an_emptied_table_can_be_detached_when_idle(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	const int files[DAXPIN_URING_FILES] = {
		w->pipe[0], w->pipe[1], w->pipe[0]
	};

	assert_int_equal(attach(w, DAXPIN_URING_PLAIN), 0);
	start_read(w, &io, live(&w->f, BYTES));
	assert_int_equal(io_uring_unregister_files(&w->ring), 0);
	assert_int_equal(io_uring_register_files(&w->ring, files,
						 DAXPIN_URING_FILES), 0);
	for (int i = 0; i < 60000 && !info_of(w->uring).lock_lost; i++)
		usleep(10000);
	assert_int_equal(daxpin_uring_detach(w->uring), -EBUSY);
	assert_int_equal(daxpin_uring_abandon(w->uring, 0), -ENXIO);
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	assert_int_equal(finish(w, &io), 1);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	assert_int_equal(io_uring_unregister_files(&w->ring), 0);
	assert_reopens(w);
}

/* A descriptor of the write end of the adapter's pipe, whose read end then does not
 * hang up. -EINVAL: the kernel is older than Linux 6.8. */
static int install_the_pipe(struct world *w)
{
	const uint8_t fixed_fd_install = 54;	/* older headers do not have it */
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
	struct io_uring_cqe *cqe;
	int ret;

	io_uring_prep_nop(sqe);
	sqe->opcode = fixed_fd_install;
	sqe->fd = DAXPIN_URING_FILES - 1;
	sqe->flags = IOSQE_FIXED_FILE;
	submit_one(w);
	assert_int_equal(io_uring_wait_cqe(&w->ring, &cqe), 0);
	ret = cqe->res;
	io_uring_cqe_seen(&w->ring, cqe);
	return ret;
}

/*
 * The kernel closes the files of an emptied table some time later; the test decides
 * when. The first abandon finds no table, and a later one a table into which it puts a
 * new pipe.
 */
static void a_quarantined_ring_with_a_new_file_table_can_be_abandoned(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent = live(&w->f, BYTES);
	int fd;

	assert_int_equal(attach(w, DAXPIN_URING_PLAIN), 0);
	fd = install_the_pipe(w);
	if (fd == -EINVAL) {
		print_message("# skipped: the kernel cannot install a registered file\n");
		skip();
	}
	assert_true(fd >= 0);
	start_read(w, &io, extent);
	assert_int_equal(io_uring_unregister_files(&w->ring), 0);
	assert_int_equal(daxpin_uring_abandon(w->uring, SHORTLY), -ENXIO);
	assert_int_equal(info_of(w->uring).quarantined, 1);
	assert_int_equal(io_uring_register_files_sparse(&w->ring,
							DAXPIN_URING_FILES), 0);
	assert_int_equal(daxpin_uring_abandon(w->uring, 0), -ETIMEDOUT);
	assert_int_equal(info_of(w->uring).quarantined, 0);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 0);
	close(fd);
	free_ring(w);
	abandon(w);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
	assert_reopens(w);
}

/*
 * The adapter does not know which buffers the application registered with a guarded
 * ring, so abandon fails and only a detach ends the guard. With NO_BUFFERS abandon
 * succeeds.
 */
static void a_guard_with_an_emptied_file_table_must_be_detached(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_options options = uring_options(w, 0);

	for (int i = 0; i < 2; i++) {
		options.flags = i ? DAXPIN_URING_NO_BUFFERS : 0;
		assert_int_equal(daxpin_uring_guard(w->f.pool, &w->ring,
						    &options, &w->uring), 0);
		assert_int_equal(io_uring_unregister_files(&w->ring), 0);
		for (int j = 0; j < 60000 && !info_of(w->uring).lock_lost; j++)
			usleep(10000);
		if (i) {
			abandon(w);
			continue;
		}
		assert_int_equal(daxpin_uring_abandon(w->uring, 0), -ENXIO);
		assert_int_equal(daxpin_pool_close(w->f.pool), -EBUSY);
		assert_int_equal(daxpin_uring_detach(w->uring), 0);
		w->uring = NULL;
	}
	assert_reopens(w);
}

/* ------------------------------------------------------ known by its index */

static bool attach_by_index(struct world *w)
{
	struct io_uring view;
	int ret;

	assert_int_equal(io_uring_register_ring_fd(&w->ring), 1);
	view = w->ring;
	view.ring_fd = -1;
	ret = daxpin_uring_attach(w->f.pool, &view, NULL, &w->uring);
	if (!ret)
		return true;
	assert_int_equal(ret, -EINVAL);
	print_message("# skipped: io_uring_register() takes no ring index\n");
	return false;
}

/* Runs in another thread, whose ring has the same index. */
static void *detach_another(void *arg)
{
	struct world *w = arg, own = { .f = w->f };

	assert_int_equal(io_uring_queue_init(8, &own.ring, 0), 0);
	assert_true(attach_by_index(&own));
	assert_int_equal(own.ring.enter_ring_fd, w->ring.enter_ring_fd);
	assert_int_equal(daxpin_uring_detach(w->uring), -EEXIST);
	assert_int_equal(info_of(own.uring).lock_lost, 0);
	assert_int_equal(daxpin_uring_detach(own.uring), 0);
	io_uring_queue_exit(&own.ring);
	return NULL;
}

static void a_ring_index_is_valid_only_in_its_own_thread(void **state)
{
	struct world *w = *state;
	pthread_t thread;

	if (!attach_by_index(w))
		skip();
	assert_int_equal(pthread_create(&thread, NULL, detach_another, w), 0);
	pthread_join(thread, NULL);
	assert_int_equal(info_of(w->uring).lock_lost, 0);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	assert_reopens(w);
}

/* Runs in another thread, whose ring has the same index. */
static void *use_the_index(void *arg)
{
	const struct daxpin_extent all = { 0, 0 };
	struct world *w = arg, own = { .f = w->f };

	assert_int_equal(io_uring_queue_init(8, &own.ring, 0), 0);
	assert_true(attach_by_index(&own));
	assert_int_equal(own.ring.enter_ring_fd, w->ring.enter_ring_fd);
	assert_int_equal(daxpin_uring_prepare(w->uring, all),
			 target == FSDAX ? -EOPNOTSUPP : -EEXIST);
	assert_int_equal(daxpin_uring_abandon(w->uring, 0), -EBUSY);
	assert_int_equal(daxpin_uring_detach(w->uring), -EEXIST);
	/* The calls above removed no file from this thread's ring: abandon finds the
	 * pipe. */
	assert_int_equal(info_of(own.uring).fixed_segments, 0);
	assert_int_equal(daxpin_uring_abandon(own.uring, 0), -ETIMEDOUT);
	io_uring_queue_exit(&own.ring);
	assert_int_equal(daxpin_uring_abandon(own.uring, IN_TIME), 0);
	return NULL;
}

static void no_call_takes_the_ring_index_of_another_thread(void **state)
{
	struct world *w = *state;
	pthread_t thread;

	need_fixed_buffers(w);
	if (!attach_by_index(w))
		skip();
	assert_int_equal(pthread_create(&thread, NULL, use_the_index, w), 0);
	pthread_join(thread, NULL);
	assert_int_equal(info_of(w->uring).lock_lost, 0);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	assert_reopens(w);
}

static void *attach_by_index_and_end(void *arg)
{
	return attach_by_index(arg) ? arg : NULL;
}

/* The first thread has ended, and pthread_self() returns the same in the second. */
static void an_ended_threads_ring_index_is_not_that_of_the_next_thread(void **state)
{
	struct world *w = *state;
	pthread_t first, second;
	void *is_attached;

	assert_int_equal(pthread_create(&first, NULL, attach_by_index_and_end, w), 0);
	pthread_join(first, &is_attached);
	if (!is_attached)
		skip();
	assert_int_equal(pthread_create(&second, NULL, detach_another, w), 0);
	pthread_join(second, NULL);
	free_ring(w);
	/* The adapter has no descriptor of the ring, so the kernel frees it now. */
	for (int i = 0; i < 60000 && !info_of(w->uring).lock_lost; i++)
		usleep(10000);
	abandon(w);
	assert_reopens(w);
}

static void a_ring_known_by_index_can_be_abandoned_before_it_is_freed(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };

	if (!attach_by_index(w))
		skip();
	start_read(w, &io, live(&w->f, BYTES));
	assert_int_equal(daxpin_uring_abandon(w->uring, 0), -ETIMEDOUT);
	free_ring(w);
	abandon(w);
	assert_reopens(w);
}

/* To the adapter, a freed ring looks the same as an emptied file table. */
static void a_freed_ring_known_by_index_is_quarantined(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };

	if (!attach_by_index(w))
		skip();
	start_read(w, &io, live(&w->f, BYTES));
	free_ring(w);
	for (int i = 0; i < 60000 && !info_of(w->uring).lock_lost; i++)
		usleep(10000);
	assert_int_equal(daxpin_uring_abandon(w->uring, SHORTLY), -ENXIO);
	assert_int_equal(info_of(w->uring).quarantined, 1);
	assert_int_equal(daxpin_uring_abort(&io, NULL), 0);
	abandon(w);
	assert_reopens(w);
}

/* ------------------------------------------- reads that cannot be cancelled */

static struct held_disk disk;

struct reader {
	struct world *w;
	unsigned int flags;
	bool fixed;
	bool in_thread;
	bool replaces;			/* replaces the pipe in the file table */
	sem_t ended;
	int fd;
	struct daxpin_uring_io io[READS];
	struct daxpin_extent extent[READS];
	bool done;
};

static void *read_and_end(void *arg)
{
	struct reader *reader = arg;
	struct world *w = reader->w;
	int ret = 0;

	reader->done = use_ring(w, reader->flags);
	if (reader->done)
		ret = attach(w, reader->fixed ? 0 : DAXPIN_URING_PLAIN);
	for (uint32_t i = 0; reader->done && !ret && i < READS; i++) {
		ret = daxpin_uring_prep_read(w->uring, &reader->io[i],
					     io_uring_get_sqe(&w->ring),
					     reader->fd, reader->extent[i], 0,
					     LENGTH, 0);
		if (!ret)
			submit_one(w);
	}
	assert_int_equal(ret, 0);
	if (reader->done && reader->replaces) {
		assert_true(held_disk_wait(&disk, READS));
		assert_int_equal(replace_the_pipe(w), 1);
	}
	assert_int_equal(sem_post(&reader->ended), 0);
	return NULL;
}

static void assert_all(struct reader *reader, int idle, unsigned char byte)
{
	struct world *w = reader->w;

	for (uint32_t i = 0; i < READS; i++) {
		if (idle >= 0)
			assert_int_equal(daxpin_idle(w->f.pool,
						     reader->extent[i]), idle);
		assert_true(has_colour(w, reader->extent[i], LENGTH, byte));
	}
}

static void begin_reads(struct reader *reader, pthread_t *thread)
{
	assert_int_equal(sem_init(&reader->ended, 0, 0), 0);
	reader->fd = held_disk_open(&disk);
	assert_true(reader->fd >= 0);
	for (uint32_t i = 0; i < READS; i++) {
		reader->extent[i] = live(&reader->w->f, LENGTH);
		colour(reader->w, reader->extent[i], LENGTH, 0x3c);
	}
	if (!reader->in_thread) {
		read_and_end(reader);
		return;
	}
	/* The thread must not be joined before its reads have landed. */
	assert_int_equal(pthread_create(thread, NULL, read_and_end, reader), 0);
	assert_int_equal(sem_wait(&reader->ended), 0);
}

static void assert_hold_ends_with_dma(struct world *w, unsigned int flags,
				      bool in_thread, bool fixed)
{
	struct reader reader = {
		.w = w, .flags = flags, .in_thread = in_thread, .fixed = fixed
	};
	pthread_t thread;

	print_message("# ring flags 0x%x%s%s\n", flags,
		      in_thread ? ", its thread ends" : "",
		      fixed ? ", fixed" : "");
	begin_reads(&reader, &thread);
	if (!reader.done)
		goto out;
	assert_true(held_disk_wait(&disk, READS));
	free_ring(w);
	assert_int_equal(daxpin_uring_detach(w->uring), -EBUSY);
	assert_int_equal(daxpin_uring_abandon(w->uring, SHORTLY), -ETIMEDOUT);
	assert_int_equal(daxpin_uring_abandon(w->uring, SHORTLY), -ETIMEDOUT);
	assert_int_equal(held_disk_reads(&disk), READS);
	/* Nothing has landed, so nothing may be reused. */
	assert_all(&reader, 0, 0x3c);
	assert_int_equal(daxpin_pool_close(w->f.pool), -EBUSY);
	assert_int_equal(held_disk_land(&disk), 0);
	abandon(w);
	assert_all(&reader, 1, HELD_DISK_BYTE);
	for (uint32_t i = 0; i < READS; i++)
		colour(w, reader.extent[i], LENGTH, 0x5a);
	assert_reopens(w);
	assert_int_equal(held_disk_land(&disk), 0);
	/* The handles are from the previous open. */
	for (uint32_t i = 0; i < READS; i++)
		assert_int_equal(daxpin_extent_at(w->f.pool,
						  reader.extent[i].addr,
						  &reader.extent[i]), 0);
	assert_all(&reader, 1, 0x5a);
out:
	if (in_thread)
		pthread_join(thread, NULL);
	close(reader.fd);
	sem_destroy(&reader.ended);
}

static void abandon_of_a_freed_ring_waits_for_its_dma(void **state)
{
	assert_hold_ends_with_dma(*state, 0, false, false);
	assert_hold_ends_with_dma(*state, 0, false, true);
	assert_hold_ends_with_dma(*state, IORING_SETUP_SQPOLL, false, true);
	assert_hold_ends_with_dma(*state, IORING_SETUP_SINGLE_ISSUER |
				  IORING_SETUP_DEFER_TASKRUN, false, true);
}

static void abandon_of_a_ring_whose_thread_ended_waits_for_its_dma(void **state)
{
	assert_hold_ends_with_dma(*state, 0, true, false);
	assert_hold_ends_with_dma(*state, IORING_SETUP_SINGLE_ISSUER, true,
				  true);
	assert_hold_ends_with_dma(*state, IORING_SETUP_SINGLE_ISSUER |
				  IORING_SETUP_DEFER_TASKRUN, true, true);
}

/*
 * Before Linux 6.13 the kernel keeps the replaced pipe open until the reads, which use
 * fixed buffers, have ended.
 */
static void a_replaced_file_does_not_prove_that_dma_ended(void **state)
{
	struct world *w = *state;
	struct reader reader = {
		.w = w, .flags = IORING_SETUP_SINGLE_ISSUER, .in_thread = true,
		.fixed = true, .replaces = true
	};
	pthread_t thread;

	begin_reads(&reader, &thread);
	if (reader.done) {
		free_ring(w);
		assert_int_equal(daxpin_uring_abandon(w->uring, IN_TIME),
				 -ENXIO);
		assert_all(&reader, 0, 0x3c);
	}
	assert_int_equal(held_disk_land(&disk), 0);
	pthread_join(thread, NULL);
	for (uint32_t i = 0; reader.done && i < READS; i++)
		assert_int_equal(daxpin_uring_abort(&reader.io[i], NULL), 0);
	close(reader.fd);
	sem_destroy(&reader.ended);
	if (!reader.done)
		skip();
	abandon(w);
}

/* -------------------------------------------------------------------------- */

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int run_all(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_ring_freed_during_a_read_can_be_abandoned),
		TEST(a_ring_whose_single_issuer_ended_can_be_abandoned),
		TEST(a_ring_with_a_skipped_completion_can_be_abandoned),
		TEST(abandon_drops_every_piece_of_a_vector),
		TEST(a_ring_with_fixed_buffers_can_be_abandoned),
		TEST(a_guarded_ring_can_be_abandoned),
		TEST(a_hold_is_kept_as_long_as_the_ring_exists),
		TEST(an_abandoned_ring_refuses_requests),
		TEST(calls_on_an_abandoned_ring_are_estale),
		TEST(an_emptied_file_table_does_not_prove_that_the_ring_ended),
		TEST(a_replaced_file_does_not_prove_that_the_ring_ended),
		TEST(a_ring_with_an_emptied_table_can_be_detached_when_idle),
		TEST(a_quarantined_ring_with_a_new_file_table_can_be_abandoned),
		TEST(a_guard_with_an_emptied_file_table_must_be_detached),
		TEST(a_ring_index_is_valid_only_in_its_own_thread),
		TEST(no_call_takes_the_ring_index_of_another_thread),
		TEST(an_ended_threads_ring_index_is_not_that_of_the_next_thread),
		TEST(a_ring_known_by_index_can_be_abandoned_before_it_is_freed),
		TEST(a_freed_ring_known_by_index_is_quarantined),
	};

	return cmocka_run_group_tests_name("uring_abandon", tests, NULL, NULL);
}

static int disk_setup(void **state)
{
	return held_disk_make(&disk) || setup(state) ? -1 : 0;
}

static int disk_teardown(void **state)
{
	/*
	 * The reads must land first: removing the files would wait for reads in flight.
	 */
	int ret = held_disk_land(&disk);

	return teardown(state) | held_disk_remove(&disk) | ret;
}

static int run_disk(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, disk_setup, \
						    disk_teardown)
	const struct CMUnitTest tests[] = {
		CASE(abandon_of_a_freed_ring_waits_for_its_dma),
		CASE(abandon_of_a_ring_whose_thread_ended_waits_for_its_dma),
		CASE(a_replaced_file_does_not_prove_that_dma_ended),
	};

	return cmocka_run_group_tests_name("uring_abandon disk", tests, NULL,
					   NULL);
}

/* uring_abandon shmem|devdax|fsdax [disk] */
int main(int argc, char **argv)
{
	if (!choose_target(argc > 1 ? argv[1] : "shmem"))
		return 0;
	if (argc <= 2 || strcmp(argv[2], "disk"))
		return run_all();
	if (!getenv("DAXPIN_TEST_DISK"))
		return skip_all("needs DAXPIN_TEST_DISK, a disk that reads 0xA5 (./dev lab has one)");
	return run_disk();
}
