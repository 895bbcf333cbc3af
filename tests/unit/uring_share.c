/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several rings of one process on one pool. If the kernel can copy registrations
 * between rings, a segment is registered, and pinned, once for all of them; otherwise
 * once for each ring.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include "child.h"
#include "pins.h"
#include "uring_fixture.h"

#define RINGS		3
#define SEGMENT		(32ull << 20)
#define BYTES		4096u
#define HANG_MS		60000		/* limit of a wait that must end */
#define CLONE_BUFFERS	30		/* newer than the oldest liburing */
#define CLONE_REPLACES	2

/* The fixture's pool, with each ring in a `world` of its own. */
struct several {
	struct world *first;
	struct world ring[RINGS];
};

static int setup_several(void **state)
{
	struct several *s = calloc(1, sizeof(*s));
	void *first;

	if (!s || setup_sized(&first, 2 * SEGMENT, SEGMENT))
		return -1;
	s->first = first;
	for (int i = 0; i < RINGS; i++) {
		s->ring[i] = *s->first;
		if (io_uring_queue_init(8, &s->ring[i].ring, 0))
			return -1;
	}
	*state = s;
	return 0;
}

static int teardown_several(void **state)
{
	struct several *s = *state;
	void *first = s->first;
	int ret = 0;

	for (int i = 0; i < RINGS; i++) {
		ret |= daxpin_uring_detach(s->ring[i].uring);
		io_uring_queue_exit(&s->ring[i].ring);
	}
	free(s);
	return teardown(&first) | ret;
}

static void detach(struct world *w)
{
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
}

/*
 * From where pinned() gets the amount of pinned memory. Its unit depends on that. Some
 * kernels do not count what a privileged process pins. The count of all processes is
 * useful only in a guest, in which no other process pins memory.
 */
static enum { OF_PROCESS, OF_ALL, NOT_KNOWN } source;

static long long pinned_by_process(void)
{
	char status[4096];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t size = read(fd, status, sizeof(status) - 1);
	const char *line;

	close(fd);
	assert_true(size > 0);
	status[size] = '\0';
	line = strstr(status, "\nVmPin:");
	assert_non_null(line);
	return atoll(line + strlen("\nVmPin:"));
}

static long long pinned(void)
{
	return source == OF_PROCESS ? pinned_by_process() :
	       source == OF_ALL ? pinned_pages() : 0;
}

static void choose_source(void)
{
	static char memory[BYTES];
	struct iovec iov = { memory, BYTES };
	long long before = pinned_by_process();
	struct io_uring ring;

	if (io_uring_queue_init(2, &ring, 0))
		return;
	if (io_uring_register_buffers(&ring, &iov, 1) ||
	    pinned_by_process() == before)
		source = getenv("DAXPIN_TEST_DAX") ? OF_ALL : NOT_KNOWN;
	io_uring_unregister_buffers(&ring);
	io_uring_queue_exit(&ring);
	if (source == NOT_KNOWN)
		print_message("# this kernel does not report pinned memory\n");
}

/* Waits for this amount: before 6.13 Linux may release memory later. */
static void assert_pinned(long long expected)
{
	for (int ms = 0; pinned() != expected && ms < HANG_MS; ms++)
		usleep(1000);
	assert_int_equal(pinned(), expected);
}

/* Returns the amount that was pinned since: that of the first ring. */
static long long one_segment(long long before)
{
	long long one = pinned() - before;

	assert_true(source == NOT_KNOWN ? !one : one > 0);
	return one;
}

/* Returns whether bytes arrive in the extent by a read with a fixed buffer. */
static bool reads_right(struct world *w, struct daxpin_extent extent,
			unsigned char byte)
{
	struct daxpin_uring_io io = { .uring = NULL };
	unsigned char bytes[BYTES];
	bool right;
	int fixed;

	memset(bytes, byte, BYTES);
	colour(w, extent, BYTES, ~byte);
	assert_int_equal(write(w->pipe[1], bytes, BYTES), BYTES);
	start_read(w, &io, extent);
	fixed = daxpin_uring_is_fixed(&io);
	assert_int_equal(finish(w, &io), BYTES);
	right = has_colour(w, extent, BYTES, byte);
	return right && fixed == 1;
}

/* ---------------------------------------------------- what the kernel can do */

static int register_with(const struct io_uring *ring, unsigned int what,
			 const void *arg, unsigned int count)
{
	return syscall(__NR_io_uring_register, ring->ring_fd, what, arg, count);
}

/* Reads a byte of /dev/zero with that slot. */
static int read_by_slot(struct io_uring *ring, void *at, int slot)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC), result;
	struct io_uring_cqe *cqe;

	io_uring_prep_read_fixed(io_uring_get_sqe(ring), fd, at, 1, 0, slot);
	assert_true(io_uring_submit(ring) > 0);
	assert_int_equal(io_uring_wait_cqe(ring, &cqe), 0);
	result = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	close(fd);
	return result;
}

/* Makes a table of two buffers. */
static void make_table(struct io_uring *ring, char *memory)
{
	struct iovec iov[2] = { { memory, BYTES }, { memory + BYTES, BYTES } };

	assert_int_equal(io_uring_queue_init(2, ring, 0), 0);
	assert_int_equal(io_uring_register_buffers(ring, iov, 2), 0);
}

/*
 * Returns whether the kernel can copy a whole buffer table or, with `one`, one entry of
 * a table without changing the next entry.
 */
static bool kernel_copies(bool one)
{
	static char memory[4 * BYTES];
	struct io_uring from, to;
	uint32_t clone[8] = { 0, one ? CLONE_REPLACES : 0, 0, 0, one };
	bool can;

	make_table(&from, memory);
	make_table(&to, memory + 2 * BYTES);
	if (!one)
		assert_int_equal(io_uring_unregister_buffers(&to), 0);
	clone[0] = from.ring_fd;
	can = !register_with(&to, CLONE_BUFFERS, clone, 1) &&
	      read_by_slot(&to, memory, 0) == 1 &&
	      read_by_slot(&to, memory + (one ? 3 : 1) * BYTES, 1) == 1;
	/* Unregister first: memory of a freed ring stays charged for a while. */
	io_uring_unregister_buffers(&from);
	io_uring_unregister_buffers(&to);
	io_uring_queue_exit(&from);
	io_uring_queue_exit(&to);
	return can;
}

static void need_sharing(struct several *s, bool one)
{
	need_fixed_buffers(s->first);
	if (kernel_copies(one))
		return;
	print_message("# skipped: this kernel does not copy %s\n",
		      one ? "an entry of a buffer table" : "a buffer table");
	skip();
}

/* ----------------------------------------------- memory that is pinned once */

static void rings_of_a_process_pin_a_segment_once(void **state)
{
	struct several *s = *state;
	struct daxpin_extent extent = live(&s->first->f, BYTES);
	long long before, one = 0;

	need_sharing(s, true);
	before = pinned();
	for (int i = 0; i < RINGS; i++) {
		assert_int_equal(attach(&s->ring[i], 0), 0);
		fix(&s->ring[i], extent);
		one = i ? one : one_segment(before);
		assert_int_equal(info_of(s->ring[i].uring).shared_segments, 1);
		assert_int_equal(info_of(s->ring[i].uring).registered_bytes,
				 SEGMENT);
		assert_int_equal(pinned(), before + one);
	}
	/* The segment stays registered until the last ring is detached. */
	for (int i = 0; i < RINGS; i++) {
		for (int k = i; k < RINGS; k++)
			assert_true(reads_right(&s->ring[k], extent, 8 * i + k));
		assert_int_equal(pinned(), before + one);
		detach(&s->ring[i]);
	}
	assert_pinned(before);
}

static void an_eager_ring_copies_all_segments_at_attach(void **state)
{
	struct several *s = *state;
	struct daxpin_extent extent = live(&s->first->f, BYTES);
	struct daxpin_uring_info info;
	long long before, all = 0;

	need_sharing(s, false);
	before = pinned();
	for (int i = 0; i < RINGS; i++) {
		assert_int_equal(attach(&s->ring[i], DAXPIN_URING_NEED_FIXED), 0);
		info = info_of(s->ring[i].uring);
		assert_int_equal(info.plain_segments, 0);
		assert_int_equal(info.shared_segments, info.fixed_segments);
		all = i ? all : one_segment(before);
		assert_int_equal(pinned(), before + all);
		assert_true(reads_right(&s->ring[i], extent, i));
	}
	for (int i = 0; i < RINGS; i++)
		detach(&s->ring[i]);
	assert_pinned(before);
}

/*
 * After a plain request, service copies the registration of the segment from another
 * ring, without waiting for more requests, since that pins no memory.
 */
static void service_copies_a_segment_from_another_ring(void **state)
{
	struct several *s = *state;
	struct daxpin_extent extent = live(&s->first->f, BYTES);
	struct world *w = &s->ring[1];

	need_sharing(s, true);
	assert_int_equal(attach(&s->ring[0], 0), 0);
	assert_int_equal(attach(w, 0), 0);
	assert_false(reads_right(w, extent, 1));
	assert_int_equal(daxpin_uring_service(w->uring), 0);
	assert_false(reads_right(w, extent, 2));
	fix(&s->ring[0], extent);
	for (int i = 0; i < 64 && !info_of(w->uring).shared_segments; i++) {
		reads_right(w, extent, i);
		assert_int_equal(daxpin_uring_service(w->uring), 0);
	}
	assert_int_equal(info_of(w->uring).shared_segments, 1);
	assert_true(reads_right(w, extent, 3));
	assert_int_equal(info_of(w->uring).evictions, 0);
}

/* ----------------------------------------------- reclaiming shared segments */

/*
 * Asserts that a segment is punched only after every ring has given it back, and that
 * reads after a refill arrive in its new pages.
 */
static void assert_reclaim_waits_for_every_ring(uint32_t flags, struct several *s)
{
	struct daxpin_extent extent = live(&s->first->f, BYTES), late;
	long long before = pinned();
	struct daxpin_job *job;

	for (int i = 0; i < RINGS; i++) {
		assert_int_equal(attach(&s->ring[i], flags), 0);
		fix(&s->ring[i], extent);
	}
	job = begin_reclaim(s->first, 0);
	for (int i = 0; i < RINGS; i++) {
		assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(20)),
				 -ETIMEDOUT);
		assert_int_equal(daxpin_uring_service(s->ring[i].uring), 0);
	}
	end_reclaim(job);
	if (!flags)
		assert_pinned(before);
	refill(s->first, 0);
	do
		late = live(&s->first->f, 1u << 20);
	while (late.addr / SEGMENT != extent.addr / SEGMENT);
	for (int i = 0; i < RINGS; i++) {
		assert_int_equal(daxpin_uring_service(s->ring[i].uring), 0);
		fix(&s->ring[i], late);
		assert_true(reads_right(&s->ring[i], late, i));
		assert_true(reads_right(&s->ring[i], extent, i));
	}
	for (int i = 0; i < RINGS; i++)
		detach(&s->ring[i]);
	assert_pinned(before);
}

static void a_shared_segment_is_punched_after_every_ring_gave_it_back(void **state)
{
	struct several *s = *state;

	need_reclaimable_buffers(s->first);
	assert_reclaim_waits_for_every_ring(0, s);
}

static void an_eager_copy_is_punched_after_every_ring_gave_it_back(void **state)
{
	struct several *s = *state;

	need_reclaimable_buffers(s->first);
	assert_reclaim_waits_for_every_ring(DAXPIN_URING_EAGER, s);
}

/* The ring is attached after a reclaim has requested the segment. */
static void a_segment_that_a_reclaim_requests_is_not_copied(void **state)
{
	struct several *s = *state;
	struct world *w = &s->ring[1];
	struct daxpin_extent extent = live(&s->first->f, BYTES);
	struct daxpin_job *job;

	need_reclaimable_buffers(s->first);
	assert_int_equal(attach(&s->ring[0], DAXPIN_URING_EAGER), 0);
	job = begin_reclaim(s->first, 0);
	assert_int_equal(attach(w, DAXPIN_URING_EAGER), 0);
	assert_int_equal(info_of(w->uring).plain_segments, 1);
	assert_int_equal(daxpin_uring_prepare(w->uring, extent), -EAGAIN);
	assert_int_equal(read_by_slot(&w->ring,
				      daxpin_ptr(w->f.pool, extent, 0), 0),
			 -EFAULT);
	assert_int_equal(daxpin_uring_service(s->ring[0].uring), 0);
	end_reclaim(job);
}

/* At the attach there is nothing to copy. Service registers the segments later. */
static void an_eager_ring_is_attached_while_every_segment_has_holes(void **state)
{
	struct several *s = *state;

	need_reclaimable_buffers(s->first);
	end_reclaim(begin_reclaim(s->first, DAXPIN_ALL_SEGMENTS));
	for (int i = 0; i < RINGS; i++) {
		assert_int_equal(attach(&s->ring[i], DAXPIN_URING_EAGER), 0);
		assert_int_equal(info_of(s->ring[i].uring).fixed_segments, 0);
	}
	refill(s->first, DAXPIN_ALL_SEGMENTS);
	for (int i = 0; i < RINGS; i++) {
		assert_int_equal(daxpin_uring_service(s->ring[i].uring), 0);
		assert_int_equal(info_of(s->ring[i].uring).plain_segments, 0);
	}
}

/* ----------------------------------------------- rings that cannot share */

/* Replaces the ring by one that may make only these calls of io_uring_register(2). */
static void restrict_to(struct world *w, const int *calls, uint32_t count)
{
	struct io_uring_restriction rules[16] = { { .opcode = 0 } };

	io_uring_queue_exit(&w->ring);
	assert_int_equal(io_uring_queue_init(8, &w->ring,
					     IORING_SETUP_R_DISABLED), 0);
	assert_true(count + 1 < 16);
	for (uint32_t i = 0; i < count; i++) {
		rules[i].opcode = IORING_RESTRICTION_REGISTER_OP;
		rules[i].register_op = calls[i];
	}
	rules[count].opcode = IORING_RESTRICTION_SQE_OP;
	rules[count].sqe_op = IORING_OP_READ_FIXED;
	assert_int_equal(register_with(&w->ring, IORING_REGISTER_RESTRICTIONS,
				       rules, count + 1), 0);
	assert_int_equal(register_with(&w->ring, IORING_REGISTER_ENABLE_RINGS,
				       NULL, 0), 0);
}

/* The second ring registers the segment itself, which pins it once more. */
static void a_ring_that_may_not_copy_a_segment_registers_it_itself(void **state)
{
	static const int calls[] = {
		IORING_REGISTER_ENABLE_RINGS, IORING_REGISTER_PROBE,
		IORING_REGISTER_FILES, IORING_REGISTER_FILES_UPDATE,
		IORING_UNREGISTER_FILES, IORING_REGISTER_BUFFERS2,
		IORING_REGISTER_BUFFERS_UPDATE, IORING_UNREGISTER_BUFFERS,
	};
	struct several *s = *state;
	struct world *w = &s->ring[1];
	struct daxpin_extent extent = live(&s->first->f, BYTES);
	long long before, one;

	need_sharing(s, true);
	before = pinned();
	assert_int_equal(attach(&s->ring[0], 0), 0);
	fix(&s->ring[0], extent);
	one = one_segment(before);
	restrict_to(w, calls, sizeof(calls) / sizeof(calls[0]));
	assert_int_equal(attach(w, 0), 0);
	fix(w, extent);
	assert_int_equal(info_of(w->uring).fixed_segments, 1);
	assert_int_equal(info_of(w->uring).shared_segments, 0);
	assert_int_equal(info_of(w->uring).share_error, -EACCES);
	assert_int_equal(pinned(), before + 2 * one);
	assert_true(reads_right(w, extent, 1));
	assert_true(reads_right(&s->ring[0], extent, 2));
}

/*
 * The ring's restrictions allow it to copy the table of the others, but not to empty
 * the slot of a segment with holes, which was copied, too.
 */
static void a_ring_that_may_copy_but_not_empty_slots_is_refused(void **state)
{
	static const int calls[] = {
		IORING_REGISTER_ENABLE_RINGS, IORING_REGISTER_FILES,
		IORING_UNREGISTER_FILES, IORING_REGISTER_BUFFERS2,
		IORING_UNREGISTER_BUFFERS, CLONE_BUFFERS,
	};
	struct several *s = *state;
	struct world *w = &s->ring[0];

	need_reclaimable_buffers(s->first);
	need_sharing(s, false);
	end_reclaim(begin_reclaim(s->first, 1));
	restrict_to(w, calls, sizeof(calls) / sizeof(calls[0]));
	assert_int_equal(attach(w, DAXPIN_URING_EAGER), -EACCES);
	w->uring = NULL;
	assert_int_equal(pool_info(&s->first->f).registrations, 0);
}

/* ----------------------------------------------------- fork, and descriptors */

/* Counts this process's descriptors of rings. */
static int ring_descriptors(void)
{
	char path[300], name[64];
	struct dirent *entry;
	int count = 0;
	DIR *dir = opendir("/proc/self/fd");

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
		memset(name, 0, sizeof(name));
		if (readlink(path, name, sizeof(name) - 1) > 0)
			count += !strcmp(name, "anon_inode:[io_uring]");
	}
	closedir(dir);
	return count;
}

static struct several *parents;

static int detach_in_child(void *arg)
{
	const int *before = arg;
	int ret = 0;

	for (int i = 0; i < RINGS; i++)
		ret |= daxpin_uring_detach(parents->ring[i].uring);
	return ret ? 1 : ring_descriptors() == *before ? 0 : 2;
}

static void a_forked_child_can_detach_shared_rings(void **state)
{
	struct several *s = *state;
	struct daxpin_extent extent = live(&s->first->f, BYTES);
	int before = ring_descriptors();

	need_fixed_buffers(s->first);
	for (int i = 0; i < RINGS; i++) {
		assert_int_equal(attach(&s->ring[i], DAXPIN_URING_EAGER), 0);
		fix(&s->ring[i], extent);
		/* The segment is shared if the kernel can copy a table. */
		assert_int_equal(info_of(s->ring[i].uring).share_error,
				 kernel_copies(false) ? 0 : -EOPNOTSUPP);
	}
	assert_true(ring_descriptors() > before);
	parents = s;
	assert_int_equal(run_child(detach_in_child, &before), 0);
	for (int i = 0; i < RINGS; i++)
		assert_true(reads_right(&s->ring[i], extent, i));
	for (int i = 0; i < RINGS; i++)
		detach(&s->ring[i]);
	assert_int_equal(ring_descriptors(), before);
}

/* --------------------------------------------------------------- in threads */

#define TURNS	40

static void *attach_and_detach(void *arg)
{
	struct world *w = arg;
	struct daxpin_extent extent = live(&w->f, BYTES);
	long wrong = 0;

	for (int i = 0; i < TURNS; i++) {
		if (attach(w, i % 3 ? 0 : DAXPIN_URING_EAGER) ||
		    daxpin_uring_prepare(w->uring, extent))
			return (void *)-1L;
		wrong += !reads_right(w, extent, i);
		wrong += daxpin_uring_service(w->uring) != 0;
		detach(w);
	}
	return (void *)wrong;
}

static void rings_can_be_attached_and_detached_in_several_threads(void **state)
{
	struct several *s = *state;
	pthread_t thread[RINGS];
	void *result;
	long long before;

	need_fixed_buffers(s->first);
	before = pinned();
	for (int i = 0; i < RINGS; i++)
		assert_int_equal(pipe(s->ring[i].pipe), 0);
	for (int i = 0; i < RINGS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, attach_and_detach,
						&s->ring[i]), 0);
	for (int i = 0; i < RINGS; i++) {
		pthread_join(thread[i], &result);
		assert_int_equal((long)result, 0);
	}
	assert_pinned(before);
	for (int i = 0; i < RINGS; i++) {
		close(s->ring[i].pipe[0]);
		close(s->ring[i].pipe[1]);
	}
}

/* -------------------------------------------------------------------------- */

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, setup_several, teardown_several)

/* uring_share shmem|devdax */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(rings_of_a_process_pin_a_segment_once),
		TEST(an_eager_ring_copies_all_segments_at_attach),
		TEST(service_copies_a_segment_from_another_ring),
		TEST(a_shared_segment_is_punched_after_every_ring_gave_it_back),
		TEST(an_eager_copy_is_punched_after_every_ring_gave_it_back),
		TEST(a_segment_that_a_reclaim_requests_is_not_copied),
		TEST(an_eager_ring_is_attached_while_every_segment_has_holes),
		TEST(a_ring_that_may_not_copy_a_segment_registers_it_itself),
		TEST(a_ring_that_may_copy_but_not_empty_slots_is_refused),
		TEST(a_forked_child_can_detach_shared_rings),
		TEST(rings_can_be_attached_and_detached_in_several_threads),
	};

	if (!choose_target(argc > 1 ? argv[1] : "shmem"))
		return 0;
	choose_source();
	return cmocka_run_group_tests_name("uring_share", tests, NULL, NULL);
}
