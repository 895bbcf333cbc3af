/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The segments of a pool: how its medium is divided, and the files, mappings and chunk
 * flags of the segments. See segment.c for the order of the calls.
 */
#ifndef DP_SEGMENT_H
#define DP_SEGMENT_H

#include "media/badblocks.h"
#include "media/layout.h"
#include "media/persist.h"
#include "media/table.h"
#include "owner/anchor.h"
#include "pool/file.h"
#include "pool/map.h"
#include "pool/source.h"

/* --------------------------------------------------------------- geometry */

/* How a medium is divided. May be copied. */
struct dp_geometry {
	char *base;			/* pool address 0, when mapped */
	uint64_t segment_size;		/* a power of two */
	uint64_t short_size;		/* of segment short_index; segment_size if no
					   segment is shorter */
	uint32_t short_index;
	_Atomic uint32_t segments;	/* only grows; see core/grow.c */
	uint32_t most;			/* for which there are addresses and tables */
};

bool dp_geometry_segment_size_is_valid(uint64_t size);
/* The default for a medium of that size: 256 MiB, doubled while there would be more
 * than 256 segments. */
uint64_t dp_geometry_default_segment_size(uint64_t size);

/*
 * Divide a medium of `size` bytes into whole segments, and make the rest one more; a
 * rest below 32 MiB is not used. segment_size is valid. The caller must refuse a result
 * without segments, or with more than DP_SEGMENTS_MAX.
 */
struct dp_geometry dp_geometry_of(uint64_t size, uint64_t segment_size);
/* The number of segments alone. */
uint32_t dp_geometry_count(uint64_t size, uint64_t segment_size);
/* The same of the pool that segment 0's superblock describes, if that is possible. */
bool dp_geometry_is_possible(const struct dp_super *super);
struct dp_geometry dp_geometry_of_pool(const struct dp_super *super);

/* Bytes of a segment. */
static inline uint64_t dp_geometry_size(const struct dp_geometry *geometry,
					uint32_t segment)
{
	assert(segment < geometry->segments);
	return segment == geometry->short_index ? geometry->short_size :
						  geometry->segment_size;
}

static inline uint32_t dp_geometry_blocks(const struct dp_geometry *geometry,
					  uint32_t segment)
{
	return dp_geometry_size(geometry, segment) >> DP_BLOCK_SHIFT;
}

static inline uint32_t dp_geometry_chunks(const struct dp_geometry *geometry,
					  uint32_t segment)
{
	return dp_geometry_size(geometry, segment) >> DP_CHUNK_SHIFT;
}

/* The bytes, chunks and blocks of metadata at the beginning of each segment. */
static inline uint64_t dp_geometry_meta_size(const struct dp_geometry *geometry)
{
	return dp_layout_meta_size(geometry->segment_size);
}

static inline uint32_t dp_geometry_meta_chunks(const struct dp_geometry *geometry)
{
	return dp_geometry_meta_size(geometry) >> DP_CHUNK_SHIFT;
}

static inline uint32_t dp_geometry_meta_blocks(const struct dp_geometry *geometry)
{
	return dp_geometry_meta_size(geometry) >> DP_BLOCK_SHIFT;
}

/* The pool address where a segment begins. */
static inline uint64_t dp_geometry_begin(const struct dp_geometry *geometry,
					 uint32_t segment)
{
	return segment * geometry->segment_size;
}

/* The bytes that the first `segments` segments have together. */
static inline uint64_t dp_geometry_bytes(const struct dp_geometry *geometry,
					 uint32_t segments)
{
	uint64_t all = dp_geometry_begin(geometry, segments);

	return segments > geometry->short_index ?
		       all - (geometry->segment_size - geometry->short_size) : all;
}

/* How many segments have at least `size` bytes together. */
static inline uint64_t dp_geometry_segments_for(const struct dp_geometry *geometry,
						uint64_t size)
{
	uint64_t missing = geometry->segment_size - geometry->short_size;
	uint64_t segments = dp_round_up(size, geometry->segment_size) /
			    geometry->segment_size;

	return segments > geometry->short_index ?
		       dp_round_up(size + missing, geometry->segment_size) /
			       geometry->segment_size : segments;
}

/* The pool address where the last segment ends. */
static inline uint64_t dp_geometry_end(const struct dp_geometry *geometry)
{
	uint32_t last = geometry->segments - 1;

	return dp_geometry_begin(geometry, last) + dp_geometry_size(geometry, last);
}

/* Where a segment is mapped. */
static inline char *dp_geometry_base(const struct dp_geometry *geometry,
				     uint32_t segment)
{
	assert(geometry->base && segment < geometry->segments);
	return geometry->base + dp_geometry_begin(geometry, segment);
}

/* --------------------------------------------------------------- segments */

struct dp_segment;			/* segment.c has the fields */

struct dp_segments {
	/* Set by the caller, and constant while segments are open. */
	struct dp_source *source;
	struct dp_persist *persist;
	const struct dp_badblocks *medium;	/* its bad blocks */
	uint64_t seed;
	bool readonly;
	bool need_most;			/* fail if geometry->most has no addresses */
	/* Private to segment.c. */
	struct dp_file *first;		/* the device, or segment 0 */
	struct dp_geometry divided;
	struct dp_map range;
	_Atomic uint32_t opened;	/* segments whose files are open */
	struct dp_segment *all;
};

/*
 * Open and lock the files of all segments after the first, which is `first` (or the
 * device). create: make missing files. Their contents are neither read nor changed.
 */
int dp_segments_open(struct dp_segments *segments, struct dp_file *first,
		     const struct dp_geometry *geometry, bool create,
		     struct dp_wait_policy *policy,
		     const struct dp_errmsg *errmsg);
/* Put the files from that segment on, all open and locked, into the anchor (W3). */
int dp_segments_add_to_anchor(const struct dp_segments *segments, uint32_t first,
			      struct dp_anchor *anchor, const struct dp_errmsg *errmsg);
/*
 * Reserve the addresses of all segments and map them; sets geometry->base. A device
 * has `size` bytes. The contents are neither read nor changed, because the barrier has
 * not been passed yet. create: do not test the files' sizes.
 */
int dp_segments_map(struct dp_segments *segments, uint64_t size,
		    struct dp_geometry *geometry, bool create,
		    const struct dp_errmsg *errmsg);
/* List which chunks are backed, when nothing else can access the files any more. */
int dp_segments_list(struct dp_segments *segments,
		     const struct dp_errmsg *errmsg);
int dp_segment_list(struct dp_segments *segments, uint32_t index,
		    const struct dp_errmsg *errmsg);
/* List which blocks are bad; again after blocks were allocated. */
int dp_segments_find_badblocks(struct dp_segments *segments,
			       const struct dp_errmsg *errmsg);
int dp_segment_find_badblocks(struct dp_segments *segments, uint32_t index,
			      const struct dp_errmsg *errmsg);
/* Unmap everything, unlock and close the files, except for the first. */
void dp_segments_close(struct dp_segments *segments);
/* After a create that failed: dp_file_undo() for all files except for the first. */
void dp_segments_undo(struct dp_segments *segments);

/*
 * Unmap a segment that is not a part of the pool any more, truncate its file to
 * nothing, and remove its name. It stays open, and nothing may use it, until all are
 * closed. A slice of a device stays as it is.
 */
void dp_segment_drop(struct dp_segments *segments, uint32_t index);

/*
 * While the pool is open: make the file of the next segment, under the name of a new
 * file, lock it and map it. Other threads must not use it before pool->geometry counts
 * it. On failure dp_segments_cut() undoes it.
 *
 * -EEXIST  a file with its name, or its new name, exists
 */
int dp_segments_add(struct dp_segments *segments, struct dp_wait_policy *policy,
		    const struct dp_errmsg *errmsg);
/* Give the files of the segments from `first` on their final names. */
int dp_segments_rename(struct dp_segments *segments, uint32_t first,
		       const struct dp_errmsg *errmsg);
/* Close and unmap the segments from `count` on, and remove their files if `remove` is
 * set. Nothing may use them. */
void dp_segments_cut(struct dp_segments *segments, uint32_t count, bool remove);

/* -ESTALE: a file is shorter than its mapping, so that a store may be SIGBUS. */
int dp_segments_check_sizes(const struct dp_segments *segments);

/* Was any file not empty before this create? */
bool dp_segments_have_old_files(const struct dp_segments *segments);

/* The number of open segments, for the functions below. */
uint32_t dp_segments_count(const struct dp_segments *segments);
/* Its file, or -1: a slice of the device. */
int dp_segment_fd(const struct dp_segments *segments, uint32_t index);
/* Was its file empty when its lock was taken? */
bool dp_segment_was_empty(const struct dp_segments *segments, uint32_t index);

const struct dp_table *dp_segment_table(const struct dp_segments *segments,
					uint32_t index);
/* The segment's bad blocks, rounded to whole blocks, as byte offsets in the segment. */
const struct dp_badblocks *
dp_segment_badblocks(const struct dp_segments *segments, uint32_t index);
/* The view for reads that must not end with SIGBUS at poison. */
const struct dp_badblocks_view *
dp_segment_view(const struct dp_segments *segments, uint32_t index);

/* The flags DP_CHUNK_... of a chunk. They are changed by an open, and by hole.c
 * under its caller's mutex. */
uint8_t dp_segment_chunk(const struct dp_segments *segments, uint32_t index,
			 uint32_t chunk);
void dp_segment_set_chunk(struct dp_segments *segments, uint32_t index,
			  uint32_t chunk, uint8_t flags);

#endif
