/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_uring [POOL [DIRECTORY [SECONDS]]]: the cost of the io_uring adapter.
 *
 * It compares READ_FIXED through the adapter with READ_FIXED by liburing alone, from a
 * file in DIRECTORY (default /tmp), by O_DIRECT if possible: in the same process, from
 * the same file, into the same memory, with the same queue depth and batches. A round
 * is four batches in alternate order (ABBA, BAAB), as short as possible, so that other
 * work affects both sides alike. For each size there are as many rounds as fit SECONDS
 * (default 20). A disk's noise is ten times the difference that is looked for, so the
 * median is printed with its 95 % interval: of elapsed time, which includes the disk,
 * and of processor time, which includes the kernel's workers.
 *
 * Then it compares with liburing and a labelled hold for each request, which leaves the
 * cost of the adapter alone; prints the time of a prep and an end; and compares
 * attaches with and without eager registration, of segments of full size.
 */
#include <daxpin-uring.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEPTH		64
#define FILE_BYTES	(64u << 20)
#define SPACE		(64u << 20)	/* of the extent that is read into */
#define IN_FLIGHT	(8u << 20)	/* bytes, at most */
#define ROUNDS_MAX	100000
#define ROUNDS_MIN	20
#define ATTACHES	9

struct bench {
	struct daxpin_pool *pool;
	struct daxpin_extent extent;
	char *memory;
	uint64_t segment_size;
	int file;
	struct io_uring ours, theirs;
	struct daxpin_uring *uring;
	struct daxpin_uring_io io[DEPTH];
	struct daxpin_hold hold[DEPTH];
	uint32_t block, depth, next;
	double seconds;			/* for each size */
};

static char errmsg[256];

static void must(const char *what, int ret)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "bench_uring: %s: %s\n", what,
		errmsg[0] ? errmsg : strerror(-ret));
	exit(1);
}

static double spent(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* ------------------------------------------------------------------- reads */

static void require_ok(const struct bench *bench, const struct io_uring_cqe *cqe)
{
	if (cqe->res != (int)bench->block)
		must("read", cqe->res < 0 ? cqe->res : -EIO);
}

static struct daxpin_uring_io *find(const struct io_uring_cqe *cqe, void *arg)
{
	require_ok(arg, cqe);
	return io_uring_cqe_get_data(cqe);
}

static uint64_t next_offset(struct bench *bench)
{
	uint64_t at = (uint64_t)bench->next++ * bench->block;

	return at % (SPACE - bench->block + 1) / bench->block * bench->block;
}

static void batch_of_ours(struct bench *bench)
{
	for (uint32_t i = 0; i < bench->depth; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&bench->ours);
		uint64_t at = next_offset(bench);

		must("prep", daxpin_uring_prep_read(bench->uring, &bench->io[i],
						    sqe, bench->file,
						    bench->extent, at,
						    bench->block, at));
		io_uring_sqe_set_data(sqe, &bench->io[i]);
	}
	must("submit", io_uring_submit_and_wait(&bench->ours, bench->depth));
	must("reap", daxpin_uring_reap(bench->uring, &bench->ours, find,
				       NULL, bench));
}

/* By liburing alone, without or with a hold for each request. */
static inline __attribute__((always_inline))
void batch_by_hand(struct bench *bench, bool with_holds)
{
	struct io_uring_cqe *cqe;
	unsigned int head, count = 0;

	for (uint32_t i = 0; i < bench->depth; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&bench->theirs);
		uint64_t at = next_offset(bench);

		if (with_holds)
			must("hold", daxpin_hold_labelled(bench->pool,
							  bench->extent,
							  DAXPIN_HOLD_WRITE,
							  "by hand",
							  &bench->hold[i]));
		io_uring_prep_read_fixed(sqe, bench->file, bench->memory + at,
					 bench->block, at, 0);
		io_uring_sqe_set_data(sqe, &bench->hold[i]);
	}
	must("submit", io_uring_submit_and_wait(&bench->theirs,
						bench->depth));
	io_uring_for_each_cqe(&bench->theirs, head, cqe) {
		require_ok(bench, cqe);
		if (with_holds)
			must("drop", daxpin_drop_labelled(
					     bench->pool,
					     io_uring_cqe_get_data(cqe)));
		count++;
	}
	io_uring_cq_advance(&bench->theirs, count);
}

static void batch_of_theirs(struct bench *bench)
{
	batch_by_hand(bench, false);
}

static void batch_with_holds(struct bench *bench)
{
	batch_by_hand(bench, true);
}

struct cost {
	double clock, processor;	/* seconds */
};

/* Both sides read the same places of the file, in the same order. */
static struct cost cost_of(struct bench *bench, uint32_t from,
			   void (*batch)(struct bench *))
{
	double clock = spent(CLOCK_MONOTONIC);
	double processor = spent(CLOCK_PROCESS_CPUTIME_ID);

	bench->next = from;
	batch(bench);
	return (struct cost) {
		spent(CLOCK_MONOTONIC) - clock,
		spent(CLOCK_PROCESS_CPUTIME_ID) - processor
	};
}

static struct cost sum(struct cost a, struct cost b)
{
	return (struct cost) { a.clock + b.clock, a.processor + b.processor };
}

/* The cost of two batches of each side. If `flip` is set, ours run first and last. */
static void run_round(struct bench *bench, void (*theirs)(struct bench *),
		      uint32_t from, bool flip, struct cost *ret_ours,
		      struct cost *ret_theirs)
{
	void (*const way[2])(struct bench *) = { theirs, batch_of_ours };
	struct cost outer = cost_of(bench, from, way[flip]);
	struct cost inner = sum(cost_of(bench, from, way[!flip]),
				cost_of(bench, from + bench->depth, way[!flip]));

	outer = sum(outer, cost_of(bench, from + bench->depth, way[flip]));
	*ret_ours = flip ? outer : inner;
	*ret_theirs = flip ? inner : outer;
}

/*
 * Prints the median of `count` ratios and its 95 % interval, which depends only on
 * their order.
 */
static void print_ratio(const char *what, double *ratio, double *ours, int count,
			uint32_t requests)
{
	int reach = 0.98 * sqrt(count);

	qsort(ratio, count, sizeof(ratio[0]), by_size);
	qsort(ours, count, sizeof(ours[0]), by_size);
	printf("  %-14s %10.0f ns by daxpin; daxpin / by hand: %.4f (%.4f to %.4f; half of the rounds: %.3f to %.3f)\n",
	       what, ours[count / 2] * 1e9 / requests, ratio[count / 2],
	       ratio[count / 2 - reach], ratio[count / 2 + reach],
	       ratio[count / 4], ratio[count - 1 - count / 4]);
}

static void compare(struct bench *bench, uint32_t block,
		    void (*theirs_batch)(struct bench *), const char *against)
{
	static double clock[ROUNDS_MAX], processor[ROUNDS_MAX];
	static double ratio[ROUNDS_MAX], work[ROUNDS_MAX];
	double end = spent(CLOCK_MONOTONIC) + bench->seconds;
	struct cost ours, theirs;
	int i;

	bench->block = block;
	bench->depth = DEPTH * block > IN_FLIGHT ? IN_FLIGHT / block : DEPTH;
	run_round(bench, theirs_batch, 0, false, &ours, &theirs);
	for (i = 0; i < ROUNDS_MAX &&
	     (i < ROUNDS_MIN || spent(CLOCK_MONOTONIC) < end); i++) {
		run_round(bench, theirs_batch, 2 * i * bench->depth, i % 2,
			  &ours, &theirs);
		clock[i] = ours.clock;
		processor[i] = ours.processor;
		ratio[i] = ours.clock / theirs.clock;
		work[i] = ours.processor / theirs.processor;
	}
	printf("READ_FIXED of %u KiB, %u in flight, against %s, %d rounds\n",
	       block >> 10, bench->depth, against, i);
	print_ratio("the clock", ratio, clock, i, 2 * bench->depth);
	print_ratio("processor time", work, processor, i, 2 * bench->depth);
}

/* The time in user space, without the kernel's. */
static void time_prep(struct bench *bench)
{
	enum { TURNS = 100000 };
	double hand, ours, begin = spent(CLOCK_THREAD_CPUTIME_ID);
	struct io_uring_sqe sqe;

	for (int i = 0; i < TURNS; i++) {
		io_uring_prep_read_fixed(&sqe, bench->file, bench->memory, 4096,
					 0, 0);
		__asm__ volatile("" : : "r"(&sqe) : "memory");
	}
	hand = spent(CLOCK_THREAD_CPUTIME_ID) - begin;
	begin = spent(CLOCK_THREAD_CPUTIME_ID);
	for (int i = 0; i < TURNS; i++) {
		must("prep", daxpin_uring_prep_read(bench->uring, bench->io,
						    &sqe, bench->file,
						    bench->extent, 0, 4096, 0));
		must("abort", daxpin_uring_abort(bench->io));
	}
	ours = spent(CLOCK_THREAD_CPUTIME_ID) - begin;
	begin = spent(CLOCK_THREAD_CPUTIME_ID);
	for (int i = 0; i < TURNS; i++) {
		must("hold", daxpin_hold_labelled(bench->pool, bench->extent,
						  DAXPIN_HOLD_WRITE, "by hand",
						  bench->hold));
		must("drop", daxpin_drop_labelled(bench->pool, bench->hold));
	}
	printf("prep and end of a request: %.0f ns by daxpin, of which hold and drop take %.0f ns; %.0f ns by hand\n",
	       ours / TURNS * 1e9,
	       (spent(CLOCK_THREAD_CPUTIME_ID) - begin) / TURNS * 1e9,
	       hand / TURNS * 1e9);
}

/* The comparison is valid only if every request was fixed. */
static void require_fixed(struct bench *bench)
{
	struct daxpin_uring_info info = { .size = sizeof(info) };

	must("info", daxpin_uring_info(bench->uring, &info));
	if (!info.fallbacks)
		return;
	fprintf(stderr, "bench_uring: %llu requests were plain (%s)\n",
		(unsigned long long)info.fallbacks, strerror(-info.fallback));
	exit(1);
}

/* ------------------------------------------------------------------ attach */

static double time_attach(struct bench *bench, uint32_t flags,
			  struct daxpin_uring_info *info)
{
	struct daxpin_uring_options options = {
		.size = sizeof(options), .flags = flags,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	struct daxpin_uring *uring;
	struct io_uring ring;
	double begin, end;

	must("ring", io_uring_queue_init(8, &ring, 0));
	begin = spent(CLOCK_MONOTONIC);
	must("attach", daxpin_uring_attach(bench->pool, &ring, &options,
					   &uring));
	end = spent(CLOCK_MONOTONIC);
	must("info", daxpin_uring_info(uring, info));
	must("detach", daxpin_uring_detach(uring));
	io_uring_queue_exit(&ring);
	return end - begin;
}

static void compare_attach(struct bench *bench)
{
	struct daxpin_uring_info info = { .size = sizeof(info) };
	double lazy[ATTACHES], eager[ATTACHES];

	for (int i = 0; i < ATTACHES; i++) {
		lazy[i] = time_attach(bench, 0, &info);
		eager[i] = time_attach(bench, DAXPIN_URING_EAGER, &info);
	}
	qsort(lazy, ATTACHES, sizeof(lazy[0]), by_size);
	qsort(eager, ATTACHES, sizeof(eager[0]), by_size);
	printf("attach of %u segments of %llu MiB: eager %.0f us, lazy %.0f us; ratio %.1f\n",
	       info.fixed_segments,
	       (unsigned long long)bench->segment_size >> 20,
	       eager[ATTACHES / 2] * 1e6, lazy[ATTACHES / 2] * 1e6,
	       eager[ATTACHES / 2] / lazy[ATTACHES / 2]);
}

/* ------------------------------------------------------------------ set-up */

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static char directory[] = "/dev/shm/daxpin-bench-XXXXXX";

static void remove_directory(void)
{
	nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void open_rings(struct bench *bench)
{
	struct daxpin_uring_options options = {
		.size = sizeof(options), .flags = DAXPIN_URING_NEED_FIXED,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	struct daxpin_segment segment;
	struct iovec iov;

	must("ring", io_uring_queue_init(DEPTH, &bench->ours, 0));
	must("ring", io_uring_queue_init(DEPTH, &bench->theirs, 0));
	must("attach", daxpin_uring_attach(bench->pool, &bench->ours, &options,
					   &bench->uring));
	/* The same buffer, so that the kernel does the same work. */
	must("segment", daxpin_segment(bench->pool, bench->extent.addr /
						    bench->segment_size,
				       &segment));
	iov = (struct iovec) { segment.base, segment.size };
	must("buffers", io_uring_register_buffers(&bench->theirs, &iov, 1));
}

static void run(struct bench *bench)
{
	static const uint32_t blocks[] = { 4096, 65536, 1 << 20 };

	must("reserve", daxpin_reserve(bench->pool, SPACE, DAXPIN_RESERVE_ZERO,
				       &bench->extent));
	bench->memory = daxpin_ptr(bench->pool, bench->extent, 0);
	open_rings(bench);
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
		compare(bench, blocks[i], batch_of_theirs, "by hand");
	compare(bench, blocks[0], batch_with_holds, "by hand with holds");
	time_prep(bench);
	require_fixed(bench);
	must("detach", daxpin_uring_detach(bench->uring));
	io_uring_queue_exit(&bench->ours);
	io_uring_queue_exit(&bench->theirs);
	compare_attach(bench);
	must("cancel", daxpin_cancel(bench->pool, bench->extent));
}

/* Uses O_DIRECT if the filesystem supports it. */
static int make_file(const char *where)
{
	static char block[1 << 20] __attribute__((aligned(4096)));
	int fd = open(where, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);

	if (fd < 0)
		fd = open(where, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	must(where, fd < 0 ? -errno : 0);
	memset(block, 0x5a, sizeof(block));
	for (uint32_t at = 0; at < FILE_BYTES; at += sizeof(block))
		if (pwrite(fd, block, sizeof(block), at) != sizeof(block))
			must(where, -EIO);
	must(where, fsync(fd) ? -errno : 0);
	return fd;
}

int main(int argc, char **argv)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = DAXPIN_POOL_OVERWRITE,
		.segment_size = DAXPIN_SEGMENT_DEFAULT,
		.pool_size = 2 * DAXPIN_SEGMENT_DEFAULT,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	static struct bench bench;
	const char *path = argc > 1 ? argv[1] : mkdtemp(directory);
	struct stat st;

	if (!path)
		return perror(directory), 1;
	if (argc == 1)
		atexit(remove_directory);
	else if (!stat(path, &st) && S_ISCHR(st.st_mode))
		options.pool_size = 0;
	bench.file = make_file(argc > 2 ? argv[2] : "/tmp");
	bench.seconds = argc > 3 ? atof(argv[3]) : 20;
	bench.segment_size = options.segment_size;
	must("create", daxpin_pool_create(path, &options, &bench.pool));
	run(&bench);
	must("close", daxpin_pool_close(bench.pool));
	return 0;
}
