/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The format of slabs: sizes of objects, and where a slab has them and their bits. Pure
 * functions.
 *
 * A slab is an extent of DP_SLAB_BLOCKS blocks for objects of one size. It begins with
 * 8-byte words: bits 0-46 are one bit for each object, 1 if it is live; bit 47 is
 * always 1, so that no word is 0 (D6); bits 48-63 are a check over the others, the
 * word's pool address and the uuid. The objects begin at the next cache line. Bits of
 * objects that the slab does not have are 0.
 *
 * The check has no generation, so a word that an earlier slab has left at the same
 * place passes it too. Therefore all words are written anew, and durable, before the
 * descriptor word becomes SLAB (D22).
 */
#ifndef DP_SLAB_H
#define DP_SLAB_H

#include "media/layout.h"

#define DP_SLAB_SIZE		(DP_SLAB_BLOCKS * DP_BLOCK_SIZE)
#define DP_SLAB_WORD_OBJECTS	47u
#define DP_SLAB_ALIGN		16u	/* of each object; a size is a multiple of it */
#define DP_SLAB_OBJECT_MAX	2048u	/* bytes */
/* No slab has more objects or words; media/slab.c asserts both. */
#define DP_SLAB_OBJECTS_MAX	4052u
#define DP_SLAB_WORDS_MAX	87u

/* How the slabs of a class are divided. */
struct dp_slab_shape {
	uint32_t size;			/* of an object */
	uint32_t objects;
	uint32_t words;
	uint32_t first;			/* offset of the first object */
};

/* The size of the objects of a class: eight classes in steps of 16 bytes, then eight
 * for each doubling. */
static inline uint32_t dp_slab_class_size(uint32_t class)
{
	assert(class < DP_SLAB_CLASSES);
	if (class < 8)
		return (class + 1) * 16;
	return (class % 8 + 9) * 16 << (class / 8 - 1);
}

/* Takes some time for small sizes: keep what it returns. */
struct dp_slab_shape dp_slab_shape(uint32_t class);

/* Offsets in the slab of a word, and of an object. */
static inline uint32_t dp_slab_word_offset(uint32_t word)
{
	return word * sizeof(uint64_t);
}

static inline uint32_t dp_slab_object_offset(const struct dp_slab_shape *shape,
					     uint32_t object)
{
	assert(object < shape->objects);
	return shape->first + object * shape->size;
}

/* The objects whose bits a word has, as a mask of these bits. */
uint64_t dp_slab_word_mask(const struct dp_slab_shape *shape, uint32_t word);

/* The word at a pool address with these bits. */
uint64_t dp_slab_encode(uint64_t seed, uint64_t addr, uint64_t bits);
/* Decode a word. False: its check fails. *ret_bits is set in any case, and may have
 * bits that dp_slab_word_mask() does not have, which is damage too. */
bool dp_slab_decode(uint64_t seed, uint64_t addr, uint64_t raw, uint64_t *ret_bits);

#endif
