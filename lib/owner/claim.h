/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which inodes this process has open as files of a pool, and through which
 * descriptors. A claim owns its descriptor: it is closed when the claim ends,
 * and not before. See claim.c for why.
 */
#ifndef DP_CLAIM_H
#define DP_CLAIM_H

#include <sys/stat.h>
#include "util/util.h"

struct dp_claim;			/* claim.c has the fields */

/* A claim of nothing yet, made before a file is opened, so that the claim cannot
 * fail later for lack of memory. NULL: no memory. */
struct dp_claim *dp_claim_new(void);

/*
 * Claim the inode that fd has open. On failure fd belongs to the existing claim, which
 * closes it when it ends, and *claim is NULL.
 *
 * -EBUSY  this process has claimed that inode already
 */
int dp_claim_take(struct dp_claim **claim, int fd, const struct stat *stat);
/*
 * Has this process claimed that inode? Call it before opening a file. Otherwise the
 * descriptor of each refused attempt stays open as long as the existing claim.
 */
bool dp_claim_exists(const struct stat *stat);
/* Hand over a descriptor whose inode is unknown, because fstat() has failed. It is
 * closed when no inode is claimed any more. Afterwards *claim is NULL. */
void dp_claim_stray(struct dp_claim **claim, int fd);

/* The descriptor, or -1 if nothing was claimed. */
int dp_claim_fd(const struct dp_claim *claim);
bool dp_claim_is_of(const struct dp_claim *claim, const struct stat *stat);
dev_t dp_claim_device(const struct dp_claim *claim);
ino_t dp_claim_inode(const struct dp_claim *claim);

/* false: the claim is the parent's, and this process is a forked child. */
bool dp_claim_is_ours(const struct dp_claim *claim);

/* Close the descriptors and end the claim, even an inherited one. NULL is allowed. */
void dp_claim_end(struct dp_claim *claim);

#endif
