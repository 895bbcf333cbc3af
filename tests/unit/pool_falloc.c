/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dp_falloc_run() allocates blocks through io_uring, so that its caller can stop
 * waiting for the pins on which the kernel waits, as XFS does. The ring is that of the
 * machine in memory, whose kernel may fail to wake the allocation or to start it.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "machine/handle.h"
#include "machine/machine.h"
#include "os/os.h"
#include "pool/falloc.h"

#define MS		1000000ull
#define FILE_SIZE	(4 * DP_CHUNK_SIZE)
#define STUCK_NS	(600000 * MS)

static uint64_t until_ns;		/* when the caller stops waiting */
static uint32_t times;			/* calls of may_wait() */

static int may_wait(void *arg)
{
	(void)arg;
	times++;
	return machine.now_ns < until_ns ? 0 : -ETIMEDOUT;
}

/* Makes a file with a hole, on a kernel that behaves as the plan says. */
static int begin(struct machine_ring_plan plan)
{
	static struct machine_disk *disk;
	char name[DP_SEGMENT_NAME_SIZE];
	int dir, fd;

	if (!disk)
		disk = machine_disk_new();
	machine_reset(disk);
	dp_source_segment_name(0, name);
	dir = dp_os_open(AT_FDCWD, MACHINE_POOL, O_RDONLY, 0);
	fd = dp_os_open(dir, name, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	dp_os_close(dir);
	assert_int_equal(dp_os_fallocate(fd, 0, 0, FILE_SIZE), 0);
	machine_punch_chunk(0, 1);
	machine.ring = plan;
	times = 0;
	return fd;
}

static int allocate(int fd, uint64_t ns)
{
	struct dp_falloc falloc;
	int ret;

	until_ns = machine.now_ns + ns;
	dp_falloc_open(&falloc);
	ret = dp_falloc_run(&falloc, (struct dp_falloc_args) {
			    .fd = fd, .size = FILE_SIZE }, may_wait, NULL);
	dp_falloc_close(&falloc);
	dp_os_close(fd);
	return ret;
}

static void an_allocation_does_not_hang_after_a_lost_wakeup(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 200; seed++) {
		int fd = begin((struct machine_ring_plan) {
			.present = true, .seed = seed, .late = 40, .lost = 100,
			.forgets = true, .allocation_waits = true,
		});

		machine_pin(0, machine.now_ns + seed * 10 * MS, NULL, NULL);
		assert_int_equal(allocate(fd, STUCK_NS), 0);
		assert_true(machine.now_ns < until_ns);
		assert_false(machine_is_pinned(0));
		assert_false(machine_is_hole(0, 0, FILE_SIZE));
	}
}

static void a_waiting_allocation_ends_when_its_caller_stops_waiting(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 200; seed++) {
		int fd = begin((struct machine_ring_plan) {
			.present = true, .seed = seed, .lost = 100,
			.forgets = seed & 1, .allocation_waits = true,
		});

		machine_pin(0, machine.now_ns + 20000 * MS, NULL, NULL);
		assert_int_equal(allocate(fd, 500 * MS), -ETIMEDOUT);
		assert_true(times >= 10);
		assert_true(machine_is_hole(0, 0, FILE_SIZE));
	}
}

/*
 * The library cancels an attempt that the kernel has not started in time, and gives the
 * next attempt more time.
 */
static void an_allocation_that_starts_late_is_retried_with_more_time(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 50; seed++) {
		int fd = begin((struct machine_ring_plan) {
			.present = true, .seed = seed, .late = 40,
			.allocation_waits = true,
		});

		machine.ring.begins_after_ns = seed * 100 * MS;
		assert_int_equal(allocate(fd, STUCK_NS), 0);
		assert_true(machine.now_ns < until_ns);
		assert_false(machine_is_hole(0, 0, FILE_SIZE));
	}
}

static void without_a_ring_fallocate_is_called_directly(void **state)
{
	int fd = begin((struct machine_ring_plan) { .present = false });

	(void)state;
	assert_int_equal(allocate(fd, STUCK_NS), 0);
	assert_int_equal(times, 0);
	assert_false(machine_is_hole(0, 0, FILE_SIZE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_allocation_does_not_hang_after_a_lost_wakeup),
		cmocka_unit_test(
			a_waiting_allocation_ends_when_its_caller_stops_waiting),
		cmocka_unit_test(
			an_allocation_that_starts_late_is_retried_with_more_time),
		cmocka_unit_test(without_a_ring_fallocate_is_called_directly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
