/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Defragmenters move a file's blocks while other programs use it. The one of XFS does
 * not wait for pins, but skips files that are marked (W6).
 */
#ifndef DP_DEFRAG_H
#define DP_DEFRAG_H

#include "pool/segment.h"
#include "pool/source.h"

/* Can a defragmenter move the blocks of this file, or of new files in this directory,
 * while they are pinned? Known for devices (never) and XFS; otherwise unknown. */
enum dp_tristate dp_defrag_may_move(const struct dp_source *source, int fd);
/* Mark it, if necessary, and return the same for the result. *error is set to -errno if
 * the mark was refused. */
enum dp_tristate dp_defrag_prevent_one(const struct dp_source *source, int fd,
				       int *error);
/* The same for all files of the pool. An open for reading marks none. */
enum dp_tristate dp_defrag_prevent(const struct dp_segments *segments,
				   int *ret_error);

#endif
