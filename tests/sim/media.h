/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The recorded medium: the bytes and inodes of the machine's disk, and the trace
 * of what was stored, flushed and fenced in it.
 *
 * A trace can be rewound: the medium is then as it was before, and power.h can
 * go through the trace again and stop the machine anywhere in it. Traces nest:
 * what a recovery stores in a state made from one trace is a trace of its own,
 * rewound before the next state is made.
 */
#ifndef SIM_MEDIA_H
#define SIM_MEDIA_H

#include <stdbool.h>
#include <stdint.h>
#include "machine/disk.h"
#include "random.h"

#define MEDIA_SEGMENTS		2u
#define MEDIA_SEGMENT_MIN	(32ull << 20)	/* a usual one; and a short one */
#define MEDIA_SEGMENT_MAX	(64ull << 20)	/* of a pool with a short one */
#define MEDIA_SIZE_MAX		(MEDIA_SEGMENTS * MEDIA_SEGMENT_MAX + \
				 MEDIA_SEGMENTS * sizeof(struct machine_inode))
#define MEDIA_WORDS_MAX		(MEDIA_SIZE_MAX / 8)
#define MEDIA_ACTORS		4u
#define MEDIA_KERNEL		(MEDIA_ACTORS - 1)

enum media_what {
	MEDIA_STORE,
	MEDIA_FLUSH,
	MEDIA_FENCE,
};

/* A word that a store changed, by its index in the medium. */
struct media_change {
	uint64_t was;
	uint64_t is;
	uint32_t word;
};

struct media_event {
	enum media_what what;
	uint32_t actor;
	bool useless;		/* flush: no line had anything new;
				   fence: no flush since the last one */
	uint32_t lines;		/* flush: how many of them had new contents */
	uint64_t offset;
	uint64_t size;
	uint32_t first;		/* store: the words it changed */
	uint32_t count;
};

struct media_trace {
	struct media_event *event;
	uint32_t events;
	uint32_t events_max;
	struct media_change *change;
	uint32_t changes;
	uint32_t changes_max;
	bool watched;
	struct media_trace *outer;
};

/* The number of this thread's actor; 0 outside of schedule_run(). */
extern _Thread_local uint32_t media_actor;

/* The size of the segments but for a short one. */
extern uint64_t media_segment_size;

/* Starts the machine, with the recorded medium as its disk. has_short: the last segment
 * of a pool that is created is shorter than the others. */
void media_init(bool has_short);
/* The bytes of a pool that is created with so many segments, and of its last one. */
uint64_t media_pool_size(uint32_t segments);
uint64_t media_last_size(void);
char *media_base(void);

/*
 * Starts recording in an empty trace; an outer trace pauses. watched: redundant flushes
 * are reported, and stores to metadata that were not made through persist.
 */
void media_begin(struct media_trace *trace, bool watched);
/* Stops recording. The stores remain, and the outer trace continues. */
void media_end(struct media_trace *trace);
/* Undoes everything that an ended trace stored. */
void media_rewind(const struct media_trace *trace);
uint32_t media_events(void);
void media_trace_free(struct media_trace *trace);

/* These are the medium's side of persist. from NULL: zeroes. */
void media_store(void *to, const void *from, uint64_t size);
void media_flush(const void *from, uint64_t size);
void media_fence(void);
/*
 * Returns false if metadata was stored without persist since the watched trace began,
 * and the place of the first such word.
 */
bool media_is_recorded(uint64_t *ret_offset);

/* A hash of the medium's contents: a sum over its words, which each change updates. */
extern uint64_t media_sum;

static inline void media_count(uint32_t word, uint64_t was, uint64_t is)
{
	const uint64_t place = (word + 1ull) * 0x9e3779b97f4a7c15ull;

	media_sum += random_mix(is ^ place) - random_mix(was ^ place);
}

/* Sets a word without recording it, to make a state. */
static inline void media_poke(uint32_t word, uint64_t value)
{
	uint64_t *at = (uint64_t *)media_base() + word;

	media_count(word, *at, value);
	*at = value;
}

/* "segment 0, table, block 513" */
const char *media_place(uint64_t offset, char text[80]);

#endif
