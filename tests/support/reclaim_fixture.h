/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For one test of reclaim: a pool of three segments, each with a live extent of 14 MiB
 * and 16 MiB of free space. Every byte after the metadata, free or not, has a pattern.
 * Jobs end with the test, even if it fails.
 */
#ifndef RECLAIM_FIXTURE_H
#define RECLAIM_FIXTURE_H

#include "media.h"
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include "kernel_stack.h"

#define CHUNK		((uint64_t)DAXPIN_CHUNK_SIZE)
#define SEGMENTS	3
#define SEGMENT		(32 * MIB)
#define ROOM		(30 * MIB)	/* after the metadata */
#define LIVE		(14 * MIB)
#define FREE		(16 * MIB)
#define A		1		/* two segments; segment 0 has the lock */
#define B		2
#define JOBS_MAX	4
#define WAIT_LIMIT_MS	600000		/* limit of a wait that must end */

typedef int begin_fn(struct daxpin_pool *pool,
		     const struct daxpin_job_options *options,
		     struct daxpin_job **ret_job);

static struct daxpin_extent live_extent[SEGMENTS];
static struct daxpin_job *open_jobs[JOBS_MAX];
static int pipe_fd[2] = { -1, -1 };
/*
 * Called after each job: dp_invariants(), in tests that can see the library's
 * internals.
 */
static void (*check_pool)(struct daxpin_pool *pool);

/* ----------------------------------------------------------------- content */

static inline uint64_t word_of(uint32_t segment, uint64_t offset)
{
	uint64_t x = (segment * SEGMENT + offset) * 0x9e3779b97f4a7c15ull;

	return (x ^ x >> 29) | 1;	/* no word is 0, as in a hole */
}

static inline char *map_segment(struct fixture *f, uint32_t segment)
{
	int fd = open_file(f, segment);
	char *base = mmap(NULL, SEGMENT, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			  0);

	assert_ptr_not_equal(base, MAP_FAILED);
	close(fd);
	return base;
}

/* Stores through a mapping that the library does not know. */
static inline void fill_segment(struct fixture *f, uint32_t segment)
{
	char *base = map_segment(f, segment);
	uint64_t *word = (uint64_t *)base;

	for (uint64_t at = CHUNK; at < SEGMENT; at += 8)
		word[at / 8] = word_of(segment, at);
	assert_int_equal(msync(base, SEGMENT, MS_SYNC), 0);
	munmap(base, SEGMENT);
}

/* Counts the words of [from, to) that are not those of fill_segment(). */
static inline uint64_t wrong_words(const void *memory, uint32_t segment,
				   uint64_t from, uint64_t to)
{
	const uint64_t *word = memory;
	uint64_t wrong = 0;

	for (uint64_t at = from; at < to; at += 8)
		wrong += word[(at - from) / 8] != word_of(segment, at);
	return wrong;
}

static inline uint64_t wrong_in_extent(struct fixture *f,
				       struct daxpin_extent extent,
				       uint64_t size)
{
	uint64_t at = extent.addr % SEGMENT;

	return wrong_words(daxpin_ptr(f->pool, extent, 0),
			   extent.addr / SEGMENT, at, at + size);
}

static inline void assert_live_is_intact(struct fixture *f)
{
	for (int i = 0; i < SEGMENTS; i++)
		assert_int_equal(wrong_in_extent(f, live_extent[i], LIVE), 0);
}

/* The file offset at which a segment's free space begins. */
static inline uint64_t free_at(uint32_t segment)
{
	uint64_t live = live_extent[segment].addr % SEGMENT;

	return live == CHUNK ? CHUNK + LIVE : CHUNK;
}

/* ------------------------------------------------------- the state of a file */

struct shape {
	uint64_t blocks;		/* blocks of 512 bytes that it takes */
	uint64_t mapped;		/* bytes with an extent; 0: tmpfs */
	uint64_t sum;			/* hash of all bytes after the metadata */
};

static inline uint64_t mapped_bytes(int fd)
{
	const uint64_t size = sizeof(struct fiemap) +
			      64 * sizeof(struct fiemap_extent);
	struct fiemap *map = malloc(size);
	uint64_t bytes = 0, at = 0;

	assert_non_null(map);
	do {
		memset(map, 0, size);
		map->fm_start = at;
		map->fm_length = SEGMENT - at;
		map->fm_extent_count = 64;
		if (ioctl(fd, FS_IOC_FIEMAP, map))
			break;
		for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
			const struct fiemap_extent *e = &map->fm_extents[i];

			at = e->fe_logical + e->fe_length;
			bytes += e->fe_length;
		}
	} while (map->fm_mapped_extents == 64);
	free(map);
	return bytes;
}

static inline uint64_t blocks_of(struct fixture *f, uint32_t segment)
{
	struct stat st;
	char path[128];

	segment_path(f, segment, path);
	assert_int_equal(stat(path, &st), 0);
	return st.st_blocks;
}

/* Uses pread(), which would sleep if a punch still waited. */
static inline struct shape shape_of(struct fixture *f, uint32_t segment)
{
	int fd = open_file(f, segment);
	char *bytes = malloc(ROOM);
	struct shape shape;

	assert_non_null(bytes);
	assert_int_equal(pread(fd, bytes, ROOM, CHUNK), ROOM);
	shape = (struct shape) {
		.blocks = blocks_of(f, segment), .mapped = mapped_bytes(fd),
		.sum = XXH3_64bits(bytes, ROOM),
	};
	free(bytes);
	close(fd);
	return shape;
}

static inline void assert_same_shape(struct fixture *f, uint32_t segment,
				     const struct shape *before)
{
	struct shape now = shape_of(f, segment);

	assert_int_equal(now.blocks, before->blocks);
	assert_int_equal(now.mapped, before->mapped);
	assert_int_equal(now.sum, before->sum);
}

static inline bool reads_as_zeroes(struct fixture *f, uint32_t segment,
				   uint64_t at, uint64_t size)
{
	uint64_t *word = malloc(size), seen = 0;

	assert_non_null(word);
	look(f, segment, at, word, size);
	for (uint64_t i = 0; i < size / 8; i++)
		seen |= word[i];
	free(word);
	return !seen;
}

/* -------------------------------------------------------------------- pools */

/* Puts live extents and free space at known places. */
static inline void populate(struct fixture *f)
{
	struct daxpin_extent all[SEGMENTS], rest[SEGMENTS];

	for (int i = 0; i < SEGMENTS; i++) {
		struct daxpin_extent extent = reserve(f, ROOM);

		all[extent.addr / SEGMENT] = extent;
	}
	for (int i = 0; i < SEGMENTS; i++) {
		assert_int_equal(daxpin_cancel(f->pool, all[i]), 0);
		live_extent[i] = live(f, LIVE);
		assert_int_equal(live_extent[i].addr / SEGMENT, i);
		rest[i] = reserve(f, FREE);
	}
	for (int i = 0; i < SEGMENTS; i++) {
		assert_int_equal(daxpin_cancel(f->pool, rest[i]), 0);
		fill_segment(f, i);
	}
}

static inline int reclaim_setup(void **state, const char *directory)
{
	struct fixture *f;

	if (empty_setup(state))
		return -1;
	f = *state;
	nftw(f->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	snprintf(f->path, sizeof(f->path), "%s/daxpin-test-XXXXXX", directory);
	if (!mkdtemp(f->path))
		return -1;
	f->options.pool_size = SEGMENTS * SEGMENT;
	create_pool(f);
	populate(f);
	return 0;
}

/* Opens the pool and gets new handles, since those of an earlier open are stale. */
static inline void reopen(struct fixture *f)
{
	f->options.deadline_ns = daxpin_deadline_ms(WAIT_LIMIT_MS);
	open_pool(f);
	for (int i = 0; i < SEGMENTS; i++)
		assert_int_equal(daxpin_extent_at(f->pool, live_extent[i].addr,
						  &live_extent[i]), 0);
}

/* --------------------------------------------------------------------- jobs */

static inline struct daxpin_job_options job_options(uint32_t segment,
						    uint64_t ms)
{
	return (struct daxpin_job_options) {
		.size = sizeof(struct daxpin_job_options),
		.segment = segment,
		.deadline_ns = daxpin_deadline_ms(ms),
	};
}

static inline struct daxpin_job *begin(struct fixture *f, begin_fn *what,
				       uint32_t segment, uint64_t ms)
{
	struct daxpin_job_options options = job_options(segment, ms);
	int slot = 0;

	while (open_jobs[slot])
		assert_true(++slot < JOBS_MAX);
	assert_int_equal(what(f->pool, &options, &open_jobs[slot]), 0);
	return open_jobs[slot];
}

/* Asserts that the job has not ended after one more step of it. */
static inline void assert_waits(struct daxpin_job *job)
{
	assert_int_equal(daxpin_job_wait(job, 0), -ETIMEDOUT);
}

static inline void add_holders(const struct daxpin_job_part *part, void *arg)
{
	*(uint64_t *)arg += part->holder ? part->holder->count : 0;
}

/* Asserts that the job waits for a hold or a registration and has made no request. */
static inline void assert_waits_for_holder(struct daxpin_job *job)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	uint64_t holders = 0;

	assert_waits(job);
	assert_int_equal(daxpin_job_report(job, add_holders, &holders,
					   &summary), 0);
	assert_int_not_equal(holders, 0);
}

/*
 * The functions in which each filesystem waits for the pins of a file:
 * xfs_break_dax_layouts(), ext4_break_layouts(), dax_break_layout().
 */
#define WAITS_FOR_PINS	"break_"

/* Asserts that the kernel waits for pins, in a request of this job. */
static inline void assert_kernel_waits(struct daxpin_job *job)
{
	/*
	 * The request is cancelled from time to time, and made again by the next call
	 * on the job.
	 */
	for (int ms = 0; !kernel_stack_has(getpid(), WAITS_FOR_PINS); ms++) {
		assert_true(ms < KERNEL_STACK_HANG_S * 1000);
		assert_waits(job);
		usleep(1000);
	}
	assert_waits(job);
}

static inline struct daxpin_job_summary summary_of(struct daxpin_job *job)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };

	assert_int_equal(daxpin_job_report(job, NULL, NULL, &summary), 0);
	return summary;
}

static inline struct daxpin_job_summary finish(struct fixture *f,
					       struct daxpin_job *job)
{
	struct daxpin_job_summary summary;

	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(WAIT_LIMIT_MS)),
			 0);
	summary = summary_of(job);
	assert_int_equal(daxpin_job_end(job), 0);
	for (int i = 0; i < JOBS_MAX; i++)
		if (open_jobs[i] == job)
			open_jobs[i] = NULL;
	if (check_pool)
		check_pool(f->pool);
	return summary;
}

static inline struct daxpin_job_summary run(struct fixture *f, begin_fn *what,
					    uint32_t segment)
{
	return finish(f, begin(f, what, segment, WAIT_LIMIT_MS));
}

/* Asserts that the job succeeds with this number of bytes. */
static inline void must_do(struct fixture *f, begin_fn *what, uint32_t segment,
			   uint64_t bytes)
{
	struct daxpin_job_summary s = run(f, what, segment);

	assert_int_equal(s.result, 0);
	assert_int_equal(s.done_bytes, bytes);
	assert_int_equal(s.left_bytes, 0);
}

static inline int end_jobs(void)
{
	int ret = 0;

	for (int i = 0; i < JOBS_MAX; i++) {
		if (!open_jobs[i])
			continue;
		daxpin_job_cancel(open_jobs[i]);
		daxpin_job_wait(open_jobs[i], daxpin_deadline_ms(WAIT_LIMIT_MS));
		ret |= daxpin_job_end(open_jobs[i]);
		open_jobs[i] = NULL;
	}
	return ret;
}

/* -------------------------------------------------------------- foreign pins */

/*
 * Puts a page of a file into a pipe, which pins it without the library's knowledge. A
 * punch of the file waits until unpin().
 */
static inline void pin(struct fixture *f, uint32_t segment, uint64_t at)
{
	char *base = map_segment(f, segment);
	struct iovec page = { base + at, 4096 };

	assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
	assert_int_equal(vmsplice(pipe_fd[1], &page, 1, 0), 4096);
	munmap(base, SEGMENT);
}

static inline void unpin(void)
{
	char page[4096];

	if (pipe_fd[0] < 0)
		return;
	assert_int_equal(read(pipe_fd[0], page, 4096), 4096);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	pipe_fd[0] = -1;
}

/* ---------------------------------------------------------------- segment A */

/* Reserves all space outside of segment A, so that a reserve finds space only in A. */
static inline void reserve_others(struct fixture *f)
{
	struct daxpin_extent extent, of_a = { 0, 0 };

	for (int i = 0; i < SEGMENTS; i++) {
		extent = reserve(f, FREE);
		if (extent.addr / SEGMENT == A)
			of_a = extent;
	}
	assert_int_equal(daxpin_cancel(f->pool, of_a), 0);
}

/* Asserts that A's free space is a hole now, and the rest is unchanged. */
static inline void assert_reclaimed(struct fixture *f, const struct shape *before)
{
	struct shape now = shape_of(f, A);

	assert_int_equal(pool_info(f).hole_bytes, FREE);
	assert_int_equal(now.mapped, before->mapped - FREE);
	assert_true(now.blocks <= before->blocks - (FREE - MIB) / 512);
	assert_true(reads_as_zeroes(f, A, free_at(A), FREE));
	assert_live_is_intact(f);
}

#endif
