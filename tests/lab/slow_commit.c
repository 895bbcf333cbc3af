/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For LD_PRELOAD: each daxpin_rdma_revoke() of a program begins late, and each
 * daxpin_publish() begins and returns late. What the program does in a wrong order
 * around them then has a result that a test can see.
 */
#include <daxpin-rdma.h>
#include <dlfcn.h>
#include <unistd.h>

#define PAUSE_US	400000

int daxpin_rdma_revoke(struct daxpin_grant *grant)
{
	__typeof__(&daxpin_rdma_revoke) real = dlsym(RTLD_NEXT, "daxpin_rdma_revoke");

	usleep(PAUSE_US);
	return real(grant);
}

int daxpin_publish(struct daxpin_pool *pool, const struct daxpin_op *ops, size_t count,
		   const struct daxpin_publish_options *options, size_t *failed)
{
	__typeof__(&daxpin_publish) real = dlsym(RTLD_NEXT, "daxpin_publish");
	int ret;

	usleep(PAUSE_US);
	ret = real(pool, ops, count, options, failed);
	usleep(PAUSE_US);
	return ret;
}
