/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_reads [OPTIONS] TEST PEER: READ_FIXED through the io_uring adapter, and through
 * liburing alone: --size BYTES each, from the same file, into the same memory, with the
 * same queue depth and batches. The file is in /tmp, opened with O_DIRECT if the
 * filesystem supports it.
 *
 *	read		elapsed time, which includes the disk
 *	read-cpu	the process's processor time, which includes the
 *			kernel's workers
 *	prep		prepare a request and abort it, without the kernel; PEER holds
 *
 *	by-hand		liburing alone
 *	holds		liburing, and a labelled hold for each request, so that what is
 *			left is the cost of the adapter
 *
 * A disk's noise is ten times the difference that is looked for, so a round is four
 * batches, in the orders ABBA and BAAB. Printed are nanoseconds for a request.
 */
#include "turns.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <daxpin-uring.h>

#define DEPTH		64
#define FILE_BYTES	(64u << 20)
#define SPACE		(16u << 20)	/* of the extent that is read into */
#define IN_FLIGHT	(8u << 20)	/* bytes, at most */
#define PREPS		10000

static struct bench arguments;
static struct bench *const bench = &arguments;
static struct rounds rounds;
static struct daxpin_pool *pool;
static struct daxpin_extent extent;
static char *memory;
static int file;
static struct io_uring ours, theirs;
static struct daxpin_uring *uring;
static struct daxpin_uring_io io[DEPTH];
static struct daxpin_hold hold[DEPTH];
static uint32_t depth;

/* A batch of requests; `from` chooses the places in the file. */
typedef void batch_fn(uint32_t from);

/* Where in file and extent request `i` reads. */
static uint64_t offset_of(uint32_t i)
{
	return i % (SPACE / bench->size) * bench->size;
}

static void require_ok(const struct io_uring_cqe *cqe)
{
	if (cqe->res != (int)bench->size)
		must(cqe->res < 0 ? cqe->res : -EIO, "read");
}

/* ------------------------------------------------------------------- batches */

static struct daxpin_uring_io *find(const struct io_uring_cqe *cqe, void *arg)
{
	(void)arg;
	require_ok(cqe);
	return io_uring_cqe_get_data(cqe);
}

static void submit(struct io_uring *ring)
{
	int ret = io_uring_submit_and_wait(ring, depth);

	must(ret < 0 ? ret : 0, "submit");
}

static void batch_of_daxpin(uint32_t from)
{
	int ret;

	for (uint32_t i = 0; i < depth; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ours);
		uint64_t at = offset_of(from + i);

		must(daxpin_uring_prep_read(uring, &io[i], sqe, file, extent, at,
					    bench->size, at), "prep");
		io_uring_sqe_set_data(sqe, &io[i]);
	}
	submit(&ours);
	ret = daxpin_uring_reap(uring, &ours, find, NULL, NULL);
	must(ret < 0 ? ret : 0, "reap");
}

static inline __attribute__((always_inline))
void batch_by_liburing(uint32_t from, bool with_holds)
{
	struct io_uring_cqe *cqe;
	unsigned int head, count = 0;

	for (uint32_t i = 0; i < depth; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&theirs);
		uint64_t at = offset_of(from + i);

		if (with_holds)
			must(daxpin_hold_labelled(pool, extent, DAXPIN_HOLD_WRITE,
						  "by hand", &hold[i]), "hold");
		io_uring_prep_read_fixed(sqe, file, memory + at, bench->size, at, 0);
		io_uring_sqe_set_data(sqe, &hold[i]);
	}
	submit(&theirs);
	io_uring_for_each_cqe(&theirs, head, cqe) {
		require_ok(cqe);
		if (with_holds)
			must(daxpin_drop_labelled(pool, io_uring_cqe_get_data(cqe)),
			     "drop");
		count++;
	}
	io_uring_cq_advance(&theirs, count);
}

static void batch_by_hand(uint32_t from)
{
	batch_by_liburing(from, false);
}

static void batch_with_holds(uint32_t from)
{
	batch_by_liburing(from, true);
}

/* The time in user space, without the kernel's; the depth is PREPS. */
static void prep_by_daxpin(uint32_t from)
{
	struct io_uring_sqe sqe;

	for (uint32_t i = 0; i < depth; i++) {
		must(daxpin_uring_prep_read(uring, io, &sqe, file, extent,
					    offset_of(from), bench->size, 0), "prep");
		must(daxpin_uring_abort(io, NULL), "abort");
	}
}

static void prep_with_holds(uint32_t from)
{
	struct io_uring_sqe sqe;

	for (uint32_t i = 0; i < depth; i++) {
		must(daxpin_hold_labelled(pool, extent, DAXPIN_HOLD_WRITE, "by hand",
					  hold), "hold");
		io_uring_prep_read_fixed(&sqe, file, memory + offset_of(from),
					 bench->size, 0, 0);
		__asm__ volatile("" : : "r"(&sqe) : "memory");
		must(daxpin_drop_labelled(pool, hold), "drop");
	}
}

/* ------------------------------------------------------------------- rounds */

static double cost_of(batch_fn *batch, uint32_t from, clockid_t clock)
{
	uint64_t begin_ns = turns_clock_ns(clock);

	batch(from);
	return (double)(turns_clock_ns(clock) - begin_ns) / depth;
}

/* Both sides read the same places, in the same order. */
static void run_round(batch_fn *peer, batch_fn *daxpin, clockid_t clock)
{
	int i = rounds.count++;
	batch_fn *const outer = i % 2 ? daxpin : peer;
	batch_fn *const inner = i % 2 ? peer : daxpin;
	uint32_t from = 2 * i * depth;
	double sum[2];

	sum[0] = cost_of(outer, from, clock);
	sum[1] = cost_of(inner, from, clock);
	sum[1] += cost_of(inner, from + depth, clock);
	sum[0] += cost_of(outer, from + depth, clock);
	rounds.peer[i] = sum[i % 2] / 2;
	rounds.daxpin[i] = sum[i % 2 == 0] / 2;
}

/* The comparison is valid only if every request was fixed. */
static void require_fixed(void)
{
	struct daxpin_uring_info info = { .size = sizeof(info) };

	must(daxpin_uring_info(uring, &info), "info");
	if (info.fallbacks)
		bench_die("%llu requests were plain (%s)",
			  (unsigned long long)info.fallbacks,
			  strerror(-info.fallback));
}

static void compare(batch_fn *peer, batch_fn *daxpin, clockid_t clock)
{
	uint64_t begin_ns = turns_clock_ns(CLOCK_MONOTONIC);

	peer(0);
	daxpin(0);
	while (turns_go_on(bench, &rounds, 20, begin_ns))
		run_round(peer, daxpin, clock);
	require_fixed();
	turns_print(bench, "ns", &rounds);
}

/* ------------------------------------------------------------------- set-up */

static void make_file(void)
{
	static char block[1 << 20] __attribute__((aligned(4096)));

	file = open("/tmp", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	if (file < 0)
		file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (file < 0)
		bench_die("/tmp: %m");
	memset(block, 0x5a, sizeof(block));
	for (uint32_t at = 0; at < FILE_BYTES; at += sizeof(block))
		if (pwrite(file, block, sizeof(block), at) != sizeof(block))
			bench_die("/tmp: %m");
}

/* The same buffer in both rings, so that the kernel does the same work. */
static void open_rings(void)
{
	char errmsg[256];
	struct daxpin_uring_options options = {
		.size = sizeof(options), .flags = DAXPIN_URING_NEED_FIXED,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_segment segment;
	struct iovec iov;
	int ret;

	must(daxpin_pool_info(pool, &info), "info");
	must(io_uring_queue_init(DEPTH, &ours, 0), "ring");
	must(io_uring_queue_init(DEPTH, &theirs, 0), "ring");
	must(daxpin_segment(pool, extent.addr / info.segment_size, &segment),
	     "segment");
	iov = (struct iovec) { segment.base, segment.size };
	ret = io_uring_register_buffers(&theirs, &iov, 1);
	if (ret == -ENOMEM)
		bench_skip("RLIMIT_MEMLOCK is too little for a segment");
	must(ret, "buffers");
	ret = daxpin_uring_attach(pool, &ours, &options, &uring);
	if (ret == -ENOMEM)
		bench_skip("RLIMIT_MEMLOCK is too little for a segment of two rings");
	must(ret, errmsg);
}

static void begin(void)
{
	pool = bench_pool(bench, SPACE);
	must(daxpin_reserve(pool, SPACE, DAXPIN_RESERVE_ZERO, &extent), "reserve");
	memory = daxpin_ptr(pool, extent, 0);
	make_file();
	open_rings();
}

static void end(void)
{
	must(daxpin_uring_detach(uring), "detach");
	io_uring_queue_exit(&ours);
	io_uring_queue_exit(&theirs);
	must(daxpin_cancel(pool, extent), "cancel");
	must(daxpin_pool_close(pool), "close");
}

int main(int argc, char **argv)
{
	bool holds, preps;

	bench_parse(bench, argc, argv);
	holds = !strcmp(bench->peer, "holds");
	preps = !strcmp(bench->test, "prep");
	if ((!holds && (preps || strcmp(bench->peer, "by-hand"))) ||
	    (!preps && strcmp(bench->test, "read") && strcmp(bench->test, "read-cpu")))
		bench_die("no test %s beside %s", bench->test, bench->peer);
	if (!bench->size || bench->size % 4096 || bench->size > SPACE)
		bench_die("--size must be a multiple of 4096 up to %u", SPACE);
	bench_need_io_uring();
	depth = DEPTH * bench->size > IN_FLIGHT ? IN_FLIGHT / bench->size : DEPTH;
	begin();
	if (preps) {
		depth = bench->once ? BENCH_SMALL : PREPS;
		compare(prep_with_holds, prep_by_daxpin, CLOCK_THREAD_CPUTIME_ID);
	} else {
		compare(holds ? batch_with_holds : batch_by_hand, batch_of_daxpin,
			strcmp(bench->test, "read") ? CLOCK_PROCESS_CPUTIME_ID :
						      CLOCK_MONOTONIC);
	}
	end();
	return 0;
}
