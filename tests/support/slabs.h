/* SPDX-License-Identifier: BSD-3-Clause */
/* Slabs on the media of a closed pool, without the calls that make them. */
#ifndef SLABS_H
#define SLABS_H

#include "media.h"
#include "media/slab.h"

/* The segments have 32 MiB. */
static inline uint64_t slab_word_at(uint32_t block, uint32_t word)
{
	return (uint64_t)block * DP_BLOCK_SIZE + dp_slab_word_offset(word);
}

/* The value of a word of the slab at that block of the segment. */
static inline uint64_t slab_word(struct fixture *f, uint32_t segment, uint32_t block,
				 uint32_t word, uint64_t bits)
{
	return dp_slab_encode(dp_layout_seed(read_super(f, 0).uuid),
			      segment * 32 * MIB + slab_word_at(block, word), bits);
}

static inline void put_bits(struct fixture *f, uint32_t segment, uint32_t block,
			    uint32_t word, uint64_t bits)
{
	uint64_t raw = slab_word(f, segment, block, word, bits);

	patch(f, segment, slab_word_at(block, word), &raw, sizeof(raw));
}

/* A slab of class c without objects. */
static inline void put_slab(struct fixture *f, uint32_t segment, uint32_t block,
			    uint32_t c)
{
	for (uint32_t i = 0; i < dp_slab_shape(c).words; i++)
		put_bits(f, segment, block, i, 0);
	write_word(f, segment, block,
		   (struct dp_word) { DP_KIND_SLAB, DP_SLAB_BLOCKS, 7, c });
}

/* A root that names an object at that offset of segment 1. */
static inline void put_object_root(struct fixture *f, uint32_t slot, const char *name,
				   uint64_t offset)
{
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid);
	struct dp_root root = { .word = 0 };

	strcpy(root.name, name);
	root.name_check = dp_root_name_check(seed, slot, root.name);
	root.word = dp_root_encode(seed, slot, dp_root_of_object(32 * MIB + offset));
	patch(f, 0, DP_ROOTS_OFFSET + slot * sizeof(root), &root, sizeof(root));
}

#endif
