/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Defragmenters: programs that move a file's blocks while others use it. That of XFS
 * does not wait for pins, and leaves files alone that are marked (W6).
 */
#ifndef DP_DEFRAG_H
#define DP_DEFRAG_H

#include "pool/segment.h"
#include "pool/source.h"

/* May the blocks of this file, or of files that are made in this directory, be moved
 * under a pin? Known of devices, where they never are, and of XFS. */
enum dp_tristate dp_defrag_may_move(const struct dp_source *source, int fd);
/* The same after it was marked, if that was needed and possible. *error is set to
 * -errno if it was refused. */
enum dp_tristate dp_defrag_prevent_one(const struct dp_source *source, int fd,
				       int *error);
/* The same of any file of the pool; none is marked by who only reads. */
enum dp_tristate dp_defrag_prevent(const struct dp_segments *segments,
				   int *ret_error);

#endif
