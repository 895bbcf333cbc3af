/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The owner: it copies each block from its own pool into the memory of every peer, and
 * publishes it when all have confirmed it. So what the owner has published, all have.
 *
 * A peer that dies is awaited: it says which block it has, and gets what it lacks. A
 * confirmation counts only as the reply to this owner's own write of the block: after a
 * crash of the owner a peer can have a block with the next number that was never
 * confirmed, and the owner writes another one in its place.
 */
#include <errno.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "log.h"
#include "replica.h"
#include "wire.h"

#define RETRY_US	100000
/* A write to a peer that is gone ends in this time and after so many polls, or it does
 * not end: libfabric's own connection may never notice that a machine has vanished. */
#define GONE_MS		60000
#define GONE_POLLS	100000

struct link {
	char *address, *port;
	int fd;				/* -1: not connected */
};

struct owner {
	struct log log;
	struct wire_fabric fabric;
	struct fid_domain *domain;
	struct fid_av *av;
	struct fid_cq *cq;
	struct fid_ep *ep;
	struct daxpin_ofi_local *local;
	struct link links[PEERS_MAX];
	int count;
};

/* ------------------------------------------------------------------ one write */

/* 1: a request has ended, and *ret_error is its result; 0: none has. The only request
 * is that of `io`. */
static int poll_queue(struct owner *owner, int *ret_error)
{
	struct fi_cq_err_entry error = { 0 };
	struct fi_cq_entry entry;
	ssize_t count = fi_cq_read(owner->cq, &entry, 1);

	*ret_error = 0;
	if (count == -FI_EAVAIL && fi_cq_readerr(owner->cq, &error, 0) == 1) {
		*ret_error = error.err ? -error.err : -EIO;
		return 1;
	}
	return count == 1;
}

/* A peer that is dead does not connect, and the provider goes on trying. */
static bool is_gone(const struct link *link)
{
	return wire_has_message(link->fd, 0);
}

/* The memory is read until the request ends, so nothing can be done with it in this
 * process. The next owner continues. */
static void give_up(const struct link *link)
{
	fprintf(stderr, "replica: %s:%s is gone, and the write to it does not end: start the owner again\n",
		link->address, link->port);
	exit(1);
}

/* Until the request ends. */
static void await_end(struct owner *owner, const struct link *link, int *ret_error)
{
	uint64_t end = 0, polls = 0;

	while (!poll_queue(owner, ret_error)) {
		if (!is_gone(link))
			continue;
		if (!end)
			end = daxpin_deadline_ms(GONE_MS);
		if (++polls >= GONE_POLLS && daxpin_deadline_ms(0) >= end)
			give_up(link);
	}
}

/*
 * The extent is held from the prep to the completion or error entry, which comes also
 * if the peer dies: libfabric reads it until then.
 */
static int write_out(struct owner *owner, const struct link *link,
		     struct daxpin_extent extent, const struct daxpin_ofi_key *key,
		     fi_addr_t to)
{
	struct daxpin_ofi_io io = { 0 };
	struct iovec iov = { NULL, key->length };
	struct fi_rma_iov remote = { key->addr, key->length, key->key };
	struct fi_msg_rma message = {
		.msg_iov = &iov, .iov_count = 1, .desc = &io.desc, .addr = to,
		.rma_iov = &remote, .rma_iov_count = 1, .context = &io,
	};
	int ret = daxpin_ofi_prep(owner->local, &io, extent, 0, key->length,
				  DAXPIN_HOLD_READ), error = 0, done_ret;

	if (ret)
		return ret;
	iov.iov_base = io.memory;
	do {
		ret = (int)fi_writemsg(owner->ep, &message,
				       FI_COMPLETION | FI_DELIVERY_COMPLETE);
		if (ret == -FI_EAGAIN)
			poll_queue(owner, &error);
	} while (ret == -FI_EAGAIN && !is_gone(link));
	if (ret) {
		done_ret = daxpin_ofi_abort(&io);
		return done_ret ? done_ret : ret;
	}
	await_end(owner, link, &error);
	done_ret = daxpin_ofi_done(&io);
	return done_ret ? done_ret : error;
}

static int write_block(struct owner *owner, const struct link *link,
		       struct daxpin_extent extent, uint64_t size,
		       const struct message *grant)
{
	struct daxpin_ofi_key key;
	fi_addr_t to;
	int ret = daxpin_ofi_import(grant->grant, sizeof(grant->grant),
				    owner->fabric.info, &key);

	if (ret)
		return ret;
	if (key.length < size)
		return -EBADMSG;
	key.length = size;
	if (fi_av_insert(owner->av, grant->name, 1, &to, 0, NULL) != 1)
		return -EBADMSG;
	ret = write_out(owner, link, extent, &key, to);
	fi_av_remove(owner->av, &to, 1, 0);
	return ret;
}

/* ------------------------------------------------------------------- one peer */

static int ask(struct link *link, uint32_t type, uint64_t seq, uint64_t bytes,
	       uint32_t reply, struct message *message)
{
	*message = (struct message){ .type = type, .seq = seq, .bytes = bytes };
	if (!wire_send(link->fd, message) || !wire_receive(link->fd, message))
		return -EPIPE;
	return message->type == reply && message->seq == seq ? 0 : -EBADMSG;
}

/* 0: the peer has published the block that is in this extent. */
static int send_block(struct owner *owner, struct link *link, uint64_t seq,
		      struct daxpin_extent extent, uint64_t bytes)
{
	struct message message;
	int ret = ask(link, MESSAGE_OFFER, seq, bytes, MESSAGE_GRANT, &message);

	if (!ret)
		ret = write_block(owner, link, extent, LOG_HEADER + bytes, &message);
	if (!ret)
		ret = ask(link, MESSAGE_WRITTEN, seq, bytes, MESSAGE_HAS, &message);
	return ret;
}

/* What the peer lacks of the published blocks. Its own log has room for LOG_SLOTS. */
static int send_missing(struct owner *owner, struct link *link, uint64_t has)
{
	const uint64_t head = owner->log.head;
	uint64_t seq = has + 1;
	struct daxpin_extent extent;
	struct log_header header;
	int ret = 0;

	if (has > head + 1) {
		fprintf(stderr, "replica: %s:%s has block %llu, this owner %llu: it is of another owner\n",
			link->address, link->port, (unsigned long long)has,
			(unsigned long long)head);
		return -EEXIST;
	}
	if (head > LOG_SLOTS && seq <= head - LOG_SLOTS)
		seq = head - LOG_SLOTS + 1;
	for (; !ret && seq <= head; seq++) {
		ret = log_find(&owner->log, seq, &extent, &header);
		if (!ret)
			ret = send_block(owner, link, seq, extent, header.bytes);
	}
	return ret;
}

static void disconnect(struct link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
}

/* May the other side's end, or a failure of the connection, explain it? */
static bool is_of_the_peer(int ret)
{
	return ret != -EEXIST && ret != -ESTALE && ret != -EINVAL && ret != -ENOMEM;
}

/* Until the peer is there and lacks nothing. */
static int connect_peer(struct owner *owner, struct link *link)
{
	struct message message;
	int ret = 0;

	while (link->fd < 0) {
		link->fd = wire_connect(link->address, link->port);
		ret = link->fd < 0 || !wire_receive(link->fd, &message) ? -EPIPE :
		      send_missing(owner, link, message.seq);
		if (!ret)
			return 0;
		disconnect(link);
		if (!is_of_the_peer(ret))
			return ret;
		usleep(RETRY_US);
	}
	return 0;
}

/* ------------------------------------------------------------------- a commit */

static int replicate(struct owner *owner, struct link *link, uint64_t seq,
		     struct daxpin_extent extent, uint64_t bytes)
{
	int ret;

	for (;;) {
		ret = connect_peer(owner, link);
		if (ret)
			return ret;
		ret = send_block(owner, link, seq, extent, bytes);
		if (!ret || !is_of_the_peer(ret))
			return ret;
		disconnect(link);
	}
}

static int commit(struct owner *owner, struct daxpin_extent extent, uint64_t bytes)
{
	const uint64_t seq = owner->log.head + 1;
	int ret = 0;

	log_seal(&owner->log, extent, seq, bytes);
	for (int i = 0; !ret && i < owner->count; i++)
		ret = replicate(owner, &owner->links[i], seq, extent, bytes);
	if (!ret)
		ret = log_publish(&owner->log, extent, seq);
	if (ret)
		return ret;
	printf("%llu\n", (unsigned long long)seq);
	fflush(stdout);
	return 0;
}

/* Blocks come from stdin, directly into the pool. */
static int run(struct owner *owner, uint64_t bytes)
{
	struct daxpin_extent extent;
	size_t count;
	int ret = 0;

	for (int i = 0; !ret && i < owner->count; i++)
		ret = connect_peer(owner, &owner->links[i]);
	printf("head %llu\n", (unsigned long long)owner->log.head);
	fflush(stdout);
	while (!ret) {
		ret = log_reserve(&owner->log, bytes, &extent);
		if (ret)
			break;
		count = fread((char *)daxpin_ptr(owner->log.pool, extent, 0) +
			      LOG_HEADER, 1, bytes, stdin);
		if (!count)
			return daxpin_cancel(owner->log.pool, extent);
		ret = commit(owner, extent, count);
	}
	return ret;
}

/* ------------------------------------------------------------------ the program */

static int open_endpoint(struct owner *owner)
{
	struct fi_cq_attr cq = { .format = FI_CQ_FORMAT_CONTEXT, .size = 64 };
	struct fi_av_attr av = { .type = FI_AV_TABLE };
	struct fi_info *info = owner->fabric.info;
	int ret = fi_domain(owner->fabric.fabric, info, &owner->domain, NULL);

	if (!ret)
		ret = fi_av_open(owner->domain, &av, &owner->av, NULL);
	if (!ret)
		ret = fi_cq_open(owner->domain, &cq, &owner->cq, NULL);
	if (!ret)
		ret = fi_endpoint(owner->domain, info, &owner->ep, NULL);
	if (!ret)
		ret = fi_ep_bind(owner->ep, &owner->av->fid, 0);
	if (!ret)
		ret = fi_ep_bind(owner->ep, &owner->cq->fid, FI_TRANSMIT | FI_RECV);
	if (!ret)
		ret = fi_enable(owner->ep);
	if (ret)
		fprintf(stderr, "replica: an endpoint of %s: %s\n",
			info->fabric_attr->prov_name, fi_strerror(-ret));
	return ret;
}

static int open_local(struct owner *owner)
{
	char errmsg[512] = "";
	const struct daxpin_ofi_local_options options = {
		.size = sizeof(options), .label = "replica",
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	int ret = daxpin_ofi_local_open(owner->log.pool, owner->domain,
					owner->fabric.info, &options, &owner->local);

	if (ret)
		fprintf(stderr, "replica: %s\n", errmsg);
	return ret;
}

static int close_all(struct owner *owner)
{
	for (int i = 0; i < owner->count; i++)
		disconnect(&owner->links[i]);
	if (daxpin_ofi_local_close(owner->local))
		return 1;
	fi_close(&owner->ep->fid);
	fi_close(&owner->cq->fid);
	fi_close(&owner->av->fid);
	fi_close(&owner->domain->fid);
	wire_fabric_close(&owner->fabric);
	return log_close(&owner->log) != 0;
}

/* "ADDRESS:PORT", which is cut into its parts. */
static int parse_peer(char *text, struct link *link)
{
	char *colon = strrchr(text, ':');

	if (!colon)
		return -EINVAL;
	*colon = '\0';
	*link = (struct link){ .address = text, .port = colon + 1, .fd = -1 };
	return 0;
}

int owner_main(const char *provider, const char *path, const char *address,
	       uint64_t bytes, char *const *peers, int count)
{
	struct owner owner = { .count = count };
	int ret = 0;

	for (int i = 0; !ret && i < count; i++)
		ret = parse_peer(peers[i], &owner.links[i]);
	if (ret) {
		fprintf(stderr, "replica: a peer is ADDRESS:PORT\n");
		return 1;
	}
	if (wire_fabric_open(&owner.fabric, provider, address) ||
	    log_open(&owner.log, path, true) || open_endpoint(&owner) ||
	    open_local(&owner))
		return 1;
	ret = run(&owner, bytes);
	if (!ret)
		return close_all(&owner);
	fprintf(stderr, "replica: %s\n", daxpin_strerror(ret));
	return 1;
}
