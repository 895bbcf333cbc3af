/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which segments are fixed buffers if a ring has fewer buffer slots than the pool has
 * segments, or if RLIMIT_MEMLOCK does not suffice for all of them. Other tests use
 * buffer tables that the application has made, and several pools on one ring.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "child.h"
#include "nobody.h"
#include "uring_fixture.h"
#include "pins.h"

#define SEGMENT		(32u << 20)
#define SEGMENTS	8u		/* at least */
#define THRESHOLD	64u		/* plain requests before a segment is fixed */
#define BYTES		4096u
#define HANG_MS		600000		/* limit of a wait that must end */

static int setup_many(void **state)
{
	return setup_sized(state, SEGMENTS * (uint64_t)SEGMENT, SEGMENT);
}

/* Returns an extent in that segment. Fills the segments before it. */
static struct daxpin_extent live_in(struct world *w, uint32_t segment)
{
	struct daxpin_extent extent;

	do {
		extent = live(&w->f, SEGMENT / 2 - (2u << 20));
		assert_true(extent.addr / SEGMENT <= segment);
	} while (extent.addr / SEGMENT < segment);
	return extent;
}

static int attach_slots(struct world *w, uint32_t flags, uint32_t slots)
{
	struct daxpin_uring_options options = uring_options(w, flags);

	options.buffer_slots = slots;
	return daxpin_uring_attach(w->f.pool, &w->ring, &options, &w->uring);
}

static int attach_range(struct world *w, uint32_t first, uint32_t slots)
{
	struct daxpin_uring_options options =
		uring_options(w, DAXPIN_URING_BUFFER_RANGE);

	options.buffer_slot = first;
	options.buffer_slots = slots;
	return daxpin_uring_attach(w->f.pool, &w->ring, &options, &w->uring);
}

/*
 * Transfers the file's first bytes to the extent or back. Returns whether it was by a
 * fixed buffer.
 */
static bool transfer(struct world *w, int fd, struct daxpin_extent extent,
		     bool read)
{
	struct daxpin_uring_io io = { .uring = NULL };
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
	int fixed;

	assert_int_equal(read ? daxpin_uring_prep_read(w->uring, &io, sqe, fd,
						       extent, 0, BYTES, 0) :
			 daxpin_uring_prep_write(w->uring, &io, sqe, fd, extent,
						 0, BYTES, 0), 0);
	fixed = daxpin_uring_is_fixed(&io);
	assert_int_equal(io_uring_submit(&w->ring), 1);
	assert_int_equal(finish(w, &io), BYTES);
	assert_int_equal(daxpin_uring_is_fixed(&io), -EINVAL);
	assert_true(fixed == 0 || fixed == 1);
	return fixed;
}

/*
 * Reads from the file, asserts that the bytes arrived, and calls service, which may
 * register a segment. Returns whether the read was by a fixed buffer.
 */
static bool checked_read_is_fixed(struct world *w, int fd, struct daxpin_extent extent,
				  unsigned char byte)
{
	unsigned char expected[BYTES], *memory;
	bool fixed;

	memset(expected, byte, BYTES);
	memory = daxpin_ptr(w->f.pool, extent, 0);
	assert_int_equal(pwrite(fd, expected, BYTES, 0), BYTES);
	memset(memory, ~byte, BYTES);
	fixed = transfer(w, fd, extent, true);
	assert_memory_equal(memory, expected, BYTES);
	assert_int_equal(daxpin_uring_service(w->uring), 0);
	return fixed;
}

/* -------------------------------------------------------- prepared segments */

static void a_prepared_segment_is_fixed(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent = live(&w->f, BYTES);
	struct daxpin_uring_info info;
	int fd = scratch_file();

	need_fixed_buffers(w);
	assert_int_equal(attach(w, 0), 0);
	info = info_of(w->uring);
	assert_int_equal(info.fixed_segments, 0);
	assert_int_equal(info.registrations, 0);
	assert_int_equal(info.registered_bytes, 0);
	assert_true(info.needed_bytes >= SEGMENTS * (uint64_t)SEGMENT);
	for (int i = 0; i < 2; i++)
		assert_int_equal(daxpin_uring_prepare(w->uring, extent), 0);
	assert_true(checked_read_is_fixed(w, fd, extent, 1));
	info = info_of(w->uring);
	assert_int_equal(info.fixed_segments, 1);
	assert_int_equal(info.registrations, 1);
	assert_int_equal(info.registered_bytes, SEGMENT);
	assert_int_equal(info.fallbacks, 0);
	assert_int_equal(info.fallback, 0);
	close(fd);
}

/* Grows the pool by a segment; returns an extent in it. */
static struct daxpin_extent live_after_grow(struct world *w)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_pool_info(w->f.pool, &info), 0);
	assert_int_equal(daxpin_pool_grow(w->f.pool, info.media_bytes + 1, NULL), 0);
	return live_in(w, info.segments);
}

/* An attached ring reads into a segment that was added, first plain, then fixed. */
static void a_ring_uses_segments_of_a_grow_without_a_new_attach(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent;
	int fd = scratch_file();

	if (target == DEVDAX)
		skip();
	need_fixed_buffers(w);
	assert_int_equal(attach(w, DAXPIN_URING_EAGER), 0);
	extent = live_after_grow(w);
	assert_int_equal(info_of(w->uring).plain_segments, 1);
	assert_false(checked_read_is_fixed(w, fd, extent, 1));
	assert_true(checked_read_is_fixed(w, fd, extent, 2));
	assert_int_equal(info_of(w->uring).plain_segments, 0);
	extent = live_after_grow(w);
	assert_int_equal(daxpin_uring_prepare(w->uring, extent), 0);
	assert_true(checked_read_is_fixed(w, fd, extent, 3));
	close(fd);
}

/*
 * A prep function does not register a segment after any number of requests. Only
 * service and reap do, because that pins memory.
 */
static void a_prep_registers_nothing(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent = live(&w->f, BYTES);
	int fd = scratch_file();

	need_fixed_buffers(w);
	assert_int_equal(attach(w, 0), 0);
	for (uint32_t i = 0; i < 4 * THRESHOLD; i++)
		assert_false(transfer(w, fd, extent, i % 2));
	assert_int_equal(info_of(w->uring).registrations, 0);
	assert_int_equal(info_of(w->uring).fallbacks, 4 * THRESHOLD);
	close(fd);
}

static struct daxpin_uring_io *find_none(const struct io_uring_cqe *cqe,
					 void *arg)
{
	(void)cqe;
	(void)arg;
	return NULL;
}

static void reap(struct world *w)
{
	assert_int_equal(daxpin_uring_reap(w->uring, &w->ring, find_none, NULL,
					   NULL), 0);
}

static void reap_registers_segments_after_many_plain_requests(void **state)
{
	struct world *w = *state;
	struct daxpin_extent a = live_in(w, 0), b = live_in(w, 1);
	int fd = scratch_file();

	need_fixed_buffers(w);
	assert_int_equal(attach(w, 0), 0);
	assert_int_equal(ftruncate(fd, BYTES), 0);
	for (uint32_t i = 0; i < THRESHOLD - 1; i++) {
		transfer(w, fd, a, true);
		transfer(w, fd, b, true);
		reap(w);
	}
	assert_int_equal(info_of(w->uring).registrations, 0);
	transfer(w, fd, a, true);
	transfer(w, fd, b, true);
	reap(w);
	/* One segment in each call. The other is registered after its next request. */
	assert_int_equal(info_of(w->uring).registrations, 1);
	assert_true(transfer(w, fd, a, true));
	assert_false(transfer(w, fd, b, true));
	reap(w);
	assert_true(transfer(w, fd, b, true));
	close(fd);
}

static void with_the_prepared_flag_only_prepare_registers_segments(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent = live(&w->f, BYTES);
	int fd = scratch_file();

	need_fixed_buffers(w);
	assert_int_equal(attach(w, DAXPIN_URING_PREPARED), 0);
	for (uint32_t i = 0; i < 2 * THRESHOLD; i++)
		assert_false(checked_read_is_fixed(w, fd, extent, i));
	reap(w);
	assert_int_equal(info_of(w->uring).registrations, 0);
	assert_int_equal(daxpin_uring_prepare(w->uring, extent), 0);
	assert_true(checked_read_is_fixed(w, fd, extent, 1));
	close(fd);
}

static void prepare_of_a_zeroed_extent_registers_all_segments(void **state)
{
	const struct daxpin_extent all = { 0, 0 };
	struct world *w = *state;

	need_fixed_buffers(w);
	assert_int_equal(attach(w, 0), 0);
	assert_int_equal(daxpin_uring_prepare(w->uring, all), 0);
	assert_int_equal(info_of(w->uring).plain_segments, 0);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	assert_int_equal(attach_slots(w, 0, 3), 0);
	assert_int_equal(daxpin_uring_prepare(w->uring, all), -EBUSY);
	assert_int_equal(info_of(w->uring).fixed_segments, 3);
	assert_int_equal(info_of(w->uring).evictions, 0);
}

static void prepare_reports_why_it_fails(void **state)
{
	const struct daxpin_extent all = { 0, 0 };
	struct world *w = *state;
	struct daxpin_extent extent = live(&w->f, BYTES), other = extent;

	need_fixed_buffers(w);
	assert_int_equal(daxpin_uring_prepare(NULL, extent), -EINVAL);
	assert_int_equal(attach(w, DAXPIN_URING_PLAIN), 0);
	assert_int_equal(daxpin_uring_prepare(w->uring, extent), -EOPNOTSUPP);
	assert_int_equal(daxpin_uring_prepare(w->uring, all), -EOPNOTSUPP);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	assert_int_equal(daxpin_uring_prepare(w->uring, extent), -ESTALE);
	assert_int_equal(attach(w, DAXPIN_URING_PREPARED), 0);
	other.gen++;
	assert_int_equal(daxpin_uring_prepare(w->uring, other), -ESTALE);
	other.addr = UINT64_MAX << 12;
	assert_int_equal(daxpin_uring_prepare(w->uring, other), -EINVAL);
	assert_int_equal(info_of(w->uring).registrations, 0);
}

static void prepare_of_a_segment_with_holes_is_eagain(void **state)
{
	const struct daxpin_extent all = { 0, 0 };
	struct world *w = *state;
	struct daxpin_extent extent = live(&w->f, BYTES);

	need_reclaimable_buffers(w);
	assert_int_equal(attach(w, 0), 0);
	end_reclaim(begin_reclaim(w, 0));
	assert_int_equal(daxpin_uring_prepare(w->uring, extent), -EAGAIN);
	assert_int_equal(daxpin_uring_prepare(w->uring, all), -EAGAIN);
	assert_int_equal(info_of(w->uring).plain_segments, 1);
	refill(w, 0);
	assert_int_equal(daxpin_uring_prepare(w->uring, extent), 0);
}

/*
 * Until the cancel, a request in flight keeps the adapter from giving the segment back.
 */
static void a_segment_stays_fixed_if_its_reclaim_is_cancelled(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent = live(&w->f, BYTES);
	struct daxpin_job *job;
	int fd = scratch_file();

	need_reclaimable_buffers(w);
	assert_int_equal(attach(w, 0), 0);
	fix(w, extent);
	job = begin_reclaim(w, 0);
	start_read(w, &io, extent);
	assert_int_equal(daxpin_uring_service(w->uring), 0);
	assert_int_equal(daxpin_uring_prepare(w->uring, extent), -EAGAIN);
	assert_int_equal(daxpin_job_cancel(job), 0);
	end_reclaim(job);
	fix(w, extent);
	assert_int_equal(write(w->pipe[1], "late", 5), 5);
	assert_int_equal(finish(w, &io), 5);
	assert_int_equal(info_of(w->uring).registrations, 1);
	assert_true(checked_read_is_fixed(w, fd, extent, 1));
	close(fd);
}

struct shrinking {
	struct world *w;
	struct daxpin_extent *extent;
	uint32_t registrations;		/* reports of the ring's pins */
};

/* Retires what is in the way, and serves the ring. */
static int serve(struct daxpin_pool *pool, const struct daxpin_shrink_wait *wait,
		 void *arg)
{
	struct shrinking *s = arg;
	struct daxpin_op op = { .type = DAXPIN_OP_RETIRE, .extent = wait->extent };

	s->registrations += wait->reason == DAXPIN_SHRINK_REGISTRATION;
	if (wait->reason == DAXPIN_SHRINK_LIVE)
		assert_int_equal(daxpin_publish(pool, &op, 1, NULL, NULL), 0);
	assert_int_equal(daxpin_uring_service(s->w->uring), 0);
	return 0;
}

/* The ring gives up the slots of the segments that are removed, and keeps the others.
 * It does not ask for them again. */
static void a_shrink_gets_the_slots_of_its_segments_back(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent[SEGMENTS];
	struct daxpin_extent none = { 0, 0 };
	struct shrinking s = { w, extent, 0 };
	const struct daxpin_shrink_options options = {
		.size = sizeof(options), .deadline_ns = daxpin_deadline_ms(HANG_MS),
		.progress = serve, .progress_arg = &s,
	};
	int fd = scratch_file();

	need_reclaimable_buffers(w);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		extent[i] = live_in(w, i);
	assert_int_equal(attach(w, 0), 0);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		fix(w, extent[i]);
	assert_int_equal(daxpin_pool_shrink(w->f.pool, SEGMENT, &options), 0);
	assert_true(s.registrations);
	assert_int_equal(info_of(w->uring).fixed_segments, 1);
	assert_int_equal(info_of(w->uring).registered_bytes, SEGMENT);
	assert_int_equal(daxpin_uring_service(w->uring), 0);
	assert_int_equal(daxpin_uring_prepare(w->uring, none), -EAGAIN);
	assert_int_equal(info_of(w->uring).fixed_segments, 1);
	assert_true(checked_read_is_fixed(w, fd, extent[0], 3));
	close(fd);
}

/* ------------------------------------------------------------ on demand */

/*
 * Requests of a segment are plain until it had THRESHOLD of them. Then it gets the slot
 * of the segment that was not used for the longest time.
 */
static void more_segments_than_slots_are_registered_in_turn(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent[SEGMENTS];
	struct daxpin_uring_info info;
	int fd = scratch_file();

	need_fixed_buffers(w);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		extent[i] = live_in(w, i);
	assert_int_equal(attach_slots(w, 0, 2), 0);
	assert_int_equal(info_of(w->uring).buffer_slots, 2);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		for (uint32_t turn = 0; turn < THRESHOLD + 6; turn++)
			assert_int_equal(checked_read_is_fixed(w, fd, extent[i],
							      i * 31 + turn),
					 turn >= THRESHOLD);
	info = info_of(w->uring);
	assert_int_equal(info.fixed_segments, 2);
	assert_int_equal(info.registered_bytes, 2 * SEGMENT);
	assert_int_equal(info.registrations, SEGMENTS);
	assert_int_equal(info.evictions, SEGMENTS - 2);
	assert_int_equal(info.fallbacks, SEGMENTS * THRESHOLD);
	close(fd);
}

static void the_least_recently_used_segment_is_evicted(void **state)
{
	struct world *w = *state;
	struct daxpin_extent a = live_in(w, 0), b = live_in(w, 1),
			     c = live_in(w, 2);
	int fd = scratch_file();

	need_fixed_buffers(w);
	assert_int_equal(attach_slots(w, 0, 2), 0);
	fix(w, a);
	fix(w, b);
	assert_true(checked_read_is_fixed(w, fd, b, 2));
	assert_true(checked_read_is_fixed(w, fd, a, 3));
	for (uint32_t i = 0; i < THRESHOLD; i++)
		assert_false(checked_read_is_fixed(w, fd, c, i));
	assert_true(checked_read_is_fixed(w, fd, c, 4));
	assert_true(checked_read_is_fixed(w, fd, a, 5));
	assert_false(checked_read_is_fixed(w, fd, b, 6));
	assert_int_equal(info_of(w->uring).registrations, 3);
	close(fd);
}

static void a_slot_with_a_request_in_flight_is_not_evicted(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent a = live_in(w, 0), b = live_in(w, 1);
	int fd = scratch_file();

	need_fixed_buffers(w);
	assert_int_equal(attach_slots(w, 0, 1), 0);
	fix(w, a);
	start_read(w, &io, a);
	assert_int_equal(daxpin_uring_is_fixed(&io), 1);
	for (uint32_t i = 0; i < 4 * THRESHOLD; i++)
		assert_false(checked_read_is_fixed(w, fd, b, i));
	assert_int_equal(daxpin_uring_prepare(w->uring, b), -EBUSY);
	assert_int_equal(info_of(w->uring).evictions, 0);
	assert_int_equal(write(w->pipe[1], "late", 5), 5);
	assert_int_equal(finish(w, &io), 5);
	assert_string_equal(daxpin_ptr(w->f.pool, a, 0), "late");
	fix(w, b);
	assert_true(checked_read_is_fixed(w, fd, b, 7));
	assert_false(checked_read_is_fixed(w, fd, a, 8));
	close(fd);
}

static void an_eager_attach_fills_all_buffer_slots(void **state)
{
	struct world *w = *state;

	need_fixed_buffers(w);
	assert_int_equal(attach_slots(w, DAXPIN_URING_EAGER, 3), 0);
	assert_int_equal(info_of(w->uring).fixed_segments, 3);
	assert_int_equal(daxpin_uring_service(w->uring), 0);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	assert_int_equal(attach_slots(w, DAXPIN_URING_NEED_FIXED, 3),
			 -EOPNOTSUPP);
	assert_non_null(strstr(w->f.errmsg, "3 slots"));
	assert_int_equal(attach(w, DAXPIN_URING_NEED_FIXED), 0);
	assert_int_equal(info_of(w->uring).plain_segments, 0);
}

/* ------------------------------------------------- the application's table */

/* Reads a byte of /dev/zero with that slot. */
static int read_by_slot(struct world *w, void *at, int slot)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC), result;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
	struct io_uring_cqe *cqe;

	io_uring_prep_read_fixed(sqe, fd, at, 1, 0, slot);
	assert_int_equal(io_uring_submit(&w->ring), 1);
	assert_int_equal(io_uring_wait_cqe(&w->ring, &cqe), 0);
	result = cqe->res;
	io_uring_cqe_seen(&w->ring, cqe);
	close(fd);
	return result;
}

static char app_buffer[4096];

/* Eight slots, with a buffer of the application in slots 1 and 7. */
static void make_app_table(struct world *w)
{
	static const int slots[] = { 1, 7 };
	struct iovec iov = { app_buffer, sizeof(app_buffer) };
	__u64 tag = 0;

	assert_int_equal(io_uring_register_buffers_sparse(&w->ring, 8), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(io_uring_register_buffers_update_tag(
					 &w->ring, slots[i], &iov, &tag, 1), 1);
}

static void assert_app_buffers_work(struct world *w)
{
	for (int slot = 1; slot < 8; slot += 6) {
		app_buffer[0] = 1;
		assert_int_equal(read_by_slot(w, app_buffer, slot), 1);
		assert_int_equal(app_buffer[0], 0);
	}
}

static void a_range_of_the_applications_buffer_table_can_be_used(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent = live(&w->f, BYTES), other;
	char *memory = daxpin_ptr(w->f.pool, extent, 0);
	int fd = scratch_file();

	need_fixed_buffers(w);
	make_app_table(w);
	assert_int_equal(attach_range(w, 5, 2), 0);
	assert_int_equal(info_of(w->uring).buffer_slot, 5);
	fix(w, extent);
	assert_true(checked_read_is_fixed(w, fd, extent, 1));
	other = live_in(w, 1);
	fix(w, other);
	assert_true(checked_read_is_fixed(w, fd, other, 2));
	assert_int_equal(info_of(w->uring).fixed_segments, 2);
	assert_app_buffers_work(w);
	assert_int_equal(read_by_slot(w, memory, 5), 1);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	/*
	 * The adapter's slots are empty. The application's table and buffer are not
	 * touched.
	 */
	assert_int_equal(read_by_slot(w, memory, 5), -EFAULT);
	assert_app_buffers_work(w);
	assert_int_equal(attach_range(w, 2, 5), 0);
	close(fd);
}

static void a_range_of_buffer_slots_in_use_is_refused(void **state)
{
	struct world *w = *state;

	make_app_table(w);
	assert_int_equal(attach_range(w, 0, 2), -EBUSY);
	assert_non_null(strstr(w->f.errmsg, "slot 1 "));
	assert_int_equal(attach(w, 0), -EBUSY);
	assert_non_null(strstr(w->f.errmsg, "BUFFER_RANGE"));
	assert_app_buffers_work(w);
	assert_int_equal(attach_range(w, 6, 2), -EBUSY);
	assert_non_null(strstr(w->f.errmsg, "slot 7 "));
	assert_int_equal(attach_range(w, 8, 2), -EINVAL);
	assert_non_null(strstr(w->f.errmsg, "8 to 9"));
	assert_int_equal(attach_range(w, 0, 1), 0);
}

static void a_range_of_buffer_slots_needs_a_buffer_table(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_options options = uring_options(w, 0);

	assert_int_equal(attach_range(w, 0, 2), -EINVAL);
	assert_non_null(strstr(w->f.errmsg, "sparse"));
	assert_int_equal(attach_range(w, 0, 0), -EINVAL);
	assert_int_equal(attach_range(w, DAXPIN_URING_SLOTS_MAX - 1, 2),
			 -EINVAL);
	options.buffer_slot = 1;
	assert_int_equal(daxpin_uring_attach(w->f.pool, &w->ring, &options,
					     &w->uring), -EINVAL);
	assert_int_equal(attach(w, DAXPIN_URING_PLAIN | DAXPIN_URING_EAGER),
			 -EINVAL);
	/* The failed attaches left nothing in the ring. */
	assert_int_equal(attach(w, 0), 0);
}

static void detach_succeeds_after_the_buffer_table_was_unregistered(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent = live(&w->f, BYTES);
	int fd = scratch_file();

	need_fixed_buffers(w);
	make_app_table(w);
	assert_int_equal(attach_range(w, 5, 2), 0);
	fix(w, extent);
	assert_true(checked_read_is_fixed(w, fd, extent, 1));
	assert_int_equal(io_uring_unregister_buffers(&w->ring), 0);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	close(fd);
}

static void a_ring_serves_several_pools(void **state)
{
	struct world *w = *state, second = { .pool_size = 64u << 20 };
	struct daxpin_uring_options options = uring_options(w, 0);
	enum target first = target;
	struct daxpin_extent a = live(&w->f, BYTES), b;
	int fd = scratch_file();

	need_fixed_buffers(w);
	target = SHMEM;
	assert_int_equal(create_pool(&second), 0);
	target = first;
	b = live(&second.f, BYTES);
	assert_int_equal(io_uring_register_files_sparse(&w->ring, 6), 0);
	assert_int_equal(io_uring_register_buffers_sparse(&w->ring, 8), 0);
	options.flags = DAXPIN_URING_BUFFER_RANGE | DAXPIN_URING_FILE_SLOT;
	options.buffer_slots = 4;
	assert_int_equal(daxpin_uring_attach(w->f.pool, &w->ring, &options,
					     &w->uring), 0);
	options.buffer_slot = 4;
	options.file_slot = 3;
	assert_int_equal(daxpin_uring_attach(second.f.pool, &w->ring, &options,
					     &second.uring), 0);
	fix(w, a);
	fix(&second, b);
	assert_true(checked_read_is_fixed(w, fd, a, 1));
	second.ring = w->ring;
	assert_true(checked_read_is_fixed(&second, fd, b, 2));
	w->ring = second.ring;
	assert_true(checked_read_is_fixed(w, fd, a, 3));
	/* The detach of one pool does not affect the other. */
	assert_int_equal(daxpin_uring_detach(second.uring), 0);
	assert_int_equal(daxpin_pool_close(second.f.pool), 0);
	nftw(second.f.path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	assert_true(checked_read_is_fixed(w, fd, a, 4));
	assert_int_equal(daxpin_pool_close(w->f.pool), -EBUSY);
	close(fd);
}

/* ------------------------------------------------ memory that may be locked */

#define MUST(what) do { \
	if (!(what)) { \
		fprintf(stderr, "line %d: %s: %s\n", __LINE__, #what, \
			w.f.errmsg); \
		_exit(1); \
	} \
} while (0)

static bool child_read_is_fixed(struct world *w, int fd, struct daxpin_extent extent,
				unsigned char byte)
{
	unsigned char bytes[BYTES], *memory = daxpin_ptr(w->f.pool, extent, 0);
	struct daxpin_uring_io io = { .uring = NULL };
	struct io_uring_cqe *cqe;
	bool fixed;

	memset(bytes, byte, BYTES);
	memset(memory, ~byte, BYTES);
	if (pwrite(fd, bytes, BYTES, 0) != BYTES ||
	    daxpin_uring_prep_read(w->uring, &io, io_uring_get_sqe(&w->ring),
				   fd, extent, 0, BYTES, 0))
		_exit(2);
	fixed = daxpin_uring_is_fixed(&io);
	if (io_uring_submit(&w->ring) != 1 ||
	    io_uring_wait_cqe(&w->ring, &cqe) || cqe->res != BYTES ||
	    daxpin_uring_done(&io, cqe) != 1 || memcmp(memory, bytes, BYTES) ||
	    daxpin_uring_service(w->uring))
		_exit(3);
	io_uring_cqe_seen(&w->ring, cqe);
	return fixed;
}

/* In the child: a segment that could not be pinned must not prevent a reclaim. */
static void must_reclaim(struct world *wp)
{
	struct world w = *wp;
	struct daxpin_job_options options = {
		.size = sizeof(options), .segment = 0,
		.deadline_ns = daxpin_deadline_ms(HANG_MS),
	};
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_job *job;

	MUST(!daxpin_reclaim(w.f.pool, &options, &job));
	MUST(!daxpin_job_wait(job, daxpin_deadline_ms(HANG_MS)));
	MUST(!daxpin_job_report(job, NULL, NULL, &summary));
	MUST(summary.done_bytes > 0);
	MUST(!daxpin_job_end(job));
}

/*
 * In the child, with the default limit of 8 MiB: a segment is larger, so all are plain,
 * and daxpin_uring_info() reports why.
 */
static void use_8_mib(struct world *wp)
{
	struct world w = *wp;
	struct daxpin_uring_info info = { .size = sizeof(info) };
	struct daxpin_extent extent;
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	MUST(!daxpin_reserve(w.f.pool, BYTES, 0, &extent));
	MUST(!attach(&w, 0));
	MUST(!child_read_is_fixed(&w, fd, extent, 1));
	MUST(daxpin_uring_prepare(w.uring, extent) == -ENOMEM);
	MUST(!child_read_is_fixed(&w, fd, extent, 1));
	MUST(!daxpin_uring_info(w.uring, &info));
	MUST(info.fallback == -ENOMEM && info.fallbacks == 2);
	MUST(info.needed_bytes == 4 * (uint64_t)SEGMENT);
	MUST(info.limit_bytes == 8 << 20);
	MUST(!info.registered_bytes && !info.registrations);
	MUST(!daxpin_uring_detach(w.uring));
	MUST(!attach(&w, DAXPIN_URING_EAGER));
	MUST(!daxpin_uring_info(w.uring, &info));
	MUST(info.fallback == -ENOMEM && !info.fixed_segments);
	MUST(!daxpin_uring_detach(w.uring));
	MUST(attach(&w, DAXPIN_URING_NEED_FIXED) == -ENOMEM);
	MUST(strstr(w.f.errmsg, "131072 KiB") &&
	     strstr(w.f.errmsg, "8192 KiB"));
	MUST(!attach(&w, 0));
	MUST(!child_read_is_fixed(&w, fd, extent, 1));
	must_reclaim(&w);
	MUST(!daxpin_uring_detach(w.uring));
	MUST(!daxpin_cancel(w.f.pool, extent));
}

/*
 * Linux 6.1 releases the memory of a buffer some time after the buffer was removed from
 * its ring, and only then another segment fits. Returns true if it took several tries.
 */
static bool wait_until_fixed(struct world *w, int fd,
			     struct daxpin_extent extent)
{
	int ms = 0;

	while (!child_read_is_fixed(w, fd, extent, ms) && ms++ < HANG_MS)
		usleep(1000);
	return ms;
}

/* In the child, with 80 MiB: two segments fit. The others replace them one by one. */
static void use_80_mib(struct world *wp)
{
	struct world w = *wp;
	struct daxpin_uring_info info = { .size = sizeof(info) };
	struct daxpin_extent extent[4];
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	bool late = false;

	for (int i = 0; i < 4; i++)
		MUST(!daxpin_reserve(w.f.pool, SEGMENT - (2u << 20), 0,
				     &extent[i]));
	MUST(!attach(&w, 0));
	for (int i = 0; i < 4; i++) {
		for (uint32_t turn = 0; turn < 2 * THRESHOLD; turn++)
			child_read_is_fixed(&w, fd, extent[i], turn + i);
		late |= wait_until_fixed(&w, fd, extent[i]);
	}
	MUST(child_read_is_fixed(&w, fd, extent[3], 1));
	MUST(!daxpin_uring_info(w.uring, &info));
	MUST(info.registrations == 4);
	/* An eviction counts even if the segment did not fit after it. */
	MUST(info.fixed_segments == 4 - info.evictions);
	MUST(info.evictions == 2 || (late && info.evictions == 3));
	MUST(!daxpin_uring_detach(w.uring));
	for (int i = 0; i < 4; i++)
		MUST(!daxpin_cancel(w.f.pool, extent[i]));
}

/*
 * In the child, with 80 MiB: the third of four segments does not fit, so an attach that
 * needs all of them fails and unpins the others.
 */
static void fail_attach_at_third(struct world *wp)
{
	struct world w = *wp;
	struct daxpin_uring_info info = { .size = sizeof(info) };

	for (int i = 0; i < 8; i++) {
		MUST(attach(&w, DAXPIN_URING_NEED_FIXED) == -ENOMEM);
		MUST(strstr(w.f.errmsg, "131072 KiB"));
	}
	/* The kernel may uncharge the memory later. Then two segments fit again. */
	for (int ms = 0; ms < HANG_MS; ms++) {
		MUST(!attach(&w, DAXPIN_URING_EAGER));
		MUST(!daxpin_uring_info(w.uring, &info));
		MUST(!daxpin_uring_detach(w.uring));
		if (info.fixed_segments == 2)
			break;
		usleep(1000);
	}
	MUST(info.fixed_segments == 2 && info.fallback == -ENOMEM);
}

static char *child_pool_path;		/* in memory that parent and child share */

struct limited {
	rlim_t bytes;
	void (*use)(struct world *w);
};

static int run_limited(void *arg)
{
	const struct limited *limited = arg;
	struct world w = { .pool_size = 4 * (uint64_t)SEGMENT,
			   .segment_size = SEGMENT };
	int ret;

	/*
	 * A user id of its own, so that rings of other processes are not charged to it.
	 */
	MUST(drop_privileges(100000 + getpid(), limited->bytes));
	ret = create_pool(&w);
	strcpy(child_pool_path, w.f.path);
	MUST(!ret);
	MUST(!io_uring_queue_init(8, &w.ring, 0));
	limited->use(&w);
	MUST(!daxpin_pool_close(w.f.pool));
	return 0;
}

/* The child creates the pool's directory, and the parent removes it. */
static void run_with_memlock(rlim_t bytes, void (*use)(struct world *))
{
	/* In a guest no other process pins memory. */
	bool alone = getenv("DAXPIN_TEST_DAX");
	struct limited limited = { bytes, use };
	int status;

	child_pool_path = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(child_pool_path != MAP_FAILED);
	status = run_child(run_limited, &limited);
	if (child_pool_path[0])
		nftw(child_pool_path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	munmap(child_pool_path, 4096);
	assert_int_equal(status, 0);
	/* The kernel frees a ring some time after its last close. */
	for (int ms = 0; alone && pinned_pages() && ms < HANG_MS; ms += 50)
		usleep(50000);
	if (alone)
		assert_int_equal(pinned_pages(), 0);
}

static void with_8_mib_of_memlock_all_segments_are_plain(void **state)
{
	(void)state;
	run_with_memlock(8 << 20, use_8_mib);
}

/* Without CAP_SYS_RESOURCE not even root may raise the limit. */
static void require_memlock(rlim_t bytes)
{
	struct rlimit limit, raised = { bytes, bytes };

	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (limit.rlim_max < bytes && setrlimit(RLIMIT_MEMLOCK, &raised)) {
		print_message("# skipped: RLIMIT_MEMLOCK of %llu KiB cannot be raised\n",
			      (unsigned long long)limit.rlim_max >> 10);
		skip();
	}
}

static void with_80_mib_of_memlock_some_segments_are_fixed(void **state)
{
	(void)state;
	require_memlock(80 << 20);
	run_with_memlock(80 << 20, use_80_mib);
}

static void an_attach_that_fails_at_a_segment_unpins_the_others(void **state)
{
	(void)state;
	require_memlock(80 << 20);
	run_with_memlock(80 << 20, fail_attach_at_third);
}

/* ---------------- callers that use the adapter's registration by mistake */

/* Waits until a reclaim requests a pin, and returns the registration of that pin. */
static struct daxpin_registration *await_requested_pin(struct world *w)
{
	struct daxpin_event event = { .type = 0 };

	for (int ms = 0; ms < HANG_MS && event.type != DAXPIN_EVENT_REVOKE;) {
		if (daxpin_next_event(w->f.pool, &event))
			continue;
		usleep(1000);
		ms++;
	}
	assert_int_equal(event.type, DAXPIN_EVENT_REVOKE);
	return event.registration;
}

/* Makes segment 0 a fixed buffer and starts a reclaim, which requests its pin. */
static struct daxpin_registration *begin_reclaim_of_fixed(struct world *w,
							  struct daxpin_job **ret_job)
{
	struct daxpin_extent extent = live_in(w, 0);
	int fd = scratch_file();

	need_reclaimable_buffers(w);
	assert_int_equal(attach_slots(w, 0, 0), 0);
	fix(w, extent);
	assert_true(checked_read_is_fixed(w, fd, extent, 1));
	close(fd);
	*ret_job = begin_reclaim(w, 0);
	return await_requested_pin(w);
}

/* The error is reported once and the slot is freed, so the next detach succeeds. */
static void a_pin_that_the_caller_gave_back_is_reported(void **state)
{
	struct world *w = *state;
	struct daxpin_job *job;
	struct daxpin_registration *adapters = begin_reclaim_of_fixed(w, &job);

	assert_int_equal(daxpin_registration_revoked(adapters, 0), 0);
	end_reclaim(job);
	assert_int_equal(daxpin_uring_detach(w->uring), -EINVAL);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
}

static void a_pin_that_the_caller_took_is_reported(void **state)
{
	struct world *w = *state;
	struct daxpin_job *job;
	struct daxpin_registration *adapters = begin_reclaim_of_fixed(w, &job);

	assert_int_equal(daxpin_uring_service(w->uring), 0);
	end_reclaim(job);
	assert_int_equal(daxpin_registration_pin(adapters, 1), 0);
	job = begin_reclaim(w, 1);
	assert_ptr_equal(await_requested_pin(w), adapters);
	assert_int_equal(daxpin_uring_service(w->uring), -EINVAL);
	assert_int_equal(daxpin_registration_revoked(adapters, 1), 0);
	assert_int_equal(daxpin_uring_service(w->uring), 0);
	end_reclaim(job);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
}

/* -------------------------------------------------------------------------- */

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_many, teardown)

static int run_limits(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_8_mib_of_memlock_all_segments_are_plain),
		cmocka_unit_test(with_80_mib_of_memlock_some_segments_are_fixed),
		cmocka_unit_test(an_attach_that_fails_at_a_segment_unpins_the_others),
	};

	return cmocka_run_group_tests_name("uring_buffer_slots, limits", tests, NULL,
					   NULL);
}

/* uring_buffer_slots shmem|devdax [limits] */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_prepared_segment_is_fixed),
		TEST(a_ring_uses_segments_of_a_grow_without_a_new_attach),
		TEST(a_prep_registers_nothing),
		TEST(reap_registers_segments_after_many_plain_requests),
		TEST(with_the_prepared_flag_only_prepare_registers_segments),
		TEST(prepare_of_a_zeroed_extent_registers_all_segments),
		TEST(prepare_reports_why_it_fails),
		TEST(prepare_of_a_segment_with_holes_is_eagain),
		TEST(a_segment_stays_fixed_if_its_reclaim_is_cancelled),
		TEST(a_shrink_gets_the_slots_of_its_segments_back),
		TEST(more_segments_than_slots_are_registered_in_turn),
		TEST(the_least_recently_used_segment_is_evicted),
		TEST(a_slot_with_a_request_in_flight_is_not_evicted),
		TEST(an_eager_attach_fills_all_buffer_slots),
		TEST(a_range_of_the_applications_buffer_table_can_be_used),
		TEST(a_range_of_buffer_slots_in_use_is_refused),
		TEST(a_range_of_buffer_slots_needs_a_buffer_table),
		TEST(detach_succeeds_after_the_buffer_table_was_unregistered),
		TEST(a_ring_serves_several_pools),
		TEST(a_pin_that_the_caller_gave_back_is_reported),
		TEST(a_pin_that_the_caller_took_is_reported),
	};

	if (!choose_target(argc > 1 ? argv[1] : "shmem"))
		return 0;
	if (argc > 2 && !strcmp(argv[2], "limits")) {
		if (geteuid())
			return skip_all("needs root, to become another user");
		return run_limits();
	}
	return cmocka_run_group_tests_name("uring_buffer_slots", tests, NULL, NULL);
}
