/* SPDX-License-Identifier: BSD-3-Clause */
#include "rdma/mr.h"

#include <assert.h>
#include <errno.h>
#include "grant/retry.h"

int dp_mr_register_once(struct ibv_pd *pd, void *base, uint64_t length,
			int access, struct ibv_mr **ret_mr)
{
	struct ibv_mr *mr;

	assert(base && length);
	errno = 0;
	mr = ibv_reg_mr(pd, base, length, access);
	if (!mr)
		return errno ? -errno : -EIO;
	*ret_mr = mr;
	return 0;
}

int dp_mr_deregister_once(struct ibv_mr *mr)
{
	int ret;

	errno = 0;
	ret = ibv_dereg_mr(mr);		/* an errno, or -1 and errno */
	if (ret >= 0)
		return -ret;
	return errno ? -errno : -EIO;
}

int dp_mr_register(struct ibv_pd *pd, void *base, uint64_t length, int access,
		   struct ibv_mr **ret_mr)
{
	struct dp_retry retry = { 0 };
	int ret;

	do
		ret = dp_mr_register_once(pd, base, length, access, ret_mr);
	while (dp_retry(&retry, ret));
	return ret;
}

int dp_mr_deregister(struct ibv_mr *mr)
{
	struct dp_retry retry = { 0 };
	int ret;

	do
		ret = dp_mr_deregister_once(mr);
	while (dp_retry(&retry, ret));
	return ret;
}
