/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reclaim on tmpfs, where the kernel does not wait for pins: a page that a ring or a
 * memory region has pinned is punched nevertheless, and what is written to it
 * afterwards is lost (kernel.md K5). So everything that pinned the segment must first
 * unpin it: two rings, and a protection domain if DAXPIN_TEST_RDMA names a device.
 *
 * The tests unsafe_... show that without daxpin's protection data is lost; otherwise
 * the other tests would show nothing.
 */
#include "reclaim_fixture.h"
#include "../support/memlock.h"
#include "shm.h"
#include <daxpin-uring.h>
#ifdef HAVE_RDMA
#include <daxpin-rdma.h>
#include "rdma_wire.h"
#endif

#define RINGS		2
#define LOCKED_MAX	(256ull << 20)	/* pinned by the rings and an RDMA device */
#define BYTES		(256u << 10)	/* bytes of one request */
#define FROM_FILE	0x5c

struct ring {
	struct io_uring ring;
	struct daxpin_uring *uring;
	bool open;
};

static struct ring rings[RINGS];
static int source = -1;			/* a file full of FROM_FILE */

/* ------------------------------------------------------------------ fixture */

static int attach_ring(struct fixture *f, struct ring *ring)
{
	struct daxpin_uring_options options = {
		.size = sizeof(options), .flags = DAXPIN_URING_NEED_FIXED,
		.label = "a ring",
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	int ret = io_uring_queue_init(8, &ring->ring, 0);

	if (ret)
		return ret;
	ring->open = true;
	ret = daxpin_uring_attach(f->pool, &ring->ring, &options, &ring->uring);
	if (ret)
		print_message("# %s\n", f->errmsg);
	return ret;
}

static int detach_rings(void)
{
	int ret = 0;

	for (int i = 0; i < RINGS; i++) {
		if (!rings[i].open)
			continue;
		ret |= daxpin_uring_detach(rings[i].uring);
		io_uring_queue_exit(&rings[i].ring);
		rings[i] = (struct ring) { .open = false };
	}
	return ret;
}

static int make_source(const char *directory)
{
	char bytes[BYTES], path[128];

	memset(bytes, FROM_FILE, sizeof(bytes));
	snprintf(path, sizeof(path), "%s/source", directory);
	source = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return pwrite(source, bytes, BYTES, 0) == BYTES ? 0 : -1;
}

#ifdef HAVE_RDMA
static struct nic nic;
static struct daxpin_rdma *rdma;

static int attach_rdma(struct fixture *f)
{
	struct daxpin_rdma_options options = {
		.size = sizeof(options), .label = "a domain",
		.flags = DAXPIN_RDMA_NO_REGIONS,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	const char *name = getenv("DAXPIN_TEST_RDMA");
	int ret;

	if (!name) {
		print_message("# without RDMA: DAXPIN_TEST_RDMA names no device\n");
		return 0;
	}
	ret = nic_open(&nic, name);
	if (!ret)
		ret = daxpin_rdma_attach(f->pool, nic.pd, &options, &rdma);
	if (ret)
		print_message("# RDMA: %d, %s\n", ret, f->errmsg);
	return ret;
}

static int detach_rdma(void)
{
	int ret = daxpin_rdma_detach(rdma);

	rdma = NULL;
	if (nic.context)
		ret |= nic_close(&nic);
	memset(&nic, 0, sizeof(nic));
	return ret;
}

static int get_key(uint32_t segment)
{
	uint32_t key;

	return rdma ? daxpin_rdma_lkey(rdma, segment * SEGMENT, &key) : 0;
}

static bool has_rdma(void)
{
	return rdma;
}

static int service_rdma(void)
{
	return daxpin_rdma_service(rdma);
}
#else
static int attach_rdma(struct fixture *f)
{
	(void)f;
	print_message("# without RDMA: it was not built\n");
	return 0;
}

static int detach_rdma(void)
{
	return 0;
}

static int get_key(uint32_t segment)
{
	(void)segment;
	return 0;
}

static bool has_rdma(void)
{
	return false;
}

static int service_rdma(void)
{
	return 0;
}
#endif

static int teardown(void **state)
{
	int ret = end_jobs();

	ret |= detach_rings();
	ret |= detach_rdma();
	close(source);
	source = -1;
	return fixture_teardown(state) | ret;
}

static int setup(void **state)
{
	struct fixture *f;
	int ret = reclaim_setup(state, shm_directory());

	if (ret)
		return ret;
	f = *state;
	ret = make_source(f->path);
	for (int i = 0; i < RINGS && !ret; i++)
		ret = attach_ring(f, &rings[i]);
	if (!ret)
		ret = attach_rdma(f);
	if (!ret)
		ret = get_key(A);
	if (ret)
		teardown(state);
	return ret;
}

/* --------------------------------------------------------------------- I/O */

/* Makes one request and waits for it. Returns whether it was fixed or plain. */
static bool transfer(struct ring *ring, bool is_read, int fd,
		     struct daxpin_extent extent, uint64_t offset)
{
	struct daxpin_uring_io io = { .uring = NULL };
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
	struct io_uring_cqe *cqe;
	bool fixed;
	int ret;

	ret = is_read ? daxpin_uring_prep_read(ring->uring, &io, sqe, fd, extent,
					       offset, BYTES, 0) :
			daxpin_uring_prep_write(ring->uring, &io, sqe, fd,
						extent, offset, BYTES, 0);
	assert_int_equal(ret, 0);
	fixed = io.fixed >= 0;
	assert_int_equal(io_uring_submit(&ring->ring), 1);
	assert_int_equal(io_uring_wait_cqe(&ring->ring, &cqe), 0);
	assert_int_equal(cqe->res, BYTES);
	assert_int_equal(daxpin_uring_done(&io, cqe), 1);
	io_uring_cqe_seen(&ring->ring, cqe);
	return fixed;
}

/* Counts the wrong bytes that a read() of the file returns. */
static uint64_t wrong_in_file(struct fixture *f, struct daxpin_extent extent,
			      uint64_t offset)
{
	unsigned char bytes[BYTES];
	uint64_t wrong = 0;

	look(f, extent.addr / SEGMENT, extent.addr % SEGMENT + offset, bytes,
	     BYTES);
	for (uint32_t i = 0; i < BYTES; i++)
		wrong += bytes[i] != FROM_FILE;
	return wrong;
}

/* Writes and reads back through the ring, and compares with the file. */
static bool works(struct fixture *f, struct ring *ring,
		  struct daxpin_extent extent, uint64_t offset)
{
	unsigned char bytes[BYTES];
	char path[128];
	bool fixed;
	int fd;

	memset(daxpin_ptr(f->pool, extent, offset), 0x11, BYTES);
	fixed = transfer(ring, true, source, extent, offset);
	assert_int_equal(wrong_in_file(f, extent, offset), 0);
	file_name(f, "copy", path);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(transfer(ring, false, fd, extent, offset), fixed);
	assert_int_equal(pread(fd, bytes, BYTES, 0), BYTES);
	for (uint32_t i = 0; i < BYTES; i++)
		assert_int_equal(bytes[i], FROM_FILE);
	close(fd);
	return fixed;
}

static uint32_t fixed_of(struct ring *ring)
{
	struct daxpin_uring_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_uring_info(ring->uring, &info), 0);
	return info.fixed_segments;
}

/* ------------------------------------------------------------------- tests */

#define SERVICES	(RINGS + 1)	/* the last one is the protection domain */

static int service(int who)
{
	return who < RINGS ? daxpin_uring_service(rings[who].uring) :
	       service_rdma();
}

/* Nothing is punched until the last of them has unpinned the segment. */
static void reclaim_in_turn(struct fixture *f, int first)
{
	uint64_t before = blocks_of(f, A);
	struct daxpin_job *job = begin(f, daxpin_reclaim, A, 3600000);

	for (int i = 0; i < SERVICES; i++) {
		int who = (first + i) % SERVICES;

		if (who == RINGS && !has_rdma())
			continue;
		assert_waits_for_holder(job);
		assert_int_equal(blocks_of(f, A), before);
		assert_int_equal(service(who), 0);
	}
	assert_int_equal(finish(f, job).done_bytes, FREE);
	assert_int_equal(blocks_of(f, A), before - FREE / 512);
	assert_int_equal(get_key(A), has_rdma() ? -ENOSPC : 0);
}

static void reclaim_waits_for_every_ring_and_domain(void **state)
{
	struct fixture *f = *state;

	for (int first = 0; first < SERVICES; first++) {
		reclaim_in_turn(f, first);
		must_do(f, daxpin_refill, A, FREE);
		for (int i = 0; i < RINGS; i++) {
			assert_int_equal(service(i), 0);
			assert_int_equal(fixed_of(&rings[i]), SEGMENTS);
		}
		assert_int_equal(get_key(A), 0);
	}
	assert_live_is_intact(f);
}

/* I/O in the segment with holes is plain, and fills no hole. */
static void plain_io_does_not_fill_holes(void **state)
{
	struct fixture *f = *state;
	uint64_t before = blocks_of(f, A);

	reclaim_in_turn(f, 0);
	for (int i = 0; i < 4 * RINGS; i++) {
		struct ring *ring = &rings[i % RINGS];

		assert_false(works(f, ring, live_extent[A], i * BYTES));
		assert_true(works(f, ring, live_extent[B], i * BYTES));
		assert_int_equal(daxpin_uring_service(ring->uring), 0);
		assert_int_equal(fixed_of(ring), SEGMENTS - 1);
	}
	assert_int_equal(blocks_of(f, A), before - FREE / 512);
	assert_true(reads_as_zeroes(f, A, free_at(A), FREE));
	assert_int_equal(blocks_of(f, A), before - FREE / 512);
}

static void a_refilled_segment_is_fixed_again(void **state)
{
	struct fixture *f = *state;
	uint64_t before = blocks_of(f, A);
	struct daxpin_extent extent;

	reclaim_in_turn(f, RINGS);
	must_do(f, daxpin_refill, A, FREE);
	assert_int_equal(blocks_of(f, A), before);
	for (int i = 0; i < RINGS; i++) {
		assert_int_equal(service(i), 0);
		assert_int_equal(fixed_of(&rings[i]), SEGMENTS);
		assert_true(works(f, &rings[i], live_extent[A], 0));
	}
	assert_int_equal(get_key(A), 0);
	for (int i = 0; i < SEGMENTS; i++) {
		extent = reserve(f, FREE);
		for (uint64_t at = 0; at < FREE; at += 4 * MIB)
			assert_true(works(f, &rings[at / (4 * MIB) % RINGS],
					  extent, at));
	}
}

/* Punches although the rings have the segment registered. */
static void unsafe_punch_loses_data(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, CHUNK);
	uint32_t segment = extent.addr / SEGMENT;
	const unsigned char *memory = daxpin_ptr(f->pool, extent, 0);
	uint64_t seen = 0;
	int fd = open_file(f, segment);

	assert_true(works(f, &rings[0], extent, 0));
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE |
				   FALLOC_FL_KEEP_SIZE,
				   extent.addr % SEGMENT, CHUNK), 0);
	close(fd);
	/* The ring reports success: all bytes were read. */
	assert_true(transfer(&rings[0], true, source, extent, 0));
	assert_int_equal(wrong_in_file(f, extent, 0), BYTES);
	for (uint32_t i = 0; i < BYTES; i++)
		seen |= memory[i];
	assert_int_equal(seen, 0);
}

/*
 * Registering memory fills every hole, so daxpin does not register a segment with
 * holes.
 */
static void unsafe_registering_fills_holes(void **state)
{
	struct fixture *f = *state;
	struct daxpin_segment segment;
	struct iovec iov;
	struct io_uring ring;
	uint64_t shrunk;

	reclaim_in_turn(f, 1);
	shrunk = blocks_of(f, A);
	assert_int_equal(detach_rings(), 0);
	assert_int_equal(daxpin_segment(f->pool, A, &segment), 0);
	iov = (struct iovec) { segment.base, segment.size };
	assert_int_equal(io_uring_queue_init(8, &ring, 0), 0);
	assert_int_equal(io_uring_register_buffers(&ring, &iov, 1), 0);
	assert_int_equal(blocks_of(f, A), shrunk + FREE / 512);
	io_uring_queue_exit(&ring);
	/*
	 * These pages are in the file, while the pool counts them as holes. Refill and
	 * reclaim remove them.
	 */
	must_do(f, daxpin_refill, A, FREE);
	must_do(f, daxpin_reclaim, A, FREE);
	assert_int_equal(blocks_of(f, A), shrunk);
	assert_int_equal(attach_ring(f, &rings[0]), 0);
	assert_int_equal(fixed_of(&rings[0]), SEGMENTS - 1);
	assert_int_equal(blocks_of(f, A), shrunk);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(reclaim_waits_for_every_ring_and_domain),
		TEST(plain_io_does_not_fill_holes),
		TEST(a_refilled_segment_is_fixed_again),
		TEST(unsafe_punch_loses_data),
		TEST(unsafe_registering_fills_holes),
	};

	if (!can_lock(LOCKED_MAX)) {
		printf("1..0 # SKIP RLIMIT_MEMLOCK of %llu KiB is too little to register the pool with %d rings\n",
		       memlock_kib(), RINGS);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
