/* SPDX-License-Identifier: BSD-3-Clause */
#include "rdma/mr.h"

#include <assert.h>
#include <errno.h>

#define EINTR_TRIES	100

/* A pending signal can make ibv_reg_mr() fail with EINTR (RDMA 0.6). */
int dp_mr_register(struct ibv_pd *pd, void *base, uint64_t length, int access,
		   struct ibv_mr **ret_mr)
{
	struct ibv_mr *mr;
	int tries = 0;

	assert(base && length);
	do {
		errno = 0;
		mr = ibv_reg_mr(pd, base, length, access);
	} while (!mr && errno == EINTR && ++tries < EINTR_TRIES);
	if (!mr)
		return errno ? -errno : -EIO;
	*ret_mr = mr;
	return 0;
}

int dp_mr_deregister(struct ibv_mr *mr)
{
	int ret;

	errno = 0;
	ret = ibv_dereg_mr(mr);		/* an errno, or -1 and errno */
	if (ret >= 0)
		return -ret;
	return errno ? -errno : -EIO;
}
