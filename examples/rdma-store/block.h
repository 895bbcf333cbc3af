/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Named blocks in a pool, and letting a peer at them: what daxpin is for in
 * this example. A block is an extent with a header and a root.
 */
#ifndef BLOCK_H
#define BLOCK_H

#include "message.h"

struct store {
	struct daxpin_pool *pool;
};

/* The one grant of a peer. A key works on every queue pair of its protection domain,
 * so each peer has a domain of its own. */
struct access {
	struct daxpin_rdma *rdma;	/* of the peer's domain */
	struct daxpin_grant *grant;	/* NULL: nothing */
	struct daxpin_extent extent;
	uint64_t size;			/* of the data */
	int writing;
	char name[DAXPIN_ROOT_NAME_MAX];
};

/* Each fills the answer; the request's size and name are as the peer sent them. */
int block_put(struct store *store, struct access *access, const char *peer,
	      const struct message *request, struct message *answer);
int block_commit(struct store *store, struct access *access,
		 const struct message *request);
int block_get(struct store *store, struct access *access, const char *peer,
	      const struct message *request, struct message *answer);
int block_retire(struct store *store, const char *name);

/* Revoke the peer's grant; what was not committed is lost. An error is the device's:
 * then the extent remains out of use. */
int block_take_back(struct store *store, struct access *access);

#endif
