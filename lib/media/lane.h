/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Redo lanes: several 8-byte words change on media together, or none does.
 * See lane.c for the order of stores and the states after a power cut.
 */
#ifndef DP_LANE_H
#define DP_LANE_H

#include <pthread.h>
#include "media/badblocks.h"
#include "media/layout.h"
#include "media/persist.h"

enum dp_lane_state {
	DP_LANE_CLOSED,		/* nothing to do */
	DP_LANE_TORN,		/* its batch was never committed: normal */
	DP_LANE_OPEN,		/* committed, perhaps not completely applied */
	DP_LANE_DAMAGED,	/* no power cut leaves this */
};

/* private to lane.c */
struct dp_lane_control {
	pthread_mutex_t mutex;		/* held while a batch uses the lane */
	uint64_t sequence;		/* on media, at load */
	uint64_t done;			/* as on media */
	enum dp_lane_state found;	/* at load */
} DP_ALIGNED;

/* private to lane.c */
struct dp_lanes {
	char *base;			/* pool address 0, mapped */
	const struct dp_badblocks_view *view;	/* of segment 0, for reading it */
	uint64_t seed;
	uint64_t batch_epoch;		/* of new batches */
	struct dp_persist *persist;
	struct dp_lane_control lane[DP_LANES];
	struct dp_lane_entry *pending;	/* of the open lanes, in lane order */
	size_t pending_count;
};

void dp_lanes_init(struct dp_lanes *lanes, char *base,
		   const struct dp_badblocks_view *view, uint64_t seed,
		   struct dp_persist *persist);
void dp_lanes_fini(struct dp_lanes *lanes);
/* True between init and fini; false for zeroed memory. */
static inline bool dp_lanes_are_there(const struct dp_lanes *lanes)
{
	return lanes->persist;
}

/* The state of a lane on media. seed: of the pool. */
enum dp_lane_state dp_lane_judge(uint64_t seed, uint32_t index,
				 const struct dp_lane *lane);

/*
 * Read all lanes. The pending entries are those that the last owner committed and may
 * not have applied; their addresses are not checked. If tolerant, damaged and
 * unreadable lanes are skipped.
 *
 * -EIO		a lane is unreadable
 * -ENOMEM
 * -EUCLEAN	a lane is damaged
 */
int dp_lanes_load(struct dp_lanes *lanes, bool tolerant,
		  const struct dp_errmsg *errmsg);

/* The number of pending entries, and one of them. */
size_t dp_lanes_pending(const struct dp_lanes *lanes);
const struct dp_lane_entry *dp_lanes_pending_entry(const struct dp_lanes *lanes,
						   size_t index);
/* Remove the pending entries for which fn returns false. For read-only opens. */
void dp_lanes_filter(struct dp_lanes *lanes,
		     bool (*fn)(void *arg, const struct dp_lane_entry *entry),
		     void *arg);

/* Apply the pending entries in [addr, addr + size) to a copy of that range. */
void dp_lanes_patch(const struct dp_lanes *lanes, uint64_t addr, uint64_t size,
		    char *copy);

/* Apply the pending entries to media and leave every lane closed (D11). Batches that
 * are written afterwards have this epoch. */
int dp_lanes_recover(struct dp_lanes *lanes, uint64_t epoch);

/* Take a lane for one batch; waits if all are in use. near: the lane to try first,
 * different for each thread. */
uint32_t dp_lane_take(struct dp_lanes *lanes, uint32_t near);
/* Begin to fetch the cache lines that a batch of `count` words will write in that lane:
 * some CPUs remove a line from their caches when they write it back. */
void dp_lane_fetch(const struct dp_lanes *lanes, uint32_t near, uint32_t count);
void dp_lane_release(struct dp_lanes *lanes, uint32_t index);

/*
 * Make the words durable, all or none, with a lane that the caller has taken: three
 * fences. After an error it is unknown what is on media.
 */
int dp_lane_run(struct dp_lanes *lanes, uint32_t index,
		const struct dp_lane_entry *entries, uint32_t count);

#endif
