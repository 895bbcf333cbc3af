/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layout barrier on the machine in memory, whose kernel begins requests late and
 * whose cancellations may find none. What it does with pins is simulated
 * (tests/sim/kinds_reclaim.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "machine/handle.h"
#include "machine/machine.h"
#include "os/os.h"
#include "owner/barrier.h"

#define MS		1000000ull
#define STUCK_NS	(600000 * MS)

static int files[2];

static int file_of(uint32_t index, void *arg)
{
	(void)arg;
	return files[index];
}

/* Makes two files, on a kernel that behaves as the plan says. */
static void begin(struct machine_ring_plan plan)
{
	static struct machine_disk *disk;
	char name[DP_SEGMENT_NAME_SIZE];
	int dir;

	if (!disk)
		disk = machine_disk_new();
	machine_reset(disk);
	dir = dp_os_open(AT_FDCWD, MACHINE_POOL, O_RDONLY, 0);
	for (uint32_t i = 0; i < 2; i++) {
		dp_source_segment_name(i, name);
		files[i] = dp_os_open(dir, name, O_RDWR | O_CREAT, 0600);
		assert_true(files[i] >= 0);
		assert_int_equal(dp_os_fallocate(files[i], 0, 0, DP_CHUNK_SIZE), 0);
	}
	dp_os_close(dir);
	machine.ring = plan;
}

static int pass(uint64_t ns)
{
	const struct dp_barrier barrier = {
		.path = MACHINE_POOL, .files = 2, .file = file_of,
	};
	struct dp_wait_policy policy = { .deadline_ns = machine.now_ns + ns };
	int ret;

	dp_wait_begin(&policy);
	ret = dp_barrier_pass(&barrier, &policy, NULL);
	for (uint32_t i = 0; i < 2; i++)
		dp_os_close(files[i]);
	return ret;
}

/*
 * After a cancellation that found no request, the next one comes after an equal time,
 * so that requests get more and more time until they begin.
 */
static void a_request_that_begins_late_passes_though_cancellations_miss_it(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 70; seed++) {
		begin((struct machine_ring_plan) {
			.present = true, .seed = seed, .late = 40,
			.misses_every_second = true,
			.begins_after_ns = seed * 100 * MS,
		});
		assert_int_equal(pass(STUCK_NS), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_request_that_begins_late_passes_though_cancellations_miss_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
