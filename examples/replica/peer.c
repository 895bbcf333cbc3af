/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer: it lets the owner write one block at a time into an extent of its pool.
 *
 *	OFFER -> extent reserved, granted	[grant_block]
 *	WRITTEN -> grant revoked, block checked and published	[take_block]
 *	the owner has gone -> grant revoked, extent cancelled	[drop_block]
 *
 * The block is checked after the revoke: from then on no byte of the owner can arrive,
 * whatever the owner does, so what was checked is what is published.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "log.h"
#include "replica.h"
#include "wire.h"

struct peer {
	struct log log;
	struct wire_fabric fabric;
	struct daxpin_ofi *ofi;
	int fd;				/* the owner's connection */
	/* The block that the owner is writing. */
	struct daxpin_ofi_peer *endpoint;	/* NULL: there is none */
	struct daxpin_ofi_grant *grant;
	struct daxpin_extent extent;
	uint64_t seq;
};

/* The memory may still be written to, so nothing can be done with it in this process:
 * the extent stays held, and a restart frees it. */
static void check_ended(const char *what, int ret)
{
	if (!ret)
		return;
	fprintf(stderr, "replica: %s: %s\n", what, daxpin_strerror(ret));
	exit(1);
}

/* 0: the owner's access has ended, and the endpoint is closed. */
static void end_access(struct peer *peer)
{
	if (peer->grant)
		check_ended("revoke", daxpin_ofi_revoke(peer->grant));
	check_ended("close", daxpin_ofi_peer_close(peer->endpoint));
	peer->grant = NULL;
	peer->endpoint = NULL;
}

static void drop_block(struct peer *peer)
{
	if (!peer->endpoint)
		return;
	end_access(peer);
	check_ended("cancel", daxpin_cancel(peer->log.pool, peer->extent));
}

static int grant_block(struct peer *peer, struct message *message)
{
	struct daxpin_ofi_grant_options options = {
		.size = sizeof(options), .access = FI_REMOTE_WRITE,
		.label = "owner",
	};
	size_t name_size = sizeof(message->name);
	int ret;

	ret = log_reserve(&peer->log, message->bytes, &peer->extent);
	if (ret)
		return ret;
	ret = daxpin_ofi_peer_open(peer->ofi, NULL, &peer->endpoint);
	if (ret) {
		daxpin_cancel(peer->log.pool, peer->extent);
		return ret;
	}
	peer->seq = message->seq;
	ret = daxpin_ofi_grant(peer->endpoint, peer->extent, &options, &peer->grant);
	if (!ret)
		ret = daxpin_ofi_peer_name(peer->endpoint, message->name, &name_size);
	if (!ret)
		ret = daxpin_ofi_export(peer->grant, message->grant,
					sizeof(message->grant));
	if (ret < 0)
		return ret;
	message->type = MESSAGE_GRANT;
	message->name_size = (uint32_t)name_size;
	return wire_send(peer->fd, message) ? 0 : -EPIPE;
}

static int send_head(struct peer *peer)
{
	const struct message message = {
		.type = MESSAGE_HAS, .seq = peer->log.head,
	};

	return wire_send(peer->fd, &message) ? 0 : -EPIPE;
}

static int take_block(struct peer *peer)
{
	int ret = -EBADMSG;

	end_access(peer);
	if (log_is_whole(&peer->log, peer->extent, peer->seq))
		ret = log_publish(&peer->log, peer->extent, peer->seq);
	if (ret) {
		check_ended("cancel", daxpin_cancel(peer->log.pool, peer->extent));
		return ret;
	}
	return send_head(peer);
}

/* The owner repeats the head if it died before both peers had confirmed it. */
static int handle(struct peer *peer, struct message *message)
{
	if (message->type == MESSAGE_OFFER && !peer->endpoint &&
	    message->seq >= peer->log.head && message->seq)
		return grant_block(peer, message);
	if (message->type == MESSAGE_WRITTEN && peer->endpoint &&
	    message->seq == peer->seq)
		return take_block(peer);
	return -EBADMSG;
}

/* Until the owner has gone. While it writes, its bytes need the service call. */
static void serve(struct peer *peer)
{
	struct message message;
	int ret = send_head(peer);

	while (!ret) {
		if (peer->endpoint)
			check_ended("service", daxpin_ofi_service(peer->ofi));
		if (!wire_has_message(peer->fd, peer->endpoint ? 0 : -1))
			continue;
		ret = wire_receive(peer->fd, &message) ? handle(peer, &message) :
							 -EPIPE;
	}
	if (ret != -EPIPE)
		fprintf(stderr, "replica: the owner is disconnected: %s\n",
			daxpin_strerror(ret));
	drop_block(peer);
}

static int attach(struct peer *peer, const char *provider, const char *address)
{
	char errmsg[512] = "";
	const struct daxpin_ofi_options options = {
		.size = sizeof(options), .label = "replica",
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	int ret = wire_fabric_open(&peer->fabric, provider, address);

	if (ret)
		return ret;
	ret = daxpin_ofi_attach(peer->log.pool, peer->fabric.fabric,
				peer->fabric.info, &options, &peer->ofi);
	if (ret)
		fprintf(stderr, "replica: %s\n", errmsg);
	return ret;
}

int peer_main(const char *provider, const char *path, const char *address,
	      const char *port)
{
	struct peer peer = { 0 };
	int listen_fd;

	if (log_open(&peer.log, path, true) || attach(&peer, provider, address))
		return 1;
	listen_fd = wire_listen(address, port);
	if (listen_fd < 0) {
		fprintf(stderr, "replica: port %s of %s: %s\n", port, address,
			daxpin_strerror(listen_fd));
		return 1;
	}
	printf("head %llu\n", (unsigned long long)peer.log.head);
	fflush(stdout);
	for (;;) {
		peer.fd = accept(listen_fd, NULL, NULL);
		if (peer.fd < 0)
			continue;
		serve(&peer);
		close(peer.fd);
	}
}
