/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The examples of libdaxpin-rdma's pages, compiled as they stand. They need a device
 * and a peer, so they are not run; examples/rdma-store, which is, makes the same calls.
 */
#include <daxpin-rdma.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MEANWHILE	wait_for_the_peer();

struct config {
	uint32_t platform;
};

void send_to_peer(const void *message, size_t length);
void wait_for_the_peer(void);
int grant_example(struct daxpin_pool *pool, struct daxpin_rdma *rdma,
		  struct daxpin_extent extent);
int publish_example(struct daxpin_rdma *rdma, struct daxpin_grant *grant,
		    struct daxpin_extent extent);
int flush_example(struct ibv_qp *qp, struct ibv_mr *mr, char *byte,
		  struct daxpin_grant_key key, const struct config *config,
		  uint64_t request);
int probe_example(struct ibv_pd *pd);

void send_to_peer(const void *message, size_t length)
{
	(void)message;
	(void)length;
}

void wait_for_the_peer(void)
{
}

int grant_example(struct daxpin_pool *pool, struct daxpin_rdma *rdma,
		  struct daxpin_extent extent)
{
	struct daxpin_op keep = {
		.type = DAXPIN_OP_KEEP, .extent = extent,
	};
	int ret;

#include "daxpin_rdma_attach-1.inc"
	return ret;
}

int publish_example(struct daxpin_rdma *rdma, struct daxpin_grant *grant,
		    struct daxpin_extent extent)
{
	int ret;

#include "daxpin_rdma_flush-1.inc"
	return ret;
}

int flush_example(struct ibv_qp *qp, struct ibv_mr *mr, char *byte,
		  struct daxpin_grant_key key, const struct config *config,
		  uint64_t request)
{
	char errmsg[256];
	int ret;

#include "daxpin_rdma_flush-2.inc"
	return ret;
}

int probe_example(struct ibv_pd *pd)
{
	int ret;

#include "daxpin_rdma_probe-1.inc"
	return ret;
}

int main(void)
{
	return 0;
}
