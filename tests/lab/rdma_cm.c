/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_cm: a pool that is attached to the protection domain of an id of librdmacm,
 * which deallocates the domain when the last id of the device is destroyed.
 */
#include <rdma/rdma_cma.h>
#include "child.h"
#include "rdma_fixture.h"
#include "rdma_own_device.h"

static struct place place = { .name = "shmem" };
static bool have_device;

/* A listening id: librdmacm allocates a domain for it. */
static struct rdma_cm_id *make_id(void)
{
	struct ibv_qp_init_attr options = {
		.cap = {
			.max_send_wr = 1, .max_recv_wr = 1,
			.max_send_sge = 1, .max_recv_sge = 1,
		},
		.qp_type = IBV_QPT_RC,
	};
	struct rdma_addrinfo hints = {
		.ai_flags = RAI_PASSIVE | RAI_NUMERICHOST,
		.ai_port_space = RDMA_PS_TCP,
	}, *info;
	struct rdma_cm_id *id;

	assert_int_equal(rdma_getaddrinfo("10.199.0.1", "7999", &hints, &info), 0);
	assert_int_equal(rdma_create_ep(&id, info, NULL, &options), 0);
	rdma_freeaddrinfo(info);
	assert_non_null(id->pd);
	return id;
}

static int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int ret = f ? make_pool(&place, f->path, &f->pool) : -1;

	*state = f;
	if (ret)
		return ret;
	ret = daxpin_pool_close(f->pool);
	f->pool = NULL;
	have_device = own_device_add();
	return ret;
}

static int finish(void **state)
{
	struct fixture *f = *state;

	own_device_drop();
	remove_tree(f->path);
	free(f);
	return 0;
}

/*
 * librdmacm keeps the device open until the process ends, and some kernels do not
 * remove a device that is open. So each test runs in a child.
 */
static void run_alone(struct fixture *f, int (*test)(void *f))
{
	if (!have_device) {
		print_message("# skipped: this kernel makes no second device\n");
		skip();
	}
	assert_int_equal(run_child(test, f), 0);
}

static struct rdma_cm_id *attach_to_an_id(struct fixture *f)
{
	struct rdma_cm_id *id = make_id();

	assert_int_equal(daxpin_pool_open(f->path, NULL, &f->pool), 0);
	f->nic.pd = id->pd;
	assert_int_equal(attach(f), 0);
	return id;
}

static void detach_and_close(struct fixture *f)
{
	assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
}

/* The kernel keeps the domain as long as the grant's region is in it. */
static int destroy_with_a_grant(void *arg)
{
	struct fixture *f = arg;
	const long long before = pinned_pages();
	struct rdma_cm_id *id = attach_to_an_id(f);
	struct daxpin_extent extent = reserve(f);
	uint32_t key;

	assert_int_equal(daxpin_rdma_lkey(f->rdma, extent.addr, &key), 0);
	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	rdma_destroy_ep(id);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	detach_and_close(f);
	assert_int_equal(pinned_pages(), before);
	return 0;
}

static void a_domain_whose_id_is_destroyed_ends_its_grants(void **state)
{
	run_alone(*state, destroy_with_a_grant);
}

/* Nothing is in the domain, so the destroy deallocates it. */
static int destroy_without_a_grant(void *arg)
{
	struct fixture *f = arg;
	struct rdma_cm_id *id = attach_to_an_id(f);

	rdma_destroy_ep(id);
	detach_and_close(f);
	return 0;
}

static void a_domain_that_is_gone_can_be_detached(void **state)
{
	run_alone(*state, destroy_without_a_grant);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
	const struct CMUnitTest tests[] = {
		TEST(a_domain_whose_id_is_destroyed_ends_its_grants),
		TEST(a_domain_that_is_gone_can_be_detached),
	};

	if (!rdma_find_device())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
