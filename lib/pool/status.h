/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The status page: a small file in which the owner of a pool shows others what it is
 * doing. docs/status.md describes the format. No decision depends on it.
 */
#ifndef DP_STATUS_H
#define DP_STATUS_H

#include "media/layout.h"
#include "pool/pool.h"

#define DP_STATUS_MAGIC		"DPSTATUS"
#define DP_STATUS_VERSION	2u
#define DP_STATUS_TURN		4088u	/* where the number of the newest one is */
#define DP_STATUS_SLOTS		4096u	/* offset of the first of two slots */
#define DP_STATUS_SLOT_MAX	(4u << 20)
#define DP_STATUS_LABEL		64u
/* More holders and jobs than these are counted, but not listed. */
#define DP_STATUS_HOLDERS	512u
#define DP_STATUS_JOBS		16u
#define DP_STATUS_CELLS		65536u

/* At offset 0, and the same as long as the pool is open. */
struct dp_status_header {
	char magic[8];
	uint32_t version;
	uint32_t zero;
	uint8_t uuid[16];
	uint64_t epoch;
	uint64_t slot_size;		/* a multiple of 4096 */
	uint64_t inode;			/* of the page, which a copy does not have */
	uint64_t first;			/* segment 0's inode, or the device's number */
	struct dp_owner owner;		/* without verbs contexts */
	uint64_t check;			/* XXH3 of all the bytes before */
};

/* As the fields of struct daxpin_pool_info with these names. */
struct dp_status_figures {
	uint64_t source;
	uint64_t granularity;
	uint64_t segment_count;
	uint64_t flags;
	uint64_t segment_size;
	uint64_t media_bytes;
	uint64_t usable_bytes;
	uint64_t free_bytes;
	uint64_t largest_extent;
	uint64_t hole_bytes;
	uint64_t unaligned_chunks;
	uint64_t ignored_files;
	uint64_t registrations;
	uint64_t unclean;
	uint64_t quarantined_bytes;
	uint64_t bad_bytes;
	uint64_t bad_unknown;
	uint64_t shared_bytes;
	uint64_t sparse_bytes;
	uint64_t movable;
	uint64_t dirty_shutdown;
	uint64_t retired_bytes;
	uint64_t deferred_frees;
	uint64_t publishes;
	uint64_t no_space;
	uint64_t contexts;		/* verbs contexts on record */
	uint64_t max_bytes;
	uint64_t slab_bytes;
	uint64_t objects;
	uint64_t object_bytes;
	uint64_t partial_slab_bytes;
	uint64_t zero;
};

/* At the beginning of a slot. The arrays follow in this order: segments, holders, jobs,
 * cells. */
struct dp_status_snapshot {
	uint64_t check;			/* XXH3 of the `bytes - 8` bytes after it */
	uint64_t bytes;			/* of the snapshot with its arrays */
	uint64_t turn;			/* its number; the slot is turn % 2 */
	uint64_t written_ns;		/* CLOCK_MONOTONIC */
	uint64_t opened_ns;
	struct dp_status_figures figures;
	uint64_t labelled;		/* labelled holds */
	uint32_t holders;		/* in the array: the oldest of those, then
					   registrations */
	uint32_t jobs;			/* in the array */
	uint32_t jobs_total;
	uint32_t segments;
	uint32_t cells;
	uint32_t cell_chunks;		/* chunks in a cell */
};

struct dp_status_segment {
	uint32_t blocks;
	uint32_t free_blocks;		/* without those in caches of threads */
	uint32_t held;			/* extents */
	uint32_t zero;
};

struct dp_status_holder {
	uint64_t addr;			/* 0 and 0: a registration */
	uint64_t gen;
	uint64_t since_ns;
	uint32_t access;
	uint32_t segment;
	char label[DP_STATUS_LABEL];	/* ends with NUL */
};

struct dp_status_job {
	uint32_t kind;			/* 0 reclaim, 1 refill */
	uint32_t flags;			/* 1: cancelled */
	uint32_t parts;
	uint32_t open_parts;
	uint64_t done_bytes;
	uint64_t left_bytes;
};

/* A cell is a byte: 0 free, 1 to 100 the percentage in use, rounded up, or: */
#define DP_STATUS_CELL_META	254u	/* metadata alone */
#define DP_STATUS_CELL_HOLE	255u	/* all chunks are holes */

static_assert(sizeof(struct dp_status_header) == 376, "docs/status.md");
static_assert(sizeof(struct dp_status_header) <= DP_STATUS_TURN, "not above it");
static_assert(sizeof(struct dp_status_figures) == 256, "docs/status.md");
static_assert(sizeof(struct dp_status_snapshot) == 328, "docs/status.md");
static_assert(sizeof(struct dp_status_segment) == 16, "docs/status.md");
static_assert(sizeof(struct dp_status_holder) == 96, "docs/status.md");
static_assert(sizeof(struct dp_status_job) == 32, "docs/status.md");

/* ------------------------------------------------------------ the owner's side */

/* private to status.c */
struct dp_status {
	bool status_open;
	int status_fd;
	int status_dir;			/* /run/daxpin, or -1: the pool's directory */
	uint64_t slot_size;
	uint64_t turn;
	struct dp_status_snapshot *buffer;
};

/* The bytes of a snapshot with these arrays. */
uint64_t dp_status_bytes(const struct dp_status_snapshot *snapshot);

/*
 * Create the page, in place of that of an earlier owner. The caller has the owner lock.
 * bytes: of the largest snapshot. On a failure there is no page, and *sentence has the
 * reason.
 */
int dp_status_create(struct dp_status *status, const struct dp_pool *media,
		     uint64_t bytes, const struct dp_errmsg *sentence);
/* Remove the page of an earlier owner. Needs the owner lock. */
void dp_status_remove_old(const struct dp_pool *media);
/* The memory in which the caller puts the next snapshot together, or NULL. One thread
 * at a time, as dp_status_write(). */
struct dp_status_snapshot *dp_status_next(struct dp_status *status);
/* Write the snapshot, which becomes the newest one. Sets check, bytes and turn. */
int dp_status_write(struct dp_status *status);
/* Close the page, and remove its file while the caller has the owner lock. */
void dp_status_remove(struct dp_status *status, const struct dp_pool *media);
/* Close the page, and leave the file. */
void dp_status_close(struct dp_status *status);

/* ----------------------------------------------------------- the reader's side */

/* A copy of the header and of the newest snapshot: consistent, and with every count
 * inside its bounds. */
struct dp_status_copy {
	struct dp_status_header header;
	struct dp_status_snapshot *snapshot;
};

/*
 * Copy the page of the pool at path, which is never trusted: other users could have
 * made or changed it.
 *
 * -EBUSY            the owner replaced the snapshot during each attempt to copy it
 * -ENODATA          there is no page
 * -EPERM            a user made it who is neither root, nor this one, nor the owner of
 *                   the pool's directory
 * -EPROTONOSUPPORT  the page has another version
 * -EUCLEAN          it is damaged, or of other files
 * others            as dp_source_find()
 */
int dp_status_read(const char *path, struct dp_status_copy *ret_copy,
		   const struct dp_errmsg *errmsg);
void dp_status_free(struct dp_status_copy *copy);
/* The arrays of a snapshot. */
const struct dp_status_segment *
dp_status_segments(const struct dp_status_snapshot *snapshot);
const struct dp_status_holder *
dp_status_holders(const struct dp_status_snapshot *snapshot);
const struct dp_status_job *
dp_status_jobs(const struct dp_status_snapshot *snapshot);
const uint8_t *dp_status_cells(const struct dp_status_snapshot *snapshot);

#endif
