/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_rings [OPTIONS] TEST clones: --live N rings are attached to one pool of --size
 * BYTES, until all segments are fixed buffers of each. The peer registers them with the
 * first ring by hand and copies them to the others (IORING_REGISTER_CLONE_BUFFERS).
 *
 *	attach	create the rings and attach them, eagerly
 *	prepare	prepare every segment in rings that are attached
 *	detach	detach them
 *
 * Printed are microseconds for all rings together.
 */
#include "turns.h"

#include <string.h>

#include <daxpin-uring.h>
#include <sys/syscall.h>
#include <unistd.h>

#define US		1e3		/* ns */
#define RINGS_MAX	64
#define ENTRIES		64
#define SEGMENTS_MAX	1024

/* Not defined by the oldest liburing that is supported. */
#define CLONE_BUFFERS	30

struct clone {
	uint32_t from_fd, flags, from_slot, to_slot, count, reserved[3];
};

static struct bench arguments;
static struct bench *const bench = &arguments;
static struct rounds rounds;
static struct daxpin_pool *pool;
static struct iovec segments[SEGMENTS_MAX];
static uint32_t segment_count;
static struct io_uring ring[RINGS_MAX];
static struct daxpin_uring *uring[RINGS_MAX];
static int rings;

/* The times of one turn, of which one is printed. */
struct times {
	double attach, prepare, detach;
};

static void find_segments(void)
{
	struct daxpin_segment segment;

	while (segment_count < SEGMENTS_MAX &&
	       !daxpin_segment(pool, segment_count, &segment))
		segments[segment_count++] = (struct iovec) { segment.base,
							     segment.size };
}

static double since_us(const struct stopwatch *watch)
{
	return stopwatch_ns(watch) / US;
}

static void make_rings(void)
{
	for (int i = 0; i < rings; i++)
		must(io_uring_queue_init(ENTRIES, &ring[i], 0), "ring");
}

static void free_rings(void)
{
	for (int i = 0; i < rings; i++)
		io_uring_queue_exit(&ring[i]);
}

/* ------------------------------------------------------------------ by hand */

static void register_by_hand(void)
{
	struct clone clone = { .from_fd = ring[0].ring_fd };
	int ret = io_uring_register_buffers(&ring[0], segments, segment_count);

	if (ret == -ENOMEM)
		bench_skip("RLIMIT_MEMLOCK is too little for the pool");
	must(ret, "register");
	for (int i = 1; i < rings; i++) {
		clone.from_fd = ring[0].ring_fd;
		if (syscall(__NR_io_uring_register, ring[i].ring_fd,
			    CLONE_BUFFERS, &clone, 1))
			bench_skip("this kernel cannot copy registered buffers: %m");
	}
}

static struct times time_by_hand(void)
{
	struct stopwatch all = stopwatch_start(), part;
	struct times times;

	make_rings();
	part = stopwatch_start();
	register_by_hand();
	times.prepare = since_us(&part);
	times.attach = since_us(&all);
	part = stopwatch_start();
	for (int i = 0; i < rings; i++)
		must(io_uring_unregister_buffers(&ring[i]), "unregister");
	times.detach = since_us(&part);
	free_rings();
	return times;
}

/* ---------------------------------------------------------------- by daxpin */

static void attach_all(uint32_t flags)
{
	char errmsg[256];
	struct daxpin_uring_options options = {
		.size = sizeof(options), .flags = flags,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};

	for (int i = 0; i < rings; i++)
		must(daxpin_uring_attach(pool, &ring[i], &options, &uring[i]),
		     errmsg);
}

/* If a segment is not fixed in some ring, the comparison is not valid. */
static void require_fixed(void)
{
	struct daxpin_uring_info info = { .size = sizeof(info) };

	for (int i = 0; i < rings; i++) {
		must(daxpin_uring_info(uring[i], &info), "info");
		if (info.plain_segments)
			bench_die("%u segments of ring %d are not fixed",
				  info.plain_segments, i);
	}
}

static struct times time_daxpin(void)
{
	const bool eager = strcmp(bench->test, "prepare");
	const struct daxpin_extent all_segments = { 0, 0 };
	struct stopwatch all = stopwatch_start(), part;
	struct times times = { 0 };

	make_rings();
	attach_all(eager ? DAXPIN_URING_NEED_FIXED : DAXPIN_URING_PREPARED);
	times.attach = since_us(&all);
	part = stopwatch_start();
	for (int i = 0; !eager && i < rings; i++)
		must(daxpin_uring_prepare(uring[i], all_segments), "prepare");
	times.prepare = since_us(&part);
	require_fixed();
	part = stopwatch_start();
	for (int i = 0; i < rings; i++)
		must(daxpin_uring_detach(uring[i]), "detach");
	times.detach = since_us(&part);
	free_rings();
	return times;
}

/* --------------------------------------------------------------------- main */

static double chosen(struct times times)
{
	if (!strcmp(bench->test, "attach"))
		return times.attach;
	return strcmp(bench->test, "prepare") ? times.detach : times.prepare;
}

static void compare(void)
{
	uint64_t begin_ns = turns_clock_ns(CLOCK_MONOTONIC);

	/* The first run of each allocates the files' pages, so it does not count. */
	time_by_hand();
	time_daxpin();
	while (turns_go_on(bench, &rounds, 5, begin_ns)) {
		int i = rounds.count++;

		if (i % 2)
			rounds.daxpin[i] = chosen(time_daxpin());
		rounds.peer[i] = chosen(time_by_hand());
		if (i % 2 == 0)
			rounds.daxpin[i] = chosen(time_daxpin());
	}
	turns_print(bench, "us", &rounds);
}

int main(int argc, char **argv)
{
	bench_parse(bench, argc, argv);
	if (strcmp(bench->peer, "clones") ||
	    (strcmp(bench->test, "attach") && strcmp(bench->test, "prepare") &&
	     strcmp(bench->test, "detach")))
		bench_die("no test %s beside %s", bench->test, bench->peer);
	rings = bench->live ? bench->live : 8;
	if (rings > RINGS_MAX)
		bench_die("%d rings are more than %d", rings, RINGS_MAX);
	bench_need_io_uring();
	pool = bench_pool(bench, bench->once ? 0 : bench->size);
	find_segments();
	compare();
	must(daxpin_pool_close(pool), "close");
	return 0;
}
