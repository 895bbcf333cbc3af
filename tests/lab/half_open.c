/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * half_open ADDRESS PORT: a client that sends its request to connect and never
 * completes the handshake, as if it were stopped at that moment. Prints `ready` when it
 * has sent the request, and stays until it is killed.
 *
 * half_open ADDRESS PORT COUNT: COUNT clients that complete it and send nothing more,
 * or if COUNT is negative, as many that never complete it.
 */
#include <errno.h>
#include <rdma/rdma_cma.h>
#include <rdma/rdma_verbs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "half_open: %s: %s\n", what, strerror(errno));
	return 1;
}

static struct rdma_cm_id *make_endpoint(struct rdma_addrinfo *info)
{
	struct ibv_qp_init_attr options = {
		.cap = {
			.max_send_wr = 1, .max_recv_wr = 1,
			.max_send_sge = 1, .max_recv_sge = 1,
		},
		.qp_type = IBV_QPT_RC,
	};
	struct rdma_cm_id *id;

	return rdma_create_ep(&id, info, NULL, &options) ? NULL : id;
}

int main(int argc, char **argv)
{
	struct rdma_addrinfo hints = { .ai_port_space = RDMA_PS_TCP }, *info;
	struct rdma_event_channel *channel = rdma_create_event_channel();
	int count = argc == 4 ? atoi(argv[3]) : -1;
	struct rdma_conn_param parameters = {
		.responder_resources = 1, .initiator_depth = 1,
		.retry_count = 6, .rnr_retry_count = 6,
	};
	struct rdma_cm_id *id;

	if (argc < 3 || argc > 4 || !channel)
		return fail("ADDRESS PORT [COUNT]");
	if (rdma_getaddrinfo(argv[1], argv[2], &hints, &info))
		return fail("address");
	for (int i = 0; i < abs(count); i++) {
		id = make_endpoint(info);
		/*
		 * This channel is never read, so the reply to the request is not
		 * handled.
		 */
		if (!id || (count < 0 && rdma_migrate_id(id, channel)))
			return fail("an endpoint");
		if (rdma_connect(id, &parameters))
			return fail("connect");
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
