/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The owner's record, and how long the next owner waits for the recorded RDMA contexts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "fake_clock.h"
#include "fake_rdma.h"
#include "owner/owner.h"

#define MS		1000000ull
#define LONG_MS		600000		/* limit of a wait that must end */

static char sentence[700];
static const struct dp_errmsg errmsg = { sentence, sizeof(sentence) };
static struct dp_owner owner;	/* process 100, which had context 5 of rxe0 */

/* The calls of the progress function of a wait, and what happens at the third. */
static struct {
	int times;
	int pid;			/* of the last call, as is the state */
	enum dp_owner_state state;
	int answer;			/* what the progress function returns */
	void (*at_third)(void);
} report;

static int note_report(const struct dp_wait *wait, void *arg)
{
	(void)arg;
	report.times++;
	report.pid = wait->pid;
	report.state = wait->owner;
	if (report.times == 3 && report.at_third)
		report.at_third();
	return report.answer;
}

static void time_is_up(void)
{
	advance_clock(2 * LONG_MS);
}

static int await_with(bool despite)
{
	struct dp_wait_policy policy = {
		.deadline_ns = dp_os_now_ns() + LONG_MS * MS,
		.progress = note_report,
	};

	sentence[0] = '\0';
	report.times = 0;
	dp_wait_begin(&policy);
	return dp_owner_await(&owner, &policy, despite, &errmsg);
}

static int await(void)
{
	return await_with(false);
}

/*
 * Asserts that the wait lasts until the deadline, that it reports the dead owner's
 * RDMA, and that its error contains these words and the owner's pid.
 */
static void expect_wait(const char *words)
{
	report.at_third = time_is_up;
	assert_int_equal(await(), -EBUSY);
	assert_int_equal(report.times, 3);
	assert_int_equal(report.state, DP_OWNER_RDMA);
	assert_int_equal(report.pid, 100);
	assert_non_null(strstr(sentence, words));
	assert_non_null(strstr(sentence, "100"));
}

static void expect_at_once(int ret)
{
	assert_int_equal(await(), ret);
	assert_int_equal(report.times, 0);
}

/* Process 300 opens the pool, after process 100 has died. */
static int setup(void **state)
{
	const struct dp_rdma_context own = { 0, 5, DP_CONTEXT_OWN };

	(void)state;
	memset(&report, 0, sizeof(report));
	fake_reset();
	dp_owner_self(&owner);
	assert_int_equal(dp_owner_add_context(&owner, &own), 1);
	fake.pid = fake.thread = 300;
	fake_put("/proc/self/status", PROC_SUPER_MAGIC,
		 "Name:\tx\nNStgid:\t300\n");
	fake_put("/proc/self/stat", PROC_SUPER_MAGIC,
		 "300 (x) R 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9000 0");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return fake.sockets != 0;
}

/* -------------------------------------------------------------- the record */

static void a_context_is_added_once(void **state)
{
	struct dp_rdma_context context = { 3, 4, 0 };

	(void)state;
	assert_int_equal(dp_owner_add_context(&owner, &context), 1);
	context.flags = DP_CONTEXT_OWN;
	assert_int_equal(dp_owner_add_context(&owner, &context), 0);
	assert_int_equal(owner.contexts, 2);
	assert_int_equal(owner.context[1].flags, 0);
	context.device = 4;
	assert_int_equal(dp_owner_add_context(&owner, &context), 1);
	assert_int_equal(owner.contexts, 3);
}

static void a_removed_context_leaves_no_bytes_in_the_record(void **state)
{
	const struct dp_rdma_context none = { 0 };
	struct dp_rdma_context context = { 3, 4, 0 };

	(void)state;
	assert_int_equal(dp_owner_add_context(&owner, &context), 1);
	dp_owner_remove_context(&owner, &(struct dp_rdma_context) { 0, 5, 0 });
	assert_int_equal(owner.contexts, 1);
	assert_memory_equal(&owner.context[0], &context, sizeof(context));
	assert_memory_equal(&owner.context[1], &none, sizeof(none));
	dp_owner_remove_context(&owner, &context);
	assert_false(dp_owner_has_rdma(&owner));
	assert_memory_equal(&owner.context[0], &none, sizeof(none));
}

static void a_context_beyond_the_limit_is_enospc(void **state)
{
	struct dp_rdma_context context = { 0, 5, 0 };

	(void)state;
	while (owner.contexts < DP_RDMA_CONTEXTS_MAX) {
		context.number++;
		assert_int_equal(dp_owner_add_context(&owner, &context), 1);
	}
	assert_int_equal(dp_owner_add_context(&owner, &context), 0);
	context.number++;
	assert_int_equal(dp_owner_add_context(&owner, &context), -ENOSPC);
	assert_int_equal(owner.contexts, DP_RDMA_CONTEXTS_MAX);
	assert_true(dp_owner_is_record(&owner));
}

static void a_damaged_record_is_refused(void **state)
{
	const struct dp_owner good = owner;

	(void)state;
	owner.contexts = DP_RDMA_CONTEXTS_MAX + 1;
	expect_at_once(-EUCLEAN);
	owner = good, owner.pid = 0;
	expect_at_once(-EUCLEAN);
	owner.contexts = 0, owner.flags = DP_OWNER_RDMA_UNKNOWN;
	expect_at_once(-EUCLEAN);
	owner = good, owner.pid = 1u << 31;
	expect_at_once(-EUCLEAN);
	owner = good, owner.flags = 0x80;
	expect_at_once(-EUCLEAN);
	owner = good, owner.context[0].flags = 2;
	expect_at_once(-EUCLEAN);
}

/* ------------------------------------------------------------- our contexts */

static struct {
	uint32_t number;
} domain;

static int make_domain(int make, void *arg)
{
	(void)arg;
	if (make)
		fake.domain[fake.domains++] = (struct fake_object) {
			.context = 8, .number = ++domain.number,
			.pid = fake.thread,
		};
	else
		fake.domains--;
	return 0;
}

static int find(struct dp_rdma_context *ret_context)
{
	sentence[0] = '\0';
	return dp_owner_find_context(make_domain, NULL, ret_context, &errmsg);
}

static void a_context_of_this_process_is_marked_as_its_own(void **state)
{
	struct dp_rdma_context context;

	(void)state;
	fake_have_context(0, 8, 300);
	assert_int_equal(find(&context), 0);
	assert_int_equal(context.number, 8);
	assert_int_equal(context.flags, DP_CONTEXT_OWN);
	/* Another thread of this process made the context. */
	fake.context[0].pid = 302;
	fake.own_thread[0] = 302;
	assert_int_equal(find(&context), 0);
	assert_int_equal(context.flags, DP_CONTEXT_OWN);
}

static void a_context_of_another_living_process_is_refused(void **state)
{
	struct dp_rdma_context context;

	(void)state;
	fake_have_context(0, 8, 4711);
	fake.alive[0] = 4711;
	assert_int_equal(find(&context), -EINVAL);
	assert_non_null(strstr(sentence, "4711"));
	assert_non_null(strstr(sentence, "context 8"));
}

/* The record contains only its number, and the next owner waits for that. */
static void a_context_without_a_known_maker_is_accepted(void **state)
{
	struct dp_rdma_context context;

	(void)state;
	fake_have_context(0, 8, 0);
	assert_int_equal(find(&context), 0);
	assert_int_equal(context.flags, 0);
	fake.context[0].pid = 4711;	/* dead since the query */
	assert_int_equal(find(&context), 0);
	assert_int_equal(context.flags, 0);
}

static void a_context_of_unknown_number_is_accepted(void **state)
{
	struct dp_rdma_context context;

	(void)state;
	fake.socket_error = -EACCES;
	assert_int_equal(find(&context), 1);
	fake.socket_error = -EPROTONOSUPPORT;
	fake_remove("/sys/module/ib_core");
	fake_remove("/sys/class/infiniband");
	assert_int_equal(find(&context), -EINVAL);
	assert_non_null(strstr(sentence, "no RDMA"));
}

/* ------------------------------------------------------- what ends the wait */

static void without_recorded_contexts_nothing_is_queried(void **state)
{
	(void)state;
	owner.contexts = 0;
	fake.socket_error = -EACCES;
	expect_at_once(0);
	memset(&owner, 0, sizeof(owner));
	expect_at_once(0);
}

static void after_a_proven_reboot_nothing_is_queried(void **state)
{
	(void)state;
	fake_have_context(0, 5, 0);
	owner.boot_id[15] ^= 1;
	fake.socket_error = -EACCES;
	expect_at_once(0);
	owner.contexts = 0, owner.flags |= DP_OWNER_RDMA_UNKNOWN;
	expect_at_once(0);
}

static void a_context_that_is_gone_is_not_waited_for(void **state)
{
	(void)state;
	fake_have_context(0, 4, 0);
	fake_have_context(0, 6, 100);
	expect_at_once(0);
}

/* Other contexts exist, one with a pid and one without, but with other numbers. */
static void a_container_owners_rdma_has_ended_when_its_context_is_gone(void **state)
{
	(void)state;
	owner.flags = 0;
	owner.pid_namespace = owner.time_namespace = owner.start_time = 0;
	fake_have_context(0, 7, 0);
	fake_have_context(0, 8, 100);
	expect_at_once(0);
}

/* --------------------------------------------------------- what is waited for */

static void drop_context_5(void)
{
	fake_drop_context(0, 5);
}

static void a_context_that_still_exists_is_waited_for(void **state)
{
	(void)state;
	fake_have_context(0, 5, 0);
	report.at_third = drop_context_5;
	assert_int_equal(await(), 0);
	assert_int_equal(report.times, 3);
	assert_int_equal(report.state, DP_OWNER_RDMA);
	assert_int_equal(report.pid, 100);
}

static void the_wait_names_the_context(void **state)
{
	(void)state;
	fake_have_context(0, 5, 0);
	expect_wait("context 5 of rxe0");
	fake.device[0].name = "renamed";
	expect_wait("context 5 of renamed");
	report.at_third = NULL;
	report.answer = 1;
	assert_int_equal(await(), -ECANCELED);
}

static void a_boot_id_from_a_container_proves_no_reboot(void **state)
{
	(void)state;
	fake_have_context(0, 5, 0);
	owner.boot_id[15] ^= 1;
	fake_find("/proc/sys/kernel/random/boot_id")->is_mounted = true;
	expect_wait("context 5");
	fake_find("/proc/sys/kernel/random/boot_id")->is_mounted = false;
	owner.flags = 0;
	expect_wait("context 5");
}

static void an_owner_that_hangs_in_exit_is_waited_for(void **state)
{
	(void)state;
	fake_have_context(0, 5, 100);
	fake_put("/proc/100/status", PROC_SUPER_MAGIC,
		 "Name:\ta\nNStgid:\t100\n");
	expect_wait("thread 100");
	/* In another time namespace its start time would look different. */
	owner.start_time += 100000;
	expect_wait("thread 100");
	/*
	 * The owner is in a container, and the next owner, on the host, sees pid 4000.
	 */
	fake.context[0].pid = 4000;
	fake_put("/proc/4000/status", PROC_SUPER_MAGIC,
		 "Name:\ta\nNStgid:\t4000\t100\n");
	fake_put("/proc/4000/ns/pid", NSFS_MAGIC, NULL)->inode = FAKE_PID_NS;
	expect_wait("thread 4000");
}

/*
 * The machine was rebooted, which the library cannot prove here, and then another
 * process got a context with the recorded number.
 */
static void a_context_that_another_living_process_made_is_not_waited_for(void **state)
{
	(void)state;
	fake_have_context(0, 5, 4711);
	expect_wait("thread 4711");
	fake_put("/proc/4711/status", PROC_SUPER_MAGIC,
		 "Name:\ty\nNStgid:\t4700\n");
	expect_at_once(0);
}

/*
 * The record does not say that the owner made the context, so a living process that has
 * it now may be the one from which the owner got it.
 */
static void a_context_of_unknown_maker_is_waited_for_in_any_process(void **state)
{
	(void)state;
	owner.context[0].flags = 0;
	fake_have_context(0, 5, 4711);
	fake_put("/proc/4711/status", PROC_SUPER_MAGIC,
		 "Name:\ty\nNStgid:\t4700\n");
	expect_wait("thread 4711");
}

static unsigned int lookups;

/* Every second query shows the context without a pid: its maker has died meanwhile. */
static void the_maker_dies(unsigned int command)
{
	if (command == RDMA_NLDEV_CMD_RES_CTX_GET && lookups++ % 2)
		fake.context[0].pid = 0;
	else if (command == RDMA_NLDEV_CMD_RES_CTX_GET)
		fake.context[0].pid = 100;
}

static void a_reused_pid_does_not_end_the_wait(void **state)
{
	(void)state;
	fake_have_context(0, 5, 100);
	fake_put("/proc/100/status", PROC_SUPER_MAGIC,
		 "Name:\ty\nNStgid:\t4700\n");
	lookups = 0;
	fake.on_question = the_maker_dies;
	expect_wait("context 5");
}

static void a_recorded_context_of_this_process_is_ebusy_at_once(void **state)
{
	(void)state;
	fake.pid = fake.thread = 100;
	fake_have_context(0, 5, 100);
	assert_int_equal(await(), -EBUSY);
	assert_true(report.times <= 1);
	assert_non_null(strstr(sentence, "this process's"));
	assert_int_equal(await_with(true), -EBUSY);
}

static void a_device_that_is_being_removed_is_waited_for(void **state)
{
	(void)state;
	fake.device[0].index = 1;
	fake_put("/sys/class/infiniband", SYSFS_MAGIC, "rxe0 rxe1");
	expect_wait("being removed");
}

/* -------------------------------------------------------- what is not known */

static void contexts_that_cannot_be_queried_make_the_open_ebusy(void **state)
{
	(void)state;
	fake.exclusive = true;
	fake.device[0].index = 1;
	expect_at_once(-EBUSY);
	assert_non_null(strstr(sentence, "rdma system"));
	fake.socket_error = -EACCES;
	expect_at_once(-EBUSY);
	assert_non_null(strstr(sentence, "NETLINK_RDMA"));
}

static void with_despite_rdma_an_open_ignores_contexts_after_the_deadline(void **state)
{
	(void)state;
	fake.socket_error = -EACCES;
	assert_int_equal(await_with(true), 0);
	fake.socket_error = 0;
	fake_have_context(0, 5, 0);
	report.at_third = time_is_up;
	assert_int_equal(await_with(true), 0);
	assert_int_equal(report.times, 3);
	/* The override does not work while the context's maker is alive. */
	fake.context[0].pid = 4000;
	assert_int_equal(await_with(true), -EBUSY);
	assert_non_null(strstr(sentence, "thread 4000"));
	report.at_third = NULL;
	report.answer = 1;
	assert_int_equal(await_with(true), -ECANCELED);
	owner.context[0].flags = 2;
	assert_int_equal(await_with(true), -EUCLEAN);
}

/* The living opener may have any of the recorded contexts, and the others may be ones
 * that the kernel does not report. */
static void despite_rdma_waits_for_the_living_opener_of_any_context(void **state)
{
	const struct dp_rdma_context second = { 0, 6, DP_CONTEXT_OWN };

	(void)state;
	assert_int_equal(dp_owner_add_context(&owner, &second), 1);
	fake_have_context(0, 5, 0);
	fake_have_context(0, 6, 4000);
	report.at_third = time_is_up;
	assert_int_equal(await_with(true), -EBUSY);
	assert_non_null(strstr(sentence, "thread 4000"));
	fake.context[1].pid = 0;
	assert_int_equal(await_with(true), 0);
}

static void drop_all_contexts(void)
{
	fake.contexts = 0;
}

static void after_a_context_of_unknown_number_all_contexts_are_waited_for(void **state)
{
	(void)state;
	owner.contexts = 0;
	owner.flags |= DP_OWNER_RDMA_UNKNOWN;
	expect_at_once(0);
	fake_have_context(0, 77, 4711);
	report.at_third = drop_all_contexts;
	assert_int_equal(await(), 0);
	assert_int_equal(report.times, 3);
	fake_have_context(0, 78, 0);
	report.at_third = time_is_up;
	assert_int_equal(await(), -EBUSY);
	assert_non_null(strstr(sentence, "any of the 1 on this machine"));
	assert_int_equal(await_with(true), 0);
	fake.exclusive = true;
	expect_at_once(-EBUSY);
	assert_int_equal(await_with(true), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_context_is_added_once),
		TEST(a_removed_context_leaves_no_bytes_in_the_record),
		TEST(a_context_beyond_the_limit_is_enospc),
		TEST(a_damaged_record_is_refused),
		TEST(a_context_of_this_process_is_marked_as_its_own),
		TEST(a_context_of_another_living_process_is_refused),
		TEST(a_context_without_a_known_maker_is_accepted),
		TEST(a_context_of_unknown_number_is_accepted),
		TEST(without_recorded_contexts_nothing_is_queried),
		TEST(after_a_proven_reboot_nothing_is_queried),
		TEST(a_context_that_is_gone_is_not_waited_for),
		TEST(a_container_owners_rdma_has_ended_when_its_context_is_gone),
		TEST(a_context_that_still_exists_is_waited_for),
		TEST(the_wait_names_the_context),
		TEST(a_boot_id_from_a_container_proves_no_reboot),
		TEST(an_owner_that_hangs_in_exit_is_waited_for),
		TEST(a_context_that_another_living_process_made_is_not_waited_for),
		TEST(a_context_of_unknown_maker_is_waited_for_in_any_process),
		TEST(a_reused_pid_does_not_end_the_wait),
		TEST(a_recorded_context_of_this_process_is_ebusy_at_once),
		TEST(a_device_that_is_being_removed_is_waited_for),
		TEST(contexts_that_cannot_be_queried_make_the_open_ebusy),
		TEST(with_despite_rdma_an_open_ignores_contexts_after_the_deadline),
		TEST(despite_rdma_waits_for_the_living_opener_of_any_context),
		TEST(after_a_context_of_unknown_number_all_contexts_are_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
