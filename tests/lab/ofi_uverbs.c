/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A provider that copies with the CPU, in a process that has an RDMA device open: it is
 * accepted while no memory region of the device is this process's. What is tried is
 * daxpin_ofi_local_open(), which asks the question of an attach and no other.
 */
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
#define BYTES		8192

static struct fid_domain *domain;
static struct ibv_context *context;
static struct ibv_pd *pd;
static struct ibv_mr *region;
static char memory[BYTES];

static bool open_device(void)
{
	int count = 0;
	struct ibv_device **list = ibv_get_device_list(&count);

	for (int i = 0; i < count && !context; i++)
		if (!strcmp(ibv_get_device_name(list[i]), getenv("DAXPIN_TEST_RDMA")))
			context = ibv_open_device(list[i]);
	if (list)
		ibv_free_device_list(list);
	pd = context ? ibv_alloc_pd(context) : NULL;
	return pd;
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

static void *register_region(void *ret_thread)
{
	region = ibv_reg_mr(pd, memory, BYTES, IBV_ACCESS_LOCAL_WRITE);
	*(pid_t *)ret_thread = gettid();
	return NULL;
}

static void a_region_of_this_process_is_counted_until_its_end(void **state)
{
	pid_t thread;

	open_local(*state, 0, NULL);
	register_region(&thread);
	assert_non_null(region);
	open_local(*state, -EOPNOTSUPP, "has 1 memory regions of the RDMA device");
	assert_int_equal(ibv_dereg_mr(region), 0);
	open_local(*state, 0, NULL);
}

static void a_region_of_a_thread_that_has_ended_is_unknown(void **state)
{
	pthread_t thread;
	char path[64];
	pid_t id = 0;

	assert_int_equal(pthread_create(&thread, NULL, register_region, &id), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_non_null(region);
	snprintf(path, sizeof(path), "/proc/self/task/%d", (int)id);
	while (!access(path, F_OK))
		usleep(1000);
	open_local(*state, -EOPNOTSUPP, "whether 1 memory regions of it are of this");
	assert_int_equal(ibv_dereg_mr(region), 0);
	open_local(*state, 0, NULL);
}

static int register_and_wait(void *arg, int fd)
{
	pid_t thread;

	(void)arg;
	register_region(&thread);
	if (!region || !send_step(fd) || !await_step(fd))
		return 1;
	return ibv_dereg_mr(region) != 0;
}

/* Through the context of this process, which it has inherited, of its own memory. */
static void a_region_of_a_child_is_the_childs(void **state)
{
	struct child child = fork_child(register_and_wait, NULL);

	assert_true(await_step(child.fd));
	open_local(*state, 0, NULL);
	assert_true(send_step(child.fd));
	assert_int_equal(end_child(&child), 0);
	open_local(*state, 0, NULL);
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
	const bool is_closed = !ibv_dealloc_pd(pd) && !ibv_close_device(context) &&
			       !fi_close(&domain->fid);

	return close_provider() || fixture_teardown(state) || !is_closed;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_region_of_this_process_is_counted_until_its_end),
		cmocka_unit_test(a_region_of_a_thread_that_has_ended_is_unknown),
		cmocka_unit_test(a_region_of_a_child_is_the_childs),
	};

	if (!getenv("DAXPIN_TEST_RDMA")) {
		printf("# needs an RDMA device, whose name is in DAXPIN_TEST_RDMA\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
