/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading and changing a segment's superblock: two alternating halves in page
 * 0, and two more in the copy.
 */
#ifndef DP_SUPER_H
#define DP_SUPER_H

#include "layout.h"
#include "persist.h"

/*
 * The newest whole half of a mapped segment. -EMEDIUMTYPE: no superblock was
 * ever here; -EPROTONOSUPPORT: a newer version's; -EUCLEAN: damaged; -EIO.
 */
int dp_super_read(const char *base, struct dp_super *ret_super,
		  const struct dp_why *why);

/*
 * Before the very first write: the magic alone, durable, so that a first half
 * that was torn is known for what it is.
 */
int dp_super_announce(char *base, struct dp_persist *persist);

/* Write the next one, half and copy, durable when it returns. */
int dp_super_write(char *base, struct dp_persist *persist,
		   struct dp_super *super);

#endif
