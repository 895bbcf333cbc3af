/* SPDX-License-Identifier: BSD-3-Clause */
/* Which answers of RDMA netlink prove that this process has no protection domain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "fake_rdma.h"
#include <daxpin-status.h>
#include "owner/rdma_use.h"

#define OWN		100		/* fake_reset() */
#define OWN_OTHER	101
#define FOREIGN		300

static char sentence[400];
static const struct dp_errmsg errmsg = { sentence, sizeof(sentence) };
static unsigned int lists;		/* of domains, that were asked for */

static int setup(void **state)
{
	(void)state;
	fake_reset();
	fake_have_device(1, "rxe1");
	fake_put("/sys/class/infiniband", SYSFS_MAGIC, "rxe0 rxe1");
	fake.own_thread[0] = OWN_OTHER;
	lists = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return fake.sockets != 0;
}

static struct fake_object *have_domain(uint32_t device, uint32_t number, uint32_t pid)
{
	fake.domain[fake.domains] = (struct fake_object) {
		.device = device, .number = number, .pid = pid, .context = 77,
	};
	return &fake.domain[fake.domains++];
}

static void expect(uint32_t contexts, uint32_t domains, uint32_t unknown)
{
	struct dp_rdma_counts counts = { 99, 99, 99 };

	assert_int_equal(dp_rdma_use_count(&errmsg, &counts), 0);
	assert_int_equal(counts.contexts, contexts);
	assert_int_equal(counts.domains, domains);
	assert_int_equal(counts.unknown, unknown);
}

static void expect_refusal(const char *words)
{
	struct dp_rdma_counts counts = { 99, 99, 99 };

	sentence[0] = '\0';
	assert_int_equal(dp_rdma_use_count(&errmsg, &counts), -EOPNOTSUPP);
	assert_int_equal(counts.domains, 99);
	if (!strstr(sentence, words))
		fail_msg("\"%s\" does not say \"%s\"", sentence, words);
}

static void objects_of_all_threads_and_devices_are_counted(void **state)
{
	(void)state;
	expect(0, 0, 0);
	fake_have_context(0, 5, OWN);
	fake_have_context(1, 6, OWN_OTHER);
	expect(2, 0, 0);
	have_domain(0, 10, OWN);
	have_domain(1, 11, OWN_OTHER);
	expect(2, 2, 0);
}

static void objects_of_other_processes_and_the_kernel_are_not_counted(void **state)
{
	(void)state;
	fake_have_context(0, 5, FOREIGN);
	have_domain(0, 10, FOREIGN);
	have_domain(1, 11, 0)->kernels = "ib_core";
	expect(0, 0, 0);
}

static void a_domain_without_a_thread_is_unknown(void **state)
{
	(void)state;
	fake_have_context(0, 5, 0);
	have_domain(0, 10, 0);
	have_domain(0, 11, FOREIGN);
	expect(0, 0, 1);
}

/* A child that inherited the context can have allocated it, and returned its handle. */
static void a_domain_in_a_context_of_this_process_is_its_own(void **state)
{
	(void)state;
	fake_have_context(0, 5, OWN);
	fake_have_context(1, 5, FOREIGN);
	have_domain(0, 10, FOREIGN)->context = 5;
	have_domain(1, 11, FOREIGN)->context = 5;
	expect(1, 1, 0);
	fake.domain[0].pid = 0;
	expect(1, 1, 0);
}

/* One whose thread has ended is of the process that opened its context. */
static void a_domain_in_a_context_of_another_process_is_foreign(void **state)
{
	(void)state;
	fake_have_context(0, 5, FOREIGN);
	have_domain(0, 10, 0)->context = 5;
	expect(0, 0, 0);
	fake.context[0].pid = 0;
	expect(0, 0, 1);
}

static void an_empty_domain_is_not_counted(void **state)
{
	(void)state;
	have_domain(0, 10, OWN)->is_empty = true;
	have_domain(0, 11, 0)->is_empty = true;
	expect(0, 0, 0);
}

static void a_thread_that_may_not_be_asked_for_is_unknown(void **state)
{
	(void)state;
	fake_have_context(0, 5, OWN);
	have_domain(0, 10, OWN)->context = 5;
	fake.forbids_threads = true;
	expect(0, 0, 1);
}

static void the_thread_ends(unsigned int command)
{
	if (command == RDMA_NLDEV_CMD_RES_PD_GET && ++lists == 3)
		fake.domain[0].pid = 0;
}

/* Its id is that of a thread of this process that ended after the kernel had listed it,
 * so no thread of the process has that id any more. */
static void a_thread_that_ends_after_the_list_is_no_foreign_one(void **state)
{
	(void)state;
	have_domain(0, 10, FOREIGN);
	fake.on_question = the_thread_ends;
	expect(0, 0, 1);
	assert_int_equal(lists, 6);
}

static void a_list_that_lost_a_domain_is_not_the_answer(void **state)
{
	(void)state;
	have_domain(0, 10, FOREIGN);
	have_domain(0, 11, OWN)->lost = 1;
	expect(0, 1, 0);
}

static void domains_come_and_go(unsigned int command)
{
	if (command == RDMA_NLDEV_CMD_RES_PD_GET)
		fake.domain[0].number++;
}

static void domains_that_come_and_go_have_no_count(void **state)
{
	(void)state;
	have_domain(0, 10, FOREIGN);
	fake.on_question = domains_come_and_go;
	expect_refusal("come and go");
}

static void a_device_is_removed(unsigned int command)
{
	if (command == RDMA_NLDEV_CMD_RES_PD_GET)
		fake.device[1].unlisted = true;
}

/* Its domains are in no list, and may exist until sysfs does not show it any more. */
static void a_device_that_is_being_removed_has_no_count(void **state)
{
	(void)state;
	fake.on_question = a_device_is_removed;
	expect_refusal("is being removed");
	fake.on_question = NULL;
	expect_refusal("is being removed");
	fake_put("/sys/class/infiniband", SYSFS_MAGIC, "rxe0");
	expect(0, 0, 0);
}

static void a_device_gets_the_name_of_another(unsigned int command)
{
	if (command == RDMA_NLDEV_CMD_GET && ++lists == 2)
		fake.device[1].name = "rxe2";
}

/* Sysfs shows names, so a renamed device hides one that is being removed. */
static void devices_that_are_renamed_have_no_count(void **state)
{
	(void)state;
	fake.on_question = a_device_gets_the_name_of_another;
	expect_refusal("come and go");
}

static void devices_that_are_not_seen_have_no_count(void **state)
{
	(void)state;
	fake.exclusive = true;
	expect_refusal("must report netns shared");
	fake.exclusive = false;
	fake_put("/sys/class/infiniband", SYSFS_MAGIC, "rxe0 rxe1")->is_mounted = true;
	expect_refusal("initial network namespace");
	fake_remove("/sys/class/infiniband");
	expect_refusal("initial network namespace");
}

static void netlink_that_does_not_answer_is_not_none(void **state)
{
	(void)state;
	fake.socket_error = -EPROTONOSUPPORT;
	expect_refusal("Protocol not supported");
	fake.socket_error = 0;
	fake.answer_error = -EPERM;
	expect_refusal("Operation not permitted");
}

static void a_kernel_without_rdma_has_none(void **state)
{
	(void)state;
	fake.socket_error = -EPROTONOSUPPORT;
	fake_remove("/sys/module/ib_core");
	fake_remove("/sys/class/infiniband");
	expect(0, 0, 0);
}

/* It leaves out entries for which it would show no thread. */
static void a_kernel_that_lists_no_contexts_may_leave_out_domains(void **state)
{
	(void)state;
	fake.no_context_list = true;
	expect_refusal("5.14");
}

/* The public function, and what it says of wrong calls. */
static void a_call_without_a_place_for_the_counts_is_refused(void **state)
{
	struct daxpin_rdma_use use = { .size = sizeof(size_t) - 1 };

	(void)state;
	assert_int_equal(daxpin_rdma_use(sentence, sizeof(sentence), NULL), -EINVAL);
	assert_non_null(strstr(sentence, "sizeof(struct daxpin_rdma_use)"));
	sentence[0] = '\0';
	assert_int_equal(daxpin_rdma_use(sentence, sizeof(sentence), &use), -EINVAL);
	assert_non_null(strstr(sentence, "sizeof(struct daxpin_rdma_use)"));
	fake_have_context(0, 5, OWN);
	have_domain(0, 10, OWN);
	have_domain(0, 11, 0);
	have_domain(0, 12, 0);
	use.size = sizeof(use);
	assert_int_equal(daxpin_rdma_use(sentence, sizeof(sentence), &use), 0);
	assert_int_equal(sentence[0], '\0');
	assert_int_equal(use.contexts, 1);
	assert_int_equal(use.domains, 1);
	assert_int_equal(use.unknown, 2);
	fake.exclusive = true;
	assert_int_equal(daxpin_rdma_use(NULL, 0, &use), -EOPNOTSUPP);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(objects_of_all_threads_and_devices_are_counted),
		TEST(objects_of_other_processes_and_the_kernel_are_not_counted),
		TEST(a_domain_without_a_thread_is_unknown),
		TEST(a_domain_in_a_context_of_this_process_is_its_own),
		TEST(a_domain_in_a_context_of_another_process_is_foreign),
		TEST(an_empty_domain_is_not_counted),
		TEST(a_thread_that_may_not_be_asked_for_is_unknown),
		TEST(a_thread_that_ends_after_the_list_is_no_foreign_one),
		TEST(a_list_that_lost_a_domain_is_not_the_answer),
		TEST(domains_that_come_and_go_have_no_count),
		TEST(a_device_that_is_being_removed_has_no_count),
		TEST(devices_that_are_renamed_have_no_count),
		TEST(devices_that_are_not_seen_have_no_count),
		TEST(netlink_that_does_not_answer_is_not_none),
		TEST(a_kernel_without_rdma_has_none),
		TEST(a_kernel_that_lists_no_contexts_may_leave_out_domains),
		TEST(a_call_without_a_place_for_the_counts_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
