/* SPDX-License-Identifier: BSD-3-Clause */
/* Which answers of RDMA netlink prove that this process has no memory region of a
 * device. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "fake_rdma.h"
#include "ofi/regions.h"

#define FOREIGN		0x7ffffffeu	/* above the largest id that a thread has */

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_dp_netlink_socket(int protocol);
int __wrap_dp_netlink_send(int fd, const void *message, size_t size);
int __wrap_dp_netlink_receive(int fd, void *buffer, size_t size);

int __wrap_close(int fd)
{
	if (fd < FAKE_SOCKET)
		return __real_close(fd);
	fake.sockets--;
	return 0;
}

int __wrap_dp_netlink_socket(int protocol)
{
	return __wrap_dp_os_netlink(protocol);
}

int __wrap_dp_netlink_send(int fd, const void *message, size_t size)
{
	return __wrap_dp_os_netlink_send(fd, message, size);
}

int __wrap_dp_netlink_receive(int fd, void *buffer, size_t size)
{
	return __wrap_dp_os_netlink_receive(fd, buffer, size);
}

static unsigned int lists;		/* of regions, that were asked for */

static int setup(void **state)
{
	(void)state;
	fake_reset();
	fake.devices = 0;
	fake_have_device(3, "rxe0");
	fake_have_device(4, "rxe01");
	lists = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return fake.sockets != 0;
}

static struct fake_object *have_region(uint32_t device, uint32_t number, uint32_t pid)
{
	fake.region[fake.regions] = (struct fake_object) {
		.device = device, .number = number, .pid = pid,
	};
	return &fake.region[fake.regions++];
}

static void expect(uint32_t own, uint32_t unknown)
{
	struct dp_regions regions = { 99, 99 };

	assert_int_equal(dp_regions_count("rxe0", &regions), 0);
	assert_int_equal(regions.own, own);
	assert_int_equal(regions.unknown, unknown);
}

static void expect_error(int error)
{
	struct dp_regions regions = { 99, 99 };

	assert_int_equal(dp_regions_count("rxe0", &regions), error);
	assert_int_equal(regions.own, 99);
}

static void *register_in_thread(void *arg)
{
	pthread_barrier_t *ends = arg;

	have_region(3, 30, (uint32_t)gettid());
	pthread_barrier_wait(ends);
	pthread_barrier_wait(ends);
	return NULL;
}

static void regions_of_all_threads_are_counted(void **state)
{
	pthread_barrier_t ends;
	pthread_t thread;

	(void)state;
	expect(0, 0);
	have_region(3, 10, (uint32_t)getpid());
	expect(1, 0);
	assert_int_equal(pthread_barrier_init(&ends, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, register_in_thread, &ends), 0);
	pthread_barrier_wait(&ends);
	expect(2, 0);
	pthread_barrier_wait(&ends);
	assert_int_equal(pthread_join(thread, NULL), 0);
	pthread_barrier_destroy(&ends);
	/* The kernel then leaves out its id. */
	fake.region[1].pid = 0;
	expect(1, 1);
}

static void regions_of_others_are_not_counted(void **state)
{
	(void)state;
	have_region(3, 10, FOREIGN);
	have_region(4, 11, (uint32_t)getpid());
	have_region(3, 12, 0)->kernels = "rpcrdma";
	expect(0, 0);
}

static void a_region_without_a_thread_is_unknown(void **state)
{
	(void)state;
	have_region(3, 10, 0);
	have_region(3, 11, FOREIGN);
	expect(0, 1);
}

static void the_thread_ends(unsigned int command)
{
	if (command == RDMA_NLDEV_CMD_RES_MR_GET && ++lists == 2)
		fake.region[0].pid = 0;
}

/* Its id is that of a thread of this process that ended after the kernel had listed it,
 * so no thread of the process has that id any more. */
static void a_thread_that_ends_after_the_list_is_no_foreign_one(void **state)
{
	(void)state;
	have_region(3, 10, FOREIGN);
	fake.on_question = the_thread_ends;
	expect(0, 1);
	assert_int_equal(lists, 3);
}

static void a_list_that_lost_a_region_is_not_the_answer(void **state)
{
	(void)state;
	have_region(3, 10, FOREIGN);
	have_region(3, 11, (uint32_t)getpid())->lost = 1;
	expect(1, 0);
}

static void regions_come_and_go(unsigned int command)
{
	if (command == RDMA_NLDEV_CMD_RES_MR_GET)
		fake.region[0].number++;
}

static void regions_that_come_and_go_have_no_count(void **state)
{
	(void)state;
	have_region(3, 10, FOREIGN);
	fake.on_question = regions_come_and_go;
	expect_error(-EAGAIN);
}

static void the_device_is_removed(unsigned int command)
{
	if (command == RDMA_NLDEV_CMD_RES_MR_GET)
		fake.device[0].unlisted = true;
}

/* In exclusive mode those of other network namespaces are not listed. */
static void a_device_that_is_not_listed_has_no_count(void **state)
{
	(void)state;
	fake.on_question = the_device_is_removed;
	expect_error(-ENODEV);
	fake.on_question = NULL;
	expect_error(-ENODEV);
}

static void netlink_that_does_not_answer_is_not_none(void **state)
{
	(void)state;
	fake.socket_error = -EPROTONOSUPPORT;
	expect_error(-EPROTONOSUPPORT);
	fake.socket_error = 0;
	fake.answer_error = -EPERM;
	expect_error(-EPERM);
}

/* It leaves out regions for which it would show no thread. */
static void a_kernel_that_lists_no_contexts_may_leave_out_regions(void **state)
{
	(void)state;
	fake.no_context_list = true;
	expect_error(-EOPNOTSUPP);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(regions_of_all_threads_are_counted),
		TEST(regions_of_others_are_not_counted),
		TEST(a_region_without_a_thread_is_unknown),
		TEST(a_thread_that_ends_after_the_list_is_no_foreign_one),
		TEST(a_list_that_lost_a_region_is_not_the_answer),
		TEST(regions_that_come_and_go_have_no_count),
		TEST(a_device_that_is_not_listed_has_no_count),
		TEST(netlink_that_does_not_answer_is_not_none),
		TEST(a_kernel_that_lists_no_contexts_may_leave_out_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
