/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes to a pool's metadata and to the words of its slabs, collected before the
 * first is made: the place, the old bytes and the new bytes of each. They can be
 * written as text: a repair writes that as its backup, which dp_repair_undo() reads.
 */
#ifndef DP_PATCH_H
#define DP_PATCH_H

#include "media/layout.h"

struct dp_patch {
	uint32_t segment;
	uint32_t length;
	uint64_t offset;		/* in the segment */
	uint8_t *old;
	uint8_t *new;
};

struct dp_patches {
	uint8_t uuid[16];		/* of the pool */
	struct dp_patch *patch;		/* in the order in which to apply them */
	size_t count;
};

int dp_patches_add(struct dp_patches *patches, uint32_t segment,
		   uint64_t offset, const void *old, const void *new,
		   uint32_t length);
void dp_patches_fini(struct dp_patches *patches);

/* docs/format.md has the form. The caller frees *ret_text. */
int dp_patches_format(const struct dp_patches *patches, char **ret_text,
		      size_t *ret_size);
/* -EINVAL: the text is not a backup, or it is incomplete or was changed. */
int dp_patches_parse(struct dp_patches *patches, const char *text,
		     const struct dp_errmsg *errmsg);

#endif
