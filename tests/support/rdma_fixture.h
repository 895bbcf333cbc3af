/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For one test: a pool, a protection domain attached to it, and a peer on another
 * context of the same device. rdma_wire.c has the verbs, space.c the patterns.
 */
#ifndef RDMA_FIXTURE_H
#define RDMA_FIXTURE_H

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <daxpin-rdma.h>
#include "pins.h"
#include "space.h"
#include "rdma_wire.h"

#define EXTENT_BYTES	(UINT64_C(256) << 10)
#define PEER_BYTES	(UINT64_C(512) << 10)
#define GRANTS_MAX	4

#define PEER_PATTERN	0x71
#define OLD_PATTERN	0x72

#define READ		IBV_ACCESS_REMOTE_READ
#define WRITE		IBV_ACCESS_REMOTE_WRITE
#define ATOMIC		IBV_ACCESS_REMOTE_ATOMIC
#define ZERO		DAXPIN_GRANT_ZERO
#define EXPOSE		DAXPIN_GRANT_EXPOSE

/* The place of a test's pool. */
struct place {
	const char *name;
	const char *device;		/* NULL: a directory on shmem ... */
	const char *directory;		/* ... or in this one, if it is set */
	bool small_segments;		/* on a device: of the smallest size */
};

struct fixture {
	char path[64];
	char errmsg[256];
	struct daxpin_pool *pool;
	struct nic nic, peer_nic;
	struct wire wire, peer;		/* the target's end, the peer's end */
	unsigned char *buffer;		/* the peer's memory */
	struct ibv_mr *mr;
	struct daxpin_rdma *rdma;
	struct daxpin_grant *grants[GRANTS_MAX];
	uint32_t flags;			/* options of the attach, and its executor */
	int (*run)(void (*fn)(void *arg), void *arg, void *executor);
};

extern const char *rdma_device;
/* Set it from DAXPIN_TEST_RDMA. False: that names none, and why the program is skipped
 * has been printed. */
bool rdma_find_device(void);

int remove_one(const char *path, const struct stat *st, int type,
	       struct FTW *ftw);

void remove_tree(const char *path);

/* Creates a pool at the place and leaves it open. Fills in the path. */
int make_pool(const struct place *place, char path[64],
	      struct daxpin_pool **ret_pool);

int attach(struct fixture *f);

/* Connects both ends again, since a connection does not work after an error. */
int reconnect(struct fixture *f);

int make_peer(struct fixture *f);

int setup(void **state);

/* Fails if the test left anything held: detach and close must succeed. */
int teardown(void **state);

/* ------------------------------------------------------------ short forms */

struct daxpin_extent reserve(struct fixture *f);

unsigned char *bytes(struct fixture *f, struct daxpin_extent extent);

int publish(struct fixture *f, struct daxpin_extent extent, uint32_t type);

/* Grants into f->grants[i], which the teardown revokes in any case. */
int grant(struct fixture *f, unsigned int i, struct daxpin_extent extent,
	  int access, uint32_t flags);

struct daxpin_grant_key key_of(struct fixture *f, unsigned int i);

int take_back(struct fixture *f, unsigned int i);

/* The peer reads or writes. Returns an ibv_wc_status. */
int transfer(struct fixture *f, enum ibv_wr_opcode opcode,
	     const struct daxpin_grant_key *key, uint64_t offset,
	     uint64_t length);

/*
 * Reads or writes some blocks of the key's memory, as the writer `serial` (writers.h).
 * The region `mr` must be as large. Returns an ibv_wc_status, or -errno.
 */
int transfer_some(struct wire *wire, enum ibv_wr_opcode opcode, struct ibv_mr *mr,
		  const struct daxpin_grant_key *key, uint32_t serial,
		  unsigned int *seed);

int peer_write(struct fixture *f, const struct daxpin_grant_key *key,
	       uint64_t offset, uint64_t length);

int peer_read(struct fixture *f, const struct daxpin_grant_key *key,
	      uint64_t length);

/* Grants the extent to the peer, which fills it. */
void allow_write(struct fixture *f, unsigned int i, struct daxpin_extent extent);

/* Detaches, closes the pool and opens it again, without attaching. */
void reopen(struct fixture *f);

struct daxpin_rdma_info rdma_info(struct fixture *f);
struct daxpin_pool_info pool_info(const struct fixture *f);

/* The pool has that many segments. On shmem their files have its memory, no more. */
void check_segments(const struct fixture *f, uint64_t segments);

#endif
