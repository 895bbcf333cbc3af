/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Named blocks in a pool, and granting peers access to them. A block is an extent with
 * a root. It begins with a header, which has what the target must be able to trust and
 * which no grant covers; the data follow.
 */
#ifndef BLOCK_H
#define BLOCK_H

#include <pthread.h>
#include "message.h"

struct store {
	struct daxpin_pool *pool;
	/* A name is looked up and changed by one thread at a time. */
	pthread_mutex_t names;
};

/*
 * The only grant of a peer. A key works on every queue pair of its protection domain,
 * so each peer has a domain of its own.
 */
struct access {
	struct daxpin_rdma *rdma;	/* the attachment of the peer's domain */
	struct daxpin_grant *grant;	/* NULL: no grant */
	struct daxpin_extent extent;
	uint64_t size;			/* size of the data */
	bool writing;
	char name[DAXPIN_ROOT_NAME_MAX];
};

/* The request has passed message_check_request(). Each call fills in the answer. */
int block_put(struct store *store, struct access *access, const char *peer,
	      const struct message *request, struct message *answer);
int block_commit(struct store *store, struct access *access,
		 const struct message *request);
int block_get(struct store *store, struct access *access, const char *peer,
	      const struct message *request, struct message *answer);
int block_retire(struct store *store, const char *name);

/*
 * Revokes the peer's grant, if it has one. What was not committed is lost. An error
 * comes from the device: the extent then stays out of use.
 */
int block_take_back(struct store *store, struct access *access);

#endif
