/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the library concludes from /proc and /sys about its boot, its namespaces and the
 * process of a thread, and what it must not conclude, as when a container hides or
 * replaces these files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "fake_rdma.h"
#include "owner/place.h"

static struct dp_owner owner;	/* the record of process 100 */

static int setup(void **state)
{
	(void)state;
	fake_reset();
	dp_place_describe(&owner);
	fake_put("/proc/self/stat", PROC_SUPER_MAGIC,
		 "300 (x) R 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9000 0");
	fake_put("/proc/self/status", PROC_SUPER_MAGIC,
		 "Name:\tx\nNStgid:\t300\n");
	fake.pid = fake.thread = 300;
	return 0;
}

/* Thread 77 of a process with these ids, as /proc shows it. */
static void have_thread(const char *status)
{
	fake_put("/proc/77/status", PROC_SUPER_MAGIC, status);
}

static void have_namespace(uint64_t inode)
{
	fake_put("/proc/77/ns/pid", NSFS_MAGIC, NULL)->inode = inode;
}

/* ----------------------------------------------------------- the description */

static void a_process_is_described(void **state)
{
	(void)state;
	assert_int_equal(owner.pid, 100);
	assert_int_equal(owner.flags, DP_OWNER_BOOT_GENUINE);
	assert_int_equal(owner.boot_id[0], 0x00);
	assert_int_equal(owner.boot_id[4], 0x44);
	assert_int_equal(owner.boot_id[15], 0xff);
	assert_int_equal(owner.pid_namespace, FAKE_PID_NS);
	assert_int_equal(owner.time_namespace, FAKE_TIME_NS);
	assert_int_equal(owner.start_time, 5000);
	assert_int_equal(owner.contexts, 0);
	for (size_t i = 0; i < sizeof(owner.zero); i++)
		assert_int_equal(owner.zero[i], 0);
}

static void a_mount_over_proc_is_not_described(void **state)
{
	(void)state;
	fake_find("/proc/sys/kernel/random/boot_id")->is_mounted = true;
	fake_find("/proc/self/ns/pid")->magic = TMPFS_MAGIC;
	fake_find("/proc/self/ns/time")->is_mounted = true;
	fake_find("/proc/self/stat")->is_mounted = true;
	dp_place_describe(&owner);
	assert_int_equal(owner.flags, 0);
	assert_int_equal(owner.boot_id[15], 0xff);
	assert_int_equal(owner.pid_namespace, 0);
	assert_int_equal(owner.time_namespace, 0);
	assert_int_equal(owner.start_time, 0);
}

static void without_proc_only_the_pid_is_known(void **state)
{
	struct dp_owner none = { .pid = 300 };

	(void)state;
	fake.files = 0;
	dp_place_describe(&owner);
	assert_memory_equal(&owner, &none, sizeof(none));
}

static void a_truncated_boot_id_is_ignored(void **state)
{
	(void)state;
	fake_put("/proc/sys/kernel/random/boot_id", PROC_SUPER_MAGIC, "00112233\n");
	dp_place_describe(&owner);
	assert_int_equal(owner.flags, 0);
	assert_int_equal(owner.boot_id[3], 0);
}

/* ----------------------------------------------------------------- the boot */

static void two_kernel_boot_ids_that_differ_prove_a_reboot(void **state)
{
	(void)state;
	assert_false(dp_place_is_another_boot(&owner));
	owner.boot_id[15] ^= 1;
	assert_true(dp_place_is_another_boot(&owner));
}

static void a_boot_id_that_is_mounted_over_proves_no_reboot(void **state)
{
	struct fake_file *id = fake_find("/proc/sys/kernel/random/boot_id");

	(void)state;
	owner.boot_id[15] ^= 1;
	id->is_mounted = true;
	assert_false(dp_place_is_another_boot(&owner));
	id->is_mounted = false;
	id->magic = TMPFS_MAGIC;
	assert_false(dp_place_is_another_boot(&owner));
	id->magic = PROC_SUPER_MAGIC;
	assert_true(dp_place_is_another_boot(&owner));
	owner.flags = 0;
	assert_false(dp_place_is_another_boot(&owner));
	owner.flags = DP_OWNER_BOOT_GENUINE;
	fake_remove(id->path);
	assert_false(dp_place_is_another_boot(&owner));
}

/* -------------------------------------------------------------- the threads */

static void a_thread_with_another_pid_is_not_the_owners(void **state)
{
	(void)state;
	have_thread("Name:\ty\nNStgid:\t70\n");
	assert_true(dp_place_is_outside(&owner, 77));
	/* The list ends with the pid in the thread's own namespace, here 7. */
	have_thread("Name:\ty\nNStgid:\t100\t7\n");
	assert_true(dp_place_is_outside(&owner, 77));
}

static void a_thread_with_the_owners_pid_may_be_the_owners(void **state)
{
	(void)state;
	have_thread("Name:\ty\nNStgid:\t100\n");
	assert_false(dp_place_is_outside(&owner, 77));
	have_thread("Name:\ty\nNStgid:\t4000\t100\n");
	assert_false(dp_place_is_outside(&owner, 77));
	have_namespace(FAKE_PID_NS);
	assert_false(dp_place_is_outside(&owner, 77));
}

static void a_thread_in_another_pid_namespace_is_not_the_owners(void **state)
{
	(void)state;
	have_thread("Name:\ty\nNStgid:\t4000\t100\n");
	have_namespace(FAKE_PID_NS + 5);
	assert_true(dp_place_is_outside(&owner, 77));
	fake_find("/proc/77/ns/pid")->is_mounted = true;
	assert_false(dp_place_is_outside(&owner, 77));
	fake_find("/proc/77/ns/pid")->is_mounted = false;
	owner.pid_namespace = 0;
	assert_false(dp_place_is_outside(&owner, 77));
}

static void an_unreadable_status_proves_nothing(void **state)
{
	(void)state;
	assert_false(dp_place_is_outside(&owner, 77));
	have_thread("Name:\ty\n");
	assert_false(dp_place_is_outside(&owner, 77));
	have_thread("Name:\ty\nNStgid:\t70\n");
	fake_find("/proc/77/status")->is_mounted = true;
	assert_false(dp_place_is_outside(&owner, 77));
	fake_find("/proc/77/status")->magic = TMPFS_MAGIC;
	fake_find("/proc/77/status")->is_mounted = false;
	assert_false(dp_place_is_outside(&owner, 77));
}

/* A host's /proc in a container: thread 77 there is not thread 77 in the container. */
static void proc_of_another_pid_namespace_proves_nothing(void **state)
{
	(void)state;
	have_thread("Name:\ty\nNStgid:\t70\n");
	fake_put("/proc/self/status", PROC_SUPER_MAGIC,
		 "Name:\tx\nNStgid:\t5000\t300\n");
	assert_false(dp_place_is_outside(&owner, 77));
	fake_put("/proc/self/status", PROC_SUPER_MAGIC,
		 "Name:\tx\nNStgid:\t5000\n");
	assert_false(dp_place_is_outside(&owner, 77));
	fake_remove("/proc/self/status");
	assert_false(dp_place_is_outside(&owner, 77));
}

/* This process got the dead owner's pid, 100, in a container that was restarted. */
static void a_thread_of_a_process_that_began_later_is_not_the_owners(void **state)
{
	(void)state;
	fake.pid = 100;
	fake.thread = 77;
	fake_put("/proc/self/status", PROC_SUPER_MAGIC,
		 "Name:\tx\nNStgid:\t100\n");
	have_thread("Name:\tx\nNStgid:\t100\n");
	assert_true(dp_place_is_outside(&owner, 77));
	/* In another time namespace start times cannot be compared. */
	fake_find("/proc/self/ns/time")->inode++;
	assert_false(dp_place_is_outside(&owner, 77));
	fake_find("/proc/self/ns/time")->inode--;
	fake_put("/proc/self/stat", PROC_SUPER_MAGIC,
		 "100 (x) R 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5000 0");
	assert_false(dp_place_is_outside(&owner, 77));
	/* Thread 77 is another process's now, whose start time is unknown. */
	fake_put("/proc/self/stat", PROC_SUPER_MAGIC,
		 "100 (x) R 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9000 0");
	fake.thread = 100;
	assert_false(dp_place_is_outside(&owner, 77));
}

/* -------------------------------------------------------------- the network */

static void the_initial_network_namespace_is_recognized(void **state)
{
	(void)state;
	assert_true(dp_place_sees_initial_network());
	fake_put("/sys/class/net", SYSFS_MAGIC, ". .. lo bonding_masters eth0");
	assert_true(dp_place_sees_initial_network());
}

static void another_network_namespace_is_not_taken_for_the_initial_one(void **state)
{
	(void)state;
	fake_remove("/proc/sys/net/core/netdev_budget");
	assert_false(dp_place_sees_initial_network());
	fake_reset();
	fake_find("/proc/sys/net/core/netdev_budget")->is_mounted = true;
	assert_false(dp_place_sees_initial_network());
	fake_reset();
	fake_find("/proc/self/net/dev")->is_mounted = true;
	assert_false(dp_place_sees_initial_network());
	fake_reset();
	fake_find("/sys/class/net")->magic = TMPFS_MAGIC;
	assert_false(dp_place_sees_initial_network());
}

static void sysfs_of_another_network_namespace_is_recognized(void **state)
{
	(void)state;
	fake_put("/sys/class/net", SYSFS_MAGIC, "lo");
	assert_false(dp_place_sees_initial_network());
	fake_put("/sys/class/net", SYSFS_MAGIC, "lo eth0 eth1");
	assert_false(dp_place_sees_initial_network());
	fake_put("/sys/class/net", SYSFS_MAGIC, "lo eth");
	assert_false(dp_place_sees_initial_network());
	fake_put("/sys/class/net", SYSFS_MAGIC, "lo th0");
	assert_false(dp_place_sees_initial_network());
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		TEST(a_process_is_described),
		TEST(a_mount_over_proc_is_not_described),
		TEST(without_proc_only_the_pid_is_known),
		TEST(a_truncated_boot_id_is_ignored),
		TEST(two_kernel_boot_ids_that_differ_prove_a_reboot),
		TEST(a_boot_id_that_is_mounted_over_proves_no_reboot),
		TEST(a_thread_with_another_pid_is_not_the_owners),
		TEST(a_thread_with_the_owners_pid_may_be_the_owners),
		TEST(a_thread_in_another_pid_namespace_is_not_the_owners),
		TEST(an_unreadable_status_proves_nothing),
		TEST(proc_of_another_pid_namespace_proves_nothing),
		TEST(a_thread_of_a_process_that_began_later_is_not_the_owners),
		TEST(the_initial_network_namespace_is_recognized),
		TEST(another_network_namespace_is_not_taken_for_the_initial_one),
		TEST(sysfs_of_another_network_namespace_is_recognized),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
