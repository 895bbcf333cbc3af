/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A provider that copies with the CPU, in a process that has an RDMA device open: it is
 * accepted while no memory is registered in a context of this process. What is tried is
 * daxpin_ofi_local_open(), which asks the question of an attach and no other.
 */
#include <daxpin-status.h>
#include <errno.h>
#include <infiniband/verbs.h>
#include <pthread.h>
#include <rdma/fi_domain.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include "child.h"
#include "fixture.h"
#include "ofi_peer.h"

#define PROVIDER	"tcp;ofi_rxm"

static struct fid_domain *domain;
static struct ibv_context *context;
static struct ibv_pd *pd;
static struct ibv_mr *region;
static char memory[8192];

static bool open_device(void)
{
	int count = 0;
	struct ibv_device **list = ibv_get_device_list(&count);

	for (int i = 0; i < count && !context; i++)
		if (!strcmp(ibv_get_device_name(list[i]), getenv("DAXPIN_TEST_RDMA")))
			context = ibv_open_device(list[i]);
	if (list)
		ibv_free_device_list(list);
	return context;
}

static void open_local(struct fixture *f, int result, const char *words)
{
	const struct daxpin_ofi_local_options options = {
		.size = sizeof(options),
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_ofi_local *local = NULL;
	int ret = daxpin_ofi_local_open(f->pool, domain, info, &options, &local);

	if (ret != result)
		fail_msg("%d: %s", ret, f->errmsg);
	if (words && !strstr(f->errmsg, words))
		fail_msg("\"%s\" does not say \"%s\"", f->errmsg, words);
	if (!ret)
		assert_int_equal(daxpin_ofi_local_close(local), 0);
}

static void *allocate(void *ret_thread)
{
	pd = ibv_alloc_pd(context);
	region = pd ? ibv_reg_mr(pd, memory, sizeof(memory), IBV_ACCESS_LOCAL_WRITE) :
		      NULL;
	*(pid_t *)ret_thread = gettid();
	return NULL;
}

static bool release(void)
{
	return !ibv_dereg_mr(region) && !ibv_dealloc_pd(pd);
}

static void memory_counts_until_it_is_deregistered(void **state)
{
	pid_t thread;

	open_local(*state, 0, NULL);
	allocate(&thread);
	assert_non_null(region);
	/* The kernel does not free the domain before. */
	assert_int_equal(ibv_dealloc_pd(pd), EBUSY);
	open_local(*state, -EOPNOTSUPP, "protection domains: 1");
	assert_int_equal(ibv_dereg_mr(region), 0);
	open_local(*state, 0, NULL);
	assert_int_equal(ibv_dealloc_pd(pd), 0);
}

static void memory_that_an_ended_thread_registered_counts(void **state)
{
	pthread_t thread;
	char path[64];
	pid_t id = 0;

	assert_int_equal(pthread_create(&thread, NULL, allocate, &id), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_non_null(region);
	snprintf(path, sizeof(path), "/proc/self/task/%d", (int)id);
	while (!access(path, F_OK))
		usleep(1000);
	open_local(*state, -EOPNOTSUPP, "protection domains: 1");
	assert_true(release());
	open_local(*state, 0, NULL);
}

static int allocate_and_wait(void *arg, int fd)
{
	pid_t thread;

	(void)arg;
	allocate(&thread);
	if (!region || !send_step(fd) || !await_step(fd))
		return 1;
	return !release();
}

/* The context is this process's, and the child could give it the domain's handle. */
static void memory_of_a_child_in_an_own_context_counts(void **state)
{
	struct child child = fork_child(allocate_and_wait, NULL);

	assert_true(await_step(child.fd));
	open_local(*state, -EOPNOTSUPP, "protection domains: 1");
	assert_true(send_step(child.fd));
	assert_int_equal(end_child(&child), 0);
	open_local(*state, 0, NULL);
}

/* In the child the pool is the parent's, so the counts alone are asked for. */
static int count_in_a_child(void *arg)
{
	struct daxpin_rdma_use use = { .size = sizeof(use) };

	(void)arg;
	return daxpin_rdma_use(NULL, 0, &use) || use.contexts || use.domains;
}

static void an_inherited_context_is_not_the_childs(void **state)
{
	struct daxpin_rdma_use use = { .size = sizeof(use) };
	pid_t thread;

	(void)state;
	allocate(&thread);
	assert_non_null(region);
	assert_int_equal(daxpin_rdma_use(NULL, 0, &use), 0);
	assert_true(use.contexts >= 1);
	assert_int_equal(use.domains, 1);
	assert_int_equal(run_child(count_in_a_child, NULL), 0);
	assert_true(release());
}

static int setup(void **state)
{
	if (!ofi_close_inherited() || open_provider(PROVIDER) || !info ||
	    fi_domain(fabric, info, &domain, NULL) || !open_device())
		return -1;
	return fixture_setup(state);
}

static int teardown(void **state)
{
	const bool is_closed = !ibv_close_device(context) && !fi_close(&domain->fid);

	return close_provider() || fixture_teardown(state) || !is_closed;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_counts_until_it_is_deregistered),
		cmocka_unit_test(memory_that_an_ended_thread_registered_counts),
		cmocka_unit_test(memory_of_a_child_in_an_own_context_counts),
		cmocka_unit_test(an_inherited_context_is_not_the_childs),
	};

	if (!getenv("DAXPIN_TEST_RDMA")) {
		printf("# needs an RDMA device, whose name is in DAXPIN_TEST_RDMA\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
