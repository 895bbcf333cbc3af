/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which replies of RDMA netlink prove that a verbs context is gone, and how an attach
 * finds the number of its own context.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "fake_rdma.h"
#include "owner/rdma_netlink.h"
#include "owner/rdma_self.h"

static char sentence[700];
static const struct dp_errmsg errmsg = { sentence, sizeof(sentence) };
static const struct dp_rdma_context context = { 0, 5, 0 };
static struct dp_verbs_seen seen;

static int setup(void **state)
{
	(void)state;
	fake_reset();
	sentence[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return fake.sockets != 0;
}

static void expect_state(enum dp_verbs_state state)
{
	assert_int_equal(dp_verbs_find(&context, &seen, &errmsg), 0);
	assert_int_equal(seen.state, state);
}

static void expect_unknown(const char *words)
{
	sentence[0] = '\0';
	assert_int_equal(dp_verbs_find(&context, &seen, &errmsg), -EBUSY);
	assert_non_null(strstr(sentence, words));
}

/* ------------------------------------------------------------- one context */

static void a_context_is_queried_by_its_number(void **state)
{
	(void)state;
	fake_have_context(0, 4, 100);
	fake_have_context(0, 6, 100);
	fake_have_context(1, 5, 100);
	expect_state(DP_VERBS_GONE);
	assert_int_equal(fake.questions, 1);
	fake_have_context(0, 5, 321);
	expect_state(DP_VERBS_PRESENT);
	assert_int_equal(seen.maker, 321);
	fake.context[3].pid = 0;
	expect_state(DP_VERBS_PRESENT);
	assert_int_equal(seen.maker, 0);
}

static void a_device_that_is_gone_has_no_context(void **state)
{
	(void)state;
	fake.device[0].index = 1;
	expect_state(DP_VERBS_GONE);
}

static void a_device_that_is_being_removed_may_have_the_context(void **state)
{
	(void)state;
	fake_have_device(1, "rxe1");
	fake.device[0].unlisted = true;
	fake_put("/sys/class/infiniband", SYSFS_MAGIC, "rxe1 renamed");
	expect_state(DP_VERBS_REMOVING);
	fake_put("/sys/class/infiniband", SYSFS_MAGIC, "rxe1");
	expect_state(DP_VERBS_GONE);
}

static void after_the_last_device_is_removed_its_context_is_gone(void **state)
{
	(void)state;
	fake.devices = 0;
	fake_put("/sys/class/infiniband", SYSFS_MAGIC, "");
	expect_state(DP_VERBS_GONE);
}

static void absence_in_exclusive_mode_proves_nothing(void **state)
{
	(void)state;
	fake.device[0].index = 1;
	fake.exclusive = true;
	expect_unknown("rdma system");
	fake.exclusive = false;
	expect_state(DP_VERBS_GONE);
}

static void sysfs_of_another_network_proves_nothing(void **state)
{
	(void)state;
	fake.device[0].index = 1;
	fake_remove("/proc/sys/net/core/netdev_budget");
	expect_unknown("initial network namespace");
	fake_reset();
	fake.device[0].index = 1;
	fake_find("/sys/class/infiniband")->magic = TMPFS_MAGIC;
	expect_unknown("initial network namespace");
	fake_remove("/sys/class/infiniband");
	expect_unknown("initial network namespace");
}

/* In exclusive mode netlink proves nothing, but use counts of the modules may. */
static void an_idle_ib_uverbs_module_proves_that_no_context_exists(void **state)
{
	(void)state;
	fake.device[0].index = 1;
	fake.exclusive = true;
	fake_put("/sys/module/ib_uverbs/refcnt", SYSFS_MAGIC, "1\n");
	expect_state(DP_VERBS_GONE);
	fake_find("/sys/module/ib_uverbs/refcnt")->is_mounted = true;
	expect_unknown("rdma system");
	fake_put("/sys/module/ib_uverbs/refcnt", SYSFS_MAGIC, "1\n");
	fake_find("/sys/module")->magic = TMPFS_MAGIC;
	expect_unknown("rdma system");
	fake_find("/sys/module")->magic = SYSFS_MAGIC;
	fake_put("/sys/module/ib_uverbs/holders", SYSFS_MAGIC, "");
	expect_unknown("rdma system");
	fake_remove("/sys/module/ib_uverbs/holders");
	expect_unknown("rdma system");
}

static void without_the_ib_uverbs_module_no_context_exists(void **state)
{
	(void)state;
	fake.socket_error = -EACCES;
	fake_remove("/sys/module/ib_uverbs");
	expect_state(DP_VERBS_GONE);
	/*
	 * Without this file, RDMA may be built into the kernel, so contexts may exist.
	 */
	fake_remove("/sys/module/ib_core/refcnt");
	expect_unknown("NETLINK_RDMA");
}

static void a_kernel_without_rdma_has_no_contexts(void **state)
{
	(void)state;
	fake.socket_error = -EPROTONOSUPPORT;
	expect_unknown("NETLINK_RDMA");
	fake_remove("/sys/module/ib_core");
	fake_remove("/sys/module/ib_uverbs");
	fake_remove("/sys/module/ib_core/refcnt");
	expect_unknown("NETLINK_RDMA");
	fake_remove("/sys/class/infiniband");
	expect_state(DP_VERBS_GONE);
	fake_find("/sys/module")->is_mounted = true;
	expect_unknown("NETLINK_RDMA");
}

static void a_kernel_that_cannot_list_contexts_proves_nothing(void **state)
{
	(void)state;
	fake.no_context_list = true;
	expect_unknown("5.14");
}

static void a_netlink_error_proves_nothing(void **state)
{
	(void)state;
	fake.answer_error = -EPERM;
	expect_unknown("Operation not permitted");
	fake.answer_error = 0;
	fake.socket_error = -EACCES;
	expect_unknown("Permission denied");
	fake.socket_error = -ENOMEM;
	assert_int_equal(dp_verbs_find(&context, &seen, &errmsg), -ENOMEM);
}

/* ------------------------------------------------------------ every context */

static void all_contexts_of_the_machine_are_counted(void **state)
{
	(void)state;
	assert_int_equal(dp_verbs_count_all(&errmsg), 0);
	fake_have_device(1, "rxe1");
	fake_have_context(0, 4, 100);
	fake_have_context(1, 5, 0);
	assert_int_equal(dp_verbs_count_all(&errmsg), 2);
}

static void a_device_that_is_being_removed_is_counted(void **state)
{
	(void)state;
	fake_put("/sys/class/infiniband", SYSFS_MAGIC, "rxe0 rxe1 rxe2");
	assert_int_equal(dp_verbs_count_all(&errmsg), 2);
}

static void contexts_that_cannot_be_listed_are_not_counted_as_none(void **state)
{
	(void)state;
	fake.exclusive = true;
	assert_int_equal(dp_verbs_count_all(&errmsg), -EBUSY);
	assert_non_null(strstr(sentence, "rdma system"));
	fake.exclusive = false;
	fake_remove("/proc/sys/net/core/netdev_budget");
	assert_int_equal(dp_verbs_count_all(&errmsg), -EBUSY);
	assert_non_null(strstr(sentence, "initial network namespace"));
	fake_put("/sys/module/ib_uverbs/refcnt", SYSFS_MAGIC, "1\n");
	assert_int_equal(dp_verbs_count_all(&errmsg), 0);
	fake.no_context_list = true;
	fake_put("/sys/module/ib_uverbs/refcnt", SYSFS_MAGIC, "2\n");
	assert_int_equal(dp_verbs_count_all(&errmsg), -EBUSY);
	assert_non_null(strstr(sentence, "5.14"));
}

/* ---------------------------------------------------------- our own context */

/* The protection domain that a test's context creates. */
static struct {
	uint32_t device, context, number;
	int error;
	uint32_t made, ended;
	uint32_t lost;			/* lists that omit the first domain */
	void (*when_made)(void);
	void (*when_ended)(void);
} own;

static int make_domain(int make, void *arg)
{
	assert_ptr_equal(arg, &own);
	if (own.error)
		return own.error;
	if (!make) {
		own.ended++;
		fake.domains--;
		assert_int_equal(fake.domain[fake.domains].number, own.number);
		if (own.when_ended)
			own.when_ended();
		return 0;
	}
	own.made++;
	fake.domain[fake.domains++] = (struct fake_object) {
		.device = own.device, .context = own.context,
		.number = ++own.number, .pid = fake.thread,
		.lost = own.made == 1 ? own.lost : 0,
	};
	if (own.when_made)
		own.when_made();
	return 0;
}

static void have_domain(uint32_t device, uint32_t number, uint32_t in_context,
			uint32_t pid)
{
	fake.domain[fake.domains++] = (struct fake_object) {
		.device = device, .number = number, .context = in_context, .pid = pid,
	};
}

static int own_setup(void **state)
{
	setup(state);
	memset(&own, 0, sizeof(own));
	own.context = 7;
	own.number = 50;
	fake_have_context(0, 7, 100);
	return 0;
}

static void expect_own(uint32_t device, uint32_t number)
{
	struct dp_rdma_context found;
	uint32_t maker = 0;

	assert_int_equal(dp_rdma_self_find(make_domain, &own, &found, &maker),
			 0);
	assert_int_equal(found.device, device);
	assert_int_equal(found.number, number);
	assert_int_equal(found.flags, 0);
	assert_int_equal(maker, 100);
	assert_int_equal(own.made, own.ended);
}

static int find_own(void)
{
	struct dp_rdma_context found;
	uint32_t maker;

	return dp_rdma_self_find(make_domain, &own, &found, &maker);
}

static void a_new_protection_domain_identifies_the_context(void **state)
{
	(void)state;
	have_domain(0, 3, 1, 100);	/* older domains of this thread */
	have_domain(0, 4, 7, 100);
	have_domain(0, 5, 2, 901);	/* domains of other processes */
	have_domain(0, 6, 2, 0);
	expect_own(0, 7);
	assert_int_equal(own.made, 1);
}

static void the_device_is_found_without_its_name(void **state)
{
	(void)state;
	fake_have_device(9, "rxe9");
	fake_have_context(9, 7, 100);
	own.device = 9;
	have_domain(0, 3, 7, 100);
	expect_own(9, 7);
}

/* Another thread creates a domain meanwhile, which is listed before this one. */
static void make_others(void)
{
	have_domain(0, 200, 2, 901);
	fake.domain[fake.domains] = fake.domain[fake.domains - 2];
	fake.domain[fake.domains - 2] = fake.domain[fake.domains - 1];
	fake.domain[fake.domains - 1] = fake.domain[fake.domains];
}

static void domains_that_other_threads_create_are_not_used(void **state)
{
	(void)state;
	own.when_made = make_others;
	expect_own(0, 7);
}

/* The first list misses an old domain of this thread, so that it seems to be new. */
static void an_old_domain_missing_in_one_list_is_not_taken_for_a_new_one(void **state)
{
	(void)state;
	have_domain(0, 3, 1, 100);
	fake.domain[0].lost = 1;
	expect_own(0, 7);
	/* And the second list misses the new one. */
	fake.domain[0].lost = 1;
	own.made = own.ended = 0;
	own.lost = 1;
	expect_own(0, 7);
	assert_int_equal(own.made, 2);
}

static void if_no_list_shows_the_domain_the_number_is_unknown(void **state)
{
	(void)state;
	fake.pid = 100;
	own.device = 3;			/* of another network namespace */
	assert_int_equal(find_own(), -EBUSY);
	assert_int_equal(own.made, own.ended);
}

static void without_netlink_no_domain_is_made(void **state)
{
	(void)state;
	fake.socket_error = -EACCES;
	assert_int_equal(find_own(), -EBUSY);
	fake.socket_error = 0;
	fake.answer_error = -EPERM;
	assert_int_equal(find_own(), -EBUSY);
	assert_int_equal(own.made, 0);
	fake.socket_error = -EPROTONOSUPPORT;
	fake_remove("/sys/module/ib_core");
	fake_remove("/sys/class/infiniband");
	assert_int_equal(find_own(), -ENODEV);
}

static void a_domain_that_cannot_be_made_is_an_error(void **state)
{
	(void)state;
	own.error = -ENOMEM;
	assert_int_equal(find_own(), -ENOMEM);
	own.error = -ENOSPC;
	assert_int_equal(find_own(), -ENOSPC);
}

static void a_kernel_without_context_numbers_leaves_the_number_unknown(void **state)
{
	(void)state;
	fake.no_context_list = true;
	assert_int_equal(find_own(), -EBUSY);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CASE(name) cmocka_unit_test_setup_teardown(name, own_setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_context_is_queried_by_its_number),
		TEST(a_device_that_is_gone_has_no_context),
		TEST(a_device_that_is_being_removed_may_have_the_context),
		TEST(after_the_last_device_is_removed_its_context_is_gone),
		TEST(absence_in_exclusive_mode_proves_nothing),
		TEST(sysfs_of_another_network_proves_nothing),
		TEST(an_idle_ib_uverbs_module_proves_that_no_context_exists),
		TEST(without_the_ib_uverbs_module_no_context_exists),
		TEST(a_kernel_without_rdma_has_no_contexts),
		TEST(a_kernel_that_cannot_list_contexts_proves_nothing),
		TEST(a_netlink_error_proves_nothing),
		TEST(all_contexts_of_the_machine_are_counted),
		TEST(a_device_that_is_being_removed_is_counted),
		TEST(contexts_that_cannot_be_listed_are_not_counted_as_none),
		CASE(a_new_protection_domain_identifies_the_context),
		CASE(the_device_is_found_without_its_name),
		CASE(domains_that_other_threads_create_are_not_used),
		CASE(an_old_domain_missing_in_one_list_is_not_taken_for_a_new_one),
		CASE(if_no_list_shows_the_domain_the_number_is_unknown),
		CASE(without_netlink_no_domain_is_made),
		CASE(a_domain_that_cannot_be_made_is_an_error),
		CASE(a_kernel_without_context_numbers_leaves_the_number_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
