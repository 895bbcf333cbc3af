/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A registration of a verbs context adds it to the owner's record on media, and the end
 * of the registration removes it.
 */
#include "fixture.h"
#include "core/handle.h"
#include "owner/owner.h"

/* What the query for a context of this process returns. */
static struct {
	int ret;
	struct dp_rdma_context context;
	uint32_t asked;
} found;

int __wrap_dp_owner_find_context(dp_rdma_domain_fn *domain, void *arg,
				 struct dp_rdma_context *ret_context,
				 const struct dp_errmsg *errmsg);
int __wrap_dp_owner_find_context(dp_rdma_domain_fn *domain, void *arg,
				 struct dp_rdma_context *ret_context,
				 const struct dp_errmsg *errmsg)
{
	found.asked++;
	assert_int_equal(domain(1, arg), 0);
	assert_int_equal(domain(0, arg), 0);
	*ret_context = found.context;
	return found.ret < 0 ? dp_fail(errmsg, found.ret, "as the test says") :
			       found.ret;
}

static int domain(int make, void *arg)
{
	*(int *)arg += make ? 1 : 16;
	return 0;
}

static int setup(void **state)
{
	memset(&found, 0, sizeof(found));
	return fixture_setup(state);
}

static int called;

static int announce(struct fixture *f, struct daxpin_registration **ret)
{
	const struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "a", .rdma_device = "rxe0",
		.rdma_domain = domain, .rdma_arg = &called,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};

	return daxpin_register(f->pool, 0, &options, ret);
}

static struct daxpin_registration *announce_context(struct fixture *f,
						     uint32_t device,
						     uint32_t number)
{
	struct daxpin_registration *registration;

	found.context = (struct dp_rdma_context) { device, number,
						   DP_CONTEXT_OWN };
	assert_int_equal(announce(f, &registration), 0);
	return registration;
}

/* Reads the record as the next owner would. */
static struct dp_owner on_media(struct fixture *f)
{
	const struct dp_super *half = (const void *)f->pool->media.geometry.base;
	const struct dp_super *newest = &half[0];

	if (!dp_super_is_whole(newest) ||
	    (dp_super_is_whole(&half[1]) &&
	     half[1].sequence > newest->sequence))
		newest = &half[1];
	assert_true(dp_super_is_whole(newest));
	return newest->owner;
}

static void a_context_is_on_media_before_the_call_returns(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *registration;
	struct dp_owner owner;

	called = 0;
	registration = announce_context(f, 3, 9);
	assert_int_equal(called, 17);
	owner = on_media(f);
	assert_int_equal(owner.contexts, 1);
	assert_memory_equal(&owner.context[0], &found.context,
			    sizeof(found.context));
	assert_int_equal(daxpin_unregister(registration), 0);
}

static void the_last_domain_of_a_context_removes_it_from_the_record(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *first = announce_context(f, 0, 9);
	struct daxpin_registration *second = announce_context(f, 0, 9);
	struct daxpin_registration *other = announce_context(f, 1, 9);

	assert_int_equal(on_media(f).contexts, 2);
	assert_int_equal(daxpin_unregister(first), 0);
	assert_int_equal(on_media(f).contexts, 2);
	assert_int_equal(daxpin_unregister(second), 0);
	assert_int_equal(on_media(f).contexts, 1);
	assert_int_equal(on_media(f).context[0].device, 1);
	first = announce_context(f, 0, 10);
	assert_int_equal(on_media(f).contexts, 2);
	assert_int_equal(daxpin_unregister(other), 0);
	assert_int_equal(on_media(f).contexts, 1);
	assert_int_equal(on_media(f).context[0].number, 10);
	assert_int_equal(daxpin_unregister(first), 0);
	assert_int_equal(on_media(f).contexts, 0);
}

static void a_context_without_a_number_is_recorded_too(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *first, *second;

	found.ret = 1;
	assert_int_equal(announce(f, &first), 0);
	assert_int_equal(announce(f, &second), 0);
	assert_int_equal(on_media(f).contexts, 0);
	assert_true(on_media(f).flags & DP_OWNER_RDMA_UNKNOWN);
	assert_int_equal(daxpin_unregister(first), 0);
	assert_true(on_media(f).flags & DP_OWNER_RDMA_UNKNOWN);
	assert_int_equal(daxpin_unregister(second), 0);
	assert_false(on_media(f).flags & DP_OWNER_RDMA_UNKNOWN);
}

static void a_refused_context_leaves_no_record(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *registration = NULL;

	found.ret = -EINVAL;
	assert_int_equal(announce(f, &registration), -EINVAL);
	assert_string_equal(f->errmsg, "as the test says");
	assert_null(registration);
	assert_int_equal(on_media(f).contexts, 0);
	assert_false(on_media(f).flags & DP_OWNER_RDMA_UNKNOWN);
}

static void a_context_beyond_the_limit_is_refused(void **state)
{
	struct daxpin_registration *registration[DP_RDMA_CONTEXTS_MAX], *more;
	struct fixture *f = *state;

	for (uint32_t i = 0; i < DP_RDMA_CONTEXTS_MAX; i++)
		registration[i] = announce_context(f, 0, i);
	assert_int_equal(announce(f, &more), 0);
	assert_int_equal(daxpin_unregister(more), 0);
	found.context.number++;
	assert_int_equal(announce(f, &more), -ENOSPC);
	assert_non_null(strstr(f->errmsg, "20"));
	assert_non_null(strstr(f->errmsg, "rxe0"));
	assert_int_equal(on_media(f).contexts, DP_RDMA_CONTEXTS_MAX);
	for (uint32_t i = 0; i < DP_RDMA_CONTEXTS_MAX; i++)
		assert_int_equal(daxpin_unregister(registration[i]), 0);
	assert_int_equal(on_media(f).contexts, 0);
}

static void rdma_device_and_rdma_domain_are_refused_without_each_other(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "a", .rdma_device = "rxe0",
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_registration *registration;

	assert_int_equal(daxpin_register(f->pool, 0, &options, &registration),
			 -EINVAL);
	assert_non_null(strstr(f->errmsg, "rdma_domain"));
	options.rdma_device = NULL;
	options.rdma_domain = domain;
	assert_int_equal(daxpin_register(f->pool, 0, &options, &registration),
			 -EINVAL);
	assert_int_equal(found.asked, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_context_is_on_media_before_the_call_returns),
		TEST(the_last_domain_of_a_context_removes_it_from_the_record),
		TEST(a_context_without_a_number_is_recorded_too),
		TEST(a_refused_context_leaves_no_record),
		TEST(a_context_beyond_the_limit_is_refused),
		TEST(rdma_device_and_rdma_domain_are_refused_without_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
