/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Free space of one segment: a bitmap in memory, one bit per block, 1 = free
 * and backed. Rebuilt at open, never on media.
 */
#ifndef DP_SPACE_H
#define DP_SPACE_H

#include <pthread.h>
#include "util/util.h"

/* private to space.c */
struct dp_space {
	pthread_mutex_t mutex;		/* who clears bits */
	uint32_t blocks;
	uint32_t hint;			/* where the last search ended */
	_Atomic uint32_t free_count;	/* exact when nobody moves */
	_Atomic uint64_t *bits;
	uint64_t *quarantine;		/* a bitmap too, or NULL: nothing is */
	uint32_t quarantine_count;
};

int dp_space_init(struct dp_space *space, uint32_t blocks);
void dp_space_fini(struct dp_space *space);

/* Claim a run; *ret_block is its first block. -ENOSPC: there is none. */
int dp_space_claim(struct dp_space *space, uint32_t blocks, uint32_t *ret_block);

/* Claim just this run: false where any of it is not free. */
bool dp_space_claim_at(struct dp_space *space, uint32_t block, uint32_t blocks);

/* Give a run back, never sleeping: from the drop that ended its last life. */
void dp_space_free(struct dp_space *space, uint32_t block, uint32_t blocks);

/* At open, before anybody else: a run that is taken. -EUCLEAN: it is already. */
int dp_space_take(struct dp_space *space, uint32_t block, uint32_t blocks);

/*
 * At open, before anybody else: these blocks are never handed out, nor is what
 * is free of them counted, whoever has them now. It takes effect with
 * dp_space_close_off(). -ENOMEM.
 */
int dp_space_quarantine(struct dp_space *space, uint32_t block, uint32_t blocks);
void dp_space_close_off(struct dp_space *space);
bool dp_space_is_quarantined(const struct dp_space *space, uint32_t block);

bool dp_space_is_free(struct dp_space *space, uint32_t block);
uint32_t dp_space_free_count(struct dp_space *space);
/* Blocks in quarantine: 0 before dp_space_close_off(). */
uint32_t dp_space_quarantined_count(const struct dp_space *space);

#endif
